"""Hourly AQI rows per second of the array function: six columns in, AQI, level and primary pollutants out."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.science import air

ROWS = 4_000_000
RUNS = 3


def columns(n: int) -> dict[str, np.ndarray]:
    """Plausible hours, 1 % missing, one decimal for CO."""
    rng = np.random.default_rng(633)
    out = {item.column: rng.integers(0, 300, n).astype(float) for item in air.HOURLY}
    out["co_1h"] = np.round(rng.random(n) * 3, 1)
    for column in out.values():
        column[rng.random(n) < 0.01] = np.nan
    return out


def seconds(data: dict[str, np.ndarray], edition: str) -> float:
    started = time.perf_counter()
    air.hourly_aqi(data, edition)
    return time.perf_counter() - started


def main() -> None:
    data = columns(ROWS)
    for edition in air.editions():
        best = min(seconds(data, edition) for _ in range(RUNS))
        figure = {
            "name": f"hourly AQI, {edition}",
            "value": round(ROWS / best),
            "unit": "rows/s",
            "conditions": f"{ROWS} rows, 6 columns, 1 % missing, one core, best of {RUNS}",
        }
        print(json.dumps(figure, ensure_ascii=False))


if __name__ == "__main__":
    main()
