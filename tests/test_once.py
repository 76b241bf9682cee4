"""Files that are made once: the installation's key, the name of an archive."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ceguan.once import once

KEY = "import ceguan.django_settings as one; print(one.SECRET_KEY)"


def test_processes_that_start_together_on_a_new_folder_have_one_key_that_only_its_owner_reads(tmp_path):
    """Never an empty one, nor a part of it, however they meet."""
    environ = os.environ | {"CEGUAN_DATA": str(tmp_path)}
    started = [
        subprocess.Popen([sys.executable, "-c", KEY], env=environ, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    keys = {process.communicate()[0].strip() for process in started}
    assert keys == {(tmp_path / "secret.key").read_text()}
    assert len(keys.pop()) > 50
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


def test_whoever_asks_first_decides(tmp_path):
    for number in range(50):
        with ThreadPoolExecutor(2) as pool:
            found = set(pool.map(lambda _, n=number: once(tmp_path / str(n), lambda: secrets.token_hex(8)), range(2)))
        assert len(found) == 1
        assert once(tmp_path / str(number), lambda: "another") in found


def test_an_empty_key_is_refused_and_says_what_to_do(tmp_path):
    (tmp_path / "secret.key").touch()
    environ = os.environ | {"CEGUAN_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", KEY], env=environ, capture_output=True, text=True)
    assert done.returncode
    assert "secret.key 是空的：请从备份取回" in done.stderr


def test_what_cannot_be_written_leaves_nothing_half_made(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        once(tmp_path / "key", lambda: "钥匙")
    assert list(tmp_path.iterdir()) == []
