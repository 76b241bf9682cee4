"""`ceguan …`: asks the rooms, renders nothing itself. Each room adds its verbs with `add_parser(subparsers)`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from ceguan import __version__, settings

VERBS = (
    "ceguan.operate",
    "ceguan.operate.archive",
    "ceguan.operate.backup",
    "ceguan.operate.ledger",
    "ceguan.operate.storage",
    "ceguan.operate.aggregates",
    "ceguan.intake.hj212.cli",
    "ceguan.intake.cli",
    "ceguan.intake.forward.cli",
    "ceguan.store.relay_cli",
    "ceguan.watch.cli",
    "ceguan.evaluate",
    "ceguan.evaluate.recompute",
    "ceguan.web.export_cli",
    "ceguan.simulate.cli",
)
"""Modules that add verbs, in the order `ceguan --help` shows them."""


class Parser(argparse.ArgumentParser):
    """argparse that says in Chinese what is wrong and which verb's help to read; exit code 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(2, f"{self.prog}：{message}\n用 {self.prog} --help 查看用法\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="ceguan", description="测管：生态环境监测与监管平台", add_help=False)
    top.add_argument("-h", "--help", action="help", help="显示帮助")
    top.add_argument("--version", action="version", version=f"ceguan {__version__}", help="显示版本")
    verbs = top.add_subparsers(title="命令", metavar="命令", required=True, parser_class=Parser)
    for module in VERBS:
        importlib.import_module(module).add_parser(verbs)
    return top


def main(argv: list[str] | None = None) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ceguan.django_settings")
    args = parser().parse_args(argv)
    if not getattr(args, "anywhere", False) and (problem := settings.unfinished()):
        print(problem, file=sys.stderr)
        return 2
    try:
        return args.run(args)
    except BrokenPipeError:  # `ceguan … | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from django.core.exceptions import ImproperlyConfigured

        from ceguan.store import ArchiveError, HistoryError, LedgerError
        from ceguan.store.refusals import refusal

        told = isinstance(
            error, ArchiveError | HistoryError | ImproperlyConfigured | LedgerError | settings.SettingError
        )
        cause = str(error) if told else refusal(error)
        if cause is None:
            raise
        print(f"ceguan：{cause}；没有完成的部分没有写入", file=sys.stderr)
        return 2
