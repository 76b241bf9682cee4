"""The soak in small: kills, reloads, broken connections, an outage – and afterwards every promise is checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.service


def test_under_kills_and_outages_nothing_acknowledged_is_lost_and_nothing_counted_twice(tmp_path):
    report = tmp_path / "soak.md"
    command = [sys.executable, "tools/soak.py", "--minutes", "0.25", "--devices", "60", "--forwarded", "4"]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run([*command, "--report", report], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.strip("| ").split(" | ") for line in report.read_text().splitlines() if line.startswith("| "))
    assert int(said["已应答的帧"]) == int(said["编号的帧"]) >= 60 * 14, "each frame was answered in the end"
    assert said["已应答而不在归档中的帧"] == "0"
    assert any("kill -9" in name and int(count) for name, count in said.items()), "somebody was killed"
