"""What a gateway's conversations need of the database; runs in one worker thread. See `host`."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from typing import Any

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from ceguan import clock
from ceguan.intake import adoption, commands, keys
from ceguan.intake.hj212 import commands as table
from ceguan.intake.hj212 import exchange
from ceguan.intake.hj212.commands import CommandError
from ceguan.intake.hj212.host import Host, Order
from ceguan.intake.models import Command, Line, State
from ceguan.pulse import there
from ceguan.registry.models import Device
from ceguan.settings import SUPERSEDED
from ceguan.words import beijing

log = logging.getLogger(__name__)

LEASE_SECONDS = 15.0
"""For so long others leave our commands alone without hearing of us."""
LOOK_SECONDS = 3.0
RENEW_SECONDS = 60.0
_ENDS = {
    exchange.End.DONE: State.DONE,
    exchange.End.REFUSED: State.REFUSED,
    exchange.End.FAILED: State.FAILED,
    exchange.End.TIMEOUT: State.TIMEOUT,
}


class NoDatabase(Exception):
    """The business database cannot be reached now, or is not there yet."""


class Errands:
    """The worker's side; `step` is one round."""

    def __init__(self, host: Host) -> None:
        self.me = f"{socket.gethostname()}:{os.getpid()}:{time.time():.0f}"
        self._host = host
        self._devices: dict[str, int] = {}
        self._moved: set[str] = set()
        self._told = False
        self._looked = self._renewed = -RENEW_SECONDS
        self._millis = 0

    def step(self, errands: deque[tuple[str, tuple[Any, ...]]]) -> None:
        """Do the errands in order, look after what is ours, hand out what may be sent. Raises NoDatabase."""
        self._hear_of_lines()
        self._must_be_there()
        try:
            while errands:
                self._do(*errands[0])
                errands.popleft()  # only now: what could not be written is tried again
            self._look_after()
            self._lines()
            self._orders()
        except Error as error:
            connection.close()
            raise NoDatabase(str(error)) from error

    def leave(self) -> None:
        """The process ends: its connections are nobody's. Raises NoDatabase."""
        self._must_be_there()
        try:
            Line.objects.filter(gateway=self.me).delete()
        except Error as error:
            raise NoDatabase(str(error)) from error
        finally:
            connection.close()

    def _must_be_there(self) -> None:
        """SQLite would make an empty database where there is none; one that moves away is not written any more."""
        if connection.vendor != "sqlite":
            return
        path = settings.DATABASES["default"]["NAME"]
        if not os.path.exists(path):
            self._host.know_nothing()
            raise NoDatabase(f"没有 {path}")
        if os.path.exists(os.path.join(os.path.dirname(path), SUPERSEDED)):
            raise NoDatabase("业务库正在迁往 PostgreSQL")

    def _do(self, errand: str, arguments: tuple[Any, ...]) -> None:
        try:
            getattr(self, f"_{errand}")(*arguments)
        except (InterfaceError, OperationalError):
            raise
        except Exception:  # one command that cannot be written down must not hold up the others; its lease runs out
            log.exception("命令的记录失败：%s", errand)

    # ── errands ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _sent(self, command: Command, attempt: int, ref: str, now: float) -> None:
        commands.sent(command, attempt, ref, now)

    def _accepted(self, command: Command, code: str, frames: list[list[str]], now: float) -> None:
        commands.accepted(command, code, frames, now)

    def _ended(
        self, command: Command, end: exchange.End, code: str, answer: dict[str, Any], frames: list[list[str]],
        now: float,
    ) -> None:  # fmt: skip
        commands.ended(command, _ENDS[end], code, answer, frames, now)

    def _interrupted(self, command: Command, cause: str, frames: list[list[str]], now: float) -> None:
        commands.interrupted(command, cause, frames, now)

    def _again(self, command: Command, now: float) -> None:
        commands.again(command, now)

    def _late(self, mn: str, qn: str, code: str, ref: str, now: float) -> None:
        if mn in self._devices:
            commands.late(mn, qn, code, ref, now)

    def _clock_asked(self, mn: str, factor: str, now: float) -> None:
        """1013: the platform answers with 1012 (HJ 212-2017 表C.4)."""
        device = self._device(mn)
        if device is None or commands.waiting(device, "1012"):
            return
        try:
            commands.queue(device, "1012", {"PolId": factor}, None, "设备请求校时", now)
        except CommandError:  # an instrument we do not know: the logger's own clock
            commands.queue(device, "1012", {}, None, "设备请求校时", now)

    def _key_asked(self, mn: str, now: float) -> None:
        """1014: the platform answers with a new key, if the device has one to encipher it with."""
        device = self._device(mn)
        if device is not None and not commands.waiting(device, "1014"):
            self._new_key(device, "设备请求新密钥", now)

    def _new_key(self, device: Device, why: str, now: float) -> None:
        try:
            commands.queue(device, "1014", {}, None, why, now, lives=86400)
        except CommandError as error:
            log.warning("%s：%s", why, error)

    def _device(self, mn: str) -> Device | None:
        return Device.objects.filter(mn=mn, retired_on=None).select_related("point").first()

    # ── each round ────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_after(self) -> None:
        """Every few seconds: the register, the keys, our leases, what others left behind, what nobody could send."""
        at, real, now = time.monotonic(), time.time(), clock.now()
        if at - self._looked < LOOK_SECONDS:
            return
        self._looked = at
        keys.ring.refresh()
        self._host.keys = keys.ring.cached
        known = dict(Device.objects.filter(retired_on=None).values_list("mn", "pk"))
        self._host.moved.extend(known.keys() - self._devices.keys())
        if known.keys() != self._devices.keys() or not self._told:
            self._host.know(frozenset(known))
            self._told = True
        self._devices = known
        Command.objects.filter(pk__in=[one.pk for one in self._host.running()]).update(lease=real + LEASE_SECONDS)
        for gateway in commands.abandon(real, now, self._dead):
            Line.objects.filter(gateway=gateway).delete()
        commands.expire(now)
        if at - self._renewed >= RENEW_SECONDS:
            self._renewed = at
            for device in keys.due(now):
                self._new_key(device, f"密钥满 {keys.RENEW_DAYS} 天", now)

    def _dead(self, gateway: str) -> bool:
        """Whether a process of this machine is gone; of other machines only the lease tells."""
        host, _, rest = gateway.partition(":")
        return host == socket.gethostname() and not there(rest.partition(":")[0])

    def _hear_of_lines(self) -> None:
        """Which of our devices have another connection. A device that becomes known is looked at as a whole."""
        self._moved.update(self._host.moved.popleft() for _ in range(len(self._host.moved)))
        self._moved &= self._devices.keys()

    def _lines(self) -> None:
        """Write down whose newest connection is here now."""
        self._hear_of_lines()
        here, gone = [], []
        for mn in self._moved:
            newest = self._host.gateway.newest(mn)
            if newest is None:
                gone.append(self._devices[mn])
            else:
                here.append(
                    Line(
                        device_id=self._devices[mn],
                        gateway=self.me,
                        peer=newest.source,
                        since=commands.stamp(clock.now()),
                    )
                )
        Line.objects.bulk_create(
            here, update_conflicts=True, unique_fields=["device"], update_fields=["gateway", "peer", "since"],
            batch_size=200,
        )  # fmt: skip
        for begin in range(0, len(gone), 500):
            Line.objects.filter(gateway=self.me, device__in=gone[begin : begin + 500]).delete()
        self._moved.clear()

    def _orders(self) -> None:
        """Claim what may be sent, one command for a device, and hand it to the loop."""
        free, begun = self._host.free, set()
        for command in commands.sendable(self.me, free) if free > 0 else ():
            if command.device_id not in begun and (order := self._claimed(command)):
                begun.add(command.device_id)
                self._host.hand(order)

    def _claimed(self, command: Command) -> Order | None:
        """None when somebody else was quicker, or when no request can be made of it: then it has failed."""
        now, row = clock.now(), command.row
        if row is None or not commands.claim(command, self.me, self._next_qn(now), time.time() + LEASE_SECONDS, now):
            return None
        try:
            return self._order(command, row)
        except keys.KeyFormError as error:
            commands.ended(command, State.FAILED, "unsendable", {"cause": str(error)}, [], now)
            return None

    def _order(self, command: Command, row: table.Command) -> Order:
        device = command.device
        over_time, re_count = commands.timing(device, settings.CEGUAN.hj212_link)
        if command.key:
            keys.ring.refresh()  # the device may use it before we hear that it has
        key = keys.current(device) if row.encrypted else None
        return Order(
            command, device.mn, command.qn, row, commands.values(command), key, device.password,
            _system(device.point.kind), over_time, re_count,
        )  # fmt: skip

    def _next_qn(self, now: float) -> str:
        """YYYYMMDDhhmmsszzz, never twice from this process."""
        self._millis = max(int(now * 1000), self._millis + 1)
        return f"{beijing(self._millis / 1000):%Y%m%d%H%M%S}{self._millis % 1000:03}"


def _system(kind: str) -> str:
    """The system code (ST) of a kind of point, for a device that has not yet said its own."""
    return next((row.st for row in adoption.systems().values() if row.point_kind == kind), "91")
