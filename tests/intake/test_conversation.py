"""The platform asks and the device answers: a real gateway process, real TCP, the device played by the test.

All tests of this file share one gateway; each has a device of its own.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from ceguan import clock
from ceguan.intake import commands, keys
from ceguan.intake.hj212.commands import returns
from ceguan.intake.hj212.frame import encode
from ceguan.intake.hj212.readings import parse_time
from ceguan.intake.models import Command, State
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device
from ceguan.store import RecordKind, Store
from ceguan.words import FrameRef
from tests import city as cities
from tests import conftest
from tests.intake import gateway as real
from tests.intake.talking import Logger, ends, quick

pytestmark = pytest.mark.service

DEVICES = 40


@pytest.fixture(scope="module")
def town(tmp_path_factory, template_database):
    """A city with many devices at its gas outlet, and a gateway that knows them."""
    from django.conf import settings
    from django.db import connections

    folder = tmp_path_factory.mktemp("talking")
    (folder / "secret.key").write_text(settings.SECRET_KEY)  # what is sealed here must open there
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CEGUAN_DATA", str(folder))
        patch.setitem(settings.CEGUAN.__dict__, "data", str(folder))
        conftest.put_database(folder, template_database, patch)
        city = cities.build()
        point, units = city.points["gas_outlet"], {"a21026": "mg/m³"}
        made = [Device.objects.create(mn=f"TALK{n:03}", point=point, units=units) for n in range(DEVICES)]
        process = real.Process(folder)
        yield SimpleNamespace(city=city, folder=folder, gateway=process, devices=made)
        process.kill()
        connections.close_all()


@pytest.fixture
def device(town):
    return town.devices.pop()


@pytest.fixture
def queue(town, device):
    """Queue by the analyst, now."""
    return lambda cn, params=None: commands.queue(device, cn, params, town.city.users["analyst"], "试验", clock.now())


@pytest.fixture
def logger(town, device):
    return Logger(town.gateway.port, device.mn)


def test_a_command_is_sent_answered_and_recorded_from_end_to_end(town, queue, device, logger):
    made = queue("1011", {"PolId": "a21026"})
    request = logger.asked("1011")
    assert (request.mn, request.st, request.pw, request.flag) == (device.mn, "31", "123456", 5)
    assert request.cp == {"PolId": "a21026"}
    logger.says(request, "9011", QnRtn="1")
    logger.brings("1011", cp={"PolId": "a21026", "SystemTime": "20261124080000"}, qn=request.qn)
    logger.says(request, "9012", ExeRtn="1")
    done = ends(made, State.DONE)
    assert (done.qn, done.attempts, done.result_code, done.result.zh) == (request.qn, 1, "ExeRtn:1", "执行成功")
    assert done.answer["items"] == [{"cp": {"PolId": "a21026", "SystemTime": "20261124080000"}}]
    assert [what for what, _ in done.frames] == ["sent", "9011", "1011", "9012"]
    kept = [Store(town.folder).frame(FrameRef.parse(ref)) for _, ref in done.frames]
    assert [record.kind for record in kept] == [RecordKind.SENT] + 3 * [RecordKind.FRAME]
    assert kept[0].payload == request.raw, "what was sent is evidence, byte by byte"
    trail = list(AuditEvent.objects.filter(subject=f"device:{device.mn}").values_list("action", "who__username"))
    assert trail == [
        ("command_queue", "analyst"), ("command_send", None), ("command_accepted", None), ("command_end", None),
    ]  # fmt: skip
    assert audit.verify() is None


@pytest.mark.parametrize(
    "code", [code for kind, e, code in returns() if (kind, e) == ("QnRtn", "2017") and code != "1"]
)
def test_each_refusal_is_told_in_its_words(queue, logger, code):
    made = queue("3012", {"PolId": "a21026"})
    request = logger.asked("3012")
    logger.says(request, "9011", QnRtn=code)
    refused = ends(made, State.REFUSED)
    assert refused.result.zh == returns()["QnRtn", "2017", code].zh


def test_a_silent_device_is_asked_again_as_often_as_it_was_set_to_and_then_given_up(queue, logger):
    quick(queue, logger, over_time=1, re_count=2)
    made = queue("1062", {"RtdInterval": "60"})
    asked = [logger.asked("1062") for _ in range(3)]
    assert len({frame.raw for frame in asked}) == 1, "the same request, the same QN"
    given_up = ends(made, State.TIMEOUT)
    assert (given_up.attempts, given_up.result_code) == (3, "no_answer")
    sends = AuditEvent.objects.filter(action="command_send", detail__command=made.pk)
    assert [event.detail["attempt"] for event in sends] == [1, 2, 3]


def test_a_result_that_does_not_follow_is_a_failure_and_nothing_is_sent_again(queue, logger):
    quick(queue, logger)
    made = queue("3012", {"PolId": "a21026"})
    logger.says(logger.asked("3012"), "9011", QnRtn="1")
    failed = ends(made, State.FAILED)
    assert (failed.attempts, failed.result_code) == (1, "no_result")


def test_history_comes_in_several_uploads_each_acknowledged_and_kept(queue, logger):
    made = queue("2061", {"BeginTime": "20260101000000", "EndTime": "20260101030000"})
    request = logger.asked("2061")
    logger.says(request, "9011", QnRtn="1")
    for hour in range(3):
        logger.brings(
            "2061", f"202601010{hour}0000", factors={"a21026": {"Avg": "1.5", "Flag": "N"}},
            qn=f"2026010100000000{hour}",
        )  # fmt: skip
        assert (logger.answer().qn or "").endswith(str(hour))
    logger.brings("2061", "20260105000000", factors={"a21026": {"Avg": "9", "Flag": "N"}})
    logger.says(request, "9012", ExeRtn="1")
    done = ends(made, State.DONE)
    assert done.answer == {"uploads": 3, "first": "20260101000000", "last": "20260101020000"}
    assert [what for what, _ in done.frames].count("2061") == 3, "a regular upload in between is not part of it"


def test_no_data_is_said(queue, logger):
    made = queue("2061", {"BeginTime": "20260101000000", "EndTime": "20260101030000"})
    logger.says(logger.asked("2061"), "9012", ExeRtn="100")
    assert ends(made, State.FAILED).result.zh == "没有数据"


def test_a_device_that_reconnects_is_asked_again_what_only_reads(town, queue, device, logger):
    made = queue("1011")
    first = logger.asked("1011")
    logger.close()
    again = Logger(town.gateway.port, device.mn)
    second = again.asked("1011")
    assert second.qn != first.qn
    again.says(first, "9012", ExeRtn="2")  # late, of the exchange that was lost
    again.brings("1011", cp={"SystemTime": "20261124080000"}, qn=second.qn)
    again.says(second, "9012", ExeRtn="1")
    assert ends(made, State.DONE).qn == second.qn


def test_what_acts_is_never_repeated_and_a_late_result_is_taken(town, queue, device, logger):
    made = queue("3012", {"PolId": "a21026"})
    request = logger.asked("3012")
    logger.close()
    assert ends(made, State.UNKNOWN).result.zh == "连接中断，结果未知"
    again = Logger(town.gateway.port, device.mn)
    with pytest.raises(TimeoutError):
        again.asked(timeout=1.5)
    again.says(request, "9012", ExeRtn="1")
    assert ends(made, State.DONE).result_code == "ExeRtn:1"


def test_one_exchange_at_a_time_and_people_before_gaps(town, queue, device):
    filling = [
        commands.queue(device, "2061", {"BeginTime": b, "EndTime": b}, None, "补数", clock.now(), priority=5)
        for b in ("20260101000000", "20260101010000")
    ]
    asked = queue("1061")
    logger = Logger(town.gateway.port, device.mn)
    first = logger.asked("1061")
    with pytest.raises(TimeoutError):
        logger.asked(timeout=0.8)
    logger.says(first, "9012", ExeRtn="1")
    ends(asked, State.DONE)
    for made in filling:
        logger.obeys("2061")
        ends(made, State.DONE)


def test_a_device_that_asks_for_the_time_gets_it(device, logger):
    logger.send(encode(st="31", cn="1013", mn=device.mn, pw="123456", flag=5, qn="20260101000000009"))
    request = logger.obeys("1012")
    assert abs(time.time() - parse_time(request.cp["SystemTime"])) < 60
    command = Command.objects.get(device=device)
    assert (command.cn, command.who, command.why) == ("1012", None, "设备请求校时")
    ends(command, State.DONE)


def test_a_new_password_is_used_once_the_device_has_taken_it(queue, device, logger):
    made = queue("1072", {"NewPW": "geheim"})
    request = logger.obeys("1072")
    assert (request.pw, request.cp) == ("123456", {"NewPW": "geheim"})
    ends(made, State.DONE)
    queue("1061")
    assert logger.asked("1061").pw == "geheim"


def test_what_cannot_be_opened_is_a_failure_of_that_command_alone(queue, logger):
    made = queue("1072", {"NewPW": "geheim"})
    Command.objects.filter(pk=made.pk).update(sealed="of another installation")
    failed = ends(made, State.FAILED)
    assert failed.result_code == "unsendable"
    assert "secret.key" in failed.answer["cause"]
    queue("1061")
    logger.obeys("1061")


def test_the_form_of_2005_is_spoken_with_a_device_of_2005(queue, device, logger):
    Device.objects.filter(pk=device.pk).update(edition="2005")
    device.refresh_from_db()
    made = queue("1061")
    request = logger.asked("1061")
    assert request.flag == 1
    for cn, cp in (("9011", {"QnRtn": "1"}), ("9012", {"ExeRtn": "1"})):
        logger.send(encode(st="91", cn=cn, pw="123456", cp={"QN": request.qn} | cp))
    assert ends(made, State.DONE).result_code == "ExeRtn:1"


def test_a_key_is_asked_for_sent_enciphered_and_then_used(town, device):
    old = "0" * 16
    Device.objects.filter(pk=device.pk).update(edition="2025")
    device.refresh_from_db()
    keys.enter(device, old, town.city.users["analyst"], "初始密钥", clock.now())
    logger = Logger(town.gateway.port, device.mn, old.encode())
    logger.send(encode(st="31", cn="1014", mn=device.mn, pw="123456", flag=9, qn="20260101000000009"))
    request = logger.obeys("1014")
    new = request.cp["NewSK"]
    assert b"NewSK" not in request.raw
    ends(Command.objects.get(device=device), State.DONE)
    assert keys.current(device) == new.encode()
    upload = encode(
        st="31", cn="2011", mn=device.mn, pw="123456", flag=9, qn="20260101000000010", datatime="20260101000000",
        factors={"a21026": {"Rtd": "1.2", "Flag": "N"}}, key=new.encode(),
    )  # fmt: skip
    logger.send(upload)
    assert logger.answer().cn == "9014", "the new key holds at once"
