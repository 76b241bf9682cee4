"""A sealed file gives back every number bit for bit, in few bytes; files sealed in the older layout are read beside."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.store import Store, history, layout
from ceguan.store.columns import READING_SCHEMA
from ceguan.store.lake import Lake
from ceguan.words import READING_COLUMNS
from tests.store.conftest import HOUR, MARCH, NAN, add, reading

NUMBERS = ("value", "zs", "vmin", "vmax", "cou")
WHOLE = st.integers(-(2**31) - 2, 2**31 + 2) | st.integers(-400, 400)
DECIMAL = st.builds(lambda m, k: float(f"{m}e-{k}"), WHOLE, st.integers(0, 12))
ODD = [0.0, -0.0, 5e-324, -2.5e-310, 1.7976931348623157e308, 1e22, 2.0**53 + 2, 1 / 3, 0.1 + 0.2, float("inf")]
NUMBER = st.none() | DECIMAL | DECIMAL | st.sampled_from(ODD) | st.floats()
ROW = st.tuples(*[NUMBER] * 5, st.integers(0, 2**62), st.integers(0, 2**63 - 1), st.sampled_from(["N", "", "D", "停"]))
RUN = st.lists(ROW, min_size=1, max_size=12)


def table(runs: list[list[tuple[Any, ...]]]) -> pa.Table:
    """Each run is a series; hour after hour."""
    rows = [
        (series, 2, MARCH + n * HOUR, n % 3, *row[:5], row[7], row[5], row[6])
        for series, run in enumerate(runs)
        for n, row in enumerate(run)
    ]
    cells = zip(*rows, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(cells, READING_SCHEMA, strict=True)], schema=READING_SCHEMA)


def bits(found: pa.Table) -> dict[str, list[Any]]:
    """Cells with numbers as their eight bytes; absent is absent, not NaN."""
    as_bytes = lambda cell: None if cell is None else struct.pack("<d", cell)  # noqa: E731
    return {
        name: [as_bytes(cell) for cell in found[name].to_pylist()] if name in NUMBERS else found[name].to_pylist()
        for name in READING_COLUMNS
    }


def written(folder: str, readings: pa.Table, size: int = 1 << 20) -> tuple[Lake, Path]:
    lake = Lake(folder)
    return lake, history.write(lake, "a.parquet", readings.combine_chunks().to_reader(size))


@settings(max_examples=60, deadline=None)
@given(st.lists(RUN, min_size=1, max_size=4), st.integers(1, 50))
def test_what_is_read_back_equals_what_was_written_bit_for_bit(runs: list[Any], size: int) -> None:
    readings = table(runs)
    with tempfile.TemporaryDirectory() as folder:
        lake, path = written(folder, readings, size)
        form = layout.form(pq.read_metadata(path))
        by_sql = history.duck().sql(f"SELECT {form.select(READING_COLUMNS)} FROM read_parquet('{path}')")
        assert bits(by_sql.to_arrow_table()) == bits(readings)
        assert bits(pa.concat_tables(history.groups(lake, "a.parquet", READING_COLUMNS))) == bits(readings)
        for name in READING_COLUMNS:  # alone, without the columns that others need
            alone = pa.concat_tables(history.groups(lake, "a.parquet", [name]))
            assert bits(readings.drop_columns(name).append_column(name, alone[name])) == bits(readings)


@settings(max_examples=60)
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=9), st.integers(0, 9))
def test_decimals_of_at_most_nine_places_that_fit_32_bits_are_whole_numbers(whole: list[int], places: int) -> None:
    values = np.array([float(f"{m}e-{places}") for m in whole])
    assert not layout.pack(single(values)).column("value_x").is_valid().to_numpy(zero_copy_only=False).any()


def single(values: np.ndarray) -> pa.RecordBatch:
    """One series with these values and nothing else."""
    nothing = (None,) * 4
    return table([[(value, *nothing, 0, 0, "N") for value in values.tolist()]]).to_batches()[0]


def test_each_series_has_the_power_of_ten_that_it_needs_and_one_odd_number_does_not_change_it() -> None:
    rows = lambda values: [(v, None, None, None, None, 0, 0, "N") for v in values]  # noqa: E731
    packed = layout.pack(table([rows([7.0, 12.0]), rows([7.31, 1 / 3, 7.3, 8.0])]).to_batches()[0])
    assert packed.column("value_per").to_pylist() == [1, 1, 100, 100, 100, 100]
    assert packed.column("value_n").to_pylist() == [7, 12, 731, None, 730, 800]
    assert packed.column("value_x").to_pylist() == [None, None, None, 1 / 3, None, None]


def test_a_number_that_no_row_needs_as_it_is_costs_no_column(tmp_path: Path) -> None:
    _, path = written(str(tmp_path), pa.Table.from_batches([single(np.array([0.1, 1 / 3]))]))
    form = layout.form_of(path)
    assert form.odd == {"value"}
    assert form.needs(["ts", "value", "vmin"]) == ["ts", "value_per", "value_n", "value_x", "vmin_n"]


def test_readings_as_a_monitor_sends_them_take_less_than_four_bytes(tmp_path: Path) -> None:
    """Ten series of a device, ten-minute data with extremes, frames of many devices in between."""
    rng, count = np.random.default_rng(212), 4464
    frames = np.cumsum(rng.integers(40_000, 60_000, count))
    values = np.round(np.abs(50 + np.cumsum(rng.normal(0, 0.8, (10, count)), axis=1)), 2)
    ts = MARCH + np.arange(count) * 600
    columns = {
        "series": np.repeat(np.arange(10), count), "kind": np.ones(10 * count), "ts": np.tile(ts, 10),
        "ver": np.zeros(10 * count), "value": values.ravel(), "vmin": np.round(values - 0.5, 2).ravel(),
        "vmax": np.round(values + 0.5, 2).ravel(), "flag": ["N"] * (10 * count),
        "recv": np.tile(ts + 630, 10), "frame": np.tile(frames, 10),
    }  # fmt: skip
    arrays = [
        pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(10 * count, field.type)
        for field in READING_SCHEMA
    ]
    _, path = written(str(tmp_path), pa.table(arrays, schema=READING_SCHEMA))
    assert path.stat().st_size < 4 * 10 * count


# ── files sealed before ───────────────────────────────────────────────────────────────────────────────────────────────


def as_before(path: Path, readings: pa.RecordBatchReader) -> None:
    """How a month was written until this layout came."""
    with pq.ParquetWriter(path, READING_SCHEMA, compression="zstd", use_dictionary=["value", "flag"]) as out:
        for batch in readings:
            out.write_batch(batch)


def test_a_month_sealed_in_the_older_layout_is_read_beside_the_others_and_sealed_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    april = MARCH + 31 * 86400
    given = [reading(s, t + h * HOUR, s + h / 10) for s in (1, 2) for t in (MARCH, april) for h in range(5)]
    add(store, *given, reading(1, MARCH + 9 * HOUR, NAN))
    whole = lambda versions="all": store.readings([1, 2], 2, 0, 1 << 40, versions=versions)  # noqa: E731
    expected = whole()
    with monkeypatch.context() as patch:
        patch.setattr(history, "_write_unfinished", as_before)
        (old,) = store.seal("2026-03", 1.0)
    (new,) = store.seal("2026-04", 1.0)
    assert (layout.form_of(old).packed, layout.form_of(new).packed) == (False, True)
    np.testing.assert_equal(whole().to_pydict(), expected.to_pydict())
    matrix = store.matrix([[1, 2]], 2, MARCH, april + 5 * HOUR).values
    assert (matrix[0, 4, 1], matrix[0, -1, 0]) == (2.4, 1.4)
    assert add(store, given[0], reading(2, MARCH, 9.9))[:2] == (0, 1)
    assert list(store.breaks()) == []
    (again,) = store.seal("2026-03", 2.0)
    assert layout.form_of(again).packed
    assert store.readings([2], 2, MARCH, MARCH + 1)["value"].to_pylist() == [9.9]
    assert whole().num_rows == expected.num_rows + 1
