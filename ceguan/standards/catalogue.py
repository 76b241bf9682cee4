"""标准目录: every standard of the tables with its rows, ready to be printed – in docs/ and on the pages alike.

A heading or a coded word that is missing here fails a test, so that a new table cannot be printed half.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from functools import cache
from importlib import resources
from math import isinf
from typing import NamedTuple

from ceguan.standards import tables
from ceguan.standards.tables import TABLES, Row, rows
from ceguan.words import Label

TRUST_WORDS = {
    "P": Label("原文", "read in the text"),
    "2": Label("两个来源", "two sources"),
    "1": Label("一个来源", "one source"),
    "unsure": Label("未核", "unverified"),
    "local": Label("本局设定", "the bureau's own"),
}
ABOUT = ("standard", "clause", "valid_from", "valid_to", "trust", "source", "where")
"""What every row says about itself; printed after its own columns."""

AIR, WATER, GROUND, SEA, SOIL, NOISE, ECOLOGY, SOURCES, RADIATION, TIME, KEEPING = (
    Label("环境空气", "ambient air"), Label("地表水", "surface water"), Label("地下水", "groundwater"),
    Label("海水", "sea water"), Label("土壤", "soil"), Label("噪声", "noise"), Label("生态", "ecology"),
    Label("污染源", "pollution sources"), Label("辐射", "radiation"), Label("工作日", "working days"),
    Label("数据保存", "keeping of data"),
)  # fmt: skip
SUBJECTS = (AIR, WATER, GROUND, SEA, SOIL, NOISE, ECOLOGY, SOURCES, RADIATION, TIME, KEEPING)

KINDS: dict[type[Row], tuple[Label, Label]] = {
    tables.AirLimit: (AIR, Label("浓度限值", "concentration limits")),
    tables.IaqiRow: (AIR, Label("空气质量分指数的浓度限值", "breakpoints of the IAQI")),
    tables.AqiClass: (AIR, Label("空气质量指数级别", "classes of the AQI")),
    tables.AqiCompleteness: (AIR, Label("缺项时的发布", "publication with a pollutant missing")),
    tables.SensitiveGroup: (AIR, Label("敏感人群", "sensitive groups")),
    tables.AirStatistic: (AIR, Label("评价统计量", "statistics evaluated")),
    tables.AirRounding: (AIR, Label("修约", "rounding")),
    tables.AirIndexTerm: (AIR, Label("综合指数", "composite index")),
    tables.AirRanking: (AIR, Label("城市排名", "city ranking")),
    tables.AirEvent: (AIR, Label("剔除的事件", "events left out")),
    tables.AirState: (AIR, Label("浓度的状态", "state of concentrations")),
    tables.Reactivity: (AIR, Label("最大增量反应活性", "maximum incremental reactivity")),
    tables.ClosureTerm: (AIR, Label("颗粒物质量闭合", "mass closure of particles")),
    tables.WaterLimit: (WATER, Label("项目标准限值", "limits by item")),
    tables.WaterRule: (WATER, Label("评价规则", "rules of evaluation")),
    tables.WaterGrade: (WATER, Label("水质状况", "grades")),
    tables.TrophicItem: (WATER, Label("综合营养状态指数", "trophic level index")),
    tables.TrophicClass: (WATER, Label("营养状态分级", "trophic classes")),
    tables.SpearmanCritical: (WATER, Label("秩相关系数临界值", "critical rank correlations")),
    tables.GroundwaterLimit: (GROUND, Label("质量指标及限值", "limits by item")),
    tables.SeawaterLimit: (SEA, Label("水质标准", "limits by item")),
    tables.AgriculturalSoil: (SOIL, Label("农用地风险值", "farmland")),
    tables.ConstructionSoil: (SOIL, Label("建设用地风险值", "building land")),
    tables.NoiseLimit: (NOISE, Label("环境噪声限值", "limits by zone")),
    tables.NoiseEmission: (NOISE, Label("噪声排放限值", "limits of noise sources")),
    tables.NoiseRule: (NOISE, Label("测量与判定规则", "rules of measuring and judging")),
    tables.NoiseGrade: (NOISE, Label("城市声环境等级", "grades of city noise")),
    tables.EqiClass: (ECOLOGY, Label("生态质量分类", "classes of ecological quality")),
    tables.EqiWeight: (ECOLOGY, Label("一级指标权重", "weights of the first-level indices")),
    tables.EqiChange: (ECOLOGY, Label("变化分级", "steps of change")),
    tables.EmissionLimit: (SOURCES, Label("排放限值", "emission limits")),
    tables.EmissionRate: (SOURCES, Label("最高允许排放速率", "limits of the rate by stack height")),
    tables.EmissionRule: (SOURCES, Label("其他规则", "other rules")),
    tables.Substitution: (SOURCES, Label("缺失数据的替代", "stand-ins for missing data")),
    tables.MonitorCheck: (SOURCES, Label("监测设备考核指标", "what a monitor may differ by")),
    tables.IncineratorCap: (SOURCES, Label("焚烧炉运行要求", "what an incinerator may do")),
    tables.RadiationBackground: (RADIATION, Label("天然本底范围", "natural background")),
    tables.Validity: (SOURCES, Label("数据有效性", "least amount of data")),
    tables.CalendarDay: (TIME, Label("节假日与调休", "holidays and make-up days")),
    tables.Retention: (KEEPING, Label("保存期限", "how long data are kept")),
}
"""Subject and title of each table. `Validity` belongs to air in the standards of air: see `subject`."""

CODED = frozenset(
    {
        "averaging",
        "kind",
        "statistic",
        "waterbody",
        "medium",
        "basis",
        "land",
        "industry",
        "period",
        "phase",
        "scope",
        "after",
    }
)
"""Columns whose cells are words of our own, shown in the reader's language."""


@cache
def _labels(file: str, *keys: str) -> dict[tuple[str, ...], Label]:
    """Words of a small table: `keys` columns → Chinese and English."""
    text = resources.files(__package__).joinpath(file).read_text("utf-8")
    return {tuple(r[k] for k in keys): Label(r["zh"], r["en"]) for r in csv.DictReader(io.StringIO(text))}


def title(name: str) -> Label:
    """What a standard is called; raises KeyError when standard_titles.csv does not know it."""
    return _labels("standard_titles.csv", "standard")[name,]


class Column(NamedTuple):
    name: str
    heading: Label


class Line(NamedTuple):
    """One row as cells (in Chinese and English), with what it says about itself."""

    cells: tuple[Label, ...]
    row: Row
    note: int  # number of its source in the part's list, from 1

    @property
    def anchor(self) -> str:
        """Name of the row on a page: its table and line."""
        return self.row.where.replace(".csv:", "-")

    @property
    def period(self) -> str:
        end = self.row.valid_to
        return f"{self.row.valid_from} – {end if end else ''}".strip()


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one table that belong to one standard."""

    kind: type[Row]
    title: Label
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standard:
    """A standard as the tables have it: `unsure` rows of `count`, first and last day in force (None: still)."""

    name: str
    subject: Label
    parts: tuple[Part, ...]

    @property
    def slug(self) -> str:
        return slug(self.name)

    @property
    def title(self) -> Label:
        return title(self.name)

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(line.row for part in self.parts for line in part.lines)

    @property
    def count(self) -> int:
        return len(self.rows)

    @property
    def unsure(self) -> int:
        return sum(row.trust == "unsure" for row in self.rows)

    @property
    def valid_from(self) -> date:
        return min(row.valid_from for row in self.rows)

    @property
    def valid_to(self) -> date | None:
        ends = [row.valid_to for row in self.rows]
        return max((end for end in ends if end), default=None) if all(ends) else None

    def matches(self, words: str) -> bool:
        """Whether every word is in the name, a title or a cell; case does not count."""
        text = self.text.casefold()
        return all(word in text for word in words.casefold().split())

    @property
    def text(self) -> str:
        cells = (word for part in self.parts for line in part.lines for cell in line.cells for word in cell)
        titles = (word for part in self.parts for word in part.title)
        clauses = (line.row.clause for part in self.parts for line in part.lines)
        return " ".join((self.name, *self.title, *self.subject, *titles, *clauses, *cells))


def slug(name: str) -> str:
    """The name of a standard in an address: letters, digits and Chinese stay."""
    return re.sub(r"\W+", "-", name).strip("-")


@cache
def standards() -> tuple[Standard, ...]:
    """Every standard of the tables, by subject and in the order of the tables."""
    found: dict[str, list[tuple[type[Row], list[Row]]]] = {}
    for kind in TABLES:
        by_name: dict[str, list[Row]] = {}
        for row in rows(kind):
            by_name.setdefault(row.standard, []).append(row)
        for name, its in by_name.items():
            found.setdefault(name, []).append((kind, its))
    made = [
        Standard(name, subject(parts[0][0], name), tuple(_part(*p) for p in parts)) for name, parts in found.items()
    ]
    return tuple(sorted(made, key=lambda s: SUBJECTS.index(s.subject)))


def find(name: str) -> Standard | None:
    """A standard by its name or slug."""
    return next((s for s in standards() if name in (s.name, s.slug)), None)


def cited(text: str) -> tuple[Standard, str] | None:
    """Standard and row anchor of a citation such as "GB 3096-2008 表1" or "GB 13271-2014 表2 新建 燃煤锅炉".

    The row is the first of the clause, of the category named if one is; "" when no row has the clause.
    """
    named = [one for one in standards() if text == one.name or text.startswith(f"{one.name} ")]
    if not named:
        return None
    one = max(named, key=lambda s: len(s.name))
    rest = text[len(one.name) :].strip()
    lines = [line for part in one.parts for line in part.lines if rest and rest.startswith(line.row.clause)]
    exact = [line for line in lines if rest == f"{line.row.clause} {getattr(line.row, 'category', '')}".strip()]
    found = (exact or lines)[:1]
    return one, found[0].anchor if found else ""


def subject(kind: type[Row], name: str) -> Label:
    return AIR if kind is tables.Validity and name.startswith(("GB 3095", "HJ 663")) else KINDS[kind][0]


def _part(kind: type[Row], its: list[Row]) -> Part:
    sources = tuple(dict.fromkeys(row.source for row in its))
    own = [f.name for f in fields(kind) if f.name not in ABOUT]
    used = [name for name in own if any(getattr(row, name) not in ("", None) for row in its)]
    columns = tuple(Column(name, _heading(kind, name)) for name in used)
    lines = tuple(Line(tuple(cell(row, name) for name in used), row, sources.index(row.source) + 1) for row in its)
    return Part(kind, KINDS[kind][1], columns, lines, sources)


def _heading(kind: type[Row], name: str) -> Label:
    known = _labels("headings.csv", "table", "column")
    return known.get((kind.table_file, name)) or known["", name]


def cell(row: Row, name: str) -> Label:
    """A cell as text in Chinese and English; "–" where the table has nothing or asks for nothing."""
    value = getattr(row, name)
    if value is None or value == "" or (isinstance(value, float) and isinf(value)):
        return Label("–", "–")
    if name in CODED and (word := _labels("coded_words.csv", "word").get((str(value),))):
        return word
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return Label(text, text)


def by_subject(found: tuple[Standard, ...]) -> Iterator[tuple[Label, list[Standard]]]:
    """The standards of each subject that has one."""
    for one in SUBJECTS:
        its = [s for s in found if s.subject == one]
        if its:
            yield one, its
