"""`ceguan archive …`: verify the frame archive, print where its chains end, make proof lines and evidence packs."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ceguan import clock, operate, settings
from ceguan.store import Store, archive, proofs, verify
from ceguan.store.proofs import Head
from ceguan.words import BEIJING

if TYPE_CHECKING:
    from ceguan.intake.evidence import Noted


def add_parser(verbs: argparse._SubParsersAction) -> None:
    text = "帧归档：核验、链头、见证行、证据包"
    kinds = verbs.add_parser("archive", help=text, description=text).add_subparsers(metavar="命令", required=True)
    check = operate._verb(kinds, "verify", "逐段核验归档的哈希链，指出第一处断裂；完好返回 0，断裂返回 1", _verify)
    check.add_argument("--stream", type=int, metavar="N", help="只核验这个归档流")
    check.add_argument("--heads", type=Path, metavar="FILE", help="archive head 打印并另存的链头：须仍在链中")
    check.add_argument("--noted", action="store_true", help="留痕中每天记下的链头也须仍在链中")
    check.add_argument("--full", action="store_true", help="默克尔根也重算，慢数倍")
    operate._verb(kinds, "head", "打印各归档流的链头（每行一个 JSON），请另存于平台之外", lambda args: _head())
    export = operate._verb(kinds, "export", "出具证据包：报文原样、证明、解出的值、读数、判定，可脱离平台核验", _export)
    export.add_argument("--mn", required=True, help="设备")
    export.add_argument(
        "--from", dest="start", required=True, metavar="时间", help="北京时间，如 2026-03-01 或 2026-03-01T08:00"
    )
    export.add_argument("--to", dest="end", required=True, metavar="时间", help="不含这一刻")
    export.add_argument("--why", required=True, metavar="理由", help="记入留痕和证据包")
    export.add_argument("--by", metavar="用户名", help="以谁的名义和权限；省略则为本机操作员")
    export.add_argument("--segments", action="store_true", help="带上整段归档（含其他设备的报文）")
    export.add_argument("--mask", action="store_true", help="遮去口令的衍生件：帧的字节不能再核对")
    export.add_argument("out", type=Path, metavar="OUT.zip", help="写到哪里；已有的文件不覆盖")
    operate._verb(kinds, "prove", "为已封存而没有见证行的段补做见证行", lambda args: _prove())


def _verify(args: argparse.Namespace) -> int:
    """0 when every stream holds, 1 when one is broken, 2 when nothing could be verified."""
    folder = settings.load().folder / "archive"
    found = archive.streams(folder) if args.stream is None else [args.stream]
    try:
        kept = _read_heads(args.heads) if args.heads else []
    except (OSError, ValueError, TypeError) as error:
        return _failed(f"链头读不出：{error}")
    from_trail = _noted_heads() if args.noted else []
    noted = kept + [one.head for one in from_trail]
    absent = [stream for stream in found if not archive.stream_folder(folder, stream).is_dir()]
    if args.stream is not None and absent:
        return _failed(f"没有归档流 {args.stream}；现有：{archive.streams(folder)}")
    if not found and not noted:
        return _failed(f"{folder} 里没有归档流，没有可核验的")
    gone = {head.stream for head in noted} - set(archive.streams(folder))
    for stream in sorted(gone) if args.stream is None else ():
        print(f"归档流 {stream} 整个不在了：记下过它的链头")
    broken = bool(gone) and args.stream is None
    with Bar(sum(_size(archive.stream_folder(folder, stream)) for stream in found)) as advance:
        results = [
            verify.verify(folder, stream, [head for head in noted if head.stream == stream], advance, args.full)
            for stream in found
        ]
    for result in results:
        _say(result)
    unaccounted = _unaccounted([result.stream for result in results if result.forgotten and not result.broken])
    broken = broken or any(result.broken for result in results)
    if args.noted and not broken:
        print(_said_of(from_trail, found))
    return int(broken or unaccounted)


def _said_of(noted: list[Noted], streams: list[int]) -> str:
    """How much the noted heads vouch for: without any, nobody can tell whether the end was cut off."""
    of_these = [one for one in noted if one.head.stream in streams]
    without = sorted(set(streams) - {one.head.stream for one in of_these})
    said = [f"留痕中记下的 {len(of_these)} 个链头（最近 {of_these[-1].at}）都仍在链中"] if of_these else []
    if without:
        names = "、".join(map(str, without))
        said.append(f"归档流 {names} 在留痕中还没有链头：末尾是否被截去，无从核对")
    return "；".join(said)


def _unaccounted(streams: list[int]) -> bool:
    """Whether anything of these streams was deleted that the audit trail does not account for; says what."""
    if not streams:
        return False
    operate._django()
    from django.db import DatabaseError

    from ceguan.watch import forgetting

    try:
        found = list(forgetting.breaks(settings.load(), streams))
    except DatabaseError as error:
        found = [f"已删除的段没有与留痕核对：业务库读不出（{error}）"]
    for one in found:
        print(one)
    return bool(found)


def _say(result: verify.Verified) -> None:
    if result.broken:
        print(result.broken)
        return
    print(
        f"归档流 {result.stream} 完好：封存 {result.sealed} 段（{result.proved} 段有见证行），"
        f"{result.records} 条记录，{result.bytes} 字节"
    )
    if result.forgotten:
        print(f"  其中 {result.forgotten} 段已依留痕的决定删除，封存记录和见证行仍在")
    if result.handed:
        places = "、".join(sorted({one.centre or "中心" for one in result.handed}))
        print(f"  其中 {len(result.handed)} 段由中心确认收存后从本机删去，封存记录仍在；字节须在那里核验：{places}")
    for segment, offset in result.damaged:
        print(f"  段 {segment} 偏移 {offset}：封存之前已损坏（断电或磁盘），封存之后未变")
    if result.unfinished:
        print(f"  末尾 {result.unfinished} 字节未写完，从未应答")


def _head() -> int:
    for head in proofs.heads(settings.load().folder / "archive"):
        print(json.dumps(head._asdict()))
    return 0


def _prove() -> int:
    values = settings.load()
    try:
        count = proofs.prove_all(values.folder / "archive", clock.now(), values.archive_digest)
    except (archive.ArchiveError, settings.SettingError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"新做见证行 {count} 条")
    return 0


def _export(args: argparse.Namespace) -> int:
    """0 when the pack is on disk, 2 when none was made."""
    operate._django()
    from ceguan.intake import evidence
    from ceguan.registry.models import Device, User
    from ceguan.registry.rights import Forbidden
    from ceguan.watch.evidence import noted

    values = settings.load()
    try:
        user = User.objects.get(username=args.by) if args.by else None
        request = evidence.Request(
            args.mn, moment(args.start), moment(args.end), clock.now(), args.why,
            user.username if user else f"local:{getpass.getuser()}", args.segments, args.mask,
        )  # fmt: skip
        with args.out.open("xb") as out:
            try:
                device = Device.objects.select_related("point").get(mn=args.mn)
                content = evidence.issue(Store(values.folder), device, request, user, noted(), values.archive_digest)
                out.write(content)
            except BaseException:
                args.out.unlink()
                raise
    except User.DoesNotExist:
        return _failed(f"没有用户 {args.by}")
    except Device.DoesNotExist:
        return _failed(f"没有接入过设备 {args.mn}")
    except OSError as error:
        return _failed(f"{args.out}：{error.strerror or error}")
    except (ValueError, Forbidden, archive.ArchiveError) as error:
        return _failed(str(error))
    print(f"{evidence.verify.sha256(content)}  {args.out}")
    return 0


def moment(text: str) -> float:
    """A Beijing time. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"时间 {text!r} 应如 2026-03-01 或 2026-03-01T08:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=BEIJING)).timestamp()


def _read_heads(path: Path) -> list[Head]:
    return [Head(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _noted_heads() -> list[Noted]:
    operate._django()
    from ceguan.watch import evidence

    return evidence.noted()


class Bar:
    """A progress bar on the terminal's error channel; calls take bytes done."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

        console = Console(stderr=True)
        self._bar = Progress(
            BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=console, disable=not console.is_terminal
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        return lambda size: self._bar.advance(self._task, size)

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()


def _size(stream: Path) -> int:
    return sum(path.stat().st_size for path in stream.glob("*.seg"))


def _failed(cause: str) -> int:
    print(cause, file=sys.stderr)
    return 2
