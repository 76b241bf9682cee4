"""One platform under load whose every process is killed with -9 at random moments; `make soak KILLS=200` does more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.service


def test_twenty_kills_of_every_process_lose_nothing_acknowledged_and_store_nothing_twice(tmp_path):
    command = [sys.executable, "tools/kills.py", "--kills", "20", "--devices", "8", "--report", tmp_path / "kills.md"]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    environ.pop("CEGUAN_DATABASE_URL", None)
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(
        line.strip("| ").split(" | ") for line in (tmp_path / "kills.md").read_text().splitlines() if " | " in line
    )
    kills = {name: int(count) for name, count in said.items() if "kill -9" in name}
    assert len(kills) == 13
    assert all(kills.values()), "each kind of process was killed"
    assert sum(kills.values()) == 20
