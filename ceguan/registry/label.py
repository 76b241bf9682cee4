"""The name of a noun in the language of the request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import get_language

from ceguan.words import Label


def label(pair: Label) -> str:
    return pair.en if get_language() == "en" else pair.zh


def name(thing: Any) -> str:
    """`name_zh`, or `name_en` where the page is English and there is one."""
    return (get_language() == "en" and thing.name_en) or thing.name_zh


def listed(words: Iterable[str]) -> str:
    """Words one after the other, as the language of the request parts them."""
    return (", " if get_language() == "en" else "、").join(words)
