"""What is taken away: the same rows in every form and through every door, with rights, on record, of any length."""

from __future__ import annotations

import csv
import io
import tempfile
import time
import tracemalloc
from itertools import pairwise

import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook

from ceguan import cli
from ceguan.registry.models import AuditEvent
from ceguan.store import ArchiveWriter, RecordKind, forgotten, proofs
from ceguan.web import export
from ceguan.web.export import NUMBER, TIME, WHOLE, Column
from ceguan.words import Kind, beijing

COLUMNS = [Column("time", "时间", TIME), Column("value", "值", NUMBER), Column("n", "序", WHOLE), Column("text", "文")]


def day(ts: float) -> str:
    return f"{beijing(ts):%Y-%m-%d}"


def span(ledger) -> str:
    return f"from={day(ledger.hour - 90000)}&to={day(ledger.hour)}"


def body(answer) -> bytes:
    assert answer.status_code == 200, answer.content
    return b"".join(answer.streaming_content)


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


def test_readings_are_the_same_rows_in_every_form_and_through_every_door(signed_in, ledger, tmp_path):
    client, asked = signed_in("duty"), f"points=gas_outlet&factor=a21026&{span(ledger)}"
    rows = lines(body(client.get(f"/export/readings.csv?{asked}")))
    assert [(row["原始值"], row["现行值"], row["版本"]) for row in rows] == [
        ("20.0", "", "0"), ("30.0", "30.0", "0"), ("190.0", "190.0", "1"),
    ]  # fmt: skip
    assert lines(body(client.get(f"/api/export/readings.csv?{asked}"))) == rows
    assert lines(body(client.get(f"/export/go?what=readings&form=csv&{asked}"))) == rows
    sheet = load_workbook(io.BytesIO(body(client.get(f"/export/readings.xlsx?{asked}")))).active
    assert [str(row[0].value) for row in sheet.iter_cols(min_row=1, max_row=1)] == list(rows[0])
    table = pq.read_table(io.BytesIO(body(client.get(f"/export/readings.parquet?{asked}"))))
    assert table["value"].to_pylist() == [20.0, 30.0, 190.0]
    assert table["value_in_force"].null_count == 1
    assert [f"{time:%Y-%m-%d %H:%M:%S}" for time in table["time"].to_pylist()] == [
        r["时间（北京，区间开始）"] for r in rows
    ]
    out = tmp_path / "out.csv"
    begin, end = day(ledger.hour - 90000), day(ledger.hour)
    words = ["--from", begin, "--to", end, "--points", "gas_outlet", "--factor", "a21026", str(out)]
    assert cli.main(["export", "readings", *words]) == 0
    assert lines(out.read_bytes()) == rows


def test_as_of_shows_what_was_known_then(signed_in, ledger):
    then = beijing(time.time() + 30).isoformat().replace("+", "%2B")
    asked = f"points=gas_outlet&factor=a21026&{span(ledger)}&as_of={then}"
    rows = lines(body(signed_in("duty").get(f"/export/readings.csv?{asked}")))
    assert [row["原始值"] for row in rows] == ["20.0", "30.0", "180.0"]


def test_a_gap_nobody_had_found_by_then_is_not_in_an_export_as_of_then(signed_in, ledger):
    client = signed_in("duty")
    for moment, found in ((time.time() - 7200, 0), (time.time() + 30, 1)):
        then = beijing(moment).isoformat().replace("+", "%2B")
        rows = lines(body(client.get(f"/export/gaps.csv?points=gas_outlet&{span(ledger)}&as_of={then}")))
        assert len(rows) == found


def test_verdicts_gaps_and_frames_are_exported(signed_in, ledger):
    client = signed_in("duty")
    verdicts = lines(body(client.get(f"/export/verdicts.csv?points=gas_outlet,air&{span(ledger)}")))
    assert [(row["点位编码"], row["结论"], row["数值"]) for row in verdicts][:1] == [("gas_outlet", "over", "190.0")]
    assert [row["数值"] for row in verdicts if row["点位编码"] == "air"] == ["61.0", "80.0", "96.0"]
    (gap,) = lines(body(client.get(f"/export/gaps.csv?points=gas_outlet&{span(ledger)}")))
    assert (gap["原因代码"], gap["因子编码"]) == ("packet", "a21026")
    assert body(client.get(f"/export/frames.csv?points=gas_outlet&{span(ledger)}")).startswith(
        "\ufeff收到时间".encode()
    )


def test_frames_are_those_of_the_devices_received_then_without_passwords(signed_in, ledger, data):
    hour = ledger.hour
    with ArchiveWriter(data / "archive", 3) as archive:
        for when, mn in ((hour - 86400 * 9, "MNGAS_OUTLET"), (hour, "MNGAS_OUTLET"), (hour, "MNAIR")):
            archive.append(
                RecordKind.FRAME, when, "10.0.0.7:5000", b"##0099ST=31;CN=2011;PW=123456;MN=%s;CP=&&&&0" % mn.encode()
            )
        archive.sync()
    (row,) = lines(body(signed_in("duty").get(f"/export/frames.csv?points=gas_outlet&{span(ledger)}")))
    assert "PW=******;MN=MNGAS_OUTLET" in row["报文（口令以 * 代替）"]


def test_frames_that_were_deleted_by_an_act_are_a_row_that_says_so_and_their_page_too(signed_in, ledger, data):
    now = time.time()
    with ArchiveWriter(data / "archive", 3, 300) as writer:
        for _ in range(3):
            frame = b"##0099ST=31;CN=2011;PW=123456;MN=MNGAS_OUTLET;CP=&&" + b"x" * 100
            writer.append(RecordKind.FRAME, ledger.hour - 60.0, "10.0.0.7:5000", frame)
    proofs.prove_all(data / "archive", now, "sha256")
    forgotten.let_go(data / "archive", 3, [0], forgotten.Act("ab" * 32, now, "排污许可管理条例 第十九条"))
    client = signed_in("analyst")
    found = lines(body(client.get(f"/export/frames.csv?points=gas_outlet&{span(ledger)}")))
    gone = next(row for row in found if row["记录种类"] == "deleted")
    assert "归档流 3 段 0 已于" in gone["报文（口令以 * 代替）"]
    answer = client.get("/frames/3-0-64/")
    assert answer.status_code == 410
    assert "依 排污许可管理条例 第十九条 删除" in answer.content.decode()


def test_every_export_is_on_record(signed_in, ledger):
    body(signed_in("duty").get(f"/export/gaps.parquet?points=gas_outlet,air&{span(ledger)}"))
    assert cli.main(["export", "gaps", "--from", "2026-03-01", "--to", "2026-03-02", "-"]) == 0
    first, second = AuditEvent.objects.order_by("seq")
    assert (first.action, first.subject, first.who.username) == ("export", "points:2", "duty")
    assert (first.detail["what"], first.detail["form"], first.detail["points"]) == (
        "gaps",
        "parquet",
        ["gas_outlet", "air"],
    )
    assert (second.reason, second.who) == ("命令行导出", None)


def test_what_nobody_asked_for_properly_is_refused_in_words(signed_in, ledger, capsys, tmp_path):
    client = signed_in("duty")
    assert client.get("/export/readings.pdf?from=2026-03-01&to=2026-03-02").status_code == 404
    for asked in ("from=x&to=2026-03-02", "from=2026-03-03&to=2026-03-01", "from=2026-03-01&to=2026-03-02&data=year"):
        assert client.get(f"/export/readings.csv?{asked}").status_code == 400
    span = ["--from", "2026-03-01", "--to", "2026-03-02"]
    out = tmp_path / "out.csv"
    assert cli.main(["export", "readings", *span, "--points", "nobody", str(out)]) == 2
    assert "没有点位 nobody" in capsys.readouterr().err
    assert cli.main(["export", "readings", *span, "--format", "xlsx", "-"]) == 2
    assert "标准输出只能是 csv" in capsys.readouterr().err
    assert cli.main(["export", "readings", "--from", "gestern", "--to", "2026-03-02", str(out)]) == 2
    assert capsys.readouterr().err == "--from gestern 应为日期或 ISO 时间，例如 2026-03-01 或 2026-03-01T08:00\n"
    assert not out.exists()


def test_an_export_of_all_times_holds_all_there_is(signed_in, ledger):
    client = signed_in("duty")
    for what in ("readings", "aggregates&period=month", "verdicts"):
        name, _, more = what.partition("&")
        asked = f"/export/{name}.csv?points=gas_outlet&factor=a21026&{more}"
        some = lines(body(client.get(f"{asked}&from=2020-01-01&to={day(ledger.hour + 86400)}")))
        assert some
        assert lines(body(client.get(f"{asked}&from=0001-01-01&to=9999-12-31"))) == some


def test_times_with_nothing_in_them_are_not_looked_through():
    asked = export.Asked("readings", [], Kind.HOUR, -60_000_000_000, 250_000_000_000)
    extent = (1_772_294_400, 1_772_294_400 + 3 * export.CHUNK)
    pieces = list(asked.chunks(extent))
    assert len(pieces) == 4
    assert pieces[0][0] <= extent[0]
    assert pieces[-1][1] == extent[1]
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    assert list(asked.chunks(None)) == []


def test_the_page_of_exports_offers_ones_own_points_only(signed_in, ledger):
    page = signed_in("west_officer").get("/export?points=west_outlet").content.decode()
    assert 'value="west_outlet"' in page
    assert 'value="gas_outlet"' not in page


def test_more_rows_than_a_sheet_holds_go_on_in_the_next(monkeypatch):
    monkeypatch.setattr(export, "SHEET_ROWS", 10)
    out = io.BytesIO()
    export.as_xlsx(COLUMNS, ([1772294400 + n, float(n), n, "=1+1"] for n in range(18)), out)
    book = load_workbook(out)
    assert [sheet.max_row for sheet in book] == [10, 10]
    assert [row[2].value for sheet in book for row in sheet.iter_rows(min_row=2)] == list(range(18))
    assert book.active["D2"].value == "'=1+1"
    export.as_xlsx(COLUMNS, iter([]), out)
    assert [sheet.max_row for sheet in load_workbook(out)] == [1]


@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet"])
def test_an_export_of_any_length_takes_no_more_memory(form):
    """Rows that would take over 60 MB if they were held at once."""
    rows = ([1772294400 + n, n / 7, n, str(n) * 60] for n in range(100_000 if form != "xlsx" else 20_000))
    with tempfile.TemporaryFile() as out:
        tracemalloc.start()
        if form == "csv":
            out.writelines(export.as_csv(COLUMNS, rows))
        else:
            (export.as_xlsx if form == "xlsx" else export.as_parquet)(COLUMNS, rows, out)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < (6 << 20 if form == "xlsx" else 20 << 20)
