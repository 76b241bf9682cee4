"""The intake pages: status, waiting devices and their adoption, bad frames, the frame itself."""

from __future__ import annotations

import hashlib
import json
import os
import time

import pytest

from ceguan.registry.models import Device
from ceguan.store import RecordKind, Store
from ceguan.words import FrameRef
from tests.watch.world import World, at

NOW = at("2026-11-24 10:30")
MN = "NEWDEVICE01"


@pytest.fixture
def world(city, data):
    """One good frame of an adopted device, one of a stranger, one run of noise."""
    world = World(data)
    world.city = city
    world.known = world.send("MNGAS_OUTLET", "hour", at("2026-11-24 08:00"), {"a21026": 31})
    world.strange = world.send(MN, "hour", at("2026-11-24 08:00"), {"a21026": 32})
    world.noise = world.append(RecordKind.BAD, NOW - 60, b"GET /?PW=geheim;\x00<script> HTTP/1.1\r\n")
    world.step(NOW)
    yield world
    world.close()


def address(packed: int) -> str:
    return f"/frames/{FrameRef.unpack(packed)}/"


def test_the_status_page_lists_devices_processes_and_disk(world, signed_in):
    beat = {"running": True, "pid": os.getpid(), "real": time.time(), "connections": 17, "frames_per_second": 4.5}
    (world.folder / "gateway.json").write_text(json.dumps(beat))
    page = signed_in("duty").get("/intake/").content.decode()
    assert "MNGAS_OUTLET" in page
    assert "运行中" in page
    assert "没有启动过" in page, "the clockwork has written no heartbeat"
    assert str(world.folder / "logs") in page


@pytest.mark.parametrize("where", ["/intake/", "/intake/waiting/", "/intake/bad/"])
def test_the_intake_is_for_those_who_look_after_it(world, signed_in, client, where):
    for name in ("duty", "analyst", "admin"):
        assert signed_in(name).get(where).status_code == 200
    for name in ("enterprise", "enforcement", "leader"):
        assert signed_in(name).get(where).status_code == 403
    assert client.get(where).status_code == 302


def test_a_stranger_is_adopted_in_three_clicks(world, signed_in):
    analyst = signed_in("analyst")
    assert f"/intake/adopt/?mn={MN}" in analyst.get("/intake/waiting/").content.decode()
    assert analyst.get(f"/intake/adopt/?mn={MN}").status_code == 200
    given = {
        "mn": MN, "point": "gas_outlet", "unit:a21026": "mg/m³", "take_held": "on", "reason": "新设备",
        "every_seconds": "3600", "minute_interval": "10",
    }  # fmt: skip
    assert analyst.post("/intake/adopt/", given).status_code == 302
    device = Device.objects.get(mn=MN)
    assert (device.point.code, device.units, device.every_seconds) == ("gas_outlet", {"a21026": "mg/m³"}, 3600)
    assert f"?mn={MN}" not in analyst.get("/intake/waiting/").content.decode()


def test_choosing_a_point_brings_the_units_of_its_series_as_a_fragment(world, signed_in):
    answer = signed_in("analyst").get(f"/intake/adopt/?mn={MN}&point=air", headers={"HX-Request": "true"})
    assert b"<html" not in answer.content
    assert '<option value="μg/m³" selected>' in answer.content.decode()


def test_a_form_that_is_wrong_says_why_and_keeps_what_was_chosen(world, signed_in):
    given = {"mn": MN, "point": "gas_outlet", "unit:a21026": "mg/L", "reason": "新设备", "every_seconds": "60",
             "minute_interval": "1"}  # fmt: skip
    answer = signed_in("analyst").post("/intake/adopt/", given)
    assert answer.status_code == 422
    assert "不能换算" in answer.content.decode()
    assert not Device.objects.filter(mn=MN).exists()


def test_the_duty_officer_sees_who_waits_but_may_not_adopt(world, signed_in):
    duty = signed_in("duty")
    assert "/intake/adopt/" not in duty.get("/intake/waiting/").content.decode()
    assert duty.get(f"/intake/adopt/?mn={MN}").status_code == 403


def test_a_device_is_retired_with_a_reason(world, signed_in):
    analyst = signed_in("analyst")
    assert analyst.post("/intake/device/", {"mn": "MNGAS_OUTLET", "do": "retire", "reason": " "}).status_code == 422
    assert analyst.post("/intake/device/", {"mn": "MNGAS_OUTLET", "do": "retire", "reason": "更换"}).status_code == 302
    assert Device.objects.get(mn="MNGAS_OUTLET").retired_on is not None


def test_bad_frames_are_shown_as_text_and_hex_and_cannot_inject_anything(world, signed_in):
    page = signed_in("duty").get("/intake/bad/").content.decode()
    assert "噪声" in page
    assert "&lt;script&gt;" in page
    assert "geheim" not in page
    assert b"geheim".hex(" ") not in page


def test_a_frame_is_shown_byte_by_byte_with_its_hash_and_without_its_password(world, signed_in):
    page = signed_in("analyst").get(address(world.known)).content.decode()
    record = Store(world.folder).frame(world.known)
    assert hashlib.sha256(record.payload).hexdigest() in page
    assert b"PW=123456" in record.payload
    assert "123456" not in page.replace(hashlib.sha256(record.payload).hexdigest(), "")
    assert b"123456".hex(" ") not in page
    assert "a21026" in page


def test_a_frame_is_seen_by_those_who_see_its_point(world, signed_in):
    assert signed_in("enterprise").get(address(world.known)).status_code == 200
    assert signed_in("west_officer").get(address(world.known)).status_code == 404


def test_frames_of_nobody_are_for_those_who_look_after_the_intake(world, signed_in):
    for packed in (world.strange, world.noise):
        assert signed_in("duty").get(address(packed)).status_code == 200
        assert signed_in("enterprise").get(address(packed)).status_code == 403


@pytest.mark.parametrize("ref", ["x", "0-0-1", "9-9-9", "0-0-99999999", "1-2", "0-0--5", "99999-0-64"])
def test_a_reference_to_nothing_is_not_found(world, signed_in, ref):
    assert signed_in("analyst").get(f"/frames/{ref}/").status_code == 404


def test_an_import_record_shows_a_person_only_their_own_rows(world, signed_in):
    mine = world.city.points["gas_outlet"].series.first().pk
    other = world.city.points["west_outlet"].series.first().pk
    rows = [[mine, 2, at("2026-11-24 06:00"), 11.5, "N", 2], [other, 2, at("2026-11-24 06:00"), 77.25, "N", 3]]
    packed = world.json(RecordKind.IMPORT, NOW, {"file": "a.csv", "by": "op", "rows": rows})
    page = signed_in("enterprise").get(address(packed)).content.decode()
    assert "11.5" in page
    assert "77.25" not in page
    assert "77.25" in signed_in("analyst").get(address(packed)).content.decode()
