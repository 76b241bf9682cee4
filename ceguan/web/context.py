"""What the frame of every page shows: rail, region, time, inbox counter, person, language."""

from __future__ import annotations

from typing import NamedTuple

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import get_language, gettext, gettext_noop

import ceguan
from ceguan import clock
from ceguan.registry import rights
from ceguan.registry.label import label, name
from ceguan.registry.models import User
from ceguan.words import ROLES, Role


class Place(NamedTuple):
    """An entry of the left rail: name of its URL, icon, word, and the roles that see it."""

    name: str
    icon: str
    word: str
    roles: frozenset[str]


OFFICE = frozenset({Role.DUTY, Role.ANALYST, Role.ENFORCEMENT, Role.LEADER, Role.ADMIN})
EVERYONE = OFFICE | {Role.ENTERPRISE}
RAIL = (
    Place("work", "work", gettext_noop("我的工作"), EVERYONE),
    Place("inbox", "inbox", gettext_noop("报警"), OFFICE),
    Place("map", "map", gettext_noop("一张图"), EVERYONE),
    Place("points", "points", gettext_noop("点位"), EVERYONE),
    Place("cases", "cases", gettext_noop("案件"), EVERYONE),
    Place("intake", "intake", gettext_noop("接入"), frozenset({Role.DUTY, Role.ANALYST, Role.ADMIN})),
    Place("periods", "settings", gettext_noop("期限"), frozenset({Role.LEADER, Role.ADMIN})),
    Place("standards", "law", gettext_noop("标准"), EVERYONE),
    Place("public", "public", gettext_noop("公众页"), EVERYONE),
    Place("help", "help", gettext_noop("帮助"), EVERYONE),
)


def frame(request: HttpRequest) -> dict:
    """Template context `site`, made only when a template asks for it."""
    return {"site": SimpleLazyObject(lambda: _site(request))}


def _site(request: HttpRequest) -> dict:
    user = getattr(request, "user", None)
    values = settings.CEGUAN
    site = {
        "platform": values.platform_name,
        "bureau": values.bureau_name,
        "demo": values.demo,
        "version": ceguan.__version__,
        "lockout_minutes": values.lockout_minutes,
        "now": clock.now(),
        "language": get_language(),
        "other_language": _other_language(),
        "q": request.GET.get("q", "") if request.path.startswith("/search") else "",
    }
    if user is not None and user.is_authenticated:
        site |= {
            "rail": _rail(request), "place": _place(user), "role": label(ROLES[user.role]), "inbox": _inbox(user)
        }  # fmt: skip
    return site


def _rail(request: HttpRequest) -> list[dict]:
    """The places this role sees; the longest address that begins the current one is `here`."""
    places = [(place, reverse(place.name)) for place in RAIL if request.user.role in place.roles]
    here = max((url for _, url in places if request.path.startswith(url)), key=len, default="")
    return [
        {"url": url, "icon": place.icon, "label": gettext(place.word), "here": url == here} for place, url in places
    ]


def _place(user: User) -> str:
    """The enterprise or the region the person is bound to."""
    bound = user.enterprise or user.region
    return name(bound) if bound else gettext("全部辖区")


def _inbox(user: User) -> int | None:
    """How many findings nobody has claimed; None for roles without an inbox."""
    return rights.visible_findings(user).filter(state="open").count() if user.role in OFFICE else None


def _other_language() -> dict:
    return {"code": "zh-hans", "name": "中文"} if get_language() == "en" else {"code": "en", "name": "English"}
