"""Periods: validity by month and year, statistics, verdicts by the law of the day, parts that merge."""

from __future__ import annotations

import itertools
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.science import air_period
from ceguan.science.air_period import COLUMNS, Days
from ceguan.standards.tables import NotInForce

CLEAN = {"SO2": 10.0, "NO2": 20.0, "PM10": 40.0, "PM2.5": 20.0, "CO": 0.8, "O3": 90.0}


def year(number=2025, places=1, **values):
    """A year of clean days; values by column name: a number or one for each day."""
    day = np.arange(f"{number}-01-01", f"{number + 1}-01-01", dtype="datetime64[D]")
    columns = {COLUMNS[p]: np.full((places, len(day)), v) for p, v in CLEAN.items()}
    columns |= {name: np.broadcast_to(np.asarray(v, float), (places, len(day))).copy() for name, v in values.items()}
    return Days(day, columns)


def judged(days, law=None):
    first = days.day[0].astype(object)
    return air_period.evaluate(days, date(first.year, 1, 1), date(first.year, 12, 31), law)


def row_of(result, pollutant, statistic="mean"):
    return next(i for i, r in enumerate(result.rows) if (r.pollutant, r.statistic) == (pollutant, statistic))


# ---- verdicts


def test_a_clean_year_meets_class_2_in_all_items():
    result = judged(year())
    assert result.compliant(0) is True
    assert result.edition == "HJ 663-2013"
    assert result.value[:, 0].tolist() == [10, 10, 20, 20, 40, 40, 20, 20, 0.8, 90]


@pytest.mark.parametrize(
    ("law", "limit", "met"), [(date(2025, 12, 31), 35, 1), (date(2026, 3, 1), 30, 0), (date(2031, 1, 1), 25, 0)]
)
def test_the_same_air_is_judged_by_the_law_asked_for(law, limit, met):
    result = judged(year(pm25_24h=33), law)
    row = row_of(result, "PM2.5")
    assert result.limits[row].class2 == limit
    assert result.met[row, 0] == met


def test_at_the_limit_is_met_and_one_step_above_is_not():
    assert judged(year(pm25_24h=35)).compliant(0) is True
    result = judged(year(pm25_24h=36))
    row = row_of(result, "PM2.5")
    assert result.compliant(0) is False
    assert result.multiple[row, 0] == 0.03  # (36 - 35)/35
    assert result.explain(row, 0).zh == "PM2.5 平均 36 µg/m³，大于二级限值35（GB 3095-2012 表1），超标0.03倍"
    assert "above the class-2 limit 35" in result.explain(row, 0).en


def test_the_mean_may_meet_while_the_percentile_exceeds():
    """19 days of 365 at 200: k = 1 + 364·0.95 = 346.8, between the 346th (20) and the 347th (200): 164."""
    days = np.full(365, 20.0)
    days[:19] = 200
    result = judged(year(pm25_24h=days))
    mean, high = row_of(result, "PM2.5"), row_of(result, "PM2.5", "percentile")
    assert result.value[[mean, high], 0].tolist() == [29, 164]
    assert result.met[[mean, high], 0].tolist() == [1, 0]
    assert result.over[high, 0] == 19
    assert result.over[mean, 0] == -1
    assert "第95百分位数 164" in result.explain(high, 0).zh


def test_2026_gives_a_decimal_more():
    days = np.full(365, 20.0)
    days[0] = 30
    assert judged(year(2027, pm25_24h=days)).text(row_of(judged(year()), "PM2.5"), 0) == "20.0"
    assert judged(year(2025, pm25_24h=days)).text(row_of(judged(year()), "PM2.5"), 0) == "20"


def test_a_result_names_its_statistic_its_rounding_its_limit_and_its_least_number_of_days():
    result = judged(year())
    tables = [row.where.partition(":")[0] for row in result.basis(0)]
    assert tables == ["air_statistics.csv", "air_rounding.csv", "air_limits.csv", "validity.csv"]


def test_a_year_before_the_first_edition_may_be_judged_by_it_when_asked():
    result = judged(year(2012), date(2026, 2, 28))
    assert result.compliant(0) is True
    assert result.edition == "HJ 663-2013"


def test_before_the_first_edition_nothing_is_judged():
    with pytest.raises(NotInForce, match=r"air_statistics\.csv"):
        judged(year(2012))


# ---- validity


@pytest.mark.parametrize(
    ("missing", "short"),
    [
        (range(0, 4), 0),  # January with 27 days
        (range(0, 5), 1),  # with 26
        (range(31, 34), 0),  # February with 25
        (range(31, 35), 2),  # with 24
    ],
)
def test_a_month_needs_27_days_and_february_25(missing, short):
    days = np.full(365, 20.0)
    days[list(missing)] = np.nan
    result = judged(year(pm25_24h=days))
    row = row_of(result, "PM2.5")
    assert result.short_in[row, 0] == short
    assert result.met[row, 0] == (-1 if short else 1)
    assert result.compliant(0) is (None if short else True)


def test_a_year_needs_324_days_even_if_every_month_has_its_27():
    days = np.full(365, 20.0)
    months = np.array([d.astype(object).month for d in year().day])
    for month in range(1, 13):
        days[np.flatnonzero(months == month)[27 if month != 2 else 25 :]] = np.nan  # 11·27 + 25 = 322
    result = judged(year(o3_8h=days))
    row = row_of(result, "O3", "percentile")
    assert result.days[row, 0] == 322
    assert result.short_in[row, 0] == air_period.WHOLE_YEAR
    assert result.explain(row, 0).zh.startswith("O3 日最大8小时平均第90百分位数有效日共322个，全年少于324个，不评价")
    assert "the year has fewer than 324" in result.explain(row, 0).en


def test_what_exceeds_decides_even_if_another_item_is_not_judged():
    days = np.full(365, 20.0)
    days[:30] = np.nan
    assert judged(year(no2_24h=days, pm25_24h=50)).compliant(0) is False


def test_a_pollutant_without_a_day_has_no_value_and_says_so():
    result = judged(year(co_24h=np.nan))
    row = row_of(result, "CO", "percentile")
    assert np.isnan(result.value[row, 0])
    assert result.explain(row, 0).zh == "CO 日平均第95百分位数：没有有效日"


def test_a_month_has_statistics_and_no_verdict():
    result = air_period.evaluate(year(), date(2025, 5, 1), date(2025, 5, 31))
    assert (result.met == air_period.NOT_JUDGED).all()
    assert (result.days == 31).all()
    assert "针对整个日历年" in result.explain(0, 0).zh
    assert result.compliant(0) is None


# ---- periods


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("month", ["2025-11", "2025-12", "2026-01"]),
        ("quarter", ["2025-Q4", "2026-Q1"]),
        ("season", ["2025-秋", "2025-冬"]),
        ("year", ["2025", "2026"]),
        ("all", ["2025-11-30..2026-01-02"]),
    ],
)
def test_periods_are_named_after_the_calendar(by, names):
    day = np.array(["2025-11-30", "2025-12-01", "2026-01-02"], "datetime64[D]")
    assert [name for name, _, _ in air_period.periods(day, by)] == names


@pytest.mark.parametrize("by", air_period.PERIODS)
def test_the_name_of_a_period_tells_its_last_day(by):
    day = np.arange("2023-12-01", "2025-03-01", 13, dtype="datetime64[D]")
    for name, _, last in air_period.periods(day, by):
        assert air_period.last_day(name) == last


def test_months_of_a_bulletin_end_with_the_last_of_them():
    assert air_period.last_day("2019-01..05") == date(2019, 5, 31)
    for wrong in ("2019-13", "5月", "2019-01..", "2019-Q5"):
        with pytest.raises(ValueError, match=r"时段|Invalid"):
            air_period.last_day(wrong)


@pytest.mark.parametrize("by", ["month", "quarter", "season", "year"])
def test_periods_follow_each_other_without_a_gap(by):
    day = np.arange("2024-01-01", "2026-01-01", dtype="datetime64[D]")
    found = list(air_period.periods(day, by))
    for (_, _, last), (_, first, _) in itertools.pairwise(found):
        assert first == last + timedelta(days=1)
    for d in day.astype(object):
        assert sum(first <= d <= last for _, first, last in found) == 1


def test_an_unknown_period_is_refused():
    with pytest.raises(ValueError, match="quarter"):
        list(air_period.periods(year().day, "decade"))


# ---- laws

cells = st.one_of(st.just(np.nan), st.integers(0, 300).map(float))


@given(
    values=st.lists(cells, min_size=60, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=3),
    seed=st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_a_period_in_parts_merges_to_the_same_figures(values, cuts, seed):
    day = np.arange("2025-01-01", "2025-03-02", dtype="datetime64[D]")
    whole = Days(day, {"pm25_24h": np.array([values]), "o3_8h": np.array([values])})
    edges = [0, *sorted(cuts), 60]
    parts = [Days(day[a:b], {n: c[:, a:b] for n, c in whole.columns.items()}) for a, b in itertools.pairwise(edges)]
    seed.shuffle(parts)
    merged = air_period.join(parts)
    for a, b in ((whole, merged), (merged, whole)):
        one = air_period.evaluate(a, date(2025, 1, 1), date(2025, 3, 1))
        other = air_period.evaluate(b, date(2025, 1, 1), date(2025, 3, 1))
        assert np.array_equal(one.value, other.value, equal_nan=True)
        assert one.short_in.tolist() == other.short_in.tolist()


def test_a_day_in_two_parts_is_refused():
    with pytest.raises(ValueError, match="同一天"):
        air_period.join([year(), year()])


@given(order=st.permutations(range(4)))
@settings(deadline=None)
def test_the_order_of_places_does_not_matter(order):
    days = year(places=4, pm25_24h=np.arange(4.0)[:, None] * 20)
    mixed = Days(days.day, {n: c[list(order)] for n, c in days.columns.items()})
    assert judged(mixed).met.tolist() == judged(days).met[:, list(order)].tolist()


# ---- days by class, cities


def test_days_are_counted_by_class_and_days_without_an_index_apart():
    counted = air_period.class_days(np.array([[1, 1, 2, 3, 0, 6]], np.int8))
    assert counted.tolist() == [[1, 2, 1, 1, 0, 0, 1]]
    assert air_period.good_rate(counted, date(2025, 1, 1)).tolist() == [60.0]


def test_a_city_is_the_mean_of_its_stations_if_enough_of_them_are_valid():
    stations = Days(
        np.array(["2025-01-01", "2025-01-02"], "datetime64[D]"),
        {"pm25_24h": np.array([[10.0, 10], [11, 11], [12, np.nan], [13, np.nan]])},
    )
    assert air_period.city(stations, date(2025, 1, 1)).columns["pm25_24h"][0, 0] == 12  # 11.5 half to even
    assert np.isnan(air_period.city(stations, date(2025, 1, 1)).columns["pm25_24h"][0, 1])


def test_real_hours_of_a_beijing_station(truth):
    """UCI Dongsi, January 2014: counted and averaged a second way, cell by cell in Python."""
    from ceguan.science import air

    path = truth / "standards" / "data_samples" / "uci_beijing_Dongsi_2014-01_02.csv"
    lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
    hours = [float(c[5]) if c[5] != "NA" else np.nan for c in lines if c[2] == "1"]
    grid = np.array(hours).reshape(1, -1, 24)
    days = Days(np.arange("2014-01-01", "2014-02-01", dtype="datetime64[D]"), air.daily_columns({"pm25_1h": grid}))
    valid = [d for d in grid[0] if (~np.isnan(d)).sum() >= 20]
    means = [round(sum(h for h in d if h == h) / sum(h == h for h in d)) for d in valid]
    result = air_period.evaluate(days, date(2014, 1, 1), date(2014, 1, 31))
    row = row_of(result, "PM2.5")
    assert result.days[row, 0] == len(valid)
    assert result.value[row, 0] == round(sum(means) / len(means))
