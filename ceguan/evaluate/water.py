"""Verbs of surface water."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

import numpy as np

from ceguan.evaluate.items import editions, law_day
from ceguan.evaluate.table import BadInput, moment, read_table, write_table
from ceguan.evaluate.verbs import add_verb, law_options
from ceguan.science import water
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import WaterLimit, rows

WATERBODY = {"river": "river", "lake": "lake", "either": "either", "": "either", "河流": "river", "湖库": "lake"}
WATER_COLUMNS = {"ph": "ph", "do_mgL": "do", "codmn_mgL": "codmn", "nh3n_mgL": "nh3n", "tp_mgL": "tp"}


def add_verbs(verbs: Any) -> None:
    verb = add_verb(
        verbs,
        "surface-water",
        surface_water,
        "地表水水质类别（单因子），GB 3838-2002",
        "列：time, section, ph, do_mgL, codmn_mgL, nh3n_mgL, tp_mgL 和 waterbody 或 waterbody_inferred"
        "（river、lake、either）。空、NA、NaN、— 或负值为缺测。",
    )
    law_options(verb, editions(WaterLimit))


def surface_water(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "section", *WATER_COLUMNS])
    kind = next((c for c in ("waterbody", "waterbody_inferred") if c in table.columns), None)
    if kind is None:
        raise BadInput(f"{table.file}：第 1 行：缺少列 (missing column) waterbody")
    labels = table.parse("time", moment, "不是时间 (not a time)")
    body = np.array(table.parse(kind, _waterbody, "不是 river、lake 或 either"), dtype="U8")
    columns = {item: table.numbers(column) for column, item in WATER_COLUMNS.items()}
    days = [law_day(args, WaterLimit, label.date()) for label in labels]
    verdicts = _water_rows(days, columns, body)
    header = ("time", "section", "class", "worst_items", "edition", "reason")
    given = zip(table.text("time"), table.text("section"), strict=True)
    write_table(args.output, header, ((*g, *v) for g, v in zip(given, verdicts, strict=True)))
    return 0


def _waterbody(cell: str) -> str:
    if cell not in WATERBODY:
        raise ValueError(cell)
    return WATERBODY[cell]


def _water_rows(days: list[date], columns: dict[str, Any], body: Any) -> list[tuple[str, ...]]:
    """class, worst_items, edition, reason of each row, judged by the edition in force on its day."""
    out: list[tuple[str, ...]] = [("NA", "NA", "", say(Reason.NO_EDITION).zh)] * len(days)
    for row in {r.standard: r for r in rows(WaterLimit)}.values():
        here = np.flatnonzero([row.in_force(day) for day in days])
        if len(here) == 0:
            continue
        found = water.surface_water({k: v[here] for k, v in columns.items()}, body[here], days[here[0]])
        for i, place in enumerate(here):
            klass = water.CLASSES[found.klass[i]]
            worst = "NA" if klass == "NA" else ",".join(found.worst_items(i))
            out[place] = (klass, worst, row.standard, found.explain(i).zh)
    return out
