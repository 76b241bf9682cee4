"""What a slow, greedy or broken peer can cost the others: each limit is a setting, tried over a real socket."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from ceguan.intake.hj212.frame import decode, encode
from ceguan.store import RecordKind
from tests.intake.gateway import Device, Process

pytestmark = pytest.mark.service


@pytest.fixture
def start(data):
    """Starts a gateway with these settings."""
    running = []

    def started(**settings):
        running.append(Process(data, **{f"CEGUAN_{name.upper()}": value for name, value in settings.items()}))
        return running[-1]

    yield started
    for process in running:
        process.kill()


def wait_for(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def closed(gateway, cause):
    wait_for(lambda: gateway.beat()["closed"].get(cause))
    return gateway.beat()["closed"][cause]


def served(gateway, mn="MN0002"):
    """Another device is answered all the while."""
    device = Device(gateway.port, mn)
    device.send(device.frame())
    return device.answer().cn == "9014"


def test_a_frame_larger_than_the_limit_is_noise_and_the_next_is_taken(start):
    gateway = start(gateway_max_frame=1000)
    device = Device(gateway.port)
    large = encode(st="31", cn="2061", mn="MN0001", flag=5, qn="1", datatime="20261124070000",
                   factors={f"a{n:05d}": {"Avg": "1.5", "Flag": "N"} for n in range(60)})  # fmt: skip
    assert len(large) > 1000
    device.send(large + device.frame())
    assert device.answer().qn == "20261124080000001"
    assert {record.kind for record in gateway.records()[:-1]} == {RecordKind.BAD}
    assert b"".join(record.payload for record in gateway.records()[:-1]) == large


def test_the_newest_connections_of_a_device_stay_and_the_oldest_goes(start):
    gateway = start(gateway_device_connections=2)
    devices = []
    for _ in range(3):
        devices.append(Device(gateway.port))
        devices[-1].send(devices[-1].frame())
        assert devices[-1].answer().cn == "9014"
    assert devices[0].answer() is None
    for device in devices[1:]:
        device.send(device.frame())
        assert device.answer().cn == "9014"
    assert closed(gateway, "device") == 1
    assert served(gateway)


def test_an_address_has_only_so_many_connections_and_a_closed_one_makes_room(start):
    gateway = start(gateway_address_connections=3)
    devices = [Device(gateway.port, f"MN{n}") for n in range(3)]
    for device in devices:
        device.send(device.frame())
        assert device.answer().cn == "9014"
    assert Device(gateway.port).answer() is None, "one too many is turned away"
    other = socket.create_connection(("127.0.0.1", gateway.port), timeout=10, source_address=("127.0.0.9", 0))
    other.sendall(devices[0].frame())
    assert b"CN=9014" in other.recv(4096), "another address has its own"
    devices[0].close()
    wait_for(lambda: gateway.beat()["connections"] == 3)
    assert served(gateway)
    assert gateway.beat()["turned_away_by"]["address"] >= 1


def test_more_connections_than_allowed_are_turned_away_and_those_there_are_served(start):
    gateway = start(gateway_max_connections=4)
    devices = [Device(gateway.port, f"MN{n}") for n in range(4)]
    for device in devices:
        device.send(device.frame())
        assert device.answer().cn == "9014"
    assert Device(gateway.port).answer() is None
    devices[3].send(devices[3].frame())
    assert devices[3].answer().cn == "9014"
    wait_for(lambda: gateway.beat()["turned_away_by"].get("connections"))


def test_descriptors_are_kept_free_for_the_archive(data):
    """With few descriptors the gateway turns callers away before it could not open its next segment."""
    process = Process(data, descriptors=100)
    try:
        callers = [Device(process.port, f"MN{n}") for n in range(60)]
        wait_for(lambda: process.beat()["turned_away_by"].get("connections", 0) > 15)
        callers[0].send(callers[0].frame())
        assert callers[0].answer().cn == "9014"
        assert process.beat()["connections"] <= 36
    finally:
        process.kill()


def test_bytes_without_a_frame_end_the_connection_and_a_frame_in_between_begins_the_count_anew(start):
    gateway = start(gateway_fruitless_bytes=3000, gateway_noise_per_minute=1000)
    device = Device(gateway.port)
    for _ in range(4):
        device.send(b"x" * 2000 + b"\r\n" + device.frame())
        assert device.answer().cn == "9014"
    device.send(b"x" * 2000 + b"\r\n")
    device.send(b"x" * 2000 + b"\r\n")
    assert device.answer() is None
    assert closed(gateway, "fruitless") == 1


def test_noise_is_kept_only_so_many_times_a_minute_and_counted_beyond(start):
    gateway = start(gateway_noise_per_minute=3)
    device = Device(gateway.port)
    for n in range(10):
        device.send(b"noise %d\r\n" % n + device.frame())
        assert device.answer().cn == "9014"
    kinds = [record.kind for record in gateway.records()]
    assert kinds.count(RecordKind.FRAME) == 10
    assert 3 <= kinds.count(RecordKind.BAD) <= 6  # the minute may have changed
    wait_for(lambda: gateway.beat()["noise_uncounted"] == 10 - kinds.count(RecordKind.BAD))


def test_a_silent_connection_is_closed_and_one_that_speaks_is_not(start):
    gateway = start(gateway_idle_seconds=2)
    silent, speaking = Device(gateway.port, "MN-SILENT"), Device(gateway.port, "MN-SPEAKS")
    silent.socket.settimeout(0.2)
    begun = time.monotonic()
    while time.monotonic() - begun < 15:
        speaking.send(speaking.frame())
        assert speaking.answer().cn == "9014"
        try:
            assert silent.answer() is None
            break
        except TimeoutError:
            continue
    assert closed(gateway, "idle") >= 1
    speaking.send(speaking.frame())
    assert speaking.answer().cn == "9014"


def test_a_frame_that_is_begun_and_never_finished_ends_its_connection_however_it_drips(start):
    gateway = start(gateway_frame_seconds=2, gateway_idle_seconds=3600)
    loris = Device(gateway.port)
    whole, sent = loris.frame(), 0
    loris.socket.settimeout(0.1)
    for at in range(len(whole) - 3):
        try:
            loris.send(whole[at : at + 1])
            sent += 1
            assert loris.answer() is None
            break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    assert sent < len(whole) - 3, "it was cut off in the midst of it"
    assert closed(gateway, "unfinished") == 1
    wait_for(lambda: gateway.records())
    assert gateway.records()[0].payload == whole[: len(gateway.records()[0].payload)], "what had come is kept"
    assert served(gateway)


def test_frames_that_come_slowly_but_whole_in_time_are_no_attack(start):
    gateway = start(gateway_frame_seconds=2)
    device = Device(gateway.port)
    for _ in range(3):
        whole = device.frame()
        for part in (whole[:40], whole[40:90], whole[90:]):
            device.send(part)
            time.sleep(0.3)
        assert device.answer().cn == "9014"


def test_one_who_does_not_read_his_answers_is_cut_off_and_the_others_do_not_notice(start):
    gateway = start(gateway_unsent_bytes=20000)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.settimeout(10)
    deaf.connect(("127.0.0.1", gateway.port))
    frames = b"".join(Device.frame(Numbered()) for _ in range(2000))
    with pytest.raises(OSError):
        deaf.sendall(frames * 200)
    assert closed(gateway, "unread") == 1
    assert served(gateway)


class Numbered:
    mn, number = "MN-DEAF", 0


def test_a_flood_does_not_starve_a_modest_device(start):
    """Both are served all the time; the flood gets what its share of each turn allows, the modest one every answer."""
    gateway = start(gateway_turn_bytes=16384)
    answered, quit_ = 0, threading.Event()
    flood = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    block = b"".join(Device.frame(Numbered()) for _ in range(500))

    def pour():
        while not quit_.is_set():
            try:
                flood.sendall(block)
            except OSError:
                return

    def drink():
        nonlocal answered
        while not quit_.is_set():
            try:
                answered += flood.recv(1 << 16).count(b"\r\n")
            except OSError:
                return

    threads = [threading.Thread(target=one, daemon=True) for one in (pour, drink)]
    for thread in threads:
        thread.start()
    wait_for(lambda: answered > 200)
    modest, turns = Device(gateway.port, "MN-MODEST"), []
    for _ in range(40):
        before = answered
        modest.send(modest.frame())
        assert modest.answer().cn == "9014"
        turns.append(answered - before)
    quit_.set()
    flood.close()
    most = 16384 * 2 // len(Device.frame(Numbered())) + 1
    assert sorted(turns)[20] <= 20 * most, "between two answers the flood has only some turns, not all it could send"
    assert answered > 200


def test_a_disk_that_is_full_just_when_a_segment_begins_stops_reading_and_goes_on_when_there_is_room(data):
    """The limit on the size of files lets no new segment begin: its header does not fit into none."""
    process = Process(data, segment_bytes=8192)
    try:
        device = Device(process.port)
        for _ in range(10):
            device.send(device.frame())
            assert device.answer().cn == "9014"
        full = 8192 - 200
        while (data / "archive" / "0000" / "0000000.seg").stat().st_size < full - 300:
            device.send(device.frame())
            assert device.answer().cn == "9014"
        (data / "archive" / "0000" / "0000001.seg").mkdir()  # the name of the next segment cannot be created
        device.socket.settimeout(2)
        unanswered = first_unanswered(device)
        wait_for(lambda: process.beat()["problem"])
        assert process.process.is_alive()
        (data / "archive" / "0000" / "0000001.seg").rmdir()
        device.socket.settimeout(15)
        wait_for(lambda: not process.beat()["problem"])
        device.send(unanswered)
        assert device.answer().qn == decode(unanswered).qn
        kept = [decode(record.payload).qn for record in process.records()]
        assert kept[-1] == decode(unanswered).qn
        assert len(set(kept)) == device.number, "every frame is there, those sent twice as well"
    finally:
        process.kill()


def first_unanswered(device):
    """Sends on until no answer comes."""
    for _ in range(20):
        frame = device.frame()
        device.send(frame)
        try:
            assert device.answer().cn == "9014"
        except TimeoutError:
            return frame
    raise AssertionError("everything was answered")


def test_a_peer_that_ends_its_side_still_reads_its_answer(start):
    gateway = start()
    device = Device(gateway.port)
    device.send(device.frame())
    device.socket.shutdown(socket.SHUT_WR)
    assert device.answer().cn == "9014"
    assert device.answer() is None


def test_memory_does_not_follow_what_many_send_at_once(start):
    """Forty connections pour out frames without waiting; what the gateway holds stays within its buffers."""
    gateway = start()
    assert served(gateway)
    before = rss(gateway.process.pid)
    block = b"".join(Device.frame(Numbered()) for _ in range(4000))
    script = (
        "import socket,sys,threading,os\n"
        "def one(n):\n"
        "    s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));b=sys.stdin.buffer if 0 else data\n"
        "    t=threading.Thread(target=lambda:[None for _ in iter(lambda:s.recv(65536),b'')],daemon=True);t.start()\n"
        "    s.sendall(b)\n"
        "data=sys.stdin.buffer.read()\n"
        "ts=[threading.Thread(target=one,args=(n,)) for n in range(40)]\n"
        "[t.start() for t in ts];[t.join() for t in ts]\n"
    )
    subprocess.run([sys.executable, "-c", script, str(gateway.port)], input=block, timeout=180, check=True)
    assert rss(gateway.process.pid) - before < 120 << 20, f"{40 * len(block) >> 20} MB came"


def rss(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
