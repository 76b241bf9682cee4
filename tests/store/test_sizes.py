"""What each part takes, how fast it grows, how long the room lasts."""

from __future__ import annotations

import pytest

from ceguan.store import ArchiveWriter, RecordKind, Store, sizes
from ceguan.store.sizes import DAY, Noted, Part
from tests.store.conftest import APRIL, HOUR, MARCH, add, reading

NOON = MARCH + 12 * HOUR


def notes(*totals: int) -> list[Noted]:
    return [Noted(NOON + day * DAY, total, {"archive": total}, {}) for day, total in enumerate(totals)]


def test_every_part_says_what_it_takes_how_many_rows_and_from_when_to_when(store: Store) -> None:
    with ArchiveWriter(store.archive, 0, segment_bytes=2000) as writer:
        for number in range(50):
            writer.append(RecordKind.FRAME, MARCH + number, "10.0.0.7:1", b"x" * 100)
    add(store, *(reading(1, MARCH + i * HOUR, i) for i in range(800)))
    store.seal("2026-03", 1.0)
    (store.folder / "files").mkdir()
    (store.folder / "files" / "a").write_bytes(b"x" * 77)
    parts = {part.name: part for part in store.measured()}
    assert parts["archive"].rows == 3 * 14, "those of sealed segments"
    assert parts["archive"].oldest == MARCH
    assert (parts["ledger"].oldest, parts["ledger"].newest) == (APRIL, MARCH + 799 * HOUR)
    assert parts["ledger"].bytes > 0
    assert (parts["history"].rows, parts["history"].oldest, parts["history"].newest) == (744, MARCH, APRIL)
    assert parts["history"].bytes == store.manifest()["bytes"][0].as_py()
    assert parts["files"] == Part("files", 77)
    assert store.count() == 800 - 744


def test_of_an_empty_platform_every_part_is_empty(store: Store) -> None:
    parts = {part.name: part for part in store.measured()}
    assert (parts["archive"], parts["history"].rows) == (Part("archive", 0, 0), 0)
    assert (parts["ledger"].oldest, parts["ledger"].newest) == (None, None)


def test_what_lies_in_a_database_server_is_not_on_the_data_disk(store: Store, database: str) -> None:
    here = {part.name: part.here for part in store.measured()}
    assert here["ledger"] is (not database)
    assert here["registry"] is (not database)
    assert here["archive"]


def test_growth_needs_two_days_and_is_that_of_the_last_month() -> None:
    assert sizes.growth([]) is None
    assert sizes.growth(notes(100)) is None
    assert sizes.growth(notes(100, 350), "archive") == 250
    assert sizes.growth(notes(*[0] * 20, *(1000 * day for day in range(31)))) == 1000
    assert sizes.growth(notes(100, 350), "history") == 0


def test_the_room_lasts_as_long_as_the_smaller_of_disk_and_budget_allows(tmp_path) -> None:
    parts = [Part("archive", 300_000_000), Part("history", 10**12, here=False)]
    room = sizes.room(tmp_path, parts, notes(0, 100_000_000), budget_gb=1.0)
    assert (room.used, room.left, room.days) == (300_000_000, 700_000_000, pytest.approx(7))
    free = sizes.room(tmp_path, parts, notes(0, 1000), budget_gb=0)
    assert free.left == free.disk_free
    assert free.days == pytest.approx(free.disk_free / 1000)
    assert sizes.room(tmp_path, parts, notes(0, 100), budget_gb=0.1).left == 0
    assert sizes.room(tmp_path, parts, notes(100, 50), budget_gb=1).days is None


def test_a_day_is_noted_once_and_a_line_that_a_crash_left_half_is_cut_off(tmp_path) -> None:
    parts = [Part("ledger", 7, rows=3), Part("history", 9, here=False)]
    assert not sizes.noted_on(tmp_path, NOON)
    sizes.note(tmp_path, parts, NOON)
    assert sizes.noted_on(tmp_path, NOON + 11 * HOUR)
    assert not sizes.noted_on(tmp_path, NOON + 12 * HOUR)
    with open(tmp_path / sizes.NAME, "a") as file:
        file.write('{"at": 17')
    sizes.note(tmp_path, parts, NOON + DAY)
    one = Noted(NOON, 7, {"ledger": 7, "history": 9}, {"ledger": 3})
    assert sizes.noted(tmp_path) == [one, one._replace(at=NOON + DAY)]
