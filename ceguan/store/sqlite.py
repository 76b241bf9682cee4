"""The ledger in SQLite: one file, WAL, durable at COMMIT; one writer, any number of readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceguan.store.schema import MIGRATIONS, NEWEST_VERDICT, guards, migrate, wanted_guards
from ceguan.words import READING_COLUMNS

Row = Sequence[Any]
Numbers = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class Connection(sqlite3.Connection):
    """See `database.Database`."""

    path: Path
    _numbers: Any = None  # a `numbers.Reader` once it was wanted
    _together = False  # whether it sees the same state as this connection

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def begin_reading(self, numbers: bool = False) -> None:
        beside = self._beside() if numbers else None
        while beside:
            before = self.commits()
            beside.begin()
            self.execute("BEGIN")
            if self.commits() == before:  # nobody committed between the two: they see the same
                self._together = True
                return
            self.execute("COMMIT")
        self.execute("BEGIN")

    def _beside(self) -> Any:
        """The reader of numbers, or None where SQLite's own interface cannot be reached."""
        if self._numbers is None:
            try:
                from ceguan.store.numbers import Reader  # needs numba: only who reads many series waits for it
            except ImportError:
                return None
            self._numbers = Reader(self.path)
        return self._numbers

    def commit(self) -> None:
        super().commit()
        if self._together:
            self._together = False
            self._numbers.end()

    def close(self) -> None:
        if self._numbers:
            self._numbers.close()
            self._numbers = None
        super().close()

    def commits(self) -> int:
        return int(self.execute("PRAGMA data_version").fetchone()[0])

    def occupied(self) -> dict[str, int]:
        return {}

    def unguarded(self) -> list[str]:
        here = guards(self)
        return sorted(name for name, sql in wanted_guards().items() if here.get(name) != sql)

    def insert_readings(self, columns: Sequence[NDArray[Any]]) -> None:
        marks = ", ".join("?" * len(READING_COLUMNS))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.executemany(f"INSERT INTO reading VALUES ({marks})", rows)

    def versions(self, keys: Sequence[tuple[int, int, int]]) -> Iterator[Row]:
        self.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (series INTEGER, kind INTEGER, ts INTEGER)")
        self.execute("DELETE FROM wanted")
        self.executemany("INSERT INTO wanted VALUES (?, ?, ?)", keys)
        return self.execute(
            """SELECT r.* FROM wanted w CROSS JOIN reading r ON (r.series, r.kind, r.ts) = (w.series, w.kind, w.ts)
               ORDER BY w.rowid, r.ver"""
        )

    def newest_verdicts(self, keys: Sequence[tuple[str, int, int]]) -> Iterator[Row]:
        sql = NEWEST_VERDICT.format("?", "?", "?")
        return (row for key in keys if (row := self.execute(sql, key).fetchone()))

    def of_each(self, sql: str, series: Sequence[int], arguments: Sequence[Any]) -> Iterator[Row]:
        """Series by series: the primary key gives the order, nothing is sorted."""
        return chain.from_iterable(self.execute(sql, (one, *arguments)) for one in series)

    def numbers(self, sql: str, series: Sequence[int], arguments: Sequence[Any]) -> Numbers:
        if self._together:
            found: Numbers = self._numbers.read(sql, series, arguments)
            return found
        rows = list(chain.from_iterable(self.of_each(sql, series, arguments)))
        whole = [np.array(rows[at::3], np.int64) for at in (0, 1)]
        return whole[0], whole[1], np.array(rows[2::3], np.float64)

    def stream(self, sql: str, arguments: Sequence[Any], size: int) -> Iterator[list[Row]]:
        cursor = self.execute(sql, arguments)
        while rows := cursor.fetchmany(size):
            yield rows

    def forget(self, low: int, high: int, start: int, end: int) -> None:
        """Series and kind by series and kind: the primary key leads to them."""
        keys = self.execute("SELECT series, kind FROM latest WHERE series >= ? AND series < ?", (low, high)).fetchall()
        self.executemany(
            "DELETE FROM reading WHERE series = ? AND kind = ? AND ts >= ? AND ts < ?",
            [(*key, start, end) for key in keys],
        )


def connect_writer(path: Path) -> Connection:
    """A connection that may write, the schema brought up to date. Durable at COMMIT (WAL, synchronous=FULL)."""
    connection = _connect(path)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "temp_store = MEMORY",
        "cache_size = -200000",
        "wal_autocheckpoint = 4000",
        "journal_size_limit = 268435456",
    ):
        connection.execute(f"PRAGMA {pragma}")
    migrate(connection)
    return connection


def connect_reader(path: Path) -> Connection:
    """A connection that cannot write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(path)
    if connection.execute("PRAGMA user_version").fetchone()[0] != len(MIGRATIONS):
        connect_writer(path).close()
    for pragma in ("query_only = ON", "cache_size = -32000", "mmap_size = 1073741824", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _connect(path: Path) -> Connection:
    made = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False, factory=Connection)
    made.path = path
    return made
