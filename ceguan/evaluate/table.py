"""The tables that verbs read and write: CSV in any usual encoding or Parquet, from a file or standard input.

Input is read whole and checked before anything is written; output replaces its file in one step. A broken cell is
`BadInput`: one line with file, line and column.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ceguan.words import BEIJING

MISSING = frozenset({"", "NA", "—", "NaN", "nan"})  # NaN: what other programs write for no number
NOT_MONITORED = "/"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TIME = re.compile(
    r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})"  # date
    r"(?:[T ]?(\d{1,2})(?::?(\d{2})(?::?(\d{2})(?:\.\d+)?)?)?)?"  # time of day
    r"(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)


class BadInput(Exception):
    """What is wrong with the input, with file, line and column; shown as one line."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table in memory: rows by column name, and the line each row begins on."""

    file: str
    columns: dict[str, int]
    cells: list[list[str]]
    lines: list[int]

    def text(self, column: str) -> list[str]:
        place = self.columns[column]
        return [row[place] for row in self.cells]

    def require(self, needed: Sequence[str]) -> None:
        """BadInput unless every one of these columns is there."""
        absent = [column for column in needed if column not in self.columns]
        if absent:
            raise BadInput(f"{self.file}：第 1 行：缺少列 (missing columns) {'、'.join(absent)}")

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
    if np.isinf(value):  # more digits than a number can hold
        raise ValueError(cell)
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
    try:
        return (midnight + timedelta(hours=h, minutes=m, seconds=s)).astimezone(BEIJING)
    except OverflowError as error:  # the edge of the calendar
        raise ValueError(cell) from error


def _zone(offset: str | None) -> Any:
    return BEIJING if offset is None else datetime.fromisoformat(f"2000-01-01T00:00{offset}").tzinfo


# ---- reading and writing


PARQUET = b"PAR1"


def read_table(path: str, needed: Sequence[str]) -> Table:
    """CSV (UTF-8 with or without BOM, or GBK) or Parquet, told apart by the first bytes; "-" is standard input.

    Raises BadInput. A row of a Parquet file counts as the line it would be on under a heading.
    """
    name = "标准输入" if path == "-" else path
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{name}：无法读取 (cannot be read)：{error.strerror}") from error
    table = _parquet(name, data) if data.startswith(PARQUET) else _table(name, _decode(name, data))
    table.require(needed)
    return table


def _parquet(name: str, data: bytes) -> Table:
    try:
        content = pq.read_table(pa.BufferReader(data))
        columns = [content[column].cast(pa.string()).fill_null("").to_pylist() for column in content.column_names]
    except pa.ArrowException as error:
        raise BadInput(f"{name}：不是可读的 Parquet (not readable as Parquet)：{error}") from error
    cells = [list(row) for row in zip(*columns, strict=True)]
    header = _header(name, 1, content.column_names)
    return Table(name, {column: i for i, column in enumerate(header)}, cells, list(range(2, len(cells) + 2)))


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
            if not any(cell.strip() for cell in row):  # what a spreadsheet leaves under its last row
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


def write_table(
    path: str | None, header: Sequence[str], table: Iterable[Sequence[str]], numbers: Collection[str] = ()
) -> None:
    """CSV to standard output, or to a file that appears whole or not at all. Raises BadInput.

    A file named *.parquet becomes Parquet: the columns `numbers` float64 (NA and empty are null), the rest text.
    """
    parquet = path is not None and path.lower().endswith(".parquet")
    data = _as_parquet(header, table, numbers) if parquet else _as_csv(header, table)
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        _replace(Path(path), data)
    except OSError as error:
        raise BadInput(f"{path}：无法写入 (cannot be written)：{error.strerror}") from error


def _as_csv(header: Sequence[str], table: Iterable[Sequence[str]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    return out.getvalue().encode()


def _as_parquet(header: Sequence[str], table: Iterable[Sequence[str]], numbers: Collection[str]) -> bytes:
    columns = list(zip(*table, strict=True)) or [()] * len(header)
    arrays = [
        pa.array([float(c) if c not in MISSING else None for c in column], pa.float64())
        if name in numbers
        else pa.array(column, pa.string())
        for name, column in zip(header, columns, strict=True)
    ]
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(arrays, names=list(header)), out, compression="zstd")
    return out.getvalue().to_pybytes()


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
