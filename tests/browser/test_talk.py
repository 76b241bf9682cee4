"""A person asks a device in the browser and sees how it goes while the device answers."""

from __future__ import annotations

import threading

import pytest
from playwright.sync_api import expect

from tests.browser.test_story import platform, sign_in  # noqa: F401  the fixture and its helpers
from tests.intake.talking import MN, Logger

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_an_instrument_acts_after_being_asked_twice_and_the_course_is_seen_live(page, platform, city, size):  # noqa: F811
    page.set_viewport_size({"width": size[0], "height": size[1]})
    logger = Logger(platform.gateway)
    goes_on = threading.Event()

    def device():
        request = logger.asked("3012")
        logger.says(request, "9011", QnRtn="1")
        goes_on.wait(20)
        logger.says(request, "9012", ExeRtn="1")

    threading.Thread(target=device, daemon=True).start()
    sign_in(page, platform, "analyst")
    page.goto(f"{platform.address}/intake/device/?mn={MN}")
    page.get_by_role("link", name="对话").click()
    page.select_option("#cn", "3012")
    page.select_option("[name='p:PolId']", "a21026")
    page.fill("#why", "核对采样")
    page.get_by_role("button", name="下发", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("会使现场仪器动作")
    page.get_by_role("button", name="确定下发").click()
    expect(page.locator("#commands")).to_contain_text("已受理", timeout=15_000)
    goes_on.set()
    expect(page.locator("#commands")).to_contain_text("执行成功", timeout=15_000)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "nothing sticks out of the window"
    page.locator("#commands").get_by_role("link", name="请求").click()
    expect(page.locator("#content")).to_contain_text("平台发出的 HJ 212 帧")
    expect(page.locator("#content")).to_contain_text("PolId=a21026")


def test_what_waits_is_taken_back_and_the_live_list_leaves_alone_what_is_being_typed(page, platform, city):  # noqa: F811
    sign_in(page, platform, "duty")
    page.goto(f"{platform.address}/intake/talk/?mn={MN}")
    expect(page.locator("#content")).to_contain_text("没有连接")
    page.select_option("#cn", "1011")
    page.fill("#why", "核对时钟")
    page.get_by_role("button", name="下发", exact=True).click()
    reason = page.get_by_role("textbox", name="理由").first
    reason.fill("不必")
    with page.expect_response(lambda answer: "/intake/talk/commands/" in answer.url):
        pass
    page.wait_for_timeout(200)
    reason.press_sequentially("了")
    expect(reason).to_have_value("不必了")
    page.get_by_role("button", name="撤销").click()
    expect(page.locator("#commands")).to_contain_text("已撤销")
