"""Monitors beside the reference method: by hand, bands, pass rules."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ceguan.science import comparison
from ceguan.standards.tables import NotInForce

DAY = date(2026, 6, 1)


def gas(item, reference, measured):
    return comparison.flue_gas(item, np.array(reference, float), np.array(measured, float), DAY)


def water(item, reference, measured):
    return comparison.wastewater(item, np.array(reference, float), np.array(measured, float), DAY)


def test_relative_accuracy_by_hand():
    """d = 60, 70, …, 110 around 85 with S = √350: RA = (85 + 2.571·18.708/√6) / 1000 = 10.46 %."""
    found = gas("SO2", [1000] * 6, [1060, 1070, 1080, 1090, 1100, 1110])
    assert found.figure == pytest.approx(100 * (85 + 2.571 * np.sqrt(350) / np.sqrt(6)) / 1000)
    assert found.passed
    assert "相对准确度 10.46 / 15 %" in found.explain().zh
    assert not gas("SO2", [1000] * 6, [1200] * 6).passed


@pytest.mark.parametrize(
    ("reference", "measured", "figure", "passed"),
    [(500, 557, 57, True), (500, 558, 58, False), (100, 130, 30, True), (100, 131, 31, False), (50, 67, 17, True),
     (50, 68, 18, False)],
)  # fmt: skip
def test_the_reference_chooses_the_band(reference, measured, figure, passed):
    """SO2: 143–715 mg/m³ ±57, 57–143 ±30 %, below 57 ±17 mg/m³."""
    found = gas("SO2", [reference] * 3, [measured] * 3)
    assert (found.figure, found.passed) == (figure, passed)


@pytest.mark.parametrize(("pairs", "bad", "passed"), [(3, 1, True), (3, 2, False), (4, 1, True), (4, 2, False),
                                                      (6, 2, True), (6, 3, False)])  # fmt: skip
def test_of_three_pairs_two_must_pass_of_four_three_of_more_four(pairs, bad, passed):
    found = water("COD", [50] * pairs, [66] * bad + [58] * (pairs - bad))
    assert (found.passed, found.pairs_passed) == (passed, pairs - bad)
    assert f"{pairs} 对中 {pairs - bad} 对合格" in found.explain().zh


def test_low_concentrations_are_judged_by_the_difference():
    assert water("NH3-N", [1.5] * 3, [1.8] * 3).passed
    assert not water("NH3-N", [1.5] * 3, [1.81] * 3).passed
    assert "absolute error" in water("pH", [7.0] * 3, [7.5] * 3).explain().en


def test_too_few_pairs_or_an_unknown_item_are_refused():
    with pytest.raises(ValueError, match="six or nine"):
        gas("SO2", [1000] * 3, [1000] * 3)
    with pytest.raises(ValueError, match="at least three"):
        water("COD", [50, 50], [50, 50])
    with pytest.raises(ValueError, match="without a value"):
        gas("O2", [6, np.nan], [6, 6])
    with pytest.raises(NotInForce, match="BOD"):
        water("BOD", [50] * 3, [50] * 3)
