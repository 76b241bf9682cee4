"""接入: how the devices report, who waits for adoption, what was no good frame, and the frame itself, byte by byte."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import get_language, gettext

from ceguan import clock
from ceguan.intake import adoption, keys, quarantine
from ceguan.intake.decided import WaitsError
from ceguan.intake.hj212 import crc
from ceguan.intake.hj212.frame import Frame, decode, masked, without_secrets
from ceguan.intake.hj212.readings import Upload, rows
from ceguan.intake.sheets import table
from ceguan.pulse import LOOK_AROUND_SECONDS, STALE_SECONDS, clock_synchronised, pulse
from ceguan.registry import rights
from ceguan.registry.label import label, name
from ceguan.registry.models import Device, Point, Series
from ceguan.standards import factors
from ceguan.store import ForgottenError, Record, RecordKind, RecordNotFoundError, archive, proofs, sizes
from ceguan.watch import fill
from ceguan.watch.models import PointStatus
from ceguan.web import series
from ceguan.web.store import store
from ceguan.words import FrameRef, Kind, Label, Status, beijing

ROWS = 50
BAD_FRAMES = 2000
"""How many of the newest bad frames the list goes back."""
DUMPED = 4096
"""Bytes of a record shown as hex."""
PREVIEW = 160
IMPORTED = 500
WARNED_DAYS = 7
"""How many days back the warnings of a device are shown."""
WORST_FIRST = {Status.SILENT: 0, Status.FAULT: 1, Status.LATE: 2, Status.MAINTENANCE: 3, Status.LIVE: 4}
PULSES = {
    "running": Label("运行中", "running"),
    "stalled": Label("无响应", "not responding"),
    "stopped": Label("已停止", "stopped"),
    "never": Label("没有启动过", "never started"),
}
ERRORS = {
    "noise": Label("噪声：不成帧的字节", "noise: bytes that are no frame"),
    "truncated": Label("不完整", "truncated"),
    "length": Label("长度不符", "wrong length"),
    "crc": Label("CRC 校验错误", "CRC error"),
    "encrypted": Label("加密，没有能解开的密钥", "enciphered, no key opens it"),
    "syntax": Label("格式错误", "syntax error"),
    "refused": Label("拒收：未接入的设备", "refused: not adopted"),
    "datatime": Label("没有可读的数据时间", "no readable DataTime"),
    "future": Label("文件中有行为将来时间，未计入", "rows of a file dated in the future, not counted"),
    "archive": Label("归档中读不出", "not readable in the archive"),
    "import": Label("导入记录不可用", "unusable import record"),
    "decision": Label("审核记录不可用", "unusable decision record"),
    "release": Label("放行记录不可用", "unusable release record"),
}
CAUSES = {
    "dialect": Label("CRC 方言未确认", "CRC dialect not confirmed"),
    "future": Label("时间超前", "in the future"),
    "old": Label("数据过旧", "too old"),
    "history": Label("超出补传期限", "beyond what may be re-sent"),
}
DIALECTS = {
    crc.HJ212: Label("标准 CRC16", "CRC-16 of the standard"),
    crc.MODBUS: Label("MODBUS CRC", "MODBUS CRC"),
    crc.MODBUS_SWAPPED: Label("MODBUS CRC（字节互换）", "MODBUS CRC, bytes swapped"),
}
RECORDS = {
    RecordKind.FRAME: Label("HJ 212 帧", "HJ 212 frame"),
    RecordKind.BAD: Label("坏帧", "bad frame"),
    RecordKind.IMPORT: Label("文件导入", "file import"),
    RecordKind.DECISION: Label("审核决定", "review decision"),
    RecordKind.SENT: Label("平台发出的 HJ 212 帧", "HJ 212 frame sent by the platform"),
    RecordKind.RELEASE: Label("隔离处理", "decision on quarantined frames"),
}


@cache
def warnings() -> dict[str, Label]:
    """What is odd about frames, in words (warnings.csv)."""
    return {row["warning"]: Label(row["name"], row["name_en"]) for row in table("warnings.csv")}


# ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────


def status(request: HttpRequest) -> HttpResponse:
    """Every device of the person's region: last packet, delay, frames and errors of today; and how we are ourselves."""
    rights.require(request.user, "intake")
    now, query = clock.now(), request.GET.get("q", "").strip()
    found = [one for one in _devices(request, now) if query.casefold() in one.searched]
    context = {
        "q": query,
        "total": len(found),
        "page": Paginator(found, ROWS).get_page(request.GET.get("page")),
        "health": _health(),
        "heads": _heads(),
        "now": now,
        **tabs(request, "status", now),
    }
    return render(request, "intake/status.html", context)


def tabs(request: HttpRequest, here: str, now: float) -> dict[str, Any]:
    """What the row of tabs shows: how many wait, in quarantine those of the person's region."""
    held = store().quarantine_counts()
    mine = Device.objects.filter(mn__in=held, point__in=rights.visible_points(request.user)).values_list(
        "mn", flat=True
    )
    count = sum(held[mn] for mn in mine)
    return {"here": here, "waiting_count": len(adoption.waiting(store(), now)), "quarantine_count": count}


class DeviceRow(NamedTuple):
    device: Device
    state: str
    why: str
    last: float | None
    day: dict[str, Any]
    mean_delay: float | None
    unconfirmed: int
    warnings: int
    changed_dialect: bool
    quarantined: int
    owed: int

    @property
    def searched(self) -> str:
        return f"{self.device.mn} {self.device.point.code} {self.device.point.name_zh}".casefold()


class SealedHead(NamedTuple):
    """Where the sealed part of a stream ends. `proved`: every sealed segment has its proof line."""

    stream: int
    segment: int
    sha256: str
    proved: bool


def _devices(request: HttpRequest, now: float) -> list[DeviceRow]:
    """The devices this person may see, those with trouble first."""
    today = beijing(now).date()
    seen = adoption.adopted(today).filter(point__in=rights.visible_points(request.user)).select_related("point")
    days = {day["mn"]: day for day in store().device_days(today.isoformat(), today.isoformat()).to_pylist()}
    states = {row.point_id: row for row in PointStatus.objects.all()}
    missing, held = _unconfirmed(), store().quarantine_counts()
    owed = Counter(row.mn for row in store().fills(unfinished=True))
    warned: dict[str, dict[str, int]] = {}
    for row in store().warnings(today.isoformat(), today.isoformat()).to_pylist():
        warned.setdefault(row["mn"], {})[row["kind"]] = row["count"]
    found = [
        _device(one, days.get(one.mn, {}), states.get(one.point_id), missing.get(one.mn, {}), warned.get(one.mn, {}),
                held.get(one.mn, 0), owed[one.mn])
        for one in seen
    ]  # fmt: skip
    return sorted(found, key=lambda row: (WORST_FIRST.get(Status(row.state), 9), row.device.point.code, row.device.mn))


def _device(
    device: Device, day: dict[str, Any], state: PointStatus | None, missing: dict[str, int], warned: dict[str, int],
    held: int, owed: int,
) -> DeviceRow:  # fmt: skip
    before = state.last_packet.timestamp() if state and state.last_packet else None
    last = day.get("last_recv")
    return DeviceRow(
        device, state.state if state else Status.PLANNED, state.why if state else "", last or before, day,
        day["sum_delay"] / day["frames"] if day.get("frames") else None, len(missing),
        sum(warned.values()), "dialect_changed" in warned, held, owed,
    )  # fmt: skip


def _unconfirmed() -> dict[str, dict[str, int]]:
    """MN → factor that has no confirmed unit → how often it was sent."""
    found: dict[str, dict[str, int]] = {}
    for mn, factor, count in store().note("unconfirmed") or ():
        found.setdefault(mn, {})[factor] = count
    return found


def _health() -> dict[str, Any]:
    """Our own processes, disk, clock, logs."""
    values, real = settings.CEGUAN, time.time()
    parts, notes = store().measured(), sizes.noted(values.folder)
    room = sizes.room(values.folder, parts, notes, values.disk_budget_gb)
    gateway, clockwork, collect = (
        pulse(values.folder / f"{name}.json", real) for name in ("gateway", "clockwork", "collect")
    )
    free = 100 * room.disk_free / room.disk_total
    return {
        "gateway": gateway,
        "gateway_word": label(PULSES[gateway.state]),
        "clockwork": clockwork,
        "clockwork_word": label(PULSES[clockwork.state]),
        "failing": clockwork.said.get("failing"),
        "collect": collect if values.nats_url else None,
        "collect_word": label(PULSES[collect.state]),
        "relays": [_relay(one, real) for one in collect.said.get("relays", ())],
        "errors": list(reversed(clockwork.said.get("errors", [])))[:5],
        "backlog": store().backlog(),
        "room": room,
        "disk_short": room.days is not None and room.days < values.disk_warn_days,
        "parts": [_part(part, notes) for part in parts],
        "noted": notes[-1].at if notes else None,
        "backup": sizes.last_backup(values.folder),
        "waiting": clockwork.said.get("waiting"),
        "free_percent": free,
        "disk_low": free < values.disk_low_percent,
        "folder": str(values.folder),
        "logs": str(values.folder / "logs"),
        "synchronised": clock_synchronised(),
        "demo_clock": bool(values.demo_clock),
        "real": real,
        "refuses": values.unknown_devices == "refuse",
    }


class PartRow(NamedTuple):
    """A part of what is stored, with its rows as last counted and its growth [bytes a day]."""

    name: str
    part: sizes.Part
    rows: int | None
    per_day: float | None


def _part(part: sizes.Part, notes: list[sizes.Noted]) -> PartRow:
    counted = notes[-1].rows.get(part.name) if notes else None
    rows = part.rows if part.rows is not None else counted
    return PartRow(label(sizes.PARTS[part.name]), part, rows, sizes.growth(notes, part.name) if notes else None)


def _relay(said: dict[str, Any], real: float) -> dict[str, Any]:
    """A gateway machine as its relay last told the centre; `silent`: longer ago than a heart may stand still."""
    age = max(0.0, real - float(said.get("real", 0)))
    return said | {"age": age, "silent": not said.get("running") or age > STALE_SECONDS + LOOK_AROUND_SECONDS}


def _heads() -> list[SealedHead]:
    """The last sealed segment of each archive stream: what to compare with what was noted elsewhere."""
    folder = store().archive
    found = ((stream, archive.sealed_segments(folder, stream)) for stream in archive.streams(folder))
    return [
        SealedHead(stream, lines[-1].segment, lines[-1].sha256, len(proofs.lines(folder, stream)) == len(lines))
        for stream, lines in found
        if lines
    ]


# ── waiting, adoption ─────────────────────────────────────────────────────────────────────────────────────────────


def waiting(request: HttpRequest) -> HttpResponse:
    """Devices nobody has adopted and what they have sent."""
    rights.require(request.user, "intake")
    now = clock.now()
    found = adoption.waiting(store(), now)
    context = {
        "page": Paginator(found, ROWS).get_page(request.GET.get("page")),
        "may_adopt": rights.can(request.user, "adopt"),
        "english": get_language() == "en",
        "now": now,
        **tabs(request, "waiting", now),
    }
    return render(request, "intake/waiting.html", context)


def adopt(request: HttpRequest) -> HttpResponse:
    """Choose the point, confirm the units, confirm. As a fragment: the units for the point just chosen."""
    rights.require(request.user, "adopt")
    now, given = clock.now(), request.POST or request.GET
    device = next((one for one in adoption.waiting(store(), now) if one.mn == given.get("mn", "")), None)
    if device is None:
        messages.info(request, gettext("这台设备不在待接入之列：可能已经接入。"))
        return redirect("waiting")
    points = adoption.candidates(request.user, device.st)
    point = next((one for one in points if one.code == given.get("point")), None)
    error = _adopted(request, device, point, now) if request.method == "POST" else ""
    if error is None:
        return redirect("intake")
    context = {
        "device": device,
        "points": points,
        "point": point,
        "units": _kept(adoption.suggestions(device.factors, point), given),
        "dialects": _dialects(device.mn, set(request.POST.getlist("dialect"))),
        "error": error,
        "english": get_language() == "en",
        "reason": given.get("reason", gettext("新设备接入")),
        "every_seconds": given.get("every_seconds", device.every_seconds),
        "minute_interval": given.get("minute_interval", 10),
        "take_held": request.method != "POST" or "take_held" in given,
    }
    template = "intake/_units.html" if request.headers.get("HX-Request") else "intake/adopt.html"
    return render(request, template, context, status=422 if error else 200)


def _adopted(request: HttpRequest, device: adoption.Waiting, point: Point | None, now: float) -> str | None:
    """Adopt as the form says; None when done, else what is wrong."""
    given, units = request.POST, _units(request)
    if point is None:
        return gettext("请选择点位。")
    if device.factors and not any(units.values()):
        return gettext("至少确认一个因子的单位，否则它发来的数都不计入。")
    try:
        adoption.adopt(
            device.mn, point, units, request.user, given.get("reason", ""), "take_held" in given, now,
            every_seconds=_whole(given.get("every_seconds", ""), 10, 7 * 86400),
            minute_interval=_whole(given.get("minute_interval", ""), 1, 60),
            edition=adoption.edition(store(), device.mn), dialects=given.getlist("dialect"),
        )  # fmt: skip
    except adoption.AdoptionError as error:
        return str(error)
    said = gettext("%(mn)s 已接入 %(point)s；时钟取走后开始计入，通常一两秒。")
    messages.success(request, said % {"mn": device.mn, "point": name(point)})
    return None


class Dialect(NamedTuple):
    """A CRC dialect for a person to confirm. `standard`: it needs no confirmation; `frames` 0: never used so far."""

    dialect: str
    word: str
    standard: bool
    confirmed: bool
    frames: int
    first: float | None
    last: float | None


def _dialects(mn: str, confirmed: Collection[str]) -> list[Dialect]:
    """The dialects a device has used, the one heard last first; then those confirmed that it has not used."""
    used = {row["dialect"]: row for row in store().dialects(mn).to_pylist()}
    names = [*used, *(one for one in confirmed if one not in used and one in DIALECTS)]
    return [
        Dialect(
            one, label(DIALECTS.get(one, Label(one, one))), one == crc.HJ212, one == crc.HJ212 or one in confirmed,
            used.get(one, {}).get("frames", 0), used.get(one, {}).get("first_recv"), used.get(one, {}).get("last_recv"),
        )
        for one in names
    ]  # fmt: skip


def _units(request: HttpRequest) -> dict[str, str]:
    return {key[5:]: value for key, value in request.POST.items() if key.startswith("unit:")}


def _whole(text: str, low: int, high: int) -> int:
    """Raises AdoptionError unless the text is a whole number within the bounds."""
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise adoption.AdoptionError(gettext("%(text)s 应为 %(low)d 到 %(high)d 的整数")
                                     % {"text": text or "—", "low": low, "high": high})  # fmt: skip
    return int(text)


def _kept(found: list[adoption.Suggestion], given: Any) -> list[adoption.Suggestion]:
    """The suggestions with what the person had chosen already."""
    return [one._replace(unit=given.get(f"unit:{one.code}", one.unit)) for one in found]


def device(request: HttpRequest) -> HttpResponse:
    """An adopted device: units and CRC dialects to confirm, warnings of the last days, retirement."""
    rights.require(request.user, "intake")
    now, mine = clock.now(), rights.visible_points(request.user)
    found = get_object_or_404(
        adoption.adopted(beijing(now).date()).select_related("point", "adopted_by"),
        mn=(request.POST or request.GET).get("mn", ""), point__in=mine,
    )  # fmt: skip
    error = _changed(request, found, now) if request.method == "POST" else ""
    if error is None:
        return redirect("intake")
    missing = _unconfirmed().get(found.mn, {})
    sent = {code: str(count) for code, count in missing.items() if code not in found.units}
    context = {
        "device": found,
        "confirmed": [(code, _factor_name(code), unit) for code, unit in sorted(found.units.items())],
        "units": adoption.suggestions(sent, found.point),
        "dialects": (dialects := _dialects(found.mn, found.crc_dialects)),
        "confirmable": any(not one.standard for one in dialects),
        "held": store().quarantine_counts().get(found.mn, 0),
        "warnings": _warnings(found.mn, now),
        "fills": _fills(found),
        "filling": settings.CEGUAN.fill_gaps,
        "may_adopt": rights.can(request.user, "adopt", found.point),
        "may_prove": rights.can(request.user, "evidence", found.point),
        "error": error,
    }
    return render(request, "intake/device.html", context, status=422 if error else 200)


def _changed(request: HttpRequest, found: Device, now: float) -> str | None:
    """Confirm units or dialects, or retire, as the button says; None when done, else what is wrong."""
    reason = request.POST.get("reason", "")
    try:
        if request.POST.get("do") == "retire":
            adoption.retire(found, request.user, reason, now)
            messages.success(request, gettext("%(mn)s 已停用；它再发来的帧暂存待接入。") % {"mn": found.mn})
        elif request.POST.get("do") in ("fill_on", "fill_off"):
            adoption.switch_filling(found, request.POST["do"] == "fill_on", request.user, reason, now)
            messages.success(request, gettext("%(mn)s 的自动补缺已改。") % {"mn": found.mn})
        elif request.POST.get("do") == "dialects":
            adoption.confirm_dialects(found, request.POST.getlist("dialect"), request.user, reason, now)
            said = gettext("%(mn)s 的 CRC 方言已确认；隔离中的相应数据由时钟收入，通常一两秒。")
            messages.success(request, said % {"mn": found.mn})
        else:
            adoption.confirm(found, _units(request), request.user, reason, now)
            messages.success(request, gettext("%(mn)s 的单位已确认，此后收到的数据计入。") % {"mn": found.mn})
    except adoption.AdoptionError as error:
        return str(error)
    return None


def _warnings(mn: str, now: float) -> list[dict[str, Any]]:
    """Warnings of the last days, the newest day first."""
    first, last = beijing(now - WARNED_DAYS * 86400).date(), beijing(now).date()
    found = store().warnings(first.isoformat(), last.isoformat(), mn).to_pylist()
    return [
        {**row, "word": label(warnings().get(row["kind"], Label(row["kind"], row["kind"]))),
         "ref": str(FrameRef.unpack(row["frame"]))}
        for row in sorted(found, key=lambda row: row["day"], reverse=True)
    ]  # fmt: skip


def _fills(device: Device) -> list[dict[str, Any]]:
    """What the device was asked for, the newest stretch first."""
    known = store().fills([device.mn])[:ROWS]
    return [
        {**row._asdict(), "said": label(fill.explain(row, device.edition)), "open": row.state in fill.OPEN,
         "kind_word": label(series.KINDS[Kind(row.kind)])}
        for row in known
    ]  # fmt: skip


def _factor_name(code: str) -> str:
    known = factors.find(code)
    if known is None:
        return ""
    return (get_language() == "en" and known.name_en) or known.name


# ── bad frames ────────────────────────────────────────────────────────────────────────────────────────────────────


def bad(request: HttpRequest) -> HttpResponse:
    """Bytes that were no good frame, newest first, with text and hex of their beginning."""
    rights.require(request.user, "intake")
    now, mn = clock.now(), request.GET.get("mn", "").strip()
    beyond = set(Device.objects.exclude(point__in=rights.visible_points(request.user)).values_list("mn", flat=True))
    found = [row for row in store().bad_frames(mn=mn or None, limit=BAD_FRAMES).to_pylist() if row["mn"] not in beyond]
    page = Paginator(found, ROWS).get_page(request.GET.get("page"))
    page.object_list = [_bad(row) for row in page.object_list]
    context = {
        "page": page, "total": len(found), "most": BAD_FRAMES, "mn": mn, **tabs(request, "bad", now),
    }  # fmt: skip
    return render(request, "intake/bad.html", context)


def _bad(row: dict[str, Any]) -> dict[str, Any]:
    try:
        content = masked(store().frame(row["frame"]).payload)[:PREVIEW]
    except RecordNotFoundError:
        content = b""
    return {
        **row, "ref": str(FrameRef.unpack(row["frame"])), "cause": _error(row["error"]), "text": as_text(content),
        "hex": content.hex(" "), "cut": row["size"] > PREVIEW,
    }  # fmt: skip


def _error(code: str) -> str:
    """The cause in words; what follows its code is shown as it is."""
    short, _, more = code.partition(":")
    word = label(ERRORS[short]) if short in ERRORS else code
    return f"{word} ({more})" if more and short in ERRORS else word


# ── quarantine ────────────────────────────────────────────────────────────────────────────────────────────────────


def quarantined(request: HttpRequest) -> HttpResponse:
    """Frames that do not count before a person has looked; those chosen are released or dismissed, with a reason."""
    rights.require(request.user, "intake")
    now, given = clock.now(), request.POST or request.GET
    mn = given.get("mn", "").strip()
    state = given.get("state") if given.get("state") in quarantine.STATES else "held"
    found = [row for row in quarantine.visible(store(), request.user, mn, state) if _asked(row, given.get("cause", ""))]
    error = _settled(request, found, now) if request.method == "POST" else ""
    if error is None:
        return redirect(f"{request.path}?{urlencode({'mn': mn})}" if mn else request.path)
    page = Paginator(found, ROWS).get_page(request.GET.get("page"))
    page.object_list = [_held(row) for row in page.object_list]
    context = {
        "page": page, "total": len(found), "most": quarantine.MOST, "mn": mn, "cause": given.get("cause", ""),
        "causes": [(code, label(CAUSES[code])) for code in quarantine.CAUSES], "error": error,
        "state": state, "states": [(code, label(word)) for code, word in quarantine.STATES.items()],
        "may_release": state == "held" and rights.can(request.user, "release"), "reason": given.get("reason", ""),
        "chosen": request.POST.getlist("frame"), **tabs(request, "quarantine", now),
    }  # fmt: skip
    return render(request, "intake/quarantine.html", context, status=422 if error else 200)


def _asked(row: dict[str, Any], cause: str) -> bool:
    return not cause or row["cause"].partition(":")[0] == cause


def _held(row: dict[str, Any]) -> dict[str, Any]:
    kind = None if row["kind"] is None else label(series.KINDS[Kind(row["kind"])])
    return {**row, "ref": str(FrameRef.unpack(row["frame"])), "said": label(quarantine.explain(row["cause"])),
            "kind_word": kind}  # fmt: skip


def _settled(request: HttpRequest, found: list[dict[str, Any]], now: float) -> str | None:
    """Release or dismiss what was chosen (or all that is listed); None when done, else what is wrong."""
    given = request.POST
    listed = {str(FrameRef.unpack(row["frame"])): row["frame"] for row in found}
    chosen = list(listed) if "all" in given else given.getlist("frame")
    action = given.get("do", "")
    try:
        frames = [listed[ref] for ref in chosen if ref in listed]
        quarantine.decide(store(), frames, action, request.user, given.get("reason", ""), now)
    except quarantine.QuarantineError as error:
        return str(error)
    except WaitsError as error:
        messages.warning(request, str(error))
        return None
    said = {"release": gettext("已放行 %(n)d 帧，由时钟收入。"), "dismiss": gettext("%(n)d 帧不予计入。")}[action]
    messages.success(request, said % {"n": len(frames)})
    return None


# ── one record ────────────────────────────────────────────────────────────────────────────────────────────────────


def frame(request: HttpRequest, ref: str) -> HttpResponse:
    """A record of the archive as received: text, hex, what was read of it, hash. Passwords are masked, hashes not."""
    rights.require(request.user, "frames")
    try:
        record = store().frame(FrameRef.parse(ref))
    except ForgottenError as error:
        return render(request, "intake/forgotten.html", {"ref": ref, "cause": str(error)}, status=410)
    except (ValueError, OverflowError, RecordNotFoundError):
        raise Http404 from None
    readers = {RecordKind.IMPORT: _import, RecordKind.DECISION: _decision, RecordKind.RELEASE: _release}
    reader = readers.get(record.kind, _frame)
    context = {
        "ref": str(record.ref), "record": record, "kind_word": label(RECORDS[record.kind]),
        "sha256": decode(record.payload).sha256, "size": len(record.payload), "raw": True,
        **reader(request, record),
    }  # fmt: skip
    if context["raw"]:
        content = masked(record.payload)
        context |= {"text": as_text(content), "dump": hexdump(content[:DUMPED]), "dumped": DUMPED}
    return render(request, "intake/frame.html", context)


def _frame(request: HttpRequest, record: Record) -> dict[str, Any]:
    found = decode(record.payload, key=keys.lookup)
    owner = Device.objects.select_related("point").filter(mn=found.mn or "").first()
    if owner is None:
        rights.require(request.user, "intake")
    elif not rights.can(request.user, "see", owner.point):
        raise Http404
    shown = found.public()
    return {
        "frame": found, "shown": shown, "owner": owner, "fields": _fields(shown),
        "cause": _error(found.error) if found.error else "", "dialect_word": _dialect_word(found.crc_dialect),
        "warnings": shown["warnings"] + without_secrets(_upload(found, owner).warnings),
        "readings": _readings(found, owner),
    }  # fmt: skip


def _dialect_word(dialect: str | None) -> str:
    return label(DIALECTS[dialect]) if dialect in DIALECTS else dialect or ""


def _fields(shown: dict[str, Any]) -> list[tuple[str, Any]]:
    """Head and plain data fields, those that were sent."""
    heads = ("qn", "st", "cn", "mn", "flag", "pnum", "pno", "rf", "datatime")
    head = [(key.upper(), shown[key]) for key in heads if shown[key] is not None]
    return head + [(f"CP {key}", value) for key, value in shown["cp"].items() if key != "DataTime"]


def _upload(found: Frame, owner: Device | None) -> Upload:
    return rows(found, (owner.minute_interval if owner else 1) * 60)


def _readings(found: Frame, owner: Device | None) -> list[dict[str, Any]]:
    """Each factor with its fields as sent, the confirmed unit, and the reading it became."""
    upload = _upload(found, owner)
    mine = {one.factor: one for one in owner.point.series.all()} if owner else {}
    units = owner.units if owner else {}
    shown = []
    for code, fields in without_secrets(found.factors).items():
        current = factors.current_code(code)
        one = mine.get(current)
        shown.append(
            {
                "code": code, "name": _factor_name(code), "fields": list(fields.items()),
                "unit": units.get(current) or units.get(code, ""),
                "href": _reading_url(one, upload) if one and current in units else "",
            }
        )  # fmt: skip
    return shown


def _reading_url(one: Series, upload: Upload) -> str:
    if upload.kind is None or upload.ts is None:
        return ""
    return series.reading_url(one.pk, upload.kind, upload.ts)


def _import(request: HttpRequest, record: Record) -> dict[str, Any]:
    """The rows of an import that belong to this person's points; the raw bytes only when all of them do."""
    content = orjson.loads(record.payload)
    mine = _series(request, {row[0] for row in content["rows"]})
    seen = [row for row in content["rows"] if row[0] in mine]
    if not seen:
        raise Http404
    lines = [
        {"one": mine[number], "kind_word": label(series.KINDS[Kind(kind)]), "ts": ts, "value": value, "flag": flag,
         "line": line, "href": series.reading_url(number, kind, ts)}
        for number, kind, ts, value, flag, line in seen[:IMPORTED]
    ]  # fmt: skip
    return {
        "file": content["file"], "by": content["by"], "lines": lines, "count": len(seen),
        "raw": len(seen) == len(content["rows"]),
    }  # fmt: skip


def _decision(request: HttpRequest, record: Record) -> dict[str, Any]:
    content = orjson.loads(record.payload)
    mine = _series(request, {content["series"]})
    if not mine:
        raise Http404
    one = mine[content["series"]]
    return {"decision": content, "one": one, "action_word": label(series.ACTIONS[content["action"]])}


def _release(request: HttpRequest, record: Record) -> dict[str, Any]:
    rights.require(request.user, "intake")
    content = orjson.loads(record.payload)
    word = quarantine.STATES[{"release": "released", "dismiss": "dismissed"}[content["action"]]]
    frames = [str(FrameRef.unpack(frame)) for frame in content["frames"][:IMPORTED]]
    return {"release": content, "action_word": label(word), "frames": frames}


def _series(request: HttpRequest, numbers: Iterable[int]) -> dict[int, Series]:
    points = rights.visible_points(request.user)
    return Series.objects.select_related("point").filter(point__in=points).in_bulk(list(numbers))


def as_text(content: bytes) -> str:
    """Bytes as a person can read them: UTF-8, else GB 18030; what has no glyph is escaped, line ends too."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("gb18030", errors="backslashreplace")
    return "".join(c if c.isprintable() else {"\r": "\\r", "\n": "\\n\n"}.get(c, f"\\x{ord(c):02x}") for c in text)


def hexdump(content: bytes) -> str:
    """Sixteen bytes a line: offset, hex, ASCII."""
    lines = []
    for at in range(0, len(content), 16):
        part = content[at : at + 16]
        seen = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:06x}  {part.hex(' '):47}  {seen}")
    return "\n".join(lines)


urls = [
    path("intake/", status, name="intake"),
    path("intake/waiting/", waiting, name="waiting"),
    path("intake/adopt/", adopt, name="adopt"),
    path("intake/device/", device, name="device"),
    path("intake/bad/", bad, name="bad-frames"),
    path("intake/quarantine/", quarantined, name="quarantine"),
    path("frames/<str:ref>/", frame, name="frame"),
]
