"""比对监测: a monitor of a source beside the reference method, HJ 75-2017 and HJ 355-2019 (texts not seen: trust 1).

The mean of the reference chooses the row of the table. Gases by relative accuracy over six or nine pairs, the rest by
the difference of the means; wastewater pair by pair, of which a number must pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.standards.tables import MonitorCheck, NotInForce, in_force
from ceguan.words import Label

Floats = NDArray[np.float64]
T_95 = {6: 2.571, 9: 2.306}
"""Student's t for 95 % and n - 1 degrees of freedom, of the numbers of pairs that HJ 75-2017 asks for."""
GASES = ("SO2", "NOx", "gas")


@dataclass(frozen=True, slots=True)
class Compared:
    """`figure` of the comparison in the unit of the row, and whether it passes; wastewater: how many pairs pass."""

    figure: float
    passed: bool
    row: MonitorCheck
    method: Label
    pairs: int
    pairs_passed: int | None = None

    def explain(self) -> Label:
        """The figure, what is allowed, the clause, and for wastewater how many pairs passed."""
        word = Label("合格", "passed") if self.passed else Label("不合格", "not passed")
        figures = f"{self.figure:.4g} / {self.row.limit:g} {self.row.unit}"
        zh = en = ""
        if self.pairs_passed is not None:
            zh = f"，{self.pairs} 对中 {self.pairs_passed} 对合格"
            en = f", {self.pairs_passed} of {self.pairs} pairs passed"
        return Label(
            f"{word.zh}：{self.row.name} {self.method.zh} {figures}{zh}（{self.row.cite}）",
            f"{word.en}: {self.row.item} {self.method.en} {figures}{en} ({self.row.cite})",
        )


def row_for(standard: str, item: str, reference: float, day: date) -> MonitorCheck:
    """The row of an item whose band holds the reference value; raises NotInForce when the table has none."""
    for row in in_force(MonitorCheck, day, standard=standard, check="accuracy", item=item):
        if (row.low is None or reference >= row.low) and (row.high is None or reference < row.high):
            return row
    raise NotInForce(f"monitor_checks.csv: {day} 没有 {standard} {item} 的比对指标 (no row for this item)")


def relative_accuracy(reference: Floats, measured: Floats) -> float:
    """RA [%] = (|mean d| + t·S_d/√n) / mean reference, of six or nine pairs. Raises ValueError for another number."""
    n = len(reference)
    if n not in T_95:
        raise ValueError(f"相对准确度要有 6 或 9 对数据，有 {n} 对 (six or nine pairs)")
    d = measured - reference
    spread = T_95[n] * float(d.std(ddof=1)) / np.sqrt(n)
    return 100 * (abs(float(d.mean())) + spread) / float(reference.mean())


def flue_gas(item: str, reference: Floats, measured: Floats, day: date) -> Compared:
    """A CEMS against the reference method (HJ 75-2017): pairs of one item without NaN.

    Gases at a level judged by relative error take relative accuracy; everything else the difference of the means.
    Raises NotInForce for an item without a row, ValueError for no pairs or, for RA, another number than 6 or 9.
    """
    if not len(reference) or np.isnan([*reference, *measured]).any():
        raise ValueError("没有数据对，或其中有缺测 (pairs without a value)")
    mean = float(reference.mean())
    row = row_for("HJ 75-2017", item, mean, day)
    if row.kind == "relative" and item in GASES and row.high is None:
        figure, method = relative_accuracy(reference, measured), Label("相对准确度", "relative accuracy")
    else:
        figure, method = _error(mean, float(measured.mean()), row)
    return Compared(figure, figure <= row.limit, row, method, len(reference))


def wastewater(item: str, reference: Floats, measured: Floats, day: date) -> Compared:
    """An analyser against the laboratory (HJ 355-2019): of three pairs two must pass, of four three, of more four.

    `figure` is that of the worst pair. Raises NotInForce for an item without a row, ValueError for fewer than three.
    """
    n = len(reference)
    if n < 3 or np.isnan([*reference, *measured]).any():
        raise ValueError(f"至少要有 3 对数据，有 {n} 对 (at least three pairs)")
    row = row_for("HJ 355-2019", item, float(reference.mean()), day)
    errors = [_error(float(a), float(b), row) for a, b in zip(reference, measured, strict=True)]
    good = sum(figure <= row.limit for figure, _ in errors)
    worst = max(figure for figure, _ in errors)
    return Compared(worst, good >= min(n - 1, 4), row, errors[0][1], n, good)


def _error(reference: float, measured: float, row: MonitorCheck) -> tuple[float, Label]:
    if row.kind == "absolute":
        return round(abs(measured - reference), 9), Label("绝对误差", "absolute error")
    return round(100 * abs(measured - reference) / reference, 9), Label("相对误差", "relative error")
