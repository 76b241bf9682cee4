"""A real Chromium against real server processes on free ports."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page at office size; an uncaught script error or a refusal by the content policy fails the test."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, locale="zh-CN", timezone_id="Asia/Shanghai")
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if "Content Security Policy" in message.text else None
    )
    yield page
    context.close()
    assert not errors, errors


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Platform:
    """`ceguan serve` on a data folder of its own."""

    def __init__(self, data: Path, *, speed_up: bool = True):
        self.data, self.web, self.gateway = data, free_port(), free_port()
        self.environ = os.environ | {
            "CEGUAN_DATA": str(data),
            "CEGUAN_WEB_PORT": str(self.web),
            "CEGUAN_GATEWAY_PORT": str(self.gateway),
            "CEGUAN_CLOCKWORK_SECONDS": "0.2" if speed_up else "1",
        }
        self.address = f"http://127.0.0.1:{self.web}"
        self.log = open(data / "serve.log", "w")  # noqa: SIM115  lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ceguan", "serve"], env=self.environ, stdout=self.log, stderr=self.log
        )
        self._await()

    def ceguan(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "ceguan", *arguments], env=self.environ, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0
        self.log.close()

    def _await(self) -> None:
        for _ in range(300):
            try:
                urllib.request.urlopen(self.address + "/sign-in/", timeout=1)
                return
            except OSError:
                assert self.process.poll() is None, (self.data / "serve.log").read_text()
                time.sleep(0.2)
        raise AssertionError((self.data / "serve.log").read_text())
