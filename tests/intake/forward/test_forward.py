"""What is promised to a platform above us, over real sockets and through kills of the forwarder."""

from __future__ import annotations

import json
import time

import pytest
from django.conf import settings

from ceguan import cli
from ceguan.intake import adoption, keys, quarantine
from ceguan.intake.forward import targets
from ceguan.intake.forward.link import WINDOW
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import encode
from ceguan.registry.models import Device
from ceguan.store import RecordKind, Store
from ceguan.watch.clockwork import Clockwork
from tests.intake.forward.platform import BASE, Forwarder, Platform, Spool, upload, wait_for

pytestmark = pytest.mark.service


@pytest.fixture
def spool(city, data):
    (data / "secret.key").write_text(settings.SECRET_KEY)  # what this process sealed, that one opens
    made = Spool(data)
    yield made
    made.close()


@pytest.fixture
def platform():
    made = Platform()
    yield made
    made.close()


@pytest.fixture
def forwarder(data):
    started = []

    def start(*arguments, **environ):
        started.append(Forwarder(data, *arguments, **environ))
        return started[-1]

    yield start
    for one in started:
        one.kill()


@pytest.fixture
def once(capsys):
    """`ceguan forward --once` in this process: (exit code, what it said)."""

    def run():
        code = cli.main(["forward", "--once"])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def target(city):
    """A function: register a target that gets everything."""

    def make(platform, name="省厅", **given):
        given = {"name": name, "host": "127.0.0.1", "port": platform.port, "password": "654321", **given}
        return targets.save(given, city.users["admin"], "上级要求", BASE)

    return make


def beat(data, pk):
    try:
        return json.loads((data / "forward.json").read_text())["targets"].get(str(pk), {})
    except (OSError, KeyError, ValueError):
        return {}


def test_everything_goes_out_in_order_with_the_targets_password_and_the_devices_qn(spool, platform, target, once):
    target(platform)
    sent = spool.put(50)
    code, said = once()
    assert (code, platform.values) == (0, sent), said
    assert {frame.pw for frame in platform.log} == {"654321"}
    assert platform.log[0].qn == "20251124080000001"
    assert "累计确认 50 条  已送完" in said


def test_nothing_acknowledged_goes_out_again_in_the_next_run(spool, platform, target, once):
    target(platform)
    spool.put(20)
    assert once()[0] == 0
    more = spool.put(5)
    assert once()[0] == 0
    assert len(platform.log) == 25
    assert platform.values[-5:] == more


def test_while_the_target_is_down_nothing_is_lost(spool, platform, target, forwarder, data):
    one = target(platform)
    port = platform.port
    first = spool.put(10)
    forwarder()
    wait_for(lambda: len(platform.acknowledged) == 10)
    platform.close()
    wait_for(lambda: beat(data, one.pk).get("connected") is False)
    second = spool.put(30)
    wait_for(lambda: beat(data, one.pk).get("backlog", 0) >= 1 and beat(data, one.pk)["errors"])
    back = Platform(port=port)
    wait_for(lambda: len(back.values) == 30)
    assert (platform.values, back.values) == (first, second)
    back.close()


def test_a_target_that_dies_in_the_middle_of_a_window_gets_it_again_in_order(spool, target, forwarder):
    def answer(frame, number):
        if number in (25, 60):
            raise ConnectionResetError
        return answer_to(frame)

    dying = Platform(answer)
    target(dying)
    sent = spool.put(100)
    forwarder()
    wait_for(lambda: len(set(dying.acknowledged)) == 100)
    assert dying.values == sent
    dying.close()


def test_killed_again_and_again_it_loses_nothing_and_repeats_no_more_than_a_window(spool, target, forwarder):
    def answer(frame, number):
        time.sleep(0.005)
        return answer_to(frame)

    slow = Platform(answer)
    target(slow)
    sent = spool.put(400)
    for goal in (60, 160, 260):
        running = forwarder()
        wait_for(lambda goal=goal: len(set(slow.acknowledged)) >= goal)
        running.kill()
    forwarder()
    wait_for(lambda: len(set(slow.acknowledged)) == 400)
    assert slow.values == sent
    assert len(slow.log) - 400 <= 3 * WINDOW, "what was on its way, each time"
    by_qn = {}
    for frame in slow.log:
        assert by_qn.setdefault(frame.qn, frame.raw) == frame.raw, "the same QN is the same frame to the byte"
    slow.close()


def test_a_frame_without_answer_is_sent_again_three_times_then_the_connection_anew(spool, target, forwarder, data):
    mute = Platform(lambda frame, number: answer_to(frame) if number > 5 else None)
    one = target(mute)
    spool.put(1)
    forwarder(CEGUAN_FORWARD_OVERTIME_SECONDS="0.3")
    wait_for(lambda: mute.acknowledged)
    assert [frame.qn for frame in mute.log] == ["20251124080000001"] * 6
    wait_for(lambda: beat(data, one.pk).get("last_ack"))
    assert "4 次没有应答" in beat(data, one.pk)["errors"][0][1]
    mute.close()


def test_a_slow_target_holds_up_nobody_and_ten_are_served(spool, target, forwarder, data):
    mute = Platform(lambda frame, number: None)
    quick = [Platform() for _ in range(9)]
    target(mute, "不应答")
    for number, platform in enumerate(quick):
        target(platform, f"平台{number}")
    sent = spool.put(100)
    forwarder()
    wait_for(lambda: all(len(platform.acknowledged) == 100 for platform in quick))
    assert all(platform.values == sent for platform in quick)
    assert 0 < len({frame.qn for frame in mute.log}) <= WINDOW, "its window is open, no more"
    with pytest.raises(targets.TargetError, match="最多 10 个"):
        target(quick[0], "第十一个")
    for platform in [mute, *quick]:
        platform.close()


def test_a_target_that_never_answers_is_served_without_and_it_is_said(spool, target, once):
    mute = Platform(lambda frame, number: None)
    target(mute, answers=False)
    sent = spool.put(100)
    code, said = once()
    wait_for(lambda: len(mute.log) == 100)
    assert (code, mute.values) == (0, sent), said
    assert {frame.flag for frame in mute.log} == {4}
    mute.close()


def test_answers_without_qn_are_taken_in_order(spool, target, once):
    old = Platform(lambda frame, number: encode(st="91", cn="9014", mn=frame.mn, flag=0, cp={"CN": str(frame.cn)}))
    target(old, edition=2005)
    sent = spool.put(40)
    assert once()[0] == 0
    assert (old.values, len(old.log)) == (sent, 40)
    old.close()


def test_the_same_again_is_not_forwarded_a_changed_value_is(spool, platform, target, once):
    target(platform, edition=2025)
    spool.put(1)
    assert once()[0] == 0
    spool.raw(upload(1, qn="20251124090000001"))
    spool.raw(upload(1, qn="20251124090000002", value="7.7"))
    spool.raw(upload(1, qn="20251124090000003", value="7.7"))
    spool.sync()
    assert once()[0] == 0
    assert [(frame.qn, frame.rf) for frame in platform.log] == [
        ("20251124080000001", None), ("20251124090000002", "1"),
    ]  # fmt: skip


def test_with_a_key_the_data_area_is_enciphered(spool, target, once):
    key = bytes(range(16))
    closed = Platform(key=key)
    target(closed, edition=2025, key=key.hex())
    sent = spool.put(3)
    assert once()[0] == 0
    assert closed.values == sent
    assert all(frame.encrypted and b"a21026" not in frame.raw for frame in closed.log)
    closed.close()


def test_what_a_device_enciphers_is_read_with_its_key(spool, platform, target, once, city):
    key = "0123456789abcdef"
    keys.enter(Device.objects.get(mn="MNAIR"), key, city.users["admin"], "入网", BASE)
    target(platform)
    spool.raw(upload(1, "MNAIR", flag=9, key=key.encode()))
    spool.raw(upload(2, "MNWATER", flag=9, key=key.encode()))  # whose key nobody has entered
    spool.sync()
    assert once()[0] == 0
    assert [frame.factors for frame in platform.log] == [{"a21026": {"Avg": "1", "Flag": "N"}}]


def test_a_frame_whose_key_comes_later_goes_out_then(spool, platform, target, once, city):
    key = "0123456789abcdef"
    target(platform)
    spool.raw(upload(7, "MNAIR", flag=9, key=key.encode()))
    sent = spool.put(1)
    assert once()[0] == 0
    assert platform.values == sent
    keys.enter(Device.objects.get(mn="MNAIR"), key, city.users["admin"], "入网", BASE)
    assert once()[0] == 0
    assert once()[0] == 0
    assert platform.values == [*sent, "7"]


def test_a_running_forwarder_sees_a_key_that_is_entered(spool, platform, target, forwarder, city, data):
    key = "0123456789abcdef"
    one = target(platform)
    forwarder(DJANGO_ALLOW_ASYNC_UNSAFE="")
    spool.raw(upload(1, "MNAIR", flag=9, key=key.encode()))
    spool.sync()
    wait_for(lambda: beat(data, one.pk).get("skipped", {}).get("key") == 1)
    keys.enter(Device.objects.get(mn="MNAIR"), key, city.users["admin"], "入网", BASE)
    wait_for(lambda: platform.acknowledged)
    wait_for(lambda: beat(data, one.pk)["skipped"]["key"] == 0)


def test_a_dialect_that_is_confirmed_later_lets_its_frames_go_out(spool, platform, target, once, city):
    target(platform)
    spool.raw(upload(7, "MNAIR", crc_dialect="modbus"))
    sent = spool.put(1)
    assert once()[0] == 0
    assert platform.values == sent
    adoption.confirm_dialects(Device.objects.get(mn="MNAIR"), ["modbus"], city.users["admin"], "厂家说明", BASE)
    assert once()[0] == 0
    assert platform.values == [*sent, "7"]


def test_frames_let_out_of_quarantine_go_out_also_those_in_parts_and_not_those_dismissed(
    spool, platform, target, once, city, data
):
    target(platform)
    ahead = "20991124080000"
    for part in (1, 2):
        factors = {f"a2100{part}": {"Avg": "7"}}
        spool.raw(upload(1, flag=7, qn=f"2025112409000000{part}", pnum=2, pno=part, factors=factors, datatime=ahead))
    spool.raw(upload(3, "MNAIR", crc_dialect="modbus"))
    spool.raw(upload(4, "MNAIR", crc_dialect="modbus"))
    spool.sync()
    assert once()[0] == 0
    with Clockwork(settings.CEGUAN) as clockwork:
        while not clockwork.step(BASE + 3600).caught_up:
            pass
        held = {row["frame"]: row["cause"] for row in quarantine.visible(Store(data), city.users["analyst"])}
        assert len(held) == 3
        *released, dismissed = sorted(held)
        quarantine.decide(Store(data), released, "release", city.users["analyst"], "核实无误", BASE + 3600)
        quarantine.decide(Store(data), [dismissed], "dismiss", city.users["analyst"], "不是这台设备", BASE + 3601)
    assert platform.log == []
    assert once()[0] == 0
    assert once()[0] == 0
    assert [frame.factors for frame in platform.log] == [
        {"a21001": {"Avg": "7"}, "a21002": {"Avg": "7"}}, {"a21026": {"Avg": "3", "Flag": "N"}},
    ]  # fmt: skip


def test_only_good_frames_of_adopted_devices_that_were_chosen(spool, platform, target, city, once):
    target(platform, devices={"MNAIR": "010000A8900016F000169DC0"}, cns=["2061"])
    spool.raw(upload(1, "MNAIR"))
    spool.raw(upload(2, "MNWATER"))
    spool.raw(upload(3, "STRANGER"))
    spool.raw(upload(4, "MNAIR", cn="2051"))
    spool.raw(upload(5, "MNAIR", datatime="20991124080000"))
    spool.raw(upload(6, "MNAIR", crc_dialect="modbus"))
    spool.raw(upload(7, "MNAIR"), kind=RecordKind.BAD)
    spool.raw(encode(st="22", cn="2061", mn="MNAIR", flag=5, qn="20251124080000008", cp={}))
    spool.sync()
    assert once()[0] == 0
    assert [(frame.mn, frame.qn) for frame in platform.log] == [("010000A8900016F000169DC0", "20251124080000001")]


def test_several_streams_merge_in_the_order_received(spool, platform, target, once):
    target(platform)
    for number in range(1, 61):
        spool.number = number
        spool.raw(upload(number), stream=number * 7 % 3)
    spool.sync()
    code, said = once()
    assert code == 0, said
    assert platform.values == [str(number) for number in range(1, 61)]


def parts(number, count=3, value="1"):
    """A message in parts, each with one factor."""
    return [
        upload(number, flag=7, qn=f"202511240900{number:02d}{part:03d}", pnum=count, pno=part,
               factors={f"a2100{part}": {"Avg": value}})
        for part in range(1, count + 1)
    ]  # fmt: skip


def test_parts_are_joined_and_cut_anew_and_survive_a_stop_in_between(spool, platform, target, once):
    target(platform, factors={"a21002": ["a21002", "1"], "a21003": ["", "10"]}, others=False)
    first, second, third = parts(1)
    spool.raw(third)
    spool.raw(first)
    spool.put(1, factors={"a21002": {"Avg": "5"}})
    assert once()[0] == 0
    assert len(platform.log) == 1, "the message in parts is not whole yet, and holds up nothing"
    spool.raw(second)
    spool.raw(first)  # again
    spool.sync()
    assert once()[0] == 0
    assert len(platform.log) == 2
    assert platform.log[1].factors == {"a21002": {"Avg": "1"}, "a21003": {"Avg": "10"}}
    assert platform.log[1].pnum is None, "it fits into one frame now"


def test_a_frame_without_qn_gets_one_that_stays_the_same_and_is_nobody_elses(spool, target, forwarder):
    mute = Platform(lambda frame, number: answer_to(frame) if number > 12 else None)
    target(mute, edition=2017)
    for number in range(1, 4):
        spool.raw(upload(number, flag=1, qn=None), recv=BASE)
    spool.sync()
    running = forwarder(CEGUAN_FORWARD_OVERTIME_SECONDS="0.2")
    wait_for(lambda: len(mute.log) >= 6)
    running.kill()
    forwarder(CEGUAN_FORWARD_OVERTIME_SECONDS="0.2")
    wait_for(lambda: len(set(mute.acknowledged)) == 3)
    assert len({frame.qn for frame in mute.log}) == 3
    assert {len(str(frame.qn)) for frame in mute.log} == {17}
    mute.close()


def test_requests_of_the_target_are_refused(spool, platform, target, once):
    target(platform)
    platform.say = [encode(qn="20251124080000999", st="31", cn="1011", pw="1", mn="MNAIR", flag=5, cp={})]
    spool.put(1)
    assert once()[0] == 0
    wait_for(lambda: platform.heard)
    assert (platform.heard[0].cn, platform.heard[0].qn, platform.heard[0].cp) == (
        "9011", "20251124080000999", {"QnRtn": "2"},
    )  # fmt: skip


def test_an_unreachable_target_is_said_and_the_exit_code_with_it(spool, platform, target, once):
    platform.close()
    target(platform)
    spool.put(1)
    code, said = once()
    assert code == 1
    assert "未送完" in said
    assert "拒绝连接" in said


def test_a_secret_of_another_installation_is_said(spool, platform, target, forwarder, data):
    target(platform)
    (data / "secret.key").write_text("another")
    code, said = forwarder("--once").wait()
    assert code == 1
    assert "省厅  未送：密钥解不开" in said


def test_a_change_in_the_register_is_followed_while_it_runs(spool, platform, target, forwarder, city, data):
    one = target(platform)
    spool.put(3)
    forwarder()
    wait_for(lambda: len(platform.log) == 3)
    targets.switch(one, False, city.users["admin"], "检修", BASE + 1)
    wait_for(lambda: not beat(data, one.pk))
    spool.put(2)
    targets.save({"edition": 2005}, city.users["admin"], "改版本", BASE + 2, one)
    targets.switch(one, True, city.users["admin"], "检修结束", BASE + 3)
    wait_for(lambda: len(platform.log) == 5)
    assert [frame.flag for frame in platform.log] == [5, 5, 5, 1, 1], "nothing was sent while it was off"


def test_the_status_says_where_each_target_stands_and_a_second_forwarder_is_refused(
    spool, platform, target, forwarder, data
):
    target(platform)
    spool.put(4)
    code, said = forwarder("--status").wait()
    assert code == 1
    assert "没有运行" in said
    forwarder()
    wait_for(
        lambda: '"acknowledged":4' in (data / "forward.json").read_text() if (data / "forward.json").exists() else 0
    )
    code, said = forwarder("--status").wait()
    assert code == 0, said
    assert "省厅  127.0.0.1" in said
    assert "已连接  待处理 0 条  在途 0 帧  已确认 4 条" in said
    code, said = forwarder("--once").wait()
    assert code == 2
    assert "另一个转发进程" in said
