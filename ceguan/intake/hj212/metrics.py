"""What a gateway counts, and how Prometheus is told; docs/metrics.md is printed from `METRICS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceguan.exposition import Row, Seconds
from ceguan.intake.hj212.frame import Head

PREFIX = "ceguan_gateway_"

COMMIT_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Upper bounds of the histogram of commits."""


METRICS = (
    Row("frames", "counter", "", "frames", "收下的好帧。"),
    Row("frames_by_dialect", "counter", "dialect", "dialects", "收下的好帧，按 CRC 方言。"),
    Row("frames_by_edition", "counter", "edition", "editions", "收下的好帧，按 Flag 标明的标准版本；none 为没有。"),
    Row("received_bytes", "counter", "", "bytes", "收到的字节。"),
    Row("bad", "counter", "error", "bad_by_error", "存为坏帧的段数，按错误。"),
    Row("refused", "counter", "", "refused", "未接入设备被拒收的帧（设置 unknown_devices）。"),
    Row("noise_uncounted", "counter", "", "noise_uncounted", "超过每分钟限额、只计数未存的噪声段。"),
    Row("answers", "counter", "", "answers", "落盘后发出的应答。"),
    Row("unsent", "counter", "", "unsent", "帧已落盘，但连接已断或正在停止，未能发出的应答；设备会补发。"),
    Row("commits", "counter", "", "commits", "组提交次数。"),
    Row("commit_seconds", "histogram", "", "commit", "组提交写盘并 fdatasync 所用的秒数。", COMMIT_SECONDS),
    Row("turned_away", "counter", "cause", "turned_away_by", "未接受的连接，按原因。"),
    Row("closed", "counter", "cause", "closed", "网关断开的连接，按原因。"),
    Row("connections", "gauge", "", "connections", "现有连接。"),
    Row("devices", "gauge", "", "devices", "现有连接上出现过的设备（MN）。"),
    Row("waiting_bytes", "gauge", "", "waiting_bytes", "已收到、尚未写入归档的字节。"),
    Row("writable", "gauge", "", "writable", "能写归档为 1；写盘失败、暂停接收为 0。"),
    Row("processes", "gauge", "", "alive", "正在接收的网关进程。"),
    Row("restarts", "counter", "", "restarts", "网关进程意外退出后重启的次数。"),
)  # fmt: skip
_OF_THE_PARENT = ("alive", "restarts")


class Tally:
    """The counts of one process since it started."""

    def __init__(self) -> None:
        self.frames = self.bytes = self.refused = self.noise_uncounted = 0
        self.answers = self.unsent = self.commits = 0
        self.dialects: Counter[str] = Counter()
        self.editions: Counter[str] = Counter()
        self.bad: Counter[str] = Counter()
        self.turned_away: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self._commit = Seconds(COMMIT_SECONDS)

    def frame(self, head: Head) -> None:
        """A good frame was taken."""
        self.frames += 1
        self.dialects[head.crc_dialect or ""] += 1
        self.editions[str(head.edition or "none").lower()] += 1

    def usual(self, rows: NDArray[Any], dialects: Iterable[str], editions: Mapping[int, int]) -> None:
        """Good frames were taken, rows as `scan.HEADS`."""
        self.frames += len(rows)
        for name, count in zip(dialects, np.bincount(rows["dialect"], minlength=3).tolist(), strict=True):
            if count:
                self.dialects[name] += count
        for version, count in zip(*(a.tolist() for a in np.unique(rows["flag"] >> 2, return_counts=True)), strict=True):
            self.editions[str(editions.get(version, "none"))] += count

    def committed(self, seconds: float, answers: int) -> None:
        """A group is on disk, and its answers are sent."""
        self.commits += 1
        self.answers += answers
        self._commit.add(seconds)

    def state(self) -> dict[str, Any]:
        """All of it, as the heartbeat carries it."""
        return {
            "frames": self.frames, "bytes": self.bytes, "bad": self.bad.total(), "refused": self.refused,
            "noise_uncounted": self.noise_uncounted, "answers": self.answers, "unsent": self.unsent,
            "commits": self.commits, "turned_away": self.turned_away.total(), "dialects": dict(self.dialects),
            "editions": dict(self.editions), "bad_by_error": dict(self.bad), "closed": dict(self.closed),
            "turned_away_by": dict(self.turned_away),
            "commit": self._commit.state(),
        }  # fmt: skip


COUNTED = tuple(Tally().state())
"""What adds up over processes, those that are gone included."""
GAUGES = tuple(row.key for row in METRICS if row.kind == "gauge" and row.key not in _OF_THE_PARENT)


def total(states: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> dict[str, Any]:
    """The sum of the states, key by key; a count by label adds up label by label."""
    found: dict[str, Any] = {}
    names = tuple(keys)
    for state in states:
        for key in names:
            value, before = state.get(key), found.get(key)
            if isinstance(value, Mapping):
                found[key] = total((before or {}, value), {*(before or {}), *value})
            elif value is not None:
                found[key] = value + (before or 0)
    return found
