"""Weather and the city's rhythm, invented: pure functions of a seed and of time. The same moment always gives the same.

`moments` are UTC epoch seconds in an array of any shape; every result has that shape. Randomness comes from counting,
not from a state: a hash of (seed, name, step) gives the number of that step, so history and live devices agree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
HOUR, DAY = 3600, 86400
_BEIJING = 8 * HOUR


@lru_cache(maxsize=65536)
def key(seed: int, name: str) -> int:
    """64 bits that stand for a seed and a name."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest(), "little")


def share(seed: int, name: str) -> float:
    """A number in [0, 1) that belongs to a name for good."""
    return key(seed, name) / 2**64


def normal(of: int, step: Ints) -> Floats:
    """About normal numbers (sum of four uniforms, at most ±3.5), one for each step; splitmix64 as the hash."""
    z = (step.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(of)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    low = np.uint64(0xFFFF)
    total = (z & low) + ((z >> np.uint64(16)) & low) + ((z >> np.uint64(32)) & low) + (z >> np.uint64(48))
    return (total.astype(np.float64) / 65536 - 2) * np.sqrt(3)


def steps(of: int, moments: Ints, period: int) -> Floats:
    """A new number every `period` seconds."""
    return normal(of, moments // period)


def waves(of: int, moments: Ints, period: int) -> Floats:
    """Numbers `period` seconds apart, joined smoothly; scatter about 1."""
    if not moments.size:
        return np.zeros(moments.shape)
    number, within = np.divmod(moments, period)
    first = int(number.min())
    knots = normal(of, np.arange(first, int(number.max()) + 2, dtype=np.int64))
    place, part = number - first, within / period
    part = part * part * (3 - 2 * part)
    return 1.15 * (knots[place] * (1 - part) + knots[place + 1] * part)


def clock_hour(moments: Ints) -> Floats:
    """Hour of the Beijing day, 0 to 24."""
    return (moments + _BEIJING) % DAY / HOUR


def weekend(moments: Ints) -> NDArray[np.bool_]:
    return ((moments + _BEIJING) // DAY + 3) % 7 >= 5


def traffic(moments: Ints) -> Floats:
    """About 1 by day, two rush hours, little at night, less at week-ends."""
    hour = clock_hour(moments)
    rush = np.exp(-(((hour - 8) / 1.5) ** 2)) + np.exp(-(((hour - 18) / 1.8) ** 2))
    flow = 0.35 + 0.55 / (1 + np.exp(-(hour - 6.3) * 2)) / (1 + np.exp((hour - 22) * 1.3)) + 0.45 * rush
    return np.where(weekend(moments), 0.8 * flow, flow)


@dataclass(frozen=True, slots=True)
class Weather:
    """temperature [℃], wind [m/s], direction [°], mixing [m], rain [mm/h], river (flow against its usual), sun 0–1,
    stagnation (about −2 … 3: how much dirt stays in the air; an inversion raises it).
    """

    temperature: Floats
    humidity: Floats
    pressure: Floats
    wind: Floats
    direction: Floats
    mixing: Floats
    rain: Floats
    river: Floats
    sun: Floats
    stagnation: Floats


def weather(seed: int, moments: Ints) -> Weather:
    """The weather over the whole city at these moments."""
    hour = clock_hour(moments)
    season = np.cos(2 * np.pi * ((moments / DAY + 8 / 24) % 365.25 - 200) / 365.25)  # 1 in mid July
    synoptic = waves(key(seed, "synoptic"), moments, 84 * HOUR)
    days = waves(key(seed, "days"), moments, 200 * HOUR)
    rain = _rain(seed, moments)
    sun = np.clip(np.sin((hour - 6.2) * np.pi / 12.2), 0, None) * (0.72 + 0.28 * season)
    sun *= np.clip(1 - 0.5 * rain - 0.15 * np.clip(-synoptic, 0, None), 0.15, 1)
    stagnation = 0.8 * synoptic + 0.6 * days - 0.35 * np.minimum(rain, 2)
    wind = 2.3 * np.exp(0.35 * waves(key(seed, "wind"), moments, 9 * HOUR) - 0.45 * stagnation) * (0.8 + 0.5 * sun)
    inversion = np.exp(-0.4 * stagnation) * np.where(sun > 0, 1.0, 0.8)
    return Weather(
        temperature=12.5 + 14 * season + 2.5 * synoptic + 5.5 * np.sin((hour - 9) * np.pi / 12) - rain,
        humidity=np.clip(62 - 18 * sun + 20 * np.minimum(rain, 1.5) + 6 * synoptic, 18, 98),
        pressure=88.6 - 0.5 * season - 0.45 * synoptic,
        wind=np.clip(wind, 0.2, 14),
        direction=(300 + 55 * waves(key(seed, "direction"), moments, 14 * HOUR) + 25 * sun) % 360,
        mixing=np.clip((260 + 1250 * sun) * inversion, 90, 2600),
        rain=rain,
        river=_river(seed, moments),
        sun=sun,
        stagnation=stagnation,
    )


def _rain(seed: int, moments: Ints) -> Floats:
    """Showers: only where two waves are high together."""
    front = waves(key(seed, "front"), moments, 40 * HOUR)
    shower = waves(key(seed, "shower"), moments, 3 * HOUR)
    return np.clip(front - 0.9, 0, None) * np.clip(1.6 + 1.5 * shower, 0, None)


def _river(seed: int, moments: Ints) -> Floats:
    """Rain of the last three days runs off, the nearest the most."""
    run_off = sum(np.exp(-back / 30) * _rain(seed, moments - back * HOUR) for back in range(3, 72, 6))
    return 1 + 0.35 * run_off + 0.08 * waves(key(seed, "river"), moments, 120 * HOUR)
