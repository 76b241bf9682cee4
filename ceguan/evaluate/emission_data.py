"""Verbs of the data of pollution sources: amounts by period, effective transmission rate, incinerators."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np

from ceguan.evaluate.items import editions, law_day, weakest
from ceguan.evaluate.outlets import HOUR, STOPPED, Track, label_option, text, tracks
from ceguan.evaluate.table import moment, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import cems, emissions, incineration
from ceguan.standards.tables import IncineratorCap, NotInForce, Row, Substitution, rows

AMOUNT_HEADER = (
    "period", "outlet", "item", "hours", "stopped", "missing", "measured_kg", "substituted_kg", "total_kg", "capture",
    "edition", "trust", "reason",
)  # fmt: skip
TRANSMISSION_HEADER = (
    "period", "outlet", "item", "group", "kind", "due", "received", "valid_due", "valid", "transmission", "validity",
    "effective", "trust", "reason",
)  # fmt: skip
INCINERATOR_HEADER = ("furnace", "period", "quantity", "value", "cap", "unit", "verdict", "edition", "trust", "reason")
CAUSES = {"失控": cems.OUT_OF_CONTROL, "out_of_control": cems.OUT_OF_CONTROL}
INDUSTRIES = {"hazardous": "危险废物", "medical": "医疗废物", "domestic": "生活垃圾"}
CHECKING = ("C", "标样核查")
PERIODS = ("day", "month", "quarter", "year")


def add_verbs(verbs: Any) -> None:
    amount = add_verb(
        verbs,
        "emission-amount",
        amount_verb,
        "排放量：小时值 × 流量，缺失小时按季度捕集率替代（HJ 75-2017，替代表只有一个来源），按时段合计",
        "列：time, value（mg/m³ 或 mg/L，实测浓度）, flow（m³/h）；可有 outlet, item, flag（F 停运；其他非 N 无效）"
        "、cause（失控，缺省为维护等）。缺少的小时按停运以外的缺失处理。废水按 HJ 356 的做法替代（只有一个来源）。",
    )
    amount.add_argument("--medium", choices=("gas", "water"), default="gas", help="废气（默认）或废水")
    amount.add_argument("--period", choices=PERIODS, default="month", help="时段，默认月")
    label_option(amount)
    law_options(amount, editions(Substitution))
    effective = add_verb(
        verbs,
        "effective-transmission",
        transmission_verb,
        "有效传输率 = 传输率 × 有效率，小时数据、日数据分开；停运不计",
        "列：time, value；可有 outlet, item, flag（F 停运；C 或 标样核查 每天不超过 1 h 不要求有效；其他非 N 无效）, "
        "received（收到的时间）。应收为文件中首日到末日的每个小时；日数据以有效小时不少于 --day-hours 计。"
        "有 received 和 --within 时另给即时的率（时限由用户给出：未见规定）。",
    )
    effective.add_argument("--period", choices=PERIODS, default="month", help="时段，默认月")
    effective.add_argument("--within", type=float, metavar="小时", help="小时结束后多久之内收到算即时")
    effective.add_argument("--day-hours", type=int, default=20, metavar="N", help="日数据有效的最少小时数，默认 20")
    label_option(effective)
    furnace = add_verb(
        verbs,
        "incinerator",
        incinerator_verb,
        "焚烧炉：启停炉等时间、期间颗粒物、炉膛 5 分钟均值，GB 18484-2020、GB 39707-2020、GB 18485-2014",
        "列：time（时段开始）, furnace, temperature（℃，5 分钟均值）, state（启炉、停炉、故障、事故、烘炉、停炉降温、"
        "停运、CEMS维护；空或 正常运行 为正常）；可有 particulate（mg/m³，小时均值）。",
    )
    furnace.add_argument("--industry", choices=INDUSTRIES, required=True, help="危险废物、医疗废物、生活垃圾")
    furnace.add_argument("--minutes", type=float, default=5, metavar="N", help="每行代表的分钟数，默认 5")
    law_options(furnace, editions(IncineratorCap))


# ---- amounts


def _number(value: float) -> str:
    return "NA" if np.isnan(value) else f"{value:.6g}"


def amount_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "value", "flow"])
    out: list[tuple[str, ...]] = []
    for track in tracks(table, args.label, ("value", "flow")):
        out += _amount_rows(args, track)
    write_table(args.output, AMOUNT_HEADER, out, set(AMOUNT_HEADER[3:10]))
    return 0


def _amount_rows(args: argparse.Namespace, track: Track) -> Iterator[tuple[str, ...]]:
    valid, running = emissions.usable(track.flag) & track.given, track.flag != STOPPED
    used: list[Row] = []
    if args.medium == "water":
        filled = _water_filled(track, valid, running)
    else:
        filled = _gas_filled(args, track, valid, running)
        used += [row for row in filled.row if row] or rows(Substitution)[:1]
    for name, total in cems.by_period(filled, track.day, args.period).items():
        yield (
            name, track.outlet, track.item, str(total.hours), str(total.stopped), str(total.missing),
            f"{total.measured:.6g}", f"{total.substituted:.6g}", _number(total.total), _number(filled.capture),
            used[0].standard if used else "HJ 356-2019", weakest(used) if used else "1", total.explain().zh,
        )  # fmt: skip


def _gas_filled(args: argparse.Namespace, track: Track, valid: Any, running: Any) -> cems.Filled:
    """Quarter by quarter: the capture rate of each chooses what stands in; earlier quarters may be looked back to."""
    hourly = np.where(valid, cems.amount(track.columns["value"], track.columns["flow"], "gas"), np.nan)
    cause = np.array([CAUSES.get(word, cems.INVALID) for word in track.cause.tolist()])
    captured = running & ~np.isnan(hourly)
    quarter = track.day.astype("datetime64[M]").astype(np.int64) // 3
    parts = []
    for number in np.unique(quarter):
        there = quarter == number
        rate = cems.capture_rate(captured[there], running[there])
        upto = int(np.flatnonzero(there)[-1]) + 1
        law = law_day(args, Substitution, track.day[there][0].astype(object))
        parts.append((there, in_law(cems.fill, hourly[:upto], running[:upto], cause[:upto], law, rate)))
    return _joined(parts, captured, running)


def _joined(parts: list[tuple[Any, cems.Filled]], valid: Any, running: Any) -> cems.Filled:
    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name)[there[: len(part.way)]] for there, part in parts])

    table = tuple(part.row[i] for there, part in parts for i in np.flatnonzero(there).tolist())
    capture = cems.capture_rate(valid, running)
    return cems.Filled(column("amount"), column("way"), column("gap"), column("behind"), table, capture)


def _water_filled(track: Track, valid: Any, running: Any) -> cems.Filled:
    """Concentration and flow each filled by HJ 356-2019, in the hours that ran."""
    value, flow = (np.where(valid, track.columns[name], np.nan)[running] for name in ("value", "flow"))
    value, one_in = cems.fill_wastewater(value)
    flow, other_in = cems.fill_wastewater(flow)
    kilograms, way = np.zeros(len(valid)), np.full(len(valid), cems.STOPPED, np.int8)
    kilograms[running] = cems.amount(value, flow, "water")
    stands_in = np.where(one_in | other_in, cems.SUBSTITUTED, cems.MEASURED)
    way[running] = np.where(np.isnan(kilograms[running]), cems.MISSING, stands_in)
    nothing = np.zeros(len(valid), np.int64)
    capture = cems.capture_rate(way == cems.MEASURED, running)
    return cems.Filled(kilograms, way, nothing, nothing, (None,) * len(valid), capture)


# ---- effective transmission


def transmission_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "value"])
    received = None
    if "received" in table.columns and args.within is not None:
        received = np.array([t.timestamp() for t in table.parse("received", moment, "不是时间 (not a time)")])
    out = [cells for track in tracks(table, args.label, ("value",)) for cells in _rates(args, track, received)]
    write_table(args.output, TRANSMISSION_HEADER, out, set(TRANSMISSION_HEADER[5:12]))
    return 0


def _rates(args: argparse.Namespace, track: Track, received: Any) -> Iterator[tuple[str, ...]]:
    arrived = track.given & ~np.isnan(track.columns["value"])
    kinds = {"补全": arrived}
    if received is not None:
        late = np.full(len(track.hour), np.inf)
        late[track.given] = received[track.lines[track.given]] - track.hour[track.given] - HOUR
        kinds["即时"] = arrived & (late <= args.within * HOUR)
    for kind, there in kinds.items():
        for name, group, total in _groups(args, track, there):
            yield (
                name, track.outlet, track.item, group, kind, str(total.due), str(total.received),
                str(total.valid_due), str(total.valid), *(_number(v) for v in (total.transmission, total.validity,
                total.effective)), "1", total.explain().zh,
            )  # fmt: skip


def _groups(args: argparse.Namespace, track: Track, arrived: Any) -> Iterator[tuple[str, str, cems.Transmission]]:
    shape = (-1, 24)
    running = track.flag != STOPPED
    day = track.day.reshape(shape)[:, 0]
    law = day[-1].astype(object)
    exempt = _exempt(np.isin(track.flag, CHECKING).reshape(shape), law)
    valid = arrived & emissions.usable(track.flag)
    whole = {
        "小时": (running.reshape(shape), arrived.reshape(shape), valid.reshape(shape), exempt),
        "日": _day_groups(running.reshape(shape), arrived.reshape(shape), valid.reshape(shape), args.day_hours),
    }
    for group, columns in whole.items():
        for name, where in _spans(day, args.period):
            yield name, group, cems.transmission(*(column[where].ravel() for column in columns))


def _exempt(checking: Any, law: date) -> Any:
    try:
        return cems.check_hours(checking, law)
    except NotInForce:
        return np.zeros_like(checking)


def _day_groups(running: Any, arrived: Any, valid: Any, least: int) -> tuple[Any, Any, Any, Any]:
    """Days on which the source ran: received when any hour was, valid when enough of its running hours are."""
    ran = running.sum(axis=1)
    enough = (valid & running).sum(axis=1) >= np.minimum(ran, least)
    return ran > 0, (arrived & running).any(axis=1), enough, np.zeros(len(ran), np.bool_)


def _spans(day: Any, by: str) -> Iterator[tuple[str, Any]]:
    if by == "day":
        yield from ((str(d), day == d) for d in day)
        return
    for name, first, last in cems.periods(day, by):
        yield name, (day >= np.datetime64(first)) & (day <= np.datetime64(last))


# ---- incinerators


def incinerator_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "furnace", "temperature", "state"])
    when = table.parse("time", moment, "不是时间 (not a time)")
    places: dict[str, list[int]] = {}
    for row, name in enumerate(text(table, "furnace")):
        places.setdefault(name, []).append(row)
    temperature = table.numbers("temperature")
    particulate = table.numbers("particulate") if "particulate" in table.columns else np.full(len(when), np.nan)
    state = np.array(text(table, "state"), "U16")
    day = np.array([t.date() for t in when], "datetime64[D]")
    out: list[tuple[str, ...]] = []
    for name, there in places.items():
        given = (day[there], temperature[there], state[there], particulate[there])
        out += in_law(lambda g=given, n=name: list(_furnace(args, n, *g)))
    write_table(args.output, INCINERATOR_HEADER, out, {"value", "cap"})
    return 0


def _furnace(
    args: argparse.Namespace, name: str, day: Any, temperature: Any, state: Any, particulate: Any
) -> Iterator[tuple[str, ...]]:
    industry, hours = args.industry, args.minutes / 60
    for year, there in _spans(day, "year"):
        law = law_day(args, IncineratorCap, day[there][-1].astype(object))
        for quantity, found in incineration.state_hours(state[there], hours, industry, law).items():
            if quantity != "hours_cems":
                yield _against(name, year, found)
        yield _against(name, year, incineration.start_particulate(particulate[there], state[there], industry, law))
    for quarter, there in _spans(day, "quarter"):
        law = law_day(args, IncineratorCap, day[there][-1].astype(object))
        of_quarter = incineration.state_hours(state[there], hours, industry, law)
        if "hours_cems" in of_quarter:
            yield _against(name, quarter, of_quarter["hours_cems"])
    for one_day in np.unique(day):
        there = day == one_day
        excluded = ~np.isin(state[there], ("", "正常运行"))
        law = law_day(args, IncineratorCap, one_day.astype(object))
        count, _ = incineration.low_means(temperature[there], excluded, industry, law)
        yield _against(name, str(one_day), count)


def _against(name: str, period: str, found: incineration.Against) -> tuple[str, ...]:
    row = found.row
    verdict = "未评价" if np.isnan(found.value) else "不符合" if found.over else "符合"
    return (
        name, period, row.quantity, _number(found.value), f"{row.cap:g}", row.unit, verdict, row.standard, row.trust,
        found.explain().zh,
    )  # fmt: skip
