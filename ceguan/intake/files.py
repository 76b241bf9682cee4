"""Readings from files: what does not speak HJ 212 comes through the same archive and the same clockwork.

`check` says for each line what would become of it, `take` puts the lines that bring something new into the archive as
IMPORT records. A line twice is a reading once: what is already there is found unchanged and not written again.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from difflib import get_close_matches
from enum import StrEnum
from typing import TextIO

import orjson

from ceguan.intake import decided
from ceguan.intake.hj212.readings import interval_start
from ceguan.intake.sheets import Line
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, Point, Series, User
from ceguan.standards import factors, units
from ceguan.store import RecordKind, Store
from ceguan.store.archive import IMPORTED
from ceguan.words import BEIJING, DEVICE_FLAGS, FrameRef, Kind, beijing

STREAMS = (64, *range(70, 80))
"""Archive streams for imports; each import takes a free one while it writes."""
ROWS_PER_RECORD = 5000
BELOW_DETECTION = "L"
"""Flag of a value given as "<0.005" or "0.005L": the detection limit stands for it."""
NOTHING = {"", "na", "n/a", "nan", "null", "none", "-", "--", "—", "/", "缺测", "无"}

_TIME = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
    r"(?:[T ]+(\d{1,2})[:时](?:(\d{1,2})分?(?::?(\d{1,2})秒?(?:\.\d+)?)?)?)?\s*(Z|[+-]\d\d:?\d\d)?"
)
_DIGITS = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(?:(\d\d)(\d\d)?)?)?()")
_VALUE = re.compile(r"([<＜]?)\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([LlＬ]?)", re.ASCII)
_FORMULA = re.compile(r"[(（]([^)）]+)[)）]")
_FLAG_WORDS = {word.zh: flag for flag, word in DEVICE_FLAGS.items()} | {flag.lower(): flag for flag in DEVICE_FLAGS}


class Result(StrEnum):
    """What becomes of a line."""

    ACCEPTED = "accepted"
    UNCHANGED = "unchanged"
    NEW_VERSION = "new version"
    EMPTY = "empty"  # a line without a value: nothing to take in, and said so
    REFUSED = "refused"


class Refused(ValueError):
    """A line cannot be taken in; the message is the cause."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A line understood: series, start of the interval [UTC epoch s], value in the unit of the series."""

    series: int
    kind: Kind
    ts: int
    value: float
    flag: str

    @property
    def key(self) -> tuple[int, int]:
        return self.series, self.ts


@dataclass(frozen=True, slots=True)
class Row:
    line: Line
    result: Result
    cause: str
    reading: Reading | None


# ── what would become of each line ────────────────────────────────────────────────────────────────────────────────


def check(
    lines: Iterable[Line], kind: Kind, label: str, user: User | None, store: Store, now: float, future_seconds: float
) -> list[Row]:
    """Each line with its result, in order. `label`: which end of the interval a time names, "end" or "start".

    `user` None is the operator at the machine, who reaches every point. Compared are the newest versions in the store
    and imports that still wait in the archive. Raises rights.Forbidden when the user may not import.
    """
    if user is not None:
        rights.require(user, "import")
    register = _Register(user)
    read = [_understood(line, kind, label, register, now + future_seconds) for line in lines]
    known = _known(store, kind, [found for _, found, _ in read if found])
    seen: dict[tuple[int, int], tuple[int, Reading]] = {}
    return [_row(line, found, cause, known, seen) for line, found, cause in read]


def _understood(
    line: Line, kind: Kind, label: str, register: _Register, horizon: float
) -> tuple[Line, Reading | None, str]:
    """The reading of a line; or None with the cause, "" when the line has no value."""
    try:
        if line.fault:
            raise Refused(line.fault)
        point = register.point(line.station)
        if line.value.casefold() in NOTHING:
            return line, None, ""
        series = register.series(point, line.factor)
        ts = interval(line.time, kind, line.label or label, register.minutes(point) * 60)
        if ts + _length(kind, register.minutes(point) * 60) > horizon:
            raise Refused(f"时间 {line.time} 所指的区间还没有结束")
        number, below = value(line.value)
        scaled = number * scale(line.unit, series)
        given = flag(line.flag)
    except Refused as error:
        return line, None, str(error)
    return line, Reading(series.pk, kind, ts, scaled, BELOW_DETECTION if below and given in ("", "N") else given), ""


def _row(
    line: Line,
    found: Reading | None,
    cause: str,
    known: dict[tuple[int, int], tuple[float, str]],
    seen: dict[tuple[int, int], tuple[int, Reading]],
) -> Row:
    if found is None:
        return Row(line, Result.REFUSED if cause else Result.EMPTY, cause or "没有数值，不收", None)
    number, first = seen.setdefault(found.key, (line.number, found))
    if first != found:
        return Row(line, Result.REFUSED, f"与第 {number} 行同一点位、因子和时间而内容不同", None)
    if number != line.number:
        return Row(line, Result.UNCHANGED, f"与第 {number} 行相同", found)
    if found.key not in known:
        return Row(line, Result.ACCEPTED, "", found)
    old, old_flag = known[found.key]
    if (old, old_flag) == (found.value, found.flag):
        return Row(line, Result.UNCHANGED, "已有，数值相同", found)
    return Row(line, Result.NEW_VERSION, f"原为 {old:.6g}{f'（{old_flag}）' if old_flag else ''}", found)


def _known(store: Store, kind: Kind, wanted: Sequence[Reading]) -> dict[tuple[int, int], tuple[float, str]]:
    """(series, ts) → value and flag of the newest version, in the store or waiting in the archive.

    What a device sent with more than value and flag (minimum, maximum …) differs from any line of a file: flag None.
    """
    spans: dict[int, list[int]] = defaultdict(list)
    for one in wanted:
        spans[one.series].append(one.ts)
    found: dict[tuple[int, int], tuple[float, str]] = {}
    for series, times in spans.items():
        for row in store.readings([series], kind, min(times), max(times) + 1).to_pylist():
            more = any(not math.isnan(row[name]) for name in ("zs", "vmin", "vmax", "cou"))
            found[series, row["ts"]] = row["value"], f"{row['flag']}+" if more else row["flag"]
    for record in store.arrivals() if wanted else ():
        if record.kind == RecordKind.IMPORT:
            for series, its_kind, ts, number, its_flag, *_ in orjson.loads(record.payload)["rows"]:
                if its_kind == kind and series in spans:
                    found[series, ts] = number, its_flag
    return found


# ── the parts of a line ───────────────────────────────────────────────────────────────────────────────────────────


def moment(text: str) -> tuple[int, bool]:
    """UTC epoch seconds, and whether the text has a clock. Without a zone it is Beijing time; 24:00 is midnight.

    Raises Refused.
    """
    match = _TIME.fullmatch(text.strip()) or _DIGITS.fullmatch(text.strip())
    if match is None:
        raise Refused(f"时间 {text!r} 读不懂，例如 2026-03-01 08:00")
    *parts, zone = match.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    late = timedelta(days=1) if (hour, minute, second) == (24, 0, 0) else timedelta()
    try:
        when = datetime(year, month, day, 0 if late else hour, minute, second, tzinfo=_zone(zone)) + late
        return int(when.timestamp()), parts[3] is not None
    except (ValueError, OverflowError):
        raise Refused(f"没有 {text} 这个时间") from None


def _zone(text: str | None) -> timezone:
    if not text:
        return BEIJING
    if text == "Z":
        return UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-away if text[0] == "-" else away)


def interval(text: str, kind: Kind, label: str, minute_seconds: int = 600) -> int:
    """Start [UTC epoch s] of the interval that a time labels; a day without a clock names itself. Raises Refused."""
    at, clocked = moment(text)
    if kind == Kind.DAY and not clocked:
        return at
    if not clocked:
        raise Refused(f"时间 {text} 没有时刻")
    if kind == Kind.RT:
        return at
    if interval_start(at, kind, minute_seconds) != at:
        raise Refused(f"时间 {text} 不在{ {Kind.MINUTE: '分钟区间', Kind.HOUR: '整点', Kind.DAY: '零点'}[kind] }上")
    return at if label == "start" else at - _length(kind, minute_seconds)


def _length(kind: Kind, minute_seconds: int) -> int:
    return {Kind.RT: 0, Kind.MINUTE: minute_seconds, Kind.HOUR: 3600, Kind.DAY: 86400}[kind]


def value(text: str) -> tuple[float, bool]:
    """The number, and whether it was given as below the detection limit ("<0.005", "0.005L"). Raises Refused."""
    match = _VALUE.fullmatch(text.strip())
    number = float(match[2]) if match else math.nan
    if match is None or not math.isfinite(number):
        raise Refused(f"值 {text!r} 不是数")
    return number, bool(match[1] or match[3])


def scale(unit: str, series: Series) -> float:
    """What a value in `unit` is multiplied by to be in the unit of the series. Raises Refused."""
    given = unit.strip() or ("无量纲" if units.factor(series.unit, "无量纲") else "")
    if not given:
        raise Refused(f"没有单位；{series.name_zh}在此点位的单位是 {series.unit}")
    found = units.factor(given, series.unit)
    if found is None:
        raise Refused(f"单位 {unit} 不能换算为 {series.unit}（{series.name_zh}在此点位的单位）")
    return found


def flag(text: str) -> str:
    """The device flag by letter or Chinese word, "" for none. Raises Refused."""
    given = text.strip()
    found = _FLAG_WORDS.get(given.lower(), "" if not given else None)
    if given in (BELOW_DETECTION, *DEVICE_FLAGS, *"0123"):
        return given
    if found is None:
        raise Refused(f"设备标记 {text!r} 不认得；可用：{'、'.join(f'{f} {w.zh}' for f, w in DEVICE_FLAGS.items())}")
    return found


def station_names(user: User | None) -> set[str]:
    """Every name (case folded) of the points this person reaches; None is the operator at the machine."""
    return set(_Register(user).names)


class _Register:
    """Points and series by any of their names; only the points this person reaches."""

    def __init__(self, user: User | None) -> None:
        points = Point.objects.all() if user is None else rights.visible_points(user)
        self._points: dict[str, list[Point]] = defaultdict(list)
        for point in points:
            for name in {point.code, point.name_zh, point.name_en} - {""}:
                self._points[name.casefold()].append(point)
        self._series: dict[int, dict[str, list[Series]]] = {}
        self._minutes = {
            device.point_id: device.minute_interval for device in Device.objects.order_by("-minute_interval")
        }

    @property
    def names(self) -> Iterable[str]:
        return self._points

    def minutes(self, point: Point) -> int:
        """Minutes that one minute reading of this point stands for."""
        return int(self._minutes.get(point.pk, 10))

    def point(self, name: str) -> Point:
        found = self._points.get(name.casefold(), [])
        if not found:
            near = get_close_matches(name.casefold(), list(self._points), 3, 0.4)
            raise Refused(
                f"没有点位“{name}”" + _nearest(f"{p.code} {p.name_zh}" for n in near for p in self._points[n])
            )
        if len(found) > 1:
            raise Refused(f"“{name}”有 {len(found)} 个：{'、'.join(point.code for point in found)}；请用编码")
        return found[0]

    def series(self, point: Point, name: str) -> Series:
        names = self._series.setdefault(point.pk, {})
        if not names:
            for one in point.series.all():
                for called in _names(one):
                    names.setdefault(called.casefold(), []).append(one)
        found = names.get(name.casefold()) or names.get(factors.current_code(name).casefold()) or []
        if not found:
            near = get_close_matches(name.casefold(), list(names), 3, 0.4) or list(names)[:6]
            said = {f"{one.factor} {one.name_zh}" for n in near for one in names[n]}
            raise Refused(f"{point.name_zh}没有因子“{name}”" + _nearest(sorted(said)))
        if len({one.pk for one in found}) > 1:
            raise Refused(f"因子“{name}”有 {len(found)} 个：{'、'.join(one.factor for one in found)}；请用编码")
        return found[0]


def _nearest(names: Iterable[str]) -> str:
    said = "、".join(dict.fromkeys(names))
    return f"；相近的有：{said}" if said else ""


def _names(series: Series) -> set[str]:
    """Everything a factor is called: code, the register's names, the names and formula of the standard's table."""
    known = factors.find(series.factor)
    names = {series.factor, series.name_zh, series.name_en}
    for text in (known.name, known.name_en) if known else ():
        names |= {text, _FORMULA.sub("", text).strip(), *_FORMULA.findall(text)}
    if known and known.code05:
        names.add(known.code05)
    return names - {""}


# ── taking in ─────────────────────────────────────────────────────────────────────────────────────────────────────


def take(rows: Sequence[Row], file: str, user: User | None, by: str, store: Store, now: float) -> list[FrameRef]:
    """Put what is new into the archive, audited; on disk when this returns. [] when there was nothing new.

    `by` names who did it in the record. Raises StreamTakenError, ArchiveError; then nothing counts. Raises
    decided.WaitsError when all of it counts, once the archive can be written.
    """
    new = [row for row in rows if row.result in (Result.ACCEPTED, Result.NEW_VERSION)]
    if not new:
        return []
    with decided.writing(store.archive, STREAMS) as out:
        counts = {str(result): number for result, number in counted(rows).items()}
        detail = {"file": file, "rows": counts}
        event = audit.record(user, "import", f"file:{file}"[:80], f"导入读数（{by}）", detail, now)
        for payload in _payloads(new, file, by, event.seq):
            out.append(RecordKind.IMPORT, now, f"{IMPORTED}{by}", payload)
    return out.refs


def _payloads(rows: Sequence[Row], file: str, by: str, event: int) -> Iterator[bytes]:
    for begin in range(0, len(rows), ROWS_PER_RECORD):
        content = [
            [r.reading.series, int(r.reading.kind), r.reading.ts, r.reading.value, r.reading.flag, r.line.number]
            for r in rows[begin : begin + ROWS_PER_RECORD]
            if r.reading
        ]
        yield orjson.dumps({"file": file, "by": by, "audit": event, "rows": content})


def by_file(rows: Iterable[Row], otherwise: str) -> dict[str, list[Row]]:
    """Rows by the file they stand in; `otherwise` names the file of lines that name none."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.line.file or otherwise, []).append(row)
    return found


def counted(rows: Iterable[Row]) -> dict[Result, int]:
    """How many lines came to each result, in the order of Result."""
    counts = Counter(row.result for row in rows)
    return {result: counts[result] for result in Result if counts[result]}


RESULTS = ("row", "result", "cause", "station", "time", "factor", "value", "unit", "flag", "interval_start", "file")


def write_results(rows: Iterable[Row], out: TextIO, heading: bool = True) -> None:
    """One CSV line per line of the file: what became of it, and why."""
    writer = csv.writer(out, lineterminator="\n")
    if heading:
        writer.writerow(RESULTS)
    for row in rows:
        line, reading = row.line, row.reading
        start = f"{beijing(reading.ts):%Y-%m-%d %H:%M}" if reading else ""
        said = (line.station, line.time, line.factor, line.value, line.unit, reading.flag if reading else line.flag)
        writer.writerow((line.number, row.result, row.cause, *said, start, line.file))
