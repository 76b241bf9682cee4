"""Plays recorded frames to a server as their devices would: one connection per MN, in order, waiting for answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import orjson

from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import Frame, Head, of_chunk, quick_head
from ceguan.intake.hj212.splitter import Splitter

AT_ONCE = 64
"""Devices that play at the same time."""

_PATIENCE = 3
"""Answers missing in a row after which a device gives up, as HJ 212-2017 表1 lets a real one do."""


class Unreadable(ValueError):
    """The recording is no recording; the message says where."""


@dataclass(slots=True)
class Played:
    """What became of one device's frames. `wanted`: answers asked for by the frames sent; `trouble`: why it stopped."""

    mn: str
    total: int
    sent: int = 0
    wanted: int = 0
    answered: int = 0
    trouble: str = ""


def recorded(path: Path) -> dict[str, list[bytes]]:
    """Frames by MN ("" where none can be read), broken ones too, noise left out. Raises OSError or Unreadable."""
    data = path.read_bytes()
    pieces = from_lines(data.splitlines()) if path.suffix == ".jsonl" else _cut(data)
    devices: dict[str, list[bytes]] = {}
    for raw in pieces:
        devices.setdefault(quick_head(raw).mn or "", []).append(raw)
    return devices


def _cut(data: bytes) -> list[bytes]:
    splitter = Splitter()
    return [chunk.data for chunk in splitter.feed(data) + splitter.close() if chunk.frame]


def from_lines(lines: Iterable[bytes], before: int = 0) -> list[bytes]:
    """`frame_hex` (bytes as hex) or `frame` (text) of each JSON line; lines with neither are passed over.

    `before`: how many lines came earlier. Raises Unreadable.
    """
    pieces = []
    for number, text in enumerate(lines, before + 1):
        try:
            row = orjson.loads(text) if text.strip() else {}
            raw = bytes.fromhex(row["frame_hex"]) if row.get("frame_hex") else row.get("frame", "").encode()
        except (ValueError, TypeError, AttributeError) as error:
            raise Unreadable(f"第 {number} 行不是含 frame 或 frame_hex 的 JSON：{error}") from error
        pieces += [raw] if raw else []
    return pieces


async def play(
    devices: dict[str, list[bytes]], host: str, port: int, timeout: float, report: Callable[[Played], None]
) -> list[Played]:
    """All devices, at most AT_ONCE together; `report` hears of each as it ends. Never waits longer than `timeout` [s]
    for a connection or an answer."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(mn: str, frames: list[bytes]) -> Played:
        async with gate:
            result = await _device(mn, frames, host, port, timeout)
        report(result)
        return result

    return list(await asyncio.gather(*(one(mn, frames) for mn, frames in devices.items())))


async def _device(mn: str, frames: list[bytes], host: str, port: int, timeout: float) -> Played:
    result = Played(mn, len(frames))
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        result.trouble = f"无法连接 {host}:{port}（{str(error) or '超时'}）"
        return result
    try:
        await _converse(result, frames, reader, writer, timeout)
        writer.close()
        async with asyncio.timeout(timeout):
            await writer.wait_closed()  # what was written last is still on its way
    except OSError as error:
        result.trouble = f"连接中断（{str(error) or '超时'}）"
    finally:
        writer.close()
    return result


async def _converse(
    result: Played, frames: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float
) -> None:
    splitter, missed = Splitter(), 0
    for raw in frames:
        writer.write(raw if raw.endswith(b"\n") else raw + b"\r\n")
        async with asyncio.timeout(timeout):
            await writer.drain()
        result.sent += 1
        head = quick_head(raw)
        if answer_to(head) is None:
            continue
        result.wanted += 1
        came = await _answer(head, reader, splitter, timeout)
        result.answered += came
        missed = 0 if came else missed + 1
        if missed == _PATIENCE:
            result.trouble = f"连续 {missed} 次等不到应答，停止"
            return


async def _answer(head: Head, reader: asyncio.StreamReader, splitter: Splitter, timeout: float) -> bool:
    """Whether the answer to this frame came in time; answers to something else are passed over."""
    try:
        async with asyncio.timeout(timeout):
            while data := await reader.read(1 << 16):
                if any(_answers(of_chunk(chunk), head) for chunk in splitter.feed(data) + splitter.settle()):
                    return True
    except TimeoutError:
        return False
    raise ConnectionResetError("服务器关闭了连接")


def _answers(answer: Frame, head: Head) -> bool:
    return answer.ok and answer.cn in ("9013", "9014") and (answer.qn or answer.cp.get("QN")) == head.qn
