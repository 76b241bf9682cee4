"""The public page: air quality now, without sign-in and without script."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from ceguan import clock
from ceguan.web import public_air
from ceguan.web.map import drawing, layers
from ceguan.words import beijing

TALL = 96
"""Height of the tallest hourly bar; bars share one scale, from 0 to at least 100."""


@login_not_required
def page(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    found = public_air.board(now)
    wanted = request.GET.get("station", "")
    chosen = next((place for place in found.stations if place.code == wanted), found.city)
    context: dict[str, Any] = {"now": now, "board": found, "chosen": chosen, "columns": public_air.COLUMNS}
    if chosen is not None and found.hour is not None:
        context |= _chosen(chosen, found, now)
    return render(request, "public/public.html", context)


def _chosen(chosen: public_air.Place, found: public_air.Board, now: float) -> dict[str, Any]:
    picture = drawing.Drawing((place.lon, place.lat) for place in found.stations)
    words = chosen.words
    return {
        "label_hour": (found.hour or 0) + public_air.HOUR,
        "age": max(0, int((now - (found.hour or 0) - public_air.HOUR) // 60)),
        "words": words,
        "class_name": public_air.class_name(words) if words else "",
        "colour": public_air.colour_name(words) if words else "",
        "advice": public_air.advice(words) if words else "",
        "sensitive": public_air.sensitive(chosen.now),
        "six": [
            (word, chosen.now.values.get(column), public_air.UNITS[column], int(column == "co_1h"))
            for column, word in public_air.COLUMNS.items()
        ],
        "bars": _bars(chosen.hours),
        "map": picture,
        "dots": [(place, picture.place(place.lon, place.lat)) for place in found.stations],
        "grades": layers.aqi_grades(beijing(found.hour or 0).date()),
        "cards": [(place, public_air.class_name(place.words) if place.words else "") for place in found.stations],
    }


def _bars(hours: tuple[public_air.Hour, ...]) -> list[dict[str, Any]]:
    """24 bars in a box 720 wide: the AQI as height and as figure, the class as colour."""
    full = max(100, *(hour.aqi or 0 for hour in hours))
    bars = []
    for place, hour in enumerate(hours):
        tall = max(4, round((hour.aqi or 0) / full * TALL))
        bars.append(
            {"x": place * 30 + 3, "middle": place * 30 + 15, "y": 20 + TALL - tall, "tall": tall, "hour": hour,
             "end": hour.ts + public_air.HOUR, "label": place % 3 == 2, "top": 16 + TALL - tall}
        )  # fmt: skip
    return bars


urls = [path("public/", page, name="public")]
