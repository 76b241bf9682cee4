"""The devices of the city, alive: one TCP connection each to the real gateway, answers awaited, requests obeyed.

They are the simulated loggers of `simulate.hj212`, but for what they send by themselves, which is the city's script.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ceguan import clock
from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import Frame, decode, quick_head, without_secrets
from ceguan.simulate import faults, history, stations
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.hj212.faults import Faults
from ceguan.simulate.hj212.fleet import Device, Fleet, Options
from ceguan.simulate.hj212.logger import Logger, Out, Setup
from ceguan.simulate.hj212.values import known_since
from ceguan.simulate.sending import Sender, Sent
from ceguan.simulate.stations import Station
from ceguan.words import Kind

OVERTIME = 10.0
"""HJ 212-2017 表1: seconds to wait for an answer."""
TICK = 2.0
KINDS = (Kind.HOUR, Kind.DAY, Kind.MINUTE)
REAL_TIME_UP_TO = 10.0
"""Above this speed no real-time frames are sent: minutes and hours say it all."""
REAL_TIME_SECONDS = 600
PORTION = 6 * 3600
"""Platform seconds worked out at once while catching up."""
REMEMBERS_HOURS = 720
"""For so long a device keeps what it has measured."""


@dataclass(slots=True)
class Upload(Out):
    """A frame of the script; `recv` is when it was due [UTC epoch s]."""

    payload: bytes = b""
    recv: float = 0.0


class Measured:
    """What a device of the city has measured, as it would send it now."""

    def __init__(self, sender: Sender, script: faults.Script) -> None:
        self.station = sender.station
        self._sender, self._script = sender, script

    def area(self, kind: Kind, moment: int) -> str:
        found = self._script.windows(self.station, moment, moment + self._sender.span(kind) + 1, "changed")
        corrected = any(self._script.delivered(window) <= clock.now() for window in found)
        return self._sender.areas(kind, np.array([moment], np.int64), corrected=corrected)[0]


class CityLogger(Logger):
    """A logger that sends what the script says, and obeys like any other."""

    def __init__(self, sender: Sender, script: faults.Script, now: float) -> None:
        station = sender.station
        setup = Setup(station.password, OVERTIME, minutes=sender.lengths[Kind.MINUTE] // 60, key=station.key)
        line = Faults({"modbus": 1.0} if sender.dialect(now) == crc.MODBUS else {})
        super().__init__(
            Measured(sender, script), station.mn, int(station.edition), setup, line,
            random.Random(station.mn), now, known_since(now, REMEMBERS_HOURS),
        )  # fmt: skip
        self.station, self._sender, self._script = station, sender, script
        self._line = deque()  # nothing is forgotten however long the platform is away

    def work_out(self, start: float, end: float, kinds: tuple[Kind, ...]) -> None:
        """Put in line what is due in [start, end)."""
        for one in self._sender.arriving(start, end, kinds):
            self._put_upload(one)

    def _put_upload(self, one: Sent) -> None:
        """In line; a frame that the line spoils is sent once and not waited for."""
        head = quick_head(one.payload, key=self.setup.key)
        qn = "" if one.spoilt else head.qn or ""
        if head.cn != "2011" or self._real_time:
            self._line.append(Upload(qn, "", "", head.cn or "", payload=one.payload, recv=one.recv))

    @property
    def oldest(self) -> float:
        """When the first frame that still waits was due."""
        return next((out.recv for out in self._line if isinstance(out, Upload)), float("inf"))

    def silent(self, now: float) -> bool:
        """Whether the script has it off line, and it has sent what it had to send before."""
        return self.oldest == float("inf") and bool(self._script.windows(self.station, now, now + 1, "silence"))

    def connected(self, now: float) -> None:
        """It says that it is there, so that it may be asked; it does not ask for the time: clocks run as scripted."""
        for out in self._line:
            out.sends = 0
        if not self._announced and self.edition != 2005:
            self._announced = True
            self._put("2081", f"DataTime={self._stamp(now)};RestartTime={self._stamp(self._start)}", now)

    def raw(self, out: Out) -> bytes:
        return out.payload if isinstance(out, Upload) else super().raw(out)

    def clock(self, now: float) -> float:
        return now + float(self._sender.ahead(np.array([now]))[0])

    def _schedule(self, now: float) -> None:
        self._next = dict.fromkeys(Kind, float("inf"))

    def _length(self, kind: Kind) -> int:
        return self._sender.length(kind) or super()._length(kind)

    def _span(self, kind: Kind) -> int:
        return self._sender.span(kind)

    def _dated(self, moment: float, now: float) -> float:
        return moment

    def _remembers(self, kind: Kind, moment: int) -> bool:
        known = self._sender.length(kind) is not None
        return known and not self._script.lost(self.station, moment, moment + self._span(kind))

    def _set(self, cn: str, values: dict[str, str], now: float) -> None:
        super()._set(cn, values, now)
        if cn == "1012":
            self._sender.set_clock(now, self._offset)
        self._sender.lengths |= {Kind.RT: self.setup.interval, Kind.MINUTE: self.setup.minutes * 60}

    def _renew(self, frame: Frame) -> None:
        super()._renew(frame)
        self._sender.password, self._sender.key = self.setup.password, self.setup.key


class Live(Fleet):
    """All devices of the city and the stranger, going on from where the history or the last run stopped."""

    def __init__(self, folder: Path, known: list[Station], host: str, port: int) -> None:
        self._folder, self._remembered = folder, history.state(folder)
        self._until: float = self._remembered["until"]
        stranger = faults.unknown()
        everybody = [*(station for station in known if station.mn != stranger.mn), stranger]
        script, city = faults.Script(known, self._remembered["script_end"]), Behaviour(self._remembered["seed"])
        self.city = [CityLogger(Sender(city, script, station), script, clock.now()) for station in everybody]
        super().__init__(Options(host, port, speed=clock.speed()))

    def _made(self) -> list[Device]:
        return [Device(self, logger, Faults(), random.Random(logger.mn)) for logger in self.city]

    def now(self) -> float:
        return clock.now()

    def call(self, device: Device) -> None:
        """Connect it, unless the script has it off line: then later."""
        if self._silent(device):
            self.at(TICK, self.call, device)
        else:
            super().call(device)

    def _silent(self, device: Device) -> bool:
        return self._logger(device).silent(clock.now())

    @staticmethod
    def _logger(device: Device) -> CityLogger:
        assert isinstance(device.logger, CityLogger)
        return device.logger

    async def live(self, stop: asyncio.Event) -> None:
        """Until `stop`; what is still waiting then is sent at the next start."""
        task = asyncio.create_task(self.run(stop, lambda *_: None))
        try:
            while not stop.is_set():
                for device in self.devices:
                    if self._silent(device):
                        device.close()
                await self._advance(clock.now(), stop)
                self._remember()
                await _pause(TICK, stop)
        finally:
            self._remember()
            stop.set()
            await task

    async def _advance(self, now: float, stop: asyncio.Event) -> None:
        """Put everything that is due up to `now` in line; long arrears in portions, each sent before the next."""
        while self._until < now and not stop.is_set():
            until = min(now, self._until + PORTION)
            real_time = clock.speed() <= REAL_TIME_UP_TO and now - self._until < REAL_TIME_SECONDS
            for device in self.devices:
                self._logger(device).work_out(self._until, until, (*KINDS, Kind.RT) if real_time else KINDS)
                device.go_on()
                await asyncio.sleep(0)
            self._until = until
            while until < now and not stop.is_set() and any(logger.waiting for logger in self.city):
                await _pause(0.05, stop)

    def _remember(self) -> None:
        """Keep up to when everything is sent: the oldest that still waits, else the last moment worked out."""
        oldest = min(logger.oldest for logger in self.city)
        history.remember(self._folder, self._remembered | {"until": min(oldest, self._until)})


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def run(folder: Path, host: str, port: int) -> int:
    """Live until SIGTERM. What the time since the history has brought is sent first."""
    return asyncio.run(_live(folder, stations.load(), host, port))


async def _live(folder: Path, known: list[Station], host: str, port: int) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Live(folder, known, host, port).live(stop)
    return 0


def exceed(host: str, port: int, station: Station, now: float, multiple: float) -> str:
    """Send one exceedance of the last full hour from this outlet over TCP; returns frame and answer as text.

    Raises ValueError for an outlet without hourly limit, OSError when no answer comes.
    """
    moment = int(now // 3600 * 3600 - 3600)
    item = next((one for one in station.items if one.limits.get("hour")), None)
    if item is None:
        raise ValueError(f"{station.code} 没有小时许可限值")
    return asyncio.run(_exceed(host, port, _over(station, item.factor, moment, multiple)))


def _over(station: Station, factor: str, moment: int, multiple: float) -> bytes:
    row = {
        "name": "now", "kind": "exceed", "target": station.kind, "start": "end+0h", "hours": 1.0, "zh": "", "en": "",
        "factor": factor, "limit": "hour", "index": 0,
    }  # fmt: skip
    fault = faults.Fault(**row, params={"multiple": multiple})  # type: ignore[arg-type]
    sender = Sender(Behaviour(0), faults.Script([station], moment, [fault]), station)
    return next(one.payload for one in sender.arriving(moment + 3600, moment + 3700, (Kind.HOUR,)))


async def _exceed(host: str, port: int, frame: bytes) -> str:
    """The frame without its password, and the answer. Raises OSError when none comes in time."""
    async with asyncio.timeout(OVERTIME):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(frame)
            answer = await reader.readline()
        finally:
            writer.close()
    if decode(answer).cn != "9014":
        raise ConnectionError(f"{host}:{port} 没有应答")
    return without_secrets(f"{frame.decode().strip()}\n→ {answer.decode().strip()}")
