"""The intake pages: status, waiting devices and their adoption, bad frames, the frame itself."""

from __future__ import annotations

import hashlib
import json
import os
import time

import pytest

from ceguan.intake import quarantine
from ceguan.intake.hj212.frame import decode
from ceguan.intake.hj212.readings import rows
from ceguan.registry.models import AuditEvent, Device
from ceguan.registry.rights import Forbidden
from ceguan.store import Fill, Gap, Part, RecordKind, Store, sizes
from ceguan.web.pages.intake import warnings
from ceguan.words import FrameRef, Kind
from tests.watch.test_corpus import corpus
from tests.watch.world import DAY, World, at

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


def test_the_status_page_shows_what_each_part_takes_and_how_long_the_room_lasts(world, signed_in, monkeypatch):
    from django.conf import settings

    page = signed_in("duty").get("/intake/").content.decode()
    for said in ("帧归档", "封存历史", "还没有记过", "记下两天的用量后才能说", "还没有备份过"):
        assert said in page
    for day in (1, 0):
        sizes.note(world.folder, [Part("archive", 10**8 * (1 - day)), Part("ledger", 0, 4711)], NOW - day * DAY)
    beat = {"running": True, "pid": os.getpid(), "real": time.time(), "waiting": 815}
    (world.folder / "clockwork.json").write_text(json.dumps(beat))
    monkeypatch.setitem(settings.CEGUAN.__dict__, "disk_budget_gb", 1.0)
    page = signed_in("duty").get("/intake/").content.decode()
    for said in ("预算还够", "10 天", "100.0 MB", "照近来的增长只够", "4711", "815"):
        assert said in page


def test_the_status_page_shows_every_gateway_process(world, signed_in):
    one = {"pid": 4711, "stream": 0, "started": time.time(), "real": time.time(), "connections": 17, "bad": 2,
           "frames": 305, "frames_per_second": 4.5, "problem": "", "draining": False}  # fmt: skip
    two = one | {"pid": 4712, "stream": 1, "problem": "磁盘已满"}
    beat = {"running": True, "pid": os.getpid(), "real": time.time(), "connections": 34, "frames_per_second": 9,
            "restarts": 3, "processes": [one, two]}  # fmt: skip
    (world.folder / "gateway.json").write_text(json.dumps(beat))
    page = signed_in("duty").get("/intake/").content.decode()
    for said in ("4711", "4712", "305", "磁盘已满", "意外退出后重启 3 次"):
        assert said in page


def test_the_status_page_shows_the_gateway_machines_behind_nats(world, signed_in, monkeypatch):
    from django.conf import settings

    monkeypatch.setitem(settings.CEGUAN.__dict__, "nats_url", "nats://127.0.0.1:1")
    one = {"host": "gate-east", "streams": [128, 129], "real": time.time(), "running": True, "gateway": "running",
           "connections": 5210, "frames_per_second": 87.5, "backlog_bytes": 3 << 20, "acked": time.time()}  # fmt: skip
    two = one | {"host": "gate-west", "streams": [192], "real": time.time() - 300}
    beat = {"running": True, "pid": os.getpid(), "real": time.time(), "waiting": 12, "relays": [one, two]}
    (world.folder / "collect.json").write_text(json.dumps(beat))
    page = signed_in("duty").get("/intake/").content.decode()
    for said in ("待收 12 条", "gate-east", "128、129", "5210", "3.1 MB", "转送中", "gate-west", "秒没有消息"):
        assert said in page


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


@pytest.fixture
def doubtful(world):
    """An adopted device has changed its CRC dialect, and sent an hour of last year."""
    world.doubt = world.send("MNGAS_OUTLET", "hour", at("2026-11-24 09:00"), {"a21026": 33}, crc_dialect="modbus")
    world.old = world.send("MNGAS_OUTLET", "hour", at("2025-11-24 09:00"), {"a21026": 34}, recv=NOW)
    world.step(NOW + 1)
    return world


def test_the_status_page_counts_warnings_and_quarantine_and_names_a_change_of_dialect(doubtful, signed_in, monkeypatch):
    monkeypatch.setattr("ceguan.clock.now", lambda: NOW)
    page = signed_in("duty").get("/intake/").content.decode()
    assert "方言变了" in page
    assert 'href="/intake/quarantine/?mn=MNGAS_OUTLET">2</a>' in page


def test_the_device_page_confirms_a_dialect_and_what_was_held_for_it_counts(doubtful, signed_in):
    analyst = signed_in("analyst")
    page = analyst.get("/intake/device/?mn=MNGAS_OUTLET").content.decode()
    assert "MODBUS CRC" in page
    given = {"mn": "MNGAS_OUTLET", "do": "dialects", "dialect": "modbus", "reason": "厂家固件用 MODBUS 校验"}
    assert analyst.post("/intake/device/", given | {"reason": ""}).status_code == 422
    assert analyst.post("/intake/device/", given | {"dialect": "md5"}).status_code == 422
    assert analyst.post("/intake/device/", given).status_code == 302
    assert Device.objects.get(mn="MNGAS_OUTLET").crc_dialects == ["modbus"]
    assert AuditEvent.objects.get(action="confirm_dialects").detail["before"] == []
    assert doubtful.step(NOW + 2).new == 1
    assert analyst.post("/intake/device/", {**given, "dialect": []}).status_code == 302, "and takes it back"
    assert Device.objects.get(mn="MNGAS_OUTLET").crc_dialects == []


def test_the_quarantine_lists_cause_device_time_and_frame_and_releases_with_a_reason(doubtful, signed_in):
    analyst = signed_in("analyst")
    page = analyst.get("/intake/quarantine/").content.decode()
    assert "CRC 方言没有为这台设备确认：modbus" in page
    assert "数据已过 365 天" in page
    assert address(doubtful.old) in page
    given = {"frame": str(FrameRef.unpack(doubtful.old)), "do": "release", "reason": "历史数据补录，已核对"}
    assert analyst.post("/intake/quarantine/", given | {"reason": ""}).status_code == 422
    assert analyst.post("/intake/quarantine/", given).status_code == 302
    assert AuditEvent.objects.get(action="quarantine.release").subject == "device:MNGAS_OUTLET"
    assert doubtful.step(NOW + 2).new == 1
    assert analyst.post("/intake/quarantine/", given).status_code == 422, "it is no longer in quarantine"
    assert "历史数据补录" in analyst.get("/intake/quarantine/?state=released").content.decode()


def test_all_that_is_listed_is_dismissed_at_once(doubtful, signed_in):
    given = {"all": "on", "cause": "old", "do": "dismiss", "reason": "设备时钟复位所致"}
    assert signed_in("analyst").post("/intake/quarantine/", given).status_code == 302
    assert doubtful.step(NOW + 2).new == 0
    states = Store(doubtful.folder).quarantined(None).to_pylist()
    assert {row["cause"]: row["state"] for row in states} == {"old:365": "dismissed", "dialect:modbus": "held"}
    [ref] = [row for row in doubtful.store.arrivals({}) if row.kind == RecordKind.RELEASE]
    assert "设备时钟复位" in signed_in("analyst").get(address(ref.ref.packed)).content.decode()


def test_only_analysts_release_and_only_in_their_region(doubtful, signed_in, city):
    given = {"all": "on", "do": "release", "reason": "历史数据补录"}
    assert signed_in("duty").get("/intake/quarantine/").status_code == 200
    for name in ("duty", "admin", "enterprise"):
        assert signed_in(name).post("/intake/quarantine/", given).status_code == 403
    analyst = city.users["analyst"]
    analyst.region = city.west
    analyst.save()
    page = signed_in("analyst").get("/intake/quarantine/").content.decode()
    assert "MNGAS_OUTLET" not in page
    assert signed_in("analyst").post("/intake/quarantine/", given).status_code == 422
    with pytest.raises(Forbidden):
        quarantine.decide(doubtful.store, [doubtful.old], "release", analyst, "历史数据补录", NOW)
    assert doubtful.step(NOW + 2).new == 0


def test_adoption_shows_the_dialects_a_device_has_used_and_confirms_those_ticked(world, signed_in):
    world.send(MN, "hour", at("2026-11-24 09:00"), {"a21026": 33}, crc_dialect="modbus")
    world.step(NOW + 1)
    analyst = signed_in("analyst")
    page = analyst.get(f"/intake/adopt/?mn={MN}").content.decode()
    assert 'name="dialect" value="modbus">' in page, "shown, not ticked"
    given = {"mn": MN, "point": "gas_outlet", "unit:a21026": "mg/m³", "take_held": "on", "reason": "新设备",
             "every_seconds": "3600", "minute_interval": "10", "dialect": "modbus"}  # fmt: skip
    assert analyst.post("/intake/adopt/", given).status_code == 302
    assert Device.objects.get(mn=MN).crc_dialects == ["modbus"]
    assert world.step(NOW + 2).readings == 2, "both held hours count"


def test_every_warning_the_decoder_gives_has_its_words(truth):
    found = {warning.partition(":")[0] for raw in corpus(truth) for frame in [decode(raw)] if frame.ok
             for warning in frame.warnings + rows(frame).warnings}  # fmt: skip
    assert found <= warnings().keys()
    assert len(found) > 5
    assert all(word.zh and word.en for word in warnings().values())


@pytest.fixture
def asked(world):
    """Three hours are missing; the device was asked for two of them and has no data, the third waits."""
    for hour in range(1, 8):
        world.send("MNGAS_OUTLET", "hour", at(f"2026-11-23 0{hour}:00"), {"a21026": 31})
    with world.clockwork.store.ledger.batch() as batch:
        start, number = at("2026-11-23 08:00"), world.city.points["gas_outlet"].series.first().pk
        gaps = [Gap(start, start + 3 * 3600, "packet")]
        batch.put_gaps(int(Kind.HOUR), start, start + 3 * 3600, {number: gaps}, NOW)
        done = Fill("MNGAS_OUTLET", int(Kind.HOUR), start, start + 7200, "no_data", 1, 7, NOW, "ExeRtn:100")
        waits = Fill("MNGAS_OUTLET", int(Kind.HOUR), start + 7200, start + 10800, "waiting", 0, None, NOW, "")
        batch.replace_fills([], [done, waits])
    return world


def test_a_gap_says_how_far_filling_it_has_come_on_every_page_that_shows_it(asked, signed_in):
    analyst = signed_in("analyst")
    point = analyst.get("/points/gas_outlet/?factor=a21026&end=2026-11-24&span=3d").content.decode()
    assert "未收到数据包; 补缺：待补 / 设备没有数据（没有数据）" in point
    assert "设备没有数据（没有数据）" in analyst.get("/intake/device/?mn=MNGAS_OUTLET").content.decode()
    assert '#fills">1</a>' in analyst.get("/intake/").content.decode()


def test_filling_is_switched_off_and_on_for_a_device_with_a_reason(asked, signed_in):
    analyst, given = signed_in("analyst"), {"mn": "MNGAS_OUTLET", "do": "fill_off", "reason": "设备存储已坏"}
    assert analyst.post("/intake/device/", given | {"reason": ""}).status_code == 422
    assert analyst.post("/intake/device/", given).status_code == 302
    assert not Device.objects.get(mn="MNGAS_OUTLET").fill_gaps
    assert AuditEvent.objects.get(action="switch_filling").detail == {"mn": "MNGAS_OUTLET", "fill_gaps": False}
    assert "已停用自动补缺" in analyst.get("/intake/device/?mn=MNGAS_OUTLET").content.decode()
    assert analyst.post("/intake/device/", given).status_code == 422, "it is off"
    assert analyst.post("/intake/device/", given | {"do": "fill_on"}).status_code == 302
    assert signed_in("duty").post("/intake/device/", given).status_code == 403
