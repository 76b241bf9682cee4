"""The ledger's way from SQLite to PostgreSQL: rows that only accumulate while everything runs, the rest at one moment.

Nothing is remembered about how far it has come: what is there is compared with what should be, group by group (the day
of a series, a thousand verdicts), and groups that differ are copied. So it may be killed anywhere and goes on. A group
is read back in the transaction that wrote it; tables that change are written whole in the last one, with the positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ceguan.store import postgres, sqlite
from ceguan.store.errors import LedgerError
from ceguan.store.ledger import writing
from ceguan.store.schema import BEHIND_ALL

DAY = 86400
CHUNK = 100_000
"""Rows of a transaction, about."""


class MoveError(LedgerError):
    """What arrived is not what was sent, or cannot be stored; the message names the table."""


class Accumulating(NamedTuple):
    """A table whose rows are never changed: `key` numbers its groups, `told` tells two states of a group apart."""

    key: str
    where: str
    told: str = "count(*)"

    def span(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """Arguments of `where` for a group: a number that was divided becomes a stretch."""
        if "<" not in self.where:
            return key
        size = int(self.key.rpartition("/ ")[2])
        return (*key[:-1], key[-1] * size, (key[-1] + 1) * size)


_BY_DAY = ("series, kind, ts / 86400", "series = ? AND kind = ? AND ts >= ? AND ts < ?")
_BY_ID = ("id / 1000", "id >= ? AND id < ?")
ACCUMULATING = {
    "reading": Accumulating(*_BY_DAY, "count(*), sum(recv), sum(frame % 1000000007)"),
    "flag": Accumulating(*_BY_DAY),
    "verdict": Accumulating(*_BY_ID),
    "decision": Accumulating(*_BY_ID),
    "bad_frame": Accumulating("frame / 2147483648", "frame >= ? AND frame < ?"),
}
DERIVED = ("aggregate", "aggregated", "stale")
"""Stay behind: the new ledger's clockwork computes them from the readings."""
LAST = "manifest"
"""Months that left the old ledger leave the new one together with the line that says where they are."""

Told = Callable[[str, int], None]
"""Hears a table's name and how many of its rows were just written."""


class Move:
    """From the SQLite ledger at `path` to the PostgreSQL at `url`. Takes the place of the new ledger's one writer."""

    def __init__(self, path: Path, url: str, told: Told = lambda table, rows: None) -> None:
        self._old = sqlite.connect_reader(path)
        self._new = postgres.connect_writer(url)
        self._told = told

    def close(self) -> None:
        self._old.close()
        self._new.close()

    def catch_up(self) -> int:
        """Copy what has accumulated; returns how many rows that were. Raises MoveError."""
        self._old.begin_reading()
        try:
            return self._let_months_go() + sum(self._accumulated(table) for table in ACCUMULATING)
        finally:
            self._old.commit()

    def finish(self) -> dict[str, int]:
        """The rest, when nobody writes the old ledger any more: rows of each table. Raises MoveError."""
        self.catch_up()
        with writing(self._new):
            for table in self._tables():
                if table not in ACCUMULATING and table != LAST:
                    self._replace(table)
            self._new.execute(f"UPDATE aggregated SET since = ({BEHIND_ALL})")
            for table in ("verdict", "decision"):
                self._new.execute(
                    f"SELECT setval(pg_get_serial_sequence('ledger.{table}', 'id'), "
                    f"(SELECT max(id) FROM {table})) WHERE EXISTS (SELECT 1 FROM {table})"
                )
        return self.verify()

    def verify(self) -> dict[str, int]:
        """Rows of each table, counted on both sides. Raises MoveError where they are not the same."""
        found = {}
        for table in self._tables():
            sql = f"SELECT count(*) FROM {table}"
            here, there = (db.execute(sql).fetchall()[0][0] for db in (self._old, self._new))
            if here != there or (table in ACCUMULATING and self._differing(table)):
                raise MoveError(f"台账表 {table}：SQLite {here} 行，PostgreSQL {there} 行，两边不一致")
            found[table] = here
        return found

    def _tables(self) -> list[str]:
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        return [name for (name,) in self._old.execute(sql) if name not in DERIVED]

    # ── what accumulates ──────────────────────────────────────────────────────────────────────────────────────────

    def _let_months_go(self) -> int:
        """Months sealed since the last look leave here too; their files lie where they lay."""
        here, there = (
            {tuple(row[:3]): tuple(row) for row in db.execute("SELECT * FROM manifest")}
            for db in (self._old, self._new)
        )
        lines = [here[key] for key in sorted(here.keys() - there.keys())]
        if lines:
            with writing(self._new):
                self._write(LAST, lines)
                for _, low, _, start, end, high, *_ in lines:
                    self._new.forget(low, high, start, end)
        return len(lines)

    def _differing(self, table: str) -> list[tuple[Any, ...]]:
        """Keys of the groups that are not the same on both sides, in order. Raises MoveError for rows nobody sent."""
        how = ACCUMULATING[table]
        wide = how.key.count(",") + 1
        sql = f"SELECT {how.key}, {how.told} FROM {table} GROUP BY {', '.join(str(n + 1) for n in range(wide))}"
        here, there = (
            {tuple(row[:wide]): tuple(row[wide:]) for row in db.execute(sql)} for db in (self._old, self._new)
        )
        foreign = [key for key, told in there.items() if told[0] > here.get(key, (0,))[0]]
        if foreign:
            raise MoveError(f"台账表 {table}：目标库里有并非来自本台账的行（{foreign[0]}）；请换一个空库")
        return sorted(key for key, told in here.items() if told != there.get(key))

    def _accumulated(self, table: str) -> int:
        total = 0
        for keys in self._chunks(table, self._differing(table)):
            with writing(self._new):
                total += self._copy_groups(table, keys)
        return total

    def _chunks(self, table: str, keys: list[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
        """Groups that have about CHUNK rows together."""
        how, chunk, size = ACCUMULATING[table], list[tuple[Any, ...]](), 0
        for key in keys:
            sql = f"SELECT count(*) FROM {table} WHERE {how.where}"
            chunk.append(key)
            size += self._old.execute(sql, how.span(key)).fetchone()[0]
            if size >= CHUNK:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk

    def _copy_groups(self, table: str, keys: list[tuple[Any, ...]]) -> int:
        """Those rows of the groups that are not there yet; then all of them are read back."""
        how = ACCUMULATING[table]
        sql = f"SELECT * FROM {table} WHERE {how.where}"
        sent, arrived, rows = _Sum(), _Sum(), list[Any]()
        for key in keys:
            group = self._old.execute(sql, how.span(key)).fetchall()
            there = set(self._new.execute(sql, how.span(key)).fetchall())
            rows += [row for row in group if row not in there]
            sent.add(group)
        self._write(table, rows)
        for key in keys:
            arrived.add(self._new.execute(sql, how.span(key)))
        self._same(table, sent, arrived)
        return len(rows)

    # ── what changes ──────────────────────────────────────────────────────────────────────────────────────────────

    def _replace(self, table: str) -> None:
        self._new.execute(f"TRUNCATE {table}")
        sent, arrived = _Sum(), _Sum()
        rows = iter(self._old.execute(f"SELECT * FROM {table}"))
        while some := list(islice(rows, CHUNK)):
            self._write(table, some)
            sent.add(some)
        arrived.add(self._new.execute(f"SELECT * FROM {table}"))
        self._same(table, sent, arrived)

    def _write(self, table: str, rows: list[Any]) -> None:
        if not rows:
            return
        try:
            self._new.copy_in(table, rows)
        except (ValueError, postgres.psycopg.DataError) as error:
            raise MoveError(f"台账表 {table}：PostgreSQL 存不下（{error}）") from error
        self._told(table, len(rows))

    @staticmethod
    def _same(table: str, sent: _Sum, arrived: _Sum) -> None:
        if sent != arrived:
            raise MoveError(f"台账表 {table}：写入后读回的内容与原来不同（{sent.count} 行，读回 {arrived.count} 行）")


class _Sum:
    """Count and checksum of rows in any order; to be compared within one process."""

    def __init__(self) -> None:
        self.count = self.total = 0

    def add(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self.count += 1
            self.total += hash(tuple(row))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sum) and (self.count, self.total) == (other.count, other.total)

    __hash__ = None  # type: ignore[assignment]
