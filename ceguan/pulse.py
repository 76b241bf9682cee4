"""Whether a process of ours lives: it writes a heartbeat file into the data folder, and anybody may look."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

log = logging.getLogger(__name__)

GATEWAY, RELAY, COLLECT = "gateway.json", "relay.json", "collect.json"
"""Heartbeats in the data folder."""
STALE_SECONDS = 30.0
LOOK_AROUND_SECONDS = 10.0
"""How often the centre hears of its gateway machines."""
NOT_SYNCHRONISED = 5
"""TIME_ERROR of adjtimex(2)."""


class Pulse(NamedTuple):
    """`state`: running, stalled (the process is there, its heart is not), stopped, or never (no heartbeat file)."""

    state: str
    age: float  # real seconds since the last beat
    said: dict[str, Any]

    @property
    def alive(self) -> bool:
        return self.state == "running"


def pulse(path: Path, real: float) -> Pulse:
    """The heartbeat in `path` at the real time `real` [UTC epoch s]."""
    try:
        said = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return Pulse("never", 0.0, {})
    age = max(0.0, real - float(said.get("real", 0)))
    if not said.get("running") or not there(said.get("pid")):
        return Pulse("stopped", age, said)
    return Pulse("running" if age < STALE_SECONDS else "stalled", age, said)


def write_heartbeat(path: Path, state: Mapping[str, Any]) -> None:
    """`beat`; what cannot be written is logged."""
    try:
        beat(path, state)
    except OSError as error:  # a full disk must not stop the gateway from taking in what still fits
        log.warning("心跳文件写不了：%s", error)


def there(pid: Any) -> bool:
    """Whether this machine has a process of this number."""
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, TypeError, ValueError):
        return False
    return True


def beat(path: Path, state: Mapping[str, Any]) -> None:
    """Write a heartbeat; readers see the old one or the new one whole. Raises OSError."""
    scratch = path.with_suffix(".json.new")
    scratch.write_bytes(orjson.dumps(state))
    scratch.replace(path)


def clock_synchronised() -> bool | None:
    """Whether the kernel says that the server's clock follows a time source; None where it cannot be asked."""
    timex = ctypes.create_string_buffer(512)  # struct timex with modes = 0: only asks
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (AttributeError, OSError):  # not Linux
        return None
    return None if state < 0 else state != NOT_SYNCHRONISED
