"""The register as the clockwork needs it: plain objects by id, read in a few queries, fresh whenever it changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db import connection

from ceguan.intake.hj212 import crc
from ceguan.registry import models
from ceguan.standards import factors
from ceguan.words import Kind


@dataclass(frozen=True, slots=True)
class Series:
    """One factor at one point; `unit` is what every stored reading of it is in."""

    id: int
    factor: str
    name: str
    unit: str
    decimals: int
    low: float | None
    high: float | None
    detection_limit: float | None


@dataclass(frozen=True, slots=True)
class Device:
    mn: str
    point: int
    units: dict[str, str]
    minute_interval: int
    every_seconds: int
    take_held: bool
    fill_gaps: bool = True
    dialects: frozenset[str] = frozenset({crc.HJ212})  # CRC dialects that count: the standard's, and those confirmed


@dataclass(frozen=True, slots=True)
class Limit:
    """A permit limit as dated; `cite` names standard and clause."""

    id: int
    factor: str
    basis: str
    converted: bool
    low: float | None
    high: float
    unit: str
    cite: str
    standard: str
    trust: str
    valid_from: date
    valid_to: date | None


@dataclass(slots=True)
class Point:
    """A point with everything that hangs on it."""

    id: int
    code: str
    name: str
    kind: str
    properties: dict[str, Any]
    live_from: date | None
    closed_on: date | None
    series: dict[str, Series] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    maintenance: list[tuple[float, float, str]] = field(default_factory=list)

    @property
    def minute_interval(self) -> int:
        """Minutes that one minute reading of this point stands for."""
        return min((device.minute_interval for device in self.devices), default=10)

    def maintained(self, start: float, end: float) -> str:
        """Reason of a maintenance window that touches [start, end), else ""."""
        return next((why for begin, until, why in self.maintenance if begin < end and until > start), "")


class Register:
    """Points, series and adopted devices. `refresh` reads anew when anybody has written since the last look."""

    def __init__(self) -> None:
        self.points: dict[int, Point] = {}
        self.devices: dict[str, Device] = {}
        self.series: dict[int, tuple[Point, Series]] = {}
        self._version: tuple[tuple[int, int], date] | None = None

    def refresh(self, today: date) -> bool:
        """Returns whether the register was read anew. Devices retired by `today` are unknown devices."""
        version = (_data_version(), today)
        if version == self._version:
            return False
        self._read(today)
        self._version = version
        return True

    def add_series(self, point: Point, factor: str, unit: str) -> Series:
        """A series for a factor whose unit was confirmed at adoption, named by the table of factors."""
        known = factors.find(factor)
        row, _ = models.Series.objects.get_or_create(
            point_id=point.id,
            factor=factor,
            defaults={
                "name_zh": known.name if known else factor,
                "name_en": known.name_en if known else "",
                "unit": unit,
                "decimals": _decimals(known.format if known else ""),
            },
        )
        return self._put(point, row)

    def _read(self, today: date) -> None:
        self.points, self.devices, self.series = {}, {}, {}
        for row in models.Point.objects.all():
            self.points[row.pk] = Point(
                row.pk, row.code, row.name_zh, row.kind, row.properties or {}, row.live_from, row.closed_on
            )
        for one in models.Series.objects.order_by("order", "factor"):
            self._put(self.points[one.point_id], one)
        for device in self._adopted(today):
            self.devices[device.mn] = device
            self.points[device.point].devices.append(device)
        for limit in models.PermitLimit.objects.order_by("valid_from"):
            self.points[limit.point_id].limits.append(_limit(limit))
        for window in models.Maintenance.objects.order_by("start"):
            span = (window.start.timestamp(), window.end.timestamp(), window.reason)
            self.points[window.point_id].maintenance.append(span)

    def _put(self, point: Point, row: models.Series) -> Series:
        series = Series(
            row.pk, row.factor, row.name_zh, row.unit, row.decimals,
            row.range_low, row.range_high, row.detection_limit,
        )  # fmt: skip
        point.series[series.factor] = series
        self.series[series.id] = (point, series)
        return series

    @staticmethod
    def _adopted(today: date) -> Iterator[Device]:
        for row in models.Device.objects.all():
            if row.retired_on is None or row.retired_on > today:
                yield Device(
                    row.mn, row.point_id, row.units, row.minute_interval, row.every_seconds, row.take_held,
                    row.fill_gaps, frozenset({crc.HJ212, *row.crc_dialects}),
                )  # fmt: skip


def _limit(row: models.PermitLimit) -> Limit:
    return Limit(
        row.pk, row.factor, row.basis, row.converted, row.low, row.high, row.unit,
        f"{row.standard} {row.clause}", row.standard, row.trust, row.valid_from, row.valid_to,
    )  # fmt: skip


def _decimals(format_: str) -> int:
    """Digits behind the point of an HJ 212 format such as N5.2."""
    _, dot, digits = format_.partition(".")
    return int(digits) if dot and digits.isdigit() else 2


def _data_version() -> tuple[int, int]:
    """What changes whenever anybody has written to the register (SQLite: to anything, counted by others and by us)."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT n FROM registry_writes")
            return int(cursor.fetchone()[0]), 0
        cursor.execute("PRAGMA data_version")
        return int(cursor.fetchone()[0]), int(connection.connection.total_changes)


_SECONDS: dict[int, int] = {Kind.RT: 0, Kind.HOUR: 3600, Kind.DAY: 86400}


def interval_seconds(kind: Kind, point: Point) -> int:
    """Length of the interval a reading of this kind stands for; 0 for a momentary value."""
    seconds = _SECONDS.get(kind)
    return 60 * point.minute_interval if seconds is None else seconds
