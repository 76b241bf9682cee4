"""A backup made while frames keep coming stands on its own, and restoring it gives the same city."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ceguan.registry.models import AuditEvent
from ceguan.store import ArchiveWriter, RecordKind, Store, lake, sizes
from ceguan.store.verify import verify
from tests import s3
from tests.operate.test_serve import ceguan as command
from tests.postgres import new_database
from tests.store.conftest import MARCH, add, reading
from tests.watch.world import HOUR, World, at

NOON = at("2026-03-10 12:00")
SAME = {
    "reading": "*",
    "decision": "*",
    "flag": "series, kind, ts, test, turn, ver, version, outcome, params, evidence",
    "verdict": "point, rule, ts, ver, outcome, value, level, edition, clause, detail, inputs",
    "position": "*",
    "held_frame": "*",
    "quarantine": "*",
}
BUSINESS = ("cases_case", "cases_caseevent", "registry_point", "registry_device", "registry_permitlimit")


@pytest.fixture
def world(city, data):
    (data / "secret.key").write_text("a key of this installation")
    world = World(data)
    world.writers[0] = ArchiveWriter(data / "archive", 0, 8192)
    world.city = city
    yield world
    world.close()


def send(world, first, last):
    """Hourly values of two outlets, one of them over its limit now and then."""
    for hour in range(first, last):
        ts = NOON + hour * HOUR
        world.send("MNGAS_OUTLET", "hour", ts, {"a21026": {"Avg": "30", "ZsAvg": str(35 + hour % 30), "Flag": "N"}})
        world.send("MNWATER_OUTLET", "hour", ts, {"w01018": 20 + hour % 9, "w21003": 1.25})


RESTORED: dict[Path, str] = {}
"""Where the databases of a restored folder lie, if in PostgreSQL: each in a database of its own."""


def where(folder):
    return RESTORED.get(folder) or os.environ.get("CEGUAN_DATABASE_URL", "")


def ceguan(*arguments, data, **environ):
    """The command on a folder and its databases."""
    url = where(data)
    return command(*arguments, data=data, **({"CEGUAN_DATABASE_URL": url} if url else {}) | environ)


def restore(copy, *options, data):
    if os.environ.get("CEGUAN_DATABASE_URL"):
        RESTORED[data] = new_database()
    return ceguan("restore", copy, *options, data=data)


def rows(folder, file, tables):
    wanted = {name: f"SELECT {what} FROM {name} ORDER BY 1, 2, 3" for name, what in tables}
    if url := where(folder):
        with psycopg.connect(url, options="-c search_path=ledger,public") as link:
            return {name: link.execute(sql).fetchall() for name, sql in wanted.items()}
    with closing(sqlite3.connect(folder / file)) as db:
        return {name: db.execute(sql).fetchall() for name, sql in wanted.items()}


def ledger(folder):
    found = rows(folder, "readings.db", SAME.items())
    assert found["reading"]
    assert found["verdict"]
    return found


def business(folder):
    return rows(folder, "business.db", [(name, "*") for name in BUSINESS])


def audit(folder):
    return rows(folder, "business.db", [("registry_auditevent", "seq, hash, prev_hash")])["registry_auditevent"]


def test_drill_a_city_backed_up_while_frames_keep_coming_is_the_same_city_elsewhere(world, tmp_path_factory):
    folder, copy, elsewhere = world.folder, *(tmp_path_factory.mktemp(name) for name in ("backup", "restored"))
    send(world, 0, 40)
    world.step(NOON + 41 * HOUR)
    world.restart()
    stop, hour = threading.Event(), [40]

    def keep_coming():
        while not stop.is_set():
            send(world, hour[0], hour[0] + 1)
            hour[0] += 1
            time.sleep(0.005)

    sender = threading.Thread(target=keep_coming)
    clockwork = subprocess.Popen([sys.executable, "-m", "ceguan", "clockwork"], stderr=subprocess.DEVNULL)
    sender.start()
    try:
        while not (folder / "clockwork.json").is_file():
            time.sleep(0.05)
        done = ceguan("backup", copy, data=folder)
    finally:
        stop.set()
        sender.join()
        clockwork.terminate()
        clockwork.wait(timeout=60)
    assert done.returncode == 0, done.stderr
    done = restore(copy, data=elsewhere)
    assert done.returncode == 0, done.stderr
    taken = sum(result.records for result in (verify(elsewhere / "archive", stream) for stream in (0,)))
    assert 80 <= taken <= 2 * hour[0]
    assert verify(elsewhere / "archive", 0).broken is None
    assert audit(elsewhere)[: len(audit(folder))] == audit(folder)
    assert ceguan("audit", data=elsewhere).returncode == 0

    world.step(time.time())  # all is ripe, as it will be for the one that replays
    again = tmp_path_factory.mktemp("again")
    second = ceguan("backup", copy, data=folder)
    assert second.returncode == 0, second.stderr
    assert restore(copy, data=again).returncode == 0
    assert ledger(again) == ledger(folder)
    assert business(again) == business(folder)
    assert (again / "secret.key").read_text() == "a key of this installation"


def test_what_came_after_the_snapshot_is_replayed_and_a_point_in_time_can_be_asked_for(world, tmp_path_factory):
    copy, whole, part = (tmp_path_factory.mktemp(name) for name in ("backup", "whole", "part"))
    send(world, 0, 20)
    world.step(NOON + 21 * HOUR)
    world.restart()
    send(world, 20, 40)  # in the archive, not in the ledger
    assert ceguan("backup", copy, data=world.folder).returncode == 0
    done = restore(copy, data=whole)
    assert (done.returncode, done.stderr) == (0, "")
    assert "重放 40 条" in done.stdout
    world.step(time.time())
    assert ledger(whole) == ledger(world.folder)
    # The data are of March, the snapshot is of today: the archive ends at the moment asked for, behind the snapshot's
    # own position. A snapshot younger than that moment is not taken.
    refused = restore(copy, "--to", "2026-03-11T12:00", data=part)
    assert refused.returncode == 2
    assert "最早的快照" in refused.stderr
    assert list(part.iterdir()) == []
    place = next((copy / "snapshots").glob("2*")) / "manifest.json"
    content = json.loads(place.read_text()) | {"taken_at": NOON + 21 * HOUR}
    place.write_text(json.dumps(content))
    done = restore(copy, "--to", "2026-03-11T12:01", data=part)
    assert (done.returncode, done.stderr) == (0, "")
    received = [row[10] for row in ledger(part)["reading"]]
    assert max(received) == at("2026-03-11 12:01")
    assert len(received) == len([row for row in ledger(whole)["reading"] if row[10] <= at("2026-03-11 12:01")])
    assert verify(part / "archive", 0).broken is None


def test_a_second_run_copies_only_what_is_new(world, tmp_path_factory):
    copy = tmp_path_factory.mktemp("backup")
    send(world, 0, 60)
    world.step(NOON + 61 * HOUR)
    ceguan("backup", copy, data=world.folder)
    before = {path: path.stat().st_mtime_ns for path in (copy / "data" / "archive" / "0000").glob("*.seg")}
    send(world, 60, 62)
    assert ceguan("backup", copy, data=world.folder).returncode == 0
    changed = [path.name for path, stamp in before.items() if path.stat().st_mtime_ns != stamp]
    assert len(before) >= 3
    assert len(changed) <= 1
    for _ in range(2):
        ceguan("backup", copy, "--keep", "2", data=world.folder)
    assert len(list((copy / "snapshots").iterdir())) == 2
    assert sizes.last_backup(world.folder)["folder"] == str(copy)


def test_sealed_history_is_in_a_backup_and_a_file_left_from_a_crash_is_not(world, tmp_path_factory):
    copy, elsewhere = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("restored")
    send(world, 0, 3)
    world.step(time.time())
    (sealed,) = world.clockwork.store.seal("2026-03", time.time())
    left = sealed.with_name("2026-04.g001.parquet")
    for content in ("half", "written anew"):
        left.write_text(content)
        assert ceguan("backup", copy, data=world.folder).returncode == 0
    assert restore(copy, data=elsewhere).returncode == 0
    assert [path.name for path in (elsewhere / "history").iterdir()] == [sealed.name]
    table = Store(elsewhere, database=where(elsewhere)).readings(
        [world.city.points["gas_outlet"].series.get(factor="a21026").pk], 2, 0, 1 << 40
    )
    assert table.num_rows == 3


@pytest.fixture
def afar(tmp_path_factory, monkeypatch):
    """A set-up county whose three sealed months lie in the bucket of an S3 stand-in: (folder, address)."""
    folder, url = tmp_path_factory.mktemp("data"), s3.new_prefix(monkeypatch)
    (folder / "ceguan.toml").write_text(f'bureau_name = "某局"\nhistory_url = "{url}"\n')
    assert ceguan("setup", data=folder).returncode == 0
    with Store(folder, write=True, history=url) as store:
        for month in range(3):
            add(
                store, *(reading(s, MARCH + month * 31 * 86400 + h * HOUR, s + h / 7) for s in (1, 2) for h in range(9))
            )
        for month in ("2026-03", "2026-05"):
            store.seal(month, 1.0)
    return folder, url


def sums(url):
    """Name → SHA-256 of the files of a history."""
    place = lake.of(Path(), url, 0)
    return {name.partition("/")[2]: place.sha256(name.partition("/")[2]) for name in s3.names(url)}


def all_of(folder, url):
    return (
        Store(folder, history=url)
        .readings([1, 2], 2, 0, 1 << 40, versions="all")
        .drop_columns(["zs", "vmin", "vmax", "cou"])
        .to_pylist()
    )


@pytest.mark.service
@pytest.mark.skipif(bool(os.environ.get("CEGUAN_DATABASE_URL")), reason="a backup of SQLite")
def test_drill_a_history_in_s3_is_in_the_backup_and_comes_back_into_another_bucket_or_a_folder(
    afar, tmp_path_factory, monkeypatch
):
    (folder, url), copy = afar, tmp_path_factory.mktemp("backup")
    before = all_of(folder, url)
    assert len(before) == 54
    shutil.rmtree(folder / "history-cache")  # what lies here is a copy, the backup takes what lies there
    done = ceguan("backup", copy, data=folder)
    assert done.returncode == 0, done.stderr
    assert "不是完整的备份" not in done.stdout
    assert len(list((copy / "data" / "history").iterdir())) == 2
    again = ceguan("backup", copy, data=folder)
    assert re.search(r"本次新拷 (\d+) 字节", again.stdout)[0] != re.search(r"本次新拷 (\d+) 字节", done.stdout)[0]
    bucket = s3.new_prefix(monkeypatch)
    for place in (bucket, ""):
        elsewhere = tmp_path_factory.mktemp("restored")
        done = ceguan("restore", copy, data=elsewhere, CEGUAN_HISTORY_URL=place)
        assert done.returncode == 0, done.stderr
        assert f'history_url = "{place}"' in (elsewhere / "ceguan.toml").read_text()
        assert all_of(elsewhere, place) == before
        assert ceguan("ledger", "verify", data=elsewhere).returncode == 0
    assert sums(bucket) == sums(url)
    third = tmp_path_factory.mktemp("third")  # what lies there already need not be brought again
    assert ceguan("restore", copy, data=third, CEGUAN_HISTORY_URL=bucket).returncode == 0
    name = next(iter(sums(bucket)))
    lake.of(tmp_path_factory.mktemp("other"), bucket, 0).put(name, copy / "ceguan-backup.json")
    done = ceguan("restore", copy, data=tmp_path_factory.mktemp("fourth"), CEGUAN_HISTORY_URL=bucket)
    assert done.returncode == 1
    assert f"已有另一个 {name}" in done.stderr


@pytest.mark.service
@pytest.mark.skipif(bool(os.environ.get("CEGUAN_DATABASE_URL")), reason="a backup of SQLite")
def test_a_backup_without_the_history_says_so_and_is_restored_only_beside_it(afar, tmp_path_factory, monkeypatch):
    (folder, url), copy = afar, tmp_path_factory.mktemp("backup")
    before = all_of(folder, url)
    done = ceguan("backup", copy, "--without-history", data=folder)
    assert done.returncode == 0, done.stderr
    assert "不是完整的备份：2 个封存文件" in done.stdout
    assert not (copy / "data" / "history").exists()
    for place in ("", s3.new_prefix(monkeypatch)):
        elsewhere = tmp_path_factory.mktemp("restored")
        done = ceguan("restore", copy, data=elsewhere, CEGUAN_HISTORY_URL=place)
        assert done.returncode == 1
        assert "备份不含封存历史" in done.stderr
        assert list(elsewhere.iterdir()) == []
    assert ceguan("restore", copy, data=elsewhere, CEGUAN_HISTORY_URL=url).returncode == 0
    assert all_of(elsewhere, url) == before


@pytest.mark.service
@pytest.mark.skipif(bool(os.environ.get("CEGUAN_DATABASE_URL")), reason="a backup of SQLite")
def test_a_sealed_file_that_is_not_what_the_ledger_lists_does_not_get_into_a_backup(afar, tmp_path_factory):
    folder, url = afar
    name = next(iter(sums(url)))
    lake.of(folder, url, 0).put(name, folder / "ceguan.toml")
    done = ceguan("backup", tmp_path_factory.mktemp("backup"), data=folder)
    assert done.returncode == 2
    assert f"封存文件 {name} 与台账清单里的 SHA-256 不符" in done.stderr
    assert ceguan("ledger", "verify", data=folder).returncode == 1


def test_a_damaged_file_of_the_backup_is_named_and_nothing_is_restored(world, tmp_path_factory):
    copy, elsewhere = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("restored")
    send(world, 0, 40)
    world.step(NOON + 41 * HOUR)
    ceguan("backup", copy, data=world.folder)
    path = sorted((copy / "data" / "archive" / "0000").glob("*.seg"))[1]
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    done = restore(copy, data=elsewhere)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert list(elsewhere.iterdir()) == []


def test_foreign_folders_and_full_ones_are_left_alone(world, tmp_path_factory):
    copy, other = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("other")
    (copy / "photos.txt").write_text("mine")
    send(world, 0, 2)
    world.step(NOON + 3 * HOUR)
    assert ceguan("backup", copy, data=world.folder).returncode == 2
    assert [path.name for path in copy.iterdir()] == ["photos.txt"]
    ceguan("backup", other, data=world.folder)
    (world.folder / "secret.key").write_text("another platform")
    done = ceguan("backup", other, data=world.folder)
    assert done.returncode == 2
    assert "另一个平台" in done.stderr
    done = ceguan("restore", other, data=world.folder)
    assert done.returncode == 2
    assert "不是空的" in done.stderr
    assert ceguan("backup", world.folder / "inside", data=world.folder).returncode == 2


def test_a_segment_bent_after_it_was_sealed_does_not_get_into_a_backup_unseen(world, tmp_path_factory):
    copy = tmp_path_factory.mktemp("backup")
    send(world, 0, 40)
    world.step(NOON + 41 * HOUR)
    path = world.folder / "archive" / "0000" / "0000000.seg"
    path.write_bytes(path.read_bytes().replace(b"Avg=30", b"Avg=10"))
    done = ceguan("backup", copy, data=world.folder)
    assert done.returncode == 2
    assert str(path) in done.stderr


def test_killed_while_it_copies_a_backup_is_taken_up_and_earlier_snapshots_hold(world, tmp_path_factory):
    copy, elsewhere = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("restored")
    send(world, 0, 20)
    world.step(NOON + 21 * HOUR)
    assert ceguan("backup", copy, data=world.folder).returncode == 0
    with ArchiveWriter(world.folder / "archive", 9) as writer:
        for number in range(60_000):
            writer.append(RecordKind.BAD, NOON + number, "10.0.0.7:5000", bytes(1000))
    process = subprocess.Popen(
        [sys.executable, "-m", "ceguan", "backup", str(copy)], env=os.environ | {"CEGUAN_DATA": str(world.folder)}
    )
    grows = copy / "data" / "archive" / "0009" / "0000000.seg"
    while process.poll() is None and not (grows.is_file() and grows.stat().st_size):
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert restore(copy, data=elsewhere).returncode == 0
    assert ceguan("backup", copy, data=world.folder).returncode == 0
    last = tmp_path_factory.mktemp("last")
    assert restore(copy, data=last).returncode == 0
    assert verify(last / "archive", 9).records == 60_000


def test_a_restore_killed_on_its_way_lets_nobody_work_and_is_done_again(world, tmp_path_factory):
    copy, elsewhere = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("restored")
    send(world, 0, 20)
    world.step(NOON + 21 * HOUR)
    with ArchiveWriter(world.folder / "archive", 9) as writer:
        for number in range(60_000):
            writer.append(RecordKind.BAD, NOON + number, "10.0.0.7:5000", bytes(1000))
    world.step(time.time())  # all is ripe, as it will be for the one that replays
    assert ceguan("backup", copy, data=world.folder).returncode == 0
    environ = os.environ | {"CEGUAN_DATA": str(elsewhere)}
    if where(world.folder):
        RESTORED[elsewhere] = environ["CEGUAN_DATABASE_URL"] = new_database()
    process = subprocess.Popen([sys.executable, "-m", "ceguan", "restore", str(copy)], env=environ)
    while process.poll() is None and not (elsewhere / "archive" / "0009" / "0000000.seg").is_file():
        time.sleep(0.001)
    process.kill()
    process.wait()
    for verb in (("clockwork", "--once"), ("setup",), ("archive", "verify")):
        refused = ceguan(*verb, data=elsewhere)
        assert refused.returncode == 2
        assert f"恢复没有做完：再运行一次 ceguan restore {copy}" in refused.stderr
    assert "[不行] 恢复" in ceguan("doctor", data=elsewhere).stdout
    done = ceguan("restore", copy, data=elsewhere)
    assert done.returncode == 0, done.stderr
    assert business(elsewhere) == business(world.folder)
    assert ledger(elsewhere) == ledger(world.folder)
    assert ceguan("archive", "verify", data=elsewhere).returncode == 0
    assert ceguan("restore", copy, data=elsewhere).returncode == 2  # now somebody works there


def test_a_platform_on_postgresql_is_backed_up_and_restored_into_an_empty_database(tmp_path_factory):
    folder, copy, elsewhere = (tmp_path_factory.mktemp(name) for name in ("data", "backup", "restored"))
    here, there = new_database(), new_database()
    assert ceguan("setup", data=folder, CEGUAN_DATABASE_URL=here).returncode == 0
    with Store(folder, write=True, database=here) as store:
        add(store, *(reading(7, MARCH + hour * HOUR, hour / 3) for hour in range(50)))
    with psycopg.connect(here) as link:
        link.execute(
            "INSERT INTO registry_region (code, name_zh, name_en, path) VALUES ('99', '云\t省\\', 'Yun', '/99/')"
        )
    (folder / "ceguan.toml").write_text(f'bureau_name = "某局"\ndatabase_url = "{here}"\n')
    done = ceguan("backup", copy, data=folder)
    assert done.returncode == 0, done.stderr
    done = ceguan("restore", copy, data=elsewhere, CEGUAN_DATABASE_URL=there)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "ceguan.toml").read_text() == f'bureau_name = "某局"\ndatabase_url = "{there}"\n'
    tables = ("ledger.reading", "ledger.latest", "registry_region")
    for table in tables:
        found = [rows_of(url, table) for url in (here, there)]
        assert found[0] == found[1]
        assert found[0]
    again = ceguan("restore", copy, data=tmp_path_factory.mktemp("third"), CEGUAN_DATABASE_URL=there)
    assert again.returncode == 2
    with Store(elsewhere, write=True, database=there) as store:  # goes on where it stood
        assert add(store, reading(7, MARCH + 50 * HOUR, 1.0), reading(7, MARCH, 5.0)).new == 1


def rows_of(url, table):
    with psycopg.connect(url) as link:
        return link.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3").fetchall()


def test_the_restore_itself_is_on_record(world, tmp_path_factory):
    copy, elsewhere = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("restored")
    send(world, 0, 3)
    world.step(NOON + 4 * HOUR)
    ceguan("backup", copy, data=world.folder)
    restore(copy, data=elsewhere)
    assert len(audit(elsewhere)) == AuditEvent.objects.count() + 1
