"""Every row of the published HJ 212 corpus (`truth/hj212`, README there): valid, broken, streams."""

import json
from pathlib import Path

import pytest

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, of_chunk
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


def whole(stream: list[bytes]) -> list:
    splitter = Splitter()
    return [of_chunk(chunk) for data in stream for chunk in splitter.feed(data)] + list(map(of_chunk, splitter.close()))


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
def test_an_enciphered_area_is_no_reading_but_its_head_is_read(row):
    (frame,) = whole([raw_of(row)])
    assert not frame.ok
    assert {name: getattr(frame, name) for name in ("st", "cn", "mn", "qn", "flag")} == {
        name: row["expected"][name] for name in ("st", "cn", "mn", "qn", "flag")
    }
