"""`ceguan relay` beside a gateway, `ceguan collect` beside the store: archive bytes by way of NATS."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ceguan import settings


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Adds `relay` and `collect`; each sets `run`, which returns the exit code."""
    for name, text, run in (
        ("relay", "网关机器：把归档逐字节经 NATS 送往中心", run_relay),
        ("collect", "中心机器：收下各网关的归档，写到本机归档的同一位置", run_collect),
    ):
        parser = verbs.add_parser(name, help=text, description=text, add_help=False)
        parser.add_argument("-h", "--help", action="help", help="显示帮助")
        parser.set_defaults(run=run)


def run_relay(_: argparse.Namespace) -> int:
    """0 after SIGTERM, 2 when something needs a person."""
    from ceguan.store import relay

    return _until_told(lambda values, stop: relay.relay(values, stop))


def run_collect(_: argparse.Namespace) -> int:
    """0 after SIGTERM, 2 when something needs a person."""
    from ceguan.store import Store, relay

    return _until_told(lambda values, stop: relay.collect(values, stop, lambda: Store(values.folder).positions()))


def _until_told(work: Callable[[settings.Settings, asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    values = settings.load()
    if not values.nats_url:
        print("没有设置 nats_url（CEGUAN_NATS_URL），不知道送往何处", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    return asyncio.run(_run(work, values))


async def _run(work: Callable[..., Coroutine[Any, Any, None]], values: settings.Settings) -> int:
    from ceguan.store.archive import ArchiveError
    from ceguan.store.relay import RelayError

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await work(values, stop)
    except (RelayError, ArchiveError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
