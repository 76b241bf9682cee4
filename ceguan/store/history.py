"""Sealed history as files: one Parquet file per month (Beijing) and generation, sorted (series, kind, ts, ver), zstd.

A file is never changed. Which files are in force says the ledger's manifest; a file not listed is left from a crash.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ceguan.store import columns
from ceguan.store.archive import sync_folder
from ceguan.words import BEIJING, READING_COLUMNS, beijing

ROW_GROUP = 128 * 1024
_local = threading.local()


def month_of(ts: float) -> str:
    """The Beijing month of a moment, e.g. "2026-03"."""
    return beijing(ts).strftime("%Y-%m")


def month_span(month: str) -> tuple[int, int]:
    """[from, to) of a Beijing month in UTC epoch seconds. Raises ValueError unless it reads like "2026-03"."""
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=BEIJING)
    following = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return int(begin.timestamp()), int(following.timestamp())


def file_name(month: str, generation: int) -> str:
    return f"{month}.g{generation:03d}.parquet"


def write(folder: Path, name: str, readings: pa.RecordBatchReader) -> Path:
    """Write a file in full and on disk before it gets its name. Returns its path; raises OSError, leaving nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    unfinished, path = folder / f"{name}.tmp", folder / name
    try:
        _write_unfinished(unfinished, readings)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    os.replace(unfinished, path)
    sync_folder(folder)
    return path


def _write_unfinished(path: Path, readings: pa.RecordBatchReader) -> None:
    with pq.ParquetWriter(path, columns.READING_SCHEMA, compression="zstd", compression_level=6) as out:
        for batch in readings:
            out.write_batch(batch, row_group_size=ROW_GROUP)
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(
    files: Sequence[Path],
    series: Sequence[int] | None,
    kind: int | None,
    start: int,
    end: int,
    recv: float | None = None,
) -> pa.Table:
    """Readings of sealed files in [start, end), sorted (series, kind, ts, ver), as READING_SCHEMA.

    `series` or `kind` None = all; `recv` = only what had been received by then.
    """
    if not files:
        return columns.READING_SCHEMA.empty_table()
    conditions = ["ts >= ? AND ts < ?"]
    arguments: list[Any] = [[str(file) for file in files], start, end]
    if kind is not None:
        conditions.append("kind = ?")
        arguments.append(kind)
    if recv is not None:
        conditions.append("recv <= ?")
        arguments.append(recv)
    if series is not None:
        conditions += ["series >= ? AND series <= ?", "series IN (SELECT unnest(?))"]
        arguments += [min(series, default=0), max(series, default=0), list(series)]
        if len(set(series)) == 1:  # the range above says it all, and prunes row groups
            conditions.pop()
            arguments.pop()
    sql = f"""SELECT {", ".join(READING_COLUMNS)} FROM read_parquet(?) WHERE {" AND ".join(conditions)}
              ORDER BY series, kind, ts, ver"""
    return columns.absent_as_nan(_readings(sql, arguments))


def newest_of(files: Sequence[Path], keys: pa.Table) -> list[tuple[Any, ...]]:
    """The newest sealed version of each key (`series`, `kind`, `ts`) that is sealed at all, as reading rows."""
    if not files:
        return []
    connection = duck()
    connection.register("wanted", keys)
    try:
        return connection.execute(
            f"""SELECT {", ".join(READING_COLUMNS)} FROM read_parquet(?) SEMI JOIN wanted USING (series, kind, ts)
                WHERE series BETWEEN (SELECT min(series) FROM wanted) AND (SELECT max(series) FROM wanted)
                  AND ts BETWEEN (SELECT min(ts) FROM wanted) AND (SELECT max(ts) FROM wanted)
                QUALIFY ver = max(ver) OVER (PARTITION BY series, kind, ts)""",
            [[str(file) for file in files]],
        ).fetchall()
    finally:
        connection.unregister("wanted")


def duck() -> duckdb.DuckDBPyConnection:
    """This thread's in-memory DuckDB (a forked child gets its own)."""
    if getattr(_local, "owner", None) != os.getpid():
        _local.duck = duckdb.connect(":memory:", config={"threads": max(2, (os.cpu_count() or 2) // 2)})
        _local.duck.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
        _local.owner = os.getpid()
    connection: duckdb.DuckDBPyConnection = _local.duck
    return connection


def sorted_union(sealed: Path, late: pa.Table) -> pa.Table:
    """A sealed file and readings that came after it, in the order of a file; absent numbers are NULL."""
    names = ", ".join(READING_COLUMNS)
    sql = f"SELECT {names} FROM read_parquet(?) UNION ALL SELECT {names} FROM late ORDER BY series, kind, ts, ver"
    duck().register("late", late)
    try:
        return _readings(sql, [str(sealed)])
    finally:
        duck().unregister("late")


def _readings(sql: str, arguments: list[Any]) -> pa.Table:
    found: pa.Table = duck().sql(sql, params=arguments).to_arrow_table()
    return found.cast(columns.READING_SCHEMA)


def row_count(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
