"""`ceguan hj212 …`: read any byte stream as frames, and play recorded frames to a server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from ceguan.intake.hj212 import readings, replay
from ceguan.intake.hj212.frame import Frame, of_chunk, without_secrets
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.splitter import Splitter

_BLOCK = 1 << 16


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds `hj212` with its verbs; each sets `run`, called with the arguments, which returns the exit code."""
    verbs = _verb(subparsers, "hj212", "HJ 212 报文：解码、回放").add_subparsers(metavar="命令", required=True)
    reading = _verb(verbs, "decode", "逐帧解码字节流，每帧或每段噪声输出一行 JSON")
    reading.add_argument("file", nargs="?", default="-", metavar="FILE", help="文件，- 或省略为标准输入")
    reading.add_argument("--merge", action="store_true", help="合并 PNUM/PNO 分包")
    reading.set_defaults(run=run_decode)
    playing = _verb(verbs, "replay", "把录下的报文按设备（MN）逐台回放给服务器")
    playing.add_argument("file", metavar="FILE", help="任意字节流，或含 frame / frame_hex 字段的 .jsonl")
    playing.add_argument("--to", required=True, type=_address, metavar="HOST:PORT", help="目标服务器")
    playing.add_argument("--timeout", type=float, default=10.0, metavar="秒", help="连接与应答的等待时间，默认 10 秒")
    playing.set_defaults(run=run_replay)


def _verb(verbs: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    return parser


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} 不是 HOST:PORT，例如 127.0.0.1:9212")
    return host.strip("[]") or "127.0.0.1", int(port)


def run_decode(args: argparse.Namespace) -> int:
    """One JSON object per frame or run of noise; 0 when the stream was read to its end, 2 when it cannot be read."""
    try:
        with _opened(args.file) as stream:
            for found in _frames(_blocks(stream), args.merge):
                sys.stdout.buffer.writelines(map(line, found))
                sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        return _unreadable(args.file, error)
    return 0


def line(frame: Frame) -> bytes:
    """What is printed for a frame: `Frame.public`, and what its numbers give to think about among the warnings."""
    shown = frame.public()
    shown["warnings"] += without_secrets(readings.rows(frame).warnings) if frame.ok else []
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(sys.stdin.buffer) if name == "-" else open(name, "rb")


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """As the bytes come, so that a live stream is decoded while it runs."""
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK):
        yield block


def _frames(blocks: Iterable[bytes], merge: bool) -> Iterator[list[Frame]]:
    splitter, merger = Splitter(), Merger()
    for block in blocks:
        found = [of_chunk(chunk) for chunk in splitter.feed(block)]
        yield [whole for frame in found for whole in merger.feed(frame)] if merge else found
    found = [of_chunk(chunk) for chunk in splitter.close()]
    yield [whole for frame in found for whole in merger.feed(frame)] + merger.close() if merge else found


def run_replay(args: argparse.Namespace) -> int:
    """0 when every frame went out and every answer asked for came, 1 when not, 2 when the file cannot be read."""
    try:
        recorded = replay.recorded(Path(args.file))
    except (OSError, replay.Unreadable) as error:
        return _unreadable(args.file, error)
    if not recorded:
        print(f"{args.file}：没有报文可以回放", file=sys.stderr)
        return 2
    host, port = args.to
    results = asyncio.run(replay.play(recorded, host, port, args.timeout, report=_report))
    sent, answered = sum(r.sent for r in results), sum(r.answered for r in results)
    wanted, total = sum(r.wanted for r in results), sum(r.total for r in results)
    print(f"合计：{len(results)} 台设备，发送 {sent}/{total} 帧，应答 {answered}/{wanted}")
    return 0 if sent == total and answered == wanted else 1


def _report(result: replay.Played) -> None:
    counts = f"发送 {result.sent}/{result.total}  应答 {result.answered}/{result.wanted}"
    print("  ".join(part for part in (result.mn or "（无 MN）", counts, result.trouble) if part), flush=True)


def _unreadable(name: str, error: Exception) -> int:
    causes: dict[type[Exception], str] = {
        FileNotFoundError: "文件不存在",
        IsADirectoryError: "是目录，不是文件",
        PermissionError: "没有读取权限",
    }
    print(f"{name}：{causes.get(type(error)) or f'无法读取（{error}）'}", file=sys.stderr)
    return 2
