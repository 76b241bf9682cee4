"""What is taken away as rows: readings, their hours, days and months, verdicts, gaps and frames of points, as CSV
(UTF-8 with BOM), xlsx or Parquet.

Any length in constant memory: rows are made a month and a series at a time and written as they come. Who may is asked
before (see `pages.export`); the rows themselves are the same through every door.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from typing import IO, Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from django.utils.translation import gettext
from openpyxl import Workbook

from ceguan import clock
from ceguan.intake.hj212.frame import masked
from ceguan.registry.label import label, name
from ceguan.registry.models import Point, Series
from ceguan.store import forgotten
from ceguan.watch import gaps as gap_words
from ceguan.web import aggregates, objects, series
from ceguan.web.store import store
from ceguan.web.templatetags.pieces import review_state
from ceguan.words import BEIJING, FrameRef, Kind, Period, beijing

CHUNK = 31 * 86400
HOUR = 3600
BATCH = 10_000
SHEET_ROWS = 1_048_576
"""Rows of one sheet of xlsx, the head included; what is more goes on in the next sheet."""
FORMS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
TEXT, NUMBER, WHOLE, TIME = "text", "number", "whole", "time"
_TYPES = {TEXT: pa.string(), NUMBER: pa.float64(), WHOLE: pa.int64(), TIME: pa.timestamp("s", tz="Asia/Shanghai")}


class Asked(NamedTuple):
    """What is to be taken away: of these points, times in [start, end), UTC epoch seconds; `as_of`: as known then."""

    what: str
    points: Sequence[Point]
    kind: Kind
    start: int
    end: int
    factor: str = ""
    as_of: float | None = None
    period: Period = Period.DAY  # of aggregates

    def series(self, point: Point) -> list[Series]:
        return [one for one in point.series.all() if self.factor in ("", one.factor)]

    def chunks(self, extent: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
        """The stretch asked for, piece by piece, as far as there can be something of what lies in `extent`: a month
        that begins before it may have readings."""
        if extent is None:
            return
        end = min(self.end, extent[1])
        for low in range(max(self.start, extent[0] - CHUNK), end, CHUNK):
            yield low, min(low + CHUNK, end)


class Column(NamedTuple):
    """A column: its name in Parquet, its head elsewhere, what its cells are. A time is UTC epoch seconds in a row."""

    key: str
    head: str
    type: str = TEXT


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _readings_columns() -> list[Column]:
    return [
        Column("point", gettext("点位编码")), Column("point_name", gettext("点位")),
        Column("time", gettext("时间（北京，区间开始）"), TIME), Column("factor", gettext("因子编码")),
        Column("factor_name", gettext("因子")), Column("unit", gettext("单位")),
        Column("value", gettext("原始值"), NUMBER), Column("version", gettext("版本"), WHOLE),
        Column("value_in_force", gettext("现行值"), NUMBER),
        Column("converted_in_force", gettext("折算（现行）"), NUMBER), Column("device_flag", gettext("设备标记")),
        Column("tests", gettext("质控")), Column("review_state", gettext("审核状态")),
        Column("action", gettext("审核决定")), Column("received", gettext("收到时间"), TIME),
        Column("frame", gettext("原始报文")),
    ]  # fmt: skip


def _readings(asked: Asked) -> Iterator[list[Any]]:
    for point in asked.points:
        for one in asked.series(point):
            for low, high in asked.chunks(store().extent([one.id], asked.kind)):
                yield from _readings_of(asked, point, one, low, high)


def _readings_of(asked: Asked, point: Point, one: Series, low: int, high: int) -> Iterator[list[Any]]:
    """Readings in force of one series, oldest first, with the outcomes of tests and decisions on them."""
    of_place, of_factor = name(point), name(one)  # asked for once: a translation costs as much as the rest of a row
    states = {reviewed: review_state("reviewed" if reviewed else "realtime") for reviewed in (False, True)}
    tests: dict[int, list[str]] = {}
    for flag in store().flags([one.id], asked.kind, low, high, as_of=asked.as_of).to_pylist():
        words = series.flag_words(flag)
        tests.setdefault(flag["ts"], []).append(f"{words['test_word']} {words['outcome_word']}")
    for row in store().readings([one.id], asked.kind, low, high, as_of=asked.as_of).to_pylist():
        action = label(series.ACTIONS[row["action"]]) if row["action"] else ""
        yield [
            point.code, of_place, row["ts"], one.factor, of_factor, one.unit, row["value"], row["ver"],
            row["value_in_force"], row["zs_in_force"], row["flag"], "、".join(tests.get(row["ts"], ())),
            states[row["decision"] > 0], action, row["recv"], str(FrameRef.unpack(row["frame"])),
        ]  # fmt: skip


def _aggregates_columns() -> list[Column]:
    return [
        Column("point", gettext("点位编码")), Column("point_name", gettext("点位")),
        Column("time", gettext("时间（北京，区间开始）"), TIME), Column("factor", gettext("因子编码")),
        Column("factor_name", gettext("因子")), Column("unit", gettext("单位")),
        Column("present", gettext("收到个数"), WHOLE), Column("expected", gettext("应到个数"), WHOLE),
        Column("valid", gettext("有效个数"), WHOLE), Column("mean", gettext("均值"), NUMBER),
        Column("min", gettext("最小"), NUMBER), Column("max", gettext("最大"), NUMBER),
        Column("first", gettext("首值"), NUMBER), Column("last", gettext("末值"), NUMBER),
        Column("converted_mean", gettext("折算均值"), NUMBER), Column("total", gettext("累计"), NUMBER),
        Column("decided", gettext("审核个数"), WHOLE), Column("review_state", gettext("审核状态")),
    ]  # fmt: skip


def _aggregates(asked: Asked) -> Iterator[list[Any]]:
    """Hours, days or months that begin in the time asked for, a month and a series at a time."""
    now = clock.now()
    for point in asked.points:
        for one in asked.series(point):
            for low, high in asked.chunks(store().extent([one.id], asked.kind)):
                for row in aggregates.rows(point, one, asked.kind, asked.period, low, high, now, asked.as_of):
                    yield [
                        point.code, name(point), row["ts"], one.factor, name(one), one.unit, row["present"],
                        row["expected"], row["valid"], row["mean"], row["min"], row["max"], row["first"], row["last"],
                        row["zs_mean"], row["cou"], row["decided"], aggregates.reviewed_words(row),
                    ]  # fmt: skip


def _verdicts_columns() -> list[Column]:
    return [
        Column("point", gettext("点位编码")), Column("point_name", gettext("点位")), Column("rule", gettext("规则")),
        Column("time", gettext("时间（北京，区间开始）"), TIME), Column("version", gettext("版本"), WHOLE),
        Column("outcome", gettext("结论")), Column("value", gettext("数值"), NUMBER),
        Column("level", gettext("级别")), Column("edition", gettext("版本标准")), Column("clause", gettext("条款")),
        Column("sentence", gettext("说明")), Column("made", gettext("判定时间"), TIME),
        Column("verdict", gettext("裁定编号"), WHOLE),
    ]  # fmt: skip


def _verdicts(asked: Asked) -> Iterator[list[Any]]:
    """Verdicts in force of every rule, or of the rules on one factor; point by point, a stretch at a time."""
    for point in asked.points:
        for low, high in asked.chunks(store().verdict_extent(point.pk)):
            for row in store().verdicts(point.pk, None, low, high, as_of=asked.as_of).to_pylist():
                if asked.factor and not row["rule"].endswith(f":{asked.factor}"):
                    continue
                yield [
                    point.code, name(point), row["rule"], row["ts"], row["ver"], row["outcome"], row["value"],
                    row["level"], row["edition"], row["clause"], objects.sentence(orjson.loads(row["detail"])),
                    int(row["made_at"]), row["id"],
                ]  # fmt: skip


def _gaps_columns() -> list[Column]:
    return [
        Column("point", gettext("点位编码")), Column("point_name", gettext("点位")),
        Column("factor", gettext("因子编码")), Column("factor_name", gettext("因子")),
        Column("from", gettext("缺失自（北京）"), TIME), Column("to", gettext("至"), TIME),
        Column("cause", gettext("原因代码")), Column("cause_text", gettext("原因")),
        Column("found", gettext("发现时间"), TIME),
    ]  # fmt: skip


def _gaps(asked: Asked) -> Iterator[list[Any]]:
    """Each missing hour (or what is missing of it) with its cause; daily data by the day."""
    for point in asked.points:
        for one in asked.series(point):
            for row in store().gaps([one.id], asked.kind, asked.start, asked.end, as_of=asked.as_of).to_pylist():
                said = label(gap_words.explain(row["cause"]))
                for low, high in _by_hour(row, asked):
                    yield [
                        point.code, name(point), one.factor, name(one), low, high, row["cause"], said,
                        int(row["found_at"]),
                    ]  # fmt: skip


def _by_hour(gap: dict[str, Any], asked: Asked) -> Iterator[tuple[int, int]]:
    low, end = max(gap["ts_from"], asked.start), min(gap["ts_to"], asked.end)
    while low < end:
        high = end if asked.kind == Kind.DAY else min(end, low // HOUR * HOUR + HOUR)
        yield low, high
        low = high


def _frames_columns() -> list[Column]:
    return [
        Column("received", gettext("收到时间"), TIME), Column("frame", gettext("原始报文")),
        Column("record", gettext("记录种类")), Column("source", gettext("来源地址")),
        Column("content", gettext("报文（口令以 * 代替）")),
    ]  # fmt: skip


def _frames(asked: Asked) -> Iterator[list[Any]]:
    """What the devices of the points sent, and was sent to them, byte for byte except passwords; and a row for each
    segment of the stretch that was deleted once its period was over."""
    for sealed, gone in forgotten.between(store().archive, asked.start, asked.end):
        yield [int(sealed.first_recv or 0), f"{gone.stream}-{gone.segment}", "deleted", "", str(gone)]
    devices = [device.mn for point in asked.points for device in point.devices.all()]
    for record in store().received(asked.start, asked.end, devices):
        content = masked(record.payload).decode("utf-8", "backslashreplace")
        yield [int(record.recv), str(record.ref), record.kind.name.lower(), record.source, content.rstrip("\r\n")]


KINDS: dict[str, tuple[Callable[[], list[Column]], Callable[[Asked], Iterator[list[Any]]]]] = {
    "readings": (_readings_columns, _readings),
    "aggregates": (_aggregates_columns, _aggregates),
    "verdicts": (_verdicts_columns, _verdicts),
    "gaps": (_gaps_columns, _gaps),
    "frames": (_frames_columns, _frames),
}


def rows(asked: Asked) -> tuple[list[Column], Iterator[list[Any]]]:
    """Columns and rows; nothing is read before the first row is asked for."""
    columns, made = KINDS[asked.what]
    return columns(), made(asked)


# ── forms ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def as_csv(columns: Sequence[Column], content: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Some thousand lines at a time; a text that a spreadsheet would take for a formula gets an apostrophe."""
    yield "\ufeff".encode()
    lines = chain([[column.head for column in columns]], (_cells(columns, row) for row in content))
    while some := list(islice(lines, BATCH // 5)):
        text = io.StringIO()
        csv.writer(text).writerows(some)
        yield text.getvalue().encode()


def as_xlsx(columns: Sequence[Column], content: Iterable[Sequence[Any]], out: IO[bytes]) -> None:
    """Row by row into as many sheets as it takes."""
    book = Workbook(write_only=True)
    head = [column.head for column in columns]
    cells = (_cells(columns, row) for row in content)
    number = 0
    while (some := next(cells, None)) is not None or number == 0:
        number += 1
        sheet = book.create_sheet(f"{gettext('数据')}{number}")
        sheet.freeze_panes = "A2"
        for row in (head, *([] if some is None else [some])):
            sheet.append(row)
        for row in islice(cells, SHEET_ROWS - 2):
            sheet.append(row)
    book.save(out)


def as_parquet(columns: Sequence[Column], content: Iterable[Sequence[Any]], out: IO[bytes]) -> None:
    """Typed columns; what is absent is null, times are moments with their zone."""
    shape = pa.schema([(column.key, _TYPES[column.type]) for column in columns])
    content = iter(content)
    with pq.ParquetWriter(out, shape, compression="zstd") as writer:
        while some := list(islice(content, BATCH)):
            cells = zip(*some, strict=True)
            writer.write_table(
                pa.table([_array(c, cell) for c, cell in zip(columns, cells, strict=True)], schema=shape)
            )


def _array(column: Column, cells: Sequence[Any]) -> pa.Array:
    if column.type == TIME:
        return pa.array(cells, pa.int64()).cast(_TYPES[TIME])
    return pa.array(cells, _TYPES[column.type], from_pandas=True)


def _cells(columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
    return [_shown(column, cell) for column, cell in zip(columns, row, strict=True)]


def _shown(column: Column, cell: Any) -> Any:
    if column.type == TIME:
        return f"{beijing(cell):%Y-%m-%d %H:%M:%S}"
    if cell is None or (column.type == NUMBER and math.isnan(cell)):
        return ""
    return f"'{cell}" if column.type == TEXT and cell[:1] in ("=", "+", "-", "@") else cell


def write(form: str, asked: Asked, out: IO[bytes]) -> None:
    """An export in full into a file. Raises KeyError for a form that is none of FORMS."""
    columns, content = rows(asked)
    if form == "csv":
        out.writelines(as_csv(columns, content))
    else:
        {"xlsx": as_xlsx, "parquet": as_parquet}[form](columns, content, out)


# ── what was asked ────────────────────────────────────────────────────────────────────────────────────────────────────


def moment(text: str, end: bool = False) -> int:
    """UTC epoch seconds of a Beijing day or an ISO time; as an end a day is included. Raises ValueError."""
    when = datetime.fromisoformat(text)
    whole = len(text) == len("2026-03-01")
    return int((when if when.tzinfo else when.replace(tzinfo=BEIJING)).timestamp()) + (86400 if whole and end else 0)
