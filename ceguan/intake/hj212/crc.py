"""The CRC of HJ 212 and the two other checksums that devices in the field put in its place.

HJ 212 (HJ/T 212-2005 and HJ 212-2017, 附录A) runs `reg = (reg >> 8) ^ byte` before the eight shifts, where the usual
CRC-16/MODBUS runs `reg ^= byte`. So before the shifts only eight bits of state are left, the state moves by one byte
map `H`, and `H` applied eight times is the identity: the checksum depends on nothing but the XOR of all bytes at the
same distance (mod 8) from the end. We therefore XOR the segment down to eight bytes and look each of them up.
The same fact is its weakness: two bytes eight places apart may change places unseen. Look at the values, too.
"""

from __future__ import annotations

import struct
from array import array
from functools import cache

HJ212, MODBUS, MODBUS_SWAPPED = "hj212", "modbus", "modbus_swapped"
DIALECTS = (HJ212, MODBUS, MODBUS_SWAPPED)


def _shifted(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ 0xA001 if byte & 1 else byte >> 1
    return byte


_STEP = tuple(_shifted(byte) for byte in range(256))


def _by_distance() -> tuple[tuple[int, ...], ...]:
    """Table k gives the share in the CRC of a byte that stands k places before the last one."""
    tables = [_STEP]
    for _ in range(7):
        nearer = tables[-1]
        tables.append(tuple(nearer[_STEP[byte] >> 8] for byte in range(256)))
    return tuple(tables)


BY_DISTANCE = _by_distance()
_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = BY_DISTANCE
_FOLDS = tuple(tuple((64 << n, (1 << (64 << n)) - 1) for n in range(top - 1, -1, -1)) for top in range(12))
"""_FOLDS[k] brings 2**k words of 64 bits down to one: halves laid over one another."""
_BLOCK = 8192  # bytes: the most that _FOLDS takes is 2**11 words


def hj212(segment: bytes) -> int:
    """CRC of a data segment as HJ 212 附录A has it; 0xFFFF for no bytes at all."""
    size = len(segment)
    if not size:
        return 0xFFFF
    if size > _BLOCK:
        return _hj212_long(segment)
    return _folded(int.from_bytes(segment, "big") ^ (0xFF << (size - 1) * 8), size)


def _folded(number: int, size: int) -> int:
    for width, mask in _FOLDS[(size - 1 >> 3).bit_length()]:
        number = (number >> width) ^ (number & mask)
    return (
        _T0[number & 255]
        ^ _T1[number >> 8 & 255]
        ^ _T2[number >> 16 & 255]
        ^ _T3[number >> 24 & 255]
        ^ _T4[number >> 32 & 255]
        ^ _T5[number >> 40 & 255]
        ^ _T6[number >> 48 & 255]
        ^ _T7[number >> 56]
    )


def _hj212_long(segment: bytes) -> int:
    number = 0xFF << (len(segment) - 1) % 8 * 8
    for end in range(len(segment), 0, -_BLOCK):
        number ^= int.from_bytes(segment[max(0, end - _BLOCK) : end], "big")
    return _folded(number, _BLOCK)


def modbus(segment: bytes) -> int:
    """CRC-16/MODBUS, which some vendors send instead; 0xFFFF for no bytes at all."""
    reg, pairs = 0xFFFF, _by_pair()
    for pair in struct.unpack(f"<{len(segment) >> 1}H", segment[: len(segment) & ~1]):
        reg = pairs[reg ^ pair]
    return (reg >> 8) ^ _STEP[(reg ^ segment[-1]) & 255] if len(segment) & 1 else reg


@cache
def _by_pair() -> array[int]:
    """The state 16 bits further, for each of its 65536 values; made when the first CRC is not that of HJ 212."""
    low = _STEP
    return array("H", [(half >> 8) ^ low[half & 255] for half in ((reg >> 8) ^ low[reg & 255] for reg in range(65536))])


def checksum(segment: bytes, dialect: str = HJ212) -> bytes:
    """The four upper-case hex digits that follow a segment on the wire. Raises ValueError for an unknown dialect."""
    if dialect == HJ212:
        return b"%04X" % hj212(segment)
    if dialect == MODBUS:
        return b"%04X" % modbus(segment)
    if dialect == MODBUS_SWAPPED:
        return b"%04X" % _swapped(modbus(segment))
    raise ValueError(f"CRC dialect {dialect!r}: choose one of {', '.join(DIALECTS)}")


def dialect_of(segment: bytes, digits: bytes) -> str | None:
    """The dialect in which the four hex digits (either case) are the checksum of the segment; None if in none."""
    digits = digits.upper()
    if digits == b"%04X" % hj212(segment):
        return HJ212
    value = modbus(segment)
    if digits == b"%04X" % value:
        return MODBUS
    return MODBUS_SWAPPED if digits == b"%04X" % _swapped(value) else None


def _swapped(value: int) -> int:
    return (value & 255) << 8 | value >> 8
