"""Fixtures: the truth folder, a fresh data folder with a migrated business database, a small invented city."""

from __future__ import annotations

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether a law holds.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).parents[1]
TRUTH = Path(os.environ.get("CEGUAN_TRUTH", ROOT.parent / "shared" / "truth"))

os.environ["CEGUAN_DATA"] = tempfile.mkdtemp(prefix="ceguan-tests-")
os.environ["DJANGO_SETTINGS_MODULE"] = "ceguan.django_settings"
POSTGRES = os.environ.get("CEGUAN_TEST_DATABASE") == "postgres"
if POSTGRES:  # business data and ledger in a real PostgreSQL: `make test-postgres`
    from tests.postgres import new_database

    os.environ["CEGUAN_DATABASE_URL"] = new_database()
os.environ["CEGUAN_ALLOWED_HOSTS"] = "testserver"  # the host name of Django's test client
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright's sync API runs a loop in the test's thread

import django  # noqa: E402  the data folder must be known before Django reads its settings

django.setup()

from django.utils import translation  # noqa: E402

from ceguan.django_settings import database  # noqa: E402


@pytest.fixture(scope="session")
def truth() -> Path:
    """The folder with published answers; tests that need it say so when it is absent."""
    if not TRUTH.is_dir():
        pytest.skip(f"no truth data at {TRUTH} (set CEGUAN_TRUTH)")
    return TRUTH


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """A request leaves its language to its thread; the next test begins with the platform's."""
    yield
    translation.deactivate()


@pytest.fixture(scope="session")
def template_database(tmp_path_factory) -> Path | str:
    """A migrated business database to copy: a file, or the URL of a PostgreSQL database."""
    from django.core.management import call_command
    from django.db import connections

    made = new_database() if POSTGRES else tmp_path_factory.mktemp("template") / "business.db"
    _use(made)
    call_command("migrate", verbosity=0)
    if not POSTGRES:
        connections["default"].cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connections.close_all()
    return made


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty data folder that the settings of this process and of its children point to."""
    from django.conf import settings

    monkeypatch.setenv("CEGUAN_DATA", str(tmp_path))
    monkeypatch.setitem(settings.CEGUAN.__dict__, "data", str(tmp_path))
    return tmp_path


@pytest.fixture
def db(data, template_database, monkeypatch) -> Path:
    """A fresh, migrated business database (and an empty ledger) for the data folder of this test."""
    from django.db import connections

    put_database(data, template_database, monkeypatch)
    yield data
    connections.close_all()


@pytest.fixture
def city(db):
    """A small invented city: tests/city.py says what is in it."""
    from tests.city import build

    return build()


def put_database(folder: Path, template: Path | str, patch: pytest.MonkeyPatch) -> None:
    """A copy of the template for a data folder, which this process and its children use from now on."""
    from django.conf import settings

    if POSTGRES:
        url = new_database(template)
        patch.setenv("CEGUAN_DATABASE_URL", url)
        patch.setitem(settings.CEGUAN.__dict__, "database_url", url)
        _use(url)
    else:
        shutil.copy(template, folder / "business.db")
        _use(folder / "business.db")


def _use(where: Path | str) -> None:
    from django.conf import settings
    from django.db import connections

    connections.close_all()
    entry = {"NAME": where} if isinstance(where, Path) else database(where)
    settings.DATABASES["default"].update(entry)
    connections["default"].settings_dict.update({name: str(v) if name == "NAME" else v for name, v in entry.items()})


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


@pytest.fixture
def judge(tmp_path, capfd):
    """Run `ceguan evaluate VERB` on the text of a CSV; gives (exit code, rows, standard error)."""
    from ceguan.cli import main

    def go(verb, text, *options):
        path = tmp_path / "in.csv"
        path.write_text(text, encoding="utf-8")
        code = main(["evaluate", verb, str(path), *options])
        out, err = capfd.readouterr()
        return code, list(csv.DictReader(io.StringIO(out))), err

    return go


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A real cluster: two nodes with a worker each. Its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster

        one = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
        nodes = Cluster(initialize_head=True, head_node_args=one)
        nodes.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield nodes.address
        nodes.shutdown()
