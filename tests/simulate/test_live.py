"""The live devices talk to the real gateway over TCP: answers awaited, a restart goes on, an exceedance to order."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from ceguan.intake import commands
from ceguan.intake.hj212.frame import Frame, decode, encode
from ceguan.intake.hj212.readings import parse_time, rows, write_time
from ceguan.intake.models import State
from ceguan.registry.models import Device
from ceguan.simulate import faults, history, live, stations
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.cli import add_parser
from ceguan.simulate.sending import Sender
from ceguan.store import RecordKind
from ceguan.words import Kind
from tests.intake.gateway import Process
from tests.simulate.test_history import END, fault, meant, midnight, sent
from tests.simulate.town import stations as town_stations

HOUR = 3600
pytestmark = pytest.mark.service


@pytest.fixture
def gateway(data):
    process = Process(data)
    yield process
    with suppress(ProcessLookupError):
        process.kill()


def play(data, port: int, seconds: float, at_most: float = 0) -> live.Live:
    """Let the devices live for some seconds, or until they have caught up with the present, at most so long."""
    known = stations.load()

    async def main() -> live.Live:
        playing, stop = live.Live(data, known, "127.0.0.1", port), asyncio.Event()

        async def until() -> None:
            deadline = time.monotonic() + at_most
            await asyncio.sleep(seconds)
            while time.monotonic() < deadline and history.state(data)["until"] < time.time() - 60:
                await asyncio.sleep(0.2)
            await asyncio.sleep(seconds if at_most else 0)  # the last answers
            stop.set()

        await asyncio.gather(playing.live(stop), until())
        return playing

    return asyncio.run(main())


def history_until(data, ago: float) -> None:
    at = time.time() - ago
    history.remember(data, {"seed": 7, "script_end": at // HOUR * HOUR, "until": at})


def frames(gateway: Process):
    return [decode(record.payload) for record in gateway.records() if record.kind == RecordKind.FRAME]


def test_the_devices_catch_up_over_tcp_and_every_frame_is_answered(city, data, gateway):
    history_until(data, 2 * HOUR)
    playing = play(data, gateway.port, 3, at_most=60)
    came = frames(gateway)
    outlets = {station.mn for station in stations.load() if station.outlet}
    assert {frame.mn for frame in came} >= {faults.unknown().mn, "MNAIR"} | outlets - {"MNWATER"}
    assert {"2051", "2061"} <= {frame.cn for frame in came}
    assert playing.counts.answered == len(came)
    assert history.state(data)["until"] > time.time() - 60


def test_a_restart_sends_nothing_twice(city, data, gateway):
    history_until(data, 2 * HOUR)
    play(data, gateway.port, 3, at_most=60)
    play(data, gateway.port, 1)
    sent = [
        (frame.mn, frame.qn) for frame in frames(gateway) if frame.cn == "2051"
    ]  # the script's own re-sends differ in QN
    assert len(sent) == len(set(sent)) > 20


def test_what_cannot_be_sent_waits_and_is_remembered(city, data):
    history_until(data, 2 * HOUR)
    play(data, 1, 1)
    assert history.state(data)["until"] < time.time() - HOUR


def test_the_platform_asks_for_history_and_the_device_brings_what_it_has_measured(city, data, gateway):
    history_until(data, 60)
    span = [int(time.time()) // HOUR * HOUR - hours * HOUR for hours in (9, 5)]
    params = dict(zip(("BeginTime", "EndTime"), map(write_time, span), strict=True))
    device = Device.objects.get(mn="MNGAS_OUTLET")
    made = commands.queue(device, "2061", params, city.users["analyst"], "核对", time.time())
    play(data, gateway.port, 4)
    made.refresh_from_db()
    assert (made.state, made.result_code) == (State.DONE, "ExeRtn:1")
    assert [what for what, _ in made.frames] == ["sent", "9011", *["2061"] * 5, "9012"]
    brought = [frame for frame in frames(gateway) if frame.cn == "2061" and frame.datatime <= params["EndTime"]]
    assert [rows(frame).ts for frame in brought] == list(range(span[0], span[1] + 1, HOUR))


# ── one device of the script, without line ────────────────────────────────────────────────────────────────────────


def logger(name: str, now: float = END) -> live.CityLogger:
    """The device that a row of the script means, and nothing else going wrong."""
    script = faults.Script(town_stations(), END, [fault(name)])
    return live.CityLogger(Sender(Behaviour(7), script, meant(name)), script, now)


def asked(device: live.CityLogger, cn: str, now: float = END, **cp: str) -> list[Frame]:
    """What the device says to a request."""
    request = encode(qn="20261124000000001", st="22", cn=cn, pw="123456", mn=device.mn, flag=5, cp=cp)
    device.heard(decode(request), now)
    said = []
    while (out := device.next()) is not None:
        said.append(decode(device.raw(out)))
        device.sent(out)
        if out.qn:
            device.answered(out.qn)
    return said


def hours(device: live.CityLogger, first: float, many: int) -> list[Frame]:
    return asked(device, "2061", BeginTime=write_time(first), EndTime=write_time(first + many * HOUR - 1))


def test_what_a_cut_line_kept_back_is_in_the_device_and_never_came_by_itself():
    device, cut = logger("line-cut"), midnight(-1) + 17 * HOUR
    said = hours(device, cut - HOUR, 6)
    assert [frame.cn for frame in said] == ["9011", *["2061"] * 6, "9012"]
    unharmed = [
        decode(one.payload).factors
        for one in sent(device.station, cut - HOUR, cut + 5.5 * HOUR, kinds=(Kind.HOUR,))
        if rows(decode(one.payload)).ts >= cut - HOUR
    ]
    assert [frame.factors for frame in said[1:-1]] == unharmed
    assert not [
        one
        for one in sent(device.station, cut + HOUR, END, "line-cut")
        if cut <= rows(decode(one.payload)).ts < cut + 5 * HOUR
    ]


@pytest.mark.parametrize(
    ("name", "first"), [("silence-air", midnight(-1) + 4 * HOUR), ("crc-lost", midnight(-3) + 13 * HOUR)]
)
def test_what_a_device_has_not_kept_it_says_it_has_not(name, first):
    said = hours(logger(name), first, 3)
    assert [(frame.cn, frame.cp.get("ExeRtn")) for frame in said] == [("9011", None), ("9012", "100")]


def test_a_station_that_sends_no_minutes_has_none():
    said = asked(logger("silence-air"), "2051", BeginTime=write_time(END - 3 * HOUR), EndTime=write_time(END - HOUR))
    assert said[-1].cp["ExeRtn"] == "100"


def test_a_fast_clock_is_right_once_it_was_set():
    device = logger("clock-outlet")
    (_, told, _) = asked(device, "1011")
    assert parse_time(told.cp["SystemTime"]) - END == pytest.approx(760, abs=2)
    asked(device, "1012", SystemTime=write_time(END))
    device.work_out(END + HOUR, END + 2 * HOUR, (Kind.HOUR,))
    frame = decode(device.raw(device.next()))
    assert rows(frame).ts + HOUR < parse_time(frame.qn[:14]) < rows(frame).ts + HOUR + 120


def test_a_real_time_interval_that_was_set_is_kept_and_real_time_data_stop_when_told():
    device = logger("line-cut")
    asked(device, "1062", RtdInterval="300")
    device.work_out(END, END + HOUR, (Kind.RT,))
    assert device.waiting == 12
    asked(device, "2012")
    device.work_out(END + HOUR, END + 2 * HOUR, (Kind.RT,))
    assert device.waiting == 0


def test_while_the_script_has_it_off_line_a_device_does_not_call(city, data, gateway, monkeypatch):
    history_until(data, 65)
    only = replace(fault("silent-outlet"), factor="", limit="", index=0)
    monkeypatch.setattr(faults, "table", lambda: (only,))
    play(data, gateway.port, 2)
    said = {frame.mn for frame in frames(gateway)}
    assert "MNGAS_OUTLET" not in said
    assert "MNWEST_OUTLET" in said


def test_an_exceedance_to_order_is_the_last_full_hour_over_its_limit(city, data, gateway):
    station = next(one for one in stations.load() if one.code == "gas_outlet")
    text = live.exceed("127.0.0.1", gateway.port, station, time.time(), 1.5)
    found = rows(frames(gateway)[0])
    assert (found.kind, found.ts) == (Kind.HOUR, int(time.time()) // HOUR * HOUR - HOUR)
    assert {item.factor: item.zs for item in found.items}["a21026"] == pytest.approx(75, rel=0.05)
    assert "9014" in text
    assert "123456" not in text


def test_an_order_that_nobody_answers_fails(city, data):
    station = next(one for one in stations.load() if one.code == "gas_outlet")
    with pytest.raises(OSError, match=r".+"):
        live.exceed("127.0.0.1", 1, station, time.time(), 1.5)


def test_an_outlet_without_hourly_limit_cannot_be_ordered_over_it(city, data):
    station = next(one for one in stations.load() if one.code == "west_outlet")
    with pytest.raises(ValueError, match="许可限值"):
        live.exceed("127.0.0.1", 1, station, time.time(), 1.5)


def test_the_command_line_offers_every_part_of_the_demo():
    import argparse

    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    for words in (["city"], ["history", "--days", "3"], ["live"], ["exceed", "--outlet", "X"], ["office"]):
        assert callable(parser.parse_args(["simulate", *words]).run)
