"""A finding of an exceedance in the small city, and a walk through its case."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.core.files.base import ContentFile

from ceguan.cases import engine
from ceguan.cases.models import Case
from ceguan.watch.findings import raise_finding
from ceguan.watch.models import Finding
from ceguan.words import BEIJING

PNG = b"\x89PNG\r\n\x1a\n" + b"photo"
CHECK = {"marks": "无标记，数据有效", "maintenance": "当时没有运维", "power": "生产与治污设施用电正常"}
WALK = (
    # step, who, fields, files
    ("dispatch", "duty", {"assignee": "enforcement"}, 0),
    ("sign", "enforcement", {}, 0),
    ("desk_check", "enforcement", CHECK, 0),
    ("visit", "enforcement", {"visited_on": "2026-03-12", "officers": "张 110、李 111"}, 1),
    ("feedback", "enterprise", {"cause": "治污设施故障"}, 1),
    ("review", "reviewer", {}, 0),
    ("close", "leader", {}, 0),
)


def beijing(text: str) -> float:
    """UTC epoch seconds of a Beijing wall time."""
    return datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()


NOW = beijing("2026-03-12 10:00")  # a Thursday


def photo(name: str = "现场.png", content: bytes = PNG) -> ContentFile:
    return ContentFile(content, name=name)


def step(
    city, case: Case, name: str, user: str = "", data: dict | None = None, files=None, now: float = NOW, text="写明"
):
    """One step of WALK, with whatever is given instead."""
    _, who, fields, count = next(row for row in WALK if row[0] == name)
    given = {**fields, **(data or {})}
    if "assignee" in given:
        given["assignee"] = city.users[given["assignee"]].pk
    chosen = [photo() for _ in range(count)] if files is None else files
    return engine.act(case, city.users[user or who], name, text, given, chosen, now)


def walk(city, case: Case, until: str, now: float = NOW) -> Case:
    """Do the steps of WALK up to and including `until`."""
    for name, *_ in WALK:
        step(city, case, name, now=now)
        if name == until:
            return case
    raise KeyError(until)


def exceedance(city, point: str = "gas_outlet", rule: str = "limit-hour:a21026", at: float = NOW - 3600) -> Finding:
    detail = {"zh": "62.0 mg/m³ / 50", "limit": 50, "unit": "mg/m³", "factor": "a21026", "name": "二氧化硫"}
    return raise_finding(city.points[point], rule, 2, "二氧化硫小时均值超标", "SO2 above limit", detail, [1], at, NOW)


@pytest.fixture
def finding(city) -> Finding:
    return exceedance(city)


@pytest.fixture
def case(city, finding) -> Case:
    return engine.open_from(finding, city.users["duty"], "连续超标", NOW)
