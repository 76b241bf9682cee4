"""What the gateway promises a device, over a real socket."""

import itertools
import os
import random
import resource
import threading
import time

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan import clock, settings
from ceguan.intake import keys
from ceguan.intake.hj212 import gateway as gateways
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, encode, of_chunk
from ceguan.intake.hj212.splitter import Splitter
from ceguan.registry.models import Device as Outlet
from ceguan.store import RecordKind
from tests.intake.gateway import Device, Process

pytestmark = pytest.mark.service


@pytest.fixture
def gateway(data):
    process = Process(data)
    yield process
    process.kill()


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def kinds(process):
    return [record.kind for record in process.records()]


def test_an_answered_frame_is_in_the_archive_byte_by_byte(gateway):
    device = Device(gateway.port)
    sent = device.frame()
    device.send(sent)
    answer = device.answer()
    assert (answer.cn, answer.qn, answer.mn) == ("9014", "20261124080000001", "MN0001")
    assert [record.payload for record in gateway.records()] == [sent]


def test_frames_glued_together_and_cut_anywhere_are_all_answered_in_order(gateway):
    device = Device(gateway.port)
    stream = b"".join(device.frame() for _ in range(40))
    for at in range(0, len(stream), 37):
        device.send(stream[at : at + 37])
    assert [device.answer().qn for _ in range(40)] == [f"2026112408{n:07d}" for n in range(1, 41)]


def test_a_frame_with_a_wrong_checksum_gets_no_answer_and_is_kept(gateway):
    device = Device(gateway.port)
    good = device.frame()
    device.send(good[:-6] + b"0000\r\n" + device.frame())
    assert device.answer().qn == "20261124080000002"
    assert kinds(gateway) == [RecordKind.BAD, RecordKind.FRAME]
    assert decode(gateway.records()[0].payload).error == "crc"


def test_noise_before_a_frame_is_kept_and_the_frame_is_taken(gateway):
    device = Device(gateway.port)
    device.send(b"GET / HTTP/1.1\r\n\r\n" + device.frame())
    assert device.answer().qn == "20261124080000001"
    assert kinds(gateway) == [RecordKind.BAD, RecordKind.FRAME]


def test_endless_noise_fills_neither_memory_nor_archive(gateway):
    device = Device(gateway.port)
    for _ in range(80):
        try:
            device.send(os.urandom(4096).replace(b"#", b"x").replace(b"\n", b"y") + b"\r\n")
        except ConnectionError:
            break
    assert device.answer() is None, "it is cut off"
    assert len(gateway.records()) <= 21
    other = Device(gateway.port, "MN0002")
    other.send(other.frame())
    assert other.answer().cn == "9014"


def test_a_frame_without_its_line_end_is_taken_once_the_line_is_quiet(gateway):
    device = Device(gateway.port)
    device.send(device.frame().rstrip(b"\r\n"))
    assert device.answer().cn == "9014"


def test_a_frame_that_wants_no_answer_is_kept_all_the_same(gateway):
    device = Device(gateway.port)
    device.send(device.frame().replace(b"Flag=5", b"Flag=4"))
    wait_for(lambda: gateway.records())


def test_an_unknown_device_is_refused_when_the_bureau_says_so(city):
    process = Process(city_data(), CEGUAN_UNKNOWN_DEVICES="refuse")  # it reads the register before it beats
    try:
        known = Device(process.port, "MNGAS_OUTLET")
        known.send(known.frame())
        assert known.answer().cn == "9014"
        stranger = Device(process.port, "MN-STRANGER")
        stranger.send(stranger.frame())
        assert stranger.answer() is None
        wait_for(lambda: kinds(process) == [RecordKind.FRAME, RecordKind.BAD])
    finally:
        process.kill()


class Called(Process):
    """A gateway that is called while it comes up: the frame waits in the queue of the socket."""

    def __init__(self, data, mn, frame):
        self.mn, self.frame = mn, frame
        super().__init__(data)

    def _await(self):
        wait_for(self._called)

    def _called(self):
        try:
            self.device = Device(self.port, self.mn)
        except ConnectionRefusedError:
            return False
        self.device.send(self.frame)
        return True


def test_an_enciphered_frame_that_waits_while_the_gateway_comes_up_is_opened_and_answered(city):
    """HJ 212-2025 6.4: the key is in the register, so nothing but its reading may stand before the answer."""
    from django.conf import settings as django_settings

    mn, key = "MNGAS_OUTLET", b"0123456789abcdef"
    (city_data() / "secret.key").write_text(django_settings.SECRET_KEY)  # what is sealed here must open there
    keys.enter(Outlet.objects.get(mn=mn), key.decode(), city.users["analyst"], "初始密钥", clock.now())
    sent = encode(
        st="31", cn="2011", mn=mn, pw="123456", flag=9, qn="20261124080000001", datatime="20261124080000",
        factors={"a21026": {"Rtd": "12.3", "Flag": "N"}}, key=key,
    )  # fmt: skip
    process = Called(city_data(), mn, sent)
    try:
        assert process.device.answer().cn == "9014"
        assert [(record.kind, record.payload) for record in process.records()] == [(RecordKind.FRAME, sent)]
    finally:
        process.kill()


def test_stopping_answers_what_has_come_and_leaves_cleanly(gateway):
    device = Device(gateway.port)
    device.send(device.frame())
    assert device.answer()
    gateway.stop()
    assert len(gateway.records()) == 1
    assert gateway.beat()["running"] is False


def test_the_heartbeat_counts_frames_and_connections(gateway):
    device = Device(gateway.port)
    device.send(device.frame() + b"junk that is no frame\r\n" + device.frame())
    assert [device.answer().cn for _ in range(2)] == ["9014", "9014"]
    wait_for(lambda: gateway.beat()["frames"] == 2 and gateway.beat()["bad"] == 1)
    assert gateway.beat()["connections"] >= 1


def test_two_gateways_cannot_write_one_stream(gateway, data, capsys):
    assert gateways.serve(settings.load(), "127.0.0.1", 0) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """One gateway for all examples of a property."""
    process = Process(tmp_path_factory.mktemp("lasting"), CEGUAN_GATEWAY_NOISE_PER_MINUTE=10**6)
    yield process
    process.kill()


KINDS = ["upload", "upload", "upload", "heartbeat", "answer", "bad", "2005", "modbus", "noise", "many"]
PIECES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 99)), min_size=1, max_size=12)


def piece(kind, number, mn):
    """Bytes a device might send, and not all of them as it should."""
    qn, values = f"202611240800{number:05d}", {"a21026": {"Rtd": f"{number}.5", "Flag": "N"}}
    upload = encode(st="31", cn="2011", mn=mn, pw="1", flag=5, qn=qn, datatime="20261124080000", factors=values)
    if kind == "noise":
        return b"\x00noise %d" % number + (b"\r\n" if number % 2 else b"")
    return {
        "upload": upload,
        "heartbeat": encode(st="31", cn="9015", mn=mn, pw="1", flag=9, qn=qn),
        "answer": encode(st="91", cn="9014", mn=mn, pw="1", flag=4, qn=qn),
        "bad": upload[:-6] + b"0000\r\n",
        "2005": encode(st="31", cn="2011", mn=mn, pw="1", flag=1, datatime="20261124080000", factors=values),
        "modbus": encode(st="31", cn="2011", mn=mn, pw="1", flag=5, qn=qn, datatime="20261124080000", factors=values,
                         crc_dialect="modbus"),
        "many": upload * 3,
    }[kind]  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=3), st.lists(st.integers(1, 400), min_size=1, max_size=20), st.integers(0))
@hypothesis.settings(max_examples=30, deadline=None)
def test_records_and_answers_are_those_of_the_splitter_whichever_way_the_frames_went(lasting, plans, cuts, salt):
    """Several devices talk at once; each stream, however cut, is kept and answered as reading it alone says."""
    devices = [Device(lasting.port, f"P{salt % 1000}D{n}") for n in range(len(plans))]
    sources = ["{}:{}".format(*device.socket.getsockname()) for device in devices]
    streams = [
        b"".join(piece(*one, device.mn) for one in plan) + device.frame()
        for plan, device in zip(plans, devices, strict=True)
    ]
    for device in devices:  # known from now on, else nothing goes the quick way
        device.send(device.frame())
        assert device.answer().cn == "9014"
    first = len(lasting.records())
    for at, size in zip(range(0, 4000, 200), itertools.cycle(cuts), strict=False):
        for device, stream in zip(devices, streams, strict=True):
            device.send(stream[at : at + min(size, 200)])
            device.send(stream[at + min(size, 200) : at + 200])
    for device, stream in zip(devices, streams, strict=True):
        device.send(stream[4000:])
    for device, source, stream in zip(devices, sources, streams, strict=True):
        splitter = Splitter(65536)
        chunks = splitter.feed(stream)
        frames = [of_chunk(chunk) for chunk in chunks]
        wanted = [reply for frame in frames if (reply := answer_to(frame))]
        assert device.read(sum(map(len, wanted))) == b"".join(wanted)
        kept = [(r.kind, r.payload) for r in lasting.records()[first:] if r.source == source]
        assert kept == [(RecordKind.FRAME if f.ok else RecordKind.BAD, f.raw) for f in frames]
        device.close()


def test_a_disk_that_refuses_gives_no_answer_and_the_gateway_goes_on_when_it_can_write_again(data):
    process = Process(data)
    try:
        pid = process.process.pid
        device = Device(process.port)
        device.send(device.frame())
        assert device.answer()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (600, resource.RLIM_INFINITY))
        device.socket.settimeout(1.0)
        unanswered = [device.frame() for _ in range(5)]
        device.send(b"".join(unanswered))
        with pytest.raises(TimeoutError):
            device.answer()
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        lifted = time.time()
        wait_for(lambda: process.beat()["real"] > lifted and process.beat()["writable"])
        device.socket.settimeout(10)
        device.send(b"".join(unanswered))
        assert device.answer().qn == "20261124080000002"
        assert process.process.is_alive()
    finally:
        process.kill()


def test_a_clock_that_jumps_neither_delays_an_answer_nor_changes_the_order(data):
    """By hours, back and forth; the connection is not taken for idle. Killed and started again in between."""
    jumps, process = (0, 7200, -10800, 40 * 86400, -86400, 0), Process(data, CEGUAN_GATEWAY_IDLE_SECONDS=600)
    frames = []
    try:
        device = Device(process.port)
        for jump in jumps:
            process.clock.value = jump
            for _ in range(3):
                frames.append(device.frame())
                device.send(frames[-1])
                assert device.answer().qn == f"2026112408{device.number:07d}"
            beaten = process.beat()["at"]
            wait_for(lambda beaten=beaten: process.beat()["at"] != beaten)
            assert process.beat()["connections"] == 1
        process.kill()
        records = process.records()
        process = Process(data)
        again = Device(process.port)
        again.number = device.number
        frames.append(again.frame())
        again.send(frames[-1])
        assert again.answer()
        assert process.records()[:-1] == records
    finally:
        process.kill()
    assert [record.payload for record in process.records()] == frames
    said = [record.recv - records[0].recv for record in records[::3]]
    assert said == pytest.approx(jumps, abs=60), "each with the time that the clock then told"


def test_twenty_kills_lose_no_answered_frame(data):
    """Devices send as fast as they are answered; the gateway is killed with -9 at a random moment, again and again."""
    answered: set[tuple[str, str]] = set()
    chance = random.Random(212)
    for round_ in range(20):
        process = Process(data)
        threads = [
            threading.Thread(target=_talk, args=(process.port, f"MN{round_:02d}{n}", answered)) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        goal = len(answered) + chance.randrange(11, 60)
        wait_for(lambda goal=goal: len(answered) >= goal)
        process.kill()
        for thread in threads:
            thread.join()
    kept = {(frame.mn, frame.qn) for frame in map(decode, (record.payload for record in process.records())) if frame.ok}
    assert len(answered) > 200
    assert answered <= kept


def _talk(port, mn, answered):
    try:
        device = Device(port, mn)
        while True:
            device.send(device.frame())
            answer = device.answer()
            if answer is None:
                return
            answered.add((mn, answer.qn))
    except OSError:
        return


def city_data():
    from pathlib import Path

    return Path(os.environ["CEGUAN_DATA"])
