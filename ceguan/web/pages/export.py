"""Taking data away: a right of its own for every point, and every time is on record."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext

from ceguan import clock
from ceguan.registry import audit, rights
from ceguan.registry.models import Point, User
from ceguan.web import aggregates, export, objects, series
from ceguan.web.pages.point import visible
from ceguan.words import Kind, Label, beijing

WORDS = {
    "readings": Label("读数", "readings"),
    "aggregates": Label("小时、日、月统计", "hours, days, months"),
    "verdicts": Label("裁定", "verdicts"),
    "gaps": Label("缺失与原因", "gaps and causes"),
    "frames": Label("原始报文", "raw frames"),
}
SPOOL = 1 << 20
"""Bytes of a file in the making that stay in memory; more goes to the disk."""


def page(request: HttpRequest, code: str, form: str) -> HttpResponseBase:
    """The readings of one point: the factor of the address, or all of them, over its period."""
    if form not in export.FORMS:
        raise Http404
    point = visible(request.user, code)
    window = series.Window.read(request.GET, clock.now())
    factor = request.GET.get("factor", "")
    return answer(request, form, export.Asked("readings", [point], window.kind, window.start, window.end, factor), code)


def choose(request: HttpRequest) -> HttpResponse:
    """What, of which points, over which days, in which form."""
    now = clock.now()
    return render(request, "export.html", {
        "words": WORDS, "kinds": series.KINDS, "periods": aggregates.PERIODS,
        "forms": list(export.FORMS), "given": request.GET,
        "first": f"{beijing(now) - timedelta(days=30):%Y-%m-%d}", "last": f"{beijing(now):%Y-%m-%d}",
        "points": rights.visible_points(request.user).order_by("code"),
    })  # fmt: skip


def go(request: HttpRequest) -> HttpResponseBase:
    """What the form of the page asks for."""
    return download(request, request.GET.get("what", ""), request.GET.get("form", ""))


def download(request: HttpRequest, what: str, form: str) -> HttpResponseBase:
    """/export/readings.csv?from=2026-03-01&to=2026-03-31&points=A1,B2, or instead of points filters as on /points."""
    if what not in export.KINDS or form not in export.FORMS:
        raise Http404
    try:
        asked = read(request.user, what, request.GET)
    except ValueError as error:
        return HttpResponseBadRequest(str(error), content_type="text/plain; charset=utf-8")
    return answer(request, form, asked, what)


def read(user: User, what: str, given: Mapping[str, str]) -> export.Asked:
    """What an address asks for. Raises ValueError in words, Http404 for a point outside the person's rights."""
    word = given.get("data", "") or "hour"
    if word.upper() not in Kind.__members__:
        raise ValueError(gettext("data 应为 %(words)s 之一") % {"words": "、".join(k.name.lower() for k in Kind)})
    try:
        start, end = export.moment(given.get("from", "")), export.moment(given.get("to", ""), end=True)
        as_of = export.moment(given["as_of"]) if given.get("as_of") else None
    except ValueError:
        raise ValueError(gettext("from、to、as_of 应为日期或 ISO 时间，例如 2026-03-01")) from None
    if start >= end:
        raise ValueError(gettext("起始应早于截止"))
    kind = Kind[word.upper()]
    period = aggregates.period(given.get("period", "") if what == "aggregates" else "", kind)
    return export.Asked(what, _points(user, given), kind, start, end, given.get("factor", ""), as_of, period)


def _points(user: User, given: Mapping[str, str]) -> Sequence[Point]:
    """The points named, else those that the filters of /points leave."""
    codes = [code for code in given.get("points", "").split(",") if code]
    if not codes:
        codes = [one.code for one in objects.find(user, objects.Query.read(given), clock.now())]
    return [visible(user, code) for code in codes]


def answer(request: HttpRequest, form: str, asked: export.Asked, stem: str) -> HttpResponseBase:
    """The file, after rights and record. Rows go out as they are made; xlsx and Parquet by way of a file on disk."""
    now = clock.now()
    for point in asked.points:
        rights.require(request.user, "export", point)
        if asked.what == "frames":
            rights.require(request.user, "frames", point)
    with transaction.atomic():
        audit.record(request.user, "export", subject(asked.points), gettext("页面或接口导出"), detail(asked, form), now)
    named = f'attachment; filename="{stem}-{beijing(now):%Y%m%d%H%M}.{form}"'
    headers = {"Content-Disposition": named}
    if form == "csv":
        content = export.as_csv(*export.rows(asked))
        return StreamingHttpResponse(content, content_type=export.FORMS[form], headers=headers)
    out = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115  the answer closes it
    export.write(form, asked, out)
    out.seek(0)
    return FileResponse(out, content_type=export.FORMS[form], headers=headers)


def subject(points: Sequence[Point]) -> str:
    return f"point:{points[0].code}" if len(points) == 1 else f"points:{len(points)}"


def detail(asked: export.Asked, form: str) -> dict[str, Any]:
    """What is on record of an export."""
    return {
        "what": asked.what, "form": form, "factor": asked.factor, "kind": asked.kind.name,
        "period": asked.period.name if asked.what == "aggregates" else "", "start": asked.start,
        "end": asked.end, "as_of": asked.as_of, "points": [point.code for point in asked.points],
    }  # fmt: skip


urls = [
    path("points/<str:code>/export.<str:form>", page, name="export"),
    path("export", choose, name="export-choose"),
    path("export/go", go, name="export-go"),
    path("export/<str:what>.<str:form>", download, name="export-download"),
]
