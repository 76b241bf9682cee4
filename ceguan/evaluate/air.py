"""Verbs of ambient air."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np

from ceguan import clock
from ceguan.evaluate.table import NOT_MONITORED, Table, moment, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import air, air_index
from ceguan.science.air_period import last_day
from ceguan.standards.tables import IaqiRow, rows
from ceguan.words import Label, beijing

EDITIONS = tuple(name.partition("-")[2] for name in air.editions())
INDEX_HEADER = ("i_so2", "i_no2", "i_pm10", "i_pm25", "i_co", "i_o3", "composite_index", "main_pollutant")
RANKING_HEADER = ("city", "composite_index", "rank")
CHANGE_HEADER = ("composite_index_before", "change_pct", "improved_rank", "worsened_rank")
Explain = Callable[[int], Label]
YES = {"是": True, "yes": True, "true": True, "1": True, "否": False, "no": False, "false": False, "0": False}


def add_verbs(verbs: Any) -> None:
    hourly = add_verb(
        verbs,
        "air-hourly",
        air_hourly,
        "环境空气质量指数（小时），HJ 633-2012 / HJ 633-2026，按测量时刻选用",
        "列：time, station, so2_1h, no2_1h, co_1h, o3_1h, pm10_1h, pm25_1h（其余列不理会）。"
        "time 为北京时间，取该小时的结束时刻；µg/m³，CO 为 mg/m³；空、NA、NaN、— 或负值为缺测，/ 为按计划不监测。",
    )
    aqi_options(hourly)
    law_options(hourly, EDITIONS)
    law_options(
        add_verb(
            verbs,
            "air-period",
            air_period,
            "环境空气质量综合指数，HJ 663-2013 / HJ 663-2026；按 period 列的最后一天，没有这一列则按今天",
            "列：city, so2, no2, pm10, pm25, co_p95, o3_p90（时段均值，CO 为日均值第95百分位数，O3 为日最大8小时"
            "第90百分位数）；µg/m³，CO 为 mg/m³；空、NA、NaN、— 或负值为缺测，缺一项就没有综合指数。"
            "可有 period（2025、2025-05、2025-Q2、2019-01..05）。",
        ),
        EDITIONS,
    )
    ranked = add_verb(
        verbs,
        "air-ranking",
        air_ranking,
        "城市空气质量排名和变化排名",
        "列：city, composite_index；有 composite_index_before 时也排变化，有 meets_class2（是/否）时六项达标的城市"
        "不参加恶化排名；有 main_pollutant 则照录。并列者同名次。",
    )
    ranked.add_argument(
        "--ties", choices=("competition", "dense"), help="并列后的名次：跳过（1,2,2,4）或连续（1,2,2,3）"
    )
    ranked.add_argument("--column", default="composite_index", metavar="列", help="综合指数所在的列")
    law_options(ranked, EDITIONS)


def aqi_options(parser: argparse.ArgumentParser) -> None:
    """Options of the verbs that give an AQI."""
    parser.add_argument("--platform-quirks", action="store_true", help="照国家平台的做法（缺 PM10 也发布）")
    parser.add_argument("--explain", action="store_true", help="reason 列写明 AQI 如何得出：每项浓度、所在区间、分指数")


def law_day(args: argparse.Namespace) -> date | None:
    """The day whose law was asked for; None: that of the measurement."""
    if args.edition:
        row = next(r for r in rows(IaqiRow) if r.standard.endswith(args.edition))
        return row.valid_to or row.valid_from
    day: date | None = args.as_if
    return day


def amounts(table: Table, columns: Sequence[str]) -> dict[str, Any]:
    """The columns as numbers; one line on standard error where carbon monoxide must be in µg/m³."""
    found = {column: table.numbers(column) for column in columns}
    top = max(row.breakpoints[-1][1] for row in rows(IaqiRow) if row.pollutant == "CO")
    for column in columns:
        high = np.flatnonzero(found[column] > top)
        if column.startswith("co_") and len(high):
            says = f"{table.text(column)[high[0]]} 高于 HJ 633 分指数表的上限 {top:g} mg/m³，请核对单位是否为 mg/m³"
            print(f"{table.fault(int(high[0]), column, says)} (unit of CO?)，共 {len(high)} 行", file=sys.stderr)
    return found


def _today() -> date:
    return beijing(clock.now()).date()


# ---- AQI of hours


def air_hourly(args: argparse.Namespace) -> int:
    items = [item.column for item in air.HOURLY]
    table = read_table(args.input, ["time", "station", *items])
    labels = table.parse("time", moment, "不是时间 (not a time)")
    columns = amounts(table, items)
    begun = np.array([int(label.timestamp()) - 3600 for label in labels], np.int64)  # the label is the end of the hour
    result = air.hourly_aqi(columns, editions(args, begun), apart(table, items), args.platform_quirks)
    header = ("time", "station", "aqi", "level", "primary", "edition", "reason")
    given = zip(table.text("time"), table.text("station"), strict=True)
    said = account(args, result, columns, air.HOURLY)
    write_table(args.output, header, ((*g, *aqi_cells(result, i, said)) for i, g in enumerate(given)), {"aqi"})
    return 0


def apart(table: Table, items: list[str]) -> dict[str, Any]:
    """Masks of what is not monitored by plan."""
    return {item: np.array([c.strip() == NOT_MONITORED for c in table.text(item)], np.bool_) for item in items}


def editions(args: argparse.Namespace, begun: Any) -> Any:
    """Edition of each row: by the moment measured, or the one asked for."""
    day = law_day(args)
    return air.edition_at(begun) if day is None else np.full(len(begun), air.edition_on(day), np.int8)


def account(args: argparse.Namespace, result: air.AqiColumns, columns: Any, items: Sequence[air.Item]) -> Explain:
    """What stands in `reason`: how each AQI came about (--explain), else only why there is none."""
    if not args.explain:
        return result.explain
    return lambda row: air.account(result, row, columns, items)


def aqi_cells(result: air.AqiColumns, row: int, explain: Explain) -> tuple[str, ...]:
    """aqi, level, primary, edition, reason of a row."""
    edition = air.editions()[result.edition[row]] if result.edition[row] >= 0 else ""
    why = explain(row).zh
    if result.aqi[row] == air.NA:
        return "NA", "NA", "NA", edition, why
    level = air.class_of(edition, int(result.level[row])).zh
    return str(result.aqi[row]), level, ",".join(air.names(int(result.primary[row]))), edition, why


# ---- composite index and rankings


def air_period(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["city", *air_index.ITEMS])
    columns = amounts(table, air_index.ITEMS)
    behind = [name for name in ("period",) if name in table.columns]
    header = ("city", *INDEX_HEADER, "edition", *behind, "trust", "reason")
    out: list[tuple[str, ...]] = [()] * len(table.lines)
    for day, where in _law_days(table, args).items():
        part = in_law(air_index.composite_index, {k: v[where] for k, v in columns.items()}, day)
        for i, row in enumerate(where):
            cells = _index_row(part, i)
            out[row] = (table.text("city")[row], *cells[:-2], *(table.text(name)[row] for name in behind), *cells[-2:])
    write_table(args.output, header, out, INDEX_HEADER[:7])
    return 0


def _law_days(table: Table, args: argparse.Namespace) -> dict[date, list[int]]:
    """Rows by the day whose law they are judged by: asked for, else the last of the period, else today."""
    day = law_day(args)
    if day is not None or "period" not in table.columns:
        return {day or _today(): list(range(len(table.lines)))}
    found: dict[date, list[int]] = {}
    for row, last in enumerate(table.parse("period", last_day, "不是时段，例如 2025、2025-05、2025-Q2")):
        found.setdefault(last, []).append(row)
    return found


def _index_row(result: air_index.IndexColumns, row: int) -> tuple[str, ...]:
    digits = result.terms[0].digits
    numbers = (_number(value, digits) for value in (*result.single[:, row], result.composite[row]))
    main = "NA" if result.missing(row) else ",".join(result.main_pollutants(row))
    return (*numbers, main, result.edition, result.trust, result.explain(row).zh)


def _number(value: float, digits: int) -> str:
    return "NA" if np.isnan(value) else f"{value:.{digits}f}"


def air_ranking(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["city", args.column])
    index = table.numbers(args.column)
    before = table.numbers("composite_index_before") if "composite_index_before" in table.columns else None
    meets = None
    if "meets_class2" in table.columns:
        meets = np.array(table.parse("meets_class2", _yes, "不是 是 或 否"), np.bool_)
    result = in_law(air_index.ranking, index, law_day(args) or _today(), before, meets, args.ties)
    passed = [name for name in ("main_pollutant",) if name in table.columns]
    header = (*RANKING_HEADER, *passed, *(CHANGE_HEADER if before is not None else ()))
    given = [table.text(name) for name in ("city", args.column, *passed)]
    out = []
    for i in np.lexsort((result.rank, result.rank == 0)):  # who has no rank comes last
        city, value, *more = (column[i].strip() for column in given)
        out.append(
            (city, value, _place(result.rank[i]), *more, *(_change(table, result, i) if before is not None else ()))
        )
    write_table(args.output, header, out, set(header) - {"city", *passed})
    return 0


def _change(table: Table, result: air_index.RankingColumns, i: int) -> tuple[str, ...]:
    digits = next(row.digits for row in result.rows if row.kind == "change")
    before = table.text("composite_index_before")[i].strip()
    return before, _number(result.change[i], digits), _place(result.improved[i]), _place(result.worsened[i])


def _place(rank: int) -> str:
    return str(rank) if rank else "NA"


def _yes(cell: str) -> bool:
    if cell.lower() not in YES:
        raise ValueError(cell)
    return YES[cell.lower()]
