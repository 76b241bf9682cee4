"""kill -9 at any moment: nothing acknowledged is lost, nothing is taken in twice, a month is never half sealed."""

from __future__ import annotations

import multiprocessing
import random
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from ceguan.store import ArchiveWriter, RecordKind, Store, archive
from ceguan.words import FrameRef, Period
from tests import PRELOAD
from tests.store import crashing
from tests.store.conftest import HOUR, MARCH, add, reading
from tests.store.crashing import VALUES_PER_RECORD

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(PRELOAD)
KILLS = 20
DAY = 24 * HOUR
pytestmark = pytest.mark.service


def start(program: Callable[..., None], folder: Path, *arguments: int) -> tuple[BaseProcess, Connection]:
    """A process of its own (forked from a server that has imported everything, so that 60 of them start in seconds)."""
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=program, args=(folder, sender, *arguments), daemon=True)
    process.start()
    sender.close()
    return process, receiver


def kill_at_random(program: Callable[..., None], folder: Path, chance: random.Random) -> list[Any]:
    """Let it get on by a few messages, kill it a moment later; everything it has sent in full."""
    process, receiver = start(program, folder)
    messages = [receiver.recv() for _ in range(chance.randrange(1, 4))]
    killer = threading.Timer(chance.uniform(0, 0.03), process.kill)
    killer.start()
    with suppress(EOFError, OSError):
        while True:
            messages.append(receiver.recv())
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return messages


def test_no_acknowledged_record_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    chance = random.Random(212)
    acknowledged: dict[FrameRef, bytes] = {}
    for _ in range(KILLS):
        for group in kill_at_random(crashing.append, tmp_path, chance):
            acknowledged.update(group)
    kept = {record.ref: record.payload for record in archive.read(tmp_path / "archive")}
    assert len(acknowledged) >= 5 * KILLS
    assert acknowledged.items() <= kept.items()
    for ref, payload in chance.sample(sorted(acknowledged.items()), 50):
        assert archive.fetch(tmp_path / "archive", ref).payload == payload
    sealed = archive.sealed_segments(tmp_path / "archive", 0)
    assert [line.previous for line in sealed[1:]] == [line.sha256 for line in sealed[:-1]]


def test_nothing_is_lost_and_nothing_taken_in_twice_when_the_ledger_is_killed(tmp_path: Path) -> None:
    chance, records = random.Random(633), KILLS * crashing.MOST_RECORDS + 1
    with ArchiveWriter(tmp_path / "archive", 0) as writer:
        for number in range(records):
            writer.append(RecordKind.FRAME, number, "10.0.0.7:1", str(number).encode())
    for _ in range(KILLS):
        acknowledged = kill_at_random(crashing.take_in, tmp_path, chance)
        done = Store(tmp_path).note("taken in")
        assert Store(tmp_path).positions()[0].offset > acknowledged[-1].offset
        table = Store(tmp_path).readings([1], 2, 0, 1 << 40, versions="all")
        assert table["value"].to_pylist() == [float(i) for i in range(done * VALUES_PER_RECORD)]
        assert list(Store(tmp_path).aggregate_differences()) == []
        months = Store(tmp_path).aggregates([1], 2, Period.MONTH, -DAY, 1 << 40)
        assert sum(months["present"].to_pylist()) == table.num_rows
    assert len(list(Store(tmp_path).arrivals())) == records - done


def test_sealing_killed_at_any_step_loses_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    before = sealed_once_and_late(tmp_path / "before")
    steps = steps_of_sealing(tmp_path, before)
    assert steps > 10
    for step in range(1, steps + 1):
        folder = tmp_path / f"step{step}"
        shutil.copytree(tmp_path / "before", folder)
        process, _ = start(crashing.seal, folder, step)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert answers(folder) == before
        with Store(folder, write=True) as store:
            while store.seal_due(float(MARCH + 400 * 86400), 40):
                pass
            assert store.manifest().num_rows == 3 + 2, "three blocks, two of them again"
            assert store.ledger.connection.execute("SELECT count(*) FROM reading").fetchone() == (0,)
        assert answers(folder) == before


def sealed_once_and_late(folder: Path) -> list[list[float]]:
    """A store whose March was sealed in three blocks, two of which got late and changed data; returns its answers."""
    folder.mkdir()
    (folder / "ceguan.toml").write_text("history_series = 2\n")
    with Store(folder, write=True) as store:
        add(store, *(reading(series, MARCH + i * HOUR, i) for series in range(5) for i in range(50)))
        store.seal("2026-03", 1.0)
        add(store, *(reading(s, MARCH + i * HOUR, i + 0.5) for s in (2, 4) for i in range(45, 55)))
    return answers(folder)


def steps_of_sealing(tmp_path: Path, before: list[list[float]]) -> int:
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    process, receiver = start(crashing.seal, tmp_path / "whole", 0)
    steps = int(receiver.recv())
    process.join()
    assert answers(tmp_path / "whole") == before
    return steps


def answers(folder: Path) -> list[list[float]]:
    store = Store(folder)
    return [
        store.readings(range(5), 2, 0, 1 << 40, versions=versions)["value"].to_pylist() for versions in ("force", "all")
    ]
