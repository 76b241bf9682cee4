"""`ceguan hj212 check` finds nothing wrong with our gateway, and each fault of a server that has it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest
from django.conf import settings

from ceguan import cli
from ceguan.intake import keys
from ceguan.intake.hj212 import check
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.crc import MODBUS
from ceguan.intake.hj212.frame import decode, encode, of_chunk
from ceguan.intake.hj212.splitter import Splitter
from ceguan.registry.models import Device
from tests.intake.gateway import Process

pytestmark = pytest.mark.service
KEY = "0123456789abcdef"


@pytest.mark.parametrize("edition", [2005, 2017, 2025])
def test_our_gateway_passes_every_case(city, data, edition, capsys):
    (data / "secret.key").write_text(settings.SECRET_KEY)
    Device.objects.filter(mn="MNAIR").update(mn="MNAIR00000", edition=str(edition))
    keys.enter(Device.objects.get(mn="MNAIR00000"), KEY, city.users["admin"], "入网", 1_764_000_000)
    gateway = Process(data)
    try:
        code = cli.main(
            ["hj212", "check", f"127.0.0.1:{gateway.port}", "--edition", str(edition), "--mn", "MNAIR00000", "--json",
             "--key", KEY.encode().hex(), "--listen", "0.3", "--connections", "30"]
        )  # fmt: skip
    finally:
        gateway.kill()
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0, [row for row in rows if row["verdict"] == "fail"]
    assert len(rows) == len(check.CASES)
    untested = {row["case"]: row["seen"] for row in rows if row["verdict"] == "untested"}
    for case in check.CASES:
        if edition not in case.editions:
            assert untested.pop(case.title) == f"{edition} 版没有这一项"
    assert untested == {"服务器的请求": "0.3 秒内服务器没有发来请求"}


class Wrong:
    """A server with one fault; without one it answers as it should."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.seen: set[bytes] = set()
        self.count = 0
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            self._open.append(peer)
            threading.Thread(target=self._serve, args=(peer, len(self._open)), daemon=True).start()

    def _serve(self, peer: socket.socket, number: int) -> None:
        splitter, fault = Splitter(), self.fault
        try:
            if fault == "speaks nonsense":
                peer.sendall(encode(st="31", cn="1011", mn="OTHER", flag=5, qn="1", cp={}))
            if fault == "speaks well":
                peer.sendall(encode(st="31", cn="1011", mn=check.USUAL_MN, flag=5, qn="20251124080000001", cp={}))
            while data := peer.recv(65536):
                if fault == "few connections" and number > 8:
                    return
                if fault == "reads lines" and not data.endswith(b"\r\n"):
                    continue  # half a frame is forgotten
                if fault == "no noise" and not data.startswith(b"##"):
                    continue
                chunks = splitter.feed(data)
                if fault != "wants line ends":
                    chunks += splitter.settle()
                if fault == "one a time":
                    chunks = chunks[:1]
                for chunk in chunks:
                    self._frame(peer, chunk)
        except OSError:
            pass
        finally:
            peer.close()

    def _frame(self, peer: socket.socket, chunk) -> None:
        raw, fault = chunk.data, self.fault
        frame = of_chunk(chunk, KEY.encode() if fault != "cannot decipher" else None)
        self.count += 1
        if fault == "answers anything" and not frame.ok and b"QN=" in raw:
            frame = decode(encode(st="31", cn="2061", mn=frame.mn, pw=frame.pw, flag=5, qn=frame.qn, cp={}))
        refused = (
            (fault == "upper case only" and raw[-6:-2] != raw[-6:-2].upper())
            or (fault == "parts in order" and frame.pno not in (None, "1") and not self._had(frame.pno))
            or (fault == "silent on the second" and raw in self.seen)
            or (fault == "no heartbeat" and frame.cn == "9015")
            or (fault == "no RF" and frame.rf)
            or (fault == "ASCII only" and not raw.isascii())
            or (fault == "forgets some" and self.count % 50 == 0)
        )
        self.seen.add(raw)
        if fault == "falls over" and len(raw) > 1100:
            self._server.shutdown(socket.SHUT_RDWR)
            for one in self._open:
                one.close()
            return
        said = None if refused or not frame.cn else answer_to(frame)
        if fault == "answers all" and frame.ok and frame.cn == "2061":
            frame.flag |= 1
            said = answer_to(frame)
        if said:
            peer.sendall(self._spoilt(said))

    def _had(self, number: str) -> bool:
        return any(b"PNO=%d;" % (int(number) - 1) in raw for raw in self.seen)

    def _spoilt(self, said: bytes) -> bytes:
        fault, answer = self.fault, decode(said)
        given = {
            "st": answer.st,
            "cn": answer.cn,
            "mn": answer.mn,
            "pw": answer.pw,
            "flag": answer.flag,
            "qn": answer.qn,
        }
        change = {
            "other QN": {"qn": "20000101000000000"}, "wrong ST": {"st": "31"}, "old flag": {"flag": 0},
            "no password": {"pw": None}, "other MN": {"mn": "X"}, "another CRC": {"crc_dialect": MODBUS},
            "9014 to notices": {"cn": "9014"}, "9013 to all": {"cn": "9013"},
        }  # fmt: skip
        said = encode(**{**given, **change[fault]}, cp=answer.cp) if fault in change else said
        if fault == "bad CRC of its own":
            said = said[:-6] + (b"0000" if said[-6:-2] != b"0000" else b"FFFF") + b"\r\n"
        return said * 2 if fault == "answers twice" else said


def verdicts(fault, only, edition=2017, **given):
    server = check.Server("127.0.0.1", Wrong(fault).port, edition, timeout=0.6, listen=0.3, connections=20,
                          key=KEY.encode() if edition == 2025 else None, **given)  # fmt: skip
    names = {case.title: case.name for case in check.CASES}
    return {names[row.case]: row for row in asyncio.run(check.play(server, only))}


FAULTS = [
    ("answers anything", "bad-crc", 2017), ("answers anything", "wrong-length", 2017),
    ("answers all", "no-answer", 2017), ("other QN", "answer", 2017), ("bad CRC of its own", "answer", 2017),
    ("answers twice", "answer", 2017), ("9013 to all", "answer", 2017), ("wrong ST", "form", 2017),
    ("old flag", "form", 2017), ("no password", "form", 2017), ("other MN", "form", 2017),
    ("another CRC", "form", 2017), ("upper case only", "lower-crc", 2017), ("reads lines", "split", 2017),
    ("one a time", "glued", 2017), ("no noise", "noise", 2017), ("wants line ends", "no-crlf", 2017),
    ("parts in order", "parts", 2017), ("silent on the second", "twice", 2017), ("ASCII only", "text", 2017),
    ("9014 to notices", "notice", 2017), ("no heartbeat", "heartbeat", 2025), ("no RF", "resent", 2025),
    ("cannot decipher", "enciphered", 2025), ("falls over", "oversize", 2017), ("forgets some", "burst", 2017),
    ("few connections", "many", 2017), ("speaks nonsense", "requests", 2017),
]  # fmt: skip


def test_every_case_can_fail():
    assert {case for _, case, _ in FAULTS} == {case.name for case in check.CASES}


@pytest.mark.parametrize(("fault", "case", "edition"), FAULTS)
def test_a_fault_of_a_server_is_found_by_its_case(fault, case, edition):
    row = verdicts(fault, [case], edition)[case]
    assert row.verdict == check.FAIL
    assert row.seen


@pytest.mark.parametrize("edition", [2017, 2025])
def test_a_server_without_fault_passes(edition):
    rows = verdicts("none", [], edition)
    assert {name: row.seen for name, row in rows.items() if row.verdict == check.FAIL} == {}


def test_proper_requests_are_answered_and_pass():
    row = verdicts("speaks well", ["requests"])["requests"]
    assert (row.verdict, row.seen) == (check.PASS, "请求 1011，格式正确，已应答")


def test_without_a_key_the_case_is_untested_and_says_why():
    server = check.Server("127.0.0.1", Wrong("none").port, 2025)
    (row,) = asyncio.run(check.play(server, ["enciphered"]))
    assert (row.verdict, row.seen) == (check.UNTESTED, "没有给出密钥（--key）")


def test_the_table_and_the_exit_codes(capsys):
    fine, wrong = Wrong("none"), Wrong("other QN")
    assert cli.main(["hj212", "check", f"127.0.0.1:{fine.port}", "--only", "answer", "heartbeat"]) == 0
    said = capsys.readouterr().out
    assert "通过 1 项，不符 0 项，未测 1 项" in said
    assert "2017 版没有这一项" in said
    assert cli.main(["hj212", "check", f"127.0.0.1:{wrong.port}", "--only", "answer", "--timeout", "0.5"]) == 1
    assert "应答的 QN 不是所发的" in capsys.readouterr().out
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert cli.main(["hj212", "check", f"127.0.0.1:{port}"]) == 2
    assert "无法连接" in capsys.readouterr().err
