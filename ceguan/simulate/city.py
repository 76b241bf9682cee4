"""云澜市, an invented city: its map, stations, enterprises, permits and people, from the tables beside this file.

`build` writes them into the register; what is there already is left alone, so it may be repeated.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import tomllib
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, NamedTuple

from ceguan.words import ROLES, PointKind, Role, beijing

Position = tuple[float, float]
CITY = "9901"
EVERY = {PointKind.WATER: 4 * 3600, PointKind.GAS_OUTLET: 600, PointKind.WATER_OUTLET: 600}
OLD_DEVICES = 8
"""Every so many-th outlet still speaks HJ/T 212-2005 with a 14-digit MN."""
NEW_DEVICE = 30
"""The outlet (by its number) whose device already speaks HJ 212-2025, enciphered."""
KEY = "YunlanDemoKey026"
"""Its SM4 key; published like the demo accounts."""
BACKGROUND = "全国（原野）"
SMOOTH = 4
WANDER = {"border": 0.07, "river": 0.11, "lake": 0.05}
"""How far the middle of a stretch of line strays, as a share of its length."""
DOSE_RATE = ("空气吸收剂量率", "Air dose rate")
"""HJ 212 has no factor for it: r01001 is a code of this platform."""


class DemoUser(NamedTuple):
    username: str
    password: str
    role_zh: str
    region_zh: str


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one of our CSV tables."""
    with resources.files(__package__).joinpath(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def plan() -> dict[str, Any]:
    """The drawing: yunlan.toml."""
    return tomllib.loads((resources.files(__package__) / "yunlan.toml").read_text(encoding="utf-8"))


def demo_users() -> list[DemoUser]:
    """The published demo accounts."""
    names = {CITY: "云澜市"} | {one["code"]: one["name"][0] for one in plan()["district"]}
    return [
        DemoUser(row["username"], row["password"], ROLES[Role(row["role"])].zh, names[row["region"]])
        for row in rows("users.csv")
    ]


def build(now: float) -> None:
    """Write the city into the register, in one transaction. `now`: UTC epoch seconds, dates permits and stations."""
    from django.db import transaction

    from ceguan.registry import audit
    from ceguan.registry.models import Region

    today = beijing(now).date()
    with transaction.atomic():
        if Region.objects.filter(code=CITY).exists():
            return
        _regions()
        _map()
        _stations(today)
        _enterprises(today)
        _encipher(now)
        _users()
        audit.record(None, "city.build", f"region:{CITY}", "建立演示城市", {}, now)


# ---- the drawing


def smooth(points: Sequence[Sequence[float]], closed: bool = False) -> list[Position]:
    """A Catmull-Rom line through the points, to five decimals (about a metre); ends stay where they are."""
    count = len(points)
    last = count if closed else count - 1
    out: list[Position] = []
    for i in range(last):
        four = [points[j % count] if closed else points[min(max(j, 0), count - 1)] for j in range(i - 1, i + 3)]
        out += [_between(four, step / SMOOTH) for step in range(SMOOTH)]
    end = points[0] if closed else points[-1]
    return [*out, (round(end[0], 5), round(end[1], 5))]


def wander(line: list[Position], share: float, times: int = 2) -> list[Position]:
    """The line with the small bends of nature: the middle of each stretch strays to a side, again and again.

    Points of the line stay; the same line gives the same bends.
    """
    luck = random.Random(repr(line[0]))
    for _ in range(times):
        bent = [line[0]]
        for a, b in pairwise(line):
            off = luck.gauss(0, share)
            dx, dy = (b[0] - a[0]) * 91.0, (b[1] - a[1]) * 111.0
            middle = (a[0] + b[0]) / 2 - off * dy / 91.0, (a[1] + b[1]) / 2 + off * dx / 111.0
            bent += [(round(middle[0], 5), round(middle[1], 5)), b]
        line = bent
    return line


def _between(four: Sequence[Sequence[float]], t: float) -> Position:
    x, y = (
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(*four, strict=True)
    )
    return round(x, 5), round(y, 5)


def ring(edges: Iterable[str]) -> list[Position]:
    """The closed border of a district from its edges; "-name" runs the edge backwards. Raises ValueError at a gap."""
    out: list[Position] = []
    for name in edges:
        line = _edge(name.removeprefix("-"))
        line = line[::-1] if name.startswith("-") else line
        if out and out[-1] != line[0]:
            raise ValueError(f"edge {name} does not begin where the one before ends")
        out += line[1:] if out else line
    if out[0] != out[-1]:
        raise ValueError(f"the ring {list(edges)} is not closed")
    return out


@cache
def _edge(name: str) -> list[Position]:
    nodes = plan()["nodes"]
    line = smooth([nodes[one] if isinstance(one, str) else one for one in plan()["edges"][name]])
    return wander(line, WANDER["border"])


@cache
def _reach(name: str) -> list[Position]:
    return wander(smooth(_reaches()[name]["line"]), WANDER["river"])


@cache
def _reaches() -> dict[str, dict[str, Any]]:
    """Reaches of the river graph by id, those of one river in the order of its flow."""
    return {one["id"]: one for one in plan()["reach"]}


def length_km(line: Sequence[Position]) -> float:
    """Length of a line on the plane that touches the globe here."""
    return sum((((b[0] - a[0]) * 91.0) ** 2 + ((b[1] - a[1]) * 111.0) ** 2) ** 0.5 for a, b in pairwise(line))


def _polygon(line: list[Position]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [line]}


def _line(line: list[Position]) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": line}


# ---- the register


def _regions() -> None:
    from ceguan.registry.models import Region

    province = Region.objects.create(code="99", name_zh="云省（虚构）", name_en="Yun (invented)")
    city = Region.objects.create(code=CITY, name_zh="云澜市", name_en="Yunlan", parent=province)
    for one in plan()["district"]:
        Region.objects.create(
            code=one["code"],
            name_zh=one["name"][0],
            name_en=one["name"][1],
            parent=city,
            geometry=_polygon(ring(one["ring"])),
        )


def _map() -> None:
    from ceguan.registry.models import MapFeature

    drawing = plan()
    features: list[tuple[str, list[str], dict[str, Any], dict[str, Any]]] = [
        ("lake", one["name"], _polygon(wander(smooth(one["ring"], closed=True), WANDER["lake"], 1)), {})
        for one in drawing["lake"]
    ]
    features += [("park", one["name"], _polygon(smooth(one["ring"], closed=True)), {}) for one in drawing["park"]]
    features += [("road", one["name"], _line(smooth(one["line"])), {"width": one["width"]}) for one in drawing["road"]]
    for one in drawing["reach"]:
        line = _reach(one["id"])
        facts = {name: one[name] for name in ("id", "from", "to", "width")} | {"km": round(length_km(line), 2)}
        features.append(("river", one["river"], _line(line), facts))
    MapFeature.objects.bulk_create(
        MapFeature(kind=kind, name_zh=name[0], name_en=name[1], geometry=geometry, properties=facts)
        for kind, name, geometry, facts in features
    )


def _stations(today: date) -> None:
    for row in rows("stations.csv"):
        kind = PointKind(row["kind"])
        properties = json.loads(row["properties"])
        where: Position = (float(row["lon"]), float(row["lat"]))
        if kind == PointKind.WATER:
            where, facts = _on_river(properties["reach"], where)
            properties |= facts
        if kind == PointKind.RADIATION:
            properties["background"] = BACKGROUND
        point = _point(row["code"], kind, row["name_zh"], row["name_en"], row["district"], where, properties, today)
        left_out = set(properties.get("not_monitored", ()))
        _measure(point, [one for one in factors_of(kind) if one["factor"] not in left_out])


def _on_river(reach: str, place: Position) -> tuple[Position, dict[str, Any]]:
    """The place moved onto its river, the river's name and the kilometres to there from where it begins on our map."""
    found = _reaches().get(reach)
    if found is None:
        return place, {"river": plan()["lake"][0]["name"][0]}
    line = _reach(reach)
    nearest = min(range(len(line)), key=lambda i: length_km([line[i], place]))
    names = list(_reaches())
    above = [one for one in names[: names.index(reach)] if _reaches()[one]["river"] == found["river"]]
    km = sum(length_km(_reach(one)) for one in above) + length_km(line[: nearest + 1])
    return line[nearest], {"river": found["river"][0], "chainage_km": round(km, 1)}


def _enterprises(today: date) -> None:
    number = 0
    for row in rows("enterprises.csv"):
        enterprise, permit = _enterprise(row, today)
        kinds = row["gas"].split() + row["water"].split()
        for place, kind in enumerate(kinds, start=1):
            number += 1
            _outlet(row, enterprise, permit, kind, place, number, today)


def _enterprise(row: dict[str, str], today: date) -> tuple[Any, Any]:
    from ceguan.registry.models import Enterprise, Permit

    code = uscc(row["district"], int(row["number"]))
    enterprise = Enterprise.objects.create(
        code=code, name_zh=row["name_zh"], name_en=row["name_en"], region_id=row["district"],
        industry_code=row["industry_code"], industry=row["industry"], lon=row["lon"], lat=row["lat"],
        address=f"{row['name_zh']}厂区", contact="环保负责人", phone="",
    )  # fmt: skip
    permit = Permit.objects.create(
        number=f"{code}001P",
        enterprise=enterprise,
        valid_from=date(today.year - 2, 1, 1),
        valid_to=date(today.year + 2, 12, 31),
    )
    return enterprise, permit


def _outlet(row: dict[str, str], enterprise: Any, permit: Any, kind: str, place: int, number: int, today: date) -> None:
    from ceguan.registry.models import PermitLimit

    limits = [one for one in rows("outlets.csv") if one["kind"] == kind]
    medium = PointKind(limits[0]["medium"])
    gas = medium == PointKind.GAS_OUTLET
    code = f"YL-{'G' if gas else 'P'}{row['number'].zfill(2)}{place}"
    laws = [law(one, permit.valid_from) for one in limits]
    properties: dict[str, Any] = {"o2_ref": laws[0].reference_o2} if gas else {}
    name = f"{row['name_zh']} {limits[0]['what_zh']}{place}"
    where = float(row["lon"]) + 0.0012 * place, float(row["lat"]) + 0.0009 * (place % 2)
    point = _point(
        code,
        medium,
        name,
        f"{row['name_en']} {limits[0]['what_en']} {place}",
        row["district"],
        where,
        properties,
        today,
        enterprise,
    )
    factors = [one for one in factors_of(medium) if not one["only"] or kind in one["only"].split()]
    edition = "2005" if number % OLD_DEVICES == 0 else "2025" if number == NEW_DEVICE else "2017"
    _measure(point, factors, edition)
    PermitLimit.objects.bulk_create(
        PermitLimit(
            permit=permit, point=point, factor=one.code, basis="hour" if one.averaging == "1h" else "day",
            converted=one.basis == "converted", low=one.low, high=one.high, unit=one.unit, standard=one.standard,
            clause=f"{one.clause} {one.category}", trust=one.trust, valid_from=permit.valid_from,
            reason="核发许可证（演示）",
        )
        for one in laws
    )  # fmt: skip


def law(wanted: dict[str, str], day: date) -> Any:
    """The row of the emission standard that a permit carries over."""
    from ceguan.standards.tables import EmissionLimit, one

    return one(
        EmissionLimit, day, standard=wanted["edition"], category=wanted["category"], code=wanted["code"],
        condition=wanted["condition"], averaging=wanted["averaging"],
    )  # fmt: skip


def _point(
    code: str, kind: PointKind, name_zh: str, name_en: str, district: str, where: Position, properties: dict[str, Any],
    today: date, enterprise: Any = None,
) -> Any:  # fmt: skip
    from ceguan.registry.models import Point

    return Point.objects.create(
        code=code, kind=kind, name_zh=name_zh, name_en=name_en, region_id=district, enterprise=enterprise,
        lon=round(where[0], 5), lat=round(where[1], 5),
        public=kind in (PointKind.AIR, PointKind.WATER), live_from=today - timedelta(days=400), properties=properties,
    )  # fmt: skip


@cache
def _table_of_factors() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows("series.csv"):
        found.setdefault(row["kind"], []).append(row)
    return found


def factors_of(kind: PointKind) -> list[dict[str, str]]:
    return _table_of_factors()[kind]


def _measure(point: Any, wanted: list[dict[str, str]], edition: str = "2017") -> None:
    """Series of a point and the device that sends them, its units confirmed."""
    from ceguan.registry.models import Device, Series

    Series.objects.bulk_create(Series(point=point, **_series(row)) for row in wanted)
    kind = PointKind(point.kind)
    Device.objects.create(
        mn=device_number(point.code, edition == "2005"), point=point, edition=edition, password="123456",
        minute_interval=10, every_seconds=EVERY.get(kind, 3600), units={row["factor"]: row["unit"] for row in wanted},
    )  # fmt: skip


def _encipher(now: float) -> None:
    """The device of edition 2025 has had its key since it was put in."""
    from ceguan.intake import keys
    from ceguan.registry.models import Device

    for device in Device.objects.filter(edition="2025"):
        keys.confirm(keys.add(device, KEY, None, now), now)


def _series(row: dict[str, str]) -> dict[str, Any]:
    from ceguan.standards import factors

    known = factors.find(row["factor"])
    return {
        "factor": row["factor"], "name_zh": known.name if known else DOSE_RATE[0],
        "name_en": known.name_en if known else DOSE_RATE[1], "unit": row["unit"], "decimals": int(row["decimals"]),
        "order": int(row["order"]), "range_low": _number(row["range_low"]), "range_high": _number(row["range_high"]),
        "detection_limit": _number(row["detection_limit"]),
    }  # fmt: skip


def _number(text: str) -> float | None:
    return float(text) if text else None


def _users() -> None:
    from ceguan.registry.models import Enterprise, User

    by_number = {row["number"]: uscc(row["district"], int(row["number"])) for row in rows("enterprises.csv")}
    for row in rows("users.csv"):
        firm = Enterprise.objects.get(code=by_number[row["enterprise"]]) if row["enterprise"] else None
        User.objects.create_user(
            row["username"], password=row["password"], role=row["role"], region_id=row["region"], enterprise=firm,
            name_zh=row["name_zh"], demo_password=True,
        )  # fmt: skip


def device_number(code: str, old: bool) -> str:
    """The MN of a device: 24 hexadecimal digits (HJ 212-2017), or 14 digits for one of edition 2005."""
    digest = hashlib.sha256(code.encode()).hexdigest().upper()
    return f"{int(digest[:14], 16) % 10**14:014d}" if old else f"99{digest[:22]}"


def uscc(district: str, number: int) -> str:
    """An invented 统一社会信用代码 with the right check character (GB 32100-2015)."""
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    head = f"91{district}MAYUN{number:04d}"
    total = sum(alphabet.index(char if char in alphabet else "0") * pow(3, i, 31) for i, char in enumerate(head))
    return head + alphabet[(31 - total % 31) % 31]
