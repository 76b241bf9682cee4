"""Notices reach a real listener, are tried again with growing pauses, and end in a named failure."""

from __future__ import annotations

import hashlib
import hmac
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ceguan import settings
from ceguan.watch import findings, notices
from ceguan.watch.models import Notice, NoticeTarget

NOW = 1_773_100_800.0


class Listener(HTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[dict, bytes]] = []
        self.answer = 200
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((dict(self.headers), body))
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def listener():
    listener = Listener()
    yield listener
    listener.shutdown()


def notice(city, **fields) -> Notice:
    NoticeTarget.objects.create(**({"kind": "webhook", "region": city.city, "level": 1} | fields))
    point = city.points["gas_outlet"]
    findings.raise_finding(point, "limit-hour:a21026", 3, "二氧化硫超标", "SO2 over", {"zh": "75 / 50"}, [1], NOW, NOW)
    return Notice.objects.get()


def test_a_webhook_gets_the_finding_signed_and_once(city, listener):
    row = notice(city, address=listener.url, secret="钥匙")
    values = settings.load(public_url="https://sthj.example/")
    assert notices.step(values, NOW).sent == 1
    assert notices.step(values, NOW + 9999).sent == 0
    ((headers, body),) = listener.received
    content = json.loads(body)
    assert (content["title"], content["level"], content["point"]) == ("二氧化硫超标", 3, "gas_outlet")
    assert content["link"] == f"https://sthj.example/inbox/?finding={row.finding_id}"
    assert headers["X-Ceguan-Signature"] == "sha256=" + hmac.new("钥匙".encode(), body, hashlib.sha256).hexdigest()


def test_a_failing_webhook_is_tried_again_with_growing_pauses_and_then_failed_for_good(city, listener):
    row = notice(city, address=listener.url)
    listener.answer = 503
    values, now, pauses = settings.load(), NOW, []
    for _ in range(5):
        notices.step(values, now)
        row.refresh_from_db()
        if row.next_try is not None:
            pauses.append(row.next_try.timestamp() - now)
            assert notices.step(values, row.next_try.timestamp() - 1).retried == 0
            now = row.next_try.timestamp()
    assert pauses == [60, 240, 960, 3840]
    assert (row.state, row.tries, row.answer) == ("failed", 5, "HTTP 503")


def test_an_address_that_does_not_exist_fails_at_once(city, listener):
    row = notice(city, address=listener.url)
    listener.answer = 404
    assert notices.step(settings.load(), NOW).failed == 1
    row.refresh_from_db()
    assert (row.state, row.answer) == ("failed", "HTTP 404")


def test_nobody_listening_is_a_cause_and_a_second_try(city):
    row = notice(city, address="http://127.0.0.1:9/none")
    assert notices.step(settings.load(), NOW).retried == 1
    row.refresh_from_db()
    assert row.answer.startswith("未送达")


def test_only_web_addresses_are_called(city):
    row = notice(city, address="file:///etc/passwd")
    notices.step(settings.load(), NOW)
    row.refresh_from_db()
    assert row.state == "failed"


class Mailbox(socketserver.ThreadingTCPServer):
    """As much SMTP as a sender needs."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.letters: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 hello\r\n")
        letter, in_data = [], False
        for raw in self.rfile:
            line = raw.decode(errors="replace").rstrip("\r\n")
            if in_data:
                if line == ".":
                    in_data = False
                    self.server.letters.append("\n".join(letter))
                    self.wfile.write(b"250 taken\r\n")
                letter.append(line)
            elif line.upper() == "DATA":
                in_data = True
                self.wfile.write(b"354 go on\r\n")
            elif line.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def test_an_email_reaches_the_mail_server(city):
    mailbox = Mailbox()
    row = notice(city, kind="email", address="zhiban@example.cn")
    port = mailbox.server_address[1]
    notices.step(settings.load(email_url=f"smtp://127.0.0.1:{port}", email_from="ceguan@example.cn"), NOW)
    row.refresh_from_db()
    mailbox.shutdown()
    assert row.state == "sent", row.answer
    assert "To: zhiban@example.cn" in mailbox.letters[0]


def test_without_a_mail_server_an_email_says_what_to_set(city):
    row = notice(city, kind="email", address="zhiban@example.cn")
    notices.step(settings.load(), NOW)
    row.refresh_from_db()
    assert (row.state, "email_url" in row.answer) == ("failed", True)
