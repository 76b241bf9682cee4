"""案件: opened from a finding, moved on by the steps of its procedure's table, every step an event of a hash chain.

Whatever changes – event, evidence, the columns of the case that lists read, the state of its findings, the audit
trail – changes in one transaction. The database allows one writer at a time, so two people cannot both do one step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from ceguan.cases import clocks
from ceguan.cases import files as evidence
from ceguan.cases.models import Attachment, Case, CaseEvent
from ceguan.registry import audit, rights
from ceguan.registry.label import label, listed, name
from ceguan.registry.models import User
from ceguan.standards import procedures
from ceguan.standards.procedures import Field, Procedure, Step
from ceguan.watch.findings import when
from ceguan.watch.models import Finding, FindingEvent
from ceguan.words import Label, Role, beijing

OPEN = "open"
"""Step of the event that opens a case."""
OPEN_LABEL = Label("立案", "Case opened")
LONGEST_TEXT = 5000
LONGEST_FIELD = 200


class RefusedError(ValueError):
    """The step was not done; the message says why and what is missing."""


@dataclass(frozen=True, slots=True)
class Action:
    """A step possible in the present state; `reason` says why not, or what follows. `officers`: to choose from."""

    step: Step
    allowed: bool
    reason: str
    officers: tuple[User, ...] = ()


def procedure_of(case: Case) -> Procedure:
    return procedures.procedures()[case.procedure]


def step_label(procedure: Procedure, step: str) -> Label:
    return OPEN_LABEL if step == OPEN else procedure.steps[step].label


# ---- opening


def open_from(finding: Finding, user: User, text: str, now: float) -> Case:
    """立案: a case from an open finding, which from now on folds new occurrences in as part of the case.

    Raises rights.Forbidden, RefusedError (no procedure for the rule, a case is open already, no reason given).
    """
    rights.require(user, "open_case", finding)
    procedure = procedures.for_rule(finding.rule)
    if procedure is None:
        raise RefusedError(_("这类报警没有对应的办案程序，可以认领、备注、转办或排除"))
    if not text.strip():
        raise RefusedError(_("请填写立案理由"))
    with transaction.atomic():
        if not Finding.objects.filter(pk=finding.pk, state__in=("open", "claimed")).update(state="case"):
            finding.refresh_from_db()
            raise RefusedError(_("不能立案：该报警现为“%(state)s”") % {"state": _(finding.get_state_display())})
        finding.refresh_from_db()
        point = finding.point
        case = Case.objects.create(
            number=_number(procedure, now), procedure=procedure.id, title=finding.title_zh, point=point,
            enterprise=point.enterprise, region=point.region, state=procedure.start, opened_at=when(now),
        )  # fmt: skip
        case.findings.add(finding)
        data = {"finding": finding.pk, "rule": finding.rule, "verdicts": finding.verdicts}
        _append(case, procedure, user, OPEN, "", procedure.start, text.strip(), data, [], now)
        FindingEvent.objects.create(finding=finding, at=when(now), who=user, action="case", text=case.number)
        return case


def _number(procedure: Procedure, now: float) -> str:
    """The next number of the year, such as DB-2026-0012; inside the transaction, so never given twice."""
    head = f"{procedure.prefix}-{beijing(now).year}-"
    given = Case.objects.filter(number__startswith=head).values_list("number", flat=True)
    return f"{head}{max((int(number.removeprefix(head)) for number in given), default=0) + 1:04d}"


# ---- what may be done


def actions_for(case: Case, user: User, now: float) -> list[Action]:
    """Every step of the present state in the order of the table, allowed ones and others with the reason."""
    procedure, events = procedure_of(case), list(case.events.select_related("who"))
    found = []
    for step in procedure.from_state(case.state):
        reason = _barred(case, step, user, events)
        asked = not reason and any(field.kind == "officer" for field in step.fields)
        people = tuple(officers(case, step)) if asked else ()
        found.append(Action(step, not reason, reason or label(step.consequence), people))
    return found


def officers(case: Case, step: Step) -> list[User]:
    """Whom a case can be dispatched to: enforcement officers whose region covers it, the nearest first."""
    people = rights.officers(case.region, Role.ENFORCEMENT)
    return [one for one in people if step.id != "redispatch" or one.pk != case.assignee_id]


def _barred(case: Case, step: Step, user: User, events: Iterable[CaseEvent]) -> str:
    """Why this person may not do the step now; "" when they may."""
    permission = rights.can(user, "case", case)
    if not permission:
        return permission.reason
    if user.role not in step.roles:
        return rights.reserved(step.label, step.roles, user)
    if step.assignee_only and user.role != Role.ENTERPRISE and case.assignee_id != user.pk:
        said = {"step": label(step.label), "who": case.assignee or _("（未派发）")}
        return _("“%(step)s”须由承办人%(who)s办理") % said
    procedure = procedure_of(case)
    done = next((event for event in events if event.step in step.not_by and event.who_id == user.pk), None)
    if done is not None:
        said = {"done": label(step_label(procedure, done.step)), "step": label(step.label)}
        return _("您办理过本案的“%(done)s”，按人员分离不能再办理“%(step)s”") % said
    return ""


# ---- doing it


def act(
    case: Case,
    user: User,
    action: str,
    text: str,
    data: Mapping[str, Any],
    files: Sequence[evidence.Incoming],
    now: float,
) -> CaseEvent:
    """Do one step. `data` has a text for each field of the step (an officer is given by id or as a User).

    Returns the event; `case` is brought up to date. Raises rights.Forbidden when the person may not do it, RefusedError
    when the state has changed meanwhile or text, field or evidence is missing, evidence.FileRefusedError.
    """
    rights.require(user, "case", case)
    with transaction.atomic():
        case.refresh_from_db()
        procedure = procedure_of(case)
        step = _step(procedure, case, action)
        barred = _barred(case, step, user, case.events.all())
        if barred:
            raise rights.Forbidden(barred)
        said = _text(step, text)
        fields = {field.id: _field(field, data.get(field.id), case, step, now) for field in step.fields}
        stored = _evidence(step, files)
        event = _append(case, procedure, user, step.id, case.state, step.leads(case.state), said, fields, stored, now)
        if procedure.states[event.after].end and event.before != event.after:
            _end_findings(case, user, step, now)
        return event


def _step(procedure: Procedure, case: Case, action: str) -> Step:
    step = procedure.steps.get(action)
    if step is None:
        said = {"procedure": label(procedure.label), "step": action, "steps": listed(procedure.steps)}
        raise RefusedError(_("%(procedure)s没有“%(step)s”这一步；有：%(steps)s") % said)
    if case.state not in step.sources:
        said = {"step": label(step.label), "state": label(procedure.states[case.state].label)}
        raise RefusedError(_("不能%(step)s：案件现为“%(state)s”，可能别人刚办过，请看时间线") % said)
    return step


def _text(step: Step, text: str) -> str:
    said = text.replace("\r\n", "\n").strip()
    if step.text_required and not said:
        raise RefusedError(_("请填写%(what)s") % {"what": label(step.text)})
    if len(said) > LONGEST_TEXT:
        raise RefusedError(_too_long(step.text, LONGEST_TEXT, said))
    return said


def _too_long(what: Label, most: int, said: str) -> str:
    return _("%(what)s最长 %(most)d 字，现有 %(count)d 字") % {"what": label(what), "most": most, "count": len(said)}


def _field(field: Field, given: Any, case: Case, step: Step, now: float) -> Any:
    """The value as recorded; raises RefusedError saying what would be valid."""
    if field.kind == "officer":
        wanted = given.pk if isinstance(given, User) else given
        chosen = next((one for one in officers(case, step) if str(one.pk) == str(wanted)), None)
        if chosen is None:
            words = {"what": label(field.label), "region": name(case.region)}
            raise RefusedError(_("请选择%(what)s：辖区覆盖%(region)s的在用执法人员") % words)
        return chosen.pk
    said = str(given or "").strip()
    if not said:
        raise RefusedError(_("请填写%(what)s") % {"what": label(field.label)})
    if len(said) > LONGEST_FIELD:
        raise RefusedError(_too_long(field.label, LONGEST_FIELD, said))
    if field.kind == "choice" and said not in [option.zh for option in field.options]:
        words = {"what": label(field.label), "options": listed(label(option) for option in field.options)}
        raise RefusedError(_("%(what)s应为：%(options)s") % words)
    if field.kind == "past_date":
        return _past_date(field, said, case, now)
    return said


def _past_date(field: Field, said: str, case: Case, now: float) -> str:
    try:
        day = date.fromisoformat(said)
    except ValueError:
        words = {"what": label(field.label), "day": beijing(now).date()}
        raise RefusedError(_("%(what)s应为日期，如 %(day)s") % words) from None
    first, today = beijing(case.opened_at.timestamp()).date(), beijing(now).date()
    if not first <= day <= today:
        words = {"what": label(field.label), "first": first, "today": today}
        raise RefusedError(_("%(what)s应在立案（%(first)s）与今天（%(today)s）之间") % words)
    return day.isoformat()


def _evidence(step: Step, uploads: Sequence[evidence.Incoming]) -> list[evidence.Stored]:
    """Evidence on disk. A transaction that fails later leaves a file nobody refers to, never the other way round."""
    if len(uploads) < step.evidence:
        words = {"step": label(step.label), "files": step.evidence}
        raise RefusedError(_("“%(step)s”须附证据，至少 %(files)d 个文件") % words)
    if len(uploads) > evidence.MOST:
        raise RefusedError(_("一次最多 %(files)d 个文件") % {"files": evidence.MOST})
    return [evidence.store(upload) for upload in uploads]


def _append(
    case: Case, procedure: Procedure, user: User, step: str, before: str, after: str, text: str,
    data: dict[str, Any], stored: Sequence[evidence.Stored], now: float,
) -> CaseEvent:  # fmt: skip
    """Write the event with its files, the columns of the case, the audit event – in the caller's transaction."""
    last = case.events.order_by("-seq").first()
    event = CaseEvent(
        case=case, seq=last.seq + 1 if last else 1, at=when(now), who=user, step=step, before=before, after=after,
        text=text, data=data, prev_hash=last.hash if last else audit.START,
    )  # fmt: skip
    event.hash = audit.digest(content(event, stored))
    event.save(force_insert=True)
    Attachment.objects.bulk_create(Attachment(event=event, **one._asdict()) for one in stored)
    if "assignee" in data:
        case.assignee_id = data["assignee"]
    case.state = after
    _cache(case, procedure, now)
    audit.record(user, f"case.{step}", subject(case), text[:300], {"seq": event.seq, "hash": event.hash}, now)
    return event


def _cache(case: Case, procedure: Procedure, now: float) -> None:
    """The columns that lists read, computed anew from the events."""
    clock = clocks.read(procedure, list(case.events.order_by("seq")), clocks.periods(case.procedure), now)
    case.due_at = datetime.fromtimestamp(clock.due_at, UTC) if clock.due_at is not None else None
    case.closed_at = None if clock.running else when(now)
    case.save()


def _end_findings(case: Case, user: User, step: Step, now: float) -> None:
    for finding in case.findings.filter(state="case"):
        Finding.objects.filter(pk=finding.pk, state="case").update(state="ended")
        text = f"{case.number} {step.label.zh}"
        FindingEvent.objects.create(finding=finding, at=when(now), who=user, action="ended", text=text)


# ---- the chain


def subject(case: Case) -> str:
    """How the audit trail names a case."""
    return f"case:{case.number}"


def content(event: CaseEvent, attached: Iterable[evidence.Stored | Attachment]) -> dict[str, Any]:
    """What an event's hash covers: everything in it, the hashes of its files, the hash of the event before."""
    return {
        "case": event.case.number, "seq": event.seq, "at": audit.stamp(event.at), "who": event.who_id,
        "step": event.step, "before": event.before, "after": event.after, "text": event.text, "data": event.data,
        "files": [
            {"name": one.name, "content_type": one.content_type, "size": one.size, "sha256": one.sha256}
            for one in attached
        ],
        "prev_hash": event.prev_hash,
    }  # fmt: skip


def attached(event: CaseEvent) -> list[Attachment]:
    """The files of an event in the order its hash covers."""
    return sorted(event.files.all(), key=lambda one: one.pk)


def verify(case: Case) -> str | None:
    """None when events, files and the audit trail agree, else a sentence that names the first break."""
    before, state, hashes = audit.START, "", []
    for number, event in enumerate(case.events.order_by("seq").prefetch_related("files"), start=1):
        where = f"案件 {case.number} 第 {number} 步"
        if event.seq != number or event.prev_hash != before or event.before != state:
            return f"{where}断链：它所接的不是上一步"
        if event.hash != audit.digest(content(event, attached(event))):
            return f"{where}断链：内容与其哈希不符"
        damaged = _damaged(event)
        if damaged:
            return f"{where}：{damaged}"
        before, state = event.hash, event.after
        hashes.append(event.hash)
    if state != case.state:
        return f"案件 {case.number} 的状态与其最后一步不符"
    return _against_audit(case, hashes)


def _damaged(event: CaseEvent) -> str:
    for attachment in attached(event):
        try:
            evidence.open_verified(attachment).close()
        except evidence.FileDamagedError as damage:
            return str(damage)
    return ""


def _against_audit(case: Case, hashes: list[str]) -> str | None:
    """The audit trail holds every event's hash as well: a case cut short at its end shows here."""
    events = audit.AuditEvent.objects.filter(subject=subject(case)).order_by("seq")
    noted = [event.detail.get("hash") for event in events if "hash" in event.detail]
    return (
        None if noted == hashes else f"案件 {case.number} 的步骤与留痕不符：留痕 {len(noted)} 步，案卷 {len(hashes)} 步"
    )
