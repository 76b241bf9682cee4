"""`ceguan evaluate` for sections, rivers, lakes, cities, groundwater and soil: columns, units, law, what is wrong."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ceguan.cli import main
from ceguan.evaluate.items import amounts
from ceguan.evaluate.table import Table
from ceguan.standards.tables import (
    AgriculturalSoil,
    ConstructionSoil,
    GroundwaterLimit,
    SeawaterLimit,
    WaterLimit,
)
from ceguan.standards.tables import rows as rows_of

SECTION = """section,river,time,氨氮(mg/L),CODMn,总磷,ph,do_mgL,铅_ugL,tn
甲,东河,2026-01-05,0.5,3,0.1,7.2,8,5,2
甲,东河,2026-02-05,1.9,9,0.1,7.2,8,<10,2
乙,东河,2026-01-05,0.1L,3,0.1,7.2,8,60,2
"""


def test_headings_are_keys_names_and_units_and_the_mean_of_the_period_is_judged(judge):
    code, rows, err = judge("surface-water-section", SECTION)
    assert (code, err) == (0, "")
    first, second = rows
    assert (first["section"], first["samples"], first["class"], first["grade"], first["colour"]) == (
        "甲", "2", "Ⅳ", "轻度污染", "黄色",
    )  # fmt: skip
    assert first["main_items"] == "氨氮(0.2)"
    assert first["reason"] == "Ⅳ类：氨氮 1.2 mg/L 超过Ⅲ类限值 1（GB 3838-2002 表1）"
    assert second["main_items"] == "铅(0.2)"  # 60 μg/L against 0.05 mg/L
    assert "化学需氧量" in first["missing"]
    assert first["total_nitrogen"] == "", "the table has no total nitrogen for rivers"


def test_a_mean_or_a_unit_that_meets_its_limit_to_the_digit_is_not_over_it(judge):
    """0.1, 0.2 and 0.3 average 0.2; 700 µg/L are 0.7 mg/L: in binary both would come out a hair above."""
    samples = "section,time,tp\nA,2026-01-05,0.1\nA,2026-02-05,0.2\nA,2026-03-05,0.3\n"
    assert judge("surface-water-section", samples)[1][0]["class"] == "Ⅲ"
    source = "source,kind,甲苯(µg/L),钡(µg/L)\nA,river,700,700\n"
    assert judge("drinking-water", source)[1][0]["verdict"] == "达标"


def test_below_detection_counts_half(judge):
    rows = judge("surface-water-section", SECTION, "--period", "month")[1]
    by_name = {(r["section"], r["period"]): r for r in rows}
    assert set(by_name) == {("甲", "2026-01"), ("甲", "2026-02"), ("乙", "2026-01")}
    _, rows, _ = judge("surface-water-section", "section,nh3n\nA,0.32L\nB,0.28L\n")
    assert [r["class"] for r in rows] == ["Ⅱ", "Ⅰ"]  # 0.16 and 0.14 against 0.15


def test_a_river_of_few_sections_by_means_and_of_many_by_shares(judge):
    _, [river], _ = judge("surface-water-section", SECTION, "--by", "river")
    assert (river["method"], river["class"], river["sections"]) == ("断面均值", "Ⅲ", "2")
    assert river["main_items"] == "甲：氨氮(0.2)；乙：铅(0.2)"
    many = "section,basin,nh3n\n" + "".join(f"S{i},北江,{1.8 if i < 2 else 0.1}\n" for i in range(10))
    _, [basin], _ = judge("surface-water-section", many, "--by", "basin")
    assert (basin["method"], basin["grade"], basin["share_1_3"], basin["main_items"]) == (
        "类别比例", "良好", "80", "氨氮(20.0%)",
    )  # fmt: skip


def test_a_lake_is_judged_by_its_points_with_total_nitrogen_apart(judge):
    text = "lake,section,nh3n,tp,tn\nL,1,0.1,0.04,1.2\nL,1,0.1,0.02,1.2\nL,2,0.1,0.09,1.2\n"
    _, [lake], _ = judge("surface-water-section", text, "--by", "lake")
    assert (lake["class"], lake["main_items"], lake["total_nitrogen"]) == ("Ⅳ", "总磷(0.2)", "Ⅳ")  # (0.03 + 0.09) / 2


def test_ph_may_be_averaged_by_its_hydrogen_ions(judge):
    text = "section,ph\nA,5.0\nA,7.4\n"
    assert judge("surface-water-section", text)[1][0]["class"] == "Ⅰ"  # 6.2
    assert judge("surface-water-section", text, "--ph", "hydrogen")[1][0]["class"] == "劣Ⅴ"  # 5.3


@pytest.mark.parametrize("kind", [WaterLimit, GroundwaterLimit, SeawaterLimit, AgriculturalSoil, ConstructionSoil])
def test_each_name_of_each_item_is_found_and_is_that_item_alone(kind):
    known = [(row.item, row.name, row.unit) for row in rows_of(kind)]
    for item, name, _ in known:
        for heading in (item, name):
            assert list(amounts(Table("t", {heading: 0}, [], []), known).values) == [item]


def test_a_misspelt_item_is_said_and_not_passed_over(judge):
    _, _, err = judge("surface-water-section", "section,nh3n,氨气\nA,0.1,9\n")
    assert "氨气" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "text", "options", "says"),
    [
        ("surface-water-section", "section,nh3n\nA,0.1\nB,x\n", (), ["第 3 行", "列 nh3n"]),
        ("surface-water-section", "section,nh3n_kgm3\nA,0.1\n", (), ["列 nh3n_kgm3", "kg/m3"]),
        ("surface-water-section", "section,nh3n,氨氮\nA,0.1,0.1\n", (), ["nh3n", "氨氮", "同一项目"]),
        ("surface-water-section", "section,name\nA,B\n", (), ["没有一列"]),
        ("surface-water-section", "nh3n\n0.1\n", (), ["缺少列", "section"]),
        ("surface-water-section", "section,nh3n\nA,0.1\n", ("--period", "year"), ["时间列"]),
        ("surface-water-section", "section,nh3n\nA,0.1\n", ("--by", "river"), ["缺少列", "river"]),
        ("surface-water-section", "section,nh3n,waterbody\nA,0.1,sea\n", (), ["第 2 行", "waterbody"]),
        ("surface-water-section", "section,nh3n,waterbody\nA,1,river\nA,1,lake\n", (), ["既有河流又有湖库"]),
        ("surface-water-section", "section,nh3n,time\nA,1,2001-01-01\n", (), ["surface_water.csv", "2001-01-01"]),
        ("water-trend", "section,nh3n,time\nA,1,2001-01-01\n", (), ["2001-01-01", "--as-if"]),
        ("water-target", "section,nh3n\nA,1\n", (), ["时间列"]),
        ("water-fusion", "section,nh3n,source\nA,1,lab\n", (), ["第 2 行", "source"]),
        ("drinking-water", "source,kind,nh3n\nA,sea,1\n", (), ["第 2 行", "kind"]),
        ("tli", "lake,x\nA,1\n", (), ["chla"]),
        ("tli", "lake,date,chla,tp\nA,2010-05-01,1,1\n", (), ["lake_tli.csv", "2010-05-01", "--as-if"]),
        ("soil", "cd,land,x\n1,3,5\n", ("--land-use", "construction"), ["第 2 行", "land"]),
        ("cwqi", "city,section,nh3n\nA,1,1\n", ("--base", "2025"), ["基准时段 2025"]),
        ("groundwater", "well\nA\n", (), ["没有一列"]),
        ("groundwater", "well,fe,date\nA,1,2017-05-01\n", (), ["groundwater.csv", "2017-05-01"]),
        ("soil", "cd\n1\n", ("--land-use", "agricultural"), ["缺少列", "ph"]),
        ("soil", "cd,land\n1,3\n", ("--land-use", "construction"), ["第 2 行", "land"]),
    ],
)
def test_a_fault_is_one_line_that_says_where(judge, verb, text, options, says):
    code, rows, err = judge(verb, text, *options)
    assert (code, rows) == (2, [])
    assert err.count("\n") == 1, err
    assert all(part in err for part in says), err


def test_the_edition_may_be_asked_for(judge):
    old = "section,time,ph,do_mgL,codmn_mgL,nh3n_mgL,tp_mgL,waterbody\nA,2001-01-01 08:00,7,8,1,0.1,0.01,river\n"
    assert judge("surface-water", old)[1][0]["edition"] == ""
    for asked in (("--edition", "2002"), ("--as-if", "2026-01-01")):
        assert judge("surface-water", old, *asked)[1][0]["edition"] == "GB 3838-2002"
    ground = "well,fe,date\nA,0.2,2017-05-01\n"
    assert judge("groundwater", ground, "--edition", "2017")[1][0]["class"] == "Ⅱ"


def test_the_trophic_index_takes_chlorophyll_in_any_unit_and_names_what_is_missing(judge):
    items = "lake,chla{unit},tp,tn,codmn,sd\nL,{chla},0.05,1,4,1\n"
    said = [
        judge("tli", items.format(unit=unit, chla=chla))[1][0]["tli"]
        for unit, chla in (("", 10), ("_ugL", 10), ("(mg/L)", 0.01), ("（mg/m³）", 10))
    ]
    assert len(set(said)) == 1
    _, [row], _ = judge("tli", "lake,chla,tp,tn,codmn,sd\nL,10,,1,4,1\n")
    assert (row["tli"], row["state"], row["reason"]) == ("NA", "", "缺总磷，不评价")


CITIES = """city,section,time,waterbody,nh3n,codmn,target_class
甲市,1,2025-05-01,河流,1,6,3
甲市,1,2026-05-01,河流,0.5,3,3
乙市,1,2025-05-01,river,0.1,1,2
乙市,1,2026-05-01,river,0.2,1,2
丙市,1,2026-05-01,lake,0.5,3,3
"""


def test_cities_are_ranked_with_equals_sharing_a_rank(judge):
    rows = judge("cwqi", CITIES, "--period", "year")[1]
    now = {r["city"]: r for r in rows if r["period"] == "2026"}
    assert [(now[c]["cwqi"], now[c]["rank"]) for c in ("乙市", "甲市", "丙市")] == [
        (now["乙市"]["cwqi"], "1"), ("1", "2"), ("1", "2"),
    ]  # fmt: skip
    assert now["甲市"]["trust"] == "unsure"
    assert now["丙市"]["cwqi_lake"] == "1"
    assert "汞" in now["甲市"]["missing"]


def test_means_of_named_periods_are_parted_by_their_names(judge):
    text = "city,section,period,nh3n\n甲市,1,2025,1\n甲市,1,2026-Q1,0.5\n乙市,1,2026-Q1,0.2\n"
    rows = judge("cwqi", text)[1]
    assert [(r["city"], r["period"], r["cwqi"], r["rank"]) for r in rows] == [
        ("甲市", "2025", "1", "1"), ("甲市", "2026-Q1", "0.5", "2"), ("乙市", "2026-Q1", "0.2", "1"),
    ]  # fmt: skip
    assert "第 2 行，列 period" in judge("cwqi", "city,section,period,nh3n\n甲市,1,去年,1\n")[2]


def test_change_against_a_base_leaves_out_clean_cities_and_those_without_a_base(judge):
    rows = judge("cwqi", CITIES, "--period", "year", "--base", "2025")[1]
    now = {r["city"]: (r["change"], r["change_rank"]) for r in rows if r["period"] == "2026"}
    assert now == {"甲市": ("-0.5", "1"), "乙市": ("NA", "NA"), "丙市": ("NA", "NA")}


def test_groundwater_by_item_with_units_detection_limits_and_words(judge):
    text = (
        "well,氨氮,苯_mgL,嗅和味,阴离子表面活性剂\nW1,0.6,0.005,无,\nW2,0.01,,有,\nW3,,,,0.05L\nW4,,,,0.025\nW5,,,,\n"
    )
    rows = judge("groundwater", text)[1]
    assert [(r["well"], r["class"], r["worst_items"]) for r in rows] == [
        ("W1", "Ⅳ", "氨氮"), ("W2", "Ⅴ", "嗅和味"), ("W3", "Ⅰ", ""), ("W4", "Ⅱ", "阴离子表面活性剂"), ("W5", "NA", ""),
    ]  # fmt: skip
    assert (rows[0]["edition"], rows[0]["missing"]) == ("GB/T 14848-2017", "阴离子表面活性剂")
    assert "各项均缺测" in rows[4]["reason"]


def test_sea_water_by_its_four_classes_with_the_trust_of_its_limits(judge):
    rows = judge("seawater", "station,无机氮,汞_ugL,ph\nA,0.2,0.05,8.0\nB,0.51,0.05,8.0\nC,,,6.9\n")[1]
    assert [(r["class"], r["trust"]) for r in rows] == [("第一类", "1"), ("劣四类", "1"), ("第三类", "1")]


def test_soil_of_farmland_and_of_building_land(judge):
    farm = "plot,ph,land,镉,cu\nP1,5.5,水田,0.3,50\nP2,7,果园,0.35,150\nP3,5,,1.6,\n"
    rows = judge("soil", farm, "--land-use", "agricultural")[1]
    assert [r["verdict"] for r in rows] == ["低于筛选值", "介于筛选值和管制值之间", "高于管制值"]
    building = "plot,land,as,六价铬,苯并（a）芘,石油烃\nP1,1,20,3,0.55,826\nP2,第二类,61,5.7,1.5,9\nP3,1,,31,,\n"
    rows = judge("soil", building, "--land-use", "construction")[1]
    assert [(r["verdict"], r["worst_items"]) for r in rows] == [
        ("低于筛选值", ""), ("介于筛选值和管制值之间", "砷"), ("高于管制值", "铬(六价)"),
    ]  # fmt: skip


def test_parquet_goes_in_and_comes_out(tmp_path):
    pq.write_table(pa.table({"well": ["A"], "nh3n": [0.6]}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    assert main(["evaluate", "groundwater", str(tmp_path / "in.parquet"), "-o", str(out)]) == 0
    assert pq.read_table(out).select(["well", "class", "items"]).to_pylist() == [
        {"well": "A", "class": "Ⅳ", "items": 1.0}
    ]


# ---- one period against another, over years, within a year


def test_change_by_grade_and_by_shares_against_a_base(judge):
    _, rows, _ = judge("surface-water-section", SECTION, "--period", "month", "--base", "2026-01")
    now = next(r for r in rows if r["period"] == "2026-02")
    assert (now["section"], now["change"], now["change_by_shares"]) == ("甲", "明显变差", "NA")  # Ⅱ to Ⅴ
    lines = [
        f"S{i},北江,{year}-05-01,{2.5 if i < bad else 0.1}\n" for year, bad in ((2025, 3), (2026, 1)) for i in range(10)
    ]
    text = "section,basin,time,nh3n\n" + "".join(lines)
    _, rows, _ = judge("surface-water-section", text, "--by", "basin", "--period", "year", "--base", "2025")
    assert [(r["period"], r["change"], r["change_by_shares"]) for r in rows] == [
        ("2025", "NA", "NA"), ("2026", "明显好转", "明显好转"),
    ]  # fmt: skip


def test_the_trend_of_five_years(judge):
    text = "section,time,nh3n,codmn\n" + "".join(
        f"A,{2021 + k}-06-01,{0.1 + k / 10},{v}\n" for k, v in enumerate("32123")
    )
    rows = {r["item"]: r for r in judge("water-trend", text)[1]}
    assert (rows["氨氮"]["rs"], rows["氨氮"]["trend"], rows["氨氮"]["periods"], rows["氨氮"]["wp"]) == (
        "1",
        "上升",
        "5",
        "0.9",
    )
    assert rows["高锰酸盐指数"]["trend"] == "无显著趋势"
    assert rows["氨氮"]["trust"] == "unsure", "that five periods are the least was not read in the text"
    _, [short], _ = judge("water-trend", "section,time,nh3n\nA,2021-06-01,1\nA,2022-06-01,2\n")
    assert short["trend"] == "NA"
    assert "至少要 5 个" in short["reason"]


def test_what_the_rest_of_the_year_must_average(judge):
    """January and February at 0.3, March at 0.1: (12·0.2 − 0.7)/9; two samples of a month are one month."""
    text = "section,time,tp,ph\nA,2026-01-05,0.2,7\nA,2026-01-20,0.4,7\nA,2026-02-05,0.3,7\nA,2026-03-05,0.1,7\n"
    code, [row], _ = judge("water-target", text)
    assert code == 0
    assert (row["item"], row["target"], row["months"], row["months_left"]) == ("总磷", "Ⅲ", "3", "9")
    assert float(row["mean"]) == pytest.approx(0.7 / 3, abs=1e-6)
    assert float(row["needed"]) == pytest.approx((12 * 0.2 - 0.7) / 9, abs=1e-6)
    assert row["reachable"] == "是"
    assert judge("water-target", text, "--target", "1")[1][0]["reachable"] == "否"


def test_manual_and_automatic_are_both_shown_and_apart_where_their_classes_differ(judge):
    text = "section,time,source,codmn,cod\nA,2026-05-02,手工,3,15\nA,2026-05-01,自动,4.5,\nA,2026-05-02,自动,4.1,\n"
    rows = {r["item"]: r for r in judge("water-fusion", text)[1]}
    index = rows["高锰酸盐指数"]
    assert (index["manual"], index["automatic"], index["used"], index["value"]) == ("3", "4.3", "自动", "4.3")
    assert (index["class_manual"], index["class_automatic"], index["apart"]) == ("Ⅱ", "Ⅲ", "是")
    assert float(index["deviation_pct"]) == pytest.approx(43.3333)
    assert (rows["化学需氧量"]["used"], rows["化学需氧量"]["class_automatic"]) == ("手工", "NA")


def test_drinking_water_sources_pass_by_their_kind_and_the_rates_are_said(judge):
    text = (
        "source,kind,volume,nh3n,铁,tn,粪大肠菌群\n一,河流,300,1.0,0.3,9,50000\n二,湖库,100,0.5,0.45,0.5,10\n"
        "三,地下水,100,0.6,0.1,,\n四,河流,50,,,,\n"
    )
    code, rows, err = judge("drinking-water", text)
    assert code == 0
    assert [(r["source"], r["verdict"], r["over"], r["over_apart"]) for r in rows] == [
        ("一", "达标", "", "粪大肠菌群(4.0)"), ("二", "不达标", "铁(0.5)", ""), ("三", "不达标", "氨氮(0.2)", ""),
        ("四", "NA", "", ""),
    ]  # fmt: skip
    assert "可评价 3 个，达标 1 个，达标率 33.3%；取水量达标率 60.0%" in err
