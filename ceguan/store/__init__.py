"""The only room that knows where readings lie: frame archive, ledger, sealed history – behind one door, `Store`.

    archive/     what was received, byte by byte; an acknowledgement stands on it        archive.py
    readings.db  readings and their versions, flags, decisions, verdicts; one writer     ledger.py, schema.py
                 hours, days and months of them                                          aggregates.py, stale.py
    history/     sealed months, immutable Parquet                                        history.py, sealed.py

Writing: gateways and other sources `ArchiveWriter.append` + `sync`; the clockwork reads on with `Store.arrivals` and
takes everything in with `Store.ledger.batch()`. Reading: everybody, through the methods of `Store`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from ceguan import settings
from ceguan.store import aggregates, archive, checked, columns, forgotten, lake, query, sealed, sizes
from ceguan.store.aggregates import Kept
from ceguan.store.archive import (
    ArchiveError,
    ArchiveWriter,
    Position,
    Record,
    RecordKind,
    RecordNotFoundError,
    StreamTakenError,
    next_free_stream,
    open_free_stream,
)
from ceguan.store.database import Database, connect_reader
from ceguan.store.errors import HistoryError, LedgerError, LedgerTakenError
from ceguan.store.forgotten import ForgottenError
from ceguan.store.incoming import CHANGED, SAME, Added, in_columns
from ceguan.store.ledger import (
    BadFrame,
    Batch,
    Decision,
    DeviceDay,
    Fill,
    Flag,
    Gap,
    Heard,
    Ledger,
    QualityRun,
    Quarantined,
    StoredVerdict,
    UnknownFrame,
    Verdict,
    Warned,
    decision_content,
    first_break,
    note,
    positions,
)
from ceguan.store.query import thin
from ceguan.store.sizes import Part
from ceguan.words import FrameRef, Period

if TYPE_CHECKING:
    from ceguan.store import compute

__all__ = [
    "CHANGED",
    "SAME",
    "Added",
    "ArchiveError",
    "ArchiveWriter",
    "BadFrame",
    "Batch",
    "Decision",
    "DeviceDay",
    "Fill",
    "Flag",
    "ForgottenError",
    "Gap",
    "Heard",
    "HistoryError",
    "Ledger",
    "LedgerError",
    "LedgerTakenError",
    "Part",
    "Position",
    "QualityRun",
    "Quarantined",
    "Record",
    "RecordKind",
    "RecordNotFoundError",
    "Store",
    "StoredVerdict",
    "StreamTakenError",
    "UnknownFrame",
    "Verdict",
    "Warned",
    "decision_content",
    "first_break",
    "in_columns",
    "next_free_stream",
    "open_free_stream",
    "thin",
]

FEW_SERIES = 500
MOST_LEDGERS = 4
"""Ledgers one thread reads at a time; a platform has one, a tool that compares has two."""
_local = threading.local()


class Reader:
    """A thread's read-only connection to one ledger, and what is kept of it."""

    def __init__(self, path: Path, url: str) -> None:
        self.db = connect_reader(path, url)
        self.latest = query.LatestOfAll()


class Store:
    """The door. Opening it to read costs next to nothing: each thread keeps one connection to a ledger, to at most
    MOST_LEDGERS of them; whichever was read longest ago makes room for another.

    `database`: URL of the PostgreSQL that holds the ledger, "" for SQLite in the folder; `history`: where sealed files
    lie, see `lake.of`, "" for the folder; None = as the settings say.
    With `write=True` it also holds the ledger's only writer as `ledger` (raises LedgerTakenError); close it, or use it
    as a context manager. All times are UTC epoch seconds, all ranges [start, end). Absent numbers are NaN.

    `as_of` is a moment and means the same in every read that has it: the answer that could be given then. Readings
    count that had been received by then (to the second, as the archive shows), from an unknown device or quarantine
    only if a person had let them in by then; flags, decisions and verdicts that had been made; gaps as they were known.
    None: all that is known now. What has no `as_of`: one record by its number (`frame`, `verdict`), for it never
    changes; sums and marks that are carried on (`device_days`, `warnings`, `dialects`, `usual`, `quality_runs`) and
    lists of what is to be done now (`fills`, `unknown_devices`, `gaps_since`, `held…`), for their past is not kept; bad
    frames, for `end` says it.
    """

    def __init__(
        self, folder: Path | str, write: bool = False, database: str | None = None, history: str | None = None
    ) -> None:
        self.folder = Path(folder)
        values = settings.load(data=str(folder))
        self._url = values.database_url if database is None else database
        self.archive = self.folder / "archive"
        url = values.history_url if history is None else history
        self.history = lake.of(self.folder, url, int(values.history_cache_gb * 2**30))
        self._block = int(values.history_series)
        self._path = self.folder / "readings.db"
        self._ledger = Ledger(self._path, self._url, self.history) if write else None

    @property
    def ledger(self) -> Ledger:
        """The writer. Raises LedgerError when the store was opened for reading."""
        if self._ledger is None:
            raise LedgerError("本处只读打开了台账;写入须用 Store(folder, write=True)")
        return self._ledger

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── readings ──────────────────────────────────────────────────────────────────────────────────────────────────

    def readings(
        self,
        series: Sequence[int],
        kind: int,
        start: float,
        end: float,
        *,
        as_of: float | None = None,
        versions: query.Versions = "force",
    ) -> pa.Table:
        """Readings of these series and kind with start <= ts < end, sorted (series, ts, ver); hot and sealed alike.

        "force": the newest version of each, with READING_COLUMNS + `value_in_force`, `zs_in_force` (decisions applied),
        `decision` (its id, 0 = none) and `action` ("" = none; "exempt" leaves the value, the judge leaves it out).
        "all": every version, READING_COLUMNS only.
        """
        return query.readings(self._db, self.history, series, kind, start, end, as_of, versions)

    def matrix(
        self, series: ArrayLike, kind: int, start: int, end: int, step: int = 3600, *, as_of: float | None = None
    ) -> query.Matrix:
        """Values in force of many series as one dense array: `series` (places, factors), negative = none → values
        (places, cells, factors), a cell for each `step` seconds of [start, end). Of several readings in a cell the last
        one counts. Budget: 300 places × 744 hours × 6 factors of a sealed month ≤ 300 ms warm."""
        wanted = np.asarray(series, np.int64)
        return query.matrix(self._db, self.history, wanted, kind, int(start), int(end), step, as_of)

    def thinned(
        self, series: int, kind: int, start: float, end: float, points: int, *, as_of: float | None = None
    ) -> pa.Table:
        """As `readings` in force of one series, but at most `points` rows that draw the same line (see `thin`); never
        more than a month is held at once. Budget: a year of minutes ≤ 1 s."""
        return query.thinned(self._db, self.history, series, kind, math.ceil(start), math.ceil(end), points, as_of)

    def aggregates(
        self,
        series: Sequence[int],
        kind: int,
        period: Period,
        start: float,
        end: float,
        *,
        every: int = 0,
        now: float | None = None,
        as_of: float | None = None,
    ) -> pa.Table:
        """Hours, Beijing days or months of readings in force, those that begin in [start, end), sorted (series, ts).

        `present` readings, of which `valid` ones count (device flag, FAIL of a test, decision: `layers.valid`) and of
        which people have `decided` some (0: all provisional); of the valid ones `mean`, `min`, `max`, `first`, `last`,
        `zs_mean` (of those with a converted value) and `cou` (sum of totals in the interval), NaN where there is none.
        `expected`: intervals of `every` seconds that were over by `now` (None: all); null where no interval is known
        (`every` 0, real-time or minute readings). A period without any reading has no row.

        They describe; means with a statute's rules of validity are verdicts. Answers never lag behind the readings:
        what changed is computed on the spot. `as_of` is computed from the layers, nothing kept is used. Raises
        ValueError for hours of daily readings. Budget: a year of minutes of a series as days ≤ 50 ms.
        """
        return aggregates.aggregates(
            self._db, self.history, series, int(kind), Period(period), start, end, every, now, as_of
        )

    def extent(self, series: Sequence[int], kind: int) -> tuple[int, int] | None:
        """[from, to) outside of which these series have no reading of this kind, hot or sealed; None: none at all."""
        with query.snapshot(self._db):
            return aggregates.extent_of(self._db, series, int(kind))

    def latest(
        self, series: Sequence[int] | None = None, kind: int | None = None, *, as_of: float | None = None
    ) -> pa.Table:
        """The newest reading of each series and kind (columns as `readings`), sorted (series, kind); None = all.

        Budget: 20,000 series ≤ 20 ms warm. With `as_of` it is looked for, back through ledger and sealed files.
        """
        if as_of is not None or (series is not None and len(series) <= FEW_SERIES):
            return query.latest(self._db, self.history, series, kind, as_of)
        table = self._all_latest()
        keep = np.ones(table.num_rows, dtype=bool)
        if kind is not None:
            keep &= table["kind"].to_numpy() == kind
        if series is not None:
            keep &= np.isin(table["series"].to_numpy(), np.asarray(series, dtype=np.int64))
        return table if keep.all() else table.filter(pa.array(keep))

    def exact(self, keys: Iterable[Sequence[int]], *, as_of: float | None = None) -> pa.Table:
        """Exactly these versions, e.g. a verdict's `inputs`: rows for (series, kind, ts, ver) as received."""
        return query.exact(self._db, self.history, keys, as_of)

    def parts(self, plan: compute.Plan, start: int, end: int) -> list[compute.Part]:
        """All hourly readings of a plan in [start, end), whole Beijing days, in parts for `compute.evaluate`."""
        from ceguan.store import compute  # needs numba, which only who evaluates years waits for

        return compute.parts(self._db, self.history, plan, start, end)

    # ── layers over them ──────────────────────────────────────────────────────────────────────────────────────────

    def flags(
        self,
        series: Sequence[int],
        kind: int,
        start: float,
        end: float,
        *,
        as_of: float | None = None,
        versions: query.Versions = "force",
    ) -> pa.Table:
        """Outcomes of quality tests other than PASS, one row per reading and test; "all": every turn, also lifted."""
        return query.flags(self._db, series, kind, start, end, as_of, versions)

    def quality_runs(self, series: Sequence[int], kind: int, start: float, end: float) -> pa.Table:
        """Which tests were run over which stretch of time, with version and parameters."""
        return query.quality_runs(self._db, series, kind, start, end)

    def decisions(
        self,
        series: Sequence[int] | None = None,
        kind: int | None = None,
        start: float | None = None,
        end: float | None = None,
        *,
        as_of: float | None = None,
    ) -> pa.Table:
        """Decisions whose stretch touches [start, end), in the order of the hash chain (see `first_break`)."""
        return query.decisions(self._db, series, kind, start, end, as_of)

    # ── verdicts ──────────────────────────────────────────────────────────────────────────────────────────────────

    def verdicts(
        self,
        points: Sequence[int] | int | None = None,
        rule: str | None = None,
        start: float | None = None,
        end: float | None = None,
        *,
        as_of: float | None = None,
        all_versions: bool = False,
    ) -> pa.Table:
        """Verdicts sorted (point, rule, ts, ver): the newest version of each, or all; `detail`, `inputs` as JSON."""
        some = [points] if isinstance(points, int) else points
        return query.verdicts(self._db, some, rule, start, end, as_of, all_versions)

    def verdict_extent(self, point: int) -> tuple[int, int] | None:
        """[from, to) of the times of all verdicts on a point; None without any."""
        return query.verdict_extent(self._db, point)

    def latest_verdicts(
        self, rule: str | None, points: Sequence[int] | None = None, *, as_of: float | None = None
    ) -> pa.Table:
        """The verdict with the newest ts of this rule (None: of every rule), one row per point and rule."""
        return query.latest_verdicts(self._db, rule, points, as_of)

    def verdict(self, number: int) -> dict[str, Any] | None:
        """One verdict by id, `detail` and `inputs` parsed; None when there is none."""
        return self.verdicts_of([number]).get(number)

    def verdicts_of(self, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Verdicts by id, each like `verdict`; those there are not are left out."""
        return query.verdicts_of(self._db, numbers)

    # ── intake ────────────────────────────────────────────────────────────────────────────────────────────────────

    def frame(self, ref: FrameRef | int) -> Record:
        """The record as received (ref or its packed form, as in the column `frame`).

        Raises RecordNotFoundError, as ForgottenError where it was deleted by a recorded act.
        """
        place = FrameRef.unpack(ref) if isinstance(ref, int) else ref
        try:
            return archive.fetch(self.archive, place)
        except RecordNotFoundError:
            gone = forgotten.explain(self.archive, place.stream, place.segment)
            if gone is None:
                raise
            raise ForgottenError(str(gone)) from None

    def arrivals(self, after: dict[int, Position] | None = None) -> Iterator[Record]:
        """Records of all streams behind the positions – by default behind what the ledger has taken in."""
        return archive.read(self.archive, self.positions() if after is None else after)

    def received(self, start: float, end: float, mns: Iterable[str]) -> Iterator[Record]:
        """Records received in [start, end) that name one of these devices, stream by stream, as they came."""
        return archive.received(self.archive, start, end, {mn.encode() for mn in mns})

    def positions(self) -> dict[int, Position]:
        """How far the ledger has taken in each stream."""
        return positions(self._db)

    def backlog(self) -> int:
        """Bytes of the archive that the ledger has not taken in yet."""
        return archive.backlog(self.archive, self.positions())

    def bad_frames(
        self, start: float = 0, end: float = query.FOREVER, mn: str | None = None, limit: int = 500
    ) -> pa.Table:
        """Bytes that were no good frame, newest first."""
        return query.bad_frames(self._db, start, end, mn, limit)

    def unknown_devices(self) -> list[dict[str, Any]]:
        """Devices waiting for adoption, latest first; `cns` (list) and `factors` (code → last value) parsed."""
        found = columns.select(
            self._db, columns.UNKNOWN_SCHEMA, "SELECT {columns} FROM unknown_device ORDER BY last_recv DESC"
        )
        return [
            {**row, "cns": orjson.loads(row["cns"]), "factors": orjson.loads(row["factors"])}
            for row in found.to_pylist()
        ]

    def held_frames(self, mn: str) -> list[int]:
        """FrameRef.packed of an unknown device's frames, in the order received."""
        sql = "SELECT frame FROM held_frame WHERE mn = ? ORDER BY recv, frame"
        return [frame for (frame,) in self._db.execute(sql, (mn,))]

    def device_days(self, first_day: str, last_day: str, mn: str | None = None) -> pa.Table:
        """Counters per device and Beijing day ("2026-03-01"), both days included."""
        return query.device_days(self._db, first_day, last_day, mn)

    def dialects(self, mn: str | None = None) -> pa.Table:
        """CRC dialects that devices have used, adopted or not; of each device the one heard last first."""
        return query.dialects(self._db, mn)

    def warnings(self, first_day: str, last_day: str, mn: str | None = None) -> pa.Table:
        """What was odd about frames that count: per device, Beijing day (both included) and kind."""
        return query.warnings(self._db, first_day, last_day, mn)

    def usual(self) -> dict[tuple[str, int], dict[str, int]]:
        """What devices usually send: (MN, kind) → factor → how often in a row (negative: how often it was missing)."""
        found = self._db.execute("SELECT mn, kind, factors FROM usual")
        return {(mn, kind): orjson.loads(factors) for mn, kind, factors in found}

    def quarantined(
        self, state: str | None = "held", mn: str | None = None, limit: int = 500, *, as_of: float | None = None
    ) -> pa.Table:
        """Frames that wait for a person, newest first; `state` None: also those released and dismissed."""
        return query.quarantined(self._db, state, mn, limit, as_of)

    def held_dialects(self) -> set[tuple[str, str]]:
        """(MN, dialect) of frames in quarantine because the dialect is not confirmed for the device."""
        sql = "SELECT DISTINCT mn, substr(cause, 9) FROM quarantine WHERE state = 'held' AND cause LIKE 'dialect:%'"
        return set(self._db.execute(sql))

    def held_for(self, mn: str, cause: str) -> list[int]:
        """FrameRef.packed of a device's frames in quarantine for this cause, in the order received."""
        sql = "SELECT frame FROM quarantine WHERE state = 'held' AND mn = ? AND cause = ? ORDER BY recv, frame"
        return [frame for (frame,) in self._db.execute(sql, (mn, cause))]

    def held(self, frames: Iterable[int]) -> dict[int, Quarantined]:
        """Those of the frames that are in quarantine."""
        sql = """SELECT frame, mn, recv, cause, kind, ts, items, parts FROM quarantine
                 WHERE state = 'held' AND frame = ?"""
        found = (self._db.execute(sql, (frame,)).fetchone() for frame in frames)
        return {row[0]: Quarantined._make((*row[:7], orjson.loads(row[7]))) for row in found if row}

    def held_times(self, mn: str, start: int, end: int) -> list[int]:
        """Times in [start, end) of which readings of a device are in quarantine."""
        sql = "SELECT DISTINCT ts FROM quarantine WHERE state = 'held' AND mn = ? AND ts >= ? AND ts < ?"
        return [ts for (ts,) in self._db.execute(sql, (mn, start, end))]

    def quarantine_counts(self) -> dict[str, int]:
        """MN → frames in quarantine."""
        return dict(self._db.execute("SELECT mn, count(*) FROM quarantine WHERE state = 'held' GROUP BY mn"))

    def gaps(
        self, series: Sequence[int], kind: int, start: float, end: float, *, as_of: float | None = None
    ) -> pa.Table:
        """Missing stretches that touch [start, end), with their cause, sorted (series, ts_from)."""
        return query.gaps(self._db, series, kind, start, end, as_of)

    def gaps_since(self, kind: int, start: int, causes: Sequence[str]) -> list[tuple[int, int, int]]:
        """(series, from, to) of gaps of all series that begin at `start` or later and have one of these causes."""
        return query.gaps_since(self._db, kind, start, causes)

    def fills(
        self,
        mns: Sequence[str] | None = None,
        kind: int | None = None,
        start: int | None = None,
        *,
        unfinished: bool = False,
    ) -> list[Fill]:
        """Missing stretches that devices are or were asked for, the newest first.

        `start`: those that begin there or later; `unfinished`: those that wait or have been asked for.
        """
        return query.fills(self._db, mns, kind, start, unfinished)

    def waits_for_people(self, stream: int, segment: int) -> bool:
        """Whether a frame of this segment waits for the adoption of its device, or in quarantine."""
        span = (FrameRef(stream, segment, 0).packed, FrameRef(stream, segment + 1, 0).packed)
        sql = """SELECT (SELECT count(*) FROM held_frame WHERE frame >= ? AND frame < ?)
                      + (SELECT count(*) FROM quarantine WHERE state = 'held' AND frame >= ? AND frame < ?)"""
        return bool(self._db.execute(sql, (*span, *span)).fetchone()[0])

    def times(
        self, series: Sequence[int], kind: int, start: int, end: int, *, as_of: float | None = None
    ) -> NDArray[np.int64]:
        """(series, ts) of readings with start <= ts < end as two columns, sorted: when there are any."""
        return query.times(self._db, self.history, series, kind, start, end, as_of)

    # ── house-keeping ─────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, key: str) -> Any:
        """What `Batch.note` remembered under this key, or None."""
        return note(self._db, key)

    def months_due(self, now: float, hot_days: int) -> list[str]:
        """Months that could be sealed."""
        return list(dict.fromkeys(month for month, _ in sealed.due(self.ledger, now, hot_days, self._block)))

    def seal(self, month: str, now: float) -> list[Path]:
        """Move a Beijing month ("2026-03") from the ledger to immutable files, one for each block of `history_series`
        series; again, after late data, those blocks that have some. Returns the new files."""
        return sealed.seal(self.ledger, month, now, self._block)

    def seal_due(self, now: float, hot_days: int) -> Path | None:
        """Seal one block of one of the months that are due, the oldest; None when nothing is."""
        return sealed.seal_due(self.ledger, now, hot_days, self._block)

    def settle(self, until: float, most: int = 200) -> int:
        """Compute and keep the aggregates of days that changed and were over by `until`, at most so many days of a
        series; returns how many. Call again while it returns something."""
        return aggregates.settle(self.ledger, until, most)

    def aggregates_kept(self) -> Kept:
        """How many aggregates are kept, and what is still to be computed."""
        return aggregates.kept(self._db)

    def aggregate_differences(self, month: str | None = None) -> Iterator[str]:
        """A sentence for each aggregate kept (of a Beijing month, or of all) that its readings do not give any more."""
        return aggregates.differences(self._db, self.history, month)

    def weigh(self, month: str, kind: int, series: Sequence[int]) -> int:
        """How many readings of a kind the sealed files of a Beijing month hold of these series."""
        return sealed.weigh(self._db, self.history, month, kind, series)

    def lighten(self, leaving: sealed.Leaving, now: float) -> bool:
        """Seal one block of a month again without what leaves by a recorded act; False when none is left to do."""
        return sealed.lighten(self.ledger, leaving, now)

    def sweep(self, before: float) -> int:
        """Remove the sealed files that lighter ones took the place of before a moment; returns how many."""
        return sealed.sweep(self.ledger.connection, self.history, before)

    def forgotten(self) -> pa.Table:
        """What left sealed months by recorded acts, as FORGOTTEN_SCHEMA (rows 0: nothing was there to leave)."""
        sql = "SELECT {columns} FROM forgotten ORDER BY month, part, at"
        return columns.select(self._db, columns.FORGOTTEN_SCHEMA, sql)

    def left(self, series: int, kind: int, start: float, end: float) -> list[tuple[str, str, float]]:
        """(month, rule, when it was decided) where readings of a series in [start, end) left by a recorded act."""
        return sealed.left(self._db, series, kind, start, end)

    def breaks(self) -> Iterator[str]:
        """What of the ledger does not hold (chain of decisions, append-only triggers, sealed files, archive positions),
        a sentence each."""
        return checked.breaks(self._db, self.history, self.archive)

    def manifest(self) -> pa.Table:
        """Every sealed file ever listed: the series [part, series_to) of a month; of each the newest generation is in
        force."""
        sql = "SELECT {columns} FROM manifest ORDER BY month, part, generation"
        return columns.select(self._db, columns.MANIFEST_SCHEMA, sql)

    def standing(self) -> pa.Table:
        """Of `manifest` the files that are to be there: not those that readings left by a recorded act."""
        sql = f"SELECT {{columns}} FROM {sealed.STANDING} m ORDER BY month, part, generation"
        return columns.select(self._db, columns.MANIFEST_SCHEMA, sql)

    def measured(self) -> list[Part]:
        """What each part takes, on this disk and elsewhere."""
        return sizes.measure(self.folder, self._db, self.history)

    def count(self) -> int:
        """Readings in the ledger that are not sealed yet, counted one by one: seconds for a large ledger."""
        return int(self._db.execute("SELECT count(*) FROM reading").fetchone()[0])

    @property
    def _db(self) -> Database:
        return self._reader.db

    @property
    def _reader(self) -> Reader:
        """This thread's (a forked child gets its own)."""
        key = (os.getpid(), self._url or str(self._path.absolute()))
        readers: dict[tuple[int, str], Reader] = _local.__dict__.setdefault("readers", {})
        readers[key] = reader = readers.pop(key, None) or Reader(self._path, self._url)  # the last is the newest
        mine = [one for one in readers if one[0] == key[0]]
        for oldest in mine[:-MOST_LEDGERS]:
            readers.pop(oldest).db.close()
        return reader

    def _all_latest(self) -> pa.Table:
        """`latest` of everything, kept by each thread and brought up to date when somebody has committed."""
        return self._reader.latest.table(self._reader.db)
