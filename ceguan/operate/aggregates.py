"""`ceguan aggregates`: how many hours, days and months are kept, and whether they are what the readings give."""

from __future__ import annotations

import argparse
import sys
from itertools import islice

from ceguan import settings

SHOWN = 20


def add_parser(verbs: argparse._SubParsersAction) -> None:
    text = "小时、日、月统计：列出保存了多少；--verify 由读数重算并比较，一致返回 0，不一致逐条说明并返回 1"
    parser = verbs.add_parser("aggregates", help=text, description=text, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    parser.add_argument("--verify", action="store_true", help="由读数重算并比较")
    parser.add_argument("--month", metavar="月份", help="只核验这个北京时间月份，例如 2026-03（默认全部）")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ceguan.store import Store, history
    from ceguan.words import beijing

    try:
        if args.month:
            history.month_span(args.month)
    except ValueError:
        print(f"--month {args.month} 应为年-月，例如 2026-03", file=sys.stderr)
        return 2
    store = Store(settings.load().folder)
    kept = store.aggregates_kept()
    hours, days, months = kept.rows.values()
    behind = f"；{beijing(kept.since):%Y-%m-%d} 之前的尚未保存，读取时现算" if kept.since else ""
    print(f"保存着小时统计 {hours} 行、日统计 {days} 行、月统计 {months} 行；待算 {kept.marked} 个序列日{behind}")
    if not args.verify:
        return 0
    found = list(islice(store.aggregate_differences(args.month), SHOWN))
    for one in found:
        print(one)
    if len(found) == SHOWN:
        print(f"只列出前 {SHOWN} 条")
    if not found:
        print("统计与由读数重算的结果一致")
    return int(bool(found))
