"""Cuts a byte stream into HJ 212 frames and runs of noise.

A frame is `##` + four digits + that many bytes + four CRC digits + CR LF. Length first: where length and CRC agree the
frame is proved, whatever bytes are in it. Where they do not, line ends and the next `##dddd` delimit, so that noise,
a wrong length or a broken connection never costs more than the frame it hit. Rules, each a function of the stream
alone (what comes out does not depend on how the bytes were chopped into reads):

1. A proved frame lying wholly inside the span another frame claims ends that other frame (it broke off); if it ends
   where that claims to end, only when the other is not proved.
2. A first line that closes with `&&` and a CRC right up to there is a frame, even if its length claims more.
3. At the claimed length: CRC right → a frame with whatever stands for its line end. Or closed with `&&`, four hex
   digits and a line end, the next `##dddd` or the end of the stream: damaged, or enciphered (2025), where the CRC is
   that of the plain text and CR, LF, `&&`, `##` may be among the bytes, so that only the length can delimit.
4. Otherwise the frame runs to its first line end or the next `##dddd`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ceguan.intake.hj212 import crc

MAX_FRAME = 10_015
"""Bytes of the longest frame four length digits can claim: 6 + 9999 + 4 + a tail."""

_TAILS = (b"\\r\\n\r\n", b"**\r\n", b"\\r\\n", b"**", b"\r\n", b"\n", b"\r")
"""What stands for CR LF in the field, longest first: also the four characters \\r\\n and two asterisks."""
_HEAD = re.compile(rb"##\d{4}")
_CLOSING = re.compile(rb"&&[0-9A-Fa-f]{4}")
CLOSED = re.compile(rb"&&([0-9A-Za-z]{4})(?:\*\*|\\r\\n)?\r?\n?\Z")
"""How a whole frame ends, whatever its length says."""


class Chunk(NamedTuple):
    """`offset`: of the first byte in the stream. `frame`: False for noise. `dialect`: set when length and CRC agree."""

    offset: int
    data: bytes
    frame: bool
    dialect: str | None = None


class Splitter:
    """One per connection or file; holds about twice `max_frame` bytes besides what the last `feed` brought.

    Line ends between frames are filler and appear in no chunk; all other bytes appear in exactly one, in order.
    Noise longer than `max_frame` comes in pieces of that size.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max = max_frame
        self._buf = b""
        self._offset = 0  # of _buf[0] in the stream
        self._at = 0  # _buf[:_at] is noise not yet given out
        self._proofs: dict[int, str | None] = {}  # stream offset of a head → CRC dialect at its claimed length
        self._line_failed = -1  # stream offset of the head whose first line is known to be no frame

    @property
    def pending(self) -> int:
        """Bytes held back because what they are is not decided."""
        return len(self._buf)

    @property
    def begun(self) -> int | None:
        """Where in the stream the frame begins that is not decided yet; None when nothing has begun."""
        return self._offset + self._at if self._buf.startswith(b"##", self._at) else None

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that are decided now."""
        self._buf = self._buf + data if self._buf else data
        return self._cut(final=False, quiet=False)

    def settle(self) -> list[Chunk]:
        """Also a proved frame that only waits for its line end: call it when the line has gone quiet."""
        return self._cut(final=False, quiet=True)

    def close(self) -> list[Chunk]:
        """Everything left, decided as at the end of the stream."""
        return self._cut(final=True, quiet=True)

    def hand_over(self) -> bytes | None:
        """The bytes held back, if a new splitter that begins with them would go on the same; then this one is empty.

        None in the middle of noise. For whoever knows a quicker way to read on (scan.py).
        """
        if self._buf[: self._at].strip(b"\r\n"):
            return None
        held, self._offset = self._buf, self._offset + len(self._buf)
        self._buf, self._at = b"", 0
        return held

    def _cut(self, *, final: bool, quiet: bool) -> list[Chunk]:
        out: list[Chunk] = []
        buf, size, start, at = self._buf, len(self._buf), 0, self._at
        while (head := buf.find(b"##", at)) >= 0:
            at = head
            if buf[head + 2 : head + 3] == b"#":  # only the last two of a row of # can begin a frame
                at += 1
                continue
            if head + 6 > size and not final:
                break
            found = self._usual(head) or self._frame(head, final, quiet)
            if found is None:
                break
            end, is_frame, dialect = found
            if is_frame:
                if start < head:
                    self._noise(out, start, head, last=True)
                out.append(Chunk(self._offset + head, buf[head:end], True, dialect))
                start = end
            at = end
        else:
            at = size if final or not buf.endswith(b"#") else max(at, size - 1)
        start = self._noise(out, start, at, last=final)
        self._keep(start, at)
        return out

    def _noise(self, out: list[Chunk], start: int, end: int, *, last: bool) -> int:
        """Give out noise between start and end, the last incomplete piece too if the run ends here; the new start."""
        while end - start >= self._max or (last and start < end):
            piece = self._buf[start : min(end, start + self._max)]
            if piece.strip(b"\r\n"):
                out.append(Chunk(self._offset + start, piece, False))
            start += len(piece)
        return start

    def _keep(self, start: int, at: int) -> None:
        self._buf, self._at = self._buf[start:], at - start
        self._offset += start
        if len(self._proofs) > 64:
            self._proofs = {key: proof for key, proof in self._proofs.items() if key >= self._offset}

    def _usual(self, head: int) -> tuple[int, bool, str | None] | None:
        """What `_frame` says of a proved one-line frame that ends in CR LF; only saves time."""
        buf = self._buf
        end = self._claimed_end(head)
        if end is None or buf[end : end + 2] != b"\r\n":
            return None
        if buf.find(b"\n", head, end) >= 0 or buf.find(b"##", head + 2, end) >= 0:
            return None
        dialect = crc.dialect_of(buf[head + 6 : end - 4], buf[end - 4 : end])
        return (end + 2, True, dialect) if dialect else None

    def _frame(self, head: int, final: bool, quiet: bool) -> tuple[int, bool, str | None] | None:
        """(end, is it a frame, proved dialect) of what begins with ## at `head`; None while undecided."""
        buf, size = self._buf, len(self._buf)
        end = self._claimed_end(head)
        if end is None:
            cut = self._delimited(head, final)
            return None if cut is None else (cut, CLOSED.search(buf, head, cut) is not None, None)
        broken = self._broken_off(head, min(end, size))
        if broken is None and end > size and not final:
            return None
        if broken is None and end <= size:
            dialect = self._proof(head, end)
            if dialect is None and self._inner_frame(head, end):
                broken = self._delimited(head, True)
            elif (tail := self._whole_at(end, dialect is not None, final, quiet)) >= 0:
                return (tail, True, dialect) if tail else None
        cut = broken or self._delimited(head, final)
        return None if cut is None else (cut, True, None)

    def _whole_at(self, end: int, proved: bool, final: bool, quiet: bool) -> int:
        """Rule 3: where the frame ends, its line end included; 0 while undecided, -1 if it is not whole here."""
        buf = self._buf
        if not proved and not _CLOSING.match(buf, end - 6):
            return -1
        tail = _tail_end(buf, end, final or quiet)
        if tail is None:
            return 0
        if proved or tail > end or (quiet and tail == len(buf)) or _HEAD.match(buf, end):
            return tail
        return 0 if _may_be_head(buf[end : end + 6]) and not final else -1

    def _broken_off(self, head: int, limit: int) -> int | None:
        """Where the frame at head stops although its length claims more (rules 1 and 2); None if nothing says so."""
        line, inner = self._line_frame(head, limit), self._inner_frame(head, limit - 1)
        if inner and not (line and line <= inner):
            return self._delimited(head, True)
        return line

    def _claimed_end(self, head: int) -> int | None:
        digits = self._buf[head + 2 : head + 6]
        if len(digits) < 4 or not digits.isdigit() or int(digits) + 10 > self._max:
            return None
        return head + 10 + int(digits)

    def _proof(self, head: int, end: int) -> str | None:
        """Dialect in which the CRC at the claimed end is right; asked once per head, for it costs a pass."""
        key = self._offset + head
        if key not in self._proofs:
            self._proofs[key] = crc.dialect_of(self._buf[head + 6 : end - 4], self._buf[end - 4 : end])
        return self._proofs[key]

    def _inner_frame(self, head: int, limit: int) -> int | None:
        """End of the first proved frame that lies wholly between head and limit, and has no ## within itself."""
        buf, at = self._buf, head + 2
        while (at := buf.find(b"##", at, limit)) >= 0:
            if buf[at + 2 : at + 3] == b"#":
                at += 1
                continue
            following = buf.find(b"##", at + 2, limit)
            end = self._claimed_end(at)
            whole = end is not None and end <= (limit if following < 0 else following)
            if end and whole and buf[end - 6 : end - 4] == b"&&" and self._proof(at, end):
                return end
            at += 2
        return None

    def _line_frame(self, head: int, limit: int) -> int | None:
        """End of the first line before the limit, if the line closes with a CRC that is right."""
        if self._line_failed == self._offset + head:
            return None
        end = self._buf.find(b"\n", head, limit) + 1
        if not end:
            return None
        closed = CLOSED.search(self._buf, head, end)
        if closed and crc.dialect_of(self._buf[head + 6 : closed.start() + 2], closed[1]):
            return end
        self._line_failed = self._offset + head
        return None

    def _delimited(self, head: int, final: bool) -> int | None:
        """Where the first line ends or the next ##dddd begins, else at most max_frame bytes on."""
        buf, size = self._buf, len(self._buf)
        feed = buf.find(b"\n", head, head + self._max)
        limit = feed if feed >= 0 else min(size, head + self._max)
        following = _HEAD.search(buf, head + 2, min(size, limit + 6))
        if following and following.start() < limit:
            return following.start()
        if feed >= 0:
            return feed + 1
        if size >= head + self._max + 6 or final:
            return min(size, head + self._max)
        return None


def _may_be_head(start: bytes) -> bool:
    """Whether less than six bytes may go on to be ##dddd."""
    return len(start) < 6 and b"##".startswith(start[:2]) and (len(start) <= 2 or start[2:].isdigit())


def _tail_end(buf: bytes, end: int, decided: bool) -> int | None:
    """End of the line end that follows a proved frame; None if more of it may come."""
    rest = buf[end : end + 6]
    if rest[:2] == b"\r\n":
        return end + 2
    if not decided and any(len(rest) < len(tail) and tail.startswith(rest) for tail in _TAILS):
        return None
    return end + next((len(tail) for tail in _TAILS if rest.startswith(tail)), 0)
