"""Plain frames of adopted devices, thousands at once: what `Materialiser` would make of them one by one.

Plain is a frame of a known shape (intake.hj212.shapes) in a dialect that counts, dated as one believes it, with nothing
odd about its numbers. Where one frame of a device in a run is not plain,
all its frames of the run go the usual way, so that what depends on their order comes out the same (tested).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ceguan.intake.hj212.crc import DIALECTS
from ceguan.intake.hj212.frame import quick_head
from ceguan.intake.hj212.readings import bound
from ceguan.intake.hj212.shapes import NO_TIME, ODD, Plain, Shape, Shapes
from ceguan.store import Record, RecordKind
from ceguan.watch.register import Device, Point, Register, interval_seconds
from ceguan.words import Kind

FEW = 40
"""Fewer frames than this are read one by one: that is as quick."""
_SECONDS = {Kind.RT: 1, Kind.HOUR: 3600, Kind.DAY: 86400}
_BEIJING = 8 * 3600
_FIELDS = ("value", "zs", "vmin", "vmax", "cou")


class Target(NamedTuple):
    """Where the values of a factor go: series, scale from the confirmed unit to its own, range in that unit."""

    series: int
    scale: float
    low: float
    high: float


class Gates(Protocol):
    """See `materialise.Gates`."""

    @property
    def future(self) -> float: ...
    @property
    def old(self) -> float: ...


class DayCounts(NamedTuple):
    """What to add to the counters of a device and the Beijing day that began `day` days after 1970-01-01."""

    mn: str
    day: int
    frames: int
    items: int
    late: int
    first_recv: float
    last_recv: float
    max_delay: float
    sum_delay: float


class Sent(NamedTuple):
    """The factors of a frame."""

    of: tuple[str, int]  # MN and kind
    factors: Mapping[str, None]
    recv: float
    frame: int


class Run(NamedTuple):
    """What the plain frames of a run come to. `columns`: readings in the order of READING_COLUMNS."""

    places: NDArray[np.int64]  # of the frames, among the records
    columns: list[NDArray[Any]]
    owners: NDArray[np.int32]  # place in `names` of the device of each reading
    of: NDArray[np.int64]  # place among the records of the frame of each reading
    names: list[str]
    days: list[DayCounts]
    heard: list[tuple[str, str, int, float, float]]  # MN, dialect, frames, first, last
    drifts: list[tuple[str, float]]
    unconfirmed: dict[tuple[str, str], int]
    warned: list[tuple[str, float, list[str], int, int]]  # MN, reception, warnings, frames, last frame
    told: list[Sent]


class _Plan:
    """A shape and what the register says about it."""

    __slots__ = (
        "basis", "bounds", "factors", "flags", "good", "key", "mask", "owner", "read_from", "shape", "slots", "targets",
        "timing", "waiting",
    )  # fmt: skip

    def __init__(self, shape: Shape, owner: int) -> None:
        self.shape, self.owner = shape, owner
        self.key = shape.mn, int(shape.kind)
        self.slots = [[0 if math.isnan(place) else int(place) for place in item[1:6]] for item in shape.items]
        self.bounds = [_most(item.sent, shape.edition) for item in shape.items]
        self.flags = [item.flag for item in shape.items]
        self.factors = dict.fromkeys(item.factor for item in shape.items)
        self.good, self.mask, self.timing = False, 0, (1, 0)
        self.targets: list[Target | None] = []
        self.waiting: list[str] = []  # factors without a confirmed unit
        self.basis: Any = None  # what of the register it was made from
        self.read_from: object = None


def _most(sent: str, edition: int | None) -> float:
    most = bound(sent, edition)
    return math.inf if most is None else most


class _Flat:
    """Plans one behind the other, as arrays: by shape, and by item of a shape."""

    def __init__(self, plans: Sequence[_Plan | None]) -> None:
        there = [plan if plan is not None and plan.good else None for plan in plans]
        self.good = np.array([plan is not None for plan in there], bool)
        self.owner = np.array([plan.owner if plan else -1 for plan in plans], np.int32)
        self.mask = np.array([plan.mask if plan else 0 for plan in there], np.int64)
        self.kind = np.array([plan.shape.kind if plan else 0 for plan in there], np.int64)
        self.moments = np.array([plan is not None and plan.shape.cn == "2011" for plan in there], bool)
        self.after_qn = np.array([plan is not None and plan.shape.edition in (2017, 2025) for plan in there], bool)
        self.length = np.array([plan.timing[0] if plan else 1 for plan in there], np.int64)
        self.interval = np.array([plan.timing[1] if plan else 0 for plan in there], np.int64)
        self.warns = np.array([plan is not None and bool(plan.shape.warnings) for plan in there], bool)
        self.count = np.array([len(plan.slots) if plan else 0 for plan in there], np.int64)
        found = [plan for plan in there if plan]
        targets = [target or _NOWHERE for plan in found for target in plan.targets]
        self.slots = np.array([row for plan in found for row in plan.slots], np.int64).reshape(-1, len(_FIELDS))
        self.bound = np.array([most for plan in found for most in plan.bounds], float)
        self.flag = np.array([flag for plan in found for flag in plan.flags], object)
        self.series = np.array([target.series for target in targets], np.int64)
        self.scale, self.low, self.high = (np.array([target[at] for target in targets], float) for at in range(1, 4))
        self.begin = np.cumsum(self.count) - self.count

    def and_then(self, plans: Sequence[_Plan | None]) -> _Flat:
        """The same with these plans behind."""
        both, more = _Flat([]), _Flat(plans)
        for name, column in vars(self).items():
            setattr(both, name, np.concatenate((column, getattr(more, name))))
        both.begin = np.cumsum(both.count) - both.count
        return both


_NOWHERE = Target(-1, 1.0, -math.inf, math.inf)


class PlainFrames:
    """Reads runs of records. `dialects` and `usual` are those of the materialiser, which changes them as well."""

    def __init__(
        self,
        register: Register,
        look_up: Callable[[Device, Point, str, str, Kind], Target | None],
        gates: Gates,
        late: float,
        enough: int,
        dialects: MutableMapping[str, str],
        usual: Mapping[tuple[str, int], Mapping[str, int]],
    ) -> None:
        self._register, self._look_up = register, look_up
        self._gates, self._late, self._enough = gates, late, enough
        self._dialects, self._usual = dialects, usual

    @cached_property
    def _shapes(self) -> Shapes:
        self._forget()
        return Shapes()

    def _forget(self) -> None:
        self._plans: list[_Plan | None] = []
        self._names: dict[str, int] = {}
        self._flat = _Flat([])
        self._generation = -1

    def take(self, records: Sequence[Record]) -> Run | None:
        """The plain frames among the records; None where there are none. The others are for the usual way."""
        at = [place for place, record in enumerate(records) if record.kind == RecordKind.FRAME]
        if len(at) < FEW or any(record.kind == RecordKind.RELEASE for record in records):
            return None
        plain = self._shapes.read([records[place].payload for place in at])
        flat = self._up_to_date(np.unique(plain.shape[plain.shape != ODD]).tolist())
        if not self._plans:
            return None
        recv = np.array([records[place].recv for place in at])
        good = self._believed(plain, flat, recv)
        good &= ~np.array([records[place].imported for place in at])
        good = self._of_whole_devices(plain, flat, good, [records[place].payload for place in at])
        frames = np.flatnonzero(good)
        if not len(frames):
            return None
        refs = np.array([records[at[frame]].ref.packed for frame in frames.tolist()], np.int64)
        return self._run(plain, flat, frames, np.array(at)[frames], recv[frames], refs)

    # ---- plans

    def _up_to_date(self, numbers: list[int]) -> _Flat:
        """Plans of all shapes, those of these numbers by the register as it is now."""
        if self._generation != self._shapes.generation:
            self._forget()
            self._generation = self._shapes.generation
        known = [self._plans[number] for number in numbers if number < len(self._plans)]
        changed = [self._resolve(plan) for plan in known if plan is not None]
        met = [None if shape is None else self._plan(shape) for shape in self._shapes.known[len(self._plans) :]]
        self._plans += met
        if any(changed):
            self._flat = _Flat(self._plans)
        elif met:
            self._flat = self._flat.and_then(met)
        return self._flat

    def _plan(self, shape: Shape) -> _Plan:
        plan = _Plan(shape, self._names.setdefault(shape.mn, len(self._names)))
        self._resolve(plan)
        return plan

    def _resolve(self, plan: _Plan) -> bool:
        """Bring a plan up to date; whether that changed anything."""
        if plan.read_from is self._register.devices:
            return False
        plan.read_from, shape = self._register.devices, plan.shape
        device = self._register.devices.get(shape.mn)
        point = None if device is None else self._register.points[device.point]
        basis = point and (device, point.kind, point.minute_interval, [point.series.get(one) for one in plan.factors])
        if basis == plan.basis and basis is not None:
            return False
        plan.basis, plan.good = basis, device is not None
        if device is None or point is None:
            return True
        plan.mask = sum(1 << place for place, name in enumerate(DIALECTS) if name in device.dialects)
        plan.timing = _SECONDS.get(shape.kind, 60 * device.minute_interval), interval_seconds(shape.kind, point)
        plan.targets = [self._look_up(device, point, item.factor, item.sent, shape.kind) for item in shape.items]
        missing = zip(shape.items, plan.targets, strict=True)
        plan.waiting = [item.factor for item, target in missing if target is None]
        return True

    # ---- which frames are plain

    def _believed(self, plain: Plain, flat: _Flat, recv: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Frames of shapes that can be read at once, with dialect, times and numbers as they should be."""
        good = _at(flat.good, plain.shape, False)
        shape = np.where(good, plain.shape, 0)
        good &= (flat.mask[shape] >> plain.dialect) & 1 == 1
        length, moment = flat.length[shape], plain.moment
        good &= (moment + _BEIJING) % length == 0
        good &= ~(flat.after_qn[shape] & (plain.sent != NO_TIME) & (moment > plain.sent))
        age = recv - moment
        good &= (-age <= self._gates.future) & ((age <= self._gates.old) if self._gates.old else True)
        frames = np.flatnonzero(good)
        good[frames[self._odd_numbers(plain, flat, frames)]] = False
        return good

    def _odd_numbers(self, plain: Plain, flat: _Flat, frames: NDArray[Any]) -> NDArray[np.bool_]:
        """Frames with a number that would be warned of."""
        row, item = _items(flat, plain.shape[frames])
        value, zs, low, high, _ = _numbers(plain, flat, frames[row], item)
        most, scale = flat.bound[item], flat.scale[item]
        with np.errstate(invalid="ignore"):
            odd = (low > value) | (value > high) | (low > high)
            odd |= (abs(value) >= most) | (abs(zs) >= most) | (abs(low) >= most) | (abs(high) >= most)
            odd |= (value * scale < flat.low[item]) | (value * scale > flat.high[item])
        return np.bincount(row, odd, len(frames)) > 0

    def _of_whole_devices(
        self, plain: Plain, flat: _Flat, good: NDArray[np.bool_], payloads: list[bytes]
    ) -> NDArray[np.bool_]:
        """Leaves out all frames of devices with one that is not plain, or whose dialect is another than before."""
        names = list(self._names)
        left = np.zeros(len(names) + 1, bool)
        every = _at(flat.owner, plain.shape, -1)
        for frame in np.flatnonzero(~good).tolist():
            owner = int(every[frame])
            left[self._names.get(quick_head(payloads[frame]).mn or "", -1) if owner < 0 else owner] = True
        expected = [self._dialects.get(name) for name in names]
        place = np.array([DIALECTS.index(one) if one in DIALECTS else -1 for one in expected] + [-1])
        left[every[good & (plain.dialect != place[every])]] = True
        return good & ~left[every]

    def _told(self, shape: NDArray[np.int32], recv: NDArray[np.float64], refs: NDArray[np.int64]) -> list[Sent]:
        """Frames from which something is learned of what their device usually sends, in their order: all of a device
        and kind of which not every frame brings just what is usual."""
        plans = {number: plan for number in np.unique(shape).tolist() if (plan := self._plans[number]) and plan.factors}
        keys = {
            plan.key
            for plan in plans.values()
            if self._usual.get(plan.key) != dict.fromkeys(plan.factors, self._enough)
        }
        numbers = [number for number, plan in plans.items() if plan.key in keys]
        frames = np.flatnonzero(np.isin(shape, numbers))
        at = zip(shape[frames].tolist(), recv[frames].tolist(), refs[frames].tolist(), strict=True)
        return [Sent(plans[number].key, plans[number].factors, when, frame) for number, when, frame in at]

    # ---- what they come to

    def _run(
        self,
        plain: Plain,
        flat: _Flat,
        frames: NDArray[Any],
        places: NDArray[Any],
        recv: NDArray[np.float64],
        refs: NDArray[np.int64],
    ) -> Run:
        shape, names = plain.shape[frames], list(self._names)
        row, item = _items(flat, shape)
        stored = flat.series[item] >= 0
        unconfirmed = self._unconfirmed(shape)
        row, item = row[stored], item[stored]
        value, zs, low, high, total = _numbers(plain, flat, frames[row], item)
        scale = flat.scale[item]
        columns = [
            flat.series[item], flat.kind[shape][row], plain.moment[frames][row], np.zeros(len(row), np.int64),
            value * scale, zs * scale, low * scale, high * scale, total, flat.flag[item],
            recv.astype(np.int64)[row], refs[row],
        ]  # fmt: skip
        owners = flat.owner[shape]
        return Run(
            places, columns, owners[row], places[row], names, self._days(plain, flat, frames, recv),
            self._heard(owners, plain.dialect[frames], recv), self._drifts(plain, flat, frames, recv, names),
            unconfirmed, self._warned(flat, shape, recv, refs), self._told(shape, recv, refs),
        )  # fmt: skip

    def _days(self, plain: Plain, flat: _Flat, frames: NDArray[Any], recv: NDArray[np.float64]) -> list[DayCounts]:
        shape = plain.shape[frames]
        delay = recv - plain.moment[frames] - flat.interval[shape]
        late = (flat.kind[shape] != Kind.RT) & (delay > self._late)
        day = (recv.astype(np.int64) + _BEIJING) // 86400
        names, owners = list(self._names), flat.owner[shape].astype(np.int64)
        order = np.lexsort((day, owners))
        begins = _begins(owners[order], day[order])
        columns = [
            owners[order][begins].tolist(), day[order][begins].tolist(), np.diff(begins, append=len(order)).tolist(),
            *(np.add.reduceat(one[order], begins).tolist() for one in (flat.count[shape], late.astype(np.int64))),
            np.minimum.reduceat(recv[order], begins).tolist(), np.maximum.reduceat(recv[order], begins).tolist(),
            np.maximum.reduceat(delay[order], begins).tolist(),
            np.add.reduceat(np.maximum(delay, 0.0)[order], begins).tolist(),
        ]  # fmt: skip
        return [DayCounts(names[owner], *rest) for owner, *rest in zip(*columns, strict=True)]

    def _heard(
        self, owners: NDArray[np.int32], dialect: NDArray[np.int8], recv: NDArray[np.float64]
    ) -> list[tuple[str, str, int, float, float]]:
        names, order = list(self._names), np.argsort(owners, kind="stable")
        begins = _begins(owners[order])
        return [
            (names[owner], DIALECTS[one], count, first, last)
            for owner, one, count, first, last in zip(
                owners[order][begins].tolist(), dialect[order][begins].tolist(),
                np.diff(begins, append=len(order)).tolist(),
                np.minimum.reduceat(recv[order], begins).tolist(), np.maximum.reduceat(recv[order], begins).tolist(),
                strict=True,
            )
        ]  # fmt: skip

    @staticmethod
    def _drifts(
        plain: Plain, flat: _Flat, frames: NDArray[Any], recv: NDArray[np.float64], names: list[str]
    ) -> list[tuple[str, float]]:
        shape, sent = plain.shape[frames], plain.sent[frames]
        sent = np.where((sent == NO_TIME) & flat.moments[shape], plain.moment[frames], sent)
        known = sent != NO_TIME
        owners = flat.owner[shape][known].tolist()
        return list(zip(map(names.__getitem__, owners), (sent - recv)[known].tolist(), strict=True))

    def _unconfirmed(self, shape: NDArray[np.int32]) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        numbers, counts = np.unique(shape, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            plan = self._plans[number]
            assert plan is not None
            for factor in plan.waiting:
                found[plan.shape.mn, factor] = found.get((plan.shape.mn, factor), 0) + count
        return found

    def _warned(
        self, flat: _Flat, shape: NDArray[np.int32], recv: NDArray[np.float64], refs: NDArray[np.int64]
    ) -> list[tuple[str, float, list[str], int, int]]:
        """Warnings that belong to the shape, by shape and day."""
        frames = np.flatnonzero(flat.warns[shape])
        day = (recv[frames].astype(np.int64) + _BEIJING) // 86400
        if not len(frames):
            return []
        order = frames[np.lexsort((frames, day, shape[frames]))]
        begins = _begins(shape[order], (recv[order].astype(np.int64) + _BEIJING) // 86400)
        found = []
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
            plan, last = self._plans[int(shape[order[begin]])], int(order[end - 1])
            assert plan is not None
            found.append((plan.shape.mn, float(recv[last]), plan.shape.warnings, end - begin, int(refs[last])))
        return sorted(found, key=lambda one: one[4])


def _at(column: NDArray[Any], shape: NDArray[np.int32], odd: Any) -> NDArray[Any]:
    """The column by shape, `odd` for ODD frames."""
    return np.append(column, np.array([odd], column.dtype))[shape]


def _items(flat: _Flat, shape: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row in `shape`, place among the items of all shapes) of each item of frames of these shapes."""
    count = flat.count[shape]
    row = np.repeat(np.arange(len(shape)), count)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + flat.begin[shape][row]


def _numbers(plain: Plain, flat: _Flat, frame: NDArray[Any], item: NDArray[Any]) -> list[NDArray[np.float64]]:
    """value, zs, vmin, vmax, cou of items, as sent; NaN for none."""
    found = []
    for field in range(len(_FIELDS)):
        place = flat.slots[item, field]
        found.append(np.where(place > 0, plain.numbers[plain.first[frame] + place - 1], np.nan))
    return found


def _begins(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """Where runs of equal rows begin."""
    differs = np.ones(len(columns[0]), bool)
    differs[1:] = False
    for column in columns:
        differs[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(differs)
