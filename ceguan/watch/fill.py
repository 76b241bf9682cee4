"""补缺: the platform asks devices for what is missing, the newest first, and every request ends with a cause.

A row of the ledger (`fill`) is a missing stretch of one device and kind of reading. It waits until its device is
connected, is asked for with a history request (2051 minutes, 2061 hours; HJ 212-2017 表C.20, C.21), and ends as what
became of it. What comes arrives as ordinary uploads and closes the gap. The state of everything lies in the ledger, the
requests in the queue of commands: killed at any moment, the clockwork goes on where it was.

    waiting → asked → filled | no_data | waiting again … refused | failed | timeout | offline | cancelled
    waiting → resent (the gap closed by itself) | offline (never connected while the stretch was new enough)

A device that does not answer, refuses or fails is asked ever more seldom (doubling from `fill_device_seconds`).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from ceguan.intake import commands
from ceguan.intake.hj212.commands import CommandError
from ceguan.intake.hj212.commands import said as return_said
from ceguan.intake.hj212.readings import write_time
from ceguan.intake.models import CAUSES, WAITING, Command, State
from ceguan.registry import models
from ceguan.settings import Settings
from ceguan.store import Fill, Store
from ceguan.watch.register import Register
from ceguan.watch.spans import Span, both, cut, minus, union
from ceguan.words import Kind, Label, beijing

DAY = 86400
REQUESTS = {Kind.MINUTE: "2051", Kind.HOUR: "2061"}
ASKABLE = ("packet", "platform", "bad_frame")
"""Causes of gaps that a device may be able to fill: it was not heard, we were not there, its frames were broken."""
PASS_SECONDS = 20
PLAN_SECONDS = 300
SETTLE_SECONDS = 2
"""How long after the end of a request its data may still be on the way into the ledger."""
LIVES = 600.0
PRIORITY = 10
LONGEST_PAUSE = DAY
STATES = {
    "waiting": Label("待补", "waiting"),
    "asked": Label("已向设备请求", "asked for"),
    "filled": Label("请求后补齐", "filled by request"),
    "resent": Label("设备自行补传", "came by itself"),
    "no_data": Label("设备没有数据", "the device has no data"),
    "refused": Label("设备拒绝", "refused by the device"),
    "failed": Label("设备执行失败", "the device failed"),
    "timeout": Label("多次请求无结果", "no result after several requests"),
    "offline": Label("设备一直不在线", "the device was not connected"),
    "cancelled": Label("请求被撤销", "request cancelled"),
    "unsupported": Label("不能向这台设备请求", "this device cannot be asked"),
}
OPEN = ("waiting", "asked")
ENDS = {
    State.DONE: "no_data",
    State.FAILED: "failed",
    State.REFUSED: "refused",
    State.TIMEOUT: "timeout",
    State.UNKNOWN: "offline",
    State.EXPIRED: "offline",
    State.CANCELLED: "cancelled",
}
"""What is still missing after the last try ends as this, by how the command ended."""
FINAL = ("no_data", "cancelled")
"""Ends after which asking again is no use."""

Key = tuple[str, int, int]


def explain(fill: Fill, edition: str = "2017") -> Label:
    """State and cause in words."""
    state = STATES[fill.state]
    kind, colon, code = fill.why.partition(":")
    why = return_said(kind, edition, code) if colon else CAUSES.get(kind, Label(kind, kind))
    return Label(f"{state.zh}（{why.zh}）", f"{state.en} ({why.en})") if why.zh else state


@dataclass(slots=True)
class Changes:
    """What a pass does to the ledger: rows that go, rows that come in their place."""

    gone: list[Key] = field(default_factory=list)
    rows: list[Fill] = field(default_factory=list)


class Filler:
    """One pass after the other. Begins from what the ledger knows; the device pauses begin anew with the process."""

    def __init__(self, store: Store, register: Register, settings: Settings) -> None:
        self._store, self._register, self._settings = store, register, settings
        self.open: dict[Key, Fill] = {_key(row): row for row in store.fills(unfinished=True)}
        self._pauses: dict[str, tuple[int, float]] = {}  # MN → failures in a row, until when it is not asked
        self._asked_at: deque[float] = deque()
        self._passed_at = self._planned_at = 0.0
        self._changed = False

    def step(self, now: float, gaps_changed: bool) -> int:
        """One pass if it is time for one; returns how many rows it changed."""
        self._changed |= gaps_changed
        if 0 <= now - self._passed_at < PASS_SECONDS:
            return 0
        self._passed_at, changes = now, Changes()
        self._settle(now, changes)
        if self._changed or not 0 <= now - self._planned_at < PLAN_SECONDS:
            self._planned_at, self._changed = now, False
            self._plan(now, changes)
        self._write(changes)
        asked = Changes()
        self._ask(now, asked)
        self._write(asked)
        return len(changes.rows) + len(asked.rows)

    def _write(self, changes: Changes) -> None:
        if changes.gone or changes.rows:
            with self._store.ledger.batch() as batch:
                batch.replace_fills(changes.gone, changes.rows)
            for key in changes.gone:
                self.open.pop(key, None)
            self.open |= {_key(row): row for row in changes.rows if row.state in OPEN}

    # ---- what became of requests

    def _settle(self, now: float, changes: Changes) -> None:
        asked = [row for row in self.open.values() if row.state == "asked"]
        known = Command.objects.in_bulk([row.command for row in asked]) if asked else {}
        for row in asked:
            command = known.get(row.command)
            if command is None:
                self._ended(row, "offline", "lost", now, changes)
            elif command.state not in WAITING and command.changed.timestamp() + SETTLE_SECONDS <= now:
                state = "no_data" if command.result_code == "ExeRtn:100" else ENDS[State(command.state)]
                why = "" if command.state == State.DONE else command.result_code
                self._ended(row, state, why, now, changes)

    def _ended(self, row: Fill, state: str, why: str, now: float, changes: Changes) -> None:
        """What came is filled; the rest ends, or waits for the next try."""
        span = (row.ts_from, row.ts_to)
        missing = both([span], self._missing(row.mn, Kind(row.kind), *span))
        again = state not in FINAL and row.tries < self._settings.fill_tries
        failures = 0 if state in FINAL else self._pauses.get(row.mn, (0, 0.0))[0] + 1
        self._pause(row.mn, failures, now)
        left = ("waiting", "") if again else (state, why)
        self._split(row, [(missing, *left), (minus([span], missing), "filled", "")], now, changes)

    def _missing(self, mn: str, kind: Kind, start: int, end: int) -> list[Span]:
        """Stretches that this device still owes."""
        device = self._register.devices.get(mn)
        point = device and self._register.points[device.point]
        if not device or not point:
            return [(start, end)]
        ids = [one.id for factor, one in point.series.items() if factor in device.units]
        gaps = self._store.gaps(ids, kind, start, end)
        rows = zip(*(gaps[name].to_pylist() for name in ("ts_from", "ts_to", "cause")), strict=True)
        return union((first, last) for first, last, cause in rows if cause in ASKABLE)

    def _split(self, row: Fill, parts: Iterable[tuple[list[Span], str, str]], now: float, changes: Changes) -> None:
        changes.gone.append(_key(row))
        changes.rows += [
            row._replace(ts_from=start, ts_to=end, state=state, why=why, changed=now)
            for spans, state, why in parts
            for start, end in spans
        ]

    def _pause(self, mn: str, failures: int, now: float) -> None:
        pause = self._settings.fill_device_seconds * 2**failures
        self._pauses[mn] = (failures, now + min(pause, LONGEST_PAUSE))

    # ---- what is to be asked for

    def _plan(self, now: float, changes: Changes) -> None:
        """New stretches begin to wait; those that closed by themselves, or have become too old, end."""
        oldest = int(now - self._settings.fill_days * DAY) // DAY * DAY
        longest = int(self._settings.fill_hours * 3600)
        for kind in REQUESTS:
            owed = self._owed(kind, oldest)
            known: dict[str, list[Fill]] = defaultdict(list)
            for row in self._store.fills(kind=kind, start=oldest - longest):
                known[row.mn].append(row)
            gone = set(changes.gone)
            for mn, rows in known.items():
                for row in rows:
                    if row.state == "waiting" and row.ts_from >= oldest and _key(row) not in gone:
                        self._wanted_still(row, owed.get(mn, []), now, changes)
            for mn, spans in owed.items():
                fresh = minus(spans, [(row.ts_from, row.ts_to) for row in known.get(mn, ())])
                changes.rows += [
                    Fill(mn, int(kind), start, end, "waiting", 0, None, now, "") for start, end in cut(fresh, longest)
                ]
        for row in list(self.open.values()):
            if row.state == "waiting" and row.ts_to <= oldest and _key(row) not in changes.gone:
                self._split(row, [([(row.ts_from, row.ts_to)], "offline", row.why)], now, changes)

    def _owed(self, kind: Kind, oldest: int) -> dict[str, list[Span]]:
        """MN → stretches missing since `oldest` that the device may be asked for."""
        spans: dict[str, list[Span]] = defaultdict(list)
        series, register = self._register.series, self._register
        wanted = {mn for mn, device in register.devices.items() if device.fill_gaps}
        for number, first, last in self._store.gaps_since(kind, oldest, ASKABLE):
            if number in series:
                point, one = series[number]
                for device in point.devices:
                    if device.mn in wanted and one.factor in device.units:
                        spans[device.mn].append((first, last))
        return {mn: union(some) for mn, some in spans.items()}

    def _wanted_still(self, row: Fill, owed: list[Span], now: float, changes: Changes) -> None:
        span = [(row.ts_from, row.ts_to)]
        left = both(span, owed)
        if left != span:
            device = self._register.devices.get(row.mn)
            state = "resent" if device and device.fill_gaps else "cancelled"
            self._split(row, [(left, "waiting", row.why), (minus(span, left), state, "")], now, changes)

    # ---- asking

    def _ask(self, now: float, changes: Changes) -> None:
        """The newest stretch of each connected device, as many as the rate allows."""
        while self._asked_at and not 0 <= now - self._asked_at[0] < 60:
            self._asked_at.popleft()
        allowed = int(self._settings.fill_per_minute) - len(self._asked_at)
        if not self._settings.fill_gaps or allowed <= 0:
            return
        chosen = self._candidates(now)
        if not chosen:
            return
        found = models.Device.objects.filter(mn__in=chosen, line__isnull=False, fill_gaps=True, retired_on=None)
        devices = {device.mn: device for device in found.select_related("point")}
        for row in sorted((chosen[mn] for mn in devices), key=lambda row: -row.ts_from)[:allowed]:
            self._request(devices[row.mn], row, now, changes)

    def _candidates(self, now: float) -> dict[str, Fill]:
        """MN → its newest waiting stretch, where nothing is under way and no pause holds."""
        busy = {row.mn for row in self.open.values() if row.state == "asked"}
        busy |= {mn for mn, (_, until) in self._pauses.items() if now < until}
        newest: dict[str, Fill] = {}
        for row in self.open.values():
            if row.mn not in busy and (row.mn not in newest or row.ts_from > newest[row.mn].ts_from):
                newest[row.mn] = row
        return newest

    def _request(self, device: models.Device, row: Fill, now: float, changes: Changes) -> None:
        params = {"BeginTime": write_time(row.ts_from), "EndTime": write_time(row.ts_to - 1)}
        cn = REQUESTS[Kind(row.kind)]
        why = f"补缺 {beijing(row.ts_from):%Y-%m-%d %H:%M}–{beijing(row.ts_to):%m-%d %H:%M}"
        lost = Command.objects.filter(
            device=device, cn=cn, who=None, why=why, params=params, created__gt=commands.stamp(row.changed)
        )  # queued by a run that was killed before it could note it down
        changes.gone.append(_key(row))
        try:
            command = lost.first() or commands.queue(device, cn, params, None, why, now, lives=LIVES, priority=PRIORITY)
        except CommandError as error:
            changes.rows.append(row._replace(state="unsupported", why=str(error), changed=now))
            return
        changes.rows.append(row._replace(state="asked", tries=row.tries + 1, command=command.pk, changed=now))
        self._asked_at.append(now)
        failures = self._pauses.get(device.mn, (0, 0.0))[0]
        self._pauses[device.mn] = (failures, now + self._settings.fill_device_seconds)


def _key(row: Fill) -> Key:
    return row.mn, row.kind, row.ts_from


def asked(mn: str, cn: str, ts: int, recv: float) -> bool:
    """Whether we had asked this device for data of this time before they came."""
    moment = write_time(ts)
    found = Command.objects.filter(
        device__mn=mn, cn=cn, attempts__gt=0, created__lte=commands.stamp(recv),
        params__BeginTime__lte=moment, params__EndTime__gte=moment,
    )  # fmt: skip
    return found.exists()
