"""The HJ 212 gateway: a frame is answered only when it is on disk.

One process, one event loop. What arrives in one turn of the loop is appended to the archive, made durable by one
write and one fdatasync, and only then answered (group commit). Nothing is decoded beyond the head: the clockwork does
that later, from the archive. Bytes that are no good frame are kept too, as BAD records.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Protocol, cast

from ceguan import clock
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import quick_head
from ceguan.intake.hj212.splitter import Chunk, Splitter
from ceguan.settings import Settings
from ceguan.store import ArchiveError, ArchiveWriter, RecordKind, StreamTakenError
from ceguan.words import FrameRef

log = logging.getLogger(__name__)

HEARTBEAT = "gateway.json"
QUIET_SECONDS = 0.5
"""A frame that only lacks its line end is complete once the line has been quiet this long."""
NOISE_RECORDS_PER_MINUTE = 20
"""Runs of noise kept per connection and minute; more are only counted."""
UNSENT_BYTES = 256 << 10
"""A peer that does not read its answers is cut off at this backlog."""
BACKLOG = 4096
REOPEN_SECONDS = 2.0
REGISTER_SECONDS = 3.0


class Writer(Protocol):
    """What the gateway needs of an archive stream."""

    def append(self, kind: RecordKind, recv: float, source: str, payload: bytes) -> FrameRef: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class Gateway:
    """All connections of one process and the archive stream they write to."""

    def __init__(self, values: Settings, stream: int = 0, writer: Writer | None = None) -> None:
        self.values = values
        self.writer: Writer | None = writer or ArchiveWriter(values.folder / "archive", stream)
        self.connections: set[Connection] = set()
        self.counts = dict.fromkeys(
            ("frames", "bad", "answers", "commits", "refused", "noise_uncounted", "turned_away"), 0
        )
        self.known: frozenset[str] = frozenset()
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._answers: list[tuple[Connection, bytes]] = []
        self._commit_due = False
        self._delay = values.gateway_commit_ms / 1000
        self._started = time.time()
        self._problem = ""
        self._stopped = False
        self._rate = (time.monotonic(), 0)

    # ── the way of a frame ────────────────────────────────────────────────────────────────────────────────────────

    def keep(self, kind: RecordKind, recv: float, source: str, payload: bytes) -> bool:
        """Append one record; the commit that makes it durable follows. False when nothing can be written now."""
        if self.writer is None:
            return False
        try:
            self.writer.append(kind, recv, source, payload)
        except (ArchiveError, OSError) as error:  # OSError: a full disk when the next segment is opened
            self._lost_writer(error)
            return False
        if not self._commit_due:
            self._commit_due = True
            self._loop.call_later(self._delay, self._commit)
        return True

    def answer(self, connection: Connection, data: bytes) -> None:
        """Send after the next commit."""
        self._answers.append((connection, data))

    def _commit(self) -> None:
        self._commit_due = False
        if self.writer is None:
            return
        try:
            self.writer.sync()
        except (ArchiveError, OSError) as error:
            self._lost_writer(error)
            return
        answers, self._answers = self._answers, []
        self.counts["commits"] += 1
        self.counts["answers"] += len(answers)
        for connection, data in answers:
            connection.send(data)

    def _lost_writer(self, error: Exception) -> None:
        """Nothing that was not durable is answered; reading stops until the archive can be written again."""
        log.error("归档写入失败，暂停接收，未落盘的帧不应答：%s", error)
        self._problem = str(error)
        self._answers.clear()
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
            self.writer = ArchiveWriter(self.values.folder / "archive", self._stream)
        except (OSError, ArchiveError) as error:
            self._problem = str(error)
            self._loop.call_later(REOPEN_SECONDS, self._reopen)
            return
        log.warning("归档恢复可写，继续接收")
        self._problem = ""
        for connection in self.connections:
            connection.resume()

    # ── what repeats ──────────────────────────────────────────────────────────────────────────────────────────────

    async def sweep(self) -> None:
        """Settle quiet lines, close dead ones, beat the heart, look at the register; until cancelled."""
        refreshed = -REGISTER_SECONDS
        while True:
            at = time.monotonic()
            for connection in list(self.connections):
                connection.look(at, self.values.gateway_idle_seconds)
            if self.refuses and at - refreshed >= REGISTER_SECONDS:
                refreshed, self.known = at, adopted(self.values.folder / "business.db")
            self._beat(at)
            await asyncio.sleep(QUIET_SECONDS)

    @property
    def refuses(self) -> bool:
        return bool(self.values.unknown_devices == "refuse")

    def _beat(self, at: float) -> None:
        before, frames = self._rate
        if at - before < 1 and self.counts["commits"]:
            return
        rate = (self.counts["frames"] - frames) / max(at - before, 1e-9)
        self._rate = (at, self.counts["frames"])
        state = {
            "pid": os.getpid(), "started": self._started, "real": time.time(), "at": clock.now(), "running": True,
            "connections": len(self.connections), "frames_per_second": round(rate, 1), "problem": self._problem,
            "descriptors": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "stream": self._stream, **self.counts,
        }  # fmt: skip
        _replace(self.values.folder / HEARTBEAT, state)

    def stop(self) -> None:
        """Commit and answer what has been received, then close everything."""
        for connection in list(self.connections):
            connection.finish()
        self._commit()
        self._stopped = True
        for connection in list(self.connections):
            connection.close()
        self._let_go()


class Connection(asyncio.Protocol):
    """One device, or whoever has called."""

    transport: asyncio.Transport

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._splitter = Splitter(gateway.values.gateway_max_frame)
        self._source = ""
        self._heard = time.monotonic()
        self._fruitless = 0  # bytes since the last frame
        self._noise_minute, self._noise_records = 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is none by inheritance
        peer = transport.get_extra_info("peername") or ("?", 0)
        self._source = f"{peer[0]}:{peer[1]}"
        if len(self._gateway.connections) >= self._gateway.values.gateway_max_connections:
            self._gateway.counts["turned_away"] += 1
            self.transport.abort()
            return
        self.transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self._gateway.connections.add(self)
        if self._gateway.writer is None:
            self.pause()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._gateway.connections:
            self._gateway.connections.discard(self)
            self._take(self._splitter.close())

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        self._fruitless += len(data)
        self._take(self._splitter.feed(data))
        if self._fruitless > 4 * self._gateway.values.gateway_max_frame:
            log.warning("%s 发来 %d 字节而无一帧，断开", self._source, self._fruitless)
            self.close()

    def pause_writing(self) -> None:
        """The peer does not read what it asked for."""
        log.warning("%s 不读应答，断开", self._source)
        self.transport.abort()

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def look(self, at: float, idle_seconds: float) -> None:
        """Called every half second: give out a frame that waits for its line end only; end a dead connection."""
        quiet = at - self._heard
        if self._splitter.pending and quiet >= QUIET_SECONDS:
            self._take(self._splitter.settle())
        if quiet > idle_seconds:
            self.close()

    def finish(self) -> None:
        """Take what is complete although its line end has not come."""
        self._take(self._splitter.settle())

    def pause(self) -> None:
        self.transport.pause_reading()

    def resume(self) -> None:
        self.transport.resume_reading()

    def close(self) -> None:
        self.transport.close()

    def _take(self, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        recv = clock.now()
        for chunk in chunks:
            if chunk.frame:
                self._frame(chunk, recv)
            else:
                self._noise(chunk, recv)

    def _frame(self, chunk: Chunk, recv: float) -> None:
        gateway = self._gateway
        head = quick_head(chunk.data, chunk.dialect)
        if not head.ok:
            gateway.counts["bad"] += 1
            gateway.keep(RecordKind.BAD, recv, self._source, chunk.data)
            return
        if gateway.refuses and head.mn not in gateway.known:
            gateway.counts["refused"] += 1
            gateway.keep(RecordKind.BAD, recv, self._source, chunk.data)
            self.close()
            return
        self._fruitless = 0
        gateway.counts["frames"] += 1
        if gateway.keep(RecordKind.FRAME, recv, self._source, chunk.data) and (reply := answer_to(head)):
            gateway.answer(self, reply)

    def _noise(self, chunk: Chunk, recv: float) -> None:
        minute = int(recv // 60)
        if minute != self._noise_minute:
            self._noise_minute, self._noise_records = minute, 0
        self._noise_records += 1
        if self._noise_records > NOISE_RECORDS_PER_MINUTE:
            self._gateway.counts["noise_uncounted"] += 1
            return
        self._gateway.counts["bad"] += 1
        self._gateway.keep(RecordKind.BAD, recv, self._source, chunk.data)


def adopted(database: Path) -> frozenset[str]:
    """The MNs of adopted devices, read from the business database; empty when it cannot be read."""
    try:
        connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1)
        try:
            return frozenset(
                mn for (mn,) in connection.execute("SELECT mn FROM registry_device WHERE retired_on IS NULL")
            )
        finally:
            connection.close()
    except sqlite3.Error as error:
        log.warning("读不到已接入设备的名单：%s", error)
        return frozenset()


def serve(values: Settings, host: str, port: int, stream: int = 0) -> int:
    """Run until SIGTERM or SIGINT. 0 after a clean stop, 2 when the port or the archive stream is taken."""
    import uvloop

    raise_descriptor_limit()
    try:
        return uvloop.run(_serve(values, host, port, stream))
    except StreamTakenError as error:
        print(error, file=sys.stderr)
        return 2


async def _serve(values: Settings, host: str, port: int, stream: int) -> int:
    gateway = Gateway(values, stream)
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: Connection(gateway), host, port, backlog=BACKLOG)
    except OSError as error:
        print(
            f"网关端口 {host}:{port} 不能用（{error.strerror}）；换一个：--port 或 CEGUAN_GATEWAY_PORT", file=sys.stderr
        )
        gateway.stop()
        return 2
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    print(f"HJ 212 网关监听 {host}:{port}，文件描述符上限 {descriptors}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sweep = asyncio.create_task(gateway.sweep())
    await stop.wait()
    server.close()
    sweep.cancel()
    gateway.stop()
    await asyncio.sleep(0.1)  # lets the last answers leave
    _replace(values.folder / HEARTBEAT, {"running": False, "real": time.time(), **gateway.counts})
    return 0


def raise_descriptor_limit() -> int:
    """Each connection is a descriptor: take all the system allows. Returns the limit in force."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _replace(path: Path, state: dict) -> None:
    scratch = path.with_suffix(".json.new")
    try:
        scratch.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        scratch.replace(path)
    except OSError as error:  # a full disk must not stop the gateway from taking in what still fits
        log.warning("心跳文件写不了：%s", error)
