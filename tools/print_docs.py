"""Prints the pages of docs/ that come from tables; `--check` says which page is behind its table and fails."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ceguan import cli  # noqa: E402  the project's root must be on the path first
from ceguan.intake.hj212.metrics import METRICS  # noqa: E402
from ceguan.settings import SETTINGS  # noqa: E402


def settings_page() -> str:
    rows = "".join(f"| `{s.name}` | `{s.default!r}` | {s.sentence} |\n" for s in SETTINGS)
    return (
        "# 设置 Settings\n\n"
        "环境变量 `CEGUAN_名称`（大写）优先，其次数据目录里的 `ceguan.toml`，再次默认值。\n\n"
        "| 名称 | 默认 | 含义 |\n|---|---|---|\n" + rows
    )


def metrics_page() -> str:
    names = [f"{m.name}_total" if m.kind == "counter" else m.name for m in METRICS]
    rows = "".join(
        f"| `ceguan_gateway_{name}` | {m.kind} | {m.label or '–'} | {m.sentence} |\n"
        for name, m in zip(names, METRICS, strict=True)
    )
    return (
        "# 网关指标 Metrics\n\n"
        "设置 `gateway_metrics_port` 后，`http://127.0.0.1:端口/metrics` 以 Prometheus 格式给出全部网关进程之和；"
        "已退出的进程所计的数仍计在内（被强行结束的，至多少计最后半秒）。\n\n"
        "| 指标 | 类型 | 标签 | 含义 |\n|---|---|---|---|\n" + rows
    )


def cli_page() -> str:
    top = cli.parser()
    verbs = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    parts = ["# 命令 Commands\n\n`ceguan --help` 和每个命令的 `--help` 与本页同源。\n"]
    parts += [f"\n## ceguan {name}\n\n```\n{_usage(sub)}\n```\n" for name, sub in verbs.choices.items()]
    return "".join(parts)


def _usage(parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=110)
    text = parser.format_help().rstrip()
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        text += "".join(f"\n\n{_usage(sub)}" for sub in action.choices.values())
    return text


PAGES = {"settings.md": settings_page, "metrics.md": metrics_page, "commands.md": cli_page}


def main() -> int:
    check = "--check" in sys.argv
    behind = []
    for name, page in PAGES.items():
        path = ROOT / "docs" / name
        with contextlib.redirect_stderr(io.StringIO()):
            text = page()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            behind.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    print("\n".join(f"docs/{name} {'is behind its table: make docs' if check else 'printed'}" for name in behind))
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main())
