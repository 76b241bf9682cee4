"""Verbs of particle components and photochemistry."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ceguan.evaluate.table import BadInput, Table, read_table, write_table
from ceguan.evaluate.verbs import add_verb
from ceguan.science import air_components
from ceguan.standards.tables import ClosureTerm, rows

KEYS = ("time", "station")


def add_verbs(verbs: Any) -> None:
    closure = add_verb(
        verbs,
        "air-components",
        closure_verb,
        "颗粒物组分质量闭合：由组分重构PM2.5质量，与实测比较",
        "列：time, station, pm25 和组分 S（或 SO4）, NO3, OC, EC, Al, Si, Ca, Fe, Ti, Cl；µg/m³；"
        "空、NA、NaN、— 或负值为缺测，缺一项则该组分和总量不算。",
    )
    closure.add_argument("--method", choices=air_components.METHODS, default="improve", help="重构方法，默认 improve")
    add_verb(
        verbs,
        "air-ofp",
        ofp_verb,
        "臭氧生成潜势：每个物种的浓度 × MIR",
        "列：time, station，其余每列一个物种（中文名、英文名或 HJ 212 编码）；µg/m³；"
        "没有可引用系数的物种指明、不计入。",
    )


def closure_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, [*KEYS, "pm25"])
    wanted = {row.term for row in rows(ClosureTerm) if row.method == args.method}
    species = {name: table.numbers(name) for name in table.columns if name in wanted}
    result = air_components.mass_closure(species, table.numbers("pm25"), args.method)
    header = (*KEYS, *result.components, "mass", "ratio", "unexplained", "method", "reason")
    columns = [*result.components.values(), result.mass, result.ratio, result.unexplained]
    out = (
        (*key, *(_text(column[i]) for column in columns), args.method, result.explain(i).zh)
        for i, key in enumerate(_keys(table))
    )
    write_table(args.output, header, out, set(header) - {*KEYS, "method", "reason"})
    return 0


def ofp_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, KEYS)
    names = [name for name in table.columns if name and name not in KEYS]
    if not names:
        raise BadInput(f"{table.file}：第 1 行：没有物种列 (no species)")
    try:
        result = air_components.ozone_formation({name: table.numbers(name) for name in names})
    except ValueError as error:
        raise BadInput(f"{table.file}：第 1 行：{error}") from error
    species = [row.zh for row in result.rows]
    header = (*KEYS, *species, "total", "species", "reason")
    out = (
        (
            *key,
            *(_text(v) for v in result.ofp[:, i]),
            _text(result.total[i]),
            str(result.counted[i]),
            result.explain(i).zh,
        )
        for i, key in enumerate(_keys(table))
    )
    numbers: Collection[str] = {*species, "total", "species"}
    write_table(args.output, header, out, numbers)
    return 0


def _keys(table: Table) -> Iterator[tuple[str, ...]]:
    return zip(*(table.text(name) for name in KEYS), strict=True)


def _text(value: float) -> str:
    return "NA" if np.isnan(value) else f"{value:.6g}"
