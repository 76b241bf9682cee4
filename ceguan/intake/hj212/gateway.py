"""The HJ 212 gateway: a frame is answered only when it is on disk.

One process, one event loop, one thread for the disk. What all connections have sent within a few milliseconds is one
group: scanned in one pass, appended to the archive, made durable by one write and one fdatasync, and only then
answered. While the disk works the loop collects the next group. Nothing is decoded beyond the head: the clockwork does
that later, from the archive. Bytes that are no good frame are kept too, as BAD records.

A frame goes the quick way when nothing about it is unusual (`Gateway._take_usual`), else by way of its connection's
`Splitter`. Both ways give the same records and answers, and what a connection sent stays in its order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ceguan import clock
from ceguan.intake.hj212 import crc, scan
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import EDITIONS, quick_head
from ceguan.intake.hj212.host import Host
from ceguan.intake.hj212.metrics import Tally
from ceguan.intake.hj212.sockets import BACKLOG, PortTakenError, listen, raise_descriptor_limit
from ceguan.intake.hj212.splitter import Chunk, Splitter
from ceguan.pulse import GATEWAY, write_heartbeat
from ceguan.settings import Settings
from ceguan.store import ArchiveError, ArchiveWriter, RecordKind, StreamTakenError
from ceguan.store.archive import origin_bytes
from ceguan.store.bulk import build
from ceguan.store.refusals import refusal
from ceguan.words import FrameRef

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.5
"""A frame that only lacks its line end is complete once the line has been quiet this long."""
LINGER_SECONDS = 0.5
"""How long a connection that we end is still read from, so that the last answers are not lost by a reset."""
IDLE_LOOK_SECONDS = 5.0
GROUP_BYTES = 4 << 20
"""A group that has grown to this is taken in at once: memory stays bounded."""
MOST_MNS = 256
"""Devices remembered per connection; the frames of more are taken in all the same."""
SPARE_DESCRIPTORS = 64
"""Kept free for segments, the database and the log when connections are many."""
REOPEN_SECONDS = 2.0
REGISTER_SECONDS = 10.0
"""How long callers wait in the queue for the register and the keys when the database is slow to come."""

_UPLOAD = ord("2")
"""CN 2xxx are uploads; what begins otherwise may be part of a conversation (HJ 212-2017 表9)."""


class Writer(Protocol):
    """What the gateway needs of an archive stream."""

    stream: int

    def append(self, kind: RecordKind, recv: float, source: str, payload: bytes) -> FrameRef: ...
    def append_many(self, recv: float, records: memoryview, ends: Sequence[int]) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class Peer(Protocol):
    """Where an answer goes."""

    def send(self, data: bytes) -> None: ...


class Gateway:
    """All connections of one process and the archive stream they write to."""

    def __init__(self, values: Settings, stream: int = 0, writer: Writer | None = None) -> None:
        self.values = values
        self.writer: Writer | None = writer or ArchiveWriter(values.folder / "archive", stream)
        self.stream = self.writer.stream
        self.connections: set[Connection] = set()
        self.unsettled: set[Connection] = set()
        self.devices: dict[bytes, dict[Connection, None]] = {}
        self.addresses: Counter[str] = Counter()
        self.tally = Tally()
        self.host = Host(self)
        self.known: frozenset[str] = frozenset()
        self.registered = asyncio.Event()
        """The register has been read: `known` are the MNs of adopted devices. Before, nobody is refused."""
        self.informed = asyncio.Event()
        """Register and keys have been read, or there is no database: nothing is left to wait for."""
        self.draining = False
        self.refuses = values.unknown_devices == "refuse"
        self.most_connections = min(
            values.gateway_max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS
        )
        self._loop = asyncio.get_running_loop()
        self._disk = ThreadPoolExecutor(1, "disk")
        self._arrived: dict[Connection, bytes] = {}
        self._arrived_bytes = 0
        self._after: list[Callable[[], None]] = []  # once the commit is done
        self._answers: list[tuple[Peer, bytes]] = []
        self._answered = 0
        self._kept = self._turn_due = self._commit_due = self._stopped = False
        self._syncing: asyncio.Future[float] | None = None
        self._delay = values.gateway_commit_ms / 1000
        self._started = time.time()
        self._problem = ""
        self._rate = (time.monotonic(), 0, 0.0)
        scan.warm()
        nothing = np.empty(0, np.int64)
        build(RecordKind.FRAME, 0, b"", nothing, nothing, ())

    # ── the way of a frame ────────────────────────────────────────────────────────────────────────────────────────

    def take(self, connection: Connection, data: bytes) -> None:
        """What has arrived belongs to the group that is being collected."""
        before = self._arrived.get(connection)
        self._arrived[connection] = whole = data if before is None else before + data
        self._arrived_bytes += len(data)
        if len(whole) > self.values.gateway_turn_bytes:
            connection.pause()
            self._after.append(connection.resume)
        if self._arrived_bytes > GROUP_BYTES:
            self._take_in()
        self._turn_soon()

    def ended(self, connection: Connection) -> None:
        """The peer sends no more but may still read: close when it has had its answers."""
        self._after.append(connection.transport.close)
        self._turn_soon()

    def closing(self, connection: Connection) -> None:
        """The connection is lost; what it had sent before is taken all the same."""
        data = self._arrived.pop(connection, b"")
        self._arrived_bytes -= len(data)
        connection.last_words(data, clock.now())

    def _turn_soon(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_later(self._delay, self._turn)

    def _turn(self) -> None:
        self._turn_due = False
        self._take_in()
        self._commit()

    def _take_in(self) -> None:
        """Scan and append the group; without an archive to write to it waits."""
        if self.writer is None or not self._arrived:
            return
        arrived, self._arrived, self._arrived_bytes = self._arrived, {}, 0
        recv = clock.now()
        quick = [connection for connection in arrived if connection.usual]
        rests = self._take_usual(quick, [arrived[connection] for connection in quick], recv)
        for connection, data in arrived.items():
            rest = rests.get(connection, data) if rests else data
            if rest:
                connection.split(rest, recv)

    def _take_usual(self, quick: list[Connection], pieces: list[bytes], recv: float) -> dict[Connection, bytes]:
        """Take the usual frames at the beginning of each piece; what is left of each piece."""
        buffer = b"".join(pieces)
        ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
        if not pieces:
            return {}
        found = scan.scan(buffer, ends, self.values.gateway_max_frame)
        rows, stops = self._plain(quick, buffer, found.heads, found.rests)
        if len(rows):
            self._keep_many(quick, buffer, rows, recv)
        left = dict.fromkeys(quick, b"")
        for place in np.flatnonzero(stops < ends).tolist():
            left[quick[place]] = buffer[stops[place] : ends[place]]
        return left

    def _plain(
        self, quick: list[Connection], buffer: bytes, heads: NDArray[Any], stops: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The uploads of devices that these connections have brought before; and where each piece now stops."""
        plain = heads["usual"] == 1
        plain &= np.frombuffer(buffer, np.uint8)[np.where(plain, heads["cn"][:, 0], 0)] == _UPLOAD
        places = zip(heads["piece"].tolist(), *heads["mn"].T.tolist(), strict=True)
        plain &= np.fromiter((buffer[a:b] in quick[piece].mns for piece, a, b in places), np.bool_, len(heads))
        if plain.all():
            return heads, stops
        stops = stops.copy()
        np.minimum.at(stops, heads["piece"][~plain], heads["start"][~plain])
        return heads[heads["start"] < stops[heads["piece"]]], stops

    def _keep_many(self, quick: list[Connection], buffer: bytes, rows: NDArray[Any], recv: float) -> None:
        assert self.writer is not None
        pieces = rows["piece"]
        starts, ends = rows["start"].astype(np.int64), rows["end"].astype(np.int64)
        origins = [quick[piece].origin for piece in pieces.tolist()]
        self.tally.usual(rows, crc.DIALECTS, EDITIONS)
        try:
            self.writer.append_many(recv, *build(RecordKind.FRAME, recv, buffer, starts, ends, origins))
        except (ArchiveError, OSError) as error:
            self._lost_writer(error)
            return
        self._kept = True
        replies, limits = scan.answers(buffer, rows)
        last = np.flatnonzero(np.diff(pieces, append=-1))
        begin = 0
        for piece, limit in zip(pieces[last].tolist(), limits[last].tolist(), strict=True):
            quick[piece].fruitless = 0
            if limit > begin:
                self._answers.append((quick[piece], bytes(replies[begin:limit])))
            begin = limit
        self._answered += int(np.count_nonzero(rows["answer"]))

    def keep(self, kind: RecordKind, recv: float, source: str, payload: bytes) -> FrameRef | None:
        """Append one record; the commit that makes it durable follows. None when nothing can be written now."""
        if self.writer is None:
            return None
        try:
            ref = self.writer.append(kind, recv, source, payload)
        except (ArchiveError, OSError) as error:
            self._lost_writer(error)
            return None
        self._kept = True
        self._turn_soon()
        return ref

    def answer(self, connection: Peer, data: bytes) -> None:
        """Send after the next commit."""
        self._answered += 1
        self._answers.append((connection, data))

    # ── the group commit ──────────────────────────────────────────────────────────────────────────────────────────

    def _commit(self) -> None:
        """Begin to make durable what is appended, unless the disk is at it: then again when it has done."""
        if self.writer is None or not (self._kept or self._answers or self._after):
            return
        if self._syncing is not None:
            self._commit_due = True
            return
        group = (self.writer, self._answers, self._answered, self._after)
        self._answers, self._answered, self._after = [], 0, []
        self._kept = self._commit_due = False
        self._syncing = self._loop.run_in_executor(self._disk, _timed, self.writer.sync)
        self._syncing.add_done_callback(partial(self._committed, *group))

    def _committed(
        self,
        writer: Writer,
        answers: list[tuple[Peer, bytes]],
        answered: int,
        after: list[Callable[[], None]],
        done: asyncio.Future[float],
    ) -> None:
        self._syncing = None
        error = done.exception()
        if writer is self.writer and error is not None:
            self._lost_writer(error)
        elif writer is self.writer:
            self.tally.committed(done.result(), answered)
            for connection, data in answers:
                connection.send(data)
        if self.writer is None:
            self._after += after
            return
        for call in after:
            call()
        if self._commit_due:
            self._commit()

    async def commit(self) -> None:
        """Take in what has arrived and return when it is durable and answered, or cannot be."""
        self._take_in()
        self._commit()
        while self._syncing is not None:
            await asyncio.wait([self._syncing])
            await asyncio.sleep(0)

    def _lost_writer(self, error: BaseException) -> None:
        """Nothing that was not durable is answered; reading stops until the archive can be written again."""
        log.error("归档写入失败，暂停接收，未落盘的帧不应答：%s", error)
        self._problem = str(error)
        self._answers.clear()
        self._answered = 0
        self._let_go()
        for connection in self.connections:
            connection.pause()
        self._loop.call_later(REOPEN_SECONDS, self._reopen)

    def _let_go(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            with contextlib.suppress(ArchiveError, OSError):  # what could not be written was not answered either
                writer.close()

    def _reopen(self) -> None:
        if self._stopped:
            return
        try:
            self.writer = ArchiveWriter(self.values.folder / "archive", self.stream)
        except (OSError, ArchiveError) as error:
            self._problem = refusal(error) or str(error)
            self._loop.call_later(REOPEN_SECONDS, self._reopen)
            return
        log.warning("归档恢复可写，继续接收")
        self._problem = ""
        for connection in self.connections:
            connection.resume()
        self._turn()

    # ── who is connected ──────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, connection: Connection) -> str:
        """Why this connection is turned away; empty when it is welcome."""
        most = self.values.gateway_address_connections
        if self.draining:
            return "draining"
        if len(self.connections) >= self.most_connections:
            return "connections"
        return "address" if most and self.addresses[connection.host] >= most else ""

    def register(self, connection: Connection, mn: bytes) -> None:
        """This connection speaks for the device; of too many connections the oldest is closed."""
        theirs = self.devices.setdefault(mn, {})
        theirs[connection] = None
        connection.mns[mn] = None
        self.host.registered(mn)
        if len(connection.mns) > MOST_MNS:
            self.forget(connection, next(iter(connection.mns)))
        most = self.values.gateway_device_connections
        if most and len(theirs) > most:
            oldest = next(iter(theirs))
            log.warning("设备 %s 的连接超过 %d 条，关闭最早的 %s", mn.decode(errors="replace"), most, oldest.source)
            self.forget(oldest, mn)
            oldest.end("device")

    def forget(self, connection: Connection, mn: bytes) -> None:
        connection.mns.pop(mn, None)
        theirs = self.devices.get(mn, {})
        theirs.pop(connection, None)
        if not theirs:
            self.devices.pop(mn, None)
        self.host.forgotten(connection, mn)

    def newest(self, mn: str) -> Connection | None:
        """The connection on which the device was first heard last; None when it has none here."""
        return next(reversed(self.devices.get(mn.encode(), {})), None)

    # ── what repeats ──────────────────────────────────────────────────────────────────────────────────────────────

    async def sweep(self, beat: Callable[[dict[str, Any]], None]) -> None:
        """Settle quiet lines, close dead ones, beat the heart; until cancelled."""
        looked = -np.inf
        every = min(IDLE_LOOK_SECONDS, self.values.gateway_idle_seconds / 2)
        while True:
            at = self._loop.time()
            for connection in list(self.unsettled):
                connection.look(at)
            if at - looked >= every:
                looked = at
                for connection in list(self.connections):
                    if at - connection.heard > self.values.gateway_idle_seconds:
                        connection.end("idle")
            beat(self.state())
            await asyncio.sleep(QUIET_SECONDS)

    def hear_register(self, known: frozenset[str]) -> None:
        """Take over the MNs of adopted devices; one that is not among them is looked at anew with its next frame."""
        self.known = known
        self.registered.set()
        self.informed.set()
        if not self.refuses:
            return
        for mn in [mn for mn in self.devices if mn.decode(errors="replace") not in known]:
            for connection in list(self.devices[mn]):
                self.forget(connection, mn)

    def state(self) -> dict[str, Any]:
        """What the heartbeat says of this process."""
        at, before, rate = time.monotonic(), *self._rate[1:]
        if at - self._rate[0] >= 1 or not before:
            rate = (self.tally.frames - before) / max(at - self._rate[0], 1e-9)
            self._rate = (at, self.tally.frames, rate)
        return {
            "pid": os.getpid(), "started": self._started, "real": time.time(), "at": clock.now(), "running": True,
            "connections": len(self.connections), "devices": len(self.devices), "problem": self._problem,
            "frames_per_second": round(rate, 1), "waiting_bytes": self._arrived_bytes,
            "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "stream": self.stream,
            "draining": self.draining, "writable": int(self.writer is not None), **self.tally.state(),
        }  # fmt: skip

    async def drain(self) -> None:
        """Let each frame that has begun come to its end, for a bounded time; commit and answer; close everything.

        A connection is ended where nothing of it is open: its last answer is sent, then the end of the stream. What
        still comes from it is kept though no longer answered: the device sends it again, elsewhere.
        """
        self.draining = True
        end = self._loop.time() + float(self.values.gateway_drain_seconds)
        while self.connections and self._loop.time() < end and self.writer is not None:
            open_ = [c for c in self.connections if not c.leaving]
            await self.commit()
            for connection in open_:
                if connection.splitter.begun is None and connection not in self._arrived:
                    connection.leave()
            if all(connection.leaving for connection in self.connections):
                break
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.finish()
        await self.commit()
        for connection in list(self.connections):
            connection.leave()
        end = self._loop.time() + LINGER_SECONDS
        while self.connections and self._loop.time() < end:
            await asyncio.sleep(0.02)
        for connection in list(self.connections):
            connection.transport.close()
        await asyncio.sleep(0)
        await self.commit()
        self._stopped = True
        self._let_go()
        self._disk.shutdown()


class Connection(asyncio.Protocol):
    """One device, or whoever has called."""

    transport: asyncio.Transport

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.splitter = Splitter(gateway.values.gateway_max_frame)
        self.mns: dict[bytes, None] = {}
        self.listened = False
        """Somebody waits for what comes here (a conversation): every frame goes the slow way."""
        self.fruitless = 0  # bytes since the last frame
        self.heard = gateway._loop.time()
        self.leaving = False
        self._begun: int | None = None
        self._begun_at = 0.0
        self._noise_minute, self._noise_records = 0, 0

    @property
    def usual(self) -> bool:
        """Nothing is held back from before and nobody listens."""
        return not (self.splitter.pending or self.listened)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none by inheritance
        peer = transport.get_extra_info("peername") or ("?", 0)
        self.host, self.source = str(peer[0]), f"{peer[0]}:{peer[1]}"
        self.origin = origin_bytes(self.source)
        gateway = self._gateway
        if cause := gateway.admit(self):
            gateway.tally.turned_away[cause] += 1
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=gateway.values.gateway_unsent_bytes)
        gateway.connections.add(self)
        gateway.addresses[self.host] += 1
        if gateway.writer is None:
            self.pause()

    def connection_lost(self, exc: Exception | None) -> None:
        gateway = self._gateway
        if self not in gateway.connections:
            return
        gateway.connections.discard(self)
        gateway.unsettled.discard(self)
        gateway.addresses[self.host] -= 1
        if not gateway.addresses[self.host]:
            del gateway.addresses[self.host]
        gateway.closing(self)  # its last words may be the end of an exchange
        for mn in list(self.mns):
            gateway.forget(self, mn)

    def data_received(self, data: bytes) -> None:
        gateway = self._gateway
        self.heard = gateway._loop.time()
        gateway.tally.bytes += len(data)
        gateway.take(self, data)

    def eof_received(self) -> bool:
        self._gateway.ended(self)
        return True

    def pause_writing(self) -> None:
        """The peer does not read what it asked for."""
        log.warning("%s 不读应答，断开", self.source)
        self._gateway.tally.closed["unread"] += 1
        self.transport.abort()

    def send(self, data: bytes) -> None:
        if self.leaving or self.transport.is_closing():
            self._gateway.tally.unsent += 1
        else:
            self.transport.write(data)

    def split(self, data: bytes, recv: float) -> None:
        """The way of whatever is unusual."""
        self.fruitless += len(data)
        self._give(self.splitter.feed(data), recv)
        self._watch()
        if self.fruitless > self._gateway.values.gateway_fruitless_bytes:
            log.warning("%s 发来 %d 字节而无一好帧，断开", self.source, self.fruitless)
            self.end("fruitless")

    def look(self, at: float) -> None:
        """Called every half second while something is held back: give out a frame that waits for its line end only;
        end a connection whose frame does not get on."""
        if at - self.heard >= QUIET_SECONDS:
            self._give(self.splitter.settle(), clock.now())
            self._watch()
        if self._begun is not None and at - self._begun_at > self._gateway.values.gateway_frame_seconds:
            log.warning("%s 的一帧开始后 %d 秒仍未收完，断开", self.source, at - self._begun_at)
            self.end("unfinished")

    def finish(self) -> None:
        """Take what is complete although its line end has not come."""
        self._give(self.splitter.settle(), clock.now())

    def last_words(self, data: bytes, recv: float) -> None:
        """The connection is lost: take what it had sent before, and what was held back."""
        self._give(self.splitter.feed(data), recv)
        self._give(self.splitter.close(), recv)

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def leave(self) -> None:
        """No more answers; the peer reads the end of the stream behind the last one."""
        if not self.leaving and not self.transport.is_closing():
            self.leaving = True
            self.transport.write_eof()

    def end(self, cause: str) -> None:
        """Close, for a cause that is counted."""
        if not self.transport.is_closing():
            self._gateway.tally.closed[cause] += 1
            self.transport.close()

    def _watch(self) -> None:
        """Remember since when a frame has been begun, and whether anything is held back."""
        unsettled = self._gateway.unsettled
        (unsettled.add if self.splitter.pending else unsettled.discard)(self)
        if self.splitter.begun != self._begun:
            self._begun, self._begun_at = self.splitter.begun, self.heard

    def _give(self, chunks: list[Chunk], recv: float) -> None:
        for chunk in chunks:
            if chunk.frame:
                self._frame(chunk, recv)
            else:
                self._noise(chunk, recv)

    def _frame(self, chunk: Chunk, recv: float) -> None:
        gateway = self._gateway
        head = quick_head(chunk.data, chunk.dialect, gateway.host.keys)
        if not head.ok:
            gateway.tally.bad[head.error or ""] += 1
            gateway.keep(RecordKind.BAD, recv, self.source, chunk.data)
            return
        mn = (head.mn or "").encode()
        if gateway.refuses and gateway.registered.is_set() and head.mn not in gateway.known:
            gateway.tally.refused += 1
            gateway.keep(RecordKind.BAD, recv, self.source, chunk.data)
            self.end("refused")
            return
        if mn not in self.mns and self in gateway.connections:
            gateway.register(self, mn)
        self.fruitless = 0
        gateway.tally.frame(head)
        ref = gateway.keep(RecordKind.FRAME, recv, self.source, chunk.data)
        if ref is None:
            return
        if reply := answer_to(head):
            gateway.answer(self, reply)
        gateway.host.heard(self, head, ref, chunk.data)

    def _noise(self, chunk: Chunk, recv: float) -> None:
        gateway = self._gateway
        minute = int(recv // 60)
        if minute != self._noise_minute:
            self._noise_minute, self._noise_records = minute, 0
        self._noise_records += 1
        if self._noise_records > gateway.values.gateway_noise_per_minute:
            gateway.tally.noise_uncounted += 1
            return
        gateway.tally.bad["noise"] += 1
        gateway.keep(RecordKind.BAD, recv, self.source, chunk.data)


def _timed(call: Callable[[], None]) -> float:
    """Seconds it took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def serve(values: Settings, host: str, port: int, stream: int = 0) -> int:
    """One process until SIGTERM or SIGINT. 0 after a clean stop, 2 when the port or the archive stream is taken."""
    import uvloop

    raise_descriptor_limit()
    try:
        listener = listen(host, port)
        with listener:
            writer = ArchiveWriter(values.folder / "archive", stream)
            print(f"HJ 212 网关监听 {host}:{listener.getsockname()[1]}", flush=True)
            return uvloop.run(accept(values, writer, listener, partial(write_heartbeat, values.folder / GATEWAY)))
    except (StreamTakenError, PortTakenError) as error:
        print(error, file=sys.stderr)
        return 2


async def _first(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    """Wait until one of the two has come, at most so long."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def accept(
    values: Settings,
    writer: Writer,
    listener: socket.socket,
    beat: Callable[[dict[str, Any]], None],
    parent: socket.socket | None = None,
) -> int:
    """Take connections until SIGTERM, SIGINT or the end of the parent, then drain.

    Callers wait in the queue until the register and the keys are read: no frame of a known device meets a gateway that
    cannot open it yet.

    `beat` is told the state twice a second, and at the end; `parent`: readable only when the parent is gone.
    """
    gateway = Gateway(values, writer=writer)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if parent is not None:
        loop.add_reader(parent, stop.set)
    gateway.host.start()
    await _first(stop, gateway.informed, REGISTER_SECONDS)
    server = await loop.create_server(lambda: Connection(gateway), sock=listener, backlog=BACKLOG)
    repeated = [asyncio.create_task(gateway.sweep(beat)), asyncio.create_task(gateway.host.tick())]
    await stop.wait()
    if parent is not None:
        loop.remove_reader(parent)
    server.close()
    await gateway.drain()
    for task in repeated:
        task.cancel()
    gateway.host.stop()
    beat(gateway.state() | {"running": False})
    return 0
