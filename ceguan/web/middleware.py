"""What every request passes: sign-in unless a view says otherwise, and a password that must be changed."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.cache import patch_vary_headers

PASSWORD_FREE = ("password", "sign-out", "set_language", "help")


class SignedIn(LoginRequiredMiddleware):
    """A fragment asked for after the session ended leads the whole page to sign-in, not a form into a corner of it."""

    def handle_no_permission(self, request: HttpRequest, view_func: Callable) -> HttpResponse:
        answer = super().handle_no_permission(request, view_func)
        if request.headers.get("HX-Request") and "Location" in answer:
            return HttpResponse(status=204, headers={"HX-Redirect": reverse("sign-in")})
        return answer


class ChineseFirst:
    """The language is the one chosen in the top bar, else Chinese – not what a browser was installed with."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.META.pop("HTTP_ACCEPT_LANGUAGE", None)
        return self.get_response(request)


class Frame:
    """Sends people who must change their password to do so; marks pages that also answer as fragments."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            patch_vary_headers(answer, ["HX-Request"])
        return answer

    def process_view(self, request: HttpRequest, view: Callable, args: tuple, kwargs: dict) -> HttpResponse | None:
        user = request.user
        if not user.is_authenticated or not user.must_change_password:
            return None
        match = request.resolver_match
        return None if match and match.url_name in PASSWORD_FREE else redirect("password")
