"""Every row of every table is a test: a typing slip fails with the name of its table and line."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import date

import pytest

from ceguan.standards import retention, tables
from ceguan.standards.tables import (
    TABLES,
    TRUST,
    AgriculturalSoil,
    AirEvent,
    AirIndexTerm,
    AirLimit,
    AirRanking,
    AirRounding,
    AirState,
    AirStatistic,
    AqiClass,
    AqiCompleteness,
    CalendarDay,
    ClassLimit,
    ClosureTerm,
    ConstructionSoil,
    EmissionLimit,
    EmissionRate,
    EmissionRule,
    EqiChange,
    EqiClass,
    EqiWeight,
    GroundwaterLimit,
    IaqiRow,
    IncineratorCap,
    MonitorCheck,
    NoiseEmission,
    NoiseGrade,
    NoiseLimit,
    NoiseRule,
    NotInForce,
    RadiationBackground,
    Reactivity,
    Retention,
    SeawaterLimit,
    SensitiveGroup,
    SpearmanCritical,
    Substitution,
    TableError,
    TrophicClass,
    TrophicItem,
    Validity,
    WaterGrade,
    WaterLimit,
    WaterRule,
)

KEYS = {
    AirLimit: ("pollutant", "averaging"),
    IaqiRow: ("pollutant", "averaging"),
    AqiClass: ("level",),
    AqiCompleteness: (),
    SensitiveGroup: ("pollutant",),
    AirStatistic: ("pollutant", "statistic"),
    AirRounding: ("quantity", "pollutant"),
    AirIndexTerm: ("pollutant",),
    AirRanking: ("kind",),
    AirEvent: ("kind",),
    AirState: ("phase",),
    Reactivity: ("en",),
    ClosureTerm: ("method", "term"),
    WaterLimit: ("table", "item", "waterbody"),
    WaterRule: ("rule", "item"),
    WaterGrade: ("scope", "grade"),
    TrophicItem: ("item",),
    TrophicClass: ("grade",),
    SpearmanCritical: ("n",),
    GroundwaterLimit: ("item", "kind"),
    SeawaterLimit: ("item", "kind"),
    AgriculturalSoil: ("kind", "item", "land"),
    ConstructionSoil: ("item",),
    NoiseLimit: ("zone",),
    NoiseEmission: ("standard", "kind", "zone", "room", "band"),
    NoiseRule: ("standard", "rule", "low"),
    NoiseGrade: ("kind", "period", "grade"),
    EqiClass: ("level",),
    EqiWeight: ("item",),
    EqiChange: ("step",),
    EmissionLimit: ("standard", "category", "name", "condition", "averaging"),
    EmissionRate: ("item", "height"),
    EmissionRule: ("standard", "rule", "clause"),
    Substitution: ("cause", "capture_below", "hours_from"),
    MonitorCheck: ("standard", "check", "item", "low"),
    IncineratorCap: ("industry", "quantity", "standard"),
    RadiationBackground: ("place",),
    Validity: ("scope", "standard"),
    CalendarDay: ("day",),
    Retention: ("standard", "clause", "kind"),
}
UNITS = {
    *(
        "µg/m³",
        "mg/m³",
        "g O3/g",
        "mg/L",
        "μg/L",
        "mg/kg",
        "个/L",
        "MPN/100mL",
        "CFU/mL",
        "Bq/L",
        "无量纲",
        "有无",
        "度",
        "NTU",
    ),
    *("dB(A)", "dB", "nGy/h", "℃", "m", "min", "h", "d", "%", "个", "项", "级", "类", "倍", "百分点", ""),
    *("kg/h", "μmol/mol", "ng TEQ/m³", "ng TEQ/L", "m/s", "mm", "s", "% FS", "次", "月"),
}

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


def test_a_row_of_an_edition_that_was_replaced_has_an_end():
    """What the new edition was not seen to say is its own row, marked unsure; the old row does not live on."""
    first = defaultdict(lambda: date.max)
    every = [row for kind in TABLES for row in tables.rows(kind)]
    for row in every:
        name, _, year = row.standard.partition("-")
        first[name, year[:4]] = min(first[name, year[:4]], row.valid_from)
    newest = {name: max(y for n, y in first if n == name) for name, _ in first}
    for row in every:
        name, _, year = row.standard.partition("-")
        if year[:4] != newest[name]:
            assert row.valid_to is not None, row.where
            assert row.valid_to < first[name, newest[name]], row.where


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


@pytest.mark.parametrize("row", of(SensitiveGroup))
def test_a_sensitive_group_is_named_in_both_languages(row):
    assert row.zh
    assert row.en
    assert row.above == 100


@pytest.mark.parametrize("row", of(AirState))
def test_a_state_has_temperature_and_pressure_or_neither(row):
    assert (row.kelvin is None) == (row.hectopascal is None)
    assert row.phase in ("gas", "particle")
    limited = {limit.pollutant for limit in tables.rows(AirLimit) if limit.phase != "reference"}
    assert set(row.pollutants.split()) <= limited


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
    """Table 1 has 24 items, total phosphorus in two rows. 5 and 80 in tables 2 and 3."""
    count = defaultdict(int)
    for row in tables.rows(WaterLimit):
        count[row.table] += 1
    assert count == {1: 25, 2: 5, 3: 80}
    assert len({(row.table, row.item) for row in tables.rows(WaterLimit)}) == 109


@pytest.mark.parametrize("row", of(WaterRule))
def test_a_rule_of_surface_water_says_what_it_is_about(row):
    items = {limit.item for limit in tables.rows(WaterLimit)}
    assert row.item in items | {""}
    assert (row.value is None) == (row.unit == "")
    assert row.value is not None or row.item or row.note or row.trust == "unsure"


def test_the_grades_of_sections_cover_every_class_once():
    grades = [row for row in tables.rows(WaterGrade) if row.scope == "section"]
    covered = [k for row in grades for k in range(row.class_from, row.class_to + 1)]
    assert covered == [1, 2, 3, 4, 5, 6]


def test_every_pair_of_shares_has_one_grade():
    """Shares of good and worst sections in whole percent: every possible pair lies in exactly one row."""
    grades = [row for row in tables.rows(WaterGrade) if row.scope == "basin"]
    for good in range(101):
        for worse in range(101 - good):
            inside = [
                row.grade
                for row in grades
                if (row.good_from or 0) <= good < (row.good_below or 101)
                and (row.worse_from or 0) <= worse < (row.worse_below or 101)
            ]
            assert len(inside) == 1, (good, worse, inside)


@pytest.mark.parametrize("row", [*of(WaterGrade), *of(TrophicClass)])
def test_a_grade_has_words_in_both_languages(row):
    assert row.zh
    assert row.en.isascii()


def test_the_weights_of_the_trophic_index_follow_from_the_correlations():
    items = tables.rows(TrophicItem)
    whole = sum(row.r**2 for row in items)
    assert [row.weight for row in items] == [round(row.r**2 / whole, 4) for row in items]
    assert [row.item for row in items] == ["chla", "tp", "tn", "sd", "codmn"]


def test_trophic_classes_rise_to_the_last_without_a_bound():
    bounds = [row.below for row in tables.rows(TrophicClass)]
    assert bounds[:-1] == sorted(bounds[:-1])
    assert bounds[-1] is None


def one_sided(n):
    """The smallest Spearman coefficients with a one-sided chance of at most 0.05 and 0.01, by every permutation."""
    counts = defaultdict(int)
    for order in itertools.permutations(range(n)):
        counts[sum((a - b) ** 2 for a, b in enumerate(order))] += 1
    total, reached, found = sum(counts.values()), 0, {}
    for d2 in sorted(counts):
        reached += counts[d2]
        for level in (0.05, 0.01):
            if reached <= level * total:
                found[level] = 1 - 6 * d2 / (n**3 - n)
    return [round(found[level], 3) if level in found else None for level in (0.05, 0.01)]


@pytest.mark.parametrize("row", [p for p in of(SpearmanCritical) if p.values[0].n <= 8])
def test_critical_values_of_short_series_are_exact(row):
    assert [row.wp05, row.wp01] == one_sided(row.n)


def test_longer_series_need_less_correlation():
    rows = tables.rows(SpearmanCritical)
    assert all(a.wp05 > b.wp05 for a, b in itertools.pairwise(rows))
    assert all(a.wp01 > b.wp01 for a, b in itertools.pairwise(rows[1:]))
    assert all(row.trust == "unsure" for row in rows if row.n > 8)


@pytest.mark.parametrize("row", [*of(GroundwaterLimit), *of(SeawaterLimit)])
def test_class_limits_loosen_from_class_to_class(row):
    assert row.kind in ("max", "min", "above")
    assert list(row.classes) == sorted(row.classes, reverse=row.kind != "max")
    assert row.I >= 0
    assert isinstance(row, ClassLimit)


def test_ground_and_sea_water_have_their_items():
    """GB/T 14848: 39 regular and 54 further items, pH in two rows. GB 3097: 39 less the two that are words."""
    regular = {row.item for row in tables.rows(GroundwaterLimit) if row.table == 1}
    assert (len(regular), len({row.item for row in tables.rows(GroundwaterLimit)})) == (39, 93)
    assert len({row.item for row in tables.rows(SeawaterLimit)}) == 37


@pytest.mark.parametrize("row", of(AgriculturalSoil))
def test_a_soil_value_of_farmland_is_positive_in_every_band_of_ph(row):
    assert row.kind in ("screening", "control")
    assert row.land in ("", "paddy", "orchard", "other")
    assert min(row.bands) > 0
    ordered = list(row.bands) if row.item != "as" else list(reversed(row.bands))
    assert ordered == sorted(ordered), "arsenic tightens with pH, everything else loosens"


@pytest.mark.parametrize("row", of(AgriculturalSoil))
def test_the_control_value_is_never_below_the_screening_value(row):
    control = [c for c in tables.rows(AgriculturalSoil) if c.kind == "control" and c.item == row.item]
    assert all(s <= c for one in control for s, c in zip(row.bands, one.bands, strict=True))


@pytest.mark.parametrize("row", of(ConstructionSoil))
def test_values_of_building_land_loosen_with_land_class_and_from_screening_to_control(row):
    assert 0 < row.screening1 <= row.screening2 <= row.control2
    assert row.screening1 <= row.control1 <= row.control2


def test_gb_36600_has_its_items():
    assert [sum(row.table == n for row in tables.rows(ConstructionSoil)) for n in (1, 2)] == [45, 40]


@pytest.mark.parametrize("row", of(NoiseLimit))
def test_the_night_is_quieter(row):
    assert row.night < row.day


@pytest.mark.parametrize("row", of(NoiseEmission))
def test_a_noise_source_has_a_quieter_night_and_a_band_only_in_octaves(row):
    assert row.night < row.day
    assert row.kind in ("boundary", "indoor", "octave")
    assert (row.band is not None) == (row.kind == "octave")
    assert (row.room == "") == (row.kind == "boundary")


@pytest.mark.parametrize("standard", ["GB 12348-2008", "GB 22337-2008"])
def test_limits_of_noise_sources_loosen_from_zone_to_zone_and_tighten_with_frequency(standard):
    rows = [row for row in tables.rows(NoiseEmission) if row.standard == standard]
    assert len(rows) == 5 + 10 + 50, "five zones, two rooms in each, five bands in each room"
    for kind, room, band in {(row.kind, row.room, row.band) for row in rows}:
        same = sorted(
            (row for row in rows if (row.kind, row.room, row.band) == (kind, room, band)), key=lambda r: r.zone
        )
        assert [row.zone for row in same] == list("01234")
        assert [row.day for row in same] == sorted(row.day for row in same)
        assert [row.night for row in same] == sorted(row.night for row in same)
    for zone, room in {(row.zone, row.room) for row in rows if row.kind == "octave"}:
        bands = sorted((r for r in rows if (r.kind, r.zone, r.room) == ("octave", zone, room)), key=lambda r: r.band)
        assert [row.band for row in bands] == [31.5, 63, 125, 250, 500]
        assert [row.day for row in bands] == sorted((row.day for row in bands), reverse=True)


def test_the_correction_for_background_noise_covers_three_to_ten_decibel_once():
    rows = [row for row in tables.rows(NoiseRule) if row.rule == "background"]
    covered = [d for row in rows for d in range(int(row.low), int(row.high) + 1)]
    assert covered == list(range(3, 11))
    assert [row.value for row in rows] == [-3, -2, -1]


@pytest.mark.parametrize("row", [*of(NoiseRule), *of(EmissionRule), *of(IncineratorCap), *of(Substitution)])
def test_a_rule_is_told_in_both_languages(row):
    assert row.zh
    assert row.en


@pytest.mark.parametrize("kind", ["regional", "traffic"])
@pytest.mark.parametrize("period", ["day", "night"])
def test_grades_of_city_noise_rise_to_the_last_without_a_bound(kind, period):
    rows = [row for row in tables.rows(NoiseGrade) if (row.kind, row.period) == (kind, period)]
    bounds = [row.upto for row in rows]
    assert [row.grade for row in rows] == [1, 2, 3, 4, 5]
    assert bounds[:-1] == sorted(bounds[:-1])
    assert bounds[-1] is None
    assert all(row.zh and row.en for row in rows)


def test_the_classes_of_ecological_quality_join_and_their_weights_make_one():
    classes = tables.rows(EqiClass)
    assert [row.level for row in classes] == [1, 2, 3, 4, 5]
    assert all(better.low == worse.high for better, worse in itertools.pairwise(classes))
    assert sum(row.weight for row in tables.rows(EqiWeight)) == pytest.approx(1)
    assert {row.trust for row in tables.rows(EqiWeight)} == {"unsure"}
    changes = tables.rows(EqiChange)
    assert all(a.high == b.low for a, b in itertools.pairwise(changes))
    assert (changes[0].low, changes[-1].high) == (None, None)


@pytest.mark.parametrize("row", of(EmissionLimit))
def test_an_emission_limit_says_how_to_compare(row):
    assert row.high >= 0
    assert row.high > 0 or "不得检出" in row.note
    assert row.high < float("inf") or row.low is not None
    assert row.low is None or row.low < row.high
    assert row.medium in ("gas", "water")
    assert not row.code or row.code.startswith("a" if row.medium == "gas" else "w")
    assert row.averaging in ("1h", "24h", "measurement", "single", "")
    assert row.basis in ("measured", "converted")
    assert row.name
    assert row.category_en.isascii()
    if row.basis == "converted":
        assert row.reference_o2 or row.note


def limits_of(standard, category):
    return {
        (r.name, r.condition, r.averaging): r
        for r in tables.rows(EmissionLimit)
        if (r.standard, r.category) == (standard, category)
    }


@pytest.mark.parametrize(
    ("standard", "strict", "loose"),
    [
        ("GB 18918-2002", "城镇污水处理厂 一级A标准", "城镇污水处理厂 一级B标准"),
        ("GB 18918-2002", "城镇污水处理厂 一级B标准", "城镇污水处理厂 二级标准"),
        ("GB 18918-2002", "城镇污水处理厂 二级标准", "城镇污水处理厂 三级标准"),
        ("GB 8978-1996", "1998年后建设 一级", "1998年后建设 二级"),
        ("GB 8978-1996", "1998年后建设 一级 其他排污单位", "1998年后建设 二级 其他排污单位"),
        ("GB 8978-1996", "1998年后建设 二级 其他排污单位", "1998年后建设 三级 其他排污单位"),
        ("GB 13271-2014", "特别排放限值 燃煤锅炉", "新建 燃煤锅炉"),
        ("GB 4915-2013", "特别排放限值 水泥窑及窑尾余热利用系统", "水泥窑及窑尾余热利用系统"),
        ("GB 31571-2015", "特别排放限值 工艺加热炉", "工艺加热炉"),
        ("GB 31571-2015", "特别排放限值 直接排放", "直接排放"),
        ("GB 31571-2015", "特别排放限值 间接排放", "间接排放"),
        ("GB 37824-2019", "特别排放限值 涂料制造、油墨及胶粘剂制造", "涂料制造、油墨及胶粘剂制造"),
    ],
)
def test_a_stricter_grade_is_never_looser(standard, strict, loose):
    strict_rows, loose_rows = limits_of(standard, strict), limits_of(standard, loose)
    shared = strict_rows.keys() & loose_rows.keys()
    assert shared
    for key in shared:
        assert strict_rows[key].high <= loose_rows[key].high, f"{strict_rows[key].where} {loose_rows[key].where}"


def test_a_daily_mean_is_never_allowed_more_than_an_hour():
    by_average = defaultdict(dict)
    for row in tables.rows(EmissionLimit):
        by_average[row.standard, row.category, row.name, row.condition][row.averaging] = row.high
    both = [limits for limits in by_average.values() if {"1h", "24h"} <= limits.keys()]
    assert both
    assert all(limits["24h"] <= limits["1h"] for limits in both)


def test_gb_8978_has_its_tables():
    """Table 1 has 13 items; table 4 has 56, in grades and industries."""
    rows = [row for row in tables.rows(EmissionLimit) if row.standard == "GB 8978-1996"]
    assert len([row for row in rows if row.clause == "表1"]) == 13
    assert len({row.name for row in rows if row.clause == "表4"}) == 56


def test_gb_16297_has_33_items_with_rates_that_rise_with_height():
    rows = tables.rows(EmissionRate)
    assert {row.number for row in rows} == set(range(1, 34))
    for item in {row.item for row in rows}:
        by_height = sorted((row for row in rows if row.item == item), key=lambda row: row.height)
        for lower, higher in itertools.pairwise(by_height):
            assert lower.class2 < higher.class2, higher.where
            assert lower.class3 < higher.class3, higher.where
        assert all(row.class2 < row.class3 for row in by_height), item


@pytest.mark.parametrize("row", of(MonitorCheck))
def test_what_a_monitor_may_differ_by_is_positive_and_says_of_what(row):
    assert row.limit > 0
    assert row.kind in ("relative", "absolute")
    assert row.name
    assert row.low is None or row.high is None or row.low < row.high


@pytest.mark.parametrize("standard", ["HJ 75-2017", "HJ 355-2019"])
def test_the_bands_of_a_check_cover_every_concentration_once(standard):
    for item in {r.item for r in tables.rows(MonitorCheck) if (r.standard, r.check) == (standard, "accuracy")}:
        bands = [r for r in tables.rows(MonitorCheck) if (r.standard, r.check, r.item) == (standard, "accuracy", item)]
        bands.sort(key=lambda row: row.low or 0)
        assert (bands[0].low, bands[-1].high) == (None, None)
        assert all(a.high == b.low for a, b in itertools.pairwise(bands))


@pytest.mark.parametrize("row", of(Substitution))
def test_a_stand_in_needs_capture_of_at_least_75_percent(row):
    assert (row.lookback is not None) == ((row.capture_from or 0) >= 75)


@pytest.mark.parametrize("row", of(IncineratorCap))
def test_a_cap_of_an_incinerator_is_positive_and_has_a_period(row):
    assert row.cap > 0
    assert row.period
    assert row.industry in ("hazardous", "medical", "domestic")


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


@pytest.mark.parametrize("row", of(Retention))
def test_a_row_of_a_law_gives_a_period_and_the_platforms_own_says_what_happens_after(row):
    if row.standard == retention.PLATFORM:
        assert row.after in ("keep", "act", "rotate", "none")
        assert (row.months, row.note != "") == (None, True)
    else:
        assert (row.months or 0) > 0
        assert row.binds
        assert row.kind in retention.kinds()


def test_what_no_law_gives_a_period_for_is_never_deleted_unless_the_bureau_sets_one():
    made, day = date(2015, 5, 31), date(2026, 3, 2)
    assert retention.kept("archive", day).free_from(made) is None
    assert retention.kept("archive", day, own_months=13).free_from(made) == date(2016, 7, 1)
    assert retention.kept("decision", day, retention.SELF, 13).free_from(made) is None


def test_the_longest_period_in_force_counts_and_the_day_itself_does_not():
    found = retention.kept("reading_minute", date(2026, 3, 2), retention.SELF)
    assert found.free_from(date(2021, 3, 1)) == date(2026, 3, 2)
    assert found.cite == "排污许可管理条例 第十九条、生态环境监测条例 第二十六条"
    assert retention.kept("reading_minute", date(2026, 3, 2), retention.SELF, 72).months == 72
    assert retention.kept("reading_minute", date(2021, 2, 28), retention.SELF).months is None
    assert retention.kept("archive", date(2024, 3, 1), retention.SELF).free_from(date(2019, 2, 28)) == date(2024, 2, 29)
    with pytest.raises(KeyError):
        retention.kept("tea", date(2026, 3, 2))
