"""`ceguan evaluate eqi`, `river-life`, `radiation`."""

from __future__ import annotations

import pytest


def test_ecological_quality_with_its_class_and_change_is_marked_unsure(judge):
    text = "region,pattern,function,diversity,stress,eqi_before\n甲,70,70,70,30,68.5\n乙,50,,60,30,\n"
    first, second = judge("eqi", text)[1]
    assert (first["eqi"], first["class"], first["change"], first["change_word"], first["trust"]) == (
        "70.00", "一类", "1.50", "轻微变好", "unsure",
    )  # fmt: skip
    assert (second["class"], second["reason"]) == ("NA", "缺生态功能指数，不评价")


def test_river_life_gathers_counts_by_sample_and_taxon(judge):
    text = "sample,taxon,count,order,score\n一,扁蜉,2,蜉蝣目,10\n一,摇蚊,2,双翅目,2\n一,扁蜉,2,,\n二,摇蚊,1,,\n"
    first, second = judge("river-life", text)[1]
    assert (first["individuals"], first["taxa"], first["ept"], first["berger_parker"]) == ("6", "2", "1", "0.6667")
    assert (first["bmwp"], first["aspt"], first["biotic"]) == ("12.00", "6.00", "NA")
    assert (second["shannon"], second["pielou"]) == ("0.0000", "NA")


def test_dose_rates_are_stated_against_the_place_and_acquisition_is_counted(judge):
    text = "time,dose_rate,place\n2026-01-01 01:00,88.9,北京\n2026-01-01 02:00,89,北京\n2026-01-01 03:00,NA,北京\n"
    rows = judge("radiation", text)[1]
    assert [r["statement"] for r in rows] == ["在当地天然本底范围内", "高于当地天然本底范围，需查明原因", "无数据"]
    assert (rows[1]["high"], rows[1]["trust"]) == ("88.9", "1")
    assert rows[1]["reason"].startswith("89 nGy/h，差 0.1：")
    (rate,) = judge("radiation", text, "--rate", "month")[1]
    assert (rate["due"], rate["received"], rate["acquisition"]) == ("24", "2", "8.33")


@pytest.mark.parametrize(
    ("verb", "text", "options", "says"),
    [
        ("eqi", "pattern,function,diversity\n1,1,1\n", (), ["stress"]),
        ("eqi", "pattern,function,diversity,stress,date\n1,1,1,1,2020-01-01\n", (), ["--as-if"]),
        ("river-life", "sample,taxon,count\n一,蜉,多\n", (), ["第 2 行", "count"]),
        ("river-life", "sample,taxon,count,score\n一,蜉,1,高\n", (), ["第 2 行", "score"]),
        ("radiation", "time,dose_rate\n2026-01-01 01:00,1\n", ("--place", "月球"), ["第 2 行", "月球", "北京"]),
    ],
)
def test_a_fault_is_one_line_that_says_where(judge, verb, text, options, says):
    code, rows, err = judge(verb, text, *options)
    assert (code, rows, err.count("\n")) == (2, [], 1)
    assert all(word in err for word in says), err
