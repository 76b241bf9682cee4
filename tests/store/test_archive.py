"""The frame archive: what was synced is there, byte for byte, and nobody can bend it unseen."""

from __future__ import annotations

import hashlib
import resource
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.store import (
    ArchiveError,
    ArchiveWriter,
    Position,
    RecordKind,
    RecordNotFoundError,
    StreamTakenError,
    archive,
    bulk,
    next_free_stream,
    open_free_stream,
)
from ceguan.words import FrameRef

SMALL = 4096


def write(folder: Path, *payloads: bytes, stream: int = 0, segment_bytes: int = SMALL) -> list[FrameRef]:
    with ArchiveWriter(folder, stream, segment_bytes) as writer:
        refs = [writer.append(RecordKind.FRAME, 1.5 + i, "10.0.0.7:51234", p) for i, p in enumerate(payloads)]
        writer.sync()
    return refs


def payloads(folder: Path, start: dict[int, Position] | None = None) -> list[bytes]:
    return [record.payload for record in archive.read(folder, start)]


def the_segment(folder: Path, number: int = 0) -> Path:
    return archive.segment_path(archive.stream_folder(folder, 0), number)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 3) as writer:
        ref = writer.append(RecordKind.BAD, 1772294400.123456, "测站 7", b"\x00##0000\xff")
        writer.sync()
        assert archive.fetch(tmp_path, ref) == (ref, RecordKind.BAD, 1772294400.123456, "测站 7", b"\x00##0000\xff")
    assert list(archive.read(tmp_path)) == [archive.fetch(tmp_path, ref)]
    assert FrameRef.unpack(ref.packed) == ref


def test_an_empty_payload_and_an_endless_source_are_records_too(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 0) as writer:
        writer.append(RecordKind.FRAME, 0.0, "源" * 200, b"")
    (record,) = archive.read(tmp_path)
    assert record.payload == b""
    assert record.source == "源" * 85


def test_a_stream_goes_on_where_it_was_left(tmp_path: Path) -> None:
    write(tmp_path, b"one", b"two")
    write(tmp_path, b"three")
    assert payloads(tmp_path) == [b"one", b"two", b"three"]
    assert archive.segments(archive.stream_folder(tmp_path, 0)) == [0]


def test_a_reader_goes_on_behind_its_position_in_every_stream(tmp_path: Path) -> None:
    write(tmp_path, *(b"a%d" % i for i in range(300)), stream=0)
    write(tmp_path, *(b"b%d" % i for i in range(5)), stream=64)
    seen, positions = [], {}
    for record in archive.read(tmp_path):
        seen.append(record.payload)
        positions[record.ref.stream] = record.after
    assert len(seen) == 305
    assert payloads(tmp_path, positions) == []
    write(tmp_path, b"late", stream=64)
    assert archive.backlog(tmp_path, positions) > 0
    assert payloads(tmp_path, positions) == [b"late"]


def test_a_record_larger_than_a_segment_gets_a_segment_of_its_own(tmp_path: Path) -> None:
    big = bytes(range(256)) * 100
    write(tmp_path, b"small", big, b"small again")
    assert payloads(tmp_path) == [b"small", big, b"small again"]


def test_a_record_larger_than_a_reading_chunk_is_read(tmp_path: Path) -> None:
    big = b"x" * (3 * archive.CHUNK_BYTES)
    write(tmp_path, b"small", big, b"small again", segment_bytes=archive.SEGMENT_BYTES)
    assert payloads(tmp_path) == [b"small", big, b"small again"]


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 1200))
def test_a_torn_tail_is_cut_off_and_nothing_before_it(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    refs = write(folder, *(b"%03d" % i * 20 for i in range(10)))
    data = the_segment(folder).read_bytes()
    the_segment(folder).write_bytes(data[: min(cut, len(data))])
    whole = [b"%03d" % i * 20 for i, ref in enumerate(refs) if ref.offset + (refs[1].offset - refs[0].offset) <= cut]
    assert payloads(folder) == whole
    write(folder, b"after the crash")
    assert payloads(folder) == [*whole, b"after the crash"]


def test_one_damaged_byte_costs_one_record(tmp_path: Path) -> None:
    refs = write(tmp_path, *(b"%03d" % i * 20 for i in range(10)))
    with open(the_segment(tmp_path), "r+b") as file:
        file.seek(refs[4].offset + 40)
        file.write(b"\xff")
    others = [b"%03d" % i * 20 for i in range(10) if i != 4]
    assert payloads(tmp_path) == others
    with pytest.raises(RecordNotFoundError):
        archive.fetch(tmp_path, refs[4])
    write(tmp_path, b"after")
    assert payloads(tmp_path) == [*others, b"after"]
    assert archive.fetch(tmp_path, refs[9]).payload == b"009" * 20


def test_full_segments_are_sealed_each_with_the_hash_of_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, *(b"%03d" % i * 100 for i in range(50)))
    sealed = archive.sealed_segments(tmp_path, 0)
    assert [line.segment for line in sealed] == list(range(len(sealed)))
    assert sum(line.records for line in sealed) <= 50
    previous = archive.NO_SEGMENT.hex()
    for line in sealed:
        content = the_segment(tmp_path, line.segment).read_bytes()
        assert (line.bytes, line.previous) == (len(content), previous)
        assert line.sha256 == hashlib.sha256(content).hexdigest()
        assert content[32:64].hex() == previous
        previous = line.sha256


def test_sealing_that_a_crash_interrupted_is_done_on_reopening(tmp_path: Path) -> None:
    write(tmp_path, *(b"%03d" % i * 100 for i in range(50)))
    sealed = archive.sealed_segments(tmp_path, 0)
    lines = (archive.stream_folder(tmp_path, 0) / "segments.jsonl").read_text().splitlines(keepends=True)
    (archive.stream_folder(tmp_path, 0) / "segments.jsonl").write_text("".join(lines[:-1]) + lines[-1][:30])
    write(tmp_path, b"after")
    assert archive.sealed_segments(tmp_path, 0)[: len(sealed)] == sealed
    assert len(payloads(tmp_path)) == 51


@settings(max_examples=30, deadline=None)
@given(data=st.data(), rest=st.sampled_from([b"", bytes(100), b"\xff" * 7, b"\r"]))
def test_a_list_of_segments_torn_at_any_byte_is_written_anew_from_the_segments(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rest: bytes
) -> None:
    """`rest`: what a file system may leave behind what was written."""
    folder = tmp_path_factory.mktemp("torn")
    write(folder, *(b"%03d" % i * 100 for i in range(30)))
    sealed, listed = archive.sealed_segments(folder, 0), archive.stream_folder(folder, 0) / "segments.jsonl"
    whole = listed.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    listed.write_bytes(whole[: data.draw(st.integers(last, len(whole) - 1))] + rest)
    assert archive.sealed_segments(folder, 0) == sealed[:-1]
    assert len(payloads(folder)) == 30
    write(folder, b"after")
    assert archive.sealed_segments(folder, 0)[: len(sealed)] == sealed
    assert payloads(folder)[-1] == b"after"
    assert len(payloads(folder)) == 31


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 70), rest=st.sampled_from([bytes(500), b"\xc9\x5a" * 40, bytes(range(256))]))
def test_what_a_power_cut_left_behind_the_last_record_is_no_record(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rest: bytes
) -> None:
    """The tail of the last record was written in part, and the room behind it holds anything."""
    folder = tmp_path_factory.mktemp("torn")
    refs = write(folder, *(b"%03d" % i * 20 for i in range(5)))
    begun = the_segment(folder).read_bytes()[: refs[-1].offset + cut]
    the_segment(folder).write_bytes(begun + rest)
    assert payloads(folder) == [b"%03d" % i * 20 for i in range(4)]
    write(folder, b"after")
    assert payloads(folder) == [*(b"%03d" % i * 20 for i in range(4)), b"after"]


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 0), pytest.raises(StreamTakenError, match=r"归档流 0 正由进程 \d+ 写入"):
        ArchiveWriter(tmp_path, 0)
    ArchiveWriter(tmp_path, 0).close()


def test_gateways_find_a_stream_of_their_own(tmp_path: Path) -> None:
    with open_free_stream(tmp_path, range(64)) as first, open_free_stream(tmp_path, range(64)) as second:
        assert (first.stream, second.stream) == (0, 1)
        assert next_free_stream(tmp_path, range(64)) == 2
        with pytest.raises(StreamTakenError, match=r"\[0, 1\]"):
            open_free_stream(tmp_path, range(2))


def test_a_full_disk_is_an_error_and_what_was_synced_before_stays(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = ArchiveWriter(tmp_path, 0)
    writer.append(RecordKind.FRAME, 1.0, "a", b"acknowledged")
    writer.sync()
    writer.append(RecordKind.FRAME, 2.0, "a", b"x" * 100_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(ArchiveError, match="写盘失败"):
            writer.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(ArchiveError, match="重新打开"):
        writer.append(RecordKind.FRAME, 3.0, "a", b"not taken")
    writer.close()
    write(tmp_path, b"later")
    assert payloads(tmp_path) == [b"acknowledged", b"later"]


def test_a_reference_to_nothing_says_so(tmp_path: Path) -> None:
    (ref,) = write(tmp_path, b"one")
    for wrong in (FrameRef(9, 0, 64), FrameRef(0, 7, 64), FrameRef(0, 0, ref.offset + 1), FrameRef(0, 0, 1 << 20)):
        with pytest.raises(RecordNotFoundError):
            archive.fetch(tmp_path, wrong)


def test_an_archive_nobody_has_written_is_empty(tmp_path: Path) -> None:
    assert payloads(tmp_path / "nowhere") == []
    assert archive.backlog(tmp_path / "nowhere", {}) == 0


@given(st.lists(st.tuples(st.binary(max_size=900), st.text(max_size=300)), max_size=12), st.integers(100, 4000))
@settings(max_examples=60, deadline=None)
def test_records_built_in_bulk_are_those_appended_one_by_one(given_records, segment_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as many:
        with ArchiveWriter(Path(one), 0, segment_bytes) as writer:
            for payload, source in given_records:
                writer.append(RecordKind.FRAME, 1772294400.123456, source, payload)
        buffer, sizes = (
            b"".join(payload for payload, _ in given_records),
            np.array([len(p) for p, _ in given_records], np.int64),
        )
        ends = np.cumsum(sizes)
        origins = [archive.origin_bytes(source) for _, source in given_records]
        with ArchiveWriter(Path(many), 0, segment_bytes) as writer:
            built = bulk.build(RecordKind.FRAME, 1772294400.123456, buffer, ends - sizes, ends, origins)
            writer.append_many(1772294400.123456, *built)
        assert files(Path(many)) == files(Path(one))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*/*")) if path.name != "lock"}


def test_one_thread_syncs_while_another_appends_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path, 0, SMALL) as writer, ThreadPoolExecutor(1) as disk:
        syncs = []
        for number in range(3000):
            writer.append(RecordKind.FRAME, number, "10.0.0.7:1", b"%d" % number * 5)
            if number % 7 == 0:
                syncs.append(disk.submit(writer.sync))
        for done in syncs:
            done.result()
    assert payloads(tmp_path) == [b"%d" % number * 5 for number in range(3000)]
    sealed = archive.sealed_segments(tmp_path, 0)
    assert len(sealed) > 10
    for line in sealed:
        assert hashlib.sha256(the_segment(tmp_path, line.segment).read_bytes()).hexdigest() == line.sha256


def test_a_disk_that_is_full_just_when_a_segment_begins_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    """The limit lets the first segment be written to its end, and the line that seals it, but no byte of the next."""
    with ArchiveWriter(tmp_path, 0, SMALL) as writer:
        written = [b"%d" % number * 100 for number in range(8)]
        for payload in written:
            writer.append(RecordKind.FRAME, 1.0, "s", payload)
        writer.sync()
    number, kept = len(archive.sealed_segments(tmp_path, 0)), payloads(tmp_path)
    assert kept == written
    writer = ArchiveWriter(tmp_path, 0, SMALL)
    real = archive.os.pwrite
    try:
        archive.os.pwrite = lambda file, data, at: real(file, data[:10], at)  # what a full disk does to a header
        for _ in range(30):
            writer.append(RecordKind.FRAME, 2.0, "s", bytes(300))
        with pytest.raises(ArchiveError):
            writer.sync()
    finally:
        archive.os.pwrite = real
        writer.close()
    assert payloads(tmp_path)[:8] == kept
    write(tmp_path, b"again")
    assert payloads(tmp_path)[:8] == kept
    assert payloads(tmp_path)[-1] == b"again"
    assert len(archive.sealed_segments(tmp_path, 0)) > number
