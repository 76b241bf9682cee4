"""The tests: missing, out of range, flat line, spike, clock. Columns in, one Outcome per reading out.

Every function takes readings in rising order of time (`ts` int64, UTC epoch seconds, START of the interval; `value`
float64 in the unit of the series, NaN = the device sent none) and gives back as many answers. A reading without a value
is MISSING in every test. Nothing here decides about validity: see `layers`.

Readings of many series are tested at once when they lie one series behind the other: `of` names the series of each
reading by its place (int64, rising), None = all are of one. Parameters are numbers, or an array with one for each
reading.
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
PASS, NOT_EVALUATED, SUSPECT = int(Outcome.PASS), int(Outcome.NOT_EVALUATED), int(Outcome.SUSPECT)
FAIL, MISSING = int(Outcome.FAIL), int(Outcome.MISSING)


@dataclass(frozen=True, slots=True)
class Result:
    """What one test said: an outcome per reading and the figures behind each outcome that is SUSPECT or FAIL.

    `untested`: readings of series on which the test could not be run at all, because of `why_not`; their outcome is
    NOT_EVALUATED or MISSING.
    """

    test: str
    outcome: Outcomes
    evidence: Mapping[int, Evidence] = field(default_factory=dict)
    untested: Bools | bool = False
    why_not: str = ""

    @property
    def version(self) -> str:
        return VERSIONS[self.test]


def missing(ts: Ints, start: int, end: int, every: int) -> Ints:
    """Due times in [start, end) at which no reading of a series begins.

    A time is due every `every` seconds, in the phase of the first reading (of `start` when there is none); a reading
    counts for the due time in whose interval it begins, so a device that is a few minutes off is not missing.
    """
    phase = int(ts[0]) % every if len(ts) else start % every
    first = start + (phase - start) % every
    due = np.arange(first, end, every, dtype=np.int64)
    here = np.isin(due, (np.asarray(ts, np.int64) - phase) // every * every + phase)
    return due[~here]


def missed(ts: Ints, of: Ints, start: Ints, end: Ints, every: Ints) -> Ints:
    """How many due times `missing` would name for each series; `start`, `end`, `every`: one for each series."""
    begin = np.searchsorted(of, np.arange(len(start)))
    some = np.bincount(of, minlength=len(start)) > 0
    phase = start % every
    phase[some] = ts[begin[some]] % every[some]
    first = start + (phase - start) % every
    due = np.maximum(0, -((first - end) // every))
    slot = (ts - phase[of]) // every[of]
    new = np.ones(len(ts), np.bool_)
    new[1:] = (slot[1:] != slot[:-1]) | (of[1:] != of[:-1])
    at = slot * every[of] + phase[of]
    here = new & (at >= first[of]) & (at < end[of])
    return due - np.bincount(of[here], minlength=len(start))


def interval(ts: Ints, fallback: int) -> int:
    """Seconds between readings as the series itself shows it; `fallback` with fewer than two readings.

    The commonest difference, if it makes up more than half of them; else the smallest (many holes, few readings).
    """
    return int(intervals(ts, np.zeros(len(ts), np.int64), np.array([fallback]))[0])


def intervals(ts: Ints, of: Ints, fallback: Ints) -> Ints:
    """`interval` of each of many series; `fallback`: one for each."""
    step, series = np.diff(ts), of[1:]
    real = (step > 0) & (series == of[:-1])
    step, series = step[real], series[real]
    order = np.lexsort((step, series))
    step, series = step[order], series[order]
    new = np.ones(len(step), np.bool_)
    new[1:] = (step[1:] != step[:-1]) | (series[1:] != series[:-1])
    at = np.flatnonzero(new)
    count, step, series = np.diff(np.append(at, len(step))), step[at], series[at]
    found, smallest = fallback.astype(np.int64), np.unique(series, return_index=True)[1]
    found[series[smallest]] = step[smallest]
    common = count * 2 > np.bincount(series, count, len(fallback))[series]
    found[series[common]] = step[common]
    return found


def resolution(value: Floats, display: float) -> float:
    """Smallest step between two values that occur, not more than `display` (the step the series is shown with)."""
    return float(resolutions(value, np.zeros(len(value), np.int64), np.array([display]))[0])


def resolutions(value: Floats, of: Ints, display: Floats) -> Floats:
    """`resolution` of each of many series; `display`: one for each."""
    there = ~np.isnan(value)
    value, of = value[there], of[there]
    order = np.lexsort((value, of))
    value, of = value[order], of[order]
    step = np.diff(value)
    real = (step > 1e-9) & (of[1:] == of[:-1])
    found = np.array(display, np.float64)
    np.minimum.at(found, of[1:][real], step[real])
    return found


def out_of_range(value: Floats, low: Floats | float | None, high: Floats | float | None) -> Result:
    """FAIL outside [low, high]: the instrument's range where it is known, else what is physically possible.

    The ends belong to the range; None or NaN = no limit on that side. With neither nothing can be tested.
    """
    bottom, top = (np.broadcast_to(np.nan if limit is None else limit, value.shape) for limit in (low, high))
    beyond = (value < bottom) | (value > top)
    untested = np.isnan(bottom) & np.isnan(top)
    outcome = _outcomes(value, beyond, FAIL)
    outcome[untested & (outcome == PASS)] = NOT_EVALUATED
    evidence = {int(i): {"value": float(value[i])} for i in np.flatnonzero(beyond)}
    return Result("range", outcome, evidence, untested, "量程和物理范围均未知" if untested.any() else "")


def flat_line(
    ts: Ints,
    value: Floats,
    counted: Bools,
    *,
    run: Floats | int,
    every: Ints | int,
    step: Floats | float,
    floor: Floats | float = -np.inf,
    of: Ints | None = None,
) -> Result:
    """SUSPECT for every reading in a run of at least `run` equal values without a hole.

    Equal means: the same multiple of `step`, the resolution (see `resolution`; not a parameter, the data show it).
    Values at or below `floor` (a multiple of the detection limit) are left alone (an instrument that sees nothing is
    allowed to be constant), as are readings not `counted` (device flag).
    A flat line is a lead, never a proof: see docs/quality.md for the natural rates behind `run`.
    """
    usable = counted & (value > floor)
    with np.errstate(invalid="ignore"):
        level = np.where(usable, np.rint(value / step), np.nan)
    flat = run_lengths(ts, level, every, of) >= run
    least = np.broadcast_to(run, value.shape)
    evidence = {int(i): {"value": float(value[i]), "at_least": int(least[i])} for i in np.flatnonzero(flat)}
    return Result("flat_line", _outcomes(value, flat, SUSPECT), evidence)


def run_lengths(ts: Ints, level: Floats, every: Ints | int, of: Ints | None = None) -> Ints:
    """Length of the run of equal levels each reading belongs to; 0 where the level is NaN. A hole ends a run."""
    n = len(level)
    if n == 0:
        return np.zeros(0, np.int64)
    hole = np.diff(ts) > 1.5 * np.broadcast_to(every, n)[1:]
    starts = np.ones(n, np.bool_)
    starts[1:] = (level[1:] != level[:-1]) | hole  # NaN differs from itself
    if of is not None:
        starts[1:] |= of[1:] != of[:-1]
    number = np.cumsum(starts) - 1
    length = np.bincount(number)[number]
    return np.where(np.isnan(level), 0, length)


def spike(
    value: Floats,
    counted: Bools,
    *,
    neighbours: int = 2,
    factor: Floats | float,
    floor: Floats | float,
    relative: Floats | float,
    of: Ints | None = None,
) -> Result:
    """SUSPECT where a reading stands alone against the `neighbours` before and after it.

    Departure from their median beyond `factor` × their scatter (1.4826 × median absolute deviation, at least `floor`
    in the unit of the series) and beyond `relative` × the median. The first and last `neighbours` readings, and those
    with a missing or flagged neighbour next to them, are NOT_EVALUATED.
    """
    n, width = len(value), 2 * neighbours + 1
    one = np.zeros(n, np.int64) if of is None else of
    middle, scatter = (np.full(n, np.nan) for _ in range(2))
    if n >= width:
        window = np.lib.stride_tricks.sliding_window_view(np.where(counted, value, np.nan), width)
        around = np.delete(window, neighbours, axis=1)
        inside = slice(neighbours, n - neighbours)
        middle[inside] = np.median(around, axis=1)  # NaN when any neighbour is missing
        scatter[inside] = 1.4826 * np.median(np.abs(around - middle[inside, None]), axis=1)
        middle[inside][one[width - 1 :] != one[: n - width + 1]] = np.nan  # a neighbour of another series is none
    departure = np.abs(np.where(counted, value, np.nan) - middle)
    alone = (departure > factor * np.maximum(scatter, floor)) & (departure > relative * np.abs(middle))
    outcome = _outcomes(value, alone, SUSPECT)
    outcome[np.isnan(departure) & ~np.isnan(value)] = NOT_EVALUATED
    evidence = {
        int(i): {"value": float(value[i]), "neighbours": round(float(middle[i]), 6)} for i in np.flatnonzero(alone)
    }
    few = np.bincount(one)[one] < width if n else np.zeros(0, np.bool_)
    return Result("spike", outcome, evidence, few, "相邻读数不足" if few.any() else "")


def clock(ts: Ints, received: Ints, length: Ints | int, tolerance: Floats | float) -> Result:
    """SUSPECT where a reading was received more than `tolerance` seconds before its interval had ended.

    Such a device's clock is ahead. A clock that is behind cannot be told from late sending here; the time of sending
    inside the frame can (see the watch over device clocks).
    """
    ahead = (ts + length - received).astype(np.float64)
    early = ahead > tolerance
    outcome = np.where(early, SUSPECT, PASS).astype(np.int8)
    evidence = {int(i): {"ahead_seconds": int(ahead[i])} for i in np.flatnonzero(early)}
    return Result("clock", outcome, evidence)


def _outcomes(value: Floats, hit: Bools, outcome: int) -> Outcomes:
    out = np.where(hit, outcome, PASS).astype(np.int8)
    out[np.isnan(value)] = MISSING
    return out
