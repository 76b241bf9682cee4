"""声环境: day, night and day-night levels from hourly Leq, and the check against GB 3096-2008.

Day is 06–22, night 22–06 unless the county government sets otherwise (GB 22337-2008 3.8). Levels in dB(A).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science.reasons import Reason
from ceguan.standards.tables import NoiseLimit, one

Floats = NDArray[np.float64]
DAY_HOURS, NIGHT_HOURS = 16, 8


@dataclass(frozen=True, slots=True)
class NoiseDays:
    """One cell per day. Levels NaN and verdicts False where `reason` says why there is none."""

    ld: Floats
    ln: Floats
    ldn: Floats
    day_hours: NDArray[np.int64]
    night_hours: NDArray[np.int64]
    day_over: NDArray[np.bool_]
    night_over: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    limit: NoiseLimit


def energy_mean(leq: Floats) -> Floats:
    """10·lg of the mean of 10^(L/10) over the last axis, NaN left out; NaN when there is nothing."""
    valid = ~np.isnan(leq)
    count = valid.sum(axis=-1)
    total = np.where(valid, 10 ** (np.where(valid, leq, 0.0) / 10), 0.0).sum(axis=-1)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return 10 * np.log10(mean)


def day_night_level(ld: Floats, ln: Floats) -> Floats:
    """Ldn = 10 lg[(16·10^(Ld/10) + 8·10^((Ln+10)/10)) / 24]; the formula is from memory (trust unsure)."""
    return 10 * np.log10((DAY_HOURS * 10 ** (ld / 10) + NIGHT_HOURS * 10 ** ((ln + 10) / 10)) / 24)


def judge(
    leq: Floats, zone: str, day: date, required_day: int = DAY_HOURS, required_night: int = NIGHT_HOURS
) -> NoiseDays:
    """Ld, Ln, Ldn of (days, 24) hourly Leq, first cell 06:00–07:00 Beijing time, against a zone's limits.

    A part of the day with fewer hours than required has no level: no minimum was found in a standard, so the
    default asks for all. Day and night are judged apart (HJ 640-2012). Raises NotInForce for an unknown zone.
    """
    limit = one(NoiseLimit, day, zone=zone)
    day_part, night_part = leq[:, :DAY_HOURS], leq[:, DAY_HOURS:]
    day_hours, night_hours = (~np.isnan(day_part)).sum(axis=1), (~np.isnan(night_part)).sum(axis=1)
    ld = np.where(day_hours >= required_day, energy_mean(day_part), np.nan)
    ln = np.where(night_hours >= required_night, energy_mean(night_part), np.nan)
    short = np.isnan(ld) | np.isnan(ln)
    reason = np.where(short, Reason.TOO_FEW_HOURS, Reason.NONE).astype(np.uint8)
    ldn = day_night_level(ld, ln)
    return NoiseDays(ld, ln, ldn, day_hours, night_hours, ld > limit.day, ln > limit.night, reason, limit)
