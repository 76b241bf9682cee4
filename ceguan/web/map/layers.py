"""Layers of the map as a table: kind of point, shape, the rules whose verdict fills it, the grades with their colours.

AQI colours are read from standards/aqi_classes.csv. For water, 环办〔2011〕22号 names blue, green, yellow,
orange and red; the shades are ours. Within and over are the platform's own malachite and cinnabar. Each grade carries
a mark, so that no colour speaks alone.
"""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import NamedTuple

from ceguan.standards.tables import AqiClass, in_force
from ceguan.words import Label, PointKind


class Grade(NamedTuple):
    """One step of a verdict: key in addresses, name, mark inside the symbol, fill, ink of the mark."""

    key: str
    label: Label
    mark: str
    fill: str
    ink: str
    rank: int  # the worse, the higher


class Layer(NamedTuple):
    kind: PointKind
    rules: tuple[str, ...]  # beginnings of verdict rules
    hours: float  # a verdict whose interval began longer ago says nothing about now
    grades: tuple[Grade, ...]


NONE = Grade("none", Label("无有效裁定", "no valid verdict"), "–", "#d7dcd8", "#1d2b2a", 0)
WITHIN = Grade("within", Label("达标", "within the limit"), "✓", "#2f8f6b", "#ffffff", 1)
OVER = Grade("over", Label("超标", "over the limit"), "!", "#c0392b", "#ffffff", 9)
INSIDE = Grade("inside", Label("本底范围内", "within background"), "✓", "#2f8f6b", "#ffffff", 1)
ABOVE = Grade("above", Label("高于本底范围", "above background"), "↑", "#c98a00", "#000000", 5)
BELOW = Grade("below", Label("低于本底范围", "below background"), "↓", "#8fb7c6", "#000000", 2)

WATER = (
    ("Ⅰ", "#2b6cb0", "#ffffff"),
    ("Ⅱ", "#2b6cb0", "#ffffff"),
    ("Ⅲ", "#43a95c", "#000000"),
    ("Ⅳ", "#ffe14d", "#000000"),
    ("Ⅴ", "#ff9d2e", "#000000"),
    ("劣Ⅴ", "#cf2a27", "#ffffff"),
)


@cache
def layers(day: date) -> tuple[Layer, ...]:
    """The layers with the grades in force on a Beijing date."""
    limits = (WITHIN, OVER)
    return (
        Layer(PointKind.AIR, ("aqi-hour",), 4, aqi_grades(day)),
        Layer(PointKind.WATER, ("water-class",), 12, water_grades()),
        Layer(PointKind.GAS_OUTLET, ("limit-hour:",), 4, limits),
        Layer(PointKind.WATER_OUTLET, ("limit-day:",), 60, limits),
        Layer(PointKind.NOISE, ("noise-day", "noise-night"), 48, limits),
        Layer(PointKind.RADIATION, ("radiation-hour",), 4, (INSIDE, ABOVE, BELOW)),
    )


@cache
def aqi_grades(day: date) -> tuple[Grade, ...]:
    rows = sorted(in_force(AqiClass, day), key=lambda row: row.level)
    return tuple(
        Grade(f"aqi-{row.level}", Label(row.zh, row.en), str(row.level), row.rgb, ink(row.rgb), row.level)
        for row in rows
    )


@cache
def water_grades() -> tuple[Grade, ...]:
    return tuple(
        Grade(
            f"water-{code}",
            Label(f"{name}类", f"class {name}".replace("劣Ⅴ", "worse than Ⅴ")),
            name[:1],
            fill,
            ink,
            code,
        )
        for code, (name, fill, ink) in enumerate(WATER, 1)
    )


def ink(rgb: str) -> str:
    """Black or white, whichever reads better on a fill (WCAG relative luminance)."""
    parts = (int(rgb[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"


def grade(kind: PointKind, outcome: str, level: str, value: float, day: date) -> Grade:
    """The grade that a verdict gives a point."""
    if outcome == "not_evaluated":
        return NONE
    if kind == PointKind.AIR:
        return next((g for g in aqi_grades(day) if g.label.zh == level), NONE)
    if kind == PointKind.WATER:
        return water_grades()[int(value) - 1] if 1 <= value <= 6 else NONE
    if kind == PointKind.RADIATION:
        return {"within": INSIDE, "above": ABOVE, "below": BELOW}.get(outcome, NONE)
    return {"within": WITHIN, "over": OVER}.get(outcome, NONE)
