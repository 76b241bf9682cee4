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


_STANDARDS = {2017: "HJ 212-2017", 2025: "HJ 212-2025", 2005: "HJ/T 212-2005"}
"""Edition → how the source of its rows begins; where no edition is asked for, the first that has a code speaks."""


@cache
def rows() -> tuple[Factor, ...]:
    """All rows in the order of the file."""
    text = resources.files(__package__).joinpath("factors.csv").read_text("utf-8")
    return tuple(Factor(**row) for row in csv.DictReader(text.splitlines()))


@cache
def _by_code(edition: int | None) -> dict[str, tuple[Factor, ...]]:
    """Code → its rows in the table that speaks for it. A code of 2005 that went on under the same name is a new one."""
    ranked = sorted(rows(), key=lambda row: _rank(row, edition))
    old = sorted(rows(), key=lambda row: _rank(row, 2005))
    return _grouped(old, "code05") | _grouped(ranked, "code17")


def _grouped(ranked: list[Factor], column: str) -> dict[str, tuple[Factor, ...]]:
    found: dict[str, list[Factor]] = {}
    for row in ranked:
        held = found.setdefault(getattr(row, column), [])
        if not held or held[0].source == row.source:
            held.append(row)
    return {code: tuple(held) for code, held in found.items() if code}


def _rank(row: Factor, edition: int | None) -> int:
    order = [edition, *(other for other in _STANDARDS if other != edition)]
    ranks = (rank for rank, one in enumerate(order) if one and row.source.startswith(_STANDARDS[one]))
    return next(ranks, len(order))


@cache
def _successors() -> dict[str, str]:
    return {row.code05: row.code17 for row in rows() if row.code05 and row.code17}


def current_code(code: str) -> str:
    """The 2017 code of an old code ("011" → "w01018"); any other code, known or not, unchanged."""
    return _successors().get(code, code)


def find(code: str, edition: int | None = None) -> Factor | None:
    """The row of a code as sent; for families such as d2xxxx the family's row; None if nobody knows the code.

    `edition` (2005, 2017, 2025): the table to look in first, where a name or unit changed (Ld and Ln stand swapped in
    2005); without it 2017 speaks first. An old code gives the 2005 row where there is one, for its unit can be another
    (total mercury: mg/L then, µg/L now). Of a code with two meanings it is the first: see `meanings`.
    """
    return next(iter(meanings(code, edition)), None)


@lru_cache(maxsize=4096)
def meanings(code: str, edition: int | None = None) -> tuple[Factor, ...]:
    """All rows of a code in the table that speaks for it; two for e701xx and g119xx, which the 2017 standard uses twice
    (表B.5, 表B.7): what such a device measures only its unit can tell."""
    families = (code[:size] + "x" * (len(code) - size) for size in range(len(code), 1, -1))
    return next((known[family] for known in [_by_code(edition)] for family in families if family in known), ())


@cache
def _predecessors() -> dict[str, str]:
    return {row.code17: row.code05 for row in reversed(rows()) if row.code17 and row.code05}


def old_code(code: str) -> str:
    """The code of HJ/T 212-2005 for a 2017 code ("w01018" → "011"); any other code unchanged."""
    return _predecessors().get(code, code)
