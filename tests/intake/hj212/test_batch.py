"""The columns are to the last bit what splitting and decoding give, for every stream and however it was chopped."""

import itertools
import json
import math
import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.intake.hj212 import batch
from ceguan.intake.hj212.crc import checksum
from ceguan.intake.hj212.frame import encode, of_chunk
from ceguan.intake.hj212.readings import KINDS, parse_time
from ceguan.intake.hj212.splitter import Splitter
from tests.conftest import TRUTH
from tests.intake.hj212.strategies import FRAME, NUMBER, STREAM

FLAGS = ("Flag", "flag")


def slowly(stream: bytes) -> list[tuple]:
    """What the columns must hold, from the splitter and `decode` alone."""
    splitter, rows = Splitter(), []
    for frame in map(of_chunk, splitter.feed(stream) + splitter.close()):
        for code, fields in frame.factors.items() if frame.ok else ():
            flag = fields.get("Flag", fields.get("flag"))
            kind = KINDS.get(frame.cn)
            fixed = (frame.mn, parse_time(frame.datatime), None if kind is None else int(kind), code)
            values = [name for name in fields if name not in FLAGS]
            rows += [(*fixed, name, *number(fields[name]), flag, frame.offset) for name in values]
            rows += [(*fixed, None, None, None, flag, frame.offset)] if not values else []
    return rows


def number(text: str) -> tuple[float | None, str | None]:
    try:
        value = float(text)
    except ValueError:
        return None, text
    if not math.isfinite(value) or "_" in text:
        return None, text
    return value, text if sum(map(str.isdigit, text)) > 15 else None


def quickly(*reads: bytes, take: bool = False) -> list[tuple]:
    stream, batches = batch.Stream(), []
    for data in reads:
        stream.feed(data)
        batches += [stream.take()] if take else []
    return rows_of(pa.Table.from_batches([*batches, stream.close()]))


def rows_of(table: pa.Table) -> list[tuple]:
    assert table.schema == batch.SCHEMA
    return [tuple(row.values()) for row in table.to_pylist()]


def same(found: list[tuple], wanted: list[tuple]) -> None:
    assert found == wanted
    assert [bits(row[5]) for row in found] == [bits(row[5]) for row in wanted]  # -0.0 is not 0.0


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


def upload(area: bytes, head: bytes = b"QN=20260706103000001;ST=31;CN=2011;PW=1;MN=A1;Flag=5;") -> bytes:
    return with_crc(head + b"CP=&&" + area + b"&&")


def with_crc(segment: bytes) -> bytes:
    return b"##%04d%b%b\r\n" % (len(segment), segment, checksum(segment))


def test_one_row_for_each_field_of_each_factor():
    frame = encode(
        st="31",
        cn="2061",
        mn="A1",
        flag=5,
        datatime="20260706100000",
        factors={
            "a21026": {"Min": "1", "Avg": "2.50", "Max": "-3", "Flag": "N"},
            "a01011": {"Avg": "--", "Flag": "D"},
        },
    )
    noise = b"AT+CSQ\r\n"
    time = 1783303200  # 2026-07-06 10:00 in Beijing
    assert rows_of(batch.table(noise + frame)) == [
        ("A1", time, 2, "a21026", "Min", 1.0, None, "N", 8),
        ("A1", time, 2, "a21026", "Avg", 2.5, None, "N", 8),
        ("A1", time, 2, "a21026", "Max", -3.0, None, "N", 8),
        ("A1", time, 2, "a01011", "Avg", None, "--", "D", 8),
    ]


AREAS = [
    b"DataTime=20260706103000;a21026-Rtd=1.5,a21026-Flag=N;w01018-Avg=7,w01018-Min=0",
    b"a21026-Flag=N,a21026-Rtd=1.5;DataTime=20260706103000",
    b"DataTime=20260706103000;DataTime=20270706103000;a-Rtd=1",
    b"DataTime=;a-Rtd=1",
    b"a-Flag=N;b-Flag=,b-Rtd=1;c-Flag=NN;d-Flag=N,d-flag=D;e-flag=C,e-Rtd=1",
    b"a-Rtd=1;b-Rtd=2;a-Flag=N",
    b"a-Rtd=1,a-Rtd=2,a-Flag=N,a-Flag=D",
    b"a-Rtd=1;;a-Avg=2;",
    b";,a-Rtd=1",
    b"a-Rtd;b-Rtd=1",
    b"a-Rtd=1-Flag=N;b-Rtd=2",
    b"i11001-Info=//a=b;c,d//,i11001-Flag=N;a-Rtd=1",
    b"i11001-Info=//;a-Rtd=1",
    b"a//b-Rtd=1",
    b" a-Rtd =1;a - Avg= 2 ;DATATIME=20260706103000",
    b"-Rtd=1;a-=2;-=3;=4;a=5",
    b"a-Rtd=1;-Rtd=2; -Rtd=3",
    b"a-Rtd=1; a-Rtd=3;a-Rtd=2",
    b"a-Rtd-x=1;a-Rtd=2",
    "a-Info=零点;b-Rtd=1;零-Rtd=2".encode(),
    "a-Info=零点;b-Rtd=1".encode("gbk"),
    b"a-Rtd=1&2;b-Rtd=&&;c&&-Rtd=1",
    b"a-Rtd=\r;b-Rtd=1\t",
    b"QnRtn=1",
    b"",
    b"a-" + b"x" * 80 + b"=1",
    b"a-Flag==;b-Flag=/,b-Rtd=1;c-Flag=",
    b"a-Rtd=1;a-Flag=\x00",
    b"a12345678901234-Rtd=1;a-Rtd=2",
    b"SampleTime=1;a-SampleTime=20260706103000123",
]


@pytest.mark.parametrize("area", AREAS)
def test_every_form_of_a_data_area_gives_what_decode_gives(area):
    stream = upload(area)
    same(quickly(stream + upload(AREAS[0]) + stream), slowly(stream + upload(AREAS[0]) + stream))


NUMBERS = [
    *("0", "-0", "+1", "-.5", "5.", ".", "-", "", "1e3", "1E-400", "1e400", "nan", "inf", "-Infinity", "1_0", "0x1"),
    *(" 1", "1.2.3", "--1", "+-1", "123456789012345", "1234567890123456", "0.000000000000001", "0.1234567890123456"),
    *("9007199254740993", "00000000000000001", "1.7976931348623157e308", "2.2250738585072014e-308", "1234567"),
    *("12345678", "1234567.", "123456.7", "-999999.9", "0.1", "1.00", "\u0661"),
]


@pytest.mark.parametrize("text", NUMBERS)
@pytest.mark.parametrize("behind", ["", ";b-Rtd=1", ",a-Flag=N"])
def test_a_number_is_what_float_says(text, behind):
    stream = upload(f"a-Rtd={text}{behind}".encode())
    same(quickly(stream), slowly(stream))


@given(st.lists(st.from_regex(r"[+-]?[0-9]{0,12}(\.[0-9]{0,12})?", fullmatch=True), min_size=1, max_size=30))
def test_any_number_in_the_form_of_hj_212(texts):
    stream = upload(";".join(f"a{number}-Rtd={text}" for number, text in enumerate(texts)).encode())
    same(quickly(stream), slowly(stream))


TIMES = [
    *("20260706103000", "2026070610300012", "20260706103000123", "202607061030001", "2026070610300", "20260229000000"),
    *("20240229235959", "21000229000000", "20000229000000", "00010101000000", "00000101000000", "99991231235959"),
    *("20260010000000", "20261301000000", "20260100000000", "20260431000000", "20260706240000", "20260706106000"),
    *("20260706100060", "2026070610300x", "-0260706103000", "19700101080000", "16001231000000"),
]


@pytest.mark.parametrize("text", TIMES)
def test_a_time_is_what_parse_time_says(text):
    (row,) = quickly(upload(f"DataTime={text};a-Rtd=1".encode()))
    assert row[1] == parse_time(text)


@given(st.datetimes())
def test_every_moment_of_the_calendar(moment):
    text = f"{moment.year:04}{moment:%m%d%H%M%S}"
    assert quickly(upload(f"DataTime={text};a-Rtd=1".encode()))[0][1] == parse_time(text)


HEADS = [
    b"ST=31;CN=2061;PW=1;MN=;",
    b"CN=2061;ST=31;MN=X;",
    b"ST=31;CN=2031;PW=1;Flag=5;",
    b"QN=1;ST=31;CN=2051;PW=1;MN=7;Flag=7;PNUM=2;PNO=1;",
    b"ST=31;CN=20510;PW=1;MN=7;",
    b"ST=31;CN=;PW=1;MN=" + b"M" * 40 + b";",
    "ST=31;CN=2011;PW=1;MN=零;".encode(),
]


@pytest.mark.parametrize("head", HEADS)
def test_every_form_of_a_head_gives_what_decode_gives(head):
    stream = upload(AREAS[0], head)
    same(quickly(stream * 2), slowly(stream * 2))


def test_frames_that_are_not_right_bring_no_rows_and_are_counted():
    good, open_area = upload(AREAS[0]), with_crc(b"ST=31;CN=2011;PW=1;MN=A1;Flag=5;CP=&&a-Rtd=1")
    parts = [good, good[:-6] + b"0000\r\n", b"AT\r\n", open_area, good[:40], good[:-2] + b"\n"]
    stream = batch.Stream()
    stream.feed(b"".join(parts))
    assert stream.close().num_rows == 6
    counts = {"bytes": sum(map(len, parts)), "frames": 2, "bad": 3, "noise": 1, "slow": 4, "rows": 6}
    assert stream.counts == counts


@given(STREAM, st.data())
def test_any_stream_gives_the_rows_of_splitting_and_decoding(stream, data):
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    reads = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    same(quickly(*reads, take=data.draw(st.booleans())), slowly(stream))


@given(st.lists(FRAME, max_size=8))
def test_any_frames_one_behind_the_other(frames):
    same(quickly(b"".join(frames)), slowly(b"".join(frames)))


ITEM = st.tuples(
    st.sampled_from(["a21026", "a2", "w01018", "a", "SB1", ""]),
    st.sampled_from(["Rtd", "Flag", "flag", "Avg", "ZsAvg", ""]),
    st.one_of(NUMBER, st.text("0N.-e/=\u96f6 ", max_size=4)),
    st.sampled_from(";,"),
).map(lambda item: f"{item[0]}-{item[1]}={item[2]}{item[3]}")


@given(st.lists(st.lists(ITEM, max_size=8).map("".join), min_size=1, max_size=4))
def test_any_data_areas(areas):
    stream = b"".join(upload(area.encode()) for area in areas)
    same(quickly(stream), slowly(stream))


def test_more_names_than_any_table_begins_with():
    areas = [
        ";".join(f"f{number:05}-Rtd={number}" for number in range(at, at + 50)).encode() for at in range(0, 3000, 50)
    ]
    heads = [b"ST=31;CN=2011;PW=1;MN=D%d;" % number for number in range(len(areas))]
    stream = b"".join(upload(area, head) for area, head in zip(areas, heads, strict=True)) * 2
    same(quickly(stream), slowly(stream))


def test_names_without_end_are_forgotten_with_each_batch(monkeypatch):
    monkeypatch.setattr(batch, "_MOST_NAMES", 100)
    reads = [upload(";".join(f"f{n}-Rtd={n}" for n in range(at, at + 60)).encode()) for at in range(0, 600, 60)]
    same(quickly(*reads, take=True), slowly(b"".join(reads)))
    same(quickly(*reads), slowly(b"".join(reads)))
    stream = batch.Stream()
    for data in reads:
        stream.feed(data)
        assert len(stream.take().column("factor").dictionary) <= 160


def test_a_read_may_be_longer_than_a_block():
    stream = upload(AREAS[0]) * (3 * batch.BLOCK // 150)
    assert len(stream) > 2 * batch.BLOCK
    assert batch.table(stream).num_rows == stream.count(b"##") * 3


@pytest.mark.parametrize("size", [1, 7, 1460])
def test_the_corpus_gives_what_decode_gives(truth, size):
    rows = [json.loads(text) for text in (TRUTH / "hj212" / "corpus_public.jsonl").read_bytes().splitlines()]
    streams = [b"".join(bytes.fromhex(data) for data in row.get("chunks_hex", ())) or raw_of(row) for row in rows]
    for stream in [*streams, b"".join(streams)] if size > 1 else streams[::10]:
        reads = [stream[at : at + size] for at in range(0, len(stream), size)]
        same(quickly(*reads, take=size == 1), slowly(stream))


def raw_of(row: dict) -> bytes:
    return bytes.fromhex(row["frame_hex"]) if row.get("frame_hex") else row.get("frame", "").encode()
