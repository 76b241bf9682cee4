"""Evaluation over years of readings: pure `map_part` on a piece of the history, pure `reduce_parts` over the pieces.

The two functions run in this process (threads) or as tasks of a Ray cluster – the same functions, the same answers.
What an hour, a day or a year is worth says `science`; here readings only become grids. A part lies wholly within some
Beijing days and series, so that no day is split; `map_part` makes of it daily values, some hundredth of what it read.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ceguan.quality import layers
from ceguan.science import air
from ceguan.store import columns, history, query
from ceguan.store.database import Database
from ceguan.store.incoming import MANIFEST_IN_FORCE
from ceguan.store.kernels import compiled
from ceguan.store.lake import Lake
from ceguan.words import Kind, Outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
States = NDArray[np.int8]
T = TypeVar("T")

HOUR, DAY = 3600, 86400
READ = ("series", "kind", "ts", "value", "flag")
PART_ROWS = 4_000_000
BATCH_ROWS = 100_000
KNOCK_SECONDS = 5
"""How long whoever listens at the address of a Ray cluster may take to accept, and to answer."""
ABSENT, FLAGGED, NORMAL = np.arange(3, dtype=np.int8)
"""State of an hour: no reading, one that the device itself marked, one that it did not."""
ITEMS = ("so2_24h", "no2_24h", "co_24h", "o3_8h", "o3_1h", "pm10_24h", "pm25_24h")
"""Daily columns, in the order of `item` in a table of days; names of `air.daily_columns`."""
DAYS = pa.schema(
    [("station", pa.int32()), ("item", pa.int8()), ("start", pa.int64()), ("days", pa.list_(pa.float64()))]
)
"""What `map_part` gives: daily values of one item of one station, from the Beijing midnight `start` on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Which series stand for which hourly columns: equal arrays, `series` rising; `scale` to the unit of the column."""

    series: Ints
    station: NDArray[np.int32]
    column: tuple[str, ...]
    scale: Floats

    def between(self, low: int, high: int) -> Plan:
        """The series from `low` to `high`, both included."""
        part = slice(*np.searchsorted(self.series, [low, high + 1]))
        return Plan(self.series[part], self.station[part], self.column[part], self.scale[part])


class Layers(NamedTuple):
    """What lies over the readings: decisions in the order made (DECISION columns), FAIL flags as (series, ts)."""

    decisions: pa.Table | None = None
    failed: pa.Table | None = None


class Part(NamedTuple):
    """Hourly readings of the series `low` … `high` in [start, end), whole Beijing days: sealed, and not sealed yet."""

    lake: Lake
    file: str  # "" = nothing of these days is sealed
    low: int
    high: int
    start: int
    end: int
    more: pa.Table | None = None  # rows of the ledger, sorted (series, ts, ver), newer than what is sealed
    layers: Layers = Layers()


class Counted(NamedTuple):
    """Days of a part, and what was read for them."""

    days: pa.Table
    rows: int


# ── a part ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def map_part(part: Part, plan: Plan) -> Counted:
    """Daily values (GB 3095 table 4, through `air.daily_columns`) of the stations' series within a part."""
    mine = plan.between(part.low, part.high)
    grid = np.full((len(mine.series), (part.end - part.start) // HOUR), np.nan)
    state = np.full(grid.shape, ABSENT)
    place = _places(mine.series, part)
    rows = 0
    for table in _tables(part):
        rows += table.num_rows
        _into(grid, state, place, part, table)
    usable = _usable(grid, state, mine.series, part)
    hours = np.where(usable, grid * mine.scale[:, None], np.nan)
    return Counted(_days(hours.reshape(len(mine.series), -1, 24), mine, part.start), rows)


def _places(series: Ints, part: Part) -> NDArray[np.int32]:
    """Row of the grid by series - low; -1 = not wanted."""
    place = np.full(part.high - part.low + 1, -1, np.int32)
    place[series - part.low] = np.arange(len(series), dtype=np.int32)
    return place


def _tables(part: Part) -> Iterable[pa.Table]:
    """What a part reads, the newest last."""
    if part.file:
        kind, ts = (int(Kind.HOUR),) * 2, (part.start, part.end - 1)
        yield from history.groups(part.lake, part.file, READ, series=(part.low, part.high), kind=kind, ts=ts)
    if part.more is not None:
        yield part.more.select(list(READ))


def _into(grid: Floats, state: States, place: NDArray[np.int32], part: Part, table: pa.Table) -> None:
    """Readings into their cells; a later row of the same cell is a newer version and wins."""
    for batch in table.to_batches():
        series, kind, ts = (batch[name].to_numpy(zero_copy_only=False) for name in READ[:3])
        value = pc.fill_null(batch["value"], np.nan).to_numpy(zero_copy_only=False)
        flags = pc.dictionary_encode(batch["flag"])
        known = np.isin(flags.dictionary.to_pylist(), layers.NORMAL_FLAGS)
        given = np.where(known, NORMAL, FLAGGED)[flags.indices.to_numpy(zero_copy_only=False)]
        _scatter(series, kind, ts, value, given, place, part.low, part.start, grid, state)


@compiled(
    "void(Array(i8, 1, 'C', readonly=True), Array(i1, 1, 'C', readonly=True), Array(i8, 1, 'C', readonly=True),"
    " Array(f8, 1, 'C', readonly=True), i1[::1], i4[::1], i8, i8, f8[:, ::1], i1[:, ::1])"
)
def _scatter(series, kind, ts, value, given, place, low, start, grid, state):
    for n in range(len(series)):
        at = series[n] - low
        if kind[n] != 2 or at < 0 or at >= len(place) or place[at] < 0:
            continue
        hour = (ts[n] - start) // 3600
        if hour >= 0 and hour < grid.shape[1]:
            grid[place[at], hour] = value[n]
            state[place[at], hour] = given[n]


def _usable(grid: Floats, state: States, series: Ints, part: Part) -> NDArray[np.bool_]:
    """What science may use (`layers.valid`); values that a decision substitutes are put into the grid."""
    usable = (state == NORMAL) & ~np.isnan(grid)
    failed, decided = part.layers.failed, part.layers.decisions
    touched = {s for table in (failed, decided) if table is not None for s in table["series"].to_pylist()}
    for row in np.flatnonzero(np.isin(series, list(touched))).tolist():
        outcome = np.where(np.isnan(grid[row]), Outcome.MISSING, Outcome.PASS).astype(np.int8)
        flag = np.where(state[row] == FLAGGED, "D", "N")
        action = np.full(grid.shape[1], "", "U16")
        for one in _of(failed, series[row]):
            hour = (one["ts"] - part.start) // HOUR
            if 0 <= hour < len(outcome) and outcome[hour] != Outcome.MISSING:
                outcome[hour] = Outcome.FAIL
        given = state[row] != ABSENT  # a decision is about readings, not about hours without one
        for one in _of(decided, series[row]):
            first, last = (max(0, -((part.start - one[end]) // HOUR)) for end in ("ts_from", "ts_to"))
            here = slice(first, last)
            action[here] = np.where(given[here], one["action"], action[here])
            if one["action"] == "substitute":
                grid[row, here] = np.where(given[here], one["value"], grid[row, here])
        usable[row] = layers.valid(outcome, flag, action) & ~np.isnan(grid[row])
    return usable


def _of(table: pa.Table | None, series: int) -> list[dict[str, Any]]:
    return [] if table is None else table.filter(pc.equal(table["series"], int(series))).to_pylist()


def _days(hours: Floats, plan: Plan, start: int) -> pa.Table:
    """Daily values of each series, column by column (rows of a column are judged together)."""
    station: list[NDArray[np.int32]] = []
    item, values = [], []
    for column in dict.fromkeys(plan.column):
        rows = np.array([at for at, name in enumerate(plan.column) if name == column])
        for name, days in air.daily_columns({column: hours[rows]}).items():
            station.append(plan.station[rows])
            item.append(np.full(len(rows), ITEMS.index(name), np.int8))
            values.append(days)
    if not values:
        return DAYS.empty_table()
    flat = np.concatenate(values)
    length = flat.shape[1]
    offsets = pa.array(np.arange(0, flat.size + 1, length, dtype=np.int32))
    cells = [np.concatenate(station), np.concatenate(item), np.full(len(flat), start)]
    days = pa.ListArray.from_arrays(offsets, pa.array(flat.ravel()))
    return pa.table([*map(pa.array, cells), days], schema=DAYS)


# ── all parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def reduce_parts(parts: Sequence[pa.Table], stations: int, start: int, end: int) -> dict[str, Floats]:
    """Daily columns (stations, days) of [start, end) from the days of all parts, in whatever order they come.

    What no part has is NaN. Two parts that give the same day of the same station and item raise ValueError.
    """
    out = {name: np.full((stations, (end - start) // DAY), np.nan) for name in ITEMS}
    seen = np.zeros((stations, len(ITEMS), (end - start) // DAY), np.bool_)
    for part in parts:
        if not part.num_rows:
            continue
        part = part.combine_chunks()
        begin = (part["start"][0].as_py() - start) // DAY
        station, item = part["station"].to_numpy(), part["item"].to_numpy()
        days = pc.list_flatten(part["days"]).to_numpy().reshape(part.num_rows, -1)
        here = slice(begin, begin + days.shape[1])
        if seen[station, item, here].any():
            raise ValueError("两部分给出同一天 (a day is in two parts)")
        seen[station, item, here] = True
        for number in np.unique(item).tolist():
            rows = item == number
            out[ITEMS[number]][station[rows], here] = days[rows]
    return out


def parts(db: Database, lake: Lake, plan: Plan, start: int, end: int) -> list[Part]:
    """Everything in force in [start, end), whole Beijing days: sealed files, what is not sealed yet or came late, and
    the layers over it – as one state of the store."""
    found = []
    with query.snapshot(db):
        sealed = _in_force(db)
        decided = query.decisions(db, plan.series.tolist(), int(Kind.HOUR), start, end, None)
        for month, low, high in history.months(start, end):
            pieces = _pieces(lake, [block for block in sealed if block.month == month], plan, low, high)
            more, failed = _more(db, low, high), _failed(db, low, high)
            found += [
                one._replace(more=_within(more, one), layers=Layers(_within(decided, one), _within(failed, one)))
                for one in pieces
            ]
    return found


class _Sealed(NamedTuple):
    """A sealed file: the series [low, high) of a month."""

    month: str
    path: str
    low: int
    high: int


def _in_force(db: Database) -> list[_Sealed]:
    sql = f"SELECT month, path, part, series_to FROM {MANIFEST_IN_FORCE} m ORDER BY month, part"
    return [_Sealed(*row) for row in db.execute(sql)]


def _pieces(lake: Lake, sealed: list[_Sealed], plan: Plan, start: int, end: int) -> list[Part]:
    """All series of the plan: those of each file, and those between the files."""
    found, at = list[Part](), 0
    for block in sealed:
        found += _whole(lake, plan.between(at, block.low - 1), start, end)
        found += spread(lake, block.path, plan.between(block.low, block.high - 1), start, end)
        at = block.high
    return found + _whole(lake, plan.between(at, int(plan.series.max(initial=at))), start, end)


def _whole(lake: Lake, plan: Plan, start: int, end: int) -> list[Part]:
    return [Part(lake, "", int(plan.series[0]), int(plan.series[-1]), start, end)] if len(plan.series) else []


def _more(db: Database, start: int, end: int) -> pa.Table:
    """Hourly rows of the ledger, sorted (series, ts, ver)."""
    shape = columns.schema(" ".join(READ))
    sql = """SELECT r.series, r.kind, r.ts, r.value, r.flag FROM latest l CROSS JOIN reading r USING (series, kind)
             WHERE l.kind = ? AND r.ts >= ? AND r.ts < ? ORDER BY l.series, r.ts, r.ver"""
    batches = db.stream(sql, (int(Kind.HOUR), start, end), BATCH_ROWS)
    return pa.concat_tables([shape.empty_table(), *(columns.table(shape, rows) for rows in batches)])


def _failed(db: Database, start: int, end: int) -> pa.Table:
    """(series, ts) of hourly readings that fail a test: by the newest turn of the test."""
    return columns.select(
        db,
        columns.schema("series ts"),
        """SELECT f.series, f.ts FROM latest l CROSS JOIN flag f USING (series, kind)
           WHERE l.kind = ? AND f.ts >= ? AND f.ts < ? AND f.outcome = ? AND f.turn = (SELECT max(g.turn) FROM flag g
               WHERE (g.series, g.kind, g.ts, g.test) = (f.series, f.kind, f.ts, f.test))
           ORDER BY l.series, f.ts""",
        (int(Kind.HOUR), start, end, int(Outcome.FAIL)),
    )


def _within(table: pa.Table, part: Part) -> pa.Table | None:
    """Rows of the series of a part; None when there are none."""
    series = table["series"].to_numpy()
    found = table.filter(pa.array((series >= part.low) & (series <= part.high)))
    return found if found.num_rows else None


def spread(lake: Lake, file: str, plan: Plan, start: int, end: int, rows: int = PART_ROWS) -> list[Part]:
    """A sealed file as parts of about `rows` rows each, cut between series by the statistics of its row groups."""
    if not len(plan.series):
        return []
    cuts, held = [int(plan.series[0])], 0
    with lake.open(file) as opened:
        at = opened.schema_arrow.get_field_index("series")
        for n in range(opened.num_row_groups):
            group = opened.metadata.row_group(n)
            held += group.num_rows
            last = int(group.column(at).statistics.max)
            if held >= rows and last >= cuts[-1]:
                cuts.append(last + 1)
                held = 0
    cuts = [cut for cut in cuts if cut <= plan.series[-1]] + [int(plan.series[-1]) + 1]
    return [Part(lake, file, low, high - 1, start, end) for low, high in pairwise(cuts)]


# ── where they run ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Local:
    """In this process, as many threads as it may use processors: reading and arithmetic let each other run."""

    threads: int = 0

    def run(self, work: Callable[[Any, Any], T], parts: Sequence[Any], plan: Any) -> list[T]:
        threads = self.threads or len(os.sched_getaffinity(0))
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda part: work(part, plan), parts))


class RayAbsentError(Exception):
    """No Ray cluster answers at the address; the message names it and the setting."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__(
            f"Ray 集群 {address} 连不上（{why}）：在头节点 ray start --head，或改设置 ray_address"
            "（CEGUAN_RAY_ADDRESS）；不用集群则设 compute 为 local（CEGUAN_COMPUTE）"
        )


@dataclass(frozen=True, slots=True)
class Ray:
    """As tasks of a Ray cluster; a task whose worker dies is done again by another one.

    `address`: of a running cluster ("auto", host:port, ray://…). The cluster's machines have this program installed
    and see the same history (a shared folder, or S3-compatible storage). Raises RayAbsentError within seconds when
    nobody answers there.
    """

    address: str
    tries: int = 5

    def run(self, work: Callable[[Any, Any], T], parts: Sequence[Any], plan: Any) -> list[T]:
        with _connected(self.address) as ray:
            shared = ray.put(plan)
            task = ray.remote(max_retries=self.tries, num_cpus=1)(work)
            found: list[T] = ray.get([task.remote(part, shared) for part in parts])
            return found


Driver = Local | Ray


@contextmanager
def _connected(address: str) -> Any:
    """Ray, connected to the cluster; disconnected again unless the caller was connected before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    mine = not ray.is_initialized()
    if mine:
        _knock(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise RayAbsentError(address, str(error).partition("\n")[0]) from None
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself would try for minutes where nobody answers. Raises RayAbsentError."""
    named = os.environ.get("RAY_ADDRESS") or _last_started() if address == "auto" else address
    if named in ("", "local"):  # Ray looks among the processes of this machine
        return
    try:
        host, _, port = named.removeprefix("ray://").rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS) as link:
            if os.environ.get("RAY_USE_TLS", "0") != "1":
                _greet(link)
    except ValueError:
        raise RayAbsentError(named, "不是 主机:端口") from None
    except TimeoutError:
        raise RayAbsentError(named, f"{KNOCK_SECONDS} 秒没有应答") from None
    except OSError as error:
        raise RayAbsentError(named, error.strerror or str(error)) from None


def _last_started() -> str:
    """The cluster that the last `ray start` on this machine belongs to, as Ray notes it; "" when it noted none."""
    path = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _greet(link: socket.socket) -> None:
    """Whoever listens must speak HTTP/2, as Ray's gRPC does: SETTINGS is what it says first (RFC 9113 §3.4).

    Raises OSError.
    """
    link.settimeout(KNOCK_SECONDS)
    link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    frame = link.recv(9, socket.MSG_WAITALL)
    if len(frame) < 9 or frame[3] != 4:
        raise OSError("那里应答的不是 Ray")


def nodes(values: Any) -> int:
    """Machines of the Ray cluster that are up. Raises RayAbsentError, or what Ray raises."""
    with _connected(values.ray_address or "auto") as ray:
        return sum(bool(node["Alive"]) for node in ray.nodes())


def driver(values: Any) -> Driver:
    """As the settings say. Raises ValueError for a `compute` that is neither local nor ray."""
    if values.compute not in ("local", "ray"):
        raise ValueError(f"compute 应为 local 或 ray，得到 {values.compute!r}")
    return Ray(values.ray_address or "auto") if values.compute == "ray" else Local()


class Evaluated(NamedTuple):
    """Daily columns (stations, days), and how many readings they were made of."""

    days: dict[str, Floats]
    rows: int


def evaluate(parts: Sequence[Part], plan: Plan, stations: int, start: int, end: int, on: Driver) -> Evaluated:
    """Map and reduce, wherever `on` runs it."""
    found = on.run(map_part, parts, plan)
    return Evaluated(reduce_parts([one.days for one in found], stations, start, end), sum(one.rows for one in found))
