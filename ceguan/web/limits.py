"""Limit lines of a chart: what holds for a factor at a point on a day, each with standard and clause."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from django.db.models import Q
from django.utils.translation import gettext

from ceguan.registry.models import PermitLimit, Point, Series
from ceguan.science import water
from ceguan.standards import units
from ceguan.standards.tables import AirLimit, NoiseLimit, RadiationBackground, in_force
from ceguan.watch import judge
from ceguan.words import Kind, PointKind

POLLUTANTS = {
    factor: pollutant
    for (factor, _), pollutant in zip(
        judge.AIR_COLUMNS.values(), ("SO2", "NO2", "CO", "O3", "PM10", "PM2.5"), strict=True
    )
}
ITEMS = {factor: item for item, factor in judge.WATER_ITEMS.items()}


class Line(NamedTuple):
    value: float  # in the unit of the series
    label: str
    low: bool = False  # values below it are over the limit
    converted: bool = False  # compare with the value converted to reference oxygen
    permit: bool = False


def lines(point: Point, series: Series, kind: Kind, day: date) -> list[Line]:
    """Limits in force on a Beijing date for readings of this kind; empty when none is known."""
    kinds = {PointKind.AIR: _air, PointKind.WATER: _water, PointKind.NOISE: _noise, PointKind.RADIATION: _radiation}
    return list(kinds.get(PointKind(point.kind), _permit)(point, series, kind, day))


def _permit(point: Point, series: Series, kind: Kind, day: date) -> Iterator[Line]:
    dated = Q(valid_from__lte=day) & (Q(valid_to=None) | Q(valid_to__gte=day))
    for row in PermitLimit.objects.filter(dated, point=point, factor=series.factor):
        scale = units.factor(row.unit, series.unit)
        if scale is None:
            continue
        basis = gettext("日均") if row.basis == "day" else gettext("小时")
        basis += ", " + gettext("折算") if row.converted else ""
        word = _said(gettext("许可限值"), row.high, f"({basis}) {row.standard} {row.clause}")
        yield Line(row.high * scale, word, converted=row.converted, permit=True)
        if row.low is not None:
            yield Line(row.low * scale, _said(gettext("下限"), row.low, row.standard), low=True, permit=True)


def _said(word: str, value: float, cite: str) -> str:
    return f"{word} {value:g} {cite}"


def _air(point: Point, series: Series, kind: Kind, day: date) -> Iterator[Line]:
    averaging = "24h" if kind == Kind.DAY else "1h"
    for row in in_force(AirLimit, day, pollutant=POLLUTANTS.get(series.factor, ""), averaging=averaging):
        scale = units.factor(row.unit, series.unit)
        if row.phase in ("", "transition") and scale is not None:
            yield Line(row.class2 * scale, _said(gettext("二级"), row.class2, row.cite))


def _water(point: Point, series: Series, kind: Kind, day: date) -> Iterator[Line]:
    target, item = point.properties.get("target_class"), ITEMS.get(series.factor)
    if not target or not item:
        return
    row = water.limit(item, "lake" if point.properties.get("waterbody") == "lake" else "river", day)
    name = gettext("%s类") % water.CLASSES[int(target)]
    if row.classes:
        value = row.classes[int(target) - 1]
        yield Line(value, _said(name, value, row.cite), low=row.kind == "min")
    elif row.lo is not None and row.hi is not None:
        yield Line(row.lo, _said(gettext("下限"), row.lo, row.cite), low=True)
        yield Line(row.hi, _said(gettext("上限"), row.hi, row.cite))


def _noise(point: Point, series: Series, kind: Kind, day: date) -> Iterator[Line]:
    if series.factor not in judge.NOISE_FACTORS:
        return
    for row in in_force(NoiseLimit, day, zone=str(point.properties.get("zone", ""))):
        yield Line(row.day, _said(gettext("昼间"), row.day, row.cite))
        yield Line(row.night, _said(gettext("夜间"), row.night, row.cite))


def _radiation(point: Point, series: Series, kind: Kind, day: date) -> Iterator[Line]:
    for row in in_force(RadiationBackground, day, place=point.properties.get("background", "")):
        scale = units.factor(row.unit, series.unit)
        if scale is not None:
            yield Line(row.low * scale, _said(gettext("本底下限"), row.low, row.place), low=True)
            yield Line(row.high * scale, _said(gettext("本底上限"), row.high, row.place))
