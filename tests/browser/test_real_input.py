"""Real input through the same door: recorded frames of strangers are adopted in three clicks; real hours are shown."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from playwright.sync_api import expect

from ceguan.intake.hj212.frame import decode
from tests.browser.test_story import platform, sign_in, until  # noqa: F401  the fixture and its helpers

pytestmark = pytest.mark.browser


@pytest.fixture
def collected(truth, tmp_path):
    """The frames that public repositories hold, as a file for `hj212 replay`."""
    rows = [json.loads(text) for text in (truth / "hj212" / "corpus_public.jsonl").read_bytes().splitlines()]
    found = [row for row in rows if row["kind"] == "frame" and row["origin"] == "collected"]
    path = tmp_path / "collected.jsonl"
    path.write_text("".join(json.dumps({"frame": row["frame"]}) + "\n" for row in found if row.get("frame")))
    return path


def test_a_recorded_stranger_waits_is_adopted_in_three_clicks_and_its_series_is_seen(page, platform, city, collected):  # noqa: F811
    platform.ceguan("hj212", "replay", str(collected), "--to", f"127.0.0.1:{platform.gateway}")
    frames = [decode(json.loads(line)["frame"].encode()) for line in collected.read_text().splitlines()]
    good = [
        one
        for one in frames
        if one.ok and one.st in ("31", "32") and one.cn in ("2051", "2061") and "N" in str(one.factors)
    ]
    mn = Counter(one.mn for one in good if one.mn).most_common(1)[0][0]

    sign_in(page, platform, "admin")
    until(page, f"{platform.address}/intake/waiting/", f"td:text-is('{mn}')")
    page.locator("tr", has=page.locator(f"td:text-is('{mn}')")).get_by_role("link", name="接入设备").click()
    page.select_option("#point", "west_outlet")
    expect(page.locator("#units select").first).to_be_visible()
    page.fill("#reason", "核对铭牌，确认为西区热电厂的数采仪")
    page.get_by_role("button", name="确认").click()

    sign_in(page, platform, "analyst")
    one = next(frame for frame in good if frame.mn == mn)
    kind = {"2051": "minute", "2061": "hour"}[one.cn]
    day = f"{one.datatime[:4]}-{one.datatime[4:6]}-{one.datatime[6:8]}"
    values = [fields["Avg"] for fields in one.factors.values() if "Avg" in fields]
    texts = [text for value in values if len(text := re.sub(r"\.?0+$", "", value)) >= 4]
    assert texts, "the recorded frame has no value worth looking for"
    until(page, f"{platform.address}/intake/quarantine/?mn={mn}", "input[name=frame]")
    expect(page.locator("#content")).to_contain_text("天，又不是补传或应请求送来的")
    page.check("input[name=all]")
    page.fill("#reason", "多年前采集的样例，核对后放行")
    page.get_by_role("button", name="放行").click()
    shown = ", ".join(f"#content :text('{text}')" for text in texts)
    until(page, f"{platform.address}/points/west_outlet/?kind={kind}&end={day}&view=table", shown)
    expect(page.locator("#content")).to_contain_text("west_outlet")


def test_real_hours_of_beijing_are_imported_judged_and_shown(page, platform, city, truth):  # noqa: F811
    sample = truth / "standards" / "data_samples" / "uci_beijing_Dongsi_2014-01_02.csv"
    platform.ceguan("import", "uci", str(sample), "--point", "air", "--yes", "--by", "admin", "--result", "/dev/null")
    sign_in(page, platform, "analyst")
    until(page, f"{platform.address}/points/air/?factor=a34004&end=2014-01-08&view=table", "a[href^='/readings/']")
    expect(page.locator("#content")).to_contain_text("PM2.5")
    until(page, f"{platform.address}/points/air/?factor=a34004&end=2014-01-08", "a[href^='/verdicts/']")
    page.locator("a[href^='/verdicts/']").first.click()
    expect(page.locator("#content")).to_contain_text("HJ 633-2012")
