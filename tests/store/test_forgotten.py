"""Segments deleted by a recorded act: the chain holds over the hole, and a crash at any step is harmless."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from ceguan.store import (
    ArchiveError,
    ArchiveWriter,
    ForgottenError,
    Position,
    RecordKind,
    Store,
    archive,
    forgotten,
    proofs,
)
from ceguan.store.forgotten import Act
from ceguan.store.verify import verify
from ceguan.words import FrameRef
from tests.store import crashing
from tests.store.test_crash import start

ACT = Act("ab" * 32, 1772294400.0, "排污许可管理条例 第十九条")
TAKEN = Position(99, 0)


def fill(folder: Path, count: int = 60) -> Path:
    """Five sealed segments and an open one, proved."""
    home = folder / "archive"
    with ArchiveWriter(home, 0, 2048) as writer:
        for number in range(count):
            payload = b"##0101ST=31;CN=2061;MN=DEVICE%d;CP=&&%060d&&0000\r\n" % (number % 2, number)
            writer.append(RecordKind.FRAME, 1.5 + number, "10.0.0.7:51234", payload)
    proofs.prove(home, 0, 100.0, with_sm3=False)
    return home


def files(home: Path) -> list[int]:
    return archive.segments(archive.stream_folder(home, 0))


def test_the_chain_holds_over_what_was_deleted_and_the_heads_noted_before_still_lie_in_it(tmp_path: Path) -> None:
    home = fill(tmp_path)
    noted = proofs.heads(home)
    before = verify(home, 0, noted, full=True)
    assert forgotten.let_go(home, 0, [0, 2], ACT) == 2
    after = verify(home, 0, noted, full=True)
    assert after.broken is None
    assert (after.sealed, after.proved, after.forgotten) == (before.sealed, before.proved, 2)
    assert files(home)[:2] == [1, 3]
    assert forgotten.let_go(home, 0, [0, 2], ACT) == 0
    with open(archive.stream_folder(home, 0) / forgotten.NAME, "a") as book:
        book.write('{"stream": 0, "seg')
    assert forgotten.let_go(home, 0, [0, 2, 3], ACT) == 1
    with ArchiveWriter(home, 0, 2048) as writer:
        writer.append(RecordKind.FRAME, 99.0, "10.0.0.7:51234", b"x" * 3000)
    last = verify(home, 0, noted)
    assert (last.broken, last.forgotten) == (None, 3)


def test_a_segment_that_vanished_without_an_act_is_a_break_and_so_is_a_line_for_another_content(tmp_path: Path) -> None:
    home = fill(tmp_path)
    forgotten.let_go(home, 0, [0], ACT)
    book = archive.stream_folder(home, 0) / forgotten.NAME
    line = book.read_text()
    archive.segment_path(archive.stream_folder(home, 0), 1).unlink()
    assert "段文件不在了" in str(verify(home, 0).broken)
    book.write_text(line + line.replace('"segment": 0', '"segment": 1'))
    assert "与封存记录不同" in str(verify(home, 0).broken)
    book.write_text("no json\n")
    assert "读不出" in str(verify(home, 0).broken)


def test_a_record_that_is_gone_says_by_which_act_and_all_others_are_read(tmp_path: Path) -> None:
    home = fill(tmp_path)
    store = Store(tmp_path)
    everything = [record.ref for record in store.arrivals()]
    forgotten.let_go(home, 0, [1], ACT)
    with pytest.raises(
        ForgottenError, match="段 1 已于 2026-03-01 依 排污许可管理条例 第十九条 删除（留痕 abababababab…）"
    ):
        store.frame(FrameRef(0, 1, 64))
    with pytest.raises(LookupError, match="没有") as other:
        store.frame(FrameRef(0, 77, 64))
    assert not isinstance(other.value, ForgottenError)
    left = [record.ref for record in store.arrivals()]
    assert left == [ref for ref in everything if ref.segment != 1]
    assert [line.segment for _, line in forgotten.between(home, 0.0, 1e9)] == [1]
    assert forgotten.between(home, 50.0, 1e9) == []


def test_only_sealed_proved_segments_that_were_taken_in_and_are_old_enough_come_into_question(tmp_path: Path) -> None:
    home = fill(tmp_path)
    sealed = archive.sealed_segments(home, 0)
    count = len(sealed)

    def found(taken: Position, before: float) -> list[int]:
        return [one.sealed.segment for one in forgotten.candidates(home, 0, taken, before)]

    assert found(TAKEN, 1e9) == list(range(count))
    assert found(Position(2, 64), 1e9) == [0, 1]
    assert found(TAKEN, sealed[1].last_recv) == [0]
    (archive.stream_folder(home, 0) / proofs.NAME).unlink()
    assert found(TAKEN, 1e9) == []


def test_what_a_segment_holds_is_told_before_anybody_decides(tmp_path: Path) -> None:
    home = fill(tmp_path)
    first = next(forgotten.candidates(home, 0, TAKEN, 1e9))
    seen = forgotten.content(home, first)
    assert (seen.kinds, seen.mns) == ({RecordKind.FRAME}, {b"DEVICE0", b"DEVICE1"})
    assert seen.last == first.sealed.last_recv
    path = archive.segment_path(archive.stream_folder(home, 0), 0)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ArchiveError, match="先用 ceguan archive verify 查明"):
        forgotten.let_go(home, 0, [0], ACT)
    assert path.is_file()


def test_the_header_of_what_is_gone_can_still_be_proved(tmp_path: Path) -> None:
    home = fill(tmp_path)
    path = archive.segment_path(archive.stream_folder(home, 0), 2)
    original = path.read_bytes()[:64]
    forgotten.let_go(home, 0, [2], ACT)
    line = forgotten.lines(home, 0)[2]
    assert forgotten.header(home, line) == original
    assert proofs.climb(original, line.header) == proofs.parse(proofs.lines(home, 0)[2]).merkle


@pytest.mark.service
def test_killed_at_any_step_deleting_is_harmless_and_can_be_done_again(tmp_path: Path) -> None:
    steps = 0
    while True:
        steps += 1
        home = fill(tmp_path / str(steps), 40)
        process, receiver = start(crashing.let_go, tmp_path / str(steps), steps)
        process.join()
        held = verify(home, 0)
        assert held.broken is None, (steps, held)
        forgotten.let_go(home, 0, [0, 1], ACT)
        assert (verify(home, 0).forgotten, verify(home, 0).broken) == (2, None)
        assert len(archive.whole_lines(archive.stream_folder(home, 0) / forgotten.NAME)) == 2
        with suppress(EOFError):
            receiver.recv()
            break
    assert steps > 10
