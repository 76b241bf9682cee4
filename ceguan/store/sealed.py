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

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ceguan.store import aggregates, columns, history
from ceguan.store.database import Database
from ceguan.store.forgotten import Act, runs
from ceguan.store.incoming import MANIFEST_IN_FORCE
from ceguan.store.lake import Lake
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
    sealed = _sealed(db, month)
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


def _hand_over(db: Database, month: str, block: Block, path: Path, now: float, forgotten: tuple[Any, ...] = ()) -> None:
    """One transaction: from the ledger's hot rows to the listed file, with the line of what was left out."""
    start, end = history.month_span(month)
    rows, size, digest = history.row_count(path), path.stat().st_size, history.sha256(path)
    listed = (month, block.low, block.generation + 1, start, end, block.high, path.name, rows, size, digest, now)
    with writing(db):
        if not db.execute("SELECT count(*) FROM manifest WHERE month = ?", (month,)).fetchone()[0]:
            aggregates.leave(db, db.execute("SELECT series, kind FROM latest").fetchall(), start, end)
        db.execute(f"INSERT INTO manifest VALUES ({', '.join('?' * len(listed))})", listed)
        if forgotten:
            _note(db, forgotten)
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


# ── what leaves for good ──────────────────────────────────────────────────────────────────────────────────────────


STANDING = """(SELECT * FROM manifest listed WHERE NOT EXISTS (SELECT 1 FROM forgotten f
    WHERE (f.month, f.part) = (listed.month, listed.part) AND listed.generation < f.generation))"""
"""Listed files but for those that lighter ones have taken the place of."""


class Leaving(NamedTuple):
    """Readings of a kind of some series that leave a sealed month by a recorded act."""

    act: Act
    month: str
    kind: int
    series: tuple[int, ...]


def weigh(db: Database, lake: Lake, month: str, kind: int, series: Sequence[int]) -> int:
    """How many readings of a kind the sealed files of a month hold of these series."""
    return sum(_weigh(lake, block, kind, series) for block in _sealed(db, month))


def lighten(ledger: Ledger, leaving: Leaving, now: float) -> bool:
    """Write the next generation of one block without what leaves; False when no block is left to do, or none can be
    done yet because days of the month are still to be aggregated.

    The files before it stay until `sweep`. Killed at any moment it is done again, or was done.
    """
    db = ledger.connection
    if not aggregates.are_kept(db, leaving.kind, *history.month_span(leaving.month)):
        return False
    done = {part for (part,) in db.execute(
        "SELECT part FROM forgotten WHERE month = ? AND act = ?", (leaving.month, leaving.act.hash)
    )}  # fmt: skip
    block = next((block for block in _sealed(db, leaving.month) if block.low not in done), None)
    if block is None:
        return False
    rows = _weigh(ledger.history, block, leaving.kind, leaving.series)
    act, generation = leaving.act, block.generation + 1 if rows else 0
    members = json.dumps(runs(one for one in leaving.series if block.low <= one < block.high))
    line = (leaving.month, block.low, act.hash, leaving.kind, members, generation, rows, act.rule, act.at, now)
    if not rows:
        with writing(db):
            _note(db, line)
        return True
    late = pa.Table.from_batches(_hot_rows(db, leaving.month, block), columns.READING_SCHEMA)
    name = history.file_name(leaving.month, block.low, generation)
    lighter = _without(history.merged(ledger.history, block.path, late), leaving)
    _hand_over(db, leaving.month, block, history.write(ledger.history, name, lighter), now, line)
    return True


def sweep(db: Database, lake: Lake, before: float) -> int:
    """Remove the files that lighter ones took the place of before a moment; returns how many went."""
    superseded = db.execute(
        """SELECT DISTINCT m.path FROM manifest m JOIN forgotten f ON (f.month, f.part) = (m.month, m.part)
           WHERE m.generation < f.generation AND f.made_at < ?""",
        (before,),
    ).fetchall()
    return sum(lake.remove(path) for (path,) in superseded)


def _sealed(db: Database, month: str) -> list[Block]:
    sql = f"""SELECT part, series_to, generation, path, sealed_at FROM {MANIFEST_IN_FORCE} m
              WHERE month = ? ORDER BY part"""
    return [Block(*row) for row in db.execute(sql, (month,))]


def _weigh(lake: Lake, block: Block, kind: int, series: Sequence[int]) -> int:
    mine = [one for one in series if block.low <= one < block.high]
    if not mine:
        return 0
    ends = {"series": (min(mine), max(mine)), "kind": (kind, kind)}
    wanted, total = pa.array(mine, pa.int64()), 0
    for group in history.groups(lake, block.path, ("series", "kind"), **ends):
        hit = pc.and_(pc.equal(group["kind"], kind), pc.is_in(group["series"], value_set=wanted))
        total += pc.sum(hit).as_py() or 0
    return total


def _without(batches: Iterable[pa.RecordBatch], leaving: Leaving) -> Iterator[pa.RecordBatch]:
    wanted = pa.array(leaving.series, pa.int64())
    for batch in batches:
        hit = pc.and_(pc.equal(batch["kind"], leaving.kind), pc.is_in(batch["series"], value_set=wanted))
        yield batch.filter(pc.invert(hit))


def _note(db: Database, line: tuple[Any, ...]) -> None:
    db.execute(f"INSERT INTO forgotten VALUES ({', '.join('?' * len(line))})", line)


def left(db: Database, series: int, kind: int, start: float, end: float) -> list[tuple[str, str, float]]:
    """(month, rule, when it was decided) of the months that touch [start, end) from which readings of a series left."""
    found = db.execute(
        """SELECT DISTINCT f.month, f.rule, f.at, f.members FROM forgotten f
           JOIN manifest m ON (m.month, m.part, m.generation) = (f.month, f.part, f.generation)
           WHERE f.kind = ? AND m.ts_from < ? AND m.ts_to > ? AND m.part <= ? AND m.series_to > ?
           ORDER BY f.month, f.at""",
        (kind, end, start, series, series),
    )
    return [
        (month, rule, at)
        for month, rule, at, members in found
        if any(first <= series <= last for first, last in json.loads(members))
    ]
