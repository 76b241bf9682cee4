"""集中式饮用水水源达标: table 1 at class III, tables 2 and 3 by their limits, some items apart; groundwater at III.

Basis: GB 3838-2002 and GB/T 14848-2017; which items stand apart has trust 1 (see `water_rules.csv`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science import groundwater, water
from ceguan.science.water import Classes, Floats
from ceguan.science.water_bodies import Columns
from ceguan.standards.tables import NotInForce, Row, WaterLimit, WaterRule, in_force, one
from ceguan.words import Label

KINDS = ("river", "lake", "groundwater")


@dataclass(frozen=True, slots=True)
class Source:
    """`passes` bool (n,): an item that counts has a value and none is over · `item_ok` int8 (items, n): 1 within,
    2 over, 0 missing · `apart` items that are shown but do not count · `known` bool (n,): an item has a value."""

    items: tuple[str, ...]
    item_ok: NDArray[np.int8]
    apart: tuple[str, ...]
    passes: NDArray[np.bool_]
    known: NDArray[np.bool_]
    names: dict[str, str]
    rules: tuple[Row, ...]

    def over(self, row: int, apart: bool = False) -> tuple[str, ...]:
        """Items over their limit that count (or, with `apart`, those that do not)."""
        pairs = zip(self.items, self.item_ok[:, row], strict=True)
        return tuple(item for item, ok in pairs if ok == 2 and (item in self.apart) == apart)

    def explain(self, row: int) -> Label:
        if not self.known[row]:
            return Label("各项均缺测", "no item has a value")
        beyond, aside = self.over(row), self.over(row, apart=True)
        zh = "达标" if self.passes[row] else f"不达标：{'、'.join(self.names[i] for i in beyond)}"
        en = "passes" if self.passes[row] else f"fails: {', '.join(beyond)}"
        if aside:
            zh += f"；单独评价超标：{'、'.join(self.names[i] for i in aside)}"
            en += f"; over, but judged apart: {', '.join(aside)}"
        return Label(f"{zh}（{self.rules[0].cite}）", f"{en} ({self.rules[0].cite})")


def source(columns: Columns, kind: str, day: date) -> Source:
    """Compliance of each sample of a drinking-water source; `kind`: river, lake or groundwater.

    Raises NotInForce for an item that the standard of this kind does not have.
    """
    rule = one(WaterRule, day, rule="drinking_class_ground" if kind == "groundwater" else "drinking_class")
    aside = in_force(WaterRule, day, rule=f"drinking_apart_{kind}")
    best = int(rule.value or 0)
    if kind == "groundwater":
        found = groundwater.groundwater(columns, day)
        classes, names = found.item_class, {i: found.name_of(i) for i in columns}
    else:
        classes = np.array([_surface(i, v, kind, day) for i, v in columns.items()])
        names = {i: water.name_of(i, day) for i in columns}
    ok = np.where(classes == 0, 0, np.where(classes <= best, 1, 2)).astype(np.int8)
    apart = tuple(r.item for r in aside if r.item in columns)
    counts = np.array([i not in apart for i in columns])
    known = (ok[counts] > 0).any(axis=0)
    passes = known & ~(ok[counts] == 2).any(axis=0)
    return Source(tuple(columns), ok, apart, passes, known, names, (rule, *aside))


def _surface(item: str, value: Floats, kind: str, day: date) -> Classes:
    rows = [r for r in in_force(WaterLimit, day, item=item) if r.waterbody in ("", kind)]
    if rows:
        return water.item_class(rows[0], value)
    if not in_force(WaterLimit, day, item=item):
        raise NotInForce(f"GB 3838 没有 {item} (no such item)")
    return np.zeros(len(value), np.int8)


def rates(passes: NDArray[np.bool_], known: NDArray[np.bool_], volume: Floats) -> tuple[float, float]:
    """Share in % of the sources that pass, and of the water taken that passes; NaN without sources or volumes.

    Sources without a verdict count in neither; a volume that is missing leaves the second rate NaN.
    """
    number = int(known.sum())
    taken = volume[known]
    by_count = 100 * int((passes & known).sum()) / number if number else np.nan
    whole = float(taken.sum()) if number and (taken >= 0).all() else np.nan
    by_volume = 100 * float(volume[passes & known].sum()) / whole if whole and whole > 0 else np.nan
    return by_count, by_volume
