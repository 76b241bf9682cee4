"""A stretch of readings of many series as columns, tested at once, and ready for science point by point."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ceguan.quality import checks, layers
from ceguan.quality.checks import Result
from ceguan.quality.programme import Step, programme
from ceguan.standards import units
from ceguan.store import Flag, QualityRun, Store
from ceguan.watch.register import Point, Series, interval_seconds
from ceguan.words import DEVICE_FLAGS, Kind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Params = Mapping[str, Any]


@dataclass(slots=True)
class Track:
    """Readings of one series, rising in time: as received (`raw`), in force (`value`, `zs`), tested (`outcome`,
    the gravest)."""

    series: Series
    kind: Kind
    ts: Ints
    raw: Floats
    value: Floats
    zs: Floats
    flag: NDArray[np.str_]
    recv: Ints
    ver: Ints
    action: NDArray[np.str_]
    outcome: NDArray[np.int8]
    usable: Bools

    def at(self, hours: Ints) -> Ints:
        """Index of the reading of each hour (the last one in it), -1 where there is none."""
        if not len(self.ts):
            return np.full(len(hours), -1, np.int64)
        slot = self.ts // 3600 * 3600
        place = np.searchsorted(slot, hours, side="right") - 1
        return np.where((place >= 0) & (slot[np.maximum(place, 0)] == hours), place, -1)

    def on(self, hours: Ints, unit: str) -> Floats:
        """Usable values of the hours in `unit`; NaN where there is none or the unit cannot be converted."""
        scale = units.factor(self.series.unit, unit)
        if scale is None or not len(self.ts):
            return np.full(len(hours), np.nan)
        place = self.at(hours)
        good = (place >= 0) & self.usable[np.maximum(place, 0)]
        return np.where(good, self.value[np.maximum(place, 0)] * scale, np.nan)

    def key(self, index: int) -> list[int]:
        """The reading as an input of a verdict."""
        return [self.series.id, int(self.kind), int(self.ts[index]), int(self.ver[index])]

    def excluded(self, index: int) -> str:
        """Why science may not use a reading; "" when it may."""
        if self.usable[index]:
            return ""
        if self.action[index] == "invalidate":
            return "审核剔除"
        flag = str(self.flag[index])
        if flag not in layers.NORMAL_FLAGS:
            return f"设备标记 {flag}（{DEVICE_FLAGS[flag].zh}）" if flag in DEVICE_FLAGS else f"设备标记 {flag}"
        return "没有数值" if np.isnan(self.value[index]) else "质控不合格（超量程）"


class Tested(NamedTuple):
    """One test on a stretch: what it said; of each series (by place) whether it was asked, with which parameters.

    `lag`: how many readings must have come behind one before it can be tested.
    """

    result: Result
    asked: Bools
    params: Sequence[Params]
    lag: int = 0


@dataclass(slots=True)
class Stretch:
    """Readings of one kind of many series, one series behind the other, with what `Track` holds of each.

    `members`: the series with their points, by id; `of`: place of the series of each reading; `begin`: where the
    readings of each series begin, and the end of all.
    """

    kind: Kind
    members: list[tuple[Point, Series]]
    of: Ints
    begin: Ints
    ts: Ints
    raw: Floats
    value: Floats
    zs: Floats
    flag: NDArray[np.str_]
    recv: Ints
    ver: Ints
    action: NDArray[np.str_]
    tests: list[Tested] = field(default_factory=list)
    outcome: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    usable: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))

    def track(self, place: int) -> Track:
        part = slice(int(self.begin[place]), int(self.begin[place + 1]))
        return Track(
            self.members[place][1], self.kind, self.ts[part], self.raw[part], self.value[part], self.zs[part],
            self.flag[part], self.recv[part], self.ver[part], self.action[part], self.outcome[part], self.usable[part],
        )  # fmt: skip

    def tracks(self) -> dict[int, dict[str, Track]]:
        """By point (id) and factor, in the order of the register; every series is there, with or without readings."""
        place = {series.id: place for place, (_, series) in enumerate(self.members)}
        points = {point.id: point for point, _ in self.members}.values()
        return {
            point.id: {factor: self.track(place[series.id]) for factor, series in point.series.items()}
            for point in points
        }

    def at(self, moment: int) -> Ints:
        """Of each series the place of its first reading that begins at `moment` or later."""
        found: Ints = self.begin[:-1] + np.bincount(self.of[self.ts < moment], minlength=len(self.members))
        return found


def read(store: Store, points: Iterable[Point], kind: Kind, start: int, end: int) -> Stretch:
    """The readings of all series of some points, tested."""
    members = sorted(((point, one) for point in points for one in point.series.values()), key=lambda pair: pair[1].id)
    ids = np.array([series.id for _, series in members], np.int64)
    table = store.readings(ids.tolist(), kind, start, end)
    columns = {name: table[name].to_numpy() for name in ("series", "ts", "value", "recv", "ver")}
    stretch = Stretch(
        kind, members, np.searchsorted(ids, columns["series"]),
        np.append(np.searchsorted(columns["series"], ids), table.num_rows), columns["ts"], columns["value"],
        table["value_in_force"].to_numpy(), table["zs_in_force"].to_numpy(), _texts(table["flag"]), columns["recv"],
        columns["ver"].astype(np.int64), _texts(table["action"]),
    )  # fmt: skip
    _assess(stretch)
    return stretch


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    values = column.to_numpy(zero_copy_only=False)
    return values.astype("U16") if len(values) else np.zeros(0, "U16")


def _assess(stretch: Stretch) -> None:
    """Run the programme; fills in `tests`, `outcome` and `usable`."""
    stretch.tests = [_missing(stretch), *_programme(stretch)]
    stretch.outcome = layers.worst([_said(stretch, test) for test in stretch.tests])
    fine = layers.valid(stretch.outcome, stretch.flag, stretch.action)
    stretch.usable = fine & ~np.isnan(stretch.value)


def _said(stretch: Stretch, test: Tested) -> NDArray[np.int8]:
    """The outcomes of a test; who was not asked passes."""
    if test.asked.all():
        return test.result.outcome
    return np.where(test.asked[stretch.of], test.result.outcome, checks.PASS).astype(np.int8)


def _missing(stretch: Stretch) -> Tested:
    nothing, count = np.isnan(stretch.raw), len(stretch.members)
    outcome = np.where(nothing, checks.MISSING, checks.PASS).astype(np.int8)
    result = Result("missing", outcome, {int(i): {} for i in np.flatnonzero(nothing)})
    return Tested(result, np.ones(count, np.bool_), [{}] * count)


def _programme(stretch: Stretch) -> Iterator[Tested]:
    """The tests of the programme, each put to all series at once that get it (a spike to those with as many
    neighbours)."""
    chosen: dict[tuple[str, int], list[Step | None]] = defaultdict(lambda: [None] * len(stretch.members))
    for place, (point, series) in enumerate(stretch.members):
        for step in programme(point.kind, series.factor, stretch.kind):
            if step.test != "missing":
                chosen[step.test, int(step.params.get("neighbours", 0))][place] = step
    counted = layers.normal(stretch.flag)
    for (test, lag), steps in chosen.items():
        asked = np.array([step is not None for step in steps])
        result, params = _TESTS[test](stretch, [step.params if step else {} for step in steps], counted)
        yield Tested(result, asked, params, lag)


def _range(stretch: Stretch, steps: Sequence[Params], counted: Bools) -> tuple[Result, Sequence[Params]]:
    """The instrument's registered range goes before the programme's."""
    params = []
    for step, (_, series) in zip(steps, stretch.members, strict=True):
        limits = (("low", series.low), ("high", series.high))
        given = {name: step.get(name) if own is None else own for name, own in limits}
        params.append({name: limit for name, limit in given.items() if limit is not None})
    low, high = (_each(stretch, params, name) for name in ("low", "high"))
    return checks.out_of_range(stretch.raw, low, high), params


def _clock(stretch: Stretch, steps: Sequence[Params], counted: Bools) -> tuple[Result, Sequence[Params]]:
    params = [
        {"tolerance": step.get("tolerance", np.inf), "length": interval_seconds(stretch.kind, point)}
        for step, (point, _) in zip(steps, stretch.members, strict=True)
    ]
    length = _each(stretch, params, "length").astype(np.int64)
    return checks.clock(stretch.ts, stretch.recv, length, _each(stretch, params, "tolerance")), params


def _spike(stretch: Stretch, steps: Sequence[Params], counted: Bools) -> tuple[Result, Sequence[Params]]:
    neighbours = max(int(step.get("neighbours", 0)) for step in steps)
    factor, floor, relative = (_each(stretch, steps, name) for name in ("factor", "floor", "relative"))
    result = checks.spike(
        stretch.raw, counted, neighbours=neighbours, factor=factor, floor=floor, relative=relative, of=stretch.of
    )
    return result, [{**step, "neighbours": neighbours} for step in steps]


def _flat_line(stretch: Stretch, steps: Sequence[Params], counted: Bools) -> tuple[Result, Sequence[Params]]:
    lengths = np.array([interval_seconds(stretch.kind, point) for point, _ in stretch.members], np.int64)
    every = checks.intervals(stretch.ts, stretch.of, lengths)
    shown = checks.resolutions(stretch.raw, stretch.of, np.array([10.0**-one.decimals for _, one in stretch.members]))
    params: list[Params] = []
    for step, (_, series), seconds in zip(steps, stretch.members, every.tolist(), strict=True):
        limit: Params = {}
        if series.detection_limit is not None:
            limit = {"detection_limit": series.detection_limit, "dl_factor": step.get("dl_factor", 2.0)}
        params.append({"run": int(step.get("run", 0)), "every": seconds, **limit})
    floor = _each(stretch, params, "detection_limit") * _each(stretch, params, "dl_factor")
    result = checks.flat_line(
        stretch.ts, stretch.raw, counted, run=_each(stretch, steps, "run"), every=every[stretch.of],
        step=shown[stretch.of], floor=np.where(np.isnan(floor), -np.inf, floor), of=stretch.of,
    )  # fmt: skip
    return result, params


_TESTS = {"range": _range, "clock": _clock, "spike": _spike, "flat_line": _flat_line}


def _each(stretch: Stretch, params: Sequence[Params], name: str) -> Floats:
    """A parameter for each reading; NaN, to which nothing compares, where the series has none."""
    found: Floats = np.array([one.get(name, np.nan) for one in params], np.float64)[stretch.of]
    return found


def reach(point: Point, kind: Kind) -> int:
    """Seconds to either side that a reading's tests can depend on: the longest run of a flat line, the neighbours."""
    length = interval_seconds(kind, point) or 60
    steps = [step for series in point.series.values() for step in programme(point.kind, series.factor, kind)]
    readings = max((int(step.params.get("run", step.params.get("neighbours", 0))) for step in steps), default=0)
    return readings * length * (4 if point.kind == "water" else 1)  # sections report every four hours


def outcomes(stretch: Stretch, start: int, end: int, made_at: float) -> list[tuple[QualityRun, list[Flag]]]:
    """What is to be recorded of the tests in [start, end), one run per series and test.

    The last readings have no neighbours yet, so their spike test is left for the next time.
    """
    low, high = stretch.at(start), stretch.at(end)
    return [one for test in stretch.tests for one in _recorded(stretch, test, low, high, made_at)]


def _recorded(
    stretch: Stretch, test: Tested, low: Ints, high: Ints, made_at: float
) -> Iterator[tuple[QualityRun, list[Flag]]]:
    """No more is proved than there was to test."""
    result, untested = test.result, _untested(stretch, test.result)
    last = np.where(untested, high, np.minimum(high, stretch.begin[1:] - test.lag))
    places = np.flatnonzero(test.asked & (last > low))
    flags = _flags(stretch, test, low, np.where(untested, low, last))
    firsts, ends = stretch.ts[low[places]].tolist(), (stretch.ts[last[places] - 1] + 1).tolist()
    for place, first, until in zip(places.tolist(), firsts, ends, strict=True):
        params = test.params[place]
        if untested[place]:
            params = {**params, "not_evaluated": result.why_not}
        series = stretch.members[place][1].id
        run = QualityRun(series, int(stretch.kind), first, until, result.test, result.version, params, made_at)
        yield run, flags.get(place, [])


def _untested(stretch: Stretch, result: Result) -> Bools:
    """Series on which a test could not be run at all."""
    found = np.zeros(len(stretch.members), np.bool_)
    found[stretch.of[np.broadcast_to(result.untested, stretch.of.shape)]] = True
    return found


def _flags(stretch: Stretch, test: Tested, low: Ints, last: Ints) -> dict[int, list[Flag]]:
    """Outcomes other than PASS by series; MISSING only from the test of that name, and not evaluated only where it is
    news."""
    outcome, evidence = test.result.outcome, test.result.evidence
    at = np.flatnonzero(outcome != checks.PASS)
    of = stretch.of[at]
    at = at[test.asked[of] & (at >= low[of]) & (at < last[of])]
    telling = (outcome[at] == checks.SUSPECT) | (outcome[at] == checks.FAIL)
    telling |= (outcome[at] == checks.MISSING) & (test.result.test == "missing")
    telling |= (outcome[at] == checks.NOT_EVALUATED) & layers.normal(stretch.flag[at])
    found: dict[int, list[Flag]] = defaultdict(list)
    for i in at[telling].tolist():
        why = {"why": "相邻读数缺失或被标记"} if outcome[i] == checks.NOT_EVALUATED else {}
        flag = Flag(int(stretch.ts[i]), int(stretch.ver[i]), int(outcome[i]), evidence.get(i) or why)
        found[int(stretch.of[i])].append(flag)
    return found
