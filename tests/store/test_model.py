"""Any interleaving of fresh, repeated, changed, late, decided and sealed gives the answer of a naive dictionary."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceguan.store import Decision, Store
from tests.postgres import new_database
from tests.store.conftest import APRIL, HOUR, MARCH, NAN, add, reading

TIMES = [MARCH, MARCH + HOUR, APRIL - HOUR, APRIL, APRIL + HOUR]
VALUES = st.sampled_from([0.0, 1.5, 2.5, NAN])
READINGS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(TIMES), VALUES), min_size=1, max_size=8)
SEALINGS = st.sampled_from(["2026-03", "2026-04"])
DECISIONS = st.tuples(
    st.integers(1, 3), st.sampled_from(TIMES[:-1]), st.sampled_from(["keep", "invalidate", "substitute", "exempt"])
)
STEPS = st.lists(st.one_of(READINGS, READINGS, SEALINGS, DECISIONS), max_size=10)


class Naive:
    """(series, ts) → [(value, recv), ...], and the decisions in their order."""

    def __init__(self) -> None:
        self.versions: dict[tuple[int, int], list[tuple[float, int]]] = {}
        self.decisions: list[Decision] = []

    def add(self, series: int, ts: int, value: float, recv: int) -> None:
        known = self.versions.setdefault((series, ts), [])
        if not known or not np.array_equal(known[-1][0], value, equal_nan=True):
            known.append((value, recv))

    def all(self) -> list[tuple[Any, ...]]:
        return [
            (*key, ver, value) for key in sorted(self.versions) for ver, (value, _) in enumerate(self.versions[key])
        ]

    def force(self, as_of: float) -> list[tuple[Any, ...]]:
        rows = []
        for key in sorted(self.versions):
            known = [(ver, value) for ver, (value, recv) in enumerate(self.versions[key]) if recv <= as_of]
            if known:
                ver, value = known[-1]
                rows.append((*key, ver, self.decided(key, value, as_of)))
        return rows

    def decided(self, key: tuple[int, int], value: float, as_of: float) -> float:
        hits = [d for d in self.decisions if d.series == key[0] and d.ts_from <= key[1] < d.ts_to and d.at <= as_of]
        if hits and hits[-1].action == "invalidate":
            return NAN
        return hits[-1].value if hits and hits[-1].action == "substitute" else value  # type: ignore[return-value]


def apply(store: Store, naive: Naive, step: Any, now: int) -> None:
    if isinstance(step, list):
        add(store, *(reading(series, ts, value, recv=now) for series, ts, value in step))
        for series, ts, value in step:
            naive.add(series, ts, value, now)
    elif isinstance(step, str):
        try:
            store.seal(step, now)
        except ValueError:
            return  # nothing to seal
    else:
        decision = Decision(step[0], 2, step[1], step[1] + 2 * HOUR, step[2], "李审核", now, "因校准", 1, "", 77.0)
        naive.decisions.append(decision)
        with store.ledger.batch() as batch:
            batch.add_decision(decision)


def rows(table: Any, value: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in ("series", "ts", "ver", value)), strict=True))


def check(steps: list[Any], database: str) -> None:
    """Sealed in blocks of two series."""
    naive = Naive()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ceguan.toml").write_text("history_series = 2\n")
        with Store(folder, write=True, database=database) as store:
            check_in(store, naive, steps)


def check_in(store: Store, naive: Naive, steps: list[Any]) -> None:
    for now, step in enumerate(steps):
        apply(store, naive, step, now)
    span = ([1, 2, 3], 2, MARCH, APRIL + 2 * HOUR)
    np.testing.assert_equal(rows(store.readings(*span, versions="all"), "value"), naive.all())
    for as_of in range(len(steps)):
        np.testing.assert_equal(rows(store.readings(*span, as_of=as_of), "value_in_force"), naive.force(as_of))
    newest = {key: row for row in naive.force(len(steps)) for key in [row[0]]}
    np.testing.assert_equal(rows(store.latest(), "value_in_force"), sorted(newest.values()))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_store_answers_like_a_dictionary(steps: list[Any]) -> None:
    check(steps, "")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_store_on_postgres_answers_like_a_dictionary(steps: list[Any]) -> None:
    check(steps, new_database())
