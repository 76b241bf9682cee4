"""The enciphered data area of HJ 212-2025."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ceguan.intake.hj212 import crc, sm4
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.crc import DIALECTS
from ceguan.intake.hj212.frame import decode, encode, framed, of_chunk, quick_head
from ceguan.intake.hj212.readings import rows
from ceguan.intake.hj212.splitter import Splitter
from tests.intake.hj212.strategies import FIELDS, KEYS

KEY, OTHER = KEYS
FIELDS_2025 = {
    "qn": "20240601085857223", "st": "31", "cn": "2011", "pw": "123456", "mn": "010000A8900016F000169DC0", "flag": 9,
    "datatime": "20240601085857", "factors": {"a21026": {"Rtd": "18.5", "Flag": "N"}, "a34013": {"Rtd": "12.34"}},
}  # fmt: skip
PLAIN, CLOSED = encode(**FIELDS_2025), encode(**FIELDS_2025, key=KEY)
AREA = PLAIN.index(b"CP=&&") + 5


def test_the_cipher_is_the_national_standards():
    """GB/T 32907-2016 附录A.1."""
    block = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    assert sm4.encipher(block, block).hex().upper() == "681EDF34D206965E86B3E94F536E4246"
    assert sm4.decipher(sm4.encipher(block, block), block) == block


def test_the_first_group_printed_in_the_appendix():
    """HJ 212-2025 附录A.2: key of sixteen characters 0."""
    assert sm4.encipher(b"DataTime=2024052", KEY).hex().upper().startswith("E43E159ACFAB242C")


def test_whole_groups_are_enciphered_and_the_rest_stays():
    assert sm4.encipher(b"x" * 15, KEY) == b"x" * 15
    assert sm4.encipher(b"x" * 35, KEY)[32:] == b"xxx"
    assert b"x" not in sm4.encipher(b"x" * 35, KEY)[:32]


def test_length_and_crc_are_those_of_the_plain_frame():
    assert (CLOSED[:AREA], CLOSED[-8:], len(CLOSED)) == (PLAIN[:AREA], PLAIN[-8:], len(PLAIN))
    assert CLOSED != PLAIN


def test_with_its_key_an_enciphered_frame_is_the_plain_one():
    frame, plain = decode(CLOSED, key=KEY), decode(PLAIN)
    assert (frame.ok, frame.encrypted, frame.crc_dialect, frame.warnings) == (True, True, "hj212", [])
    assert (frame.datatime, frame.factors, plain.encrypted) == (plain.datatime, plain.factors, False)
    assert rows(frame).items == rows(plain).items
    assert answer_to(quick_head(CLOSED, key=KEY)) == answer_to(plain)


@pytest.mark.parametrize("key", [None, OTHER, lambda mn: [], lambda mn: [OTHER]])
def test_without_it_the_head_is_read_but_nothing_else_and_nothing_is_answered(key):
    frame, head = decode(CLOSED, key=key), quick_head(CLOSED, key=key)
    assert (frame.errors, frame.encrypted, frame.crc_dialect) == (["encrypted"], True, None)
    assert (frame.mn, frame.cn, frame.datatime, frame.cp, frame.factors) == (FIELDS_2025["mn"], "2011", None, {}, {})
    assert (head.error, head.mn, head.cn, head.encrypted) == ("encrypted", FIELDS_2025["mn"], "2011", True)
    assert answer_to(head) is None
    assert rows(frame).items == []


def test_the_keys_of_a_device_are_asked_for_by_its_mn_and_tried_in_order():
    asked = []

    def keys(mn):
        asked.append(mn)
        return [OTHER, KEY]

    assert decode(CLOSED, key=keys).ok
    assert quick_head(CLOSED, key=keys).ok
    assert decode(PLAIN, key=keys).ok
    assert asked == [FIELDS_2025["mn"]] * 2, "a plain frame needs no key"


def test_a_device_with_a_key_may_still_send_in_the_clear():
    frame = decode(PLAIN, key=KEY)
    assert (frame.ok, frame.encrypted) == (True, False)


@pytest.mark.parametrize("at", [AREA + 20, -9])
def test_damage_is_told_from_a_missing_key(at):
    damaged = bytearray(CLOSED)
    damaged[at] ^= 1
    frame = decode(bytes(damaged), key=KEY)
    assert (frame.errors, frame.encrypted) == (["crc"], True)


def test_damage_to_a_plain_frame_of_2025_is_not_taken_for_a_cipher():
    damaged = bytearray(PLAIN)
    damaged[AREA + 20] ^= 0x80
    assert decode(bytes(damaged)).errors == ["crc"]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
@pytest.mark.parametrize("flag", [4, 8])
def test_chinese_cut_in_half_is_still_text(encoding, flag):
    text = "更换试剂清洗管路恢复运行校准量程".encode(encoding)[:-1]
    frame = decode(framed(b"ST=32;CN=3020;MN=1;Flag=%d;CP=&&i11001-Info=//" % flag + text + b"//&&"))
    assert (frame.ok, frame.encrypted, frame.warnings) == (True, False, ["encoding_unknown"])


@pytest.mark.parametrize("flag", [9, 5, 0])
def test_no_cipher_passes_for_text_because_its_checksum_happens_to_fit(flag):
    """The CRC of HJ 212 has 256 values only: of enciphered frames one in 256 fits as if it were plain."""
    fitting = [
        raw for number in range(2000)
        if (raw := encode(**FIELDS_2025 | {"flag": flag, "cp": {"number": str(number)}}, key=KEY))[-6:-2]
        == framed(raw[6:-6])[-6:-2]
    ]  # fmt: skip
    assert fitting
    for raw in fitting:
        (chunk,) = Splitter().feed(raw)
        assert chunk.dialect == "hj212"
        assert of_chunk(chunk).errors == ["encrypted"]
        assert quick_head(raw, chunk.dialect).error == "encrypted"
        assert of_chunk(chunk, KEY).ok
        assert quick_head(raw, chunk.dialect, KEY).ok


def test_a_device_that_claims_2017_but_enciphers_is_read_with_its_key():
    raw = encode(**FIELDS_2025 | {"flag": 5}, key=KEY)
    assert decode(raw, key=KEY).ok
    assert decode(raw).errors == ["crc"]


def printed(raw: bytes, length: int) -> bytes:
    area = raw[AREA:-8]
    whole = len(area) // 16 * 16
    notation = b"{" + b",".join(b"0x%02X" % byte for byte in area[:whole]) + b"}" + area[whole:]
    return b"##%04d" % length + raw[6:AREA] + notation + raw[-8:]


def test_the_notation_of_the_appendix_is_read_but_its_length_is_that_of_something_else():
    frame = decode(printed(CLOSED, int(CLOSED[2:6])), key=KEY)
    assert (frame.errors, frame.warnings, frame.encrypted) == (["length"], ["cipher_printed"], True)
    assert frame.factors == FIELDS_2025["factors"]
    assert decode(printed(CLOSED, int(CLOSED[2:6]))).errors == ["length", "encrypted"]


def test_who_sends_the_notation_with_its_own_length_is_understood():
    raw = printed(CLOSED, len(printed(CLOSED, 0)) - 12)
    frame = decode(raw, key=KEY)
    assert (frame.ok, frame.warnings, frame.factors) == (True, ["cipher_printed"], FIELDS_2025["factors"])
    assert decode(raw).errors == ["encrypted"]


def test_a_cipher_cut_short_is_truncated_and_yields_no_fields():
    frame = decode(CLOSED[: AREA + 40], key=KEY)
    assert (frame.errors, frame.mn, frame.cp, frame.factors, frame.warnings) == (
        ["truncated"], FIELDS_2025["mn"], {}, {}, [],
    )  # fmt: skip


@given(FIELDS, st.integers(0, 3), st.sampled_from(KEYS))
@example({"st": "32", "cn": "3020", "factors": {"i11001": {"Info": "//更换试剂,恢复;ok=1//"}}}, 0, KEY)
def test_what_was_enciphered_is_read_again(fields, bits, key):
    sent = {"cp": {}, "factors": {}} | fields | {"flag": 8 | bits}
    raw, plain = encode(**sent, key=key), encode(**sent)
    for frame in (decode(raw, key=key), decode(raw, key=lambda mn: [OTHER, KEY])):
        assert frame.ok
        assert frame.encrypted == (raw != plain)
        assert frame.crc_dialect == decode(plain).crc_dialect
        assert {name: getattr(frame, name) for name in sent if name != "crc_dialect"} == {
            name: value for name, value in sent.items() if name != "crc_dialect"
        }


LINE_ENDS = st.sampled_from([b"\r\n", b"\n", b"", b"**", b"\\r\\n"])
MARKS = [b"\r\n", b"\n", b"&&", b"##", b"\r", b"&&30C0\r\n"]


@st.composite
def ciphertext_with_marks(draw):
    """A frame as the wire could show it, with marks of the frame among the bytes of the area: no key opens it."""
    area = draw(st.lists(st.one_of(st.sampled_from(MARKS), st.binary(min_size=1, max_size=40)), max_size=12))
    body = b"\xe4" + b"".join(area).replace(b"##", b"##x")
    segment = b"ST=31;CN=2011;MN=1;Flag=9;CP=&&" + body + b"&&"
    line = segment.partition(b"&&30C0\r\n")[0] + b"&&"  # once in 256 the sum of an inner line would fit, too
    assume(crc.dialect_of(line, b"30C0") is None)
    return b"##%04d" % len(segment) + segment + draw(st.sampled_from([b"2200", b"B541", b"b5c1"]))


@given(st.lists(st.tuples(ciphertext_with_marks(), LINE_ENDS), min_size=1, max_size=4), st.data())
def test_only_the_length_delimits_ciphertext(frames, data):
    stream = b"".join(raw + end for raw, end in frames) + PLAIN
    cut = data.draw(st.integers(0, len(stream)))
    splitter = Splitter()
    chunks = splitter.feed(stream[:cut]) + splitter.feed(stream[cut:])
    assert [chunk.data for chunk in chunks] == [raw + end for raw, end in frames] + [PLAIN]
    assert all(chunk.frame for chunk in chunks)


@given(st.lists(st.tuples(FIELDS, st.sampled_from(KEYS), LINE_ENDS), min_size=1, max_size=5), st.binary(max_size=20))
def test_enciphered_frames_come_out_of_a_stream_as_they_went_in(sent, noise):
    noise = noise.replace(b"#", b"x").strip(b"\r\n*\\")
    frames = [encode(**fields | {"flag": 9}, key=key)[:-2] + end for fields, key, end in sent]
    splitter = Splitter()
    chunks = splitter.feed(noise + b"".join(frames)) + splitter.close()
    assert [chunk.data for chunk in chunks if chunk.frame] == frames
    assert all(of_chunk(chunk, lambda mn: KEYS).ok for chunk in chunks if chunk.frame)


def test_a_broken_off_cipher_costs_only_itself():
    splitter = Splitter()
    chunks = splitter.feed(CLOSED[: AREA + 30] + CLOSED) + splitter.close()
    assert CLOSED in [chunk.data for chunk in chunks]
    assert of_chunk(chunks[-1], KEY).ok


@pytest.mark.parametrize(
    ("cn", "covered"),
    [("2011", True), ("2999", True), ("1014", True), ("3020", True), ("3021", False), ("9014", False), ("20", False),
     ("20111", False), (None, False), ("", False)],
)  # fmt: skip
def test_which_commands_are_enciphered(cn, covered):
    assert sm4.covers(cn) is covered


@pytest.mark.parametrize("text", ["", "30", "3" * 31, "x" * 32, "3" * 64])
def test_a_key_is_32_hex_digits(text):
    with pytest.raises(ValueError, match="32 位") as error:
        sm4.key_of(text)
    assert not text or text not in str(error.value)


def test_a_key_of_another_size_is_refused():
    for work in (lambda: encode(**FIELDS_2025, key=b"short"), lambda: decode(CLOSED, key=b"short")):
        with pytest.raises(ValueError, match="16 bytes"):
            work()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_checksum_dialect_is_found_through_the_cipher(dialect):
    assert decode(encode(**FIELDS_2025, crc_dialect=dialect, key=KEY), key=KEY).crc_dialect == dialect
