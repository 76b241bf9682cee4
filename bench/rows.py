"""The same work by plain databases: values written straight as rows, acknowledged after COMMIT; neither network nor
decoding nor evidence. SQLite (WAL, synchronous=FULL) and PostgreSQL (its fsync on), one transaction a group."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

GROUP = 2000
"""Values of 200 frames of ten factors."""
TABLE = """CREATE TABLE obs (series INTEGER, kind INTEGER, ts INTEGER, value REAL, flag TEXT, recv REAL,
           PRIMARY KEY (series, kind, ts))"""
NEWEST = "SELECT value FROM obs WHERE series = s.id AND kind = 0 ORDER BY ts DESC LIMIT 1"
MONTH = "SELECT ts, value, flag FROM obs WHERE series = {} AND kind = 1 ORDER BY ts"
Row = tuple[int, int, int, float, str, float]


class Rows:
    """What is read in the same words from both."""

    _db: Any

    def latest(self) -> int:
        return len(self._db.execute(f"SELECT id, ({NEWEST}) FROM s").fetchall())

    def month(self, series: int) -> int:
        return len(self._db.execute(MONTH.format(series)).fetchall())

    def close(self) -> None:
        self._db.close()


class Sqlite(Rows):
    name = "SQLite only"

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "plain.db", isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "cache_size = -200000", "wal_autocheckpoint = 4000"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(f"{TABLE} WITHOUT ROWID")
        self._db.execute("CREATE TABLE s (id INTEGER PRIMARY KEY)")

    def series(self, count: int) -> None:
        self._db.executemany("INSERT INTO s VALUES (?)", [(n,) for n in range(count)])

    def write(self, rows: list[Row]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO obs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", rows
        )
        self._db.execute("COMMIT")


class Postgres(Rows):
    name = "PostgreSQL only"

    def __init__(self) -> None:
        import psycopg

        from tests.postgres import Server

        self._server = Server(fsync=True)
        self._db = psycopg.connect(self._server.new_database(), autocommit=True)
        table = TABLE.replace("INTEGER", "BIGINT").replace("REAL", "DOUBLE PRECISION")
        for sql in (table, "CREATE TABLE s (id BIGINT PRIMARY KEY)", table.replace("TABLE obs", "TEMP TABLE fresh")):
            self._db.execute(sql)

    def series(self, count: int) -> None:
        self._db.execute("INSERT INTO s SELECT * FROM generate_series(0, %s)", (count - 1,))

    def write(self, rows: list[Row]) -> None:
        with self._db.transaction(), self._db.cursor() as cursor:
            with cursor.copy("COPY fresh FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(
                """INSERT INTO obs SELECT * FROM fresh
                   ON CONFLICT (series, kind, ts) DO UPDATE SET value = excluded.value"""
            )
            cursor.execute("TRUNCATE fresh")


def measure(database: Sqlite | Postgres, count: int, most: float) -> dict[str, Any]:
    """Values per second of groups for at most so many seconds; the latest of all `count` series [s]; twenty
    series-months of 4,464 readings [s] read between groups."""
    database.series(count)
    for n in range(20):
        database.write([(n, 1, ts * 600, ts * 0.1, "N", ts * 600.0) for ts in range(4464)])
    made, months = groups(count), []
    written, busy = 0, 0.0
    while busy < most:
        rows = next(made)
        busy += _timed(partial(database.write, rows))
        written += len(rows)
        if len(months) < 60 and written >= count:
            months.append(_timed(partial(database.month, len(months) % 20)))
    latest = [_timed(database.latest) for _ in range(7)]
    database.close()
    return {"values_per_s": written / busy, "latest": latest, "month": months, "values": written}


def groups(count: int) -> Iterator[list[Row]]:
    """One value every half minute of every series, 2,000 values a group."""
    ts = 1_772_294_400
    while True:
        for first in range(0, count, GROUP):
            yield [(n, 0, ts, n * 0.37, "N", ts + 1.0) for n in range(first, min(first + GROUP, count))]
        ts += 30


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
