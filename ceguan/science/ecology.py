"""生态质量与水生生物: the ecological quality index with its class and change, and indices of river life from counts.

EQI: 区域生态质量评价办法（试行）. Its classes have two sources; weights and steps of change are from memory (unsure).
How the four first-level indices come from land cover and the rest was not found: they are taken as given.

Indices of diversity take counts of individuals by taxon. BMWP, ASPT and a biotic index need a score for each family,
and no table of scores could be cited: the scores are the caller's, and who gave them is the caller's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.standards.tables import EqiChange, EqiClass, EqiWeight, NotInForce, Row, in_force
from ceguan.words import Label

Floats = NDArray[np.float64]
INDICES = ("pattern", "function", "diversity", "stress")


@dataclass(frozen=True, slots=True)
class Eqi:
    """`value` 0–100 (n,), NaN where an index is missing · `terms` (4, n): what each adds · `level` 1–5, 0 none."""

    value: Floats
    terms: Floats
    level: NDArray[np.int8]
    weights: tuple[EqiWeight, ...]
    classes: tuple[EqiClass, ...]

    def class_of(self, row: int) -> EqiClass | None:
        return self.classes[self.level[row] - 1] if self.level[row] else None

    def missing(self, row: int) -> tuple[EqiWeight, ...]:
        return tuple(w for w, term in zip(self.weights, self.terms[:, row], strict=True) if np.isnan(term))

    def basis(self) -> tuple[Row, ...]:
        return (*self.weights, *self.classes)

    def explain(self, row: int) -> Label:
        """What each index adds, the sum, its class; that the weights are unsure; or what is missing."""
        if absent := self.missing(row):
            return Label(
                f"缺{'、'.join(w.zh for w in absent)}指数，不评价",
                f"{', '.join(w.en for w in absent)} missing: not evaluated",
            )
        found = self.class_of(row)
        if found is None:
            return Label("指数不在 0–100 之间，不评价", "index not within 0–100: not evaluated")
        added = [(w, t) for w, t in zip(self.weights, self.terms[:, row], strict=True)]
        zh = " + ".join(f"{w.zh} {t:.2f}" for w, t in added)
        en = " + ".join(f"{w.en} {t:.2f}" for w, t in added)
        total = f"{self.value[row]:.2f}"
        return Label(
            f"{zh} = {total}，{found.zh}（{found.cite}；权重未核）",
            f"{en} = {total}, {found.en} ({found.cite}; weights unverified)",
        )


def eqi(columns: Mapping[str, Floats], day: date) -> Eqi:
    """Σ weight · index, stress as 100 - index; the four columns are named as INDICES, 0–100, NaN missing.

    Raises KeyError for a column not given, NotInForce for a day before the rule.
    """
    weights, classes = in_force(EqiWeight, day), in_force(EqiClass, day)
    if not weights:
        raise NotInForce(f"eqi_weights.csv: {day} 还没有区域生态质量评价办法 (no rule on this day)")
    given = [columns[w.item] for w in weights]
    inside = [np.where((v >= 0) & (v <= 100), v, np.nan) for v in given]
    terms = np.array([w.weight * (100 - v if w.inverse else v) for w, v in zip(weights, inside, strict=True)])
    value = np.round(terms.sum(axis=0), 9)  # float dust off: a bound belongs to its class
    return Eqi(value, terms, level_of(value, classes), weights, classes)


def level_of(value: Floats, classes: tuple[EqiClass, ...]) -> NDArray[np.int8]:
    """Level 1 (best) … 5 of each EQI, 0 for NaN."""
    level = np.zeros(len(value), np.int8)
    for row in classes:
        low, high = -np.inf if row.low is None else row.low, np.inf if row.high is None else row.high
        level[(value >= low) & (value < high)] = row.level
    return level


@dataclass(frozen=True, slots=True)
class EqiDifference:
    """Change of an EQI between two periods; `row` None where one of them is missing."""

    value: float
    row: EqiChange | None

    def explain(self) -> Label:
        if self.row is None:
            return Label("缺一期指数，不评价变化", "one period is missing: no change")
        better = self.value >= 0
        zh, en = (self.row.better_zh, self.row.better_en) if better else (self.row.worse_zh, self.row.worse_en)
        cite = f"{self.row.cite}；分级未核"
        return Label(
            f"ΔEQI {self.value:+.2f}，{zh}（{cite}）", f"ΔEQI {self.value:+.2f}, {en} ({self.row.cite}; unsure)"
        )


def eqi_change(before: float, after: float, day: date) -> EqiDifference:
    """The words for the change from `before` to `after` (steps from memory, unsure)."""
    difference = round(after - before, 9)
    if np.isnan(difference):
        return EqiDifference(difference, None)
    steps = in_force(EqiChange, day)
    row = next(s for s in steps if (s.low or 0) <= abs(difference) < (np.inf if s.high is None else s.high))
    return EqiDifference(difference, row)


# ---- river life


@dataclass(frozen=True, slots=True)
class Diversity:
    """One cell per sample. `individuals` N, `taxa` S; indices NaN where they are not defined (explain says why).

    `shannon` Shannon–Wiener H' = -Σ pᵢ·log_b pᵢ (Shannon 1948) · `simpson` 1 - Σ pᵢ² (Simpson 1949) · `pielou`
    J = H'/log_b S (Pielou 1966) · `margalef` (S - 1)/ln N (Margalef 1958) · `berger_parker` N_max/N (Berger & Parker
    1970) · `ept` taxa of mayflies, stoneflies and caddisflies, -1 where the orders are not known.
    """

    individuals: Floats
    taxa: NDArray[np.int64]
    shannon: Floats
    simpson: Floats
    pielou: Floats
    margalef: Floats
    berger_parker: Floats
    ept: NDArray[np.int64]
    base: float

    def explain(self, row: int) -> Label:
        """N and S, the base of the logarithm, and which index is not defined and why."""
        n, s = self.individuals[row], int(self.taxa[row])
        if not n > 0:
            return Label("没有个体，不计算", "no individuals: not computed")
        log = "ln" if self.base == np.e else f"log{self.base:g}"
        zh, en = f"N={n:g}，S={s}，对数 {log}", f"N={n:g}, S={s}, {log}"
        if s == 1:
            zh, en = f"{zh}；只有一个分类单元，均匀度无定义", f"{en}; a single taxon has no evenness"
        if n == 1:
            zh, en = f"{zh}；只有一个个体，丰富度指数无定义", f"{en}; a single individual has no Margalef index"
        return Label(zh, en)


EPT = frozenset({"Ephemeroptera", "Plecoptera", "Trichoptera", "蜉蝣目", "襀翅目", "毛翅目"})


def diversity(counts: Floats, orders: NDArray[np.str_] | None = None, base: float = 2.0) -> Diversity:
    """Indices of (samples, taxa) counts; NaN, 0 or negative: the taxon was not found.

    `base` of the logarithm: 2 as usual for river life in China, e for natural units. `orders` (taxa,): the order of
    each taxon, in Latin or Chinese, for the number of EPT taxa.
    """
    found = np.where(counts > 0, counts, 0.0)
    total, taxa = found.sum(axis=1), (found > 0).sum(axis=1)
    share = np.divide(found, total[:, None], out=np.zeros_like(found), where=total[:, None] > 0)
    logs = np.log(share, out=np.zeros_like(share), where=share > 0) / np.log(base)
    some = total > 0
    shannon = np.where(some, -(share * logs).sum(axis=1) + 0.0, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        evenness = np.where(taxa > 1, shannon / (np.log(taxa) / np.log(base)), np.nan)
        margalef = np.where(total > 1, (taxa - 1) / np.log(total), np.nan)
    ept = np.full(len(found), -1, np.int64)
    if orders is not None:
        ept = (found[:, np.isin(orders, list(EPT))] > 0).sum(axis=1)
    return Diversity(
        total,
        taxa,
        shannon,
        np.where(some, 1 - (share**2).sum(axis=1), np.nan),
        evenness,
        margalef,
        np.where(some, share.max(axis=1, initial=0.0), np.nan),
        ept,
        base,
    )


@dataclass(frozen=True, slots=True)
class Scored:
    """`bmwp` sum of the scores of the families found, `scoring` how many have one, `aspt` mean score of those, `biotic`
    abundance-weighted mean of the tolerance values; NaN where no family found has one."""

    bmwp: Floats
    scoring: NDArray[np.int64]
    aspt: Floats
    biotic: Floats

    def explain(self, row: int) -> Label:
        count = int(self.scoring[row])
        if not count:
            return Label("没有给出分值的科，不计算", "no family with a score: not computed")
        return Label(
            f"{count} 个科有分值；分值由使用者提供，未收录可引用的分值表",
            f"{count} families with a score; the scores are the user's, no table of them could be cited",
        )


def scored(counts: Floats, score: Floats, tolerance: Floats | None = None) -> Scored:
    """BMWP and ASPT of (samples, families) counts by the score of each family (Armitage et al. 1983), and the biotic
    index Σ nᵢ·tᵢ / Σ nᵢ by tolerance values (Hilsenhoff 1987); families with NaN have no score and do not count."""
    there = (counts > 0) & ~np.isnan(score)
    scoring = there.sum(axis=1)
    bmwp = np.where(scoring > 0, np.where(there, score, 0.0).sum(axis=1), np.nan)
    aspt = np.divide(bmwp, scoring, out=np.full(len(counts), np.nan), where=scoring > 0)
    given = score if tolerance is None else tolerance
    weight = np.where((counts > 0) & ~np.isnan(given), counts, 0.0)
    amount = weight.sum(axis=1)
    sums = (weight * np.where(np.isnan(given), 0.0, given)).sum(axis=1)
    biotic = np.divide(sums, amount, out=np.full(len(counts), np.nan), where=(amount > 0) & (tolerance is not None))
    return Scored(bmwp, scoring, aspt, biotic)
