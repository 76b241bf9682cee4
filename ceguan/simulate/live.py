"""The devices of the city, alive: one TCP connection each to the real gateway, answers awaited, re-sent without one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from pathlib import Path

from ceguan import clock
from ceguan.intake.hj212.frame import decode, quick_head, without_secrets
from ceguan.intake.hj212.splitter import Splitter
from ceguan.simulate import faults, history, stations
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.sending import Sender, Sent
from ceguan.simulate.stations import Station
from ceguan.words import Kind

OVERTIME, RECOUNT = 10.0, 3
"""HJ 212-2017 table 1: seconds to wait for an answer, how often to send again."""
TICK = 2.0
KINDS = (Kind.HOUR, Kind.DAY, Kind.MINUTE)
REAL_TIME_UP_TO = 10.0
"""Above this speed no real-time frames are sent: minutes and hours say it all."""
REAL_TIME_SECONDS = 600
PORTION = 6 * 3600
"""Platform seconds worked out at once while catching up."""
LONGEST_PAUSE = 30.0


class Link:
    """One device's connection; its frames go out in order, each after the answer to the one before."""

    def __init__(self, station: Station, host: str, port: int) -> None:
        self.waiting: deque[Sent] = deque()
        self.sent = self.answered = 0
        self._more = asyncio.Event()
        self._station, self._host, self._port = station, host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._splitter = Splitter()

    def put(self, one: Sent) -> None:
        self.waiting.append(one)
        self._more.set()

    async def run(self) -> None:
        """Until cancelled. A frame leaves the line only when it is dealt with, so nothing is forgotten on the way."""
        try:
            while True:
                await self._more.wait()
                while self.waiting:
                    await self._deliver(self.waiting[0])
                    self.waiting.popleft()
                self._more.clear()
        finally:
            self._drop()

    async def _deliver(self, one: Sent) -> None:
        """Send until answered; a frame that the line spoils is sent once and not waited for."""
        qn, pause = quick_head(one.payload).qn, 1.0
        while True:
            try:
                await self._connect()
                for _ in range(1 + RECOUNT):
                    await self._write(one.payload)
                    if one.spoilt or await self._answered(qn):
                        return
            except OSError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            self._drop()

    async def _connect(self) -> None:
        if self._streams is None:
            async with asyncio.timeout(OVERTIME):
                self._streams = await asyncio.open_connection(self._host, self._port)
            self._splitter = Splitter()

    async def _write(self, frame: bytes) -> None:
        assert self._streams is not None
        self._streams[1].write(frame)
        await self._streams[1].drain()
        self.sent += 1

    async def _answered(self, qn: str | None) -> bool:
        """Whether the answer to this frame comes in time; answers to earlier ones are passed over."""
        assert self._streams is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OVERTIME):
                while True:
                    data = await self._streams[0].read(65536)
                    if not data:
                        raise ConnectionError("closed by the platform")
                    answers = [decode(chunk.data) for chunk in self._splitter.feed(data)]
                    if any(answer.ok and qn in (answer.qn, answer.cp.get("QN")) for answer in answers):
                        self.answered += 1
                        return True
        return False

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Live:
    """All devices of the city and the stranger, going on from where the history or the last run stopped."""

    def __init__(self, folder: Path, known: list[Station], host: str, port: int) -> None:
        self._folder, self._remembered = folder, history.state(folder)
        script, city = faults.Script(known, self._remembered["script_end"]), Behaviour(self._remembered["seed"])
        stranger = faults.unknown()
        everybody = [*(station for station in known if station.mn != stranger.mn), stranger]
        self.devices = [(Sender(city, script, station), Link(station, host, port)) for station in everybody]
        self._until: float = self._remembered["until"]

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what is still waiting then is sent at the next start."""
        tasks = [asyncio.create_task(link.run()) for _, link in self.devices]
        try:
            while not stop.is_set():
                await self._advance(clock.now(), stop)
                self._remember()
                await _pause(TICK, stop)
        finally:
            self._remember()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _advance(self, now: float, stop: asyncio.Event) -> None:
        """Put everything that is due up to `now` in line; long arrears in portions, each sent before the next."""
        while self._until < now and not stop.is_set():
            until = min(now, self._until + PORTION)
            real_time = clock.speed() <= REAL_TIME_UP_TO and now - self._until < REAL_TIME_SECONDS
            for sender, link in self.devices:
                for one in sender.arriving(self._until, until, (*KINDS, Kind.RT) if real_time else KINDS):
                    link.put(one)
                await asyncio.sleep(0)
            self._until = until
            while until < now and not stop.is_set() and any(link.waiting for _, link in self.devices):
                await _pause(0.05, stop)

    def _remember(self) -> None:
        """Keep up to when everything is sent: the oldest that still waits, else the last moment worked out."""
        waiting = (link.waiting[0].recv for _, link in self.devices if link.waiting)
        history.remember(self._folder, self._remembered | {"until": min(waiting, default=self._until)})


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
    await Live(folder, known, host, port).run(stop)
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
