"""Sealed months of a living county move to another place by one command that may be killed anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ceguan import settings
from ceguan.store import Store, lake
from tests import s3
from tests.operate.test_serve import ceguan
from tests.postgres import new_database
from tests.store.conftest import HOUR, MARCH, add, reading

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(bool(os.environ.get("CEGUAN_DATABASE_URL")), reason="has databases of its own"),
]
MONTHS = ["2026-03", "2026-04", "2026-05", "2026-06", "2026-07", "2026-08"]


@pytest.fixture(params=["sqlite", "postgres"])
def county(request, tmp_path, monkeypatch):
    """Six sealed months in the data folder, one of them sealed twice, and one that is not sealed yet."""
    url = new_database() if request.param == "postgres" else ""
    (tmp_path / "ceguan.toml").write_text(f'hot_days = 40\ndatabase_url = "{url}"\n')
    with Store(tmp_path, write=True) as store:
        for start in range(MARCH, MARCH + 7 * 31 * 86400, 31 * 86400):
            add(store, *(reading(s, start + h * HOUR, s + h / 7) for s in (1, 2) for h in range(9)))
        for month in MONTHS:
            store.seal(month, 1.0)
        add(store, reading(1, MARCH, -5.0))
        store.seal("2026-03", 2.0)
    return tmp_path


def values(folder: Path) -> list[tuple]:
    table = Store(folder).readings([1, 2], 2, 0, 1 << 40, versions="all")
    return list(zip(*(table[name].to_pylist() for name in ("series", "ts", "ver", "value", "recv")), strict=True))


def in_place(folder: Path, url: str) -> bool:
    """Every listed file lies there as listed."""
    place, listed = lake.of(folder, url, 0), Store(folder).manifest()
    return [place.sha256(name) for name in listed["path"].to_pylist()] == listed["sha256"].to_pylist()


def killed(county: Path, url: str, when: str) -> None:
    """The command, killed as soon as it says a line that begins like this."""
    command = [sys.executable, "-m", "ceguan", "migrate-store", "--history-url", url]
    environ = os.environ | {"CEGUAN_DATA": str(county)}
    with subprocess.Popen(
        command, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith(when):
                process.send_signal(signal.SIGKILL)


def test_killed_again_and_again_the_same_command_goes_on_and_the_county_seals_in_between(county, monkeypatch):
    url, before = s3.new_prefix(monkeypatch), values(county)
    old = {path.name: path.read_bytes() for path in (county / "history").iterdir()}
    for count in (1, 3, 7):  # the last time while it stands in the clockwork's place, or just behind
        killed(county, url, f"已核对 {count}/")
        if settings.load(data=str(county)).history_url:
            break
        assert values(county) == before
    else:
        with Store(county, write=True) as store:
            store.seal("2026-09", 3.0)
    done = ceguan("migrate-store", "--history-url", url, data=county)
    assert done.returncode == 0, done.stderr
    assert settings.load(data=str(county)).history_url == url
    assert settings.load(data=str(county)).hot_days == 40
    assert values(county) == before
    assert in_place(county, url)
    assert all((county / "history" / name).read_bytes() == content for name, content in old.items())
    assert "无事可做" in ceguan("migrate-store", "--history-url", url, data=county).stdout
    back = ceguan("migrate-store", "--history-url", "", data=county)
    assert back.returncode == 0, back.stderr
    assert in_place(county, "")
    assert values(county) == before


def test_a_running_clockwork_is_stopped_for_the_last_step_and_the_next_one_uses_the_new_place(county):
    shared = county / "elsewhere"
    shared.mkdir()
    assert ceguan("setup", data=county).returncode == 0
    environ = os.environ | {"CEGUAN_DATA": str(county)}
    clockwork = subprocess.Popen([sys.executable, "-m", "ceguan", "clockwork"], env=environ)
    try:
        while not (county / "clockwork.json").is_file():
            assert clockwork.poll() is None
            time.sleep(0.05)
        done = ceguan("migrate-store", "--history-url", str(shared), data=county)
        assert done.returncode == 0, done.stderr
        assert clockwork.wait(60) == 0
    finally:
        clockwork.kill()
        clockwork.wait()
    assert "时钟停了" in done.stdout
    assert in_place(county, str(shared))
    with Store(county, write=True) as store:
        add(store, reading(2, MARCH, -6.0))
        store.seal("2026-03", 4.0)
    assert (shared / "2026-03.g003.parquet").is_file()


def test_what_cannot_be_moved_leaves_everything_as_it_was(county):
    shared, before = county / "elsewhere", (county / "ceguan.toml").read_text()
    overridden = ceguan("migrate-store", "--history-url", str(shared), data=county, CEGUAN_HISTORY_URL="")
    assert (overridden.returncode, "CEGUAN_HISTORY_URL" in overridden.stderr) == (1, True)
    unknown = ceguan("migrate-store", "--history-url", "https://bucket/x", data=county)
    assert (unknown.returncode, "s3://" in unknown.stderr) == (1, True)
    missing = ceguan("migrate-store", "--history-url", str(shared), data=county)
    assert (missing.returncode, str(shared) in missing.stderr) == (1, True), "a disk that is not mounted"
    shared.mkdir()
    bent = county / "history" / "2026-05.g001.parquet"
    bent.write_bytes(bent.read_bytes()[:-9] + b"bent" + bent.read_bytes()[-5:])
    refused = ceguan("migrate-store", "--history-url", str(shared), data=county)
    assert refused.returncode == 1
    assert "2026-05.g001.parquet" in refused.stderr
    assert (county / "ceguan.toml").read_text() == before
