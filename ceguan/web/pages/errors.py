"""What went wrong, what was not done, what to do – in plain words."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from ceguan.registry.commits import is_unknown
from ceguan.store.refusals import refusal


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "403.html", {"reason": str(exception)}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "404.html", status=404)


def failed(request: HttpRequest) -> HttpResponse:
    """503 with the cause when disk or database refused: nothing is wrong with what was asked, it can be asked again."""
    error = sys.exc_info()[1]
    context = {"cause": refusal(error), "unknown": is_unknown(error)}
    return HttpResponse(render_to_string("500.html", context), status=503 if context["cause"] else 500)


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "csrf.html", {"reason": reason}, status=403)
