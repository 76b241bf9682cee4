"""`ceguan recompute`: ambient air from the readings in force, hour by hour, without looking at what was judged before.

Hours → days → cities → years by the functions that judge every day, over any stretch of the history, in this process
or on a Ray cluster; then compared with the daily verdicts that the platform keeps. It says by which editions, and from
which files and layers, so that the same answer can be had again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ceguan import settings
from ceguan.evaluate.air_days import STATISTICS_HEADER, judge, long_rows, of_cities
from ceguan.evaluate.table import write_table
from ceguan.evaluate.verbs import day_argument, guarded
from ceguan.science import air_period
from ceguan.words import BEIJING, beijing

if TYPE_CHECKING:
    from ceguan.store import Store
    from ceguan.store.compute import Part, Plan

DAY = 86400
SHOWN = 20
Floats = NDArray[np.float64]
Period = tuple[str, air_period.PeriodColumns, Any]


class Station(NamedTuple):
    """A station of ambient air: id and code of its point, the city it belongs to."""

    id: int
    code: str
    city: str


class Compared(NamedTuple):
    """Stored daily values against recomputed ones: equal, not stored, and what differs as (station, day, item, …)."""

    equal: int
    unstored: int
    differing: list[tuple[str, str, str, float | None, float | None]]


def add_parser(verbs: Any) -> None:
    title = "由台账与封存历史重新计算环境空气（小时→日→城市→年），并与已存的日裁定逐项比对"
    parser = verbs.add_parser("recompute", help=title, description=title, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    parser.add_argument("--from", dest="first", type=day_argument, required=True, metavar="日期", help="第一天（北京）")
    parser.add_argument("--to", dest="last", type=day_argument, required=True, metavar="日期", help="最后一天，含")
    parser.add_argument("--as-if", type=day_argument, metavar="日期", help="按这一天有效的规定评价，例如 2031-01-01")
    parser.add_argument("-o", "--output", metavar="文件", help="各站、各城市各年统计写入 CSV 或 .parquet")
    parser.set_defaults(run=guarded(run))


def run(args: argparse.Namespace) -> int:
    """0 when every stored daily value is what comes out again; 1 when one is not; 2 for what cannot be asked."""
    if args.last < args.first:
        print(f"--to {args.last} 早于 --from {args.first}", file=sys.stderr)
        return 2
    import django

    django.setup()
    from ceguan.store import Store, compute

    values = settings.load()
    start, end = midnight(args.first), midnight(args.last + timedelta(days=1))
    store = Store(values.folder)
    plan, stations = planned()
    parts = store.parts(plan, start, end)
    try:
        found = compute.evaluate(parts, plan, len(stations), start, end, compute.driver(values))
    except compute.RayAbsentError as error:
        print(error, file=sys.stderr)
        return 2
    judged = periods(found.days, stations, start, args.as_if)
    for line in account(store, parts, found.rows, stations, judged):
        print(line)
    if args.output:
        write(args.output, judged, stations)
    compared = compare(store, found.days, stations, start, end)
    for line in _said(compared):
        print(line)
    return 1 if compared.differing else 0


def midnight(day: date) -> int:
    """Begin of a Beijing day, UTC epoch seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=BEIJING).timestamp())


def planned() -> tuple[Plan, list[Station]]:
    """The series of all air stations in the register, and the stations. A city is the second level of the regions."""
    from ceguan.registry import models
    from ceguan.standards import units
    from ceguan.store.compute import Plan
    from ceguan.watch.judge import AIR_COLUMNS

    columns = {factor: (name, unit) for name, (factor, unit) in AIR_COLUMNS.items()}
    stations: list[Station] = []
    rows = []
    for point in models.Point.objects.filter(kind="air").select_related("region").prefetch_related("series"):
        chain = point.region.path.strip("/").split("/")
        for one in point.series.all():
            name, unit = columns.get(one.factor, ("", ""))
            scale = units.factor(one.unit, unit) if name else None
            if scale is not None:
                rows.append((one.pk, len(stations), name, scale))
        stations.append(Station(point.pk, point.code, chain[min(1, len(chain) - 1)]))
    rows.sort()
    series, station, names, scales = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Plan(
        np.array(series, np.int64), np.array(station, np.int32), tuple(names), np.array(scales, float)
    ), stations


def periods(
    days: Mapping[str, Floats], stations: list[Station], start: int, law: date | None
) -> dict[str, list[Period]]:
    """Statistics and verdicts of each calendar year, of the stations and of the cities (means of their stations)."""
    count = next(iter(days.values())).shape[1]
    first = np.datetime64(beijing(start).date())
    alone = air_period.Days(first + np.arange(count), days)
    cities = of_cities([(one.city, one.code) for one in stations], alone, law)[1] if stations else alone
    return {
        "station": [(name, *judge(alone, begin, last, law)) for name, begin, last in _years(alone)],
        "city": [(name, *judge(cities, begin, last, law)) for name, begin, last in _years(cities)],
    }


def _years(days: air_period.Days) -> Iterator[tuple[str, date, date]]:
    """Calendar years; of one that is not there in full, what is there."""
    low, high = days.day[0].astype(object), days.day[-1].astype(object)
    for name, begin, last in air_period.periods(days.day, "year"):
        yield name, max(begin, low), min(last, high)


def write(path: str, judged: dict[str, list[Period]], stations: list[Station]) -> None:
    """The statistics as a table: `kind` station or city, then the columns of `evaluate air-statistics`."""
    names = {"station": [one.code for one in stations], "city": list(dict.fromkeys(one.city for one in stations))}
    rows = [
        (kind, *row)
        for kind, found in judged.items()
        for name, result, level in found
        for row in long_rows(names[kind], name, result, level)
    ]
    write_table(path, ("kind", *STATISTICS_HEADER), rows, {"value", "valid_days", "limit", "multiple", "over_days"})


def account(
    store: Store, parts: list[Part], rows: int, stations: list[Station], judged: dict[str, list[Period]]
) -> Iterator[str]:
    """What went in and which law was applied."""
    more, failed, decided = (
        sum(table.num_rows for table in tables if table is not None)
        for tables in zip(*((p.more, p.layers.failed, p.layers.decisions) for p in parts), strict=True)
    ) if parts else (0, 0, 0)  # fmt: skip
    yield f"输入：{len(stations)} 个空气站，{rows} 条小时读数，其中未封存或迟到 {more} 条"
    yield f"质控不合格 {failed} 条；审核决定 {decided} 项（跨月、跨部分的各计一次）"
    used = {part.file for part in parts}
    for row in store.manifest().to_pylist():
        if row["path"] in used:
            yield f"封存文件：{row['path']} 第 {row['generation']} 代，{row['rows']} 行，SHA-256 {row['sha256']}"
    for name, result, _ in judged["city"]:
        unsure = sorted({row.trust for k in range(len(result.rows)) for row in result.basis(k)})
        yield f"{name}：按 {result.law} 有效的 {result.edition} 评价（表行可信度：{'、'.join(unsure)}）"


def compare(store: Store, days: Mapping[str, Floats], stations: list[Station], start: int, end: int) -> Compared:
    """Every daily value of the verdicts aqi-day in force against the recomputed one."""
    place = {one.id: at for at, one in enumerate(stations)}
    equal, differing, seen = 0, [], np.zeros(next(iter(days.values())).shape, np.bool_)
    for row in store.verdicts(list(place), "aqi-day", start, end).to_pylist():
        at, day = place[row["point"]], (row["ts"] - start) // DAY
        seen[at, day] = True
        for item, stored in orjson.loads(row["detail"])["values"].items():
            again = float(days[item][at, day])
            if (stored is None and np.isnan(again)) or stored == again:
                equal += 1
            else:
                when = f"{beijing(row['ts']):%Y-%m-%d}"
                differing.append((stations[at].code, when, item, stored, None if np.isnan(again) else again))
    given = np.logical_or.reduce([~np.isnan(column) for column in days.values()])
    return Compared(equal, int((given & ~seen).sum()), differing)


def _said(found: Compared) -> Iterator[str]:
    yield f"与已存日裁定比对：一致 {found.equal} 项，不一致 {len(found.differing)} 项，尚无裁定 {found.unstored} 站日"
    for code, day, item, stored, again in found.differing[:SHOWN]:
        yield f"  {code} {day} {item}：已存 {_text(stored)}，重算 {_text(again)}"
    if len(found.differing) > SHOWN:
        yield f"  …… 另有 {len(found.differing) - SHOWN} 项"


def _text(value: float | None) -> str:
    return "无" if value is None else f"{value:g}"
