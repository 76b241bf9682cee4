"""Surface-water class: each limit from both sides, missing items, the undecided water body, published classes."""

from __future__ import annotations

import csv
import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import water
from ceguan.standards.tables import NotInForce, WaterLimit, rows

DAY = date(2026, 6, 1)
PURE = {"ph": 7.0, "do": 9.0, "codmn": 1.0, "nh3n": 0.1, "tp": 0.005}


def sample(body="river", **values):
    columns = {k: np.array([v], float) for k, v in (PURE | values).items()}
    return water.surface_water(columns, body, DAY)


def klass(result):
    return water.CLASSES[result.klass[0]]


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(WaterLimit) if r.classes])
def test_a_limit_belongs_to_its_class(row):
    worse = -1e-9 if row.kind == "min" else 1e-9
    for bound in row.classes:
        at = water.item_class(row, np.array([bound]))[0]
        beyond = water.item_class(row, np.array([bound * (1 + worse)]))[0]
        assert at == 1 + row.classes.index(bound)
        assert beyond > at


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(WaterLimit) if r.table != 1])
def test_a_drinking_water_limit_is_met_up_to_itself(row):
    assert water.item_class(row, np.array([row.hi, row.hi * (1 + 1e-9), math.nan])).tolist() == [1, 6, 0]


@pytest.mark.parametrize(("ph", "expected"), [(6.0, "Ⅰ"), (9.0, "Ⅰ"), (5.999, "劣Ⅴ"), (9.001, "劣Ⅴ")])
def test_ph_outside_6_to_9_is_worse_than_v(ph, expected):
    assert klass(sample(ph=ph)) == expected


def test_values_are_not_rounded_first():
    assert klass(sample(do=7.4999)) == "Ⅱ"
    assert klass(sample(nh3n=1.0001)) == "Ⅳ"


def test_the_worst_item_decides_and_all_at_the_worst_class_are_named():
    result = sample(codmn=5.0, nh3n=0.9, do=6.5)
    assert klass(result) == "Ⅲ"
    assert result.worst_items(0) == ("codmn", "nh3n")


def test_class_one_names_no_item():
    assert klass(sample()) == "Ⅰ"
    assert sample().worst_items(0) == ()


@pytest.mark.parametrize("item", water.AUTO_REQUIRED)
def test_without_one_of_the_four_there_is_no_class(item):
    result = sample(**{item: math.nan})
    assert klass(result) == "NA"
    assert "缺" in result.explain(0).zh


def test_without_phosphorus_there_is_a_class():
    assert klass(sample(tp=math.nan)) == "Ⅰ"


def test_phosphorus_is_judged_by_the_water_body():
    assert klass(sample("river", tp=0.15)) == "Ⅲ"
    assert klass(sample("lake", tp=0.15)) == "Ⅴ"


def test_an_undecided_water_body_has_a_class_only_where_both_agree():
    apart = sample("either", tp=0.15)
    assert klass(apart) == "NA"
    assert "Ⅲ" in apart.explain(0).zh
    assert "Ⅴ" in apart.explain(0).zh
    assert klass(sample("either", tp=0.15, ph=9.5)) == "劣Ⅴ"


def test_total_nitrogen_counts_in_lakes_only():
    columns = {k: np.array([v]) for k, v in (PURE | {"tn": 3.0}).items()}
    assert water.CLASSES[water.surface_water(columns, "river", DAY).klass[0]] == "Ⅰ"
    assert water.CLASSES[water.surface_water(columns, "lake", DAY).klass[0]] == "劣Ⅴ"


def test_a_day_before_every_edition_is_refused():
    with pytest.raises(NotInForce, match="2001-01-01"):
        water.surface_water({"do": np.array([8.0])}, "river", date(2001, 1, 1))


@given(st.sampled_from(["codmn", "nh3n", "tp"]), st.floats(0, 20), st.floats(0, 5))
def test_more_of_a_pollutant_never_betters_the_class(item, value, more):
    assert sample(**{item: value + more}).klass[0] >= sample(**{item: value}).klass[0]


@given(st.floats(0, 12), st.floats(0, 5))
def test_more_oxygen_never_worsens_the_class(value, more):
    assert sample(do=value + more).klass[0] <= sample(do=value).klass[0]


def test_1100_published_classes_of_automatic_stations(truth):
    with (truth / "standards" / "surface_water_auto_class.csv").open(encoding="utf-8-sig") as file:
        table = list(csv.DictReader(file))
    named = {"ph": "ph", "do": "do_mgL", "codmn": "codmn_mgL", "nh3n": "nh3n_mgL", "tp": "tp_mgL"}
    columns = {k: np.array([float(r[c] or "nan") for r in table]) for k, c in named.items()}
    body = np.array([r["waterbody_inferred"] for r in table])
    result = water.surface_water(columns, body, date(2020, 6, 1))
    agree = sum(water.CLASSES[k] == r["class_published"] for k, r in zip(result.klass, table, strict=True))
    assert agree == len(table) == 1100
