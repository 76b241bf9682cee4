"""噪声源: a factory's boundary (GB 12348-2008) and places of social life (GB 22337-2008), corrected for background.

Each measuring point is judged alone, day and night apart (GB 12348-2008 6.1). Levels in dB(A), octave bands in dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics
from ceguan.standards.tables import NoiseEmission, NoiseRule, Row, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
NOT_EVALUATED, WITHIN, OVER = 0, 1, 2
VERDICTS = (Label("未评价", "not evaluated"), Label("达标", "within the limit"), Label("超标", "over the limit"))
MISSING, BACKGROUND_HIGH = 1, 2
REASONS = {
    MISSING: Label("没有测量值", "no measured value"),
    BACKGROUND_HIGH: Label(
        "测量值与背景值之差小于 3 dB(A)：先降低背景噪声再测",
        "measured minus background below 3 dB(A): lower the background and measure again",
    ),
}
PEAKS = {"frequent": "night_frequent", "occasional": "night_occasional"}
"""Kinds of noise at night that are judged by their highest level too (GB 12348-2008 4.1.2, 4.1.3)."""


@dataclass(frozen=True, slots=True)
class SourceColumns:
    """One cell per measurement, NaN where there is none; levels in `unit`; `rows` are the table rows used."""

    verdict: NDArray[np.int8]
    measured: Floats
    background: Floats
    corrected: Floats
    limit: Floats
    reason: NDArray[np.int8]
    rows: tuple[Row, ...]
    unit: str = "dB(A)"

    def explain(self, row: int) -> Label:
        """Measured, corrected and limit with the clauses, or why there is no verdict."""
        cite = "、".join(dict.fromkeys(r.cite for r in self.rows))
        if self.verdict[row] == NOT_EVALUATED:
            why = REASONS[int(self.reason[row])]
            return Label(f"未评价：{why.zh}（{cite}）", f"not evaluated: {why.en} ({cite})")
        word = VERDICTS[self.verdict[row]]
        change = self.corrected[row] - self.measured[row]
        zh = en = ""
        if change:
            zh = f"（测量 {self.measured[row]:g}，背景 {self.background[row]:g}，修正 {change:g}）"
            en = f" (measured {self.measured[row]:g}, background {self.background[row]:g}, correction {change:g})"
        span = f"{self.corrected[row]:g}"
        top = f" / {self.limit[row]:g} {self.unit}"
        return Label(f"{word.zh}：{span}{zh}{top}（{cite}）", f"{word.en}: {span}{en}{top} ({cite})")


def correct(measured: Floats, background: Floats, day: date) -> tuple[Floats, NDArray[np.int8]]:
    """(corrected level, reason) by GB 12348-2008 table 4.

    The difference, rounded to an integer, decides: 3 → -3, 4–5 → -2, 6–10 → -1, above 10 nothing; below 3 the
    measurement stands for nothing (NaN, BACKGROUND_HIGH). NaN background: not corrected.
    """
    difference = statistics.round_half_even(measured - background, 0)
    change = np.zeros(len(measured))
    for row in in_force(NoiseRule, day, rule="background"):
        if row.low is not None and row.high is not None and row.value is not None:
            change[(difference >= row.low) & (difference <= row.high)] = row.value
    high = difference < (one(NoiseRule, day, rule="background_least").low or 0)
    reason = np.where(high, BACKGROUND_HIGH, 0).astype(np.int8)
    corrected = np.where(high, np.nan, measured + change)
    reason[np.isnan(measured)] = MISSING
    return corrected, reason


def judge_source(
    measured: Floats,
    zone: str,
    period: str,
    day: date,
    standard: str = "GB 12348",
    background: Floats | None = None,
    kind: str = "boundary",
    room: str = "",
    band: float | None = None,
    near: bool = False,
) -> SourceColumns:
    """Leq at a boundary, Leq indoors or an octave band indoors against its limit.

    `zone` 0–4, `period` day or night, `standard` GB 12348 or GB 22337. `near`: the boundary is less than 1 m from a
    sensitive building, so it was measured indoors and 10 dB(A) come off the limit (4.1.5). `background` as `correct`.
    Raises NotInForce for a zone, room or band the standard does not have, ValueError for `near` of another kind.
    """
    if near and kind != "boundary":
        raise ValueError("仅厂界噪声可在室内代测 (only boundary noise can be measured indoors instead)")
    keys = {"kind": kind, "zone": zone, "room": room, "band": band}
    row = one(NoiseEmission, day, standard=_edition(standard, day), **keys)
    used: list[Row] = [row]
    level = row.day if period == "day" else row.night
    if near:
        rule = one(NoiseRule, day, rule="indoor_instead", standard=row.standard)
        level += rule.value or 0
        used.append(rule)
    corrected, reason = measured, np.where(np.isnan(measured), MISSING, 0).astype(np.int8)
    given = np.full(len(measured), np.nan) if background is None else background
    if background is not None:
        corrected, reason = correct(measured, background, day)
        used += in_force(NoiseRule, day, rule="background_least")
    return _columns(measured, given, corrected, reason, level, tuple(used), row.unit)


def judge_peak(lmax: Floats, zone: str, kind: str, day: date) -> SourceColumns:
    """Highest level of frequent or occasional noise at night at a factory's boundary: the night limit plus 10 or 15."""
    rule = one(NoiseRule, day, rule=PEAKS[kind])
    row = one(NoiseEmission, day, standard=rule.standard, kind="boundary", zone=zone, room="", band=None)
    reason = np.where(np.isnan(lmax), MISSING, 0).astype(np.int8)
    nothing = np.full(len(lmax), np.nan)
    return _columns(lmax, nothing, lmax, reason, row.night + (rule.value or 0), (row, rule), row.unit)


def _columns(
    measured: Floats,
    background: Floats,
    corrected: Floats,
    reason: NDArray[np.int8],
    level: float,
    rows: tuple[Row, ...],
    unit: str,
) -> SourceColumns:
    over = np.where(corrected > level, OVER, WITHIN)
    verdict = np.where(np.isnan(corrected), NOT_EVALUATED, over).astype(np.int8)
    limit = np.full(len(measured), level)
    return SourceColumns(verdict, measured, background, corrected, limit, reason, rows, unit)


def _edition(standard: str, day: date) -> str:
    """The edition in force of a standard named with or without its year."""
    found = {row.standard for row in in_force(NoiseEmission, day) if row.standard.partition("-")[0] in standard}
    return found.pop() if len(found) == 1 else standard
