"""The second machine of `tools/kills.py`: a data centre as `docs/deploy.md` has it, of real servers on this machine.

NATS on three nodes (R3, sync always), collect, PostgreSQL (its fsync on) with registers and ledger, a clockwork of its
own that reads the replica, a Ray cluster of two nodes for `ceguan recompute`. Any of them may be killed with -9.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
from soak import Keeper, kill

from tests.nats import Servers
from tests.postgres import Server

ROOT = Path(__file__).parents[1]
REGISTERS = ("Region", "Point", "Series", "Device", "User")


class Centre:
    """`data`: its folder. The servers run at once, our own processes from `keepers` on."""

    def __init__(self, data: Path, logs: Path) -> None:
        self.data, self._logs = data, logs
        self.nats = Servers(data.parent / f"{data.name}-nats", 3)
        self.postgres = Server(fsync=True)
        self.database = self.postgres.new_database()
        self.ray = Ray()
        self.answers: list[str] = []
        """What each `recompute` on Ray said of its comparison; the first one was in one process."""

    @property
    def environ(self) -> dict[str, str]:
        return {
            "CEGUAN_DATA": str(self.data), "CEGUAN_DATABASE_URL": self.database, "CEGUAN_NATS_URL": self.nats.url,
            "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip

    def furnish(self) -> None:
        """The same registers, under the same numbers, as the business database of this process."""
        from django.core.management import call_command

        self.data.mkdir()
        dump = self.data / "registers.json"
        call_command("dumpdata", *(f"registry.{name}" for name in REGISTERS), output=str(dump), verbosity=0)
        for arguments in (["migrate"], ["loaddata", str(dump)]):
            command = [sys.executable, "-m", "django", *arguments, "--verbosity", "0"]
            subprocess.run(command, env=os.environ | self.environ, check=True)

    def keepers(self) -> dict[str, Keeper]:
        """Name → its process, started."""
        environ = {name: value for name, value in self.environ.items() if name != "CEGUAN_DATA"}
        return {
            "collect": Keeper(self.data, "collect", logs=self._logs, **environ),
            "centre": Keeper(self.data, "clockwork", logs=self._logs, log="centre", **environ),
        }

    def recompute(self, first: str, last: str, driver: str) -> subprocess.Popen[str]:
        """`ceguan recompute` begun, in its own process or on the cluster."""
        command = [sys.executable, "-m", "ceguan", "recompute", "--from", first, "--to", last]
        environ = os.environ | self.environ | {"CEGUAN_COMPUTE": driver, "CEGUAN_RAY_ADDRESS": self.ray.address}
        return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def note(self, process: subprocess.Popen[str]) -> None:
        """What a `recompute` came to."""
        said, _ = process.communicate()
        lines = [line for line in said.splitlines() if "与已存日裁定比对" in line]
        self.answers.append(lines[0] if lines and process.returncode == 0 else f"代码 {process.returncode}：{said}")

    def kill_postgres(self, chance: random.Random) -> None:
        """The server itself or one of its sessions."""
        self.postgres.kill(chance.choice((None, chance.choice)))

    def kill_nats(self, chance: random.Random) -> None:
        """One node of the three; after a while it is started again."""
        number = chance.randrange(3)
        self.nats.kill(number)
        time.sleep(chance.uniform(0.2, 3))
        self.nats.start(number)

    def stop(self) -> None:
        self.nats.stop()
        self.ray.stop()


class Ray:
    """A cluster of two nodes with a worker each."""

    def __init__(self) -> None:
        # not in a test's own folder: the path of a socket must be short
        os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT), "RAY_TMPDIR": "/tmp"}  # noqa: S108
        from ray.cluster_utils import Cluster

        one = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 << 20}
        self._cluster = Cluster(initialize_head=True, head_node_args=one)
        self._cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
        self.address: str = self._cluster.address
        self._homes = [one for one in psutil.Process().children() if one.name() == "raylet"]

    def kill_worker(self) -> bool:
        """One that works at a part at this moment; False when none does."""
        for worker in self._working():
            kill(worker, signal.SIGKILL)
            return True
        return False

    def _working(self) -> Iterator[int]:
        for home in self._homes:
            for number in Path(f"/proc/{home.pid}/task/{home.pid}/children").read_text().split():
                with suppress(OSError):
                    if Path(f"/proc/{number}/cmdline").read_bytes().startswith(b"ray::map_part"):
                        yield int(number)

    def stop(self) -> None:
        self._cluster.shutdown()
