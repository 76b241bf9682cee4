"""Recorded HJ 212 streams of any size: surveyed, taken into the archive, or written as columns.

A recording is any byte stream, or JSON lines as `replay` takes them; plain, gzip (of several members, too) or zstd.

Taking in: each good frame becomes a FRAME record, what is none a BAD one, as if it had come to the gateway, received
now, and its source says from which place of which recording it comes. So nothing counts twice: a recording is known by
the SHA-256 of its content whatever it is called or however it is packed; one that was taken in is not taken in again,
and one that was interrupted goes on behind the last of its records that the archive holds.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from django.db import transaction

from ceguan.intake import keys
from ceguan.intake.files import STREAMS
from ceguan.intake.hj212 import batch, replay, sm4
from ceguan.intake.hj212.crc import DIALECTS
from ceguan.intake.hj212.frame import quick_head
from ceguan.intake.hj212.scan import Run, Scanner
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, User
from ceguan.store import ArchiveWriter, RecordKind, Store, open_free_stream
from ceguan.store.archive import IMPORTED, Position, end_of, origin_bytes, read_stream, sync_folder
from ceguan.store.bulk import build

Report = Callable[[int, Counter[str]], None]
"""Hears after each block how many bytes of the file have been read and what was found so far."""

BLOCK = 4 << 20
COLUMNS = pa.schema([pa.field("file", pa.dictionary(pa.int32(), pa.string())), *batch.SCHEMA])
_ID_DIGITS = 16
_NAMES_ASKED = 500  # in one question to the database


class Unreadable(ValueError):
    """The file is no recording that can be read to its end; the message says why."""


@dataclass(slots=True)
class Survey:
    """What is in a recording. `counts` as of batch.Stream; `first`, `last`: DataTime, UTC epoch seconds."""

    path: Path
    sha256: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    devices: set[str] = field(default_factory=set)
    first: int | None = None
    last: int | None = None

    @property
    def name(self) -> str:
        return self.path.name

    def see(self, rows: pa.RecordBatch) -> None:
        self.devices.update(rows.column("device").dictionary.to_pylist())
        times = pc.min_max(rows.column("time")).as_py()
        if times["min"] is not None:
            self.first = min(times["min"], self.first if self.first is not None else times["min"])
            self.last = max(times["max"], self.last if self.last is not None else times["max"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a recording. `before`: records that an earlier, interrupted run had taken in; `already`: when it
    was taken in as a whole before, and nothing was done now [UTC epoch s]."""

    counts: Counter[str]
    before: int = 0
    already: float | None = None


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────


def blocks(path: Path) -> Iterator[tuple[bytes, int]]:
    """The bytes of the recording, and how far into the file they reach. Raises OSError or Unreadable."""
    with path.open("rb") as file:
        try:
            stream = _unpacked(file)
            read = _joined_lines(stream) if ".jsonl" in path.suffixes else iter(lambda: stream.read(BLOCK), b"")
            for block in read:
                yield block, file.tell()
        except replay.Unreadable as error:
            raise Unreadable(f"{path}：{error}") from error
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # not the packing but the disk
            raise Unreadable(f"{path}：解压到 {file.tell()} 字节处失败，文件不完整或已损坏（{error}）") from error


def _unpacked(file: BinaryIO) -> BinaryIO:
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if magic == b"\x28\xb5\x2f\xfd":
        return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))
    return file


def _joined_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The frames of JSON lines as one stream."""
    rest, number = b"", 0
    while block := stream.read(BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        yield b"".join(map(_ended, replay.from_lines(lines, number)))
        number += len(lines)
    yield b"".join(map(_ended, replay.from_lines([rest], number)))


def _ended(raw: bytes) -> bytes:
    return raw if raw.endswith(b"\n") else raw + b"\r\n"


def survey(path: Path, report: Report, key: sm4.Key | None = None) -> Survey:
    """Read the whole recording once; enciphered areas with `key`. Raises OSError or Unreadable."""
    found, stream, digest = Survey(path), batch.Stream(key=key), hashlib.sha256()
    for block, place in blocks(path):
        digest.update(block)
        stream.feed(block)
        found.see(stream.take())
        report(place, stream.counts)
    found.see(stream.close())
    found.sha256, found.counts = digest.hexdigest(), stream.counts
    return found


def to_parquet(paths: Iterable[Path], target: Path, report: Report, key: sm4.Key | None = None) -> Counter[str]:
    """The columns of all recordings in one Parquet file, there when all of it is; enciphered areas with `key`.

    Raises OSError or Unreadable.
    """
    scratch, counts = target.with_name(target.name + ".part"), Counter[str]()
    try:
        with pq.ParquetWriter(scratch, COLUMNS, compression="zstd") as writer:
            for path in paths:
                stream = batch.Stream(key=key)
                for block, place in blocks(path):
                    stream.feed(block)
                    _write(writer, path.name, stream.take())
                    report(place, counts + stream.counts)
                _write(writer, path.name, stream.close())
                counts += stream.counts
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    return counts


def _write(writer: pq.ParquetWriter, name: str, rows: pa.RecordBatch) -> None:
    if rows.num_rows:
        codes = pa.array(np.zeros(rows.num_rows, np.int32))
        names = pa.DictionaryArray.from_arrays(codes, pa.array([name], pa.string()))
        writer.write_batch(pa.RecordBatch.from_arrays([names, *rows.columns], schema=COLUMNS))


# ── taking in ─────────────────────────────────────────────────────────────────────────────────────────────────────


def take_in(
    found: Survey, user: User | None, by: str, store: Store, now: Callable[[], float], report: Report
) -> Outcome:
    """Put the recording into the archive, audited; on disk when this returns. `by` names who did it.

    A frame enciphered with a key that its device does not have in the register is kept as a bad one, as the gateway
    would keep it.

    Raises rights.Forbidden; BlockingIOError when the same recording is being taken in; StreamTakenError, ArchiveError,
    OSError, Unreadable – then what was taken in so far stays, and the next call goes on from there.
    """
    if user is not None:
        rights.require(user, "import")
        _require_reach(user, found.devices)
    with _state(store.folder / "imports", found.sha256) as state:
        if state.get("finished"):
            return Outcome(Counter(), already=state["finished"])
        done, before = _done(store, found.sha256, state)
        with open_free_stream(store.archive, STREAMS) as writer:
            state |= {"file": found.name, "by": by, "done": done, "before": before, **_end(writer)}
            with transaction.atomic():
                detail = {"file": found.name, "sha256": found.sha256, "counts": dict(found.counts), "before": before}
                audit.record(user, "import", f"file:{found.name}"[:80], f"导入录下的报文（{by}）", detail, now())
                _keep(state)
            counts = _append(found, done, writer, now, report)
        state["finished"] = now()
        _keep(state)
    return Outcome(counts, before)


def _require_reach(user: User, mns: set[str]) -> None:
    """Frames of a device count for its point: whoever takes them in must reach it. Raises rights.Forbidden."""
    reached = set(rights.visible_points(user).values_list("pk", flat=True))
    others = [mn for mn, point in adopted(mns).items() if point not in reached]
    if others:
        raise rights.Forbidden(f"{user} 管不到这些设备的点位：{'、'.join(sorted(others)[:5])}")


def adopted(mns: set[str]) -> dict[str, int]:
    """The points of those devices that are adopted, by MN."""
    names = sorted(mns)
    parts = (names[at : at + _NAMES_ASKED] for at in range(0, len(names), _NAMES_ASKED))
    return {mn: pk for part in parts for mn, pk in Device.objects.filter(mn__in=part).values_list("mn", "point_id")}


def _append(found: Survey, done: int, writer: ArchiveWriter, now: Callable[[], float], report: Report) -> Counter[str]:
    """Records of all that begins behind `done` in the stream."""
    scanner, counts = Scanner(), Counter[str]()
    for block, place in blocks(found.path):
        for at in range(0, len(block), batch.BLOCK):
            for run in scanner.feed(memoryview(block)[at : at + batch.BLOCK]):
                _records(run, found, done, writer, now(), counts)
        writer.sync()
        report(place, counts)
    for run in scanner.close():
        _records(run, found, done, writer, now(), counts)
    writer.sync()
    return counts


def _records(run: Run, found: Survey, done: int, writer: ArchiveWriter, recv: float, counts: Counter[str]) -> None:
    heads = run.heads[run.heads["start"] + np.int64(run.offset) > done]
    if heads["usual"].all():
        starts, ends = heads["start"].astype(np.int64), heads["end"].astype(np.int64)
        origins = [origin_bytes(_source(found, offset)) for offset in (starts + run.offset).tolist()]
        writer.append_many(recv, *build(RecordKind.FRAME, recv, run.buffer, starts, ends, origins))
        counts["frames"] += len(heads)
        heads = heads[:0]
    pieces: list[tuple[int, bytes, str | None]] = [
        (run.offset + int(head["start"]), run.buffer[head["start"] : head["end"]].tobytes(), DIALECTS[head["dialect"]])
        for head in heads
    ]
    for offset, data, dialect in pieces + [(chunk.offset, chunk.data, chunk.dialect) for chunk in run.chunks]:
        if offset > done:
            good = quick_head(data, dialect, keys.lookup).ok
            counts["frames" if good else "bad"] += 1
            writer.append(RecordKind.FRAME if good else RecordKind.BAD, recv, _source(found, offset), data)


def _source(found: Survey, offset: int) -> str:
    return f"{IMPORTED}{found.sha256[:_ID_DIGITS]}:{offset}:{found.name}"


def _done(store: Store, sha256: str, state: dict[str, Any]) -> tuple[int, int]:
    """(place in the recording of its last record in the archive, -1 for none; how many records there are)."""
    done, count = state.get("done", -1), state.get("before", 0)
    mine = f"{IMPORTED}{sha256[:_ID_DIGITS]}:"
    if "stream" in state:
        for run in read_stream(store.archive, state["stream"], Position(state["segment"], state["offset"])):
            for record in run:
                if record.source.startswith(mine):
                    done, count = int(record.source.split(":")[2]), count + 1
    return done, count


def _end(writer: ArchiveWriter) -> dict[str, int]:
    """Where the next record of the writer will lie at the earliest."""
    return {"stream": writer.stream, **end_of(writer.folder)._asdict()}


@contextmanager
def _state(folder: Path, sha256: str) -> Iterator[dict[str, Any]]:
    """What is known of a recording, for one process at a time. Raises BlockingIOError while another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{sha256}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path, state = folder / f"{sha256}.json", dict[str, Any]()
        with suppress(FileNotFoundError):
            state = orjson.loads(path.read_bytes())
        yield state | {"path": str(path)}


def _keep(state: dict[str, Any]) -> None:
    path = Path(state["path"])
    scratch = path.with_suffix(".new")
    with scratch.open("wb") as out:
        out.write(orjson.dumps({name: value for name, value in state.items() if name != "path"}))
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(path)
    sync_folder(path.parent)
