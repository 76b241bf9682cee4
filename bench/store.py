"""The store, piece by piece and as it runs, beside plain databases for the same work.

    bench/store.py [--quick] [--devices 2000] [--unread 1000000]

Pieces: archive appends with group commit, ledger ingest, latest of 20,000 series, one series-month. As it runs: `ceguan
serve`, devices that send ten values a frame, the clockwork draining behind the gateway, a reader; then kill -9 with a
million frames unread. All on the same cores, so that the devices' share is taken from the platform's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import living, rows
from ceguan.store import ArchiveWriter, RecordKind, Store, archive

SERIES = 20_000
FRAMES = 200_000
GROUP = 200
FRAME = b"##0430ST=31;CN=2061;" + b"x" * 410
MARCH = 1772294400  # 2026-03-01 00:00 in Beijing
NAN = float("nan")


def figure(name: str, value: float, unit: str, conditions: str) -> None:
    print(json.dumps({"name": name, "value": round(value, 1), "unit": unit, "conditions": conditions}), flush=True)


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def quantile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def hour(number: int, step: int = 1) -> list[tuple[Any, ...]]:
    """One hour of every (n-th) series."""
    ts = MARCH + number * 3600
    return [(s, 2, ts, 0, s * 0.37 + number, NAN, 0.0, 9.0, NAN, "N", ts + 3610, s) for s in range(0, SERIES, step)]


def ingest(store: Store, rows: list[tuple[Any, ...]]) -> None:
    with store.ledger.batch() as batch:
        batch.add_readings(rows)


def bench_archive(folder: Path) -> None:
    def append() -> None:
        with ArchiveWriter(folder, 0) as writer:
            for number in range(FRAMES):
                writer.append(RecordKind.FRAME, MARCH + number, "10.0.0.7:51234", FRAME)
                if number % GROUP == GROUP - 1:
                    writer.sync()

    conditions = f"{FRAMES} frames of {len(FRAME)} bytes, one fdatasync per {GROUP}"
    figure("archive appends, group commit", FRAMES / seconds(append), "records/s", conditions)
    best = min(seconds(lambda: sum(1 for _ in archive.read(folder))) for _ in range(3))
    figure("archive read back, CRC checked", FRAMES / best, "records/s", "one stream, page cache warm, best of 3")


def bench_ledger(store: Store) -> None:
    fresh = [seconds(lambda n=number: ingest(store, hour(n))) for number in range(10)]  # type: ignore[misc]
    total = 10 * SERIES / sum(fresh)
    figure("ledger ingest, fresh readings", total, "rows/s", f"10 commits of {SERIES} rows, one per series, FULL sync")
    again = min(seconds(lambda: ingest(store, hour(5))) for _ in range(3))
    figure("ledger ingest, the same again", SERIES / again, "rows/s", f"{SERIES} known rows, best of 3")


def bench_latest(store: Store) -> None:
    store.latest()
    warm = [seconds(store.latest) for _ in range(50)]
    figure(
        f"latest of {SERIES} series, warm", quantile(warm, 0.5), "ms", "store call, nothing committed since; p50 of 50"
    )
    following = []
    for number in range(20, 40):
        ingest(store, hour(number, 40))
        following.append(seconds(store.latest))
    figure(
        f"latest of {SERIES} series after a commit",
        quantile(following, 0.5),
        "ms",
        f"store call, {SERIES // 40} series changed since the last; p50 of {len(following)}",
    )
    cold = min(seconds(lambda: store.latest(range(SERIES // 2, SERIES // 2 + 500))) for _ in range(5))
    figure("latest of 500 chosen series", cold * 1000, "ms", "store call; best of 5")


def bench_month(store: Store) -> None:
    readings = [
        (s, 1, MARCH + i * 600, 0, i * 0.1, NAN, 0.0, 9.0, NAN, "N", MARCH, i) for s in range(20) for i in range(4464)
    ]
    ingest(store, readings)
    for where in ("hot", "sealed"):
        times = [
            seconds(lambda s=number % 20: store.readings([s], 1, MARCH, MARCH + 31 * 86400))  # type: ignore[misc]
            for number in range(60)
        ]
        figure(f"series-month read, {where}", quantile(times, 0.95), "ms", "4,464 ten-minute readings, p95 of 60")
        if where == "hot":
            store.seal("2026-03", MARCH)
    size = int(store.manifest()["bytes"][-1].as_py()) / int(store.manifest()["rows"][-1].as_py())
    figure("sealed history", size, "bytes/row", "synthetic readings of this bench")


def bench_platform(folder: Path, devices: int, seconds_each: float, unread: int) -> None:
    platform = living.Platform(folder, devices)
    frames = platform.frames(round((6000 * 2 + 15000) * seconds_each))
    platform.start()
    waited(platform.answers, platform.shows, lambda: platform.taken() >= 0)
    lines, some, begin = living.Lines(platform.port), len(platform.names), 0
    lines.send(frames[:some], 2000)  # the clockwork has met every device
    begin = some
    for rate, long in ((6000, 2 * seconds_each), (15000, seconds_each)):
        count = min(round(rate * long), len(frames) - begin)
        behind(platform, lines, frames[begin : begin + count], rate)
        begin += count
    lines.close()
    platform.stop()
    crash(platform, unread)


def behind(platform: living.Platform, lines: living.Lines, frames: list[bytes], rate: int) -> None:
    """Devices at a steady rate; what the gateway acknowledges, what the clockwork drains behind it, who reads."""
    reader, before = living.Reader(platform), platform.archived()
    watch, began = living.Watch(platform), time.monotonic()
    took = lines.send(frames, rate)
    left, came = platform.backlog(), platform.archived() - before
    months, latest = reader.end()
    while platform.backlog():
        time.sleep(0.1)
    drained, (step, _) = time.monotonic() - began, platform.steps()
    while not (platform.steps()[0] > step and platform.steps()[1]):  # with that step all that can be is tested, judged
        time.sleep(0.1)
    whole, backlog, values = time.monotonic() - began, watch.end(), 10 * len(frames)
    at, count = f", {rate} frames/s", len(platform.series)
    said = (
        f"{len(frames)} distinct frames of 10 values from {len(platform.names)} devices, serve, devices and reader on "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    figure(f"acknowledged in the archive{at}", values / took, "values/s", said)
    figure(f"drained into the ledger meanwhile{at}", values * (1 - left / came) / took, "values/s", said)
    done = f"the last frame after {took:.1f} s, its values after {drained:.1f} s; {said}"
    figure(f"drained until caught up{at}", values / drained, "values/s", done)
    done = f"tests, verdicts, gaps, statuses after {whole:.1f} s; {said}"
    figure(f"drained, tested and judged{at}", values / whole, "values/s", done)
    figure(f"largest backlog{at}", max(backlog), "MB", f"of {came:.0f} MB; each second: {backlog}; {said}")
    month = f"4,464 ten-minute readings of the ledger, p95 of {len(months)}; {said}"
    figure(f"series-month read while writing{at}", quantile(months, 0.95), "ms", month)
    newest = f"store call, p95 {quantile(latest, 0.95):.0f} ms, of {len(latest)}; {said}"
    figure(f"latest of {count} series while writing{at}", quantile(latest, 0.5), "ms", newest)


def crash(platform: living.Platform, unread: int) -> None:
    """kill -9 with so many frames unread, then `ceguan serve`: who works again after how long."""
    platform.start("gateway")
    waited(platform.answers)
    rate = platform.fill(unread)
    count, left = platform.received(), platform.backlog()
    platform.kill()
    platform.start()
    said = f"kill -9 of the gateway, {count} frames ({left:.0f} MB) unread, then serve; load {os.getloadavg()[0]:.1f}"
    figure("acknowledged, closed loop, nobody reading", 10 * rate, "values/s", f"{len(platform.names)} devices; {said}")
    names = ("the gateway answers", "the web answers", "the clockwork has taken in")
    took = waited(platform.answers, platform.shows, lambda: platform.taken() > 0)
    for name, one in zip(names, took, strict=True):
        figure(f"start after a crash: {name}", one, "s", said)
    before, began = platform.backlog(), time.monotonic()
    time.sleep(10)
    drained = (before - (after := platform.backlog())) / (time.monotonic() - began) * count / left * 10
    figure("drained after a crash", drained, "values/s", f"10 s, repeated values; {after:.0f} MB to go; {said}")
    platform.stop()


def waited(*conditions: Callable[[], bool]) -> list[float]:
    """Seconds until each held, at most two minutes."""
    began, took = time.monotonic(), dict[int, float]()
    while len(took) < len(conditions):
        for number, holds in enumerate(conditions):
            if number not in took and holds():
                took[number] = time.monotonic() - began
        if time.monotonic() - began > 120:
            raise SystemExit("the platform did not come up")
        time.sleep(0.05)
    return [took[number] for number in range(len(conditions))]


def bench_rows(folder: Path, series: int, most: float) -> None:
    """The same values as plain rows."""
    for database in (rows.Sqlite(folder), rows.Postgres()):
        found = rows.measure(database, series, most)
        said = f"{found['values']} values, a transaction for the {rows.GROUP} of 200 frames; no network, no decoding"
        figure(f"{database.name}: values acknowledged", found["values_per_s"], "values/s", said)
        figure(f"{database.name}: latest of {series} series", quantile(found["latest"], 0.5), "ms", "p50 of 7, warm")
        figure(f"{database.name}: series-month read between groups", quantile(found["month"], 0.95), "ms",
               f"4,464 readings, p95 of {len(found['month'])}")  # fmt: skip


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--quick", action="store_true", help="few devices, short, to see that it works")
    flags.add_argument("--devices", type=int, default=2000, help="with ten series each")
    flags.add_argument("--unread", type=int, default=1_000_000, help="frames unread when it crashes")
    args = flags.parse_args()
    if args.quick:
        args.devices, args.unread = 200, 50_000
    with tempfile.TemporaryDirectory() as folder:
        bench_platform(Path(folder), args.devices, 3 if args.quick else 6, args.unread)
    with tempfile.TemporaryDirectory() as folder:
        bench_rows(Path(folder), 10 * args.devices, 2 if args.quick else 6)
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database="", history="") as store:
        bench_archive(store.archive)
        bench_ledger(store)
        bench_latest(store)
        bench_month(store)


if __name__ == "__main__":
    main()
