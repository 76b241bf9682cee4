"""The host's side of conversations in a gateway process: commands go out, answers come in, nothing is asked twice.

`Host` lives in the gateway's event loop and runs the exchanges (`exchange`); what touches the database is an errand
for its worker thread (`errands`). A request is in the archive, and durable, before it is sent, like everything that a
device is answered. The command goes to the newest connection of its device; one exchange at a time for a device.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ceguan import clock
from ceguan.intake.hj212.commands import Command as Row
from ceguan.intake.hj212.exchange import (
    Accepted,
    Action,
    Brought,
    End,
    Ended,
    Exchange,
    Request,
    Send,
    answered,
    code_of,
)
from ceguan.intake.hj212.frame import Frame, Head, decode, without_secrets
from ceguan.store import RecordKind
from ceguan.store.refusals import told
from ceguan.words import FrameRef

if TYPE_CHECKING:
    from ceguan.intake.hj212.gateway import Connection, Gateway

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
POLL_SECONDS = 0.5
PAUSE_SECONDS = 5.0
"""After the database could not be reached."""
STOP_SECONDS = 5.0
MOST_EXCHANGES = 200
"""Exchanges of one process at a time."""
MOST_ERRANDS = 1000
"""Errands that devices may cause (late results, notices) before more are passed over."""
MOST_FRAMES, MOST_ITEMS = 200, 20
"""References and contents of uploads kept with a command; the rest is counted, and in the archive."""
_SPOKEN = frozenset({"9011", "9012", "9013", "1013", "1014"})
"""CN that mean something to the conversation even when nothing is asked."""


class Order(NamedTuple):
    """A claimed command as the loop needs it. `st`, `pw`: "" = as the device itself sends them, else `st_usual`."""

    command: Any  # intake.models.Command; the loop only hands it back
    mn: str
    qn: str
    row: Row
    values: Mapping[str, str]
    key: bytes | None
    pw: str
    st_usual: str
    over_time: float
    re_count: int


@dataclass(slots=True)
class Running:
    """An exchange in progress, and what has not been written down of it."""

    exchange: Exchange
    order: Order
    connection: Connection
    frames: list[list[str]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    first: str = ""
    last: str = ""

    def take_frames(self) -> list[list[str]]:
        taken, self.frames = self.frames, []
        return taken

    def note(self, frame: Frame) -> None:
        """What an upload brought, without secrets."""
        when = frame.datatime or ""
        self.first, self.last = min(self.first or when, when), max(self.last, when)
        if self.order.row.answer == "one" and len(self.items) < MOST_ITEMS:
            shown = {"datatime": frame.datatime, "cp": frame.cp, "factors": frame.factors}
            self.items.append(without_secrets({name: value for name, value in shown.items() if value}))

    def answer(self) -> dict[str, Any]:
        uploads = self.exchange.uploads
        said = {"uploads": uploads, "first": self.first, "last": self.last, "items": self.items} if uploads else {}
        return {name: value for name, value in said.items() if value}


class _Letter:
    """A request on its way: stands where a connection does, so that it is sent after the commit."""

    def __init__(self, host: Host, running: Running, attempt: int, ref: FrameRef) -> None:
        self._host, self._running, self._attempt, self._ref = host, running, attempt, ref

    def send(self, data: bytes) -> None:
        if self._running.exchange.ended:  # the connection went while the disk was at work
            return
        self._running.connection.send(data)
        self._host.post("sent", self._running.order.command, self._attempt, str(self._ref), clock.now())


class Host:
    """All exchanges of one gateway process. `keys`: MN → SM4 keys, from memory, for whoever decodes in the loop."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.keys: Callable[[str], list[bytes]] = lambda _: []
        self.moved: deque[str] = deque()
        """Devices whose newest connection has changed since the worker looked."""
        self._loop = asyncio.get_running_loop()
        self._seen: dict[str, tuple[str, str, str]] = {}  # MN → ST, PW, CRC dialect it uses
        self._running: dict[str, Running] = {}
        self._errands: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._wake, self._stopping = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="commands", daemon=True)

    # ── what the gateway calls ────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        self._thread.start()

    def registered(self, mn: bytes) -> None:
        """The device has a new connection."""
        self.moved.append(mn.decode(errors="replace"))

    def forgotten(self, connection: Connection, mn: bytes) -> None:
        """The connection speaks for the device no longer."""
        name = mn.decode(errors="replace")
        self.moved.append(name)
        running = self._running.get(name)
        if running is not None and running.connection is connection:
            self._act(running, running.exchange.lost())
        if self.gateway.newest(name) is None:
            self._seen.pop(name, None)

    def heard(self, connection: Connection, head: Head, ref: FrameRef, raw: bytes) -> None:
        """A good frame, kept in the archive at `ref`. An answer without MN is that of the connection's one device."""
        mn = head.mn or self._only_device(connection)
        before = self._seen.get(mn)
        st = head.st if head.st and head.st != "91" else before[0] if before else ""
        pw = head.pw if head.pw is not None else before[1] if before else ""
        if mn.encode() in connection.mns:
            self._seen[mn] = (st, pw, head.crc_dialect or "")
        running = self._running.get(mn)
        if running is None and head.cn not in _SPOKEN:
            return
        frame = decode(raw, 0, head.crc_dialect, self.keys)
        actions = running.exchange.heard(frame, time.monotonic()) if running else []
        if running and actions:
            if frame.cn in _SPOKEN or running.exchange.uploads <= MOST_FRAMES:
                running.frames.append([frame.cn or "", str(ref)])
            self._act(running, actions)
        elif len(self._errands) < MOST_ERRANDS:
            self._unasked(mn, frame, ref)

    async def tick(self) -> None:
        """Let time pass for all exchanges; until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for running in list(self._running.values()):
                self._act(running, running.exchange.tick(time.monotonic(), clock.now()))

    def stop(self) -> None:
        """Write down what is unfinished and let the worker end."""
        for running in list(self._running.values()):
            self._forget(running)
            self.post("interrupted", running.order.command, "gateway", running.take_frames(), clock.now())
        self._stopping = True
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    # ── what the worker calls ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def free(self) -> int:
        """How many more exchanges may begin."""
        if self._stopping or self.gateway.draining or self.gateway.writer is None:
            return 0
        return MOST_EXCHANGES - len(self._running)

    def running(self) -> list[Any]:
        """The commands in progress."""
        return [running.order.command for running in list(self._running.values())]

    def hand(self, order: Order) -> None:
        """Give an order to the loop."""
        self._loop.call_soon_threadsafe(self._begin, order)

    def know(self, known: frozenset[str]) -> None:
        """Tell the loop which devices are adopted."""
        self._loop.call_soon_threadsafe(self.gateway.hear_register, known)

    def know_nothing(self) -> None:
        """Tell the loop that there is no database to wait for."""
        self._loop.call_soon_threadsafe(self.gateway.informed.set)

    # ── in the loop ───────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, errand: str, *arguments: Any) -> None:
        self._errands.append((errand, arguments))
        self._wake.set()

    def _begin(self, order: Order) -> None:
        connection = self.gateway.newest(order.mn)
        if connection is None or order.mn in self._running or self._stopping:
            self.post("again", order.command, clock.now())
            return
        st, pw, dialect = self._seen.get(order.mn, ("", "", ""))
        request = Request(
            order.mn, st or order.st_usual, order.pw or pw, order.qn, order.row, order.values, order.key,
            **({"crc_dialect": dialect} if dialect else {}),
        )  # fmt: skip
        running = Running(Exchange(request, order.over_time, order.re_count), order, connection)
        try:
            actions = running.exchange.start(time.monotonic(), clock.now())
        except ValueError as error:
            self.post("ended", order.command, End.FAILED, "unsendable", {"cause": str(error)}, [], clock.now())
            return
        self._running[order.mn] = running
        connection.listened = True
        self._act(running, actions)

    def _act(self, running: Running, actions: list[Action]) -> None:
        now = clock.now()
        for action in actions:
            if isinstance(action, Send):
                self._send(running, action)
            elif isinstance(action, Accepted):
                self.post("accepted", running.order.command, action.code, running.take_frames(), now)
            elif isinstance(action, Brought):
                running.note(action.frame)
            else:
                self._finish(running, action, now)

    def _send(self, running: Running, send: Send) -> None:
        """Into the archive; out after the commit. What was never sent is queued again, else the time-out runs on."""
        connection = running.connection
        ref = self.gateway.keep(RecordKind.SENT, clock.now(), connection.source, send.data)
        if ref is not None:
            self.gateway.answer(_Letter(self, running, send.attempt, ref), send.data)
        elif send.attempt == 1:
            self._forget(running)
            self.post("again", running.order.command, clock.now())

    def _finish(self, running: Running, ended: Ended, now: float) -> None:
        self._forget(running)
        command, frames = running.order.command, running.take_frames()
        if ended.end == End.LOST:
            self.post("interrupted", command, ended.code, frames, now)
        else:
            self.post("ended", command, ended.end, ended.code, running.answer(), frames, now)

    def _forget(self, running: Running) -> None:
        del self._running[running.order.mn]
        mine = running.connection
        mine.listened = any(other.connection is mine for other in self._running.values())

    def _only_device(self, connection: Connection) -> str:
        """Edition 2005 lets answers leave out the MN."""
        named = [mn for mn in connection.mns if mn]
        return named[0].decode(errors="replace") if len(named) == 1 else ""

    def _unasked(self, mn: str, frame: Frame, ref: FrameRef) -> None:
        """A result after its exchange was lost, or a notice that wants something of the host."""
        now = clock.now()
        if frame.cn == "9012":
            code = code_of(frame.cp, "ExeRtn")
            for qn in answered(frame) if code else ():
                self.post("late", mn, qn, code, str(ref), now)
        elif frame.cn == "1013":
            self.post("clock_asked", mn, code_of(frame.cp, "PolId"), now)
        elif frame.cn == "1014":
            self.post("key_asked", mn, now)

    # ── in the worker's thread ────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        """Errands and the queue of commands, until `stop`; a database that cannot be reached is tried again."""
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ceguan.django_settings")
        import django

        django.setup()
        from ceguan.intake.hj212.errands import Errands, NoDatabase

        errands, said = Errands(self), ""
        while not self._stopping or self._errands:
            trouble = ""
            try:
                errands.step(self._errands)
            except NoDatabase as error:
                trouble = f"业务库不可用，命令暂不下发：{error}"
            except Exception as error:  # whatever it is, the thread goes on: the next round tries again
                trouble = told(log, "命令的处理出错", error)
            if trouble != said:
                log.warning("%s", trouble or "命令恢复下发")
            said = trouble
            if trouble and self._stopping:
                return
            self._wake.wait(PAUSE_SECONDS if trouble else POLL_SECONDS)
            self._wake.clear()
        with contextlib.suppress(NoDatabase):  # those who come after see that this process is gone
            errands.leave()
