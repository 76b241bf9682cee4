"""AQI: breakpoints from both sides, missing data, ties, editions, and the values the ministry published."""

from __future__ import annotations

import csv
import math
from datetime import datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.science import air
from ceguan.science.reasons import Reason
from ceguan.standards.tables import IaqiRow, rows
from ceguan.words import BEIJING

OLD, NEW = "HJ 633-2012", "HJ 633-2026"
CLEAN = {"so2_1h": 9.0, "no2_1h": 20.0, "co_1h": 0.5, "o3_1h": 60.0, "pm10_1h": 40.0, "pm25_1h": 20.0}


def hour(edition=NEW, quirks=False, apart=(), **values):
    columns = {name: np.array([value], float) for name, value in (CLEAN | values).items()}
    masks = {name: np.array([True]) for name in apart}
    return air.hourly_aqi(columns, edition, masks, quirks)


def said(result, row=0):
    return int(result.aqi[row]), air.names(int(result.primary[row]))


def stamp(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp())


# ---- breakpoints


def by_hand(row, value: str) -> int:
    """The formula of HJ 633 in fractions, for values inside the table."""
    c = Fraction(value)
    for (i0, c0), (i1, c1) in zip(row.breakpoints, row.breakpoints[1:], strict=False):
        low, high = Fraction(str(c0)), Fraction(str(c1))
        if c <= high:
            return math.ceil((i1 - i0) / (high - low) * (c - low) + i0)
    raise AssertionError("above the table")


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(IaqiRow)])
def test_each_breakpoint_is_hit_exactly_and_left_one_step_later(row):
    step = Fraction(1, 10) if row.pollutant == "CO" else Fraction(1)
    for index, concentration in row.breakpoints:
        at = Fraction(str(concentration))
        assert air.iaqi_exact(row, np.array([float(at)]))[0] == index
        if at > 0:
            below = float(at - step)
            assert air.iaqi_exact(row, np.array([below]))[0] == by_hand(row, str(at - step)) <= index
        if index != row.breakpoints[-1][0]:
            assert air.iaqi_exact(row, np.array([float(at + step)]))[0] == by_hand(row, str(at + step)) > index


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(IaqiRow)])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_the_index_equals_the_formula_in_fractions(row, data):
    value = data.draw(st.decimals(0, row.breakpoints[-1][1], places=3))
    assert air.iaqi_exact(row, np.array([float(value)]))[0] == by_hand(row, str(value))


def test_co_of_2_2_over_24_hours_is_55_not_56():
    assert air.daily_aqi({"co_24h": np.array([2.2])}, OLD).iaqi[air.POLLUTANTS.index("CO"), 0] == 55


@pytest.mark.parametrize("edition", [OLD, NEW])
@pytest.mark.parametrize(("column", "value"), [("pm25_1h", 501), ("pm10_1h", 5000), ("o3_1h", 1201), ("co_1h", 151)])
def test_beyond_the_table_the_index_is_500(edition, column, value):
    assert hour(edition, **{column: value}).aqi[0] == 500


def test_so2_above_800_in_an_hour_is_200_in_2026():
    assert said(hour(NEW, so2_1h=801)) == (200, ("SO2",))


def test_so2_above_800_in_an_hour_is_judged_by_24_hours_in_2012():
    without = hour(OLD, so2_1h=801)
    assert said(without) == (40, ())
    assert without.reason[0] == Reason.NO_1H_INDEX
    assert "SO2" in without.explain(0).zh
    assert said(hour(OLD, so2_1h=801, so2_24h=800)) == (200, ("SO2",))


def test_ozone_above_800_over_8_hours_is_300_in_2026_and_the_hour_in_2012():
    day = {"o3_8h": np.array([900.0]), "o3_1h": np.array([1000.0])}
    assert air.daily_aqi(day | {"pm25_24h": np.array([200.0])}, NEW).aqi[0] == 300
    assert air.daily_aqi(day, OLD).aqi[0] == 400


def test_concentrations_are_rounded_half_to_even_first_in_2026_only():
    assert hour(NEW, pm25_1h=60.5).aqi[0] == 100  # 60
    assert hour(NEW, pm25_1h=61.5).aqi[0] == 102  # 62: 100 + 50·2/55
    assert hour(OLD, pm25_1h=75.5).aqi[0] == 101  # 100 + 50·0.5/40, rounded up


# ---- missing, not monitored, primary


@pytest.mark.parametrize("column", CLEAN)
def test_with_a_pollutant_missing_an_index_up_to_100_is_not_published_in_2026(column):
    result = hour(NEW, **{column: np.nan})
    assert said(result) == (air.NA, ())
    assert result.level[0] == 0
    assert "5.3" in result.explain(0).zh


@pytest.mark.parametrize("column", CLEAN)
def test_with_a_pollutant_missing_the_index_of_the_rest_is_published_in_2012(column):
    result = hour(OLD, **{column: np.nan})
    assert result.aqi[0] > 0
    assert result.reason[0] == Reason.NONE


def test_above_100_a_missing_pollutant_does_not_stop_publication():
    assert hour(NEW, pm10_1h=121, o3_1h=np.nan).aqi[0] == 101
    assert hour(NEW, pm10_1h=120, o3_1h=np.nan).aqi[0] == air.NA


def test_a_pollutant_not_monitored_by_plan_does_not_stop_publication():
    assert hour(NEW, co_1h=np.nan, apart=["co_1h"]).aqi[0] == 40


def test_the_national_platform_publishes_without_pm10():
    assert hour(NEW, pm10_1h=np.nan, quirks=True).aqi[0] == 29  # PM2.5 20: 50·20/35, rounded up
    assert hour(NEW, pm10_1h=np.nan, no2_1h=np.nan, quirks=True).aqi[0] == air.NA


@pytest.mark.parametrize("edition", [OLD, NEW])
def test_nothing_measured_gives_nothing(edition):
    result = hour(edition, **dict.fromkeys(CLEAN, np.nan))
    assert said(result) == (air.NA, ())
    assert result.reason[0] == Reason.NO_DATA


def test_a_negative_value_is_missing():
    assert hour(NEW, co_1h=-0.1).missing[0] == air.bits("CO")


def test_pollutants_tied_at_the_rounded_maximum_are_all_primary():
    # PM2.5 44 → 50 + 50·9/25 = 68 ; PM10 75 → 50 + 50·25/70 = 67.9 → 68
    assert said(hour(NEW, pm25_1h=44, pm10_1h=75)) == (68, ("PM2.5", "PM10"))


def test_there_is_no_primary_pollutant_up_to_50():
    assert said(hour(NEW, pm25_1h=35)) == (50, ())
    assert said(hour(NEW, pm25_1h=36)) == (52, ("PM2.5",))


def test_the_index_of_2026_begins_at_1():
    assert hour(NEW, **dict.fromkeys(CLEAN, 0.0)).aqi[0] == 1
    assert hour(OLD, **dict.fromkeys(CLEAN, 0.0)).aqi[0] == 0


# ---- editions


def test_the_edition_changes_with_the_hour_that_begins_on_the_first_of_march():
    hours = np.array([stamp("2026-02-28T23:00"), stamp("2026-03-01T00:00"), stamp("2011-01-01T00:00")])
    assert [air.editions()[e] if e >= 0 else None for e in air.edition_at(hours)] == [OLD, NEW, None]


def test_mixed_editions_are_judged_row_by_row():
    columns = {name: np.full(4, value) for name, value in CLEAN.items()} | {"pm25_1h": np.full(4, 75.0)}
    edition = np.array([0, 1, -1, 0], np.int8)
    result = air.hourly_aqi(columns, edition)
    assert result.aqi.tolist() == [100, 114, air.NA, 100]
    assert result.reason[2] == Reason.NO_EDITION


def test_a_verdict_names_the_rows_it_stands_on():
    standing = {row.where for row in hour(NEW, co_1h=np.nan, pm25_1h=99).basis(0)}
    assert sum(where.startswith("air_iaqi.csv") for where in standing) == 5
    assert any(where.startswith("aqi_classes.csv") for where in standing)


def test_an_index_tells_how_it_came_about():
    columns = {name: np.array([value]) for name, value in (CLEAN | {"pm25_1h": 76.0, "o3_1h": np.nan}).items()}
    said = air.account(air.hourly_aqi(columns, NEW), 0, columns)
    assert said.zh.startswith("AQI 115 轻度污染：PM2.5 76 µg/m³ (60–115 → 100–150) 115；PM10 40 µg/m³ (0–50 → 0–50) 40")
    assert "（HJ 633-2026 表3）；" in said.zh
    assert said.en.startswith("AQI 115 Lightly polluted")
    assert "缺O3，以其余项目计算（HJ 633-2026 5.3.1）" in said.zh
    assert "O3 missing" in said.en
    assert "O3 82" not in said.en


def test_an_account_shows_the_value_counted_where_the_edition_rounds_first():
    """60.5 rounds to 60, the even number: IAQI 100, not 101."""
    columns = {name: np.array([value]) for name, value in (CLEAN | {"pm25_1h": 60.5}).items()}
    said = air.account(air.hourly_aqi(columns, NEW), 0, columns).zh
    assert "PM2.5 60.5 ≈ 60 µg/m³ (35–60 → 50–100) 100" in said


def test_what_has_no_index_of_its_averaging_time_is_told_by_the_other():
    day = {"o3_8h": np.array([801.0]), "pm25_24h": np.array([30.0])}
    said = air.daily_aqi(day, OLD).explain(0)
    assert said.zh.startswith("O3的8小时平均浓度高于分指数表上限800 µg/m³，应按1小时平均浓度报告（HJ 633-2012 表1）")
    assert "1-hour value counts instead (HJ 633-2012 表1)" in said.en


def test_who_is_sensitive_depends_on_the_pollutants_above_100():
    result = hour(NEW, o3_1h=260, pm25_1h=76)
    assert [g.pollutant for g in air.sensitive_groups(result, 0)] == ["O3", "PM2.5"]  # 130 and 115
    assert air.sensitive_groups(hour(NEW, pm25_1h=60), 0) == ()
    assert air.sensitive_groups(hour(OLD, pm25_1h=90), 0) == ()
    assert air.sensitive_groups(hour(NEW, co_1h=np.nan), 0) == ()
    columns = {name: np.array([value]) for name, value in (CLEAN | {"co_1h": 12.0}).items()}
    said = air.account(air.hourly_aqi(columns, NEW), 0, columns)
    assert said.zh.endswith("CO敏感人群：患有心血管系统疾病的人")
    assert said.en.endswith("sensitive to CO: people with cardiovascular disease")


def test_a_value_above_the_table_and_an_absent_index_are_told_too():
    columns = {name: np.array([value]) for name, value in (CLEAN | {"so2_1h": 900.0}).items()}
    assert "SO2 900 µg/m³ (> 800) 200" in air.account(air.hourly_aqi(columns, NEW), 0, columns).zh
    assert "未计入AQI" in air.account(air.hourly_aqi(columns, OLD), 0, columns).zh
    nothing = {name: np.array([np.nan]) for name in CLEAN}
    assert air.account(air.hourly_aqi(nothing, NEW), 0, nothing).zh == "各项均缺测"


# ---- properties

value = st.one_of(st.just(math.nan), st.floats(0, 2000, width=32))
six = st.lists(st.tuples(*[value] * 6), min_size=1, max_size=20)


def columns_of(table):
    return {item.column: np.array(c, float) for item, c in zip(air.HOURLY, zip(*table, strict=True), strict=True)}


@pytest.mark.parametrize("edition", [OLD, NEW])
@given(table=six, seed=st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_rows_does_not_matter(edition, table, seed):
    order = list(range(len(table)))
    seed.shuffle(order)
    straight = air.hourly_aqi(columns_of(table), edition)
    shuffled = air.hourly_aqi(columns_of([table[i] for i in order]), edition)
    assert straight.aqi[order].tolist() == shuffled.aqi.tolist()
    assert straight.primary[order].tolist() == shuffled.primary.tolist()


@pytest.mark.parametrize("edition", [OLD, NEW])
@given(table=six, column=st.integers(0, 5), more=st.floats(0, 500, width=32))
@settings(max_examples=50, deadline=None)
def test_more_pollution_never_lowers_the_index(edition, table, column, more):
    """But for SO2, whose 1-hour index ends at 800 in 2012."""
    name = air.HOURLY[column].column
    before = columns_of(table)
    after = before | {name: before[name] + (0 if name == "so2_1h" else more)}
    assert (air.hourly_aqi(after, edition).aqi >= air.hourly_aqi(before, edition).aqi).all()


@given(n=st.integers(1, 3))
@settings(deadline=None)
def test_rows_beyond_one_chunk_are_judged_alike(n):
    columns = {name: np.full(air.CHUNK * n + 1, v) for name, v in CLEAN.items()}
    assert set(air.hourly_aqi(columns, NEW).aqi.tolist()) == {40}


# ---- days


def test_a_day_needs_20_hours():
    grid = np.full((2, 24), 40.0)
    grid[0, :4] = np.nan
    grid[1, :5] = np.nan
    assert np.isnan(air.daily_columns({"pm25_1h": grid})["pm25_24h"]).tolist() == [False, True]


def test_a_day_from_hours():
    day = {item.column: np.full((1, 24), 10.0) for item in air.HOURLY} | {"co_1h": np.full((1, 24), 0.45)}
    day["o3_1h"] = np.array([[20.0] * 10 + [170.0] * 8 + [20.0] * 6])
    columns = air.daily_columns(day)
    assert columns["o3_8h"].tolist() == [170]
    assert columns["o3_1h"].tolist() == [170]
    assert columns["co_24h"].tolist() == [0.4]  # 0.45 half to even
    assert said(air.daily_aqi(columns, NEW)) == (110, ("O3",))  # 100 + 50·10/55, rounded up


# ---- what the ministry published


def published(path):
    with path.open(encoding="utf-8-sig") as file:
        table = list(csv.DictReader(file))

    def number(text):
        return float(text) if text not in ("", "NA", "/") else math.nan

    columns = {i.column: np.array([number(r[i.column]) for r in table]) for i in air.HOURLY}
    masks = {i.column: np.array([r[i.column] == "/" for r in table]) for i in air.HOURLY}
    begun = np.array([stamp(r["time"]) - 3600 for r in table])
    return table, columns, masks, air.edition_at(begun)


def agreeing(table, result):
    for i, row in enumerate(table):
        aqi = "NA" if result.aqi[i] == air.NA else str(result.aqi[i])
        primary = set(air.names(int(result.primary[i])))
        wanted = set(filter(None, row["primary_published"].split("+")))
        edition = air.editions()[result.edition[i]]
        level = air.class_of(edition, int(result.level[i])).zh if result.level[i] else "NA"
        if (aqi, primary) == (row["aqi_published"], wanted) and row.get("class_published", level) == level:
            yield i


def test_1468_published_hours_of_2017_and_2018(truth):
    table, columns, masks, edition = published(truth / "standards" / "aqi_hourly_hj633_2012.csv")
    assert len(list(agreeing(table, air.hourly_aqi(columns, edition, masks)))) == len(table) == 1468


@pytest.mark.parametrize(("quirks", "agree"), [(False, 56), (True, 58)])
def test_58_published_hours_of_2026_with_and_without_the_platform_quirks(truth, quirks, agree):
    table, columns, masks, edition = published(truth / "standards" / "aqi_hourly_hj633_2026.csv")
    assert len(table) == 58
    assert len(list(agreeing(table, air.hourly_aqi(columns, edition, masks, quirks)))) == agree
