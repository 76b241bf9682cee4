"""Readings that leave sealed months by a recorded act: what stays is the same, and a crash at any step is harmless."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ceguan.store import Store
from ceguan.store.forgotten import Act
from ceguan.store.sealed import Leaving
from tests import s3
from tests.store import crashing
from tests.store.conftest import HOUR, MARCH, add, reading
from tests.store.test_crash import start

ACT = Act("ab" * 32, 5.0, "排污许可管理条例 第十九条")
MINUTES = Leaving(ACT, "2026-03", 1, (1, 2))


def minute(series: int, ts: int, value: float) -> tuple[Any, ...]:
    row = reading(series, ts, value)
    return (row[0], 1, *row[2:])


def fill(store: Store) -> None:
    """March of three series with hours and minutes, sealed; one late minute and one late hour after that."""
    for series in (1, 2, 3):
        add(store, *(reading(series, MARCH + i * HOUR, i) for i in range(48)))
        add(store, *(minute(series, MARCH + i * 600, i / 7) for i in range(288)))
    store.seal("2026-03", 1.0)
    settle(store)
    add(store, reading(1, MARCH + 50 * HOUR, 5.0), minute(1, MARCH + 50 * HOUR, 6.0))
    settle(store)


def settle(store: Store) -> None:
    while store.settle(1e12):
        pass


def rows(store: Store, kind: int, *series: int) -> list[dict[str, Any]]:
    return store.readings(series, kind, 0, 1 << 40, versions="all").to_pylist()


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_what_is_ordered_leaves_and_everything_else_stays_as_it_was(
    tmp_path: Path, database: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3.new_prefix(monkeypatch) if where == "s3" else ""
    with Store(tmp_path, write=True, database=database, history=url) as store:
        fill(store)
        hours, others, old = str(rows(store, 2, 1, 2, 3)), str(rows(store, 1, 3)), store.manifest()["path"][0].as_py()
        assert store.weigh("2026-03", 1, [1, 2]) == 2 * 288
        assert store.lighten(MINUTES, 10.0)
        assert not store.lighten(MINUTES, 11.0), "done once"
        assert (str(rows(store, 2, 1, 2, 3)), str(rows(store, 1, 3))) == (hours, others)
        assert rows(store, 1, 1, 2) == []
        assert store.weigh("2026-03", 1, [1, 2]) == 0
        (line,) = store.forgotten().to_pylist()
        assert (line["rows"], line["generation"], line["act"], line["rule"]) == (576, 2, ACT.hash, ACT.rule)
        assert store.left(2, 1, MARCH, MARCH + HOUR) == [("2026-03", ACT.rule, ACT.at)]
        assert store.left(3, 1, MARCH, MARCH + HOUR) == store.left(2, 2, MARCH, MARCH + HOUR) == []
        assert store.left(2, 1, 0, MARCH) == []
        assert list(store.breaks()) == []
        assert list(store.aggregate_differences()) == [], "days and months of what left are kept and stand"
        assert store.sweep(10.0) == 0, "somebody may still be reading it"
        assert store.sweep(10.1) == 1
        assert store.sweep(10.1) == 0
        assert not store.history.holds(old)
        assert [row["generation"] for row in store.standing().to_pylist()] == [2]
        assert list(store.breaks()) == []
        assert (str(rows(store, 2, 1, 2, 3)), str(rows(store, 1, 3))) == (hours, others)
        add(store, reading(1, MARCH, 9.0))
        store.seal("2026-03", 20.0)
        assert list(store.breaks()) == []
        assert rows(store, 2, 1)[1]["value"] == 9.0


def test_a_file_that_vanished_without_an_act_is_still_a_break(store: Store) -> None:
    fill(store)
    store.seal("2026-03", 9.0)
    (Path(store.history.folder) / store.manifest()["path"][0].as_py()).unlink()
    assert len(list(store.breaks())) == 1


def test_a_month_without_such_readings_is_done_and_nothing_is_written(store: Store) -> None:
    fill(store)
    assert store.lighten(MINUTES._replace(kind=0), 10.0)
    assert not store.lighten(MINUTES._replace(kind=0), 10.0)
    assert store.manifest().num_rows == 1
    assert store.sweep(99.0) == 0
    assert not store.lighten(MINUTES._replace(month="2020-01"), 10.0)


def test_a_month_of_which_everything_leaves_is_an_empty_file(store: Store) -> None:
    add(store, *(minute(1, MARCH + i * 600, i) for i in range(9)))
    store.seal("2026-03", 1.0)
    assert not store.lighten(MINUTES, 10.0), "not before its days are aggregated"
    settle(store)
    assert store.lighten(MINUTES, 10.0)
    assert (rows(store, 1, 1), store.manifest()["rows"].to_pylist()) == ([], [9, 0])
    add(store, minute(1, MARCH, 7.0))
    store.seal("2026-03", 20.0)
    assert [row["value"] for row in rows(store, 1, 1)] == [7.0]
    assert list(store.breaks()) == []


def test_the_database_refuses_to_forget_what_was_forgotten(store: Store) -> None:
    fill(store)
    store.lighten(MINUTES, 10.0)
    with pytest.raises(Exception, match="append-only"):
        store.ledger.connection.execute("DELETE FROM forgotten")


@pytest.mark.service
def test_killed_at_any_step_a_month_is_as_it_was_or_lighter_and_the_act_goes_on(tmp_path: Path) -> None:
    with Store(tmp_path / "0", write=True) as store:
        fill(store)
        hours, minutes = str(rows(store, 2, 1, 2, 3)), str(rows(store, 1, 1, 2))
    step, outcomes = 0, set()
    while True:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "0", folder)
        process, receiver = start(crashing.lighten, folder, step)
        process.join()
        with Store(folder, write=True) as store:
            assert str(rows(store, 2, 1, 2, 3)) == hours
            left = str(rows(store, 1, 1, 2))
            assert left in (minutes, "[]")
            outcomes.add(left == "[]")
            assert list(store.breaks()) == []
            store.lighten(MINUTES, 10.0)
            store.sweep(99.0)
            assert (rows(store, 1, 1, 2), str(rows(store, 2, 1, 2, 3))) == ([], hours)
            assert list(store.breaks()) == []
            assert store.forgotten().num_rows == 1
        shutil.rmtree(folder)
        with suppress(EOFError):
            receiver.recv()
            break
    assert outcomes == {True, False}
