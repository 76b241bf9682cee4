"""Surface-water samples per second: 21 items in, class and main pollution items out; and the peak of memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.science import water

ROWS = 1_000_000
RUNS = 3
DAY = date(2026, 6, 1)


def columns(n: int) -> dict[str, np.ndarray]:
    """Every item around half its limit III (oxygen around twice), 1 % missing: nearly every row exceeds something."""
    rng = np.random.default_rng(3838)
    out = {}
    for item in water.SECTION_ITEMS:
        row = water.limit(item, "river", DAY)
        if row.kind == "range":
            out[item] = rng.uniform(5.5, 9.5, n)
        else:
            out[item] = rng.lognormal(0, 0.8, n) * row.classes[2] * (2 if row.kind == "min" else 0.5)
        out[item][rng.random(n) < 0.01] = np.nan
    return out


def seconds(data: dict[str, np.ndarray], body: np.ndarray) -> tuple[float, float]:
    started = time.perf_counter()
    found = water.surface_water(data, body, DAY, ())
    classed = time.perf_counter()
    water.main_items(found)
    return classed - started, time.perf_counter() - classed


def main() -> None:
    data = columns(ROWS)
    body = np.where(np.arange(ROWS) % 5 == 0, "lake", "river")
    best = min((seconds(data, body) for _ in range(RUNS)), key=sum)
    given = sum(column.nbytes for column in data.values()) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    conditions = f"{ROWS} rows, {len(data)} items, 1 % missing, one core, best of {RUNS}"
    for name, value, unit in (
        ("surface water, class and main pollution items", round(sum(best), 3), "s"),
        ("of it the class", round(best[0], 3), "s"),
        ("surface water, peak memory", round(peak), "MiB"),
    ):
        said = f"{conditions}; the input is {given:.0f} MiB of it" if unit == "MiB" else conditions
        print(json.dumps({"name": name, "value": value, "unit": unit, "conditions": said}, ensure_ascii=False))


if __name__ == "__main__":
    main()
