"""HJ 212 decoding from a byte stream, one core: splitting, checksum, every field."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.gateway import FACTORS, frame
from ceguan.intake.hj212.frame import of_chunk
from ceguan.intake.hj212.splitter import Splitter

FRAMES = 30_000
READ = 16 << 10


def main() -> None:
    stream = b"".join(frame(f"BENCH{number % 2000:09d}") for number in range(FRAMES))
    best = min(seconds(stream) for _ in range(3))
    conditions = f"{FRAMES} frames of {len(frame('BENCH000000000'))} bytes, {len(FACTORS)} factors, one core, best of 3"
    print(
        json.dumps(
            {"name": "streaming decode", "value": round(FRAMES / best), "unit": "frames/s", "conditions": conditions}
        )
    )


def seconds(stream: bytes) -> float:
    splitter, start, good = Splitter(), time.perf_counter(), 0
    for at in range(0, len(stream), READ):
        good += sum(of_chunk(chunk).ok for chunk in splitter.feed(stream[at : at + READ]))
    assert good == FRAMES
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
