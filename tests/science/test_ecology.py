"""Ecological quality and river life: by hand, bounds, and laws of the indices."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import ecology
from ceguan.standards.tables import EqiClass, NotInForce, rows

DAY = date(2026, 6, 1)
COUNTS = st.lists(st.integers(0, 500), min_size=1, max_size=12)


def eqi(pattern=70.0, function=70.0, diversity=70.0, stress=30.0):
    values = {"pattern": pattern, "function": function, "diversity": diversity, "stress": stress}
    return ecology.eqi({k: np.array([v], float) for k, v in values.items()}, DAY)


def test_the_index_adds_weighted_indices_with_stress_turned_round():
    """0.36·70 + 0.35·65 + 0.19·60 + 0.10·(100 - 20) = 67.35."""
    found = eqi(70, 65, 60, 20)
    assert found.value[0] == pytest.approx(67.35)
    assert found.class_of(0).zh == "二类"
    assert "= 67.35，二类" in found.explain(0).zh
    assert "未核" in found.explain(0).zh
    assert "weights unverified" in found.explain(0).en


@pytest.mark.parametrize(("value", "level"), [(70, 1), (69.99, 2), (55, 2), (54.99, 3), (40, 3), (30, 4), (29.99, 5)])
def test_a_bound_belongs_to_the_better_class(value, level):
    assert ecology.level_of(np.array([value]), rows(EqiClass)).tolist() == [level]


@pytest.mark.parametrize(("value", "level"), [(74.91, 1), (62.7, 2), (54.76, 3), (32.73, 4), (59.77, 2), (59.6, 2)])
def test_published_values_have_their_published_class(value, level):
    assert ecology.level_of(np.array([value]), rows(EqiClass)).tolist() == [level]


@pytest.mark.parametrize("absent", [np.nan, -1, 101])
def test_an_index_missing_or_out_of_range_is_named_and_nothing_is_judged(absent):
    found = eqi(function=absent)
    assert np.isnan(found.value[0])
    assert found.class_of(0) is None
    assert "缺生态功能指数" in found.explain(0).zh


def test_before_the_rule_there_is_no_class():
    with pytest.raises(NotInForce, match="2021-10-31"):
        ecology.eqi({name: np.array([50.0]) for name in ecology.INDICES}, date(2021, 10, 31))


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [(60, 60.99, "基本稳定"), (60, 61, "轻微变好"), (60, 58, "一般变差"), (60, 56, "明显变差"), (60, 64, "明显变好")],
)
def test_a_change_has_its_word(before, after, word):
    assert word in ecology.eqi_change(before, after, DAY).explain().zh
    assert ecology.eqi_change(np.nan, after, DAY).row is None


# ---- river life


def test_indices_by_hand():
    """Counts 2, 2, 4: H' = 1.5 bit, 1 - (1/16 + 1/16 + 1/4) = 0.625, J = 1.5/log2 3, d = 2/ln 8, 4/8."""
    found = ecology.diversity(np.array([[2.0, 2, 4, 0]]), np.array(["蜉蝣目", "Diptera", "Plecoptera", "毛翅目"]))
    assert (found.individuals[0], found.taxa[0], found.ept[0]) == (8, 3, 2)
    assert found.shannon[0] == pytest.approx(1.5)
    assert found.simpson[0] == pytest.approx(0.625)
    assert found.pielou[0] == pytest.approx(1.5 / np.log2(3))
    assert found.margalef[0] == pytest.approx(2 / np.log(8))
    assert found.berger_parker[0] == 0.5
    assert "log2" in found.explain(0).zh


def test_what_is_not_defined_is_not_a_number_and_says_why():
    found = ecology.diversity(np.array([[0.0, np.nan], [1, 0], [7, 0]]))
    assert np.isnan(found.shannon).tolist() == [True, False, False]
    assert np.isnan(found.pielou).all()
    assert np.isnan(found.margalef).tolist() == [True, True, False]
    assert "没有个体" in found.explain(0).zh
    assert "一个个体" in found.explain(1).zh
    assert "均匀度无定义" in found.explain(2).zh
    assert found.ept.tolist() == [-1, -1, -1], "orders are not known"


def test_scores_are_the_callers_and_the_result_says_so():
    """Families 10, 6 and one without a score: BMWP 16, ASPT 8; tolerance (2·4 + 6·1)/(4 + 1) = 2.8."""
    found = ecology.scored(np.array([[4.0, 1, 9]]), np.array([10.0, 6, np.nan]), np.array([2.0, 6, np.nan]))
    assert (found.bmwp[0], found.scoring[0], found.aspt[0]) == (16, 2, 8)
    assert found.biotic[0] == pytest.approx(2.8)
    assert "使用者提供" in found.explain(0).zh
    assert np.isnan(ecology.scored(np.array([[4.0]]), np.array([np.nan])).bmwp[0])
    assert np.isnan(ecology.scored(np.array([[4.0]]), np.array([5.0])).biotic[0])


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_order_of_taxa_changes_nothing(counts, random):
    order = list(range(len(counts)))
    random.shuffle(order)
    one, other = (ecology.diversity(np.array([c], float)) for c in (counts, [counts[i] for i in order]))
    for name in ("shannon", "simpson", "pielou", "margalef", "berger_parker"):
        assert getattr(one, name)[0] == pytest.approx(getattr(other, name)[0], nan_ok=True)


@given(COUNTS)
def test_evenness_is_between_0_and_1_and_diversity_at_most_that_of_equal_shares(counts):
    found = ecology.diversity(np.array([counts], float))
    if found.taxa[0] > 1:
        assert 0 < found.pielou[0] <= 1 + 1e-9
        assert found.shannon[0] <= np.log2(found.taxa[0]) + 1e-9
        assert 0 < found.simpson[0] < 1


@given(st.integers(2, 20), st.integers(1, 50))
def test_equal_shares_are_perfectly_even(taxa, each):
    assert ecology.diversity(np.full((1, taxa), float(each))).pielou[0] == pytest.approx(1)
