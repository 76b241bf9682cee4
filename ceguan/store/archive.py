"""The frame archive: append-only segment files. What an acknowledgement stands on, and the evidence behind numbers.

Layout: `archive/<stream>/<segment>.seg`, one folder per stream (one writer each), beside `segments.jsonl` and `lock`.

    segment = file header (64 bytes: name of the format, stream, segment, SHA-256 of the segment before) + records
    record  = header (20 bytes, little endian) + source (UTF-8) + payload
              crc32 u32 over all that follows · mark 2 bytes · kind u8 · source length u8 · payload length u32 ·
              recv i64 µs

A segment is sealed when it is full: its SHA-256 becomes a line of `segments.jsonl` and part of the next file's header,
so nobody can alter a byte, or leave out a segment, without breaking every segment after it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import struct
import threading
import zlib
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ceguan.store.refusals import refusal
from ceguan.words import FrameRef

log = logging.getLogger(__name__)

FORMAT = b"CEGUAN-ARCHIVE-1"
MARK = b"\xc9\x5a"
FILE_HEADER = struct.Struct("<16sII8x32s")
RECORD_HEADER = struct.Struct("<I2sBBIq")
FIRST_OFFSET = FILE_HEADER.size
LARGEST_RECORD = 1 << 30
"""A FrameRef has 31 bits for the offset: no record may begin beyond 2 GiB."""
SEGMENT_BYTES = 64 << 20
CHUNK_BYTES = 4 << 20
NO_SEGMENT = bytes(32)


class ArchiveError(Exception):
    """The archive cannot do what was asked; the message says why, in words for the operator."""


class StreamTakenError(ArchiveError):
    """Another process writes this stream."""


class RecordNotFoundError(ArchiveError, LookupError):
    """No intact record lies at this reference."""


IMPORTED = "import:"
"""How the source of a record from a file begins; no peer's address begins so."""


class RecordKind(IntEnum):
    """What a record holds."""

    FRAME = 1  # a frame as it came over the wire
    BAD = 2  # bytes that are no frame (noise, wrong CRC, wrong length): kept all the same
    IMPORT = 3  # rows of an imported file
    DECISION = 4  # a reviewer's decision
    SENT = 5  # a frame that the platform sent of its own accord (a command)
    RELEASE = 6  # what a person decided about frames in quarantine


class Position(NamedTuple):
    """A place in a stream: the next record to read begins at `offset` of `segment` or in a later segment."""

    segment: int
    offset: int


START = Position(0, FIRST_OFFSET)


class Record(NamedTuple):
    ref: FrameRef
    kind: RecordKind
    recv: float  # UTC epoch seconds, to the microsecond
    source: str  # where it came from, e.g. "10.0.0.7:51234"
    payload: bytes

    @property
    def imported(self) -> bool:
        """Whether a person took it in from a file, so that its reception says nothing about a device or a line."""
        return self.source.startswith(IMPORTED)

    @property
    def after(self) -> Position:
        """The position behind this record: the checkpoint once it has been dealt with."""
        size = RECORD_HEADER.size + len(self.source.encode()) + len(self.payload)
        return Position(self.ref.segment, self.ref.offset + size)


class SealedSegment(NamedTuple):
    """One line of `segments.jsonl`."""

    segment: int
    bytes: int
    records: int
    first_recv: float | None
    last_recv: float | None
    sha256: str
    previous: str


class _Roll(NamedTuple):
    """Stands among the pending bytes where a segment ends: what its line in `segments.jsonl` will say."""

    bytes: int
    records: int
    first_recv: float | None
    last_recv: float | None


class ArchiveWriter:
    """Appends to one stream; holds an exclusive lock on the stream's folder until `close`.

    Opening repairs what a crash left: a torn tail is cut off (it was never synced), a segment that was never sealed is
    sealed. One thread appends; `sync` may run in another meanwhile and makes durable what had been appended when it
    began. A `sync` that fails leaves the writer unusable: nothing appended since the last `sync` may be acknowledged,
    and the stream has to be opened again.

    Raises StreamTakenError when another process writes the stream.
    """

    def __init__(self, folder: Path, stream: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        if not FIRST_OFFSET < segment_bytes <= LARGEST_RECORD:
            raise ValueError(f"segment_bytes {segment_bytes}: between {FIRST_OFFSET} and {LARGEST_RECORD}")
        if not 0 <= stream < 4096:
            raise ValueError(f"stream {stream}: a FrameRef has room for 0 to 4095")
        self.stream = stream
        self.folder = stream_folder(folder, stream)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._segment_bytes = segment_bytes
        self._lock = take_lock(self.folder, stream)
        self._file = -1
        self._failed = False
        self._pending: list[bytes | memoryview | _Roll] = []
        self._pending_bytes = 0
        self._end = self._written = self._durable = 0
        self._first_recv: float | None = None
        self._last_recv: float | None = None
        self._buffer, self._disk = threading.Lock(), threading.Lock()
        try:
            self._continue_stream()
        except BaseException:
            self._failed = True  # nothing was appended, nothing is to be synced
            self.close()
            raise

    # ── what is appended, in memory ───────────────────────────────────────────────────────────────────────────────

    def append(self, kind: RecordKind, recv: float, source: str, payload: bytes) -> FrameRef:
        """Buffer one record and say where it will lie. It is durable only after the next `sync`."""
        body = _body(kind, recv, source, payload)
        size = 4 + len(body)
        if size > LARGEST_RECORD:
            raise ValueError(f"a record of {size} bytes; at most {LARGEST_RECORD}")
        with self._buffer:
            self._check()
            if self._end + size > self._segment_bytes and self._end > FIRST_OFFSET:
                self._roll()
            ref = FrameRef(self.stream, self._segment, self._end)
            self._pending += (zlib.crc32(body).to_bytes(4, "little"), body)
            self._appended(size, 1, recv)
        self._relieve()
        return ref

    def append_many(self, recv: float, records: memoryview, ends: Sequence[int]) -> None:
        """Buffer records that are built already (`store.bulk.build`), all received at `recv`; `ends`: where each ends.

        The same as `append` one by one: durable after the next `sync`, in their order.
        """
        with self._buffer:
            self._check()
            done, start = 0, 0
            while done < len(ends):
                room = self._segment_bytes - self._end + start
                fit = bisect_right(ends, room, done)
                if fit == done and self._end > FIRST_OFFSET:
                    self._roll()
                    continue
                fit = max(fit, done + 1)  # one larger than a segment gets a segment of its own
                self._pending.append(records[start : ends[fit - 1]])
                self._appended(ends[fit - 1] - start, fit - done, recv)
                done, start = fit, ends[fit - 1]
        self._relieve()

    def _check(self) -> None:
        if self._failed or self._lock < 0:
            raise ArchiveError(f"归档流 {self.stream} 已关闭或写入失败,须重新打开")

    def _appended(self, size: int, records: int, recv: float) -> None:
        self._pending_bytes += size
        self._end += size
        self._records += records
        self._last_recv = recv
        if self._first_recv is None:
            self._first_recv = recv

    def _roll(self) -> None:
        """What follows goes to the next segment; `sync` seals this one when it comes to it."""
        self._pending.append(_Roll(self._end, self._records, self._first_recv, self._last_recv))
        self._begin_segment(self._segment + 1, FIRST_OFFSET)

    def _begin_segment(self, number: int, end: int) -> None:
        self._segment, self._end = number, end
        self._records = 0
        self._first_recv = self._last_recv = None

    def _relieve(self) -> None:
        """Memory stays bounded however slow the disk is: the one who appends waits for it."""
        if self._pending_bytes > CHUNK_BYTES:
            with self._disk:
                self._write()

    # ── what is on disk ───────────────────────────────────────────────────────────────────────────────────────────

    def sync(self) -> None:
        """One write and one fdatasync: everything appended so far is on disk. Raises ArchiveError when it is not."""
        with self._disk:
            self._check()
            self._write()
            if self._written == self._durable:
                return
            try:
                os.fdatasync(self._file)
            except OSError as error:
                self._fail(error)
            self._durable = self._written

    def close(self) -> None:
        """Sync what is pending, give the stream free. Safe to call twice."""
        try:
            if self._file >= 0 and not self._failed:
                self.sync()
        finally:
            for descriptor in (self._file, self._lock):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _continue_stream(self) -> None:
        """Bring the folder into order and stand behind its last intact record."""
        sealed = _read_sealed(self.folder, repair=True)
        self._previous = bytes.fromhex(sealed[-1].sha256) if sealed else NO_SEGMENT
        open_segments = [number for number in segments(self.folder) if not sealed or number > sealed[-1].segment]
        for number in open_segments:
            self._open_existing(number)
            if number == open_segments[-1] and self._intact and self._end < self._segment_bytes:
                return
            self._seal(_Roll(self._end, self._records, self._first_recv, self._last_recv))
        number = max((*(s.segment for s in sealed), *open_segments), default=-1) + 1
        self._open_new(number)
        self._begin_segment(number, FIRST_OFFSET)

    def _open_existing(self, number: int) -> None:
        """Open an unsealed segment; cut off a torn tail, but never anything with an intact record behind it."""
        path = segment_path(self.folder, number)
        data = path.read_bytes()
        found = _survey(data, self.stream, number)
        end, damaged = found.end, found.damaged
        self._file = os.open(path, os.O_RDWR)
        if damaged:
            log.error("归档 %s 偏移 %s 处有损坏,其后的记录已保留", path, damaged)
            end = len(data)
        elif end < len(data):
            log.warning("归档 %s 尾部有 %d 字节未写完(从未应答),已截去", path, len(data) - end)
            os.ftruncate(self._file, end)
        self._intact = end == len(data) and not damaged and end >= FIRST_OFFSET
        if end < FIRST_OFFSET:
            data, end = self._write_file_header(number), FIRST_OFFSET
        os.fsync(self._file)
        os.lseek(self._file, end, os.SEEK_SET)
        self._stand(number, data[:end])
        self._begin_segment(number, end)
        self._records, self._first_recv, self._last_recv = found.records, found.first_recv, found.last_recv

    def _open_new(self, number: int) -> None:
        path = segment_path(self.folder, number)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
        self._written = self._durable = 0
        header = self._write_file_header(number)
        os.fsync(self._file)
        sync_folder(self.folder)
        self._stand(number, header)

    def _write_file_header(self, number: int) -> bytes:
        header = FILE_HEADER.pack(FORMAT, self.stream, number, self._previous)
        if os.pwrite(self._file, header, 0) < len(header):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.lseek(self._file, len(header), os.SEEK_SET)
        return header

    def _stand(self, number: int, content: bytes) -> None:
        """The open file is that segment and holds `content`, all of it durable."""
        self._number = number
        self._written = self._durable = len(content)
        self._hash = hashlib.sha256(content)

    def _seal(self, ends: _Roll) -> None:
        """Close the segment for good: its hash goes to `segments.jsonl` and into the next segment's header."""
        digest = self._hash.digest()
        line = SealedSegment(
            segment=self._number,
            **ends._asdict(),
            sha256=digest.hex(),
            previous=self._previous.hex(),
        )
        os.close(self._file)
        self._file = -1
        with open(self.folder / "segments.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(line._asdict()) + "\n")
            out.flush()
            os.fsync(out.fileno())
        sync_folder(self.folder)
        self._previous = digest

    def _write(self) -> None:
        """Hand everything pending to the system; where a segment ends, seal it and open the next."""
        with self._buffer:
            pending, self._pending, self._pending_bytes = self._pending, [], 0
        pieces: list[bytes | memoryview] = []
        try:
            for piece in pending:
                if not isinstance(piece, _Roll):
                    pieces.append(piece)
                    continue
                self._write_bytes(b"".join(pieces))
                os.fdatasync(self._file)
                self._durable = self._written
                self._seal(piece)
                self._open_new(self._number + 1)
                pieces.clear()
            self._write_bytes(b"".join(pieces))
        except OSError as error:
            self._fail(error)

    def _write_bytes(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        self._hash.update(data)
        self._written += len(data)

    def _fail(self, error: OSError) -> None:
        """After a failed write or fdatasync nobody knows what is on disk: go back to what was durable and give up."""
        self._failed = True
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, self._durable)
        cause = refusal(error) or error.strerror
        raise ArchiveError(f"归档流 {self.stream} 写盘失败:{cause};上次同步之后的记录未保存") from error


def whole_record(record: Record) -> bytes:
    """The record's bytes as they lie in its segment."""
    body = _body(record.kind, record.recv, record.source, record.payload)
    return zlib.crc32(body).to_bytes(4, "little") + body


def _body(kind: RecordKind, recv: float, source: str, payload: bytes) -> bytes:
    """A record without its CRC."""
    origin = origin_bytes(source)
    return RECORD_HEADER.pack(0, MARK, kind, len(origin), len(payload), round(recv * 1e6))[4:] + origin + payload


@lru_cache(maxsize=1 << 16)
def origin_bytes(source: str) -> bytes:
    """The source as the record holds it: at most 255 bytes, no half character. A connection asks for the same again."""
    return source.encode()[:255].decode(errors="ignore").encode()


def read(folder: Path, start: dict[int, Position] | None = None) -> Iterator[Record]:
    """All records behind the positions, the streams in turns, each in order; ends when nothing more is there.

    A stream without a position is read from its beginning. Stops cleanly before a record that is not (or not yet)
    complete. What is handed out is on disk: a reader never knows more than the disk after a power cut. A damaged place
    with intact records behind it is skipped and logged.
    """
    readers = [read_stream(folder, stream, (start or {}).get(stream, START)) for stream in streams(folder)]
    while readers:
        alive = []
        for reader in readers:
            chunk = next(reader, None)
            if chunk is not None:
                yield from chunk
                alive.append(reader)
        readers = alive


_MN = re.compile(rb"MN=([^;&\r\n]*)")
_DAY = 86400.0


def received(folder: Path, start: float, end: float, mns: Container[bytes]) -> Iterator[Record]:
    """See `Store.received`. Sealed segments that ended before `start` are not opened.

    A clock may have been set back within a stream: it is read on for a day's worth beyond `end`.
    """
    for stream in streams(folder):
        over = [one.segment for one in sealed_segments(folder, stream) if (one.last_recv or 0) < start - _DAY]
        for chunk in read_stream(folder, stream, Position(max(over, default=-1) + 1, FIRST_OFFSET)):
            for record in chunk:
                found = _MN.search(record.payload) if start <= record.recv < end else None
                if found and found[1] in mns:
                    yield record
            if chunk and chunk[0].recv > end + _DAY:
                break


def fetch(folder: Path, ref: FrameRef) -> Record:
    """The one record at `ref`, its CRC checked. Raises RecordNotFoundError."""
    path = segment_path(stream_folder(folder, ref.stream), ref.segment)
    try:
        with open(path, "rb") as file:
            file.seek(ref.offset)
            head = file.read(RECORD_HEADER.size)
            size = sum(RECORD_HEADER.unpack(head)[3:5]) if len(head) == RECORD_HEADER.size else 0
            data = head + file.read(min(size, LARGEST_RECORD))
    except OSError as error:
        raise RecordNotFoundError(f"归档中没有 {ref}:{error.strerror}") from error
    records, _ = _parse(data, ref.offset, ref.stream, ref.segment)
    if not records:
        raise RecordNotFoundError(f"归档中 {ref} 处没有完整的记录")
    return records[0]


def streams(folder: Path) -> list[int]:
    """Numbers of the streams in this archive, ascending."""
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def segments(stream: Path) -> list[int]:
    """Numbers of the segments in a stream's folder, ascending."""
    return sorted(int(path.stem) for path in stream.glob("*.seg") if path.stem.isdecimal())


def end_of(stream: Path) -> Position:
    """Where the next record of a stream's folder, which somebody has opened to write, will lie at the earliest."""
    number = segments(stream)[-1]
    return Position(number, max(segment_path(stream, number).stat().st_size, FIRST_OFFSET))


def sealed_segments(folder: Path, stream: int, repair: bool = False) -> list[SealedSegment]:
    """The sealed segments of a stream, in order, with their chained hashes; `repair`: as its one writer.

    Raises ArchiveError where a line cannot be read.
    """
    return _read_sealed(stream_folder(folder, stream), repair)


def intact_end(path: Path, known: int) -> int:
    """Up to where a segment's records are whole, looked for from `known` (an end found before, or 0) on."""
    offset = max(known, FIRST_OFFSET)
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) < FIRST_OFFSET:
            return 0
        chunk = CHUNK_BYTES
        while data := os.pread(file.fileno(), chunk, offset):
            records, end = _parse(data, offset, 0, 0)
            if not records and len(data) < chunk:
                break
            chunk = chunk if records else 2 * chunk
            offset = end
    return offset


def backlog(folder: Path, positions: dict[int, Position]) -> int:
    """Bytes of the archive that lie behind the positions: how far the ledger is behind."""
    total = 0
    for stream in streams(folder):
        position = positions.get(stream, START)
        home = stream_folder(folder, stream)
        for number in segments(home):
            if number >= position.segment:
                begin = position.offset if number == position.segment else FIRST_OFFSET
                total += max(0, segment_path(home, number).stat().st_size - begin)
    return total


def next_free_stream(folder: Path, candidates: Iterable[int]) -> int:
    """The first stream nobody writes at this moment. Two processes may be told the same: see `open_free_stream`."""
    with open_free_stream(folder, candidates) as writer:
        return writer.stream


def open_free_stream(folder: Path, candidates: Iterable[int], segment_bytes: int = SEGMENT_BYTES) -> ArchiveWriter:
    """A writer on the first stream nobody else writes. Raises StreamTakenError when all are taken."""
    tried = []
    for stream in candidates:
        try:
            return ArchiveWriter(folder, stream, segment_bytes)
        except StreamTakenError:
            tried.append(stream)
    raise StreamTakenError(f"归档流 {tried} 均被其他进程占用")


def stream_folder(folder: Path, stream: int) -> Path:
    return folder / f"{stream:04d}"


def segment_path(stream: Path, number: int) -> Path:
    return stream / f"{number:07d}.seg"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a new or renamed file is lost by a power cut until this is done)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(folder: Path, stream: int) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "?"
        os.close(descriptor)
        raise StreamTakenError(f"归档流 {stream} 正由进程 {owner} 写入,不能再开第二个写入者({folder})") from error
    with suppress(OSError):  # who holds it is a courtesy: a full disk must not keep the lock from being taken
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _read_sealed(folder: Path, repair: bool = False) -> list[SealedSegment]:
    """Lines of `segments.jsonl`; with `repair` a last line that a crash left unfinished is cut off."""
    path = folder / "segments.jsonl"
    if not path.exists():
        return []
    if repair:
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    found = list[SealedSegment]()
    for line in whole_lines(path):
        try:
            found.append(SealedSegment(**json.loads(line)))
        except (ValueError, TypeError):
            where = f"{path} 第 {len(found) + 1} 行读不出"
            raise ArchiveError(f"{where}:先用 ceguan archive verify 查明,再从备份取回这个文件") from None
    return found


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file without their ends; none when it is not there. A last line that is unfinished is left out."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1].splitlines()


def read_stream(folder: Path, stream: int, position: Position) -> Iterator[list[Record]]:
    """The records of one stream behind a position, in runs; as `read` otherwise."""
    home = stream_folder(folder, stream)
    number, offset = position
    while True:
        present = segments(home)
        later = [other for other in present if other > number]
        if number in present:
            yield from _read_segment(segment_path(home, number), FrameRef(stream, number, offset), final=bool(later))
        if not later:
            return
        number, offset = later[0], FIRST_OFFSET


def _read_segment(path: Path, start: FrameRef, final: bool) -> Iterator[list[Record]]:
    """Records of one segment in chunks; `final` when the writer has left it: nothing in it is unfinished."""
    chunk, offset = CHUNK_BYTES, start.offset
    with open(path, "rb", buffering=0) as file:
        while data := os.pread(file.fileno(), chunk, offset):
            records, end = _parse(data, offset, start.stream, start.segment)
            if records:
                os.fdatasync(file.fileno())
                yield records
                offset, chunk = end, CHUNK_BYTES
            elif len(data) == chunk:
                chunk *= 2
            else:
                skipped = next_intact(data, 1)
                if skipped is None and not final:
                    return
                offset += skipped if skipped is not None else len(data)
                log.error("归档 %s 有损坏,已跳到偏移 %d", path, offset)


def _parse(data: bytes, base: int, stream: int, segment: int) -> tuple[list[Record], int]:
    """Records from the beginning of `data` up to the first that is not intact; and the offset behind them."""
    records: list[Record] = []
    unpack, crc32, header, size = RECORD_HEADER.unpack_from, zlib.crc32, RECORD_HEADER.size, len(data)
    make = Record._make  # quicker than calling Record by a quarter of a microsecond
    view = memoryview(data)
    at = 0
    while at + header <= size:
        crc, mark, kind, origin, length, micros = unpack(data, at)
        body = at + header + origin
        end = body + length
        if mark != MARK or end > size or crc32(view[at + 4 : end]) != crc:
            break
        source = data[at + header : body].decode()
        records.append(make((FrameRef(stream, segment, base + at), KINDS[kind], micros / 1e6, source, data[body:end])))
        at = end
    return records, base + at


KINDS = {int(kind): kind for kind in RecordKind}


class _Survey(NamedTuple):
    """What a segment holds: its intact records, the offset behind the last one, the damaged places before it."""

    records: int
    first_recv: float | None
    last_recv: float | None
    end: int
    damaged: list[int]


def _survey(data: bytes, stream: int, number: int) -> _Survey:
    """Look through a segment block by block: its records need not all be in memory at once."""
    if len(data) < FIRST_OFFSET:
        return _Survey(0, None, None, 0, [])
    times: list[float] = []
    count, end, block = 0, FIRST_OFFSET, CHUNK_BYTES
    damaged = [] if data.startswith(FORMAT) else [0]
    while end < len(data):
        records, after = _parse(data[end : end + block], end, stream, number)
        if records:
            count, end, block = count + len(records), after, CHUNK_BYTES
            times = [*times[:1], records[0].recv, records[-1].recv]
        elif end + block < len(data):
            block *= 2
        elif (skipped := next_intact(data[end:], 1)) is not None:
            damaged.append(end)
            end, block = end + skipped, CHUNK_BYTES
        else:
            break
    return _Survey(count, times[0] if times else None, times[-1] if times else None, end, damaged)


def next_intact(data: bytes, begin: int) -> int | None:
    """Offset of the first intact record at or after `begin`, or None."""
    at = data.find(MARK, begin + 4)
    while at >= 0:
        head = data[at - 4 : at - 4 + RECORD_HEADER.size]
        size = RECORD_HEADER.size + sum(RECORD_HEADER.unpack(head)[3:5]) if len(head) == RECORD_HEADER.size else 0
        if size and _parse(data[at - 4 : at - 4 + size], 0, 0, 0)[0]:
            return at - 4
        at = data.find(MARK, at + 1)
    return None
