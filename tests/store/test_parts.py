"""A sealed month in files by blocks of series: the same answers, and what comes late changes only its own file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.store import Store, history, postgres, schema, sqlite
from ceguan.store.columns import READING_SCHEMA, nan_as_absent
from ceguan.store.lake import Lake
from ceguan.words import READING_COLUMNS
from tests.store.conftest import APRIL, HOUR, MARCH, add, reading

NOW = APRIL + 100 * 86400.0
SERIES = range(1, 8)
LATER = 2 * 86400
"""More than the time after which a few late rows are reason enough to seal again."""


@pytest.fixture
def store(tmp_path: Path, database: str) -> Iterator[Store]:
    """Blocks of two series: 0–1, 2–3, 4–5, 6–7."""
    (tmp_path / "ceguan.toml").write_text("history_series = 2\n")
    with Store(tmp_path, write=True, database=database, history="") as opened:
        yield opened


def fill(store: Store, series: Any = SERIES) -> None:
    add(store, *(reading(s, t + h * HOUR, s + h / 10) for s in series for t in (MARCH, APRIL) for h in range(6)))


def every_answer(store: Store) -> list[Any]:
    end = APRIL + 6 * HOUR
    tables = [
        *(store.readings(SERIES, 2, MARCH, end, versions=versions) for versions in ("force", "all")),
        store.readings([2, 7], 2, MARCH, APRIL),
        store.latest(as_of=float(end)),
        store.exact([[s, 2, MARCH + HOUR, 0] for s in (1, 4, 7)]),
    ]
    return [
        *(table.to_pydict() for table in tables),
        store.matrix([[7, 2], [1, 5]], 2, MARCH, end).values,
        store.times(SERIES, 2, MARCH, end),
    ]


def names(store: Store) -> list[str]:
    found: list[str] = store.manifest()["path"].to_pylist()
    return found


def in_ledger(store: Store) -> list[int]:
    return [s for (s,) in store.ledger.connection.execute("SELECT DISTINCT series FROM reading ORDER BY series")]


def test_a_month_lies_in_a_file_for_each_block_and_no_answer_changes(store: Store) -> None:
    fill(store)
    before = every_answer(store)
    assert [path.name for path in store.seal("2026-03", 1.0)] == [
        "2026-03.g001.parquet", "2026-03.s2.g001.parquet", "2026-03.s4.g001.parquet", "2026-03.s6.g001.parquet",
    ]  # fmt: skip
    np.testing.assert_equal(every_answer(store), before)
    listed = store.manifest().to_pylist()
    assert [(row["part"], row["series_to"], row["rows"]) for row in listed] == [
        (0, 2, 6), (2, 4, 12), (4, 6, 12), (6, 8, 12),
    ]  # fmt: skip
    assert list(store.breaks()) == []


def test_blocks_that_are_due_are_sealed_one_at_a_time_and_no_answer_changes(store: Store) -> None:
    fill(store, (1, 2, 7))
    before = every_answer(store)
    left = [in_ledger(store)]
    while store.seal_due(NOW, 40):
        np.testing.assert_equal(every_answer(store), before)
        left.append(in_ledger(store))
    assert left == [[1, 2, 7]] * 4 + [[2, 7], [7], []]
    assert store.months_due(NOW, 40) == []
    assert names(store) == [
        f"{month}{block}.g001.parquet" for month in ("2026-03", "2026-04") for block in ("", ".s2", ".s6")
    ]


def test_a_correction_seals_only_its_own_block_again(store: Store) -> None:
    fill(store)
    store.seal("2026-03", NOW)
    files = {path: path.read_bytes() for path in history_files(store)}
    add(store, reading(5, MARCH + HOUR, 99.0))
    assert store.seal_due(NOW + HOUR, 40) is not None, "April has never been sealed"
    while store.seal_due(NOW + HOUR, 40):
        pass
    assert in_ledger(store) == [5]
    again = store.seal_due(NOW + LATER, 40)
    assert again is not None
    assert again.name == "2026-03.s4.g002.parquet"
    assert store.seal_due(NOW + LATER, 40) is None
    assert all(path.read_bytes() == content for path, content in files.items())
    assert store.readings([5], 2, MARCH + HOUR, MARCH + 2 * HOUR)["value"].to_pylist() == [99.0]
    assert store.readings([5], 2, MARCH, APRIL, versions="all")["value"].to_pylist() == [
        5.0, 5.1, 99.0, 5.2, 5.3, 5.4, 5.5,
    ]  # fmt: skip
    assert list(store.breaks()) == []


def history_files(store: Store) -> list[Path]:
    return sorted(Path(store.history.folder).glob("*.parquet"))


def test_many_late_rows_are_reason_enough_for_their_block_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ceguan.store.sealed.AGAIN_ROWS", 3)
    fill(store)
    store.seal("2026-03", NOW)
    store.seal("2026-04", NOW)
    add(store, *(reading(2, MARCH + h * HOUR, 50.0) for h in range(3)), *(reading(6, MARCH, 50.0 + h) for h in (1, 2)))
    assert store.months_due(NOW + HOUR, 40) == ["2026-03"]
    again = store.seal_due(NOW + HOUR, 40)
    assert again is not None
    assert again.name == "2026-03.s2.g002.parquet"
    assert (store.months_due(NOW + HOUR, 40), in_ledger(store)) == ([], [6])


def test_blocks_once_cut_stay_and_new_series_get_what_is_between_them(tmp_path: Path, database: str) -> None:
    for size, series in ((2, (2, 3)), (8, (1, 2, 9)), (3, (4, 7))):
        (tmp_path / "ceguan.toml").write_text(f"history_series = {size}\n")
        with Store(tmp_path, write=True, database=database, history="") as store:
            add(store, *(reading(s, MARCH + size * HOUR, s) for s in series))
            store.seal("2026-03", float(size))
            assert in_ledger(store) == []
    found = [(row["part"], row["series_to"], row["generation"]) for row in store.manifest().to_pylist()]
    assert found == [(0, 2, 1), (2, 4, 1), (2, 4, 2), (4, 6, 1), (6, 8, 1), (8, 16, 1)]
    every = store.readings(range(10), 2, MARCH, APRIL)
    assert every["series"].to_pylist() == [1, 2, 2, 3, 4, 7, 9]
    assert list(store.breaks()) == []


def test_a_missing_generation_of_a_block_is_named(store: Store) -> None:
    fill(store)
    store.seal("2026-03", 1.0)
    row = store.manifest().to_pylist()[2]
    row |= {"generation": 3}
    store.ledger.connection.execute(f"INSERT INTO manifest VALUES ({', '.join('?' * len(row))})", list(row.values()))
    assert list(store.breaks()) == ["2026-03 自序列 4 起的封存清单缺第 2 代"]


def test_rows_of_a_block_that_is_not_sealed_cannot_leave(store: Store) -> None:
    fill(store, (1, 2))
    assert store.seal_due(NOW, 40) is not None
    with pytest.raises(Exception, match="sealed month"):
        store.ledger.connection.execute("DELETE FROM reading WHERE ts < ?", (APRIL,))
    assert in_ledger(store) == [1, 2], "April of the first, everything of the second"


def test_a_block_of_no_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ceguan.toml").write_text("history_series = 0\n")
    with Store(tmp_path, write=True, database="", history="") as store, pytest.raises(ValueError, match="至少为 1"):
        store.seal("2026-03", 1.0)


# ── what was sealed before there were blocks ──────────────────────────────────────────────────────────────────────────


def test_a_ledger_from_before_the_blocks_goes_on_with_its_files_as_they_are(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = schema.MIGRATIONS[: schema.MIGRATIONS.index(schema.PARTS)]
    (tmp_path / "ceguan.toml").write_text("history_series = 2\n")
    rows = [reading(s, MARCH + h * HOUR, s + h / 10) for s in SERIES for h in range(3)]
    path = history.write(Lake(str(tmp_path / "history")), "2026-03.g001.parquet", table(rows).to_batches())
    with monkeypatch.context() as patch:
        for module in (schema, sqlite, postgres):
            patch.setattr(module, "MIGRATIONS", before)
        old = postgres.connect_writer(database) if database else sqlite.connect_writer(tmp_path / "readings.db")
        listed = ("2026-03", 1, MARCH, APRIL, path.name, len(rows), path.stat().st_size, history.sha256(path), 1.0)
        old.execute("INSERT INTO manifest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", listed)
        for row in rows[2::3]:
            cells = [None if cell != cell else cell for cell in (*row, 1)]
            old.execute(f"INSERT INTO latest VALUES ({', '.join('?' * len(cells))})", cells)
        old.close()
    with Store(tmp_path, write=True, database=database, history="") as store:
        assert store.manifest()["part"].to_pylist() == [0]
        assert store.readings([1, 7], 2, MARCH, APRIL)["value"].to_pylist() == [1.0, 1.1, 1.2, 7.0, 7.1, 7.2]
        assert add(store, reading(7, MARCH, 70.0), reading(2, MARCH, 2.0))[:2] == (0, 1)
        store.seal("2026-03", 2.0)
        assert names(store) == ["2026-03.g001.parquet", "2026-03.g002.parquet"]
        assert store.manifest()["rows"].to_pylist() == [len(rows), len(rows) + 1]
        assert list(store.breaks()) == []
        with pytest.raises(Exception, match="append-only"):
            store.ledger.connection.execute("UPDATE manifest SET rows = 0")
        with pytest.raises(Exception, match="append-only"):
            store.ledger.connection.execute("DELETE FROM manifest")


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    cells = zip(*rows, strict=True)
    whole = pa.table([pa.array(c, f.type) for c, f in zip(cells, READING_SCHEMA, strict=True)], schema=READING_SCHEMA)
    return pa.Table.from_batches([nan_as_absent(batch) for batch in whole.to_batches()], READING_SCHEMA)


# ── late rows into a file of any size ─────────────────────────────────────────────────────────────────────────────────

KEYS = st.sets(st.tuples(st.integers(1, 4), st.integers(1, 2), st.integers(0, 5), st.integers(0, 2)), min_size=1)


@settings(max_examples=60)
@given(KEYS, st.sets(st.integers(0, 200)), st.integers(1, 7))
def test_late_rows_come_between_those_of_the_file_in_its_order(
    tmp_path_factory: pytest.TempPathFactory, keys: set[Any], late: set[int], group: int
) -> None:
    rows = [(*key[:2], MARCH + key[2] * HOUR, key[3], *reading(1, 0, key[2])[4:]) for key in sorted(keys)]
    parts = [[row for n, row in enumerate(rows) if (n in late) == is_late] for is_late in (False, True)]
    if not all(parts):
        return
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "ROW_GROUP", group)
        history.write(lake, "a.parquet", table(parts[0]).to_batches())
        history.write(lake, "b.parquet", history.merged(lake, "a.parquet", table(parts[1])))
    found = pa.concat_tables(history.groups(lake, "b.parquet", READING_COLUMNS)).cast(READING_SCHEMA)
    assert found.equals(table(rows))
    with lake.open("b.parquet") as opened:
        sizes = [opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups)]
    assert all(size == group for size in sizes[:-1])
    assert 0 < sizes[-1] <= group
