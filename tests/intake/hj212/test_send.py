"""`ceguan hj212 send`: what it prints and what it exits with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from ceguan import cli
from ceguan.intake.models import Command
from ceguan.registry.models import AuditEvent
from tests.intake import gateway as real
from tests.intake.talking import MN, Logger

pytestmark = pytest.mark.service


@pytest.fixture
def send(city, capsys):
    """The command line: its exit code and what it printed."""

    def run(*arguments):
        code = cli.main(["hj212", "send", *arguments])
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("NOBODY", "1011", "--why", "试"), "没有已接入的设备 NOBODY"),
        ((MN, "1062", "RtdInterval=5", "--why", "试"), "30–3600"),
        ((MN, "1062", "RtdInterval=60", "--why", " "), "理由"),
        ((MN, "3012", "PolId=a21026", "--why", "试", "--by", "duty"), "须由监测分析员"),
        ((MN, "1011", "--why", "试", "--by", "nobody"), "没有用户 nobody"),
    ],
)
def test_what_cannot_be_queued_is_one_clear_line(send, arguments, said):
    done = send(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Command.objects.exists()


def test_without_a_business_database_the_way_to_make_one_is_said(tmp_path):
    environ = {name: value for name, value in os.environ.items() if name != "CEGUAN_DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "ceguan", "hj212", "send", MN, "1011", "--why", "试"],
        env=environ | {"CEGUAN_DATA": str(tmp_path)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "先运行 ceguan setup" in done.stderr


def test_a_command_is_queued_in_somebodys_name_or_that_of_the_operator(send, city):
    assert "已排队" in send(MN, "1011", "--why", "核对", "--by", "duty").stdout
    assert send(MN, "1011", "--why", "核对").returncode == 0
    named, operator = AuditEvent.objects.filter(action="command_queue").order_by("seq")
    assert named.who == city.users["duty"]
    assert operator.who is None
    assert "本机操作员" in operator.reason


def test_the_course_of_the_exchange_is_printed(send, data):
    process = real.Process(data)
    try:
        logger = Logger(process.port)

        def answers():
            request = logger.asked("1061")
            logger.says(request, "9011", QnRtn="1")
            logger.brings("1061", cp={"RtdInterval": "60"}, qn=request.qn)
            logger.says(request, "9012", ExeRtn="1")
            logger.says(logger.asked("1063"), "9011", QnRtn="2")

        threading.Thread(target=answers, daemon=True).start()
        done = send(MN, "1061", "--why", "核对", "--wait")
        assert done.returncode == 0, done.stderr
        assert "已完成 执行成功，1 条数据" in done.stdout
        assert "RtdInterval=60" in done.stdout
        refused = send(MN, "1063", "--why", "核对", "--wait")
        assert refused.returncode == 1
        assert "被拒绝 请求被拒绝" in refused.stdout
    finally:
        process.kill()


def test_a_device_that_never_comes_lets_the_command_expire(send):
    done = send(MN, "1011", "--why", "核对", "--wait", "--expires", "0.5")
    assert done.returncode == 1
    assert "已过期" in done.stdout
