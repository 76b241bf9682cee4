"""Sign in, sign out, change one's password."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView, LogoutView, PasswordChangeView
from django.db import transaction
from django.http import HttpResponse
from django.urls import path, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext
from django.views.i18n import set_language

from ceguan import clock
from ceguan.registry import audit


class SignIn(LoginView):
    template_name = "account/sign_in.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        del context["site"]  # Django's word for the host; ours is the frame of the page
        return context


class ChangePassword(PasswordChangeView):
    """Also ends the demo password and the duty to change it."""

    template_name = "account/password.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        form.user.demo_password = form.user.must_change_password = False
        with transaction.atomic():
            answer = super().form_valid(form)
            audit.record(form.user, "password", f"user:{form.user.username}", "本人修改口令", {}, clock.now())
        messages.success(self.request, gettext("口令已修改，其他设备上的登录已失效。"))
        return answer


sign_out = method_decorator(login_not_required, name="dispatch")(LogoutView).as_view(next_page="home")

urls = [
    path("sign-in/", SignIn.as_view(), name="sign-in"),
    path("sign-out/", sign_out, name="sign-out"),
    path("password/", ChangePassword.as_view(), name="password"),
    path("language/", login_not_required(set_language), name="set_language"),
]
