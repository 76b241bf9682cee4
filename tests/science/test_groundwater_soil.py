"""Groundwater, sea water and soil: every limit from both sides, pH bands, uses of land, what is missing."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.science import groundwater, soil
from ceguan.standards.tables import AgriculturalSoil, ConstructionSoil, GroundwaterLimit, SeawaterLimit, rows

DAY = date(2026, 6, 1)


def of(kind):
    return [pytest.param(row, id=row.where) for row in rows(kind)]


@pytest.mark.parametrize("row", [*of(GroundwaterLimit), *of(SeawaterLimit)])
def test_a_limit_belongs_to_its_class(row):
    worse = 1e-9 if row.kind == "max" else -1e-9
    for bound in (b for b in row.classes if math.isfinite(b)):
        nearest = 1 + row.classes.index(bound)
        at, beyond = (
            groundwater.item_class((row,), np.array([v]))[0]
            for v in (bound, bound * (1 + worse) + worse * (bound == 0))
        )
        if row.kind == "above":
            assert at > nearest
        else:
            assert at == nearest
            assert beyond > at


@pytest.mark.parametrize(
    ("ph", "expected"),
    [(6.5, "Ⅰ"), (8.5, "Ⅰ"), (6.49, "Ⅳ"), (5.5, "Ⅳ"), (5.49, "Ⅴ"), (8.51, "Ⅳ"), (9.0, "Ⅳ"), (9.01, "Ⅴ")],
)
def test_ph_of_groundwater(ph, expected):
    found = groundwater.groundwater({"ph": np.array([ph])}, DAY)
    assert groundwater.GROUND_CLASSES[found.klass[0]] == expected


def test_what_must_not_be_detected_is_class_i_only_below_detection():
    value = {"las": np.array([0.025, 0.025])}
    found = groundwater.groundwater(value, DAY, {"las": np.array([True, False])})
    assert found.klass.tolist() == [1, 2]


def test_radioactivity_over_class_iii_is_iv_the_better_of_two_equal_limits():
    assert groundwater.groundwater({"alpha": np.array([0.5, 0.51, 99.0])}, DAY).klass.tolist() == [3, 4, 4]


def test_smell_present_is_class_v():
    found = groundwater.groundwater({"odour": np.array([0.0, 1.0])}, DAY)
    assert found.klass.tolist() == [1, 5]
    assert "嗅和味 有" in found.explain(1).zh


def test_the_worst_item_decides_and_the_sentence_has_value_and_clause():
    found = groundwater.groundwater({"nh3n": np.array([0.6]), "fe": np.array([0.25]), "mn": np.array([math.nan])}, DAY)
    assert found.worst_items(0) == ("nh3n",)
    assert found.explain(0).zh == "Ⅳ类：氨氮 0.6 mg/L 超过Ⅲ类限值 0.5（GB/T 14848-2017 表1）；参评 2 项"
    assert found.explain(0).en.startswith("class Ⅳ: nh3n 0.6 mg/L above the limit of class Ⅲ, 0.5")
    assert "GB/T 14848-2017" in found.explain(0).en


def test_nothing_measured_has_no_class_and_an_unknown_item_or_day_is_refused():
    assert groundwater.groundwater({"fe": np.array([math.nan])}, DAY).explain(0).zh == "各项均缺测"
    with pytest.raises(LookupError, match="xyz"):
        groundwater.groundwater({"xyz": np.array([1.0])}, DAY)
    with pytest.raises(LookupError, match="2017-01-01"):
        groundwater.groundwater({"fe": np.array([1.0])}, date(2017, 1, 1))


@settings(max_examples=60)
@given(st.sampled_from(sorted({r.item for r in rows(GroundwaterLimit)} - {"ph"})), st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_of_a_substance_never_betters_groundwater(item, value, more):
    found = groundwater.groundwater({item: np.array([value, value + more])}, DAY)
    assert found.klass[0] <= found.klass[1]


def test_sea_water_has_a_class_after_the_fourth():
    found = groundwater.seawater({"din": np.array([0.2, 0.21, 0.51]), "do": np.array([7.0, 7.0, 7.0])}, DAY)
    assert found.explain(2).zh.startswith("劣四类：无机氮(以N计) 0.51 mg/L 超过第四类限值 0.5（GB 3097-1997 表1）")
    assert found.explain(2).en.startswith("worse than class 4: din 0.51 mg/L above the limit of class 4, 0.5")
    assert [groundwater.SEA_CLASSES[k] for k in found.klass] == ["第一类", "第二类", "劣四类"]


# ---- soil


BAND = {0: 5.0, 1: 6.0, 2: 7.0, 3: 8.0}


@pytest.mark.parametrize("row", of(AgriculturalSoil))
def test_each_value_of_farmland_from_both_sides(row):
    for band, bound in enumerate(row.bands):
        values = {row.item: np.array([bound, bound * (1 + 1e-9)])}
        found = soil.agricultural(values, np.full(2, BAND[band]), row.land or "other", DAY)
        at, beyond = found.item_verdict[0]
        if row.kind == "control":
            assert at in (soil.BELOW, soil.BETWEEN)
            assert beyond == soil.ABOVE
        else:
            assert at == soil.BELOW
            assert beyond in (soil.BETWEEN, soil.OVER_SCREENING)


@pytest.mark.parametrize(
    ("ph", "limit"), [(5.5, 0.3), (5.51, 0.4), (6.5, 0.4), (6.51, 0.6), (7.5, 0.6), (7.51, 0.8), (14, 0.8)]
)
def test_the_band_of_ph_includes_its_upper_end(ph, limit):
    found = soil.agricultural({"cd": np.array([0.1])}, np.array([float(ph)]), "paddy", DAY)
    assert found.screening[0, 0] == limit


@pytest.mark.parametrize(
    ("item", "land", "limit"),
    [("cu", "orchard", 150), ("cu", "paddy", 50), ("cd", "orchard", 0.3), ("ni", "paddy", 60), ("as", "other", 40)],
)
def test_a_use_without_its_own_row_is_one_of_the_others(item, land, limit):
    assert soil.agricultural({item: np.array([1.0])}, np.array([5.0]), land, DAY).screening[0, 0] == limit


def test_the_three_verdicts_of_farmland_and_what_decides():
    columns = {"cd": np.array([0.3, 1.0, 1.6]), "cu": np.array([10.0, 60.0, 60.0])}
    found = soil.agricultural(columns, np.full(3, 5.0), "other", DAY)
    assert [soil.VERDICTS[v].zh for v in found.verdict] == ["低于筛选值", "高于筛选值（无管制值）", "高于管制值"]
    assert found.worst_items(2) == ("cd",)
    assert (
        found.explain(2).zh
        == "高于管制值：镉 1.6 mg/kg，筛选值 0.3，管制值 1.5（GB 15618-2018 表1、GB 15618-2018 表3）"
    )


def test_without_ph_there_is_no_verdict_where_it_matters():
    found = soil.agricultural({"cd": np.array([9.0])}, np.array([math.nan]), "other", DAY)
    assert found.verdict[0] == soil.MISSING
    assert found.explain(0).zh == "缺 pH，不能选定筛选值，未评价"
    none = soil.agricultural({"cd": np.array([math.nan])}, np.array([6.0]), "other", DAY)
    assert none.explain(0).zh == "各项均缺测"
    assert (
        soil.agricultural({"hch": np.array([0.2])}, np.array([math.nan]), "other", DAY).verdict[0]
        == soil.OVER_SCREENING
    )


def test_an_item_left_out_for_want_of_ph_is_named_beside_the_verdict_of_the_others():
    found = soil.agricultural({"cd": np.array([9.0]), "hch": np.array([0.01])}, np.array([math.nan]), "other", DAY)
    assert found.explain(0).zh.endswith("；镉缺 pH，未评价")


@pytest.mark.parametrize("row", of(ConstructionSoil))
def test_each_value_of_building_land_from_both_sides(row):
    for land, screening, control in ((1, row.screening1, row.control1), (2, row.screening2, row.control2)):
        values = np.array([screening, screening * (1 + 1e-9), control, control * (1 + 1e-9)])
        found = soil.construction({row.item: values}, land, DAY).item_verdict[0]
        between = soil.BETWEEN if screening < control else soil.ABOVE
        at_control = soil.BETWEEN if screening < control else soil.BELOW
        assert found.tolist() == [soil.BELOW, between, at_control, soil.ABOVE]


def test_natural_background_is_not_managed_as_pollution_where_the_standard_says_so():
    values, background = (
        {"as": np.array([30.0]), "cd": np.array([30.0])},
        {"as": np.array([35.0]), "cd": np.array([35.0])},
    )
    found = soil.construction(values, 1, DAY, background)
    assert [soil.VERDICTS[v].zh for v in found.item_verdict[:, 0]] == [
        "高于筛选值但不高于背景值",
        "介于筛选值和管制值之间",
    ]
    assert found.worst_items(0) == ("cd",)


@settings(max_examples=60)
@given(
    st.sampled_from(sorted({r.item for r in rows(AgriculturalSoil)})),
    st.floats(0, 2000),
    st.floats(0, 2000),
    st.floats(4, 9),
    st.sampled_from(soil.LANDS),
)
def test_more_of_a_substance_never_betters_soil(item, value, more, ph, land):
    found = soil.agricultural({item: np.array([value, value + more])}, np.full(2, ph), land, DAY)
    first, second = soil.SEVERITY[found.verdict]
    assert first <= second


def test_an_unknown_item_is_refused():
    for judge in (
        lambda: soil.agricultural({"gold": np.array([1.0])}, np.array([7.0]), "other", DAY),
        lambda: soil.construction({"gold": np.array([1.0])}, 1, DAY),
    ):
        with pytest.raises(LookupError, match="gold"):
            judge()
