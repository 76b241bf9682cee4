"""Every command of the tables, in each edition, goes to a simulated device through a real gateway and ends well."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from django.conf import settings

from ceguan import clock
from ceguan.intake import commands, keys
from ceguan.intake.hj212.commands import of_edition
from ceguan.intake.models import WAITING, Command, Line
from ceguan.registry.models import Device
from tests.intake import gateway as real
from tests.intake.hj212.test_commands import GOOD
from tests.intake.test_gateway import wait_for

pytestmark = pytest.mark.service

KEY = "0123456789abcdef"
NO_DATA = {"2041", "2062"}
"""The simulated point has no treatment facility and no automatic check: ExeRtn 100."""


@pytest.fixture
def devices(city, data):
    """A simulated device of each edition, adopted and connected."""
    (data / "secret.key").write_text(settings.SECRET_KEY)  # what is sealed here must open there
    process, running, found = real.Process(data), [], {}
    for edition in ("2005", "2017", "2025"):
        mn = f"SIM{edition}0000000000000"[: 14 if edition == "2005" else 24]
        found[edition] = Device.objects.create(
            mn=mn, point=city.points["gas_outlet"], edition=edition, units={"a21026": "mg/m³", "a34013": "mg/m³"}
        )
        arguments = ["--to", f"127.0.0.1:{process.port}", "--edition", edition, "--mn", mn, "--interval", "30"]
        if edition == "2025":
            arguments += ["--key", KEY.encode().hex()]
            keys.enter(found[edition], KEY, city.users["analyst"], "初始密钥", clock.now())
        running.append(subprocess.Popen([sys.executable, "-m", "ceguan", "simulate", "hj212", *arguments],
                                        stdout=subprocess.DEVNULL))  # fmt: skip
    try:
        wait_for(lambda: Line.objects.count() == 3, 60)
        yield found
    finally:
        for one in running:
            one.kill()
            one.wait()
        process.kill()


def test_every_command_of_every_edition_is_understood(devices, city):
    now, last = clock.now(), {"1072", "1014"}
    for edition, device in devices.items():
        rows = sorted((row for row in of_edition(edition).values() if row.sendable), key=lambda row: row.cn in last)
        for row in rows:
            given = {token.name: GOOD[token.name] for token in row.tokens if token.mark != "?"} | (
                {"PolId": "a21026"} if "PolId" in {token.name for token in row.tokens} else {}
            )
            given |= {name: text for name, text in (("OverTime", "5"), ("ReCount", "3")) if name in given}
            for name in ("NewSK", "SKCreateTime", "SystemTime"):
                given.pop(name, None)
            commands.queue(device, row.cn, given, city.users["analyst"], "逐条试验", now, lives=300)
    until = time.monotonic() + 120
    while Command.objects.filter(state__in=WAITING).exists() and time.monotonic() < until:
        time.sleep(0.2)
    ends = {(one.edition, one.cn): (one.state, one.result_code) for one in Command.objects.all()}
    expected = {
        key: (("failed", "ExeRtn:100"),) if key[1] in NO_DATA
        else (("done", "noticed"),) if key[1] in ("2012", "2022")
        else (("done", "ExeRtn:1"), ("failed", "ExeRtn:100")) if key[1] in ("2031", "2051", "2061")
        else (("done", "ExeRtn:1"),)
        for key in ends
    }  # fmt: skip
    assert {key: end for key, end in ends.items() if end not in expected[key]} == {}
    for one in Command.objects.all():
        if one.row.answer == "one":
            assert one.answer.get("uploads"), f"{one.edition} {one.cn} brought nothing"
