"""The bureau's own thresholds of the watch: a table, all of it trust = local."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import ClassVar

from ceguan.standards.tables import Row, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold(Row):
    table_file: ClassVar[str] = "thresholds.csv"
    name: str
    point_kind: str
    value: float
    unit: str
    meaning: str


@cache
def table() -> tuple[Threshold, ...]:
    """Every row of the table."""
    return parse(Threshold, resources.files(__package__).joinpath(Threshold.table_file).read_text("utf-8"))


@cache
def threshold(name: str, point_kind: str = "*") -> float:
    """The value for a kind of point, else for all. Raises LookupError for a name the table has not."""
    rows = {row.point_kind: row.value for row in table() if row.name == name}
    if not rows:
        raise LookupError(f"{Threshold.table_file} 没有 {name} (no such threshold)")
    return rows.get(point_kind, rows.get("*", next(iter(rows.values()))))
