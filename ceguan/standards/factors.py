"""因子: the codes of HJ 212 – new (2017) and old (2005) – with name, unit and where each row was read.

A code may have several rows, one for each source. The unit here is only the standard's default: practice differs (dust
stations send µg/m³ where 表B.2 prints ng/m³), so the unit that counts is the one confirmed for the series at adoption.
Columns of factors.csv: `unit` as printed, `symbol` the same unit in short, `format` e.g. N5.2 (digits before and after
the point), `trust` as in ceguan.standards.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Factor:
    """One row. `code17` is empty for an old code without a successor; a trailing x stands for any digit."""

    code17: str
    code05: str
    name: str
    name_en: str
    unit: str
    symbol: str
    cumulative_unit: str
    medium: str
    format: str
    source: str
    trust: str
    note: str


_PREFERENCE = ("HJ 212-2017", "HJ 212-2025", "HJ/T 212-2005")


@cache
def rows() -> tuple[Factor, ...]:
    """All rows in the order of the file."""
    text = resources.files(__package__).joinpath("factors.csv").read_text("utf-8")
    return tuple(Factor(**row) for row in csv.DictReader(text.splitlines()))


@cache
def _by_code() -> dict[str, Factor]:
    """The row that speaks for a code: of the 2017 edition first; of two rows in one table the first."""
    ranked = sorted(rows(), key=_rank)
    new = {row.code17: row for row in reversed(ranked) if row.code17}
    old = {row.code05: row for row in ranked if row.code05}
    return new | old


def _rank(row: Factor) -> int:
    return next((rank for rank, edition in enumerate(_PREFERENCE) if row.source.startswith(edition)), len(_PREFERENCE))


@cache
def _successors() -> dict[str, str]:
    return {row.code05: row.code17 for row in rows() if row.code05 and row.code17}


def current_code(code: str) -> str:
    """The 2017 code of an old code ("011" → "w01018"); any other code, known or not, unchanged."""
    return _successors().get(code, code)


@lru_cache(maxsize=4096)
def find(code: str) -> Factor | None:
    """The row of a code as sent; for families such as d2xxxx the family's row; None if nobody knows the code.

    An old code gives the 2005 row where there is one, for its unit can be another (total mercury: mg/L then, µg/L now).
    Two families, e701xx and g119xx, stand twice in the 2017 standard with different meanings: `rows()` has both.
    """
    families = (code[:size] + "x" * (len(code) - size) for size in range(len(code), 1, -1))
    return next((_by_code()[family] for family in families if family in _by_code()), None)


@cache
def _predecessors() -> dict[str, str]:
    return {row.code17: row.code05 for row in reversed(rows()) if row.code17 and row.code05}


def old_code(code: str) -> str:
    """The code of HJ/T 212-2005 for a 2017 code ("w01018" → "011"); any other code unchanged."""
    return _predecessors().get(code, code)
