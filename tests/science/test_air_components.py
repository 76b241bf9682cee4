"""Mass closure and ozone formation potential, worked by hand; what is missing stays missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import air_components
from ceguan.standards.tables import ClosureTerm, Reactivity, rows

GIVEN = {"S": 4.0, "NO3": 10.0, "OC": 10.0, "EC": 2.0, "Al": 0.5, "Si": 1.0, "Ca": 0.5, "Fe": 0.5, "Ti": 0.1, "Cl": 1.0}
SOIL = 2.2 * 0.5 + 2.49 + 1.63 * 0.5 + 2.42 * 0.5 + 1.94 * 0.1


def closure(method="improve", pm25=70.0, **changed):
    columns = {name: np.array([v]) for name, v in (GIVEN | changed).items() if v is not None}
    return air_components.mass_closure(columns, np.array([pm25]), method)


def test_the_mass_by_improve():
    result = closure()
    assert result.components["sulfate"][0] == pytest.approx(16.5)  # 4.125·4
    assert result.components["organic"][0] == pytest.approx(18)  # 1.8·10
    assert result.components["soil"][0] == pytest.approx(SOIL)
    assert result.mass[0] == pytest.approx(16.5 + 12.9 + 18 + 2 + SOIL + 1.8)
    assert result.ratio[0] == pytest.approx(result.mass[0] / 70)
    assert result.unexplained[0] == pytest.approx(70 - result.mass[0])
    assert "硫酸铵 16.50" in result.explain(0).zh
    assert "ammonium sulfate 16.50" in result.explain(0).en


def test_the_method_of_1994_has_no_nitrate_and_another_carbon_factor():
    assert closure("malm1994").mass[0] == pytest.approx(16.5 + 14 + 2 + SOIL)


def test_sulfate_stands_in_where_sulfur_is_missing_and_only_there():
    assert closure(S=None, SO4=12.0).components["sulfate"][0] == pytest.approx(16.524)
    assert closure(SO4=12.0).components["sulfate"][0] == pytest.approx(16.5)


@pytest.mark.parametrize("absent", [None, np.nan, -1.0])
def test_a_missing_species_leaves_its_component_and_the_mass_open(absent):
    result = closure(Si=absent)
    assert np.isnan(result.components["soil"][0])
    assert np.isnan(result.mass[0])
    assert result.explain(0).zh == "缺地壳物质，不作质量闭合"
    assert "fine soil missing" in result.explain(0).en


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="malm1994"):
        closure("guess")


@given(st.floats(0, 50), st.floats(0, 50))
def test_more_of_a_species_is_more_mass(low, more):
    assert closure(OC=low + more).mass[0] >= closure(OC=low).mass[0]


def test_each_species_makes_ozone_by_its_coefficient():
    result = air_components.ozone_formation(
        {"乙烯": np.array([2.0]), "Toluene": np.array([5.0]), "a25002": np.array([1.0])}
    )
    assert result.ofp[:, 0].tolist() == pytest.approx([18.0, 20.0, 0.72])
    assert result.total[0] == pytest.approx(38.72)
    assert [row.zh for row, _ in result.largest(0, 2)] == ["甲苯", "乙烯"]
    assert "甲苯 20.0" in result.explain(0).zh


def test_a_species_without_a_coefficient_is_named_and_not_counted():
    result = air_components.ozone_formation({"甲醛": np.array([9.0]), "乙烯": np.array([1.0]), "某物": np.array([1.0])})
    assert result.without == ("甲醛", "某物")
    assert result.total[0] == 9.0
    assert "甲醛、某物" in result.explain(0).zh
    assert "left out" in result.explain(0).en


def test_missing_values_do_not_count_as_none():
    result = air_components.ozone_formation({"乙烯": np.array([np.nan, 1.0]), "甲苯": np.array([-1.0, np.nan])})
    assert np.isnan(result.total[0])
    assert result.total[1] == 9.0
    assert result.counted.tolist() == [0, 1]


def test_a_species_named_twice_is_refused():
    with pytest.raises(ValueError, match="苯"):
        air_components.ozone_formation({"苯": np.array([1.0]), "Benzene": np.array([1.0])})


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(Reactivity)])
def test_a_species_has_names_and_a_coefficient_or_says_it_has_none(row):
    assert row.zh
    assert row.en
    assert (row.mir is None) == (row.trust == "unsure")
    assert row.mir is None or 0 < row.mir < 20


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(ClosureTerm)])
def test_a_term_has_a_positive_factor_and_stands_in_for_one_of_its_method(row):
    assert row.factor > 0
    others = {r.term for r in rows(ClosureTerm) if (r.method, r.component) == (row.method, row.component)}
    assert not row.instead_of or row.instead_of in others - {row.term}


def test_factor_codes_name_the_same_substance():
    from ceguan.standards import factors

    for row in rows(Reactivity):
        if row.code:
            assert row.zh in factors.find(row.code).name
