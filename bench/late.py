"""What late readings of a sealed month cost beside fresh ones: the first look at the file, and every batch after it.

python bench/late.py [--series 2000] [--rows 4464]

The batches are interleaved and count in processor time; what is told is their ratio.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.store import Store

MARCH, DAY = 1772294400, 86400  # 2026-03-01 00:00 in Beijing
BATCH, ROUNDS = 500, 15


def columns(series: Any, ts: Any) -> list[Any]:
    """Minute readings: of a series and time always the same, so that what comes again is the same."""
    count = len(series)
    nothing = [np.full(count, np.nan)] * 4
    value = ((series * 1103515245 + ts // 60 * 40503 + ts // 600 * ts) % 30011) / 1000
    flag = np.full(count, "N", object)
    whole = np.zeros(count, np.int64)
    return [series, whole + 1, ts, whole, value, *nothing, flag, ts + 70, np.arange(count)]


def busy(store: Store, rows: list[Any]) -> float:
    """Milliseconds of processor for one batch."""
    used = time.process_time()
    with store.ledger.batch() as batch:
        batch.add_readings(rows)
    return (time.process_time() - used) * 1000


def tell_hours(store: Store, rng: Any, grid: Any, devices: int) -> None:
    """An hour of all series at once, fresh and sent before and sealed, in turns."""
    step, took = int(grid[1] - grid[0]), dict[str, list[float]](fresh=[], again=[])
    count = max(3600 // step, 1)
    series = np.repeat(np.arange(devices), count)
    for number in range(5):
        at = rng.integers(len(grid) - count)
        for what, times in (
            ("fresh", grid[:count] + 50 * DAY + number * count * step),
            ("again", grid[at : at + count]),
        ):
            rows = columns(series, np.tile(times, devices))
            took[what].append(busy(store, rows))
    fresh, again = (float(np.median(each)) for each in took.values())
    said = f"{len(series)} readings in one batch; {again / fresh:.2f} × fresh of as many ({fresh:.0f} ms)"
    print(json.dumps({"name": "taken in: an hour of all devices, sent before", "value": round(again, 1), "unit": "ms",
                      "conditions": f"{said}; p50 of 5, processor time"}, ensure_ascii=False), flush=True)  # fmt: skip


def tell_first_looks(folder: str, grid: Any, devices: int) -> None:
    """The same from a sealed month that nobody has looked at since the start, beside as many fresh ones."""
    step = int(grid[1] - grid[0])
    day, hour = DAY // step, max(3600 // step, 1)
    mixes = {
        "a day of one device": (np.repeat(np.arange(10), day), np.tile(grid[day : 2 * day], 10)),
        "an hour of all devices": (np.repeat(np.arange(devices), hour), np.tile(grid[hour : 2 * hour], devices)),
    }
    for number, (what, (series, times)) in enumerate(mixes.items(), 1):
        with Store(folder, write=True, database="", history="") as store:
            busy(store, columns(series, times + (50 + 2 * number) * DAY))  # the writer has read what it remembers
            fresh = busy(store, columns(series, times + (51 + 2 * number) * DAY))
            first = busy(store, columns(series, times))
        said = f"{len(series)} readings in one batch; {first / fresh:.2f} × fresh of as many ({fresh:.0f} ms)"
        print(json.dumps({"name": f"taken in: {what}, sent before, first look", "value": round(first, 1), "unit": "ms",
                          "conditions": f"{said}; once, processor time"}, ensure_ascii=False), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=4464)
    given = parser.parse_args()
    rng, step = np.random.default_rng(3), 31 * DAY // given.rows
    grid = MARCH + np.arange(given.rows) * step
    with tempfile.TemporaryDirectory() as folder:
        tell_batches(folder, given, rng, grid)
        tell_first_looks(folder, grid, given.series)


def tell_batches(folder: str, given: argparse.Namespace, rng: Any, grid: Any) -> None:
    """Fresh, late and repeated batches in turns, once the month has been looked at."""
    with Store(folder, write=True, database="", history="") as store:
        for low in range(0, given.series, 200):
            series = np.repeat(np.arange(low, min(low + 200, given.series)), given.rows)
            busy(store, columns(series, np.tile(grid, len(series) // given.rows)))
        store.seal("2026-03", MARCH)
        whats = ("fresh", "late, new", "late, sent before", "late, sent before by one device")
        took: dict[str, list[float]] = {what: [] for what in whats}
        for number in range(ROUNDS):
            some = np.sort(rng.choice(given.series, BATCH, replace=False))
            between = rng.choice(grid, BATCH) + 1 + number
            times = {"fresh": np.full(BATCH, MARCH + 40 * DAY + number * 60), "late, new": between}
            for what, ts in (times | {"late, sent before": rng.choice(grid, BATCH)}).items():
                took[what].append(busy(store, columns(some, ts)))
            first, begin = rng.integers(given.series - 10), rng.integers(given.rows - BATCH // 10)
            series = np.repeat(np.arange(first, first + 10), BATCH // 10)
            took[whats[-1]].append(busy(store, columns(series, np.tile(grid[begin : begin + BATCH // 10], 10))))
        tell_hours(store, rng, grid, given.series)
        fresh = float(np.median(took["fresh"][1:]))
        rows = given.series * given.rows
        for what, each in took.items():
            middle = float(np.median(each[1:]))
            said = f"batch of {BATCH} readings all over a sealed month of {rows} rows; {middle / fresh:.2f} × fresh; "
            said += f"the first took {each[0]:.0f} ms; p50 of {ROUNDS - 1}, processor time"
            print(json.dumps({"name": f"taken in: {what}", "value": round(middle, 1), "unit": "ms", "conditions": said},
                             ensure_ascii=False), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
