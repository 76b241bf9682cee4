"""Status is computed from times; a change is one row, written by one process only."""

from __future__ import annotations

import threading
from datetime import date

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from ceguan.standards.tables import TRUST
from ceguan.watch import status as statuses
from ceguan.watch.models import Change, PointStatus
from ceguan.watch.status import Computed, Limits, Times
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


def record(point, state: Status, why: str, last: float | None, now: float) -> list[Change]:
    return statuses.record([Computed(point.pk, state, why, last)], now)


def test_a_transition_writes_one_change_and_staying_writes_none(city):
    point = city.points["air"]
    assert record(point, Status.LIVE, "", NOW, NOW)
    assert not record(point, Status.LIVE, "", NOW + 60, NOW + 60)
    record(point, Status.SILENT, "最近一包 08:01", NOW + 60, NOW + 9000)
    changes = [(c.before, c.after, c.why) for c in Change.objects.filter(point=point).order_by("id")]
    assert changes == [("", "live", ""), ("live", "silent", "最近一包 08:01")]
    row = PointStatus.objects.get(point=point)
    assert (row.state, row.since.timestamp(), row.last_packet.timestamp()) == ("silent", NOW + 9000, NOW + 60)
    record(point, Status.SILENT, "最近一包 08:02", NOW + 120, NOW + 9100)
    row.refresh_from_db()
    assert (row.since.timestamp(), row.last_packet.timestamp(), row.why) == (NOW + 9000, NOW + 120, "最近一包 08:02")
    (back,) = record(point, Status.LIVE, "", NOW + 9200, NOW + 9200)
    assert (back.before, back.after, back.why) == ("silent", "live", "恢复在线")


def test_of_two_that_see_the_same_transition_one_writes_the_change(city):
    points = [point.pk for point in city.points.values()]

    def both(state: Status) -> list[int]:
        made: list[int] = []

        def go() -> None:
            made.append(len(statuses.record([Computed(point, state, "静默", NOW) for point in points], NOW)))
            connection.close()

        threads = [threading.Thread(target=go) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(made)

    assert both(Status.LIVE) == [0, len(points)]
    assert both(Status.SILENT) == [0, len(points)]
    assert Change.objects.count() == 2 * len(points)


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
        record(point, Status.LIVE, "", 1000.0, 1001.0)
    computed = [Computed(outlet.pk, Status.LIVE, "", 2000.5), Computed(air.pk, Status.SILENT, "没有数据", 1000.0)]
    assert statuses.unlike(computed) == computed[1:]
    assert PointStatus.objects.get(point=outlet).last_packet.timestamp() == 2000.5
    assert PointStatus.objects.get(point=air).last_packet.timestamp() == 1000.0
    assert Change.objects.filter(point=outlet).count() == 1
    assert statuses.unlike(computed) == computed[1:]
