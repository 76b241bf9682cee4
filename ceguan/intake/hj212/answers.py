"""The answer a device waits for after it has sent something of its own accord (HJ 212-2017 6.6.4, HJ/T 212-2005 附录C).

| sent                                          | answer                                |
|-----------------------------------------------|---------------------------------------|
| notice: 1013 clock, 1014 key, 2072 alarm (05), 9015 heartbeat (2025) | 9013           |
| interaction 9011–9014                         | none: these are answers themselves    |
| anything else with Flag bit A                 | 9014 (also the vendors' log-in 9021)  |
"""

from __future__ import annotations

from ceguan.intake.hj212.frame import Frame, Head, encode

NOTICES = frozenset({"1013", "1014", "2072", "9015"})
"""2072 is a notice in edition 2005 only; later editions have no 2072."""

_ANSWERS = frozenset({"9011", "9012", "9013", "9014"})


def answer_to(frame: Frame | Head) -> bytes | None:
    """The frame to send back, in the edition and CRC dialect the device speaks; None if it expects none.

    The caller sends it only when what it answers is on disk. A broken frame gets no answer: the device sends it again.
    """
    cn = _answer_code(frame)
    if cn is None:
        return None
    answer = _answer_2005(frame, cn) if frame.edition in (2005, None) else _answer_2017(frame, cn)
    return answer


def _answer_code(frame: Frame | Head) -> str | None:
    if not frame.ok or not frame.cn or frame.cn in _ANSWERS:
        return None
    if frame.cn in NOTICES:
        return "9013"
    return "9014" if isinstance(frame.flag, int) and frame.flag & 1 else None


def _answer_2017(frame: Frame | Head, cn: str) -> bytes:
    """QN of what is answered in the head, empty data area (2017 表C.47–C.50); version bits as the device sent them."""
    version = frame.flag & ~3 if isinstance(frame.flag, int) else 0
    dialect = frame.crc_dialect or "hj212"
    return encode(st="91", cn=cn, qn=frame.qn, pw=frame.pw, mn=frame.mn, flag=version, crc_dialect=dialect)


def _answer_2005(frame: Frame | Head, cn: str) -> bytes:
    """QN of what is answered in the data area; a data answer repeats CN, PNO and PNUM (2005 表C.6)."""
    named = {"QN": frame.qn} | ({"CN": frame.cn, "PNO": frame.pno, "PNUM": frame.pnum} if cn == "9014" else {})
    cp: dict[str, str | list[str]] = {name: value for name, value in named.items() if value is not None}
    return encode(st="91", cn=cn, pw=frame.pw, mn=frame.mn, flag=0, cp=cp, crc_dialect=frame.crc_dialect or "hj212")
