"""What `ceguan import` promises: any usual file, an outcome for every row, nothing taken in twice."""

from __future__ import annotations

import csv
import io
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path

import openpyxl
import orjson
import pytest

from ceguan.intake import cli, files, sheets
from ceguan.registry.models import AuditEvent, Series
from ceguan.registry.rights import Forbidden
from ceguan.store import RecordKind, Store
from ceguan.words import BEIJING, Kind

HEADER = "点位编码,监测时间,因子,数值,单位,设备标记\n"
NOW = datetime(2026, 11, 24, 12, tzinfo=BEIJING).timestamp()


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp())


@pytest.fixture
def desk(city, data):
    """Checks and takes in text as if it came from a file."""
    return Desk(city, data)


class Desk:
    def __init__(self, city, folder: Path) -> None:
        self.city, self.folder, self.store = city, folder, Store(folder)

    def lines(self, text: str | bytes, name: str = "in.csv") -> list[sheets.Line]:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return sheets.readings(path)

    def check(self, body: str, kind: Kind = Kind.HOUR, label: str = "end", user=None) -> list[files.Row]:
        return files.check(self.lines(HEADER + body), kind, label, user, self.store, NOW, 600)

    def one(self, body: str, **how) -> files.Row:
        [row] = self.check(body, **how)
        return row

    def take(self, rows) -> list:
        return files.take(rows, "in.csv", None, "operator", self.store, NOW)


def test_a_row_becomes_the_hour_that_its_label_ends(desk):
    row = desk.one("air,2026-11-24 08:00,SO2,12.5,μg/m³,N\n")
    assert (row.result, row.reading.ts, row.reading.value, row.reading.flag) == (
        "accepted", at("2026-11-24 07:00"), 12.5, "N",
    )  # fmt: skip


def test_a_label_at_the_start_is_taken_as_it_is(desk):
    assert desk.one("air,2026-11-24 08:00,SO2,1,μg/m³,\n", label="start").reading.ts == at("2026-11-24 08:00")


@pytest.mark.parametrize("text", ["2026/11/24 8:00", "2026-11-24T08:00:00", "20261124080000", "2026年11月24日 8时",
                                  "2026-11-24T00:00Z", "2026-11-24 01:00+01:00"])  # fmt: skip
def test_a_time_is_read_however_it_is_written_and_is_beijing_time_without_a_zone(desk, text):
    assert desk.one(f"air,{text},SO2,1,μg/m³,\n").reading.ts == at("2026-11-24 07:00")


def test_hour_24_is_midnight(desk):
    assert desk.one("air,2026-11-23 24:00,SO2,1,μg/m³,\n").reading.ts == at("2026-11-23 23:00")


def test_a_date_alone_is_its_day(desk):
    assert desk.one("air,2026-11-23,SO2,1,μg/m³,\n", kind=Kind.DAY).reading.ts == at("2026-11-23 00:00")


def test_a_unit_is_converted_to_that_of_the_series(desk):
    assert desk.one("air,2026-11-24 08:00,一氧化碳,1500,ug/m3,\n").reading.value == pytest.approx(1.5)


@pytest.mark.parametrize("text", ["<0.005", "0.005L", "＜0.005"])
def test_a_value_below_the_detection_limit_is_kept_and_flagged(desk, text):
    row = desk.one(f"water,2026-11-24 08:00,氨氮,{text},mg/L,\n")
    assert (row.reading.value, row.reading.flag) == (0.005, "L")


def test_a_row_without_a_value_is_nothing_and_says_so(desk):
    rows = desk.check("air,2026-11-24 08:00,SO2,,μg/m³,\nair,2026-11-24 08:00,NO2,NA,μg/m³,\n")
    assert [row.result for row in rows] == ["empty", "empty"]
    assert all(row.cause for row in rows)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("airr,2026-11-24 08:00,SO2,1,μg/m³,", "air"),
        ("air,2026-11-24 08:00,PM9,1,μg/m³,", "没有因子"),
        ("air,2026-11-24 08:00,SO2,1,mg/L,", "不能换算"),
        ("air,2026-11-24 08:00,SO2,1,,", "没有单位"),
        ("air,2026-11-24 08:00,SO2,很高,μg/m³,", "不是数"),
        ("air,2026-11-24 08:00,SO2,nan5,μg/m³,", "不是数"),
        ("air,2026-11-24 08:17,SO2,1,μg/m³,", "整点"),
        ("air,2026-02-30 08:00,SO2,1,μg/m³,", "没有"),
        ("air,昨天,SO2,1,μg/m³,", "读不懂"),
        ("air,2026-11-24 18:00,SO2,1,μg/m³,", "还没有结束"),
        ("air,2026-11-24 08:00,SO2,1,μg/m³,怪", "不认得"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_with_its_cause(desk, body, cause):
    row = desk.one(body + "\n")
    assert row.result == "refused"
    assert cause in row.cause


def test_two_rows_that_contradict_each_other_are_not_both_taken(desk):
    body = "air,2026-11-24 08:00,SO2,{},μg/m³,\n"
    rows = desk.check(body.format(1) + body.format(1) + body.format(2))
    assert [row.result for row in rows] == ["accepted", "unchanged", "refused"]


def test_the_same_file_again_brings_nothing_even_before_the_clockwork_has_looked(desk):
    body = "air,2026-11-24 08:00,SO2,1,μg/m³,\nair,2026-11-24 08:00,NO2,2,μg/m³,\n"
    assert len(desk.take(desk.check(body))) == 1
    again = desk.check(body)
    assert [row.result for row in again] == ["unchanged", "unchanged"]
    assert desk.take(again) == []


def test_another_value_for_a_known_hour_is_a_new_version(desk):
    desk.take(desk.check("air,2026-11-24 08:00,SO2,1,μg/m³,\n"))
    row = desk.one("air,2026-11-24 08:00,SO2,3,μg/m³,\n")
    assert row.result == "new version"
    assert "1" in row.cause


def test_what_is_taken_in_lies_in_the_archive_and_in_the_audit_trail(desk):
    [ref] = desk.take(desk.check("air,2026-11-24 08:00,SO2,1,μg/m³,N\n"))
    record = desk.store.frame(ref)
    series = Series.objects.get(point__code="air", factor="a21026")
    assert (record.kind, ref.stream) == (RecordKind.IMPORT, 64)
    assert orjson.loads(record.payload)["rows"] == [[series.pk, 2, at("2026-11-24 07:00"), 1.0, "N", 2]]
    assert AuditEvent.objects.filter(action="import", subject="file:in.csv").count() == 1


def test_an_imported_hour_reaches_the_ledger_through_the_clockwork(desk):
    from ceguan import settings
    from ceguan.watch.clockwork import Clockwork

    desk.take(desk.check("air,2026-11-24 08:00,SO2,7,μg/m³,N\n"))
    with Clockwork(settings.load(data=str(desk.folder))) as clockwork:
        assert clockwork.step(NOW).new == 1
    assert desk.one("air,2026-11-24 08:00,SO2,7,μg/m³,N\n").result == "unchanged"


def test_nobody_imports_to_points_of_others(desk):
    west = desk.city.users["analyst"]
    west.region = desk.city.west
    west.save()
    assert desk.one("air,2026-11-24 08:00,SO2,1,μg/m³,\n", user=west).result == "refused"
    with pytest.raises(Forbidden):
        desk.one("air,2026-11-24 08:00,SO2,1,μg/m³,\n", user=desk.city.users["duty"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_any_usual_encoding_is_read(desk, encoding):
    text = HEADER + "air,2026-11-24 08:00,二氧化硫,1,微克/立方米,正常\n"
    [line] = desk.lines(text.encode(encoding))
    assert (line.station, line.factor, line.number) == ("air", "二氧化硫", 2)


def test_english_headings_in_another_order_are_read(desk):
    [line] = desk.lines("value,unit,time,factor,station\n5,mg/L,2026-11-24 08:00,COD,water_outlet\n")
    assert (line.value, line.factor, line.flag) == ("5", "COD", "")


def test_a_workbook_is_read_as_a_person_sees_it(desk):
    book = openpyxl.Workbook()
    book.active.append(["点位", "时间", "因子", "值", "单位"])
    book.active.append(["air", datetime(2026, 11, 24, 8), "SO2", 12.5, "μg/m³"])  # noqa: DTZ001  Excel has no zones
    out = io.BytesIO()
    book.save(out)
    [line] = desk.lines(out.getvalue(), "in.xlsx")
    assert (line.time, line.value) == ("2026-11-24 08:00:00", "12.5")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a,b\n1,2\n", "缺少列"), (b"", "缺少列"), (b"\xff\x80\x81,\n", "编码"), (b"PK\x03\x04broken", "xlsx")],
)
def test_a_file_that_cannot_be_read_says_where_and_why(desk, content, said):
    with pytest.raises(sheets.Unreadable, match=said):
        desk.lines(content)


def test_hours_of_the_beijing_sample_begin_where_they_are_labelled_and_co_becomes_milligrams(desk, truth):
    path = truth / "standards/data_samples/uci_beijing_Dongsi_2014-01_02.csv"
    rows = files.check(sheets.uci(path, "air"), Kind.HOUR, "end", None, desk.store, NOW, 600)
    assert {row.result for row in rows} == {"accepted", "empty"}
    carbon = Series.objects.get(point__code="air", factor="a21005")
    first = next(row for row in rows if row.reading and row.reading.series == carbon.pk)
    assert (first.reading.ts, first.reading.value) == (at("2014-01-01 01:00"), pytest.approx(1.5))


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────


def command(*words: str) -> int:
    parser = ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["import", *words])
    return args.run(args)


@pytest.fixture
def sheet(city, data) -> str:
    path = data / "sheet.csv"
    path.write_text(HEADER + "air,2026-01-24 08:00,SO2,1,μg/m³,N\nairr,2026-01-24 08:00,SO2,1,μg/m³,N\n")
    return str(path)


def test_without_yes_it_is_a_preview_and_nothing_is_written(sheet, data, capsys):
    command("readings", sheet)
    assert "预览" in "".join(capsys.readouterr())
    assert not list((data / "archive").glob("*"))


def test_the_result_of_every_row_is_a_csv_and_waiting_rows_are_announced(sheet, data, capsys):
    assert command("readings", sheet, "--yes") == 1, "one row was refused"
    said = capsys.readouterr()
    rows = list(csv.DictReader(said.out.splitlines()))
    assert [(row["row"], row["result"]) for row in rows] == [("2", "accepted"), ("3", "refused")]
    assert "时钟没有运行" in said.err
    command("readings", sheet, "--yes", "--result", str(data / "result.csv"))
    assert "unchanged" in (data / "result.csv").read_text("utf-8-sig")


@pytest.mark.parametrize(
    "words", [("readings", "nowhere.csv", "--yes"), ("uci", "nowhere.csv", "--point", "air", "--yes")]
)
def test_a_file_that_is_not_there_is_one_line_and_exit_2(sheet, capsys, words):
    assert command(*words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_result_that_cannot_be_written_stops_the_import_before_anything_is_taken(sheet, data, capsys):
    assert command("readings", sheet, "--yes", "--result", str(data / "nowhere" / "result.csv")) == 2
    assert capsys.readouterr().err == f"{data / 'nowhere' / 'result.csv'}：文件不存在\n"
    assert list(Store(data).arrivals()) == []


def test_an_unknown_or_unentitled_user_is_one_line_and_exit_2(sheet, capsys):
    for name in ("nobody", "duty"):
        assert command("readings", sheet, "--yes", "--by", name) == 2
        assert capsys.readouterr().err.count("\n") == 1


# ── the national platform ─────────────────────────────────────────────────────────────────────────────────────────

ARCHIVE = """date,hour,type,air,1001A
20260110,0,AQI,50,60
20260110,0,SO2,7,8
20260110,0,O3,61,62
20260110,0,O3_24h,99,99
20260110,0,CO,0.7,
20260110,1,SO2,,9
"""
FEED = {
    "features": [
        {"properties": {"stationcode": "air", "timepoint": "2026-01-10T16:00:00", "o3": "228", "o3_24h": "190",
                        "pm10": "-;", "pm2_5": "17", "so2": "3", "no2": "13", "co": "0.6"}},
        {"properties": {"stationcode": "1001A", "timepoint": "2026-01-10T16:00:00", "so2": "1"}},
    ]
}  # fmt: skip


def taken(data) -> dict[tuple[str, str], float]:
    """(factor, start of the hour) → value of every reading in the archive."""
    rows = [
        row for r in Store(data).arrivals() if r.kind == RecordKind.IMPORT for row in orjson.loads(r.payload)["rows"]
    ]
    factor = dict(Series.objects.values_list("pk", "factor"))
    return {(factor[s], f"{datetime.fromtimestamp(ts, BEIJING):%Y-%m-%d %H:%M}"): value for s, _, ts, value, *_ in rows}


def results(capsys) -> list[dict[str, str]]:
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


def test_an_archive_of_the_platform_gives_the_hours_that_its_labels_end(city, data, capsys):
    path = data / "china_sites_20260110.csv"
    path.write_text(ARCHIVE)
    assert command("cnemc-archive", str(path), "--yes") == 1
    rows = results(capsys)
    assert taken(data) == {
        ("a21026", "2026-01-09 23:00"): 7.0,  # hour 0 is the last of the day before
        ("a05024", "2026-01-09 23:00"): 61.0,  # not the O3_24h of the day
        ("a21005", "2026-01-09 23:00"): 0.7,
    }
    refused = [row for row in rows if row["result"] == "refused"]
    assert [(row["station"], row["file"]) for row in refused] == [("1001A", path.name)]
    assert [row["row"] for row in rows if row["result"] == "empty"] == ["7"]


def test_the_feed_holds_the_hour_under_the_name_of_the_day(city, data, capsys):
    path = data / "airnow.json"
    path.write_bytes(orjson.dumps(FEED))
    assert command("cnemc-feed", str(path), "--yes", "--registered") == 0
    assert "另有 1 个站点" in capsys.readouterr().err
    found = taken(data)
    assert found["a05024", "2026-01-10 15:00"] == 190.0
    assert found["a21005", "2026-01-10 15:00"] == 0.6
    assert ("a34002", "2026-01-10 15:00") not in found


def test_the_feed_may_be_a_list_and_its_names_in_capitals(city, data):
    path = data / "live.json"
    path.write_bytes(
        orjson.dumps([{"StationCode": "air", "TimePoint": "2021-03-01T10:00:00", "O3": "9", "O3_24h": "7"}])
    )
    assert command("cnemc-feed", str(path), "--yes") == 0
    assert taken(data) == {("a05024", "2021-03-01 09:00"): 7.0}


def test_the_feed_may_be_a_csv_of_the_same_names(city, data):
    path = data / "T14.csv"
    path.write_text("timepoint,stationcode,positionname,o3,o3_24h\n2026-03-10T1400,air,东区,118,104\n")
    assert command("cnemc-feed", str(path), "--yes") == 0
    assert taken(data) == {("a05024", "2026-03-10 13:00"): 104.0}


def test_a_folder_of_archives_shows_its_progress_and_is_taken_in_once(city, data, capsys):
    folder = data / "2026"
    folder.mkdir()
    for day in (10, 11, 12):
        (folder / f"china_sites_202601{day}.csv").write_text(ARCHIVE.replace("20260110", f"202601{day}"))
    command("cnemc-archive", str(folder), "--yes", "--registered", "--result", str(data / "result.csv"))
    said = capsys.readouterr().err
    assert "[2/3] china_sites_20260111.csv" in said
    assert "收入 9" in said
    assert len(taken(data)) == 9
    files_of = {row["file"] for row in csv.DictReader((data / "result.csv").open(encoding="utf-8-sig"))}
    assert len(files_of) == 3
    command("cnemc-archive", str(folder), "--yes", "--registered")
    assert "不变 9" in capsys.readouterr().err
    assert len(list(Store(data).arrivals())) == 3, "one record for each file, none the second time"


def test_a_row_with_too_few_cells_is_refused_with_its_line_and_the_rest_comes_in(city, data, capsys):
    path = data / "china_sites_20260110.csv"
    path.write_text(ARCHIVE + "20260110,2,SO2,5\n20260110,3,SO2,6,7\n")
    command("cnemc-archive", str(path), "--yes", "--registered")
    rows = results(capsys)
    assert [(row["row"], row["cause"]) for row in rows if row["result"] == "refused"] == [("8", "应有 5 格，有 4 格")]
    assert [row["row"] for row in rows if row["value"] == "6"] == ["9"]
    assert taken(data)["a21026", "2026-01-10 02:00"] == 6.0


def test_a_broken_file_in_a_folder_stops_there_and_says_what_is_in(city, data, capsys):
    folder = data / "2026"
    folder.mkdir()
    (folder / "china_sites_20260110.csv").write_text(ARCHIVE)
    (folder / "china_sites_20260111.csv").write_text("<head><title>404 Not Found</title></head>\n")
    assert command("cnemc-archive", str(folder), "--yes", "--registered") == 2
    said = capsys.readouterr().err
    assert "china_sites_20260111.csv 第 1 行：缺少列 date、hour、type" in said
    assert "此前的文件已收入：共 4 行" in said
    assert len(taken(data)) == 3


@pytest.mark.parametrize("content", [b"{not json", b'{"features": 3}', b'["a"]', b'{"other": []}'])
def test_a_feed_that_is_not_one_is_one_line(city, data, capsys, content):
    path = data / "airnow.json"
    path.write_bytes(content)
    assert command("cnemc-feed", str(path), "--yes") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_without_such_files_says_what_it_looked_for(city, data, capsys):
    assert command("cnemc-archive", str(data), "--yes") == 2
    assert "china_*.csv" in capsys.readouterr().err


def test_every_column_of_a_known_format_says_its_unit_its_label_and_where_it_is_from():
    from ceguan.standards import factors, units
    from ceguan.standards.tables import TRUST

    for name in ("uci", "cnemc-archive", "cnemc-feed"):
        rows = sheets.wide(name)
        assert len({row.factor for row in rows}) == len(rows) == 6
        assert len({row.label for row in rows}) == 1, "one time label for each source"
        for row in rows:
            assert factors.find(row.factor) is not None
            assert units.find(row.unit) is not None
            assert row.label in ("start", "end")
            assert row.trust in TRUST
            assert row.source
