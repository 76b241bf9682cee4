"""报警收件箱: findings folded by object and rule, with their evidence and what can be done about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from ceguan import clock
from ceguan.cases import clocks, engine
from ceguan.cases.models import Case
from ceguan.registry import rights
from ceguan.registry.models import Region, User
from ceguan.standards import procedures
from ceguan.watch import findings
from ceguan.watch.models import Finding, FindingEvent
from ceguan.web.evidence import evidence
from ceguan.words import BEIJING

ROWS = 50
OPEN = Finding.OPEN_STATES
LEVELS = {3: gettext_noop("严重"), 2: gettext_noop("警告"), 1: gettext_noop("提示")}
LOOKS = {3: "chip-bad", 2: "chip-warn", 1: ""}
RULES = {
    "limit": gettext_noop("超标"),
    "silent": gettext_noop("静默"),
    "flat": gettext_noop("恒值"),
    "clock": gettext_noop("时钟偏差"),
}
"""Heads of rules to filter by."""


@dataclass(frozen=True, slots=True)
class Query:
    """What the address asks for. `state`: "" = all that is not settled, all, or one of Finding.STATES."""

    state: str = ""
    level: str = ""
    rule: str = ""
    owner: str = ""
    region: str = ""
    point: str = ""
    since: str = ""
    q: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Query:
        """The parts of an address that are ours; what nobody knows is dropped rather than failing the page."""
        query = cls(**{field.name: given.get(field.name, "").strip()[:100] for field in fields(cls)})
        known = {"all", *dict(Finding.STATES)}
        return cls(
            state=query.state if query.state in known else "",
            level=query.level if query.level in ("1", "2", "3") else "",
            rule=query.rule if query.rule in RULES else "",
            owner="me" if query.owner == "me" else "",
            region=query.region,
            point=query.point,
            since=query.since if _day(query.since) else "",
            q=query.q,
        )

    def string(self) -> str:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return urlencode({name: part for name, part in parts.items() if part})


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def find(user: User, query: Query) -> Any:
    """The findings of the list: the most serious first, then the latest."""
    wanted = Q()
    if query.state != "all":
        wanted &= Q(state=query.state) if query.state else Q(state__in=OPEN)
    if query.level:
        wanted &= Q(level=int(query.level))
    if query.rule:
        wanted &= Q(rule__startswith=query.rule)
    if query.owner:
        wanted &= Q(owner=user)
    if query.point:
        wanted &= Q(point__code=query.point)
    if query.region:
        wanted &= Q(point__region__path__contains=f"/{query.region}/")
    if day := _day(query.since):
        wanted &= Q(last_at__gte=datetime.combine(day, time(), BEIJING))
    if query.q:
        names = (
            "title_zh",
            "title_en",
            "point__name_zh",
            "point__name_en",
            "point__code",
            "point__enterprise__name_zh",
        )
        spoken = Q()
        for name in names:
            spoken |= Q(**{f"{name}__icontains": query.q})
        wanted &= spoken
    return rights.visible_findings(user).filter(wanted).order_by("-level", "-last_at", "-pk")


def page(request: HttpRequest) -> HttpResponse:
    """The inbox, or for htmx only the detail of the finding the address names."""
    rights.require(request.user, "inbox")
    now, query = clock.now(), Query.read(request.GET)
    chosen = _chosen(request)
    if request.headers.get("HX-Request") and chosen is not None:
        return render(request, "inbox/_detail.html", detail(request, chosen, query, now))
    found = find(request.user, query).select_related("point__region", "point__enterprise", "owner")
    shown = Paginator(found, ROWS).get_page(request.GET.get("page"))
    context = {
        "query": query, "page": shown, "rows": _rows(shown.object_list, now), "total": shown.paginator.count,
        "levels": {key: _(word) for key, word in LEVELS.items()}, "now": now,
        "rules": {key: _(word) for key, word in RULES.items()},
        "states": [(key, _(word)) for key, word in Finding.STATES], "regions": regions(request.user),
    }  # fmt: skip
    return render(request, "inbox/inbox.html", context | (detail(request, chosen, query, now) if chosen else {}))


def regions(user: User) -> Any:
    """The regions a filter offers: those below the person's own."""
    below = Region.objects.exclude(parent=None)
    return below.filter(path__startswith=user.region.path) if user.region else below


def _chosen(request: HttpRequest) -> Finding | None:
    number = request.GET.get("finding", "")
    if not number.isdigit():
        return None
    everything = rights.visible_findings(request.user).select_related("point__region", "point__enterprise", "owner")
    return get_object_or_404(everything, pk=int(number))


def _rows(found: Any, now: float) -> list[dict[str, Any]]:
    """Each finding with its look and, where it has become a case, the case's clock."""
    rows = list(found)
    in_case = [finding.pk for finding in rows if finding.state == "case"]
    held = Case.objects.filter(findings__in=in_case, closed_at=None).prefetch_related("findings")
    running = clocks.clocks(held, now)
    of = {finding.pk: case for case in held for finding in case.findings.all()}
    return [
        {
            "finding": finding, "look": LOOKS.get(finding.level, ""), "level": _(LEVELS.get(finding.level, "")),
            "muted": finding.muted_until is not None and finding.muted_until.timestamp() > now,
            "case": of.get(finding.pk), "clock": running[of[finding.pk].pk] if finding.pk in of else None,
        }
        for finding in rows
    ]  # fmt: skip


def detail(request: HttpRequest, finding: Finding, query: Query, now: float) -> dict[str, Any]:
    """What the detail panel shows: evidence, rule text, history, actions with the reason where one is barred."""
    user = request.user
    may, case = rights.can(user, "handle", finding), finding.cases.order_by("-opened_at").first()
    return {
        "finding": finding, "evidence": evidence(finding), "case": case, "may": may, "back": query.string(), "now": now,
        "case_clock": clocks.clock(case, now) if case else None,
        "events": [(event, _event_word(event)) for event in finding.events.select_related("who")],
        "open": finding.state in ("open", "claimed"), "procedure": procedures.for_rule(finding.rule),
        "people": [one for one in handlers(finding.point.region) if one.pk != user.pk] if may else [],
        "mute_until": datetime.fromtimestamp(now, BEIJING) + timedelta(days=1),
        "level": _(LEVELS.get(finding.level, "")), "look": LOOKS.get(finding.level, ""),
    }  # fmt: skip


def _event_word(event: FindingEvent) -> str:
    zh, en = findings.EVENTS.get(event.action, (event.action, event.action))
    return en if get_language() == "en" else zh


def handlers(region: Region) -> list[User]:
    """Whom an alarm can be handed to."""
    roles = sorted(role for right in rights.RIGHTS if right.action == "handle" for role in right.roles)
    return [person for role in roles for person in rights.officers(region, role)]


@require_POST
def act(request: HttpRequest, number: int, action: str) -> HttpResponse:
    """Do one thing with a finding; afterwards the same list with the same finding."""
    finding = get_object_or_404(rights.visible_findings(request.user), pk=number)
    rights.require(request.user, "open_case" if action == "case" else "handle", finding)
    back = QueryDict(request.POST.get("back", ""), mutable=True)
    back["finding"] = str(number)
    try:
        said = ACTIONS[action](finding, request.user, request.POST, clock.now())
    except KeyError:
        messages.error(request, _("没有这个操作。"))
    except (findings.FindingError, engine.RefusedError) as refused:
        messages.error(request, str(refused))
    else:
        if isinstance(said, HttpResponse):
            return said
        messages.success(request, said)
    return redirect(f"{reverse('inbox')}?{back.urlencode()}")


def _claim(finding: Finding, user: User, given: QueryDict, now: float) -> str:
    findings.claim(finding, user, given.get("text", ""), now)
    return _("已认领，由您办理。")


def _note(finding: Finding, user: User, given: QueryDict, now: float) -> str:
    findings.note(finding, user, given.get("text", ""), now)
    return _("备注已记下。")


def _hand_over(finding: Finding, user: User, given: QueryDict, now: float) -> str:
    to = next((one for one in handlers(finding.point.region) if str(one.pk) == given.get("to")), None)
    if to is None:
        raise findings.FindingError(_("请选择辖区覆盖该点位的办理人"))
    findings.hand_over(finding, user, given.get("text", ""), now, to=to)
    return _("已转办给 %(who)s。") % {"who": to}


def _dismiss(finding: Finding, user: User, given: QueryDict, now: float) -> str:
    findings.dismiss(finding, user, given.get("text", ""), now)
    return _("已作为误报排除。")


def _mute(finding: Finding, user: User, given: QueryDict, now: float) -> str:
    try:
        until = datetime.fromisoformat(given.get("until", "")).replace(tzinfo=BEIJING)
    except ValueError:
        raise findings.FindingError(_("请选择屏蔽到什么时间")) from None
    findings.mute(finding, user, given.get("text", ""), now, until=until)
    return _("已屏蔽；期间继续记次数，不再发通知。")


def _case(finding: Finding, user: User, given: QueryDict, now: float) -> HttpResponse:
    case = engine.open_from(finding, user, given.get("text", ""), now)
    return redirect("case", case.number)


ACTIONS: dict[str, Callable[[Finding, User, QueryDict, float], str | HttpResponse]] = {
    "claim": _claim,
    "note": _note,
    "hand_over": _hand_over,
    "dismiss": _dismiss,
    "mute": _mute,
    "case": _case,
}

urls = [
    path("inbox/", page, name="inbox"),
    path("inbox/<int:number>/<str:action>/", act, name="finding-act"),
]
