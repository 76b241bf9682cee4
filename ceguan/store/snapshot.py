"""Databases copied while they are in use: ledger and business data as they stood at one and the same moment.

SQLite: the ledger's write lock is held for the instant in which the snapshots of both files are taken, so neither
holds what came of a step that the other has not seen; then each is copied by the online backup. PostgreSQL: both are
tables of one database, copied by COPY in one repeatable-read transaction.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from ceguan.store import history
from ceguan.store.archive import Position
from ceguan.store.errors import LedgerError

PG_TABLES = "tables.json"
_LEFT_OUT = {"public.django_migrations", "ledger.version"}
_BLOCK = 1 << 20


class Known(NamedTuple):
    """What a copied ledger knows: how far it has taken in each stream, and the files of sealed history it lists, with
    their bytes and SHA-256."""

    positions: dict[int, Position]
    history: dict[str, tuple[int, str]]


_POSITIONS = 'SELECT stream, segment, "offset" FROM {}position'
_HISTORY = """SELECT path, bytes, sha256 FROM {0}manifest m WHERE NOT EXISTS
    (SELECT 1 FROM {0}forgotten f WHERE (f.month, f.part) = (m.month, m.part) AND m.generation < f.generation)"""
"""But for files that went, or will go, because readings left them by a recorded act."""


def known(path: Path) -> Known:
    """The same of a copied SQLite ledger."""
    with closing(sqlite3.connect(path)) as db:
        return _known(db, "")


def _known(db: Any, schema: str) -> Known:
    places = {stream: Position(*place) for stream, *place in db.execute(_POSITIONS.format(schema))}
    return Known(places, {name: (size, digest) for name, size, digest in db.execute(_HISTORY.format(schema))})


def sqlite(ledger: Path, others: Sequence[Path], folder: Path) -> None:
    """Copies of the files into `folder`, under their names, all of one moment."""
    with ExitStack() as stack:
        sources = [stack.enter_context(closing(_reader(path))) for path in (ledger, *others)]
        lock = stack.enter_context(closing(sqlite3.connect(ledger, isolation_level=None, timeout=60)))
        lock.execute("BEGIN IMMEDIATE")
        for source in sources:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on it sees this state
        lock.execute("ROLLBACK")
        for source, path in zip(sources, (ledger, *others), strict=True):
            copy(source, folder / path.name)


def copy(source: sqlite3.Connection, target: Path) -> None:
    """The state that the connection sees, as a file of its own."""
    with closing(sqlite3.connect(target)) as out:
        source.backup(out)


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise LedgerError(f"没有数据库 {path}")
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("PRAGMA query_only = ON")
    return connection


# ── PostgreSQL ────────────────────────────────────────────────────────────────────────────────────────────────────


def postgres(url: str, folder: Path) -> Known:
    """Every table of ledger and business data as a file of rows."""
    import psycopg

    folder.mkdir()
    with psycopg.connect(url) as link:
        link.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        tables = {name: _columns(link, name) for name in _tables(link)}
        if "ledger.position" not in tables:
            raise LedgerError("库里还没有台账：时钟还没有运行过")
        for name, names in tables.items():
            rows = f"COPY (SELECT {_quoted(names)} FROM {name}) TO STDOUT"
            with open(folder / name, "wb") as out, link.cursor().copy(rows) as copied:
                for block in copied:
                    out.write(block)
        found = _known(link, "ledger.")
        about = {"tables": tables, "months": _months(link), "migrations": _migrations(link)}
    (folder / PG_TABLES).write_text(json.dumps(about))
    return found


def into_postgres(url: str, folder: Path) -> None:
    """Load the files into a database whose tables exist and are empty but for what migrations put there.

    One transaction: all or nothing. Raises LedgerError when the tables are those of another version.
    """
    import psycopg

    about = json.loads((folder / PG_TABLES).read_text())
    with psycopg.connect(url) as link:
        if _migrations(link) != about["migrations"]:
            raise LedgerError("备份由另一版本的程序作出；请先用同一版本恢复，再升级")
        link.execute(f"TRUNCATE {', '.join(about['tables'])}")
        for month in about["months"]:
            start, end = history.month_span(month)
            part = f"ledger.reading_{month.replace('-', '_')}"
            link.execute(
                f"CREATE TABLE IF NOT EXISTS {part} PARTITION OF ledger.reading FOR VALUES FROM ({start}) TO ({end})"
            )
        for name, names in about["tables"].items():
            with (
                open(folder / name, "rb") as given,
                link.cursor().copy(f"COPY {name} ({_quoted(names)}) FROM STDIN") as copied,
            ):
                while block := given.read(_BLOCK):
                    copied.write(block)
        for name, names in about["tables"].items():
            _go_on(link, name, names)


def empty_postgres(url: str) -> bool:
    """Whether neither ledger nor business data lie there yet."""
    import psycopg

    with psycopg.connect(url) as link:
        return not _tables(link)


def _tables(link: Any) -> list[str]:
    """Tables of both schemas; partitions come with the table they are parts of."""
    found = link.execute(
        """SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname IN ('public', 'ledger') AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"""
    )
    return [name for (name,) in found if name not in _LEFT_OUT]


def _columns(link: Any, table: str) -> list[str]:
    found = link.execute(
        """SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
           AND attgenerated = '' ORDER BY attnum""",
        (table,),
    )
    return [name for (name,) in found]


def _months(link: Any) -> list[str]:
    found = link.execute(
        """SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'ledger.reading'::regclass ORDER BY 1"""
    )
    parts = (re.fullmatch(r"reading_(\d{4})_(\d{2})", name) for (name,) in found)
    return [f"{part[1]}-{part[2]}" for part in parts if part]


def _migrations(link: Any) -> list[list[Any]]:
    done = link.execute("SELECT app, name FROM public.django_migrations ORDER BY app, name").fetchall()
    return [*map(list, done), ["ledger", link.execute("SELECT n FROM ledger.version").fetchone()[0]]]


def _go_on(link: Any, table: str, names: Iterable[str]) -> None:
    """Numbers go on behind the highest that was loaded."""
    for name in names:
        found = link.execute("SELECT pg_get_serial_sequence(%s, %s)", (table, name)).fetchone()[0]
        if found:
            link.execute(f'SELECT setval(%s, (SELECT coalesce(max("{name}"), 0) + 1 FROM {table}), false)', (found,))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
