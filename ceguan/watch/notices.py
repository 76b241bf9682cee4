"""Notices of findings by e-mail or webhook: a row per finding and target, retried with back-off, then failed for good.

An `Audience` only makes rows, which are written together with their finding; `step` sends what is due. A target hears
of findings in its region and below, from its level up. A webhook with a secret is signed: header X-Ceguan-Signature,
"sha256=" + the hex HMAC-SHA256 of the body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import urllib.error
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from django.core.mail import EmailMessage, get_connection
from django.db.models import Q

from ceguan import words
from ceguan.registry.models import Point
from ceguan.settings import Settings
from ceguan.watch.models import Finding, Notice, NoticeTarget
from ceguan.watch.thresholds import threshold

TIMEOUT = 5.0
LEVELS = {1: "提示", 2: "预警", 3: "严重"}


@dataclass(frozen=True, slots=True)
class Sent:
    """What `step` did."""

    sent: int = 0
    retried: int = 0
    failed: int = 0


class NoticeError(Exception):
    """A notice could not be delivered; the message is the cause. `permanent`: trying again is no use."""

    def __init__(self, message: str, permanent: bool = False):
        super().__init__(message)
        self.permanent = permanent


class Audience:
    """Who hears of findings at these points, read at once."""

    def __init__(self, points: Collection[int]) -> None:
        self._paths = dict(Point.objects.filter(pk__in=points).values_list("pk", "region__path"))
        self._targets = list(NoticeTarget.objects.filter(active=True).order_by("pk"))

    def notices(self, finding: Finding, now: float) -> list[Notice]:
        """Rows, not saved, for the targets that should hear of this finding; none while it is muted or when it is old
        news."""
        muted = finding.muted_until is not None and finding.muted_until.timestamp() > now
        if muted or finding.last_at.timestamp() < now - threshold("notice_hours") * 3600:
            return []
        codes = self._paths[finding.point_id].split("/")
        return [
            Notice(target=target, finding=finding, made_at=_when(now), next_try=_when(now), state="waiting")
            for target in self._targets
            if target.level <= finding.level and target.region_id in codes
        ]


def step(settings: Settings, now: float, most: int = 20) -> Sent:
    """Send up to `most` notices that are due. Each try is recorded before the next one begins."""
    due = Notice.objects.filter(Q(next_try__lte=_when(now)) | Q(next_try=None), state="waiting")
    sent = retried = failed = 0
    for notice in due.select_related("target", "finding__point__region").order_by("next_try", "id")[:most]:
        try:
            answer = _deliver(notice, settings)
        except NoticeError as error:
            gave_up = _failed(notice, error, now)
            failed, retried = failed + gave_up, retried + (not gave_up)
        else:
            notice.state, notice.tries, notice.answer = "sent", notice.tries + 1, answer[:200]
            notice.next_try = None
            notice.save()
            sent += 1
    return Sent(sent, retried, failed)


def _failed(notice: Notice, error: NoticeError, now: float) -> bool:
    """Record a failed try; returns whether it was the last one."""
    notice.tries += 1
    notice.answer = str(error)[:200]
    gave_up = error.permanent or notice.tries >= threshold("notice_tries")
    notice.state = "failed" if gave_up else "waiting"
    notice.next_try = None if gave_up else _when(now + threshold("notice_backoff") * 4 ** (notice.tries - 1))
    notice.save()
    return gave_up


def _deliver(notice: Notice, settings: Settings) -> str:
    """Send one notice; returns what the other side said."""
    if notice.target.kind == "email":
        return _email(notice, settings)
    return _webhook(notice, settings)


def _email(notice: Notice, settings: Settings) -> str:
    if not settings.email_url:
        raise NoticeError("未设置发信服务器（设置 email_url）", permanent=True)
    subject, body = text(notice.finding, settings)
    parts = urlsplit(settings.email_url)
    connection = get_connection(
        "django.core.mail.backends.smtp.EmailBackend",
        host=parts.hostname or "localhost",
        port=parts.port or (465 if parts.scheme == "smtps" else 25),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        use_ssl=parts.scheme == "smtps",
        use_tls=parts.scheme == "smtp+tls",
        timeout=TIMEOUT,
    )
    message = EmailMessage(subject, body, settings.email_from, [notice.target.address], connection=connection)
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        raise NoticeError(f"收件人被拒：{error}", permanent=True) from error
    except (smtplib.SMTPException, OSError) as error:
        raise NoticeError(f"发信失败：{error}") from error
    return "已交发信服务器"


def _webhook(notice: Notice, settings: Settings) -> str:
    address = notice.target.address
    if urlsplit(address).scheme not in ("http", "https"):
        raise NoticeError("Webhook 地址须以 http:// 或 https:// 开头", permanent=True)
    body = json.dumps(payload(notice, settings), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "ceguan"}
    if notice.target.secret:
        digest = hmac.new(notice.target.secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Ceguan-Signature"] = f"sha256={digest}"
    request = urllib.request.Request(address, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        raise NoticeError(f"HTTP {error.code}", permanent=error.code in (400, 401, 403, 404, 410)) from error
    except (OSError, ValueError) as error:
        raise NoticeError(f"未送达：{error}") from error


def text(finding: Finding, settings: Settings) -> tuple[str, str]:
    """Subject and body of an e-mail."""
    point = finding.point
    subject = f"【{LEVELS.get(finding.level, finding.level)}】{point.name_zh}：{finding.title_zh}"
    lines = [
        finding.title_zh,
        f"点位：{point.name_zh}（{point.code}，{point.region.name_zh}）",
        f"首次：{_beijing(finding.first_at)}  末次：{_beijing(finding.last_at)}  次数：{finding.count}",
        str(finding.detail.get("zh", "")),
        link(finding, settings),
        f"—— {settings.platform_name}，{settings.bureau_name}",
    ]
    return subject, "\n".join(line for line in lines if line)


def payload(notice: Notice, settings: Settings) -> dict[str, object]:
    """The JSON a webhook gets. `id` is the notice's: the same id again is the same notice, tried again."""
    finding = notice.finding
    return {
        "id": notice.pk,
        "finding": finding.pk,
        "point": finding.point.code,
        "point_name": finding.point.name_zh,
        "region": finding.point.region_id,
        "rule": finding.rule,
        "level": finding.level,
        "title": finding.title_zh,
        "title_en": finding.title_en,
        "first_at": _beijing(finding.first_at),
        "last_at": _beijing(finding.last_at),
        "count": finding.count,
        "link": link(finding, settings),
    }


def link(finding: Finding, settings: Settings) -> str:
    base = settings.public_url or f"http://{settings.web_host}:{settings.web_port}"
    return f"{base.rstrip('/')}/inbox/?finding={finding.pk}"


def _beijing(moment: datetime) -> str:
    return moment.astimezone(words.BEIJING).isoformat(timespec="seconds")


def _when(ts: float) -> datetime:
    return datetime.fromtimestamp(ts, UTC)
