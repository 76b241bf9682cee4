"""Marks: the Beijing days of a series and kind whose aggregates no longer hold. Made in the transaction that brings
what changes them, so that they survive whatever the readings survive.

The mark is the day, not the hour: hours, day and month are computed from one look at the day's readings, and one mark a
day, not one a reading, keeps taking in fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ceguan.store.database import Database

DAY = 86400
_BEIJING = 8 * 3600


def day_of(ts: Any) -> Any:
    """Beijing midnight before a moment (or before each of an array), UTC epoch seconds."""
    return (ts + _BEIJING) // DAY * DAY - _BEIJING


def mark(db: Database, days: Iterable[tuple[int, int, int]]) -> None:
    """Mark (series, kind, day); what is marked stays so."""
    db.executemany("INSERT INTO stale VALUES (?, ?, ?) ON CONFLICT DO NOTHING", days)


def mark_span(db: Database, series: int, kind: int, start: int, end: int) -> None:
    """Mark the days of [start, end) that a series can have readings on."""
    found = db.execute("SELECT ts FROM latest WHERE series = ? AND kind = ?", (series, kind)).fetchone()
    if found is None:
        return
    begin = max(start, oldest(db, [(series, kind)]) or 0)
    mark(db, ((series, kind, day) for day in range(day_of(begin), min(end, found[0] + 1), DAY)))


def oldest(db: Database, keys: Iterable[tuple[int, int]]) -> int | None:
    """A time before which these series and kinds have no reading; None when there is none at all."""
    sql = "SELECT min(ts) FROM reading WHERE series = ? AND kind = ?"
    found = [db.execute("SELECT min(ts_from) FROM manifest").fetchone()[0]]
    found += [db.execute(sql, key).fetchone()[0] for key in keys]
    return min((one for one in found if one is not None), default=None)
