"""What is missing: the stretches of time of which series have no reading, and why; of many points at once.

A series misses readings from its first one on. Hours are looked at by the day, in the interval that the series itself
shows; minutes go on where the last look ended, in the interval of the device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from datetime import time as midnight
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.quality import checks
from ceguan.store import Batch, Gap, Store
from ceguan.watch import gaps
from ceguan.watch.dirty import DAY, HOUR, day_start, portions
from ceguan.watch.register import Point, interval_seconds
from ceguan.words import BEIJING, Kind, PointKind

Ints = NDArray[np.int64]
NOTES = {Kind.HOUR: ("begun", "gaps_until"), Kind.MINUTE: ("minutes_begun", "minutes_until")}
"""Under which names the ledger keeps when each series began, and how far its gaps have been named."""
MINUTE_DAYS = 2
"""How many days back the first look for missing minutes goes."""
BEFORE = 2 * DAY
"""So far back hours are read to see in which interval they come."""


class Members(NamedTuple):
    """The series of some points by id, and when they have readings: `ts` rising within each; see `checks` for `of`."""

    ids: Ints
    points: list[Point]
    ts: Ints
    of: Ints

    def times(self, place: int) -> Ints:
        low, high = np.searchsorted(self.of, [place, place + 1])
        return self.ts[low:high]


class Sweep:
    """The gaps of one kind of reading; remembers since when each series has been sending, and how far it came."""

    def __init__(self, store: Store, kind: Kind, unheard: Callable[[int], bool]) -> None:
        """`unheard`: whether nothing at all was received in an hour."""
        begun, until = (store.note(name) for name in NOTES[kind])
        self.until: int | None = until
        self._begun = {int(series): first for series, first in (begun or {}).items()}
        self._store, self._kind, self._unheard = store, kind, unheard

    def go_on(self, batch: Batch, points: Sequence[Point], end: int, now: float) -> int:
        """Name what is missing since the last time up to `end`; `until` is to be set once the batch is committed."""
        if self._kind == Kind.HOUR:
            start = 0 if self.until is None else day_start(PointKind.AIR, self.until)
        else:
            start = end - MINUTE_DAYS * DAY if self.until is None else self.until
        count = self.put(batch, points, start, end, now)
        for name, value in zip(NOTES[self._kind], (self._begun_as_json(), end), strict=True):
            batch.note(name, value)
        return count

    def put(self, batch: Batch, points: Sequence[Point], start: int, end: int, now: float) -> int:
        """Replace the gaps of points in [start, end); hours: begins and ends at midnight or at the last sweep."""
        by_end: dict[int, list[Point]] = defaultdict(list)
        for point in points:
            if self._kind == Kind.HOUR or point.devices:
                by_end[_closed(point, end)].append(point)
        count, grow = 0, self._kind == Kind.MINUTE and start != day_start(PointKind.AIR, start)
        for until, some in by_end.items():
            if until > start or self._kind == Kind.HOUR:
                for portion in portions(some, [self._readings(point, until - start) for point in some]):
                    found = self._find(portion, start, until)
                    batch.put_gaps(self._kind, start, until, found, now, grow)
                    count += sum(map(len, found.values()))
        return count

    def _begun_as_json(self) -> dict[str, int]:
        return {str(series): first for series, first in self._begun.items()}

    def _readings(self, point: Point, seconds: int) -> int:
        """How many a point has in so much time, about."""
        return len(point.series) * (seconds + BEFORE) // (interval_seconds(self._kind, point) or 60)

    def _find(self, points: Sequence[Point], start: int, end: int) -> dict[int, list[Gap]]:
        """Gaps in [start, end) of every series that has begun to send."""
        members = self._read(points, max(0, start - BEFORE) if self._kind == Kind.HOUR else start, end)
        self._remember(members)
        length = np.array([interval_seconds(self._kind, point) for point in members.points], np.int64)
        every = checks.intervals(members.ts, members.of, length) if self._kind == Kind.HOUR else length
        firsts = np.array([max(start, self._begun.get(one, end)) for one in members.ids.tolist()], np.int64)
        missed = checks.missed(members.ts, members.of, firsts, np.full(len(firsts), end), every)
        found: dict[int, list[Gap]] = {one: [] for one in members.ids.tolist() if one in self._begun}
        known: dict[int, gaps.Known] = {}
        for place in np.flatnonzero(missed > 0).tolist():
            one, point = int(members.ids[place]), members.points[place]
            if one in found:
                if point.id not in known:
                    known[point.id] = self._known(members, point, start, end)
                times = members.times(place)
                found[one] = gaps.find(times, int(firsts[place]), end, known[point.id], int(every[place]))
        return found

    def _read(self, points: Sequence[Point], start: int, end: int) -> Members:
        owners = {series.id: point for point in points for series in point.series.values()}
        ids = np.array(sorted(owners), np.int64)
        table = self._store.times(ids.tolist(), self._kind, start, end)
        return Members(ids, [owners[one] for one in ids.tolist()], table[:, 1], np.searchsorted(ids, table[:, 0]))

    def _remember(self, members: Members) -> None:
        """Since when each series has been sending."""
        places, at = np.unique(members.of, return_index=True)
        for one, first in zip(members.ids[places].tolist(), members.ts[at].tolist(), strict=True):
            self._begun[one] = min(self._begun.get(one, first), first)

    def _known(self, members: Members, point: Point, start: int, end: int) -> gaps.Known:
        length = HOUR if self._kind == Kind.HOUR else interval_seconds(self._kind, point)
        broken, held = set[int](), set[int]()
        for device in point.devices:
            bad = self._store.bad_frames(start, end + 2 * HOUR, device.mn, 100_000)
            broken |= {int(recv) // HOUR * HOUR for recv in bad["recv"].to_pylist()}
            held |= {ts // length * length for ts in self._store.held_times(device.mn, start, end)}
        places = np.searchsorted(members.ids, [series.id for series in point.series.values()]).tolist()
        present = {slot for place in places for slot in (members.times(place) // length * length).tolist()}
        return gaps.Known(point.maintained, present, held, broken, self._unheard, bool(point.devices), length)


def _closed(point: Point, end: int) -> int:
    """`end`, or the moment from which on nothing is due from a point that is closed."""
    if point.closed_on is None:
        return end
    return min(end, int(datetime.combine(point.closed_on, midnight(), BEIJING).timestamp()))
