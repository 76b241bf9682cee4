"""The compose file and the image name only what exists; the page of the deployment says what the files say."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from ceguan import cli, settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == "ceguan"}
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, one in OURS.items() if "entrypoint" not in one])
def test_what_a_service_starts_is_a_command_of_ours(name):
    assert cli.parser().parse_args(OURS[name]["command"])


def test_every_environment_variable_is_a_setting():
    known = {f"CEGUAN_{one.name.upper()}" for one in settings.SETTINGS} | {"PGPASSWORD"}  # libpq reads that one
    for one in OURS.values():
        assert set(one.get("environment", {})) <= known
        values = settings.load({k: v for k, v in one.get("environment", {}).items() if "$" not in v})
        assert values.database_url == "" or values.database_url.startswith("postgresql://")


def test_services_wait_for_services_and_use_volumes_that_are_there():
    for one in SERVICES.values():
        assert set(one.get("depends_on", {})) <= set(SERVICES)
        for volume in one.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / "deploy" / source).is_file()


def test_the_three_nats_servers_are_those_that_everybody_asks_and_sync_before_they_answer():
    text = (ROOT / "deploy" / "nats.conf").read_text(encoding="utf-8")
    names = {name for name in SERVICES if name.startswith("nats")}
    assert len(names) == 3
    assert {f"nats://{name}:6222" for name in names} == set(re.findall(r"nats://nats\d:6222", text))
    assert "sync_interval: always" in text
    for part in ("gateway", "centre"):
        asked = OURS[part]["environment"]["CEGUAN_NATS_URL"]
        assert asked == ",".join(f"nats://{name}:4222" for name in sorted(names))


def test_only_the_gateway_is_reachable_from_outside_and_no_password_is_written_down():
    open_ = [port for one in SERVICES.values() for port in one.get("ports", ()) if not port.startswith("127.0.0.1:")]
    assert open_ == ["9212:9212"]
    text = (ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"://\w+:(?!\$\{)[^@\s\"]+@", text) == []
    assert "CEGUAN_DB_PASSWORD=\n" in (ROOT / "deploy" / "env.example").read_text(encoding="utf-8")


def test_health_is_asked_where_something_listens():
    for name, paths in (
        ("gateway", {"gateway": "/metrics"}),
        ("centre", {"web": "/sign-in/", "clockwork": "/metrics"}),
    ):
        environment = OURS[name]["environment"]
        values = settings.load({key: value for key, value in environment.items() if "$" not in value})
        ports = {
            "gateway": values.gateway_metrics_port,
            "web": values.web_port,
            "clockwork": values.clockwork_metrics_port,
        }
        text = OURS[name]["healthcheck"]["test"][-1]
        compile(text, name, "exec")
        assert set(re.findall(r"\b\d{4}/[a-z-]+/?", text)) == {f"{ports[part]}{path}" for part, path in paths.items()}
    assert "-h" in SERVICES["postgres"]["healthcheck"]["test"], "the server that only makes the database is not ready"


def pins(name):
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))


def test_the_image_has_the_locked_packages_fetches_nothing_else_and_runs_as_nobody_special():
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = re.search(r"^FROM python:(\d+)\.(\d+)", text, re.MULTILINE)
    least = re.search(r">=(\d+)\.(\d+)", project["requires-python"])
    assert tuple(map(int, version.groups())) >= tuple(map(int, least.groups()))
    for line in re.findall(r"pip install .*", text):
        assert "--require-hashes" in line or {"--no-deps", "--no-build-isolation"} <= set(line.split())
    assert pins("requirements.lock").items() <= pins("requirements-big.lock").items()
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["ceguan"]
    for module in re.search(r"import (ceguan[^']+)'", text)[1].split(", "):
        assert importlib.util.find_spec(module)


def test_the_image_takes_only_files_that_are_there():
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())


def test_the_page_names_only_commands_settings_and_units_that_exist():
    for line in re.findall(r"(?:^|`|-u ceguan )(ceguan [a-z][^`\n#]*)", PAGE, re.MULTILINE):
        words = [word for word in line.split()[1:] if not word.startswith("…")]
        assert cli.parser().parse_args(words), line
    known = {f"CEGUAN_{one.name.upper()}" for one in settings.SETTINGS} | {"CEGUAN_DB_PASSWORD"}
    assert set(re.findall(r"CEGUAN_[A-Z_]+", PAGE)) <= known
    for unit in re.findall(r"\bceguan-[a-z]+", PAGE):
        assert (ROOT / "deploy" / "systemd" / f"{unit}.service").is_file(), unit
