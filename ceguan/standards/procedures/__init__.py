"""Procedures as tables: states, steps, who may do which, what each needs, how long each may take. One TOML file each.

Reading checks only that a file says what the dataclasses below want (`TableError` names file and row); that every
state can be reached and left, and that roles and steps exist, is said by tests.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from ceguan.standards.tables import TableError
from ceguan.words import Label, Role

STAYS = "="
"""`to` of a step that leaves the case in its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field a step asks for; all are required. `kind`: text, choice, officer (id of a person), past_date."""

    id: str
    label: Label
    kind: str
    options: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a case waits in; `clock` is the step whose period runs meanwhile, `end` that nothing follows."""

    id: str
    label: Label
    clock: str = ""
    end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What can be done. Columns as explained at the head of the tables; `sources` is their `from`."""

    id: str
    label: Label
    sources: tuple[str, ...]
    to: str
    roles: frozenset[Role]
    text: Label
    text_required: bool
    consequence: Label
    party_sees: bool
    assignee_only: bool = False
    not_by: tuple[str, ...] = ()
    evidence: int = 0
    period: int | None = None
    unit: str = "wd"
    tone: str = ""
    fields: tuple[Field, ...] = ()

    def leads(self, state: str) -> str:
        """The state after this step, done in `state`."""
        return state if self.to == STAYS else self.to


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """A period that a text sets, shown for information; no clock runs on it. `unit`: h, wd, d, mo."""

    id: str
    label: Label
    period: int
    unit: str
    source: str
    trust: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """One table. `rules`: heads of the rules of findings it is for; `trust`, `source`: where the periods are from."""

    id: str
    label: Label
    prefix: str  # of case numbers
    rules: tuple[str, ...]
    start: str
    trust: str
    source: Label
    states: Mapping[str, State]
    steps: Mapping[str, Step]
    cited: tuple[Cited, ...]

    def from_state(self, state: str) -> list[Step]:
        """The steps possible in a state, in the order of the table."""
        return [step for step in self.steps.values() if state in step.sources]

    @property
    def timed(self) -> list[Step]:
        """The steps that have a period."""
        return [step for step in self.steps.values() if step.period is not None]


T = TypeVar("T")


def parse(text: str, where: str) -> Procedure:
    """A procedure from TOML. Raises TableError naming file and row."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"{where}：{error}") from error
    states = [_row(State, one, where) for one in raw.pop("state", [])]
    steps = [_step(one, where) for one in raw.pop("step", [])]
    cited = tuple(_row(Cited, one, where) for one in raw.pop("cited", []))
    whole = raw | {
        "rules": tuple(raw.get("rules", ())),
        "states": {state.id: state for state in states},
        "steps": {step.id: step for step in steps},
        "cited": cited,
    }
    procedure = _row(Procedure, whole, where)
    for kind, rows, kept in (("state", states, procedure.states), ("step", steps, procedure.steps)):
        if len(rows) != len(kept):
            raise TableError(f"{where}：{kind} 的 id 有重复")
    return procedure


def _step(raw: dict[str, Any], where: str) -> Step:
    raw = dict(raw)
    raw["sources"] = tuple(raw.pop("from", ()))
    raw["fields"] = tuple(_row(Field, one, f"{where} step {raw.get('id')}") for one in raw.pop("field", ()))
    raw["not_by"] = tuple(raw.get("not_by", ()))
    try:
        raw["roles"] = frozenset(Role(role) for role in raw.get("roles", ()))
    except ValueError as error:
        raise TableError(f"{where} step {raw.get('id')}：{error}") from error
    return _row(Step, raw, where)


def _row(kind: type[T], raw: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table's row; pairs become labels."""
    values = dict(raw)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.type == "Label" and field.name in values:
            values[field.name] = Label(*values[field.name])
        if field.type == "tuple[Label, ...]" and field.name in values:
            values[field.name] = tuple(Label(*pair) for pair in values[field.name])
    try:
        return kind(**values)
    except TypeError as error:
        raise TableError(f"{where} {kind.__name__} {raw.get('id', '?')}：{error}") from error


@cache
def procedures() -> Mapping[str, Procedure]:
    """All packaged procedures by id."""
    files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    found = [parse(file.read_text("utf-8"), file.name) for file in files if file.name.endswith(".toml")]
    return {procedure.id: procedure for procedure in found}


def for_rule(rule: str) -> Procedure | None:
    """The procedure for findings of a rule such as "limit-hour:a21026"; None when there is none."""
    head = rule.partition(":")[0]
    return next((procedure for procedure in procedures().values() if head in procedure.rules), None)
