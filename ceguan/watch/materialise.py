"""Archive records → what one batch of the ledger takes in. Reads the register, writes nothing but new series.

FRAME   an upload of an adopted device becomes readings in the unit of each series; of an unknown one it is held
BAD     bytes that were no frame: counted, with what can be read of them
IMPORT  JSON {"file", "by", "rows": [[series, kind, ts, value, flag, row number], …]}: readings
SENT    what the platform sent: passed over
DECISION  JSON {series, kind, ts_from, ts_to, action, who, at, why, evidence?, value?, zs?}: a reviewer's decision
RELEASE JSON {"frames": […], "parts": […], "action": "release" | "dismiss", who, at, why}: what a person decided about
        frames in quarantine
What people did (IMPORT, DECISION, RELEASE) names its event in the audit trail as "audit"; see intake/decided.py.

What may not count before a person has looked goes into quarantine with its cause: a CRC dialect that is not confirmed
for the device, a time too far in the future, or too old. Old data are welcome when they are marked as sent again (RF=1,
HJ 212-2025) or when we asked for them, as far back as the setting `history_days`. What is odd and counts all the same
is a warning, counted per device and day.

Parts of one message (PNUM/PNO) wait for each other; those that wait are remembered with the batch, so that a restart
finds them in the archive again.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ceguan.intake import keys
from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import Frame, decode
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.readings import KINDS, Upload, parse_time, rows
from ceguan.quality.programme import programme
from ceguan.standards import units
from ceguan.store import (
    BadFrame,
    Decision,
    DeviceDay,
    Heard,
    Position,
    Quarantined,
    Record,
    RecordKind,
    RecordNotFoundError,
    UnknownFrame,
    Warned,
    in_columns,
)
from ceguan.watch import usual
from ceguan.watch.plain import PlainFrames, Run, Target
from ceguan.watch.register import Device, Point, Register, Series, interval_seconds
from ceguan.words import Kind, beijing

log = logging.getLogger(__name__)
Reading = tuple[Any, ...]
_FRAME = RecordKind.FRAME
_MOMENT = Kind.RT
_DAY = 86400
NO_DEVICE = ""
"""Owner of readings that came without a device (imports)."""


@dataclass(slots=True)
class Day:
    """Counts of one device on one Beijing day."""

    frames: int = 0
    bad: int = 0
    late: int = 0
    items: int = 0
    first_recv: float = math.inf
    last_recv: float = -math.inf
    max_delay: float = 0.0
    sum_delay: float = 0.0

    def row(self, mn: str, day: str, same: int, changed: int) -> DeviceDay:
        return DeviceDay(
            mn, day, self.frames, self.bad, self.late, self.items, same, changed,
            self.first_recv, self.last_recv, self.max_delay, self.sum_delay,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gates:
    """When a time is not believed [s]; `old` 0: never too old."""

    future: float
    old: float
    history: float  # how far back what was sent again or asked for is welcome
    asked: Callable[[str, str, int, float], bool]  # (MN, CN, time of the data, reception) → whether we asked for it


class Settled(NamedTuple):
    """Frames that leave the quarantine; `state`: released or dismissed."""

    frames: list[int]
    state: str
    who: str
    at: float
    why: str


@dataclass(slots=True)
class Taken:
    """What a run of records comes to."""

    records: int = 0
    frames: int = 0
    rows: list[Reading] = field(default_factory=list)  # readings that came one by one …
    owners: list[str] = field(default_factory=list)  # … the device of each, NO_DEVICE for imports …
    places: list[int] = field(default_factory=list)  # … and which of the records brought it
    place: int = 0  # the record that is being read
    plain: Run | None = None  # readings that came thousands at once
    bad: list[BadFrame] = field(default_factory=list)
    held: list[UnknownFrame] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    days: dict[tuple[str, str], Day] = field(default_factory=lambda: defaultdict(Day))
    positions: dict[int, Position] = field(default_factory=dict)
    last_packet: dict[str, float] = field(default_factory=dict)
    drifts: list[tuple[str, float]] = field(default_factory=list)  # MN, device clock minus ours [s]
    unconfirmed: Counter[tuple[str, str]] = field(default_factory=Counter)  # (MN, factor) without a confirmed unit
    heard: set[int] = field(default_factory=set)  # hours (starts) in which anything at all was received
    quarantine: list[Quarantined] = field(default_factory=list)
    quarantined: int = 0  # readings that do not count: in quarantine, or rows of imports dated in the future
    settled: list[Settled] = field(default_factory=list)
    dialects: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # (MN, dialect) → frames, first, last
    warnings: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)  # (MN, day, kind) → count, last frame
    usual: dict[tuple[str, int], dict[str, int]] = field(default_factory=dict)  # (MN, kind) → what changed of it
    last_recv: float = 0.0

    def warn(self, mn: str, recv: float, warnings: Iterable[str], frame: int, times: int = 1) -> None:
        """Count warnings, each `times`; what follows the colon (the factor, the text) can be read on the frame."""
        for warning in warnings:
            counted = self.warnings.setdefault((mn, _date(recv), warning.partition(":")[0]), [0, frame])
            counted[0] += times
            counted[1] = frame

    def add(self, owner: str, row: Reading) -> None:
        self.rows.append(row)
        self.owners.append(owner)
        self.places.append(self.place)

    def readings(self) -> tuple[list[NDArray[Any]], NDArray[np.int64], list[str]]:
        """All readings in the order of their records as columns (READING_COLUMNS); the place of the device of each in
        the list of names that follows."""
        names = list(dict.fromkeys(self.owners))
        number = {name: place for place, name in enumerate(names)}
        columns, owners = in_columns(self.rows), np.array([number[one] for one in self.owners], np.int64)
        if self.plain is None:
            return columns, owners, names
        order: NDArray[Any] = np.argsort(
            np.concatenate((self.plain.of, np.array(self.places, np.int64))), kind="stable"
        )
        columns = [np.concatenate(both)[order] for both in zip(self.plain.columns, columns, strict=True)]
        both_owners: NDArray[np.int64] = np.concatenate((self.plain.owners, owners + len(self.plain.names)))
        return columns, both_owners[order], self.plain.names + names

    def heard_dialects(self) -> list[Heard]:
        return [Heard(*key, int(count), first, last) for key, (count, first, last) in self.dialects.items()]

    def warned(self) -> list[Warned]:
        return [Warned(*key, count, frame) for key, (count, frame) in self.warnings.items()]


class Materialiser:
    """Turns records into `Taken`. Keeps the parts of unfinished messages; `waiting` is what a restart needs of them.

    `dialects`: MN → the CRC dialect heard last; `known`: what devices usually send; `held`: of these frames, those in
    quarantine.
    """

    def __init__(
        self,
        register: Register,
        fetch: Callable[[int], Record],
        held: Callable[[Iterable[int]], dict[int, Quarantined]],
        *,
        gates: Gates,
        late_seconds: float,
        parts_seconds: float,
        enough: int,
        dialects: dict[str, str],
        known: dict[tuple[str, int], dict[str, int]],
    ) -> None:
        self._register = register
        self._fetch, self._held = fetch, held
        self._gates, self._late, self._patience, self._enough = gates, late_seconds, parts_seconds, enough
        self._dialects, self._usual = dialects, known
        self._parts: dict[str, _Parts] = {}
        self._known: dict[tuple[str, str, str, Kind], Target | None] = {}
        self._known_for: object = None
        self._plain = PlainFrames(register, self._series, gates, late_seconds, enough, dialects, known)

    @property
    def waiting(self) -> dict[str, list[int]]:
        """Unfinished messages: their frames by key, in the order received."""
        return {key: parts.frames for key, parts in self._parts.items()}

    def resume(self, waiting: dict[str, list[int]]) -> None:
        """Take up the unfinished messages of the run before."""
        self._parts = {}
        for frames in waiting.values():
            for packed in frames:
                try:
                    record = self._fetch(packed)
                except RecordNotFoundError:
                    log.exception("分包消息的一部分在归档中读不出，其余部分照常处理")
                    continue
                self._join(decode(record.payload, key=keys.lookup), record)

    def take(self, records: Iterable[Record]) -> Taken:
        """Everything that comes of these records, positions included."""
        taken, records = Taken(), list(records)
        plain = self._plain.take(records)
        if plain is not None:
            self._take_plain(plain, taken)
        for taken.place in _others(len(records), plain):
            self._one(records[taken.place], taken)
        taken.place = taken.records = len(records)
        taken.positions = {stream: record.after for stream, record in _last(records).items()}
        taken.last_recv = max((record.recv for record in records), default=0.0)
        taken.heard = {int(record.recv) // 3600 * 3600 for record in records if record.kind != RecordKind.SENT}
        self._out_of_patience(taken)
        return taken

    def _take_plain(self, run: Run, taken: Taken) -> None:
        """Counts of frames that were read at once, as `_frame` would count them one by one."""
        taken.plain, taken.frames = run, len(run.places)
        for counts in run.days:
            date = _dates(counts.day)
            taken.days[counts.mn, date] = Day(
                counts.frames, 0, counts.late, counts.items, counts.first_recv, counts.last_recv,
                max(0.0, counts.max_delay), counts.sum_delay,
            )  # fmt: skip
            taken.last_packet[counts.mn] = max(taken.last_packet.get(counts.mn, 0.0), counts.last_recv)
        taken.dialects = {(mn, dialect): [frames, first, last] for mn, dialect, frames, first, last in run.heard}
        taken.drifts += run.drifts
        taken.unconfirmed.update(run.unconfirmed)
        for sent in run.told:
            taken.warn(sent.of[0], sent.recv, self._follow(sent.of, sent.factors, taken), sent.frame)
        for mn, recv, warnings, times, frame in run.warned:
            taken.warn(mn, recv, warnings, frame, times)

    def take_held(self, frames: Iterable[int], taken: Taken) -> None:
        """Frames that were held before their device was adopted (without positions: those lie behind us)."""
        for record in self._fetched(frames, taken):
            self._frame(record, taken, heard=True)

    def take_confirmed(self, mn: str, dialect: str, frames: list[int], now: float, taken: Taken) -> None:
        """Frames that were in quarantine until their CRC dialect was confirmed; one may stay for another cause."""
        for record in self._fetched(frames, taken):
            self._content(decode(record.payload, key=keys.lookup), record, taken)
        still = {one.frame for one in taken.quarantine}
        done = [frame for frame in frames if frame not in still]
        taken.settled.append(Settled(done, "released", "", now, f"{dialect} 已确认"))

    def _fetched(self, frames: Iterable[int], taken: Taken) -> Iterator[Record]:
        """The records in turn; one that cannot be read is listed among the bad frames."""
        for packed in frames:
            try:
                yield self._fetch(packed)
            except RecordNotFoundError as error:
                taken.bad.append(BadFrame(packed, 0.0, "", "", f"archive:{error}", 0))

    def _one(self, record: Record, taken: Taken) -> None:
        if record.kind == RecordKind.SENT:  # what we said ourselves: evidence, no reading
            return
        if record.kind == _FRAME:
            self._frame(record, taken)
        elif record.kind == RecordKind.BAD:
            self._bad(record, taken)
        else:
            reader = self._readers[record.kind]
            try:
                reader(record, orjson.loads(record.payload), taken)
            except (ValueError, TypeError, KeyError) as error:  # not what the writers of such records promise
                taken.bad.append(_bad_record(record, f"{record.kind.name.lower()}:{type(error).__name__} {error}"))

    @property
    def _readers(self) -> dict[RecordKind, Callable[[Record, dict[str, Any], Taken], None]]:
        return {
            RecordKind.IMPORT: self._import, RecordKind.DECISION: self._decision, RecordKind.RELEASE: self._release,
        }  # fmt: skip

    # ---- frames

    def _frame(self, record: Record, taken: Taken, heard: bool = False) -> None:
        """A record as it arrives, or with `heard` as its device is adopted: its dialect has been counted then."""
        frame = decode(record.payload, key=keys.lookup)
        mn = frame.mn or ""
        if not frame.ok:
            self._bad(record, taken)
            return
        device = self._register.devices.get(mn)
        dialect = self._dialect(frame, device)
        if not heard:
            self._hear(mn, dialect, record, taken)
        if device is None:
            taken.held.append(_unknown(record, frame))
            return
        taken.frames += 1
        if not record.imported:
            self._speaks(frame, record, taken)
        if dialect not in device.dialects and frame.cn in KINDS and (frame.factors or frame.datatime):
            upload = rows(frame, device.minute_interval * 60)
            self._quarantine(f"dialect:{dialect}", device, upload, record, [], taken)
            return
        self._content(frame, record, taken)

    def _speaks(self, frame: Frame, record: Record, taken: Taken) -> None:
        """A device was heard: counts of its day, last packet, how its clock stands to ours."""
        mn, day = frame.mn or "", taken.days[frame.mn or "", _date(record.recv)]
        day.frames += 1
        day.first_recv, day.last_recv = min(day.first_recv, record.recv), max(day.last_recv, record.recv)
        taken.last_packet[mn] = max(taken.last_packet.get(mn, 0.0), record.recv)
        sent = parse_time(frame.qn) or (parse_time(frame.datatime) if frame.cn == "2011" else None)
        if sent is not None:
            taken.drifts.append((mn, sent - record.recv))

    def _content(self, frame: Frame, record: Record, taken: Taken, free: bool = False) -> None:
        """Readings of a frame that has been counted, once its message is whole. `free`: a person has released it."""
        device = self._register.devices.get(frame.mn or "")
        if device is None:
            taken.held.append(_unknown(record, frame))
        elif not frame.pnum:
            self._upload(device, frame, None, record, taken, free)
        elif joined := self._join(frame, record):
            self._upload(device, *joined, record, taken, free)

    def _dialect(self, frame: Frame, device: Device | None) -> str:
        """The CRC dialect of a frame. Four digits may be right in two of them: then it is one the device is known for.

        (A CRC of two equal bytes reads the same when swapped: 1 in 256 frames of a device that swaps.)
        """
        read = frame.crc_dialect or ""
        known = device.dialects if device else {self._dialects.get(frame.mn or "", read)}
        if read in known:
            return read
        return next((one for one in sorted(known) if _holds(frame.raw, one)), read)

    def _hear(self, mn: str, dialect: str, record: Record, taken: Taken) -> None:
        before = self._dialects.get(mn, dialect)
        self._dialects[mn] = dialect
        if before != dialect:
            taken.warn(mn, record.recv, ["dialect_changed"], record.ref.packed)
        counted = taken.dialects.get((mn, dialect))
        if counted is None:
            taken.dialects[mn, dialect] = [1, record.recv, record.recv]
            return
        counted[0] += 1
        counted[1], counted[2] = min(counted[1], record.recv), max(counted[2], record.recv)

    def _quarantine(
        self, cause: str, device: Device, upload: Upload, record: Record, parts: list[int], taken: Taken
    ) -> None:
        kind = None if upload.kind is None else int(upload.kind)
        taken.quarantine.append(
            Quarantined(record.ref.packed, device.mn, record.recv, cause, kind, upload.ts, len(upload.items), parts)
        )
        taken.quarantined += len(upload.items)

    def _join(self, frame: Frame, record: Record) -> tuple[Frame, _Parts] | None:
        """The whole message once its last part is here, with its parts."""
        key = "\x1f".join((frame.mn or "", frame.st or "", frame.cn or "", frame.datatime or ""))
        parts = self._parts.setdefault(key, _Parts(record.recv))
        whole = parts.add(frame, record)
        if not whole:
            return None
        del self._parts[key]
        return whole[0], parts

    def _out_of_patience(self, taken: Taken) -> None:
        """What has waited too long for its other parts is taken as far as it came."""
        for key, parts in list(self._parts.items()):
            if parts.since < taken.last_recv - self._patience:
                del self._parts[key]
                device = self._register.devices.get(key.partition("\x1f")[0])
                record = self._fetch(parts.frames[0])
                for message in parts.merger.close() if device else ():
                    self._upload(device, message, parts, record, taken)  # type: ignore[arg-type]

    def _upload(
        self, device: Device, frame: Frame, parts: _Parts | None, record: Record, taken: Taken, free: bool = False
    ) -> None:
        """Readings of one message; `parts` where it came in several frames."""
        upload = rows(frame, device.minute_interval * 60)
        if upload.kind is None or upload.ts is None:
            taken.warn(device.mn, record.recv, frame.warnings + upload.warnings, record.ref.packed)
            if upload.kind is not None:
                taken.bad.append(_bad_record(record, "datatime", device.mn))
                if not record.imported:
                    taken.days[device.mn, _date(record.recv)].bad += 1
            return
        cause = "" if free else self._gate(frame, upload.ts, record)
        if cause:
            self._quarantine(cause, device, upload, record, parts.frames if parts else [], taken)
            return
        warnings = frame.warnings + upload.warnings + self._unusual(frame, upload, taken)
        if frame.qn and parse_time(frame.qn) is None:
            warnings.append(f"qn_unreadable:{frame.qn}")
        self._readings(device, upload, parts, record, warnings, taken)
        if warnings:
            taken.warn(device.mn, record.recv, warnings, record.ref.packed)

    def _readings(
        self, device: Device, upload: Upload, parts: _Parts | None, record: Record, warnings: list[str], taken: Taken
    ) -> None:
        """Rows in the unit of each series, those out of range with a warning; counts of the day."""
        assert upload.kind is not None
        point = self._register.points[device.point]
        if not record.imported:
            self._count_items(upload, point, record, taken)
        kind, ts, recv, packed = int(upload.kind), upload.ts, int(record.recv), record.ref.packed
        for factor, value, zs, vmin, vmax, cou, flag, sent in upload.items:
            found = self._series(device, point, factor, sent, upload.kind)
            if found is None:
                taken.unconfirmed[device.mn, factor] += 1
                continue
            series, k, low, high = found
            if value * k < low or value * k > high:
                warnings.append(f"out_of_range:{sent}={value:g}")
            frame_of = parts.origin.get(sent, packed) if parts else packed
            row = series, kind, ts, 0, value * k, zs * k, vmin * k, vmax * k, cou, flag, recv, frame_of
            taken.add(device.mn, row)

    def _gate(self, frame: Frame, ts: int, record: Record) -> str:
        """Why the time of these data is not believed; "" when it is."""
        gates, age = self._gates, record.recv - ts
        if -age > gates.future:
            return f"future:{-age / 60:.0f}"
        if not gates.old or age <= gates.old or record.imported:
            return ""
        if frame.rf != "1" and not gates.asked(frame.mn or "", frame.cn or "", ts, record.recv):
            return f"old:{age / _DAY:.0f}"
        return "" if age <= gates.history else f"history:{age / _DAY:.0f}"

    def _unusual(self, frame: Frame, upload: Upload, taken: Taken) -> list[str]:
        """A warning for each factor that this device usually sends and has left out. What is sent again may be less."""
        if frame.rf == "1" or not upload.items:
            return []
        key = (upload.mn, int(upload.kind or 0))
        return self._follow(key, {item.factor for item in upload.items}, taken)

    def _follow(self, key: tuple[str, int], sent: Collection[str], taken: Taken) -> list[str]:
        now, missing = usual.follow(self._usual.get(key, {}), sent, self._enough)
        if now is not None:
            self._usual[key] = taken.usual[key] = now
        return [f"factor_missing:{factor}" for factor in missing]

    def _count_items(self, upload: Upload, point: Point, record: Record, taken: Taken) -> None:
        assert upload.kind is not None
        assert upload.ts is not None
        day = taken.days[upload.mn, _date(record.recv)]
        day.items += len(upload.items)
        delay = record.recv - upload.ts - interval_seconds(upload.kind, point)
        day.max_delay = max(day.max_delay, delay)
        day.sum_delay += max(0.0, delay)
        day.late += upload.kind != _MOMENT and delay > self._late

    def _series(self, device: Device, point: Point, factor: str, sent: str, kind: Kind) -> Target | None:
        """Where a factor goes; None while its unit is not confirmed."""
        if self._known_for is not self._register.devices:  # the register was read anew
            self._known, self._known_for = {}, self._register.devices
        key = (device.mn, factor, sent, kind)
        if key not in self._known:
            self._known[key] = self._look_up(device, point, factor, sent, kind)
        return self._known[key]

    def _look_up(self, device: Device, point: Point, factor: str, sent: str, kind: Kind) -> Target | None:
        unit = device.units.get(factor) or device.units.get(sent)
        if not unit:
            return None
        series = point.series.get(factor) or self._register.add_series(point, factor, unit)
        scale = units.factor(unit, series.unit)
        return None if scale is None else Target(series.id, scale, *_range(point, series, kind))

    # ---- the other kinds of record

    def _bad(self, record: Record, taken: Taken) -> None:
        frame = decode(record.payload, key=keys.lookup)
        error = frame.error or ("encrypted" if frame.encrypted else "refused")  # its key came later
        mn = frame.mn or ""
        taken.bad.append(_bad_record(record, error, mn))
        if mn in self._register.devices and not record.imported:
            day = taken.days[mn, _date(record.recv)]
            day.bad += 1
            day.first_recv, day.last_recv = min(day.first_recv, record.recv), max(day.last_recv, record.recv)

    def _import(self, record: Record, content: dict[str, Any], taken: Taken) -> None:
        nan, future = math.nan, 0
        new: list[Reading] = []
        for series, kind, ts, value, flag, *_ in content["rows"]:
            if int(series) not in self._register.series:
                raise KeyError(f"series {series}")
            if ts > record.recv + self._gates.future:
                future += 1
                continue
            number = nan if value is None else float(value)
            new.append(
                (int(series), int(Kind(kind)), int(ts), 0, number, nan, nan, nan, nan, str(flag or ""),
                 int(record.recv), record.ref.packed)
            )  # fmt: skip
        for row in new:
            taken.add(NO_DEVICE, row)
        if future:
            taken.quarantined += future
            taken.bad.append(_bad_record(record, f"future:{content.get('file', '')} 中 {future} 行为将来时间，已隔离"))

    def _release(self, record: Record, content: dict[str, Any], taken: Taken) -> None:
        """Frames a person released or dismissed; what is no longer in quarantine stays as it was settled."""
        states = {"release": "released", "dismiss": "dismissed"}
        if content["action"] not in states:
            raise ValueError(f"action {content['action']}")
        before = {frame for one in taken.settled for frame in one.frames}
        held = [one for one in self._held(content["frames"]).values() if one.frame not in before]
        if content["action"] == "release":
            for one in held:
                self._released(one, taken)
        frames, state = [one.frame for one in held], states[content["action"]]
        settled = Settled(frames, state, str(content["who"]), float(content["at"]), str(content["why"]))
        taken.settled.append(settled)

    def _released(self, held: Quarantined, taken: Taken) -> None:
        """A message taken in though a gate had stopped it."""
        if not held.parts:
            for record in self._fetched([held.frame], taken):
                self._content(decode(record.payload, key=keys.lookup), record, taken, free=True)
            return
        device = self._register.devices.get(held.mn)
        parts, whole = _Parts(held.recv), []
        for record in self._fetched(held.parts, taken):
            whole += parts.add(decode(record.payload, key=keys.lookup), record)
        for message in (whole or parts.merger.close()) if device else ():
            self._upload(device, message, parts, record, taken, free=True)  # type: ignore[arg-type]

    def _decision(self, record: Record, content: dict[str, Any], taken: Taken) -> None:
        if int(content["series"]) not in self._register.series:
            raise KeyError(f"series {content['series']}")
        decision = Decision(
            int(content["series"]), int(Kind(content["kind"])), int(content["ts_from"]), int(content["ts_to"]),
            content["action"], str(content["who"]), float(content.get("at") or record.recv), str(content["why"]),
            record.ref.packed, str(content.get("evidence") or ""), content.get("value"), content.get("zs"),
        )  # fmt: skip
        if decision.action not in ("keep", "invalidate", "substitute", "exempt"):
            raise ValueError(f"action {decision.action}")
        if decision.ts_from >= decision.ts_to or (decision.action == "substitute" and decision.value is None):
            raise ValueError("empty stretch of time, or a substitute without value")
        taken.decisions.append(decision)


class _Parts:
    """One unfinished message."""

    def __init__(self, since: float) -> None:
        self.merger = Merger()
        self.since = since
        self.frames: list[int] = []
        self.origin: dict[str, int] = {}

    def add(self, frame: Frame, record: Record) -> list[Frame]:
        self.frames.append(record.ref.packed)
        self.origin |= dict.fromkeys(frame.factors, record.ref.packed)
        return self.merger.feed(frame)


def _others(count: int, plain: Run | None) -> list[int]:
    """Places of the records that were not among the plain frames."""
    rest = np.ones(count, bool)
    if plain is not None:
        rest[plain.places] = False
    return np.flatnonzero(rest).tolist()


def _last(records: Iterable[Record]) -> dict[int, Record]:
    """The last record of each stream."""
    return {record.ref.stream: record for record in records}


def _holds(raw: bytes, dialect: str) -> bool:
    """Whether the CRC of a frame that was right in one dialect is right in this one, too."""
    end = int(raw[2:6]) + 6
    return raw[end : end + 4].upper() == crc.checksum(raw[6:end], dialect)


def _range(point: Point, series: Series, kind: Kind) -> tuple[float, float]:
    """What values are possible: the instrument's registered range, else that of the programme (minutes for moments)."""
    steps = programme(point.kind, series.factor, Kind.MINUTE if kind == _MOMENT else kind)
    params = next((step.params for step in steps if step.test == "range"), {})
    low = params.get("low", -math.inf) if series.low is None else series.low
    return low, params.get("high", math.inf) if series.high is None else series.high


def _date(ts: float) -> str:
    """Beijing date, as the ledger's counters name it."""
    return _dates(int(ts + 8 * 3600) // 86400)


@lru_cache(maxsize=4096)
def _dates(day: int) -> str:
    return f"{beijing(day * 86400):%Y-%m-%d}"


def _bad_record(record: Record, error: str, mn: str = "") -> BadFrame:
    return BadFrame(record.ref.packed, record.recv, record.source, mn, error, len(record.payload))


def _unknown(record: Record, frame: Frame) -> UnknownFrame:
    kind = KINDS.get(frame.cn or "")
    names = ("Avg", "Rtd", "Data", "Cou") if kind is not None else ()
    factors = {
        code: next((fields[name] for name in names if name in fields), "") for code, fields in frame.factors.items()
    }
    return UnknownFrame(
        frame.mn or "", record.ref.packed, record.recv, frame.st or "", frame.cn or "", factors, record.source
    )
