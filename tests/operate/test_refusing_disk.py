"""A disk that is full or read-only: one clear line or page with the cause, nothing half-done, and it goes on after."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError, connections

from ceguan.intake.forward import targets
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent
from ceguan.store import Store
from ceguan.store.refusals import refusal
from ceguan.watch import findings
from ceguan.watch.models import Finding, FindingEvent
from tests.disk import PAGE, Disk, mounted
from tests.intake.forward.platform import BASE, Platform, Spool
from tests.intake.gateway import Device, free_port
from tests.operate.web import Web
from tests.watch.world import HOUR, World, at, series

pytestmark = pytest.mark.service
CEGUAN = [sys.executable, "-m", "ceguan"]
T0 = at("2026-03-10 00:00")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The data folder on a small disk of its own."""
    monkeypatch.setenv("CEGUAN_DATA", str(tmp_path))
    monkeypatch.setitem(settings.CEGUAN.__dict__, "data", str(tmp_path))
    with mounted(tmp_path, 24):
        yield tmp_path


@pytest.fixture
def disk(data):
    return Disk(data)


def start(*arguments: str, **environ: object) -> subprocess.Popen:
    variables = os.environ | {key: str(value) for key, value in environ.items()}
    return subprocess.Popen(
        [*CEGUAN, *arguments], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip


class Kept:
    """A process that is started again when it ends, as `ceguan serve` and systemd do."""

    def __init__(self, verb: str, log: Path) -> None:
        self._verb, self._out = verb, log.open("a")
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen([*CEGUAN, self._verb], stdout=self._out, stderr=self._out)

    def mind(self) -> None:
        if self.process.poll() is not None:
            assert self.process.returncode == 2
            self._start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._out.close()


def wait_for(condition, seconds: float = 90.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def hours(world: World, count: int, first: int = 0) -> None:
    for hour in range(first, first + count):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, {"a21026": 30 + hour % 7})


def test_on_a_read_only_disk_every_command_says_so_in_one_line_and_changes_nothing(city, data, disk):
    world = World(data)
    hours(world, 5)
    world.close()
    (recording := data / "recording.txt").write_bytes(Device.frame(_Loose()))
    assert subprocess.run([*CEGUAN, "setup"]).returncode == 0
    connections.close_all()
    before = content(data)
    disk.read_only(True)
    try:
        commands = (
            ["gateway", "--port", str(free_port())], ["clockwork", "--once"], ["forward", "--once"], ["setup"],
            ["serve"], ["hj212", "import", str(recording), "--yes"],
        )  # fmt: skip
        ports = {"CEGUAN_WEB_PORT": free_port(), "CEGUAN_GATEWAY_PORT": free_port()}
        started = [start(*one, **ports) for one in commands]
        said = [(process.args[3], process.communicate(timeout=300)[0], process.returncode) for process in started]
    finally:
        disk.read_only(False)
    assert content(data) == before
    for name, text, code in said:
        assert code == 2, (name, text)
        assert "只读" in text, (name, text)
        assert "Traceback" not in text, (name, text)


class _Loose:
    """Numbers for frames without a connection."""

    mn, number = "MNGAS_OUTLET", 0


def test_the_clockwork_on_a_full_disk_names_the_cause_and_goes_on_by_itself_when_there_is_room(city, data, disk):
    world = World(data)
    hours(world, 300)
    disk.fill(leave=10 * PAGE)
    log = data.parent / f"{data.name}.log"
    clockwork = Kept("clockwork", log)
    try:
        wait_for(lambda: clockwork.mind() or "磁盘已满" in log.read_text())
        assert not beat(data).get("caught_up")
        disk.relieve()
        wait_for(lambda: clockwork.mind() or (beat(data).get("caught_up") and beat(data)["backlog_bytes"] == 0))
        assert beat(data)["failing"] is False
    finally:
        clockwork.stop()
        world.close()
    days = Store(data).device_days("2026-01-01", "2026-12-31").to_pylist()
    assert sum(day["frames"] for day in days) == 300, "each frame counts once"


def test_a_clockwork_whose_disk_fills_while_it_works_takes_in_each_frame_once(city, data, disk):
    world, causes = World(data), set()
    world.step(T0)
    for turn in range(6):
        hours(world, 50, 50 * turn)
        disk.fill(leave=3 * turn * PAGE)
        for _ in range(3):
            try:
                world.step(T0 + 400 * HOUR)
            except (
                sqlite3.OperationalError,
                OperationalError,
            ) as error:  # which step meets it is by chance
                causes.add(refusal(error))
        disk.relieve()
    world.step(T0 + 400 * HOUR)
    world.close()
    assert "磁盘已满" in causes
    assert None not in causes
    days = world.store.device_days("2026-01-01", "2026-12-31").to_pylist()
    assert sum(day["frames"] for day in days) == 300
    number = series(city.points["gas_outlet"], "a21026")
    assert world.store.readings([number], 2, 0, 1 << 40, versions="all").num_rows == 300


def beat(data: Path) -> dict:
    try:
        return json.loads((data / "clockwork.json").read_text())
    except (OSError, ValueError):
        return {}


def test_a_page_on_a_full_disk_says_why_nothing_is_half_done_and_the_same_again_works(city, data, disk):
    point = city.points["gas_outlet"]
    findings.raise_finding(point, "limit-hour:a21026", 2, "超标", "over", {"zh": "超标", "occurrence": "1"}, [], T0, T0)
    finding = Finding.objects.get()
    with Web(data) as web:
        web.sign_in("enforcement")
        before = (FindingEvent.objects.count(), audit_rows())
        disk.fill()
        answer = web.post(f"/inbox/{finding.pk}/note/", {"text": "已电话核实"})
        assert answer.status_code == 503
        assert "磁盘已满" in answer.text
        assert "没有写入任何改动" in answer.text
        disk.relieve()
        assert (FindingEvent.objects.count(), audit_rows()) == before
        assert web.post(f"/inbox/{finding.pk}/note/", {"text": "已电话核实"}).status_code == 302
    assert (FindingEvent.objects.count(), audit_rows()) == (before[0] + 1, before[1] + 1)
    assert audit.verify() is None


def audit_rows() -> int:
    return AuditEvent.objects.count()


def test_forwarding_with_a_full_disk_sends_nothing_it_could_not_remember_and_says_why(city, data, disk):
    (data / "secret.key").write_text(settings.SECRET_KEY)
    platform, spool = Platform(), Spool(data)
    given = {"name": "省厅", "host": "127.0.0.1", "port": platform.port, "password": "654321"}
    targets.save(given, city.users["admin"], "上级要求", BASE)
    sent = spool.put(50)
    disk.fill()
    log = data.parent / f"{data.name}.log"
    with log.open("w") as out:
        forward = subprocess.Popen([*CEGUAN, "forward"], stdout=out, stderr=out)
    try:
        wait_for(lambda: "省厅：转发进度写不了：磁盘已满" in log.read_text())
        assert platform.log == []
        disk.relieve()
        wait_for(lambda: len(set(platform.acknowledged)) == 50)
        sent += spool_more(disk, spool)
        wait_for(lambda: len(set(platform.acknowledged)) == len(sent))
        assert platform.values == sent
        assert forward.poll() is None, "it went on by itself"
    finally:
        forward.terminate()
        forward.wait(30)
        spool.close()
        platform.close()


def spool_more(disk: Disk, spool: Spool) -> list[str]:
    """Frames come while the book cannot be written; after a while there is room again."""
    disk.relieve()
    sent = spool.put(100)
    disk.fill()
    time.sleep(2)
    disk.relieve()
    return sent
