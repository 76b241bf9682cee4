"""`ceguan archive` on the command line: what it says, and with which exit code."""

import hashlib
import json
import shutil

from ceguan.registry.models import AuditEvent
from ceguan.store import ArchiveWriter, RecordKind, archive
from ceguan.watch import evidence
from tests.operate.test_serve import ceguan
from tests.watch.world import HOUR, World, at

NOON = at("2026-03-10 12:00")


def fill(data, count=60):
    with ArchiveWriter(data / "archive", 3, 2048) as writer:
        for number in range(count):
            writer.append(RecordKind.FRAME, 1.5 + number, "10.0.0.7:51234", b"%0100d" % number)


def test_verify_says_what_holds_and_names_the_first_break(data):
    fill(data)
    done = ceguan("archive", "verify", data=data)
    assert (done.returncode, done.stderr) == (0, "")
    assert "归档流 3 完好：封存 4 段" in done.stdout
    path = archive.segment_path(data / "archive" / "0003", 2)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    done = ceguan("archive", "verify", "--stream", "3", data=data)
    assert done.returncode == 1
    assert "归档流 3 断于段 2 偏移 64" in done.stdout


def test_a_head_kept_elsewhere_shows_that_the_end_was_cut_off(data, tmp_path_factory):
    fill(data)
    kept = tmp_path_factory.mktemp("elsewhere") / "heads.jsonl"
    kept.write_text(ceguan("archive", "head", data=data).stdout)
    assert json.loads(kept.read_text())["open_segment"] == 4
    assert ceguan("archive", "verify", "--heads", kept, data=data).returncode == 0
    archive.segment_path(data / "archive" / "0003", 4).unlink()
    assert ceguan("archive", "verify", data=data).returncode == 0
    done = ceguan("archive", "verify", "--heads", kept, data=data)
    assert done.returncode == 1
    assert "归档流 3 断于段 4" in done.stdout


def test_an_archive_that_is_not_there_does_not_hold(data):
    done = ceguan("archive", "verify", data=data)
    assert (done.returncode, done.stdout) == (2, "")
    assert "没有归档流" in done.stderr


def test_how_much_the_noted_heads_vouch_for_is_said(city, data):
    fill(data)
    done = ceguan("archive", "verify", "--noted", data=data)
    assert (done.returncode, done.stderr) == (0, "")
    assert "归档流 3 在留痕中还没有链头：末尾是否被截去，无从核对" in done.stdout
    evidence.note(data / "archive", NOON)
    assert (
        "留痕中记下的 1 个链头（最近 2026-03-10T04:00:00+00:00）都仍在链中"
        in ceguan("archive", "verify", "--noted", data=data).stdout
    )
    shutil.rmtree(data / "archive")
    done = ceguan("archive", "verify", "--noted", data=data)
    assert (done.returncode, done.stdout.strip()) == (1, "归档流 3 整个不在了：记下过它的链头")


def test_a_list_of_segments_that_cannot_be_read_is_one_sentence_in_every_command(data):
    fill(data)
    with (data / "archive" / "0003" / "segments.jsonl").open("a") as out:
        out.write("no line\n")
    for command, code in ((("archive", "head"), 2), (("archive", "prove"), 1), (("store", "status"), 2)):
        done = ceguan(*command, data=data)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
        assert "segments.jsonl 第 5 行读不出" in done.stderr
    assert "[不行] 帧归档" in ceguan("doctor", data=data).stdout


def test_a_stream_that_is_not_there_and_a_digest_nobody_knows_are_refused(data):
    fill(data)
    assert ceguan("archive", "verify", "--stream", "9", data=data).returncode == 2
    done = ceguan("archive", "prove", data=data, CEGUAN_ARCHIVE_DIGEST="md5")
    assert done.returncode == 1
    assert "sm3+sha256" in done.stderr
    assert "4 条" in ceguan("archive", "prove", data=data, CEGUAN_ARCHIVE_DIGEST="sm3+sha256").stdout


def test_an_evidence_pack_needs_a_reason_and_is_on_record_with_its_hash(city, data):
    world = World(data)
    for hour in range(3):
        world.send("MNGAS_OUTLET", "hour", NOON + hour * HOUR, {"a21026": 30.0})
    world.step(NOON + 5 * HOUR)
    world.close()
    asked = ("archive", "export", "--mn", "MNGAS_OUTLET", "--from", "2026-03-10", "--to", "2026-03-11T00:00")
    out = data / "pack.zip"
    assert ceguan(*asked, out, data=data).returncode == 2
    done = ceguan(*asked, "--why", "移送公安", "--by", "analyst", out, data=data)
    assert (done.returncode, done.stderr) == (0, "")
    event = AuditEvent.objects.get(action="evidence.export")
    assert (event.reason, event.who.username, event.subject) == ("移送公安", "analyst", "device:MNGAS_OUTLET")
    assert event.detail["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest() == done.stdout.split()[0]
    assert ceguan(*asked, "--why", "再来", out, data=data).returncode == 2  # what is there is not overwritten
    refused = ceguan(*asked, "--why", "看看", "--by", "duty", data / "other.zip", data=data)
    assert refused.returncode == 2
    assert "出具证据包" in refused.stderr
    assert not (data / "other.zip").exists()
    assert AuditEvent.objects.filter(action="evidence.export").count() == 1
