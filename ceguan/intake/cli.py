"""`ceguan gateway`, and `ceguan import …` for what does not speak HJ 212."""

from __future__ import annotations

import argparse
import getpass
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ceguan import clock, settings
from ceguan.intake.console import cause, failed
from ceguan.words import Kind

if TYPE_CHECKING:
    from ceguan.intake.files import Row
    from ceguan.intake.sheets import Line

SHOWN = 10
BATCH = 200_000  # lines checked together: what waits in the archive is read once for each
PLATFORM = {
    "cnemc-archive": ("china_*.csv", "全国空气质量小时历史数据：每天一个文件，date,hour,type,站点（或城市）…"),
    "cnemc-feed": ("*.json、*.csv", "国家平台实况：JSON（airnow.json 一类）或同名列的 CSV；o3_24h 是小时值"),
}
"""Formats of the national platform: files looked for in a folder, and what they are."""
KINDS = {kind.name.lower(): kind for kind in Kind}


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Adds `gateway` and `import`; each sets `run`, called with the arguments, which returns the exit code."""
    gateway = _verb(verbs, "gateway", "HJ 212 网关：收帧、落盘、应答")
    gateway.add_argument("--host", help="监听地址，默认取设置 gateway_host")
    gateway.add_argument("--port", type=int, help="端口，默认取设置 gateway_port")
    gateway.add_argument("--processes", type=int, metavar="N", help="进程数，默认取设置 gateway_processes")
    gateway.add_argument("--stream", type=int, metavar="N", help="第一个归档流的编号，默认取设置 gateway_stream_base")
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
    for name, (pattern, title) in PLATFORM.items():
        platform = _verb(kinds, name, f"{title}；PATH 为文件，或含 {pattern} 的文件夹")
        _common(platform)
        platform.add_argument("--registered", action="store_true", help="登记簿里没有的站点不算拒收，只报个数")
        platform.set_defaults(run=run_platform, format=name)


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
    stream = values.gateway_stream_base if args.stream is None else args.stream
    return processes.run(values, values.gateway_host, values.gateway_port, values.gateway_processes, stream)


def run_readings(args: argparse.Namespace) -> int:
    from ceguan.intake import sheets

    return _import(args, [args.file], sheets.readings, KINDS[args.kind], args.label)


def run_uci(args: argparse.Namespace) -> int:
    from ceguan.intake import sheets

    return _import(args, [args.file], lambda path: sheets.uci(path, args.point), Kind.HOUR, "start")


def run_water_national(args: argparse.Namespace) -> int:
    from ceguan.intake import sheets

    paths = _files(args.file, "*.json", "*.csv")
    if not paths:
        return failed(f"{args.file}：没有 .json 或 .csv 文件")
    return _import(args, paths, lambda path: sheets.national_water(path, args.year), Kind.HOUR, "start")


def run_platform(args: argparse.Namespace) -> int:
    """Every file of the format; of a station that is not in the register one line says so, once."""
    import django

    django.setup()
    from ceguan.intake import cnemc, files
    from ceguan.registry.models import User

    paths = _files(args.file, *PLATFORM[args.format][0].split("、"))
    if not paths:
        return failed(f"{args.file}：没有 {PLATFORM[args.format][0]}")
    user = User.objects.filter(username=args.by).first() if args.by else None
    names = files.station_names(user)
    others: set[str] = set()
    reader = {"cnemc-archive": cnemc.archive, "cnemc-feed": cnemc.feed}[args.format]

    def read(path: Path) -> list[Line]:
        lines = reader(path, lambda name: name.casefold() in names)
        absent = {line.station for line in lines if line.station and line.station.casefold() not in names} - others
        others.update(absent)
        said = set() if args.registered else absent
        return [line for line in lines if line.station.casefold() in names or line.fault or line.station in said]

    code = _import(args, paths, read, Kind.HOUR, "end")
    if args.registered and others:
        print(f"另有 {len(others)} 个站点不在登记簿，没有收", file=sys.stderr)
    return code


def _files(path: Path, *patterns: str) -> list[Path]:
    """The file, or the files in the folder and below that fit a pattern, by name."""
    if not path.is_dir():
        return [path]
    return sorted({found for pattern in patterns for found in path.rglob(pattern)})


def _import(
    args: argparse.Namespace, paths: list[Path], read: Callable[[Path], list[Line]], kind: Kind, label: str
) -> int:
    """0 when every line was taken or was there already, 1 when lines were refused, 2 when nothing could be done.

    Files are taken one by one, in their order: when one cannot be read, those before it are in and the message says so.
    """
    import django

    django.setup()
    from ceguan.intake import files, sheets
    from ceguan.registry.models import User
    from ceguan.registry.rights import Forbidden
    from ceguan.store import ArchiveError, Store

    values = settings.load()
    store, now = Store(values.folder), clock.now()
    done = _Done(args)
    try:
        user = User.objects.get(username=args.by) if args.by else None
        by = user.username if user else f"local:{getpass.getuser()}"
        for lines in _batches(paths, read):
            rows = files.check(lines, kind, label, user, store, now, values.future_minutes * 60)
            if args.result:
                args.result.open("a").close()  # a result that cannot be written is said before anything is taken in
            if args.yes:
                for file, some in files.by_file(rows, args.file.name).items():
                    done.records += len(files.take(some, file, user, by, store, now))
            done.add(rows)
    except User.DoesNotExist:
        return failed(f"没有用户 {args.by}")
    except OSError as error:
        return failed(f"{error.filename or args.file}：{cause(error)}{done.before()}")
    except (sheets.Unreadable, Forbidden, ArchiveError) as error:
        return failed(f"{error}{done.before()}")
    return done.say(values)


def _batches(paths: list[Path], read: Callable[[Path], list[Line]]) -> Iterator[list[Line]]:
    """Lines of the files, some files together; with several files it says how far it is.

    When a file cannot be read, the lines of those before it come first, then the error.
    """
    lines: list[Line] = []
    for number, path in enumerate(paths, 1):
        try:
            found = read(path)
            lines += (
                [line if line.file else replace(line, file=path.name) for line in found] if len(paths) > 1 else found
            )
        except (ValueError, OSError):
            if lines:
                yield lines
            raise
        if len(paths) > 1:
            print(f"[{number}/{len(paths)}] {path.name}", file=sys.stderr)
        if len(lines) >= BATCH:
            yield lines
            lines = []
    if lines or len(paths) == 1:
        yield lines


class _Done:
    """What has become of the lines so far; results are written as they come."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.records = 0
        self.counts: Counter[str] = Counter()
        self.first: list[Row] = []
        self.refused: list[Row] = []
        self.written = False

    def add(self, rows: list[Row]) -> None:
        self.counts.update(row.result.value for row in rows)
        self.first += rows[: SHOWN - len(self.first)]
        self.refused += [row for row in rows if row.result == "refused"][: SHOWN - len(self.refused)]
        if self.args.result or self.args.yes:
            self._write(rows)

    def _write(self, rows: list[Row]) -> None:
        from ceguan.intake import files

        heading, self.written = not self.written, True
        if self.args.result is None:
            files.write_results(rows, sys.stdout, heading)
            return
        encoding = "utf-8-sig" if heading else "utf-8"
        with self.args.result.open("w" if heading else "a", encoding=encoding, newline="") as out:
            files.write_results(rows, out, heading)

    def before(self) -> str:
        """What is in already when a later file fails; empty when nothing is."""
        return f"；此前的文件已收入：{self._counts()}" if self.args.yes and self.counts else ""

    def say(self, values: settings.Settings) -> int:
        """The counts and, for a preview, the first lines and the refused ones; the exit code."""
        if self.args.yes:
            self._say_taken(values)
        else:
            self._preview()
        return int(self.counts["refused"] > 0)

    def _counts(self) -> str:
        words = {"accepted": "收入", "unchanged": "不变", "new version": "新版本", "empty": "无值", "refused": "拒收"}
        said = "，".join(f"{word} {self.counts[name]}" for name, word in words.items() if self.counts[name])
        return f"共 {self.counts.total()} 行：{said}"

    def _preview(self) -> None:
        print(self._counts())
        for title, some, count in (
            ("前几行", self.first, self.counts.total()),
            ("拒收", self.refused, self.counts["refused"]),
        ):
            if some:
                print(f"{title}：")
            for row in some:
                line = row.line
                given = " ".join((line.station, line.time, line.factor, line.value, line.unit, line.flag)).strip()
                print(f"  第 {line.number} 行  {row.result:11}  {given}  {row.cause}")
            if count > len(some):
                print(f"  …… 共 {count} 行")
        print("这是预览，什么也没有写；加 --yes 收入")

    def _say_taken(self, values: settings.Settings) -> None:
        from ceguan.pulse import pulse

        print(self._counts(), file=sys.stderr)
        if self.records and not pulse(values.folder / "clockwork.json", time.time()).alive:
            print("已存入归档；时钟没有运行，启动后（ceguan serve 或 ceguan clockwork）才进入台账", file=sys.stderr)
