"""Gap filling from end to end: real gateway, real clockwork process that is killed in between, a device over TCP."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager

import pytest

from ceguan.intake.hj212.readings import parse_time, write_time
from ceguan.intake.models import Command, State
from ceguan.registry import audit
from ceguan.registry.models import Device
from ceguan.store import RecordKind
from ceguan.words import Kind
from tests.intake import gateway as real
from tests.intake.talking import MN, Logger, ends
from tests.watch.test_killed import clockwork
from tests.watch.world import HOUR, frame, series

FACTORS = {"a21026": {"Avg": "30", "Flag": "N"}}


class Outlet(Logger):
    """A data logger that has every hour but one in its memory."""

    def __init__(self, port: int, first: int, lost: int) -> None:
        self.first, self.lost = first, lost
        super().__init__(port, MN)

    def hello(self) -> None:
        self.brings("2061", write_time(self.first), factors=FACTORS)
        assert self.answer().cn == "9014"

    def remembers(self, request) -> None:
        """Answers a history request with what lies in the span asked for."""
        self.says(request, "9011", QnRtn="1")
        begin, end = parse_time(request.cp["BeginTime"]), parse_time(request.cp["EndTime"])
        hours = [ts for ts in range(begin // HOUR * HOUR, end + 1, HOUR) if begin <= ts <= end and ts != self.lost]
        for number, ts in enumerate(hours):
            self.brings("2061", write_time(ts), factors=FACTORS, qn=f"{write_time(ts)}{number:03}")
        self.says(request, "9012", ExeRtn="1")


@contextmanager
def running():
    """The clockwork as a process, killed at the end."""
    process = subprocess.Popen(clockwork(), env=os.environ | {"CEGUAN_CLOCKWORK_SECONDS": "0.1"},
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait()


def until(found, seconds: float = 30.0):
    """What `found()` gives once it gives anything."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return result


@pytest.mark.service
def test_missing_hours_are_asked_for_come_in_and_the_one_that_is_lost_says_so(world):
    Device.objects.exclude(mn=MN).update(fill_gaps=False)
    end = int(time.time()) // HOUR * HOUR + HOUR  # the hour that runs is here too, so that none becomes due meanwhile
    missing = (end - 6 * HOUR, end - 5 * HOUR, end - 4 * HOUR)
    for ts in range(end - 14 * HOUR, end, HOUR):
        if ts not in missing:
            recv = min(ts + HOUR + 60, time.time() - 60)
            world.append(RecordKind.FRAME, recv, frame(MN, "hour", ts, {"a21026": 30}), stream=3)
    gateway = real.Process(world.folder)
    try:
        outlet = Outlet(gateway.port, end - 2 * HOUR, lost=missing[1])
        with running():
            command = until(lambda: Command.objects.filter(state=State.SENT).first())
        assert (command.who, command.cn) == (None, "2061"), "and the clockwork was killed meanwhile"
        outlet.remembers(outlet.asked("2061"))
        done = ends(command, State.DONE)
        assert done.answer["uploads"] == 2
        time.sleep(
            2.5
        )  # what a request brings may take a moment into the ledger: a request is settled after two seconds
        with running():
            until(lambda: "filled" in {row.state for row in world.store.fills([MN])})
    finally:
        gateway.kill()
    found = sorted((row.ts_from, row.ts_to, row.state) for row in world.store.fills([MN]))
    first, lost, last = missing
    assert found == [(first, lost, "filled"), (lost, last, "no_data"), (last, last + HOUR, "filled")]
    number = series(world.city.points["gas_outlet"], "a21026")
    gaps = world.store.gaps([number], Kind.HOUR, 0, end).to_pylist()
    assert [(gap["ts_from"], gap["ts_to"]) for gap in gaps] == [(lost, last)]
    assert Command.objects.count() == 1, "killed and started again, it does not ask again"
    assert audit.verify() is None
