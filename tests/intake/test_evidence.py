"""An evidence pack holds outside the platform, and whatever byte of it is changed, its own verifier says so."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceguan.intake import evidence
from ceguan.intake.evidence import Noted, PackError, Request, verify
from ceguan.registry.models import Device
from ceguan.store import ArchiveWriter, RecordKind, archive, forgotten, proofs
from tests.watch.world import HOUR, World, at

NOON = at("2026-03-10 12:00")
MN, OTHER = "MNGAS_OUTLET", "MNWATER_OUTLET"


@pytest.fixture
def world(city, data):
    """Two devices over a day, half of it in sealed segments, one decision."""
    world = World(data)
    world.writers[0] = ArchiveWriter(data / "archive", 0, 4096)
    for hour in range(20):
        ts = NOON + hour * HOUR
        world.send(MN, "hour", ts, {"a21026": 30.5 + hour, "a21002": {"Avg": "40.0", "ZsAvg": "41.0", "Flag": "N"}})
        world.send(OTHER, "hour", ts, {"w01018": 20 + hour, "w21003": 1.25})
    series = city.points["gas_outlet"].series.get(factor="a21026")
    world.json(RecordKind.DECISION, NOON + 21 * HOUR, {
        "series": series.pk, "kind": 2, "ts_from": NOON, "ts_to": NOON + HOUR, "action": "invalidate",
        "who": "analyst", "at": NOON + 21 * HOUR, "why": "标定", "evidence": "",
    })  # fmt: skip
    world.step(NOON + 22 * HOUR)
    world.city = city
    yield world
    world.close()


def pack(world, **options) -> bytes:
    request = Request(MN, NOON, NOON + 30 * HOUR, NOON + 31 * HOUR, "移送", "analyst", **options)
    return evidence.make(world.clockwork.store, Device.objects.get(mn=MN), request, [], "sm3+sha256")


def run(pack_path: Path) -> subprocess.CompletedProcess[str]:
    """As an expert would: the verifier out of the pack, in a Python that knows nothing of the platform."""
    script = pack_path.with_suffix(".py")
    script.write_bytes(verify.unpack(pack_path.read_bytes())["verify.py"])
    command = [sys.executable, "-I", "-S", str(script), str(pack_path)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]}, timeout=60
    )


def sealed_again(files: dict[str, bytes]) -> bytes:
    """The pack as one who bends it would close it: manifest and digests written anew."""
    manifest = json.loads(files["manifest.json"])
    for one in manifest["files"]:
        content = files[one["name"]]
        one |= {"bytes": len(content), "sha256": verify.sha256(content)}
    files["manifest.json"] = json.dumps(manifest).encode()
    files["manifest.sha256"] = f"{verify.sha256(files['manifest.json'])}  manifest.json\n".encode()
    return verify.container(files)


def problems(content: bytes, tmp_path: Path) -> list[str]:
    path = tmp_path / "pack.zip"
    path.write_bytes(content)
    return verify.verify(path)[0].problems


def rows(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode("utf-8-sig"))))


def test_a_pack_holds_in_a_bare_python_and_every_zip_tool_opens_it(world, tmp_path):
    path = tmp_path / "pack.zip"
    path.write_bytes(pack(world))
    done = run(path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "成立 / HOLDS" in done.stdout
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        opened.extractall(tmp_path / "unpacked")
    folder = tmp_path / "unpacked"
    done = subprocess.run([sys.executable, "-I", folder / "verify.py"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_holds_the_frames_of_this_device_only_and_all_that_was_made_of_them(world):
    files = verify.unpack(pack(world))
    frames = rows(files, "frames.csv")
    assert [row["kind"] for row in frames] == ["FRAME"] * 20 + ["DECISION"]
    assert OTHER.encode() not in files["records.bin"]
    readings = rows(files, "readings.csv")
    assert len(readings) == 40
    first = next(row for row in readings if row["factor"] == "a21026")
    assert (first["time"], first["value"], first["unit"], first["flag"]) == (
        "2026-03-10T12:00:00+08:00",
        "30.5",
        "mg/m³",
        "N",
    )
    assert (first["value_in_force"], first["action"], first["text"], first["scale"]) == (
        "",
        "invalidate",
        "30.5",
        "1.0",
    )
    assert json.loads(files["decisions.jsonl"])["hash"]
    verdicts = [json.loads(line) for line in files["verdicts.jsonl"].splitlines()]
    assert verdicts
    assert all(row["clause"] for row in verdicts)


def test_passwords_stand_in_the_raw_bytes_alone(world):
    files = verify.unpack(pack(world))
    assert [name for name, content in files.items() if b"123456" in content] == ["records.bin"]


def test_a_masked_pack_says_that_it_is_a_derived_copy(world, tmp_path):
    path = tmp_path / "pack.zip"
    path.write_bytes(pack(world, mask=True))
    assert b"123456" not in path.read_bytes()
    done = run(path)
    assert done.returncode == 0, done.stdout
    assert "衍生件" in done.stdout


def test_whole_segments_are_computed_again(world, tmp_path):
    content = pack(world, segments=True)
    assert problems(content, tmp_path) == []
    files = verify.unpack(content)
    name = next(name for name in files if name.startswith("segments/"))
    files[name] = files[name].replace(OTHER.encode(), OTHER.encode().lower(), 1)
    assert [text for text in problems(sealed_again(files), tmp_path) if name in text]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_byte_is_changed_the_verifier_says_so(world, tmp_path, data):
    content = bytearray(KEPT.setdefault(id(world), pack(world)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert problems(bytes(content), tmp_path)


KEPT: dict[int, bytes] = {}


@pytest.mark.parametrize("name", ["说明.txt", "frames.csv", "records.bin", "proof.json", "verify.py", "verdicts.jsonl"])
def test_a_changed_file_is_named(world, tmp_path, name):
    files = verify.unpack(pack(world))
    content = bytearray(files[name])
    content[len(content) // 2] ^= 1
    files[name] = bytes(content)
    assert any(name in text for text in problems(verify.container(files), tmp_path))


def test_who_bends_a_frame_and_writes_all_digests_anew_is_found_by_the_chain(world, tmp_path):
    files = verify.unpack(pack(world))
    frame = rows(files, "frames.csv")[0]
    start, size = int(frame["offset_in_records_bin"]), int(frame["bytes"])
    record = files["records.bin"][start : start + size].replace(b"a21026-Avg=30.5", b"a21026-Avg=10.5")
    record = zlib.crc32(record[4:]).to_bytes(4, "little") + record[4:]
    files["records.bin"] = files["records.bin"][:start] + record + files["records.bin"][start + size :]
    files["frames.csv"] = files["frames.csv"].replace(frame["sha256"].encode(), verify.sha256(record).encode())
    found = problems(sealed_again(files), tmp_path)
    assert any(f"frames.csv {frame['ref']}" in text for text in found)
    assert any("decoded.csv" in text for text in found)


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("readings.csv", b",30.5,", b",10.5,", "readings.csv:2"),
        ("decisions.jsonl", "标定".encode(), "无故".encode(), "decisions.jsonl 1"),
        ("decoded.csv", b"Avg,31.5", b"Avg,11.5", "decoded.csv"),
    ],
)
def test_who_bends_what_was_made_of_the_frames_is_found(world, tmp_path, name, old, new, told):
    files = verify.unpack(pack(world))
    assert old in files[name]
    files[name] = files[name].replace(old, new, 1)
    assert any(told in text for text in problems(sealed_again(files), tmp_path))


def test_frames_that_are_not_sealed_yet_are_said_to_be_so(world, tmp_path):
    path = tmp_path / "pack.zip"
    path.write_bytes(pack(world))
    last = json.loads(verify.unpack(path.read_bytes())["proof.json"])["records"]
    still_open = [ref for ref, proof in last.items() if proof.get("open")]
    number = archive.segments(world.folder / "archive" / "0000")[-1]
    assert still_open
    assert all(int(ref.split("-")[1]) in (number, 0) for ref in still_open)
    assert "尚未封存" in run(path).stdout


def test_what_a_head_noted_of_a_segment_still_open_vouches_for_its_frames(world, tmp_path):
    head = proofs.head(world.folder / "archive", 0)
    noted = [Noted("2026-03-11T00:00:00+00:00", 7, "0" * 64, head)]
    request = Request(MN, NOON, NOON + 30 * HOUR, NOON + 31 * HOUR, "移送", "analyst", segments=True)
    content = evidence.make(world.clockwork.store, Device.objects.get(mn=MN), request, noted, "sha256")
    assert problems(content, tmp_path) == []
    files = verify.unpack(content)
    name = f"segments/0000/{head.open_segment:07d}.seg"
    files[name] = files[name].replace(b"w21003-Avg=1.25", b"w21003-Avg=9.25")
    assert [text for text in problems(sealed_again(files), tmp_path) if "noted_heads.json" in text]


def test_a_stretch_without_anything_and_one_that_ends_before_it_begins_are_refused(world):
    device = Device.objects.get(mn=MN)
    store = world.clockwork.store
    with pytest.raises(PackError, match="没有报文"):
        evidence.make(store, device, Request(MN, 0.0, 10.0, 20.0, "移送", "analyst"), [], "sha256")
    with pytest.raises(PackError, match="晚于"):
        evidence.make(store, device, Request(MN, 10.0, 10.0, 20.0, "移送", "analyst"), [], "sha256")


def test_beside_a_segment_that_was_deleted_by_an_act_a_pack_holds_and_within_it_says_so(world, tmp_path):
    home = world.folder / "archive"
    proofs.prove_all(home, NOON + 30 * HOUR, "sha256")
    first = archive.sealed_segments(home, 0)[0]
    forgotten.let_go(home, 0, [0], forgotten.Act("ab" * 32, NOON + 30 * HOUR, "排污许可管理条例 第十九条"))
    device, store = Device.objects.get(mn=MN), world.clockwork.store
    later = Request(MN, first.last_recv, NOON + 20 * HOUR, NOON + 31 * HOUR, "移送", "analyst")
    content = evidence.make(store, device, later, [], "sha256")
    assert problems(content, tmp_path) == []
    headers = json.loads(verify.unpack(content)["proof.json"])["headers"]
    assert 0 in [one["segment"] for one in headers if one["stream"] == 0]
    with pytest.raises(PackError, match="归档流 0 段 0 已于 2026-03-11 依 排污许可管理条例 第十九条 删除"):
        evidence.make(store, device, Request(MN, NOON, NOON + 30 * HOUR, NOON, "移送", "analyst"), [], "sha256")
