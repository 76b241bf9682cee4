"""`ceguan hj212 …`: read, write, replay, take in what is recorded, check a server, send commands."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ceguan.intake.hj212 import check, crc, readings, replay, send, sm4
from ceguan.intake.hj212.frame import Frame, encode, of_chunk, without_secrets
from ceguan.intake.hj212.merge import Merger
from ceguan.intake.hj212.splitter import Splitter

_BLOCK = 1 << 16

_WRITTEN = ("st", "cn", "mn", "qn", "pw", "flag", "pnum", "pno", "rf", "datatime", "cp", "factors", "crc_dialect")
"""What `encode` writes of a line; `encrypted` says whether it is enciphered."""
_PASSED_OVER = {"ok", "error", "errors", "offset", "sha256", "edition", "warnings", "parts"}
"""What `decode` prints besides."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds `hj212` with its verbs; each sets `run`, called with the arguments, which returns the exit code."""
    verbs = _verb(subparsers, "hj212", "HJ 212 报文：解码、编码、回放、导入、检验服务器、下发命令").add_subparsers(
        metavar="命令", required=True
    )
    reading = _verb(verbs, "decode", "逐帧解码字节流，每帧或每段噪声输出一行 JSON")
    reading.add_argument("file", nargs="?", default="-", metavar="FILE", help="文件，- 或省略为标准输入")
    reading.add_argument("--merge", action="store_true", help="合并 PNUM/PNO 分包")
    reading.add_argument("--key", type=key, metavar="HEX", help="SM4 密钥（2025 版加密数据区），32 位十六进制")
    reading.set_defaults(run=run_decode)
    writing = _verb(verbs, "encode", "decode 输出的 JSON 行（可另加 pw）编成报文，写到标准输出")
    writing.add_argument("file", nargs="?", default="-", metavar="FILE", help="文件，- 或省略为标准输入")
    writing.add_argument(
        "--key", type=key, metavar="HEX", help="SM4 密钥：encrypted 为真、或没有写而 CN 应加密的行加密"
    )
    writing.add_argument("--dialect", choices=crc.DIALECTS, help="CRC 算法，默认取行内 crc_dialect，没有则 hj212")
    writing.set_defaults(run=run_encode)
    playing = _verb(verbs, "replay", "把录下的报文按设备（MN）逐台回放给服务器")
    playing.add_argument("file", metavar="FILE", help="任意字节流，或含 frame / frame_hex 字段的 .jsonl")
    playing.add_argument("--to", required=True, type=address, metavar="HOST:PORT", help="目标服务器")
    playing.add_argument("--timeout", type=float, default=10.0, metavar="秒", help="连接与应答的等待时间，默认 10 秒")
    playing.set_defaults(run=run_replay)
    taking = _verb(verbs, "import", "收入录下的报文（任意字节流或 .jsonl，可为 .gz、.zst），或写成 Parquet 列")
    taking.add_argument("files", nargs="+", type=Path, metavar="PATH", help="文件，可以有几 GB")
    taking.add_argument("--yes", action="store_true", help="收入归档；不加则只预览，什么也不写")
    taking.add_argument("--by", metavar="用户名", help="以谁的名义和权限导入；省略则为本机操作员")
    taking.add_argument("--to", type=Path, metavar="FILE.parquet", help="不收入平台，把各值写成 Parquet 列")
    taking.add_argument("--key", type=key, metavar="HEX", help="与 --to 同用：SM4 密钥，32 位十六进制")
    taking.add_argument("--keys", action="store_true", help="与 --to 同用：用平台登记的设备密钥；收入平台时总是用")
    taking.set_defaults(run=run_import)
    _add_check(verbs)
    send.add_arguments(_verb(verbs, "send", "向设备下发命令（反控），每一步记入留痕"))


def _add_check(verbs: argparse._SubParsersAction) -> None:
    checking = _verb(verbs, "check", "扮作设备，按标准逐项检验一个 HJ 212 服务器，输出符合性表")
    checking.add_argument("to", type=address, metavar="HOST:PORT", help="被检验的服务器")
    checking.add_argument("--edition", type=int, choices=(2005, 2017, 2025), default=2017, help="协议版本，默认 2017")
    checking.add_argument("--mn", help="设备编码，默认一个示例 MN")
    checking.add_argument("--pw", default="123456", metavar="口令", help="设备口令 PW，默认 123456")
    checking.add_argument("--st", default="31", help="系统编码，默认 31")
    checking.add_argument("--key", type=key, metavar="HEX", help="SM4 密钥（2025 版），32 位十六进制")
    checking.add_argument("--timeout", type=float, default=5.0, metavar="秒", help="等一个应答的时间，默认 5 秒")
    checking.add_argument("--listen", type=float, default=3.0, metavar="秒", help="等服务器请求的时间，默认 3 秒")
    checking.add_argument("--connections", type=count, default=50, metavar="N", help="同时连接数，默认 50")
    checking.add_argument("--only", nargs="+", default=(), choices=[case.name for case in check.CASES], metavar="项",
                          help="只检验这些项：%(choices)s")  # fmt: skip
    checking.add_argument("--json", action="store_true", help="每项输出一行 JSON")
    checking.set_defaults(run=run_check)


def _verb(verbs: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    return parser


def address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} 不是 HOST:PORT，例如 127.0.0.1:9212")
    return host.strip("[]") or "127.0.0.1", int(port)


def count(text: str) -> int:
    """A number of things, one or more."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}：应为 1 或更大的整数")
    return int(text)


def rate(text: str) -> float:
    """A number above nought."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}：应为大于 0 的数")
    return found


def key(text: str) -> bytes:
    try:
        return sm4.key_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run_decode(args: argparse.Namespace) -> int:
    """One JSON object per frame or run of noise; 0 when the stream was read to its end, 2 when it cannot be read."""
    try:
        with _opened(args.file) as stream:
            for found in _frames(_blocks(stream), args.merge, args.key):
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
    found = readings.checks(frame) if frame.cn == readings.CHECK_CN else readings.rows(frame)
    shown["warnings"] += without_secrets(found.warnings) if frame.ok else []
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(sys.stdin.buffer) if name == "-" else open(name, "rb")


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    """As the bytes come, so that a live stream is decoded while it runs."""
    read = getattr(stream, "read1", stream.read)
    while block := read(_BLOCK):
        yield block


def _frames(blocks: Iterable[bytes], merge: bool, key: sm4.Key | None) -> Iterator[list[Frame]]:
    splitter, merger = Splitter(), Merger()
    for block in blocks:
        found = [of_chunk(chunk, key) for chunk in splitter.feed(block)]
        yield [whole for frame in found for whole in merger.feed(frame)] if merge else found
    found = [of_chunk(chunk, key) for chunk in splitter.close()]
    yield [whole for frame in found for whole in merger.feed(frame)] + merger.close() if merge else found


def run_encode(args: argparse.Namespace) -> int:
    """One frame per line of JSON; 0 when all are written, 2 when a line cannot be: what stood before it is."""
    try:
        with _opened(args.file) as stream:
            for number, text in enumerate(stream, 1):
                if text.strip():
                    sys.stdout.buffer.write(_written(text, number, args))
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except (OSError, _BadLineError) as error:
        sys.stdout.buffer.flush()
        return _unreadable(args.file, error)
    return 0


class _BadLineError(ValueError):
    """A line that is no frame; the message says which and why."""


def _written(text: bytes, number: int, args: argparse.Namespace) -> bytes:
    try:
        row = _json(text)
        _check(row)
        fields = {name: row[name] for name in _WRITTEN if row.get(name) is not None}
        if args.dialect:
            fields["crc_dialect"] = args.dialect
        return encode(**fields, key=_key_for(row, args.key))
    except ValueError as error:
        raise _BadLineError(f"第 {number} 行：{error}") from error


def _json(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"不是 JSON（{error}）") from error


def _check(row: object) -> None:
    """Raises ValueError that names the field which is missing, unknown or of another form."""
    if not isinstance(row, dict):
        raise ValueError("不是 JSON 对象")
    if unknown := row.keys() - {*_WRITTEN, "encrypted"} - _PASSED_OVER:
        raise ValueError(f"不认识的字段 {'、'.join(sorted(unknown))}；可用 {'、'.join((*_WRITTEN, 'encrypted'))}")
    if row.get("ok") is False:
        raise ValueError(f"ok 为 false（{row.get('error')}）：不完整的报文不能编码")
    for name in _WRITTEN:
        if row.get(name) is None and name in ("st", "cn"):
            raise ValueError(f"缺 {name}")
        if row.get(name) is not None and not _fits(name, row[name]):
            raise ValueError(f"{name} 应为{_FORMS.get(name, '文本')}")


_FORMS = {
    "flag": "整数或文本",
    "pnum": "整数或文本",
    "pno": "整数或文本",
    "cp": "对象：字段名 → 文本或文本列表",
    "factors": "对象：因子 → {字段名：文本}",
    "crc_dialect": "、".join(crc.DIALECTS),
}


def _fits(name: str, value: object) -> bool:
    if name in ("flag", "pnum", "pno"):
        return isinstance(value, str | int) and not isinstance(value, bool)
    if name == "cp":
        return isinstance(value, dict) and all(_is_text_or_list(inner) for inner in value.values())
    if name == "factors":
        return isinstance(value, dict) and all(
            isinstance(one, dict) and all(isinstance(inner, str) for inner in one.values()) for one in value.values()
        )
    return value in crc.DIALECTS if name == "crc_dialect" else isinstance(value, str)


def _is_text_or_list(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _key_for(row: dict[str, object], key: bytes | None) -> bytes | None:
    """The key if this frame is to be enciphered: where the line says nothing, by its CN as edition 2025 has it."""
    wanted = row.get("encrypted")
    if wanted not in (None, True, False):
        raise ValueError("encrypted 应为 true 或 false")
    if wanted and key is None:
        raise ValueError("encrypted 为 true，须用 --key 给出密钥")
    return key if wanted or (wanted is None and sm4.covers(str(row["cn"]))) else None


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


def run_check(args: argparse.Namespace) -> int:
    """0 when no case failed, 1 when one did, 2 when the server cannot be reached."""
    usual = check.USUAL_MN_2005 if args.edition == 2005 else check.USUAL_MN
    server = check.Server(
        args.to[0], args.to[1], args.edition, args.mn or usual, args.pw, args.st, args.key, args.timeout, args.listen,
        args.connections,
    )  # fmt: skip
    try:
        results = asyncio.run(check.play(server, args.only, _print_result if args.json else lambda _: None))
    except OSError as error:
        print(f"无法连接 {server.host}:{server.port}（{error.strerror or error or '超时'}）", file=sys.stderr)
        return 2
    if not args.json:
        _print_results(results, server)
    return int(any(result.verdict == check.FAIL for result in results))


def _print_result(result: check.Result) -> None:
    sys.stdout.buffer.write(orjson.dumps(result.public(), option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _print_results(results: list[check.Result], server: check.Server) -> None:
    from rich.console import Console
    from rich.table import Table

    words = {check.PASS: "通过", check.FAIL: "不符", check.UNTESTED: "未测"}
    table = Table(title=f"HJ 212-{server.edition} 符合性：{server.host}:{server.port}")
    for heading in ("结果", "项", "应当", "看到", "条款"):
        table.add_column(heading, no_wrap=heading == "结果")
    for result in results:
        table.add_row(words[result.verdict], result.case, result.expected, result.seen, result.clause)
    Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False).print(table)
    counts = Counter(result.verdict for result in results)
    print("，".join(f"{word} {counts[verdict]} 项" for verdict, word in words.items()))


def run_import(args: argparse.Namespace) -> int:
    """0 when all was done (or could be, in a preview), 2 when a file cannot be read, holds no frame or is refused."""
    import django

    django.setup()
    from ceguan.intake.hj212 import importing

    return importing.run(args.files, args.to, args.yes, args.by, args.key, args.keys)


def _unreadable(name: str, error: Exception) -> int:
    causes: dict[type[Exception], str] = {
        FileNotFoundError: "文件不存在",
        IsADirectoryError: "是目录，不是文件",
        PermissionError: "没有读取权限",
    }
    print(f"{name}：{causes.get(type(error)) or f'无法读取（{error}）'}", file=sys.stderr)
    return 2
