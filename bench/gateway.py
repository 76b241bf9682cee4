"""Frames per second of the gateway with a durable answer, beside the same run without durability.

    bench/gateway.py [--active 2000] [--idle 10000] [--seconds 8] [--rounds 3]

Gateway and load generator share the machine; the generator's share of the processors is printed. The runs are taken in
turn, round by round, and each figure is the median of its rounds: what else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the root must be on the path first

from bench import load  # noqa: E402
from ceguan import settings  # noqa: E402
from ceguan.intake.hj212 import gateway as gateways  # noqa: E402
from ceguan.intake.hj212.frame import encode  # noqa: E402
from ceguan.store import ArchiveWriter  # noqa: E402
from ceguan.words import FrameRef  # noqa: E402

FACTORS = ("a21026", "a21002", "a34013", "a19001", "a01011", "a01012", "a01013", "a01014", "a00000", "a21005")


def frame(mn: str) -> bytes:
    """About 430 bytes, ten factors, an answer wanted."""
    values = {code: {"Rtd": f"{number + 12.345:.3f}", "Flag": "N"} for number, code in enumerate(FACTORS)}
    return encode(
        st="31",
        cn="2011",
        mn=mn,
        pw="123456",
        flag=5,
        qn="20261124080000001",
        datatime="20261124080000",
        factors=values,
    )


class Forgetful:
    """An archive that keeps nothing and costs nothing: what the gateway does without one."""

    stream = 0

    def append(self, *_: object) -> FrameRef:
        return FrameRef(0, 0, 0)

    def append_many(self, *_: object) -> None: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class Unsynced(ArchiveWriter):
    """The archive with everything but the fdatasync."""

    def sync(self) -> None:
        with self._disk:
            self._write()


WRITERS = {
    "durable": lambda folder: ArchiveWriter(folder, 0),
    "unsynced": lambda folder: Unsynced(folder, 0),
    "nothing": lambda folder: Forgetful(),
}


def serve(port: int, writer: str) -> None:
    """The child: one gateway until SIGTERM."""
    import uvloop

    values = settings.load()
    gateways.raise_descriptor_limit()
    if writer == "nothing":
        gateways.build = lambda *_: (memoryview(b""), [])  # nor are records built
    listener = gateways.listen("127.0.0.1", port)
    made = WRITERS[writer](values.folder / "archive")
    uvloop.run(gateways.accept(values, made, listener, lambda state: print(json.dumps(state), flush=True)))


def measure(run: str, args: argparse.Namespace) -> dict[str, float]:
    """One run: the gateway – one process with this writer, or "two processes" – beside the load generator."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--serve", str(args.port), "--writer", run]
        if run == "two":
            command = [sys.executable, "-m", "ceguan", "gateway", "--port", str(args.port), "--processes", "2"]
        environ = os.environ | {
            "CEGUAN_DATA": folder,
            "PYTHONPATH": str(ROOT),
            "CEGUAN_GATEWAY_MAX_CONNECTIONS": "60000",
        }
        child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            processes = await_gateway(child, Path(folder), run)
            frames = [frame(f"BENCH{n:09d}") for n in range(args.active)]
            result = load.run(args.port, frames, args.idle, args.seconds, lambda: sum(map(cpu_seconds, processes)))
            result["rss_mb"] = max(memory(pid, "VmHWM") for pid in processes)
            result["pss_mb"] = sum(memory(pid, "Pss") for pid in processes)
        finally:
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=60)
        return result


def await_gateway(child: subprocess.Popen, folder: Path, run: str) -> list[int]:
    """The gateway's processes, once all accept."""
    assert child.stdout is not None
    if run != "two":
        child.stdout.readline()
        if child.poll() is not None:
            raise SystemExit("the gateway did not start; is the port taken? --port")
        return [child.pid]
    for _ in range(300):
        time.sleep(0.1)
        beat = folder / "gateway.json"
        found = json.loads(beat.read_text())["processes"] if beat.exists() else []
        if len(found) == 2:
            return [one["pid"] for one in found]
    raise SystemExit("the gateway did not accept within 30 s")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, name: str) -> float:
    """MB: VmHWM, the peak, or Pss, where pages shared between processes count once."""
    path = Path(f"/proc/{pid}/{'smaps_rollup' if name == 'Pss' else 'status'}")
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) / 1024


def byte_scan_gb_per_s() -> float:
    """How fast this machine looks at bytes: the yardstick beside the figures."""
    block = np.ones(64 << 20, np.uint8)
    start = time.perf_counter()
    np.bitwise_xor.reduce(block.view(np.uint64))
    return block.nbytes / (time.perf_counter() - start) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--active", type=int, default=2000)
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=29212)
    parser.add_argument("--serve", type=int)
    parser.add_argument("--writer", choices=WRITERS, default="durable")
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.writer)
        return
    limit = gateways.raise_descriptor_limit()
    runs: dict[str, list[dict[str, float]]] = {run: [] for run in (*WRITERS, "two")}
    for _ in range(args.rounds):
        for run, results in runs.items():
            results.append(measure(run, args))

    def median(run: str, key: str) -> float:
        return statistics.median(result[key] for result in runs[run])

    def ratio(run: str, other: str) -> float:
        pairs = zip(runs[run], runs[other], strict=True)
        return statistics.median(one["frames_per_s"] / two["frames_per_s"] for one, two in pairs)

    conditions = (
        f"{args.active} active closed-loop + {args.idle} idle connections, {len(frame('BENCH000000000'))}-byte frames "
        f"of {len(FACTORS)} factors, gateway and generator on {os.cpu_count()} cores, load before "
        f"{os.getloadavg()[2]:.1f}, median of {args.rounds} rounds of {args.seconds:g} s, byte scan "
        f"{byte_scan_gb_per_s():.1f} GB/s, descriptor limit {limit}"
    )
    figures = [
        ("gateway frames with durable answer", median("durable", "frames_per_s"), "frames/s"),
        ("gateway frames, archive without fdatasync", median("unsynced", "frames_per_s"), "frames/s"),
        ("gateway frames, no archive at all", median("nothing", "frames_per_s"), "frames/s"),
        ("gateway frames with durable answer, two processes", median("two", "frames_per_s"), "frames/s"),
        ("durable to without fdatasync", ratio("durable", "unsynced"), "ratio"),
        ("durable to no archive at all", ratio("durable", "nothing"), "ratio"),
        ("two processes to one", ratio("two", "durable"), "ratio"),
        ("gateway processor time a frame, durable", median("durable", "gateway_us"), "us"),
        ("gateway processor time a frame, no archive at all", median("nothing", "gateway_us"), "us"),
        ("gateway processor time a frame, two processes", median("two", "gateway_us"), "us"),
        ("generator processor time a frame", median("durable", "generator_us"), "us"),
        ("answer p50", median("durable", "p50_ms"), "ms"),
        ("answer p99", median("durable", "p99_ms"), "ms"),
        ("answer p99, two processes", median("two", "p99_ms"), "ms"),
        ("generator's share of the processors, one process", median("durable", "generator_share"), "ratio"),
        ("generator's share of the processors, two processes", median("two", "generator_share"), "ratio"),
        ("gateway peak memory", median("durable", "rss_mb"), "MB"),
        ("gateway peak memory, each of two processes", median("two", "rss_mb"), "MB"),
        ("gateway memory, two processes, shared pages once", median("two", "pss_mb"), "MB"),
    ]
    for name, value, unit in figures:
        print(json.dumps({"name": name, "value": round(value, 2), "unit": unit, "conditions": conditions}))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    main()
