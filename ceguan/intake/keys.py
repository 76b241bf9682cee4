"""Keys of HJ 212-2025 devices: encrypted at rest, never shown, looked up by whoever decodes a frame.

A key has 16 bytes: 16 characters (as a 1014 carries it) or 32 hexadecimal digits (as a person may have it). It is
renewed every 90 days by command 1014 and confirmed by the device's 9012; old keys stay for old frames (HJ 212-2025
6.4.3 as quoted by one program; text not seen).
"""

from __future__ import annotations

import base64
import logging
import secrets
import string
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from ceguan.intake.hj212 import sm4
from ceguan.intake.models import DeviceKey
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, User

log = logging.getLogger(__name__)

RENEW_DAYS = 90
FRESH_SECONDS = 5.0
_ALPHABET = string.ascii_letters + string.digits


class KeyFormError(ValueError):
    """What was entered is no key; the message says what would be. It never repeats what was entered."""


def seal(text: str) -> str:
    """Encrypted with a key made of the installation's secret: useless in another installation."""
    return _box(settings.SECRET_KEY).encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Raises KeyFormError when the installation's secret is not the one it was sealed with."""
    try:
        return _box(settings.SECRET_KEY).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise KeyFormError("密钥解不开：数据目录里的 secret.key 已更换") from None


@lru_cache(maxsize=4)
def _box(secret: str) -> Fernet:
    derived = HKDF(SHA256(), length=32, salt=None, info=b"ceguan: keys and passwords of devices").derive(
        secret.encode()
    )
    return Fernet(base64.urlsafe_b64encode(derived))


def parse(text: str) -> bytes:
    """The 16 bytes of a key as a person or a 1014 writes it. Raises KeyFormError."""
    text = text.strip()
    if len(text) == sm4.BLOCK and text.isascii():
        return text.encode()
    try:
        return sm4.key_of(text)
    except ValueError:
        raise KeyFormError("密钥应为 16 个字符，或 32 位十六进制数字") from None


def make() -> str:
    """A new key as a 1014 carries it: 16 letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(sm4.BLOCK))


# ── keys of devices ───────────────────────────────────────────────────────────────────────────────────────────────


@transaction.atomic
def enter(device: Device, text: str, who: User, why: str, now: float) -> DeviceKey:
    """Take a key that the device already has (the initial one); audited without the key.

    Raises Forbidden without the right to control this device, KeyFormError, ValueError without a reason.
    """
    rights.require(who, "control", device.point)
    if not why.strip():
        raise ValueError("请写明理由")
    parse(text)
    at = datetime.fromtimestamp(now, UTC)
    key = DeviceKey.objects.create(
        device=device, sealed=seal(text.strip()), created=at, valid_from=at, confirmed=at, by=who
    )
    audit.record(who, "device_key", f"device:{device.mn}", why, {"mn": device.mn, "key": key.pk}, now)
    ring.forget()
    return key


def add(device: Device, text: str, who: User | None, now: float) -> DeviceKey:
    """A key that the device has still to confirm."""
    return DeviceKey.objects.create(device=device, sealed=seal(text), created=datetime.fromtimestamp(now, UTC), by=who)


def confirm(key: DeviceKey, now: float) -> None:
    """The device has taken the key."""
    key.confirmed = key.valid_from = datetime.fromtimestamp(now, UTC)
    key.save(update_fields=["confirmed", "valid_from"])
    ring.forget()


def current(device: Device) -> bytes | None:
    """The key to encrypt with: the newest one the device has confirmed."""
    found = device.keys.exclude(confirmed=None).order_by("-confirmed", "-id").first()
    return parse(unseal(found.sealed)) if found else None


def due(now: float) -> list[Device]:
    """Devices whose newest confirmed key is older than 90 days and that are asked for nothing of the kind now."""
    from ceguan.intake.models import WAITING

    old = datetime.fromtimestamp(now, UTC) - timedelta(days=RENEW_DAYS)
    found = Device.objects.filter(retired_on=None, edition="2025").annotate(newest=Max("keys__confirmed"))
    return list(found.filter(newest__lte=old).exclude(commands__cn="1014", commands__state__in=WAITING))


class Ring:
    """All keys in memory, by MN, the newest first. `cached` never asks the database: for an event loop."""

    def __init__(self) -> None:
        self._keys: dict[str, list[bytes]] = {}
        self._read = -FRESH_SECONDS

    def refresh(self) -> None:
        """Read all keys anew."""
        rows = DeviceKey.objects.order_by("-created", "-id").values_list("device__mn", "sealed")
        keys: dict[str, list[bytes]] = {}
        for mn, sealed in rows:
            if key := _opened(sealed):
                keys.setdefault(mn, []).append(key)
        self._keys, self._read = keys, time.monotonic()

    def lookup(self, mn: str) -> list[bytes]:
        """The keys of a device, at most five seconds old."""
        if time.monotonic() - self._read >= FRESH_SECONDS:
            self.refresh()
        return self.cached(mn)

    def cached(self, mn: str) -> list[bytes]:
        return self._keys.get(mn, [])

    def forget(self) -> None:
        self._read = -FRESH_SECONDS


@lru_cache(maxsize=4096)
def _opened(sealed: str) -> bytes | None:
    """None for a key of another installation: its device's frames stay closed, all others go on."""
    try:
        return parse(unseal(sealed))
    except KeyFormError as error:
        log.error("一个设备密钥读不出，它加密的报文无法解读：%s", error)
        return None


ring = Ring()
lookup = ring.lookup
