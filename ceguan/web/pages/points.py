"""The list of points: the same address as the map, sortable, in pages."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from ceguan import clock
from ceguan.web import objects
from ceguan.web.pages import map as map_page

SORTS = {
    "name": lambda one: one.name,
    "code": lambda one: one.code,
    "kind": lambda one: one.kind,
    "region": lambda one: one.region,
    "status": lambda one: one.status,
    "verdict": lambda one: one.grade.rank,
    "packet": lambda one: one.last_packet or 0,
    "findings": lambda one: one.findings,
}


def page(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    query = objects.Query.read(request.GET)
    found = objects.find(request.user, query, now)
    context: dict[str, Any] = {
        "query": query,
        "total": len(found),
        "counts": objects.counts(found),
        "page": map_page.paged(request, arranged(found, request.GET.get("sort", ""))),
        "now": now,
    }
    return render(request, "point/points.html", context | map_page.choices(request, now))


def arranged(found: list[objects.Found], sort: str) -> list[objects.Found]:
    """Sorted by one of SORTS, "-" before it for the other way round; an unknown name leaves the order by code."""
    key = SORTS.get(sort.lstrip("-"))
    return sorted(found, key=key, reverse=sort.startswith("-")) if key else found


urls = [path("points/", page, name="points")]
