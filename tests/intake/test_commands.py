"""Queueing commands: rights, reasons, audit, and that a step is taken once."""

from __future__ import annotations

import pytest

from ceguan.intake import commands, keys
from ceguan.intake.hj212.commands import CommandError
from ceguan.intake.models import Command, DeviceKey, Line, State
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Device
from ceguan.registry.rights import Forbidden

NOW = 1_780_000_000.0
HOUR = {"BeginTime": "20260528000000", "EndTime": "20260528020000"}


@pytest.fixture
def device(city):
    return Device.objects.get(mn="MNGAS_OUTLET")


def actions(device):
    return list(AuditEvent.objects.filter(subject=f"device:{device.mn}").values_list("action", flat=True))


def connect(device, gateway="here"):
    Line.objects.update_or_create(
        device=device, defaults={"gateway": gateway, "peer": "1.2.3.4:5", "since": commands.stamp(NOW)}
    )


def test_queueing_is_recorded_with_who_and_why(device, city):
    made = commands.queue(device, "2061", HOUR, city.users["duty"], "补数", NOW)
    event = AuditEvent.objects.get(action="command_queue")
    assert (made.state, event.who, event.reason) == (State.QUEUED, city.users["duty"], "补数")
    assert event.detail["params"] == HOUR
    assert audit.verify() is None


def test_the_platform_itself_may_queue(device):
    made = commands.queue(device, "2061", HOUR, None, "缺失的小时数据", NOW, priority=5)
    assert made.who is None
    assert AuditEvent.objects.get(action="command_queue").who is None


@pytest.mark.parametrize(
    ("name", "cn", "may"),
    [
        ("duty", "1011", True), ("duty", "1062", False), ("duty", "3012", False), ("analyst", "3012", True),
        ("admin", "1062", True), ("leader", "1011", False), ("enterprise", "1011", False),
        ("west_officer", "1011", False),
    ],
)  # fmt: skip
def test_who_may_read_and_who_may_act(device, city, name, cn, may):
    given = {"1062": {"RtdInterval": "60"}, "3012": {"PolId": "a21026"}}.get(cn)
    if may:
        assert commands.queue(device, cn, given, city.users[name], "试", NOW).pk
    else:
        with pytest.raises(Forbidden):
            commands.queue(device, cn, given, city.users[name], "试", NOW)
        assert not Command.objects.exists()


@pytest.mark.parametrize(
    ("cn", "given", "why"), [("1062", {"RtdInterval": "5"}, "试"), ("1011", {}, "  "), ("1011", {}, "长" * 301)]
)
def test_what_cannot_be_sent_leaves_nothing_behind(device, city, cn, given, why):
    with pytest.raises(CommandError):
        commands.queue(device, cn, given, city.users["analyst"], why, NOW)
    assert not Command.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_retired_device_gets_no_command(device, city):
    device.retired_on = "2026-01-01"
    with pytest.raises(CommandError, match="停用"):
        commands.queue(device, "1011", {}, city.users["duty"], "试", NOW)


def test_a_new_password_is_sealed_and_stands_nowhere_in_the_clear(device, city):
    made = commands.queue(device, "1072", {"NewPW": "geheim"}, city.users["analyst"], "更换密码", NOW)
    assert made.params == {}
    assert "geheim" not in made.sealed + str(list(AuditEvent.objects.values()))
    assert commands.values(made) == {"NewPW": "geheim"}
    connect(device)
    assert commands.claim(made, "here", "q1", 0, NOW)
    assert commands.ended(made, State.DONE, "ExeRtn:1", {}, [], NOW)
    device.refresh_from_db()
    assert (device.password, Command.objects.get().sealed) == ("geheim", "")


def test_only_one_process_claims_and_a_device_has_one_exchange(device, city):
    first, second = (commands.queue(device, "1011", {}, city.users["duty"], "试", NOW) for _ in range(2))
    assert list(commands.sendable("here", 10)) == [], "nobody holds its connection"
    connect(device)
    assert list(commands.sendable("here", 10)) == [first, second]
    assert list(commands.sendable("there", 10)) == []
    copy = Command.objects.get(pk=first.pk)
    assert commands.claim(first, "here", "q1", 0, NOW)
    assert not commands.claim(copy, "there", "q2", 0, NOW)
    assert not commands.claim(second, "here", "q3", 0, NOW), "the first is still running"
    assert list(commands.sendable("here", 10)) == []


def test_people_come_before_the_filling_of_gaps(device, city):
    connect(device)
    filling = commands.queue(device, "2061", HOUR, None, "补数", NOW, priority=5)
    asked = commands.queue(device, "1011", {}, city.users["duty"], "对时", NOW)
    assert list(commands.sendable("here", 10)) == [asked, filling]


def test_a_command_is_taken_back_only_before_it_is_sent(device, city):
    duty = city.users["duty"]
    made = commands.queue(device, "1011", {}, duty, "试", NOW)
    commands.cancel(made, duty, "不需要了", NOW)
    assert Command.objects.get().state == State.CANCELLED
    other = commands.queue(device, "1011", {}, duty, "试", NOW)
    connect(device)
    commands.claim(other, "here", "q1", 0, NOW)
    with pytest.raises(CommandError, match="已领取"):
        commands.cancel(other, duty, "晚了", NOW)
    with pytest.raises(Forbidden):
        commands.cancel(other, city.users["enterprise"], "不许", NOW)


def test_a_lost_exchange_is_repeated_if_it_reads_and_unknown_if_it_acts(device, city):
    connect(device)
    for cn, given, state in (
        ("1011", {}, State.QUEUED), ("1062", {"RtdInterval": "60"}, State.UNKNOWN),
        ("3012", {"PolId": "a21026"}, State.UNKNOWN),
    ):  # fmt: skip
        Command.objects.update(state=State.DONE)
        made = commands.queue(device, cn, given, city.users["analyst"], "试", NOW)
        assert commands.claim(made, "here", f"q{cn}", 0, NOW)
        commands.interrupted(made, "gateway", [], NOW)
        assert Command.objects.get(pk=made.pk).state == state, cn
    assert Command.objects.first().result.zh == "网关中断，结果未知"


def test_a_result_that_comes_after_all_ends_what_was_unknown_and_only_that(device, city):
    connect(device)
    made = commands.queue(device, "3012", {"PolId": "a21026"}, city.users["analyst"], "试", NOW)
    commands.claim(made, "here", "q1", 0, NOW)
    commands.interrupted(made, "lost", [], NOW)
    assert commands.late(device.mn, "q1", "1", "0-0-64", NOW + 5)
    assert not commands.late(device.mn, "q1", "2", "0-0-99", NOW + 6), "it has ended"
    assert Command.objects.get().state == State.DONE
    assert actions(device) == ["command_queue", "command_end", "command_end"]


def test_what_nobody_answers_for_any_more_is_taken_over(device, city):
    connect(device)
    made = commands.queue(device, "1011", {}, city.users["duty"], "试", NOW)
    commands.claim(made, "elsewhere", "q1", 100.0, NOW)
    assert commands.abandon(99.0, NOW, lambda _: False) == []
    assert Command.objects.get().state == State.CLAIMED
    commands.abandon(101.0, NOW, lambda _: False)
    assert Command.objects.get().state == State.QUEUED
    commands.ended(made, State.DONE, "ExeRtn:1", {}, [], NOW)
    assert Command.objects.get().state == State.QUEUED, "who lost it can no longer end it"
    commands.claim(Command.objects.get(), "elsewhere", "q2", 1e12, NOW)
    assert commands.abandon(101.0, NOW, lambda _: True) == ["here"]
    assert Command.objects.get().state == State.QUEUED, "its gateway is dead, whatever the lease says"


def test_what_nobody_could_send_expires(device, city):
    commands.queue(device, "3012", {"PolId": "a21026"}, city.users["analyst"], "试", NOW)
    assert commands.expire(NOW + 299) == 0
    assert commands.expire(NOW + 301) == 1
    assert Command.objects.get().state == State.EXPIRED


def test_time_out_and_re_sends_are_what_the_device_was_last_set_to(device, city):
    assert commands.timing(device, "TD-LTE") == (10, 3)
    connect(device)
    made = commands.queue(device, "1000", {"OverTime": "2", "ReCount": "1"}, city.users["analyst"], "试", NOW)
    assert commands.timing(device, "TD-LTE") == (10, 3)
    commands.claim(made, "here", "q1", 0, NOW)
    commands.ended(made, State.DONE, "ExeRtn:1", {}, [], NOW)
    assert commands.timing(device, "TD-LTE") == (2, 1)


def test_first_contact_goes_in_the_order_of_the_standard(device, city):
    given = {"1000": {"OverTime": "5", "ReCount": "3"}, "1062": {"RtdInterval": "60"}, "1064": {"MinInterval": "10"}}
    made = commands.first_contact(device, given, city.users["analyst"], "首次联机", NOW)
    assert [one.cn for one in made] == ["1012", "1000", "1062", "1064", "2011", "2021"]
    with pytest.raises(CommandError):
        commands.first_contact(device, given | {"1064": {"MinInterval": "7"}}, city.users["analyst"], "再次", NOW)
    assert Command.objects.count() == 6, "all or none"


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def device_2025(device):
    device.edition = "2025"
    device.save()
    return device


def test_a_key_is_encrypted_at_rest_and_looked_up_by_mn(device_2025, city):
    keys.enter(device_2025, "30" * 16, city.users["analyst"], "初始密钥", NOW)
    assert keys.ring.lookup(device_2025.mn) == [b"0" * 16]
    row = DeviceKey.objects.get()
    assert "30" * 16 not in row.sealed + str(list(AuditEvent.objects.values()))
    assert keys.ring.lookup("MN-OTHER") == []


@pytest.mark.parametrize("text", ["", "0" * 15, "0" * 17, "zz" * 16, "密" * 16])
def test_what_is_no_key_is_refused_and_not_repeated(device_2025, city, text):
    with pytest.raises(keys.KeyFormError) as error:
        keys.enter(device_2025, text, city.users["analyst"], "初始密钥", NOW)
    assert not text or text not in str(error.value)
    assert not DeviceKey.objects.exists()


def test_only_those_who_control_devices_enter_keys(device_2025, city):
    for name in ("duty", "leader", "enterprise", "west_officer"):
        with pytest.raises(Forbidden):
            keys.enter(device_2025, "0" * 16, city.users[name], "初始密钥", NOW)


def test_a_key_of_another_installation_does_not_open(device_2025, city, settings_secret):
    sealed = keys.seal("0" * 16)
    settings_secret("another secret")
    with pytest.raises(keys.KeyFormError, match=r"secret\.key"):
        keys.unseal(sealed)


def test_keys_that_do_not_open_leave_those_that_do(device_2025, city, settings_secret):
    keys.enter(device_2025, "0" * 16, city.users["analyst"], "初始密钥", NOW)
    settings_secret("another secret")
    with pytest.raises(CommandError, match=r"secret\.key"):
        commands.queue(device_2025, "1014", {}, None, "换钥", NOW)
    keys.enter(device_2025, "1" * 16, city.users["analyst"], "重新录入", NOW + 1)
    keys.ring.refresh()
    assert keys.ring.cached(device_2025.mn) == [b"1" * 16]
    assert commands.queue(device_2025, "1014", {}, None, "换钥", NOW + 2).key


@pytest.fixture
def settings_secret(monkeypatch):
    from django.conf import settings

    def change(secret):
        monkeypatch.setattr(settings, "SECRET_KEY", secret)
        keys._opened.cache_clear()

    yield change
    keys._opened.cache_clear()


def test_a_key_is_renewed_after_90_days_and_counts_once_the_device_confirms(device_2025, city):
    keys.enter(device_2025, "0" * 16, city.users["analyst"], "初始密钥", NOW)
    day = 86400.0
    assert keys.due(NOW + 89 * day) == []
    later = NOW + 90 * day
    assert keys.due(later) == [device_2025]
    made = commands.queue(device_2025, "1014", {}, None, "密钥满 90 天", later)
    assert keys.due(later) == [], "it is on its way"
    new = commands.values(made)["NewSK"]
    assert keys.current(device_2025) == b"0" * 16
    connect(device_2025)
    commands.claim(made, "here", "q1", 0, later)
    commands.ended(made, State.DONE, "ExeRtn:1", {}, [], later)
    assert keys.current(device_2025) == new.encode()
    keys.ring.refresh()
    assert keys.ring.cached(device_2025.mn) == [new.encode(), b"0" * 16], "old frames are still read"
    assert new not in str(list(AuditEvent.objects.values())) + str(list(Command.objects.values()))


def test_a_device_without_a_key_cannot_be_sent_one(device_2025, city):
    with pytest.raises(CommandError, match="初始密钥"):
        commands.queue(device_2025, "1014", {}, city.users["analyst"], "换钥", NOW)
    assert not DeviceKey.objects.exists()
