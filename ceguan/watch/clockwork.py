"""The clockwork: the single writer of the ledger. One `step` takes in what arrived and does all that follows from it.

1. A batch of archive records becomes readings, held and bad frames, counters, decisions – one transaction together with
   the archive positions, so each record counts exactly once whenever the process is killed.
2. What that touched was remembered in the same transaction (note "dirty"); now it is tested and judged, and flags,
   verdicts and gaps are written in a second transaction that also forgets it.
3. Verdicts that are news to people wait in that transaction's note "outbox" until their findings are made.
4. Once nothing more has arrived: gaps up to the present, requests to devices for what is missing, status of every
   point, silent outlets, aggregates of days that are over.
Each part can be done again after a crash without a second effect.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from django.db import close_old_connections
from numpy.typing import NDArray

from ceguan.intake import decided
from ceguan.registry import models
from ceguan.settings import Settings
from ceguan.store import CHANGED, SAME, Added, ArchiveError, Batch, Flag, QualityRun, Store, StoredVerdict, Verdict
from ceguan.store.refusals import refusal, told
from ceguan.watch import findings, judge, windows
from ceguan.watch import status as statuses
from ceguan.watch.dirty import DAY, HOUR, Dirty, Spots, clusters, day_start, portions
from ceguan.watch.fill import Filler, asked
from ceguan.watch.materialise import Gates, Materialiser, Taken
from ceguan.watch.models import Finding
from ceguan.watch.register import Point, Register, Series
from ceguan.watch.sweep import Sweep
from ceguan.watch.thresholds import threshold
from ceguan.watch.windows import Stretch, Track
from ceguan.words import Kind, Outcome, PointKind, Status, beijing

log = logging.getLogger(__name__)

BATCH_RECORDS = 12_000
LOOK_BATCHES = 20
"""So many full batches may be taken in before what they brought is tested and judged."""
STATUS_SECONDS = 10
SETTLE_DAYS = 200
"""Days of series whose aggregates one step computes: some hundred thousand readings at most."""
FORGET_HOURS = 400 * 24
"""For how many hours it is remembered whether anything at all was received."""
LATE_APART = 48 * HOUR
OUTLETS = (PointKind.GAS_OUTLET, PointKind.WATER_OUTLET)
NEWS = ("over", "above")
"""Outcomes of verdicts that become findings (of the rules in `_TITLES`)."""
AT_ONCE = 500
"""So many verdicts become findings, or statuses are stored, in one transaction."""


@dataclass(slots=True)
class Report:
    """What one step did. `caught_up`: the archive had nothing more."""

    records: int = 0
    new: int = 0
    same: int = 0
    changed: int = 0
    bad: int = 0
    held: int = 0
    quarantined: int = 0
    flags: int = 0
    verdicts: int = 0
    findings: int = 0
    changes: int = 0
    gaps: int = 0
    fills: int = 0
    settled: int = 0  # days of series whose aggregates were computed
    caught_up: bool = True
    waiting: int = 0  # hours and days of points that wait for tests or judgement
    backlog_bytes: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)

    @property
    def readings(self) -> int:
        return self.new + self.same + self.changed

    @property
    def idle(self) -> bool:
        return not (self.records or self.verdicts or self.changes or self.gaps)


class Spot(NamedTuple):
    """Hours or days (starts, rising) of a point that are to be looked at."""

    point: Point
    times: list[int]


class News(NamedTuple):
    """A verdict by its number, with the number of the one it replaces."""

    number: int
    previous: int | None
    verdict: dict[str, Any]


class Found(NamedTuple):
    """What looking at the dirty spots came to."""

    tests: list[list[tuple[QualityRun, list[Flag]]]]  # those of one time together
    verdicts: list[Verdict]
    late: dict[tuple[Kind, int, int], set[int]]  # (kind, from, to) → points whose gaps have to be looked at again
    flat: list[tuple[Point, Track, NDArray[np.bool_]]]
    failed: list[tuple[str, Spot, str]]  # what was looked at, where, why it failed


@contextmanager
def _spared(name: str, spot: Spot, found: Found) -> Iterator[None]:
    """One point must not stop all others: what fails is shown, and tried again on restart."""
    try:
        yield
    except Exception as error:
        found.failed.append((name, spot, told(log, f"点位 {spot.point.code} 的检验或判定失败", error)))


class Clockwork:
    """Holds the ledger's writer; close it. Use from one thread. Django must be set up.

    Raises LedgerTakenError when another clockwork runs on this data folder.
    """

    def __init__(self, settings: Settings, batch_records: int = BATCH_RECORDS) -> None:
        self.settings = settings
        self.store = Store(settings.folder, write=True)
        self.register = Register()
        self.unconfirmed: Counter[tuple[str, str]] = Counter()
        self._batch_records = batch_records
        self._drifts: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=int(threshold("clock_frames"))))
        self._ahead = 0  # batches taken in since the last look
        self._torn = False
        """A step raised; what is in memory may be ahead of what was committed."""
        self._resume()

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Clockwork:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def step(self, now: float) -> Report:
        """Everything there is to do at platform time `now`, at most one batch of records.

        When it raises, nothing half-done is left: the next step begins from what was committed, with new connections
        where the old ones broke.
        """
        began, report = time.perf_counter(), Report()
        if self._torn:
            close_old_connections()
            self._resume()
        self._torn = True
        self.register.refresh(beijing(now).date())
        self._deliver(report)
        self._take_in(now, report)
        if self._may_look(report):
            self._look(now, report)
        report.waiting = self.dirty.size()
        self._tell(now, report)
        if report.caught_up:
            self._sweep(now, report)
            report.fills = self.filler.step(now, report.gaps > 0)
            self._statuses(now, report)
            report.settled = self.store.settle(_nothing_comes_after(now), SETTLE_DAYS)
        self._torn = False
        report.backlog_bytes = 0 if report.caught_up else self.store.backlog()
        report.seconds = time.perf_counter() - began
        return report

    def _may_look(self, report: Report) -> bool:
        """Taking in goes first, but never more than LOOK_BATCHES ahead: hours that came whole are looked at once."""
        self._ahead = 0 if report.caught_up or self._ahead + 1 >= LOOK_BATCHES else self._ahead + 1
        return self._ahead == 0

    def _resume(self) -> None:
        """Begin from what the ledger and the business database know."""
        note = self.store.note
        dialects = self.store.dialects()
        self.materialiser = Materialiser(
            self.register,
            self.store.frame,
            self.store.held,
            gates=self._gates(),
            late_seconds=self.settings.late_hours * HOUR,
            parts_seconds=threshold("parts_minutes") * 60,
            enough=int(threshold("usual_messages")),
            dialects=dict(zip(*(reversed(dialects[name].to_pylist()) for name in ("mn", "dialect")), strict=True)),
            known=self.store.usual(),
        )
        self.materialiser.resume(note("parts") or {})
        self.dirty = Dirty.load(note("dirty"))
        self.dirty.add(Dirty.load(note("unjudged")))
        self._heard = {hour for first, last in note("heard") or () for hour in range(first, last + 1, HOUR)}
        self.unconfirmed = Counter({(mn, factor): n for mn, factor, n in note("unconfirmed") or ()})
        self._outbox: list[tuple[int, int | None]] = [(n, before) for n, before in note("outbox") or ()]
        self._sweeps = {
            kind: Sweep(self.store, kind, lambda hour: hour not in self._heard) for kind in (Kind.HOUR, Kind.MINUTE)
        }
        self.filler = Filler(self.store, self.register, self.settings)
        self._in_doubt = self.store.held_dialects()
        self._unknown = {device["mn"] for device in self.store.unknown_devices()}
        self._newest: dict[int, int] = {}
        self._last_packet = self._packets()
        self._status_at = 0.0
        still = Finding.objects.filter(state__in=Finding.OPEN_STATES)
        self._open = set(still.values_list("point_id", "rule"))
        self._unjudged = Dirty()
        self._stored: dict[int, StoredVerdict] = {}

    def _gates(self) -> Gates:
        values = self.settings
        return Gates(values.future_minutes * 60, values.old_days * DAY, values.history_days * DAY, asked)

    def _packets(self) -> dict[str, float]:
        days = self.store.device_days("0000-01-01", "9999-12-31")
        last: dict[str, float] = {}
        for mn, recv in zip(days["mn"].to_pylist(), days["last_recv"].to_pylist(), strict=True):
            last[mn] = max(last.get(mn, 0.0), recv)
        return {mn: recv for mn, recv in last.items() if recv > 0}

    # ---- 1. take in

    def _deliver(self, report: Report) -> None:
        """What people decided and was left behind on its way to the archive."""
        try:
            decided.deliver(self.store.archive)
        except (ArchiveError, OSError) as error:  # what has arrived is taken in all the same
            report.errors.append(f"待归档的决定：{refusal(error) or error}")

    def _take_in(self, now: float, report: Report) -> None:
        records = list(islice(self.store.arrivals(), self._batch_records))
        report.caught_up = len(records) < self._batch_records
        report.records = len(records)
        adopted = sorted(self._unknown & self.register.devices.keys())
        confirmed = sorted(pair for pair in self._in_doubt if self._counts(*pair))
        if not records and not adopted and not confirmed:
            return
        taken = self.materialiser.take(records)
        for mn in adopted:
            if self.register.devices[mn].take_held:
                self.materialiser.take_held(self.store.held_frames(mn), taken)
        for mn, dialect in confirmed:
            held = self.store.held_for(mn, f"dialect:{dialect}")
            self.materialiser.take_confirmed(mn, dialect, held, now, taken)
        with self.store.ledger.batch() as batch:
            for mn in adopted:
                batch.release(mn, now)
            self._write(batch, taken, report)
        self._unknown -= set(adopted)
        self._unknown |= {frame.mn for frame in taken.held}
        doubts = (frame for frame in taken.quarantine if frame.cause.startswith("dialect:"))
        self._in_doubt -= set(confirmed)
        self._in_doubt |= {(frame.mn, frame.cause.partition(":")[2]) for frame in doubts}
        self._clocks(taken, now)

    def _counts(self, mn: str, dialect: str) -> bool:
        """Whether frames of this device in this dialect count (by now)."""
        device = self.register.devices.get(mn)
        return device is not None and dialect in device.dialects

    def _write(self, batch: Batch, taken: Taken, report: Report) -> None:
        columns, owners, names = taken.readings()
        added = batch.add_readings(columns)
        report.new, report.same, report.changed = added.new, added.same, len(added.changed)
        again: dict[str, list[int]] = {}
        for name, *more in zip(names, *_by_owner(owners, added, len(names)), strict=True):
            again[name] = [one + another for one, another in zip(again.get(name, (0, 0)), more, strict=True)]
        self._mark(columns, added.fates != SAME)
        for decision in taken.decisions:
            batch.add_decision(decision)
            point, _ = self.register.series[decision.series]
            self.dirty.mark_span(point.id, point.kind, decision.kind, decision.ts_from, decision.ts_to)
        for (mn, day), counts in taken.days.items():
            batch.count([counts.row(mn, day, *again.pop(mn, (0, 0)))])
        batch.add_bad_frames(taken.bad)
        batch.hold(taken.held)
        batch.hear(taken.heard_dialects())
        batch.warn(taken.warned())
        batch.keep_usual(taken.usual)
        batch.quarantine(taken.quarantine)
        for one in taken.settled:
            batch.settle(*one)
        batch.move(taken.positions)
        batch.note("dirty", self.dirty.dump())
        batch.note("parts", self.materialiser.waiting)
        self._remember(batch, taken)
        report.bad, report.held, report.quarantined = len(taken.bad), len(taken.held), taken.quarantined
        for mn, recv in taken.last_packet.items():
            self._last_packet[mn] = max(self._last_packet.get(mn, 0.0), recv)

    def _mark(self, columns: list[NDArray[Any]], told: NDArray[np.bool_]) -> None:
        """What these readings (those that say something new) want looked at again."""
        series, kind, ts = (column[told] for column in columns[:3])
        for number, newest in _newest_of(series, ts):
            at = self.register.series[number][0].id
            self._newest[at] = max(self._newest.get(at, 0), newest)
        for number, one, hour in _distinct(series, kind, ts // HOUR * HOUR):
            point, _ = self.register.series[number]
            self.dirty.mark(point.id, point.kind, one, hour)

    def _remember(self, batch: Batch, taken: Taken) -> None:
        """Small facts: in which hours anything came, which factors wait for the confirmation of their unit."""
        if taken.heard - self._heard:
            self._heard |= taken.heard
            horizon = max(self._heard) - FORGET_HOURS * HOUR
            self._heard = {hour for hour in self._heard if hour >= horizon}
            batch.note("heard", [[group[0], group[-1]] for group in clusters(self._heard, HOUR)])
        confirmed = [key for key in self.unconfirmed if self._is_confirmed(*key)]
        if taken.unconfirmed or confirmed:
            self.unconfirmed.update(taken.unconfirmed)
            for key in confirmed:
                if key not in taken.unconfirmed:
                    del self.unconfirmed[key]
            batch.note("unconfirmed", [[mn, factor, n] for (mn, factor), n in self.unconfirmed.items()])

    def _is_confirmed(self, mn: str, factor: str) -> bool:
        device = self.register.devices.get(mn)
        return device is None or factor in device.units

    # ---- 2. test and judge

    def _look(self, now: float, report: Report) -> None:
        wait = threshold("judge_minutes") * 60

        def ripe(point: int, end: int) -> bool:
            return now >= end + wait and (report.caught_up or self._newest.get(point, 0) >= end)

        work = self.dirty.take(ripe)
        if not work:
            return
        found = self._find(work, now, report)
        with self.store.ledger.batch() as batch:
            report.flags = sum(map(batch.add_flags, found.tests))
            stored = batch.add_verdicts(found.verdicts)
            for (kind, start, end), points in found.late.items():
                some = [self.register.points[one] for one in sorted(points)]
                report.gaps += self._sweeps[kind].put(batch, some, start, end, now)
            self._stored = {one.id: one for one in stored}
            news = ((one.id, one.previous) for one in stored if one.verdict.outcome in NEWS or one.previous is not None)
            self._outbox += news
            batch.note("dirty", self.dirty.dump())
            batch.note("unjudged", self._unjudged.dump())
            batch.note("outbox", self._outbox)
        report.verdicts = len(stored)
        for flat in found.flat:
            self._flat_line(*flat, now)

    def _find(self, work: Dirty, now: float, report: Report) -> Found:
        """Points of which the same stretch of time is to be looked at are looked at together."""
        found = Found([], [], defaultdict(set), [], [])
        looks = (("hours", self._hours), ("minutes", self._minutes), ("days", self._days))
        for name, look in looks:
            for some in self._together(getattr(work, name)):
                try:
                    look(some, now, found)
                except Exception:  # of many at once: then one by one
                    for spot in some:
                        with _spared(name, spot, found):
                            look([spot], now, found)
        for name, spot, cause in found.failed:
            report.errors.append(f"{spot.point.code} {name}：{cause}")
            getattr(self._unjudged, name)[spot.point.id].update(spot.times)
        return found

    def _together(self, spots: Spots) -> Iterator[list[Spot]]:
        """Groups of hours or days of points, those of about the same time in one, of MOST_READINGS at most."""
        alike: dict[tuple[int, ...], list[Spot]] = defaultdict(list)
        for number in sorted(spots.keys() & self.register.points.keys()):
            point = self.register.points[number]
            for group in clusters(spots[number], LATE_APART):
                alike[group[0], group[-1], windows.reach(point, Kind.HOUR)].append(Spot(point, group))
        for (first, last, reach), some in alike.items():
            readings = (last - first + DAY + 4 * reach) // HOUR
            yield from portions(some, [len(spot.point.series) * readings for spot in some])

    def _hours(self, some: list[Spot], now: float, found: Found) -> None:
        """Tests around these hours, the verdicts of exactly these hours, and gaps that late hours close."""
        first, end = some[0].times[0], some[0].times[-1] + HOUR
        span = windows.reach(some[0].point, Kind.HOUR)
        stretch = windows.read(self.store, [spot.point for spot in some], Kind.HOUR, first - 2 * span, end + 2 * span)
        tests, flat = windows.outcomes(stretch, first - span, end + span, now), list(self._flat_lines(stretch))
        tracks = stretch.tracks()
        found.tests.append(tests)
        found.flat.extend(flat)
        self._late(some, Kind.HOUR, found)
        for spot in some:
            with _spared("hours", spot, found):
                point, minutes = spot.point, self._minute_tracks(spot.point, first, end)
                found.verdicts.extend(judge.hours(point, tracks[point.id], spot.times, minutes, now))

    def _late(self, some: list[Spot], kind: Kind, found: Found) -> None:
        """Readings came of days whose gaps have been named already."""
        until = self._sweeps[kind].until
        for point, hours in some:
            if until is not None and hours[0] < until:
                last = day_start(PointKind.AIR, hours[-1]) + DAY
                found.late[kind, day_start(PointKind.AIR, hours[0]), min(last, until)].add(point.id)

    def _minutes(self, some: list[Spot], now: float, found: Found) -> None:
        start, end = some[0].times[0], some[0].times[-1] + HOUR
        stretch = windows.read(self.store, [spot.point for spot in some], Kind.MINUTE, start, end)
        found.tests.append(windows.outcomes(stretch, start, end, now))
        self._late(some, Kind.MINUTE, found)

    def _days(self, some: list[Spot], now: float, found: Found) -> None:
        first, end = some[0].times[0], some[0].times[-1] + DAY
        tracks = windows.read(self.store, [spot.point for spot in some], Kind.HOUR, first, end).tracks()
        for spot in some:
            with _spared("days", spot, found):
                point, minutes = spot.point, self._minute_tracks(spot.point, first, end)
                found.verdicts.extend(judge.days(point, tracks[point.id], spot.times, minutes, now))

    def _minute_tracks(self, point: Point, start: int, end: int) -> judge.Minutes:
        """The minutes of a stretch, read when first asked for."""
        kept: list[dict[str, Track]] = []

        def minutes() -> dict[str, Track]:
            if not kept:
                kept.append(windows.read(self.store, [point], Kind.MINUTE, start, end).tracks()[point.id])
            return kept[0]

        return minutes

    # ---- 3. findings

    def _tell(self, now: float, report: Report) -> None:
        """Make the findings of what waits in the outbox, some at a time, each time forgetting what was told."""
        waiting = sorted(self._outbox)
        for start in range(0, len(waiting), AT_ONCE):
            report.findings += self._findings(waiting[start : start + AT_ONCE], now)
            rest = waiting[start + AT_ONCE :]
            with self.store.ledger.batch() as batch:
                batch.note("outbox", rest)
            self._outbox = rest

    def _findings(self, part: list[tuple[int, int | None]], now: float) -> int:
        """How many of these verdicts (with those they replace) raised a finding."""
        known = {number: one.verdict._asdict() for number, _ in part if (one := self._stored.get(number))}
        known |= self.store.verdicts_of([number for number, _ in part if number not in known])
        news = [News(number, previous, known[number]) for number, previous in part if self._is_told(known[number])]
        pairs = {(one.verdict["point"], one.verdict["rule"]) for one in news}
        return findings.at_once(pairs, now, lambda desk: sum(_finding(desk, one) for one in news)) if news else 0

    def _is_told(self, verdict: dict[str, Any]) -> bool:
        return verdict["point"] in self.register.points and _title(verdict["rule"]) is not None

    def _flat_lines(self, stretch: Stretch) -> Iterator[tuple[Point, Track, NDArray[np.bool_]]]:
        """Series of outlets with a run of equal values or a lead that may end, and where their values are flat."""
        for test in stretch.tests:
            if test.result.test == "flat_line":
                flat = (test.result.outcome == Outcome.SUSPECT) & test.asked[stretch.of]
                runs = np.bincount(stretch.of[flat], minlength=len(stretch.members)).tolist()
                for place, (point, series) in enumerate(stretch.members):
                    if point.kind in OUTLETS and (runs[place] or (point.id, f"flatline:{series.factor}") in self._open):
                        yield point, stretch.track(place), flat[stretch.begin[place] : stretch.begin[place + 1]]

    def _flat_line(self, point: Point, track: Track, flat: NDArray[np.bool_], now: float) -> None:
        """A lead of level 1 for a run of equal values at an outlet; ended by the next value that differs."""
        rule = f"flatline:{track.series.factor}"
        if flat.any():
            last = int(flat.nonzero()[0][-1])
            first = last
            while first > 0 and flat[first - 1] and track.raw[first - 1] == track.raw[last]:
                first -= 1
            self._lead(point, track.series, rule, track, first, last, now)
        if len(flat) and not flat[-1] and track.usable[-1] and (point.id, rule) in self._open:
            findings.end_finding(models.Point.objects.get(pk=point.id), rule, "数值恢复变化", now)
            self._open.discard((point.id, rule))

    def _lead(self, point: Point, series: Series, rule: str, track: Track, first: int, last: int, now: float) -> None:
        begin, end, value = int(track.ts[first]), int(track.ts[last]), float(track.raw[last])
        row = models.Point.objects.get(pk=point.id)
        occurrence = str(begin)
        same = Finding.objects.filter(point=row, rule=rule).order_by("-last_at").first()
        if same is not None and same.detail.get("value") == value and same.last_at.timestamp() >= begin - HOUR:
            if same.last_at.timestamp() >= end or same.state == "dismissed":
                return  # this run is known, and whoever dismissed it meant the run, not one hour of it
            occurrence, begin = same.detail["occurrence"], same.detail["from"]
        hours = (end - begin) // HOUR + 1
        zh = f"{series.name}连续 {hours} 小时恒为 {value:g} {series.unit}（线索，不是结论）"
        en = f"{series.factor} constant at {value:g} {series.unit} for {hours} hours (a lead, not a conclusion)"
        detail = {"zh": zh, "en": en, "occurrence": occurrence, "value": value, "unit": series.unit, "from": begin,
                  "to": end, "factor": series.factor}  # fmt: skip
        findings.raise_finding(row, rule, 1, f"{series.name}恒值线索", f"{series.factor} flat line (lead)", detail, [],
                               end, now)  # fmt: skip
        self._open.add((point.id, rule))

    # ---- device clocks

    def _clocks(self, taken: Taken, now: float) -> None:
        """Raise or end the finding of a device whose clock stands off by more than the setting, steadily.

        Frames that were kept back and sent late also look old, but each by another amount: those are not steady.
        """
        most = self.settings.clock_drift_seconds
        for mn, drift in taken.drifts:
            seen = self._drifts[mn]
            seen.append(drift)
            point = self.register.points[self.register.devices[mn].point]
            is_open = (point.id, "clock") in self._open
            if (abs(drift) <= most and not is_open) or len(seen) < (seen.maxlen or 0):
                continue
            middle, spread = median(seen), max(seen) - min(seen)
            if abs(middle) > most and spread <= most and not is_open:
                self._clock_off(point, mn, middle, taken.last_packet.get(mn, now), now)
            elif is_open and abs(middle) <= most:
                findings.end_finding(models.Point.objects.get(pk=point.id), "clock", "设备时钟已恢复", now)
                self._open.discard((point.id, "clock"))

    def _clock_off(self, point: Point, mn: str, drift: float, at: float, now: float) -> None:
        ahead, ahead_en = ("快", "ahead") if drift > 0 else ("慢", "behind")
        minutes = abs(drift) / 60
        zh, en = f"设备 {mn} 时钟{ahead} {minutes:.0f} 分钟", f"device {mn}: clock {minutes:.0f} minutes {ahead_en}"
        detail = {"zh": zh, "en": en, "mn": mn, "drift_seconds": round(drift), "occurrence": f"{mn} {int(at)}"}
        row = models.Point.objects.get(pk=point.id)
        findings.raise_finding(row, "clock", 1, f"设备时钟{ahead} {minutes:.0f} 分钟", en, detail, [], at, now)
        self._open.add((point.id, "clock"))

    # ---- 4. gaps and status

    def _sweep(self, now: float, report: Report) -> None:
        """Give what is missing a cause, up to the last hour for which one need not wait any more."""
        end = int(_nothing_comes_after(now)) // HOUR * HOUR
        until = self._sweeps[Kind.HOUR].until
        if until is not None and end <= until:
            return
        points = list(self.register.points.values())
        with self.store.ledger.batch() as batch:
            report.gaps += sum(sweep.go_on(batch, points, end, now) for sweep in self._sweeps.values())
        for sweep in self._sweeps.values():
            sweep.until = end

    def _statuses(self, now: float, report: Report) -> None:
        if 0 <= now - self._status_at < STATUS_SECONDS:
            return
        self._status_at = now
        flags = self._newest_flags()
        computed = [self._status(point, flags.get(point.id, ()), now) for point in self.register.points.values()]
        unlike = statuses.unlike(computed)
        for start in range(0, len(unlike), AT_ONCE):
            report.changes += self._record(unlike[start : start + AT_ONCE], now)

    def _status(self, point: Point, flags: Sequence[str], now: float) -> statuses.Computed:
        last = max((self._last_packet[d.mn] for d in point.devices if d.mn in self._last_packet), default=None)
        every = min((device.every_seconds for device in point.devices), default=None)
        times = statuses.Times(now, last, every, point.live_from, point.closed_on)
        return statuses.Computed(point.id, *statuses.status(times, _limits(point.kind), point.maintenance, flags), last)

    def _record(self, computed: list[statuses.Computed], now: float) -> int:
        """Store statuses, and with them the findings of those that fell silent or are back. How many transitions."""
        by_point = {one.point: one for one in computed}

        def work(desk: findings.Desk) -> int:
            changes = statuses.record(computed, now)
            for change in changes:
                self._silence(desk, by_point[change.point_id], change.before)
            return len(changes)

        return findings.at_once({(point, "silent") for point in by_point}, now, work)

    def _silence(self, desk: findings.Desk, new: statuses.Computed, before: str) -> None:
        """A transition to or from silence raises or ends the finding."""
        if new.state == Status.SILENT:
            at = desk.now if new.last_packet is None else new.last_packet
            detail = {"zh": new.why, "en": "no packet", "occurrence": str(int(at))}
            level = int(threshold("silent_level", self.register.points[new.point].kind))
            desk.raise_finding(new.point, "silent", level, "数据静默", "silent", detail, [], at)
        elif before == Status.SILENT:
            desk.end(new.point, "silent", f"恢复通讯：{new.why or '在线'}")

    def _newest_flags(self) -> dict[int, list[str]]:
        """Device flag of the newest value of each series, by point."""
        newest: dict[int, tuple[int, str]] = {}
        table = self.store.latest()
        for series, ts, flag in zip(*(table[n].to_pylist() for n in ("series", "ts", "flag")), strict=True):
            if ts >= newest.get(series, (0, ""))[0]:
                newest[series] = (ts, flag)
        flags = defaultdict(list)
        for series, (_, flag) in newest.items():
            if series in self.register.series:
                flags[self.register.series[series][0].id].append(flag)
        return flags


def _nothing_comes_after(now: float) -> float:
    """The moment up to which one need not wait for readings any more."""
    return now - threshold("gap_minutes") * 60


def _by_owner(owners: NDArray[np.int64], added: Added, count: int) -> list[list[int]]:
    """How many readings were the same, how many changed, by owner."""
    return [np.bincount(owners[added.fates == fate], minlength=count).tolist() for fate in (SAME, CHANGED)]


def _newest_of(series: NDArray[np.int64], ts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The newest time of each series."""
    order = np.lexsort((ts, series))
    last = np.flatnonzero(np.diff(series[order], append=-1))
    return list(zip(series[order][last].tolist(), ts[order][last].tolist(), strict=True))


def _distinct(*columns: NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Rows that differ, once each."""
    order = np.lexsort(columns[::-1])
    sorted_ = [column[order] for column in columns]
    first = np.ones(len(order), bool)
    first[1:] = False
    for column in sorted_:
        first[1:] |= column[1:] != column[:-1]
    return list(zip(*(column[first].tolist() for column in sorted_), strict=True))


def _limits(kind: str) -> statuses.Limits:
    return statuses.Limits(
        threshold("late_factor", kind),
        threshold("silent_factor", kind),
        threshold("silent_minutes", kind) * 60,
        threshold("fault_share", kind),
    )


_TITLES = {
    "limit-hour": ("{name}小时均值超标", "{factor} hourly mean over the limit"),
    "limit-day": ("{name}日均值超标", "{factor} daily mean over the limit"),
    "radiation-hour": ("空气吸收剂量率高于本底范围", "dose rate above the background range"),
}
"""Titles of findings that verdicts raise, by the rule before its colon."""


def _finding(desk: findings.Desk, news: News) -> bool:
    """Whether the verdict raised a finding. One that replaces another revises the finding of that one."""
    number, previous, verdict = news
    point, rule, over = verdict["point"], str(verdict["rule"]), verdict["outcome"] in NEWS
    if previous is not None:
        text = f"{beijing(verdict['ts']):%m-%d %H:%M} 重新判定：{verdict['detail']['zh']}"
        if desk.revise(point, rule, previous, number, over, text) is not None:
            return False
    if not over:
        return False
    detail = {**verdict["detail"], "value": verdict["value"], "clause": verdict["clause"], "ts": verdict["ts"]}
    desk.raise_finding(point, rule, _level(rule, verdict), *_titled(rule, verdict), detail, [number], verdict["ts"])
    return True


def _title(rule: str) -> tuple[str, str] | None:
    return _TITLES.get(rule.partition(":")[0])


def _titled(rule: str, verdict: dict[str, Any]) -> tuple[str, str]:
    detail = verdict["detail"]
    zh, en = _TITLES[rule.partition(":")[0]]
    multiple = detail.get("multiple")
    times, times_en = (f" {multiple:.2f} 倍", f" by a factor of {multiple:.2f}") if multiple else ("", "")
    names = {"name": detail.get("name", ""), "factor": detail.get("factor", "")}
    return zh.format(**names) + times, en.format(**names) + times_en


def _level(rule: str, verdict: dict[str, Any]) -> int:
    """3 serious from the table's multiple on, 2 any other exceedance, 1 a statement that asks for a look."""
    if not rule.startswith("limit-"):
        return 1
    return 3 if (verdict["detail"].get("multiple") or 0) >= threshold("serious_multiple") else 2
