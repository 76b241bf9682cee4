"""Columns that are items of a standard: found by any of their names, converted to the unit of the standard.

A heading is the item's key or name, with a unit or without: nh3n, nh3n_mgL, 氨氮, 氨氮(mg/L), NH3-N. A cell is a
number, empty (NA, NaN, —, / or negative: missing), or below the detection limit (<0.005, 0.005L): half of it counts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from ceguan import clock
from ceguan.evaluate.table import NUMBER, BadInput, Table, moment, number
from ceguan.science import statistics
from ceguan.science.air_period import last_day
from ceguan.standards import units
from ceguan.standards.tables import TRUST, Row, WaterRule, rows
from ceguan.words import beijing

BRACKETS = re.compile(r"(.*?)[(（]([^()（）]*)[)）]")
SUFFIX = re.compile(r"(.*)_([munkμµ]?g|Bq)(L|kg|m3)", re.IGNORECASE)
BELOW = re.compile(rf"[<＜]\s*({NUMBER.pattern})|({NUMBER.pattern})\s*[LlＬ]", re.ASCII)
QUALIFIER = re.compile(r"以.+计|总.+|C10-C40")
SHAPES = str.maketrans("（）[]［］，", "()()(),")
WORDS = {"无": 0.0, "有": 1.0}
PERIODS: dict[str, Callable[[date], str]] = {
    "month": lambda day: f"{day:%Y-%m}",
    "quarter": lambda day: f"{day.year}-Q{(day.month + 2) // 3}",
    "year": lambda day: f"{day.year}",
    "all": lambda day: "",
}
TIME_COLUMNS = ("time", "date", "监测时间", "采样时间", "日期", "时间")


@dataclass(frozen=True, slots=True)
class Amounts:
    """`values` item → float64, NaN missing · `undetected` item → bool, below the detection limit · `rest` the columns
    that are no item, in order."""

    values: dict[str, Any]
    undetected: dict[str, Any]
    rest: tuple[str, ...]


def amounts(
    table: Table, items: Iterable[tuple[str, str, str]], also: Mapping[str, Mapping[str, float]] | None = None
) -> Amounts:
    """The columns of a table that are one of `items` (key, name, unit). Raises BadInput with the column at fault.

    `also`: for an item, what values in a unit are multiplied by that the table of units does not know.
    """
    known = {_folded(name): (key, unit) for key, text, unit in items for name in (key, text, _other(text))}
    found: dict[str, tuple[str, float]] = {}
    for column in table.columns:
        match = _matched(column, known)
        if match is None:
            continue
        key, wanted, given = match
        if key in found:
            raise BadInput(f"{table.file}：第 1 行：列 {column} 与列 {found[key][0]} 是同一项目 (the same item twice)")
        found[key] = column, _scale(table, column, given, wanted, (also or {}).get(key, {}))
    values, undetected = {}, {}
    for key, (column, scale) in found.items():
        cells = table.parse(column, _amount, "不是数，也不是 <0.005 或 0.005L (not a number)")
        values[key] = statistics.settled(np.array([value for value, _ in cells], np.float64) * scale)
        undetected[key] = np.array([below for _, below in cells], np.bool_)
    taken = {column for column, _ in found.values()}
    return Amounts(values, undetected, tuple(c for c in table.columns if c not in taken))


def say_unused(table: Table, given: Amounts, used: Iterable[str]) -> None:
    """A line on standard error for columns of numbers that are no item: a misspelt one must not pass unseen."""
    known = {*used, *TIME_COLUMNS, "period"}
    odd = [c for c in given.rest if c not in known and _numeric(table.text(c))]
    if odd:
        print(f"{table.file}：这些列不是评价项目，没有参评：{'、'.join(odd)} (columns not judged)", file=sys.stderr)


def _numeric(cells: list[str]) -> bool:
    there = [cell.strip() for cell in cells if cell.strip()]
    return bool(there) and all(NUMBER.fullmatch(cell) or BELOW.fullmatch(cell) for cell in there)


def _folded(name: str) -> str:
    """Signs, case and the shape of brackets do not count."""
    return re.sub(r"[\s\-_－]", "", name).casefold().translate(SHAPES)


def _other(name: str) -> str:
    """无机氮(以N计) is also written 无机氮; 铬(六价), which is not all chromium, 六价铬."""
    match = BRACKETS.fullmatch(name)
    if match is None:
        return name
    return match[1] if QUALIFIER.fullmatch(match[2]) else match[2] + match[1]


def _matched(column: str, known: Mapping[str, tuple[str, str]]) -> tuple[str, str, str] | None:
    """(key, unit of the standard, unit given or "")."""
    if whole := known.get(_folded(column)):
        return (*whole, "")
    bracket, suffix = BRACKETS.fullmatch(column.strip()), SUFFIX.fullmatch(column.strip())
    if bracket and (item := known.get(_folded(bracket[1]))):
        return (*item, bracket[2].strip())
    if suffix and (item := known.get(_folded(suffix[1]))):
        return (*item, f"{suffix[2]}/{suffix[3]}")
    return None


def _scale(table: Table, column: str, given: str, wanted: str, also: Mapping[str, float]) -> float:
    scale = also.get(given) if given in also else units.factor(given or wanted, wanted)
    if scale is None:
        raise BadInput(
            f"{table.file}：第 1 行，列 {column}：单位 {given} 不能换算为 {wanted} (unit cannot be converted)"
        )
    return scale


def _amount(cell: str) -> tuple[float, bool]:
    """Value and whether it was below the detection limit. Raises ValueError."""
    if cell in WORDS:
        return WORDS[cell], False
    match = BELOW.fullmatch(cell)
    if match is None:
        return number(cell), False
    return float(next(g for g in match.groups() if g and NUMBER.fullmatch(g))) * _half(), True


def _half() -> float:
    """What of the detection limit counts (环办监测函〔2020〕82号 第七点)."""
    return float(next(row.value or 0 for row in rows(WaterRule) if row.rule == "detection_fraction"))


# ---- the law of the day


def days(table: Table) -> list[date] | None:
    """The Beijing date of each row, from the first column that names a time, or the last day of `period`; else None."""
    column = _time_column(table)
    if column is not None:
        return [label.date() for label in table.parse(column, moment, "不是时间 (not a time)")]
    if "period" in table.columns:
        return table.parse("period", last_day, "不是时段，例如 2025、2025-05、2025-Q2 (not a period)")
    return None


def _time_column(table: Table) -> str | None:
    return next((c for c in TIME_COLUMNS if c in table.columns), None)


def editions(kind: type[Row]) -> tuple[str, ...]:
    """Years of the editions in a table, as `--edition` takes them."""
    return tuple(dict.fromkeys(row.standard.rpartition("-")[2] for row in rows(kind)))


def law_day(args: Any, kind: type[Row], measured: date | None) -> date:
    """The day whose law holds: asked for, or that of the edition nearest to the day measured (today without one)."""
    if args.as_if:
        return args.as_if
    day = measured or beijing(clock.now()).date()
    if args.edition:
        row = next(r for r in rows(kind) if r.standard.endswith(args.edition))
        day = max(day, row.valid_from)
        day = min(day, row.valid_to) if row.valid_to else day
    return day


def weakest(used: Iterable[Row]) -> str:
    """The trust of a verdict: that of the least sure row it stands on."""
    return TRUST[max(TRUST.index(row.trust) for row in used)]


# ---- rows that belong together


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with one name (in `column`) in one period, and the last day measured."""

    column: str
    name: str
    period: str
    rows: Any
    day: date | None


def groups(table: Table, column: str, period: str) -> list[Group]:
    """Rows by the name in a column and by period, in the order of the file.

    A table of means has a column `period` instead of a time: its words part the rows when no period is asked for.
    """
    measured = days(table)
    words = table.text("period") if period == "all" and not _time_column(table) and "period" in table.columns else None
    if measured is None and period != "all":
        raise BadInput(
            f"{table.file}：第 1 行：按 {period} 汇总要有时间列 (a time column is needed)：{'、'.join(TIME_COLUMNS)}"
        )
    found: dict[tuple[str, str], list[int]] = {}
    for row, name in enumerate(table.text(column)):
        when = words[row] if words else PERIODS[period](measured[row]) if measured else ""
        found.setdefault((name, when), []).append(row)
    return [
        Group(column, name, when, np.array(its), max(measured[row] for row in its) if measured else None)
        for (name, when), its in found.items()
    ]
