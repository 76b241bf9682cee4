"""Means with their least amount of data."""

from __future__ import annotations

import inspect
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import air, averaging, emissions
from ceguan.standards.tables import Validity, one

HOUR = 1_767_225_600  # a full hour


def test_an_hour_needs_45_valid_minutes():
    ts = HOUR + 60 * np.arange(120)
    value = np.full(120, 5.0)
    value[45:60] = np.nan  # first hour 45 valid, second 44
    value[60:76] = np.nan
    hours = averaging.minutes_to_hours(ts, value, 1.0)
    assert hours.minutes.tolist() == [45, 44]
    assert hours.value[0] == 5
    assert np.isnan(hours.value[1])


def test_minutes_are_weighted_by_their_interval():
    ts = HOUR + 60 * np.array([0, 10, 20])
    hours = averaging.minutes_to_hours(ts, np.array([10.0, 10.0, 40.0]), np.array([10.0, 10.0, 40.0]))
    assert hours.value.tolist() == [30.0]


@given(st.permutations(list(range(60))))
def test_the_order_of_minutes_does_not_matter(order):
    ts, value = HOUR + 60 * np.arange(60), np.arange(60.0)
    assert averaging.minutes_to_hours(ts[order], value[order], 1.0).value.tolist() == [29.5]


def test_a_mean_below_its_minimum_is_nan_and_still_counted():
    grid = np.array([[1.0, np.nan, 3.0], [np.nan, np.nan, 3.0]])
    mean, count = averaging.mean(grid, 2)
    assert mean[0] == 2
    assert np.isnan(mean[1])
    assert count.tolist() == [2, 1]


def test_a_mean_that_is_the_limit_is_not_above_it():
    """0.1, 0.2 and 0.3 average 0.2 in any order, as do 0.7, 0.1 and 0.1 0.3."""
    for cells in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.7, 0.1, 0.1]):
        exact = float(sum(Fraction(str(c)) for c in cells) / 3)
        assert averaging.mean(np.array([cells]), 1)[0][0] == exact
        assert averaging.minutes_to_hours(np.arange(3) * 60, np.array(cells), 15.0).value[0] == exact


def test_a_weighted_mean_leaves_out_cells_without_weight():
    mean, count = averaging.mean(np.array([[10.0, 20.0, 99.0]]), 1, np.array([[3.0, 1.0, 0.0]]))
    assert mean.tolist() == [12.5]
    assert count.tolist() == [2]


def test_eight_hours_need_six():
    day = np.full((2, 24), np.nan)
    day[0, 0:6], day[1, 0:5] = 180, 180  # the window that ends at 08:00 has six hours, then five
    assert averaging.daily_max_8h(day, limit=160)[0] == 180
    assert np.isnan(averaging.daily_max_8h(day, limit=160)[1])


def test_a_maximum_that_is_the_limit_only_when_rounded_is_not_above_it():
    day = np.full((2, 24), np.nan)
    day[0, :8], day[1, :8] = 160.4, 160.6
    assert np.isnan(averaging.daily_max_8h(day, limit=160)[0])
    assert averaging.daily_max_8h(day, limit=160)[1] == 161


hours = st.one_of(st.just(np.nan), st.integers(0, 4000).map(lambda tenths: tenths / 10))


@given(st.lists(hours, min_size=24, max_size=24))
def test_daily_values_equal_the_formula_in_fractions(day):
    """Means of exact tenths, rounded half to even by Python's fractions."""
    tenths = [None if np.isnan(h) else Fraction(round(h * 10), 10) for h in day]
    there = [t for t in tenths if t is not None]
    grid = np.array([day])
    mean = round(sum(there) / len(there)) if len(there) >= 20 else None
    found = averaging.daily_mean(grid)[0]
    assert (None if np.isnan(found) else found) == mean
    windows = [[t for t in tenths[end - 8 : end] if t is not None] for end in range(8, 25)]
    means = [round(sum(w) / len(w)) for w in windows if len(w) >= 6]
    top = max(means, default=0)
    wanted = top if means and (len(means) >= 14 or top > 160) else None
    found = averaging.daily_max_8h(grid, 160)[0]
    assert (None if np.isnan(found) else found) == wanted


def test_the_ozone_day_needs_14_windows_unless_it_is_over_the_limit():
    few = np.full((2, 24), np.nan)
    few[0, :8], few[1, :8] = 100, 200
    top = averaging.daily_max_8h(few, limit=160)
    assert np.isnan(top[0])
    assert top[1] == 200


def test_windows_stay_inside_the_day():
    day = np.full((1, 24), 10.0)
    day[0, 20:] = 90  # the last window is 16–24
    assert averaging.daily_max_8h(day, 160).tolist() == [50]


@pytest.mark.parametrize(
    ("function", "argument", "scope"),
    [
        (averaging.minutes_to_hours, "minimum", "air_hour"),
        (averaging.daily_mean, "minimum", "air_day"),
        (averaging.daily_max_hour, "minimum", "air_day"),
        (averaging.daily_max_8h, "minimum_hours", "air_8h"),
        (averaging.daily_max_8h, "minimum_windows", "air_o3_day"),
        (air.daily_columns, "minimum", "air_day"),
        (emissions.hours_in_force, "minimum", "flue_gas_hour"),
        (emissions.judge_wastewater, "minimum", "wastewater_day"),
    ],
)
def test_a_default_minimum_is_the_one_of_the_table(function, argument, scope):
    default = inspect.signature(function).parameters[argument].default
    assert default == one(Validity, date(2026, 6, 1), scope=scope).minimum
