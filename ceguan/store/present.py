"""What sealed files hold of the readings that come late or again: told without a look into the file where it was looked
at before, and from one look at a row group where it was not.

Readings come at even intervals, so the times of a row group are a few stretches (first, last, step) instead of
thousands: they are found in one pass over three of its columns, and a time is looked up by bisection, which also gives
its row. Contents are read of the row groups that hold something asked for, and stay as the file has them, but for what
is the same in long runs. What was looked at stays in memory up to `BOUND`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceguan.store import layout
from ceguan.store.lake import Lake
from ceguan.words import READING_COLUMNS

Ints = NDArray[np.int64]
T = TypeVar("T")
KINDS = 128
SPAN_BITS = 22
SPAN = 1 << SPAN_BITS
"""Seconds, more than a month has: series, kind and the seconds since the begin of the file's month make one number."""
BOUND = 256_000_000
"""Bytes kept of all files: some 10 M readings with extremes, 50 M without. What was used longest ago goes first."""
KEY = ("series", "kind", "ts")
CONTENT = READING_COLUMNS[4:10]
"""Two readings that agree in these are the same."""
EVEN = ("ver", *layout.UNITS)
"""Columns that mostly stay the same from row to row, and are never absent."""


class Stored(NamedTuple):
    """Newest versions that were found: places among what was asked for, version, columns of CONTENT (NaN, None =
    absent)."""

    at: Ints
    ver: Ints
    content: list[NDArray[Any]]


class Stretches(NamedTuple):
    """Numbers (see SPAN) that are there: from `first` to `last` every `step`; sorted, at most their ends shared."""

    first: Ints
    last: Ints
    step: Ints
    rank: Ints
    """How many numbers there are before `first`."""
    again: Ints
    """Rank of the number of each row that is followed by another version of the same."""

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self)

    def rows(self, numbers: Ints) -> Ints:
        """The last row that holds each number; -1 where none does."""
        if not len(self.first):
            return np.full(len(numbers), -1)
        at = np.searchsorted(self.first, numbers, "right") - 1
        steps, rest = np.divmod(numbers - self.first[at], self.step[at])
        rank = self.rank[at] + steps
        there = (at >= 0) & (numbers <= self.last[at]) & (rest == 0)
        return np.where(there, rank + np.searchsorted(self.again, rank, "right"), -1)


class Outline(NamedTuple):
    """A file's footer and the series that each of its row groups reaches from and to."""

    metadata: pq.FileMetaData
    low: Ints
    high: Ints

    @property
    def nbytes(self) -> int:
        return 4 * int(self.metadata.serialized_size)  # taken apart it is larger


class Contents(NamedTuple):
    """Version and content of the rows of a row group."""

    form: layout.Form
    whole: pa.Table
    runs: dict[str, tuple[Ints, pa.Array]]
    """Ends of runs, and what stands in them."""
    alike: dict[str, pa.Scalar]
    """What stands in all rows."""

    @property
    def nbytes(self) -> int:
        return int(self.whole.nbytes) + sum(ends.nbytes + values.nbytes for ends, values in self.runs.values())

    def take(self, rows: Ints) -> tuple[Ints, list[NDArray[Any]]]:
        """Version and content of some rows."""
        found = {name: self.whole[name].take(pa.array(rows)) for name in self.whole.column_names}
        for name, (ends, values) in self.runs.items():
            found[name] = values.take(pa.array(np.searchsorted(ends, rows, "right")))
        found |= {name: pa.repeat(value, len(rows)) for name, value in self.alike.items()}
        made = self.form.unpack(pa.table(found), ("ver", *CONTENT))
        numbers = [pc.fill_null(made[name], float("nan")).to_numpy() for name in CONTENT[:-1]]
        flag = made["flag"].cast(pa.string()).to_numpy()
        return made["ver"].to_numpy().astype(np.int64), [*numbers, flag]


class Present:
    """What is known of sealed files, by name (a file never changes)."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Any] = {}  # the last is the one used last
        self._bytes = 0

    def find(self, lake: Lake, file: str, start: int, series: Ints, kind: Ints, ts: Ints) -> Iterator[Stored]:
        """What the file holds of each (series, kind, ts), sorted, none twice; `start`: begin of its month, none is
        before."""
        numbers = _numbers(series, kind, ts, start)
        with _Look(lake, file) as look:
            outline = self._keep((file,), look.outline)
            begins, ends = np.searchsorted(series, outline.low), np.searchsorted(series, outline.high, "right")
            missing = np.ones(len(numbers), bool)
            for group in np.flatnonzero(begins < ends)[::-1].tolist():  # the newest version may lie in a later one
                at = begins[group] + np.flatnonzero(missing[begins[group] : ends[group]])
                rows = self._keep((file, group, "key"), look.key, outline, group, start).rows(numbers[at])
                at, rows = at[rows >= 0], rows[rows >= 0]
                if len(at):
                    missing[at] = False
                    yield Stored(at, *self._keep((file, group), look.contents, outline, group).take(rows))

    def _keep(self, name: tuple[Any, ...], read: Callable[..., T], *given: Any) -> T:
        found: Any = self._kept.pop(name, None)
        if found is None:
            found = read(*given)
            self._bytes += found.nbytes
        self._kept[name] = found
        while self._bytes > BOUND and len(self._kept) > 1:
            self._bytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return cast(T, found)


class _Look(ExitStack):
    """A file, opened when something of it is read."""

    def __init__(self, lake: Lake, file: str) -> None:
        super().__init__()
        self._lake, self._file = lake, file
        self._opened: pq.ParquetFile | None = None

    def _open(self, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
        if self._opened is None:
            self._lake.split([self._file])  # a small one is here from now on
            self._opened = self.enter_context(self._lake.open(self._file, metadata))
        return self._opened

    def outline(self) -> Outline:
        metadata = self._open().metadata
        ends = [_ends(metadata, group) for group in range(metadata.num_row_groups)]
        low, high = np.array(ends, np.int64).reshape(-1, 2).T
        return Outline(metadata, low, high)

    def key(self, outline: Outline, group: int, start: int) -> Stretches:
        found = self._open(outline.metadata).read_row_group(group, KEY, use_threads=False)
        series, kind, ts = (found[name].to_numpy() for name in KEY)
        return stretches(_numbers(series, kind, ts, start))

    def contents(self, outline: Outline, group: int) -> Contents:
        opened = self._open(outline.metadata)
        form = layout.form(outline.metadata, [group])
        alike, names = dict[str, pa.Scalar](), list[str]()
        for name in form.needs(("ver", *CONTENT)):
            said = layout.alike(outline.metadata, group, name)
            if said is None:
                names.append(name)
            else:
                alike[name] = pa.scalar(
                    said.value, pa.string() if name == "flag" else opened.schema_arrow.field(name).type
                )
        whole = opened.read_row_group(group, names, use_threads=False)
        runs = {name: _runs(whole[name]) for name in names if name in EVEN}
        return Contents(form, whole.drop_columns(list(runs)), runs, alike)


def _ends(metadata: pq.FileMetaData, group: int) -> tuple[int, int]:
    """First and last series of a row group."""
    known = layout.chunk(metadata, group, "series").statistics
    return (known.min, known.max) if known is not None and known.has_min_max else (-(1 << 62), 1 << 62)


def _runs(column: pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    values = column.combine_chunks()
    cells = values.to_numpy()
    last = np.flatnonzero(np.append(cells[1:] != cells[:-1], True))
    return last + 1, values.take(pa.array(last))


def _numbers(series: Ints, kind: Ints, ts: Ints, start: int) -> Ints:
    return (series.astype(np.int64) * KINDS + kind) * SPAN + (ts - start)


def stretches(rows: Ints) -> Stretches:
    """Rows that rise, or stay, as stretches, none of which goes from one series to the next."""
    if not len(rows):
        return Stretches(rows, rows, rows, rows, rows)
    steps = np.diff(rows)
    again = np.flatnonzero(steps == 0)
    numbers = rows
    if len(again):
        numbers = rows[np.append(steps != 0, True)]
        again, steps = again - np.arange(len(again)), np.diff(numbers)
    run = numbers >> SPAN_BITS
    steps[run[1:] != run[:-1]] = 0
    begins = np.flatnonzero(np.append(True, steps[1:] != steps[:-1])[: len(steps)])
    ends = np.append(begins[1:], len(steps))[: len(begins)]
    even = steps[begins] > 0
    alone = np.flatnonzero(np.append(0, steps) + np.append(steps, 0) == 0)  # nothing of the series before or behind
    rank = np.concatenate([begins[even], alone])
    last = np.concatenate([ends[even], alone])
    step = np.concatenate([steps[begins[even]], np.ones(len(alone), np.int64)])
    order = np.argsort(rank, kind="stable")
    rank = rank[order]
    return Stretches(numbers[rank], numbers[last[order]], step[order], rank, again)
