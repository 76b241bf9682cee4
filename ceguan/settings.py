"""Every setting of the platform, once: name, default, one sentence. `ceguan settings` and docs/settings.md print it.

A setting comes from the environment (CEGUAN_NAME), else from `ceguan.toml` in the data folder, else from the default.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    default: Any
    sentence: str


SETTINGS = (
    Setting("data", "data", "数据目录：帧档案、台账、历史、业务库、附件和日志都在其下。"),
    Setting("web_host", "127.0.0.1", "网页监听地址；演示口令未改之前只允许回环地址。"),
    Setting("web_port", 8212, "网页端口。"),
    Setting("web_workers", 1, "网页进程数。"),
    Setting("public_url", "", "对外网址，用于通知中的链接；留空则用监听地址。"),
    Setting("allowed_hosts", "", "允许的主机名，逗号分隔；回环地址总是允许。"),
    Setting("secure", False, "经 HTTPS 访问时设为 true：Cookie 只走 HTTPS，并发送 HSTS。"),
    Setting("gateway_host", "127.0.0.1", "HJ 212 网关监听地址。"),
    Setting("gateway_port", 9212, "HJ 212 网关端口。"),
    Setting("gateway_processes", 1, "网关进程数：各有一个归档流，共用一个端口（SO_REUSEPORT）；每核一个即可。"),
    Setting(
        "gateway_stream_base",
        0,
        "本机网关的第一个归档流编号；几台网关机器送往同一中心时各不相同：0、128、192、256……（64–127 归导入）。",
    ),
    Setting("gateway_metrics_host", "127.0.0.1", "网关指标（Prometheus）的监听地址。"),
    Setting("gateway_metrics_port", 0, "网关指标（Prometheus）的端口；0 为不提供。"),
    Setting("gateway_commit_ms", 5, "组提交等待：收到帧后最多等这么多毫秒一起落盘，再应答。"),
    Setting("gateway_drain_seconds", 5, "停止或重新加载时，已开始接收的帧最多再等这么多秒收完。"),
    Setting("gateway_max_frame", 65536, "一帧的最大字节数，超过即按噪声处理。"),
    Setting("gateway_frame_seconds", 120, "一帧开始后这么多秒仍未收完即断开，已收到的字节存为坏帧。"),
    Setting("gateway_idle_seconds", 3600, "连接静默这么久即关闭。"),
    Setting("gateway_fruitless_bytes", 262144, "一条连接连续发来这么多字节而无一好帧即断开。"),
    Setting("gateway_noise_per_minute", 20, "每条连接每分钟最多存这么多段噪声，更多的只计数。"),
    Setting("gateway_unsent_bytes", 262144, "对方不读应答、积压到这么多字节即断开。"),
    Setting("gateway_turn_bytes", 65536, "一条连接在一次组提交中最多收这么多字节，其余等下一次，使其他连接不受影响。"),
    Setting("gateway_max_connections", 20000, "每个网关进程同时接受的最大连接数。"),
    Setting(
        "gateway_address_connections",
        5000,
        "每个网关进程对同一来源地址的最大连接数（N 个进程合计可达 N 倍），超出的不接受；0 为不限。",
    ),
    Setting(
        "gateway_device_connections",
        4,
        "每个网关进程对同一设备（MN）的最大连接数（N 个进程合计可达 N 倍），超出时关闭最早的一条；0 为不限。",
    ),
    Setting("forward_overtime_seconds", 10.0, "转发：等对方应答的秒数，超时重发三次后断开重连（HJ 212-2017 表1）。"),
    Setting(
        "hj212_link", "TD-LTE", "设备的通讯类型：没有用 1000 设置过的设备按它取缺省超时与重发次数（HJ 212-2017 表1）。"
    ),
    Setting("unknown_devices", "hold", "未知设备：hold 暂存并应答、列入待接入；refuse 拒收并断开。"),
    Setting("database_url", "", "PostgreSQL 地址（postgresql://用户@主机/库）；留空则用数据目录里的 SQLite。"),
    Setting("nats_url", "", "NATS 服务器，逗号分隔（nats://主机:4222）；网关与台账不在同一台机器时用。"),
    Setting("nats_credentials", "", "NATS 凭证文件；留空则不用。"),
    Setting("nats_replicas", 3, "归档字节在 NATS 集群里的份数。"),
    Setting("nats_monitor_port", 8222, "NATS 服务器的监控端口（http）；ceguan doctor 从那里看是否每次写都落盘。"),
    Setting("nats_keep_days", 7, "NATS 里最多保留这么多天；中心停机更久时网关机器上仍有原件。"),
    Setting("relay_keep_days", -1.0, "中心确认后，网关机器上的归档段再留这么多天即删；-1 为从不删除。"),
    Setting("archive_digest", "sha256", "帧归档见证行的摘要：sha256；sm3+sha256 另加国密 SM3（GB/T 32905-2016）。"),
    Setting(
        "history_url",
        "",
        "封存历史所在：留空为数据目录下的 history；共享目录的路径；"
        "或 s3://桶/前缀?endpoint_override=主机:端口（密钥只从环境变量读取）。",
    ),
    Setting(
        "history_series",
        4096,
        "封存：一个文件最多含一个月里编号在同一段（这么多个序列）内的数据；改动只影响此后第一次封存的月份。",
    ),
    Setting("history_cache_gb", 20.0, "历史在 S3 存储时，本机保留最近用过的文件，最多这么多 GB。"),
    Setting("compute", "local", "大规模评价在哪里运行：local 本进程；ray 在 Ray 集群上。"),
    Setting("ray_address", "", "Ray 集群地址（auto、主机:端口、ray://…）；留空为 auto。"),
    Setting("hot_days", 40, "台账（SQLite）中保留的天数，更早的整月封存为 Parquet。"),
    Setting("clockwork_seconds", 1.0, "时钟：每隔多少秒取一次新到的帧。"),
    Setting("clockwork_metrics_host", "127.0.0.1", "时钟指标（Prometheus）的监听地址。"),
    Setting("clockwork_metrics_port", 0, "时钟指标（Prometheus）的端口；0 为不提供。"),
    Setting("late_hours", 2, "晚于区间结束这么多小时到达的数据记为迟到。"),
    Setting("future_minutes", 10, "数据时间比接收时间超前这么多分钟即隔离，不计入。"),
    Setting("old_days", 30, "数据时间比接收时间早这么多天、又不是补传（RF=1）或应本平台请求送来的，即隔离；0 为不限。"),
    Setting("history_days", 1826, "补传或应本平台请求送来的数据最多早这么多天，再早即隔离（本平台设定，约五年）。"),
    Setting("fill_gaps", True, "补缺：平台自动向设备索取缺失的分钟和小时数据；单台设备可在设备页停用。"),
    Setting("fill_days", 7, "补缺只索取最近这么多天的数据，新的在先。"),
    Setting("fill_hours", 24, "一条补缺请求最多索取这么多小时的数据。"),
    Setting("fill_per_minute", 30, "补缺：全部设备合计每分钟最多下达这么多条请求。"),
    Setting("fill_device_seconds", 60, "补缺：同一设备两条请求至少相隔这么多秒；连续不成时每次加倍，最长一天。"),
    Setting("fill_tries", 3, "补缺：一段数据最多请求这么多次，之后以原因了结。"),
    Setting("clock_drift_seconds", 300, "设备时钟与平台时钟相差超过这么多秒即标记。"),
    Setting("disk_budget_gb", 0.0, "本平台在数据盘上最多用这么多 GB；用于估算还能用多少天，0 为整块磁盘。"),
    Setting("disk_warn_days", 30, "按近一月的增长，磁盘（或预算）不够这么多天时在运行状态页告警。"),
    Setting(
        "public_keep_months",
        0,
        "公共监测（空气、地表水、噪声、辐射站点）的归档段和分钟、实时读数至少保存的月数，由本局依归档规定确定；"
        "0 为未定，从不删除。",
    ),
    Setting("disk_low_percent", 10, "磁盘剩余低于这个百分比时在运行状态页告警。"),
    Setting("session_hours", 8, "登录有效小时数。"),
    Setting("lockout_failures", 5, "连续失败这么多次后锁定账号与来源地址。"),
    Setting("lockout_minutes", 15, "锁定分钟数。"),
    Setting("email_url", "", "发信服务器，如 smtp://user:pass@host:25；留空则不发邮件。"),
    Setting("email_from", "ceguan@localhost", "发件人。"),
    Setting("platform_name", "测管", "网页左上角显示的平台名称。"),
    Setting("bureau_name", "云澜市生态环境局（演示）", "使用单位名称。"),
    Setting("demo", False, "演示模式：显示演示账号与虚构城市的提示。"),
    Setting("demo_clock", "", "演示时钟“真实起点,平台起点,倍速”（秒）；留空即真实时间。"),
    Setting("log_megabytes", 20, "单个日志文件的大小上限，满后轮换，保留五份。"),
)

SUPERSEDED = "superseded.json"
"""In a data folder whose SQLite files are moving, or have moved, to PostgreSQL: where to, and how far."""

RESTORING = "restoring.json"
"""In a data folder while a backup is put into it: nobody works there before that is done."""

_BY_NAME = {setting.name: setting for setting in SETTINGS}


class SettingError(ValueError):
    """A setting is unknown or its value cannot be read; the message names it and says what would be valid."""


class Settings:
    """The settings in force; read-only attributes by name, plus folders below `data`."""

    def __init__(self, values: Mapping[str, Any]):
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:  # only reached for names that are not settings
        raise AttributeError(f"没有名为 {name} 的设置")

    @property
    def folder(self) -> Path:
        return Path(self.data).resolve()


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from overrides, environment, `<data>/ceguan.toml`, defaults – in this order.

    Raises SettingError for an unknown name in the file or a value of the wrong type.
    """
    environ = os.environ if environ is None else environ
    values = {setting.name: setting.default for setting in SETTINGS}
    given = {
        name: _parse(_BY_NAME[name], environ[key]) for name in values if (key := f"CEGUAN_{name.upper()}") in environ
    }
    given |= {name: value for name, value in overrides.items() if value is not None}
    data = given.get("data", values["data"])
    values |= _from_file(Path(data) / "ceguan.toml") | given
    values["data"] = str(Path(values["data"]).expanduser())
    return Settings(values)


def unfinished() -> str | None:
    """Why nobody may work on the data folder: a restore into it that has not come to its end."""
    try:
        folder = load().folder
    except SettingError:
        return None  # whoever needs the settings says so
    path = folder / RESTORING
    if not path.is_file():
        return None
    source = json.loads(path.read_text(encoding="utf-8"))["from"]
    return f"{folder} 的恢复没有做完：再运行一次 ceguan restore {source}（从头做起）"


def _from_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path}：无法读取（{error}）") from None
    unknown = sorted(set(content) - set(_BY_NAME))
    if unknown:
        raise SettingError(f"{path}：没有名为 {unknown[0]} 的设置；可用：{', '.join(_BY_NAME)}")
    return {name: _parse(_BY_NAME[name], value) for name, value in content.items()}


def _parse(setting: Setting, text: Any) -> Any:
    kind = type(setting.default)
    if kind is bool and isinstance(text, str):
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off", ""):
            return False
        raise SettingError(f"设置 {setting.name} 应为 true 或 false，得到 {text!r}")
    try:
        return kind(text)
    except (TypeError, ValueError):
        raise SettingError(f"设置 {setting.name} 应为 {kind.__name__}，得到 {text!r}") from None
