"""What a county, a province, the nation need: the arithmetic behind docs/scale.md. `--measure` takes the sizes anew.

Every number is measured (with the command that measures it), assumed (and said so), or follows by the formula in its
row. `tools/print_docs.py` prints the page.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

DAY = 86400


@dataclass(frozen=True, slots=True)
class Measured:
    value: float
    unit: str
    what: str
    command: str


MEASURED = {
    "frame": Measured(468, "字节/帧", "一帧（10 个因子）在归档里所占，含记录头与来源", "tools/scale.py --measure"),
    "sqlite": Measured(59.4, "字节/行", "台账（SQLite）一行读数，含索引", "tools/scale.py --measure"),
    "postgres": Measured(203.8, "字节/行", "台账（PostgreSQL）一行读数，含索引", "tools/scale.py --measure"),
    "parquet": Measured(3.4, "字节/行", "封存（Parquet，zstd）一行读数，虚构城市的小时值", "bench/sealed.py"),
    "gateway": Measured(71_200, "帧/秒", "一个网关进程，落盘后应答，2,000 活跃 + 10,000 空闲连接", "bench/gateway.py"),
    "memory": Measured(270, "MB", "一个网关进程的内存，10,000 空闲连接", "bench/gateway.py"),
    "clockwork": Measured(36_600, "值/秒", "时钟：解码、入账、质控、判定、告警", "bench/clockwork.py"),
    "evaluate": Measured(80e6 / 0.84, "行/秒", "由小时值评价一年，一核（80 M 行 0.84 秒）", "bench/air.py"),
}
"""Speeds: from docs/bench.md, on a shared machine of two cores; sizes: 20 series, 30 days of ten-minute values with two
decimals that wander."""

PER_DAY = {"实时": 1440, "十分钟": 144, "小时": 24, "日": 1}
"""Frames a device sends in a day. Assumed: real-time values each minute, all of the other kinds."""
FACTORS = 10
"""Per frame. Assumed."""
PEAK = 10
"""The busiest minutes against the mean, e.g. when all send again after an outage. Assumed."""
HOT_DAYS = 40
"""Setting hot_days."""
EVALUATED = 24 * FACTORS * 365
"""Hourly rows of a device and year."""


@dataclass(frozen=True, slots=True)
class Level:
    name: str
    outlets: int
    stations: int
    ledger: str  # the row of MEASURED

    @property
    def devices(self) -> int:
        return self.outlets + self.stations


LEVELS = (
    Level("一个县", 300, 20, "sqlite"),
    Level("一个省", 3_000, 1_000, "postgres"),
    Level("全国", 30_000, 10_000, "postgres"),
)
"""Sizes assumed: outlets with online monitors and automatic stations; each a device with a connection of its own."""

FRAMES = sum(PER_DAY.values())


def frames_per_second(level: Level) -> float:
    return level.devices * FRAMES / DAY


def values_per_second(level: Level) -> float:
    return frames_per_second(level) * FACTORS


def rows_per_day(level: Level) -> float:
    return level.devices * FRAMES * FACTORS


def archive_per_day(level: Level) -> float:
    return level.devices * FRAMES * MEASURED["frame"].value


def ledger_bytes(level: Level) -> float:
    return rows_per_day(level) * HOT_DAYS * MEASURED[level.ledger].value


def gateways(level: Level) -> int:
    """Processes: half of the measured speed at the peak, 10,000 connections each."""
    return math.ceil(max(2 * PEAK * frames_per_second(level) / MEASURED["gateway"].value, level.devices / 10_000))


def clockwork_share(level: Level) -> float:
    return values_per_second(level) / MEASURED["clockwork"].value


def hour_worked_off(level: Level) -> float:
    """Minutes to take in an hour's outage beside what goes on coming."""
    rate, mean = MEASURED["clockwork"].value, values_per_second(level)
    return mean * 3600 / (rate - mean) / 60


def year_evaluated(level: Level) -> float:
    return level.devices * EVALUATED / MEASURED["evaluate"].value


def sized(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


Row = tuple[str, Callable[[Level], str], str]
ROWS: tuple[Row, ...] = (
    ("排口 + 自动站（台设备）", lambda n: f"{n.outlets:,} + {n.stations:,}", "假设"),
    ("连接", lambda n: f"{n.devices:,}", "推算：每台一条"),
    ("帧/秒，平均", lambda n: f"{frames_per_second(n):,.0f}", f"推算：设备 × {FRAMES:,} 帧/日 ÷ 86,400"),
    ("值/秒，平均（高峰）", lambda n: f"{values_per_second(n):,.0f}（{values_per_second(n) * PEAK:,.0f}）",
     f"推算：帧/秒 × {FACTORS} 因子；高峰 × {PEAK}（假设）"),
    ("归档，每日", lambda n: sized(archive_per_day(n)), "推算：帧/日 × 实测字节/帧"),
    ("归档，每年", lambda n: sized(archive_per_day(n) * 365), "推算：× 365，一份"),
    ("台账（近 40 日）", lambda n: f"{sized(ledger_bytes(n))}（{n.ledger}）", "推算：行/日 × 40 × 实测字节/行"),
    ("历史，每日", lambda n: sized(rows_per_day(n) * MEASURED["parquet"].value), "推算：行/日 × 实测字节/行"),
    ("历史，每年", lambda n: sized(rows_per_day(n) * MEASURED["parquet"].value * 365), "推算：× 365，一份"),
    ("网关进程", lambda n: f"{gateways(n)}", "推算：高峰帧/秒 ÷ 实测的一半，且每进程至多 10,000 条连接"),
    ("网关内存", lambda n: sized(gateways(n) * MEASURED["memory"].value * 1e6), "推算：进程 × 实测 MB"),
    ("时钟占一个进程", lambda n: f"{clockwork_share(n):.1%}", "推算：值/秒 ÷ 实测值/秒"),
    ("停一小时后追平", lambda n: f"{hour_worked_off(n):,.1f} 分钟", "推算：积压 ÷（实测 − 平均）"),
    ("一年小时值评价一遍，一核", lambda n: f"{year_evaluated(n):,.2f} 秒", "推算：行 ÷ 实测行/秒"),
    ("机器", lambda n: MACHINES[n.name], "估计：以上各行留一倍余量，没有试过"),
)  # fmt: skip
MACHINES = {
    "一个县": "1 台：2 核、8 GB",
    "一个省": "3 台：网关 1、时钟与网页 1、PostgreSQL 1；各 4 核、16 GB",
    "全国": "8 台：网关 2、NATS 3、时钟与网页 1、PostgreSQL 1（备 1）；历史另放对象存储",
}


def page() -> str:
    measured = "".join(
        f"| {one.what} | {one.value:,.{1 if one.value < 300 else 0}f} {one.unit} | `{one.command}` |\n"
        for one in MEASURED.values()
    )
    heads = " | ".join(level.name for level in LEVELS)
    rows = "".join(f"| {name} | {' | '.join(said(level) for level in LEVELS)} | {how} |\n" for name, said, how in ROWS)
    sent = "、".join(f"{kind} {count:,}" for kind, count in PER_DAY.items())
    return (
        "# 规模 Scale\n\n"
        "一个县、一个省、全国各需要什么。本页由 `tools/scale.py` 的表和公式印出（`make docs`）；"
        "每个数或是实测（列出命令），或是假设，或按所列公式推算。推算没有在那样的规模上跑过。\n\n"
        f"假设：每台设备每日 {sent} 帧，每帧 {FACTORS} 个因子；高峰为平均的 {PEAK} 倍。"
        "一个县和全国的设备数取自方案阶段的估计，一个省取全国的十分之一。\n\n"
        "## 实测\n\n速度见 [测得的数](bench.md)：两核共用虚拟机，负载不定，看比例不看绝对值。\n\n"
        "| 量 | 值 | 命令 |\n|---|---|---|\n" + measured + "\n"
        "## 推算\n\n"
        f"| 量 | {heads} | 怎样得来 |\n|---|{'---|' * len(LEVELS)}---|\n" + rows + "\n"
        "县用内嵌的 SQLite；省和全国用 PostgreSQL，网关与台账分机时经 NATS（三节点、三份，归档字节另占三倍）。"
        "时钟是一个进程：平均值/秒占它的比例见表，高峰时积压增长，在“运行状态”页可见，高峰过后追平。"
        "备份、附件、日志不在表内。\n"
    )


def measure() -> dict[str, float]:
    """Frame and ledger rows of MEASURED, on SQLite and on a real PostgreSQL; half a minute."""
    import psycopg

    from bench.gateway import frame
    from ceguan.store import Store
    from ceguan.store.archive import RECORD_HEADER
    from tests.postgres import new_database

    found = {"frame": float(len(frame("MN00000001")) + RECORD_HEADER.size + len("10.100.100.100:51234"))}
    url = new_database()
    for name, database in (("sqlite", ""), ("postgres", url)):
        with tempfile.TemporaryDirectory() as folder, Store(folder, write=True, database=database) as store:
            rows = wandering()
            empty = Path(folder, "readings.db").stat().st_size if not database else 0
            for at in range(0, len(rows), 10_000):
                with store.ledger.batch() as batch:
                    batch.add_readings(rows[at : at + 10_000])
            if database:
                sql = """SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
                         WHERE inhparent = 'ledger.reading'::regclass"""
                with psycopg.connect(url) as link:
                    found[name] = float(link.execute(sql).fetchone()[0]) / len(rows)
            else:
                store.ledger.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                found[name] = (Path(folder, "readings.db").stat().st_size - empty) / len(rows)
    return found


def wandering() -> list[tuple[object, ...]]:
    """Ten-minute readings as devices send them, series by series in the order of time."""
    import numpy as np

    march, nan, chance = 1_772_294_400, float("nan"), np.random.default_rng(7)
    rows: list[tuple[object, ...]] = []
    for series in range(20):
        steps = np.round(np.abs(50 + np.cumsum(chance.normal(0, 0.8, 4320))), 2)
        rows += [
            (series, 1, march + n * 600, 0, value, nan, value - 0.5, value + 0.5, nan, "N", march + n * 600 + 630, n)
            for n, value in enumerate(steps.tolist())
        ]
    return sorted(rows, key=lambda row: (row[2], row[0]))


if __name__ == "__main__":
    if "--measure" in sys.argv:
        for name, value in measure().items():
            print(f"{name:10} {value:8.1f} {MEASURED[name].unit}")
    else:
        print(page())
