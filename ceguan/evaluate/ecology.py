"""Verbs of ecology and radiation: ecological quality, river life, dose rates against the background."""

from __future__ import annotations

import argparse
from datetime import date
from typing import Any

import numpy as np

from ceguan.evaluate.items import PERIODS, days, editions, law_day, weakest
from ceguan.evaluate.outlets import text
from ceguan.evaluate.table import number, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import ecology, radiation
from ceguan.standards.tables import EqiClass, RadiationBackground, in_force

EQI_HEADER = ("eqi", "class", "change", "change_word", "edition", "trust", "reason")
LIFE_HEADER = (
    "sample", "individuals", "taxa", "shannon", "simpson", "pielou", "margalef", "berger_parker", "ept", "bmwp", "aspt",
    "biotic", "reason",
)  # fmt: skip
RATE_HEADER = ("period", "point", "due", "received", "acquisition", "reason")


def add_verbs(verbs: Any) -> None:
    quality = add_verb(
        verbs,
        "eqi",
        eqi_verb,
        "区域生态质量指数 EQI、分类和变化，区域生态质量评价办法（试行）（权重、变化分级未核；二、三级指标未收录）",
        "列：pattern（生态格局）, function（生态功能）, diversity（生物多样性）, stress（生态胁迫），"
        "各为 0–100 的一级指数；可有 eqi_before（前一期指数）, period、time 或 date。其余列原样写出。",
    )
    law_options(quality, editions(EqiClass))
    life = add_verb(
        verbs,
        "river-life",
        life_verb,
        "水生生物：个体数、分类单元数、Shannon–Wiener、Simpson、Pielou、Margalef、Berger–Parker、EPT、BMWP、ASPT、BI",
        "列：sample, taxon, count；可有 order（目：蜉蝣目、襀翅目、毛翅目计入 EPT）, score（科的 BMWP 分值）, "
        "tolerance（耐污值）。分值和耐污值由使用者提供：未见可引用的分值表。",
    )
    life.add_argument("--log", choices=("2", "e", "10"), default="2", help="对数的底，默认 2")
    dose = add_verb(
        verbs,
        "radiation",
        radiation_verb,
        "环境γ辐射空气吸收剂量率与当地天然本底范围比较；数据获取率（未见统一限值和合格线）",
        "列：time, dose_rate（nGy/h）；可有 point, place（表中的地名，或用 --place）。--rate 给出各时段的数据获取率："
        "应得为首行到末行每隔 --minutes 一个。",
    )
    dose.add_argument("--place", metavar="地名", help="与哪里的本底范围比较")
    dose.add_argument("--rate", choices=PERIODS, help="数据获取率：月、季、年、全部")
    dose.add_argument("--minutes", type=int, default=60, metavar="N", help="相邻两个数据相隔的分钟数，默认 60")
    law_options(dose, editions(RadiationBackground))


def _number(value: float, digits: int = 4) -> str:
    return "NA" if np.isnan(value) else f"{value:.{digits}f}"


def eqi_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ecology.INDICES)
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    columns = {name: table.numbers(name) for name in ecology.INDICES}
    before = table.numbers("eqi_before") if "eqi_before" in table.columns else np.full(len(table.lines), np.nan)
    out = []
    for row in range(len(table.lines)):
        law = law_day(args, EqiClass, measured[row])
        found = in_law(ecology.eqi, {name: v[row : row + 1] for name, v in columns.items()}, law)
        change = ecology.eqi_change(float(before[row]), float(found.value[0]), law)
        klass = found.class_of(0)
        given = [table.text(name)[row] for name in table.columns]
        reason = found.explain(0).zh + (f"；{change.explain().zh}" if change.row else "")
        word = change.explain().zh.partition("，")[2].partition("（")[0] if change.row else ""
        out.append(
            (*given, _number(found.value[0], 2), klass.zh if klass else "NA", _number(change.value, 2), word,
             found.classes[0].standard, weakest(found.basis()), reason)
        )  # fmt: skip
    write_table(args.output, (*table.columns, *EQI_HEADER), out, {"eqi", "change"})
    return 0


def life_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["sample", "taxon", "count"])
    samples, taxa = (list(dict.fromkeys(text(table, name))) for name in ("sample", "taxon"))
    place = {name: i for i, name in enumerate(samples)}, {name: i for i, name in enumerate(taxa)}
    counts = np.zeros((len(samples), len(taxa)))
    given = table.numbers("count")
    for row, (sample, taxon) in enumerate(zip(text(table, "sample"), text(table, "taxon"), strict=True)):
        counts[place[0][sample], place[1][taxon]] += 0 if np.isnan(given[row]) else given[row]
    orders = _by_taxon(text(table, "order"), text(table, "taxon"), taxa)
    base = {"2": 2.0, "10": 10.0, "e": float(np.e)}[args.log]
    found = ecology.diversity(counts, np.array(orders) if "order" in table.columns else None, base)
    score, tolerance = (_scores(table, name, taxa) for name in ("score", "tolerance"))
    points = ecology.scored(counts, score, tolerance if "tolerance" in table.columns else None)
    out = (
        (sample, f"{found.individuals[i]:g}", str(found.taxa[i]), *(_number(c[i]) for c in (found.shannon,
         found.simpson, found.pielou, found.margalef, found.berger_parker)), "NA" if found.ept[i] < 0 else
         str(found.ept[i]), *(_number(c[i], 2) for c in (points.bmwp, points.aspt, points.biotic)),
         "；".join((found.explain(i).zh, points.explain(i).zh)))
        for i, sample in enumerate(samples)
    )  # fmt: skip
    write_table(args.output, LIFE_HEADER, out, set(LIFE_HEADER) - {"sample", "reason"})
    return 0


def _by_taxon(values: list[str], names: list[str], taxa: list[str]) -> list[str]:
    """The value of each taxon: that of its first row that has one."""
    found: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        found[name] = found.get(name) or value
    return [found[name] for name in taxa]


def _scores(table: Any, column: str, taxa: list[str]) -> Any:
    if column not in table.columns:
        return np.full(len(taxa), np.nan)
    table.numbers(column)  # a cell that is no number is refused with its place
    return np.array([number(v) for v in _by_taxon(text(table, column), text(table, "taxon"), taxa)])


def radiation_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "dose_rate"])
    if args.rate:
        return _acquisition(args, table)
    measured = days(table) or []
    value, places = table.numbers("dose_rate"), text(table, "place")
    out = []
    for row, day in enumerate(measured):
        background = _background(table, row, args, args.place or places[row], day)
        found = radiation.against_background(value[row : row + 1], background)
        word = radiation.STATEMENTS[int(found.position[0])].zh
        given = [table.text(name)[row] for name in table.columns]
        out.append((*given, word, f"{background.low:g}", f"{background.high:g}", background.place,
                    background.standard, background.trust, found.explain(0).zh))  # fmt: skip
    header = (*table.columns, "statement", "low", "high", "background", "edition", "trust", "reason")
    write_table(args.output, header, out, {"low", "high", "dose_rate"})
    return 0


def _background(table: Any, row: int, args: argparse.Namespace, place: str, day: date) -> RadiationBackground:
    found = [r for r in in_force(RadiationBackground, args.as_if or day) if args.edition in (None, r.standard)]
    wanted = next((r for r in found if place in (r.place, r.place_en)), None)
    if wanted is None:
        valid = "、".join(r.place for r in found)
        column = "place" if "place" in table.columns else "time"
        raise table.fault(row, column, f"{place!r} 不在本底表中 (no such place)，可选：{valid}")
    return wanted


def _acquisition(args: argparse.Namespace, table: Any) -> int:
    value, measured = table.numbers("dose_rate"), days(table) or []
    stamps = table.parse("time", lambda cell: cell, "")
    places: dict[tuple[str, str], list[int]] = {}
    for row, (point, day) in enumerate(zip(text(table, "point"), measured, strict=True)):
        places.setdefault((PERIODS[args.rate](day), point), []).append(row)
    out = []
    for (period, point), there in places.items():
        received = len({stamps[row] for row in there if not np.isnan(value[row])})
        due = len({measured[row] for row in there}) * 1440 // args.minutes
        rate = float(radiation.acquisition_rate(np.array(received), np.array(due)))
        out.append((period, point, str(due), str(received), _number(rate, 2), "应得按有数据的各日计；未见合格线的规定"))
    write_table(args.output, RATE_HEADER, out, {"due", "received", "acquisition"})
    return 0
