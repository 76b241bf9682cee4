"""Every missing hour has a cause. Pure: due hours, what else is known about them → gaps.

Causes, as code[:detail]: maintenance:<reason> · platform (nothing at all was received) · bad_frame (the device sent
something that could not be used) · file (a point without device: not in any imported file) · factor (the device sent
other factors, not this one) · packet (no packet came).
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceguan.quality import checks
from ceguan.store import Gap
from ceguan.watch.dirty import HOUR, day_start
from ceguan.words import Label, PointKind

CAUSES = {
    "maintenance": Label("维护", "maintenance"),
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
    """What is known about the hours of a point beside its readings."""

    maintained: Callable[[int, int], str]  # (start, end) → reason or ""
    present: Container[int]  # hours in which the point has a reading of any factor
    broken: Container[int]  # hours in which a device of the point sent something unusable
    unheard: Callable[[int], bool]  # whether nothing at all was received in an hour
    devices: bool = True  # whether a device has been adopted to the point


def find(ts: NDArray[np.int64], start: int, end: int, known: Known, fallback: int = HOUR) -> list[Gap]:
    """Gaps of one series in [start, end), split at midnight (Beijing) so that a day can be replaced by itself.

    `ts`: its hourly readings with some before `start`, so that the interval between them shows.
    """
    every = checks.interval(ts, fallback)
    gaps: list[Gap] = []
    for hour in checks.missing(ts, start, end, every).tolist():
        cause = _cause(hour, every, known)
        last = gaps[-1] if gaps else None
        if last and last.ts_to == hour and last.cause == cause and _day(hour) == _day(last.ts_from):
            gaps[-1] = last._replace(ts_to=hour + every)
        else:
            gaps.append(Gap(hour, hour + every, cause))
    return gaps


def _day(ts: int) -> int:
    return day_start(PointKind.AIR, ts)


def _cause(hour: int, every: int, known: Known) -> str:
    reason = known.maintained(hour, hour + every)
    if reason:
        return f"maintenance:{reason}"
    if hour // HOUR * HOUR in known.present:
        return "factor"
    if not known.devices:
        return "file"
    arrival = hour + HOUR  # an hourly value is sent once its hour is over
    if arrival in known.broken or hour in known.broken:
        return "bad_frame"
    return "platform" if known.unheard(arrival) else "packet"
