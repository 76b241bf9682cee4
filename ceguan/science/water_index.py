"""城市水质指数 (CWQI) and the ranking of cities (环办监测〔2017〕51号, text not seen: mind the trust of its rules).

Item index: C/S3, dissolved oxygen S3/C, pH by its distance from 7; a body of water is the sum over the 21 items, a city
the mean of its rivers and its lakes weighted by their sections. Nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from ceguan.science import water
from ceguan.science.water import GOOD, SECTION_ITEMS, Floats
from ceguan.science.water_bodies import Columns, means
from ceguan.standards.tables import Row, WaterRule, one
from ceguan.words import Label

RULES = ("cwqi_item", "cwqi_mean", "cwqi_city")


def item_index(item: str, value: Floats, waterbody: str, day: date) -> Floats:
    """Index of one item; NaN where missing. Zero oxygen has no finite index (inf)."""
    row = water.limit(item, waterbody, day)
    with np.errstate(divide="ignore"):
        if row.lo is not None and row.hi is not None:  # pH: 7 is neutral
            out = np.where(value <= 7, (7 - value) / (7 - row.lo), (value - 7) / (row.hi - 7))
        elif row.kind == "min":
            out = row.classes[GOOD - 1] / value
        else:
            out = value / row.classes[GOOD - 1]
    out[~(value >= 0)] = np.nan
    return out


@dataclass(frozen=True, slots=True)
class Cwqi:
    """`index` of the city, `river` and `lake` (NaN where it has none), `parts` item → index of each body,
    `sections` (rivers, lakes), `missing` items without a value in one of them: such an index compares with no other."""

    index: float
    river: float
    lake: float
    parts: dict[str, dict[str, float]]
    sections: tuple[int, int]
    missing: tuple[str, ...]
    day: date
    rules: tuple[Row, ...]

    def explain(self) -> Label:
        """What was added up, what is missing, and how sure the rule is."""
        if np.isnan(self.index):
            return Label("没有可用的断面", "no section with a value")
        rivers, lakes = self.sections
        zh = f"河流断面 {rivers} 个、湖库点位 {lakes} 个（{self.rules[0].standard}，城市加权未核对原文）"
        en = f"{rivers} river sections, {lakes} lake points ({self.rules[0].standard}; city weighting unverified)"
        if self.missing:
            zh += f"；缺{'、'.join(water.name_of(i, self.day) for i in self.missing)}，未计入，不宜与项目齐全的城市比较"
            en += f"; {', '.join(self.missing)} missing and not counted: not comparable with a complete index"
        return Label(zh, en)


def cwqi(sections: Columns, lake: NDArray[np.bool_], day: date) -> Cwqi:
    """Index of a city from the means of its sections (one row each); `lake` says which rows are lake points.

    In rivers and in lakes each item is averaged over the sections first. Missing items are left out and named.
    """
    rules = tuple(one(WaterRule, day, rule=name) for name in RULES)
    used = {item: sections.get(item, np.full(len(lake), np.nan)) for item in SECTION_ITEMS}
    index, parts, missing = {"river": np.nan, "lake": np.nan}, {}, set()
    for body, there in (("river", ~lake), ("lake", lake)):
        if not there.any():
            continue
        mean = means({i: v[there] for i, v in used.items()}, np.zeros(int(there.sum()), np.int64), 1)
        parts[body] = {i: float(item_index(i, v, body, day)[0]) for i, v in mean.items()}
        missing |= {i for i, v in parts[body].items() if np.isnan(v)}
        known = [v for v in parts[body].values() if not np.isnan(v)]
        index[body] = float(np.sum(known)) if known else np.nan
    count = int((~lake).sum()), int(lake.sum())
    weighed = [(index[body], n) for body, n in zip(("river", "lake"), count, strict=True) if not np.isnan(index[body])]
    total = sum(n for _, n in weighed)
    city = sum(v * n for v, n in weighed) / total if total else np.nan
    lacking = tuple(item for item in SECTION_ITEMS if item in missing)
    return Cwqi(float(city), index["river"], index["lake"], parts, count, lacking, day, rules)


def change(now: Floats, base: Floats, left_out: NDArray[np.bool_] | None = None) -> Floats:
    """(now − base) / base, negative = better; NaN for cities that take no part in the ranking of changes.

    `left_out`: cities all of whose sections met class II in both periods and passed assessment.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        out = (now - base) / base
    if left_out is not None:
        out[left_out] = np.nan
    return out
