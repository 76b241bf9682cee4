"""What `ceguan hj212 import` promises: any recording, however packed, in the archive once, or as columns."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ceguan import settings
from ceguan.intake import keys
from ceguan.intake.hj212 import batch, cli, recording
from ceguan.intake.hj212.frame import encode
from ceguan.intake.hj212.splitter import Splitter
from ceguan.registry.models import AuditEvent, Device
from ceguan.store import Record, RecordKind, Store
from ceguan.watch.clockwork import Clockwork
from ceguan.words import BEIJING

NOW = datetime(2026, 11, 24, 12, tzinfo=BEIJING).timestamp()


def hour(number: int, value: float, mn: str = "MNAIR") -> bytes:
    when = f"2024{1 + number // 24 // 28:02}{1 + number // 24 % 28:02}{number % 24:02}0000"
    return encode(
        st="22", cn="2061", mn=mn, pw="123456", flag=5, datatime=when, factors={"a34004": {"Avg": f"{value}"}}
    )


FRAMES = [hour(number, 10 + number / 10) for number in range(48)]
STREAM = b"AT+CSQ\r\n" + b"".join(FRAMES[:24]) + FRAMES[0][:-6] + b"0000\r\n" + b"".join(FRAMES[24:])


def command(*words: object) -> int:
    parser = ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["hj212", "import", *map(str, words)])
    return args.run(args)


@pytest.fixture
def file(city, data) -> Path:
    (data / "recorded.bin").write_bytes(STREAM)
    return data / "recorded.bin"


def archived(folder: Path) -> list[Record]:
    return list(Store(folder).arrivals())


def contents(folder: Path) -> list[tuple[RecordKind, bytes]]:
    return [(record.kind, record.payload) for record in archived(folder)]


def wanted(stream: bytes) -> list[tuple[RecordKind, bytes]]:
    splitter = Splitter()
    chunks = splitter.feed(stream) + splitter.close()
    return [(RecordKind.FRAME if chunk.dialect else RecordKind.BAD, chunk.data) for chunk in chunks]


def test_without_yes_it_is_a_preview_and_nothing_is_written(file, data, capsys):
    assert command(file) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"recorded.bin：{len(STREAM)} 字节，好帧 48，坏帧 1，噪声 1 段，值 48 个",
        "  数据时间 2024-01-01 00:00 至 2024-01-02 23:00",
        "  设备 1 台，均已接入",
    ]
    assert "--yes" in said.err
    assert archived(data) == []
    assert not (data / "imports").exists()


def test_devices_nobody_has_adopted_are_named(city, data, capsys):
    (data / "new.bin").write_bytes(hour(1, 1, "NEW1") + FRAMES[0])
    command(data / "new.bin")
    assert "设备 2 台，其中 1 台未接入，其报文收入后待接入：NEW1" in capsys.readouterr().out


def test_good_frames_and_what_is_none_lie_in_the_archive_in_order_with_their_source(file, data, capsys):
    assert command(file, "--yes") == 0
    assert contents(data) == wanted(STREAM)
    records = archived(data)
    assert all(record.imported and record.source.endswith(":recorded.bin") for record in records)
    places = [int(record.source.split(":")[2]) for record in records]
    assert all(STREAM[at:].startswith(record.payload) for at, record in zip(places, records, strict=True))
    assert max(abs(record.recv - time.time()) for record in records) < 600
    assert AuditEvent.objects.filter(action="import", subject="file:recorded.bin").count() == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda data: pa.compress(data, "zstd", asbytes=True)])
def test_the_same_recording_again_adds_nothing_however_it_is_packed_or_called(file, data, capsys, pack):
    command(file, "--yes")
    (data / "again").write_bytes(pack(STREAM))
    assert command(data / "again", "--yes") == 0
    assert "已收入过" in capsys.readouterr().out
    assert len(archived(data)) == 50
    assert AuditEvent.objects.filter(action="import").count() == 1


@pytest.mark.parametrize("block", [100, 1000, 1 << 22])
@pytest.mark.parametrize(
    "pack",
    [
        lambda parts: b"".join(parts),
        lambda parts: b"".join(gzip.compress(part) for part in parts),
        lambda parts: b"".join(pa.compress(part, "zstd", asbytes=True) for part in parts),
    ],
    ids=["plain", "gzip of several members", "zstd of several frames"],
)
def test_any_packing_is_read_in_blocks_of_any_size(file, data, monkeypatch, block, pack):
    monkeypatch.setattr(recording, "BLOCK", block)
    file.write_bytes(pack([STREAM[:1000], STREAM[1000:1234], STREAM[1234:]]))
    assert command(file, "--yes") == 0
    assert contents(data) == wanted(STREAM)


def test_json_lines_are_a_recording_too(city, data, monkeypatch):
    monkeypatch.setattr(recording, "BLOCK", 700)
    lines = [json.dumps({"frame": FRAMES[0].decode()}), "", json.dumps({"frame_hex": FRAMES[1].rstrip().hex()})]
    (data / "some.jsonl.gz").write_bytes(gzip.compress("\n".join([*lines, '{"note": 1}']).encode()))
    assert command(data / "some.jsonl.gz", "--yes") == 0
    assert contents(data) == [(RecordKind.FRAME, frame) for frame in FRAMES[:2]]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("blocks", [1, 3])
def test_what_was_interrupted_goes_on_where_it_stopped(file, data, monkeypatch, blocks):
    monkeypatch.setattr(recording, "BLOCK", 1000)

    def stop(place: int, counts: Counter) -> None:
        if place >= 1000 * blocks:
            raise Stopped

    found, store = recording.survey(file, lambda *_: None), Store(data)
    for _ in range(2):  # the second run is stopped before it comes to anything new
        with pytest.raises(Stopped):
            recording.take_in(found, None, "operator", store, lambda: NOW, stop)
    first = len(archived(data))
    assert 0 < first < 50
    outcome = recording.take_in(found, None, "operator", store, lambda: NOW + 1, lambda *_: None)
    assert (outcome.before, outcome.counts.total()) == (first, 50 - first)
    assert contents(data) == wanted(STREAM)


@pytest.mark.service
def test_killed_in_the_middle_every_frame_is_there_once_after_the_next_run(city, data):
    (data / "large.bin").write_bytes(b"".join(hour(number, number) for number in range(200)) * 600)
    argv = [sys.executable, "-m", "ceguan", "hj212", "import", str(data / "large.bin"), "--yes"]
    child = subprocess.Popen(argv, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and not any(path.stat().st_size > 1000 for path in data.glob("archive/*/*.seg")):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert command(data / "large.bin", "--yes") == 0
    places = [int(record.source.split(":")[2]) for record in archived(data)]
    assert len(places) == 120_000
    assert places == sorted(set(places))


def test_two_at_once_do_not_take_in_the_same_recording(file, data, capsys):
    found = recording.survey(file, lambda *_: None)
    with recording._state(data / "imports", found.sha256):
        assert command(file, "--yes") == 2
    assert "另一个进程" in capsys.readouterr().err
    assert archived(data) == []


def test_the_clockwork_takes_it_in_once_and_does_not_take_the_device_for_alive(file, data, city):
    command(file, "--yes")
    (data / "copy.bin").write_bytes(STREAM + b"\r\nend")
    command(data / "copy.bin", "--yes")  # another recording of the same frames
    with Clockwork(settings.load(data=str(data))) as clockwork:
        reports = [clockwork.step(NOW + step) for step in range(3)]
    store = Store(data)
    assert sum(report.new for report in reports) == 48
    assert [report.quarantined for report in reports] == [0, 0, 0], "a person asked for these old data"
    series = city.points["air"].series.get(factor="a34004").pk
    rows = store.readings([series], 2, 0, 1 << 40).to_pylist()
    assert [row["value"] for row in rows] == [10 + number / 10 for number in range(48)]
    assert {row["ver"] for row in rows} == {0}
    assert store.device_days("2020-01-01", "2030-01-01", "MNAIR").to_pylist() == []


def test_columns_of_several_recordings_go_into_one_parquet_file(file, data, capsys):
    (data / "b.gz").write_bytes(gzip.compress(FRAMES[0]))
    assert command(file, data / "b.gz", "--to", data / "out.parquet") == 0
    found = pq.read_table(data / "out.parquet")
    assert found.num_rows == 49
    assert Counter(found["file"].to_pylist()) == {"recorded.bin": 48, "b.gz": 1}
    assert found.slice(0, 48).drop(["file"]).to_pylist() == batch.table(STREAM).to_pylist()
    assert "49 行" in capsys.readouterr().out
    assert archived(data) == []


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (gzip.compress(STREAM)[:-20], "cut.gz", "解压"),
        (pa.compress(STREAM, "zstd", asbytes=True)[:-20], "cut.zst", "解压"),
        (gzip.compress(STREAM)[:100] + bytes(50) + gzip.compress(STREAM)[150:], "damaged.gz", "解压"),
        (b"{]\n", "a.jsonl", "第 1 行"),
        (b"\n{}\n{]", "a.jsonl", "第 3 行"),
        (b"hello\r\n", "a.txt", "没有一帧"),
        (b"", "empty", "没有一帧"),
    ],
)
def test_what_is_no_whole_recording_is_said_in_a_line_and_nothing_is_written(city, data, capsys, content, name, said):
    (data / name).write_bytes(content)
    assert command(data / name, "--yes") == 2
    err = capsys.readouterr().err
    assert said in err
    assert name in err
    assert err.count("\n") == 1
    assert archived(data) == []
    if said != "没有一帧":
        assert command(data / name, "--to", data / "out.parquet") == 2
        assert not list(data.glob("out.parquet*"))


def test_a_file_that_is_not_there_or_a_person_who_may_not_is_said(file, data, city, capsys):
    city.users["analyst"].region = city.west
    city.users["analyst"].save()
    for words in (("nowhere.bin",), (data,), (file, "--yes", "--by", "nobody"), (file, "--yes", "--by", "duty"),
                  (file, "--yes", "--by", "analyst"), (file, "--to", data / "no" / "out.parquet")):  # fmt: skip
        assert command(*words) == 2
        assert capsys.readouterr().err.splitlines()[-1]
    assert archived(data) == []


KEY = "0123456789abcdef"
CLOSED = encode(
    st="22", cn="2061", mn="MNAIR", pw="123456", flag=9, datatime="20240101000000", factors={"a34004": {"Avg": "17.5"}},
    key=KEY.encode(),
)  # fmt: skip


@pytest.fixture
def closed(city, data) -> Path:
    """A recording of an open and an enciphered frame, and the key of their device in the register."""
    keys.enter(Device.objects.get(mn="MNAIR"), KEY, city.users["admin"], "入网", NOW)
    (data / "closed.bin").write_bytes(FRAMES[1] + CLOSED)
    return data / "closed.bin"


def test_what_a_device_enciphers_is_taken_in_with_its_key(closed, data, capsys):
    assert command(closed, "--yes") == 0
    assert "好帧 2，坏帧 0" in capsys.readouterr().out
    assert contents(data) == [(RecordKind.FRAME, FRAMES[1]), (RecordKind.FRAME, CLOSED)]


@pytest.mark.parametrize(
    ("words", "found"), [([], [10.1]), (["--keys"], [10.1, 17.5]), (["--key", KEY.encode().hex()], [10.1, 17.5])]
)
def test_columns_hold_what_was_enciphered_where_a_key_is_given_or_those_registered_are_meant(
    closed, data, words, found
):
    assert command(closed, "--to", data / "columns.parquet", *words) == 0
    assert pq.read_table(data / "columns.parquet")["value"].to_pylist() == found


def test_a_key_that_the_platform_would_not_have_later_takes_nothing_in(closed, data, capsys):
    assert command(closed, "--yes", "--key", "00" * 16) == 2
    assert "登记密钥" in capsys.readouterr().err
    assert archived(data) == []
