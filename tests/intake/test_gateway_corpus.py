"""Every published stream over a real socket: what the gateway answers, what it keeps, and how the kept parts merge."""

import pytest

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.hj212.merge import Merger
from ceguan.store import RecordKind
from tests.intake.gateway import Device, Process
from tests.intake.hj212.test_corpus import raw_of, rows

pytestmark = pytest.mark.service

LAST = encode(st="31", cn="2011", mn="LAST", qn="20991231235959999", flag=5)
"""Sent after each stream: when its answer comes, everything before it has been decided, stored and answered."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    process = Process(tmp_path_factory.mktemp("corpus"))
    yield process
    process.kill()


def played(gateway, *reads: bytes):
    """(answers, frames kept, records that were no good frame) of one connection that sent these reads."""
    before, device = len(gateway.records()), Device(gateway.port)
    for data in [*reads, LAST]:
        device.send(data)
    answers = []
    while (answer := device.answer()) and answer.qn != "20991231235959999":
        answers.append(answer)
    device.close()
    records = gateway.records()[before:]
    kept = [decode(record.payload) for record in records if record.kind == RecordKind.FRAME]
    return (
        answers,
        [frame for frame in kept if frame.mn != "LAST"],
        [record.payload for record in records if record.kind == RecordKind.BAD],
    )


def merged(frames):
    merger = Merger()
    return [message for frame in frames for message in merger.feed(frame)] + merger.close()


@pytest.mark.parametrize("row", rows("stream"))
def test_a_published_stream(gateway, row):
    answers, kept, _ = played(gateway, *map(bytes.fromhex, row["chunks_hex"]))
    sent = row["expected"]["frames"]
    assert [frame.raw.hex() for frame in kept] == [one["frame_hex"] for one in sent]
    assert len(answers) == row.get("expected_acks", sum(answer_to(frame) is not None for frame in kept))
    wanted = [decode(answer) for frame in kept if (answer := answer_to(frame))]
    assert [answer.raw for answer in answers] == [answer.raw for answer in wanted]
    if "expected_merged" in row:
        (message,) = merged(kept)
        assert {name: getattr(message, name) for name in row["expected_merged"]} == row["expected_merged"]


def test_all_published_frames_on_one_line_good_ones_kept_and_answered_bad_ones_kept(gateway):
    published = [row.values[0] for row in rows("frame") + rows("encrypted") if row.values[0]]
    if not published:
        pytest.skip("no truth data")
    raws = [raw if (raw := raw_of(row)).endswith(b"\n") else raw + b"\r\n" for row in published]
    answers, kept, bad = played(gateway, b"".join(raws))
    good = [raw for raw in raws if decode(raw).ok]
    assert [frame.raw for frame in kept] == good
    assert [answer.raw for answer in answers] == [answer for raw in good if (answer := answer_to(decode(raw)))]
    assert b"".join(bad).replace(b"\r\n", b"") == b"".join(raw for raw in raws if not decode(raw).ok).replace(
        b"\r\n", b""
    )


PART = {"st": "32", "cn": "2061", "mn": "010000A8900016F000169DC0", "pw": "123456", "datatime": "20160801080000"}


def part(number: int, flag: int = 7, **factors: str) -> bytes:
    """HJ 212-2017 表C.50: each part has its own QN and its own answer."""
    return encode(
        **PART, qn=f"2016080108585753{number}", flag=flag, pnum=2, pno=number,
        factors={code: {"Avg": value} for code, value in factors.items()},
    )  # fmt: skip


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (1, 1, 2), (2, 1, 2)])
def test_parts_are_answered_one_by_one_and_merge_once_in_any_order(gateway, order):
    parts = {1: part(1, w00000="17.5"), 2: part(2, w01018="40.1")}
    answers, kept, bad = played(gateway, *(parts[number] for number in order))
    assert [(answer.cn, answer.qn) for answer in answers] == [("9014", f"2016080108585753{n}") for n in order]
    (message,) = merged(kept)
    assert message.factors == {"w00000": {"Avg": "17.5"}, "w01018": {"Avg": "40.1"}}
    assert (message.pnum, message.warnings, bad) == ("2", [], [])


def test_parts_that_want_no_answer_get_none(gateway):
    answers, kept, _ = played(gateway, part(1, 6, w00000="1"), part(2, 6, w01018="2"))
    assert (answers, len(kept)) == ([], 2)


def test_an_enciphered_frame_without_its_key_is_kept_and_not_answered(gateway):
    raw = encode(st="31", cn="2011", mn="X", flag=9, cp={"Name": "x" * 40}, key=b"0" * 16)
    answers, kept, bad = played(gateway, raw)
    assert (answers, kept, bad) == ([], [], [raw])
