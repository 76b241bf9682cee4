"""What the clockwork counts for Prometheus; docs/metrics.md is printed from `METRICS`. `cli.Heartbeat` keeps it."""

from __future__ import annotations

from ceguan.exposition import Row

PREFIX = "ceguan_clockwork_"
STEP_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper bounds of the histogram of steps."""

METRICS = (
    Row("frames", "counter", "", "records", "从归档取入的记录：帧、坏帧、导入的数据、人的决定。"),
    Row("readings", "counter", "fate", "readings", "写入台账的读数：new 新的，same 重复而相同，changed 与已有的不同。"),
    Row("bad", "counter", "", "bad", "坏帧。"),
    Row("held", "counter", "", "held", "未接入设备暂存的帧。"),
    Row("quarantined", "counter", "", "quarantined", "进了隔离的值。"),
    Row("flags", "counter", "", "flags", "检验写下的标记。"),
    Row("verdicts", "counter", "", "verdicts", "写下的判定，改判计一次。"),
    Row("findings", "counter", "", "findings", "判定引出的发现。"),
    Row("changes", "counter", "", "changes", "点位状态的变化。"),
    Row("gaps", "counter", "", "gaps", "写下的缺口，重看同一天时再计。"),
    Row("fills", "counter", "", "fills", "向设备下达的补缺请求。"),
    Row("settled", "counter", "", "settled", "算好统计的序列日。"),
    Row("errors", "counter", "", "errors", "运行状态页上列出的原因：某一点位、待归档的决定、通知、作证、用量。"),
    Row("failed_steps", "counter", "", "failed_steps", "整步失败、撤回后重来的次数。"),
    Row("step_seconds", "histogram", "", "step", "一步所用的秒数。", STEP_SECONDS),
    Row("last_step_timestamp_seconds", "gauge", "", "stepped", "最近一步做完的时刻（真实时间，UTC 秒）；还没有为 0。"),
    Row("backlog_bytes", "gauge", "", "backlog_bytes", "已归档、尚未写入台账的字节。"),
    Row("waiting", "gauge", "", "waiting", "等待检验或判定的点位小时与点位日。"),
    Row("failing", "gauge", "", "failing", "最近一步失败为 1，否则为 0。"),
)  # fmt: skip
COUNTED = tuple(
    row.key for row in METRICS if row.kind == "counter" and row.key not in ("readings", "errors", "failed_steps")
)
"""What a step's report carries under the same name."""
