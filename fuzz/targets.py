"""What must hold for whatever bytes come: each target takes bytes and raises AssertionError where a promise is broken.

`stream`   any bytes, chopped anywhere, as a connection brings them
`segment`  any bytes as the data segment of a frame whose length and CRC are right: what a device may really send
"""

from __future__ import annotations

import itertools
import json
import random

from ceguan.intake.hj212 import cli, sm4
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.crc import DIALECTS
from ceguan.intake.hj212.frame import Frame, decode, encode, framed, of_chunk, quick_head
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.readings import rows
from ceguan.intake.hj212.scan import Scanner
from ceguan.intake.hj212.splitter import Chunk, Splitter

KEY = b"0" * sm4.BLOCK
LIMITS = (400, 4096, 10_015)
FIELDS = ("qn", "st", "cn", "pw", "mn", "flag", "pnum", "pno", "rf", "datatime", "cp", "factors")


def stream(data: bytes) -> None:
    """The first two bytes say how the others are chopped and how long a frame may be."""
    choice, data = random.Random(data[:2]), data[2:]
    limit = choice.choice(LIMITS)
    cuts = sorted(choice.randrange(len(data) + 1) for _ in range(choice.randrange(8)))
    reads = [data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)])]
    chunks = _split([data], limit)
    assert _split(reads, limit) == chunks, "the result depends on how the bytes were chopped"
    assert _scanned(reads, limit) == chunks, "the scanner and the splitter differ"
    _accounted_for(data, chunks)
    merger = Merger(most=4)
    for chunk in chunks:
        frame = _read(chunk)
        for message in merger.feed(frame):
            rows(message)
    merger.close()


def segment(data: bytes) -> None:
    """A right frame around any segment; then the same enciphered."""
    if not 0 < len(data) < 9000:
        return
    plain = decode(framed(data))
    assert not {"noise", "truncated", "length", "crc"} & set(plain.errors)
    _written_again(plain)
    closed = data.find(b"CP=&&") >= 0 and data.endswith(b"&&") and len(data) >= data.find(b"CP=&&") + 7
    assert closed == ("syntax" not in plain.errors)
    if closed and plain.ok:
        enciphered = framed(data, key=KEY)
        opened = decode(enciphered, key=KEY)
        assert opened.ok
        if decode(enciphered).ok and not opened.encrypted:
            return  # once in 2³⁰: the ciphertext looks like text, and its own CRC is the same
        assert _fields(opened) == _fields(plain), "enciphered it reads otherwise"


def _split(reads: list[bytes], limit: int) -> list[Chunk]:
    splitter, found = Splitter(limit), []
    for read in reads:
        found += splitter.feed(read)
        assert splitter.pending <= 2 * limit + len(read) + 16, "memory grows without bound"
    return found + splitter.close()


def _scanned(reads: list[bytes], limit: int) -> list[Chunk]:
    scanner, found = Scanner(limit), []
    for run in [run for read in reads for run in scanner.feed(read)] + scanner.close():
        for row in run.heads:
            data = run.buffer[row["start"] : row["end"]].tobytes()
            found.append(Chunk(run.offset + int(row["start"]), data, True, DIALECTS[row["dialect"]]))
        found += run.chunks
    return found


def _accounted_for(data: bytes, chunks: list[Chunk]) -> None:
    end = 0
    for chunk in chunks:
        assert data[end : chunk.offset].strip(b"\r\n") == b"", "bytes went missing"
        assert data[chunk.offset : chunk.offset + len(chunk.data)] == chunk.data, "bytes were changed"
        end = chunk.offset + len(chunk.data)
    assert data[end:].strip(b"\r\n") == b"", "bytes went missing at the end"


def _read(chunk: Chunk) -> Frame:
    """All readers of a frame agree, with and without a key, and what is not ok gives neither answer nor reading."""
    for key in (None, KEY):
        frame, head = of_chunk(chunk, key), quick_head(chunk.data, chunk.dialect, key)
        assert json.loads(cli.line(frame))["ok"] is frame.ok
        if chunk.frame:
            assert decode(chunk.data, chunk.offset, None, key) == frame
            assert (head.error, head.crc_dialect, head.mn, head.cn, head.flag, head.encrypted) == (
                *(frame.error, frame.crc_dialect, frame.mn, frame.cn, frame.flag, frame.encrypted),
            )
            assert answer_to(head) == answer_to(frame)
        if not frame.ok:
            assert answer_to(frame) is None
            assert rows(frame).items == []
        _written_again(frame)
    return frame


def _written_again(frame: Frame) -> None:
    """What can be written is read again the same."""
    rows(frame)
    if not frame.ok or frame.st is None or frame.cn is None:
        return
    fields = {name: value for name in FIELDS if (value := getattr(frame, name)) is not None}
    try:
        raw = encode(**fields, crc_dialect=frame.crc_dialect or "hj212")
    except ValueError:
        return  # a separator glued into a name or value: read, but not written
    again = decode(raw)
    assert again.ok
    assert _fields(again) == _fields(frame), "what was written is read otherwise"


def _fields(frame: Frame) -> list[object]:
    return [getattr(frame, name) for name in FIELDS]
