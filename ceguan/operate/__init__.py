"""Running the platform: set up, serve, demo, accounts, the audit trail."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Callable
from typing import Any

from ceguan import settings
from ceguan.words import ROLES


def add_parser(verbs: argparse._SubParsersAction) -> None:
    from ceguan.operate import doctor, migrate_store

    _verb(verbs, "setup", "建立数据目录和业务库（可重复执行）", lambda args: setup())
    serve = _verb(verbs, "serve", "一条命令启动网关、时钟和网页，Ctrl-C 停止", _serve)
    serve.add_argument("--host", help="网页监听地址，默认取设置 web_host")
    serve.add_argument("--port", type=int, help="网页端口，默认取设置 web_port")
    serve.add_argument(
        "--part", choices=("all", "gateway", "centre"), default="all",
        help="只启动网关机器的部分（网关、relay）或中心的部分（collect、时钟、网页、转发）；默认全部",
    )  # fmt: skip
    _verb(verbs, "settings", "列出全部设置：名称、当前值、含义", lambda args: _settings())
    demo = _verb(verbs, "demo", "建立虚构城市并启动全部服务", _demo)
    demo.add_argument("--reset", action="store_true", help="删除演示数据，从头开始")
    demo.add_argument("--speed", type=float, default=1.0, help="时间倍速，默认 1")
    demo.add_argument("--days", type=int, default=90, help="历史天数，默认 90")
    demo.add_argument("--seed", type=int, default=7, help="随机种子，默认 7")
    accounts = _verb(verbs, "accounts", "列出账号；--password 改口令，--add 建账号", _accounts)
    accounts.add_argument("--password", metavar="用户名", help="改这个账号的口令")
    accounts.add_argument("--add", metavar="用户名", help="建一个账号；口令从终端或标准输入读取")
    accounts.add_argument("--role", choices=[str(role) for role in ROLES], help="新账号的角色")
    accounts.add_argument("--region", metavar="代码", help="新账号的辖区；领导和管理员可省略，即全部")
    migrate_store.add_parser(verbs)
    doctor.add_parser(verbs)
    _verb(verbs, "audit", "核验留痕链：审计记录与案件事件", lambda args: _audit())


def _verb(verbs: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    sub = verbs.add_parser(name, help=text, description=text)
    sub.set_defaults(run=run)
    return sub


def setup() -> int:
    """Make the data folder and bring the business database to this version. Returns an exit code."""
    folder = settings.load().folder
    for part in ("archive", "history", "files", "logs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _django()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    return 0


def demo_accounts() -> list[str]:
    """User names that still have the published demo password."""
    _django()
    from ceguan.registry.models import User

    return list(User.objects.filter(demo_password=True).order_by("username").values_list("username", flat=True))


def _serve(args: argparse.Namespace) -> int:
    from ceguan.operate import supervise

    setup()
    return supervise.run(settings.load(web_host=args.host, web_port=args.port), part=args.part)


def _demo(args: argparse.Namespace) -> int:
    from ceguan.operate import demo

    return demo.run(args)


def _settings() -> int:
    values = settings.load()
    for setting in settings.SETTINGS:
        print(f"{setting.name:24} {getattr(values, setting.name)!r:32} {setting.sentence}")
    return 0


def _accounts(args: argparse.Namespace) -> int:
    _django()
    from ceguan.registry.models import User

    if args.add:
        return _add_account(args.add, args.role, args.region)
    if not args.password:
        for user in User.objects.order_by("username"):
            note = "仍用演示口令" if user.demo_password else ""
            print(f"{user.username:16} {user.get_role_display():8} {user.region or ''} {note}")
        return 0
    user = User.objects.filter(username=args.password).first()
    if user is None:
        print(f"没有名为 {args.password} 的账号；用 ceguan accounts 查看", file=sys.stderr)
        return 2
    return _change_password(user, _typed_password())


def _typed_password() -> str:
    return getpass.getpass("新口令：") if sys.stdin.isatty() else sys.stdin.readline().strip()


def _add_account(name: str, role: str | None, region: str | None) -> int:
    """A new person; the password as strict as on the pages. In the audit trail as done by the operator."""
    from django.db import transaction

    from ceguan import clock
    from ceguan.registry import audit
    from ceguan.registry.models import Region, User

    place = Region.objects.filter(code=region).first() if region else None
    problems = (
        (not role, "请用 --role 说明角色"),
        (User.objects.filter(username=name).exists(), f"已有名为 {name} 的账号"),
        (bool(region) and place is None, f"没有代码为 {region} 的辖区"),
    )
    if found := next((text for wrong, text in problems if wrong), None):
        print(found, file=sys.stderr)
        return 2
    with transaction.atomic():
        user = User(username=name, role=role, region=place)
        if code := _change_password(user, _typed_password()):
            return code
        audit.record(
            None, "account.add", f"user:{name}", "本机操作员建立", {"role": role, "region": region}, clock.now()
        )
    return 0


def _change_password(user: Any, password: str) -> int:
    from django.contrib.auth.password_validation import validate_password
    from django.core.exceptions import ValidationError

    try:
        validate_password(password, user)
    except ValidationError as error:
        print("口令未改：" + "；".join(error.messages), file=sys.stderr)
        return 2
    user.set_password(password)
    user.demo_password = user.must_change_password = False
    user.save()
    print(f"{user.username} 的口令已设")
    return 0


def _audit() -> int:
    _django()
    from ceguan.cases import engine
    from ceguan.cases.models import Case
    from ceguan.registry import audit

    breaks = [audit.verify(), *(engine.verify(case) for case in Case.objects.all())]
    found = [text for text in breaks if text]
    print("\n".join(found) or f"留痕链完好：审计记录与 {len(breaks) - 1} 件案件")
    return 1 if found else 0


def _django() -> None:
    """Django made ready, once."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ceguan.django_settings")
    from django import setup
    from django.apps import apps

    if not apps.ready:
        setup()
