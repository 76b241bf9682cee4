"""The audit trail: append-only in the database, and a break is found and named."""

from __future__ import annotations

import pytest
from django.db import Error, connection, transaction

from ceguan.registry import audit
from ceguan.registry.models import AuditEvent
from tests.city import on

NOW = 1_773_300_000.25


def write(city, count: int = 3) -> None:
    with transaction.atomic():
        for number in range(count):
            audit.record(city.users["admin"], "test", f"point:{number}", "试", {"n": number, "中": [1.5, None]}, NOW)


def around_the_guard(sql: str, *values) -> None:
    """What somebody with the database file in hand could do."""
    with connection.cursor() as cursor:
        for verb in ("update", "delete"):
            cursor.execute(f"DROP TRIGGER IF EXISTS registry_auditevent_no_{verb}{on('registry_auditevent')}")
        cursor.execute(sql, values)


def test_a_whole_chain_verifies_and_the_head_can_be_noted(city):
    assert audit.verify() is None
    assert audit.head() == (0, audit.START)
    write(city)
    assert audit.verify() is None
    assert audit.head() == (3, AuditEvent.objects.get(seq=3).hash)


@pytest.mark.parametrize("sql", ["UPDATE registry_auditevent SET reason = '改'", "DELETE FROM registry_auditevent"])
def test_the_database_refuses_to_change_or_delete(city, sql):
    write(city)
    with pytest.raises(Error, match="留痕只能追加"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)
    assert AuditEvent.objects.count() == 3


@pytest.mark.parametrize("column", ["reason", "subject", "action", "detail", "who_id", "at"])
def test_a_changed_event_is_named(city, column):
    write(city)
    values = {"detail": "{}", "who_id": city.users["duty"].pk, "at": "2020-01-01 00:00:00"}
    around_the_guard(f"UPDATE registry_auditevent SET {column} = %s WHERE seq = 2", values.get(column, "改"))
    assert audit.verify().startswith("留痕链断于第 2 条：内容与其哈希不符")


def test_a_removed_event_is_named(city):
    write(city)
    around_the_guard("DELETE FROM registry_auditevent WHERE seq = 2")
    assert audit.verify() == "留痕链断于第 2 条：该条缺失，下一条是第 3 条"


def test_an_event_rewritten_with_its_own_hash_breaks_the_next(city):
    write(city)
    event = AuditEvent.objects.get(seq=2)
    event.reason = "改"
    around_the_guard("UPDATE registry_auditevent SET reason = %s, hash = %s WHERE seq = 2", "改",
                     audit.digest(audit.content(event)))  # fmt: skip
    assert audit.verify() == "留痕链断于第 3 条：它所接的不是第 2 条"


def test_what_is_recorded_stands_or_falls_with_what_it_records(city):
    with pytest.raises(audit.OutsideTransactionError):
        audit.record(None, "test", "x", "", {}, NOW)
    with transaction.atomic():
        audit.record(None, "test", "x", "", {}, NOW)
        transaction.set_rollback(True)
    assert AuditEvent.objects.count() == 0


def test_one_content_has_one_text():
    assert audit.canonical({"b": 1, "a": "中"}) == '{"a":"中","b":1}'
    with pytest.raises(ValueError):
        audit.canonical({"a": float("nan")})
