"""The web server as a process of its own, and somebody who is signed in."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import requests

from ceguan import settings
from ceguan.operate.supervise import commands
from tests.city import PASSWORD
from tests.intake.gateway import free_port


class Web:
    def __init__(self, data: Path, **environ: object) -> None:
        self.port = free_port()
        self.session = requests.Session()
        variables = os.environ | {"CEGUAN_DATA": str(data)} | {key: str(value) for key, value in environ.items()}
        command = commands(settings.load(web_port=self.port), "all", {})["web"]
        self.process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self) -> Web:
        end = time.monotonic() + 90
        while True:
            try:
                self.get("/sign-in/")
                return self
            except requests.ConnectionError:
                assert time.monotonic() < end, "the web server did not come up"
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(30)

    def get(self, path: str) -> requests.Response:
        return self.session.get(self._url(path), timeout=120)

    def post(self, path: str, given: dict[str, str]) -> requests.Response:
        token = self.session.cookies.get("csrftoken", "")
        headers = {"Referer": self._url("/"), "X-CSRFToken": token}
        return self.session.post(self._url(path), given, headers=headers, timeout=120, allow_redirects=False)

    def sign_in(self, name: str) -> None:
        answer = self.post("/sign-in/", {"username": name, "password": PASSWORD})
        assert answer.status_code == 302, answer.text

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"
