"""Thousands of frames read at once come to what they come to one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.hj212.readings import parse_time, write_time
from ceguan.intake.hj212.shapes import NO_TIME, ODD, Shapes
from ceguan.registry.models import Device
from ceguan.store import Record, RecordKind
from ceguan.watch import plain
from ceguan.watch.materialise import Gates, Materialiser, Taken
from ceguan.watch.register import Register
from ceguan.words import FrameRef, beijing
from tests.watch.world import DAY, HOUR, at

T0 = at("2026-03-10 08:00")
ENOUGH = 2
NUMBERS = st.sampled_from(["7", "7.25", "-0.5", "0", "123456.789", "1e3", "", "abc", "9999999999999999", "00.10", "5."])
FLAGS = st.sampled_from(["N", "N", "N", "D", "?", "1"])
FRAMES = st.fixed_dictionaries(
    {
        "mn": st.sampled_from(["MNGAS_OUTLET", "MNAIR", "MNSTRANGER"]),
        "cn": st.sampled_from(["2011", "2011", "2051", "2061", "2031", "3020", "9013"]),
        "late": st.sampled_from([0, 0, 0, 30, HOUR, 3 * HOUR, 29 * DAY, 40 * DAY, -HOUR]),
        "grid": st.sampled_from([True, True, False]),
        "values": st.dictionaries(
            st.sampled_from(["a21026", "a34004", "a01012", "zz"]), st.tuples(NUMBERS, FLAGS), min_size=1, max_size=3
        ),
        "extra": st.sampled_from([{}, {}, {}, {"Min": "1", "Max": "9"}, {"ZsAvg": "8.5"}, {"Cou": "3.75"}]),
        "qn": st.sampled_from([True, True, False, "bad"]),
        "dialect": st.sampled_from(["hj212"] * 4 + ["modbus"]),
        "flag": st.sampled_from([5, 5, 9, None]),
        "parts": st.sampled_from([None] * 6 + [1, 2]),
        "broken": st.sampled_from([False] * 8 + [True]),
    }
)


def raw(one: dict[str, Any], recv: int) -> bytes:
    ts = recv - one["late"]
    if one["grid"]:
        length = {"2011": 1, "2051": 600, "2061": HOUR, "2031": DAY}.get(one["cn"], 1)
        ts = (ts + 8 * HOUR) // length * length - 8 * HOUR
    name = "Rtd" if one["cn"] == "2011" else "Avg"
    factors = {
        code: {name: value, "Flag": flag} | (one["extra"] if value else {})
        for code, (value, flag) in one["values"].items()
    }
    qn = {True: write_time(recv) + "123", "bad": "20261399000000000"}.get(one["qn"])
    frame = encode(
        st="31", cn=one["cn"], mn=one["mn"], pw="123456", flag=one["flag"], qn=qn, datatime=write_time(ts),
        factors=factors, crc_dialect=one["dialect"], pnum=one["parts"] and 2, pno=one["parts"],
    )  # fmt: skip
    return frame[:-7] + b"0" + frame[-6:] if one["broken"] else frame


def records(frames: list[dict[str, Any]], each: int) -> list[Record]:
    """Each frame comes `each` times, a minute apart, so that what is usual becomes so."""
    found, offset = [], 0
    for turn in range(each):
        for number, one in enumerate(frames):
            recv = T0 + 60 * turn + number
            payload = raw(one, recv)
            ref = FrameRef(3, 1, offset)
            found.append(Record(ref, RecordKind.FRAME, float(recv), "10.0.0.7:5000", payload))
            offset += 100 + len(payload)
    return found


def materialiser() -> Materialiser:
    register = Register()
    register.refresh(beijing(T0).date())
    return Materialiser(
        register, lambda _: pytest.fail("nothing is fetched"), lambda _: {},
        gates=Gates(600, 30 * DAY, 1826 * DAY, lambda *_: False), late_seconds=2 * HOUR, parts_seconds=1e9,
        enough=ENOUGH, dialects={}, known={},
    )  # fmt: skip


def comes_to(taken: Taken, worker: Materialiser) -> dict[str, Any]:
    """Everything that must not depend on how frames were read; readings and drifts of a device in order."""
    columns, owners, names = taken.readings()
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    days = {key: (day.frames, day.bad, day.late, day.items, day.first_recv, day.last_recv, day.max_delay,
                  round(day.sum_delay, 3)) for key, day in taken.days.items()}  # fmt: skip
    return {
        "readings": [(names[owner], *map(repr, row)) for owner, row in zip(owners.tolist(), rows, strict=True)],
        "days": days,
        "drifts": {mn: [drift for one, drift in taken.drifts if one == mn] for mn in {one for one, _ in taken.drifts}},
        "usual": {key: dict(sorted(value.items())) for key, value in taken.usual.items()},
        "known": worker._usual,
        "waiting": worker.waiting,
        "held": [(one.mn, one.frame) for one in taken.held],
        "quarantine": sorted((one.mn, one.frame, one.cause) for one in taken.quarantine),
        **{
            name: getattr(taken, name)
            for name in (
                "records", "frames", "bad", "positions", "last_packet", "unconfirmed", "heard", "dialects", "warnings",
                "last_recv", "quarantined",
            )
        },
    }  # fmt: skip


@pytest.fixture
def devices(world) -> None:
    Device.objects.filter(mn="MNGAS_OUTLET").update(units={"a21026": "mg/m³", "a34004": "g/m³", "zz": "mg/m³"})
    Device.objects.filter(mn="MNAIR").update(units={"a34004": "μg/m³"}, crc_dialects=["modbus"])


def both_ways(monkeypatch: pytest.MonkeyPatch, frames: list[dict[str, Any]], each: int) -> plain.Run | None:
    """Reads in three runs, so that the second and third meet known shapes; returns what was plain in the last one."""
    found, run = [], None
    for few in (1, 10**9):
        monkeypatch.setattr(plain, "FEW", few)
        worker, come, taken = materialiser(), records(frames, each), None
        third = len(frames) * -(-each // 3)
        results = []
        for begin in range(0, len(come), third):
            taken = worker.take(come[begin : begin + third])
            results.append(comes_to(taken, worker))
        found.append(results)
        run = taken.plain if few == 1 and taken else run
    assert found[0] == found[1]
    return run


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=st.lists(FRAMES, min_size=1, max_size=6))
def test_read_at_once_or_one_by_one_frames_come_to_the_same(devices, frames) -> None:
    with pytest.MonkeyPatch.context() as patched:
        both_ways(patched, frames, 6)


def one(**other: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "mn": "MNGAS_OUTLET", "cn": "2011", "late": 0, "grid": True, "values": {"a21026": ("7.25", "N")},
        "extra": {}, "qn": True, "dialect": "hj212", "flag": 5, "parts": None, "broken": False,
    }  # fmt: skip
    return usual | other


def test_what_a_device_usually_sends_is_read_at_once(devices, monkeypatch) -> None:
    frames = [one(), one(cn="2061", late=HOUR), one(mn="MNAIR", values={"a34004": ("20", "N")}, dialect="modbus")]
    run = both_ways(monkeypatch, frames, 9)
    assert run is not None
    assert len(run.places) == 9
    assert set(run.columns[4].tolist()) == {7.25, 20.0}


def test_one_odd_frame_of_a_device_takes_all_its_frames_of_the_run_the_usual_way(devices, monkeypatch) -> None:
    odd = one(cn="2051", values={"a21026": ("1e3", "N")})
    air = one(mn="MNAIR", values={"a34004": ("20", "N")})
    run = both_ways(monkeypatch, [one(), odd, air], 9)
    assert run is not None
    assert {run.names[owner] for owner in run.owners.tolist()} == {"MNAIR"}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(FRAMES.filter(lambda one: not one["broken"]), min_size=1, max_size=4),
    st.integers(0, 4_000_000_000),
)
def test_the_numbers_and_times_of_a_shape_are_those_of_decode(frames, later) -> None:
    shapes, payloads = Shapes(), [raw(one, later + number) for number, one in enumerate(frames * 2)]
    read = shapes.read(payloads)
    for number, payload in enumerate(payloads):
        frame = decode(payload)
        if read.shape[number] == ODD:
            continue
        shape = shapes.known[read.shape[number]]
        assert shape is not None
        assert (shape.mn, shape.cn) == (frame.mn, frame.cn)
        assert read.moment[number] == parse_time(frame.datatime)
        assert read.sent[number] == (NO_TIME if frame.qn is None else parse_time(frame.qn))
        numbers = read.numbers[read.first[number] :]
        for item in shape.items:
            sent = frame.factors[item.sent]
            text = sent.get("Rtd", sent.get("Avg"))
            np.testing.assert_equal(numbers[int(item.value) - 1], float(text))
