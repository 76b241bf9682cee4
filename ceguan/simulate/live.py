"""The devices of the city, alive: one TCP connection each to the real gateway, answers awaited, re-sent without one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

from ceguan import clock
from ceguan.intake.hj212.frame import decode
from ceguan.intake.hj212.splitter import Splitter
from ceguan.simulate import faults, history, stations
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.sending import Sender
from ceguan.simulate.stations import Station
from ceguan.words import Kind

OVERTIME, RECOUNT = 10.0, 3
"""HJ 212-2017 table 1: seconds to wait for an answer, how often to send again."""
TICK = 2.0
KINDS = (Kind.HOUR, Kind.DAY, Kind.MINUTE)
REAL_TIME_UP_TO = 10.0
"""Above this speed no real-time frames are sent: minutes and hours say it all."""
REMEMBER_SECONDS = 5.0


class Link:
    """One device's connection; its frames go out in order, each after the answer to the one before."""

    def __init__(self, station: Station, host: str, port: int) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._station, self._host, self._port = station, host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._splitter = Splitter()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._deliver(await self.queue.get())
            self.queue.task_done()

    async def _deliver(self, frame: bytes) -> None:
        """Send until answered; a frame the device itself spoilt is sent once and not waited for."""
        sent = decode(frame)
        while True:
            for _ in range(1 + RECOUNT):
                try:
                    await self._connect()
                    await self._write(frame)
                    if not sent.ok or await self._answered(sent.qn):
                        return
                except OSError:
                    await self._drop()
                    await asyncio.sleep(1)
            await self._drop()

    async def _connect(self) -> None:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
            self._splitter = Splitter()

    async def _write(self, frame: bytes) -> None:
        assert self._streams is not None
        self._streams[1].write(frame)
        await self._streams[1].drain()

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
                    if any(qn in (answer.qn, answer.cp.get("QN")) for answer in answers):
                        return True
        return False

    async def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def run(folder: Path, host: str, port: int) -> int:
    """Live until SIGTERM. What the time since the history has brought is sent first."""
    return asyncio.run(_live(folder, host, port))


async def _live(folder: Path, host: str, port: int) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    known = await asyncio.to_thread(stations.load)
    remembered = history.state(folder)
    script = faults.Script(known, remembered["script_end"])
    city = Behaviour(remembered["seed"])
    everybody = [*known, faults.unknown()]
    senders = [Sender(city, script, station) for station in everybody]
    links = [Link(station, host, port) for station in everybody]
    tasks = [asyncio.create_task(link.run()) for link in links]
    until = remembered["until"]
    while not stop.is_set():
        now = clock.now()
        kinds = (*KINDS, Kind.RT) if clock.speed() <= REAL_TIME_UP_TO and now - until < 600 else KINDS
        for sender, link in zip(senders, links, strict=True):
            for one in sender.arriving(until, now, kinds):
                link.queue.put_nowait(one.payload)
            await asyncio.sleep(0)
        until = now
        if all(link.queue.empty() for link in links):
            history.remember(folder, remembered | {"until": until})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), TICK)
    for task in tasks:
        task.cancel()
    return 0


def exceed(host: str, port: int, station: Station, now: float, multiple: float) -> str:
    """Send one exceedance of the last full hour from this outlet over TCP; returns what the platform answered."""
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
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(frame)
    answer = await asyncio.wait_for(reader.read(65536), OVERTIME)
    writer.close()
    return f"{frame.decode().strip()}\n→ {answer.decode().strip()}"
