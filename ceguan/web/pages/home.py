"""The front door, search, help."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import path

from ceguan import settings as values
from ceguan.registry import rights
from ceguan.registry.models import User
from ceguan.web.pages import public

LONGEST = 20


@login_not_required
def home(request: HttpRequest) -> HttpResponse:
    """Visitors see the public page, people of the office their work."""
    return redirect("work") if request.user.is_authenticated else public.page(request)


def search(request: HttpRequest) -> HttpResponse:
    """Points, enterprises and cases within the person's rights whose name, code or number contains the words."""
    words = request.GET.get("q", "").strip()
    found = _find(request.user, words) if words else {}
    return render(request, "search.html", {"words": words, "found": found, "total": sum(map(len, found.values()))})


def _find(user: User, words: str) -> dict[str, list]:
    named = Q(name_zh__icontains=words) | Q(name_en__icontains=words) | Q(code__icontains=words)
    points = rights.visible_points(user).filter(named | Q(devices__mn__icontains=words)).distinct()
    cases = rights.visible_cases(user).filter(Q(number__icontains=words) | Q(title__icontains=words))
    return {
        "points": list(points.select_related("region", "enterprise")[:LONGEST]),
        "enterprises": list(rights.visible_enterprises(user).filter(named).prefetch_related("outlets")[:LONGEST]),
        "cases": list(cases[:LONGEST]),
    }


def inbox_count(request: HttpRequest) -> HttpResponse:
    """The number in the top bar, asked for once a minute."""
    return HttpResponse(rights.visible_findings(request.user).filter(state="open").count())


@login_not_required
def help_page(request: HttpRequest) -> HttpResponse:
    return render(request, "help/help.html", {"settings": values.SETTINGS})


@login_not_required
def icon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for this name whatever the page says."""
    return redirect(static("icon.svg"), permanent=True)


urls = [
    path("favicon.ico", icon, name="favicon"),
    path("", home, name="home"),
    path("search/", search, name="search"),
    path("inbox-count/", inbox_count, name="inbox-count"),
    path("help/", help_page, name="help"),
]
