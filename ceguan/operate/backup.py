"""`ceguan backup DIR` and `ceguan restore DIR`: a copy that stands on its own, made while everything runs.

    DIR/ceguan-backup.json       whose backup this is
    DIR/data/                    archive, sealed history, attachments: only ever grow, copied once, shared by snapshots
    DIR/snapshots/<moment>/      databases as of one moment, keys, settings; manifest.json last – without it: unfinished

A manifest lists every file with the bytes and SHA-256 it had then; a file of the archive may since have grown, what is
listed is its beginning. Databases are copied first and the archive after them, so the archive holds at least what the
ledger had taken in; restoring replays the rest by the ordinary clockwork.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ceguan import clock, operate, settings
from ceguan.operate.archive import moment
from ceguan.store import ArchiveError, Ledger, LedgerError, Position, archive, lake, proofs, sizes, snapshot
from ceguan.store.errors import HistoryError
from ceguan.words import beijing

MARK = "ceguan-backup.json"
MANIFEST = "manifest.json"
FORMAT = "ceguan-backup-1"
KEPT = 7
GROWING = ("archive", "files")
"""Folders of the data folder whose files are only added or appended to; those of history never change."""
SMALL = ("secret.key", "ceguan.toml", "demo.json", "imports")
"""What else a platform cannot go on without; copied into each snapshot."""
DATABASES = ("readings.db", "business.db")
BLOCK = 4 << 20
HISTORY = "data/history/"


class BackupError(Exception):
    """No backup, or nothing to restore; the message says why and, where a file is to blame, which."""


class Entry(NamedTuple):
    """One file of a backup: its first `bytes` bytes have this SHA-256. `stamp`: size and mtime of its source."""

    bytes: int
    sha256: str
    stamp: tuple[int, int]


class Done(NamedTuple):
    """What a run copied."""

    snapshot: Path
    copied: int
    total: int
    left_out: int
    """Files of history of which only the names are recorded."""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    back = operate._verb(
        verbs, "backup", "运行中备份：台账、业务库、归档、历史、附件、密钥；再次运行只拷新增的", _backup
    )
    back.add_argument("folder", type=Path, metavar="DIR", help="备份目录：空的，或本平台以前的备份")
    back.add_argument("--keep", type=int, default=KEPT, metavar="N", help=f"保留最近几次数据库快照，默认 {KEPT}")
    back.add_argument(
        "--without-history", action="store_true",
        help="history_url 所在的封存历史不拷，只记下每个文件的 SHA-256：不是完整的备份",
    )  # fmt: skip
    restore = operate._verb(verbs, "restore", "从备份恢复到空的数据目录，并重放快照之后的帧", _restore)
    restore.add_argument("folder", type=Path, metavar="DIR", help="备份目录")
    restore.set_defaults(anywhere=True)
    restore.add_argument("--to", metavar="时间", help="只恢复到这一刻收到的帧（北京时间，如 2026-03-01T08:00）")


def _backup(args: argparse.Namespace) -> int:
    if args.keep < 1:
        return _failed("--keep 至少为 1")
    values = settings.load()
    try:
        done = backup(values, args.folder, args.keep, args.without_history)
    except (BackupError, ArchiveError, LedgerError, OSError, sqlite3.Error) as error:
        return _failed(f"备份没有完成：{error}（以前的快照不变）")
    print(f"{done.snapshot}：共 {done.total} 字节，本次新拷 {done.copied} 字节")
    if done.left_out:
        print(f"不是完整的备份：{done.left_out} 个封存文件只记下了 SHA-256，恢复时须仍在 {values.history_url}")
    try:
        sizes.note_backup(values.folder, args.folder.resolve(), done.total, clock.now())
    except OSError as error:
        print(f"备份已完成，但数据目录里记不下这一次（{error.strerror}），运行状态页仍显示上一次", file=sys.stderr)
    return 0


def _restore(args: argparse.Namespace) -> int:
    """0 when restored and replayed, 1 when the backup is damaged or something failed, 2 when refused beforehand."""
    values = settings.load()
    try:
        until = moment(args.to) if args.to else None
        refuse_unless_empty(values)
        taken = choose(args.folder, until)
    except (BackupError, ValueError, OSError) as error:
        return _failed(str(error))
    try:
        restore(values, args.folder, taken, until)
    except (BackupError, ArchiveError, LedgerError, OSError, sqlite3.Error) as error:
        print(f"恢复没有完成：{error}", file=sys.stderr)
        return 1
    records = replay(values, taken, until, args.folder)
    (values.folder / settings.RESTORING).unlink()
    archive.sync_folder(values.folder)
    print(f"已恢复到 {values.folder}：快照 {taken.name}，其后重放 {records} 条归档记录")
    return 0


# ── backing up ────────────────────────────────────────────────────────────────────────────────────────────────────


def backup(values: settings.Settings, folder: Path, keep: int = KEPT, without_history: bool = False) -> Done:
    """Take a snapshot and copy what is new. Killed at any moment, it leaves earlier snapshots as good as they were.

    Raises BackupError for a folder with something else in it or a sealed file that is not what the ledger lists,
    ArchiveError for a sealed segment that was changed, HistoryError for a sealed file that cannot be had.
    """
    if without_history and not values.history_url:
        raise BackupError("封存历史就在数据目录里，不能不拷；--without-history 只用于设了 history_url 时")
    _claim(folder, values)
    known = _newest_manifest(folder)
    with _unfinished(folder) as place:
        now = clock.now()
        known_to_ledger = _databases(values, place)
        _small(values, place)
        run = _Run(values.folder, folder / "data", _entries(known))
        files = {f"own/{path.relative_to(place).as_posix()}": _entry(path) for path in _files(place)}
        sealed = {name: Entry(*about, (0, 0)) for name, about in known_to_ledger.history.items()}
        if not without_history:
            run.copy_history(_lake(values), sealed)
            files |= {f"{HISTORY}{name}": entry for name, entry in sealed.items()}
        files |= {f"data/{name}": entry for name, entry in run.copy().items()}
        total = sum(entry.bytes for entry in files.values())
        positions = {str(stream): list(place) for stream, place in known_to_ledger.positions.items()}
        content = {
            "format": FORMAT, "taken_at": now, "positions": positions,
            "history_url": values.history_url, "postgres": bool(values.database_url),
            "files": {name: entry._asdict() for name, entry in files.items()},
            "left_out": {name: entry._asdict() for name, entry in sealed.items()} if without_history else {},
        }  # fmt: skip
        _write(place / MANIFEST, json.dumps(content).encode())
    final = folder / "snapshots" / _name(now)
    place.rename(final)
    archive.sync_folder(final.parent)
    for old in snapshots(folder)[:-keep]:
        _remove(old)
    own = sum(entry.bytes for name, entry in files.items() if name.startswith("own/"))
    return Done(final, run.copied + own, total, len(content["left_out"]))


def _lake(values: settings.Settings) -> lake.Lake:
    return lake.of(values.folder, values.history_url, int(values.history_cache_gb * 2**30))


def _name(now: float) -> str:
    return f"{beijing(now):%Y%m%dT%H%M%S.%f}"


def _claim(folder: Path, values: settings.Settings) -> None:
    """The folder is empty, or holds backups of this very platform."""
    mark = folder / MARK
    own = hashlib.sha256(b"backup of " + _secret(values)).hexdigest()
    if mark.is_file():
        if json.loads(mark.read_text()).get("platform") != own:
            raise BackupError(f"{folder} 里是另一个平台的备份")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise BackupError(f"{folder} 里有别的内容，备份不会动它；请换一个空目录")
    if folder.resolve().is_relative_to(values.folder):
        raise BackupError(f"{folder} 在数据目录之内；备份要放在别处，最好是另一块盘")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(mark, json.dumps({"format": FORMAT, "platform": own}).encode())


def _secret(values: settings.Settings) -> bytes:
    try:
        return (values.folder / "secret.key").read_bytes()
    except FileNotFoundError:
        raise BackupError(f"{values.folder} 不是测管的数据目录（没有 secret.key）") from None


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A place for the snapshot to come together; what an interrupted run left is thrown away first."""
    place = folder / "snapshots" / "unfinished"
    if place.exists():
        _remove(place)
    place.mkdir(parents=True, mode=0o700)
    yield place


def _remove(path: Path) -> None:
    """The manifest goes first: a snapshot half removed is an unfinished one."""
    (path / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(path)


def _databases(values: settings.Settings, place: Path) -> snapshot.Known:
    if values.database_url:
        return snapshot.postgres(values.database_url, place / "tables")
    ledger, business = (values.folder / name for name in DATABASES)
    snapshot.sqlite(ledger, [business], place)
    return snapshot.known(place / ledger.name)


def _small(values: settings.Settings, place: Path) -> None:
    """Keys, settings, the checkpoints of forwarding."""
    for name in SMALL:
        source = values.folder / name
        if source.is_dir():
            shutil.copytree(source, place / name)
        elif source.is_file():
            shutil.copy2(source, place / name)
    for book in sorted((values.folder / "forward").glob("*.db")):
        (place / "forward").mkdir(exist_ok=True)
        with closing(sqlite3.connect(book, timeout=60)) as connection:
            snapshot.copy(connection, place / "forward" / book.name)


def _entry(path: Path) -> Entry:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Entry(path.stat().st_size, digest, (0, 0))


def _lists_first(path: Path) -> tuple[str, int, str]:
    """What a list names is finished: so proof lines are copied before seal lines, both before the segments."""
    order = {proofs.NAME: 0, "segments.jsonl": 1}
    return str(path.parent), order.get(path.name, 2), path.name


class _Run:
    """One pass over what a backup shares with those before it."""

    def __init__(self, source: Path, target: Path, known: dict[str, Entry]) -> None:
        self.source, self.target, self.known = source, target, known
        self.copied = 0
        self._sealed: dict[int, dict[int, archive.SealedSegment]] = {}

    def copy(self) -> dict[str, Entry]:
        """Every file that is there, copied as far as it is durable; name → what is in the backup."""
        found = {}
        for part in GROWING:
            for path in sorted(_files(self.source / part), key=_lists_first):
                if self._is_wanted(path):
                    name = path.relative_to(self.source).as_posix()
                    found[name] = self._one(path, name)
        return found

    def copy_history(self, place: lake.Lake, sealed: dict[str, Entry]) -> None:
        """Every file that the ledger lists (another one is left from a crash), wherever it lies, as it was listed."""
        home = self.target / "history"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, entry in sealed.items():
            path, known = home / name, self.known.get(f"{HISTORY}{name}")
            if known and known.sha256 == entry.sha256 and path.is_file() and path.stat().st_size == entry.bytes:
                continue
            unfinished = home / f"{name}.new"
            if place.fetch(name, unfinished) != entry.sha256:
                unfinished.unlink()
                raise BackupError(f"封存文件 {name} 与台账清单里的 SHA-256 不符；请运行 ceguan ledger verify")
            unfinished.replace(path)
            self.copied += entry.bytes
        archive.sync_folder(home)

    def _is_wanted(self, path: Path) -> bool:
        return path.name not in ("lock", "proofs.lock") and not path.name.startswith(".") and path.suffix != ".new"

    def _one(self, path: Path, name: str) -> Entry:
        state = path.stat()
        stamp = (state.st_size, state.st_mtime_ns)
        target, known = self.target / name, self.known.get(f"data/{name}")
        if known and known.stamp == stamp and target.is_file() and target.stat().st_size >= known.bytes:
            return known
        with open(path, "rb") as file:
            os.fdatasync(file.fileno())
            size = self._intact(path, state.st_size)
            self._append(file, target, size, known)
        entry = Entry(size, _digest(target, size), stamp)
        self._is_sealed(path, entry)
        return entry

    def _intact(self, path: Path, size: int) -> int:
        """How much of a file is finished: of a segment its whole records, of a list its whole lines."""
        if path.suffix == ".jsonl":
            return path.read_bytes()[:size].rfind(b"\n") + 1
        if path.suffix != ".seg" or self._line(path):
            return size
        with open(path, "rb") as file:
            return min(size, proofs.walk(file.read(size)).end)

    def _append(self, file: Any, target: Path, size: int, known: Entry | None) -> None:
        """What the copy lacks; an interrupted run's work is taken up. What is listed already is never touched."""
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if known and size < known.bytes:
            raise BackupError(f"{target.name} 比备份里的短（{size} < {known.bytes} 字节）：原件被截去；备份没有动")
        there = target.stat().st_size if target.is_file() else 0
        begin = known.bytes if known and there >= known.bytes else min(there, size)
        if begin and _prefix(file, begin) != _digest(target, begin):
            if known:
                raise BackupError(f"{target.name} 的开头与备份里的不同：原件或备份被改动；备份没有动")
            begin = 0
        with open(target, "r+b" if begin else "wb") as out:
            out.truncate(begin)
            out.seek(begin)
            file.seek(begin)
            left = size - begin
            while left > 0 and (block := file.read(min(left, BLOCK))):
                out.write(block)
                left -= len(block)
            out.flush()
            os.fsync(out.fileno())
        self.copied += size - begin

    def _line(self, path: Path) -> archive.SealedSegment | None:
        stream = int(path.parent.name)
        if stream not in self._sealed:
            lines = archive.sealed_segments(self.source / "archive", stream)
            self._sealed[stream] = {line.segment: line for line in lines}
        return self._sealed[stream].get(int(path.stem))

    def _is_sealed(self, path: Path, entry: Entry) -> None:
        line = self._line(path) if path.suffix == ".seg" else None
        if line is not None and (entry.bytes, entry.sha256) != (line.bytes, line.sha256):
            raise ArchiveError(f"归档段 {path} 与封存时的 SHA-256 不符；请运行 ceguan archive verify")


# ── restoring ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Taken(NamedTuple):
    """A snapshot: its folder, its manifest."""

    place: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return self.place.name


def snapshots(folder: Path) -> list[Path]:
    """The finished snapshots of a backup, oldest first."""
    return sorted(path.parent for path in (folder / "snapshots").glob(f"*/{MANIFEST}") if path.parent.name[0] == "2")


def choose(folder: Path, until: float | None) -> Taken:
    """The newest snapshot, of those not younger than `until`. Raises BackupError when there is none."""
    found = [Taken(place, json.loads((place / MANIFEST).read_text())) for place in snapshots(folder)]
    if not found:
        raise BackupError(f"{folder} 里没有完成的备份")
    fit = [one for one in found if until is None or one.content["taken_at"] <= until]
    if not fit:
        first = beijing(found[0].content["taken_at"])
        raise BackupError(f"最早的快照取于 {first:%Y-%m-%d %H:%M:%S}，不能恢复到更早的时刻")
    return fit[-1]


def refuse_unless_empty(values: settings.Settings) -> None:
    """What a restore left that did not come to its end is its own, and is thrown away."""
    mark, begun = values.folder / settings.RESTORING, None
    if mark.is_file():
        begun = json.loads(mark.read_text(encoding="utf-8"))["database"]
        for path in values.folder.iterdir():
            if path != mark:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif values.folder.is_dir() and any(values.folder.iterdir()):
        raise BackupError(f"{values.folder} 不是空的，恢复不会动它；换一个：CEGUAN_DATA=空目录 ceguan restore …")
    if (
        values.database_url
        and begun != _digest_of(values.database_url)
        and not snapshot.empty_postgres(values.database_url)
    ):
        raise BackupError("CEGUAN_DATABASE_URL 所指的库不是空的，恢复不会动它")


def _digest_of(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def restore(values: settings.Settings, folder: Path, taken: Taken, until: float | None) -> None:
    """Check every file, then put all into the data folder; with `until` the archive ends there.

    The archive is that of the newest snapshot, databases and history are those of `taken`. Raises BackupError that
    names the first damaged file; then nothing has been put anywhere.
    """
    if taken.content["postgres"] != bool(values.database_url):
        kind = (
            "PostgreSQL（设 CEGUAN_DATABASE_URL）"
            if taken.content["postgres"]
            else "SQLite（不设 CEGUAN_DATABASE_URL）"
        )
        raise BackupError(f"这个备份取自 {kind}，要恢复到同样的库")
    newest = Taken(snapshots(folder)[-1], _newest_manifest(folder))
    own = {n: e for n, e in _entries(taken.content).items() if n.startswith("own/")}
    both = _entries(taken.content) | _entries(newest.content)  # what has been deleted since was still there then
    data = {n: e for n, e in both.items() if n.startswith("data/") and not n.startswith(HISTORY)}
    data |= {n: e for n, e in _entries(taken.content).items() if n.startswith(HISTORY)}
    sources = {name: taken.place / name.removeprefix("own/") for name in own} | {name: folder / name for name in data}
    for name, entry in (own | data).items():
        _check(sources[name], entry)
    place = _lake(values)
    there = _there(place, taken.content)
    values.folder.mkdir(parents=True, exist_ok=True)
    mark = {"from": str(folder.resolve()), "database": _digest_of(values.database_url)}
    _write(values.folder / settings.RESTORING, json.dumps(mark).encode())
    for name, entry in (own | data).items():
        if name.startswith(HISTORY):
            if (file := name.removeprefix(HISTORY)) not in there:
                place.put(file, sources[name])
        elif not name.startswith("own/tables/"):
            _copy_prefix(sources[name], values.folder / name.partition("/")[2], entry.bytes)
    if until is not None:
        positions = {int(s): Position(*place) for s, place in taken.content["positions"].items()}
        cut(values.folder / "archive", positions, until)
    _point_to(values)
    if values.database_url:
        operate.setup()
        Ledger(values.folder / DATABASES[0], values.database_url).close()  # makes its tables
        snapshot.into_postgres(values.database_url, taken.place / "tables")


def _there(place: lake.Lake, content: dict[str, Any]) -> frozenset[str]:
    """Sealed files of a backup that lie already where the history is to be.

    Raises BackupError where one that the backup leaves out does not, or another one has the name of one of its own.
    """
    left_out = {name: one["sha256"] for name, one in content.get("left_out", {}).items()}
    copied = {n.removeprefix(HISTORY): e.sha256 for n, e in _entries(content).items() if n.startswith(HISTORY)}
    found = set()
    for name, sha256 in (left_out | copied).items():
        try:
            digest = place.sha256(name)
        except HistoryError as error:
            if name in left_out:
                raise BackupError(f"备份不含封存历史，恢复后的 history_url 里又没有它：{error}") from None
            continue
        if digest != sha256:
            raise BackupError(f"{place.url or place.folder} 里已有另一个 {name}；恢复不会动它，请换一处 history_url")
        found.add(name)
    return frozenset(found)


def _point_to(values: settings.Settings) -> None:
    """A restored settings file names the database and the place of history restored into, never those it came from."""
    path = values.folder / "ceguan.toml"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        for name in ("database_url", "history_url"):
            line = f"{name} = {json.dumps(getattr(values, name))}".replace("\\", r"\\")
            text = re.sub(rf"(?m)^\s*{name}\s*=.*$", line, text)
        path.write_text(text, encoding="utf-8")


def _check(path: Path, entry: Entry) -> None:
    if not path.is_file():
        raise BackupError(f"备份里缺少 {path}")
    if path.stat().st_size < entry.bytes or _digest(path, entry.bytes) != entry.sha256:
        raise BackupError(f"备份里的 {path} 已损坏：与清单的 SHA-256 不符")


def cut(folder: Path, positions: dict[int, Position], until: float) -> None:
    """Let every stream end before the first record behind its position that was received later than `until`."""
    for stream in archive.streams(folder):
        place = _first_later(folder, stream, positions.get(stream, archive.START), until)
        if place is None:
            continue
        home = archive.stream_folder(folder, stream)
        for number in archive.segments(home):
            path = archive.segment_path(home, number)
            if number > place.segment:
                path.unlink()
            elif number == place.segment:
                os.truncate(path, place.offset)
        for name in ("segments.jsonl", proofs.NAME):
            lines = archive.whole_lines(home / name)
            kept = [line for line in lines if json.loads(line)["segment"] < place.segment]
            _write(home / name, b"".join(line + b"\n" for line in kept))


def _first_later(folder: Path, stream: int, start: Position, until: float) -> Position | None:
    for records in archive.read_stream(folder, stream, start):
        for record in records:
            if record.recv > until:
                return Position(record.ref.segment, record.ref.offset)
    return None


def replay(values: settings.Settings, taken: Taken, until: float | None, folder: Path) -> int:
    """Let the ordinary clockwork take in what lies behind the snapshot; returns how many records that were.

    Its time is that of the backup (or `until`): nobody fell silent meanwhile, and no device is asked for anything.
    """
    operate.setup()
    from django.db import transaction

    from ceguan.registry import audit
    from ceguan.watch.clockwork import Clockwork

    now = until if until is not None else float(_newest_manifest(folder)["taken_at"])
    records = 0
    with Clockwork(settings.load(fill_gaps=False)) as clockwork:
        caught_up = False
        while not caught_up:
            report = clockwork.step(now)
            records, caught_up = records + report.records, report.caught_up
    detail = {"snapshot": taken.name, "to": until, "records": records, "from": str(folder)}
    with transaction.atomic():
        audit.record(None, "restore", "platform", "从备份恢复", detail, max(now, clock.now()))
    return records


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _newest_manifest(folder: Path) -> dict[str, Any]:
    found = snapshots(folder)
    content: dict[str, Any] = json.loads((found[-1] / MANIFEST).read_text()) if found else {"files": {}}
    return content


def _entries(content: dict[str, Any]) -> dict[str, Entry]:
    return {name: Entry(one["bytes"], one["sha256"], tuple(one["stamp"])) for name, one in content["files"].items()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _digest(path: Path, size: int) -> str:
    with open(path, "rb") as file:
        return _prefix(file, size)


def _prefix(file: Any, size: int) -> str:
    """SHA-256 of the first bytes."""
    file.seek(0)
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(size, BLOCK))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def _copy_prefix(source: Path, target: Path, size: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as file, open(target, "xb") as out:
        if source.name in ("secret.key", "ceguan.toml"):
            os.fchmod(out.fileno(), 0o600)
        while size > 0 and (block := file.read(min(size, BLOCK))):
            out.write(block)
            size -= len(block)
        out.flush()
        os.fsync(out.fileno())


def _write(path: Path, content: bytes) -> None:
    """In full and on disk before it has its name."""
    scratch = path.with_name(f"{path.name}.new")
    with open(scratch, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(path)
    archive.sync_folder(path.parent)


def _failed(cause: str) -> int:
    print(cause, file=sys.stderr)
    return 2
