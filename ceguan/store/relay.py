"""The archive of a gateway machine, byte for byte, by way of NATS JetStream to the machine of the store.

`relay` beside the gateway ships what is on its disk; `collect` beside the store writes the same bytes to the same
place of its own archive. So references, checksums and the chain of hashes stay what they were, and the clockwork reads
the replica as it reads any archive. An answer to a device never waits for any of this: it stands on the gateway's own
disk, and while NATS is away the relay is behind, nothing else.

    subject  ceguan.archive.<stream>      headers  Segment, Offset, Token, Kind (bytes | sealed)
    identity Nats-Msg-Id = token/stream/segment/offset: what is sent twice is kept once
    bucket   ceguan-archive: stream → how far the store has taken in and sealed; only behind it may a segment leave;
             beat.<token> → the heartbeat of a gateway machine, for the pages of the centre
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import nats
import orjson
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, KeyValueConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import (
    APIError,
    BadRequestError,
    BucketNotFoundError,
    KeyNotFoundError,
    NoKeysError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from ceguan import pulse
from ceguan.once import once
from ceguan.settings import Settings
from ceguan.store import archive, handed
from ceguan.store.archive import ArchiveError, Position
from ceguan.store.handed import TOKEN, Confirmed
from ceguan.store.refusals import refusal

log = logging.getLogger(__name__)

STREAM, SUBJECT, BUCKET, CONSUMER = "ceguan-archive", "ceguan.archive", "ceguan-archive", "collect"
PIECE = 512 << 10
"""Bytes of a message: below what a NATS server takes by default (1 MiB)."""
LOOK_SECONDS = 0.2
CONFIRM_SECONDS = 2.0
PAUSE_SECONDS = 1.0
BEAT_SECONDS = 2.0
BEATS = "beat."
FETCH = 64


TRANSIENT = (NatsError, APIError, OSError, TimeoutError)
_CONSUMING = ConsumerConfig(ack_wait=30, max_ack_pending=4 * FETCH)


class RelayError(Exception):
    """What arrives does not fit what is there; the message says where. It needs a person."""


class Piece(NamedTuple):
    """What one message carries: bytes of a segment from `offset` on, or its line of `segments.jsonl`."""

    stream: int
    segment: int
    offset: int
    sealed: bool
    data: bytes

    def headers(self, token: str) -> dict[str, str]:
        kind = "sealed" if self.sealed else "bytes"
        place = f"{self.segment}/{kind if self.sealed else self.offset}"
        return {
            "Nats-Msg-Id": f"{token}/{self.stream}/{place}", "Token": token, "Kind": kind,
            "Segment": str(self.segment), "Offset": str(self.offset),
        }  # fmt: skip

    @property
    def after(self) -> tuple[int, int, bool]:
        """(segment, offset, is it sealed) behind this piece."""
        return self.segment, self.offset + (0 if self.sealed else len(self.data)), self.sealed


async def connect(values: Settings, name: str) -> nats.NATS:
    """To any of the servers; comes back by itself. Raises OSError or NatsError when none can be reached now."""
    options: dict[str, Any] = {"user_credentials": values.nats_credentials} if values.nats_credentials else {}
    servers = [server.strip() for server in values.nats_url.split(",")]
    return await nats.connect(
        servers=servers, name=name, max_reconnect_attempts=-1, reconnect_time_wait=0.5, connect_timeout=5,
        error_cb=_noted, **options,
    )  # fmt: skip


async def _noted(error: Exception) -> None:
    log.warning("NATS：%s", error or type(error).__name__)


async def prepare(values: Settings, link: nats.NATS) -> tuple[JetStreamContext, KeyValue]:
    """Stream and bucket, made where they are not there yet: on disk, in as many copies as the setting says."""
    js = link.jetstream(timeout=10)
    config = StreamConfig(
        name=STREAM, subjects=[f"{SUBJECT}.*"], storage=StorageType.FILE, num_replicas=values.nats_replicas,
        retention=RetentionPolicy.LIMITS, max_age=values.nats_keep_days * 86400, duplicate_window=120,
    )  # fmt: skip
    try:
        await js.add_stream(config)
    except BadRequestError:  # it is there, perhaps with another configuration, which the operator chose
        await js.stream_info(STREAM)
    try:
        bucket = await js.key_value(BUCKET)
    except (BucketNotFoundError, NotFoundError):
        bucket = await js.create_key_value(KeyValueConfig(bucket=BUCKET, replicas=values.nats_replicas))
    return js, bucket


# ── beside the gateway ────────────────────────────────────────────────────────────────────────────────────────────


def token_of(folder: Path) -> str:
    """What tells this archive from another one that would use the same stream numbers; made once."""
    return once(folder / TOKEN, lambda: secrets.token_hex(8)).strip()


def next_piece(
    folder: Path, stream: int, place: tuple[int, int, bool], intact: dict[tuple[int, int], int]
) -> Piece | None:
    """What follows a place of a stream and is on disk for good; None when there is nothing yet.

    `intact`: up to where the records of an open segment are known to be whole; kept from call to call.
    """
    segment, offset, is_sealed = place
    home = archive.stream_folder(folder, stream)
    sealed = {one.segment: one for one in archive.sealed_segments(folder, stream)}
    present = [number for number in archive.segments(home) if number > segment or (number == segment and not is_sealed)]
    if not present:
        return None
    if present[0] != segment:
        segment, offset = present[0], 0
    path = archive.segment_path(home, segment)
    key = (stream, segment)
    end = sealed[segment].bytes if segment in sealed else intact.get(key, 0)
    if offset >= end and segment not in sealed:
        end = intact[key] = archive.intact_end(path, end)
    if offset < end:
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            return Piece(stream, segment, offset, False, os.pread(file.fileno(), min(PIECE, end - offset), offset))
    if segment in sealed:
        return Piece(stream, segment, offset, True, json.dumps(sealed[segment]._asdict()).encode())
    return None


class Relay:
    """Ships the streams of one archive in order. `shipped`: stream → place behind what JetStream has taken."""

    def __init__(self, folder: Path, js: JetStreamContext, bucket: KeyValue, keep_days: float = -1) -> None:
        self.folder, self._js, self._bucket, self._keep = folder, js, bucket, keep_days
        self.token = token_of(folder)
        self.shipped: dict[int, tuple[int, int, bool]] = {}
        self.bytes = 0
        self.acked: float | None = None  # when JetStream took the last message [UTC epoch s]
        self._unsure: set[int] = set()
        self._kept: set[Path] = set()  # segments that are not what was sealed
        self._intact: dict[tuple[int, int], int] = {}

    async def step(self) -> int:
        """Everything that is there to ship; returns how many messages that were."""
        count = 0
        for stream in archive.streams(self.folder):
            if stream not in self.shipped or stream in self._unsure:
                self.shipped[stream] = await self._place(stream)
                self._unsure.discard(stream)
            while piece := next_piece(self.folder, stream, self.shipped[stream], self._intact):
                try:
                    await self._js.publish(f"{SUBJECT}.{stream}", piece.data, headers=piece.headers(self.token))
                except BaseException:
                    self._unsure.add(stream)  # nobody knows whether it arrived: asked before the next
                    raise
                self.shipped[stream] = piece.after
                self.bytes += len(piece.data)
                self.acked = time.time()
                count += 1
        return count

    def backlog(self) -> int:
        """Bytes on disk that JetStream has not taken yet."""
        places = {stream: Position(segment, offset) for stream, (segment, offset, _) in self.shipped.items()}
        return archive.backlog(self.folder, places)

    async def _place(self, stream: int) -> tuple[int, int, bool]:
        """Behind the last message of this stream, else behind what the store has confirmed, else the beginning.

        Raises RelayError when another archive has sent under this number.
        """
        try:
            last = await self._js.get_last_msg(STREAM, f"{SUBJECT}.{stream}")
        except NotFoundError:
            confirmed = await self._confirmed(stream)
            return (confirmed.place.segment, 0, False) if confirmed else (0, 0, False)
        headers = last.headers or {}
        if headers.get("Token") != self.token:
            raise RelayError(f"归档流 {stream} 已由另一台网关使用：请改设置 gateway_stream_base")
        sealed = headers.get("Kind") == "sealed"
        return Piece(stream, int(headers["Segment"]), int(headers["Offset"]), sealed, last.data or b"").after

    async def _confirmed(self, stream: int) -> Confirmed | None:
        try:
            entry = await self._bucket.get(str(stream))
        except KeyNotFoundError:
            return None
        said = json.loads(entry.value or b"{}")
        return Confirmed(Position(said["segment"], said["offset"]), said.get("host", ""), said.get("at", 0.0))

    async def let_go(self, now: float) -> list[Path]:
        """Remove sealed segments that the end of the chain has confirmed and that are old enough, each on record
        (`handed.py`); returns them. One that is not what was sealed stays, and is named once in the log."""
        gone: list[Path] = []
        for stream in archive.streams(self.folder) if self._keep >= 0 else ():
            word = await self._confirmed(stream)
            for line in archive.sealed_segments(self.folder, stream) if word else ():
                path = archive.segment_path(archive.stream_folder(self.folder, stream), line.segment)
                old = line.last_recv is not None and now - line.last_recv >= self._keep * 86400
                if word and line.segment < word.place.segment and old and path.exists() and path not in self._kept:
                    gone += await asyncio.to_thread(self._hand_over, stream, line, word, path, now)
        return gone

    def _hand_over(
        self, stream: int, line: archive.SealedSegment, word: Confirmed, path: Path, now: float
    ) -> list[Path]:
        try:
            return [handed.let_go(self.folder, stream, line, word, self.token, now)]
        except ArchiveError as error:
            log.error("%s", error)
            self._kept.add(path)
            return []


# ── beside the store ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Replica:
    """One stream of the replica, locked against every other writer."""

    home: Path
    lock: int
    token: str
    sealed: set[int]
    dirty: dict[int, Path] = field(default_factory=dict)  # segments with bytes that are not synced


class Early(Exception):
    """What comes before it has not arrived yet: it will be delivered again."""


class Collector:
    """Writes what arrives to its place. Call `take` for each piece, `sync` before anything is acknowledged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._replicas: dict[int, _Replica] = {}

    def take(self, piece: Piece, token: str) -> None:
        """Put a piece to its place; what is there already must be the same.

        Raises Early for a piece after a gap, RelayError for one that contradicts what is there.
        """
        replica = self._replica(piece.stream, token)
        path = archive.segment_path(replica.home, piece.segment)
        size = path.stat().st_size if path.exists() else 0
        if piece.offset > size:
            raise Early
        if piece.sealed:
            self._seal(replica, piece, path)
        else:
            self._write(replica, piece, path, size)

    def _write(self, replica: _Replica, piece: Piece, path: Path, size: int) -> None:
        known = size - piece.offset
        with open(path, "r+b" if path.exists() else "xb") as file:
            if known and os.pread(file.fileno(), min(known, len(piece.data)), piece.offset) != piece.data[:known]:
                raise RelayError(f"归档流 {piece.stream} 段 {piece.segment} 偏移 {piece.offset}：与已收到的字节不同")
            if known < len(piece.data) and os.pwrite(file.fileno(), piece.data[known:], size) < len(piece.data) - known:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))  # the rest of it comes again
        replica.dirty[piece.segment] = path

    def _seal(self, replica: _Replica, piece: Piece, path: Path) -> None:
        if piece.segment in replica.sealed:
            return
        line = archive.SealedSegment(**json.loads(piece.data))
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != line.sha256:
            raise RelayError(f"归档流 {piece.stream} 段 {piece.segment}：收到的字节与封存的哈希不符")
        self.sync()
        archive.sealed_segments(self.folder, piece.stream, repair=True)  # a full disk may have cut the last line short
        with open(replica.home / "segments.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(line._asdict()) + "\n")
            out.flush()
            os.fsync(out.fileno())
        replica.sealed.add(piece.segment)

    def sync(self) -> None:
        """All that was taken is on disk."""
        for replica in self._replicas.values():
            for path in replica.dirty.values():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
            if replica.dirty:
                archive.sync_folder(replica.home)
            replica.dirty.clear()

    def confirmed(self, positions: dict[int, Position]) -> dict[int, Position]:
        """Per stream what may leave the gateways: everything before a segment that the ledger stands in, if sealed."""
        found = {}
        for stream, replica in self._replicas.items():
            place = positions.get(stream)
            if place is not None:
                unsealed = min((n for n in archive.segments(replica.home) if n not in replica.sealed), default=place[0])
                found[stream] = place if place.segment <= unsealed else Position(unsealed, 0)
        return found

    def close(self) -> None:
        self.sync()
        for replica in self._replicas.values():
            os.close(replica.lock)
        self._replicas.clear()

    def _replica(self, stream: int, token: str) -> _Replica:
        if stream not in self._replicas:
            home = archive.stream_folder(self.folder, stream)
            home.mkdir(parents=True, exist_ok=True)
            lock = archive.take_lock(home, stream)
            path = home / TOKEN
            if not path.exists() and archive.segments(home):
                os.close(lock)
                raise RelayError(f"归档流 {stream} 是本机自己的：请改网关的设置 gateway_stream_base")
            try:
                known = once(path, lambda: token).strip()
                sealed = {line.segment for line in archive.sealed_segments(self.folder, stream, repair=True)}
            except OSError:
                os.close(lock)
                raise
            self._replicas[stream] = _Replica(home, lock, known, sealed)
        replica = self._replicas[stream]
        if replica.token != token:
            raise RelayError(f"归档流 {stream} 有两台网关在用：请改其中一台的设置 gateway_stream_base")
        return replica


# ── the two processes ─────────────────────────────────────────────────────────────────────────────────────────────


class Linked(NamedTuple):
    link: nats.NATS
    js: JetStreamContext
    bucket: KeyValue


async def relay(values: Settings, stop: asyncio.Event) -> None:
    """Ship until told to stop; what cannot be shipped now is shipped later. Raises RelayError."""
    folder = values.folder / "archive"
    folder.mkdir(parents=True, exist_ok=True)
    heart = _Heart(values, pulse.RELAY)
    linked = await _linked(values, "ceguan-relay", heart, stop)
    if linked is None:
        return
    worker, looked = Relay(folder, linked.js, linked.bucket, values.relay_keep_days), 0.0
    try:
        while not stop.is_set():
            try:
                shipped = await worker.step()
                if time.monotonic() - looked > CONFIRM_SECONDS:
                    looked = time.monotonic()
                    for path in await worker.let_go(time.time()):
                        log.info("归档段 %s 已由中心确认，本机删除", path.name)
                if heart.due:
                    await linked.bucket.put(
                        BEATS + worker.token, orjson.dumps(heart.beat(_relay_state(values, worker)))
                    )
                await _wait(stop, 0 if shipped else LOOK_SECONDS)
            except TRANSIENT as error:
                cause = refusal(error) or str(error) or type(error).__name__
                log.warning("转送暂停：%s", cause)
                heart.beat(_relay_state(values, worker), cause)
                await _wait(stop, PAUSE_SECONDS)
    finally:
        heart.end()
        await _leave(linked.link)


def _relay_state(values: Settings, worker: Relay) -> dict[str, Any]:
    gateway = pulse.pulse(values.folder / pulse.GATEWAY, time.time())
    return {
        "host": socket.gethostname(), "streams": sorted(worker.shipped), "backlog_bytes": worker.backlog(),
        "sent_bytes": worker.bytes, "acked": worker.acked, "gateway": gateway.state,
        **{name: gateway.said.get(name, 0) for name in ("connections", "frames_per_second")},
    }  # fmt: skip


class _Heart:
    """The heartbeat of one of the two processes."""

    def __init__(self, values: Settings, name: str) -> None:
        self._path, self._started, self._at = values.folder / name, time.time(), -BEAT_SECONDS
        self._state: dict[str, Any] = {}

    @property
    def due(self) -> bool:
        return time.monotonic() - self._at >= BEAT_SECONDS

    def beat(self, state: dict[str, Any], problem: str = "", running: bool = True) -> dict[str, Any]:
        self._at = time.monotonic()
        own = {"pid": os.getpid(), "started": self._started, "real": time.time(), "running": running}
        self._state = state | own | {"problem": problem}
        pulse.write_heartbeat(self._path, self._state)
        return self._state

    def end(self) -> None:
        self.beat(self._state, self._state.get("problem", ""), running=False)


async def collect(values: Settings, stop: asyncio.Event, positions: Callable[[], dict[int, Position]]) -> None:
    """Write what arrives until told to stop. `positions`: how far the ledger has taken in. Raises RelayError."""
    collector = Collector(values.folder / "archive")
    heart = _Heart(values, pulse.COLLECT)
    linked = await _linked(values, "ceguan-collect", heart, stop)
    try:
        teller = _Teller(collector, linked, positions) if linked else None
        while linked and teller and not stop.is_set():
            try:
                inbox = await linked.js.pull_subscribe(f"{SUBJECT}.*", CONSUMER, stream=STREAM, config=_CONSUMING)
                while not stop.is_set():
                    teller.count(await _take_in(collector, inbox))
                    await teller.tell()
                    if heart.due:
                        heart.beat(await teller.state())
            except Exception as error:
                refused = refusal(error)
                if refused is None and not isinstance(error, TRANSIENT):
                    raise
                cause = refused or str(error) or type(error).__name__
                log.warning("收集暂停：%s", cause)
                heart.beat(teller.said, cause)
                await _wait(stop, PAUSE_SECONDS)
    finally:
        heart.end()
        collector.close()
        if linked:
            await _leave(linked.link)


class _Teller:
    """Tells the relays, every few seconds, how far the store has come; and our pages how the relays are."""

    def __init__(self, collector: Collector, linked: Linked, positions: Callable[[], dict[int, Position]]) -> None:
        self._collector, self._js, self._bucket, self._positions = collector, linked.js, linked.bucket, positions
        self._told_at, self._told = 0.0, dict[int, Position]()
        self._looked_at = -pulse.LOOK_AROUND_SECONDS
        self.said: dict[str, Any] = {"bytes": 0, "acked": None, "waiting": None, "relays": []}

    def count(self, taken: int) -> None:
        """Bytes that were just acknowledged."""
        if taken:
            self.said |= {"bytes": self.said["bytes"] + taken, "acked": time.time()}

    async def state(self) -> dict[str, Any]:
        """What the heartbeat says: messages that wait in NATS, the heartbeats of the gateway machines."""
        info = await self._js.consumer_info(STREAM, CONSUMER)
        self.said["waiting"] = (info.num_pending or 0) + (info.num_ack_pending or 0)
        if time.monotonic() - self._looked_at >= pulse.LOOK_AROUND_SECONDS:
            self._looked_at = time.monotonic()
            self.said["relays"] = [beat async for beat in self._beats()]
        return self.said

    async def _beats(self) -> AsyncIterator[dict[str, Any]]:
        with contextlib.suppress(NoKeysError):
            for key in sorted(key for key in await self._bucket.keys() if key.startswith(BEATS)):
                yield orjson.loads((await self._bucket.get(key)).value or b"{}")

    async def tell(self) -> None:
        if time.monotonic() - self._told_at < CONFIRM_SECONDS:
            return
        self._told_at = time.monotonic()
        confirmed = self._collector.confirmed(await asyncio.to_thread(self._positions))
        for stream, place in confirmed.items():
            if self._told.get(stream) != place:
                word = place._asdict() | {"host": socket.gethostname(), "at": time.time()}
                await self._bucket.put(str(stream), json.dumps(word).encode())
                self._told[stream] = place


async def _take_in(collector: Collector, inbox: Any) -> int:
    """One fetch: written, synced, acknowledged; returns its bytes. What came too early, and all when the disk refuses,
    is asked for again."""
    try:
        messages = await inbox.fetch(FETCH, timeout=1)
    except TimeoutError:
        return 0
    try:
        good, early = _written(collector, messages)
        await asyncio.to_thread(collector.sync)
    except OSError:
        for message in messages:
            await message.nak(delay=PAUSE_SECONDS)
        raise
    for message in good:
        await message.ack()
    for message in early:
        await message.nak(delay=PAUSE_SECONDS)
    return sum(len(message.data) for message in good)


def _written(collector: Collector, messages: list[Any]) -> tuple[list[Any], list[Any]]:
    """Those whose piece is at its place, and those that came too early."""
    good, early = [], []
    for message in messages:
        headers = message.headers
        stream = int(message.subject.rpartition(".")[2])
        place = int(headers["Segment"]), int(headers["Offset"]), headers["Kind"] == "sealed"
        try:
            collector.take(Piece(stream, *place, message.data), headers["Token"])
        except Early:
            early.append(message)
        else:
            good.append(message)
    return good, early


async def _linked(values: Settings, name: str, heart: _Heart, stop: asyncio.Event) -> Linked | None:
    """A prepared connection; waits for servers that are not there yet. None when told to stop before."""
    while not stop.is_set():
        link = None
        try:
            link = await _unless_told(stop, connect(values, name))
            if link is None:
                return None
            return Linked(link, *await prepare(values, link))
        except (NatsError, APIError, OSError, TimeoutError) as error:
            log.warning("NATS 连接不上，稍后再试：%s", error or type(error).__name__)
            heart.beat({}, f"NATS 连接不上：{error or type(error).__name__}")
            if link is not None:
                await _leave(link)
            await _wait(stop, PAUSE_SECONDS)
    return None


async def _unless_told(stop: asyncio.Event, work: Coroutine[Any, Any, nats.NATS]) -> nats.NATS | None:
    """What the work gives; None when told to stop before (the driver's own waiting for a server has no end)."""
    working, told = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if working.done():
        return working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return None


async def _leave(link: nats.NATS) -> None:
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        await asyncio.wait_for(link.close(), 5)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
