"""An evidence pack from the page of the device: by right, with a reason, on record; the heads on the status page."""

from __future__ import annotations

import hashlib

import pytest

from ceguan.intake.evidence import verify
from ceguan.registry.models import AuditEvent
from ceguan.store import ArchiveWriter
from tests.watch.world import HOUR, World, at

NOON = at("2026-03-10 12:00")
ASKED = {"mn": "MNGAS_OUTLET", "from": "2026-03-10T12:00", "to": "2026-03-11T00:00", "reason": "移送公安"}


@pytest.fixture
def world(city, data):
    world = World(data)
    world.writers[0] = ArchiveWriter(data / "archive", 0, 1024)
    for hour in range(6):
        world.send("MNGAS_OUTLET", "hour", NOON + hour * HOUR, {"a21026": 30})
    world.step(NOON + 8 * HOUR)
    yield world
    world.close()


def test_an_analyst_takes_a_pack_that_holds_and_is_on_record(world, signed_in, tmp_path):
    analyst = signed_in("analyst")
    assert "出具证据包" in analyst.get("/intake/device/?mn=MNGAS_OUTLET").content.decode()
    answer = analyst.post("/intake/evidence/", ASKED)
    assert answer["Content-Type"] == "application/zip"
    path = tmp_path / "pack.zip"
    path.write_bytes(answer.content)
    assert verify.verify(path)[0].problems == []
    event = AuditEvent.objects.get(action="evidence.export")
    assert (event.who.username, event.reason) == ("analyst", "移送公安")
    assert event.detail["sha256"] == hashlib.sha256(answer.content).hexdigest()


@pytest.mark.parametrize("change", [{"reason": " "}, {"from": ""}, {"to": "2026-03-10T11:00"}, {"to": "never"}])
def test_what_is_wrong_with_the_question_stands_on_the_page_and_nothing_is_on_record(world, signed_in, change):
    answer = signed_in("analyst").post("/intake/evidence/", ASKED | change, follow=True)
    assert "notice-error" in answer.content.decode()
    assert not AuditEvent.objects.filter(action="evidence.export").exists()


def test_who_has_no_right_gets_none(world, signed_in):
    assert signed_in("duty").post("/intake/evidence/", ASKED).status_code == 403
    assert signed_in("enterprise").post("/intake/evidence/", ASKED).status_code == 403
    assert signed_in("west_officer").post("/intake/evidence/", ASKED).status_code == 404
    assert not AuditEvent.objects.filter(action="evidence.export").exists()
    page = signed_in("duty").get("/intake/device/?mn=MNGAS_OUTLET").content.decode()
    assert 'name="from"' not in page


def test_the_status_page_shows_where_the_chain_ends(world, signed_in):
    lines = (world.folder / "archive" / "0000" / "segments.jsonl").read_text().splitlines()
    page = signed_in("duty").get("/intake/").content.decode()
    assert lines
    assert lines[-1].split('"sha256": "')[1][:64] in page
