"""Programs that the crash tests start as processes of their own, and kill. `out` is the pipe to the test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ceguan.store import ArchiveWriter, RecordKind, Store, forgotten, history
from ceguan.store.sealed import Leaving
from tests.store.conftest import reading

VALUES_PER_RECORD = 3
MOST_RECORDS = 150


def append(folder: Path, out: Connection) -> None:
    """Append for ever; acknowledge a record, by its reference, only after it was synced."""
    with ArchiveWriter(folder / "archive", 0, segment_bytes=20_000) as writer:
        number = 0
        while True:
            group = []
            for _ in range(5):
                number += 1
                payload = f"{os.getpid()}-{number}-".encode() * 10
                group.append((writer.append(RecordKind.FRAME, time.time(), "10.0.0.7:1", payload), payload))
            writer.sync()
            out.send(group)


def take_in(folder: Path, out: Connection) -> None:
    """Take in `MOST_RECORDS` of the archive, each in a batch of its own; each makes readings and is counted once.

    Aggregates are kept in between.
    """
    with Store(folder, write=True) as store:
        for number, record in enumerate(islice(store.arrivals(), MOST_RECORDS)):
            first = int(record.payload) * VALUES_PER_RECORD
            with store.ledger.batch() as batch:
                batch.add_readings([reading(1, (first + i) * 3600, first + i) for i in range(VALUES_PER_RECORD)])
                batch.note("taken in", (store.ledger.note("taken in") or 0) + 1)
                batch.move({record.ref.stream: record.after})
            if number % 3 == 0:
                store.settle(1 << 40, 2)
            out.send(record.ref)
        time.sleep(3600)  # until it is killed


class Steps:
    """Counts what touches the disk, and dies at the n-th."""

    def __init__(self, last: int) -> None:
        self.last, self.done = last, 0
        for module, name in ((os, "fsync"), (os, "replace"), (os, "unlink"), (history.pq.ParquetWriter, "write_batch")):
            setattr(module, name, self._counted(getattr(module, name)))

    def count(self, *_: object) -> None:
        self.done += 1
        if self.done == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *a, **k: (self.count(), real(*a, **k), self.count())[1]


def seal(folder: Path, out: Connection, step: int) -> None:
    """Seal March, and die at the n-th thing that touches the disk; say how many there are when none was the n-th."""
    steps = Steps(step)
    with Store(folder, write=True) as store:
        store.ledger.connection.set_trace_callback(steps.count)
        store.seal("2026-03", 1.0)
        steps.count()
    out.send(steps.done)


def let_go(folder: Path, out: Connection, step: int) -> None:
    """Delete two segments of the archive; else as `seal`."""
    steps = Steps(step)
    forgotten.let_go(folder / "archive", 0, [0, 1], forgotten.Act("ab" * 32, 1772294400.0, "规则"))
    out.send(steps.done)


def lighten(folder: Path, out: Connection, step: int) -> None:
    """Let the minutes of two series leave March, and remove the file they were in; else as `seal`."""
    steps = Steps(step)
    with Store(folder, write=True) as store:
        store.ledger.connection.set_trace_callback(steps.count)
        store.lighten(Leaving(forgotten.Act("ab" * 32, 5.0, "规则"), "2026-03", 1, (1, 2)), 10.0)
        store.sweep(99.0)
        steps.count()
    out.send(steps.done)
