"""Rivers, basins, lakes and periods: each rule of 环办〔2011〕22号 worked by hand, and what must always hold."""

from __future__ import annotations

import itertools
import math
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceguan.science import trend, water, water_bodies, water_index, water_sources
from ceguan.science.water_bodies import Ph
from ceguan.standards.tables import SpearmanCritical, rows

DAY = date(2026, 6, 1)
CLEAN = {item: water.limit(item, "river", DAY).classes[0] for item in water.SECTION_ITEMS if item != "ph"} | {"ph": 7.0}
CODMN = {1: 1.0, 2: 3.0, 3: 5.0, 4: 8.0, 5: 12.0, 6: 16.0}  # a permanganate index inside each class


def sections(classes, **columns):
    """Sections whose permanganate index lies in the given classes."""
    n = len(classes)
    return {"codmn": np.array([CODMN[k] for k in classes]), "nh3n": np.full(n, 0.1)} | columns


def one(body="river", **values):
    columns = {k: np.array([v], float) for k, v in (CLEAN | values).items()}
    return water.surface_water(columns, body, DAY, ())


# ---- sections


def test_a_section_is_judged_by_21_items():
    assert len(set(water.SECTION_ITEMS)) == 21
    assert {"wtemp_change", "tn", "coliform"}.isdisjoint(water.SECTION_ITEMS)
    assert one().klass[0] == 1


@pytest.mark.parametrize(
    ("klass", "word", "colour"),
    [
        (1, "优", "蓝色"),
        (2, "优", "蓝色"),
        (3, "良好", "绿色"),
        (4, "轻度污染", "黄色"),
        (5, "中度污染", "橙色"),
        (6, "重度污染", "红色"),
    ],
)
def test_each_class_has_its_word_and_colour(klass, word, colour):
    found = water.grade(klass, DAY)
    assert (found.zh, found.colour_zh) == (word, colour)
    assert water.grade(0, DAY) is None


def test_good_water_names_no_main_item():
    assert water.main_items(one(codmn=5.9, nh3n=0.9)).text(0) == ""


def test_the_worst_class_comes_first_then_the_largest_multiple_and_three_at_most():
    found = water.main_items(one(codmn=9.0, cod=35.0, nh3n=1.2, tp=0.25, bod5=7.0))
    # V: 五日生化需氧量 7/4-1 = 0.75, 化学需氧量 35/20-1 = 0.75, then IV: 高锰酸盐指数 0.5, 总磷 0.25, 氨氮 0.2
    assert [item for item, _ in found.named(0)] == ["cod", "bod5", "codmn"]
    assert found.named(0)[2][1] == pytest.approx(0.5)
    assert found.text(0) == "化学需氧量(0.8)、五日生化需氧量(0.8)、高锰酸盐指数(0.5)"


@pytest.mark.parametrize(
    ("multiple", "text"), [(1.25, "(1.2)"), (1.35, "(1.4)"), (0.45, "(0.4)"), (0.026, "(0.03)"), (math.nan, "")]
)
def test_a_multiple_is_rounded_half_to_even(multiple, text):
    assert water.multiple_text(multiple) == text


def test_cyanide_and_heavy_metals_come_first():
    found = water.main_items(one(cod=45.0, nh3n=3.0, cr6=0.06, hg=0.0002))
    assert [item for item, _ in found.named(0)] == ["cr6", "hg", "nh3n"]


def test_ph_and_oxygen_have_no_multiple():
    found = water.main_items(one(do=1.0, ph=9.5, nh3n=2.5))
    assert found.text(0) == "氨氮(1.5)、溶解氧、pH值"
    assert math.isnan(found.named(0)[2][1])


def test_the_multiple_of_phosphorus_is_that_of_the_water_body():
    assert water.main_items(one("lake", tp=0.1)).named(0) == (("tp", pytest.approx(1.0)),)
    assert water.main_items(one("river", tp=0.1)).named(0) == ()


def test_grounds_say_value_limit_and_clause_in_both_languages():
    zh, en = one(codmn=8.0, ph=9.2).grounds(0)
    assert zh == "劣Ⅴ类：pH值 9.2 不在 6–9（GB 3838-2002 表1）"
    zh, en = one(codmn=8.0).grounds(0)
    assert zh == "Ⅳ类：高锰酸盐指数 8 mg/L 超过Ⅲ类限值 6（GB 3838-2002 表1）"
    assert "above the limit of class Ⅲ, 6" in en
    assert "参评 21 项" in one().grounds(0).zh
    assert one(do=4.0).grounds(0).zh.startswith("Ⅳ类：溶解氧 4 mg/L 低于Ⅲ类限值 5")


@pytest.mark.parametrize("poor", [1, 7, 60])
def test_the_main_items_of_a_row_do_not_depend_on_the_rows_beside_it(poor):
    """Few or many of the rows over class III: each has what it has alone."""
    cod, tp = np.full(60, 10.0), np.full(60, 0.05)
    cod[:poor], tp[:poor] = 21 + np.arange(poor), 0.5 - 0.005 * np.arange(poor)
    many = water.main_items(water.surface_water({"cod": cod, "tp": tp}, "river", DAY, ()))
    for row in range(60):
        alone = {"cod": cod[[row]], "tp": tp[[row]]}
        assert many.text(row) == water.main_items(water.surface_water(alone, "river", DAY, ())).text(0)
        assert bool(many.named(row)) == (row < poor)


def test_a_missing_item_is_named():
    found = one(hg=math.nan)
    assert found.missing(0) == ("hg",)
    assert found.klass[0] == 1


@settings(max_examples=40)
@given(st.lists(st.floats(0, 5), min_size=21, max_size=21), st.randoms())
def test_the_order_of_items_and_rows_changes_nothing(factors, random):
    """Values as multiples of each limit III; ties are avoided by the draw of floats."""
    values = {
        i: f * (1 if i == "ph" else water.limit(i, "river", DAY).classes[2])
        for i, f in zip(CLEAN, factors, strict=True)
    }
    shuffled = list(values.items())
    random.shuffle(shuffled)
    first, second = (
        water.surface_water({k: np.array([v]) for k, v in given}, "river", DAY, ())
        for given in (values.items(), shuffled)
    )
    assert first.klass[0] == second.klass[0]
    assert set(first.worst_items(0)) == set(second.worst_items(0))
    multiples = [sorted(m for _, m in water.main_items(f).named(0) if m == m) for f in (first, second)]
    assert multiples[0] == pytest.approx(multiples[1])


@pytest.mark.parametrize("item", water.SECTION_ITEMS)
@pytest.mark.parametrize("absent", [math.nan, -1.0])
def test_a_missing_or_negative_value_takes_no_part(item, absent):
    found = one(**{item: absent})
    assert found.missing(0) == (item,)
    assert found.klass[0] == 1


# ---- rivers and basins


def test_fewer_than_five_sections_are_judged_by_the_mean_of_each_item():
    river = water_bodies.basin(sections([1, 1, 4, 4]), "river", DAY)
    assert (river.method, river.klass, river.grade.zh) == ("mean", 3, "良好")  # mean of 1, 1, 8, 8 is 4.5
    assert [row for row, _ in river.by_section] == [2, 3]
    assert river.by_section[0][1] == (("codmn", pytest.approx(8 / 6 - 1)),)
    assert "少于 5 个" in river.explain().zh


@pytest.mark.parametrize(
    ("classes", "word"),
    [
        ([1] * 9 + [4], "优"),  # 90 % good
        ([1] * 8 + [4] * 2, "良好"),  # 80 %
        ([1] * 3 + [4], "良好"),  # 75 %, given 20 sections
        ([1] * 7 + [4] * 3, "轻度污染"),  # 70 %
        ([1] * 7 + [6] * 1 + [4] * 2, "轻度污染"),  # 10 % worse than V
        ([1] * 7 + [6] * 2 + [4] * 1, "中度污染"),  # 20 %
        ([1] * 6 + [6] * 4, "重度污染"),  # 40 %
    ],
)
def test_five_sections_or_more_are_judged_by_shares(classes, word):
    river = water_bodies.basin(sections(classes * 5), "river", DAY)
    assert river.method == "shares"
    assert river.grade.zh == word
    assert sum(river.shares) == pytest.approx(100)


def test_the_items_of_a_basin_are_those_over_class_iii_in_most_sections():
    tp = np.array([0.3, 0.3, 0.1, 0.1, math.nan])
    river = water_bodies.basin(sections([4, 4, 4, 1, 1], tp=tp), "river", DAY)
    assert river.main == (("codmn", 60.0), ("tp", 50.0))


def test_a_section_without_a_class_counts_in_nothing_and_is_named():
    columns = sections([1, 1, 1, 1, 1, 1])
    columns["codmn"][0] = columns["nh3n"][0] = math.nan
    river = water_bodies.basin(columns, "river", DAY)
    assert (river.sections, river.unjudged) == (5, 1)
    empty = water_bodies.basin({"codmn": np.array([math.nan])}, "river", DAY)
    assert empty.grade is None
    assert empty.explain().zh == "没有可评价的断面"


@settings(max_examples=40)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.randoms())
def test_the_order_of_sections_changes_nothing(classes, random):
    shuffled = list(classes)
    random.shuffle(shuffled)
    one, two = (water_bodies.basin(sections(c), "river", DAY) for c in (classes, shuffled))
    assert (one.grade, one.klass, one.shares, one.main) == (two.grade, two.klass, two.shares, two.main)


@settings(max_examples=40)
@given(st.lists(st.integers(1, 5), min_size=5, max_size=12), st.integers(0, 4))
def test_a_section_that_becomes_worse_never_betters_the_river(classes, place):
    worse = list(classes)
    worse[place] += 1
    before, after = (water_bodies.basin(sections(c), "river", DAY).grade.grade for c in (classes, worse))
    assert after >= before


# ---- means


def test_means_leave_out_what_is_missing():
    found = water_bodies.means({"tp": np.array([0.1, math.nan, 0.3, -1.0])}, np.array([0, 0, 0, 1]), 2)
    assert found["tp"][0] == pytest.approx(0.2)
    assert math.isnan(found["tp"][1])


def test_ph_is_averaged_as_a_number_or_by_its_hydrogen_ions():
    group = np.zeros(2, np.int64)
    value = {"ph": np.array([6.0, 8.0])}
    assert water_bodies.means(value, group, 1)["ph"][0] == 7.0
    assert water_bodies.means(value, group, 1, Ph.HYDROGEN)["ph"][0] == pytest.approx(-math.log10((1e-6 + 1e-8) / 2))


def test_a_lake_is_averaged_over_time_first_then_over_its_points():
    """Point 0 with 1 and 3, point 1 with 10: (2 + 10) / 2, not the mean of all three."""
    assert water_bodies.lake_means({"tn": np.array([1.0, 3.0, 10.0])}, np.array([0, 0, 1]))["tn"][0] == 6.0


@settings(max_examples=40)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=20), st.integers(1, 19))
def test_splitting_a_period_and_merging_gives_the_same_mean(values, cut):
    values = np.array(values)
    cut = min(cut, len(values) - 1)
    group = (np.arange(len(values)) >= cut).astype(np.int64)
    parts = water_bodies.means({"tp": values}, group, 2)["tp"]
    whole = water_bodies.means({"tp": values}, np.zeros(len(values), np.int64), 1)["tp"][0]
    assert (parts[0] * cut + parts[1] * (len(values) - cut)) / len(values) == pytest.approx(whole)


# ---- trophic level


def lake(**values):
    given = {"chla": 10.0, "tp": 0.05, "tn": 1.0, "sd": 1.0, "codmn": 4.0} | values
    return water_bodies.trophic({k: np.array([v]) for k, v in given.items()}, DAY)


def test_the_trophic_index_by_hand():
    parts = [
        10 * (2.5 + 1.086 * math.log(10)),
        10 * (9.436 + 1.624 * math.log(0.05)),
        10 * 5.453,
        10 * 5.118,
        10 * (0.109 + 2.661 * math.log(4)),
    ]
    weights = [0.2663, 0.1879, 0.179, 0.1834, 0.1834]
    found = lake()
    assert found.parts[:, 0] == pytest.approx(parts)
    assert found.tli[0] == pytest.approx(sum(p * w for p, w in zip(parts, weights, strict=True)))
    assert found.named(0).zh == "中营养"


def at_tli(target):
    """A lake whose index is the target: every part of it."""
    values = {}
    for row in water_bodies.in_force(water_bodies.TrophicItem, DAY):
        values[row.item] = math.exp((target / 10 - row.a) / row.b)
    return lake(**values)


@pytest.mark.parametrize(
    ("target", "zh"),
    [
        (29.9, "贫营养"),
        (30.1, "中营养"),
        (49.9, "中营养"),
        (50.1, "轻度富营养"),
        (60.1, "中度富营养"),
        (70.1, "重度富营养"),
    ],
)
def test_each_trophic_class_begins_at_its_bound(target, zh):
    found = at_tli(target)
    assert found.tli[0] == pytest.approx(target, abs=0.01)
    assert found.named(0).zh == zh


@pytest.mark.parametrize("item", ["chla", "tp", "tn", "sd", "codmn"])
def test_without_one_of_the_five_there_is_no_index_and_the_reason_names_it(item):
    for absent in (math.nan, 0.0):
        found = lake(**{item: absent})
        assert math.isnan(found.tli[0])
        assert found.missing(0) == (item,)
        assert "缺" in found.explain(0).zh


@settings(max_examples=40)
@given(st.sampled_from(["chla", "tp", "tn", "codmn", "sd"]), st.floats(1.01, 5))
def test_more_nutrients_raise_the_index_and_clearer_water_lowers_it(item, factor):
    more = lake(**{item: {"chla": 10.0, "tp": 0.05, "tn": 1.0, "sd": 1.0, "codmn": 4.0}[item] * factor}).tli[0]
    assert (more < lake().tli[0]) == (item == "sd")


# ---- change and trend


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [(3, 3, "无明显变化"), (3, 2, "有所好转"), (2, 3, "有所变差"), (4, 2, "明显好转"), (1, 5, "明显变差")],
)
def test_change_by_grade(before, after, word):
    assert water_bodies.grade_change(before, after, DAY).word.zh == word


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ((60.0, 10.0), (70.0, 10.0), "无明显变化"),  # exactly 10
        ((60.0, 10.0), (70.1, 10.0), "有所好转"),
        ((60.0, 10.0), (75.0, 5.0), "有所好转"),  # exactly 20
        ((60.0, 10.0), (75.1, 5.0), "明显好转"),
        ((70.0, 5.0), (55.0, 15.0), "明显变差"),
        ((70.0, 5.0), (62.0, 10.0), "有所变差"),
    ],
)
def test_change_by_shares(before, after, word):
    found = water_bodies.share_change(before, after, DAY)
    assert found.word.zh == word
    assert [rule.trust for rule in found.rules] == ["unsure", "2"]


def test_a_steady_rise_of_five_years_is_a_trend():
    found = trend.trend(np.array([1.0, 2, 3, 4, 5]), DAY)
    assert (found.rs, found.significant, found.rises) == (1.0, True, True)
    assert "上升趋势显著" in found.explain().zh
    assert found.critical.cite in found.explain().zh


@pytest.mark.parametrize("row", [pytest.param(r, id=r.where) for r in rows(SpearmanCritical) if r.n in (5, 6)])
def test_a_correlation_at_the_critical_value_is_significant_and_the_next_one_is_not(row):
    series = {round(trend.spearman(np.array(p, float)), 3): p for p in itertools.permutations(range(row.n))}
    below = max(rs for rs in series if rs < row.wp05)
    assert trend.trend(np.array(series[row.wp05], float), DAY).significant
    assert not trend.trend(np.array(series[below], float), DAY).significant
    assert trend.trend(np.array(series[-row.wp05], float), DAY).explain().zh.startswith("下降趋势显著")


def test_too_few_periods_have_no_verdict():
    found = trend.trend(np.array([1.0, 2, math.nan, 3, 4]), DAY)
    assert found.significant is None
    assert "4 个时段" in found.explain().zh


def test_a_length_that_is_not_in_the_table_has_no_verdict():
    found = trend.trend(np.arange(11.0), DAY)
    assert found.significant is None
    assert "N=11" in found.explain().zh


def test_an_unverified_critical_value_is_marked():
    assert "未核" in trend.trend(np.arange(12.0), DAY).explain().zh


def test_equal_values_share_the_mean_of_their_ranks():
    assert trend.ranks(np.array([3.0, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]


# ---- the rest of the year


def test_what_the_rest_of_the_year_must_average():
    """Eight months at 0.22 mg/L: the last four must stay at (12·0.2 − 8·0.22)/4 = 0.16."""
    found = water_bodies.needed("tp", np.array([0.22]), np.array([8]), np.array([4]), 3, "river", DAY)
    assert found.average[0] == pytest.approx(0.16)
    assert "剩余时段平均不高于 0.16" in found.explain(0, 3).zh


def test_a_target_out_of_reach_says_so():
    found = water_bodies.needed("tp", np.array([0.5]), np.array([11]), np.array([1]), 3, "river", DAY)
    assert not found.reachable[0]
    assert "已不能达到Ⅲ类" in found.explain(0, 3).zh


def test_oxygen_must_be_at_least_and_nothing_left_has_no_answer():
    found = water_bodies.needed("do", np.array([4.0, 6.0]), np.array([6, 12]), np.array([6, 0]), 3, "river", DAY)
    assert found.average[0] == pytest.approx(6.0)
    assert "不低于 6" in found.explain(0, 3).zh
    assert math.isnan(found.average[1])
    with pytest.raises(ValueError, match="pH"):
        water_bodies.needed("ph", np.array([7.0]), np.array([1]), np.array([1]), 3, "river", DAY)


@settings(max_examples=60)
@given(st.sampled_from(["tp", "codmn", "do"]), st.floats(0, 30), st.integers(1, 11))
def test_a_year_that_keeps_to_the_answer_just_meets_its_target(item, mean, months):
    found = water_bodies.needed(item, np.array([mean]), np.array([months]), np.array([12 - months]), 3, "river", DAY)
    year = (mean * months + found.average[0] * (12 - months)) / 12
    assert year == pytest.approx(water.limit(item, "river", DAY).classes[2], abs=1e-9)


# ---- manual and automatic


def test_automatic_values_count_for_the_six_items_and_both_stay_visible():
    found = water_bodies.fuse("tp", np.array([0.1, 0.1, math.nan]), np.array([0.15, math.nan, 0.2]), "river", DAY)
    assert found.value.tolist() == [0.15, 0.1, 0.2]
    assert found.automatic.tolist() == [True, False, True]
    assert found.deviation[0] == pytest.approx(0.5)
    assert found.apart.tolist() == [True, False, False]  # 0.1 is class II, 0.15 class III


def test_other_items_and_older_samples_keep_the_manual_value():
    both = np.array([15.0]), np.array([25.0])
    assert water_bodies.fuse("cod", *both, "river", DAY).value[0] == 15.0
    assert water_bodies.fuse("codmn", *both, "river", date(2019, 6, 1)).value[0] == 15.0
    assert water_bodies.fuse("codmn", *both, "river", DAY).value[0] == 25.0


# ---- city index


def city(n_rivers, n_lakes, **values):
    n = n_rivers + n_lakes
    columns = {k: np.full(n, float(v)) for k, v in (CLEAN | {"ph": 7.0} | values).items()}
    return columns, np.arange(n) >= n_rivers


@pytest.mark.parametrize(("ph", "index"), [(7.0, 0.0), (6.0, 1.0), (6.5, 0.5), (9.0, 1.0), (8.0, 0.5), (5.0, 2.0)])
def test_the_index_of_ph_is_its_distance_from_seven(ph, index):
    assert water_index.item_index("ph", np.array([ph]), "river", DAY)[0] == pytest.approx(index)


def test_item_indices_by_hand():
    assert water_index.item_index("do", np.array([10.0]), "river", DAY)[0] == 0.5
    assert water_index.item_index("codmn", np.array([3.0]), "river", DAY)[0] == 0.5
    assert water_index.item_index("tp", np.array([0.1]), "river", DAY)[0] == 0.5
    assert water_index.item_index("tp", np.array([0.1]), "lake", DAY)[0] == 2.0
    assert math.isnan(water_index.item_index("tp", np.array([math.nan]), "lake", DAY)[0])


def test_a_city_is_weighted_by_its_sections():
    columns, lake = city(3, 1)
    found = water_index.cwqi(columns, lake, DAY)
    assert found.index == pytest.approx((3 * found.river + found.lake) / 4)
    assert found.lake - found.river == pytest.approx(0.02 / 0.05 - 0.02 / 0.2)  # phosphorus by the limit of lakes
    assert found.missing == ()
    assert "未核对原文" in found.explain().zh


def test_missing_items_are_left_out_and_named():
    columns, lake = city(2, 0)
    whole = water_index.cwqi(columns, lake, DAY)
    part = water_index.cwqi({k: v for k, v in columns.items() if k != "hg"}, lake, DAY)
    assert part.index == pytest.approx(whole.index - 0.00005 / 0.0001)
    assert part.missing == ("hg",)
    assert "汞" in part.explain().zh


def test_change_is_negative_when_better_and_leaves_out_clean_cities():
    found = water_index.change(np.array([4.5, 5.5, 1.0]), np.array([5.0, 5.0, 2.0]), np.array([False, False, True]))
    assert found[:2] == pytest.approx([-0.1, 0.1])
    assert math.isnan(found[2])


@settings(max_examples=30)
@given(st.sampled_from([i for i in water.SECTION_ITEMS if i not in ("ph", "do")]), st.floats(1.1, 4))
def test_more_of_a_pollutant_raises_the_index(item, factor):
    columns, lake = city(2, 1)
    more = dict(columns) | {item: columns[item] * factor}
    assert water_index.cwqi(more, lake, DAY).index > water_index.cwqi(columns, lake, DAY).index


# ---- drinking-water sources


def test_a_source_passes_at_class_iii_and_by_tables_2_and_3():
    columns = {"nh3n": np.array([1.0, 1.01, 0.5]), "铁": np.array([0.3, 0.3, 0.31]), "苯": np.array([0.01, 0.01, 0.01])}
    found = water_sources.source(columns, "river", DAY)
    assert found.passes.tolist() == [True, False, False]
    assert [found.over(k) for k in range(3)] == [(), ("nh3n",), ("铁",)]
    assert found.explain(1).zh == "不达标：氨氮(0.01)（GB 3838-2002 4.2、5）"


def test_coliform_and_in_lakes_total_nitrogen_are_judged_apart():
    columns = {"nh3n": np.array([0.5]), "coliform": np.array([20000.0]), "tn": np.array([2.5])}
    lake = water_sources.source(columns, "lake", DAY)
    assert lake.passes[0]
    assert lake.over(0, apart=True) == ("coliform", "tn")
    assert "单独评价超标" in lake.explain(0).zh


def test_a_groundwater_source_is_judged_by_gb_14848():
    found = water_sources.source({"nh3n": np.array([0.5, 0.51])}, "groundwater", DAY)
    assert found.passes.tolist() == [True, False]


def test_an_unknown_item_is_refused_and_an_empty_sample_has_no_verdict():
    with pytest.raises(LookupError, match="plutonium"):
        water_sources.source({"plutonium": np.array([1.0])}, "river", DAY)
    empty = water_sources.source({"nh3n": np.array([math.nan])}, "river", DAY)
    assert not empty.known[0]
    assert not empty.passes[0]


def test_rates_by_number_and_by_volume():
    passes, known = np.array([True, False, False]), np.array([True, True, False])
    assert water_sources.rates(passes, known, np.array([300.0, 100.0, 50.0])) == (50.0, 75.0)
    assert math.isnan(water_sources.rates(passes, known, np.array([300.0, math.nan, 50.0]))[1])
    assert math.isnan(water_sources.rates(passes, np.zeros(3, bool), np.ones(3))[0])
