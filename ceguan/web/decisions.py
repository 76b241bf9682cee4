"""A reviewer's decision about readings: audited, one record in the archive; the clockwork brings it into force."""

from __future__ import annotations

import orjson
from django.conf import settings

from ceguan.intake import decided
from ceguan.intake.quarantine import STREAMS
from ceguan.registry import audit
from ceguan.registry.models import Series, User
from ceguan.store import RecordKind
from ceguan.words import FrameRef, Kind


def decide(
    user: User, series: Series, kind: Kind, ts_from: int, ts_to: int, action: str, why: str, evidence: str,
    value: float | None, zs: float | None, now: float,
) -> FrameRef:  # fmt: skip
    """Write the decision about [ts_from, ts_to), audited; on disk when this returns.

    Raises StreamTakenError when every stream is in use, OSError when the disk refuses, django.db.Error: then nothing is
    decided. Raises decided.WaitsError when it is, and reaches the archive later.
    """
    record = {
        "series": series.id, "kind": int(kind), "ts_from": ts_from, "ts_to": ts_to, "action": action,
        "who": user.username, "at": now, "why": why, "evidence": evidence, "value": value, "zs": zs,
    }  # fmt: skip
    with decided.writing(settings.CEGUAN.folder / "archive", STREAMS) as out:
        event = audit.record(user, "decide", f"point:{series.point.code}", why, record, now)
        payload = orjson.dumps(record | {"audit": event.seq})
        out.append(RecordKind.DECISION, now, f"web:{user.username}", payload)
    return out.refs[0]
