"""Real input: frames that real programs sent are taken, held or shown; real hours of Beijing are judged."""

from __future__ import annotations

import csv
import json
import math

from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import decode
from ceguan.intake.hj212.readings import rows
from ceguan.registry.models import Device, Point
from ceguan.standards import factors
from ceguan.store import RecordKind
from tests.watch.world import HOUR, at, series

NOW = at("2026-06-01 12:00")


def corpus(truth) -> list[bytes]:
    lines = (truth / "hj212/corpus_public.jsonl").read_text(encoding="utf-8").rstrip("\n").split("\n")
    rows = [json.loads(line) for line in lines]
    return [bytes.fromhex(row["frame_hex"]) if row.get("frame_hex") else row["frame"].encode()
            for row in rows if row.get("kind") == "frame" and (row.get("frame_hex") or row.get("frame"))]  # fmt: skip


def test_the_collected_frames_are_held_and_after_adoption_become_readings(world, truth):
    frames = corpus(truth)
    for number, raw in enumerate(frames):
        world.append(RecordKind.FRAME, NOW + number / 100, raw)
    report = world.step(NOW + HOUR)
    assert (report.records, report.held + report.bad) == (len(frames), len(frames))
    assert report.held > len(frames) / 2
    waiting = world.store.unknown_devices()
    region = world.city.east
    for number, one in enumerate(waiting):
        point = Point.objects.create(
            code=f"X{number}", name_zh="样例", kind="gas_outlet", region=region, lon=104, lat=35
        )
        codes = {factors.current_code(code) for code in one["factors"]} | set(one["factors"])
        units = {code: (known.symbol if (known := factors.find(code)) else "") or "无量纲" for code in codes}
        if one["mn"]:
            Device.objects.create(mn=one["mn"][:40], point=point, units=units, crc_dialects=crc.DIALECTS[1:])
    report = world.step(NOW + HOUR + 60)
    assert report.errors == []
    whole = [decoded for raw in frames if (decoded := decode(raw)).ok and decoded.mn and not decoded.pnum]
    assert report.readings + report.quarantined >= sum(len(rows(decoded).items) for decoded in whole)
    world.send("MNAIR", "hour", NOW + 3 * HOUR, {"a34004": 20})
    report = world.step(NOW + 5 * HOUR)  # parts whose others never came, after the time they are waited for: years old
    assert report.readings + report.quarantined > 20
    assert world.clockwork.materialiser.waiting == {}


FACTORS = {"PM2.5": "a34004", "PM10": "a34002", "SO2": "a21026", "NO2": "a21004", "CO": "a21005", "O3": "a05024"}


def test_two_months_of_a_real_station_are_imported_judged_and_their_holes_named(world, truth):
    with open(truth / "standards/data_samples/uci_beijing_Dongsi_2014-01_02.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    point, content, seen = world.city.points["air"], [], set()
    Device.objects.filter(point=point).delete()
    for number, line in enumerate(lines):
        ts = at(f"{line['year']}-{int(line['month']):02}-{int(line['day']):02} {int(line['hour']):02}:00")
        for name, factor in FACTORS.items():
            if line[name] != "NA":
                value = float(line[name]) / (1000 if name == "CO" else 1)
                content.append([series(point, factor), 2, ts, value, "", number])
                seen.add(ts)
    world.json(RecordKind.IMPORT, NOW, {"file": "uci.csv", "by": "analyst", "rows": content})
    report = world.step(NOW + HOUR)
    assert (report.new, report.errors) == (len(content), [])
    verdicts = world.store.verdicts(point.pk, "aqi-hour").to_pylist()
    assert {row["ts"] for row in verdicts} == seen
    assert {row["edition"] for row in verdicts} == {"HJ 633-2012"}
    assert all(row["outcome"] == "given" and not math.isnan(row["value"]) for row in verdicts)
    assert world.store.verdicts(point.pk, "aqi-day").num_rows == 59
    holes = world.store.gaps([series(point, "a34004")], 2, 0, at("2014-03-01 00:00")).to_pylist()
    missing = sum(line["PM2.5"] == "NA" for line in lines)
    assert sum(gap["ts_to"] - gap["ts_from"] for gap in holes if gap["cause"] in ("file", "factor")) == missing * HOUR
