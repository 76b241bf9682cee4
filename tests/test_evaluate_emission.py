"""`ceguan evaluate` for pollution sources: limits, stack heights, amounts, transmission, incinerators; faults."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ceguan.cli import main

BOILER = ("--standard", "GB 13271", "--category", "新建 燃煤锅炉", "--label", "start")
PLANT = ("--standard", "GB 18918", "--category", "城镇污水处理厂 一级A标准", "--label", "start")


def test_an_hour_of_flue_gas_is_converted_compared_and_explained(judge):
    text = (
        "time,outlet,item,value,o2,flag\n2026-05-01 00:00,一,二氧化硫,150,15,N\n2026-05-01 01:00,一,二氧化硫,151,15,N\n"
        "2026-05-01 02:00,一,二氧化硫,150,,N\n2026-05-01 03:00,一,二氧化硫,30,9,D\n"
    )
    code, rows, err = judge("emission", text, *BOILER)
    assert (code, err) == (0, "")
    assert [(r["time"][-5:], r["judged"], r["verdict"]) for r in rows] == [
        ("00:00", "300", "达标"), ("01:00", "302", "超标"), ("02:00", "NA", "未评价"), ("03:00", "NA", "未评价"),
    ]  # fmt: skip
    assert (rows[1]["limit"], rows[1]["multiple"], rows[1]["edition"], rows[1]["trust"]) == (
        "300", "0.00666667", "GB 13271-2014", "P",
    )  # fmt: skip
    assert "GB 13271-2014 表2 新建 燃煤锅炉" in rows[1]["reason"]
    assert "设备标记为D" in rows[3]["reason"]


def test_a_day_of_wastewater_is_weighted_by_flow_and_named_by_code_too(judge):
    """(100·23 + 20·1) / 24 = 96.67 mg/L."""
    text = "time,item,value,flow\n2026-05-01 00:00,w01018,100,23\n2026-05-01 01:00,w01018,20,1\n"
    (row,) = judge("emission", text, *PLANT)[1]
    assert (row["time"], row["averaging"], row["hours"], row["judged"]) == ("2026-05-01", "24h", "2", "96.6667")
    assert (row["verdict"], row["trust"]) == ("超标", "1"), "how many hours a day needs has one source"


def test_a_day_of_flue_gas_with_few_hours_is_not_judged_but_its_hours_are(judge):
    text = "time,item,value,zs\n" + "".join(f"2026-05-01 {h:02d}:00,颗粒物,10,25\n" for h in range(19))
    options = ("--standard", "GB 18484", "--category", "危险废物焚烧设施", "--label", "start")
    rows = judge("emission", text, *options)[1]
    assert {r["verdict"] for r in rows if r["averaging"] == "1h"} == {"达标"}
    (day,) = (r for r in rows if r["averaging"] == "24h")
    assert (day["verdict"], "少于20" in day["reason"]) == ("未评价", True)


def test_hours_of_starting_an_incinerator_are_not_judged_and_say_so(judge):
    """GB 18484-2020 7.2."""
    text = "time,item,value,zs,state\n2026-05-01 00:00,颗粒物,10,90,启炉\n2026-05-01 01:00,颗粒物,10,90,正常运行\n"
    options = ("--standard", "GB 18484", "--category", "危险废物焚烧设施", "--averaging", "1h", "--label", "start")
    first, second = judge("emission", text, *options)[1]
    assert (first["verdict"], second["verdict"]) == ("未评价", "超标")
    assert "标记为启炉" in first["reason"]
    boiler = judge("emission", text, *BOILER)[1]
    assert {r["verdict"] for r in boiler} == {"超标"}, "a boiler has no such exemption"


def test_means_without_a_time_are_compared_as_they_are_with_every_limit_of_the_item(judge):
    text = "item,value,standard,category\n颗粒物,25,GB 18484,危险废物焚烧设施\n烷基汞,0,GB 8978,{}\n"
    text = text.format("第一类污染物 车间或车间处理设施排放口")
    rows = judge("emission", text)[1]
    assert [(r["averaging"], r["verdict"]) for r in rows] == [("1h", "达标"), ("24h", "超标"), ("24h", "达标")]


def test_the_law_of_the_day_measured_holds_unless_another_is_asked_for(judge):
    text = "item,value,date\n颗粒物,25,2014-06-30\n"
    options = ("--standard", "GB 13271-2014", "--category", "新建 燃煤锅炉")
    assert judge("emission", text, *options)[0] == 2
    assert judge("emission", text, *options, "--as-if", "2020-01-01")[1][0]["verdict"] == "达标"


def test_rates_by_height_go_from_parquet_to_parquet(tmp_path):
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"item": ["二氧化硫"] * 2, "height": [18.0, 12.0], "rate": [3.62, 0.5]}), source)
    assert main(["evaluate", "emission-rate", str(source), "-o", str(out)]) == 0
    rows = pq.read_table(out).to_pylist()
    assert [(r["limit"], r["verdict"]) for r in rows] == [(3.62, "达标"), (0.832, "达标")]


def a_quarter(gap, flag="N", hours=48):
    lines = ["time,value,flow,flag,cause\n"]
    for h in range(hours):
        day = f"2026-05-{1 + h // 24:02d} {h % 24:02d}:00"
        lines.append(f"{day},{50 if h % 2 else 100},20000,{'D' if h in gap else flag},\n")
    return "".join(lines)


def test_an_amount_is_what_was_measured_and_what_stood_in(judge):
    """24 · 1 kg and 24 · 2 kg a pair of days; hour 40 (2 kg) is invalid and takes the largest before it, 2 kg."""
    (row,) = judge("emission-amount", a_quarter({40}), "--label", "start")[1]
    assert (row["period"], row["measured_kg"], row["substituted_kg"], row["total_kg"]) == ("2026-05", "70", "2", "72")
    assert (row["trust"], row["edition"]) == ("1", "HJ 75-2017")
    days = judge("emission-amount", a_quarter({40}), "--label", "start", "--period", "day")[1]
    assert [d["total_kg"] for d in days] == ["36", "36"]


def test_below_75_percent_capture_there_is_no_total(judge):
    (row,) = judge("emission-amount", a_quarter(range(20, 48)), "--label", "start")[1]
    assert (row["total_kg"], row["missing"], row["trust"]) == ("NA", "28", "unsure")
    assert "不给出合计" in row["reason"]


def test_hours_the_file_does_not_have_are_missing_and_stopped_ones_are_not(judge):
    text = "".join(line for i, line in enumerate(a_quarter(()).splitlines(keepends=True)) if i != 7)
    (row,) = judge("emission-amount", text, "--label", "start")[1]
    assert (row["hours"], row["missing"], row["substituted_kg"]) == ("48", "0", "2")
    (row,) = judge("emission-amount", a_quarter((), "F"), "--label", "start")[1]
    assert (row["stopped"], row["total_kg"], row["capture"]) == ("48", "0", "NA")


def test_water_is_filled_by_concentration_and_flow(judge):
    text = "time,value,flow\n2026-05-01 00:00,50,20\n2026-05-01 01:00,NA,20\n"
    text += "".join(f"2026-05-01 {h:02d}:00,50,20\n" for h in range(2, 24))
    (row,) = judge("emission-amount", text, "--label", "start", "--medium", "water")[1]
    assert (row["measured_kg"], row["substituted_kg"], row["total_kg"]) == ("23", "1", "24")


def test_effective_transmission_by_hours_and_days_at_once_and_in_the_end(judge):
    lines = ["time,value,flag,received\n"]
    for h in range(24):
        if h != 5:
            late = "2026-05-02 09:00" if h == 9 else f"2026-05-01 {h:02d}:59"
            lines.append(f"2026-05-01 {h:02d}:00,1,{'F' if h > 19 else 'D' if h == 7 else 'N'},{late}\n")
    options = ("--label", "start", "--within", "2", "--period", "day")
    rows = {(r["group"], r["kind"]): r for r in judge("effective-transmission", "".join(lines), *options)[1]}
    done, live = rows["小时", "补全"], rows["小时", "即时"]
    assert [done[k] for k in ("due", "received", "valid_due", "valid")] == ["20", "19", "20", "18"]
    assert (done["transmission"], done["validity"], done["effective"]) == ("95", "90", "85.5")
    assert (live["received"], live["valid"], live["effective"]) == ("18", "17", "76.5")
    assert rows["日", "补全"]["valid"] == "0", "18 valid hours are fewer than 20"


def test_a_furnace_is_counted_by_year_and_by_day(judge):
    lines = ["time,furnace,temperature,state,particulate\n"]
    for k in range(288):
        state = "启炉" if k >= 276 else ""
        lines.append(f"2026-05-01 {k // 12:02d}:{k % 12 * 5:02d},1#,{1099 if k < 6 else 1120},{state},\n")
    rows = {r["quantity"]: r for r in judge("incinerator", "".join(lines), "--industry", "hazardous")[1]}
    assert (rows["hours"]["value"], rows["hours"]["verdict"]) == ("1", "符合")
    assert (rows["low_means"]["value"], rows["low_means"]["verdict"], rows["low_means"]["trust"]) == (
        "6",
        "不符合",
        "P",
    )
    assert rows["particulate"]["verdict"] == "未评价"


@pytest.mark.parametrize(
    ("verb", "text", "options", "says"),
    [
        ("emission", "item,value\n颗粒物,1\n", (), ["--standard"]),
        ("emission", "item,value\n颗粒物,1\n", ("--standard", "GB 1", "--category", "炉"), ["GB 13271-2014"]),
        ("emission", "item,value\n颗粒物,1\n", ("--standard", "GB 13271", "--category", "炉"), ["新建 燃煤锅炉"]),
        ("emission", "item,value\n氨,1\n", BOILER[:4], ["二氧化硫"]),
        ("emission", "item,value\n氨氮,1\n", PLANT[:4], ["水温>12℃"]),
        ("emission", "time,item,value\n2026-05-01 00:30,颗粒物,1\n", BOILER[:4], ["第 2 行", "整点"]),
        ("emission", "time,item,value\n2026-05-01 01:00,颗粒物,1\n2026-05-01 01:00,颗粒物,1\n", BOILER, ["第 3 行"]),
        ("emission-rate", "item,height,rate\n氨,20,1\n", (), ["氨"]),
        ("emission-rate", "item,height,rate\n二氧化硫,0,1\n", (), ["第 2 行", "height"]),
        ("emission-rate", "item,height,rate,new\n二氧化硫,20,1,旧\n", (), ["第 2 行", "new"]),
        ("emission-amount", "time,value\n2026-05-01 01:00,1\n", (), ["flow"]),
        ("incinerator", "time,furnace,temperature\n", ("--industry", "medical"), ["state"]),
    ],
)
def test_a_fault_is_one_line_that_says_where_or_what_is_valid(judge, verb, text, options, says):
    code, rows, err = judge(verb, text, *options)
    assert (code, rows, err.count("\n")) == (2, [], 1)
    assert all(word in err for word in says), err
