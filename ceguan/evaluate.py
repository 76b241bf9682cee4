"""`ceguan evaluate …`: judge a CSV file by the standards in force when its rows were measured.

Input is read whole and checked before anything is written; the output replaces its file in one step. The column
contract is in `--help` and docs; a broken cell gives one line with file, line and column and exit code 2.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ceguan.science import air, water
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import WaterLimit, rows
from ceguan.words import BEIJING

MISSING = frozenset({"", "NA", "—"})
NOT_MONITORED = "/"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TIME = re.compile(
    r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})"  # date
    r"(?:[T ]?(\d{1,2})(?::?(\d{2})(?::?(\d{2})(?:\.\d+)?)?)?)?"  # time of day
    r"(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
WATERBODY = {"river": "river", "lake": "lake", "either": "either", "": "either", "河流": "river", "湖库": "lake"}
WATER_COLUMNS = {"ph": "ph", "do_mgL": "do", "codmn_mgL": "codmn", "nh3n_mgL": "nh3n", "tp_mgL": "tp"}


class BadInput(Exception):
    """What is wrong with the input, with file, line and column; shown as one line."""


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file in memory: rows by column name, and the line each row begins on."""

    file: str
    columns: dict[str, int]
    cells: list[list[str]]
    lines: list[int]

    def text(self, column: str) -> list[str]:
        place = self.columns[column]
        return [row[place] for row in self.cells]

    def fault(self, row: int, column: str, says: str) -> BadInput:
        return BadInput(f"{self.file}：第 {self.lines[row]} 行，列 {column}：{says}")

    def parse(self, column: str, read: Callable[[str], Any], says: str) -> list[Any]:
        """Each cell of a column through `read`; a ValueError becomes BadInput with the place."""
        out = []
        for row, cell in enumerate(self.text(column)):
            try:
                out.append(read(cell.strip()))
            except ValueError as error:
                raise self.fault(row, column, f"{cell!r} {says}") from error
        return out

    def numbers(self, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array(self.parse(column, number, "不是数 (not a number)"), np.float64)


def number(cell: str) -> float:
    """A cell as a number; NaN for missing, not monitored or negative. Raises ValueError."""
    if cell in MISSING or cell == NOT_MONITORED:
        return np.nan
    if not NUMBER.fullmatch(cell):
        raise ValueError(cell)
    value = float(cell)
    return value if value >= 0 else np.nan


def moment(cell: str) -> datetime:
    """A Beijing time label such as 2026-03-10T14:00, 2026/3/10 24:00 or 2026031014. Raises ValueError."""
    match = TIME.fullmatch(cell)
    if match is None:
        raise ValueError(cell)
    year, _, month, day, hour, minute, second, offset = match.groups()
    midnight = datetime(int(year), int(month), int(day), tzinfo=_zone(offset))
    h, m, s = int(hour or 0), int(minute or 0), int(second or 0)
    if not (h < 24 and m < 60 and s < 60) and (h, m, s) != (24, 0, 0):
        raise ValueError(cell)
    return (midnight + timedelta(hours=h, minutes=m, seconds=s)).astimezone(BEIJING)


def _zone(offset: str | None) -> Any:
    return BEIJING if offset is None else datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo


# ---- reading and writing


def read_table(path: str, needed: Sequence[str]) -> Table:
    """A CSV file (UTF-8 with or without BOM, or GBK; "-" = standard input). Raises BadInput."""
    name = "标准输入" if path == "-" else path
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{name}：无法读取 (cannot be read)：{error.strerror}") from error
    table = _table(name, _decode(name, data))
    absent = [column for column in needed if column not in table.columns]
    if absent:
        raise BadInput(f"{name}：第 1 行：缺少列 (missing columns) {'、'.join(absent)}")
    return table


def _decode(name: str, data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
    raise BadInput(f"{name}：第 {line} 行：既不是 UTF-8 也不是 GBK 文本 (neither UTF-8 nor GBK)")


def _table(name: str, text: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    cells: list[list[str]] = []
    lines: list[int] = []
    header: list[str] = []
    before = 0
    try:
        for row in reader:
            line, before = before + 1, reader.line_num
            if not row:
                continue
            if not header:
                header = _header(name, line, row)
                continue
            cells.append(_row(name, line, row, header))
            lines.append(line)
    except csv.Error as error:
        raise BadInput(f"{name}：第 {reader.line_num} 行：不是 CSV 格式 (not CSV)：{error}") from error
    if not header:
        raise BadInput(f"{name}：第 1 行：文件是空的，没有表头 (empty file)")
    return Table(name, {column: i for i, column in enumerate(header)}, cells, lines)


def _header(name: str, line: int, row: list[str]) -> list[str]:
    header = [cell.strip() for cell in row]
    twice = {column for column in header if column and header.count(column) > 1}
    if twice:
        raise BadInput(f"{name}：第 {line} 行：列名重复 (column named twice)：{'、'.join(sorted(twice))}")
    return header


def _row(name: str, line: int, row: list[str], header: list[str]) -> list[str]:
    if len(row) < len(header):
        raise BadInput(f"{name}：第 {line} 行，列 {header[len(row)]}：缺少这一格 (cell missing)")
    if any(cell.strip() for cell in row[len(header) :]):
        raise BadInput(f"{name}：第 {line} 行，第 {len(header) + 1} 格：多于表头的列数 (more cells than columns)")
    return row


def write_table(path: str | None, header: Sequence[str], table: Iterable[Sequence[str]]) -> None:
    """CSV to standard output, or to a file that appears whole or not at all. Raises BadInput."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    data = out.getvalue().encode()
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        _replace(Path(path), data)
    except OSError as error:
        raise BadInput(f"{path}：无法写入 (cannot be written)：{error.strerror}") from error


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


# ---- the verbs


def air_hourly(args: argparse.Namespace) -> int:
    items = [item.column for item in air.HOURLY]
    table = read_table(args.input, ["time", "station", *items])
    labels = table.parse("time", moment, "不是时间 (not a time)")
    columns = {item: table.numbers(item) for item in items}
    apart = {item: np.array([c.strip() == NOT_MONITORED for c in table.text(item)], np.bool_) for item in items}
    begun = np.array([int(label.timestamp()) - 3600 for label in labels], np.int64)  # the label is the end of the hour
    result = air.hourly_aqi(columns, air.edition_at(begun), apart, args.platform_quirks)
    header = ("time", "station", "aqi", "level", "primary", "edition", "reason")
    given = zip(table.text("time"), table.text("station"), strict=True)
    write_table(args.output, header, ((*g, *_air_row(result, i)) for i, g in enumerate(given)))
    return 0


def _air_row(result: air.AqiColumns, row: int) -> tuple[str, ...]:
    edition = air.editions()[result.edition[row]] if result.edition[row] >= 0 else ""
    why = result.explain(row).zh
    if result.aqi[row] == air.NA:
        return "NA", "NA", "NA", edition, why
    level = air.class_of(edition, int(result.level[row])).zh
    return str(result.aqi[row]), level, ",".join(air.names(int(result.primary[row]))), edition, why


def surface_water(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "section", *WATER_COLUMNS])
    kind = next((c for c in ("waterbody", "waterbody_inferred") if c in table.columns), None)
    if kind is None:
        raise BadInput(f"{table.file}：第 1 行：缺少列 (missing column) waterbody")
    labels = table.parse("time", moment, "不是时间 (not a time)")
    body = np.array(table.parse(kind, _waterbody, "不是 river、lake 或 either"), dtype="U8")
    columns = {item: table.numbers(column) for column, item in WATER_COLUMNS.items()}
    verdicts = _water_rows([label.date() for label in labels], columns, body)
    header = ("time", "section", "class", "worst_items", "edition", "reason")
    given = zip(table.text("time"), table.text("section"), strict=True)
    write_table(args.output, header, ((*g, *v) for g, v in zip(given, verdicts, strict=True)))
    return 0


def _waterbody(cell: str) -> str:
    if cell not in WATERBODY:
        raise ValueError(cell)
    return WATERBODY[cell]


def _water_rows(days: list[date], columns: dict[str, Any], body: Any) -> list[tuple[str, ...]]:
    """class, worst_items, edition, reason of each row, judged by the edition in force on its day."""
    out: list[tuple[str, ...]] = [("NA", "NA", "", say(Reason.NO_EDITION).zh)] * len(days)
    for row in {r.standard: r for r in rows(WaterLimit)}.values():
        here = np.flatnonzero([row.in_force(day) for day in days])
        if len(here) == 0:
            continue
        found = water.surface_water({k: v[here] for k, v in columns.items()}, body[here], days[here[0]])
        for i, place in enumerate(here):
            klass = water.CLASSES[found.klass[i]]
            worst = "NA" if klass == "NA" else ",".join(found.worst_items(i))
            out[place] = (klass, worst, row.standard, found.explain(i).zh)
    return out


def _guarded(verb: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        try:
            return verb(args)
        except BadInput as error:
            print(error, file=sys.stderr)
            return 2

    return run


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` and its verbs; each sets `run`."""
    top = subparsers.add_parser("evaluate", help="按标准评价一个 CSV 文件", add_help=False)
    top.add_argument("-h", "--help", action="help", help="显示帮助")
    verbs = top.add_subparsers(title="评价", metavar="评价项目", required=True)
    hourly = _verb(
        verbs,
        "air-hourly",
        air_hourly,
        "环境空气质量指数（小时），HJ 633-2012 / HJ 633-2026，按测量时刻选用",
        "列：time, station, so2_1h, no2_1h, co_1h, o3_1h, pm10_1h, pm25_1h（其余列不理会）。"
        "time 为北京时间，取该小时的结束时刻；µg/m³，CO 为 mg/m³；空、NA、— 或负值为缺测，/ 为按计划不监测。",
    )
    hourly.add_argument("--platform-quirks", action="store_true", help="照国家平台的做法（缺 PM10 也发布）")
    _verb(
        verbs,
        "surface-water",
        surface_water,
        "地表水水质类别（单因子），GB 3838-2002",
        "列：time, section, ph, do_mgL, codmn_mgL, nh3n_mgL, tp_mgL 和 waterbody 或 waterbody_inferred"
        "（river、lake、either）。空、NA、— 或负值为缺测。",
    )


def _verb(
    verbs: Any, name: str, verb: Callable[[argparse.Namespace], int], title: str, columns: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=title, description=title, epilog=columns, add_help=False
    )
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    parser.add_argument("input", metavar="文件", help="CSV（UTF-8 或 GBK），- 为标准输入")
    parser.add_argument("-o", "--output", metavar="文件", help="写入文件（默认写到标准输出）")
    parser.set_defaults(run=_guarded(verb))
    return parser
