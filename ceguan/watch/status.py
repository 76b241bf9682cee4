"""The status of a point: computed from times, written only together with its Change row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import transaction

from ceguan.registry.models import Point
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


def unlike(computed: Iterable[tuple[Any, Status, str, float | None]]) -> list[tuple[Any, Status, str, float | None]]:
    """Of (point, status, why, last packet) those that are not stored so. Where only a packet came since, that is noted
    here, for all of them at once."""
    stored = {row.point_id: row for row in PointStatus.objects.all()}
    other, heard = [], []
    for one in computed:
        point, new, why, last = one
        row, packet = stored.get(point.id), None if last is None else when(last)
        if row is None or (row.state, row.why) != (new, why[:200]):
            other.append(one)
        elif packet is not None and row.last_packet != packet:
            row.last_packet = packet
            heard.append(row)
    PointStatus.objects.bulk_update(heard, ["last_packet"], batch_size=200)
    return other


def record(point: Point, new: Status, why: str, last_packet: float | None, now: float) -> Change | None:
    """Store a computed status. A transition writes its Change row in the same transaction; None when there is none.

    Guarded: the row changes only where the state is still the one we saw, so of two processes one writes the Change.
    """
    packet = None if last_packet is None else when(last_packet)
    with transaction.atomic():
        row, created = PointStatus.objects.get_or_create(
            point=point, defaults={"state": new, "since": when(now), "last_packet": packet, "why": why[:200]}
        )
        if created:
            return Change.objects.create(point=point, before="", after=new, at=when(now), why=why[:200])
        mine = PointStatus.objects.filter(point=point, state=row.state)
        if row.state == new:
            if (row.last_packet, row.why) != (packet, why[:200]):
                mine.update(last_packet=packet, why=why[:200])
            return None
        if not mine.update(state=new, since=when(now), last_packet=packet, why=why[:200]):
            return None
        text = why or f"恢复{STATUSES[new].zh}"
        return Change.objects.create(point=point, before=row.state, after=new, at=when(now), why=text[:200])
