"""What every verb has in common: its parser, its input and output, one line for what is wrong with the input."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from ceguan.evaluate.table import BadInput
from ceguan.standards.tables import NotInForce


def guarded(verb: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The verb, with `BadInput` as one line on standard error and exit code 2."""

    def run(args: argparse.Namespace) -> int:
        try:
            return verb(args)
        except BadInput as error:
            print(error, file=sys.stderr)
            return 2

    return run


def add_verb(
    verbs: Any, name: str, verb: Callable[[argparse.Namespace], int], title: str, columns: str
) -> argparse.ArgumentParser:
    """A verb that reads one table and writes one; `columns` is its contract, shown by --help."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=title, description=title, epilog=columns, add_help=False
    )
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    parser.add_argument("input", metavar="文件", help="CSV（UTF-8 或 GBK）或 Parquet，- 为标准输入")
    parser.add_argument(
        "-o", "--output", metavar="文件", help="写入文件，.parquet 结尾则为 Parquet（默认写 CSV 到标准输出）"
    )
    parser.set_defaults(run=guarded(verb))
    return parser


def law_options(parser: argparse.ArgumentParser, editions: Sequence[str]) -> None:
    """`--edition` and `--as-if`: which law to judge by, instead of that of the day measured."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--edition", choices=editions, help="指定版本，不论日期")
    chosen.add_argument("--as-if", type=day_argument, metavar="日期", help="按这一天有效的规定评价，例如 2031-01-01")


def day_argument(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} 不是日期，例如 2031-01-01") from None


def in_law(judge: Any, *args: Any) -> Any:
    """judge(*args), a day without a law in force as BadInput."""
    try:
        return judge(*args)
    except NotInForce as error:
        raise BadInput(f"{error}；--as-if 指定按哪一天的规定评价") from error
