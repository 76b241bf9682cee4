"""Takes a picture of every page of a running demo at office and phone size into docs/screenshots/.

.venv/bin/python tools/screenshots.py [--address http://127.0.0.1:8212] [--only map,point]
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
SIZES = {"1366": (1366, 768), "390": (390, 844)}
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
ASKED = "YL-G032"
"""The outlet whose device (of edition 2005) the platform asks for what a cut line kept back (faults.toml)."""
PAGES = {  # name → (account or "", address)
    "public": ("", "/"),
    "sign-in": ("", "/sign-in/"),
    "work": ("zhiban", "/work/"),
    "map": ("zhiban", "/map/"),
    "points": ("zhiban", "/points/"),
    "point-gas": ("fenxi", "/points/YL-G021/"),
    "point-air": ("fenxi", "/points/YL-A01/"),
    "point-water": ("fenxi", "/points/YL-W05/"),
    "inbox": ("zhiban", "/inbox/"),
    "cases": ("juzhang", "/cases/"),
    "case": ("juzhang", "case"),
    "verdict": ("fenxi", "verdict"),
    "frame": ("fenxi", "frame"),
    "decide": ("fenxi", "/points/YL-G021/decide/"),
    "limits": ("juzhang", "/points/YL-G021/limits/"),
    "maintenance": ("redian", "/points/YL-G011/maintenance/"),
    "intake": ("guanli", "/intake/"),
    "waiting": ("guanli", "/intake/waiting/"),
    "bad-frames": ("guanli", "/intake/bad/"),
    "quarantine": ("fenxi", "/intake/quarantine/"),
    "gateway-processes": ("guanli", "/intake/#processes"),
    "forward": ("guanli", "/intake/forward/"),
    "device": ("fenxi", "/intake/device/?mn={mn}#fills"),
    "conversation": ("fenxi", "/intake/talk/?mn={mn}"),
    "periods": ("juzhang", "/periods/"),
    "enterprise-work": ("redian", "/work/"),
    "leader-work": ("juzhang", "/work/"),
    "standards": ("zhiban", "/standards/"),
    "standard": ("zhiban", "/standards/GB-12348-2008/"),
    "help": ("zhiban", "/help/"),
    "api": ("fenxi", "/api/docs"),
}


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from ceguan.simulate.city import demo_users, device_number

    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="http://127.0.0.1:8212")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    mn = device_number(ASKED, old=True)
    passwords = {user.username: user.password for user in demo_users()}
    out = ROOT / "docs" / "screenshots"
    out.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for size, (width, height) in SIZES.items():
            for name, (account, address) in PAGES.items():
                if args.only and name not in args.only.split(","):
                    continue
                context = browser.new_context(
                    viewport={"width": width, "height": height}, timezone_id="Asia/Shanghai", locale="zh-CN"
                )
                page = context.new_page()
                if account:
                    _sign_in(page, args.address, account, passwords[account])
                _go(page, args.address, address.format(mn=mn))
                page.wait_for_timeout(2500 if "map" in name or "point" in name or name == "public" else 900)
                page.screenshot(path=out / f"{name}-{size}.png")
                context.close()
    return 0


def _sign_in(page: Page, address: str, account: str, password: str) -> None:
    page.goto(f"{address}/sign-in/")
    page.fill("#id_username", account)
    page.fill("#id_password", password)
    page.click("form .btn-primary")
    page.wait_for_url("**/work/")


def _go(page: Page, base: str, address: str) -> None:
    """An address, or the first case, verdict or frame that pages link to."""
    if address.startswith("/"):
        page.goto(base + address)
        return
    start, link = {
        "case": ("/cases/?view=list&state=all", "table a[href^='/cases/']"),
        "verdict": ("/points/YL-G021/", "a[href^='/verdicts/']"),
        "frame": ("/points/YL-G021/", "a[href^='/verdicts/']"),
    }[address]
    page.goto(base + start)
    page.locator(link).first.click()
    if address == "frame":
        page.locator("a[href^='/frames/']").first.click()
    page.wait_for_load_state()


if __name__ == "__main__":
    sys.exit(main())
