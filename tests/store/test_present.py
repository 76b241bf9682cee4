"""Late readings of sealed months: told from what is there without a look into the file, and never wrongly."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.store import Store, history, present
from tests.store.conftest import HOUR, MARCH, NAN, add, reading

TIMES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 3)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(TIMES)
def test_stretches_hold_exactly_what_was_there(given_times: list[tuple[int, int, int]]) -> None:
    numbers = np.unique(np.array([s * present.SPAN + t * every for s, t, every in given_times], np.int64))
    asked = np.array([s * present.SPAN + t for s in range(-1, 4) for t in range(40)])
    found = present.stretches(numbers)
    np.testing.assert_array_equal(found.hold(asked), np.isin(asked, numbers))


def test_even_readings_are_few_stretches() -> None:
    hours = np.delete(np.arange(744) * HOUR, [100, 101, 500])
    numbers = np.concatenate([series * present.SPAN + hours for series in range(50)])
    assert len(present.stretches(numbers).first) < 50 * 6


@pytest.mark.parametrize("rows", [5, 1000])
def test_what_comes_late_is_new_the_same_or_changed_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(history, "ROW_GROUP", rows)
    with Store(tmp_path, write=True, database="", history="") as store:
        add(store, *(reading(s, MARCH + h * HOUR, 10.0 * s + h) for s in (1, 2, 4) for h in range(20) if h % 7 != 3))
        add(store, reading(1, MARCH + HOUR, 99.0), reading(2, MARCH + HOUR, NAN))
        store.seal("2026-03", 1.0)
        late = [(s, h) for s in (1, 2, 3, 4) for h in range(21)]
        added = add(store, *(reading(s, MARCH + h * HOUR, 10.0 * s + h) for s, h in late))
        told = dict(zip(late, added.fates.tolist(), strict=True))
        new, same, changed = range(3)
        expected = {(s, h): new if s == 3 or h % 7 == 3 or h == 20 else same for s, h in late}
        assert told == expected | {(1, 1): changed, (2, 1): changed}
        assert [row[:5] for row in added.changed] == [(1, 2, MARCH + HOUR, 2, 11.0), (2, 2, MARCH + HOUR, 2, 21.0)]


def test_a_file_whose_late_readings_are_all_new_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    groups = history.groups

    def counted(lake, file, *names, **ends):  # type: ignore[no-untyped-def]
        looked.append(file)
        return groups(lake, file, *names, **ends)

    monkeypatch.setattr(history, "groups", counted)
    monkeypatch.setattr(history, "newest_of", lambda *given: pytest.fail("the file was searched"))
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database="", history="") as store:
        add(store, *(reading(1, MARCH + h * HOUR, 1.0) for h in range(0, 20, 2)))
        store.seal("2026-03", 1.0)
        for hour in (1, 3, 5):
            assert add(store, reading(1, MARCH + hour * HOUR, 1.0)).new == 1
    assert len(looked) == 1
