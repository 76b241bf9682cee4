"""The pages of forwarding: who may, what is written and never shown, what is said of each target."""

from __future__ import annotations

import json
import os
import time

import pytest

from ceguan.intake import keys
from ceguan.intake.models import ForwardTarget
from ceguan.registry.models import AuditEvent

FORM = {
    "name": "省厅", "host": "10.1.2.3", "port": "9212", "edition": "2025", "password": "s3cret",
    "key": "00112233445566778899aabbccddeeff",
    "st": "", "answers": "on", "cns": ["2011", "2061"], "devices": "MNAIR 010000A8900016F000169DC0\nMNWATER",
    "factors": "a21026 - 0.001\na21004 a99999", "others": "on", "order": "1", "reason": "省厅要求",
}  # fmt: skip


@pytest.fixture
def made(signed_in):
    assert signed_in("admin").post("/intake/forward/new/", FORM).status_code == 302
    return ForwardTarget.objects.get()


def test_a_target_is_made_with_everything_it_should_get(made):
    assert (made.name, made.host, made.port, made.edition) == ("省厅", "10.1.2.3", 9212, 2025)
    assert made.devices == {"MNAIR": "010000A8900016F000169DC0", "MNWATER": ""}
    assert made.factors == {"a21026": ["", "0.001"], "a21004": ["a99999", "1"]}
    assert made.cns == ["2011", "2061"]
    assert (keys.unseal(made.password), keys.parse(keys.unseal(made.key)).hex()) == (FORM["password"], FORM["key"])


def test_secrets_are_neither_shown_nor_in_the_trail_nor_in_the_clear_in_the_database(made, signed_in):
    client = signed_in("admin")
    pages = [
        client.get("/intake/forward/").content.decode(),
        client.get(f"/intake/forward/{made.pk}/").content.decode(),
    ]
    trail = json.dumps(list(AuditEvent.objects.values("action", "detail", "reason", "subject")))
    for text in (*pages, trail, made.password, made.key):
        assert FORM["password"] not in text
        assert FORM["key"] not in text
    assert "已设置" in pages[1]


def test_empty_secrets_leave_what_is_there_and_each_change_is_in_the_trail(made, signed_in):
    changed = {**FORM, "password": "", "key": "", "host": "10.9.9.9", "reason": "换了地址"}
    assert signed_in("analyst").post(f"/intake/forward/{made.pk}/", changed).status_code == 302
    after = ForwardTarget.objects.get()
    assert (after.host, after.password, after.key) == ("10.9.9.9", made.password, made.key)
    event = AuditEvent.objects.get(action="forward.change")
    assert (event.reason, event.who.username) == ("换了地址", "analyst")
    assert (event.detail["before"], event.detail["after"]) == ({"host": "10.1.2.3"}, {"host": "10.9.9.9"})


def test_on_off_and_delete_want_a_reason(made, signed_in):
    client, address = signed_in("admin"), f"/intake/forward/{made.pk}/act/"
    assert "须写明理由" in client.post(address, {"do": "off", "reason": " "}, follow=True).content.decode()
    assert ForwardTarget.objects.get().active
    client.post(address, {"do": "off", "reason": "检修"})
    assert not ForwardTarget.objects.get().active
    client.post(address, {"do": "delete", "reason": "不再需要"})
    assert not ForwardTarget.objects.exists()
    actions = list(AuditEvent.objects.order_by("seq").values_list("action", flat=True))
    assert actions[-3:] == ["forward.create", "forward.switch", "forward.delete"]


WRONG = [
    ("host", "a b", "不是主机名"), ("port", "0", ""), ("port", "70000", ""), ("edition", "2020", ""),
    ("password", "口令", "口令须为"), ("key", "abc", "密钥应为"), ("st", "A#", "系统编码须为两位"),
    ("devices", "NOBODY", "没有接入 MN 为 NOBODY"), ("devices", "MNAIR a b", "第 1 行有 3 项"),
    ("factors", "a21026 - x", "换算系数须为正数"), ("factors", "a21026 - -1", "换算系数须为正数"),
    ("cns", [], ""), ("cns", ["9014"], ""), ("reason", "", ""), ("name", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "said"), WRONG)
def test_what_is_wrong_is_said_and_nothing_is_made(signed_in, field, value, said):
    answer = signed_in("admin").post("/intake/forward/new/", {**FORM, field: value})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not ForwardTarget.objects.exists()


def test_a_key_without_the_edition_that_uses_one_and_a_second_of_the_same_name_are_refused(made, signed_in):
    client = signed_in("admin")
    assert (
        "只有 2025 版" in client.post("/intake/forward/new/", {**FORM, "name": "x", "edition": "2017"}).content.decode()
    )
    assert "已有名为" in client.post("/intake/forward/new/", FORM).content.decode()


@pytest.mark.parametrize("role", ["duty", "enforcement", "leader", "enterprise", "west_officer"])
def test_who_may_not_cannot_through_any_door(made, signed_in, role):
    client = signed_in(role)
    assert client.get("/intake/forward/").status_code == (200 if role == "duty" else 403)
    assert client.get("/intake/forward/new/").status_code == 403
    assert client.post("/intake/forward/new/", {**FORM, "name": "x"}).status_code == 403
    assert client.post(f"/intake/forward/{made.pk}/", FORM).status_code == 403
    assert client.post(f"/intake/forward/{made.pk}/act/", {"do": "delete", "reason": "x"}).status_code == 403
    assert ForwardTarget.objects.get().active


def test_a_visitor_is_sent_to_sign_in(made, client):
    assert client.get("/intake/forward/").status_code == 302


def test_the_page_says_how_a_target_stands(made, signed_in, data):
    state = {
        "connected": True, "since": 0, "sent": 12, "again": 2, "acknowledged": 4711, "last_ack": 1_764_000_000.0,
        "on_the_way": 3, "oldest": 1_764_000_001.0, "backlog": 815, "caught_up": False, "bad_answers": 0,
        "refused_requests": 0, "skipped": {"again": 9, "edition:2013": 1, "key": 0},
        "errors": [[1_764_000_000.0, "10.1.2.3:9212 超时"]],
    }  # fmt: skip
    beat = {"pid": os.getpid(), "running": True, "real": time.time(), "targets": {str(made.pk): state}, "problems": {}}
    client = signed_in("duty")
    assert "转发进程没有运行" in client.get("/intake/forward/").content.decode()
    (data / "forward.json").write_text(json.dumps(beat))
    said = client.get("/intake/forward/").content.decode()
    for text in ("已连接", "4711", "815", "2025-11-25 00:00:01", "内容相同的重发：9", "10.1.2.3:9212 超时", "加密"):
        assert text in said
    fragment = client.get("/intake/forward/", headers={"HX-Request": "true"}).content.decode()
    assert "4711" in fragment
    assert "<html" not in fragment
    assert "2013 在对方的版本中没有对应的上传：1" in fragment
    assert "没有设备的密钥" not in fragment, "those went out after all"
    client.post("/language/", {"language": "en"})
    assert "2013 has no counterpart in the target" in client.get("/intake/forward/").content.decode()
    beat["problems"] = {str(made.pk): "密钥解不开"}
    (data / "forward.json").write_text(json.dumps(beat))
    assert "密钥解不开" in client.get("/intake/forward/").content.decode()
