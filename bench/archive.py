"""The archive verified: SHA-256 and every record's CRC, against hashing alone in the same run; proof lines made.

bench/archive.py
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ceguan.store import ArchiveWriter, RecordKind, proofs  # noqa: E402  the root must be on the path first
from ceguan.store.verify import verify  # noqa: E402

BYTES = 192 << 20
FRAME = b"ST=31;CN=2051;PW=123456;MN=88888880000001;Flag=5;CP=&&DataTime=20261124080000;a21026-Avg=12.345&&" * 8


def fill(folder: Path, size: int) -> int:
    with ArchiveWriter(folder, 0) as writer:
        for number in range(BYTES // (size + 34)):
            writer.append(RecordKind.FRAME, float(number), "10.0.0.7:51234", FRAME[:size])
    return sum(path.stat().st_size for path in (folder / "0000").glob("*.seg"))


def rate(work, size: int) -> float:
    """MB/s, the best of three."""
    best = min(timed(work) for _ in range(3))
    return round(size / best / 1e6)


def timed(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def hash_alone(folder: Path) -> None:
    for path in (folder / "0000").glob("*.seg"):
        with open(path, "rb") as file:
            hashlib.file_digest(file, "sha256")


def main() -> None:
    proofs.walk(b"")  # loads the kernel
    for frame in (250, 432, 790):
        with tempfile.TemporaryDirectory(prefix="ceguan-bench-") as name:
            folder = Path(name)
            size = fill(folder, frame)
            figures = {
                "verify_mb_s": rate(lambda folder=folder: verify(folder, 0), size),
                "sha256_alone_mb_s": rate(lambda folder=folder: hash_alone(folder), size),
                "prove_mb_s": round(size / timed(lambda folder=folder: proofs.prove(folder, 0, 0.0, False)) / 1e6),
            }
            print(json.dumps({"bench": "archive", "frame_bytes": frame, "bytes": size, **figures}))


if __name__ == "__main__":
    main()
