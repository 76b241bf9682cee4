"""A reviewer's decision about readings: one record in the archive, audited; the clockwork brings it into force."""

from __future__ import annotations

import orjson
from django.conf import settings
from django.db import transaction

from ceguan.intake.quarantine import STREAMS
from ceguan.registry import audit
from ceguan.registry.models import Series, User
from ceguan.store import RecordKind, open_free_stream
from ceguan.words import FrameRef, Kind


def decide(
    user: User, series: Series, kind: Kind, ts_from: int, ts_to: int, action: str, why: str, evidence: str,
    value: float | None, zs: float | None, now: float,
) -> FrameRef:  # fmt: skip
    """Write the decision about [ts_from, ts_to); on disk when this returns. Nothing is written when the audit fails.

    Raises StreamTakenError when every stream is in use, OSError when the disk refuses.
    """
    record = {
        "series": series.id, "kind": int(kind), "ts_from": ts_from, "ts_to": ts_to, "action": action,
        "who": user.username, "at": now, "why": why, "evidence": evidence, "value": value, "zs": zs,
    }  # fmt: skip
    with transaction.atomic():
        audit.record(user, "decide", f"point:{series.point.code}", why, record, now)
        with open_free_stream(settings.CEGUAN.folder / "archive", STREAMS) as writer:
            ref = writer.append(RecordKind.DECISION, now, f"web:{user.username}", orjson.dumps(record))
            writer.sync()
    return ref
