"""The pages' door to the readings: read-only, cheap to open."""

from __future__ import annotations

from django.conf import settings

from ceguan.store import Store


def store() -> Store:
    return Store(settings.CEGUAN.folder)
