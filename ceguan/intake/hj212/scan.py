"""Finds the usual HJ 212 frames of many reads at the speed of memory; what is not usual is left to the `Splitter`.

Usual is what nearly every frame in the field is: `##dddd`, that many bytes with neither a line end nor `##` in them, a
CRC that is right in one of the three dialects, CR LF. Such a frame is proved wherever the splitter would begin one, so
scanning and, from the first unusual byte on, splitting gives to the byte what splitting alone gives (tested).

The kernels are compiled once (`store.kernels`); `warm` does it before anybody waits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.answers import ANSWERS, NOTICES
from ceguan.intake.hj212.splitter import MAX_FRAME, Chunk, Splitter
from ceguan.store.kernels import compiled, part

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

SPAN = ("i4", 2)
HEADS = np.dtype(
    [
        ("start", "i4"), ("end", "i4"), ("piece", "i4"), ("dialect", "i4"), ("usual", "i4"), ("answer", "i4"),
        ("flag", "i4"), ("area", "i4"), ("qn", *SPAN), ("st", *SPAN), ("cn", *SPAN), ("pw", *SPAN), ("mn", *SPAN),
    ]
)  # fmt: skip
"""One row per proved frame, places as offsets into the scanned buffer.

start, end  the frame with its CR LF          piece   which of the pieces it lies in
dialect     place in crc.DIALECTS
usual       1: the fields below hold what `quick_head` would say, nothing else is in the head, and the area is ASCII;
            0: ask `quick_head`
answer      0, 9013 or 9014, what `answers.answer_to` would send
flag        the number, -1 without one        area    first byte of the data area; it ends 8 bytes before `end`
qn … mn     first byte and the one behind the last; (-1, -1) for a field that was not sent
"""
_COLUMNS = HEADS.itemsize // 4
(START, END, PIECE, DIALECT, USUAL, ANSWER, FLAG, AREA, QN, _, ST, _, CN, _, PW, _, MN, _) = range(_COLUMNS)

LONGEST_HEAD = 512
"""Longer heads are left to `quick_head`, so that every answer fits its four length digits."""
NO_HEADS = np.empty(0, HEADS)
_FIRST_STEP, _LAST_STEP = 512, 1 << 16  # bytes given to the splitter at a time: first about one frame
_SHORTEST = 12  # bytes of a frame around nothing

_LF, _CR, _HASH, _BRACE = 10, 13, 35, 123
_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_LFS, _HASHES = np.uint64(0x0A0A0A0A0A0A0A0A), np.uint64(0x2323232323232323)
_CRC = np.array(crc.BY_DISTANCE, np.uint16)  # row k: share of a byte that stands k places before the last
_HEX = np.full(256, 16, np.uint8)
_HEX[np.frombuffer(b"0123456789ABCDEF", np.uint8)] = range(16)
_HEX[np.frombuffer(b"abcdef", np.uint8)] = range(10, 16)
_WORD = np.array([byte < 128 and (chr(byte).isalnum() or chr(byte) in "_-") for byte in range(256)])


def _number(text: str) -> int:
    """Four characters as one number, as `_four` reads them."""
    return int.from_bytes(text.encode(), "big")


_NOTICES = np.array([_number(cn) for cn in sorted(NOTICES)])
_SILENT = np.array([_number(cn) for cn in sorted(ANSWERS)])
_LITERALS = np.frombuffer(b"QN=ST=CN=PW=MN=;Flag=CP=&&ST=91;CN=;", np.uint8)  # places in it: see _read_head, _answers


def as_numbers(heads: NDArray[Any]) -> NDArray[np.int32]:
    """The same rows as kernels take them: one number for each place."""
    return np.ascontiguousarray(heads).view(np.int32).reshape(len(heads), _COLUMNS)


class Scanned(NamedTuple):
    """`heads`: the usual frames, see HEADS. `rests`: where in each piece they stop; its end where all of it was usual.

    `cut`: what stands there is the beginning of a usual frame (or line ends, or nothing) and only waits for more;
    where it is False the rest is a matter for the splitter.
    """

    heads: NDArray[Any]
    rests: Ints
    cut: NDArray[np.bool_]


def scan(
    buffer: bytes | bytearray | memoryview | Bytes,
    ends: Ints | None = None,
    max_frame: int = MAX_FRAME,
    begin: int = 0,
) -> Scanned:
    """The usual frames at the beginning of each piece of the buffer, up to the first byte that is not usual.

    `ends`: where the pieces end, ascending, the last at the end of the buffer; a frame lies within one piece. None: the
    buffer is one piece. `begin`: where the first piece begins. Raises ValueError for a buffer of 2 GiB and more, or
    ends that are none.
    """
    data = as_bytes(buffer)
    limits = np.array([len(data)]) if ends is None else np.ascontiguousarray(ends, np.int64)
    if len(data) >= 1 << 31:
        raise ValueError(f"a buffer of {len(data)} bytes: offsets have 31 bits, scan it in blocks")
    if len(limits) == 0 or limits[-1] != len(data) or not 0 <= begin <= limits[0] or (limits[1:] < limits[:-1]).any():
        raise ValueError("ends: ascending offsets, the last one at the end of the buffer")
    heads = np.empty(
        ((len(data) - begin) // _SHORTEST + 1, _COLUMNS), np.int32
    )  # touched only as far as frames are found
    rests, cut = np.empty(len(limits), np.int64), np.empty(len(limits), np.bool_)
    count = _scan(data, begin, limits, max_frame, _CRC, _HEX, _WORD, _LITERALS, _NOTICES, _SILENT, heads, rests, cut)
    return Scanned(heads[:count].view(HEADS)[:, 0], rests, cut)


def as_bytes(buffer: bytes | bytearray | memoryview | Bytes) -> Bytes:
    """The buffer as an array whose first byte lies on a multiple of eight, as kernels read words; a copy if need be."""
    data = np.frombuffer(buffer, np.uint8) if len(buffer) else np.empty(0, np.uint8)
    return data if data.__array_interface__["data"][0] % 8 == 0 else data.copy()


class Run(NamedTuple):
    """What came next in a stream: first usual frames (`heads` in `buffer`), then what the splitter made of the rest.

    `offset`: place of buffer[0] in the stream. The chunks count from the start of the stream.
    """

    buffer: Bytes
    offset: int
    heads: NDArray[Any]
    chunks: list[Chunk]


class Scanner:
    """A Splitter for reads of any size that leaves to the kernel what is usual: the same frames and noise, in order."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max = max_frame
        self._held = b""  # the beginning of a usual frame
        self._offset = 0  # of _held[0], or of the next read, in the stream
        self._splitter: Splitter | None = None  # at work since something unusual came
        self._since = 0  # stream offset of its first byte

    def feed(self, data: bytes | memoryview) -> list[Run]:
        """What is decided now."""
        buffer, at, runs = as_bytes(self._held + data if self._held else data), 0, []
        while at < len(buffer):
            if self._splitter is None:
                scanned = scan(buffer, None, self._max, at)
                at = int(scanned.rests[0])
                if len(scanned.heads):
                    runs.append(Run(buffer, self._offset, scanned.heads, []))
                if scanned.cut[0]:
                    break
                self._splitter, self._since = Splitter(self._max), self._offset + at
            chunks, fed, held = self._split(self._splitter, buffer, at)
            if chunks:
                runs.append(Run(buffer, self._offset, NO_HEADS, chunks))
            at = fed - len(held)
            if at < 0:  # what is to be scanned now began in an earlier read
                buffer, self._offset, at = as_bytes(held + bytes(buffer[fed:])), self._offset + at, 0
        self._held = bytes(buffer[at:])
        self._offset += at
        return runs

    def close(self) -> list[Run]:
        """Everything left, decided as at the end of the stream."""
        if self._splitter is None:
            self._splitter, self._since = Splitter(self._max), self._offset
        chunks = self._splitter.feed(self._held) + self._splitter.close()
        self._offset += len(self._held)
        self._held, self._splitter = b"", None
        return [Run(as_bytes(b""), self._offset, NO_HEADS, self._placed(chunks))] if chunks else []

    def _split(self, splitter: Splitter, buffer: Bytes, at: int) -> tuple[list[Chunk], int, bytes]:
        """(chunks, how far the buffer has been fed, bytes that are to be scanned before the rest of it)."""
        found: list[Chunk] = []
        step = _FIRST_STEP
        while at < len(buffer):
            block = bytes(buffer[at : at + step])
            at, step = at + len(block), min(2 * step, _LAST_STEP)
            chunks = splitter.feed(block)
            found += self._placed(chunks)
            if chunks and (held := splitter.hand_over()) is not None:
                self._splitter = None
                return found, at, held
        return found, at, b""

    def _placed(self, chunks: list[Chunk]) -> list[Chunk]:
        return [chunk._replace(offset=chunk.offset + self._since) for chunk in chunks]


def answers(buffer: bytes | bytearray | memoryview | Bytes, heads: NDArray[Any]) -> tuple[memoryview, Ints]:
    """All answers one behind the other, to the byte those of `answers.answer_to`, and where each ends, row by row.

    A row with `answer` 0 has none: it ends where the one before ends. `heads`: rows of `scan` over this buffer.
    """
    out = np.empty(len(heads) * (LONGEST_HEAD + 96), np.uint8)
    ends = np.empty(len(heads), np.int64)
    size = _answers(as_bytes(buffer), as_numbers(heads), _CRC, _LITERALS, out, ends)
    return out[:size].data, ends


def warm() -> None:
    """Compile the kernels, or load what was compiled; afterwards no call waits for it."""
    answers(b"", scan(b"").heads)


# ── kernels: numba finds the types ────────────────────────────────────────────────────────────────────────────────


@part
def _folded(data, words, begin, end):
    """XOR of the bytes by address (mod 8), and whether a line feed or a # is among them: eight bytes at a time."""
    lanes, seen = np.uint64(0), False
    first = min((begin + 7) & ~7, end)
    for at in range(begin, first):
        byte = data[at]
        lanes ^= np.uint64(byte) << np.uint64((at & 7) << 3)
        seen |= byte in (_LF, _HASH)
    last = max(end >> 3, first >> 3)
    zero = np.uint64(0)
    for k in range(first >> 3, end >> 3):
        word = words[k]
        lanes ^= word
        feed, mark = word ^ _LFS, word ^ _HASHES
        zero |= ((feed - _ONES) & ~feed) | ((mark - _ONES) & ~mark)
    seen |= (zero & _HIGH) != 0
    for at in range(max(last << 3, first), end):
        byte = data[at]
        lanes ^= np.uint64(byte) << np.uint64((at & 7) << 3)
        seen |= byte in (_LF, _HASH)
    return lanes, seen


@part
def _hj212(lanes, begin, end, table):
    """CRC of HJ 212 from the folded bytes (crc.py); 0xFFFF for none."""
    if begin == end:
        return 0xFFFF
    lanes ^= np.uint64(0xFF) << np.uint64((begin & 7) << 3)
    value = 0
    for distance in range(8):
        value ^= table[distance, (lanes >> np.uint64(((end - 1 - distance) & 7) << 3)) & np.uint64(255)]
    return value


@part
def _modbus(data, begin, end, step):
    value = 0xFFFF
    for at in range(begin, end):
        value = (value >> 8) ^ step[(value ^ data[at]) & 255]
    return value


@part
def _dialect(data, begin, end, lanes, sent, table):
    """Place in crc.DIALECTS, -1 for none; as crc.dialect_of."""
    if _hj212(lanes, begin, end, table) == sent:
        return 0
    value = _modbus(data, begin, end, table[0])
    if value == sent:
        return 1
    return 2 if (value & 255) << 8 | value >> 8 == sent else -1


@part
def _checksum(data, words, begin, end, dialect, table):
    if dialect == 0:
        return _hj212(_folded(data, words, begin, end)[0], begin, end, table)
    value = _modbus(data, begin, end, table[0])
    return value if dialect == 1 else (value & 255) << 8 | value >> 8


@part
def _four(data, at):
    return (
        np.int64(data[at]) << 24 | np.int64(data[at + 1]) << 16 | np.int64(data[at + 2]) << 8 | np.int64(data[at + 3])
    )


@part
def _clean(data, begin, end):
    """Neither a line feed nor ## between."""
    for at in range(begin, end):
        if data[at] == _LF or (data[at] == _HASH and at + 1 < end and data[at + 1] == _HASH):
            return False
    return True


@part
def _plain(data, words, begin, end):
    """Whether an area is ASCII and does not begin like a printed cipher: else its CRC may only happen to fit."""
    high = np.uint64(0)
    first = min((begin + 7) & ~7, end)
    for at in range(begin, first):
        high |= np.uint64(data[at] & 128)
    last = max(end >> 3, first >> 3)
    for k in range(first >> 3, end >> 3):
        high |= words[k]
    for at in range(max(last << 3, first), end):
        high |= np.uint64(data[at] & 128)
    return high & _HIGH == 0 and (begin == end or data[begin] != _BRACE)


@part
def _claimed(data, head, limit, most):
    """Where the claimed segment and its CRC end; 0 if no length stands here, -1 if it is cut off by the limit."""
    length = 0
    for k in range(6):
        if head + k >= limit:
            return -1
        byte = data[head + k]
        if k < 2:
            if byte != _HASH:
                return 0
        elif 48 <= byte <= 57:
            length = length * 10 + (byte - 48)
        else:
            return 0
    return head + 10 + length if length + 10 <= most else 0


@part
def _proved(data, words, head, limit, most, table, hexes):
    """(end of the usual frame at head with its CR LF, dialect); end 0 if there is none, -1 if it is cut off."""
    end = _claimed(data, head, limit, most)
    if end <= 0:
        return end, -1
    if end + 2 > limit:
        waits = (end >= limit or data[end] == _CR) and _clean(data, head + 2, min(end, limit))
        return (-1 if waits else 0), -1
    if data[end] != _CR or data[end + 1] != _LF:
        return 0, -1
    sent = 0
    for at in range(end - 4, end):
        digit = hexes[data[at]]
        if digit == 16:
            return 0, -1
        sent = sent << 4 | digit
    lanes, seen = _folded(data, words, head + 6, end - 4)
    if seen and not _clean(data, head + 6, end - 4):
        return 0, -1
    dialect = _dialect(data, head + 6, end - 4, lanes, sent, table)
    return (end + 2 if dialect >= 0 else 0), dialect


@part
def _stands(data, at, limit, literals, begin, end):
    """Whether literals[begin:end] stands at `at`."""
    if at + end - begin > limit:
        return False
    for k in range(end - begin):  # noqa: SIM110  numba knows no all()
        if data[at + k] != literals[begin + k]:
            return False
    return True


@part
def _read_head(data, begin, end, word, literals, row):
    """Fill in the fields of a usual head (frame._USUAL_HEAD); False if it is none. The segment is data[begin:end]."""
    at, limit = begin, min(end, begin + LONGEST_HEAD)
    for k in range(5):  # QN ST CN PW MN
        place = QN + 2 * k
        row[place] = row[place + 1] = -1
        if not _stands(data, at, limit, literals, 3 * k, 3 * k + 3):
            if k == 0:
                continue
            return False
        at += 3
        row[place] = at
        while at < limit and word[data[at]]:
            at += 1
        row[place + 1] = at
        if k < 4:
            if at >= limit or data[at] != 59:
                return False
            at += 1
    row[FLAG] = -1
    if _stands(data, at, limit, literals, 15, 21):
        at, digits, value = at + 6, 0, 0
        while at < limit and digits < 4 and 48 <= data[at] <= 57:
            value, digits, at = value * 10 + (data[at] - 48), digits + 1, at + 1
        if digits == 0 or digits == 4:
            return False
        row[FLAG] = value
    if at < limit and data[at] == 59:
        at += 1
    row[AREA] = at + 5
    return _stands(data, at, limit, literals, 21, 26) and at + 7 <= end and data[end - 1] == 38 and data[end - 2] == 38


@part
def _answer(data, row, notices, silent):
    """9013, 9014 or 0, as answers.answer_to."""
    begin, end = row[CN], row[CN + 1]
    if end == begin:
        return 0
    if end - begin == 4:
        cn = _four(data, begin)
        for one in silent:
            if cn == one:
                return 0
        for one in notices:
            if cn == one:
                return 9013
    return 9014 if row[FLAG] >= 0 and row[FLAG] & 1 else 0


@compiled(
    "i8(Array(u1, 1, 'C', readonly=True), i8, i8[::1], i8, u2[:, ::1], u1[::1], b1[::1],"
    " Array(u1, 1, 'C', readonly=True), i8[::1], i8[::1], i4[:, ::1], i8[::1], b1[::1])"
)
def _scan(data, begin, ends, most, table, hexes, word, literals, notices, silent, heads, rests, cut):
    words = data[: len(data) & ~7].view(np.uint64)
    at, count = begin, 0
    for piece in range(len(ends)):
        limit = ends[piece]
        while True:
            head = at
            while head < limit and (data[head] == _CR or data[head] == _LF):
                head += 1
            end, dialect = _proved(data, words, head, limit, most, table, hexes)
            if end <= 0:
                break
            row = heads[count]
            row[START], row[END], row[PIECE], row[DIALECT], row[ANSWER] = head, end, piece, dialect, 0
            row[USUAL] = _read_head(data, head + 6, end - 6, word, literals, row) and _plain(
                data, words, row[AREA], end - 8
            )
            if row[USUAL]:
                row[ANSWER] = _answer(data, row, notices, silent)
            at, count = end, count + 1
        rests[piece], cut[piece] = at, end == -1
        at = limit
    return count


@part
def _copy(out, at, source, begin, end):
    for k in range(end - begin):
        out[at + k] = source[begin + k]
    return at + end - begin


@part
def _decimal(out, at, number):
    for unit in (100, 10, 1):
        if number >= unit or unit == 1:
            out[at] = 48 + number // unit % 10
            at += 1
    return at


@part
def _field(out, at, data, row, k, literals):
    """NAME=value; of the k-th of QN ST CN PW MN, nothing if it was not sent."""
    begin, end = row[QN + 2 * k], row[QN + 2 * k + 1]
    if begin < 0:
        return at
    at = _copy(out, at, literals, 3 * k, 3 * k + 3)
    at = _copy(out, at, data, begin, end)
    out[at] = 59
    return at + 1


@part
def _segment(out, at, data, row, literals):
    """answers._segment_2005 or _segment_2017; where it ends."""
    flag = row[FLAG]
    late = flag >> 2 == 1 or flag >> 2 == 2
    if late:
        at = _field(out, at, data, row, 0, literals)
    at = _copy(out, at, literals, 26, 35)  # ST=91;CN=
    at = _decimal(out, at, row[ANSWER] // 1000)
    at = _decimal(out, at, 0)
    at = _decimal(out, at, row[ANSWER] % 100)
    out[at] = 59
    at = _field(out, at + 1, data, row, 3, literals)
    at = _field(out, at, data, row, 4, literals)
    at = _copy(out, at, literals, 16, 21)  # Flag=
    at = _decimal(out, at, flag & ~3 if late else 0)
    out[at] = 59
    at = _copy(out, at + 1, literals, 21, 26)  # CP=&&
    if not late:
        begin = at
        at = _field(out, at, data, row, 0, literals)
        if row[ANSWER] == 9014:
            at = _field(out, at, data, row, 2, literals)
        at -= at > begin
    return _copy(out, at, literals, 24, 26)  # &&


@compiled(
    "i8(Array(u1, 1, 'C', readonly=True), i4[:, ::1], u2[:, ::1], Array(u1, 1, 'C', readonly=True), u1[::1], i8[::1])"
)
def _answers(data, heads, table, literals, out, ends):
    words = out[: len(out) & ~7].view(np.uint64)
    at = 0
    for k in range(len(heads)):
        row = heads[k]
        if row[ANSWER]:
            begin = at + 6
            end = _segment(out, begin, data, row, literals)
            length = end - begin
            out[at] = out[at + 1] = _HASH
            for place in range(4):
                out[at + 5 - place] = 48 + length % 10
                length //= 10
            value = _checksum(out, words, begin, end, row[DIALECT], table)
            for place in range(4):
                digit = (value >> (12 - 4 * place)) & 15
                out[end + place] = 48 + digit + 7 * (digit > 9)
            out[end + 4], out[end + 5] = _CR, _LF
            at = end + 6
        ends[k] = at
    return at
