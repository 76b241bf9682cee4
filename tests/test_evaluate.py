"""`ceguan evaluate`: the contract of columns, order, missing values and errors."""

from __future__ import annotations

import argparse
import csv
import io
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ceguan import evaluate

AIR = "time,station,so2_1h,no2_1h,co_1h,o3_1h,pm10_1h,pm25_1h\n"
WATER = "time,section,ph,do_mgL,codmn_mgL,nh3n_mgL,tp_mgL,waterbody\n"


@pytest.fixture
def run(tmp_path, capfd):
    """Run a verb on text or bytes; gives (exit code, rows, standard error)."""

    def go(verb, content, *options, name="in.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        parser = argparse.ArgumentParser()
        evaluate.add_parser(parser.add_subparsers())
        args = parser.parse_args(["evaluate", verb, str(path), *options])
        code = args.run(args)
        out, err = capfd.readouterr()
        return code, list(csv.DictReader(io.StringIO(out))), err

    return go


def test_rows_keep_their_order_and_their_time_as_given(run):
    code, rows, _ = run(
        "air-hourly", AIR + "2026-03-10T14:00,B,5,41,0.7,82,102,76\n2026/3/10 13:00,A,5,1,0.7,82,10,7\n"
    )
    assert code == 0
    assert [(r["time"], r["station"]) for r in rows] == [("2026-03-10T14:00", "B"), ("2026/3/10 13:00", "A")]
    assert rows[0] == {
        "time": "2026-03-10T14:00",
        "station": "B",
        "aqi": "115",
        "level": "轻度污染",
        "primary": "PM2.5",
        "edition": "HJ 633-2026",
        "reason": "",
    }
    assert rows[1]["primary"] == ""


@pytest.mark.parametrize("cell", ["", "NA", "—", "-1", " NA ", "NaN", "nan"])
def test_an_absent_value_is_missing_and_the_reason_names_it(run, cell):
    _, rows, _ = run("air-hourly", AIR + f"2026-03-10T14:00,A,5,{cell},0.7,82,50,30\n")
    assert (rows[0]["aqi"], rows[0]["level"], rows[0]["primary"]) == ("NA", "NA", "NA")
    assert "NO2" in rows[0]["reason"]


def test_a_slash_is_not_monitored_by_plan(run):
    _, rows, _ = run("air-hourly", AIR + "2026-03-10T14:00,A,10,7,/,66,21,3\n")
    assert rows[0]["aqi"] == "21"


def test_platform_quirks_publish_without_pm10(run):
    line = AIR + "2026-03-10T14:00,A,20,12,0.6,63,NA,25\n"
    assert run("air-hourly", line)[1][0]["aqi"] == "NA"
    assert run("air-hourly", line, "--platform-quirks")[1][0]["aqi"] == "36"


@pytest.mark.parametrize(
    ("label", "edition"),
    [
        ("2026-03-01T00:00", "HJ 633-2012"),  # the hour measured began on 28 February at 23:00
        ("2026-02-28 24:00", "HJ 633-2012"),
        ("2026-03-01T01:00:00", "HJ 633-2026"),
        ("2026030101", "HJ 633-2026"),
        ("2026-02-28T17:00Z", "HJ 633-2026"),
        ("2010-01-01 01:00", ""),
    ],
)
def test_the_edition_is_that_of_the_hour_measured(run, label, edition):
    _, rows, _ = run("air-hourly", AIR + f"{label},A,5,41,0.7,82,102,76\n")
    assert rows[0]["edition"] == edition
    assert rows[0]["aqi"] == ({"HJ 633-2012": "102", "HJ 633-2026": "115", "": "NA"}[edition])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_utf8_bom_and_gbk_are_read(run, encoding):
    text = (AIR + "2026-03-10T14:00,东四,5,41,0.7,82,102,76\n").encode(encoding)
    assert run("air-hourly", text)[1][0]["station"] == "东四"


def test_columns_may_come_in_any_order_with_others_between(run):
    text = "city,pm25_1h,pm10_1h,o3_1h,co_1h,no2_1h,so2_1h,station,time\nx,76,102,82,0.7,41,5,A,2026-03-10T14:00\n"
    assert run("air-hourly", text)[1][0]["aqi"] == "115"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            AIR + "2026-03-10T14:00,A,5,41,0.7,82,102,76\n2026-03-10T15:00,A,5,x1,0.7,82,102,76\n",
            ["第 3 行", "no2_1h", "x1"],
        ),
        (
            AIR + '2026-03-10T14:00,"two\nlines",5,41,0.7,82,102,76\nyesterday,A,5,1,0.7,82,102,76\n',
            ["第 4 行", "time"],
        ),
        (AIR + "2026-03-10T14:00,A,5,41,0.7,82,102,1e999\n", ["第 2 行", "pm25_1h"]),
        (AIR + "0001-01-01T00:00+14:00,A,5,41,0.7,82,102,76\n", ["第 2 行", "time"]),
        (AIR + "2026-03-10T14:00,A,5,1_0,0.7,82,102,7\n", ["第 2 行", "no2_1h"]),
        (AIR + "2026-03-10T14:00,A,5\n", ["第 2 行", "no2_1h"]),
        (AIR + "2026-03-10T14:00,A,5,41,0.7,82,102,76,77\n", ["第 2 行"]),
        (AIR.replace("co_1h", "co"), ["第 1 行", "co_1h"]),
        (AIR.replace("co_1h", "so2_1h"), ["第 1 行", "so2_1h"]),
        (AIR + "2026-02-30T14:00,A,5,41,0.7,82,102,76\n", ["第 2 行", "time"]),
        ("", ["第 1 行"]),
        (b"\xff\xfe\x00\x81\xff\n", ["UTF-8"]),
    ],
)
def test_a_fault_is_one_line_with_file_line_and_column_and_nothing_is_written(run, tmp_path, text, says):
    out = tmp_path / "out.csv"
    out.write_text("before")
    code, rows, err = run("air-hourly", text, "-o", str(out))
    assert code == 2
    assert rows == []
    assert err.count("\n") == 1
    assert "in.csv" in err
    assert all(part in err for part in says)
    assert out.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_file_that_is_not_there_is_one_line(run, tmp_path, capfd):
    args = argparse.Namespace(input=str(tmp_path / "none.csv"), output=None, platform_quirks=False)
    parser = argparse.ArgumentParser()
    evaluate.add_parser(parser.add_subparsers())
    verb = parser.parse_args(["evaluate", "air-hourly", args.input])
    assert verb.run(verb) == 2
    assert "none.csv" in capfd.readouterr().err


def test_an_output_file_appears_whole(run, tmp_path):
    out = tmp_path / "out.csv"
    code, printed, _ = run("air-hourly", AIR + "2026-03-10T14:00,A,5,41,0.7,82,102,76\n", "-o", str(out))
    assert (code, printed) == (0, [])
    assert out.read_text(encoding="utf-8").splitlines()[1] == "2026-03-10T14:00,A,115,轻度污染,PM2.5,HJ 633-2026,"


def test_an_output_folder_that_is_not_there_is_one_line(run, tmp_path):
    code, _, err = run("air-hourly", AIR + "2026-03-10T14:00,A,5,4,0.7,82,10,7\n", "-o", str(tmp_path / "no" / "o.csv"))
    assert code == 2
    assert err.count("\n") == 1


def test_a_file_with_a_header_only_gives_a_header_only(run):
    assert run("air-hourly", AIR)[:2] == (0, [])


HOUR_LINE = "{time},{station},10,20,0.8,60,{pm10},20\n"


def a_day(begins="2026-05-01T00:00", station="A", hours=24, pm10=40.0):
    """Hours labelled by their end."""
    first = datetime.fromisoformat(begins)
    return "".join(
        HOUR_LINE.format(time=f"{first + timedelta(hours=h + 1):%Y-%m-%d %H:%M}", station=station, pm10=pm10)
        for h in range(hours)
    )


def test_an_index_is_explained_when_asked_for(run):
    line = AIR + "2026-03-10T14:00,A,5,41,0.7,82,102,76\n"
    said = run("air-hourly", line, "--explain")[1][0]["reason"]
    assert said.startswith("AQI 115 轻度污染：PM2.5 76 µg/m³ (60–115 → 100–150) 115")
    assert "O3 60 µg/m³ (0–100 → 0–50) 30" in run("air-daily", AIR + a_day(), "--explain")[1][0]["reason"]


def test_a_day_is_made_of_its_24_hours_by_their_end(run):
    code, rows, _ = run("air-daily", AIR + a_day() + a_day("2026-05-02T00:00", hours=19))
    assert code == 0
    assert [(r["date"], r["aqi"], r["pm10_24h"], r["co_24h"]) for r in rows] == [
        ("2026-05-01", "40", "40", "0.8"),
        ("2026-05-02", "NA", "", ""),
    ]
    assert "PM10" in rows[1]["reason"]


def test_hours_labelled_by_their_start_may_be_told(run):
    content = AIR + "".join(HOUR_LINE.format(time=f"2026-05-01 {h:02}:00", station="A", pm10=40) for h in range(24))
    assert [r["date"] for r in run("air-daily", content, "--label", "start")[1]] == ["2026-05-01"]
    assert [r["date"] for r in run("air-daily", content)[1]] == ["2026-04-30", "2026-05-01"]


def test_daily_values_are_judged_as_they_are(run):
    day = "date,station,so2_24h,no2_24h,co_24h,o3_8h,pm10_24h,pm25_24h\n"
    rows = run("air-daily", day + "2026-02-28,A,9,20,0.8,90,130,30\n2026-03-01,A,9,20,/,90,130,30\n")[1]
    assert [(r["aqi"], r["primary"], r["edition"]) for r in rows] == [
        ("90", "PM10", "HJ 633-2012"),
        ("104", "PM10", "HJ 633-2026"),
    ]


def test_a_pollutant_not_monitored_all_day_does_not_stop_the_day(run):
    slashed = a_day().replace(",0.8,", ",/,")
    assert run("air-daily", AIR + slashed)[1][0]["aqi"] == "40"
    assert run("air-daily", AIR + a_day().replace(",0.8,", ",,"))[1][0]["aqi"] == "NA"


def test_sand_and_dust_hours_are_left_out_with_their_source(run, tmp_path):
    marks = tmp_path / "marks.csv"
    marks.write_text("kind,start,end,station,source\n沙尘天气过程,2026-05-01 02:00,2026-05-01 04:00,A,总站通报\n")
    content = AIR + a_day().replace("2026-05-01 03:00,A,10,20,0.8,60,40.0", "2026-05-01 03:00,A,10,20,0.8,60,4000")
    assert run("air-daily", content)[1][0]["pm10_24h"] == "205"
    row = run("air-daily", content, "--events", str(marks))[1][0]
    assert row["pm10_24h"] == "40"
    assert "总站通报" in row["left_out"]
    marks.write_text(marks.read_text().replace(",A,", ",B,"))
    assert "B 不在输入里" in run("air-daily", content, "--events", str(marks))[2]
    assert "unsure" in row["left_out"]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (AIR + a_day() + a_day(hours=1), [], ["第 26 行", "time", "已有一行"]),
        (AIR + HOUR_LINE.format(time="2026-05-01 01:30", station="A", pm10=4), [], ["第 2 行", "整点"]),
        ("date,station,so2_24h\n2026-05-01,A,3\n", [], ["第 1 行", "pm25_24h"]),
        (
            "kind,start,end,source\n烟花,2026-05-01 01:00,2026-05-01 02:00,x\n",
            ["--events"],
            ["第 2 行", "kind", "沙尘"],
        ),
        ("kind,start,end,source\n沙尘天气过程,2026-05-01 01:00,2026-05-01 02:00,\n", ["--events"], ["认定依据"]),
    ],
)
def test_a_fault_in_hours_or_marks_names_its_place(run, tmp_path, content, options, says):
    if options:
        marks = tmp_path / "marks.csv"
        marks.write_text(content)
        options, content = [*options, str(marks)], AIR + a_day()
    code, rows, err = run("air-daily", content, *options)
    assert (code, rows) == (2, [])
    assert all(part in err for part in says)


DAYS = "date,city,so2_24h,no2_24h,co_24h,o3_8h,pm10_24h,pm25_24h\n"


def a_year(pm25=20, city="A"):
    first = date(2025, 1, 1)
    return "".join(f"{first + timedelta(days=d)},{city},10,20,0.8,90,40,{pm25}\n" for d in range(365))


def test_a_year_of_days_has_its_verdicts(run):
    rows = run("air-statistics", DAYS + a_year(36))[1]
    found = {(r["pollutant"], r["statistic"]): r for r in rows}
    pm25 = found["PM2.5", "平均"]
    assert (pm25["value"], pm25["limit"], pm25["verdict"], pm25["multiple"], pm25["valid_days"]) == (
        "36", "35", "超标", "0.03", "365",
    )  # fmt: skip
    assert found["O3", "日最大8小时平均第90百分位数"]["verdict"] == "达标"
    assert found["AQI", "优良天数比例"]["value"] == "100"
    assert found["AQI", "优良天数比例"]["reason"].startswith("优0天、良365天")


def test_a_city_is_the_mean_of_its_stations(run):
    lines = [f"2025-05-{d:02},A,{s},10,20,0.8,90,40,{pm}\n" for d in range(1, 32) for s, pm in (("S1", 10), ("S2", 21))]
    header = DAYS.replace("city", "city,station")
    rows = run("air-statistics", header + "".join(lines), "--by", "month")[1]
    assert {r["city"] for r in rows} == {"A"}
    assert next(r["value"] for r in rows if r["pollutant"] == "PM2.5") == "16"  # 15.5 half to even
    few = "".join(line for line in lines if "S2" not in line or line.startswith("2025-05-01"))
    days = [
        r["valid_days"] for r in run("air-statistics", header + few, "--by", "month")[1] if r["pollutant"] == "PM2.5"
    ]
    assert days[0] == "1", "on the other days only half of the stations are valid"


def test_a_file_of_no_days_has_no_statistics(run):
    assert run("air-statistics", DAYS)[:2] == (0, [])
    assert run("air-daily", AIR)[:2] == (0, [])


def test_the_final_limits_may_be_asked_for_a_year_already_past(run):
    rows = run("air-statistics", DAYS + a_year(28), "--as-if", "2031-01-01")[1]
    assert [r["verdict"] for r in rows if (r["pollutant"], r["statistic"]) == ("PM2.5", "平均")] == ["超标"]


def test_wide_statistics_are_what_the_index_reads(run):
    _, wide, _ = run("air-statistics", DAYS + a_year(), "--wide", "--by", "quarter")
    assert [r["period"] for r in wide] == ["2025-Q1", "2025-Q2", "2025-Q3", "2025-Q4"]
    text = ",".join(wide[0]) + "\n" + ",".join(wide[0].values()) + "\n"
    row = run("air-period", text)[1][0]
    assert (row["period"], row["edition"], row["i_pm25"]) == ("2025-Q1", "HJ 663-2013", "0.57")


def test_a_period_that_cannot_be_read_is_named_unless_the_law_is_told(run):
    line = INDEX.replace("city", "city,period") + "A,上半年,9,27,46,31,1.3,102\n"
    code, _, err = run("air-period", line)
    assert code == 2
    assert "第 2 行，列 period" in err
    assert run("air-period", line, "--edition", "2012")[0] == 0


def test_two_rows_of_one_day_are_refused(run):
    code, _, err = run("air-statistics", DAYS + a_year() + "2025-01-01,A,1,1,1,1,1,1\n")
    assert code == 2
    assert "第 367 行，列 date" in err


def test_components_close_the_mass_or_say_what_is_missing(run):
    header = "time,station,pm25,S,NO3,OC,EC,Al,Si,Ca,Fe,Ti,Cl\n"
    _, rows, _ = run(
        "air-components", header + "2026-01-01,A,60,4,10,10,2,0,0,0,0,0,0\n2026-01-02,A,60,4,,10,2,0,0,0,0,0,0\n"
    )
    assert (rows[0]["sulfate"], rows[0]["mass"], rows[0]["method"]) == ("16.5", "49.4", "improve")
    assert (rows[1]["nitrate"], rows[1]["mass"]) == ("NA", "NA")
    assert rows[1]["reason"] == "缺硝酸铵，不作质量闭合"


def test_ozone_formation_of_each_species(run):
    _, rows, _ = run("air-ofp", "time,station,乙烯,Toluene,甲醛\n2026-07-01,A,2,5,9\n")
    assert (rows[0]["乙烯"], rows[0]["甲苯"], rows[0]["total"], rows[0]["species"]) == ("18", "20", "38", "2")
    assert "甲醛" in rows[0]["reason"]
    assert run("air-ofp", "time,station\n")[0] == 2


def test_empty_rows_of_a_spreadsheet_are_passed_over_and_lines_stay_counted(run):
    rows = run("air-hourly", ",,\n" + AIR + ",,,,,,,\n2026-03-10T14:00,A,5,41,0.7,82,102,76\n  \n,,,,,,,\n")[1]
    assert [r["aqi"] for r in rows] == ["115"]
    assert "第 3 行" in run("air-hourly", AIR + ",,,,,,,\n2026-03-10T14:00,A,5,41,0.7,82,102,7x\n")[2]


INDEX = "city,so2,no2,pm10,pm25,co_p95,o3_p90\n"


def test_the_old_index_has_its_columns_and_two_decimals(run):
    code, rows, _ = run("air-period", INDEX + "清城区,9,27,46,31,1.3,102\n", "--edition", "2012")
    assert code == 0
    assert {k: v for k, v in rows[0].items() if k != "reason"} == {
        "city": "清城区",
        "i_so2": "0.15",
        "i_no2": "0.68",
        "i_pm10": "0.66",
        "i_pm25": "0.89",
        "i_co": "0.32",
        "i_o3": "0.64",
        "composite_index": "3.34",
        "main_pollutant": "PM2.5",
        "edition": "HJ 663-2013",
        "trust": "2",
    }


def test_a_period_stands_behind_the_columns_of_the_index(run):
    _, rows, _ = run("air-period", INDEX.replace("city", "period,city") + "2019-06,A,9,27,46,31,1.3,102\n")
    assert list(rows[0]) == [
        *("city", "i_so2", "i_no2", "i_pm10", "i_pm25", "i_co", "i_o3", "composite_index", "main_pollutant"),
        *("edition", "period", "trust", "reason"),
    ]
    assert (rows[0]["city"], rows[0]["period"], rows[0]["edition"]) == ("A", "2019-06", "HJ 663-2013")


def test_carbon_monoxide_in_micrograms_is_pointed_out(run):
    """1300 mg/m³ is above every value of HJ 633: the column is in µg/m³."""
    for verb, text in (
        ("air-period", INDEX + "A,9,27,46,31,1.3,102\nB,9,27,46,31,1300,102\n"),
        ("air-hourly", AIR + "2026-03-10T13:00,A,5,41,0.7,82,102,76\n2026-03-10T14:00,A,5,41,700,82,102,76\n"),
    ):
        code, rows, err = run(verb, text)
        assert (code, len(rows), err.count("\n")) == (0, 2, 1)
        assert "第 3 行，列 co" in err
        assert "mg/m³" in err


def test_a_place_that_lacks_a_pollutant_has_no_index_and_says_why(run):
    _, rows, _ = run("air-period", INDEX + "A,9,NA,46,31,1.3,102\n", "--edition", "2012")
    assert (rows[0]["i_no2"], rows[0]["composite_index"], rows[0]["main_pollutant"]) == ("NA", "NA", "NA")
    assert "NO2" in rows[0]["reason"]


def test_as_if_asks_what_the_final_limits_say(run):
    line = INDEX + "A,9,27,46,31,1.3,102\n"
    assert run("air-period", line, "--as-if", "2031-01-01")[1][0]["i_pm25"] == "1.240"
    assert run("air-period", line, "--as-if", "2026-03-01")[1][0]["i_pm25"] == "1.033"
    code, _, err = run("air-period", line, "--as-if", "2001-01-01")
    assert code == 2
    assert "2001-01-01" in err


def test_an_edition_asked_for_judges_every_row(run):
    line = AIR + "2018-03-10T14:00,A,5,41,0.7,82,102,75\n"
    assert run("air-hourly", line)[1][0]["aqi"] == "100"
    forced = run("air-hourly", line, "--edition", "2026")[1][0]
    assert (forced["aqi"], forced["edition"]) == ("114", "HJ 633-2026")
    assert run("air-hourly", line, "--as-if", "2031-01-01")[1][0]["aqi"] == "114"


RANKING = "city,composite_index,composite_index_before,meets_class2\n"


def test_a_ranking_is_sorted_and_ranks_changes(run):
    _, rows, _ = run("air-ranking", RANKING + "A,3.0,4.0,否\nB,2.2,2.0,是\nC,4.4,4.0,no\nD,NA,1,否\n")
    assert [(r["city"], r["rank"], r["change_pct"], r["improved_rank"], r["worsened_rank"]) for r in rows] == [
        ("B", "1", "10.0", "2", "NA"),
        ("A", "2", "-25.0", "1", "NA"),
        ("C", "3", "10.0", "2", "1"),
        ("D", "NA", "NA", "NA", "NA"),
    ]


def test_the_index_of_cities_goes_straight_into_the_ranking(run, tmp_path):
    out = tmp_path / "index.csv"
    run("air-period", INDEX + "A,9,27,46,31,1.3,102\nB,5,17,38,26,1.4,86\n", "--edition", "2012", "-o", str(out))
    rows = run("air-ranking", out.read_bytes())[1]
    assert [(r["city"], r["rank"], r["main_pollutant"]) for r in rows] == [("B", "1", "PM2.5"), ("A", "2", "PM2.5")]


def test_a_bureau_may_rank_densely(run):
    cities = "city,composite_index\nA,2.0\nB,2.0\nC,2.1\n"
    assert [r["rank"] for r in run("air-ranking", cities)[1]] == ["1", "1", "3"]
    assert [r["rank"] for r in run("air-ranking", cities, "--ties", "dense")[1]] == ["1", "1", "2"]


def test_a_word_that_is_neither_yes_nor_no_is_named(run):
    code, _, err = run("air-ranking", RANKING + "A,3.0,4.0,也许\n")
    assert code == 2
    assert "第 2 行，列 meets_class2" in err


def test_parquet_goes_in_and_comes_out(run, tmp_path):
    out = tmp_path / "index.parquet"
    given = pa.table({"city": ["A"], "so2": [9], "no2": [27], "pm10": [46], "pm25": [31.0], "co_p95": [1.3],
                      "o3_p90": pa.array([None], pa.float64())})  # fmt: skip
    sink = pa.BufferOutputStream()
    pq.write_table(given, sink)
    content = sink.getvalue().to_pybytes()
    code, _, _ = run("air-period", content, "--edition", "2012", "-o", str(out), name="in.parquet")
    row = pq.read_table(out).to_pylist()[0]
    assert code == 0
    assert (row["i_so2"], row["i_o3"], row["composite_index"], row["city"]) == (0.15, None, None, "A")


def test_a_damaged_parquet_file_is_one_line(run):
    code, _, err = run("air-period", b"PAR1 and no more", name="in.parquet")
    assert code == 2
    assert "in.parquet" in err
    assert err.count("\n") == 1


def test_water_rows_have_class_worst_items_and_edition(run):
    _, rows, _ = run("surface-water", WATER + "2026-05-08 04:00,南嘴,8.4,9.5,1.6,0.31,0.09,lake\n")
    assert rows[0] == {
        "time": "2026-05-08 04:00",
        "section": "南嘴",
        "class": "Ⅳ",
        "worst_items": "tp",
        "edition": "GB 3838-2002",
        "reason": "",
    }


def test_water_without_a_decided_body_says_both_verdicts(run):
    _, rows, _ = run("surface-water", WATER + "2026-05-08 04:00,A,8.4,9.5,1.6,0.1,0.15,either\n")
    assert rows[0]["class"] == "NA"
    assert "Ⅲ" in rows[0]["reason"]


def test_water_without_ammonia_has_no_class(run):
    _, rows, _ = run("surface-water", WATER + "2026-05-08 04:00,A,8.4,9.5,1.6,,0.15,river\n")
    assert rows[0]["class"] == "NA"
    assert "氨氮" in rows[0]["reason"]


def test_the_inferred_water_body_is_taken_where_there_is_no_other(run):
    text = WATER.replace("waterbody", "waterbody_inferred") + "2026-05-08 04:00,A,8.4,9.5,1.6,0.1,0.15,river\n"
    assert run("surface-water", text)[1][0]["class"] == "Ⅲ"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (WATER + "2026-05-08 04:00,A,8.4,9.5,1.6,0.1,0.15,pond\n", ["第 2 行", "waterbody", "pond"]),
        (WATER.replace(",waterbody", ""), ["第 1 行", "waterbody"]),
        (WATER + "2026-05-08 04:00,A,8.4,9.5,<0.5,0.1,0.15,river\n", ["第 2 行", "codmn_mgL"]),
    ],
)
def test_a_fault_in_a_water_file_names_its_place(run, text, says):
    code, _, err = run("surface-water", text)
    assert code == 2
    assert all(part in err for part in says)


@pytest.mark.parametrize(
    ("verb", "file", "options", "column", "published", "agree"),
    [
        ("air-hourly", "aqi_hourly_hj633_2012.csv", [], "aqi", "aqi_published", 1468),
        ("air-hourly", "aqi_hourly_hj633_2026.csv", [], "aqi", "aqi_published", 56),
        ("air-hourly", "aqi_hourly_hj633_2026.csv", ["--platform-quirks"], "aqi", "aqi_published", 58),
        ("surface-water", "surface_water_auto_class.csv", [], "class", "class_published", 1100),
    ],
)
def test_published_values_reproduce(run, truth, verb, file, options, column, published, agree):
    content = (truth / "standards" / file).read_bytes()
    given = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    _, rows, _ = run(verb, content, *options)
    assert len(rows) == len(given)
    assert sum(r[column] == g[published] for r, g in zip(rows, given, strict=True)) == agree
