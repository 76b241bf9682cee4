"""A case from its finding to its closure: guards, separation of persons, the chain, the trail."""

from __future__ import annotations

import re

import pytest
from django.db import Error, connection, transaction
from django.utils import translation

from ceguan.cases import engine, files
from ceguan.cases.models import Attachment, Case, CaseEvent
from ceguan.registry import audit, rights
from ceguan.watch.findings import dismiss
from ceguan.watch.models import Finding
from tests.city import on

from .conftest import NOW, WALK, exceedance, photo, step, walk


def allowed(case, user) -> set[str]:
    return {action.step.id for action in engine.actions_for(case, user, NOW) if action.allowed}


def why(case, user, name: str) -> str:
    return next(action.reason for action in engine.actions_for(case, user, NOW) if action.step.id == name)


# ---- opening


def test_a_case_is_opened_from_a_finding_which_follows_it(city, finding, case):
    finding.refresh_from_db()
    assert finding.state == "case"
    assert (case.number, case.state, case.point, case.enterprise) == ("DB-2026-0001", "filed", finding.point, city.mill)
    assert case.findings.get() == finding
    assert finding.events.last().text == "DB-2026-0001"
    event = case.events.get()
    assert (event.step, event.after, event.text, event.data["verdicts"]) == ("open", "filed", "连续超标", [1])


def test_a_new_exceedance_folds_into_the_finding_of_the_open_case(city, finding, case):
    again = exceedance(city, at=NOW + 3600)
    assert again == finding or again.count == 1  # the same verdict is raised once only
    detail = {"zh": "70"}
    from ceguan.watch.findings import raise_finding

    folded = raise_finding(finding.point, finding.rule, 2, "又超标", "", detail, [2], NOW + 3600, NOW + 3700)
    assert (folded.pk, folded.state, folded.count) == (finding.pk, "case", 2)


@pytest.mark.parametrize("number", [2, 11])
def test_numbers_run_on_within_the_year(city, finding, case, number):
    Case.objects.filter(pk=case.pk).update(number=f"DB-2026-{number - 1:04d}")
    second = exceedance(city, "water_outlet", "limit-day:w01018")
    assert engine.open_from(second, city.users["duty"], "超标", NOW).number == f"DB-2026-{number:04d}"


def test_a_second_case_from_one_finding_is_refused(city, finding, case):
    with pytest.raises(engine.RefusedError, match="现为“已立案”"):
        engine.open_from(finding, city.users["leader"], "再立", NOW)


def test_a_dismissed_finding_makes_no_case(city, finding):
    dismiss(finding, city.users["duty"], "校准", NOW)
    with pytest.raises(engine.RefusedError, match="现为“已排除”"):
        engine.open_from(finding, city.users["duty"], "立案", NOW)
    assert not Case.objects.exists()


def test_silence_has_no_procedure_and_the_refusal_says_what_can_be_done(city):
    silent = exceedance(city, rule="silent")
    with pytest.raises(engine.RefusedError, match="没有对应的办案程序，可以认领"):
        engine.open_from(silent, city.users["duty"], "立案", NOW)


@pytest.mark.parametrize(("user", "message"), [("enterprise", "“立案”须由"), ("west_officer", "不在您的辖区")])
def test_who_may_not_open_cases_is_told_why(city, finding, user, message):
    with pytest.raises(rights.Forbidden, match=message):
        engine.open_from(finding, city.users[user], "立案", NOW)


# ---- the way


def test_a_case_goes_from_dispatch_to_closure_and_its_finding_ends(city, finding, case):
    walk(city, case, "close")
    finding.refresh_from_db()
    assert (case.state, finding.state) == ("closed", "ended")
    assert case.closed_at.timestamp() == NOW
    assert [event.step for event in case.events.all()] == ["open", *(row[0] for row in WALK)]
    assert engine.verify(case) is None
    assert audit.verify() is None


def test_after_the_end_nothing_can_be_done(city, case):
    walk(city, case, "close")
    for user in city.users.values():
        assert allowed(case, user) == set()
    with pytest.raises(engine.RefusedError, match="案件现为“已销号”"):
        step(city, case, "close")


def test_back_returns_to_feedback_and_the_way_is_walked_again(city, case):
    walk(city, case, "feedback")
    engine.act(case, city.users["reviewer"], "back", "证据不足", {}, [], NOW)
    assert case.state == "visited"
    for name in ("feedback", "review", "close"):
        step(city, case, name)
    assert case.state == "closed"
    assert engine.verify(case) is None


def test_a_leader_withdraws_a_case_and_its_finding_ends(city, finding, case):
    engine.act(case, city.users["leader"], "withdraw", "数据重算后不超标", {}, [], NOW)
    finding.refresh_from_db()
    assert (case.state, finding.state) == ("withdrawn", "ended")


def test_a_case_is_dispatched_anew_and_the_first_officer_is_out(city, case):
    walk(city, case, "sign")
    engine.act(case, city.users["leader"], "redispatch", "出差", {"assignee": city.users["reviewer"]}, [], NOW)
    assert (case.state, case.assignee) == ("dispatched", city.users["reviewer"])
    assert "sign" not in allowed(case, city.users["enforcement"])
    assert "sign" in allowed(case, city.users["reviewer"])


# ---- guards


@pytest.mark.parametrize(("name", "who"), [(row[0], row[1]) for row in WALK])
def test_every_step_is_refused_to_other_roles_with_the_roles_named(city, case, name, who):
    names = [row[0] for row in WALK]
    if name != "dispatch":
        walk(city, case, names[names.index(name) - 1])
    roles = engine.procedure_of(case).steps[name].roles
    for user in city.users.values():
        if user.role not in roles:
            with pytest.raises(rights.Forbidden, match=r"须由|不在您的辖区"):
                step(city, case, name, user=user.username)
    assert case.state == case.events.last().after
    step(city, case, name)


def test_only_the_officer_in_charge_signs(city, case):
    step(city, case, "dispatch")
    assert why(case, city.users["reviewer"], "sign") == "“签收”须由承办人enforcement办理"
    assert "sign" in allowed(case, city.users["enforcement"])


def test_a_case_of_another_district_cannot_be_touched(city, case):
    step(city, case, "dispatch")
    with pytest.raises(rights.Forbidden, match="不在您的辖区"):
        step(city, case, "sign", user="west_officer")


def test_it_is_dispatched_only_to_officers_whose_region_covers_it(city, case):
    dispatch = engine.actions_for(case, city.users["duty"], NOW)[0]
    assert {user.username for user in dispatch.officers} == {"enforcement", "reviewer"}
    with pytest.raises(engine.RefusedError, match="请选择承办人"):
        step(city, case, "dispatch", data={"assignee": "west_officer"})


def test_who_gave_feedback_neither_reviews_nor_closes(city, case):
    walk(city, case, "visit")
    step(city, case, "feedback", user="enforcement")
    for name in ("review", "back"):
        assert why(case, city.users["enforcement"], name).startswith("您办理过本案的“反馈”")
    with pytest.raises(rights.Forbidden, match="人员分离"):
        step(city, case, "review", user="enforcement")
    step(city, case, "review", user="reviewer")
    assert "close" not in allowed(case, city.users["enforcement"])
    assert "close" in allowed(case, city.users["leader"])


def test_the_enterprise_gives_feedback_in_its_own_case_and_does_nothing_else(city, case):
    user = city.users["enterprise"]
    assert allowed(case, user) == set()
    walk(city, case, "visit")
    assert allowed(case, user) == {"feedback"}
    user.enterprise = city.plant
    assert "本单位" in why(case, user, "feedback")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("desk_check", {"text": " "}, "请填写核查结论"),
        ("desk_check", {"data": {"marks": ""}}, "请填写数据标记"),
        ("desk_check", {"data": {"power": "随便"}}, "用电情况应为"),
        ("visit", {"files": []}, "须附证据，至少 1 个文件"),
        ("visit", {"data": {"visited_on": "2026-03-13"}}, "应在立案（2026-03-12）与今天（2026-03-12）之间"),
        ("visit", {"data": {"visited_on": "昨天"}}, "应为日期"),
        ("feedback", {"text": "字" * 5001}, "最长 5000 字"),
    ],
)
def test_what_is_missing_is_named_and_nothing_happens(city, case, name, change, message):
    names = [row[0] for row in WALK]
    walk(city, case, names[names.index(name) - 1])
    before = (case.state, case.events.count())
    with pytest.raises(engine.RefusedError, match=message):
        step(city, case, name, **change)
    case.refresh_from_db()
    assert (case.state, case.events.count()) == before


def test_a_refused_file_stops_the_whole_step(city, case):
    walk(city, case, "desk_check")
    with pytest.raises(files.FileRefusedError):
        step(city, case, "visit", files=[photo(), photo("x.exe", b"MZ")])
    assert case.events.count() == 4
    assert not Attachment.objects.exists()


def test_fields_nobody_asked_for_are_not_recorded(city, case):
    event = step(city, case, "dispatch", data={"state": "closed"})
    assert set(event.data) == {"assignee"}


def test_a_step_already_done_by_somebody_else_is_refused(city, case):
    stale = Case.objects.get(pk=case.pk)
    step(city, case, "dispatch")
    with pytest.raises(engine.RefusedError, match="可能别人刚办过"):
        step(city, stale, "dispatch")


# ---- the chain


def around_the_guard(sql: str, *values) -> None:
    with connection.cursor() as cursor:
        for table in ("cases_caseevent", "cases_attachment", "registry_auditevent"):
            for verb in ("update", "delete"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}{on(table)}")
        cursor.execute(sql, values)


@pytest.mark.parametrize("table", ["cases_caseevent", "cases_attachment"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_the_database_refuses_to_change_events_and_evidence(city, case, table, verb):
    walk(city, case, "visit")
    with pytest.raises(Error, match="案件记录只能追加"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(verb.format(table))


@pytest.mark.parametrize("column", ["text", "data", "who_id", "at", "step"])
def test_a_changed_event_is_named(city, case, column):
    walk(city, case, "visit")
    values = {"data": "{}", "who_id": city.users["admin"].pk, "at": "2020-01-01 00:00:00"}
    around_the_guard(f"UPDATE cases_caseevent SET {column} = %s WHERE seq = 4", values.get(column, "改"))
    assert engine.verify(case) == "案件 DB-2026-0001 第 4 步断链：内容与其哈希不符"


def test_swapped_evidence_is_found_in_the_database_and_on_disk(city, case):
    walk(city, case, "visit")
    attachment = Attachment.objects.get()
    path = files.path_of(attachment.sha256)
    content = path.read_bytes()
    path.write_bytes(b"other")
    assert "与登记的哈希不符" in engine.verify(case)
    path.write_bytes(content)
    assert engine.verify(case) is None
    around_the_guard("UPDATE cases_attachment SET sha256 = %s", "0" * 64)
    assert "内容与其哈希不符" in engine.verify(case)


def test_a_case_cut_short_at_its_end_does_not_agree_with_the_trail(city, case):
    walk(city, case, "sign")
    around_the_guard("DELETE FROM cases_caseevent WHERE seq = 3")
    Case.objects.update(state="dispatched")
    case.refresh_from_db()
    assert engine.verify(case) == "案件 DB-2026-0001 的步骤与留痕不符：留痕 3 步，案卷 2 步"


def test_a_state_set_by_hand_is_found(city, case):
    Case.objects.update(state="closed")
    case.refresh_from_db()
    assert "与其最后一步不符" in engine.verify(case)


def test_an_event_s_hash_covers_its_files(city, case):
    walk(city, case, "visit")
    event = CaseEvent.objects.get(step="visit")
    recorded = engine.content(event, engine.attached(event))
    assert recorded["files"][0]["sha256"] == event.files.get().sha256
    assert audit.digest(recorded) == event.hash
    assert audit.digest({**recorded, "files": []}) != event.hash


def test_a_failed_step_leaves_neither_event_nor_trail(city, case, monkeypatch):
    before = audit.head()
    monkeypatch.setattr(engine, "_cache", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step(city, case, "dispatch")
    assert case.events.count() == 1
    assert audit.head() == before
    assert Finding.objects.get().state == "case"


# ---- on an English page


CHINESE = re.compile(r"[\u3400-\u9fff]")


@pytest.mark.parametrize("name", [row[0] for row in WALK])
def test_on_an_english_page_every_reason_for_or_against_a_step_is_english(city, case, name):
    walk(city, case, name)
    with translation.override("en"):
        reasons = [one.reason for user in city.users.values() for one in engine.actions_for(case, user, NOW)]
    assert [reason for reason in reasons if CHINESE.search(reason)] == []


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("desk_check", {"text": " "}, "Fill in: "),
        ("desk_check", {"data": {"marks": ""}}, "Fill in: "),
        ("desk_check", {"data": {"power": "x"}}, "must be one of: "),
        ("visit", {"files": []}, "needs evidence, at least 1 file"),
        ("visit", {"files": [photo("x.exe", b"MZ")]}, "only files of these kinds are: "),
        ("visit", {"files": [photo("x.png", b"MZ")]}, "its content is not what its suffix says"),
        ("visit", {"files": [photo("x.png", b"")]}, "the file is empty"),
        ("visit", {"data": {"visited_on": "2026-03-13"}}, "between the opening of the case"),
        ("visit", {"data": {"visited_on": "x"}}, "must be a date such as 2026-03-12"),
        ("feedback", {"text": "x" * 5001}, "at most 5000 characters and has 5001"),
        ("dispatch", {}, "perhaps somebody has just worked on it"),
    ],
)
def test_on_an_english_page_what_is_missing_is_named_in_english(city, case, name, change, message):
    names = [row[0] for row in WALK]
    walk(city, case, names[names.index(name) - 1] if names.index(name) else name)
    with translation.override("en"), pytest.raises((engine.RefusedError, files.FileRefusedError)) as refused:
        step(city, case, name, **change)
    assert message in str(refused.value)
    assert not CHINESE.search(str(refused.value))


def test_on_an_english_page_a_case_that_cannot_be_opened_says_so_in_english(city, finding):
    with translation.override("en"), pytest.raises(engine.RefusedError, match="no procedure for alarms of this kind"):
        engine.open_from(exceedance(city, rule="silent"), city.users["duty"], "x", NOW)
    dismiss(finding, city.users["duty"], "校准", NOW)
    with translation.override("en"), pytest.raises(engine.RefusedError, match="the alarm is “dismissed” now"):
        engine.open_from(finding, city.users["duty"], "x", NOW)
