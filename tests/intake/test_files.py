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
