"""Several gateway processes on one port: they share the devices out, survive falls, reload and stop without loss."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from ceguan.intake.hj212.frame import decode
from ceguan.store import archive
from tests.intake.gateway import Device, free_port

pytestmark = pytest.mark.service


class Gateways:
    """`ceguan gateway --processes N` on a free port."""

    def __init__(self, data, processes=2, **environ):
        self.data, self.port = data, free_port()
        variables = os.environ | {"CEGUAN_DATA": str(data)} | {key: str(value) for key, value in environ.items()}
        command = [sys.executable, "-m", "ceguan", "gateway", "--port", str(self.port), "--processes", str(processes)]
        self.process = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)
        self.wait(lambda: len(self.serving()) == processes)

    def beat(self):
        try:
            return json.loads((self.data / "gateway.json").read_text())
        except FileNotFoundError:
            assert self.process.poll() is None, self.process.stderr.read()
            return {}

    def serving(self):
        return {one["pid"]: one for one in self.beat().get("processes", ()) if not one["draining"]}

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, f"it did not happen in time: {self.beat()}"
            time.sleep(0.05)
        return found

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0

    def archived(self):
        records = archive.read(self.data / "archive")
        return [(frame.mn, frame.qn) for frame in (decode(record.payload) for record in records) if frame.ok]


@pytest.fixture
def gateways(data):
    one = Gateways(data, CEGUAN_GATEWAY_METRICS_PORT=free_port())
    yield one
    one.process.kill()
    one.process.wait()


class Talker(threading.Thread):
    """A device that sends as fast as it is answered, sends again what was not, and calls again when it is cut off."""

    def __init__(self, port, mn):
        super().__init__(daemon=True)
        self.port, self.mn, self.answered, self.cut, self.quit = port, mn, [], 0, threading.Event()
        self.sent = 0

    def run(self):
        device = frame = None
        while not self.quit.is_set():
            try:
                device = device or self._call(device)
                frame = frame or self._next(device)
                device.send(frame)
                answer = device.answer()
            except OSError:
                answer = None
            if answer is None:
                self.cut, device = self.cut + 1, None
                time.sleep(0.01)
            else:
                self.answered.append((self.mn, answer.qn))
                frame = None

    def _call(self, _):
        device = Device(self.port, self.mn)
        device.number = self.sent
        return device

    def _next(self, device):
        frame = device.frame()
        self.sent = device.number
        return frame


def talk(port, count=6):
    talkers = [Talker(port, f"MN{n:04d}") for n in range(count)]
    for talker in talkers:
        talker.start()
    return talkers


def hush(talkers):
    for talker in talkers:
        talker.quit.set()
    for talker in talkers:
        talker.join(20)
    return [one for talker in talkers for one in talker.answered]


def test_two_processes_share_one_port_and_write_a_stream_each(gateways):
    devices = [Device(gateways.port, f"MN{n:04d}") for n in range(24)]
    for device in devices:
        device.send(device.frame())
        assert device.answer().cn == "9014"
    assert len(gateways.archived()) == 24
    gateways.wait(lambda: gateways.beat()["frames"] == 24)
    assert all(one["frames"] for one in gateways.serving().values()), "the kernel deals connections out"
    assert {one["stream"] for one in gateways.serving().values()} == {0, 1}


def test_reloading_changes_every_process_and_loses_no_frame(gateways):
    before, talkers = set(gateways.serving()), talk(gateways.port)
    gateways.wait(lambda: all(talker.answered for talker in talkers))
    gateways.process.send_signal(signal.SIGHUP)
    gateways.wait(lambda: len(gateways.serving()) == 2 and not before & set(gateways.serving()))
    gateways.wait(lambda: len(gateways.beat()["processes"]) == 2)
    before = [len(talker.answered) for talker in talkers]
    gateways.wait(lambda: all(len(t.answered) > n for t, n in zip(talkers, before, strict=True)))
    answered = hush(talkers)
    gateways.stop()
    kept = gateways.archived()
    assert set(answered) <= set(kept)
    assert len(kept) - len(set(kept)) <= sum(talker.cut for talker in talkers), (
        "only what was sent again is there twice"
    )
    assert gateways.beat()["restarts"] == 0


def test_a_frame_half_received_when_the_gateway_reloads_is_finished_and_answered(gateways):
    device = Device(gateways.port)
    device.send(device.frame())
    assert device.answer().cn == "9014"
    whole = device.frame()
    device.send(whole[:50])
    gateways.wait(lambda: gateways.beat()["bytes"] == len(whole) + 50)
    before = set(gateways.serving())
    gateways.process.send_signal(signal.SIGHUP)
    gateways.wait(lambda: not before & set(gateways.serving()) and len(gateways.serving()) == 2)
    device.send(whole[50:])
    assert device.answer().qn == "20261124080000002"
    assert device.answer() is None, "then it is told to call again"
    assert Device(gateways.port).socket


def test_a_new_process_that_does_not_come_up_leaves_the_old_ones_at_work(gateways):
    (gateways.data / "ceguan.toml").write_text("gateway_prot = 1\n")
    before = set(gateways.serving())
    gateways.process.send_signal(signal.SIGHUP)
    time.sleep(2)
    device = Device(gateways.port)
    device.send(device.frame())
    assert device.answer().cn == "9014"
    assert set(gateways.serving()) == before


def test_a_process_that_falls_is_started_again_and_what_it_had_answered_is_there(gateways):
    talkers, before = talk(gateways.port), set(gateways.serving())
    gateways.wait(lambda: all(talker.answered for talker in talkers))
    victim = next(iter(before))
    os.kill(victim, signal.SIGKILL)
    gateways.wait(lambda: victim not in gateways.serving() and len(gateways.serving()) == 2)
    answered = hush(talkers)
    gateways.stop()
    assert set(answered) <= set(gateways.archived())
    assert gateways.beat()["restarts"] == 1


def test_when_the_parent_falls_its_processes_finish_and_the_next_gateway_goes_on(gateways, data):
    device = Device(gateways.port)
    device.send(device.frame())
    assert device.answer()
    children = set(gateways.serving())
    gateways.process.kill()
    gateways.process.wait()
    assert device.answer() is None
    gateways.wait(lambda: not any(_lives(pid) for pid in children))
    after = Gateways(data, processes=1)
    try:
        device = Device(after.port)
        device.send(device.frame())
        assert device.answer().cn == "9014"
        assert len(after.archived()) == 2
    finally:
        after.stop()


def test_stopping_lets_a_begun_frame_come_to_its_end(gateways):
    device = Device(gateways.port)
    whole = device.frame()
    device.send(whole[:60])
    gateways.wait(lambda: gateways.beat().get("bytes") == 60)
    gateways.process.terminate()
    time.sleep(0.3)
    device.send(whole[60:])
    assert device.answer().cn == "9014"
    assert gateways.process.wait(20) == 0
    assert len(gateways.archived()) == 1
    assert gateways.beat()["running"] is False
    assert gateways.beat()["frames"] == 1


def test_a_second_gateway_on_the_same_data_or_port_is_one_clear_line(gateways, tmp_path_factory):
    def second(data, port):
        command = [sys.executable, "-m", "ceguan", "gateway", "--port", str(port), "--processes", "2"]
        environ = os.environ | {"CEGUAN_DATA": str(data)}
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180)

    same_data, same_port = second(gateways.data, free_port()), second(tmp_path_factory.mktemp("second"), gateways.port)
    assert (same_data.returncode, same_port.returncode) == (2, 2)
    assert str(gateways.data) in same_data.stderr
    assert f":{gateways.port} 不能用" in same_port.stderr
    assert same_data.stderr.count("\n") == same_port.stderr.count("\n") == 1


def test_the_metrics_add_up_over_the_processes_and_over_a_reload(gateways):
    devices = [Device(gateways.port, f"MN{n:04d}") for n in range(8)]
    for device in devices:
        device.send(device.frame())
        assert device.answer()
    devices[0].send(b"##0010junk that is no frame\r\n" + devices[0].frame())
    assert devices[0].answer()
    gateways.wait(lambda: gateways.beat()["frames"] == gateways.beat()["answers"] == 9)
    said = scrape(gateways)
    assert said["ceguan_gateway_frames_total"] == 9
    assert said['ceguan_gateway_frames_by_dialect_total{dialect="hj212"}'] == 9
    assert said['ceguan_gateway_frames_by_edition_total{edition="2017"}'] == 9
    assert said["ceguan_gateway_answers_total"] == 9
    assert said["ceguan_gateway_connections"] == 8
    assert said["ceguan_gateway_processes"] == 2
    assert sum(count for name, count in said.items() if name.startswith("ceguan_gateway_bad_total")) == 1
    assert said['ceguan_gateway_commit_seconds_bucket{le="+Inf"}'] == said["ceguan_gateway_commits_total"] > 0
    before = set(gateways.serving())
    gateways.process.send_signal(signal.SIGHUP)
    gateways.wait(lambda: not before & set(gateways.serving()) and len(gateways.beat()["processes"]) == 2)
    assert scrape(gateways)["ceguan_gateway_frames_total"] == 9, "those that are gone stay counted"


def scrape(gateways):
    port = int(
        next(v for v in _environ(gateways.process.pid) if v.startswith("CEGUAN_GATEWAY_METRICS_PORT")).split("=")[1]
    )
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def _environ(pid):
    with open(f"/proc/{pid}/environ") as file:
        return file.read().split("\0")


def _lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_gateway_machine_has_streams_of_its_own(data):
    gateways = Gateways(data, CEGUAN_GATEWAY_STREAM_BASE=128)
    try:
        assert sorted(one["stream"] for one in gateways.serving().values()) == [128, 129]
    finally:
        gateways.stop()


@pytest.mark.parametrize("base", [-1, 64, 100, 4096])
def test_streams_that_belong_to_others_are_refused(data, base):
    command = [sys.executable, "-m", "ceguan", "gateway", "--port", str(free_port())]
    environ = os.environ | {"CEGUAN_DATA": str(data), "CEGUAN_GATEWAY_STREAM_BASE": str(base)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2
    assert f"归档流 {base}" in done.stderr
    assert "gateway_stream_base" in done.stderr
