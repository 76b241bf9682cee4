"""`ceguan simulate …`: the invented city, its past, its living devices."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from typing import Any

from ceguan import clock, settings
from ceguan.intake.hj212.cli import address, count, key, rate
from ceguan.words import BEIJING


def add_parser(verbs: Any) -> None:
    top = verbs.add_parser("simulate", help="虚构城市与虚构设备：建城、写历史、让设备活起来")
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
    _add_hj212(kinds)
    _verb(kinds, "office", "让虚构的办公室把历史里的发现办到今天", _office)


def _add_hj212(kinds: Any) -> None:
    from ceguan.simulate.hj212.faults import FAULTS, FaultError, parse
    from ceguan.simulate.hj212.values import KINDS

    def faults(text: str) -> Any:
        try:
            return parse(text)
        except FaultError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    listed = "；".join(f"{one.name}（{one.sentence}，{one.share:g}）" for one in FAULTS.values())
    sub = _verb(kinds, "hj212", "模拟 HJ 212 设备：经 TCP 向任何平台送数、应答请求、造故障、加负载", _hj212)
    sub.add_argument("--to", required=True, type=address, metavar="HOST:PORT", help="平台的地址")
    sub.add_argument("--devices", type=count, default=1, metavar="N", help="设备台数，每台一条连接，默认 1")
    sub.add_argument("--edition", type=int, choices=(2005, 2017, 2025), default=2017, help="协议版本，默认 2017")
    sub.add_argument("--key", type=key, metavar="HEX", help="SM4 密钥（2025 版），32 位十六进制")
    sub.add_argument("--kind", choices=KINDS, default="gas", help="空气站、水质断面、废气（默认）、废水排口")
    sub.add_argument("--interval", type=count, default=60, metavar="秒", help="实时数据间隔，默认 60 秒")
    sub.add_argument("--speed", type=rate, default=1.0, metavar="倍",
                     help="时间倍速；给出 --seconds 时模拟到此刻为止，否则从此刻起跑到将来")  # fmt: skip
    sub.add_argument("--faults", type=faults, default="", metavar="故障[:比例],…",
                     help=f"all 或若干种，括号内为默认比例：{listed}".replace("%", "%%"))  # fmt: skip
    sub.add_argument("--seed", type=int, default=7, help="随机种子，同一种子是同一批设备，默认 7")
    sub.add_argument("--seconds", type=float, default=0.0, metavar="秒", help="运行多久，默认直到停止")
    sub.add_argument("--mn", default="", help="设备编码；多台时末六位为序号")
    sub.add_argument("--pw", default="123456", metavar="口令", help="设备口令，默认 123456")
    sub.add_argument("--overtime", type=float, default=10.0, metavar="秒", help="等应答的时间，默认 10 秒")
    sub.add_argument("--json", action="store_true", help="每次报告输出一行 JSON")


def _hj212(args: argparse.Namespace) -> int:
    """0 when devices spoke, 2 when none ever reached the platform."""
    from ceguan.simulate.hj212 import fleet

    options = fleet.Options(
        args.to[0], args.to[1], args.devices, args.edition, args.kind, args.interval, args.speed, args.faults,
        args.seed, args.seconds, args.pw, args.mn, args.key, args.overtime,
    )  # fmt: skip
    trouble = fleet.run(options, _print_json if args.json else _print_report)
    if trouble:
        print(f"无法连接 {args.to[0]}:{args.to[1]}（{trouble}）", file=sys.stderr)
    return 2 if trouble else 0


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report), flush=True)


def _print_report(report: dict[str, Any]) -> None:
    took = "" if report["answer_ms_p50"] is None else (
        f"  应答 {report['answer_ms_p50']:.1f}/{report['answer_ms_p99']:.1f} 毫秒（中位/99%）"
    )  # fmt: skip
    troubles = {"again": "重发", "given_up": "放弃", "broken": "断线", "bad_answers": "坏应答", "waiting": "待发"}
    rest = "".join(f"  {word} {report[name]}" for name, word in troubles.items() if report[name])
    asked = sum(report["requests"].values())
    print(
        f"{report['seconds']:6.0f} 秒  连接 {report['connections']}  发送 {report['frames_per_second']:.0f} 帧/秒"
        f"  应答 {report['answers_per_second']:.0f} 个/秒  累计 {report['answered']}/{report['sent']}{took}{rest}"
        f"{f'  收到请求 {asked}' * bool(asked)}  本进程 CPU {report['cpu_share']:.0%}",
        flush=True,
    )


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
