"""Every procedure table is complete, and every way through it leads to the end."""

from __future__ import annotations

import pytest

from ceguan.standards.procedures import STAYS, Procedure, for_rule, parse, procedures
from ceguan.standards.tables import TRUST, TableError
from ceguan.words import Role

ALL = list(procedures().values())
STEPS = [pytest.param(procedure, step, id=f"{procedure.id}-{step.id}") for procedure in ALL
         for step in procedure.steps.values()]  # fmt: skip
BY_ID = pytest.mark.parametrize("procedure", ALL, ids=lambda procedure: procedure.id)


def _next(procedure: Procedure, state: str) -> set[str]:
    return {step.to for step in procedure.from_state(state) if step.to != STAYS}


def _reach(procedure: Procedure, state: str) -> set[str]:
    seen, waiting = {state}, [state]
    while waiting:
        fresh = _next(procedure, waiting.pop()) - seen
        seen |= fresh
        waiting += fresh
    return seen


@BY_ID
def test_every_state_is_reached_from_the_start(procedure):
    assert _reach(procedure, procedure.start) == set(procedure.states)


@BY_ID
def test_from_every_state_the_case_can_end(procedure):
    ends = {state.id for state in procedure.states.values() if state.end}
    assert ends
    for state in procedure.states:
        assert _reach(procedure, state) & ends


@BY_ID
def test_nothing_follows_the_end_and_every_other_state_has_a_clock(procedure):
    for state in procedure.states.values():
        if state.end:
            assert procedure.from_state(state.id) == []
            assert state.clock == ""
        else:
            step = procedure.steps[state.clock]
            assert state.id in step.sources
            assert step.period > 0


@BY_ID
def test_periods_say_where_they_come_from(procedure):
    assert procedure.trust in TRUST
    assert all(procedure.source)
    if procedure.trust == "local":
        assert "没有规定" in procedure.source.zh
    for row in procedure.cited:
        assert row.trust in TRUST
        assert row.source
        assert row.unit in ("h", "d", "wd", "mo")


@pytest.mark.parametrize(("procedure", "step"), STEPS)
def test_a_step_is_complete(procedure, step):
    states = set(procedure.states)
    assert step.sources
    assert set(step.sources) <= states
    assert step.to == STAYS or step.to in states
    assert step.roles
    assert step.roles <= set(Role)
    assert set(step.not_by) <= set(procedure.steps)
    assert step.unit in ("wd", "d")
    assert step.tone in ("", "back", "end")
    assert all(step.label)
    assert all(step.text)
    assert all(step.consequence)
    for field in step.fields:
        assert all(field.label)
        assert field.kind in ("text", "choice", "officer", "past_date")
        assert (field.kind == "choice") == bool(field.options)


@pytest.mark.parametrize(("procedure", "step"), STEPS)
def test_going_back_and_ending_need_a_text(procedure, step):
    if step.tone:
        assert step.text_required


def test_the_reviewer_is_never_who_gave_feedback():
    steps = procedures()["auto_exceedance"].steps
    for name in ("review", "close", "back"):
        assert "feedback" in steps[name].not_by


def test_the_enterprise_only_gives_feedback():
    steps = procedures()["auto_exceedance"].steps.values()
    assert [step.id for step in steps if Role.ENTERPRISE in step.roles] == ["feedback"]


def test_exceedances_have_a_procedure_and_silence_has_none():
    assert for_rule("limit-hour:a21026").id == "auto_exceedance"
    assert for_rule("limit-day:w01018").id == "auto_exceedance"
    assert for_rule("silent") is None


def test_a_slip_in_a_table_names_file_and_row():
    with pytest.raises(TableError, match=r"x\.toml step a"):
        parse('id = "x"\n[[step]]\nid = "a"\nroles = ["king"]\n', "x.toml")
    with pytest.raises(TableError, match=r"x\.toml State a.*colour"):
        parse('[[state]]\nid = "a"\nlabel = ["甲", "a"]\ncolour = "red"\n', "x.toml")
