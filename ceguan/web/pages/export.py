"""Taking readings away: a right of its own, and every time is on record."""

from __future__ import annotations

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from ceguan import clock
from ceguan.registry import audit, rights
from ceguan.web import export, series
from ceguan.web.pages.point import visible
from ceguan.words import beijing

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def page(request: HttpRequest, code: str, form: str) -> HttpResponse:
    """The factor of the address, or all of them, over its period."""
    if form not in ("csv", "xlsx"):
        raise Http404
    point = visible(request.user, code)
    rights.require(request.user, "export", point)
    now = clock.now()
    window = series.Window.read(request.GET, now)
    factor = request.GET.get("factor", "")
    chosen = [one for one in point.series.all() if factor in ("", one.factor)]
    detail = {"form": form, "factor": factor, "kind": window.kind.name, "start": window.start, "end": window.end}
    with transaction.atomic():
        audit.record(request.user, "export", f"point:{code}", "点位页导出", detail, now)
    rows = export.rows(point, chosen, window)
    if form == "csv":
        answer: HttpResponse | StreamingHttpResponse = StreamingHttpResponse(
            export.as_csv(rows), content_type="text/csv; charset=utf-8"
        )
    else:
        answer = HttpResponse(export.as_xlsx(rows), content_type=XLSX)
    answer["Content-Disposition"] = f'attachment; filename="{code}-{beijing(now):%Y%m%d%H%M}.{form}"'
    return answer


urls = [path("points/<str:code>/export.<str:form>", page, name="export")]
