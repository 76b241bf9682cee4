"""The test programme: which tests a series gets, with which parameters – rows of `programme.csv`.

A row is for a kind of point, a factor and a kind of reading ("*" = any); the most specific row of each test wins:
factor before kind of point before "*". A row without parameters switches the test off and its `source` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import ClassVar

from ceguan.standards.tables import Row, TableError, parse
from ceguan.words import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Row):
    """One test for some series. `parameters`: "name=number;name=number"."""

    table_file: ClassVar[str] = "programme.csv"
    point_kind: str
    factor: str
    kind: str
    test: str
    version: str
    parameters: str

    @property
    def params(self) -> Mapping[str, float]:
        """The parameters as numbers; raises TableError naming the row when one is none."""
        try:
            return _numbers(self.parameters)
        except ValueError as error:
            raise TableError(f"{self.where} 列 parameters: {self.parameters!r} 无法读取") from error

    def fits(self, point_kind: str, factor: str, kind: str) -> bool:
        wanted = ((self.point_kind, point_kind), (self.factor, factor), (self.kind, kind))
        return all(have in ("*", want) for have, want in wanted)

    @property
    def weight(self) -> int:
        return 2 * (self.factor != "*") + (self.point_kind != "*")


@cache
def _numbers(parameters: str) -> Mapping[str, float]:
    pairs = (part.split("=") for part in parameters.split(";") if part)
    return MappingProxyType({name: float(number) for name, number in pairs})


@cache
def steps() -> tuple[Step, ...]:
    """Every row of the programme."""
    return parse(Step, resources.files(__package__).joinpath(Step.table_file).read_text("utf-8"))


@cache
def programme(point_kind: str, factor: str, kind: Kind) -> tuple[Step, ...]:
    """The steps for one series and kind of reading, one per test, in the order of the table."""
    chosen: dict[str, Step] = {}
    for step in steps():
        if step.fits(point_kind, factor, kind.name.lower()):
            before = chosen.get(step.test)
            if before is None or step.weight > before.weight:
                chosen[step.test] = step
    return tuple(step for step in chosen.values() if step.parameters)
