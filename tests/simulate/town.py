"""Stations written down by hand: enough of each kind that every row of the script finds somebody."""

from __future__ import annotations

from ceguan.simulate.stations import Item, Station, address

_FACTORS = {
    "air": ("a21026 μg/m³ 0", "a21004 μg/m³ 0", "a21005 mg/m³ 1", "a05024 μg/m³ 0", "a34002 μg/m³ 0", "a34004 μg/m³ 0"),
    "water": ("w01001 无量纲 2", "w01009 mg/L 2", "w01019 mg/L 1", "w21003 mg/L 3", "w21011 mg/L 3"),
    "noise": ("Leq dB(A) 1",),
    "radiation": ("r01001 nGy/h 1",),
    "gas_outlet": ("a21026 mg/m³ 2", "a21002 mg/m³ 2", "a34013 mg/m³ 2", "a19001 % 2", "a00000 m³/s 2"),
    "water_outlet": ("w01018 mg/L 2", "w21003 mg/L 3", "w01001 无量纲 2", "w00000 L/s 2"),
}
_LIMITS = {"a21026": 35.0, "a21002": 100.0, "a34013": 20.0, "w01018": 50.0, "w21003": 5.0}
_MANY = {"air": 6, "water": 2, "noise": 3, "radiation": 1, "gas_outlet": 15, "water_outlet": 8}
_PROPERTIES = {
    "water": {"waterbody": "river", "target_class": 3},
    "noise": {"zone": "2"},
    "gas_outlet": {"o2_ref": 9},
}


def stations() -> list[Station]:
    kinds = [kind for kind, many in _MANY.items() for _ in range(many)]
    return [_station(kind, number) for number, kind in enumerate(kinds)]


def _station(kind: str, number: int) -> Station:
    every = {"gas_outlet": 600, "water_outlet": 600, "water": 4 * 3600}.get(kind, 3600)
    return Station(
        f"{kind}-{number:02d}", kind, f"EC{number:022X}", tuple(_item(kind, text) for text in _FACTORS[kind]),
        every_seconds=every, properties=_PROPERTIES.get(kind, {}), address=address(number),
    )  # fmt: skip


def _item(kind: str, text: str) -> Item:
    factor, unit, decimals = text.split()
    basis = {"gas_outlet": "hour", "water_outlet": "day"}.get(kind)
    limits = {basis: _LIMITS[factor]} if basis and factor in _LIMITS else {}
    return Item(factor, factor, unit, int(decimals), limits=limits, converted=kind == "gas_outlet" and bool(limits))
