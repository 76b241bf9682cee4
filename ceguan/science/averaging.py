"""Means over time with the least amount of data that makes them valid. Columns in, columns out.

Grids: the last axis is time, one cell per hour; NaN is a missing or invalid value. The minimums are arguments;
the dated table is `standards.tables.Validity`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class HourMeans(NamedTuple):
    """`value` NaN where `minutes` (valid minutes) is below the minimum; `hour` is the start, UTC epoch seconds."""

    hour: Ints
    value: Floats
    minutes: Floats


def minutes_to_hours(ts: Ints, value: Floats, interval: Floats | float, minimum: float = 45) -> HourMeans:
    """Hourly means of minute data, weighted by each reading's interval [min]; rows in any order, NaN = invalid.

    An hour needs valid readings that stand for at least `minimum` minutes (GB 3095 table 4; HJ 75-2017).
    """
    hours, place = np.unique(np.asarray(ts, np.int64) // 3600 * 3600, return_inverse=True)
    valid = ~np.isnan(value)
    weight = np.where(valid, interval, 0.0)
    total = np.bincount(place, np.where(valid, value, 0.0) * weight, len(hours))
    minutes = np.bincount(place, weight, len(hours)).astype(np.float64)
    mean = np.divide(total, minutes, out=np.full(len(hours), np.nan), where=(minutes >= minimum) & (minutes > 0))
    return HourMeans(hours, statistics.settled(mean), minutes)


def mean(grid: Floats, minimum: int, weight: Floats | None = None) -> tuple[Floats, Ints]:
    """Mean over the last axis and the number of valid cells; NaN where fewer than `minimum` are valid.

    With `weight` (same shape) the mean is weighted, and a cell without a positive weight counts as invalid.
    """
    valid = ~np.isnan(grid) if weight is None else ~np.isnan(grid) & (weight > 0)
    weights = np.where(valid, 1.0 if weight is None else weight, 0.0)
    count = valid.sum(axis=-1)
    total = (np.where(valid, grid, 0.0) * weights).sum(axis=-1)
    enough = (count >= minimum) & (count > 0)
    out = np.divide(total, weights.sum(axis=-1), out=np.full(count.shape, np.nan), where=enough)
    return statistics.settled(out), count


# ---- exact daily values of ambient air: whole multiples of a step, rounded half to even


def daily_mean(day: Floats, minimum: int = 20, digits: int = 0) -> Floats:
    """24-h mean of (…, 24) hours of a Beijing day to `digits` decimals; NaN with fewer than `minimum` valid hours.

    NaN or negative is not valid (GB 3095 table 4: 20 hours).
    """
    total, valid = _millionths(day)
    return _ratio(total.sum(axis=-1), valid.sum(axis=-1), minimum, digits)


def daily_max_hour(day: Floats, minimum: int = 20, digits: int = 0) -> Floats:
    """Largest hour of (…, 24) hours to `digits` decimals; NaN with fewer than `minimum` valid hours."""
    total, valid = _millionths(day)
    top = statistics.round_ratio(total.max(axis=-1), statistics.MILLIONTHS, digits)
    return np.where(valid.sum(axis=-1) >= minimum, top, np.nan)


def daily_max_8h(
    day: Floats, limit: float, minimum_hours: int = 6, minimum_windows: int = 14, digits: int = 0
) -> Floats:
    """O3 daily maximum 8-hour mean from (…, 24) hours of one Beijing day, first cell 00:00–01:00, to `digits` decimals.

    Windows end at 08:00 … 24:00 (17 windows) and need `minimum_hours` valid hours (GB 3095 table 4). With fewer than
    `minimum_windows` valid windows the day is NaN unless its maximum is already above `limit` (HJ 663-2013, trust 1).
    """
    total, valid = (_windows(cells) for cells in _millionths(day))
    mean = _ratio(total, valid, minimum_hours, digits)
    there = ~np.isnan(mean)
    top = np.where(there, mean, -np.inf).max(axis=-1)
    enough = (there.sum(axis=-1) >= minimum_windows) | (top > limit)
    return np.where(enough & there.any(axis=-1), top, np.nan)


def _millionths(day: Floats) -> tuple[Floats, Floats]:
    """Whole millionths, 0 where the hour is not valid, and 1.0 for each valid hour."""
    valid = day >= 0
    return statistics.millionths(np.where(valid, day, 0.0)), valid.astype(np.float64)


def _ratio(total: Floats, count: Floats, minimum: int, digits: int) -> Floats:
    enough = np.where(count >= max(minimum, 1), count, np.nan)
    return statistics.round_ratio(total, enough * statistics.MILLIONTHS, digits)


def _windows(cells: Floats) -> Floats:
    """Sum over each 8 neighbouring cells of the last axis, by doubling; exact for whole numbers."""
    for step in (1, 2, 4):
        cells = cells[..., :-step] + cells[..., step:]
    return cells
