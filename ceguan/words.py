"""The nouns that every room shares. No logic beyond what a noun needs to be itself; imports nothing of ours.

The glossary with the origin of each word is docs/words.md. Labels are (Chinese, English) pairs: Chinese first.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import NamedTuple

BEIJING = timezone(timedelta(hours=8), "Beijing")
"""All law, labels and pages are in Beijing time; stores hold UTC epoch seconds."""


class Label(NamedTuple):
    zh: str
    en: str


class Kind(IntEnum):
    """What one reading stands for. A reading's time is always the START of its interval (moment of sampling for RT)."""

    RT = 0  # 实时, HJ 212 CN 2011
    MINUTE = 1  # 分钟, CN 2051
    HOUR = 2  # 小时, CN 2061
    DAY = 3  # 日, CN 2031


class Period(IntEnum):
    """What one aggregate stands for; days and months are Beijing's."""

    HOUR = 1
    DAY = 2
    MONTH = 3


class PointKind(StrEnum):
    """点位: a place that is measured."""

    AIR = "air"
    WATER = "water"
    NOISE = "noise"
    RADIATION = "radiation"
    GAS_OUTLET = "gas_outlet"
    WATER_OUTLET = "water_outlet"


POINT_KINDS = {
    PointKind.AIR: Label("空气站", "Air station"),
    PointKind.WATER: Label("水质断面", "Water section"),
    PointKind.NOISE: Label("噪声点位", "Noise station"),
    PointKind.RADIATION: Label("辐射站", "Radiation station"),
    PointKind.GAS_OUTLET: Label("废气排放口", "Flue-gas outlet"),
    PointKind.WATER_OUTLET: Label("废水排放口", "Wastewater outlet"),
}


class Outcome(IntEnum):
    """Outcome of one quality test on one reading (the QARTOD numbers)."""

    PASS = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Status(StrEnum):
    """Status of a point, computed from times, never set by hand."""

    LIVE = "live"
    LATE = "late"
    SILENT = "silent"
    FAULT = "fault"
    MAINTENANCE = "maintenance"
    PLANNED = "planned"


STATUSES = {
    Status.LIVE: Label("在线", "live"),
    Status.LATE: Label("迟到", "late"),
    Status.SILENT: Label("静默", "silent"),
    Status.FAULT: Label("故障", "fault"),
    Status.MAINTENANCE: Label("维护", "maintenance"),
    Status.PLANNED: Label("未投运", "planned"),
}


class Role(StrEnum):
    DUTY = "duty"
    ANALYST = "analyst"
    ENFORCEMENT = "enforcement"
    ENTERPRISE = "enterprise"
    LEADER = "leader"
    ADMIN = "admin"


ROLES = {
    Role.DUTY: Label("值班员", "Duty officer"),
    Role.ANALYST: Label("监测分析员", "Monitoring analyst"),
    Role.ENFORCEMENT: Label("执法人员", "Enforcement officer"),
    Role.ENTERPRISE: Label("企业用户", "Enterprise user"),
    Role.LEADER: Label("局领导", "Leader"),
    Role.ADMIN: Label("系统管理员", "Administrator"),
}

DEVICE_FLAGS = {
    "N": Label("正常", "normal"),
    "F": Label("停运", "stopped"),
    "M": Label("维护", "maintenance"),
    "S": Label("手工输入", "manual value"),
    "D": Label("故障", "fault"),
    "C": Label("校准", "calibration"),
    "T": Label("超量程", "above range"),
    "B": Label("通讯异常", "instrument link down"),
}
"""HJ 212-2017 table 8: the device's own flag on a value."""

READING_COLUMNS = (
    "series",  # int64   registry Series id
    "kind",  # int8    Kind
    "ts",  # int64   UTC epoch seconds, START of the interval
    "ver",  # int16   0 = as first received; a re-sent value that differs is a new version, never an overwrite
    "value",  # float64 Rtd or Avg, in the series' unit
    "zs",  # float64 converted to reference oxygen (ZsRtd/ZsAvg); NaN when the device sent none
    "vmin",  # float64
    "vmax",  # float64
    "cou",  # float64 total in the interval
    "flag",  # string  the device's own flag ("" when it sent none)
    "recv",  # int64   UTC epoch seconds when the platform received it
    "frame",  # int64   FrameRef.packed: where the raw bytes lie
)
"""Columns of a table of readings, in order, everywhere (ledger, Parquet, Arrow)."""


class FrameRef(NamedTuple):
    """Where a received frame lies in the archive: stream number, segment number, byte offset of its record."""

    stream: int
    segment: int
    offset: int

    @property
    def packed(self) -> int:
        """One int64: 12 bits stream, 20 bits segment, 31 bits offset."""
        return (self.stream << 51) | (self.segment << 31) | self.offset

    @classmethod
    def unpack(cls, packed: int) -> FrameRef:
        return cls(packed >> 51, (packed >> 31) & 0xFFFFF, packed & 0x7FFFFFFF)

    def __str__(self) -> str:
        return f"{self.stream}-{self.segment}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> FrameRef:
        stream, segment, offset = (int(part) for part in text.split("-"))
        return cls(stream, segment, offset)


def beijing(ts: float) -> datetime:
    """Beijing wall time of UTC epoch seconds."""
    return datetime.fromtimestamp(ts, BEIJING)
