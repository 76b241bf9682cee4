"""Stacks, stand-ins, amounts, transmission and incinerators: cases worked by hand from the clauses."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import cems, emissions, incineration, stacks
from ceguan.science.emissions import Limit, Verdict
from ceguan.science.stacks import Stack
from ceguan.standards.tables import EmissionLimit, EmissionRate, NotInForce, one, rows

DAY = date(2026, 6, 1)


def limit(height, area=2, item="二氧化硫", **how):
    return stacks.rate_limit(item, height, area, DAY, **how)


# ---- stacks


@pytest.mark.parametrize("row", [pytest.param(row, id=row.where) for row in rows(EmissionRate)])
def test_a_listed_height_has_the_listed_rate(row):
    found = limit(row.height, 3, row.item)
    assert (found.value, found.way, found.rows) == (row.class3, stacks.LISTED, (row,))
    assert limit(row.height, 2, row.item).value == row.class2


def test_between_two_heights_the_rate_is_interpolated():
    """SO2 class 2: 15 m 2.6, 20 m 4.3 kg/h; at 18 m 2.6 + 1.7·3/5 = 3.62."""
    found = limit(18)
    assert found.value == pytest.approx(3.62)
    assert "内插" in found.explain().zh
    assert "3.62 kg/h" in found.explain().en


def test_beyond_the_table_the_rate_grows_with_the_square_of_the_height():
    """SO2 class 2 at 100 m 170 kg/h, so 170·1.2² = 244.8 at 120 m; 2.6·(12/15)²·0.5 = 0.832 at 12 m for a new one."""
    assert limit(120).value == pytest.approx(244.8)
    found = limit(12)
    assert found.value == pytest.approx(0.832)
    assert [rule.rule for rule in found.rules] == ["stack_new_factor"]
    assert limit(12, new=False).value == pytest.approx(1.664)


def test_a_stack_that_does_not_clear_the_buildings_has_half():
    assert limit(20, clears=False).value == pytest.approx(2.15)
    assert "GB 16297-1996 7.1" in limit(20, clears=False).explain().zh


@pytest.mark.parametrize(("height", "area"), [(0, 2), (-1, 2), (float("nan"), 2), (20, 1)])
def test_no_height_or_no_area_is_refused(height, area):
    with pytest.raises(ValueError, match="height above 0"):
        limit(height, area)


def test_an_item_without_rates_is_refused():
    with pytest.raises(NotInForce, match="氨氮"):
        limit(20, item="氨氮")


@given(st.floats(1, 300), st.floats(1, 300), st.sampled_from([2, 3]))
def test_a_higher_stack_is_never_allowed_less(a, b, area):
    low, high = sorted((a, b))
    assert limit(low, area).value <= limit(high, area).value + 1e-9


def test_near_stacks_count_as_one_with_its_height_rate_and_place():
    """30 m and 40 m, 50 m apart: h = √(1250) = 35.36 m, Q = 4, x = 50·3/4 = 37.5 m from the first."""
    (found,) = stacks.equivalent([Stack(30, 1, 0), Stack(40, 3, 50)])
    assert (round(found.height, 2), found.rate, found.place) == (35.36, 4, 37.5)
    assert len(stacks.equivalent([Stack(30, 1, 0), Stack(40, 3, 70)])) == 2
    assert stacks.equivalent([Stack(20, 1, 0), Stack(20, 1, 10), Stack(20, 1, 20)])[0].rate == 3


# ---- limits of the standards


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(EmissionLimit) if 0 < r.high < np.inf])
def test_the_limit_itself_is_within_and_a_little_more_is_over(row):
    found = emissions.judge_values(np.array([row.high, row.high * 1.01, np.nan]), Limit.of(row))
    assert found.verdict.tolist() == [Verdict.WITHIN, Verdict.OVER, Verdict.NOT_EVALUATED]
    assert row.cite in found.explain(1).zh
    assert "没有数值" in found.explain(2).zh


def test_what_must_not_be_detected_and_what_must_be_reached():
    """GB 8978-1996 table 1 alkyl mercury; GB 31571 removal."""
    mercury = one(EmissionLimit, DAY, standard="GB 8978-1996", name="烷基汞")
    found = emissions.judge_values(np.array([0, 0.00001]), Limit.of(mercury))
    assert found.verdict.tolist() == [Verdict.WITHIN, Verdict.OVER]
    assert np.isnan(found.multiple).all(), "a multiple of nothing is none"
    removal = one(EmissionLimit, DAY, standard="GB 31571-2015", category="有机废气排放口", name="非甲烷总烃")
    found = emissions.judge_values(np.array([94.9, 95, 99]), Limit.of(removal))
    assert found.verdict.tolist() == [Verdict.OVER, Verdict.WITHIN, Verdict.WITHIN]
    assert "/ ≥95 %" in found.explain(0).zh


def test_a_day_of_flue_gas_needs_twenty_valid_hours():
    """GB 18484-2020 3.18–3.19."""
    day = np.full((2, 24), 20.0)
    day[0, :5], day[1, :4] = np.nan, np.nan
    day[1, 4] = 40
    found = emissions.judge_day(day, Limit(20))
    assert found.verdict.tolist() == [Verdict.NOT_EVALUATED, Verdict.OVER]
    assert found.judged[1] == 21
    assert "有效小时数19，少于20" in found.explain(0).zh


# ---- stand-ins


def hours(values):
    return np.array(values, float)


def fill(values, running=None, cause=cems.INVALID, **how):
    amount = hours(values)
    ran = np.ones(len(amount), bool) if running is None else np.array(running, bool)
    return cems.fill(amount, ran, np.full(len(amount), cause), DAY, **how)


def test_one_milligram_in_a_million_cubic_metres_is_a_kilogram():
    assert cems.amount(hours([50]), hours([20_000]), "gas")[0] == pytest.approx(1)
    assert cems.amount(hours([50]), hours([20]), "water")[0] == pytest.approx(1)
    assert np.isnan(cems.amount(hours([np.nan]), hours([1]), "gas"))[0]


@pytest.mark.parametrize(
    ("gap", "capture", "expected"),
    [(24, 95, 8), (25, 95, 9), (1, 90, 8), (1, 89.9, 10), (1, 75, 10), (1, 74.9, np.nan), (30, 80, 10)],
)
def test_length_and_capture_choose_how_far_to_look_back(gap, capture, expected):
    """180, 720 and 2160 valid hours before the gap hold 8, 9 and 10 kg as their largest."""
    before = [1.0] * 2160
    before[0], before[2160 - 720], before[2160 - 180] = 10, 9, 8
    found = fill(before + [np.nan] * gap, capture=capture)
    assert found.amount[2160:] == pytest.approx([expected] * gap, nan_ok=True)
    assert found.way[-1] == (cems.MISSING if np.isnan(expected) else cems.SUBSTITUTED)
    assert "HJ 75-2017" in found.explain(2160).zh
    assert found.amount[:2160].tolist() == before


def test_hours_out_of_control_and_other_hours_are_apart():
    values = [5, 3, np.nan, np.nan]
    cause = np.array(["", "", cems.OUT_OF_CONTROL, cems.INVALID])
    found = cems.fill(hours(values), np.ones(4, bool), cause, DAY, 95)
    assert found.gap.tolist() == [0, 0, 1, 1]
    assert "失控连续 1 h" in found.explain(2).zh
    assert "2 个有效小时" in found.explain(3).zh, "all there are when they are fewer than 180"


def test_a_source_that_stands_still_emits_nothing_and_does_not_part_a_gap():
    found = fill([4, np.nan, np.nan, np.nan], running=[1, 1, 0, 1], capture=95)
    assert found.amount.tolist() == [4, 4, 0, 4]
    assert found.way.tolist() == [cems.MEASURED, cems.SUBSTITUTED, cems.STOPPED, cems.SUBSTITUTED]
    assert found.gap.tolist() == [0, 2, 0, 2]


def test_a_gap_at_the_beginning_has_nothing_to_stand_in():
    assert fill([np.nan, 4], capture=95).way.tolist() == [cems.MISSING, cems.MEASURED]


def test_capture_counts_running_hours_only():
    assert cems.capture_rate(np.array([1, 1, 0, 1], bool), np.array([1, 1, 1, 0], bool)) == pytest.approx(200 / 3)
    assert np.isnan(cems.capture_rate(np.zeros(2, bool), np.zeros(2, bool)))


def test_a_gap_of_wastewater_takes_as_many_values_before_it():
    value = hours([1, 2, 4, np.nan, np.nan, 9])
    assert cems.fill_wastewater(value)[0].tolist() == [1, 2, 4, 3, 3, 9]
    ph = hours([6, 7, 9, np.nan, np.nan, np.nan])
    filled, stands_in = cems.fill_wastewater(ph, median=True)
    assert (filled[3:].tolist(), stands_in.tolist()) == ([7, 7, 7], [False] * 3 + [True] * 3)
    assert np.isnan(cems.fill_wastewater(hours([1, np.nan, np.nan]))[0][1:]).all()


# ---- amounts


def test_an_amount_has_no_total_while_an_hour_is_missing():
    whole = cems.emitted(fill([1, 2, np.nan], capture=95))
    assert (whole.measured, whole.substituted, whole.total) == (3, 2, 5)
    open_ = cems.emitted(fill([np.nan, 2], capture=95))
    assert np.isnan(open_.total)
    assert "1 个小时缺失" in open_.explain().zh


@given(st.lists(st.floats(0, 100) | st.just(np.nan), min_size=2, max_size=40), st.data())
def test_parts_of_a_period_add_up_to_the_period(values, data):
    filled = fill(values, capture=95)
    cut = data.draw(st.integers(1, len(values) - 1))
    parts = cems.emitted(filled, slice(cut)) + cems.emitted(filled, slice(cut, None))
    whole = cems.emitted(filled)
    assert (parts.hours, parts.missing) == (whole.hours, whole.missing)
    assert parts.measured == pytest.approx(whole.measured)
    assert parts.substituted == pytest.approx(whole.substituted)


def test_days_add_up_to_months_and_years():
    day = np.arange("2026-01-31", "2026-02-02", dtype="datetime64[h]").astype("datetime64[D]")
    filled = fill(np.arange(48.0), capture=95)
    by_day, by_month = (cems.by_period(filled, day, by) for by in ("day", "month"))
    assert {k: v.total for k, v in by_day.items()} == {"2026-01-31": 276, "2026-02-01": 852}
    assert {k: v.total for k, v in by_month.items()} == {"2026-01": 276, "2026-02": 852}
    assert cems.by_period(filled, day, "quarter")["2026-Q1"] == cems.by_period(filled, day, "year")["2026"]


# ---- effective transmission


def test_effective_transmission_is_transmission_times_validity():
    """20 of 24 hours ran; 19 of them came, 18 valid: 95 % · 90 % = 85.5 %."""
    running, received, valid = np.zeros(24, bool), np.zeros(24, bool), np.zeros(24, bool)
    running[:20], received[:19], valid[:18] = True, True, True
    found = cems.transmission(running, received, valid)
    assert (found.due, found.received, found.valid_due, found.valid) == (20, 19, 20, 18)
    assert found.effective == pytest.approx(85.5)
    assert "有效传输率 85.50%" in found.explain().zh


def test_months_merge_to_a_quarter_by_counts():
    first, second = cems.Transmission(10, 10, 10, 10), cems.Transmission(30, 15, 30, 15)
    assert (first + second).effective == pytest.approx(62.5 * 62.5 / 100)
    assert np.isnan(cems.Transmission(0, 0, 0, 0).effective)


def test_one_hour_a_day_of_standard_checks_need_not_be_valid():
    checking = np.zeros((2, 24), bool)
    checking[0, 3], checking[1, 3:5] = True, True
    exempt = cems.check_hours(checking, DAY)
    assert exempt.sum(axis=1).tolist() == [1, 1]
    valid = ~checking
    every = np.ones((2, 24), bool)
    assert cems.transmission(every[0], every[0], valid[0], exempt[0]).effective == 100
    assert cems.transmission(every[1], every[1], valid[1], exempt[1]).validity == pytest.approx(100 * 22 / 23)


# ---- incinerators


@pytest.mark.parametrize(("industry", "coldest"), [("hazardous", 1100), ("medical", 850), ("domestic", 850)])
def test_more_than_five_cold_means_in_a_day_are_the_finding(industry, coldest):
    temperature = np.full(288, coldest + 20.0)
    temperature[:5] = coldest - 1
    temperature[5] = coldest
    normal = np.zeros(288, bool)
    count, lowest = incineration.low_means(temperature, normal, industry, DAY)
    assert (count.value, count.over) == (5, False)
    temperature[6] = coldest - 0.1
    count, lowest = incineration.low_means(temperature, normal, industry, DAY)
    assert (count.value, count.over, lowest.over) == (6, True, True)
    assert "6 / 5 次" in count.explain().zh
    assert "POPs" in count.explain().en
    normal[:7] = True
    assert incineration.low_means(temperature, normal, industry, DAY)[0].value == 0, "marked intervals are not judged"


def test_a_day_without_temperatures_is_not_judged():
    count, lowest = incineration.low_means(np.full(288, np.nan), np.zeros(288, bool), "medical", DAY)
    assert (count.over, lowest.over) == (False, False)
    assert "没有数据" in count.explain().zh


@pytest.mark.parametrize("industry", ["hazardous", "medical", "domestic"])
def test_sixty_hours_a_year_of_starting_stopping_and_failing(industry):
    state = np.array(["启炉"] * 20 + ["停炉"] * 20 + ["故障"] * 10 + ["事故"] * 10 + ["烘炉"] * 700 + ["正常运行"])
    found = incineration.state_hours(state, 1.0, industry, DAY)["hours"]
    assert (found.value, found.over) == (60, False)
    assert incineration.state_hours(np.append(state, "故障"), 1.0, industry, DAY)["hours"].over


def test_particulate_while_starting_may_reach_150():
    state = np.array(["启炉", "启炉", "正常运行"])
    assert not incineration.start_particulate(hours([150, np.nan, 900]), state, "hazardous", DAY).over
    assert incineration.start_particulate(hours([150.1, 10, 0]), state, "hazardous", DAY).over
    assert np.isnan(incineration.start_particulate(hours([1]), np.array([""]), "hazardous", DAY).value)


def test_before_its_standard_an_industry_has_no_rule():
    with pytest.raises(NotInForce, match="hazardous"):
        incineration.caps("hazardous", date(2021, 6, 30))
