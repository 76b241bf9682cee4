"""Parts of one message."""

import itertools

import pytest

from ceguan.intake.hj212.frame import decode, encode
from ceguan.intake.hj212.merge import Merger


def part(pno, pnum=3, mn="1", value="1.0", datatime="20160801080000", **more):
    code = f"w0000{pno}"
    return decode(
        encode(st="32", cn="2061", mn=mn, flag=7, qn=f"2016080108585753{pno}", pnum=pnum, pno=pno, datatime=datatime,
               factors={code: {"Avg": value, "Flag": "N"}}, **more),
        offset=pno * 1000,
    )  # fmt: skip


def feed(merger, *frames):
    return [whole for frame in frames for whole in merger.feed(frame)]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_parts_in_any_order_give_one_message(order):
    (message,) = feed(Merger(), *(part(pno) for pno in order))
    assert list(message.factors) == ["w00001", "w00002", "w00003"]
    assert (message.mn, message.st, message.cn, message.datatime) == ("1", "32", "2061", "20160801080000")
    assert (message.ok, message.pnum, message.pno, message.warnings) == (True, "3", None, [])
    assert message.public()["parts"] == [1000, 2000, 3000]


def test_a_part_sent_again_does_not_count_twice():
    merger = Merger()
    assert feed(merger, part(1, 2), part(1, 2)) == []
    assert len(feed(merger, part(2, 2), part(1, 2), part(2, 2))) == 1
    assert merger.close() == []


def test_messages_of_other_devices_and_times_are_kept_apart():
    merger = Merger()
    others = [part(2, 2, mn="2"), part(2, 2, datatime="20160801090000")]
    assert feed(merger, part(1, 2), *others) == []
    assert len(feed(merger, part(2, 2))) == 1
    assert [frame.warnings for frame in merger.close()] == [["parts_missing:1/2"]] * 2


def test_frames_that_are_no_parts_and_broken_ones_pass():
    whole = decode(encode(st="32", cn="2011", pnum="1", pno="1"))
    odd = decode(encode(st="32", cn="2011", pnum="x", pno="9"))
    broken = decode(part(1).raw[:-10])
    assert feed(Merger(), whole, odd, broken) == [whole, odd, broken]


def test_a_value_corrected_before_the_message_is_whole_wins():
    (message,) = feed(Merger(), part(1, 2), part(1, 2, value="9.0"), part(2, 2))
    assert message.factors["w00001"]["Avg"] == "9.0"


def test_plain_fields_that_parts_repeat_stay_single():
    (message,) = feed(Merger(), part(1, 2, cp={"PolId": "a"}), part(2, 2, cp={"PolId": "a", "X": ["1", "2"]}))
    assert message.cp == {"PolId": "a", "X": ["1", "2"]}
    (message,) = feed(Merger(), part(1, 2, cp={"PolId": "a"}), part(2, 2, cp={"PolId": "b"}))
    assert message.cp == {"PolId": ["a", "b"]}


def test_unfinished_messages_are_bounded():
    merger = Merger(most=2)
    found = feed(merger, *(part(1, 2, mn=str(number)) for number in range(5)))
    assert [frame.mn for frame in found] == ["0", "1", "2"]
    assert len(merger.close()) == 2


@pytest.mark.parametrize("number", ["0" * 5000 + "1", "x", "", "٣", "-1", "0", "3"])
def test_what_cannot_be_a_part_is_a_frame_of_its_own(number):
    frame = decode(encode(st="32", cn="2061", flag=7, pnum=2, pno=number))
    assert Merger().feed(frame) == [frame]
