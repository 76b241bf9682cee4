"""`ceguan ledger verify`: what was bent is named, what holds is said to hold."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from ceguan import cli
from ceguan.store import ArchiveWriter, Decision, Position, RecordKind, Store
from tests.store.conftest import HOUR, MARCH, add, reading


def grown(store: Store) -> Path:
    """A ledger with decisions, two generations of a sealed month, and a position at the end of its archive."""
    made = [Decision(1, 2, MARCH, MARCH + HOUR, "keep", "李审核", at, "复核", 0) for at in (10.0, 20.0)]
    with ArchiveWriter(store.archive, 0) as writer:
        for number in range(3):
            writer.append(RecordKind.FRAME, MARCH + number, "10.0.0.7:1", b"##x")
        refs = [writer.append(RecordKind.DECISION, MARCH, "web:李", orjson.dumps(one._asdict())) for one in made]
    add(store, reading(1, MARCH, 5.0), reading(2, MARCH, 6.0))
    store.seal("2026-03", 1.0)
    add(store, reading(1, MARCH, 5.5))
    with store.ledger.batch() as batch:
        for one, ref in zip(made, refs, strict=True):
            batch.add_decision(one._replace(frame=ref.packed))
        batch.move({0: [record.after for record in store.arrivals()][-1]})
    (path,) = store.seal("2026-03", 2.0)
    return path


def test_a_ledger_that_holds_has_no_breaks(store: Store) -> None:
    grown(store)
    assert list(store.breaks()) == []


def test_a_decision_altered_behind_the_triggers_is_named(store: Store) -> None:
    grown(store)
    if "sqlite" not in type(store.ledger.connection).__module__:
        store.ledger.connection.execute("ALTER TABLE decision DISABLE TRIGGER ALL")
    else:
        store.ledger.connection.execute("DROP TRIGGER decision_no_update")
    store.ledger.connection.execute("UPDATE decision SET why = '另一理由' WHERE id = 2")
    first, *others = store.breaks()
    assert "认定链在第 2 条断裂" in first
    assert all("触发器 decision_no_" in one for one in others)
    assert others


def test_a_sealed_file_altered_or_gone_is_named(store: Store) -> None:
    path = grown(store)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    path.with_name("2026-03.g001.parquet").unlink()
    first, second = store.breaks()
    assert "2026-03.g001.parquet 读不出" in first
    assert "2026-03.g002.parquet 被改动" in second


def test_an_archive_shorter_than_what_was_taken_in_is_named(store: Store) -> None:
    grown(store)
    with store.ledger.batch() as batch:
        batch.move({0: Position(0, 10_000), 5: Position(2, 9_000)})
    first, second = store.breaks()
    assert "归档流 0 的段 0" in first
    assert "归档流 5 的段 2" in second


def test_the_command_says_so_and_ends_with_1_when_something_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CEGUAN_DATA", str(tmp_path))
    with Store(tmp_path, write=True) as store:
        path = grown(store)
    assert cli.main(["ledger", "verify"]) == 0
    assert "认定 2 条成链，封存文件 2 个" in capsys.readouterr().out
    path.unlink()
    assert cli.main(["ledger", "verify"]) == 1
    assert "2026-03.g002.parquet" in capsys.readouterr().out


def test_a_month_with_late_rows_is_due_again_after_a_day_or_at_once_when_they_are_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = MARCH + 100 * 86400.0
    add(store, reading(1, MARCH, 5.0))
    assert store.months_due(now, 40) == ["2026-03"]
    store.seal("2026-03", now)
    assert store.months_due(now + 2 * 86400, 40) == []
    add(store, reading(1, MARCH, 6.0), reading(1, MARCH + HOUR, 6.0))
    assert store.months_due(now + 3600, 40) == []
    assert store.months_due(now + 86400, 40) == ["2026-03"]
    monkeypatch.setattr("ceguan.store.sealed.AGAIN_ROWS", 2)
    assert store.months_due(now + 3600, 40) == ["2026-03"]
