"""What a device of each kind measures: the invented city's behaviour at a point that is in no register."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from ceguan.simulate import city
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.faults import Fault, Script
from ceguan.simulate.sending import Sender
from ceguan.simulate.stations import Item, Station
from ceguan.simulate.weather import HOUR
from ceguan.standards import factors
from ceguan.words import Kind, PointKind

KINDS = {
    "air": PointKind.AIR, "water": PointKind.WATER, "gas": PointKind.GAS_OUTLET, "wastewater": PointKind.WATER_OUTLET,
}  # fmt: skip
_INDUSTRY = {PointKind.GAS_OUTLET: "power", PointKind.WATER_OUTLET: "sewage"}
_SPOILT = {
    PointKind.AIR: "a34004", PointKind.WATER: "w21003",
    PointKind.GAS_OUTLET: "a21026", PointKind.WATER_OUTLET: "w01018",
}  # fmt: skip
"""The factor that the faults of values befall."""
_ALWAYS = {"start": "end-1000h", "hours": 1e6}
_FAULTS: dict[str, dict[str, Any]] = {
    "over-limit": {"kind": "exceed", **_ALWAYS, "params": {"multiple": 1.8}},
    "constant": {"kind": "hold", **_ALWAYS},
    "spikes": {"kind": "spike", "start": "end-1000h", "hours": 1 / 60, "every_hours": 0.25,
               "params": {"multiple": 10, "add": 0}},
}  # fmt: skip
"""Faults of what is measured, as rows of the city's script of faults."""
VALUE_FAULTS = tuple(_FAULTS)
MEMORY = 1 << 13


class Measures(Protocol):
    """What a device measures: `area`, the factors of an interval as they stand in the data area."""

    @property
    def station(self) -> Station: ...
    @property
    def area(self) -> Callable[[Kind, int], str]: ...


class Model:
    """The measurements of one device, or of several that are alike. `faults`: names of VALUE_FAULTS that befall it."""

    def __init__(self, seed: int, number: int, kind: str, edition: int, faults: tuple[str, ...], start: float) -> None:
        self.station = station(kind, edition, number)
        script = Script([self.station], start, [_fault(name, self.station) for name in faults])
        self._sender = Sender(Behaviour(seed), script, self.station)
        self.area = lru_cache(MEMORY)(self._area)

    def _area(self, kind: Kind, moment: int) -> str:
        """The factors of the interval that begins at the moment (of the moment itself for real-time data)."""
        return self._sender.areas(kind, np.array([moment], np.int64), corrected=False)[0]


def station(kind: str, edition: int, number: int) -> Station:
    """The point a simulated device stands at; its limits are those of the law for a usual works of its kind."""
    point = KINDS[kind]
    industry = _INDUSTRY.get(point, "")
    laws = [city.law(row, date(2026, 1, 1)) for row in city.rows("outlets.csv") if row["kind"] == industry]
    limits = {one.code: one for one in laws}
    items = tuple(
        _item(row, edition, limits.get(row["factor"]))
        for row in city.factors_of(point)
        if not row["only"] or industry in row["only"].split()
    )
    oxygen = next((one.reference_o2 for one in laws if one.reference_o2 is not None), None)
    return Station(
        f"SIM{number}", point, f"SIM{number}", items, edition=str(edition), minute_interval=10,
        properties={"o2_ref": oxygen} if oxygen is not None else {},
    )  # fmt: skip


def _item(row: dict[str, str], edition: int, limit: Any) -> Item:
    code = row["factor"]
    return Item(
        code, factors.old_code(code) if edition == 2005 else code, row["unit"], int(row["decimals"]),
        limits={"hour" if limit.averaging == "1h" else "day": limit.high} if limit else {},
        low=limit.low if limit else None, converted=bool(limit) and limit.basis == "converted",
    )  # fmt: skip


def _fault(name: str, at: Station) -> Fault:
    given = _FAULTS[name]
    if name == "over-limit" and not any(item.limits for item in at.items):
        given = given | {"kind": "spike", "params": {"multiple": 4, "add": 0}}  # no limit to go beyond: far above usual
    row: dict[str, Any] = {
        "name": name,
        "target": at.kind,
        "zh": "",
        "en": "",
        "factor": _SPOILT[PointKind(at.kind)],
        "index": 0,
    }
    return Fault(**row, **given)


def known_since(start: float, hours: float) -> int:
    """The first moment a device remembers that was switched on so many hours before [UTC epoch s, full hour]."""
    return int(start - hours * HOUR) // HOUR * HOUR
