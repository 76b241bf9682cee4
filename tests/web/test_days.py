"""Days and months of a point: on its page, in exports, through the API, on the command line – the same figures."""

from __future__ import annotations

import csv
import io
import time

import pytest

from ceguan import cli
from ceguan.registry.models import Device
from ceguan.store import Decision, Store
from ceguan.words import Kind

NAN = float("nan")
MARCH = 1772294400  # 2026-03-01 00:00 in Beijing
HOUR, DAY = 3600, 86400


@pytest.fixture
def march(ledger, data):
    """Thirty hours of March 2026 of the outlet, 10 … 39 mg/m³; the first is marked by the device."""
    rows = [
        (ledger.so2.id, int(Kind.HOUR), MARCH + n * HOUR, 0, 10.0 + n, 20.0 + n, NAN, NAN, NAN, "M" if n == 0 else "N",
         MARCH + n * HOUR + 60, ledger.frame)
        for n in range(30)
    ]  # fmt: skip
    with Store(data, write=True) as store:
        with store.ledger.batch() as batch:
            batch.add_readings(rows)
        store.settle(MARCH + 40 * DAY)
    return ledger


def lines(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


DAYS = [("24", "24", "23", "22.0", "11.0", "33.0", "32.0"), ("6", "24", "6", "36.5", "34.0", "39.0", "46.5")]
HEADS = ("收到个数", "应到个数", "有效个数", "均值", "最小", "最大", "折算均值")


def test_an_export_of_days_is_the_same_through_every_door(signed_in, march, tmp_path):
    client = signed_in("duty")
    asked = "points=gas_outlet&factor=a21026&from=2026-03-01&to=2026-03-31&period=day"
    rows = lines(b"".join(client.get(f"/export/aggregates.csv?{asked}").streaming_content))
    assert [tuple(row[head] for head in HEADS) for row in rows] == DAYS
    assert {row["审核状态"] for row in rows} == {"实时，未审核"}
    assert lines(b"".join(client.get(f"/api/export/aggregates.csv?{asked}").streaming_content)) == rows
    out = tmp_path / "days.csv"
    words = ["--from", "2026-03-01", "--to", "2026-03-31", "--points", "gas_outlet", "--factor", "a21026", str(out)]
    assert cli.main(["export", "aggregates", *words]) == 0
    assert lines(out.read_bytes()) == rows
    address = "/api/points/gas_outlet/aggregates?factor=a21026&start=2026-03-01&end=2026-04-01"
    items = client.get(address).json()["items"]
    assert [item["mean"] for item in items] == [22.0, 36.5]
    assert [item["completeness"] for item in items] == [1.0, 0.25]


def test_months_and_hours_can_be_exported_too(signed_in, march):
    client, asked = signed_in("duty"), "points=gas_outlet&factor=a21026&from=2026-03-01&to=2026-03-31"
    (month,) = lines(b"".join(client.get(f"/export/aggregates.csv?{asked}&period=month").streaming_content))
    assert (month["收到个数"], month["应到个数"], month["均值"]) == ("30", str(31 * 24), "25.0")
    hours = lines(b"".join(client.get(f"/export/aggregates.csv?{asked}&period=hour").streaming_content))
    assert len(hours) == 30
    assert client.get(f"/export/aggregates.csv?{asked}&period=week").status_code == 400
    refused = client.get(f"/export/aggregates.csv?{asked}&period=hour&data=day")
    assert "日数据没有小时统计" in refused.content.decode()
    address = "/api/points/gas_outlet/aggregates?factor=a21026&start=2026-03-01&end=2026-04-01&period=week"
    assert client.get(address).status_code == 422


def test_the_page_shows_the_days_of_a_month_with_completeness_and_the_month_as_a_whole(signed_in, march):
    text = signed_in("duty").get("/points/gas_outlet/days?span=2026-03").content.decode()
    assert text.index(">03-01<") < text.index(">03-02<") < text.index("全月")
    for said in (">22.", ">36.", "11.0", "39.0", "25%", "100%", "有效 23，收到 24，应到 24 · 实时，未审核"):
        assert said in text, said
    assert "span=2026-02" in text
    assert "span=2026-04" in text


def test_the_page_shows_the_months_of_a_year(signed_in, march):
    text = signed_in("duty").get("/points/gas_outlet/days?span=2026").content.decode()
    assert ">2026-03<" in text
    assert "days?data=hour&amp;span=2026-03" in text
    assert "有效 29，收到 30，应到 744" in text


def test_what_people_decided_in_part_is_said(signed_in, march, data):
    decision = Decision(
        march.so2.id, int(Kind.HOUR), MARCH, MARCH + 3 * HOUR, "keep", "analyst", time.time(), "复核", march.frame
    )
    with Store(data, write=True) as store, store.ledger.batch() as batch:
        batch.add_decision(decision)
    text = signed_in("duty").get("/points/gas_outlet/days?span=2026-03").content.decode()
    assert "有效 24，收到 24，应到 24 · 部分已审核（3 / 24）" in text
    assert "有效 6，收到 6，应到 24 · 实时，未审核" in text


@pytest.mark.parametrize("query", ["span=nonsense", "span=2026-13", "span=0001", "span=9998", "data=x", "data=rt"])
def test_an_address_with_nonsense_still_gives_the_page(signed_in, ledger, query):
    assert signed_in("duty").get(f"/points/gas_outlet/days?{query}").status_code == 200


def test_the_chart_of_a_year_is_mean_lowest_and_highest_of_each_day(signed_in, march):
    client, end = signed_in("duty"), "2026-03-10"
    found = client.get(f"/points/gas_outlet/series.json?factor=a21026&span=1y&end={end}").json()
    assert (found["t"], found["force"]) == ([MARCH, MARCH + DAY], [22.0, 36.5])
    assert (found["low"], found["high"]) == ([11.0, 34.0], [33.0, 39.0])
    assert found["zs"] == [32.0, 46.5]
    page = client.get(f"/points/gas_outlet/?factor=a21026&span=1y&end={end}").content.decode()
    assert "日均值" in page
    table = client.get(f"/points/gas_outlet/?factor=a21026&span=1y&view=table&end={end}").content.decode()
    assert "打开日、月统计" in table


def test_the_command_says_what_is_kept_and_whether_it_holds(march, capsys, data):
    assert cli.main(["aggregates", "--verify", "--month", "2026-03"]) == 0
    said = capsys.readouterr().out
    assert "小时统计 0 行、日统计 2 行、月统计 1 行" in said
    assert "一致" in said
    with Store(data, write=True) as store:
        store.ledger.connection.execute("UPDATE aggregate SET valid = 99 WHERE period = 3")
    assert cli.main(["aggregates", "--verify"]) == 1
    assert "2026-03-01 00:00 起的月统计：保存的是 present 30、valid 99" in capsys.readouterr().out
    assert cli.main(["aggregates", "--verify", "--month", "März"]) == 2


def test_minutes_are_due_as_the_device_sends_them_and_without_one_nobody_knows(signed_in, ledger, data):
    with Store(data, write=True) as store, store.ledger.batch() as batch:
        row = (ledger.so2.id, int(Kind.MINUTE), MARCH, 0, 5.0, NAN, NAN, NAN, NAN, "N", MARCH + 60, ledger.frame)
        batch.add_readings([row])
    client, address = signed_in("duty"), "/points/gas_outlet/days?data=minute&span=2026-03"
    assert "有效 1，收到 1，应到 144" in client.get(address).content.decode()
    Device.objects.filter(point__code="gas_outlet").delete()
    text = client.get(address).content.decode()
    assert "有效 1，收到 1，应到 ?" in text
    assert "1 / ?" in text
