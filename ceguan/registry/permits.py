"""许可限值 as dated versions: an edit closes the version in force and opens a new one, with a reason, audited."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from ceguan.registry import audit, rights
from ceguan.registry.label import name
from ceguan.registry.models import Permit, PermitLimit, Point, User
from ceguan.words import beijing


class LimitError(ValueError):
    """The new version cannot stand; the message says why and what would be possible."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a limit says. `low` only where there is a lower bound (pH); `trust` as in the tables of standards."""

    factor: str
    basis: str  # hour, day
    high: float
    unit: str
    standard: str
    clause: str
    low: float | None = None
    converted: bool = False
    trust: str = "P"


def limits_on(day: date, points: Iterable[Point | int]) -> list[PermitLimit]:
    """The limits in force at these points on a Beijing date, by point and factor."""
    in_force = Q(valid_from__lte=day) & (Q(valid_to=None) | Q(valid_to__gte=day))
    return list(PermitLimit.objects.filter(in_force, point__in=list(points)).select_related("permit"))


def versions(point: Point) -> list[PermitLimit]:
    """Every version at a point, factor by factor, the newest first."""
    return list(point.limits.select_related("permit", "changed_by").order_by("factor", "basis", "-valid_from", "-pk"))


def set_limit(
    permit: Permit, point: Point, terms: Terms, valid_from: date, reason: str, user: User, now: float
) -> PermitLimit:
    """Open a version from a day on; the version in force until then ends the day before. Returns the new one.

    Raises rights.Forbidden, LimitError.
    """
    rights.require(user, "limit", point)
    reason = reason.strip()
    with transaction.atomic():
        same = PermitLimit.objects.filter(point=point, factor=terms.factor, basis=terms.basis)
        current = same.filter(valid_to=None).first()
        _check(permit, point, terms, current, valid_from, reason, now)
        if current is not None:
            current.valid_to = valid_from - timedelta(days=1)
            current.save(update_fields=["valid_to"])
        made = PermitLimit.objects.create(
            permit=permit, point=point, valid_from=valid_from, reason=reason, changed_by=user, **asdict(terms)
        )
        before = asdict(_terms(current)) if current else None
        detail = {"before": before, "after": asdict(terms), "valid_from": valid_from.isoformat(), "limit": made.pk}
        audit.record(user, "limit.set", f"point:{point.code}", reason, detail, now)
        return made


def _terms(limit: PermitLimit) -> Terms:
    return Terms(
        limit.factor, limit.basis, limit.high, limit.unit, limit.standard, limit.clause,
        limit.low, limit.converted, limit.trust,
    )  # fmt: skip


def _check(
    permit: Permit, point: Point, terms: Terms, current: PermitLimit | None, valid_from: date, reason: str, now: float
) -> None:
    """Raises LimitError for the first thing that does not hold."""
    problems = (
        (not reason, _("请填写变更理由")),
        (permit.enterprise_id != point.enterprise_id,
         _("%(permit)s 不是%(point)s所属单位的许可证") % {"permit": permit, "point": name(point)}),
        (not terms.standard.strip() or not terms.clause.strip(), _("请写明依据的标准和条款")),
        (terms.high <= 0, _("限值应大于零")),
        (terms.low is not None and terms.low >= terms.high, _("下限应小于限值")),
        (not permit.valid_from <= valid_from <= permit.valid_to,
         _("生效日应在许可证有效期内（%(first)s 至 %(last)s）")
         % {"first": permit.valid_from, "last": permit.valid_to}),
        # Judgements already made rest on the limits registered then; a version never reaches back behind them.
        (valid_from < beijing(now).date(), _("生效日不能早于今天：已作出的判定以当时登记的限值为准")),
        (current is not None and valid_from <= current.valid_from,
         _("现行版本自 %(first)s 起生效，新版本须晚于这一天") % {"first": current.valid_from if current else ""}),
        (current is not None and _terms(current) == terms, _("内容与现行版本相同，没有可变更的")),
    )  # fmt: skip
    found = next((text for wrong, text in problems if wrong), None)
    if found:
        raise LimitError(found)
