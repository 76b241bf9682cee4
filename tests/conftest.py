"""Fixtures: the truth folder, a fresh data folder with a migrated business database, a small invented city."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRUTH = Path(os.environ.get("CEGUAN_TRUTH", ROOT.parent / "shared" / "truth"))

os.environ["CEGUAN_DATA"] = tempfile.mkdtemp(prefix="ceguan-tests-")
os.environ["DJANGO_SETTINGS_MODULE"] = "ceguan.django_settings"
os.environ["CEGUAN_ALLOWED_HOSTS"] = "testserver"  # the host name of Django's test client
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's sync API runs a loop in the test's thread

import django  # noqa: E402  the data folder must be known before Django reads its settings

django.setup()


@pytest.fixture(scope="session")
def truth() -> Path:
    """The folder with published answers; tests that need it say so when it is absent."""
    if not TRUTH.is_dir():
        pytest.skip(f"no truth data at {TRUTH} (set CEGUAN_TRUTH)")
    return TRUTH


@pytest.fixture(scope="session")
def template_database(tmp_path_factory) -> Path:
    from django.core.management import call_command
    from django.db import connections

    path = tmp_path_factory.mktemp("template") / "business.db"
    _use(path)
    call_command("migrate", verbosity=0)
    connections["default"].cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connections.close_all()
    return path


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty data folder that the settings of this process and of its children point to."""
    from django.conf import settings

    monkeypatch.setenv("CEGUAN_DATA", str(tmp_path))
    monkeypatch.setitem(settings.CEGUAN.__dict__, "data", str(tmp_path))
    return tmp_path


@pytest.fixture
def db(data, template_database) -> Path:
    """A fresh, migrated business database in the data folder of this test."""
    from django.db import connections

    shutil.copy(template_database, data / "business.db")
    _use(data / "business.db")
    yield data
    connections.close_all()


@pytest.fixture
def city(db):
    """A small invented city: tests/city.py says what is in it."""
    from tests.city import build

    return build()


def _use(path: Path) -> None:
    from django.conf import settings
    from django.db import connections

    connections.close_all()
    settings.DATABASES["default"]["NAME"] = path
    connections["default"].settings_dict["NAME"] = str(path)


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "no truth data" in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests left out: no published answers at {TRUTH}")


def pytest_sessionfinish(session, exitstatus) -> None:
    """With CI=true nothing may be left out: a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and exitstatus == 0 and reporter and reporter.stats.get("skipped"):
        session.exitstatus = 1
        reporter.write_line("CI=true: nothing may be left out, and tests were skipped")
