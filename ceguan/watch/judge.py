"""Readings in force → verdicts of the rules that hold for a point. Reads nothing but what it is given.

Each function gets the tracks of one point (by factor, tested) and the hours or days to judge (starts, UTC epoch
seconds), and returns one `Verdict` per rule and time – also where nothing could be judged, then with the reason.
`detail` always has `zh` and `en`, the sentence a person reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.quality import layers
from ceguan.science import air, emissions, noise, radiation, water
from ceguan.science.reasons import Reason
from ceguan.standards import units
from ceguan.standards.tables import AqiClass, NotInForce, RadiationBackground, Row, Validity, WaterLimit, in_force, one
from ceguan.store import Verdict
from ceguan.watch.dirty import DAY, HOUR
from ceguan.watch.register import Limit, Point
from ceguan.watch.windows import Track
from ceguan.words import Label, PointKind, beijing

Tracks = Mapping[str, Track]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Minutes = Callable[[], Tracks]
"""Gives the minute tracks of the same stretch; called only when an hour has no hourly reading."""

AIR_COLUMNS = {
    "so2_1h": ("a21026", "μg/m³"),
    "no2_1h": ("a21004", "μg/m³"),
    "co_1h": ("a21005", "mg/m³"),
    "o3_1h": ("a05024", "μg/m³"),
    "pm10_1h": ("a34002", "μg/m³"),
    "pm25_1h": ("a34004", "μg/m³"),
}
WATER_ITEMS = {"ph": "w01001", "do": "w01009", "codmn": "w01019", "nh3n": "w21003", "tp": "w21011"}
NOISE_FACTORS = ("Leq", "LA")
OXYGEN = "a19001"
FLOWS = {PointKind.WATER_OUTLET: "w00000"}
_OUTCOMES = [verdict.name.lower() for verdict in sorted(emissions.Verdict)]
"""not_evaluated, within, over."""


class Basis(NamedTuple):
    """Where a verdict stands in law."""

    edition: str
    clause: str


def hours(point: Point, tracks: Tracks, starts: Sequence[int], minutes: Minutes, now: float) -> list[Verdict]:
    """Everything that is judged by the hour at this kind of point."""
    at = np.asarray(sorted(starts), np.int64)
    if point.kind == PointKind.AIR:
        return air_hours(point, tracks, at, now)
    if point.kind == PointKind.WATER:
        return water_classes(point, tracks, at, now)
    if point.kind == PointKind.RADIATION:
        return dose_rates(point, tracks, at, now)
    if point.kind in (PointKind.GAS_OUTLET, PointKind.WATER_OUTLET):
        return limit_hours(point, tracks, at, minutes, now)
    return []


def days(point: Point, tracks: Tracks, starts: Sequence[int], minutes: Minutes, now: float) -> list[Verdict]:
    """Everything that is judged by the day; a day is what `dirty.day_start` says."""
    at = np.asarray(sorted(starts), np.int64)
    if point.kind == PointKind.AIR:
        return air_days(point, tracks, at, now)
    if point.kind == PointKind.NOISE:
        return noise_days(point, tracks, at, now)
    if point.kind in (PointKind.GAS_OUTLET, PointKind.WATER_OUTLET):
        return limit_days(point, tracks, at, minutes, now)
    return []


# ---- air


def air_hours(point: Point, tracks: Tracks, at: Ints, now: float) -> list[Verdict]:
    """Hourly AQI, edition by the hour measured."""
    columns = {name: _on(tracks, factor, at, unit) for name, (factor, unit) in AIR_COLUMNS.items()}
    result = air.hourly_aqi(columns, air.edition_at(at), _not_monitored(point, len(at), ""))
    factors = [factor for factor, _ in AIR_COLUMNS.values()]
    places = {factor: tracks[factor].at(at) for factor in factors if factor in tracks}
    return [
        _aqi(point, "aqi-hour", int(at[i]), result, i, columns, air.HOURLY, tracks, _inputs(tracks, places, [i]), now)
        for i in range(len(at))
    ]


def air_days(point: Point, tracks: Tracks, at: Ints, now: float) -> list[Verdict]:
    """Daily AQI from the 24 hours of Beijing days."""
    cells = (at[:, None] + np.arange(0, DAY, HOUR)).ravel()
    grids = {name: _on(tracks, factor, cells, unit).reshape(-1, 24) for name, (factor, unit) in AIR_COLUMNS.items()}
    columns = air.daily_columns(grids)
    result = air.daily_aqi(columns, air.edition_at(at), _not_monitored(point, len(at), "24h"))
    factors = [factor for factor, _ in AIR_COLUMNS.values()]
    places = {factor: tracks[factor].at(cells) for factor in factors if factor in tracks}
    verdicts = []
    for i in range(len(at)):
        inputs = _inputs(tracks, places, range(24 * i, 24 * i + 24))
        verdict = _aqi(point, "aqi-day", int(at[i]), result, i, columns, air.DAILY, {}, inputs, now)
        valid = {name: int((~np.isnan(grid[i])).sum()) for name, grid in grids.items()}
        verdicts.append(verdict._replace(detail={**verdict.detail, "valid_hours": valid}))
    return verdicts


def _not_monitored(point: Point, n: int, day: str) -> dict[str, NDArray[np.bool_]]:
    """Masks of the factors that the station does not measure by plan (property not_monitored: factor codes)."""
    planned = set(point.properties.get("not_monitored", ()))
    names = [name for name, (factor, _) in AIR_COLUMNS.items() if factor in planned]
    if day:
        short = {name.partition("_")[0] for name in names}
        names = [i.column for i in (*air.DAILY, air.DAILY_O3_1H) if i.column.partition("_")[0] in short]
    return {name: np.ones(n, np.bool_) for name in names}


def _aqi(
    point: Point, rule: str, ts: int, result: air.AqiColumns, i: int, columns: Mapping[str, Floats],
    items: Sequence[air.Item], tracks: Tracks, inputs: list[list[int]], now: float,
) -> Verdict:  # fmt: skip
    number, level = int(result.aqi[i]), int(result.level[i])
    edition = air.editions()[result.edition[i]] if result.edition[i] >= 0 else ""
    reason = result.explain(i)
    primary = list(air.names(int(result.primary[i])))
    name = _class(edition, level).zh if level else ""
    detail: dict[str, Any] = {
        **_aqi_sentence(number, name, level, edition, primary, reason),
        "primary": primary,
        "iaqi": {
            pollutant: int(result.iaqi[k, i]) for k, pollutant in enumerate(air.POLLUTANTS) if result.iaqi[k, i] >= 0
        },
        "values": {column: _number(values[i]) for column, values in columns.items()},
        "missing": list(air.names(int(result.missing[i]))),
        "level": level,
    }
    excluded = _excluded(tracks, ts)
    if excluded:
        detail["excluded"] = excluded
    clause = _cites(result, i, items)
    outcome, value = ("not_evaluated", None) if number < 0 else ("given", float(number))
    return Verdict(point.id, rule, ts, outcome, value, name, edition, clause, detail, inputs, now)


def _aqi_sentence(
    number: int, name: str, level: int, edition: str, primary: list[str], reason: Label
) -> dict[str, str]:
    if number < 0:
        return {"zh": f"不评价：{reason.zh}", "en": f"not evaluated: {reason.en}"}
    first = f"，首要污染物 {'、'.join(primary)}" if primary else ""
    first_en = f", primary {', '.join(primary)}" if primary else ""
    note_zh, note_en = (f"；{reason.zh}", f"; {reason.en}") if reason.zh else ("", "")
    english = _class(edition, level).en if level else ""
    return {"zh": f"AQI {number} {name}{first}{note_zh}", "en": f"AQI {number} {english}{first_en}{note_en}"}


@cache
def _class(edition: str, level: int) -> AqiClass:
    return air.class_of(edition, level)


_CITES: dict[tuple[Any, ...], str] = {}


def _cites(result: air.AqiColumns, i: int, items: Sequence[air.Item]) -> str:
    """Standards and clauses behind a row; the same for all rows with the same items, edition and class."""
    key = (int(result.edition[i]), int(result.level[i]), (result.iaqi[:, i] == air.MISSING).tobytes(), items)
    if key not in _CITES:
        _CITES[key] = "；".join(dict.fromkeys(row.cite for row in result.basis(i, items)))
    return _CITES[key]


# ---- water


def water_classes(point: Point, tracks: Tracks, at: Ints, now: float) -> list[Verdict]:
    """Class of each sample by its worst item; hours without any of the items are no samples."""
    places = {f: tracks[f].at(at) for f in WATER_ITEMS.values() if f in tracks}
    sampled = np.zeros(len(at), np.bool_)
    for place in places.values():
        sampled |= place >= 0
    verdicts = []
    for day, rows in _by_law(WaterLimit, at, np.flatnonzero(sampled)):
        verdicts += _classes(point, tracks, places, at, rows, day, now)
    return verdicts


def _classes(
    point: Point, tracks: Tracks, places: Mapping[str, Ints], at: Ints, rows: Ints, day: date, now: float
) -> list[Verdict]:
    body = str(point.properties.get("waterbody", "either"))
    table = {item: one_unit.unit for item in WATER_ITEMS for one_unit in in_force(WaterLimit, day, item=item, table=1)}
    columns = {item: _on(tracks, f, at[rows], table.get(item, "mg/L")) for item, f in WATER_ITEMS.items()}
    result = water.surface_water(columns, body, day)
    basis = result.basis("lake" if body == "lake" else "river")
    edition, clause = basis[0].standard, "；".join(dict.fromkeys(row.cite for row in basis))
    target = point.properties.get("target_class")
    verdicts = []
    for i, row in enumerate(rows.tolist()):
        number = int(result.klass[i])
        name = water.CLASSES[number] if number else ""
        worst, reason = list(result.worst_items(i)), result.explain(i)
        names = [water.limit(item, body if body == "lake" else "river", day).name for item in worst]
        meets = None if not number or target is None else number <= int(target)
        detail = {
            **_class_sentence(name, names, worst, reason, meets, target),
            "worst": worst, "target_class": target, "meets": meets, "waterbody": body,
            "values": {item: _number(values[i]) for item, values in columns.items()},
        }  # fmt: skip
        excluded = _excluded({f: tracks[f] for f in places}, int(at[row]))
        detail |= {"excluded": excluded} if excluded else {}
        outcome, value = ("given", float(number)) if number else ("not_evaluated", None)
        inputs = _inputs(tracks, places, [row])
        ts = int(at[row])
        verdicts.append(
            Verdict(point.id, "water-class", ts, outcome, value, name, edition, clause, detail, inputs, now)
        )
    return verdicts


def _class_sentence(
    name: str, names: list[str], worst: list[str], reason: Label, meets: bool | None, target: Any
) -> dict[str, str]:
    if not name:
        return {"zh": f"不评价：{reason.zh}", "en": f"not evaluated: {reason.en}"}
    by, by_en = (f"，定类项目 {'、'.join(names)}", f", by {', '.join(worst)}") if names else ("", "")
    zh, en = f"水质 {name} 类{by}", f"class {name}{by_en}"
    if meets is None:
        return {"zh": zh, "en": en}
    goal = water.CLASSES[int(target)]
    return {
        "zh": f"{zh}；目标 {goal} 类，{'达标' if meets else '不达标'}",
        "en": f"{en}; target {goal}: {'met' if meets else 'not met'}",
    }


# ---- permit limits


def limit_hours(point: Point, tracks: Tracks, at: Ints, minutes: Minutes, now: float) -> list[Verdict]:
    """Each hour against each hourly limit in force that day."""
    verdicts = []
    for limit in point.limits:
        track = tracks.get(limit.factor)
        mine = at[_dated(limit, at)] if limit.basis == "hour" else at[:0]
        if track is None or not len(mine):
            continue
        scale = units.factor(track.series.unit, limit.unit)
        if scale is None:
            verdicts += [_no_unit(point, limit, track, hour, "limit-hour", now) for hour in mine.tolist()]
            continue
        force = _in_force(limit.factor, tracks, mine, minutes, point, scale)
        oxygen = _on(tracks, OXYGEN, mine, "%") if limit.converted else None
        judged = emissions.judge_flue_gas(force, _limit(limit, point), oxygen)
        inputs = _hour_inputs(limit.factor, tracks, mine, force, judged, minutes)
        verdicts += _judged(point, limit, judged, mine, HOUR, inputs, track, "limit-hour", now)
    return verdicts


def _hour_inputs(
    factor: str, tracks: Tracks, at: Ints, force: emissions.Hours, judged: emissions.Judged, minutes: Minutes
) -> list[list[list[int]]]:
    """For each hour the readings behind it: the device's own, or its minutes; and the oxygen it was converted with."""
    track, oxygens = tracks[factor], tracks.get(OXYGEN)
    inputs = [[track.key(place)] if place >= 0 else [] for place in track.at(at).tolist()]
    for i in np.flatnonzero(force.origin == emissions.Origin.MINUTES).tolist():
        inputs[i] = _minute_keys(minutes()[factor], [int(at[i])])
    by_us = np.flatnonzero(judged.note == Reason.CONVERTED_BY_US)
    if len(by_us) and oxygens is not None:
        places = oxygens.at(at)
        for i in by_us.tolist():
            inputs[i].append(oxygens.key(int(places[i])))
    return inputs


def limit_days(point: Point, tracks: Tracks, at: Ints, minutes: Minutes, now: float) -> list[Verdict]:
    """Each day's mean against each daily limit; wastewater weighted by flow where there is one."""
    verdicts = []
    cells = (at[:, None] + np.arange(0, DAY, HOUR)).ravel()
    for limit in point.limits:
        track = tracks.get(limit.factor)
        mine = np.flatnonzero(_dated(limit, at)) if limit.basis == "day" else at[:0]
        if track is None or not len(mine):
            continue
        scale = units.factor(track.series.unit, limit.unit)
        if scale is None:
            verdicts += [_no_unit(point, limit, track, int(at[i]), "limit-day", now) for i in mine]
            continue
        force = _in_force(limit.factor, tracks, cells, minutes, point, scale)
        judged = _judge_days(point, limit, force, tracks, cells, minutes, at)
        places = track.at(cells)
        inputs = []
        for i in range(len(at)):
            day = range(24 * i, 24 * i + 24)
            inputs.append([track.key(int(places[c])) for c in day if force.origin[c] == emissions.Origin.DEVICE])
            recomputed = [int(cells[c]) for c in day if force.origin[c] == emissions.Origin.MINUTES]
            if recomputed:
                inputs[i] += _minute_keys(minutes()[limit.factor], recomputed)
        every = _judged(point, limit, judged, at, DAY, inputs, track, "limit-day", now)
        verdicts += [every[i] for i in mine.tolist()]
    return verdicts


def _judge_days(
    point: Point, limit: Limit, force: emissions.Hours, tracks: Tracks, cells: Ints, minutes: Minutes, at: Ints
) -> emissions.Judged:
    scope = "wastewater_day" if point.kind == PointKind.WATER_OUTLET else "flue_gas_day"
    minimum = one(Validity, beijing(int(at[-1])).date(), scope=scope).minimum
    if point.kind == PointKind.GAS_OUTLET:
        values = force.zs if limit.converted else force.value
        judged = emissions.judge_wastewater(values.reshape(-1, 24), _limit(limit, point), None, minimum)
        unweighted = np.where(judged.note == Reason.NOT_FLOW_WEIGHTED, Reason.NONE, judged.note).astype(np.uint8)
        return replace(judged, note=unweighted)
    flow_factor = FLOWS[PointKind.WATER_OUTLET]
    flow = None
    if flow_factor in tracks:
        flow = _in_force(flow_factor, tracks, cells, minutes, point, 1.0).value.reshape(-1, 24)
    return emissions.judge_wastewater(force.value.reshape(-1, 24), _limit(limit, point), flow, minimum)


def _in_force(factor: str, tracks: Tracks, at: Ints, minutes: Minutes, point: Point, scale: float) -> emissions.Hours:
    """The hour of the device, else of its minutes – in the unit of the limit."""
    track = tracks[factor]
    own = _science(track, scale)
    found = None
    if (track.at(at) < 0).any() and len(at):
        minute = minutes().get(factor)
        found = _science(minute, scale) if minute is not None and len(minute.ts) else None
    return emissions.hours_in_force(at, own, found, float(point.minute_interval))


def _science(track: Track, scale: float) -> emissions.Series:
    """A track as science wants it: what may not be used carries the reason as its flag."""
    flag = np.where(track.usable, "N", "").astype("U16")
    for i in np.flatnonzero(~track.usable).tolist():
        own = str(track.flag[i])
        if own not in layers.NORMAL_FLAGS:
            flag[i] = own
        elif track.action[i] == "invalidate" or not np.isnan(track.value[i]):
            flag[i] = "X"  # there is a value, and it may not be used: its minutes do not bring it back either
    exempt = track.action == "exempt"
    flag = np.where(exempt, "X", flag)
    return emissions.Series(track.ts, track.value * scale, track.zs * scale, flag)


def _limit(limit: Limit, point: Point) -> emissions.Limit:
    oxygen = point.properties.get("o2_ref")
    return emissions.Limit(
        limit.high, limit.low, "converted" if limit.converted else "measured",
        None if oxygen is None else float(oxygen), limit.unit, limit.cite,
    )  # fmt: skip


def _dated(limit: Limit, at: Ints) -> NDArray[np.bool_]:
    """Where the Beijing date of a start lies within the dates of the limit."""
    start = (at + 8 * HOUR) // DAY + date(1970, 1, 1).toordinal()
    last = limit.valid_to.toordinal() if limit.valid_to else 1 << 30
    return (start >= limit.valid_from.toordinal()) & (start <= last)


def _judged(
    point: Point, limit: Limit, judged: emissions.Judged, at: Ints, length: int,
    inputs: list[list[list[int]]], track: Track, rule: str, now: float,
) -> list[Verdict]:  # fmt: skip
    """One verdict per hour or day. Works on lists: indexing arrays one by one is what would cost the time."""
    common = {"factor": limit.factor, "name": track.series.name, "limit": limit.high, "low": limit.low,
              "unit": limit.unit, "converted": limit.converted, "limit_id": limit.id, "trust": limit.trust}  # fmt: skip
    full_rule, multiples, counts = f"{rule}:{limit.factor}", _numbers(judged.multiple), judged.count.tolist()
    behind = _behind(judged)
    sentences = _sentences(limit, judged, at, length, track)
    verdicts = []
    for i, (ts, code, value) in enumerate(
        zip(at.tolist(), judged.verdict.tolist(), _numbers(judged.judged), strict=True)
    ):
        zh, en = sentences[i]
        detail = {"zh": zh, "en": en, **common, "multiple": multiples[i], "hours": counts[i], **behind[i]}
        maintained = point.maintained(ts, ts + length) if point.maintenance else ""
        if maintained:
            detail["maintenance"] = maintained
        verdicts.append(
            Verdict(point.id, full_rule, ts, _OUTCOMES[code], value, "", limit.standard, limit.cite, detail,
                    inputs[i], now)
        )  # fmt: skip
    return verdicts


def _behind(judged: emissions.Judged) -> list[dict[str, Any]]:
    """For hours: where each value comes from, and how many valid minutes there were; nothing for days."""
    if judged.hours is None:
        return [{} for _ in judged.verdict]
    names = [emissions.Origin(k).name.lower() for k in range(len(emissions.Origin))]
    pairs = zip(judged.hours.origin.tolist(), judged.hours.minutes.tolist(), strict=True)
    return [{"origin": names[origin], "minutes": minutes} for origin, minutes in pairs]


def _sentences(limit: Limit, judged: emissions.Judged, at: Ints, length: int, track: Track) -> list[tuple[str, str]]:
    """What each verdict says. Most say that a value is within its limit, in the words of `Judged.explain`."""
    zh, en = emissions.VERDICTS[emissions.Verdict.WITHIN]
    low = "" if limit.low is None else f"{limit.low:g}–"
    tail = f" / {low}{limit.high:g} {limit.unit} {limit.cite}"
    plain = (judged.verdict == emissions.Verdict.WITHIN) & (judged.note == Reason.NONE)
    out = [(f"{zh}：{value:g}{tail}", f"{en}: {value:g}{tail}") for value in judged.judged.tolist()]
    for i in np.flatnonzero(~plain).tolist():
        out[i] = judged.explain(i)
        if length == HOUR and judged.verdict[i] == emissions.Verdict.NOT_EVALUATED:
            why = _why_not(track, int(track.at(at[i : i + 1])[0]))
            out[i] = (f"未判定：{why}", f"not evaluated: excluded ({why})") if why else out[i]
    return out


def _why_not(track: Track, index: int) -> str:
    """Why the device's own hour was left out; "" where it was not, or where there was none."""
    if index < 0:
        return ""
    return "审核豁免" if track.action[index] == "exempt" else track.excluded(index)


def _no_unit(point: Point, limit: Limit, track: Track, ts: int, rule: str, now: float) -> Verdict:
    zh = f"未判定：读数单位 {track.series.unit} 与限值单位 {limit.unit} 无法换算"
    en = f"not evaluated: no conversion from {track.series.unit} to {limit.unit}"
    detail = {"zh": zh, "en": en, "factor": limit.factor, "limit": limit.high, "unit": limit.unit}
    return Verdict(
        point.id, f"{rule}:{limit.factor}", ts, "not_evaluated", None, "", limit.standard, limit.cite, detail, [], now
    )


def _minute_keys(minute: Track, starts: Iterable[int]) -> list[list[int]]:
    keys = []
    for start in starts:
        low, high = np.searchsorted(minute.ts, [start, start + HOUR])
        keys += [minute.key(i) for i in range(int(low), int(high)) if minute.usable[i]]
    return keys


# ---- noise and radiation


def noise_days(point: Point, tracks: Tracks, at: Ints, now: float) -> list[Verdict]:
    """Day (06–22) and night (22–06) level against the zone's limits; a day begins at 06:00."""
    track = next((tracks[f] for f in NOISE_FACTORS if f in tracks), None)
    if track is None:
        return []
    zone = str(point.properties.get("zone", ""))
    verdicts = []
    for start in at.tolist():
        cells = np.arange(start, start + DAY, HOUR, dtype=np.int64)
        day = beijing(start).date()
        try:
            result = noise.judge(track.on(cells, "dB(A)")[None, :], zone, day)
        except NotInForce:
            result = None
        places = track.at(cells)
        for rule, part in (("noise-day", slice(0, 16)), ("noise-night", slice(16, 24))):
            inputs = [track.key(int(p)) for p in places[part] if p >= 0 and track.usable[p]]
            verdicts.append(_noise(point, rule, start, zone, result, inputs, now))
    return verdicts


def _noise(
    point: Point, rule: str, start: int, zone: str, result: noise.NoiseDays | None, inputs: list[list[int]], now: float
) -> Verdict:
    night = rule == "noise-night"
    ts = start + 16 * HOUR if night else start
    if result is None:
        why = {
            "zh": f"未判定：没有 {zone or '（未登记）'} 类声环境功能区的限值",
            "en": f"no limit for zone {zone!r}",
        }
        return Verdict(point.id, rule, ts, "not_evaluated", None, "", "", "", why, inputs, now)
    limit = result.limit
    level, high = (result.ln[0], limit.night) if night else (result.ld[0], limit.day)
    over = bool((result.night_over if night else result.day_over)[0])
    outcome = "not_evaluated" if np.isnan(level) else "over" if over else "within"
    zh, en = result.explain_part(0, "night" if night else "day")
    hours = int((result.night_hours if night else result.day_hours)[0])
    detail: dict[str, Any] = {"zh": zh, "en": en, "limit": high, "unit": "dB(A)", "zone": zone, "hours": hours}
    return Verdict(point.id, rule, ts, outcome, _number(level, 3), "", limit.standard, limit.cite, detail, inputs, now)


def dose_rates(point: Point, tracks: Tracks, at: Ints, now: float) -> list[Verdict]:
    """Where each hour's dose rate lies against the surveyed natural background of the place: a statement."""
    track = next((t for t in tracks.values() if units.factor(t.series.unit, "nGy/h") is not None), None)
    if track is None:
        return []
    places = track.at(at)
    verdicts = []
    for day, rows in _by_law(RadiationBackground, at, np.flatnonzero(places >= 0)):
        found = in_force(RadiationBackground, day)
        wanted = point.properties.get("background")
        row = next((one_ for one_ in found if one_.place == wanted), found[0])
        values = track.on(at[rows], row.unit)
        result = radiation.against_background(values, row)
        for i, k in enumerate(rows.tolist()):
            zh, en = result.explain(i)
            detail: dict[str, Any] = {
                "zh": zh,
                "en": en,
                "low": row.low,
                "high": row.high,
                "unit": row.unit,
                "place": row.place,
            }
            outcome = ("not_evaluated", "below", "within", "above")[int(result.position[i])]
            verdicts.append(
                Verdict(point.id, "radiation-hour", int(at[k]), outcome, _number(values[i]), "", row.standard,
                        row.cite, detail, [track.key(int(places[k]))], now)
            )  # fmt: skip
    return verdicts


# ---- common


def _on(tracks: Tracks, factor: str, at: Ints, unit: str) -> Floats:
    track = tracks.get(factor)
    return np.full(len(at), np.nan) if track is None else track.on(at, unit)


def _inputs(tracks: Tracks, places: Mapping[str, Ints], cells: Iterable[int]) -> list[list[int]]:
    """The readings found at these cells, those left out included: they are part of why."""
    return [tracks[f].key(int(place[c])) for c in cells for f, place in places.items() if place[c] >= 0]


def _excluded(tracks: Tracks, ts: int) -> dict[str, str]:
    """Factor → why its reading of this hour was not used."""
    found = {}
    for factor, track in tracks.items():
        if track.usable.all():
            continue
        index = int(track.at(np.array([ts]))[0])
        why = track.excluded(index) if index >= 0 else ""
        if why:
            found[factor] = why
    return found


def _by_law(law: type[Row], at: Ints, rows: Ints) -> Iterable[tuple[date, Ints]]:
    """Rows with a date whose law they are judged by: together while the same rows are in force, else day by day."""
    if not len(rows):
        return
    ordinal = (at[rows] + 8 * HOUR) // DAY
    first, last = (beijing(int(day) * DAY).date() for day in (ordinal.min(), ordinal.max()))
    if in_force(law, first) == in_force(law, last):
        yield first, rows
        return
    for day in np.unique(ordinal):
        yield beijing(int(day) * DAY).date(), rows[ordinal == day]


def _numbers(values: Floats) -> list[float | None]:
    """Floats that JSON can hold; None for NaN."""
    return [None if value != value else value for value in np.round(values, 9).tolist()]


def _number(value: float, digits: int = 9) -> float | None:
    """A float that JSON can hold; None for NaN."""
    return None if np.isnan(value) else round(float(value), digits)
