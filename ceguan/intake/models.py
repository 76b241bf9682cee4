"""What the platform says to devices: commands and how they ended, keys, and which process holds whose connection."""

from __future__ import annotations

from enum import StrEnum

from django.db import models
from django.db.models import Q

from ceguan.intake.hj212 import commands
from ceguan.registry.models import Device, User
from ceguan.words import Label


class State(StrEnum):
    """Where a command stands. What comes after `accepted` is an end; `unknown` may still become done or failed."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    SENT = "sent"
    ACCEPTED = "accepted"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


STATES = {
    State.QUEUED: Label("待发", "queued"),
    State.CLAIMED: Label("已领取", "claimed"),
    State.SENT: Label("已发送", "sent"),
    State.ACCEPTED: Label("已受理", "accepted"),
    State.DONE: Label("已完成", "done"),
    State.REFUSED: Label("被拒绝", "refused"),
    State.FAILED: Label("失败", "failed"),
    State.TIMEOUT: Label("无应答", "no answer"),
    State.UNKNOWN: Label("结果未知", "result unknown"),
    State.CANCELLED: Label("已撤销", "cancelled"),
    State.EXPIRED: Label("已过期", "expired"),
}
RUNNING = (State.CLAIMED, State.SENT, State.ACCEPTED)
WAITING = (State.QUEUED, *RUNNING)
CAUSES = {
    "no_answer": Label("超时，重发后仍无应答", "timed out, no answer to any send"),
    "no_result": Label("已受理，但未收到执行结果", "accepted, but no result came"),
    "data_only": Label("数据已到，未收到执行结果", "the data came, no result followed"),
    "too_long": Label("已受理，期限内没有结束", "accepted, but not ended in time"),
    "lost": Label("连接中断，结果未知", "connection lost, result unknown"),
    "gateway": Label("网关中断，结果未知", "gateway interrupted, result unknown"),
    "retry": Label("连接或网关中断，重新排队", "connection or gateway interrupted, queued again"),
    "noticed": Label("设备已应答通知", "the device answered the notice"),
    "cancelled": Label("由人撤销", "cancelled by a person"),
    "expired": Label("期限内没有发出", "not sent in time"),
    "unsendable": Label("不能组成报文", "no frame can be made of it"),
}
"""Causes that are no return code of a device."""


class DeviceKey(models.Model):
    """SM4 key of an HJ 212-2025 device. Old keys stay: old frames are decoded with them."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="keys")
    sealed = models.TextField()  # encrypted with a key made of the installation's secret
    created = models.DateTimeField("生成时间")
    valid_from = models.DateTimeField("启用时间", null=True)
    confirmed = models.DateTimeField("设备确认时间", null=True)
    by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")

    class Meta:
        ordering = ["device", "-created", "-id"]


class Command(models.Model):
    """One command to one device, from queue to end. Changed only by ceguan.intake.commands, each time with an audit."""

    device = models.ForeignKey(Device, models.PROTECT, related_name="commands")
    cn = models.CharField("命令", max_length=4)
    edition = models.CharField("协议版本", max_length=4)
    params = models.JSONField("参数", default=dict)  # without passwords and keys
    sealed = models.TextField(blank=True)  # passwords among the parameters, encrypted
    key = models.ForeignKey(DeviceKey, models.PROTECT, null=True, related_name="+")  # the new key of a 1014
    who = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", verbose_name="何人")  # null: platform
    why = models.CharField("理由", max_length=300)
    priority = models.SmallIntegerField(default=0)  # lower goes first
    created = models.DateTimeField("下达时间")
    expires = models.DateTimeField("有效期至")
    state = models.CharField(
        "状态", max_length=10, choices=[(s, label.zh) for s, label in STATES.items()], default=State.QUEUED
    )
    changed = models.DateTimeField("状态时间")
    qn = models.CharField("请求编码", max_length=20, blank=True, db_index=True)
    attempts = models.SmallIntegerField("发送次数", default=0)
    gateway = models.CharField(max_length=120, blank=True)
    lease = models.FloatField(default=0)  # real time [UTC epoch s] until which the gateway answers for it
    result_code = models.CharField("结果", max_length=40, blank=True)  # QnRtn:n, ExeRtn:n or a key of CAUSES
    answer = models.JSONField("应答", default=dict)
    frames = models.JSONField("报文", default=list)  # [[what, reference in the archive], …]

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state", "device"])]
        constraints = [
            models.UniqueConstraint(fields=["device"], condition=Q(state__in=RUNNING), name="one_exchange_per_device")
        ]

    @property
    def row(self) -> commands.Command | None:
        return commands.of_edition(self.edition).get(self.cn)

    @property
    def state_label(self) -> Label:
        return STATES[State(self.state)]

    @property
    def result(self) -> Label:
        """The result in words; empty while there is none."""
        kind, colon, code = self.result_code.partition(":")
        return commands.said(kind, self.edition, code) if colon else CAUSES.get(kind, Label(kind, kind))

    @property
    def point(self):
        """Whose object it is, for rights."""
        return self.device.point


class Line(models.Model):
    """Which gateway process holds the newest connection of a device. Gone when the connection is."""

    device = models.OneToOneField(Device, models.CASCADE, related_name="line", primary_key=True)
    gateway = models.CharField(max_length=120, db_index=True)
    peer = models.CharField(max_length=80)
    since = models.DateTimeField()


class ForwardTarget(models.Model):
    """转发目标: a platform that gets what our devices sent. Changed only by ceguan.intake.forward.targets."""

    name = models.CharField("名称", max_length=60, unique=True)
    order = models.SmallIntegerField("次序", default=1)
    active = models.BooleanField("启用", default=True)
    host = models.CharField("地址", max_length=120)
    port = models.IntegerField("端口")
    edition = models.SmallIntegerField(
        "协议版本", choices=[(e, f"HJ 212-{e}") for e in (2005, 2017, 2025)], default=2017
    )
    password = models.TextField(blank=True)  # sealed by ceguan.intake.keys, like the key
    key = models.TextField(blank=True)
    answers = models.BooleanField("对方应答", default=True)
    st = models.CharField("系统编码", max_length=5, blank=True)
    cns = models.JSONField("报文种类", default=list)
    devices = models.JSONField("设备", default=dict)  # MN → MN at the target, "" as it is; empty: every adopted device
    factors = models.JSONField("因子", default=dict)  # 2017 code → [code at the target or "", factor as text]
    others = models.BooleanField("其余因子照转", default=True)
    since = models.DateTimeField("起始时刻")  # what was received before is not forwarded
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["order", "name"]

    def __str__(self) -> str:
        return self.name


class Undelivered(models.Model):
    """A record that was committed and is not known to lie in the archive yet; see `decided`."""

    stream = models.IntegerField()
    segment = models.IntegerField()
    offset = models.BigIntegerField()
    kind = models.SmallIntegerField()
    recv = models.FloatField()
    source = models.CharField(max_length=255)
    payload = models.TextField()
