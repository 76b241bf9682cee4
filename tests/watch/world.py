"""Helpers of the watch tests: a real archive, a real clockwork on a real ledger, frames as devices send them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ceguan import settings
from ceguan.intake.hj212.frame import encode
from ceguan.intake.hj212.readings import write_time
from ceguan.registry import models
from ceguan.store import ArchiveWriter, RecordKind, Store
from ceguan.watch.clockwork import Clockwork
from ceguan.words import BEIJING

HOUR, DAY = 3600, 86400


def at(text: str) -> int:
    """UTC epoch seconds of a Beijing wall time, "2026-03-10 08:00"."""
    return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp())


CN = {"rt": "2011", "minute": "2051", "hour": "2061", "day": "2031"}


def frame(mn: str, kind: str, ts: int, values: Mapping[str, Any], sent: float | None = None, **head: Any) -> bytes:
    """A frame of one interval. `values`: factor → number, or fields ({"Avg": …, "Flag": …})."""
    name = "Rtd" if kind == "rt" else "Avg"
    factors = {
        factor: (
            {k: str(v) for k, v in value.items()} if isinstance(value, Mapping) else {name: str(value), "Flag": "N"}
        )
        for factor, value in values.items()
    }
    qn = None if sent is None else write_time(sent) + "000"
    return encode(
        st="31", cn=CN[kind], mn=mn, pw="123456", flag=5, qn=qn, datatime=write_time(ts), factors=factors, **head
    )


class World:
    """A data folder with an archive that tests write to and a clockwork that they step."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        self.folder = folder
        self.settings = settings.load(data=str(folder), **overrides)
        self.writers: dict[int, ArchiveWriter] = {}
        self.clockwork: Clockwork | None = None

    def append(self, kind: RecordKind, recv: float, payload: bytes, stream: int = 0) -> int:
        writer = self.writers.get(stream) or self.writers.setdefault(
            stream, ArchiveWriter(self.folder / "archive", stream)
        )
        ref = writer.append(kind, recv, "10.0.0.7:5000", payload)
        writer.sync()
        return ref.packed

    def send(
        self, mn: str, kind: str, ts: int, values: Mapping[str, Any], recv: float | None = None, **head: Any
    ) -> int:
        """Archive a frame; by default received 60 s after its interval."""
        length = {"rt": 0, "minute": 600, "hour": HOUR, "day": DAY}[kind]
        recv = ts + length + 60 if recv is None else recv
        head.setdefault("sent", recv)
        return self.append(RecordKind.FRAME, recv, frame(mn, kind, ts, values, **head))

    def json(self, kind: RecordKind, recv: float, content: Any) -> int:
        stream = 64 if kind == RecordKind.IMPORT else 65
        return self.append(kind, recv, orjson.dumps(content), stream)

    def step(self, now: float, **settings_: Any):
        """Steps until nothing is left; returns the last report."""
        if self.clockwork is None:
            self.clockwork = Clockwork(self.settings, **settings_)
        report = self.clockwork.step(now)
        while not report.caught_up:
            report = self.clockwork.step(now)
        return report

    def restart(self) -> None:
        if self.clockwork is not None:
            self.clockwork.close()
        self.clockwork = None

    def close(self) -> None:
        self.restart()
        for writer in self.writers.values():
            writer.close()

    @property
    def store(self) -> Store:
        return Store(self.folder)


def series(point: models.Point, factor: str) -> int:
    return models.Series.objects.get(point=point, factor=factor).pk


def values(store: Store, ids: Sequence[int] | int, kind: int = 2, start: int = 0, end: int = 1 << 40) -> list[float]:
    some = [ids] if isinstance(ids, int) else list(ids)
    return store.readings(some, kind, start, end)["value_in_force"].to_pylist()
