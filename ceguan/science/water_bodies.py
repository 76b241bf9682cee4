"""Sections → rivers and basins, points → lakes, one period against another (环办〔2011〕22号).

Rows are samples or sections, columns are named as `WaterLimit.item`. Means are arithmetic over the values present;
NaN or negative = missing. pH may be averaged by its hydrogen ions instead (`Ph`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics, water
from ceguan.science.water import CLASSES, GOOD, Floats
from ceguan.standards.tables import (
    NotInForce,
    Row,
    TrophicClass,
    TrophicItem,
    WaterGrade,
    WaterLimit,
    WaterRule,
    in_force,
    one,
)
from ceguan.words import Label

Columns = Mapping[str, Floats]
Ints = NDArray[np.int64]


class Ph(StrEnum):
    """How pH is averaged: as a number (环办〔2011〕22号 says only arithmetic mean), or as hydrogen ions (2020)."""

    ARITHMETIC = "arithmetic"
    HYDROGEN = "hydrogen"


# ---- means


def means(columns: Columns, group: Ints, groups: int, ph: Ph = Ph.ARITHMETIC) -> dict[str, Floats]:
    """Mean of each column in each group 0 … `groups`−1, over the values present; NaN where a group has none."""
    return {item: _mean(value, group, groups, item == "ph" and ph == Ph.HYDROGEN) for item, value in columns.items()}


def _mean(value: Floats, group: Ints, groups: int, hydrogen: bool) -> Floats:
    there = value >= 0
    number = 10.0 ** -value[there] if hydrogen else value[there]
    count = np.bincount(group[there], minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group[there], number, minlength=groups) / count
        return statistics.settled(-np.log10(mean) if hydrogen else mean)


def lake_means(columns: Columns, point: Ints, ph: Ph = Ph.ARITHMETIC) -> dict[str, Floats]:
    """One value for each item of a lake: the mean over time at each point, then over the points (二（二）1)."""
    at_points = means(columns, point, int(point.max(initial=-1)) + 1, ph)
    points = len(next(iter(at_points.values())))
    return means(at_points, np.zeros(points, np.int64), 1, ph)


# ---- rivers and basins


@dataclass(frozen=True, slots=True)
class Basin:
    """水质状况 of a river or basin.

    `shares`: % of its sections in classes I … worse than V · `klass`: code of the class where judged by means, 0
    where by shares · `main`: item and share of the sections over class III in %, where judged by shares ·
    `by_section`: row and (item, multiple) of the sections over class III, where judged by means · `unjudged`:
    sections without a class, counted in nothing · `least`: the row with the number that parts the two methods.
    """

    method: str  # mean, shares, none
    sections: int
    unjudged: int
    shares: tuple[float, ...]
    klass: int
    grade: WaterGrade | None
    main: tuple[tuple[str, float], ...]
    by_section: tuple[tuple[int, tuple[tuple[str, float], ...]], ...]
    least: WaterRule

    @property
    def rules(self) -> tuple[Row, ...]:
        """Table rows used."""
        return self.least, *((self.grade,) if self.grade else ())

    @property
    def good(self) -> float:
        """Share of sections of class I–III in %."""
        return sum(self.shares[:GOOD])

    @property
    def worse(self) -> float:
        """Share of sections worse than V in %."""
        return self.shares[-1]

    def explain(self) -> Label:
        """By which method, and what came out."""
        if self.grade is None:
            return Label("没有可评价的断面", "no section could be evaluated")
        if self.method == "mean":
            least, name = f"{self.least.value:g}", CLASSES[self.klass]
            return Label(
                f"{self.sections} 个断面，少于 {least} 个：各项浓度算术平均后为{name}类，"
                f"{self.grade.zh}（{self.least.cite}）",
                f"{self.sections} sections, fewer than {least}: class {name} by means, "
                f"{self.grade.en} ({self.least.cite})",
            )
        return Label(
            f"{self.sections} 个断面：Ⅰ–Ⅲ类 {self.good:.1f}%，劣Ⅴ类 {self.worse:.1f}%，"
            f"{self.grade.zh}（{self.grade.cite}）",
            f"{self.sections} sections: {self.good:.1f} % class I–III, {self.worse:.1f} % worse than V, "
            f"{self.grade.en} ({self.grade.cite})",
        )


def basin(sections: Columns, waterbody: NDArray[np.str_] | str, day: date) -> Basin:
    """A river or basin from the means of its sections (one row each).

    Fewer than five sections with a class: the mean of each item over them, then the single worst item; five or more:
    the shares of classes (二（一）2). Main items: of each section, or by the share of sections over class III.
    """
    found = water.surface_water(sections, waterbody, day, ())
    judged = np.flatnonzero(found.klass > 0)
    least = one(WaterRule, day, rule="sections_for_shares")
    share = np.bincount(found.klass[judged], minlength=7)[1:] / max(len(judged), 1) * 100
    shares, unjudged = tuple(float(s) for s in share), len(found.klass) - len(judged)
    if not len(judged):
        return Basin("none", 0, unjudged, shares, 0, None, (), (), least)
    if len(judged) >= (least.value or 0):
        its = _basin_grade(float(share[:GOOD].sum()), float(share[-1]), day)
        return Basin("shares", len(judged), unjudged, shares, 0, its, _by_rate(found, judged), (), least)
    whole = means({i: v[judged] for i, v in sections.items()}, np.zeros(len(judged), np.int64), 1)
    klass = int(water.surface_water(whole, _one_body(found, judged), day, ()).klass[0])
    its = water.grade(klass, day)
    named = water.main_items(found)
    each = tuple((int(row), named.named(int(row))) for row in judged if len(named.named(int(row))))
    return Basin("mean", len(judged), unjudged, shares, klass, its, (), each, least)


def _one_body(found: water.WaterColumns, judged: NDArray[np.intp]) -> str:
    """Limits of lakes only where every section is one: a river that flows through a lake is judged as a river."""
    return "lake" if bool(found.lake[judged].all()) else "river"


def _basin_grade(good: float, worse: float, day: date) -> WaterGrade | None:
    good, worse = round(good, 9), round(worse, 9)  # the shares are quotients of counts: 90 % must be 90
    for row in in_force(WaterGrade, day, scope="basin"):
        high = row.good_below is None or good < row.good_below
        bad = row.worse_below is None or worse < row.worse_below
        if good >= (row.good_from or 0) and high and worse >= (row.worse_from or 0) and bad:
            return row
    return None


def _by_rate(found: water.WaterColumns, judged: NDArray[np.intp]) -> tuple[tuple[str, float], ...]:
    """Items over class III by the share of the sections with a value that are over it, the three largest."""
    top = int(one(WaterRule, found.day, rule="main_items").value or 0)
    rates = []
    for item, classes in zip(found.items, found.item_class[:, judged], strict=True):
        over = np.count_nonzero(classes > GOOD)
        if over:
            rates.append((item, over / np.count_nonzero(classes) * 100))
    return tuple(sorted(rates, key=lambda pair: -pair[1])[:top])


# ---- lakes: trophic level


@dataclass(frozen=True, slots=True)
class Trophic:
    """综合营养状态指数. `tli` float64 (n,), NaN where an item is missing or zero · `parts` float64 (5, n) in the order
    of `items` · `grade` int8: 1 贫营养 … 5 重度富营养, 0 none."""

    items: tuple[TrophicItem, ...]
    tli: Floats
    parts: Floats
    grade: NDArray[np.int8]
    classes: tuple[TrophicClass, ...]

    def named(self, row: int) -> TrophicClass | None:
        return self.classes[self.grade[row] - 1] if self.grade[row] else None

    def missing(self, row: int) -> tuple[str, ...]:
        return tuple(i.item for i, p in zip(self.items, self.parts[:, row], strict=True) if np.isnan(p))

    def explain(self, row: int) -> Label:
        """The index with its class and clause, or which item is missing."""
        its = self.named(row)
        if its is None:
            absent = set(self.missing(row))
            lacking = "、".join(i.name for i in self.items if i.item in absent)
            return Label(f"缺{lacking}，不评价", f"{', '.join(sorted(absent))} missing: not evaluated")
        largest = self.items[int(np.nanargmax(self.parts[:, row]))]
        tli = f"{self.tli[row]:.1f}"
        return Label(
            f"TLI {tli}，{its.zh}；分指数最大为{largest.name}（{its.cite}）",
            f"TLI {tli}, {its.en}; the largest part is {largest.item} ({its.cite})",
        )


def trophic(columns: Columns, day: date) -> Trophic:
    """TLI of each row from chla [mg/m³], tp, tn, codmn [mg/L], sd [m]: Σ W·10(a + b ln C).

    All five are needed; a part that is missing, zero or negative has no logarithm and leaves the row without an index.
    Raises NotInForce before the first rule.
    """
    items, classes = in_force(TrophicItem, day), in_force(TrophicClass, day)
    if not items:
        raise NotInForce(f"{TrophicItem.table_file}：{day} 没有有效的规定 (no rule in force)")
    n = len(next(iter(columns.values())))
    parts = np.full((len(items), n), np.nan)
    for k, row in enumerate(items):
        value = columns.get(row.item, np.full(n, np.nan))
        there = value > 0
        parts[k, there] = 10 * (row.a + row.b * np.log(value[there]))
    tli = np.array([row.weight for row in items]) @ parts
    grade = np.ones(n, np.int8)
    for c in classes:
        if c.below is not None:
            grade += (tli > c.below) if c.closed else (tli >= c.below)
    grade[np.isnan(tli)] = 0
    return Trophic(items, tli, parts, grade, classes)


# ---- one period against another


@dataclass(frozen=True, slots=True)
class Change:
    """Change between two periods. `degree` 0 无明显变化, 1 有所, 2 明显 · `better` None when unchanged."""

    degree: int
    better: bool | None
    rules: tuple[WaterRule, ...]

    @property
    def word(self) -> Label:
        if self.degree == 0:
            return Label("无明显变化", "no marked change")
        zh, en = ("有所", "somewhat") if self.degree == 1 else ("明显", "markedly")
        return Label(f"{zh}{'好转' if self.better else '变差'}", f"{en} {'better' if self.better else 'worse'}")


def grade_change(before: int, after: int, day: date) -> Change:
    """By the grades (1 优 … 5 重度污染) of the two periods: one grade 有所, two or more 明显 (三（一）)."""
    some, marked = one(WaterRule, day, rule="change_grades_some"), one(WaterRule, day, rule="change_grades_marked")
    steps = abs(after - before)
    degree = (steps >= (some.value or 0)) + (steps >= (marked.value or 0))
    return Change(degree, None if steps == 0 else after < before, (some, marked))


def share_change(before: tuple[float, float], after: tuple[float, float], day: date) -> Change:
    """By the shares in % (class I–III, worse than V) of the two periods: ΔG − ΔD (组合类别比例法, 三（一）).

    The threshold of 10 is `unsure`; see the rules of the result.
    """
    some, marked = one(WaterRule, day, rule="change_shares_some"), one(WaterRule, day, rule="change_shares_marked")
    gain = round((after[0] - before[0]) - (after[1] - before[1]), 9)
    degree = (abs(gain) > (some.value or 0)) + (abs(gain) > (marked.value or 0))
    return Change(degree, None if degree == 0 else gain > 0, (some, marked))


# ---- what the rest of the year must be


@dataclass(frozen=True, slots=True)
class Needed:
    """`average` float64 (n,): what the periods left must average at most (dissolved oxygen: at least) · `reachable`."""

    average: Floats
    reachable: NDArray[np.bool_]
    row: WaterLimit

    def explain(self, row: int, target: int) -> Label:
        if np.isnan(self.average[row]):
            return Label("没有已过时段的均值或没有剩余时段", "no mean so far, or no period left")
        goal, unit = CLASSES[target], self.row.unit
        if not self.reachable[row]:
            return Label(
                f"全年已不能达到{goal}类：剩余时段须平均 {self.average[row]:.4g} {unit}（{self.row.cite}）",
                f"class {goal} is out of reach: the rest would have to average {self.average[row]:.4g} {unit} "
                f"({self.row.cite})",
            )
        zh, en = ("不低于", "at least") if self.row.kind == "min" else ("不高于", "at most")
        return Label(
            f"全年要达到{goal}类，剩余时段平均{zh} {self.average[row]:.4g} {unit}（{self.row.cite}）",
            f"to meet class {goal} the rest must average {en} {self.average[row]:.4g} {unit} ({self.row.cite})",
        )


def needed(
    item: str, so_far: Floats, elapsed: NDArray[np.int_], left: NDArray[np.int_], target: int, waterbody: str, day: date
) -> Needed:
    """Average that the `left` periods need so that the mean of all is just within class `target` (1 … 5).

    `so_far`: mean of the `elapsed` periods. NaN where that is missing or nothing is left. Raises ValueError for pH,
    whose class does not follow from a mean against one limit.
    """
    row = water.limit(item, waterbody, day)
    if row.kind == "range":
        raise ValueError(f"{row.name} 没有单一限值，不能反推 (no single limit)")
    bound = row.classes[target - 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        average = ((elapsed + left) * bound - elapsed * so_far) / left
    average[(left <= 0) | ~(so_far >= 0)] = np.nan
    return Needed(average, average >= 0 if row.kind == "max" else ~np.isnan(average), row)


# ---- manual and automatic


@dataclass(frozen=True, slots=True)
class Fused:
    """One item measured by hand and automatically. `value`: what counts · `automatic` bool: it is the automatic one ·
    `deviation`: (automatic − manual) / manual · `apart` bool: the two have different classes."""

    value: Floats
    automatic: NDArray[np.bool_]
    deviation: Floats
    apart: NDArray[np.bool_]
    rules: tuple[Row, ...]


def fuse(item: str, manual: Floats, automatic: Floats, waterbody: str, day: date) -> Fused:
    """Both kept, one counts: the automatic value of pH, DO, CODMn, NH3-N, TP and TN since 2020, else the manual one.

    Where the one that has priority is missing the other counts. Two values of different classes are `apart`.
    """
    rules = in_force(WaterRule, day, rule="automatic_first", item=item)
    by_hand, by_itself = manual >= 0, automatic >= 0
    use = by_itself & (bool(rules) | ~by_hand)
    value = np.where(use, automatic, np.where(by_hand, manual, np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.where(by_hand & by_itself, (automatic - manual) / manual, np.nan)
    row = water.limit(item, "lake" if item == "tn" else waterbody, day)
    first, second = water.item_class(row, manual), water.item_class(row, automatic)
    return Fused(value, use, deviation, (first != second) & by_hand & by_itself, (*rules, row))
