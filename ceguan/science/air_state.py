"""参比状态: concentrations stated at one temperature and pressure, restated at another.

Until 31 August 2018 all concentrations stood for 273 K; since then gases stand for 298.15 K and particles for the air
as it was (GB 3095-2012 修改单). Years on both sides of that day compare only after restating.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.standards.tables import AirState, NotInForce, in_force

Floats = NDArray[np.float64]


def state(pollutant: str, day: date) -> AirState:
    """The state in force on a day; raises NotInForce for a day or a pollutant that the table does not have."""
    for row in in_force(AirState, day):
        if pollutant in row.pollutants.split():
            return row
    raise NotInForce(f"air_state.csv：{day} 没有 {pollutant} 的参比状态 (no state in force)")


def restate(
    value: Floats,
    pollutant: str,
    given: date,
    wanted: date,
    kelvin: Floats | float = np.nan,
    hectopascal: Floats | float = np.nan,
) -> Floats:
    """Concentrations stated by the law of day `given`, restated by the law of day `wanted`; NaN stays NaN.

    C·(T₁/T₂)·(P₂/P₁). Where one of the two is the air as measured, its temperature `kelvin` [K] and pressure
    `hectopascal` [hPa] are needed: without them the result is NaN. Raises NotInForce.
    """
    one, two = state(pollutant, given), state(pollutant, wanted)
    if (one.kelvin, one.hectopascal) == (two.kelvin, two.hectopascal):
        return np.asarray(value, np.float64)
    t1, p1 = _or(one.kelvin, kelvin), _or(one.hectopascal, hectopascal)
    t2, p2 = _or(two.kelvin, kelvin), _or(two.hectopascal, hectopascal)
    return np.asarray(value * (t1 / t2) * (p2 / p1), np.float64)


def _or(fixed: float | None, measured: Floats | float) -> Floats | float:
    return measured if fixed is None else fixed
