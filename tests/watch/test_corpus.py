"""Frames that real programs sent: each one is taken, held or shown, none stops the clockwork."""

from __future__ import annotations

import json

from ceguan.intake.hj212.frame import decode
from ceguan.intake.hj212.readings import rows
from ceguan.registry.models import Device, Point
from ceguan.standards import factors
from ceguan.store import RecordKind
from tests.watch.world import HOUR, at

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
            Device.objects.create(mn=one["mn"][:40], point=point, units=units)
    report = world.step(NOW + HOUR + 60)
    assert report.errors == []
    whole = [decoded for raw in frames if (decoded := decode(raw)).ok and decoded.mn and not decoded.pnum]
    assert report.readings + report.quarantined >= sum(len(rows(decoded).items) for decoded in whole)
    world.send("MNAIR", "hour", NOW + 3 * HOUR, {"a34004": 20})
    assert world.step(NOW + 5 * HOUR).readings > 20  # parts whose others never came, after the time they are waited for
    assert world.clockwork.materialiser.waiting == {}
