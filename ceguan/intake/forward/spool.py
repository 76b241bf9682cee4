"""The archive as the spool of one target: which messages it should get next, and durably how far it has come.

`Feed` is a function of the archive and a checkpoint: started again from the checkpoint it gives the same messages with
the same QN. `Book` keeps the checkpoint and what was forwarded of late, one small SQLite file per target, one commit
(one fsync) per batch of acknowledgements.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import sqlite3
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from ceguan.intake.forward import translate
from ceguan.intake.forward.translate import Untranslatable, Wish
from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import Frame, decode
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.readings import parse_time, write_time
from ceguan.store import Position, Record, RecordKind, archive
from ceguan.words import FrameRef

SETTLE = 0.3
"""Seconds for which a record waits for an earlier one of a stream that is just being written."""
PARTS_SECONDS = 600.0
"""A message whose other parts have not come by then is forwarded as far as it came."""
KEPT_DAYS = {"2011": 2}
KEPT_DAYS_ELSE = 40
"""How long it is remembered what was forwarded: what a device sends again later than that is forwarded again."""
PRUNE_EACH = 3600.0
MOST_POSTPONED = 2000
"""Frames of a target that wait for a key or for their dialect to be confirmed; of more the oldest are given up."""
RETRY_EACH = 3.0
DECODED = 4096
_SCHEMA = """
CREATE TABLE IF NOT EXISTS position (stream INTEGER PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (frame INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS postponed (frame INTEGER PRIMARY KEY, mn TEXT NOT NULL, need TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS numbered (mn TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS told (about BLOB PRIMARY KEY, said BLOB NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS told_until ON told (until);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class Postponed(NamedTuple):
    """A frame that may be forwarded later. `need`: "key:N" (more than the N keys there are) or "dialect:…"."""

    frame: int
    mn: str
    need: str


class Checkpoint(NamedTuple):
    """Everything before is dealt with. `waiting`: frames before it that still wait for other parts of their message;
    `postponed`: those that wait for a key or for a dialect to be confirmed."""

    positions: dict[int, Position]
    waiting: tuple[int, ...] = ()
    postponed: tuple[Postponed, ...] = ()


class Told(NamedTuple):
    """A message by what it is about and what it says, hashed; remembered until [UTC epoch s]."""

    about: bytes
    said: bytes
    until: int


@dataclass(slots=True)
class Item:
    """A message to forward: its frames by QN. The rest is what becomes durable once it is acknowledged."""

    mn: str
    recv: float
    frames: dict[str, bytes]
    after: Checkpoint
    told: list[Told]
    numbered: dict[str, int]


class Sender(NamedTuple):
    """An adopted device as a target knows it. `confirmed`: factor → unit; `dialects`: CRC dialects accepted of it."""

    mn: str
    confirmed: Mapping[str, str]
    dialects: frozenset[str] = frozenset({crc.HJ212})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a target gets. `devices`: MN → how the target knows it; what is received before `since` is not forwarded."""

    wish: Wish
    devices: Mapping[str, Sender]
    cns: frozenset[str]
    since: float = 0.0
    future_seconds: float = 600.0


class Book:
    """The durable state of one target. Commits come from one thread at a time; reading has a connection of its own.

    Raises sqlite3.OperationalError where it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._write, self._read = (sqlite3.connect(path, check_same_thread=False, timeout=20) for _ in range(2))
        self._write.execute("PRAGMA journal_mode=WAL")
        self._write.execute("PRAGMA synchronous=FULL")
        self._write.executescript(_SCHEMA)
        with self._write as book:  # a book that cannot be written is found before anything goes out
            book.execute("INSERT INTO note VALUES ('opened', 1) ON CONFLICT DO UPDATE SET value = value + 1")
        self._pruned = 0.0
        self._postponed: tuple[Postponed, ...] = ()

    def checkpoint(self) -> Checkpoint | None:
        """Where to go on; None before anything was forwarded."""
        positions = {
            s: Position(n, o) for s, n, o in self._read.execute("SELECT stream, segment, offset FROM position")
        }
        waiting = tuple(frame for (frame,) in self._read.execute("SELECT frame FROM waiting ORDER BY frame"))
        postponed = tuple(Postponed(*row) for row in self._read.execute("SELECT * FROM postponed ORDER BY frame"))
        self._postponed = postponed
        return Checkpoint(positions, waiting, postponed) if positions else None

    def last_number(self, mn: str) -> int:
        row = self._read.execute("SELECT last FROM numbered WHERE mn = ?", (mn,)).fetchone()
        return row[0] if row else 0

    def said(self, about: bytes) -> bytes | None:
        """What was last told about it."""
        row = self._read.execute("SELECT said FROM told WHERE about = ?", (about,)).fetchone()
        return row[0] if row else None

    def note(self, name: str) -> float | None:
        row = self._read.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def commit(self, after: Checkpoint, done: Iterable[Item] = (), acknowledged: float | None = None) -> None:
        """Everything before `after` is dealt with; `done` are the messages acknowledged since the last commit."""
        done = list(done)
        with self._write as book:
            book.execute("BEGIN IMMEDIATE")
            book.executemany(
                "INSERT OR REPLACE INTO position VALUES (?, ?, ?)", [(s, *p) for s, p in after.positions.items()]
            )
            book.execute("DELETE FROM waiting")
            book.executemany("INSERT INTO waiting VALUES (?)", [(frame,) for frame in after.waiting])
            if after.postponed is not self._postponed:
                book.execute("DELETE FROM postponed")
                book.executemany("INSERT OR REPLACE INTO postponed VALUES (?, ?, ?)", after.postponed)
                self._postponed = after.postponed
            book.executemany("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", [row for one in done for row in one.told])
            numbered = [pair for one in done for pair in one.numbered.items()]
            book.executemany("INSERT OR REPLACE INTO numbered VALUES (?, ?)", numbered)
            total = (self.note("acknowledged") or 0) + len(done)
            notes = [("acknowledged", total), ("last_ack", acknowledged)] if acknowledged and done else []
            book.executemany("INSERT OR REPLACE INTO note VALUES (?, ?)", notes)
            self._prune(max((one.recv for one in done), default=0.0))

    def close(self) -> None:
        self._read.close()
        self._write.close()

    def _prune(self, recv: float) -> None:
        if recv - self._pruned > PRUNE_EACH:
            self._pruned = recv
            self._write.execute("DELETE FROM told WHERE until < ?", (int(recv),))


class Cursor:
    """Records of all streams in the order received, going on as the archive grows."""

    def __init__(self, folder: Path, positions: Mapping[int, Position], now: Callable[[], float]) -> None:
        self._folder, self._now = folder, now
        self.positions = dict(positions)
        self._readers: dict[int, Iterator[list[Record]]] = {}
        self._heads: dict[int, deque[Record]] = {}
        self._empty_at: dict[int, float] = {}  # when a stream was last found to hold nothing more

    @property
    def holding(self) -> bool:
        """Whether records are at hand that were not given out yet."""
        return any(self._heads.values())

    def next(self) -> Record | None:
        """The earliest record no other stream can precede; None while there is none (ask again later)."""
        while True:
            ready = [(head[0].recv, stream) for stream, head in self._heads.items() if head]
            if not ready:
                if not self._look():
                    return None
                continue
            recv, stream = min(ready)
            if recv <= self._safe():
                return self._taken(stream)
            if not self._look():
                ahead = recv > self._now() + 60  # the clock was set back since: nothing to wait for
                return self._taken(stream) if ahead or recv <= self._safe() else None

    def _safe(self) -> float:
        """Up to when no stream of which nothing is at hand can still bring anything."""
        quiet = [self._empty_at.get(stream, -math.inf) for stream, head in self._heads.items() if not head]
        return min(quiet, default=math.inf) - SETTLE

    def _taken(self, stream: int) -> Record:
        record = self._heads[stream].popleft()
        self.positions[stream] = record.after
        return record

    def _look(self) -> bool:
        """Read on in the streams of which nothing is at hand; whether anything was found."""
        found = False
        for stream in archive.streams(self._folder):
            if self._heads.setdefault(stream, deque()):
                continue
            at = self._now()
            records = next(self._reader(stream), None)
            if records is None:
                del self._readers[stream]
                self._empty_at[stream] = at
            else:
                self._heads[stream].extend(records)
                found = True
        return found

    def _reader(self, stream: int) -> Iterator[list[Record]]:
        if stream not in self._readers:
            position = self.positions.get(stream, archive.START)
            self._readers[stream] = archive.read_stream(self._folder, stream, position)
        return self._readers[stream]


class Decoder:
    """Frames read of late, by where they lie: several targets read the same records."""

    def __init__(self, keys: Callable[[str], Sequence[bytes]]) -> None:
        self.keys = keys
        self._known: OrderedDict[int, Frame] = OrderedDict()

    def read(self, record: Record) -> Frame:
        packed = record.ref.packed
        frame = self._known.get(packed)
        if frame is None:
            frame = self._known[packed] = decode(record.payload, key=self.keys)
            if len(self._known) > DECODED:
                self._known.popitem(last=False)
        return frame

    def forget(self, frame: int) -> None:
        """Read it anew the next time."""
        self._known.pop(frame, None)


@dataclass(slots=True)
class _Waiting:
    """A message some of whose parts have come. `told`: the parts, by what they are about and what they say."""

    since: float
    merger: Merger = field(default_factory=Merger)
    frames: list[int] = field(default_factory=list)
    told: dict[bytes, bytes] = field(default_factory=dict)


class Feed:
    """The messages one target should get, in order. `skipped` counts by cause what it does not get; `idle`: the last
    look found nothing to go on with; `at_end`: and nothing is held back either."""

    def __init__(self, folder: Path, book: Book, plan: Plan, decoder: Decoder, now: Callable[[], float]) -> None:
        self.plan = plan
        self.skipped: Counter[str] = Counter()
        self.idle = False
        self._folder, self._book, self._decoder = folder, book, decoder
        checkpoint = book.checkpoint() or Checkpoint(beginning(folder, plan.since))
        self._cursor = Cursor(folder, checkpoint.positions, now)
        self._now, self._retried = now, 0.0
        self._postponed = checkpoint.postponed
        self._parts: dict[tuple[str | None, ...], _Waiting] = {}
        self._queue: deque[Item] = deque()
        self._fresh: dict[bytes, bytes] = {}  # told, but not in the book yet
        self._numbered: dict[str, int] = {}
        self._resume(checkpoint.waiting)

    @property
    def checkpoint(self) -> Checkpoint:
        """Behind everything handed out so far."""
        waiting = sorted(frame for parts in self._parts.values() for frame in parts.frames)
        return Checkpoint(dict(self._cursor.positions), tuple(waiting), self._postponed)

    def next(self, most: int = 500) -> Item | None:
        """The next message; None when nothing is there, or after looking at `most` records without finding one."""
        self.idle = False
        for _ in range(most):
            if self._queue:
                return self._queue.popleft()
            record = self._cursor.next()
            if record is None:
                self._retry()
                self.idle = not self._queue
                return self._queue.popleft() if self._queue else None
            if record.kind in (RecordKind.FRAME, RecordKind.RELEASE) and record.recv >= self.plan.since:
                self._take(record)
        return self._queue.popleft() if self._queue else None

    @property
    def at_end(self) -> bool:
        return self.idle and not self._cursor.holding

    def settled(self, items: Iterable[Item]) -> None:
        """These are in the book."""
        for row in (row for item in items for row in item.told):
            if self._fresh.get(row.about) == row.said:
                del self._fresh[row.about]

    def _take(self, record: Record) -> None:
        """What a record brings, and what its time ends the waiting for."""
        before = self._give_up(record)
        if record.kind == RecordKind.RELEASE:
            before = before or self._before(record)
            self._release(record)
        else:
            self._frame(self._decoder.read(record), record)
        self._several(before)

    def _several(self, before: Checkpoint | None) -> None:
        """Only the last message stands behind what brought several: had one before the last its checkpoint there, a
        crash between the two would lose the last."""
        if before is not None:
            for item in list(self._queue)[:-1]:
                item.after = before

    def _before(self, record: Record) -> Checkpoint:
        """The checkpoint before this record."""
        before = self.checkpoint
        before.positions[record.ref.stream] = Position(record.ref.segment, record.ref.offset)
        return before

    def _give_up(self, record: Record) -> Checkpoint | None:
        """Offer what has waited too long for its other parts; the checkpoint before, if there was any such."""
        late = [key for key, parts in self._parts.items() if parts.since < record.recv - PARTS_SECONDS]
        if not late:
            return None
        before = self._before(record)
        for key in late:
            parts = self._parts.pop(key)
            for message in parts.merger.close():
                self._offer(message, record.recv, parts.told)
        return before

    def _release(self, record: Record) -> None:
        """The frames that a person has let out of quarantine; those received before the target was there stay away."""
        try:
            content = orjson.loads(record.payload)
            frames = {int(one) for one in (*content["frames"], *content.get("parts", ()))}
            released = content["action"] == "release"
        except (ValueError, TypeError, KeyError):  # whoever reads it for the ledger says so
            return
        for packed in sorted(frames) if released else ():
            self._anew(packed, free=True)

    def _anew(self, packed: int, *, free: bool = False) -> None:
        """A frame that was passed over in its turn."""
        with contextlib.suppress(archive.RecordNotFoundError):
            record = archive.fetch(self._folder, FrameRef.unpack(packed))
            if record.kind == RecordKind.FRAME and record.recv >= self.plan.since:
                self._frame(self._decoder.read(record), record, free)

    def _retry(self) -> None:
        """Frames for which what they waited for has come."""
        if 0 <= self._now() - self._retried < RETRY_EACH:
            return
        self._retried = self._now()
        ripe = {one for one in self._postponed if self._ripe(one)}
        if not ripe:
            return
        before = self.checkpoint
        self._postponed = tuple(one for one in self._postponed if one not in ripe)
        for one in sorted(ripe):
            self.skipped[one.need.partition(":")[0]] -= 1
            self._decoder.forget(one.frame)
            self._anew(one.frame)
        self._several(before)

    def _ripe(self, one: Postponed) -> bool:
        need, _, detail = one.need.partition(":")
        device = self.plan.devices.get(one.mn)
        if need == "key":
            return device is not None and len(self._decoder.keys(one.mn)) > int(detail)
        return device is not None and detail in device.dialects

    def _frame(self, frame: Frame, record: Record, free: bool = False) -> None:
        """`free`: a person has released it, whatever its dialect and time."""
        reason = self._unwanted(frame, record, free)
        if reason:
            self.skipped[reason] += 1
            if reason in ("key", "dialect"):
                mn = frame.mn or ""
                detail = len(self._decoder.keys(mn)) if reason == "key" else frame.crc_dialect
                one = Postponed(record.ref.packed, mn, f"{reason}:{detail}")
                self._postponed = (*self._postponed, one)[-MOST_POSTPONED:]
        elif frame.pnum:
            self._join(frame, record)
        else:
            self._offer(frame, record.recv)

    def _unwanted(self, frame: Frame, record: Record, free: bool) -> str:
        """Why a frame is not forwarded (translate.CAUSES); "" when it is."""
        device = self.plan.devices.get(frame.mn or "")
        if not frame.ok and frame.error != "encrypted":
            return "bad"
        if device is None:
            return "device"
        if frame.cn not in self.plan.cns:
            return "cn"
        if not frame.ok:
            return "key"
        if not (frame.factors or frame.datatime or frame.cp):
            return "empty"
        if not free and frame.crc_dialect not in device.dialects:
            return "dialect"
        if frame.datatime is None:
            return ""
        moment = parse_time(frame.datatime)
        ahead = moment is not None and not free and moment > record.recv + self.plan.future_seconds
        return "future" if moment is None or ahead else ""

    def _join(self, frame: Frame, record: Record) -> None:
        about, said = _hashed(frame, f"\x1f{frame.pnum}/{frame.pno}")
        if self._said(about) == said:
            self.skipped["again"] += 1
            return
        key = (frame.mn, frame.st, frame.cn, frame.datatime)
        parts = self._parts.setdefault(key, _Waiting(record.recv))
        parts.frames.append(record.ref.packed)
        parts.told[about] = said
        for message in parts.merger.feed(frame):
            self._parts.pop(key, None)
            self._offer(message, record.recv, parts.told)

    def _said(self, about: bytes) -> bytes | None:
        return self._fresh.get(about) or self._book.said(about)

    def _resume(self, waiting: Iterable[int]) -> None:
        for packed in waiting:
            with contextlib.suppress(archive.RecordNotFoundError):
                record = archive.fetch(self._folder, FrameRef.unpack(packed))
                self._join(self._decoder.read(record), record)

    def _offer(self, frame: Frame, recv: float, parts: Mapping[bytes, bytes] | None = None) -> None:
        """Put the message in line unless the target has it already or has no use for it."""
        device = self.plan.devices.get(frame.mn or "")
        if device is None:
            return
        about, said = _hashed(frame)
        before = self._said(about)
        if before == said:
            self.skipped["again"] += 1
            return
        numbered: dict[str, int] = {}
        try:
            message = translate.outgoing(frame, self.plan.wish, device.mn, device.confirmed, again=before is not None)
            frames = translate.frames(message, self.plan.wish, lambda n: self._numbers(frame, recv, n, numbered))
        except Untranslatable as error:
            self.skipped[str(error)] += 1
            return
        until = int(recv + KEPT_DAYS.get(frame.cn or "", KEPT_DAYS_ELSE) * 86400)
        told = {**(parts or {}), about: said}
        self._fresh |= told
        rows = [Told(*pair, until) for pair in told.items()]
        self._queue.append(Item(device.mn, recv, dict(frames), self.checkpoint, rows, numbered))

    def _numbers(self, frame: Frame, recv: float, count: int, numbered: dict[str, int]) -> list[str]:
        """The device's own QN where one frame carries it on; else the moment of receipt, each later than the last."""
        if count == 1 and not frame.pnum and _is_qn(frame.qn):
            return [frame.qn or ""]
        mn = frame.mn or ""
        last = self._numbered.get(mn) or self._book.last_number(mn)
        first = max(int(recv * 1000), last + 1)
        self._numbered[mn] = numbered[mn] = first + count - 1
        return [f"{write_time(ms // 1000)}{ms % 1000:03d}" for ms in range(first, first + count)]


def _hashed(frame: Frame, more: str = "") -> tuple[bytes, bytes]:
    about, said = translate.content(frame)
    return tuple(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in (about + more, said))  # type: ignore[return-value]


def _is_qn(text: str | None) -> bool:
    return text is not None and len(text) == 17 and parse_time(text) is not None


def beginning(folder: Path, since: float) -> dict[int, Position]:
    """Where to begin in each stream so that nothing received since then is missed and sealed segments before are not
    read."""
    found = {}
    for stream in archive.streams(folder):
        over = [s.segment for s in archive.sealed_segments(folder, stream) if (s.last_recv or 0.0) < since]
        found[stream] = Position(max(over, default=-1) + 1, archive.FIRST_OFFSET)
    return found


class Backlog:
    """Records behind a position, counted by walking over the headers; each byte is walked over once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._walked: dict[tuple[object, int, int], tuple[int, int]] = {}  # (who, stream, segment) → (offset, records)

    def records(self, who: object, positions: Mapping[int, Position]) -> int:
        """How many records lie behind the positions of `who`."""
        total = 0
        for stream in archive.streams(self._folder):
            position = positions.get(stream, archive.START)
            home = archive.stream_folder(self._folder, stream)
            sealed = {one.segment: one.records for one in archive.sealed_segments(self._folder, stream)}
            for number in archive.segments(home):
                if number < position.segment:
                    continue
                path = archive.segment_path(home, number)
                total += sealed[number] if number in sealed else self._walk(None, stream, number, path, None)
                if number == position.segment:
                    total -= self._walk(who, stream, number, path, position.offset)
        return total

    def _walk(self, who: object, stream: int, segment: int, path: Path, until: int | None) -> int:
        """Records from the segment's beginning to `until` (None: its end)."""
        key = (who, stream, segment)
        offset, count = self._walked.get(key, (archive.FIRST_OFFSET, 0))
        with open(path, "rb") as file:
            end = file.seek(0, 2) if until is None else until
            while offset + archive.RECORD_HEADER.size <= end:
                file.seek(offset)
                head = file.read(archive.RECORD_HEADER.size)
                if len(head) < archive.RECORD_HEADER.size or head[4:6] != archive.MARK:
                    break
                behind = offset + archive.RECORD_HEADER.size + sum(archive.RECORD_HEADER.unpack(head)[3:5])
                if behind > end:
                    break
                offset, count = behind, count + 1
        self._walked[key] = (offset, count)
        return count
