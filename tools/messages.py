"""Texts of the pages: collect the Chinese msgids, keep the English, compile. `python tools/messages.py [--check]`.

Templates and Python under ceguan/web are read for translate, blocktranslate, gettext and their kin; new msgids join
`locale/en/LC_MESSAGES/django.po` with an empty English text, those no longer used leave it. `--check` changes nothing
and exits 1 when a msgid is missing, unused or without English.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import django
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(__file__).parents[1]
WEB = ROOT / "ceguan" / "web"
LOCALE = WEB / "locale"
CATALOG = LOCALE / "en" / "LC_MESSAGES" / "django.po"
MADE = datetime(2026, 1, 1, tzinfo=UTC)
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop"), None),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), ((1, "c"), 2)),
}
SOURCES = ("ceguan/web", "ceguan/cases", "ceguan/watch", "ceguan/registry", "ceguan/intake")
CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")


def main(arguments: list[str]) -> int:
    known, found = _known(), Catalog()
    for message, context, place in sorted(_messages(), key=lambda one: (one[2], str(one[0]))):
        found.add(message, context=context, locations=[(place, 0)])
    fresh = Catalog(locale="en", project="ceguan", charset="utf-8", fuzzy=False)
    for message in found:
        if message.id:
            before = known.get(message.id, context=message.context)
            text = before.string if before else ""
            fresh.add(message.id, text, context=message.context, locations=message.locations)
    missing = [str(message.id) for message in fresh if message.id and not _complete(message.string)]
    unused = [str(message.id) for message in known if message.id and not fresh.get(message.id, context=message.context)]
    if "--check" in arguments:
        lacking = [str(m.id) for m in fresh if m.id and not known.get(m.id, context=m.context)]
        problems = {"not collected": lacking, "no English": missing, "no longer used": unused}
        for word, texts in problems.items():
            for text in texts:
                print(f"{word}: {text}")
        return 1 if any(problems.values()) else 0
    _write(fresh)
    for text in missing:
        print(f"no English: {text}")
    print(f"{len(fresh)} texts, {len(missing)} without English, {len(unused)} no longer used")
    return 0


def _known() -> Catalog:
    if not CATALOG.is_file():
        return Catalog(locale="en")
    with CATALOG.open("rb") as file:
        return read_po(file, locale="en")


def _messages() -> Iterator[tuple[str | tuple[str, ...], str | None, str]]:
    """(msgid, context, file) of every text with Chinese in it."""
    for path in sorted(file for source in SOURCES for file in (ROOT / source).rglob("*")):
        if path.suffix not in (".py", ".html") or "migrations" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        code = templatize(text, origin=str(path)) if path.suffix == ".html" else text
        for _, message, _, context in extract("python", io.BytesIO(code.encode()), KEYWORDS):
            if CHINESE.search(str(message)):
                yield message, context, path.relative_to(ROOT).as_posix()


def _complete(text: str | tuple[str, ...] | list[str]) -> bool:
    return all(text) if isinstance(text, tuple | list) else bool(text)


def _write(catalog: Catalog) -> None:
    """The English source, then every compiled catalogue (Chinese holds only what Django itself leaves in English)."""
    CATALOG.parent.mkdir(parents=True, exist_ok=True)
    with CATALOG.open("wb") as file:
        write_po(file, catalog, width=110, sort_output=True, omit_header=True, include_lineno=False)
    for source in LOCALE.glob("*/LC_MESSAGES/django.po"):
        with source.open("rb") as file:
            read = read_po(file, locale=source.parts[-3])
        with source.with_suffix(".mo").open("wb") as file:
            read.creation_date = MADE  # the same texts give the same file
            write_mo(file, read)


if __name__ == "__main__":
    settings.configure(USE_I18N=False)
    django.setup()
    sys.exit(main(sys.argv[1:]))
