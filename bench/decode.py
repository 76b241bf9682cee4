"""HJ 212 decoding from a byte stream on one core: columns at once, columns from reads of two sizes, frame by frame.

    taskset -c 0 bench/decode.py

Times are those of the processor (user and system), so that a neighbour on the machine does not count; the best of five.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the root must be on the path first

from bench.gateway import FACTORS, frame  # noqa: E402
from ceguan.intake.hj212 import batch, scan  # noqa: E402
from ceguan.intake.hj212.frame import encode, of_chunk  # noqa: E402
from ceguan.intake.hj212.splitter import Splitter  # noqa: E402

MANY, FEW = 300_000, 30_000
ROUNDS = 5


def four_fields(mn: str) -> bytes:
    """The same ten factors as a minute value: Min, Avg, Max, Flag."""
    values = {
        code: {"Min": f"{k + 10.118:.3f}", "Avg": f"{k + 12.345:.3f}", "Max": f"{k + 19.007:.3f}", "Flag": "N"}
        for k, code in enumerate(FACTORS)
    }
    head = {"st": "31", "cn": "2051", "mn": mn, "pw": "123456", "flag": 5, "qn": "20261124080000001"}
    return encode(**head, datatime="20261124080000", factors=values)


def stream_of(make: Callable[[str], bytes], frames: int) -> bytes:
    return b"".join([make(f"BENCH{number:09d}") for number in range(2000)] * (frames // 2000))


def fastest(work: Callable[[], object]) -> float:
    """Processor seconds of the best round."""
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def in_reads(stream: bytes, size: int) -> int:
    """Rows of a stream that comes in reads of this size; they are taken out once in half a megabyte."""
    columns, rows, taken = batch.Stream(), 0, 0
    for at in range(0, len(stream), size):
        columns.feed(stream[at : at + size])
        if at - taken > 1 << 19:
            rows, taken = rows + columns.take().num_rows, at
    return rows + columns.close().num_rows


def frame_by_frame(stream: bytes) -> int:
    splitter, good = Splitter(), 0
    for at in range(0, len(stream), 16 << 10):
        good += sum(of_chunk(chunk).ok for chunk in splitter.feed(stream[at : at + (16 << 10)]))
    return good


def scanned(stream: bytes) -> int:
    return sum(len(scan.scan(stream[at : at + (432 << 9)]).heads) for at in range(0, len(stream), 432 << 9))


def words(stream: bytes) -> int:
    return int(np.bitwise_xor.reduce(np.frombuffer(stream, np.uint64, len(stream) // 8)))


def first_and_next_start() -> tuple[float, float]:
    """Processor seconds of compiling all kernels, and of loading them with all they need; in processes of their own."""
    import os
    import tempfile

    code = "import time, numpy, pyarrow, numba; b = time.process_time(); import ceguan.intake.hj212.batch"
    code += "; print(time.process_time() - b)"
    with tempfile.TemporaryDirectory() as cache:
        env = os.environ | {"NUMBA_CACHE_DIR": cache, "PYTHONPATH": str(ROOT)}
        first, following = (
            float(subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout)
            for _ in range(2)
        )
    return first, following


def main() -> None:
    many, few, four = stream_of(frame, MANY), stream_of(frame, FEW), stream_of(four_fields, MANY // 2)
    size, size4 = len(frame("BENCH000000000")), len(four_fields("BENCH000000000"))
    assert batch.table(many).num_rows == MANY * len(FACTORS)
    assert in_reads(few, 1460) == FEW * len(FACTORS)
    assert frame_by_frame(few) == scanned(few) == FEW
    compiling, loading = first_and_next_start()
    scan_speed = len(many) / fastest(lambda: words(many)) / 1e9
    rtd = f"{size}-byte frames, {len(FACTORS)} factors with Rtd and Flag"
    figures = [
        ("batch decode to columns", MANY / fastest(lambda: batch.table(many)), "frames/s", f"{MANY} {rtd}"),
        ("batch decode to columns, four fields", MANY // 2 / fastest(lambda: batch.table(four)), "frames/s",
         f"{MANY // 2} {size4}-byte frames, {len(FACTORS)} factors with Min, Avg, Max and Flag"),
        ("streaming decode to columns, 64 KiB", MANY / fastest(lambda: in_reads(many, 1 << 16)), "frames/s", rtd),
        ("streaming decode to columns, 1460 B", MANY / fastest(lambda: in_reads(many, 1460)), "frames/s", rtd),
        ("frames found, proved, heads read", MANY / fastest(lambda: scanned(many)), "frames/s", rtd),
        ("streaming decode", FEW / fastest(lambda: frame_by_frame(few)), "frames/s",
         f"{FEW} {rtd}, each as a Frame object, reads of 16 KiB"),
        ("kernels compiled for the first time", compiling, "s", "scan and batch"),
        ("kernels loaded", loading, "s", "scan and batch, without numpy, pyarrow and numba themselves"),
        ("peak memory of this bench", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB", "its data too"),
    ]  # fmt: skip
    for name, value, unit, what in figures:
        conditions = f"{what}; one core, processor time, best of {ROUNDS}, byte scan {scan_speed:.1f} GB/s"
        shown = round(value) if value > 1000 else round(value, 2)
        print(json.dumps({"name": name, "value": shown, "unit": unit, "conditions": conditions}))


if __name__ == "__main__":
    main()
