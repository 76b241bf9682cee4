"""Reads of many series or long spans: a dense matrix, a line of few points – the same values as `readings`."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.store import Decision, Store, numbers
from tests.store.conftest import APRIL, HOUR, MARCH, NAN, add, reading

START, END = APRIL - 24 * HOUR, APRIL + 24 * HOUR
SERIES = np.array([[5, 2, -1], [9, 5, 7]])  # one asked for twice, one that nobody has
ROWS = st.lists(st.tuples(st.sampled_from([2, 5, 9]), st.integers(0, 47), st.sampled_from([NAN, 1.0, 2.0, 3.0])))
DECIDED = st.lists(
    st.tuples(
        st.sampled_from([2, 5, 9]),
        st.integers(0, 47),
        st.integers(1, 9 * HOUR),
        st.sampled_from(["keep", "invalidate", "substitute", "exempt"]),
    ),
    max_size=5,
)


@settings(max_examples=20, deadline=None)
@given(first=ROWS, late=ROWS, decided=DECIDED, sealed=st.booleans(), known=st.sampled_from([None, APRIL, APRIL + 9000]))
def test_a_matrix_holds_what_readings_say(
    first: list[Any], late: list[Any], decided: list[Any], sealed: bool, known: float | None
) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database="", history="") as store:
        add(store, reading(1, START, 1.0), *(reading(s, START + h * HOUR, v) for s, h, v in first))
        if sealed:
            store.seal("2026-03", 1.0)
        add(store, *(reading(s, START + h * HOUR, v, recv=APRIL + 8000) for s, h, v in late))
        with store.ledger.batch() as batch:
            for n, (s, h, length, action) in enumerate(decided):
                begin = START + h * HOUR + (n % 2) * 60
                what = 42.5 if action == "substitute" else None
                at = APRIL + 5000.0 * (n % 3)
                batch.add_decision(Decision(s, 2, begin, begin + length, action, "我", at, "试", n, value=what))
        expected = np.full((2, 48, 3), NAN)
        for place, factor in np.argwhere(SERIES >= 0).tolist():
            table = store.readings([int(SERIES[place, factor])], 2, START, END, as_of=known)
            hours = (table["ts"].to_numpy() - START) // HOUR
            expected[place, hours, factor] = table["value_in_force"].to_numpy()
        found = store.matrix(SERIES, 2, START, END, as_of=known)
        np.testing.assert_array_equal(found.values, expected)
        assert (found.ts[0], found.ts[-1], len(found.ts)) == (START, END - HOUR, 48)


def test_a_matrix_of_nothing_is_empty_cells(store: Store) -> None:
    assert store.matrix([[-1]], 2, START, END).values.shape == (1, 48, 1)
    assert np.isnan(store.matrix([[3, 4]], 2, START, END).values).all()
    assert store.matrix(np.zeros((0, 6)), 2, START, END).values.shape == (0, 48, 6)


def test_a_matrix_leaves_out_what_is_absent_and_takes_the_last_version(store: Store) -> None:
    add(store, reading(2, START, 1.0), reading(2, START + HOUR, NAN), reading(5, START, 3.0))
    add(store, reading(2, START, 2.0, recv=APRIL + 8000))
    for known, first in ((None, 2.0), (APRIL + 7999.5, 1.0)):
        found = store.matrix([[2, 5]], 2, START, START + 2 * HOUR, as_of=known).values
        np.testing.assert_array_equal(found, [[[first, 3.0], [NAN, NAN]]])


def test_rows_come_in_pieces_and_what_the_database_refuses_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "CHUNK", 7)
    with Store(tmp_path, write=True, database="", history="") as store:
        add(store, *(reading(s, START + h * HOUR, 10.0 * s + h) for s in (2, 5) for h in range(10)))
        found = store.matrix([[2, 5]], 2, START, START + 10 * HOUR).values
        np.testing.assert_array_equal(found[0].T, [20.0 + np.arange(10), 50.0 + np.arange(10)])
    reader = numbers.Reader(tmp_path / "readings.db")
    reader.begin()
    with pytest.raises(sqlite3.OperationalError, match="no such table: elsewhere"):
        reader.read("SELECT series, ts, value FROM elsewhere WHERE series = ?", [1], [])
    reader.close()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        numbers.Reader(tmp_path / "nowhere" / "readings.db")


def test_a_matrix_shows_one_state_whatever_is_committed_meanwhile(tmp_path: Path) -> None:
    def corrects(store: Store) -> None:
        """In one batch: series 2 by a new version, series 5 by a decision."""
        for n in range(1, 60):
            with store.ledger.batch() as batch:
                batch.add_readings([reading(2, START, float(n))])
                batch.add_decision(
                    Decision(5, 2, START, START + HOUR, "substitute", "我", 1.0, "试", n, value=float(n))
                )
        done.set()

    done = threading.Event()
    with Store(tmp_path, write=True, database="", history="") as store:
        add(store, reading(2, START, 0.0), reading(5, START, 0.0))
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(lambda: _corrections(Store(tmp_path, database="", history=""), done))
            corrects(store)
            seen = reader.result()
    assert all(first == second for first, second in seen)
    assert seen[-1] == [59.0, 59.0]


def _corrections(store: Store, done: threading.Event) -> list[list[float]]:
    seen, last = [], False
    while not last:
        last = done.is_set()
        seen.append(store.matrix([[2, 5]], 2, START, START + HOUR).values[0, 0].tolist())
    return seen


def test_a_long_line_of_few_points_keeps_extremes_gaps_and_both_ends(store: Store) -> None:
    values = np.sin(np.arange(3000) / 50)
    values[1234], values[2345], values[2000:2010] = 99.0, -99.0, np.nan
    add(store, *(reading(1, MARCH + i * HOUR, float(value)) for i, value in enumerate(values)))
    store.seal("2026-03", 1.0)
    whole = store.readings([1], 2, 0, 1 << 40)
    line = store.thinned(1, 2, MARCH, MARCH + 3000 * HOUR, 300)
    kept = line["value_in_force"].to_numpy()
    assert line.schema == whole.schema
    assert 150 < line.num_rows <= 300
    assert (np.nanmax(kept), np.nanmin(kept), bool(np.isnan(kept).any())) == (99.0, -99.0, True)
    assert (line["ts"][0], line["ts"][-1]) == (whole["ts"][0], whole["ts"][-1])
    few = store.thinned(1, 2, MARCH, MARCH + 200 * HOUR, 300)
    np.testing.assert_equal(few.to_pydict(), store.readings([1], 2, MARCH, MARCH + 200 * HOUR).to_pydict())
    assert store.thinned(1, 2, MARCH, MARCH, 300).num_rows == 0
