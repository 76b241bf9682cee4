"""Days of a month, months of a year: every factor of a point with mean, extremes and completeness."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext

from ceguan import clock
from ceguan.registry import rights
from ceguan.registry.models import Point, Series
from ceguan.web import aggregates, series
from ceguan.web.pages.point import visible
from ceguan.words import BEIJING, Kind, Period, beijing


class Shown(NamedTuple):
    """A month by days or a year by months, [start, end) in UTC epoch seconds, and what stands before and behind."""

    kind: Kind
    period: Period
    span: str  # "2026-03" or "2026"
    start: int
    end: int
    before: str
    behind: str

    @classmethod
    def read(cls, given: Mapping[str, str], now: float) -> Shown:
        """From `data`, and `span`: what cannot be read becomes hours of the month of `now`."""
        kind = {one.name.lower(): one for one in Kind}.get(given.get("data", ""), Kind.HOUR)
        for form, period in (("%Y-%m", Period.DAY), ("%Y", Period.MONTH)):
            try:
                begin = datetime.strptime(given.get("span", ""), form).replace(tzinfo=BEIJING)
            except ValueError:
                continue
            if 1970 < begin.year < 9999:
                return cls._of(kind, period, begin)
        return cls._of(kind, Period.DAY, beijing(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0))

    @classmethod
    def _of(cls, kind: Kind, period: Period, begin: datetime) -> Shown:
        form, months = ("%Y-%m", 1) if period == Period.DAY else ("%Y", 12)
        before, behind = _shifted(begin, -months), _shifted(begin, months)
        words = (f"{moment:{form}}" for moment in (before, behind))
        return cls(kind, period, f"{begin:{form}}", int(begin.timestamp()), int(behind.timestamp()), *words)


def _shifted(begin: datetime, months: int) -> datetime:
    number = begin.year * 12 + begin.month - 1 + months
    return begin.replace(year=number // 12, month=number % 12 + 1)


def page(request: HttpRequest, code: str) -> HttpResponse:
    point, now = visible(request.user, code), clock.now()
    shown = Shown.read(request.GET, now)
    chosen = list(point.series.all())
    found = {one.pk: _of_series(point, one, shown, now) for one in chosen}
    chosen = [one for one in chosen if found[one.pk]]
    times = sorted({ts for cells in found.values() for ts in cells})
    whole = [_whole(point, one, shown, now) for one in chosen] if shown.period == Period.DAY else []
    return render(request, "point/days.html", {
        "point": point, "shown": shown, "kinds": series.KINDS, "chosen": chosen, "year": shown.span[:4],
        "month": f"{beijing(min(now, shown.end - 1)):%Y-%m}", "by_day": shown.period == Period.DAY,
        "rows": [_row(point, shown, ts, [found[one.pk].get(ts) for one in chosen], chosen) for ts in times],
        "whole": list(zip(chosen, whole, strict=True)) if whole else [],
        "can_export": rights.can(request.user, "export", point),
        "export": _export(point, shown),
    })  # fmt: skip


def _export(point: Point, shown: Shown) -> str:
    """The query of an export of what is shown."""
    first, last = (f"{beijing(moment):%Y-%m-%d}" for moment in (shown.start, shown.end - 1))
    words = {"data": shown.kind.name.lower(), "period": shown.period.name.lower(), "from": first, "to": last}
    return urlencode({"points": point.code, "what": "aggregates", **words})


def _of_series(point: Point, one: Series, shown: Shown, now: float) -> dict[int, dict[str, Any]]:
    found = aggregates.rows(point, one, shown.kind, shown.period, shown.start, shown.end, now)
    return {row["ts"]: row | {"said": _said(row)} for row in found}


def _whole(point: Point, one: Series, shown: Shown, now: float) -> dict[str, Any]:
    """The month as one."""
    (row,) = aggregates.rows(point, one, shown.kind, Period.MONTH, shown.start, shown.start + 1, now)
    return row | {"said": _said(row)}


def _row(
    point: Point, shown: Shown, ts: int, cells: list[dict[str, Any] | None], chosen: list[Series]
) -> dict[str, Any]:
    day, by_day = beijing(ts), shown.period == Period.DAY
    data = shown.kind.name.lower()
    href = f"?kind={data}&span=24h&end={day:%Y-%m-%d}" if by_day else f"days?data={data}&span={day:%Y-%m}"
    return {"word": f"{day:%m-%d}" if by_day else f"{day:%Y-%m}", "href": href,
            "cells": list(zip(chosen, cells, strict=True))}  # fmt: skip


def _said(row: dict[str, Any]) -> str:
    """What a cell tells beside its mean."""
    due = "?" if row["expected"] is None else row["expected"]
    counts = gettext("有效 %(valid)s，收到 %(present)s，应到 %(due)s") % {**row, "due": due}
    return f"{counts} · {aggregates.reviewed_words(row)}"


urls = [path("points/<str:code>/days", page, name="days")]
