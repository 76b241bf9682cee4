"""案件: board, list, the page of one case with its evidence, steps and chain, and its export."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import IO, Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Q
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop
from django.views.decorators.http import require_POST

from ceguan import clock
from ceguan.cases import clocks, engine, files
from ceguan.cases.models import Attachment, Case, CaseEvent
from ceguan.registry import audit, rights
from ceguan.registry.label import label
from ceguan.registry.models import User
from ceguan.standards import procedures
from ceguan.standards.procedures import Procedure
from ceguan.watch.findings import when
from ceguan.web.evidence import Evidence, evidence
from ceguan.web.pages.inbox import regions
from ceguan.words import Label, Role

ROWS = 50
BOARD = (
    (gettext_noop("待派发"), ("filed",)),
    (gettext_noop("待签收"), ("dispatched",)),
    (gettext_noop("处理中"), ("signed", "checked", "visited")),
    (gettext_noop("待核查"), ("answered", "reviewed")),
    (gettext_noop("已办结"), ("closed", "withdrawn")),
)
"""Columns of the board and the states in each."""
SETTLED_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Query:
    """What the address asks for. `state`: "" = running, all, ended, or a state; `mine`, `overdue`: "1" or ""."""

    state: str = ""
    mine: str = ""
    overdue: str = ""
    region: str = ""
    q: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Query:
        return cls(**{field.name: given.get(field.name, "").strip()[:100] for field in fields(cls)})

    def string(self) -> str:
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return urlencode({name: part for name, part in parts.items() if part})


class Card(NamedTuple):
    """A case as lists show it."""

    case: Case
    state: Label
    clock: clocks.Clock


def find(user: User, query: Query, now: float) -> Any:
    """The cases of a list: what is due first comes first."""
    wanted = Q()
    if query.state == "ended":
        wanted &= Q(closed_at__isnull=False)
    elif query.state != "all":
        wanted &= Q(state=query.state) if query.state else Q(closed_at=None)
    if query.mine:
        wanted &= Q(closed_at=None) & _waits_for(user)
    if query.overdue:
        wanted &= Q(closed_at=None, due_at__lte=when(now))
    if query.region:
        wanted &= Q(region__path__contains=f"/{query.region}/")
    if query.q:
        wanted &= Q(number__icontains=query.q) | Q(title__icontains=query.q) | Q(point__name_zh__icontains=query.q)
    found = rights.visible_cases(user).filter(wanted)
    return found.select_related("point", "region", "enterprise", "assignee").order_by("closed_at", "due_at", "number")


def _waits_for(user: User) -> Q:
    """Cases whose awaited step this person may do by role, and as the officer in charge where that is asked."""
    waiting = Q(pk__in=())
    for procedure in procedures.procedures().values():
        for state in procedure.states.values():
            step = procedure.steps.get(state.clock)
            if step is not None and user.role in step.roles:
                mine = Q(procedure=procedure.id, state=state.id)
                bound = step.assignee_only and user.role != Role.ENTERPRISE
                done = Q(events__step__in=step.not_by, events__who=user)
                waiting |= (mine & Q(assignee=user)) if bound else mine & ~Q(pk__in=Case.objects.filter(done))
    return waiting


def cards(found: Iterable[Case], now: float) -> list[Card]:
    chosen = list(found)
    running = clocks.clocks(chosen, now)
    return [Card(case, engine.procedure_of(case).states[case.state].label, running[case.pk]) for case in chosen]


def board(request: HttpRequest) -> HttpResponse:
    """The board, or with view=list the same cases as a table."""
    now, query = clock.now(), Query.read(request.GET)
    as_list = request.GET.get("view") == "list"
    context: dict[str, Any] = {
        "query": query, "now": now, "as_list": as_list, "regions": regions(request.user),
        "states": [state for procedure in procedures.procedures().values() for state in procedure.states.values()],
        "overdue": find(request.user, Query(overdue="1"), now).count(),
        "mine": find(request.user, Query(mine="1"), now).count(),
    }  # fmt: skip
    if as_list:
        page_ = Paginator(find(request.user, query, now), ROWS).get_page(request.GET.get("page"))
        context |= {"page": page_, "cards": cards(page_.object_list, now), "total": page_.paginator.count}
    else:
        context["columns"] = _columns(request.user, query, now)
    return render(request, "cases/cases.html", context)


def _columns(user: User, query: Query, now: float) -> list[dict[str, Any]]:
    """Cases by column; of the settled ones the latest few."""
    everything = Query(
        state=query.state or "all", mine=query.mine, overdue=query.overdue, region=query.region, q=query.q
    )
    columns = []
    for name, states in BOARD:
        found = find(user, everything, now).filter(state__in=states)
        total = found.count()
        settled = "closed" in states
        shown = found.order_by("-closed_at")[:SETTLED_SHOWN] if settled else found[:ROWS]
        more = "ended" if settled else states[0] if len(states) == 1 else ""
        columns.append({"name": _(name), "cards": cards(shown, now), "total": total, "more": more})
    return columns


# ---- one case


def visible(user: User, number: str) -> Case:
    """The case, or 404: whether a case outside one's rights exists is not told."""
    found = rights.visible_cases(user).select_related("point__region", "enterprise", "region", "assignee")
    return get_object_or_404(found, number=number)


def page(request: HttpRequest, number: str) -> HttpResponse:
    return _show(request, visible(request.user, number), clock.now())


def _show(
    request: HttpRequest, case: Case, now: float, error: str = "", doing: str = "", status: int = 200
) -> HttpResponse:
    procedure, user = engine.procedure_of(case), request.user
    actions = engine.actions_for(case, user, now)
    running = clocks.clock(case, now)
    context = {
        "case": case, "procedure": procedure, "state": procedure.states[case.state], "clock": running, "now": now,
        "unit": clocks.UNITS[running.unit], "timeline": timeline(case, user), "broken": engine.verify(case),
        "allowed": [action for action in actions if action.allowed],
        "barred": [action for action in actions if not action.allowed],
        "awaited": procedure.states[case.state].clock,
        "evidence": [evidence(finding) for finding in case.findings.select_related("point")],
        "can_export": rights.can(user, "case_export", case), "accept": ",".join(files.KINDS),
        "error": error, "doing": doing, "given": request.POST if doing else {}, "most": files.MOST,
        "largest": files.LARGEST,
    }  # fmt: skip
    return render(request, "cases/case.html", context, status=status)


class Entry(NamedTuple):
    """An event as the timeline shows it; `open` is False where only that it was done may be seen."""

    event: CaseEvent
    label: Label
    after: Label
    tone: str
    open: bool
    facts: list[tuple[Label, str]]
    files: list[Attachment]


def timeline(case: Case, user: User) -> list[Entry]:
    """The events in order, with what this person may see of each."""
    procedure = engine.procedure_of(case)
    events = case.events.order_by("seq").select_related("who").prefetch_related("files")
    return [_entry(procedure, event, user, case) for event in events]


def _entry(procedure: Procedure, event: CaseEvent, user: User, case: Case) -> Entry:
    open_ = may_read(event, user, case)
    step = procedure.steps.get(event.step)
    tone = "done" if procedure.states[event.after].end else step.tone if step else ""
    facts = [(field.label, _said(field.kind, event.data.get(field.id))) for field in step.fields] if step else []
    return Entry(
        event, engine.step_label(procedure, event.step), procedure.states[event.after].label, tone, open_,
        facts if open_ else [], engine.attached(event) if open_ else [],
    )  # fmt: skip


def _said(kind: str, value: Any) -> str:
    """A recorded field in words; an officer by name."""
    return str(User.objects.filter(pk=value).first() or value) if kind == "officer" else str(value)


def may_read(event: CaseEvent, user: User, case: Case) -> bool:
    """Whether text, fields and files are for this person: the office sees all, the enterprise what the table opens."""
    if rights.can(user, "case_internal", case):
        return True
    step = engine.procedure_of(case).steps.get(event.step)
    return step is not None and step.party_sees


@require_POST
def act(request: HttpRequest, number: str, action: str) -> HttpResponse:
    """Do one step. When it is refused the page comes back with the reason and what had been written."""
    case, now = visible(request.user, number), clock.now()
    text, uploads = request.POST.get("text", ""), request.FILES.getlist("files")
    try:
        event = engine.act(case, request.user, action, text, request.POST.dict(), uploads, now)
    except (engine.RefusedError, files.FileRefusedError) as refused:
        return _show(request, visible(request.user, number), now, str(refused), action, 409)
    except PermissionDenied as forbidden:
        return _show(request, visible(request.user, number), now, str(forbidden), action, 403)
    done = label(engine.step_label(engine.procedure_of(case), event.step))
    messages.success(request, _("“%(step)s”已办理，记为第 %(seq)s 步。") % {"step": done, "seq": event.seq})
    return redirect("case", case.number)


def attachment(request: HttpRequest, number: str, pk: int) -> HttpResponse:
    """One piece of evidence, after its hash has been checked; always as a download."""
    case = visible(request.user, number)
    found = get_object_or_404(Attachment.objects.select_related("event"), pk=pk, event__case=case)
    if not may_read(found.event, request.user, case):
        raise rights.Forbidden(_("这个环节的材料只供办案人员查看。"))
    try:
        content = files.open_verified(found)
        return FileResponse(content, as_attachment=True, filename=found.name, content_type=found.content_type)
    except files.FileDamagedError as damage:
        return _show(request, case, clock.now(), str(damage), status=409)


# ---- export


def export(request: HttpRequest, number: str) -> FileResponse:
    """The whole file of a case as one zip: a page to read, events as JSON with their hashes, readings, evidence."""
    case, now = visible(request.user, number), clock.now()
    rights.require(request.user, "case_export", case)
    pack = tempfile.SpooledTemporaryFile(max_size=8 << 20)  # noqa: SIM115  FileResponse closes it
    write_pack(pack, case, request.user, now)
    with transaction.atomic():
        detail = {"events": case.events.count()}
        audit.record(request.user, "case.export", engine.subject(case), _("导出案卷"), detail, now)
    pack.seek(0)
    return FileResponse(pack, as_attachment=True, filename=f"{case.number}.zip", content_type="application/zip")


def write_pack(target: IO[bytes], case: Case, user: User, now: float) -> None:
    found = [evidence(finding) for finding in case.findings.select_related("point")]
    entries = timeline(case, user)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as pack:
        missing = [text for entry in entries for one in entry.files if (text := _pack_file(pack, entry.event, one))]
        broken = engine.verify(case)
        context = {
            "case": case, "procedure": engine.procedure_of(case), "timeline": entries, "evidence": found, "now": now,
            "state": engine.procedure_of(case).states[case.state], "broken": broken, "missing": missing, "user": user,
        }  # fmt: skip
        pack.writestr("index.html", render_to_string("cases/pack.html", context))
        pack.writestr("events.json", json.dumps(_events(case), ensure_ascii=False, indent=1))
        pack.writestr("readings.csv", "\ufeff" + _readings(found))


def name_in_pack(event: CaseEvent, one: Attachment) -> str:
    return f"files/{event.seq:02d}-{one.sha256[:8]}-{one.name}"


def _pack_file(pack: zipfile.ZipFile, event: CaseEvent, one: Attachment) -> str:
    """Add one piece of evidence; returns what is wrong with it, "" when it is whole."""
    try:
        with files.open_verified(one) as file, pack.open(name_in_pack(event, one), "w") as place:
            while block := file.read(1 << 20):
                place.write(block)
    except files.FileDamagedError as damage:
        return str(damage)
    return ""


def _events(case: Case) -> dict[str, Any]:
    """Events as their hashes cover them, so that anybody can compute the chain again."""
    events = case.events.order_by("seq").prefetch_related("files")
    return {
        "rule": "hash = SHA-256 of the JSON of `content`: keys sorted, separators ',' and ':', UTF-8",
        "events": [{"content": engine.content(one, engine.attached(one)), "hash": one.hash} for one in events],
    }


def _readings(found: list[Evidence]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["series", "factor", "kind", "time", "value", "converted", "unit", "flag", "version"])
    for one in found:
        for row in one.readings:
            factor, unit = (row["of"].factor, row["of"].unit) if row["of"] else ("", "")
            moment = when(row["ts"]).astimezone(clocks.BEIJING).isoformat()
            cells = [row["series"], factor, row["kind"], moment, row["value"], row["zs"], unit, row["flag"], row["ver"]]
            writer.writerow(["" if cell != cell else cell for cell in cells])
    return text.getvalue()


urls = [
    path("cases/", board, name="cases"),
    path("cases/<str:number>/", page, name="case"),
    path("cases/<str:number>/export.zip", export, name="case-export"),
    path("cases/<str:number>/files/<int:pk>/", attachment, name="case-file"),
    path("cases/<str:number>/<str:action>/", act, name="case-act"),
]
