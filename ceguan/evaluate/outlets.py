"""Hours of outlets: the rows of a table as one grid of hours for each outlet and item."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ceguan.evaluate.table import Table, moment

HOUR, DAY, EIGHT = 3600, 86400, 8 * 3600
STOPPED = "F"
"""HJ 212 flag of a source that stands still."""


def label_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", choices=("end", "start"), default="end", help="time 是该小时的结束（默认）还是开始")


class Track(NamedTuple):
    """Hours of one outlet and item, every hour from the first Beijing day of the file to the last: NaN where missing.

    `given` whether the file has a row for the hour.
    """

    outlet: str
    item: str
    hour: Any
    given: Any
    columns: dict[str, Any]
    flag: Any
    cause: Any
    state: Any
    lines: Any

    @property
    def day(self) -> Any:
        return ((self.hour + EIGHT) // DAY).astype("datetime64[D]")


def tracks(table: Table, label: str, numeric: tuple[str, ...]) -> Iterator[Track]:
    """The grids of a table in the order of the file; BadInput for a time that is no full hour or an hour twice."""
    begun = np.array([int(t.timestamp()) for t in table.parse("time", moment, "不是时间 (not a time)")], np.int64)
    for row in np.flatnonzero(begun % HOUR).tolist():
        raise table.fault(row, "time", f"{table.text('time')[row]!r} 不是整点 (not a full hour)")
    begun -= HOUR if label == "end" else 0
    values = {name: table.numbers(name) for name in numeric if name in table.columns}
    words = [text(table, name) for name in ("flag", "cause", "state")]
    places: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(text(table, "outlet"), text(table, "item"), strict=True)):
        places.setdefault(key, []).append(row)
    if not len(begun):
        return
    first, last = ((int(t) + EIGHT) // DAY * DAY - EIGHT for t in (begun.min(), begun.max()))
    hour = np.arange(first, last + DAY, HOUR, dtype=np.int64)
    for (outlet, item), there in places.items():
        at = (begun[there] - first) // HOUR
        _once(table, there, at)
        line = np.full(len(hour), -1, np.int64)
        line[at] = there
        columns = {name: _spread(len(hour), at, column[there]) for name, column in values.items()}
        flag, cause, state = (_strings(len(hour), at, [column[r] for r in there]) for column in words)
        yield Track(outlet, item, hour, line >= 0, columns, flag, cause, state, line)


def text(table: Table, column: str) -> list[str]:
    """A column's cells, "" where the table has no such column."""
    return [c.strip() for c in table.text(column)] if column in table.columns else [""] * len(table.lines)


def _once(table: Table, there: list[int], at: Any) -> None:
    _, first = np.unique(at, return_index=True)
    for i in np.setdiff1d(np.arange(len(at)), first).tolist():
        raise table.fault(there[i], "time", "同一排放口同一项目同一小时已有一行 (this hour is there already)")


def _spread(n: int, at: Any, values: Any) -> Any:
    out = np.full(n, np.nan)
    out[at] = values
    return out


def _strings(n: int, at: Any, values: list[str]) -> Any:
    out = np.full(n, "", "U32")
    out[at] = values
    return out
