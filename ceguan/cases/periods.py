"""The bureau's own periods: dated, with a reason, audited; they hold for clocks that begin from their day on."""

from __future__ import annotations

from datetime import date

from django.db import transaction
from django.utils.translation import gettext as _

from ceguan.cases.models import Period
from ceguan.registry import audit, rights
from ceguan.registry.label import label
from ceguan.registry.models import User
from ceguan.standards.procedures import Procedure, Step
from ceguan.words import beijing

LONGEST = 365


class PeriodError(ValueError):
    """The period cannot be set; the message says why."""


def set_period(
    procedure: Procedure, step: Step, days: int, unit: str, valid_from: date, reason: str, user: User, now: float
) -> Period:
    """A new period for a step from a day after today on. Raises rights.Forbidden, PeriodError."""
    rights.require(user, "period")
    problems = (
        (step.period is None, _("“%(step)s”没有期限") % {"step": label(step.label)}),
        (not reason.strip(), _("请填写理由")),
        (not 1 <= days <= LONGEST, _("期限应为 1 至 %(most)d 天") % {"most": LONGEST}),
        (unit not in ("wd", "d"), _("单位应为工作日（wd）或日（d）")),
        (valid_from <= beijing(now).date(), _("生效日应在今天之后：正在计算的期限不因新设定而改变")),
    )
    found = next((text for wrong, text in problems if wrong), None)
    if found:
        raise PeriodError(found)
    with transaction.atomic():
        period = Period.objects.create(
            procedure=procedure.id, step=step.id, days=days, unit=unit, valid_from=valid_from,
            reason=reason.strip(), by=user,
        )  # fmt: skip
        detail = {"days": days, "unit": unit, "valid_from": valid_from.isoformat(), "table": step.period}
        audit.record(user, "period.set", f"period:{procedure.id}/{step.id}", reason.strip(), detail, now)
        return period
