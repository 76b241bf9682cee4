"""One target's connection: messages out in order, answers awaited, sent again without one.

A message counts as forwarded when every frame of it is answered (9014, same QN) and the book has it on disk; the book
moves on only over messages that are done without a gap. What is on its way is at most WINDOW frames: after a broken
connection, or a kill, they go out again, the same bytes with the same QN.

A target that never answers is served without (Flag A = 0): then "written to the connection" is all that is known.
Requests of the target are refused (9011, QnRtn 2): this is not the device they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ceguan.intake.forward.spool import Book, Checkpoint, Feed, Item
from ceguan.intake.hj212.frame import Frame, encode, of_chunk
from ceguan.intake.hj212.splitter import Splitter

OVERTIME, RECOUNT = 10.0, 3
"""HJ 212-2017 表1: seconds to wait for an answer, how often to send again."""
WINDOW = 64
"""Frames that may be on their way; not before the book has them they make room for others."""
POLL = 0.25
"""Seconds between two looks into the archive."""
LONGEST_PAUSE = 60.0
COMMIT_SECONDS = 2.0
"""How often the position moves on disk while records pass that the target does not get."""
_ANSWERS = ("9013", "9014")
_REFUSED = "2"


class Silent(ConnectionError):
    """The target does not answer."""


@dataclass(slots=True)
class State:
    """What the page shows of a target; moments are real time [UTC epoch s]."""

    connected: bool = False
    since: float = 0.0
    sent: int = 0
    again: int = 0
    acknowledged: int = 0
    bad_answers: int = 0
    refused_requests: int = 0
    last_ack: float | None = None
    oldest: float | None = None  # receipt of the oldest message that is not acknowledged [platform time]
    caught_up: bool = False
    tries: int = 0  # connections in a row that brought nothing
    errors: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=5))


@dataclass(slots=True)
class _Out:
    """A message on its way: its frames that have no answer yet."""

    item: Item
    open: set[str]
    sent_at: float = 0.0
    sends: int = 0


class Link:
    """One target. `overtime`, `recount`: see OVERTIME, RECOUNT; `answers`: False where none are expected."""

    def __init__(
        self, name: str, address: tuple[str, int], feed: Feed, book: Book, *,
        overtime: float = OVERTIME, recount: int = RECOUNT, window: int = WINDOW, real: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.name, self.address, self.feed, self.book = name, address, feed, book
        self.state = State(last_ack=book.note("last_ack"), acknowledged=int(book.note("acknowledged") or 0))
        self._overtime, self._recount, self._window, self._real = overtime, recount, window, real
        self._way: deque[_Out] = deque()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._splitter = Splitter()
        self._done: list[Item] = []  # answered, not yet on its way into the book
        self._in_book: list[Item] = []  # being written
        self._writing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[bytes] | None = None
        self._committed_at, self._committed = 0.0, book.checkpoint()

    @property
    def answers(self) -> bool:
        return self.feed.plan.wish.answers

    @property
    def on_the_way(self) -> int:
        """Frames that are not acknowledged for good."""
        waiting = [*(out.item for out in self._way), *self._done, *self._in_book]
        return sum(len(item.frames) for item in waiting)

    @property
    def _full(self) -> bool:
        return self.on_the_way >= self._window

    async def run(self) -> None:
        """Until cancelled; connects again after 1, 2, 4 … 60 seconds."""
        while True:
            try:
                await self._session()
            except (OSError, TimeoutError) as error:
                self.state.errors.append((self._real(), _cause(error, self.address)))
            self._drop()
            self.state.tries += 1
            await asyncio.sleep(min(2.0 ** (self.state.tries - 1), LONGEST_PAUSE))

    async def drain(self) -> str:
        """Until everything the archive holds now is acknowledged; "" then, else why it does not come to that."""
        task = asyncio.create_task(self.run())
        try:
            while not self.state.caught_up and self.state.tries < 2 and not task.done():
                await asyncio.sleep(0.05)
            if task.done():
                return str(task.exception())
            return "" if self.state.caught_up else self.state.errors[-1][1]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.finish()

    async def _session(self) -> None:
        """One connection, from its making to its end by an exception."""
        async with asyncio.timeout(self._overtime):
            self._streams = await asyncio.open_connection(*self.address)
        self._splitter = Splitter()
        self.state.connected, self.state.since = True, self._real()
        try:
            for out in self._way:
                out.sends = 0
                await self._send(out)
            while True:
                await self._fill()
                await self._settle()
                await self._hear()
                await self._again()
        finally:
            self._drop()

    async def _fill(self) -> None:
        """Messages onto the way as long as there is room; a message of many parts may overfill it."""
        while not self._full:
            item = self.feed.next()
            if item is None:
                break
            out = _Out(item, set(item.frames))
            self._way.append(out)
            await self._send(out)
        self.state.oldest = self._way[0].item.recv if self._way else None

    async def _send(self, out: _Out) -> None:
        """Write its frames that have no answer yet."""
        assert self._streams is not None
        frames = [raw for qn, raw in out.item.frames.items() if qn in out.open]
        self._streams[1].writelines(frames)
        async with asyncio.timeout(self._overtime):
            await self._streams[1].drain()
        out.sent_at, out.sends = time.monotonic(), out.sends + 1
        self.state.sent += len(frames)
        self.state.again += len(frames) * (out.sends > 1)
        if not self.answers:
            out.open.clear()

    async def _settle(self) -> None:
        """Everything at the head of the way that is answered goes into the book; then it is forwarded for good.

        The book is written beside the conversation: while the disk works, frames go out and answers come in.
        """
        while self._way and not self._way[0].open:
            self._done.append(self._way.popleft().item)
            self.state.tries = 0
        if self._writing is not None and self._writing.done():
            await self._written()
        if self._writing is not None:
            return
        at = self._real()
        if self._done:
            self._in_book, self._done = self._done, []
            self._committed = self._in_book[-1].after
            self._write(self._committed, self._in_book, at)
        elif not self._way and at - self._committed_at >= COMMIT_SECONDS:
            self._committed_at, checkpoint = at, self.feed.checkpoint
            if checkpoint != self._committed:
                self._committed = checkpoint
                self._write(checkpoint, [], at)

    def _write(self, after: Checkpoint, items: list[Item], at: float) -> None:
        self._writing = asyncio.create_task(asyncio.to_thread(self.book.commit, after, items, at))

    async def _written(self) -> None:
        """The book has it: what it holds now is off the way. Raises what the writing raised."""
        assert self._writing is not None
        writing, self._writing = self._writing, None
        items, self._in_book = self._in_book, []
        await writing
        self.feed.settled(items)
        if items:
            self.state.last_ack = self._real()
            self.state.acknowledged += len(items)

    async def finish(self) -> None:
        """Let the book be written to its end."""
        if self._writing is not None:
            await self._written()

    async def _hear(self) -> None:
        """What the target says; returns as soon as there is something else to do, too."""
        assert self._streams is not None
        self.state.caught_up = not self.on_the_way and self._writing is None and self.feed.at_end
        if self._reading is None:
            self._reading = asyncio.create_task(self._streams[0].read(65536))
        work: set[asyncio.Task[Any]] = {self._reading} | ({self._writing} if self._writing else set())
        idle = self._full or self.feed.idle
        await asyncio.wait(work, timeout=POLL if idle else 0, return_when=asyncio.FIRST_COMPLETED)
        if self._reading.done():
            reading, self._reading = self._reading, None
            data = reading.result()
            if not data:
                raise ConnectionResetError("对方关闭了连接")
            for chunk in self._splitter.feed(data):
                await self._take(of_chunk(chunk, self.feed.plan.wish.key))

    async def _take(self, frame: Frame) -> None:
        if not frame.ok:
            self.state.bad_answers += 1
        elif frame.cn in _ANSWERS:
            self._answered(str(frame.qn or frame.cp.get("QN") or ""))
        elif frame.cn and frame.cn < "9000":
            await self._refuse(frame)

    def _answered(self, qn: str) -> None:
        """An answer without QN, as edition 2005 has them too, is to the first frame that waits for one."""
        for out in self._way:
            if qn in out.open or (not qn and out.open):
                out.open.discard(qn or next(one for one in out.item.frames if one in out.open))
                return

    async def _refuse(self, frame: Frame) -> None:
        assert self._streams is not None
        wish = self.feed.plan.wish
        self.state.refused_requests += 1
        returned = {"QnRtn": _REFUSED}
        with contextlib.suppress(ValueError):
            answer = encode(
                qn=None if wish.edition == 2005 else frame.qn, st="91", cn="9011", pw=wish.password, mn=frame.mn,
                flag={2005: 0, 2017: 4, 2025: 8}[wish.edition],
                cp={"QN": frame.qn or "", **returned} if wish.edition == 2005 else returned,
            )  # fmt: skip
            self._streams[1].write(answer)

    async def _again(self) -> None:
        """Send again what has waited too long, in order; give the connection up after the last time."""
        at = time.monotonic()
        for out in self._way:
            if out.open and at - out.sent_at >= self._overtime:
                if out.sends > self._recount:
                    raise Silent(f"发送 {out.sends} 次没有应答（每次等 {self._overtime:g} 秒）")
                await self._send(out)

    def _drop(self) -> None:
        self.state.connected = self.state.caught_up = False
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _cause(error: BaseException, address: tuple[str, int]) -> str:
    if isinstance(error, TimeoutError):
        return f"{address[0]}:{address[1]} 超时"
    if isinstance(error, ConnectionRefusedError):
        return f"{address[0]}:{address[1]} 拒绝连接"
    return str(error)
