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
