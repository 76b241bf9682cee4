"""秩相关系数: the trend of five or more periods by Spearman's rank correlation (环办〔2011〕22号 三（二）)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.standards.tables import Row, SpearmanCritical, WaterRule, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trend:
    """`rs` with `n` periods · `critical` the row compared with, None where the table has none · `significant` at 0.05,
    one-sided; None when it cannot be said · `rises`: the values rise with time."""

    rs: float
    n: int
    critical: SpearmanCritical | None
    significant: bool | None
    rises: bool
    least: WaterRule

    @property
    def rules(self) -> tuple[Row, ...]:
        return self.least, *((self.critical,) if self.critical else ())

    def explain(self) -> Label:
        """The coefficient against its critical value, or why there is no verdict."""
        if self.n < (self.least.value or 0):
            least = f"{self.least.value:g}"
            cite = self.least.cite
            return Label(
                f"只有 {self.n} 个时段，至少要 {least} 个（{cite}）", f"{self.n} periods, {least} are needed ({cite})"
            )
        if self.critical is None:
            return Label(
                f"rs={self.rs:.3f}；临界值表没有 N={self.n}", f"rs={self.rs:.3f}; no critical value for N={self.n}"
            )
        zh, en = ("上升", "rising") if self.rises else ("下降", "falling")
        verdict = Label(f"{zh}趋势显著", f"{en}, significant") if self.significant else Label("无显著趋势", "no trend")
        mark = "，临界值未核" if self.critical.trust == "unsure" else ""
        unsure = ", critical value unverified" if mark else ""
        compared, cite = f"rs={self.rs:.3f}，N={self.n}，Wp(0.05)={self.critical.wp05:g}", self.critical.cite
        return Label(
            f"{verdict.zh}：{compared}{mark}（{cite}）",
            f"{verdict.en}: {compared.replace('，', ', ')}{unsure} ({cite})",
        )


def ranks(value: Floats) -> Floats:
    """Ranks from 1, the smallest first; equal values share the mean of their ranks. No NaN."""
    ordered = np.sort(value)
    return (np.searchsorted(ordered, value, "left") + np.searchsorted(ordered, value, "right") + 1) / 2


def spearman(value: Floats) -> float:
    """rs = 1 − 6Σd²/(N³−N) of values in the order of time; NaN with fewer than two. No NaN among the values."""
    n = len(value)
    if n < 2:
        return float("nan")
    d = ranks(value) - np.arange(1, n + 1)
    return float(1 - 6 * (d @ d) / (n**3 - n))


def trend(value: Floats, day: date) -> Trend:
    """Trend of one figure over periods in the order of time; periods without a value (NaN) are left out."""
    there = value[~np.isnan(value)]
    n, rs = len(there), spearman(there)
    least = one(WaterRule, day, rule="trend_periods")
    row = next(iter(in_force(SpearmanCritical, day, n=n)), None) if n >= (least.value or 0) else None
    significant = None if row is None else bool(round(abs(rs), 3) >= row.wp05)
    return Trend(rs, n, row, significant, rs > 0, least)
