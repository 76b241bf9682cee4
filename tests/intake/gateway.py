"""A real gateway process on a free port, and a small TCP device to talk to it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from ceguan.intake.hj212.frame import decode, encode
from ceguan.store import archive

RUN = """
import sys
from pathlib import Path
from ceguan import settings
from ceguan.intake.hj212 import gateway
sys.exit(gateway.serve(settings.load(), "127.0.0.1", int(sys.argv[1])))
"""


class Process:
    """The gateway in a process of its own; `environ` are settings (CEGUAN_…)."""

    def __init__(self, data: Path, **environ: object):
        self.data, self.port = data, free_port()
        variables = os.environ | {"CEGUAN_DATA": str(data)} | {key: str(value) for key, value in environ.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(self.port)], env=variables, stderr=subprocess.PIPE, text=True
        )
        self._await()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def records(self) -> list[archive.Record]:
        return list(archive.read(self.data / "archive", {}))

    def beat(self) -> dict:
        return json.loads((self.data / "gateway.json").read_text())

    def _await(self) -> None:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.process.stderr.read()
                time.sleep(0.05)
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

    def close(self) -> None:
        self.socket.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
