"""A real gateway process on a free port, and a small TCP device to talk to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import socket
import sys
import time
from pathlib import Path
from typing import Any

from ceguan import settings
from ceguan.intake.hj212 import gateway
from ceguan.intake.hj212.frame import decode, encode
from ceguan.store import archive
from tests import PRELOAD

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(PRELOAD)


def run(
    port: int, stream: int, segment_bytes: int, descriptors: int, environ: dict[str, str], set_by: Any = None
) -> None:
    """The body of the gateway's process (forked from a server that has imported everything: it is there at once)."""
    if set_by is not None:
        right = time.time
        time.time = lambda: right() + set_by.value
    os.environ.clear()
    os.environ.update(environ)
    if segment_bytes:
        archive.ArchiveWriter.__init__.__defaults__ = (segment_bytes,)
    if descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    sys.exit(gateway.serve(settings.load(), "127.0.0.1", port, stream))


class Process:
    """The gateway in a process of its own; `environ` are settings (CEGUAN_…).

    `stream`: of the archive it writes, `segment_bytes`: of its segments, `descriptors`: how many the process may have;
    0 for what is usual. `clock.value`: by how many seconds its machine's clock is set.
    """

    def __init__(self, data: Path, stream: int = 0, segment_bytes: int = 0, descriptors: int = 0, **environ: object):
        self.data, self.port = data, free_port()
        self.clock = PROCESSES.Value("d", 0.0)
        variables = os.environ | {"CEGUAN_DATA": str(data)} | {key: str(value) for key, value in environ.items()}
        arguments = (self.port, stream, segment_bytes, descriptors, dict(variables), self.clock)
        self.process = PROCESSES.Process(target=run, args=arguments, daemon=True)
        self.process.start()
        self._await()

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(20)
        assert self.process.exitcode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def records(self) -> list[archive.Record]:
        return list(archive.read(self.data / "archive", {}))

    def beat(self) -> dict:
        try:
            return json.loads((self.data / "gateway.json").read_text())
        except FileNotFoundError:
            return {}

    def _await(self) -> None:
        """It beats once it listens."""
        for _ in range(2000):
            if self.beat().get("pid") == self.process.pid:
                return
            assert self.process.is_alive(), "it fell"
            time.sleep(0.01)
        raise AssertionError("the gateway did not come up")


class Device:
    """A data logger: one connection, frames numbered by their QN."""

    def __init__(self, port: int, mn: str = "MN0001"):
        self.mn, self.number = mn, 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._unread = b""

    def frame(self, value: str = "12.3") -> bytes:
        self.number += 1
        return encode(
            st="31", cn="2061", mn=self.mn, pw="123456", flag=5, qn=f"2026112408{self.number:07d}",
            datatime="20261124070000", factors={"a21026": {"Avg": value, "Flag": "N"}},
        )  # fmt: skip

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self):
        """The next answer as a frame; None when the connection ends; raises TimeoutError when nothing comes."""
        while b"\r\n" not in self._unread:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\r\n")
        return decode(line + b"\r\n")

    def read(self, size: int) -> bytes:
        """So many bytes of answers, as they came."""
        while len(self._unread) < size and (data := self.socket.recv(65536)):
            self._unread += data
        return self._unread

    def close(self) -> None:
        self.socket.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
