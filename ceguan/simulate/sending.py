"""Which frames a device sends and when: levels and script → HJ 212 uploads with the moment of their arrival.

The same function serves the history (years at once) and the live devices (a few seconds), so both tell one story.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import framed
from ceguan.intake.hj212.readings import write_time
from ceguan.simulate.behaviour import Behaviour, measured
from ceguan.simulate.faults import FLAGS, Script, Window
from ceguan.simulate.stations import Item, Station
from ceguan.simulate.weather import DAY, HOUR, Floats, Ints, share
from ceguan.words import Kind, PointKind

Marks = NDArray[np.int8]
ST = {
    PointKind.AIR: "22", PointKind.WATER: "21", PointKind.NOISE: "23", PointKind.RADIATION: "38",
    PointKind.GAS_OUTLET: "31", PointKind.WATER_OUTLET: "32",
}  # fmt: skip
VERSIONS = {2005: 0, 2017: 4, 2025: 8}
"""The bits of Flag that name the edition."""
CN = {Kind.RT: "2011", Kind.MINUTE: "2051", Kind.HOUR: "2061", Kind.DAY: "2031"}
SHORT = 600
"""Outlets average over parts of this length: an hour is the mean of six of them."""
WATER_HOURS = 4
LONGEST_DELIVERY = 30 * DAY
"""How long something may be kept back or be sent again at most."""
AGAIN_SECONDS = 10
FLOW = "w00000"


class Sent(NamedTuple):
    """A frame and when it arrives [UTC epoch s]."""

    recv: float
    station: Station
    payload: bytes
    spoilt: bool = False  # by a disturbed line: the CRC is wrong, no answer comes


class Sender:
    """One device under one seed and script."""

    def __init__(self, city: Behaviour, script: Script, station: Station) -> None:
        self.station, self.password, self.key = station, station.password, station.key
        self.lengths = {Kind.DAY: DAY, Kind.MINUTE: SHORT, Kind.RT: 60}
        """Seconds from one upload to the next of what an outlet sends beside its hours."""
        self._city, self._script, self._station = city, script, station
        self._head = f"ST={ST[PointKind(station.kind)]}"
        self._clock_set, self._set_ahead = -np.inf, 0.0
        self._dialects = script.windows(station, -np.inf, np.inf, "dialect")
        self._delay = 4 + 40 * share(city.seed, station.mn)

    def set_clock(self, now: float, offset: float = 0.0) -> None:
        """From now on the device's clock is ahead by `offset`, and by what the script adds later [s]."""
        self._clock_set, self._set_ahead = now, offset

    def ahead(self, moments: Floats) -> Floats:
        """By how many seconds the device's clock is fast at these moments."""
        drift = self._script.ahead(self._station, moments)
        if np.isinf(self._clock_set):
            return drift
        since = drift - self._script.ahead(self._station, np.array([self._clock_set])) + self._set_ahead
        return np.where(moments >= self._clock_set, since, drift)

    def dialect(self, now: float) -> str:
        """The CRC dialect in which the device writes."""
        here = (window for window in self._dialects if window.start <= now < window.end)
        return next((str(window.fault.params["dialect"]) for window in here), crc.HJ212)

    def arriving(self, start: float, end: float, kinds: tuple[Kind, ...]) -> list[Sent]:
        """Everything that arrives in [start, end), in order; the same however time is cut into stretches."""
        found = [one for kind in kinds for one in self._of_kind(kind, start, end)]
        return sorted((one for one in found if start <= one.recv < end), key=lambda one: one.recv)

    def _of_kind(self, kind: Kind, start: float, end: float) -> Iterator[Sent]:
        """The intervals whose frames may arrive in [start, end): on time, or kept back or sent again by the script."""
        length = self.length(kind)
        if length is None:
            return
        spans = [self._intervals(kind, length, start - AGAIN_SECONDS - 1, end)]
        if kind != Kind.RT:
            kept = self._script.windows(self._station, start - LONGEST_DELIVERY, end, "late", "resend", "changed")
            for window in kept:
                first = self._script.delivered(window)
                if first < end and first + window.end - window.start + 2 * HOUR > start:
                    offset = self._offset(kind)
                    low = -int(-(window.start + offset) // length) * length - offset
                    spans.append(np.arange(low, int(window.end), length, dtype=np.int64))
        moments = np.unique(np.concatenate(spans))
        if moments.size:
            yield from self._sent(kind, moments, length)

    def _intervals(self, kind: Kind, length: int, start: float, end: float) -> Ints:
        """Starts of the intervals whose frames come on time in [start, end)."""
        offset, done = self._offset(kind), self.span(kind)
        first = int((start - done - 200 + offset) // length) * length - offset
        moments = np.arange(first, int(end) - done + 1800, length, dtype=np.int64)
        recv = self._on_time(kind, moments)
        return moments[(recv >= start) & (recv < end)]

    def _on_time(self, kind: Kind, moments: Ints) -> Floats:
        """When the frames of these intervals arrive if the line is good; a device whose clock is fast sends early."""
        done = moments.astype(np.float64) + self.span(kind) + self._delay
        return done - self.ahead(done)

    @staticmethod
    def _offset(kind: Kind) -> int:
        return 8 * HOUR if kind in (Kind.DAY, Kind.HOUR) else 0  # days and samplings go by the Beijing clock

    def span(self, kind: Kind) -> int:
        """Seconds one upload stands for; a water section samples one hour in four."""
        return {Kind.RT: 0, Kind.MINUTE: self.lengths[Kind.MINUTE], Kind.HOUR: HOUR, Kind.DAY: DAY}[kind]

    def length(self, kind: Kind) -> int | None:
        """Seconds from one upload of this kind to the next; None where the device sends none."""
        if kind == Kind.HOUR:
            return WATER_HOURS * HOUR if self._station.kind == PointKind.WATER else HOUR
        return self.lengths[kind] if self._station.outlet else None

    def _sent(self, kind: Kind, moments: Ints, length: int) -> Iterator[Sent]:
        """What is sent of these intervals, through everything the script does to the sending."""
        recv = self._on_time(kind, moments)
        ahead = self.ahead(recv).tolist()
        areas = self.areas(kind, moments, corrected=False)
        windows = [
            window
            for name in ("silence", "late", "resend", "changed", "crc")
            for window in self._script.windows(self._station, float(moments[0]), float(moments[-1]) + length, name)
        ]
        corrected = any(window.fault.kind == "changed" for window in windows)
        again = self.areas(kind, moments, corrected=True) if corrected else areas
        for i, moment in enumerate(moments.tolist()):
            here = {window.fault.kind: window for window in windows if window.start <= moment < window.end}
            yield from self._one(kind, moment, float(recv[i]), ahead[i], areas[i], again[i], here)

    def _one(
        self,
        kind: Kind,
        moment: int,
        recv: float,
        ahead: float,
        area: str,
        corrected: str,
        here: dict[str, Window],
    ) -> Iterator[Sent]:
        if "silence" in here:
            return
        at = recv
        if "late" in here:
            at = self._script.delivered(here["late"]) + self._delay + (recv - here["late"].start) / HOUR
        if "crc" in here and self._spoilt(here["crc"], moment):
            good = self._frame(kind, moment, at + ahead, area)
            yield Sent(at, self._station, good[:-6] + (b"0000\r\n" if good[-6:-2] != b"0000" else b"FFFF\r\n"), True)
            if not here["crc"].fault.params.get("again"):
                return
            at += AGAIN_SECONDS
        yield Sent(at, self._station, self._frame(kind, moment, at + ahead, area))
        for name, what in (("resend", area), ("changed", corrected)):
            if name in here:
                later = self._script.delivered(here[name]) + self._delay + (recv - here[name].start) / HOUR
                yield Sent(
                    max(at + 1, later), self._station, self._frame(kind, moment, max(at + 1, later) + ahead, what)
                )

    @staticmethod
    def _spoilt(window: Window, moment: int) -> bool:
        return (moment // HOUR + moment // SHORT) % int(window.fault.params["each"]) == 0

    def _frame(self, kind: Kind, moment: int, now: float, area: str) -> bytes:
        tail = f"PW={self.password};MN={self._station.mn};Flag={VERSIONS[int(self._station.edition)] | 1}"
        head = f"QN={_stamp(int(now))}{int(now * 1000) % 1000:03d};{self._head};CN={CN[kind]};{tail}"
        key = self.key if self._station.edition == "2025" else None  # 6.4: all of 2000–2999 is enciphered
        return framed(f"{head};CP=&&DataTime={_stamp(moment)};{area}&&".encode(), self.dialect(now), key)

    def areas(self, kind: Kind, moments: Ints, *, corrected: bool) -> list[str]:
        """The factors of each interval as they stand in the data area."""
        parts = self._parts(kind, moments)
        levels = self._city.levels(self._station, parts)
        flags = self._script.alter(self._city, self._station, parts, levels, corrected)
        means, converted = measured(self._station, levels)
        template, columns = [], []
        for item in self._station.items:
            weight = levels.get(FLOW) if kind == Kind.DAY and item.factor != FLOW and item.low is None else None
            counted = _counted(kind, flags[item.factor])
            fields = _statistics(item, means[item.factor], counted, weight)
            names = [("Rtd", fields[1])] if kind == Kind.RT else list(zip(("Min", "Avg", "Max"), fields, strict=True))
            if item.factor in converted:
                word = "ZsRtd" if kind == Kind.RT else "ZsAvg"
                names.append((word, _statistics(item, converted[item.factor], counted, weight)[1]))
            template.append(",".join(f"{item.sent}-{name}=%.{item.decimals}f" for name, _ in names))
            template[-1] += f",{item.sent}-Flag=%s"
            columns += [column.tolist() for _, column in names]
            columns.append([FLAGS[number] for number in _flag(kind, flags[item.factor]).tolist()])
        text = ";".join(template)
        return [text % row for row in zip(*columns, strict=True)]

    def _parts(self, kind: Kind, moments: Ints) -> Ints:
        """Intervals by the moments they average over."""
        if self._station.outlet and kind == Kind.HOUR:
            return moments[:, None] + np.arange(0, HOUR, SHORT, dtype=np.int64)
        if kind == Kind.DAY:
            return moments[:, None] + np.arange(0, DAY, HOUR, dtype=np.int64)
        return moments[:, None]


@lru_cache(maxsize=1 << 16)
def _stamp(moment: int) -> str:
    return write_time(moment)


def _flag(kind: Kind, flags: Marks) -> Marks:
    """The flag of an interval: the gravest of its parts; a day is normal as soon as one hour of it is."""
    worst = flags.max(axis=1)
    return np.where((flags == 0).any(axis=1), np.int8(0), worst) if kind == Kind.DAY else worst


def _counted(kind: Kind, flags: Marks) -> NDArray[np.bool_]:
    """Which parts make the mean: of a day the normal ones; all where none is normal, and in shorter intervals."""
    normal = flags == 0
    if kind != Kind.DAY:
        return np.ones(flags.shape, np.bool_)
    return normal | ~normal.any(axis=1, keepdims=True)


def _statistics(
    item: Item, values: Floats, counted: NDArray[np.bool_], weight: Floats | None
) -> tuple[Floats, Floats, Floats]:
    """Least, mean and greatest of each row in the device's unit and digits; `weight` as HJ 212-2017 附录D has it."""
    part = counted * (1.0 if weight is None else weight)
    part = np.where(part.sum(axis=1, keepdims=True) > 0, part, counted)
    low, high = np.where(counted, values, np.inf).min(axis=1), np.where(counted, values, -np.inf).max(axis=1)
    mean = np.clip((values * part).sum(axis=1) / part.sum(axis=1), low, high)
    low, mean, high = (np.round(row * item.scale, item.decimals) + 0.0 for row in (low, mean, high))
    return low, mean, high
