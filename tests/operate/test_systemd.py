"""The systemd units say what the commands need, and systemd can read them."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from ceguan import cli, settings

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


def service(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(path)
    return dict(parser["Service"])


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_confined_limited_and_started_again(path):
    said = service(path)
    assert (said["ProtectSystem"], said["NoNewPrivileges"], said["Restart"]) == ("strict", "yes", "always")
    assert said["StateDirectory"] == "ceguan"
    assert "CEGUAN_DATA=/var/lib/ceguan" in said["Environment"]
    assert said["MemoryMax"]
    assert said["User"] == "ceguan"


@pytest.mark.parametrize("path", [path for path in UNITS if path.stem != "ceguan-web"], ids=lambda path: path.stem)
def test_what_a_unit_starts_is_a_command_of_ours(path):
    assert cli.parser().parse_args(service(path)["ExecStart"].split()[1:])


def test_the_gateway_reloads_by_hangup_drains_in_time_and_has_descriptors_for_all_its_connections():
    said = service(next(path for path in UNITS if path.stem == "ceguan-gateway"))
    values = settings.load({})
    assert said["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert said["KillMode"] == "mixed"
    assert int(said["TimeoutStopSec"]) > values.gateway_drain_seconds + 10
    assert int(said["LimitNOFILE"]) > values.gateway_max_connections + 1000


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_finds_nothing_wrong(path, tmp_path):
    """Where systemd is installed; elsewhere the tests above have read the unit."""
    if not shutil.which("systemd-analyze"):
        return
    text = path.read_text(encoding="utf-8")
    copy = tmp_path / path.name  # with commands that exist here: whether they can be run is not the question
    copy.write_text(text.replace("/opt/ceguan/.venv/bin/", "/bin/true "), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stderr) == (0, "")
