"""The conversation page: sending with a reason, acting only when asked twice, rights through every door, no secrets."""

from __future__ import annotations

import time

import pytest

from ceguan.intake import commands, keys
from ceguan.intake.models import Command, DeviceKey, Line, State
from ceguan.registry.models import AuditEvent, Device

MN = "MNGAS_OUTLET"
PAGE = f"/intake/talk/?mn={MN}"
QUEUE = "/intake/talk/queue/"


@pytest.fixture
def device(city):
    return Device.objects.get(mn=MN)


def form(cn, why="试验", sure=False, **parameters):
    return (
        {"mn": MN, "cn": cn, "why": why}
        | {f"p:{k}": v for k, v in parameters.items()}
        | ({"sure": "1"} if sure else {})
    )


def test_the_form_of_a_command_comes_as_a_fragment_with_its_risk_and_its_clause(signed_in, device):
    answer = signed_in("analyst").get(f"{PAGE}&cn=3020", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in answer
    assert "只读取" in answer
    assert "表C.41" in answer
    assert 'name="p:InfoId"' in answer
    assert '<option value="a21026">' in answer, "the factors of this device"


def test_a_command_is_queued_with_its_reason(signed_in, device, city):
    analyst = signed_in("analyst")
    assert analyst.post(QUEUE, form("1062", RtdInterval="60")).status_code == 302
    made = Command.objects.get()
    assert (made.cn, made.params, made.who, made.why) == ("1062", {"RtdInterval": "60"}, city.users["analyst"], "试验")
    page = analyst.get(PAGE).content.decode()
    assert "RtdInterval=60" in page
    assert "待发" in page


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (form("1062", RtdInterval="5"), "30–3600"),
        (form("1062", why=" ", RtdInterval="60"), "理由"),
        (form("9999"), "没有可下发的命令"),
        (form("3012", sure=True, PolId="w01018"), "该设备有"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_queued(signed_in, device, given, said):
    answer = signed_in("analyst").post(QUEUE, given)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Command.objects.exists()


def test_what_acts_on_an_instrument_is_asked_twice(signed_in, device):
    analyst = signed_in("analyst")
    first = analyst.post(QUEUE, form("3012", PolId="a21026"))
    assert first.status_code == 200
    assert "会使现场仪器动作" in first.content.decode()
    assert '<option value="a21026" selected>' in first.content.decode(), "what was chosen stays"
    assert not Command.objects.exists()
    assert analyst.post(QUEUE, form("3012", sure=True, PolId="a21026")).status_code == 302
    assert Command.objects.get().cn == "3012"


@pytest.mark.parametrize("where", [PAGE, f"/intake/talk/commands/?mn={MN}"])
def test_the_page_is_for_those_who_look_after_the_intake(signed_in, client, device, where):
    for name in ("duty", "analyst", "admin"):
        assert signed_in(name).get(where).status_code == 200
    for name in ("enterprise", "enforcement", "leader", "west_officer"):
        assert signed_in(name).get(where).status_code in (403, 404)
    assert client.get(where).status_code == 302


@pytest.mark.parametrize(
    ("door", "given"),
    [
        (QUEUE, form("1062", RtdInterval="60")),
        (QUEUE, form("3012", sure=True, PolId="a21026")),
        (QUEUE, form("3012", PolId="a21026")),
        ("/intake/talk/first-contact/",
         {"mn": MN, "OverTime": "5", "ReCount": "3", "RtdInterval": "60", "MinInterval": "10", "why": "试"}),
        ("/intake/talk/key/", {"mn": MN, "key": "0" * 16, "why": "试"}),
    ],
)  # fmt: skip
def test_only_those_who_control_devices_change_anything(signed_in, client, device, door, given):
    for name in ("duty", "enterprise", "enforcement", "leader", "west_officer"):
        assert signed_in(name).post(door, given).status_code in (403, 404)
    assert client.post(door, given).status_code == 302
    assert not Command.objects.exists()
    assert not DeviceKey.objects.exists()


def test_the_duty_officer_may_ask_but_sees_that_control_is_not_theirs(signed_in, device):
    duty = signed_in("duty")
    assert duty.post(QUEUE, form("1011")).status_code == 302
    assert "反控设备" in duty.get(f"{PAGE}&cn=3012").content.decode(), "the reason why not"


def test_a_device_of_another_region_is_not_there(signed_in, city, device):
    officer = city.users["west_officer"]
    officer.role = "analyst"
    officer.save()
    west = signed_in("west_officer")
    assert west.get(PAGE).status_code == 404
    assert west.post(QUEUE, form("1011")).status_code == 404
    assert west.get(f"/api/commands?mn={MN}").json()["total"] == 0


def test_the_list_shows_the_course_and_links_to_the_frames(signed_in, device, city):
    now = time.time()
    made = commands.queue(device, "1011", {"PolId": "a21026"}, city.users["duty"], "核对时钟", now)
    Line.objects.create(device=device, gateway="here", peer="10.0.0.7:5000", since=commands.stamp(now))
    assert commands.claim(made, "here", "20260101000000001", 0, now)
    commands.sent(made, 1, "0-0-64", now)
    duty = signed_in("duty")
    fragment = duty.get(f"/intake/talk/commands/?mn={MN}").content.decode()
    assert "已发送" in fragment
    assert "every 2s" in fragment, "it is on its way: the page looks again"
    answer = {"uploads": 1, "items": [{"cp": {"SystemTime": "20261124080000"}}]}
    commands.ended(made, State.DONE, "ExeRtn:1", answer, [["9012", "0-0-164"]], now)
    fragment = duty.get(f"/intake/talk/commands/?mn={MN}").content.decode()
    assert "every 2s" not in fragment
    for text in ("已完成", "执行成功", "SystemTime=20261124080000", "/frames/0-0-64/", "/frames/0-0-164/", "核对时钟"):
        assert text in fragment
    assert "10.0.0.7:5000" in duty.get(PAGE).content.decode()
    assert "Executed" not in fragment
    duty.cookies["django_language"] = "en"
    assert "done" in duty.get(PAGE).content.decode()


def test_a_queued_command_is_taken_back_with_a_reason(signed_in, device, city):
    made = commands.queue(device, "1011", {}, city.users["duty"], "试", time.time())
    duty = signed_in("duty")
    duty.post(f"/intake/talk/{made.pk}/cancel/", {"mn": MN, "why": ""})
    assert Command.objects.get().state == State.QUEUED
    duty.post(f"/intake/talk/{made.pk}/cancel/", {"mn": MN, "why": "不需要了"})
    assert Command.objects.get().state == State.CANCELLED
    assert AuditEvent.objects.last().reason == "不需要了"


def test_first_contact_queues_its_commands_in_order(signed_in, device):
    given = {"mn": MN, "OverTime": "5", "ReCount": "3", "RtdInterval": "60", "MinInterval": "10", "why": "首次联机"}
    assert signed_in("analyst").post("/intake/talk/first-contact/", given).status_code == 302
    assert list(Command.objects.order_by("pk").values_list("cn", flat=True)) == list(commands.FIRST_CONTACT)


def test_a_key_is_entered_once_and_shown_nowhere(signed_in, device):
    Device.objects.update(edition="2025")
    analyst = signed_in("analyst")
    assert "还没有密钥" in analyst.get(PAGE).content.decode()
    analyst.post("/intake/talk/key/", {"mn": MN, "key": "SECRETSECRET1234", "why": "初始密钥"})
    assert keys.current(device) == b"SECRETSECRET1234"
    shown = analyst.get(PAGE).content.decode() + str(analyst.get("/api/commands").json())
    assert "SECRETSECRET1234" not in shown
    assert DeviceKey.objects.get().sealed not in shown
    assert "SECRETSECRET1234" not in str(list(AuditEvent.objects.values()))


def test_a_password_is_neither_listed_nor_given_back(signed_in, device):
    analyst = signed_in("analyst")
    wrong = analyst.post(QUEUE, form("1072", NewPW="geheim!"))
    assert wrong.status_code == 422
    assert "geheim" not in wrong.content.decode()
    analyst.post(QUEUE, form("1072", NewPW="geheim"))
    assert Command.objects.get().cn == "1072"
    assert "geheim" not in analyst.get(PAGE).content.decode() + analyst.get("/api/commands").content.decode()


def test_the_api_lists_commands_for_those_who_look_after_the_intake(signed_in, client, device, city):
    commands.queue(device, "1062", {"RtdInterval": "60"}, city.users["analyst"], "试验", time.time())
    (found,) = signed_in("duty").get(f"/api/commands?mn={MN}&state=queued").json()["items"]
    assert (found["cn"], found["params"], found["who"], found["state"]) == (
        "1062",
        {"RtdInterval": "60"},
        "analyst",
        "queued",
    )
    assert signed_in("duty").get("/api/commands?state=done").json()["total"] == 0
    for name in ("leader", "enterprise", "enforcement"):
        assert signed_in(name).get("/api/commands").status_code == 403
    assert client.get("/api/commands").status_code == 401
