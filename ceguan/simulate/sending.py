"""Which frames a device sends and when: levels and script → HJ 212 uploads with the moment of their arrival.

The same function serves the history (years at once) and the live devices (a few seconds), so both tell one story.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ceguan.intake.hj212.frame import framed
from ceguan.simulate.behaviour import Behaviour, measured
from ceguan.simulate.faults import FLAGS, Script, Window
from ceguan.simulate.stations import Item, Station
from ceguan.simulate.weather import DAY, HOUR, Floats, Ints, share
from ceguan.words import Kind, PointKind, beijing

ST = {
    PointKind.AIR: "22", PointKind.WATER: "21", PointKind.NOISE: "23", PointKind.RADIATION: "38",
    PointKind.GAS_OUTLET: "31", PointKind.WATER_OUTLET: "32",
}  # fmt: skip
CN = {Kind.RT: "2011", Kind.MINUTE: "2051", Kind.HOUR: "2061", Kind.DAY: "2031"}
SHORT = 600
"""Outlets average over parts of this length: an hour is the mean of six of them."""
WATER_HOURS = 4
LOOK_BACK = 40 * HOUR
"""How long something may be kept back or be sent again."""


class Sent(NamedTuple):
    """A frame and when it arrives [UTC epoch s]."""

    recv: float
    station: Station
    payload: bytes


class Sender:
    """One device under one seed and script."""

    def __init__(self, city: Behaviour, script: Script, station: Station) -> None:
        self._city, self._script, self._station = city, script, station
        self._flag = 1 if station.edition == "2005" else 5
        self._delay = 4 + 40 * share(city.seed, station.mn)

    def arriving(self, start: float, end: float, kinds: tuple[Kind, ...]) -> list[Sent]:
        """Everything that arrives in [start, end), in order."""
        back = (
            LOOK_BACK if self._script.windows(self._station, start - LOOK_BACK, end, "late", "resend", "changed") else 0
        )
        found = [one for kind in kinds for one in self._of_kind(kind, start - back, end)]
        return sorted((one for one in found if start <= one.recv < end), key=lambda one: one.recv)

    def _of_kind(self, kind: Kind, start: float, end: float) -> Iterator[Sent]:
        length = self.length(kind)
        if length is None:
            return
        offset = 8 * HOUR if kind == Kind.DAY else 0  # a day begins at midnight in Beijing
        first = int((start - 200 - length + offset) // length) * length - offset
        moments = np.arange(first, end - length + 1 if kind != Kind.RT else end, length, dtype=np.int64)
        if moments.size:
            yield from self._sent(kind, moments, length)

    def length(self, kind: Kind) -> int | None:
        """Seconds from one upload of this kind to the next; None where the device sends none."""
        outlet = self._station.outlet
        if kind == Kind.HOUR:
            return WATER_HOURS * HOUR if self._station.kind == PointKind.WATER else HOUR
        if not outlet:
            return None
        return {Kind.DAY: DAY, Kind.MINUTE: SHORT, Kind.RT: 60}[kind]

    def _sent(self, kind: Kind, moments: Ints, length: int) -> Iterator[Sent]:
        """What is sent of these intervals, through everything the script does to the sending."""
        start, end = float(moments[0]), float(moments[-1]) + length
        areas = self._areas(kind, moments, length, corrected=False)
        windows = self._script.windows(self._station, start, end, "silence", "late", "resend", "changed", "crc")
        done = 0 if kind == Kind.RT else length
        ahead = self._script.ahead(self._station, moments + float(done))
        again = (
            self._areas(kind, moments, length, corrected=True)
            if any(w.fault.kind == "changed" for w in windows)
            else areas
        )
        for i, moment in enumerate(moments.tolist()):
            recv = moment + done + self._delay
            here = {w.fault.kind: w for w in windows if w.start <= moment < w.end}
            yield from self._one(kind, moment, recv, float(ahead[i]), areas[i], again[i], here, i)

    def _one(
        self,
        kind: Kind,
        moment: int,
        recv: float,
        ahead: float,
        area: str,
        corrected: str,
        here: dict[str, Window],
        i: int,
    ) -> Iterator[Sent]:
        if "silence" in here:
            return
        at = max(recv, self._script.delivered(here["late"]) + self._delay) if "late" in here else recv
        if "crc" in here and i % int(here["crc"].fault.params["each"]) == 0:
            good = self._frame(kind, moment, at + ahead, area)
            yield Sent(at, self._station, good[:-6] + (b"0000\r\n" if good[-6:-2] != b"0000" else b"FFFF\r\n"))
            if not here["crc"].fault.params.get("again"):
                return
            at += 10
        yield Sent(at, self._station, self._frame(kind, moment, at + ahead, area))
        for name, what in (("resend", area), ("changed", corrected)):
            if name in here:
                later = max(at, self._script.delivered(here[name])) + self._delay
                yield Sent(later, self._station, self._frame(kind, moment, later + ahead, what))

    def _frame(self, kind: Kind, moment: int, now: float, area: str) -> bytes:
        one = self._station
        stamp = f"{beijing(now):%Y%m%d%H%M%S}{int(now * 1000) % 1000:03d}"
        data = f"DataTime={beijing(moment):%Y%m%d%H%M%S};{area}"
        head = f"QN={stamp};ST={ST[PointKind(one.kind)]};CN={CN[kind]};PW={one.password};MN={one.mn};Flag={self._flag}"
        return framed(f"{head};CP=&&{data}&&".encode())

    def _areas(self, kind: Kind, moments: Ints, length: int, *, corrected: bool) -> list[str]:
        """The factors of each interval as they stand in the data area."""
        parts = self._parts(kind, moments, length)
        levels = self._city.levels(self._station, parts)
        flags = self._script.alter(self._city, self._station, parts, levels, corrected)
        means, converted = measured(self._station, levels)
        columns = [
            self._column(kind, item, means[item.factor], converted.get(item.factor), flags[item.factor], length)
            for item in self._station.items
        ]
        return [";".join(row) for row in zip(*columns, strict=True)]

    def _parts(self, kind: Kind, moments: Ints, length: int) -> Ints:
        """Intervals by the moments they average over."""
        if self._station.outlet and kind == Kind.HOUR:
            return moments[:, None] + np.arange(0, HOUR, SHORT, dtype=np.int64)
        if kind == Kind.DAY:
            return moments[:, None] + np.arange(0, DAY, HOUR, dtype=np.int64)
        return moments[:, None]

    def _column(
        self, kind: Kind, item: Item, values: Floats, converted: Floats | None, flags: Ints, length: int
    ) -> list[str]:
        figures = _figures(item, values)
        letters = [FLAGS[number] for number in flags[:, 0].tolist()]
        name = item.sent
        if kind == Kind.RT:
            texts = [f"{name}-Rtd={value}" for value in figures[1]]
        else:
            texts = [f"{name}-Min={a},{name}-Avg={b},{name}-Max={c}" for a, b, c in zip(*figures, strict=True)]
        if converted is not None:
            word = "ZsRtd" if kind == Kind.RT else "ZsAvg"
            texts = [
                f"{text},{name}-{word}={value}" for text, value in zip(texts, _figures(item, converted)[1], strict=True)
            ]
        return [f"{text},{name}-Flag={letter}" for text, letter in zip(texts, letters, strict=True)]


def _figures(item: Item, values: Floats) -> tuple[list[str], list[str], list[str]]:
    """Least, mean and greatest of each row in the device's unit, as text."""
    sent = np.atleast_2d(values) * item.scale
    return tuple(
        [f"{value:.{item.decimals}f}" for value in column.tolist()]
        for column in (sent.min(axis=1), sent.mean(axis=1), sent.max(axis=1))
    )  # type: ignore[return-value]
