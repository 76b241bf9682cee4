"""The map in a real browser: list, address and map are one."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Platform
from tests.city import PASSWORD
from tests.web import readings

pytestmark = pytest.mark.browser
KIND = "select[name=kind]"


@pytest.fixture
def platform(city, data):
    """The small city with its points apart from each other, a small ledger, and the platform serving it."""
    for number, point in enumerate(city.points.values()):
        point.lon = 104.2 + 0.02 * number
        point.save()
    readings.write(data, city, time.time())
    started = Platform(data)
    yield started
    started.stop()


@pytest.fixture
def officer(platform, page) -> Page:
    return sign_in(page, platform)


def sign_in(page: Page, platform: Platform) -> Page:
    page.goto(f"{platform.address}/sign-in/?next=/map/")
    page.fill("#id_username", "duty")
    page.fill("#id_password", PASSWORD)
    page.press("#id_password", "Enter")
    page.wait_for_url("**/map/**")
    return page


def drawn(page: Page) -> list[str]:
    """Codes of the points that the map draws once it is idle."""
    page.wait_for_selector("#map[data-idle]", state="attached")
    return page.evaluate(
        "ceguanMap.queryRenderedFeatures({layers: ['objects']}).map((one) => one.properties.code).sort()"
    )


def listed(page: Page) -> list[str]:
    return sorted(page.eval_on_selector_all("#results tr[data-code]", "rows => rows.map((row) => row.dataset.code)"))


def test_choosing_a_kind_narrows_list_address_and_map_together_and_back_restores_them(officer):
    everything = drawn(officer)
    assert len(everything) == 7 == len(listed(officer))
    officer.select_option(KIND, "gas_outlet")
    officer.wait_for_url("**/map/?kind=gas_outlet")
    expect(officer.locator("#total")).to_have_text("2")
    assert drawn(officer) == listed(officer) == ["gas_outlet", "west_outlet"]
    officer.go_back()
    expect(officer.locator("#total")).to_have_text("7")
    assert drawn(officer) == everything
    assert officer.input_value(KIND) == ""


def test_a_shared_address_opens_the_same_state(officer, platform):
    officer.goto(f"{platform.address}/map/?kind=gas_outlet&verdict=over&at=gas_outlet")
    assert drawn(officer) == listed(officer) == ["gas_outlet"]
    assert officer.input_value(KIND) == "gas_outlet"
    expect(officer.locator("#drawer h2")).to_have_text("东区gas_outlet")


def test_a_click_on_the_map_opens_the_card_and_escape_closes_it(officer):
    drawn(officer)
    box = officer.locator("#map").bounding_box()
    at = officer.evaluate("(({x, y}) => [x, y])(ceguanMap.project([104.2, 35.2]))")
    officer.mouse.click(box["x"] + at[0], box["y"] + at[1])
    expect(officer.locator("#drawer h2")).to_have_text("东区air")
    assert "at=air" in officer.url
    officer.keyboard.press("Escape")
    expect(officer.locator("#drawer h2")).to_have_count(0)
    assert "at=" not in officer.url


def test_the_page_works_without_script(platform, browser):
    context = browser.new_context(java_script_enabled=False, locale="zh-CN")
    page = sign_in(context.new_page(), platform)
    page.select_option(KIND, "air")
    page.click("#filters button.btn >> nth=0")
    assert "kind=air" in page.url
    assert page.locator("#results tr[data-code]").count() == 1
    page.click("#results tr[data-code] a")
    expect(page.locator("h1")).to_contain_text("东区air")
    context.close()


def test_without_webgl_one_sentence_stands_in_for_the_map_and_the_list_goes_on(platform, browser):
    context = browser.new_context(locale="zh-CN")
    context.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page = sign_in(context.new_page(), platform)
    expect(page.locator("#map-sorry")).to_be_visible()
    page.select_option(KIND, "air")
    expect(page.locator("#total")).to_have_text("1")
    context.close()


def test_the_chart_of_a_point_is_drawn_and_its_address_is_its_state(officer, platform):
    officer.goto(f"{platform.address}/points/gas_outlet/?factor=a21026&span=24h")
    officer.wait_for_selector(".chart[data-drawn='3']")
    officer.select_option("select[name=span]", "3d")
    officer.wait_for_url("**span=3d**")
    officer.wait_for_selector(".chart[data-drawn='3']")
    officer.select_option("select[name=span]", "1y")
    officer.wait_for_url("**span=1y**")
    officer.wait_for_selector(".chart[data-drawn]:not([data-drawn=''])")
