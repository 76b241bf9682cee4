"""Reads of many series and long spans against their budgets: a matrix of a month, a thinned year, as of, exports.

Beside each wall-clock figure stand the processor milliseconds: on a machine that others use, they say more.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.store import Store

MARCH = 1772294400  # 2026-03-01 00:00 in Beijing
HOUR, MINUTE = 3600, 60
PLACES, FACTORS, HOURS = 300, 6, 744
NAN = float("nan")
RUNS = 7


def figure(name: str, call: Callable[[], Any], budget: float, conditions: str) -> None:
    """The best of some calls after a first one, in milliseconds."""
    call()
    took = []
    for _ in range(RUNS):
        began, used = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - began, time.process_time() - used))
    wall, busy = (min(times) * 1000 for times in zip(*took, strict=True))
    said = f"{conditions}; warm, best of {RUNS}; {busy:.0f} ms of processor; load {os.getloadavg()[0]:.1f}"
    print(
        json.dumps({"name": name, "value": round(wall, 1), "unit": "ms", "budget": budget, "conditions": said}),
        flush=True,
    )


def fill(store: Store, series: range, kind: int, step: int, count: int) -> None:
    """`count` readings of each series from the first of March on."""
    for number in series:
        with store.ledger.batch() as batch:
            batch.add_readings(
                (number, kind, MARCH + n * step, 0, float((number * 7 + n * 13) % 400), NAN, NAN, NAN, NAN, "N",
                 MARCH + n * step + step + 10, n)
                for n in range(count)
            )  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database="", history="") as store:
        fill(store, range(PLACES * FACTORS), 2, HOUR, HOURS)
        grid = np.arange(PLACES * FACTORS).reshape(PLACES, FACTORS)
        what = f"{PLACES} places × {HOURS} h × {FACTORS} factors"
        for where in ("ledger", "sealed"):
            if where == "sealed":
                store.seal("2026-03", MARCH)
            matrix = lambda: store.matrix(grid, 2, MARCH, MARCH + HOURS * HOUR)  # noqa: E731
            figure(f"matrix of a month, {where}", matrix, 300, what)
        known = lambda: store.matrix(grid, 2, MARCH, MARCH + HOURS * HOUR, as_of=MARCH + 15 * 86400.0)  # noqa: E731
        figure("matrix of a month as of its middle, sealed", known, 300, what)
        fill(store, range(9000, 9001), 1, MINUTE, 365 * 1440)
        for month in store.months_due(MARCH + 400 * 86400, 40):
            store.seal(month, MARCH)
        year = lambda: store.thinned(9000, 1, MARCH, MARCH + 365 * 86400, 1500)  # noqa: E731
        figure("a year of minutes in 1,500 points", year, 1000, f"{365 * 1440} readings, sealed by the month")
        month = lambda: store.readings([9000], 1, MARCH, MARCH + 31 * 86400, as_of=MARCH + 20 * 86400.0)  # noqa: E731
        figure("a series-month of minutes as of its 20th day", month, 100, "44,640 readings, sealed")


if __name__ == "__main__":
    main()
