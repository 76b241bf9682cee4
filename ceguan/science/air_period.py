"""环境空气质量评价: daily values → statistics of a month, quarter, season or year, their validity and their verdict.

Means and percentiles are rounded as the edition of HJ 663 says and compared with the class-2 limit of GB 3095 in force
on the last day of the period (or on a day asked for: "what would the final limits say"). Limits are annual: only a
whole calendar year has a verdict. A period with a month short of valid days is given and marked, never judged.

Daily values are the unit that merges: parts of a period, put together with `join` in any order, give the same figures.
Names of daily columns are those of `air.daily_columns`; NaN is a day that is not valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import AirLimit, AirRounding, AirStatistic, Row, Validity, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Dates = NDArray[np.datetime64]

COLUMNS = {"SO2": "so2_24h", "NO2": "no2_24h", "PM10": "pm10_24h", "PM2.5": "pm25_24h", "CO": "co_24h", "O3": "o3_8h"}
"""Daily column of each pollutant."""
SCOPES = {"CO": "air_co", "O3": "air_o3"}  # validity.csv; the other pollutants are "air"
SEASONS = ("冬", "春", "夏", "秋")  # from December, March, June, September
PERIODS = ("month", "quarter", "season", "year", "all")
WHOLE_YEAR = 13  # in short_in
NOT_JUDGED = -1


class Days(NamedTuple):
    """Daily values of places: `day` datetime64[D] (n,), rising; each column (…, n)."""

    day: Dates
    columns: Mapping[str, Floats]

    def between(self, first: date, last: date) -> Days:
        """The days from `first` to `last`, both included."""
        inside = (self.day >= np.datetime64(first)) & (self.day <= np.datetime64(last))
        return Days(self.day[inside], {name: column[..., inside] for name, column in self.columns.items()})


def join(parts: Sequence[Days]) -> Days:
    """Parts of a period put together, in any order. A day in two parts raises ValueError."""
    day = np.concatenate([part.day for part in parts])
    order = np.argsort(day, kind="stable")
    if len(np.unique(day)) != len(day):
        raise ValueError("同一天出现在两部分里 (a day is in two parts)")
    names = parts[0].columns
    columns = {name: np.concatenate([part.columns[name] for part in parts], axis=-1)[..., order] for name in names}
    return Days(day[order], columns)


def periods(day: Dates, by: str) -> Iterator[tuple[str, date, date]]:
    """Name, first and last day of each period that holds one of the days; raises ValueError for an unknown `by`.

    Calendar month, calendar quarter (GB 3095 季平均), season from March, June, September, December, calendar year, or
    all days given.
    """
    if by not in PERIODS:
        raise ValueError(f"时段 {by!r}：只有 {'、'.join(PERIODS)}")
    known: list[date] = [d.astype(object) for d in np.unique(day)]
    if by == "all" and known:
        yield f"{known[0]}..{known[-1]}", known[0], known[-1]
    elif by != "all":
        months = {"month": 1, "quarter": 3, "season": 3, "year": 12}[by]
        shift = 1 if by == "season" else 0  # a season begins a month before a quarter
        for number in dict.fromkeys((d.year * 12 + d.month - 1 + shift) // months for d in known):
            first = _month(number * months - shift)
            yield _name(by, first), first, _month((number + 1) * months - shift) - timedelta(days=1)


_NAMED = re.compile(
    r"(?P<year>\d{4})(?:-(?:Q(?P<quarter>[1-4])|(?P<season>[冬春夏秋])|(?P<month>\d\d?)(?:\.\.(?P<to>\d\d?))?))?"
)


def last_day(name: str) -> date:
    """Last day of a named period: as `periods` names them, or "2019-01..05" (months). Raises ValueError."""
    if ".." in name and len(name) > len("2019-01..05"):
        return date.fromisoformat(name.rpartition("..")[2])
    match = _NAMED.fullmatch(name)
    if match is None:
        raise ValueError(f"时段 {name!r} 读不懂，例如 2025、2025-05、2025-Q2、2025-春、2025-01..05")
    year = int(match["year"])
    if match["quarter"]:
        month = int(match["quarter"]) * 3
    elif match["season"]:
        month = SEASONS.index(match["season"]) * 3 + (14 if match["season"] == "冬" else 2)
    else:
        month = int(match["to"] or match["month"] or 12)
        if not 1 <= month <= 12:
            raise ValueError(f"时段 {name!r} 没有这个月")
    return _month(year * 12 + month) - timedelta(days=1)


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _name(by: str, first: date) -> str:
    if by == "month":
        return f"{first:%Y-%m}"
    if by == "quarter":
        return f"{first.year}-Q{first.month // 3 + 1}"
    if by == "season":
        return f"{first.year}-{SEASONS[first.month // 3 % 4]}"
    return str(first.year)


# ---- statistics, validity, verdict


@dataclass(frozen=True, slots=True)
class PeriodColumns:
    """Statistics of one period, an axis of S rows (`rows`) and one of places.

    `law` the day whose law judged it · `value` rounded, NaN without a day · `days` valid days · `short_in` int8: 0, the
    first month (1–12) that lacks valid days, or 13 when the year does · `met` int8: 1 meets class 2, 0 exceeds, -1 not
    judged · `multiple` (C - S)/S of what exceeds, else NaN · `over` days above the daily limit (-1 for annual means).
    """

    first: date
    last: date
    law: date
    rows: tuple[AirStatistic, ...]
    limits: tuple[AirLimit, ...]
    roundings: tuple[AirRounding, ...]
    value: Floats
    days: Ints
    short_in: NDArray[np.int8]
    met: NDArray[np.int8]
    multiple: Floats
    over: Ints

    @property
    def edition(self) -> str:
        return self.rows[0].standard

    def compliant(self, place: int) -> bool | None:
        """Whether the place meets class 2 in all items; None when one of them is not judged and none exceeds."""
        met = self.met[:, place]
        return False if (met == 0).any() else None if (met == NOT_JUDGED).any() else True

    def explain(self, row: int, place: int) -> Label:
        """Why the verdict on a statistic is what it is, or why there is none."""
        statistic, limit = self.rows[row], self.limits[row]
        item = Label(*(f"{statistic.pollutant} {words}" for words in name_of(statistic)))
        facts: dict[str, Any] = {"unit": statistic.unit, "limit": f"{limit.class2:g}", "cite": limit.cite}
        if np.isnan(self.value[row, place]):
            return _say(Reason.NO_DAYS, item=item)
        if short := int(self.short_in[row, place]):
            rule = _minimum(statistic.pollutant, short, self.law)
            when = Label("全年", "the year") if short == WHOLE_YEAR else Label(f"{short}月", f"month {short}")
            days = self.days[row, place]
            return _say(Reason.PERIOD_SHORT, item=item, when=when, days=days, minimum=rule.minimum, cite=rule.cite)
        if self.met[row, place] == NOT_JUDGED:
            return _say(Reason.NOT_A_YEAR, item=item, **facts)
        facts |= {"value": self.text(row, place), "multiple": f"{self.multiple[row, place]:g}"}
        return _say(Reason.PERIOD_MEETS if self.met[row, place] else Reason.PERIOD_EXCEEDS, item=item, **facts)

    def text(self, row: int, place: int) -> str:
        """The value with the decimals of its edition, "NA" without one."""
        value = self.value[row, place]
        return "NA" if np.isnan(value) else f"{value:.{self.roundings[row].digits}f}"

    def basis(self, row: int) -> tuple[Row, ...]:
        """Table rows a statistic stands on: what it is, its rounding, its limit, its least number of days."""
        statistic = self.rows[row]
        return statistic, self.roundings[row], self.limits[row], _minimum(statistic.pollutant, WHOLE_YEAR, self.law)


def _say(reason: Reason, **facts: Any) -> Label:
    """`say`, with a fact that is a Label in the language of its sentence."""
    zh, en = ({k: f[side] if isinstance(f, Label) else f for k, f in facts.items()} for side in (0, 1))
    return Label(say(reason, **zh).zh, say(reason, **en).en)


def name_of(row: AirStatistic) -> Label:
    """Words for a statistic."""
    if row.statistic == "mean":
        return Label("平均", "mean")
    what = (
        Label("日最大8小时平均", "daily maximum 8-h mean") if row.averaging == "8h" else Label("日平均", "daily mean")
    )
    return Label(f"{what.zh}第{row.p}百分位数", f"{row.p}th percentile of the {what.en}")


def evaluate(days: Days, first: date, last: date, law: date | None = None) -> PeriodColumns:
    """Statistics of the days from `first` to `last`, by the law of `law` (default: of the last day).

    Columns have shape (places, n); a pollutant without a column is missing. Raises NotInForce before the first edition.
    """
    law = law or last
    cut = days.between(first, last)
    shape = next(iter(cut.columns.values())).shape
    rows = tuple(in_force(AirStatistic, law)) or (one(AirStatistic, law),)  # none: the error says so
    limits = tuple(one(AirLimit, law, pollutant=r.pollutant, averaging=r.averaging) for r in rows)
    roundings = tuple(one(AirRounding, law, quantity="concentration", pollutant=r.pollutant) for r in rows)
    absent = np.full(shape, np.nan)
    columns = [cut.columns.get(COLUMNS[row.pollutant], absent) for row in rows]
    value = np.stack([_statistic(r, c, q.digits) for r, c, q in zip(rows, columns, roundings, strict=True)])
    short_in = np.stack([_short_in(r.pollutant, cut, c, first, last, law) for r, c in zip(rows, columns, strict=True)])
    class2: Floats = np.array([limit.class2 for limit in limits])[:, None]
    judged = (short_in == 0) & ~np.isnan(value) & _is_year(first, last)
    over = [
        (c > s.class2).sum(axis=-1) if s.averaging != "year" else _none(c) for c, s in zip(columns, limits, strict=True)
    ]
    return PeriodColumns(
        first, last, law, rows, limits, roundings, value,
        days=np.stack([(~np.isnan(column)).sum(axis=-1) for column in columns]),
        short_in=short_in,
        met=np.where(judged, value <= class2, NOT_JUDGED).astype(np.int8),
        multiple=_multiple(np.where(judged & (value > class2), value, np.nan), class2, law),
        over=np.stack(over),
    )  # fmt: skip


def _none(column: Floats) -> Ints:
    return np.full(column.shape[:-1], -1, np.int64)


def _statistic(row: AirStatistic, column: Floats, digits: int) -> Floats:
    return statistics.mean(column, digits)[0] if row.p is None else statistics.percentile(column, row.p, digits)


def _multiple(value: Floats, limit: Floats, law: date) -> Floats:
    digits = one(AirRounding, law, quantity="multiple").digits
    base = statistics.millionths(limit)
    excess = np.asarray(statistics.millionths(value) - base, np.float64)
    return statistics.round_ratio(excess, base, digits)


def _is_year(first: date, last: date) -> bool:
    return (first.month, first.day, last.month, last.day) == (1, 1, 12, 31) and first.year == last.year


def _short_in(pollutant: str, days: Days, column: Floats, first: date, last: date, law: date) -> NDArray[np.int8]:
    """First month wholly inside the period with too few valid days; 13 when only the whole year has too few; else 0."""
    valid = ~np.isnan(column)
    out = np.zeros(column.shape[:-1], np.int8)
    if _is_year(first, last):
        out[valid.sum(axis=-1) < _minimum(pollutant, WHOLE_YEAR, law).minimum] = WHOLE_YEAR
    for name, begin, end in reversed(list(_whole_months(first, last))):
        inside = (days.day >= np.datetime64(begin)) & (days.day <= np.datetime64(end))
        out[valid[..., inside].sum(axis=-1) < _minimum(pollutant, name, law).minimum] = name
    return out


def _whole_months(first: date, last: date) -> Iterator[tuple[int, date, date]]:
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        begin, end = _month(number), _month(number + 1) - timedelta(days=1)
        if first <= begin and end <= last:
            yield begin.month, begin, end


def _minimum(pollutant: str, month: int, day: date) -> Validity:
    """The row that says how many valid days a month (1–12) or the year (13) needs."""
    part = {2: "february", WHOLE_YEAR: "year"}.get(month, "month")
    return one(Validity, day, scope=f"{SCOPES.get(pollutant, 'air')}_{part}")


# ---- days by class, cities


def class_days(level: NDArray[np.int8]) -> Ints:
    """Days at each level from levels (…, n) of `air.AqiColumns`: (…, 7), index 0 is days without a published AQI."""
    return np.stack([(level == k).sum(axis=-1) for k in range(7)], axis=-1)


def good_rate(counted: Ints, law: date) -> Floats:
    """优良天数比例 [%]: days at level 1 and 2 of the days with an AQI; NaN without a day."""
    digits = one(AirRounding, law, quantity="rate").digits
    good, judged = counted[..., 1] + counted[..., 2], counted[..., 1:].sum(axis=-1)
    return statistics.round_ratio(good.astype(np.float64) * 100, judged.astype(np.float64), digits)


def city(stations: Days, law: date) -> Days:
    """Daily values of a city: mean of its stations (stations, n) → (1, n), NaN with too few valid stations.

    The least share of valid stations is the row air_city_points of validity.csv (trust unsure).
    """
    share = one(Validity, law, scope="air_city_points").minimum
    columns = {}
    for name, column in stations.columns.items():
        mean, count = statistics.mean(column.T, 1 if name == "co_24h" else 0)
        columns[name] = np.where(count * 100 >= share * len(column), mean, np.nan)[None, :]
    return Days(stations.day, columns)
