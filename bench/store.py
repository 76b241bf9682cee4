"""The store: archive appends with group commit, ledger ingest, latest of 20,000 series, one series-month."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

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
    rows = [
        (s, 1, MARCH + i * 600, 0, i * 0.1, NAN, 0.0, 9.0, NAN, "N", MARCH, i) for s in range(20) for i in range(4464)
    ]
    ingest(store, rows)
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True) as store:
        bench_archive(store.archive)
        bench_ledger(store)
        bench_latest(store)
        bench_month(store)


if __name__ == "__main__":
    main()
