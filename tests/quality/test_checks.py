"""Each test by hand, by property, and against the natural rate of real air data."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ceguan.quality import checks, layers
from ceguan.quality.programme import programme
from ceguan.words import Kind, Outcome

HOUR = 3600
nan = float("nan")


def hours(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) * HOUR


def every(n: int) -> np.ndarray:
    return np.ones(n, np.bool_)


def flat(values: list[float], run: int = 3, **extra) -> list[int]:
    value = np.array(values, float)
    result = checks.flat_line(hours(len(value)), value, every(len(value)), run=run, every=HOUR, step=1.0, **extra)
    return result.outcome.tolist()


def test_missing_names_each_due_hour_without_a_reading():
    found = checks.missing(np.array([0, HOUR, 4 * HOUR]), 0, 6 * HOUR, HOUR)
    assert found.tolist() == [2 * HOUR, 3 * HOUR, 5 * HOUR]


def test_a_reading_some_minutes_off_its_due_time_is_not_missing():
    assert checks.missing(np.array([0, HOUR + 300, 2 * HOUR]), 0, 3 * HOUR, HOUR).tolist() == []


def test_without_any_reading_every_due_hour_is_missing():
    assert checks.missing(np.zeros(0, np.int64), 0, 3 * HOUR, HOUR).tolist() == [0, HOUR, 2 * HOUR]


def test_the_interval_is_what_the_series_itself_shows():
    assert checks.interval(np.array([0, 4, 8, 16]) * HOUR, HOUR) == 4 * HOUR
    assert checks.interval(np.array([7]), HOUR) == HOUR


def test_the_ends_of_the_range_belong_to_it():
    result = checks.out_of_range(np.array([-0.1, 0, 14, 14.1, nan]), 0, 14)
    assert result.outcome.tolist() == [4, 1, 1, 4, 9]
    assert result.evidence[3] == {"value": 14.1}


def test_a_range_nobody_knows_is_not_evaluated_and_says_why():
    result = checks.out_of_range(np.array([1.0, nan]), None, None)
    assert result.outcome.tolist() == [2, 9]
    assert "未知" in result.why_not


def test_equal_values_become_suspect_only_when_the_run_is_long_enough():
    assert flat([5, 5, 6, 7, 7, 7, 8]) == [1, 1, 1, 3, 3, 3, 1]


def test_a_hole_or_a_flagged_hour_ends_a_run():
    assert flat([5, 5, nan, 5]) == [1, 1, 9, 1]
    ts = np.array([0, 1, 5]) * HOUR
    assert (checks.flat_line(ts, np.full(3, 5.0), every(3), run=3, every=HOUR, step=1).outcome == 1).all()
    counted = np.array([True, False, True, True])
    assert (checks.flat_line(hours(4), np.full(4, 5.0), counted, run=3, every=HOUR, step=1).outcome == 1).all()


def test_equal_means_equal_within_the_resolution_of_the_instrument():
    value = np.array([5.01, 5.04, 4.99, 7.0])
    coarse = checks.flat_line(hours(4), value, every(4), run=3, every=HOUR, step=0.1)
    fine = checks.flat_line(hours(4), value, every(4), run=3, every=HOUR, step=checks.resolution(value, 0.1))
    assert coarse.outcome.tolist() == [3, 3, 3, 1]
    assert fine.outcome.tolist() == [1, 1, 1, 1]


def test_values_at_twice_the_detection_limit_or_below_may_be_constant():
    assert flat([2, 2, 2, 5, 5, 5], floor=2.0) == [1, 1, 1, 3, 3, 3]


def spiky(values: list[float], **extra) -> checks.Result:
    value = np.array(values, float)
    return checks.spike(value, every(len(value)), **{"factor": 5.0, "floor": 1.0, "relative": 0.5, **extra})


def test_a_value_alone_among_its_neighbours_is_suspect():
    result = spiky([10, 11, 80, 10, 12])
    assert result.outcome.tolist() == [2, 2, 3, 2, 2]
    assert result.evidence[2] == {"value": 80.0, "neighbours": 10.5}


def test_a_rise_that_lasts_is_no_spike():
    assert 3 not in spiky([10, 10, 10, 80, 82, 81, 80]).outcome


def test_beside_a_missing_neighbour_a_spike_is_not_evaluated():
    assert spiky([10, nan, 80, 10, 12]).outcome.tolist() == [2, 9, 2, 2, 2]


def test_too_few_readings_say_so():
    assert "不足" in spiky([10, 80]).why_not


def test_a_reading_received_before_its_hour_was_over_shows_a_clock_that_is_ahead():
    result = checks.clock(hours(2), np.array([3000, 7300]), HOUR, 120)
    assert result.outcome.tolist() == [3, 1]
    assert result.evidence[0] == {"ahead_seconds": 600}


values = arrays(np.float64, st.integers(0, 60), elements=st.sampled_from([nan, -3.0, 0.0, 1.0, 1.0, 2.0, 50.0]))


@given(values)
@settings(max_examples=80, deadline=None)
def test_every_test_gives_one_outcome_per_reading_and_evidence_for_each_hit(value):
    ts, yes = hours(len(value)), every(len(value))
    results = [
        checks.out_of_range(value, 0, 10),
        checks.flat_line(ts, value, yes, run=3, every=HOUR, step=1),
        checks.spike(value, yes, factor=5, floor=1, relative=0.5),
    ]
    for result in results:
        assert len(result.outcome) == len(value)
        assert (result.outcome[np.isnan(value)] == Outcome.MISSING).all()
        hits = np.flatnonzero(np.isin(result.outcome, (Outcome.SUSPECT, Outcome.FAIL)))
        assert set(result.evidence) == set(hits.tolist())


@given(values, st.integers(2, 6))
@settings(max_examples=80, deadline=None)
def test_flat_line_equals_the_definition_read_aloud(value, run):
    expected, i = [], 0
    while i < len(value):
        j = i + 1
        while j < len(value) and value[j] == value[i]:
            j += 1
        hit = Outcome.SUSPECT if j - i >= run else Outcome.PASS
        expected += [Outcome.MISSING if np.isnan(value[i]) else hit] * (j - i)
        i = j
    assert flat(value.tolist(), run) == expected


def test_a_failed_or_flagged_reading_is_out_and_a_person_may_bring_it_back():
    outcome = np.array([1, 3, 4, 4, 9, 1, 1], np.int8)
    flag = np.array(["N", "", "N", "N", "N", "M", "N"])
    action = np.array(["", "", "", "keep", "keep", "", "invalidate"])
    assert layers.valid(outcome, flag, action).tolist() == [True, True, False, True, False, False, False]


def test_the_gravest_outcome_wins():
    tests = [np.array([1, 2, 1, 4], np.int8), np.array([2, 3, 1, 9], np.int8)]
    assert layers.worst(tests).tolist() == [2, 3, 1, 9]
    with pytest.raises(ValueError):
        layers.worst([])


FACTORS = {"PM2.5": "a34004", "PM10": "a34002", "SO2": "a21026", "NO2": "a21004", "CO": "a21005", "O3": "a05024"}
MOST = {"flat_line": 6, "spike": 0.005 * 1416, "range": 0}
"""Runs (flat line) or readings (others) that two months of one real station may at most raise."""


@pytest.mark.parametrize("station", ["Dongsi", "Huairou"])
@pytest.mark.parametrize("name", FACTORS)
def test_on_real_undisturbed_air_data_the_tests_stay_quiet(truth, station, name):
    with open(truth / f"standards/data_samples/uci_beijing_{station}_2014-01_02.csv", encoding="utf-8") as file:
        value = np.array([float(row[name]) if row[name] != "NA" else nan for row in csv.DictReader(file)])
    value = value / 1000 if name == "CO" else value
    steps = {step.test: step.params for step in programme("air", FACTORS[name], Kind.HOUR)}
    ts, yes = hours(len(value)), every(len(value))
    run = int(steps["flat_line"]["run"])
    step = checks.resolution(value, 1.0)
    lengths = checks.run_lengths(ts, np.rint(value / step), HOUR)
    runs = sum(int((lengths == n).sum() / n) for n in np.unique(lengths) if n >= run)
    spikes = checks.spike(value, yes, **{k: v for k, v in steps["spike"].items() if k != "neighbours"})
    beyond = checks.out_of_range(value, steps["range"]["low"], steps["range"]["high"])
    assert runs <= MOST["flat_line"]
    assert (spikes.outcome == Outcome.SUSPECT).sum() <= MOST["spike"]
    assert (beyond.outcome == Outcome.FAIL).sum() == 0


times_ = st.lists(st.integers(0, 40), max_size=25).map(lambda slots: np.array(sorted(slots), np.int64) * 600 + 120)
one_series = st.tuples(
    times_, st.integers(0, 20), st.sampled_from([600, 1200, 3600]), st.randoms(use_true_random=False)
)


@given(st.lists(one_series, min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_series_tested_together_get_what_each_gets_alone(given_):
    """Every test and every measure: one series behind the other gives what they give one by one."""
    ts = [times for times, *_ in given_]
    raw = [np.array([rng.choice([nan, 0, 1, 1, 2.5, 50]) for _ in times]) for times, _, _, rng in given_]
    good = [np.array([rng.random() < 0.8 for _ in times], np.bool_) for times, _, _, rng in given_]
    of = np.repeat(np.arange(len(given_)), [len(times) for times in ts])
    start, every = (np.array([one[k] for one in given_], np.int64) for k in (1, 2))
    start *= 600
    all_ts, value, counted = (np.concatenate(parts) for parts in (ts, raw, good))
    missed = checks.missed(all_ts, of, start, start + 12_000, every)
    shown, steps = checks.intervals(all_ts, of, every), checks.resolutions(value, of, np.full(len(ts), 0.5))
    run, high = np.arange(len(ts)) + 2, np.where(every > 600, 2.0, nan)
    together = [
        checks.flat_line(all_ts, value, counted, run=run[of], every=every[of], step=steps[of], of=of),
        checks.spike(value, counted, factor=5.0, floor=run[of] * 0.1, relative=0.5, of=of),
        checks.out_of_range(value, None, high[of]),
    ]
    edges = np.searchsorted(of, np.arange(len(ts) + 1))
    for n, (times, one, yes) in enumerate(zip(ts, raw, good, strict=True)):
        begin, seconds = int(start[n]), int(every[n])
        assert missed[n] == len(checks.missing(times, begin, begin + 12_000, seconds))
        assert shown[n] == checks.interval(times, seconds)
        assert steps[n] == checks.resolution(one, 0.5)
        alone = [
            checks.flat_line(times, one, yes, run=n + 2, every=seconds, step=float(steps[n])),
            checks.spike(one, yes, factor=5.0, floor=(n + 2) * 0.1, relative=0.5),
            checks.out_of_range(one, None, float(high[n])),
        ]
        low, end = int(edges[n]), int(edges[n + 1])
        for many, single in zip(together, alone, strict=True):
            assert many.outcome[low:end].tolist() == single.outcome.tolist()
            assert {i - low: why for i, why in many.evidence.items() if low <= i < end} == single.evidence
            untested = [np.broadcast_to(result.untested, len(result.outcome)) for result in (many, single)]
            assert untested[0][low:end].tolist() == untested[1].tolist()
