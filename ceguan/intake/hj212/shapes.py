"""Many frames at once by their shape: a frame without what changes in it – digits of QN and DataTime, numbers, CRC.

A device sends the same shape again and again. Of each shape the first frame is read by `decode` and `rows`; of all that
follow a kernel takes only the numbers, after it has compared everything else byte by byte. What is not of this plain
kind (see `Shapes.read`) is said to be so and goes the usual way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceguan.intake.hj212.frame import decode, framed
from ceguan.intake.hj212.readings import Item, rows
from ceguan.intake.hj212.scan import AREA, DIALECT, END, QN, START, as_numbers, compiled, part, scan
from ceguan.words import Kind

NO_TIME = -(1 << 62)
ODD = -1
"""In place of a shape: a frame for the usual way."""
_UNKNOWN = -2
_BY_VALUE = frozenset(("ts_off_grid", "time_after_qn", "min_avg_max", "beyond_format"))
"""Warnings that depend on the numbers of a frame; all others belong to its shape."""
_MOST_SHAPES, _MOST_OF_ONE = 1 << 17, 200
_FAR = 5001  # more than a frame has numbers
_DIGITS = 15  # so many are exact in a float64, and so is their quotient by a power of ten
_TENS = 10.0 ** np.arange(_DIGITS + 1)
_TIME_NAME = np.frombuffer(b"DataTime", np.uint8)
_QN, _DATATIME = re.compile(rb"\AQN=\d{17}"), re.compile(rb"((?:&&|[;,])DataTime=)\d{14}(?=[;,]|\Z)")
_MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


class Shape(NamedTuple):
    """What all frames of a shape have in common. The numbers in `items` are places: 1 = the first number of a frame."""

    mn: str
    cn: str
    kind: Kind
    edition: int | None
    items: list[Item]
    warnings: list[str]


class Plain(NamedTuple):
    """What was read of a run of frames; rows in their order. Times are UTC epoch seconds, NO_TIME for none."""

    shape: NDArray[np.int32]  # number of the shape in `Shapes.known`, ODD for the usual way
    dialect: NDArray[np.int8]  # place in crc.DIALECTS
    moment: NDArray[np.int64]  # DataTime
    sent: NDArray[np.int64]  # QN
    first: NDArray[np.int64]  # where in `numbers` the first number of the frame stands
    amount: NDArray[np.int32]  # how many it has
    numbers: NDArray[np.float64]
    spans: NDArray[np.int32]  # where in the bytes of its frame each number stands


class _Store(NamedTuple):
    """The shapes' texts as the kernel sees them: what stands where, by number, and numbers by hash (-1: none)."""

    texts: NDArray[np.uint8]
    begins: NDArray[np.int64]  # of number n; its end is begins[n + 1]
    slots: NDArray[np.int32]


class Shapes:
    """The shapes met so far. Use from one thread."""

    def __init__(self) -> None:
        self.known: list[Shape | None] = []  # None: frames of this shape go the usual way
        self.generation = 0  # another one: the numbers of before mean nothing any more
        self._begin()

    def _begin(self) -> None:
        self.known.clear()
        self.generation += 1
        self._of_one: Counter[str] = Counter()
        self._store = _Store(np.zeros(1 << 16, np.uint8), np.zeros(257, np.int64), np.full(1024, -1, np.int32))

    def read(self, payloads: Sequence[bytes]) -> Plain:
        """Plain frames: nothing around them, CRC right in some dialect, a usual head (scan.py) with a readable QN or
        none, an area of ASCII pairs with one readable DataTime, at most 15 digits in a number, nothing between // and
        //; an upload of readings. Everything else is ODD."""
        if len(self.known) >= _MOST_SHAPES:
            self._begin()
        ends = np.cumsum(np.fromiter(map(len, payloads), np.int64, len(payloads)))
        buffer = np.frombuffer(b"".join(payloads), np.uint8)
        plain = _empty(len(payloads), len(buffer) // 2 + 1)
        if not len(payloads):
            return plain
        heads = scan(buffer, ends).heads
        begins = np.concatenate(([0], ends[:-1]))
        alone = (heads["start"] == begins[heads["piece"]]) & (heads["end"] == ends[heads["piece"]])
        table = as_numbers(heads[alone & (heads["usual"] == 1)])
        self._work(buffer, table, plain)
        unknown = table[plain.shape[table[:, _PIECE]] == _UNKNOWN]
        if len(unknown):
            self._learn(payloads, unknown[:, _PIECE].tolist(), plain)
            self._work(buffer, unknown, plain)
        odd = np.array([*(shape is None for shape in self.known), True, True])  # the last two: _UNKNOWN, ODD
        plain.shape[odd[plain.shape]] = ODD
        return plain

    def _work(self, buffer: NDArray[np.uint8], heads: NDArray[np.int32], plain: Plain) -> None:
        longest = int((heads[:, END] - heads[:, START]).max(initial=0))
        _read(buffer, heads, np.empty(longest, np.uint8), *self._store, _TENS, _TIME_NAME, _MONTH_DAYS, _AT, *plain)

    def _learn(self, payloads: Sequence[bytes], unknown: list[int], plain: Plain) -> None:
        """Take in the shapes of these frames. A device that has too many of them stays usual from then on."""
        met: set[bytes] = set()
        for number in unknown:
            first = int(plain.first[number])
            spans = plain.spans[first : first + int(plain.amount[number])].tolist()
            text = _without(payloads[number], spans)
            if text not in met:
                met.add(text)
                shape = _shape(payloads[number], spans)
                mn = shape.mn if shape else ""
                self._of_one[mn] += 1
                if self._of_one[mn] <= _MOST_OF_ONE and len(self.known) < _MOST_SHAPES:
                    self._add(text, shape)

    def _add(self, text: bytes, shape: Shape | None) -> None:
        number = len(self.known)
        self.known.append(shape)
        texts, begins, slots = self._store
        end = int(begins[number]) + len(text)
        while len(texts) < end:
            texts = np.concatenate((texts, np.zeros_like(texts)))
        if number + 2 > len(begins):
            begins = np.concatenate((begins, np.zeros_like(begins)))
        texts[int(begins[number]) : end] = np.frombuffer(text, np.uint8)
        begins[number + 1] = end
        first = number
        if 2 * len(self.known) > len(slots):
            slots, first = np.full(2 * len(slots), -1, np.int32), 0
        self._store = _Store(texts, begins, slots)
        _place(*self._store, first, number + 1)


def _empty(frames: int, numbers: int) -> Plain:
    return Plain(
        np.full(frames, ODD, np.int32), np.zeros(frames, np.int8), np.full(frames, NO_TIME), np.full(frames, NO_TIME),
        np.zeros(frames, np.int64), np.zeros(frames, np.int32), np.empty(numbers), np.empty((numbers, 2), np.int32),
    )  # fmt: skip


def _without(payload: bytes, spans: list[list[int]]) -> bytes:
    """A frame as its shape's text: what `_masked` writes."""
    text = bytearray(payload[:-8])
    for begin, end in reversed(spans):
        text[begin:end] = b"\0"
    return _DATATIME.sub(rb"\1\0", _QN.sub(b"QN=\0", bytes(text[6:])))


def _shape(payload: bytes, spans: list[list[int]]) -> Shape | None:
    """What `decode` and `rows` make of the frame when its numbers are 1, 2, 3 …; None for what is no upload.

    None as well where a text is taken for a number (1e3): it would not change with the numbers.
    """
    shape, other = _numbered(payload, spans, 1), _numbered(payload, spans, _FAR)
    if shape is None or other is None:
        return None
    near, far = (np.array([item[1:6] for item in one.items], float) for one in (shape, other))
    return shape if np.array_equal(far, near + (_FAR - 1), equal_nan=True) else None


def _numbered(payload: bytes, spans: list[list[int]], first: int) -> Shape | None:
    parts, at = [], 6
    for number, (begin, end) in enumerate(spans, start=first):
        parts += [payload[at:begin], b"%d" % number]
        at = end
    try:
        frame = decode(framed(b"".join(parts) + payload[at:-6]))
    except ValueError:  # longer than a frame may be
        return None
    upload = rows(frame)
    if not frame.ok or frame.encrypted or upload.kind is None or upload.ts is None or frame.pnum is not None:
        return None
    warnings = [one for one in upload.warnings if one.partition(":")[0] not in _BY_VALUE]
    return Shape(frame.mn or "", frame.cn or "", upload.kind, frame.edition, upload.items, frame.warnings + warnings)


# ── kernels: numba finds the types ────────────────────────────────────────────────────────────────────────────────

_PIECE = 2
_AT = np.array([START, END, AREA, QN, DIALECT, _PIECE])
"""Where in a row of `heads` things stand. Handed over: a cached kernel would not notice a change in scan.py."""
_NO_TIME = NO_TIME


@part
def _two(data, at):
    return (data[at] - 48) * 10 + (data[at + 1] - 48)


@part
def _moment(data, begin, end, size, month_days):
    """UTC epoch seconds of Beijing digits (`size` of them), NO_TIME for what is no time."""
    if end - begin != size:
        return _NO_TIME
    for at in range(begin, end):
        if not 48 <= data[at] <= 57:
            return _NO_TIME
    year = np.int64(_two(data, begin)) * 100 + _two(data, begin + 2)
    month, day = np.int64(_two(data, begin + 4)), np.int64(_two(data, begin + 6))
    hour, minute, second = _two(data, begin + 8), _two(data, begin + 10), _two(data, begin + 12)
    if year < 1 or not 1 <= month <= 12 or day < 1 or hour > 23 or minute > 59 or second > 59:
        return _NO_TIME
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > month_days[month] + (1 if leap else 0):
        return _NO_TIME
    before = year - (1 if month <= 2 else 0)  # days since 1970-01-01 in the Gregorian calendar, years from March
    era_day = (before // 400) * 146097 + (before % 400) * 365 + (before % 400) // 4 - (before % 400) // 100
    days = era_day + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468
    return days * 86400 + np.int64(hour) * 3600 + np.int64(minute) * 60 + np.int64(second) - 28800


@part
def _number(data, begin, end, tens):
    """(whether that is a plain number of at most 15 digits, it)."""
    at, negative = begin, False
    if at < end and data[at] == 45:
        at, negative = at + 1, True
    digits, behind, value, point = 0, 0, np.int64(0), False
    while at < end:
        byte = data[at]
        if byte == 46 and not point and digits:
            point = True
        elif 48 <= byte <= 57:
            value = value * 10 + (byte - 48)
            digits += 1
            behind += 1 if point else 0
            if digits > 15:
                return False, 0.0
        else:
            return False, 0.0
        at += 1
    if digits == 0 or (point and behind == 0):
        return False, 0.0
    number = value / tens[behind]
    return True, -number if negative else number


@part
def _is_flag(data, begin, end):
    """Whether the name ends with Flag or flag: its value is a letter or a digit of the shape, no number."""
    return (
        end - begin >= 4
        and (data[end - 4] | 32) == 102
        and data[end - 3] == 108
        and data[end - 2] == 97
        and data[end - 1] == 103
    )


@part
def _is(data, begin, end, name):
    if end - begin != len(name):
        return False
    for k in range(len(name)):  # noqa: SIM110 numba knows no generators here
        if data[begin + k] != name[k]:
            return False
    return True


@part
def _masked(
    data, head, out, tens, time_name, month_days, places, row, free, moment, sent, first, amount, numbers, spans
):
    """Fill in one row, numbers from place `free` on, and write its shape's text; returns the length of that, -1: odd.

    The text is the segment with a 0 byte in place of what changes, which no plain frame holds otherwise.
    """
    start, end, area, qn = head[places[0]], head[places[1]] - 8, head[places[2]], head[places[3]]
    sent[row] = moment[row] = _NO_TIME
    at, size = start + 6, 0
    if qn >= 0:
        behind = head[places[3] + 1]
        if behind - qn != 17:
            return -1
        sent[row] = _moment(data, qn, behind - 3, 14, month_days)
        if sent[row] == _NO_TIME or not (
            48 <= data[behind - 3] <= 57 and 48 <= data[behind - 2] <= 57 and 48 <= data[behind - 1] <= 57
        ):
            return -1
        while at < qn:
            out[size] = data[at]
            size, at = size + 1, at + 1
        out[size] = 0
        size, at = size + 1, behind
    while at < area:
        if data[at] == 0:
            return -1
        out[size] = data[at]
        size, at = size + 1, at + 1
    first[row] = free
    while at < end:
        name = at
        while at < end and data[at] != 61:
            byte = data[at]
            if byte in (59, 44) or byte == 47 or byte == 0:
                return -1
            out[size] = byte
            size, at = size + 1, at + 1
        if at >= end or at == name:
            return -1
        equals = at
        at += 1
        value = at
        while at < end and data[at] not in (59, 44):
            if data[at] in (61, 47, 0):
                return -1
            at += 1
        out[size] = 61
        size += 1
        plain, number = _number(data, value, at, tens)
        if _is(data, name, equals, time_name):
            if moment[row] != _NO_TIME:
                return -1
            moment[row] = _moment(data, value, at, 14, month_days)
            if moment[row] == _NO_TIME:
                return -1
            out[size] = 0
            size += 1
        elif plain and not _is_flag(data, name, equals):
            numbers[free] = number
            spans[free, 0], spans[free, 1] = value - start, at - start
            free += 1
            out[size] = 0
            size += 1
        else:
            if at - value > 16:
                return -1
            for k in range(value, at):
                out[size] = data[k]
                size += 1
        if at < end:
            out[size] = data[at]
            size, at = size + 1, at + 1
            if at == end:  # a separator with nothing behind it
                return -1
    amount[row] = free - first[row]
    return size if moment[row] != _NO_TIME else -1


@part
def _hash(text, begin, end):
    value = np.uint64(0xCBF29CE484222325)
    for at in range(begin, end):
        value = (value ^ np.uint64(text[at])) * np.uint64(0x100000001B3)
    return value ^ (value >> np.uint64(29))


@part
def _find(text, size, texts, begins, slots):
    slot = np.int64(_hash(text, 0, size) & np.uint64(len(slots) - 1))
    while slots[slot] >= 0:
        number = slots[slot]
        if begins[number + 1] - begins[number] == size:
            same, begin = True, begins[number]
            for k in range(size):
                if texts[begin + k] != text[k]:
                    same = False
                    break
            if same:
                return number
        slot = (slot + 1) & (len(slots) - 1)
    return -2


@compiled("void(u1[::1], i8[::1], i4[::1], i8, i8)")
def _place(texts, begins, slots, first, behind):
    for number in range(first, behind):
        slot = np.int64(_hash(texts, begins[number], begins[number + 1]) & np.uint64(len(slots) - 1))
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = number


@compiled(
    "void(Array(u1, 1, 'C', readonly=True), i4[:, ::1], u1[::1], u1[::1], i8[::1], i4[::1], f8[::1],"
    " Array(u1, 1, 'C', readonly=True), i8[::1], i8[::1],"
    " i4[::1], i1[::1], i8[::1], i8[::1], i8[::1], i4[::1], f8[::1], i4[:, ::1])"
)
def _read(
    data, heads, out, texts, begins, slots, tens, time_name, month_days, places,
    shape, dialect, moment, sent, first, amount, numbers, spans,
):  # fmt: skip
    free = 0
    for k in range(len(heads)):
        head = heads[k]
        row = head[places[5]]
        free = max(free, head[places[0]] // 2)  # so that frames read again do not write over others
        size = _masked(
            data, head, out, tens, time_name, month_days, places, row, free,
            moment, sent, first, amount, numbers, spans,
        )  # fmt: skip
        dialect[row] = head[places[4]]
        shape[row] = -1 if size < 0 else _find(out, size, texts, begins, slots)
