"""Ambient air: hourly AQI rows per second; a year of the whole country from hours to the ranking, with peak memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.science import air, air_index, air_period

ROWS = 4_000_000
RUNS = 3
STATIONS, DAYS = 1523, 365
YEAR = (date(2025, 1, 1), date(2025, 12, 31))


def columns(n: int) -> dict[str, np.ndarray]:
    """Plausible hours, 1 % missing, one decimal for CO."""
    rng = np.random.default_rng(633)
    out = {item.column: rng.integers(0, 300, n).astype(float) for item in air.HOURLY}
    out["co_1h"] = np.round(rng.random(n) * 3, 1)
    for column in out.values():
        column[rng.random(n) < 0.01] = np.nan
    return out


def country() -> dict[str, np.ndarray]:
    """A year of hours of every state station, float32 (stations, days, 24), 1 % missing."""
    rng = np.random.default_rng(663)
    shape = (STATIONS, DAYS, 24)
    out = {}
    for item in air.HOURLY:
        level = rng.gamma(4, 8, (STATIONS, DAYS, 1)).astype(np.float32)  # days differ more than their hours
        hours = np.rint(level * rng.uniform(0.5, 1.5, shape).astype(np.float32))
        out[item.column] = hours / np.float32(10) if item.column == "co_1h" else hours
        out[item.column][rng.random(shape, np.float32) < 0.01] = np.nan
    return out


def year(hours: dict[str, np.ndarray]) -> dict[str, float]:
    """Hours → daily values, daily AQI and classes, statistics and verdicts, index, ranking; seconds of each step."""
    took: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        took[name] = time.perf_counter() - started
        return result

    daily = timed("hours to days", lambda: air.daily_columns(hours))
    flat = {name: column.ravel() for name, column in daily.items()}
    aqi = timed("daily AQI", lambda: air.daily_aqi(flat, "HJ 633-2012"))
    timed("days by class", lambda: air_period.class_days(aqi.level.reshape(STATIONS, DAYS)))
    day = np.arange(YEAR[0], "2026-01-01", dtype="datetime64[D]")
    result = timed("statistics, verdict", lambda: air_period.evaluate(air_period.Days(day, daily), *YEAR))
    at = {(row.pollutant, row.p): result.value[i] for i, row in enumerate(result.rows)}
    wanted = {"so2": "SO2", "no2": "NO2", "pm10": "PM10", "pm25": "PM2.5"}
    inputs = {name: at[pollutant, None] for name, pollutant in wanted.items()}
    inputs |= {"co_p95": at["CO", 95], "o3_p90": at["O3", 90]}
    index = timed("index", lambda: air_index.composite_index(inputs, YEAR[1]))
    ranked = timed("ranking", lambda: air_index.ranking(index.composite, YEAR[1]))
    assert ranked.rank.max() > 1, "nothing was ranked"
    return took


def report(name: str, value: float, unit: str, conditions: str) -> None:
    figure = {"name": name, "value": value, "unit": unit, "conditions": conditions}
    print(json.dumps(figure, ensure_ascii=False))


def seconds(data: dict[str, np.ndarray], edition: str) -> float:
    started = time.perf_counter()
    air.hourly_aqi(data, edition)
    return time.perf_counter() - started


def main() -> None:
    data = columns(ROWS)
    for edition in air.editions():
        best = min(seconds(data, edition) for _ in range(RUNS))
        conditions = f"{ROWS} rows, 6 columns, 1 % missing, one core, best of {RUNS}"
        report(f"hourly AQI, {edition}", round(ROWS / best), "rows/s", conditions)
    del data
    hours = country()
    size = f"{STATIONS} stations × {DAYS * 24} h × {len(hours)} = {STATIONS * DAYS * 24 * len(hours)} values"
    best_run = min((year(hours) for _ in range(RUNS)), key=lambda took: sum(took.values()))
    steps = ", ".join(f"{name} {value:.2f} s" for name, value in best_run.items())
    whole = sum(best_run.values())
    report(
        "a year of the country, hours to ranking", round(whole, 2), "s", f"{size} in memory, {steps}; best of {RUNS}"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
    report("the same, peak memory", round(peak, 2), "GB", "resident, the hours and their making included")


if __name__ == "__main__":
    main()
