"""Verbs of ambient air."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from ceguan.evaluate.table import NOT_MONITORED, moment, read_table, write_table
from ceguan.evaluate.verbs import add_verb
from ceguan.science import air


def add_verbs(verbs: Any) -> None:
    hourly = add_verb(
        verbs,
        "air-hourly",
        air_hourly,
        "环境空气质量指数（小时），HJ 633-2012 / HJ 633-2026，按测量时刻选用",
        "列：time, station, so2_1h, no2_1h, co_1h, o3_1h, pm10_1h, pm25_1h（其余列不理会）。"
        "time 为北京时间，取该小时的结束时刻；µg/m³，CO 为 mg/m³；空、NA、— 或负值为缺测，/ 为按计划不监测。",
    )
    hourly.add_argument("--platform-quirks", action="store_true", help="照国家平台的做法（缺 PM10 也发布）")


def air_hourly(args: argparse.Namespace) -> int:
    items = [item.column for item in air.HOURLY]
    table = read_table(args.input, ["time", "station", *items])
    labels = table.parse("time", moment, "不是时间 (not a time)")
    columns = {item: table.numbers(item) for item in items}
    apart = {item: np.array([c.strip() == NOT_MONITORED for c in table.text(item)], np.bool_) for item in items}
    begun = np.array([int(label.timestamp()) - 3600 for label in labels], np.int64)  # the label is the end of the hour
    result = air.hourly_aqi(columns, air.edition_at(begun), apart, args.platform_quirks)
    header = ("time", "station", "aqi", "level", "primary", "edition", "reason")
    given = zip(table.text("time"), table.text("station"), strict=True)
    write_table(args.output, header, ((*g, *_air_row(result, i)) for i, g in enumerate(given)))
    return 0


def _air_row(result: air.AqiColumns, row: int) -> tuple[str, ...]:
    edition = air.editions()[result.edition[row]] if result.edition[row] >= 0 else ""
    why = result.explain(row).zh
    if result.aqi[row] == air.NA:
        return "NA", "NA", "NA", edition, why
    level = air.class_of(edition, int(result.level[row])).zh
    return str(result.aqi[row]), level, ",".join(air.names(int(result.primary[row]))), edition, why
