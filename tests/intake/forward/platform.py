"""Another platform on a real port, and a real forwarder process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import Frame, encode, of_chunk
from ceguan.intake.hj212.splitter import Splitter
from ceguan.store import ArchiveWriter, RecordKind

BASE = 1_764_000_000


class Platform:
    """Takes frames and answers; `answer(frame, number)` returns the bytes to say, None for nothing, or raises to hang
    up. `log` holds (QN, frame) as they came, `acknowledged` the QN of those that were answered."""

    def __init__(self, answer: Callable[[Frame, int], bytes | None] | None = None, port: int = 0, key=None) -> None:
        self.answer = answer or (lambda frame, number: answer_to(frame))
        self.log: list[Frame] = []
        self.acknowledged: list[str] = []
        self.heard: list[Frame] = []
        self.say: list[bytes] = []
        self._key = key
        self._server = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.port = self._server.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._sockets.append(peer)
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        splitter = Splitter()
        try:
            for said in self.say:
                peer.sendall(said)
            while data := peer.recv(65536):
                for chunk in splitter.feed(data):
                    self._frame(peer, of_chunk(chunk, self._key))
        except OSError:
            pass
        finally:
            peer.close()

    def _frame(self, peer: socket.socket, frame: Frame) -> None:
        if frame.st == "91":
            self.heard.append(frame)
            return
        self.log.append(frame)
        said = self.answer(frame, len(self.log))
        if said:
            self.acknowledged.append(str(frame.qn))
            peer.sendall(said)

    @property
    def values(self) -> list[str]:
        """The value of each frame in the order in which they came, those sent again left out."""
        seen: dict[str, str] = {}
        for frame in self.log:
            seen.setdefault(str(frame.qn), next(iter(frame.factors.values()))["Avg"])
        return list(seen.values())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes accept
        self._server.close()
        for peer in self._sockets:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()


class Spool:
    """An archive with frames of devices as the gateway writes them; values count up."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "archive"
        self.writers: dict[int, ArchiveWriter] = {}
        self.number = 0

    def put(self, count: int = 1, mn: str = "MNGAS_OUTLET", stream: int = 0, **head) -> list[str]:
        """`count` hourly uploads; returns their values."""
        made = []
        for _ in range(count):
            self.number += 1
            made.append(str(self.number))
            self.raw(upload(self.number, mn, **head), stream, BASE + self.number)
        self.sync()
        return made

    def raw(
        self, payload: bytes, stream: int = 0, recv: float | None = None, kind: RecordKind = RecordKind.FRAME
    ) -> None:
        writer = self.writers.get(stream) or self.writers.setdefault(stream, ArchiveWriter(self.folder, stream))
        writer.append(kind, recv if recv is not None else BASE + self.number, "10.0.0.7:5000", payload)

    def sync(self) -> None:
        for writer in self.writers.values():
            writer.sync()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


def upload(number: int, mn: str = "MNGAS_OUTLET", value: str | None = None, **head) -> bytes:
    hour = time.strftime("%Y%m%d%H0000", time.gmtime(1_700_000_000 + number * 3600))
    given = {"st": "31", "cn": "2061", "pw": "123456", "flag": 5, "qn": f"20251124080{number:06d}", "datatime": hour}
    return encode(**{**given, "mn": mn, "factors": {"a21026": {"Avg": value or str(number), "Flag": "N"}}, **head})


class Forwarder:
    """`ceguan forward` in a process of its own."""

    def __init__(self, data: Path, *arguments: str, **environ: object) -> None:
        variables = {"CEGUAN_DATA": str(data), "CEGUAN_FORWARD_OVERTIME_SECONDS": "1"}
        variables |= {key: str(value) for key, value in environ.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ceguan", "forward", *arguments], env=os.environ | variables,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def wait(self) -> tuple[int, str]:
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out + err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
