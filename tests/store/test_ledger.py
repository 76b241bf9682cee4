"""The ledger: three layers, versions, verdicts – appended, never overwritten, each archive record exactly once."""

from __future__ import annotations

import math
import random
import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ceguan.store import (
    MOST_LEDGERS,
    BadFrame,
    Batch,
    Decision,
    DeviceDay,
    Flag,
    Gap,
    Ledger,
    LedgerError,
    LedgerTakenError,
    Position,
    QualityRun,
    Store,
    UnknownFrame,
    Verdict,
    first_break,
)
from ceguan.store.database import connect_reader
from tests.postgres import Server, new_database
from tests.store.conftest import HOUR, MARCH, NAN, add, reading

REFUSED = (sqlite3.IntegrityError, psycopg.IntegrityError)


def values(store: Store, series: int = 1, **how: float) -> list[float]:
    return store.readings([series], 2, 0, 1 << 40, **how)["value_in_force"].to_pylist()  # type: ignore[arg-type]


def decision(action: str = "invalidate", at: float = 50.0, **other: object) -> Decision:
    return Decision(1, 2, MARCH, MARCH + HOUR, action, "李审核", at, "校准期间", 7, **other)  # type: ignore[arg-type]


def decide(store: Store, *decisions: Decision) -> list[int]:
    with store.ledger.batch() as batch:
        return [batch.add_decision(one) for one in decisions]


# ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_reading_again_is_a_no_op(store: Store) -> None:
    assert add(store, reading(1, MARCH, 5.0))[:3] == (1, 0, [])
    assert add(store, reading(1, MARCH, 5.0, recv=MARCH + 9 * HOUR, frame=2))[:3] == (0, 1, [])
    assert store.readings([1], 2, MARCH, MARCH + 1, versions="all")["frame"].to_pylist() == [1]


def test_a_resent_reading_with_another_value_becomes_a_new_version(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0))
    added = add(store, reading(1, MARCH, 6.0, frame=2))
    assert [(row[3], row[4], row[11]) for row in added.changed] == [(1, 6.0, 2)]
    assert store.readings([1], 2, MARCH, MARCH + 1, versions="all")["value"].to_pylist() == [5.0, 6.0]
    assert values(store) == [6.0]


def test_another_device_flag_is_another_version(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0))
    assert len(add(store, reading(1, MARCH, 5.0, flag="C")).changed) == 1


def test_versions_within_one_batch_follow_its_order(store: Store) -> None:
    added = add(store, *(reading(1, MARCH, value) for value in (5.0, 6.0, 6.0, 5.0)))
    assert (added.new, added.same, [row[3:5] for row in added.changed]) == (1, 1, [(1, 6.0), (2, 5.0)])


def test_absent_stays_absent_and_zero_is_not_absent(store: Store) -> None:
    assert add(store, reading(1, MARCH, NAN))[:3] == (1, 0, [])
    assert add(store, reading(1, MARCH, NAN))[:3] == (0, 1, [])
    assert len(add(store, reading(1, MARCH, 0.0)).changed) == 1
    assert values(store) == [0.0]


def test_a_row_that_cannot_be_kept_is_refused_not_skipped(store: Store) -> None:
    with pytest.raises(ValueError, match="ts"):
        add(store, reading(1, MARCH, 5.0), (1, 2, None, 0, 1.0, NAN, NAN, NAN, NAN, "N", 1, 1))
    assert values(store) == []


def test_a_table_is_taken_in_like_rows(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0), reading(2, MARCH, NAN))
    table = store.readings([1, 2], 2, MARCH, MARCH + 1, versions="all")
    with store.ledger.batch() as batch:
        assert batch.add_readings(table)[:3] == (0, 2, [])


def test_what_was_known_at_a_date_can_be_asked(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0, recv=100), reading(1, MARCH + HOUR, 7.0, recv=300))
    add(store, reading(1, MARCH, 6.0, recv=200))
    assert [values(store, as_of=when) for when in (99, 100, 200, 300)] == [[], [5.0], [6.0], [6.0, 7.0]]


def test_latest_is_the_newest_reading_of_each_series_and_kind(store: Store) -> None:
    add(store, reading(1, MARCH + HOUR, 2.0), reading(1, MARCH, 1.0), reading(2, MARCH, 9.0))
    assert store.latest()["value"].to_pylist() == [2.0, 9.0]
    add(store, reading(1, MARCH + HOUR, 3.0), reading(2, MARCH - HOUR, 8.0), reading(3, MARCH, 4.0))
    assert store.latest()["value"].to_pylist() == [3.0, 9.0, 4.0]
    assert store.latest([2, 3])["value"].to_pylist() == [9.0, 4.0]
    assert store.latest(range(2, 1000), kind=2)["value"].to_pylist() == [9.0, 4.0]
    assert store.latest(kind=1).num_rows == 0


def test_latest_follows_decisions(store: Store) -> None:
    add(store, reading(1, MARCH, 1.0))
    assert store.latest()["value_in_force"].to_pylist() == [1.0]
    decide(store, decision())
    assert math.isnan(store.latest()["value_in_force"][0].as_py())
    assert store.latest([1])["decision"].to_pylist() == [1]


def test_exactly_the_versions_a_verdict_rests_on(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0), reading(1, MARCH + HOUR, 7.0), reading(2, MARCH, 8.0))
    add(store, reading(1, MARCH, 6.0))
    assert store.exact([[1, 2, MARCH, 0], [2, 2, MARCH, 0]])["value"].to_pylist() == [5.0, 8.0]
    assert store.exact([]).num_rows == 0


# ── decisions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_decisions_are_applied_at_read_and_the_measured_value_stays(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0), reading(1, MARCH + HOUR, 7.0))
    decide(store, decision("substitute", value=4.5, zs=4.0))
    table = store.readings([1], 2, 0, 1 << 40)
    assert table["value"].to_pylist() == [5.0, 7.0]
    assert table["value_in_force"].to_pylist() == [4.5, 7.0]
    assert table["zs_in_force"].to_pylist()[0] == 4.0
    assert (table["decision"].to_pylist(), table["action"].to_pylist()) == ([1, 0], ["substitute", ""])


@pytest.mark.parametrize(
    ("actions", "left"), [(["invalidate", "keep"], 5.0), (["exempt"], 5.0), (["keep", "invalidate"], NAN)]
)
def test_the_last_decision_holds(store: Store, actions: list[str], left: float) -> None:
    add(store, reading(1, MARCH, 5.0))
    decide(store, *(decision(action) for action in actions))
    assert values(store) == pytest.approx([left], nan_ok=True)
    assert store.readings([1], 2, 0, 1 << 40)["action"].to_pylist() == actions[-1:]


def test_a_decision_is_not_known_before_it_was_made(store: Store) -> None:
    add(store, reading(1, MARCH, 5.0, recv=10))
    decide(store, decision(at=50))
    assert values(store, as_of=49) == [5.0]
    assert values(store, as_of=50) == pytest.approx([NAN], nan_ok=True)


def test_a_decision_altered_behind_our_back_breaks_the_chain(store: Store) -> None:
    decide(store, decision(), decision("substitute", at=60, value=3), decision("keep", at=70))
    assert first_break(store.decisions()) is None
    here = "" if isinstance(store.ledger.connection, sqlite3.Connection) else " ON decision"
    store.ledger.connection.execute(f"DROP TRIGGER decision_no_update{here}")
    store.ledger.connection.execute("UPDATE decision SET value = 2 WHERE id = 2")
    assert first_break(store.decisions()) == 2


def test_a_substitute_without_a_value_is_refused(store: Store) -> None:
    with pytest.raises(REFUSED):
        decide(store, decision("substitute"))


# ── the database itself refuses ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", ["reading", "flag", "decision", "verdict", "bad_frame"])
@pytest.mark.parametrize("change", ["UPDATE {} SET rowid_free = 1", "DELETE FROM {}"])
def test_the_database_itself_refuses_to_change_or_forget(store: Store, table: str, change: str) -> None:
    add(store, reading(1, MARCH, 5.0))
    with store.ledger.batch() as batch:
        batch.add_flags([(QualityRun(1, 2, MARCH, MARCH + HOUR, "spike", "1", {}, 1.0), [Flag(MARCH, 0, 3, {})])])
        batch.add_decision(decision())
        batch.add_verdicts([Verdict(1, "aqi", MARCH, "ok", 1.0, "优", "HJ 633-2026", "5", {}, [], 1.0)])
        batch.add_bad_frames([BadFrame(1, 1.0, "a", "", "noise", 3)])
    column = {"bad_frame": "size"}.get(table, "value" if table not in ("flag",) else "ver")
    with pytest.raises(REFUSED, match=r"append-only|sealed"):
        store.ledger.connection.execute(change.format(table).replace("rowid_free", column))


@pytest.mark.parametrize("table", ["flag", "decision", "verdict", "bad_frame"])
def test_sqlite_lets_nothing_be_replaced_either(tmp_path: Path, table: str) -> None:
    with Store(tmp_path, write=True, database="") as store:
        with store.ledger.batch() as batch:
            run = QualityRun(1, 2, MARCH, MARCH + HOUR, "spike", "1", {}, 1.0)
            batch.add_flags([(run, [Flag(MARCH, 0, 3, {})])])
            batch.add_decision(decision())
            batch.add_verdicts([Verdict(1, "aqi", MARCH, "ok", 1.0, "优", "HJ 633-2026", "5", {}, [], 1.0)])
            batch.add_bad_frames([BadFrame(1, 1.0, "a", "", "noise", 3)])
        db = store.ledger.connection
        before = db.execute(f"SELECT * FROM {table}").fetchall()
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        changed = {"flag": "outcome", "decision": "why", "verdict": "id", "bad_frame": "size"}[table]
        given = ", ".join("77" if name == changed else name for name in names)
        replaced = f"INSERT OR REPLACE INTO {table} SELECT {given} FROM {table}"
        if table == "bad_frame":  # as a frame that comes again
            db.execute(replaced)
        else:
            with pytest.raises(sqlite3.IntegrityError, match="REPLACE refused"):
                db.execute(replaced)
        assert db.execute(f"SELECT * FROM {table}").fetchall() == before


def test_a_second_writer_is_refused_and_told_who_writes(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LedgerTakenError, match=r"台账正由进程 \d+ 写入"):
        Ledger(tmp_path / "readings.db")


def test_a_second_writer_on_another_machine_is_refused_too(tmp_path: Path) -> None:
    url = new_database()
    with Store(tmp_path / "here", write=True, database=url), pytest.raises(LedgerTakenError, match="会话锁"):
        Store(tmp_path / "elsewhere", write=True, database=url)
    Store(tmp_path / "elsewhere", write=True, database=url).close()


def torn(store: Store, server: Server) -> None:
    with store.ledger.batch() as batch:
        batch.add_readings([reading(1, MARCH + HOUR, 6.0)])
        server.restart()
        batch.add_readings([reading(1, MARCH + 2 * HOUR, 7.0)])


def test_a_writer_goes_on_after_the_server_was_restarted_and_nothing_of_the_torn_batch_stays(tmp_path: Path) -> None:
    server = Server()
    with Store(tmp_path, write=True, database=server.new_database()) as store:
        add(store, reading(1, MARCH, 5.0))
        with pytest.raises(psycopg.OperationalError):
            torn(store, server)
        assert values(store) == [5.0]
        add(store, reading(1, MARCH + HOUR, 6.0))
        assert values(store) == [5.0, 6.0]


def test_a_reader_cannot_write(tmp_path: Path, database: str) -> None:
    with pytest.raises((sqlite3.OperationalError, psycopg.errors.ReadOnlySqlTransaction), match=r"read-?only"):
        connect_reader(tmp_path / "readings.db", database).execute("DELETE FROM reading")
    with pytest.raises(LedgerError, match="只读"):
        _ = Store(tmp_path).ledger


def test_a_reader_may_come_before_the_first_writer(tmp_path: Path, database: str) -> None:
    early = Store(tmp_path / "new", database=database)
    assert early.latest().num_rows == 0
    with Store(tmp_path / "new", write=True, database=database) as store:
        add(store, reading(1, MARCH, 5.0))
    assert early.latest().num_rows == 1


def test_a_ledger_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "readings.db").close()
    connection = sqlite3.connect(tmp_path / "readings.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="请升级程序"):
        Ledger(tmp_path / "readings.db")


def test_a_postgres_ledger_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    url = new_database()
    Ledger(tmp_path / "readings.db", url).close()
    with psycopg.connect(url) as link:
        link.execute("UPDATE ledger.version SET n = 99")
    with pytest.raises(sqlite3.DatabaseError, match="请升级程序"):
        Ledger(tmp_path / "readings.db", url)


def test_a_batch_that_fails_leaves_nothing(store: Store) -> None:
    def readings_then_failure(batch: Batch) -> None:
        batch.add_readings([reading(1, MARCH, 5.0)])
        batch.move({0: Position(0, 100)})
        raise RuntimeError("something else went wrong")

    with pytest.raises(RuntimeError), store.ledger.batch() as batch:
        readings_then_failure(batch)
    assert (values(store), store.positions()) == ([], {})
    add(store, reading(1, MARCH, 5.0))
    assert values(store) == [5.0]


# ── flags ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(
    store: Store, *flags: Flag, made_at: float = 1.0, start: int = MARCH, hours: int = 3, limit: float = 9.0
) -> int:
    with store.ledger.batch() as batch:
        test = QualityRun(1, 2, start, start + hours * HOUR, "range", "1", {"upper": limit}, made_at)
        return batch.add_flags([(test, flags)])


def flags(store: Store, **how: object) -> list[tuple[int, int]]:
    table = store.flags([1], 2, 0, 1 << 40, **how)  # type: ignore[arg-type]
    return [
        ((ts - MARCH) // HOUR, outcome)
        for ts, outcome in zip(*table.select(["ts", "outcome"]).to_pydict().values(), strict=True)
    ]


def test_a_flag_carries_test_version_parameters_and_evidence(store: Store) -> None:
    run(store, Flag(MARCH, 0, 4, {"value": 12.0}))
    (row,) = store.flags([1], 2, MARCH, MARCH + 1).to_pylist()
    assert (row["test"], row["version"], row["params"], row["evidence"]) == (
        "range",
        "1",
        '{"upper":9.0}',
        '{"value":12.0}',
    )


def test_a_run_repeated_with_the_same_outcome_writes_nothing(store: Store) -> None:
    assert run(store, Flag(MARCH, 0, 4, {})) == 1
    assert run(store, Flag(MARCH, 0, 4, {}), made_at=2.0) == 0


def test_a_run_that_no_longer_finds_a_flag_lifts_it_and_history_shows_both(store: Store) -> None:
    run(store, Flag(MARCH, 0, 4, {}), Flag(MARCH + HOUR, 0, 3, {}))
    assert run(store, Flag(MARCH + HOUR, 0, 3, {}), made_at=2.0) == 1
    assert flags(store) == [(1, 3)]
    assert flags(store, versions="all") == [(0, 4), (0, 1), (1, 3)]
    assert flags(store, as_of=1.0) == [(0, 4), (1, 3)]
    run(store, Flag(MARCH, 1, 4, {}), Flag(MARCH + HOUR, 0, 3, {}), made_at=3.0)
    assert flags(store) == [(0, 4), (1, 3)]


def test_adjoining_runs_are_one_proof_and_other_parameters_are_another(store: Store) -> None:
    run(store)
    run(store, start=MARCH + 3 * HOUR, made_at=2.0)
    run(store, start=MARCH + 9 * HOUR, made_at=3.0)
    run(store, start=MARCH, limit=8.0, made_at=4.0)
    proofs = store.quality_runs([1], 2, 0, 1 << 40).to_pylist()
    spans = {(row["params"], (row["ts_from"] - MARCH) // HOUR, (row["ts_to"] - MARCH) // HOUR) for row in proofs}
    assert spans == {('{"upper":9.0}', 0, 6), ('{"upper":9.0}', 9, 12), ('{"upper":8.0}', 0, 3)}


def test_a_flag_outside_its_run_is_an_error(store: Store) -> None:
    with pytest.raises(ValueError, match="outside the run"):
        run(store, Flag(MARCH - HOUR, 0, 4, {}))


# ── verdicts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def verdict(value: float | None = 42.0, ts: int = MARCH, point: int = 1, made_at: float = 1.0, ver: int = 0) -> Verdict:
    return Verdict(
        point, "aqi", ts, "ok", value, "优", "HJ 633-2026", "5.2", {"primary": []}, [[1, 2, ts, ver]], made_at
    )


def judge(store: Store, *verdicts: Verdict) -> list[tuple[int, int, int | None]]:
    with store.ledger.batch() as batch:
        return [(stored.id, stored.ver, stored.previous) for stored in batch.add_verdicts(verdicts)]


def test_a_changed_verdict_is_a_new_version_and_the_old_one_stays(store: Store) -> None:
    assert judge(store, verdict()) == [(1, 0, None)]
    assert judge(store, verdict(made_at=2.0)) == []
    assert judge(store, verdict(51.0, made_at=3.0)) == [(2, 1, 1)]
    assert store.verdicts(1)["value"].to_pylist() == [51.0]
    assert store.verdicts(1, all_versions=True)["value"].to_pylist() == [42.0, 51.0]
    assert store.verdicts([1], as_of=2.0)["value"].to_pylist() == [42.0]


def test_a_verdict_of_other_inputs_is_another_verdict(store: Store) -> None:
    judge(store, verdict())
    assert len(judge(store, verdict(ver=1))) == 1


def test_a_verdict_without_a_number_is_kept_once(store: Store) -> None:
    assert len(judge(store, verdict(NAN))) == 1
    assert judge(store, verdict(None)) == []


def test_a_verdict_knows_its_inputs(store: Store) -> None:
    judge(store, verdict())
    found = store.verdict(1)
    assert found is not None
    assert (found["inputs"], found["detail"]) == ([[1, 2, MARCH, 0]], {"primary": []})
    assert store.verdict(2) is None


def test_the_latest_verdict_of_each_point(store: Store) -> None:
    judge(store, verdict(1.0), verdict(2.0, ts=MARCH + HOUR), verdict(3.0, point=2), verdict(9.0, ts=MARCH - HOUR))
    judge(store, verdict(4.0, point=2))
    assert store.latest_verdicts("aqi")["value"].to_pylist() == [2.0, 4.0]
    assert store.latest_verdicts("aqi", [2])["value"].to_pylist() == [4.0]
    assert store.verdicts([1, 2], "aqi", MARCH, MARCH + 1)["value"].to_pylist() == [1.0, 4.0]
    assert store.verdicts(rule="other").num_rows == 0


def test_many_verdicts_at_once_become_what_they_become_one_by_one(store: Store, tmp_path: Path) -> None:
    chance = random.Random(7)
    many = [
        verdict(float(chance.randint(1, 3)), MARCH + chance.randint(0, 4) * HOUR, chance.randint(1, 3), n)
        for n in range(200)
    ]
    with Store(tmp_path / "one by one", write=True, database="") as other:
        expected = [stored for one in many for stored in judge(other, one)]
        assert 50 < len(expected) < 150
        parts = many[:40], many[40:45], many[45:]
        assert [stored for part in parts for stored in judge(store, *part)] == expected
        for all_versions in (True, False):
            found = [one.verdicts(all_versions=all_versions).to_pylist() for one in (store, other)]
            assert found[0] == found[1]
        assert store.latest_verdicts("aqi").to_pylist() == other.latest_verdicts("aqi").to_pylist()


# ── intake ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_device_waits_with_what_it_has_sent_until_it_is_adopted(store: Store) -> None:
    with store.ledger.batch() as batch:
        batch.hold([UnknownFrame("MN1", 11, 1.0, "31", "2051", {"a34013": "1.2"}, "10.0.0.7:1")])
        batch.hold([UnknownFrame("MN1", 12, 2.0, "31", "2061", {"a21026": "7"}, "10.0.0.7:2")])
        batch.hold([UnknownFrame("MN2", 13, 1.5, "32", "2011", {}, "10.0.0.8:1")])
    first, second = store.unknown_devices()
    assert (first["mn"], first["frames"], first["first_recv"], first["last_recv"]) == ("MN1", 2, 1.0, 2.0)
    assert (first["cns"], first["factors"]) == (["2051", "2061"], {"a34013": "1.2", "a21026": "7"})
    assert second["mn"] == "MN2"
    assert store.held_frames("MN1") == store.ledger.held_frames("MN1") == [11, 12]
    with store.ledger.batch() as batch:
        batch.release("MN1", 5.0)
    assert [device["mn"] for device in store.unknown_devices()] == ["MN2"]
    assert store.held_frames("MN1") == []


def test_counters_of_a_device_and_day_add_up(store: Store) -> None:
    for recv, delay in ((10.0, 3.0), (20.0, 1.0)):
        with store.ledger.batch() as batch:
            batch.count([DeviceDay("MN1", "2026-03-01", 2, 1, 0, 10, 1, 0, recv, recv, delay, delay)])
    (row,) = store.device_days("2026-03-01", "2026-03-01").to_pylist()
    assert (row["frames"], row["bad"], row["items"], row["first_recv"], row["last_recv"]) == (4, 2, 20, 10.0, 20.0)
    assert (row["max_delay"], row["sum_delay"]) == (3.0, 4.0)
    assert store.device_days("2026-03-02", "2026-03-09", "MN1").num_rows == 0


def test_bad_frames_are_kept_with_their_error_newest_first(store: Store) -> None:
    with store.ledger.batch() as batch:
        batch.add_bad_frames([BadFrame(i, float(i), "10.0.0.7:1", f"MN{i}", "crc", 99) for i in range(5)])
    assert store.bad_frames(limit=2)["mn"].to_pylist() == ["MN4", "MN3"]
    assert store.bad_frames(0, 10, "MN1")["error"].to_pylist() == ["crc"]


def test_a_gap_shrinks_when_late_data_arrive_and_keeps_when_it_was_found(store: Store) -> None:
    span = (2, MARCH, MARCH + 24 * HOUR)
    with store.ledger.batch() as batch:
        batch.put_gaps(*span, {1: [Gap(MARCH, MARCH + 5 * HOUR, "no_connection")]}, 100.0)
    with store.ledger.batch() as batch:
        batch.put_gaps(*span, {1: [Gap(MARCH, MARCH + 2 * HOUR, "no_connection")]}, 200.0)
    (row,) = store.gaps([1], 2, MARCH + HOUR, MARCH + 9 * HOUR).to_pylist()
    assert (row["ts_to"], row["cause"], row["found_at"]) == (MARCH + 2 * HOUR, "no_connection", 100.0)


def test_a_note_is_remembered_with_its_batch_or_not_at_all(store: Store) -> None:
    with store.ledger.batch() as batch:
        batch.note("to judge", [[1, MARCH]])
    with pytest.raises(TypeError), store.ledger.batch() as batch:
        batch.note("to judge", []), batch.note("not JSON", object())
    assert store.note("to judge") == store.ledger.note("to judge") == [[1, MARCH]]
    assert store.note("nothing") is None


def test_a_thread_that_reads_one_ledger_after_another_keeps_few_connections(tmp_path: Path) -> None:
    urls = [new_database() for _ in range(MOST_LEDGERS + 3)]
    for number, url in enumerate(urls):
        with Store(tmp_path / str(number), write=True, database=url) as store:
            add(store, reading(number + 1, MARCH, number))
    for _ in range(2):  # one that was closed is opened again, and tells of its own ledger
        for number, url in enumerate(urls):
            assert Store(tmp_path / str(number), database=url).latest()["value"].to_pylist() == [float(number)]
    with psycopg.connect(urls[0]) as link:
        names = [conninfo_to_dict(url)["dbname"] for url in urls]
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid()"
        assert link.execute(sql, (names,)).fetchone() == (MOST_LEDGERS,)
