"""接入: an unknown device becomes the device of a point, once a person has confirmed the unit of each factor.

Until then its frames are stored and answered, and counted nowhere. What a standard prints as the unit is only a
suggestion: practice differs (dust stations send µg/m³ where HJ 212-2017 表B.2 prints ng/m³). Which kind of point a
system code (ST) speaks of is the table systems.csv.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet

from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import decode
from ceguan.intake.sheets import table
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, Point, Series, User
from ceguan.standards import factors, units
from ceguan.store import RecordNotFoundError, Store
from ceguan.words import beijing

HOURLY = frozenset({"2061", "2031"})
LONGEST_MN = 40
_DOUBTED = "ng/m³"
"""What HJ 212-2017 表B.2 prints for dust, ammonia and methane; stations send µg/m³ or mg/m³ (unverified)."""


class AdoptionError(ValueError):
    """It cannot be done like this; the message says why and what would do."""


class System(NamedTuple):
    """A row of systems.csv; `point_kind` is "" where no kind of point fits."""

    st: str
    name: str
    name_en: str
    point_kind: str
    trust: str
    source: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """An unknown device. `factors`: code → last value, as sent; `every_seconds`: how often it seems to report."""

    mn: str
    first_recv: float
    last_recv: float
    frames: int
    st: str
    cns: tuple[str, ...]
    factors: dict[str, str]
    source: str

    @property
    def system(self) -> System | None:
        return systems().get(self.st)

    @property
    def every_seconds(self) -> int:
        uploads = {cn for cn in self.cns if cn.startswith("20")}
        return 3600 if uploads and uploads <= HOURLY else 600


class Suggestion(NamedTuple):
    """The unit of one factor, for a person to confirm. `code` is the 2017 code of `sent`; `unit` "" = nobody knows."""

    code: str
    sent: str
    name: str
    last: str
    unit: str
    choices: tuple[str, ...]
    series_unit: str
    standard: str


@cache
def systems() -> dict[str, System]:
    return {row["st"]: System(**row) for row in table("systems.csv")}


# ── who waits, and for what ───────────────────────────────────────────────────────────────────────────────────────


def waiting(store: Store, now: float) -> list[Waiting]:
    """Devices that wait for adoption, the latest heard first; not those adopted since the clockwork last looked."""
    known = set(adopted(beijing(now).date()).values_list("mn", flat=True))
    return [
        Waiting(
            row["mn"], row["first_recv"], row["last_recv"], row["frames"], row["st"], tuple(row["cns"]),
            {code: str(last) for code, last in row["factors"].items()}, row["source"],
        )
        for row in store.unknown_devices()
        if row["mn"] not in known
    ]  # fmt: skip


def adopted(today: date) -> QuerySet[Device]:
    """Devices that count: adopted and not retired by `today`."""
    return Device.objects.filter(Q(retired_on=None) | Q(retired_on__gt=today))


def candidates(user: User, st: str) -> list[Point]:
    """Points this person may adopt a device to; those of the kind that the system code speaks of come first."""
    system = systems().get(st)
    found = rights.visible_points(user).filter(closed_on=None).select_related("region", "enterprise")
    reached = [point for point in found.order_by("code") if rights.can(user, "adopt", point)]
    return sorted(reached, key=lambda point: not system or point.kind != system.point_kind)


def suggestions(sent: Mapping[str, str], point: Point | None) -> list[Suggestion]:
    """A unit for each factor sent: that of the point's series, else what the standard prints – but none where its print
    is doubtful (ng/m³, or a code with two meanings): there a person must choose.

    Choices are the units of the same kind, all units where the kind is not known. A factor sent under its old and its
    new code is asked about once.
    """
    have = dict(point.series.values_list("factor", "unit")) if point else {}
    found: dict[str, Suggestion] = {}
    for code, last in sent.items():
        current = factors.current_code(code)
        if current not in found:
            found[current] = _suggestion(code, current, last, have.get(current, ""))
    return list(found.values())


def _suggestion(sent: str, current: str, last: str, series_unit: str) -> Suggestion:
    known = factors.meanings(sent)
    printed = [row.symbol or row.unit for row in known]
    doubtful = len(known) > 1 or _DOUBTED in printed
    unit = series_unit or ("" if doubtful else "".join(printed))
    choices = dict.fromkeys(choice for one in ([unit] if unit else printed or [""]) for choice in _choices(one))
    return Suggestion(
        *(current, sent, "／".join(row.name for row in known), last, unit),
        *(tuple(choices), series_unit, "／".join(printed)),
    )


def _choices(unit: str) -> tuple[str, ...]:
    """The unit itself in the spelling given, then the others it converts to."""
    row = units.find(unit)
    others = [one.unit for one in units.table() if row is None or one.base == row.base]
    return tuple(dict.fromkeys([*filter(None, [unit]), *others]))


def edition(store: Store, mn: str) -> str:
    """The edition that the last held frame claims, 2017 when none says."""
    held = store.held_frames(mn)
    try:
        claimed = decode(store.frame(held[-1]).payload).edition if held else None
    except RecordNotFoundError:
        claimed = None
    return str(claimed or 2017)


# ── what a person does ────────────────────────────────────────────────────────────────────────────────────────────


@transaction.atomic
def adopt(
    mn: str, point: Point, units: Mapping[str, str], user: User, reason: str, take_held: bool, now: float, *,
    every_seconds: int = 600, minute_interval: int = 10, edition: str = "2017", dialects: Collection[str] = (),
) -> Device:  # fmt: skip
    """Make `mn` a device of `point`, with a series for each factor (2017 code) that has a unit here; audited.

    A factor with "" is left unconfirmed: what it sends is not counted. With `take_held` the clockwork also takes in
    what was held so far. `dialects`: the CRC dialects confirmed beside the standard's; frames in any other go into
    quarantine. A retired device may be adopted anew.

    Raises Forbidden without the right to adopt at this point; AdoptionError when the MN is in use, the point is closed,
    the reason is missing, a dialect is unknown, or a unit is unknown or cannot be converted to that of the point's
    series.
    """
    rights.require(user, "adopt", point)
    confirmed = {factor: unit for factor, unit in units.items() if unit}
    before = Device.objects.select_related("point").filter(mn=mn).first()
    if before and not _retired(before, now):
        raise AdoptionError(f"{mn} 已接入 {before.point}；先停用才能改接")
    _check(mn, point, reason)
    added = _add_series(point, confirmed)
    device = before or Device(mn=mn)
    device.point, device.units, device.take_held, device.adopted_by = point, confirmed, take_held, user
    device.every_seconds, device.minute_interval, device.edition = every_seconds, minute_interval, edition
    device.crc_dialects, device.retired_on = _confirmable(dialects), None
    device.save()
    detail = {
        "mn": mn, "point": point.code, "units": confirmed, "series_added": added, "take_held": take_held,
        "every_seconds": every_seconds, "minute_interval": minute_interval, "edition": edition,
        "crc_dialects": device.crc_dialects,
    }  # fmt: skip
    audit.record(user, "adopt", f"device:{mn}", reason, detail, now)
    return device


@transaction.atomic
def confirm(device: Device, units: Mapping[str, str], user: User, reason: str, now: float) -> None:
    """Confirm the units of more factors of an adopted device; from now on they count. Raises as `adopt`."""
    rights.require(user, "adopt", device.point)
    _need(reason)
    confirmed = {factor: unit for factor, unit in units.items() if unit}
    if not confirmed:
        raise AdoptionError("没有选择单位")
    added = _add_series(device.point, confirmed)
    device.units = device.units | confirmed
    device.save(update_fields=["units"])
    detail = {"mn": device.mn, "units": confirmed, "series_added": added}
    audit.record(user, "confirm_units", f"device:{device.mn}", reason, detail, now)


@transaction.atomic
def confirm_dialects(device: Device, dialects: Collection[str], user: User, reason: str, now: float) -> None:
    """Let exactly these CRC dialects count for a device, beside the standard's own, which always does.

    What was in quarantine for one of them is taken in by the clockwork; one that is left out is confirmed no longer.
    Raises as `adopt`, also when that would change nothing.
    """
    rights.require(user, "adopt", device.point)
    _need(reason)
    before, confirmed = device.crc_dialects, _confirmable(dialects)
    if confirmed == before:
        raise AdoptionError("确认的方言没有变化")
    device.crc_dialects = confirmed
    device.save(update_fields=["crc_dialects"])
    detail = {"mn": device.mn, "before": before, "crc_dialects": confirmed}
    audit.record(user, "confirm_dialects", f"device:{device.mn}", reason, detail, now)


def _confirmable(dialects: Collection[str]) -> list[str]:
    unknown = sorted(set(dialects) - set(crc.DIALECTS))
    if unknown:
        raise AdoptionError(f"没有名为 {unknown[0]} 的 CRC 方言；可用：{'、'.join(crc.DIALECTS)}")
    return [one for one in crc.DIALECTS if one in dialects and one != crc.HJ212]


@transaction.atomic
def switch_filling(device: Device, on: bool, user: User, reason: str, now: float) -> None:
    """Whether the platform asks this device for missing data by itself. Raises as `adopt`."""
    rights.require(user, "adopt", device.point)
    _need(reason)
    if device.fill_gaps == on:
        raise AdoptionError(f"{device.mn} 的自动补缺本来就是{'开' if on else '关'}的")
    device.fill_gaps = on
    device.save(update_fields=["fill_gaps"])
    audit.record(user, "switch_filling", f"device:{device.mn}", reason, {"mn": device.mn, "fill_gaps": on}, now)


@transaction.atomic
def retire(device: Device, user: User, reason: str, now: float) -> None:
    """From today the device is unknown again: stored and answered, not counted. Readings stay. Raises as `adopt`."""
    rights.require(user, "adopt", device.point)
    _need(reason)
    if _retired(device, now):
        raise AdoptionError(f"{device.mn} 已于 {device.retired_on} 停用")
    device.retired_on = beijing(now).date()
    device.save(update_fields=["retired_on"])
    audit.record(user, "retire", f"device:{device.mn}", reason, {"mn": device.mn, "point": device.point.code}, now)


def _check(mn: str, point: Point, reason: str) -> None:
    if not mn or len(mn) > LONGEST_MN:
        raise AdoptionError(f"MN 须有 1 到 {LONGEST_MN} 个字符")
    if point.closed_on:
        raise AdoptionError(f"{point} 已于 {point.closed_on} 停运")
    _need(reason)


def _need(reason: str) -> None:
    if not reason.strip():
        raise AdoptionError("请写明理由")


def _retired(device: Device, now: float) -> bool:
    return device.retired_on is not None and device.retired_on <= beijing(now).date()


def _add_series(point: Point, confirmed: Mapping[str, str]) -> list[str]:
    """Check each unit, add the series the point lacks, named by the table of factors; returns their codes."""
    have = dict(point.series.values_list("factor", "unit"))
    for factor, unit in confirmed.items():
        _check_unit(factor, unit, have.get(factor))
    new = [factor for factor in confirmed if factor not in have]
    for order, factor in enumerate(new, len(have)):
        known, row = factors.find(factor), units.find(confirmed[factor])
        Series.objects.create(
            point=point, factor=factor, order=order, unit=row.unit if row else confirmed[factor],
            name_zh=known.name if known else factor, name_en=known.name_en if known else "",
            decimals=_decimals(known.format if known else ""),
        )  # fmt: skip
    return new


def _check_unit(factor: str, unit: str, stored: str | None) -> None:
    known = factors.find(factor)
    if units.find(unit) is None and not (known and unit in (known.unit, known.symbol)):
        raise AdoptionError(f"因子 {factor} 的单位“{unit}”不在单位表中")
    if stored is not None and units.factor(unit, stored) is None:
        raise AdoptionError(f"因子 {factor} 的单位“{unit}”不能换算为点位已有的单位“{stored}”")


def _decimals(format_: str) -> int:
    """Digits behind the point of an HJ 212 format such as N5.2."""
    _, dot, digits = format_.partition(".")
    return int(digits) if dot and digits.isdigit() else 2
