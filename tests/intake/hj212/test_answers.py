"""What a device is answered."""

import pytest

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, encode, quick_head

MN17, MN05 = "010000A8900016F000169DC0", "88888880000001"


def upload(**more):
    fields = {"st": "32", "cn": "2061", "pw": "123456", "mn": MN17, "qn": "20160801090000001", "flag": 5}
    return encode(**(fields | more))


def answer(**more):
    return answer_to(decode(upload(**more)))


def test_a_data_upload_of_2017_gets_9014_with_its_qn_in_the_head():
    """HJ 212-2017 表C.23."""
    assert answer() == (
        b"##0087QN=20160801090000001;ST=91;CN=9014;PW=123456;MN=010000A8900016F000169DC0;Flag=4;CP=&&&&FF01\r\n"
    )


def test_a_data_upload_of_2005_gets_9014_with_its_qn_in_the_data_area():
    got = decode(answer(mn=MN05, flag=1))
    assert (got.cn, got.qn, got.flag) == ("9014", None, 0)
    assert got.cp == {"QN": "20160801090000001", "CN": "2061"}


def test_a_part_of_2005_is_answered_with_its_number():
    got = decode(answer(mn=MN05, flag=3, pnum="2", pno="1"))
    assert got.cp == {"QN": "20160801090000001", "CN": "2061", "PNO": "1", "PNUM": "2"}


def test_a_2005_upload_without_qn_is_answered_all_the_same():
    assert decode(answer(mn=MN05, flag=1, qn=None)).cp == {"CN": "2061"}


def test_no_answer_where_none_is_wanted():
    assert answer(flag=4) is None
    assert answer(flag=0) is None
    assert answer(flag=None) is None
    assert answer(flag="x") is None


@pytest.mark.parametrize("cn", ["9011", "9012", "9013", "9014"])
def test_an_answer_is_not_answered(cn):
    assert answer(cn=cn, st="91") is None


@pytest.mark.parametrize(("cn", "flag", "edition"), [("1013", 5, 2017), ("2072", 0, 2005), ("9015", 9, 2025)])
def test_a_notice_and_a_heartbeat_get_9013(cn, flag, edition):
    got = decode(answer(cn=cn, flag=flag))
    assert (got.cn, got.st, got.edition) == ("9013", "91", edition)
    assert (got.qn or got.cp["QN"]) == "20160801090000001"


def test_a_2005_notice_is_answered_as_printed():
    """HJ/T 212-2005 附录C."""
    raw = encode(st="32", cn="2072", pw="123456", mn=MN05, flag=0, qn="20040516010101001")
    assert answer_to(decode(raw)) == (
        b"##0076ST=91;CN=9013;PW=123456;MN=88888880000001;Flag=0;CP=&&QN=20040516010101001&&30C0\r\n"
    )


def test_a_vendors_log_in_is_answered_when_it_asks():
    assert decode(answer(cn="9021")).cn == "9014"


@pytest.mark.parametrize("dialect", ["modbus", "modbus_swapped"])
def test_the_answer_has_the_devices_own_crc_dialect(dialect):
    assert decode(answer(crc_dialect=dialect)).crc_dialect == dialect


def test_a_broken_frame_gets_no_answer_so_that_it_is_sent_again():
    assert answer_to(decode(upload()[:-6] + b"0000\r\n")) is None
    assert answer_to(decode(b"noise")) is None


def test_the_quick_head_is_answered_as_the_whole_frame_is():
    for raw in (upload(), upload(flag=3, pnum="2", pno="1"), upload(cn="1013"), upload(flag=None), upload()[:-9]):
        assert answer_to(quick_head(raw)) == answer_to(decode(raw))


def test_every_part_and_every_re_send_is_answered():
    part = upload(flag=7, pnum="2", pno="1")
    assert answer_to(decode(part)) == answer_to(decode(part)) is not None
