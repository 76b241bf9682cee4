"""A disk that turns read-only under running processes, as the kernel does when it cannot read or write a block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from ceguan.store import RecordKind, Store, archive
from ceguan.watch import findings
from ceguan.watch.models import Finding, FindingEvent
from tests.disk import Failing, failing
from tests.intake.gateway import Device, free_port
from tests.operate.test_refusing_disk import beat, wait_for
from tests.operate.web import Web

pytestmark = pytest.mark.service


@pytest.fixture
def disk(tmp_path) -> Iterator[Failing]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory, failing(tmp_path, Path(memory) / "disk.img", 64) as one:
        yield one


@pytest.fixture
def data(disk, monkeypatch) -> Path:
    """The data folder on that disk."""
    monkeypatch.setenv("CEGUAN_DATA", str(disk.folder))
    monkeypatch.setenv("CEGUAN_FILL_GAPS", "false")  # nothing is in the archive but what the device sends
    monkeypatch.setitem(settings.CEGUAN.__dict__, "data", str(disk.folder))
    return disk.folder


class Running:
    """Gateway and clockwork; what they say lies on another disk. None outlives its `with`."""

    def __init__(self, data: Path, log: Path) -> None:
        self.port = free_port()
        out = log.open("a")
        self.gateway, self.clockwork = (
            subprocess.Popen([sys.executable, "-m", "ceguan", *arguments], stdout=out, stderr=out)
            for arguments in (["gateway", "--port", str(self.port)], ["clockwork"])
        )
        wait_for(lambda: beat(data).get("pid") == self.clockwork.pid and self._listens())

    def _listens(self) -> bool:
        try:
            Device(self.port).close()
        except ConnectionError:
            return False
        return True

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.gateway, self.clockwork):
            process.kill()
            process.wait()

    def stop(self) -> list[int]:
        processes = self.gateway, self.clockwork
        for process in processes:
            process.terminate()
        return [process.wait(60) for process in processes]


def test_nothing_is_acknowledged_on_a_disk_that_has_failed_and_after_its_repair_all_goes_on(
    city, data, disk, tmp_path_factory
):
    log = tmp_path_factory.mktemp("log") / "said.log"
    findings.raise_finding(city.points["gas_outlet"], "limit-hour:a21026", 2, "超标", "over",
                           {"zh": "超标", "occurrence": "1"}, [], 0, 0)  # fmt: skip
    note = f"/inbox/{Finding.objects.get().pk}/note/"
    connections.close_all()
    disk.sync()  # the fixtures copied a database as no platform makes one
    with Running(data, log) as running, Web(data) as web:
        device = Device(running.port, "MNGAS_OUTLET")
        device.socket.settimeout(60)
        web.sign_in("enforcement")
        assert web.post(note, {"text": "第一条"}).status_code == 302
        os.kill(running.clockwork.pid, signal.SIGSTOP)  # so that it has something to take in when the disk fails
        for _ in range(20):
            device.send(device.frame())
            assert device.answer()
        disk.fail()
        os.kill(running.clockwork.pid, signal.SIGCONT)
        device.socket.settimeout(2)
        device.send(unanswered := device.frame())
        with pytest.raises(TimeoutError):
            device.answer()
        refused = web.post(note, {"text": "第二条"})
        assert refused.status_code == 503
        assert "只读" in refused.text
        assert "没有写入任何改动" in refused.text
        wait_for(lambda: "时钟这一步失败" in log.read_text())
        assert running.stop() == [0, 0]
    said = log.read_text()
    assert "暂停接收，未落盘的帧不应答：归档流 0 写盘失败:磁盘是只读的" in said
    assert "只读" in said.partition("时钟这一步失败")[2].splitlines()[0]
    assert "Traceback" not in said
    disk.repair()

    with Running(data, log) as running, Web(data) as web:
        web.sign_in("enforcement")
        assert web.post(note, {"text": "第二条"}).status_code == 302
        again = Device(running.port, "MNGAS_OUTLET")
        again.socket.settimeout(60)
        again.send(unanswered)
        assert again.answer()
        wait_for(lambda: beat(data).get("caught_up") and beat(data)["totals"]["records"] == 21)
        assert running.stop() == [0, 0]
    kept = [record for record in archive.read(data / "archive") if record.kind == RecordKind.FRAME]
    assert len({record.payload for record in kept}) == len(kept) == 21, "every answered frame, none twice"
    days = Store(data).device_days("2026-01-01", "2999-12-31").to_pylist()
    assert sum(day["frames"] for day in days) == 21
    assert list(FindingEvent.objects.exclude(text="").values_list("text", flat=True)).count("第二条") == 1
    for arguments in (["audit"], ["archive", "verify"]):
        done = subprocess.run([sys.executable, "-m", "ceguan", *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    connections.close_all()
