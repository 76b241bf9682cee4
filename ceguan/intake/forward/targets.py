"""The register of forwarding targets: checked, changed with a reason, every change in the audit trail.

Password and key can be written, never read back: neither a page nor the trail holds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import transaction
from django.db.models import Q

from ceguan.intake import keys
from ceguan.intake.forward.spool import Plan, Sender
from ceguan.intake.forward.translate import EDITIONS, UPLOADS, USUAL, Rule, Wish
from ceguan.intake.hj212 import crc
from ceguan.intake.models import ForwardTarget
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, User
from ceguan.settings import Settings
from ceguan.words import beijing

MOST = 10
_CODE = re.compile(r"[0-9A-Za-z]{1,12}")
_MN = re.compile(r"[0-9A-Za-z]{1,40}")
_SHOWN = ("name", "order", "active", "host", "port", "edition", "answers", "st", "cns", "devices", "factors", "others")


class TargetError(ValueError):
    """The change is refused; the message says why and what would be valid."""


def every() -> list[ForwardTarget]:
    return list(ForwardTarget.objects.all())


def any_active() -> bool:
    """Whether there is anything to forward to."""
    return ForwardTarget.objects.filter(active=True).exists()


def save(
    given: Mapping[str, Any], user: User, reason: str, now: float, target: ForwardTarget | None = None
) -> ForwardTarget:
    """Make a target, or change one. `given`: fields of ForwardTarget; `password` and `key` (hex) in the clear, left as
    they are where None. Raises TargetError, Forbidden."""
    rights.require(user, "forward")
    fields = _checked(given, target)
    with transaction.atomic():
        if target is None and ForwardTarget.objects.count() >= MOST:
            raise TargetError(f"最多 {MOST} 个转发目标")
        others = ForwardTarget.objects.exclude(pk=target.pk) if target else ForwardTarget.objects
        if others.filter(name=fields.get("name", "")).exists():
            raise TargetError(f"已有名为 {fields['name']} 的转发目标")
        made = target or ForwardTarget(since=datetime.fromtimestamp(now, UTC))
        before = _shown(made) if target else {}
        for name, value in fields.items():
            setattr(made, name, value)
        made.changed_at = datetime.fromtimestamp(now, UTC)
        made.save()
        secrets = [name for name in ("password", "key") if name in fields]
        detail = {
            "before": {
                name: before[name] for name, value in _shown(made).items() if before.get(name) != value and before
            },
            "after": {name: value for name, value in _shown(made).items() if before.get(name) != value},
            "secrets": secrets,
        }
        action = "forward.change" if target else "forward.create"
        audit.record(user, action, f"forward:{made.pk}", _reason(reason), detail, now)
    return made


def switch(target: ForwardTarget, active: bool, user: User, reason: str, now: float) -> None:
    """On or off; what arrives meanwhile is forwarded when it is on again. Raises TargetError, Forbidden."""
    rights.require(user, "forward")
    with transaction.atomic():
        target.active, target.changed_at = active, datetime.fromtimestamp(now, UTC)
        target.save()
        audit.record(user, "forward.switch", f"forward:{target.pk}", _reason(reason), {"active": active}, now)


def delete(target: ForwardTarget, user: User, reason: str, now: float) -> None:
    """Take it out of the register for good, and with it how far it had come. Raises TargetError, Forbidden."""
    rights.require(user, "forward")
    with transaction.atomic():
        audit.record(user, "forward.delete", f"forward:{target.pk}", _reason(reason), _shown(target), now)
        target.delete()


def plan(target: ForwardTarget, values: Settings, now: float) -> Plan:
    """What the forwarder needs of a target. Raises keys.KeyFormError where its secrets cannot be opened."""
    today = beijing(now).date()
    adopted = Device.objects.filter(Q(retired_on=None) | Q(retired_on__gt=today))
    chosen = [one for one in adopted if not target.devices or one.mn in target.devices]
    wish = Wish(
        target.edition, _opened(target.password), target.answers, target.st,
        {code: Rule(theirs, Decimal(factor)) for code, (theirs, factor) in target.factors.items()},
        target.others, keys.parse(_opened(target.key)) if target.key and target.edition == 2025 else None,
    )  # fmt: skip
    devices = {
        one.mn: Sender(
            target.devices.get(one.mn) or one.mn, one.units,
            frozenset({crc.HJ212, *one.crc_dialects}),
        )
        for one in chosen
    }  # fmt: skip
    return Plan(wish, devices, frozenset(target.cns), target.since.timestamp(), values.future_minutes * 60)


def _opened(sealed: str) -> str:
    return keys.unseal(sealed) if sealed else ""


def _shown(target: ForwardTarget) -> dict[str, Any]:
    """Everything but the secrets."""
    return {name: getattr(target, name) for name in _SHOWN}


def _reason(text: str) -> str:
    if not text.strip():
        raise TargetError("须写明理由")
    return text.strip()


def _checked(given: Mapping[str, Any], target: ForwardTarget | None) -> dict[str, Any]:
    """The fields that are given, checked one by one."""
    unknown = set(given) - set(_CHECKS)
    if unknown:
        raise TargetError(f"没有名为 {sorted(unknown)[0]} 的字段；可用：{'、'.join(_CHECKS)}")
    needed = () if target else ("name", "host", "port")
    for name in needed:
        if not given.get(name):
            raise TargetError(f"须填写{ForwardTarget._meta.get_field(name).verbose_name}")
    start = {} if target else {"cns": list(USUAL)}
    fields = start | {name: _CHECKS[name](value) for name, value in given.items() if value is not None}
    edition = fields.get("edition", target.edition if target else 2017)
    if fields.get("key") and edition != 2025:
        raise TargetError("只有 2025 版用密钥加密数据区")
    return fields


def _name(value: Any) -> str:
    text = str(value).strip()
    if not 1 <= len(text) <= 60:
        raise TargetError("名称须为 1 到 60 个字")
    return text


def _host(value: Any) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[\w.:-]{1,120}", text):
        raise TargetError(f"{text!r} 不是主机名或 IP 地址")
    return text


def _whole(low: int, high: int, word: str) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not str(value).strip().lstrip("-").isdigit() or not low <= int(value) <= high:
            raise TargetError(f"{word}须为 {low} 到 {high} 的整数，得到 {value!r}")
        return int(value)

    return check


def _edition(value: Any) -> int:
    if str(value) not in map(str, EDITIONS):
        raise TargetError(f"协议版本须为 {'、'.join(map(str, EDITIONS))} 之一，得到 {value!r}")
    return int(value)


def _password(value: Any) -> str:
    text = str(value)
    if not re.fullmatch(r"[0-9A-Za-z]{1,9}", text):
        raise TargetError("口令须为 1 到 9 位字母或数字（HJ 212-2017 表2：PW）")
    return keys.seal(text)


def _key(value: Any) -> str:
    text = str(value).strip()
    try:
        keys.parse(text)
    except keys.KeyFormError as error:
        raise TargetError(str(error)) from error
    return keys.seal(text)


def _st(value: Any) -> str:
    text = str(value).strip()
    if text and not re.fullmatch(r"[0-9A-Z]{2}", text):
        raise TargetError("系统编码须为两位（HJ 212-2017 表5），如 31；留空则照设备所发")
    return text


def _cns(value: Any) -> list[str]:
    wrong = [cn for cn in value if cn not in UPLOADS]
    if wrong or not value:
        raise TargetError(f"报文种类须从 {'、'.join(UPLOADS)} 中至少选一个" + (f"，得到 {wrong[0]}" if wrong else ""))
    return [cn for cn in UPLOADS if cn in value]


def _devices(value: Any) -> dict[str, str]:
    known = set(Device.objects.values_list("mn", flat=True))
    for mine, theirs in value.items():
        if mine not in known:
            raise TargetError(f"没有接入 MN 为 {mine} 的设备")
        if theirs and not _MN.fullmatch(theirs):
            raise TargetError(f"{theirs!r} 不能作 MN：须为 1 到 40 位字母或数字")
    return dict(value)


def _factors(value: Any) -> dict[str, list[str]]:
    checked = {}
    for code, (theirs, factor) in value.items():
        if not _CODE.fullmatch(code) or (theirs and not _CODE.fullmatch(theirs)):
            raise TargetError(f"因子编码须为字母或数字：{code} {theirs}")
        try:
            number = Decimal(str(factor) or "1")
        except InvalidOperation:
            number = Decimal(0)
        if not number.is_finite() or number <= 0:
            raise TargetError(f"因子 {code} 的换算系数须为正数，得到 {factor!r}")
        checked[code] = [theirs, str(number)]
    return checked


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "name": _name, "host": _host, "port": _whole(1, 65535, "端口"), "edition": _edition, "password": _password,
    "key": _key, "answers": bool, "st": _st, "cns": _cns, "devices": _devices, "factors": _factors, "others": bool,
    "active": bool, "order": _whole(1, 99, "次序"),
}  # fmt: skip
