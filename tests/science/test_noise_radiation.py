"""Noise levels against the zone; dose rates against the background range."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ceguan.science import noise, radiation
from ceguan.science.reasons import SENTENCES, Reason, say
from ceguan.standards.tables import NotInForce, RadiationBackground, rows

DAY = date(2026, 6, 1)


def test_levels_are_energy_means():
    assert noise.energy_mean(np.array([50.0, 50.0])) == pytest.approx(50)
    assert noise.energy_mean(np.array([60.0, 50.0])) == pytest.approx(57.4036, abs=1e-4)  # 10·lg(1.1e6/2)


def test_the_night_weighs_ten_decibel_more():
    assert noise.day_night_level(np.array(55.0), np.array(45.0)) == pytest.approx(55)


def test_day_and_night_are_judged_apart():
    leq = np.concatenate([np.full((1, 16), 55.0), np.full((1, 8), 50.1)], axis=1)
    result = noise.judge(leq, "2", DAY)
    assert (result.day_over[0], result.night_over[0]) == (False, True)
    assert result.limit.where.startswith("noise_limits.csv")


def test_an_incomplete_day_has_no_level_unless_fewer_hours_are_allowed():
    leq = np.full((1, 24), 50.0)
    leq[0, 3] = np.nan
    assert np.isnan(noise.judge(leq, "2", DAY).ld[0])
    assert noise.judge(leq, "2", DAY).reason[0] == Reason.TOO_FEW_HOURS
    assert noise.judge(leq, "2", DAY, required_day=15).ld[0] == pytest.approx(50)


def test_an_unknown_zone_is_refused():
    with pytest.raises(NotInForce, match="zone=9"):
        noise.judge(np.full((1, 24), 50.0), "9", DAY)


def test_a_dose_rate_is_stated_against_the_local_range():
    beijing = next(row for row in rows(RadiationBackground) if row.place == "北京")
    result = radiation.against_background(np.array([29.2, 88.9, 29.1, 89.0, np.nan]), beijing)
    assert result.position.tolist() == [
        radiation.WITHIN,
        radiation.WITHIN,
        radiation.BELOW,
        radiation.ABOVE,
        radiation.UNKNOWN,
    ]
    assert "29.2–88.9 nGy/h" in result.explain(0).zh
    assert result.explain(3).zh.startswith("89 nGy/h，差 0.1：高于当地天然本底范围")
    assert result.explain(2).en.startswith("29.1 nGy/h, by 0.1: below")
    assert result.explain(4).zh.startswith("无数据")


def test_acquisition_rate_is_received_over_due():
    assert radiation.acquisition_rate(90, 100) == 90
    assert np.isnan(radiation.acquisition_rate(0, 0))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_sentence_in_both_languages(reason):
    assert bool(SENTENCES[reason].zh) == bool(SENTENCES[reason].en) == (reason != Reason.NONE)
    assert "{" not in say(reason).zh
