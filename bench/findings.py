"""What a whole province brings at once: so many points silent in one step, so many verdicts over the limit, and back.

python bench/findings.py [--points 2000] [--postgres]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

HOUR = 3600
T0 = 1_773_100_800  # 2026-03-10 08:00 Beijing


def build(count: int) -> list[int]:
    """Outlets with a device each, which never sends, and someone who hears of all of them; ids of the points."""
    from ceguan.registry import models
    from ceguan.watch.models import NoticeTarget

    region = models.Region.objects.create(code="99", name_zh="基准省", name_en="Bench")
    NoticeTarget.objects.create(kind="webhook", address="http://127.0.0.1:9/", region=region, level=1)
    points = models.Point.objects.bulk_create(
        models.Point(code=f"P{n}", name_zh=f"排口{n}", kind="gas_outlet", region=region, lon=104, lat=35,
                     live_from=date(2020, 1, 1)) for n in range(count)
    )  # fmt: skip
    models.Device.objects.bulk_create(models.Device(mn=f"MN{point.code}", point=point) for point in points)
    return [point.pk for point in points]


def verdicts(points: list[int], hour: int, outcome: str) -> list[Any]:
    from ceguan.store import Verdict

    detail = {"zh": "75 mg/m³，限值 50", "name": "二氧化硫", "factor": "a21026", "multiple": 0.5}
    ts, inputs = T0 + hour * HOUR, [(1, 2, T0, 0)]
    return [
        Verdict(point, "limit-hour:a21026", ts, outcome, 75.0, "", "", "表3", detail, inputs, ts + HOUR)
        for point in points
    ]


def told(settings: Any, news: list[Any], now: float) -> float:
    """Seconds of the step that makes the findings of these verdicts, judged just before a restart."""
    from ceguan.watch.clockwork import Clockwork

    with Clockwork(settings) as clockwork:
        if news:
            with clockwork.store.ledger.batch() as batch:
                batch.note("outbox", [(one.id, one.previous) for one in batch.add_verdicts(news)])
    with Clockwork(settings) as clockwork:
        return float(clockwork.step(now).seconds)


def back(settings: Any, now: float) -> float:
    """Seconds of the step that finds all of the points in operation again."""
    from ceguan.registry.models import Device
    from ceguan.watch.clockwork import Clockwork

    with Clockwork(settings) as clockwork:
        clockwork._last_packet = dict.fromkeys(Device.objects.values_list("mn", flat=True), now)
        return float(clockwork.step(now).seconds)


def measure(points: list[int]) -> dict[str, float]:
    """What each step took; what it left in the database is checked."""
    from ceguan import settings
    from ceguan.watch.models import Change, Finding

    values, now, took = settings.load(), T0 + 10 * HOUR, {}
    took["silent"] = told(values, [], now)
    took["quiet"] = told(values, [], now)
    took["over"] = told(values, verdicts(points, 1, "over"), now) - took["quiet"]
    took["over again"] = told(values, verdicts(points, 2, "over"), now) - took["quiet"]
    took["one revised"] = told(values, verdicts(points, 1, "within"), now) - took["quiet"]
    took["both revised, ended"] = told(values, verdicts(points, 2, "within"), now) - took["quiet"]
    took["back"] = back(values, now + 60)
    assert set(Finding.objects.values_list("rule", "state", "count")) == {
        ("silent", "ended", 1), ("limit-hour:a21026", "ended", 2),
    }  # fmt: skip
    assert (Finding.objects.count(), Change.objects.count()) == (2 * len(points), 2 * len(points))
    return took


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--points", type=int, default=2000)
    arguments.add_argument("--postgres", action="store_true")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ |= {"CEGUAN_DATA": name, "DJANGO_SETTINGS_MODULE": "ceguan.django_settings"}
        if given.postgres:
            from tests.postgres import Server

            os.environ["CEGUAN_DATABASE_URL"] = Server(fsync=True).new_database()
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        took, load = measure(build(given.points)), os.getloadavg()[0]
    where = "PostgreSQL" if given.postgres else "SQLite"
    for what, seconds in took.items():
        line = {"name": f"findings of {given.points} points at once: {what}", "value": round(seconds, 2), "unit": "s"}
        print(json.dumps(line | {"conditions": f"{where}, one process, {time.strftime('%F')}, load {load:.0f}"}))


if __name__ == "__main__":
    main()
