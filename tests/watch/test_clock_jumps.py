"""The machine's clock jumps, forwards or backwards: order, positions, windows and alarms hold"""

from __future__ import annotations

import pytest

from ceguan.watch.models import Change, Finding
from tests.watch.test_clockwork import gas
from tests.watch.world import DAY, HOUR, at, series, values

T0 = at("2026-03-10 00:00")
YEAR = 365 * DAY


def hour(world, n, value, recv=None):
    world.send("MNGAS_OUTLET", "hour", T0 + n * HOUR, gas(value, zs=value), recv=recv)


def state(world):
    number = series(world.city.points["gas_outlet"], "a21026")
    verdicts = world.store.verdicts(rule="limit-hour:a21026").to_pylist()
    return values(world.store, number), [(one["ts"], one["outcome"]) for one in verdicts]


@pytest.mark.parametrize("jump", [-10 * DAY, -2 * HOUR, -300, 3 * HOUR])
def test_frames_received_by_a_clock_that_was_set_are_kept_in_their_order_and_judged_once(world, jump):
    """Six hours come in order; the clock is set after the third. `jump` [s] changes only the time of reception."""
    for n in range(6):
        recv = T0 + (n + 1) * HOUR + 60
        hour(world, n, 30 + n, recv=recv + (jump if n >= 3 else 0))
        world.step(recv + (jump if n >= 3 else 0))
    world.step(T0 + 8 * HOUR)
    found, verdicts = state(world)
    if jump < -HOUR:  # they look as if they came from the future: kept, and a person decides
        assert world.store.quarantine_counts() == {"MNGAS_OUTLET": 3}
        found, verdicts = [*found, 33, 34, 35], [*verdicts, *((T0 + n * HOUR, "within") for n in (3, 4, 5))]
    assert found == [30, 31, 32, 33, 34, 35]
    assert verdicts == [(T0 + n * HOUR, "within") for n in range(6)]
    times = [record.recv for record in world.store.arrivals({})]
    assert times[3] - times[2] == HOUR + jump, "in the order they came, with the time the clock then said"
    assert world.store.backlog() == 0


def test_when_the_platforms_clock_goes_back_nothing_is_judged_or_raised_a_second_time(world):
    for n in range(4):
        hour(world, n, 80 if n == 2 else 30)
        world.step(T0 + (n + 1) * HOUR + 120)
    before = state(world), Finding.objects.count(), Change.objects.count()
    for now in (T0 + HOUR, T0 - DAY, T0 + 2 * HOUR):
        world.step(now)
        world.restart()
        world.step(now)
    assert (state(world), Finding.objects.filter(rule="limit-hour:a21026").count()) == (before[0], 1)
    hour(world, 4, 31)
    world.step(T0 + 5 * HOUR + 120)
    assert state(world)[1][-1] == (T0 + 4 * HOUR, "within")


def test_a_jump_a_year_ahead_and_back_leaves_no_alarm_open_that_has_no_ground(world):
    for n in range(3):
        hour(world, n, 30)
    world.step(T0 + 3 * HOUR + 120)
    world.step(T0 + 3 * HOUR + YEAR)  # everything looks silent
    for n in range(3, 6):
        hour(world, n, 31)
        world.step(T0 + (n + 1) * HOUR + 120)
    outlet = Finding.objects.filter(point=world.city.points["gas_outlet"], rule="silent", state__in=Finding.OPEN_STATES)
    assert not outlet.exists(), "it was heard of again"
    assert state(world)[0] == [30, 30, 30, 31, 31, 31]
    number = series(world.city.points["gas_outlet"], "a21026")
    open_gaps = world.store.gaps([number], 2, T0, T0 + 6 * HOUR).to_pylist()
    assert open_gaps == [], "what came has no gap"
