"""Sign-in, lock-out, forced change of password, languages, error pages."""

from __future__ import annotations

from ceguan.registry.models import AuditEvent
from tests.city import PASSWORD


def test_a_visitor_is_led_to_sign_in_and_back(client):
    answer = client.get("/search/?q=A1")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in/?next=/search/")


def test_a_fragment_after_the_session_ended_leads_the_whole_page_to_sign_in(client):
    answer = client.get("/search/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (204, "/sign-in/")


def test_wrong_passwords_lock_the_account_and_the_page_says_for_how_long(client):
    for _ in range(5):
        answer = client.post("/sign-in/", {"username": "duty", "password": "wrong"})
    assert answer.status_code == 429
    assert "15 分钟后可以再试" in answer.content.decode()
    again = client.post("/sign-in/", {"username": "duty", "password": PASSWORD})
    assert again.status_code == 429


def test_who_must_change_the_password_gets_no_other_page_until_done(client, city):
    user = city.users["duty"]
    user.must_change_password = user.demo_password = True
    user.save()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/search/")["Location"] == "/password/"
    new = "青绿山水-2026"
    client.post("/password/", {"old_password": PASSWORD, "new_password1": new, "new_password2": new})
    user.refresh_from_db()
    assert not user.must_change_password
    assert not user.demo_password
    assert AuditEvent.objects.get().action == "password"
    assert client.get("/search/").status_code == 200


def test_a_weak_password_is_refused_in_chinese(client, city):
    client.force_login(city.users["duty"], backend="django.contrib.auth.backends.ModelBackend")
    answer = client.post("/password/", {"old_password": PASSWORD, "new_password1": "12345", "new_password2": "12345"})
    assert "口令太短，至少 8 个字符" in answer.content.decode()


def test_the_language_is_switched_and_kept(client):
    assert "登录" in client.get("/sign-in/").content.decode()
    answer = client.post("/language/", {"language": "en", "next": "/sign-in/"}, follow=True)
    assert "Sign in" in answer.content.decode()
    assert "Sign in" in client.get("/sign-in/").content.decode()


def test_a_page_that_is_not_there_says_so_in_chinese(client, city):
    client.force_login(city.users["duty"], backend="django.contrib.auth.backends.ModelBackend")
    answer = client.get("/no-such-page/")
    assert answer.status_code == 404
    assert "没有这一页" in answer.content.decode()


def test_no_page_may_run_inline_script_or_style(client):
    answer = client.get("/sign-in/")
    policy = answer["Content-Security-Policy"]
    assert "unsafe-inline" not in policy
    assert "script-src 'self'" in policy
    text = answer.content.decode()
    assert "style=" not in text
    assert " onclick=" not in text


def test_the_language_is_chinese_until_somebody_chooses_another(client, city):
    assert "登录" in client.get("/sign-in/", headers={"accept-language": "en-US"}).content.decode()
    client.post("/language/", {"language": "en"})
    assert "Sign in" in client.get("/sign-in/").content.decode()
