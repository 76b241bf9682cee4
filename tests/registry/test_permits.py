"""Permit limits as dated versions with a reason; maintenance windows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from ceguan.registry import audit, maintenance, permits, rights
from ceguan.registry.models import AuditEvent, Maintenance, Permit, PermitLimit
from ceguan.words import BEIJING

TODAY = date(2026, 3, 12)
NOW = datetime(2026, 3, 12, 10, tzinfo=BEIJING).timestamp()
TERMS = permits.Terms("a21026", "hour", 35, "mg/m³", "GB 13271-2014", "表3", converted=True)


def set_limit(city, user="analyst", terms=TERMS, valid_from=date(2026, 4, 1), reason="许可证变更"):
    limit = city.limit
    return permits.set_limit(limit.permit, limit.point, terms, valid_from, reason, city.users[user], NOW)


def test_an_edit_closes_the_old_version_and_opens_a_new_one(city):
    new = set_limit(city)
    city.limit.refresh_from_db()
    assert city.limit.valid_to == date(2026, 3, 31)
    assert (new.valid_from, new.valid_to, new.high, new.reason) == (date(2026, 4, 1), None, 35, "许可证变更")
    assert PermitLimit.objects.filter(point=city.limit.point).count() == 2


@pytest.mark.parametrize(("day", "high"), [(date(2026, 3, 31), 50), (date(2026, 4, 1), 35), (date(2023, 1, 1), None)])
def test_the_limit_of_a_day_is_the_version_of_that_day(city, day, high):
    set_limit(city)
    found = permits.limits_on(day, [city.points["gas_outlet"]])
    assert [one.high for one in found] == ([] if high is None else [high])


def test_who_changed_what_and_why_is_in_the_audit_trail(city):
    set_limit(city)
    event = AuditEvent.objects.get()
    assert (event.who, event.action, event.subject) == (city.users["analyst"], "limit.set", "point:gas_outlet")
    assert (event.detail["before"]["high"], event.detail["after"]["high"]) == (50, 35)
    assert event.reason == "许可证变更"
    assert audit.verify() is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reason": "  "}, "请填写变更理由"),
        ({"valid_from": TODAY - timedelta(days=1)}, "生效日不能早于今天"),
        ({"valid_from": date(2030, 1, 1)}, "许可证有效期内"),
        ({"terms": replace(TERMS, high=0)}, "限值应大于零"),
        ({"terms": replace(TERMS, low=40)}, "下限应小于限值"),
        ({"terms": replace(TERMS, clause=" ")}, "标准和条款"),
        ({"terms": replace(TERMS, high=50)}, "内容与现行版本相同"),
    ],
)
def test_an_edit_that_cannot_stand_changes_nothing_and_says_why(city, change, message):
    with pytest.raises(permits.LimitError, match=message):
        set_limit(city, **change)
    assert PermitLimit.objects.filter(point=city.limit.point).get().valid_to is None
    assert not AuditEvent.objects.exists()


def test_a_version_begins_after_the_one_before_it(city):
    set_limit(city)
    with pytest.raises(permits.LimitError, match="现行版本自 2026-04-01 起生效"):
        set_limit(city, terms=replace(TERMS, high=30))


def test_a_permit_of_somebody_else_is_refused(city):
    other = Permit.objects.create(number="X", enterprise=city.plant, valid_from=TODAY, valid_to=date(2028, 1, 1))
    with pytest.raises(permits.LimitError, match="不是"):
        permits.set_limit(other, city.limit.point, TERMS, TODAY, "误", city.users["analyst"], NOW)


@pytest.mark.parametrize("role", ["duty", "enforcement", "leader", "enterprise"])
def test_other_roles_may_not_edit_limits(city, role):
    with pytest.raises(rights.Forbidden, match="修改许可限值"):
        set_limit(city, user=role)


# ---- maintenance

START = datetime(2026, 3, 13, 1, tzinfo=UTC)
END = START + timedelta(hours=4)


def announce(city, user="enterprise", point="gas_outlet", start=START, end=END, reason="更换滤芯"):
    return maintenance.announce(city.points[point], start, end, reason, city.users[user], NOW)


def test_an_enterprise_announces_maintenance_of_its_own_outlet_only(city):
    window = announce(city)
    assert AuditEvent.objects.get().detail["start"] == audit.stamp(window.start)
    with pytest.raises(rights.Forbidden, match="本单位"):
        announce(city, point="west_outlet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reason": ""}, "请填写维护原因"),
        ({"end": START}, "结束时间应晚于开始时间"),
        ({"start": datetime(2026, 3, 12, 0, tzinfo=UTC)}, "须事先公告"),
        ({"end": START + timedelta(days=31)}, "最长 30 天"),
    ],
)
def test_a_window_that_cannot_stand_is_refused_with_the_reason(city, change, message):
    with pytest.raises(maintenance.WindowError, match=message):
        announce(city, **change)
    assert not Maintenance.objects.exists()


def test_windows_do_not_overlap(city):
    announce(city)
    with pytest.raises(maintenance.WindowError, match="重叠"):
        announce(city, start=START + timedelta(hours=1), end=END + timedelta(hours=1))
    announce(city, start=END, end=END + timedelta(hours=1))


def test_a_window_not_begun_is_taken_back_and_stays_in_the_trail(city):
    window = announce(city)
    maintenance.cancel(window, city.users["duty"], "改期", NOW)
    assert not Maintenance.objects.exists()
    assert AuditEvent.objects.last().detail["reason"] == "更换滤芯"
    assert AuditEvent.objects.last().action == "maintenance.cancel"


def test_a_window_that_runs_ends_now(city):
    window = announce(city)
    during = START.timestamp() + 3600
    maintenance.cancel(window, city.users["enterprise"], "提前完成", during)
    window.refresh_from_db()
    assert window.end.timestamp() == during
    with pytest.raises(maintenance.WindowError, match="已经结束"):
        maintenance.cancel(window, city.users["enterprise"], "再次", during + 1)
