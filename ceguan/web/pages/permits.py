"""许可限值 of an outlet: every version with its reason, and the form that makes the next one."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ceguan import clock
from ceguan.registry import permits, rights
from ceguan.registry.label import label
from ceguan.registry.models import Permit, PermitLimit, Point
from ceguan.standards.catalogue import TRUST_WORDS
from ceguan.words import beijing


def _trusts() -> list[tuple[str, str]]:
    return [(key, label(TRUST_WORDS[key])) for key in TRUST_WORDS]


class LimitForm(forms.Form):
    """The next version of a limit."""

    permit = forms.ModelChoiceField(Permit.objects.none(), label=gettext_lazy("许可证"))
    factor = forms.ChoiceField(label=gettext_lazy("因子"))
    basis = forms.ChoiceField(choices=PermitLimit._meta.get_field("basis").choices, label=gettext_lazy("考核周期"))
    high = forms.FloatField(label=gettext_lazy("限值"), widget=forms.NumberInput(attrs={"step": "any"}))
    low = forms.FloatField(label=gettext_lazy("下限（pH 等）"), required=False)
    unit = forms.CharField(label=gettext_lazy("单位"), max_length=24)
    converted = forms.BooleanField(label=gettext_lazy("按折算值判定"), required=False)
    standard = forms.CharField(label=gettext_lazy("依据标准"), max_length=40)
    clause = forms.CharField(label=gettext_lazy("条款"), max_length=80)
    trust = forms.ChoiceField(label=gettext_lazy("可信度"), choices=_trusts)
    valid_from = forms.DateField(
        label=gettext_lazy("生效日"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    reason = forms.CharField(label=gettext_lazy("变更理由"), max_length=200)

    def __init__(self, point: Point, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["permit"].queryset = Permit.objects.filter(enterprise=point.enterprise_id)
        names = [(one.factor, f"{one.name_zh}（{one.factor}）") for one in point.series.all()]
        self.fields["factor"].choices = names

    def terms(self) -> permits.Terms:
        given = self.cleaned_data
        return permits.Terms(
            given["factor"], given["basis"], given["high"], given["unit"], given["standard"], given["clause"],
            given["low"], given["converted"], given["trust"],
        )  # fmt: skip


def page(request: HttpRequest, code: str) -> HttpResponse:
    point = get_object_or_404(rights.visible_points(request.user).select_related("enterprise", "region"), code=code)
    may, now = rights.can(request.user, "limit", point), clock.now()
    form = LimitForm(point, request.POST or None, initial=_initial(point, request.GET.get("from", ""), now))
    if request.method == "POST" and _made(request, point, form, now):
        return redirect("limits", point.code)
    today = beijing(now).date()
    names = {one.factor: one for one in point.series.all()}
    rows = [
        {"limit": one, "series": names.get(one.factor), "word": _word(one, today)} for one in permits.versions(point)
    ]
    context = {"point": point, "rows": rows, "form": form, "may": may, "today": today, "trust": TRUST_WORDS}
    return render(request, "permits/limits.html", context, status=200 if request.method == "GET" else 409)


def _made(request: HttpRequest, point: Point, form: LimitForm, now: float) -> bool:
    """Whether the next version was made; else the form says why not."""
    rights.require(request.user, "limit", point)
    if not form.is_valid():
        return False
    given = form.cleaned_data
    try:
        permits.set_limit(given["permit"], point, form.terms(), given["valid_from"], given["reason"], request.user, now)
    except permits.LimitError as refused:
        form.add_error(None, str(refused))
        return False
    messages.success(request, _("新版本已登记，自 %(day)s 起生效。") % {"day": given["valid_from"]})
    return True


def _word(limit: PermitLimit, today) -> str:
    if limit.valid_from > today:
        return _("待生效")
    return _("现行") if limit.valid_to is None or limit.valid_to >= today else _("已失效")


def _initial(point: Point, number: str, now: float) -> dict[str, object]:
    """The form filled with the version somebody wants to change."""
    limit = point.limits.filter(pk=int(number)).first() if number.isdigit() else None
    day = {"valid_from": beijing(now).date()}
    if limit is None:
        return day | {"permit": Permit.objects.filter(enterprise=point.enterprise_id).first(), "trust": "P"}
    kept = ("permit", "factor", "basis", "high", "low", "unit", "converted", "standard", "clause", "trust")
    return day | {name: getattr(limit, name) for name in kept}


urls = [path("points/<str:code>/limits/", page, name="limits")]
