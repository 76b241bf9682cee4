"""Deleting as a recorded act: first the audit trail says what leaves, by which clause, who ordered it and why; then the
files go. What an interrupted run left is finished by the clockwork, or by the next `ceguan store forget`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from django.db import transaction

from ceguan.registry import audit
from ceguan.registry.models import AuditEvent, User
from ceguan.settings import Settings
from ceguan.store import Store, archive, forgotten, proofs
from ceguan.store.forgotten import Act, Candidate, runs
from ceguan.store.sealed import Leaving
from ceguan.words import Kind

ACTION = "store.forget"
ARCHIVE = "archive"
READINGS = {"reading_rt": Kind.RT, "reading_minute": Kind.MINUTE}
"""Kinds of readings that may leave sealed months."""
GRACE_SECONDS = 600.0
"""How long the files that lighter ones took the place of stay for who is reading them."""


def order(who: User | None, by: str, kind: str, rule: str, why: str, what: Mapping[str, Any], now: float) -> AuditEvent:
    """Put on record that data of a kind are deleted. `what` as `segments` gives it; `by`: who, in words."""
    with transaction.atomic():
        return audit.record(who, ACTION, kind, why, {"rule": rule, "by": by, **what}, now)


def segments(folder: Path, chosen: Iterable[Candidate]) -> dict[str, Any]:
    """Segments to delete as an act names them: by stream, in runs, with the SHA-256 over their proof lines – in which
    stand SHA-256, Merkle root and length of each, and which stay."""
    streams: dict[int, list[Candidate]] = {}
    for one in chosen:
        streams.setdefault(one.stream, []).append(one)
    return {"streams": [_stream(folder, stream, mine) for stream, mine in sorted(streams.items())]}


def _stream(folder: Path, stream: int, mine: list[Candidate]) -> dict[str, Any]:
    numbers = sorted(one.sealed.segment for one in mine)
    return {
        "stream": stream,
        "segments": runs(numbers),
        "bytes": sum(one.sealed.bytes for one in mine),
        "records": sum(one.sealed.records for one in mine),
        "from": min(one.sealed.first_recv or 0 for one in mine),
        "to": max(one.sealed.last_recv or 0 for one in mine),
        "proofs": _digest(proofs.lines(folder, stream), numbers),
    }


def _digest(lines: Sequence[bytes], numbers: Iterable[int]) -> str:
    return hashlib.sha256(b"\n".join(lines[number] for number in numbers)).hexdigest()


def _numbers(spans: Iterable[Sequence[int]]) -> list[int]:
    return [number for first, last in spans for number in range(first, last + 1)]


def acts(kind: str) -> list[AuditEvent]:
    """Every act about data of a kind, oldest first."""
    return list(AuditEvent.objects.filter(action=ACTION, subject=kind).order_by("seq"))


def unfinished(values: Settings) -> int:
    """How many segments an act names whose files are still here."""
    home = values.folder / "archive"
    return sum(len(_left(home, one["stream"], one["segments"])) for event in acts(ARCHIVE) for one in _streams(event))


def finish(values: Settings) -> int:
    """Delete what acts name and what is still here; returns how many segments went. Safe to repeat, and beside others.

    Raises ArchiveError for a segment that is not what was sealed.
    """
    home, count = values.folder / "archive", 0
    for event in acts(ARCHIVE):
        for one in _streams(event):
            if left := _left(home, one["stream"], one["segments"]):
                count += forgotten.let_go(home, one["stream"], left, _act(event))
    return count


def _act(event: AuditEvent) -> Act:
    return Act(event.hash, event.at.timestamp(), event.detail["rule"])


def _streams(event: AuditEvent) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = event.detail["streams"]
    return found


def _left(home: Path, stream: int, runs: Iterable[Sequence[int]]) -> set[int]:
    return set(archive.segments(archive.stream_folder(home, stream))).intersection(_numbers(runs))


def breaks(values: Settings, streams: Iterable[int]) -> Iterator[str]:
    """Lines of deleted segments that no act in the audit trail accounts for, a sentence each."""
    home = values.folder / "archive"
    by_hash = {event.hash: event for event in acts(ARCHIVE)}
    for stream in streams:
        gone = forgotten.lines(home, stream)
        known = proofs.lines(home, stream) if gone else []
        sound = {act: _sound(by_hash.get(act), stream, known) for act in {line.act for line in gone.values()}}
        for number, line in sorted(gone.items()):
            if number not in sound[line.act]:
                yield f"归档流 {stream} 段 {number} 记为已删除，留痕中却没有与它和它的见证行相符的决定"


def _sound(event: AuditEvent | None, stream: int, known: Sequence[bytes]) -> set[int]:
    """The segments of a stream that an act names, none when their proof lines are not what they were."""
    for one in _streams(event) if event else ():
        numbers = _numbers(one["segments"])
        if one["stream"] == stream and numbers[-1] < len(known) and _digest(known, numbers) == one["proofs"]:
            return set(numbers)
    return set()


# ── readings of sealed months ─────────────────────────────────────────────────────────────────────────────────────


def leavings() -> Iterator[Leaving]:
    """What acts have ordered to leave, month by month, the oldest act first."""
    for kind, number in READINGS.items():
        for event in acts(kind):
            for one in event.detail["months"]:
                yield Leaving(_act(event), one["month"], int(number), tuple(_numbers(one["series"])))


def lighten_next(store: Store, now: float) -> bool:
    """Do one block of one of the months that acts name; False when all are done. Needs the ledger's writer."""
    return any(store.lighten(one, now) for one in leavings())


def unaccounted(store: Store) -> Iterator[str]:
    """What left sealed months without an act that says so, a sentence each."""
    ordered = {(one.act.hash, one.month, one.kind): set(one.series) for one in leavings()}
    for row in store.forgotten().to_pylist():
        known = ordered.get((row["act"], row["month"], row["kind"]), set())
        if not known.issuperset(_numbers(json.loads(row["members"]))) or not known:
            yield f"{row['month']} 自序列 {row['part']} 起记为已删除 {row['rows']} 行，留痕中却没有这样的决定"
