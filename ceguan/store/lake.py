"""Where sealed files lie: a folder, or a prefix in S3-compatible storage with a folder of recently used files.

A file is never changed once it has its name, so a copy of it stays good for as long as it is there. Credentials come
from the environment or the profile of the machine (as pyarrow reads them: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY),
never from the address.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

import pyarrow.parquet as pq
from pyarrow import fs

from ceguan.store.archive import sync_folder
from ceguan.store.errors import HistoryError

KEPT_SECONDS = 60
"""A copy used so recently is not thrown out, even above the bound: somebody may be about to open it."""
BLOCK = 1 << 22


class Lake(NamedTuple):
    """Sealed files by name. Small enough to be sent to another process, which then sees the same files.

    `url`: "" for the folder itself, else s3://bucket/prefix?endpoint_override=…&region=…; `bound` in bytes of copies.
    """

    folder: str
    url: str = ""
    bound: int = 0

    def paths(self, names: Iterable[str]) -> list[Path]:
        """Each file on this machine's disk; fetched where it is not. Raises HistoryError when one cannot be had."""
        return [self._copy(name) if self.url else Path(self.folder) / name for name in names]

    def split(self, names: Iterable[str]) -> tuple[list[Path], list[str]]:
        """Files as `paths`, and names of those too big to keep a copy of (over a quarter of the bound): see `open`."""
        big = [name for name in names if self.url and not self._is_here(name) and self._size(name) > self.bound // 4]
        return self.paths(name for name in names if name not in big), big

    def open(self, name: str, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
        """A file of which only what is asked for is read, row group by row group. Close it (a context manager).

        `metadata`: its footer, where that is known already.
        """
        if not self.url or self._is_here(name):
            return pq.ParquetFile(Path(self.folder) / name, metadata=metadata, read_dictionary=["flag"])
        with _said(self.url, name):
            system, prefix = _system(self.url)
            file = system.open_input_file(f"{prefix}/{name}")
            return pq.ParquetFile(file, metadata=metadata, read_dictionary=["flag"], pre_buffer=True)

    def add(self, name: str, unfinished: Path) -> None:
        """Give a file that is written in full its name; durable when this returns, and never half there.

        In S3 it is put under a temporary key first; what a crash leaves there is overwritten by the next attempt.
        """
        if self.url:
            self._send(name, unfinished)
        os.replace(unfinished, Path(self.folder) / name)
        sync_folder(Path(self.folder))
        self._make_room(name)

    def put(self, name: str, path: Path) -> None:
        """As `add`, of a file that stays where it is."""
        if self.url:
            self._send(name, path)
            return
        unfinished = Path(self.folder) / f"{name}.tmp"
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "rb") as source, open(unfinished, "wb") as target:
            shutil.copyfileobj(source, target, BLOCK)
            target.flush()
            os.fsync(target.fileno())
        self.add(name, unfinished)

    def fetch(self, name: str, path: Path) -> str:
        """Copy a file from where it lies to `path`, durably; its SHA-256. Raises HistoryError."""
        with open(path, "wb") as target:
            digest = self._read(name, target.write)
            target.flush()
            os.fsync(target.fileno())
        return digest

    def sha256(self, name: str) -> str:
        """Of a file where it lies, not of a copy here. Raises HistoryError."""
        return self._read(name, len)

    def _read(self, name: str, each: Callable[[bytes], object]) -> str:
        digest, said = hashlib.sha256(), _said(self.url or self.folder, name)
        with said:
            source = self._stream(name)
        with source:
            while True:
                with said:
                    block = source.read(BLOCK)
                if not block:
                    return digest.hexdigest()
                digest.update(block)
                each(block)

    def _stream(self, name: str) -> IO[bytes]:
        """A file to read from where it lies."""
        if not self.url:
            return open(Path(self.folder) / name, "rb")
        system, prefix = _system(self.url)
        opened: IO[bytes] = system.open_input_stream(f"{prefix}/{name}")
        return opened

    def _send(self, name: str, path: Path) -> None:
        with _said(self.url, name):
            system, prefix = _system(self.url)
            key = f"{prefix}/{name}"
            with open(path, "rb") as source, system.open_output_stream(f"{key}.tmp") as target:
                shutil.copyfileobj(source, target, BLOCK)
            if self._size(f"{name}.tmp") != path.stat().st_size:
                raise OSError("写入后大小不符")
            system.copy_file(f"{key}.tmp", key)
            system.delete_file(f"{key}.tmp")

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name where they lie."""
        if not self.url:
            return self._is_here(name)
        with _said(self.url, name):
            system, prefix = _system(self.url)
            (found,) = system.get_file_info([f"{prefix}/{name}"])
            return bool(found.type == fs.FileType.File)

    def remove(self, name: str) -> bool:
        """Take a file away for good, here and where it lies; whether there was one. Safe to repeat."""
        there, path = self.holds(name), Path(self.folder) / name
        path.unlink(missing_ok=True)
        if there and self.url:
            with _said(self.url, name):
                system, prefix = _system(self.url)
                system.delete_file(f"{prefix}/{name}")
        elif there:
            sync_folder(path.parent)
        return there

    def _is_here(self, name: str) -> bool:
        return (Path(self.folder) / name).exists()

    def _size(self, name: str) -> int:
        with _said(self.url, name):
            system, prefix = _system(self.url)
            (found,) = system.get_file_info([f"{prefix}/{name}"])
            if found.type != fs.FileType.File:
                raise FileNotFoundError("没有这个文件")
            return int(found.size)

    def _copy(self, name: str) -> Path:
        path = Path(self.folder) / name
        try:
            os.utime(path)
            return path
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{name}.{os.getpid()}.{time.monotonic_ns()}.part")
        try:
            self.fetch(name, unfinished)  # durable: a copy cut short by a power failure would be taken for whole
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        self._make_room(name)
        return path

    def _make_room(self, newest: str) -> None:
        """Throw out the copies used longest ago until the rest is within the bound."""
        if not self.url:
            return
        found = []
        for entry in os.scandir(self.folder):
            state = entry.stat()
            found.append((state.st_mtime, state.st_size, entry))
        total = sum(size for _, size, _ in found)
        for used, size, entry in sorted(found, key=lambda one: one[0]):
            if total <= self.bound:
                break
            if entry.name == newest or time.time() - used < KEPT_SECONDS:
                continue
            Path(entry.path).unlink(missing_ok=True)
            total -= size


class _said:
    """What goes wrong with the storage as one HistoryError that names address and file, never credentials."""

    def __init__(self, url: str, name: str) -> None:
        self._where = f"{url.partition('?')[0]}/{name}"

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, HistoryError):
            raise HistoryError(f"历史存储 {self._where}：{error}") from None


@cache
def _opened(url: str, process: int) -> tuple[fs.FileSystem, str]:
    system, prefix = fs.FileSystem.from_uri(url)
    return system, prefix.rstrip("/")


def _system(url: str) -> tuple[fs.FileSystem, str]:
    return _opened(url, os.getpid())


def of(data: Path, url: str, bound: int) -> Lake:
    """The lake of a data folder: `url` "" = its own folder history/, a path = a shared folder, s3://… = storage, with
    at most `bound` bytes of copies in history-cache/.

    Raises HistoryError for an address that is none, or that holds credentials (they would end up in logs).
    """
    if not url:
        return Lake(str(data / "history"))
    if "://" not in url:
        return Lake(url)
    parts = urlsplit(url)
    if "@" in parts.netloc or "secret_key" in parts.query or "access_key" in parts.query:
        raise HistoryError("history_url 不得含密钥；请用环境变量 AWS_ACCESS_KEY_ID、AWS_SECRET_ACCESS_KEY")
    if parts.scheme != "s3" or not parts.netloc:
        raise HistoryError(f"history_url 应为目录，或 s3://桶/前缀?endpoint_override=主机:端口，得到 {url!r}")
    return Lake(str(data / "history-cache"), url, bound)


def probe(lake: Lake, name: str, content: bytes) -> None:
    """Write a small file where the history lies, read it back, remove it. Raises HistoryError."""
    with _said(lake.url or lake.folder, name):
        system, prefix = _system(lake.url) if lake.url else (fs.LocalFileSystem(), lake.folder)
        with system.open_output_stream(f"{prefix}/{name}") as target:
            target.write(content)
        with system.open_input_stream(f"{prefix}/{name}") as source:
            if source.read() != content:
                raise OSError("读回的不是写入的")
        system.delete_file(f"{prefix}/{name}")
