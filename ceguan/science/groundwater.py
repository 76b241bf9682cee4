"""地下水质量 GB/T 14848-2017 and 海水水质 GB 3097-1997: the class of the single worst item, on unrounded values.

Class V (sea water: 劣四类) is what meets none of the classes before it; where two classes have the same limit the
better one is given (从优不从劣). NaN or negative = missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science.water import Classes, Floats
from ceguan.standards.tables import ClassLimit, GroundwaterLimit, NotInForce, Row, SeawaterLimit, in_force
from ceguan.words import Label

GROUND_CLASSES = ("NA", "Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ", "Ⅴ")
SEA_CLASSES = ("NA", "第一类", "第二类", "第三类", "第四类", "劣四类")
WORDS: dict[tuple[str, ...], tuple[Label, ...]] = {
    GROUND_CLASSES: tuple(Label(f"{name}类", f"class {name}") for name in GROUND_CLASSES),
    SEA_CLASSES: (
        *(Label(name, f"class {number}") for number, name in enumerate(SEA_CLASSES[:-1])),
        Label(SEA_CLASSES[-1], "worse than class 4"),
    ),
}
"""The classes as a sentence names them."""
COMPARE = {"max": np.less_equal, "min": np.greater_equal, "above": np.greater}


@dataclass(frozen=True, slots=True)
class ClassColumns:
    """`klass` int8 (n,), index into `classes` · `item_class` int8 (items, n), 0 = missing · `values` as given."""

    items: tuple[str, ...]
    klass: Classes
    item_class: NDArray[np.int8]
    classes: tuple[str, ...]
    values: Mapping[str, Floats]
    limits: Mapping[str, tuple[ClassLimit, ...]]

    def name_of(self, item: str) -> str:
        return self.limits[item][0].name

    def missing(self, row: int) -> tuple[str, ...]:
        """Items of the columns given that have no value in this row."""
        return tuple(i for i, code in zip(self.items, self.item_class[:, row], strict=True) if code == 0)

    def worst_items(self, row: int) -> tuple[str, ...]:
        """Items at the class of the row; none at class I."""
        at = (self.item_class[:, row] == self.klass[row]) & (self.klass[row] > 1)
        return tuple(item for item, is_worst in zip(self.items, at, strict=True) if is_worst)

    def explain(self, row: int) -> Label:
        """The class, the items that decide it with their values, and the clause; or that nothing was measured."""
        code = int(self.klass[row])
        if code == 0:
            return Label("各项均缺测", "no item has a value")
        count = int(np.count_nonzero(self.item_class[:, row]))
        words, worst = WORDS[self.classes], self.worst_items(row)
        name = words[code]
        if not worst:
            return Label(f"{name.zh}：参评 {count} 项均达到最好类别", f"{name.en}: all {count} items meet it")
        said = [_ground(self.limits[i], float(self.values[i][row]), code, words[code - 1]) for i in worst]
        zh, en = "、".join(part.zh for part in said), ", ".join(part.en for part in said)
        return Label(f"{name.zh}：{zh}；参评 {count} 项", f"{name.en}: {en}; {count} items")

    def basis(self) -> tuple[Row, ...]:
        return tuple(row for rows in self.limits.values() for row in rows)


def _ground(rows: tuple[ClassLimit, ...], value: float, code: int, better: Label) -> Label:
    """An item with its value and the limit of the next better class that it does not meet."""
    row = next((r for r in rows if not COMPARE[r.kind](value, r.classes[code - 2])), rows[0])
    bound = row.classes[code - 2]
    if row.unit == "有无":
        return Label(f"{row.name} {'有' if value else '无'}（{row.cite}）", f"{row.item} present ({row.cite})")
    unit = "" if row.unit == "无量纲" else f" {row.unit}"
    zh, en = (
        ("超过", "above") if row.kind == "max" else ("低于", "below") if row.kind == "min" else ("不高于", "not above")
    )
    return Label(
        f"{row.name} {value:.6g}{unit} {zh}{better.zh}限值 {bound:g}（{row.cite}）",
        f"{row.item} {value:.6g}{unit} {en} the limit of {better.en}, {bound:g} ({row.cite})",
    )


def limits(kind: type[ClassLimit], item: str, day: date) -> tuple[ClassLimit, ...]:
    """The rows of an item; raises NotInForce when the standard has none on this day."""
    found = in_force(kind, day, item=item)
    if not found:
        raise NotInForce(f"{kind.table_file}: {day} 没有 {item} (no such item)")
    return found


def item_class(rows: tuple[ClassLimit, ...], value: Floats, undetected: NDArray[np.bool_] | None = None) -> Classes:
    """1 … 4 for the first class whose every row holds, 5 for none, 0 missing.

    `undetected` bool (n,): below the detection limit, which is what a limit of 0 asks for.
    """
    out = np.full(len(value), 5, np.int8)
    for k in (3, 2, 1, 0):
        meets = np.ones(len(value), np.bool_)
        for row in rows:
            holds = COMPARE[row.kind](value, row.classes[k])
            meets &= holds | undetected if undetected is not None and row.classes[k] == 0 else holds
        out[meets] = k + 1
    out[~(value >= 0)] = 0
    return out


def groundwater(
    columns: Mapping[str, Floats], day: date, undetected: Mapping[str, NDArray[np.bool_]] | None = None
) -> ClassColumns:
    """Class of each sample by the worst of the items given (单指标评价法, GB/T 14848-2017 6).

    Columns: `GroundwaterLimit.item` in the unit of its row. `undetected`: item → rows given as below detection.
    Raises NotInForce for an unknown item or a day without the standard.
    """
    return _classes(GroundwaterLimit, GROUND_CLASSES, columns, day, undetected or {})


def seawater(columns: Mapping[str, Floats], day: date) -> ClassColumns:
    """Class of each sample by the worst of the items given (GB 3097-1997). Raises NotInForce as `groundwater`."""
    return _classes(SeawaterLimit, SEA_CLASSES, columns, day, {})


def _classes(
    kind: type[ClassLimit],
    names: tuple[str, ...],
    columns: Mapping[str, Floats],
    day: date,
    undetected: Mapping[str, NDArray[np.bool_]],
) -> ClassColumns:
    rows = {item: limits(kind, item, day) for item in columns}
    by_item = np.array([item_class(rows[i], v, undetected.get(i)) for i, v in columns.items()], np.int8)
    return ClassColumns(tuple(columns), by_item.max(axis=0), by_item, names, columns, rows)
