"""Every row of every table is a test: a typing slip fails with the name of its table and line."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import date

import pytest

from ceguan.standards import tables
from ceguan.standards.tables import (
    TABLES,
    TRUST,
    AirEvent,
    AirIndexTerm,
    AirLimit,
    AirRanking,
    AirRounding,
    AirStatistic,
    AqiClass,
    AqiCompleteness,
    CalendarDay,
    EmissionLimit,
    IaqiRow,
    NoiseLimit,
    NotInForce,
    RadiationBackground,
    TableError,
    Validity,
    WaterLimit,
)

KEYS = {
    AirLimit: ("pollutant", "averaging"),
    IaqiRow: ("pollutant", "averaging"),
    AqiClass: ("level",),
    AqiCompleteness: (),
    AirStatistic: ("pollutant", "statistic"),
    AirRounding: ("quantity", "pollutant"),
    AirIndexTerm: ("pollutant",),
    AirRanking: ("kind",),
    AirEvent: ("kind",),
    WaterLimit: ("table", "item", "waterbody"),
    NoiseLimit: ("zone",),
    EmissionLimit: ("standard", "category", "code", "condition", "averaging"),
    RadiationBackground: ("place",),
    Validity: ("scope", "standard"),
    CalendarDay: ("day",),
}
UNITS = {"µg/m³", "mg/m³", "mg/L", "个/L", "无量纲", "%", "dB(A)", "nGy/h", "min", "h", "d"}

ALL = [pytest.param(row, id=row.where) for kind in TABLES for row in tables.rows(kind)]


def of(kind):
    return [pytest.param(row, id=row.where) for row in tables.rows(kind)]


def test_every_table_has_a_key_here():
    assert set(KEYS) == set(TABLES)


@pytest.mark.parametrize("row", ALL)
def test_a_row_names_standard_clause_source_trust_and_a_period(row):
    assert row.standard
    assert row.clause
    assert row.source
    assert row.trust in TRUST
    assert row.valid_to is None or row.valid_from <= row.valid_to
    assert getattr(row, "unit", "h") in UNITS


@pytest.mark.parametrize("kind", TABLES)
def test_two_rows_with_the_same_key_are_never_in_force_on_one_day(kind):
    periods = defaultdict(list)
    for row in tables.rows(kind):
        periods[tuple(getattr(row, key) for key in KEYS[kind])].append(row)
    for same in periods.values():
        same.sort(key=lambda row: row.valid_from)
        for older, newer in itertools.pairwise(same):
            assert older.valid_to is not None, f"{older.where} has no end, {newer.where} follows"
            assert older.valid_to < newer.valid_from, f"{older.where} overlaps {newer.where}"


@pytest.mark.parametrize("row", of(AirLimit))
def test_class_one_is_never_looser_than_class_two(row):
    assert 0 < row.class1 <= row.class2


@pytest.mark.parametrize("phase", ["", "transition", "final"])
def test_a_longer_mean_is_never_allowed_more_than_a_shorter_one(phase):
    order = ("year", "quarter", "24h", "8h", "1h")
    for pollutant in {row.pollutant for row in tables.rows(AirLimit) if row.phase == phase}:
        found = {r.averaging: r for r in tables.rows(AirLimit) if (r.phase, r.pollutant) == (phase, pollutant)}
        limits = [found[averaging].class2 for averaging in order if averaging in found]
        assert limits == sorted(limits), pollutant


@pytest.mark.parametrize("row", [r for r in of(AirLimit) if r.values[0].phase == "final"])
def test_the_final_limits_are_never_looser_than_the_transition(row):
    final = row
    before = tables.one(AirLimit, date(2030, 12, 31), pollutant=final.pollutant, averaging=final.averaging)
    assert final.class1 <= before.class1
    assert final.class2 <= before.class2


@pytest.mark.parametrize("row", of(AirStatistic) + of(AirIndexTerm))
def test_a_statistic_is_compared_with_a_limit_of_the_same_day(row):
    assert row.statistic in ("mean", "percentile")
    assert (row.p is not None) == (row.statistic == "percentile")
    last = row.valid_to or date(2031, 1, 1)
    for day in (row.valid_from, last):
        limit = tables.one(AirLimit, day, pollutant=row.pollutant, averaging=row.averaging)
        assert limit.class2 > 0
    assert getattr(row, "unit", limit.unit) == limit.unit
    assert getattr(row, "weight", 1) > 0


@pytest.mark.parametrize("day", [date(2013, 10, 1), date(2026, 2, 28), date(2026, 3, 1), date(2031, 1, 1)])
def test_six_pollutants_make_the_index_and_every_statistic_has_its_rounding(day):
    six = {"SO2", "NO2", "PM10", "PM2.5", "CO", "O3"}
    assert {row.pollutant for row in tables.in_force(AirIndexTerm, day)} == six
    assert {row.pollutant for row in tables.in_force(AirStatistic, day)} == six
    for pollutant in six:
        assert tables.one(AirRounding, day, quantity="concentration", pollutant=pollutant).digits >= 0


@pytest.mark.parametrize("row", of(AirRanking))
def test_a_ranking_says_its_order_and_its_ties(row):
    assert row.ties in ("competition", "dense")
    assert row.ascending in ("yes", "no")


@pytest.mark.parametrize("row", of(AirEvent))
def test_an_event_has_words_uses_and_who_decides(row):
    assert row.zh
    assert row.en
    assert row.uses
    assert row.decided_by
    assert row.treatment == "hours"


@pytest.mark.parametrize("row", of(IaqiRow))
def test_breakpoints_rise(row):
    concentrations = [c for _, c in row.breakpoints]
    assert concentrations == sorted(set(concentrations))
    assert concentrations[0] == 0
    assert row.above in ("500", "cap", "use_24h", "use_1h")
    assert (row.above == "500") == (row.c500 is not None)


@pytest.mark.parametrize("row", of(AqiClass))
def test_a_class_has_words_a_colour_and_bounds(row):
    assert row.lo <= row.hi
    assert row.zh
    assert row.en
    assert row.rgb.startswith("#")
    assert len(row.rgb) == 7
    assert row.text_trust in TRUST
    assert row.effect_zh
    assert row.advice_zh


@pytest.mark.parametrize("edition", ["HJ 633-2012", "HJ 633-2026"])
def test_classes_of_an_edition_join_without_a_gap(edition):
    classes = [row for row in tables.rows(AqiClass) if row.standard == edition]
    assert [row.level for row in classes] == [1, 2, 3, 4, 5, 6]
    assert all(a.hi + 1 == b.lo for a, b in itertools.pairwise(classes))
    assert classes[-1].hi == 500


@pytest.mark.parametrize("row", of(WaterLimit))
def test_water_limits_loosen_from_class_to_class(row):
    if row.table != 1:
        assert row.hi > 0
        assert row.classes == ()
    elif row.kind == "range":
        assert row.lo < row.hi
    else:
        assert len(row.classes) == 5
        assert list(row.classes) == sorted(row.classes, reverse=row.kind == "min")


def test_gb_3838_has_its_items():
    """Table 1 has 24 items; water temperature has no number, total phosphorus two rows. 5 and 80 in tables 2 and 3."""
    count = defaultdict(int)
    for row in tables.rows(WaterLimit):
        count[row.table] += 1
    assert count == {1: 24, 2: 5, 3: 80}


@pytest.mark.parametrize("row", of(NoiseLimit))
def test_the_night_is_quieter(row):
    assert row.night < row.day


@pytest.mark.parametrize("row", of(EmissionLimit))
def test_an_emission_limit_is_positive_and_says_how_to_compare(row):
    assert row.high > 0
    assert row.medium in ("gas", "water")
    assert row.code.startswith("a" if row.medium == "gas" else "w")
    assert row.averaging in ("1h", "24h")
    assert row.basis in ("measured", "converted")
    assert (row.low is not None) == (row.code == "w01001")
    if row.basis == "converted":
        assert row.reference_o2 or row.note


@pytest.mark.parametrize("row", of(RadiationBackground))
def test_a_background_range_has_two_ends(row):
    assert 0 < row.low < row.high


@pytest.mark.parametrize("row", of(Validity))
def test_a_minimum_is_positive(row):
    assert row.minimum > 0


@pytest.mark.parametrize(
    ("day", "limit"),
    [(date(2026, 2, 28), 75), (date(2026, 3, 1), 60), (date(2030, 12, 31), 60), (date(2031, 1, 1), 50)],
)
def test_the_daily_limit_of_pm25_is_chosen_by_date(day, limit):
    assert tables.one(AirLimit, day, pollutant="PM2.5", averaging="24h").class2 == limit


def test_a_day_before_every_edition_has_no_row():
    with pytest.raises(NotInForce, match=r"air_limits\.csv"):
        tables.one(AirLimit, date(2001, 1, 1), pollutant="PM2.5", averaging="24h")


def test_a_broken_cell_is_named_with_table_and_line():
    header = "standard,clause,valid_from,valid_to,trust,source,zone,zone_zh,unit,day,night"
    text = f"{header}\nS,1,2020-01-01,,P,x,0,z,dB(A),loud,40\n"
    with pytest.raises(TableError, match=r"noise_limits\.csv:2 列 day: 'loud'"):
        tables.parse(NoiseLimit, text)
