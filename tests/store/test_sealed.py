"""Sealed months: the same answers as before, late data merged, the law of the ledger still in force."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from ceguan.store import Store, history, thin
from tests import s3
from tests.store.conftest import APRIL, HOUR, MARCH, NAN, add, reading


@pytest.fixture(params=["folder", "s3"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """The same promises wherever the sealed files lie."""
    url = s3.new_prefix(monkeypatch) if request.param == "s3" else ""
    with Store(tmp_path, write=True, database=database, history=url) as opened:
        yield opened


def hot_rows(store: Store) -> int:
    return int(store.ledger.connection.execute("SELECT count(*) FROM reading").fetchone()[0])


def test_a_month_begins_at_midnight_in_beijing() -> None:
    assert history.month_span("2026-03") == (MARCH, APRIL)
    assert history.month_span("2025-12")[1] == history.month_span("2026-01")[0]
    assert (history.month_of(MARCH - 1), history.month_of(MARCH)) == ("2026-02", "2026-03")


def test_sealing_moves_a_month_and_changes_no_answer(store: Store) -> None:
    add(store, *(reading(series, MARCH + i * 6 * HOUR, i if i % 7 else NAN) for series in (1, 2) for i in range(200)))
    before = [store.readings([1, 2], 2, 0, 1 << 40, versions=versions) for versions in ("force", "all")]
    (path,) = store.seal("2026-03", 1.0)
    after = [store.readings([1, 2], 2, 0, 1 << 40, versions=versions) for versions in ("force", "all")]
    assert hot_rows(store) == 2 * (200 - 31 * 4)
    for one, other in zip(before, after, strict=True):
        assert one.schema == other.schema
        np.testing.assert_equal(one.to_pydict(), other.to_pydict())
    (row,) = store.manifest().to_pylist()
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["rows"] == 2 * 31 * 4


def test_late_data_of_a_sealed_month_are_versions_of_what_is_sealed(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0), reading(1, MARCH + HOUR, NAN))
    store.seal("2026-03", 1.0)
    assert add(store, reading(1, MARCH, 5.0), reading(1, MARCH + HOUR, NAN))[:3] == (0, 2, [])
    added = add(store, reading(1, MARCH, 6.0), reading(1, MARCH + 2 * HOUR, 7.0), reading(1, MARCH, 6.0))
    assert (added.new, added.same, [row[3:5] for row in added.changed]) == (1, 1, [(1, 6.0)])
    assert store.readings([1], 2, 0, 1 << 40)["value"].to_pylist() == pytest.approx([6.0, NAN, 7.0], nan_ok=True)
    assert store.exact([[1, 2, MARCH, 0], [1, 2, MARCH, 1]])["value"].to_pylist() == [5.0, 6.0]


def test_sealing_again_takes_up_late_data_and_keeps_the_older_file(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0), reading(2, MARCH, 1.0))
    (first,) = store.seal("2026-03", 1.0)
    add(store, reading(1, MARCH, 6.0), reading(3, MARCH, 2.0))
    (second,) = store.seal("2026-03", 2.0)
    assert first.exists()
    assert second.name == "2026-03.g002.parquet"
    assert hot_rows(store) == 0
    assert store.manifest()["rows"].to_pylist() == [2, 4]
    assert store.readings([1, 2, 3], 2, 0, 1 << 40, versions="all")["value"].to_pylist() == [5.0, 6.0, 1.0, 2.0]


def test_latest_survives_sealing(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0))
    store.seal("2026-03", 1.0)
    assert store.latest()["value"].to_pylist() == [5.0]


def test_only_months_that_are_over_long_enough_are_due(store: Store) -> None:
    add(store, *(reading(1, MARCH + day * 86400, day) for day in range(70)))
    assert store.months_due(APRIL + 40 * 86400 - 1, 40) == []
    assert store.months_due(APRIL + 40 * 86400, 40) == ["2026-03"]
    store.seal("2026-03", 1.0)
    assert store.months_due(APRIL + 40 * 86400, 40) == []
    assert store.months_due(APRIL + 400 * 86400, 40) == ["2026-04", "2026-05"]


def test_an_empty_month_is_not_sealed(store: Store) -> None:
    with pytest.raises(ValueError, match="没有可封存的数据"):
        store.seal("2026-03", 1.0)


def test_rows_of_a_month_that_is_not_sealed_cannot_leave(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0), reading(1, APRIL, 6.0))
    store.seal("2026-03", 1.0)
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError), match="sealed month"):
        store.ledger.connection.execute("DELETE FROM reading")


# ── thinning ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_thinning_keeps_extremes_gaps_and_both_ends(store: Store) -> None:
    values = np.sin(np.arange(5000) / 50)
    values[1234], values[4321], values[3000:3010] = 99.0, -99.0, np.nan
    add(store, *(reading(1, MARCH + i * 60, float(value)) for i, value in enumerate(values)))
    table = store.readings([1], 2, 0, 1 << 40)
    thinned = thin(table, 300)
    kept = thinned["value"].to_numpy()
    assert 150 < thinned.num_rows <= 300
    assert (np.nanmax(kept), np.nanmin(kept)) == (99.0, -99.0)
    assert np.isnan(kept).any()
    assert (thinned["ts"][0], thinned["ts"][-1]) == (table["ts"][0], table["ts"][-1])
    assert np.all(np.diff(thinned["ts"].to_numpy()) > 0)


def test_a_short_series_is_not_thinned_and_too_few_points_are_an_error(store: Store) -> None:
    add(store, *(reading(1, MARCH + i * HOUR, i) for i in range(10)))
    table = store.readings([1], 2, 0, 1 << 40)
    assert thin(table, 10) is table
    assert thin(table, 5).num_rows <= 5
    with pytest.raises(ValueError, match="at least 5"):
        thin(table, 4)
