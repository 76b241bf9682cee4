"""The map page with 2,000 objects: time in the server, time to the list and to the idle map in a real browser.

Prints one JSON line per figure. Without Chromium the browser's figures are left out and a line on stderr says so.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COUNT = 2000
PASSWORD = "Bench-2026-map"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ceguan-bench-"))
    os.environ |= {
        "CEGUAN_DATA": str(folder),
        "DJANGO_SETTINGS_MODULE": "ceguan.django_settings",
        "CEGUAN_ALLOWED_HOSTS": "testserver",
    }  # fmt: skip
    try:
        build(folder)
        server()
        if CHROMIUM is None:
            print("no Chromium: the browser's figures are left out", file=sys.stderr)
        else:
            with serving() as address:
                browser(address)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(name: str, value: float, unit: str, more: str) -> None:
    conditions = f"{COUNT} objects, {os.cpu_count()} cores, Python {platform.python_version()}, {more}"
    print(json.dumps({"name": name, "value": round(value, 1), "unit": unit, "conditions": conditions}), flush=True)


def build(folder: Path) -> None:
    """A region with 2,000 points of all kinds, their status, a verdict each, and a leader who sees them all."""
    import django

    django.setup()
    from django.core.management import call_command

    from ceguan.registry.models import Point, Region, User
    from ceguan.watch.models import PointStatus
    from ceguan.words import POINT_KINDS

    call_command("migrate", verbosity=0)
    region = Region.objects.create(code="99", name_zh="云澜市", name_en="Yunlan")
    chance, kinds = random.Random(1), list(POINT_KINDS)
    districts = [_district(region, number) for number in range(5)]
    User.objects.create_user("leader", password=PASSWORD, role="leader", region=region)
    points = Point.objects.bulk_create(
        Point(
            code=f"P{number:04d}", name_zh=f"点位{number}", kind=kinds[number % 6], region=districts[number % 5],
            lon=104 + chance.random() * 0.6, lat=35 + chance.random() * 0.4,
        )
        for number in range(COUNT)
    )  # fmt: skip
    states = ("live", "late", "silent")
    PointStatus.objects.bulk_create(
        PointStatus(point=point, state=states[point.id % 3], since="2026-01-01T00:00Z") for point in points
    )
    _judge(folder, points, chance)


def _district(region, number: int):
    from ceguan.registry.models import Region

    west = 104 + number * 0.12
    ring = [[west, 35], [west + 0.12, 35], [west + 0.12, 35.4], [west, 35.4], [west, 35]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return Region.objects.create(
        code=f"990{number}", name_zh=f"{number}区", name_en=f"District {number}", parent=region, geometry=geometry
    )


def _judge(folder: Path, points: list, chance: random.Random) -> None:
    from ceguan.store import Store, Verdict

    now = time.time()
    hour = int(now) // 3600 * 3600 - 3600
    rules = {
        "air": ("aqi-hour", "given", "良"), "water": ("water-class", "given", "Ⅲ"),
        "noise": ("noise-day", "within", ""),
        "radiation": ("radiation-hour", "within", ""), "gas_outlet": ("limit-hour:a21026", "over", ""),
        "water_outlet": ("limit-day:w01018", "within", ""),
    }  # fmt: skip
    with Store(folder, write=True) as store, store.ledger.batch() as batch:
        for point in points:
            rule, outcome, level = rules[point.kind]
            detail = {"zh": "演示", "en": "demo"}
            value = float(chance.randint(1, 6))
            batch.add_verdicts([Verdict(point.id, rule, hour, outcome, value, level, "", "", detail, [], now)])


def server() -> None:
    """Django alone, warm: what the page costs, with compression as it goes over the wire."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client(headers={"Accept-Encoding": "gzip"})
    client.force_login(get_user_model().objects.get(), backend="django.contrib.auth.backends.ModelBackend")
    for name, address, headers in (
        ("web.map.page.server", "/map/", {}),
        ("web.map.fragment.server", "/map/?kind=air", {"HX-Request": "true"}),
    ):
        times, size = [], 0
        for _ in range(12):
            start = time.perf_counter()
            answer = client.get(address, headers=headers)
            times.append((time.perf_counter() - start) * 1000)
            assert answer.status_code == 200
            size = len(answer.content)
        say(name, statistics.median(times[2:]), "ms", f"median of 10, {size // 1000} kB compressed")


@contextmanager
def serving() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--no-ws"]
    process = subprocess.Popen(
        [*command, "--blocking-threads", "8", "ceguan.web.wsgi:application"], stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{address}/sign-in/", timeout=2)
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def browser(address: str) -> None:
    """From pressing Enter on the address to the list on the screen, and to the map's own idle."""
    from playwright.sync_api import sync_playwright

    lists, idles = [], []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": 1366, "height": 768}, locale="zh-CN")
        page.goto(f"{address}/sign-in/?next=/help/")
        page.fill("#id_username", "leader")
        page.fill("#id_password", PASSWORD)
        page.press("#id_password", "Enter")
        page.wait_for_url("**/help/")
        for _ in range(4):
            page.goto(f"{address}/help/")
            start = time.perf_counter()
            page.goto(f"{address}/map/", wait_until="commit")
            page.wait_for_selector("#results tbody tr:nth-child(20)")
            lists.append((time.perf_counter() - start) * 1000)
            page.wait_for_selector("#map[data-idle]", state="attached")
            idles.append((time.perf_counter() - start) * 1000)
        chromium.close()
    say("web.map.list", statistics.median(lists[1:]), "ms", "Chromium, median of 3 after a first one")
    say("web.map.idle", statistics.median(idles[1:]), "ms", "Chromium, software WebGL, median of 3 after a first one")


if __name__ == "__main__":
    main()
