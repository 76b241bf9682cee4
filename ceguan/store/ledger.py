"""The ledger: readings.db, one writer, any number of readers. What is in it came through the archive, exactly once.

`Ledger.batch()` is the only way in: one transaction carries readings, flags, verdicts, counters and the archive
positions they came from, so after a crash each archive record has been materialised once – or will be.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from ceguan.store import stale
from ceguan.store.archive import Position
from ceguan.store.database import Database, connect_writer, json_ints
from ceguan.store.errors import LedgerTakenError
from ceguan.store.incoming import Added, Newest, in_columns, take_in
from ceguan.store.lake import Lake
from ceguan.words import Outcome

Row = Sequence[Any]
InForce = dict[int, list[Any]]
"""Of a series and test: ts → turn, ver, version, outcome, params, evidence of the newest row."""


class QualityRun(NamedTuple):
    """One test run over [ts_from, ts_to) of one series: the proof that it was tested."""

    series: int
    kind: int
    ts_from: int
    ts_to: int
    test: str
    version: str
    params: Mapping[str, Any]
    made_at: float


class Flag(NamedTuple):
    """An outcome other than PASS for one reading of a run."""

    ts: int
    ver: int
    outcome: int
    evidence: Mapping[str, Any]


class Decision(NamedTuple):
    """A person's decision about the readings of a series in [ts_from, ts_to)."""

    series: int
    kind: int
    ts_from: int
    ts_to: int
    action: str  # keep, invalidate, substitute, exempt
    who: str
    at: float
    why: str
    frame: int  # FrameRef.packed of the archive record that carried it
    evidence: str = ""
    value: float | None = None  # the substitute
    zs: float | None = None  # the substitute converted to reference oxygen


class Verdict(NamedTuple):
    """What a rule says about a point at a time; `inputs` are the reading versions it rests on."""

    point: int
    rule: str
    ts: int
    outcome: str
    value: float | None
    level: str
    edition: str
    clause: str
    detail: Mapping[str, Any]
    inputs: Sequence[Sequence[int]]  # (series, kind, ts, ver)
    made_at: float


class StoredVerdict(NamedTuple):
    """What became of one verdict; `previous` is the id of the version before it, None for the first."""

    verdict: Verdict
    id: int
    ver: int
    previous: int | None


class BadFrame(NamedTuple):
    frame: int
    recv: float
    source: str
    mn: str
    error: str
    size: int


class UnknownFrame(NamedTuple):
    """One frame of a device nobody has adopted."""

    mn: str
    frame: int
    recv: float
    st: str
    cn: str
    factors: Mapping[str, str]  # factor code → last value as sent
    source: str


class Warned(NamedTuple):
    """How often something odd was met in a device's frames of a Beijing day, and the last frame with it."""

    mn: str
    day: str
    kind: str
    times: int
    frame: int


class Heard(NamedTuple):
    """Frames of a device in one CRC dialect, to add to what it has used so far."""

    mn: str
    dialect: str
    frames: int
    first_recv: float
    last_recv: float


class Quarantined(NamedTuple):
    """A good frame whose readings wait for a person. `parts`: all frames of its message when it came in parts."""

    frame: int
    mn: str
    recv: float
    cause: str
    kind: int | None
    ts: int | None
    items: int
    parts: Sequence[int] = ()


class DeviceDay(NamedTuple):
    """Counts to add to a device's Beijing day ("2026-03-01"); delays in seconds."""

    mn: str
    day: str
    frames: int
    bad: int
    late: int
    items: int
    same: int
    changed: int
    first_recv: float
    last_recv: float
    max_delay: float
    sum_delay: float


class Gap(NamedTuple):
    ts_from: int
    ts_to: int
    cause: str


class Fill(NamedTuple):
    """A missing stretch of a device and how far filling it has come; `why`: a return code, or a cause in words."""

    mn: str
    kind: int
    ts_from: int
    ts_to: int
    state: str
    tries: int
    command: int | None
    changed: float
    why: str


@contextmanager
def writing(connection: Database) -> Iterator[None]:
    """One transaction: committed when the block ends, undone when it raises."""
    connection.begin()
    try:
        yield
        connection.commit()
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


class Ledger:
    """The writer's door to the ledger; holds an exclusive lock until `close`. For reading see `Store`.

    Use from one thread. Raises LedgerTakenError when another process writes.
    """

    def __init__(self, path: Path, url: str = "", lake: Lake | None = None) -> None:
        self.path = path
        self.history = lake or Lake(str(path.parent / "history"))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = take_lock(path)
        try:
            self.connection = connect_writer(path, url)
        except BaseException:
            os.close(self._lock)
            raise
        self._newest: Newest | None = None

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """One transaction. Everything in it is durable when the block ends, or none of it when it raises.

        The methods of `Store` read what has been committed: they see a batch only after its block has ended.
        """
        try:
            with writing(self.connection):
                yield Batch(self.connection, self.history, self._known)
        except BaseException:
            self._newest = None  # what was undone, or written by whoever took over, must be asked again
            raise

    def _known(self) -> Newest:
        if self._newest is None:
            self._newest = Newest(self.connection)
        return self._newest

    def unmarked(self) -> None:
        """Marks of days were taken away: what was marked is not remembered any more."""
        if self._newest is not None:
            self._newest.marked.clear()

    def positions(self) -> dict[int, Position]:
        """How far each archive stream has been materialised."""
        return positions(self.connection)

    def note(self, key: str) -> Any:
        """A fact kept by `Batch.note`, or None."""
        return note(self.connection, key)

    def held_frames(self, mn: str) -> list[int]:
        """FrameRef.packed of what waits for the adoption of this device, in the order received."""
        sql = "SELECT frame FROM held_frame WHERE mn = ? ORDER BY recv, frame"
        return [frame for (frame,) in self.connection.execute(sql, (mn,))]

    def close(self) -> None:
        self.connection.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


class Batch:
    """What one transaction of the ledger can take in. Get one from `Ledger.batch()`."""

    def __init__(self, connection: Database, lake: Lake, newest: Callable[[], Newest]) -> None:
        self._db = connection
        self._history = lake
        self._newest = newest

    def add_readings(self, readings: pa.Table | Iterable[Row]) -> Added:
        """Take in readings; `ver` is ignored, NaN or None = absent.

        Rows, a table, or columns (`in_columns`) in the order of READING_COLUMNS.

        Idempotent: a reading whose newest version has the same value, zs, vmin, vmax, cou and flag is a no-op; one that
        differs becomes the next version – also when its month is sealed. Rows of one call are taken in their order.
        """
        given = in_columns(readings)
        return take_in(self._db, self._history, self._newest(), given)

    def add_flags(self, tested: Sequence[tuple[QualityRun, Sequence[Flag]]]) -> int:
        """Record test runs, each with its outcomes other than PASS. Returns how many flag rows that made.

        An outcome already in force is not written again; a flag in force that its run no longer finds is lifted by a
        PASS row. Flags outside [run.ts_from, run.ts_to) raise ValueError. Runs given together should be of about the
        same time: what is known of all their series is read from the first begin to the last end.
        """
        for run, flags in tested:
            if any(not run.ts_from <= flag.ts < run.ts_to for flag in flags):
                raise ValueError(f"{run.test}: a flag lies outside the run [{run.ts_from}, {run.ts_to})")
        by_kind: dict[int, list[tuple[QualityRun, Sequence[Flag]]]] = defaultdict(list)
        for one in tested:
            by_kind[one[0].kind].append(one)
        rows, failed = list[Row](), set[tuple[int, int, int]]()
        for kind, some in by_kind.items():
            in_force = self._flags_in_force(kind, [run for run, _ in some])
            for run, flags in some:
                if flags or (run.series, run.test) in in_force:
                    new = list(_turned(run, flags, in_force[run.series, run.test]))
                    rows += [row for row, _ in new]
                    failed |= {(run.series, kind, stale.day_of(row[2])) for row, counts in new if counts}
            self._prove(kind, [run for run, _ in some])
        self._db.executemany(f"INSERT INTO flag VALUES ({_marks(11)})", rows)
        stale.mark(self._db, failed)
        return len(rows)

    def add_decision(self, decision: Decision) -> int:
        """Append a decision to the hash chain; returns its id."""
        decision = _as_stored(decision)
        last = self._db.execute("SELECT id, hash FROM decision ORDER BY id DESC LIMIT 1").fetchone()
        number, previous = (last[0] + 1, last[1]) if last else (1, "0" * 64)
        digest = decision_hash(number, previous, decision)
        row = {"id": number, **decision._asdict(), "prev_hash": previous, "hash": digest}
        self._db.execute(f"INSERT INTO decision ({', '.join(row)}) VALUES ({_marks(len(row))})", tuple(row.values()))
        stale.mark_span(self._db, decision.series, decision.kind, decision.ts_from, decision.ts_to)
        return number

    def add_verdicts(self, verdicts: Iterable[Verdict]) -> list[StoredVerdict]:
        """Take in verdicts; returns those that are new or differ from the newest version (which stays, as history).

        A verdict that says the same, of the same inputs, is a no-op whatever its `made_at`.
        """
        given = [(_verdict_key(verdict), _verdict_content(verdict), verdict) for verdict in verdicts]
        stored = list(self._news(given))
        names = "id, point, rule, ts, ver, outcome, value, level, edition, clause, detail, inputs, made_at"
        self._db.executemany(
            f"INSERT INTO verdict ({names}) VALUES ({_marks(13)})",
            [
                (one.id, one.verdict.point, one.verdict.rule, one.verdict.ts, one.ver, *content, one.verdict.made_at)
                for one, content in stored
            ],
        )
        latest: dict[tuple[str, int], tuple[int, int]] = {}
        for one, _ in stored:
            at = (one.verdict.rule, one.verdict.point)
            latest[at] = max(latest.get(at, (one.verdict.ts, one.id)), (one.verdict.ts, one.id))
        self._db.executemany(
            """INSERT INTO latest_verdict VALUES (?, ?, ?, ?)
               ON CONFLICT (rule, point) DO UPDATE SET ts = excluded.ts, id = excluded.id
               WHERE excluded.ts >= latest_verdict.ts""",
            [(*at, *newest) for at, newest in latest.items()],
        )
        return [one for one, _ in stored]

    def _news(self, given: Sequence[tuple[tuple[str, int, int], Row, Verdict]]) -> Iterator[tuple[StoredVerdict, Row]]:
        """Those that say something new, with their content and their place; ids go on behind the last."""
        keys = list(dict.fromkeys(key for key, _, _ in given))
        newest = {tuple(row[:3]): (tuple(row[3:10]), *row[10:]) for row in self._db.newest_verdicts(keys)}
        last = self._db.execute("SELECT max(id) FROM verdict").fetchone()[0] or 0 if given else 0
        for key, content, verdict in given:
            before, previous, ver = newest.get(key, (None, None, -1))
            if before != content:
                last += 1
                newest[key] = (content, last, ver + 1)
                yield StoredVerdict(verdict, last, ver + 1, previous), content

    def move(self, positions: Mapping[int, Position]) -> None:
        """Archive positions up to which everything has been taken in with this batch."""
        self._db.executemany(
            "INSERT INTO position VALUES (?, ?, ?) "
            "ON CONFLICT (stream) DO UPDATE SET segment = excluded.segment, offset = excluded.offset",
            [(stream, *position) for stream, position in positions.items()],
        )

    def add_bad_frames(self, frames: Iterable[BadFrame]) -> None:
        self._db.executemany(f"INSERT INTO bad_frame VALUES ({_marks(6)}) ON CONFLICT DO NOTHING", frames)

    def hold(self, frames: Iterable[UnknownFrame]) -> None:
        """Keep frames of unknown devices for their adoption; adds up what each device has sent so far."""
        for frame in frames:
            self._db.execute(
                "INSERT INTO held_frame VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (frame.mn, frame.frame, frame.recv)
            )
            seen = self._db.execute("SELECT * FROM unknown_device WHERE mn = ?", (frame.mn,)).fetchone()
            first, count = (seen[1], seen[3]) if seen else (frame.recv, 0)
            cns = sorted({*(orjson.loads(seen[5]) if seen else ()), frame.cn} - {""})
            factors = {**(orjson.loads(seen[6]) if seen else {}), **frame.factors}
            self._db.execute(
                f"""INSERT INTO unknown_device VALUES ({_marks(8)}) ON CONFLICT (mn) DO UPDATE SET
                    last_recv = excluded.last_recv, frames = excluded.frames, st = excluded.st, cns = excluded.cns,
                    factors = excluded.factors, source = excluded.source""",
                (frame.mn, first, frame.recv, count + 1, frame.st, _json(cns), _json(factors), frame.source),
            )

    def release(self, mn: str, at: float) -> None:
        """Forget that a device was unknown: adopted at this moment, its held frames are taken in with this batch."""
        frames = self._db.execute("SELECT frame FROM held_frame WHERE mn = ?", (mn,)).fetchall()
        self._admit((frame for (frame,) in frames), at)
        self._db.execute("DELETE FROM held_frame WHERE mn = ?", (mn,))
        self._db.execute("DELETE FROM unknown_device WHERE mn = ?", (mn,))

    def hear(self, heard: Iterable[Heard]) -> None:
        """Add to what is known of the CRC dialects of devices."""
        self._db.executemany(
            f"""INSERT INTO dialect VALUES ({_marks(5)})
                ON CONFLICT (mn, dialect) DO UPDATE SET frames = dialect.frames + excluded.frames,
                    first_recv = min(dialect.first_recv, excluded.first_recv),
                    last_recv = max(dialect.last_recv, excluded.last_recv)""",
            heard,
        )

    def warn(self, warnings: Iterable[Warned]) -> None:
        """Add to the warnings of devices and days."""
        self._db.executemany(
            f"""INSERT INTO warning VALUES ({_marks(5)})
                ON CONFLICT (mn, day, kind) DO UPDATE SET count = warning.count + excluded.count,
                    frame = excluded.frame""",
            warnings,
        )

    def keep_usual(self, usual: Mapping[tuple[str, int], Mapping[str, int]]) -> None:
        """Remember what devices usually send: (MN, kind) → factor → how often in a row."""
        rows = [(*key, _json(factors)) for key, factors in usual.items()]
        self._db.executemany(
            "INSERT INTO usual VALUES (?, ?, ?) ON CONFLICT (mn, kind) DO UPDATE SET factors = excluded.factors", rows
        )

    def quarantine(self, frames: Iterable[Quarantined]) -> None:
        """Hold these frames; one that is in quarantine gets its new cause, one that was settled stays so."""
        self._db.executemany(
            f"""INSERT INTO quarantine VALUES ({_marks(8)}, 'held', '', NULL, '')
                ON CONFLICT (frame) DO UPDATE SET cause = excluded.cause, parts = excluded.parts
                WHERE quarantine.state = 'held'""",
            [(*frame[:7], _json(list(frame.parts))) for frame in frames],
        )

    def settle(self, frames: Iterable[int], state: str, who: str, at: float, why: str) -> int:
        """Frames leave the quarantine, `released` or `dismissed`; returns how many were held."""
        frames = list(frames)
        if state == "released":
            held = "SELECT parts FROM quarantine WHERE state = 'held' AND frame = ?"
            for frame in frames:
                for (parts,) in self._db.execute(held, (frame,)).fetchall():
                    self._admit([frame, *orjson.loads(parts)], at)
        sql = "UPDATE quarantine SET state = ?, who = ?, at = ?, why = ? WHERE frame = ? AND state = 'held'"
        return self._db.executemany(sql, [(state, who, at, why, frame) for frame in frames]).rowcount

    def _admit(self, frames: Iterable[int], at: float) -> None:
        """What these frames say counts since this moment, whenever they were received."""
        sql = "INSERT INTO admitted VALUES (?, ?) ON CONFLICT (frame) DO UPDATE SET at = excluded.at"
        self._db.executemany(sql, [(frame, at) for frame in frames])

    def count(self, days: Iterable[DeviceDay]) -> None:
        """Add to the counters of devices and days."""
        sums = ", ".join(f"{n} = device_day.{n} + excluded.{n}" for n in (*DeviceDay._fields[2:8], "sum_delay"))
        self._db.executemany(
            f"""INSERT INTO device_day ({", ".join(DeviceDay._fields)}) VALUES ({_marks(12)})
                ON CONFLICT (mn, day) DO UPDATE SET {sums},
                    first_recv = min(device_day.first_recv, excluded.first_recv),
                    last_recv = max(device_day.last_recv, excluded.last_recv),
                    max_delay = max(device_day.max_delay, excluded.max_delay)""",
            days,
        )

    def put_gaps(
        self, kind: int, start: int, end: int, gaps: Mapping[int, Sequence[Gap]], found_at: float, grow: bool = False
    ) -> None:
        """Replace the gaps of these series that begin in [start, end). A gap that stays keeps its `found_at`.

        With `grow` a gap that ends at `start` with the same cause grows instead of another one beside it. What was
        known before stays in `past_gap`.
        """
        before = self._gaps_in_force(gaps, kind, start, end)
        gone, new = list[Row](), list[Row]()
        for series, wanted in gaps.items():
            known = before[series]
            if grow and wanted and (last := self._gap_before(series, kind, start, wanted[0])):
                known[last[0]] = last
                wanted = [wanted[0]._replace(ts_from=last[0]), *wanted[1:]]
            if wanted or known:
                gone += [(series, kind, *row) for row in known.values() if row[:3] not in wanted]
                stay = {row[:3] for row in known.values()}
                first = {ts_from: row[3] for ts_from, row in known.items()}
                new += [(series, kind, *gap, first.get(gap.ts_from, found_at)) for gap in wanted if gap not in stay]
        self._db.executemany(
            f"INSERT INTO past_gap VALUES ({_marks(8)})", [(*row, found_at) for row in gone if row[6] < found_at]
        )
        self._db.executemany("DELETE FROM gap WHERE series = ? AND kind = ? AND ts_from = ?", [row[:3] for row in gone])
        self._db.executemany(f"INSERT INTO gap VALUES ({_marks(7)})", [(*row, found_at) for row in new])

    def _gaps_in_force(self, series: Iterable[int], kind: int, start: int, end: int) -> dict[int, dict[int, Row]]:
        """Series → ts_from → (ts_from, ts_to, cause, found_at, known_at) of those that begin in [start, end)."""
        sql = """SELECT series, ts_from, ts_to, cause, found_at, known_at
                 FROM json_each(?) s CROSS JOIN gap g ON g.series = s.value
                 WHERE kind = ? AND ts_from >= ? AND ts_from < ?"""
        found: dict[int, dict[int, Row]] = defaultdict(dict)
        for one, *row in self._db.execute(sql, (json_ints(series), kind, start, end)):
            found[one][row[0]] = tuple(row)
        return found

    def _gap_before(self, series: int, kind: int, start: int, gap: Gap) -> Row | None:
        """The gap in force that ends at `start`, where this one begins, with the same cause."""
        sql = """SELECT ts_from, ts_to, cause, found_at, known_at FROM gap WHERE series = ? AND kind = ? AND ts_from < ?
                 ORDER BY ts_from DESC LIMIT 1"""
        last = self._db.execute(sql, (series, kind, start)).fetchone()
        return tuple(last) if last and last[1:3] == (start, gap.cause) and gap.ts_from == start else None

    def replace_fills(self, gone: Iterable[tuple[str, int, int]], rows: Iterable[Fill]) -> None:
        """Rows (MN, kind, ts_from) that go, and those that come in their place."""
        self._db.executemany("DELETE FROM fill WHERE mn = ? AND kind = ? AND ts_from = ?", gone)
        self._db.executemany(f"INSERT INTO fill VALUES ({_marks(9)})", rows)

    def note(self, key: str, value: Any) -> None:
        """Remember a small fact (JSON) exactly if this batch commits."""
        self._db.execute(
            "INSERT INTO note VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, _json(value))
        )

    def _flags_in_force(self, kind: int, runs: Sequence[QualityRun]) -> dict[tuple[int, str], InForce]:
        """By series and test what `_turned` needs, for the time of these runs."""
        sql = """SELECT series, test, ts, turn, ver, version, outcome, params, evidence
                 FROM json_each(?) s CROSS JOIN flag f ON f.series = s.value
                 WHERE kind = ? AND ts >= ? AND ts < ? ORDER BY series, ts, test, turn"""
        span = min(run.ts_from for run in runs), max(run.ts_to for run in runs)
        found: dict[tuple[int, str], InForce] = defaultdict(dict)
        for series, test, ts, *row in self._db.execute(sql, (json_ints(run.series for run in runs), kind, *span)):
            found[series, test][ts] = row
        return found

    def _prove(self, kind: int, runs: Sequence[QualityRun]) -> None:
        """Let each run grow out of an adjoining one with the same test, version and parameters, or begin a new one."""
        sql = """SELECT series, test, version, params, ts_from, ts_to
                 FROM json_each(?) s CROSS JOIN quality_run q ON q.series = s.value
                 WHERE kind = ? AND ts_from <= ? AND ts_to >= ? ORDER BY ts_from"""
        last, first = max(run.ts_from for run in runs), min(run.ts_from for run in runs)
        known: dict[Row, list[tuple[int, int]]] = defaultdict(list)
        for *key, begin, end in self._db.execute(sql, (json_ints(run.series for run in runs), kind, last, first)):
            known[tuple(key)].append((begin, end))
        proved = {}
        for run in runs:
            key = run.series, run.test, run.version, _json(run.params)
            begin, end = _grown(run, known[key])
            known[key].append((begin, end))
            proved[run.series, kind, *key[1:], begin] = (end, run.made_at, run.made_at)
        self._db.executemany(
            f"""INSERT INTO quality_run VALUES ({_marks(9)})
                ON CONFLICT (series, kind, test, version, params, ts_from)
                DO UPDATE SET ts_to = excluded.ts_to, made_at = excluded.made_at""",
            [(*key, *value) for key, value in proved.items()],
        )


def _grown(run: QualityRun, known: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """[begin, end) of the run together with the newest of the known ones that it adjoins."""
    last, end = max(((one, end) for one, end in known if one <= run.ts_from), default=(0, -1))
    return (last, max(end, run.ts_to)) if end >= run.ts_from else (run.ts_from, run.ts_to)


def _turned(run: QualityRun, flags: Sequence[Flag], in_force: InForce) -> Iterator[tuple[Row, bool]]:
    """New rows of a run, and whether a FAIL came or went with each; `in_force` follows."""
    params, found = _json(run.params), set[int]()
    for flag in flags:
        found.add(flag.ts)
        turn, *before = in_force.get(flag.ts, (-1,))
        now = [flag.ver, run.version, flag.outcome, params, _json(flag.evidence)]
        if before != now:
            in_force[flag.ts] = [turn + 1, *now]
            failed = Outcome.FAIL in (flag.outcome, *before[2:3])
            yield (run.series, run.kind, flag.ts, run.test, turn + 1, *now, run.made_at), failed
    for ts, (turn, ver, _, outcome, *_) in list(in_force.items()):
        if outcome != Outcome.PASS and run.ts_from <= ts < run.ts_to and ts not in found:
            lifted = [turn + 1, ver, run.version, int(Outcome.PASS), params, "{}"]
            in_force[ts] = lifted
            yield (run.series, run.kind, ts, run.test, *lifted, run.made_at), outcome == Outcome.FAIL


def positions(connection: Database) -> dict[int, Position]:
    found = connection.execute("SELECT stream, segment, offset FROM position")
    return {stream: Position(segment, offset) for stream, segment, offset in found}


def note(connection: Database, key: str) -> Any:
    row = connection.execute("SELECT value FROM note WHERE key = ?", (key,)).fetchone()
    return orjson.loads(row[0]) if row else None


def decision_hash(number: int, previous: str, decision: Decision) -> str:
    """SHA-256 over the hash before and the decision as JSON with sorted keys."""
    return hashlib.sha256(previous.encode() + _decided(number, decision)).hexdigest()


def decision_content(row: Mapping[str, Any]) -> str:
    """Of a row of `Store.decisions` the text that its hash covers, behind the hash before."""
    return _decided(row["id"], _decision(row)).decode()


def _decided(number: int, decision: Decision) -> bytes:
    return orjson.dumps({"id": number, **decision._asdict()}, option=orjson.OPT_SORT_KEYS)


def _decision(row: Mapping[str, Any]) -> Decision:
    return Decision(**{name: _or_none(row[name]) for name in Decision._fields})


def first_break(decisions: pa.Table) -> int | None:
    """The id of the first decision whose hash does not follow from what came before it, or None."""
    previous, expected = "0" * 64, 1
    for row in decisions.to_pylist():
        number, decision = row["id"], _decision(row)
        if (
            number != expected
            or row["prev_hash"] != previous
            or row["hash"] != decision_hash(number, previous, decision)
        ):
            return int(number)
        previous, expected = row["hash"], number + 1
    return None


def _as_stored(decision: Decision) -> Decision:
    """The decision with the types a column gives back, so that its hash can be computed again."""
    value, zs = (
        None if number is None or number != number else float(number) for number in (decision.value, decision.zs)
    )
    return decision._replace(at=float(decision.at), value=value, zs=zs)


def _or_none(value: Any) -> Any:
    return None if value != value else value


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _verdict_key(verdict: Verdict) -> tuple[str, int, int]:
    return verdict.rule, verdict.point, verdict.ts


def _verdict_content(verdict: Verdict) -> Row:
    """What makes a verdict another one: columns `outcome` to `inputs`, as a row gives them back."""
    value = None if verdict.value != verdict.value else verdict.value
    said = (verdict.outcome, value, verdict.level, verdict.edition, verdict.clause)
    return (*said, _json(verdict.detail), _json(verdict.inputs))


def take_lock(path: Path) -> int:
    """The lock of the one writer of the SQLite ledger at `path`, as a descriptor. Raises LedgerTakenError."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "?"
        os.close(descriptor)
        raise LedgerTakenError(f"台账正由进程 {owner} 写入,只能有一个写入者({path})") from error
    with suppress(OSError):  # who holds it is a courtesy: a full disk must not keep the lock from being taken
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
