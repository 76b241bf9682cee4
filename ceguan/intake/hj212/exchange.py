"""One exchange with one device as a pure state machine: what happened and when in, what to do out.

    request → 9011 QnRtn → [uploads] → 9012 ExeRtn        notice → 9013
    (HJ 212-2017 6.6.1, 附录C; HJ/T 212-2005 附录C; 2025 as far as known the same)

No answer within the time-out: the same request is sent again, at most ReCount times, then given up. After the 9011
nothing is sent again; each upload that belongs to the request gives the device the time-out anew, and a result that
does not come is a failure. Answers carry the QN of the request in the head (2017, 2025) or in the data area (2005);
what carries another QN belongs to another exchange and changes nothing, nor does anything after the end. Uploads are
acknowledged (9014) where all uploads are: see `answers`.

Times are seconds on any clock that does not go back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ceguan.intake.hj212 import commands, crc
from ceguan.intake.hj212.commands import Command
from ceguan.intake.hj212.frame import Frame, Plain, framed
from ceguan.words import beijing

FLAGS = {"2005": 1, "2017": 5, "2025": 9}
"""Version bits and the wish for an answer (2017 表3; 2025 by four independent programs)."""
LONGEST_SECONDS = 3600.0
"""An accepted request that goes on uploading is given up after this; our own bound, the standard has none."""


class End(StrEnum):
    """How an exchange ended. LOST: the connection went; whether the device acted is not known."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LOST = "lost"


class Send(NamedTuple):
    """Send these bytes; `attempt` counts from 1."""

    data: bytes
    attempt: int


class Accepted(NamedTuple):
    """The device is ready to execute. `code`: QnRtn:1, or "data" when an upload came without a 9011."""

    code: str


class Brought(NamedTuple):
    """An upload that belongs to the request."""

    frame: Frame


class Ended(NamedTuple):
    """The one outcome. `code`: QnRtn:n, ExeRtn:n, or no_answer, no_result, data_only, too_long, noticed, lost."""

    end: End
    code: str


Action = Send | Accepted | Brought | Ended


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of whom. `values`: as `commands.check` gave them, secrets included; `key`: the device's SM4 key."""

    mn: str
    st: str
    pw: str
    qn: str
    command: Command
    values: Mapping[str, str]
    key: bytes | None = None
    crc_dialect: str = crc.HJ212

    def frame(self, now: float) -> bytes:
        """The bytes to send. `now` [UTC epoch s]: the time a 1012 without one sets, also when it is sent again.

        Raises ValueError when the command must be enciphered and the device has no key.
        """
        if self.command.encrypted and self.key is None and "NewSK" in self.values:
            raise ValueError("新密钥须加密下发，设备没有现有密钥")
        values = dict(self.values)
        for token in self.command.tokens:
            if token.name == "SystemTime":
                values.setdefault("SystemTime", f"{beijing(now):%Y%m%d%H%M%S}")
        head = (
            f"QN={self.qn};ST={self.st};CN={self.command.cn};PW={self.pw};MN={self.mn};"
            f"Flag={FLAGS[self.command.edition]};"
        )
        segment = f"{head}CP=&&{commands.area(self.command, values)}&&".encode()
        return framed(segment, self.crc_dialect, self.key if self.command.encrypted else None)


class Exchange:
    """From the first send to the one outcome.

    `over_time` [s] and `re_count`: time-out and number of re-sends; `longest` [s]: bound of an accepted exchange.
    """

    def __init__(self, request: Request, over_time: float, re_count: int, longest: float = LONGEST_SECONDS) -> None:
        self.request = request
        self.sends = 0
        self.uploads = 0
        self.ended: Ended | None = None
        self.due = 0.0
        """When `tick` has something to do."""
        self._accepted = False
        self._over_time, self._re_count, self._longest = over_time, re_count, longest
        self._until = 0.0

    def start(self, at: float, now: float) -> list[Action]:
        """The first send. `at`: on the clock of the time-outs, `now`: what time it is [UTC epoch s]."""
        return [self._send(at, now)]

    def tick(self, at: float, now: float) -> list[Action]:
        """Time has passed: send again, or give up."""
        if self.ended or at < self.due:
            return []
        if not self._accepted:
            return [self._send(at, now)] if self.sends <= self._re_count else self._end(End.TIMEOUT, "no_answer")
        if self.uploads and self.request.command.answer == "one":
            return self._end(End.DONE, "data_only")
        return self._end(End.FAILED, "too_long" if at >= self._until else "no_result")

    def heard(self, frame: Frame, at: float) -> list[Action]:
        """A good frame came from the device, whatever it is."""
        if self.ended or frame.mn not in (self.request.mn, None):
            return []
        if frame.cn == self.request.command.cn:
            return self._upload(frame, at) if self._belongs(frame) else []
        if self.request.qn not in answered(frame):
            return []
        reader = {"9011": self._request_answer, "9012": self._result, "9013": self._notice_answer}.get(frame.cn or "")
        return reader(frame, at) if reader else []

    def lost(self) -> list[Action]:
        """The connection is gone."""
        return [] if self.ended else self._end(End.LOST, "lost")

    def _send(self, at: float, now: float) -> Send:
        self.sends += 1
        self.due = at + self._over_time
        return Send(self.request.frame(now), self.sends)

    def _end(self, end: End, code: str) -> list[Action]:
        self.ended = Ended(end, code)
        return [self.ended]

    def _request_answer(self, frame: Frame, at: float) -> list[Action]:
        """9011. Of several – an answer to each send – the first counts."""
        code = code_of(frame.cp, "QnRtn")
        if self._accepted or not code:
            return []
        return self._accept("QnRtn:1", at) if code == "1" else self._end(End.REFUSED, f"QnRtn:{code}")

    def _result(self, frame: Frame, _: float) -> list[Action]:
        """9012. A device that skips the 9011 has executed all the same."""
        code = code_of(frame.cp, "ExeRtn")
        return self._end(End.DONE if code == "1" else End.FAILED, f"ExeRtn:{code}") if code else []

    def _notice_answer(self, _frame: Frame, _: float) -> list[Action]:
        return self._end(End.DONE, "noticed") if self.request.command.answer == "notice" else []

    def _upload(self, frame: Frame, at: float) -> list[Action]:
        accepted = [] if self._accepted else self._accept("data", at)
        self.uploads += 1
        self.due = min(at + self._over_time, self._until)
        return [*accepted, Brought(frame)]

    def _accept(self, code: str, at: float) -> list[Action]:
        self._accepted = True
        self._until = at + self._longest
        self.due = min(at + self._over_time, self._until)
        return [Accepted(code)]

    def _belongs(self, frame: Frame) -> bool:
        """Whether an upload of the same CN is what was asked for.

        History comes with QNs of its own (2017 表C.47–C.50): it belongs when its time lies in the span asked for, so
        that the device's regular uploads do not count. What starts a stream (2011, 2021) has only results.
        """
        if self.request.command.answer == "one":
            return True
        begin, end = (self.request.values.get(name, "") for name in ("BeginTime", "EndTime"))
        return self.request.command.answer == "many" and begin <= (frame.datatime or "")[:14] <= end


def answered(frame: Frame) -> frozenset[str]:
    """The QNs an answer may mean: that in the head and, as edition 2005 has it, that in the data area."""
    return frozenset(filter(None, (frame.qn, code_of(frame.cp, "QN"))))


def code_of(cp: Plain, name: str) -> str:
    """The first value of the field; a QN has 17 digits, codes have up to three."""
    value = cp.get(name, "")
    return (value[0] if isinstance(value, list) else value).strip()[:20]
