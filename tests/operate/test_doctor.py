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
from tests.nats import Servers
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
    import asyncio

    from ceguan.store import relay

    servers = Servers(tmp_path_factory.mktemp("nats"), 1)
    try:
        values = settings.load(data=str(sound), nats_url=servers.url, nats_replicas=1)

        async def prepare() -> None:
            link = await relay.connect(values, "test")
            await relay.prepare(values, link)
            await link.close()

        assert ("NATS", "WARN") in examined(sound, nats_url=servers.url), "there is no stream yet"
        asyncio.run(prepare())
        found = examined(sound, nats_url=f"nats://127.0.0.1:1,{servers.url}", nats_replicas=3)
        assert "127.0.0.1:1" in found["NATS", "BAD"].said
        assert ("NATS", "GOOD") in found
        assert found["NATS 份数", "BAD"].said == "1"
    finally:
        servers.stop()
