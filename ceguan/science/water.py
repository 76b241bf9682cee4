"""地表水水质类别: class by the single worst item, on unrounded values (GB 3838-2002; 环办〔2011〕22号 for the method).

What the national automatic stations publish: pH, DO, CODMn and NH3-N must be there, total phosphorus judged by the
limits of rivers or of lakes, DO by its concentration only. pH outside 6–9 is worse than class V.
NaN or negative = missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import Row, WaterLimit, in_force
from ceguan.words import Label

Floats = NDArray[np.float64]
Classes = NDArray[np.int8]

CLASSES = ("NA", "Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ", "Ⅴ", "劣Ⅴ")
"""Names of class codes 0 (none) … 6 (worse than V)."""

AUTO_ITEMS = ("ph", "do", "codmn", "nh3n", "tp")
AUTO_REQUIRED = ("ph", "do", "codmn", "nh3n")
WATERBODIES = ("river", "lake", "either")


@dataclass(frozen=True, slots=True)
class WaterColumns:
    """`klass` int8 (n,), index into CLASSES · `items` names of the rows of `item_class` int8 (items, n), 0 = missing ·
    `worst` bool (items, n): items at the class of the row, none at class I or NA · `reason` uint8 (`Reason`) ·
    `as_river`, `as_lake` int8: the class under each table."""

    items: tuple[str, ...]
    klass: Classes
    item_class: NDArray[np.int8]
    worst: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    as_river: Classes
    as_lake: Classes
    required: tuple[str, ...]
    day: date

    def worst_items(self, row: int) -> tuple[str, ...]:
        return tuple(item for item, at in zip(self.items, self.worst[:, row], strict=True) if at)

    def explain(self, row: int) -> Label:
        """Why the row has no class; empty when it has one."""
        absent = {i: c == 0 for i, c in zip(self.items, self.item_class[:, row], strict=True)}
        lacking = "、".join(_name(i, self.day) for i in self.required if absent.get(i, True))
        river, lake = CLASSES[self.as_river[row]], CLASSES[self.as_lake[row]]
        return say(self.reason[row], items=lacking, river=river, lake=lake)

    def basis(self, waterbody: str) -> tuple[Row, ...]:
        """Table rows the items were judged by."""
        return tuple(limit(item, waterbody, self.day) for item in self.items)


def _name(item: str, day: date) -> str:
    return limit(item, "river" if item != "tn" else "lake", day).name


@cache
def limit(item: str, waterbody: str, day: date) -> WaterLimit:
    """The row of table 1 for an item in a river or a lake; raises LookupError when the table has none."""
    for row in in_force(WaterLimit, day, item=item, table=1):
        if row.waterbody in ("", waterbody):
            return row
    raise LookupError(f"GB 3838 表1 没有 {item}（{waterbody}） (no such item)")


def item_class(row: WaterLimit, value: Floats) -> Classes:
    """Class code of each value under one row: 1 … 5, 6 worse than V, 0 where the value is missing."""
    if row.lo is not None and row.hi is not None:  # pH
        out = np.where((value >= row.lo) & (value <= row.hi), 1, 6)
    else:
        beyond = np.less if row.kind == "min" else np.greater
        out = np.ones(len(value), np.int64)
        for bound in row.classes:
            out += beyond(value, bound)
    return np.where(value >= 0, out, 0).astype(np.int8)


def surface_water(
    columns: Mapping[str, Floats],
    waterbody: NDArray[np.str_] | str,
    day: date,
    required: Sequence[str] = AUTO_REQUIRED,
) -> WaterColumns:
    """Class of each row from the columns given (names of `WaterLimit.item`; default use: AUTO_ITEMS).

    `waterbody` per row or for all: river, lake or either (then a class only where both tables agree).
    `day` chooses the edition. A row without one of `required`, or without any item, has no class.
    """
    items = tuple(columns)
    n = len(next(iter(columns.values())))
    body = np.broadcast_to(np.asarray(waterbody), n)
    river = _item_classes(columns, "river", day)
    lake = _item_classes(columns, "lake", day)
    chosen = np.where(body == "lake", lake, river)  # "either": the river's items are worst under the lake table too
    as_river, as_lake = river.max(axis=0), lake.max(axis=0)
    klass = chosen.max(axis=0)
    reason = np.zeros(n, np.uint8)
    reason[(body == "either") & (as_river != as_lake)] = Reason.WATERBODY_UNDECIDED
    for name in required:
        reason[(chosen[items.index(name)] == 0) if name in items else slice(None)] = Reason.REQUIRED_MISSING
    reason[klass == 0] = Reason.REQUIRED_MISSING if required else Reason.NO_DATA
    klass[reason != Reason.NONE] = 0
    worst = (chosen == klass) & (klass > 1)
    return WaterColumns(items, klass, chosen, worst, reason, as_river, as_lake, tuple(required), day)


def _item_classes(columns: Mapping[str, Floats], waterbody: str, day: date) -> NDArray[np.int8]:
    """(items, n); an item the table does not judge in this water body (total nitrogen in a river) counts as missing."""
    out = np.zeros((len(columns), len(next(iter(columns.values())))), np.int8)
    for k, (item, value) in enumerate(columns.items()):
        if any(row.waterbody in ("", waterbody) for row in in_force(WaterLimit, day, item=item, table=1)):
            out[k] = item_class(limit(item, waterbody, day), value)
    return out
