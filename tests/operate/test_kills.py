"""One platform under load whose every process is killed with -9 at random moments; `make soak KILLS=200` does more."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
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


def test_a_month_sealed_again_is_no_fault_and_one_file_listed_twice_is():
    sys.path.insert(0, str(ROOT / "tools"))
    from kills import sealed_wrongly

    def said(*rows):
        names = ("month", "part", "generation", "path")
        return list(sealed_wrongly(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))))

    once, again = ("2026-03", 0, 1, "a.parquet"), ("2026-03", 0, 2, "b.parquet")
    assert said(once, again, ("2026-03", 4096, 1, "c.parquet"), ("2026-04", 0, 1, "d.parquet")) == []
    assert "2026-03 块 0" in said(again)[0]
    assert "a.parquet" in said(once, ("2026-03", 4096, 1, "a.parquet"))[0]
