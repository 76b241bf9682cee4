"""What people decide reaches the archive exactly when it is on record: both stand, or neither.

The audit event and the record's text are committed in one transaction, together with the place in the archive behind
which the record will lie. Then it is appended, synced, and its text forgotten here. Whoever falls in between leaves the
text: the clockwork looks whether it lies behind that place, and appends it if it does not. So a record in the archive
was committed, and what was committed comes into the archive once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.db import Error, transaction
from django.utils.translation import gettext as _

from ceguan.intake.models import Undelivered
from ceguan.store import ArchiveError, ArchiveWriter, Position, RecordKind, StreamTakenError, archive, open_free_stream
from ceguan.store.refusals import refusal
from ceguan.words import FrameRef

log = logging.getLogger(__name__)


class WaitsError(ArchiveError):
    """It is on record and stands, but the archive cannot be written at the moment: it is brought there later."""


class Outgoing:
    """What one transaction puts into the archive once it has been committed; `refs`: where that lies, afterwards."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._stream, self._place = writer.stream, archive.end_of(writer.folder)
        self.rows: list[Undelivered] = []
        self.refs: list[FrameRef] = []

    def append(self, kind: RecordKind, recv: float, source: str, payload: bytes) -> None:
        """`payload`: JSON that holds the number of its audit event as "audit", so that no two are alike."""
        row = Undelivered(
            stream=self._stream, segment=self._place.segment, offset=self._place.offset,
            kind=int(kind), recv=recv, source=source, payload=payload.decode(),
        )  # fmt: skip
        self.rows.append(row)


@contextmanager
def writing(folder: Path, streams: Iterable[int]) -> Iterator[Outgoing]:
    """The outermost transaction of a decision, in which it is audited, for the archive at `folder`.

    Raises StreamTakenError, ArchiveError, OSError when the archive refuses beforehand: then, and when the transaction
    raises, nothing stands. Raises WaitsError when the archive refuses afterwards.
    """
    deliver(folder)
    with open_free_stream(folder, streams) as writer:
        out = Outgoing(writer)
        with transaction.atomic(durable=True):
            yield out
            Undelivered.objects.bulk_create(out.rows)
        try:
            out.refs = _append(writer, out.rows)
        except (ArchiveError, OSError) as error:
            said = _("已记录在案；归档暂时写不了（%(cause)s），恢复后自动归档并生效")
            raise WaitsError(said % {"cause": refusal(error) or error}) from error
        _forget(out.rows)


def deliver(folder: Path) -> None:
    """Bring what was committed and left behind into the archive; what somebody is just writing is left to them."""
    for stream in Undelivered.objects.order_by("stream").values_list("stream", flat=True).distinct():
        try:
            with ArchiveWriter(folder, stream) as writer:
                rows = list(Undelivered.objects.filter(stream=stream).order_by("pk"))  # now nobody else delivers them
                there = _payloads(folder, rows)
                _append(writer, [row for row in rows if row.payload.encode() not in there])
                _forget(rows)
        except StreamTakenError:
            continue


def _payloads(folder: Path, rows: Sequence[Undelivered]) -> set[bytes]:
    """What lies in the stream behind the first place from which on one of these may lie."""
    if not rows:
        return set()
    first = min(Position(row.segment, row.offset) for row in rows)
    return {record.payload for run in archive.read_stream(folder, rows[0].stream, first) for record in run}


def _append(writer: ArchiveWriter, rows: Iterable[Undelivered]) -> list[FrameRef]:
    refs = [writer.append(RecordKind(row.kind), row.recv, row.source, row.payload.encode()) for row in rows]
    writer.sync()
    return refs


def _forget(rows: Sequence[Undelivered]) -> None:
    """A row that stays is found in the archive next time."""
    try:
        Undelivered.objects.filter(pk__in=[row.pk for row in rows]).delete()
    except Error as error:
        log.warning("已归档而未能注销，下次核对：%s", refusal(error) or error)
