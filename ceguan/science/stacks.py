"""排气筒: how much of a pollutant a stack of a given height may emit per hour, GB 16297-1996 table 2 and annexes A, B.

Heights in m, rates in kg/h. Between two listed heights the limit is interpolated, beyond them it grows with the square
of the height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import sqrt

from ceguan.standards.tables import EmissionRate, EmissionRule, NotInForce, Row, in_force, one
from ceguan.words import Label

LISTED, BETWEEN, ABOVE, BELOW = range(4)
WAYS = (
    Label("表列高度", "listed height"),
    Label("内插", "interpolated"),
    Label("外推（高于表列最高值）", "extrapolated above the table"),
    Label("外推（低于表列最低值）", "extrapolated below the table"),
)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """`value` [kg/h] at `height` [m] in an area of class 2 or 3; `way` how it was found; `rules` what else lowered it.

    `rows`: the listed heights it was found from, then the rules applied.
    """

    item: str
    value: float
    height: float
    area: int
    way: int
    rules: tuple[EmissionRule, ...]
    rows: tuple[Row, ...]

    def explain(self) -> Label:
        """The limit, the height, how it was found, and each rule that lowered it with its clause."""
        said = [(WAYS[self.way], self.rows[0].cite), *((Label(r.zh, r.en), r.cite) for r in self.rules)]
        zh = "；".join(f"{label.zh}（{cite}）" for label, cite in said)
        en = "; ".join(f"{label.en} ({cite})" for label, cite in said)
        grade = {2: "二级", 3: "三级"}[self.area]
        return Label(
            f"{self.item} {grade} {self.height:g} m：{self.value:.4g} kg/h；{zh}",
            f"{self.item} class {self.area} {self.height:g} m: {self.value:.4g} kg/h; {en}",
        )


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack with its height [m], its rate of a pollutant [kg/h] and its place [m] along one line."""

    height: float
    rate: float
    place: float = 0.0


def rate_limit(item: str, height: float, area: int, day: date, clears: bool = True, new: bool = True) -> RateLimit:
    """Rate limit of an item at a height, in an area of class 2 or 3 (GB 16297-1996 table 2).

    `clears`: the stack stands at least 5 m above the buildings within 200 m; otherwise half the limit holds (7.1).
    `new`: a source set up since 1997, whose extrapolated limit below 15 m is halved again (7.4).
    Raises NotInForce for an item without rates or a day without the standard, ValueError for a height or area of none.
    """
    if not height > 0 or area not in (2, 3):
        raise ValueError(f"高度 {height} m、{area} 级：高度应为正，级别应为 2 或 3 (height above 0, area 2 or 3)")
    rows = sorted(in_force(EmissionRate, day, item=item), key=lambda row: row.height)
    if not rows:
        raise NotInForce(f"emission_rates.csv: {day} 没有 {item} 的排放速率 (no rate limit of this item)")
    value, way, used = _at(rows, height, area)
    rules = [] if clears else [one(EmissionRule, day, rule="stack_low_factor")]
    if new and way == BELOW and height < (one(EmissionRule, day, rule="stack_new_least").value or 0):
        rules.append(one(EmissionRule, day, rule="stack_new_factor"))
    for rule in rules:
        value *= rule.value or 1.0
    return RateLimit(item, value, height, area, way, tuple(rules), (*used, *rules))


def _at(rows: Sequence[EmissionRate], height: float, area: int) -> tuple[float, int, tuple[EmissionRate, ...]]:
    """(limit, way, rows used) by annex B: Q = Qa + (Qa1 - Qa)(h - ha)/(ha1 - ha), or Q·(h/h_end)²."""
    limits = [row.class2 if area == 2 else row.class3 for row in rows]
    for end, way in ((0, BELOW), (-1, ABOVE)):
        if (height < rows[0].height) if way == BELOW else (height > rows[-1].height):
            return limits[end] * (height / rows[end].height) ** 2, way, (rows[end],)
    k = next(i for i, row in enumerate(rows) if height <= row.height)
    if height == rows[k].height:
        return limits[k], LISTED, (rows[k],)
    share = (height - rows[k - 1].height) / (rows[k].height - rows[k - 1].height)
    return limits[k - 1] + (limits[k] - limits[k - 1]) * share, BETWEEN, (rows[k - 1], rows[k])


def equivalent(stacks: Sequence[Stack]) -> tuple[Stack, ...]:
    """Stacks with the same pollutant, neighbours nearer than the sum of their heights put together in turn (7.2).

    Q = Q1 + Q2, h = √((h1² + h2²)/2), x = a·(Q - Q1)/Q from the first (annex A; the formula from memory, unsure).
    """
    out: list[Stack] = []
    for stack in sorted(stacks, key=lambda s: s.place):
        if out and stack.place - out[-1].place < stack.height + out[-1].height:
            out[-1] = _together(out[-1], stack)
        else:
            out.append(stack)
    return tuple(out)


def _together(a: Stack, b: Stack) -> Stack:
    rate = a.rate + b.rate
    shift = (b.place - a.place) * (b.rate / rate) if rate > 0 else 0.0
    return Stack(sqrt((a.height**2 + b.height**2) / 2), rate, a.place + shift)
