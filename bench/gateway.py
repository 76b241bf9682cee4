"""Frames per second of the gateway with a durable answer, beside the same run without durability.

    bench/gateway.py [--active 2000] [--idle 10000] [--seconds 10]

Gateway and load generator are two processes on the same machine; the generator's share of the processors is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the root must be on the path first

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
    """The archive with everything but the fdatasync: the same run without durability."""

    def sync(self) -> None:
        with self._disk:
            self._write()


WRITERS = {
    "durable": lambda folder: ArchiveWriter(folder, 0),
    "unsynced": lambda folder: Unsynced(folder, 0),
    "nothing": lambda folder: Forgetful(),
}


def serve(port: int, writer: str) -> None:
    """The child: one gateway until SIGTERM; prints its peak memory on the way out."""
    import uvloop

    values = settings.load(gateway_max_connections=60000)
    gateways.raise_descriptor_limit()
    if writer == "nothing":
        gateways.build = lambda *_: (memoryview(b""), [])  # nor are records built
    listener = gateways.listen("127.0.0.1", port)
    uvloop.run(gateways.accept(values, WRITERS[writer](values.folder / "archive"), listener, lambda state: None))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"rss_mb": used.ru_maxrss / 1024, "cpu_s": used.ru_utime + used.ru_stime}), flush=True)


class Device(asyncio.Protocol):
    """Sends its frame, waits for the answer, sends again."""

    def __init__(self, data: bytes, waits: list[float]):
        self.data, self.waits, self.sent, self.transport = data, waits, 0.0, None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.data)

    def data_received(self, data: bytes) -> None:
        self.waits.append(time.perf_counter() - self.sent)
        self.send()


async def load(port: int, active: int, idle: int, seconds: float) -> dict:
    """Answers counted over `seconds` after a warm-up of two."""
    loop, waits = asyncio.get_running_loop(), []
    devices = [Device(frame(f"BENCH{number:09d}"), waits) for number in range(active)]
    for number, device in enumerate(devices + [Device(b"", []) for _ in range(idle)]):
        source = (f"127.0.0.{2 + number % 8}", 0)
        await loop.create_connection(lambda device=device: device, "127.0.0.1", port, local_addr=source)
    for device in devices:
        device.send()
    await asyncio.sleep(2)
    waits.clear()
    used, start = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - start
    taken = np.array(waits)
    return {
        "frames_per_s": len(taken) / took,
        "p50_ms": float(np.percentile(taken, 50)) * 1000,
        "p99_ms": float(np.percentile(taken, 99)) * 1000,
        "generator_share": (time.process_time() - used) / took / (os.cpu_count() or 1),
    }


def await_port(port: int, child: subprocess.Popen) -> None:
    """Until the gateway accepts; at most 20 s."""
    for _ in range(200):
        if child.poll() is not None:
            raise SystemExit("the gateway did not start; is the port taken? --port")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the gateway did not accept within 20 s")


def measure(writer: str, args: argparse.Namespace) -> dict:
    """One run: gateway in a child process, load generator here."""
    import uvloop

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--serve", str(args.port), "--writer", writer]
        child = subprocess.Popen(
            command, env=os.environ | {"CEGUAN_DATA": folder}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            await_port(args.port, child)
            result = uvloop.run(load(args.port, args.active, args.idle, args.seconds))
        finally:
            child.terminate()
            told, _ = child.communicate(timeout=30)
        return result | json.loads(told.splitlines()[-1])


def byte_scan_gb_per_s() -> float:
    """How fast this machine looks at bytes: the yardstick beside the figures."""
    block = np.zeros(64 << 20, np.uint8)
    start = time.perf_counter()
    block.sum(dtype=np.uint64)
    return block.nbytes / (time.perf_counter() - start) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--active", type=int, default=2000)
    parser.add_argument("--idle", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--port", type=int, default=29212)
    parser.add_argument("--serve", type=int)
    parser.add_argument("--writer", choices=WRITERS, default="durable")
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.writer)
        return
    limit = gateways.raise_descriptor_limit()
    durable, unsynced, nothing = (measure(writer, args) for writer in WRITERS)
    conditions = (
        f"{args.active} active closed-loop + {args.idle} idle connections, {len(frame('BENCH000000000'))}-byte frames "
        f"of {len(FACTORS)} factors, one gateway process and the generator on {os.cpu_count()} cores "
        f"(generator {durable['generator_share']:.0%} of them), byte scan {byte_scan_gb_per_s():.1f} GB/s, "
        f"descriptor limit {limit}"
    )
    figures = [
        ("gateway frames with durable answer", durable["frames_per_s"], "frames/s"),
        ("gateway frames, archive without fdatasync", unsynced["frames_per_s"], "frames/s"),
        ("gateway frames, no archive at all", nothing["frames_per_s"], "frames/s"),
        ("durable to without fdatasync", durable["frames_per_s"] / unsynced["frames_per_s"], "ratio"),
        ("durable to no archive at all", durable["frames_per_s"] / nothing["frames_per_s"], "ratio"),
        ("answer p50", durable["p50_ms"], "ms"),
        ("answer p99", durable["p99_ms"], "ms"),
        ("gateway peak memory", durable["rss_mb"], "MB"),
    ]
    for name, value, unit in figures:
        print(json.dumps({"name": name, "value": round(value, 2), "unit": unit, "conditions": conditions}))


if __name__ == "__main__":
    main()
