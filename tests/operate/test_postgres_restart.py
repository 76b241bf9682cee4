"""PostgreSQL falls in the middle of the work: it is said, it goes on by itself, nothing half-done and nothing twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from ceguan.operate.supervise import WEB_THREADS
from ceguan.registry.postgres.base import WRITING
from ceguan.store import RecordKind, Store, archive
from tests.operate.web import Web
from tests.postgres import Server
from tests.watch.world import HOUR, World, at

pytestmark = pytest.mark.service
T0 = at("2026-03-10 00:00")
HOURS = 600
BUILD = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.city import build
from ceguan.watch import findings
point = build().points["gas_outlet"]
findings.raise_finding(point, "limit-hour:a21026", 2, "超标", "over", {"zh": "超标", "occurrence": "1"}, [], 0, 0)
"""
SMALL_STEPS = """
import sys, threading
import django; django.setup()
from ceguan import settings
from ceguan.watch import cli
from ceguan.watch.clockwork import Clockwork
values = settings.load()
with Clockwork(values, batch_records=20) as clockwork:
    sys.exit(cli.Loop(clockwork, values, threading.Event()).run())
"""


@pytest.fixture(scope="module")
def server():
    return Server()


@pytest.fixture
def database(server, tmp_path, monkeypatch):
    """A business database with the small city, and an empty ledger, for the processes that this test starts."""
    url = server.new_database()
    for name, value in {"CEGUAN_DATABASE_URL": url, "CEGUAN_DATA": str(tmp_path), "PYTHONPATH": "."}.items():
        monkeypatch.setenv(name, value)
    subprocess.run([sys.executable, "-c", BUILD], check=True)
    return url


def wait_for(condition, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def test_the_clockwork_goes_on_by_itself_and_counts_each_frame_once(server, database, tmp_path):
    world = World(tmp_path)
    for hour in range(HOURS):
        world.send("MNGAS_OUTLET", "hour", T0 + hour * HOUR, {"a21026": 30 + hour % 7})
    world.close()
    clockwork = subprocess.Popen([sys.executable, "-c", SMALL_STEPS])
    try:
        causes = set()
        for part in (0.1, 0.3, 0.6):
            wait_for(lambda part=part: taken(database) > part * HOURS)
            server.restart()
            causes |= {error["cause"] for error in wait_for(lambda: beat(tmp_path).get("errors") or "")}
        wait_for(lambda: taken(database) == HOURS and beat(tmp_path).get("caught_up"))
        assert clockwork.poll() is None
    finally:
        clockwork.kill()
        clockwork.wait()
    assert "连不上 PostgreSQL，或连接中断（正在重启？）" in causes
    store = Store(tmp_path, database=database)
    series = {number for (number,) in rows(database, "SELECT id FROM registry_series")}
    assert store.readings(sorted(series), 2, 0, 1 << 40, versions="all").num_rows == HOURS
    assert store.verdicts(rule="limit-hour:a21026", all_versions=True).num_rows == HOURS, "each hour is judged once"
    assert sum(day["items"] for day in store.device_days("2026-01-01", "2026-12-31").to_pylist()) == HOURS


def taken(database: str) -> int:
    """Frames the ledger counts."""
    try:
        return int(rows(database, "SELECT coalesce(sum(frames), 0) FROM ledger.device_day")[0][0])
    except psycopg.Error:
        return 0


def rows(database: str, sql: str) -> list[tuple]:
    with psycopg.connect(database) as link:
        return link.execute(sql).fetchall()


def beat(folder) -> dict:
    try:
        return json.loads((folder / "clockwork.json").read_text())
    except (OSError, ValueError):
        return {}


def test_a_page_whose_transaction_breaks_says_why_and_the_same_again_is_done_once(server, database, tmp_path):
    """The request waits for the one writer's lock, which the test holds, when the server falls."""
    with Web(tmp_path) as web:
        web.sign_in("enforcement")
        number = rows(database, "SELECT id FROM watch_finding")[0][0]
        before = counts(database)
        answers = []
        holder = psycopg.connect(database)
        holder.execute("SELECT pg_advisory_xact_lock(%s)", [WRITING])
        asking = threading.Thread(
            target=lambda: answers.append(web.post(f"/inbox/{number}/case/", {"text": "立案核查"}))
        )
        asking.start()
        wait_for(
            lambda: rows(database, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")[0][0]
        )
        server.restart()
        asking.join(120)
        assert answers[0].status_code == 503
        assert "连不上 PostgreSQL" in answers[0].text
        assert "没有写入任何改动" in answers[0].text
        assert counts(database) == before
        again = web.post(f"/inbox/{number}/case/", {"text": "立案核查"})
        assert again.status_code == 302, again.text
    after = counts(database)
    assert after["cases_case"] == before["cases_case"] + 1
    assert after["registry_auditevent"] > before["registry_auditevent"]
    done = subprocess.run([sys.executable, "-m", "ceguan", "audit"], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout


SLOW_COMMIT = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON registry_auditevent DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION slow()
"""


def test_a_decision_whose_commit_breaks_off_is_not_in_the_archive_and_the_page_does_not_pretend_to_know(
    server, database, tmp_path
):
    with psycopg.connect(database) as link:
        link.execute(SLOW_COMMIT)
    form = {
        "factor": "a21026", "kind": "hour", "start": "2026-03-10T00:00", "end": "2026-03-10T01:00",
        "action": "invalidate", "why": "校准期间", "evidence": "",
    }  # fmt: skip
    with Web(tmp_path) as web:
        web.sign_in("analyst")
        before, answers = counts(database), []
        asking = threading.Thread(target=lambda: answers.append(web.post("/points/gas_outlet/decide/", form)))
        asking.start()
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"
        wait_for(lambda: rows(database, sql)[0][0])
        server.restart()
        asking.join(120)
        assert answers[0].status_code == 503
        assert "不知道这一步是否已写入" in answers[0].text
        assert counts(database) == before
        assert list(archive.read(tmp_path / "archive")) == []
        with psycopg.connect(database) as link:
            link.execute("DROP TRIGGER slow ON registry_auditevent")
        assert web.post("/points/gas_outlet/decide/", form).status_code == 302
        assert [one.kind for one in archive.read(tmp_path / "archive")] == [RecordKind.DECISION]


def test_pages_asked_for_all_at_once_take_a_bounded_number_of_connections(server, database, tmp_path):
    """Two for each thread of the web server, however many people ask."""
    with Web(tmp_path) as web:
        web.sign_in("enforcement")
        with ThreadPoolExecutor(30) as crowd:
            answers = {answer.status_code for answer in crowd.map(web.get, ["/inbox/", "/map/", "/points/"] * 20)}
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert 2 < rows(database, sql)[0][0] <= 2 * WEB_THREADS
    assert answers == {200}


def counts(database: str) -> dict[str, int]:
    tables = ("cases_case", "cases_caseevent", "registry_auditevent", "watch_findingevent")
    return {table: rows(database, f"SELECT count(*) FROM {table}")[0][0] for table in tables}
