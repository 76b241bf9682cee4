"""土壤污染风险: farmland by pH and use (GB 15618-2018), building land by its class (GB 36600-2018).

A value at or below the screening value is of low risk; above it and not above the control value risk is possible;
above the control value it is high. NaN or negative = missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science.water import Floats
from ceguan.standards.tables import AgriculturalSoil, ConstructionSoil, NotInForce, Row, in_force
from ceguan.words import Label

MISSING, BELOW, BETWEEN, ABOVE, OVER_SCREENING, BACKGROUND = range(6)
VERDICTS = (
    Label("NA", "not evaluated"),
    Label("低于筛选值", "not above the screening value"),
    Label("介于筛选值和管制值之间", "between screening and control value"),
    Label("高于管制值", "above the control value"),
    Label("高于筛选值（无管制值）", "above the screening value (there is no control value)"),
    Label("高于筛选值但不高于背景值", "above the screening value, not above the natural background"),
)
SEVERITY = np.array([0, 1, 3, 5, 4, 2], np.int8)
"""Order of the codes from harmless to grave, to find the worst of a sample."""
LANDS = ("paddy", "orchard", "other")
PH_BANDS = (5.5, 6.5, 7.5)


@dataclass(frozen=True, slots=True)
class SoilColumns:
    """`verdict` int8 (n,) and `item_verdict` int8 (items, n): codes of VERDICTS · `screening`, `control` float64
    (items, n): the values compared with, NaN where there is none · `rows` the table rows of each item."""

    items: tuple[str, ...]
    verdict: NDArray[np.int8]
    item_verdict: NDArray[np.int8]
    screening: Floats
    control: Floats
    values: Mapping[str, Floats]
    rows: Mapping[str, tuple[Row, ...]]
    names: Mapping[str, str]

    def missing(self, row: int) -> tuple[str, ...]:
        """Items without a verdict in this row: no value, or no pH to judge it by."""
        return tuple(i for i, code in zip(self.items, self.item_verdict[:, row], strict=True) if code == MISSING)

    def worst_items(self, row: int) -> tuple[str, ...]:
        """Items with the verdict of the sample, none when it is the harmless one."""
        code = self.verdict[row]
        at = (self.item_verdict[:, row] == code) & (code > BELOW)
        return tuple(item for item, is_worst in zip(self.items, at, strict=True) if is_worst)

    def explain(self, row: int) -> Label:
        """The verdict with the deciding items, their values, what they were compared with, and the clause."""
        code = int(self.verdict[row])
        aside = [i for i in self.missing(row) if self.values[i][row] >= 0]
        if code == MISSING and aside:
            return Label("缺 pH，不能选定筛选值，未评价", "not evaluated: the values depend on pH, which is missing")
        if code == MISSING:
            return Label("各项均缺测", "no item has a value")
        zh, en = VERDICTS[code]
        parts = [self._part(item, row) for item in self.worst_items(row)]
        cites = "、".join(dict.fromkeys(r.cite for i in self.items for r in self.rows[i])) if not parts else ""
        zh_aside = f"；{'、'.join(self.names[i] for i in aside)}缺 pH，未评价" if aside else ""
        en_aside = f"; {', '.join(aside)} not evaluated without pH" if aside else ""
        return Label(
            (f"{zh}：{'；'.join(p.zh for p in parts)}" if parts else f"{zh}（{cites}）") + zh_aside,
            (f"{en}: {'; '.join(p.en for p in parts)}" if parts else f"{en} ({cites})") + en_aside,
        )

    def _part(self, item: str, row: int) -> Label:
        k, cite = self.items.index(item), "、".join(dict.fromkeys(r.cite for r in self.rows[item]))
        value, low, high = self.values[item][row], self.screening[k, row], self.control[k, row]
        zh = "" if np.isnan(high) else f"，管制值 {high:.6g}"
        en = "" if np.isnan(high) else f", control {high:.6g}"
        return Label(
            f"{self.names[item]} {value:.6g} mg/kg，筛选值 {low:.6g}{zh}（{cite}）",
            f"{item} {value:.6g} mg/kg, screening {low:.6g}{en} ({cite})",
        )


def agricultural(columns: Mapping[str, Floats], ph: Floats, land: NDArray[np.str_] | str, day: date) -> SoilColumns:
    """Farmland: each item against the values of the sample's pH and use (GB 15618-2018 tables 1–3).

    `land` per sample or for all: paddy, orchard or other. A sample without pH has no verdict for items whose values
    depend on it. Raises NotInForce for an unknown item or a day without the standard.
    """
    n = len(ph)
    use = np.broadcast_to(np.asarray(land), n)
    band = np.where(ph >= 0, np.searchsorted(PH_BANDS, ph, "left"), -1)
    rows = {i: in_force(AgriculturalSoil, day, item=i) for i in columns}
    if absent := [i for i, found in rows.items() if not found]:
        raise NotInForce(f"GB 15618：{day} 没有 {'、'.join(absent)} (no such item)")
    screening, control = (
        np.array([_farm_values(rows[i], kind, band, use) for i in columns]).reshape(len(columns), n)
        for kind in ("screening", "control")
    )
    names = {i: rows[i][0].name for i in columns}
    return _judged(columns, screening, control, rows, names, None)


def _farm_values(
    rows: tuple[AgriculturalSoil, ...], kind: str, band: NDArray[np.intp], use: NDArray[np.str_]
) -> Floats:
    """The value for each sample: of its use where the table has that use, else of the others, else of all."""
    out = np.full(len(band), np.nan)
    of_kind = {row.land: row for row in rows if row.kind == kind}
    for land in LANDS:
        row = of_kind.get(land) or of_kind.get("other") or of_kind.get("")
        if row is None:
            continue
        same = len(set(row.bands)) == 1  # such a value does not ask for pH
        picked = np.where(band >= 0, np.array(row.bands)[band], row.bands[0] if same else np.nan)
        out = np.where(use == land, picked, out)
    return out


def construction(
    columns: Mapping[str, Floats],
    land: NDArray[np.int_] | int,
    day: date,
    background: Mapping[str, Floats] | None = None,
) -> SoilColumns:
    """Building land of class 1 or 2 (GB 36600-2018 tables 1 and 2).

    `background`: item → natural background of the place [mg/kg]; for the items marked in the table a value above the
    screening value but not above it is not managed as polluted. Raises NotInForce as `agricultural`.
    """
    n = len(next(iter(columns.values())))
    first = np.broadcast_to(np.asarray(land), n) == 1
    rows = {i: in_force(ConstructionSoil, day, item=i) for i in columns}
    if absent := [i for i, found in rows.items() if not found]:
        raise NotInForce(f"GB 36600：{day} 没有 {'、'.join(absent)} (no such item)")
    screening = np.array([np.where(first, rows[i][0].screening1, rows[i][0].screening2) for i in columns])
    control = np.array([np.where(first, rows[i][0].control1, rows[i][0].control2) for i in columns])
    names = {i: rows[i][0].name for i in columns}
    marked = {i: v for i, v in (background or {}).items() if i in rows and rows[i][0].background}
    return _judged(columns, screening, control, rows, names, marked)


def _judged(
    columns: Mapping[str, Floats],
    screening: Floats,
    control: Floats,
    rows: Mapping[str, tuple[Row, ...]],
    names: Mapping[str, str],
    background: Mapping[str, Floats] | None,
) -> SoilColumns:
    value = np.array(list(columns.values()))
    code = np.full(value.shape, BELOW, np.int8)
    code[value > screening] = OVER_SCREENING
    code[(value > screening) & ~np.isnan(control)] = BETWEEN
    code[value > control] = ABOVE
    for k, item in enumerate(columns):
        if background and item in background:
            code[k, (value[k] > screening[k]) & (value[k] <= background[item])] = BACKGROUND
    code[~(value >= 0) | np.isnan(screening)] = MISSING
    worst = SEVERITY[code].argmax(axis=0)
    verdict = code[worst, np.arange(value.shape[1])]
    return SoilColumns(tuple(columns), verdict, code, screening, control, columns, rows, names)
