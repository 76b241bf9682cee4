"""What a move of the store needs at its end: the clockwork's place, one setting written, the processes begun anew."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from ceguan.pulse import GATEWAY, pulse, there
from ceguan.settings import Settings

STOP_SECONDS = 60.0


class MigrateError(Exception):
    """It cannot be moved; the message says why and what to do."""


@contextlib.contextmanager
def ledger_lock(path: Path) -> Iterator[None]:
    """Stop the clockwork as it wants to be stopped, and stand in its place. Raises MigrateError."""
    from ceguan.store.errors import LedgerTakenError
    from ceguan.store.ledger import take_lock

    end, told = time.monotonic() + STOP_SECONDS, ""
    while True:
        try:
            lock = take_lock(path)
            break
        except LedgerTakenError as error:
            if time.monotonic() > end:
                raise MigrateError(f"时钟 {STOP_SECONDS:.0f} 秒内没有停下：{error}") from None
            owner = path.with_name(path.name + ".lock").read_text(errors="replace").strip()
            if owner.isdigit() and owner != told and there(owner):
                os.kill(int(owner), signal.SIGTERM)
                told = owner
            time.sleep(0.02)
    try:
        yield
    finally:
        os.close(lock)


def write_setting(path: Path, name: str, value: str) -> None:
    """One setting in ceguan.toml, everything else as it stood; readable by its owner only."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    kept = re.sub(rf"(?m)^\s*{name}\s*=.*\n?", "", text)
    replace(path, f"{kept.rstrip()}\n{f'{name} = {json.dumps(value)}'}\n".lstrip())


def replace(path: Path, text: str) -> None:
    """A whole file on disk under its name, readable by its owner only."""
    scratch = path.with_name(path.name + ".new")
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def begin_anew(values: Settings) -> None:
    """Who runs under `ceguan serve` is told; the rest is said."""
    from ceguan.operate.supervise import HEARTBEAT

    serving = pulse(values.folder / HEARTBEAT, time.time())
    if serving.alive:
        os.kill(serving.said["pid"], signal.SIGHUP)
        print("ceguan serve 正以新设置重新启动各进程")
        return
    gateway = pulse(values.folder / GATEWAY, time.time())
    if gateway.alive:
        os.kill(gateway.said["pid"], signal.SIGHUP)
    print("请重新启动其余进程：systemctl restart ceguan-clockwork ceguan-web ceguan-forward")
