"""Programs that the crash tests start as processes of their own, and kill. `out` is the pipe to the test."""

from __future__ import annotations

import os
import signal
import time
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from ceguan.store import ArchiveWriter, RecordKind, Store, forgotten, history
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


def seal(folder: Path, out: Connection, step: int) -> None:
    """Seal March, and die at the n-th thing that touches the disk; say how many there are when none was the n-th."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    real_fsync, real_replace, real_write = os.fsync, os.replace, history.pq.ParquetWriter.write_batch
    os.fsync = lambda *a: (count(), real_fsync(*a), count())[1]
    os.replace = lambda *a: (count(), real_replace(*a), count())[1]
    history.pq.ParquetWriter.write_batch = lambda *a, **k: (count(), real_write(*a, **k), count())[1]
    with Store(folder, write=True) as store:
        store.ledger.connection.set_trace_callback(lambda _: count())
        store.seal("2026-03", 1.0)
        count()
    out.send(done)


def let_go(folder: Path, out: Connection, step: int) -> None:
    """Delete two segments, and die at the n-th thing that touches the disk; send when none was the n-th."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    real_fsync, real_unlink = os.fsync, os.unlink
    os.fsync = lambda *a: (count(), real_fsync(*a), count())[1]
    os.unlink = lambda *a, **k: (count(), real_unlink(*a, **k), count())[1]
    forgotten.let_go(folder / "archive", 0, [0, 1], forgotten.Act("ab" * 32, 1772294400.0, "规则"))
    out.send(done)
