"""My work, the inbox, cases, limits, maintenance, periods – as each role meets them in the browser."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from datetime import date, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template import Template
from django.test.utils import instrumented_test_render

from ceguan.cases import engine
from ceguan.cases.models import Case, Period
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, Maintenance, PermitLimit
from ceguan.watch.findings import raise_finding
from ceguan.watch.models import Finding
from ceguan.words import BEIJING, beijing

PNG = b"\x89PNG\r\n\x1a\n" + b"photo"
CHECK = {"marks": "无标记，数据有效", "maintenance": "当时没有运维", "power": "生产与治污设施用电正常"}


def photo(name: str = "现场.png", content: bytes = PNG) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "text/html")


@pytest.fixture(autouse=True)
def contexts(monkeypatch) -> None:
    """Let the test client see what a page was made of."""
    monkeypatch.setattr(Template, "_render", instrumented_test_render)


@pytest.fixture
def finding(city, ledger) -> Finding:
    detail = {"zh": "超标：190 / 50 mg/m³", "en": "over: 190 / 50 mg/m³", "unit": "mg/m³", "factor": "a21026"}
    args = (
        "limit-hour:a21026",
        3,
        "二氧化硫小时均值超标 2.8 倍",
        "SO2 above limit",
        detail,
        [ledger.first, ledger.second],
    )
    return raise_finding(city.points["gas_outlet"], *args, ledger.hour, time.time())


@pytest.fixture
def case(city, finding) -> Case:
    return engine.open_from(finding, city.users["duty"], "立案的内部理由", time.time())


def post(signed_in, user: str, case: Case, step: str, **given):
    return signed_in(user).post(f"/cases/{case.number}/{step}/", {"text": f"{step}的说明", **given})


def to_visited(signed_in, city, case: Case) -> None:
    """Up to the visit, each step through the page."""
    today = beijing(time.time()).date().isoformat()
    assert post(signed_in, "duty", case, "dispatch", assignee=city.users["enforcement"].pk).status_code == 302
    assert post(signed_in, "enforcement", case, "sign").status_code == 302
    assert post(signed_in, "enforcement", case, "desk_check", **CHECK).status_code == 302
    answer = post(signed_in, "enforcement", case, "visit", visited_on=today, officers="张 110、李 111", files=[photo()])
    assert answer.status_code == 302


# ---- my work


@pytest.mark.parametrize("user", ["duty", "analyst", "enforcement", "leader", "admin", "enterprise", "west_officer"])
def test_every_role_starts_on_a_page_of_its_own_work(signed_in, case, user):
    answer = signed_in(user).get("/work/")
    assert answer.status_code == 200
    assert "我的工作" in answer.content.decode()


@pytest.mark.parametrize("user", ["duty", "enforcement", "leader", "enterprise", "west_officer"])
def test_every_total_equals_its_list(signed_in, city, finding, case, user):
    raise_finding(city.points["water"], "silent", 2, "静默", "silent", {}, [], time.time(), time.time())
    client = signed_in(user)
    totals = client.get("/work/").context["totals"]
    assert totals
    for total in totals:
        shown = client.get(total.href)
        assert shown.status_code == 200
        if not total.href.startswith("/points/"):
            rows = shown.context["total"]
            assert rows == total.number, total.name


def test_a_case_waits_for_who_may_do_the_next_step(signed_in, city, case):
    assert case.number in signed_in("duty").get("/work/").content.decode()
    post(signed_in, "duty", case, "dispatch", assignee=city.users["enforcement"].pk)
    assert case.number in signed_in("enforcement").get("/work/").content.decode()
    assert case.number not in signed_in("reviewer").get("/cases/?view=list&mine=1").content.decode()


# ---- inbox


def test_the_inbox_shows_each_finding_once_with_its_count(signed_in, city, finding):
    raise_finding(finding.point, finding.rule, 3, "又超标", "", {"zh": "x"}, [99], time.time(), time.time())
    answer = signed_in("duty").get("/inbox/")
    assert answer.context["total"] == 1
    assert answer.context["rows"][0]["finding"].count == 2


def test_the_detail_shows_chart_rule_text_and_readings_as_page_and_as_fragment(signed_in, finding, ledger):
    client = signed_in("duty")
    page = client.get(f"/inbox/?finding={finding.pk}").content.decode()
    fragment = client.get(f"/inbox/?finding={finding.pk}", headers={"HX-Request": "true"})
    for text in (page, fragment.content.decode()):
        assert 'data-chart="/points/gas_outlet/series.json?factor=a21026' in text
        assert "GB 13271-2014 表3" in text
        assert f"/verdicts/{ledger.second}/" in text
        assert "190.0" in text
    assert "<html" not in fragment.content.decode()
    assert "HX-Request" in fragment["Vary"]
    chart = re.search(r'data-chart="([^"]+)"', page)[1].replace("&amp;", "&")
    assert client.get(chart).json()["t"]


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", 1),
        ("?level=3", 1),
        ("?level=1", 0),
        ("?rule=limit", 1),
        ("?rule=silent", 0),
        ("?state=open", 1),
        ("?state=ended", 0),
        ("?owner=me", 0),
        ("?region=990101", 1),
        ("?region=990102", 0),
        ("?q=造纸", 1),
        ("?q=热电", 0),
        ("?level=nonsense&since=gestern", 1),
    ],
)
def test_the_address_filters_the_inbox(signed_in, finding, query, shown):
    assert signed_in("duty").get(f"/inbox/{query}").context["total"] == shown


def test_claim_note_hand_over_mute_and_dismiss_from_the_page(signed_in, city, finding):
    client = signed_in("duty")

    def do(action: str, **given) -> str:
        return client.post(f"/inbox/{finding.pk}/{action}/", {"back": "level=3", **given}, follow=True).content.decode()

    assert "已认领" in do("claim")
    assert "备注已记下" in do("note", text="电话询问")
    until = (datetime.now(BEIJING) + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M")
    assert "已屏蔽" in do("mute", text="检修", until=until)
    assert "已转办给 analyst" in do("hand_over", text="请核", to=city.users["analyst"].pk)
    assert "请选择辖区" in do("hand_over", text="请核", to=city.users["west_officer"].pk)
    assert "请填写排除理由" in do("dismiss", text="")
    assert "已作为误报排除" in do("dismiss", text="校准")
    finding.refresh_from_db()
    assert (finding.state, finding.owner) == ("dismissed", city.users["analyst"])


def test_after_an_action_the_same_list_comes_back(signed_in, finding):
    answer = signed_in("duty").post(f"/inbox/{finding.pk}/claim/", {"back": "level=3&rule=limit"})
    assert answer["Location"] == f"/inbox/?level=3&rule=limit&finding={finding.pk}"


def test_a_case_is_opened_from_the_inbox_in_two_clicks(signed_in, finding):
    answer = signed_in("duty").post(f"/inbox/{finding.pk}/case/", {"text": "连续超标"}, follow=True)
    assert answer.redirect_chain[0][0] == f"/cases/{Case.objects.get().number}/"
    again = signed_in("duty").post(f"/inbox/{finding.pk}/case/", {"text": "再立"}, follow=True)
    assert "不能立案" in again.content.decode()


def test_the_inbox_is_closed_to_enterprises_and_other_districts(signed_in, finding):
    assert signed_in("enterprise").get("/inbox/").status_code == 403
    west = signed_in("west_officer")
    assert west.get("/inbox/").context["total"] == 0
    assert west.get(f"/inbox/?finding={finding.pk}").status_code == 404
    assert west.post(f"/inbox/{finding.pk}/claim/").status_code == 404
    assert signed_in("admin").post(f"/inbox/{finding.pk}/claim/").status_code == 403
    assert signed_in("enterprise").post(f"/inbox/{finding.pk}/claim/").status_code == 403


# ---- cases


def test_a_case_is_walked_through_the_pages_from_dispatch_to_closure(signed_in, city, case, finding):
    to_visited(signed_in, city, case)
    cause = "治污设施故障"
    assert post(signed_in, "enterprise", case, "feedback", cause=cause, files=[photo("整改.png")]).status_code == 302
    assert post(signed_in, "reviewer", case, "review").status_code == 302
    assert post(signed_in, "leader", case, "close").status_code == 302
    case.refresh_from_db()
    finding.refresh_from_db()
    assert (case.state, finding.state) == ("closed", "ended")
    text = signed_in("duty").get(f"/cases/{case.number}/").content.decode()
    for said in ("链完好", "现场.png", "整改.png", "治污设施故障", "张 110、李 111", "案件已结束，不再计期"):
        assert said in text
    assert engine.verify(case) is None
    assert audit.verify() is None


def test_the_case_page_explains_the_clock_and_shows_the_readings_that_caused_it(signed_in, case, ledger):
    text = signed_in("duty").get(f"/cases/{case.number}/").content.decode()
    assert "个工作日，派发应在" in text
    assert "本局设定" in text
    assert "没有规定本程序各环节的期限" in text
    assert f"/verdicts/{ledger.second}/" in text
    assert 'data-chart="/points/gas_outlet/series.json' in text


def test_a_refused_step_says_why_and_keeps_what_was_written(signed_in, city, case):
    post(signed_in, "duty", case, "dispatch", assignee=city.users["enforcement"].pk)
    post(signed_in, "enforcement", case, "sign")
    answer = post(signed_in, "enforcement", case, "desk_check", **{**CHECK, "power": ""})
    text = answer.content.decode()
    assert answer.status_code == 409
    assert "请填写用电情况" in text
    assert "desk_check的说明" in text
    assert '<option value="当时没有运维" selected>' in text


def test_a_step_of_another_role_is_refused_with_the_reason(signed_in, city, case):
    answer = post(signed_in, "enforcement", case, "dispatch", assignee=city.users["enforcement"].pk)
    assert answer.status_code == 403
    assert "须由值班员、监测分析员、局领导办理" in answer.content.decode()
    assert case.events.count() == 1


def test_a_case_of_others_is_not_there(signed_in, city, case):
    for path in ("", "export.zip", "dispatch/", "files/1/"):
        client = signed_in("west_officer")
        address = f"/cases/{case.number}/{path}"
        answer = client.post(address) if path == "dispatch/" else client.get(address)
        assert answer.status_code == 404, path
    city.users["enterprise"].enterprise = city.plant
    city.users["enterprise"].save()
    assert signed_in("enterprise").get(f"/cases/{case.number}/").status_code == 404
    assert signed_in("enterprise").get("/cases/?view=list&state=all").context["total"] == 0


def test_the_enterprise_sees_its_case_without_the_internal_steps(signed_in, city, case):
    to_visited(signed_in, city, case)
    client = signed_in("enterprise")
    text = client.get(f"/cases/{case.number}/").content.decode()
    assert "visit的说明" in text
    for hidden in ("立案的内部理由", "desk_check的说明", "dispatch的说明", "当时没有运维"):
        assert hidden not in text
    assert 'id="act-feedback"' in text
    assert client.get(f"/cases/{case.number}/export.zip").status_code == 403


def test_evidence_is_given_only_to_who_may_read_the_step(signed_in, city, case):
    post(signed_in, "duty", case, "dispatch", assignee=city.users["enforcement"].pk, files=[photo("内部.png")])
    inner = case.events.get(step="dispatch").files.get()
    address = f"/cases/{case.number}/files/{inner.pk}/"
    answer = signed_in("duty").get(address)
    assert b"".join(answer.streaming_content) == PNG
    assert answer["Content-Type"] == "image/png"  # ours, not what the sender claimed
    assert answer["Content-Disposition"].startswith("attachment")
    assert signed_in("enterprise").get(address).status_code == 403


def test_a_file_that_is_no_evidence_stops_the_step(signed_in, city, case):
    answer = post(
        signed_in, "duty", case, "dispatch", assignee=city.users["enforcement"].pk, files=[photo("x.html", b"<b>")]
    )
    assert answer.status_code == 409
    assert "只收" in answer.content.decode()
    assert case.events.count() == 1


def test_what_people_write_is_shown_as_text(signed_in, case):
    signed_in("duty").post(f"/cases/{case.number}/note/", {"text": "<script>alert(1)</script>"})
    text = signed_in("duty").get(f"/cases/{case.number}/").content.decode()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_board_and_list_hold_the_same_cases(signed_in, case):
    client = signed_in("duty")
    columns = client.get("/cases/").context["columns"]
    assert [card.case.number for column in columns for card in column["cards"]] == [case.number]
    assert client.get("/cases/?view=list").context["total"] == 1
    assert client.get("/cases/?view=list&overdue=1").context["total"] == 0
    assert client.get("/cases/?view=list&state=ended").context["total"] == 0
    assert client.get("/cases/?view=list&q=造纸&region=990102").context["total"] == 0


def test_the_exported_file_can_be_verified_without_the_platform(signed_in, city, case):
    to_visited(signed_in, city, case)
    answer = signed_in("duty").get(f"/cases/{case.number}/export.zip")
    pack = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    events = json.loads(pack.read("events.json"))["events"]
    before = audit.START
    for event in events:
        assert audit.digest(event["content"]) == event["hash"]
        assert event["content"]["prev_hash"] == before
        before = event["hash"]
    evidence = [name for name in pack.namelist() if name.startswith("files/")]
    assert [pack.read(name) for name in evidence] == [PNG]
    assert "190.0" in pack.read("readings.csv").decode()
    page = pack.read("index.html").decode()
    assert "visit的说明" in page
    assert "事件链与附件哈希完好" in page
    event = AuditEvent.objects.last()
    assert (event.action, event.who) == ("case.export", city.users["duty"])
    case.refresh_from_db()
    assert engine.verify(case) is None


# ---- limits, maintenance, periods


def limit_form(city, **given) -> dict:
    day = (beijing(time.time()).date() + timedelta(days=1)).isoformat()
    return {
        "permit": city.limit.permit.pk, "factor": "a21026", "basis": "hour", "high": "35", "unit": "mg/m³",
        "converted": "on", "standard": "GB 13271-2014", "clause": "表3", "trust": "P", "valid_from": day,
        "reason": "许可证变更", **given,
    }  # fmt: skip


def test_a_limit_is_changed_as_a_new_version_and_the_page_shows_both(signed_in, city, db):
    client = signed_in("analyst")
    assert 'value="50.0"' in client.get(f"/points/gas_outlet/limits/?from={city.limit.pk}").content.decode()
    text = client.post("/points/gas_outlet/limits/", limit_form(city), follow=True).content.decode()
    assert "新版本已登记" in text
    assert "许可证变更" in text
    assert "核发许可证" in text
    assert [one.high for one in PermitLimit.objects.filter(point=city.limit.point).order_by("valid_from")] == [50, 35]


@pytest.mark.parametrize(
    ("given", "message"),
    [({"reason": ""}, "变更理由"), ({"high": "x"}, "限值"), ({"valid_from": "2020-01-01"}, "许可证有效期内")],
)
def test_a_limit_that_cannot_stand_is_refused_on_the_page(signed_in, city, given, message):
    answer = signed_in("analyst").post("/points/gas_outlet/limits/", limit_form(city, **given))
    assert answer.status_code == 409
    assert message in answer.content.decode()
    assert PermitLimit.objects.filter(point=city.limit.point).count() == 1


def test_an_enterprise_reads_its_limits_and_cannot_change_them(signed_in, city):
    client = signed_in("enterprise")
    text = client.get("/points/gas_outlet/limits/").content.decode()
    assert "GB 13271-2014" in text
    assert "须由监测分析员、系统管理员办理" in text
    assert client.post("/points/gas_outlet/limits/", limit_form(city)).status_code == 403
    assert client.get("/points/west_outlet/limits/").status_code == 404


def test_maintenance_is_announced_and_taken_back_on_the_page(signed_in, city):
    client = signed_in("enterprise")
    start = datetime.now(BEIJING) + timedelta(hours=2)
    given = {
        "start": start.strftime("%Y-%m-%dT%H:%M"),
        "end": (start + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M"),
        "reason": "更换滤芯",
    }
    text = client.post("/points/gas_outlet/maintenance/", given, follow=True).content.decode()
    assert "维护窗口已公告" in text
    assert start.strftime("%Y-%m-%d %H:%M") in text  # Beijing time in, Beijing time out
    assert client.post("/points/gas_outlet/maintenance/", given).status_code == 409
    assert client.get("/points/air/maintenance/").status_code == 404
    assert signed_in("leader").post("/points/gas_outlet/maintenance/", given).status_code == 403
    window = Maintenance.objects.get()
    client.post(f"/points/gas_outlet/maintenance/{window.pk}/cancel/", {"reason": "改期"})
    assert not Maintenance.objects.exists()


def test_periods_are_set_by_leaders_for_clocks_to_come(signed_in, city):
    client, first = signed_in("leader"), beijing(time.time()).date() + timedelta(days=1)
    given = {"step": "auto_exceedance/sign", "days": "2", "unit": "wd", "valid_from": first, "reason": "本局办法"}
    text = client.post("/periods/", given, follow=True).content.decode()
    assert "新期限已登记" in text
    assert "本局办法" in text
    assert Period.objects.get().days == 2
    late = client.post("/periods/", {**given, "valid_from": date(2026, 1, 1)})
    assert late.status_code == 409
    assert "生效日应在今天之后" in late.content.decode()


@pytest.mark.parametrize("user", ["duty", "analyst", "enforcement", "enterprise"])
def test_periods_are_closed_to_other_roles(signed_in, user):
    assert signed_in(user).get("/periods/").status_code == 403


PAGES = ("/work/", "/inbox/?finding={finding}", "/cases/", "/cases/?view=list", "/cases/{case}/",
         "/points/gas_outlet/limits/", "/points/gas_outlet/maintenance/", "/periods/")  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_inline_script_or_style_and_all_are_there_in_english(signed_in, case, finding, page):
    client = signed_in("leader")
    address = page.format(finding=finding.pk, case=case.number)
    for language in ("zh-hans", "en"):
        client.cookies["django_language"] = language
        answer = client.get(address)
        text = answer.content.decode()
        assert answer.status_code == 200
        assert " style=" not in text
        assert " onclick=" not in text
        assert "<script>" not in text


def test_a_long_inbox_costs_no_query_per_row(signed_in, city, finding):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = signed_in("duty")
    with CaptureQueriesContext(connection) as few:
        client.get("/inbox/")
    for number in range(20):
        rule = f"silent{number}"
        raise_finding(city.points["water"], rule, 2, "静默", "silent", {}, [], time.time(), time.time())
    with CaptureQueriesContext(connection) as many:
        client.get("/inbox/")
    assert len(many) <= len(few) + 2
