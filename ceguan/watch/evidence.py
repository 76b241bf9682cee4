"""What keeps the frame archive provable: proof lines for what was sealed, the heads of its chains noted once a day.

A chain cannot show that its own end was cut off; so its head stands in the audit trail, another chain in another
database, every Beijing day. `ceguan archive verify --noted` asks whether all of them are still part of the archive.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from django.db import transaction

from ceguan.intake.evidence import Noted
from ceguan.registry import audit
from ceguan.registry.models import AuditEvent
from ceguan.settings import Settings
from ceguan.store import proofs
from ceguan.store.proofs import Head
from ceguan.watch import forgetting
from ceguan.words import beijing

ACTION = "archive.head"
SUBJECT = "archive"
MOST = 8
"""Proof lines made for a stream in one step: an old archive is proved bit by bit, not at the ledger's cost."""


def step(values: Settings, now: float) -> int:
    """Make the proof lines that are missing and, on a new day, note the heads; delete what an interrupted act left.
    Returns how many lines.

    Raises ArchiveError when a sealed segment no longer has its hash, SettingError for a digest nobody knows.
    """
    folder = values.folder / "archive"
    if not noted_on(now):
        note(folder, now)
    made = proofs.prove_all(folder, now, values.archive_digest, MOST)
    forgetting.finish(values)
    return made


def noted_on(now: float) -> bool:
    """Whether heads have been noted on this Beijing day or later."""
    last = AuditEvent.objects.filter(subject=SUBJECT, action=ACTION).order_by("-seq").first()
    return last is not None and beijing(last.at.timestamp()).date() >= beijing(now).date()


def note(folder: Path, now: float) -> list[Head]:
    """Write the heads into the audit trail; nothing while there is no archive."""
    heads = proofs.heads(folder)
    if heads:
        with transaction.atomic():
            audit.record(
                None, ACTION, SUBJECT, "每日记下帧归档的链头", {"heads": [head._asdict() for head in heads]}, now
            )
    return heads


def noted() -> list[Noted]:
    """All heads ever noted, oldest first."""
    events = AuditEvent.objects.filter(subject=SUBJECT, action=ACTION).order_by("seq")
    return [
        Noted(event.at.astimezone(UTC).isoformat(), event.seq, event.hash, Head(**head))
        for event in events
        for head in event.detail["heads"]
    ]
