"""`ceguan simulate …`: the invented city, its past, its living devices."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime
from typing import Any

from ceguan import clock, settings
from ceguan.words import BEIJING


def add_parser(verbs: Any) -> None:
    top = verbs.add_parser("simulate", help="虚构城市：建城、写历史、让设备活起来")
    kinds = top.add_subparsers(metavar="命令", required=True)
    town = _verb(kinds, "city", "把云澜市写入登记库（已有则不动）", _city)
    past = _verb(kinds, "history", "写入历史帧", _history)
    for sub in (town, past):
        sub.add_argument("--now", type=_moment, metavar="时刻", help="当作现在的北京时间，如 2026-11-24T08:00")
    past.add_argument("--days", type=int, default=90, help="天数，默认 90")
    past.add_argument("--seed", type=int, default=7, help="随机种子，默认 7")
    live = _verb(kinds, "live", "设备经 TCP 向网关实时送数，直到停止", _live)
    over = _verb(kinds, "exceed", "让一个废气排口刚过去的一小时超标", _exceed)
    over.add_argument("--outlet", required=True, metavar="点位编码", help="废气排口的点位编码")
    over.add_argument("--multiple", type=float, default=1.6, help="限值的多少倍，默认 1.6")
    for sub in (live, over):
        sub.add_argument("--host", help="网关地址，默认取设置")
        sub.add_argument("--port", type=int, help="网关端口，默认取设置")
    _verb(kinds, "office", "让虚构的办公室把历史里的发现办到今天", _office)


def _verb(kinds: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    sub = kinds.add_parser(name, help=text, description=text)
    sub.set_defaults(run=run)
    return sub


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=BEIJING).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} 不是时刻，例如 2026-11-24T08:00") from None


def _now(args: argparse.Namespace) -> float:
    return clock.now() if args.now is None else float(args.now)


def _django() -> None:
    import django

    django.setup()


def _city(args: argparse.Namespace) -> int:
    _django()
    from ceguan.simulate import city

    city.build(_now(args))
    return 0


def _history(args: argparse.Namespace) -> int:
    _django()
    from rich.progress import Progress

    from ceguan.simulate import history

    with Progress() as bar:
        task = bar.add_task("写入历史帧", total=1.0)
        count = history.write(
            settings.load().folder, _now(args), args.days, args.seed, lambda share: bar.update(task, completed=share)
        )
    print(f"历史帧 {count} 条")
    return 0


def _live(args: argparse.Namespace) -> int:
    _django()
    from ceguan.simulate import history, live

    values = settings.load(gateway_host=args.host, gateway_port=args.port)
    if not history.state(values.folder):
        print("还没有历史：先运行 ceguan simulate city 和 ceguan simulate history", file=sys.stderr)
        return 2
    return live.run(values.folder, values.gateway_host, values.gateway_port)


def _exceed(args: argparse.Namespace) -> int:
    _django()
    from ceguan.simulate import live, stations

    values = settings.load(gateway_host=args.host, gateway_port=args.port)
    station = next((one for one in stations.load() if one.code == args.outlet), None)
    if station is None:
        print(f"没有名为 {args.outlet} 的点位", file=sys.stderr)
        return 2
    try:
        print(live.exceed(values.gateway_host, values.gateway_port, station, clock.now(), args.multiple))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _office(args: argparse.Namespace) -> int:
    _django()
    from ceguan.simulate import office

    print(f"立案 {office.play(clock.now())} 件")
    return 0
