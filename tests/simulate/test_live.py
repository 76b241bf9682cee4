"""The live devices talk to the real gateway over TCP: answers awaited, a restart goes on, an exceedance to order."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from ceguan.intake.hj212.frame import decode
from ceguan.intake.hj212.readings import rows
from ceguan.simulate import faults, history, live, stations
from ceguan.simulate.cli import add_parser
from ceguan.store import RecordKind
from ceguan.words import Kind
from tests.intake.gateway import Process

HOUR = 3600
pytestmark = pytest.mark.service


@pytest.fixture
def gateway(data):
    process = Process(data)
    yield process
    with suppress(ProcessLookupError):
        process.kill()


def play(data, port: int, seconds: float) -> live.Live:
    """Let the devices live for some seconds."""
    known = stations.load()

    async def main() -> live.Live:
        playing, stop = live.Live(data, known, "127.0.0.1", port), asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await playing.run(stop)
        return playing

    return asyncio.run(main())


def history_until(data, ago: float) -> None:
    at = time.time() - ago
    history.remember(data, {"seed": 7, "script_end": at // HOUR * HOUR, "until": at})


def frames(gateway: Process):
    return [decode(record.payload) for record in gateway.records() if record.kind == RecordKind.FRAME]


def test_the_devices_catch_up_over_tcp_and_every_frame_is_answered(city, data, gateway):
    history_until(data, 2 * HOUR)
    playing = play(data, gateway.port, 4)
    came = frames(gateway)
    outlets = {station.mn for station in stations.load() if station.outlet}
    assert {frame.mn for frame in came} >= {faults.unknown().mn, "MNAIR"} | outlets - {"MNWATER"}
    assert {"2051", "2061"} <= {frame.cn for frame in came}
    assert sum(link.answered for _, link in playing.devices) == len(came)
    assert history.state(data)["until"] > time.time() - 60


def test_a_restart_sends_nothing_twice(city, data, gateway):
    history_until(data, 2 * HOUR)
    play(data, gateway.port, 3)
    play(data, gateway.port, 1)
    sent = [
        (frame.mn, frame.qn) for frame in frames(gateway) if frame.cn == "2051"
    ]  # the script's own re-sends differ in QN
    assert len(sent) == len(set(sent)) > 20


def test_what_cannot_be_sent_waits_and_is_remembered(city, data):
    history_until(data, 2 * HOUR)
    play(data, 1, 1)
    assert history.state(data)["until"] < time.time() - HOUR


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
