"""向上转发: the platforms that get our devices' frames – how each stands, and what it gets. Secrets only go in."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from ceguan import clock
from ceguan.intake.forward import process, targets
from ceguan.intake.forward.translate import EDITIONS, UPLOADS, USUAL, explain
from ceguan.intake.models import ForwardTarget
from ceguan.registry import rights
from ceguan.registry.label import label
from ceguan.web.pages.intake import tabs

_SPLIT = re.compile(r"[\s,，=→]+")


def _number(word: Any, low: int, high: int) -> forms.IntegerField:
    return forms.IntegerField(label=word, min_value=low, max_value=high)


def _secret(word: Any, most: int) -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
    return forms.CharField(label=word, max_length=most, required=False, widget=widget)


def _lines(word: Any, hint: Any) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 4, "class": "mono"})
    return forms.CharField(label=word, required=False, widget=widget, help_text=hint)


class TargetForm(forms.Form):
    """A target; empty secrets stay as they are."""

    name = forms.CharField(label=gettext_lazy("名称"), max_length=60)
    host = forms.CharField(label=gettext_lazy("地址"), max_length=120)
    port = _number(gettext_lazy("端口"), 1, 65535)
    edition = forms.TypedChoiceField(
        label=gettext_lazy("协议版本"), coerce=int, choices=[(one, f"HJ 212-{one}") for one in EDITIONS]
    )
    password = _secret(gettext_lazy("口令 PW（只写入，不显示；留空不改）"), 9)
    key = _secret(gettext_lazy("SM4 密钥（2025 版；只写入，不显示；留空不改）"), 32)
    st = forms.CharField(label=gettext_lazy("系统编码 ST（留空照设备所发）"), max_length=2, required=False)
    answers = forms.BooleanField(
        label=gettext_lazy("对方应答 9014（不选：只知已写出，不知对方是否收到）"), required=False
    )
    cns = forms.MultipleChoiceField(label=gettext_lazy("报文种类"), widget=forms.CheckboxSelectMultiple)
    devices = _lines(gettext_lazy("设备（留空为全部已接入设备）"), gettext_lazy("每行一台：MN，需改写时再写对方的 MN"))
    factors = _lines(
        gettext_lazy("因子规则"), gettext_lazy("每行一个：编码，对方的编码（- 为按版本），乘的系数，如 a21026 - 0.001")
    )
    others = forms.BooleanField(label=gettext_lazy("没有规则的因子照转"), required=False)
    order = _number(gettext_lazy("次序"), 1, 99)
    reason = forms.CharField(label=gettext_lazy("理由"), max_length=300)

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        names = [(one.cn, f"{one.cn} {label(one.name)}") for one in UPLOADS.values()]
        self.fields["cns"].choices = names

    def clean_devices(self) -> dict[str, str]:
        return {line[0]: (line[1] if len(line) > 1 else "") for line in _words(self.cleaned_data["devices"], 2)}

    def clean_factors(self) -> dict[str, list[str]]:
        found = {}
        for line in _words(self.cleaned_data["factors"], 3):
            theirs = line[1] if len(line) > 1 and line[1] != "-" else ""
            found[line[0]] = [theirs, line[2] if len(line) > 2 else "1"]
        return found


def _words(text: str, most: int) -> list[list[str]]:
    """The lines in words. Raises ValidationError for one with too many."""
    lines = [_SPLIT.split(line.strip()) for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if len(line) > most:
            raise forms.ValidationError(_("第 %(line)d 行有 %(count)d 项，最多 %(most)d 项")
                                        % {"line": number, "count": len(line), "most": most})  # fmt: skip
    return lines


def page(request: HttpRequest) -> HttpResponse:
    """Every target and how it stands; as a fragment: only that."""
    rights.require(request.user, "intake")
    pulse, told = process.said(settings.CEGUAN)
    rows = [
        {"target": one, "state": told.get(one.pk) if pulse.alive else None,
         "skipped": [(label(explain(cause)), n) for cause, n in told.get(one.pk, {}).get("skipped", {}).items() if n],
         "problem": pulse.said.get("problems", {}).get(str(one.pk), "")}
        for one in targets.every()
    ]  # fmt: skip
    context = {
        "rows": rows, "alive": pulse.alive, "wanted": any(row["target"].active for row in rows), "now": clock.now(),
        "may": rights.can(request.user, "forward"), "most": targets.MOST,
        **tabs(request, "forward", clock.now()),
    }  # fmt: skip
    template = "intake/_forward.html" if request.headers.get("HX-Request") else "intake/forward.html"
    return render(request, template, context)


def edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Make a target or change one."""
    rights.require(request.user, "forward")
    target = None if pk is None else get_object_or_404(ForwardTarget, pk=pk)
    form = TargetForm(request.POST or None, initial=_initial(target))
    if request.method == "POST" and form.is_valid():
        given = {**form.cleaned_data}
        reason = given.pop("reason")
        secrets = {name: given.pop(name) or None for name in ("password", "key")}
        try:
            made = targets.save({**given, **secrets}, request.user, reason, clock.now(), target)
        except targets.TargetError as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("%(name)s 已保存；转发进程几秒内照此进行。") % {"name": made.name})
            return redirect("forward")
    context = {"form": form, "target": target}
    return render(request, "intake/forward_edit.html", context, status=422 if form.is_bound else 200)


def _initial(target: ForwardTarget | None) -> dict[str, Any]:
    if target is None:
        return {"edition": 2017, "answers": True, "others": True, "order": 1, "cns": list(USUAL)}
    as_they_are = ("name", "host", "port", "edition", "st", "answers", "cns", "others", "order")
    shown = {name: getattr(target, name) for name in as_they_are}
    devices = "\n".join(f"{mine} {theirs}".strip() for mine, theirs in target.devices.items())
    factors = "\n".join(f"{code} {theirs or '-'} {factor}" for code, (theirs, factor) in target.factors.items())
    return {**shown, "devices": devices, "factors": factors}


@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """On, off, or out of the register."""
    target, what = get_object_or_404(ForwardTarget, pk=pk), request.POST.get("do", "")
    reason, now = request.POST.get("reason", ""), clock.now()
    try:
        if what == "delete":
            targets.delete(target, request.user, reason, now)
            messages.success(request, _("%(name)s 已删除，连同它的转发进度。") % {"name": target.name})
        elif what in ("on", "off"):
            targets.switch(target, what == "on", request.user, reason, now)
            word = _("已启用") if what == "on" else _("已停用；期间的数据启用后补转")
            messages.success(request, f"{target.name}：{word}")
    except targets.TargetError as error:
        messages.error(request, str(error))
    return redirect("forward")


urls = [
    path("intake/forward/", page, name="forward"),
    path("intake/forward/new/", edit, name="forward-new"),
    path("intake/forward/<int:pk>/", edit, name="forward-edit"),
    path("intake/forward/<int:pk>/act/", act, name="forward-act"),
]
