"""Segments of the archive that were deleted by a recorded act once their period was over.

Beside `segments.jsonl` lies `forgotten.jsonl`, a line for each segment that left: its SHA-256, the act (hash of the
event in the audit trail that ordered it), when and by which rule, and the path of its header to the Merkle root. Seal
line and proof line of the segment stay, so the chain holds over the hole, and the neighbours' links are still provable.

A crash is harmless: the act is on record before anything else, the line is on disk before the file goes, and `let_go`
can be repeated. A line with the file still there changes nothing; a file that is gone without a line is a break.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ceguan.store import archive, proofs
from ceguan.store.archive import FILE_HEADER, FORMAT, Position, RecordKind, RecordNotFoundError
from ceguan.words import beijing

NAME = "forgotten.jsonl"
_MN = re.compile(rb"MN=([^;&\r\n]+)")
_SPOKEN = (RecordKind.FRAME, RecordKind.SENT)
_BEHIND_ALL = Position(1 << 20, 0)


class Act(NamedTuple):
    """A recorded decision to delete. `hash`: of the audit event; `at` [UTC epoch s]; `rule`: the clauses."""

    hash: str
    at: float
    rule: str


class Forgotten(NamedTuple):
    """One line of `forgotten.jsonl`. `header`: the path of the file header to the Merkle root, see `proofs.path`."""

    stream: int
    segment: int
    sha256: str
    act: str
    at: float
    rule: str
    header: list[tuple[str, str]]

    def __str__(self) -> str:
        return (
            f"归档流 {self.stream} 段 {self.segment} 已于 {beijing(self.at):%Y-%m-%d} 依 {self.rule} 删除"
            f"（留痕 {self.act[:12]}…），见证行仍在"
        )


class ForgottenError(RecordNotFoundError):
    """The record lay in a segment that was deleted by a recorded act; the message says by which."""


class Content(NamedTuple):
    """What a sealed segment holds: `kinds` of records, `mns` of its frames (b"" where one names none in clear), when
    its last record came [UTC epoch s], and the path of its header."""

    kinds: frozenset[RecordKind]
    mns: frozenset[bytes]
    last: float
    header: list[tuple[str, str]]


class Candidate(NamedTuple):
    """A sealed, proved segment that the ledger has taken in whole."""

    stream: int
    sealed: archive.SealedSegment
    proof: proofs.Proof


def lines(folder: Path, stream: int) -> dict[int, Forgotten]:
    """What has been deleted of a stream, by segment."""
    path = archive.stream_folder(folder, stream) / NAME
    found = (Forgotten(**json.loads(line)) for line in archive.whole_lines(path))
    return {line.segment: line for line in found}


def explain(folder: Path, stream: int, segment: int) -> Forgotten | None:
    """The line of a segment that is gone; None while its file is there, or where nobody ordered it."""
    if archive.segment_path(archive.stream_folder(folder, stream), segment).exists():
        return None
    return lines(folder, stream).get(segment)


def between(folder: Path, start: float, end: float) -> list[tuple[archive.SealedSegment, Forgotten]]:
    """What has been deleted of what was received in [start, end), stream by stream, with its seal line."""
    found = []
    for stream in archive.streams(folder):
        gone = lines(folder, stream)
        for sealed in archive.sealed_segments(folder, stream) if gone else ():
            if sealed.segment in gone and (sealed.first_recv or 0) < end and (sealed.last_recv or end) >= start:
                found.append((sealed, gone[sealed.segment]))
    return found


def candidates(folder: Path, stream: int, taken: Position, before: float) -> Iterator[Candidate]:
    """Segments of a stream, still here and proved, that lie before a position and whose last record came before a
    moment, as their seal line says."""
    home = archive.stream_folder(folder, stream)
    present = set(archive.segments(home))
    proved = {proof.segment: proof for proof in map(proofs.parse, proofs.lines(folder, stream))}
    for sealed in archive.sealed_segments(folder, stream):
        is_old = sealed.last_recv is not None and sealed.last_recv < before
        if is_old and sealed.segment < taken.segment and sealed.segment in present & proved.keys():
            yield Candidate(stream, sealed, proved[sealed.segment])


def content(folder: Path, one: Candidate) -> Content:
    """Look through a segment. Raises ArchiveError when it is not what was sealed: that is evidence of something."""
    path = archive.segment_path(archive.stream_folder(folder, one.stream), one.sealed.segment)
    with proofs.mapped(path) as view:
        if hashlib.sha256(view).hexdigest() != one.sealed.sha256:
            place = f"归档流 {one.stream} 段 {one.sealed.segment}"
            raise archive.ArchiveError(f"{place} 与封存时的 SHA-256 不符：先用 ceguan archive verify 查明，不删")
        walked = proofs.walk(view)
        kinds, mns, last = _records(view, walked)
        header = proofs.path(proofs.tree(view, walked), 0)
    return Content(frozenset(kinds), frozenset(mns), last, header)


def _records(view: memoryview, walked: proofs.Walked) -> tuple[set[RecordKind], set[bytes], float]:
    kinds: set[RecordKind] = set()
    mns: set[bytes] = set()
    last, damaged = 0.0, set(walked.damaged)
    ends = [*walked.starts[1:], walked.end]
    for start, end in zip(walked.starts[1:], ends[1:], strict=True):
        if start in damaged:
            continue
        _, _, kind, origin, _, micros = archive.RECORD_HEADER.unpack_from(view, start)
        kinds.add(archive.KINDS[kind])
        last = max(last, micros / 1e6)
        if kind in _SPOKEN:
            named = _MN.search(view, start + archive.RECORD_HEADER.size + origin, end)
            mns.add(named[1] if named else b"")
    return kinds, mns, last


def let_go(folder: Path, stream: int, segments: Collection[int], act: Act) -> int:
    """Delete segments that an act on record names, one after the other; those already gone are passed over. Returns
    how many files went. Raises ArchiveError for one that is not what was sealed."""
    home = archive.stream_folder(folder, stream)
    known, count = lines(folder, stream), 0
    for one in candidates(folder, stream, _BEHIND_ALL, math.inf):
        number = one.sealed.segment
        if number in segments:
            if number not in known:
                path = content(folder, one).header
                append_line(home / NAME, Forgotten(stream, number, one.sealed.sha256, act.hash, act.at, act.rule, path))
            archive.segment_path(home, number).unlink()
            count += 1
    archive.sync_folder(home)
    return count


def append_line(path: Path, line: NamedTuple) -> None:
    """A line of JSON more. What a crash left unfinished is cut off first; durable when this returns."""
    with open(path, "ab+") as out:
        out.seek(0)
        out.truncate(out.read().rfind(b"\n") + 1)
        out.write(json.dumps(line._asdict(), ensure_ascii=False).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())
    archive.sync_folder(path.parent)


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Sorted numbers as runs [first, last]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def header(folder: Path, line: Forgotten) -> bytes:
    """The file header of a segment that is gone: it follows from the seal line."""
    sealed = archive.sealed_segments(folder, line.stream)[line.segment]
    return FILE_HEADER.pack(FORMAT, line.stream, line.segment, bytes.fromhex(sealed.previous))
