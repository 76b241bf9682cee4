"""`ceguan archive verify`: walk a stream of the archive from its first byte to its last and name the first break.

Every sealed segment must be there, have the length and SHA-256 it was sealed with, begin with a header that names the
SHA-256 of the one before, and consist of records with a right CRC; every proof line must follow from the one before and
fit its segment. What a seal line says of its records is what they say. The open segment must follow the last sealed
one; its unfinished tail is no break (never acknowledged). A segment deleted by a recorded act (`forgotten.py`) is no
break: the chain goes on from its seal line. Runs beside the writer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ceguan.store import archive, forgotten, handed, proofs
from ceguan.store.archive import FILE_HEADER, FIRST_OFFSET, FORMAT, NO_SEGMENT, SealedSegment
from ceguan.store.proofs import Head, Proof

MICROSECOND = 1e-6
"""To which times of reception are kept in a record; a seal line has them as they were given."""
Progress = Callable[[int], None]
"""Told how many bytes have been checked since it was told last."""


class Break(NamedTuple):
    """The first place where a stream does not hold. `offset` in the segment; `segment` -1: before the first."""

    stream: int
    segment: int
    offset: int
    what: str

    def __str__(self) -> str:
        return f"归档流 {self.stream} 断于段 {self.segment} 偏移 {self.offset}：{self.what}"


class Verified(NamedTuple):
    """What was walked. `damaged`: places that were damaged already when their segment was sealed (no break, but no
    record either); `unfinished`: bytes at the end of the open segment that are no whole record (yet); `forgotten`: how
    many of the sealed segments were deleted by a recorded act; `handed`: those that the centre has and that were
    deleted here for that (their bytes can only be verified there)."""

    stream: int
    sealed: int
    proved: int
    records: int
    bytes: int
    damaged: list[tuple[int, int]]
    unfinished: int
    broken: Break | None
    forgotten: int = 0
    handed: tuple[handed.Handed, ...] = ()


class _BrokenError(Exception):
    def __init__(self, segment: int, offset: int, what: str) -> None:
        super().__init__(what)
        self.place = (segment, offset, what)


def verify(
    folder: Path, stream: int, noted: Iterable[Head] = (), progress: Progress = lambda _: None, full: bool = False
) -> Verified:
    """Walk one stream up to its first break. `noted`: heads noted earlier, which must still lie in the chain.

    `full` also computes every Merkle root again, which takes several times as long.
    """
    walk = _Walk(folder, stream, progress, full)
    broken = None
    try:
        walk.run(list(noted))
    except _BrokenError as error:
        broken = Break(stream, *error.place)
    return Verified(
        stream, walk.sealed, walk.proved, walk.records, walk.bytes, walk.damaged, walk.unfinished, broken,
        walk.forgotten, tuple(walk.handed),
    )  # fmt: skip


class _Walk:
    """One pass over one stream."""

    def __init__(self, folder: Path, stream: int, progress: Progress, full: bool) -> None:
        self.home = archive.stream_folder(folder, stream)
        self.stream, self.progress, self.full = stream, progress, full
        self.sealed = self.proved = self.records = self.bytes = self.unfinished = self.forgotten = 0
        self.damaged: list[tuple[int, int]] = []
        self.handed: list[handed.Handed] = []

    def run(self, noted: list[Head]) -> None:
        present = archive.segments(self.home)  # before the lines: what is sealed meanwhile is among them then
        lines = self._lines()
        self.gone, self.left = self._gone()
        proved = self._proofs(lines)
        previous = NO_SEGMENT
        for line in lines:
            self._sealed(line, previous, proved.get(line.segment))
            previous = bytes.fromhex(line.sha256)
        last = len(lines) - 1
        self._heads(noted, lines)
        later = [number for number in present if number > last]
        if later and later[0] != last + 1:
            raise _BrokenError(last + 1, 0, f"缺少这一段，下一段是 {later[0]}")
        if len(later) > 1:
            raise _BrokenError(later[0], 0, "后面已有新的段，这一段却没有封存记录")
        if later:
            self._open(later[0], previous)

    def _lines(self) -> list[SealedSegment]:
        """The seal lines, numbered without a gap, each naming the one before."""
        found: list[SealedSegment] = []
        for number, text in enumerate(archive.whole_lines(self.home / "segments.jsonl")):
            try:
                line = SealedSegment(**json.loads(text))
                bytes.fromhex(line.sha256)
            except (ValueError, TypeError):
                raise _BrokenError(number, 0, f"segments.jsonl 第 {number + 1} 行读不出") from None
            if line.segment != number:
                raise _BrokenError(
                    number, 0, f"segments.jsonl 缺少这一段的封存记录，第 {number + 1} 行是段 {line.segment}"
                )
            if line.previous != (found[-1].sha256 if found else NO_SEGMENT.hex()):
                raise _BrokenError(number, 0, f"segments.jsonl 第 {number + 1} 行所接的不是前一段的 SHA-256")
            found.append(line)
        return found

    def _proofs(self, sealed: list[SealedSegment]) -> dict[int, Proof]:
        """The proof lines, each following from the one before and agreeing with the seal line."""
        found: dict[int, Proof] = {}
        before = b""
        for number, text in enumerate(archive.whole_lines(self.home / proofs.NAME)):
            name = f"{proofs.NAME} 第 {number + 1} 行"
            try:
                proof = proofs.parse(text)
            except ValueError:
                raise _BrokenError(number, 0, f"{name}读不出") from None
            if proof.segment != number or number >= len(sealed):
                raise _BrokenError(number, 0, f"{name}说的是段 {proof.segment}，没有与它相应的封存记录")
            if proof.sha256 != sealed[number].sha256:
                raise _BrokenError(number, 0, f"{name}的 SHA-256 与封存记录不同")
            if proof.previous != (hashlib.sha256(before).hexdigest() if before else proofs.NOTHING):
                raise _BrokenError(number, 0, f"{name}所接的不是前一行")
            if proof.previous_sm3 and proof.previous_sm3 != (proofs.sm3(before) if before else proofs.NOTHING):
                raise _BrokenError(number, 0, f"{name}所接的不是前一行（SM3）")
            found[number], before = proof, text
        return found

    def _gone(self) -> tuple[dict[int, forgotten.Forgotten], dict[int, handed.Handed]]:
        name = forgotten.NAME
        try:
            gone = forgotten.lines(self.home.parent, self.stream)
            name = handed.NAME
            return gone, handed.lines(self.home.parent, self.stream)
        except (ValueError, TypeError):
            raise _BrokenError(-1, 0, f"{name} 读不出") from None

    def _sealed(self, line: SealedSegment, previous: bytes, proof: Proof | None) -> None:
        path = archive.segment_path(self.home, line.segment)
        if not path.is_file():
            self._absent(line, proof)
            return
        with proofs.mapped(path) as view, ThreadPoolExecutor(1) as hashing:
            digest = hashing.submit(lambda: hashlib.sha256(view).hexdigest())  # beside the walk: both free the lock
            self._header(bytes(view[:FIRST_OFFSET]), line.segment, previous)
            walked = proofs.walk(view)
            self._content(line, len(view), walked, digest.result())
            self._told(line, view, walked)
            if proof is not None:
                self._proof(proof, view, walked)
        self.sealed += 1
        self.records += len(walked.starts) - 1 - len(walked.damaged)
        self.damaged += [(line.segment, offset) for offset in walked.damaged]
        self._passed(line.bytes)

    def _absent(self, line: SealedSegment, proof: Proof | None) -> None:
        """The file may be gone only by a recorded act, and what proves its records must be here; or because the centre
        has it, which proves them."""
        gone, left = self.gone.get(line.segment), self.left.get(line.segment)
        if gone is None and left is not None:
            self._left(line, left)
            return
        if gone is None:
            raise _BrokenError(line.segment, 0, "段文件不在了")
        if gone.sha256 != line.sha256 or proof is None:
            raise _BrokenError(line.segment, 0, f"段文件不在了，{forgotten.NAME} 所记与封存记录不同，或没有见证行")
        self.sealed += 1
        self.proved += 1
        self.forgotten += 1

    def _left(self, line: SealedSegment, left: handed.Handed) -> None:
        token = self.home.parent / handed.TOKEN
        ours = token.is_file() and token.read_text(encoding="utf-8").strip() == left.token
        if not ours or (left.sha256, left.bytes) != (line.sha256, line.bytes):
            what = f"段文件不在了，{handed.NAME} 所记与封存记录不同，或本机不是转送归档的网关机器"
            raise _BrokenError(line.segment, 0, what)
        self.sealed += 1
        self.handed.append(left)

    def _header(self, data: bytes, segment: int, previous: bytes) -> None:
        if len(data) < FIRST_OFFSET:
            raise _BrokenError(segment, 0, f"文件头不完整，只有 {len(data)} 字节")
        name, stream, number, before = FILE_HEADER.unpack(data)
        if name != FORMAT:
            raise _BrokenError(segment, 0, "不是归档段文件")
        if (stream, number) != (self.stream, segment):
            raise _BrokenError(segment, 16, f"文件头写的是流 {stream} 段 {number}")
        if before != previous:
            raise _BrokenError(segment, 32, "文件头所接的不是前一段的 SHA-256")

    def _content(self, line: SealedSegment, size: int, walked: proofs.Walked, digest: str) -> None:
        """The bytes are those that were sealed; if not, where they begin to differ as far as can be told."""
        if digest == line.sha256 and size == line.bytes:
            return
        if walked.damaged:
            raise _BrokenError(line.segment, walked.damaged[0], "这条记录的 CRC 不对，封存之后被改动")
        if walked.end < size:
            raise _BrokenError(line.segment, walked.end, "从这里起不是完整的记录，封存之后被改动")
        if size < line.bytes:
            raise _BrokenError(line.segment, size, f"文件被截短：封存时 {line.bytes} 字节")
        if size > line.bytes:
            raise _BrokenError(line.segment, line.bytes, f"封存之后又添了 {size - line.bytes} 字节")
        raise _BrokenError(
            line.segment, 0, "内容与封存时的 SHA-256 不符，而各记录的 CRC 都对：改动者重算了 CRC，或封存记录被改"
        )

    def _told(self, line: SealedSegment, view: memoryview, walked: proofs.Walked) -> None:
        """What the seal line says of the records, by which segments are found, is so."""
        damaged = set(walked.damaged)
        intact = [start for start in walked.starts[1:] if start not in damaged]
        ends = [archive.RECORD_HEADER.unpack_from(view, start)[-1] / 1e6 for start in (intact[:1] + intact[-1:])]
        first, last = ends if ends else (None, None)
        for name, said, found in (
            ("记录数", line.records, len(intact)), ("最早接收时间", line.first_recv, first),
            ("最晚接收时间", line.last_recv, last),
        ):  # fmt: skip
            same = said == found if said is None or found is None else abs(said - found) < MICROSECOND
            if not same:
                what = f"segments.jsonl 第 {line.segment + 1} 行的{name}是 {said}，段中是 {found}：封存记录被改"
                raise _BrokenError(line.segment, 0, what)

    def _proof(self, proof: Proof, view: memoryview, walked: proofs.Walked) -> None:
        if proof.sm3 and proofs.sm3(view) != proof.sm3:
            raise _BrokenError(proof.segment, 0, "内容与见证行的 SM3 不符")
        if self.full and proofs.tree(view, walked)[-1][0].hex() != proof.merkle:
            raise _BrokenError(proof.segment, 0, "内容与见证行的默克尔根不符")
        self.proved += 1

    def _open(self, number: int, previous: bytes) -> None:
        data = archive.segment_path(self.home, number).read_bytes()
        if len(data) < FIRST_OFFSET:  # just begun: its header is being written
            self.unfinished = len(data)
            return
        self._header(data[:FIRST_OFFSET], number, previous)
        walked = proofs.walk(data)
        if walked.damaged:
            raise _BrokenError(number, walked.damaged[0], "未封存的段中这条记录的 CRC 不对，其后还有完整的记录")
        self.records += len(walked.starts) - 1
        self.unfinished = len(data) - walked.end
        self._passed(len(data))

    def _heads(self, noted: list[Head], lines: list[SealedSegment]) -> None:
        """What was noted as the end of the chain must still be part of it."""
        known = [hashlib.sha256(text).hexdigest() for text in archive.whole_lines(self.home / proofs.NAME)]
        for head in noted:
            last = head.segment
            if last >= 0 and (last >= len(lines) or lines[last].sha256 != head.sha256):
                raise _BrokenError(last, 0, "记下的链头不在链中：末尾被截去，或整条链被重写")
            if head.proof not in (proofs.NOTHING, *known):
                raise _BrokenError(last, 0, "记下的见证行不在链中：末尾被截去，或整条链被重写")
            if head.open_segment >= 0 and not self._is_accounted_for(head.open_segment):
                self._noted_open(head)

    def _is_accounted_for(self, segment: int) -> bool:
        return segment in self.gone | self.left and not archive.segment_path(self.home, segment).is_file()

    def _noted_open(self, head: Head) -> None:
        path = archive.segment_path(self.home, head.open_segment)
        with open(path, "rb") if path.is_file() else open("/dev/null", "rb") as file:
            data = file.read(head.open_bytes)
        if len(data) < head.open_bytes:
            raise _BrokenError(head.open_segment, len(data), f"记下链头时这一段已有 {head.open_bytes} 字节，末尾被截去")
        if hashlib.sha256(data).hexdigest() != head.open_sha256:
            raise _BrokenError(head.open_segment, 0, f"这一段的前 {head.open_bytes} 字节与记下链头时不同")

    def _passed(self, size: int) -> None:
        self.bytes += size
        self.progress(size)
