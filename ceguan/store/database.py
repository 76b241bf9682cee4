"""The ledger's database: SQLite beside the data (one machine) or PostgreSQL (outgrown) behind one set of functions.

All SQL of this room is written once, in SQLite's way of speaking; `postgres.py` says the same in PostgreSQL's. Where
the two must work differently – staging rows, a month that leaves, who may write – the connection has a method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import orjson
from numpy.typing import NDArray

from ceguan.store import sqlite

Row = Sequence[Any]
Numbers = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""series, ts, value."""


class Cursor(Protocol):
    """What the room asks of a cursor."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """One connection. Every statement outside `begin` … `commit` is a transaction of its own."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, sql: str, arguments: Sequence[Any] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any: ...
    def begin(self) -> None:
        """Begin to write; only one process can."""

    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...
    def begin_reading(self, numbers: bool = False) -> None:
        """All that follows, up to `commit`, sees one state; with `numbers` also what `numbers` reads."""

    def commits(self) -> int:
        """A number that is another one whenever somebody else has committed."""

    def occupied(self) -> dict[str, int]:
        """Bytes in the database server by schema ("ledger", "public": business data); empty where files lie here."""

    def unguarded(self) -> list[str]:
        """Append-only triggers that are missing, switched off or not what the schema says, by name."""

    def insert_readings(self, columns: Sequence[NDArray[Any]]) -> None:
        """Append to `reading`: columns in the order of READING_COLUMNS, sorted by its key; NaN becomes NULL."""

    def versions(self, keys: Sequence[tuple[int, int, int]]) -> Iterator[Row]:
        """All stored versions, ascending, of the readings with these (series, kind, ts)."""

    def newest_verdicts(self, keys: Sequence[tuple[str, int, int]]) -> Iterator[Row]:
        """`schema.NEWEST_VERDICT` of each (rule, point, ts) that has a verdict."""

    def of_each(self, sql: str, series: Sequence[int], arguments: Sequence[Any]) -> Iterator[Row]:
        """The rows of a query `… WHERE series = ? AND …` for each of the series, in the order given (ascending)."""

    def numbers(self, sql: str, series: Sequence[int], arguments: Sequence[Any]) -> Numbers:
        """As `of_each` of `SELECT series, ts, value …`, as columns; NULL is NaN."""

    def stream(self, sql: str, arguments: Sequence[Any], size: int) -> Iterator[list[Row]]:
        """The rows of a large result, `size` at a time, within a transaction."""

    def forget(self, low: int, high: int, start: int, end: int) -> None:
        """Remove the readings of the series [low, high) in a sealed month [start, end)."""


def json_ints(numbers: Iterable[int]) -> str:
    """Whole numbers as what `json_each(?)` takes."""
    return orjson.dumps(sorted({int(number) for number in numbers})).decode()


def connect_writer(path: Path, url: str = "") -> Database:
    """A connection that may write, the schema brought up to date; durable at commit. `url` "" means SQLite at `path`.

    Raises LedgerTakenError (see ledger) when another process writes a PostgreSQL ledger.
    """
    return _postgres().connect_writer(url) if url else sqlite.connect_writer(path)


def connect_reader(path: Path, url: str = "") -> Database:
    """A connection that cannot write. A ledger that is not there yet is made, empty, so that readers may come first."""
    return _postgres().connect_reader(url) if url else sqlite.connect_reader(path)


def _postgres() -> Any:
    """The driver is installed only where it is used (requirements-big)."""
    from ceguan.store import postgres

    return postgres
