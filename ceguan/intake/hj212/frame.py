"""One HJ 212 frame: bytes → fields (`decode`), fields → bytes (`encode`), and a quick look at the head (`quick_head`).

Reading is tolerant: fields are found by name in any order, text may be UTF-8 or GBK, oddities become warnings. But a
frame whose length, CRC or frame of `CP=&&…&&` is wrong is not `ok`, and nothing that is not `ok` may become a reading.
An enciphered data area (edition 2025, see `sm4`) is read with the key; without it the frame has the error `encrypted`.
Layout: HJ 212-2017 6.3, HJ/T 212-2005 6.3; Flag: 2017 表3. The JSON of `public` is what
`ceguan hj212 decode` prints.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ceguan.intake.hj212 import crc, sm4
from ceguan.intake.hj212.splitter import CLOSED, Chunk

ERRORS = ("noise", "truncated", "length", "crc", "encrypted", "syntax")
"""What can be wrong with a piece of the stream, in the order in which one is named when several hold.

`crc` stands before `length` where four hexadecimal digits stand at the claimed length (see `_digits_at`).

`encrypted`: a data area that is no text and opens with none of the keys at hand, in a frame that is of edition 2025 or
whose CRC only happens to fit; the true CRC is made over the plain text and cannot be checked.
"""

EDITIONS = {0: 2005, 1: 2017, 2: 2025}
"""Version bits V5..V0 of the Flag → edition (HJ 212-2017 表3; 2025 by four independent programs, text not seen)."""

Plain = dict[str, str | list[str]]
Factors = dict[str, dict[str, str]]
_Layout = tuple[tuple[tuple[str | None, str], ...], tuple[str, ...]]

_BY_FOLDED = {name.casefold(): name for name in ("QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO", "RF")}
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_FIRST_FIELD = re.compile(rb"(?:QN|ST|CN|PW|MN|Flag|PNUM|PNO|CP)=", re.IGNORECASE)
_USUAL_HEAD = re.compile(
    r"(?:QN=([\w-]*);)?ST=([\w-]*);CN=([\w-]*);PW=([\w-]*);MN=([\w-]*)(?:;Flag=(\d{1,3}))?;?", re.ASCII
)  # only speeds up what _head_fields does
_PAIR = re.compile(r"(?:[^;,/]|//.*?//|/)+")  # separators between // and // are text (2017 表C.44: site log)
_COMMA_AS_SEMICOLON = bytes.maketrans(b",", b";")
_MARK_AS_SEMICOLON = bytes.maketrans(b",=", b";;")
_NO_MARK = bytes(byte for byte in range(256) if byte not in b"=;,")
_LAYOUTS: dict[tuple[str, ...], _Layout] = {}
_BRACE = ord("{")  # ASCII that does not begin with it is no ciphertext: saves a look
_MOST_LAYOUTS, _LONGEST_LAYOUT = 1024, 256
_SECRET_NAME = re.compile(r"(?:PW|NewSK)\Z", re.IGNORECASE)
_SECRET_BYTES = re.compile(rb"((?:PW|NewSK)=)([^;,&\r\n]+)", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(PW|NewSK)=[^;,&=]*", re.IGNORECASE)


@dataclass(slots=True)
class Frame:
    """A frame as sent: absent fields are None, empty ones "". `flag` is an int, or the text if that is no number.

    `cp`: the plain fields of the data area (a repeated name gives a list); `factors`: {code: {field: text as sent}}.
    `encrypted`: the data area came enciphered, opened or not. `notes`: oddities met while reading.
    Edition 2005 puts a request's QN inside `cp`.
    """

    raw: bytes
    offset: int = 0
    errors: list[str] = field(default_factory=list)
    crc_dialect: str | None = None
    qn: str | None = None
    st: str | None = None
    cn: str | None = None
    pw: str | None = None
    mn: str | None = None
    flag: int | str | None = None
    pnum: str | None = None
    pno: str | None = None
    rf: str | None = None
    datatime: str | None = None
    cp: Plain = field(default_factory=dict)
    factors: Factors = field(default_factory=dict)
    encrypted: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.errors

    @property
    def error(self) -> str | None:
        return self.errors[0] if self.errors else None

    @property
    def edition(self) -> int | None:
        return edition_of(self.flag)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def warnings(self) -> list[str]:
        """What a reader should know though the frame may be right, e.g. `glued:w20143-Flag`."""
        return self.notes + _flag_oddities(self)

    def public(self) -> dict[str, Any]:
        """The JSON object of `ceguan hj212 decode`. PW, NewPW and NewSK are left out wherever they stand."""
        return {
            "ok": self.ok,
            "error": self.error,
            "errors": self.errors,
            "offset": self.offset,
            "sha256": self.sha256,
            "crc_dialect": self.crc_dialect,
            "edition": self.edition,
            "encrypted": self.encrypted,
            "st": without_secrets(self.st),
            "cn": without_secrets(self.cn),
            "mn": without_secrets(self.mn),
            "qn": without_secrets(self.qn),
            "flag": without_secrets(self.flag),
            "pnum": without_secrets(self.pnum),
            "pno": without_secrets(self.pno),
            "rf": without_secrets(self.rf),
            "datatime": without_secrets(self.datatime),
            "cp": without_secrets(self.cp),
            "factors": without_secrets(self.factors),
            "warnings": without_secrets(self.warnings),
        }


class Head(NamedTuple):
    """What routing and answering need of a frame; the fields mean the same as in Frame."""

    error: str | None
    crc_dialect: str | None
    qn: str | None
    st: str | None
    cn: str | None
    pw: str | None
    mn: str | None
    flag: int | str | None
    pnum: str | None
    pno: str | None
    encrypted: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def edition(self) -> int | None:
        return edition_of(self.flag)


def edition_of(flag: int | str | None) -> int | None:
    """The edition a Flag claims; None without a readable one. Devices do lie about it."""
    return EDITIONS.get(flag >> 2) if isinstance(flag, int) else None


def decode(raw: bytes, offset: int = 0, dialect: str | None = None, key: sm4.Key | None = None) -> Frame:
    """Read one frame or run of noise. No input raises; a key that is not 16 bytes is a ValueError.

    `dialect`: the CRC dialect where the splitter has already proved length and CRC (Chunk.dialect), saves a pass.
    `key`: opens an enciphered data area; a look-up is asked for the frame's MN, and only then.
    """
    dialect = dialect or _proved(raw)
    if dialect:
        end = int(raw[2:6]) + 6
        frame = Frame(raw, offset, crc_dialect=dialect)
        if raw[end + 4 :] != b"\r\n":
            frame.notes.append("tail_missing" if len(raw) == end + 4 else "tail_odd")
        return _read(frame, raw[6:end], raw[end : end + 4], key)
    if not raw.startswith(b"##") or not (raw[2:6].isdigit() or CLOSED.search(raw)):
        return Frame(raw, offset, ["noise"])
    segment, digits, dialect, errors = _diagnose(raw)
    return _read(Frame(raw, offset, errors, dialect), segment, digits, key)


def of_chunk(chunk: Chunk, key: sm4.Key | None = None) -> Frame:
    """Read what the splitter cut; `key` as in `decode`."""
    if chunk.frame:
        return decode(chunk.data, chunk.offset, chunk.dialect, key)
    return Frame(chunk.data, chunk.offset, ["noise"])


def quick_head(raw: bytes, dialect: str | None = None, key: sm4.Key | None = None) -> Head:
    """The head without the data area: for the moment between reading and answering.

    `ok` means the same as in `decode`; `dialect`, `key` and what raises as there.
    """
    dialect = dialect or _proved(raw)
    if dialect:
        segment = raw[6 : int(raw[2:6]) + 6]
        opening = segment.find(b"CP=&&")
        usual = _USUAL_HEAD.fullmatch(segment[:opening].decode("latin-1")) if _closes(segment, opening) else None
        if usual:
            qn, st, cn, pw, mn, flag = usual.groups()
            if (segment.isascii() and segment[opening + 5] != _BRACE) or _is_text(segment[opening + 5 : -2]):
                return Head(None, dialect, qn, st, cn, pw, mn, flag if flag is None else int(flag), None, None)
    frame = decode(raw, 0, dialect, key)
    return Head(
        *(frame.error, frame.crc_dialect, frame.qn, frame.st, frame.cn, frame.pw),
        *(frame.mn, frame.flag, frame.pnum, frame.pno, frame.encrypted),
    )


def _proved(raw: bytes) -> str | None:
    """The dialect if the length is right and the CRC there too."""
    digits = raw[2:6]
    if not raw.startswith(b"##") or len(digits) < 4 or not digits.isdigit():
        return None
    end = int(digits) + 6
    return crc.dialect_of(raw[6:end], raw[end : end + 4]) if len(raw) >= end + 4 else None


def _diagnose(raw: bytes) -> tuple[bytes, bytes, str | None, list[str]]:
    """(segment, CRC digits as far as they can be told, CRC dialect, errors) of a frame not right as it claims to be."""
    claimed = int(raw[2:6]) if len(raw) >= 6 and raw[2:6].isdigit() else None
    first = _FIRST_FIELD.search(raw, 2, 24)
    start = first.start() if first else 6
    closed = CLOSED.search(raw)
    if closed:
        start = 6 if closed.start() - 4 == claimed else start
        segment = raw[start : closed.start() + 2]
        dialect = crc.dialect_of(segment, closed[1])
        errors = ["length"] * (start != 6 or claimed != len(segment)) + ["crc"] * (dialect is None)
        return segment, closed[1], dialect, errors[::-1] if _digits_at(raw, claimed) else errors
    return _diagnose_open(raw.rstrip(b"\r\n"), start, claimed, raw.endswith((b"\r", b"\n")))


def _digits_at(raw: bytes, claimed: int | None) -> bool:
    """Whether a CRC may stand where the length says: where both are wrong, then it is the first to be named.

    By the letter (6.3.1) those four characters are the CRC; only where they are none the length must be wrong.
    """
    return claimed is not None and _HEX.fullmatch(raw, 6 + claimed, 10 + claimed) is not None


def _diagnose_open(
    body: bytes, start: int, claimed: int | None, ended: bool
) -> tuple[bytes, bytes, str | None, list[str]]:
    """The same for a frame that does not close with && and four digits; `ended`: a line end followed."""
    length, missing_crc = len(body) - 6, re.search(rb"&&[0-9A-Za-z]{0,3}\Z", body)
    if ended and missing_crc and missing_crc.start() >= start + 5:
        segment = body[start : missing_crc.start() + 2]
        return segment, b"", None, ["length"] * (claimed != len(segment)) + ["crc"]
    if ended and (dialect := crc.dialect_of(body[start:-4], body[-4:])):
        return body[start:-4], body[-4:], dialect, ["length"]
    if claimed is None or length < claimed + 4:
        return body[start:], b"", None, ["truncated"]
    return body[start:-4], body[-4:], None, ["length"] * (length != claimed + 4) + ["crc"]


def _closes(segment: bytes, opening: int) -> bool:
    """Whether the data area that opens with CP=&& (-1: nowhere) ends with && of its own."""
    return opening >= 0 and segment.endswith(b"&&") and len(segment) >= opening + 7


def _read(frame: Frame, segment: bytes, digits: bytes, key: sm4.Key | None) -> Frame:
    """Fill in what the segment holds; adds the error `syntax` if its data area is not `CP=&&…&&`."""
    opening = segment.find(b"CP=&&")
    if _closes(segment, opening):
        head, area = segment[:opening], segment[opening + 5 : -2]
    else:
        if "truncated" not in frame.errors:
            frame.errors.append("syntax")
        head, _, area = segment.partition(b"CP=&&" if opening >= 0 else b"&&")
        area = area.removesuffix(b"&&")
    _read_head(frame, head)
    if not ((area.isascii() and area[:1] != b"{") or _is_text(area)) or (key is not None and "crc" in frame.errors):
        area = _opened(frame, segment, digits, key) if _closes(segment, opening) else _left_closed(frame, area)
    if area:
        _read_area(frame, area)
    return frame


def _opened(frame: Frame, segment: bytes, digits: bytes, key: sm4.Key | None) -> bytes:
    """The plain area if one of the keys opens it; sets the errors, for the CRC is that of the plain segment.

    A key is right when what it gives is text. If it is text but its CRC is wrong, the frame is damaged.
    """
    before, opening, area = segment.partition(b"CP=&&")
    area = area[:-2]
    printed = sm4.unprinted(area)
    found = [sm4.decipher(area if printed is None else printed, one) for one in _keys(key, frame.mn)]
    texts = [(crc.dialect_of(before + opening + plain + b"&&", digits), plain) for plain in found if _is_text(plain)]
    dialect, plain = max(texts, key=lambda text: text[0] is not None, default=(None, b""))
    known = texts or printed is not None or not frame.errors or frame.edition == 2025
    if dialect is None and (_is_text(area) or not known):
        return area
    cause = [] if dialect else ["crc"] if texts else ["encrypted"]
    frame.notes += ["cipher_printed"] * (printed is not None)
    frame.errors = [error for error in frame.errors if error != "crc"] + cause
    frame.encrypted, frame.crc_dialect = True, dialect
    return plain


def _is_text(area: bytes) -> bool:
    return not sm4.looks_enciphered(area)


def _left_closed(frame: Frame, area: bytes) -> bytes:
    """Nothing, if that is ciphertext cut short: garbled fields must not be read."""
    frame.encrypted = frame.edition == 2025 and not _is_text(area)
    return b"" if frame.encrypted else area


def _keys(key: sm4.Key | None, mn: str | None) -> Iterable[bytes]:
    return () if key is None else key(mn or "") if callable(key) else (key,)


def _read_head(frame: Frame, head: bytes) -> None:
    usual = _USUAL_HEAD.fullmatch(head.decode("latin-1"))
    if usual:
        frame.qn, frame.st, frame.cn, frame.pw, frame.mn, flag = usual.groups()
        frame.flag = flag if flag is None else int(flag)
        return
    text, encoding = _text(head)
    fields, notes = _head_fields(text)
    get = fields.get
    frame.qn, frame.st, frame.cn, frame.pw, frame.mn = get("QN"), get("ST"), get("CN"), get("PW"), get("MN")
    frame.pnum, frame.pno, frame.rf = get("PNUM"), get("PNO"), get("RF")
    if (frame.pnum is not None or frame.pno is not None) and not is_part(frame.pno, frame.pnum):
        notes.append("part_number")
    frame.flag = flag = fields.get("Flag")
    digits = (flag or "").strip(" ")
    if 0 < len(digits) < 4 and digits.isascii() and digits.isdigit():
        frame.flag = int(digits)
        notes += ["blanks"] * (digits != flag)
    elif flag:
        notes.append("flag_unreadable")
    frame.notes += notes + [f"encoding_{encoding}"] * bool(encoding)


def _text(segment: bytes) -> tuple[str, str]:
    """(text, "" or the name of an encoding other than UTF-8)."""
    for encoding, name in (("utf-8", ""), ("gb18030", "gbk")):
        try:
            return segment.decode(encoding), name
        except UnicodeDecodeError:
            continue
    return segment.decode("latin-1"), "unknown"


def _head_fields(text: str) -> tuple[dict[str, str], list[str]]:
    """Fields by name and warnings; in any order, parted by commas, named in another case, repeated, not known."""
    fields: dict[str, str] = {}
    notes = ["head_separator"] if "," in text else []
    for part in re.split("[;,]+", text):
        sent, equals, value = part.partition("=")
        name = _BY_FOLDED.get(sent.strip().casefold())
        if not equals or name is None:
            notes += [f"head_unknown:{sent}"] * bool(part.strip())
        elif name in fields:
            notes.append(f"head_repeated:{name}")
        else:
            fields[name] = value
            notes += ["field_name_case"] * (sent.strip() != name) + ["blanks"] * (sent != sent.strip())
    return fields, notes


def _read_area(frame: Frame, area: bytes) -> None:
    """Plain fields, DataTime and factors of the data area. Of a field sent twice for a factor the last one holds."""
    marks = area.translate(_COMMA_AS_SEMICOLON, _NO_MARK)
    if marks == b"=;" * (len(marks) >> 1) + b"=" and b"//" not in area:
        text, encoding = _text(area.translate(_MARK_AS_SEMICOLON))
        flat = text.split(";")
        names, values = tuple(flat[::2]), flat[1::2]
    else:
        text, encoding = _text(area)
        names, values = _untidy_area(frame, text)
    if encoding:
        frame.notes.append(f"encoding_{encoding}")
    targets, notes = _LAYOUTS.get(names) or _layout(names)
    last: object = frame  # no code at all: "" is one, of an item such as -Rtd=1
    factors = frame.factors
    fields: dict[str, str] = {}
    for (code, name), value in zip(targets, values):  # noqa: B905 as long as one another; strict costs
        if code is last:
            fields[name] = value
        elif code is None:
            _add_plain(frame, name, value)
        else:
            last = code
            if code in factors:
                fields = factors[code]
                fields[name] = value
            else:
                factors[code] = fields = {name: value}
    if notes:
        frame.notes += notes


def _untidy_area(frame: Frame, text: str) -> tuple[tuple[str, ...], list[str]]:
    """Names and values where items are empty or glued, lack a value, or hold text with separators between // and //."""
    pairs = [pair.partition("=") for pair in (_PAIR.findall(text) if "//" in text else re.split("[;,]", text))]
    frame.notes += [f"no_value:{name}" for name, equals, _ in pairs if name.strip() and not equals]
    frame.notes += [f"glued:{name}" for name, _, value in pairs if "=" in value and not value.startswith("//")]
    pairs = [pair for pair in pairs if pair[0].strip()]
    return tuple(name for name, _, _ in pairs), [value for _, _, value in pairs]


def _layout(names: tuple[str, ...]) -> _Layout:
    """What the names of a data area mean; kept, for a device sends the same names again and again."""
    tidy = ["DataTime" if name.strip().casefold() == "datatime" else name.strip() for name in names]
    cut = [name.partition("-") for name in tidy]
    targets = [(sys.intern(code), part) if dash else (None, code) for code, dash, part in cut]
    seen: set[str] = set()
    repeated = [name for name in tidy if "-" in name and (name in seen or seen.add(name))]  # type: ignore[func-returns-value]
    notes = [f"repeated:{name}" for name in repeated] + ["blanks"] * any(" " in name for name in names)
    cased = any(part == "flag" for _, _, part in cut) or any(a != b.strip() for a, b in zip(tidy, names, strict=True))
    notes += ["field_name_case"] * cased
    layout = tuple(targets), tuple(notes)
    if len(_LAYOUTS) >= _MOST_LAYOUTS:
        _LAYOUTS.clear()
    if len(names) <= _LONGEST_LAYOUT:
        _LAYOUTS[names] = layout
    return layout


def _add_plain(frame: Frame, name: str, value: str) -> None:
    if name == "DataTime" and frame.datatime is None:
        frame.datatime = value
        return
    before = frame.cp.get(name)
    if before is None:
        frame.cp[name] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        frame.cp[name] = [before, value]


def _flag_oddities(frame: Frame) -> list[str]:
    """Version bits nobody knows, the bit for parts without PNUM/PNO or the reverse."""
    if not isinstance(frame.flag, int):
        return []
    sent, parts = frame.pnum is not None or frame.pno is not None, bool(frame.flag & 2)
    return (
        ["flag_version"] * (frame.flag >> 2 not in EDITIONS)
        + ["flag_without_parts"] * (parts and not sent)
        + ["parts_without_flag"] * (sent and not parts)
    )


def is_part(pno: str | None, pnum: str | None) -> bool:
    """Whether that is a part of a message: 1 ≤ PNO ≤ PNUM ≤ 9999, in up to eight digits each."""
    digits = all(text and len(text) <= 8 and text.isascii() and text.isdigit() for text in (pno, pnum))
    return digits and 1 <= int(pno or 0) <= int(pnum or 0) <= 9999


def without_secrets(value: Any) -> Any:
    """The same without fields that hold passwords or keys, also where such a field is glued into a text."""
    if isinstance(value, dict):
        return {
            without_secrets(name): without_secrets(inner)
            for name, inner in value.items()
            if not _SECRET_NAME.search(name)
        }
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return _SECRET_TEXT.sub(r"\1=***", value) if isinstance(value, str) and "=" in value else value


def masked(content: bytes) -> bytes:
    """The same length, with every password and key as asterisks."""
    return _SECRET_BYTES.sub(lambda match: match[1] + b"*" * len(match[2]), content)


_VALUE = re.compile(r"(?:[^;,&=\r\n/]|/(?!/)|//(?:(?!//|&&|\r|\n).)*+//)*+")  # no two ways to match: no backtracking
_NAME = re.compile(r"[^;,&=\r\n\s]+")


def encode(
    *,
    st: str,
    cn: str,
    mn: str | None = None,
    qn: str | None = None,
    pw: str | None = None,
    flag: int | str | None = None,
    pnum: int | str | None = None,
    pno: int | str | None = None,
    rf: str | None = None,
    datatime: str | None = None,
    cp: Mapping[str, str | list[str]] | None = None,
    factors: Mapping[str, Mapping[str, str]] | None = None,
    crc_dialect: str = crc.HJ212,
    key: bytes | None = None,
) -> bytes:
    """The frame of these fields, CR LF included; fields that are None are left out.

    All editions share this form; what differs (Flag, width of MN, place of a request's QN) is in the arguments.
    `key`: enciphers the data area (edition 2025; `sm4.covers` says which CN are to be).
    Raises ValueError for a value that holds a separator (text between // and // may), for more than 9999 bytes, and
    for a key that is not 16 bytes.
    """
    head = (("QN", qn), ("ST", st), ("CN", cn), ("PW", pw), ("MN", mn), ("Flag", flag))
    parts = (("PNUM", pnum), ("PNO", pno), ("RF", rf))
    named = [_pair(name, str(value)) for name, value in head + parts if value is not None]
    items = [_pair("DataTime", datatime)] if datatime is not None else []
    for name, sent in (cp or {}).items():
        if "-" in name or name.casefold() == "datatime":
            raise ValueError(f"cp 中不能有 {name!r}：DataTime 与因子的字段另有位置（datatime、factors）")
        items += [_pair(_named(name), value) for value in (sent if isinstance(sent, list) else [sent])]
    items += [",".join(_factor(code, values)) for code, values in (factors or {}).items()]
    return framed(f"{';'.join(named)};CP=&&{';'.join(items)}&&".encode(), crc_dialect, key)


def framed(segment: bytes, crc_dialect: str = crc.HJ212, key: bytes | None = None) -> bytes:
    """The plain segment with ##, length, CRC and CR LF around it; with a key its data area enciphered.

    Raises ValueError for more than 9999 bytes, for a key that is not 16 bytes, and where there is no area for the key.
    """
    if len(segment) > 9999:
        raise ValueError(f"数据段 {len(segment)} 字节，四位长度写不下：请分包发送")
    digits = crc.checksum(segment, crc_dialect)
    return b"##%04d%b%b\r\n" % (len(segment), segment if key is None else _enciphered(segment, key), digits)


def _enciphered(segment: bytes, key: bytes) -> bytes:
    start = segment.find(b"CP=&&") + 5
    if not _closes(segment, start - 5):
        raise ValueError("没有 CP=&&…&& 的数据段不能加密")
    return segment[:start] + sm4.encipher(segment[start:-2], key) + b"&&"


def _factor(code: str, values: Mapping[str, str]) -> list[str]:
    if "-" in code or not values:
        raise ValueError(f"因子 {code!r}：编码不能含“-”，且至少有一个字段")
    return [_pair(f"{_named(code)}-{_named(name)}", value) for name, value in values.items()]


def _named(name: str) -> str:
    if not _NAME.fullmatch(name) or "//" in name:
        raise ValueError(f"{name!r} 不能作 HJ 212 的字段名：为空，或含有分隔符、空白")
    return name


def _pair(name: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        shown = "" if _SECRET_NAME.search(name) else f"={value!r}"
        raise ValueError(f"{name}{shown}：含有 HJ 212 的分隔符（; , = & 换行，或不成对的 //）")
    return f"{name}={value}"
