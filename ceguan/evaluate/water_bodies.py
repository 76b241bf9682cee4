"""Verbs of sections, rivers, lakes and cities."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from ceguan.evaluate.items import PERIODS, Amounts, Group, amounts, editions, groups, law_day, say_unused, weakest
from ceguan.evaluate.table import BadInput, Table, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import statistics, water, water_bodies, water_index
from ceguan.science.water import APART_ITEMS, CLASSES, SECTION_ITEMS
from ceguan.science.water_bodies import Ph
from ceguan.standards.tables import TrophicItem, WaterLimit, rows

WATERBODY = {
    "": "river",
    "river": "river",
    "lake": "lake",
    "河流": "river",
    "湖库": "lake",
    "湖泊": "lake",
    "水库": "lake",
}
SECTION_HEADER = (
    "samples", "class", "grade", "colour", "main_items", "total_nitrogen", "coliform", "missing", "edition", "trust",
    "reason",
)  # fmt: skip
BASIN_HEADER = (
    "sections", "unjudged", "method", "class", "grade", "colour", "share_1_3", "share_worse_5", "main_items", "edition",
    "trust", "reason",
)  # fmt: skip
PER_LITRE = {"mg/L": 1000.0, "μg/L": 1.0, "ug/L": 1.0, "µg/L": 1.0}
"""Chlorophyll is judged in mg/m³: a milligram in a cubic metre is a microgram in a litre."""
ITEM_WORDS = "、".join(SECTION_ITEMS)
GROUPING = ("section", "river", "basin", "lake", "city", "waterbody", "target_class", "source")


def add_verbs(verbs: Any) -> None:
    section = add_verb(
        verbs,
        "surface-water-section",
        surface_water_section,
        "断面、河流（流域）、湖库水质评价：类别、水质状况、主要污染指标，GB 3838-2002、环办〔2011〕22号",
        f"列：section；21 项中有的项目：{ITEM_WORDS}，另可有 tn、coliform（单独评价）。列名可用代号、中文名，"
        "可带单位：nh3n_mgL、氨氮(mg/L)。可有 time（取各时段的算术平均）或 period（已是均值）、"
        "waterbody（river 或 lake，缺省 river）；"
        "--by river、basin、lake 要有同名的列。空、NA、NaN、—、/ 或负值为缺测；<0.005 或 0.005L 取检出限的一半。",
    )
    section.add_argument("--by", choices=("section", "river", "basin", "lake"), default="section", help="评价对象")
    _period(section)
    section.add_argument("--base", metavar="时段", help="与这个时段比较，写法同 period 列：等级变化、类别比例变化")
    tli = add_verb(
        verbs,
        "tli",
        tli_verb,
        "湖泊综合营养状态指数 TLI(∑) 和营养状态分级，环办〔2011〕22号",
        "列：lake, chla（mg/m³，可带单位 chla_mgL、chla_ugL）, tp, tn, codmn（mg/L）, sd（m）；"
        "可有 section（点位）和 time：先求各点位的时间平均，再求点位平均。五项缺一不评价。",
    )
    _period(tli)
    cwqi = add_verb(
        verbs,
        "cwqi",
        cwqi_verb,
        "城市水质指数 CWQI 和排名，环办监测〔2017〕51号（城市加权、修约未核对原文）",
        f"列：city, section 和 {ITEM_WORDS}；可有 time 或 period、waterbody、target_class（考核目标 1–5）。"
        "指数从小到大排名，并列同名次。--base 时段 另排变化：所有断面两个时段都达到Ⅱ类且考核达标的城市不参加。",
    )
    _period(cwqi)
    cwqi.add_argument("--base", metavar="时段", help="基准时段，写法同 period 列，例如 2025、2025-05")


def _period(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--period", choices=PERIODS, default="all", help="时段：月、季、年、全部（默认）")
    parser.add_argument(
        "--ph",
        choices=[p.value for p in Ph],
        default=Ph.ARITHMETIC.value,
        help="pH 均值：算术平均（环办〔2011〕22号，默认）或按氢离子浓度（环办监测函〔2020〕82号，未核对原文）",
    )
    law_options(parser, editions(WaterLimit))


def _surface_items() -> list[tuple[str, str, str]]:
    wanted = (*SECTION_ITEMS, *APART_ITEMS)
    return [(r.item, r.name, r.unit) for r in rows(WaterLimit) if r.table == 1 and r.item in wanted]


def water_amounts(table: Table) -> Amounts:
    """The columns that are items of table 1; BadInput when there is none."""
    given = amounts(table, _surface_items())
    if not set(given.values) & set(SECTION_ITEMS):
        raise BadInput(f"{table.file}：第 1 行：没有一列是评价项目 (no item of table 1)：{ITEM_WORDS}")
    say_unused(table, given, GROUPING)
    return given


def waterbodies(table: Table) -> Any:
    """river or lake for each row; river where the table has no such column."""
    if "waterbody" not in table.columns:
        return np.full(len(table.lines), "river", "U5")
    return np.array(table.parse("waterbody", _body, "不是 river 或 lake（河流、湖库）"), "U5")


def _body(cell: str) -> str:
    if cell not in WATERBODY:
        raise ValueError(cell)
    return WATERBODY[cell]


# ---- sections, rivers, lakes


def surface_water_section(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["section", args.by])
    body, given = waterbodies(table), water_amounts(table)
    whole = args.by in ("river", "basin")
    judge = _basin_cells if whole else _section_cells
    its = based(table, args, groups(table, args.by, args.period))
    found = [in_law(judge, args, table, given, body, group) for group in its]
    change = ("change", "change_by_shares") if args.base is not None else ()
    header = (args.by, "period", *(BASIN_HEADER if whole else SECTION_HEADER), *change)
    before = {group.name: state for group, (_, state) in zip(its, found, strict=True) if group.period == args.base}
    out = [
        (group.name, group.period, *cells, *(_change(before, group, state, args) if change else ()))
        for group, (cells, state) in zip(its, found, strict=True)
    ]
    write_table(args.output, header, out, {"samples", "sections", "unjudged", "share_1_3", "share_worse_5"})
    return 0


class State(NamedTuple):
    """What a change is counted from: the grade (0 none); where judged by shares, those of I–III and worse than V."""

    grade: int
    shares: tuple[float, float] | None


def based(table: Table, args: argparse.Namespace, its: list[Group]) -> list[Group]:
    """The groups themselves; BadInput when none of them is of the base period that was asked for."""
    if args.base is not None and args.base not in {group.period for group in its}:
        raise BadInput(f"{table.file}：没有基准时段 {args.base} 的数据 (no data of the base period)")
    return its


def _change(before: dict[str, State], group: Group, now: State, args: argparse.Namespace) -> tuple[str, str]:
    """Change by grades, and by shares where both periods were judged by shares; NA where one has no grade."""
    was, day = before.get(group.name), law_day(args, WaterLimit, group.day)
    if group.period == args.base or was is None or not (was.grade and now.grade):
        return "NA", "NA"
    by_grade = water_bodies.grade_change(was.grade, now.grade, day).word.zh
    if was.shares is None or now.shares is None:
        return by_grade, "NA"
    return by_grade, water_bodies.share_change(was.shares, now.shares, day).word.zh


def _places(table: Table, given: Amounts, group: Group) -> tuple[dict[str, Any], Any, Any]:
    """The columns of a group of rows, the number of each row's section, and the first row of each section.

    A table without sections has one.
    """
    names = np.array(table.text("section" if "section" in table.columns else group.column))[group.rows]
    _, first, section = np.unique(names, return_index=True, return_inverse=True)
    part = {item: value[group.rows] for item, value in given.values.items()}
    return part, np.argsort(np.argsort(first))[section], group.rows[np.sort(first)]


def _means_of(args: argparse.Namespace, table: Table, given: Amounts, group: Group) -> tuple[dict[str, Any], Any]:
    """Means of the 21 items in each section of a group, in the order of the file, and the first row of each."""
    part, section, first = _places(table, given, group)
    items = {item: value for item, value in part.items() if item in SECTION_ITEMS}
    return water_bodies.means(items, section, len(first), Ph(args.ph)), first


def _one_body(table: Table, body: Any, group: Group) -> str:
    kinds = set(body[group.rows].tolist())
    if len(kinds) > 1:
        raise table.fault(int(group.rows[0]), "waterbody", f"{group.name} 既有河流又有湖库 (both river and lake)")
    return str(kinds.pop())


def _section_cells(
    args: argparse.Namespace, table: Table, given: Amounts, body: Any, group: Group
) -> tuple[tuple[str, ...], State]:
    day, kind = law_day(args, WaterLimit, group.day), _one_body(table, body, group)
    kind = "lake" if args.by == "lake" else kind
    part, point, _ = _places(table, given, group)
    mean = water_bodies.lake_means(part, point, Ph(args.ph))  # of a single section this is its mean over time
    items = {i: v for i, v in mean.items() if i in SECTION_ITEMS}
    found = water.surface_water(items, kind, day, ())
    grade = water.grade(int(found.klass[0]), day)
    apart = [_apart(item, mean, kind, day) for item in APART_ITEMS]
    lacking = [i for i in SECTION_ITEMS if i not in items or i in found.missing(0)]
    words = (grade.zh, grade.colour_zh, water.main_items(found).text(0)) if grade else ("", "", "")
    missing = "、".join(water.name_of(i, day) for i in lacking)
    used = found.basis(kind)
    return (
        str(len(group.rows)), CLASSES[found.klass[0]], *words, *apart, missing, used[0].standard,
        weakest((*used, *((grade,) if grade else ()))), found.grounds(0).zh,
    ), State(grade.grade if grade else 0, None)  # fmt: skip


def _apart(item: str, mean: dict[str, Any], kind: str, day: date) -> str:
    """Class of an item that is judged apart; empty where it was not measured or the table has none."""
    if item not in mean or (item == "tn" and kind == "river"):
        return ""
    code = water.item_class(water.limit(item, kind, day), mean[item])[0]
    return CLASSES[code] if code else ""


def _basin_cells(
    args: argparse.Namespace, table: Table, given: Amounts, body: Any, group: Group
) -> tuple[tuple[str, ...], State]:
    day = law_day(args, WaterLimit, group.day)
    sections, first = _means_of(args, table, given, group)
    found = water_bodies.basin(sections, body[first], day)
    names = [table.text("section")[row] for row in first]
    words = (found.grade.zh, found.grade.colour_zh) if found.grade else ("", "")
    shares = (f"{found.good:.6g}", f"{found.worse:.6g}") if found.grade else ("", "")
    return (
        str(found.sections), str(found.unjudged), {"mean": "断面均值", "shares": "类别比例", "none": ""}[found.method],
        CLASSES[found.klass] if found.klass else "", *words, *shares, _basin_items(found, names, day),
        water.limit("do", "river", day).standard, weakest(found.rules), found.explain().zh,
    ), State(
        found.grade.grade if found.grade else 0, (found.good, found.worse) if found.method == "shares" else None
    )  # fmt: skip


def _basin_items(found: water_bodies.Basin, names: Sequence[str], day: date) -> str:
    """Items by the share of sections over class III; below five sections those of each section."""
    if found.by_section:
        each = (
            (names[row], "、".join(water.name_of(i, day) + water.multiple_text(m) for i, m in items))
            for row, items in found.by_section
        )
        return "；".join(f"{name}：{items}" for name, items in each)
    return "、".join(f"{water.name_of(i, day)}({rate:.1f}%)" for i, rate in found.main)


# ---- trophic level


def tli_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["lake"])
    given = amounts(table, [(r.item, r.name, r.unit) for r in rows(TrophicItem)], {"chla": PER_LITRE})
    if not given.values:
        raise BadInput(f"{table.file}：第 1 行：没有 chla、tp、tn、codmn、sd 中的任何一列 (no item)")
    say_unused(table, given, GROUPING)
    parts = [f"tli_{r.item}" for r in rows(TrophicItem)]
    out = [
        (group.name, group.period, *in_law(_tli_cells, args, table, given, group))
        for group in groups(table, "lake", args.period)
    ]
    header = ("lake", "period", "points", "samples", "tli", "state", *parts, "edition", "trust", "reason")
    write_table(args.output, header, out, {"points", "samples", "tli", *parts})
    return 0


def _tli_cells(args: argparse.Namespace, table: Table, given: Amounts, group: Group) -> tuple[str, ...]:
    part, point, _ = _places(table, given, group)
    mean = water_bodies.lake_means(part, point)
    found = water_bodies.trophic(mean, law_day(args, WaterLimit, group.day))
    its = found.named(0)
    return (
        str(int(point.max()) + 1), str(len(group.rows)), _number(found.tli[0]), its.zh if its else "",
        *(_number(part) for part in found.parts[:, 0]), found.items[0].standard, weakest(found.items),
        found.explain(0).zh,
    )  # fmt: skip


def _number(value: float) -> str:
    return "NA" if np.isnan(value) else f"{value:.6g}"


# ---- city index


def cwqi_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["city", "section"])
    body, given = waterbodies(table), water_amounts(table)
    cities = based(table, args, groups(table, "city", args.period))
    found = [in_law(_city, args, table, given, body, group) for group in cities]
    header = ("city", "period", "cwqi", "rank", "cwqi_river", "cwqi_lake", "river_sections", "lake_points", "missing")
    change = ("change", "change_rank") if args.base is not None else ()
    out = _city_rows(args, cities, found)
    numbers = {"cwqi", "rank", "cwqi_river", "cwqi_lake", "river_sections", "lake_points", *change}
    write_table(args.output, (*header, *change, "edition", "trust", "reason"), out, numbers)
    return 0


def _city(
    args: argparse.Namespace, table: Table, given: Amounts, body: Any, group: Group
) -> tuple[water_index.Cwqi, bool]:
    """The index of a city in a period, and whether every section meets class II and its target."""
    day = law_day(args, WaterLimit, group.day)
    sections, first = _means_of(args, table, given, group)
    found = water.surface_water(sections, body[first], day, ())
    target = np.full(len(first), 5.0)
    if "target_class" in table.columns:
        target = np.nan_to_num(table.numbers("target_class")[first], nan=5.0)
    clean = bool(((found.klass > 0) & (found.klass <= 2) & (found.klass <= target)).all())
    return water_index.cwqi(sections, body[first] == "lake", day), clean


def _city_rows(
    args: argparse.Namespace, cities: Sequence[Group], found: Sequence[tuple[water_index.Cwqi, bool]]
) -> Iterator[tuple[str, ...]]:
    index = np.array([city.index for city, _ in found])
    periods = [group.period for group in cities]
    rank = np.zeros(len(found), np.int64)
    for period in set(periods):
        there = np.flatnonzero([p == period for p in periods])
        rank[there] = statistics.rank(index[there])
    change = _changes(args.base, cities, found, index) if args.base is not None else []
    for i, (group, (city, _)) in enumerate(zip(cities, found, strict=True)):
        missing = "、".join(water.name_of(item, city.day) for item in city.missing)
        yield (
            group.name, group.period, _number(city.index), str(rank[i] or "NA"), _number(city.river),
            _number(city.lake), *(str(n) for n in city.sections), missing, *(change[i] if change else ()),
            city.rules[0].standard, weakest(city.rules), city.explain().zh,
        )  # fmt: skip


def _changes(
    base: str, cities: Sequence[Group], found: Sequence[tuple[water_index.Cwqi, bool]], index: Any
) -> list[tuple[str, str]]:
    """change, change_rank of each row against the base period of its city; "NA" where it takes no part."""
    before = {group.name: (index[i], found[i][1]) for i, group in enumerate(cities) if group.period == base}
    then = np.array([before.get(group.name, (np.nan, False))[0] for group in cities])
    clean = np.array(
        [was_clean and before.get(g.name, (0, False))[1] for g, (_, was_clean) in zip(cities, found, strict=True)]
    )
    own = np.array([group.period == base for group in cities])
    change = water_index.change(index, then, clean | own)
    rank = np.zeros(len(cities), np.int64)
    for period in {group.period for group in cities}:
        there = np.flatnonzero([group.period == period for group in cities])
        rank[there] = statistics.rank(change[there])
    return [(_number(c), str(r or "NA")) for c, r in zip(change, rank, strict=True)]
