"""A case is its events. State and clocks are computed from them; the columns on Case are a cache for lists."""

from __future__ import annotations

from django.db import models

from ceguan.registry.models import Enterprise, Point, Region, User
from ceguan.watch.models import Finding


class Case(models.Model):
    number = models.CharField("案号", max_length=40, unique=True)
    procedure = models.CharField("程序", max_length=40)  # id of a table in standards/procedures
    title = models.CharField("案由", max_length=200)
    point = models.ForeignKey(Point, models.PROTECT, related_name="cases")
    enterprise = models.ForeignKey(Enterprise, models.PROTECT, null=True, related_name="cases")
    region = models.ForeignKey(Region, models.PROTECT, related_name="cases")
    findings = models.ManyToManyField(Finding, related_name="cases")
    state = models.CharField("状态", max_length=20)
    assignee = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", verbose_name="承办人")
    opened_at = models.DateTimeField("立案时间")
    due_at = models.DateTimeField("本步期限", null=True)
    closed_at = models.DateTimeField("销号时间", null=True)

    class Meta:
        ordering = ["-opened_at"]

    def __str__(self) -> str:
        return self.number


class CaseEvent(models.Model):
    """One step done: who, when, why. Append-only; each event's hash covers the one before and its files' hashes."""

    case = models.ForeignKey(Case, models.PROTECT, related_name="events")
    seq = models.IntegerField()
    at = models.DateTimeField()
    who = models.ForeignKey(User, models.PROTECT, related_name="+")
    step = models.CharField(max_length=20)  # id of the step in the procedure's table
    before = models.CharField(max_length=20)
    after = models.CharField(max_length=20)
    text = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["case", "seq"]
        constraints = [models.UniqueConstraint(fields=["case", "seq"], name="one_event_per_place")]


class Attachment(models.Model):
    """Evidence: stored by its SHA-256, never changed."""

    event = models.ForeignKey(CaseEvent, models.PROTECT, related_name="files")
    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    size = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)


class Period(models.Model):
    """The bureau's own period for a step, in force from a date; overrides the table's default, with a reason."""

    procedure = models.CharField(max_length=40)
    step = models.CharField(max_length=20)
    days = models.SmallIntegerField("期限")
    unit = models.CharField(max_length=2, choices=[("wd", "工作日"), ("d", "日")])
    valid_from = models.DateField("生效日")
    reason = models.CharField("理由", max_length=200)
    by = models.ForeignKey(User, models.PROTECT, related_name="+")

    class Meta:
        ordering = ["procedure", "step", "valid_from"]
