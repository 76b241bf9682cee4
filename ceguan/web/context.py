from __future__ import annotations


def frame(request) -> dict:
    return {}
