"""What the devices of the invented city would measure if nothing were wrong: pure functions of seed, station and time.

`levels` gives each factor in the unit of its series – for a flue-gas factor with a converted limit the converted value,
from which `measured` works back through the oxygen. Outlets stay below their permits by themselves: what exceeds is
scripted (faults.toml).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from ceguan.science import water
from ceguan.simulate.stations import Item, Station
from ceguan.simulate.weather import DAY, HOUR, Floats, Ints, Weather, clock_hour, key, share, steps, traffic, waves
from ceguan.simulate.weather import weather as weather_at
from ceguan.standards import units
from ceguan.standards.tables import NoiseLimit, NotInForce, one
from ceguan.words import PointKind, beijing

Levels = dict[str, Floats]
OXYGEN = "a19001"
AIR_OXYGEN = 21.0
FLOWS = ("a00000", "w00000")
_WATER_ITEMS = {"w01019": "codmn", "w21003": "nh3n", "w21011": "tp"}
_CLASSES = ("", "I", "II", "III", "IV", "V", "V")


class Usual(NamedTuple):
    """A row of behaviour.csv: base in `unit`, spread as a share of it."""

    unit: str
    base: float
    spread: float
    low: float
    high: float


class Behaviour:
    """The city's devices under one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._weather: tuple[tuple[int, ...], Weather] | None = None

    def levels(self, station: Station, moments: Ints) -> Levels:
        """Every factor of the station at these moments (any shape), in the unit of its series."""
        model = _MODELS[PointKind(station.kind)]
        return {item.factor: model(self, station, item, moments) for item in station.items}

    def weather(self, moments: Ints) -> Weather:
        """Kept from call to call: all stations ask for the same moments."""
        asked = (moments.size, *((int(moments.flat[0]), int(moments.flat[-1])) if moments.size else ()), moments.ndim)
        if self._weather is None or self._weather[0] != asked:
            self._weather = asked, weather_at(self.seed, moments)
        return self._weather[1]

    def key(self, station: Station, name: str) -> int:
        return key(self.seed, f"{station.code}:{name}")

    def share(self, station: Station, name: str) -> float:
        return share(self.seed, f"{station.code}:{name}")

    # ---- air

    def air(self, station: Station, item: Item, moments: Ints) -> Floats:
        """Dirt gathers when the air stands still; traffic and sun do the rest."""
        shape = _AIR.get(item.factor)
        if shape is None:
            return self._weather_item(station, item, moments)
        sky = self.weather(moments)
        place = 0.8 + 0.4 * self.share(station, "place")
        wobble = np.exp(0.13 * waves(self.key(station, item.factor), moments, 4 * HOUR))
        wobble *= np.exp(0.06 * steps(self.key(station, f"{item.factor}+"), moments, HOUR))
        mass, unit = shape(sky, traffic(moments))
        return np.clip(mass * place * wobble, 0.2, None) * (units.factor(unit, item.unit) or 1.0)

    def _weather_item(self, station: Station, item: Item, moments: Ints) -> Floats:
        sky = self.weather(moments)
        known = {"a01001": sky.temperature, "a01002": sky.humidity, "a01006": sky.pressure,
                 "a01007": sky.wind, "a01008": sky.direction}  # fmt: skip
        if item.factor not in known:
            return self.usual(station, item, moments)
        own = 1 + 0.03 * steps(self.key(station, item.factor), moments, HOUR)
        return known[item.factor] * own % (360 if item.factor == "a01008" else np.inf)

    # ---- water

    def water(self, station: Station, item: Item, moments: Ints) -> Floats:
        """Around three quarters of what the target class allows; rain washes more in, warm water holds less oxygen."""
        sky = self.weather(moments)
        slow = waves(self.key(station, item.factor), moments, 30 * HOUR)
        slow += 0.4 * waves(self.key(station, f"{item.factor}+"), moments, 8 * HOUR)
        warm = 13 + 0.55 * (sky.temperature - 12.5)
        if item.factor == "w01010":
            return np.clip(warm + 0.4 * slow, 0.5, 32)
        if item.factor == "w01001":
            return 7.7 + 0.4 * self.share(station, "ph") + 0.09 * slow + 0.12 * sky.sun
        if item.factor == "w01009":
            return np.clip(13.4 - 0.27 * warm - 2.2 * self.share(station, "do") + 0.35 * slow + sky.sun, 1.5, None)
        name = _WATER_ITEMS.get(item.factor)
        if name is None:
            return self.usual(station, item, moments)
        washed = 1 + 0.12 * np.clip(sky.river - 1.1, 0, None)
        allowed = _class_limit(name, station) * (units.factor("mg/L", item.unit) or 1.0)
        return allowed * (0.5 + 0.3 * self.share(station, item.factor)) * washed * np.exp(0.1 * slow)

    # ---- noise and radiation

    def noise(self, station: Station, item: Item, moments: Ints) -> Floats:
        """Near the limits of the zone, with the traffic."""
        day, night = _noise_limits(str(station.properties.get("zone", "2")), int(moments.flat[0]))
        hour = clock_hour(moments)
        quiet = ((hour < 6) | (hour >= 22)).astype(np.float64)
        calm = 5.5 - 4 * self.share(station, "loud")
        level = (day - calm) * (1 - quiet) + (night - 0.7 * calm) * quiet + 2.2 * (traffic(moments) - 0.9)
        return level + 0.9 * waves(self.key(station, item.factor), moments, 5 * HOUR) + 0.6 * steps(
            self.key(station, "gust"), moments, HOUR
        )  # fmt: skip

    def radiation(self, station: Station, item: Item, moments: Ints) -> Floats:
        """Natural background; rain washes radon daughters down and raises it for a while."""
        scale = units.factor("nGy/h", item.unit)
        if scale is None:
            return self._weather_item(station, item, moments)
        base = 68 + 30 * self.share(station, "ground")
        washed = 6.5 * np.minimum(self.weather(moments).rain, 3)
        return scale * (base + washed + 0.9 * waves(self.key(station, "dose"), moments, 7 * HOUR) + 0.5 * steps(
            self.key(station, "count"), moments, HOUR
        ))  # fmt: skip

    # ---- outlets

    def outlet(self, station: Station, item: Item, moments: Ints) -> Floats:
        """A share of the permit with the load of the works; never over it by itself."""
        limit = item.strictest
        if item.low is not None or limit is None:
            return self.usual(station, item, moments)
        wobble = 0.15 * waves(self.key(station, item.factor), moments, 7 * HOUR)
        wobble += 0.07 * waves(self.key(station, f"{item.factor}+"), moments, 50 * 60)
        wobble += 0.03 * steps(self.key(station, f"{item.factor}++"), moments, 600)
        level = limit * (0.36 + 0.24 * self.share(station, item.factor)) * np.exp(wobble) * self.load(station, moments)
        ceiling = 0.86 * limit
        return level / (1 + (level / ceiling) ** 6) ** (1 / 6)

    def load(self, station: Station, moments: Ints) -> Floats:
        """How hard the works run: some day and night, some mostly by day and less at week-ends; about 1."""
        swing = 0.22 * self.share(station, "shifts")
        hour = clock_hour(moments)
        return 1 + swing * np.sin((hour - 7) * np.pi / 12) + 0.05 * waves(self.key(station, "load"), moments, 20 * HOUR)

    def usual(self, station: Station, item: Item, moments: Ints) -> Floats:
        """A factor without limit or model of its own: the row of behaviour.csv."""
        row = _usual(station.kind, item.factor)
        scale = units.factor(row.unit, item.unit) or 1.0
        base = row.base * (0.85 + 0.3 * self.share(station, item.factor)) if row.spread > 0.02 else row.base
        swing = waves(self.key(station, item.factor), moments, 6 * HOUR)
        swing += 0.5 * steps(self.key(station, f"{item.factor}+"), moments, 600)
        level = base * (1 + row.spread * swing)
        if item.factor in FLOWS:
            level = level * self.load(station, moments)
        return np.clip(level, row.low, row.high) * scale


def measured(station: Station, levels: Levels) -> tuple[Levels, Levels]:
    """Measured and converted values of the levels; converted only where the permit asks for it.

    C = Cs·(21 − O2)/(21 − O2s), so that converting it back gives the level (HJ 212-2017 附录D).
    """
    reference = station.reference_oxygen
    oxygen = levels.get(OXYGEN)
    out, converted = dict(levels), {}
    for item in station.items:
        if item.converted and reference is not None and item.factor != OXYGEN:
            converted[item.factor] = levels[item.factor]
            if oxygen is not None:
                out[item.factor] = levels[item.factor] * (AIR_OXYGEN - oxygen) / (AIR_OXYGEN - reference)
    return out, converted


def _pm25(sky: Weather, cars: Floats) -> tuple[Floats, str]:
    return _dirt(sky, 0.8) * 40 * (0.85 + 0.15 * cars), "μg/m³"


def _dirt(sky: Weather, power: float) -> Floats:
    shallow = np.sqrt(700 / np.clip(sky.mixing, 150, None))
    return np.exp(power * 0.85 * sky.stagnation) * (0.72 + 0.28 * shallow) * np.exp(-0.25 * np.minimum(sky.rain, 2))


_AIR: dict[str, Callable[[Weather, Floats], tuple[Floats, str]]] = {
    "a34004": _pm25,
    "a34002": lambda sky, cars: (_dirt(sky, 0.7) * 72 * (0.8 + 0.25 * cars) + 1.6 * sky.wind, "μg/m³"),
    "a21026": lambda sky, cars: (_dirt(sky, 0.5) * 8, "μg/m³"),
    "a21004": lambda sky, cars: (_dirt(sky, 0.5) * 32 * (0.45 + 0.6 * cars) * (1 - 0.3 * sky.sun), "μg/m³"),
    "a21003": lambda sky, cars: (_dirt(sky, 0.6) * 7 * (0.3 + 0.9 * cars) * (1 - 0.4 * sky.sun), "μg/m³"),
    "a21005": lambda sky, cars: (_dirt(sky, 0.45) * 0.55 * (0.75 + 0.3 * cars), "mg/m³"),
    "a05024": lambda sky, cars: (
        26 + 105 * sky.sun * np.clip((sky.temperature + 8) / 26, 0.25, 1.6) * np.exp(0.12 * sky.stagnation) - 9 * cars,
        "μg/m³",
    ),
}
"""Typical mass concentrations of an invented inland city."""

_MODELS: dict[PointKind, Callable[[Behaviour, Station, Item, Ints], Floats]] = {
    PointKind.AIR: Behaviour.air,
    PointKind.WATER: Behaviour.water,
    PointKind.NOISE: Behaviour.noise,
    PointKind.RADIATION: Behaviour.radiation,
    PointKind.GAS_OUTLET: Behaviour.outlet,
    PointKind.WATER_OUTLET: Behaviour.outlet,
}


def _class_limit(name: str, station: Station) -> float:
    """Upper end [mg/L] of the section's target class."""
    body = "lake" if station.properties.get("waterbody") == "lake" else "river"
    row = water.limit(name, body, date(2026, 1, 1))
    return float(getattr(row, _CLASSES[int(station.properties.get("target_class") or 3)]))


@cache
def _noise_limits_on(zone: str, day: date) -> tuple[float, float]:
    try:
        row = one(NoiseLimit, day, zone=zone)
    except NotInForce:
        row = one(NoiseLimit, day, zone="2")
    return float(row.day), float(row.night)


def _noise_limits(zone: str, moment: int) -> tuple[float, float]:
    return _noise_limits_on(zone, beijing(moment // DAY * DAY).date())


@cache
def _table() -> dict[tuple[str, str], Usual]:
    text = resources.files(__package__).joinpath("behaviour.csv").read_text("utf-8")
    return {
        (row["point_kind"], row["factor"]): Usual(
            row["unit"], float(row["base"]), float(row["spread"]),
            float(row["low"] or -np.inf), float(row["high"] or np.inf),
        )
        for row in csv.DictReader(text.splitlines())
    }  # fmt: skip


def _usual(kind: str, factor: str) -> Usual:
    return _table().get((kind, factor)) or _table()["*", "*"]
