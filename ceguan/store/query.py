"""Questions to the store: hot ledger and sealed history answered as one. Each function takes a read-only connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from ceguan.store import columns, history
from ceguan.store.database import Database, json_ints
from ceguan.store.incoming import MANIFEST_IN_FORCE
from ceguan.store.lake import Lake
from ceguan.store.ledger import Fill
from ceguan.words import READING_COLUMNS, Outcome

Versions = Literal["force", "all"]
ACTIONS = ("", "keep", "invalidate", "substitute", "exempt")
FOREVER = 1 << 40
"""Later than any reading (the year 36812)."""


class Known(NamedTuple):
    """What had been received and counted at a moment, see `Store`; `as_of` None: everything."""

    as_of: float | None
    not_yet: tuple[int, ...] = ()  # frames received by then, which counted only later

    def of(self, db: Database) -> Known:
        """With the frames a person let in after the moment; within the snapshot of the read."""
        if self.as_of is None:
            return self
        late = db.execute("SELECT frame FROM admitted WHERE at > ? ORDER BY frame", (self.as_of,))
        return self._replace(not_yet=tuple(frame for (frame,) in late))

    @property
    def readings(self) -> tuple[str, tuple[Any, ...]]:
        """Further conditions on rows of `reading`, and their arguments."""
        condition, arguments = since("recv", self.as_of)
        if not self.not_yet:
            return condition, arguments
        return f"{condition} AND frame NOT IN (SELECT value FROM json_each(?))", (*arguments, json_ints(self.not_yet))


def since(column: str, as_of: float | None) -> tuple[str, tuple[float, ...]]:
    """The condition that a row was there at a moment (None: any row is), and its arguments."""
    return ("", ()) if as_of is None else (f" AND {column} <= ?", (as_of,))


@contextmanager
def snapshot(db: Database, numbers: bool = False) -> Iterator[None]:
    """All statements inside (and `numbers`) see the same state, whatever is committed or sealed meanwhile."""
    if db.in_transaction:
        yield
        return
    db.begin_reading(numbers)
    try:
        yield
    finally:
        db.commit()


def readings(
    db: Database,
    lake: Lake,
    series: Sequence[int],
    kind: int,
    start: float,
    end: float,
    as_of: float | None,
    versions: Versions,
) -> pa.Table:
    """See `Store.readings`."""
    wanted = sorted({int(one) for one in series})
    begin, until = int(np.ceil(start)), int(np.ceil(end))
    with snapshot(db):
        known = Known(as_of).of(db)
        files = _files(db, begin, until, wanted)
        hot = _hot(db, wanted, kind, begin, until, known)
        decided = decisions(db, wanted, kind, begin, until, as_of) if versions == "force" else None
    found = _sorted(hot, history.scan(lake, files, wanted, kind, begin, until, *known) if wanted else hot.slice(0, 0))
    if decided is None:
        return found
    return in_force(newest(found, ("series", "ts")), decided)


class Matrix(NamedTuple):
    """Values in force as an array (places, cells, factors), NaN = none; `ts` begin of each cell [UTC epoch s]."""

    values: NDArray[np.float64]
    ts: NDArray[np.int64]


def matrix(
    db: Database,
    lake: Lake,
    series: NDArray[np.int64],
    kind: int,
    start: int,
    end: int,
    step: int,
    as_of: float | None,
) -> Matrix:
    """See `Store.matrix`."""
    wanted = np.unique(series[series >= 0])
    with snapshot(db, numbers=True):
        known = Known(as_of).of(db)
        files = _files(db, start, end, wanted)
        hot = _hot_values(db, wanted.tolist(), kind, start, end, known)
        decided = decisions(db, wanted.tolist(), kind, start, end, as_of)
    cells = -((start - end) // step)
    grid = np.full((len(wanted), cells), np.nan)
    time = np.full(grid.shape, -1, np.int64)  # of the reading in each cell; -1 = no reading
    for found in (history.values(lake, files, wanted, kind, start, end, *known), hot):
        if found.num_rows:
            _place(found, wanted, start, step, grid, time)
    _decide(decided, wanted, grid, time)
    place = np.searchsorted(wanted, series)
    picked = (
        grid[np.minimum(place, max(len(wanted) - 1, 0))] if len(wanted) else np.full((*series.shape, cells), np.nan)
    )
    picked[series < 0] = np.nan
    return Matrix(picked.transpose(0, 2, 1), np.arange(start, end, step, dtype=np.int64))


def _place(
    found: pa.Table, wanted: NDArray[np.int64], start: int, step: int, grid: NDArray[Any], time: NDArray[Any]
) -> None:
    """Readings (sorted by series, ts, ver) into their cells; of several in a cell the last one counts."""
    series, ts, value = (found[name].to_numpy() for name in ("series", "ts", "value"))
    begins = np.flatnonzero(np.append(True, series[1:] != series[:-1]))
    lines = np.searchsorted(wanted, series[begins]) * grid.shape[1]
    cell = np.repeat(lines, np.diff(begins, append=len(series))) + (ts - start) // step
    last = np.append(cell[1:] != cell[:-1], True)
    if not last.all():
        cell, ts, value = cell[last], ts[last], value[last]
    grid.ravel()[cell], time.ravel()[cell] = value, ts


def _decide(decided: pa.Table, wanted: NDArray[np.int64], grid: NDArray[Any], time: NDArray[Any]) -> None:
    """What decisions leave in force; of several the last one holds."""
    received = {number: grid[number].copy() for number in np.searchsorted(wanted, decided["series"].to_numpy())}
    for row in decided.to_pylist():
        number = int(np.searchsorted(wanted, row["series"]))
        hit = (time[number] >= row["ts_from"]) & (time[number] < row["ts_to"])
        left = {"invalidate": np.nan, "substitute": row["value"]}.get(row["action"], received[number][hit])
        grid[number, hit] = left


def _hot_values(db: Database, series: Sequence[int], kind: int, start: int, end: int, known: Known) -> pa.Table:
    """(series, ts, value) of the ledger, sorted (series, ts, ver)."""
    condition, limits = known.readings
    sql = f"""SELECT series, ts, value FROM reading
              WHERE series = ? AND kind = ? AND ts >= ? AND ts < ?{condition} ORDER BY ts, ver"""
    return pa.table(list(db.numbers(sql, series, (kind, start, end, *limits))), schema=history.VALUES)


def thinned(
    db: Database, lake: Lake, series: int, kind: int, start: int, end: int, points: int, as_of: float | None
) -> pa.Table:
    """See `Store.thinned`."""
    parts = [
        thin(readings(db, lake, [series], kind, low, high, as_of, "force"), points)
        for _, low, high in history.months(start, end)
    ]
    if not parts:
        return readings(db, lake, [series], kind, start, end, as_of, "force")
    return thin(pa.concat_tables(parts).combine_chunks(), points)


def latest(db: Database, lake: Lake, series: Sequence[int] | None, kind: int | None, as_of: float | None) -> pa.Table:
    """See `Store.latest`."""
    if as_of is not None:
        return _latest_then(db, lake, series, kind, as_of)
    conditions, arguments = _where(("series", series), ("kind", kind))
    sql = f"SELECT {{columns}} FROM latest WHERE {conditions} ORDER BY series, kind"
    with snapshot(db):
        return in_force(columns.select(db, columns.READING_SCHEMA, sql, arguments), _latest_decided(db))


def _latest_then(db: Database, lake: Lake, series: Sequence[int] | None, kind: int | None, as_of: float) -> pa.Table:
    """The newest reading of these series that was known at a moment: back through the ledger, then file by file."""
    conditions, arguments = _where(("series", series), ("kind", kind))
    with snapshot(db):
        known = Known(as_of).of(db)
        then, limits = known.readings
        keys = db.execute(f"SELECT series, kind FROM latest WHERE {conditions}", arguments).fetchall()
        sql = f"SELECT {{columns}} FROM latest WHERE {conditions}{then}"
        still = columns.select(db, columns.READING_SCHEMA, sql, [*arguments, *limits])
        hot = _latest_hot(db, conditions, arguments, known)
        sql = f"SELECT ts_to, part, series_to, path FROM {MANIFEST_IN_FORCE} m ORDER BY ts_to DESC, part"
        files = db.execute(sql).fetchall()
        decided = decisions(db, series, kind, None, None, as_of)
    open_keys = set(keys) - set(_keys(still))
    best = dict.fromkeys(open_keys, -FOREVER) | dict(zip(_keys(hot), hot["ts"].to_pylist(), strict=True))
    parts = [still, hot]
    for ts_to, low, high, path in files:
        older = [key for key in open_keys if best[key] < ts_to]
        if not older:
            break
        asked = sorted(key for key in older if low <= key[0] < high)
        if not asked:
            continue
        parts.append(history.latest_of(lake, path, asked, *known))
        for key, ts in zip(_keys(parts[-1]), parts[-1]["ts"].to_pylist(), strict=True):
            best[key] = max(best[key], ts)
    return in_force(_newest_of_all(parts), decided)


def _latest_hot(db: Database, conditions: str, arguments: Sequence[Any], known: Known) -> pa.Table:
    """The newest reading in the ledger that was known then."""
    then, limits = known.readings
    newest = f"FROM reading WHERE series = l.series AND kind = l.kind{then} ORDER BY ts DESC, ver DESC LIMIT 1"
    return columns.select(
        db,
        columns.READING_SCHEMA,
        f"""SELECT {", ".join("r." + name for name in READING_COLUMNS)}
            FROM (SELECT series, kind FROM latest WHERE {conditions}) l CROSS JOIN reading r USING (series, kind)
            WHERE r.ts = (SELECT ts {newest}) AND r.ver = (SELECT ver {newest})""",
        [*arguments, *limits, *limits],
    )


def _keys(table: pa.Table) -> list[tuple[int, int]]:
    return list(zip(table["series"].to_pylist(), table["kind"].to_pylist(), strict=True))


def _newest_of_all(parts: Sequence[pa.Table]) -> pa.Table:
    """Of each series and kind the newest version of the newest reading, sorted (series, kind)."""
    all_of_them = pa.concat_tables(parts).combine_chunks()
    order = np.lexsort(tuple(all_of_them[name].to_numpy() for name in ("ver", "ts", "kind", "series")))
    return newest(all_of_them.take(pa.array(order)), ("series", "kind"))


class LatestOfAll:
    """`latest` of every series, kept in step with the ledger by fetching only the rows that changed."""

    def __init__(self) -> None:
        self._commits = self._stamp = -1
        self._received = columns.READING_SCHEMA.empty_table()
        self._in_force = self._received

    def table(self, db: Database) -> pa.Table:
        commits = db.commits()
        if commits != self._commits:
            self._refresh(db)
            self._commits = commits
        return self._in_force

    def _refresh(self, db: Database) -> None:
        with snapshot(db):
            stamp = db.execute("SELECT max(stamp) FROM latest").fetchone()[0]
            sql = "SELECT {columns} FROM latest WHERE stamp > ? ORDER BY series, kind"
            changed = columns.select(db, columns.READING_SCHEMA, sql, (self._stamp,))
            decided = _latest_decided(db)
        if self._received.num_rows and changed.num_rows:
            both = pa.concat_tables([self._received, changed]).combine_chunks()
            order = np.lexsort(tuple(both[name].to_numpy() for name in ("ts", "kind", "series")))  # stable: later wins
            changed = newest(both.take(pa.array(order)), ("series", "kind"))
        if changed.num_rows:
            self._received, self._stamp = changed, stamp
        self._in_force = in_force(self._received, decided)


def _latest_decided(db: Database) -> pa.Table:
    """Decisions that cover the newest reading of their series."""
    return columns.select(
        db,
        columns.DECISION_SCHEMA,
        f"""SELECT {", ".join("d." + name for name in columns.DECISION_SCHEMA.names)}
            FROM decision d JOIN latest l ON (l.series, l.kind) = (d.series, d.kind)
            WHERE l.ts >= d.ts_from AND l.ts < d.ts_to ORDER BY d.id""",
    )


def exact(db: Database, lake: Lake, keys: Iterable[Sequence[int]], as_of: float | None) -> pa.Table:
    """See `Store.exact`."""
    wanted = {(int(s), int(k), int(t), int(v)) for s, k, t, v in keys}
    parts = []
    for kind in sorted({key[1] for key in wanted}):
        times = [key[2] for key in wanted if key[1] == kind]
        series = [key[0] for key in wanted if key[1] == kind]
        found = readings(db, lake, series, kind, min(times), max(times) + 1, as_of, "all")
        have = zip(*(found[name].to_pylist() for name in READING_COLUMNS[:4]), strict=True)
        parts.append(found.filter(pa.array([key in wanted for key in have], pa.bool_())))
    return pa.concat_tables([columns.READING_SCHEMA.empty_table(), *parts])


def newest(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """The last row of each run of equal keys: the newest version, in a table sorted by key and version."""
    if table.num_rows < 2:
        return table
    last = np.ones(table.num_rows, dtype=bool)
    last[:-1] = False
    for name in key:
        values = table[name].to_numpy()
        last[:-1] |= values[1:] != values[:-1]
    return table if last.all() else table.filter(pa.array(last))


def in_force(table: pa.Table, decided: pa.Table) -> pa.Table:
    """Readings (sorted by series) with the columns that decisions add; of several decisions the last one holds."""
    value, zs = (table[name].to_numpy().copy() for name in ("value", "zs"))
    number = np.zeros(table.num_rows, dtype=np.int64)
    action = np.zeros(table.num_rows, dtype=np.int8)
    series, kind, ts = (table[name].to_numpy() for name in ("series", "kind", "ts"))
    for row in decided.to_pylist():
        low, high = np.searchsorted(series, row["series"]), np.searchsorted(series, row["series"], "right")
        part = slice(low, high)
        hit = (kind[part] == row["kind"]) & (ts[part] >= row["ts_from"]) & (ts[part] < row["ts_to"])
        value[part][hit], zs[part][hit] = _decided(row, table, part, hit)
        number[part][hit] = row["id"]
        action[part][hit] = ACTIONS.index(row["action"])
    return (
        table.append_column("value_in_force", pa.array(value))
        .append_column("zs_in_force", pa.array(zs))
        .append_column("decision", pa.array(number))
        .append_column("action", pa.array(ACTIONS).take(pa.array(action)))
    )


def _decided(row: dict[str, Any], table: pa.Table, part: slice, hit: np.ndarray) -> tuple[Any, Any]:
    """(value, converted value) that a decision leaves in force."""
    if row["action"] == "invalidate":
        return np.nan, np.nan
    if row["action"] == "substitute":
        return row["value"], row["zs"]
    return table["value"].to_numpy()[part][hit], table["zs"].to_numpy()[part][hit]


def flags(
    db: Database,
    series: Sequence[int],
    kind: int,
    start: float,
    end: float,
    as_of: float | None,
    versions: Versions,
) -> pa.Table:
    """See `Store.flags`."""
    known, limits = since("made_at", as_of)
    found = columns.select(
        db,
        columns.FLAG_SCHEMA,
        f"""SELECT {{columns}} FROM json_each(?) s CROSS JOIN flag f ON f.series = s.value
            WHERE kind = ? AND ts >= ? AND ts < ?{known} ORDER BY series, ts, test, turn""",
        (json_ints(series), kind, start, end, *limits),
    )
    if versions == "all":
        return found
    current = newest(found, ("series", "ts", "test"))
    return current.filter(pa.array(current["outcome"].to_numpy() != Outcome.PASS))


def failed(
    db: Database, series: Sequence[int], kind: int, start: int, end: int, as_of: float | None = None
) -> pa.Table:
    """(series, ts) of readings that fail a test: by the newest turn of the test."""
    (known, limits), (later, _) = since("f.made_at", as_of), since("g.made_at", as_of)
    return columns.select(
        db,
        columns.schema("series ts"),
        f"""SELECT f.series, f.ts FROM json_each(?) s CROSS JOIN flag f ON f.series = s.value
            WHERE f.kind = ? AND f.ts >= ? AND f.ts < ? AND f.outcome = ?{known}
              AND f.turn = (SELECT max(g.turn) FROM flag g
                WHERE (g.series, g.kind, g.ts, g.test) = (f.series, f.kind, f.ts, f.test){later})
            ORDER BY f.series, f.ts""",
        (json_ints(series), kind, start, end, int(Outcome.FAIL), *limits, *limits),
    )


def quality_runs(db: Database, series: Sequence[int], kind: int, start: float, end: float) -> pa.Table:
    """See `Store.quality_runs`."""
    return columns.select(
        db,
        columns.RUN_SCHEMA,
        """SELECT {columns} FROM json_each(?) s CROSS JOIN quality_run q ON q.series = s.value
           WHERE kind = ? AND ts_from < ? AND ts_to > ? ORDER BY series, test, ts_from, version, params""",
        (json_ints(series), kind, end, start),
    )


def decisions(
    db: Database,
    series: Sequence[int] | None,
    kind: int | None,
    start: float | None,
    end: float | None,
    as_of: float | None,
) -> pa.Table:
    """See `Store.decisions`."""
    conditions, arguments = _where(("series", series), ("kind", kind))
    for condition, limit in (("ts_to > ?", start), ("ts_from < ?", end), ("at <= ?", as_of)):
        if limit is not None:
            conditions, arguments = f"{conditions} AND {condition}", [*arguments, limit]
    sql = f"SELECT {{columns}} FROM decision WHERE {conditions} ORDER BY id"
    return columns.select(db, columns.DECISION_SCHEMA, sql, arguments)


def verdicts(
    db: Database,
    points: Sequence[int] | None,
    rule: str | None,
    start: float | None,
    end: float | None,
    as_of: float | None,
    all_versions: bool,
) -> pa.Table:
    """See `Store.verdicts`."""
    conditions, arguments = _where(("point", points), ("rule", rule))
    for condition, limit in (("ts >= ?", start), ("ts < ?", end), ("made_at <= ?", as_of)):
        if limit is not None:
            conditions, arguments = f"{conditions} AND {condition}", [*arguments, limit]
    sql = f"SELECT {{columns}} FROM verdict WHERE {conditions} ORDER BY point, rule, ts, ver"
    found = columns.select(db, columns.VERDICT_SCHEMA, sql, arguments)
    return found if all_versions else newest(found, ("point", "rule", "ts"))


def verdict_extent(db: Database, point: int) -> tuple[int, int] | None:
    """See `Store.verdict_extent`."""
    first, last = db.execute("SELECT min(ts), max(ts) FROM verdict WHERE point = ?", (point,)).fetchone()
    return None if first is None else (first, last + 1)


def latest_verdicts(db: Database, rule: str | None, points: Sequence[int] | None, as_of: float | None) -> pa.Table:
    """See `Store.latest_verdicts`."""
    conditions, arguments = _where(("l.rule", rule), ("l.point", points))
    names = ", ".join("v." + name for name in columns.VERDICT_SCHEMA.names)
    then, limits = since("made_at", as_of)
    number = "l.id"
    if as_of is not None:
        number = f"""(SELECT id FROM verdict WHERE rule = l.rule AND point = l.point{then}
                     ORDER BY ts DESC, ver DESC LIMIT 1)"""
    sql = f"""SELECT {names} FROM latest_verdict l JOIN verdict v ON v.id = {number}
              WHERE {conditions} ORDER BY l.point, l.rule"""
    return columns.select(db, columns.VERDICT_SCHEMA, sql, [*limits, *arguments])


def verdicts_of(db: Database, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """See `Store.verdicts_of`."""
    condition, arguments = _where(("id", numbers))
    found = columns.select(
        db, columns.VERDICT_SCHEMA, f"SELECT {{columns}} FROM verdict WHERE {condition}", arguments
    ).to_pylist()
    return {
        one["id"]: {**one, "detail": orjson.loads(one["detail"]), "inputs": orjson.loads(one["inputs"])}
        for one in found
    }


def device_days(db: Database, first_day: str, last_day: str, mn: str | None) -> pa.Table:
    """See `Store.device_days`."""
    conditions, arguments = _where(("mn", mn))
    sql = f"SELECT {{columns}} FROM device_day WHERE day >= ? AND day <= ? AND {conditions} ORDER BY mn, day"
    return columns.select(db, columns.DEVICE_DAY_SCHEMA, sql, [first_day, last_day, *arguments])


def bad_frames(db: Database, start: float, end: float, mn: str | None, limit: int) -> pa.Table:
    """See `Store.bad_frames`."""
    conditions, arguments = _where(("mn", mn))
    sql = f"SELECT {{columns}} FROM bad_frame WHERE recv >= ? AND recv < ? AND {conditions} ORDER BY recv DESC LIMIT ?"
    return columns.select(db, columns.BAD_FRAME_SCHEMA, sql, [start, end, *arguments, limit])


def dialects(db: Database, mn: str | None) -> pa.Table:
    """See `Store.dialects`."""
    conditions, arguments = _where(("mn", mn))
    sql = f"SELECT {{columns}} FROM dialect WHERE {conditions} ORDER BY mn, last_recv DESC"
    return columns.select(db, columns.DIALECT_SCHEMA, sql, arguments)


def warnings(db: Database, first_day: str, last_day: str, mn: str | None) -> pa.Table:
    """See `Store.warnings`."""
    conditions, arguments = _where(("mn", mn))
    sql = f"SELECT {{columns}} FROM warning WHERE day >= ? AND day <= ? AND {conditions} ORDER BY mn, day, kind"
    return columns.select(db, columns.WARNING_SCHEMA, sql, [first_day, last_day, *arguments])


def quarantined(db: Database, state: str | None, mn: str | None, limit: int, as_of: float | None) -> pa.Table:
    """See `Store.quarantined`."""
    conditions, arguments = _where(("state", state), ("mn", mn))
    known, limits = since("recv", as_of)
    table = "quarantine" if as_of is None else f"({_QUARANTINE_THEN})"
    moments = () if as_of is None else (as_of,) * 4
    sql = f"SELECT {{columns}} FROM {table} q WHERE {conditions}{known} ORDER BY recv DESC, frame DESC LIMIT ?"
    return columns.select(db, columns.QUARANTINE_SCHEMA, sql, [*moments, *arguments, *limits, limit])


_QUARANTINE_THEN = """SELECT frame, mn, recv, cause, kind, ts, items, parts,
    CASE WHEN at > ? THEN 'held' ELSE state END AS state, CASE WHEN at > ? THEN '' ELSE who END AS who,
    CASE WHEN at > ? THEN NULL ELSE at END AS at, CASE WHEN at > ? THEN '' ELSE why END AS why FROM quarantine"""
"""What was settled after a moment was still held at it."""


def gaps(db: Database, series: Sequence[int], kind: int, start: float, end: float, as_of: float | None) -> pa.Table:
    """See `Store.gaps`."""
    known, limits = since("known_at", as_of)
    rows = (
        """SELECT {columns} FROM json_each(?) s CROSS JOIN %s g ON g.series = s.value
              WHERE kind = ? AND ts_from < ? AND ts_to > ?"""
        + known
    )
    sql, arguments = rows % "gap", [json_ints(series), kind, end, start, *limits]
    if as_of is not None:
        sql = f"{sql} UNION ALL {rows % 'past_gap'} AND gone_at > ?"
        arguments = [*arguments, *arguments, as_of]
    return columns.select(db, columns.GAP_SCHEMA, f"{sql} ORDER BY series, ts_from", arguments)


def gaps_since(db: Database, kind: int, start: int, causes: Sequence[str]) -> list[tuple[int, int, int]]:
    """See `Store.gaps_since`."""
    marks = ", ".join("?" * len(causes))
    sql = f"SELECT series, ts_from, ts_to FROM gap WHERE kind = ? AND ts_from >= ? AND cause IN ({marks})"
    return db.execute(sql, (kind, start, *causes)).fetchall()


def fills(db: Database, mns: Sequence[str] | None, kind: int | None, start: int | None, unfinished: bool) -> list[Fill]:
    """See `Store.fills`."""
    conditions, arguments = _where(("mn", mns), ("kind", kind))
    if unfinished:
        conditions += " AND state IN ('waiting', 'asked')"  # as the partial index says it
    if start is not None:
        conditions, arguments = f"{conditions} AND ts_from >= ?", [*arguments, start]
    sql = f"SELECT {', '.join(Fill._fields)} FROM fill WHERE {conditions} ORDER BY ts_from DESC, mn, kind"
    return [Fill(*row) for row in db.execute(sql, arguments)]


def times(
    db: Database, lake: Lake, series: Sequence[int], kind: int, start: int, end: int, as_of: float | None
) -> NDArray[np.int64]:
    """See `Store.times`. Where no sealed month is touched, a look at the index is enough."""
    sealed = db.execute("SELECT max(ts_to) FROM manifest").fetchone()[0]
    if as_of is not None or (sealed is not None and start < sealed):
        found = readings(db, lake, series, kind, start, end, as_of, "force")
        return np.column_stack([found[name].to_numpy() for name in ("series", "ts")])
    sql = """SELECT r.series, r.ts FROM json_each(?) s CROSS JOIN reading r ON r.series = s.value
             WHERE r.kind = ? AND r.ts >= ? AND r.ts < ? AND r.ver = 0 ORDER BY r.series, r.ts"""
    rows = db.execute(sql, (json_ints(series), kind, start, end)).fetchall()
    return np.array(rows, np.int64).reshape(-1, 2)


def thin(table: pa.Table, points: int, column: str = "value_in_force") -> pa.Table:
    """At most `points` rows of one series (sorted by ts) that draw the same line.

    Of each stretch the smallest and the largest value stay, and one absent value where there is any, so that neither an
    extreme nor a gap disappears; so do the first and the last row. Raises ValueError when `points` < 5.
    """
    if points < 5:
        raise ValueError(f"points {points}: at least 5")
    count = table.num_rows
    if count <= points:
        return table
    values = table[column].to_numpy()
    absent = np.isnan(values)
    edges = np.linspace(0, count, (points - 2) // 3 + 1).astype(np.int64)[:-1]
    stretch = np.repeat(np.arange(edges.size), np.diff(np.append(edges, count)))
    by_value = np.lexsort((values, stretch))  # NaN last within each stretch
    present = np.add.reduceat(~absent, edges)
    kept = [np.array([0, count - 1]), by_value[edges[present > 0]], by_value[(edges + present - 1)[present > 0]]]
    lengths = np.diff(np.append(edges, count))
    kept.append(by_value[(edges + present)[present < lengths]])
    return table.take(pa.array(np.unique(np.concatenate(kept))))


def _files(db: Database, start: int, end: int, series: Sequence[int] | NDArray[np.int64]) -> list[str]:
    """Sealed files in force that can hold something of these series, which rise."""
    sql = f"""SELECT path, part, series_to FROM {MANIFEST_IN_FORCE} m
              WHERE ts_from < ? AND ts_to > ? ORDER BY month, part"""
    found = db.execute(sql, (end, start)).fetchall()
    ends = np.searchsorted(series, [row[1:] for row in found]) if found else ()
    return [path for (path, *_), (low, high) in zip(found, ends, strict=True) if low < high]


def _hot(db: Database, series: Sequence[int], kind: int, start: int, end: int, known: Known) -> pa.Table:
    """Rows of the ledger, in the order of the series."""
    condition, limits = known.readings
    sql = f"""SELECT {", ".join(READING_COLUMNS)} FROM reading
              WHERE series = ? AND kind = ? AND ts >= ? AND ts < ?{condition} ORDER BY ts, ver"""
    return columns.table(columns.READING_SCHEMA, db.of_each(sql, series, (kind, start, end, *limits)))


def _sorted(hot: pa.Table, sealed: pa.Table) -> pa.Table:
    """Both parts as one table in the order (series, ts, ver)."""
    if not sealed.num_rows:
        return hot
    if not hot.num_rows:
        return sealed
    both = pa.concat_tables([sealed, hot]).combine_chunks()
    order = np.lexsort(tuple(both[name].to_numpy() for name in ("ver", "ts", "series")))
    return both.take(pa.array(order))


def _where(*given: tuple[str, Any]) -> tuple[str, list[Any]]:
    """A condition for the columns that are given: equality for one value, membership for several; None = any."""
    conditions, arguments = ["true"], []
    for name, wanted in given:
        if wanted is None:
            continue
        if isinstance(wanted, (int, str)):
            conditions.append(f"{name} = ?")
            arguments.append(wanted)
        elif all(isinstance(one, str) for one in wanted):
            conditions.append(f"{name} IN ({', '.join('?' * len(wanted))})" if len(wanted) else "false")
            arguments += wanted
        else:
            conditions.append(f"{name} IN (SELECT value FROM json_each(?))")
            arguments.append(json_ints(wanted))
    return " AND ".join(conditions), arguments
