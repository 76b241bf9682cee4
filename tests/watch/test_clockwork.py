"""From archive to ledger: what arrived counts once, what cannot count is shown, what changes is judged anew."""

from __future__ import annotations

import json
import math

import pytest

from ceguan.intake import keys
from ceguan.intake.hj212.frame import encode
from ceguan.registry.models import Device, Maintenance, PermitLimit, Series
from ceguan.store import LedgerTakenError, RecordKind
from ceguan.watch import findings
from ceguan.watch.clockwork import Clockwork
from ceguan.watch.findings import when
from ceguan.watch.models import Change, Finding
from ceguan.words import Kind, Period
from tests.watch.world import DAY, HOUR, at, frame, series, values

T0 = at("2026-03-10 08:00")
AIR = {"a21026": 10, "a21004": 30, "a21005": 0.6, "a05024": 80, "a34002": 60, "a34004": 30}


def test_an_hourly_frame_becomes_readings_with_the_reference_of_its_frame(world):
    ref = world.send("MNAIR", "hour", T0, AIR)
    report = world.step(T0 + HOUR + 120)
    assert (report.new, report.same, report.changed) == (6, 0, 0)
    row = world.store.readings([series(world.city.points["air"], "a34004")], Kind.HOUR, 0, 1 << 40).to_pylist()[0]
    assert (row["ts"], row["value"], row["flag"], row["frame"]) == (T0, 30.0, "N", ref)


def test_a_resent_frame_changes_nothing_and_with_another_value_becomes_a_new_version(world):
    world.send("MNAIR", "hour", T0, AIR)
    world.step(T0 + HOUR + 120)
    world.send("MNAIR", "hour", T0, AIR, recv=T0 + 2 * HOUR)
    assert world.step(T0 + 2 * HOUR + 60).same == 6
    world.send("MNAIR", "hour", T0, AIR | {"a34004": 300}, recv=T0 + 3 * HOUR)
    assert world.step(T0 + 3 * HOUR + 60).changed == 1
    found = world.store.verdicts(world.city.points["air"].pk, "aqi-hour", all_versions=True).to_pylist()
    assert [(row["ver"], row["value"]) for row in found] == [(0, 58.0), (1, 350.0)]


def test_an_hour_of_air_is_judged_by_the_edition_of_its_date(world):
    world.send("MNAIR", "hour", at("2026-02-28 23:00"), AIR)
    world.send("MNAIR", "hour", at("2026-03-01 00:00"), AIR)
    world.step(at("2026-03-01 02:00"))
    found = world.store.verdicts(world.city.points["air"].pk, "aqi-hour").to_pylist()
    assert [row["edition"] for row in found] == ["HJ 633-2012", "HJ 633-2026"]
    assert json.loads(found[0]["inputs"])[0][1:] == [Kind.HOUR, at("2026-02-28 23:00"), 0]


def test_a_unit_confirmed_at_adoption_is_converted_to_the_unit_of_the_series(world):
    Device.objects.filter(mn="MNAIR").update(units={"a34004": "mg/m3"})
    world.send("MNAIR", "hour", T0, {"a34004": 0.03})
    world.step(T0 + HOUR + 120)
    assert values(world.store, series(world.city.points["air"], "a34004")) == [pytest.approx(30)]


def test_a_new_factor_becomes_a_series_only_when_its_unit_was_confirmed(world):
    world.send("MNAIR", "hour", T0, {"a01001": 12.5})
    world.step(T0 + HOUR + 120)
    assert not Series.objects.filter(factor="a01001").exists()
    assert world.clockwork.unconfirmed == {("MNAIR", "a01001"): 1}
    Device.objects.filter(mn="MNAIR").update(units={"a01001": "℃"})
    world.send("MNAIR", "hour", T0 + HOUR, {"a01001": 13.0})
    world.step(T0 + 2 * HOUR + 120)
    assert Series.objects.get(factor="a01001").unit == "℃"
    assert not world.clockwork.unconfirmed
    assert values(world.store, series(world.city.points["air"], "a01001")) == [13.0]


def test_the_days_that_are_over_are_summed_up_and_a_late_hour_sums_up_its_own_again(world):
    one = series(world.city.points["air"], "a34004")
    for hour in (T0, T0 + HOUR, T0 + DAY):
        world.send("MNAIR", "hour", hour, AIR)
    assert world.step(T0 + DAY + HOUR + 120).settled == len(AIR)
    assert world.store.aggregates_kept().marked == len(AIR)  # today
    world.send("MNAIR", "hour", T0 + 2 * HOUR, {"a34004": 90}, recv=T0 + DAY + 2 * HOUR)
    assert world.step(T0 + DAY + 2 * HOUR + 120).settled == 1
    days = world.store.aggregates([one], Kind.HOUR, Period.DAY, T0 - DAY, T0 + 2 * DAY)
    assert list(zip(*(days[name].to_pylist() for name in ("present", "mean")), strict=True)) == [(3, 50.0), (1, 30.0)]
    assert list(world.store.aggregate_differences()) == []


def test_an_unknown_device_is_held_and_counted_nowhere_until_it_is_adopted(world):
    world.send("MNNEW", "hour", T0, {"a34004": 20})
    world.send("MNNEW", "hour", T0 + HOUR, {"a34004": 21})
    world.step(T0 + 2 * HOUR + 60)
    waiting = world.store.unknown_devices()
    assert [(one["mn"], one["frames"], one["factors"]) for one in waiting] == [("MNNEW", 2, {"a34004": "21"})]
    assert world.store.latest().num_rows == 0
    point = world.city.points["air"]
    Device.objects.create(mn="MNNEW", point=point, units={"a34004": "μg/m³"})
    world.step(T0 + 2 * HOUR + 90)
    assert values(world.store, series(point, "a34004")) == [20.0, 21.0]
    assert world.store.unknown_devices() == []


def test_held_frames_are_left_aside_when_the_adoption_says_so(world):
    world.send("MNNEW", "hour", T0, {"a34004": 20})
    world.step(T0 + HOUR + 60)
    point = world.city.points["air"]
    Device.objects.create(mn="MNNEW", point=point, units={"a34004": "μg/m³"}, take_held=False)
    world.step(T0 + HOUR + 90)
    assert world.store.unknown_devices() == []
    assert world.store.latest().num_rows == 0


def test_a_frame_from_the_future_is_quarantined_and_shown(world):
    world.send("MNAIR", "hour", T0 + DAY, AIR, recv=T0 + HOUR)
    report = world.step(T0 + HOUR + 60)
    assert report.quarantined == 6
    assert world.store.latest().num_rows == 0
    [held] = world.store.quarantined().to_pylist()
    assert (held["mn"], held["cause"], held["items"]) == ("MNAIR", "future:1380", 6)


def test_a_broken_frame_is_counted_for_its_device(world):
    raw = frame("MNAIR", "hour", T0, AIR)
    world.append(RecordKind.BAD, T0 + HOUR, raw[:-6] + b"0000\r\n")
    world.step(T0 + HOUR + 60)
    assert world.store.bad_frames().select(["mn", "error"]).to_pylist() == [{"mn": "MNAIR", "error": "crc"}]
    assert world.store.device_days("2026-03-10", "2026-03-10")["bad"].to_pylist() == [1]


def test_a_frame_whose_key_was_entered_later_is_no_refused_one(world):
    key = "0123456789abcdef"
    area = {"a34004": {"Avg": "30"}}
    raw = encode(st="22", cn="2061", mn="MNAIR", flag=9, datatime="20260310080000", factors=area, key=key.encode())
    world.append(RecordKind.BAD, T0 + HOUR, raw)
    keys.enter(Device.objects.get(mn="MNAIR"), key, world.city.users["admin"], "入网", T0 + HOUR)
    world.step(T0 + HOUR + 60)
    assert world.store.bad_frames()["error"].to_pylist() == ["encrypted"]


def test_the_day_of_a_device_counts_frames_items_and_what_came_late(world):
    world.send("MNAIR", "hour", T0, AIR)
    world.send("MNAIR", "hour", T0 - 5 * HOUR, AIR, recv=T0 + HOUR + 70)
    world.send("MNAIR", "hour", T0, AIR, recv=T0 + HOUR + 80)
    world.step(T0 + HOUR + 120)
    day = world.store.device_days("2026-03-10", "2026-03-10").to_pylist()[0]
    assert (day["frames"], day["items"], day["late"], day["same"]) == (3, 18, 1, 6)
    assert day["max_delay"] == 5 * HOUR + 70


def test_parts_of_a_message_wait_for_each_other_also_over_a_restart(world):
    first = frame("MNAIR", "hour", T0, {"a34004": 30}, pno=1, pnum=2)
    second = frame("MNAIR", "hour", T0, {"a34002": 60}, pno=2, pnum=2)
    ref = world.append(RecordKind.FRAME, T0 + HOUR, first)
    world.step(T0 + HOUR + 10)
    assert world.store.latest().num_rows == 0
    world.restart()
    later = world.append(RecordKind.FRAME, T0 + HOUR + 20, second)
    world.step(T0 + HOUR + 30)
    latest = world.store.latest().to_pylist()
    assert {row["value"]: row["frame"] for row in latest} == {30.0: ref, 60.0: later}


def test_a_part_whose_other_half_never_comes_is_taken_after_an_hour(world):
    world.append(RecordKind.FRAME, T0 + HOUR, frame("MNAIR", "hour", T0, {"a34004": 30}, pno=1, pnum=2))
    world.step(T0 + HOUR + 10)
    world.send("MNAIR", "hour", T0 + 2 * HOUR, {"a34002": 60})
    world.step(T0 + 3 * HOUR + 100)
    assert sorted(world.store.latest()["value"].to_pylist()) == [30.0, 60.0]


def test_an_enciphered_frame_is_read_with_an_old_key_of_its_device(world):
    device = Device.objects.get(mn="MNGAS_OUTLET")
    analyst = world.city.users["analyst"]
    for n, key in enumerate(("0123456789abcdef", "fedcba9876543210")):
        keys.enter(device, key, analyst, "录入", at("2026-03-10 00:00") + n)
    one = series(world.city.points["gas_outlet"], "a21026")
    world.send("MNGAS_OUTLET", "hour", at("2026-03-10 08:00"), {"a21026": 31.5}, key=b"0123456789abcdef")
    world.step(at("2026-03-10 10:00"))
    assert values(world.store, one) == [31.5]


def test_what_the_platform_sent_becomes_no_reading(world):
    one = series(world.city.points["gas_outlet"], "a21026")
    world.append(
        RecordKind.SENT, at("2026-03-10 09:01"), frame("MNGAS_OUTLET", "hour", at("2026-03-10 08:00"), {"a21026": 9})
    )
    report = world.step(at("2026-03-10 10:00"))
    assert (report.records, report.new, report.bad) == (1, 0, 0)
    assert values(world.store, one) == []


def test_imported_rows_become_readings(world):
    number = series(world.city.points["water"], "w21003")
    rows = [
        [number, 2, T0, 0.4, "", 2],
        [number, 2, T0 + 4 * HOUR, None, "", 3],
        [number, 2, T0 + 8 * HOUR, 0.005, "L", 4],
    ]
    world.json(RecordKind.IMPORT, T0 + DAY, {"file": "a.csv", "by": "analyst", "rows": rows})
    world.step(T0 + DAY + 1)
    assert [v for v in values(world.store, number) if not math.isnan(v)] == [0.4, 0.005]


def test_a_record_nobody_can_read_is_kept_among_the_bad_ones_and_does_not_stop_the_rest(world):
    world.append(RecordKind.IMPORT, T0, b"{nonsense", 64)
    world.json(RecordKind.IMPORT, T0, {"rows": [[999999, 2, T0, 1.0, "", 1]]})
    world.send("MNAIR", "hour", T0, AIR)
    assert world.step(T0 + HOUR + 60).new == 6
    assert all(error.startswith("import:") for error in world.store.bad_frames()["error"].to_pylist())


def test_a_decision_changes_the_verdict_it_concerns(world):
    world.send("MNAIR", "hour", T0, AIR | {"a34004": 300})
    world.step(T0 + HOUR + 120)
    content = {"series": series(world.city.points["air"], "a34004"), "kind": 2, "ts_from": T0, "ts_to": T0 + HOUR,
               "action": "substitute", "value": 30.0, "who": "analyst", "why": "采样管脱落"}  # fmt: skip
    world.json(RecordKind.DECISION, T0 + 2 * HOUR, content)
    world.step(T0 + 2 * HOUR + 1)
    found = world.store.verdicts(world.city.points["air"].pk, "aqi-hour", all_versions=True)["value"].to_pylist()
    assert found == [350.0, 58.0]


def test_a_value_out_of_range_is_flagged_and_left_out_of_the_verdict(world):
    world.send("MNAIR", "hour", T0, AIR | {"a34002": 99999})
    world.step(T0 + HOUR + 120)
    flags = world.store.flags([series(world.city.points["air"], "a34002")], Kind.HOUR, 0, 1 << 40).to_pylist()
    assert ("range", 4) in [(flag["test"], flag["outcome"]) for flag in flags]
    row = world.store.verdicts(world.city.points["air"].pk, "aqi-hour").to_pylist()[0]
    detail = json.loads(row["detail"])
    assert detail["excluded"] == {"a34002": "质控不合格（超量程）"}
    assert row["outcome"] == "not_evaluated"  # HJ 633-2026 5.3: PM10 is missing


def test_a_daily_aqi_waits_until_its_day_is_over_and_then_counts_every_hour(world):
    start = at("2026-03-10 00:00")
    for hour in range(24):
        world.send("MNAIR", "hour", start + hour * HOUR, AIR)
    world.step(start + 23 * HOUR)
    assert world.store.verdicts(rule="aqi-day").num_rows == 0
    world.step(start + DAY + 1800)
    row = world.store.verdicts(rule="aqi-day").to_pylist()[0]
    assert (row["ts"], row["outcome"], len(json.loads(row["inputs"]))) == (start, "given", 144)


def test_a_water_sample_gets_its_class(world):
    world.send("MNWATER", "hour", T0, {"w01001": 7.5, "w01009": 6.2, "w01019": 3, "w21003": 0.3, "w21011": 0.25})
    world.step(T0 + HOUR + 60)
    row = world.store.verdicts(rule="water-class").to_pylist()[0]
    assert (row["level"], row["value"], json.loads(row["detail"])["worst"]) == ("Ⅳ", 4.0, ["tp"])


def test_a_night_too_loud_for_its_zone_is_told_apart_from_the_day(world):
    start = at("2026-03-10 06:00")
    for hour in range(24):
        world.send("MNNOISE", "hour", start + hour * HOUR, {"LA": {"Data": 55.0}})
    world.step(start + 25 * HOUR)
    found = {row["rule"]: row for row in world.store.verdicts(world.city.points["noise"].pk).to_pylist()}
    assert found["noise-day"]["outcome"] == "within"
    assert (found["noise-night"]["outcome"], found["noise-night"]["ts"]) == ("over", start + 16 * HOUR)


def test_a_dose_rate_gets_a_statement_not_a_verdict(world):
    world.send("MNRADIATION", "hour", T0, {"r01001": 90.0})
    world.step(T0 + HOUR + 60)
    assert world.store.verdicts(rule="radiation-hour")["outcome"].to_pylist() == ["within"]


def gas(value: float, zs: float | None = None, flag: str = "N") -> dict:
    fields = {"Avg": value, "Flag": flag}
    return {"a21026": fields if zs is None else fields | {"ZsAvg": zs}}


def test_an_exceedance_becomes_a_finding_and_the_next_one_folds_into_it(world):
    outlet = world.city.points["gas_outlet"]
    for hour in range(3):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, gas(40, zs=75 if hour else 40))
        world.step(T0 + (hour + 1) * HOUR + 120)
    finding = Finding.objects.get(point=outlet, rule="limit-hour:a21026")
    assert (finding.count, finding.level, len(finding.verdicts)) == (2, 2, 2)
    assert finding.first_at.timestamp() == T0 + HOUR
    assert finding.last_at.timestamp() == T0 + 2 * HOUR
    assert finding.detail["multiple"] == 0.5
    verdict = world.store.verdict(finding.verdicts[0])
    assert (verdict["outcome"], verdict["value"], verdict["inputs"][0][2]) == ("over", 75.0, T0 + HOUR)


def test_what_was_told_but_not_yet_forgotten_when_the_clockwork_died_is_not_told_again(world, monkeypatch):
    monkeypatch.setattr("ceguan.watch.clockwork.AT_ONCE", 2)
    for hour in range(5):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, gas(40, zs=75))
    world.step(T0 + 5 * HOUR + 120)
    world.send("MNGAS_OUTLET", "hour", T0, gas(40, zs=45), recv=T0 + 6 * HOUR)
    world.step(T0 + 6 * HOUR + 60)
    findings = Finding.objects.filter(rule="limit-hour:a21026")
    told = list(findings.values())
    assert (told[0]["count"], len(told[0]["verdicts"]), len(told)) == (5, 6, 1)
    numbers = told[0]["verdicts"]
    with world.clockwork.store.ledger.batch() as batch:
        batch.note("outbox", [*((number, None) for number in numbers[:5]), (numbers[5], numbers[0])])
    world.restart()
    world.step(T0 + 6 * HOUR + 61)
    assert list(findings.values()) == told
    assert [event.action for event in findings.get().events.all()] == ["raised", "revised"]
    assert world.clockwork.store.note("outbox") == []


def test_an_hour_flagged_by_the_device_is_not_judged_and_says_why(world):
    world.send("MNGAS_OUTLET", "hour", T0, gas(400, zs=700, flag="M"))
    world.step(T0 + HOUR + 120)
    row = world.store.verdicts(rule="limit-hour:a21026").to_pylist()[0]
    assert row["outcome"] == "not_evaluated"
    assert "设备标记 M（维护）" in json.loads(row["detail"])["zh"]
    assert not Finding.objects.filter(rule="limit-hour:a21026").exists()


def test_an_hour_the_device_did_not_send_is_recomputed_from_its_minutes_once_it_is_over(world):
    for minute in range(0, 60, 10):
        world.send("MNGAS_OUTLET", "minute", T0 + minute * 60, gas(40, zs=60))
        world.step(T0 + minute * 60 + 700)
    assert world.store.verdicts(rule="limit-hour:a21026").num_rows == 0
    world.step(T0 + HOUR + 1300)
    row = world.store.verdicts(rule="limit-hour:a21026").to_pylist()[0]
    assert (row["outcome"], row["value"], len(json.loads(row["inputs"]))) == ("over", 60.0, 6)
    assert json.loads(row["detail"])["origin"] == "minutes"


def test_a_corrected_value_gives_a_new_verdict_and_the_finding_says_so(world):
    world.send("MNGAS_OUTLET", "hour", T0, gas(40, zs=75))
    world.step(T0 + HOUR + 120)
    world.send("MNGAS_OUTLET", "hour", T0, gas(40, zs=45), recv=T0 + 5 * HOUR)
    world.step(T0 + 5 * HOUR + 60)
    found = world.store.verdicts(rule="limit-hour:a21026", all_versions=True).to_pylist()
    assert [(row["ver"], row["outcome"]) for row in found] == [(0, "over"), (1, "within")]
    finding = Finding.objects.get(rule="limit-hour:a21026")
    assert finding.state == "ended"
    assert [event.action for event in finding.events.all()] == ["raised", "revised", "ended"]


def test_a_limit_is_the_one_in_force_on_the_day_of_the_hour(world):
    limit = world.city.limit
    limit.valid_to = when(T0 - DAY).date()
    limit.save()
    world.send("MNGAS_OUTLET", "hour", T0, gas(40, zs=75))
    world.send("MNGAS_OUTLET", "hour", T0 - 3 * DAY, gas(40, zs=75), recv=T0 + HOUR)
    world.step(T0 + HOUR + 120)
    assert world.store.verdicts(rule="limit-hour:a21026")["ts"].to_pylist() == [T0 - 3 * DAY]


def test_a_late_hour_changes_the_daily_mean_of_wastewater(world):
    PermitLimit.objects.filter(factor="w01018").update(unit="mg/L")
    start = at("2026-03-10 00:00")
    for hour in range(23):
        world.send("MNWATER_OUTLET", "hour", start + hour * HOUR, {"w01018": 49, "w00000": 10})
    world.step(start + DAY + 1800)
    world.send("MNWATER_OUTLET", "hour", start + 23 * HOUR, {"w01018": 98, "w00000": 10}, recv=start + DAY + HOUR)
    world.step(start + DAY + HOUR + 60)
    found = world.store.verdicts(rule="limit-day:w01018", all_versions=True).to_pylist()
    assert [(row["outcome"], round(row["value"], 3)) for row in found] == [("within", 49.0), ("over", 51.042)]
    assert Finding.objects.get(rule="limit-day:w01018").verdicts == [found[1]["id"]]


def test_a_limit_in_a_unit_that_cannot_be_converted_says_so(world):
    PermitLimit.objects.filter(factor="a21026").update(unit="ppm")
    world.send("MNGAS_OUTLET", "hour", T0, gas(40, zs=75))
    world.step(T0 + HOUR + 120)
    row = world.store.verdicts(rule="limit-hour:a21026").to_pylist()[0]
    assert row["outcome"] == "not_evaluated"
    assert "ppm" in json.loads(row["detail"])["zh"]


def test_maintenance_is_shown_on_the_verdict(world):
    point, user = world.city.points["gas_outlet"], world.city.users["admin"]
    Maintenance.objects.create(point=point, start=when(T0), end=when(T0 + HOUR), reason="更换滤芯", by=user)
    world.send("MNGAS_OUTLET", "hour", T0, gas(40, zs=75))
    world.step(T0 + HOUR + 120)
    assert json.loads(world.store.verdicts(rule="limit-hour:a21026")["detail"][0].as_py())["maintenance"] == "更换滤芯"


def test_every_missing_hour_has_a_cause(world):
    point = world.city.points["air"]
    window = {
        "start": when(T0 + 6 * HOUR),
        "end": when(T0 + 7 * HOUR),
        "reason": "校准",
        "by": world.city.users["admin"],
    }
    Maintenance.objects.create(point=point, **window)
    for hour in range(11):
        start = T0 + hour * HOUR
        if hour not in (1, 2, 4, 6, 8):
            world.send("MNAIR", "hour", start, AIR if hour != 3 else {"a34002": 60})
        if hour == 4:
            world.append(RecordKind.BAD, start + HOUR + 60, frame("MNAIR", "hour", start, AIR)[:-6] + b"0000\r\n")
        if hour != 8:
            world.send("MNWATER", "hour", start, {"w01001": 7})
    world.step(T0 + 13 * HOUR)
    found = world.store.gaps([series(point, "a34004")], Kind.HOUR, 0, 1 << 40).to_pylist()
    hours = [((gap["ts_from"] - T0) // HOUR, (gap["ts_to"] - T0) // HOUR, gap["cause"]) for gap in found]
    assert hours == [(1, 3, "packet"), (3, 4, "factor"), (4, 5, "bad_frame"), (6, 7, "maintenance:校准"),
                     (8, 9, "platform"), (11, 12, "platform")]  # fmt: skip


def test_late_data_close_their_gap(world):
    for hour in (0, 2, 3):
        world.send("MNAIR", "hour", T0 + hour * HOUR, AIR)
    world.step(T0 + 5 * HOUR)
    number = series(world.city.points["air"], "a34004")
    assert world.store.gaps([number], Kind.HOUR, 0, 1 << 40)["ts_from"].to_pylist() == [T0 + HOUR]
    world.send("MNAIR", "hour", T0 + HOUR, AIR, recv=T0 + 4.99 * HOUR)
    world.step(T0 + 5 * HOUR + 20)
    assert world.store.gaps([number], Kind.HOUR, 0, 1 << 40).num_rows == 0


def test_a_silent_outlet_is_one_change_one_finding_and_ends_by_itself(world):
    outlet = world.city.points["gas_outlet"]
    world.send("MNGAS_OUTLET", "hour", T0, gas(10, zs=20))
    world.step(T0 + HOUR + 120)
    for hour in range(2, 12):
        world.step(T0 + hour * HOUR)
    states = list(Change.objects.filter(point=outlet).order_by("id").values_list("after", flat=True))
    assert states == ["live", "late", "silent"]
    finding = Finding.objects.get(point=outlet, rule="silent")
    assert (finding.level, finding.count, finding.first_at.timestamp()) == (2, 1, T0 + HOUR + 60)
    world.send("MNGAS_OUTLET", "hour", T0 + 11 * HOUR, gas(10, zs=20))
    world.step(T0 + 12 * HOUR + 120)
    finding.refresh_from_db()
    assert finding.state == "ended"


def test_no_status_is_computed_while_there_is_a_backlog(world):
    for hour in range(6):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, gas(10, zs=20))
    clockwork = world.clockwork = Clockwork(world.settings, batch_records=4)
    report = clockwork.step(T0 + 90 * DAY)
    assert not report.caught_up
    assert report.backlog_bytes > 0
    assert not Change.objects.exists()


def test_a_device_whose_clock_is_steadily_off_is_found_and_ends_when_it_is_right_again(world):
    for minute in range(6):
        recv = T0 + minute * 60
        world.send("MNAIR", "rt", recv - 900, {"a34004": 30 + minute}, recv=recv, sent=recv - 900)
    world.step(T0 + 600)
    finding = Finding.objects.get(rule="clock")
    assert (finding.point.code, finding.detail["drift_seconds"]) == ("air", -900)
    for minute in range(10, 16):
        recv = T0 + minute * 60
        world.send("MNAIR", "rt", recv, {"a34004": 30}, recv=recv)
    world.step(T0 + 1200)
    finding.refresh_from_db()
    assert finding.state == "ended"


def test_frames_sent_late_after_an_outage_are_no_clock_drift(world):
    for hour in range(8):
        world.send("MNAIR", "hour", T0 + hour * HOUR, AIR, recv=T0 + 9 * HOUR + hour, sent=T0 + (hour + 1) * HOUR)
    world.step(T0 + 9 * HOUR + 60)
    assert not Finding.objects.filter(rule="clock").exists()


def test_a_constant_value_at_an_outlet_is_one_lead_of_level_1_until_it_changes(world):
    for hour in range(14):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, gas(33.3, zs=40))
        world.step(T0 + (hour + 1) * HOUR + 120)
    finding = Finding.objects.get(rule="flatline:a21026")
    assert (finding.level, finding.count) == (1, 1)
    assert (finding.detail["from"], finding.detail["to"]) == (T0, T0 + 13 * HOUR)
    world.send("MNGAS_OUTLET", "hour", T0 + 14 * HOUR, gas(34.1, zs=40))
    world.step(T0 + 15 * HOUR + 120)
    finding.refresh_from_db()
    assert finding.state == "ended"


def test_a_constant_value_that_was_explained_is_not_raised_again_an_hour_later(world):
    for hour in range(16):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, gas(33.3, zs=40))
        world.step(T0 + (hour + 1) * HOUR + 120)
        if hour == 12:
            finding = Finding.objects.get(rule="flatline:a21026")
            findings.dismiss(finding, world.city.users["duty"], "停产，示值归零点", T0 + 13 * HOUR + 200)
    assert Finding.objects.filter(rule="flatline:a21026").count() == 1


def test_minutes_are_tested_too(world):
    world.send("MNWATER_OUTLET", "minute", T0, {"w01001": 15.5})
    Series.objects.get_or_create(point=world.city.points["water_outlet"], factor="w01001", defaults={"unit": "无量纲"})
    Device.objects.filter(mn="MNWATER_OUTLET").update(units={"w01001": "无量纲"})
    world.step(T0 + 700)
    flags = world.store.flags([series(world.city.points["water_outlet"], "w01001")], Kind.MINUTE, 0, 1 << 40)
    assert flags.select(["test", "outcome"]).to_pylist() == [{"test": "range", "outcome": 4}]


def test_every_run_of_a_test_is_proved_with_version_and_parameters(world):
    world.send("MNAIR", "hour", T0, AIR)
    world.step(T0 + HOUR + 120)
    runs = world.store.quality_runs([series(world.city.points["air"], "a34004")], Kind.HOUR, T0, T0 + HOUR).to_pylist()
    proved = {run["test"]: (run["version"], json.loads(run["params"])) for run in runs}
    assert proved["range"] == ("1", {"low": -5.0, "high": 2000.0})
    assert set(proved) == {"missing", "range", "flat_line", "spike", "clock"}
    assert "不足" in proved["spike"][1]["not_evaluated"]
    assert {(run["ts_from"], run["ts_to"]) for run in runs} == {(T0, T0 + 1)}


def test_only_one_clockwork_may_run(world):
    world.step(T0)
    with pytest.raises(LedgerTakenError):
        Clockwork(world.settings)


def test_one_point_that_cannot_be_judged_does_not_stop_the_others_and_is_named(world):
    point = world.city.points["water"]
    point.properties = {"waterbody": "river", "target_class": "third"}
    point.save()
    world.send("MNWATER", "hour", T0, {"w01001": 7.5, "w01009": 6.2, "w01019": 3, "w21003": 0.3, "w21011": 0.1})
    world.send("MNAIR", "hour", T0, AIR)
    report = world.step(T0 + HOUR + 120)
    assert report.errors
    assert report.errors[0].startswith("water hours")
    assert world.store.verdicts(rule="aqi-hour").num_rows == 1
    point.properties = {"waterbody": "river", "target_class": 3}
    point.save()
    world.restart()
    world.step(T0 + HOUR + 180)
    assert world.store.verdicts(rule="water-class").num_rows == 1
