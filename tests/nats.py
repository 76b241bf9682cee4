"""Real NATS servers from a wheel: one, or a cluster of three, each a process that can be killed and started again."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

CONFIG = """
listen: "127.0.0.1:{client}"
server_name: "n{number}"
jetstream {{ store_dir: "{folder}", sync_interval: {sync} }}
"""
CLUSTER = """
cluster {{ name: "ceguan", listen: "127.0.0.1:{own}", routes: [{routes}] }}
"""


class Servers:
    def __init__(self, folder: Path, count: int, sync: str = "always", monitor: int = 0) -> None:
        """`monitor`: the port on which the first one tells of itself, 0 = none."""
        self._folder, self._sync, self._monitor = folder, sync, monitor
        self._ports = [free_port() for _ in range(2 * count)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(count):
            self.start(number)

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{port}" for port in self._ports[::2])

    def start(self, number: int) -> None:
        home = self._folder / f"n{number}"
        home.mkdir(parents=True, exist_ok=True)
        client, own = self._ports[2 * number : 2 * number + 2]
        text = CONFIG.format(client=client, number=number, folder=home / "store", sync=self._sync)
        if self._monitor and number == 0:
            text += f'http: "127.0.0.1:{self._monitor}"\n'
        if len(self._ports) > 2:
            routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in self._ports[1::2])
            text += CLUSTER.format(own=own, routes=routes)
        (home / "nats.conf").write_text(text)
        program = Path(sys.prefix) / "bin" / "nats-server"
        self._running[number] = subprocess.Popen(
            [program, "-c", home / "nats.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", client), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the NATS server did not come up")

    def kill(self, number: int) -> None:
        process = self._running.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for number in list(self._running):
            self.kill(number)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
