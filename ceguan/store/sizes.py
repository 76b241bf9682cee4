"""What each part takes on disk, how fast it grows, and how long the room lasts.

The clockwork notes the sizes once a Beijing day in `sizes.jsonl` of the data folder; growth is measured from those
notes, never guessed. A line that a crash left unfinished is left out, and cut off by the next note.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ceguan.store import archive
from ceguan.store.database import Database
from ceguan.store.incoming import MANIFEST_IN_FORCE
from ceguan.store.lake import Lake
from ceguan.words import Label, beijing

NAME = "sizes.jsonl"
BACKUP = "backup.json"
DAY = 86400.0
WINDOW_DAYS = 30
"""Growth is that of so many days up to the last note."""
PARTS = {
    "archive": Label("帧归档", "frame archive"),
    "ledger": Label("台账", "ledger"),
    "registry": Label("业务库", "business database"),
    "history": Label("封存历史", "sealed history"),
    "cache": Label("历史的本机副本", "copies of the history"),
    "files": Label("附件", "attachments"),
    "logs": Label("日志", "logs"),
    "other": Label("其他", "other"),
}
_FOLDERS = {"archive": "archive", "history-cache": "cache", "files": "files", "logs": "logs"}


class Part(NamedTuple):
    """`rows`, `oldest`, `newest` [UTC epoch s]: None where nobody counts, or where there is nothing.

    `here`: on the disk of the data folder; else on a database server, a shared folder or S3.
    """

    name: str
    bytes: int
    rows: int | None = None
    oldest: float | None = None
    newest: float | None = None
    here: bool = True


class Noted(NamedTuple):
    """The sizes of a day; parts of another disk are not in `total`."""

    at: float
    total: int
    bytes: Mapping[str, int]
    rows: Mapping[str, int]


class Room(NamedTuple):
    """`used`: what the platform takes on the data disk; `left`: until the disk, or the budget, is full (never < 0).

    `budget` 0: the disk itself. `per_day`, `days`: None until two days have been noted, or while nothing grows.
    """

    used: int
    disk_free: int
    disk_total: int
    budget: int
    left: int
    per_day: float | None
    days: float | None


def measure(folder: Path, db: Database, lake: Lake) -> list[Part]:
    """Every part that there is, in the order of PARTS."""
    sizes = dict.fromkeys(PARTS, 0)
    for entry in folder.iterdir() if folder.is_dir() else ():
        sizes[_part_of(entry.name, lake)] += _size(entry)
    elsewhere = db.occupied()
    found = [
        _archive(folder / "archive", sizes.pop("archive")),
        _ledger(db, elsewhere.get("ledger"), sizes.pop("ledger")),
        _held("registry", elsewhere.get("public"), sizes.pop("registry")),
        _history(db, lake, folder),
        *(Part(name, size) for name, size in sizes.items() if name != "history"),
    ]
    return [part for part in found if part.bytes or part.name in ("archive", "ledger", "registry", "history")]


def _part_of(name: str, lake: Lake) -> str:
    if name.startswith("readings.db"):
        return "ledger"
    if name.startswith("business.db"):
        return "registry"
    return "history" if name == "history" else _FOLDERS.get(name, "other")


def _held(name: str, afar: int | None, here: int) -> Part:
    """What lies in a database server, or in files here."""
    return Part(name, here) if afar is None else Part(name, afar, here=False)


def _archive(folder: Path, size: int) -> Part:
    records, oldest, newest = 0, None, None
    for stream in archive.streams(folder):
        home = archive.stream_folder(folder, stream)
        present = archive.segments(home)
        lines = [line for line in archive.sealed_segments(folder, stream) if line.segment in set(present)]
        records += sum(line.records for line in lines)
        begins = [line.first_recv for line in lines if line.first_recv is not None]
        oldest = min([*begins, *([] if oldest is None else [oldest])], default=None)
        if present:
            written = archive.segment_path(home, present[-1]).stat().st_mtime
            newest = max(written, newest or written)
    return Part("archive", size, records, oldest, newest)


def _ledger(db: Database, afar: int | None, here: int) -> Part:
    oldest, newest = db.execute(
        """SELECT min((SELECT min(ts) FROM reading r WHERE (r.series, r.kind) = (l.series, l.kind))), max(l.ts)
           FROM latest l"""
    ).fetchone()
    return _held("ledger", afar, here)._replace(oldest=oldest, newest=newest)


def _history(db: Database, lake: Lake, folder: Path) -> Part:
    rows, oldest, newest = db.execute(
        f"SELECT sum(rows), min(ts_from), max(ts_to) FROM {MANIFEST_IN_FORCE} m"
    ).fetchone()
    if lake.url:
        size = int(db.execute("SELECT coalesce(sum(bytes), 0) FROM manifest").fetchone()[0])
    else:
        size = _size(Path(lake.folder))
    here = not lake.url and Path(lake.folder).resolve().is_relative_to(folder.resolve())
    return Part("history", size, int(rows or 0), oldest, newest, here)


def _size(path: Path) -> int:
    """Bytes of a file or of everything below a folder; what vanishes meanwhile counts nothing."""
    total = 0
    for entry in path.rglob("*") if path.is_dir() else (path,):
        try:
            total += entry.stat().st_size if entry.is_file() else 0
        except FileNotFoundError:
            continue
    return total


# ── from day to day ───────────────────────────────────────────────────────────────────────────────────────────────


def note(folder: Path, parts: Iterable[Part], now: float) -> None:
    """Remember the sizes of today. Raises OSError."""
    parts = list(parts)
    line = {
        "at": now,
        "total": sum(part.bytes for part in parts if part.here),
        "bytes": {part.name: part.bytes for part in parts},
        "rows": {part.name: part.rows for part in parts if part.rows is not None},
    }
    with open(folder / NAME, "ab+") as out:
        out.seek(0)
        out.truncate(out.read().rfind(b"\n") + 1)
        out.write(json.dumps(line).encode() + b"\n")
        out.flush()
        os.fsync(out.fileno())


def noted(folder: Path) -> list[Noted]:
    """The notes, oldest first."""
    return [Noted(**json.loads(line)) for line in archive.whole_lines(folder / NAME)]


def noted_on(folder: Path, now: float) -> bool:
    """Whether this Beijing day (or a later one) has been noted."""
    last = noted(folder)[-1:]
    return bool(last) and beijing(last[0].at).date() >= beijing(now).date()


def growth(notes: Sequence[Noted], name: str = "") -> float | None:
    """Bytes a day of a part, "" = of all on the data disk; None until the notes reach over a day."""
    recent = [one for one in notes if one.at >= notes[-1].at - WINDOW_DAYS * DAY]
    if not recent or recent[-1].at - recent[0].at < DAY / 2:
        return None
    first, last = ((one.bytes.get(name, 0) if name else one.total) for one in (recent[0], recent[-1]))
    return (last - first) * DAY / (recent[-1].at - recent[0].at)


def room(folder: Path, parts: Iterable[Part], notes: Sequence[Noted], budget_gb: float) -> Room:
    """How much is left of the disk, or of the budget where that is less, and for how many days."""
    disk = shutil.disk_usage(folder)
    used = sum(part.bytes for part in parts if part.here)
    budget = int(budget_gb * 1e9)
    left = min(disk.free, max(0, budget - used)) if budget else disk.free
    per_day = growth(notes)
    days = left / per_day if per_day is not None and per_day > 0 else None
    return Room(used, disk.free, disk.total, budget, left, per_day, days)


def note_backup(folder: Path, place: Path, size: int, now: float) -> None:
    """A backup was made: where it lies, how many bytes it holds."""
    scratch = folder / f"{BACKUP}.new"
    scratch.write_text(json.dumps({"at": now, "folder": str(place), "bytes": size}), encoding="utf-8")
    scratch.replace(folder / BACKUP)


def last_backup(folder: Path) -> dict[str, Any] | None:
    """`at` [UTC epoch s], `folder` and `bytes` of the last backup; None when none was ever made."""
    try:
        found: dict[str, Any] = json.loads((folder / BACKUP).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def said(count: float) -> str:
    """Bytes in the unit that fits, e.g. "3.1 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
