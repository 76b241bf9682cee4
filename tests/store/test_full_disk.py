"""A disk that is really full: what was synced stays, what was not is refused, and it goes on once there is room."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ceguan.store import ArchiveError, ArchiveWriter, RecordKind, Store, archive
from tests.disk import PAGE, Disk, mounted
from tests.store.conftest import HOUR, MARCH, add, reading

SMALL = 20_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with mounted(tmp_path, 8) as one:
        yield one


def test_however_often_the_archive_finds_the_disk_full_what_was_synced_is_there_once_and_in_order(disk: Disk) -> None:
    chance, number = random.Random(1), 0
    synced: list[bytes] = []
    fallen = 0
    for _ in range(40):
        disk.fill(leave=chance.randrange(8) * PAGE)
        try:
            with ArchiveWriter(disk.folder / "archive", 0, SMALL) as writer:
                for _ in range(60):
                    group = [b"%06d " % (number + i) * chance.randrange(1, 60) for i in range(5)]
                    number += 5
                    for payload in group:
                        writer.append(RecordKind.FRAME, 1.0, "s", payload)
                    writer.sync()
                    synced += group
        except (ArchiveError, OSError):
            fallen += 1
        disk.relieve()
    with ArchiveWriter(disk.folder / "archive", 0, SMALL) as writer:
        writer.append(RecordKind.FRAME, 2.0, "s", b"there is room again")
    kept = [record.payload for record in archive.read(disk.folder / "archive")]
    assert fallen > 20
    assert kept[-1] == b"there is room again"
    assert len(set(kept)) == len(kept), "nothing twice"
    assert [payload for payload in kept if payload in set(synced)] == synced
    assert whole(disk.folder / "archive") == []


def whole(folder: Path) -> list[str]:
    """What is wrong with the chain of stream 0: a hash that differs, a segment that is not records from end to end."""
    wrong, previous = [], archive.NO_SEGMENT.hex()
    home = archive.stream_folder(folder, 0)
    sealed = {line.segment: line for line in archive.sealed_segments(folder, 0)}
    for segment in archive.segments(home):
        data = archive.segment_path(home, segment).read_bytes()
        if archive.FILE_HEADER.unpack_from(data)[3].hex() != previous:
            wrong.append(f"{segment}: does not follow the one before")
        if archive.intact_end(archive.segment_path(home, segment), 0) != len(data):
            wrong.append(f"{segment}: {len(data)} bytes are not all records")
        if segment in sealed:
            previous = hashlib.sha256(data).hexdigest()
            if (sealed[segment].sha256, sealed[segment].bytes) != (previous, len(data)):
                wrong.append(f"{segment}: not as sealed")
    return wrong


def test_a_ledger_that_finds_the_disk_full_has_all_of_a_batch_or_nothing(disk: Disk) -> None:
    chance, done, fallen = random.Random(2), 0, 0
    with Store(disk.folder, write=True, database="") as store:
        for turn in range(30):
            disk.fill(leave=chance.randrange(40) * PAGE)
            try:
                with store.ledger.batch() as batch:
                    batch.add_readings([reading(1, MARCH + (done * 100 + i) * HOUR, i) for i in range(100)])
                    batch.note("done", done + 1)
                done += 1
            except sqlite3.OperationalError:
                fallen += 1
            if turn % 3 == 2:
                disk.relieve()
            assert (Store(disk.folder, database="").note("done") or 0) == done
            assert Store(disk.folder, database="").readings([1], 2, 0, 1 << 40).num_rows == 100 * done
    assert fallen > 3
    assert done > 3


def test_sealing_on_a_full_disk_leaves_the_month_where_it_was_and_can_be_done_again(disk: Disk) -> None:
    with Store(disk.folder, write=True, database="") as store:
        add(store, *(reading(series, MARCH + i * HOUR, (i * 7919 + series) % 9973 / 9973) for series in range(20)
                     for i in range(700)))  # fmt: skip
        before = rows(store)
        disk.fill(leave=4 * PAGE)
        with pytest.raises(OSError, match="No space left"):
            store.seal("2026-03", 1.0)
        assert store.manifest().num_rows == 0
        assert rows(store) == before
        assert list((disk.folder / "history").glob("*")) == [], "what could not be finished gives its room back"
        disk.relieve()
        store.seal("2026-03", 2.0)
        assert store.manifest()["rows"].to_pylist() == [len(before)]
        assert rows(store) == before


def rows(store: Store) -> list[tuple[int, int, float]]:
    found = store.readings(range(20), 2, 0, 1 << 40, versions="all")
    return list(zip(*(found[name].to_pylist() for name in ("series", "ts", "value")), strict=True))
