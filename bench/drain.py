"""Values per second that the clockwork takes in from the archive: real-time, minute and hourly frames of ten factors.

python bench/drain.py [--devices 300] [--minutes 60]

Each device sends 2011 every 30 s, 2051 every 10 min, 2061 every hour. The runs are interleaved; what counts is the
ratio between them: fresh; with 5 % sent twice; with 5 % of 30 days ago; the same when that month is sealed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

HOUR, DAY = 3600, 86400
MARCH = 1_772_294_400  # 2026-03-01 00:00 Beijing
BEGIN = MARCH + 35 * DAY
FACTORS = ("a21026", "a21002", "a34013", "a19001", "a01012", "a01011", "a01013", "a01014", "a00000", "a21005")
CNS = {"2011": ("Rtd",), "2051": ("Avg", "Min", "Max"), "2061": ("Avg", "Min", "Max")}


def build(count: int) -> list[str]:
    """Registers; returns the MNs."""
    from ceguan.registry import models

    region = models.Region.objects.create(code="99", name_zh="基准市", name_en="Bench")
    names = []
    for number in range(count):
        point = models.Point.objects.create(
            code=f"p{number}", name_zh="口", kind="gas_outlet", region=region, lon=104, lat=35,
            live_from=date(2020, 1, 1), properties={"o2_ref": 9},
        )  # fmt: skip
        for factor in FACTORS:
            models.Series.objects.create(point=point, factor=factor, name_zh=factor, unit="mg/m³")
        names.append(f"BENCH{number:019d}")
        models.Device.objects.create(mn=names[-1], point=point, units=dict.fromkeys(FACTORS, "mg/m³"))
    return names


def frame(mn: str, cn: str, ts: int, recv: float, values: Any) -> bytes:
    from ceguan.intake.hj212.frame import encode
    from ceguan.intake.hj212.readings import write_time

    factors = {
        factor: {name: f"{value + k * 0.001:.3f}" for name, k in zip(CNS[cn], (0, -1, 1), strict=False)} | {"Flag": "N"}
        for factor, value in zip(FACTORS, values, strict=True)
    }
    return encode(
        st="31", cn=cn, mn=mn, pw="123456", qn=write_time(recv) + "000", flag=5, datatime=write_time(ts),
        factors=factors,
    )  # fmt: skip


def frames(names: list[str], start: int, minutes: int, rng: np.random.Generator) -> list[tuple[float, bytes]]:
    """(reception, frame) of some minutes, in the order of reception."""
    found = []
    for ts in range(start, start + 60 * minutes, 30):
        for number, mn in enumerate(names):
            values, recv = rng.lognormal(2, 0.3, len(FACTORS)), ts + 1 + number / len(names) * 20
            found.append((recv, frame(mn, "2011", ts, recv, values)))
            if ts % 600 == 0:
                found.append((recv, frame(mn, "2051", ts - 600, recv, values)))
            if ts % HOUR == 0:
                found.append((recv, frame(mn, "2061", ts - HOUR, recv, values)))
    return found


def spoiled(found: list[tuple[float, bytes]], names: list[str], how: str, rng: np.random.Generator) -> Any:
    """5 % of the frames again, or as many of 30 days ago in their place."""
    every, result = 20, []
    for number, (recv, raw) in enumerate(found):
        result.append((recv, raw))
        if number % every == 0 and how == "twice":
            result[-1:] = [(recv, raw), (recv, raw)]
        elif number % every == 0 and how.startswith("late"):
            ts = int(recv) - 30 * DAY + 60
            values = rng.lognormal(2, 0.3, len(FACTORS))
            result[-1] = recv, frame(names[number // every % len(names)], "2011", ts, recv, values)
    return result


def drain(clockwork: Any, folder: Path, stream: int, found: list[tuple[float, bytes]], now: float) -> dict[str, float]:
    from ceguan.store import ArchiveWriter, RecordKind

    with ArchiveWriter(folder / "archive", stream) as writer:
        for recv, raw in found:
            writer.append(RecordKind.FRAME, recv, "10.0.0.1:1", raw)
    began, cpu, readings = time.perf_counter(), time.process_time(), 0
    while True:
        report = clockwork.step(now)
        readings += report.readings
        if report.caught_up:
            break
    return {
        "values": readings, "seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"CEGUAN_DATA": name, "DJANGO_SETTINGS_MODULE": "ceguan.django_settings"}
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        from ceguan import settings
        from ceguan.watch.clockwork import Clockwork

        folder, rng, names = Path(name), np.random.default_rng(7), build(given.devices)
        with Clockwork(settings.load()) as clockwork:
            start = BEGIN
            learnt = frames(names, BEGIN - 31 * DAY, 20, rng) + frames(names, start, 90, rng)
            drain(clockwork, folder, 10, learnt, start + 2 * HOUR)
            start += 2 * HOUR
            for number, how in enumerate(("fresh", "twice", "late", "late, that month sealed", "fresh")):
                if "sealed" in how:
                    clockwork.store.seal("2026-03", float(start))
                some = spoiled(frames(names, start, given.minutes, rng), names, how, rng)
                start += 60 * given.minutes
                if given.profile:
                    import cProfile
                    import pstats

                    with cProfile.Profile() as profile:
                        drain(clockwork, folder, 11 + number, some, start + HOUR)
                    pstats.Stats(profile).sort_stats("tottime").print_stats(45)
                    return
                figure = drain(clockwork, folder, 11 + number, some, start + HOUR)
                conditions = (
                    f"{given.devices} devices, {len(some)} frames of 10 values, {figure['values']} readings in "
                    f"{figure['seconds']:.1f} s of which {figure['cpu']:.1f} s computing, tested and judged"
                )
                line = {
                    "name": f"drain, {how}",
                    "value": round(figure["values"] / figure["seconds"]),
                    "unit": "values/s",
                }
                line |= {"per_cpu_second": round(figure["values"] / figure["cpu"]), "conditions": conditions}
                print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
