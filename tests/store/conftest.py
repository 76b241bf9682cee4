"""What the tests of the store share: short ways to make readings and a store of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceguan.store import Store
from tests.postgres import new_database

NAN = float("nan")
HOUR = 3600
MARCH = 1772294400  # 2026-03-01 00:00 in Beijing
APRIL = MARCH + 31 * 86400


def reading(
    series: int, ts: int, value: float, *, recv: int | None = None, flag: str = "N", frame: int = 1
) -> tuple[Any, ...]:
    """An hourly reading row without extremes."""
    return (series, 2, ts, 0, value, NAN, NAN, NAN, NAN, flag, ts + 2 * HOUR if recv is None else recv, frame)


def add(store: Store, *rows: tuple[Any, ...]) -> Any:
    with store.ledger.batch() as batch:
        return batch.add_readings(rows)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """Where the ledger lies: "" for SQLite, the URL of a fresh database of a real PostgreSQL."""
    return new_database() if request.param == "postgres" else ""


@pytest.fixture
def store(tmp_path: Path, database: str) -> Iterator[Store]:
    with Store(tmp_path, write=True, database=database) as opened:
        yield opened
