"""颗粒物组分与光化学: mass closure of PM2.5 components and the ozone formation potential of VOC species.

Reconstructed mass = Σ over components of Σ factor × species; the methods are rows of pm_closure.csv with their source.
OFP = concentration × MIR (maximum incremental reactivity, Carter); a species without a citable MIR has no OFP and is
named. Columns in µg/m³ at 298.15 K and 1013.25 hPa; NaN or negative is missing and never counts as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import ClosureTerm, Reactivity, rows
from ceguan.words import Label

Floats = NDArray[np.float64]
METHODS = tuple(dict.fromkeys(row.method for row in rows(ClosureTerm)))


@dataclass(frozen=True, slots=True)
class Closure:
    """`components` name → (n,) [µg/m³], NaN where a species it needs is missing · `mass` (n,) their sum, NaN where one
    is missing · `ratio` mass / measured PM2.5 · `unexplained` measured - mass."""

    terms: tuple[ClosureTerm, ...]
    components: dict[str, Floats]
    mass: Floats
    ratio: Floats
    unexplained: Floats

    def missing(self, row: int) -> tuple[ClosureTerm, ...]:
        """The first row of the table of each component that could not be computed."""
        firsts = {term.component: term for term in reversed(self.terms)}
        return tuple(firsts[name] for name, column in self.components.items() if np.isnan(column[row]))

    def explain(self, row: int) -> Label:
        """What the mass is made of, or which components are missing."""
        if lacking := self.missing(row):
            zh, en = "、".join(t.zh for t in lacking), ", ".join(t.en for t in lacking)
            return Label(say(Reason.CLOSURE_OPEN, items=zh).zh, say(Reason.CLOSURE_OPEN, items=en).en)
        firsts = {term.component: term for term in reversed(self.terms)}
        parts = [(firsts[name], column[row]) for name, column in self.components.items()]
        zh, en = (" + ".join(f"{getattr(t, side)} {v:.2f}" for t, v in parts) for side in ("zh", "en"))
        facts = {"mass": f"{self.mass[row]:.2f}", "ratio": f"{self.ratio[row]:.0%}", "cite": self.terms[0].cite}
        return Label(say(Reason.CLOSURE, sum=zh, **facts).zh, say(Reason.CLOSURE, sum=en, **facts).en)


def mass_closure(species: Mapping[str, Floats], pm25: Floats, method: str = "improve") -> Closure:
    """Reconstructed PM2.5 mass of columns named as `term` in pm_closure.csv (S or SO4, NO3, OC, EC, Al, Si, Ca, Fe, Ti,
    Cl) beside the measured `pm25`. Raises ValueError for an unknown method."""
    terms = tuple(row for row in rows(ClosureTerm) if row.method == method)
    if not terms:
        raise ValueError(f"组分重构方法 {method!r}：只有 {'、'.join(METHODS)}")
    nothing = np.full(np.shape(pm25), np.nan)
    components: dict[str, Floats] = {}
    for term in (t for t in terms if not t.instead_of):
        part = term.factor * _there(species.get(term.term, nothing))
        for other in (t for t in terms if t.instead_of == term.term):
            part = np.where(np.isnan(part), other.factor * _there(species.get(other.term, nothing)), part)
        components[term.component] = components.get(term.component, 0.0) + part
    mass = np.sum(list(components.values()), axis=0)
    measured = _there(pm25)
    ratio = np.divide(mass, measured, out=np.full(mass.shape, np.nan), where=measured > 0)
    return Closure(terms, components, mass, ratio, measured - mass)


@dataclass(frozen=True, slots=True)
class Ofp:
    """`rows` of the species given, in their order · `ofp` (S, n) [µg O3/m³] · `total` (n,) sum of the species with a
    value, NaN where none has · `counted` (n,) how many · `without` names of species without a row or without MIR."""

    rows: tuple[Reactivity, ...]
    ofp: Floats
    total: Floats
    counted: NDArray[np.int64]
    without: tuple[str, ...]

    def largest(self, row: int, count: int = 5) -> tuple[tuple[Reactivity, float], ...]:
        """The species that contribute most at `row`, with their OFP."""
        there = np.flatnonzero(~np.isnan(self.ofp[:, row]))
        order = there[np.argsort(-self.ofp[there, row], kind="stable")][:count]
        return tuple((self.rows[i], float(self.ofp[i, row])) for i in order)

    def explain(self, row: int) -> Label:
        """How many species count, which contribute most, which have no coefficient."""
        top = self.largest(row, 3)
        facts = {"count": int(self.counted[row]), "total": f"{self.total[row]:.1f}"}
        zh = say(Reason.OFP, top="、".join(f"{r.zh} {v:.1f}" for r, v in top), **facts).zh
        en = say(Reason.OFP, top=", ".join(f"{r.en} {v:.1f}" for r, v in top), **facts).en
        if not self.without:
            return Label(zh, en)
        more = say(Reason.OFP_WITHOUT, items="、".join(self.without))
        return Label(f"{zh}；{more.zh}", f"{en}; {more.en}")


def ozone_formation(species: Mapping[str, Floats]) -> Ofp:
    """OFP of VOC columns [µg/m³] named by HJ 212 code, Chinese or English name of voc_mir.csv.

    Raises ValueError when two columns name the same species: it would count twice.
    """
    names = {name.casefold(): row for row in rows(Reactivity) for name in (row.code, row.zh, row.en) if name}
    known = {name: names[name.casefold()] for name in species if name.casefold() in names}
    given = [row.zh for row in known.values()]
    if twice := sorted({name for name in given if given.count(name) > 1}):
        raise ValueError(f"同一物种有两列 (a species is there twice)：{'、'.join(twice)}")
    counted = {name: row.mir for name, row in known.items() if row.mir is not None}
    without = tuple(name for name in species if name not in counted)
    n = len(next(iter(species.values()))) if species else 0
    ofp = np.array([mir * _there(species[name]) for name, mir in counted.items()], np.float64).reshape(len(counted), n)
    count = (~np.isnan(ofp)).sum(axis=0)
    total = np.where(count > 0, np.nansum(ofp, axis=0), np.nan)
    return Ofp(tuple(known[name] for name in counted), ofp, total, count, without)


def _there(value: Floats) -> Floats:
    return np.where(np.asarray(value) >= 0, value, np.nan)
