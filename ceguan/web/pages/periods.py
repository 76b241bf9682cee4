"""期限: the periods of each procedure, the bureau's own versions, and the form that sets the next one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ceguan import clock
from ceguan.cases import clocks, periods
from ceguan.registry import rights
from ceguan.registry.label import label
from ceguan.standards import procedures
from ceguan.words import beijing


class PeriodForm(forms.Form):
    step = forms.ChoiceField(label=gettext_lazy("环节"))
    days = forms.IntegerField(label=gettext_lazy("期限"), min_value=1, max_value=periods.LONGEST)
    unit = forms.ChoiceField(
        label=gettext_lazy("单位"), choices=[("wd", gettext_lazy("工作日")), ("d", gettext_lazy("日"))]
    )
    valid_from = forms.DateField(
        label=gettext_lazy("生效日"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    reason = forms.CharField(label=gettext_lazy("理由"), max_length=200)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["step"].choices = [
            (f"{procedure.id}/{step.id}", f"{label(procedure.label)} · {label(step.label)}")
            for procedure in procedures.procedures().values()
            for step in procedure.timed
        ]


def page(request: HttpRequest) -> HttpResponse:
    rights.require(request.user, "period")
    now = clock.now()
    first = beijing(now).date() + timedelta(days=1)
    form = PeriodForm(request.POST or None, initial={"valid_from": first, "step": request.GET.get("step", "")})
    if request.method == "POST" and _set(request, form, now):
        return redirect("periods")
    context = {"procedures": [_procedure(one, now) for one in procedures.procedures().values()], "form": form}
    return render(request, "periods/periods.html", context, status=200 if request.method == "GET" else 409)


def _procedure(procedure: procedures.Procedure, now: float) -> dict[str, Any]:
    own, today = clocks.periods(procedure.id), beijing(now).date()
    rows = [
        {
            "step": step, "term": (term := clocks.term(procedure, step, own, today)), "unit": clocks.UNITS[term.unit],
            "table_unit": clocks.UNITS[step.unit],
            "own": [(one, clocks.UNITS[one.unit]) for one in own if one.step == step.id],
        }
        for step in procedure.timed
    ]  # fmt: skip
    return {"procedure": procedure, "rows": rows}


def _set(request: HttpRequest, form: PeriodForm, now: float) -> bool:
    if not form.is_valid():
        return False
    given = form.cleaned_data
    name, _slash, step = given["step"].partition("/")
    procedure = procedures.procedures()[name]
    try:
        periods.set_period(
            procedure, procedure.steps[step], given["days"], given["unit"], given["valid_from"], given["reason"],
            request.user, now,
        )  # fmt: skip
    except periods.PeriodError as refused:
        form.add_error(None, str(refused))
        return False
    messages.success(request, _("新期限已登记，自 %(day)s 起对新开始的环节生效。") % {"day": given["valid_from"]})
    return True


urls = [path("periods/", page, name="periods")]
