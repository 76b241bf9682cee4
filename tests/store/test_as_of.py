"""What was known at a moment: every read with `as_of` gives the answer the same read gave live at that moment."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ceguan.store import Decision, Flag, Gap, QualityRun, Quarantined, Store, UnknownFrame, Verdict
from tests.postgres import new_database
from tests.store.conftest import APRIL, HOUR, MARCH, NAN, reading

SERIES = st.integers(1, 3)
TIMES = [MARCH, MARCH + HOUR, APRIL - HOUR, APRIL, APRIL + HOUR]
TIME = st.sampled_from(TIMES)
VALUE = st.sampled_from([0.0, 1.5, 2.5, NAN])
END = APRIL + 9 * HOUR
READINGS = st.lists(st.tuples(SERIES, TIME, VALUE), min_size=1, max_size=6)
STEP = st.one_of(
    st.tuples(st.just("readings"), READINGS),
    st.tuples(st.just("readings"), READINGS),
    st.tuples(st.just("seal"), st.sampled_from(["2026-03", "2026-04"])),
    st.tuples(st.just("decide"), SERIES, TIME, st.sampled_from(["keep", "invalidate", "substitute", "exempt"])),
    st.tuples(st.just("flag"), SERIES, st.lists(TIME, unique=True, max_size=3)),
    st.tuples(st.just("judge"), SERIES, TIME, st.sampled_from(["aqi", "day"]), VALUE),
    st.tuples(
        st.just("gaps"),
        SERIES,
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["off", "broken"])), unique_by=lambda gap: gap[0]),
        st.booleans(),
    ),
    st.tuples(st.just("hold"), st.integers(1, 4), READINGS),
    st.tuples(st.just("let in"), st.integers(1, 4), st.sampled_from(["released", "dismissed"])),
)
CORRECTED = [
    ("readings", [(1, APRIL - HOUR, 1.5), (2, APRIL, 1.5), (3, MARCH, 0.0)]),
    ("flag", 1, [APRIL - HOUR]),
    ("judge", 1, MARCH, "day", 1.5),
    ("seal", "2026-03"),
    ("readings", [(1, APRIL - HOUR, 2.5), (2, APRIL + HOUR, 2.5), (3, MARCH, 2.5), (3, APRIL, 0.0)]),
    ("decide", 2, APRIL, "invalidate"),
    ("seal", "2026-04"),
    ("flag", 1, []),
    ("judge", 1, MARCH, "day", 2.5),
    ("judge", 1, MARCH + HOUR, "day", 1.5),
]
LET_IN = [
    ("hold", 1, [(1, MARCH, 1.5)]),
    ("hold", 3, [(2, MARCH + HOUR, 1.5)]),
    ("readings", [(1, MARCH, 0.0), (2, MARCH, 2.5)]),
    ("let in", 3, "released"),
    ("seal", "2026-03"),
    ("let in", 1, "released"),
    ("hold", 4, [(3, MARCH, 1.5)]),
    ("let in", 4, "dismissed"),
]
MISSING = [
    ("gaps", 1, [(0, "off"), (1, "off"), (3, "broken")], False),
    ("gaps", 1, [(0, "off"), (3, "off")], False),
    ("gaps", 1, [], False),
    ("gaps", 1, [(1, "off"), (0, "broken")], False),
    ("gaps", 1, [(0, "off"), (2, "off")], True),
]
FIRST_MISSING, LENGTH = APRIL + 4 * HOUR, HOUR


class City:
    """A store whose every step happens at one moment."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.held: dict[int, tuple[int, list[Any]]] = {}

    def step(self, now: int, what: str, *given: Any) -> None:
        if what == "seal":
            self._seal(given[0], now)
            return
        with self.store.ledger.batch() as batch:
            getattr(self, f"_{what.replace(' ', '_')}")(batch, now, *given)

    def _seal(self, month: str, now: int) -> None:
        with suppress(ValueError):  # nothing of this month
            self.store.seal(month, now)

    def _readings(self, batch: Any, now: int, rows: list[Any]) -> None:
        batch.add_readings([reading(s, ts, value, recv=now, frame=1000 + now) for s, ts, value in rows])

    def _decide(self, batch: Any, now: int, series: int, ts: int, action: str) -> None:
        batch.add_decision(Decision(series, 2, ts, ts + 2 * HOUR, action, "李审核", now, "因校准", 1, "", 77.0))

    def _flag(self, batch: Any, now: int, series: int, times: list[int]) -> None:
        run = QualityRun(series, 2, MARCH, END, "spike", "1", {}, now)
        batch.add_flags([(run, [Flag(ts, 0, 3, {}) for ts in sorted(times)])])

    def _judge(self, batch: Any, now: int, point: int, ts: int, rule: str, value: float) -> None:
        batch.add_verdicts([Verdict(point, rule, ts, "ok", value, "", "", "", {}, [[point, 2, ts, 0]], now)])

    def _gaps(self, batch: Any, now: int, series: int, hours: list[Any], grow: bool) -> None:
        """Of the four hours before the sweep and the four of it; with `grow` only the later ones are looked at."""
        start = FIRST_MISSING + 2 * LENGTH if grow else FIRST_MISSING
        found = [Gap(start + h * LENGTH, start + (h + 1) * LENGTH, cause) for h, cause in sorted(hours)]
        batch.put_gaps(2, start, FIRST_MISSING + 9 * LENGTH, {series: found}, now, grow)

    def _hold(self, batch: Any, now: int, device: int, rows: list[Any]) -> None:
        """Devices 1 and 2 are unknown, frames of 3 and 4 are for the quarantine."""
        frame = 2000 + now
        self.held[frame] = (device, [reading(s, ts, value, recv=now, frame=frame) for s, ts, value in rows])
        if device <= 2:
            batch.hold([UnknownFrame(f"MN{device}", frame, now, "31", "2061", {}, "")])
        else:
            batch.quarantine([Quarantined(frame, f"MN{device}", now, "future:9", 2, None, len(rows), [frame, 9])])

    def _let_in(self, batch: Any, now: int, device: int, state: str) -> None:
        frames = [frame for frame, (owner, _) in self.held.items() if owner == device]
        counted = device <= 2 or state == "released"
        if device <= 2:
            batch.release(f"MN{device}", now)
        else:
            batch.settle(frames, state, "李审核", now, "看过了")
        for frame in frames:
            _, rows = self.held.pop(frame)
            if counted:
                batch.add_readings(rows)


def answers(store: Store, as_of: float | None) -> dict[str, Any]:
    """Each read that has an `as_of`."""
    span, at = ([1, 2, 3], 2, MARCH, END), {"as_of": as_of}
    keys = [(s, 2, ts, ver) for s in (1, 2, 3) for ts in TIMES for ver in range(4)]
    tables = {
        "readings": store.readings(*span, **at),
        "versions": store.readings(*span, **at, versions="all"),
        "thinned": store.thinned(1, 2, MARCH, END, 5, **at),
        "latest": store.latest(**at),
        "latest of some": store.latest([1, 3], 2, **at),
        "exact": store.exact(keys, **at),
        "flags": store.flags(*span, **at),
        "turns": store.flags(*span, **at, versions="all"),
        "decisions": store.decisions(**at),
        "verdicts": store.verdicts(**at),
        "verdict versions": store.verdicts([1, 2], None, MARCH, END, **at, all_versions=True),
        "latest verdicts": store.latest_verdicts(None, **at),
        "latest of a rule": store.latest_verdicts("day", [1, 2], **at),
        "gaps": store.gaps(*span, **at),
        "quarantine": store.quarantined(**at),
        "once in quarantine": store.quarantined(None, "MN3", **at),
    }
    matrix = store.matrix([[1, 2, 3]], 2, APRIL - 2 * HOUR, APRIL + 2 * HOUR, **at).values.tolist()
    times = store.times(*span, **at).tolist()
    return {name: table.to_pydict() for name, table in tables.items()} | {"matrix": matrix, "times": times}


def check(steps: list[tuple[Any, ...]], database: str) -> None:
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database=database, history="") as store:
        city = City(store)
        live = [answers(store, None)]
        for now, step in enumerate(steps, 1):
            city.step(now, *step)
            live.append(answers(store, None))
        for moment, known in enumerate(live):
            np.testing.assert_equal(answers(store, moment), known, f"as of {moment}")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=9))
@example(CORRECTED)
@example(LET_IN)
@example(MISSING)
def test_a_read_as_of_a_moment_gives_what_it_gave_at_that_moment(steps: list[Any]) -> None:
    check(steps, "")


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, max_size=9))
@example(CORRECTED + LET_IN + MISSING)
def test_so_it_does_on_postgres(steps: list[Any]) -> None:
    check(steps, new_database())
