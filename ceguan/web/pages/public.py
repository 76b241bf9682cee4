from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path


@login_not_required
def page(request: HttpRequest) -> HttpResponse:
    return render(request, "public/public.html")


urls = [path("public/", page, name="public")]
