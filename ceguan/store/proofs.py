"""Proof lines: what is needed to prove one record of a sealed segment without handing over the whole segment.

Beside `segments.jsonl` lies `proofs.jsonl`, one JSON line per sealed segment: its SHA-256 (and SM3, where the setting
`archive_digest` asks for it), the Merkle root over its pieces, and the SHA-256 (SM3) of the line before. So whoever
knows one line can tell whether any earlier line was changed; the newest line is the head to note elsewhere.

    pieces  the file header (64 bytes), then each record; a damaged stretch between records is one piece
    leaf    SHA-256(00 + piece)
    node    SHA-256(01 + left + right); the last of an odd row moves up as it is (the tree of RFC 6962, 2.1)

Lines are made after sealing, by whoever asks (the clockwork, `ceguan archive prove`), never in the gateway's way; so
segments sealed before there were proof lines get theirs too. What a line proves, it proves since `proved_at`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes

from ceguan import settings
from ceguan.store import archive
from ceguan.store.archive import FIRST_OFFSET, ArchiveError

DIGESTS = ("sha256", "sm3+sha256")
"""What the setting `archive_digest` may say."""
NAME = "proofs.jsonl"
NOTHING = "0" * 64
HASHED = 8 << 20


class Proof(NamedTuple):
    """One line of `proofs.jsonl`; `sm3` and `previous_sm3` are "" where SM3 was not asked for."""

    stream: int
    segment: int
    bytes: int
    pieces: int
    sha256: str
    sm3: str
    merkle: str
    proved_at: float
    previous: str
    previous_sm3: str


class Head(NamedTuple):
    """Where the chain of a stream ends: note it elsewhere, for a chain cannot show that its own end was cut off.

    `segment` is the last sealed one (-1: none), `proof` the SHA-256 of the newest proof line (zeros: none). `open_*`:
    the segment being written, how much of it is intact now and the SHA-256 of that (-1: there is none).
    """

    stream: int
    segment: int
    sha256: str
    proof: str
    open_segment: int
    open_bytes: int
    open_sha256: str


class Walked(NamedTuple):
    """`starts`: where the pieces begin; `end`: behind the last intact record; `damaged`: starts that are no record."""

    starts: list[int]
    end: int
    damaged: list[int]


# ── digests and trees ─────────────────────────────────────────────────────────────────────────────────────────────


def sm3(data: bytes | memoryview) -> str:
    """SM3 (GB/T 32905-2016) of the bytes, hex."""
    digest = hashes.Hash(hashes.SM3())
    for at in range(0, len(data), HASHED):
        digest.update(data[at : at + HASHED])
    return digest.finalize().hex()


def leaf(piece: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(b"\0")
    digest.update(piece)
    return digest.digest()


def rows_above(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree row by row, leaves first; the last row is the root alone. Raises ValueError without a leaf."""
    if not leaves:
        raise ValueError("a tree has at least one leaf")
    rows, sha256 = [list(leaves)], hashlib.sha256
    while len(rows[-1]) > 1:
        row = rows[-1]
        above = [sha256(b"\1" + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)]
        rows.append(above + row[len(row) & ~1 :])
    return rows


def path(rows: Sequence[Sequence[bytes]], index: int) -> list[tuple[str, str]]:
    """From a leaf to the root: each neighbour (hex) and on which side it stands, "L" or "R"."""
    steps = []
    for row in rows[:-1]:
        other = index ^ 1
        if other < len(row):
            steps.append(("L" if other < index else "R", row[other].hex()))
        index //= 2
    return steps


def climb(piece: bytes, steps: Sequence[Sequence[str]]) -> str:
    """The root (hex) that a piece and its path lead to."""
    digest = leaf(piece)
    for side, neighbour in steps:
        other = bytes.fromhex(neighbour)
        digest = hashlib.sha256(b"\1" + (other + digest if side == "L" else digest + other)).digest()
    return digest.hex()


def walk(data: bytes | memoryview) -> Walked:
    """The pieces of a segment's bytes, every record's CRC checked. What is behind the last record is no piece yet."""
    from ceguan.store import bulk  # numba: only for who walks

    starts, at = [0], FIRST_OFFSET
    damaged: list[int] = []
    while True:
        more, at = bulk.walk(data, at)
        starts += more
        skipped = archive.next_intact(bytes(data[at:]), 1) if at < len(data) else None
        if skipped is None:
            return Walked(starts, at, damaged)
        starts.append(at)
        damaged.append(at)
        at += skipped


def tree(data: memoryview, walked: Walked) -> list[list[bytes]]:
    """The Merkle tree of a sealed segment; bytes behind the last intact record are one piece more."""
    starts = walked.starts + ([walked.end] if walked.end < len(data) else [])
    ends = [*starts[1:], len(data)]
    return rows_above([leaf(data[start:end]) for start, end in zip(starts, ends, strict=True)])


@contextmanager
def mapped(file: Path) -> Iterator[memoryview]:
    """A file's bytes without reading them all into memory."""
    with open(file, "rb") as opened:
        if os.fstat(opened.fileno()).st_size == 0:
            yield memoryview(b"")
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            yield view


# ── the lines ─────────────────────────────────────────────────────────────────────────────────────────────────────


def lines(folder: Path, stream: int) -> list[bytes]:
    """The proof lines of a stream as they stand, without line ends; an unfinished last line is left out."""
    return archive.whole_lines(archive.stream_folder(folder, stream) / NAME)


def parse(line: bytes) -> Proof:
    """Raises ValueError for what is no proof line."""
    try:
        return Proof(**json.loads(line))
    except TypeError as error:
        raise ValueError(str(error)) from error


def prove(folder: Path, stream: int, now: float, with_sm3: bool, most: int | None = None) -> int:
    """Append the lines that are missing (at most `most`); returns how many. Durable when this returns.

    A segment whose bytes no longer have the hash they were sealed with is not proved: raises ArchiveError that names
    it. When somebody else is proving this stream: 0.
    """
    home = archive.stream_folder(folder, stream)
    if len(archive.sealed_segments(folder, stream)) == len(lines(folder, stream)):
        return 0
    with _alone(home) as alone:
        if not alone:
            return 0
        known = lines(folder, stream)
        due = archive.sealed_segments(folder, stream)[len(known) :][:most]
        for sealed in due:
            line = _line(home, stream, sealed, known[-1] if known else b"", now, with_sm3)
            _append(home / NAME, line)
            known.append(line)
        return len(due)


def prove_all(folder: Path, now: float, digest: str, most: int | None = None) -> int:
    """`prove` for every stream, at most `most` lines each; `digest` is the setting `archive_digest`.

    Raises SettingError for a digest nobody knows.
    """
    if digest not in DIGESTS:
        raise settings.SettingError(f"设置 archive_digest 应为 {' 或 '.join(DIGESTS)}，得到 {digest!r}")
    return sum(prove(folder, stream, now, "sm3" in digest, most) for stream in archive.streams(folder))


def _line(home: Path, stream: int, sealed: archive.SealedSegment, before: bytes, now: float, with_sm3: bool) -> bytes:
    with mapped(archive.segment_path(home, sealed.segment)) as data:
        if hashlib.sha256(data).hexdigest() != sealed.sha256:
            raise ArchiveError(f"归档流 {stream} 段 {sealed.segment} 与封存时的 SHA-256 不符,不能为它作证")
        rows = tree(data, walk(data))
        own = sm3(data) if with_sm3 else ""
    proof = Proof(
        stream, sealed.segment, sealed.bytes, len(rows[0]), sealed.sha256, own, rows[-1][0].hex(), now,
        hashlib.sha256(before).hexdigest() if before else NOTHING,
        (sm3(before) if before else NOTHING) if with_sm3 else "",
    )  # fmt: skip
    return json.dumps(proof._asdict()).encode()


def _append(file: Path, line: bytes) -> None:
    """What a crash left unfinished is cut off first."""
    with open(file, "ab+") as out:
        out.seek(0)
        whole = out.read().rfind(b"\n") + 1
        out.truncate(whole)
        out.write(line + b"\n")
        out.flush()
        os.fsync(out.fileno())
    archive.sync_folder(file.parent)


@contextmanager
def _alone(home: Path) -> Iterator[bool]:
    descriptor = os.open(home / "proofs.lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)


def heads(folder: Path) -> list[Head]:
    """`head` of every stream."""
    return [head(folder, stream) for stream in archive.streams(folder)]


def head(folder: Path, stream: int) -> Head:
    """Where a stream ends at this moment, also while it is being written."""
    home = archive.stream_folder(folder, stream)
    present = archive.segments(home)
    sealed, known = archive.sealed_segments(folder, stream), lines(folder, stream)
    last, digest = (sealed[-1].segment, sealed[-1].sha256) if sealed else (-1, NOTHING)
    proof = hashlib.sha256(known[-1]).hexdigest() if known else NOTHING
    if not present or present[-1] <= last:
        return Head(stream, last, digest, proof, -1, 0, NOTHING)
    data = archive.segment_path(home, present[-1]).read_bytes()
    end = min(walk(data).end, len(data))
    return Head(stream, last, digest, proof, present[-1], end, hashlib.sha256(data[:end]).hexdigest())
