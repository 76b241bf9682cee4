"""Many simulated loggers on real TCP connections, in one process and one event loop.

A device waits for its answer, sends again after its time-out, gives the connection up after its last re-send and calls
again. No task per device: one heap of moments drives them all, so that ten thousand cost what they send.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from ceguan.intake.hj212.frame import Frame, of_chunk
from ceguan.intake.hj212.splitter import Splitter
from ceguan.simulate.hj212.faults import Faults, on_the_line
from ceguan.simulate.hj212.logger import Logger, Out, Setup
from ceguan.simulate.hj212.values import KINDS, Model, known_since

TICK = 0.02
MODELS = 64
"""So many different measurements at most: further devices measure what one of these does, under their own MN."""
CONNECTING = 200
"""Connections that are being made at the same time."""
REPORT_SECONDS = 5.0
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
PIECE_SECONDS = 0.03
HELD_SECONDS = 0.2
SAMPLES = 100_000


@dataclass(frozen=True, slots=True)
class Options:
    """What is simulated. `speed`: simulated seconds in a real one; `seconds`: how long, 0 until stopped."""

    host: str
    port: int
    devices: int = 1
    edition: int = 2017
    kind: str = "gas"
    interval: int = 60
    speed: float = 1.0
    faults: Faults = field(default_factory=Faults)
    seed: int = 7
    seconds: float = 0.0
    password: str = "123456"
    mn: str = ""
    key: bytes | None = field(default=None, repr=False)
    over_time: float = 10.0
    remembers_hours: float = 720.0


@dataclass(slots=True)
class Counts:
    """What has happened so far. `latencies` [s]: of the latest answers."""

    connected: int = 0
    calls: int = 0
    broken: int = 0
    sent: int = 0
    answered: int = 0
    again: int = 0
    given_up: int = 0
    bad: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def took(self, seconds: float) -> None:
        if len(self.latencies) >= SAMPLES:
            self.latencies.clear()
        self.latencies.append(seconds)


class Device(asyncio.Protocol):
    """One logger and its connection."""

    def __init__(self, fleet: Fleet, logger: Logger, faults: Faults, chance: random.Random) -> None:
        self.logger = logger
        self._fleet, self._faults, self._chance = fleet, faults, chance
        self._transport: asyncio.WriteTransport | None = None
        self._splitter = Splitter()
        self._on_the_way: Out | None = None
        self._sent_at = 0.0
        self._held = b""
        self._failures = 0

    @property
    def connected(self) -> bool:
        return self._transport is not None

    # ── the connection ────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._splitter, self._on_the_way, self._held = Splitter(), None, b""
        self._fleet.counts.connected += 1
        self.logger.connected(self._fleet.now())
        self.go_on()

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._fleet.counts.connected -= 1
            self._fleet.counts.broken += 1
        self._transport = self._on_the_way = None
        self.call_again()

    def call_again(self) -> None:
        pause = PAUSES[min(self._failures, len(PAUSES) - 1)] * self._chance.uniform(0.5, 1.0)
        self._failures += 1
        self._fleet.at(pause, self._fleet.call, self)

    def data_received(self, data: bytes) -> None:
        for chunk in self._splitter.feed(data):
            self._hear(of_chunk(chunk, self.logger.setup.key))
        self.go_on()

    def _hear(self, frame: Frame) -> None:
        fleet = self._fleet
        if not frame.ok:
            fleet.counts.bad += 1
        elif self.logger.heard(frame, fleet.now()):
            fleet.counts.answered += 1
            fleet.counts.took(fleet.loop.time() - self._sent_at)
            self._on_the_way, self._failures = None, 0
        elif frame.cn and frame.cn < "9000":
            fleet.counts.requests[frame.cn] += 1
            fleet.wake(self)

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────

    def go_on(self) -> None:
        """Send what is next unless an answer is awaited."""
        while self._transport is not None and not self._transport.is_closing():
            out = self.logger.next()
            if out is None or (out is self._on_the_way) or (out.qn and self._on_the_way):
                return
            self._send(out)

    def _send(self, out: Out) -> None:
        fleet = self._fleet
        sending = on_the_line(self.logger.raw(out), self._faults, self._chance)
        fleet.counts.sent += 1
        fleet.counts.again += out.sends > 0
        self.logger.sent(out)
        if out.qn:
            self._on_the_way, self._sent_at = out, fleet.loop.time()
            fleet.at(self.logger.setup.over_time, self._overdue, out, out.sends)
        if sending.held:
            self._held += sending.pieces[0]
            fleet.at(HELD_SECONDS, self._release)
            return
        for number, piece in enumerate(sending.pieces):
            if number:
                fleet.at(number * PIECE_SECONDS, self._write, piece)
            else:
                self._write(piece)
        if sending.broken and self._transport is not None:
            self._transport.close()

    def _write(self, piece: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._held + piece)
            self._held = b""

    def _release(self) -> None:
        if self._held:
            self._write(b"")

    def _overdue(self, out: Out, sends: int) -> None:
        """No answer in time: again, or the connection anew after the last re-send."""
        if self._on_the_way is not out or out.sends != sends or self._transport is None:
            return
        if out.sends > self.logger.setup.re_count:
            self._fleet.counts.given_up += 1
            self._transport.close()
        else:
            self._send(out)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Fleet:
    """All devices, their clock and the heap of what is to be done when."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.counts = Counts()
        self.loop = asyncio.get_running_loop()
        self._real = time.time()
        self._start = self._real - max(0.0, options.seconds * (options.speed - 1))
        self._heap: list[tuple[float, int, Callable[..., Any], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._calling = asyncio.Semaphore(CONNECTING)
        self._calls: set[asyncio.Task[None]] = set()
        self._stopped = False
        self.unreachable = ""
        self.devices = self._made()

    def now(self) -> float:
        """The simulated time [UTC epoch s]; it ends at the real one where `seconds` says how long."""
        return self._start + (time.time() - self._real) * self.options.speed

    def at(self, seconds: float, do: Callable[..., Any], *given: Any) -> None:
        """Do it after so many real seconds."""
        heapq.heappush(self._heap, (self.loop.time() + seconds, next(self._order), do, given))

    def wake(self, device: Device) -> None:
        """Let a device do what is due, and come back when something is again."""
        device.logger.tick(self.now())
        device.go_on()

    async def run(self, stop: threading.Event | asyncio.Event, report: Callable[[Fleet, float], None]) -> None:
        """Until `stop` or for as long as the options say; `report` hears every five seconds and at the end."""
        begin = reported = self.loop.time()
        for number, device in enumerate(self.devices):
            self.at(number * 0.001, self.call, device)
            self.at(0, self._turn, device)
        while not stop.is_set():
            at = self.loop.time()
            if self.options.seconds and at - begin >= self.options.seconds:
                break
            while self._heap and self._heap[0][0] <= at:
                _, _, do, given = heapq.heappop(self._heap)
                do(*given)
            if at - reported >= REPORT_SECONDS:
                report(self, at - reported)
                reported = at
            await asyncio.sleep(TICK)
        self._stopped = True
        report(self, self.loop.time() - reported)
        for device in self.devices:
            device.close()
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        await asyncio.sleep(0.05)  # lets what was written leave

    def call(self, device: Device) -> None:
        """Connect a device, with patience."""
        if not self._stopped:
            task = asyncio.ensure_future(self._call(device))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _call(self, device: Device) -> None:
        self.counts.calls += 1
        try:
            async with self._calling, asyncio.timeout(10):
                await self.loop.create_connection(lambda: device, self.options.host, self.options.port)
        except (OSError, TimeoutError) as error:
            self.unreachable = getattr(error, "strerror", None) or str(error) or "超时"
            device.call_again()

    def _turn(self, device: Device) -> None:
        self.wake(device)
        wait = (device.logger.due() - self.now()) / self.options.speed
        if wait != float("inf"):
            self.at(max(wait, TICK), self._turn, device)

    def _made(self) -> list[Device]:
        options = self.options
        since = known_since(self._start, options.remembers_hours)
        models: dict[tuple[int, tuple[str, ...]], Model] = {}
        devices = []
        for number in range(options.devices):
            chance = random.Random(f"{options.seed}:{number}")
            faults = options.faults.of_device(chance)
            key = number % MODELS, faults.values
            if key not in models:
                models[key] = Model(options.seed, key[0], options.kind, options.edition, faults.values, self._start)
            setup = Setup(options.password, options.over_time, interval=options.interval, key=options.key)
            mn = number_of(options, number)
            logger = Logger(models[key], mn, options.edition, setup, faults, chance, self._start, since)
            devices.append(Device(self, logger, faults, chance))
        return devices


def number_of(options: Options, number: int) -> str:
    """The MN of a device: 24 hexadecimal digits, in edition 2005 fourteen digits; `mn` counts up from the given one."""
    if options.mn:
        width = min(len(options.mn), 6)
        return options.mn if options.devices == 1 else f"{options.mn[:-width]}{number:0{width}d}"
    place = list(KINDS).index(options.kind) + 1
    if options.edition == 2005:
        return f"9900{place}{options.seed % 1000:03d}{number:06d}"
    return f"99AA{place:02X}{options.seed & 0xFFFFFFFF:08X}{number:010X}"


@dataclass(slots=True)
class Report:
    """Says every few seconds what happened since the last time."""

    write: Callable[[dict[str, Any]], None]
    sent: int = 0
    answered: int = 0
    cpu: float = field(default_factory=time.process_time)
    begin: float = field(default_factory=time.monotonic)

    def __call__(self, fleet: Fleet, seconds: float) -> None:
        counts, cpu = fleet.counts, time.process_time()
        took = np.array(counts.latencies or [np.nan]) * 1000
        p50, p99 = np.nanpercentile(took, (50, 99)) if counts.latencies else (None, None)
        self.write(
            {
                "seconds": round(time.monotonic() - self.begin, 1),
                "connections": counts.connected,
                "frames_per_second": round((counts.sent - self.sent) / max(seconds, 1e-9), 1),
                "answers_per_second": round((counts.answered - self.answered) / max(seconds, 1e-9), 1),
                "sent": counts.sent,
                "answered": counts.answered,
                "again": counts.again,
                "given_up": counts.given_up,
                "broken": counts.broken,
                "bad_answers": counts.bad,
                "waiting": sum(device.logger.waiting for device in fleet.devices),
                "answer_ms_p50": p50 if p50 is None else round(float(p50), 2),
                "answer_ms_p99": p99 if p99 is None else round(float(p99), 2),
                "cpu_share": round((cpu - self.cpu) / max(seconds, 1e-9), 3),
                "memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                "requests": dict(counts.requests),
            }
        )
        counts.latencies.clear()
        self.sent, self.answered, self.cpu = counts.sent, counts.answered, cpu


def run(options: Options, write: Callable[[dict[str, Any]], None], stop: threading.Event | None = None) -> str:
    """Simulate; `write` gets a report every five seconds and at the end. Returns "" or why no device ever connected.

    Ends by SIGINT, SIGTERM or `stop`, or when the time is over.
    """
    import uvloop

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each connection is a descriptor
    return uvloop.run(_run(options, write, stop or threading.Event()))


async def _run(options: Options, write: Callable[[dict[str, Any]], None], stop: threading.Event) -> str:
    fleet = Fleet(options)
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread
            fleet.loop.add_signal_handler(number, stop.set)
    await fleet.run(stop, Report(write))
    return "" if fleet.counts.sent else fleet.unreachable or "没有发出任何帧"
