"""Verbs of groundwater, sea water and soil."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import numpy as np

from ceguan.evaluate.items import Amounts, amounts, days, editions, law_day, say_unused, weakest
from ceguan.evaluate.table import BadInput, Table, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import groundwater, soil
from ceguan.standards.tables import (
    AgriculturalSoil,
    ClassLimit,
    ConstructionSoil,
    GroundwaterLimit,
    Row,
    SeawaterLimit,
    rows,
)

FARM_LAND = {
    "paddy": "paddy",
    "水田": "paddy",
    "orchard": "orchard",
    "果园": "orchard",
    "other": "other",
    "其他": "other",
    "": "other",
}
BUILDING_LAND = {"1": 1, "第一类": 1, "第一类用地": 1, "一类": 1, "2": 2, "第二类": 2, "第二类用地": 2, "二类": 2}


def add_verbs(verbs: Any) -> None:
    ground = add_verb(
        verbs,
        "groundwater",
        groundwater_verb,
        "地下水质量类别（单指标评价），GB/T 14848-2017",
        "列：93 项中有的项目，列名用代号（nh3n、cr6…）或标准中的项目名，可带单位：氨氮(mg/L)、苯_ugL；其余列原样写出。"
        "可有 time 或 date。空、NA、NaN、—、/ 或负值为缺测；<0.005 或 0.005L 为未检出，取检出限的一半；"
        "嗅和味、肉眼可见物写 无 或 有。",
    )
    law_options(ground, editions(GroundwaterLimit))
    sea = add_verb(
        verbs,
        "seawater",
        seawater_verb,
        "海水水质类别（单因子），GB 3097-1997（多数限值只有一个来源）",
        "列：标准中有数值的 37 项中有的项目，写法同 groundwater；漂浮物质和色、臭、味只有文字要求，不在表中。",
    )
    law_options(sea, editions(SeawaterLimit))
    earth = add_verb(
        verbs,
        "soil",
        soil_verb,
        "土壤污染风险：农用地 GB 15618-2018、建设用地 GB 36600-2018 的筛选值和管制值",
        "列：标准中有的项目（mg/kg），列名用代号（cd、hg…）或项目名；land：农用地 水田 paddy、果园 orchard、"
        "其他 other（缺省），建设用地 第一类 1、第二类 2；农用地要有 ph。其余列原样写出。可有 time 或 date。",
    )
    earth.add_argument("--land-use", choices=("agricultural", "construction"), required=True, help="农用地或建设用地")
    law_options(earth, editions(AgriculturalSoil))


def _judged(
    args: argparse.Namespace,
    table: Table,
    given: Amounts,
    kind: type[Row],
    judge: Callable[[dict[str, Any], Any, date], Iterator[tuple[str, ...]]],
) -> list[tuple[str, ...]]:
    """The cells of every row, judged day by law day."""
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    law = [law_day(args, kind, day) for day in measured]
    out: list[tuple[str, ...]] = [()] * len(law)
    for day in set(law):
        there = np.flatnonzero([d == day for d in law])
        values = {item: value[there] for item, value in given.values.items()}
        for row, cells in zip(
            there.tolist(), in_law(lambda v=values, t=there, d=day: list(judge(v, t, d))), strict=True
        ):
            out[row] = cells
    return out


def _with_rest(table: Table, given: Amounts, out: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    rest = [table.text(column) for column in given.rest]
    return ((*(column[i] for column in rest), *cells) for i, cells in enumerate(out))


def groundwater_verb(args: argparse.Namespace) -> int:
    return _class_verb(args, GroundwaterLimit, groundwater.groundwater, "GB/T 14848 的项目")


def seawater_verb(args: argparse.Namespace) -> int:
    return _class_verb(args, SeawaterLimit, lambda values, day, _: groundwater.seawater(values, day), "GB 3097 的项目")


def _class_verb(
    args: argparse.Namespace,
    kind: type[ClassLimit],
    classes: Callable[..., groundwater.ClassColumns],
    what: str,
) -> int:
    table = read_table(args.input, [])
    given = amounts(table, [(r.item, r.name, r.unit) for r in rows(kind)])
    _some(table, given, what)

    def judge(values: dict[str, Any], there: Any, day: date) -> Iterator[tuple[str, ...]]:
        below = {item: mask[there] for item, mask in given.undetected.items()}
        found = classes(values, day, below)
        edition = found.basis()[0].standard
        for i in range(len(there)):
            worst = "、".join(found.name_of(item) for item in found.worst_items(i))
            count = int(np.count_nonzero(found.item_class[:, i]))
            used = [row for item in found.worst_items(i) or found.items for row in found.limits[item]]
            missing = "、".join(found.name_of(item) for item in found.missing(i))
            yield found.classes[found.klass[i]], worst, str(count), missing, edition, weakest(used), found.explain(i).zh

    out = _judged(args, table, given, kind, judge)
    header = (*given.rest, "class", "worst_items", "items", "missing", "edition", "trust", "reason")
    write_table(args.output, header, _with_rest(table, given, out), {"items"})
    return 0


def soil_verb(args: argparse.Namespace) -> int:
    farm = args.land_use == "agricultural"
    table = read_table(args.input, ["ph"] if farm else ["land"])
    kind: type[AgriculturalSoil] | type[ConstructionSoil] = AgriculturalSoil if farm else ConstructionSoil
    given = amounts(table, [(r.item, r.name, r.unit) for r in rows(kind)])
    land, ph = _land(table, farm), table.numbers("ph") if farm else np.zeros(len(table.lines))
    _some(table, given, "GB 15618 的项目" if farm else "GB 36600 的项目")

    def judge(values: dict[str, Any], there: Any, day: date) -> Iterator[tuple[str, ...]]:
        if farm:
            found = soil.agricultural(values, ph[there], land[there], day)
        else:
            found = soil.construction(values, land[there], day)
        edition = next(iter(found.rows.values()))[0].standard
        for i in range(len(there)):
            worst = "、".join(found.names[item] for item in found.worst_items(i))
            used = [row for item in found.worst_items(i) or found.items for row in found.rows[item]]
            missing = "、".join(found.names[item] for item in found.missing(i))
            yield soil.VERDICTS[found.verdict[i]].zh, worst, missing, edition, weakest(used), found.explain(i).zh

    out = _judged(args, table, given, kind, judge)
    header = (*given.rest, "verdict", "worst_items", "missing", "edition", "trust", "reason")
    write_table(args.output, header, _with_rest(table, given, out))
    return 0


def _some(table: Table, given: Amounts, what: str) -> None:
    if not given.values:
        raise BadInput(f"{table.file}：第 1 行：没有一列是{what} (no item of the standard)")
    say_unused(table, given, ("ph", "land"))


def _land(table: Table, farm: bool) -> Any:
    words: dict[str, Any] = FARM_LAND if farm else BUILDING_LAND
    if "land" not in table.columns:
        return np.full(len(table.lines), "other", "U8")

    def read(cell: str) -> Any:
        if cell not in words:
            raise ValueError(cell)
        return words[cell]

    return np.array(table.parse("land", read, f"不是 {'、'.join(w for w in words if w)} 之一"))
