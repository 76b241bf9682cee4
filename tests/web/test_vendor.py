"""Third-party files are what their packages hold, and nothing else lies beside them."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import ceguan.web

VENDOR = Path(ceguan.web.__file__).parent / "static" / "vendor"


def test_each_vendored_file_has_its_checksum_and_licence():
    listed = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["file"]
    for row in listed:
        assert hashlib.sha256((VENDOR / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert (VENDOR / row["licence_file"]).stat().st_size > 100
    names = {row["file"] for row in listed} | {row["licence_file"] for row in listed} | {"VENDOR.toml"}
    assert {path.name for path in VENDOR.iterdir()} == names
