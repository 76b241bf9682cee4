"""The answer a device waits for after it has sent something of its own accord (HJ 212-2017 6.6.4, HJ/T 212-2005 附录C).

| sent                                          | answer                                |
|-----------------------------------------------|---------------------------------------|
| notice: 1013 clock, 1014 key, 2072 alarm (05), 9015 heartbeat (2025) | 9013           |
| interaction 9011–9014                         | none: these are answers themselves    |
| anything else with Flag bit A                 | 9014 (also the vendors' log-in 9021)  |
"""

from __future__ import annotations

from ceguan.intake.hj212.crc import HJ212
from ceguan.intake.hj212.frame import Frame, Head, framed

NOTICES = frozenset({"1013", "1014", "2072", "9015"})
"""2072 is a notice in edition 2005 only; later editions have no 2072."""

ANSWERS = frozenset({"9011", "9012", "9013", "9014"})


def answer_to(frame: Frame | Head) -> bytes | None:
    """The frame to send back, in the edition and CRC dialect the device speaks; None if it expects none.

    The caller sends it only when what it answers is on disk. A broken frame gets no answer: the device sends it again.
    """
    if not frame.ok or not frame.cn or frame.cn in ANSWERS:
        return None
    wanted = isinstance(frame.flag, int) and frame.flag & 1
    cn = "9013" if frame.cn in NOTICES else "9014" if wanted else None
    if cn is None:
        return None
    segment = _segment_2005(frame, cn) if frame.edition in (2005, None) else _segment_2017(frame, cn)
    return framed(segment.encode(), frame.crc_dialect or HJ212)


def _segment_2017(frame: Frame | Head, cn: str) -> str:
    """QN of what is answered in the head, empty data area (2017 表C.47–C.50); version bits as the device sent them."""
    version = frame.flag & ~3 if isinstance(frame.flag, int) else 0
    return (
        f"{_field('QN', frame.qn)}ST=91;CN={cn};{_field('PW', frame.pw)}{_field('MN', frame.mn)}Flag={version};CP=&&&&"
    )


def _segment_2005(frame: Frame | Head, cn: str) -> str:
    """QN of what is answered in the data area; a data answer repeats CN, PNO and PNUM (2005 表C.6)."""
    repeated = _field("QN", frame.qn)
    if cn == "9014":
        repeated += _field("CN", frame.cn) + _field("PNO", frame.pno) + _field("PNUM", frame.pnum)
    return f"ST=91;CN={cn};{_field('PW', frame.pw)}{_field('MN', frame.mn)}Flag=0;CP=&&{repeated.removesuffix(';')}&&"


def _field(name: str, value: str | None) -> str:
    """As it came: what was read from a head holds no separator."""
    return "" if value is None else f"{name}={value};"
