"""The platform as it runs – `ceguan serve` on a data folder – beside devices that send at a given rate and a reader."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench import drain, load  # noqa: E402  the root must be on the path first

LINES = 20
TICK = 0.01
LENGTH = {"2011": 0, "2051": 600, "2061": 3600}
"""Seconds that a frame's values stand for."""
MONTH_SERIES = 20
MONTH_READINGS = 4464


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Platform:
    """Registers of `devices` outlets with ten series each; a month of ten-minute readings of twenty of them."""

    def __init__(self, folder: Path, devices: int) -> None:
        self.folder, self.port, self.web_port = folder, free_port(), free_port()
        os.environ |= {
            "CEGUAN_DATA": str(folder), "CEGUAN_GATEWAY_PORT": str(self.port), "CEGUAN_WEB_PORT": str(self.web_port),
            "CEGUAN_FILL_GAPS": "false", "DJANGO_SETTINGS_MODULE": "ceguan.django_settings", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        import django

        django.setup()
        from django.db import connections, transaction

        from ceguan import operate
        from ceguan.registry.models import Series
        from ceguan.store import Store

        operate.setup()
        with transaction.atomic():
            self.names = drain.build(devices)
        self.series = list(Series.objects.order_by("id").values_list("id", flat=True))
        connections.close_all()
        self.month = (int(time.time()) - 33 * 86400) // 600 * 600
        with Store(folder, write=True) as store:
            for number in self.series[:MONTH_SERIES]:
                with store.ledger.batch() as batch:
                    batch.add_readings([self._reading(number, n) for n in range(MONTH_READINGS)])
        self._running: subprocess.Popen[bytes] | None = None

    def _reading(self, number: int, n: int) -> tuple[Any, ...]:
        ts, nan = self.month + n * 600, float("nan")
        return (number, 1, ts, 0, n * 0.1, nan, nan, nan, nan, "N", ts + 601.0, n)

    def frames(self, count: int) -> list[bytes]:
        """Frames of the last hour and a bit: 2011 every half minute, 2051 and 2061 when they are due. Their QN is of
        the minutes in which they are sent: who sends old ones would be found for a clock that is off."""
        minutes, sent = -(-count // (2 * len(self.names))), time.time() + 120
        begin, rng, made = int(time.time()) // 3600 * 3600 - minutes * 60, np.random.default_rng(7), list[bytes]()
        for ts in range(begin, begin + 60 * minutes, 30):
            due = ["2011", *(["2051"] if ts % 600 == 0 else []), *(["2061"] if ts % 3600 == 0 else [])]
            for mn in self.names:
                values = rng.lognormal(2, 0.3, len(drain.FACTORS))
                made += [drain.frame(mn, cn, ts - LENGTH[cn], sent, values) for cn in due]
        return made[:count]

    def start(self, *verb: str) -> None:
        command = [sys.executable, "-m", "ceguan", *(verb or ("serve",))]
        quiet = subprocess.DEVNULL
        self._running = subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)

    def kill(self) -> None:
        """All its processes with -9."""
        assert self._running is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (first := psutil.Process(self._running.pid)).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            first.kill()
        self._running.wait()

    def stop(self) -> None:
        assert self._running is not None
        self._running.send_signal(signal.SIGTERM)
        self._running.wait(120)

    def answers(self) -> bool:
        """Whether the gateway answers a frame now."""
        raw = drain.frame(self.names[0], "2011", int(time.time()) // 30 * 30, time.time(), np.full(10, 9.5))
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.settimeout(2)
                line.sendall(raw)
                return b"QN=" in line.recv(4096)
        except OSError:
            return False

    def shows(self) -> bool:
        """Whether the web answers now."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}/sign-in/", timeout=2) as page:
                return bool(page.status == 200)
        except OSError:
            return False

    def taken(self) -> int:
        """Readings that the clockwork running now has taken in, -1 while none runs."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            said = json.loads((self.folder / "clockwork.json").read_text())
            if psutil.pid_exists(said["pid"]):
                return int(sum(said["totals"][name] for name in ("new", "same", "changed")))
        return -1

    def steps(self) -> tuple[int, bool]:
        """How many steps the clockwork has made, and whether nothing more had arrived with the last one."""
        said = json.loads((self.folder / "clockwork.json").read_text())
        return int(said["steps"]), bool(said["caught_up"])

    def backlog(self) -> float:
        """Bytes of the archive that the ledger has yet to take in, in MB."""
        from ceguan.store import Store

        return Store(self.folder).backlog() / 2**20

    def archived(self) -> float:
        """Bytes of the archive in MB."""
        return sum(path.stat().st_size for path in self.folder.glob("archive/*/*.seg")) / 2**20

    def received(self) -> int:
        """Frames of the gateway running now."""
        return int(json.loads((self.folder / "gateway.json").read_text())["frames"])

    def fill(self, count: int) -> int:
        """About so many frames by the closed loop of `load`, nobody reading them; how many it got to per second."""
        devices = [drain.frame(mn, "2011", int(time.time()) // 30 * 30, time.time(), np.full(10, 9.5))
                   for mn in self.names]  # fmt: skip
        rate = load.run(self.port, devices, 0, 2, lambda: 0.0)["frames_per_s"]
        while (left := count - self.received()) > 0:
            rate = load.run(self.port, devices, 0, max(0.1, left / rate - 2), lambda: 0.0)["frames_per_s"]
            time.sleep(1)  # the heartbeat comes up with it
        return round(rate)


class Lines:
    """Devices on a few lines that send without waiting for each answer; answers are counted."""

    def __init__(self, port: int) -> None:
        self.answered = 0
        self._lines = [socket.create_connection(("127.0.0.1", port)) for _ in range(LINES)]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with selectors.DefaultSelector() as waiting, contextlib.suppress(OSError):
            for line in self._lines:
                waiting.register(line, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    self.answered += key.fileobj.recv(1 << 20).count(b"\n")  # type: ignore[union-attr]

    def send(self, frames: list[bytes], rate: int) -> float:
        """At this rate; seconds until all were answered. A device keeps to its line."""
        wanted, began, done = self.answered + len(frames), time.monotonic(), 0
        while done < len(frames):
            due = min(len(frames), int((time.monotonic() - began + TICK) * rate))
            pieces: dict[int, list[bytes]] = {}
            for raw in frames[done:due]:
                at = raw.find(b"MN=BENCH") + 8
                pieces.setdefault(int(raw[at : at + 19]) % LINES, []).append(raw)
            for number, some in pieces.items():
                self._lines[number].sendall(b"".join(some))
            done = due
            time.sleep(TICK)
        while self.answered < wanted:
            if time.monotonic() - began > 60 + len(frames) / rate:
                raise SystemExit(f"{wanted - self.answered} frames were not answered")
            time.sleep(0.002)
        return time.monotonic() - began

    def close(self) -> None:
        for line in self._lines:
            line.close()


class Reader:
    """Another process that reads as the pages do, as long as it is asked to: series-months, the latest of all."""

    def __init__(self, platform: Platform) -> None:
        spawn = multiprocessing.get_context("spawn")
        ready, self._quit, self._found = spawn.Event(), spawn.Event(), spawn.SimpleQueue()
        given = (str(platform.folder), platform.series[:MONTH_SERIES], platform.month, ready, self._quit, self._found)
        self._process = spawn.Process(target=_read, args=given, daemon=True)
        self._process.start()
        ready.wait()

    def end(self) -> tuple[list[float], list[float]]:
        """Seconds of the series-months, of the latest."""
        self._quit.set()
        found: tuple[list[float], list[float]] = self._found.get()
        self._process.join()
        return found


def _read(folder: str, series: list[int], month: int, ready: Any, quit_: Any, found: Any) -> None:
    from ceguan.store import Store

    store = Store(folder)
    months, latest = [], []
    store.latest()
    store.readings(series[:1], 1, month, month + MONTH_READINGS * 600)
    ready.set()
    while not quit_.wait(0.02):
        number = series[len(months) % len(series)]
        began = time.perf_counter()
        rows = store.readings([number], 1, month, month + MONTH_READINGS * 600).num_rows
        months.append(time.perf_counter() - began)
        if rows != MONTH_READINGS:
            raise ValueError(rows)
        if len(months) % 10 == 0:
            began = time.perf_counter()
            store.latest()
            latest.append(time.perf_counter() - began)
    found.put((months, latest))


class Watch(threading.Thread):
    """The backlog once a second [MB]."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(daemon=True)
        self.backlog: list[float] = []
        self._platform, self._quit = platform, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._quit.wait(1):
            self.backlog.append(round(self._platform.backlog(), 1))

    def end(self) -> list[float]:
        self._quit.set()
        self.join()
        return self.backlog
