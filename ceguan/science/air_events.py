"""沙尘天气过程和其他异常事件: hours marked for an event count as missing for some uses (考核、排名), never in the
AQI told to the public. Both figures exist, with the hours and without them; each says which hours went and why.

Which event leaves which pollutants out, for which uses and who decides is the dated table air_events.csv; where the
clause was not found the row says so (`trust`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import AirEvent, one
from ceguan.words import BEIJING, Label

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS = {"PM2.5": "pm25_1h", "PM10": "pm10_1h", "O3": "o3_1h", "NO2": "no2_1h", "SO2": "so2_1h", "CO": "co_1h"}


class Mark(NamedTuple):
    """A marked period [`start`, `end`) in UTC epoch seconds, and the document it stands on.

    `pollutants` names what is left out where the table leaves it to the document; "" takes the table's.
    """

    kind: str
    start: int
    end: int
    source: str
    pollutants: str = ""


class LeftOut(NamedTuple):
    """What one mark took out: hours with a value, by pollutant, and the row it was done by."""

    mark: Mark
    row: AirEvent
    hours: dict[str, int]

    def explain(self) -> Label:
        count = sum(self.hours.values())
        facts = {"items": "、".join(self.hours), "hours": count, "cite": self.row.cite, "trust": self.row.trust}
        zh = say(Reason.EVENT_EXCLUDED, event=f"{self.row.zh}（{self.mark.source}）", **facts).zh
        return Label(zh, say(Reason.EVENT_EXCLUDED, event=f"{self.row.en} ({self.mark.source})", **facts).en)


def leave_out(
    hours: Mapping[str, Floats], begun: Ints, marks: Sequence[Mark]
) -> tuple[dict[str, Floats], tuple[LeftOut, ...]]:
    """Hourly columns (…, n) with the marked hours NaN, and what was taken out; `begun` (n,): start of each hour.

    The given columns are not changed. An hour of which any part is marked counts as marked. Raises ValueError for a
    mark without a source, without pollutants or that ends before it begins, NotInForce for an unknown kind of event.
    """
    out = {name: np.array(column, np.float64) for name, column in hours.items()}
    done = []
    for mark in marks:
        row = rule(mark)
        inside = (begun < mark.end) & (begun + 3600 > mark.start)
        taken = {}
        for name in (mark.pollutants or row.pollutants).split():
            column = out.get(COLUMNS[name])
            if column is None:
                continue
            taken[name] = int((column[..., inside] >= 0).sum())
            column[..., inside] = np.nan
        done.append(LeftOut(mark, row, taken))
    return out, tuple(done)


def rule(mark: Mark) -> AirEvent:
    """The row in force when the mark begins; raises as `leave_out` for a mark that cannot be used."""
    row = one(AirEvent, datetime.fromtimestamp(mark.start, BEIJING).date(), kind=mark.kind)
    named = (mark.pollutants or row.pollutants).split()
    if not mark.source.strip():
        raise ValueError(f"{row.zh}没有认定依据 (the mark names no source)")
    if mark.end <= mark.start:
        raise ValueError(f"{row.zh}的结束不晚于开始 (the mark ends before it begins)")
    if not named or not set(named) <= set(COLUMNS):
        raise ValueError(f"{row.zh}的项目应为 {'、'.join(COLUMNS)} (pollutants of the mark)")
    return row
