"""The columns of a sealed file and how they become readings again: the one place that knows.

A monitor sends decimals, and the double that a decimal text is read as equals m / 10^k to the last bit for whole m and
k (IEEE 754 division rounds correctly, and both are exact). So a number is held as the whole number m in `…_n` and the
power of ten in `…_per`, the same for all rows of a series where it can be; extremes as how far they are from the value.
What this would not give back bit for bit – a third, -0.0, 1e300 – stands as it is in `…_x`; absent is NULL in both.
Files sealed before this layout hold the numbers as they are, under their own names, and are read beside the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ceguan.store.columns import READING_SCHEMA

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

UNITS = {"value_per": ("value", "vmin", "vmax"), "zs_per": ("zs",), "cou_per": ("cou",)}
"""Which numbers share a power of ten."""
PER = {name: per for per, names in UNITS.items() for name in names}
FROM_VALUE = {"vmin": -1, "vmax": 1}
"""Extremes: on which side of the value they lie, so that the distance is mostly a small positive number."""
POWERS = 10.0 ** np.arange(10)
LIMIT = 2.0**31
"""Whole numbers are kept in 32 bits."""

SCHEMA = pa.schema(
    [field for field in READING_SCHEMA if field.name not in PER]
    + [(name, pa.float64()) for name in UNITS]
    + [(f"{name}_n", pa.int32()) for name in PER]
    + [(f"{name}_x", pa.float64()) for name in PER]
)
_DELTAS = ("series", "ts", "recv", *(f"{name}_n" for name in PER))
WRITING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 9,
    "use_dictionary": [name for name in SCHEMA.names if name not in (*_DELTAS, "frame")],
    "column_encoding": {**dict.fromkeys(_DELTAS, "DELTA_BINARY_PACKED"), "frame": "BYTE_STREAM_SPLIT"},
    "max_rows_per_page": 1 << 20,
}
"""Measured on the invented city (docs/decisions/0020). The series of a device have their frames in common: with the
bytes of a place side by side and a whole row group in one page, zstd finds the sequence again."""


def pack(readings: pa.RecordBatch) -> pa.RecordBatch:
    """Readings (READING_SCHEMA, sorted by series and kind) in the columns of a file."""
    found = {field.name: readings[field.name] for field in READING_SCHEMA if field.name not in PER}
    begins = _runs(readings)
    numbers = {name: _number(readings[name]) for name in PER}
    for per, names in UNITS.items():
        power = _power([numbers[name] for name in names], begins)
        found[per] = pa.array(power)
        centre = np.zeros(len(power))
        for name in names:
            whole, exact = _whole(*numbers[name], power)
            if name in FROM_VALUE:
                whole = FROM_VALUE[name] * (whole - centre)
                exact &= np.abs(whole) < LIMIT
            else:
                centre = np.where(exact, whole, 0.0)
            found |= _columns(name, whole, exact, readings[name])
    return pa.RecordBatch.from_arrays([found[name] for name in SCHEMA.names], schema=SCHEMA)


def _runs(readings: pa.RecordBatch) -> NDArray[np.int64]:
    """Where the rows of another series or kind begin."""
    series, kind = (readings[name].to_numpy(zero_copy_only=False) for name in ("series", "kind"))
    if not len(series):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(True, (series[1:] != series[:-1]) | (kind[1:] != kind[:-1])))


def _number(values: pa.Array) -> tuple[Floats, Bools]:
    """Numbers, and which are absent (0 stands in for them)."""
    return pc.fill_null(values, 0.0).to_numpy(), values.is_null().to_numpy(zero_copy_only=False)


def _whole(values: Floats, absent: Bools, power: Floats) -> tuple[Floats, Bools]:
    """The whole numbers of parts, and where they give the number back bit for bit (absent ones do not count)."""
    with np.errstate(over="ignore", invalid="ignore"):
        whole = np.rint(values * power)
        exact = (whole / power == values) & (np.abs(whole) < LIMIT) & ((whole != 0) | ~np.signbit(values))
    return np.where(exact, whole, 0.0), exact & ~absent


def _power(numbers: Sequence[tuple[Floats, Bools]], begins: NDArray[np.int64]) -> Floats:
    """Of each row: the least power of ten by which most of the numbers of its run become whole."""
    length = len(numbers[0][0])
    lengths = np.diff(np.append(begins, length))
    best, most = np.ones(len(begins)), np.full(len(begins), -1)
    given = sum(np.add.reduceat(~absent, begins, dtype=np.int64) for _, absent in numbers) if length else most
    for power in POWERS:
        if (most >= given).all():
            break
        each = (_whole(*one, np.full(length, power))[1] for one in numbers)
        count = sum(np.add.reduceat(exact, begins, dtype=np.int64) for exact in each)
        best, most = np.where(count > most, power, best), np.maximum(count, most)
    return np.repeat(best, lengths)


def _columns(name: str, whole: Floats, exact: Bools, given: pa.Array) -> dict[str, pa.Array]:
    kept = pa.array(whole.astype(np.int64).astype(np.int32), mask=~exact)
    return {f"{name}_n": kept, f"{name}_x": pc.if_else(pa.array(exact), pa.scalar(None, pa.float64()), given)}


class Form(NamedTuple):
    """How a file, or a row group of one, holds its numbers."""

    packed: bool
    odd: frozenset[str] = frozenset()
    """Numbers of which some stand as they are; of the others the column `…_x` need not be read."""

    def select(self, names: Sequence[str]) -> str:
        """The columns of readings as SQL, to select from the file."""
        return ", ".join(self._sql(name) for name in names)

    def _sql(self, name: str) -> str:
        if not self.packed or name not in PER:
            return name
        whole = f"{name}_n"
        if name in FROM_VALUE:
            whole = f"(ifnull(value_n, 0) {'+' if FROM_VALUE[name] > 0 else '-'} {whole})"
        number = f"{whole} / {PER[name]}"
        return f"ifnull({name}_x, {number}) AS {name}" if name in self.odd else f"{number} AS {name}"

    def needs(self, names: Iterable[str]) -> list[str]:
        """The columns of the file that columns of readings are made of."""
        found: dict[str, None] = {}
        for name in names:
            found |= dict.fromkeys(self._of(name))
        return list(found)

    def _of(self, name: str) -> list[str]:
        if not self.packed or name not in PER:
            return [name]
        value = ["value_n"] if name in FROM_VALUE else []
        return [PER[name], f"{name}_n", *value, *([f"{name}_x"] if name in self.odd else [])]

    def unpack(self, columns: pa.Table, names: Sequence[str]) -> pa.Table:
        """Columns of readings from what `needs` said."""
        return pa.table({name: self._made(columns, name) for name in names})

    def _made(self, columns: pa.Table, name: str) -> pa.ChunkedArray:
        if not self.packed or name not in PER:
            return columns[name]
        whole = columns[f"{name}_n"]
        if name in FROM_VALUE:
            of = pc.add if FROM_VALUE[name] > 0 else pc.subtract
            whole = of(pc.fill_null(columns["value_n"], 0), whole)
        number = pc.divide(pc.cast(whole, pa.float64()), columns[PER[name]])
        return pc.coalesce(columns[f"{name}_x"], number) if name in self.odd else number


PLAIN = Form(packed=False)


def form(metadata: pq.FileMetaData, groups: Iterable[int] | None = None) -> Form:
    """The form of a file by its schema and statistics; `groups` None = of all its row groups."""
    place = {name: at for at, name in enumerate(metadata.schema.names)}
    if "value_per" not in place:
        return PLAIN
    numbers = range(metadata.num_row_groups) if groups is None else groups
    chunks = ((name, metadata.row_group(number).column(place[f"{name}_x"])) for number in numbers for name in PER)
    return Form(True, frozenset(name for name, chunk in chunks if not _all_null(chunk)))


def _all_null(chunk: pq.ColumnChunkMetaData) -> bool:
    known = chunk.statistics
    return known is not None and known.has_null_count and known.null_count == chunk.num_values


class Alike(NamedTuple):
    """What stands in all rows of a row group; None = nothing."""

    value: Any


def alike(metadata: pq.FileMetaData, group: int, name: str) -> Alike | None:
    """What the statistics say stands in all rows of a column; None when it differs or cannot be told by them.

    Of readings' own numbers they cannot: they leave NaN out, and do not tell -0.0 from 0.
    """
    column = chunk(metadata, group, name)
    known = column.statistics
    if _all_null(column):
        return Alike(None)
    if name.endswith("_x") or name in PER or known is None or not (known.has_min_max and known.has_null_count):
        return None
    return Alike(known.min) if known.null_count == 0 and known.min == known.max else None


def chunk(metadata: pq.FileMetaData, group: int, name: str) -> pq.ColumnChunkMetaData:
    """A column of a row group by its name."""
    return metadata.row_group(group).column(metadata.schema.names.index(name))


@lru_cache(maxsize=4096)
def form_of(path: Path) -> Form:
    """The form of a sealed file on this machine: it never changes."""
    return form(pq.read_metadata(path))
