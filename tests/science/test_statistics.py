"""Rounding half to even, percentiles, ranks: the same figures everywhere."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.science import statistics

numbers = st.decimals(0, 2000, places=1)


def column(values):
    return np.array([float(v) for v in values])


@pytest.mark.parametrize(
    ("value", "digits", "rounded"),
    [
        (0.125, 2, 0.12),
        (0.135, 2, 0.14),
        (2.675, 2, 2.68),
        (2.665, 2, 2.66),
        (0.45, 1, 0.4),
        (60.5, 0, 60),
        (61.5, 0, 62),
    ],
)
def test_a_tie_goes_to_the_even_digit_although_the_float_lies_beside_it(value, digits, rounded):
    assert statistics.round_half_even(np.array([value]), digits)[0] == rounded


@given(st.integers(0, 10**7), st.integers(1, 10**5), st.integers(0, 3))
def test_a_ratio_of_whole_numbers_rounds_as_in_fractions(numerator, denominator, digits):
    exact = Fraction(numerator, denominator)
    wanted = round(exact * 10**digits)  # Python rounds fractions half to even
    assert statistics.round_ratio(np.array([float(numerator)]), denominator, digits)[0] == wanted / 10**digits


def test_nothing_divided_by_nothing_is_nan():
    assert np.isnan(statistics.round_ratio(np.array([0.0]), np.array([0.0]), 2))[0]
    assert np.isnan(statistics.mean(np.array([np.nan, np.nan]), 0)[0])
    assert np.isnan(statistics.percentile(np.array([np.nan]), 90, 0))


def test_the_90th_percentile_by_hand():
    """Ten values: k = 1 + 9·0.9 = 9.1, so 90 + (100 - 90)·0.1 = 91."""
    assert statistics.percentile(np.arange(10.0, 101, 10), 90, 0) == 91
    assert statistics.percentile(np.array([7.0]), 98, 0) == 7


@given(st.lists(numbers, min_size=1, max_size=40), st.sampled_from([90, 95, 98]), st.integers(0, 2))
@settings(deadline=None)
def test_a_percentile_equals_the_formula_in_decimals(values, p, digits):
    ordered = sorted(values)
    whole, rest = divmod((len(ordered) - 1) * p, 100)
    low, high = ordered[whole], ordered[min(whole + 1, len(ordered) - 1)]
    exact = low + (high - low) * Decimal(rest) / 100
    wanted = float(exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN))
    assert statistics.percentile(column(values), p, digits) == wanted


@given(st.lists(numbers, min_size=1, max_size=30), st.integers(0, 5), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_and_gaps_do_not_change_mean_or_percentile(values, gaps, seed):
    mixed = [float(v) for v in values] + [np.nan] * gaps
    seed.shuffle(mixed)
    assert statistics.percentile(np.array(mixed), 95, 1) == statistics.percentile(column(values), 95, 1)
    mean, count = statistics.mean(np.array(mixed), 1)
    assert (mean, count) == statistics.mean(column(values), 1)
    assert count == len(values)


@given(st.lists(numbers, min_size=1, max_size=30), st.lists(st.integers(0, 5), min_size=1, max_size=30))
@settings(deadline=None)
def test_more_of_everything_never_lowers_a_percentile(values, more):
    low = column(values)
    high = low + np.resize(np.array(more, float), len(low))
    assert statistics.percentile(high, 90, 1) >= statistics.percentile(low, 90, 1)


def test_equal_values_share_a_rank_and_the_next_one_skips():
    values = np.array([2.5, 2.1, 2.5, 2.9, np.nan])
    assert statistics.rank(values).tolist() == [2, 1, 2, 4, 0]
    assert statistics.rank(values, "dense").tolist() == [2, 1, 2, 3, 0]


def test_an_unknown_way_with_ties_is_refused():
    with pytest.raises(ValueError, match="competition"):
        statistics.rank(np.array([1.0]), "average")


@given(st.permutations([1.0, 1.0, 2.0, 3.0, 3.0]))
def test_ranks_follow_the_value_not_the_row(values):
    assert sorted(zip(values, statistics.rank(np.array(values)).tolist(), strict=True)) == [
        (1, 1),
        (1, 1),
        (2, 3),
        (3, 4),
        (3, 4),
    ]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=40), st.integers(1, 9))
def test_a_mean_that_is_a_short_decimal_is_that_decimal(cells, digits):
    exact = Fraction(sum(cells), len(cells) * 10**digits)
    value = sum(c / 10**digits for c in cells) / len(cells)
    settled = float(statistics.settled(np.array([value]))[0])
    assert abs(settled - float(exact)) <= 5e-12 * float(exact)
    if sum(cells) % len(cells) == 0:
        assert settled == float(exact)


def test_settling_keeps_what_is_no_ordinary_number():
    odd = np.array([0.0, np.inf, 1e300, -0.30000000000000004])
    assert statistics.settled(odd).tolist() == [0.0, np.inf, 1e300, -0.3]
    assert np.isnan(statistics.settled(np.array([np.nan]))).all()
