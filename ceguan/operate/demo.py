"""`ceguan demo`: an invented city, ninety days of history, then everything in one foreground command."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ceguan import operate, settings
from ceguan.operate import supervise

MARK = "demo.json"
"""Present in a demo's data folder; without it --reset refuses to delete anything."""


def run(args: argparse.Namespace) -> int:
    """Build the city unless it is there, then serve. Returns an exit code."""
    values = settings.load(demo=True)
    folder = values.folder
    problem = _unfit(folder)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    if args.reset:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ["CEGUAN_DEMO"] = "true"
    _set_clock(folder, args.speed)
    operate.setup()  # also for a city built by an earlier version
    if not _state(folder).get("built"):
        _build(folder, args)
    console = Console()
    return supervise.run(values, extra={"devices": ["simulate", "live"]}, ready=lambda: _announce(console, values))


def _unfit(folder: Path) -> str | None:
    """A folder that holds something else than a demo is left alone."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        return f"{folder} 里已有别的数据，演示不会动它。换一个目录：CEGUAN_DATA=目录 ceguan demo"
    return None


def _state(folder: Path) -> dict:
    path = folder / MARK
    return json.loads(path.read_text()) if path.is_file() else {}


def _keep_state(folder: Path, **changes: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{MARK}.new"
    scratch.write_text(json.dumps(_state(folder) | changes))
    scratch.replace(folder / MARK)


def _set_clock(folder: Path, speed: float) -> None:
    """A time-lapse demo goes on from where its platform time stood; at speed 1 from the start it is real time."""
    stood = _state(folder).get("platform_time")
    if speed == 1 and stood is None:
        _keep_state(folder)
        return
    real = time.time()
    os.environ["CEGUAN_DEMO_CLOCK"] = f"{real},{stood or real},{speed}"
    _keep_state(folder, platform_time=stood or real)


def _build(folder: Path, args: argparse.Namespace) -> None:
    """City, then history; the clockwork begins to work the history off while it is still being written."""
    ceguan = [sys.executable, "-m", "ceguan"]
    subprocess.run([*ceguan, "simulate", "city"], check=True)
    with subprocess.Popen([*ceguan, "clockwork"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as clockwork:
        try:
            past = ["simulate", "history", "--days", str(args.days), "--seed", str(args.seed)]
            subprocess.run([*ceguan, *past], check=True)
        finally:
            clockwork.terminate()
    _keep_state(folder, built=True)


def _announce(console: Console, values: settings.Settings) -> None:
    from ceguan.simulate.city import demo_users

    address = f"http://{values.web_host}:{values.web_port}/"
    console.print(f"\n[bold]测管演示城市[/bold]  {address}  网关 {values.gateway_host}:{values.gateway_port}")
    console.print("公众页不用登录；演示账号（只在回环地址有效）：")
    for user in demo_users():
        console.print(f"  {user.username:12} {user.password:14} {user.role_zh}  {user.region_zh}")
    console.print(f"数据目录 {values.folder}；Ctrl-C 停止，再次启动接着用；make demo RESET=1 从头来。\n")
    threading.Thread(target=_follow, args=(console, values.folder), daemon=True).start()


def _follow(console: Console, folder: Path) -> None:
    """Show how the clockwork works off the history, then let the office play its past; keep the platform time."""
    with Progress(
        TextColumn("时钟处理历史帧"),
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("", total=None)
        most = 0
        while (backlog := _backlog(folder)) is None or backlog > 0:
            if backlog is not None:
                most = max(most, backlog)
                bar.update(task, total=most, completed=most - backlog)
            time.sleep(0.5)
        bar.update(task, total=1, completed=1)
    if not _state(folder).get("office"):
        subprocess.run([sys.executable, "-m", "ceguan", "simulate", "office"], check=False)
        _keep_state(folder, office=True)
    console.print("一切就绪。")
    while "platform_time" in _state(folder):
        from ceguan import clock

        _keep_state(folder, platform_time=clock.now())
        time.sleep(5)


def _backlog(folder: Path) -> int | None:
    """Archive bytes that the clockwork has not yet worked off, from its heartbeat; None before the first beat."""
    try:
        return json.loads((folder / "clockwork.json").read_text())["backlog_bytes"]
    except (OSError, ValueError, KeyError):
        return None
