"""The tests: missing, out of range, flat line, spike, clock. Columns in, one Outcome per reading out.

Every function takes readings of one series in rising order of time (`ts` int64, UTC epoch seconds, START of the
interval; `value` float64 in the unit of the series, NaN = the device sent none) and returns a `Result` of the same
length. A reading without a value is MISSING in every test. Nothing here decides about validity: see `layers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceguan.words import Outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Outcomes = NDArray[np.int8]
Evidence = Mapping[str, float | int | str]

VERSIONS = {"missing": "1", "range": "1", "flat_line": "1", "spike": "1", "clock": "1"}
"""Version of each test's algorithm: raised whenever the same readings could get another outcome."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one test said: an outcome per reading and the figures behind each outcome that is not PASS.

    `why_not` says why the test could not be run at all (then every outcome is NOT_EVALUATED or MISSING).
    """

    test: str
    outcome: Outcomes
    params: Mapping[str, float]
    evidence: Mapping[int, Evidence] = field(default_factory=dict)
    why_not: str = ""

    @property
    def version(self) -> str:
        return VERSIONS[self.test]


def missing(ts: Ints, start: int, end: int, every: int) -> Ints:
    """Due times in [start, end) at which no reading begins.

    A time is due every `every` seconds, in the phase of the first reading (of `start` when there is none); a reading
    counts for the due time in whose interval it begins, so a device that is a few minutes off is not missing.
    """
    phase = int(ts[0]) % every if len(ts) else start % every
    first = start + (phase - start) % every
    due = np.arange(first, end, every, dtype=np.int64)
    here = np.isin(due, (np.asarray(ts, np.int64) - phase) // every * every + phase)
    return due[~here]


def interval(ts: Ints, fallback: int) -> int:
    """Seconds between readings as the series itself shows it; `fallback` with fewer than two readings.

    The commonest difference, if it makes up more than half of them; else the smallest (many holes, few readings).
    """
    steps = np.diff(ts)
    steps = steps[steps > 0]
    if not len(steps):
        return fallback
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()] if counts.max() * 2 > len(steps) else values[0])


def resolution(value: Floats, display: float) -> float:
    """Smallest step between two values that occur, not more than `display` (the step the series is shown with)."""
    steps = np.diff(np.unique(value[~np.isnan(value)]))
    steps = steps[steps > 1e-9]
    return min(float(steps.min()), display) if len(steps) else display


def out_of_range(value: Floats, low: float | None, high: float | None) -> Result:
    """FAIL outside [low, high]: the instrument's range where it is known, else what is physically possible.

    The ends belong to the range; None = no limit on that side. With neither nothing can be tested.
    """
    params = {k: v for k, v in (("low", low), ("high", high)) if v is not None}
    if not params:
        return _not_evaluated("range", value, params, "量程和物理范围均未知")
    beyond = np.zeros(len(value), np.bool_)
    if low is not None:
        beyond |= value < low
    if high is not None:
        beyond |= value > high
    outcome = _outcomes(value, beyond, Outcome.FAIL)
    evidence = {int(i): {"value": float(value[i])} for i in np.flatnonzero(beyond)}
    return Result("range", outcome, params, evidence)


def flat_line(
    ts: Ints,
    value: Floats,
    counted: Bools,
    *,
    run: int,
    every: int,
    step: float,
    detection_limit: float | None = None,
    dl_factor: float = 2.0,
) -> Result:
    """SUSPECT for every reading in a run of at least `run` equal values without a hole.

    Equal means: the same multiple of `step`, the resolution (see `resolution`; not a parameter, the data show it).
    Values at or below `dl_factor` × detection limit are left alone (an instrument that sees nothing is allowed to be
    constant), as are readings not `counted` (device flag).
    A flat line is a lead, never a proof: see docs/quality.md for the natural rates behind `run`.
    """
    params: dict[str, float] = {"run": run, "every": every}
    floor = -np.inf
    if detection_limit is not None:
        floor = dl_factor * detection_limit
        params |= {"detection_limit": detection_limit, "dl_factor": dl_factor}
    usable = counted & (value > floor)
    with np.errstate(invalid="ignore"):
        level = np.where(usable, np.rint(value / step), np.nan)
    length = run_lengths(ts, level, every)
    flat = length >= run
    evidence = {int(i): {"value": float(value[i]), "at_least": run} for i in np.flatnonzero(flat)}
    return Result("flat_line", _outcomes(value, flat, Outcome.SUSPECT), params, evidence)


def run_lengths(ts: Ints, level: Floats, every: int) -> Ints:
    """Length of the run of equal levels each reading belongs to; 0 where the level is NaN. A hole ends a run."""
    n = len(level)
    if n == 0:
        return np.zeros(0, np.int64)
    starts = np.ones(n, np.bool_)
    starts[1:] = (level[1:] != level[:-1]) | (np.diff(ts) > 1.5 * every)  # NaN differs from itself
    number = np.cumsum(starts) - 1
    length = np.bincount(number)[number]
    return np.where(np.isnan(level), 0, length)


def spike(
    value: Floats,
    counted: Bools,
    *,
    neighbours: int = 2,
    factor: float,
    floor: float,
    relative: float,
) -> Result:
    """SUSPECT where a reading stands alone against the `neighbours` before and after it.

    Departure from their median beyond `factor` × their scatter (1.4826 × median absolute deviation, at least `floor`
    in the unit of the series) and beyond `relative` × the median. The first and last `neighbours` readings, and those
    with a missing or flagged neighbour next to them, are NOT_EVALUATED.
    """
    params = {"neighbours": neighbours, "factor": factor, "floor": floor, "relative": relative}
    clean = np.where(counted, value, np.nan)
    n = len(value)
    if n < 2 * neighbours + 1:
        return _not_evaluated("spike", value, params, "相邻读数不足")
    window = np.lib.stride_tricks.sliding_window_view(clean, 2 * neighbours + 1)
    around = np.delete(window, neighbours, axis=1)
    middle = np.median(around, axis=1)  # NaN when any neighbour is missing
    scatter = 1.4826 * np.median(np.abs(around - middle[:, None]), axis=1)
    departure = np.abs(window[:, neighbours] - middle)
    alone = (departure > factor * np.maximum(scatter, floor)) & (departure > relative * np.abs(middle))
    outcome = np.full(n, Outcome.NOT_EVALUATED, np.int8)
    core = np.where(np.isnan(departure), Outcome.NOT_EVALUATED, np.where(alone, Outcome.SUSPECT, Outcome.PASS))
    outcome[neighbours : n - neighbours] = core
    outcome[np.isnan(value)] = Outcome.MISSING
    at = np.flatnonzero(alone)
    evidence = {
        int(i + neighbours): {"value": float(clean[i + neighbours]), "neighbours": round(float(middle[i]), 6)}
        for i in at
    }
    return Result("spike", outcome, params, evidence)


def clock(ts: Ints, received: Ints, length: int, tolerance: float) -> Result:
    """SUSPECT where a reading was received more than `tolerance` seconds before its interval had ended.

    Such a device's clock is ahead. A clock that is behind cannot be told from late sending here; the time of sending
    inside the frame can (see the watch over device clocks).
    """
    ahead = (ts + length - received).astype(np.float64)
    early = ahead > tolerance
    outcome = np.where(early, Outcome.SUSPECT, Outcome.PASS).astype(np.int8)
    evidence = {int(i): {"ahead_seconds": int(ahead[i])} for i in np.flatnonzero(early)}
    return Result("clock", outcome, {"tolerance": tolerance, "length": length}, evidence)


def _outcomes(value: Floats, hit: Bools, outcome: Outcome) -> Outcomes:
    out = np.where(hit, outcome, Outcome.PASS).astype(np.int8)
    out[np.isnan(value)] = Outcome.MISSING
    return out


def _not_evaluated(test: str, value: Floats, params: Mapping[str, float], why: str) -> Result:
    outcome = np.where(np.isnan(value), Outcome.MISSING, Outcome.NOT_EVALUATED).astype(np.int8)
    return Result(test, outcome, params, why_not=why)
