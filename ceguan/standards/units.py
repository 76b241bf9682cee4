"""Units: one spelling each, and the factor between two of the same kind. What is not in the table is not converted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import ClassVar

from ceguan.standards.tables import Row, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit(Row):
    """`factor` × a value in `unit` is the value in `base`; `aliases` are other spellings, parted by blanks."""

    table_file: ClassVar[str] = "units.csv"
    unit: str
    base: str
    factor: float
    aliases: str


@cache
def table() -> tuple[Unit, ...]:
    """Every row of the table."""
    return parse(Unit, resources.files(__package__).joinpath(Unit.table_file).read_text("utf-8"))


@cache
def _by_spelling() -> dict[str, Unit]:
    return {_folded(name): row for row in table() for name in (row.unit, *row.aliases.split())}


def _folded(text: str) -> str:
    """The micro sign and the Greek letter are one; blanks do not count."""
    return text.replace("µ", "μ").replace(" ", "").strip()


def find(text: str) -> Unit | None:
    """The row of a unit in any spelling, None when the table has none."""
    return _by_spelling().get(_folded(text))


def factor(given: str, wanted: str) -> float | None:
    """What a value in `given` is multiplied by to be in `wanted`; None when that cannot be said.

    Two equal texts convert by 1 even if the table does not know them.
    """
    if _folded(given) == _folded(wanted):
        return 1.0
    here, there = find(given), find(wanted)
    if here is None or there is None or here.base != there.base:
        return None
    return here.factor / there.factor
