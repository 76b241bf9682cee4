"""Reading and writing one frame."""

import hashlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ceguan.intake.hj212 import cli, crc
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, encode, framed, of_chunk, quick_head
from ceguan.intake.hj212.splitter import Splitter
from tests.intake.hj212.strategies import FIELDS, FRAME, STREAM

HEAD = "QN=20160801085857223;ST=32;CN=2061;PW=123456;MN=010000A8900016F000169DC0;Flag=5"
AREA = "DataTime=20160801080000;w00000-Cou=63.0,w00000-Avg=17.5,w00000-Flag=N;w01018-Avg=40.1,w01018-Flag=N"
SEGMENT = f"{HEAD};CP=&&{AREA}&&"


def read(segment: str | bytes):
    return decode(framed(segment.encode() if isinstance(segment, str) else segment))


def test_an_hourly_upload_as_printed_in_the_standard():
    frame = read(SEGMENT)
    assert (frame.ok, frame.error, frame.errors, frame.warnings) == (True, None, [], [])
    assert (frame.qn, frame.st, frame.cn, frame.pw) == ("20160801085857223", "32", "2061", "123456")
    assert (frame.mn, frame.flag, frame.edition) == ("010000A8900016F000169DC0", 5, 2017)
    assert (frame.pnum, frame.pno, frame.rf, frame.datatime) == (None, None, None, "20160801080000")
    assert frame.cp == {}
    assert frame.factors == {
        "w00000": {"Cou": "63.0", "Avg": "17.5", "Flag": "N"},
        "w01018": {"Avg": "40.1", "Flag": "N"},
    }


def test_the_segment_printed_in_appendix_a_gets_its_printed_frame():
    raw = encode(
        qn="20160801085857223", st="32", cn="1062", pw="100000", mn="010000A8900016F000169DC0", flag=5,
        cp={"RtdInterval": "30"},
    )  # fmt: skip
    assert raw.startswith(b"##0101QN=")
    assert raw.endswith(b"&&1C80\r\n")


@given(FIELDS)
@example({"st": "91", "cn": "9014", "cp": {"QnRtn": "173"}, "crc_dialect": "modbus_swapped"})  # MODBUS 5151 either way
def test_what_was_written_is_read_again(fields):
    frame = decode(encode(**fields))
    dialect = fields.get("crc_dialect", "hj212")
    expected = {"cp": {}, "factors": {}} | {name: value for name, value in fields.items() if name != "crc_dialect"}
    assert frame.ok
    assert frame.crc_dialect == dialect or crc.checksum(frame.raw[6:-6], dialect) == frame.raw[-6:-2]
    assert {name: getattr(frame, name) for name in expected} == expected
    absent = {"qn", "pw", "mn", "flag", "pnum", "pno", "rf", "datatime"} - fields.keys()
    assert all(getattr(frame, name) is None for name in absent)


@pytest.mark.parametrize(
    "value", ["1;2", "1,2", "a&b", "a=b", "a\r", "a\n", "//a//;b", "http://a", "///", "/" * 5000 + "="]
)
def test_a_value_with_a_separator_cannot_be_written(value):
    with pytest.raises(ValueError, match="分隔符"):
        encode(st="32", cn="2011", cp={"Info": value})


def test_text_between_double_slashes_may_hold_separators():
    text = "/9/更换//更换试剂,恢复运行;ok=1&//////完/"
    frame = decode(encode(st="32", cn="3020", cp={"PolId": "w01018"}, factors={"i11001": {"Info": text}}))
    assert frame.ok
    assert frame.cp == {"PolId": "w01018"}
    assert frame.factors == {"i11001": {"Info": text}}


@pytest.mark.parametrize(("cp", "factors"), [({"a-b": "1"}, {}), ({"": "1"}, {}), ({}, {"a-b": {"Rtd": "1"}})])
def test_a_name_that_would_be_read_as_something_else_cannot_be_written(cp, factors):
    with pytest.raises(ValueError, match=r"DataTime|字段名|编码"):
        encode(st="32", cn="2011", cp=cp, factors=factors)


def test_a_segment_too_long_for_four_digits_cannot_be_written():
    with pytest.raises(ValueError, match="分包"):
        framed(b"x" * 10_000)


def test_absent_is_none_and_empty_is_empty():
    frame = read("ST=22;CN=2011;PW=;MN=;Flag=;CP=&&DataTime=20220814021304;a50001-Rtd=,a50001-Flag=B&&")
    assert (frame.qn, frame.pw, frame.mn, frame.flag, frame.edition) == (None, "", "", "", None)
    assert frame.factors == {"a50001": {"Rtd": "", "Flag": "B"}}


def test_head_fields_are_found_by_name_in_any_order():
    frame = read(f"ST=21;MN=1;PW=2;Flag=5;CN=2011;QN=3;CP=&&{AREA}&&")
    assert (frame.st, frame.mn, frame.pw, frame.flag, frame.cn, frame.qn) == ("21", "1", "2", 5, "2011", "3")


def test_odd_separators_and_case_in_the_head_are_read_and_reported():
    frame = read("ST=32;CN=2011;PW=123456;,MN=88888881234567;FLAG=0;CP=&&DataTime=20180306120000&&")
    assert (frame.ok, frame.mn, frame.flag, frame.edition) == (True, "88888881234567", 0, 2005)
    assert frame.warnings == ["head_separator", "field_name_case"]


def test_unknown_and_repeated_head_fields_are_reported():
    frame = read("ST=32;ST=31;CN=2011;USCC=91440101;CP=&&&&")
    assert frame.st == "32"
    assert frame.warnings == ["head_repeated:ST", "head_unknown:USCC"]


def test_a_repeated_plain_field_gives_a_list():
    frame = read("ST=22;CN=3014;CP=&&PolId=101,CTime=04,CTime=10;CTime=14&&")
    assert frame.cp == {"PolId": "101", "CTime": ["04", "10", "14"]}


def test_a_factor_sent_twice_keeps_the_last_value_and_says_so():
    frame = read("ST=22;CN=2011;CP=&&DataTime=20240101000000;a-Rtd=1,a-Flag=N;b-Rtd=3;a-Rtd=2&&")
    assert frame.factors == {"a": {"Rtd": "2", "Flag": "N"}, "b": {"Rtd": "3"}}
    assert frame.warnings == ["repeated:a-Rtd"]


def test_glued_items_are_shown_as_sent_and_reported():
    frame = read("ST=22;CN=2011;CP=&&w20143-Rtd=1,w20143-Flag=Nw20144-Rtd=10&&")
    assert frame.factors == {"w20143": {"Rtd": "1", "Flag": "Nw20144-Rtd=10"}}
    assert frame.warnings == ["glued:w20143-Flag"]


def test_an_item_without_a_code_is_kept_wherever_it_stands():
    first, later = (decode(framed(b"ST=31;CN=2011;CP=&&" + area + b"&&")) for area in (b"-Rtd=1;a=2", b"a=2;-Rtd=1"))
    assert first.factors == later.factors == {"": {"Rtd": "1"}}


def test_blanks_around_names_and_empty_items_do_no_harm():
    frame = read("ST=22;CN=2011;CP=&&DataTime=20240101000000; a01001-Rtd=1.0 ,;a01002-Rtd=2;&&")
    assert frame.factors == {"a01001": {"Rtd": "1.0 "}, "a01002": {"Rtd": "2"}}
    assert frame.warnings == ["blanks"]


def test_the_same_layout_is_read_the_same_way_each_time():
    first, second = read(SEGMENT), read(SEGMENT)
    assert first == second
    assert first.factors is not second.factors


def test_a_semicolon_before_the_closing_marks_is_no_item():
    assert read("ST=22;CN=2011;CP=&&DataTime=20240101000000;a-Rtd=1;&&").factors == {"a": {"Rtd": "1"}}


@pytest.mark.parametrize(("encoding", "warnings"), [("utf-8", []), ("gbk", ["encoding_gbk"])])
def test_chinese_text_in_utf8_or_gbk(encoding, warnings):
    frame = read("ST=32;CN=3020;MN=1;CP=&&i11001-Info=//清洗管路//&&".encode(encoding))
    assert frame.factors == {"i11001": {"Info": "//清洗管路//"}}
    assert frame.warnings == warnings


@pytest.mark.parametrize(("flag", "edition"), [("0", 2005), ("3", 2005), ("4", 2017), ("7", 2017), ("9", 2025)])
def test_the_edition_is_what_the_flag_claims(flag, edition):
    assert read(f"ST=32;CN=2011;Flag={flag};CP=&&&&").edition == edition


def test_blanks_around_the_flag_leave_its_number_and_the_answer_it_asks_for():
    frame = read("QN=1;ST=31;CN=2011;PW=1;MN=M1;Flag= 5 ;CP=&&&&")
    assert (frame.flag, frame.edition, frame.warnings) == (5, 2017, ["blanks"])
    assert answer_to(frame)


def test_a_flag_of_no_known_edition_and_a_flag_that_is_no_number_are_reported():
    assert read("ST=32;CN=2011;Flag=12;CP=&&&&").warnings == ["flag_version"]
    frame = read("ST=32;CN=2011;Flag=x;CP=&&&&")
    assert (frame.flag, frame.edition, frame.warnings) == ("x", None, ["flag_unreadable"])


@pytest.mark.parametrize(
    ("head", "warnings"),
    [
        ("Flag=7;PNUM=2;PNO=2", []), ("Flag=2;PNO=0001;PNUM=0002", []), ("PNUM=2;PNO=1", []),
        ("Flag=7", ["flag_without_parts"]), ("Flag=5;PNUM=2;PNO=1", ["parts_without_flag"]),
        ("Flag=7;PNUM=2;PNO=3", ["part_number"]), ("Flag=7;PNUM=2;PNO=0", ["part_number"]),
        ("Flag=7;PNUM=2", ["part_number"]), ("Flag=7;PNO=1", ["part_number"]), ("PNUM=x;PNO=1", ["part_number"]),
        ("Flag=7;PNUM=99999;PNO=99999", ["part_number"]),
    ],
)  # fmt: skip
def test_numbers_of_parts_that_cannot_be_are_reported(head, warnings):
    frame = read(f"ST=32;CN=2011;{head};CP=&&&&")
    assert (frame.ok, frame.warnings) == (True, warnings)


def raw_with(segment: str, length: int | None = None, digits: str | None = None, tail: str = "\r\n") -> bytes:
    good = framed(segment.encode())
    head = good[:6] if length is None else b"##%04d" % length
    return head + segment.encode() + (good[-6:-2] if digits is None else digits.encode()) + tail.encode()


@pytest.mark.parametrize(
    ("raw", "errors"),
    [
        (b"AT+CSQ\r\nOK\r\n", ["noise"]),
        (b"#0086QN=1;CP=&&&&7580\r\n", ["noise"]),
        (b"##hello", ["noise"]),
        (b"##0180ST=32;CN=2031;CP=&&DataTime=20040506", ["truncated"]),
        (b"##01", ["truncated"]),
        (raw_with(SEGMENT, digits="30")[:-2], ["truncated"]),
        (raw_with(SEGMENT, length=999), ["length"]),
        (raw_with(SEGMENT, length=10), ["length"]),
        (b"##0x63" + raw_with(SEGMENT)[6:], ["length"]),
        (b"##   76" + raw_with(SEGMENT)[6:], ["length"]),
        (raw_with(SEGMENT, digits="0001"), ["crc"]),
        (raw_with(SEGMENT, digits=""), ["crc"]),
        (raw_with(SEGMENT, length=1, digits="0001"), ["length", "crc"]),
        (raw_with(SEGMENT, length=SEGMENT.index("20160801080000"), digits="0001"), ["crc", "length"]),
        (raw_with(f"{HEAD};XP=&&{AREA}&&"), ["syntax"]),
        (raw_with(f"{HEAD};CP=&&{AREA}"), ["syntax"]),
        (raw_with(f"{HEAD};CP=&&"), ["syntax"]),
        (raw_with(f"{HEAD};CP=&&{AREA}", digits="0001"), ["crc", "syntax"]),
    ],
)
def test_what_is_wrong_with_a_broken_frame(raw, errors):
    frame = decode(raw)
    assert frame.errors == errors
    assert (frame.ok, frame.error) == (False, errors[0])
    assert quick_head(raw).error == errors[0]


def test_a_length_that_counts_characters_instead_of_bytes_is_wrong():
    text = "ST=32;CN=3020;CP=&&i11001-Info=//零点//&&"  # HJ 212-2017 6.3: one Chinese character is three bytes
    assert decode(raw_with(text, length=len(text))).errors == ["length"]


def test_a_broken_frame_shows_what_could_be_read():
    frame = decode(raw_with(SEGMENT)[:-50])
    assert (frame.error, frame.cn, frame.datatime) == ("truncated", "2061", "20160801080000")
    assert frame.factors == {"w00000": {"Cou": "63.0", "Avg": "17.5"}}


@pytest.mark.parametrize(("tail", "warning"), [("", "tail_missing"), ("**", "tail_odd"), ("\\r\\n", "tail_odd")])
def test_another_line_end_is_a_warning_only(tail, warning):
    frame = decode(raw_with(SEGMENT, tail=tail))
    assert frame.ok
    assert frame.warnings == [warning]


def test_a_right_crc_in_another_dialect_is_right_and_named():
    frame = decode(framed(SEGMENT.encode(), "modbus_swapped"))
    assert (frame.ok, frame.crc_dialect) == (True, "modbus_swapped")


SECRETS = [
    "ST=32;CN=1072;PW=geheim1;MN=1;Flag=5;CP=&&PW=geheim2&&",
    "ST=32;CN=1072;PW=geheim1;MN=1;Flag=5;CP=&&NewPW=geheim2;newpw=geheim3&&",
    "ST=32;CN=1014;PW=geheim1;MN=1;Flag=9;CP=&&SKCreateTime=20240601085857223,NewSK=geheim2&&",
    "ST=32;CN=1014;PW=geheim1;MN=1;CP=&&x-NewSK=geheim2;PolId=1PW=geheim3;a-Info=//NewSK=geheim4//&&",
    "ST=32PW=geheim1;MN=1;pw=geheim2;CP=&&xNewPW=geheim3&&",
    "ST=32;CN=2011;PW=geheim1=geheim2;CP=&&a-Rtd=1PW=geheim3,NewSK=geheim4&&",
    "ST=32;CN=2011;PW=geheim1;CP=&&DataTime=20240101000000;a-Rtd=1PW=geheim2,a-Flag=NPW=geheim3&&",
]


@pytest.mark.parametrize("segment", SECRETS)
@pytest.mark.parametrize("spoil", [0, 5])
def test_passwords_and_keys_are_never_printed(segment, spoil):
    raw = framed(segment.encode())
    shown = cli.line(decode(raw[:-spoil] if spoil else raw)).decode()
    assert "geheim" not in shown
    assert "PW" not in json.loads(shown)["cp"]


def test_the_printed_object_has_the_promised_keys():
    shown = decode(framed(SEGMENT.encode()), offset=7).public()
    assert list(shown) == [
        "ok", "error", "errors", "offset", "sha256", "crc_dialect", "edition", "encrypted", "st", "cn", "mn", "qn",
        "flag", "pnum", "pno", "rf", "datatime", "cp", "factors", "warnings",
    ]  # fmt: skip
    assert shown["offset"] == 7
    assert shown["sha256"] == hashlib.sha256(framed(SEGMENT.encode())).hexdigest()


@given(st.one_of(st.binary(max_size=60), STREAM, FRAME.map(lambda raw: raw[:6] + raw[5:])))
def test_no_input_breaks_the_reader(raw):
    frame, head = decode(raw), quick_head(raw)
    assert json.loads(cli.line(frame))["ok"] is frame.ok
    assert (head.error, head.mn, head.cn, head.flag, head.encrypted) == (
        *(frame.error, frame.mn, frame.cn, frame.flag, frame.encrypted),
    )


@given(STREAM)
def test_what_the_splitter_proved_the_reader_finds_right_and_nothing_else(stream):
    splitter = Splitter()
    for chunk in splitter.feed(stream) + splitter.close():
        frame = of_chunk(chunk)
        assert frame.crc_dialect == chunk.dialect or not frame.ok
        assert not chunk.dialect or not {"noise", "truncated", "length", "crc"} & set(frame.errors)
        assert decode(chunk.data).ok == frame.ok
