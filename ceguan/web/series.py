"""One factor at one point over a period, with its layers: as received, in force, flags, decisions, gaps, limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from django.urls import reverse
from django.utils.translation import gettext

from ceguan.registry.label import label, name
from ceguan.registry.models import Point, Series
from ceguan.store import thin
from ceguan.store.stale import day_of
from ceguan.watch import fill
from ceguan.watch import gaps as gap_words
from ceguan.web import aggregates, limits
from ceguan.web.store import store
from ceguan.words import BEIJING, DEVICE_FLAGS, FrameRef, Kind, Label, Outcome, Period, beijing

KINDS = {
    Kind.RT: Label("实时", "real time"),
    Kind.MINUTE: Label("分钟", "minute"),
    Kind.HOUR: Label("小时", "hour"),
    Kind.DAY: Label("日", "day"),
}
SPANS = {
    "24h": (1, Label("24 小时", "24 hours")),
    "3d": (3, Label("3 天", "3 days")),
    "7d": (7, Label("7 天", "7 days")),
    "30d": (30, Label("30 天", "30 days")),
    "90d": (90, Label("90 天", "90 days")),
    "1y": (366, Label("1 年", "1 year")),
    "3y": (1097, Label("3 年", "3 years")),
}
LONG = ("1y", "3y")
"""Spans drawn from the days of `aggregates`: from Beijing midnight on, no single readings."""
LONGEST_FILL = 31 * 86400
"""How long before a period a stretch may begin that a device was asked for."""
ACTIONS = {
    "keep": Label("保留", "keep"),
    "invalidate": Label("剔除", "invalidate"),
    "substitute": Label("替代", "substitute"),
    "exempt": Label("豁免", "exempt"),
}
TESTS = {
    "missing": Label("缺数", "missing"),
    "range": Label("超出量程", "out of range"),
    "flat_line": Label("恒值", "flat line"),
    "spike": Label("突变", "spike"),
    "clock": Label("时钟", "clock"),
}
OUTCOMES = {
    Outcome.PASS: Label("通过", "pass"),
    Outcome.NOT_EVALUATED: Label("未检验", "not evaluated"),
    Outcome.SUSPECT: Label("可疑", "suspect"),
    Outcome.FAIL: Label("不合格", "fail"),
    Outcome.MISSING: Label("缺测", "missing"),
}
CHART_POINTS = 1500


class Window(NamedTuple):
    """Kind of data and period of an address: [start, end) in UTC epoch seconds."""

    kind: Kind
    span: str
    last_day: str  # "" = up to now
    start: int
    end: int

    @classmethod
    def read(cls, given: Mapping[str, str], now: float) -> Window:
        """From `kind`, `span`, `end` (the last Beijing day shown); what cannot be read becomes hour, 7 days, now."""
        words = {kind.name.lower(): kind for kind in Kind}
        kind = words.get(given.get("kind", ""), Kind.HOUR)
        span = given.get("span", "")
        span = span if span in SPANS else "7d"
        last_day, end = _end(given.get("end", ""), now)
        start = end - SPANS[span][0] * 86400
        return cls(kind, span, last_day, day_of(start) if span in LONG else start, end)

    @property
    def long(self) -> bool:
        return self.span in LONG


def _end(text: str, now: float) -> tuple[str, int]:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=BEIJING)
    except ValueError:
        return "", int(now) + 1
    return text, int((day + timedelta(days=1)).timestamp())


@dataclass(frozen=True, slots=True)
class Track:
    series: Series
    window: Window
    readings: pa.Table  # Store.readings, in force
    flags: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    gaps: list[tuple[float, float, str, str]]
    limits: list[limits.Line]
    days: list[dict[str, Any]] | None = None  # of a long span, instead of readings, flags and gaps

    @property
    def empty(self) -> bool:
        return not (self.readings.num_rows or self.days)


def track(point: Point, series: Series, window: Window, now: float) -> Track:
    door, one = store(), [series.id]
    cut = (window.start, window.end)
    decided = door.decisions(one, window.kind, *cut).to_pylist()
    said = [{**row, "word": label(ACTIONS[row["action"]])} for row in decided]
    lines = limits.lines(point, series, window.kind, beijing(window.end - 1).date())
    if window.long:
        days = aggregates.rows(point, series, window.kind, Period.DAY, *cut, now)
        return Track(series, window, door.readings([], window.kind, *cut), [], said, [], lines, days)
    found = door.gaps(one, window.kind, *cut).to_pylist()
    filling = Filling(point, series, window)
    return Track(
        series=series,
        window=window,
        readings=door.readings(one, window.kind, *cut),
        flags=[flag_words(flag) for flag in door.flags(one, window.kind, *cut).to_pylist()],
        decisions=said,
        gaps=[(g["ts_from"], g["ts_to"], g["cause"], filling.said(g)) for g in found],
        limits=lines,
    )


class Filling:
    """What became of asking the devices of a series for what is missing."""

    def __init__(self, point: Point, series: Series, window: Window) -> None:
        devices = [device for device in point.devices.all() if series.factor in device.units]
        self._editions = {device.mn: device.edition for device in devices}
        self._off = bool(devices) and not any(device.fill_gaps for device in devices)
        self._rows = [
            row
            for row in store().fills(list(self._editions), int(window.kind), int(window.start) - LONGEST_FILL)
            if row.ts_from < window.end and row.ts_to > window.start
        ]

    def said(self, gap: dict[str, Any]) -> str:
        """The cause of a gap, and how far filling it has come."""
        cause = label(gap_words.explain(gap["cause"]))
        touching = [row for row in self._rows if row.ts_from < gap["ts_to"] and row.ts_to > gap["ts_from"]]
        states = dict.fromkeys(label(fill.explain(row, self._editions[row.mn])) for row in touching)
        if states:
            return "; ".join([cause, gettext("补缺：%(states)s") % {"states": " / ".join(states)}])
        if self._off and gap["cause"] in fill.ASKABLE:
            return "; ".join([cause, gettext("补缺：这台设备已停用")])
        return cause


def flag_words(flag: dict[str, Any]) -> dict[str, Any]:
    """A quality flag with its test and outcome in words."""
    test = label(TESTS[flag["test"]]) if flag["test"] in TESTS else flag["test"]
    return {**flag, "test_word": test, "outcome_word": label(OUTCOMES[Outcome(flag["outcome"])])}


def device_flag(code: str) -> str:
    """The device's own flag, with its meaning."""
    return f"{code} {label(DEVICE_FLAGS[code])}" if code in DEVICE_FLAGS else code


def chart(one: Track) -> dict[str, Any]:
    """What the chart island draws; columns thinned so that neither an extreme nor a gap disappears, of a long span the
    mean, the lowest and the highest of each day."""
    if one.days is not None:
        return _head(one) | _of_days(one.days)
    table = thin(one.readings, CHART_POINTS)
    converted = not np.isnan(table["zs"].to_numpy()).all() if table.num_rows else False
    times = table["ts"].to_pylist()
    every = _every(one.readings)
    return _head(one) | {
        "every": every, "thinned": one.readings.num_rows - table.num_rows,
        "t": times, "raw": _numbers(table["value"]), "force": _numbers(table["value_in_force"]),
        "zs": _numbers(table["zs_in_force"]) if converted else None, "flag": table["flag"].to_pylist(),
        "flags": [{"t": f["ts"], "text": f"{f['test_word']}: {f['outcome_word']}"} for f in one.flags],
        "gaps": [{"from": begin, "to": until, "text": said} for begin, until, _, said in one.gaps],
    }  # fmt: skip


def _head(one: Track) -> dict[str, Any]:
    return {
        "name": name(one.series), "unit": one.series.unit, "decimals": one.series.decimals,
        "start": one.window.start, "end": one.window.end, "decisions": [_seal(row) for row in one.decisions],
        "limits": [line._asdict() for line in one.limits],
    }  # fmt: skip


def _of_days(days: list[dict[str, Any]]) -> dict[str, Any]:
    force, low, high, zs = (_rounded(row[key] for row in days) for key in ("mean", "min", "max", "zs_mean"))
    return {
        "every": 86400, "thinned": 0, "t": [row["ts"] for row in days], "force": force, "low": low, "high": high,
        "zs": None if all(one is None for one in zs) else zs, "flag": [], "flags": [], "gaps": [],
    }  # fmt: skip


def _seal(decision: dict[str, Any]) -> dict[str, Any]:
    return {
        "from": decision["ts_from"],
        "to": decision["ts_to"],
        "mark": decision["word"][:1],
        "text": f"{decision['word']} · {decision['who']} · {decision['why']}",
    }


def _every(table: pa.Table) -> int:
    """The usual step between readings [s]; 0 for fewer than three."""
    return int(np.median(np.diff(table["ts"].to_numpy()))) if table.num_rows > 2 else 0


def _numbers(column: pa.ChunkedArray) -> list[float | None]:
    return _rounded(column.to_pylist())


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [None if value != value else round(value, 6) for value in values]


def rows(one: Track) -> list[dict[str, Any]]:
    """The same data as a table, newest first."""
    flags: dict[int, list[str]] = {}
    for flag in one.flags:
        flags.setdefault(flag["ts"], []).append(f"{flag['test_word']} {flag['outcome_word']}")
    return [
        {
            **row,
            "flag_word": device_flag(row["flag"]),
            "tests": "、".join(flags.get(row["ts"], ())),
            "action_word": label(ACTIONS[row["action"]]) if row["action"] else "",
            "over": over(one.limits, row["value_in_force"], row["zs_in_force"]),
            "state": "reviewed" if row["decision"] else "realtime",
            "ref": str(FrameRef.unpack(row["frame"])),
            "href": reading_url(one.series.id, one.window.kind, row["ts"]),
        }
        for row in reversed(one.readings.to_pylist())
    ]


def over(lines: list[limits.Line], value: float, zs: float) -> bool:
    """Whether a value in force breaks a permit limit of its chart; a single value is no verdict."""
    for line in lines:
        judged = zs if line.converted and not math.isnan(zs) else value
        if line.permit and (judged < line.value if line.low else judged > line.value):
            return True
    return False


def reading_url(series: int, kind: int, ts: int) -> str:
    return reverse("reading", args=[series, Kind(kind).name.lower(), ts])


def completeness(one: Track, now: float) -> float | None:
    """Share of the due intervals of the period that have a reading; None when the step is unknown."""
    present, every = one.readings.num_rows, _every(one.readings)
    if one.days is not None:
        present = sum(row["present"] for row in one.days)
        every = one.days[0]["every"] if one.days else 0
    due = (min(one.window.end, now) - one.window.start) / every if every else 0
    return min(1.0, present / due) if due >= 1 else None
