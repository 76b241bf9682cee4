"""Missing data are asked for, the newest first and never too fast, and every request ends with a cause."""

from __future__ import annotations

import pytest

from ceguan.intake import commands
from ceguan.intake.hj212.readings import parse_time
from ceguan.intake.models import Command, Line, State
from ceguan.registry import audit
from ceguan.registry.models import Device
from ceguan.words import Kind
from tests.watch.world import DAY, HOUR, at, series

T0 = at("2026-03-10 08:00")
GAS = {"a21026": 30, "a21002": 50, "a34013": 5}
MN = "MNGAS_OUTLET"


@pytest.fixture
def outlet(world):
    """Hours up to 1 and 5 have come, 2 to 4 are missing; the device is connected."""
    Device.objects.exclude(mn=MN).update(fill_gaps=False)
    for hour in (*range(-9, 2), 5):
        world.send(MN, "hour", T0 + hour * HOUR, GAS)
    connect()
    world.now = T0 + 7 * HOUR
    world.step(world.now)
    return world


def connect(mn: str = MN) -> None:
    Line.objects.create(device=Device.objects.get(mn=mn), gateway="g1", peer="10.0.0.7:5000", since=commands.stamp(T0))


def fills(world, mn: str = MN) -> list[tuple]:
    """(hours since T0 from, to, state) in order."""
    rows = sorted(world.store.fills([mn]), key=lambda row: row.ts_from)
    return [((row.ts_from - T0) // HOUR, (row.ts_to - T0) // HOUR, row.state) for row in rows]


def later(world, seconds: float) -> None:
    world.now += seconds
    world.step(world.now)


def answer(world, state: State, code: str = "", hours=(), kind: str = "hour") -> Command:
    """The device deals with the command in the queue: sends these hours, then the result."""
    command = Command.objects.get(state=State.QUEUED)
    assert commands.claim(command, "g1", "20260310150000000", world.now + 60, world.now)
    commands.sent(command, 1, "0-0-64", world.now)
    for hour in hours:
        world.send(MN, kind, T0 + hour * HOUR, GAS, recv=world.now + 1)
    commands.ended(command, state, code, {}, [], world.now + 2)
    return command


def test_what_is_missing_is_asked_for_and_filled(outlet):
    assert fills(outlet) == [(2, 5, "asked")]
    [command] = Command.objects.all()
    assert (command.device.mn, command.cn, command.who) == (MN, "2061", None)
    assert command.why == "补缺 2026-03-10 10:00–03-10 13:00"
    assert command.params == {"BeginTime": "20260310100000", "EndTime": "20260310125959"}
    answer(outlet, State.DONE, "ExeRtn:1", hours=(2, 3, 4))
    later(outlet, 30)
    assert fills(outlet) == [(2, 5, "filled")]
    number = series(outlet.city.points["gas_outlet"], "a21026")
    assert outlet.store.gaps([number], Kind.HOUR, 0, T0 + 6 * HOUR).num_rows == 0
    assert audit.verify() is None


def test_what_a_device_has_sent_is_filled_and_the_rest_it_does_not_have(outlet):
    answer(outlet, State.DONE, "ExeRtn:1", hours=(3,))
    later(outlet, 30)
    assert fills(outlet) == [(2, 3, "no_data"), (3, 4, "filled"), (4, 5, "no_data")]
    later(outlet, 2 * HOUR)
    asked = Command.objects.exclude(params__BeginTime__gte="20260310140000")
    assert asked.count() == 1, "what ended is not asked for again"


def test_a_device_without_the_data_says_so_once(outlet):
    answer(outlet, State.FAILED, "ExeRtn:100")
    later(outlet, 30)
    assert fills(outlet) == [(2, 5, "no_data")]


@pytest.mark.parametrize(
    ("state", "code", "end"),
    [
        (State.TIMEOUT, "no_answer", "timeout"),
        (State.REFUSED, "QnRtn:2", "refused"),
        (State.FAILED, "ExeRtn:5", "failed"),
        (State.UNKNOWN, "lost", "offline"),
    ],
)
def test_after_some_tries_each_after_a_longer_pause_a_stretch_ends_with_the_last_cause(outlet, state, code, end):
    pauses = []
    for _ in range(3):
        began = outlet.now
        answer(outlet, state, code)
        while not Command.objects.filter(state=State.QUEUED).exists() and outlet.now - began < 1200:
            later(outlet, 30)
        pauses.append(outlet.now - began)
    assert fills(outlet)[0] == (2, 5, end)
    [ended] = [row for row in outlet.store.fills([MN]) if row.state == end]
    assert (ended.why, ended.tries) == (code, 3)
    assert 120 <= pauses[0] < pauses[1]


def test_a_request_somebody_cancels_is_not_repeated(outlet):
    commands.cancel(Command.objects.get(), outlet.city.users["duty"], "现场正在检修", outlet.now)
    later(outlet, 30)
    assert fills(outlet) == [(2, 5, "cancelled")]


def test_a_device_that_is_not_connected_is_asked_once_it_is_and_never_for_what_is_too_old(outlet):
    answer(outlet, State.DONE, "ExeRtn:1", hours=(2, 3, 4))
    Line.objects.all().delete()
    later(outlet, 3 * HOUR)
    assert fills(outlet)[1:] == [(6, 9, "waiting")]
    later(outlet, 9 * DAY)
    assert fills(outlet)[1] == (6, 9, "offline")
    connect()
    later(outlet, HOUR)
    [newest] = Command.objects.filter(state=State.QUEUED)
    assert parse_time(newest.params["EndTime"]) == (outlet.now - HOUR) // HOUR * HOUR - 1, "the newest data first"
    assert parse_time(newest.params["EndTime"]) - parse_time(newest.params["BeginTime"]) < DAY


def test_what_comes_by_itself_before_anybody_asked_is_said_so(outlet):
    answer(outlet, State.DONE, "ExeRtn:1", hours=(2, 3, 4))
    Line.objects.all().delete()
    later(outlet, 3 * HOUR)
    for hour in (6, 7, 8):
        outlet.send(MN, "hour", T0 + hour * HOUR, GAS, recv=outlet.now)
    later(outlet, 400)
    assert fills(outlet)[1:] == [(6, 9, "resent")]


def test_hours_the_device_could_not_have_are_not_asked_for(outlet):
    """It was heard in them but sent other factors."""
    answer(outlet, State.DONE, "ExeRtn:1", hours=(2, 3, 4))
    for hour in (6, 7, 8):
        outlet.send(MN, "hour", T0 + hour * HOUR, {"a21026": 30})
    later(outlet, 3 * HOUR)
    assert fills(outlet) == [(2, 5, "filled")]


@pytest.mark.parametrize("off", ["device", "setting"])
def test_filling_can_be_switched_off_for_a_device_and_for_all(world, off):
    if off == "device":
        Device.objects.all().update(fill_gaps=False)
    else:
        world.settings.__dict__["fill_gaps"] = False
    for hour in (*range(-9, 1), 5):
        world.send(MN, "hour", T0 + hour * HOUR, GAS)
    connect()
    world.step(T0 + 7 * HOUR)
    assert not Command.objects.exists()


def test_all_devices_together_are_asked_no_faster_than_the_setting(world):
    world.settings.__dict__["fill_per_minute"] = 2
    for kind in ("air", "water", "gas_outlet"):
        factor = {"air": "a34004", "water": "w21003", "gas_outlet": "a21026"}[kind]
        for hour in (*range(-9, 1), 5):
            world.send(f"MN{kind.upper()}", "hour", T0 + hour * HOUR, {factor: 3})
        connect(f"MN{kind.upper()}")
    world.now = T0 + 7 * HOUR
    world.step(world.now)
    assert Command.objects.count() == 2
    later(world, 30)
    assert Command.objects.count() == 2
    later(world, 31)
    assert Command.objects.count() == 3


def minute_gaps(world) -> list[tuple]:
    """(minutes since T0 from, to, cause)."""
    number = series(world.city.points["gas_outlet"], "a21026")
    found = world.store.gaps([number], Kind.MINUTE, 0, 1 << 40).to_pylist()
    return [((gap["ts_from"] - T0) // 60, (gap["ts_to"] - T0) // 60, gap["cause"]) for gap in found]


def test_minutes_are_missed_and_asked_for_too(world):
    for minute in (0, 10, 20, 60, 70):
        world.send(MN, "minute", T0 + minute * 60, GAS)
    connect()
    world.now = T0 + 3 * HOUR
    world.step(world.now)
    assert minute_gaps(world) == [(30, 60, "packet"), (80, 110, "packet"), (110, 120, "platform")]
    [command] = Command.objects.all()
    assert (command.cn, command.params) == ("2051", {"BeginTime": "20260310092000", "EndTime": "20260310095959"})
    later(world, HOUR)
    assert minute_gaps(world) == [(30, 60, "packet"), (80, 110, "packet"), (110, 180, "platform")], "it grew"
    world.send(MN, "minute", T0 + 30 * 60, GAS, recv=world.now)
    later(world, 30)
    assert minute_gaps(world)[0] == (40, 60, "packet")


def test_old_data_we_asked_for_are_welcome(world):
    world.settings.__dict__["old_days"] = 1
    device, now = Device.objects.get(mn=MN), T0 + 5 * DAY
    command = commands.queue(device, "2061", {"BeginTime": "20260310080000", "EndTime": "20260310095959"},
                             world.city.users["duty"], "核对", now - 60)  # fmt: skip
    commands.claim(command, "g1", "20260315080000000", now, now - 60)
    commands.sent(command, 1, "0-0-64", now - 60)
    for hour in (0, 1, 2):
        world.send(MN, "hour", T0 + hour * HOUR, {"a21026": 30 + hour}, recv=now)
    world.step(now + 1)
    assert world.store.quarantined()["ts"].to_pylist() == [T0 + 2 * HOUR]
    assert len(world.store.latest()) == 1


def test_a_clockwork_killed_between_asking_and_noting_it_down_does_not_ask_twice(outlet):
    later(outlet, 30)
    with outlet.clockwork.store.ledger.batch() as batch:  # the ledger as it was before the request was noted down
        [row] = outlet.store.fills([MN])
        batch.replace_fills(
            [(row.mn, row.kind, row.ts_from)],
            [row._replace(state="waiting", tries=0, command=None, changed=outlet.now - 60)],
        )
    outlet.restart()
    later(outlet, 30)
    assert Command.objects.count() == 1
    assert fills(outlet) == [(2, 5, "asked")]
    answer(outlet, State.DONE, "ExeRtn:1", hours=(2, 3, 4))
    outlet.restart()
    later(outlet, 30)
    assert fills(outlet) == [(2, 5, "filled")]
