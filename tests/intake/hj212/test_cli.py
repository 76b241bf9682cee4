"""`ceguan hj212 decode`, `encode` and `replay`."""

import argparse
import io
import json
import socket
import socketserver
import threading
from types import SimpleNamespace

import pytest

from ceguan import cli as top
from ceguan.intake.hj212 import cli
from ceguan.intake.hj212.answers import answer_to
from ceguan.intake.hj212.frame import decode, encode, of_chunk
from ceguan.intake.hj212.splitter import Splitter


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["hj212", *argv])
    return args.run(args)


def upload(mn="1", minute=0, **more) -> bytes:
    fields = {"st": "32", "cn": "2051", "pw": "123456", "mn": mn, "flag": 5, "qn": f"201608010800{minute:02}001"}
    values = {"datatime": f"201608010800{minute:02}", "factors": {"w01018": {"Avg": "1.0", "Flag": "N"}}}
    return encode(**(fields | values | more))


def decoded(capsys) -> list[dict]:
    return [json.loads(text) for text in capsys.readouterr().out.splitlines()]


@pytest.fixture
def recording(tmp_path):
    def write(data: bytes, name: str = "recorded.bin") -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write


def test_one_object_per_frame_or_run_of_noise_in_order(recording, capsys):
    stream = b"OK\r\n" + upload() + upload()[:50] + upload(minute=1)
    assert run("decode", recording(stream)) == 0
    found = decoded(capsys)
    assert [row["error"] for row in found] == ["noise", None, "truncated", None]
    assert [row["offset"] for row in found] == [0, 4, 4 + len(upload()), 54 + len(upload())]
    assert found[1]["factors"] == {"w01018": {"Avg": "1.0", "Flag": "N"}}


def test_standard_input_is_read_as_it_comes(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(upload())))
    assert run("decode") == 0
    assert [row["mn"] for row in decoded(capsys)] == ["1"]


def test_merging_gives_one_object_for_a_message(recording, capsys):
    parts = [upload(flag=7, pnum=2, pno=pno, factors={f"w0000{pno}": {"Avg": "1"}}) for pno in (2, 1)]
    lonely = upload(mn="2", flag=7, pnum=2, pno=1)
    assert run("decode", "--merge", recording(b"".join(parts) + upload(minute=5) + lonely)) == 0
    message, whole, rest = decoded(capsys)
    assert list(message["factors"]) == ["w00001", "w00002"]
    assert message["parts"] == [len(parts[0]), 0]
    assert "parts" not in whole
    assert "parts_missing:1/2" in rest["warnings"]


def test_what_the_numbers_give_to_think_about_is_among_the_warnings(recording, capsys):
    odd = {"w01018": {"Min": "3", "Avg": "2", "Max": "4"}, "R01": {"Avg": "x"}}
    run("decode", recording(upload(factors=odd)))
    assert decoded(capsys)[0]["warnings"] == ["min_avg_max:w01018", "bad_number:R01-Avg=x"]


def test_an_empty_stream_is_no_error(recording, capsys):
    assert run("decode", recording(b"")) == 0
    assert decoded(capsys) == []


@pytest.mark.parametrize("verb", [["decode"], ["replay", "--to", "127.0.0.1:9"]])
def test_a_file_that_cannot_be_read_is_one_clear_line_and_exit_2(verb, tmp_path, capsys):
    for name, cause in (("absent", "文件不存在"), (".", "是目录，不是文件")):
        assert run(*verb, str(tmp_path / name)) == 2
        shown = capsys.readouterr()
        assert shown.err.strip().endswith(cause)
        assert (shown.err.count("\n"), shown.out) == (1, "")


def test_a_damaged_jsonl_names_its_line(recording, capsys):
    rows = json.dumps({"frame": upload().decode()}) + "\nno json\n"
    assert run("replay", recording(rows.encode(), "a.jsonl"), "--to", "127.0.0.1:9") == 2
    assert "第 2 行" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1", "host:", "host:x", "host:99999"])
def test_an_address_without_a_port_is_refused(address, recording, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("replay", recording(upload()), "--to", address)
    assert stopped.value.code == 2
    assert "HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("gateway", "--port", "99999"), "0 到 65535"),
        (("gateway", "--port", "-1"), "0 到 65535"),
        (("simulate", "hj212", "--to", "127.0.0.1:9", "--devices", "0"), "1 或更大的整数"),
        (("simulate", "hj212", "--to", "127.0.0.1:9", "--interval", "-5"), "1 或更大的整数"),
        (("simulate", "hj212", "--to", "127.0.0.1:9", "--speed", "0"), "大于 0 的数"),
        (("simulate", "hj212", "--to", "127.0.0.1:9", "--speed", "nan"), "大于 0 的数"),
        (("hj212", "check", "127.0.0.1:9", "--connections", "0"), "1 或更大的整数"),
    ],
)
def test_a_number_that_cannot_be_is_refused_with_what_would_be_valid(arguments, cause, data, capsys):
    try:
        code = top.main([*arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert cause in capsys.readouterr().err


class Platform(socketserver.ThreadingTCPServer):
    """A server that answers what asks for an answer, keeping what each connection sent."""

    mute = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Talk)
        self.heard: list[list] = []

    def finished(self) -> list[list]:
        """What each connection sent, when all have ended."""
        self.shutdown()
        self.server_close()
        return self.heard

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Talk(socketserver.BaseRequestHandler):
    def handle(self):
        mine, splitter = [], Splitter()
        self.server.heard.append(mine)
        while data := self.request.recv(65536):
            for chunk in splitter.feed(data):
                frame = of_chunk(chunk)
                mine.append(frame)
                answer = answer_to(frame)
                if answer and not self.server.mute:
                    self.request.sendall(answer)


@pytest.fixture
def platform():
    server = Platform()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.finished()


def test_each_device_plays_over_a_connection_of_its_own_in_order(recording, platform, capsys):
    stream = upload("A") + upload("B") + b"junk" + upload("A", 1) + upload("B", 1, flag=4) + upload("A", 2, flag=1)
    assert run("replay", recording(stream), "--to", platform.address) == 0
    heard = {frames[0].mn: [frame.datatime[-2:] for frame in frames] for frames in platform.finished()}
    assert heard == {"A": ["00", "01", "02"], "B": ["00", "01"]}
    out = capsys.readouterr().out
    assert "A  发送 3/3  应答 3/3" in out
    assert "B  发送 2/2  应答 1/1" in out
    assert out.endswith("合计：2 台设备，发送 5/5 帧，应答 4/4\n")


def test_recorded_lines_hold_text_or_hex(recording, platform):
    rows = [{"frame": upload("A").decode()}, {"frame_hex": upload("A", 1).hex()}, {"note": "no frame"}]
    text = "\n".join(map(json.dumps, rows)) + "\n\n"
    assert run("replay", recording(text.encode(), "a.jsonl"), "--to", platform.address) == 0
    assert [frame.ok for frames in platform.finished() for frame in frames] == [True, True]


def test_a_broken_frame_is_played_too_and_no_answer_is_awaited(recording, platform, capsys):
    assert run("replay", recording(upload()[:-6] + b"0000\r\n"), "--to", platform.address) == 0
    assert "发送 1/1 帧，应答 0/0" in capsys.readouterr().out


def test_a_silent_server_ends_the_device_after_three_missing_answers(recording, platform, capsys):
    platform.mute = True
    stream = b"".join(upload(minute=minute) for minute in range(5))
    assert run("replay", recording(stream), "--to", platform.address, "--timeout", "0.1") == 1
    assert "发送 3/5  应答 0/3  连续 3 次等不到应答" in capsys.readouterr().out


def test_a_server_that_is_not_there_is_said_per_device(recording, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        assert run("replay", recording(upload()), "--to", address, "--timeout", "1") == 1
    assert f"无法连接 {address}" in capsys.readouterr().out


def test_a_recording_without_frames_says_so(recording, capsys):
    assert run("replay", recording(b"nothing"), "--to", "127.0.0.1:9") == 2
    assert "没有报文" in capsys.readouterr().err


def test_what_is_printed_is_what_was_read():
    assert json.loads(cli.line(decode(upload())))["sha256"] == decode(upload()).sha256


def written(capsysbinary, *argv: str) -> bytes:
    assert run("encode", *argv) == 0
    return capsysbinary.readouterr().out


KEY = "30" * 16


def test_what_decode_prints_encode_writes_again(recording, capsysbinary):
    sent = [upload(), upload(minute=1, cp={"CTime": ["04", "10"]}, crc_dialect="modbus"), upload(flag=7, pnum=2, pno=1)]
    run("decode", recording(b"".join(sent)))
    lines = [json.loads(text) | {"pw": "123456"} for text in capsysbinary.readouterr().out.splitlines()]
    again = recording("\n".join(map(json.dumps, lines)).encode(), "again.jsonl")
    assert written(capsysbinary, again) == b"".join(sent)


def test_enciphered_frames_are_decoded_and_written_with_the_key(recording, capsysbinary):
    sent = [encode(**UPLOAD_2025, key=bytes.fromhex(KEY)), encode(**UPLOAD_2025)]
    path = recording(b"".join(sent))
    run("decode", path)
    assert [json.loads(text)["error"] for text in capsysbinary.readouterr().out.splitlines()] == ["encrypted", None]
    run("decode", "--key", KEY, path)
    shown = capsysbinary.readouterr().out
    assert [json.loads(text)["encrypted"] for text in shown.splitlines()] == [True, False]
    assert written(capsysbinary, "--key", KEY, recording(shown, "again.jsonl")) == b"".join(sent)


UPLOAD_2025 = {"st": "31", "cn": "2011", "flag": 9, "datatime": "20240601085857", "factors": {"a21026": {"Rtd": "18"}}}


def test_where_a_line_does_not_say_its_command_decides_what_is_enciphered(recording, capsysbinary):
    lines = [UPLOAD_2025, {"st": "91", "cn": "9014", "flag": 8, "cp": {"Name": "x" * 40}}]
    path = recording("\n".join(map(json.dumps, lines)).encode(), "a.jsonl")
    shown = written(capsysbinary, "--key", KEY, path)
    assert b"a21026" not in shown
    assert b"Name=xxxx" in shown


def test_the_checksum_can_be_chosen(recording, capsysbinary):
    path = recording(json.dumps({"st": "32", "cn": "2011", "crc_dialect": "hj212"}).encode(), "a.jsonl")
    assert written(capsysbinary, "--dialect", "modbus", path) == encode(st="32", cn="2011", crc_dialect="modbus")


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("no json", "JSON"), ("[1]", "JSON"), ({"cn": "2011"}, "st"), ({"st": "32", "cn": 2011}, "cn"),
        ({"st": "32", "cn": "2011", "speed": 1}, "speed"), ({"st": "32", "cn": "2011", "flag": True}, "flag"),
        ({"st": "32", "cn": "2011", "pnum": 1.5}, "pnum"), ({"st": "32", "cn": "2011", "cp": {"a": 1}}, "cp"),
        ({"st": "32", "cn": "2011", "factors": {"a": "1"}}, "factors"), ({"st": "3;2", "cn": "2011"}, "ST='3;2'"),
        ({"st": "32", "cn": "2011", "crc_dialect": "crc32"}, "crc_dialect"), ({"st": "32", "cn": "1", "mn": 7}, "mn"),
        ({"st": "32", "cn": "2011", "encrypted": True}, "--key"), ({"st": "32", "cn": "2011", "encrypted": 2}, "true"),
        ({"st": "32", "cn": "2011", "ok": False, "error": "crc"}, "crc"),
        ({"st": "32", "cn": "2011", "factors": {"a": {"Rtd": "1,2"}}}, "a-Rtd='1,2'"),
        ({"st": "32", "cn": "2011", "datatime": "x" * 10_000}, "分包"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_frame_is_named_with_its_field_and_nothing_after_it_is_written(
    bad, named, recording, capsysbinary
):
    lines = [json.dumps({"st": "32", "cn": "2012"}), bad if isinstance(bad, str) else json.dumps(bad)]
    assert run("encode", recording("\n".join([*lines, lines[0]]).encode(), "a.jsonl")) == 2
    shown = capsysbinary.readouterr()
    assert shown.out == encode(st="32", cn="2012")
    error = shown.err.decode()
    assert "第 2 行" in error
    assert named in error
    assert error.count("\n") == 1


def test_a_password_is_not_repeated_in_the_complaint_about_it(recording, capsysbinary):
    assert run("encode", recording(b'{"st":"32","cn":"2011","pw":"geheim;1"}', "a.jsonl")) == 2
    shown = capsysbinary.readouterr().err.decode()
    assert "PW" in shown
    assert "geheim" not in shown


@pytest.mark.parametrize("verb", ["decode", "encode"])
def test_a_key_that_is_none_is_refused_and_not_repeated(verb, recording, capsys):
    with pytest.raises(SystemExit):
        run(verb, "--key", "3031geheim", recording(b""))
    shown = capsys.readouterr().err
    assert "32 位" in shown
    assert "geheim" not in shown
