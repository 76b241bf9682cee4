"""The published script of faults (faults.toml), resolved against the stations of any city and the end of its history.

A fault changes what is measured (`alter`) or how it is sent (`windows`: the sender looks for its kinds). Both depend on
time only, so the history and the live devices play the same script.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.simulate.behaviour import FLOWS, OXYGEN, Behaviour, Levels
from ceguan.simulate.stations import Item, Station
from ceguan.simulate.weather import DAY, HOUR, Floats, Ints, clock_hour, steps, waves
from ceguan.words import PointKind

FLAGS = "NFMCD"
"""Letters of the flags by the numbers in `alter`'s answer."""
_SENDING = ("silence", "late", "resend", "changed", "clock", "crc", "dialect")
_START = re.compile(r"(?:(-?\d+)d (\d\d):(\d\d)|end([+-][\d.]+)h)")
_BEIJING = 8 * HOUR


class ScriptError(ValueError):
    """faults.toml holds something that cannot be played; the message names the fault."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the script; faults.toml says what each field means."""

    name: str
    kind: str
    target: str
    start: str
    hours: float
    zh: str
    en: str
    factor: str = ""
    limit: str = ""
    index: int = -1
    rotate: int = 0
    every_hours: float = 0.0
    live: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)

    def befalls(self, station: Station) -> bool:
        """Whether the station is one of those the row can mean."""
        if station.kind != self.target:
            return False
        if not self.factor:
            return not self.limit or any(self.limit in item.limits for item in station.items)
        item = station.item(self.factor)
        return item is not None and (not self.limit or self.limit in item.limits)


class Window(NamedTuple):
    """A fault at one station from start to end [UTC epoch s]."""

    fault: Fault
    start: float
    end: float


@cache
def table() -> tuple[Fault, ...]:
    """Every row of the script. Raises ScriptError for one that cannot be played."""
    names = set(Fault.__dataclass_fields__) - {"params"}
    faults = []
    for row in _content()["fault"]:
        if row["kind"] not in (*_SENDING, *_EFFECTS) or not _START.fullmatch(row["start"]):
            raise ScriptError(f"faults.toml：{row['name']} 的 kind 或 start 无法理解")
        own = {name: value for name, value in row.items() if name in names}
        faults.append(Fault(**own, params={name: value for name, value in row.items() if name not in names}))
    return tuple(faults)


def unknown() -> Station:
    """The logger that nobody has registered."""
    row = _content()["unknown"]
    items = tuple(Item(one["factor"], one["factor"], one["unit"], one["decimals"]) for one in row["factors"])
    return Station(
        row["mn"], row["kind"], row["mn"], items, row["password"], every_seconds=600, address="192.0.2.254:49999"
    )


def unknown_hours() -> float:
    """For how many hours before the end of the history it has been sending."""
    return float(_content()["unknown"]["history_hours"])


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("faults.toml").read_text("utf-8"))


class Script:
    """The script played to these stations; `end`: where the history ends [UTC epoch s]."""

    def __init__(self, stations: Sequence[Station], end: float, faults: Sequence[Fault] | None = None) -> None:
        self.end = int(end) // HOUR * HOUR
        self._by_station: dict[str, list[tuple[Fault, int, int]]] = {}  # MN → (fault, its place, how many there are)
        self.played: list[Fault] = []
        for fault in table() if faults is None else faults:
            able = [one for one in sorted(stations, key=lambda s: (s.code, s.mn)) if fault.befalls(one)]
            chosen = list(enumerate(able)) if fault.rotate else list(enumerate(able))[fault.index :][:1]
            self.played += [fault] * bool(chosen)
            for place, station in chosen:
                self._by_station.setdefault(station.mn, []).append((fault, place, len(able)))

    def moment(self, text: str) -> float:
        """UTC epoch seconds of a `start` or `deliver`."""
        found = _START.fullmatch(text)
        if found is None:
            raise ScriptError(f"faults.toml：时刻 {text!r} 无法理解")
        day, hour, minute, around = found.groups()
        if around:
            return self.end + float(around) * HOUR
        midnight = (self.end + _BEIJING) // DAY * DAY - _BEIJING
        return midnight + int(day) * DAY + int(hour) * HOUR + int(minute) * 60

    def windows(self, station: Station, start: float, end: float, *kinds: str) -> list[Window]:
        """Faults of these kinds (all when none is named) of a station that touch [start, end)."""
        found: list[Window] = []
        for fault, place, count in self._by_station.get(station.mn, ()):
            if not kinds or fault.kind in kinds:
                found += self._occurrences(fault, place, count, start, end)
        return found

    def _occurrences(self, fault: Fault, place: int, count: int, start: float, end: float) -> list[Window]:
        first, length = self.moment(fault.start), fault.hours * HOUR
        if not fault.every_hours:
            return [Window(fault, first, first + length)] if first < end and first + length > start else []
        every = fault.every_hours * HOUR
        low = int((start - length - first) // every) + 1
        numbers = range(max(low, 0) if fault.live else low, int(-((first - end) // every)))
        return [
            Window(fault, first + number * every, first + number * every + length)
            for number in numbers
            if not fault.rotate or number * fault.rotate % count == place
        ]

    def lost(self, station: Station, start: float, end: float) -> bool:
        """Whether the device has no memory of [start, end): it had no power, or never kept what it sent."""
        return any(w.fault.params.get("lost") for w in self.windows(station, start, end, "silence", "crc"))

    def delivered(self, window: Window) -> float:
        """When what a window kept back is sent (late), or sent once more (resend, changed)."""
        if "deliver" in window.fault.params:
            return self.moment(window.fault.params["deliver"])
        return window.end + float(window.fault.params["after_hours"]) * HOUR

    def ahead(self, station: Station, moments: Floats) -> Floats:
        """By how many seconds the device's clock is fast."""
        drift = np.zeros(moments.shape)
        if not moments.size:
            return drift
        for fault, start, end in self.windows(station, float(moments.min()), float(moments.max()) + 1, "clock"):
            risen = np.clip((moments - start) / (fault.params["ramp_hours"] * HOUR), 0, 1)
            drift += np.where((moments >= start) & (moments < end), risen * fault.params["seconds"], 0)
        return drift

    def alter(
        self, city: Behaviour, station: Station, moments: Ints, levels: Levels, corrected: bool = False
    ) -> dict[str, NDArray[np.int8]]:
        """Let the script change the levels in place; returns the flag of each factor (numbers of FLAGS).

        `corrected`: values as they are sent the second time, without what the kind `changed` does.
        """
        normal = np.zeros(moments.shape, np.int8)
        flags = dict.fromkeys(levels, normal)
        if not moments.size:
            return flags
        for window in self.windows(station, float(moments.min()), float(moments.max()) + 1, *_EFFECTS):
            if corrected and window.fault.kind == "changed":
                continue
            here = (moments >= window.start) & (moments < window.end)
            for item in _items(window.fault, station):
                effect = _EFFECTS[window.fault.kind](
                    window, city, station, item, moments[here], levels[item.factor][here]
                )
                levels[item.factor] = _put(levels[item.factor], here, effect.level)
                flags[item.factor] = _put(flags[item.factor], here, np.int8(effect.flag))
        return flags


def _put(values: Any, here: NDArray[np.bool_], new: Any) -> Any:
    changed = values.copy()
    changed[here] = new
    return changed


def _items(fault: Fault, station: Station) -> list[Item]:
    """What a fault changes: its factor; a stop or a flag means the whole station.

    Where a converted value is frozen the oxygen is frozen with it, else the measured value would go on moving.
    """
    if fault.kind in ("stop", "flag"):
        return list(station.items)
    if fault.factor:
        chosen = [item for item in station.items if item.factor == fault.factor]
        frozen = fault.kind in ("hold", "cheat") and any(item.converted for item in chosen)
        return chosen + [item for item in station.items if item.factor == OXYGEN and frozen]
    return [item for item in station.items if fault.limit in item.limits][:1] or list(station.items[:1])


class Effect(NamedTuple):
    level: Any
    flag: int = 0


def _exceed(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    limit = item.limits.get(window.fault.limit) or item.strictest or 1.0
    wobble = 0.015 * steps(city.key(station, "exceed"), moments, 600)
    return Effect(limit * window.fault.params["multiple"] * (1 + wobble))


def _cheat(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    """The truth rises over the limit from evening to morning; what is sent stops at a share of the limit."""
    if item.factor == OXYGEN:
        return _hold(window, city, station, item, moments, level)
    limit = item.strictest or 1.0
    hour = clock_hour(moments)
    night = 1 / (1 + np.exp(-(hour - 17.5) * 2)) + 1 / (1 + np.exp((hour - 8) * 2))
    truth = limit * (0.68 + 0.5 * night + 0.05 * waves(city.key(station, "truth"), moments, 5 * HOUR))
    return Effect(np.minimum(truth, window.fault.params["share"] * limit))


def _hold(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    first = Behaviour(city.seed).levels(station, np.array([int(window.start)], np.int64))
    return Effect(np.full(moments.shape, first[item.factor][0]))


def _spike(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    return Effect(level * window.fault.params["multiple"] + window.fault.params["add"])


def _constant(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    return Effect(np.full(moments.shape, float(window.fault.params["value"])))


def _stop(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    if item.factor == OXYGEN:
        return Effect(np.full(moments.shape, 20.9), FLAGS.index("F"))
    still = item.factor in FLOWS or (station.kind == PointKind.GAS_OUTLET and item.limits)
    return Effect(np.zeros(moments.shape) if still else level, FLAGS.index("F"))


def _flag(window: Window, city: Behaviour, station: Station, item: Item, moments: Ints, level: Floats) -> Effect:
    return Effect(level, FLAGS.index(window.fault.params["flag"]))


_EFFECTS: dict[str, Callable[[Window, Behaviour, Station, Item, Ints, Floats], Effect]] = {
    "exceed": _exceed,
    "changed": _exceed,
    "cheat": _cheat,
    "hold": _hold,
    "spike": _spike,
    "constant": _constant,
    "stop": _stop,
    "flag": _flag,
}
