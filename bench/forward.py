"""Forwarding to one and to ten platforms on this machine: messages acknowledged and on disk in a second.

    bench/forward.py

The platforms are answering servers in a process of their own, without a disk; the forwarder runs with its usual window
and one fsync per batch. The machine's own fsync time is printed beside, for it is what a batch waits for.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("CEGUAN_DATA", tempfile.mkdtemp(prefix="ceguan-bench-"))

from bench.gateway import FACTORS  # noqa: E402  the root must be on the path first
from ceguan.intake.forward.link import WINDOW, Link  # noqa: E402
from ceguan.intake.forward.spool import Book, Decoder, Feed, Plan, Sender  # noqa: E402
from ceguan.intake.forward.translate import Wish  # noqa: E402
from ceguan.intake.hj212.frame import encode  # noqa: E402
from ceguan.intake.hj212.readings import write_time  # noqa: E402
from ceguan.store import ArchiveWriter, RecordKind  # noqa: E402

FRAMES, DEVICES = 5_000, 50
SERVER = """
import asyncio, sys
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import quick_head
from ceguan.intake.hj212.splitter import Splitter
class Answering(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.splitter = transport, Splitter()
    def data_received(self, data):
        heads = [quick_head(chunk.data, chunk.dialect, bytes(16)) for chunk in self.splitter.feed(data)]
        self.transport.write(b"".join(answer_to(head) or b"" for head in heads))
async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
asyncio.run(main())
"""


def spool(folder: Path) -> None:
    """Hourly uploads of many devices with ten factors, each hour once."""
    factors = {code: {"Avg": f"{number + 12.345:.3f}", "Flag": "N"} for number, code in enumerate(FACTORS)}
    with ArchiveWriter(folder, 0) as writer:
        for number in range(FRAMES):
            hour = write_time(1_700_000_000 + number // DEVICES * 3600)
            sent = encode(
                st="31", cn="2061", mn=mn(number % DEVICES), pw="123456", flag=5, qn=f"{hour}{number % 1000:03d}",
                datatime=hour, factors=factors,
            )  # fmt: skip
            writer.append(RecordKind.FRAME, 1_764_000_000 + number / 100, "bench", sent)


def mn(number: int) -> str:
    return f"BENCH{number:09d}"


async def forward(folder: Path, port: int, targets: int, edition: int, key: bytes | None) -> float:
    devices = {mn(n): Sender(mn(n), {}) for n in range(DEVICES)}
    plan = Plan(Wish(edition, "123456", key=key), devices, frozenset({"2011", "2051", "2061"}))
    links = []
    for number in range(targets):
        book = Book(folder / f"book-{targets}-{edition}-{number}.db")
        feed = Feed(folder / "archive", book, plan, Decoder(lambda mn: ()), time.time)
        links.append(Link(str(number), ("127.0.0.1", port), feed, book))
    begin = time.perf_counter()
    troubles = await asyncio.gather(*(link.drain() for link in links))
    assert not any(troubles), troubles
    return time.perf_counter() - begin


def fsync_ms(folder: Path) -> float:
    with open(folder / "probe", "wb") as file:
        begin = time.perf_counter()
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - begin) / 50 * 1000


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ceguan-forward-"))
    spool(folder / "archive")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port)], cwd=ROOT)
    try:
        time.sleep(3)
        for targets, edition, key in ((1, 2017, None), (1, 2025, bytes(16)), (10, 2017, None)):
            cpu = time.process_time()
            took = asyncio.run(forward(folder, port, targets, edition, key))
            print(json.dumps({
                "bench": "forward", "targets": targets, "edition": edition, "enciphered": key is not None,
                "messages_per_second": round(FRAMES * targets / took), "of_each_target": round(FRAMES / took),
                "window": WINDOW, "cpu_share": round((time.process_time() - cpu) / took, 2),
                "fsync_ms": round(fsync_ms(folder), 2), "frames": FRAMES,
            }))  # fmt: skip
    finally:
        server.kill()


if __name__ == "__main__":
    main()
