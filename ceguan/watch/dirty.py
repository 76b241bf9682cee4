"""What has to be looked at again because readings or decisions came: remembered with the batch that brought them.

Hours with new hourly readings are judged at once. Hours of which only minutes have come, and days, wait until they are
ripe: over, and nothing of them still on its way. All times are starts, UTC epoch seconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ceguan.words import Kind, PointKind

HOUR, DAY = 3600, 86400
_BEIJING = 8 * HOUR
_DAY_BEGINS: dict[str, int] = {PointKind.NOISE: 6 * HOUR}
"""A day is Beijing's from midnight; the noise day begins with its daytime part at 06:00 (GB 3096)."""

MOST_READINGS = 200_000
"""So many readings, about, are looked at together: more at once is not faster, and memory stays bounded."""

T = TypeVar("T")
Spots = dict[int, set[int]]
_HOURLY, _MINUTELY = int(Kind.HOUR), int(Kind.MINUTE)
_OUTLETS = {str(PointKind.GAS_OUTLET), str(PointKind.WATER_OUTLET)}


def day_start(point_kind: str, ts: int) -> int:
    """Start of the day of judgement that a moment lies in."""
    shift = _BEIJING - _DAY_BEGINS.get(point_kind, 0)
    return (ts + shift) // DAY * DAY - shift


def clusters(times: Iterable[int], apart: int) -> Iterator[list[int]]:
    """Sorted times in groups whose neighbours lie at most `apart` seconds from each other."""
    group: list[int] = []
    for time in sorted(times):
        if group and time - group[-1] > apart:
            yield group
            group = []
        group.append(time)
    if group:
        yield group


def portions(items: Sequence[T], readings: Iterable[int]) -> Iterator[list[T]]:
    """Items in groups that have at most MOST_READINGS together (or are one item), in their order."""
    group, size = list[T](), 0
    for item, count in zip(items, readings, strict=True):
        if group and size + count > MOST_READINGS:
            yield group
            group, size = [], 0
        group.append(item)
        size += count
    if group:
        yield group


def _spots() -> Spots:
    return defaultdict(set)


@dataclass(slots=True)
class Dirty:
    """By point: hours to test and judge, hours of minutes to test, hours and days that wait until they are ripe."""

    hours: Spots = field(default_factory=_spots)
    minutes: Spots = field(default_factory=_spots)
    waiting: Spots = field(default_factory=_spots)
    days: Spots = field(default_factory=_spots)

    def mark(self, point: int, point_kind: str, kind: int, ts: int) -> None:
        """A reading of this kind, beginning at `ts`, is new or changed."""
        hour = ts // HOUR * HOUR
        if kind == _HOURLY:
            self.hours[point].add(hour)
            self.days[point].add(day_start(point_kind, hour))
            if point in self.waiting:
                self.waiting[point].discard(hour)
        elif kind == _MINUTELY:
            self.minutes[point].add(hour)
            if point_kind in _OUTLETS:
                self.waiting[point].add(hour)
                self.days[point].add(day_start(point_kind, hour))

    def mark_span(self, point: int, point_kind: str, kind: int, start: int, end: int) -> None:
        """Everything in [start, end): a decision was made about it."""
        for hour in range(start // HOUR * HOUR, end, HOUR):
            self.mark(point, point_kind, kind, hour)
            if kind == Kind.MINUTE:
                self.hours[point].add(hour)

    def take(self, ripe: Callable[[int, int], bool]) -> Dirty:
        """What can be looked at now; the rest stays. `ripe(point, end)`: whether nothing before `end` is to come."""
        taken = Dirty(hours=self.hours, minutes=self.minutes)
        self.hours, self.minutes = _spots(), _spots()
        for source, target, length in ((self.waiting, taken.hours, HOUR), (self.days, taken.days, DAY)):
            for point in list(source):
                now = {start for start in source[point] if ripe(point, start + length)}
                target[point] |= now
                source[point] -= now
                if not source[point]:
                    del source[point]
        for point in list(taken.days):
            if not taken.days[point]:
                del taken.days[point]
        return taken

    def add(self, other: Dirty) -> None:
        for name in ("hours", "minutes", "waiting", "days"):
            mine = getattr(self, name)
            for point, times in getattr(other, name).items():
                mine[point] |= times

    def __bool__(self) -> bool:
        return any(times for spots in (self.hours, self.minutes, self.waiting, self.days) for times in spots.values())

    def size(self) -> int:
        """How many hours and days of points there are."""
        return sum(len(times) for name in _LENGTHS for times in getattr(self, name).values())

    def dump(self) -> dict[str, dict[str, list[list[int]]]]:
        """As JSON: name → point → runs [first, last] of starts an hour (a day) apart."""
        return {
            name: {
                str(point): [[group[0], group[-1]] for group in clusters(times, length)]
                for point, times in getattr(self, name).items()
                if times
            }
            for name, length in _LENGTHS.items()
        }

    @classmethod
    def load(cls, content: dict[str, dict[str, list[list[int]]]] | None) -> Dirty:
        dirty = cls()
        for name, points in (content or {}).items():
            for point, runs in points.items():
                for first, last in runs:
                    getattr(dirty, name)[int(point)].update(range(first, last + 1, _LENGTHS[name]))
        return dirty


_LENGTHS = {"hours": HOUR, "minutes": HOUR, "waiting": HOUR, "days": DAY}
