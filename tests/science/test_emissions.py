"""Exceedance of permit limits: which hour counts, which value is compared, and what is said when none is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import emissions
from ceguan.science.emissions import Limit, Origin, Series, Verdict
from ceguan.science.reasons import Reason

HOURS = np.array([0, 3600, 7200])
NOX = Limit(200, basis="converted", reference_o2=9, cite="许可证 DA001")
COD = Limit(50, unit="mg/L")


def device(value, zs=(np.nan,) * 3, flag=("N", "N", "N")):
    return Series(HOURS, np.array(value, float), np.array(zs, float), np.array(flag))


def minutes(first, count, value=100.0, zs=110.0, flag="N"):
    ts = first + 60 * np.arange(count)
    return Series(ts, np.full(count, value), np.full(count, zs), np.full(count, flag))


def test_the_devices_own_hour_comes_before_its_minutes():
    hours = emissions.hours_in_force(HOURS, device([90, 91, 92]), minutes(0, 60))
    assert hours.value.tolist() == [90, 91, 92]
    assert set(hours.origin) == {Origin.DEVICE}


@pytest.mark.parametrize(("valid", "origin"), [(45, Origin.MINUTES), (44, Origin.NONE)])
def test_a_missing_hour_is_recomputed_from_45_valid_minutes(valid, origin):
    hours = emissions.hours_in_force(HOURS[:1], device([np.nan] * 3), minutes(0, valid))
    assert hours.origin[0] == origin
    assert f"{valid}" in hours.explain(0).zh


def test_five_minute_readings_stand_for_five_minutes():
    ts = 300 * np.arange(9)
    series = Series(ts, np.full(9, 7.0), np.full(9, np.nan), np.full(9, "N"))
    assert emissions.hours_in_force(HOURS[:1], device([np.nan] * 3), series, 5.0).value.tolist() == [7]


@pytest.mark.parametrize("flag", list("FMSDCTB"))
def test_an_hour_flagged_other_than_n_is_excluded_and_says_so(flag):
    hours = emissions.hours_in_force(HOURS, device([999, 50, 50], (999, 50, 50), (flag, "N", "")), minutes(0, 60))
    judged = emissions.judge_flue_gas(hours, NOX)
    assert judged.verdict.tolist() == [Verdict.NOT_EVALUATED, Verdict.WITHIN, Verdict.WITHIN]
    assert hours.reason[0] == Reason.DEVICE_FLAG
    assert flag in judged.explain(0).zh


def test_flagged_minutes_do_not_make_an_hour():
    hours = emissions.hours_in_force(HOURS[:1], device([np.nan] * 3), minutes(0, 60, flag="C"))
    assert hours.reason[0] == Reason.TOO_FEW_MINUTES


def test_the_converted_value_is_compared_where_the_limit_says_so():
    hours = emissions.hours_in_force(HOURS, device([150, 150, 150], (201, 200, np.nan)))
    judged = emissions.judge_flue_gas(hours, NOX)
    assert judged.verdict.tolist() == [Verdict.OVER, Verdict.WITHIN, Verdict.NOT_EVALUATED]
    assert judged.reason[2] == Reason.NO_CONVERTED
    assert judged.multiple[0] == pytest.approx(0.005)


def test_without_a_converted_value_ours_is_used_and_noted():
    hours = emissions.hours_in_force(HOURS[:1], device([150] * 3))
    judged = emissions.judge_flue_gas(hours, NOX, o2=np.array([15.0]))
    assert judged.judged.tolist() == [300.0]  # 150 · 12 / 6
    assert judged.multiple.tolist() == [0.5]
    assert "许可证 DA001" in judged.explain(0).zh
    assert "0.50倍" in judged.explain(0).zh
    assert "折算" in judged.explain(0).zh


def test_the_measured_value_is_compared_where_the_limit_says_nothing_of_oxygen():
    hours = emissions.hours_in_force(HOURS[:1], device([150] * 3, (201,) * 3))
    assert emissions.judge_flue_gas(hours, Limit(200)).verdict.tolist() == [Verdict.WITHIN]


@pytest.mark.parametrize(
    ("value", "o2", "reference", "limit"), [(53.7, 3.1, 11, 30), (52.2, 3.6, 11, 30), (58, 3.6, 6, 50)]
)
def test_a_converted_value_that_is_the_limit_is_not_above_it(value, o2, reference, limit):
    """53.7 · 10 / 17.9 is 30, in binary a hair more."""
    assert emissions.to_reference_oxygen(np.array([value]), np.array([o2]), reference)[0] == limit


def test_oxygen_of_21_percent_converts_nothing():
    assert np.isnan(emissions.to_reference_oxygen(np.array([10.0, 10.0]), np.array([21.0, np.nan]), 9)).all()


@given(st.floats(0, 1000), st.floats(0, 20))
def test_conversion_at_the_reference_changes_nothing(value, o2):
    assert emissions.to_reference_oxygen(np.array([value]), np.array([o2]), o2)[0] == pytest.approx(value)


def test_a_day_of_wastewater_is_weighted_by_flow():
    day = np.full((1, 24), 40.0)
    flow = np.full((1, 24), 1.0)
    day[0, 0], flow[0, 0] = 100, 23
    judged = emissions.judge_wastewater(day, COD, flow)
    assert judged.judged.tolist() == [70.0]
    assert judged.verdict.tolist() == [Verdict.OVER]
    assert judged.multiple[0] == pytest.approx(0.4)


def test_without_flow_the_mean_is_arithmetic_and_says_so():
    judged = emissions.judge_wastewater(np.full((1, 24), 40.0), COD)
    assert judged.verdict.tolist() == [Verdict.WITHIN]
    assert "算术平均" in judged.explain(0).zh


def test_ph_has_two_sides_and_no_multiple():
    days = np.array([[5.9] * 24, [6.0] * 24, [9.0] * 24, [9.1] * 24])
    judged = emissions.judge_wastewater(days, Limit(9, low=6, unit="无量纲"), np.ones((4, 24)))
    assert judged.verdict.tolist() == [Verdict.OVER, Verdict.WITHIN, Verdict.WITHIN, Verdict.OVER]
    assert np.isnan(judged.multiple).all()


def test_a_day_without_hours_is_not_judged():
    judged = emissions.judge_wastewater(np.full((1, 24), np.nan), COD)
    assert judged.verdict.tolist() == [Verdict.NOT_EVALUATED]
    assert "有效小时数0" in judged.explain(0).zh


def test_without_a_limit_on_the_date_nothing_is_judged():
    hours = emissions.hours_in_force(HOURS, device([90, 91, 92]))
    assert set(emissions.judge_flue_gas(hours, None).reason) == {Reason.NO_LIMIT}
    assert "没有许可限值" in emissions.judge_wastewater(np.ones((1, 24)), None).explain(0).zh
