"""Evaluation in parts: the same days as reading hour by hour and judging, whatever runs it, whoever is killed."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from ceguan import settings
from ceguan.quality import layers
from ceguan.science import air
from ceguan.store import Decision, Flag, QualityRun, Store, compute, history
from ceguan.store.compute import Counted, Local, Part, Plan, Ray
from ceguan.words import Outcome
from tests.store.conftest import APRIL, HOUR, NAN, add, reading

DAY = 24 * HOUR
COLUMNS = ("so2_1h", "no2_1h", "co_1h", "o3_1h", "pm10_1h", "pm25_1h")
START, END = APRIL - 2 * DAY, APRIL + 2 * DAY  # over the end of a month
PLAN = Plan(np.arange(12), np.repeat([0, 1], 6).astype(np.int32), COLUMNS * 2, np.ones(12))


def judged(store: Store) -> dict[str, np.ndarray]:
    """The same days by way of `Store.readings`: reading by reading, then `layers.valid` and `air.daily_columns`."""
    grids = {name: np.full((2, 4 * 24), np.nan) for name in COLUMNS}
    for series in range(12):
        table = store.readings([series], 2, START, END)
        failed = {row["ts"] for row in store.flags([series], 2, START, END).to_pylist() if row["outcome"] == 4}
        for row in table.to_pylist():
            missing = np.isnan(row["value"])
            outcome = Outcome.MISSING if missing else Outcome.FAIL if row["ts"] in failed else Outcome.PASS
            each = (np.array([cell]) for cell in (int(outcome), row["flag"], row["action"]))
            if layers.valid(*each)[0]:
                grids[COLUMNS[series % 6]][series // 6, (row["ts"] - START) // HOUR] = row["value_in_force"]
    return air.daily_columns({name: grid.reshape(2, 4, 24) for name, grid in grids.items()})


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k], equal_nan=True) for k in one)


def evaluated(store: Store, on: Any = Local(2)) -> dict[str, np.ndarray]:  # noqa: B008
    return compute.evaluate(store.parts(PLAN, START, END), PLAN, 2, START, END, on).days


def blocks(folder: str, size: int) -> Store:
    """A store that seals in blocks of so many series."""
    Path(folder, "ceguan.toml").write_text(f"history_series = {size}\n")
    return Store(folder, write=True, database="", history="")


HOURS = st.integers(0, 4 * 24 - 1)
SERIES = st.integers(0, 11)
ACTION = st.sampled_from(["keep", "invalidate", "substitute", "exempt"])


@budget(max_examples=15, deadline=None)
@given(
    rng=st.integers(0, 1 << 32),
    odd=st.lists(st.tuples(SERIES, HOURS, st.sampled_from(["D", "N", "", "F"]), st.sampled_from([NAN, 3.0, 700.0]))),
    late=st.lists(st.tuples(SERIES, HOURS, st.floats(0, 900))),
    failed=st.lists(st.tuples(SERIES, HOURS)),
    lifted=st.booleans(),
    decided=st.lists(st.tuples(SERIES, HOURS, st.integers(1, 9 * HOUR), ACTION), max_size=6),
    sealed=st.sampled_from([(), ("2026-03",), ("2026-03", "2026-04")]),
    size=st.sampled_from([4096, 5, 2]),
)
def test_parts_give_the_days_that_reading_and_judging_give(
    rng: int,
    odd: list[Any],
    late: list[Any],
    failed: list[Any],
    lifted: bool,
    decided: list[Any],
    sealed: tuple[str, ...],
    size: int,
) -> None:
    random = np.random.default_rng(rng)
    with tempfile.TemporaryDirectory() as folder, blocks(folder, size) as store:
        there = random.random((12, 4 * 24)) < 0.9
        value = random.integers(0, 400, there.shape) / 4
        add(store, *(reading(s, START + h * HOUR, value[s, h]) for s, h in np.argwhere(there).tolist()))
        add(store, *(reading(s, START + h * HOUR, v, flag=flag) for s, h, flag, v in odd))
        for month in sealed:
            store.seal(month, 1.0)
        add(store, *(reading(s, START + h * HOUR, v) for s, h, v in late))
        with store.ledger.batch() as batch:
            for s, h in failed:
                run = QualityRun(s, 2, START, END, "range", "1", {}, 1.0)
                batch.add_flags([(run, [Flag(START + h * HOUR, 0, 4, {})])])
            if lifted and failed:
                batch.add_flags([(QualityRun(failed[0][0], 2, START, END, "range", "2", {}, 2.0), [])])
            for n, (s, h, length, action) in enumerate(decided):
                begin = START + h * HOUR + (n % 2) * 60
                what = 42.5 if action == "substitute" else None
                batch.add_decision(Decision(s, 2, begin, begin + length, action, "我", 3.0, "试", n, value=what))
        assert same(evaluated(store), judged(store))


def filled(store: Store) -> None:
    """Two stations over the end of a month, the month sealed."""
    values = np.random.default_rng(212).integers(0, 200, (12, 96))
    add(store, *(reading(s, START + h * HOUR, float(values[s, h])) for s in range(12) for h in range(96)))
    store.seal("2026-03", 1.0)
    add(store, reading(3, START, 500.0))


def test_a_file_falls_into_parts_between_series_and_their_order_does_not_matter(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROW_GROUP", 96)  # two series of the sealed days
    filled(store)
    (name,) = store.manifest()["path"].to_pylist()
    pieces = compute.spread(store.history, name, PLAN, START, APRIL, rows=90)
    assert [(one.low, one.high) for one in pieces] == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)]
    days = [compute.map_part(one, PLAN).days for one in pieces]
    whole = compute.reduce_parts(days, 2, START, APRIL)
    assert same(whole, compute.reduce_parts(days[::-1], 2, START, APRIL))
    assert not np.isnan(whole["pm10_24h"]).any()
    with pytest.raises(ValueError, match="两部分"):
        compute.reduce_parts([*days, days[0]], 2, START, APRIL)


def test_only_row_groups_of_the_part_are_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ROW_GROUP", 96)
    filled(store)
    (name,) = store.manifest()["path"].to_pylist()
    assert compute.map_part(Part(store.history, name, 2, 3, START, APRIL), PLAN).rows == 96
    assert compute.map_part(Part(store.history, name, 2, 3, START, START + DAY), PLAN).rows == 96


def test_a_day_with_nineteen_hours_has_no_mean_and_one_with_twenty_has(store: Store) -> None:
    """GB 3095 table 4: at least 20 hourly means."""
    add(store, *(reading(0, APRIL + h * HOUR, 10.0) for h in range(19)))
    add(store, *(reading(0, APRIL + DAY + h * HOUR, 10.0) for h in range(20)))
    np.testing.assert_array_equal(evaluated(store)["so2_24h"][0], [NAN, NAN, NAN, 10.0])


def test_no_series_and_no_readings_give_days_without_values(store: Store) -> None:
    nothing = Plan(np.zeros(0, np.int64), np.zeros(0, np.int32), (), np.zeros(0))
    assert compute.evaluate(store.parts(nothing, START, END), nothing, 0, START, END, Local()).days["o3_8h"].shape == (
        0,
        4,
    )
    assert np.isnan(evaluated(store)["o3_8h"]).all()


def test_the_setting_says_where_it_runs() -> None:
    assert compute.driver(settings.load({})) == Local()
    assert compute.driver(settings.load({}, compute="ray", ray_address="10.0.0.1:6379")) == Ray("10.0.0.1:6379")
    with pytest.raises(ValueError, match="local 或 ray"):
        compute.driver(settings.load({}, compute="dask"))


# ── on Ray ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def killed_once(part: Part, plan: Plan) -> Counted:
    """`map_part`, but the first worker that has worked through a part of this mark dies before it can answer."""
    found = compute.map_part(part, plan)
    try:
        os.close(os.open(Path(part.lake.folder) / "killed", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return found
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


@pytest.mark.service
def test_ray_gives_the_same_days_also_when_a_worker_is_killed_in_the_middle(tmp_path: Path, cluster: str) -> None:
    with Store(tmp_path, write=True, database="", history="") as store:
        filled(store)
        expected = evaluated(store)
        assert same(evaluated(store, Ray(cluster)), expected)
        parts = store.parts(PLAN, START, END)
        found = Ray(cluster).run(killed_once, parts, PLAN)
        assert (tmp_path / "history" / "killed").exists()
        assert same(compute.reduce_parts([one.days for one in found], 2, START, END), expected)
