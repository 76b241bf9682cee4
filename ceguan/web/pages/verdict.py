"""这个数从哪里来: figure → verdict and clause → readings with their versions → flags and decisions → raw frame."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import path

from ceguan.registry import rights
from ceguan.registry.label import label
from ceguan.registry.models import Point, Series, User
from ceguan.web import series
from ceguan.web.pages.point import verdict_words
from ceguan.web.pages.standards import citations
from ceguan.web.store import store
from ceguan.words import FrameRef, Kind

READINGS = 200
"""A verdict of a day may rest on thousands of minutes; the page shows the first of them and how many there are."""


def verdict(request: HttpRequest, number: int) -> HttpResponse:
    """A verdict with every version of it side by side and the readings each rests on."""
    found = store().verdict(number)
    if found is None:
        raise Http404
    point = _visible(request.user, pk=found["point"])
    versions = store().verdicts(point.id, found["rule"], found["ts"], found["ts"] + 1, all_versions=True).to_pylist()
    shown = [verdict_words(point, row) for row in reversed(versions)]
    inputs = [tuple(key) for key in found["inputs"]]
    context: dict[str, Any] = {
        "point": point,
        "verdict": verdict_words(point, found),
        "edition": citations(found["edition"]),
        "clauses": citations(found["clause"]),
        "versions": shown,
        "changed": _changed(versions) if len(versions) > 1 else [],
        "readings": used(point, inputs[:READINGS]),
        "inputs": len(inputs),
    }
    return render(request, "verdict/verdict.html", context)


def _visible(user: User, **key: Any) -> Point:
    return get_object_or_404(rights.visible_points(user).select_related("region", "enterprise"), **key)


def _changed(versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Readings whose version differs between the two newest versions of a verdict: (series, kind, ts) → old, new."""
    old, new = ({tuple(k[:3]): k[3] for k in orjson.loads(v["inputs"])} for v in versions[-2:])
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))[:READINGS]
    names = {one.id: one for one in Series.objects.filter(id__in={key[0] for key in keys})}
    wanted = [(*key, ver) for side in (old, new) for key in keys if (ver := side.get(key)) is not None]
    values = {(r["series"], r["kind"], r["ts"], r["ver"]): r for r in store().exact(wanted).to_pylist()}
    return [
        {
            "series": names.get(key[0]), "ts": key[2], "kind_word": label(series.KINDS[Kind(key[1])]),
            "before": values.get((*key, old.get(key))), "after": values.get((*key, new.get(key))),
            "href": series.reading_url(*key),
        }
        for key in keys
    ]  # fmt: skip


def used(point: Point, inputs: list[tuple[int, ...]]) -> list[dict[str, Any]]:
    """Exactly these reading versions, each with the newer version if there is one, its flags, decision and frame."""
    if not inputs:
        return []
    names = {one.id: one for one in point.series.all()}
    found = sorted(store().exact(inputs).to_pylist(), key=lambda r: (names[r["series"]].order, r["series"], r["ts"]))
    layers = _layers(inputs)
    return [_used(row, names[row["series"]], layers) for row in found]


def _layers(inputs: list[tuple[int, ...]]) -> dict[tuple[int, int, int], dict[str, Any]]:
    """What lies over each reading: value in force, newest version, flags, decision."""
    door, found = store(), {}
    for kind in {key[1] for key in inputs}:
        mine = [key for key in inputs if key[1] == kind]
        ids, start, end = {key[0] for key in mine}, min(key[2] for key in mine), max(key[2] for key in mine) + 1
        flags: dict[tuple[int, int], list[dict]] = {}
        for flag in door.flags(list(ids), kind, start, end).to_pylist():
            flags.setdefault((flag["series"], flag["ts"]), []).append(series.flag_words(flag))
        for row in door.readings(list(ids), kind, start, end).to_pylist():
            found[row["series"], kind, row["ts"]] = {**row, "flags": flags.get((row["series"], row["ts"]), [])}
    return found


def _used(row: dict[str, Any], one: Series, layers: dict[tuple[int, int, int], dict[str, Any]]) -> dict[str, Any]:
    force = layers.get((row["series"], row["kind"], row["ts"]), {})
    return {
        **row,
        "one": one,
        "kind_word": label(series.KINDS[Kind(row["kind"])]),
        "flag_word": series.device_flag(row["flag"]),
        "newer": force.get("ver", row["ver"]) if force.get("ver", row["ver"]) > row["ver"] else None,
        "in_force": force.get("value_in_force"),
        "action_word": label(series.ACTIONS[force["action"]]) if force.get("action") else "",
        "flags": force.get("flags", []),
        "ref": str(FrameRef.unpack(row["frame"])),
        "href": series.reading_url(row["series"], row["kind"], row["ts"]),
    }


def reading(request: HttpRequest, number: int, kind: str, ts: int) -> HttpResponse:
    """One reading: all versions with their frames, flags with test and parameters, decisions, verdicts that used it."""
    if kind.upper() not in Kind.__members__:
        raise Http404
    what, one = Kind[kind.upper()], get_object_or_404(Series, pk=number)
    point = _visible(request.user, pk=one.point_id)
    door = store()
    versions = door.readings([one.id], what, ts, ts + 1, versions="all").to_pylist()
    if not versions:
        raise Http404
    context: dict[str, Any] = {
        "point": point,
        "one": one,
        "ts": ts,
        "kind_word": label(series.KINDS[what]),
        "force": door.readings([one.id], what, ts, ts + 1).to_pylist()[0],
        "versions": [
            {**row, "ref": str(FrameRef.unpack(row["frame"])), "flag_word": series.device_flag(row["flag"])}
            for row in versions
        ],
        "flags": [series.flag_words(f) for f in door.flags([one.id], what, ts, ts + 1, versions="all").to_pylist()],
        "runs": [
            series.flag_words(run | {"outcome": 1}) for run in door.quality_runs([one.id], what, ts, ts + 1).to_pylist()
        ],
        "decisions": [
            {**row, "word": label(series.ACTIONS[row["action"]]), "ref": str(FrameRef.unpack(row["frame"]))}
            for row in door.decisions([one.id], what, ts, ts + 1).to_pylist()
        ],
        "verdicts": _resting(point, one.id, what, ts),
    }
    return render(request, "verdict/reading.html", context)


def _resting(point: Point, number: int, kind: Kind, ts: int) -> list[dict[str, Any]]:
    """Verdicts in force whose inputs name this reading."""
    near = store().verdicts(point.id, None, ts - 86400, ts + 1).to_pylist()
    key = [number, int(kind), ts]
    return [verdict_words(point, row) for row in near if any(k[:3] == key for k in orjson.loads(row["inputs"]))]


urls = [
    path("verdicts/<int:number>/", verdict, name="verdict"),
    path("readings/<int:number>/<str:kind>/<int:ts>/", reading, name="reading"),
]
