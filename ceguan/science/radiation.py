"""电离辐射: data acquisition rate and the comparison with the local natural background range.

No single national limit exists for ambient gamma dose rate: a value is stated to lie within, above or below the range
surveyed at a place, which is a statement and not a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceguan.standards.tables import RadiationBackground
from ceguan.words import Label

Floats = NDArray[np.float64]

UNKNOWN, BELOW, WITHIN, ABOVE = 0, 1, 2, 3
STATEMENTS = {
    UNKNOWN: Label("无数据", "no data"),
    BELOW: Label("低于当地天然本底范围", "below the local natural background range"),
    WITHIN: Label("在当地天然本底范围内", "within the local natural background range"),
    ABOVE: Label("高于当地天然本底范围，需查明原因", "above the local natural background range: find the cause"),
}


@dataclass(frozen=True, slots=True)
class BackgroundColumns:
    """`position` int8 per value (keys of STATEMENTS), the values and the table row compared with."""

    position: NDArray[np.int8]
    background: RadiationBackground
    dose_rate: Floats

    def explain(self, row: int) -> Label:
        """The figure, where it lies and by how much outside, with range, place and source."""
        b, value, code = self.background, self.dose_rate[row], int(self.position[row])
        zh, en = STATEMENTS[code]
        span = f"{b.low:g}–{b.high:g} {b.unit}"
        said = Label(f"{zh}（{b.place} {span}，{b.cite}）", f"{en} ({b.place_en} {span}, {b.standard})")
        if code == UNKNOWN:
            return said
        beyond = {ABOVE: value - b.high, BELOW: b.low - value}.get(code)
        zh = "" if beyond is None else f"，差 {beyond:.4g}"
        en = "" if beyond is None else f", by {beyond:.4g}"
        return Label(f"{value:g} {b.unit}{zh}：{said.zh}", f"{value:g} {b.unit}{en}: {said.en}")


def against_background(dose_rate: Floats, background: RadiationBackground) -> BackgroundColumns:
    """Where each dose rate (in the row's unit, nGy/h) lies; NaN gives UNKNOWN, the ends belong to the range."""
    position = np.where(dose_rate < background.low, BELOW, np.where(dose_rate > background.high, ABOVE, WITHIN))
    code = np.where(np.isnan(dose_rate), UNKNOWN, position).astype(np.int8)
    return BackgroundColumns(code, background, dose_rate)


def acquisition_rate(received: NDArray[np.int64] | int, due: NDArray[np.int64] | int) -> Floats:
    """数据获取率 [%] = received / due · 100; NaN where nothing was due. No threshold was found in a standard."""
    got, wanted = np.asarray(received, np.float64), np.asarray(due, np.float64)
    shape = np.broadcast(got, wanted).shape
    return np.divide(got * 100, wanted, out=np.full(shape, np.nan), where=wanted > 0)
