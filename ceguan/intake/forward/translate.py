"""A device's message in the words of another edition: pure, one message in, the frames of one target out.

| differs            | HJ/T 212-2005              | HJ 212-2017      | HJ 212-2025 | source                          |
|--------------------|----------------------------|------------------|-------------|---------------------------------|
| Flag version bits  | 0                          | 1                | 2           | 2017 表3                        |
| factor codes       | three characters, 附录B    | w/a + 5, 附录B   | as 2017     | 2005 附录B, 2017 附录B          |
| PNUM, PNO          | four digits                | as many as needed | as 2017    | 2005 6.3, 2017 表2              |
| RF=1 (re-sent)     | –                          | –                | yes         | 2025, one program               |
| data area          | plain                      | plain            | SM4         | 2025 6.4, see sm4              |
| flags of an air station | 0 1 2 3               | letters          | letters     | 2005 附录, 2017 表8             |

Values keep their text. Only where a code changes its edition and the tables give the two codes different units is a
concentration converted, from the unit confirmed for the device; ng/m³ is left alone, for 表B.2 prints it where nobody
sends it. Where a target expects another unit or code, its own rule says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import NamedTuple

from ceguan.intake.hj212 import sm4
from ceguan.intake.hj212.frame import Factors, Frame, Plain, encode
from ceguan.standards import factors as codes
from ceguan.standards import units
from ceguan.words import Label

EDITIONS = (2005, 2017, 2025)
VERSION = {2005: 0, 2017: 1, 2025: 2}
LARGEST_SEGMENT = 1024
"""Bytes of a data segment (HJ/T 212-2005 6.3.1, HJ 212-2017 表2); what is longer goes in parts."""
_ALL, _SINCE_2017 = frozenset(EDITIONS), frozenset({2017, 2025})
_ONLY_2025, _ONLY_2005 = frozenset({2025}), frozenset({2005})


class Upload(NamedTuple):
    """A kind of upload that can be forwarded, and the editions that know it (HJ 212 表 of commands)."""

    cn: str
    name: Label
    editions: frozenset[int]


UPLOADS = {
    one.cn: one
    for one in (
        Upload("2011", Label("实时数据", "real-time data"), _ALL),
        Upload("2051", Label("分钟数据", "minute data"), _ALL),
        Upload("2061", Label("小时数据", "hourly data"), _ALL),
        Upload("2031", Label("日数据", "daily data"), _ALL),
        Upload("2021", Label("设施运行状态", "state of facilities"), _ALL),
        Upload("2041", Label("设施日运行时间", "running hours of facilities"), _ALL),
        Upload("2081", Label("数采仪开机时间", "start of the logger"), _SINCE_2017),
        Upload("2013", Label("周期仪器原始数据", "raw data of periodic instruments"), _ONLY_2025),
        Upload("2052", Label("单次噪声测量", "single noise measurement"), _ONLY_2025),
        Upload("2062", Label("标样核查数据", "standard-sample checks"), _ONLY_2025),
        Upload("2111", Label("炉膛温度5分钟均值", "furnace temperature, 5-minute mean"), _ONLY_2025),
    )
}
USUAL = ("2011", "2051", "2061", "2031")

_FIELDS = {
    **dict.fromkeys(("Ala", "UpValue", "LowValue", "AlarmTime", "AlarmType"), _ONLY_2005),
    **dict.fromkeys(
        ("SampleType", "CompleteTime", "StandardValue", "SampleRd", "ResultType", "CalibrationType"), _ONLY_2025
    ),
}
"""Fields that only one edition knows; the others are told without them."""
_SCALED = frozenset({"Rtd", "Min", "Avg", "Max"} | {f"Zs{name}" for name in ("Rtd", "Min", "Avg", "Max")})
"""Cou is a total in a unit of its own and stays."""
_AIR_FLAGS = {"0": "C", "2": "D", "3": "N"}
"""Air station of 2005: 0 calibration, 2 abnormal, 3 normal; 1 (weather) has no letter in 2017 and stays as it is."""
_AIR_ST = "22"
_ANSWER, _PARTS = 1, 2
_PLACE_OF_QN = "0" * 17


CAUSES = {
    "bad": Label("坏帧", "bad frame"),
    "key": Label("加密，没有设备的密钥", "enciphered, and no key of the device"),
    "device": Label("未选中或未接入的设备", "device not chosen or not adopted"),
    "cn": Label("未选中的报文种类", "kind of message not chosen"),
    "empty": Label("没有数据", "no data in it"),
    "dialect": Label("CRC 方言未确认", "CRC dialect not confirmed"),
    "future": Label("数据时间不可信", "dated in the future, or not readably"),
    "again": Label("内容相同的重发", "the same again"),
    "edition": Label("{} 在对方的版本中没有对应的上传", "{} has no counterpart in the target's edition"),
    "factors": Label("没有该平台要的因子", "no factor that this platform wants"),
    "unwritable": Label("含分隔符或超长，不能写成报文", "holds separators or is too long to be written"),
}
"""Why something is not forwarded."""


def explain(cause: str) -> Label:
    """The cause in words, with its detail."""
    code, _, detail = cause.partition(":")
    return Label(*(text.format(detail) for text in CAUSES.get(code, Label(f"{code} {{}}", f"{code} {{}}"))))


class Untranslatable(ValueError):
    """The message has no form in the target's edition; `str` of it is a cause, see `explain`."""


class Rule(NamedTuple):
    """What a target calls a factor, and what its values are multiplied by on the way."""

    code: str
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a target wants its frames. `factors`: rules by 2017 code; `others`: whether factors without a rule go too."""

    edition: int = 2017
    password: str = ""
    answers: bool = True
    st: str = ""
    factors: Mapping[str, Rule] = field(default_factory=dict)
    others: bool = True
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message in the target's words, not yet cut into frames."""

    st: str
    cn: str
    mn: str
    datatime: str | None
    cp: Plain
    factors: Factors
    again: bool = False
    pnum: int | None = None
    pno: int | None = None


def outgoing(frame: Frame, wish: Wish, mn: str, confirmed: Mapping[str, str], *, again: bool = False) -> Outgoing:
    """The message as the target should read it. `confirmed`: factor → unit of the device; `again`: RF=1 in 2025.

    Raises Untranslatable for an upload the target's edition does not know and for one of which nothing is wanted.
    """
    upload = UPLOADS.get(frame.cn or "")
    if upload is None or wish.edition not in upload.editions:
        raise Untranslatable(f"edition:{frame.cn}")
    sent = {}
    for code, fields in frame.factors.items():
        rule = _rule(codes.current_code(code), wish)
        if rule is not None:
            sent[rule.code] = _fields(code, fields, rule, frame, wish, confirmed)
    if frame.factors and not sent:
        raise Untranslatable("factors")
    plain: Plain = {name: value for name, value in frame.cp.items() if _known(name, wish.edition)}
    again = (again or frame.rf == "1") and wish.edition == 2025
    return Outgoing(wish.st or frame.st or "", upload.cn, mn, frame.datatime, plain, sent, again)


def cut(message: Outgoing, wish: Wish) -> list[Outgoing]:
    """The message itself if its segment fits, else its parts, cut between factors; plain fields go with the first.

    A single factor that is too long by itself is sent so: it cannot be cut. Raises Untranslatable beyond 9999 bytes.
    """
    if _size(message, wish) <= LARGEST_SEGMENT or len(message.factors) < 2:
        return [message]
    parts: list[Outgoing] = []
    part = replace(message, factors={}, pnum=9999, pno=9999)
    for code, fields in message.factors.items():
        longer = replace(part, factors={**part.factors, code: fields})
        if part.factors and _size(longer, wish) > LARGEST_SEGMENT:
            parts.append(part)
            longer = replace(part, cp={}, factors={code: fields})
        part = longer
    parts.append(part)
    return [replace(one, pnum=len(parts), pno=number) for number, one in enumerate(parts, 1)]


def framed(message: Outgoing, wish: Wish, qn: str) -> bytes:
    """The frame of a message or part. Raises Untranslatable where it cannot be written."""
    parts = message.pnum is not None
    flag = VERSION[wish.edition] << 2 | _ANSWER * wish.answers | _PARTS * parts
    width = 4 if wish.edition == 2005 else 1
    total, number = (f"{count:0{width}d}" if count is not None else None for count in (message.pnum, message.pno))
    try:
        return encode(
            qn=qn, st=message.st, cn=message.cn, pw=wish.password, mn=message.mn, flag=flag, pnum=total, pno=number,
            rf="1" if message.again else None, datatime=message.datatime, cp=message.cp, factors=message.factors,
            key=wish.key if wish.edition == 2025 and sm4.covers(message.cn) else None,
        )  # fmt: skip
    except ValueError as error:
        raise Untranslatable("unwritable") from error  # the value itself is not for the counters


def content(frame: Frame) -> tuple[str, str]:
    """(what the message is about, what it says) – for telling the same message sent again from a changed one."""
    about = "\x1f".join((frame.mn or "", frame.st or "", frame.cn or "", frame.datatime or ""))
    said = repr(
        (sorted(frame.cp.items()), sorted((code, sorted(fields.items())) for code, fields in frame.factors.items()))
    )
    return (about, said) if frame.datatime else (f"{about}\x1f{said}", said)


def _rule(code: str, wish: Wish) -> Rule | None:
    """The code in the target's edition and the factor of its rule; None for a factor the target does not want."""
    rule = wish.factors.get(code)
    if rule is None and not wish.others:
        return None
    if rule is not None and rule.code:
        return rule
    return Rule(codes.old_code(code) if wish.edition == 2005 else code, rule.factor if rule else Decimal(1))


def _fields(
    code: str, fields: Mapping[str, str], rule: Rule, frame: Frame, wish: Wish, confirmed: Mapping[str, str]
) -> dict[str, str]:
    scale = rule.factor * _edition_scale(code, rule.code, confirmed.get(codes.current_code(code), ""))
    told = {}
    for name, text in fields.items():
        name = "Flag" if name == "flag" else name
        if name == "Flag":
            text = _flag(text, frame, wish)
        elif scale != 1 and name in _SCALED:
            text = scaled(text, scale)
        if _known(name, wish.edition):
            told[name] = text
    return told


@lru_cache(maxsize=4096)
def _edition_scale(sent: str, told: str, confirmed: str) -> Decimal:
    """From the unit in which it comes to that of the code in the other edition; 1 where no code changes."""
    if sent == told or codes.current_code(sent) != codes.current_code(told):
        return Decimal(1)
    here, there = codes.find(sent), codes.find(told)
    if here is None or there is None:
        return Decimal(1)
    given = confirmed or here.symbol
    factor = None if "ng/m³" in (given, there.symbol) else units.factor(given, there.symbol)
    return Decimal(1) if factor is None else Decimal(repr(factor))


def _flag(text: str, frame: Frame, wish: Wish) -> str:
    """An air station's digits ↔ letters; any other flag as it is."""
    if frame.st != _AIR_ST:
        return text
    if wish.edition == 2005:
        return {letter: digit for digit, letter in _AIR_FLAGS.items()}.get(text, text)
    return _AIR_FLAGS.get(text, text)


def _known(name: str, edition: int) -> bool:
    return edition in _FIELDS.get(name, _ALL)


def scaled(text: str, factor: Decimal) -> str:
    """The number times the factor, exact and without exponent; a text that is no number as it is."""
    try:
        number = Decimal(text) * factor
    except InvalidOperation:
        return text
    if not number.is_finite():
        return text
    short = f"{number:f}"
    return short.rstrip("0").rstrip(".") if "." in short else short


def _size(message: Outgoing, wish: Wish) -> int:
    """Bytes of the segment."""
    return len(framed(message, replace(wish, key=None), _PLACE_OF_QN)) - 12


Numbering = Callable[[int], Sequence[str]]
"""How many frames → as many QN."""


def frames(message: Outgoing, wish: Wish, number: Numbering) -> list[tuple[str, bytes]]:
    """(QN, frame) of each part."""
    parts = cut(message, wish)
    return [(qn, framed(part, wish, qn)) for qn, part in zip(number(len(parts)), parts, strict=True)]
