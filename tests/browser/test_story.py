"""The whole story in a real browser: a device speaks, officers act, the citizen reads, and every number leads home."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Page, expect

from ceguan.intake.hj212.frame import encode
from ceguan.words import beijing
from tests.browser.conftest import Platform
from tests.city import PASSWORD
from tests.intake.gateway import Device

pytestmark = pytest.mark.browser
PATIENCE = 20_000


@pytest.fixture
def platform(city, db):
    running = Platform(db)
    yield running
    running.stop()


def hour_frame(mn: str, st: str, hour: float, factors: dict[str, dict[str, str]]) -> bytes:
    return encode(
        st=st, cn="2061", mn=mn, pw="123456", flag=5, qn=f"{beijing(time.time()):%Y%m%d%H%M%S}000",
        datatime=f"{beijing(hour):%Y%m%d%H%M%S}", factors=factors,
    )  # fmt: skip


def send(platform: Platform, *frames: bytes) -> None:
    device = Device(platform.gateway)
    for frame in frames:
        device.send(frame)
        assert device.answer().cn == "9014"
    device.close()


def sign_in(page: Page, platform: Platform, name: str) -> None:
    page.context.clear_cookies()
    page.goto(f"{platform.address}/sign-in/")
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("form .btn-primary")
    expect(page.locator(".rail")).to_be_visible()


def until(page: Page, address: str, selector: str) -> None:
    """Reload until it is there: the clockwork needs a moment."""
    for _ in range(60):
        page.goto(address)
        if page.locator(selector).count():
            return
        time.sleep(0.3)
    raise AssertionError(f"{selector} did not come at {address}")


def act(page: Page, step: str, fields: dict[str, str] | None = None, text: str = "", file: str = "") -> None:
    """Fill in one step of the case and do it."""
    form = page.locator(f"#act-{step}")
    if not form.is_visible():
        page.locator(f"details:has(#act-{step}) > summary").click()
    for name, value in (fields or {}).items():
        field = form.locator(f"[name={name}]")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(label=value) if value else field.select_option(index=1)
        else:
            field.fill(value)
    if text:
        form.locator("textarea").fill(text)
    if file:
        form.locator("input[type=file]").set_input_files(
            {"name": file, "mimeType": "text/plain", "buffer": "现场检查记录".encode()}
        )
    with page.expect_navigation():
        form.locator("button").click()
    expect(page.locator(".notice-error")).to_have_count(0)


def test_from_the_packet_to_the_closed_case_and_the_public_page(page, platform, city):
    hour = time.time() // 3600 * 3600 - 3600
    over = hour_frame("MNGAS_OUTLET", "31", hour, {"a21026": {"Avg": "71.5", "ZsAvg": "95.5", "Flag": "N"}})
    air = {"a21026": "9", "a21004": "31", "a21005": "0.7", "a05024": "88", "a34002": "64", "a34004": "41"}
    send(platform, over, hour_frame("MNAIR", "22", hour, {f: {"Avg": v, "Flag": "N"} for f, v in air.items()}))

    # the inbox and the map show it
    sign_in(page, platform, "duty")
    until(page, f"{platform.address}/inbox/", "text=二氧化硫")
    page.goto(f"{platform.address}/map/?kind=gas_outlet")
    expect(page.locator("[data-idle]").first).to_be_attached(timeout=PATIENCE)
    expect(page.locator("#content")).to_contain_text("gas_outlet")

    # the duty officer claims it, opens a case and dispatches it
    page.goto(f"{platform.address}/inbox/")
    page.locator("a", has_text="二氧化硫").first.click()
    page.locator("#claim button").click()
    page.locator("summary", has_text="立案").click()
    page.fill("#case-text", "二氧化硫折算值超过许可限值")
    page.locator("details[open] button", has_text="立案").click()
    expect(page.locator("h1")).to_contain_text("二氧化硫")
    case = page.url
    act(page, "dispatch", {"assignee": "enforcement · 云澜市"})

    # the officer signs, checks at the desk, visits, uploads evidence, gives feedback
    sign_in(page, platform, "enforcement")
    page.goto(case)
    act(page, "sign")
    desk = {"marks": "无标记，数据有效", "maintenance": "当时没有运维", "power": "治污设施用电异常"}
    act(page, "desk_check", desk, "曲线与分钟数据一致")
    act(page, "visit", {"officers": "张三 001、李四 002"}, "循环泵停运", "现场检查记录.txt")
    act(page, "feedback", {"cause": "治污设施故障"}, "已修复", "整改.txt")
    expect(page.locator(".timeline")).to_contain_text("SHA-256")
    assert page.locator("#act-review").count() == 0, "who gave feedback does not review"

    # another one reviews and closes
    sign_in(page, platform, "reviewer")
    page.goto(case)
    act(page, "review", text="证据齐全")
    act(page, "close", text="已达标")
    expect(page.locator("#content")).to_contain_text("已销号")
    expect(page.locator(".seal").first).to_contain_text("链完好")

    # where does this come from? verdict and clause, readings, the frame
    page.locator("a[href^='/verdicts/']").first.click()
    expect(page.locator("#content")).to_contain_text("GB 13271-2014")
    expect(page.locator("#content")).to_contain_text("95.5")
    sign_in(page, platform, "analyst")
    page.goto(f"{platform.address}/points/gas_outlet/")
    page.locator("a[href^='/verdicts/']").first.click()
    page.locator("a[href^='/frames/']").first.click()
    expect(page.locator("#content")).to_contain_text("a21026-Avg=71.5,a21026-ZsAvg=95.5")
    expect(page.locator("#content")).not_to_contain_text("123456")

    # the citizen reads the hour, without signing in
    page.context.clear_cookies()
    until(page, f"{platform.address}/", ".now-aqi")
    expect(page.locator(".now-aqi")).to_contain_text(re.compile("良|优"))
    expect(page.locator("#content")).to_contain_text("未经审核")
