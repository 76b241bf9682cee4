"""What the bench's figures rest on: its devices wait for their answers, and each answer counts once."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from bench import load

DEVICES = 8
FRAMES = [b"##%d\r\n" % number for number in range(DEVICES)]
PIECES = (b"##", b"x" * 700, b"\r", b"\n")
"""An answer longer than one buffer of the generator, whose line end comes in two."""


class Line(asyncio.Protocol):
    """The far end of one device's connection."""

    def __init__(self, answerer: Answerer) -> None:
        self.answerer, self.busy, self.frames = answerer, False, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.answerer.seen += 1
        self.answerer.strange += self.busy or data not in FRAMES
        self.busy = True
        if self.frames == self.answerer.most:
            self.transport.close()
            return
        self.frames += 1
        self.work = asyncio.ensure_future(self._answer())

    async def _answer(self) -> None:
        for left, piece in zip(range(len(self.answerer.pieces) - 1, -1, -1), self.answerer.pieces, strict=True):
            self.busy = left > 0
            self.transport.write(piece)
            await asyncio.sleep(0.0005)


class Answerer:
    """Answers every frame in pieces; a stranger to generator and gateway."""

    def __init__(self) -> None:
        self.seen = self.strange = self.port = 0
        """Frames that came; those that came before the answer to the last one was whole, or are none."""
        self.pieces: tuple[bytes, ...] = PIECES
        self.most = -1
        """After so many answers a connection is closed."""
        self.loop, ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._serve, args=(ready,))
        self.thread.start()
        assert ready.wait(30)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(self.loop.create_server(lambda: Line(self), "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()
        server.close()
        self.loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self.loop)))
        self.loop.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)


@pytest.fixture(autouse=True)
def kernel_with_io_uring() -> None:
    """Containers often forbid it: then the bench cannot run there, and says so, which is no fault of the project."""
    try:
        with socket.socket() as one:
            os.close(load.ring(np.array([one.fileno()], np.int32)).file)
    except SystemExit as error:
        if "io_uring" in str(error):
            pytest.xfail(str(error))
        raise


@pytest.fixture
def answerer() -> Iterator[Answerer]:
    made = Answerer()
    yield made
    made.stop()


def test_every_answer_counts_once_though_it_comes_in_pieces_and_no_device_sends_before_it_is_whole(answerer):
    seen: list[int] = []

    def spent() -> float:
        seen.append(answerer.seen)
        return float(answerer.seen)

    found = load.run(answerer.port, FRAMES, 3, 0.5, spent, warm_up=0.1)
    served = seen[1] - seen[0]
    counted = round(served / found["gateway_us"] * 1e6)
    assert served > 2 * DEVICES
    assert abs(served - counted) <= DEVICES  # those on their way at the begin and at the end
    assert answerer.strange == 0


def test_a_connection_that_ends_ends_the_run_and_says_so(answerer):
    answerer.most = 3
    with pytest.raises(SystemExit, match="ended a connection"):
        load.run(answerer.port, FRAMES, 0, 20, lambda: 0.0)


def test_without_an_answer_there_are_no_figures(answerer):
    answerer.pieces = ()
    with pytest.raises(SystemExit, match="answered nothing"):
        load.run(answerer.port, FRAMES, 0, 0.1, lambda: 0.0, warm_up=0.1)
    assert answerer.seen == DEVICES


def test_more_devices_than_a_ring_carries_are_refused_by_number():
    with pytest.raises(SystemExit, match="20000 devices: a ring carries 16384"):
        load.ring(np.zeros(20_000, np.int32))
