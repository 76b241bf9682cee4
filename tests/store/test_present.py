"""Late readings of sealed months: told from what is there without a look into the file, and never wrongly."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceguan.store import Store, history, present
from ceguan.store.lake import Lake
from tests import s3
from tests.postgres import new_database
from tests.store.conftest import APRIL, HOUR, MARCH, NAN, add, reading

TIMES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 3)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(TIMES)
def test_stretches_hold_exactly_what_was_there(given_times: list[tuple[int, int, int]]) -> None:
    numbers = np.unique(np.array([s * present.SPAN + t * every for s, t, every in given_times], np.int64))
    asked = np.array([s * present.SPAN + t for s in range(-1, 4) for t in range(40)])
    found = present.stretches(numbers)
    np.testing.assert_array_equal(found.rows(asked) >= 0, np.isin(asked, numbers))


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


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened from now on."""
    found: list[str] = []
    really = Lake.open

    def noted(lake: Lake, name: str, metadata: Any = None) -> Any:
        found.append(name)
        return really(lake, name, metadata)

    monkeypatch.setattr(Lake, "open", noted)
    return found


def test_a_file_is_looked_at_once_for_what_is_new_and_once_for_what_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = opened(monkeypatch)
    with Store(tmp_path, write=True, database="", history="") as store:
        add(store, *(reading(1, MARCH + h * HOUR, 1.0) for h in range(0, 20, 2)))
        store.seal("2026-03", 1.0)
        for hour in (1, 3, 5):
            assert add(store, reading(1, MARCH + hour * HOUR, 1.0)).new == 1
        assert len(looked) == 1
        for hour in (2, 4, 4, 6):
            assert add(store, reading(1, MARCH + hour * HOUR, 1.0)).same == 1
        assert len(looked) == 2


def test_what_is_kept_of_files_is_bounded_and_the_answers_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ROW_GROUP", 50)
    monkeypatch.setattr(present, "BOUND", 3000)
    everything = [reading(s, MARCH + h * HOUR, s + h * 0.1) for s in range(40) for h in range(25)]
    with Store(tmp_path, write=True, database="", history="") as store:
        add(store, *everything)
        store.seal("2026-03", 1.0)
        for _ in range(2):
            for part in (everything[::2], everything[5:50]):
                assert add(store, *part).same == len(part)
                kept = store.ledger._known().sealed._kept
                assert sum(one.nbytes for one in kept.values()) <= 3000 or len(kept) == 1


CELL = st.sampled_from([NAN, 0.0, -0.0, 1.5, 2.5, 1 / 3, 1e300])
TIMES_SENT = st.sampled_from([MARCH, MARCH + HOUR, MARCH + 2 * HOUR, APRIL])
SENT = st.tuples(
    st.sampled_from([1, 2, 5]), st.sampled_from([1, 2]), TIMES_SENT, *[CELL] * 5, st.sampled_from(["N", "D", ""])
)
BATCHES = st.lists(st.lists(SENT, min_size=1, max_size=8), min_size=1, max_size=6)


def history_of(folder: str, database: str, batches: list[Any], sealings: set[int]) -> list[Any]:
    """What becomes of batches, and what is stored in the end; March is sealed before some of them."""
    told: list[Any] = []
    with Store(folder, write=True, database=database, history="") as store:
        for number, sent in enumerate(batches):
            if number in sealings:
                with suppress(ValueError):  # nothing of March has come
                    store.seal("2026-03", float(number))
            added = add(store, *((*row[:3], 0, *row[3:], MARCH + number, number) for row in sent))
            told.append([added.new, added.same, added.fates.tolist(), added.changed])
        for kind in (1, 2):
            told += [
                store.readings([1, 2, 5], kind, 0, 1 << 40, versions=which).to_pydict() for which in ("all", "force")
            ]
        told.append(store.latest().to_pydict())
    return told


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES, st.sets(st.integers(1, 5), min_size=1, max_size=3), st.sampled_from([2, 5, 1000]), st.booleans())
def test_a_month_sealed_at_any_time_answers_as_if_it_never_was(
    batches: list[Any], sealings: set[int], rows: int, forgetful: bool
) -> None:
    again = [*batches, *batches]
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
    ):
        patch.setattr(history, "ROW_GROUP", rows)
        patch.setattr(present, "BOUND", 0 if forgetful else present.BOUND)
        np.testing.assert_equal(history_of(one, "", again, sealings), history_of(two, "", again, set()))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BATCHES, st.sets(st.integers(1, 5), min_size=1, max_size=3))
def test_on_postgres_it_answers_the_same(batches: list[Any], sealings: set[int]) -> None:
    """But for the sign of zero, which a table of SQLite and a parameter of PostgreSQL do not keep."""
    plain = [[(*row[:3], *(cell + 0.0 for cell in row[3:8]), row[8]) for row in sent] for sent in batches]
    again = [*plain, *plain]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        np.testing.assert_equal(history_of(one, new_database(), again, sealings), history_of(two, "", again, set()))


def test_a_file_too_large_to_keep_a_copy_of_is_compared_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ceguan.toml").write_text("history_cache_gb = 0\n")
    with Store(tmp_path, write=True, database="", history=s3.new_prefix(monkeypatch)) as store:
        add(store, *(reading(s, MARCH + h * HOUR, s + h * 0.1) for s in (1, 2) for h in range(9)))
        (path,) = store.seal("2026-03", 1.0)
        path.unlink(missing_ok=True)
        added = add(store, reading(1, MARCH + HOUR, 1.1), reading(2, MARCH + HOUR, 9.0), reading(2, MARCH + 60, 1.0))
        assert added.fates.tolist() == [1, 2, 0]
        assert not path.exists()
