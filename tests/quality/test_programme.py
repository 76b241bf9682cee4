"""Every row of the programme can be read, names a test that exists, and says where its numbers come from."""

from __future__ import annotations

import pytest

from ceguan.quality.checks import VERSIONS
from ceguan.quality.programme import programme, steps
from ceguan.standards.tables import TRUST
from ceguan.words import Kind, PointKind

NEEDED = {"flat_line": {"run"}, "spike": {"neighbours", "factor", "floor", "relative"}, "clock": {"tolerance"}}


@pytest.mark.parametrize("step", steps(), ids=lambda step: step.where)
def test_a_row_is_complete(step):
    assert step.test in VERSIONS
    assert step.version == VERSIONS[step.test]
    assert step.kind in {kind.name.lower() for kind in Kind}
    assert step.point_kind == "*" or step.point_kind in set(PointKind)
    assert step.trust in TRUST
    assert step.source
    if step.params:
        assert NEEDED.get(step.test, set()) <= set(step.params)
    if step.test == "range" and "low" in step.params:
        assert step.params["low"] < step.params["high"]


def test_no_two_rows_are_about_the_same_thing():
    keys = [(s.point_kind, s.factor, s.kind, s.test, s.valid_from) for s in steps()]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("kind", list(PointKind))
def test_every_kind_of_point_has_hourly_tests(kind):
    assert {"range", "clock"} <= {step.test for step in programme(kind, "x", Kind.HOUR)}


def test_the_row_for_a_factor_wins_over_the_row_for_all():
    assert {s.test: s.params for s in programme("air", "a21026", Kind.HOUR)}["flat_line"]["run"] == 72


def test_an_empty_row_switches_a_test_off():
    assert "flat_line" not in {s.test for s in programme("gas_outlet", "a00000", Kind.HOUR)}
