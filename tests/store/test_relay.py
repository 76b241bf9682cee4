"""Gateways on other machines: their archive arrives byte for byte, whatever is killed on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ceguan import cli
from ceguan.store import ArchiveWriter, RecordKind, archive, handed, verify
from ceguan.store.relay import Collector, Early, Piece, RelayError, next_piece, token_of
from tests.disk import PAGE, mounted
from tests.nats import Servers


class Machines:
    """A gateway's data folder, a centre's, and the processes between them."""

    def __init__(self, folder: Path, url: str, **environ: object) -> None:
        self.gateway, self.centre = folder / "gateway", folder / "centre"
        self._environ = {**os.environ, "CEGUAN_NATS_URL": url, **{k: str(v) for k, v in environ.items()}}
        self._environ.pop("CEGUAN_DATABASE_URL", None)
        self._running: dict[str, subprocess.Popen[str]] = {}

    def start(self, verb: str) -> None:
        home = self.gateway if verb == "relay" else self.centre
        self._running[verb] = subprocess.Popen(
            [sys.executable, "-m", "ceguan", verb], env=self._environ | {"CEGUAN_DATA": str(home)},
            stdout=subprocess.DEVNULL, stderr=self.log(verb).open("a"), text=True,
        )  # fmt: skip

    def log(self, verb: str) -> Path:
        """What it says; not on the disk of its data."""
        return self.gateway.parent / f"{verb}.log"

    def end(self, verb: str, number: int = signal.SIGTERM) -> int:
        process = self._running.pop(verb)
        process.send_signal(number)
        return process.wait(timeout=30)

    def stop(self) -> None:
        for verb in list(self._running):
            self.end(verb, signal.SIGKILL)


def append(folder: Path, count: int, stream: int = 3, first: int = 0, segment_bytes: int = 20_000) -> None:
    with ArchiveWriter(folder / "archive", stream, segment_bytes=segment_bytes) as writer:
        for number in range(first, first + count):
            writer.append(RecordKind.FRAME, 1_772_294_400.0 + number, "10.0.0.7:1", f"frame {number} ".encode() * 20)
        writer.sync()


def content(folder: Path) -> dict[str, bytes]:
    files = [*folder.glob("archive/*/*.seg"), *folder.glob("archive/*/segments.jsonl")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def arrived(machines: Machines, seconds: float = 180) -> None:
    """Wait until the centre has exactly what the gateway has."""
    deadline = time.monotonic() + seconds
    while content(machines.centre) != content(machines.gateway):
        assert time.monotonic() < deadline, "the archive did not arrive"
        time.sleep(0.1)


def stored(machines: Machines, seconds: float = 180) -> None:
    """Wait until the servers have acknowledged all that the gateway's machine has."""
    deadline = time.monotonic() + seconds
    while not (said := beat(machines.gateway, "relay.json")).get("acked") or said["backlog_bytes"]:
        assert time.monotonic() < deadline, "the servers have not stored it"
        time.sleep(0.1)


def beat(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("nats"), 3)
    yield servers
    servers.stop()


@pytest.fixture
def machines(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Over one server of their own."""
    servers = Servers(tmp_path_factory.mktemp("nats"), 1)
    both = Machines(tmp_path, servers.url, CEGUAN_NATS_REPLICAS=1)
    yield both
    both.stop()
    servers.stop()


# ── pieces and places ─────────────────────────────────────────────────────────────────────────────────────────────────


def pieces(folder: Path, stream: int = 3) -> list[Piece]:
    found: list[Piece] = []
    place, intact = (0, 0, False), dict[tuple[int, int], int]()
    while piece := next_piece(folder / "archive", stream, place, intact):
        found.append(piece)
        place = piece.after
    return found


def test_pieces_put_together_are_the_archive(tmp_path: Path) -> None:
    append(tmp_path / "gateway", 400)
    collector = Collector(tmp_path / "centre" / "archive")
    for piece in pieces(tmp_path / "gateway"):
        collector.take(piece, "t")
        collector.take(piece, "t")
    collector.close()
    assert len(archive.sealed_segments(tmp_path / "centre" / "archive", 3)) > 1
    assert content(tmp_path / "centre") == content(tmp_path / "gateway")


def test_a_torn_tail_is_not_shipped(tmp_path: Path) -> None:
    append(tmp_path, 3)
    path = archive.segment_path(archive.stream_folder(tmp_path / "archive", 3), 0)
    whole = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"\0" * 30)
    assert sum(len(piece.data) for piece in pieces(tmp_path)) == whole


def test_a_piece_after_a_gap_waits_and_one_that_contradicts_is_refused(tmp_path: Path) -> None:
    append(tmp_path / "gateway", 400)
    first, *rest = pieces(tmp_path / "gateway")
    collector = Collector(tmp_path / "centre" / "archive")
    with pytest.raises(Early):
        collector.take(rest[-1]._replace(offset=5), "t")
    collector.take(first, "t")
    with pytest.raises(RelayError, match="段 0 偏移 0：与已收到的字节不同"):
        collector.take(first._replace(data=b"x" + first.data[1:]), "t")
    with pytest.raises(RelayError, match="两台网关"):
        collector.take(first, "another")
    collector.close()


def test_bytes_altered_on_the_way_do_not_pass_the_seal(tmp_path: Path) -> None:
    append(tmp_path / "gateway", 400)
    collector = Collector(tmp_path / "centre" / "archive")
    sealed = False
    for piece in pieces(tmp_path / "gateway"):
        if piece.sealed:
            with pytest.raises(RelayError, match="与封存的哈希不符"):
                collector.take(piece, "t")
            sealed = True
            break
        collector.take(piece._replace(data=piece.data[:-1] + bytes([piece.data[-1] ^ 1])), "t")
    collector.close()
    assert sealed


def test_a_stream_of_this_machine_is_never_written_over(tmp_path: Path) -> None:
    append(tmp_path / "gateway", 3)
    append(tmp_path / "centre", 3)
    with pytest.raises(RelayError, match="是本机自己的"):
        Collector(tmp_path / "centre" / "archive").take(pieces(tmp_path / "gateway")[0], "t")


# ── real servers ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.service
def test_everything_arrives_although_both_ends_are_killed_again_and_again(machines: Machines) -> None:
    chance = random.Random(7)
    machines.start("collect")
    for turn in range(6):
        machines.start("relay")
        append(machines.gateway, 300, first=300 * turn)
        time.sleep(chance.uniform(0.3, 1.2))
        machines.end("relay", signal.SIGKILL)
        if turn % 2:
            machines.end("collect", signal.SIGKILL)
            machines.start("collect")
    machines.start("relay")
    arrived(machines)
    assert [r.payload.split()[1] for r in archive.read(machines.centre / "archive")] == [
        str(number).encode() for number in range(1800)
    ]


@pytest.mark.service
def test_what_was_stored_before_a_node_was_killed_is_still_read(cluster: Servers, tmp_path: Path) -> None:
    machines = Machines(tmp_path, cluster.url)
    try:
        append(machines.gateway, 600)
        machines.start("relay")
        stored(machines)  # the first half is in the cluster, nobody has read it
        cluster.kill(0)
        append(machines.gateway, 600, first=600)
        machines.start("collect")
        arrived(machines)
    finally:
        machines.stop()
        cluster.start(0)


@pytest.mark.service
def test_a_full_disk_at_the_centre_is_said_and_every_byte_arrives_once_there_is_room(machines: Machines) -> None:
    """Again and again it is full in the middle of a piece or of a line of `segments.jsonl`."""
    machines.centre.mkdir()
    with mounted(machines.centre, 8) as disk:
        machines.start("collect")
        machines.start("relay")
        chance, said = random.Random(3), 0
        for turn in range(5):
            disk.fill(leave=chance.randrange(2, 9) * PAGE)
            append(machines.gateway, 400, first=400 * turn)
            deadline = time.monotonic() + 120
            while machines.log("collect").read_text().count("收集暂停：磁盘已满") == said:
                assert time.monotonic() < deadline, "nobody said that the disk is full"
                time.sleep(0.05)
            disk.relieve()
            arrived(machines)
            said = machines.log("collect").read_text().count("收集暂停：磁盘已满")
        assert machines.end("relay") == machines.end("collect") == 0
        assert "Traceback" not in machines.log("collect").read_text()
        kept = [record.payload.split()[1] for record in archive.read(machines.centre / "archive")]
        assert kept == [str(number).encode() for number in range(2000)]


@pytest.mark.service
def test_without_any_server_the_gateway_goes_on_and_all_arrives_later(tmp_path: Path) -> None:
    servers = Servers(tmp_path / "nats", 1)
    machines = Machines(tmp_path, servers.url, CEGUAN_NATS_REPLICAS=1)
    try:
        machines.start("relay")
        machines.start("collect")
        append(machines.gateway, 200)
        arrived(machines)
        servers.kill(0)
        append(machines.gateway, 200, first=200)
        time.sleep(1)
        servers.start(0)
        arrived(machines)
        assert machines.end("relay") == machines.end("collect") == 0
    finally:
        machines.stop()
        servers.stop()


@pytest.mark.service
def test_a_segment_leaves_the_gateway_only_when_the_ledger_has_taken_it_in(machines: Machines) -> None:
    from ceguan.store import Store

    machines._environ["CEGUAN_RELAY_KEEP_DAYS"] = "0"
    append(machines.gateway, 400)
    whole = content(machines.gateway)
    machines.start("relay")
    machines.start("collect")
    deadline = time.monotonic() + 180
    while content(machines.centre) != whole and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(5)
    assert content(machines.gateway) == whole
    with Store(machines.centre, write=True, database="") as store, store.ledger.batch() as batch:
        batch.move({3: archive.Position(2, 64)})
    home = archive.stream_folder(machines.gateway / "archive", 3)
    while set(archive.segments(home)) & {0, 1} and time.monotonic() < deadline:
        time.sleep(0.1)
    assert min(archive.segments(home)) == 2
    append(machines.gateway, 10, first=400)  # the gateway goes on writing behind what has left
    found = verify.verify(machines.gateway / "archive", 3)
    assert found.broken is None
    sealed = archive.sealed_segments(machines.centre / "archive", 3)
    said = [(one.segment, one.sha256, one.centre, tuple(one.confirmed)) for one in found.handed]
    assert said == [(number, sealed[number].sha256, socket.gethostname(), (2, 64)) for number in (0, 1)]
    archive.segment_path(home, 2).unlink()
    assert str(verify.verify(machines.gateway / "archive", 3).broken).endswith("段 2 偏移 0：段文件不在了")


CENTRE = handed.Confirmed(archive.Position(2, 64), "centre", 9.0)


def hand_over(folder: Path, number: int) -> None:
    sealed = archive.sealed_segments(folder / "archive", 3)[number]
    handed.let_go(folder / "archive", 3, sealed, CENTRE, token_of(folder / "archive"), 10.0)


def test_verify_tells_what_was_handed_over_from_what_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CEGUAN_DATA", str(tmp_path))
    append(tmp_path, 400)
    hand_over(tmp_path, 0)
    hand_over(tmp_path, 1)
    assert cli.main(["archive", "verify"]) == 0
    said = capsys.readouterr().out
    assert "归档流 3 完好" in said
    assert "其中 2 段由中心确认收存后从本机删去" in said
    assert "核验：centre" in said
    archive.segment_path(archive.stream_folder(tmp_path / "archive", 3), 2).unlink()
    assert cli.main(["archive", "verify"]) == 1
    assert "断于段 2 偏移 0：段文件不在了" in capsys.readouterr().out


def test_what_is_not_what_was_sealed_is_not_deleted(tmp_path: Path) -> None:
    append(tmp_path, 400)
    path = archive.segment_path(archive.stream_folder(tmp_path / "archive", 3), 0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(archive.ArchiveError, match="不删"):
        hand_over(tmp_path, 0)
    assert path.read_bytes() == content
    assert handed.lines(tmp_path / "archive", 3) == {}


def test_a_crash_between_the_record_and_the_deletion_is_harmless(tmp_path: Path) -> None:
    append(tmp_path, 400)
    path = archive.segment_path(archive.stream_folder(tmp_path / "archive", 3), 0)
    content = path.read_bytes()
    hand_over(tmp_path, 0)
    path.write_bytes(content)
    found = verify.verify(tmp_path / "archive", 3)
    assert (found.broken, found.handed) == (None, ())
    hand_over(tmp_path, 0)
    found = verify.verify(tmp_path / "archive", 3)
    assert (found.broken, len(found.handed)) == (None, 1)


def test_a_record_that_does_not_fit_its_segment_or_its_machine_excuses_nothing(tmp_path: Path) -> None:
    append(tmp_path, 400)
    hand_over(tmp_path, 0)
    lines = archive.stream_folder(tmp_path / "archive", 3) / handed.NAME
    true = lines.read_text()
    for false in (true.replace('sha256": "', 'sha256": "0'), true.replace('token": "', 'token": "0')):
        lines.write_text(false)
        assert "handed.jsonl 所记与封存记录不同" in str(verify.verify(tmp_path / "archive", 3).broken)
    lines.write_text("[]\n")
    assert "handed.jsonl 读不出" in str(verify.verify(tmp_path / "archive", 3).broken)
    lines.unlink()
    assert "段文件不在了" in str(verify.verify(tmp_path / "archive", 3).broken)


@pytest.mark.service
def test_two_gateways_with_one_stream_number_are_told_apart(machines: Machines, tmp_path: Path) -> None:
    append(machines.gateway, 3)
    machines.start("relay")
    machines.start("collect")
    arrived(machines)
    other = Machines(tmp_path / "other", machines._environ["CEGUAN_NATS_URL"], CEGUAN_NATS_REPLICAS=1)
    append(other.gateway, 3)
    other.start("relay")
    assert other._running.pop("relay").wait(timeout=180) == 2
    assert "归档流 3 已由另一台网关使用" in other.log("relay").read_text()


@pytest.mark.service
def test_both_ends_say_how_they_are_and_the_centre_hears_of_its_gateways(machines: Machines) -> None:
    append(machines.gateway, 300)
    machines.start("relay")
    machines.start("collect")
    arrived(machines)

    deadline = time.monotonic() + 180
    while not (told := beat(machines.centre, "collect.json")).get("relays") or told["waiting"]:
        assert time.monotonic() < deadline, "the centre did not hear of the gateway's machine"
        time.sleep(0.1)
    (relay,) = beat(machines.centre, "collect.json")["relays"]
    assert (relay["streams"], relay["gateway"], relay["backlog_bytes"]) == ([3], "never", 0)
    assert relay["acked"]
    assert machines.end("relay") == machines.end("collect") == 0
    assert not beat(machines.gateway, "relay.json")["running"]
    centre = beat(machines.centre, "collect.json")
    assert (centre["running"], centre["problem"], centre["waiting"]) == (False, "", 0)
    assert centre["bytes"] > 0


@pytest.mark.service
def test_told_to_stop_while_no_server_is_there_both_stop(tmp_path: Path) -> None:
    machines = Machines(tmp_path, "nats://127.0.0.1:1")
    append(machines.gateway, 3)
    for verb in ("relay", "collect"):
        machines.start(verb)
    try:
        for verb in ("relay", "collect"):
            deadline = time.monotonic() + 60
            while "NATS" not in machines.log(verb).read_text():
                assert time.monotonic() < deadline, "it does not say that no server is there"
                time.sleep(0.1)
            assert machines.end(verb) == 0
    finally:
        machines.stop()
