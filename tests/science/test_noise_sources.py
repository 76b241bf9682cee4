"""Boundaries, rooms and bands beside a source; rates and grades of a city: cases worked by hand from the clauses."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import noise, noise_sources
from ceguan.standards.tables import NotInForce

DAY = date(2026, 6, 1)
LEVELS = st.lists(st.floats(20, 120), min_size=1, max_size=12)


def one(*values):
    return np.array(values, float)


@pytest.mark.parametrize(
    ("measured", "background", "corrected"),
    [(60, 57, 57), (60, 56, 58), (60, 55, 58), (60, 54, 59), (60, 50, 59), (60, 49, 60), (60, 57.4, 57), (60, 40, 60)],
)
def test_background_is_taken_off_by_the_rounded_difference(measured, background, corrected):
    """GB 12348-2008 table 4: 3 → -3, 4–5 → -2, 6–10 → -1, above 10 nothing."""
    level, reason = noise_sources.correct(one(measured), one(background), DAY)
    assert (level[0], reason[0]) == (corrected, 0)


@pytest.mark.parametrize("background", [58, 57.5, 60, 61])
def test_a_background_too_near_leaves_nothing_to_judge(background):
    """60 - 57.5 = 2.5 is rounded half to even to 2."""
    found = noise_sources.judge_source(one(60), "2", "day", DAY, background=one(background))
    assert found.verdict[0] == noise_sources.NOT_EVALUATED
    assert "先降低背景噪声" in found.explain(0).zh
    assert "lower the background" in found.explain(0).en


def test_the_limit_itself_is_within_and_day_and_night_are_apart():
    for period, limit in (("day", 60), ("night", 50)):
        verdicts = noise_sources.judge_source(one(limit, limit + 0.1, np.nan), "2", period, DAY).verdict
        assert verdicts.tolist() == [noise_sources.WITHIN, noise_sources.OVER, noise_sources.NOT_EVALUATED]


def test_a_boundary_nearer_than_a_metre_is_measured_indoors_ten_decibel_lower():
    found = noise_sources.judge_source(one(50, 51), "2", "day", DAY, near=True)
    assert found.verdict.tolist() == [noise_sources.WITHIN, noise_sources.OVER]
    assert "4.1.5" in found.explain(1).zh
    social = noise_sources.judge_source(one(50), "2", "day", DAY, standard="GB 22337", near=True)
    assert "GB 22337-2008 4.1.3" in social.explain(0).zh
    with pytest.raises(ValueError, match="only boundary"):
        noise_sources.judge_source(one(50), "2", "day", DAY, kind="indoor", room="A", near=True)


def test_rooms_and_bands_have_their_own_limits():
    """GB 12348-2008 tables 2 and 3: room B of zone 1 by day 45 dB(A); room A of zone 2, 125 Hz by night 43 dB."""
    assert noise_sources.judge_source(one(0), "1", "day", DAY, kind="indoor", room="B").limit[0] == 45
    band = noise_sources.judge_source(one(43, 44), "2", "night", DAY, kind="octave", room="A", band=125)
    assert band.verdict.tolist() == [noise_sources.WITHIN, noise_sources.OVER]
    assert "44 / 43 dB（" in band.explain(1).zh
    with pytest.raises(NotInForce, match="band=1000"):
        noise_sources.judge_source(one(43), "2", "night", DAY, kind="octave", room="A", band=1000)


@pytest.mark.parametrize(("kind", "top"), [("frequent", 60), ("occasional", 65)])
def test_peaks_at_night_may_be_ten_or_fifteen_decibel_above_the_limit(kind, top):
    found = noise_sources.judge_peak(one(top, top + 0.1), "2", kind, DAY)
    assert found.verdict.tolist() == [noise_sources.WITHIN, noise_sources.OVER]


def test_the_unsure_limit_of_zone_0_says_so():
    found = noise_sources.judge_source(one(45), "0", "day", DAY)
    assert found.rows[0].trust == "unsure"
    assert noise_sources.judge_source(one(45), "0", "day", DAY, standard="GB 22337").rows[0].trust == "P"


# ---- zones


def test_a_sudden_noise_at_night_may_be_fifteen_above_the_limit():
    leq = np.full((3, 24), 40.0)
    found = noise.judge(leq, "2", DAY, sudden=one(65, 65.1, np.nan))
    assert found.sudden_over.tolist() == [False, True, False]
    assert "65.1 dB(A) / 65（GB 3096-2008 5.4），超标" in found.explain(1).zh
    assert "sudden" not in found.explain(2).en


def test_an_explanation_gives_level_limit_zone_clause_and_hours_missing():
    leq = np.full((1, 24), 60.5)
    leq[0, 20] = np.nan
    said = noise.judge(leq, "2", DAY).explain(0)
    assert said.zh == "昼间 60.5 dB(A) / 60（2类区，GB 3096-2008 表1），超标；夜间未评价：有效小时 7，应有 8"
    assert "7 valid hours of 8" in said.en


def test_quarters_merge_to_the_year_by_point_times():
    level = one(49, 50, 51, np.nan)
    quarters = [noise.zone_rate(level, 50), noise.zone_rate(one(60), 50)]
    assert (quarters[0].judged, quarters[0].met) == (3, 2)
    assert (quarters[0] + quarters[1]).rate == 50
    assert noise.zone_rate(np.concatenate([level, one(60)]), 50) == quarters[0] + quarters[1]
    assert np.isnan(noise.zone_rate(one(np.nan), 50).rate)


@pytest.mark.parametrize(
    ("kind", "period", "bounds"),
    [
        ("regional", "day", (50, 55, 60, 65)),
        ("regional", "night", (40, 45, 50, 55)),
        ("traffic", "day", (68, 70, 72, 74)),
        ("traffic", "night", (58, 60, 62, 64)),
    ],
)
def test_each_bound_belongs_to_the_quieter_grade(kind, period, bounds):
    length = one(100) if kind == "traffic" else None
    for grade, bound in enumerate(bounds, 1):
        assert noise.city_level(one(bound), kind, period, DAY, length).grade.grade == grade
        assert noise.city_level(one(bound + 0.1), kind, period, DAY, length).grade.grade == grade + 1
        assert noise.city_level(one(bound + 0.04), kind, period, DAY, length).grade.grade == grade


def test_roads_weigh_by_length_and_a_grid_does_not():
    roads = noise.city_level(one(68, 72, 80), "traffic", "day", DAY, one(100, 300, 0))
    assert (roads.level, roads.points, roads.grade.zh) == (71.0, 2, "一般")
    assert noise.city_level(one(54, 56, np.nan), "regional", "day", DAY).level == 55.0
    assert noise.city_level(one(np.nan), "regional", "day", DAY).grade is None
    with pytest.raises(ValueError, match="traffic needs lengths"):
        noise.city_level(one(70), "traffic", "day", DAY)


@given(LEVELS)
def test_an_energy_mean_lies_between_the_arithmetic_mean_and_the_highest_in_any_order(levels):
    leq = np.array(levels)
    mean = noise.energy_mean(leq)
    assert leq.mean() - 1e-6 <= mean <= leq.max() + 1e-6
    assert mean == pytest.approx(noise.energy_mean(leq[::-1]))
    assert noise.energy_mean(np.append(leq, np.nan)) == pytest.approx(mean)


@given(st.floats(20, 120), st.integers(1, 24))
def test_equal_levels_have_that_level_as_their_mean(level, hours):
    assert noise.energy_mean(np.full(hours, round(level, 1))) == round(level, 1)


@given(st.floats(30, 90), st.floats(30, 90))
def test_a_louder_source_is_never_judged_milder(a, b):
    quiet, loud = sorted((a, b))
    verdicts = noise_sources.judge_source(one(quiet, loud), "3", "night", DAY).verdict
    assert verdicts[0] <= verdicts[1]
