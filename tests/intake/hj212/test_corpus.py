"""Every row of the published HJ 212 corpus (`truth/hj212`, README there): valid, broken, streams."""

import json
import re
from pathlib import Path

import pytest

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, framed, of_chunk
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.splitter import Splitter
from tests.conftest import TRUTH

CORPUS = TRUTH / "hj212" / "corpus_public.jsonl"

ERRORS = {  # the corpus says why; the contract of `hj212 decode` names these
    "crc_mismatch": {"crc"},
    "length_wrong": {"length"},
    "bad_length_field": {"length"},
    "length_longer_than_data": {"length", "truncated"},
    "length_is_of_plaintext": {"length"},
    "no_head": {"noise"},
    "no_cp": {"syntax"},
    "cp_not_closed": {"syntax"},
}
RIGHT_DIALECTS = {"crc_modbus": "modbus", "crc_modbus_swapped": "modbus_swapped"}


def rows(kind: str) -> list:
    found = [json.loads(text) for text in CORPUS.read_bytes().splitlines()] if CORPUS.is_file() else []
    params = [pytest.param(row, id=row["id"]) for row in found if row["kind"] == kind]
    absent = pytest.mark.skip(reason=f"no truth data at {Path(TRUTH)} (set CEGUAN_TRUTH)")
    return params or [pytest.param({}, marks=absent, id="absent")]


def raw_of(row: dict) -> bytes:
    return bytes.fromhex(row["frame_hex"]) if row.get("frame_hex") else row["frame"].encode()


def whole(stream: list[bytes], key: bytes | None = None) -> list:
    splitter = Splitter()
    chunks = [chunk for data in stream for chunk in splitter.feed(data)] + splitter.close()
    return [of_chunk(chunk, key) for chunk in chunks]


@pytest.mark.parametrize("row", rows("frame"))
def test_one_frame(row):
    (frame,) = whole([raw_of(row)])
    assert frame == decode(raw_of(row))
    if row["valid"] or row["why_invalid"] in RIGHT_DIALECTS:
        assert frame.ok
        assert frame.crc_dialect == (row["crc_dialect"] or RIGHT_DIALECTS[row["why_invalid"]])
        assert {name: getattr(frame, name) for name in row["expected"]} == row["expected"]
        assert set(row.get("warnings") or ()) <= set(frame.warnings)
    else:
        causes = row["why_invalid"].split(",")
        assert not frame.ok
        assert ERRORS[causes[0]] & set(frame.errors)
        for name, value in (row["expected"] or {}).items():
            assert getattr(frame, name) == value


@pytest.mark.parametrize("row", rows("stream"))
def test_one_stream(row):
    frames = [frame for frame in whole([bytes.fromhex(data) for data in row["chunks_hex"]]) if frame.ok]
    assert [frame.raw.hex() for frame in frames] == [sent["frame_hex"] for sent in row["expected"]["frames"]]
    for frame, sent in zip(frames, row["expected"]["frames"], strict=True):
        assert {name: getattr(frame, name) for name in sent if name != "frame_hex"} == {
            name: value for name, value in sent.items() if name != "frame_hex"
        }
    if "expected_acks" in row:
        assert sum(answer_to(frame) is not None for frame in frames) == row["expected_acks"]
    if "expected_merged" in row:
        (message,) = [found for merger in [Merger()] for frame in frames for found in merger.feed(frame)]
        assert {name: getattr(message, name) for name in row["expected_merged"]} == row["expected_merged"]


@pytest.mark.parametrize("row", rows("encrypted"))
def test_one_enciphered_frame_with_its_key(row):
    raw, key = raw_of(row), bytes.fromhex(row["key_hex"])
    (frame,) = whole([raw], key)
    assert frame == decode(raw, key=lambda mn: [b"another key 0000", key])
    assert (frame.ok, frame.encrypted) == (row["valid"], True)
    assert frame.crc_dialect == row.get("crc_dialect", "hj212").split()[0]
    assert {name: getattr(frame, name) for name in row["expected"]} == row["expected"]
    if not row["valid"]:
        assert set(frame.errors) == ERRORS[row["why_invalid"]]
        assert "cipher_printed" in frame.warnings


@pytest.mark.parametrize("row", rows("encrypted"))
@pytest.mark.parametrize("key", [None, b"another key 0000"], ids=["no key", "another key"])
def test_an_enciphered_area_without_its_key_is_no_reading_but_its_head_is_read(row, key):
    (frame,) = whole([raw_of(row)], key)
    assert (frame.ok, "encrypted" in frame.errors, frame.encrypted) == (False, True, True)
    assert (frame.cp, frame.factors, frame.datatime) == ({}, {}, None)
    assert {name: getattr(frame, name) for name in ("st", "cn", "mn", "qn", "flag")} == {
        name: row["expected"][name] for name in ("st", "cn", "mn", "qn", "flag")
    }
    assert answer_to(frame) is None


@pytest.mark.parametrize("row", rows("frame"))
def test_a_valid_frame_with_its_area_enciphered_reads_the_same(row):
    """What the sibling rows of the published encrypted ones are: the same derivation applied to every valid frame."""
    plain = raw_of(row)
    flag = re.search(rb";Flag=(\d+)", plain)
    if not row["valid"] or not flag or not plain.isascii():
        return
    segment = plain[6 : 6 + int(plain[2:6])].replace(flag[0], b";Flag=%d" % (int(flag[1]) & 3 | 8))
    raw, key = framed(segment, key=b"0" * 16), b"0" * 16
    (frame,), same = whole([raw], key), decode(framed(segment))
    assert frame.ok
    assert frame.encrypted or raw == framed(segment)
    assert (frame.datatime, frame.cp, frame.factors, frame.notes) == (same.datatime, same.cp, same.factors, same.notes)
    assert decode(raw).error in ({"encrypted"} if frame.encrypted else {None})


def valid_frames() -> list:
    return [row for row in rows("frame") if row.values[0] and row.values[0]["valid"]]


def parts_of(row: dict) -> tuple[bytes, bytes, bytes]:
    """(segment, head with its closing semicolon, data area from CP on) of a valid row."""
    raw = raw_of(row)
    segment = raw[6 : 6 + int(raw[2:6])]
    opening = segment.index(b"CP=&&")
    head = segment[:opening]
    return segment, head if head.endswith((b";", b",")) else head + b";", segment[opening:]


BROKEN = {  # the corpus' own derivations: what is done to a frame, and what must be said of it first
    "length too long": (lambda raw: b"##%04d" % (int(raw[2:6]) + 40) + raw[6:], {"length", "truncated"}),
    "length too short": (lambda raw: b"##%04d" % max(1, int(raw[2:6]) - 1) + raw[6:], {"length"}),
    "only one #": (lambda raw: raw[1:], {"noise"}),
    "length padded with blanks": (lambda raw: b"##%5d" % int(raw[2:6]) + raw[6:], {"length"}),
    "hex length": (lambda raw: b"##0x%02X" % int(raw[2:6]) + raw[6:], {"length"}),
    "cut in the middle": (lambda raw: raw[: len(raw) // 2], {"length", "truncated"}),
    "CP missing": (lambda raw: framed(raw[6:-6].replace(b"CP=&&", b"XP=&&")), {"syntax"}),
    "closing && missing": (lambda raw: framed(raw[6:-6].removesuffix(b"&&")), {"syntax"}),
}


@pytest.mark.parametrize("row", valid_frames())
def test_what_the_corpus_breaks_in_some_frames_is_named_in_every_frame(row):
    segment, _, _ = parts_of(row)
    raw = framed(segment)
    for what, (broken, errors) in BROKEN.items():
        (frame,) = whole([broken(raw)])
        assert frame.error in errors, what
        assert answer_to(frame) is None, what


@pytest.mark.parametrize("row", valid_frames())
def test_what_the_corpus_bends_in_some_valid_frames_does_no_harm_to_any(row):
    """HJ 212-2017 6.3: fields by name; HJ/T 212-2005: Flag and QN may be absent; RF of 2025."""
    segment, head, area = parts_of(row)
    shuffled = b";".join(sorted(re.split(b"[;,]+", head.strip(b";,")))) + b";"
    bent = {
        "as it is": (framed(segment), {}),
        "semicolon before closing &&": (framed(segment.removesuffix(b"&&") + b";&&"), {}),
        "head fields in another order": (framed(shuffled + area), {}),
        "Flag missing": (framed(re.sub(rb"(?i)flag=\d+[;,]", b"", head) + area), {"flag": None}),
        "QN missing": (framed(re.sub(rb"QN=[^;,]*[;,]", b"", head) + area), {"qn": None}),
        "RF=1": (framed(head + b"RF=1;" + area), {"rf": "1"}),
        "MODBUS": (framed(segment, "modbus"), {}),
        "MODBUS swapped": (framed(segment, "modbus_swapped"), {}),
    }
    for what, (raw, changed) in bent.items():
        (frame,) = whole([raw])
        assert frame.ok, what
        expected = row["expected"] | changed
        assert {name: getattr(frame, name) for name in expected} == expected, what


@pytest.mark.parametrize("row", valid_frames())
@pytest.mark.parametrize("tail", [b"", b"\r\n", b"\n", b"\r", b"**", b"\\r\\n"])
def test_noise_and_broken_frames_cost_no_frame_beside_them(row, tail):
    raw = framed(parts_of(row)[0])
    plain, after = raw.removesuffix(b"\r\n") + tail, framed(b"ST=91;CN=9014;CP=&&QN=20040516010101001;CN=2051&&")
    for what in (
        b"AT+CSQ\r\nOK\r\n",
        b"\x00\xff",
        b"##",
        b"##12",
        b"##0010\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xef\xbb\xbf",
    ):
        assert [frame.raw for frame in whole([what + plain, after + what, after]) if frame.ok] == [plain, after, after]
    for lost in (raw[: len(raw) // 3], raw[:-8], b"##%04d" % (int(raw[2:6]) + 90) + raw[6:]):
        assert [frame.raw for frame in whole([lost + after, plain + after]) if frame.ok] == [after, plain, after]
