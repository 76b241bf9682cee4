"""`ceguan forward`: a link for every active target, none of which waits for another; a heartbeat for the pages."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import Error, close_old_connections

from ceguan import clock, pulse
from ceguan.intake import keys
from ceguan.intake.forward import targets
from ceguan.intake.forward.link import Link
from ceguan.intake.forward.spool import Backlog, Book, Decoder, Feed, Plan
from ceguan.intake.models import ForwardTarget
from ceguan.settings import Settings
from ceguan.store.refusals import refusal

log = logging.getLogger(__name__)

HEARTBEAT = "forward.json"
REGISTER_SECONDS = 3.0
BEAT_SECONDS = 1.0


class AlreadyRunning(RuntimeError):
    """Another process forwards from this data folder."""


@dataclass(slots=True)
class _Running:
    """The link of a target as it was registered at `changed_at`."""

    target: ForwardTarget
    link: Link
    task: asyncio.Task[None]

    @property
    def changed_at(self) -> datetime:
        return self.target.changed_at


class Forwarder:
    """All links of one process."""

    def __init__(self, values: Settings) -> None:
        self.values = values
        self.problems: dict[int, str] = {}  # target → why it has no link
        self._folder = values.folder / "forward"
        self._archive = values.folder / "archive"
        self._running: dict[int, _Running] = {}
        self._decoder = Decoder(keys.ring.cached)
        self._backlog = Backlog(self._archive)
        self._behind: dict[int, int] = {}
        self._register = ThreadPoolExecutor(1, "register")
        self._started = time.time()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        looked = beaten = -REGISTER_SECONDS
        try:
            while not stop.is_set():
                at = time.monotonic()
                if at - looked >= REGISTER_SECONDS:
                    looked = at
                    await self._look()
                if at - beaten >= BEAT_SECONDS:
                    beaten = at
                    await self._beat()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.25):
                        await stop.wait()
        finally:
            await self.close()

    async def _look(self) -> None:
        """Follow the register if it can be read; else the links go on with what is known."""
        try:
            await self.refresh()
        except Error as error:
            log.error("读不到转发目标的登记，三秒后再试：%s", refusal(error) or error)

    async def refresh(self) -> None:
        """Follow the register: begin, end and renew links; adopted devices join those that run."""
        planned = await asyncio.get_running_loop().run_in_executor(self._register, self._plans)
        for pk, running in list(self._running.items()):
            target, plan = planned.get(pk, (None, None))
            if target is None or plan is None or target.changed_at != running.changed_at or running.task.done():
                await self._end(pk)
            else:
                running.link.feed.plan = plan
        for pk, (target, plan) in planned.items():
            if plan is not None and pk not in self._running:
                self._try_to_begin(target, plan)
        self._forget({str(pk) for pk in planned})

    async def once(self) -> list[tuple[ForwardTarget, str, Link | None]]:
        """Forward what the archive holds now; for each active target why not everything was acknowledged, "" if so."""
        planned = await asyncio.get_running_loop().run_in_executor(self._register, self._plans)
        links = [(target, self._link(target, plan)) for target, plan in planned.values() if plan is not None]
        troubles = await asyncio.gather(*(link.drain() for _, link in links))
        for _, link in links:
            link.book.close()
        self._register.shutdown()
        done = [(target, trouble, link) for (target, link), trouble in zip(links, troubles, strict=True)]
        return done + [(planned[pk][0], text, None) for pk, text in self.problems.items()]

    async def close(self) -> None:
        for pk in list(self._running):
            await self._end(pk)
        self._register.shutdown()
        with contextlib.suppress(OSError):
            pulse.beat(self.values.folder / HEARTBEAT, {"running": False, "real": time.time()})

    def _plans(self) -> dict[int, tuple[ForwardTarget, Plan | None]]:
        """Every registered target with its plan; None for those that are off or cannot be served. Reads all keys."""
        close_old_connections()  # one that broke is made anew
        keys.ring.refresh()
        found: dict[int, tuple[ForwardTarget, Plan | None]] = {}
        for target in targets.every():
            found[target.pk] = target, None
            self.problems.pop(target.pk, None)
            if target.active:
                try:
                    found[target.pk] = target, targets.plan(target, self.values, clock.now())
                except keys.KeyFormError as error:
                    self.problems[target.pk] = str(error)
        return found

    def _link(self, target: ForwardTarget, plan: Plan) -> Link:
        book = Book(self._folder / f"{target.pk}.db")
        feed = Feed(self._archive, book, plan, self._decoder, clock.now)
        overtime = self.values.forward_overtime_seconds
        return Link(target.name, (target.host, target.port), feed, book, overtime=overtime)

    def _try_to_begin(self, target: ForwardTarget, plan: Plan) -> None:
        """Where the book cannot be written (a full disk) nothing goes out; the next look tries again."""
        try:
            self._begin(target, plan)
        except (sqlite3.Error, OSError) as error:
            self.problems[target.pk] = f"转发进度写不了：{refusal(error) or error}"
            log.error("转发到 %s：%s", target.name, self.problems[target.pk])

    def _begin(self, target: ForwardTarget, plan: Plan) -> None:
        link = self._link(target, plan)
        self._running[target.pk] = _Running(target, link, asyncio.create_task(link.run()))
        log.info("转发到 %s（%s:%d）", target.name, target.host, target.port)

    async def _end(self, pk: int) -> None:
        running = self._running.pop(pk)
        running.task.cancel()
        (result,) = await asyncio.gather(running.task, return_exceptions=True)
        if isinstance(result, Exception):
            log.error("转发到 %s 中断", running.target.name, exc_info=result)
        with contextlib.suppress(Exception):  # a book that cannot be written is behind, never ahead
            await running.link.finish()
        running.link.book.close()

    def _forget(self, kept: set[str]) -> None:
        """Positions of targets that are no longer registered."""
        for path in self._folder.glob("*.db"):
            if path.stem not in kept:
                for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                    name.unlink(missing_ok=True)

    async def _beat(self) -> None:
        where = {pk: one.link.feed.checkpoint.positions for pk, one in self._running.items()}
        self._behind = await asyncio.to_thread(self._count, where)
        state = {
            "pid": os.getpid(), "started": self._started, "real": time.time(), "at": clock.now(), "running": True,
            "targets": {str(pk): self._told(pk, one) for pk, one in self._running.items()},
            "problems": {str(pk): text for pk, text in self.problems.items()},
        }  # fmt: skip
        try:
            pulse.beat(self.values.folder / HEARTBEAT, state)
        except OSError as error:
            log.warning("心跳文件写不了：%s", error)

    def _count(self, where: dict[int, Any]) -> dict[int, int]:
        return {pk: self._backlog.records(pk, positions) for pk, positions in where.items()}

    def _told(self, pk: int, running: _Running) -> dict[str, Any]:
        link, state = running.link, running.link.state
        return {
            "connected": state.connected, "since": state.since, "sent": state.sent, "again": state.again,
            "acknowledged": state.acknowledged, "last_ack": state.last_ack, "on_the_way": link.on_the_way,
            "oldest": state.oldest, "backlog": self._behind.get(pk, 0), "caught_up": state.caught_up,
            "bad_answers": state.bad_answers, "refused_requests": state.refused_requests,
            "skipped": dict(link.feed.skipped), "errors": list(state.errors),
        }  # fmt: skip


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Raises AlreadyRunning while another process forwards from this data folder."""
    (folder / "forward").mkdir(parents=True, exist_ok=True)
    with open(folder / "forward" / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunning("另一个转发进程正在使用这个数据目录") from error
        yield


def serve(values: Settings) -> None:
    """Until SIGTERM or SIGINT. Raises AlreadyRunning."""
    with only_one(values.folder):
        asyncio.run(_serve(values))


async def _serve(values: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Forwarder(values).run(stop)


def once(values: Settings) -> list[tuple[ForwardTarget, str, Link | None]]:
    """`Forwarder.once`. Raises AlreadyRunning."""
    with only_one(values.folder):
        return asyncio.run(Forwarder(values).once())


def said(values: Settings) -> tuple[pulse.Pulse, dict[int, dict[str, Any]]]:
    """The process' pulse and what it last said of each target."""
    found = pulse.pulse(values.folder / HEARTBEAT, time.time())
    return found, {int(pk): told for pk, told in found.said.get("targets", {}).items()}
