"""Several gateway processes on one port, and the parent that keeps them.

The parent binds one listening socket per process (SO_REUSEPORT: the kernel deals connections out) and holds all of
them, so that a caller waits in the queue while a process is replaced. Each process writes an archive stream of its own
and tells the parent twice a second what it counts; the parent writes the one heartbeat and answers Prometheus.

SIGHUP replaces the processes – new settings, new code – one for one: the new one listens before the old one stops
accepting, finishes what has begun, commits, answers and goes. SIGTERM drains in the same way. A process that falls is
started again; when the parent falls, its processes drain.
"""

from __future__ import annotations

import fcntl
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ceguan import clock, settings
from ceguan.exposition import Exposition, serve
from ceguan.intake.hj212 import metrics
from ceguan.intake.hj212.sockets import PortTakenError, listen, raise_descriptor_limit
from ceguan.pulse import GATEWAY, write_heartbeat
from ceguan.settings import Settings

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
BEAT_SECONDS = 0.5
STREAMS = 64
"""So many streams a gateway has: 0 to 63, or as many from `gateway_stream_base` on. 64 to 127 are those of imports."""
MOST_STREAM = 4095
"""A stream number has 12 bits (`words.FrameRef`)."""
GRACE_SECONDS = 9
"""How much longer than its draining a process may take before it is killed."""
STEADY_SECONDS = 30
MOST_PAUSE = 30
MESSAGE_BYTES = 1 << 16


class GatewayTakenError(Exception):
    """Another gateway runs on this data folder."""


class Child:
    """One process and what it has said of itself last."""

    def __init__(self, listener: socket.socket, first_stream: int) -> None:
        self.report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.report.setblocking(False)
        self.state: dict[str, Any] = {}
        self.born = time.monotonic()
        self.kill_at: float | None = None
        handed = (listener.fileno(), theirs.fileno())
        command = [sys.executable, "-m", "ceguan.intake.hj212.processes", *map(str, (*handed, first_stream))]
        with theirs:
            self.process = subprocess.Popen(command, pass_fds=handed, stdin=subprocess.DEVNULL)

    @property
    def ready(self) -> bool:
        return bool(self.state)

    def hear(self) -> None:
        """Take in all it has said."""
        try:
            while message := self.report.recv(MESSAGE_BYTES):
                self.state = orjson.loads(message)
        except (BlockingIOError, ConnectionError):
            return

    def fallen(self) -> int | None:
        """The exit code once it has gone."""
        code = self.process.poll()
        if code is not None:
            self.hear()
            self.report.close()
        return code

    def leave(self, seconds: float) -> None:
        """Drain, for at most so long."""
        self.process.terminate()
        self.kill_at = time.monotonic() + seconds


class Slot:
    """One place among the processes: its socket, who serves it, and who is to follow."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener: socket.socket | None = listener
        self.child: Child | None = None
        self.next: Child | None = None
        self.falls = 0
        self.again_at = 0.0

    def children(self) -> Iterator[Child]:
        yield from (child for child in (self.child, self.next) if child is not None)


class Parent:
    """Keeps the processes until it is told to stop."""

    def __init__(self, values: Settings, listeners: list[socket.socket], first_stream: int) -> None:
        self.values = values
        self.state: dict[str, Any] = {}
        self._host, self._port = listeners[0].getsockname()[:2]
        self._shared = len(listeners) > 1
        self._slots = [Slot(listener) for listener in listeners]
        self._leaving: list[Child] = []
        self._gone: dict[str, Any] = {}
        self._first_stream = first_stream
        self._restarts = 0
        self._started = time.time()
        self._beaten = 0.0
        self._stop = self._reload = False
        self._patience = float(values.gateway_drain_seconds) + GRACE_SECONDS

    def run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(self, "_stop", True))
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_reload", True))
        while not self._stop:
            if self._reload:
                self._replace_all()
            for slot in self._slots:
                self._mind(slot)
            self._let_go()
            self._beat(running=True)
            self._listen()
        self._end()

    def _children(self) -> list[Child]:
        return [*(child for slot in self._slots for child in slot.children()), *self._leaving]

    def _listen(self) -> None:
        """Hear the children out until the next tick."""
        with selectors.DefaultSelector() as waiting:
            for child in self._children():
                waiting.register(child.report, selectors.EVENT_READ, child)
            end = time.monotonic() + TICK_SECONDS
            while not (self._stop or self._reload) and (left := end - time.monotonic()) > 0:
                for key, _ in waiting.select(left):
                    key.data.hear()
                    if key.data.process.poll() is not None:
                        return

    def _replace_all(self) -> None:
        self._reload = False
        log.info("重新加载：启动新的网关进程")
        for slot in self._slots:
            if slot.child is None:
                slot.falls, slot.again_at = 0, 0.0
            elif slot.next is None and slot.listener is not None:
                slot.next = Child(slot.listener, self._first_stream)

    def _mind(self, slot: Slot) -> None:
        """Bring one slot on: the fallen is started again, the one who is to follow takes over once it listens."""
        if slot.next is not None and (code := slot.next.fallen()) is not None:
            log.error("重新加载：新的网关进程起不来（代码 %s），旧进程继续", code)
            slot.next = None
        if slot.child is not None and (code := slot.child.fallen()) is not None:
            self._fell(slot, slot.child, code)
        if slot.next is not None and slot.next.ready:
            if slot.child is not None:
                slot.child.leave(self._patience)
                self._leaving.append(slot.child)
            slot.child, slot.next = slot.next, None
        if slot.child is None and slot.next is None and time.monotonic() >= slot.again_at:
            self._start(slot)

    def _start(self, slot: Slot) -> None:
        try:
            slot.listener = slot.listener or listen(self._host, self._port, shared=self._shared)
        except PortTakenError as error:
            log.error("%s", error)
            slot.again_at = time.monotonic() + MOST_PAUSE
            return
        slot.child = Child(slot.listener, self._first_stream)

    def _fell(self, slot: Slot, child: Child, code: int) -> None:
        """At once again the first time; then after 1, 2, 4 … seconds, in which the queue of its socket is given up."""
        self._forget(child)
        slot.child = None
        slot.falls = 1 if time.monotonic() - child.born > STEADY_SECONDS else slot.falls + 1
        pause = 0 if slot.falls == 1 else min(MOST_PAUSE, 2 ** (slot.falls - 2))
        slot.again_at = time.monotonic() + pause
        self._restarts += 1
        if pause and slot.listener is not None and self._shared:
            slot.listener.close()
            slot.listener = None
        log.error("网关进程 %s 已退出（代码 %s），%s 秒后重启", child.process.pid, code, pause)

    def _let_go(self) -> None:
        for child in list(self._leaving):
            if child.fallen() is not None:
                self._leaving.remove(child)
                self._forget(child)
            elif child.kill_at is not None and time.monotonic() > child.kill_at:
                log.error("网关进程 %s 收尾超时，强行结束", child.process.pid)
                child.process.kill()

    def _forget(self, child: Child) -> None:
        """What it counted stays counted."""
        self._gone = metrics.total((self._gone, child.state), metrics.COUNTED)

    def _end(self) -> None:
        for slot in self._slots:
            if slot.listener is not None:
                slot.listener.close()
            for child in slot.children():
                child.leave(self._patience)
                self._leaving.append(child)
            slot.child = slot.next = None
        while self._leaving:
            self._let_go()
            time.sleep(0.02)
        self._beat(running=False)

    def _beat(self, *, running: bool) -> None:
        if running and time.monotonic() - self._beaten < BEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        self.state = self._summary(running)
        write_heartbeat(self.values.folder / GATEWAY, self.state)

    def _summary(self, running: bool) -> dict[str, Any]:
        """The heartbeat of all; its age is that of the process heard of longest ago."""
        serving = [slot.child for slot in self._slots if slot.child is not None]
        states = [child.state for child in self._children() if child.ready]
        missing = sum(slot.child is None for slot in self._slots) if running else 0
        problems = [state["problem"] for state in states if state["problem"]]
        if missing:
            problems.append(f"{missing} 个网关进程已退出，正在重启")
        return {
            "pid": os.getpid(), "running": running, "started": self._started, "at": clock.now(),
            "real": min((child.state["real"] for child in serving if child.ready), default=time.time()),
            "problem": "；".join(problems), "alive": len(serving), "restarts": self._restarts,
            "frames_per_second": round(sum(state["frames_per_second"] for state in states), 1),
            "descriptors": min((state["descriptors"] for state in states), default=raise_descriptor_limit()),
            "processes": [_told(state) for state in states],
            **dict.fromkeys(metrics.GAUGES, 0), **metrics.total(states, metrics.GAUGES),
            **metrics.total((metrics.Tally().state(), self._gone, *states), metrics.COUNTED),
        }  # fmt: skip


def _told(state: dict[str, Any]) -> dict[str, Any]:
    """What the pages show of one process."""
    keys = (
        "pid",
        "stream",
        "started",
        "real",
        "connections",
        "frames_per_second",
        "frames",
        "bad",
        "problem",
        "draining",
    )
    return {key: state[key] for key in keys}


def run(values: Settings, host: str, port: int, processes: int, stream: int = 0) -> int:
    """Serve until SIGTERM or SIGINT. 0 after a clean stop, 2 when the port or the data folder is taken.

    `stream`: the first archive stream; each process takes the first free one from there on.
    """
    if not 1 <= processes <= STREAMS // 2:
        print(f"进程数 {processes}：应为 1 到 {STREAMS // 2}", file=sys.stderr)
        return 2
    if (problem := wrong_stream(stream)) is not None:
        print(problem, file=sys.stderr)
        return 2
    limit = raise_descriptor_limit()
    try:
        lock = _take_lock(values.folder)
        listeners = _listeners(host, port, processes)
    except (GatewayTakenError, PortTakenError) as error:
        print(error, file=sys.stderr)
        return 2
    parent = Parent(values, listeners, stream)
    exposition = Exposition(metrics.PREFIX, metrics.METRICS, lambda: parent.state)
    where = values.gateway_metrics_host, values.gateway_metrics_port
    if (problem := serve(exposition, *where, "gateway_metrics_port")) is not None:
        print(problem, file=sys.stderr)
        return 2
    print(
        f"HJ 212 网关监听 {host}:{listeners[0].getsockname()[1]}，{processes} 个进程，文件描述符上限 {limit}",
        flush=True,
    )
    try:
        parent.run()
    finally:
        os.close(lock)
    return 0


def wrong_stream(stream: int) -> str | None:
    """What is wrong with the number of a gateway's first stream, None when nothing is."""
    if 0 <= stream <= MOST_STREAM and stream // STREAMS != 1:
        return None
    imports = f"{STREAMS}–{2 * STREAMS - 1} 归导入"
    return (
        f"归档流 {stream}：网关可用 0–{STREAMS - 1} 与 {2 * STREAMS}–{MOST_STREAM}（{imports}）；"
        f"多台网关机器各设不同的 gateway_stream_base，如 0、{2 * STREAMS}、{3 * STREAMS}"
    )


def _take_lock(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "gateway.lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise GatewayTakenError(f"数据目录 {folder} 已有网关在运行，不能再开一个") from None
    return lock


def _listeners(host: str, port: int, processes: int) -> list[socket.socket]:
    """One socket per process. A port that others use is refused although it could be shared. Raises PortTakenError."""
    first = listen(host, port)
    if processes == 1:
        return [first]
    host, port = first.getsockname()[:2]
    first.close()
    return [listen(host, port, shared=True) for _ in range(processes)]


def _child(listen_on: int, report_to: int, first_stream: int) -> int:
    """One process of the parent's: serve the socket, tell the parent what is counted."""
    import uvloop

    from ceguan.intake.hj212 import gateway
    from ceguan.store import ArchiveError, open_free_stream

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    raise_descriptor_limit()
    values = settings.load()
    listener, report = socket.socket(fileno=listen_on), socket.socket(fileno=report_to)
    for one in (listener, report):
        one.setblocking(False)

    def beat(state: dict[str, Any]) -> None:
        try:
            report.send(orjson.dumps(state))
        except OSError:
            log.debug("the parent does not listen")  # it has died, which `accept` notices, or is slow

    try:
        writer = open_free_stream(
            values.folder / "archive", range(first_stream, first_stream // STREAMS * STREAMS + STREAMS)
        )
    except (ArchiveError, OSError) as error:
        log.error("网关进程开不了归档：%s", error)
        return 2
    return uvloop.run(gateway.accept(values, writer, listener, beat, report))


if __name__ == "__main__":
    sys.exit(_child(*map(int, sys.argv[1:])))
