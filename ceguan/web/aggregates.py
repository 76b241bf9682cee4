"""Hours, days and months of a series as pages and exports show them: with completeness and state of review."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext

from ceguan.quality import checks
from ceguan.registry.models import Point, Series
from ceguan.web.store import store
from ceguan.web.templatetags.pieces import review_state
from ceguan.words import Kind, Label, Period

PERIODS = {
    Period.HOUR: Label("小时", "hour"),
    Period.DAY: Label("日", "day"),
    Period.MONTH: Label("月", "month"),
}
HOUR, WEEK = 3600, 7 * 86400


def period(word: str, kind: Kind) -> Period:
    """By its word, "" = day. Raises ValueError for a word that is none, and for hours of daily data."""
    found = {one.name.lower(): one for one in Period}.get(word or "day")
    if found is None:
        words = "、".join(one.name.lower() for one in Period)
        raise ValueError(gettext("period 应为 %(words)s 之一") % {"words": words})
    if (kind, found) == (Kind.DAY, Period.HOUR):
        raise ValueError(gettext("日数据没有小时统计，period 应为 day 或 month"))
    return found


def every(point: Point, one: Series, kind: Kind, end: float) -> int:
    """Seconds between readings that are due; 0 where nobody knows (moments; minutes of a point without device).

    Hours are due as often as the series itself shows in the week before `end`: water sections report every four.
    """
    if kind == Kind.MINUTE:
        return 60 * min((device.minute_interval for device in point.devices.all()), default=0)
    if kind != Kind.HOUR:
        return 86400 if kind == Kind.DAY else 0
    return checks.interval(store().times([one.id], kind, int(end) - WEEK, int(end))[:, 1], HOUR)


def rows(
    point: Point,
    one: Series,
    kind: Kind,
    chosen: Period,
    start: float,
    end: float,
    now: float,
    as_of: float | None = None,
) -> list[dict[str, Any]]:
    """As `Store.aggregates`, with `every` (seconds, 0 = not known), `completeness` (share of what was due by `now`,
    None where that is not known) and `reviewed`: "realtime", "reviewed", or "mixed" where people have decided some of
    the readings."""
    interval = every(point, one, kind, min(end, now))
    table = store().aggregates([one.id], kind, chosen, start, end, every=interval, now=now, as_of=as_of)
    return [
        {**row, "every": interval, "completeness": _share(row), "reviewed": _reviewed(row)} for row in table.to_pylist()
    ]


def _share(row: dict[str, Any]) -> float | None:
    return min(1.0, row["present"] / row["expected"]) if row["expected"] else None


def _reviewed(row: dict[str, Any]) -> str:
    if not row["decided"]:
        return "realtime"
    return "reviewed" if row["decided"] == row["present"] else "mixed"


def reviewed_words(row: dict[str, Any]) -> str:
    """The state of review of an aggregate in words."""
    if row["reviewed"] == "mixed":
        return gettext("部分已审核（%(decided)s / %(present)s）") % row
    return review_state(row["reviewed"])
