"""Fixtures of the page tests: a client for each role, a small ledger."""

from __future__ import annotations

import time

import pytest
from django.test import Client
from django.utils import translation

from tests.web import readings


@pytest.fixture
def ledger(city, data):
    """The ledger of tests/web/readings.py, up to the last full hour."""
    return readings.write(data, city, time.time())


@pytest.fixture
def signed_in(city):
    """A function: the client of a user by name."""

    def client(name: str) -> Client:
        made = Client()
        made.force_login(city.users[name], backend="django.contrib.auth.backends.ModelBackend")
        return made

    return client


@pytest.fixture
def client(city) -> Client:
    """A visitor."""
    return Client()


@pytest.fixture(autouse=True)
def chinese():
    """Each test begins in Chinese, whatever the request before it spoke."""
    translation.activate("zh-hans")
