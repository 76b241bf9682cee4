"""A stretch of a point's readings as columns, tested and ready for science."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ceguan.quality import checks, layers
from ceguan.quality.checks import Result
from ceguan.quality.programme import Step, programme
from ceguan.standards import units
from ceguan.store import Flag, QualityRun, Store
from ceguan.watch.register import Point, Series, interval_seconds
from ceguan.words import DEVICE_FLAGS, Kind, Outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NONE = np.zeros(0, np.int64)


@dataclass(slots=True)
class Track:
    """Readings of one series, rising in time: as received (`raw`), in force (`value`, `zs`), tested (`outcome`)."""

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
    results: list[Result] = field(default_factory=list)
    outcome: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    usable: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

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


def read(store: Store, point: Point, kind: Kind, start: int, end: int) -> dict[str, Track]:
    """Tracks of a point's series by factor, tested; every series is there, with or without readings."""
    ids = [series.id for series in point.series.values()]
    table = store.readings(ids, kind, start, end)
    columns = {name: table[name].to_numpy() for name in ("series", "ts", "value", "recv", "ver")}
    force, zs = table["value_in_force"].to_numpy(), table["zs_in_force"].to_numpy()
    flag, action = (_texts(table[name]) for name in ("flag", "action"))
    tracks = {}
    for factor, series in point.series.items():
        low, high = np.searchsorted(columns["series"], [series.id, series.id + 1])
        part = slice(int(low), int(high))
        track = Track(
            series, kind, columns["ts"][part], columns["value"][part], force[part], zs[part],
            flag[part], columns["recv"][part], columns["ver"][part].astype(np.int64), action[part],
        )  # fmt: skip
        tracks[factor] = assess(point, track)
    return tracks


def times(store: Store, point: Point, kind: Kind, start: int, end: int) -> dict[int, Ints]:
    """When each series of a point has readings: series id → times, rising. Only series that have any."""
    found = store.times([series.id for series in point.series.values()], kind, start, end)
    edges = np.flatnonzero(np.diff(found[:, 0])) + 1
    return {int(part[0, 0]): part[:, 1] for part in np.split(found, edges) if len(part)}


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    values = column.to_numpy(zero_copy_only=False)
    return values.astype("U16") if len(values) else np.zeros(0, "U16")


def assess(point: Point, track: Track) -> Track:
    """Run the programme on a track; fills in `results`, `outcome` (the gravest) and `usable`."""
    nothing = np.where(np.isnan(track.raw), Outcome.MISSING, Outcome.PASS).astype(np.int8)
    counted = layers.normal(track.flag)
    track.results = [
        Result("missing", nothing, {}, {int(i): {} for i in np.flatnonzero(nothing == Outcome.MISSING)}),
        *(_run(step, point, track, counted) for step in _steps(point, track)),
    ]
    track.outcome = layers.worst([result.outcome for result in track.results])
    fine = layers.valid(track.outcome, track.flag, track.action)
    track.usable = fine & ~np.isnan(track.value)
    return track


def _steps(point: Point, track: Track) -> Sequence[Step]:
    found = programme(point.kind, track.series.factor, track.kind)
    return [step for step in found if step.test != "missing"]


def _run(step: Step, point: Point, track: Track, counted: NDArray[np.bool_]) -> Result:
    """One step of the programme on one track."""
    params, series = step.params, track.series
    if step.test == "range":
        low = params.get("low") if series.low is None else series.low
        high = params.get("high") if series.high is None else series.high
        return checks.out_of_range(track.raw, low, high)
    if step.test == "clock":
        return checks.clock(track.ts, track.recv, interval_seconds(track.kind, point), params["tolerance"])
    if step.test == "spike":
        return checks.spike(
            track.raw, counted, neighbours=int(params["neighbours"]), factor=params["factor"],
            floor=params["floor"], relative=params["relative"],
        )  # fmt: skip
    every = checks.interval(track.ts, interval_seconds(track.kind, point))
    step_size = checks.resolution(track.raw, 10.0**-series.decimals)
    return checks.flat_line(
        track.ts, track.raw, counted, run=int(params["run"]), every=every, step=step_size,
        detection_limit=series.detection_limit, dl_factor=params.get("dl_factor", 2.0),
    )  # fmt: skip


def reach(point: Point, kind: Kind) -> int:
    """Seconds to either side that a reading's tests can depend on: the longest run of a flat line, the neighbours."""
    length = interval_seconds(kind, point) or 60
    steps = [step for series in point.series.values() for step in programme(point.kind, series.factor, kind)]
    readings = max((int(step.params.get("run", step.params.get("neighbours", 0))) for step in steps), default=0)
    return readings * length * (4 if point.kind == "water" else 1)  # sections report every four hours


def outcomes(track: Track, start: int, end: int, made_at: float) -> list[tuple[QualityRun, list[Flag]]]:
    """What is to be recorded of the tests of a track in [start, end), one run per test.

    The last readings have no neighbours yet, so their spike test is left for the next time.
    """
    recorded = []
    low, high = (int(i) for i in np.searchsorted(track.ts, [start, end]))
    if low == high:
        return []
    for result in track.results:
        last = high
        params = dict(result.params)
        if result.why_not:
            params = {**params, "not_evaluated": result.why_not}  # type: ignore[dict-item]
        elif result.test == "spike":
            last = min(high, len(track.ts) - int(params["neighbours"]))
        if last <= low:
            continue
        first, until = int(track.ts[low]), int(track.ts[last - 1]) + 1  # no more is proved than there was to test
        run = QualityRun(track.series.id, int(track.kind), first, until, result.test, result.version, params, made_at)
        recorded.append((run, [] if result.why_not else _flags(track, result, low, last)))
    return recorded


def _flags(track: Track, result: Result, low: int, high: int) -> list[Flag]:
    """Outcomes other than PASS; MISSING only from the test of that name, and not evaluated only where it is news."""
    part = result.outcome[low:high]
    if (part == Outcome.PASS).all():
        return []
    counted = layers.normal(track.flag[low:high])
    telling = (part == Outcome.SUSPECT) | (part == Outcome.FAIL)
    telling |= (part == Outcome.MISSING) & (result.test == "missing")
    telling |= (part == Outcome.NOT_EVALUATED) & counted
    return [
        Flag(
            int(track.ts[i]), int(track.ver[i]), int(result.outcome[i]),
            result.evidence.get(i) or ({"why": "相邻读数缺失或被标记"} if result.outcome[i] == 2 else {}),
        )
        for i in (low + np.flatnonzero(telling)).tolist()
    ]  # fmt: skip
