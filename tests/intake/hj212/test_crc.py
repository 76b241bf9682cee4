"""The CRC of HJ 212 附录A against the printed examples, and against its own definition bit by bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceguan.intake.hj212 import crc

VECTORS = [  # text, HJ 212, CRC-16/MODBUS
    (b"", 0xFFFF, 0xFFFF),
    (b"123456789", 0x2F80, 0x4B37),
    (
        b"QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&",
        0x1C80,  # HJ 212-2017 附录A (its prose misprints 1C08)
        0x0759,
    ),
    (
        b"QN=20240601085857223;ST=32;CN=1011;PW=123456;MN=010000A8900016F000169DC0;Flag=9;CP=&&&&",
        0x2200,  # HJ 212-2025 A.1, as quoted by two programs
        0xCCF4,
    ),
    (
        b"QN=20040516010101001;ST=32;CN=2051;PW=123456;MN=88888880000001;Flag=3;"
        b"CP=&&BeginTime=20040506111000,EndTime=20040506151000&&",
        0x6B80,
        0xAC73,
    ),
]


@pytest.mark.parametrize(("segment", "ours", "modbus"), VECTORS)
def test_printed_examples(segment, ours, modbus):
    assert crc.hj212(segment) == ours
    assert crc.modbus(segment) == modbus


def bit_by_bit(segment: bytes) -> int:
    """附录A as it is written."""
    reg = 0xFFFF
    for byte in segment:
        reg = (reg >> 8) ^ byte
        for _ in range(8):
            reg = (reg >> 1) ^ 0xA001 if reg & 1 else reg >> 1
    return reg


@given(st.binary(max_size=200))
def test_folding_gives_what_the_definition_gives(segment):
    assert crc.hj212(segment) == bit_by_bit(segment)


@pytest.mark.parametrize("size", [1023, 1024, 8191, 8192, 8193, 16_385, 40_000])
def test_long_segments_too(size):
    segment = bytes(number * number % 251 for number in range(size))
    assert crc.hj212(segment) == bit_by_bit(segment)


def test_two_bytes_eight_places_apart_may_change_places_unseen():
    assert crc.hj212(b"Rtd=1.......2") == crc.hj212(b"Rtd=2.......1")
    assert crc.hj212(b"Rtd=1......2") != crc.hj212(b"Rtd=2......1")


@pytest.mark.parametrize("dialect", crc.DIALECTS)
def test_a_checksum_is_recognised_in_its_dialect_and_in_either_case(dialect):
    digits = crc.checksum(b"123456789", dialect)
    assert crc.dialect_of(b"123456789", digits) == dialect
    assert crc.dialect_of(b"123456789", digits.lower()) == dialect


def test_no_dialect_is_found_for_a_wrong_checksum_or_for_no_digits():
    assert crc.dialect_of(b"123456789", b"0000") is None
    assert crc.dialect_of(b"123456789", b"") is None
    assert crc.dialect_of(b"123456789", b"+2F8") is None


def test_an_unknown_dialect_names_the_known_ones():
    with pytest.raises(ValueError, match="hj212, modbus, modbus_swapped"):
        crc.checksum(b"", "ccitt")
