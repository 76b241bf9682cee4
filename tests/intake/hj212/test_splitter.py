"""What the splitter promises: one frame lost per frame damaged, the same result however the bytes were chopped."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.intake.hj212.frame import encode
from ceguan.intake.hj212.splitter import Chunk, Splitter
from tests.intake.hj212.strategies import FRAME, STREAM

ONE = encode(
    st="32", cn="2011", mn="88888880000001", flag=5, datatime="20260706103000", factors={"011": {"Rtd": "1.0"}}
)
TWO = encode(
    st="32", cn="2011", mn="88888880000001", flag=5, datatime="20260706103030", factors={"011": {"Rtd": "2.0"}}
)


def split(*reads: bytes, max_frame: int = 4096) -> list[Chunk]:
    splitter = Splitter(max_frame)
    return [chunk for data in reads for chunk in splitter.feed(data)] + splitter.close()


def proved(*reads: bytes) -> list[bytes]:
    return [chunk.data for chunk in split(*reads) if chunk.dialect]


def test_glued_frames_come_apart():
    assert proved(ONE + TWO + ONE) == [ONE, TWO, ONE]


def test_a_frame_is_given_out_with_its_last_byte():
    splitter = Splitter()
    assert splitter.feed(ONE[:-1]) == []
    assert splitter.feed(ONE[-1:]) == [Chunk(0, ONE, True, "hj212")]
    assert splitter.pending == 0


def test_offsets_count_from_the_start_of_the_stream():
    assert [chunk.offset for chunk in split(b"OK\r\n" + ONE + b"junk" + TWO)] == [0, 4, 4 + len(ONE), 8 + len(ONE)]


def test_noise_between_frames_is_its_own_chunk():
    assert split(b"AT+CSQ\r\nOK\r\n" + ONE)[0] == Chunk(0, b"AT+CSQ\r\nOK\r\n", False)


def test_line_ends_between_frames_are_no_noise():
    assert [chunk.data for chunk in split(ONE + b"\r\n\r\n" + TWO + b"\n")] == [ONE, TWO]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r", b"**", b"\\r\\n", b"\\r\\n\r\n"])
def test_what_stands_for_cr_lf_in_the_field_belongs_to_the_frame(tail):
    odd = ONE.removesuffix(b"\r\n") + tail
    assert proved(odd + TWO) == [odd, TWO]


def test_a_frame_without_line_end_is_given_out_when_the_line_goes_quiet():
    splitter = Splitter()
    assert splitter.feed(ONE[:-2]) == []
    assert [chunk.data for chunk in splitter.settle()] == [ONE[:-2]]
    assert splitter.feed(b"\r\n" + TWO) == [Chunk(len(ONE), TWO, True, "hj212")]


def test_half_a_frame_stays_when_the_line_goes_quiet():
    splitter = Splitter()
    assert splitter.feed(ONE[:40]) + splitter.settle() == []
    assert [chunk.data for chunk in splitter.feed(ONE[40:])] == [ONE]


def test_a_frame_that_breaks_off_costs_only_itself_and_the_next_comes_at_once():
    splitter = Splitter()
    chunks = splitter.feed(ONE[:50] + TWO)
    assert [(chunk.data, chunk.dialect) for chunk in chunks] == [(ONE[:50], None), (TWO, "hj212")]


def test_a_frame_that_happens_to_end_where_a_broken_one_claims_to_is_not_lost():
    broken = b"##%04d" % (len(ONE) + 4) + b"ST=32;CN=2"
    assert [(chunk.data, chunk.dialect) for chunk in split(broken + ONE)] == [(broken, None), (ONE, "hj212")]


@pytest.mark.parametrize("claimed", [b"0001", b"0300", b"9999"])
def test_a_wrong_length_costs_only_the_frame_that_has_it(claimed):
    wrong = b"##" + claimed + ONE[6:]
    assert [(chunk.data, chunk.dialect) for chunk in split(wrong + TWO)] == [(wrong, None), (TWO, "hj212")]


def test_a_length_that_claims_too_much_does_not_hold_back_a_whole_frame():
    splitter = Splitter()
    assert [chunk.data for chunk in splitter.feed(b"##9000" + ONE[6:])] == [b"##9000" + ONE[6:]]


@pytest.mark.parametrize("length", [b"   76", b"0x63", b"abcd"])
def test_a_frame_with_an_unreadable_length_is_still_a_frame(length):
    wrong = b"##" + length + ONE[6:]
    assert split(wrong + TWO) == [Chunk(0, wrong, True), Chunk(len(wrong), TWO, True, "hj212")]


def test_a_bad_crc_between_good_frames_costs_one():
    bad = ONE[:-6] + b"0000\r\n"
    assert [chunk.dialect for chunk in split(TWO + bad + TWO)] == ["hj212", None, "hj212"]


def test_hashes_and_line_ends_inside_a_proved_frame_are_text():
    log = encode(st="32", cn="3020", mn="1", flag=4, factors={"i11001": {"Info": "//door ##0012 open## //"}})
    raw = b"##0036ST=31;CN=2011;CP=&&a##0000\r\n##\n#&&"  # as an enciphered area may look
    raw += b"%04X\r\n" % 0
    assert proved(log + ONE) == [log, ONE]
    assert [chunk.data for chunk in split(raw + ONE)][-1] == ONE


def test_a_row_of_hashes_does_not_hide_the_frame():
    assert proved(b"#####" + ONE) == [ONE]


def test_no_more_than_the_limit_is_held_back():
    splitter = Splitter(max_frame=1000)
    for _ in range(200):
        splitter.feed(b"##0900" + b"x" * 94)
        assert splitter.pending <= 3000
    for _ in range(200):
        splitter.feed(b"y" * 99)
        assert splitter.pending <= 3000


def test_long_noise_comes_in_pieces():
    assert [len(chunk.data) for chunk in split(b"x" * 2500, max_frame=1000)] == [1000, 1000, 500]


def test_a_claim_beyond_the_limit_is_no_length():
    assert [chunk.dialect for chunk in split(b"##2000" + b"x" * 2500 + ONE, max_frame=1000)][-1] == "hj212"


@given(STREAM, st.data())
def test_how_the_bytes_were_chopped_does_not_matter(stream, data):
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reads = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert split(*reads, max_frame=400) == split(stream, max_frame=400)


@given(STREAM)
def test_byte_by_byte_too(stream):
    assert split(*(stream[at : at + 1] for at in range(len(stream)))) == split(stream)


@given(STREAM)
def test_every_byte_but_line_ends_between_frames_comes_out_once_and_in_order(stream):
    end = 0
    for chunk in split(stream):
        assert stream[end : chunk.offset].strip(b"\r\n") == b""
        assert stream[chunk.offset : chunk.offset + len(chunk.data)] == chunk.data
        end = chunk.offset + len(chunk.data)
    assert stream[end:].strip(b"\r\n") == b""


@given(st.lists(FRAME, max_size=6), st.binary(max_size=20).filter(lambda noise: b"#" not in noise))
def test_no_good_frame_is_lost_between_noise_without_hashes(frames, noise):
    assert proved(noise + noise.join(frames)) == frames
