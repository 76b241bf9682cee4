"""Points as lists and maps show them: one query (the address), one answer – for page, map, export and API alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple
from urllib.parse import urlencode

import orjson
from django.db.models import Count, Q
from django.utils.translation import get_language

from ceguan.registry import rights
from ceguan.registry.models import User
from ceguan.watch.models import Finding
from ceguan.web.map import layers
from ceguan.web.map.layers import Grade
from ceguan.web.store import store
from ceguan.words import POINT_KINDS, STATUSES, PointKind, Status, beijing


@dataclass(frozen=True, slots=True)
class Query:
    """What the address asks for; empty = everything. `bbox` is west,south,east,north in degrees."""

    kind: str = ""
    region: str = ""
    status: str = ""
    verdict: str = ""
    q: str = ""
    bbox: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Query:
        """The parts of an address that are ours; a value nobody knows is dropped rather than failing the page."""
        query = cls(**{field.name: given.get(field.name, "").strip()[:100] for field in fields(cls)})
        return cls(
            kind=query.kind if query.kind in list(PointKind) else "",
            region=query.region,
            status=query.status if query.status in list(Status) else "",
            verdict=query.verdict,
            q=query.q,
            bbox=query.bbox if _box(query.bbox) else "",
        )

    def string(self, **more: str) -> str:
        """The same as a query string without empty parts: what is shared and kept in history."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)} | more
        return urlencode({name: part for name, part in parts.items() if part}, safe=",")


class Found(NamedTuple):
    """A point as a list shows it."""

    id: int
    code: str
    name: str
    kind: str
    region: str
    enterprise: str
    lon: float
    lat: float
    status: str
    why: str
    last_packet: float | None
    grade: Grade
    verdict: int | None  # id of the verdict that gave the grade
    at: int | None  # when its interval began
    detail: str  # of the verdict, JSON; "" without one
    findings: int

    @property
    def sentence(self) -> str:
        return sentence(self.detail) if self.detail else ""


class Standing(NamedTuple):
    """The worst verdict of a point that still says something about now."""

    grade: Grade
    id: int
    ts: int
    value: float
    detail: str

    @property
    def sentence(self) -> str:
        return sentence(self.detail)


def find(user: User, query: Query, now: float) -> list[Found]:
    """Points within the person's rights that the query asks for, sorted by code."""
    rows = _rows(user, query)
    standing = standings(((row["id"], row["kind"]) for row in rows), now)
    counts = _findings(user)
    english = get_language() == "en"
    found = [_found(row, standing.get(row["id"]), counts.get(row["id"], 0), english) for row in rows]
    return [one for one in found if query.verdict in ("", one.grade.key)]


def _rows(user: User, query: Query) -> list[dict]:
    points = rights.visible_points(user).filter(closed_on=None)
    if query.kind:
        points = points.filter(kind=query.kind)
    if query.region:
        points = points.filter(region__path__contains=f"/{query.region}/")
    if query.status:
        own = Q(status__state=query.status)
        points = points.filter(own | Q(status=None) if query.status == Status.PLANNED else own)
    if query.q:
        named = Q(name_zh__icontains=query.q) | Q(name_en__icontains=query.q) | Q(code__icontains=query.q)
        points = points.filter(named | Q(enterprise__name_zh__icontains=query.q))
    if query.bbox:
        west, south, east, north = _box(query.bbox)
        points = points.filter(lon__gte=west, lon__lte=east, lat__gte=south, lat__lte=north)
    return list(
        points.order_by("code").values(
            "id", "code", "name_zh", "name_en", "kind", "lon", "lat", "region__name_zh", "region__name_en",
            "enterprise__name_zh", "enterprise__name_en", "status__state", "status__why", "status__last_packet",
        )
    )  # fmt: skip


def _box(text: str) -> tuple[float, ...]:
    try:
        box = tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
    return box if len(box) == 4 else ()


def _found(row: dict, standing: Standing | None, findings: int, english: bool) -> Found:
    def name(prefix: str) -> str:
        return (english and row[f"{prefix}name_en"]) or row[f"{prefix}name_zh"] or ""

    packet = row["status__last_packet"]
    return Found(
        id=row["id"], code=row["code"], name=name(""), kind=row["kind"], region=name("region__"),
        enterprise=name("enterprise__"), lon=row["lon"], lat=row["lat"],
        status=row["status__state"] or Status.PLANNED, why=row["status__why"] or "",
        last_packet=packet.timestamp() if packet else None,
        grade=standing.grade if standing else layers.NONE, verdict=standing.id if standing else None,
        at=standing.ts if standing else None, detail=standing.detail if standing else "", findings=findings,
    )  # fmt: skip


def standings(points: Iterable[tuple[int, str]], now: float) -> dict[int, Standing]:
    """Of each (point, kind) the worst of its newest verdicts, as long as they are fresh enough for their layer."""
    kinds = {point: PointKind(kind) for point, kind in points}
    day = beijing(now).date()
    table = {layer.kind: layer for layer in layers.layers(day)}
    few = list(kinds) if len(kinds) <= 200 else None
    worst: dict[int, Standing] = {}
    found = store().latest_verdicts(None, few)
    wanted = ("point", "rule", "outcome", "level", "value", "ts", "id", "detail")
    for point, rule, outcome, level, value, ts, number, detail in zip(
        *(found[name].to_pylist() for name in wanted), strict=True
    ):
        layer = table.get(kinds.get(point))  # type: ignore[arg-type]
        if layer is None or not rule.startswith(layer.rules) or now - ts > layer.hours * 3600:
            continue
        graded = layers.grade(layer.kind, outcome, level, value, beijing(ts).date())
        before = worst.get(point)
        if before is None or (graded.rank, ts) > (before.grade.rank, before.ts):
            worst[point] = Standing(graded, number, ts, value, detail)
    return worst


def sentence(detail: str | Mapping) -> str:
    """What a verdict says, in the language of the page."""
    parts = orjson.loads(detail) if isinstance(detail, str) else detail
    return (get_language() == "en" and parts.get("en")) or parts.get("zh", "")


def _findings(user: User) -> dict[int, int]:
    open_ones = rights.visible_findings(user).filter(state__in=Finding.OPEN_STATES)
    return dict(open_ones.order_by().values_list("point").annotate(Count("id")))


def columns(found: list[Found]) -> dict[str, list]:
    """The objects column by column, the way the map takes them; `icon` points into `icons`."""
    icons: dict[str, int] = {}
    numbers = [
        icons.setdefault("|".join((one.kind, one.grade.fill, one.grade.ink, one.grade.mark, one.status)), len(icons))
        for one in found
    ]
    return {
        "code": [one.code for one in found],
        "name": [one.name for one in found],
        "lon": [round(one.lon, 5) for one in found],
        "lat": [round(one.lat, 5) for one in found],
        "rank": [one.grade.rank for one in found],
        "icon": numbers,
        "icons": list(icons),
    }


def counts(found: list[Found]) -> dict[str, dict[str, int]]:
    """How many of each kind and status: what the totals above a list say."""
    kinds: dict[str, int] = {kind: sum(one.kind == kind for one in found) for kind in POINT_KINDS}
    states: dict[str, int] = {state: sum(one.status == state for one in found) for state in STATUSES}
    return {"kind": kinds, "status": states}
