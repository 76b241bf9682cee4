"""A stand-in for S3-compatible storage: a threaded server in a process of its own, one for each test process."""

from __future__ import annotations

import atexit
import itertools
import socket
import subprocess
import sys
import time
from functools import cache

import boto3
import pytest

_numbers = itertools.count()
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_DEFAULT_REGION": "us-east-1"}


@cache
def server() -> str:
    """host:port of a server that runs until the tests end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(lambda: (process.kill(), process.wait()))
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return f"127.0.0.1:{port}"
        except OSError:
            assert process.poll() is None, "the server of the stand-in ended"
            time.sleep(0.05)
    raise AssertionError("no S3 stand-in within a minute")


def client():
    return boto3.client(
        "s3", endpoint_url=f"http://{server()}", aws_access_key_id="testing", aws_secret_access_key="very-secret",
        region_name="us-east-1",
    )  # fmt: skip


def new_prefix(monkeypatch: pytest.MonkeyPatch) -> str:
    """The `history_url` of an empty prefix in a bucket of its own; the keys are in the environment."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket = f"ceguan{next(_numbers)}"
    client().create_bucket(Bucket=bucket)
    return f"s3://{bucket}/history?endpoint_override={server()}&scheme=http&region=us-east-1"


def names(url: str) -> list[str]:
    """Keys of files in the bucket of a `history_url`."""
    bucket = url.removeprefix("s3://").partition("/")[0]
    found = (entry["Key"] for entry in client().list_objects_v2(Bucket=bucket).get("Contents", []))
    return [key for key in found if not key.endswith("/")]
