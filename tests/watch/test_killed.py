"""The clockwork as a process: killed at any moment it loses and doubles nothing; told to stop it stops cleanly."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from ceguan.registry.models import Device
from ceguan.store import RecordKind, Store, sizes
from ceguan.watch.models import Finding
from tests.intake.gateway import free_port
from tests.watch.test_clockwork import gas
from tests.watch.world import HOUR, at, frame

T0 = at("2026-03-10 00:00")
HOURS = 240
KILLS = 6
SMALL_STEPS = """
import django; django.setup()
from ceguan import settings
from ceguan.watch import clockwork
clockwork.AT_ONCE = 2
with clockwork.Clockwork(settings.load(), batch_records=10) as running:
    print("ready", flush=True)
    while not running.step({now}).caught_up:
        print("stepped", flush=True)
print("done", flush=True)
"""

COMMAND = """
import argparse, os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ceguan.django_settings")
from ceguan.watch import cli
top = argparse.ArgumentParser()
cli.add_parser(top.add_subparsers())
args = top.parse_args()
sys.exit(args.run(args))
"""


def clockwork(*arguments: str) -> list[str]:
    """`ceguan clockwork …`, without the verbs of the other rooms."""
    return [sys.executable, "-c", COMMAND, "clockwork", *arguments]


def fill(world) -> None:
    """Ten days of an outlet (every 20th hour exceeds, every 30th is sent again with another value) and of a station."""
    Device.objects.filter(mn="MNGAS_OUTLET").update(units={"a21026": "mg/m³"})
    for hour in range(HOURS):
        start = T0 + hour * HOUR
        world.send("MNGAS_OUTLET", "hour", start, gas(30 + hour % 7, zs=80 if hour % 20 == 0 else 40 + hour % 5))
        world.send("MNAIR", "hour", start, {"a34004": 20 + hour % 9})
        if hour % 30 == 0:
            world.send("MNGAS_OUTLET", "hour", start, gas(33, zs=41), recv=start + HOUR + 90)
        if hour % 40 == 0:
            world.send("MNSTRANGER", "hour", start, {"a34004": 1})


def state(store: Store) -> dict:
    """Everything that must not depend on when the process was killed."""
    readings = [store.readings(range(1, 40), kind, 0, 1 << 40, versions="all").num_rows for kind in (1, 2)]
    days = store.device_days("2026-01-01", "2026-12-31").to_pylist()
    counted = {name: sum(day[name] for day in days) for name in ("frames", "items", "same", "changed")}
    verdicts = store.verdicts(rule="limit-hour:a21026").to_pylist()
    finding = Finding.objects.get(rule="limit-hour:a21026")
    revised = len(finding.detail.get("revised", {}))
    return {
        "readings": readings,
        "days": counted,
        "unknown": [one["frames"] for one in store.unknown_devices()],
        "over": sum(one["outcome"] == "over" for one in verdicts),
        "verdicts": len(verdicts),
        "finding": (finding.count, len(set(finding.verdicts)) == len(finding.verdicts), revised <= finding.count),
        "aqi": store.verdicts(rule="aqi-hour").num_rows,
    }


@pytest.mark.service
def test_killed_again_and_again_in_the_middle_of_its_work_nothing_is_lost_and_nothing_doubled(world):
    fill(world)
    chance, kills = random.Random(7), 0
    script = SMALL_STEPS.format(now=T0 + (HOURS + 1) * HOUR)
    for attempt in range(40):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if kills < KILLS:
            for _ in range(chance.randrange(3)):
                assert process.stdout.readline() == "stepped\n"
            time.sleep(chance.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
            if attempt == 0:
                assert Store(world.folder).backlog() > 0
        elif process.wait(300) == 0:
            break
    assert kills >= KILLS
    resent = len(range(0, HOURS, 30))
    found = state(world.store)
    assert found["readings"] == [0, 2 * HOURS + resent]
    assert found["days"] == {"frames": 2 * HOURS + resent, "items": 2 * HOURS + resent, "same": 0, "changed": resent}
    assert found["unknown"] == [len(range(0, HOURS, 40))]
    assert found["verdicts"] == found["aqi"] == HOURS
    over = {hour for hour in range(HOURS) if hour % 20 == 0 and hour % 30}
    assert found["over"] == len(over)
    assert found["finding"][1:] == (True, True)
    assert len(over) <= found["finding"][0] <= len(range(0, HOURS, 20))


@pytest.mark.service
def test_the_process_takes_in_what_comes_shows_its_heartbeat_and_stops_when_told(world):
    process = subprocess.Popen(clockwork(), env=os.environ, stderr=subprocess.PIPE)
    world.send("MNAIR", "hour", int(time.time()) // HOUR * HOUR - HOUR, {"a34004": 20}, recv=time.time())
    heartbeat = world.folder / "clockwork.json"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        taken = heartbeat.exists() and json.loads(heartbeat.read_text())["totals"]["new"] == 1
        if taken and sizes.noted(world.folder):
            break
        time.sleep(0.1)
    second = subprocess.run(clockwork(), env=os.environ, capture_output=True, text=True)
    assert second.returncode == 2
    assert "只能有一个写入者" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    content = json.loads(heartbeat.read_text())
    assert (content["running"], content["caught_up"], content["backlog_bytes"], content["errors"]) == (
        False,
        True,
        0,
        [],
    )
    assert sizes.noted_on(world.folder, time.time())
    assert sizes.noted(world.folder)[0].rows["ledger"] in (0, 1)


@pytest.mark.service
def test_once_works_off_what_there_is_seals_old_months_and_late_data_still_count(world):
    world.send("MNGAS_OUTLET", "hour", T0, gas(30, zs=40))
    assert subprocess.run(clockwork("--once"), env=os.environ).returncode == 0
    assert world.store.manifest()["month"].to_pylist() == ["2026-03"]
    assert world.store.verdicts(rule="limit-hour:a21026")["outcome"].to_pylist() == ["within"]
    world.send("MNGAS_OUTLET", "hour", T0, gas(30, zs=70), recv=T0 + 9 * HOUR)
    assert subprocess.run(clockwork("--once"), env=os.environ).returncode == 0
    found = world.store.verdicts(rule="limit-hour:a21026", all_versions=True).to_pylist()
    assert [(row["outcome"], json.loads(row["inputs"])[0][3]) for row in found] == [("within", 0), ("over", 1)]
    assert Finding.objects.get(rule="limit-hour:a21026").verdicts == [found[1]["id"]]


@pytest.mark.service
def test_what_the_clockwork_counts_is_told_to_prometheus(world):
    port = free_port()
    environ = os.environ | {"CEGUAN_CLOCKWORK_METRICS_PORT": str(port)}
    process = subprocess.Popen(clockwork(), env=environ)
    try:
        now = time.time()
        first = int(now) // HOUR * HOUR - HOUR
        for value in (20, 20, 21):
            world.send("MNAIR", "hour", first, {"a34004": value}, recv=now)
        world.send("MNSTRANGER", "hour", first, {"a34004": 1}, recv=now)
        world.append(RecordKind.BAD, now, frame("MNAIR", "hour", first, {"a34004": 5})[:-6] + b"0000\r\n")
        deadline = time.monotonic() + 60
        while (said := scrape(port)).get("ceguan_clockwork_frames_total") != 5:
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
    finally:
        process.terminate()
        process.wait(20)
    fates = [said[f'ceguan_clockwork_readings_total{{fate="{fate}"}}'] for fate in ("new", "same", "changed")]
    assert fates == [1, 1, 1]
    assert (said["ceguan_clockwork_bad_total"], said["ceguan_clockwork_held_total"]) == (1, 1)
    assert (said["ceguan_clockwork_backlog_bytes"], said["ceguan_clockwork_failing"]) == (0, 0)
    assert (said["ceguan_clockwork_errors_total"], said["ceguan_clockwork_failed_steps_total"]) == (0, 0)
    assert said['ceguan_clockwork_step_seconds_bucket{le="+Inf"}'] >= 1
    assert said["ceguan_clockwork_last_step_timestamp_seconds"] >= now


def scrape(port: int) -> dict[str, float]:
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    except OSError:
        return {}
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


@pytest.mark.service
def test_a_metrics_port_that_is_taken_is_one_clear_line(world):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        environ = os.environ | {"CEGUAN_CLOCKWORK_METRICS_PORT": port}
        done = subprocess.run(clockwork(), env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert f":{port} 不能用" in done.stderr
    assert "CEGUAN_CLOCKWORK_METRICS_PORT" in done.stderr
    assert done.stderr.count("\n") == 1
