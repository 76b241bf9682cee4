"""Conversations that are interrupted: gateways killed, stopped, and two of them; each test has its own."""

from __future__ import annotations

import pytest

from ceguan import clock
from ceguan.intake import commands
from ceguan.intake.models import Command, Line, State
from ceguan.registry.models import Device
from tests.intake import gateway as real
from tests.intake.talking import MN, Logger, ends
from tests.intake.test_gateway import wait_for

pytestmark = pytest.mark.service


@pytest.fixture
def gateway(city, data):
    process = real.Process(data)
    yield process
    process.kill()


@pytest.fixture
def queue(city):
    device = Device.objects.get(mn=MN)
    return lambda cn, params=None: commands.queue(device, cn, params, city.users["analyst"], "试验", clock.now())


def test_a_killed_gateway_leaves_reads_queued_again_and_acts_unknown(gateway, queue, city, data):
    second = Device.objects.get(mn="MNWATER_OUTLET")
    one, two = Logger(gateway.port), Logger(gateway.port, "MNWATER_OUTLET")
    acts = queue("3012", {"PolId": "a21026"})
    reads = commands.queue(second, "1011", None, city.users["duty"], "试验", clock.now())
    one.asked("3012")
    two.asked("1011")
    gateway.kill()
    other = real.Process(data)
    try:
        assert ends(acts, State.UNKNOWN).result.zh == "网关中断，结果未知"
        again = Logger(other.port, "MNWATER_OUTLET")
        again.obeys("1011")
        assert ends(reads, State.DONE)
        acting = Logger(other.port)
        with pytest.raises(TimeoutError):
            acting.asked(timeout=1.5)
    finally:
        other.kill()


def test_a_gateway_that_stops_tells_what_it_leaves(gateway, queue):
    logger = Logger(gateway.port)
    made = queue("3012", {"PolId": "a21026"})
    logger.asked("3012")
    gateway.stop()
    assert Command.objects.get(pk=made.pk).state == State.UNKNOWN
    assert not Line.objects.exists()


def test_of_two_processes_the_one_with_the_newest_connection_asks(gateway, queue, data):
    other = real.Process(data, stream=1)
    try:
        old = Logger(gateway.port)
        queue("1011")
        old.obeys("1011")
        before = Line.objects.get().gateway
        new = Logger(other.port)
        wait_for(lambda: Line.objects.get().gateway != before)
        made = queue("1062", {"RtdInterval": "60"})
        new.obeys("1062")
        assert ends(made, State.DONE).gateway == Line.objects.get().gateway
        with pytest.raises(TimeoutError):
            old.asked(timeout=0.7)
    finally:
        other.kill()


def test_a_gateway_without_a_business_database_still_takes_frames(data):
    process = real.Process(data)
    try:
        Logger(process.port)
        process.stop()
        assert not (data / "business.db").exists(), "none is made by looking"
    finally:
        process.kill()
