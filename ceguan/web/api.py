"""The JSON door: the same questions, the same rights, the same answers as the pages. OpenAPI at /api/openapi.json."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, URLResolver, path
from ninja import NinjaAPI, Schema
from ninja import Query as Parameter
from ninja.errors import HttpError
from ninja.renderers import BaseRenderer
from ninja.security import django_auth

import ceguan
from ceguan import clock
from ceguan.intake.models import Command
from ceguan.registry import rights
from ceguan.registry.label import label, name
from ceguan.registry.models import Point, Series
from ceguan.watch.models import Finding
from ceguan.web import aggregates, objects, public_air, series
from ceguan.web.pages import export
from ceguan.web.pages.point import latest, verdict_words, visible
from ceguan.web.store import store
from ceguan.words import BEIJING, FrameRef, Kind, Period, beijing

MOST = 10_000
"""Readings in one answer; `next` leads on."""


class Renderer(BaseRenderer):
    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


api = NinjaAPI(
    title="测管 Ceguan",
    version=ceguan.__version__,
    description="时间一律为带时区的 ISO 8601（北京时间）；读数的时间是区间的开始。权限与页面相同。",
    auth=django_auth,
    renderer=Renderer(),
    docs_url=None,
)


class Page(Schema):
    total: int
    items: list[dict[str, Any]]


class Aggregates(Schema):
    point: str
    factor: str
    name: str
    unit: str
    kind: str
    period: str
    items: list[dict[str, Any]]


class Readings(Schema):
    point: str
    factor: str
    name: str
    unit: str
    kind: str
    completeness: float | None
    items: list[dict[str, Any]]
    next: str | None


def _time(ts: float | None) -> str | None:
    return None if ts is None or ts != ts else beijing(ts).isoformat(timespec="seconds")


def _moment(text: str, word: str) -> float:
    """UTC epoch seconds of an ISO date or time; without a zone it is Beijing time."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise HttpError(422, f"{word} 应为 ISO 8601，例如 2026-03-01T14:00:00+08:00，得到 {text!r}") from None
    return (when if when.tzinfo else when.replace(tzinfo=BEIJING)).timestamp()


def _then(as_of: str) -> float | None:
    """The moment whose knowledge is asked for; None = now."""
    return _moment(as_of, "as_of") if as_of else None


def _kind(text: str) -> Kind:
    if text.upper() not in Kind.__members__:
        raise HttpError(422, f"kind 应为 {', '.join(kind.name.lower() for kind in Kind)} 之一，得到 {text!r}")
    return Kind[text.upper()]


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else value


@api.get("/points", response=Page, summary="点位列表", tags=["points"])
def points(
    request: HttpRequest, kind: str = "", region: str = "", status: str = "", verdict: str = "", q: str = "",
    bbox: str = "", limit: int = 1000, offset: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Points within your rights; `bbox` is west,south,east,north."""
    found = objects.find(request.user, objects.Query.read(request.GET), clock.now())
    part = found[max(0, offset) : max(0, offset) + min(max(1, limit), 5000)]
    return {"total": len(found), "items": [_point(one) for one in part]}


def _point(one: objects.Found) -> dict[str, Any]:
    return {
        "code": one.code, "name": one.name, "kind": one.kind, "region": one.region, "enterprise": one.enterprise,
        "lon": one.lon, "lat": one.lat, "status": one.status, "why": one.why, "last_packet": _time(one.last_packet),
        "grade": one.grade.key, "verdict": one.verdict, "verdict_time": _time(one.at), "sentence": one.sentence,
        "open_findings": one.findings,
    }  # fmt: skip


@api.get("/map", response=dict[str, Any], summary="地图上的点位，按列", tags=["points"])
def map_payload(
    request: HttpRequest,
    kind: str = "",
    region: str = "",
    status: str = "",
    verdict: str = "",
    q: str = "",
    bbox: str = "",
) -> dict[str, Any]:
    """The columns the map draws; the same filters as /points."""
    return objects.columns(objects.find(request.user, objects.Query.read(request.GET), clock.now()))


@api.get("/points/{code}", response=dict[str, Any], summary="一个点位", tags=["points"])
def point(request: HttpRequest, code: str) -> dict[str, Any]:
    """Registration, factors with units, newest values."""
    found, now = visible(request.user, code), clock.now()
    chosen = list(found.series.all())
    return {
        "code": found.code, "name": name(found), "kind": found.kind, "region": found.region_id,
        "enterprise": found.enterprise.code if found.enterprise else None, "lon": found.lon, "lat": found.lat,
        "live_from": found.live_from, "closed_on": found.closed_on, "properties": found.properties,
        "factors": [_latest(one) for one in latest(found, chosen, now)],
    }  # fmt: skip


def _latest(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "factor": one["series"].factor, "name": name(one["series"]), "unit": one["series"].unit,
        "series": one["series"].id, "value": one["value"], "time": _time(one["at"]), "review_state": one["state"],
    }  # fmt: skip


@api.get("/points/{code}/series", response=dict[str, Any], summary="曲线数据（抽稀）", tags=["readings"])
def chart(
    request: HttpRequest, code: str, factor: str, kind: str = "hour", span: str = "7d", end: str = ""
) -> dict[str, Any]:
    """What the chart draws: at most 1500 rows that keep extremes and gaps, with flags, decisions, gaps and limits;
    of spans of a year and more the mean, lowest and highest of each day."""
    found = visible(request.user, code)
    now = clock.now()
    return series.chart(series.track(found, _series(found, factor), series.Window.read(request.GET, now), now))


def _series(found: Point, factor: str) -> Series:
    return get_object_or_404(found.series, factor=factor)


@api.get("/points/{code}/readings", response=Readings, summary="读数，全部版本或现行", tags=["readings"])
def readings(
    request: HttpRequest, code: str, factor: str, start: str, end: str, kind: str = "hour",
    versions: Literal["force", "all"] = "force", limit: int = MOST, as_of: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Readings with start <= time < end; follow `next` (a time to use as `start`) until it is null. `as_of`: as they
    were known at that moment; `completeness` is that of today, so it is null then."""
    found, what = visible(request.user, code), _kind(kind)
    rights.require(request.user, "export", found)
    one, begin, until = _series(found, factor), _moment(start, "start"), _moment(end, "end")
    rows = store().readings([one.id], what, begin, until, as_of=_then(as_of), versions=versions).to_pylist()
    most = min(max(1, limit), MOST)
    part, rest = _whole_times(rows, most)
    return {
        "point": code, "factor": factor, "name": name(one), "unit": one.unit, "kind": kind,
        "completeness": None if as_of else _completeness(found, one, what, begin, until),
        "items": [_reading(row) for row in part],
        "next": _time(rest["ts"]) if rest else None,
    }  # fmt: skip


@api.get("/points/{code}/aggregates", response=Aggregates, summary="小时、日、月统计", tags=["readings"])
def aggregated(
    request: HttpRequest, code: str, factor: str, start: str, end: str, kind: str = "hour", period: str = "day",
    as_of: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Hours, Beijing days or months that begin in [start, end), of the readings in force: counts, mean, extremes, first
    and last, state of review. They describe; the means a standard judges by are verdicts. `expected` and `completeness`
    are null where no interval is known."""
    found, what, chosen = visible(request.user, code), _kind(kind), _period(period, kind)
    rights.require(request.user, "export", found)
    one, begin, until = _series(found, factor), _moment(start, "start"), _moment(end, "end")
    rows = aggregates.rows(found, one, what, chosen, begin, until, clock.now(), _then(as_of))
    return {
        "point": code, "factor": factor, "name": name(one), "unit": one.unit, "kind": kind, "period": period,
        "items": [_aggregate(row) for row in rows],
    }  # fmt: skip


def _period(text: str, kind: str) -> Period:
    try:
        return aggregates.period(text, _kind(kind))
    except ValueError as error:
        raise HttpError(422, str(error)) from None


def _aggregate(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": _time(row["ts"]), "present": row["present"], "expected": row["expected"], "valid": row["valid"],
        "completeness": row["completeness"], "decided": row["decided"], "review_state": row["reviewed"],
        "mean": _number(row["mean"]), "min": _number(row["min"]), "max": _number(row["max"]),
        "first": _number(row["first"]), "last": _number(row["last"]), "converted_mean": _number(row["zs_mean"]),
        "total": _number(row["cou"]),
    }  # fmt: skip


def _whole_times(rows: list[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """At most `most` rows, and the first left out; versions of one time stay together."""
    if len(rows) <= most:
        return rows, None
    cut = most
    while cut > 1 and rows[cut]["ts"] == rows[cut - 1]["ts"]:
        cut -= 1
    return rows[:cut], rows[cut]


def _completeness(found: Point, one: Series, kind: Kind, start: float, end: float) -> float | None:
    window = series.Window(kind, "", "", int(start), int(end))
    now = clock.now()
    return series.completeness(series.track(found, one, window, now), now)


def _reading(row: dict[str, Any]) -> dict[str, Any]:
    told = {
        "time": _time(row["ts"]), "version": row["ver"], "value": _number(row["value"]),
        "converted": _number(row["zs"]), "min": _number(row["vmin"]), "max": _number(row["vmax"]),
        "total": _number(row["cou"]), "device_flag": row["flag"],
        "received": _time(row["recv"]), "frame": str(FrameRef.unpack(row["frame"])),
    }  # fmt: skip
    if "decision" in row:
        told |= {
            "value_in_force": _number(row["value_in_force"]), "converted_in_force": _number(row["zs_in_force"]),
            "decision": row["decision"] or None, "action": row["action"],
            "review_state": "reviewed" if row["decision"] else "realtime",
        }  # fmt: skip
    return told


@api.get("/export/{what}.{form}", response={200: None}, summary="导出，不限行数", tags=["readings"])
def taken_away(
    request: HttpRequest, what: Literal["readings", "aggregates", "verdicts", "gaps", "frames"],
    form: Literal["csv", "xlsx", "parquet"], since: Annotated[str, Parameter(alias="from")], to: str,
    points: str = "", data: str = "hour", factor: str = "", as_of: str = "", period: str = "day",
) -> HttpResponseBase:  # fmt: skip
    """A file of `points` (codes, comma-separated; empty: as `kind`, `region` … of /points leave) from the day `from`
    to the day `to`, both included, or between two ISO times; `data` is rt, minute, hour or day,
    `period` of aggregates hour, day or month."""
    return export.download(request, what, form)


@api.get("/points/{code}/verdicts", response=Page, summary="一个点位的裁定", tags=["verdicts"])
def verdicts(
    request: HttpRequest, code: str, start: str, end: str, rule: str = "", all_versions: bool = False, as_of: str = ""
) -> dict[str, Any]:
    """Verdicts whose interval begins in [start, end); the versions in force, or all. `as_of`: made by that moment."""
    found = visible(request.user, code)
    rows = store().verdicts(
        found.id, rule or None, _moment(start, "start"), _moment(end, "end"), as_of=_then(as_of),
        all_versions=all_versions,
    ).to_pylist()  # fmt: skip
    return {"total": len(rows), "items": [_verdict(found, row) for row in rows[:MOST]]}


@api.get("/verdicts/{number}", response=dict[str, Any], summary="一个裁定及其依据", tags=["verdicts"])
def verdict(request: HttpRequest, number: int) -> dict[str, Any]:
    row = store().verdict(number)
    if row is None:
        raise Http404
    found = get_object_or_404(rights.visible_points(request.user), pk=row["point"])
    used = [dict(zip(("series", "kind", "ts", "version"), key, strict=True)) for key in row["inputs"]]
    return _verdict(found, row) | {"inputs": [key | {"time": _time(key["ts"])} for key in used]}


def _verdict(found: Point, row: dict[str, Any]) -> dict[str, Any]:
    told = verdict_words(found, row)
    return {
        "id": row["id"], "point": found.code, "rule": row["rule"], "time": _time(row["ts"]), "version": row["ver"],
        "outcome": row["outcome"], "value": _number(row["value"]), "level": row["level"], "edition": row["edition"],
        "clause": row["clause"], "sentence": told["sentence"], "detail": told["detail"],
        "made_at": _time(row["made_at"]),
    }  # fmt: skip


@api.get("/findings", response=Page, summary="发现（报警）", tags=["findings"])
def findings(request: HttpRequest, state: str = "open", limit: int = 500, offset: int = 0) -> dict[str, Any]:
    """`state`: open (whatever is not closed), unclaimed, claimed, case, ended or dismissed."""
    states = {"open": Finding.OPEN_STATES, "unclaimed": ("open",)}.get(state, (state,))
    found = rights.visible_findings(request.user).filter(state__in=states).select_related("point")
    part = found[max(0, offset) : max(0, offset) + min(max(1, limit), 1000)]
    return {"total": found.count(), "items": [_finding(one) for one in part]}


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "id": one.id, "point": one.point.code, "rule": one.rule, "level": one.level, "state": one.state,
        "title": one.title_zh, "title_en": one.title_en, "first": _time(one.first_at.timestamp()),
        "last": _time(one.last_at.timestamp()), "count": one.count, "verdicts": one.verdicts,
    }  # fmt: skip


@api.get("/cases", response=Page, summary="案件", tags=["cases"])
def cases(request: HttpRequest, state: str = "", limit: int = 500, offset: int = 0) -> dict[str, Any]:
    found = rights.visible_cases(request.user).select_related("point")
    found = found.filter(state=state) if state else found
    part = found[max(0, offset) : max(0, offset) + min(max(1, limit), 1000)]
    return {"total": found.count(), "items": [_case(one) for one in part]}


def _case(one: Any) -> dict[str, Any]:
    return {
        "number": one.number, "title": one.title, "procedure": one.procedure, "state": one.state,
        "point": one.point.code, "opened": _time(one.opened_at.timestamp()),
        "due": _time(one.due_at.timestamp()) if one.due_at else None,
        "closed": _time(one.closed_at.timestamp()) if one.closed_at else None,
    }  # fmt: skip


@api.get("/commands", response=Page, summary="向设备下发的命令", tags=["devices"])
def commands(request: HttpRequest, mn: str = "", state: str = "", limit: int = 100, offset: int = 0) -> dict[str, Any]:
    """Commands to devices, the newest first, without passwords and keys; `mn` and `state` narrow the list."""
    rights.require(request.user, "intake")
    found = Command.objects.filter(device__point__in=rights.visible_points(request.user))
    found = found.filter(**{name: value for name, value in (("device__mn", mn), ("state", state)) if value})
    part = found.select_related("device", "who")[max(0, offset) : max(0, offset) + min(max(1, limit), 1000)]
    return {"total": found.count(), "items": [_command(one) for one in part]}


def _command(one: Command) -> dict[str, Any]:
    return {
        "id": one.pk, "mn": one.device.mn, "cn": one.cn, "params": one.params, "state": one.state, "qn": one.qn,
        "who": one.who.username if one.who else None, "why": one.why, "attempts": one.attempts,
        "result_code": one.result_code, "result": label(one.result), "answer": one.answer, "frames": one.frames,
        "created": _time(one.created.timestamp()), "changed": _time(one.changed.timestamp()),
        "expires": _time(one.expires.timestamp()),
    }  # fmt: skip


@api.get("/public/aqi", response=dict[str, Any], auth=None, summary="实时空气质量（不用登录）", tags=["public"])
def public_aqi(request: HttpRequest) -> dict[str, Any]:
    """AQI of the city and its stations, this hour and the 23 before. Real-time data, not reviewed."""
    board = public_air.board(clock.now())
    return {
        "hour_end": _time(board.hour + public_air.HOUR) if board.hour is not None else None,
        "review_state": "realtime",
        "units": public_air.UNITS,
        "city": _place(board.city) if board.city else None,
        "stations": [_place(place) for place in board.stations],
    }


def _place(place: public_air.Place) -> dict[str, Any]:
    words = place.words
    return {
        "code": place.code, "name": place.name, "lon": round(place.lon, 5), "lat": round(place.lat, 5),
        **_hour(place.now), "class": public_air.class_name(words) if words else None,
        "colour": words.rgb if words else None, "advice": public_air.advice(words) if words else None,
        "sensitive": [{"pollutant": name, "who": who} for name, who in public_air.sensitive(place.now)],
        "hours": [_hour(hour) for hour in place.hours],
    }  # fmt: skip


def _hour(hour: public_air.Hour) -> dict[str, Any]:
    return {
        "hour_end": _time(hour.ts + public_air.HOUR), "aqi": hour.aqi, "level": hour.level or None,
        "primary": list(hour.primary), "values": dict(hour.values), "edition": hour.edition, "reason": hour.reason,
    }  # fmt: skip


@api.exception_handler(rights.Forbidden)
def _forbidden(request: HttpRequest, error: rights.Forbidden) -> HttpResponse:
    return api.create_response(request, {"detail": str(error)}, status=403)


@login_not_required
def docs(request: HttpRequest) -> HttpResponse:
    """The API described in words, printed from its own OpenAPI document."""
    document = api.get_openapi_schema()
    operations = [
        {"path": address, "verb": verb.upper(), **operation}
        for address, verbs in document["paths"].items()
        for verb, operation in verbs.items()
    ]
    return render(request, "help/api.html", {"operations": operations, "words": label})


def urls() -> list[URLPattern | URLResolver]:
    """The API's addresses; it does its own signing in (401 as JSON), so the pages' redirect leaves it alone."""
    patterns, app, namespace = api.urls
    for pattern in patterns:
        pattern.callback.login_required = False
    return [path("api/docs", docs, name="api-docs"), path("api/", (patterns, app, namespace))]
