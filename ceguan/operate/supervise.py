"""One foreground command: start the processes, keep their logs, restart what falls, stop all on Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ceguan import operate
from ceguan.pulse import write_heartbeat
from ceguan.settings import Settings

STOP_SECONDS = 16
WANTED_SECONDS = 5.0
"""How often it is asked whether a process that had nothing to do is wanted now."""
HEARTBEAT = "serve.json"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
WEB_THREADS = 8
"""Of each web process. A thread has at most one connection to the business database and one to the ledger."""


@dataclass
class Child:
    """One process of ours; `falls` counts restarts in a row, so that a broken one backs off instead of spinning."""

    name: str
    command: list[str]
    process: subprocess.Popen | None = None
    falls: int = 0
    again_at: float = 0.0
    wanted: Callable[[], bool] | None = None  # asked before it starts; None: always
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("ceguan.child"))


def run(
    values: Settings, *, part: str = "all", extra: dict[str, list[str]] | None = None,
    ready: Callable[[], None] | None = None,
) -> int:  # fmt: skip
    """Serve until Ctrl-C or SIGTERM. `extra` are more children (name → ceguan arguments); `ready` runs once all are up.

    `part`: all, or what belongs on a gateway's machine or on the centre's (see `PARTS`). Returns 0 after a clean stop,
    2 when a port is taken, demo passwords forbid the address or a gateway's machine does not know where to ship.
    """
    problem = _aimless(values, part) or _refusal(values) or _taken(values, part)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    environ = os.environ | {
        f"CEGUAN_{name.upper()}": str(getattr(values, name)) for name in ("data", "web_host", "web_port")
    }
    children = [Child(name, command) for name, command in commands(values, part, extra or {}).items()]
    if part != "gateway":
        children.append(Child("forward", [sys.executable, "-m", "ceguan", "forward"], wanted=_forwards))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    again = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: again.set())
    write_heartbeat(values.folder / HEARTBEAT, _state(running=True))
    for child in children:
        child.log = _logger(values, child.name)
        _start_wanted(child, environ)
    try:
        if part != "gateway":
            _await_web(values, stop)
        if ready and not stop.is_set():
            ready()
        _keep(children, environ, stop, again, values.folder / HEARTBEAT)
    finally:
        _stop(children)
        write_heartbeat(values.folder / HEARTBEAT, _state(running=False))
    return 0


PARTS = {
    "all": ("gateway", "collect", "clockwork", "web"),
    "gateway": ("gateway", "relay"),
    "centre": ("collect", "clockwork", "web"),
}
"""What runs where. `relay` and `collect` only with NATS."""


def commands(values: Settings, part: str, extra: dict[str, list[str]]) -> dict[str, list[str]]:
    """The command line of each process of this part by name; `extra`: name → ceguan arguments."""
    ceguan = [sys.executable, "-m", "ceguan"]
    web = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--host",
        values.web_host,
        "--port",
        str(values.web_port),
    ]
    web += ["--workers", str(values.web_workers), "--blocking-threads", str(WEB_THREADS), "--no-ws"]
    web.append("ceguan.web.wsgi:application")
    wanted = [name for name in PARTS[part] if values.nats_url or name not in ("relay", "collect")]
    ours = {name: web if name == "web" else [*ceguan, name] for name in wanted}
    return ours | {name: ceguan + arguments for name, arguments in extra.items()}


def _aimless(values: Settings, part: str) -> str | None:
    """A gateway's machine ships its archive, or nobody ever reads it."""
    if part == "gateway" and not values.nats_url:
        return "网关机器须设 nats_url（CEGUAN_NATS_URL），否则收到的帧到不了中心"
    return None


def _refusal(values: Settings) -> str | None:
    """Nothing listens beyond loopback while a published demo password is in force."""
    beyond = [host for host in (values.web_host, values.gateway_host) if host not in LOOPBACK]
    names = operate.demo_accounts() if beyond else []
    if not names:
        return None
    return (
        f"拒绝监听 {beyond[0]}：{len(names)} 个账号仍用公开的演示口令（{'、'.join(names)}）。\n"
        "先逐个改掉：ceguan accounts --password 用户名"
    )


def _taken(values: Settings, part: str) -> str | None:
    pairs = [
        ("web", "网页", values.web_host, values.web_port, "web_port"),
        ("gateway", "网关", values.gateway_host, values.gateway_port, "gateway_port"),
    ]
    for child, name, host, port, setting in pairs:
        if child not in PARTS[part]:
            continue
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                return f"{name}端口 {host}:{port} 不能用（{error.strerror}）。换一个：CEGUAN_{setting.upper()}=端口号"
    return None


def _logger(values: Settings, name: str) -> logging.Logger:
    """The rotating log of one child, data/logs/<name>.log."""
    folder = Path(values.folder) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(
        folder / f"{name}.log", maxBytes=values.log_megabytes << 20, backupCount=5, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger(f"ceguan.child.{name}")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return logger


def _forwards() -> bool:
    """Whether there is a platform to forward to."""
    from ceguan.intake.forward import targets

    return targets.any_active()


def _start_wanted(child: Child, environ: dict[str, str]) -> None:
    if child.wanted is None or child.wanted():
        _start(child, environ)
    else:
        child.again_at = time.monotonic() + WANTED_SECONDS


def _start(child: Child, environ: dict[str, str]) -> None:
    child.process = subprocess.Popen(
        child.command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    threading.Thread(target=_drain, args=(child, child.process), daemon=True).start()


def _drain(child: Child, process: subprocess.Popen) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        child.log.info(line.rstrip())


def _await_web(values: Settings, stop: threading.Event) -> None:
    host = "127.0.0.1" if values.web_host in ("0.0.0.0", "::") else values.web_host  # noqa: S104  compared, not bound
    while not stop.is_set():
        with contextlib.suppress(OSError), socket.create_connection((host, values.web_port), timeout=1):
            return
        stop.wait(0.2)


def _state(running: bool) -> dict[str, object]:
    return {"pid": os.getpid(), "real": time.time(), "running": running}


def _keep(
    children: list[Child], environ: dict[str, str], stop: threading.Event, again: threading.Event, heartbeat: Path
) -> None:
    """Restart what fell, after 1, 2, 4 … 60 seconds; say so on the terminal and in its log. `again`: all begin anew."""
    while not stop.wait(0.5):
        write_heartbeat(heartbeat, _state(running=True))
        if again.is_set():
            again.clear()
            _begin_anew(children)
        for child in children:
            if child.process is not None and child.process.poll() is not None:
                _fell(child)
            elif child.process is None and time.monotonic() >= child.again_at:
                _start_wanted(child, environ)


def _begin_anew(children: list[Child]) -> None:
    """With the settings as they are now: the gateway replaces its processes, the others are started again."""
    for child in children:
        if child.process is None:
            child.falls, child.again_at = 0, 0.0
        elif child.name == "gateway":
            child.process.send_signal(signal.SIGHUP)
        else:
            _end(child.process)
            child.process, child.falls, child.again_at = None, 0, 0.0


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _fell(child: Child) -> None:
    assert child.process is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, signal.SIGTERM)  # workers that outlived their parent hold its port
    code, child.process = child.process.returncode, None
    child.falls += 1
    pause = min(60, 2 ** (child.falls - 1))
    child.again_at = time.monotonic() + pause
    text = f"{child.name} 已退出（代码 {code}），{pause} 秒后重启；见 logs/{child.name}.log"
    child.log.info(text)
    print(text, file=sys.stderr)


def _stop(children: list[Child]) -> None:
    """SIGTERM to all, then wait: the gateway still commits and answers, the clockwork ends its batch."""
    running = [child.process for child in children if child.process is not None]
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
