"""Readings per second with which the clockwork catches up: archived hourly frames of a city → a tested, judged ledger.

python bench/clockwork.py [--days 20]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

DAY, HOUR = 86400, 3600
END = 1_772_380_800  # 2026-03-02 00:00 Beijing
KINDS = {
    "air": (12, {"a21026": 9, "a21004": 30, "a21005": 0.6, "a05024": 80, "a34002": 60, "a34004": 30}, "μg/m³"),
    "water": (10, {"w01001": 7.5, "w01009": 6.2, "w01019": 3, "w21003": 0.3, "w21011": 0.15}, "mg/L"),
    "noise": (8, {"Leq": 55}, "dB(A)"),
    "radiation": (5, {"r01001": 90}, "nGy/h"),
    "gas_outlet": (25, {"a21026": 30, "a21002": 80, "a34013": 8, "a19001": 9, "a01012": 120, "a00000": 5e4}, "mg/m³"),
    "water_outlet": (20, {"w01018": 40, "w21003": 2, "w21011": 0.3, "w21001": 9, "w00000": 12, "w01001": 7}, "mg/L"),
}  # fmt: skip
LIMITS = {
    "gas_outlet": ("hour", ("a21026", "a21002", "a34013")),
    "water_outlet": ("day", ("w01018", "w21003", "w21011")),
}


def build(folder: Path, days: int) -> tuple[int, int]:
    """Registers and archive; returns (series, readings)."""
    from ceguan.registry import models

    region = models.Region.objects.create(code="99", name_zh="基准市", name_en="Bench")
    firm = models.Enterprise.objects.create(code="9" * 18, name_zh="厂", region=region, lon=104, lat=35)
    permit = models.Permit.objects.create(
        number="P", enterprise=firm, valid_from=date(2020, 1, 1), valid_to=date(2030, 1, 1)
    )
    devices = []
    for kind, (count, factors, unit) in KINDS.items():
        for number in range(count):
            point = models.Point.objects.create(
                code=f"{kind}{number}", name_zh=kind, kind=kind, region=region, lon=104, lat=35,
                live_from=date(2020, 1, 1), properties={"waterbody": "river", "zone": "2", "o2_ref": 9},
            )  # fmt: skip
            for factor in factors:
                models.Series.objects.create(point=point, factor=factor, name_zh=factor, unit=_unit(factor, unit))
            mn = f"{kind}{number:02}".upper().replace("_", "")
            models.Device.objects.create(mn=mn, point=point, units={f: _unit(f, unit) for f in factors})
            basis, limited = LIMITS.get(kind, ("", ()))
            for factor in limited:
                models.PermitLimit.objects.create(
                    permit=permit, point=point, factor=factor, basis=basis, converted=kind == "gas_outlet",
                    high=factors[factor] * 1.6, unit=unit, standard="GB 0-2020", clause="表1", trust="local",
                    valid_from=date(2020, 1, 1), reason="基准",
                )  # fmt: skip
            devices.append((mn, kind, factors))
    return models.Series.objects.count(), _archive(folder, devices, days)


def _unit(factor: str, unit: str) -> str:
    special = {"a21005": "mg/m³", "w01001": "无量纲", "a19001": "%", "a01012": "℃", "a00000": "m³/h", "w00000": "L/s"}
    return special.get(factor, unit)


def _archive(folder: Path, devices: list, days: int) -> int:
    from ceguan.intake.hj212.frame import encode
    from ceguan.intake.hj212.readings import write_time
    from ceguan.store import ArchiveWriter, RecordKind

    rng, count = np.random.default_rng(7), 0
    with ArchiveWriter(folder / "archive", 70) as writer:
        for ts in range(END - days * DAY, END, HOUR):
            noise = rng.lognormal(0, 0.15, (len(devices), 6))
            for row, (mn, kind, factors) in zip(noise, devices, strict=True):
                if kind == "water" and ts // HOUR % 4:
                    continue
                values = {}
                for factor, (base, x) in zip(factors, zip(factors.values(), row, strict=False), strict=True):
                    values[factor] = {"Avg": f"{base * x:.3f}", "Flag": "N"}
                    if kind == "gas_outlet":
                        values[factor]["ZsAvg"] = f"{base * x * 1.1:.3f}"
                count += len(values)
                raw = encode(st="31", cn="2061", mn=mn, pw="123456", flag=5, datatime=write_time(ts), factors=values)
                writer.append(RecordKind.FRAME, ts + HOUR + 60, "10.0.0.1:1", raw)
    return count


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--days", type=int, default=20)
    days = arguments.parse_args().days
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"CEGUAN_DATA": name, "DJANGO_SETTINGS_MODULE": "ceguan.django_settings"}
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        from ceguan import settings
        from ceguan.watch.clockwork import Clockwork

        series, readings = build(Path(name), days)
        began, cpu = time.perf_counter(), time.process_time()
        with Clockwork(settings.load()) as clockwork:
            verdicts = 0
            while True:
                report = clockwork.step(END + DAY)
                verdicts += report.verdicts
                if report.caught_up:
                    break
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    conditions = (
        f"{series} series, {days} days of hourly frames, {readings} readings, {verdicts} verdicts, one process, "
    )
    conditions += f"{seconds:.1f} s of which {cpu:.1f} s computing"
    line = {"name": "clockwork catch-up", "value": round(readings / seconds), "unit": "readings/s"}
    print(json.dumps(line | {"conditions": conditions}, ensure_ascii=False))


if __name__ == "__main__":
    main()
