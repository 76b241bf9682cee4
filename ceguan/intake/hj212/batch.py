"""HJ 212 bytes → columns: one row for each value that a factor's field brings, as Arrow record batches.

What is usual (scan.py) is read by a kernel; a frame or a stretch of noise that is not goes through `Splitter` and
`decode`, and its rows stand where they belong: the columns are to the last bit those of the slow way (tested).
Frames that are not `ok` bring no rows; they are counted.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from ceguan.intake.hj212 import sm4
from ceguan.intake.hj212.crc import DIALECTS
from ceguan.intake.hj212.frame import Frame, decode, framed, of_chunk
from ceguan.intake.hj212.readings import KINDS, parse_time
from ceguan.intake.hj212.scan import AREA, CN, END, MN, START, USUAL, Run, Scanner, as_numbers
from ceguan.intake.hj212.splitter import MAX_FRAME
from ceguan.store.kernels import compiled, part

_NAMES = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("device", _NAMES),  # MN as sent; null where none was
        pa.field("time", pa.int64()),  # DataTime as UTC epoch seconds; null where none can be read
        pa.field("kind", pa.int8()),  # words.Kind by CN; null for other commands
        pa.field("factor", _NAMES),  # code as sent
        pa.field("field", _NAMES),  # Rtd, Avg, ZsAvg …; null: the factor came with nothing but its Flag
        pa.field("value", pa.float64()),  # null where what was sent is no finite number
        pa.field("text", pa.string()),  # as sent, where it is no finite number or has more than 15 digits
        pa.field("flag", _NAMES),  # Flag of the factor in this frame; null where none was sent
        pa.field("offset", pa.int64()),  # of the frame in the stream
    ]
)
"""One row per (frame, factor, field). Of a field sent twice for a factor the last value holds, as in `decode`."""

BLOCK = 1 << 18
"""Bytes that are read together: small enough for the processor's cache."""
_LEAST_ROOM = 1 << 12
_BYTES_PER_ROW = 24  # of the densest usual frames; memory that is not written to costs nothing
_MOST_NAMES = 1 << 16
_DIGITS = 15  # so many are exact in a float64, and so is their quotient by a power of ten (both below 2**53)
_NO_TIME = -(1 << 62)
_DONE, _SLOW, _NEW_DEVICE, _NEW_NAME, _NEW_FLAG, _FULL = range(6)
_PLAIN, _TIME, _ODD = -1, -2, -3  # in place of a factor
_FLAG_FIELD = -2  # in place of a field
_FLAG_NAMES = ("Flag", "flag")  # both are met; the first counts
_LONGEST_NAME = 64
_ZEROS, _LOW, _HIGH, _ABOVE_NINE = (np.uint64(0x0101010101010101 * byte) for byte in (0x30, 0x7F, 0x80, 0x76))
_PAIRS, _JOIN_HIGH, _JOIN_LOW = np.uint64(0xFF000000FF), np.uint64(0xF424000000064), np.uint64(0x271000000001)
_TENS = 10.0 ** np.arange(_DIGITS + 1)
_KIND_CN = np.array([int.from_bytes(cn.encode(), "little") for cn in KINDS])
_KIND_CODE = np.array([int(kind) for kind in KINDS.values()], np.int8)


class Stream:
    """Reads of any size in, columns out. `feed` what comes, `take` what is decided so far, `close` at the end.

    `counts`: frames (good ones), bad (frames that are not ok), noise (runs of bytes that are no frame), rows, slow
    (frames that had to go the slow way), bytes.
    """

    def __init__(self, max_frame: int = MAX_FRAME, room: int = 0, key: sm4.Key | None = None) -> None:
        """`room`: how many rows are expected before the first `take`; more may come. `key` as in `decode`."""
        self.counts: Counter[str] = Counter()
        self._scanner = Scanner(max_frame)
        self._waiting: list[bytes | memoryview] = []
        self._size = 0
        self._key = key
        self._rows = _Rows(max(room, _LEAST_ROOM), key)

    def feed(self, data: bytes | memoryview) -> None:
        """Small reads are gathered, large ones read in blocks; nothing of `data` is needed after `take`."""
        self.counts["bytes"] += len(data)
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= BLOCK:
            self._work()

    def take(self) -> pa.RecordBatch:
        """The rows of all frames decided since the last time."""
        self._work()
        batch = self._rows.batch()
        self.counts["rows"] += batch.num_rows
        return batch

    def close(self) -> pa.RecordBatch:
        """What is left, decided as at the end of the stream."""
        self._work()
        for run in self._scanner.close():
            self._run(run)
        return self.take()

    def _work(self) -> None:
        data = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting, self._size = [], 0
        view = memoryview(data)
        for at in range(0, len(view), BLOCK):
            for run in self._scanner.feed(view[at : at + BLOCK]):
                self._run(run)

    def _run(self, run: Run) -> None:
        slow, bad = self._rows.add_usual(run)
        self.counts.update(frames=len(run.heads) - bad, bad=bad, slow=slow)
        for chunk in run.chunks:
            frame = of_chunk(chunk, self._key)
            self.counts["frames" if frame.ok else "bad" if chunk.frame else "noise"] += 1
            self.counts["slow"] += chunk.frame
            self._rows.add(frame)


def table(data: bytes | memoryview) -> pa.Table:
    """All rows of a recorded stream."""
    stream = Stream(room=len(data) // _BYTES_PER_ROW)
    stream.feed(data)
    return pa.Table.from_batches([stream.close()])


class _KeyArrays(NamedTuple):
    """`_Keys` as the kernel sees them. slots: number by hash, -1 for none; begins, sizes: by number, in `words` and in
    bytes; short: a key of less than 16 bytes and the = behind it as two words, and their masks."""

    slots: NDArray[np.int32]
    begins: NDArray[np.int32]
    sizes: NDArray[np.int32]
    words: NDArray[np.uint64]
    short: NDArray[np.uint64]


class _Places(NamedTuple):
    """Where in a row of `heads` things stand. Handed over: a cached kernel would not notice a change in scan.py."""

    start: int
    end: int
    usual: int
    area: int
    cn: int
    mn: int


class _Known(NamedTuple):
    """What the kernel knows of the names it has met, by number of the device or the name."""

    device_code: NDArray[np.int32]
    meaning: NDArray[np.int32]  # factor and field of a name
    flag_code: NDArray[np.int32]  # by letter, -1 for one not met yet
    follow: NDArray[np.int32]  # by name + 1: the name that came behind it last time
    name_seen: NDArray[np.int64]  # serial number of the last frame that had it
    factor_seen: NDArray[np.int64]


class _Columns(NamedTuple):
    """The columns of SCHEMA while they grow, text apart."""

    device: NDArray[Any]
    time: NDArray[Any]
    kind: NDArray[Any]
    factor: NDArray[Any]
    field: NDArray[Any]
    value: NDArray[Any]
    flag: NDArray[Any]
    offset: NDArray[Any]


_COLUMN_KINDS = ("i4", "i8", "i1", "i4", "i4", "f8", "i4", "i8")


class _Keys:
    """Byte strings by number, found by open addressing and compared in words of eight bytes."""

    def __init__(self) -> None:
        self.count, self._end = 0, 0
        self.arrays = _KeyArrays(
            np.full(256, -1, np.int32), np.zeros(128, np.int32), np.zeros(128, np.int32), np.zeros(1024, np.uint64),
            np.zeros((128, 4), np.uint64),
        )  # fmt: skip

    def add(self, key: bytes) -> int:
        """The number of a key that is not there yet."""
        number, size = self.count, -(-len(key) // 8)
        if number == len(self.arrays.begins) or self._end + size > len(self.arrays.words):
            self._make_room(self._end + size)
        arrays = self.arrays
        arrays.words[self._end : self._end + size] = np.frombuffer(key.ljust(8 * size, b"\0"), np.uint64)
        arrays.begins[number], arrays.sizes[number] = self._end, len(key)
        if len(key) < 16:
            pattern, mask = key + b"=", b"\xff" * (len(key) + 1)
            arrays.short[number] = np.frombuffer(pattern.ljust(16, b"\0") + mask.ljust(16, b"\0"), np.uint64)
        _place(arrays, number, number + 1)
        self._end, self.count = self._end + size, number + 1
        return number

    def _make_room(self, end: int) -> None:
        slots, begins, sizes, words, short = self.arrays
        if self.count == len(begins):
            slots = np.full(2 * len(slots), -1, np.int32)
            begins, sizes, short = _doubled(begins), _doubled(sizes), _doubled(short)
            _place(_KeyArrays(slots, begins, sizes, words, short), 0, self.count)
        self.arrays = _KeyArrays(slots, begins, sizes, _reaching(words, end, 0), short)


class _Names:
    """A dictionary column in the making: names by code, in the order in which they were met."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def code(self, name: str | None) -> int:
        return -1 if name is None else self._codes.setdefault(name, len(self._codes))

    def column(self, codes: NDArray[np.int32]) -> pa.DictionaryArray:
        nulls = len(codes) and codes.min() < 0
        column = pa.array(codes, mask=codes < 0) if nulls else pa.array(codes)
        return pa.DictionaryArray.from_arrays(column, pa.array(self._codes, pa.string()), safe=False)


class _Vocabulary:
    """The names met so far."""

    def __init__(self) -> None:
        self.devices, self.factors, self.fields, self.flags = _Names(), _Names(), _Names(), _Names()
        self.device_keys, self.name_keys = _Keys(), _Keys()
        self.serial = 0
        self.known = _Known(
            np.zeros(128, np.int32), np.zeros((128, 2), np.int32), np.full(256, -1, np.int32),
            np.full(129, -1, np.int32), np.zeros(128, np.int64), np.zeros(128, np.int64),
        )  # fmt: skip

    @property
    def full(self) -> bool:
        """Whether a hostile stream makes it grow beyond measure."""
        sizes = map(len, (self.devices, self.factors, self.fields, self.flags))
        return max(*sizes, self.device_keys.count, self.name_keys.count) > _MOST_NAMES

    def learn(self, reason: int, met: bytes) -> None:
        """Take in what the kernel met for the first time."""
        if reason == _NEW_DEVICE:
            number = self.device_keys.add(met)
            if number == len(self.known.device_code):
                self.known = self.known._replace(device_code=_doubled(self.known.device_code))
            self.known.device_code[number] = self.devices.code(met.decode("ascii"))
        elif reason == _NEW_NAME:
            number, (factor, field) = self.name_keys.add(met), self._meaning(met)
            self.known = self.known._replace(
                meaning=_reaching(self.known.meaning, number, 0),
                follow=_reaching(self.known.follow, number + 1, -1),
                name_seen=_reaching(self.known.name_seen, number, 0),
                factor_seen=_reaching(self.known.factor_seen, factor, 0),
            )
            self.known.meaning[number] = factor, field
        elif reason == _NEW_FLAG:
            self.known.flag_code[met[0]] = self.flags.code(met.decode("ascii"))

    def _meaning(self, name: bytes) -> tuple[int, int]:
        """Codes of factor and field of a name in the data area: what `decode` makes of it.

        A name with blanks is left to `decode`: it means the same as another name, which may stand beside it.
        """
        if name != b"".join(name.split()):
            return _ODD, 0
        frame = decode(framed(b"ST=22;CN=2011;PW=;MN=;CP=&&%b=1&&" % name))
        for code, (field, *_) in frame.factors.items():
            if field == _FLAG_NAMES[0]:
                return self.factors.code(code), _FLAG_FIELD
            return (_ODD, 0) if field in _FLAG_NAMES else (self.factors.code(code), self.fields.code(field))
        return (_TIME if frame.datatime else _ODD if b"-" in name else _PLAIN), 0


class _Rows:
    """The columns while they grow."""

    def __init__(self, room: int, key: sm4.Key | None) -> None:
        self._names, self._key = _Vocabulary(), key
        self._allot(room)

    def _allot(self, capacity: int) -> None:
        self._count, self._texts = 0, dict[int, str]()
        self._columns = _Columns(*(np.empty(capacity, kind) for kind in _COLUMN_KINDS))
        self._hard = np.empty((capacity, 3), np.int64)  # row, first byte and end of what the kernel took for no number

    def _widen(self) -> None:
        self._columns = _Columns(*map(_doubled, self._columns))
        self._hard = np.empty((len(self._columns.value), 3), np.int64)

    def add_usual(self, run: Run) -> tuple[int, int]:
        """The rows of all `heads` of a run; how many frames went the slow way, and how many of them were not ok."""
        heads, names = as_numbers(run.heads), self._names
        state, slow, bad, reason = np.zeros(6, np.int64), 0, 0, _FULL
        while reason != _DONE:
            state[1:4] = self._count, 0, names.serial
            reason = _decode(
                *(run.buffer, run.offset, heads, state, names.device_keys.arrays, names.name_keys.arrays, names.known),
                *(_Places(START, END, USUAL, AREA, CN, MN), _KIND_CN, _KIND_CODE, self._columns, self._hard),
            )
            self._count, names.serial = int(state[1]), int(state[3])
            for row, begin, end in self._hard[: state[2]].tolist():
                self._columns.value[row] = self._number(row, run.buffer[begin:end].tobytes().decode("ascii"))
            if reason == _FULL:
                self._widen()
            elif reason == _SLOW or (reason == _NEW_NAME and names.name_keys.count > _MOST_NAMES):
                head, slow = run.heads[state[0]], slow + 1
                raw = run.buffer[head["start"] : head["end"]].tobytes()
                frame = decode(raw, run.offset + int(head["start"]), DIALECTS[head["dialect"]], self._key)
                self.add(frame)
                bad += not frame.ok
                state[0] += 1
            else:
                names.learn(reason, run.buffer[state[4] : state[5]].tobytes())
        return slow, bad

    def add(self, frame: Frame) -> None:
        """The rows of one frame, the slow way; none if it is not ok."""
        if not frame.ok or not frame.factors:
            return
        names, time = self._names, parse_time(frame.datatime)
        kind = int(KINDS.get(frame.cn or "", -1))
        fixed = names.devices.code(frame.mn), _NO_TIME if time is None else time, kind
        for code, fields in frame.factors.items():
            factor = names.factors.code(code)
            flag = names.flags.code(next((fields[name] for name in _FLAG_NAMES if name in fields), None))
            for name, text in _values(fields):
                if self._count == len(self._hard):
                    self._widen()
                number = math.nan if text is None else self._number(self._count, text)
                row = (*fixed, factor, names.fields.code(name), number, flag, frame.offset)
                for column, one in zip(self._columns, row, strict=True):
                    column[self._count] = one
                self._count += 1

    def _number(self, row: int, text: str) -> float:
        """The number, NaN for none; keeps the text where the number does not say it all."""
        try:
            number = float(text) if "_" not in text else math.nan
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or sum(map(str.isdigit, text)) > _DIGITS:
            self._texts[row] = text
        return number if math.isfinite(number) else math.nan

    def batch(self) -> pa.RecordBatch:
        """What has come since the last time."""
        names, count = self._names, self._count
        device, time, kind, factor, field, value, flag, offset = (column[:count] for column in self._columns)
        columns = [
            names.devices.column(device),
            _nullable(time, time == _NO_TIME),
            _nullable(kind, kind < 0),
            names.factors.column(factor),
            names.fields.column(field),
            _nullable(value, np.isnan(value)),
            _text_column(self._texts, count),
            names.flags.column(flag),
            pa.array(offset),
        ]
        self._allot(max(_LEAST_ROOM, count + count // 4))
        if names.full:
            self._names = _Vocabulary()
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _values(fields: dict[str, str]) -> list[tuple[str | None, str | None]]:
    """Fields of a factor that get a row; a factor with nothing but its Flag gets one without a field."""
    return [(name, text) for name, text in fields.items() if name not in _FLAG_NAMES] or [(None, None)]


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    wider = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    wider[: len(array)] = array
    return wider


def _reaching(array: NDArray[Any], place: int, empty: int) -> NDArray[Any]:
    """The array, made so long that it has the place."""
    while place >= len(array):
        begin, array = len(array), _doubled(array)
        array[begin:] = empty
    return array


def _nullable(column: NDArray[Any], null: NDArray[np.bool_]) -> pa.Array:
    return pa.array(column, mask=null) if null.any() else pa.array(column)


def _text_column(texts: dict[int, str], count: int) -> pa.Array:
    if not texts:
        return pa.nulls(count, pa.string())
    places = np.full(count, len(texts))
    places[list(texts)] = range(len(texts))
    return pa.array([*texts.values(), None], pa.string()).take(pa.array(places))


# ── kernels: numba finds the types ────────────────────────────────────────────────────────────────────────────────


_I1, _I4, _I8, _F8 = (kind[::1] for kind in (types.i1, types.i4, types.i8, types.f8))
_KEYS = types.NamedTuple((_I4, _I4, _I4, types.u8[::1], types.u8[:, ::1]), _KeyArrays)

_PLACES = types.NamedUniTuple(types.i8, 6, _Places)
_KNOWN = types.NamedTuple((_I4, types.i4[:, ::1], _I4, _I4, _I8, _I8), _Known)
_COLUMNS = types.NamedTuple((_I4, _I8, _I1, _I4, _I4, _F8, _I4, _I8), _Columns)


def _load(bits: int) -> Any:
    def typed(context, data, at):
        def generated(context, builder, signature, args):
            array = context.make_array(signature.args[0])(context, builder, args[0])
            place = builder.gep(array.data, [args[1]])
            word = builder.load(builder.bitcast(place, ir.IntType(bits).as_pointer()))
            word.align = 1
            return builder.zext(word, ir.IntType(64)) if bits < 64 else word

        return (types.int64 if bits < 64 else types.uint64)(data, types.int64), generated

    return intrinsic(typed)


_byte: Any = _load(8)
"""_byte(data, at): for a place that is known to lie in the array; spares the test for places counted from the end."""
_eight: Any = _load(64)
"""_eight(data, at): eight bytes from `at` on as one number, the first one lowest; all must lie in the array.

Behind the data area of a frame eight bytes follow (&&, CRC, CR LF), so every key and value in it may be read so."""


def _count_zeros(context, word):
    def generated(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generated


_zeros: Any = intrinsic(_count_zeros)
"""_zeros(word): how many zero bits stand below the lowest one; 64 if there is none."""


@part
def _mixed(hashed, word):
    hashed = (hashed ^ word) * np.uint64(0x9E3779B97F4A7C15)
    return hashed ^ (hashed >> np.uint64(32))


@part
def _mask(size):
    """Of the last word of a key."""
    return ~np.uint64(0) >> np.uint64((-size & 7) << 3)


@compiled(types.void(_KEYS, types.i8, types.i8))
def _place(keys, first, behind):
    """Put the keys first … behind-1 into the slots."""
    for number in range(first, behind):
        hashed = np.uint64(keys.sizes[number])
        for k in range((keys.sizes[number] + 7) >> 3):
            hashed = _mixed(hashed, keys.words[keys.begins[number] + k])
        slot = np.int64(hashed & np.uint64(len(keys.slots) - 1))
        while keys.slots[slot] >= 0:
            slot = (slot + 1) & (len(keys.slots) - 1)
        keys.slots[slot] = number


@part
def _stands(data, at, size, words, begin):
    """Whether the key of that size in `words` stands at `at`."""
    for k in range(size >> 3):
        if _eight(data, at + 8 * k) != words[begin + k]:
            return False
    rest = size & 7
    return rest == 0 or (_eight(data, at + size - rest) & _mask(size)) == words[begin + (size >> 3)]


@part
def _follows(data, at, number, short):
    """Whether the short key and a = stand at `at`."""
    if at + 16 > len(data) or short[number, 2] == 0:
        return False
    odd = (_eight(data, at) ^ short[number, 0]) & short[number, 2]
    return (odd | ((_eight(data, at + 8) ^ short[number, 1]) & short[number, 3])) == 0


@part
def _find(data, at, end, keys):
    """The number of the key data[at:end], -1 if it is not known."""
    size = end - at
    hashed = np.uint64(size)
    for k in range(size >> 3):
        hashed = _mixed(hashed, _eight(data, at + 8 * k))
    if size & 7:
        hashed = _mixed(hashed, _eight(data, at + (size & ~7)) & _mask(size))
    slot = np.int64(hashed & np.uint64(len(keys.slots) - 1))
    while keys.slots[slot] >= 0:
        number = keys.slots[slot]
        if keys.sizes[number] == size and _stands(data, at, size, keys.words, keys.begins[number]):
            return number
        slot = (slot + 1) & (len(keys.slots) - 1)
    return -1


@part
def _ends(byte):
    return byte in (59, 44)  # ; ,


@part
def _name_end(data, at, end):
    """Where the = after a name stands; -1 for what is no plain name of ordinary length."""
    limit = min(end, at + _LONGEST_NAME)
    for place in range(at, limit):
        byte = data[place]
        if byte == 61:
            return place if place > at else -1
        if byte >= 128 or _ends(byte) or (byte == 47 and data[place + 1] == 47):
            return -1
    return -1


@part
def _value_end(data, at, end):
    """Where a value ends; -1 for one that holds another =, text between // and //, or more than ASCII."""
    while at < end:
        byte = data[at]
        if _ends(byte):
            return at
        if byte >= 128 or byte == 61 or (byte == 47 and data[at + 1] == 47):
            return -1
        at += 1
    return at


@part
def _short_number(word):
    """(bytes, number) of digits[.digits] that end with ; or , within eight bytes; (0, 0) for anything else.

    All eight bytes at once: two non-digits are looked for, the point is taken out, pairs of digits are joined.
    """
    digits = word ^ _ZEROS
    others = (((digits & _LOW) + _ABOVE_NINE) | digits) & _HIGH
    first = _zeros(others)
    point = first < 64 and (word >> np.uint64(first - 7)) & np.uint64(255) == 46
    last = _zeros(others & (others - np.uint64(1))) if point else first
    if last >= 64:
        return 0, 0.0
    size, end = last >> 3, (word >> np.uint64(last - 7)) & np.uint64(255)
    if not _ends(end) or size == point:
        return 0, 0.0
    if point:
        before = (np.uint64(1) << np.uint64(first - 7)) - np.uint64(1)
        digits = (digits & before) | ((digits >> np.uint64(8)) & ~before)
    digits <<= np.uint64(8 * (8 - size + point)) & np.uint64(63)
    digits = digits * np.uint64(10) + (digits >> np.uint64(8))
    digits = (digits & _PAIRS) * _JOIN_HIGH + ((digits >> np.uint64(16)) & _PAIRS) * _JOIN_LOW
    number = float(digits >> np.uint64(32))
    return size, number / _TENS[size - 1 - (first >> 3)] if point else number


@part
def _plain_number(data, at, end):
    """(where it ends, the number) of [+-]digits[.digits] with 1 to 15 digits; (-1, 0) for anything else."""
    first = _byte(data, at)
    if first in (43, 45):  # + -
        at += 1
    size, number = _short_number(_eight(data, at))
    if size and at + size < end:
        return at + size, -number if first == 45 else number
    mantissa, digits, point = 0, 0, -1
    while at < end:
        byte = _byte(data, at)
        if 48 <= byte <= 57:
            mantissa = mantissa * 10 + (byte - 48)
            digits += 1
        elif byte == 46 and point < 0:
            point = digits
        else:
            break
        at += 1
    if digits == 0 or digits > _DIGITS or (at < end and not _ends(_byte(data, at))):
        return -1, 0.0
    number = float(mantissa)
    if point >= 0:
        number /= _TENS[digits - point]
    return at, -number if first == 45 else number


@part
def _two(data, at):
    return (data[at] - 48) * 10 + (data[at + 1] - 48)


@part
def _time(data, at, end):
    """As readings.parse_time: UTC epoch seconds of 14, 16 or 17 digits of Beijing time, else _NO_TIME."""
    size = end - at
    if size not in (14, 16, 17):
        return _NO_TIME
    for place in range(at, end):
        if not 48 <= data[place] <= 57:
            return _NO_TIME
    year = _two(data, at) * 100 + _two(data, at + 2)
    month, day = _two(data, at + 4), _two(data, at + 6)
    hour, minute, second = _two(data, at + 8), _two(data, at + 10), _two(data, at + 12)
    if year < 1 or not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59:
        return _NO_TIME
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 28 + leap if month == 2 else 30 if month in (4, 6, 9, 11) else 31
    if not 1 <= day <= longest:
        return _NO_TIME
    shifted = year - (month <= 2)  # years that begin in March: days since 0000-03-01
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400
    days += (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return (days - 719468) * 86400 + hour * 3600 + minute * 60 + second - 28800


@part
def _closed(first, count, factor, flag, rows):
    """The flag of a factor that is complete goes to its rows; a factor without values gets one row for its flag."""
    if count == first and factor >= 0:
        rows.factor[count], rows.field[count], rows.value[count] = factor, -1, np.nan
        count += 1
    for row in range(first, count):
        rows.flag[row] = flag
    return count


@part
def _name(data, at, end, before, state, names, known):
    """The number of the name at `at`; -1 - reason if it needs help. Most often it is the one that came here before."""
    number = known.follow[before + 1]
    if number >= 0 and _follows(data, at, number, names.short):
        return number
    stop = _name_end(data, at, end)
    if stop < 0:
        return -1 - _SLOW
    number = _find(data, at, stop, names)
    if number < 0:
        state[4], state[5] = at, stop
        return -1 - _NEW_NAME
    known.follow[before + 1] = number
    return number


@part
def _flag(data, at, end, state, known):
    """The code of a flag of one letter or digit; -1 - reason if it needs help."""
    if at >= end or (at + 1 < end and not _ends(data[at + 1])):
        return -1 - _SLOW
    letter = data[at]
    if not 48 <= letter <= 122 or letter in (59, 61):
        return -1 - _SLOW
    if known.flag_code[letter] < 0:
        state[4], state[5] = at, at + 1
        return -1 - _NEW_FLAG
    return known.flag_code[letter]


@part
def _area(data, at, end, state, names, known, rows, hard):
    """(reason, rows, hard values, time) after the items of one data area."""
    before, current, flag, time, timed = -1, -1, -1, _NO_TIME, False
    count, hards, serial = state[1], state[2], state[3]
    first = count
    while at < end:
        if _ends(data[at]):
            at += 1
            continue
        name = _name(data, at, end, before, state, names, known)
        if name < 0:
            return -1 - name, count, hards, time
        before, at = name, at + names.sizes[name] + 1
        factor, field = known.meaning[name, 0], known.meaning[name, 1]
        if factor == _ODD or (factor >= 0 and known.name_seen[name] == serial):
            return _SLOW, count, hards, time
        known.name_seen[name] = serial
        if factor < 0:
            stop = _value_end(data, at, end)
            if factor == _TIME and not timed and stop >= 0:
                time, timed = _time(data, at, stop), True
        else:
            if factor != current:
                if known.factor_seen[factor] == serial:
                    return _SLOW, count, hards, time
                known.factor_seen[factor] = serial
                count = _closed(first, count, current, flag, rows)
                current, first, flag = factor, count, -1
            if field == _FLAG_FIELD:
                flag, stop = _flag(data, at, end, state, known), at + 1
                if flag < 0:
                    return -1 - flag, count, hards, time
            else:
                stop, rows.value[count] = _plain_number(data, at, end)
                if stop < 0:
                    stop = _value_end(data, at, end)
                    hard[hards, 0], hard[hards, 1], hard[hards, 2] = count, at, stop
                    hards += 1
                rows.factor[count], rows.field[count] = factor, field
                count += 1
        if stop < 0:
            return _SLOW, count, hards, time
        at = stop
    return _DONE, _closed(first, count, current, flag, rows), hards, time


@part
def _kind(data, begin, end, kind_cn, kind_code):
    if end - begin == 4:
        cn = np.int64(_eight(data, begin) & np.uint64(0xFFFFFFFF))
        for k in range(len(kind_cn)):
            if kind_cn[k] == cn:
                return kind_code[k]
    return -1


@compiled(
    types.i8(
        types.Array(types.u1, 1, "C", readonly=True), types.i8, types.i4[:, ::1], _I8, _KEYS, _KEYS, _KNOWN, _PLACES,
        _I8, _I1, _COLUMNS, types.i8[:, ::1],
    )
)  # fmt: skip
def _decode(data, base, heads, state, devices, names, known, places, kind_cn, kind_code, rows, hard):
    """Rows of the heads from state[0] on. Stops where help is needed, before the rows of that frame, and says why.

    state: next head, rows, hard values, serial number of the frame, first byte and end of what was met.
    """
    while state[0] < len(heads):
        head = heads[state[0]]
        if not head[places.usual]:
            return _SLOW
        at, end = head[places.area], head[places.end] - 8
        if state[1] + (end - at) // 2 + 2 > len(rows.value):
            return _FULL
        device = _find(data, head[places.mn], head[places.mn + 1], devices)
        if device < 0:
            state[4], state[5] = head[places.mn], head[places.mn + 1]
            return _NEW_DEVICE
        state[3] += 1
        reason, count, hards, time = _area(data, at, end, state, names, known, rows, hard)
        if reason != _DONE:
            return reason
        code, kind = known.device_code[device], _kind(data, head[places.cn], head[places.cn + 1], kind_cn, kind_code)
        for k in range(state[1], count):
            rows.device[k], rows.time[k], rows.kind[k], rows.offset[k] = code, time, kind, base + head[places.start]
        state[0], state[1], state[2] = state[0] + 1, count, hards
    return _DONE
