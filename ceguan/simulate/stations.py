"""The devices of the register as the simulation sees them: what each measures, in which unit and spelling it sends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ceguan.standards import factors, units
from ceguan.words import PointKind


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One factor of a device. Limits are in the unit of the series; `scale` leads from there to the device's unit."""

    factor: str
    sent: str
    unit: str
    decimals: int
    scale: float = 1.0
    limits: Mapping[str, float] = field(default_factory=dict)  # basis hour | day → highest value permitted
    low: float | None = None  # pH
    converted: bool = False  # the limit holds for the value converted to reference oxygen

    @property
    def strictest(self) -> float | None:
        return min(self.limits.values(), default=None)


@dataclass(frozen=True, slots=True, eq=False)
class Station:
    """One device at its point."""

    code: str
    kind: str
    mn: str
    items: tuple[Item, ...]
    password: str = "123456"
    edition: str = "2017"
    minute_interval: int = 10
    every_seconds: int = 3600
    properties: Mapping[str, Any] = field(default_factory=dict)
    address: str = ""
    key: bytes | None = field(default=None, repr=False)

    def item(self, factor: str) -> Item | None:
        return next((item for item in self.items if item.factor == factor), None)

    @property
    def outlet(self) -> bool:
        return self.kind in (PointKind.GAS_OUTLET, PointKind.WATER_OUTLET)

    @property
    def reference_oxygen(self) -> float | None:
        """Reference oxygen [%] of a flue-gas outlet, None where values are not converted."""
        value = self.properties.get("o2_ref") if self.kind == PointKind.GAS_OUTLET else None
        return None if value is None else float(value)


def load() -> list[Station]:
    """Every adopted device in service, sorted by the code of its point. Django must be set up."""
    from ceguan.intake import keys
    from ceguan.registry import models

    limits: dict[int, list[Any]] = defaultdict(list)
    for limit in models.PermitLimit.objects.filter(valid_to=None):
        limits[limit.point_id].append(limit)
    series: dict[int, list[Any]] = defaultdict(list)
    for one in models.Series.objects.order_by("order", "factor"):
        series[one.point_id].append(one)
    rows = models.Device.objects.filter(retired_on=None, point__closed_on=None).select_related("point")
    return [
        _station(
            row,
            series[row.point_id],
            limits[row.point_id],
            number,
            keys.current(row) if row.edition == "2025" else None,
        )
        for number, row in enumerate(rows.order_by("point__code", "mn"))
    ]


def _station(device: Any, series: Iterable[Any], limits: list[Any], number: int, key: bytes | None) -> Station:
    point = device.point
    left_out = set(point.properties.get("not_monitored", ()))
    items = [
        _item(one, device, [limit for limit in limits if limit.factor == one.factor])
        for one in series
        if one.factor in device.units and one.factor not in left_out
    ]
    return Station(
        code=point.code, kind=point.kind, mn=device.mn, items=tuple(items), password=device.password,
        edition=device.edition, minute_interval=device.minute_interval, every_seconds=device.every_seconds,
        properties=point.properties, address=address(number), key=key,
    )  # fmt: skip


def _item(series: Any, device: Any, limits: list[Any]) -> Item:
    unit = device.units[series.factor]
    scale = units.factor(series.unit, unit) or 1.0
    permitted = {limit.basis: limit.high * (units.factor(limit.unit, series.unit) or 1.0) for limit in limits}
    return Item(
        factor=series.factor,
        sent=factors.old_code(series.factor) if device.edition == "2005" else series.factor,
        unit=series.unit,
        decimals=series.decimals + (len(f"{1 / scale:.0f}") - 1 if scale < 1 else 0),
        scale=scale,
        limits=permitted,
        low=next((limit.low for limit in limits if limit.low is not None), None),
        converted=any(limit.converted for limit in limits),
    )


def address(number: int) -> str:
    """Where a device seems to call from: addresses set aside for documentation (RFC 5737)."""
    net = ("192.0.2", "198.51.100", "203.0.113")[number // 250 % 3]
    return f"{net}.{number % 250 + 1}:{40000 + number}"
