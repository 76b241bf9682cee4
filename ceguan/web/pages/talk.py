"""对话: what the platform asks of a device – commands with their risk, how each went, keys, the first contact."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from ceguan import clock
from ceguan.intake import adoption, commands, keys
from ceguan.intake.hj212 import commands as table
from ceguan.intake.hj212.commands import GROUPS, RISKS, CommandError, Risk
from ceguan.intake.models import WAITING, Command, Line, State
from ceguan.registry import rights
from ceguan.registry.label import label
from ceguan.registry.models import Device
from ceguan.words import Label, beijing

SHOWN = 30
CHIPS = {
    State.DONE: "chip-good", State.REFUSED: "chip-bad", State.FAILED: "chip-bad", State.TIMEOUT: "chip-bad",
    State.UNKNOWN: "chip-warn", State.EXPIRED: "chip-warn", State.CANCELLED: "",
}  # fmt: skip
RISK_CHIPS = {Risk.READS: "", Risk.CHANGES: "chip-warn", Risk.ACTS: "chip-bad"}
SENT = Label("请求", "request")


class Choice(NamedTuple):
    """A command that may be chosen."""

    row: table.Command
    name: str
    risk: str
    allowed: bool


class Field(NamedTuple):
    """A parameter to fill in."""

    row: table.Parameter
    name: str
    wanted: str
    optional: bool
    choices: list[str]
    value: str


class Shown(NamedTuple):
    """A command in the list."""

    command: Command
    name: str
    risk: str
    risk_chip: str
    state: str
    chip: str
    result: str
    items: list[list[tuple[str, str]]]
    frames: list[tuple[str, str]]
    may_cancel: bool


def page(request: HttpRequest) -> HttpResponse:
    """Choose a command, fill it in, send it; below, how the last ones went."""
    device = _device(request)
    return _page(request, device, request.GET.get("cn", ""), {})


@require_GET
def listed(request: HttpRequest) -> HttpResponse:
    """The list as a fragment; the page asks for it again while something is on its way."""
    return render(request, "intake/_commands.html", _listed(request, _device(request)))


@require_POST
def queue(request: HttpRequest) -> HttpResponse:
    """Queue what the form says. What acts on an instrument is asked a second time before."""
    device, given = _device(request), request.POST
    cn, values = given.get("cn", ""), {name[2:]: value for name, value in given.items() if name.startswith("p:")}
    try:
        row = table.find(cn, device.edition)
        rights.require(request.user, commands.RIGHT[row.risk], device.point)
        if row.risk == Risk.ACTS and "sure" not in given:
            table.check(row, values, device.units)
            return _page(request, device, cn, values, ask=True)
        commands.queue(device, cn, values, request.user, given.get("why", ""), clock.now())
    except CommandError as error:
        return _page(request, device, cn, values, error=str(error))
    messages.success(request, gettext("命令已排队；设备在线时立即下发。"))
    return _back(device)


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Take back what has not been sent."""
    device = _device(request)
    try:
        commands.cancel(
            get_object_or_404(Command, pk=pk, device=device), request.user, request.POST.get("why", ""), clock.now()
        )
        messages.success(request, gettext("命令已撤销。"))
    except CommandError as error:
        messages.error(request, str(error))
    return _back(device)


@require_POST
def first_contact(request: HttpRequest) -> HttpResponse:
    """首次联机: clock, time-outs, intervals, real-time data, facility states, in the order of the standard."""
    device, given = _device(request), request.POST
    parameters = {cn: {name: given.get(name, "") for name in names} for cn, names in _FIRST.items()}
    try:
        made = commands.first_contact(device, parameters, request.user, given.get("why", ""), clock.now())
        messages.success(request, gettext("已排队 %(n)d 条命令。") % {"n": len(made)})
    except CommandError as error:
        messages.error(request, str(error))
    return _back(device)


@require_POST
def key(request: HttpRequest) -> HttpResponse:
    """Enter the key a device of edition 2025 already has; it is shown nowhere again."""
    device = _device(request)
    try:
        keys.enter(device, request.POST.get("key", ""), request.user, request.POST.get("why", ""), clock.now())
        messages.success(request, gettext("密钥已录入，此后不再显示。"))
    except ValueError as error:
        messages.error(request, str(error))
    return _back(device)


_FIRST = {"1000": ("OverTime", "ReCount"), "1062": ("RtdInterval",), "1064": ("MinInterval",)}


def _device(request: HttpRequest) -> Device:
    """An adopted device of the person's region. Raises Forbidden without the right to see the intake."""
    rights.require(request.user, "intake")
    found = adoption.adopted(beijing(clock.now()).date()).select_related("point__region")
    mn = (request.POST or request.GET).get("mn", "")
    return get_object_or_404(found, mn=mn, point__in=rights.visible_points(request.user))


def _back(device: Device) -> HttpResponse:
    return redirect(f"{reverse('talk')}?{urlencode({'mn': device.mn})}")


def _page(
    request: HttpRequest, device: Device, cn: str, values: dict[str, str], *, error: str = "", ask: bool = False
) -> HttpResponse:
    chosen = table.of_edition(device.edition).get(cn)
    over_time, re_count = commands.timing(device, settings.CEGUAN.hj212_link)
    context = {
        "device": device,
        "groups": _groups(request, device),
        "chosen": chosen,
        "chosen_name": label(chosen.label) if chosen else "",
        "risk": label(RISKS[chosen.risk]) if chosen else "",
        "risk_chip": RISK_CHIPS[chosen.risk] if chosen else "",
        "brings": label(Label(chosen.brings, chosen.brings_en)) if chosen else "",
        "fields": _fields(device, chosen, values) if chosen else [],
        "permission": rights.can(request.user, commands.RIGHT[chosen.risk], device.point) if chosen else None,
        "may_control": rights.can(request.user, "control", device.point),
        "why": request.POST.get("why", ""),
        "error": error,
        "ask": ask,
        "line": Line.objects.filter(device=device).first(),
        "newest_key": device.keys.exclude(confirmed=None).order_by("-confirmed").first(),
        "renew_days": keys.RENEW_DAYS,
        "first": {"over_time": over_time, "re_count": re_count, "minutes": device.minute_interval},
        **_listed(request, device),
    }
    fragment = request.headers.get("HX-Request") and request.method == "GET"
    return render(
        request, "intake/_command_form.html" if fragment else "intake/talk.html", context, status=422 if error else 200
    )


def _groups(request: HttpRequest, device: Device) -> list[tuple[str, list[Choice]]]:
    """The commands of the device's edition by group; those the person may not send say so."""
    rows = [row for row in table.of_edition(device.edition).values() if row.sendable]
    may = {risk: bool(rights.can(request.user, commands.RIGHT[risk], device.point)) for risk in Risk}
    return [
        (
            label(word),
            [Choice(r, label(r.label), label(RISKS[r.risk]), may[r.risk]) for r in rows if r.group == group],
        )
        for group, word in GROUPS.items()
    ]


def _fields(device: Device, row: table.Command, values: dict[str, str]) -> list[Field]:
    found = []
    for token in row.tokens:
        parameter = table.parameters()[row.edition, token.name]
        if parameter.kind == "key" or (row.cn == "1014" and parameter.kind == "now"):
            continue  # made by the platform
        choices = sorted(device.units) if parameter.kind == "factor" else list(parameter.choices)
        optional = token.mark == "?" or parameter.kind == "now"
        given = "" if token.name in table.SECRETS else values.get(token.name, "")
        found.append(Field(parameter, label(parameter.label), label(parameter.wanted), optional, choices, given))
    return found


def _listed(request: HttpRequest, device: Device) -> dict[str, Any]:
    found = Command.objects.filter(device=device).select_related("who")[:SHOWN]
    may = {risk: bool(rights.can(request.user, commands.RIGHT[risk], device.point)) for risk in Risk}
    rows = [_shown(one, may) for one in found]
    return {"device": device, "commands": rows, "moving": any(row.command.state in WAITING for row in rows)}


def _shown(command: Command, may: dict[Risk, bool]) -> Shown:
    row, state = command.row, State(command.state)
    risk = row.risk if row else Risk.CHANGES
    return Shown(
        command, label(row.label) if row else command.cn, label(RISKS[risk]), RISK_CHIPS[risk],
        label(command.state_label), CHIPS.get(state, "chip-info"), label(command.result),
        [_said(item) for item in command.answer.get("items", ())],
        [(label(SENT) if what == "sent" else what, ref) for what, ref in command.frames],
        state == State.QUEUED and may[risk],
    )  # fmt: skip


def _said(item: dict[str, Any]) -> list[tuple[str, str]]:
    """What one upload of an answer says, as names and values."""
    when = [("DataTime", item["datatime"])] if "datatime" in item else []
    factors = [(f"{code}-{name}", value) for code, f in item.get("factors", {}).items() for name, value in f.items()]
    return when + list(item.get("cp", {}).items()) + factors


urls = [
    path("intake/talk/", page, name="talk"),
    path("intake/talk/commands/", listed, name="talk-commands"),
    path("intake/talk/queue/", queue, name="talk-queue"),
    path("intake/talk/first-contact/", first_contact, name="talk-first"),
    path("intake/talk/key/", key, name="talk-key"),
    path("intake/talk/<int:pk>/cancel/", cancel, name="talk-cancel"),
]
