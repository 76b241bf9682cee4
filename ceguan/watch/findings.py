"""Findings: raised by the clockwork, handled by people. The same finding again folds into the open one.

(point, rule) is unique among open findings in the database itself, so two processes cannot open two. A finding is
raised at most once for the same verdict, however often the clockwork is restarted in between. Thousands at once, as an
episode or an outage brings them, take the same way as one alone: read together, written together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber
from django.utils.translation import gettext as _

from ceguan.registry import audit, rights
from ceguan.registry.models import Point, User
from ceguan.watch import notices
from ceguan.watch.models import Finding, FindingEvent, Notice

T = TypeVar("T")
Pair = tuple[int, str]
"""Point and rule."""
RECENT = 50
"""So many of the newest findings of a point and rule are asked whether they rest on a verdict."""
CHANGING = ("level", "title_zh", "title_en", "detail", "verdicts", "first_at", "last_at", "count", "state")
"""What the clockwork changes of a finding; the rest belongs to people."""

EVENTS = {
    "raised": ("发现", "raised"),
    "revised": ("重新判定", "revised"),
    "ended": ("自行结束", "ended"),
    "claim": ("认领", "claimed"),
    "note": ("备注", "note"),
    "hand_over": ("转办", "handed over"),
    "dismiss": ("排除", "dismissed"),
    "mute": ("屏蔽", "muted"),
    "case": ("立案", "case opened"),
}
"""Names of finding events, (Chinese, English)."""


class FindingError(ValueError):
    """The action is not possible now; the message says why and what would be."""


def when(ts: float) -> datetime:
    """UTC epoch seconds as the aware datetime the business database keeps."""
    return datetime.fromtimestamp(ts, UTC)


class Desk:
    """The findings of some (point, rule) pairs, read at once and held until the transaction ends; what happens to them
    here is written at once by `save`. Get one from `at_once`.
    """

    def __init__(self, pairs: Set[Pair], now: float) -> None:
        self.now = now
        self._pairs = pairs
        self._found: dict[Pair, list[Finding]] = defaultdict(list)
        for finding in _held(pairs):
            self._found[finding.point_id, finding.rule].append(finding)
        self._made: list[Finding] = []
        self._changed: dict[int, Finding] = {}
        self._events: list[FindingEvent] = []
        self._notices: list[Notice] = []
        self._just_said: dict[int, str] = {}

    def save(self) -> None:
        """Write everything. Raises IntegrityError when another process opened one of the same meanwhile."""
        changed = self._changed.values()  # first, as what ended makes room; an upsert: `bulk_update` is far slower
        Finding.objects.bulk_create(changed, update_conflicts=True, unique_fields=["pk"], update_fields=CHANGING)
        Finding.objects.bulk_create(self._made)
        FindingEvent.objects.bulk_create(self._events)
        Notice.objects.bulk_create(self._notices)

    def raise_finding(
        self,
        point: int,
        rule: str,
        level: int,
        title_zh: str,
        title_en: str,
        detail: Mapping[str, Any],
        verdict_ids: Sequence[int],
        at: float,
    ) -> Finding:
        """Open a finding, or fold it into the open one of this point and rule.

        `at`: time of the occurrence. Nothing changes when all `verdict_ids` are known already, or when `detail` names
        the same "occurrence" as the open finding and is not newer: raising is idempotent. A new finding, or one whose
        level rises, makes notices.
        """
        known = self._resting_on((point, rule), verdict_ids)
        if known is not None:
            return known
        fields = {"level": level, "title_zh": title_zh, "title_en": title_en, "detail": dict(detail)}
        finding = self._open((point, rule))
        if finding is None:
            return self._make(point, rule, fields, verdict_ids, when(at))
        return self._fold(finding, fields, verdict_ids, when(at))

    def revise(self, point: int, rule: str, previous: int, verdict: int, still: bool, text: str) -> Finding | None:
        """A verdict behind a finding was recomputed: say so, and end an open, unclaimed finding that has lost its
        ground.

        `previous`, `verdict`: ids of the old and the new version; `still`: the new one says the same. Idempotent.
        Returns the finding, None when no finding rests on `previous`.
        """
        finding = self._resting_on((point, rule), [previous])
        if finding is None or verdict in finding.verdicts:
            return finding
        revised = {**finding.detail.get("revised", {}), str(previous): {"by": verdict, "still": still}}
        finding.detail = {**finding.detail, "revised": revised}
        finding.verdicts = [*finding.verdicts, verdict]
        self._change(finding)
        self._say(finding, "revised", text)
        if not still and finding.state == "open" and not _ground(finding):
            self._end(finding, "所依据的判定重算后均不再成立")
        return finding

    def end(self, point: int, rule: str, why: str) -> bool:
        """End the open finding nobody has claimed; a claimed one only gets an event. Returns whether one was ended."""
        finding = self._open((point, rule))
        if finding is None:
            return False
        if finding.state == "open":
            self._end(finding, why)
            return True
        if self._said_last(finding) != why:
            self._say(finding, "note", why)
        return False

    def _open(self, pair: Pair) -> Finding | None:
        return next((one for one in self._found[pair] if one.state in Finding.OPEN_STATES), None)

    def _resting_on(self, pair: Pair, verdict_ids: Sequence[int]) -> Finding | None:
        """The newest finding, open or not, that rests on all of these verdicts."""
        resting = (one for one in self._found[pair] if verdict_ids and set(verdict_ids) <= set(one.verdicts))
        return max(resting, key=lambda one: one.last_at, default=None)

    def _make(self, point: int, rule: str, fields: dict[str, Any], verdict_ids: Sequence[int], at: datetime) -> Finding:
        finding = Finding(
            point_id=point, rule=rule, verdicts=list(verdict_ids), first_at=at, last_at=at, made_at=when(self.now),
            **fields,
        )  # fmt: skip
        self._found[point, rule].append(finding)
        self._made.append(finding)
        self._say(finding, "raised", finding.title_zh)
        self._notify(finding)
        return finding

    def _fold(self, finding: Finding, fields: dict[str, Any], verdict_ids: Sequence[int], at: datetime) -> Finding:
        fresh = [number for number in verdict_ids if number not in finding.verdicts]
        occurrence = fields["detail"].get("occurrence")
        again = occurrence is not None and occurrence == finding.detail.get("occurrence")
        if not fresh and again and at <= finding.last_at:
            return finding
        rose = fields["level"] > finding.level
        if at >= finding.last_at:
            finding.last_at = at
            finding.title_zh, finding.title_en, finding.detail = (fields[k] for k in ("title_zh", "title_en", "detail"))
        finding.first_at = min(finding.first_at, at)
        finding.level = max(finding.level, fields["level"])
        finding.verdicts = [*finding.verdicts, *fresh]
        finding.count += not again
        self._change(finding)
        if rose:
            self._notify(finding)
        return finding

    def _end(self, finding: Finding, why: str) -> None:
        finding.state = "ended"
        self._change(finding)
        self._say(finding, "ended", why)

    def _change(self, finding: Finding) -> None:
        if finding.pk is not None:  # else it is made in one piece
            self._changed[finding.pk] = finding

    def _notify(self, finding: Finding) -> None:
        self._notices += self._audience.notices(finding, self.now)

    @cached_property
    def _audience(self) -> notices.Audience:
        return notices.Audience({point for point, _ in self._pairs})

    def _say(self, finding: Finding, action: str, text: str) -> None:
        event = FindingEvent(finding=finding, at=when(self.now), action=action, text=text[:500])
        self._events.append(event)
        if finding.pk is not None:
            self._just_said[finding.pk] = event.text

    def _said_last(self, finding: Finding) -> str | None:
        return self._just_said.get(finding.pk, self._said.get(finding.pk))

    @cached_property
    def _said(self) -> dict[int, str]:
        """The text of the last event of each finding that somebody has claimed."""
        claimed = [one.pk for some in self._found.values() for one in some if one.state in ("claimed", "case")]
        events = FindingEvent.objects.filter(finding__in=claimed).order_by("at", "id")
        return dict(events.values_list("finding", "text"))


def _held(pairs: Set[Pair]) -> list[Finding]:
    """Of each pair the open finding and the newest ones, which nobody else changes until the transaction ends."""
    points, rules = {point for point, _ in pairs}, {rule for _, rule in pairs}
    place = Window(RowNumber(), partition_by=[F("point"), F("rule")], order_by=F("last_at").desc())
    some = Finding.objects.filter(point__in=points, rule__in=rules).annotate(place=place)
    wanted = some.filter(Q(place__lte=RECENT) | Q(state__in=Finding.OPEN_STATES)).values("pk")
    rows = Finding.objects.select_for_update().filter(pk__in=wanted).order_by("pk")
    return [one for one in rows if (one.point_id, one.rule) in pairs]


def _ground(finding: Finding) -> bool:
    """Whether a verdict is left that has not been revised away."""
    revised = finding.detail.get("revised", {})
    revisions = {one["by"]: one["still"] for one in revised.values()}
    return any(str(number) not in revised and revisions.get(number, True) for number in finding.verdicts)


def at_once(pairs: Set[Pair], now: float, work: Callable[[Desk], T], tries: int = 3) -> T:
    """What `work` does to the findings of these (point, rule) pairs at their desk, in one transaction; its answer.

    It is done anew when another process opened one of the same meanwhile, so whatever else `work` does must be in the
    business database or bear repeating.
    """
    try:
        with transaction.atomic():
            desk = Desk(pairs, now)
            answer = work(desk)
            desk.save()
            return answer
    except IntegrityError:
        if tries == 1:
            raise
    return at_once(pairs, now, work, tries - 1)


def raise_finding(
    point: Point,
    rule: str,
    level: int,
    title_zh: str,
    title_en: str,
    detail: Mapping[str, Any],
    verdict_ids: Sequence[int],
    at: float,
    now: float,
) -> Finding:
    """`Desk.raise_finding` of one alone."""
    given = (point.pk, rule, level, title_zh, title_en, detail, verdict_ids, at)
    return at_once({(point.pk, rule)}, now, lambda desk: desk.raise_finding(*given))


def end_finding(point: Point, rule: str, why: str, now: float) -> bool:
    """`Desk.end` of one alone."""
    return at_once({(point.pk, rule)}, now, lambda desk: desk.end(point.pk, rule, why))


# ---- what people do: needs the right "handle" for the point, else rights.Forbidden; goes into the audit trail


def claim(finding: Finding, user: User, text: str, now: float) -> FindingEvent:
    """认领. Raises FindingError when somebody else was quicker."""
    rights.require(user, "handle", finding)
    with transaction.atomic():
        if not Finding.objects.filter(pk=finding.pk, state="open").update(state="claimed", owner=user):
            finding.refresh_from_db()
            said = {"state": _(finding.get_state_display()), "owner": finding.owner}
            if finding.owner:
                raise FindingError(_("不能认领：该发现现为“%(state)s”，由%(owner)s办理") % said)
            raise FindingError(_("不能认领：该发现现为“%(state)s”") % said)
        return _done(finding, user, "claim", text, now)


def note(finding: Finding, user: User, text: str, now: float) -> FindingEvent:
    """备注; a text is needed."""
    rights.require(user, "handle", finding)
    with transaction.atomic():
        return _done(finding, user, "note", _needed(text, _("备注内容")), now)


def hand_over(finding: Finding, user: User, text: str, now: float, *, to: User) -> FindingEvent:
    """转办 to another person who may handle it, with a reason."""
    rights.require(user, "handle", finding)
    able = rights.can(to, "handle", finding)
    if not able:
        raise FindingError(_("不能转给%(to)s：%(reason)s") % {"to": to, "reason": able.reason})
    reason = _needed(text, _("转办理由"))
    with transaction.atomic():
        _move(finding, {"state": "claimed", "owner": to}, ("open", "claimed"), _("转办"))
        return _done(finding, user, "hand_over", f"→ {to}：{reason}", now)


def dismiss(finding: Finding, user: User, text: str, now: float) -> FindingEvent:
    """排除 as a false alarm, with a reason."""
    rights.require(user, "handle", finding)
    reason = _needed(text, _("排除理由"))
    with transaction.atomic():
        _move(finding, {"state": "dismissed"}, ("open", "claimed"), _("排除"))
        return _done(finding, user, "dismiss", reason, now)


def mute(finding: Finding, user: User, text: str, now: float, *, until: datetime) -> FindingEvent:
    """屏蔽 until a time, with a reason: it goes on folding, but makes no notices. At most 30 days."""
    rights.require(user, "handle", finding)
    reason = _needed(text, _("屏蔽理由"))
    seconds = until.timestamp() - now
    if not 0 < seconds <= 30 * 86400:
        raise FindingError(_("屏蔽的截止时间应在今后 30 天之内"))
    with transaction.atomic():
        _move(finding, {"muted_until": until}, Finding.OPEN_STATES, _("屏蔽"))
        return _done(finding, user, "mute", reason, now)


def _move(finding: Finding, changes: dict[str, Any], allowed: Sequence[str], name: str) -> None:
    """Guarded change: only while the finding is in one of the allowed states."""
    if not Finding.objects.filter(pk=finding.pk, state__in=allowed).update(**changes):
        finding.refresh_from_db()
        said = {"action": name, "state": _(finding.get_state_display())}
        raise FindingError(_("不能%(action)s：该发现现为“%(state)s”") % said)


def _needed(text: str, what: str) -> str:
    if not text.strip():
        raise FindingError(_("请填写%(what)s") % {"what": what})
    return text.strip()


def _done(finding: Finding, user: User, action: str, text: str, now: float) -> FindingEvent:
    finding.refresh_from_db()
    detail = {"state": finding.state, "rule": finding.rule, "point": finding.point.code}
    audit.record(user, f"finding.{action}", f"finding:{finding.pk}", text[:300], detail, now)
    return FindingEvent.objects.create(finding=finding, at=when(now), who=user, action=action, text=text[:500])
