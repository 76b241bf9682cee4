"""证据包: taken from the page of a device, with a right of its own, a reason, and a line in the audit trail."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.views.decorators.http import require_POST

from ceguan import clock
from ceguan.intake import evidence
from ceguan.registry import rights
from ceguan.registry.models import Device
from ceguan.store import ArchiveError
from ceguan.watch.evidence import noted
from ceguan.web.store import store
from ceguan.words import BEIJING, beijing


@require_POST
def pack(request: HttpRequest) -> HttpResponse:
    """The pack as a file; what is wrong with the question stands on the page of the device."""
    given, mine = request.POST, rights.visible_points(request.user)
    device = get_object_or_404(Device.objects.select_related("point"), mn=given.get("mn", ""), point__in=mine)
    rights.require(request.user, "evidence", device.point)
    now = clock.now()
    try:
        start, end = _moment(given.get("from", "")), _moment(given.get("to", ""))
        wanted = evidence.Request(
            device.mn, start, end, now, given.get("reason", ""), request.user.get_username(), mask="mask" in given
        )
        digest = settings.CEGUAN.archive_digest
        content = evidence.issue(store(), device, wanted, request.user, noted(), digest)
    except (evidence.PackError, ArchiveError) as error:
        messages.error(request, str(error))
        return redirect(f"{reverse('device')}?{urlencode({'mn': device.mn})}#evidence")
    answer = HttpResponse(content, content_type="application/zip")
    name = f"evidence-{device.mn}-{beijing(start):%Y%m%d%H%M}-{beijing(end):%Y%m%d%H%M}.zip"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "no-store"
    return answer


def _moment(text: str) -> float:
    """Beijing wall time of <input type=datetime-local>. Raises PackError."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()
    except ValueError:
        raise evidence.PackError(gettext("请填写起止时间（北京时间）。")) from None


urls = [path("intake/evidence/", pack, name="evidence")]
