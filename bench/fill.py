"""What gap filling costs when everything is missing: one look for gaps, one pass that plans and asks, one idle pass.

python bench/fill.py [--devices 2000]    ten series each, every device connected and silent for three hours
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

HOUR = 3600
NOW = 1_772_380_800  # 2026-03-02 00:00 Beijing
FACTORS = ("a21026", "a21002", "a34013", "a19001", "a01012", "a00000", "a01011", "a01013", "a01014", "a05001")


def build(devices: int) -> list[int]:
    """Register: points, devices with a connection, series; returns the ids of the series."""
    from ceguan.intake.commands import stamp
    from ceguan.intake.models import Line
    from ceguan.registry import models

    region = models.Region.objects.create(code="99", name_zh="基准市", name_en="Bench")
    points = models.Point.objects.bulk_create(
        models.Point(code=f"P{n}", name_zh="口", kind="gas_outlet", region=region, lon=104, lat=35)
        for n in range(devices)
    )
    units = dict.fromkeys(FACTORS, "mg/m³")
    loggers = models.Device.objects.bulk_create(
        models.Device(mn=f"MN{n}", point=point, units=units, every_seconds=600) for n, point in enumerate(points)
    )
    Line.objects.bulk_create(Line(device=one, gateway="g", peer="", since=stamp(NOW)) for one in loggers)
    made = models.Series.objects.bulk_create(
        models.Series(point=point, factor=factor, name_zh=factor, unit="mg/m³")
        for point in points
        for factor in FACTORS
    )
    return [one.pk for one in made]


def readings(folder: Path, series: list[int], silent: int) -> None:
    """A day of hours and six hours of ten-minute data in the ledger, ending `silent` hours ago."""
    from ceguan.store import Store

    end = NOW - silent * HOUR
    with Store(folder, write=True) as store, store.ledger.batch() as batch:
        for kind, length, start in ((2, HOUR, end - 24 * HOUR), (1, 600, end - 6 * HOUR)):
            for ts in range(start, end, length):
                row = (kind, ts, 0, 30.0, None, None, None, None, "N", ts + length + 60, 64)
                batch.add_readings([(one, *row) for one in series])


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--devices", type=int, default=2000)
    devices = arguments.parse_args().devices
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"CEGUAN_DATA": name, "DJANGO_SETTINGS_MODULE": "ceguan.django_settings"}
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        from ceguan import settings
        from ceguan.watch.clockwork import Clockwork

        series = build(devices)
        readings(Path(name), series, silent=4)
        with Clockwork(settings.load()) as clockwork:
            clockwork.step(NOW - 3 * HOUR)  # up to where the data end: nothing is missing yet
            passes = []
            for now in (NOW, NOW + 15, NOW + 30):
                timings: dict[str, float] = {}
                filler, step = clockwork.filler, clockwork.filler.step

                def timed(at: float, changed: bool, step=step, timings=timings) -> int:
                    began = time.perf_counter()
                    count = step(at, changed)
                    timings["pass"] = time.perf_counter() - began
                    return count

                filler.step = timed  # type: ignore[method-assign]
                began = time.perf_counter()
                report = clockwork.step(now)
                passes.append((time.perf_counter() - began, timings["pass"], report))
                filler.step = step  # type: ignore[method-assign]
    (look, plan, report), (_, _, _), (_, idle, _) = passes
    conditions = f"{len(series)} series of {devices} devices, all silent for three hours, hours and ten-minute data"
    for label, seconds, more in (
        ("gap filling: look for gaps", look - plan, f"{report.gaps} gaps, statuses included"),
        ("gap filling: plan and ask", plan, f"{report.fills} rows changed, 30 requests"),
        ("gap filling: a later pass", idle, "nothing new"),
    ):
        line = {"name": label, "value": round(seconds, 3), "unit": "s", "conditions": f"{conditions}; {more}"}
        print(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
