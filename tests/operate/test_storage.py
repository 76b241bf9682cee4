"""`ceguan store …` on the command line: what it says, and with which exit code."""

import json
import time

from ceguan.store import ArchiveWriter, Part, RecordKind, sizes
from tests.operate.test_serve import ceguan

DAY = 86400


def noted(data, *totals):
    """Notes of the days up to today."""
    for back, total in zip(range(len(totals))[::-1], totals, strict=True):
        sizes.note(data, [Part("archive", total)], time.time() - back * DAY)


def test_status_names_the_parts_and_waits_for_two_days_before_it_speaks_of_growth(data):
    with ArchiveWriter(data / "archive", 0) as writer:
        writer.append(RecordKind.FRAME, time.time(), "10.0.0.7:1", b"x" * 1000)
    noted(data, 10)
    done = ceguan("store", "status", data=data)
    assert (done.returncode, done.stderr) == (0, "")
    sizes.note(data, [Part("archive", 10), Part("ledger", 5, rows=7)], 1772294400)
    done = ceguan("store", "status", data=data)
    for said in ("帧归档：1.1 kB，已封存的段中 0 条记录", "7 行（2026-03-01 记下）",
                 "台账：", "封存历史：0 B", "记下两天的用量之后", "还没有进台账的：1.0 kB",
                 "时钟没有运行", "还没有用 ceguan backup 备份过"):  # fmt: skip
        assert said in done.stdout, done.stdout


def test_status_warns_when_the_budget_lasts_fewer_days_than_wanted(data):
    noted(data, 0, 100_000_000)
    done = ceguan("store", "status", data=data, CEGUAN_DISK_BUDGET_GB="1")
    assert done.returncode == 1
    assert "预算 1.0 GB" in done.stdout
    assert "每天增长 100.0 MB，还够 10 天" in done.stdout
    done = ceguan("store", "status", "--json", data=data, CEGUAN_DISK_BUDGET_GB="1", CEGUAN_DISK_WARN_DAYS="9")
    assert done.returncode == 0
    facts = json.loads(done.stdout)
    assert round(facts["room"]["days"]) == 10
    assert facts["parts"][0]["name"] == "archive"


def test_the_rules_name_period_clause_and_what_happens_after(data):
    said = ceguan("store", "rules", data=data).stdout
    assert (
        "分钟读数：至少 60 个月（排污许可管理条例 第十九条、生态环境监测条例 第二十六条）；可依留痕的决定删除" in said
    )
    assert "审核认定：没有查到期限；永久保存" in said
