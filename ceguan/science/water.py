"""地表水水质类别: class by the single worst item, on unrounded values (GB 3838-2002; 环办〔2011〕22号 for the method).

A section is judged by 21 items (table 1 less water temperature, total nitrogen and faecal coliforms; these two are
judged apart). What the national automatic stations publish: pH, DO, CODMn and NH3-N must be there, total phosphorus
judged by the limits of rivers or of lakes, DO by its concentration only. pH outside 6–9 is worse than class V.
NaN or negative = missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ceguan.science import statistics
from ceguan.science.reasons import Reason, say
from ceguan.standards.tables import NotInForce, Row, WaterGrade, WaterLimit, WaterRule, in_force, one
from ceguan.words import Label

Floats = NDArray[np.float64]
Classes = NDArray[np.int8]

CLASSES = ("NA", "Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ", "Ⅴ", "劣Ⅴ")
"""Names of class codes 0 (none) … 6 (worse than V)."""
GOOD = 3
"""Class III: what is worse exceeds the standard, and multiples are counted from its limit."""

AUTO_ITEMS = ("ph", "do", "codmn", "nh3n", "tp")
AUTO_REQUIRED = ("ph", "do", "codmn", "nh3n")
SECTION_ITEMS = (
    *("ph", "do", "codmn", "cod", "bod5", "nh3n", "tp", "cu", "zn", "fluoride", "se", "as", "hg", "cd", "cr6", "pb"),
    *("cyanide", "phenol", "oil", "las", "sulfide"),
)
APART_ITEMS = ("tn", "coliform")
WATERBODIES = ("river", "lake", "either")
BLOCK = 1 << 14  # rows at a time where whole columns would need many copies


@dataclass(frozen=True, slots=True)
class WaterColumns:
    """`klass` int8 (n,), index into CLASSES · `items` names of the rows of `item_class` int8 (items, n), 0 = missing ·
    `worst` bool (items, n): items at the class of the row, none at class I or NA · `reason` uint8 (`Reason`) ·
    `as_river`, `as_lake` int8: the class under each table · `values` the columns given · `lake` bool (n,): judged by
    the limits of lakes."""

    items: tuple[str, ...]
    klass: Classes
    item_class: NDArray[np.int8]
    worst: NDArray[np.bool_]
    reason: NDArray[np.uint8]
    as_river: Classes
    as_lake: Classes
    required: tuple[str, ...]
    day: date
    values: Mapping[str, Floats]
    lake: NDArray[np.bool_]

    def worst_items(self, row: int) -> tuple[str, ...]:
        return tuple(item for item, at in zip(self.items, self.worst[:, row], strict=True) if at)

    def missing(self, row: int) -> tuple[str, ...]:
        """Items without a value, of those given and those required."""
        absent = [i for i, c in zip(self.items, self.item_class[:, row], strict=True) if c == 0]
        return (*absent, *(i for i in self.required if i not in self.items))

    def explain(self, row: int) -> Label:
        """Why the row has no class; empty when it has one."""
        missing = self.missing(row)
        lacking = "、".join(name_of(i, self.day) for i in self.required if i in missing)
        river, lake = CLASSES[self.as_river[row]], CLASSES[self.as_lake[row]]
        return say(self.reason[row], items=lacking, river=river, lake=lake)

    def grounds(self, row: int) -> Label:
        """Why the row has its class: each deciding item with its value, the limit it is over and the clause."""
        if self.klass[row] == 0:
            return self.explain(row)
        klass, body = int(self.klass[row]), "lake" if self.lake[row] else "river"
        parts = [_ground(limit(i, body, self.day), float(self.values[i][row]), klass) for i in self.worst_items(row)]
        count = int(np.count_nonzero(self.item_class[:, row]))
        zh = "；".join(p.zh for p in parts) or f"参评 {count} 项均达到Ⅰ类"
        en = "; ".join(p.en for p in parts) or f"all {count} items meet class I"
        name = "worse than class Ⅴ" if klass == len(CLASSES) - 1 else f"class {CLASSES[klass]}"
        return Label(f"{CLASSES[klass]}类：{zh}", f"{name}: {en}")

    def basis(self, waterbody: str) -> tuple[Row, ...]:
        """Table rows the items were judged by."""
        return tuple(limit(item, waterbody, self.day) for item in self.items)


def _ground(row: WaterLimit, value: float, klass: int) -> Label:
    if row.kind == "range":
        return Label(
            f"{row.name} {value:.6g} 不在 {row.lo:g}–{row.hi:g}（{row.cite}）",
            f"{row.item} {value:.6g} outside {row.lo:g}–{row.hi:g} ({row.cite})",
        )
    bound, unit = row.classes[klass - 2], row.unit
    zh, en = ("低于", "below") if row.kind == "min" else ("超过", "above")
    said = f"{CLASSES[klass - 1]}类限值 {bound:g}（{row.cite}）"
    return Label(
        f"{row.name} {value:.6g} {unit} {zh}{said}",
        f"{row.item} {value:.6g} {unit} {en} the limit of class {CLASSES[klass - 1]}, {bound:g} ({row.cite})",
    )


def name_of(item: str, day: date) -> str:
    """The standard's name of an item; raises NotInForce when no edition has it on this day."""
    for row in in_force(WaterLimit, day, item=item):
        return row.name
    raise NotInForce(f"{WaterLimit.table_file}: {day} 没有 {item} (no such item)")


@cache
def limit(item: str, waterbody: str, day: date) -> WaterLimit:
    """The row of table 1 for an item in a river or a lake; raises NotInForce when the table has none."""
    for row in in_force(WaterLimit, day, item=item, table=1):
        if row.waterbody in ("", waterbody):
            return row
    raise NotInForce(f"GB 3838 表1 没有 {item}（{waterbody}） (no such item)")


def item_class(row: WaterLimit, value: Floats) -> Classes:
    """Class code of each value under one row: 1 … 5, 6 worse than V, 0 where the value is missing.

    A row with one limit (tables 2 and 3) gives 1 (within) or 6.
    """
    if row.lo is not None and row.hi is not None:  # pH
        out = np.where((value >= row.lo) & (value <= row.hi), np.int8(1), np.int8(6))
    elif row.hi is not None:
        out = np.where(value <= row.hi, np.int8(1), np.int8(6))
    else:
        beyond = np.less if row.kind == "min" else np.greater
        out = np.ones(len(value), np.int8)
        for bound in row.classes:
            out += beyond(value, bound)
    out[~(value >= 0)] = 0
    return out


def surface_water(
    columns: Mapping[str, Floats],
    waterbody: NDArray[np.str_] | str,
    day: date,
    required: Sequence[str] = AUTO_REQUIRED,
) -> WaterColumns:
    """Class of each row from the columns given (names of `WaterLimit.item`; default use: AUTO_ITEMS).

    `waterbody` per row or for all: river, lake or either (then a class only where both tables agree).
    `day` chooses the edition; raises NotInForce when there is none. A row without one of `required`, or without any
    item, has no class.
    """
    if not in_force(WaterLimit, day, table=1):
        raise NotInForce(f"{WaterLimit.table_file}: {day} 没有有效的版本 (no edition in force)")
    items = tuple(columns)
    n = len(next(iter(columns.values())))
    body = np.broadcast_to(np.asarray(waterbody), n)
    is_lake, either = body == "lake", body == "either"
    chosen, differ = np.zeros((len(items), n), np.int8), {}
    for k, (item, value) in enumerate(columns.items()):
        river = _item_class(item, value, "river", day)
        if _by_body(item, day):
            lake = _item_class(item, value, "lake", day)
            differ[k] = river, lake
            river = np.where(is_lake, lake, river)  # "either": the river's items are worst under the lake table too
        chosen[k] = river
    same = [k for k in range(len(items)) if k not in differ]
    klass, shared = chosen.max(axis=0), chosen[same].max(axis=0, initial=0)
    as_river, as_lake = (np.maximum.reduce([shared, *(pair[side] for pair in differ.values())]) for side in (0, 1))
    reason = np.zeros(n, np.uint8)
    reason[either & (as_river != as_lake)] = Reason.WATERBODY_UNDECIDED
    for name in required:
        reason[(chosen[items.index(name)] == 0) if name in items else slice(None)] = Reason.REQUIRED_MISSING
    reason[klass == 0] = Reason.REQUIRED_MISSING if required else Reason.NO_DATA
    klass[reason != Reason.NONE] = 0
    worst = (chosen == klass) & (klass > 1)
    return WaterColumns(
        items, klass, chosen, worst, reason, as_river, as_lake, tuple(required), day, columns, is_lake
    )  # fmt: skip


@cache
def _by_body(item: str, day: date) -> bool:
    return any(row.waterbody for row in in_force(WaterLimit, day, item=item, table=1))


def _item_class(item: str, value: Floats, waterbody: str, day: date) -> Classes:
    """An item the table does not judge in this water body (total nitrogen in a river) counts as missing."""
    if any(row.waterbody in ("", waterbody) for row in in_force(WaterLimit, day, item=item, table=1)):
        return item_class(limit(item, waterbody, day), value)
    return np.zeros(len(value), np.int8)


# ---- words and colour


def grade(klass: int, day: date) -> WaterGrade | None:
    """水质状况 of a section of this class (优 … 重度污染); None without a class. 环办〔2011〕22号 表1."""
    return next(
        (g for g in in_force(WaterGrade, day, scope="section") if (g.class_from or 9) <= klass <= (g.class_to or 0)),
        None,
    )


# ---- main pollution items


@dataclass(frozen=True, slots=True)
class MainItems:
    """`item` int8 (3, n): index into `items`, -1 none · `multiple` float64 (3, n): C/S3 − 1, NaN where there is no item
    and for pH and dissolved oxygen, which have no multiple · `rules` the rows used."""

    items: tuple[str, ...]
    item: NDArray[np.int8]
    multiple: Floats
    day: date
    rules: tuple[Row, ...]

    def named(self, row: int) -> tuple[tuple[str, float], ...]:
        """(item, multiple) of a row, the most important first."""
        pairs = zip(self.item[:, row], self.multiple[:, row], strict=True)
        return tuple((self.items[k], float(m)) for k, m in pairs if k >= 0)

    def text(self, row: int) -> str:
        """As bulletins print it: 总磷(0.5)、溶解氧."""
        return "、".join(name_of(item, self.day) + multiple_text(m) for item, m in self.named(row))


def multiple_text(multiple: float) -> str:
    """(1.2), half to even (GB/T 8170); one significant digit below 0.1; nothing where there is no multiple."""
    if np.isnan(multiple):
        return ""
    if multiple < 0.1:
        return f"({multiple:.1g})"
    return f"({statistics.round_half_even(np.array([multiple]), 1)[0]:.1f})"


def multiples(item: str, value: Floats, lake: NDArray[np.bool_], day: date) -> Floats:
    """超标倍数 C/S3 − 1 over the limit of class III; NaN where not over, missing, or the item has no multiple."""
    over = _excess(item, value, lake, day)
    over[~(over > 0)] = np.nan
    return over


def _excess(item: str, value: Floats, lake: NDArray[np.bool_], day: date) -> Floats:
    """C/S3 − 1, below zero where within the limit; NaN where missing or the item has no multiple."""
    row = limit(item, "lake" if item == "tn" else "river", day)
    if row.kind != "max":
        return np.full(len(value), np.nan)
    bound: Floats | float = float(row.classes[GOOD - 1])
    if _by_body(item, day):
        bound = np.where(lake, limit(item, "lake", day).classes[GOOD - 1], bound)
    over = value / bound
    over -= 1
    return over


def main_items(found: WaterColumns) -> MainItems:
    """Main pollution items of each row: none at class III or better, at most three (环办〔2011〕22号 二（一）3(1)).

    Of the items worse than III, cyanide and heavy metals come first, then the worst class, then the largest multiple;
    at one class items without a multiple (pH, dissolved oxygen) come last, and equals in the order of `items`.
    """
    day, items = found.day, found.items
    count = one(WaterRule, day, rule="main_items")
    first = in_force(WaterRule, day, rule="main_item_first")
    ahead = np.isin(items, [row.item for row in first])
    n, top = len(found.klass), int(count.value or 0)
    item, multiple = np.full((top, n), -1, np.int8), np.full((top, n), np.nan)
    poor = found.klass > GOOD
    for begin in range(0, n, BLOCK):
        block = slice(begin, min(begin + BLOCK, n))
        some = int(np.count_nonzero(poor[block]))
        if some == 0:
            continue
        dense = 2 * some > block.stop - begin  # then the whole block: picking rows costs more than judging them
        rows: slice | NDArray[np.intp] = block if dense else begin + np.flatnonzero(poor[block])
        tier = found.item_class[:, rows] * (found.item_class[:, rows] > GOOD) * poor[rows]
        tier[ahead] += np.int8(10) * (tier[ahead] > 0)
        over = np.empty(tier.shape)
        for k, name in enumerate(items):
            over[k] = _excess(name, found.values[name][rows], found.lake[rows], day)
        item[:, rows], multiple[:, rows] = _ranked(tier, over, top)
    return MainItems(items, item, multiple, day, (count, *first))


def _ranked(tier: NDArray[np.int8], over: Floats, top: int) -> tuple[NDArray[np.int8], Floats]:
    """The `top` rows (items) of each column by tier, then by multiple (as float32), then the first; -1 at tier 0.

    One whole number holds all three, for the bits of a positive float rise with it; each item sinks to its place.
    """
    best = [np.zeros(tier.shape[1], np.int64) for _ in range(top)]
    last = len(tier) - 1
    for k in np.flatnonzero(tier.any(axis=1)).tolist():
        sinking = np.fmax(over[k], 0.0).astype(np.float32).view(np.int32).astype(np.int64)  # no multiple counts as 0
        sinking += tier[k].astype(np.int64) << 32
        sinking <<= 8
        sinking += last - k
        sinking *= tier[k] > 0
        for place, kept in enumerate(best):
            best[place] = np.maximum(kept, sinking)
            np.minimum(kept, sinking, out=sinking)
    held = np.array(best)
    item = np.where(held > 0, last - (held & 0xFF), -1).astype(np.int8)
    multiple = over[np.maximum(item, 0), np.arange(tier.shape[1])]
    return item, np.where((item >= 0) & (multiple > 0), multiple, np.nan)  # over by less than a float can say: none
