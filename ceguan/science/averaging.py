"""Means over time with the least amount of data that makes them valid. Columns in, columns out.

Grids: the last axis is time, one cell per hour; NaN is a missing or invalid value. The minimums are arguments;
the dated table is `standards.tables.Validity`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    return HourMeans(hours, mean, minutes)


def mean(grid: Floats, minimum: int, weight: Floats | None = None) -> tuple[Floats, Ints]:
    """Mean over the last axis and the number of valid cells; NaN where fewer than `minimum` are valid.

    With `weight` (same shape) the mean is weighted, and a cell without a positive weight counts as invalid.
    """
    valid = ~np.isnan(grid) if weight is None else ~np.isnan(grid) & (weight > 0)
    weights = np.where(valid, 1.0 if weight is None else weight, 0.0)
    count = valid.sum(axis=-1)
    total = (np.where(valid, grid, 0.0) * weights).sum(axis=-1)
    enough = (count >= minimum) & (count > 0)
    return np.divide(total, weights.sum(axis=-1), out=np.full(count.shape, np.nan), where=enough), count


def rolling_8h(grid: Floats, minimum: int = 6) -> Floats:
    """Mean of each hour and the seven before it, NaN with fewer than `minimum` valid hours (GB 3095 table 4: 6).

    Same shape as the grid; the first cells use the hours there are, so they need `minimum` of fewer.
    """
    valid = ~np.isnan(grid)
    total = _trailing_sum(np.where(valid, grid, 0.0))
    count = _trailing_sum(valid.astype(np.float64))
    return np.divide(total, count, out=np.full(grid.shape, np.nan), where=count >= max(minimum, 1))


def _trailing_sum(grid: Floats) -> Floats:
    """Sum over 8 cells ending at each cell. Added cell by cell: a cumulative sum would lose exactness."""
    out = grid.copy()
    for back in range(1, 8):
        out[..., back:] += grid[..., :-back]
    return out


def daily_max_8h(day: Floats, limit: float, minimum_hours: int = 6, minimum_windows: int = 14) -> Floats:
    """O3 daily maximum 8-hour mean from (…, 24) hours of one Beijing day, first cell 00:00–01:00.

    Windows end at 08:00 … 24:00 (17 windows). With fewer than `minimum_windows` valid the day is NaN unless its
    maximum is already above `limit` (HJ 663-2013 as quoted by one source, trust 1).
    """
    windows = rolling_8h(day, minimum_hours)[..., 7:]
    valid = ~np.isnan(windows)
    top = np.where(valid, windows, -np.inf).max(axis=-1)
    enough = (valid.sum(axis=-1) >= minimum_windows) | (top > limit)
    return np.where(enough & valid.any(axis=-1), top, np.nan)
