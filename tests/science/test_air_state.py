"""The state a concentration stands for changed on 1 September 2018."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.science import air_state
from ceguan.standards.tables import NotInForce

BEFORE, AFTER = date(2018, 8, 31), date(2018, 9, 1)


def test_a_gas_is_thinner_at_25_degrees_than_at_0():
    restated = air_state.restate(np.array([100.0, np.nan]), "O3", BEFORE, AFTER)
    assert restated[0] == pytest.approx(100 * 273 / 298.15)
    assert np.isnan(restated[1])


def test_particles_need_the_air_they_were_measured_in():
    """At 273 K and 1013.25 hPa nothing changes; on a warm day high up the same mass fills more air."""
    value = np.array([100.0, 100.0])
    restated = air_state.restate(value, "PM10", BEFORE, AFTER, np.array([273.0, 303.0]), np.array([1013.25, 900.0]))
    assert restated[0] == pytest.approx(100)
    assert restated[1] == pytest.approx(100 * (273 / 303) * (900 / 1013.25))
    assert np.isnan(air_state.restate(value, "PM10", BEFORE, AFTER)).all()


def test_on_one_side_of_the_day_nothing_changes():
    assert air_state.restate(np.array([80.0]), "PM2.5", AFTER, date(2026, 5, 1))[0] == 80
    assert air_state.restate(np.array([80.0]), "SO2", date(2013, 1, 1), BEFORE)[0] == 80


@given(st.floats(0.1, 1000), st.floats(230, 320), st.floats(600, 1050), st.sampled_from(["NO2", "PM2.5"]))
def test_there_and_back_is_the_same(value, kelvin, hectopascal, pollutant):
    there = air_state.restate(np.array([value]), pollutant, BEFORE, AFTER, kelvin, hectopascal)
    back = air_state.restate(there, pollutant, AFTER, BEFORE, kelvin, hectopascal)
    assert back[0] == pytest.approx(value)


def test_what_the_table_does_not_have_is_refused():
    with pytest.raises(NotInForce, match=r"air_state\.csv"):
        air_state.state("O3", date(2010, 1, 1))
    with pytest.raises(NotInForce, match="VOC"):
        air_state.state("VOC", AFTER)
