"""Verbs of noise: functional zones, a city's grid and roads, boundaries and rooms beside a source."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from ceguan.evaluate.items import PERIODS, days, editions, law_day, weakest
from ceguan.evaluate.table import BadInput, Table, moment, number, read_table, write_table
from ceguan.evaluate.verbs import add_verb, in_law, law_options
from ceguan.science import noise, noise_sources
from ceguan.standards.tables import NoiseEmission, NoiseGrade, NoiseLimit
from ceguan.words import beijing

HOUR, DAY = 3600, 86400
SHIFT = 2 * HOUR  # the noise day begins at 06:00 Beijing, which is 22:00 UTC of the day before
ZONE_HEADER = (
    "date", "station", "zone", "ld", "ln", "ldn", "day_hours", "night_hours", "day_verdict", "night_verdict",
    "sudden_verdict", "edition", "trust", "reason",
)  # fmt: skip
RATE_HEADER = ("period", "zone", "day_judged", "day_met", "day_rate", "night_judged", "night_met", "night_rate",
               "edition", "trust")  # fmt: skip
CITY_HEADER = ("city", "part", "points", "level", "grade", "word", "edition", "trust", "reason")
SOURCE_HEADER = ("corrected", "limit", "verdict", "edition", "trust", "reason")
PARTS = {"": "day", "day": "day", "昼间": "day", "昼": "day", "night": "night", "夜间": "night", "夜": "night"}
NATURE = {"": "", "frequent": "frequent", "频发": "frequent", "occasional": "occasional", "偶发": "occasional"}
PEAK = {"frequent": "频发", "occasional": "偶发"}
YES = {"是": True, "yes": True, "1": True, "否": False, "no": False, "0": False, "": False}
VERDICTS = ("未评价", "达标", "超标")


def add_verbs(verbs: Any) -> None:
    zones = add_verb(
        verbs,
        "noise",
        noise_verb,
        "声环境功能区：昼间、夜间、昼夜等效声级与达标，GB 3096-2008、HJ 640-2012",
        "列：time, station, zone（0、1、2、3、4a、4b）, leq（小时等效声级 dB(A)）；可有 lmax（夜间突发噪声最大声级）。"
        "一天从 06:00 到次日 06:00；时段有效小时不足（默认要求齐全，未见最少小时数的规定）不评价。"
        "--rate 按时段和功能区类别给出昼间、夜间点次达标率。",
    )
    zones.add_argument("--label", choices=("end", "start"), default="end", help="time 是该小时的结束（默认）还是开始")
    zones.add_argument("--day-hours", type=int, default=noise.DAY_HOURS, metavar="N", help="昼间最少有效小时，默认 16")
    zones.add_argument(
        "--night-hours", type=int, default=noise.NIGHT_HOURS, metavar="N", help="夜间至少有效小时，默认 8"
    )
    zones.add_argument("--rate", choices=PERIODS, help="点次达标率：月、季、年、全部")
    law_options(zones, editions(NoiseLimit))
    city = add_verb(
        verbs,
        "noise-city",
        city_verb,
        "城市区域环境噪声总体水平、道路交通噪声强度等级，HJ 640-2012",
        "列：leq（测点等效声级 dB(A)）；道路交通另要 length（路段长度）；可有 city, part（昼间 day、夜间 night，"
        "缺省昼间）, time 或 date。区域为算术平均，道路按路长加权；修约到 0.1 dB(A) 后分级。",
    )
    city.add_argument("--kind", choices=("regional", "traffic"), required=True, help="区域或道路交通")
    law_options(city, editions(NoiseGrade))
    source = add_verb(
        verbs,
        "noise-source",
        source_verb,
        "厂界和社会生活噪声：背景修正、室内、倍频带、夜间频发偶发噪声，GB 12348-2008、GB 22337-2008",
        "列：zone（0–4）, leq；可有 part（昼间、夜间，缺省昼间）, background（背景值）, room（A、B，室内测量）, "
        "band（倍频带中心频率 Hz：31.5、63、125、250、500）, near（是：距敏感建筑物不足 1 m 改在室内测，限值减 10）, "
        "nature（频发、偶发：该行 leq 为夜间最大声级）, time 或 date。其余列原样写出。",
    )
    source.add_argument(
        "--standard", choices=("GB 12348", "GB 22337"), default="GB 12348", help="工业企业（默认）或社会生活"
    )
    law_options(source, editions(NoiseEmission))


# ---- functional zones


class Days(NamedTuple):
    """Days as a grid: `leq` (n, 24) from 06:00, `sudden` (n,) highest level of the night, NaN where not given."""

    station: list[str]
    zone: list[str]
    day: list[date]
    leq: Any
    sudden: Any


def noise_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["time", "station", "zone", "leq"])
    found = _days(table, args.label)
    out: list[tuple[str, ...]] = [()] * len(found.day)
    rates: dict[tuple[str, str], tuple[noise.ZoneRate, noise.ZoneRate, Any]] = {}
    for (zone, measured), there in _by_zone_and_day(found).items():
        judged = in_law(
            noise.judge, found.leq[there], zone, law_day(args, NoiseLimit, measured), args.day_hours, args.night_hours,
            found.sudden[there],
        )  # fmt: skip
        for i, row in enumerate(there):
            out[row] = (f"{measured:%Y-%m-%d}", found.station[row], zone, *_zone_row(judged, i))
        if args.rate:
            key = (PERIODS[args.rate](measured), zone)
            day, night, _ = rates.get(key, (noise.ZoneRate(0, 0), noise.ZoneRate(0, 0), judged))
            day += noise.zone_rate(judged.ld, judged.limit.day)
            rates[key] = (day, night + noise.zone_rate(judged.ln, judged.limit.night), judged)
    if args.rate:
        _write_rates(args, rates)
    else:
        write_table(args.output, ZONE_HEADER, out, {"ld", "ln", "ldn", "day_hours", "night_hours"})
    return 0


def _days(table: Table, label: str) -> Days:
    begun = np.array([int(t.timestamp()) for t in table.parse("time", moment, "不是时间 (not a time)")], np.int64)
    for row in np.flatnonzero(begun % HOUR).tolist():
        raise table.fault(row, "time", f"{table.text('time')[row]!r} 不是整点 (not a full hour)")
    begun -= HOUR if label == "end" else 0
    leq = table.numbers("leq")
    peaks = table.numbers("lmax") if "lmax" in table.columns else np.full(len(leq), np.nan)
    cells: dict[tuple[str, str, int], tuple[Any, Any]] = {}
    for row, (station, zone) in enumerate(zip(table.text("station"), table.text("zone"), strict=True)):
        number_of_day, hour = divmod(int(begun[row]) + SHIFT, DAY)
        grid, highest = cells.setdefault((station, zone.strip(), number_of_day), (np.full(24, np.nan), []))
        if not np.isnan(grid[hour // HOUR]):
            raise table.fault(row, "time", "同一站点同一小时已有一行 (this hour of this station is there already)")
        grid[hour // HOUR] = leq[row]
        if hour // HOUR >= noise.DAY_HOURS and not np.isnan(peaks[row]):
            highest.append(peaks[row])
    day = [beijing(n * DAY - SHIFT).date() for _, _, n in cells]
    grids = np.array([grid for grid, _ in cells.values()]).reshape(-1, 24)
    sudden = np.array([max(high) if high else np.nan for _, high in cells.values()])
    return Days([s for s, _, _ in cells], [z for _, z, _ in cells], day, grids, sudden)


def _by_zone_and_day(found: Days) -> dict[tuple[str, date], list[int]]:
    places: dict[tuple[str, date], list[int]] = {}
    for row, key in enumerate(zip(found.zone, found.day, strict=True)):
        places.setdefault(key, []).append(row)
    return places


def _zone_row(judged: noise.NoiseDays, i: int) -> tuple[str, ...]:
    sudden = "" if np.isnan(judged.sudden[i]) else VERDICTS[1 + int(judged.sudden_over[i])]
    used = [judged.limit] if not sudden else [judged.limit, judged.rule]
    return (
        *(_level(column[i]) for column in (judged.ld, judged.ln, judged.ldn)),
        str(judged.day_hours[i]),
        str(judged.night_hours[i]),
        _verdict(judged.ld[i], judged.day_over[i]),
        _verdict(judged.ln[i], judged.night_over[i]),
        sudden,
        judged.limit.standard,
        weakest(used),
        judged.explain(i).zh,
    )


def _level(value: float) -> str:
    return "NA" if np.isnan(value) else f"{value:.1f}"


def _verdict(level: float, over: bool) -> str:
    return VERDICTS[0] if np.isnan(level) else VERDICTS[1 + int(over)]


def _write_rates(args: argparse.Namespace, rates: dict[tuple[str, str], Any]) -> None:
    out = (
        (period, zone, *_rate(day), *_rate(night), judged.limit.standard, weakest([judged.limit]))
        for (period, zone), (day, night, judged) in sorted(rates.items())
    )
    write_table(args.output, RATE_HEADER, out, set(RATE_HEADER) - {"period", "zone", "edition", "trust"})


def _rate(rate: noise.ZoneRate) -> tuple[str, str, str]:
    return str(rate.judged), str(rate.met), "NA" if not rate.judged else f"{rate.rate:.1f}"


# ---- a city's grid and roads


def city_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["leq", *(["length"] if args.kind == "traffic" else [])])
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    parts = _words(table, "part", PARTS, "不是 昼间 或 夜间")
    cities = table.text("city") if "city" in table.columns else [""] * len(table.lines)
    leq = table.numbers("leq")
    length = table.numbers("length") if args.kind == "traffic" else None
    places: dict[tuple[str, str, date], list[int]] = {}
    for row, (city, part, day) in enumerate(zip(cities, parts, measured, strict=True)):
        places.setdefault((city, part, law_day(args, NoiseGrade, day)), []).append(row)
    out = []
    for (city, part, law), there in places.items():
        roads = None if length is None else length[there]
        found = in_law(noise.city_level, leq[there], args.kind, part, law, roads)
        row = found.grade
        out.append(
            (city, noise.PARTS[part].zh, str(found.points), _level(found.level), str(row.grade) if row else "NA",
             row.zh if row else "NA", row.standard if row else "", row.trust if row else "", found.explain().zh)
        )  # fmt: skip
    write_table(args.output, CITY_HEADER, out, {"points", "level", "grade"})
    return 0


def _words(table: Table, column: str, words: dict[str, str], says: str) -> list[str]:
    if column not in table.columns:
        return [words[""]] * len(table.lines)

    def read(cell: str) -> str:
        if cell not in words:
            raise ValueError(cell)
        return words[cell]

    return table.parse(column, read, says)


# ---- sources


def source_verb(args: argparse.Namespace) -> int:
    table = read_table(args.input, ["zone", "leq"])
    measured = days(table) or [None] * len(table.lines)  # type: ignore[list-item]
    given = {name: table.text(name) for name in table.columns}
    leq = table.numbers("leq")
    background = table.numbers("background") if "background" in table.columns else np.full(len(leq), np.nan)
    parts = _words(table, "part", PARTS, "不是 昼间 或 夜间")
    natures = _words(table, "nature", NATURE, "不是 频发 或 偶发")
    near = [YES[word] for word in _words(table, "near", {k: k for k in YES}, "不是 是 或 否")]
    bands = table.parse("band", number, "不是中心频率") if "band" in table.columns else [np.nan] * len(leq)
    out = []
    for row in range(len(leq)):
        law = law_day(args, NoiseEmission, measured[row])
        level = leq[row : row + 1]
        if natures[row]:
            _peak_only(table, row, parts[row], args.standard)
            found = in_law(noise_sources.judge_peak, level, given["zone"][row].strip(), natures[row], law)
        else:
            back = None if np.isnan(background[row]) else background[row : row + 1]
            found = _judged(table, row, args, level, back, parts[row], near[row], bands[row], law)
        out.append((*(given[name][row] for name in table.columns), *_source_row(found)))
    write_table(args.output, (*table.columns, *SOURCE_HEADER), out, {"corrected", "limit"})
    return 0


def _peak_only(table: Table, row: int, part: str, standard: str) -> None:
    if part != "night" or standard != "GB 12348":
        raise table.fault(row, "nature", "频发、偶发噪声的最大声级只按 GB 12348 评价夜间 (at night, GB 12348 only)")


def _judged(
    table: Table, row: int, args: argparse.Namespace, level: Any, back: Any, part: str, near: bool, band: float,
    law: date,
) -> noise_sources.SourceColumns:  # fmt: skip
    zone = table.text("zone")[row].strip()
    room = table.text("room")[row].strip() if "room" in table.columns else ""
    kind = "octave" if not np.isnan(band) else "indoor" if room else "boundary"
    try:
        return in_law(
            noise_sources.judge_source, level, zone, part, law, args.standard, back, kind, room,
            None if np.isnan(band) else band, near,
        )  # fmt: skip
    except (BadInput, ValueError) as error:
        raise table.fault(row, "zone", f"{zone} {room} 不是该标准的功能区、房间或频带：{error}") from error


def _source_row(found: noise_sources.SourceColumns) -> Iterator[str]:
    yield "NA" if np.isnan(found.corrected[0]) else f"{found.corrected[0]:g}"
    yield f"{found.limit[0]:g}"
    yield noise_sources.VERDICTS[found.verdict[0]].zh
    yield found.rows[0].standard
    yield weakest(found.rows)
    yield found.explain(0).zh
