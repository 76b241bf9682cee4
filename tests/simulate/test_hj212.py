"""Simulated devices behave as the standard says, and misbehave as they are told."""

from __future__ import annotations

import json
import random
import re
import socket
import threading

import pytest

from ceguan import cli, clock
from ceguan.intake import commands as queueing
from ceguan.intake.hj212 import commands
from ceguan.intake.hj212.exchange import Accepted, End, Ended, Exchange, Request
from ceguan.intake.hj212.frame import decode
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.readings import parse_time, rows, write_time
from ceguan.intake.hj212.splitter import Splitter
from ceguan.intake.models import State
from ceguan.registry.models import Device as Registered
from ceguan.simulate.hj212 import faults, fleet
from ceguan.simulate.hj212.faults import FAULTS, FaultError
from ceguan.simulate.hj212.logger import Logger, Setup
from ceguan.simulate.hj212.values import KINDS, Model, known_since
from ceguan.store import RecordKind
from ceguan.words import Kind
from tests.intake.gateway import Process
from tests.intake.talking import ends

KEY = b"0123456789abcdef"
START = 1_764_000_000  # a full hour
HOUR = 3600


def logger(edition=2017, kind="gas", text="", seed=7, **setup):
    chance = random.Random(seed)
    given = faults.parse(text).of_device(chance)
    model = Model(seed, 0, kind, edition, given.values, START)
    return Logger(model, "010000A8900016F000169DC0", edition, Setup("123456", **setup), given, chance, START,
                  known_since(START, 72))  # fmt: skip


def spoken(device, now):
    """Everything the device has to say, each answered at once."""
    said = []
    while (out := device.next()) is not None:
        said.append(decode(device.raw(out), key=KEY))
        device.sent(out)
        if out.qn:
            assert device.answered(out.qn)
    return said


def run(device, seconds, step=10):
    said = []
    for now in range(START, START + seconds, step):
        device.tick(now)
        said += spoken(device, now)
    return said


@pytest.mark.parametrize("edition", [2005, 2017, 2025])
@pytest.mark.parametrize("kind", KINDS)
def test_uploads_of_every_kind_and_edition_are_read_without_a_doubt(kind, edition):
    device = logger(edition, kind, key=KEY if edition == 2025 else None)
    said = run(device, 2 * HOUR + 60, 30)
    assert all(frame.ok and not frame.warnings for frame in said)
    uploads = [rows(frame) for frame in said if frame.cn in ("2011", "2051", "2061")]
    assert {upload.kind for upload in uploads} >= {Kind.RT, Kind.HOUR}
    assert [upload.warnings for upload in uploads if upload.warnings] == []
    hours = [upload.ts for upload in uploads if upload.kind == Kind.HOUR]
    assert hours == [START, START + HOUR] or hours == [START - HOUR, START, START + HOUR]
    assert {frame.edition for frame in said} == {edition}
    assert {frame.encrypted for frame in said if frame.cn == "2061"} == {edition == 2025}
    assert ("9015" in {frame.cn for frame in said}) == (edition == 2025)


def test_a_device_announces_itself_once():
    device = logger()
    device.connected(START)
    assert [frame.cn for frame in spoken(device, START)] == ["2081", "1013"]
    device.connected(START + 60)
    assert spoken(device, START + 60) == []


def test_every_qn_is_used_once():
    said = run(logger(text="parts:1"), 3 * HOUR)
    assert len({frame.qn for frame in said}) == len(said)


# ── requests: the host's side is the platform's own ───────────────────────────────────────────────────────────────


GIVEN = {
    "OverTime": "5", "ReCount": "2", "RtdInterval": "120", "MinInterval": "5", "NewPW": "654321", "PW": "654321",
    "BeginTime": write_time(START - 50 * HOUR), "EndTime": write_time(START - HOUR), "PolId": "a21026",
    "CstartTime": "080000", "Ctime": "2", "CTime": "04 10", "InfoId": "i11001", "Info": "1.5", "CalibrationType": "1",
    "NewSK": "abcdef0123456789", "SKCreateTime": write_time(START), "SystemTime": write_time(START + 4),
}  # fmt: skip


def converse(device, command, values, now=START, **request):
    """One exchange, the platform's state machine on one side and the device on the other."""
    given = {"mn": device.mn, "st": "31", "pw": "123456", "qn": "20251124160000001", "key": KEY, **request}
    exchange = Exchange(Request(command=command, values=values, **given), 10, 3)
    (send,) = exchange.start(0.0, now)
    device.heard(decode(send.data, key=KEY), now)
    actions, came = [], []
    for frame in spoken(device, now):
        came.append(frame)
        actions += exchange.heard(frame, 1.0)
    return [one for one in actions if isinstance(one, Ended | Accepted)], came


SENDABLE = [(row.edition, row.cn) for row in commands.rows() if row.sendable]


@pytest.mark.parametrize(("edition", "cn"), SENDABLE)
def test_every_command_of_the_table_is_obeyed(edition, cn):
    device = logger(int(edition), key=KEY if edition == "2025" else None)
    command = commands.find(cn, edition)
    codes = ["a21026", "01" if edition == "2005" else "a34013"]
    names = {token.name for token in command.tokens}
    values = commands.check(command, {name: text for name, text in GIVEN.items() if name in names}, codes)
    actions, came = converse(device, command, values)
    ends = [one for one in actions if isinstance(one, Ended)]
    assert len(ends) == 1
    if cn in ("2041", "2062"):
        assert ends[0] == Ended(End.FAILED, "ExeRtn:100"), "it has no such data"
    else:
        assert ends[0].end == End.DONE, ends
    if command.answer == "many" and cn != "2041" and cn != "2062":
        uploads = [frame for frame in came if frame.cn == cn]
        assert uploads
        assert all(GIVEN["BeginTime"] <= frame.datatime <= GIVEN["EndTime"] for frame in uploads)
    if command.answer == "one":
        assert [frame.cn for frame in came] == ["9011", cn, "9012"]


def test_history_is_what_it_measured_since_it_was_switched_on_and_no_more():
    device = logger()
    command = commands.find("2061", "2017")
    span = {"BeginTime": write_time(START - 100 * HOUR), "EndTime": write_time(START + 100 * HOUR)}
    _, came = converse(device, command, span)
    assert [parse_time(frame.datatime) for frame in came if frame.cn == "2061"] == list(
        range(START - 72 * HOUR, START, HOUR)
    )
    before = {"BeginTime": write_time(START - 100 * HOUR), "EndTime": write_time(START - 90 * HOUR)}
    actions, _ = converse(device, command, before)
    assert actions[-1] == Ended(End.FAILED, "ExeRtn:100")


def test_what_it_did_not_send_can_be_asked_for_and_is_the_same_again():
    gaps, whole = logger(text="gaps:1"), logger()
    assert [frame for frame in run(gaps, 3 * HOUR) if frame.factors] == []
    sent = {frame.datatime: frame.factors for frame in run(whole, 3 * HOUR) if frame.cn == "2061"}
    span = {"BeginTime": write_time(START), "EndTime": write_time(START + HOUR)}
    _, came = converse(gaps, commands.find("2061", "2017"), span, START + 3 * HOUR)
    asked = {frame.datatime: frame.factors for frame in came if frame.cn == "2061"}
    assert len(asked) == 2
    assert asked == {at: sent[at] for at in asked}


@pytest.mark.parametrize(("head", "code"), [({"pw": "000000"}, "3"), ({"mn": "X"}, "4")])
def test_a_request_that_is_not_for_it_is_refused(head, code):
    device = logger()
    _, came = converse(device, commands.find("1011", "2017"), {}, **head)
    assert [(frame.cn, frame.cp["QnRtn"]) for frame in came] == [("9011", code)]


def test_a_new_password_and_a_new_key_hold_from_then_on():
    device = logger(2025, key=KEY)
    converse(device, commands.find("1072", "2025"), {"NewPW": "654321"})
    actions, _ = converse(device, commands.find("1014", "2025"), {"NewSK": "abcdef0123456789"}, pw="654321")
    assert actions[-1].end == End.DONE
    assert device.setup.password == "654321"
    assert device.setup.key == b"abcdef0123456789"


def test_real_time_data_stop_and_start():
    device = logger()
    converse(device, commands.find("2012", "2017"), {})
    assert "2011" not in {frame.cn for frame in run(device, HOUR)}
    converse(device, commands.find("2011", "2017"), {}, START + HOUR)
    device.tick(START + HOUR + 90)
    assert "2011" in {frame.cn for frame in spoken(device, START + HOUR + 90)}


# ── faults ────────────────────────────────────────────────────────────────────────────────────────────────────────


def spoilt(name):
    """What a fault in full share makes of one frame after the other, and the frames."""
    device, chance = logger(text=f"{name}:1"), random.Random(3)
    given = faults.parse(f"{name}:1")
    frames = [frame.raw for frame in run(device, HOUR, 60)]
    return frames, [faults.on_the_line(raw, given, chance) for raw in frames]


LINE = {
    "bad-crc": lambda frame: frame.error == "crc",
    "wrong-length": lambda frame: "length" in frame.errors,
    "no-crlf": lambda frame: frame.ok and "tail_missing" in frame.warnings,
    "lower-crc": lambda frame: frame.ok,
    "modbus": lambda frame: frame.ok and frame.crc_dialect == "modbus",
    "swapped": lambda frame: frame.ok and frame.crc_dialect == "modbus_swapped",
}


@pytest.mark.parametrize("name", LINE)
def test_a_fault_of_the_line_is_what_its_name_says(name):
    _, sendings = spoilt(name)
    seen = [decode(b"".join(sending.pieces)) for sending in sendings]
    assert len(seen) > 50
    assert all(LINE[name](frame) for frame in seen)


def test_glued_split_doubled_and_noise_hide_no_frame_and_a_break_costs_one():
    for name in ("glued", "split", "duplicates", "noise"):
        frames, sendings = spoilt(name)
        splitter = Splitter()
        stream = [piece for sending in sendings for piece in sending.pieces]
        found = [chunk.data for piece in stream for chunk in splitter.feed(piece) if chunk.frame]
        assert [raw for i, raw in enumerate(found) if raw not in found[:i]] == frames, name
        assert (len(found) == 2 * len(frames)) == (name == "duplicates")
        assert all(len(sending.pieces) > 1 for sending in sendings) == (name == "split")
        assert all(sending.held for sending in sendings) == (name == "glued")
    frames, sendings = spoilt("disconnect")
    assert all(
        sending.broken and len(sending.pieces[0]) < len(raw) for raw, sending in zip(frames, sendings, strict=True)
    )


def test_gbk_text_is_text_and_not_utf8():
    _, sendings = spoilt("gbk")
    seen = [decode(sending.pieces[0]) for sending in sendings]
    remarked = [frame for frame in seen if frame.factors]
    assert remarked
    for frame in remarked:
        assert frame.ok
        assert "encoding_gbk" in frame.warnings
        assert next(reversed(frame.factors.values()))["Info"] == "//正常运行//"


def test_parts_join_to_what_would_have_been_sent_whole():
    merger = Merger()
    parts, whole = run(logger(text="parts:1"), HOUR + 60), run(logger(), HOUR + 60)
    joined = [message for frame in parts for message in merger.feed(frame)]
    assert {frame.pnum for frame in parts if frame.factors} == {"2"}
    assert [frame.factors for frame in joined if frame.cn == "2061"] == [
        frame.factors for frame in whole if frame.cn == "2061"
    ]


def test_what_is_late_comes_later_and_in_2025_says_so():
    said = run(logger(2025, text="late:1", key=KEY), 6 * HOUR, 60)
    hours = [frame for frame in said if frame.cn == "2061"]
    assert hours
    assert {frame.rf for frame in hours} == {"1"}
    delays = [parse_time(frame.qn) - parse_time(frame.datatime) - HOUR for frame in hours]
    assert max(delays) <= 60, "it was made in time"


def test_a_clock_runs_fast_until_it_is_set():
    device = logger(text="clock-drift")
    assert round(device.clock(START + 10 * HOUR) - START - 10 * HOUR) == 600
    converse(device, commands.find("1012", "2017"), {"SystemTime": write_time(START + 10 * HOUR)}, START + 10 * HOUR)
    assert abs(device.clock(START + 10 * HOUR) - START - 10 * HOUR) < 1


def test_a_silent_device_says_nothing_any_more_and_does_not_answer():
    device = logger(text="silent:1")
    run(device, HOUR + 120, 60)
    device.tick(START + 4 * HOUR)
    assert spoken(device, START + 4 * HOUR) == []
    _, came = converse(device, commands.find("1011", "2017"), {}, START + 4 * HOUR)
    assert came == []


@pytest.mark.parametrize("kind", KINDS)
def test_values_exceed_stand_still_or_jump(kind):
    factor = {"air": "a34004", "water": "w21003", "gas": "a21026", "wastewater": "w01018"}[kind]
    field = f"{factor}-{'ZsAvg' if kind == 'gas' else 'Avg'}="

    def hours(*names):
        model = Model(7, 0, kind, 2017, names, START)
        areas = [model.area(Kind.HOUR, START + n * HOUR) for n in range(9)]
        return [float(re.split("[,;]", area.partition(field)[2])[0]) for area in areas]

    usual, over, still = hours(), hours("over-limit"), hours("constant")
    assert min(over) > 1.2 * max(usual)
    limit = next(i for i in Model(7, 0, kind, 2017, (), START).station.items if i.factor == factor).strictest
    if limit is not None:
        assert max(usual) < limit < min(over)
    assert len(set(usual)) > 1
    assert len(set(still)) == 1
    spikes, plain = (Model(7, 0, kind, 2017, names, START) for names in (("spikes",), ()))
    differ = [t for t in range(START, START + HOUR, 60) if spikes.area(Kind.RT, t) != plain.area(Kind.RT, t)]
    assert len(differ) == 4, "one minute in a quarter of an hour"


def test_the_same_seed_is_the_same_fleet():
    first, again, other = (run(logger(seed=seed), HOUR) for seed in (7, 7, 8))
    assert [frame.raw for frame in first] == [frame.raw for frame in again]
    assert [frame.raw for frame in first] != [frame.raw for frame in other]


def test_a_list_of_faults_is_read_or_refused_with_what_would_be_valid():
    assert faults.parse("late, bad-crc:0.5").shares == {"late": FAULTS["late"].share, "bad-crc": 0.5}
    assert set(faults.parse("all").shares) == set(FAULTS) - {"swapped"}
    for wrong, said in (("fire", "没有名为 fire 的故障"), ("late:2", "0 到 1")):
        with pytest.raises(FaultError, match=said):
            faults.parse(wrong)


def test_faults_of_devices_befall_their_share_of_devices():
    drawn = [faults.parse("silent:0.25,late").of_device(random.Random(n)) for n in range(400)]
    assert 70 < sum("silent" in one.shares for one in drawn) < 130
    assert all("late" in one.shares for one in drawn)


# ── on real connections ───────────────────────────────────────────────────────────────────────────────────────────


def options(port, **given):
    return fleet.Options("127.0.0.1", port, **{"devices": 1, "interval": 1, "seconds": 3.0, **given})


@pytest.mark.service
@pytest.mark.parametrize("edition", [2005, 2017])
def test_with_every_fault_at_once_what_was_acknowledged_is_in_the_archive(data, edition):
    gateway = Process(data)
    reports = []
    try:
        text = ",".join(name for name in FAULTS if name not in ("swapped", "silent"))
        given = options(
            gateway.port, devices=20, edition=edition, faults=faults.parse(text), over_time=0.5, seconds=5.0, speed=60
        )
        assert fleet.run(given, reports.append) == ""
    finally:
        gateway.stop()
    kept = {decode(one.payload).qn for one in gateway.records() if one.kind == RecordKind.FRAME}
    last = reports[-1]
    assert last["answered"] > 100
    assert last["again"] > 0
    assert len(kept) >= last["answered"]


class Mute:
    """Accepts and never answers."""

    def __enter__(self):
        self.heard = []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        return self

    def __exit__(self, *_):
        self.server.close()


@pytest.mark.service
def test_without_answers_it_sends_again_gives_up_and_calls_again():
    with Mute() as platform:
        reports = []
        assert fleet.run(options(platform.port, over_time=0.1, seconds=4.0), reports.append) == ""
    last = reports[-1]
    assert last["answered"] == 0
    assert last["again"] >= 3
    assert last["given_up"] >= 2
    assert last["sent"] - last["again"] >= last["given_up"], "each connection begins anew"


@pytest.mark.service
def test_a_hundred_devices_are_a_hundred_connections_with_an_mn_each(data, capsys):
    gateway = Process(data)
    try:
        given = ["--devices", "100", "--interval", "1", "--seconds", "3", "--json"]
        code = cli.main(["simulate", "hj212", "--to", f"127.0.0.1:{gateway.port}", *given])
    finally:
        gateway.stop()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    assert last["connections"] == 100
    assert last["again"] == last["bad_answers"] == 0
    assert len({decode(one.payload).mn for one in gateway.records()}) == 100


def test_a_platform_that_is_not_there_is_said(capsys):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert cli.main(["simulate", "hj212", "--to", f"127.0.0.1:{port}", "--seconds", "0.5"]) == 2
    assert f"无法连接 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.service
@pytest.mark.parametrize("edition", [2005, 2017])
def test_the_platform_asks_and_the_simulated_device_obeys(city, data, edition):
    mn = "MNGAS_OUTLET"
    device = Registered.objects.get(mn=mn)
    device.edition = str(edition)
    device.save()
    gateway = Process(data)
    given = options(gateway.port, mn=mn, edition=edition, seconds=60.0)
    stop = threading.Event()
    simulated = threading.Thread(target=fleet.run, args=(given, lambda report: None, stop))
    simulated.start()
    try:
        now = clock.now()
        span = {"BeginTime": write_time(now - 3 * HOUR), "EndTime": write_time(now)}
        wanted = [("1011", {}), ("1062", {"RtdInterval": "60"}), ("2061", span)]
        queued = [queueing.queue(device, cn, values, city.users["admin"], "试", now) for cn, values in wanted]
        ended = [ends(one, State.DONE, 30) for one in queued]
    finally:
        stop.set()
        simulated.join(10)
        gateway.stop()
    assert [one.result_code for one in ended] == ["ExeRtn:1"] * 3
    frames = [decode(record.payload) for record in gateway.records()]
    hours = {frame.datatime for frame in frames if frame.cn == "2061" and frame.factors}
    assert len([at for at in hours if span["BeginTime"] <= at <= span["EndTime"]]) >= 2
