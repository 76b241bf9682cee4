"""Sealing: a month leaves the hot ledger for an immutable Parquet file. A crash at any point is harmless.

1. the month's rows – and those of the generation before, if it was sealed already – are written to a temporary file;
2. the file is synced and gets its name (nobody reads it yet: the manifest does not list it);
3. one transaction lists it in the manifest and deletes the hot rows.
Before step 3 commits, the ledger has everything; a file left over is overwritten by the next attempt.
Late data of a sealed month stay in the ledger as new rows or versions and are merged at read, until it is sealed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from ceguan.store import aggregates, columns, history
from ceguan.store.database import Database
from ceguan.store.incoming import MANIFEST_IN_FORCE
from ceguan.store.ledger import Ledger, writing
from ceguan.words import READING_COLUMNS

BATCH_ROWS = 100_000
AGAIN_ROWS = 100_000
AGAIN_SECONDS = 86400
"""A sealed month is sealed again for so many late rows at once, for fewer a day after the last time."""


def due(ledger: Ledger, now: float, hot_days: int) -> list[str]:
    """Beijing months to seal, oldest first: those that ended at least `hot_days` ago and hold hot rows; of those sealed
    before, the ones with `AGAIN_ROWS` late rows, or any and the last sealing `AGAIN_SECONDS` ago."""
    db = ledger.connection
    oldest = db.execute(
        "SELECT min((SELECT min(ts) FROM reading r WHERE (r.series, r.kind) = (l.series, l.kind))) FROM latest l"
    ).fetchone()[0]
    sealed = dict(db.execute("SELECT month, max(sealed_at) FROM manifest GROUP BY month"))
    months, end = [], oldest
    while end is not None:
        month = history.month_of(end)
        end = history.month_span(month)[1]
        if end > now - hot_days * 86400:
            break
        enough = 1 if now - sealed.get(month, -AGAIN_SECONDS) >= AGAIN_SECONDS else AGAIN_ROWS
        if _has_rows(db, month, enough):
            months.append(month)
    return months


def seal(ledger: Ledger, month: str, now: float) -> Path:
    """Seal a Beijing month ("2026-03"), or seal it again with what came late. Returns the new file.

    The caller is the single writer, so no row of the month can arrive in between. Raises ValueError for an empty month.
    """
    db = ledger.connection
    if not _has_rows(db, month):
        raise ValueError(f"{month} 没有可封存的数据")
    before = db.execute(f"SELECT generation, path FROM {MANIFEST_IN_FORCE} m WHERE month = ?", (month,)).fetchone()
    generation = before[0] + 1 if before else 1
    hot = pa.RecordBatchReader.from_batches(columns.READING_SCHEMA, _hot_rows(db, month))
    if before:
        hot = history.sorted_union(ledger.history, before[1], hot.read_all()).to_reader(BATCH_ROWS)
    path = history.write(ledger.history, history.file_name(month, generation), hot)
    _hand_over(db, month, generation, path, now)
    return path


def _hand_over(db: Database, month: str, generation: int, path: Path, now: float) -> None:
    """One transaction: from the ledger's hot rows to the listed file."""
    start, end = history.month_span(month)
    rows, size, digest = history.row_count(path), path.stat().st_size, history.sha256(path)
    with writing(db):
        db.execute(
            "INSERT INTO manifest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (month, generation, start, end, path.name, rows, size, digest, now),
        )
        keys = _keys(db)
        db.forget(keys, start, end)
        aggregates.leave(db, keys, start, end)


def _keys(db: Database) -> list[tuple[int, int]]:
    return db.execute("SELECT series, kind FROM latest ORDER BY series, kind").fetchall()


def _has_rows(db: Database, month: str, enough: int = 1) -> bool:
    """Whether the ledger holds at least so many rows of the month."""
    sql = """SELECT count(*) FROM (SELECT 1 FROM latest l CROSS JOIN reading r USING (series, kind)
             WHERE r.ts >= ? AND r.ts < ? LIMIT ?) found"""
    return bool(db.execute(sql, (*history.month_span(month), enough)).fetchone()[0] >= enough)


def _hot_rows(db: Database, month: str) -> Iterator[pa.RecordBatch]:
    """The month's rows in the order of the file."""
    sql = f"""SELECT {", ".join(f"r.{name}" for name in READING_COLUMNS)}
            FROM latest l CROSS JOIN reading r USING (series, kind) WHERE r.ts >= ? AND r.ts < ?
            ORDER BY l.series, l.kind, r.ts, r.ver"""
    for rows in db.stream(sql, history.month_span(month), BATCH_ROWS):
        for batch in columns.table(columns.READING_SCHEMA, rows).to_batches():
            yield columns.nan_as_absent(batch)
