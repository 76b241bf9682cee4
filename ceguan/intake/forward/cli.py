"""`ceguan forward`: forward to the registered targets, once or until stopped, or say how they stand."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from ceguan import settings
from ceguan.words import beijing


def add_parser(verbs: argparse._SubParsersAction) -> None:
    text = "向其他平台转发 HJ 212 报文（目标在网页“向上转发”中登记）"
    parser = verbs.add_parser("forward", help=text, description=text, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="显示帮助")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="把归档中现有的转发完即退出；有目标没送到则退出码为 1")
    how.add_argument("--status", action="store_true", help="只显示各目标的状态；有启用而未连上的则退出码为 1")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Until SIGTERM without --once and --status. 2 when another process forwards already."""
    import django

    django.setup()
    from ceguan.intake.forward import process

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    values = settings.load()
    if args.status:
        return _status(values)
    try:
        if args.once:
            return _once(values)
        process.serve(values)
    except process.AlreadyRunning as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _once(values: settings.Settings) -> int:
    from ceguan.intake.forward import process

    results = process.once(values)
    for target, trouble, link in results:
        if link is None:
            print(f"{target.name}  未送：{trouble}")
        else:
            words = f"未送完：{trouble}" if trouble else "已送完"
            print(f"{target.name}  发送 {link.state.sent} 帧  累计确认 {link.state.acknowledged} 条  {words}")
    if not results:
        print("没有启用的转发目标")
    return int(any(trouble for _, trouble, _ in results))


def _status(values: settings.Settings) -> int:
    from ceguan.intake.forward import process, targets

    pulse, told = process.said(values)
    found = targets.every()
    if not pulse.alive:
        print("转发进程没有运行", file=sys.stderr)
    for target in found:
        print(
            f"{target.name}  {target.host}:{target.port}  HJ 212-{target.edition}  {_words(target, told, pulse.alive)}"
        )
    if not found:
        print("没有登记转发目标")
        return 0
    active = [target for target in found if target.active]
    return int(not pulse.alive or not all(told.get(target.pk, {}).get("connected") for target in active))


def _words(target: Any, told: dict[int, dict[str, Any]], alive: bool) -> str:
    state = told.get(target.pk)
    if not target.active:
        return "停用"
    if state is None or not alive:
        return "状态不明：进程没有报告"
    parts = [
        "已连接" if state["connected"] else "未连接",
        f"待处理 {state['backlog']} 条",
        f"在途 {state['on_the_way']} 帧",
    ]
    parts.append(f"{'已确认' if target.answers else '已写出（对方不应答）'} {state['acknowledged']} 条")
    if state["last_ack"]:
        parts.append(f"最近 {beijing(state['last_ack']):%m-%d %H:%M:%S}")
    if state["errors"]:
        parts.append(f"错误：{state['errors'][-1][1]}")
    return "  ".join(parts)
