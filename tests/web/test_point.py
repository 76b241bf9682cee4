"""The page of a point, where a number comes from, decisions, exports."""

from __future__ import annotations

import io

import orjson
import pytest
from openpyxl import load_workbook

from ceguan.registry.models import AuditEvent
from ceguan.store import RecordKind, Store
from ceguan.words import FrameRef


def test_the_latest_value_stands_with_unit_time_state_and_its_source(signed_in, ledger):
    text = signed_in("duty").get("/points/gas_outlet/").content.decode()
    assert "<b>190</b>" in text.replace("190.0", "190")
    assert "mg/m³" in text
    assert "实时，未审核" in text
    assert f"/readings/{ledger.so2.id}/hour/{ledger.hour}/" in text


def test_the_chart_keeps_raw_and_in_force_apart_with_flags_decisions_gaps_and_limits(signed_in, ledger):
    found = signed_in("duty").get("/points/gas_outlet/series.json?factor=a21026&span=3d").json()
    assert found["raw"] == [20.0, 30.0, 190.0]
    assert found["force"] == [None, 30.0, 190.0]
    assert found["zs"] == [None, 33.0, 209.0]
    assert found["flags"] == [{"t": ledger.hour, "text": "突变: 可疑"}]
    assert found["decisions"][0]["mark"] == "剔"
    assert found["gaps"][0]["text"] == "未收到数据包"
    assert found["limits"][0]["label"].endswith("GB 13271-2014 表3")
    assert found["limits"][0]["converted"]


def test_the_table_shows_the_same_data_newest_first(signed_in, ledger):
    text = signed_in("duty").get("/points/gas_outlet/?view=table").content.decode()
    assert text.index(">190.0<") < text.index(">30.0<") < text.index(">20.0<")
    assert "剔除" in text


@pytest.mark.parametrize(
    "query", ["span=nonsense", "kind=nonsense", "end=2026-13-99", "factor=none", "view=table&page=99"]
)
def test_an_address_with_nonsense_still_gives_the_page(signed_in, ledger, query):
    assert signed_in("duty").get(f"/points/gas_outlet/?{query}").status_code == 200


def test_a_point_without_anything_says_why_it_is_empty(signed_in, city):
    text = signed_in("duty").get("/points/west_outlet/").content.decode()
    assert "这段时间没有读数" in text


def test_a_recomputed_verdict_shows_old_and_new_side_by_side(signed_in, ledger):
    text = signed_in("duty").get(f"/verdicts/{ledger.second}/").content.decode()
    assert "超标：180 / 50 mg/m³" in text
    assert "超标：190 / 50 mg/m³" in text
    assert "GB 13271-2014 表3" in text
    assert "重算：新旧并列" in text
    assert f"/frames/{FrameRef.unpack(ledger.frame)}/" in text


def test_a_reading_shows_its_versions_flags_and_the_verdicts_that_rest_on_it(signed_in, ledger):
    text = signed_in("duty").get(f"/readings/{ledger.so2.id}/hour/{ledger.hour}/").content.decode()
    assert "v0" in text
    assert "v1" in text
    assert "突变" in text
    assert f"/verdicts/{ledger.second}/" in text


DECISION = {"factor": "a21026", "kind": "hour", "start": "2026-03-01T08:00", "end": "2026-03-01T09:00"}


def test_a_decision_is_on_disk_and_audited_before_the_page_says_so(signed_in, ledger, data):
    form = DECISION | {"action": "substitute", "value": "42", "why": "比对监测报告 12 号"}
    answer = signed_in("analyst").post("/points/gas_outlet/decide/", form, follow=True)
    assert "决定已留档" in answer.content.decode()
    record = next(record for record in Store(data).arrivals({}) if record.kind == RecordKind.DECISION)
    content = orjson.loads(record.payload)
    assert (content["action"], content["value"], content["who"]) == ("substitute", 42.0, "analyst")
    assert content["ts_to"] - content["ts_from"] == 3600
    assert AuditEvent.objects.get().reason == "比对监测报告 12 号"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"why": ""}, "这个字段是必填项"),
        ({"action": "substitute", "value": ""}, "替代须给出数值"),
        ({"end": "2026-03-01T07:00"}, "“至”应晚于“自”"),
    ],
)
def test_a_decision_without_reason_value_or_sense_is_refused(signed_in, ledger, data, wrong, said):
    form = DECISION | {"action": "keep", "why": "人工复核无误"} | wrong
    answer = signed_in("analyst").post("/points/gas_outlet/decide/", form)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not [record for record in Store(data).arrivals({}) if record.kind == RecordKind.DECISION]


def test_only_an_analyst_decides(signed_in, ledger):
    answer = signed_in("duty").get("/points/gas_outlet/decide/")
    assert answer.status_code == 403
    assert "监测分析员" in answer.content.decode()


def test_an_export_holds_what_the_table_shows_and_is_on_record(signed_in, ledger):
    answer = signed_in("duty").get("/points/gas_outlet/export.csv?factor=a21026")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
    assert len(lines) == 4
    assert ",20.0,0,," in lines[1]
    event = AuditEvent.objects.get()
    assert (event.action, event.subject, event.who.username) == ("export", "point:gas_outlet", "duty")


def test_an_export_as_xlsx_opens(signed_in, ledger):
    answer = signed_in("duty").get("/points/gas_outlet/export.xlsx?factor=a21026")
    sheet = load_workbook(io.BytesIO(b"".join(answer.streaming_content))).active
    assert [row[6] for row in sheet.iter_rows(min_row=2, values_only=True)] == [20, 30, 190]
