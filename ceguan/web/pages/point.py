"""One point on one screen: latest values, series with its layers, gaps, verdicts, findings, cases, devices."""

from __future__ import annotations

import math
from typing import Any

import orjson
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import path, reverse

from ceguan import clock
from ceguan.registry import rights
from ceguan.registry.label import label, name
from ceguan.registry.models import Point, Series, User
from ceguan.watch.models import Finding
from ceguan.web import limits, objects, series
from ceguan.web.map import layers
from ceguan.web.store import store
from ceguan.words import Kind, beijing

TABLE_ROWS = 200
VERDICTS = 30


def page(request: HttpRequest, code: str) -> HttpResponse:
    point = visible(request.user, code)
    now, chosen = clock.now(), list(point.series.all())
    window = series.Window.read(request.GET, now)
    shown = _chosen(chosen, request.GET.get("factor", ""))
    context: dict[str, Any] = {
        "point": point, "now": now, "window": window, "shown": shown, "all_series": chosen, "kinds": series.KINDS,
        "spans": series.SPANS, "view": "table" if request.GET.get("view") == "table" else "chart",
        "can_decide": rights.can(request.user, "decide", point),
        "can_maintain": rights.can(request.user, "maintain", point),
        "can_export": rights.can(request.user, "export", point),
        "chart_url": f"{reverse('point-series', args=[point.code])}?{request.GET.urlencode()}",
    }  # fmt: skip
    context |= _state(request.user, point, chosen, now) | _series(point, shown, window, request, now)
    return render(request, "point/point.html", context | {"verdicts": _verdicts(point, window)})


def visible(user: User, code: str) -> Point:
    """The point, or 404: whether a point outside one's rights exists is not told."""
    points = rights.visible_points(user).select_related("region", "enterprise", "status")
    return get_object_or_404(points, code=code)


def _chosen(chosen: list[Series], factor: str) -> Series | None:
    return next((one for one in chosen if one.factor == factor), chosen[0] if chosen else None)


def _series(
    point: Point, shown: Series | None, window: series.Window, request: HttpRequest, now: float
) -> dict[str, Any]:
    if shown is None:
        return {"track": None}
    one = series.track(point, shown, window, now)
    left = store().left(shown.pk, window.kind, window.start, window.end)
    rows = (
        Paginator(series.rows(one), TABLE_ROWS).get_page(request.GET.get("page"))
        if "table" in request.GET.get("view", "")
        else None
    )
    return {"track": one, "rows": rows, "completeness": series.completeness(one, now), "left": left}


def _state(user: User, point: Point, chosen: list[Series], now: float) -> dict[str, Any]:
    standing = objects.standings([(point.id, point.kind)], now).get(point.id)
    return {
        "status": getattr(point, "status", None),
        "standing": standing,
        "latest": latest(point, chosen, now),
        "findings": rights.visible_findings(user).filter(point=point, state__in=Finding.OPEN_STATES),
        "cases": rights.visible_cases(user).filter(point=point).order_by("closed_at", "-opened_at")[:10],
        "maintenance": point.maintenance.filter(end__gte=beijing(now - 7 * 86400))[:10],
        "devices": point.devices.all(),
    }


def latest(point: Point, chosen: list[Series], now: float) -> list[dict[str, Any]]:
    """The newest reading of each factor – the hourly one where there is one – with state and where it comes from."""
    found = store().latest([one.id for one in chosen]).to_pylist() if chosen else []
    newest: dict[int, dict[str, Any]] = {}
    for row in found:
        held = newest.get(row["series"])
        if held is None or (row["kind"] == Kind.HOUR) or (held["kind"] != Kind.HOUR and row["ts"] > held["ts"]):
            newest[row["series"]] = row
    return [_latest(point, one, newest.get(one.id), now) for one in chosen]


def _latest(point: Point, one: Series, row: dict[str, Any] | None, now: float) -> dict[str, Any]:
    if row is None:
        return {"series": one, "value": None, "at": None, "state": "realtime", "href": "", "over": False}
    kind, value = Kind(row["kind"]), row["value_in_force"]
    lines = limits.lines(point, one, kind, beijing(row["ts"]).date())
    return {
        "series": one,
        "value": None if math.isnan(value) else value,
        "zs": None if math.isnan(row["zs_in_force"]) else row["zs_in_force"],
        "at": row["ts"],
        "kind_word": label(series.KINDS[kind]),
        "flag": "" if row["flag"] in ("", "N") else series.device_flag(row["flag"]),
        "state": "reviewed" if row["decision"] else "realtime",
        "href": series.reading_url(one.id, kind, row["ts"]),
        "over": series.over(lines, value, row["zs_in_force"]),
        "old": now - row["ts"] > 86400,
    }


def _verdicts(point: Point, window: series.Window) -> list[dict[str, Any]]:
    """Verdicts of the period, newest first; those with an earlier version say so."""
    found = store().verdicts(point.id, None, window.start - 86400, window.end).to_pylist()
    newest = sorted(found, key=lambda row: (row["ts"], row["rule"]), reverse=True)[:VERDICTS]
    return [verdict_words(point, row) for row in newest]


def verdict_words(point: Point, row: dict[str, Any]) -> dict[str, Any]:
    """A verdict row of the ledger with its grade, rule and sentence in words."""
    detail = orjson.loads(row["detail"]) if isinstance(row["detail"], str) else row["detail"]
    given = layers.grade(point.kind, row["outcome"], row["level"], row["value"] or 0, beijing(row["ts"]).date())
    return {
        **row,
        "detail": detail,
        "grade": given,
        "rule_word": rule_word(row["rule"], detail),
        "sentence": objects.sentence(detail),
    }


def rule_word(rule: str, detail: dict[str, Any]) -> str:
    """What a rule judges, in words: "limit-hour:a21026" → "二氧化硫 小时均值 · 许可限值"."""
    from django.utils.translation import gettext as _

    words = {
        "aqi-hour": _("AQI（小时）"), "aqi-day": _("AQI（日）"), "water-class": _("水质类别"),
        "noise-day": _("昼间噪声"), "noise-night": _("夜间噪声"), "radiation-hour": _("剂量率与本底"),
    }  # fmt: skip
    head, _colon, factor = rule.partition(":")
    if not factor:
        return words.get(rule, rule)
    basis = {"limit-hour": _("小时均值"), "limit-day": _("日均值")}.get(head, head)
    return f"{detail.get('name') or factor} {basis}"


def data(request: HttpRequest, code: str) -> JsonResponse:
    """What the chart island asks for; the same address as the page."""
    point = visible(request.user, code)
    shown = _chosen(list(point.series.all()), request.GET.get("factor", ""))
    if shown is None:
        return JsonResponse({"t": []})
    now = clock.now()
    return JsonResponse(series.chart(series.track(point, shown, series.Window.read(request.GET, now), now)))


def card_context(user: User, point: Point, now: float) -> dict[str, Any]:
    """The object card in the drawer of the map."""
    chosen = list(point.series.all())
    state = _state(user, point, chosen, now)
    return state | {"point": point, "spark": _spark(chosen, now), "inbox_url": _inbox(user)}


def _inbox(user: User) -> str:
    return "" if user.enterprise_id else reverse("inbox")


def _spark(chosen: list[Series], now: float) -> dict[str, str] | None:
    """The first factor of the last 24 hours as the path of a line; gaps stay gaps."""
    if not chosen:
        return None
    table = store().readings([chosen[0].id], Kind.HOUR, now - 86400, now)
    values = [value for value in table["value_in_force"].to_pylist() if value == value]
    if len(values) < 2:
        return None
    low, high = min(values), max(values)
    path_, pen = "", "M"
    for ts, value in zip(table["ts"].to_pylist(), table["value_in_force"].to_pylist(), strict=True):
        if value != value:
            pen = "M"
            continue
        y = 44 - 40 * (value - low) / ((high - low) or 1)
        path_ += f"{pen}{(ts - now + 86400) / 360:.1f} {y:.1f}"
        pen = "L"
    return {"name": name(chosen[0]), "path": path_}


urls = [
    path("points/<str:code>/", page, name="point"),
    path("points/<str:code>/series.json", data, name="point-series"),
]
