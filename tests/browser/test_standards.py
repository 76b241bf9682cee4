"""The standards in a real browser: found, read and linked to at office and phone size."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.test_story import platform, sign_in  # noqa: F401  the fixture and its helpers

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_an_officer_finds_a_limit_with_its_clause_and_trust(page, platform, city, size):  # noqa: F811
    page.set_viewport_size({"width": size[0], "height": size[1]})
    sign_in(page, platform, "analyst")
    page.goto(f"{platform.address}/standards/")
    page.fill("#q", "烷基汞")
    page.get_by_role("button", name="查找", exact=True).click()
    page.get_by_role("link", name="GB 8978-1996").click()
    expect(page.locator("#content")).to_contain_text("225 行中的 1 行")
    expect(page.locator(".law tbody tr")).to_have_count(1)
    page.goto(f"{platform.address}/standards/GB-12348-2008/#noise_emissions-2")
    expect(page.locator("tr:target")).to_contain_text("未核")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "nothing sticks out of the window"
