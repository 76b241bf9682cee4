"""Clocks in the law's own words: working days, skipped days with their reason, the bureau's own periods by date."""

from __future__ import annotations

from datetime import date

import pytest

from ceguan.cases import clocks, engine, periods
from ceguan.cases.models import Period
from ceguan.registry import rights
from ceguan.registry.models import AuditEvent
from ceguan.standards.procedures import procedures

from .conftest import NOW, beijing, exceedance, walk

AUTO = procedures()["auto_exceedance"]


@pytest.mark.parametrize(
    ("start", "days", "unit", "day", "skipped"),
    [
        ("2026-03-12", 1, "wd", "2026-03-13", 0),  # 周四起算，周五到期
        ("2026-03-13", 1, "wd", "2026-03-16", 2),  # 周五立案，跳过周末
        ("2026-03-13", 1, "d", "2026-03-14", 0),  # 按日计不跳过
        ("2026-09-30", 2, "wd", "2026-10-09", 7),  # 国庆放假七天
        ("2026-02-13", 1, "wd", "2026-02-14", 0),  # 春节前的周六调休上班
        ("2026-03-14", 1, "wd", "2026-03-16", 1),  # 周六进入本环节
    ],
)
def test_a_period_counts_from_the_next_day_and_only_days_that_count(start, days, unit, day, skipped):
    found = clocks.due(date.fromisoformat(start), days, unit)
    assert found.day == date.fromisoformat(day)
    assert len(found.skipped) == skipped
    assert all(one.reason.zh for one in found.skipped)


def test_a_clock_that_runs_beyond_the_calendar_says_so_rather_than_guess():
    found = clocks.due(date(2026, 12, 30), 5, "wd")
    assert found.day is None
    assert "2027" in found.problem


def test_a_fresh_case_waits_to_be_dispatched_within_the_table_s_period(case):
    clock = clocks.clock(case, NOW)
    assert (clock.step.id, clock.started, clock.due) == ("dispatch", date(2026, 3, 12), date(2026, 3, 13))
    assert (clock.days_left, clock.unit, clock.trust) == (1, "wd", "local")
    assert "没有规定" in clock.term.source.zh
    assert clock.sentence.zh == "2026-03-12 进入本环节，次日起算 1 个工作日，派发应在 2026-03-13 24:00 前完成"


@pytest.mark.parametrize(
    ("now", "left", "overdue"),
    [
        ("2026-03-13 23:59", 0, False),
        ("2026-03-14 00:00", -1, True),  # a Saturday: no working day has passed, but the period has
        ("2026-03-16 09:00", -1, True),
        ("2026-03-17 09:00", -2, True),
    ],
)
def test_a_period_ends_with_its_last_day(case, now, left, overdue):
    clock = clocks.clock(case, beijing(now))
    assert (clock.days_left, clock.overdue) == (left, overdue)
    assert (clock.due_at < beijing(now) + 1) is overdue


def test_lists_find_overdue_cases_by_the_same_moment(case):
    assert case.due_at.timestamp() == clocks.clock(case, NOW).due_at == beijing("2026-03-14 00:00")


def test_each_state_starts_its_own_clock_and_a_note_does_not(city, case):
    walk(city, case, "sign")
    later = beijing("2026-03-13 09:00")
    assert clocks.clock(case, later).due == date(2026, 3, 16)
    engine.act(case, city.users["leader"], "press", "尽快", {}, [], later)
    clock = clocks.clock(case, later)
    assert (clock.step.id, clock.started, clock.due) == ("desk_check", date(2026, 3, 12), date(2026, 3, 16))


def test_a_closed_case_has_no_running_clock(city, case):
    walk(city, case, "close")
    clock = clocks.clock(case, NOW)
    assert not clock.running
    assert not clock.overdue
    assert case.due_at is None
    assert clock.sentence.zh == "案件已结束，不再计期"


def test_the_clock_in_utc_early_morning_belongs_to_the_beijing_day(city, finding):
    case = engine.open_from(finding, city.users["duty"], "连续超标", beijing("2026-03-13 00:30"))
    assert clocks.clock(case, NOW).started == date(2026, 3, 13)


# ---- the bureau's own periods


def set_period(city, days=3, valid_from=date(2026, 3, 13), user="leader", reason="本局办法", step="dispatch"):
    return periods.set_period(AUTO, AUTO.steps[step], days, "wd", valid_from, reason, city.users[user], NOW)


def test_an_own_period_holds_for_clocks_that_begin_from_its_day_on(city, case):
    set_period(city)
    assert clocks.clock(case, NOW).term.days == 1
    later = beijing("2026-03-13 08:00")
    second = exceedance(city, point="water_outlet", rule="limit-day:w01018")
    clock = clocks.clock(engine.open_from(second, city.users["duty"], "超标", later), later)
    assert (clock.term.days, clock.trust, clock.due) == (3, "local", date(2026, 3, 18))
    assert clock.term.source.zh == "本局设定，自 2026-03-13 起：本局办法"


def test_of_two_own_periods_the_newest_in_force_counts(city):
    for days, day in ((3, "2026-03-13"), (5, "2026-06-01")):
        set_period(city, days, date.fromisoformat(day))
    own = clocks.periods("auto_exceedance")
    chosen = [clocks.term(AUTO, AUTO.steps["dispatch"], own, date(2026, month, 20)).days for month in (2, 3, 7)]
    assert chosen == [1, 3, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"days": 0}, "1 至 365"),
        ({"reason": " "}, "请填写理由"),
        ({"valid_from": date(2026, 3, 12)}, "生效日应在今天之后"),
        ({"step": "note"}, "没有期限"),
    ],
)
def test_a_period_that_cannot_stand_is_refused(city, change, message):
    with pytest.raises(periods.PeriodError, match=message):
        set_period(city, **change)
    assert not Period.objects.exists()


def test_only_leaders_and_administrators_set_periods_and_it_is_audited(city):
    with pytest.raises(rights.Forbidden, match="局领导、系统管理员"):
        set_period(city, user="duty")
    set_period(city, user="admin")
    event = AuditEvent.objects.get()
    assert (event.action, event.subject, event.reason) == ("period.set", "period:auto_exceedance/dispatch", "本局办法")


def test_many_clocks_cost_few_queries(city, case, django_queries):
    walk(city, case, "sign")
    with django_queries() as queries:
        found = clocks.clocks([case], NOW)
    assert found[case.pk] == clocks.clock(case, NOW)
    assert len(queries) <= 3


@pytest.fixture
def django_queries():
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return lambda: CaptureQueriesContext(connection)
