"""Files of measurements → lines of text, whoever made them: CSV in any usual encoding, xlsx, known wide formats.

Nothing is judged here; what a column is called is the table columns.csv, what a wide format means is wide.csv.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import orjson

COLUMNS = {"station": "点位", "time": "时间", "factor": "因子", "value": "值", "unit": "单位", "flag": "设备标记"}
OPTIONAL = {"flag"}
OLD_EXCEL = b"\xd0\xcf\x11\xe0"
ZIP = b"PK\x03\x04"

NATIONAL = {"station": "断面名称", "time": "监测时间", "flag": "站点情况"}
"""Columns of the national surface-water publication that are no factor (those between are in wide.csv)."""
NATIONAL_ORDER = ("省份", "流域", "断面名称", "监测时间", "水质类别")
_TAG = re.compile(r"<[^>]*>")
_RAW = re.compile(r"原始值[：:]\s*([^\s'\"<，,]+)")
_UNIT = re.compile(r"(.*?)[(（]([^)）]*)[)）]")
_SAMPLED = re.compile(r"(?:(\d{4})[-/年])?(\d{1,2})[-/月](\d{1,2})日?[ T]+(\d{1,2})[:时](\d{1,2})分?(?::\d{2})?")
_DATED = re.compile(r"(20\d\d)[-_.年]?(0[1-9]|1[0-2])(?:[-_.月]?(0[1-9]|[12]\d|3[01]))?(?!\d)")


class Unreadable(ValueError):
    """The file as a whole cannot be read; the message says where and what would be valid."""


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement as text. `number`: line in the file, the heading is 1. `label`: end or start, "" = as told.

    `file` is its name where an import reads several; `fault` what the reader found wrong with the line.
    """

    number: int
    station: str
    time: str
    factor: str
    value: str
    unit: str
    flag: str = ""
    label: str = ""
    file: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Wide:
    """A row of wide.csv: what a column of a known format holds, and which end of the hour its time label names."""

    format: str
    heading: str
    factor: str
    unit: str
    label: str
    trust: str
    source: str


def table(name: str) -> list[dict[str, str]]:
    """The rows of a table of this room."""
    return list(csv.DictReader(resources.files(__package__).joinpath(name).read_text("utf-8").splitlines()))


@cache
def wide(format_: str) -> tuple[Wide, ...]:
    """The columns of a wide format."""
    return tuple(Wide(**row) for row in table("wide.csv") if row["format"] == format_)


@cache
def headings() -> dict[str, tuple[str, ...]]:
    """The names of each column, the one to prefer first."""
    rows = table("columns.csv")
    return {column: tuple(row["heading"] for row in rows if row["column"] == column) for column in COLUMNS}


def readings(path: Path) -> list[Line]:
    """Lines of a long table: one measurement per line. Raises Unreadable; OSError when there is no such file."""
    rows = _rows(path)
    _, heading = next(rows, (0, []))
    at = _places(path, heading)
    cells = ((number, {name: row[i].strip() if i < len(row) else "" for name, i in at.items()}) for number, row in rows)
    return [Line(number, **found) for number, found in cells if any(found.values())]


def uci(path: Path, station: str) -> list[Line]:
    """The Beijing multi-site sample: year, month, day, hour and a column for each pollutant; NA = missing.

    One line for each pollutant of wide.csv, all of them at `station`; weather columns are left. Raises as `readings`.
    """
    rows = _rows(path)
    _, heading = next(rows, (0, []))
    at = {name.strip(): i for i, name in enumerate(heading)}
    wanted = ["year", "month", "day", "hour", *(one.heading for one in wide("uci"))]
    if absent := [name for name in wanted if name not in at]:
        raise Unreadable(f"{path}：缺少列 {'、'.join(absent)}")
    found = []
    for number, row in rows:
        if len(row) < len(heading):
            raise Unreadable(f"{path} 第 {number} 行：应有 {len(heading)} 列，只有 {len(row)} 列")
        year, month, day, hour = (row[at[name]].strip() for name in wanted[:4])
        time = f"{year}-{month}-{day} {hour}:00"
        found += [
            Line(number, station, time, one.factor, row[at[one.heading]].strip(), one.unit, label=one.label)
            for one in wide("uci")
        ]
    return found


def national_water(path: Path, year: int | None = None) -> list[Line]:
    """The national automatic surface-water stations: daily JSON (`thead`, `tbody` of HTML cells) or a CSV of the same
    columns; the raw value of a cell counts, not the rounded one shown. `number` counts the records of a JSON from 1.

    Times have no year ("05-08 04:00"): it is `year`, or the one in the names of file and folder. A sample a few
    minutes past the hour belongs to the hour it lies in. Raises Unreadable; OSError when there is no such file.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _rows(path)
    _, heading = next(rows, (0, []))
    told = [_headed(name) for name in heading]
    at = {name: told_at for told_at, (name, _) in reversed(list(enumerate(told)))}
    if absent := [name for name in (NATIONAL["station"], NATIONAL["time"]) if _folded(name) not in at]:
        raise Unreadable(f"{path} 第 1 行：缺少列 {'、'.join(absent)}")
    near = date(year, 7, 1) if year else _dated(path)
    places = [(one, at[_folded(one.heading)]) for one in wide("water-national") if _folded(one.heading) in at]
    found = []
    for number, row in rows:
        cells = [*row, *[""] * (len(heading) - len(row))]
        station, time, flag = (cells[at[_folded(n)]] if _folded(n) in at else "" for n in NATIONAL.values())
        when = _sample_hour(_plain(time), near)
        found += [
            Line(
                number,
                _plain(station),
                when,
                one.factor,
                _raw(cells[i]),
                told[i][1] or one.unit,
                _plain(flag),
                one.label,
            )
            for one, i in places
        ]
    return found


def _json_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The heading, then each record of `tbody`; without `thead` the columns are those of the publication."""
    try:
        content = orjson.loads(path.read_bytes())
        body = [["" if cell is None else str(cell) for cell in row] for row in content["tbody"]]
        head = [str(cell) for cell in content.get("thead") or ()]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{path}：不是含 tbody 的 JSON（{error}）") from None
    yield 0, head or [*NATIONAL_ORDER, *(one.heading for one in wide("water-national")), NATIONAL["flag"]]
    yield from enumerate(body, 1)


def _headed(name: str) -> tuple[str, str]:
    """Name and unit of a heading such as 溶解氧(mg/L); folded, without tags."""
    plain = _plain(name)
    match = _UNIT.fullmatch(plain)
    return (_folded(match[1]), match[2].strip()) if match else (_folded(plain), "")


def _plain(cell: str) -> str:
    return _TAG.sub("", cell).replace("&nbsp;", " ").strip()


def _raw(cell: str) -> str:
    """The unrounded value in the cell's title, else its text; "*" is the platform's sign for nothing."""
    match = _RAW.search(cell)
    text = match[1] if match else _plain(cell)
    return "" if text == "*" else text


def _dated(path: Path) -> date | None:
    """The date in the name of the file, or else of its folder; the middle of the month without a day."""
    for name in (path.stem, path.parent.name):
        match = _DATED.search(name)
        if match:
            try:
                return date(int(match[1]), int(match[2]), int(match[3] or 15))
            except ValueError:
                continue
    return None


def _sample_hour(time: str, near: date | None) -> str:
    """The hour a sample lies in; without a year, in the year that brings it nearest to `near`. Else as it is."""
    match = _SAMPLED.fullmatch(time)
    if match is None:
        return time
    month, day, hour = (int(part) for part in match.groups()[1:4])
    if match[1]:
        year = int(match[1])
    elif near:
        year = near.year + (month - near.month < -6) - (month - near.month > 6)
    else:
        return f"{time}（文件名里没有年份，用 --year 指定）"
    return f"{year}-{month:02d}-{day:02d} {hour:02d}:00"


def _places(path: Path, heading: Sequence[str]) -> dict[str, int]:
    """Column → its place in the file, by the first of its names that is there."""
    given = {_folded(name): i for i, name in reversed(list(enumerate(heading)))}
    found = {
        column: next((given[_folded(name)] for name in names if _folded(name) in given), None)
        for column, names in headings().items()
    }
    absent = [column for column, place in found.items() if place is None and column not in OPTIONAL]
    if absent:
        said = "；".join(f"{COLUMNS[column]}（可写作 {'、'.join(headings()[column])}）" for column in absent)
        raise Unreadable(f"{path} 第 1 行：缺少列 {said}")
    return {column: place for column, place in found.items() if place is not None}


def _folded(name: str) -> str:
    return name.strip().casefold()


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    content = path.read_bytes()
    if content.startswith(OLD_EXCEL):
        raise Unreadable(f"{path}：是旧式 .xls，请另存为 .xlsx 或 CSV")
    return _xlsx(path, content) if content.startswith(ZIP) else csv_rows(path, content)


def csv_rows(path: Path, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row of a CSV in any usual encoding, comma, tab or semicolon. Raises Unreadable."""
    text = decoded(path, content)
    first = text.partition("\n")[0]
    delimiter = max(",\t;", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise Unreadable(f"{path} 第 {reader.line_num} 行：不是 CSV（{error}）") from None


def decoded(path: Path, content: bytes) -> str:
    """UTF-8 with or without mark, UTF-16 with mark, else GB 18030 (which holds GBK)."""
    encodings = ["utf-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8-sig", "gb18030"]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
    raise Unreadable(f"{path} 第 {line} 行：文字编码既不是 UTF-8 也不是 GBK/GB 18030")


def _xlsx(path: Path, content: bytes) -> Iterator[tuple[int, list[str]]]:
    """The rows of the first sheet."""
    from openpyxl import load_workbook

    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        for number, row in enumerate(book.worksheets[0].iter_rows(), 1):
            yield number, [_cell(cell) for cell in row]
    except (zipfile.BadZipFile, KeyError, ValueError, IndexError) as error:
        raise Unreadable(f"{path}：不是可读的 xlsx（{error}）") from None


def _cell(cell: Any) -> str:
    """As a person reads it: a moment without a clock in its format is a day, a number has 15 digits."""
    content = cell.value
    if isinstance(content, datetime):
        clocked = "h" in str(cell.number_format).lower() or content.time() != datetime.min.time()
        return content.strftime("%Y-%m-%d %H:%M:%S" if clocked else "%Y-%m-%d")
    if isinstance(content, float):
        return f"{content:.15g}"
    return "" if content is None else str(content)
