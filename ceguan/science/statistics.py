"""Rounding, percentiles and ranks that give the same figure everywhere: whole numbers inside, no float drift.

A value is a whole number of millionths (10⁻⁶ of its unit). Sums and products of such numbers stay below 2⁵³, and a
quotient of two whole numbers lies at least 1/(2·divisor) from a tie it does not hit, far more than float64 can err:
so a division followed by `rint` rounds exactly half to even (GB/T 8170 四舍六入五成双).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MILLIONTHS = 1e6


def millionths(value: Floats) -> Floats:
    """Whole millionths in float64; NaN stays NaN."""
    return np.rint(np.asarray(value, np.float64) * MILLIONTHS)


def round_ratio(numerator: Floats, denominator: Floats | float, digits: int) -> Floats:
    """numerator / denominator to `digits` decimals, half to even; both whole numbers. NaN where it divides by 0."""
    scale = 10.0**digits
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.rint(numerator * scale / denominator) / scale
    return np.where(np.isfinite(out), out, np.nan)


def round_half_even(value: Floats, digits: int) -> Floats:
    """Values of at most six decimals to `digits` decimals, half to even (2.675 → 2.68, 2.665 → 2.66). NaN stays."""
    return round_ratio(millionths(value), MILLIONTHS, digits)


def settled(value: Floats) -> Floats:
    """Values to 12 significant digits, which takes float drift away and nothing that was measured; NaN stays.

    For what is compared with a limit unrounded: the mean of 0.1, 0.2 and 0.3 is 0.2, and 700 μg/L is 0.7 mg/L.
    """
    value = np.asarray(value, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 10.0 ** np.clip(11 - np.floor(np.log10(np.abs(value))), -290, 290)
        out = np.rint(value * scale) / scale
    return np.where(np.isfinite(out), out, value)


def mean(value: Floats, digits: int) -> tuple[Floats, Ints]:
    """Mean over the last axis to `digits` decimals and the number of values; NaN cells do not count."""
    there = ~np.isnan(value)
    count = there.sum(axis=-1)
    total = np.where(there, millionths(value), 0.0).sum(axis=-1)
    return round_ratio(total, count * MILLIONTHS, digits), count


def percentile(value: Floats, p: int, digits: int) -> Floats:
    """p-th percentile over the last axis to `digits` decimals; NaN cells do not count, NaN where there is none.

    Ascending X, k = 1 + (n - 1)·p/100, X(⌊k⌋) + (X(⌊k⌋ + 1) - X(⌊k⌋))·(k - ⌊k⌋) (HJ 663-2013 附录A: not seen,
    remembered and equal to a vendor's code).
    """
    ordered = np.sort(value, axis=-1)  # NaN comes last
    last = (~np.isnan(ordered)).sum(axis=-1) - 1
    whole, rest = np.divmod(np.maximum(last, 0) * p, 100)
    low = _at(ordered, whole)
    high = _at(ordered, np.minimum(whole + 1, np.maximum(last, 0)))
    return round_ratio(millionths(low) * (100 - rest) + millionths(high) * rest, 100 * MILLIONTHS, digits)


def _at(ordered: Floats, place: Ints) -> Floats:
    return np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0]


def rank(value: Floats, ties: str = "competition") -> Ints:
    """Ranks from 1, the smallest first, equal values share one; 0 where the value is NaN.

    `ties`: competition (1, 2, 2, 4) or dense (1, 2, 2, 3); anything else raises ValueError.
    """
    if ties not in ("competition", "dense"):
        raise ValueError(f"ties {ties!r}：只有 competition、dense")
    out = np.zeros(len(value), np.int64)
    there = ~np.isnan(value)
    _, place, count = np.unique(millionths(value[there]), return_inverse=True, return_counts=True)
    before = np.arange(len(count)) if ties == "dense" else np.cumsum(count) - count
    out[there] = before[place] + 1
    return out
