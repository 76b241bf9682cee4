"""One HJ 212 frame: bytes → fields (`decode`), fields → bytes (`encode`), and a quick look at the head (`quick_head`).

Reading is tolerant: fields are found by name in any order, text may be UTF-8 or GBK, oddities become warnings. But a
frame whose length, CRC or frame of `CP=&&…&&` is wrong is not `ok`, and nothing that is not `ok` may become a reading.
Layout: HJ 212-2017 6.3, HJ/T 212-2005 6.3; Flag: 2017 表3. The JSON of `public` is what
`ceguan hj212 decode` prints.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ceguan.intake.hj212 import crc

ERRORS = ("noise", "truncated", "length", "crc", "syntax")
"""What can be wrong with a piece of the stream, in the order in which one is named when several hold."""

EDITIONS = {0: 2005, 1: 2017, 2: 2025}
"""Version bits V5..V0 of the Flag → edition (HJ 212-2017 表3; 2025 by four independent programs, text not seen)."""

Plain = dict[str, str | list[str]]
Factors = dict[str, dict[str, str]]

_HEAD_NAMES = frozenset({"QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO", "RF"})
_BY_FOLDED = {name.casefold(): name for name in _HEAD_NAMES}
_FIRST_FIELD = re.compile(rb"(?:QN|ST|CN|PW|MN|Flag|PNUM|PNO|CP)=", re.IGNORECASE)
_CLOSED = re.compile(rb"&&([0-9A-Za-z]{4})((?:\*\*|\\r\\n)?\r?\n?)\Z")
_PAIR = re.compile(r"(?:[^;,/]|//.*?//|/)+")  # separators between // and // are text (2017 表C.44: site log)
_SECRET_NAME = re.compile(r"(?:PW|NewSK)\Z", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(PW|NewSK)=[^;,&=]*", re.IGNORECASE)


@dataclass(slots=True)
class Frame:
    """A frame as sent: absent fields are None, empty ones "". `flag` is an int, or the text if that is no number.

    `cp`: the plain fields of the data area (a repeated name gives a list); `factors`: {code: {field: text as sent}}.
    `notes`: oddities met while reading. Edition 2005 puts a request's QN inside `cp`.
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
        return self.notes + _field_case(self.factors) + _flag_oddities(self)

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
            "st": _without_secrets(self.st),
            "cn": _without_secrets(self.cn),
            "mn": _without_secrets(self.mn),
            "qn": _without_secrets(self.qn),
            "flag": _without_secrets(self.flag),
            "pnum": _without_secrets(self.pnum),
            "pno": _without_secrets(self.pno),
            "rf": _without_secrets(self.rf),
            "datatime": _without_secrets(self.datatime),
            "cp": _without_secrets(self.cp),
            "factors": _without_secrets(self.factors),
            "warnings": _without_secrets(self.warnings),
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

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def edition(self) -> int | None:
        return edition_of(self.flag)


def edition_of(flag: int | str | None) -> int | None:
    """The edition a Flag claims; None without a readable one. Devices do lie about it."""
    return EDITIONS.get(flag >> 2) if isinstance(flag, int) else None


def decode(raw: bytes, offset: int = 0, dialect: str | None = None) -> Frame:
    """Read one frame or run of noise. Never raises.

    `dialect`: the CRC dialect where the splitter has already proved length and CRC (Chunk.dialect), saves a pass.
    """
    dialect = dialect or _proved(raw)
    if dialect:
        size = int(raw[2:6])
        frame = Frame(raw, offset, crc_dialect=dialect)
        if raw[size + 10 :] != b"\r\n":
            frame.notes.append("tail_missing" if len(raw) == size + 10 else "tail_odd")
        return _read(frame, raw[6 : size + 6])
    if not raw.startswith(b"##"):
        return Frame(raw, offset, ["noise"])
    segment, dialect, errors = _diagnose(raw)
    return _read(Frame(raw, offset, errors, dialect), segment)


def quick_head(raw: bytes, dialect: str | None = None) -> Head:
    """The head without the data area: for the moment between reading and answering. Never raises.

    `ok` here means the same as in `decode`; `dialect` as there.
    """
    dialect = dialect or _proved(raw)
    area = raw.find(b"CP=&&") if dialect else -1
    if dialect and area > 0 and raw[(end := int(raw[2:6]) + 6) - 2 : end] == b"&&" and end - area >= 7:
        head, flag, _ = _head_fields(_text(raw[6:area])[0])
        error = None
    else:
        frame = decode(raw, 0, dialect)
        return Head(
            *(frame.error, frame.crc_dialect, frame.qn, frame.st, frame.cn, frame.pw),
            *(frame.mn, frame.flag, frame.pnum, frame.pno),
        )
    get = head.get
    return Head(
        *(error, dialect, get("QN"), get("ST"), get("CN"), get("PW")),
        *(get("MN"), flag, get("PNUM"), get("PNO")),
    )


def _proved(raw: bytes) -> str | None:
    """The dialect if the length is right and the CRC there too."""
    digits = raw[2:6]
    if not raw.startswith(b"##") or len(digits) < 4 or not digits.isdigit():
        return None
    end = int(digits) + 6
    return crc.dialect_of(raw[6:end], raw[end : end + 4]) if len(raw) >= end + 4 else None


def _diagnose(raw: bytes) -> tuple[bytes, str | None, list[str]]:
    """(segment as far as it can be told, CRC dialect, errors) of a frame that is not right at its claimed length."""
    claimed = int(raw[2:6]) if len(raw) >= 6 and raw[2:6].isdigit() else None
    first = _FIRST_FIELD.search(raw, 2, 24)
    start = first.start() if first else 6
    closed = _CLOSED.search(raw)
    if closed:
        segment = raw[start : closed.start() + 2]
        dialect = crc.dialect_of(segment, closed[1])
        wrong_length = start != 6 or claimed != len(segment)
        return segment, dialect, ["length"] * wrong_length + ["crc"] * (dialect is None)
    return _diagnose_open(raw.rstrip(b"\r\n"), start, claimed, raw.endswith((b"\r", b"\n")))


def _diagnose_open(body: bytes, start: int, claimed: int | None, ended: bool) -> tuple[bytes, str | None, list[str]]:
    """The same for a frame that does not close with && and four digits; `ended`: a line end followed."""
    length, missing_crc = len(body) - 6, re.search(rb"&&[0-9A-Za-z]{0,3}\Z", body)
    if ended and missing_crc and missing_crc.start() >= start + 5:
        segment = body[start : missing_crc.start() + 2]
        return segment, None, ["length"] * (claimed != len(segment)) + ["crc"]
    if ended and (dialect := crc.dialect_of(body[start:-4], body[-4:])):
        return body[start:-4], dialect, ["length"]
    if claimed is None:
        return body[start:], None, ["length", "crc"]
    if length < claimed + 4:
        return body[start:], None, ["truncated"]
    return body[start:-4], None, ["length"] * (length != claimed + 4) + ["crc"]


def _read(frame: Frame, segment: bytes) -> Frame:
    """Fill in what the segment holds; adds the error `syntax` if its data area is not `CP=&&…&&`."""
    text, encoding = _text(segment)
    if encoding:
        frame.notes.append(f"encoding_{encoding}")
    opening = text.find("CP=&&")
    closed = opening >= 0 and text.endswith("&&") and len(text) >= opening + 7
    if not closed and "truncated" not in frame.errors:
        frame.errors.append("syntax")
    fields, frame.flag, notes = _head_fields(text[:opening] if opening >= 0 else text.partition("&&")[0])
    frame.notes += notes
    get = fields.get
    frame.qn, frame.st, frame.cn, frame.pw, frame.mn = get("QN"), get("ST"), get("CN"), get("PW"), get("MN")
    if len(fields) > 6:
        frame.pnum, frame.pno, frame.rf = get("PNUM"), get("PNO"), get("RF")
    area = text[opening + 5 : -2 if closed else None] if opening >= 0 else text.partition("&&")[2].removesuffix("&&")
    if area:
        _read_area(frame, area)
    return frame


def _text(segment: bytes) -> tuple[str, str]:
    """(text, "" or the name of an encoding other than UTF-8)."""
    for encoding, name in (("utf-8", ""), ("gb18030", "gbk")):
        try:
            return segment.decode(encoding), name
        except UnicodeDecodeError:
            continue
    return segment.decode("latin-1"), "unknown"


def _head_fields(text: str) -> tuple[dict[str, str], int | str | None, list[str]]:
    """(fields by name, Flag, warnings) of the part before CP=."""
    parts = text.removesuffix(";").split(";")
    notes: list[str] = []
    try:
        fields = dict([part.split("=", 1) for part in parts])
    except ValueError:
        fields = {}
    if len(fields) != len(parts) or not fields.keys() <= _HEAD_NAMES or "," in text:
        fields, notes = _untidy_head(text)
    sent = fields.get("Flag")
    if sent and len(sent) < 4 and sent.isascii() and sent.isdigit():
        return fields, int(sent), notes
    return fields, sent, notes + ["flag_unreadable"] * bool(sent)


def _untidy_head(text: str) -> tuple[dict[str, str], list[str]]:
    """Head fields parted by commas, named in another case, repeated (the first one holds), or not known."""
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


def _read_area(frame: Frame, area: str) -> None:
    """Plain fields, DataTime and factors of the data area. Of a field sent twice for a factor the last one holds."""
    pairs = _PAIR.findall(area) if "//" in area else area.removesuffix(";").replace(",", ";").split(";")
    blanks = " " in area
    factors = frame.factors
    last: str | None = None
    values: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if blanks:
            name = name.strip()
        code, dash, part = name.partition("-")
        if not dash:
            if name:
                _add_plain(frame, name, value)
        else:
            if code != last:
                last = code
                values = factors.setdefault(code, {})
            values[part] = value
    if area.count("=") != len(pairs) or blanks or sum(map(len, factors.values())) + len(frame.cp) + 1 != len(pairs):
        frame.notes += _oddities(pairs)


def _add_plain(frame: Frame, name: str, value: str) -> None:
    if name.casefold() == "datatime" and frame.datatime is None:
        frame.datatime = value
        frame.notes += ["field_name_case"] * (name != "DataTime")
        return
    before = frame.cp.get(name)
    if before is None:
        frame.cp[name] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        frame.cp[name] = [before, value]


def _oddities(pairs: Iterable[str]) -> list[str]:
    """Warnings about the form of `name=value` pairs, in their order."""
    notes: list[str] = []
    seen: set[str] = set()
    for pair in pairs:
        sent, equals, value = pair.partition("=")
        name = sent.strip()
        notes += [f"no_value:{name}"] * (not equals and bool(name)) + [f"glued:{name}"] * ("=" in value)
        notes += [f"repeated:{name}"] * (name in seen and "-" in name) + ["blanks"] * (" " in sent)
        notes += ["empty_item"] * (not pair.strip())
        seen.add(name)
    return list(dict.fromkeys(notes))


def _field_case(factors: Factors) -> list[str]:
    return ["field_name_case"] * any("flag" in values for values in factors.values())


def _flag_oddities(frame: Frame) -> list[str]:
    """Version bits nobody knows, and the bit for parts without PNUM/PNO."""
    if not isinstance(frame.flag, int):
        return []
    return ["flag_version"] * (frame.flag >> 2 not in EDITIONS) + ["flag_without_parts"] * (
        bool(frame.flag & 2) and (frame.pnum is None or frame.pno is None)
    )


def _without_secrets(value: Any) -> Any:
    """The same without fields that hold passwords or keys, also where such a field is glued into a text."""
    if isinstance(value, dict):
        return {
            _without_secrets(name): _without_secrets(inner)
            for name, inner in value.items()
            if not _SECRET_NAME.search(name)
        }
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return _SECRET_TEXT.sub(r"\1=***", value) if isinstance(value, str) and "=" in value else value


_VALUE = re.compile(r"(?://(?:(?!//|&&|\r|\n).)*//|[^;,&=\r\n])*")
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
) -> bytes:
    """The frame of these fields, CR LF included; fields that are None are left out.

    All editions share this form; what differs (Flag, width of MN, place of a request's QN) is in the arguments.
    Raises ValueError for a value that holds a separator (text between // and // may), and for more than 9999 bytes.
    """
    head = (("QN", qn), ("ST", st), ("CN", cn), ("PW", pw), ("MN", mn), ("Flag", flag))
    parts = (("PNUM", pnum), ("PNO", pno), ("RF", rf))
    named = [f"{name}={_checked(str(value))}" for name, value in head + parts if value is not None]
    items = [f"DataTime={_checked(datatime)}"] if datatime is not None else []
    for name, sent in (cp or {}).items():
        if "-" in name or name.casefold() == "datatime":
            raise ValueError(f"a plain field cannot be called {name!r}: that is DataTime or a factor's field")
        items += [f"{_named(name)}={_checked(value)}" for value in (sent if isinstance(sent, list) else [sent])]
    items += [",".join(_factor(code, values)) for code, values in (factors or {}).items()]
    segment = f"{';'.join(named)};CP=&&{';'.join(items)}&&".encode()
    if len(segment) > 9999:
        raise ValueError(f"a segment of {len(segment)} bytes does not fit into four length digits: send it in parts")
    return b"##%04d%b%b\r\n" % (len(segment), segment, crc.checksum(segment, crc_dialect))


def _factor(code: str, values: Mapping[str, str]) -> list[str]:
    if "-" in code or not values:
        raise ValueError(f"factor {code!r} needs a code without '-' and at least one field")
    return [f"{_named(code)}-{_named(name)}={_checked(value)}" for name, value in values.items()]


def _named(name: str) -> str:
    if not _NAME.fullmatch(name) or "//" in name:
        raise ValueError(f"{name!r} cannot be a name in HJ 212: it is empty or holds a separator")
    return name


def _checked(value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{value!r} holds a separator of HJ 212 (; , = & or a line end)")
    return value
