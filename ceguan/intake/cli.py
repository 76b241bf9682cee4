"""`ceguan gateway`, and `ceguan import …` for what does not speak HJ 212."""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ceguan import clock, settings
from ceguan.words import Kind

if TYPE_CHECKING:
    from ceguan.intake.files import Row
    from ceguan.intake.sheets import Line

SHOWN = 10
KINDS = {kind.name.lower(): kind for kind in Kind}


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Adds `gateway` and `import`; each sets `run`, called with the arguments, which returns the exit code."""
    gateway = _verb(verbs, "gateway", "HJ 212 网关：收帧、落盘、应答")
    gateway.add_argument("--host", help="监听地址，默认取设置 gateway_host")
    gateway.add_argument("--port", type=int, help="端口，默认取设置 gateway_port")
    gateway.add_argument("--processes", type=int, metavar="N", help="进程数，默认取设置 gateway_processes")
    gateway.add_argument(
        "--stream", type=int, default=0, choices=range(64), metavar="0–63", help="第一个归档流的编号，默认 0"
    )
    gateway.set_defaults(run=run_gateway)
    kinds = _verb(verbs, "import", "从文件导入读数").add_subparsers(metavar="命令", required=True)
    long = _verb(kinds, "readings", "每行一个读数：点位、时间、因子、值、单位、设备标记（CSV 或 xlsx）")
    _common(long)
    long.add_argument("--label", choices=("end", "start"), default="end", help="时间指区间的结束（默认）还是开始")
    long.add_argument("--kind", choices=KINDS, default="hour", help="读数种类：实时、分钟、小时（默认）、日")
    long.set_defaults(run=run_readings)
    wide = _verb(kinds, "uci", "UCI 北京多站点样本：每行一小时，每列一个污染物")
    _common(wide)
    wide.add_argument("--point", required=True, metavar="编码", help="导入到哪个点位")
    wide.set_defaults(run=run_uci)
    national = _verb(kinds, "water-national", "国家地表水自动站发布数据：按日 JSON 或同列 CSV，一个文件或整个文件夹")
    _common(national)
    national.add_argument("--year", type=int, metavar="年", help="时间没有年份时的年份，默认取自文件名或文件夹名")
    national.set_defaults(run=run_water_national)


def _verb(verbs: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="文件")
    parser.add_argument("--yes", action="store_true", help="收入；不加则只预览，什么也不写")
    parser.add_argument("--by", metavar="用户名", help="以谁的名义和权限导入；省略则为本机操作员")
    parser.add_argument("--result", type=Path, metavar="FILE", help="逐行结果写到文件，默认写到标准输出")


def run_gateway(args: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT; SIGHUP reloads. 2 when the port or the data folder is taken."""
    from ceguan.intake.hj212 import processes

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    values = settings.load(gateway_host=args.host, gateway_port=args.port, gateway_processes=args.processes)
    return processes.run(values, values.gateway_host, values.gateway_port, values.gateway_processes, args.stream)


def run_readings(args: argparse.Namespace) -> int:
    from ceguan.intake import sheets

    return _import(args, lambda: sheets.readings(args.file), KINDS[args.kind], args.label)


def run_uci(args: argparse.Namespace) -> int:
    from ceguan.intake import sheets

    return _import(args, lambda: sheets.uci(args.file, args.point), Kind.HOUR, "start")


def run_water_national(args: argparse.Namespace) -> int:
    """Each file of a folder by itself, its name and counts as it is done; --result is then a folder. As `_import`."""
    from ceguan.intake import sheets

    if not args.file.is_dir():
        return _import(args, lambda: sheets.national_water(args.file, args.year), Kind.HOUR, "start")
    paths = sorted(path for path in args.file.rglob("*") if path.suffix.lower() in (".json", ".csv"))
    if not paths:
        return _failed(f"{args.file}：没有 .json 或 .csv 文件")
    if args.result:
        args.result.mkdir(parents=True, exist_ok=True)
    worst = 0
    for number, path in enumerate(paths, 1):
        print(f"[{number}/{len(paths)}] {path.relative_to(args.file)}", file=sys.stderr)
        name = "-".join(path.relative_to(args.file).with_suffix(".csv").parts)
        own = argparse.Namespace(**{**vars(args), "file": path, "result": args.result and args.result / name})
        worst = max(worst, run_water_national(own))
    return worst


def _import(args: argparse.Namespace, read: Callable[[], list[Line]], kind: Kind, label: str) -> int:
    """0 when every line was taken or was there already, 1 when lines were refused, 2 when nothing could be done."""
    import django

    django.setup()
    from ceguan.intake import files, sheets
    from ceguan.registry.models import User
    from ceguan.registry.rights import Forbidden
    from ceguan.store import ArchiveError, Store

    values = settings.load()
    store, now = Store(values.folder), clock.now()
    try:
        user = User.objects.get(username=args.by) if args.by else None
        rows = files.check(read(), kind, label, user, store, now, values.future_minutes * 60)
        if args.result:
            args.result.open("a").close()  # a result that cannot be written is said before anything is taken in
        if args.yes:
            by = user.username if user else f"local:{getpass.getuser()}"
            refs = files.take(rows, args.file.name, user, by, store, now)
    except User.DoesNotExist:
        return _failed(f"没有用户 {args.by}")
    except OSError as error:
        return _failed(f"{error.filename or args.file}：{_cause(error)}")
    except (sheets.Unreadable, Forbidden, ArchiveError) as error:
        return _failed(str(error))
    if not args.yes:
        return _preview(rows, args)
    _write(rows, args.result)
    _say(rows, len(refs), values)
    return int(any(row.result == files.Result.REFUSED for row in rows))


def _cause(error: OSError) -> str:
    causes: dict[type[OSError], str] = {
        FileNotFoundError: "文件不存在",
        IsADirectoryError: "是目录，不是文件",
        PermissionError: "没有读写权限",
    }
    return causes.get(type(error)) or f"无法读写（{error.strerror or error}）"


def _failed(cause: str) -> int:
    print(cause, file=sys.stderr)
    return 2


def _preview(rows: list[Row], args: argparse.Namespace) -> int:
    """Counts, the first lines, the refused lines; writes nothing but the results that were asked for."""
    from ceguan.intake import files

    if args.result:
        _write(rows, args.result)
    print(_counts(rows))
    refused = [row for row in rows if row.result == files.Result.REFUSED]
    for title, some in (("前几行", rows), ("拒收", refused)):
        if some:
            print(f"{title}：")
        for row in some[:SHOWN]:
            line = row.line
            given = " ".join((line.station, line.time, line.factor, line.value, line.unit, line.flag)).strip()
            print(f"  第 {line.number} 行  {row.result:11}  {given}  {row.cause}")
        if len(some) > SHOWN:
            print(f"  …… 共 {len(some)} 行")
    print("这是预览，什么也没有写；加 --yes 收入")
    return int(bool(refused))


def _counts(rows: list[Row]) -> str:
    from ceguan.intake import files

    words = {"accepted": "收入", "unchanged": "不变", "new version": "新版本", "empty": "无值", "refused": "拒收"}
    return f"共 {len(rows)} 行：" + "，".join(f"{words[r]} {n}" for r, n in files.counted(rows).items())


def _write(rows: list[Row], path: Path | None) -> None:
    from ceguan.intake import files

    if path is None:
        files.write_results(rows, sys.stdout)
        return
    with path.open("w", encoding="utf-8-sig", newline="") as out:
        files.write_results(rows, out)


def _say(rows: list[Row], records: int, values: settings.Settings) -> None:
    from ceguan.intake.pulse import pulse

    print(_counts(rows), file=sys.stderr)
    if records and not pulse(values.folder / "clockwork.json", time.time()).alive:
        print("已存入归档；时钟没有运行，启动后（ceguan serve 或 ceguan clockwork）才进入台账", file=sys.stderr)
