"""Commands to devices: who may queue one, how it moves on, how it ends. Every step is in the audit trail.

A person (or the platform itself, `who` None) queues; the gateway process that holds the device's connection claims,
sends, and records what came of it. Each step is one guarded UPDATE – "where the state is still …" – in one transaction
with its audit event, so that two processes cannot both act and nothing stands unrecorded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from ceguan.intake import keys
from ceguan.intake.hj212 import commands as table
from ceguan.intake.hj212.commands import SECRETS, CommandError, Risk
from ceguan.intake.models import RUNNING, WAITING, Command, DeviceKey, Line, State
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, User
from ceguan.words import beijing

LIVES = {Risk.READS: 3600.0, Risk.CHANGES: 600.0, Risk.ACTS: 300.0}
"""For how long a command waits for its device [s] when nobody says otherwise: what acts must not act hours later."""
LONGEST_WHY = 300
RIGHT = {Risk.READS: "command", Risk.CHANGES: "control", Risk.ACTS: "control"}
FIRST_CONTACT = ("1012", "1000", "1062", "1064", "2011", "2021")
"""What the host sets when a device is first connected, in this order (HJ 212-2017 6.7)."""


def stamp(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


# ── queueing ──────────────────────────────────────────────────────────────────────────────────────────────────────


@transaction.atomic
def queue(
    device: Device, cn: str, params: Mapping[str, str] | None, who: User | None, why: str, now: float, *,
    lives: float | None = None, priority: int = 0,
) -> Command:  # fmt: skip
    """Put a command into the queue of its device; the gateway sends it when the device is connected.

    `who`: the person, None for the platform itself; `lives`: seconds until an unsent command expires; `priority`: lower
    goes first (people and the clock 0, back-filling of gaps higher). Passwords among the parameters are sealed.

    Raises Forbidden without the right; CommandError for an unknown command, a wrong parameter, a missing reason, a
    retired device, or a 1014 for a device that has no key yet.
    """
    row = table.find(cn, device.edition)
    if who is not None:
        rights.require(who, RIGHT[row.risk], device.point)
    _need(why)
    if device.retired_on is not None:
        raise CommandError(f"{device.mn} 已停用")
    values = table.check(row, params or {}, device.units)
    secret = {name: values.pop(name) for name in SECRETS & values.keys()}
    key = _new_key(device, secret, who, now) if cn == "1014" else None
    if key:
        values["SKCreateTime"] = f"{beijing(now):%Y%m%d%H%M%S}"
    command = Command.objects.create(
        device=device, cn=cn, edition=device.edition, params=values, key=key, who=who, why=why.strip(),
        sealed=keys.seal(json.dumps(secret)) if secret and not key else "", priority=priority, created=stamp(now),
        expires=stamp(now + (LIVES[row.risk] if lives is None else lives)), changed=stamp(now),
    )  # fmt: skip
    _audit(command, who, "command_queue", why.strip(), now, params=values, risk=row.risk.value)
    return command


def _need(why: str) -> None:
    if not why.strip():
        raise CommandError("请写明理由")
    if len(why) > LONGEST_WHY:
        raise CommandError(f"理由最多 {LONGEST_WHY} 个字")


def _new_key(device: Device, given: Mapping[str, str], who: User | None, now: float) -> DeviceKey:
    try:
        present = keys.current(device)
    except keys.KeyFormError as error:
        raise CommandError(str(error)) from None
    if present is None:
        raise CommandError(f"{device.mn} 还没有初始密钥：先在设备页录入，1014 须用现有密钥加密下发")
    return keys.add(device, given.get("NewSK") or keys.make(), who, now)


@transaction.atomic
def cancel(command: Command, who: User, why: str, now: float) -> None:
    """Take a command back that has not been sent. Raises Forbidden, CommandError when it is too late for that."""
    row = command.row
    rights.require(who, RIGHT[row.risk] if row else "control", command.device.point)
    _need(why)
    if not _move(command, (State.QUEUED,), now, state=State.CANCELLED, result_code="cancelled"):
        raise CommandError(f"命令已是“{Command.objects.get(pk=command.pk).get_state_display()}”，不能撤销")
    _audit(command, who, "command_cancel", why.strip(), now)


def first_contact(
    device: Device, given: Mapping[str, Mapping[str, str]], who: User, why: str, now: float
) -> list[Command]:
    """Queue what a newly connected device is set to, in the order of HJ 212-2017 6.7; `given`: parameters by CN.

    A command that the device's edition does not have is left out. Raises as `queue`; all are queued or none.
    """
    known = table.of_edition(device.edition)
    with transaction.atomic():
        return [
            queue(device, cn, given.get(cn), who, why, now, lives=LIVES[Risk.READS])
            for cn in FIRST_CONTACT
            if cn in known and known[cn].sendable
        ]


# ── what the gateway does ─────────────────────────────────────────────────────────────────────────────────────────


def sendable(gateway: str, limit: int) -> QuerySet[Command]:
    """Queued commands of devices whose newest connection this process holds and that have no exchange running."""
    running = Command.objects.filter(device=OuterRef("device"), state__in=RUNNING)
    found = Command.objects.filter(state=State.QUEUED, device__line__gateway=gateway).exclude(Exists(running))
    return found.select_related("device__point").order_by("priority", "pk")[:limit]


def claim(command: Command, gateway: str, qn: str, lease: float, now: float) -> bool:
    """Whether the command is now this process's to send. False: somebody else was quicker, or took it back."""
    try:
        with transaction.atomic():
            return _move(
                command, (State.QUEUED,), now, state=State.CLAIMED, gateway=gateway, qn=qn, lease=lease, attempts=0
            )
    except IntegrityError:  # another exchange of this device has begun
        return False


@transaction.atomic
def sent(command: Command, attempt: int, ref: str, now: float) -> None:
    """The request went out (again); `ref`: where it lies in the archive."""
    state = State.SENT if attempt == 1 else F("state")
    if _move(command, RUNNING, now, state=state, attempts=attempt, frames=[*command.frames, ["sent", ref]]):
        _audit(command, None, "command_send", command.why, now, attempt=attempt, qn=command.qn, frame=ref)


@transaction.atomic
def accepted(command: Command, code: str, frames: list[list[str]], now: float) -> None:
    """The device said that it is ready to execute."""
    if _move(command, RUNNING, now, state=State.ACCEPTED, frames=[*command.frames, *frames]):
        _audit(command, None, "command_accepted", command.why, now, result=code)


@transaction.atomic
def ended(
    command: Command, state: State, code: str, answer: Mapping[str, Any], frames: list[list[str]], now: float,
    before: tuple[State, ...] = RUNNING,
) -> bool:  # fmt: skip
    """The exchange is over. Sets what a success brings with it: a new password, a confirmed key."""
    sealed = command.sealed
    if not _move(
        command, before, now, state=state, result_code=code, answer=answer or command.answer,
        frames=[*command.frames, *frames], sealed=sealed if state == State.UNKNOWN else "",
    ):  # fmt: skip
        return False
    if state == State.DONE:
        _effect(command, sealed, now)
    _audit(command, None, "command_end", command.why, now, state=state.value, result=code, attempts=command.attempts)
    return True


@transaction.atomic
def again(command: Command, now: float) -> None:
    """A reading command whose connection or gateway was lost goes back into the queue."""
    if _move(command, RUNNING, now, state=State.QUEUED, result_code="retry", gateway="", lease=0):
        _audit(command, None, "command_again", command.why, now, attempts=command.attempts)


def interrupted(command: Command, cause: str, frames: list[list[str]], now: float) -> None:
    """Connection or gateway was lost in mid exchange: what only reads is queued again, all else has an unknown end."""
    row = command.row
    if row is not None and row.risk == Risk.READS and stamp(now) < command.expires:
        again(command, now)
    else:
        ended(command, State.UNKNOWN, cause, {}, frames, now)


def late(mn: str, qn: str, code: str, frame: str, now: float) -> bool:
    """A result came after its connection or gateway was lost: the command's end is known after all."""
    found = Command.objects.filter(device__mn=mn, qn=qn, state=State.UNKNOWN).first() if qn else None
    if found is None:
        return False
    state = State.DONE if code == "1" else State.FAILED
    return ended(found, state, f"ExeRtn:{code}", {}, [["9012", frame]], now, before=(State.UNKNOWN,))


def abandon(real: float, now: float, dead: Callable[[str], bool]) -> list[str]:
    """Take over what nobody answers for: commands whose gateway is dead or whose lease is over.

    `real`: the real time that leases count in. Returns the gateways that are dead.
    """
    for command in Command.objects.filter(state__in=RUNNING).select_related("device"):
        if command.lease < real or dead(command.gateway):
            interrupted(command, "gateway", [], now)
    return [name for name in Line.objects.values_list("gateway", flat=True).distinct() if dead(name)]


def expire(now: float) -> int:
    """End what nobody could send in time; returns how many."""
    found = list(Command.objects.filter(state=State.QUEUED, expires__lt=stamp(now))[:500])
    for command in found:
        with transaction.atomic():
            if _move(command, (State.QUEUED,), now, state=State.EXPIRED, result_code="expired", sealed=""):
                _audit(command, None, "command_end", command.why, now, state="expired")
    return len(found)


def timing(device: Device, link: str) -> tuple[int, int]:
    """(time-out [s], re-sends): as last set in the device by 1000, else the default of the kind of line."""
    set_to = Command.objects.filter(device=device, cn="1000", state=State.DONE).order_by("-changed", "-pk").first()
    if set_to is None:
        return table.defaults(device.edition, link)
    return int(set_to.params["OverTime"]), int(set_to.params["ReCount"])


def values(command: Command) -> dict[str, str]:
    """The parameters as they go into the frame, secrets included: for the sender only."""
    secret = json.loads(keys.unseal(command.sealed)) if command.sealed else {}
    key = {"NewSK": keys.unseal(command.key.sealed)} if command.key else {}
    return command.params | secret | key


def waiting(device: Device, cn: str) -> bool:
    """Whether such a command of the platform's own is on its way already."""
    return Command.objects.filter(device=device, cn=cn, state__in=WAITING).exists()


def _effect(command: Command, sealed: str, now: float) -> None:
    if command.key:
        keys.confirm(command.key, now)
    if command.cn == "1072" and sealed:
        (password,) = json.loads(keys.unseal(sealed)).values()  # NewPW, in the edition of 2005 PW
        Device.objects.filter(pk=command.device_id).update(password=password)


def _move(command: Command, before: tuple[State, ...], now: float, **changes: Any) -> bool:
    """One guarded step of this very exchange (QN); the object in hand follows what is now in the database."""
    changes["changed"] = stamp(now)
    if not Command.objects.filter(pk=command.pk, qn=command.qn, state__in=before).update(**changes):
        return False
    for name, value in changes.items():
        if not isinstance(value, F):
            setattr(command, name, value)
    return True


def _audit(command: Command, who: User | None, action: str, reason: str, now: float, **detail: Any) -> None:
    content = {"command": command.pk, "mn": command.device.mn, "cn": command.cn} | detail
    audit.record(who, action, f"device:{command.device.mn}", reason, content, now)
