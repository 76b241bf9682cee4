"""Rows to Arrow columns and back; the one place that knows the types of the tables handed out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from ceguan.store.database import Database
from ceguan.words import READING_COLUMNS

TYPES = {
    **dict.fromkeys(("series", "ts", "recv", "frame", "ts_from", "ts_to", "id", "point", "decision"), pa.int64()),
    **dict.fromkeys(("frames", "bad", "late", "items", "same", "changed", "size", "segment", "offset"), pa.int64()),
    **dict.fromkeys(("part", "generation", "series_to", "rows", "bytes"), pa.int64()),
    **dict.fromkeys(("value", "zs", "vmin", "vmax", "cou", "value_in_force", "zs_in_force"), pa.float64()),
    **dict.fromkeys(("made_at", "found_at", "sealed_at", "at", "first_at", "first_recv", "last_recv"), pa.float64()),
    **dict.fromkeys(("max_delay", "sum_delay"), pa.float64()),
    **dict.fromkeys(("count", "tries", "command"), pa.int64()),
    **dict.fromkeys(("present", "valid", "decided", "expected", "zs_valid"), pa.int64()),
    **dict.fromkeys(("total", "low", "high", "opening", "closing", "zs_total"), pa.float64()),
    **dict.fromkeys(("mean", "min", "max", "first", "last", "zs_mean"), pa.float64()),
    "kind": pa.int8(),
    "outcome": pa.int8(),
    "ver": pa.int16(),
    "turn": pa.int16(),
}
"""Arrow type by column name; text where nothing is said. (`verdict.outcome` is text: see VERDICT_SCHEMA.)"""


def schema(names: str, **other: pa.DataType) -> pa.Schema:
    """A table's shape from its column names, typed by TYPES unless said otherwise."""
    return pa.schema([(name, other.get(name, TYPES.get(name, pa.string()))) for name in names.split()])


READING_SCHEMA = schema(" ".join(READING_COLUMNS))
FLAG_SCHEMA = schema("series kind ts ver test turn version outcome params evidence made_at")
RUN_SCHEMA = schema("series kind test version params ts_from ts_to first_at made_at")
DECISION_SCHEMA = schema("id series kind ts_from ts_to action value zs who at why evidence frame prev_hash hash")
VERDICT_SCHEMA = schema(
    "id point rule ts ver outcome value level edition clause detail inputs made_at", outcome=pa.string()
)
BAD_FRAME_SCHEMA = schema("frame recv source mn error size", recv=pa.float64())
UNKNOWN_SCHEMA = schema("mn first_recv last_recv frames st cns factors source")
DEVICE_DAY_SCHEMA = schema("mn day frames bad late items same changed first_recv last_recv max_delay sum_delay")
DIALECT_SCHEMA = schema("mn dialect frames first_recv last_recv")
WARNING_SCHEMA = schema("mn day kind count frame", kind=pa.string())
QUARANTINE_SCHEMA = schema("frame mn recv cause kind ts items parts state who at why", recv=pa.float64())
GAP_SCHEMA = schema("series kind ts_from ts_to cause found_at")
FORGOTTEN_SCHEMA = schema("month part act kind members generation rows rule at made_at")
MANIFEST_SCHEMA = schema("month part generation ts_from ts_to series_to path rows bytes sha256 sealed_at")


def select(connection: Database, shape: pa.Schema, sql: str, arguments: Sequence[object] = ()) -> pa.Table:
    """The rows of a query as an Arrow table of this shape; `{columns}` in the SQL stands for its column names."""
    return table(shape, connection.execute(sql.format(columns=", ".join(shape.names)), arguments))


def table(shape: pa.Schema, rows: Iterable[Sequence[object]]) -> pa.Table:
    """Rows as an Arrow table; NULL in a float column becomes NaN.

    The cells go through one flat list: thousands of row tuples alive at once would wake the garbage collector.
    """
    cells = list(chain.from_iterable(rows))
    width = len(shape)
    return pa.table([column(cells[at::width], field.type) for at, field in enumerate(shape)], schema=shape)


def column(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    array = pa.array(values, kind)
    return pc.fill_null(array, float("nan")) if pa.types.is_floating(kind) and array.null_count else array


def absent_as_nan(readings: pa.Table) -> pa.Table:
    """NULL in a float column becomes NaN: the one sign of absence outside the files."""
    filled = [
        pc.fill_null(values, float("nan")) if pa.types.is_floating(values.type) and values.null_count else values
        for values in readings.columns
    ]
    return pa.table(filled, schema=readings.schema)


def nan_as_absent(readings: pa.RecordBatch) -> pa.RecordBatch:
    """NaN in a float column becomes NULL, as the files hold it."""
    arrays = [
        pa.array(values.to_numpy(zero_copy_only=False), from_pandas=True)
        if pa.types.is_floating(values.type)
        else values
        for values in readings.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=readings.schema)
