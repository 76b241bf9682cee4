"""维护窗口 of a point: announce, see, take back."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from ceguan import clock
from ceguan.registry import maintenance, rights
from ceguan.registry.models import Maintenance, Point

SHOWN = 50


def _moment(word) -> forms.DateTimeField:
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(label=word, widget=widget)


class WindowForm(forms.Form):
    start = _moment(gettext_lazy("开始（北京时间）"))
    end = _moment(gettext_lazy("结束（北京时间）"))
    reason = forms.CharField(label=gettext_lazy("维护原因"), max_length=200)


def page(request: HttpRequest, code: str) -> HttpResponse:
    point, now = _point(request, code), clock.now()
    form = WindowForm(request.POST or None)
    if request.method == "POST" and _announced(request, point, form, now):
        return redirect("maintenance", point.code)
    windows = [{"window": one, "over": one.end.timestamp() <= now, "running": one.start.timestamp() <= now}
               for one in point.maintenance.select_related("by")[:SHOWN]]  # fmt: skip
    context = {"point": point, "form": form, "windows": windows, "may": rights.can(request.user, "maintain", point)}
    return render(request, "maintenance/maintenance.html", context, status=200 if request.method == "GET" else 409)


def _point(request: HttpRequest, code: str) -> Point:
    return get_object_or_404(rights.visible_points(request.user).select_related("enterprise", "region"), code=code)


def _announced(request: HttpRequest, point: Point, form: WindowForm, now: float) -> bool:
    rights.require(request.user, "maintain", point)
    if not form.is_valid():
        return False
    given = form.cleaned_data
    try:
        maintenance.announce(point, given["start"], given["end"], given["reason"], request.user, now)
    except maintenance.WindowError as refused:
        form.add_error(None, str(refused))
        return False
    messages.success(request, _("维护窗口已公告。"))
    return True


@require_POST
def cancel(request: HttpRequest, code: str, pk: int) -> HttpResponse:
    point = _point(request, code)
    window = get_object_or_404(Maintenance, pk=pk, point=point)
    try:
        maintenance.cancel(window, request.user, request.POST.get("reason", ""), clock.now())
        messages.success(request, _("维护窗口已取消或提前结束；记录保留在留痕中。"))
    except maintenance.WindowError as refused:
        messages.error(request, str(refused))
    return redirect("maintenance", point.code)


urls = [
    path("points/<str:code>/maintenance/", page, name="maintenance"),
    path("points/<str:code>/maintenance/<int:pk>/cancel/", cancel, name="maintenance-cancel"),
]
