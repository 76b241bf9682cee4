"""Frames and streams for property tests."""

from hypothesis import strategies as st

from ceguan.intake.hj212.crc import DIALECTS
from ceguan.intake.hj212.frame import encode

TEXT = st.text("aNZ019.-+:/# \t零点μ€", max_size=8)
VALUE = TEXT.filter(lambda text: "//" not in text and "##" not in text)
NUMBER = st.decimals(-1000, 10_000, places=3).map(str)
CODE = st.sampled_from(["a34013", "a21026", "a21002", "w01018", "w00000", "011", "B01", "01", "LA"])
FIELD = st.sampled_from(["Rtd", "ZsRtd", "Avg", "Min", "Max", "Cou", "Flag", "SampleTime"])
PLAIN = st.sampled_from(["PolId", "QN", "QnRtn", "BeginTime", "EndTime", "CTime"])
PLAIN_VALUE = st.one_of(VALUE, st.lists(VALUE, min_size=2, max_size=4))


def _digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


FIELDS = st.fixed_dictionaries(
    {"st": st.sampled_from(["21", "22", "31", "32", "91"]), "cn": st.sampled_from(["2011", "2051", "2061", "9014"])},
    optional={
        "qn": _digits(17),
        "pw": _digits(6),
        "mn": st.sampled_from(["88888880000001", "010000A8900016F000169DC0", "", "NM100000_0005", "A-1"]),
        "flag": st.integers(0, 255),
        "pnum": st.integers(1, 9999).map(str),
        "pno": st.integers(1, 9999).map(str),
        "rf": st.just("1"),
        "datatime": _digits(14),
        "cp": st.dictionaries(PLAIN, PLAIN_VALUE, max_size=3),
        "factors": st.dictionaries(
            CODE, st.dictionaries(FIELD, st.one_of(NUMBER, VALUE), min_size=1, max_size=4), max_size=5
        ),
        "crc_dialect": st.sampled_from(DIALECTS),
    },
)

FRAME = FIELDS.map(lambda fields: encode(**fields))

KEYS = [b"0" * 16, bytes(range(16))]

ENCIPHERED = st.builds(
    lambda fields, version, key: encode(**(fields | {"flag": 8 + version}), key=key),
    FIELDS, st.integers(0, 3), st.sampled_from(KEYS),
)  # fmt: skip

DAMAGE = st.sampled_from(
    [b"##", b"#", b"###", b"##0010", b"##9999", b"\r\n", b"\n", b"\r", b"&&", b"&&30C0", b"CP=&&", b"AT+CSQ\r\nOK\r\n",
     b"**", b"\\r\\n", b"##0x63QN=1;CP=&&&&4540\r\n", b"##   76ST=91;CP=&&&&30C0\r\n", b"\xff\xfe##\x00"]
)  # fmt: skip


@st.composite
def _cut_short(draw: st.DrawFn) -> bytes:
    frame = draw(st.one_of(FRAME, ENCIPHERED))
    return frame[: draw(st.integers(0, len(frame)))]


STREAM = st.lists(
    st.one_of(
        FRAME,
        FRAME.map(lambda frame: frame[:-2]),
        ENCIPHERED,
        ENCIPHERED.map(lambda frame: frame[:-2]),
        _cut_short(),
        DAMAGE,
        st.binary(max_size=12),
    ),
    max_size=6,
).map(b"".join)
