"""The archive as evidence: its first break is named exactly, and one record is proved without its segment."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.store import ArchiveError, ArchiveWriter, RecordKind, archive, proofs
from ceguan.store.verify import Verified, verify

SMALL = 2048
RECORD = archive.RECORD_HEADER.size + len("10.0.0.7:51234") + 100


def fill(folder: Path, count: int = 60, stream: int = 0) -> None:
    """About sixteen records of 100 bytes to a segment; three sealed segments and an open one."""
    with ArchiveWriter(folder, stream, SMALL) as writer:
        for number in range(count):
            writer.append(RecordKind.FRAME, 1.5 + number, "10.0.0.7:51234", b"%0100d" % number)


def segment(folder: Path, number: int) -> Path:
    return archive.segment_path(archive.stream_folder(folder, 0), number)


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def broken(folder: Path, **options: object) -> tuple[int, int]:
    found = verify(folder, 0, **options).broken  # type: ignore[arg-type]
    assert found is not None
    return found.segment, found.offset


def recompute_crc(path: Path, at: int, size: int = RECORD) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + 4] = zlib.crc32(data[at + 4 : at + size]).to_bytes(4, "little")
    path.write_bytes(data)


def test_an_untouched_stream_holds_from_the_first_byte_to_the_last(tmp_path: Path) -> None:
    fill(tmp_path)
    proofs.prove(tmp_path, 0, 100.0, with_sm3=False)
    size = sum(path.stat().st_size for path in (tmp_path / "0000").glob("*.seg"))
    told: list[int] = []
    assert verify(tmp_path, 0, progress=told.append, full=True) == Verified(0, 4, 4, 60, size, [], 0, None)
    assert sum(told) == size


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_byte_of_a_sealed_segment_is_changed_its_segment_is_named(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("archive")
    fill(folder)
    number = data.draw(st.integers(0, 3))
    path = segment(folder, number)
    flip(path, data.draw(st.integers(0, path.stat().st_size - 1)))
    assert broken(folder)[0] == number


def test_a_changed_record_is_named_by_its_offset(tmp_path: Path) -> None:
    fill(tmp_path)
    third = archive.FIRST_OFFSET + 2 * RECORD
    flip(segment(tmp_path, 1), third + 50)
    assert broken(tmp_path) == (1, third)


def test_who_computes_the_crc_again_is_found_by_the_chain(tmp_path: Path) -> None:
    fill(tmp_path)
    flip(segment(tmp_path, 1), archive.FIRST_OFFSET + 50)
    recompute_crc(segment(tmp_path, 1), archive.FIRST_OFFSET)
    assert "CRC 都对" in verify(tmp_path, 0).broken.what


def test_who_also_writes_the_seal_line_anew_is_found_in_the_next_line_and_header(tmp_path: Path) -> None:
    fill(tmp_path)
    flip(segment(tmp_path, 1), archive.FIRST_OFFSET + 50)
    recompute_crc(segment(tmp_path, 1), archive.FIRST_OFFSET)
    lines = [json.loads(line) for line in (tmp_path / "0000" / "segments.jsonl").read_text().splitlines()]
    lines[1]["sha256"] = hashlib.sha256(segment(tmp_path, 1).read_bytes()).hexdigest()
    write_lines(tmp_path, lines)
    assert broken(tmp_path) == (2, 0)
    lines[2]["previous"] = lines[1]["sha256"]
    write_lines(tmp_path, lines)
    assert broken(tmp_path) == (2, 32)


def write_lines(folder: Path, lines: list[dict]) -> None:
    (folder / "0000" / "segments.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_missing_segment_a_missing_line_and_a_shortened_file_are_named(tmp_path: Path) -> None:
    fill(tmp_path)
    content = segment(tmp_path, 2).read_bytes()
    segment(tmp_path, 2).unlink()
    assert broken(tmp_path) == (2, 0)
    whole = (len(content) - archive.FIRST_OFFSET) // RECORD * RECORD + archive.FIRST_OFFSET
    segment(tmp_path, 2).write_bytes(content[: whole - RECORD])
    assert broken(tmp_path) == (2, whole - RECORD)
    segment(tmp_path, 2).write_bytes(content + b"more")
    assert broken(tmp_path) == (2, len(content))
    segment(tmp_path, 2).write_bytes(content)
    lines = [json.loads(line) for line in (tmp_path / "0000" / "segments.jsonl").read_text().splitlines()]
    write_lines(tmp_path, lines[:1] + lines[2:])
    assert broken(tmp_path) == (1, 0)


@pytest.mark.parametrize(
    ("said", "otherwise"), [("records", 17), ("first_recv", 0.5), ("last_recv", 40.0), ("last_recv", None)]
)
def test_what_a_seal_line_says_of_its_records_is_checked_against_them(
    tmp_path: Path, said: str, otherwise: float | None
) -> None:
    fill(tmp_path)
    path = tmp_path / "0000" / "segments.jsonl"
    first, second, *more = path.read_bytes().splitlines(keepends=True)
    changed = json.dumps(json.loads(second) | {said: otherwise}).encode() + b"\n"
    path.write_bytes(b"".join([first, changed, *more]))
    assert broken(tmp_path) == (1, 0)


def test_a_list_of_segments_that_cannot_be_read_says_which_line_of_which_file(tmp_path: Path) -> None:
    fill(tmp_path)
    path = tmp_path / "0000" / "segments.jsonl"
    with path.open("ab") as out:
        out.write(b"no line\n")
    with pytest.raises(ArchiveError, match=r"segments\.jsonl 第 5 行读不出"):
        archive.sealed_segments(tmp_path, 0)
    with pytest.raises(ArchiveError, match="第 5 行"):
        ArchiveWriter(tmp_path, 0)


def test_files_that_are_no_segments_are_left_alone(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "0000" / "copy of 0000001.seg").write_bytes(b"x")
    (tmp_path / "notes").mkdir()
    assert verify(tmp_path, 0).broken is None
    assert sum(1 for _ in archive.read(tmp_path)) == 60


def test_the_open_segment_is_walked_and_its_unfinished_end_is_no_break(tmp_path: Path) -> None:
    fill(tmp_path)
    last = segment(tmp_path, 4)
    content = last.read_bytes()
    last.write_bytes(content + content[archive.FIRST_OFFSET : archive.FIRST_OFFSET + 60])
    found = verify(tmp_path, 0)
    assert (found.broken, found.unfinished) == (None, 60)
    flip(last, archive.FIRST_OFFSET + 40)
    assert broken(tmp_path) == (4, archive.FIRST_OFFSET)


def test_what_was_cut_off_the_end_is_found_by_a_head_noted_before(tmp_path: Path) -> None:
    fill(tmp_path)
    noted = proofs.head(tmp_path, 0)
    assert (noted.segment, noted.open_segment) == (3, 4)
    fill(tmp_path, 20)
    assert verify(tmp_path, 0, [noted]).broken is None
    for number in (4, 5):
        segment(tmp_path, number).unlink()
    lines = [json.loads(line) for line in (tmp_path / "0000" / "segments.jsonl").read_text().splitlines()]
    write_lines(tmp_path, lines[:4])
    assert verify(tmp_path, 0).broken is None  # nobody can tell from the chain alone
    assert broken(tmp_path, noted=[noted]) == (4, 0)


@pytest.mark.parametrize("with_sm3", [False, True])
def test_proof_lines_follow_from_each_other_and_are_made_only_once(tmp_path: Path, with_sm3: bool) -> None:
    fill(tmp_path)
    assert proofs.prove(tmp_path, 0, 100.0, with_sm3, most=3) == 3
    assert proofs.prove(tmp_path, 0, 100.0, with_sm3) == 1
    assert proofs.prove(tmp_path, 0, 100.0, with_sm3) == 0
    file = tmp_path / "0000" / proofs.NAME
    lines = file.read_text().splitlines()
    assert [bool(proofs.parse(line.encode()).sm3) for line in lines] == [with_sm3] * 4
    file.write_text("\n".join([lines[0].replace("100.0", "99.0"), *lines[1:]]) + "\n")
    assert broken(tmp_path) == (1, 0)


def test_segments_sealed_before_sm3_was_switched_on_stay_valid(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    proofs.prove(tmp_path, 0, 100.0, with_sm3=False)
    fill(tmp_path, 40)
    proofs.prove(tmp_path, 0, 200.0, with_sm3=True)
    assert {bool(proofs.parse(line).sm3) for line in proofs.lines(tmp_path, 0)} == {False, True}
    assert verify(tmp_path, 0, full=True).broken is None
    lines = (tmp_path / "0000" / proofs.NAME).read_bytes().splitlines()
    last = proofs.parse(lines[-1])._replace(sm3="0" * 64)
    (tmp_path / "0000" / proofs.NAME).write_bytes(
        b"\n".join([*lines[:-1], json.dumps(last._asdict()).encode()]) + b"\n"
    )
    assert "SM3" in verify(tmp_path, 0).broken.what


def test_a_segment_changed_after_it_was_sealed_gets_no_proof_line(tmp_path: Path) -> None:
    fill(tmp_path)
    flip(segment(tmp_path, 0), 100)
    with pytest.raises(ArchiveError, match="段 0"):
        proofs.prove(tmp_path, 0, 100.0, with_sm3=False)


def test_sm3_says_what_the_standard_says() -> None:
    # GB/T 32905-2016, A.1: the message "abc"
    assert proofs.sm3(b"abc") == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


@given(pieces=st.lists(st.binary(max_size=20), min_size=1, max_size=40), data=st.data())
@settings(max_examples=80)
def test_every_piece_leads_to_the_root_and_a_changed_one_does_not(pieces: list[bytes], data) -> None:
    rows = proofs.rows_above([proofs.leaf(piece) for piece in pieces])
    index = data.draw(st.integers(0, len(pieces) - 1))
    steps = proofs.path(rows, index)
    assert proofs.climb(pieces[index], steps) == rows[-1][0].hex()
    assert proofs.climb(pieces[index] + b"!", steps) != rows[-1][0].hex()


def test_the_tree_is_that_of_rfc_6962() -> None:
    # Merkle tree hash of RFC 6962 (2.1), worked by its recursive definition
    def mth(pieces: list[bytes]) -> bytes:
        if len(pieces) == 1:
            return hashlib.sha256(b"\0" + pieces[0]).digest()
        k = 1 << (len(pieces) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + mth(pieces[:k]) + mth(pieces[k:])).digest()

    for count in range(1, 18):
        pieces = [b"%d" % number for number in range(count)]
        assert proofs.rows_above([proofs.leaf(piece) for piece in pieces])[-1][0] == mth(pieces)
