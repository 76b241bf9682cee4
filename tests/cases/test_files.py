"""Evidence: taken by content, kept by hash, on disk before the database knows, verified when read."""

from __future__ import annotations

import hashlib
import os

import pytest

from ceguan.cases import files
from ceguan.cases.models import Attachment

from .conftest import PNG, photo


def attachment(stored: files.Stored) -> Attachment:
    return Attachment(**stored._asdict())


def test_a_file_lies_under_its_hash_and_is_read_back(data):
    stored = files.store(photo())
    assert stored == ("现场.png", "image/png", len(PNG), hashlib.sha256(PNG).hexdigest())
    assert files.path_of(stored.sha256).is_file()
    with files.open_verified(attachment(stored)) as file:
        assert file.read() == PNG


def test_the_same_content_twice_is_kept_once(data):
    assert files.store(photo("甲.png")).sha256 == files.store(photo("乙.png")).sha256
    assert len([path for path in files.folder().rglob("*") if path.is_file()]) == 1


def test_it_is_on_disk_before_the_call_returns(data, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), real(handle)))
    files.store(photo())
    assert len(synced) == 3  # the file, its folder, the folder above


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("病毒.exe", b"MZ", "只收"),
        ("无后缀", b"x", "只收"),
        ("假.png", b"GIF89a", "内容与后缀不符"),
        ("假.mp4", b"ftypisom", "内容与后缀不符"),
        ("空.txt", b"", "空的"),
        ("二进制.csv", b"a\0b", "不是文本"),
        ("页面.html", b"<script>", "只收"),
        ("大.txt", b"x" * (files.LARGEST + 1), "超过 20 MB"),
    ],
)
def test_what_is_not_evidence_is_refused_with_the_reason(data, name, content, message):
    with pytest.raises(files.FileRefusedError, match=message):
        files.store(photo(name, content))
    assert not files.folder().exists()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\fakepath\\照片.JPG", "照片.JPG"),
        ("a\r\nSet-Cookie: x.png", "aSet-Cookie x.png"),
        ("\u202egnp.exe.png", "gnp.exe.png"),
        ("...", "附件"),
        ("长" * 200 + ".pdf", "长" * 116 + ".pdf"),
    ],
)
def test_a_name_is_only_a_label(given, kept):
    assert files.safe_name(given) == kept


def test_a_changed_or_lost_file_is_noticed_when_read(data):
    stored = files.store(photo())
    path = files.path_of(stored.sha256)
    path.write_bytes(b"other")
    with pytest.raises(files.FileDamagedError, match="与登记的哈希不符"):
        files.open_verified(attachment(stored))
    path.unlink()
    with pytest.raises(files.FileDamagedError, match="不在了"):
        files.open_verified(attachment(stored))
