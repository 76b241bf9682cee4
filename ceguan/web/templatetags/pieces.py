"""Pieces every page is made of, each made once: times, figures, rings, chips, badges, gap bars, empty states."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from django import template
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from ceguan import words
from ceguan.registry import label as names
from ceguan.store import sizes

register = template.Library()
register.filter("name", names.name)
register.filter("label", names.label)

DAY = 86400


def _beijing(moment: Any) -> datetime | None:
    """Epoch seconds, aware datetime or None → Beijing wall time."""
    if moment is None or moment == "" or (isinstance(moment, float) and math.isnan(moment)):
        return None
    return moment.astimezone(words.BEIJING) if isinstance(moment, datetime) else words.beijing(float(moment))


@register.filter
def bj(moment: Any) -> str:
    """2026-03-01 14:00, Beijing time; — when there is none."""
    when = _beijing(moment)
    return when.strftime("%Y-%m-%d %H:%M") if when else "—"


@register.filter
def bj_seconds(moment: Any) -> str:
    when = _beijing(moment)
    return when.strftime("%Y-%m-%d %H:%M:%S") if when else "—"


@register.filter
def bj_short(moment: Any) -> str:
    """03-01 14:00."""
    when = _beijing(moment)
    return when.strftime("%m-%d %H:%M") if when else "—"


@register.filter
def bj_clock(moment: Any) -> str:
    """14:00."""
    when = _beijing(moment)
    return when.strftime("%H:%M") if when else "—"


@register.filter
def bj_date(moment: Any) -> str:
    if isinstance(moment, date) and not isinstance(moment, datetime):
        return moment.isoformat()
    when = _beijing(moment)
    return when.strftime("%Y-%m-%d") if when else "—"


@register.filter
def iso(moment: Any) -> str:
    """2026-03-01T14:00:00+08:00, for `datetime` attributes."""
    when = _beijing(moment)
    return when.isoformat(timespec="seconds") if when else ""


@register.filter
def epoch(moment: datetime | None) -> int | str:
    return "" if moment is None else int(moment.astimezone(UTC).timestamp())


@register.filter
def ago(moment: Any, now: float) -> str:
    """How long before `now`, in the largest unit that fits."""
    when = _beijing(moment)
    if when is None:
        return "—"
    seconds = max(0, int(now - when.timestamp()))
    if seconds < 60:
        return gettext("刚刚")
    if seconds < 3600:
        return ngettext("%(n)d 分钟前", "%(n)d 分钟前", seconds // 60) % {"n": seconds // 60}
    if seconds < 2 * DAY:
        return ngettext("%(n)d 小时前", "%(n)d 小时前", seconds // 3600) % {"n": seconds // 3600}
    return ngettext("%(n)d 天前", "%(n)d 天前", seconds // DAY) % {"n": seconds // DAY}


@register.filter
def figure(value: Any, decimals: int | None = None) -> str:
    """A number as people read it; — for none."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "—"
    if decimals is None:
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    return f"{value:.{decimals}f}"


@register.filter
def percent(part: float | None, decimals: int = 0) -> str:
    return "—" if part is None or part != part else f"{part * 100:.{decimals}f}%"


@register.filter
def size(count: float | None) -> str:
    """Bytes in the unit that fits; — for none."""
    return "—" if count is None else sizes.said(count)


@register.filter
def get(mapping: Mapping, key: Any) -> Any:
    return mapping.get(key)


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', static("icons.svg"), name)


@register.filter
def kind_name(kind: str) -> str:
    return names.label(words.POINT_KINDS[words.PointKind(kind)])


@register.filter
def role_name(role: str) -> str:
    return names.label(words.ROLES[words.Role(role)])


@register.simple_tag
def ring(state: str | None, why: str = "") -> SafeString:
    """Freshness ring: colour, dash pattern and word. `why` becomes its tooltip."""
    state = state or "planned"
    word = names.label(words.STATUSES[words.Status(state)])
    return format_html(
        '<span class="ring ring-{}" title="{}"><svg viewBox="0 0 14 14" aria-hidden="true">'
        '<circle cx="7" cy="7" r="5"/></svg>{}</span>',
        state,
        why,
        word,
    )


@register.inclusion_tag("pieces/value.html")
def value(
    number: float | None,
    unit: str,
    at: Any = None,
    decimals: int | None = None,
    state: str = "realtime",
    completeness: float | None = None,
    source: str = "",
    over: bool = False,
    name: str = "",
) -> dict[str, Any]:
    """A figure with unit, time, review state, completeness (0–1) and the link to where it comes from."""
    return {
        "number": figure(number, decimals), "unit": unit, "at": at, "state": review_state(state),
        "completeness": completeness, "source": source, "over": over, "name": name,
    }  # fmt: skip


def review_state(state: str) -> str:
    """The word for realtime (nobody has looked), reviewed, published."""
    return {"realtime": gettext("实时，未审核"), "reviewed": gettext("已审核"), "published": gettext("已发布")}[state]


register.filter("review_state", review_state)


@register.inclusion_tag("pieces/clock_chip.html")
def clock_chip(
    days_left: int | None, unit: str = "wd", running: bool = True, href: str = "", trust: str = "", title: str = ""
) -> dict[str, Any]:
    """Days left of a period (negative = overdue); unit wd (working days) or d; opens its explanation at `href`."""
    if days_left is None:
        look = "clock-none"
    elif not running:
        look = "clock-paused"
    else:
        look = "clock-over" if days_left < 0 else "clock-soon" if days_left <= 1 else ""
    word = gettext("工作日") if unit == "wd" else gettext("日")
    return {
        "days": None if days_left is None else abs(days_left), "over": (days_left or 0) < 0, "unit": word,
        "running": running, "look": look, "href": href, "trust": trust, "title": title,
    }  # fmt: skip


GAP_LOOKS = {
    "maintenance": "maintenance",
    "factor": "device",
    "bad_frame": "crc",
    "platform": "platform",
    "quarantine": "device",
}
"""Colour of a gap by the code its cause begins with; any other cause (no packet came) has the colour of alarm."""


@register.inclusion_tag("pieces/gapbar.html")
def gap_bar(gaps: Iterable[tuple[float, float, str, str]], start: float, end: float, now: float = 0) -> dict[str, Any]:
    """The span [start, end) as a strip; each gap (from, to, cause code, cause in words) coloured by its cause.

    `now` > 0 greys what has not come yet.
    """
    scale, strips = 1000 / max(1.0, end - start), []
    for begin, until, cause, said in gaps:
        left, right = max(begin, start), min(until, end)
        if right > left:
            look = GAP_LOOKS.get(cause.partition(":")[0], "")
            strips.append(
                {"x": round((left - start) * scale, 1), "w": round(max(1.5, (right - left) * scale), 1),
                 "look": f"gap-{look}" if look else "", "from": begin, "to": until, "said": said}
            )  # fmt: skip
    future = round((now - start) * scale, 1) if start < now < end else None
    return {"strips": strips, "future": future, "left": None if future is None else round(1000 - future, 1)}


@register.inclusion_tag("pieces/empty.html")
def empty(title: str, why: str = "", href: str = "", action: str = "") -> dict[str, str]:
    """Why there is nothing here and what to do."""
    return {"title": title, "why": why, "href": href, "action": action}


@register.simple_tag
def aqi_badge(level: int | None, aqi: int | None = None) -> SafeString:
    """Official colour, always with the class as a numeral (and the AQI where given)."""
    text = f"{aqi} · {'–一二三四五六'[level]}级" if aqi and level else "–ⅠⅡⅢⅣⅤⅥ"[level or 0]
    if aqi and level and names.get_language() == "en":
        text = f"{aqi} · {'–ⅠⅡⅢⅣⅤⅥ'[level]}"
    return format_html('<span class="badge badge-aqi-{}">{}</span>', level or 0, text)


WATER = ("NA", "Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ", "Ⅴ", "劣Ⅴ")


@register.simple_tag
def water_badge(level: str | int | None) -> SafeString:
    """Water class as its numeral in its colour; takes Ⅰ … 劣Ⅴ or 0 … 6."""
    code = level if isinstance(level, int) else WATER.index(level) if level in WATER else 0
    return format_html('<span class="badge badge-water-{}">{}</span>', code, WATER[code])


@register.inclusion_tag("pieces/pager.html", takes_context=True)
def pager(context: template.Context, page: Any) -> dict[str, Any]:
    """Previous and next of a Django page, keeping the rest of the address."""
    query = context["request"].GET.copy()
    query.pop("page", None)
    return {"page": page, "query": query.urlencode()}


@register.simple_tag(takes_context=True)
def with_query(context: template.Context, **changes: Any) -> str:
    """The current query string with changes; an empty value removes its name."""
    query = context["request"].GET.copy()
    for key, changed in changes.items():
        if changed in ("", None):
            query.pop(key, None)
        else:
            query[key] = changed
    return "?" + query.urlencode()


@register.simple_tag(takes_context=True)
def sort_link(context: template.Context, key: str, word: str) -> SafeString:
    """A column head that sorts by `key`, and the other way round when pressed again; the address keeps the rest."""
    now = context["request"].GET.get("sort", "")
    mark = {key: " ↑", f"-{key}": " ↓"}.get(now, "")
    turned = f"-{key}" if now == key else key
    return format_html('<a href="{}">{}{}</a>', with_query(context, sort=turned, page=""), word, mark)


GRADE_LOOKS = {"over": "badge-over", "within": "badge-within", "inside": "badge-within"} | {
    "above": "chip-warn",
    "below": "chip-info",
    "none": "badge-aqi-0",
}


@register.simple_tag
def grade_badge(grade: Any) -> SafeString:
    """A grade of the map's table: numeral or word on its colour, its name as tooltip."""
    title = names.label(grade.label)
    word = "劣Ⅴ" if grade.key == "water-6" else grade.mark
    text = title if grade.key in GRADE_LOOKS and grade.key != "none" else word
    look = GRADE_LOOKS.get(grade.key, f"badge-{grade.key}")
    return format_html('<span class="badge {}" title="{}">{}</span>', look, title, text)


@register.simple_tag
def finding_title(finding: Any) -> str:
    return (names.get_language() == "en" and finding.title_en) or finding.title_zh


@register.simple_tag
def frame_link(ref: str) -> SafeString:
    """Link to the raw frame at an archive reference."""
    return format_html('<a href="{}">{}</a>', reverse("frame", args=[ref]), ref)
