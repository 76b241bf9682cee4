"""Stretches of time behave like the sets of moments they stand for."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.watch.spans import both, cut, minus, union

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def moments(spans) -> set[int]:
    return {moment for start, end in spans for moment in range(start, end)}


@settings(max_examples=200, deadline=None)
@given(SPANS, SPANS)
def test_stretches_are_joined_taken_away_and_crossed_like_sets(some, others):
    assert moments(union(some)) == moments(some)
    assert moments(minus(some, others)) == moments(some) - moments(others)
    assert moments(both(some, others)) == moments(some) & moments(others)
    for found in (union(some), minus(some, others)):
        assert all(a[1] < b[0] for a, b in pairwise(found)), "sorted, none touches the next"


@given(SPANS, st.integers(1, 9))
def test_a_cut_keeps_everything_in_pieces_that_are_short_enough(some, most):
    pieces = cut(union(some), most)
    assert moments(pieces) == moments(some)
    assert all(0 < end - start <= most for start, end in pieces)
    assert sum(end - start for start, end in pieces) == len(moments(some))


def test_the_newest_piece_is_a_full_one():
    assert cut([(0, 10)], 4) == [(0, 2), (2, 6), (6, 10)]
