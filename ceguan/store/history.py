"""Sealed history as files: one Parquet file per month (Beijing), block of series and generation, sorted (series, kind,
ts, ver), zstd.

A file is never changed. Which files are in force says the ledger's manifest; a file not listed is left from a crash.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceguan.store import columns, layout
from ceguan.store.lake import Lake
from ceguan.words import BEIJING, READING_COLUMNS, beijing

ROW_GROUP = 128 * 1024
KEY = READING_COLUMNS[:4]
VALUES = columns.schema("series ts value")
"""What a matrix is made of."""
_local = threading.local()


def month_of(ts: float) -> str:
    """The Beijing month of a moment, e.g. "2026-03"."""
    return beijing(ts).strftime("%Y-%m")


def month_span(month: str) -> tuple[int, int]:
    """[from, to) of a Beijing month in UTC epoch seconds. Raises ValueError unless it reads like "2026-03"."""
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=BEIJING)
    following = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return int(begin.timestamp()), int(following.timestamp())


def months(start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each Beijing month that [start, end) touches, and the part of it that lies within."""
    at = start
    while at < end:
        month = month_of(at)
        until = min(month_span(month)[1], end)
        yield month, at, until
        at = until


def file_name(month: str, part: int, generation: int) -> str:
    """`part`: the first series of the block; the block that begins at 0, mostly the only one, is not named."""
    return f"{month}{f'.s{part}' if part else ''}.g{generation:03d}.parquet"


def write(lake: Lake, name: str, readings: Iterable[pa.RecordBatch]) -> Path:
    """Write a file in full and on disk before it gets its name. Returns where it lies on this machine.

    Raises OSError, leaving nothing.
    """
    folder = Path(lake.folder)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{name}.tmp"
    try:
        _write_unfinished(unfinished, readings)
        lake.add(name, unfinished)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return folder / name


def _write_unfinished(path: Path, readings: Iterable[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(path, layout.SCHEMA, **layout.WRITING) as out:
        for group in _row_groups(readings):
            out.write_batch(layout.pack(group), row_group_size=ROW_GROUP)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _row_groups(readings: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, `ROW_GROUP` at a time."""
    held, count = list[pa.RecordBatch](), 0
    for batch in readings:
        while count + batch.num_rows >= ROW_GROUP:
            yield pa.concat_batches([*held, batch.slice(0, ROW_GROUP - count)])
            batch = batch.slice(ROW_GROUP - count)
            held, count = [], 0
        held.append(batch)
        count += batch.num_rows
    if count:
        yield pa.concat_batches(held)


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(
    lake: Lake,
    files: Sequence[str],
    series: Sequence[int] | None,
    kind: int | None,
    start: int,
    end: int,
    recv: float | None = None,
    without: Sequence[int] = (),
) -> pa.Table:
    """Readings of sealed files in [start, end), sorted (series, kind, ts, ver), as READING_SCHEMA.

    `series` or `kind` None = all; `recv` = only what had been received by then, `without` these frames.
    """
    if not files:
        return columns.READING_SCHEMA.empty_table()
    ends = (min(series, default=0), max(series, default=0)) if series is not None else None
    source = Source(lake, files, series=ends, kind=None if kind is None else (kind, kind), ts=(start, end - 1))
    conditions = ["ts >= ? AND ts < ?"]
    arguments: list[Any] = [start, end]
    if kind is not None:
        conditions.append("kind = ?")
        arguments.append(kind)
    then, limits = _then(recv, without)
    conditions[0] += then
    arguments[2:2] = limits
    if series is not None:
        conditions += ["series >= ? AND series <= ?", "series IN (SELECT unnest(?))"]
        arguments += [*ends, list(series)] if ends else []
        if len(set(series)) == 1:  # the range above says it all, and prunes row groups
            conditions.pop()
            arguments.pop()
    with source as rows:
        sql = f"""SELECT {", ".join(READING_COLUMNS)} FROM {rows} WHERE {" AND ".join(conditions)}
                  ORDER BY series, kind, ts, ver"""
        return columns.absent_as_nan(_readings(sql, arguments))


def values(
    lake: Lake,
    files: Sequence[str],
    series: NDArray[np.int64],
    kind: int,
    start: int,
    end: int,
    recv: float | None = None,
    without: Sequence[int] = (),
) -> pa.Table:
    """(series, ts, value) of many series in sealed files, as VALUES, sorted (series, ts, ver) within each file."""
    if not files or not len(series):
        return VALUES.empty_table()
    then, more = _then(recv, without)
    parts = []
    for file in files:  # each is sorted already: nothing is sorted again
        source = Source(lake, [file], series=(series[0], series[-1]), kind=(kind, kind), ts=(start, end - 1))
        with source as rows:
            sql = f"""SELECT series, ts, value FROM {rows}
                      WHERE series BETWEEN ? AND ? AND kind = ? AND ts >= ? AND ts < ?{then}"""
            limits = [int(series[0]), int(series[-1]), kind, start, end, *more]
            found = duck().sql(sql, params=limits).to_arrow_table()
        have = found["series"].to_numpy()
        if int(series[-1]) - int(series[0]) >= len(series):  # not every series in between was asked for
            found = found.filter(pa.array(np.isin(have, series)))
        parts.append(columns.absent_as_nan(found.cast(VALUES)))
    return pa.concat_tables(parts)


def _then(recv: float | None, without: Sequence[int]) -> tuple[str, list[Any]]:
    """Further conditions for what was known at a moment, and their arguments."""
    if recv is None:
        return "", []
    return (
        (" AND recv <= ? AND frame NOT IN (SELECT unnest(?))", [recv, list(without)])
        if without
        else (" AND recv <= ?", [recv])
    )


def latest_of(
    lake: Lake, file: str, keys: Sequence[tuple[int, int]], recv: float | None, without: Sequence[int] = ()
) -> pa.Table:
    """The newest reading of each (series, kind) in a sealed file that was known then, see `scan`; in no order."""
    then, limits = _then(recv, without)
    series, kind = zip(*keys, strict=True)
    connection = duck()
    connection.register("wanted", pa.table({"series": series, "kind": kind}))
    try:
        with Source(lake, [file], series=(min(series), max(series)), kind=(min(kind), max(kind))) as rows:
            sql = f"""SELECT {", ".join("found." + name for name in READING_COLUMNS)} FROM (
                         SELECT arg_max(r, ts * 65536 + ver) AS found
                         FROM {rows} r SEMI JOIN wanted USING (series, kind)
                         WHERE series BETWEEN ? AND ?{then} GROUP BY series, kind)"""
            return columns.absent_as_nan(_readings(sql, [min(series), max(series), *limits]))
    finally:
        connection.unregister("wanted")


class Source:
    """Sealed files as something SQL can select from: what lies here by its path, of what lies afar the row groups
    that can hold something of these ranges (both ends included; None = all)."""

    def __init__(self, lake: Lake, files: Sequence[str], **ends: tuple[Any, Any] | None) -> None:
        self._paths, self._afar = lake.split(files)
        self._lake, self._ends = lake, ends

    def __enter__(self) -> str:
        parts = []
        alike: dict[layout.Form, list[str]] = {}
        for path in self._paths:
            alike.setdefault(layout.form_of(path), []).append("'" + str(path).replace("'", "''") + "'")
        for form, listed in alike.items():
            parts.append(f"SELECT {form.select(READING_COLUMNS)} FROM read_parquet([{', '.join(listed)}])")
        if self._afar:
            found = [g for name in self._afar for g in groups(self._lake, name, READING_COLUMNS, **self._ends)]
            shape = columns.READING_SCHEMA
            duck().register("afar", pa.concat_tables([shape.empty_table(), *(group.cast(shape) for group in found)]))
            parts.append(f"SELECT {', '.join(READING_COLUMNS)} FROM afar")
        return f"({' UNION ALL '.join(parts)})"

    def __exit__(self, *_: object) -> None:
        if self._afar:
            duck().unregister("afar")


def groups(lake: Lake, file: str, names: Sequence[str], **ends: tuple[Any, Any] | None) -> Iterator[pa.Table]:
    """These columns of readings, row group by row group, of those groups of a file that can hold something of these
    ranges (both ends included; None = all)."""
    with lake.open(file) as opened:
        for number in range(opened.num_row_groups):
            if _may_hold(opened.metadata.row_group(number), ends):
                form = layout.form(opened.metadata, [number])
                yield form.unpack(opened.read_row_group(number, form.needs(names), use_threads=False), names)


def _may_hold(group: Any, ends: Mapping[str, tuple[Any, Any] | None]) -> bool:
    """By the statistics of a row group."""
    for at in range(group.num_columns):
        column = group.column(at)
        wanted, known = ends.get(column.path_in_schema), column.statistics
        if wanted and known is not None and known.has_min_max and (known.max < wanted[0] or known.min > wanted[1]):
            return False
    return True


def duck() -> duckdb.DuckDBPyConnection:
    """This thread's in-memory DuckDB (a forked child gets its own)."""
    if getattr(_local, "owner", None) != os.getpid():
        _local.duck = duckdb.connect(":memory:", config={"threads": max(2, (os.cpu_count() or 2) // 2)})
        _local.duck.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
        _local.owner = os.getpid()
    connection: duckdb.DuckDBPyConnection = _local.duck
    return connection


def merged(lake: Lake, file: str, late: pa.Table) -> Iterator[pa.RecordBatch]:
    """A sealed file and readings that came after it (in the order of a file, absent numbers NULL), in that order.

    One row group at a time: a file may be larger than the memory.
    """
    for group in groups(lake, file, READING_COLUMNS):
        rows = group.cast(columns.READING_SCHEMA)
        before = _count_until(late, rows.slice(rows.num_rows - 1))
        if before:
            both = pa.concat_tables([rows, late.slice(0, before)])
            rows, late = both.sort_by([(name, "ascending") for name in KEY]), late.slice(before)
        yield from rows.combine_chunks().to_batches()
    yield from late.to_batches()


def _count_until(late: pa.Table, last: pa.Table) -> int:
    """How many of the rows do not lie behind this one."""
    behind, same = np.zeros(late.num_rows, bool), np.ones(late.num_rows, bool)
    for name in KEY:
        mine, limit = late[name].to_numpy(), last[name][0].as_py()
        behind |= same & (mine > limit)
        same &= mine == limit
    return int(np.count_nonzero(~behind))


def _readings(sql: str, arguments: list[Any]) -> pa.Table:
    found: pa.Table = duck().sql(sql, params=arguments).to_arrow_table()
    return found.cast(columns.READING_SCHEMA)


def row_count(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
