"""`ceguan hj212 send`: queue a command as a person at this machine would, and tell how it goes."""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from typing import TYPE_CHECKING

from ceguan import clock
from ceguan.intake.hj212.commands import SECRETS, CommandError
from ceguan.words import beijing

if TYPE_CHECKING:
    from ceguan.intake.models import Command

LOOK_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mn", metavar="MN", help="已接入设备的 MN")
    parser.add_argument("cn", metavar="CN", help="命令编码，例如 1011 提取现场机时间")
    parser.add_argument(
        "parameters", nargs="*", metavar="名称=值", help="参数，例如 RtdInterval=60；密码写 NewPW=- 则另行输入"
    )
    parser.add_argument("--why", required=True, metavar="理由", help="记入留痕")
    parser.add_argument("--by", metavar="用户名", help="以谁的名义和权限下发；省略则为本机操作员")
    parser.add_argument("--wait", action="store_true", help="等到命令结束，逐步输出经过")
    parser.add_argument("--expires", type=float, metavar="秒", help="多久没有发出即过期；默认按命令的风险")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 queued, with --wait done; 1 when it ended otherwise; 2 when it cannot be queued."""
    import django

    django.setup()
    from ceguan.intake import commands
    from ceguan.registry.models import Device, User
    from ceguan.registry.rights import Forbidden

    given = dict(_given(text) for text in args.parameters)
    try:
        device = Device.objects.select_related("point__region").get(mn=args.mn)
        who = User.objects.get(username=args.by) if args.by else None
        why = args.why if who else f"{args.why}（本机操作员 {getpass.getuser()}）" if args.why.strip() else ""
        made = commands.queue(device, args.cn, given, who, why, clock.now(), lives=args.expires)
    except Device.DoesNotExist:
        return _failed(f"没有已接入的设备 {args.mn}")
    except User.DoesNotExist:
        return _failed(f"没有用户 {args.by}")
    except (CommandError, Forbidden) as error:
        return _failed(str(error))
    row = made.row
    print(f"命令 {made.pk} 已排队：{made.cn} {row.name if row else ''} → {device.mn}", flush=True)
    return _follow(made) if args.wait else 0


def _given(text: str) -> tuple[str, str]:
    """Name and value; `NewPW=-` asks for the value, so that it stands in no command line."""
    name, _, value = text.partition("=")
    return name, getpass.getpass(f"{name}：") if value == "-" and name in SECRETS else value


def _follow(command: Command) -> int:
    """Print each step until the end; 0 when it is done."""
    from ceguan.intake import commands
    from ceguan.intake.models import WAITING, Command, State

    said = ""
    while True:
        found = Command.objects.get(pk=command.pk)
        step = f"{found.state_label.zh} {_detail(found)}".strip()
        if step != said:
            said = step
            print(f"{beijing(found.changed.timestamp()):%H:%M:%S} {step}", flush=True)
        if found.state == State.QUEUED and found.expires.timestamp() < clock.now():
            commands.expire(clock.now())  # no gateway is there to do it
        elif found.state not in WAITING:
            for item in found.answer.get("items", ()):
                print("  " + "  ".join(f"{name}={value}" for name, value in _flat(item)))
            return int(found.state != State.DONE)
        time.sleep(LOOK_SECONDS)


def _detail(command: Command) -> str:
    sends = f"第 {command.attempts} 次" if command.attempts > 1 else ""
    uploads = f"{command.answer['uploads']} 条数据" if command.answer.get("uploads") else ""
    return "，".join(filter(None, (sends, command.result.zh, uploads)))


def _flat(item: dict) -> list[tuple[str, str]]:
    fields = [
        (f"{code}-{name}", value) for code, values in item.get("factors", {}).items() for name, value in values.items()
    ]
    return [*item.get("cp", {}).items(), *fields]


def _failed(cause: str) -> int:
    print(cause, file=sys.stderr)
    return 2
