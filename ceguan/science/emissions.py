"""污染源超标判定: exceedance of permit limits, flue gas by hourly mean, wastewater by daily mean.

An hour is the device's own hourly value when it is there, else it is recomputed from valid minutes (at least 45, each
weighted by its interval). An hour or minute whose device flag is other than N is left out and says so; no flag at all
(devices of the 2005 edition) counts as N. Values are compared with the limit unrounded.
Concentrations in the unit of the limit; NaN = missing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.science import averaging, statistics
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import EmissionLimit
from ceguan.words import DEVICE_FLAGS, Label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]

AIR_O2 = 21.0  # % of dry air, as the standards' formula has it
USABLE_FLAGS = ("N", "")


class Verdict(IntEnum):
    NOT_EVALUATED = 0
    WITHIN = 1
    OVER = 2


VERDICTS = {
    Verdict.NOT_EVALUATED: Label("未判定", "not evaluated"),
    Verdict.WITHIN: Label("达标", "within the limit"),
    Verdict.OVER: Label("超标", "over the limit"),
}


class Origin(IntEnum):
    """Where an hourly value comes from."""

    NONE = 0
    DEVICE = 1
    MINUTES = 2


class Series(NamedTuple):
    """Readings of one factor: interval start (UTC epoch s), value, converted value (NaN: none sent), device flag."""

    ts: Ints
    value: Floats
    zs: Floats
    flag: Strings


@dataclass(frozen=True, slots=True)
class Hours:
    """One cell per hour asked for: value and converted value in force, where from, why not."""

    hour: Ints
    value: Floats
    zs: Floats
    origin: NDArray[np.int8]
    minutes: Floats  # valid minutes found, whether used or not
    flag: Strings
    reason: NDArray[np.uint8]

    minimum: float = 45

    def at(self, where: Ints) -> Hours:
        """The hours at these places."""
        return replace(
            self,
            hour=self.hour[where],
            value=self.value[where],
            zs=self.zs[where],
            origin=self.origin[where],
            minutes=self.minutes[where],
            flag=self.flag[where],
            reason=self.reason[where],
        )

    def explain(self, row: int) -> Label:
        """Why the hour has no value, or that it was recomputed; empty for the device's own value."""
        flag = str(self.flag[row])
        named = f"{flag}（{DEVICE_FLAGS[flag].zh}）" if flag in DEVICE_FLAGS else flag
        return say(self.reason[row], flag=named, count=f"{self.minutes[row]:g}", minimum=f"{self.minimum:g}")


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of a permit or standard: `high`, for pH also `low`; `basis` "converted": at `reference_o2` %.

    `high` infinite: only `low` is asked for; 0: not to be detected. `cite` names the permit or standard and clause; it
    is passed through to the verdict's explanation.
    """

    high: float
    low: float | None = None
    basis: str = "measured"
    reference_o2: float | None = None
    unit: str = "mg/m³"
    cite: str = ""

    @classmethod
    def of(cls, row: EmissionLimit) -> Limit:
        """The limit of a row of an emission standard."""
        return cls(row.high, row.low, row.basis, row.reference_o2, row.unit, f"{row.cite} {row.category}")

    @property
    def span(self) -> str:
        """What a value is compared with, e.g. "50 mg/m³", "6–9 无量纲", "≥95 %"."""
        if self.high == np.inf:
            return f"≥{self.low:g} {self.unit}"
        return f"{'' if self.low is None else f'{self.low:g}–'}{self.high:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Judged:
    """One cell per hour (flue gas) or day (wastewater).

    `judged`: the value compared · `multiple`: value/limit - 1 where over, NaN elsewhere and for two-sided limits (pH) ·
    `reason`, `note` uint8 (`Reason`): why not evaluated; what a reader should know of a value that was ·
    `count`: valid hours behind it.
    """

    verdict: NDArray[np.int8]
    judged: Floats
    multiple: Floats
    reason: NDArray[np.uint8]
    note: NDArray[np.uint8]
    count: Ints
    limit: Limit
    minimum: int = 1
    hours: Hours | None = None  # behind a verdict on flue gas

    def explain(self, row: int) -> Label:
        """The verdict in a sentence: value, limit with its source, multiple; or why there is none."""
        if self.verdict[row] == Verdict.NOT_EVALUATED:
            why = self._say(row, self.reason[row])
            return Label(f"未判定：{why.zh}", f"not evaluated: {why.en}")
        zh, en = VERDICTS[Verdict(self.verdict[row])]
        times = "" if np.isnan(self.multiple[row]) else f"{self.multiple[row]:.2f}"
        zh_times, en_times = (f"，超标{times}倍", f", {times} times over") if times else ("", "")
        note = self._say(row, self.note[row])
        figures = f"{self.judged[row]:g} / {self.limit.span}"
        zh_note, en_note = (f"；{note.zh}", f"; {note.en}") if note.zh else ("", "")
        cite = f" {self.limit.cite}" if self.limit.cite else ""
        return Label(f"{zh}：{figures}{cite}{zh_times}{zh_note}", f"{en}: {figures}{cite}{en_times}{en_note}")

    def _say(self, row: int, reason: int) -> Label:
        if self.hours is not None and reason == self.hours.reason[row]:
            return self.hours.explain(row)
        return say(reason, count=self.count[row], minimum=self.minimum)


def to_reference_oxygen(value: Floats, o2: Floats, reference_o2: float) -> Floats:
    """C·(21-O2ref)/(21-O2) (GB 18484-2020 eq. 6, GB 13271-2014); NaN where O2 is missing or not below 21 %."""
    room = AIR_O2 - np.asarray(o2, np.float64)
    out = np.divide(value * (AIR_O2 - reference_o2), room, out=np.full(room.shape, np.nan), where=room > 0)
    return statistics.settled(out)


def usable(flag: Strings) -> NDArray[np.bool_]:
    """True where the device's flag does not exclude the reading."""
    return np.isin(flag, USABLE_FLAGS)


def hours_in_force(
    hours: Ints, device: Series, minutes: Series | None = None, interval: Floats | float = 1.0, minimum: float = 45
) -> Hours:
    """Value of each hour asked for: the device's own, else from its minutes.

    `hours`: starts, UTC epoch s. `interval` [min]: what each minute reading stands for. A device hour with a flag
    other than N stays excluded: its minutes do not bring it back.
    """
    value, zs, flag = _place(hours, device)
    excluded = ~usable(flag)
    origin = np.where(~np.isnan(value) & ~excluded, Origin.DEVICE, Origin.NONE).astype(np.int8)
    from_value, from_zs, found = _from_minutes(hours, minutes, interval, minimum)
    recomputed = np.isnan(value) & ~excluded & ~np.isnan(from_value)
    origin[recomputed] = Origin.MINUTES
    none = origin == Origin.NONE
    reason = np.where(recomputed, Reason.FROM_MINUTES, Reason.NONE)
    reason = np.where(none, Reason.TOO_FEW_MINUTES, reason)
    reason = np.where(excluded, Reason.DEVICE_FLAG, reason).astype(np.uint8)
    value = np.where(none, np.nan, np.where(recomputed, from_value, value))
    zs = np.where(none, np.nan, np.where(recomputed, from_zs, zs))
    return Hours(hours, value, zs, origin, found, flag, reason, minimum)


def set_aside(hours: Hours, state: Strings, states: Collection[str]) -> Hours:
    """The hours with those in one of `states` (an incinerator starting, stopping or failing) left out, which says so.

    GB 18484-2020 7.2, GB 39707-2020 7.3. The hours and the particulate of that time are capped: `incineration`.
    """
    out = np.isin(state, list(states))
    return replace(
        hours,
        value=np.where(out, np.nan, hours.value),
        zs=np.where(out, np.nan, hours.zs),
        flag=np.where(out, state, hours.flag),
        reason=np.where(out, Reason.STATE_MARKED, hours.reason).astype(np.uint8),
    )


def _place(hours: Ints, device: Series) -> tuple[Floats, Floats, Strings]:
    """The device's rows at the hours asked for; NaN and "" where there is none. The last row of an hour wins."""
    value, zs = np.full(len(hours), np.nan), np.full(len(hours), np.nan)
    flag = np.full(len(hours), "", dtype="U8")
    where = {int(h): i for i, h in enumerate(hours)}
    for ts, v, z, f in zip(device.ts, device.value, device.zs, device.flag, strict=True):
        i = where.get(int(ts) // 3600 * 3600)
        if i is not None:
            value[i], zs[i], flag[i] = v, z, f
    return value, zs, flag


def _from_minutes(
    hours: Ints, minutes: Series | None, interval: Floats | float, minimum: float
) -> tuple[Floats, Floats, Floats]:
    """(mean, mean of the converted values, valid minutes) at the hours asked for."""
    value, zs = np.full(len(hours), np.nan), np.full(len(hours), np.nan)
    found = np.zeros(len(hours))
    if minutes is None or len(minutes.ts) == 0:
        return value, zs, found
    ok = usable(minutes.flag)
    means = averaging.minutes_to_hours(minutes.ts, np.where(ok, minutes.value, np.nan), interval, minimum)
    converted = averaging.minutes_to_hours(minutes.ts, np.where(ok, minutes.zs, np.nan), interval, minimum)
    _, here, there = np.intersect1d(hours, means.hour, return_indices=True)
    value[here], zs[here], found[here] = means.value[there], converted.value[there], means.minutes[there]
    return value, zs, found


def judge_flue_gas(hours: Hours, limit: Limit | None, o2: Floats | None = None) -> Judged:
    """Each hour against the limit; `o2` [%] (same hours) converts where the device sent no converted value."""
    if limit is None:
        return _no_limit(len(hours.hour))
    reason, note = hours.reason.copy(), np.zeros(len(hours.hour), np.uint8)
    note[reason == Reason.FROM_MINUTES] = Reason.FROM_MINUTES
    reason[reason == Reason.FROM_MINUTES] = Reason.NONE
    judged = hours.value.copy()
    if limit.basis == "converted":
        judged, by_us = _converted(hours, limit, o2)
        note[by_us] = Reason.CONVERTED_BY_US
        reason[np.isnan(judged) & (reason == Reason.NONE)] = Reason.NO_CONVERTED
    count = (~np.isnan(hours.value)).astype(np.int64)
    return replace(_compare(judged, limit, reason, note, count), hours=hours)


def _converted(hours: Hours, limit: Limit, o2: Floats | None) -> tuple[Floats, NDArray[np.bool_]]:
    """The device's converted value, else our conversion; and where it is ours."""
    if o2 is None or limit.reference_o2 is None:
        return hours.zs, np.zeros(len(hours.hour), np.bool_)
    ours = to_reference_oxygen(hours.value, o2, limit.reference_o2)
    by_us = np.isnan(hours.zs) & ~np.isnan(ours)
    return np.where(by_us, ours, hours.zs), by_us


def judge_wastewater(day_hours: Floats, limit: Limit | None, flow: Floats | None = None, minimum: int = 1) -> Judged:
    """Daily means of (days, 24) hourly values in force against the limit.

    With `flow` (same shape, amount of water in the hour) the mean is weighted by it (HJ 212-2017 annex D: ΣG/ΣD) over
    the hours that have both; a day without any flow falls back to the arithmetic mean and notes it. pH (a limit with
    `low`) is always the arithmetic mean. `minimum`: least valid hours (annex D: 1; HJ 356-2019 not seen).
    """
    if limit is None:
        return _no_limit(len(day_hours))
    mean, count = averaging.mean(day_hours, minimum)
    note = np.zeros(len(mean), np.uint8)
    if limit.low is None:
        note[:] = Reason.NOT_FLOW_WEIGHTED
        if flow is not None:
            weighted, both = averaging.mean(day_hours, minimum, flow)
            use = ~np.isnan(weighted)
            mean, count = np.where(use, weighted, mean), np.where(use, both, count)
            note[use] = Reason.NONE
    reason = np.where(np.isnan(mean), Reason.TOO_FEW_HOURS, Reason.NONE).astype(np.uint8)
    return replace(_compare(mean, limit, reason, note, count), minimum=minimum)


def judge_day(day_hours: Floats, limit: Limit | None, minimum: int = 20) -> Judged:
    """Daily means of flue gas from (days, 24) hourly values already converted, at least `minimum` of them valid.

    GB 18484-2020 3.18–3.19 and GB 39707-2020: 20 hours.
    """
    if limit is None:
        return _no_limit(len(day_hours))
    mean, count = averaging.mean(day_hours, minimum)
    reason = np.where(np.isnan(mean), Reason.TOO_FEW_HOURS, Reason.NONE).astype(np.uint8)
    return replace(_compare(mean, limit, reason, np.zeros(len(mean), np.uint8), count), minimum=minimum)


def judge_values(value: Floats, limit: Limit | None) -> Judged:
    """Values that are compared as they are: a mean of samples, a single value, or an hour already converted."""
    if limit is None:
        return _no_limit(len(value))
    there = ~np.isnan(value)
    reason = np.where(there, Reason.NONE, Reason.NO_VALUE).astype(np.uint8)
    return _compare(value, limit, reason, np.zeros(len(value), np.uint8), there.astype(np.int64))


def _compare(judged: Floats, limit: Limit, reason: NDArray[np.uint8], note: NDArray[np.uint8], count: Ints) -> Judged:
    none = np.isnan(judged)
    over = judged > limit.high
    multiple = np.where(over & (limit.high > 0), judged / (limit.high or np.nan) - 1, np.nan)
    if limit.low is not None:
        over |= judged < limit.low
        multiple = np.full(len(judged), np.nan)
    verdict = np.where(none, Verdict.NOT_EVALUATED, np.where(over, Verdict.OVER, Verdict.WITHIN)).astype(np.int8)
    return Judged(verdict, judged, multiple, reason, np.where(none, 0, note).astype(np.uint8), count, limit)


def _no_limit(n: int) -> Judged:
    nothing = np.full(n, np.nan)
    reason = np.full(n, Reason.NO_LIMIT, np.uint8)
    zeros = np.zeros(n, np.uint8)
    return Judged(zeros.astype(np.int8), nothing, nothing, reason, zeros, zeros.astype(np.int64), Limit(np.nan))
