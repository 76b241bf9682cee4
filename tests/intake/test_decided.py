"""A decision is on record and in the archive, or neither: whatever fails in between, and exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from django.db import Error, connection, transaction
from django.utils import translation

from ceguan.intake import decided, files, quarantine, sheets
from ceguan.intake.models import Undelivered
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device
from ceguan.store import RecordKind, Store, archive
from ceguan.web import decisions
from ceguan.words import Kind
from tests import disk
from tests.watch.world import HOUR, World, at

T0 = at("2026-03-10 00:00")
NOW = float(T0 + 100 * HOUR)
ROOT = Path(__file__).parents[2]

COMMIT_FAILS = {
    "sqlite": ["""CREATE TRIGGER breaks AFTER INSERT ON registry_auditevent BEGIN
                  UPDATE registry_series SET point_id = 999999; END"""],
    "postgresql": [
        """CREATE FUNCTION breaks() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'not to be committed' USING ERRCODE = 'integrity_constraint_violation'; END $$""",
        """CREATE CONSTRAINT TRIGGER breaks AFTER INSERT ON registry_auditevent DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION breaks()""",
    ],
}  # fmt: skip
"""What lets every statement of the transaction pass and its COMMIT fail: a constraint that is looked at last."""
COMMIT_GOES = {
    "sqlite": ["DROP TRIGGER breaks"],
    "postgresql": ["DROP TRIGGER breaks ON registry_auditevent", "DROP FUNCTION breaks"],
}


def run(statements: dict[str, list[str]]) -> None:
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement)


@pytest.fixture
def world(city, data):
    """An outlet with a reading, and a frame too old to count before somebody has looked."""
    Device.objects.filter(mn="MNGAS_OUTLET").update(units={"a21026": "mg/m³"})
    with closing(World(data)) as world:
        world.city = city
        world.series = city.points["gas_outlet"].series.get(factor="a21026")
        world.send("MNGAS_OUTLET", "hour", T0, {"a21026": 30})
        world.doubtful = world.send("MNGAS_OUTLET", "hour", T0 - 40 * 24 * HOUR, {"a21026": 31}, recv=T0 + HOUR)
        world.step(NOW - 2 * HOUR)
        yield world


def decide(world, now=NOW):
    analyst = world.city.users["analyst"]
    span = (T0, T0 + HOUR)
    return decisions.decide(analyst, world.series, Kind.HOUR, *span, "invalidate", "校准期间", "", None, None, now)


def release(world):
    analyst = world.city.users["analyst"]
    return quarantine.decide(Store(world.folder), [world.doubtful], "release", analyst, "历史数据补录", NOW)


def take(world):
    path = world.folder / "in.csv"
    path.write_text("点位,时间,因子,数值,单位,标识\ngas_outlet,2026-03-11 08:00,a21026,5,mg/m³,N\n")
    store = Store(world.folder)
    rows = files.check(sheets.readings(path), Kind.HOUR, "end", None, store, NOW, 600)
    return files.take(rows, "in.csv", None, "local:tester", store, NOW)


def written(world) -> list[RecordKind]:
    """Kinds of what people put into the archive."""
    return [one.kind for one in archive.read(world.folder / "archive") if one.kind != RecordKind.FRAME]


@pytest.mark.parametrize(("put", "action"), [(decide, "decide"), (release, "quarantine.release"), (take, "import")])
def test_when_the_commit_fails_nothing_is_in_the_archive_and_the_same_again_is_done_once(world, put, action):
    run(COMMIT_FAILS)
    with pytest.raises(Error):
        put(world)
    run(COMMIT_GOES)
    world.step(NOW)
    assert written(world) == []
    assert not AuditEvent.objects.filter(action=action).exists()
    assert not Undelivered.objects.exists()
    put(world)
    assert len(written(world)) == AuditEvent.objects.filter(action=action).count() == 1
    assert audit.verify() is None


FALLS = """
    import os, signal, django
    django.setup()
    from ceguan.intake import decided
    from ceguan.registry.models import Series, User
    from ceguan.web import decisions
    from ceguan.words import Kind
    decided.{where} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    who, series = User.objects.get(username="analyst"), Series.objects.get(pk={series})
    decisions.decide(who, series, Kind.HOUR, {start}, {start} + 3600, "invalidate", "校准期间", "", None, None, {now})
"""


@pytest.mark.service
@pytest.mark.parametrize("where", ["_append", "_forget"])
def test_killed_between_the_commit_and_the_archive_or_just_behind_it_the_decision_counts_once(world, where):
    script = textwrap.dedent(FALLS.format(where=where, series=world.series.pk, start=T0, now=NOW))
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "ceguan.django_settings"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ)
    assert done.returncode == -signal.SIGKILL
    assert AuditEvent.objects.filter(action="decide").count() == Undelivered.objects.count() == 1
    for _ in range(2):
        world.step(NOW + 60)
        world.restart()
    assert not Undelivered.objects.exists()
    [made] = Store(world.folder).decisions().to_pylist()
    assert (made["at"], made["why"]) == (NOW, "校准期间")
    event = AuditEvent.objects.get(action="decide")
    assert orjson.loads(Store(world.folder).frame(made["frame"]).payload)["audit"] == event.seq


def test_two_decisions_that_say_the_same_at_the_same_moment_are_two(world):
    first, second = decide(world), decide(world)
    assert first != second
    world.step(NOW + 60)
    assert Store(world.folder).decisions().num_rows == 2


@pytest.mark.parametrize(
    ("language", "message"),
    [("zh-hans", "已记录在案.*磁盘已满"), ("en", "It is on record; the archive cannot be")],
)
def test_an_archive_that_fills_up_behind_the_commit_says_that_the_decision_waits_and_it_comes_there(
    world, language, message
):
    place = world.folder / "other"
    place.mkdir()

    def fills_up(small: disk.Disk) -> None:
        with decided.writing(place, range(65, 70)) as out:
            event = audit.record(None, "decide", "point:A1", "理由", {}, NOW)
            content = {"audit": event.seq, "evidence": "x" * 50_000}
            out.append(RecordKind.DECISION, NOW, "web:x", orjson.dumps(content))
            small.fill()

    with disk.mounted(place, 2) as small:
        with translation.override(language), pytest.raises(decided.WaitsError, match=message):
            fills_up(small)
        assert Undelivered.objects.count() == 1
        small.relieve()
        for _ in range(2):
            decided.deliver(place)
        [record] = archive.read(place)
        event = AuditEvent.objects.get(action="decide")
        assert (record.recv, orjson.loads(record.payload)["audit"]) == (NOW, event.seq)


def test_an_archive_that_refuses_beforehand_leaves_no_audit_event(world):
    place = world.folder / "other"
    place.mkdir()
    with disk.mounted(place, 2) as small:
        small.read_only(True)
        with pytest.raises(OSError, match="Read-only"), decided.writing(place, range(65, 70)):
            audit.record(None, "decide", "point:A1", "理由", {}, NOW)
    assert not AuditEvent.objects.filter(action="decide").exists()


def test_what_somebody_is_just_writing_is_left_to_them(world, monkeypatch):
    """The clockwork looks while the one who decides stands between COMMIT and archive."""
    append = decided._append

    def looked_at(*given):
        decided.deliver(world.folder / "archive")
        return append(*given)

    monkeypatch.setattr(decided, "_append", looked_at)
    decide(world)
    assert written(world) == [RecordKind.DECISION]


def test_a_decision_within_another_transaction_is_refused(world):
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        decide(world)
    assert written(world) == []
