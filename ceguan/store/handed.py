"""Segments that left a gateway's machine because the centre has them.

Beside `segments.jsonl` lies `handed.jsonl`, a line for each segment that was deleted here: what it was (length,
SHA-256), when it went, and on what word: which machine had confirmed up to where. The surviving copy lies there, in the
same stream and segment. The seal line stays, so the chain holds over the hole.

A crash is harmless: the line is on disk before the file goes. A line with the file still there changes nothing; a file
that is gone without a line is a break.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from ceguan.store import archive, forgotten

NAME = "handed.jsonl"
TOKEN = "relay.token"
"""In the folder of an archive that is shipped: what tells it from others."""


class Confirmed(NamedTuple):
    """The centre's word on a stream: everything before `place` is taken in and sealed there. `host`: its machine, ""
    from a centre that did not say; `at`: when it said so [UTC epoch s], 0 likewise."""

    place: archive.Position
    host: str = ""
    at: float = 0.0


class Handed(NamedTuple):
    """One line of `handed.jsonl`. `deleted_at`, `confirmed_at` [UTC epoch s]; `confirmed`: segment and offset that the
    centre had come to; `token`: of the archive that the segment was a part of."""

    stream: int
    segment: int
    bytes: int
    sha256: str
    deleted_at: float
    centre: str
    confirmed: tuple[int, int]
    confirmed_at: float
    token: str


def lines(folder: Path, stream: int) -> dict[int, Handed]:
    """What has left this machine of a stream, by segment. Raises ValueError, TypeError for a line that is none."""
    path = archive.stream_folder(folder, stream) / NAME
    found = (Handed(**json.loads(line)) for line in archive.whole_lines(path))
    return {line.segment: line for line in found}


def let_go(folder: Path, stream: int, sealed: archive.SealedSegment, word: Confirmed, token: str, now: float) -> Path:
    """Record that the centre has a segment, then delete it here; returns the path that is gone.

    Raises ArchiveError when the file is not what was sealed: that is evidence of something, and stays. Raises OSError.
    """
    home = archive.stream_folder(folder, stream)
    path = archive.segment_path(home, sealed.segment)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sealed.sha256:
        raise archive.ArchiveError(
            f"归档流 {stream} 段 {sealed.segment} 与封存时的 SHA-256 不符：先用 ceguan archive verify 查明，不删"
        )
    if sealed.segment not in lines(folder, stream):
        forgotten.append_line(home / NAME, Handed(
            stream, sealed.segment, sealed.bytes, sealed.sha256, now, word.host, word.place, word.at, token,
        ))  # fmt: skip
    path.unlink()
    archive.sync_folder(home)
    return path
