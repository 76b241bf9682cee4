"""Sand and dust: marked hours go, with rule and source; nothing goes without them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from ceguan.science import air, air_events
from ceguan.science.air_events import Mark
from ceguan.standards.tables import NotInForce
from ceguan.words import BEIJING


def stamp(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp())


DAY = stamp("2021-03-15T00:00")
BEGUN = DAY + 3600 * np.arange(24)
HOURS = {"pm10_1h": np.full((1, 24), 2000.0), "pm25_1h": np.full((1, 24), 200.0), "o3_1h": np.full((1, 24), 60.0)}


def mark(first, last, kind="sand_dust", source="总站通报", pollutants=""):
    return Mark(kind, DAY + 3600 * first, DAY + 3600 * last, source, pollutants)


def test_the_marked_hours_of_particles_are_missing_and_ozone_stays():
    out, done = air_events.leave_out(HOURS, BEGUN, [mark(2, 5)])
    assert np.flatnonzero(np.isnan(out["pm10_1h"][0])).tolist() == [2, 3, 4]
    assert not np.isnan(out["o3_1h"]).any()
    assert not np.isnan(HOURS["pm10_1h"]).any()
    assert done[0].hours == {"PM10": 3, "PM2.5": 3}
    assert "总站通报" in done[0].explain().zh
    assert "环办监测〔2016〕120号" in done[0].explain().en


def test_a_day_left_with_19_hours_has_no_particle_mean():
    for hours, there in ((4, True), (5, False)):
        out, _ = air_events.leave_out(HOURS, BEGUN, [mark(0, hours)])
        daily = air.daily_columns({name: column.reshape(1, 1, 24) for name, column in out.items()})
        assert bool(np.isfinite(daily["pm10_24h"][0, 0])) is there


def test_an_hour_marked_in_part_is_marked():
    out, _ = air_events.leave_out(HOURS, BEGUN, [Mark("sand_dust", DAY + 1800, DAY + 5400, "x")])
    assert np.flatnonzero(np.isnan(out["pm25_1h"][0])).tolist() == [0, 1]


def test_an_hour_marked_twice_is_counted_once():
    _, done = air_events.leave_out(HOURS, BEGUN, [mark(0, 3), mark(1, 4)])
    assert [sum(d.hours.values()) for d in done] == [6, 2]


def test_the_rule_of_2026_says_that_its_clause_was_not_found():
    now = stamp("2026-04-01T00:00")
    _, done = air_events.leave_out(HOURS, now + 3600 * np.arange(24), [Mark("sand_dust", now, now + 3600, "x")])
    assert (done[0].row.standard, done[0].row.trust) == ("HJ 663-2026", "unsure")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (mark(0, 2, source=" "), "认定依据"),
        (mark(2, 2), "结束"),
        (mark(0, 2, pollutants="PM1"), "PM10"),
    ],
)
def test_a_mark_without_source_or_sense_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        air_events.leave_out(HOURS, BEGUN, [wrong])


def test_an_event_that_no_rule_names_is_refused():
    with pytest.raises(NotInForce, match=r"air_events\.csv"):
        air_events.leave_out(HOURS, BEGUN, [mark(0, 2, kind="fireworks")])
