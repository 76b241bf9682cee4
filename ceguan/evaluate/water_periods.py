"""Verbs on a section's samples over time: trend, what the rest of the year must be, manual beside automatic; and
drinking-water sources."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from typing import Any

import numpy as np

from ceguan.evaluate.items import PERIODS, TIME_COLUMNS, Amounts, amounts, days, editions, groups, law_day, weakest
from ceguan.evaluate.table import BadInput, Table, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.evaluate.water_bodies import water_amounts, waterbodies
from ceguan.science import trend, water, water_bodies, water_sources
from ceguan.science.water import CLASSES
from ceguan.standards.tables import GroundwaterLimit, WaterLimit, rows

SOURCES = {
    "manual": "manual",
    "手工": "manual",
    "人工": "manual",
    "automatic": "automatic",
    "auto": "automatic",
    "自动": "automatic",
}
KINDS = {
    "river": "river",
    "河流": "river",
    "lake": "lake",
    "湖库": "lake",
    "groundwater": "groundwater",
    "地下水": "groundwater",
}
MONTHS = 12


def add_verbs(verbs: Any) -> None:
    over_time = add_verb(
        verbs,
        "water-trend",
        water_trend,
        "水质变化趋势：各断面各项目的时段均值的秩相关系数（至少 5 个时段），环办〔2011〕22号",
        "列：section, time 和 surface-water-section 的项目。N=4–8 的临界值精确重算，其余未核。",
    )
    over_time.add_argument("--period", choices=[p for p in PERIODS if p != "all"], default="year", help="时段，默认年")
    law_options(over_time, editions(WaterLimit))
    target = add_verb(
        verbs,
        "water-target",
        water_target,
        "要使全年均值达到目标类别，剩余月份的平均值最高（溶解氧最低）可以是多少",
        "列：section, time 和 surface-water-section 的项目；可有 target_class（1–5）、waterbody。"
        "先求各月均值，再按月平均；剩余月份是文件中该年最后一个有数据的月份之后的月份。",
    )
    target.add_argument(
        "--target", type=int, choices=range(1, 6), default=3, help="没有 target_class 列时的目标类别，默认 3"
    )
    law_options(target, editions(WaterLimit))
    fusion = add_verb(
        verbs,
        "water-fusion",
        water_fusion,
        "手工与自动监测数据融合：两者都列出，类别不同即标出；pH、溶解氧、高锰酸盐指数、氨氮、总磷、总氮自动优先",
        "列：section, time, source（manual 手工、automatic 自动）和 surface-water-section 的项目；可有 waterbody。",
    )
    fusion.add_argument("--period", choices=PERIODS, default="month", help="时段，默认月")
    law_options(fusion, editions(WaterLimit))
    drinking = add_verb(
        verbs,
        "drinking-water",
        drinking_water,
        "集中式饮用水水源达标：GB 3838-2002 表1Ⅲ类、表2、表3，GB/T 14848-2017 Ⅲ类",
        "每行一个水源。列：source（水源名）, kind（river 河流、lake 湖库、groundwater 地下水）和标准中有的项目；"
        "可有 time、volume（取水量）。其余列原样写出。"
        "粪大肠菌群、湖库的总氮单独评价，不影响达标。标准错误输出给出按个数和按水量的达标率。",
    )
    law_options(drinking, editions(WaterLimit))


def _measured(table: Table) -> list[date]:
    measured = days(table)
    if measured is None:
        raise BadInput(f"{table.file}：第 1 行：要有时间列 (a time column is needed)：{'、'.join(TIME_COLUMNS)}")
    return measured


def _period_means(table: Table, given: Amounts, period: str) -> dict[str, dict[str, dict[str, float]]]:
    """section → period in the order of time → item → mean."""
    _measured(table)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group in sorted(groups(table, "section", period), key=lambda g: g.period):
        part = {item: value[group.rows] for item, value in given.values.items()}
        mean = water_bodies.means(part, np.zeros(len(group.rows), np.int64), 1)
        found.setdefault(group.name, {})[group.period] = {item: float(value[0]) for item, value in mean.items()}
    return {name: found[name] for name in dict.fromkeys(table.text("section"))}


# ---- trend


def water_trend(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["section"])
    given = water_amounts(table)
    day = law_day(args, WaterLimit, max(_measured(table), default=None))
    header = ("section", "item", "first", "last", "periods", "rs", "wp", "trend", "edition", "trust", "reason")
    out = [
        (name, *in_law(_trend_cells, item, periods, day))
        for name, periods in _period_means(table, given, args.period).items()
        for item in given.values
    ]
    write_table(args.output, header, out, {"periods", "rs", "wp"})
    return 0


def _trend_cells(item: str, periods: dict[str, dict[str, float]], day: date) -> tuple[str, ...]:
    values = np.array([means[item] for means in periods.values()])
    there = [period for period, value in zip(periods, values, strict=True) if not np.isnan(value)]
    found = trend.trend(values, day)
    word = {None: "NA", False: "无显著趋势", True: "上升" if found.rises else "下降"}[found.significant]
    return (
        water.name_of(item, day), there[0] if there else "", there[-1] if there else "", str(found.n),
        "NA" if np.isnan(found.rs) else f"{found.rs:.4g}", f"{found.critical.wp05:g}" if found.critical else "NA",
        word, found.least.standard, weakest(found.rules), found.explain().zh,
    )  # fmt: skip


# ---- the rest of the year


TARGET_HEADER = (
    "section", "year", "item", "target", "months", "mean", "months_left", "needed", "reachable", "edition", "reason",
)  # fmt: skip


def water_target(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["section"])
    body, given = waterbodies(table), water_amounts(table)
    target = table.numbers("target_class") if "target_class" in table.columns else np.full(len(table.lines), np.nan)
    first = {name: row for row, name in reversed(list(enumerate(table.text("section"))))}
    months = _period_means(table, given, "month")
    last: dict[str, int] = {}  # of each year, the last month the file has
    for period in {period for periods in months.values() for period in periods}:
        last[period[:4]] = max(int(period[5:]), last.get(period[:4], 0))
    out: list[tuple[str, ...]] = []
    for name, periods in months.items():
        row = first[name]
        goal = int(target[row]) if 1 <= target[row] <= 5 else args.target
        for year, month in sorted(last.items()):
            day = law_day(args, WaterLimit, date(int(year), MONTHS, 31))
            means = [its for period, its in periods.items() if period.startswith(year)]
            for item in given.values:
                values = np.array([its[item] for its in means])
                cells = in_law(_target_cells, item, values, MONTHS - month, goal, str(body[row]), day)
                out += [(name, year, *cells)] if cells else []
    write_table(args.output, TARGET_HEADER, out, {"months", "mean", "months_left", "needed"})
    return 0


def _target_cells(item: str, values: Any, left: int, goal: int, body: str, day: date) -> tuple[str, ...]:
    """One item of a section and year; nothing for pH, and for total nitrogen in a river, which have no such limit."""
    if (item == "tn" and body == "river") or water.limit(item, body, day).kind == "range":
        return ()
    there = values[~np.isnan(values)]
    mean = float(there.mean()) if len(there) else np.nan
    found = water_bodies.needed(item, np.array([mean]), np.array([len(there)]), np.array([left]), goal, body, day)
    reachable = "" if np.isnan(found.average[0]) else "是" if found.reachable[0] else "否"
    return (
        found.row.name, CLASSES[goal], str(len(there)), _cell(mean), str(left), _cell(found.average[0]), reachable,
        found.row.standard, found.explain(0, goal).zh,
    )  # fmt: skip


def _cell(value: float) -> str:
    return "NA" if np.isnan(value) else f"{value:.6g}"


# ---- manual and automatic


def water_fusion(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["section", "source"])
    body, given = waterbodies(table), water_amounts(table)
    source = np.array(table.parse("source", _source, "不是 manual（手工）或 automatic（自动）"), "U9")
    out: list[tuple[str, ...]] = []
    for group in groups(table, "section", args.period):
        day, kind = law_day(args, WaterLimit, group.day), str(body[group.rows[0]])
        sides = [group.rows[source[group.rows] == side] for side in ("manual", "automatic")]
        for item, value in given.values.items():
            both = [
                water_bodies.means({item: value[rows_]}, np.zeros(len(rows_), np.int64), 1)[item] for rows_ in sides
            ]
            cells = in_law(_fused_cells, item, both, kind, day)
            out += [(group.name, group.period, *cells)] if cells else []
    header = (
        "section", "period", "item", "manual", "automatic", "used", "value", "deviation_pct", "class_manual",
        "class_automatic", "apart", "edition", "trust",
    )  # fmt: skip
    write_table(args.output, header, out, {"manual", "automatic", "value", "deviation_pct"})
    return 0


def _source(cell: str) -> str:
    if cell not in SOURCES:
        raise ValueError(cell)
    return SOURCES[cell]


def _fused_cells(item: str, both: list[Any], kind: str, day: date) -> tuple[str, ...]:
    """One item of a section and period; nothing where neither side measured it or the water has no such limit."""
    if (item == "tn" and kind == "river") or all(np.isnan(side[0]) for side in both):
        return ()
    found = water_bodies.fuse(item, both[0], both[1], kind, day)
    row = water.limit(item, kind, day)
    classes = [CLASSES[water.item_class(row, side)[0]] for side in both]
    return (
        row.name, _cell(both[0][0]), _cell(both[1][0]), "自动" if found.automatic[0] else "手工", _cell(found.value[0]),
        _cell(found.deviation[0] * 100), *classes, "是" if found.apart[0] else "",
        row.standard, weakest(found.rules),
    )  # fmt: skip


# ---- drinking-water sources


def drinking_water(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["source", "kind"])
    kind = np.array(table.parse("kind", _kind, "不是 river、lake 或 groundwater（河流、湖库、地下水）"), "U11")
    surface = [(r.item, r.name, r.unit) for r in rows(WaterLimit) if r.item != "wtemp_change"]
    ground = [(r.item, r.name, r.unit) for r in rows(GroundwaterLimit)]
    given = {"surface": amounts(table, surface), "ground": amounts(table, ground)}
    rest = [c for c in given["surface"].rest if c in given["ground"].rest]
    if len(rest) == len(table.columns):
        raise BadInput(f"{table.file}：第 1 行：没有一列是标准中的项目 (no item of the standards)")
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    cells: list[tuple[str, ...]] = []
    passes, known = np.zeros(len(kind), np.bool_), np.zeros(len(kind), np.bool_)
    for row, its in enumerate(kind.tolist()):
        values = given["ground" if its == "groundwater" else "surface"].values
        day = law_day(args, GroundwaterLimit if its == "groundwater" else WaterLimit, measured[row])
        found = in_law(water_sources.source, {i: v[[row]] for i, v in values.items()}, its, day)
        passes[row], known[row] = found.passes[0], found.known[0]
        verdict = ("达标" if passes[row] else "不达标") if known[row] else "NA"
        cells.append(
            (verdict, found.text(0).zh, found.text(0, apart=True).zh, weakest(found.rules), found.explain(0).zh)
        )
    _say_rates(table, passes, known)
    columns = [table.text(column) for column in rest]
    header = (*rest, "verdict", "over", "over_apart", "trust", "reason")
    write_table(args.output, header, ((*(c[i] for c in columns), *cells[i]) for i in range(len(cells))))
    return 0


def _kind(cell: str) -> str:
    if cell not in KINDS:
        raise ValueError(cell)
    return KINDS[cell]


def _say_rates(table: Table, passes: Any, known: Any) -> None:
    volume = table.numbers("volume") if "volume" in table.columns else np.full(len(passes), np.nan)
    by_count, by_volume = water_sources.rates(passes, known, volume)
    if np.isnan(by_count):
        return
    water_said = "" if np.isnan(by_volume) else f"；取水量达标率 {by_volume:.1f}%"
    print(
        f"可评价 {int(known.sum())} 个，达标 {int((passes & known).sum())} 个，达标率 {by_count:.1f}%{water_said}",
        file=sys.stderr,
    )
