"""标准: the tables that everything is judged by, as lists a person can search: row, clause, validity, trust, source."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from ceguan.registry import rights
from ceguan.science import examples
from ceguan.standards import catalogue
from ceguan.standards.catalogue import Line, Part, Standard


def listing(request: HttpRequest) -> HttpResponse:
    rights.require(request.user, "see")
    words = request.GET.get("q", "").strip()
    found = tuple(one for one in catalogue.standards() if one.matches(words))
    context = {
        "words": words,
        "subjects": list(catalogue.by_subject(found)),
        "found": len(found),
        "rows": sum(one.count for one in found),
        "unsure": sum(one.unsure for one in found),
    }
    return render(request, "standards/standards.html", context)


def page(request: HttpRequest, slug: str) -> HttpResponse:
    rights.require(request.user, "see")
    one = catalogue.find(slug)
    if one is None:
        raise Http404
    words = request.GET.get("q", "").strip()
    parts = [_shown(part, words) for part in one.parts]
    context = {
        "one": one,
        "words": words,
        "parts": [part for part in parts if part["lines"]],
        "shown": sum(len(part["lines"]) for part in parts),
        "example": examples.example(one.name),
        "trust": catalogue.TRUST_WORDS,
    }
    return render(request, "standards/standard.html", context)


def _shown(part: Part, words: str) -> dict[str, Any]:
    lines = [line for line in part.lines if _matches(line, words)]
    return {"part": part, "lines": lines, "sources": enumerate(part.sources, 1)}


def _matches(line: Line, words: str) -> bool:
    text = " ".join((line.row.clause, *(word for cell in line.cells for word in cell))).casefold()
    return all(word in text for word in words.casefold().split())


class Citation(NamedTuple):
    """A clause as a verdict names it, and where to read it ("" when the tables have no such standard)."""

    text: str
    href: str


def citations(clause: str) -> list[Citation]:
    """The clauses of a verdict, each with the address of its row."""
    return [Citation(text, _address(catalogue.cited(text))) for text in clause.split("；") if text]


def _address(found: tuple[Standard, str] | None) -> str:
    if found is None:
        return ""
    one, anchor = found
    address = reverse("standard", args=[one.slug])
    return f"{address}#{anchor}" if anchor else address


urls = [
    path("standards/", listing, name="standards"),
    path("standards/<str:slug>/", page, name="standard"),
]
