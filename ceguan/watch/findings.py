"""Findings: raised by the clockwork, handled by people. The same finding again folds into the open one.

(point, rule) is unique among open findings in the database itself, so two processes cannot open two. A finding is
raised at most once for the same verdict, however often the clockwork is restarted in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from ceguan.registry import audit, rights
from ceguan.registry.models import Point, User
from ceguan.watch import notices
from ceguan.watch.models import Finding, FindingEvent

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
    """Open a finding, or fold it into the open one of this point and rule.

    `at`: time of the occurrence. Nothing changes when all `verdict_ids` are known already, or when `detail` names the
    same "occurrence" as the open finding and is not newer: raising is idempotent. A new finding, or one whose level
    rises, makes notices.
    """
    known = _of_verdicts(point, rule, verdict_ids)
    if known is not None:
        return known
    fields = {"level": level, "title_zh": title_zh, "title_en": title_en, "detail": dict(detail)}
    try:
        with transaction.atomic():
            finding = Finding.objects.create(
                point=point, rule=rule, verdicts=list(verdict_ids),
                first_at=when(at), last_at=when(at), made_at=when(now), **fields,
            )  # fmt: skip
            _event(finding, None, "raised", title_zh, now)
            notices.enqueue(finding, now)
            return finding
    except IntegrityError:  # it is open already, or another process was quicker
        return _fold(point, rule, fields, verdict_ids, at, now)


def _of_verdicts(point: Point, rule: str, verdict_ids: Sequence[int]) -> Finding | None:
    """The finding, open or not, that already rests on all of these verdicts."""
    if not verdict_ids:
        return None
    wanted = set(verdict_ids)
    recent = Finding.objects.filter(point=point, rule=rule).order_by("-last_at")[:20]
    return next((finding for finding in recent if wanted <= set(finding.verdicts)), None)


def _fold(
    point: Point, rule: str, fields: dict[str, Any], verdict_ids: Sequence[int], at: float, now: float
) -> Finding:
    with transaction.atomic():
        finding = Finding.objects.filter(point=point, rule=rule, state__in=Finding.OPEN_STATES).first()
        if finding is None:  # closed between our two looks: open it anew
            return raise_finding(point, rule, **fields, verdict_ids=verdict_ids, at=at, now=now)
        fresh = [number for number in verdict_ids if number not in finding.verdicts]
        occurrence = fields["detail"].get("occurrence")
        again = occurrence is not None and occurrence == finding.detail.get("occurrence")
        if not fresh and again and when(at) <= finding.last_at:
            return finding
        rose = fields["level"] > finding.level
        if when(at) >= finding.last_at:
            finding.last_at = when(at)
            finding.title_zh, finding.title_en, finding.detail = (fields[k] for k in ("title_zh", "title_en", "detail"))
        finding.first_at = min(finding.first_at, when(at))
        finding.level = max(finding.level, fields["level"])
        finding.verdicts = [*finding.verdicts, *fresh]
        finding.count = F("count") + (0 if again else 1)
        finding.save()
        finding.refresh_from_db()
        if rose:
            notices.enqueue(finding, now)
        return finding


def revise_finding(
    point: Point, rule: str, previous: int, verdict: int, still: bool, text: str, now: float
) -> Finding | None:
    """A verdict behind a finding was recomputed: say so, and end an open, unclaimed finding that has lost its ground.

    `previous`, `verdict`: ids of the old and the new version; `still`: the new one says the same. Idempotent. Returns
    the finding, None when no finding rests on `previous`.
    """
    with transaction.atomic():
        recent = Finding.objects.filter(point=point, rule=rule).order_by("-last_at")[:50]
        finding = next((one for one in recent if previous in one.verdicts), None)
        if finding is None or verdict in finding.verdicts:
            return finding
        revised = {**finding.detail.get("revised", {}), str(previous): {"by": verdict, "still": still}}
        finding.detail = {**finding.detail, "revised": revised}
        finding.verdicts = [*finding.verdicts, verdict]
        finding.save()
        _event(finding, None, "revised", text, now)
        if not still and finding.state == "open" and not _ground(finding):
            end_finding(point, rule, "所依据的判定重算后均不再成立", now)
            finding.refresh_from_db()
        return finding


def _ground(finding: Finding) -> bool:
    """Whether a verdict is left that has not been revised away."""
    revised = finding.detail.get("revised", {})
    revisions = {one["by"]: one["still"] for one in revised.values()}
    return any(str(number) not in revised and revisions.get(number, True) for number in finding.verdicts)


def end_finding(point: Point, rule: str, why: str, now: float) -> bool:
    """End the open finding nobody has claimed; a claimed one only gets an event. Returns whether one was ended."""
    with transaction.atomic():
        ended = Finding.objects.filter(point=point, rule=rule, state="open").first()
        if ended is not None:
            Finding.objects.filter(pk=ended.pk, state="open").update(state="ended")
            _event(ended, None, "ended", why, now)
            return True
        held = Finding.objects.filter(point=point, rule=rule, state__in=("claimed", "case")).first()
        if held is not None and (held.events.last() is None or held.events.last().text != why):
            _event(held, None, "note", why, now)
        return False


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
    return _event(finding, user, action, text, now)


def _event(finding: Finding, user: User | None, action: str, text: str, now: float) -> FindingEvent:
    return FindingEvent.objects.create(finding=finding, at=when(now), who=user, action=action, text=text[:500])
