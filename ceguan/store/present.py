"""Which times of which series a sealed file holds, small enough to keep in memory: what comes late and is not in it is
new without a look into the file.

Readings come at even intervals, so a series of a month is a few stretches (first, last, step) instead of thousands of
times: those of a file are found in one pass over three of its columns, and a time is looked up by bisection.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.store import history
from ceguan.store.lake import Lake

Ints = NDArray[np.int64]
KINDS = 128
SPAN = 1 << 22
"""Seconds, more than a month has: series, kind and the seconds since the begin of the file's month make one number."""
MOST = 4_000_000
"""Stretches kept of all files, some 100 MB; of the files longest unused those are forgotten that go beyond it."""


class Stretches(NamedTuple):
    """Numbers (see SPAN) that are there: from `first` to `last` every `step`; sorted, at most their ends shared."""

    first: Ints
    last: Ints
    step: Ints

    def hold(self, numbers: Ints) -> NDArray[np.bool_]:
        if not len(self.first):
            return np.zeros(len(numbers), bool)
        at = np.searchsorted(self.first, numbers, "right") - 1
        there = (at >= 0) & (numbers <= self.last[at])
        return there & ((numbers - self.first[at]) % self.step[at] == 0)


class Present:
    """The stretches of sealed files, by name (a file never changes), found when they are first asked for."""

    def __init__(self) -> None:
        self._files: dict[str, Stretches] = {}

    def hold(self, lake: Lake, file: str, start: int, series: Ints, kind: Ints, ts: Ints) -> NDArray[np.bool_]:
        """Whether the file holds a reading of each (series, kind, ts); `start`: begin of its month, none is before."""
        known = self._files.pop(file, None) or _of_file(lake, file, start)
        self._files[file] = known  # the last is the one used last
        while len(self._files) > 1 and sum(len(one.first) for one in self._files.values()) > MOST:
            del self._files[next(iter(self._files))]
        return known.hold(_numbers(series, kind, ts, start))


def _numbers(series: Ints, kind: Ints, ts: Ints, start: int) -> Ints:
    return (series.astype(np.int64) * KINDS + kind) * SPAN + (ts - start)


def _of_file(lake: Lake, file: str, start: int) -> Stretches:
    parts = [stretches(np.zeros(0, np.int64))]
    for group in history.groups(lake, file, ("series", "kind", "ts")):
        series, kind, ts = (group[name].to_numpy() for name in ("series", "kind", "ts"))
        numbers = _numbers(series, kind, ts, start)
        parts.append(stretches(numbers[np.append(True, numbers[1:] != numbers[:-1])]))
    return Stretches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def stretches(numbers: Ints) -> Stretches:
    """Rising numbers as stretches, none of which goes from one series to the next."""
    if not len(numbers):
        return Stretches(numbers, numbers, numbers)
    steps = np.diff(numbers)
    steps[numbers[1:] // SPAN != numbers[:-1] // SPAN] = 0
    begins = np.flatnonzero(np.append(True, steps[1:] != steps[:-1])[: len(steps)])
    ends = np.append(begins[1:], len(steps))[: len(begins)]
    even = steps[begins] > 0
    alone = np.append(0, steps) + np.append(steps, 0) == 0  # nothing of the series before or behind
    first = np.concatenate([numbers[begins[even]], numbers[alone]])
    last = np.concatenate([numbers[ends[even]], numbers[alone]])
    step = np.concatenate([steps[begins[even]], np.ones(np.count_nonzero(alone), np.int64)])
    order = np.argsort(first)
    return Stretches(first[order], last[order], step[order])
