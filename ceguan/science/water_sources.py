"""集中式饮用水水源达标: table 1 at class III, tables 2 and 3 by their limits, some items apart; groundwater at III.

Basis: GB 3838-2002 and GB/T 14848-2017; which items stand apart has trust 1 (see `water_rules.csv`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science import groundwater, water
from ceguan.science.water import Floats
from ceguan.science.water_bodies import Columns
from ceguan.standards.tables import NotInForce, Row, WaterLimit, WaterRule, in_force, one
from ceguan.words import Label

KINDS = ("river", "lake", "groundwater")


@dataclass(frozen=True, slots=True)
class Source:
    """`passes` bool (n,): an item that counts has a value and none is over · `item_ok` int8 (items, n): 1 within,
    2 over, 0 missing · `multiple` float64 (items, n): C/limit − 1 where over, NaN for pH and oxygen · `apart` items
    that are shown but do not count · `known` bool (n,): an item that counts has a value."""

    items: tuple[str, ...]
    item_ok: NDArray[np.int8]
    multiple: Floats
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
        beyond, aside = self.text(row), self.text(row, apart=True)
        zh = "达标" if self.passes[row] else f"不达标：{beyond.zh}"
        en = "passes" if self.passes[row] else f"fails: {beyond.en}"
        if aside.zh:
            zh, en = f"{zh}；单独评价超标：{aside.zh}", f"{en}; over, but judged apart: {aside.en}"
        return Label(f"{zh}（{self.rules[0].cite}）", f"{en} ({self.rules[0].cite})")

    def text(self, row: int, apart: bool = False) -> Label:
        """Items over their limit with their multiples: 氨氮(0.2)、pH值."""
        said = [
            (item, water.multiple_text(self.multiple[self.items.index(item), row])) for item in self.over(row, apart)
        ]
        return Label("、".join(self.names[i] + m for i, m in said), ", ".join(i + m for i, m in said))


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
        bounds = {i: np.nan if i == "ph" else _bound(r[0].kind, r[0].classes, best) for i, r in found.limits.items()}
    else:
        table = {i: _row(i, kind, day) for i in columns}
        absent = np.zeros(len(next(iter(columns.values()))), np.int8)
        classes = np.array([absent if r is None else water.item_class(r, columns[i]) for i, r in table.items()])
        names = {i: water.name_of(i, day) for i in columns}
        bounds = {i: np.nan if r is None else r.hi or _bound(r.kind, r.classes, best) for i, r in table.items()}
        bounds |= {i: np.nan for i, r in table.items() if r is not None and r.lo is not None}  # pH
    ok = np.where(classes == 0, 0, np.where(classes <= best, 1, 2)).astype(np.int8)
    apart = tuple(r.item for r in aside if r.item in columns)
    counts = np.array([i not in apart for i in columns])
    known = (ok[counts] > 0).any(axis=0)
    passes = known & ~(ok[counts] == 2).any(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        multiple = np.array([v / bounds[i] - 1 for i, v in columns.items()])
    multiple[ok != 2] = np.nan
    return Source(tuple(columns), ok, multiple, apart, passes, known, names, (rule, *aside))


def _bound(kind: str, classes: tuple[float, ...], best: int) -> float:
    """The limit multiples are counted from; NaN for an item without a multiple (pH has two limits, oxygen a least)."""
    return classes[best - 1] if kind == "max" else float("nan")


def _row(item: str, kind: str, day: date) -> WaterLimit | None:
    """The row of a surface-water source; None where the table has none for this water (total nitrogen in a river)."""
    found = in_force(WaterLimit, day, item=item)
    if not found:
        raise NotInForce(f"GB 3838 没有 {item} (no such item)")
    return next((row for row in found if row.waterbody in ("", kind)), None)


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
