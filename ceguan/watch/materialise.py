"""Archive records → what one batch of the ledger takes in. Reads the register, writes nothing but new series.

FRAME   an upload of an adopted device becomes readings in the unit of each series; of an unknown one it is held
BAD     bytes that were no frame: counted, with what can be read of them
IMPORT  JSON {"file", "by", "rows": [[series, kind, ts, value, flag, row number], …]}: readings
SENT    what the platform sent: passed over
DECISION  JSON {series, kind, ts_from, ts_to, action, who, at, why, evidence?, value?, zs?}: a reviewer's decision

A value dated further in the future than the setting allows is quarantined: shown among the bad frames, never counted.
Parts of one message (PNUM/PNO) wait for each other; those that wait are remembered with the batch, so that a restart
finds them in the archive again.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from ceguan.intake.hj212.frame import Frame, decode
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.readings import KINDS, Upload, parse_time, rows
from ceguan.standards import units
from ceguan.store import BadFrame, Decision, DeviceDay, Position, Record, RecordKind, RecordNotFoundError, UnknownFrame
from ceguan.watch.register import Device, Point, Register, interval_seconds
from ceguan.words import Kind, beijing

log = logging.getLogger(__name__)
Reading = tuple[Any, ...]
_FRAME = RecordKind.FRAME
_MOMENT = Kind.RT
NO_DEVICE = ""
"""Key of `Taken.readings` for what came without a device (imports)."""


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


@dataclass(slots=True)
class Taken:
    """What a run of records comes to."""

    records: int = 0
    frames: int = 0
    readings: dict[str, list[Reading]] = field(default_factory=lambda: defaultdict(list))  # by MN
    bad: list[BadFrame] = field(default_factory=list)
    held: list[UnknownFrame] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    days: dict[tuple[str, str], Day] = field(default_factory=lambda: defaultdict(Day))
    positions: dict[int, Position] = field(default_factory=dict)
    last_packet: dict[str, float] = field(default_factory=dict)
    drifts: list[tuple[str, float]] = field(default_factory=list)  # MN, device clock minus ours [s]
    unconfirmed: Counter[tuple[str, str]] = field(default_factory=Counter)  # (MN, factor) without a confirmed unit
    heard: set[int] = field(default_factory=set)  # hours (starts) in which anything at all was received
    quarantined: int = 0
    last_recv: float = 0.0


class Materialiser:
    """Turns records into `Taken`. Keeps the parts of unfinished messages; `waiting` is what a restart needs of them."""

    def __init__(
        self,
        register: Register,
        fetch: Callable[[int], Record],
        *,
        future_seconds: float,
        late_seconds: float,
        parts_seconds: float,
    ) -> None:
        self._register = register
        self._fetch = fetch
        self._future, self._late, self._patience = future_seconds, late_seconds, parts_seconds
        self._parts: dict[str, _Parts] = {}
        self._known: dict[tuple[str, str, str], tuple[int, float] | None] = {}
        self._known_for: object = None

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
                self._join(decode(record.payload), record)

    def take(self, records: Iterable[Record]) -> Taken:
        """Everything that comes of these records, positions included."""
        taken = Taken()
        for record in records:
            taken.records += 1
            taken.positions[record.ref.stream] = record.after
            taken.last_recv = max(taken.last_recv, record.recv)
            self._one(record, taken)
        self._out_of_patience(taken)
        return taken

    def take_held(self, frames: Iterable[int], taken: Taken) -> None:
        """Frames that were held before their device was adopted (without positions: those lie behind us)."""
        for packed in frames:
            try:
                self._frame(self._fetch(packed), taken)
            except RecordNotFoundError as error:
                taken.bad.append(BadFrame(packed, 0.0, "", "", f"archive:{error}", 0))

    def _one(self, record: Record, taken: Taken) -> None:
        if record.kind == RecordKind.SENT:  # what we said ourselves: evidence, no reading
            return
        taken.heard.add(int(record.recv) // 3600 * 3600)
        if record.kind == _FRAME:
            self._frame(record, taken)
        elif record.kind == RecordKind.BAD:
            self._bad(record, taken)
        else:
            reader = self._import if record.kind == RecordKind.IMPORT else self._decision
            try:
                reader(record, orjson.loads(record.payload), taken)
            except (ValueError, TypeError, KeyError) as error:  # not what the writers of such records promise
                taken.bad.append(_bad_record(record, f"{record.kind.name.lower()}:{type(error).__name__} {error}"))

    # ---- frames

    def _frame(self, record: Record, taken: Taken) -> None:
        frame = decode(record.payload)
        mn = frame.mn or ""
        if not frame.ok:
            self._bad(record, taken)
            return
        device = self._register.devices.get(mn)
        if device is None:
            taken.held.append(_unknown(record, frame))
            return
        taken.frames += 1
        day = taken.days[mn, _date(record.recv)]
        day.frames += 1
        day.first_recv, day.last_recv = min(day.first_recv, record.recv), max(day.last_recv, record.recv)
        taken.last_packet[mn] = max(taken.last_packet.get(mn, 0.0), record.recv)
        sent = parse_time(frame.qn) or (parse_time(frame.datatime) if frame.cn == "2011" else None)
        if sent is not None:
            taken.drifts.append((mn, sent - record.recv))
        if frame.pnum:
            joined = self._join(frame, record)
            if joined is not None:
                self._upload(device, *joined, record, day, taken)
            return
        self._upload(device, frame, {}, record, day, taken)

    def _join(self, frame: Frame, record: Record) -> tuple[Frame, dict[str, int]] | None:
        """The whole message once its last part is here, with the frame each factor came in."""
        key = "\x1f".join((frame.mn or "", frame.st or "", frame.cn or "", frame.datatime or ""))
        parts = self._parts.setdefault(key, _Parts(record.recv))
        whole = parts.add(frame, record)
        if not whole:
            return None
        del self._parts[key]
        return whole[0], parts.origin

    def _out_of_patience(self, taken: Taken) -> None:
        """What has waited too long for its other parts is taken as far as it came."""
        for key, parts in list(self._parts.items()):
            if parts.since < taken.last_recv - self._patience:
                del self._parts[key]
                device = self._register.devices.get(key.partition("\x1f")[0])
                record = self._fetch(parts.frames[0])
                for message in parts.merger.close() if device else ():
                    day = taken.days[device.mn, _date(record.recv)]  # type: ignore[union-attr]
                    self._upload(device, message, parts.origin, record, day, taken)  # type: ignore[arg-type]

    def _upload(
        self, device: Device, frame: Frame, origin: dict[str, int], record: Record, day: Day, taken: Taken
    ) -> None:
        """Readings of one message; `origin`: factor as sent → frame, where that is not the record itself."""
        upload = rows(frame, device.minute_interval * 60)
        if upload.kind is None:
            return
        if upload.ts is None:
            taken.bad.append(_bad_record(record, "datatime", device.mn))
            day.bad += 1
            return
        if upload.ts > record.recv + self._future:
            ahead = (upload.ts - record.recv) / 60
            taken.bad.append(_bad_record(record, f"future:数据时间超前 {ahead:.0f} 分钟，已隔离", device.mn))
            taken.quarantined += len(upload.items)
            day.bad += 1
            return
        point = self._register.points[device.point]
        self._count_delay(upload, point, record, day)
        kind, ts, recv, packed = int(upload.kind), upload.ts, int(record.recv), record.ref.packed
        new = taken.readings[device.mn]
        for factor, value, zs, vmin, vmax, cou, flag, sent in upload.items:
            found = self._series(device, point, factor, sent)
            if found is None:
                taken.unconfirmed[device.mn, factor] += 1
                continue
            series, k = found
            frame_of = origin.get(sent, packed) if origin else packed
            new.append((series, kind, ts, 0, value * k, zs * k, vmin * k, vmax * k, cou, flag, recv, frame_of))
        day.items += len(upload.items)

    def _count_delay(self, upload: Upload, point: Point, record: Record, day: Day) -> None:
        assert upload.kind is not None
        assert upload.ts is not None
        delay = record.recv - upload.ts - interval_seconds(upload.kind, point)
        day.max_delay = max(day.max_delay, delay)
        day.sum_delay += max(0.0, delay)
        day.late += upload.kind != _MOMENT and delay > self._late

    def _series(self, device: Device, point: Point, factor: str, sent: str) -> tuple[int, float] | None:
        """Id of the series and the scale from the confirmed unit to its own; None while the unit is not confirmed."""
        if self._known_for is not self._register.devices:  # the register was read anew
            self._known, self._known_for = {}, self._register.devices
        key = (device.mn, factor, sent)
        if key not in self._known:
            self._known[key] = self._look_up(device, point, factor, sent)
        return self._known[key]

    def _look_up(self, device: Device, point: Point, factor: str, sent: str) -> tuple[int, float] | None:
        unit = device.units.get(factor) or device.units.get(sent)
        if not unit:
            return None
        series = point.series.get(factor) or self._register.add_series(point, factor, unit)
        scale = units.factor(unit, series.unit)
        return None if scale is None else (series.id, scale)

    # ---- the other kinds of record

    def _bad(self, record: Record, taken: Taken) -> None:
        frame = decode(record.payload)
        error = frame.error or "refused"
        mn = frame.mn or ""
        taken.bad.append(_bad_record(record, error, mn))
        if mn in self._register.devices:
            day = taken.days[mn, _date(record.recv)]
            day.bad += 1
            day.first_recv, day.last_recv = min(day.first_recv, record.recv), max(day.last_recv, record.recv)

    def _import(self, record: Record, content: dict[str, Any], taken: Taken) -> None:
        nan, future = math.nan, 0
        new: list[Reading] = []
        for series, kind, ts, value, flag, *_ in content["rows"]:
            if int(series) not in self._register.series:
                raise KeyError(f"series {series}")
            if ts > record.recv + self._future:
                future += 1
                continue
            number = nan if value is None else float(value)
            new.append(
                (int(series), int(Kind(kind)), int(ts), 0, number, nan, nan, nan, nan, str(flag or ""),
                 int(record.recv), record.ref.packed)
            )  # fmt: skip
        taken.readings[NO_DEVICE] += new
        if future:
            taken.quarantined += future
            taken.bad.append(_bad_record(record, f"future:{content.get('file', '')} 中 {future} 行为将来时间，已隔离"))

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
