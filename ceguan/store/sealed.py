"""Sealing: a month leaves the hot ledger for immutable Parquet files, one a block of series. A crash is harmless.

Of each block, whose series lie side by side (0 … 4095, 4096 … with the default of `history_series`):
1. its rows of the month – and those of the generation before, if it was sealed already – go to a temporary file;
2. the file is synced and gets its name (nobody reads it yet: the manifest does not list it);
3. one transaction lists it in the manifest and deletes the hot rows.
Before step 3 commits, the ledger has everything; a file left over is overwritten by the next attempt. The blocks that a
month has are never cut otherwise: what comes later for their series goes into the next generation of the same block.
Late data of a sealed block stay in the ledger as new rows or versions and are merged at read, until it is sealed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from ceguan.store import aggregates, columns, history
from ceguan.store.database import Database
from ceguan.store.incoming import MANIFEST_IN_FORCE
from ceguan.store.ledger import Ledger, writing
from ceguan.words import READING_COLUMNS

BATCH_ROWS = 100_000
AGAIN_ROWS = 100_000
AGAIN_SECONDS = 86400
"""A sealed block is sealed again for so many late rows at once, for fewer a day after the last time."""
BEHIND_SERIES = 1 << 62
"""No series has so high a number."""
HOT = """latest l CROSS JOIN reading r USING (series, kind)
    WHERE l.series >= ? AND r.series >= ? AND l.series < ? AND r.series < ? AND r.ts >= ? AND r.ts < ?"""
"""The ledger's rows of a block: SQLite goes by the series of `latest`, PostgreSQL by those of `reading`."""


class Block(NamedTuple):
    """The series [low, high) of a month, and the file of theirs in force; generation 0 = none yet."""

    low: int
    high: int
    generation: int = 0
    path: str = ""
    sealed_at: float = 0.0


def due(ledger: Ledger, now: float, hot_days: int, size: int) -> Iterator[tuple[str, Block]]:
    """Blocks of Beijing months to seal, the oldest month first: those that hold hot rows of a month that ended at least
    `hot_days` ago; of those sealed before, the ones with `AGAIN_ROWS` late rows, or any and the last sealing
    `AGAIN_SECONDS` ago."""
    db = ledger.connection
    end = db.execute(
        "SELECT min((SELECT min(ts) FROM reading r WHERE (r.series, r.kind) = (l.series, l.kind))) FROM latest l"
    ).fetchone()[0]
    while end is not None:
        month = history.month_of(end)
        end = history.month_span(month)[1]
        if end > now - hot_days * 86400:
            break
        for block in _holding(db, month, size):
            lately = block.generation and now - block.sealed_at < AGAIN_SECONDS
            if not lately or _has_rows(db, month, block, AGAIN_ROWS):
                yield month, block


def seal_due(ledger: Ledger, now: float, hot_days: int, size: int) -> Path | None:
    """Seal the first of the blocks that are due. Returns the new file, None when nothing was due."""
    return next((_seal(ledger, *each, now) for each in due(ledger, now, hot_days, size)), None)


def seal(ledger: Ledger, month: str, now: float, size: int) -> list[Path]:
    """Seal a Beijing month ("2026-03") in blocks of `size` series, or what came late of it. Returns the new files.

    The caller is the single writer, so no row of the month can arrive in between. Raises ValueError for an empty month.
    """
    found = _holding(ledger.connection, month, size)
    if not found:
        raise ValueError(f"{month} 没有可封存的数据")
    return [_seal(ledger, month, block, now) for block in found]


def _holding(db: Database, month: str, size: int) -> list[Block]:
    """Blocks of which the ledger holds rows of the month, by their series."""
    if size < 1:
        raise ValueError(f"设置 history_series 应至少为 1，得到 {size}")
    sql = f"""SELECT part, series_to, generation, path, sealed_at FROM {MANIFEST_IN_FORCE} m
              WHERE month = ? ORDER BY part"""
    sealed = [Block(*row) for row in db.execute(sql, (month,))]
    found, at = list[Block](), 0
    while (series := _first(db, month, at)) is not None:
        found.append(_block_of(series, sealed, size))
        at = found[-1].high
    return found


def _first(db: Database, month: str, low: int) -> int | None:
    """The first series from `low` on that has hot rows of the month."""
    sql = f"SELECT l.series FROM {HOT} ORDER BY l.series LIMIT 1"
    row = db.execute(sql, _limits(month, low, BEHIND_SERIES)).fetchone()
    return row and int(row[0])


def _limits(month: str, low: int, high: int) -> tuple[int, ...]:
    """Arguments of HOT."""
    return (low, low, high, high, *history.month_span(month))


def _block_of(series: int, sealed: list[Block], size: int) -> Block:
    """The block that was cut already, or a new one of at most `size` series between those that were."""
    for block in sealed:
        if block.low <= series < block.high:
            return block
    low = series // size * size
    return Block(
        max([low, *(block.high for block in sealed if block.high <= series)]),
        min([low + size, *(block.low for block in sealed if block.low > series)]),
    )


def _seal(ledger: Ledger, month: str, block: Block, now: float) -> Path:
    rows = _hot_rows(ledger.connection, month, block)
    if block.generation:
        late = pa.Table.from_batches(rows, columns.READING_SCHEMA)
        rows = history.merged(ledger.history, block.path, late)
    name = history.file_name(month, block.low, block.generation + 1)
    path = history.write(ledger.history, name, rows)
    _hand_over(ledger.connection, month, block, path, now)
    return path


def _hand_over(db: Database, month: str, block: Block, path: Path, now: float) -> None:
    """One transaction: from the ledger's hot rows to the listed file."""
    start, end = history.month_span(month)
    rows, size, digest = history.row_count(path), path.stat().st_size, history.sha256(path)
    listed = (month, block.low, block.generation + 1, start, end, block.high, path.name, rows, size, digest, now)
    with writing(db):
        if not db.execute("SELECT count(*) FROM manifest WHERE month = ?", (month,)).fetchone()[0]:
            aggregates.leave(db, db.execute("SELECT series, kind FROM latest").fetchall(), start, end)
        db.execute(f"INSERT INTO manifest VALUES ({', '.join('?' * len(listed))})", listed)
        db.forget(block.low, block.high, start, end)


def _has_rows(db: Database, month: str, block: Block, enough: int) -> bool:
    """Whether the ledger holds at least so many rows of the block."""
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {HOT} LIMIT ?) found"
    return bool(db.execute(sql, (*_limits(month, block.low, block.high), enough)).fetchone()[0] >= enough)


def _hot_rows(db: Database, month: str, block: Block) -> Iterator[pa.RecordBatch]:
    """The block's rows in the order of the file."""
    sql = f"""SELECT {", ".join(f"r.{name}" for name in READING_COLUMNS)}
            FROM {HOT} ORDER BY l.series, l.kind, r.ts, r.ver"""
    for rows in db.stream(sql, _limits(month, block.low, block.high), BATCH_ROWS):
        for batch in columns.table(columns.READING_SCHEMA, rows).to_batches():
            yield columns.nan_as_absent(batch)
