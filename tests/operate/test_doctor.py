"""`ceguan doctor` names what is wrong with a deployment and what to do; a sound one passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from ceguan import settings
from ceguan.operate import doctor
from ceguan.operate.doctor import Level
from ceguan.registry.models import Device, User
from ceguan.store import ArchiveWriter, RecordKind, archive
from tests import s3
from tests.nats import Servers, free_port
from tests.postgres import new_database


def examined(data, **overrides) -> dict[tuple[str, str], doctor.Found]:
    """(what, level) → finding."""
    found = doctor.examine(settings.load(data=str(data), gateway_max_connections=100, **overrides))
    return {(one.what, one.level.name): one for one in found}


@pytest.fixture
def sound(city, data):
    """A set-up folder as `ceguan setup` leaves it."""
    data.chmod(0o750)
    key = data / "secret.key"
    key.write_text("x" * 50)
    key.chmod(0o600)
    return data


def bad(found) -> list[str]:
    return [f"{what}：{one.said}" for (what, level), one in found.items() if level == "BAD"]


def test_a_sound_folder_has_nothing_bad_and_each_finding_that_is_not_good_says_what_to_do(sound):
    found = examined(sound)
    assert bad(found) == []
    assert found["业务库", "GOOD"].said == "结构是本版本的"
    assert all(one.do for one in found.values() if one.level != Level.GOOD)


def test_the_command_gives_a_line_of_json_for_each_and_the_worst_as_its_exit_code(tmp_path):
    command = [sys.executable, "-m", "ceguan", "doctor", "--json"]
    environ = os.environ | {"CEGUAN_DATA": str(tmp_path / "none")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert {"level": "bad", "what": "业务库", "said": "还没有建立", "do": "ceguan setup"} in lines
    assert not (tmp_path / "none").exists(), "looking makes nothing"


@pytest.mark.parametrize(
    ("overrides", "what", "level"),
    [
        ({"public_url": "https://eco.example.cn"}, "HTTPS", "BAD"),
        ({"public_url": "https://eco.example.cn", "secure": True, "allowed_hosts": ""}, "主机名", "BAD"),
        ({"secure": True, "web_host": "0.0.0.0"}, "反向代理", "WARN"),  # noqa: S104  nothing listens
        ({"web_host": "0.0.0.0"}, "HTTPS", "WARN"),  # noqa: S104  nothing listens
        ({"gateway_stream_base": 64}, "归档流", "BAD"),
        ({"demo_clock": "1,2,3"}, "时钟", "WARN"),
        ({"database_url": "postgresql://nobody@127.0.0.1:1/none"}, "PostgreSQL", "BAD"),
        ({"nats_url": "nats://127.0.0.1:1"}, "NATS", "BAD"),
        ({"history_url": "s3://bucket/x?secret_key=1"}, "历史存储", "BAD"),
        ({"history_url": "/nowhere/at/all"}, "历史存储", "BAD"),
        ({"disk_low_percent": 100}, "磁盘", "WARN"),
    ],
)
def test_a_setting_that_does_not_fit_is_found(sound, overrides, what, level):
    assert (what, level) in examined(sound, **overrides)


def test_the_descriptors_of_all_connections_are_counted(sound):
    found = doctor.examine(settings.load(data=str(sound), gateway_max_connections=1 << 30))
    assert any(one.what == "文件描述符" and one.level == Level.WARN for one in found)


def test_a_secret_that_others_can_read_is_found(sound):
    (sound / "secret.key").chmod(0o644)
    (sound / "ceguan.toml").write_text('database_url = ""\n')
    (sound / "ceguan.toml").chmod(0o644)
    found = examined(sound)
    assert ("secret.key", "BAD") in found
    assert ("ceguan.toml", "BAD") in found


def test_demo_passwords_matter_once_the_pages_are_open(sound):
    User.objects.filter(username="duty").update(demo_password=True)
    assert "duty" in examined(sound)["账号", "WARN"].said
    assert ("账号", "BAD") in examined(sound, web_host="0.0.0.0")  # noqa: S104  nothing listens


def test_the_key_of_another_installation_is_found(sound):
    from ceguan.intake.models import DeviceKey

    device = Device.objects.first()
    DeviceKey.objects.create(device=device, sealed="gAAAAAB-not-ours", created="2026-01-01T00:00:00Z")
    assert "打不开" in examined(sound)["secret.key", "BAD"].said


def test_an_archive_cut_short_is_found(sound):
    with ArchiveWriter(sound / "archive", 0, segment_bytes=2000) as writer:
        for number in range(100):
            writer.append(RecordKind.FRAME, 1_772_294_400.0 + number, "10.0.0.7:1", b"x" * 100)
        writer.sync()
    assert ("帧归档", "GOOD") in examined(sound)
    last = archive.sealed_segments(sound / "archive", 0)[-1]
    path = archive.segment_path(archive.stream_folder(sound / "archive", 0), last.segment)
    path.write_bytes(path.read_bytes()[:-1])
    assert f"段 {last.segment}" in examined(sound)["帧归档", "BAD"].said


def test_a_heart_that_stands_still_and_a_move_left_half_done_are_found(sound):
    beat = {"pid": os.getpid(), "running": True, "real": time.time() - 600}
    (sound / "clockwork.json").write_text(json.dumps(beat))
    (sound / "superseded.json").write_text(json.dumps({"to": "postgresql://x/y", "state": "moving"}))
    found = examined(sound)
    assert ("时钟", "BAD") in found
    assert "--cancel" in found["数据迁移", "BAD"].do


@pytest.mark.service
def test_a_postgresql_that_would_lose_what_it_committed_is_found(sound):
    found = examined(sound, database_url=new_database())
    assert ("PostgreSQL fsync", "BAD") in found, "the server of the tests runs without"
    assert ("PostgreSQL 用户", "WARN") in found
    assert ("PostgreSQL", "GOOD") in found


@pytest.mark.service
def test_a_nats_server_that_is_missing_is_named_and_the_others_are_asked(sound, tmp_path_factory):
    servers = Servers(tmp_path_factory.mktemp("nats"), 1)
    try:
        assert ("NATS", "WARN") in examined(sound, nats_url=servers.url), "there is no stream yet"
        prepared(sound, servers.url)
        found = examined(sound, nats_url=f"nats://127.0.0.1:1,{servers.url}", nats_replicas=3)
        assert "127.0.0.1:1" in found["NATS", "BAD"].said
        assert ("NATS", "GOOD") in found
        assert found["NATS 份数", "BAD"].said == "1"
    finally:
        servers.stop()


@pytest.mark.service
@pytest.mark.parametrize(("sync", "level", "says"), [("always", "GOOD", "每次写"), ("30s", "BAD", "30 秒")])
def test_a_nats_server_that_does_not_sync_each_write_is_found_at_its_monitoring_port(
    sound, tmp_path_factory, sync, level, says
):
    port = free_port()
    servers = Servers(tmp_path_factory.mktemp("nats"), 1, sync, port)
    try:
        prepared(sound, servers.url)
        what = f"NATS 落盘 {servers.url.removeprefix('nats://')}"
        told = {"nats_url": servers.url, "nats_replicas": 1}
        assert says in examined(sound, **told, nats_monitor_port=port)[what, level].said
        assert "看不到" in examined(sound, **told, nats_monitor_port=free_port())[what, "WARN"].said
    finally:
        servers.stop()


def prepared(data, url) -> None:
    """The archive's stream on a NATS server."""
    import asyncio

    from ceguan.store import relay

    values = settings.load(data=str(data), nats_url=url, nats_replicas=1)

    async def prepare() -> None:
        link = await relay.connect(values, "test")
        await relay.prepare(values, link)
        await link.close()

    asyncio.run(prepare())


@pytest.mark.service
def test_a_bucket_is_written_read_and_cleaned_and_one_that_is_not_there_is_found(sound, monkeypatch):
    url = s3.new_prefix(monkeypatch)
    assert examined(sound, history_url=url)["历史存储", "GOOD"].said == "写、读、删都行"
    assert s3.names(url) == [], "nothing is left behind"
    nowhere = url.replace("s3://ceguan", "s3://nobodys")
    found = examined(sound, history_url=nowhere)["历史存储", "BAD"]
    assert "nobodys" in found.said
    assert "very-secret" not in found.said + found.do


@pytest.mark.service
def test_a_ray_cluster_is_counted_by_its_machines_and_one_that_is_not_there_is_found(sound, cluster):
    assert examined(sound, compute="ray", ray_address=cluster)["Ray", "GOOD"].said == "2 个节点"
    address = f"127.0.0.1:{free_port()}"
    found = examined(sound, compute="ray", ray_address=address)["Ray", "BAD"]
    assert address in found.said
    assert "ray start --head" in found.do
