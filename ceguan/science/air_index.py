"""环境空气质量综合指数: the composite index of a city and the rankings made of it.

Single index = statistic / class-2 limit of GB 3095, rounded half to even; composite = Σ weight × single index. Rounding
each term before adding is what reproduces published bulletins (67 of 78 rows to the digit; half-up 49). The day decides
the edition of HJ 663 and the phase of GB 3095. NaN in, NaN out: a missing pollutant never counts as clean air.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import AirIndexTerm, AirLimit, AirRanking, NotInForce, Row, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ITEMS = ("so2", "no2", "pm10", "pm25", "co_p95", "o3_p90")
"""Input columns in the order of the terms: period means, CO 95th and O3 8-h 90th percentile [µg/m³, CO mg/m³]."""
POLLUTANTS = ("SO2", "NO2", "PM10", "PM2.5", "CO", "O3")


@dataclass(frozen=True, slots=True)
class IndexColumns:
    """`single` (6, n) rounded single indices in the order of ITEMS · `composite` (n,) · `terms`, `limits`: the rows."""

    single: Floats
    composite: Floats
    terms: tuple[AirIndexTerm, ...]
    limits: tuple[AirLimit, ...]

    @property
    def edition(self) -> str:
        return self.terms[0].standard

    @property
    def trust(self) -> str:
        return self.terms[0].trust

    def main_pollutants(self, place: int) -> tuple[str, ...]:
        """主要污染物: all pollutants at the largest single index; none when no index is known."""
        column = self.single[:, place]
        if np.isnan(column).all():
            return ()
        return tuple(p for p, i in zip(POLLUTANTS, column, strict=True) if i == np.nanmax(column))

    def missing(self, place: int) -> tuple[str, ...]:
        return tuple(p for p, i in zip(POLLUTANTS, self.single[:, place], strict=True) if np.isnan(i))

    def explain(self, place: int) -> Label:
        """How the index came about, or which pollutant it lacks."""
        if lacking := self.missing(place):
            return say(Reason.INDEX_INCOMPLETE, items="、".join(lacking))
        parts = (
            f"{p} {i:.{t.digits}f}" + (f"×{t.weight}" if t.weight != 1 else "")
            for p, i, t in zip(POLLUTANTS, self.single[:, place], self.terms, strict=True)
        )
        names = "、".join(self.main_pollutants(place))
        total = f"{self.composite[place]:.{self.terms[0].digits}f}"
        return say(Reason.INDEX_SUM, sum=" + ".join(parts), total=total, main=names, cite=self.terms[0].cite)

    def basis(self) -> tuple[Row, ...]:
        """Table rows the index stands on: terms and limits."""
        return (*self.terms, *self.limits)


def terms_on(day: date) -> tuple[tuple[AirIndexTerm, ...], tuple[AirLimit, ...]]:
    """The six terms and the class-2 limits in force; raises NotInForce."""
    terms = tuple(one(AirIndexTerm, day, pollutant=name) for name in POLLUTANTS)
    return terms, tuple(one(AirLimit, day, pollutant=t.pollutant, averaging=t.averaging) for t in terms)


def composite_index(columns: Mapping[str, Floats], day: date) -> IndexColumns:
    """Composite index of columns named as ITEMS, by the edition in force on `day`; raises NotInForce.

    Negative values are missing. A place that lacks a pollutant has its other single indices and no composite.
    """
    terms, limits = terms_on(day)
    single = np.stack([_single(columns[i], t, s) for i, t, s in zip(ITEMS, terms, limits, strict=True)])
    digits = terms[0].digits
    weighted = sum(statistics.millionths(row) * t.weight for row, t in zip(single, terms, strict=True))
    return IndexColumns(
        single, statistics.round_ratio(np.asarray(weighted), statistics.MILLIONTHS, digits), terms, limits
    )


def _single(value: Floats, term: AirIndexTerm, limit: AirLimit) -> Floats:
    there = np.where(value >= 0, value, np.nan)
    return statistics.round_ratio(statistics.millionths(there), round(limit.class2 * 1e6), term.digits)


# ---- rankings


@dataclass(frozen=True, slots=True)
class RankingColumns:
    """`rank` by the index, best first · `change` [%], negative is better · `improved`: rank by change, most improved
    first · `worsened`: rank of those that became worse, worst first. 0 = takes no part."""

    rank: Ints
    change: Floats
    improved: Ints
    worsened: Ints
    rows: tuple[AirRanking, ...]


def ranking(
    index: Floats,
    day: date,
    before: Floats | None = None,
    meets_class2: Bools | None = None,
    ties: str | None = None,
) -> RankingColumns:
    """City ranking by composite index and, with the index of the period `before`, by its change.

    Change = (now - before)/before in %. Cities that meet class 2 in all six items take no part in the ranking of those
    that became worse. `ties` overrides the table (some bureaus rank densely). NaN takes no part.
    """
    rows = tuple(row for row in in_force(AirRanking, day))
    by_kind = {row.kind: row for row in rows}
    if set(by_kind) != {"index", "change"}:
        raise NotInForce(f"air_ranking.csv: {day} 没有有效的排名规则 (no ranking rule in force)")
    change_row = by_kind["change"]
    old = np.full(len(index), np.nan) if before is None else before
    change = _change(index, old, change_row.digits)
    exempt = np.zeros(len(index), np.bool_) if meets_class2 is None else meets_class2
    worse = np.where((change > 0) & ~exempt, -change, np.nan)
    return RankingColumns(
        rank=statistics.rank(index, ties or by_kind["index"].ties),
        change=change,
        improved=statistics.rank(change, ties or change_row.ties),
        worsened=statistics.rank(worse, ties or change_row.ties),
        rows=rows,
    )


def _change(now: Floats, before: Floats, digits: int) -> Floats:
    base = statistics.millionths(np.where(before > 0, before, np.nan))
    return statistics.round_ratio((statistics.millionths(now) - base) * 100, base, digits)
