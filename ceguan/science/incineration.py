"""焚烧: what an incinerator may do while it starts, stops or fails, and how often its furnace may be too cold.

GB 18484-2020 (hazardous waste), GB 39707-2020 (medical waste), GB 18485-2014 with its rule on monitoring data
(domestic waste; in part from memory: the rows say so). One furnace at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.standards.tables import IncineratorCap, NotInForce, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
HOURS = ("hours", "hours_drying", "hours_cems")


@dataclass(frozen=True, slots=True)
class Against:
    """A figure of one furnace and period against its cap; `over` False where the value is NaN."""

    value: float
    row: IncineratorCap
    low: bool = False  # below the cap is the breach

    @property
    def over(self) -> bool:
        return bool(self.value < self.row.cap if self.low else self.value > self.row.cap)

    def explain(self) -> Label:
        """Value, cap, what it is and the clause."""
        row = self.row
        if np.isnan(self.value):
            return Label(f"未评价：没有数据；{row.zh}（{row.cite}）", f"not evaluated: no data; {row.en} ({row.cite})")
        verdict = Label("不符合", "not met") if self.over else Label("符合", "met")
        figures = f"{self.value:g} / {row.cap:g} {row.unit}"
        return Label(
            f"{verdict.zh}：{figures}；{row.zh}（{row.cite}）", f"{verdict.en}: {figures}; {row.en} ({row.cite})"
        )


def caps(industry: str, day: date) -> tuple[IncineratorCap, ...]:
    """Rows of an industry (hazardous, medical, domestic) in force; raises NotInForce when there is none."""
    found = in_force(IncineratorCap, day, industry=industry)
    if not found:
        raise NotInForce(f"incinerator_caps.csv: {day} 没有 {industry} 的规定 (no rule for this industry)")
    return found


def marked(state: NDArray[np.str_], row: IncineratorCap) -> Bools:
    """Where the furnace was in one of the states of a row."""
    return np.isin(state, row.states.split())


def state_hours(state: NDArray[np.str_], hours: Floats | float, industry: str, day: date) -> dict[str, Against]:
    """Hours in the states that are capped, by quantity, of intervals of `hours` [h] of one furnace and year.

    Maintenance of the monitor is capped by quarter, the rest by calendar year: give the intervals of that period.
    """
    length = np.broadcast_to(np.asarray(hours, np.float64), state.shape)
    rows = [row for row in caps(industry, day) if row.quantity in HOURS]
    return {row.quantity: Against(round(float(length[marked(state, row)].sum()), 6), row) for row in rows}


def start_particulate(hourly: Floats, state: NDArray[np.str_], industry: str, day: date) -> Against:
    """The largest hourly mean of particulate while starting, stopping or failing [mg/m³]; NaN without any."""
    row = one(IncineratorCap, day, industry=industry, quantity="particulate")
    there = hourly[marked(state, row) & ~np.isnan(hourly)]
    return Against(float(there.max()) if len(there) else np.nan, row)


def low_means(temperature: Floats, excluded: Bools, industry: str, day: date) -> tuple[Against, Against]:
    """(number of low means, lowest mean) of one furnace and calendar day of 5-minute means [°C].

    `excluded`: intervals marked as not normal running, which are not judged. More low means in a day than the cap is
    the finding. NaN counts nowhere; a day without a value gives NaN.
    """
    limit = one(IncineratorCap, day, industry=industry, quantity="temperature")
    count = one(IncineratorCap, day, industry=industry, quantity="low_means")
    there = temperature[~excluded & ~np.isnan(temperature)]
    if not len(there):
        return Against(np.nan, count), Against(np.nan, limit, low=True)
    return Against(float((there < limit.cap).sum()), count), Against(float(there.min()), limit, low=True)
