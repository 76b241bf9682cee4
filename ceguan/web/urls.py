"""Which page answers at which address: one line per page module."""

from __future__ import annotations

from importlib import import_module

from django.urls import URLPattern, URLResolver

from ceguan.web import api

PAGES = (
    "account",
    "home",
    "public",
    "map",
    "points",
    "point",
    "days",
    "decide",
    "export",
    "verdict",
    "intake",
    "evidence",
    "talk",
    "forward",
    "work",
    "inbox",
    "cases",
    "permits",
    "maintenance",
    "periods",
    "standards",
)
"""Modules of ceguan.web.pages; each has `urls`."""

urlpatterns: list[URLPattern | URLResolver] = [
    url for page in PAGES for url in import_module(f"ceguan.web.pages.{page}").urls
] + api.urls()

handler403 = "ceguan.web.pages.errors.forbidden"
handler404 = "ceguan.web.pages.errors.not_found"
handler500 = "ceguan.web.pages.errors.failed"
