"""`ceguan serve` and `ceguan demo` refuse clearly before they start anything."""

import os
import socket
import subprocess
import sys

import pytest

from ceguan.registry.models import AuditEvent, User


def ceguan(*arguments, data, **environ):
    variables = os.environ | {"CEGUAN_DATA": str(data)} | {key: str(value) for key, value in environ.items()}
    command = [sys.executable, "-m", "ceguan", *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("port", ["CEGUAN_WEB_PORT", "CEGUAN_GATEWAY_PORT"])
def test_a_taken_port_is_named_with_the_setting_that_changes_it(data, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = ceguan("serve", data=data, **{port: taken.getsockname()[1]})
    assert done.returncode == 2
    assert port in done.stderr


def test_nothing_listens_beyond_loopback_while_demo_passwords_are_in_force(city):
    User.objects.filter(username="duty").update(demo_password=True)
    done = ceguan("serve", "--host", "0.0.0.0", data=city_data(), CEGUAN_WEB_PORT=0)  # noqa: S104  it is refused
    assert done.returncode == 2
    assert "duty" in done.stderr
    assert "演示口令" in done.stderr


def test_the_demo_leaves_a_folder_with_other_data_alone(data):
    (data / "readings.db").write_text("the county's own")
    done = ceguan("demo", "--reset", data=data)
    assert done.returncode == 2
    assert (data / "readings.db").read_text() == "the county's own"


def test_a_weak_new_password_is_refused_and_the_old_one_stays(city):
    variables = os.environ | {"CEGUAN_DATA": str(city_data())}
    command = [sys.executable, "-m", "ceguan", "accounts", "--password", "duty"]
    done = subprocess.run(command, env=variables, input="12345\n", capture_output=True, text=True, timeout=180)
    assert done.returncode == 2
    assert User.objects.get(username="duty").check_password("云澜-测试-2026")


def test_the_first_account_of_an_installation_is_made_on_the_command_line(city, data):
    """With a role, a good password, and an event in the audit trail."""

    def add(*arguments, password="云澜-安装-2026"):  # noqa: S107  a test's
        command = [sys.executable, "-m", "ceguan", "accounts", *arguments]
        return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, timeout=60)

    assert add("--add", "root1").returncode == 2, "without a role"
    assert add("--add", "root1", "--role", "admin", password="12345").returncode == 2
    assert not User.objects.filter(username="root1").exists()
    assert add("--add", "root1", "--role", "admin", "--region", "77").returncode == 2
    done = add("--add", "root1", "--role", "admin")
    assert done.returncode == 0, done.stderr
    assert add("--add", "root1", "--role", "admin").returncode == 2, "there is one"
    assert User.objects.get(username="root1").check_password("云澜-安装-2026")
    assert AuditEvent.objects.filter(action="account.add", subject="user:root1").exists()


def test_version_and_help_speak():
    assert ceguan("--version", data="/nonexistent").stdout.startswith("ceguan ")
    assert "测管" in ceguan("--help", data="/nonexistent").stdout


def city_data():
    return os.environ["CEGUAN_DATA"]
