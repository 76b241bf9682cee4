"""The national air-quality platform: public archives of its hours (a file a day) and its feed (a file an hour).

What a column is called, its unit and which end of the hour the time names is wide.csv. Archives are read by column:
only the stations that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.csv

from ceguan.intake.sheets import Line, Unreadable, Wide, csv_rows, decoded, wide

Wanted = Callable[[str], bool]
"""Whether the values of a station are asked for; of the others one line each says that there are some."""
ARCHIVE = ("date", "hour", "type")
FEED_NOTHING = {"-;"}  # how the feed writes a missing value, beside the usual ways


def archive(path: Path, wanted: Wanted) -> list[Line]:
    """A day of the public archives (china_sites_YYYYMMDD.csv, china_cities_…): date, hour, type and a column for each
    station or city; `type` is a heading of wide.csv, averages over longer times and AQI are left.

    Only the columns of wanted stations are read. Raises Unreadable.
    """
    heading = _heading(path)
    if absent := [name for name in ARCHIVE if name not in heading]:
        raise Unreadable(f"{path} 第 1 行：缺少列 {'、'.join(absent)}（应为 date,hour,type,站点…）")
    stations = [name for name in heading if name not in ARCHIVE]
    read = [name for name in stations if wanted(name)]
    columns, lines = _columns(path, heading, [*ARCHIVE, *read])
    refused = {line.number for line in lines}
    numbers = [n for n in range(2, 2 + len(columns["type"]) + len(refused)) if n not in refused]
    lines += [_absent(path, name) for name in stations if not wanted(name)]
    for one in wide("cnemc-archive"):
        rows = [i for i, kind in enumerate(columns["type"]) if kind == one.heading]
        times = [(i, f"{_dashed(columns['date'][i])} {columns['hour'][i]}:00") for i in rows]
        for name in read:
            lines += [_platform(path, numbers[i], name, time, columns[name][i], one) for i, time in times]
    return lines


def _columns(path: Path, heading: list[str], read: list[str]) -> tuple[dict[str, list[str]], list[Line]]:
    """The cells of some columns as text, and a line for each row with too few or too many cells."""
    bad: list[Line] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        cause = f"应有 {row.expected_columns} 格，有 {row.actual_columns} 格"
        bad.append(Line(row.number or 0, "", "", "", row.text[:40], "", file=path.name, fault=cause))
        return "skip"

    text = dict.fromkeys(heading, pa.string())
    try:
        content = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False),  # else rows have no number
            pyarrow.csv.ParseOptions(invalid_row_handler=refuse),
            pyarrow.csv.ConvertOptions(include_columns=read, column_types=text, strings_can_be_null=False),
        )
    except pa.ArrowException as error:
        raise Unreadable(f"{path}：不是可读的 CSV（{error}）") from None
    return {name: content[name].to_pylist() for name in read}, bad


def feed(path: Path, wanted: Wanted) -> list[Line]:
    """One hour of the platform's feed: JSON (features with properties, or a list of rows) or CSV of the same names.

    In the feed `o3_24h` is the hour and `o3` the maximum of the day: wide.csv says which name holds what. Raises
    Unreadable.
    """
    lines: list[Line] = []
    others: dict[str, Line] = {}
    for number, row in _feed_rows(path):
        station = row.get("stationcode", "").strip()
        if not station:
            lines.append(Line(number, "", "", "", "", "", file=path.name, fault="没有 stationcode"))
        elif not wanted(station):
            others.setdefault(station, _absent(path, station))
        else:
            time = _FEED_TIME.sub(r"\1 \2:\3", row.get("timepoint", ""))
            known = [one for one in wide("cnemc-feed") if one.heading in row]
            lines += [_platform(path, number, station, time, row[one.heading], one) for one in known]
    return [*others.values(), *lines]


_DAY = re.compile(r"^(\d{4})(\d\d)(\d\d)$")
_FEED_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d):?(\d\d)(?::\d\d)?$")


def _dashed(day: str) -> str:
    return _DAY.sub(r"\1-\2-\3", day)


def _platform(path: Path, number: int, station: str, time: str, cell: str, one: Wide) -> Line:
    value = "" if cell.strip() in FEED_NOTHING else cell.strip()
    return Line(number, station, time, one.factor, value, one.unit, label=one.label, file=path.name)


def _absent(path: Path, station: str) -> Line:
    return Line(1, station, "", "", "", "", file=path.name)


def _heading(path: Path) -> list[str]:
    with path.open("rb") as file:
        first = file.readline()
    return [name.strip().strip('"') for name in decoded(path, first).strip().split(",")]


def _feed_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Number and cells of each station, names in small letters: the place in the JSON list from 1, or the line of the
    CSV."""
    content = path.read_bytes()
    if content.lstrip()[:1] not in (b"{", b"["):
        rows = csv_rows(path, content)
        _, heading = next(rows, (0, []))
        names = [name.strip().lower() for name in heading]
        yield from ((number, dict(zip(names, row, strict=False))) for number, row in rows if row)
        return
    try:
        given = orjson.loads(content)
        found = given["features"] if isinstance(given, dict) else given
        for number, one in enumerate(found, 1):
            row = one.get("properties", one)
            yield number, {name.lower(): "" if cell is None else str(cell) for name, cell in row.items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{path}：不是平台实况的 JSON（{error}）") from None
