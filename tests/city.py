"""A small invented city for tests: one city with two districts, a user of each role, one point of each kind."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from types import SimpleNamespace

from django.contrib.auth.hashers import make_password

from ceguan.registry.models import Device, Enterprise, Permit, PermitLimit, Point, Region, Series, User

PASSWORD = "云澜-测试-2026"
FACTORS = {
    "air": [("a21026", "二氧化硫", "μg/m³"), ("a21004", "二氧化氮", "μg/m³"), ("a21005", "一氧化碳", "mg/m³"),
            ("a05024", "臭氧", "μg/m³"), ("a34002", "PM10", "μg/m³"), ("a34004", "PM2.5", "μg/m³")],
    "water": [("w01001", "pH值", "无量纲"), ("w01009", "溶解氧", "mg/L"), ("w01019", "高锰酸盐指数", "mg/L"),
              ("w21003", "氨氮", "mg/L"), ("w21011", "总磷", "mg/L")],
    "noise": [("LA", "等效声级", "dB(A)")],
    "radiation": [("r01001", "空气吸收剂量率", "nGy/h")],
    "gas_outlet": [("a21026", "二氧化硫", "mg/m³"), ("a21002", "氮氧化物", "mg/m³"), ("a34013", "烟尘", "mg/m³")],
    "water_outlet": [("w01018", "化学需氧量", "mg/L"), ("w21003", "氨氮", "mg/L"), ("w00000", "污水流量", "L/s")],
}  # fmt: skip
PROPERTIES = {"water": {"waterbody": "river", "target_class": 3}, "noise": {"zone": "2"}, "gas_outlet": {"o2_ref": 9}}


def build() -> SimpleNamespace:
    """Regions 99 > 9901 > 990101, 990102; points A1…F1 in 990101 (code = kind); users named by role."""
    top = Region.objects.create(code="99", name_zh="云省", name_en="Yun")
    city = Region.objects.create(code="9901", name_zh="云澜市", name_en="Yunlan", parent=top)
    east = Region.objects.create(code="990101", name_zh="东区", name_en="East", parent=city)
    west = Region.objects.create(code="990102", name_zh="西区", name_en="West", parent=city)
    mill = _enterprise("91990101MA00000001", "东区造纸厂", east)
    plant = _enterprise("91990102MA00000002", "西区热电厂", west)
    points = {kind: _point(kind, kind, east, mill if kind.endswith("outlet") else None) for kind in FACTORS}
    points["west_outlet"] = _point("west_outlet", "gas_outlet", west, plant)
    limit = _limit(mill, points["gas_outlet"], "a21026", "hour", 50, converted=True)
    _limit(mill, points["water_outlet"], "w01018", "day", 50)
    users = {role: _user(role, city) for role in ("duty", "analyst", "enforcement", "leader", "admin")}
    users["enterprise"] = _user("enterprise", east, enterprise=mill)
    users["west_officer"] = _user("west_officer", west, role="enforcement")
    users["reviewer"] = _user("reviewer", city, role="enforcement")
    return SimpleNamespace(
        top=top, city=city, east=east, west=west, mill=mill, plant=plant, points=points, users=users, limit=limit
    )


def _enterprise(code: str, name: str, region: Region) -> Enterprise:
    return Enterprise.objects.create(code=code, name_zh=name, region=region, lon=104.3, lat=35.2)


def _point(code: str, kind: str, region: Region, enterprise: Enterprise | None) -> Point:
    point = Point.objects.create(
        code=code, name_zh=f"{region.name_zh}{code}", kind=kind, region=region, enterprise=enterprise,
        lon=104.3, lat=35.2, live_from=date(2026, 1, 1), public=kind == "air", properties=PROPERTIES.get(kind, {}),
    )  # fmt: skip
    factors = FACTORS[kind]
    for order, (factor, name, unit) in enumerate(factors):
        Series.objects.create(point=point, factor=factor, name_zh=name, unit=unit, order=order)
    units = {factor: unit for factor, _, unit in factors}
    Device.objects.create(mn=f"MN{code.upper()}", point=point, password="123456", units=units, every_seconds=3600)
    return point


def _limit(
    enterprise: Enterprise, point: Point, factor: str, basis: str, high: float, converted: bool = False
) -> PermitLimit:
    permit, _ = Permit.objects.get_or_create(
        number=f"{enterprise.code}001P", enterprise=enterprise, valid_from=date(2024, 1, 1), valid_to=date(2028, 12, 31)
    )
    return PermitLimit.objects.create(
        permit=permit, point=point, factor=factor, basis=basis, high=high, converted=converted,
        unit="mg/m³" if basis == "hour" else "mg/L",
        standard="GB 13271-2014", clause="表3", trust="P", valid_from=date(2024, 1, 1), reason="核发许可证",
    )  # fmt: skip


def _user(name: str, region: Region, role: str | None = None, enterprise: Enterprise | None = None) -> User:
    return User.objects.create(
        username=name, password=_hash(), role=role or name, region=region, enterprise=enterprise, name_zh=name
    )


@lru_cache(maxsize=1)
def _hash() -> str:
    """The password hashed once for all users and tests: a good hash is slow on purpose."""
    return make_password(PASSWORD)


def on(table: str) -> str:
    """What PostgreSQL wants to hear of a trigger besides its name."""
    from django.db import connection

    return f" ON {table}" if connection.vendor == "postgresql" else ""
