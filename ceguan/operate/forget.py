"""`ceguan store forget`: what may leave, by which clause, what may not and why – and then the act itself.

Nothing leaves before its period is over, nothing that open cases or findings rest on, nothing that waits for a person.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from ceguan import clock, operate, settings
from ceguan.standards import retention
from ceguan.standards.retention import Kept
from ceguan.store import ArchiveError, RecordKind, Store, archive, forgotten
from ceguan.store.forgotten import Candidate, Content
from ceguan.store.sizes import said
from ceguan.words import BEIJING, FrameRef, Kind, PointKind, beijing

if TYPE_CHECKING:
    from ceguan.registry.models import User
    from ceguan.watch.models import Finding

DAY = 86400
OUTLETS = (PointKind.GAS_OUTLET, PointKind.WATER_OUTLET)
"""Points where dischargers measure themselves."""
FOR_EVER = (RecordKind.DECISION, RecordKind.RELEASE, RecordKind.IMPORT)
KINDS = {"archive": "帧归档的整段", "reading_minute": "封存月份里的分钟读数", "reading_rt": "封存月份里的实时读数"}
OWN = "本局设置 public_keep_months"


class Refused(ValueError):
    """Nothing is deleted; the message says why and what would be possible."""


class Asked(NamedTuple):
    """What was asked for: data of a kind from before a day (`text`, its first moment `before`), by whom and why."""

    values: settings.Settings
    kind: str
    text: str
    before: float
    why: str
    who: User | None
    now: float

    @property
    def today(self) -> date:
        return beijing(self.now).date()

    def rules(self) -> dict[bool, Kept]:
        """What holds today for what dischargers measure themselves (True), and for all else (False)."""
        own = int(self.values.public_keep_months)
        return {
            True: retention.kept(self.kind, self.today, retention.SELF),
            False: retention.kept(self.kind, self.today, own_months=own),
        }

    def order(self, rule: str, what: Mapping[str, Any]) -> str:
        """Put it on record; returns what to tell."""
        from ceguan.watch import forgetting

        by = self.who.username if self.who else f"local:{getpass.getuser()}"
        detail = {"before": self.text, **what}
        event = forgetting.order(self.who, by, self.kind, rule, self.why, detail, self.now)
        return f"已留痕（第 {event.seq} 条，{event.hash}）"


class Bound(NamedTuple):
    """What an open case or finding rests on: everything of its point (devices, series) from `start` to `end`, and the
    segments of the frames its verdicts were made from."""

    name: str
    mns: frozenset[bytes]
    series: frozenset[int]
    start: float
    end: float
    places: frozenset[tuple[int, int]]


class Plan(NamedTuple):
    """`going`: what leaves; `staying`: why the others do not, with how many and an example."""

    going: list[Candidate]
    staying: Counter[str]
    rules: list[Kept]

    @property
    def rule(self) -> str:
        return _named(self.rules)


class Month(NamedTuple):
    """Readings that leave one sealed month: so many rows of these series; `files`: name and SHA-256 they are in."""

    month: str
    series: list[int]
    rows: int
    files: list[list[str]]


class Months(NamedTuple):
    """`going`: what leaves; `staying`: why others do not, with how many months of how many points."""

    going: list[Month]
    staying: Counter[str]
    rules: list[Kept]

    @property
    def rule(self) -> str:
        return _named(self.rules)


def _named(rules: list[Kept]) -> str:
    return "、".join(dict.fromkeys(rule.cite or OWN for rule in rules))


def add_parser(kinds: argparse._SubParsersAction) -> None:
    text = "删除保存期已满的数据：先只列出会删什么、依据什么；加 --yes 才删，先留痕后删除"
    verb = operate._verb(kinds, "forget", text, run)
    verb.add_argument(
        "--kind", required=True, choices=KINDS, help="；".join(f"{kind} {said}" for kind, said in KINDS.items())
    )
    verb.add_argument("--before", required=True, metavar="日期", help="北京时间这一天以前的，如 2021-01-01")
    verb.add_argument("--why", required=True, metavar="理由", help="记入留痕")
    verb.add_argument("--by", metavar="用户名", help="以谁的名义和权限；省略则为本机操作员")
    verb.add_argument("--yes", action="store_true", help="真的删除；不加则只列出")


def run(args: argparse.Namespace) -> int:
    """0 when done (or shown), 1 when something failed half-way, 2 when refused."""
    operate._django()
    from ceguan.registry.rights import Forbidden

    values, now = settings.load(), clock.now()
    try:
        asked = Asked(
            values, args.kind, args.before, _first_moment(args.before), _reason(args.why), _person(args.by), now
        )
        return (_archive if args.kind == "archive" else _readings)(asked, args.yes)
    except (Refused, Forbidden) as error:
        print(error, file=sys.stderr)
        return 2
    except ArchiveError as error:
        print(f"没有全部删完：{error}", file=sys.stderr)
        return 1


def _archive(asked: Asked, yes: bool) -> int:
    from ceguan.watch import forgetting

    if yes and (done := forgetting.finish(asked.values)):
        print(f"先做完了上次没有做完的：{done} 段")
    plan = make(asked)
    show(plan, asked.text)
    if _goes_on(bool(plan.going), yes):
        what = forgetting.segments(asked.values.folder / "archive", plan.going)
        said = asked.order(plan.rule, what)
        print(f"{said}，并删除 {forgetting.finish(asked.values)} 段")
    return 0


def _readings(asked: Asked, yes: bool) -> int:

    plan = months(asked)
    show_months(plan, asked)
    if _goes_on(bool(plan.going), yes):
        what = [
            {"month": one.month, "series": forgotten.runs(one.series), "rows": one.rows, "files": one.files}
            for one in plan.going
        ]
        said = asked.order(plan.rule, {"months": what})
        print(f"{said}；由时钟逐块重新封存，旧文件在全部完成之后删去，至多一两小时")
    return 0


def _goes_on(any_goes: bool, yes: bool) -> bool:
    if any_goes and not yes:
        print("以上只是列出，什么也没有删；确认无误后加 --yes")
    return any_goes and yes


def _person(name: str | None) -> User | None:
    """Who orders it, None for the operator of the machine. Raises Refused, Forbidden."""
    from ceguan.registry import rights
    from ceguan.registry.models import User

    if name is None:
        return None
    user = User.objects.filter(username=name).first()
    if user is None:
        raise Refused(f"没有用户 {name}")
    rights.require(user, "forget")
    return user


def _reason(text: str) -> str:
    if not 0 < len(text.strip()) <= 300:
        raise Refused("请写明理由，不超过 300 字")
    return text.strip()


def _first_moment(text: str) -> float:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Refused(f"--before {text!r} 应如 2021-01-01") from None
    return datetime(day.year, day.month, day.day, tzinfo=BEIJING).timestamp()


# ── the plan ──────────────────────────────────────────────────────────────────────────────────────────────────────


def make(asked: Asked) -> Plan:
    """Which segments may leave today. Raises Refused when `before` lies within the least period of the law."""
    rules = asked.rules()
    _refuse_early(rules, asked)
    store = Store(asked.values.folder)
    selves, bounds = _own_devices(), list(_bounds(store, asked.now))
    plan = Plan([], Counter(), [])
    positions = store.positions()
    for stream in archive.streams(store.archive):
        for one in forgotten.candidates(store.archive, stream, positions.get(stream, archive.START), asked.before):
            cause = _kept_because(store, one, rules, selves, bounds, asked, plan.rules)
            if cause:
                plan.staying[cause] += 1
            else:
                plan.going.append(one)
    return plan


def _refuse_early(rules: dict[bool, Kept], asked: Asked) -> None:
    last = beijing(asked.before).date() - timedelta(days=1)
    free = [rule.free_from(last) for rule in rules.values()]
    if any(day is not None and day <= asked.today for day in free):
        return
    shortest = min((rule for rule in rules.values() if rule.months), key=lambda rule: rule.months or 0, default=None)
    if shortest is None:
        raise Refused("没有任何一条规定或设置给出保存期限：不删")
    raise Refused(
        f"保存期未满：{shortest.cite or OWN} 要求至少 {shortest.months} 个月，"
        f"{last} 的自 {shortest.free_from(last)} 起才可删除"
    )


def _kept_because(
    store: Store, one: Candidate, rules: dict[bool, Kept], selves: frozenset[bytes], bounds: list[Bound],
    asked: Asked, used: list[Kept],
) -> str:  # fmt: skip
    """Why a segment stays; "" when it may leave, its rule then stands among those used."""
    try:
        seen = forgotten.content(store.archive, one)
    except ArchiveError as error:
        return str(error)
    if seen.kinds & set(FOR_EVER):
        return "含审核、放行或导入的记录：永久保存"
    rule = rules[bool(seen.mns) and seen.mns <= selves]
    free = rule.free_from(beijing(seen.last).date())
    if seen.last >= asked.before:
        return "含这一天以后收到的记录"
    if free is None:
        return "含公共监测或未接入设备的报文：没有查到法定期限，也没有设 public_keep_months"
    if free > asked.today:
        return f"保存期未满（{rule.months} 个月）"
    if store.waits_for_people(one.stream, one.sealed.segment):
        return "有待接入或隔离中的报文，尚无人处理"
    if bound := next((bound for bound in bounds if _binds(bound, one, seen)), None):
        return f"是 {bound.name} 的证据"
    if rule not in used:
        used.append(rule)
    return ""


def _binds(bound: Bound, one: Candidate, seen: Content) -> bool:
    if (one.stream, one.sealed.segment) in bound.places:
        return True
    overlaps = seen.last >= bound.start and (one.sealed.first_recv or 0) <= bound.end
    return overlaps and bool(seen.mns & bound.mns)


def _own_devices() -> frozenset[bytes]:
    """MNs of the devices at outlets."""
    from ceguan.registry.models import Device

    return frozenset(mn.encode() for mn in Device.objects.filter(point__kind__in=OUTLETS).values_list("mn", flat=True))


def _bounds(store: Store, now: float) -> Iterator[Bound]:
    """Every case that is not closed, every finding that is still open."""
    from ceguan.cases.models import Case
    from ceguan.watch.models import Finding

    for case in Case.objects.filter(closed_at=None).prefetch_related("findings"):
        yield _bound(store, f"案件 {case.number}", case.point_id, list(case.findings.all()), case.opened_at, now)
    for finding in Finding.objects.filter(state__in=Finding.OPEN_STATES, cases=None):
        yield _bound(store, f"发现 {finding.pk}", finding.point_id, [finding], finding.first_at, now)


def _bound(store: Store, name: str, point: int, findings: list[Finding], begun: datetime, now: float) -> Bound:
    from ceguan.registry.models import Device, Series

    verdicts = [found for one in findings for number in one.verdicts if (found := store.verdict(number))]
    inputs = [key for verdict in verdicts for key in verdict["inputs"]]
    frames = store.exact(inputs)["frame"].to_pylist() if inputs else []
    starts = [begun.timestamp(), *(one.first_at.timestamp() for one in findings), *(v["ts"] for v in verdicts)]
    mns = Device.objects.filter(point_id=point).values_list("mn", flat=True)
    series = frozenset(Series.objects.filter(point_id=point).values_list("pk", flat=True))
    places = frozenset((ref.stream, ref.segment) for ref in map(FrameRef.unpack, frames))
    return Bound(name, frozenset(mn.encode() for mn in mns), series, min(starts) - DAY, now, places)


# ── readings of sealed months ─────────────────────────────────────────────────────────────────────────────────────


def months(asked: Asked) -> Months:
    """Which readings may leave which sealed months today. Raises Refused as `make`."""
    from ceguan.watch.forgetting import READINGS

    rules = asked.rules()
    _refuse_early(rules, asked)
    store, kind, plan = Store(asked.values.folder), READINGS[asked.kind], Months([], Counter(), [])
    bounds, points = list(_bounds(store, asked.now)), _points()
    in_force = {(row["month"], row["part"]): row for row in store.manifest().to_pylist()}
    for month in sorted({month for month, _ in in_force}):
        mine = [row for (name, _), row in in_force.items() if name == month]
        start, end = mine[0]["ts_from"], mine[0]["ts_to"]
        if end > asked.before:
            continue
        free: list[int] = []
        for point, (is_self, series) in points.items():
            if not store.weigh(month, kind, sorted(series)):
                continue
            cause = _month_kept_because(store, point, series, rules[is_self], bounds, kind, (start, end), asked.today)
            if cause:
                plan.staying[cause] += 1
                continue
            free += series
            if rules[is_self] not in plan.rules:
                plan.rules.append(rules[is_self])
        if rows := store.weigh(month, kind, sorted(free)) if free else 0:
            plan.going.append(Month(month, sorted(free), rows, [[row["path"], row["sha256"]] for row in mine]))
    return plan


def _month_kept_because(
    store: Store, point: int, series: frozenset[int], rule: Kept, bounds: list[Bound], kind: Kind,
    span: tuple[int, int], today: date,
) -> str:  # fmt: skip
    """Why the readings of a point stay in a month; "" when they may leave."""
    free = rule.free_from(beijing(span[1]).date() - timedelta(days=1))
    if free is None:
        return "公共监测：没有查到法定期限，也没有设 public_keep_months"
    if free > today:
        return f"保存期未满（{rule.months} 个月）"
    if bound := next((one for one in bounds if series & one.series and one.start < span[1]), None):
        return f"是 {bound.name} 的证据"
    if any(key[1] == kind for text in store.verdicts([point], None, *span, all_versions=True)["inputs"].to_pylist()
           for key in orjson.loads(text)):  # fmt: skip
        return "判定直接以它们为据"
    return ""


def _points() -> dict[int, tuple[bool, frozenset[int]]]:
    """Every point: whether a discharger measures there, its series."""
    from ceguan.registry.models import Series

    found: dict[int, tuple[bool, set[int]]] = {}
    for number, point, kind in Series.objects.values_list("pk", "point_id", "point__kind"):
        found.setdefault(point, (kind in OUTLETS, set()))[1].add(number)
    return {point: (is_self, frozenset(series)) for point, (is_self, series) in found.items()}


# ── in words ──────────────────────────────────────────────────────────────────────────────────────────────────────


def show_months(plan: Months, asked: Asked) -> None:
    """What leaves and what stays, in words."""
    rows, names = sum(one.rows for one in plan.going), [one.month for one in plan.going]
    span = f"（{names[0]} 至 {names[-1]}）" if names else ""
    print(f"{asked.text} 以前{KINDS[asked.kind]}：可删 {len(names)} 个月{span}，{rows} 行")
    _show_rules(plan.rules)
    for cause, count in plan.staying.most_common():
        print(f"  不删 {count} 个点位·月：{cause}")


def _show_rules(rules: list[Kept]) -> None:
    for rule in rules:
        print(f"  依据：{rule.cite or OWN}，至少 {rule.months} 个月，已满")


def show(plan: Plan, before: str) -> None:
    """What leaves and what stays, in words."""
    size = sum(one.sealed.bytes for one in plan.going)
    records = sum(one.sealed.records for one in plan.going)
    print(f"{before} 以前收到的帧归档：可删 {len(plan.going)} 段，{said(size)}，{records} 条记录")
    _show_rules(plan.rules)
    for stream in sorted({one.stream for one in plan.going}):
        mine = [one.sealed for one in plan.going if one.stream == stream]
        first, last = min(one.first_recv or 0 for one in mine), max(one.last_recv or 0 for one in mine)
        span = f"{_day(first)} 至 {_day(last)} 收到"
        print(f"  归档流 {stream}：{len(mine)} 段（{mine[0].segment}–{mine[-1].segment}），{span}")
    for cause, count in plan.staying.most_common():
        print(f"  不删 {count} 段：{cause}")


def _day(moment: float) -> str:
    return f"{beijing(moment):%Y-%m-%d}"
