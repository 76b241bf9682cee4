"""What may not count before a person has looked waits with its cause, and what is odd is counted and shown."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import pytest

from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import encode
from ceguan.registry.models import Device, Series
from ceguan.store import RecordKind, Store
from ceguan.watch import usual
from ceguan.words import Kind
from tests.watch.test_killed import SMALL_STEPS
from tests.watch.world import DAY, HOUR, at, frame, series, values

T0 = at("2026-03-10 08:00")
GAS = {"a21026": 30, "a21002": 50, "a34013": 5}


def so2(world) -> list[float]:
    return values(world.store, series(world.city.points["gas_outlet"], "a21026"))


def release(world, frames, action="release", now=T0 + DAY) -> None:
    content = {"frames": frames, "action": action, "who": "analyst", "at": now, "why": "核对过现场记录"}
    world.json(RecordKind.RELEASE, now, content)
    world.step(now + 1)


def test_the_dialects_of_a_device_are_counted_with_first_and_last(world):
    for hour in range(3):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, GAS, crc_dialect="hj212" if hour < 2 else "modbus")
    world.send("MNNEW", "hour", T0, GAS, crc_dialect="modbus_swapped")
    world.step(T0 + 4 * HOUR)
    found = [tuple(row.values()) for row in world.store.dialects().to_pylist()]
    assert found == [
        ("MNGAS_OUTLET", "modbus", 1, T0 + 3 * HOUR + 60, T0 + 3 * HOUR + 60),
        ("MNGAS_OUTLET", "hj212", 2, T0 + HOUR + 60, T0 + 2 * HOUR + 60),
        ("MNNEW", "modbus_swapped", 1, T0 + HOUR + 60, T0 + HOUR + 60),
    ]


def test_a_dialect_nobody_confirmed_holds_the_readings_until_somebody_does(world):
    ref = world.send("MNGAS_OUTLET", "hour", T0, GAS, crc_dialect="modbus")
    report = world.step(T0 + HOUR + 120)
    assert (report.quarantined, report.new) == (3, 0)
    [held] = world.store.quarantined().to_pylist()
    assert (held["frame"], held["mn"], held["cause"], held["kind"], held["ts"], held["items"]) == (
        ref, "MNGAS_OUTLET", "dialect:modbus", Kind.HOUR, T0, 3,
    )  # fmt: skip
    Device.objects.filter(mn="MNGAS_OUTLET").update(crc_dialects=["modbus"])
    world.restart()
    assert world.step(T0 + HOUR + 180).new == 3
    assert so2(world) == [30.0]
    assert world.store.quarantined().num_rows == 0
    assert world.store.quarantined(None)["state"].to_pylist() == ["released"]
    world.send("MNGAS_OUTLET", "hour", T0 + HOUR, GAS, crc_dialect="modbus")
    assert world.step(T0 + 2 * HOUR + 120).new == 3
    day = world.store.device_days("2026-03-10", "2026-03-10").to_pylist()[0]
    assert (day["frames"], day["items"]) == (2, 6)


def test_a_frame_held_for_its_dialect_may_stay_for_its_time(world):
    world.send("MNGAS_OUTLET", "hour", T0 + DAY, GAS, recv=T0 + HOUR, crc_dialect="modbus")
    world.send("MNGAS_OUTLET", "hour", T0, GAS, crc_dialect="modbus")
    world.step(T0 + HOUR + 120)
    Device.objects.filter(mn="MNGAS_OUTLET").update(crc_dialects=["modbus"])
    world.step(T0 + HOUR + 180)
    assert so2(world) == [30.0]
    found = {row["cause"]: row["state"] for row in world.store.quarantined(None).to_pylist()}
    assert found == {"future:1380": "held", "dialect:modbus": "released"}


def test_a_device_that_changes_its_dialect_is_warned_of(world):
    for hour, dialect in enumerate(("hj212", "hj212", "modbus", "modbus", "hj212")):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, GAS, crc_dialect=dialect)
        world.restart()
        world.step(T0 + (hour + 1) * HOUR + 120)
    [row] = world.store.warnings("2026-03-10", "2026-03-10").to_pylist()
    assert (row["mn"], row["kind"], row["count"]) == ("MNGAS_OUTLET", "dialect_changed", 2)


def swapped_alike(mn: str) -> bytes:
    """A frame of a device that swaps its MODBUS CRC, where both bytes of it are equal."""
    for number in range(100_000):
        raw = frame(mn, "hour", T0, {"a21026": 30 + number / 1000}, crc_dialect="modbus_swapped")
        if raw[-6:-4] == raw[-4:-2]:
            return raw
    raise AssertionError("none found")


def test_a_crc_that_is_right_in_two_dialects_counts_as_the_one_the_device_is_known_for(world):
    Device.objects.filter(mn="MNGAS_OUTLET").update(crc_dialects=["modbus_swapped"])
    assert crc.dialect_of(swapped_alike("MNGAS_OUTLET")[6:-6], swapped_alike("MNGAS_OUTLET")[-6:-2]) == "modbus"
    world.append(RecordKind.FRAME, T0 + HOUR + 60, swapped_alike("MNGAS_OUTLET"))
    assert world.step(T0 + HOUR + 120).new == 1
    assert world.store.dialects()["dialect"].to_pylist() == ["modbus_swapped"]
    assert world.store.warnings("2026-03-10", "2026-03-10").num_rows == 0


def test_held_frames_of_a_stranger_are_quarantined_when_its_dialect_was_not_confirmed_at_adoption(world):
    world.send("MNNEW", "hour", T0, {"a21026": 20}, crc_dialect="modbus")
    world.step(T0 + HOUR + 60)
    Device.objects.create(mn="MNNEW", point=world.city.points["gas_outlet"], units={"a21026": "mg/m³"})
    world.step(T0 + HOUR + 90)
    assert so2(world) == []
    assert world.store.dialects("MNNEW")["frames"].to_pylist() == [1]
    Device.objects.filter(mn="MNNEW").update(crc_dialects=["modbus"])
    world.step(T0 + HOUR + 120)
    assert so2(world) == [20.0]


@pytest.mark.parametrize(
    ("days", "head", "cause"),
    [
        (29, {}, None),
        (31, {}, "old:31"),
        (31, {"rf": "1"}, None),
        (1825, {"rf": "1"}, None),
        (1827, {"rf": "1"}, "history:1827"),
    ],
)
def test_old_data_are_taken_only_when_they_are_marked_as_sent_again(world, days, head, cause):
    recv = T0 + days * DAY
    world.send("MNGAS_OUTLET", "hour", T0, GAS, recv=recv, sent=recv, **head)
    world.step(recv + 10)
    assert world.store.quarantined()["cause"].to_pylist() == ([] if cause is None else [cause])
    assert so2(world) == ([30.0] if cause is None else [])


def test_a_frame_released_by_a_person_is_taken_in_once(world):
    ref = world.send("MNGAS_OUTLET", "hour", T0, GAS, recv=T0 + 40 * DAY)
    world.step(T0 + 40 * DAY + 1)
    release(world, [ref], now=T0 + 40 * DAY + 60)
    assert so2(world) == [30.0]
    release(world, [ref], now=T0 + 40 * DAY + 120)
    release(world, [ref], "dismiss", now=T0 + 40 * DAY + 180)
    [row] = world.store.quarantined(None).to_pylist()
    assert (row["state"], row["who"], row["at"], row["why"]) == (
        "released", "analyst", T0 + 40 * DAY + 60, "核对过现场记录",
    )  # fmt: skip
    day = world.store.device_days("2026-04-19", "2026-04-19").to_pylist()[0]
    assert (day["frames"], day["items"], day["same"]) == (1, 3, 0)


def test_a_frame_dismissed_never_counts(world):
    ref = world.send("MNGAS_OUTLET", "hour", T0 + DAY, GAS, recv=T0 + HOUR)
    world.step(T0 + HOUR + 60)
    release(world, [ref], "dismiss")
    release(world, [ref])
    assert so2(world) == []
    assert world.store.quarantined(None)["state"].to_pylist() == ["dismissed"]


def test_a_message_in_parts_is_held_and_released_as_a_whole(world):
    recv = T0 + 40 * DAY
    for number, values_ in enumerate(({"a21026": 30}, {"a21002": 50}), 1):
        world.append(RecordKind.FRAME, recv, frame("MNGAS_OUTLET", "hour", T0, values_, pno=number, pnum=2))
    world.step(recv + 1)
    [held] = world.store.quarantined().to_pylist()
    assert held["items"] == 2
    world.restart()
    release(world, [held["frame"]], now=recv + 60)
    assert so2(world) == [30.0]
    assert values(world.store, series(world.city.points["gas_outlet"], "a21002")) == [50.0]


def warned(world) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in world.store.warnings("2026-01-01", "2026-12-31").to_pylist():
        counts[row["kind"]] += row["count"]
    return dict(counts)


def test_numbers_that_contradict_themselves_count_with_a_warning(world):
    world.send("MNGAS_OUTLET", "hour", T0, {"a21026": {"Min": 9, "Avg": 5, "Max": 10}, "a21002": 50})
    ref = world.send("MNGAS_OUTLET", "hour", T0 + HOUR, {"a21026": {"Min": 1, "Avg": 50, "Max": 10}})
    world.step(T0 + 2 * HOUR + 120)
    [row] = world.store.warnings("2026-03-10", "2026-03-10").to_pylist()
    assert (row["mn"], row["kind"], row["count"], row["frame"]) == ("MNGAS_OUTLET", "min_avg_max", 2, ref)
    assert so2(world) == [5.0, 50.0]


def test_the_same_item_twice_is_warned_of(world):
    raw = encode(st="31", cn="2061", mn="MNGAS_OUTLET", pw="123456", flag=5, datatime="20260310080000",
                 factors={"a21026": {"Avg": "3"}})  # fmt: skip
    segment = raw[6:-6].replace(b"a21026-Avg=3", b"a21026-Avg=3;a21026-Avg=4")
    world.append(RecordKind.FRAME, T0 + HOUR, b"##%04d%b%b\r\n" % (len(segment), segment, crc.checksum(segment)))
    world.step(T0 + HOUR + 60)
    assert warned(world) == {"repeated": 1}


def test_a_value_out_of_the_registered_range_is_warned_of_as_it_arrives(world):
    Series.objects.filter(point=world.city.points["gas_outlet"], factor="a21026").update(range_low=0, range_high=100)
    for minute, value in enumerate((99, 101, -1)):
        world.send("MNGAS_OUTLET", "rt", T0 + minute * 60, {"a21026": value}, recv=T0 + minute * 60)
    world.step(T0 + 200)
    assert warned(world) == {"out_of_range": 2}


def test_a_time_of_sending_that_cannot_be_read_is_warned_of(world):
    raw = frame("MNGAS_OUTLET", "hour", T0, GAS, sent=T0 + HOUR).replace(b"QN=2026", b"QN=9926")
    segment = raw[6:-6].replace(b"QN=992603", b"QN=992613")
    world.append(RecordKind.FRAME, T0 + HOUR, b"##%04d%b%b\r\n" % (len(segment), segment, crc.checksum(segment)))
    world.step(T0 + HOUR + 60)
    assert warned(world) == {"qn_unreadable": 1}


def test_a_factor_that_usually_comes_and_is_missing_is_warned_of_until_its_absence_is_usual(world):
    for hour in range(10):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, GAS)
    world.step(T0 + 11 * HOUR)
    world.restart()
    for hour in range(10, 25):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, {"a21026": 30, "a21002": 50})
    world.step(T0 + 26 * HOUR)
    assert warned(world) == {"factor_missing": 10}


def test_what_is_usual_is_learned_from_messages_in_a_row():
    known: dict[str, int] = {}
    for sent in ("ab", "ab", "a", "ab", "ab", "a", "a"):
        known_now, missing = usual.follow(known, set(sent), 2)
        known = known if known_now is None else known_now
    assert missing == ["b"]
    assert known == {"a": 2}, "missing twice in a row: no longer usual"
    assert usual.follow({"a": 2, "b": 1}, {"a"}, 2) == ({"a": 2}, []), "not usual yet: nothing is missing"
    assert usual.follow({"a": 2, "b": -1}, {"a", "b"}, 2) == ({"a": 2, "b": 2}, []), "back again"
    assert usual.follow({"a": 2}, {"a"}, 2) == (None, [])


@pytest.mark.service
def test_warnings_dialects_and_quarantine_are_counted_once_also_when_killed(world):
    odd = {"a21026": {"Min": 9, "Avg": 5, "Max": 10}}
    for hour in range(200):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, odd, crc_dialect="modbus" if hour % 4 == 0 else "hj212")
    script, now = SMALL_STEPS.format(now=T0 + 300 * HOUR), T0 + 300 * HOUR
    for pause in (0.02, 0.1, 0.25):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(pause)
        process.kill()
        process.wait()
    world.step(now)
    store = Store(world.folder)
    assert sorted(store.dialects()["frames"].to_pylist()) == [50, 150]
    assert store.quarantine_counts() == {"MNGAS_OUTLET": 50}
    assert warned(world) == {"min_avg_max": 150, "dialect_changed": 99}
