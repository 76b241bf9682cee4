"""What has to be looked at again is never forgotten, and waits until it is ripe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ceguan.watch.dirty import DAY, HOUR, Dirty, clusters, day_start
from ceguan.words import Kind
from tests.watch.world import at

marks = st.lists(
    st.tuples(
        st.sampled_from([(1, "air"), (2, "gas_outlet"), (3, "noise")]),
        st.sampled_from([Kind.RT, Kind.MINUTE, Kind.HOUR, Kind.DAY]),
        st.integers(1_700_000_000, 1_700_600_000),
    ),
    max_size=40,
)


def marked(them) -> Dirty:
    dirty = Dirty()
    for (point, kind_of_point), kind, ts in them:
        dirty.mark(point, kind_of_point, kind, ts)
    return dirty


def plain(dirty: Dirty) -> dict:
    return {
        name: {point: times for point, times in getattr(dirty, name).items() if times}
        for name in ("hours", "minutes", "waiting", "days")
    }


@given(marks)
def test_what_is_written_down_is_what_is_remembered(them):
    dirty = marked(them)
    assert plain(Dirty.load(dirty.dump())) == plain(dirty)


@given(marks, st.integers(1_700_000_000, 1_700_700_000))
def test_taking_and_keeping_together_are_everything(them, until):
    dirty, whole = marked(them), marked(them)
    taken = dirty.take(lambda _, end: end <= until)
    assert all(start + DAY <= until for times in taken.days.values() for start in times)
    rest = {point: times | dirty.waiting.get(point, set()) for point, times in taken.hours.items()}
    assert all(times <= rest.get(point, dirty.waiting[point]) for point, times in whole.waiting.items())
    dirty.add(taken)
    assert plain(dirty)["days"] == plain(whole)["days"]


def test_an_hour_that_came_needs_not_be_recomputed_from_its_minutes():
    dirty = marked([((2, "gas_outlet"), Kind.MINUTE, HOUR * 9 + 600), ((2, "gas_outlet"), Kind.HOUR, HOUR * 9)])
    assert plain(dirty)["waiting"] == {}
    assert plain(dirty)["hours"] == {2: {HOUR * 9}}


def test_the_noise_day_begins_at_six_every_other_at_midnight():
    assert day_start("noise", at("2026-03-11 05:59")) == at("2026-03-10 06:00")
    assert day_start("air", at("2026-03-11 05:59")) == at("2026-03-11 00:00")


def test_times_far_apart_are_looked_at_apart():
    assert list(clusters({0, 5, 100, 103}, 10)) == [[0, 5], [100, 103]]
    assert list(clusters(set(), 10)) == []
