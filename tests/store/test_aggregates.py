"""Hours, days and months are what their readings give, whatever came, in whatever order, and wherever it lies."""

from __future__ import annotations

import math
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceguan.store import Decision, Flag, QualityRun, Store, schema
from ceguan.store.history import month_of, month_span
from ceguan.words import Kind, Period
from tests.postgres import new_database
from tests.store.conftest import APRIL, HOUR, MARCH, NAN, add

DAY = 24 * HOUR
FAR = APRIL + 60 * DAY


def minute(series: int, ts: int, value: float, *, flag: str = "N", kind: int = 1, cou: float = NAN, zs: float = NAN):
    return (series, kind, ts, 0, value, zs, NAN, NAN, cou, flag, ts + 60, 1)


def rows(table: Any, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def ask(store: Store, period: Period, kind: int = 1, **more: Any) -> Any:
    return store.aggregates([1, 2], kind, period, MARCH - DAY, FAR, **more)


def settle(store: Store, until: float = FAR) -> int:
    total = 0
    while done := store.settle(until):
        total += done
    return total


# ── the same by hand ──────────────────────────────────────────────────────────────────────────────────────────────────


def naive(store: Store, kind: int, period: Period, as_of: float | None = None) -> list[tuple[Any, ...]]:
    """From `Store.readings`, one number at a time."""
    flags = store.flags([1, 2], kind, 0, FAR, as_of=as_of).to_pylist()
    failed = {(flag["series"], flag["ts"]) for flag in flags if flag["outcome"] == 4}
    found = []
    readings = store.readings([1, 2], kind, 0, FAR, as_of=as_of).to_pylist()
    for (series, begin), group in groupby(readings, lambda row: (row["series"], begin_of(row["ts"], period))):
        some = list(group)
        good = [row for row in some if usable(row, (series, row["ts"]) in failed)]
        values = [row["value_in_force"] for row in good]
        total = summed([(row["ts"], row["value_in_force"]) for row in good], period)
        mean = min(max(total / len(values), min(values)), max(values)) if values else NAN
        ends = (min(values), max(values), values[0], values[-1]) if values else (NAN,) * 4
        decided = sum(row["decision"] > 0 for row in some)
        found.append((series, begin, len(some), len(values), decided, mean, *ends))
    return found


def summed(values: list[tuple[int, float]], period: Period) -> float:
    """Readings to hours to days to months, in the order of time."""
    for level in Period:
        if level <= period:
            cells: dict[int, float] = {}
            for ts, value in values:
                begin = begin_of(ts, level)
                cells[begin] = cells.get(begin, 0.0) + value
            values = list(cells.items())
    return values[0][1] if values else 0.0


def usable(row: dict[str, Any], failed: bool) -> bool:
    if row["action"] == "invalidate" or math.isnan(row["value_in_force"]):
        return False
    if row["action"] == "substitute":
        return True
    return row["action"] == "keep" or (row["flag"] in ("N", "") and not failed)


def begin_of(ts: int, period: Period) -> int:
    if period == Period.HOUR:
        return ts - ts % HOUR
    return month_span(month_of(ts))[0] if period == Period.MONTH else (ts + 8 * HOUR) // DAY * DAY - 8 * HOUR


NAMES = ("series", "ts", "present", "valid", "decided", "mean", "min", "max", "first", "last")


def check(store: Store, kind: int = 1) -> None:
    for period in Period:
        np.testing.assert_equal(rows(ask(store, period, kind), *NAMES), naive(store, kind, period), str(period))


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

TIMES = [MARCH, MARCH + 600, MARCH + HOUR, MARCH + DAY, APRIL - 600, APRIL, APRIL + DAY + 60]
READINGS = st.lists(
    st.tuples(
        st.integers(1, 2), st.sampled_from(TIMES), st.sampled_from([0.1, 0.2, 1e9, 7.0, NAN]), st.sampled_from("NND")
    ),
    min_size=1, max_size=8,
)  # fmt: skip
DECISIONS = st.tuples(
    st.just("decide"), st.integers(1, 2), st.sampled_from([0, *TIMES[:-1]]), st.sampled_from([60, HOUR, 40 * DAY]),
    st.sampled_from(["keep", "invalidate", "substitute", "exempt"]),
)  # fmt: skip
FLAGS = st.tuples(st.just("flag"), st.integers(1, 2), st.sets(st.sampled_from(TIMES)), st.sampled_from([3, 4]))
STEPS = st.lists(
    st.tuples(
        st.one_of(
            READINGS, READINGS, DECISIONS, FLAGS, st.sampled_from(["2026-03", "2026-04"]),
            st.tuples(st.just("settle"), st.sampled_from([MARCH + DAY, APRIL, FAR]), st.integers(1, 9)),
            st.just(("restart",)),
        ),
        st.booleans(),
    ),
    max_size=12,
)  # fmt: skip
"""What happens, and whether everything is kept after it, so that whatever happens next must be marked."""


def apply(store: Store, step: Any, now: int) -> None:
    if isinstance(step, list):
        add(store, *(minute(series, ts, value, flag=flag) for series, ts, value, flag in step))
    elif isinstance(step, str):
        if store.ledger.connection.execute("SELECT count(*) FROM reading").fetchone()[0] and step in store.months_due(
            FAR + 40 * DAY + now * DAY, 0
        ):
            store.seal(step, now)
    elif step[0] == "settle":
        store.settle(*step[1:])
    elif step[0] == "flag":
        run = QualityRun(step[1], 1, MARCH, FAR, "range", "1", {}, now)
        with store.ledger.batch() as batch:
            batch.add_flags([(run, [Flag(ts, 0, step[3], {}) for ts in sorted(step[2])])])
    else:
        _, series, start, length, action = step
        decision = Decision(series, 1, start, start + length, action, "李审核", now, "因校准", 1, "", 77.0)
        with store.ledger.batch() as batch:
            batch.add_decision(decision)


def play(steps: list[Any], database: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "ceguan.toml").write_text("history_series = 1\n")
        store = Store(folder, write=True, database=database, history="")
        for now, (step, kept) in enumerate(steps):
            if step == ("restart",):
                store.close()
                store = Store(folder, write=True, database=database, history="")
            else:
                apply(store, step, now)
            check(store)
            if kept:
                settle(store)
        with store:
            assert list(store.aggregate_differences()) == []
            settle(store)
            assert store.aggregates_kept().marked == 0
            check(store)
            assert list(store.aggregate_differences()) == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_aggregates_are_what_the_readings_give(steps: list[Any]) -> None:
    play(steps, "")


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_aggregates_on_postgres_are_what_the_readings_give(steps: list[Any]) -> None:
    play(steps, new_database())


# ── one by one ────────────────────────────────────────────────────────────────────────────────────────────────────────


def written(store: Store) -> list[Any]:
    return store.ledger.connection.execute("SELECT * FROM aggregate ORDER BY series, kind, period, ts").fetchall()


def marks(store: Store) -> list[tuple[int, ...]]:
    return [tuple(row) for row in store.ledger.connection.execute("SELECT * FROM stale ORDER BY series, kind, day")]


def test_an_hour_a_day_and_a_month_of_minutes(store: Store) -> None:
    add(
        store,
        minute(1, MARCH, 2.0, cou=10.0, zs=3.0), minute(1, MARCH + 600, 4.0, cou=20.0, zs=5.0),
        minute(1, MARCH + 1200, 99.0, flag="D", cou=5.0), minute(1, MARCH + HOUR, 6.0),
        minute(1, MARCH + DAY, NAN),
    )  # fmt: skip
    names = ("ts", "present", "valid", "mean", "min", "max", "first", "last", "zs_mean", "cou")
    expected = [
        (MARCH, 3, 2, 3.0, 2.0, 4.0, 2.0, 4.0, 4.0, 30.0), (MARCH + HOUR, 1, 1, 6.0, 6.0, 6.0, 6.0, 6.0, NAN, NAN),
        (MARCH + DAY, 1, 0, NAN, NAN, NAN, NAN, NAN, NAN, NAN),
    ]  # fmt: skip
    for _ in range(2):  # computed on the spot, then kept
        np.testing.assert_equal(rows(ask(store, Period.HOUR), *names), expected)
        np.testing.assert_equal(
            rows(ask(store, Period.DAY), *names), [(MARCH, 4, 3, 4.0, 2.0, 6.0, 2.0, 6.0, 4.0, 30.0), expected[2]]
        )
        np.testing.assert_equal(
            rows(ask(store, Period.MONTH), *names), [(MARCH, 5, 3, 4.0, 2.0, 6.0, 2.0, 6.0, 4.0, 30.0)]
        )
        settle(store)
    assert store.aggregates_kept().rows == {Period.HOUR: 3, Period.DAY: 2, Period.MONTH: 1}


def test_a_day_is_kept_once_it_is_over(store: Store) -> None:
    add(store, minute(1, MARCH, 1.0), minute(1, MARCH + DAY, 2.0))
    assert settle(store, MARCH + DAY - 1) == 0
    assert settle(store, MARCH + DAY) == 1
    assert marks(store) == [(1, 1, MARCH + DAY)]
    assert ask(store, Period.DAY)["mean"].to_pylist() == [1.0, 2.0]
    assert ask(store, Period.MONTH)["mean"].to_pylist() == [1.5]


@pytest.mark.parametrize("what", ["changed", "late", "decision", "fail"])
def test_a_correction_invalidates_its_own_day_and_nothing_else(store: Store, what: str) -> None:
    add(store, *(minute(s, MARCH + n * HOUR, 1.0 + n, kind=k) for s in (1, 2) for k in (0, 1) for n in range(72)))
    settle(store)
    before, at = written(store), MARCH + DAY + 5 * HOUR
    if what in ("changed", "late"):
        add(store, minute(1, at + (60 if what == "late" else 0), 500.0))
    elif what == "decision":
        with store.ledger.batch() as batch:
            batch.add_decision(Decision(1, 1, at, at + 60, "invalidate", "李审核", 1.0, "校准", 1))
    else:
        with store.ledger.batch() as batch:
            batch.add_flags([(QualityRun(1, 1, at, at + 60, "range", "1", {}, 1.0), [Flag(at, 0, 4, {})])])
    assert marks(store) == [(1, 1, MARCH + DAY)]
    assert written(store) == before
    assert settle(store) == 1
    differing = {tuple(row[:4]) for row in set(written(store)) ^ set(before)}
    assert differing == {(1, 1, 1, at), (1, 1, 2, MARCH + DAY), (1, 1, 3, MARCH)}
    check(store)


def test_what_changes_nothing_marks_nothing(store: Store) -> None:
    add(store, minute(1, MARCH, 1.0))
    settle(store)
    add(store, minute(1, MARCH, 1.0))
    run = QualityRun(1, 1, MARCH, MARCH + 60, "spike", "1", {}, 1.0)
    with store.ledger.batch() as batch:
        batch.add_flags([(run, [Flag(MARCH, 0, 3, {})])])
        batch.add_decision(Decision(2, 1, MARCH, FAR, "keep", "李审核", 1.0, "没有这个序列的读数", 1))
    assert marks(store) == []


def test_a_fail_that_is_lifted_counts_again(store: Store) -> None:
    add(store, minute(1, MARCH, 1.0), minute(1, MARCH + 60, 3.0))
    run = QualityRun(1, 1, MARCH, MARCH + 120, "range", "1", {}, 1.0)
    for flags, mean in (([Flag(MARCH, 0, 4, {})], 3.0), ([], 2.0)):
        with store.ledger.batch() as batch:
            batch.add_flags([(run, flags)])
        for _ in range(2):
            assert ask(store, Period.DAY)["mean"].to_pylist() == [mean]
            settle(store)


def torn(store: Store) -> None:
    """A batch that raises behind its readings."""
    with store.ledger.batch() as batch:
        batch.add_readings([minute(1, MARCH + DAY, 2.0)])
        batch.add_flags([(QualityRun(1, 1, MARCH, MARCH + 60, "range", "1", {}, 1.0), [Flag(APRIL, 0, 4, {})])])


def test_a_batch_that_is_undone_leaves_no_mark(store: Store) -> None:
    add(store, minute(1, MARCH, 1.0))
    settle(store)
    with pytest.raises(ValueError, match="a flag lies"):
        torn(store)
    assert marks(store) == []
    add(store, minute(1, MARCH + DAY, 2.0))
    assert marks(store) == [(1, 1, MARCH + DAY)]


def test_hours_leave_with_a_sealed_month_and_are_still_answered(store: Store) -> None:
    add(store, *(minute(1, MARCH + n * 600, float(n)) for n in range(300)), minute(1, APRIL, 5.0))
    settle(store)
    hours = rows(ask(store, Period.HOUR), *NAMES)
    store.seal("2026-03", 1.0)
    assert store.aggregates_kept().rows == {Period.HOUR: 1, Period.DAY: 4, Period.MONTH: 2}
    np.testing.assert_equal(rows(ask(store, Period.HOUR), *NAMES), hours)
    add(store, minute(1, MARCH + 60, 1000.0))
    assert ask(store, Period.MONTH)["max"].to_pylist() == [1000.0, 5.0]
    settle(store)
    assert store.aggregates_kept().rows[Period.HOUR] == 1
    check(store)


def test_expected_counts_intervals_that_are_over(store: Store) -> None:
    add(store, minute(1, MARCH, 1.0), minute(1, MARCH + DAY, 1.0), minute(1, MARCH, 1.0, kind=2))
    assert ask(store, Period.DAY)["expected"].to_pylist() == [None, None]
    assert ask(store, Period.DAY, every=600)["expected"].to_pylist() == [144, 144]
    assert ask(store, Period.DAY, every=600, now=MARCH + DAY + HOUR + 1.5)["expected"].to_pylist() == [144, 6]
    assert ask(store, Period.MONTH, every=600)["expected"].to_pylist() == [31 * 144]
    assert ask(store, Period.DAY, kind=Kind.HOUR)["expected"].to_pylist() == [24]


def test_periods_that_begin_in_the_span_are_answered_whole(store: Store) -> None:
    add(store, *(minute(1, MARCH + n * DAY, float(n)) for n in range(-40, 41)))
    settle(store, MARCH)
    span = (MARCH + 1, MARCH + 2 * DAY + 1)
    assert store.aggregates([1], 1, Period.DAY, *span)["first"].to_pylist() == [1.0, 2.0]
    assert store.aggregates([1], 1, Period.MONTH, *span).num_rows == 0
    assert store.aggregates([1], 1, Period.MONTH, MARCH, MARCH + 1)["present"].to_pylist() == [31]
    assert store.aggregates([], 1, Period.DAY, *span).num_rows == 0
    assert store.aggregates([1], 1, Period.DAY, 0, 1 << 40).num_rows == 81
    with pytest.raises(ValueError, match="day 或 month"):
        store.aggregates([1], Kind.DAY, Period.HOUR, *span)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_of_data_has_days_and_months(store: Store, kind: Kind) -> None:
    step = {Kind.RT: 30, Kind.MINUTE: 60, Kind.HOUR: HOUR, Kind.DAY: DAY}[kind]
    add(store, *(minute(s, APRIL + n * step, s + n / 10, kind=kind) for s in (1, 2) for n in range(-30, 30)))
    for _ in range(2):
        for period in Period if kind != Kind.DAY else (Period.DAY, Period.MONTH):
            np.testing.assert_equal(rows(ask(store, period, kind), *NAMES), naive(store, kind, period))
        settle(store)


def test_as_of_is_computed_from_the_layers(store: Store) -> None:
    add(store, minute(1, MARCH, 1.0), minute(1, MARCH + 60, 2.0))
    settle(store)
    add(store, (1, 1, MARCH, 0, 9.0, NAN, NAN, NAN, NAN, "N", APRIL, 1))
    for at, decided in ((APRIL + 5.0, "invalidate"), (APRIL + 9.0, "keep")):
        with store.ledger.batch() as batch:
            batch.add_decision(Decision(1, 1, MARCH, MARCH + 30, decided, "李审核", at, "复核", 1))
    run = QualityRun(1, 1, MARCH, APRIL, "range", "1", {}, APRIL + 7.0)
    with store.ledger.batch() as batch:
        batch.add_flags([(run, [Flag(MARCH + 60, 0, 4, {})])])
    for as_of in (MARCH + 70, MARCH + 200, APRIL, APRIL + 6, APRIL + 8, APRIL + 9):
        found = rows(ask(store, Period.DAY, as_of=as_of), *NAMES)
        np.testing.assert_equal(found, naive(store, 1, Period.DAY, as_of), str(as_of))


def test_a_ledger_from_before_is_answered_at_once_and_kept_day_by_day(store: Store, database: str) -> None:
    add(store, *(minute(s, APRIL + n * HOUR, float(n % 7)) for s in (1, 2) for n in range(-80, 30)))
    store.seal("2026-03", 1.0)
    link = store.ledger.connection
    for table in ("aggregate", "stale", "aggregated"):
        link.execute(f"DROP TABLE {table}")
    for statement in schema.statements(schema.AGGREGATES):
        link.execute(statement)
    store.close()
    with Store(store.folder, write=True, database=database) as again:
        assert (again.aggregates_kept().since or 0) > APRIL + 29 * HOUR
        check(again)
        add(again, minute(1, APRIL + 60, 8.0), minute(1, APRIL + 60 * HOUR, 3.0))
        check(again)
        assert settle(again) > 0
        assert again.aggregates_kept()[1:] == (0, None)
        check(again)
        assert again.aggregates_kept().rows[Period.MONTH] == 4
        assert list(again.aggregate_differences()) == []


def test_what_was_bent_is_named(store: Store) -> None:
    add(store, *(minute(1, APRIL + n * HOUR, float(n)) for n in range(-30, 30)))
    settle(store)
    link = store.ledger.connection
    link.execute("UPDATE aggregate SET high = 99.5 WHERE period = 2 AND ts = ?", (APRIL,))
    (found,) = store.aggregate_differences("2026-04")
    assert "2026-04-01 00:00 起的日统计" in found
    assert "high 99.5" in found
    assert list(store.aggregate_differences("2026-03")) == []
    link.execute("DELETE FROM aggregate WHERE period = 3 AND ts = ?", (MARCH,))
    (found,) = store.aggregate_differences("2026-03")
    assert "月统计：保存的是 无" in found
