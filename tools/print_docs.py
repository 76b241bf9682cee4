"""Prints the pages of docs/ that come from tables; `--check` says which page is behind its table and fails."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import scale  # noqa: E402  beside this file

from ceguan import cli  # noqa: E402  the project's root must be on the path first
from ceguan.exposition import Row  # noqa: E402
from ceguan.intake.hj212 import metrics as gateway  # noqa: E402
from ceguan.science import examples  # noqa: E402
from ceguan.settings import SETTINGS  # noqa: E402
from ceguan.standards import catalogue  # noqa: E402
from ceguan.standards.catalogue import Line, Part, Standard  # noqa: E402
from ceguan.watch import metrics as clockwork  # noqa: E402
from ceguan.words import Label  # noqa: E402


def settings_page() -> str:
    rows = "".join(f"| `{s.name}` | `{s.default!r}` | {s.sentence} |\n" for s in SETTINGS)
    return (
        "# 设置 Settings\n\n"
        "环境变量 `CEGUAN_名称`（大写）优先，其次数据目录里的 `ceguan.toml`，再次默认值。\n\n"
        "| 名称 | 默认 | 含义 |\n|---|---|---|\n" + rows
    )


def metrics_page() -> str:
    return (
        "# 指标 Metrics\n\n"
        "网关和时钟各有一个 Prometheus 端点 `http://地址:端口/metrics`，端口为 0（默认）即不提供；"
        "数自进程启动起计，其中没有任何读数、口令。\n\n"
        "## 网关 Gateway\n\n"
        "设置 `gateway_metrics_host`、`gateway_metrics_port`。给出全部网关进程之和；"
        "已退出的进程所计的数仍计在内（被强行结束的，至多少计最后半秒）。\n\n"
        + _metrics(gateway.PREFIX, gateway.METRICS)
        + "\n## 时钟 Clockwork\n\n"
        "设置 `clockwork_metrics_host`、`clockwork_metrics_port`；`ceguan clockwork --once` 不提供。\n\n"
        + _metrics(clockwork.PREFIX, clockwork.METRICS)
    )


def _metrics(prefix: str, rows: tuple[Row, ...]) -> str:
    table = "".join(
        f"| `{prefix}{row.name}{'_total' if row.kind == 'counter' else ''}` | {row.kind} | {row.label or '–'} |"
        f" {row.sentence} |\n"
        for row in rows
    )
    return "| 指标 | 类型 | 标签 | 含义 |\n|---|---|---|---|\n" + table


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


def standards_page() -> str:
    """The list of the standards by subject."""
    parts = [
        "# 标准 Standards\n\n",
        "平台所用的标准，由 `ceguan/standards/` 的表打印。“未核”的行凭记忆或未对照原文，界面同样标出。\n",
    ]
    for subject, found in catalogue.by_subject(catalogue.standards()):
        parts.append(
            f"\n## {subject.zh} {subject.en}\n\n| 标准 | 名称 | 行 rows | 未核 unverified | 有效期 in force |\n"
        )
        parts.append("|---|---|---|---|---|\n")
        parts += [_listed(one) for one in found]
    return "".join(parts)


def _listed(one: Standard) -> str:
    link = f"[{one.name}](standards/{one.slug}.md)"
    name = f"{one.title.zh}<br>{one.title.en}"
    return f"| {link} | {name} | {one.count} | {one.unsure or '–'} | {one.valid_from} – {one.valid_to or ''} |\n"


def standard_page(one: Standard) -> str:
    name = one.name if one.title.zh == one.name else f"{one.name} {one.title.zh}"
    head = f"# {name}\n\n{one.title.en} · [全部标准 all standards](../standards.md)\n"
    case = examples.example(one.name)
    worked = ""
    if case is not None:
        worked = (
            f"\n## 算例 Worked example\n\n已知：{case.given.zh}\n\n**{case.result.zh}**\n\n"
            f"Given: {case.given.en}\n\n**{case.result.en}**\n"
        )
    return head + worked + "".join(_part(part) for part in one.parts)


def _part(part: Part) -> str:
    heads = [_both(c.heading) for c in part.columns]
    heads += ["条款<br>clause", "有效期<br>in force", "可信度<br>trust", "来源<br>source"]
    text = f"\n## {part.title.zh} {part.title.en}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    text += "".join(_row(line) for line in part.lines)
    return text + "\n" + "".join(f"{i}. {_cell(source)}\n" for i, source in enumerate(part.sources, 1))


def _row(line: Line) -> str:
    cells = [_both(c) for c in line.cells]
    word = catalogue.TRUST_WORDS[line.row.trust]
    trust = f"**⚠ {word.zh} {word.en}**" if line.row.trust == "unsure" else f"{line.row.trust} {word.zh}"
    whole = [*cells, line.row.clause, line.period, trust, str(line.note)]
    return f"| {' | '.join(_cell(c) for c in whole)} |\n"


def _both(label: Label) -> str:
    return label.zh if label.zh == label.en else f"{label.zh}<br>{label.en}"


def _cell(text: str) -> str:
    """Text that a table of Markdown does not take for its own marks."""
    return text.replace("|", "\\|").replace("*", "\\*") if "**" not in text else text


def pages() -> dict[str, Callable[[], str]]:
    """Every printed page by its place under docs/."""
    made: dict[str, Callable[[], str]] = {
        "settings.md": settings_page,
        "metrics.md": metrics_page,
        "commands.md": cli_page,
        "standards.md": standards_page,
        "scale.md": scale.page,
    }
    return made | {f"standards/{s.slug}.md": partial(standard_page, s) for s in catalogue.standards()}


def main() -> int:
    check = "--check" in sys.argv
    made, docs = pages(), ROOT / "docs"
    behind = [f"standards/{path.name}" for path in docs.glob("standards/*.md") if f"standards/{path.name}" not in made]
    if not check:
        for name in behind:
            (docs / name).unlink()
    for name, page in made.items():
        path = docs / name
        with contextlib.redirect_stderr(io.StringIO()):
            text = page()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            behind.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    print("\n".join(f"docs/{name} {'is behind its table: make docs' if check else 'printed'}" for name in behind))
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main())
