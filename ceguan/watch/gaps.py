"""Every missing hour or minute has a cause. Pure: due times, what else is known about them → gaps.

Causes, as code[:detail]: maintenance:<reason> · quarantine (what came waits for a person) · platform (nothing at all
was received) · bad_frame (the device sent something that could not be used) · file (a point without device: not in any
imported file) · factor (the device sent other factors, not this one) · packet (no packet came).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ceguan.quality import checks
from ceguan.store import Gap
from ceguan.watch.dirty import HOUR, day_start
from ceguan.words import Label, PointKind

CAUSES = {
    "maintenance": Label("维护", "maintenance"),
    "quarantine": Label("收到的数据在隔离中", "what came is in quarantine"),
    "platform": Label("平台未收到任何数据", "the platform received nothing at all"),
    "bad_frame": Label("收到的帧校验不合格或时间不可用", "frames came but were broken or badly dated"),
    "file": Label("导入的文件中没有", "not in any imported file"),
    "factor": Label("设备在线但未送该因子", "the device sent other factors but not this one"),
    "packet": Label("未收到数据包", "no packet was received"),
}


def explain(cause: str) -> Label:
    """The cause in words, with its detail."""
    code, _, detail = cause.partition(":")
    zh, en = CAUSES.get(code, Label(code, code))
    return Label(f"{zh}：{detail}", f"{en}: {detail}") if detail else Label(zh, en)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about a point beside its readings. Intervals are named by their start."""

    maintained: Callable[[int, int], str]  # (start, end) → reason or ""
    present: Container[int]  # intervals in which the point has a reading of any factor
    held: Container[int]  # intervals of which readings are in quarantine
    broken: Container[int]  # hours in which a device of the point sent something unusable
    unheard: Callable[[int], bool]  # whether nothing at all was received in an hour
    devices: bool = True  # whether a device has been adopted to the point
    length: int = HOUR  # of an interval [s]
    named: dict[tuple[int, bytes], list[Gap]] = field(default_factory=dict)  # a point's series often miss the same


def find(ts: NDArray[np.int64], start: int, end: int, known: Known, every: int) -> list[Gap]:
    """Gaps of one series with a reading due `every` seconds in [start, end), split at midnight (Beijing) so that a day
    can be replaced by itself. `ts` may begin before `start`."""
    due = checks.missing(ts, start, end, every)
    key = (every, due.tobytes())
    if key not in known.named:
        known.named[key] = _stretches(due, every, known)
    return known.named[key]


def _stretches(missing: NDArray[np.int64], every: int, known: Known) -> list[Gap]:
    gaps: list[Gap] = []
    for due in missing.tolist():
        cause = _cause(due, every, known)
        last = gaps[-1] if gaps else None
        if last and last.ts_to == due and last.cause == cause and _day(due) == _day(last.ts_from):
            gaps[-1] = last._replace(ts_to=due + every)
        else:
            gaps.append(Gap(due, due + every, cause))
    return gaps


def _day(ts: int) -> int:
    return day_start(PointKind.AIR, ts)


def _cause(due: int, every: int, known: Known) -> str:
    reason = known.maintained(due, due + every)
    if reason:
        return f"maintenance:{reason}"
    interval = due // known.length * known.length
    if interval in known.held:
        return "quarantine"
    if interval in known.present:
        return "factor"
    if not known.devices:
        return "file"
    hour, arrival = due // HOUR * HOUR, (due + known.length) // HOUR * HOUR  # it is sent once its interval is over
    if arrival in known.broken or hour in known.broken:
        return "bad_frame"
    return "platform" if known.unheard(arrival) else "packet"
