"""Archive records of many frames at once, byte for byte what `ArchiveWriter.append` would make of each.

Kept apart because it needs numba: only who takes in thousands of frames a second imports it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ceguan.store.archive import MARK, RECORD_HEADER, RecordKind
from ceguan.store.kernels import compiled

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_HEADER = RECORD_HEADER.size
_POLYNOMIAL = 0xEDB88320  # of zlib's CRC-32


def _tables() -> Ints:
    """Row k: the CRC of a byte that k zero bytes follow ("slicing by eight")."""
    rows = np.zeros((8, 256), np.int64)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ _POLYNOMIAL if value & 1 else value >> 1
        rows[0, byte] = value
    for row in range(1, 8):
        rows[row] = (rows[row - 1] >> 8) ^ rows[0, rows[row - 1] & 255]
    return rows


_TABLES = _tables()


def build(
    kind: RecordKind, recv: float, buffer: bytes | Bytes, starts: Ints, ends: Ints, origins: Sequence[bytes]
) -> tuple[memoryview, list[int]]:
    """The records one behind the other, and where each ends: for `ArchiveWriter.append_many`.

    Record i holds buffer[starts[i]:ends[i]], received at `recv` [UTC epoch s] from origins[i] (`origin_bytes`).
    """
    data = np.frombuffer(buffer, np.uint8)
    lengths = np.fromiter(map(len, origins), np.int64, len(origins))
    sources = np.frombuffer(b"".join(origins), np.uint8)
    limits = np.cumsum(ends - starts + lengths + _HEADER)
    out = np.empty(int(limits[-1]) if len(limits) else 0, np.uint8)
    head = RECORD_HEADER.pack(0, MARK, kind, 0, 0, round(recv * 1e6))
    _build(np.frombuffer(head, np.uint8), data, starts, ends, sources, lengths, limits, _TABLES, out)
    return memoryview(out.data), limits.tolist()


@njit
def _crc32(data, begin, end, t):
    """zlib.crc32(data[begin:end])."""
    crc, at = 0xFFFFFFFF, begin
    while at + 8 <= end:
        crc ^= data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
        near = t[7, crc & 255] ^ t[6, crc >> 8 & 255] ^ t[5, crc >> 16 & 255] ^ t[4, crc >> 24]
        crc = near ^ t[3, data[at + 4]] ^ t[2, data[at + 5]] ^ t[1, data[at + 6]] ^ t[0, data[at + 7]]
        at += 8
    while at < end:
        crc = t[0, (crc ^ data[at]) & 255] ^ crc >> 8
        at += 1
    return crc ^ 0xFFFFFFFF


@compiled(
    "void(Array(u1, 1, 'C', readonly=True), Array(u1, 1, 'C', readonly=True), i8[::1], i8[::1],"
    " Array(u1, 1, 'C', readonly=True), i8[::1], i8[::1], i8[:, ::1], u1[::1])",
    counting=True,
)
def _build(head, data, starts, ends, sources, lengths, limits, tables, out):
    at, source = 0, 0
    for row in range(len(starts)):
        size, origin, end = ends[row] - starts[row], lengths[row], limits[row]
        out[at : at + _HEADER] = head
        out[at + 7] = origin
        for k in range(4):
            out[at + 8 + k] = (size >> (8 * k)) & 255
        out[at + _HEADER : at + _HEADER + origin] = sources[source : source + origin]
        out[at + _HEADER + origin : end] = data[starts[row] : ends[row]]
        crc = _crc32(out, at + 4, end, tables)
        for k in range(4):
            out[at + k] = (crc >> (8 * k)) & 255
        at, source = end, source + origin


def walk(data: bytes | memoryview, begin: int) -> tuple[list[int], int]:
    """Where the intact records from `begin` on begin, up to the first that is not; and the offset behind the last."""
    content = np.frombuffer(data, np.uint8)
    starts = np.empty(max(0, len(content) - begin) // _HEADER, np.int64)
    count, end = _walk(content, begin, *np.frombuffer(MARK, np.uint8), _TABLES, starts)
    return starts[:count].tolist(), int(end)


@compiled("Tuple((i8, i8))(Array(u1, 1, 'C', readonly=True), i8, u1, u1, i8[:, ::1], i8[::1])")
def _walk(data, begin, mark, mark2, tables, starts):
    at, count = begin, 0
    while at + _HEADER <= len(data):
        length = data[at + 8] | data[at + 9] << 8 | data[at + 10] << 16 | data[at + 11] << 24
        end = at + _HEADER + data[at + 7] + length
        crc = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24
        if data[at + 4] != mark or data[at + 5] != mark2 or end > len(data):
            break
        if _crc32(data, at + 4, end, tables) != crc:
            break
        starts[count] = at
        at, count = end, count + 1
    return count, at
