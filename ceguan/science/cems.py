"""自动监测数据: stand-ins for missing hours, amounts emitted by period, capture and effective transmission rate.

HJ 75-2017 (text not seen: its table of stand-ins has trust 1), HJ 356-2019, 自动监测设备标记规则. An hour is missing
while its source runs; hours in which it stands still emit nothing and count nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ceguan.science.air_period import periods
from ceguan.standards.tables import Substitution, Validity, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MEASURED, SUBSTITUTED, STOPPED, MISSING = range(4)
WAYS = (
    Label("实测", "measured"),
    Label("替代", "substituted"),
    Label("停运", "stopped"),
    Label("缺失，不能替代", "missing, nothing may stand in"),
)
INVALID, OUT_OF_CONTROL = "invalid", "out_of_control"
CAUSES = {INVALID: Label("维护、故障等", "maintenance or other"), OUT_OF_CONTROL: Label("失控", "out of control")}
KILOGRAMS = {"gas": 1e-6, "water": 1e-3}
"""kg/h in one mg/m³·m³/h of gas, in one mg/L·m³/h of water."""


def amount(concentration: Floats, flow: Floats, medium: str) -> Floats:
    """Hourly amount [kg] from a concentration [mg/m³ of gas, mg/L of water] and a flow [m³/h] of the same state.

    The measured concentration belongs to the measured dry flow: a value converted to reference oxygen must not be used.
    NaN in, NaN out.
    """
    return concentration * flow * KILOGRAMS[medium]


def capture_rate(valid: Bools, running: Bools) -> float:
    """有效数据捕集率 [%]: valid hours / running hours; NaN when the source never ran."""
    ran = int(running.sum())
    return 100 * int((valid & running).sum()) / ran if ran else np.nan


@dataclass(frozen=True, slots=True)
class Filled:
    """One cell per hour: `amount` [kg] with stand-ins, `way` int8 (index of WAYS), `gap` [h] how long the gap is,
    `row` the table row a stand-in stands on (None elsewhere), `behind` how many valid hours it was chosen from."""

    amount: Floats
    way: NDArray[np.int8]
    gap: NDArray[np.int64]
    behind: NDArray[np.int64]
    row: tuple[Substitution | None, ...]
    capture: float

    def explain(self, hour: int) -> Label:
        """What the hour's amount is and, for a stand-in, from what and by which clause."""
        zh, en = WAYS[self.way[hour]]
        row = self.row[hour]
        if row is None:
            return Label(zh, en)
        facts = Label(
            f"季度捕集率 {self.capture:.1f}%，{CAUSES.get(row.cause, row).zh}连续 {self.gap[hour]} h",
            f"capture {self.capture:.1f} %, {CAUSES.get(row.cause, row).en} for {self.gap[hour]} h",
        )
        if self.way[hour] == MISSING:
            return Label(f"{zh}：{facts.zh}（{row.cite}）", f"{en}: {facts.en} ({row.cite})")
        return Label(
            f"{zh} {self.amount[hour]:.4g} kg：{facts.zh}，取此前 {self.behind[hour]} 个有效小时的最大值（{row.cite}）",
            f"{en} {self.amount[hour]:.4g} kg: {facts.en}, the largest of {self.behind[hour]} valid hours before"
            f" ({row.cite})",
        )


def fill(hourly: Floats, running: Bools, cause: NDArray[np.str_], day: date, capture: float | None = None) -> Filled:
    """Stand-ins for the missing hourly amounts of one quarter or more, in order of time (HJ 75-2017, trust 1).

    `hourly` [kg] NaN where missing, `running` False where the source stood still, `cause` "out_of_control" or
    "invalid" for each missing hour. `capture` [%] of the quarter, computed from the columns when not given. A gap is a
    run of missing running hours of one cause (out of control begins at the last calibration that passed: mark it from
    there); what stands in is the largest of the last valid hours before it, all there are when they are fewer than the
    table asks for. Without any, or below 75 % capture, nothing stands in.
    """
    valid = running & ~np.isnan(hourly)
    rate = capture_rate(valid, running) if capture is None else capture
    table: list[Substitution | None] = [None] * len(hourly)
    way = np.where(valid, MEASURED, np.where(running, MISSING, STOPPED)).astype(np.int8)
    out = np.where(running, hourly, 0.0)
    gap, behind = np.zeros(len(hourly), np.int64), np.zeros(len(hourly), np.int64)
    places = np.flatnonzero(valid)
    for hours, why in _gaps(way, cause):
        row = _row(in_force(Substitution, day), why, rate, len(hours))
        gap[hours] = len(hours)
        for hour in hours:
            table[hour] = row
        lookback = row.lookback if row and row.lookback else 0
        before = places[: np.searchsorted(places, hours[0])][-lookback:]
        if lookback and len(before):
            out[hours], way[hours], behind[hours] = hourly[before].max(), SUBSTITUTED, len(before)
    return Filled(out, way, gap, behind, tuple(table), rate)


def _gaps(way: NDArray[np.int8], cause: NDArray[np.str_]) -> Iterator[tuple[list[int], str]]:
    """Runs of missing hours of one cause; hours in which the source stood still do not part a run."""
    moving = np.flatnonzero(way != STOPPED).tolist()
    for (missing, why), run in groupby(moving, lambda h: (way[h] == MISSING, str(cause[h]))):
        if missing:
            yield list(run), why


def _row(table: tuple[Substitution, ...], cause: str, rate: float, length: int) -> Substitution | None:
    for row in table:
        fits = row.cause in (cause, "any") and row.hours_from <= length <= (row.hours_to or length)
        if fits and (row.capture_from or 0) <= rate < (row.capture_below or np.inf):
            return row
    return None


def fill_wastewater(value: Floats, median: bool = False) -> tuple[Floats, Bools]:
    """(values, where one stands in): a gap of k values takes the mean of the k valid values before it, pH the median.

    Trust 1 (a vendor's code after HJ 356-2019, text not seen). A gap with fewer valid values before it stays NaN.
    """
    out, stands_in = value.copy(), np.zeros(len(value), np.bool_)
    there = np.flatnonzero(~np.isnan(value))
    for missing, run in groupby(range(len(value)), lambda i: bool(np.isnan(value[i]))):
        places = list(run)
        before = there[: np.searchsorted(there, places[0])][-len(places) :]
        if missing and len(before) == len(places):
            out[places] = np.median(value[before]) if median else value[before].mean()
            stands_in[places] = True
    return out, stands_in


# ---- amounts by period


@dataclass(frozen=True, slots=True)
class Emitted:
    """Amount of a period [kg], measured and substituted apart, and its hours; periods merge by adding."""

    measured: float
    substituted: float
    hours: int
    stopped: int
    missing: int

    @property
    def total(self) -> float:
        """kg; NaN while an hour is missing for which nothing may stand in: the sum would be too small."""
        return np.nan if self.missing else self.measured + self.substituted

    def __add__(self, other: Emitted) -> Emitted:
        return Emitted(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def explain(self) -> Label:
        if self.missing:
            return Label(
                f"{self.missing} 个小时缺失且不能替代：不给出合计，实测 {self.measured:.6g} kg",
                f"{self.missing} hours missing without a stand-in: no total, measured {self.measured:.6g} kg",
            )
        return Label(
            f"{self.total:.6g} kg = 实测 {self.measured:.6g} + 替代 {self.substituted:.6g}；{self.hours} h，停运"
            f" {self.stopped} h",
            f"{self.total:.6g} kg = measured {self.measured:.6g} + substituted {self.substituted:.6g}; {self.hours} h,"
            f" stopped {self.stopped} h",
        )


def emitted(filled: Filled, where: Bools | slice = slice(None)) -> Emitted:
    """The amount of the hours `where`."""
    kilograms, way = filled.amount[where], filled.way[where]
    return Emitted(
        float(kilograms[way == MEASURED].sum()),
        float(kilograms[way == SUBSTITUTED].sum()),
        len(way),
        int((way == STOPPED).sum()),
        int((way == MISSING).sum()),
    )


def by_period(filled: Filled, day: NDArray[np.datetime64], by: str) -> dict[str, Emitted]:
    """Amounts by day, month, quarter or year of the hours' Beijing days (datetime64[D], one for each hour)."""
    if by == "day":
        return {str(d): emitted(filled, day == d) for d in np.unique(day)}
    spans = periods(np.unique(day), by)
    return {name: emitted(filled, (day >= np.datetime64(a)) & (day <= np.datetime64(b))) for name, a, b in spans}


# ---- effective transmission rate


@dataclass(frozen=True, slots=True)
class Transmission:
    """有效传输率 = 传输率 × 有效率, from counts of groups of data (hours, or days, kept apart; trust 1).

    `due` less the hours stopped · `received` of them · `valid_due` less the groups that take no part · `valid` of them.
    """

    due: int
    received: int
    valid_due: int
    valid: int

    @property
    def transmission(self) -> float:
        return 100 * self.received / self.due if self.due else np.nan

    @property
    def validity(self) -> float:
        return 100 * self.valid / self.valid_due if self.valid_due else np.nan

    @property
    def effective(self) -> float:
        """%; NaN where nothing was due."""
        return self.transmission * self.validity / 100

    def __add__(self, other: Transmission) -> Transmission:
        return Transmission(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def explain(self) -> Label:
        if not self.due:
            return Label("没有应收数据", "nothing was due")
        return Label(
            f"传输率 {self.received}/{self.due} = {self.transmission:.2f}%，有效率 {self.valid}/{self.valid_due} ="
            f" {self.validity:.2f}%，有效传输率 {self.effective:.2f}%",
            f"transmission {self.received}/{self.due} = {self.transmission:.2f} %, validity"
            f" {self.valid}/{self.valid_due} = {self.validity:.2f} %, effective {self.effective:.2f} %",
        )


def transmission(running: Bools, received: Bools, valid: Bools, exempt: Bools | None = None) -> Transmission:
    """Counts of one outlet and factor: `exempt` groups are due but need not be valid (automatic standard check)."""
    takes_part = running if exempt is None else running & ~exempt
    return Transmission(
        int(running.sum()), int((running & received).sum()), int(takes_part.sum()), int((takes_part & valid).sum())
    )


def check_hours(checking: Bools, day: date) -> Bools:
    """Hours of automatic standard checks that need not be valid, of (days, 24): at most 24 - 23 a day (trust 1)."""
    row = one(Validity, day, scope="wastewater_transmission")
    return checking & (np.cumsum(checking, axis=-1) <= 24 - row.minimum)
