"""期限: when a step is due – a function of the event log, the calendar and the periods in force, never a stored date.

The day the case came into its state does not count; the step is due at the end of the last day of the period. The
period is the one in force on the day the case came into the state: a new setting never changes a clock that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from ceguan.cases.models import Case, CaseEvent, Period
from ceguan.standards import procedures
from ceguan.standards.calendar import CalendarMissing, Skipped, add_working_days, working_days_between
from ceguan.standards.procedures import STAYS, Procedure, Step
from ceguan.words import BEIJING, Label, beijing

UNITS = {"wd": Label("工作日", "working days"), "d": Label("日", "days")}


@dataclass(frozen=True, slots=True)
class Term:
    """A period as it holds: so many days of a unit, and who says so."""

    days: int
    unit: str
    trust: str
    source: Label


@dataclass(frozen=True, slots=True)
class Due:
    """The last day of a period and the days that did not count; `problem` says why there is no day."""

    day: date | None
    skipped: tuple[Skipped, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a case: what is awaited, since when, until when. All dates are Beijing dates.

    `days_left` counts in `unit`: 0 on the last day, negative when overdue, None when there is no due day.
    `due_at` is the end of the due day, UTC epoch seconds. A case that has ended does not run.
    """

    running: bool
    step: Step | None = None
    started: date | None = None
    term: Term | None = None
    due: date | None = None
    due_at: float | None = None
    days_left: int | None = None
    skipped: tuple[Skipped, ...] = ()
    problem: str = ""

    @property
    def overdue(self) -> bool:
        return self.days_left is not None and self.days_left < 0

    @property
    def unit(self) -> str:
        return self.term.unit if self.term else "wd"

    @property
    def trust(self) -> str:
        return self.term.trust if self.term else ""

    @property
    def sentence(self) -> Label:
        """The clock in words, (Chinese, English)."""
        if not self.running or self.step is None or self.term is None:
            return Label("案件已结束，不再计期", "The case has ended; no clock runs")
        step, days, unit = self.step.label, self.term.days, UNITS[self.unit]
        if self.due is None:
            return Label(f"{step.zh}期限无法推算：{self.problem}", f"No due day for “{step.en}”: {self.problem}")
        zh = f"{self.started} 进入本环节，次日起算 {days} 个{unit.zh}，{step.zh}应在 {self.due} 24:00 前完成"
        en = f"In this state since {self.started}; {days} {unit.en} from the next day; “{step.en}” is due on {self.due}"
        return Label(zh, en)


def term(procedure: Procedure, step: Step, overrides: Iterable[Period], day: date) -> Term:
    """The period of a step for a case that came to wait for it on `day`: the bureau's newest own one, else the table's.

    Raises ValueError for a step without a period.
    """
    if step.period is None:
        raise ValueError(f"{procedure.id} 的“{step.label.zh}”没有期限")
    mine = [one for one in overrides if one.step == step.id and one.valid_from <= day]
    if mine:
        own = max(mine, key=lambda one: (one.valid_from, one.pk or 0))
        source = f"本局设定，自 {own.valid_from} 起：{own.reason}"
        return Term(
            own.days, own.unit, "local", Label(source, f"Set by the bureau from {own.valid_from}: {own.reason}")
        )
    return Term(step.period, step.unit, procedure.trust, procedure.source)


def due(start: date, days: int, unit: str) -> Due:
    """The last day of a period that began with `start` (which itself does not count).

    Beyond the years whose holidays are known there is a problem instead of a day.
    """
    if unit == "d":
        return Due(start + timedelta(days=days))
    try:
        day, skipped = add_working_days(start, days)
    except CalendarMissing as missing:
        return Due(None, problem=str(missing))
    return Due(day, tuple(skipped))


def left(today: date, last: date, unit: str) -> int | None:
    """Days from today to the last day, in the unit; negative when it has passed; None beyond the calendar."""
    if unit == "d":
        return (last - today).days
    try:
        return working_days_between(today, last)
    except CalendarMissing:
        return None


def end_of(day: date) -> float:
    """The end of a Beijing day, UTC epoch seconds."""
    return datetime.combine(day + timedelta(days=1), time(), BEIJING).timestamp()


def entered(procedure: Procedure, events: Sequence[CaseEvent]) -> CaseEvent:
    """The event by which the case came into its present state: notes and the like do not start a clock anew."""
    moves = [event for event in events if event.step not in procedure.steps or procedure.steps[event.step].to != STAYS]
    return moves[-1]


def read(procedure: Procedure, events: Sequence[CaseEvent], overrides: Iterable[Period], now: float) -> Clock:
    """The clock from the events of a case, in order."""
    begun = entered(procedure, events)
    state = procedure.states[begun.after]
    if state.end:
        return Clock(False)
    step, started = procedure.steps[state.clock], beijing(begun.at.timestamp()).date()
    period = term(procedure, step, overrides, started)
    found = due(started, period.days, period.unit)
    if found.day is None:
        return Clock(True, step, started, period, problem=found.problem)
    days = _left(beijing(now).date(), found.day, period.unit)
    return Clock(True, step, started, period, found.day, end_of(found.day), days, found.skipped)


def _left(today: date, last: date, unit: str) -> int | None:
    """`left`, but a day off after the last working day already is overdue although no working day has passed."""
    days = left(today, last, unit)
    return -1 if days == 0 and today > last else days


def clock(case: Case, now: float) -> Clock:
    """The clock of a case from the database (events and periods are taken from a prefetch where there is one)."""
    procedure = procedures.procedures()[case.procedure]
    return read(procedure, sorted(case.events.all(), key=lambda event: event.seq), periods(case.procedure), now)


def clocks(cases: Iterable[Case], now: float) -> dict[int, Clock]:
    """Clocks of many cases by id, in three queries."""
    from django.db.models import prefetch_related_objects

    chosen = list(cases)
    prefetch_related_objects(chosen, "events")
    own = {name: periods(name) for name in {case.procedure for case in chosen}}
    tables = procedures.procedures()
    return {
        case.pk: read(
            tables[case.procedure], sorted(case.events.all(), key=lambda one: one.seq), own[case.procedure], now
        )
        for case in chosen
    }


def periods(procedure: str) -> list[Period]:
    """The bureau's own periods for a procedure."""
    return list(Period.objects.filter(procedure=procedure))
