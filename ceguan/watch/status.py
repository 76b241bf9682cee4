"""The status of a point: computed from times, written only together with its Change row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from django.db import transaction

from ceguan.watch.findings import when
from ceguan.watch.models import Change, PointStatus
from ceguan.words import STATUSES, Status, beijing

FAULT_FLAGS = ("D", "B")
"""Device flags that say the instrument does not measure: fault, link down."""


@dataclass(frozen=True, slots=True)
class Times:
    """What a status is computed from. Seconds are UTC epoch; `every` is the due interval of the point's packets [s]."""

    now: float
    last_packet: float | None = None
    every: int | None = None  # None: no device has been adopted to the point
    live_from: date | None = None
    closed_on: date | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When late is late; rows of thresholds.csv."""

    late_factor: float = 2
    silent_factor: float = 6
    silent_seconds: float = 1800
    fault_share: float = 0.5


def status(
    times: Times, limits: Limits, maintenance: Sequence[tuple[float, float, str]], flags: Sequence[str]
) -> tuple[Status, str]:
    """(status, why). `maintenance`: windows (start, end, reason); `flags`: device flag of each factor's newest value.

    The first that holds: not in operation, in a maintenance window, silent, late, fault, live.
    """
    today = beijing(times.now).date()
    if times.closed_on is not None and times.closed_on <= today:
        return Status.PLANNED, f"{times.closed_on} 起停运"
    if times.live_from is None or times.live_from > today:
        return Status.PLANNED, "未投运" if times.live_from is None else f"{times.live_from} 起投运"
    if times.every is None:
        return Status.PLANNED, "未接入设备"
    window = next((w for w in maintenance if w[0] <= times.now < w[1]), None)
    if window is not None:
        return Status.MAINTENANCE, f"维护至{beijing(window[1]):%m-%d %H:%M}：{window[2]}"
    if times.last_packet is None:
        return Status.SILENT, "接入后尚未收到任何数据"
    return _by_packet(times, limits, times.last_packet, times.every, flags)


def _by_packet(times: Times, limits: Limits, last: float, every: int, flags: Sequence[str]) -> tuple[Status, str]:
    """Silent, late, fault or live; the sentence names a time that does not change from step to step."""
    age = times.now - last
    seen = f"最近一包 {beijing(last):%m-%d %H:%M}，应每 {_span(every)}一包"
    if age > max(limits.silent_factor * every, limits.silent_seconds):
        return Status.SILENT, seen
    if age > limits.late_factor * every:
        return Status.LATE, seen
    bad = [flag for flag in flags if flag in FAULT_FLAGS]
    if flags and len(bad) > limits.fault_share * len(flags):
        return Status.FAULT, f"设备标记 {'、'.join(sorted(set(bad)))}：{len(bad)}/{len(flags)} 个因子"
    return Status.LIVE, ""


def _span(seconds: int) -> str:
    return f"{seconds // 60} 分钟" if seconds % 60 == 0 else f"{seconds} 秒"


class Computed(NamedTuple):
    """The status a point (its id) has by now, and when its last packet came [s, UTC epoch]."""

    point: int
    state: Status
    why: str
    last_packet: float | None

    @property
    def packet(self) -> datetime | None:
        return None if self.last_packet is None else when(self.last_packet)


def unlike(computed: Iterable[Computed]) -> list[Computed]:
    """Those that are not stored so. Where only a packet came since, that is noted here, for all of them at once."""
    stored = {row.point_id: row for row in PointStatus.objects.all()}
    other, heard = [], []
    for one in computed:
        row = stored.get(one.point)
        if row is None or (row.state, row.why) != (one.state, one.why[:200]):
            other.append(one)
        elif one.packet is not None and row.last_packet != one.packet:
            row.last_packet = one.packet
            heard.append(row)
    _overwrite(heard, ["last_packet"])
    return other


def _overwrite(rows: Collection[PointStatus], fields: list[str]) -> None:
    """These fields of rows that are there. An upsert, as `bulk_update` writes a CASE per field and row: far slower."""
    PointStatus.objects.bulk_create(rows, update_conflicts=True, unique_fields=["point"], update_fields=fields)


def record(computed: Collection[Computed], now: float) -> list[Change]:
    """Store computed statuses, all at once; a transition writes its Change row in the same transaction. The changes.

    Guarded: nobody else changes the rows until the transaction ends, so of two processes one writes the Change.
    """
    with transaction.atomic():
        rows = _held([one.point for one in computed], now)
        made = [change for one in computed if (change := _move(rows[one.point], one, now)) is not None]
        _overwrite(rows.values(), ["state", "since", "last_packet", "why"])
        return Change.objects.bulk_create(made)


def _held(points: Collection[int], now: float) -> dict[int, PointStatus]:
    """The rows of these points; of those that have none yet one without a state."""
    known = set(PointStatus.objects.filter(point__in=points).values_list("point", flat=True))
    new = [PointStatus(point_id=point, state="", since=when(now)) for point in points if point not in known]
    PointStatus.objects.bulk_create(new, ignore_conflicts=True)
    return {
        row.point_id: row for row in PointStatus.objects.select_for_update().filter(point__in=points).order_by("pk")
    }


def _move(row: PointStatus, new: Computed, now: float) -> Change | None:
    """Bring the row to what was computed; the transition, when it is one."""
    before, row.state, row.last_packet, row.why = row.state, new.state, new.packet, new.why[:200]
    if before == new.state:
        return None
    row.since = when(now)
    why = new.why if new.why or not before else f"恢复{STATUSES[new.state].zh}"
    return Change(point_id=row.point_id, before=before, after=new.state, at=when(now), why=why[:200])
