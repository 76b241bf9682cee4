"""接入: an unknown device becomes the device of a point, once a person has confirmed the unit of each factor.

Until then its frames are stored and answered, and counted nowhere. What a standard prints as the unit is only a
proposal: practice differs (dust stations send µg/m³ where HJ 212-2017 表B.2 prints ng/m³).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from ceguan.intake.hj212.frame import decode
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, Point, Series, User
from ceguan.standards import factors, units
from ceguan.store import RecordNotFoundError, Store
from ceguan.words import beijing

HOURLY = frozenset({"2061", "2031"})
MOST_FACTORS = 200


class AdoptionError(ValueError):
    """The device cannot be adopted like this; the message says why and what would do."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A factor that an unknown device sends. `value`: the last one, as sent. `unit`: proposed, "" if nobody knows."""

    code: str
    current: str
    name: str
    value: str
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """An unknown device and what it sent."""

    mn: str
    first: float
    last: float
    frames: int
    st: str
    cns: tuple[str, ...]
    factors: tuple[Sent, ...]
    source: str


def waiting(store: Store) -> list[Waiting]:
    """Devices that wait for adoption, the latest heard first."""
    return [_waiting(row) for row in store.unknown_devices()]


def one_waiting(store: Store, mn: str) -> Waiting | None:
    return next((device for device in waiting(store) if device.mn == mn), None)


def _waiting(row: Mapping[str, Any]) -> Waiting:
    sent = tuple(_sent(code, str(value)) for code, value in list(row["factors"].items())[:MOST_FACTORS])
    return Waiting(
        row["mn"], row["first_recv"], row["last_recv"], row["frames"], row["st"], tuple(row["cns"]), sent, row["source"]
    )


def _sent(code: str, value: str) -> Sent:
    known = factors.find(code)
    current = factors.current_code(code)
    if known is None:
        return Sent(code, current, code, value, "", "")
    return Sent(code, current, known.name, value, known.symbol or known.unit, known.source)


def proposed_units(device: Waiting, point: Point) -> dict[str, str]:
    """Factor (2017 code) → unit to show in the form: that of the point's series, else the standard's."""
    have = dict(point.series.values_list("factor", "unit"))
    return {sent.current: have.get(sent.current, sent.unit) for sent in device.factors}


@transaction.atomic
def adopt(
    mn: str, point: Point, confirmed: Mapping[str, str], user: User, reason: str, take_held: bool, now: float,
    store: Store | None = None,
) -> Device:  # fmt: skip
    """Make `mn` a device of `point` with series for the factors in `confirmed` (2017 code → unit), audited.

    With `take_held` the clockwork also takes in what was held so far. With a `store`, edition and password are those of
    the last held frame. A retired device may be adopted anew.

    Raises Forbidden without the right to adopt at this point, AdoptionError when the MN is in use, the point is closed,
    the reason is missing, or a unit is not in the table or cannot be converted to that of the point's series.
    """
    rights.require(user, "adopt", point)
    today = beijing(now).date()
    before = Device.objects.filter(mn=mn).select_related("point").first()
    _check(mn, point, confirmed, reason, before if before and not _retired(before, now) else None)
    edition, password = _speaks(store, mn)
    device = before or Device(mn=mn)
    device.point, device.units, device.take_held = point, dict(confirmed), take_held
    device.edition, device.password, device.adopted_by = edition, password, user
    device.every_seconds = _every(store, mn)
    device.retired_on = None
    device.save()
    added = _add_series(point, confirmed)
    detail = {
        "mn": mn, "point": point.code, "units": dict(confirmed), "take_held": take_held, "series_added": added,
        "edition": edition, "on": today.isoformat(),
    }  # fmt: skip
    audit.record(user, "adopt", f"device:{mn}", reason, detail, now)
    return device


def _check(mn: str, point: Point, confirmed: Mapping[str, str], reason: str, in_use: Device | None) -> None:
    if not mn:
        raise AdoptionError("报文没有 MN，不能接入")
    if len(mn) > 40:
        raise AdoptionError("MN 超过 40 个字符，不能接入")
    if in_use:
        raise AdoptionError(f"{mn} 已接入 {in_use.point}，先停用才能改接")
    if point.closed_on:
        raise AdoptionError(f"{point} 已于 {point.closed_on} 停运")
    if not reason.strip():
        raise AdoptionError("请写明接入的理由")
    if not confirmed:
        raise AdoptionError("至少确认一个因子的单位")
    have = dict(point.series.values_list("factor", "unit"))
    for factor, unit in confirmed.items():
        _check_unit(factor, unit, have.get(factor))


def _check_unit(factor: str, unit: str, stored: str | None) -> None:
    known = factors.find(factor)
    if units.find(unit) is None and not (known and unit in (known.unit, known.symbol)):
        raise AdoptionError(f"因子 {factor} 的单位“{unit}”不在单位表中")
    if stored is not None and units.factor(unit, stored) is None:
        raise AdoptionError(f"因子 {factor} 的单位“{unit}”不能换算为点位已有的单位“{stored}”")


def _retired(device: Device, now: float) -> bool:
    return device.retired_on is not None and device.retired_on <= beijing(now).date()


def _speaks(store: Store | None, mn: str) -> tuple[str, str]:
    """(edition, password) of the last held frame; the commonest edition when nothing is held."""
    held = store.held_frames(mn) if store else []
    try:
        frame = decode(store.frame(held[-1]).payload) if store and held else None
    except RecordNotFoundError:
        frame = None
    edition = str(frame.edition) if frame and frame.edition else "2017"
    return edition, ((frame.pw if frame else "") or "")[:20]


def _every(store: Store | None, mn: str) -> int:
    """How often a packet is due [s]: hourly for a device that sends only hours and days, else every ten minutes."""
    device = one_waiting(store, mn) if store else None
    uploads = {cn for cn in device.cns if cn.startswith("20")} if device else set()
    return 3600 if uploads and uploads <= HOURLY else 600


def _add_series(point: Point, confirmed: Mapping[str, str]) -> list[str]:
    """Series for factors the point does not have yet, named by the table of factors; returns their codes."""
    have = set(point.series.values_list("factor", flat=True))
    new = [factor for factor in confirmed if factor not in have]
    for order, factor in enumerate(new, len(have)):
        known = factors.find(factor)
        unit = units.find(confirmed[factor])
        Series.objects.create(
            point=point, factor=factor, order=order, unit=unit.unit if unit else confirmed[factor],
            name_zh=known.name if known else factor, name_en=known.name_en if known else "",
            decimals=_decimals(known.format if known else ""),
        )  # fmt: skip
    return new


def _decimals(format_: str) -> int:
    """Digits behind the point of an HJ 212 format such as N5.2."""
    _, dot, digits = format_.partition(".")
    return int(digits) if dot and digits.isdigit() else 2


@transaction.atomic
def retire(device: Device, user: User, reason: str, now: float) -> None:
    """From today the device is unknown again: stored and answered, not counted. Its readings stay.

    Raises Forbidden, and AdoptionError without a reason or for a device that is retired.
    """
    rights.require(user, "adopt", device.point)
    if not reason.strip():
        raise AdoptionError("请写明停用的理由")
    if _retired(device, now):
        raise AdoptionError(f"{device.mn} 已于 {device.retired_on} 停用")
    device.retired_on = beijing(now).date()
    device.save(update_fields=["retired_on"])
    audit.record(user, "retire", f"device:{device.mn}", reason, {"mn": device.mn, "point": device.point.code}, now)
