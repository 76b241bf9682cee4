"""What the public sees of the air: per station and for the city, this hour and those before; nothing else.

Everything comes from the hourly AQI verdicts of stations that are marked public. The city's concentration is the mean
of its stations' hourly concentrations, rounded (GB/T 8170), and its AQI the index of those means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from django.utils.translation import get_language, gettext

from ceguan.registry.label import label, name
from ceguan.registry.models import Point
from ceguan.science import air
from ceguan.standards.tables import AqiClass
from ceguan.watch import judge
from ceguan.web import objects
from ceguan.web.map import layers
from ceguan.web.store import store
from ceguan.words import PointKind, beijing

HOUR = 3600
HOURS = 24
SHARE = 0.5
"""The newest hour is shown once this share of the stations has reported it; until then the hour before."""

COLUMNS = {"pm25_1h": "PM2.5", "pm10_1h": "PM10", "o3_1h": "O₃", "no2_1h": "NO₂", "so2_1h": "SO₂", "co_1h": "CO"}
UNITS = {column: unit for column, (_, unit) in judge.AIR_COLUMNS.items()}


class Hour(NamedTuple):
    """One hour of a place; `aqi` None where no number may be given, then `reason` says why."""

    ts: int  # start of the hour, UTC epoch seconds
    aqi: int | None
    level: int
    primary: tuple[str, ...]
    values: Mapping[str, float | None]
    reason: str
    edition: str


@dataclass(frozen=True, slots=True)
class Place:
    """A station or the city with its hours, oldest first; `now` is the hour on show."""

    code: str
    name: str
    lon: float
    lat: float
    region: str
    hours: tuple[Hour, ...]
    now: Hour

    @property
    def words(self) -> AqiClass | None:
        """Class, colour, effect and advice of the hour on show."""
        return air.class_of(self.now.edition, self.now.level) if self.now.level else None

    @property
    def grade(self) -> layers.Grade:
        found = layers.aqi_grades(beijing(self.now.ts).date())
        return found[self.now.level - 1] if self.now.level else layers.NONE


class Board(NamedTuple):
    hour: int | None  # start of the hour on show; None when there is nothing at all
    city: Place | None
    stations: list[Place]
    counted: int  # stations behind the city's means


def board(now: float) -> Board:
    """The public page as data. `now` in UTC epoch seconds."""
    points = list(
        Point.objects.filter(kind=PointKind.AIR, public=True, closed_on=None).select_related("region").order_by("code")
    )
    rows = _verdicts(points, now)
    hour = _hour(rows, len(points))
    if hour is None:
        return Board(None, None, [], 0)
    stations = [_station(point, rows, hour) for point in points]
    return Board(hour, _city(stations, hour), stations, sum(place.now.aqi is not None for place in stations))


def _verdicts(points: list[Point], now: float) -> dict[tuple[int, int], dict[str, Any]]:
    """(point, hour) → verdict in force of the last day and a bit."""
    found = store().verdicts([point.id for point in points], "aqi-hour", now - (HOURS + 6) * HOUR, now)
    return {(row["point"], row["ts"]): row for row in found.to_pylist()}


def _hour(rows: Mapping[tuple[int, int], dict[str, Any]], stations: int) -> int | None:
    """The newest hour that enough stations have reported, else the newest anybody has."""
    given = [ts for (_, ts), row in rows.items() if row["outcome"] == "given"]
    full = [ts for ts in set(given) if given.count(ts) >= SHARE * stations]
    return max(full or given, default=None)


def _station(point: Point, rows: Mapping[tuple[int, int], dict[str, Any]], hour: int) -> Place:
    span = range(hour - (HOURS - 1) * HOUR, hour + 1, HOUR)
    hours = tuple(_told(rows.get((point.id, ts)), ts) for ts in span)
    return Place(point.code, name(point), point.lon, point.lat, name(point.region), hours, hours[-1])


def _told(row: dict[str, Any] | None, ts: int) -> Hour:
    if row is None:
        return Hour(ts, None, 0, (), {}, gettext("没有收到这一小时的数据"), "")
    detail = orjson.loads(row["detail"])
    aqi = int(row["value"]) if row["outcome"] == "given" else None
    why = "" if aqi is not None else objects.sentence(detail)
    return Hour(
        ts, aqi, detail.get("level", 0), tuple(detail.get("primary", ())), detail["values"], why, row["edition"]
    )


def _city(stations: list[Place], hour: int) -> Place:
    """Means over the stations, hour by hour."""
    starts = np.arange(hour - (HOURS - 1) * HOUR, hour + 1, HOUR, dtype=np.int64)
    columns = {column: _mean(stations, column) for column in COLUMNS}
    result = air.hourly_aqi(columns, air.edition_at(starts))
    hours = tuple(_judged(result, i, int(starts[i]), columns) for i in range(len(starts)))
    lon, lat = (float(np.mean([getattr(place, axis) for place in stations])) for axis in ("lon", "lat"))
    return Place("", gettext("全市"), lon, lat, "", hours, hours[-1])


def _mean(stations: list[Place], column: str) -> np.ndarray:
    cells = np.array([[_float(hour.values.get(column)) for hour in place.hours] for place in stations])
    counted = (~np.isnan(cells)).sum(axis=0)
    means = np.divide(np.nansum(cells, axis=0), counted, out=np.full(HOURS, np.nan), where=counted > 0)
    return np.rint(means * 10) / 10 if column == "co_1h" else np.rint(means)


def _float(value: float | None) -> float:
    return float("nan") if value is None else value


def _judged(result: air.AqiColumns, i: int, ts: int, columns: Mapping[str, np.ndarray]) -> Hour:
    aqi, level = int(result.aqi[i]), int(result.level[i])
    values = {column: None if np.isnan(cells[i]) else float(cells[i]) for column, cells in columns.items()}
    edition = air.editions()[result.edition[i]] if result.edition[i] >= 0 else ""
    why = "" if aqi >= 0 else label(result.explain(i))
    return Hour(ts, aqi if aqi >= 0 else None, level, tuple(air.names(int(result.primary[i]))), values, why, edition)


def advice(words: AqiClass) -> str:
    return words.advice_en if get_language() == "en" else words.advice_zh


def sensitive(hour: Hour) -> list[tuple[str, str]]:
    """(pollutant, who should take care) of each pollutant above an index of 100; empty where the edition names none."""
    if hour.aqi is None or hour.edition not in air.editions():
        return []
    columns = {column: np.array([_float(value)]) for column, value in hour.values.items()}
    groups = air.sensitive_groups(air.hourly_aqi(columns, hour.edition), 0)
    return [(group.pollutant, group.en if get_language() == "en" else group.zh) for group in groups]


def class_name(words: AqiClass) -> str:
    return words.en if get_language() == "en" else words.zh


def colour_name(words: AqiClass) -> str:
    return words.colour_en if get_language() == "en" else words.colour_zh
