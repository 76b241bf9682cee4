"""Composite index and rankings, by hand and as bulletins published them."""

from __future__ import annotations

import csv
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import air_index
from ceguan.standards.tables import NotInForce

OLD, NEW, FINAL = date(2019, 5, 31), date(2026, 6, 30), date(2031, 1, 1)
PLACE = {"so2": 9, "no2": 27, "pm10": 46, "pm25": 31, "co_p95": 1.3, "o3_p90": 102}


def index(day=OLD, **values):
    return air_index.composite_index({k: np.array([v], float) for k, v in (PLACE | values).items()}, day)


def test_each_single_index_is_rounded_before_they_are_added():
    """9/60 0.15 · 27/40 0.675 → 0.68 · 46/70 0.657 → 0.66 · 31/35 0.886 → 0.89 · 1.3/4 0.325 → 0.32 · 102/160 0.64."""
    result = index()
    assert result.single[:, 0].tolist() == [0.15, 0.68, 0.66, 0.89, 0.32, 0.64]
    assert result.composite[0] == 3.34
    assert result.main_pollutants(0) == ("PM2.5",)
    assert (result.edition, result.trust) == ("HJ 663-2013", "2")


def test_the_index_of_2026_is_weighted_by_its_own_limits_and_says_it_is_unsure():
    """31/30 1.033 ×3 · 27/40 0.675 ×2 · 102/160 0.6375 → 0.638 ×2 · 46/60 0.767 · 9/60 0.150 · 1.3/4 0.325."""
    result = index(NEW)
    assert result.composite[0] == 6.967
    assert (result.edition, result.trust) == ("HJ 663-2026", "unsure")


def test_the_final_limits_make_the_index_of_the_same_air_larger():
    assert index(FINAL).single[:, 0].tolist() == [0.45, 0.9, 0.92, 1.24, 0.325, 0.638]


def test_a_missing_pollutant_is_not_clean_air():
    result = index(no2=np.nan)
    assert np.isnan(result.composite[0])
    assert result.missing(0) == ("NO2",)
    assert result.explain(0).zh == "缺NO2，不计算综合指数"
    assert "NO2 missing" in result.explain(0).en
    assert result.missing(0) == index(no2=-1).missing(0)


def test_pollutants_tied_at_the_largest_single_index_are_all_main():
    assert index(pm10=70, pm25=35).main_pollutants(0) == ("PM10", "PM2.5")


def test_the_index_says_what_it_is_made_of_and_which_rows_it_stands_on():
    result = index()
    assert "PM2.5 0.89" in result.explain(0).zh
    assert "= 3.34" in result.explain(0).en
    assert {row.where.partition(":")[0] for row in result.basis()} == {"air_index.csv", "air_limits.csv"}


def test_before_the_first_edition_there_is_no_index():
    with pytest.raises(NotInForce, match=r"air_index\.csv"):
        index(date(2012, 1, 1))


@given(
    st.integers(0, 500), st.sampled_from(["so2", "no2", "pm10", "pm25", "o3_p90"]), st.sampled_from([OLD, NEW, FINAL])
)
def test_a_single_index_is_the_quotient_rounded_half_to_even(value, name, day):
    result = index(day, **{name: value})
    at = air_index.ITEMS.index(name)
    digits = result.terms[at].digits
    wanted = round(Fraction(value) / Fraction(result.limits[at].class2) * 10**digits)
    assert round(result.single[at, 0] * 10**digits) == wanted


@given(
    st.lists(st.tuples(*[st.integers(0, 300)] * 6), min_size=1, max_size=8),
    st.integers(0, 5),
    st.integers(0, 50),
    st.randoms(use_true_random=False),
)
def test_more_pollution_never_lowers_the_index_and_the_order_of_places_does_not_matter(places, item, more, seed):
    columns = {
        name: np.array(column, float) for name, column in zip(air_index.ITEMS, zip(*places, strict=True), strict=True)
    }
    name = air_index.ITEMS[item]
    found = air_index.composite_index(columns, NEW).composite
    assert (air_index.composite_index(columns | {name: columns[name] + more}, NEW).composite >= found).all()
    order = list(range(len(places)))
    seed.shuffle(order)
    mixed = air_index.composite_index({k: v[order] for k, v in columns.items()}, NEW).composite
    assert mixed.tolist() == found[order].tolist()


# ---- rankings


def test_equal_indices_share_a_rank():
    found = air_index.ranking(np.array([2.88, 2.87, 2.88, 2.93]), OLD)
    assert found.rank.tolist() == [2, 1, 2, 4]
    assert air_index.ranking(np.array([2.88, 2.87, 2.88, 2.93]), OLD, ties="dense").rank.tolist() == [2, 1, 2, 3]


def test_the_most_improved_comes_first_and_who_meets_the_standard_is_not_ranked_among_the_worse():
    now, before = np.array([3.0, 4.4, 2.2, 5.0]), np.array([4.0, 4.0, 2.0, np.nan])
    found = air_index.ranking(now, OLD, before, np.array([False, False, True, False]))
    assert found.change[:3].tolist() == [-25.0, 10.0, 10.0]
    assert found.improved.tolist() == [1, 2, 2, 0]
    assert found.worsened.tolist() == [0, 1, 0, 0]


# ---- what bulletins published


def table(path):
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_39_published_indices(truth):
    given = table(truth / "standards" / "air_composite_index_2012.csv")
    columns = {item: np.array([float(row[item]) for row in given]) for item in air_index.ITEMS}
    found = air_index.composite_index(columns, OLD).composite
    published = np.array([float(row["index_published"]) for row in given])
    low, high = (np.array([float(row[box]) for row in given]) for box in ("box_lo", "box_hi"))
    assert len(given) == 39
    assert (found == published).sum() >= 34
    assert ((published >= low - 0.0051) & (published <= high + 0.0051)).all()
    assert ((found >= low - 0.0051) & (found <= high + 0.0051)).all()


@pytest.mark.parametrize("month", ["2017-08", "2018-12"])
def test_published_rankings(truth, month):
    given = table(truth / "standards" / f"air_city_ranking_{month}.csv")
    found = air_index.ranking(np.array([float(row["index_published"]) for row in given]), OLD).rank
    published = np.array([int(row["rank_published"]) for row in given])
    if month == "2017-08":
        assert found.tolist() == published.tolist()
    else:  # two cities are cut off in the source
        assert found[np.argsort(published, kind="stable")].tolist() == sorted(found)
        assert ((published - found >= 0) & (published - found <= 2)).all()
