"""The scanner finds to the byte what the splitter finds, however the bytes were chopped, and answers like answer_to."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.crc import DIALECTS, checksum
from ceguan.intake.hj212.frame import encode, quick_head
from ceguan.intake.hj212.scan import Scanner, answers, scan
from ceguan.intake.hj212.splitter import Chunk, Splitter
from tests.intake.hj212.strategies import FRAME, STREAM

ONE = encode(
    st="32", cn="2011", mn="88888880000001", flag=5, datatime="20260706103000", factors={"011": {"Rtd": "1.0"}}
)
USUAL = encode(
    st="31", cn="2051", mn="010000A8900016F000169DC0", pw="123456", qn="20260706103000001", flag=5, cp={"a": "1"}
)
FIELDS = ("qn", "st", "cn", "pw", "mn")


def split(*reads: bytes, max_frame: int = 4096) -> list[Chunk]:
    splitter = Splitter(max_frame)
    return [chunk for data in reads for chunk in splitter.feed(data)] + splitter.close()


def scanned(*reads: bytes, max_frame: int = 4096) -> list[Chunk]:
    scanner, found = Scanner(max_frame), []
    for run in [run for data in reads for run in scanner.feed(data)] + scanner.close():
        for row in run.heads:
            data = run.buffer[row["start"] : row["end"]].tobytes()
            found.append(Chunk(run.offset + int(row["start"]), data, True, DIALECTS[row["dialect"]]))
        found += run.chunks
    return found


def with_crc(segment: bytes, dialect: str = "hj212", length: int | None = None) -> bytes:
    return b"##%04d%b%b\r\n" % (len(segment) if length is None else length, segment, checksum(segment, dialect))


def text_of(buffer: bytes, span: np.ndarray) -> str | None:
    return None if span[0] < 0 else buffer[span[0] : span[1]].decode()


def test_usual_frames_and_where_they_stop():
    found = scan(USUAL + ONE + b"AT+CSQ\r\n" + USUAL)
    assert [(row["start"], row["end"]) for row in found.heads] == [
        (0, len(USUAL)),
        (len(USUAL), len(USUAL) + len(ONE)),
    ]
    assert found.rests.tolist() == [len(USUAL) + len(ONE)]
    assert found.cut.tolist() == [False]


@pytest.mark.parametrize("keep", [0, 1, 4, 6, 30, len(USUAL) - 2, len(USUAL) - 1])
def test_the_beginning_of_a_usual_frame_waits_for_more(keep):
    found = scan(ONE + USUAL[:keep])
    assert (len(found.heads), found.rests.tolist(), found.cut.tolist()) == (1, [len(ONE)], [True])


@pytest.mark.parametrize(
    "rest",
    [b"#x", b"x", b"##00a", b"##9999ST=1;", b"##0200ST=31\nCN", b"##0200ST=31##0012", USUAL[:-2] + b"\n",
     USUAL[:-6] + b"0000\r\n", USUAL[:-2] + b"**", USUAL[:-6] + b"xyz\r\n"],
)  # fmt: skip
def test_what_can_never_be_usual_is_not_waited_for(rest):
    found = scan(ONE + rest, max_frame=4096)
    assert (len(found.heads), found.rests.tolist(), found.cut.tolist()) == (1, [len(ONE)], [False])


def test_a_frame_does_not_cross_from_one_piece_into_the_next():
    cut = len(USUAL) - 10
    pieces = [ONE, USUAL[:cut], USUAL[cut:] + ONE, b"", ONE + USUAL]
    found = scan(b"".join(pieces), np.cumsum([len(piece) for piece in pieces]))
    assert found.heads["piece"].tolist() == [0, 4, 4]
    assert found.cut.tolist() == [True, True, False, True, True]
    begins = [0, *itertools.accumulate(map(len, pieces))]
    assert (found.rests - begins[:-1]).tolist() == [len(ONE), 0, 0, 0, len(ONE + USUAL)]


@pytest.mark.parametrize("ends", [[], [3], [5, 4, 12], [-1, 12], [13]])
def test_ends_that_are_none_are_refused(ends):
    with pytest.raises(ValueError, match="ends"):
        scan(b"x" * 12, np.array(ends, np.int64))


@pytest.mark.parametrize("dialect", range(3))
@pytest.mark.parametrize("case", [bytes.upper, bytes.lower])
def test_all_dialects_and_both_cases_of_the_digits(dialect, case):
    segment = b"ST=31;CN=2011;PW=1;MN=7;Flag=5;CP=&&a=1&&"
    raw = with_crc(segment, DIALECTS[dialect])
    raw = raw[:-6] + case(raw[-6:-2]) + b"\r\n"
    assert scan(b"\n" + raw).heads[["dialect", "usual", "flag", "answer"]].tolist() == [(dialect, 1, 5, 9014)]


def test_any_alignment_of_the_buffer_gives_the_same():
    stream = b"".join(with_crc(b"x" * size) for size in range(40))
    for shift in range(9):
        assert len(scan(memoryview(b"." * shift + stream)[shift:]).heads) == 40


@pytest.mark.parametrize(
    "head",
    [
        b"ST=31;CN=2011;PW=;MN=;",
        b"ST=;CN=;PW=;MN=;Flag=;",
        b"ST=31;CN=2011;PW=1;MN=a_-9;Flag=5",
        b"CN=2011;ST=31;PW=1;MN=2;",
        b"QN=1;ST=31;CN=2011;PW=1;MN=2;Flag=1234;",
        b"QN=1;ST=31;CN=2011;PW=1;MN=2;Flag=999;",
        b"QN=1;ST=31;CN=9014;PW=1;MN=2;Flag=5;",
        b"QN=1;ST=31;CN=2011;PW=1;MN=2;Flag=7;PNUM=2;PNO=1;",
        b"QN=1;ST=31;CN=1013;PW=1;MN=2;Flag=4;",
        b"ST=31;CN=2011;PW=1;MN=" + b"x" * 600 + b";Flag=5;",
        b"QN=1;ST=31;CN=12345;PW=1;MN=2;Flag=9;",
        b"QN=1;ST=31;CN=9015;PW=1;MN=2;Flag=8;",
        b"QN=1;ST=31;CN=2011;PW=1;MN=CP=&&;Flag=9;",
        b"",
    ],
)
@pytest.mark.parametrize("area", [b"CP=&&a=1&&", b"CP=&&&&", b"CP=&&", b"CP=&", b"CP=&&a=1&", b""])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_head_that_is_called_usual_says_what_quick_head_says(head, area, dialect):
    the_same_head_and_answer(with_crc(head + area, dialect))


@given(FRAME)
def test_every_head_called_usual_and_every_answer(frame):
    the_same_head_and_answer(frame)


@given(
    st.text("QSTCNPWMFlag=;,01579-_ &\u00e9", max_size=40).map(
        lambda tail: with_crc(f"ST=22;CN=2011;PW=1;MN={tail};CP=&&&&".encode())
    )
)
def test_odd_heads_too(frame):
    the_same_head_and_answer(frame)


def the_same_head_and_answer(frame: bytes) -> None:
    found = scan(frame)
    head = quick_head(frame)
    sent, ends = answers(frame, found.heads)
    for row in found.heads:
        assert DIALECTS[row["dialect"]] == head.crc_dialect
        if row["usual"]:
            assert [text_of(frame, row[name]) for name in FIELDS] == [getattr(head, name) for name in FIELDS]
            assert (None if row["flag"] < 0 else row["flag"]) == head.flag
            assert (head.error, head.pnum, head.pno) == (None, None, None)
            assert frame[row["area"] - 5 :].startswith(b"CP=&&")
            assert bytes(sent) == (answer_to(head) or b"")
            assert bool(row["answer"]) == bool(sent)
            assert ends.tolist() == [len(sent)]


def test_answers_stand_one_behind_the_other():
    silent = encode(st="31", cn="2011", mn="7", pw="1", flag=4, datatime="20260706103000")
    buffer = USUAL + silent + b"\r\n" + USUAL
    sent, ends = answers(buffer, scan(buffer).heads)
    reply = answer_to(quick_head(USUAL)) or b""
    assert bytes(sent) == reply * 2
    assert ends.tolist() == [len(reply), len(reply), 2 * len(reply)]


@given(STREAM, st.data())
@example(b"##0036ST=31;CN=2011;CP=&&a##0000\r\n##\n#&&0000\r\n" + USUAL, None)
def test_scanning_and_splitting_is_splitting(stream, data):
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted)) if data else [5, 40]
    reads = [stream[a:b] for a, b in itertools.pairwise([0, *cuts, len(stream)])]
    assert scanned(*reads, max_frame=400) == split(stream, max_frame=400)


@given(STREAM)
def test_byte_by_byte_too(stream):
    assert scanned(*(stream[at : at + 1] for at in range(len(stream)))) == split(stream)


@given(st.lists(STREAM, min_size=1, max_size=5))
def test_pieces_side_by_side_give_what_each_gives_alone(pieces):
    found = scan(b"".join(pieces), np.cumsum([len(piece) for piece in pieces]), 400)
    begin = 0
    for number, piece in enumerate(pieces):
        alone = scan(piece, None, 400)
        mine = found.heads[found.heads["piece"] == number]
        assert (mine["start"] - begin).tolist() == alone.heads["start"].tolist()
        assert [found.rests[number] - begin, found.cut[number]] == [alone.rests[0], alone.cut[0]]
        begin += len(piece)


def test_what_one_read_leaves_undecided_may_begin_many_reads_ago():
    stream = b"##3000" + ONE[6:-2] + b"\n" + USUAL * 3 + b"##2000" + b"x" * 700 + USUAL + ONE
    for size in (1, 7, 100, 1460):
        assert scanned(*(stream[at : at + size] for at in range(0, len(stream), size))) == split(stream)


def test_it_works_where_no_cache_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    code = "from ceguan.intake.hj212.scan import scan, warm; warm(); print(len(scan(b'##0000FFFF\\r\\n').heads))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "cache"), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.stderr) == ("1\n", "")


def test_a_cipher_whose_checksum_happens_to_fit_is_left_to_quick_head():
    """Of enciphered frames one in 256 has a CRC that is also right for the ciphertext."""
    fitting = [
        raw for number in range(3000)
        if (raw := encode(st="31", cn="2011", mn="1", flag=9, cp={"Number": f"{number:05d}xyz."}, key=b"0" * 16))
        and checksum(raw[6:-6], "hj212") == raw[-6:-2] and b"\n" not in raw[:-2] and b"##" not in raw[2:]
    ]  # fmt: skip
    assert fitting
    for row in scan(b"".join(fitting)).heads:
        assert (row["usual"], row["answer"]) == (0, 0)
