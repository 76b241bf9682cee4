"""SM4 over the data area, as HJ 212-2025 has it (6.4 and 附录A.2, as quoted by two independent programs; trust 2).

Between `CP=&&` and `&&` every whole group of 16 bytes is enciphered (SM4, ECB, no padding), fewer than 16 at the end
stay as they are. So the length stays what it was, and the CRC is that of the plain segment, made before. On the wire
the ciphertext is raw bytes: the lengths printed in 附录A.2 (0295, 0234) fit nothing else. CR, LF, `##` and `&&` may be
among them. The appendix prints them as `{0xE4,0x3E,…}`; programs that took this for the wire form exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
"""Bytes of a key and of a group."""

Key = bytes | Callable[[str], Iterable[bytes]]
"""One key, or a look-up: MN → the keys to try, the newest first (keys are renewed every 90 days)."""

_PRINTED = re.compile(rb"\{(0[xX][0-9A-Fa-f]{2}(?:[, ]+0[xX][0-9A-Fa-f]{2})*)\}")
_NAMED = re.compile(rb"[ ;,]*[A-Za-z0-9_.-]+=")
_ASCII = bytes(range(128))


def encipher(area: bytes, key: bytes) -> bytes:
    """The data area as it goes on the wire. Raises ValueError for a key that is not 16 bytes."""
    return _whole_groups(area, _cipher(key).encryptor().update)


def decipher(area: bytes, key: bytes) -> bytes:
    """The reverse; with another key it gives other bytes, not an error. Raises ValueError as above."""
    return _whole_groups(area, _cipher(key).decryptor().update)


def covers(cn: str | None) -> bool:
    """Whether frames with this CN are enciphered at all: data 2000–2999, keys 1014, site information 3020 (6.4)."""
    return cn in ("1014", "3020") or bool(cn and re.fullmatch("2[0-9]{3}", cn))


def looks_enciphered(area: bytes) -> bool:
    """Whether an area cannot be text: neither ASCII nor UTF-8 nor `name=` and then mostly text of whatever encoding.

    Of random bytes one group in some thousand is taken for text, of longer areas practically none. Devices do cut
    Chinese characters in half: a few bytes that decode to nothing make no cipher.
    """
    if area.isascii() or len(area) < BLOCK:
        return area.startswith((b"{0x", b"{0X")) and _PRINTED.match(area) is not None
    if _undecoded(area, "utf-8") == 0:
        return False
    if not _NAMED.match(area):
        return True
    few = 1 + len(area) // 64
    mostly_ascii = 4 * len(area.translate(None, _ASCII)) < len(area)
    return not mostly_ascii and min(_undecoded(area, "gb18030"), _undecoded(area, "utf-8")) > few


def unprinted(area: bytes) -> bytes | None:
    """The bytes of an area in print notation, `{0xE4,0x3E}N` → E4 3E 4E; None if it is in no such."""
    found = _PRINTED.match(area)
    return bytes.fromhex(re.sub(rb"0[xX]|[, ]", b"", found[1]).decode()) + area[found.end() :] if found else None


def key_of(text: str) -> bytes:
    """A key written as 32 hex digits. Raises ValueError; the message does not repeat what was written."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != BLOCK:
        raise ValueError("SM4 密钥应为 32 位十六进制数字（16 字节）")
    return key


def _whole_groups(area: bytes, work: Callable[[bytes], bytes]) -> bytes:
    whole = len(area) - len(area) % BLOCK
    return work(area[:whole]) + area[whole:] if whole else area


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    """ECB is what the standard prescribes."""
    if len(key) != BLOCK:
        raise ValueError(f"an SM4 key has 16 bytes, this one {len(key)}")
    return Cipher(algorithms.SM4(key), modes.ECB())


def _undecoded(area: bytes, encoding: str) -> int:
    return area.decode(encoding, "replace").count("\ufffd")
