"""环境空气质量指数 (AQI): hourly and daily, HJ 633-2012 and HJ 633-2026, chosen by the hour measured.

IAQI = (IAQIhi-IAQIlo)/(BPhi-BPlo)·(C-BPlo)+IAQIlo, rounded up; AQI = the largest IAQI; the primary pollutants are all
those at the maximum when it is above 50. Arithmetic is exact: concentrations are whole multiples of 10⁻⁶ in float64,
products stay below 2⁵³ and a quotient of two whole numbers is whole only when it is exact, so `ceil` never slips
(CO 24 h 2.2 mg/m³ is 55, not 56).

The hourly report judges the 1-hour mean of PM10 and PM2.5 by the 24-hour column: the text of 2026, and what the
national platform did under the edition of 2012 (2,937 published values).

Units: µg/m³, CO mg/m³. NaN or negative = missing. A pollutant not monitored by plan ("/") is told apart by a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.science import averaging
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import AqiClass, AqiCompleteness, IaqiRow, Row, SensitiveGroup, rows
from ceguan.words import BEIJING, Label

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

POLLUTANTS = ("PM2.5", "PM10", "O3", "NO2", "SO2", "CO")
"""Order of the bits in `primary` and `missing`, and of the rows of `iaqi`."""

AVERAGING = {
    "1h": Label("1小时平均", "1-hour"),
    "8h": Label("8小时平均", "8-hour"),
    "24h": Label("24小时平均", "24-hour"),
}

NA = -1  # in aqi; level 0
NO_INDEX = -1  # in iaqi: the value has no index of this averaging time
MISSING = -2  # in iaqi
CHUNK = 1 << 15  # rows at a time: the working columns stay in the processor's cache


class Item(NamedTuple):
    """One input column: its name, the pollutant, and the averaging time of the breakpoints it is judged by."""

    column: str
    pollutant: str
    averaging: str
    fallback: str = ""  # column of 24-h means used where the table gives no 1-h index


HOURLY = (
    Item("pm25_1h", "PM2.5", "24h"),
    Item("pm10_1h", "PM10", "24h"),
    Item("o3_1h", "O3", "1h"),
    Item("no2_1h", "NO2", "1h"),
    Item("so2_1h", "SO2", "1h", fallback="so2_24h"),
    Item("co_1h", "CO", "1h"),
)
DAILY = (
    Item("pm25_24h", "PM2.5", "24h"),
    Item("pm10_24h", "PM10", "24h"),
    Item("o3_8h", "O3", "8h"),
    Item("no2_24h", "NO2", "24h"),
    Item("so2_24h", "SO2", "24h"),
    Item("co_24h", "CO", "24h"),
)
DAILY_O3_1H = Item("o3_1h", "O3", "1h")  # the daily report of 2012 has it, that of 2026 has not


@dataclass(frozen=True, slots=True)
class AqiColumns:
    """Result columns, one cell per input row.

    aqi int16 (-1: none may be given) · level int8 (0 none, 1 优 … 6 严重污染) · primary, missing uint8 bits in the
    order of POLLUTANTS · iaqi int16 (6, n), -2 missing, -1 no index · reason uint8 (`Reason`) · edition int8, index
    into `editions()`, -1 none.
    """

    aqi: NDArray[np.int16]
    level: NDArray[np.int8]
    primary: NDArray[np.uint8]
    iaqi: NDArray[np.int16]
    missing: NDArray[np.uint8]
    reason: NDArray[np.uint8]
    edition: NDArray[np.int8]

    @classmethod
    def empty(cls, n: int) -> AqiColumns:
        return cls(
            aqi=np.full(n, NA, np.int16),
            level=np.zeros(n, np.int8),
            primary=np.zeros(n, np.uint8),
            iaqi=np.full((len(POLLUTANTS), n), MISSING, np.int16),
            missing=np.zeros(n, np.uint8),
            reason=np.full(n, Reason.NO_EDITION, np.uint8),
            edition=np.full(n, -1, np.int8),
        )

    def explain(self, row: int) -> Label:
        """Why row `row` has no number, or has one under a special rule; empty when nothing is to be said."""
        if self.reason[row] in (Reason.NONE, Reason.NO_DATA, Reason.NO_EDITION):
            return say(self.reason[row])
        rule = _completeness(editions()[self.edition[row]])
        if self.reason[row] == Reason.NO_1H_INDEX:
            return _without_index(rule.standard, POLLUTANTS[int(np.argmax(self.iaqi[:, row] == NO_INDEX))])
        items = "、".join(names(int(self.missing[row])))
        return say(self.reason[row], items=items, above=rule.publish_above, cite=rule.cite)

    def basis(self, row: int, items: Sequence[Item] = HOURLY) -> tuple[Row, ...]:
        """Table rows that row `row` was judged by: breakpoints of the items present, the class, the completeness."""
        if self.edition[row] < 0:
            return ()
        edition = editions()[self.edition[row]]
        present = [i for i in items if self.iaqi[POLLUTANTS.index(i.pollutant), row] != MISSING]
        classes = [c for c in rows(AqiClass) if c.standard == edition and c.level == self.level[row]]
        return (*(_breakpoints(edition, i) for i in present), *classes, _completeness(edition))


@cache
def editions() -> tuple[str, ...]:
    """Editions of HJ 633 in the tables, oldest first."""
    return tuple(dict.fromkeys(r.standard for r in sorted(rows(IaqiRow), key=lambda r: r.valid_from)))


def edition_at(hour_start: NDArray[np.int64]) -> NDArray[np.int8]:
    """Index into `editions()` in force when each hour began (UTC epoch seconds); -1 before the first or in a gap."""
    out = np.full(np.shape(hour_start), -1, np.int8)
    for index, name in enumerate(editions()):
        first = next(r for r in rows(IaqiRow) if r.standard == name)
        inside = np.asarray(hour_start) >= _midnight(first.valid_from)
        if first.valid_to is not None:
            inside &= np.asarray(hour_start) < _midnight(first.valid_to) + 86400
        out[inside] = index
    return out


def edition_on(day: date) -> int:
    """Index into `editions()` in force on a Beijing day; -1 when none is."""
    return int(edition_at(np.array([_midnight(day)]))[0])


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), BEIJING).timestamp())


def names(bits: int) -> tuple[str, ...]:
    """Pollutant names of a bit set, in the order of POLLUTANTS."""
    return tuple(name for i, name in enumerate(POLLUTANTS) if bits >> i & 1)


def bits(pollutants: str) -> int:
    """Bit set of names joined by blanks."""
    return sum(1 << POLLUTANTS.index(name) for name in pollutants.split())


def class_of(edition: str, level: int) -> AqiClass:
    """The class row (name, colour, advice) of level 1 … 6 in an edition."""
    return next(c for c in rows(AqiClass) if c.standard == edition and c.level == level)


def sensitive_groups(result: AqiColumns, row: int) -> tuple[SensitiveGroup, ...]:
    """Who should take care at `row`: a table row for each pollutant whose IAQI is above its bound, worst first.

    Empty under HJ 633-2012, which names no groups by pollutant, and without an AQI.
    """
    if result.aqi[row] == NA:
        return ()
    edition = editions()[result.edition[row]]
    index = dict(zip(POLLUTANTS, result.iaqi[:, row].tolist(), strict=True))
    found = [g for g in rows(SensitiveGroup) if g.standard == edition and index[g.pollutant] > g.above]
    return tuple(sorted(found, key=lambda g: -index[g.pollutant]))


@cache
def _completeness(edition: str) -> AqiCompleteness:
    return next(r for r in rows(AqiCompleteness) if r.standard == edition)


@cache
def _without_index(edition: str, pollutant: str) -> Label:
    """Of the one averaging time that the table sends elsewhere: SO2 of an hour, O3 of eight."""
    row = next(r for r in rows(IaqiRow) if (r.standard, r.pollutant) == (edition, pollutant) and "use_" in r.above)
    (given_zh, given_en), (instead_zh, instead_en) = (AVERAGING[t] for t in (row.averaging, row.above[len("use_") :]))
    facts = {"items": pollutant, "top": f"{row.breakpoints[-1][1]:g}", "unit": row.unit, "cite": row.cite}
    return Label(
        say(Reason.NO_1H_INDEX, given=given_zh, instead=instead_zh, **facts).zh,
        say(Reason.NO_1H_INDEX, given=given_en, instead=instead_en, **facts).en,
    )


@cache
def _breakpoints(edition: str, item: Item) -> IaqiRow:
    wanted = (edition, item.pollutant, item.averaging)
    return next(r for r in rows(IaqiRow) if (r.standard, r.pollutant, r.averaging) == wanted)


# ---- one pollutant


class _Scale(NamedTuple):
    """IAQI of a whole number of steps (1 µg/m³, or 0.1 mg/m³ of CO) as a table: index 0 missing, n+1 for n steps."""

    row: IaqiRow
    steps: float  # per unit
    rounds: bool  # 2026: concentrations are rounded half-even to a step first (4.2.2–4.2.6)
    table: NDArray[np.int16]


def iaqi_exact(row: IaqiRow, value: Floats) -> NDArray[np.int16]:
    """IAQI of any concentration ≥ 0 to six decimals, rounded up; NO_INDEX where the table sends elsewhere."""
    index, points = (np.array(c, float) for c in zip(*row.breakpoints, strict=True))
    points = np.rint(points * 1e6)
    c = np.rint(value * 1e6)
    seg = np.clip(np.searchsorted(points, c, side="left"), 1, len(points) - 1)
    part = (index[seg] - index[seg - 1]) * (c - points[seg - 1]) / (points[seg] - points[seg - 1])
    above = {"500": 500, "cap": index[-1], "use_24h": NO_INDEX, "use_1h": NO_INDEX}[row.above]
    return np.where(c > points[-1], above, index[seg - 1] + np.ceil(part)).astype(np.int16)


@cache
def _scale(edition: str, item: Item) -> _Scale:
    row = _breakpoints(edition, item)
    steps = 10.0 if item.pollutant == "CO" else 1.0
    whole = np.arange(int(row.breakpoints[-1][1] * steps) + 2)  # one step above the table stands for all beyond
    table = np.concatenate([[MISSING], iaqi_exact(row, whole / steps)]).astype(np.int16)
    return _Scale(row, steps, edition != "HJ 633-2012", table)


def _iaqi(scale: _Scale, value: Floats) -> NDArray[np.int16]:
    """IAQI of a column; NaN and negative give MISSING."""
    steps = value * scale.steps
    whole = np.rint(steps)
    place = np.minimum(whole, len(scale.table) - 2.0)
    place += 1.0
    place[~(value >= 0)] = 0.0
    out = scale.table.take(place.astype(np.intp))
    if not scale.rounds:
        between = np.abs(steps - whole) > 1e-6
        between &= value >= 0
        if between.any():
            out[between] = iaqi_exact(scale.row, value[between])
    return out


# ---- the report


def hourly_aqi(
    columns: Mapping[str, Floats],
    edition: NDArray[np.int8] | str,
    not_monitored: Mapping[str, Bools] | None = None,
    platform_quirks: bool = False,
) -> AqiColumns:
    """Hourly AQI of columns so2_1h no2_1h co_1h o3_1h pm10_1h pm25_1h (so2_24h where SO2 1 h may exceed 800).

    `edition`: a name for all rows, or `edition_at(hour_start)`. `not_monitored`: masks by column name. An absent
    column is missing everywhere. HJ 633-2026 5.3: with a pollutant missing the AQI is given only above 100;
    `platform_quirks` lets the absence of PM10 pass, as the national platform does. HJ 633-2012: AQI of what there is.
    """
    return _report(
        columns, edition, not_monitored or {}, platform_quirks, {"HJ 633-2012": HOURLY, "HJ 633-2026": HOURLY}
    )


def daily_aqi(
    columns: Mapping[str, Floats],
    edition: NDArray[np.int8] | str,
    not_monitored: Mapping[str, Bools] | None = None,
    platform_quirks: bool = False,
) -> AqiColumns:
    """Daily AQI of columns so2_24h no2_24h co_24h pm10_24h pm25_24h o3_8h (daily maximum) and, for 2012, o3_1h
    (daily maximum). Rules as `hourly_aqi`; columns already stand for valid days (see `daily_columns`).
    """
    items = {"HJ 633-2012": (*DAILY, DAILY_O3_1H), "HJ 633-2026": DAILY}
    return _report(columns, edition, not_monitored or {}, platform_quirks, items)


def _report(
    columns: Mapping[str, Floats],
    edition: NDArray[np.int8] | str,
    not_monitored: Mapping[str, Bools],
    quirks: bool,
    items: Mapping[str, tuple[Item, ...]],
) -> AqiColumns:
    n = len(next(iter(columns.values())))
    index = np.full(n, editions().index(edition), np.int8) if isinstance(edition, str) else edition
    out = AqiColumns.empty(n)
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        for e in np.unique(index[part]):
            here = index[part] == e
            where: slice | NDArray[np.intp] = part if here.all() else start + np.flatnonzero(here)
            if e >= 0:
                _judge(out, where, int(e), items[editions()[e]], columns, not_monitored, quirks)
    return out


def _judge(
    out: AqiColumns,
    where: slice | NDArray[np.intp],
    edition: int,
    items: tuple[Item, ...],
    columns: Mapping[str, Floats],
    not_monitored: Mapping[str, Bools],
    quirks: bool,
) -> None:
    """Fill the rows `where`, all of one edition."""
    name = editions()[edition]
    index = np.full((len(POLLUTANTS), out.aqi[where].size), MISSING, np.int16)
    planned_out = np.zeros(index.shape[1], np.uint8)
    for item in items:
        bit = POLLUTANTS.index(item.pollutant)
        if item.column in columns:
            np.maximum(index[bit], _item(name, item, columns, where), out=index[bit])
        if item.column in not_monitored:
            planned_out |= not_monitored[item.column][where].astype(np.uint8) << np.uint8(bit)
    absent = np.zeros(index.shape[1], np.uint8)
    for bit in range(len(POLLUTANTS)):
        absent |= (index[bit] == MISSING).view(np.uint8) << np.uint8(bit)
    top = index.max(axis=0)
    none = top < 0
    reason = _reasons(name, index, top, absent & ~planned_out, quirks)
    hidden = none | (reason == Reason.INCOMPLETE)
    top = np.maximum(top, _lowest(name))
    top[hidden] = NA
    out.aqi[where], out.iaqi[:, where], out.edition[where] = top, index, edition
    out.missing[where], out.reason[where] = absent & ~planned_out, reason
    out.level[where] = _levels(name).take(top.astype(np.intp), mode="clip")
    out.level[where] *= ~hidden
    out.primary[where] = _primary(index, top)


def _item(
    edition: str, item: Item, columns: Mapping[str, Floats], where: slice | NDArray[np.intp]
) -> NDArray[np.int16]:
    found = _iaqi(_scale(edition, item), columns[item.column][where])
    if item.fallback in columns and (found == NO_INDEX).any():
        daily = _iaqi(_scale(edition, item._replace(averaging="24h")), columns[item.fallback][where])
        found = np.where((found == NO_INDEX) & (daily >= 0), daily, found)
    return found


def _reasons(
    edition: str, index: NDArray[np.int16], top: NDArray[np.int16], missing: NDArray[np.uint8], quirks: bool
) -> NDArray[np.uint8]:
    rule = _completeness(edition)
    reason = np.zeros(len(top), np.uint8)
    reason[(index == NO_INDEX).any(axis=0)] = Reason.NO_1H_INDEX
    if rule.publish_above is not None and missing.any():
        low = (missing != 0) & (top <= rule.publish_above)
        optional = np.uint8(bits(rule.quirk_optional) if quirks else 0)
        reason[low] = Reason.INCOMPLETE
        reason[low & ((missing & ~optional) == 0)] = Reason.PLATFORM_QUIRK
    reason[top == MISSING] = Reason.NO_DATA
    return reason


def _primary(index: NDArray[np.int16], top: NDArray[np.int16]) -> NDArray[np.uint8]:
    out = np.zeros(len(top), np.uint8)
    for bit in range(len(POLLUTANTS)):
        out |= (index[bit] == top).view(np.uint8) << np.uint8(bit)
    out *= top > 50
    return out


@cache
def _levels(edition: str) -> NDArray[np.int8]:
    """Level of every AQI 0 … 500."""
    table = np.zeros(501, np.int8)
    for row in rows(AqiClass):
        if row.standard == edition:
            table[row.lo : row.hi + 1] = row.level
    return table


@cache
def _lowest(edition: str) -> np.int16:
    """Smallest AQI of the edition: 0 in 2012, 1 in 2026."""
    return np.int16(min(row.lo for row in rows(AqiClass) if row.standard == edition))


def account(result: AqiColumns, row: int, columns: Mapping[str, Floats], items: Sequence[Item] = HOURLY) -> Label:
    """How the AQI of row `row` came about: each value, the breakpoints it lies between, its IAQI; largest first.

    `columns` and `items` are those the result was made of. Without an AQI it is why there is none (`explain`).
    """
    if result.aqi[row] == NA:
        return result.explain(row)
    edition = editions()[result.edition[row]]
    parts = []
    for item in items:
        index = int(_item(edition, item, columns, slice(row, row + 1))[0]) if item.column in columns else MISSING
        if index >= 0:
            scale = _scale(edition, item)
            parts.append((index, f"{_between(scale, float(columns[item.column][row]), item)} {index}"))
    parts.sort(key=lambda part: -part[0])
    words = class_of(edition, int(result.level[row]))
    cite = _breakpoints(edition, items[0]).cite
    facts = {"aqi": int(result.aqi[row]), "parts": "；".join(text for _, text in parts), "cite": cite}
    said = say(Reason.IAQI_ACCOUNT, level_zh=words.zh, level_en=words.en, **facts)
    groups = [say(Reason.SENSITIVE, item=g.pollutant, zh=g.zh, en=g.en) for g in sensitive_groups(result, row)]
    zh, en = zip(said, result.explain(row), _without(result, row), *groups, strict=True)
    return Label("；".join(filter(None, zh)), "; ".join(filter(None, en)))


def _without(result: AqiColumns, row: int) -> Label:
    """Which pollutants an AQI was given without; empty when none was missing, or when `explain` says it already."""
    if not result.missing[row] or result.reason[row] == Reason.PLATFORM_QUIRK:
        return say(Reason.NONE)
    cite = _completeness(editions()[result.edition[row]]).cite
    return say(Reason.WITHOUT, items="、".join(names(int(result.missing[row]))), cite=cite)


def _between(scale: _Scale, value: float, item: Item) -> str:
    """The value and the two breakpoints it lies between, e.g. "PM2.5 76 µg/m³ (60–115 → 100–150)".

    Where the edition rounds first, the value counted stands behind it: "PM2.5 60.5 ≈ 60 µg/m³ (35–60 → 50–100)".
    """
    points = scale.row.breakpoints
    counted = np.rint(value * scale.steps) / scale.steps if scale.rounds else value
    high = next((k for k, (_, c) in enumerate(points) if k and counted <= c), len(points) - 1)
    (i0, c0), (i1, c1) = points[high - 1], points[high]
    span = f"{c0:g}–{c1:g} → {i0}–{i1}" if counted <= c1 else f"> {c1:g}"
    said = f"{value:.6g}" + ("" if counted == value else f" ≈ {counted:g}")
    return f"{item.pollutant} {said} {scale.row.unit} ({span})"


# ---- hours to days


def daily_columns(hours: Mapping[str, Floats], minimum: int = 20, o3_limit: float = 160) -> dict[str, Floats]:
    """Columns for `daily_aqi` from (…, 24) grids of the hourly columns; first cell 00:00–01:00 Beijing time.

    24-h means need `minimum` valid hours (GB 3095 table 4: 20); O3 is the daily maximum 8-h mean and the daily maximum
    hour. Values are exact, rounded half-even to whole µg/m³, CO to 0.1 mg/m³ (HJ 663-2013, HJ 633-2026 4.2; GB/T 8170).
    Grids of one hour column may be float32 or float64; NaN or negative is missing.
    """
    out: dict[str, Floats] = {}
    for name, grid in hours.items():
        digits = 1 if name == "co_1h" else 0
        if name == "o3_1h":
            out["o3_8h"] = _by_blocks(grid, lambda day: averaging.daily_max_8h(day, o3_limit))
            out["o3_1h"] = _by_blocks(grid, lambda day: averaging.daily_max_hour(day, minimum))
        else:
            daily = partial(averaging.daily_mean, minimum=minimum, digits=digits)
            out[name.replace("_1h", "_24h")] = _by_blocks(grid, daily)
    return out


def _by_blocks(grid: Floats, daily: Callable[[Floats], Floats]) -> Floats:
    """One value for each day of (…, 24), a block at a time so that the working columns stay in the cache."""
    days = grid.reshape(-1, 24)
    out = np.empty(len(days))
    for start in range(0, len(days), CHUNK // 24):
        out[start : start + CHUNK // 24] = daily(days[start : start + CHUNK // 24])
    return out.reshape(grid.shape[:-1])
