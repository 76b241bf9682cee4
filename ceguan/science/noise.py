"""声环境: day, night and day-night levels from hourly Leq, GB 3096-2008, and the grades of a city's noise, HJ 640-2012.

Day is 06–22, night 22–06 unless the county government sets otherwise (GB 22337-2008 3.8). Levels in dB(A).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics
from ceguan.science.reasons import Reason
from ceguan.standards.tables import NoiseGrade, NoiseLimit, NoiseRule, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
DAY_HOURS, NIGHT_HOURS = 16, 8
PARTS = {"day": Label("昼间", "day"), "night": Label("夜间", "night")}
CITY_KINDS = {"regional": Label("区域声环境", "regional noise"), "traffic": Label("道路交通噪声", "road traffic noise")}


@dataclass(frozen=True, slots=True)
class NoiseDays:
    """One cell per day. Levels NaN and verdicts False where `reason` says why there is none.

    `sudden`: highest level of a night [dB(A)], NaN not measured; `sudden_over` where it is above the night limit by
    more than `rule.value`.
    """

    ld: Floats
    ln: Floats
    ldn: Floats
    day_hours: NDArray[np.int64]
    night_hours: NDArray[np.int64]
    day_over: NDArray[np.bool_]
    night_over: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    limit: NoiseLimit
    required_day: int
    required_night: int
    sudden: Floats
    sudden_over: NDArray[np.bool_]
    rule: NoiseRule

    def explain(self, row: int) -> Label:
        """Day and night each with level, limit, zone and verdict or how many hours are missing; the sudden maximum."""
        said = [self.explain_part(row, part) for part in PARTS]
        if not np.isnan(self.sudden[row]):
            said.append(self._sudden(row))
        return Label("；".join(s.zh for s in said), "; ".join(s.en for s in said))

    def explain_part(self, row: int, part: str) -> Label:
        """`part` (day or night) alone: level, limit, zone, clause and verdict, or how many hours are missing."""
        day = part == "day"
        level, limit = (self.ld[row], self.limit.day) if day else (self.ln[row], self.limit.night)
        word = PARTS[part]
        if np.isnan(level):
            count = (self.day_hours if day else self.night_hours)[row]
            due = self.required_day if day else self.required_night
            return Label(
                f"{word.zh}未评价：有效小时 {count}，应有 {due}",
                f"{word.en} not evaluated: {count} valid hours of {due}",
            )
        over = bool((self.day_over if day else self.night_over)[row])
        span = f"{level:.1f} dB(A) / {limit:g}"
        return Label(
            f"{word.zh} {span}（{self.limit.zone}类区，{self.limit.cite}），{'超标' if over else '达标'}",
            f"{word.en} {span} (zone {self.limit.zone}, {self.limit.cite}), {'over' if over else 'within'}",
        )

    def _sudden(self, row: int) -> Label:
        value, top = self.sudden[row], self.limit.night + (self.rule.value or 0)
        over = bool(self.sudden_over[row])
        span = f"{value:.1f} dB(A) / {top:g}"
        return Label(
            f"夜间突发噪声最大声级 {span}（{self.rule.cite}），{'超标' if over else '达标'}",
            f"highest level of sudden noise at night {span} ({self.rule.cite}), {'over' if over else 'within'}",
        )


def energy_mean(leq: Floats) -> Floats:
    """10·lg of the mean of 10^(L/10) over the last axis, NaN left out; NaN when there is nothing."""
    valid = ~np.isnan(leq)
    count = valid.sum(axis=-1)
    total = np.where(valid, 10 ** (np.where(valid, leq, 0.0) / 10), 0.0).sum(axis=-1)
    mean = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return np.round(10 * np.log10(mean), 9)  # float dust off: a mean of equal levels is that level


def day_night_level(ld: Floats, ln: Floats) -> Floats:
    """Ldn = 10 lg[(16·10^(Ld/10) + 8·10^((Ln+10)/10)) / 24]; the formula is from memory (trust unsure)."""
    return 10 * np.log10((DAY_HOURS * 10 ** (ld / 10) + NIGHT_HOURS * 10 ** ((ln + 10) / 10)) / 24)


def judge(
    leq: Floats,
    zone: str,
    day: date,
    required_day: int = DAY_HOURS,
    required_night: int = NIGHT_HOURS,
    sudden: Floats | None = None,
) -> NoiseDays:
    """Ld, Ln, Ldn of (days, 24) hourly Leq, first cell 06:00–07:00 Beijing time, against a zone's limits.

    A part of the day with fewer hours than required has no level: no minimum was found in a standard, so the
    default asks for all. Day and night are judged apart (HJ 640-2012). `sudden` (days,): highest level of each night
    [dB(A)], which may be above the night limit by 15 dB(A) (GB 3096-2008 5.4, trust 1). Raises NotInForce for an
    unknown zone.
    """
    limit, rule = one(NoiseLimit, day, zone=zone), one(NoiseRule, day, rule="night_sudden")
    day_part, night_part = leq[:, :DAY_HOURS], leq[:, DAY_HOURS:]
    day_hours, night_hours = (~np.isnan(day_part)).sum(axis=1), (~np.isnan(night_part)).sum(axis=1)
    ld = np.where(day_hours >= required_day, energy_mean(day_part), np.nan)
    ln = np.where(night_hours >= required_night, energy_mean(night_part), np.nan)
    short = np.isnan(ld) | np.isnan(ln)
    reason = np.where(short, Reason.TOO_FEW_HOURS, Reason.NONE).astype(np.uint8)
    top = np.full(len(leq), np.nan) if sudden is None else sudden
    return NoiseDays(
        ld,
        ln,
        day_night_level(ld, ln),
        day_hours,
        night_hours,
        ld > limit.day,
        ln > limit.night,
        reason,
        limit,
        required_day,
        required_night,
        top,
        top > limit.night + (rule.value or 0),
        rule,
    )


# ---- rates and grades of a city


@dataclass(frozen=True, slots=True)
class ZoneRate:
    """功能区达标率: point-times judged and met, `rate` [%] NaN where none was judged."""

    judged: int
    met: int

    @property
    def rate(self) -> float:
        return 100 * self.met / self.judged if self.judged else np.nan

    def __add__(self, other: ZoneRate) -> ZoneRate:
        """Quarters merge to a year: point-times add, rates do not."""
        return ZoneRate(self.judged + other.judged, self.met + other.met)


def zone_rate(level: Floats, limit: Floats | float) -> ZoneRate:
    """Share of point-times at or below the limit (HJ 640-2012, trust 1), for day or for night; NaN counts nowhere."""
    there = ~np.isnan(level)
    return ZoneRate(int(there.sum()), int((there & (level <= limit)).sum()))


@dataclass(frozen=True, slots=True)
class CityLevel:
    """A city's mean level to 0.1 dB(A) with its grade (None when nothing was measured) and how many points made it."""

    level: float
    points: int
    kind: str
    period: str
    grade: NoiseGrade | None

    def explain(self) -> Label:
        """The level, the grade with its bound, and the clause; or that nothing was measured."""
        if self.grade is None:
            return Label("没有有效测点，不评价", "no valid point: not evaluated")
        what = (
            Label("区域声环境", "regional noise") if self.kind == "regional" else Label("道路交通噪声", "road traffic")
        )
        part, row = PARTS[self.period], self.grade
        bound = f"≤{row.upto:g}" if row.upto is not None else ""
        return Label(
            f"{what.zh}{part.zh} {self.level:.1f} dB(A)，{self.points} 个测点，"
            f"{row.grade}级 {row.zh} {bound}（{row.cite}）",
            f"{what.en}, {part.en}: {self.level:.1f} dB(A), {self.points} points, grade {row.grade} {row.en} {bound}"
            f" ({row.cite})",
        )


def city_level(leq: Floats, kind: str, period: str, day: date, length: Floats | None = None) -> CityLevel:
    """Arithmetic mean of the points of a grid (`kind` regional), or weighted by road length [m] (traffic), graded.

    The mean is rounded half to even to 0.1 dB(A) before it is graded (the classes have one decimal). NaN levels, and
    roads without a length, are left out. Raises ValueError for traffic without lengths, NotInForce without a table.
    """
    if (kind == "traffic") != (length is not None):
        raise ValueError("道路交通噪声按路长加权，区域噪声不加权 (traffic needs lengths, regional takes none)")
    weight = np.ones(len(leq)) if length is None else np.where(length > 0, length, 0.0)
    weight = np.where(np.isnan(leq), 0.0, weight)
    used, grades = weight > 0, in_force(NoiseGrade, day, kind=kind, period=period)
    if not used.any():
        return CityLevel(np.nan, 0, kind, period, None)
    mean = float(np.sum(np.where(used, leq, 0.0) * weight) / weight.sum())
    level = float(statistics.round_half_even(np.array([mean]), 1)[0])
    grade = next(row for row in grades if row.upto is None or level <= row.upto)
    return CityLevel(level, int(used.sum()), kind, period, grade)
