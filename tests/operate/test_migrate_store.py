"""A living county moves to PostgreSQL by one command that may be killed anywhere; all reads give the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ceguan import clock
from ceguan.registry import audit
from ceguan.registry.models import Device, Point, User
from ceguan.store import Decision, RecordKind, Store, moving
from ceguan.store.moving import Move
from ceguan.words import Period
from tests.postgres import new_database
from tests.watch.test_clockwork import gas
from tests.watch.world import HOUR, World, at

pytestmark = pytest.mark.service
T0 = at("2026-03-10 00:00")


def ceguan(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ceguan", *arguments]
    return subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, timeout=180)


@pytest.fixture
def county(city, data):
    """Three days of an outlet and a station, changed values, a decision, noise, a stranger, an event in the audit."""
    from django.db import transaction

    Device.objects.filter(mn="MNGAS_OUTLET").update(units={"a21026": "mg/m³"})
    with closing(World(data)) as world:
        for hour in range(72):
            start = T0 + hour * HOUR
            world.send("MNGAS_OUTLET", "hour", start, gas(30 + hour % 7, zs=80 if hour % 20 == 0 else 40 + hour % 5))
            world.send("MNAIR", "hour", start, {"a34004": 20 + hour % 9})
            if hour % 30 == 0:
                world.send("MNGAS_OUTLET", "hour", start, gas(33, zs=41), recv=start + HOUR + 90)
        world.send("MN-STRANGER", "hour", T0, {"a34004": 1})
        world.append(RecordKind.BAD, T0 + HOUR, b"GET / HTTP/1.1")
        world.step(T0 + 74 * HOUR)
        series = city.points["gas_outlet"].series.get(factor="a21026").pk
        with world.clockwork.store.ledger.batch() as batch:
            batch.add_decision(Decision(series, 2, T0, T0 + HOUR, "invalidate", "analyst", float(T0), "校准", 1))
    with transaction.atomic():
        audit.record(city.users["duty"], "试验", "point:A1", "原因", {"数": [1, 2.5, None], "b": "文字"}, clock.now())
    return data


def all_reads(folder: Path, url: str) -> dict[str, object]:
    """Every read of the store over everything there is."""
    store = Store(folder, database=url)
    series = sorted(Point.objects.values_list("series", flat=True))
    start, end = T0 - 86400, T0 + 30 * 86400
    found: dict[str, object] = {
        "latest": store.latest(), "decisions": store.decisions(), "verdicts": store.verdicts(),
        "bad": store.bad_frames(), "unknown": store.unknown_devices(),
        "days": store.device_days("2026-01-01", "2027-01-01"),
        "dialects": store.dialects(), "warnings": store.warnings("2026-01-01", "2027-01-01"), "usual": store.usual(),
        "quarantined": store.quarantined(None), "fills": store.fills(), "positions": store.positions(),
        "manifest": store.manifest(), "held": store.held_frames("MN-STRANGER"), "backlog": store.backlog(),
    }  # fmt: skip
    for kind in range(4):
        for versions in ("force", "all"):
            found[f"readings {kind} {versions}"] = store.readings(series, kind, start, end, versions=versions)
        found[f"as of {kind}"] = store.readings(series, kind, start, end, as_of=T0 + 40 * HOUR)
        found[f"flags {kind}"] = store.flags(series, kind, start, end, versions="all")
        found[f"runs {kind}"] = store.quality_runs(series, kind, start, end)
        found[f"gaps {kind}"] = store.gaps(series, kind, start, end)
        found[f"months {kind}"] = store.aggregates(series, kind, Period.MONTH, start - 31 * 86400, end)
        found[f"times {kind}"] = [column.tolist() for column in store.times(series, kind, start, end)]
    return {name: str(one.to_pylist()) if hasattr(one, "to_pylist") else one for name, one in found.items()}


def test_a_county_moves_and_reads_the_same_and_goes_on(county):
    url = new_database()
    before, users = all_reads(county, ""), list(User.objects.order_by("pk").values())
    assert before["verdicts"] != "[]"
    (county / "ceguan.toml").write_text("hot_days = 30\n")
    done = ceguan(county, "migrate-store", "--to", url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "时钟停了" in done.stdout
    assert all_reads(county, url) == before
    assert (county / "ceguan.toml").read_text().startswith("hot_days = 30\n")
    shown = ceguan(county, "accounts")
    assert shown.returncode == 0, shown.stderr
    assert all(user["username"] in shown.stdout for user in users)
    with closing(World(county)) as world:
        world.send("MNGAS_OUTLET", "hour", T0 + 80 * HOUR, gas(31, zs=41))
    later = ceguan(county, "clockwork", "--once", CEGUAN_FUTURE_MINUTES="10000000")
    assert later.returncode == 0, later.stdout + later.stderr
    assert Store(county, database=url).backlog() == 0
    assert len(Store(county, database=url).positions()) == len(before["positions"])
    again = ceguan(county, "migrate-store", "--to", url)
    assert (again.returncode, "无事可做" in again.stdout) == (0, True)


def test_nobody_starts_or_writes_on_what_has_moved(county):
    url = new_database()
    assert ceguan(county, "migrate-store", "--to", url).returncode == 0
    with sqlite3.connect(county / "business.db") as old, pytest.raises(sqlite3.IntegrityError, match="业务库已冻结"):
        old.execute("DELETE FROM registry_user")
    (county / "ceguan.toml").unlink()
    refused = ceguan(county, "accounts")
    assert refused.returncode == 2
    assert "已迁往" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert ceguan(county, "migrate-store", "--cancel").returncode != 0


def test_a_copy_of_the_old_folder_does_not_go_over_what_is_in_use(county, tmp_path_factory):
    url, copy = new_database(), tmp_path_factory.mktemp("elsewhere") / "copy"
    assert ceguan(county, "setup").returncode == 0  # it has its key
    shutil.copytree(county, copy)
    assert ceguan(county, "migrate-store", "--to", url).returncode == 0
    with psycopg.connect(url) as link:
        link.execute("UPDATE registry_user SET name_zh = '迁移之后' WHERE username = 'duty'")
    refused = ceguan(copy, "migrate-store", "--to", url, CEGUAN_DATA=str(copy))
    assert refused.returncode == 1
    assert "本平台已迁入目标库" in refused.stderr
    with psycopg.connect(url) as link:
        assert link.execute("SELECT name_zh FROM registry_user WHERE username = 'duty'").fetchone() == ("迁移之后",)
    with sqlite3.connect(copy / "business.db") as old:  # it is not frozen either
        old.execute("UPDATE registry_user SET name_zh = '值班' WHERE username = 'duty'")
    (county / "ceguan.toml").unlink()  # as if it had fallen just before its setting was written
    (county / "superseded.json").write_text(json.dumps({"to": url, "state": "moving", "at": 0}))
    done = ceguan(county, "migrate-store", "--to", url)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("until", "and_then"), [("已抄", 0), ("最后一步", 1.3)])
def test_killed_anywhere_the_same_command_goes_on(county, until, and_then):
    """The second time the business database is frozen already, as a rule."""
    url, before, said = new_database(), all_reads(county, ""), ""
    command = [sys.executable, "-m", "ceguan", "migrate-store", "--to", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while until not in said:
            read = process.stdout.read(1)
            assert read, said
            said += read
        time.sleep(and_then)
        process.send_signal(signal.SIGKILL)
    done = ceguan(county, "migrate-store", "--to", url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all_reads(county, url) == before


def test_killed_between_any_two_transactions_the_ledger_goes_on(county, monkeypatch):
    """Each start writes a little and falls; in between the clockwork goes on writing."""
    url, count = new_database(), 0
    monkeypatch.setattr(moving, "CHUNK", 40)

    class Fell(Exception):
        pass

    def falls(table: str, rows: int) -> None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            raise Fell

    for turn in range(60):
        if turn % 10 == 5:
            with closing(World(county)) as world:
                world.send("MNGAS_OUTLET", "hour", T0 + (90 + turn) * HOUR, gas(31, zs=41))
                world.step(T0 + (92 + turn) * HOUR)
        move = Move(county / "readings.db", url, falls if turn < 50 else lambda table, rows: None)
        try:
            move.finish()
            break
        except Fell:
            continue
        finally:
            move.close()
    assert turn >= 2
    assert all_reads(county, url) == all_reads(county, "")


def test_a_month_sealed_while_it_moves_leaves_there_too(county):
    url = new_database()
    move = Move(county / "readings.db", url)
    move.catch_up()
    (county / "ceguan.toml").write_text("history_series = 1\n")  # the file of one series, then that of the other
    with Store(county, write=True, database="") as store:
        assert store.seal_due(float(T0 + 100 * 86400), 40)
        move.catch_up()
        with psycopg.connect(url) as link:
            assert link.execute("SELECT count(*) > 0 FROM ledger.reading").fetchone() == (True,)
        assert store.seal("2026-03", float(T0 + 100 * 86400))
    move.finish()
    move.close()
    assert all_reads(county, url) == all_reads(county, "")
    with psycopg.connect(url) as link:
        assert link.execute("SELECT count(*) FROM ledger.reading").fetchone() == (0,)


def test_before_the_setting_is_written_one_can_go_back(county):
    from ceguan.operate import migrate_store

    migrate_store._freeze(county / "business.db")
    (county / "superseded.json").write_text(json.dumps({"to": "postgresql://x", "state": "moving"}))
    with sqlite3.connect(county / "business.db") as old, pytest.raises(sqlite3.IntegrityError):
        old.execute("DELETE FROM registry_user")
    assert ceguan(county, "migrate-store", "--cancel").returncode == 0
    User.objects.filter(username="duty").update(name_zh="值班")
    assert not (county / "superseded.json").exists()


def test_a_database_that_is_not_empty_or_not_there_is_refused_and_nothing_changes(county):
    url = new_database()
    with psycopg.connect(url) as link:
        link.execute("CREATE TABLE theirs (n INT)")
    for target, said in ((url, "不是空的"), ("postgresql://nobody@127.0.0.1:1/x", "连不上"), ("mysql://x", "--to")):
        done = ceguan(county, "migrate-store", "--to", target)
        assert done.returncode == 1
        assert said in done.stderr
    assert not (county / "superseded.json").exists()
    assert not (county / "ceguan.toml").exists()
