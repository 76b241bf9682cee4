"""What the clockwork records: status with its changes, findings, notices."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_noop

from ceguan import words
from ceguan.registry.models import Point, Region, User


class PointStatus(models.Model):
    """The status of a point as last computed, and since when. Changed only together with a Change row."""

    point = models.OneToOneField(Point, models.CASCADE, related_name="status", primary_key=True)
    state = models.CharField(max_length=12, choices=[(s, label.zh) for s, label in words.STATUSES.items()])
    since = models.DateTimeField()
    last_packet = models.DateTimeField("最近一包", null=True)
    why = models.CharField(max_length=200, blank=True)


class Change(models.Model):
    """One row per transition of a point's status: from, to, when, why."""

    point = models.ForeignKey(Point, models.PROTECT, related_name="changes")
    before = models.CharField(max_length=12)
    after = models.CharField(max_length=12)
    at = models.DateTimeField()
    why = models.CharField(max_length=200)

    class Meta:
        ordering = ["-at", "-id"]


class Finding(models.Model):
    """发现: an exceedance, a silent outlet, a lead. The same finding again folds into the open one."""

    OPEN_STATES = ("open", "claimed", "case")
    STATES = [
        ("open", gettext_noop("待认领")),
        ("claimed", gettext_noop("已认领")),
        ("case", gettext_noop("已立案")),
        ("ended", gettext_noop("已结束")),
        ("dismissed", gettext_noop("已排除")),
    ]
    point = models.ForeignKey(Point, models.PROTECT, related_name="findings")
    rule = models.CharField(
        "规则", max_length=60
    )  # e.g. limit-hour:a21026, limit-day:w01018, silent, clock, flatline:a21026
    level = models.SmallIntegerField("级别", default=2)  # 1 notice, 2 warning, 3 serious
    title_zh = models.CharField(max_length=160)
    title_en = models.CharField(max_length=200, blank=True)
    detail = models.JSONField(default=dict)  # latest occurrence: value, limit, multiple, unit, clause …
    verdicts = models.JSONField(default=list)  # ids of the ledger's verdicts that caused it, oldest first
    first_at = models.DateTimeField("首次")
    last_at = models.DateTimeField("末次")
    count = models.IntegerField("次数", default=1)
    state = models.CharField("状态", max_length=12, choices=STATES, default="open")
    owner = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name="认领人")
    made_at = models.DateTimeField()
    muted_until = models.DateTimeField("屏蔽至", null=True, blank=True)

    class Meta:
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["point", "rule"], condition=Q(state__in=("open", "claimed", "case")), name="one_open_finding"
            )
        ]


class FindingEvent(models.Model):
    """Who did what with a finding: claim, note, hand over, dismiss (with reason), mute, open a case."""

    finding = models.ForeignKey(Finding, models.PROTECT, related_name="events")
    at = models.DateTimeField()
    who = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=20)
    text = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["at", "id"]


class NoticeTarget(models.Model):
    """Where notices go: an e-mail address or a webhook, for findings of a level in a region."""

    kind = models.CharField("方式", max_length=8, choices=[("email", "邮件"), ("webhook", "Webhook")])
    address = models.CharField("地址", max_length=300)
    region = models.ForeignKey(Region, models.PROTECT, related_name="+", verbose_name="辖区")
    level = models.SmallIntegerField("最低级别", default=2)
    active = models.BooleanField("启用", default=True)
    secret = models.CharField("签名密钥", max_length=80, blank=True)  # webhook: HMAC-SHA256 of the body


class Notice(models.Model):
    """One notice to one target: sent, or failed with the cause; retried with back-off, then named failed for good."""

    target = models.ForeignKey(NoticeTarget, models.PROTECT, related_name="notices")
    finding = models.ForeignKey(Finding, models.PROTECT, related_name="notices")
    made_at = models.DateTimeField()
    state = models.CharField(max_length=8, default="waiting")  # waiting, sent, failed
    tries = models.SmallIntegerField(default=0)
    next_try = models.DateTimeField(null=True)
    answer = models.CharField(max_length=200, blank=True)
