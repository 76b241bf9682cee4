"""审核: an analyst keeps, invalidates, substitutes or exempts a stretch of readings, with a reason."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.translation import gettext, gettext_lazy

from ceguan import clock
from ceguan.intake.decided import WaitsError
from ceguan.registry import rights
from ceguan.registry.label import label, name
from ceguan.registry.models import Point
from ceguan.web import decisions, series
from ceguan.web.pages.point import visible
from ceguan.words import BEIJING, Kind, beijing

CONSEQUENCES = {
    "keep": gettext_lazy("读数有效，状态改为“已审核”。"),
    "invalidate": gettext_lazy("读数不再计入均值与裁定；原始值保留。"),
    "substitute": gettext_lazy("以给出的数值参与计算；原始值保留。"),
    "exempt": gettext_lazy("数值照常显示，但不参与超标判定。"),
}


class Local(forms.DateTimeField):
    """A Beijing wall time from <input type=datetime-local>."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "60"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> datetime | None:
        try:
            return datetime.fromisoformat(value).replace(tzinfo=BEIJING) if value else None
        except ValueError:
            raise forms.ValidationError(gettext("时间写成 2026-03-01T14:00 的样子")) from None


class DecisionForm(forms.Form):
    factor = forms.ChoiceField(label=gettext_lazy("因子"))
    kind = forms.ChoiceField(label=gettext_lazy("数据"))
    start = Local(label=gettext_lazy("自（含）"))
    end = Local(label=gettext_lazy("至（不含）"))
    action = forms.ChoiceField(label=gettext_lazy("决定"), widget=forms.RadioSelect)
    value = forms.FloatField(label=gettext_lazy("替代值"), required=False)
    zs = forms.FloatField(label=gettext_lazy("替代的折算值"), required=False)
    why = forms.CharField(
        label=gettext_lazy("理由"), min_length=4, max_length=500, widget=forms.Textarea(attrs={"rows": 3})
    )
    evidence = forms.CharField(label=gettext_lazy("依据（文号、记录编号）"), max_length=200, required=False)

    def __init__(self, point, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["factor"].choices = [(one.factor, name(one)) for one in point.series.all()]
        self.fields["kind"].choices = [(kind.name.lower(), label(word)) for kind, word in series.KINDS.items()]
        self.fields["action"].choices = [
            (action, f"{label(word)}: {CONSEQUENCES[action]}") for action, word in series.ACTIONS.items()
        ]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("start") and given.get("end") and given["start"] >= given["end"]:
            self.add_error("end", gettext("“至”应晚于“自”。"))
        if given.get("action") == "substitute" and given.get("value") is None:
            self.add_error("value", gettext("替代须给出数值。"))
        return given


def page(request: HttpRequest, code: str) -> HttpResponse:
    """The form, as a page or in the drawer; a good one is written and the way leads back to the series."""
    point = visible(request.user, code)
    rights.require(request.user, "decide", point)
    now = clock.now()
    form = DecisionForm(point, request.POST or None, initial=_initial(request, now))
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        _decide(request, point, given, now)
        return redirect(f"{reverse('point', args=[code])}?factor={given['factor']}&kind={given['kind']}")
    template = "point/_decide.html" if request.headers.get("HX-Request") else "point/decide.html"
    return render(request, template, {"point": point, "form": form}, status=422 if form.errors else 200)


def _decide(request: HttpRequest, point: Point, given: dict[str, Any], now: float) -> None:
    substitute = given["action"] == "substitute"
    try:
        ref = decisions.decide(
            request.user, point.series.get(factor=given["factor"]), Kind[given["kind"].upper()],
            int(given["start"].timestamp()), int(given["end"].timestamp()), given["action"], given["why"],
            given["evidence"], given["value"] if substitute else None, given["zs"] if substitute else None, now,
        )  # fmt: skip
    except WaitsError as error:
        messages.warning(request, str(error))
        return
    said = gettext("决定已留档（%(ref)s），时钟取走后生效，通常一两秒；相关裁定随后重算。")
    messages.success(request, said % {"ref": ref})


def _initial(request: HttpRequest, now: float) -> dict[str, Any]:
    """The last full hour, or what the address says."""
    hour = int(now) // 3600 * 3600 - 3600
    given = request.GET
    return {
        "factor": given.get("factor", ""),
        "kind": given.get("kind", "hour"),
        "start": beijing(int(given["from"]) if given.get("from", "").isdigit() else hour),
        "end": beijing(int(given["to"]) if given.get("to", "").isdigit() else hour + 3600),
        "action": "keep",
    }


urls = [path("points/<str:code>/decide/", page, name="decide")]
