"""Readings of a point as rows to take away: CSV (UTF-8 with BOM) and xlsx; the same layers as the table on the page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext
from openpyxl import Workbook

from ceguan.registry.models import Point, Series
from ceguan.web import series
from ceguan.web.label import name
from ceguan.web.templatetags.pieces import review_state
from ceguan.words import beijing


def head() -> list[str]:
    return [
        gettext("点位编码"), gettext("点位"), gettext("时间（北京，区间开始）"), gettext("因子编码"), gettext("因子"),
        gettext("单位"), gettext("原始值"), gettext("版本"), gettext("现行值"), gettext("折算（现行）"),
        gettext("设备标记"), gettext("质控"), gettext("审核状态"), gettext("审核决定"), gettext("收到时间"),
        gettext("原始报文"),
    ]  # fmt: skip


def rows(point: Point, chosen: list[Series], window: series.Window) -> Iterator[list[Any]]:
    """Oldest first, factor by factor."""
    for one in chosen:
        for row in reversed(series.rows(series.track(point, one, window))):
            yield [
                point.code, name(point), f"{beijing(row['ts']):%Y-%m-%d %H:%M:%S}", one.factor, name(one), one.unit,
                _number(row["value"]), row["ver"], _number(row["value_in_force"]), _number(row["zs_in_force"]),
                row["flag"], row["tests"], review_state(row["state"]), row["action_word"],
                f"{beijing(row['recv']):%Y-%m-%d %H:%M:%S}", row["ref"],
            ]  # fmt: skip


def _number(value: float) -> float | str:
    return "" if math.isnan(value) else value


def as_csv(content: Iterator[list[Any]]) -> Iterator[bytes]:
    """Line by line; a text that a spreadsheet would take for a formula gets an apostrophe."""
    yield "\ufeff".encode()
    for row in (head(), *content):
        line = io.StringIO()
        csv.writer(line).writerow([_harmless(cell) for cell in row])
        yield line.getvalue().encode()


def as_xlsx(content: Iterator[list[Any]]) -> bytes:
    book = Workbook(write_only=True)
    sheet = book.create_sheet(gettext("读数"))
    sheet.freeze_panes = "A2"
    for row in (head(), *content):
        sheet.append([_harmless(cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell
