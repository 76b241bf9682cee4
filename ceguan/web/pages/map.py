"""一张图: the map and the list beside it obey one address."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import path
from django.views.decorators.cache import cache_control

from ceguan import clock
from ceguan.registry import rights
from ceguan.registry.label import name
from ceguan.registry.models import MapFeature, Region
from ceguan.web import objects
from ceguan.web.map import layers
from ceguan.web.pages import point as point_page
from ceguan.words import POINT_KINDS, STATUSES, beijing

ROWS = 100
"""Rows the list shows at once; the map shows all."""


def page(request: HttpRequest) -> HttpResponse:
    """Page, or only the results for htmx; the answer names the clean address for history."""
    now = clock.now()
    query = objects.Query.read(request.GET)
    found = objects.find(request.user, query, now)
    context: dict[str, Any] = {
        "query": query, "found": found[:ROWS], "total": len(found), "objects": objects.columns(found),
        "more": f"?{query.string()}", "counts": objects.counts(found), "now": now,
    }  # fmt: skip
    if request.headers.get("HX-Request"):
        answer = render(request, "map/_results.html", context)
        answer["HX-Push-Url"] = f"{request.path}?{query.string()}".rstrip("?")
        return answer
    return render(request, "map/map.html", context | choices(request, now) | _drawer(request, now))


def choices(request: HttpRequest, now: float) -> dict[str, Any]:
    """What the filters offer: kinds, statuses, regions within the person's rights, grades by kind."""
    regions = Region.objects.exclude(parent=None)
    if request.user.region_id:
        regions = regions.filter(path__startswith=request.user.region.path)
    table = layers.layers(beijing(now).date())
    return {"kinds": POINT_KINDS, "statuses": STATUSES, "regions": regions, "layers": table, "no_grade": layers.NONE}


def _drawer(request: HttpRequest, now: float) -> dict[str, Any]:
    """The object card that a shared address has open."""
    code = request.GET.get("at", "")
    point = rights.visible_points(request.user).filter(code=code).first() if code else None
    return {"card": point_page.card_context(request.user, point, now)} if point else {}


def card(request: HttpRequest, code: str) -> HttpResponse:
    point = get_object_or_404(rights.visible_points(request.user), code=code)
    return render(request, "map/_card.html", {"card": point_page.card_context(request.user, point, clock.now())})


@cache_control(private=True, max_age=600)
def base(request: HttpRequest) -> JsonResponse:
    """District lines, rivers, roads: the geometry under the points."""
    regions = [
        {"type": "Feature", "geometry": region.geometry, "properties": {"name": name(region), "fill": number % 5 + 1}}
        for number, region in enumerate(Region.objects.exclude(geometry=None).filter(children=None))
    ]
    features = [
        {
            "type": "Feature",
            "geometry": feature.geometry,
            "properties": {"kind": feature.kind, "name": name(feature), "width": feature.properties.get("width", 1)},
        }
        for feature in MapFeature.objects.all()
    ]
    return JsonResponse({"regions": _collection(regions), "features": _collection(features)})


def _collection(features: list[dict]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features}


def paged(request: HttpRequest, found: list, rows: int = ROWS) -> Any:
    return Paginator(found, rows).get_page(request.GET.get("page"))


urls = [
    path("map/", page, name="map"),
    path("map/base.json", base, name="map-base"),
    path("map/<str:code>/card/", card, name="card"),
]
