"""Readings on their way into the ledger, as columns: which are surely new, and which meet what is known already.

The newest time of each series and kind is kept in memory (`Newest`). A reading behind it that comes once in a batch is
new without a look at the database; only what is late or comes again is compared with what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ceguan.store import stale
from ceguan.store.database import Database
from ceguan.store.lake import Lake
from ceguan.store.present import Ints, Present, Stored
from ceguan.words import READING_COLUMNS

Row = tuple[Any, ...]
CONTENT = slice(4, 10)
"""Where value, zs, vmin, vmax, cou, flag stand in a reading row: two readings that agree there are the same."""
NEW, SAME, CHANGED = range(3)
_WHOLE = frozenset(("series", "kind", "ts", "ver", "recv", "frame"))
_NOTHING = -(1 << 62)


class Added(NamedTuple):
    """What became of the readings of one `add_readings`; new + same + len(changed) = rows given."""

    new: int
    same: int
    changed: list[Row]  # the new versions, as reading rows with their `ver`
    fates: NDArray[np.int8]  # NEW, SAME or CHANGED of each row, in the order given


class Newest:
    """Newest time of each (series, kind), the last stamp in `latest`, the day of each marked as stale last, what was
    looked at of sealed files: what the one writer need not ask, or say, again."""

    def __init__(self, db: Database) -> None:
        self.times: dict[tuple[int, int], int] = {}
        self.marked: dict[tuple[int, int], int] = {}
        self.sealed = Present()
        self.stamp = 0
        for series, kind, ts, stamp in db.execute("SELECT series, kind, ts, stamp FROM latest"):
            self.times[series, kind] = ts
            self.stamp = max(self.stamp, stamp)


def in_columns(readings: pa.Table | Iterable[Sequence[Any]]) -> list[NDArray[Any]]:
    """Rows, a table or columns in the order of READING_COLUMNS as columns.

    Raises ValueError where a whole number is absent.
    """
    if isinstance(readings, list) and readings and isinstance(readings[0], np.ndarray):
        return readings
    if isinstance(readings, pa.Table):
        given: list[Any] = [readings[name].to_numpy() for name in READING_COLUMNS]
    else:
        given = list(zip(*readings, strict=True)) or [()] * len(READING_COLUMNS)
    return [_array(name, cells) for name, cells in zip(READING_COLUMNS, given, strict=True)]


def _array(name: str, cells: Any) -> NDArray[Any]:
    if name == "flag":
        return np.asarray(cells, dtype=object)
    try:
        return np.asarray(cells, dtype=np.int64 if name in _WHOLE else np.float64)
    except TypeError as error:
        raise ValueError(f"读数的 {name} 须为数：{error}") from error


def take_in(db: Database, lake: Lake, newest: Newest, columns: list[NDArray[Any]]) -> Added:
    """Put readings (see `in_columns`) into the tables `reading` and `latest`; `newest` follows."""
    fates = np.zeros(len(columns[0]), np.int8)
    order = np.lexsort((columns[2], columns[1], columns[0]))  # stable: equal keys stay in the order given
    columns = [column[order] for column in columns]
    groups, keys, times = _groups(columns, newest)
    surely = _surely_new(columns, times[groups])
    columns[3] = np.zeros(len(order), np.int64)
    doubtful = np.flatnonzero(~surely)
    changed: list[Row] = []
    if len(doubtful):
        fate, versions = _compare(db, lake, newest.sealed, [column[doubtful] for column in columns])
        fates[order[doubtful]], columns[3][doubtful] = fate, versions
        surely[doubtful] = fate != SAME
        changed = _rows(columns, doubtful[fate == CHANGED])
        columns, groups = [column[surely] for column in columns], groups[surely]
    db.insert_readings(columns)
    _keep_latest(db, newest, columns, groups, keys, times)
    _mark(db, newest, columns[2], groups, keys)
    counts = np.bincount(fates, minlength=3)
    return Added(int(counts[NEW]), int(counts[SAME]), changed, fates)


def _groups(columns: list[NDArray[Any]], newest: Newest) -> tuple[NDArray[Any], list[tuple[int, int]], NDArray[Any]]:
    """Number of the (series, kind) of each row; these keys; the newest time known of each."""
    begins = _differs(columns[:2])
    at = np.flatnonzero(begins)
    keys = list(zip(columns[0][at].tolist(), columns[1][at].tolist(), strict=True))
    times = np.fromiter((newest.times.get(key, _NOTHING) for key in keys), np.int64, len(keys))
    return np.cumsum(begins) - 1, keys, times


def _differs(columns: list[NDArray[Any]]) -> NDArray[np.bool_]:
    """Whether each row differs from the one before it; the first does."""
    found = np.ones(len(columns[0]), bool)
    found[1:] = False
    for column in columns:
        found[1:] |= column[1:] != column[:-1]
    return found


def _surely_new(columns: list[NDArray[Any]], newest: NDArray[Any]) -> NDArray[np.bool_]:
    """Behind everything that is known of the series, and only once here."""
    single = _differs(columns[:3])
    single[:-1] &= single[1:]
    return single & (columns[2] > newest)


def _rows(columns: list[NDArray[Any]], at: NDArray[Any]) -> list[Row]:
    """These rows as the database gives them back: None for what is absent."""
    parts = [column[at] for column in columns]
    cells = [part.astype(object) if part.dtype == np.float64 else part for part in parts]
    for part, cell in zip(parts, cells, strict=True):
        if part.dtype == np.float64:
            cell[np.isnan(part)] = None
    return list(zip(*(cell.tolist() for cell in cells), strict=True))


def _compare(db: Database, lake: Lake, present: Present, rows: list[NDArray[Any]]) -> tuple[NDArray[Any], Ints]:
    """Fate and version of each of the rows (columns, sorted by key, in the order they came).

    The first of a key meets what is stored, each other the one before it: whatever became of that, its content is what
    is known by then.
    """
    first = _differs(rows[:3])
    stored, content = _stored(db, lake, present, [column[first] for column in rows[:3]])
    known = stored >= 0
    same = np.ones(len(first), bool)
    same[first] = known
    for given, mine in zip(rows[CONTENT], content, strict=True):
        met = np.roll(given, 1)
        met[first] = mine
        same &= (given == met) | ((given != given) & (met != met))  # NaN, that is absent in both
    changes = np.cumsum(~same)
    group = np.cumsum(first) - 1
    before = (changes - ~same)[first]
    versions = stored[group] + changes - before[group]
    return np.where(same, SAME, np.where(versions > 0, CHANGED, NEW)), versions


def _stored(db: Database, lake: Lake, present: Present, keys: list[Ints]) -> tuple[Ints, list[NDArray[Any]]]:
    """Newest version (-1: none) and content of each key, sorted, none twice; what is not sealed is newer."""
    count = len(keys[0])
    version = np.full(count, -1)
    content = [*(np.full(count, np.nan) for _ in range(5)), np.full(count, None, object)]
    place = dict(zip(zip(*(key.tolist() for key in keys), strict=True), range(count), strict=True))
    newest = {place[row[0], row[1], row[2]]: row for row in db.versions(list(place))}  # ascending: the newest stays
    if newest:
        hot = list(newest)
        cells = list(zip(*newest.values(), strict=True))
        version[hot] = cells[3]
        for column, values in zip(content, cells[CONTENT], strict=True):
            column[hot] = values
    missing = np.flatnonzero(version < 0)
    for found in _sealed(db, lake, present, [key[missing] for key in keys]):
        at = missing[found.at]
        version[at] = found.ver
        for column, given in zip(content, found.content, strict=True):
            column[at] = given
    return version, content


def _sealed(db: Database, lake: Lake, present: Present, keys: list[Ints]) -> Iterator[Stored]:
    """Newest sealed versions of those of the keys that are sealed."""
    series, kind, times = keys
    if not len(series):
        return
    for start, end, low, high, path in db.execute(
        f"SELECT ts_from, ts_to, part, series_to, path FROM {MANIFEST_IN_FORCE} m WHERE ts_from <= ? AND ts_to > ?",
        (int(times.max()), int(times.min())),
    ).fetchall():
        hit = np.flatnonzero((times >= start) & (times < end) & (series >= low) & (series < high))
        if len(hit):
            for found in present.find(lake, path, start, series[hit], kind[hit], times[hit]):
                yield found._replace(at=hit[found.at])


def _keep_latest(
    db: Database,
    newest: Newest,
    columns: list[NDArray[Any]],
    groups: NDArray[Any],
    keys: list[tuple[int, int]],
    times: NDArray[Any],
) -> None:
    """Bring `latest` up to date; rows it changes get a new stamp, by which readers find them."""
    last = np.flatnonzero(np.append(groups[1:] != groups[:-1], True)) if len(groups) else groups
    last = last[columns[2][last] >= times[groups[last]]]
    newest.stamp += 1
    updates = ", ".join(f"{name} = excluded.{name}" for name in (*READING_COLUMNS[2:], "stamp"))
    marks = ", ".join("?" * (len(READING_COLUMNS) + 1))
    db.executemany(
        f"""INSERT INTO latest VALUES ({marks}) ON CONFLICT (series, kind) DO UPDATE SET {updates}
            WHERE excluded.ts > latest.ts OR (excluded.ts = latest.ts AND excluded.ver > latest.ver)""",
        [(*row, newest.stamp) for row in _rows(columns, last)],
    )
    for group, ts in zip(groups[last].tolist(), columns[2][last].tolist(), strict=True):
        newest.times[keys[group]] = ts


def _mark(db: Database, newest: Newest, times: NDArray[Any], groups: NDArray[Any], keys: list[tuple[int, int]]) -> None:
    """The days of these readings (sorted by group and time) no longer have the aggregates they had."""
    days = stale.day_of(times)
    at = np.flatnonzero(_differs([groups, days]))
    marks = []
    for group, day in zip(groups[at].tolist(), days[at].tolist(), strict=True):
        if newest.marked.get(keys[group]) != day:
            newest.marked[keys[group]] = day
            marks.append((*keys[group], day))
    stale.mark(db, marks)


MANIFEST_IN_FORCE = """(SELECT * FROM manifest newest WHERE generation =
    (SELECT max(generation) FROM manifest other WHERE (other.month, other.part) = (newest.month, newest.part)))"""
