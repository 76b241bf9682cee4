"""Status is computed from times; a change is one row, written by one process only."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.standards.tables import TRUST
from ceguan.watch import status as statuses
from ceguan.watch.models import Change, PointStatus
from ceguan.watch.status import Limits, Times
from ceguan.watch.thresholds import table, threshold
from ceguan.words import Status

NOW = 1_773_100_800.0
LIMITS = Limits()


def state(last: float | None = None, flags=(), maintenance=(), **times) -> Status:
    defaults = {"every": 600, "live_from": date(2026, 1, 1)}
    return statuses.status(Times(NOW, last, **(defaults | times)), LIMITS, maintenance, flags)[0]


@pytest.mark.parametrize(
    ("age", "expected"),
    [(0, Status.LIVE), (1200, Status.LIVE), (1201, Status.LATE), (3600, Status.LATE), (3601, Status.SILENT)],
)
def test_late_after_two_intervals_silent_after_six(age, expected):
    assert state(NOW - age) == expected


def test_a_device_that_sends_every_half_minute_is_not_silent_before_half_an_hour():
    assert state(NOW - 1700, every=30) == Status.LATE
    assert state(NOW - 1900, every=30) == Status.SILENT


def test_in_an_announced_window_silence_is_maintenance():
    window = (NOW - 60, NOW + 60, "换灯")
    assert state(NOW - 99999, maintenance=[window]) == Status.MAINTENANCE
    assert state(NOW - 99999, maintenance=[(NOW - 60, NOW, "换灯")]) == Status.SILENT


def test_most_factors_in_fault_is_a_fault():
    assert state(NOW, flags=["D", "B", "N"]) == Status.FAULT
    assert state(NOW, flags=["D", "N"]) == Status.LIVE


def test_before_its_first_day_after_its_last_and_without_device_a_point_is_not_in_operation():
    assert state(NOW, live_from=None) == Status.PLANNED
    assert state(NOW, live_from=date(2027, 1, 1)) == Status.PLANNED
    assert state(NOW, closed_on=date(2026, 3, 1)) == Status.PLANNED
    assert state(NOW, every=None) == Status.PLANNED


def test_a_device_that_never_sent_is_silent():
    assert state(None) == Status.SILENT


@given(st.floats(0, 1e7), st.floats(0, 1e7))
def test_a_longer_silence_is_never_a_better_status(a, b):
    order = [Status.LIVE, Status.LATE, Status.SILENT]
    younger, older = sorted((a, b))
    assert order.index(state(NOW - younger)) <= order.index(state(NOW - older))


def test_a_transition_writes_one_change_and_staying_writes_none(city):
    point = city.points["air"]
    assert statuses.record(point, Status.LIVE, "", NOW, NOW) is not None
    assert statuses.record(point, Status.LIVE, "", NOW + 60, NOW + 60) is None
    statuses.record(point, Status.SILENT, "最近一包 08:01", NOW + 60, NOW + 9000)
    changes = [(c.before, c.after, c.why) for c in Change.objects.filter(point=point).order_by("id")]
    assert changes == [("", "live", ""), ("live", "silent", "最近一包 08:01")]
    row = PointStatus.objects.get(point=point)
    assert (row.state, row.since.timestamp(), row.last_packet.timestamp()) == ("silent", NOW + 9000, NOW + 60)


def test_who_saw_an_old_state_does_not_write_a_second_change(city, monkeypatch):
    point = city.points["air"]
    statuses.record(point, Status.LIVE, "", NOW, NOW)
    seen = PointStatus.objects.get(point=point)
    statuses.record(point, Status.SILENT, "静默", NOW, NOW + 1)
    monkeypatch.setattr(PointStatus.objects, "get_or_create", lambda **_: (seen, False))
    assert statuses.record(point, Status.SILENT, "静默", NOW, NOW + 1) is None
    assert Change.objects.filter(point=point).count() == 2


@pytest.mark.parametrize("row", table(), ids=lambda row: row.where)
def test_every_threshold_is_the_bureaus_own_and_says_what_it_means(row):
    assert row.trust in TRUST
    assert row.meaning
    assert row.value > 0
    assert threshold(row.name, row.point_kind) == row.value


def test_an_unknown_threshold_is_refused_by_name():
    with pytest.raises(LookupError, match="no such threshold"):
        threshold("nonsense")


def test_a_packet_that_changes_no_status_is_noted_and_only_what_differs_is_left_to_record(city):
    outlet, air = city.points["gas_outlet"], city.points["air"]
    for point in (outlet, air):
        statuses.record(point, Status.LIVE, "", 1000.0, 1001.0)
    computed = [(outlet, Status.LIVE, "", 2000.5), (air, Status.SILENT, "没有数据", 1000.0)]
    assert statuses.unlike(computed) == computed[1:]
    assert PointStatus.objects.get(point=outlet).last_packet.timestamp() == 2000.5
    assert PointStatus.objects.get(point=air).last_packet.timestamp() == 1000.0
    assert Change.objects.filter(point=outlet).count() == 1
    assert statuses.unlike(computed) == computed[1:]
