"""Aggregates: a year of minutes of one series as hours, days and months; what keeping them costs per reading.

Beside each wall-clock figure stand the processor milliseconds: on a machine that others use, they say more.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.reads import MARCH, MINUTE, figure, fill
from ceguan.store import Store, stale
from ceguan.words import Period

YEAR = 365 * 86400


def settled(store: Store) -> None:
    """Keep everything, and what that took per reading."""
    readings = 365 * 1440
    began, used = time.perf_counter(), time.process_time()
    while store.settle(MARCH + 2 * YEAR):
        pass
    wall, busy = time.perf_counter() - began, time.process_time() - used
    said = (
        f"{readings} minutes of one series, sealed but for the last days; {wall * 1e6 / readings:.2f} µs of wall clock"
    )
    line = {"name": "aggregates kept", "value": round(busy * 1e6 / readings, 2), "unit": "µs of processor/reading"}
    print(json.dumps(line | {"conditions": said}, ensure_ascii=False), flush=True)


def marked(store: Store) -> None:
    """What taking in pays on top: one mark a day and series, however many readings."""
    days = [(series, 1, MARCH + 3 * YEAR) for series in range(10_000)]
    used = time.process_time()
    with store.ledger.batch():
        stale.mark(store.ledger.connection, days)
    busy = (time.process_time() - used) * 1e6 / len(days)
    line = {"name": "a day of a series marked", "value": round(busy, 2), "unit": "µs of processor"}
    print(json.dumps(line | {"conditions": "10,000 in one transaction"}, ensure_ascii=False), flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database="", history="") as store:
        fill(store, range(9000, 9001), 1, MINUTE, 365 * 1440)
        for month in store.months_due(MARCH + 400 * 86400, 40):
            store.seal(month, MARCH)
        ask = lambda period: store.aggregates([9000], 1, period, MARCH, MARCH + YEAR, every=60)  # noqa: E731
        what = f"{365 * 1440} readings, sealed by the month"
        figure("a year of minutes as days, nothing kept yet", lambda: ask(Period.DAY), 2000, what)
        settled(store)
        figure("a year of minutes as days", lambda: ask(Period.DAY), 50, what)
        figure("a year of minutes as months", lambda: ask(Period.MONTH), 50, what)
        fill(store, range(9000, 9001), 1, MINUTE, 365 * 1440 + 700)  # a morning more: today is computed on the spot
        today = lambda: store.aggregates([9000], 1, Period.DAY, MARCH, MARCH + YEAR + 86400, every=60)  # noqa: E731
        figure("a year of minutes as days, up to now", today, 50, f"{what}, and 700 minutes of today")
        month = lambda: store.aggregates([9000], 1, Period.HOUR, MARCH, MARCH + 31 * 86400, every=60)  # noqa: E731
        figure("a sealed month of minutes as hours", month, 300, "44,640 readings, computed from the file")
        marked(store)


if __name__ == "__main__":
    main()
