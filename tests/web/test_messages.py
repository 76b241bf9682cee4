"""Every text of the pages has an English one, and the compiled catalogue is that of the source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_text_lacks_english():
    done = subprocess.run(
        [sys.executable, "tools/messages.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_english_page_has_no_chinese_in_its_frame(signed_in, city):
    client = signed_in("duty")
    client.cookies["django_language"] = "en"
    text = client.get("/search/").content.decode()
    assert "Search" in text
    assert "我的工作" not in text
