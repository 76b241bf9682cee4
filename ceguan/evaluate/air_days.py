"""Verbs of ambient air that make days of hours and periods of days."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from ceguan.evaluate.air import EDITIONS, account, amounts, apart, aqi_cells, aqi_options, editions, law_day
from ceguan.evaluate.table import NOT_MONITORED, BadInput, Table, moment, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import air, air_events, air_index, air_period
from ceguan.standards.tables import AirEvent, NotInForce, rows
from ceguan.words import beijing

HOUR, DAY, EIGHT = 3600, 86400, 8 * 3600  # a Beijing day begins eight hours before the UTC day
DAILY = tuple(item.column for item in air.DAILY)
DAILY_OUT = ("so2_24h", "no2_24h", "co_24h", "o3_8h", "o3_1h", "pm10_24h", "pm25_24h")
STATISTICS_HEADER = (
    "city", "period", "pollutant", "statistic", "value", "unit", "valid_days", "limit", "verdict", "multiple",
    "over_days", "edition", "trust", "reason",
)  # fmt: skip
VERDICTS = {1: "达标", 0: "超标", air_period.NOT_JUDGED: "不评价"}


def add_verbs(verbs: Any) -> None:
    daily = add_verb(
        verbs,
        "air-daily",
        air_daily,
        "环境空气质量指数（日），由小时值求日均值和臭氧日最大8小时平均，HJ 633、GB 3095 表4",
        "小时列：time, station, so2_1h, no2_1h, co_1h, o3_1h, pm10_1h, pm25_1h；或日列：date, station, so2_24h, "
        "no2_24h, co_24h, o3_8h, pm10_24h, pm25_24h（可有 o3_1h 日最大值）。北京时间；µg/m³，CO 为 mg/m³；"
        "空、NA、NaN、— 或负值为缺测，/ 为按计划不监测。",
    )
    daily.add_argument("--label", choices=("end", "start"), default="end", help="time 是该小时的结束（默认）还是开始")
    aqi_options(daily)
    daily.add_argument(
        "--events",
        metavar="文件",
        help="剔除的时段：kind（沙尘天气过程等）, start, end, source，可有 station, pollutants",
    )
    law_options(daily, EDITIONS)
    period = add_verb(
        verbs,
        "air-statistics",
        air_statistics,
        "环境空气质量评价：由日值求时段均值、百分位数、有效性、达标与优良天数，HJ 663、GB 3095",
        "列：date, city 或 station，和日列（air-daily 的输出即可）；两者都有时，城市值为各站平均。"
        "限值针对日历年，其他时段只作统计；某月有效日不足则不评价。",
    )
    period.add_argument("--by", choices=air_period.PERIODS, default="year", help="时段：月、季、季节、年（默认）、全部")
    period.add_argument("--wide", action="store_true", help="每城市每时段一行，列即 air-period 的输入")
    law_options(period, EDITIONS)


# ---- days


class Hours(NamedTuple):
    """Hours as grids (stations, days, 24): `stations` in the order of the file, `days` midnights [UTC epoch s]."""

    stations: list[str]
    days: Any
    grids: dict[str, Any]
    planned_out: dict[str, Any]
    given: Any  # (stations, days) whether the file has a row of that day


def air_daily(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["station"])
    if "time" in table.columns:
        names, columns, masks, left_out = _from_hours(table, args)
    else:
        names, columns, masks, left_out = _from_days(table, args)
    midnight = np.array([day for day, _ in names], np.int64)
    result = air.daily_aqi(columns, editions(args, midnight), masks, args.platform_quirks)
    said = account(args, result, columns, (*air.DAILY, air.DAILY_O3_1H))
    header: tuple[str, ...] = ("date", "station", *DAILY_OUT, "aqi", "level", "primary", "edition", "reason")
    out = (
        (
            f"{beijing(day):%Y-%m-%d}",
            station,
            *_daily_cells(columns, i),
            *aqi_cells(result, i, said),
            *left_out[i : i + 1],
        )
        for i, (day, station) in enumerate(names)
    )
    write_table(args.output, (*header, *["left_out"] * bool(left_out)), out, {*DAILY_OUT, "aqi"})
    return 0


def _daily_cells(columns: dict[str, Any], i: int) -> Iterator[str]:
    for name in DAILY_OUT:
        value = columns[name][i] if name in columns else np.nan
        yield "" if np.isnan(value) else f"{value:.6g}"


def _from_hours(table: Table, args: argparse.Namespace) -> tuple[list[tuple[int, str]], Any, Any, list[str]]:
    hours = _hours(table, args.label)
    grids, left_out = _without_events(hours, args.events)
    columns = {name: column[hours.given] for name, column in air.daily_columns(grids).items()}
    at = np.argwhere(hours.given)
    names = [(int(hours.days[d]), hours.stations[s]) for s, d in at]
    masks = {}
    for item in (*air.DAILY, air.DAILY_O3_1H):
        masks[item.column] = hours.planned_out[f"{item.column.partition('_')[0]}_1h"][hours.given]
    return names, columns, masks, [left_out[s][d] for s, d in at] if args.events else []


def _hours(table: Table, label: str) -> Hours:
    items = [item.column for item in air.HOURLY]
    table.require(["time", *items])
    begun = np.array([int(t.timestamp()) for t in table.parse("time", moment, "不是时间 (not a time)")], np.int64)
    for row in np.flatnonzero(begun % HOUR).tolist():
        raise table.fault(row, "time", f"{table.text('time')[row]!r} 不是整点 (not a full hour)")
    begun -= HOUR if label == "end" else 0
    stations = list(dict.fromkeys(table.text("station")))
    place = {name: i for i, name in enumerate(stations)}
    station = np.array([place[name] for name in table.text("station")], np.int64)
    days, day = np.unique((begun + EIGHT) // DAY, return_inverse=True)
    shape = (len(stations), len(days), 24)
    cell = np.ravel_multi_index((station, day, (begun + EIGHT) % DAY // HOUR), shape) if len(begun) else begun
    _once(table, "time", cell, "同一站点同一小时已有一行 (this hour of this station is there already)")
    slash = apart(table, items)
    grids = {name: _grid(shape, cell, column) for name, column in amounts(table, items).items()}
    given = _grid(shape, cell, np.ones(len(cell)))
    planned = {name: _all_slash(given, _grid(shape, cell, slash[name].astype(float))) for name in items}
    return Hours(stations, days * DAY - EIGHT, grids, planned, ~np.isnan(given).all(axis=-1))


def _once(table: Table, column: str, cell: Any, says: str) -> None:
    """BadInput at the first row whose cell of the grid has a row already."""
    _, first = np.unique(cell, return_index=True)
    for row in np.setdiff1d(np.arange(len(cell)), first).tolist():
        raise table.fault(row, column, says)


def _grid(shape: tuple[int, ...], cell: Any, value: Any) -> Any:
    out = np.full(shape, np.nan)
    out.ravel()[cell] = value
    return out


def _all_slash(given: Any, slash: Any) -> Any:
    """Days on which every row says "/"."""
    there = ~np.isnan(given)
    return there.any(axis=-1) & (np.where(there, slash, 1.0) == 1).all(axis=-1)


def _without_events(hours: Hours, path: str | None) -> tuple[dict[str, Any], Any]:
    """The grids without the marked hours, and for each station and day what was left out."""
    said = np.full((len(hours.stations), len(hours.days)), "", object)
    if path is None:
        return hours.grids, said
    begun = (hours.days[:, None] + HOUR * np.arange(24)).ravel()
    grids = {name: grid.copy() for name, grid in hours.grids.items()}
    for station, mark in _marks(path):
        if station and station not in hours.stations:
            print(f"{path}：标记的站点 {station} 不在输入里，没有剔除 (station not in the input)", file=sys.stderr)
            continue
        here = slice(None) if not station else slice(hours.stations.index(station), hours.stations.index(station) + 1)
        flat = {name: grid[here].reshape(-1, len(begun)) for name, grid in grids.items()}
        kept, done = air_events.leave_out(flat, begun, [mark])
        for name, grid in grids.items():
            grid[here] = kept[name].reshape(grid[here].shape)
        touched = (hours.days < mark.end) & (hours.days + DAY > mark.start)
        said[here, touched] = said[here, touched] + done[0].explain().zh
    return grids, said


def _marks(path: str) -> list[tuple[str, air_events.Mark]]:
    table = read_table(path, ["kind", "start", "end", "source"])
    kinds = {name: row.kind for row in rows(AirEvent) for name in (row.kind, row.zh, row.en)}
    times = zip(table.parse("start", moment, "不是时间"), table.parse("end", moment, "不是时间"), strict=True)
    more = {
        name: table.text(name) if name in table.columns else [""] * len(table.lines)
        for name in ("station", "pollutants")
    }
    found = []
    for i, (start, end) in enumerate(times):
        kind = table.text("kind")[i].strip()
        if kind not in kinds:
            raise table.fault(i, "kind", f"{kind!r} 不认得；可用：{'、'.join(kinds)}")
        mark = air_events.Mark(
            kinds[kind], int(start.timestamp()), int(end.timestamp()), table.text("source")[i], more["pollutants"][i]
        )
        try:
            air_events.rule(mark)
        except (ValueError, NotInForce) as error:
            raise table.fault(i, "kind", str(error)) from error
        found.append((more["station"][i].strip(), mark))
    return found


def _from_days(table: Table, args: argparse.Namespace) -> tuple[list[tuple[int, str]], Any, Any, list[str]]:
    if args.events:
        raise BadInput(f"{table.file}：日值不能按小时剔除，--events 要求小时列 (events need hours)")
    table.require(["date", *DAILY])
    names = [n for n in (*DAILY, "o3_1h") if n in table.columns]
    midnights = [int(t.timestamp()) for t in table.parse("date", moment, "不是日期 (not a date)")]
    columns = amounts(table, names)
    masks = {n: np.array([c.strip() == NOT_MONITORED for c in table.text(n)], np.bool_) for n in names}
    return list(zip(midnights, table.text("station"), strict=True)), columns, masks, []


# ---- periods


def air_statistics(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["date", *air_period.COLUMNS.values()])
    places = [name for name in ("city", "station") if name in table.columns]
    if not places:
        raise BadInput(f"{table.file}：第 1 行：缺少列 (missing column) city")
    keys, days = _days(table, places)
    cities, days = of_cities(keys, days, law_day(args)) if len(places) == 2 else ([key for (key,) in keys], days)
    found = [
        (name, *judge(days, first, last, law_day(args))) for name, first, last in air_period.periods(days.day, args.by)
    ]
    if args.wide:
        out = [row for name, result, _ in found for row in _wide(cities, name, result)]
        write_table(args.output, ("city", "period", *air_index.ITEMS), out, air_index.ITEMS)
        return 0
    out = [row for name, result, level in found for row in long_rows(cities, name, result, level)]
    numbers = {"value", "valid_days", "limit", "multiple", "over_days"}
    write_table(args.output, STATISTICS_HEADER, out, numbers)
    return 0


def of_cities(
    keys: list[tuple[str, ...]], days: air_period.Days, law: date | None
) -> tuple[list[str], air_period.Days]:
    """Stations as cities: keys are (city, station)."""
    members: dict[str, list[int]] = {}
    for i, (city, _) in enumerate(keys):
        members.setdefault(city, []).append(i)
    law = law or (days.day[-1].astype(object) if len(days.day) else None)
    parts = []
    for own in members.values():
        stations = air_period.Days(days.day, {n: column[own] for n, column in days.columns.items()})
        parts.append(in_law(air_period.city, stations, law))
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in days.columns} if parts else {}
    return list(members), air_period.Days(days.day, columns)


def _days(table: Table, places: Sequence[str]) -> tuple[list[tuple[str, ...]], air_period.Days]:
    """Daily values as grids (places, days), every calendar day from the first to the last."""
    when = np.array([t.date() for t in table.parse("date", moment, "不是日期 (not a date)")], "datetime64[D]")
    given = list(zip(*(table.text(name) for name in places), strict=True))
    keys = list(dict.fromkeys(given))
    at = {key: i for i, key in enumerate(keys)}
    city = np.array([at[key] for key in given], np.int64)
    day = np.arange(when.min(), when.max() + 1) if len(when) else when
    cell = city * len(day) + (when - day[0]).astype(np.int64) if len(when) else city
    _once(table, "date", cell, "同一地点同一天已有一行 (this day of this place is there already)")
    shape = (len(keys), len(day))
    given_values = amounts(table, list(air_period.COLUMNS.values()))
    columns = {name: _grid(shape, cell, column) for name, column in given_values.items()}
    return keys, air_period.Days(day, columns)


def judge(days: air_period.Days, first: date, last: date, law: date | None) -> tuple[air_period.PeriodColumns, Any]:
    """Statistics of a period, and the level of each of its days by the law of the day (or the law asked for)."""
    result = in_law(air_period.evaluate, days, first, last, law)
    cut = days.between(first, last)
    shape = next(iter(cut.columns.values())).shape
    midnight = cut.day.astype("datetime64[s]").astype(np.int64) - EIGHT
    edition = air.edition_at(midnight) if law is None else np.full(len(midnight), air.edition_on(law), np.int8)
    flat = {name: column.ravel() for name, column in cut.columns.items()}
    return result, air.daily_aqi(flat, np.tile(edition, shape[0])).level.reshape(shape)


def _wide(cities: list[str], name: str, result: air_period.PeriodColumns) -> Iterator[tuple[str, ...]]:
    for i, city in enumerate(cities):
        texts = {(r.pollutant, r.statistic): result.text(k, i) for k, r in enumerate(result.rows)}
        terms, _ = air_index.terms_on(result.law)
        yield city, name, *(texts[t.pollutant, t.statistic] for t in terms)


def long_rows(cities: list[str], name: str, result: air_period.PeriodColumns, level: Any) -> Iterator[tuple[str, ...]]:
    counted = air_period.class_days(level)
    rate = air_period.good_rate(counted, result.law)
    for i, city in enumerate(cities):
        for k, row in enumerate(result.rows):
            limit = result.limits[k]
            multiple = result.multiple[k, i]
            yield (
                city, name, row.pollutant, air_period.name_of(row).zh, result.text(k, i), row.unit,
                str(result.days[k, i]), f"{limit.class2:g}", VERDICTS[int(result.met[k, i])],
                "" if np.isnan(multiple) else f"{multiple:g}", "" if result.over[k, i] < 0 else str(result.over[k, i]),
                f"{result.edition} / {limit.standard}", row.trust, result.explain(k, i).zh,
            )  # fmt: skip
        yield _class_row(city, name, counted[i], rate[i], result.edition)


def _class_row(city: str, name: str, counted: Any, rate: float, edition: str) -> tuple[str, ...]:
    """Share of good days, with the days of each class as the reason."""
    words = [air.class_of(air.editions()[-1], k).zh for k in range(1, 7)]
    said = "、".join(f"{word}{n}天" for word, n in zip(words, counted[1:], strict=True))
    said += f"；未发布AQI {counted[0]}天" if counted[0] else ""
    value = "NA" if np.isnan(rate) else f"{rate:g}"
    return (city, name, "AQI", "优良天数比例", value, "%", str(counted[1:].sum()), "", "", "", "", edition, "", said)
