"""留痕: one append-only chain of everything done to registers and cases.

Each event's hash is SHA-256 over its canonical JSON, which holds the hash of the event before. The database forbids
UPDATE and DELETE on the table (migration append_only); `verify` finds what was changed around the database. A chain
cannot show that its own end was cut off: note `head()` somewhere else from time to time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from ceguan.registry.models import AuditEvent, User

START = "0" * 64
"""The hash before the first event."""


class OutsideTransactionError(RuntimeError):
    """An audit event must be written in the transaction of what it records, so that neither stands alone."""


def canonical(content: Mapping[str, Any]) -> str:
    """One text for one content: keys sorted, no spaces, UTF-8 as it is. Raises TypeError for what JSON cannot say."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical text, hex."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def stamp(moment: datetime) -> str:
    """The moment as the hash sees it: UTC, microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def record(
    who: User | None, action: str, subject: str, reason: str, detail: Mapping[str, Any], now: float
) -> AuditEvent:
    """Append one event in the caller's transaction. `subject` names the object, e.g. "point:A1".

    Raises OutsideTransactionError outside a transaction.
    """
    if not connection.in_atomic_block:
        raise OutsideTransactionError("留痕须与所记的事在同一事务中")
    last = AuditEvent.objects.order_by("-seq").first()
    event = AuditEvent(
        seq=last.seq + 1 if last else 1,
        at=datetime.fromtimestamp(now, UTC),
        who=who,
        action=action,
        subject=subject,
        reason=reason,
        detail=json.loads(canonical(detail)),
        prev_hash=last.hash if last else START,
    )
    event.hash = digest(content(event))
    event.save(force_insert=True)
    return event


def content(event: AuditEvent) -> dict[str, Any]:
    """What an event's hash covers."""
    return {
        "seq": event.seq, "at": stamp(event.at), "who": event.who_id, "action": event.action,
        "subject": event.subject, "reason": event.reason, "detail": event.detail, "prev_hash": event.prev_hash,
    }  # fmt: skip


def verify() -> str | None:
    """None when the whole chain holds, else a sentence that names the first break."""
    before, expected = START, 1
    for event in AuditEvent.objects.order_by("seq").iterator():
        if event.seq != expected:
            return f"留痕链断于第 {expected} 条：该条缺失，下一条是第 {event.seq} 条"
        if event.prev_hash != before:
            return f"留痕链断于第 {event.seq} 条：它所接的不是第 {event.seq - 1} 条"
        if event.hash != digest(content(event)):
            return f"留痕链断于第 {event.seq} 条：内容与其哈希不符（{event.action} {event.subject}）"
        before, expected = event.hash, expected + 1
    return None


def head() -> tuple[int, str]:
    """(number of events, hash of the last): what to note outside the platform."""
    last = AuditEvent.objects.order_by("-seq").first()
    return (last.seq, last.hash) if last else (0, START)
