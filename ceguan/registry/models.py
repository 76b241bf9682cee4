"""The registers. Every change of a register goes through registry.audit, with a reason."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q

from ceguan import words


class Region(models.Model):
    """行政区. Rights given for a region hold for everything below it: `path` is the chain of codes, '/99/9901/'."""

    code = models.CharField("代码", max_length=12, primary_key=True)
    name_zh = models.CharField("名称", max_length=60)
    name_en = models.CharField("英文名", max_length=80)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="children", verbose_name="上级"
    )
    path = models.CharField(max_length=120, unique=True, editable=False)
    geometry = models.JSONField("边界", null=True, blank=True)  # GeoJSON geometry, WGS 84

    class Meta:
        ordering = ["path"]

    def __str__(self) -> str:
        return self.name_zh

    def save(self, *args, **kwargs):
        self.path = f"{self.parent.path if self.parent else '/'}{self.code}/"
        super().save(*args, **kwargs)


class Enterprise(models.Model):
    """排污单位."""

    code = models.CharField("统一社会信用代码", max_length=18, unique=True)
    name_zh = models.CharField("名称", max_length=120)
    name_en = models.CharField("英文名", max_length=160, blank=True)
    region = models.ForeignKey(Region, models.PROTECT, related_name="enterprises", verbose_name="所在区")
    industry_code = models.CharField("行业代码", max_length=6, blank=True)  # GB/T 4754-2017
    industry = models.CharField("行业", max_length=80, blank=True)
    address = models.CharField("地址", max_length=160, blank=True)
    contact = models.CharField("联系人", max_length=60, blank=True)
    phone = models.CharField("电话", max_length=40, blank=True)
    lon = models.FloatField("经度")
    lat = models.FloatField("纬度")

    class Meta:
        ordering = ["name_zh"]

    def __str__(self) -> str:
        return self.name_zh


class User(AbstractUser):
    """A person. Role says what they may do, region (and for enterprise users the enterprise) says to what."""

    role = models.CharField("角色", max_length=16, choices=[(role, label.zh) for role, label in words.ROLES.items()])
    region = models.ForeignKey(Region, models.PROTECT, null=True, blank=True, related_name="users", verbose_name="辖区")
    enterprise = models.ForeignKey(
        Enterprise, models.PROTECT, null=True, blank=True, related_name="users", verbose_name="所属单位"
    )
    name_zh = models.CharField("姓名", max_length=40, blank=True)
    phone = models.CharField("手机", max_length=40, blank=True)
    demo_password = models.BooleanField("仍用演示口令", default=False)
    must_change_password = models.BooleanField("须改口令", default=False)

    def __str__(self) -> str:
        return self.name_zh or self.username


class Point(models.Model):
    """点位: one place that is measured – station, section or outlet. Never deleted; closed instead."""

    code = models.CharField("编码", max_length=40, unique=True)
    name_zh = models.CharField("名称", max_length=80)
    name_en = models.CharField("英文名", max_length=120, blank=True)
    kind = models.CharField("类别", max_length=16, choices=[(k, label.zh) for k, label in words.POINT_KINDS.items()])
    region = models.ForeignKey(Region, models.PROTECT, related_name="points", verbose_name="所在区")
    enterprise = models.ForeignKey(
        Enterprise, models.PROTECT, null=True, blank=True, related_name="outlets", verbose_name="排污单位"
    )
    lon = models.FloatField("经度")
    lat = models.FloatField("纬度")
    live_from = models.DateField("投运日期", null=True, blank=True)
    closed_on = models.DateField("停运日期", null=True, blank=True)
    public = models.BooleanField("对公众发布", default=False)
    # water: waterbody river|lake, river, chainage_km, downstream, target_class; noise: zone; gas: o2_ref …
    properties = models.JSONField("属性", default=dict, blank=True)

    class Meta:
        ordering = ["code"]
        indexes = [models.Index(fields=["kind", "region"])]

    def __str__(self) -> str:
        return self.name_zh


class Series(models.Model):
    """One factor at one point. Its id is the `series` of every reading in the store; unit confirmed at adoption."""

    point = models.ForeignKey(Point, models.PROTECT, related_name="series")
    factor = models.CharField("因子编码", max_length=12)  # HJ 212-2017 code
    name_zh = models.CharField("因子", max_length=60)
    name_en = models.CharField("英文名", max_length=80, blank=True)
    unit = models.CharField("单位", max_length=24)
    decimals = models.SmallIntegerField("显示小数位", default=1)
    order = models.SmallIntegerField("次序", default=100)
    range_low = models.FloatField("量程下限", null=True, blank=True)
    range_high = models.FloatField("量程上限", null=True, blank=True)
    detection_limit = models.FloatField("检出限", null=True, blank=True)

    class Meta:
        ordering = ["point", "order", "factor"]
        constraints = [models.UniqueConstraint(fields=["point", "factor"], name="one_series_per_point_and_factor")]
        verbose_name_plural = "series"

    def __str__(self) -> str:
        return f"{self.point_id}:{self.factor}"


class Device(models.Model):
    """数采仪: a data logger known by its MN, adopted to one point. `units` maps factor → unit as confirmed then."""

    mn = models.CharField("MN", max_length=40, unique=True)
    point = models.ForeignKey(Point, models.PROTECT, related_name="devices")
    edition = models.CharField("协议版本", max_length=4, default="2017")
    password = models.CharField(max_length=20, blank=True)
    minute_interval = models.SmallIntegerField("分钟数据间隔", default=10)
    every_seconds = models.IntegerField("应到间隔（秒）", default=600)
    units = models.JSONField("确认的单位", default=dict)
    crc_dialects = models.JSONField("确认的 CRC 方言", default=list, blank=True)  # beside the standard's own
    fill_gaps = models.BooleanField("自动补缺", default=True)
    adopted_at = models.DateTimeField("接入时间", auto_now_add=True)
    adopted_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    take_held = models.BooleanField("补收接入前暂存的帧", default=True)
    retired_on = models.DateField("停用日期", null=True, blank=True)

    def __str__(self) -> str:
        return self.mn


class Permit(models.Model):
    """排污许可证."""

    number = models.CharField("证书编号", max_length=40, unique=True)
    enterprise = models.ForeignKey(Enterprise, models.PROTECT, related_name="permits")
    valid_from = models.DateField("有效期起")
    valid_to = models.DateField("有效期止")

    def __str__(self) -> str:
        return self.number


class PermitLimit(models.Model):
    """许可限值, a dated version: an edit closes the old row (valid_to) and opens a new one, with a reason."""

    permit = models.ForeignKey(Permit, models.PROTECT, related_name="limits")
    point = models.ForeignKey(Point, models.PROTECT, related_name="limits")
    factor = models.CharField("因子编码", max_length=12)
    basis = models.CharField("考核周期", max_length=4, choices=[("hour", "小时均值"), ("day", "日均值")])
    converted = models.BooleanField("按折算值", default=False)
    low = models.FloatField("下限", null=True, blank=True)  # pH 6–9
    high = models.FloatField("限值")
    unit = models.CharField("单位", max_length=24)
    standard = models.CharField("依据标准", max_length=40)
    clause = models.CharField("条款", max_length=80)
    trust = models.CharField("可信度", max_length=8)
    valid_from = models.DateField("生效日")
    valid_to = models.DateField("失效日", null=True, blank=True)
    reason = models.CharField("变更理由", max_length=200)
    changed_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    changed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["point", "factor", "valid_from"]
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from")), name="limit_dates_in_order"
            ),
            models.UniqueConstraint(
                fields=["point", "factor", "basis"], condition=Q(valid_to=None), name="one_open_limit"
            ),
        ]


class Maintenance(models.Model):
    """维护窗口 announced for a point: in it silence is maintenance, not a fault."""

    point = models.ForeignKey(Point, models.PROTECT, related_name="maintenance")
    start = models.DateTimeField("开始")
    end = models.DateTimeField("结束")
    reason = models.CharField("原因", max_length=200)
    by = models.ForeignKey(User, models.PROTECT, related_name="+")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-start"]
        constraints = [models.CheckConstraint(condition=Q(end__gt=F("start")), name="maintenance_ends_after_start")]


class MapFeature(models.Model):
    """A line or area of the base map: river, road. River reaches carry {from, to, flow} of the river graph."""

    kind = models.CharField(max_length=16)  # river, lake, road, park
    name_zh = models.CharField(max_length=60)
    name_en = models.CharField(max_length=80, blank=True)
    geometry = models.JSONField()
    properties = models.JSONField(default=dict)


class AuditEvent(models.Model):
    """留痕: append-only and hash-chained; written only by registry.audit.record."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField("时间")
    who = models.ForeignKey(User, models.PROTECT, null=True, related_name="+", verbose_name="何人")
    action = models.CharField("何事", max_length=60)
    subject = models.CharField("对象", max_length=80, db_index=True)
    reason = models.CharField("理由", max_length=300)
    detail = models.JSONField("内容", default=dict)
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["seq"]
