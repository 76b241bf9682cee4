"""Verbs of pollution sources: concentration limits and rates by stack height."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from ceguan.evaluate.items import days, editions, law_day, weakest
from ceguan.evaluate.outlets import Track, label_option, text, tracks
from ceguan.evaluate.table import BadInput, Table, number, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import emissions, stacks
from ceguan.science.emissions import Limit, Series, Verdict
from ceguan.standards.tables import EmissionLimit, EmissionRate, IncineratorCap, Row, Validity, in_force, rows
from ceguan.words import beijing

HEADER = (
    "time", "outlet", "item", "averaging", "hours", "judged", "low", "limit", "unit", "verdict", "multiple", "edition",
    "trust", "reason",
)  # fmt: skip
RATE_HEADER = ("limit", "verdict", "multiple", "edition", "trust", "reason")
YES = {"是": True, "yes": True, "1": True, "否": False, "no": False, "0": False, "": True}


def add_verbs(verbs: Any) -> None:
    limit = add_verb(
        verbs,
        "emission",
        emission_verb,
        "污染源排放达标：废气小时（或日）均值，按基准氧含量折算；废水按流量加权的日均值",
        "列：time（小时）或 date, item（项目名或 HJ 212 编码）, value；可有 outlet, zs（折算浓度）, o2（%）, "
        "flow（m³/h）, flag（HJ 212 标记，非 N 不参与）, "
        "state（焚烧炉工况：启炉、停炉、故障、事故不判定）。--standard、--category 指定标准和类别（也可作列），"
        "写错时列出可选的。"
        "没有 time 列时 value 按给出的均值直接比较。",
    )
    limit.add_argument("--standard", metavar="标准", help="例如 'GB 13271'，可不写年号")
    limit.add_argument("--category", metavar="类别", help="例如 '新建 燃煤锅炉'")
    limit.add_argument("--condition", default="", metavar="条件", help="例如 '水温>12℃'（限值分条件时必填）")
    limit.add_argument(
        "--averaging", choices=("1h", "24h", "measurement", "single"), help="只按这种取值时间的限值（默认全部）"
    )
    label_option(limit)
    law_options(limit, editions(EmissionLimit))
    rate = add_verb(
        verbs,
        "emission-rate",
        rate_verb,
        "最高允许排放速率：按排气筒高度内插、外推，GB 16297-1996 表2、附录B",
        "列：item, height（m）, rate（kg/h）；可有 area（2 或 3，缺省 2）, clears（高出 200 m 内建筑 5 m 以上：是、否，"
        "缺省是）, new（1997 年后的新污染源：是、否，缺省是）, date。其余列原样写出。",
    )
    law_options(rate, editions(EmissionRate))


# ---- limits


class Chosen(NamedTuple):
    row: EmissionLimit
    limit: Limit


def _limits(args: argparse.Namespace, item: str, measured: date | None, standard: str, category: str) -> list[Chosen]:
    """The limits of an item in a category on the law day; BadInput lists what there is."""
    day = law_day(args, EmissionLimit, measured)
    dated, edition = in_force(EmissionLimit, day), _year(standard, day)
    in_standard = [r for r in dated if r.standard == edition]
    _some(in_standard, f"{day} 没有标准 {standard}", {r.standard for r in dated})
    in_category = [r for r in in_standard if r.category == category]
    _some(in_category, f"{standard} 没有类别 {category}", {r.category for r in in_standard})
    of_item = [r for r in in_category if item in (r.name, r.code)]
    _some(of_item, f"{standard} {category} 没有项目 {item}", {r.name for r in in_category})
    wanted = [r for r in of_item if r.condition == args.condition and args.averaging in (None, r.averaging)]
    _some(wanted, f"{item} 没有条件 {args.condition!r} 的限值", {f"{r.condition} {r.averaging}" for r in of_item})
    return [Chosen(row, Limit.of(row)) for row in wanted]


def _some(found: list[EmissionLimit], says: str, valid: set[str]) -> None:
    if not found:
        raise BadInput(f"{says}；可选 (valid)：{'、'.join(sorted(valid))}")


def _year(standard: str, day: date) -> str:
    """The edition in force of a standard named without its year."""
    found = {r.standard for r in in_force(EmissionLimit, day) if r.standard.rpartition("-")[0] == standard}
    return found.pop() if len(found) == 1 else standard


def emission_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["item", "value"])
    standard, category = (_wanted(table, args, name) for name in ("standard", "category"))
    out = _values if "time" not in table.columns else _over_time
    cells = out(table, args, standard, category)
    write_table(args.output, HEADER, cells, {"hours", "judged", "low", "limit", "multiple"})
    return 0


def _over_time(table: Table, args: argparse.Namespace, standard: Any, category: Any) -> Iterator[tuple[str, ...]]:
    for track in tracks(table, args.label, ("value", "zs", "o2", "flow")):
        yield from _track_rows(args, track, standard, category)


def _wanted(table: Table, args: argparse.Namespace, name: str) -> Callable[[int], str]:
    asked = getattr(args, name)
    if asked is None and name not in table.columns:
        raise BadInput(f"{table.file}：要有列 {name} 或选项 --{name} (needed)")
    column = text(table, name)
    return lambda row: asked or column[row]


def _values(table: Table, args: argparse.Namespace, standard: Any, category: Any) -> Iterator[tuple[str, ...]]:
    """Means given as they are, one row each."""
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    value, outlet, item = table.numbers("value"), text(table, "outlet"), text(table, "item")
    for row, day in enumerate(measured):
        for chosen in _limits(args, item[row], day, standard(row), category(row)):
            found = emissions.judge_values(value[row : row + 1], chosen.limit)
            yield _cells(str(day or ""), outlet[row], item[row], chosen.row, found, 0, [chosen.row])


def _track_rows(args: argparse.Namespace, track: Track, standard: Any, category: Any) -> Iterator[tuple[str, ...]]:
    """Hours and days of one outlet and item, judged by the law of each day."""
    given = np.flatnonzero(track.given)
    line, none = int(track.lines[given[0]]), np.full(len(track.hour), np.nan)
    value, zs = (track.columns.get(name, none)[given] for name in ("value", "zs"))
    hours = emissions.hours_in_force(track.hour, Series(track.hour[given], value, zs, track.flag[given]))
    for start in range(0, len(track.hour), 24):
        there = np.arange(start, start + 24)
        measured = beijing(int(track.hour[start])).date()
        for chosen in _limits(args, track.item, measured, standard(line), category(line)):
            judge = _day if chosen.row.averaging == "24h" else _hours
            part = emissions.set_aside(hours.at(there), track.state[there], _exempt(chosen.row, measured))
            yield from judge(track, part, chosen, there, measured)


def _exempt(row: EmissionLimit, measured: date) -> list[str]:
    """States of an incinerator in which its standard does not judge the online data."""
    caps = in_force(IncineratorCap, measured, standard=row.standard, quantity="hours")
    return [state for cap in caps for state in cap.states.split()]


def _hours(
    track: Track, part: emissions.Hours, chosen: Chosen, there: Any, measured: date
) -> Iterator[tuple[str, ...]]:
    """The hours of a day that the file has."""
    o2 = track.columns["o2"][there] if "o2" in track.columns else None
    found = emissions.judge_flue_gas(part, chosen.limit, o2)
    for i in np.flatnonzero(track.given[there]).tolist():
        when = f"{beijing(int(part.hour[i])):%Y-%m-%d %H:%M}"
        yield _cells(when, track.outlet, track.item, chosen.row, found, i, [chosen.row])


def _day(track: Track, part: emissions.Hours, chosen: Chosen, there: Any, measured: date) -> Iterator[tuple[str, ...]]:
    """The mean of a day: of water weighted by flow, of flue gas over its converted hours."""
    o2, flow = (track.columns[name][there] if name in track.columns else None for name in ("o2", "flow"))
    least = _minimum("wastewater_day" if chosen.row.medium == "water" else "flue_gas_day", measured)
    if chosen.row.medium == "water":
        weight = None if flow is None else flow[None, :]
        found = emissions.judge_wastewater(part.value[None, :], chosen.limit, weight, least.minimum)
    else:
        compared = emissions.judge_flue_gas(part, chosen.limit, o2).judged
        found = emissions.judge_day(compared[None, :], chosen.limit, least.minimum)
    yield _cells(f"{measured:%Y-%m-%d}", track.outlet, track.item, chosen.row, found, 0, [chosen.row, least])


def _minimum(scope: str, measured: date) -> Validity:
    """Least valid hours of a day: the rule in force, or the first there was for an earlier day."""
    found = in_force(Validity, measured, scope=scope)
    return found[0] if found else next(row for row in rows(Validity) if row.scope == scope)


def _cells(
    when: str, outlet: str, item: str, row: EmissionLimit, found: emissions.Judged, i: int, used: list[Row]
) -> tuple[str, ...]:
    none = found.verdict[i] == Verdict.NOT_EVALUATED
    return (
        when,
        outlet,
        item,
        row.averaging,
        str(found.count[i]),
        _number(found.judged[i]),
        "" if row.low is None else f"{row.low:g}",
        "" if row.high == np.inf else f"{row.high:g}",
        row.unit,
        "未评价" if none else emissions.VERDICTS[Verdict(found.verdict[i])].zh,
        _number(found.multiple[i], ""),
        row.standard,
        weakest(used),
        found.explain(i).zh,
    )


def _number(value: float, none: str = "NA") -> str:
    return none if np.isnan(value) else f"{value:.6g}"


# ---- rates by stack height


def rate_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["item", "height", "rate"])
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    height, rate = table.numbers("height"), table.numbers("rate")
    areas = table.parse("area", number, "不是 2 或 3") if "area" in table.columns else [2.0] * len(rate)
    clears, new = (_yes(table, name) for name in ("clears", "new"))
    out = []
    for row, item in enumerate(text(table, "item")):
        law = law_day(args, EmissionRate, measured[row])
        try:
            found = in_law(stacks.rate_limit, item, float(height[row]), int(areas[row]), law, clears[row], new[row])
        except ValueError as error:
            raise table.fault(row, "height", str(error)) from error
        given = [table.text(name)[row] for name in table.columns]
        out.append((*given, *_rate_cells(found, float(rate[row]))))
    write_table(args.output, (*table.columns, *RATE_HEADER), out, {"limit", "multiple"})
    return 0


def _yes(table: Table, column: str) -> list[bool]:
    def read(cell: str) -> bool:
        if cell not in YES:
            raise ValueError(cell)
        return YES[cell]

    return table.parse(column, read, "不是 是 或 否") if column in table.columns else [True] * len(table.lines)


def _rate_cells(found: stacks.RateLimit, rate: float) -> tuple[str, ...]:
    verdict = "未评价" if np.isnan(rate) else "超标" if rate > found.value else "达标"
    multiple = f"{rate / found.value - 1:.6g}" if rate > found.value else ""
    return f"{found.value:.6g}", verdict, multiple, found.rows[0].standard, weakest(found.rows), found.explain().zh
