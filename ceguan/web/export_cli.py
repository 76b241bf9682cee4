"""`ceguan export …`: the same rows as the pages', for whoever runs the platform; every time is on record."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ceguan.registry.models import Point

WHAT = {
    "readings": "读数", "aggregates": "小时、日、月统计", "verdicts": "裁定", "gaps": "缺失的小时与原因",
    "frames": "原始报文（口令以 * 代替）",
}  # fmt: skip
FORMS = ("csv", "xlsx", "parquet")


def add_parser(verbs: Any) -> None:
    title = "导出读数、小时日月统计、裁定、缺失与原因或原始报文，不限行数；记入留痕"
    parser = verbs.add_parser("export", help=title, description=title, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    parser.add_argument("what", choices=WHAT, metavar="内容", help="、".join(f"{k}（{v}）" for k, v in WHAT.items()))
    parser.add_argument("output", metavar="文件", help="写入的文件，写完才出现；- 为标准输出（仅 csv）")
    parser.add_argument("--from", dest="first", required=True, metavar="日期", help="起，日期（北京）或 ISO 时间")
    parser.add_argument("--to", dest="last", required=True, metavar="日期", help="止；日期含当天，时间不含")
    parser.add_argument("--points", default="", metavar="编码", help="点位编码，逗号分隔（默认全部）")
    parser.add_argument("--kind", choices=("rt", "minute", "hour", "day"), default="hour", help="数据种类（默认 hour）")
    parser.add_argument(
        "--period", choices=("hour", "day", "month"), default="day", help="统计的时段（默认 day），只用于 aggregates"
    )
    parser.add_argument("--factor", default="", metavar="编码", help="只导出这个因子")
    parser.add_argument("--as-of", metavar="时间", help="只含当时已收到的读数和已作出的决定与裁定")
    parser.add_argument("--format", dest="form", choices=FORMS, default="csv", help="格式（默认 csv）")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0, or 2 with one line that says what is wrong."""
    import django

    django.setup()
    from django.db import transaction

    from ceguan import clock
    from ceguan.registry import audit
    from ceguan.web import aggregates, export
    from ceguan.web.pages.export import detail, subject
    from ceguan.words import Kind

    try:
        if args.output == "-" and args.form != "csv":
            raise ValueError(f"标准输出只能是 csv，{args.form} 请写入文件")
        start, end = _moment("--from", args.first), _moment("--to", args.last, end=True)
        as_of = _moment("--as-of", args.as_of) if args.as_of else None
        if start >= end:
            raise ValueError(f"--from {args.first} 应早于 --to {args.last}")
        kind = Kind[args.kind.upper()]
        period = aggregates.period(args.period if args.what == "aggregates" else "", kind)
        asked = export.Asked(args.what, _points(args.points), kind, start, end, args.factor, as_of, period)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with transaction.atomic():
        audit.record(None, "export", subject(asked.points), "命令行导出", detail(asked, args.form), clock.now())
    if args.output == "-":
        export.write(args.form, asked, sys.stdout.buffer)
        return 0
    try:
        _whole(Path(args.output), args.form, asked)
    except OSError as error:
        print(f"{args.output}：无法写入：{error.strerror}", file=sys.stderr)
        return 2
    return 0


def _moment(option: str, text: str, end: bool = False) -> int:
    from ceguan.web import export

    try:
        return export.moment(text, end)
    except ValueError:
        raise ValueError(f"{option} {text} 应为日期或 ISO 时间，例如 2026-03-01 或 2026-03-01T08:00") from None


def _points(codes: str) -> list[Point]:
    """Points by code, all without one. Raises ValueError for a code that nobody has, or when there is no point."""
    from ceguan.registry.models import Point

    wanted = [code.strip() for code in codes.split(",") if code.strip()]
    found = Point.objects.select_related("region").prefetch_related("series", "devices").order_by("code")
    points = list(found.filter(code__in=wanted) if wanted else found)
    unknown = sorted(set(wanted) - {point.code for point in points})
    if unknown:
        raise ValueError(f"没有点位 {'、'.join(unknown)}")
    if not points:
        raise ValueError("还没有点位")
    return points


def _whole(path: Path, form: str, asked: Any) -> None:
    """The file appears whole or not at all."""
    from ceguan.web import export

    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
        unfinished = Path(out.name)
        try:
            export.write(form, asked, out)
            out.flush()
            os.fsync(out.fileno())
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    unfinished.chmod(0o644)
    os.replace(unfinished, path)
