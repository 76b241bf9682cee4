"""The office's past: invented officers work off what the history brought up, through the real engine and its guards.

Every act happens at a past moment in office hours, so that the demo opens with cases closed, running and overdue.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from django.core.files.base import ContentFile

from ceguan.cases import engine
from ceguan.cases.models import Case
from ceguan.registry.models import User
from ceguan.standards import calendar
from ceguan.watch import findings
from ceguan.watch.models import Finding
from ceguan.words import BEIJING, Role, beijing


@dataclass(frozen=True, slots=True)
class Act:
    """One step: who (by role), after how many working days and at what hour, what is said, filled in and attached."""

    step: str
    role: Role
    days: int
    hour: time
    text: str
    fields: dict[str, str]
    file: str = ""


SCRIPT = (
    Act("dispatch", Role.DUTY, 0, time(10, 20), "请核实超标原因并督促整改。", {}),
    Act("sign", Role.ENFORCEMENT, 0, time(14, 5), "", {}),
    Act(
        "desk_check", Role.ENFORCEMENT, 1, time(11, 30), "历史曲线与分钟数据一致，当时没有报备维护，数据可信。",
        {"marks": "无标记，数据有效", "maintenance": "当时没有运维", "power": "治污设施用电异常"},
    ),
    Act(
        "visit", Role.ENFORCEMENT, 1, time(15, 40), "现场检查治污设施循环泵检修，备用泵未及时投入。",
        {"visited_on": "", "officers": "周岚（演示证号 01）、陈默（演示证号 02）"}, "现场检查记录.txt",
    ),
    Act(
        "feedback", Role.ENFORCEMENT, 3, time(16, 10), "循环泵已修复，建立备用泵每周切换记录，复测达标。",
        {"cause": "治污设施故障"}, "整改前后对比.txt",
    ),
    Act("review", Role.LEADER, 1, time(9, 50), "证据齐全，同意。", {}),
    Act("close", Role.LEADER, 0, time(10, 5), "已连续达标，准予销号。", {}),
)  # fmt: skip
DEPTHS = (7, 7, 5, 7, 7, 7, 6, 4, 2)
"""How many steps each case gets, the oldest finding first; what is not reached before now simply waits."""


def play(now: float) -> int:
    """Open and work off cases from limit findings that nobody has taken up; returns how many cases were opened."""
    waiting = Finding.objects.filter(rule__startswith="limit-", state="open").order_by("first_at", "id")
    opened = 0
    for finding, depth in zip(waiting[: len(DEPTHS)], DEPTHS, strict=False):
        opened += _one(finding, depth, now)
    return opened


def _one(finding: Finding, depth: int, now: float) -> bool:
    at = _office_time(finding.first_at.timestamp(), 1, time(9, 10))
    duty = _person(Role.DUTY, finding)
    if at >= now or duty is None:
        return False
    findings.claim(finding, duty, "", at)
    finding.refresh_from_db()
    case = engine.open_from(finding, duty, "超过许可限值，按自动监控超标督办程序办理。", at + 600)
    for act in SCRIPT[:depth]:
        at = _office_time(at, act.days, act.hour)
        if at >= now:
            break
        _do(case, act, at)
    return True


def _do(case: Case, act: Act, at: float) -> None:
    person = case.assignee if act.role == Role.ENFORCEMENT and case.assignee else _person(act.role, case)
    assert person is not None, f"the demo has no {act.role} for {case}"
    files = [ContentFile(_document(case, act, at).encode(), name=act.file)] if act.file else []
    engine.act(case, person, act.step, act.text, _fields(case, act, at), files, at)


def _fields(case: Case, act: Act, at: float) -> dict[str, Any]:
    fields: dict[str, Any] = dict(act.fields)
    if "visited_on" in fields:
        fields["visited_on"] = f"{beijing(at):%Y-%m-%d}"
    if act.step == "dispatch":
        fields["assignee"] = _person(Role.ENFORCEMENT, case)
    return fields


def _document(case: Case, act: Act, at: float) -> str:
    title = act.file.removesuffix(".txt")
    return f"{title}（演示）\n案号：{case.number}\n点位：{case.point}\n时间：{beijing(at):%Y-%m-%d %H:%M}\n{act.text}\n"


def _person(role: Role, subject: Finding | Case) -> User | None:
    """Somebody of the role whose region covers the point, the nearest first."""
    region = subject.point.region
    people = [user for user in User.objects.filter(role=role, is_active=True).select_related("region") if user.region]
    near = [user for user in people if user.region and region.path.startswith(user.region.path)]
    return max(near, key=lambda user: (len(user.region.path) if user.region else 0, -user.pk), default=None)


def _office_time(after: float, days: int, hour: time) -> float:
    """The given hour on the working day `days` later – at least ten minutes after `after`."""
    start = beijing(after)
    day = start.date()
    if days:
        day, _ = calendar.add_working_days(day, days)
    while not calendar.is_working_day(day):
        day += timedelta(days=1)
    moment = datetime.combine(day, hour, BEIJING)
    return max(moment.timestamp(), after + 600)
