"""Full evaluation over sealed history: hours → days → cities → year figures, in process and on Ray.

`--rows 400000000` makes 400 M rows once (`--folder` keeps them for the next run); 10 M rows, the default, are enough to
see most ratios. Runs that are compared are interleaved, best of three.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from ceguan.evaluate import recompute
from ceguan.evaluate.recompute import Station
from ceguan.store import compute, history
from ceguan.store.columns import READING_SCHEMA
from ceguan.store.compute import Local, Part, Plan, Ray
from ceguan.store.lake import Lake

YEAR = 2025
MONTHS = [f"{YEAR}-{month:02}" for month in range(1, 13)]
START, END = history.month_span(MONTHS[0])[0], history.month_span(MONTHS[-1])[1]
COLUMNS = ("so2_1h", "no2_1h", "co_1h", "o3_1h", "pm10_1h", "pm25_1h")
ROWS_A_STATION = 8760 * len(COLUMNS)
STATIONS_A_CITY = 5


def figure(name: str, value: float, unit: str, conditions: str) -> None:
    print(json.dumps({"name": name, "value": round(value, 2), "unit": unit, "conditions": conditions}), flush=True)


def batches(month: str, stations: int) -> Iterator[pa.RecordBatch]:
    """A month of every station in the order of a sealed file: rounded, daily course, 1 % flagged, 1 % absent."""
    start, end = history.month_span(month)
    ts = np.arange(start, end, 3600)
    daily = 1 + 0.5 * np.sin((ts - start) / 86400 * 2 * np.pi)
    for station in range(stations):
        rng = np.random.default_rng((station, start))
        for column in range(len(COLUMNS)):
            value = np.rint(rng.gamma(4, 8) * daily * rng.uniform(0.5, 1.5, len(ts))) / (10 if column == 2 else 1)
            value[rng.random(len(ts)) < 0.01] = np.nan
            flag = np.where(rng.random(len(ts)) < 0.01, "D", "N")
            same = {"series": station * len(COLUMNS) + column, "kind": 2, "ver": 0, "frame": station}
            given = {"ts": ts, "value": value, "flag": flag, "recv": ts + 3610}
            yield pa.RecordBatch.from_arrays([_array(field, same, given, len(ts)) for field in READING_SCHEMA],
                                             schema=READING_SCHEMA)  # fmt: skip


def _array(field: pa.Field, same: dict[str, int], given: dict[str, Any], length: int) -> pa.Array:
    if field.name in given:
        return pa.array(given[field.name], field.type, from_pandas=True)
    return (
        pa.array(np.full(length, same[field.name]), field.type) if field.name in same else pa.nulls(length, field.type)
    )


def make(folder: Path, rows: int) -> Lake:
    """The history of a year with about this many rows; made once."""
    stations = max(1, round(rows / ROWS_A_STATION))
    where = folder / f"{stations}-stations"
    for month in MONTHS:
        if not (where / month).exists():
            groups = _joined(batches(month, stations), 400)
            history.write(Lake(str(where)), month, groups)
    return Lake(str(where))


def _joined(found: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    while some := list(islice(found, size)):
        yield from pa.Table.from_batches(some).combine_chunks().to_batches()


def plan(lake: Lake) -> tuple[Plan, int]:
    stations = int(Path(lake.folder).name.partition("-")[0])
    series = np.arange(stations * len(COLUMNS))
    return Plan(series, (series // len(COLUMNS)).astype(np.int32), COLUMNS * stations, np.ones(len(series))), stations


def parts(lake: Lake, wanted: Plan) -> list[Part]:
    return [part for month in MONTHS for part in compute.spread(lake, month, wanted, *history.month_span(month))]


def run(lake: Lake, on: Any) -> tuple[float, int, dict[str, Any]]:
    """Seconds, rows and answers of one full evaluation."""
    wanted, stations = plan(lake)
    began = time.perf_counter()
    found = compute.evaluate(parts(lake, wanted), wanted, stations, START, END, on)
    places = [Station(at, str(at), str(at // STATIONS_A_CITY)) for at in range(stations)]
    judged = recompute.periods(found.days, places, START, None)
    took = time.perf_counter() - began
    answers = {f"{kind} {name}": result.value for kind, of in judged.items() for name, result, _ in of}
    return took, found.rows, answers | found.days


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A Ray cluster of this many worker processes on this machine."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[1])}
    import ray

    context = ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error",
                       object_store_memory=2 << 30)  # fmt: skip
    try:
        yield str(context.address_info["gcs_address"])
    finally:
        ray.shutdown()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k], equal_nan=True) for k in one)


def size(lake: Lake) -> int:
    return sum((Path(lake.folder) / month).stat().st_size for month in MONTHS)


def bench_local(lake: Lake, small: Lake | None, runs: int) -> dict[str, Any]:
    best: dict[str, float] = {}
    busy: dict[str, float] = {}
    rows: dict[str, int] = {}
    answers: dict[str, Any] = {}
    for _ in range(runs):
        for name, one in (("whole", lake), ("small", small)):
            if one is not None:
                used = time.process_time()
                took, rows[name], answers[name] = run(one, Local())
                best[name] = min(took, best.get(name, took))
                busy[name] = min(time.process_time() - used, busy.get(name, took * 99))
    threads, wide = len(os.sched_getaffinity(0)), size(lake) / rows["whole"]
    conditions = (
        f"{rows['whole']} hourly rows, {wide:.2f} bytes/row, {threads} threads, best of {runs}, "
        f"{busy['whole']:.2f} processor seconds, load of the machine {os.getloadavg()[0]:.1f}"
    )
    figure("full evaluation from Parquet, in process", rows["whole"] / best["whole"] / 1e6, "M rows/s", conditions)
    if small is not None:
        growth = best["whole"] / best["small"] / (rows["whole"] / rows["small"])
        figure(
            "growth against linear", growth, "×", f"{rows['small']} → {rows['whole']} rows, interleaved, best of {runs}"
        )
    return answers["whole"]


def bench_ray(lake: Lake, expected: dict[str, Any], runs: int) -> None:
    best: dict[int, float] = {}
    equal = True
    for _ in range(runs):
        for workers in (1, 2):
            with cluster(workers) as address:
                on = Ray(address)
                small = plan(lake)[0].between(0, 5)
                on.run(compute.map_part, parts(lake, small)[:workers], small)  # workers are up, modules loaded
                took, rows, answers = run(lake, on)
            best[workers] = min(took, best.get(workers, took))
            equal &= same(answers, expected)
    conditions = f"{rows} hourly rows, cluster up, interleaved, best of {runs}; same answers as in process: {equal}"
    for workers, took in best.items():
        figure(f"full evaluation on Ray, {workers} worker(s)", took, "s", conditions)
    figure("Ray, 2 workers against 1", best[1] / best[2], "×", conditions)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--rows", type=int, default=10_000_000)
    flags.add_argument("--folder", type=Path, help="where the generated history is kept")
    flags.add_argument("--no-ray", action="store_true")
    flags.add_argument("--runs", type=int, default=3, help="of which the best counts")
    args = flags.parse_args()
    with tempfile.TemporaryDirectory(prefix="ceguan-bench-") as scratch:
        folder = args.folder or Path(scratch)
        lake = make(folder, args.rows)
        small = make(folder, 10_000_000) if args.rows > 20_000_000 else None
        answers = bench_local(lake, small, args.runs)
        if not args.no_ray:
            bench_ray(lake, answers, args.runs)
    figure("peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, "GB", "this process")


if __name__ == "__main__":
    main()
