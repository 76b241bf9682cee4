"""`ceguan import water-national`: the publication of the national surface-water stations, as its collectors keep it."""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from datetime import datetime

import orjson
import pytest

from ceguan.intake import cli, files, sheets
from ceguan.store import Store
from ceguan.words import BEIJING, Kind

NOW = datetime(2026, 11, 24, 12, tzinfo=BEIJING).timestamp()
HEADING = [
    *("省份", "流域", "断面名称", "监测时间", "水质类别", "水温<br/>(℃)", "pH<br/>(无量纲)", "溶解氧<br/>(mg/L)"),
    *("电导率<br/>(μS/cm)", "浊度<br/>(NTU)", "高锰酸盐指数<br/>(mg/L)", "氨氮<br/>(mg/L)", "总磷<br/>(mg/L)"),
    *("总氮<br/>(mg/L)", "叶绿素α<br/>(mg/L)", "藻密度<br/>(cells/L)", "站点情况"),
]


def cell(raw: str) -> str:
    return f"<span class='blue' title='原始值：{raw}'>{float(raw):.2f}</span>"


def record(name="water", time="03-08 08:00", **cells):
    given = {"ph": cell("7.4512"), "do": cell("8.1"), "codmn": cell("3.2"), "nh3n": cell("0.2041"), "tp": "*"} | cells
    station = f"<span class='MN' title='所属河流：某河'>{name}</span>"
    items = [given["ph"], given["do"], None, "--", given["codmn"], given["nh3n"], given["tp"], "--", "--", "--"]
    return ["某省", "某流域", station, time, "Ⅱ", "--", *items, "正常"]


@pytest.fixture
def daily(tmp_path):
    def write(*records, name="2026-03/2026-03-08.json", thead=HEADING):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps({"thead": thead, "tbody": list(records)}))
        return path

    return write


def given(lines, factor):
    return next(line for line in lines if line.factor == factor)


def test_the_raw_value_counts_with_the_unit_of_its_heading(daily):
    lines = sheets.national_water(daily(record()))
    assert len(lines) == 11
    ammonia = given(lines, "w21003")
    assert (ammonia.station, ammonia.value, ammonia.unit, ammonia.number) == ("water", "0.2041", "mg/L", 1)
    assert given(lines, "w21011").value == ""  # "*" is nothing
    assert given(lines, "w01014").value == ""


@pytest.mark.parametrize(
    ("time", "name", "said"),
    [
        ("03-08 08:00", "2026-03/2026-03-08.json", "2026-03-08 08:00"),
        ("03-08 08:02", "2026-03/8.json", "2026-03-08 08:00"),
        ("12-31 20:00", "2026-01-01.json", "2025-12-31 20:00"),
        ("01-01 00:00", "20251231.json", "2026-01-01 00:00"),
        ("2026/3/8 8:05", "x.json", "2026-03-08 08:00"),
    ],
)
def test_the_year_is_that_of_the_file_and_the_hour_that_of_the_sample(daily, time, name, said):
    assert sheets.national_water(daily(record(time=time), name=name))[0].time == said


def test_without_a_year_anywhere_a_row_is_refused_and_told_the_option(daily, city, data):
    path = daily(record(), name="x.json")
    rows = files.check(sheets.national_water(path), Kind.HOUR, "start", None, Store(data), NOW, 600)
    refused = [row for row in rows if row.result == "refused"]
    assert refused
    assert all("--year" in row.cause for row in refused)
    assert sheets.national_water(path, 2026)[0].time == "2026-03-08 08:00"


def test_records_without_a_heading_have_the_columns_of_the_publication(daily):
    assert given(sheets.national_water(daily(record(), thead=None)), "w01001").value == "7.4512"


def test_a_csv_of_the_same_columns_is_read(tmp_path):
    path = tmp_path / "抚远-2026.csv"
    path.write_text("断面名称,监测时间,pH(无量纲),氨氮(mg/L),站点情况\n抚远,03-08 04:00,7.9,0.53,维护\n", "utf-8-sig")
    assert [(line.factor, line.value, line.flag) for line in sheets.national_water(path, 2026)] == [
        ("w01001", "7.9", "维护"), ("w21003", "0.53", "维护"),
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"[1, 2]", b"{", b'{"tbody": 5}', b'{"thead": ["x"], "tbody": []}'])
def test_what_is_no_such_file_is_one_line(tmp_path, content):
    path = tmp_path / "2026-03-08.json"
    path.write_bytes(content)
    with pytest.raises(sheets.Unreadable, match=r"2026-03-08\.json"):
        sheets.national_water(path)


def command(*words: str) -> int:
    parser = ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["import", "water-national", *words])
    return args.run(args)


def test_a_folder_is_taken_in_with_progress_and_a_result_that_names_the_file(daily, city, data, capsys, tmp_path):
    daily(record(), record(name="nowhere"))
    daily(record(time="03-09 08:00"), name="2026-03/2026-03-09.json")
    folder, result = str(tmp_path / "2026-03"), tmp_path / "result.csv"
    assert command(folder, "--yes", "--result", str(result)) == 1, "a station that is not registered is refused"
    said = capsys.readouterr().err
    assert "[1/2] 2026-03-08.json" in said
    assert "[2/2] 2026-03-09.json" in said
    rows = list(csv.DictReader(result.open(encoding="utf-8-sig")))
    assert {row["file"] for row in rows} == {"2026-03-08.json", "2026-03-09.json"}
    assert {row["result"] for row in rows if row["station"] == "water"} == {"accepted", "empty"}
    assert all("没有点位" in row["cause"] for row in rows if row["station"] == "nowhere")
    command(folder, "--yes", "--result", str(result))
    again = list(csv.DictReader(result.open(encoding="utf-8-sig")))
    assert "accepted" not in {row["result"] for row in again}


def test_an_empty_folder_is_one_line(tmp_path, city, capsys):
    assert command(str(tmp_path)) == 2
    assert "没有 .json 或 .csv" in capsys.readouterr().err
