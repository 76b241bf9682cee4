"""我的工作: what waits for this person – every total is a link to its list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _

from ceguan import clock
from ceguan.registry import rights
from ceguan.registry.models import Maintenance, User
from ceguan.watch.models import PointStatus
from ceguan.web.pages import cases as case_pages
from ceguan.web.pages import inbox
from ceguan.words import BEIJING, Role, beijing

ROWS = 12


class Total(NamedTuple):
    """A figure of the day, its name, the list behind it, and how it looks when it is not zero."""

    number: int
    name: str
    href: str
    look: str


def page(request: HttpRequest) -> HttpResponse:
    user, now = request.user, clock.now()
    office = user.role != Role.ENTERPRISE
    mine = list(_mine(user, now)[:ROWS])
    context: dict[str, Any] = {
        "office": office, "now": now, "totals": _totals(user, now), "mine": case_pages.cards(mine, now),
        "maintenance": _maintenance(user, now), "silent": _silent(user),
    }  # fmt: skip
    findings = rights.visible_findings(user).select_related("point__region", "owner")
    wanted = findings.filter(state="open") if office else findings.filter(state__in=inbox.OPEN)
    context["findings"] = wanted.order_by("-level", "-last_at")[:ROWS]
    return render(request, "work/work.html", context)


def _mine(user: User, now: float) -> Any:
    """The cases that wait for this person: in charge of, or of a state whose step their role does."""
    return case_pages.find(user, case_pages.Query(mine="1"), now)


def _totals(user: User, now: float) -> list[Total]:
    if user.role == Role.ENTERPRISE:
        return _cases(user, now, (("mine", _("待我办理的案件"), ""), ("overdue", _("超期案件"), "bad")))
    today = {"since": beijing(now).date().isoformat(), "state": "all"}
    lists = (
        (inbox.Query(state="open"), _("待认领报警"), "warn"),
        (inbox.Query(owner="me"), _("我在办的报警"), ""),
        (inbox.Query(rule="limit", **today), _("今日超标"), "bad"),
    )
    alarms = [
        Total(inbox.find(user, query).count(), name, f"{reverse('inbox')}?{query.string()}", look)
        for query, name, look in lists
    ]
    wanted = (("mine", _("待我办理的案件"), ""), ("overdue", _("超期案件"), "bad"))
    silent = rights.visible_points(user).filter(closed_on=None, status__state="silent").count()
    quiet = Total(silent, _("静默点位"), f"{reverse('points')}?status=silent", "warn")
    return [*alarms, *_cases(user, now, wanted), quiet]


def _cases(user: User, now: float, lists: tuple[tuple[str, str, str], ...]) -> list[Total]:
    return [
        Total(
            case_pages.find(user, case_pages.Query(**{key: "1"}), now).count(),
            name, f"{reverse('cases')}?view=list&{key}=1", look,
        )
        for key, name, look in lists
    ]  # fmt: skip


def _maintenance(user: User, now: float) -> Any:
    """Windows that run or begin within a week."""
    moment = datetime.fromtimestamp(now, BEIJING)
    windows = Maintenance.objects.filter(point__in=rights.visible_points(user))
    soon = windows.filter(end__gt=moment, start__lt=moment + timedelta(days=7))
    return soon.select_related("point", "by").order_by("start")[:ROWS]


def _silent(user: User) -> Any:
    """Points that should send and do not, the longest silent first."""
    quiet = PointStatus.objects.filter(point__in=rights.visible_points(user).filter(closed_on=None))
    return quiet.filter(state__in=("silent", "fault")).select_related("point").order_by("since")[:ROWS]


urls = [path("work/", page, name="work")]
