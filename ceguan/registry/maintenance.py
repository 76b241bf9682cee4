"""维护窗口: announced beforehand, with a reason; in it silence is maintenance, not a fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils.translation import gettext as _

from ceguan.registry import audit, rights
from ceguan.registry.models import Maintenance, Point, User

LATEST_ANNOUNCEMENT = timedelta(hours=1)
LONGEST = timedelta(days=30)
"""How long after its start a window may still be announced, and how long it may be: settings of the platform, no text
read so far sets them."""


class WindowError(ValueError):
    """The window cannot be announced or cancelled; the message says why."""


def announce(point: Point, start: datetime, end: datetime, reason: str, user: User, now: float) -> Maintenance:
    """Announce a window. Raises rights.Forbidden, WindowError."""
    rights.require(user, "maintain", point)
    reason, moment = reason.strip(), datetime.fromtimestamp(now, UTC)
    problems = (
        (not reason, _("请填写维护原因")),
        (end <= start, _("结束时间应晚于开始时间")),
        (start < moment - LATEST_ANNOUNCEMENT, _("维护须事先公告：开始时间最多可比现在早一小时")),
        (end - start > LONGEST, _("一个维护窗口最长 %(most)d 天") % {"most": LONGEST.days}),
    )
    found = next((text for wrong, text in problems if wrong), None)
    if found:
        raise WindowError(found)
    with transaction.atomic():
        if point.maintenance.filter(start__lt=end, end__gt=start).exists():
            raise WindowError(_("与已公告的维护窗口重叠"))
        window = Maintenance.objects.create(point=point, start=start, end=end, reason=reason, by=user)
        audit.record(user, "maintenance.announce", f"point:{point.code}", reason, _detail(window), now)
        return window


def cancel(window: Maintenance, user: User, reason: str, now: float) -> None:
    """Take back a window that has not begun, or end one that runs. Raises rights.Forbidden, WindowError."""
    rights.require(user, "maintain", window.point)
    reason, moment = reason.strip(), datetime.fromtimestamp(now, UTC)
    if not reason:
        raise WindowError(_("请填写取消的原因"))
    if window.end <= moment:
        raise WindowError(_("该维护窗口已经结束"))
    detail, begun = _detail(window), window.start < moment
    with transaction.atomic():
        action = "maintenance.end" if begun else "maintenance.cancel"
        audit.record(user, action, f"point:{window.point.code}", reason, detail, now)
        if begun:
            window.end = moment
            window.save(update_fields=["end"])
        else:
            window.delete()


def _detail(window: Maintenance) -> dict[str, str]:
    return {"start": audit.stamp(window.start), "end": audit.stamp(window.end), "reason": window.reason}
