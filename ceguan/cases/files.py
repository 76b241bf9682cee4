"""Evidence: stored by its SHA-256 under <data>/files, on disk before the database knows of it, verified on every read.

What may come in is a table: suffix, content type, first bytes. The name given by the sender is only a label; nothing
on disk is called by it.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, Protocol

from django.conf import settings
from django.utils.translation import gettext as _

from ceguan.cases.models import Attachment
from ceguan.registry.label import listed

LARGEST = 20_000_000
MOST = 10
"""Bytes of one file, files of one step: settings of the platform."""


class Kind(NamedTuple):
    """A kind of file that is accepted; it must begin with one of `heads` (after `offset` bytes)."""

    content_type: str
    heads: tuple[bytes, ...]
    offset: int = 0


KINDS = {
    ".jpg": Kind("image/jpeg", (b"\xff\xd8\xff",)),
    ".jpeg": Kind("image/jpeg", (b"\xff\xd8\xff",)),
    ".png": Kind("image/png", (b"\x89PNG\r\n\x1a\n",)),
    ".pdf": Kind("application/pdf", (b"%PDF-",)),
    ".mp4": Kind("video/mp4", (b"ftyp",), 4),
    ".docx": Kind("application/vnd.openxmlformats-officedocument.wordprocessingml.document", (b"PK\x03\x04",)),
    ".xlsx": Kind("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", (b"PK\x03\x04",)),
    ".csv": Kind("text/csv", ()),
    ".txt": Kind("text/plain", ()),
}
_CUT = re.compile(r'[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069"*:<>?|]')


class FileRefusedError(ValueError):
    """The file is not taken; the message says why and what would be."""


class FileDamagedError(RuntimeError):
    """A stored file is missing or no longer has its hash; the message names it."""


class Incoming(Protocol):
    """What is uploaded: Django's UploadedFile and ContentFile are such."""

    name: str | None

    def read(self, num_bytes: int = ..., /) -> bytes: ...


class Stored(NamedTuple):
    """A file on disk."""

    name: str
    content_type: str
    size: int
    sha256: str


def folder() -> Path:
    return settings.CEGUAN.folder / "files"


def path_of(sha256: str) -> Path:
    return folder() / sha256[:2] / sha256


def safe_name(name: str) -> str:
    """The last part of a name without control, direction and path characters, at most 120 long; never empty."""
    last = PurePosixPath(name.replace("\\", "/")).name
    clean = _CUT.sub("", last).strip(". ")
    stem, suffix = os.path.splitext(clean)
    return f"{stem[: 120 - len(suffix)] or '附件'}{suffix}"


def store(incoming: Incoming) -> Stored:
    """Check and keep one file; when this returns it is on disk. Raises FileRefusedError."""
    name = safe_name(incoming.name or "")
    suffix = os.path.splitext(name)[1].lower()
    kind = KINDS.get(suffix)
    if kind is None:
        said = {"name": name, "kinds": listed(sorted(suffix[1:] for suffix in KINDS))}
        raise FileRefusedError(_("“%(name)s”没有收下：只收 %(kinds)s 文件") % said)
    content = incoming.read(LARGEST + 1)
    _check(name, content, kind)
    sha256 = hashlib.sha256(content).hexdigest()
    _keep(path_of(sha256), content)
    return Stored(name, kind.content_type, len(content), sha256)


def _check(name: str, content: bytes, kind: Kind) -> None:
    if not content:
        raise FileRefusedError(_("“%(name)s”没有收下：文件是空的") % {"name": name})
    if len(content) > LARGEST:
        raise FileRefusedError(_("“%(name)s”没有收下：超过 %(most)d MB") % {"name": name, "most": LARGEST // 1_000_000})
    if kind.heads and not any(content[kind.offset :].startswith(head) for head in kind.heads):
        raise FileRefusedError(_("“%(name)s”没有收下：内容与后缀不符") % {"name": name})
    if not kind.heads and b"\0" in content:
        raise FileRefusedError(_("“%(name)s”没有收下：不是文本") % {"name": name})


def _keep(path: Path, content: bytes) -> None:
    """Write once: a scratch file made durable, renamed to its hash, the folder made durable."""
    if path.is_file() and path.stat().st_size == len(content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(path)
    except OSError:
        Path(scratch).unlink(missing_ok=True)
        raise
    for changed in (path.parent, path.parent.parent):
        _sync_folder(changed)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_verified(attachment: Attachment) -> IO[bytes]:
    """The stored file, open at its beginning, after its hash has been checked. Raises FileDamagedError."""
    path, said = path_of(attachment.sha256), {"name": attachment.name, "sha256": attachment.sha256[:12]}
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileDamagedError(_("附件“%(name)s”不在了（%(sha256)s…）") % said) from error
    if hashlib.file_digest(file, "sha256").hexdigest() != attachment.sha256:
        file.close()
        raise FileDamagedError(_("附件“%(name)s”与登记的哈希不符（%(sha256)s…）") % said)
    file.seek(0)
    return file
