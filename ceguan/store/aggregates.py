"""Aggregates: hours, Beijing days and months of the readings in force of each series and kind, computed once.

Hours come of readings, days of hours, months of days; sums are added in the order of time, one by one. So a computation
from scratch gives the same to the last bit, whatever was kept. They describe (charts, completeness, exports); what a
statute calls a mean, with its rules of validity, `science` computes and verdicts hold.

Kept are days and months; hours only of real-time and minute readings, and only until the first file of their month is
sealed: they leave the ledger with its readings and are computed from the readings when asked for. A day that is marked
(`stale`) is computed when asked for, too, so that no read is ever behind; `settle` computes marked days that are over,
and keeps them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ceguan.quality import layers
from ceguan.store import columns, history, query, stale
from ceguan.store.database import Database, json_ints
from ceguan.store.lake import Lake
from ceguan.store.ledger import Ledger, writing
from ceguan.store.schema import BEGINNING
from ceguan.store.stale import DAY, day_of
from ceguan.words import Kind, Outcome, Period, beijing

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
HOUR = 3600
_BEIJING = 8 * HOUR
INTERVALS: dict[int, int] = {Kind.HOUR: HOUR, Kind.DAY: DAY}
"""Seconds that a reading stands for, where its kind says so."""
HOURS_KEPT = (Kind.RT, Kind.MINUTE)
READ_AT_ONCE = {True: 10, False: 200}
"""Series of which up to a month is read at once, by whether their kind is one of HOURS_KEPT: a million readings."""


class Cells(NamedTuple):
    """Columns of aggregates, or of single readings as such; sorted (series, ts). NaN = nothing valid."""

    series: Ints
    ts: Ints
    present: Ints
    valid: Ints
    decided: Ints
    total: Floats  # of valid values
    low: Floats
    high: Floats
    opening: Floats  # first valid value
    closing: Floats
    zs_valid: Ints
    zs_total: Floats
    cou: Floats


class Span(NamedTuple):
    """A stretch of which aggregates are kept, or must be computed."""

    start: int
    end: int
    kept: bool


STORED = columns.schema(" ".join(Cells._fields))
AGGREGATES = columns.schema("series ts present valid expected decided mean min max first last zs_mean cou")
"""Columns of `Store.aggregates`."""


# ── pure ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_each(readings: pa.Table, failed: pa.Table) -> Cells:
    """Readings in force (columns as `Store.readings`) as cells of one each; `failed`: (series, ts) of FAIL flags."""
    series, ts, raw, force, zs, cou = (
        readings[name].to_numpy() for name in ("series", "ts", "value", "value_in_force", "zs_in_force", "cou")
    )
    outcome = np.where(np.isnan(raw), Outcome.MISSING, Outcome.PASS).astype(np.int8)
    outcome[_among((series, ts), failed) & (outcome != Outcome.MISSING)] = Outcome.FAIL
    usable = layers.valid(outcome, _texts(readings["flag"]), _texts(readings["action"])) & ~np.isnan(force)
    value = np.where(usable, force, np.nan)
    converted = usable & ~np.isnan(zs)
    return Cells(
        series, ts, np.ones(len(ts), np.int64), usable.astype(np.int64),
        (readings["decision"].to_numpy() > 0).astype(np.int64), np.where(usable, force, 0.0),
        value, value, value, value,
        converted.astype(np.int64), np.where(converted, zs, 0.0), np.where(usable, cou, np.nan),
    )  # fmt: skip


def gathered(cells: Cells, period: Period) -> Cells:
    """Cells put together to those of a longer period."""
    begin = begins(cells.ts, period)
    if not len(begin):
        return cells
    new = np.append(True, (begin[1:] != begin[:-1]) | (cells.series[1:] != cells.series[:-1]))
    at, number = np.flatnonzero(new), np.cumsum(new) - 1
    opening, closing = (np.full(len(at), np.nan) for _ in range(2))
    some = np.flatnonzero(cells.valid)
    closing[number[some]] = cells.closing[some]  # of several the last one stays
    opening[number[some[::-1]]] = cells.opening[some[::-1]]
    counted = np.bincount(number, ~np.isnan(cells.cou)) > 0
    return Cells(
        cells.series[at], begin[at], np.add.reduceat(cells.present, at), np.add.reduceat(cells.valid, at),
        np.add.reduceat(cells.decided, at), _sums(number, cells.total), np.fmin.reduceat(cells.low, at),
        np.fmax.reduceat(cells.high, at), opening, closing, np.add.reduceat(cells.zs_valid, at),
        _sums(number, cells.zs_total), np.where(counted, _sums(number, np.nan_to_num(cells.cou)), np.nan),
    )  # fmt: skip


def _sums(number: Ints, values: Floats) -> Floats:
    """Sum of each group, added one by one in their order."""
    return np.bincount(number, values).astype(np.float64)


def begins(ts: Ints, period: Period) -> Ints:
    """Begin of the hour, Beijing day or Beijing month that each moment lies in."""
    if period == Period.HOUR:
        return ts // HOUR * HOUR
    if period == Period.DAY:
        return np.asarray(day_of(ts))
    return _of_months(_months(ts))


def ends(ts: Ints, period: Period) -> Ints:
    """End of the cells that begin at these moments."""
    if period == Period.MONTH:
        return _of_months(_months(ts) + 1)
    return ts + (HOUR if period == Period.HOUR else DAY)


def _months(ts: Ints) -> NDArray[np.datetime64]:
    return (ts + _BEIJING).astype("datetime64[s]").astype("datetime64[M]")


def _of_months(months: NDArray[np.datetime64]) -> Ints:
    return months.astype("datetime64[s]").astype(np.int64) - _BEIJING


def _ceil(ts: int, period: Period) -> int:
    """The first begin of a cell that is no earlier."""
    one = np.array([ts])
    begin = begins(one, period)
    return int((begin if begin[0] == ts else ends(begin, period))[0])


def _among(keys: tuple[Ints, Ints], table: pa.Table) -> NDArray[np.bool_]:
    """Which of the (series, time) are rows of a table (series, ts or day)."""
    if not table.num_rows:
        return np.zeros(len(keys[0]), np.bool_)
    known = np.unique(keys[0])
    series, ts = (column.to_numpy() for column in table.columns)
    asked = np.isin(series, known)
    wanted = np.searchsorted(known, series[asked]) << 40 | ts[asked]
    return np.isin(np.searchsorted(known, keys[0]) << 40 | keys[1], wanted)


def _texts(column: pa.ChunkedArray) -> NDArray[np.str_]:
    coded = pc.dictionary_encode(column.combine_chunks())
    words = np.array(coded.dictionary.to_pylist() or [""], "U16")
    return words[coded.indices.to_numpy()]


def _taken(cells: Cells, keep: NDArray[Any]) -> Cells:
    return cells if keep.dtype == bool and keep.all() else Cells(*(column[keep] for column in cells))


def _together(parts: Sequence[Cells]) -> Cells:
    """Parts that share no cell, as one."""
    if len(parts) == 1:
        return parts[0]
    both = Cells(*(np.concatenate(cells) for cells in zip(_NOTHING, *parts, strict=True)))
    return _taken(both, np.lexsort((both.ts, both.series)))


def _cells(table: pa.Table) -> Cells:
    return Cells(*(column.to_numpy() for column in table.columns))


_NOTHING = _cells(STORED.empty_table())


# ── questions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def aggregates(
    db: Database,
    lake: Lake,
    series: Sequence[int],
    kind: int,
    period: Period,
    start: float,
    end: float,
    every: int,
    now: float | None,
    as_of: float | None,
) -> pa.Table:
    """See `Store.aggregates`."""
    if period == Period.HOUR and kind == Kind.DAY:
        raise ValueError("日数据没有小时统计，period 应为 day 或 month")
    wanted = sorted({int(one) for one in series})
    with query.snapshot(db):
        extent = extent_of(db, wanted, kind)
        low, high = _limits(extent, period, start, end) if extent else (0, 0)
        found = _NOTHING
        if low < high:  # whole days are looked at: what is marked is the day
            found = _found(db, lake, wanted, kind, period, day_of(low), _ceil(high, Period.DAY), as_of)
    found = _taken(found, (found.ts >= low) & (found.ts < high))
    return _shown(found, period, every or INTERVALS.get(kind, 0), now)


def _limits(extent: tuple[int, int], period: Period, start: float, end: float) -> tuple[int, int]:
    """The stretch of the cells that begin in [start, end) and can have readings."""
    first = int(begins(np.array([extent[0]]), period)[0])
    return _ceil(int(np.ceil(max(start, first))), period), _ceil(int(np.ceil(min(end, extent[1]))), period)


def extent_of(db: Database, series: Sequence[int], kind: int) -> tuple[int, int] | None:
    """[from, to) outside of which these series have no reading."""
    sql = "SELECT max(ts) FROM json_each(?) s CROSS JOIN latest l ON l.series = s.value WHERE l.kind = ?"
    last = db.execute(sql, (json_ints(series), kind)).fetchone()[0]
    first = stale.oldest(db, [(one, kind) for one in series])
    return None if last is None or first is None else (first, last + 1)


def _shown(cells: Cells, period: Period, every: int, now: float | None) -> pa.Table:
    """As AGGREGATES. A mean lies between its extremes, whatever rounding its sum went through."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.clip(cells.total / cells.valid, cells.low, cells.high)
        converted = cells.zs_total / cells.zs_valid
    until = ends(cells.ts, period)
    if now is not None:
        until = np.clip(until, cells.ts, max(0, int(now)))
    due = pa.array((until - cells.ts) // every) if every else pa.nulls(len(until), pa.int64())
    return pa.table(
        [cells.series, cells.ts, cells.present, cells.valid, due, cells.decided, mean, cells.low, cells.high,
         cells.opening, cells.closing, converted, cells.cou], schema=AGGREGATES,
    )  # fmt: skip


def _found(
    db: Database, lake: Lake, series: Sequence[int], kind: int, period: Period, low: int, high: int, as_of: float | None
) -> Cells:
    """Cells in [low, high), kept where they hold, else computed."""
    if as_of is not None:
        return _computed(db, lake, series, kind, period, low, high, as_of)
    marks = _marks(db, series, kind, low, high)
    if period == Period.MONTH:
        return _months_of(db, lake, series, kind, low, high, marks)
    parts = []
    for span in _spans(db, kind, period, low, high):
        if not span.kept:
            parts.append(_computed(db, lake, series, kind, period, span.start, span.end))
            continue
        kept = _stored(db, series, kind, period, span.start, span.end)
        parts.append(_taken(kept, ~_among((kept.series, np.asarray(day_of(kept.ts))), marks)))
        parts.append(gathered(_marked(db, lake, kind, _between(marks, span)), period))
    return _together(parts)


def _months_of(
    db: Database, lake: Lake, series: Sequence[int], kind: int, low: int, high: int, marks: pa.Table
) -> Cells:
    """Months; those with a marked day, or from before anything was kept, of their days."""
    kept = _stored(db, series, kind, Period.MONTH, low, high)
    since, parts = _since(db), []
    touched = [marks["series"].to_numpy(), begins(marks["day"].to_numpy(), Period.MONTH)]
    for begin in _each_month(low, high):
        mine = np.unique(touched[0][touched[1] == begin]).tolist() if begin >= since else list(series)
        if mine:
            end = int(ends(np.array([begin]), Period.MONTH)[0])
            parts.append(gathered(_found(db, lake, mine, kind, Period.DAY, begin, end, None), Period.MONTH))
    behind = (kept.ts < since) | _among((kept.series, kept.ts), pa.table(touched, names=["series", "month"]))
    return _together([_taken(kept, ~behind), *parts])


def _each_month(low: int, high: int) -> list[int]:
    return [start for _, start, _ in history.months(low, high)]


def _spans(db: Database, kind: int, period: Period, low: int, high: int) -> list[Span]:
    """[low, high) in stretches, those that adjoin and are alike as one."""
    since = _since(db)
    sealed = {month for (month,) in db.execute("SELECT DISTINCT month FROM manifest")} if period == Period.HOUR else ()
    found: list[Span] = []
    for month, start, end in history.months(low, high):
        cut = min(max(since, start), end)
        kept = period != Period.HOUR or (kind in HOURS_KEPT and month not in sealed)
        for span in (Span(start, cut, False), Span(cut, end, kept)):
            if found and found[-1].kept == span.kept:
                found[-1] = found[-1]._replace(end=span.end)
            elif span.start < span.end:
                found.append(span)
    return found


def _computed(
    db: Database,
    lake: Lake,
    series: Sequence[int],
    kind: int,
    period: Period,
    low: int,
    high: int,
    as_of: float | None = None,
) -> Cells:
    """From the readings, no more than a month of some series at a time."""
    parts = []
    for some in _some(series, kind):
        days = [
            _up_to(_hours(db, lake, some, kind, start, end, as_of), min(period, Period.DAY))
            for _, start, end in history.months(low, high)
        ]
        parts.append(_up_to(_together([_NOTHING, *days]), period))
    return _together([_NOTHING, *parts])


def _some(series: Sequence[int], kind: int) -> Iterator[Sequence[int]]:
    size = READ_AT_ONCE[kind in HOURS_KEPT]
    for at in range(0, len(series), size):
        yield series[at : at + size]


def _up_to(hours: Cells, period: Period) -> Cells:
    """Hours put together level by level, as sums are defined."""
    for level in range(Period.DAY, period + 1):
        hours = gathered(hours, Period(level))
    return hours


def _hours(
    db: Database, lake: Lake, series: Sequence[int], kind: int, start: int, end: int, as_of: float | None = None
) -> Cells:
    readings = query.readings(db, lake, series, kind, start, end, as_of, "force")
    return gathered(of_each(readings, query.failed(db, series, kind, start, end, as_of)), Period.HOUR)


def _marked(db: Database, lake: Lake, kind: int, marks: pa.Table) -> Cells:
    """Hours of exactly the marked (series, day)."""
    months: dict[str, list[int]] = defaultdict(list)
    days = marks["day"].to_numpy()
    for at, day in enumerate(days.tolist()):
        months[history.month_of(day)].append(at)
    parts = [_NOTHING]
    for places in months.values():
        mine, series = days[places], np.unique(marks["series"].to_numpy()[places]).tolist()
        for some in _some(series, kind):
            hours = _hours(db, lake, some, kind, int(mine.min()), int(mine.max()) + DAY)
            parts.append(_taken(hours, _among((hours.series, np.asarray(day_of(hours.ts))), marks)))
    return _together(parts)


def _since(db: Database) -> int:
    return int(db.execute("SELECT since FROM aggregated").fetchone()[0])


def _marks(db: Database, series: Sequence[int], kind: int, low: int, high: int) -> pa.Table:
    """(series, day) of marks that touch [low, high)."""
    sql = """SELECT t.series, t.day FROM json_each(?) s CROSS JOIN stale t ON t.series = s.value
             WHERE t.kind = ? AND t.day >= ? AND t.day < ? ORDER BY t.series, t.day"""
    rows = db.execute(sql, (json_ints(series), kind, day_of(low), high))
    return columns.table(_MARKS, rows)


_MARKS = columns.schema("series day", day=pa.int64())


def _between(marks: pa.Table, span: Span) -> pa.Table:
    day = marks["day"].to_numpy()
    return marks.filter(pa.array((day >= span.start) & (day < span.end)))


def _stored(db: Database, series: Sequence[int], kind: int, period: Period, low: int, high: int) -> Cells:
    sql = f"""SELECT {", ".join(STORED.names)} FROM aggregate
              WHERE series = ? AND kind = ? AND period = ? AND ts >= ? AND ts < ? ORDER BY ts"""
    return _cells(columns.table(STORED, db.of_each(sql, series, (kind, int(period), low, high))))


# ── keeping ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def settle(ledger: Ledger, until: float, most: int) -> int:
    """Compute and keep marked days that were over by `until`, the oldest first, at most so many; returns how many.

    When none is left, one day more of what was there before aggregates were kept is marked (counted as one).
    """
    db = ledger.connection
    sql = "SELECT series, kind, day FROM stale WHERE day <= ? ORDER BY day, series, kind LIMIT ?"
    found = db.execute(sql, (int(until) - DAY, most)).fetchall()
    if not found:
        return _go_back(db)
    kept = [(kind, _marked(db, ledger.history, kind, marks)) for kind, marks in _by_kind(found)]
    with writing(db):
        sealed = [month for (month,) in db.execute("SELECT DISTINCT month FROM manifest")]
        for kind, hours in kept:
            _keep(db, kind, hours, sealed)
        db.executemany("DELETE FROM stale WHERE series = ? AND kind = ? AND day = ?", found)
    ledger.unmarked()
    return len(found)


def _by_kind(found: Sequence[Sequence[int]]) -> Iterator[tuple[int, pa.Table]]:
    for kind in sorted({row[1] for row in found}):
        rows = sorted((row[0], row[2]) for row in found if row[1] == kind)
        yield kind, columns.table(_MARKS, rows)


def _keep(db: Database, kind: int, hours: Cells, sealed: Sequence[str]) -> None:
    """Hours, their days, and the months of these."""
    if kind in HOURS_KEPT:
        begun = begins(hours.ts, Period.MONTH)
        _put(db, kind, Period.HOUR, _taken(hours, ~np.isin(begun, [history.month_span(month)[0] for month in sealed])))
    days = gathered(hours, Period.DAY)
    _put(db, kind, Period.DAY, days)
    begun = begins(days.ts, Period.MONTH)
    for begin in np.unique(begun).tolist():
        series = np.unique(days.series[begun == begin]).tolist()
        end = int(ends(np.array([begin]), Period.MONTH)[0])
        _put(db, kind, Period.MONTH, gathered(_stored(db, series, kind, Period.DAY, begin, end), Period.MONTH))


def _put(db: Database, kind: int, period: Period, cells: Cells) -> None:
    names = [name for name in STORED.names if name not in ("series", "ts")]
    updates = ", ".join(f"{name} = excluded.{name}" for name in names)
    marks = ", ".join("?" * (len(names) + 4))
    rows = zip(*(_cells_of(column) for column in cells), strict=True)
    db.executemany(
        f"""INSERT INTO aggregate (series, kind, period, ts, {", ".join(names)}) VALUES ({marks})
            ON CONFLICT (series, kind, period, ts) DO UPDATE SET {updates}""",
        [(row[0], kind, int(period), *row[1:]) for row in rows],
    )


def _cells_of(column: NDArray[Any]) -> list[Any]:
    """What the database takes: None for NaN."""
    if column.dtype != np.float64:
        return column.tolist()
    cells = column.astype(object)
    cells[np.isnan(column)] = None
    return cells.tolist()


def _go_back(db: Database) -> int:
    """Mark the day before those that are kept; 1 unless nothing lies before them."""
    since = _since(db)
    if since == BEGINNING:
        return 0
    keys = db.execute("SELECT series, kind FROM latest").fetchall()
    first = stale.oldest(db, keys)
    with writing(db):
        if first is None or since <= first:
            db.execute("UPDATE aggregated SET since = ?", (BEGINNING,))
        else:
            stale.mark(db, [(*key, since - DAY) for key in keys])
            db.execute("UPDATE aggregated SET since = ?", (since - DAY,))
    return 1


def leave(db: Database, keys: Iterable[tuple[int, int]], start: int, end: int) -> None:
    """Hours of a month leave when its first file is sealed: from then on they are computed from the readings."""
    db.executemany(
        "DELETE FROM aggregate WHERE series = ? AND kind = ? AND period = ? AND ts >= ? AND ts < ?",
        [(*key, int(Period.HOUR), start, end) for key in keys if key[1] in HOURS_KEPT],
    )


# ── verifying ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Kept(NamedTuple):
    """How many aggregates are kept, by period; how many days are marked; from when on they are kept (None: all)."""

    rows: dict[Period, int]
    marked: int
    since: int | None


def kept(db: Database) -> Kept:
    """See `Store.aggregates_kept`."""
    rows = dict(db.execute("SELECT period, count(*) FROM aggregate GROUP BY period"))
    marked = db.execute("SELECT count(*) FROM stale").fetchone()[0]
    since = _since(db)
    return Kept({period: rows.get(int(period), 0) for period in Period}, marked, None if since == BEGINNING else since)


def are_kept(db: Database, kind: int, start: int, end: int) -> bool:
    """Whether the days of a stretch are kept and none is marked: their readings are not needed for them any more."""
    marked = db.execute("SELECT 1 FROM stale WHERE kind = ? AND day >= ? AND day < ? LIMIT 1", (kind, start, end))
    return _since(db) <= start and marked.fetchone() is None


def differences(db: Database, lake: Lake, month: str | None) -> Iterator[str]:
    """See `Store.aggregate_differences`."""
    keys: dict[int, list[int]] = defaultdict(list)
    for series, kind in db.execute("SELECT series, kind FROM latest ORDER BY kind, series").fetchall():
        keys[kind].append(series)
    for kind, series in keys.items():
        for some in _some(series, kind):
            extent = extent_of(db, some, kind)
            low, high = history.month_span(month) if month else (extent or (0, 0))
            if extent is None or (low, high) == (0, 0):
                continue
            for begin in _each_month(*_whole_months(max(low, extent[0]), min(high, extent[1]))):
                with query.snapshot(db):
                    yield from _differing(db, lake, some, kind, begin)


def _whole_months(low: int, high: int) -> tuple[int, int]:
    return (int(begins(np.array([low]), Period.MONTH)[0]), _ceil(high, Period.MONTH)) if low < high else (0, 0)


def _differing(db: Database, lake: Lake, series: Sequence[int], kind: int, begin: int) -> Iterator[str]:
    """Of one month and some series: what is kept and not marked against what the readings give."""
    end = int(ends(np.array([begin]), Period.MONTH)[0])
    hours = _hours(db, lake, series, kind, begin, end)
    marks = _marks(db, series, kind, begin, end)
    since, gone = _since(db), _gone(db, kind, begin)
    for period in Period:
        spans = _spans(db, kind, period, begin, end) if period != Period.MONTH else [Span(begin, end, begin >= since)]
        made = _up_to(hours, period)
        for span in spans:
            if span.kept:
                stored = _stored(db, series, kind, period, span.start, span.end)
                yield from _compared(kind, period, marks, span, stored, made, gone)


def _gone(db: Database, kind: int, begin: int) -> list[tuple[int, int]]:
    """Series [first, last] of which readings of this kind left a month by a recorded act."""
    sql = "SELECT members FROM forgotten WHERE month = ? AND kind = ?"
    found = db.execute(sql, (history.month_of(begin), kind)).fetchall()
    return [(first, last) for (members,) in found for first, last in json.loads(members)]


def _compared(
    kind: int, period: Period, marks: pa.Table, span: Span, kept: Cells, made: Cells, gone: Sequence[tuple[int, int]]
) -> Iterator[str]:
    """What differs; where readings left by a recorded act, what is kept of them stands for itself."""
    first, second = (_by_key(cells, period, marks, span) for cells in (kept, made))
    for key in sorted(first.keys() | second.keys()):
        left = key not in second and any(low <= key[0] <= high for low, high in gone)
        if first.get(key) != second.get(key) and not left:
            yield (
                f"序列 {key[0]}（{Kind(kind).name}）{beijing(key[1]):%Y-%m-%d %H:%M} 起的{WORDS[period]}统计："
                f"保存的是 {_said(first.get(key))}，由读数重算是 {_said(second.get(key))}"
            )


def _by_key(cells: Cells, period: Period, marks: pa.Table, span: Span) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Cells of a span without those that a mark touches."""
    if period == Period.MONTH:
        touched = pa.table([marks["series"].to_numpy(), begins(marks["day"].to_numpy(), period)], names=["s", "t"])
        behind = _among((cells.series, cells.ts), touched)
    else:
        behind = _among((cells.series, np.asarray(day_of(cells.ts))), marks)
    rows = zip(*map(_cells_of, _taken(cells, ~behind & (cells.ts >= span.start) & (cells.ts < span.end))), strict=True)
    return {(row[0], row[1]): row[2:] for row in rows}


def _said(row: tuple[Any, ...] | None) -> str:
    if row is None:
        return "无"
    return "、".join(f"{name} {cell}" for name, cell in zip(STORED.names[2:], row, strict=True) if cell is not None)


WORDS = {Period.HOUR: "小时", Period.DAY: "日", Period.MONTH: "月"}
