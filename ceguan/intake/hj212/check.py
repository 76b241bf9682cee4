"""Plays a device of one edition to any server and says, case by case, whether it answers as the standard wants.

Each case has a connection of its own, so that one failure is not the next one's. That something is *not* answered is
seen by a good frame sent behind it: its answer has come and no other before.

A case whose clause is the standard's is a duty; `实践` marks what no clause says and every receiver in the field meets.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ceguan.intake.hj212.crc import HJ212
from ceguan.intake.hj212.frame import Frame, encode, of_chunk
from ceguan.intake.hj212.splitter import Splitter
from ceguan.words import BEIJING

PASS, FAIL, UNTESTED = "pass", "fail", "untested"
GRACE = 0.25
"""Seconds in which an answer too many would still come."""
PRACTICE = "实践"
BURST = 200
USUAL_MN, USUAL_MN_2005 = "010000A8900016F000169DC0", "88888880000001"
VERSIONS = {2005: 0, 2017: 4, 2025: 8}
ALL, SINCE_2017, ONLY_2025 = (2005, 2017, 2025), (2017, 2025), (2025,)


@dataclass(frozen=True, slots=True)
class Server:
    """What is tested, and as whom. `timeout`: seconds to wait for an answer; `listen`: for requests of the server."""

    host: str
    port: int
    edition: int = 2017
    mn: str = USUAL_MN
    password: str = "123456"
    st: str = "31"
    key: bytes | None = field(default=None, repr=False)
    timeout: float = 5.0
    listen: float = 3.0
    connections: int = 50


class Result(NamedTuple):
    """One row of the conformance table; `verdict`: pass, fail or untested."""

    case: str
    clause: str
    expected: str
    seen: str
    verdict: str

    def public(self) -> dict[str, str]:
        return self._asdict()


class Failed(Exception):
    """The server does otherwise; the message says what was seen."""


class Untested(Exception):
    """The case cannot be played; the message says why."""


class Device:
    """One connection. Frames are numbered by their QN, which no two of a run share."""

    _number = 0

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.writer = server, writer
        self._reader, self._splitter = reader, Splitter()
        self._came: list[Frame] = []
        self.requests: list[Frame] = []  # that came while an answer was awaited

    def frame(self, **given: Any) -> bytes:
        """An hourly upload that wants an answer; `given` differs."""
        server = self.server
        fields: dict[str, Any] = {
            "qn": self.qn(), "st": server.st, "cn": "2061", "pw": server.password, "mn": server.mn,
            "flag": VERSIONS[server.edition] + 1, "datatime": _hour(),
            "factors": {"a21026": {"Min": "10.1", "Avg": "12.3", "Max": "15.0", "Flag": "N"}},
        }  # fmt: skip
        return encode(**{**fields, **given})

    @classmethod
    def qn(cls) -> str:
        cls._number += 1
        moment = datetime.fromtimestamp(time.time(), UTC).astimezone(BEIJING)
        return f"{moment:%Y%m%d%H%M%S}{cls._number % 1000:03d}"

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def next(self, seconds: float) -> Frame | None:
        """The next frame of the server within these seconds. Raises Failed when it hangs up."""
        try:
            async with asyncio.timeout(seconds):
                while not self._came:
                    data = await self._reader.read(65536)
                    if not data:
                        raise Failed("服务器关闭了连接")
                    found = [of_chunk(chunk, self.server.key) for chunk in self._splitter.feed(data)]
                    self._came += found
        except TimeoutError:
            self._came += [of_chunk(chunk, self.server.key) for chunk in self._splitter.settle()]
        except OSError as error:
            raise Failed(f"连接中断（{error}）") from error
        return self._came.pop(0) if self._came else None

    async def answers(self, count: int, cn: str = "9014") -> list[Frame]:
        """So many answers and no more. Raises Failed."""
        found: list[Frame] = []
        end = asyncio.get_running_loop().time() + self.server.timeout
        while len(found) < count:
            left = end - asyncio.get_running_loop().time()
            answer = await self.next(left) if left > 0 else None
            if answer is None:
                raise Failed(f"{self.server.timeout:g} 秒内应答 {len(found)}/{count}")
            if _is_answer(answer):
                found.append(_proper(answer, cn))
            else:
                self.requests.append(answer)
        extra = await self.next(GRACE)
        if extra is not None and _is_answer(extra):
            raise Failed(f"多出一个应答：{_said(extra)}")
        return found

    async def answered(self, *frames: bytes, cn: str = "9014") -> list[Frame]:
        """Send them in one piece; one answer each, with its QN, in any order."""
        self.send(b"".join(frames))
        return _matched(frames, await self.answers(len(frames), cn))

    async def unanswered(self, frame: bytes) -> str:
        """Send it and a good one behind it; only that may be answered. A server may also hang up."""
        good = self.frame()
        self.send(frame + good)
        try:
            (answer,) = await self.answers(1)
        except Failed as error:
            if "关闭" in str(error):
                return "没有应答，连接被关闭"
            raise
        _matched([good], [answer])
        return "没有应答；其后的正确帧有应答"


def _is_answer(frame: Frame) -> bool:
    return frame.error is not None or (frame.cn or "") >= "9000"


def _proper(answer: Frame, cn: str) -> Frame:
    if not answer.ok:
        raise Failed(f"应答本身有错（{answer.error}）")
    if answer.cn != cn:
        raise Failed(f"应答是 {answer.cn}，应为 {cn}")
    return answer


def _qn(frame: Frame) -> str:
    return str(frame.qn or frame.cp.get("QN") or "")


def _matched(frames: Iterable[bytes], answers: list[Frame]) -> list[Frame]:
    sent, came = sorted(_sent_qn(raw) for raw in frames), sorted(map(_qn, answers))
    if sent != came:
        missing = [qn for qn in sent if qn not in came]
        raise Failed(f"应答的 QN 不是所发的：缺 {missing[0]}" if missing else "同一 QN 被重复应答")
    return answers


def _sent_qn(raw: bytes) -> str:
    at = raw.index(b"QN=") + 3
    return raw[at : at + 17].decode()


def _said(frame: Frame) -> str:
    return f"CN={frame.cn} QN={_qn(frame)}"


def _hour() -> str:
    return f"{datetime.fromtimestamp(time.time() - 3600, UTC).astimezone(BEIJING):%Y%m%d%H}0000"


# ── the cases ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _upload(device: Device) -> str:
    (answer,) = await device.answered(device.frame())
    return _said(answer)


async def _no_answer_wanted(device: Device) -> str:
    return await device.unanswered(device.frame(flag=VERSIONS[device.server.edition]))


async def _form(device: Device) -> str:
    (answer,) = await device.answered(device.frame())
    server = device.server
    seen = {"ST": answer.st, "MN": answer.mn, "PW": answer.pw, "Flag": answer.flag}
    wanted = {"ST": "91", "MN": server.mn, "PW": server.password, "Flag": VERSIONS[server.edition]}
    wrong = [f"{name}={seen[name]}，应为 {value}" for name, value in wanted.items() if seen[name] != value]
    if server.edition == 2005 and answer.cp.get("CN") != "2061":
        wrong.append(f"数据区 CN={answer.cp.get('CN')}，应为 2061")
    if server.edition != 2005 and not answer.qn:
        wrong.append("QN 不在数据段首部")
    if answer.crc_dialect != HJ212:
        wrong.append(f"CRC 为 {answer.crc_dialect} 算法")
    if wrong:
        raise Failed("；".join(wrong))
    return " ".join(f"{name}={'***' if name == 'PW' else value}" for name, value in seen.items())


async def _bad_crc(device: Device) -> str:
    good = device.frame()
    wrong = b"0000" if good[-6:-2] != b"0000" else b"FFFF"
    return await device.unanswered(good[:-6] + wrong + b"\r\n")


async def _wrong_length(device: Device) -> str:
    good = device.frame()
    return await device.unanswered(b"##%04d" % (int(good[2:6]) - 3) + good[6:])


async def _lower_crc(device: Device) -> str:
    for _ in range(64):  # until the CRC has a letter in it
        good = device.frame()
        if good[-6:-2] != good[-6:-2].lower():
            break
    await device.answered(good[:-6] + good[-6:-2].lower() + b"\r\n")
    return f"CRC {good[-6:-2].lower().decode()} 有应答"


async def _split(device: Device) -> str:
    frame = device.frame()
    for at in (0, 1, 5, 40, len(frame) - 3):
        following = {0: 1, 1: 5, 5: 40, 40: len(frame) - 3}.get(at, len(frame))
        device.send(frame[at:following])
        await asyncio.sleep(0.03)
    _matched([frame], await device.answers(1))
    return "分五次送达，有应答"


async def _glued(device: Device) -> str:
    await device.answered(*(device.frame() for _ in range(5)))
    return "五帧一次送达，各有应答"


async def _noise(device: Device) -> str:
    frame = device.frame()
    device.send(b"AT+CSQ\r\n\x00\xff\x7eOK" + frame)
    _matched([frame], await device.answers(1))
    return "杂字节之后的帧有应答"


async def _no_crlf(device: Device) -> str:
    frame = device.frame()
    device.send(frame[:-2])
    _matched([frame], await device.answers(1))
    return "没有 CR LF，有应答"


async def _parts(device: Device) -> str:
    flag = VERSIONS[device.server.edition] + 3
    whole = [("a21026", "12.3"), ("a21002", "45.6"), ("a34013", "7.8")]
    frames = [
        device.frame(flag=flag, **_part(number, 3, device.server), factors={code: {"Avg": value, "Flag": "N"}})
        for number, (code, value) in enumerate(whole, 1)
    ]
    answers = await device.answered(*reversed(frames))
    if device.server.edition == 2005 and len({answer.cp.get("PNO") for answer in answers}) != 3:
        raise Failed("应答的数据区没有各自的 PNO")
    return "三包倒序送达，各有应答"


def _part(number: int, total: int, server: Server) -> dict[str, str]:
    width = 4 if server.edition == 2005 else 1
    return {"pnum": f"{total:0{width}d}", "pno": f"{number:0{width}d}"}


async def _twice(device: Device) -> str:
    frame = device.frame()
    await device.answered(frame)
    await device.answered(frame)
    return "同一帧两次，两次都有应答"


async def _notice(device: Device) -> str:
    frame = device.frame(cn="1013", flag=VERSIONS[device.server.edition], datatime=None, factors=None)
    await device.answered(frame, cn="9013")
    return "1013 → 9013"


async def _heartbeat(device: Device) -> str:
    frame = device.frame(cn="9015", st="91", flag=VERSIONS[2025] + 1, datatime=None, factors=None)
    await device.answered(frame, cn="9013")
    return "9015 → 9013"


async def _resent(device: Device) -> str:
    await device.answered(device.frame(rf="1"))
    return "RF=1 有应答"


async def _enciphered(device: Device) -> str:
    if device.server.key is None:
        raise Untested("没有给出密钥（--key）")
    for _ in range(4):
        await device.answered(device.frame(key=device.server.key))
    return "四帧 SM4 加密的数据都有应答"


async def _text(device: Device) -> str:
    info = {"i11001": {"Info": "//2026-11-24 08:00 ##0101 更换试剂;校准,正常//"}}
    await device.answered(device.frame(cn="3020", st=device.server.st, factors=info))
    return "含 ## 与中文的现场日志有应答"


async def _oversize(device: Device) -> str:
    many = {f"a{number}": {"Avg": "12.3", "Max": "45.6", "Flag": "N"} for number in range(21001, 21060)}
    device.send(device.frame(factors=many))
    seen = "仍在该连接上应答"
    try:
        await device.next(GRACE)
        while await device.next(GRACE):
            pass
        await device.answered(device.frame())
    except Failed:
        seen = "断开了超长的连接，新连接应答"
        other = await _open(device.server)
        try:
            await other.answered(other.frame())
        finally:
            other.writer.close()
    return seen


async def _burst(device: Device) -> str:
    begin = time.perf_counter()
    await device.answered(*(device.frame() for _ in range(BURST)))
    return f"{BURST} 帧连发，应答齐全，{BURST / max(time.perf_counter() - begin - GRACE, 1e-6):.0f} 帧/秒"


async def _many(device: Device) -> str:
    count = device.server.connections
    begin = time.perf_counter()
    devices = await asyncio.gather(*(_open(device.server, number) for number in range(count)), return_exceptions=True)
    opened = [one for one in devices if isinstance(one, Device)]
    try:
        done = await asyncio.gather(*(one.answered(one.frame()) for one in opened), return_exceptions=True)
    finally:
        for one in opened:
            one.writer.close()
    good = sum(isinstance(one, list) for one in done)
    if good < count:
        raise Failed(f"{count} 条连接中 {good} 条有应答")
    return f"{count} 条连接各一帧，应答齐全，共 {time.perf_counter() - begin - GRACE:.2f} 秒"


async def _requests(device: Device) -> str:
    """Let the server speak: each of its requests has to be one, and is answered as a device answers."""
    await device.answered(device.frame(cn="2011", factors={"a21026": {"Rtd": "12.3", "Flag": "N"}}))
    seen: list[str] = []
    end = asyncio.get_running_loop().time() + device.server.listen
    while device.requests or (left := end - asyncio.get_running_loop().time()) > 0:
        request = device.requests.pop(0) if device.requests else await device.next(left)
        if request is not None:
            seen.append(_well_formed(request, device.server))
            await _obey(request, device)
    if not seen:
        raise Untested(f"{device.server.listen:g} 秒内服务器没有发来请求")
    return f"请求 {'、'.join(seen)}，格式正确，已应答"


def _well_formed(request: Frame, server: Server) -> str:
    if not request.ok:
        raise Failed(f"请求本身有错（{request.error}）")
    wrong = [
        text
        for text, good in (
            (f"QN={request.qn}，应为 17 位时间", len(request.qn or "") == 17 and str(request.qn).isdigit()),
            (f"MN={request.mn}", request.mn == server.mn),
            (f"Flag={request.flag}", isinstance(request.flag, int) and request.flag & ~3 == VERSIONS[server.edition]),
            (f"CN={request.cn} 不是请求或通知", "1000" <= (request.cn or "") < "4000"),
        )
        if not good
    ]
    if wrong:
        raise Failed(f"请求不合规定：{'；'.join(wrong)}")
    return str(request.cn)


async def _obey(request: Frame, device: Device) -> None:
    """9011 ready, 9012 done; a notice only 9013."""
    notice = request.cn in ("2012", "2022")
    for cn, returned in (("9013", {}),) if notice else (("9011", {"QnRtn": "1"}), ("9012", {"ExeRtn": "1"})):
        old = device.server.edition == 2005
        device.send(
            encode(
                qn=None if old else request.qn, st="91", cn=cn, pw=device.server.password, mn=device.server.mn,
                flag=VERSIONS[device.server.edition], cp={"QN": request.qn or "", **returned} if old else returned,
            )
        )  # fmt: skip


class Case(NamedTuple):
    """A row of the table. `clauses`: by edition; a case is not for editions without one."""

    name: str
    title: str
    expected: str
    play: Callable[[Device], Awaitable[str]]
    editions: tuple[int, ...] = ALL
    clause: str = ""
    clause_2005: str = ""


_2017, _2005 = "HJ 212-2017 ", "HJ/T 212-2005 "
_2025 = "HJ 212-2025 {}（未见原文，{}个程序为据）"
CASES = (
    Case("answer", "数据应答", "A=1 的上传得到 9014，QN 相同", _upload, ALL, _2017 + "表C.47–C.50", _2005 + "表C.6"),
    Case("no-answer", "不要求应答", "A=0 的上传没有应答", _no_answer_wanted, ALL, _2017 + "表3", _2005 + "6.3"),
    Case("form", "应答的格式", "ST=91、CRC 正确、Flag 版本位相同、PW 与 MN 照回", _form, ALL,
         _2017 + "6.3、表C.47–C.50", _2005 + "6.3、表C.6"),
    Case("bad-crc", "CRC 错误", "没有 9014", _bad_crc, ALL, _2017 + "6.3、附录A", _2005 + "6.3、附录A"),
    Case("wrong-length", "长度不符", "没有 9014", _wrong_length, ALL, _2017 + "表2", _2005 + "6.3.1"),
    Case("lower-crc", "小写 CRC", "按数值比较，得到 9014", _lower_crc, ALL, PRACTICE, PRACTICE),
    Case("split", "一帧分多次送达", "得到 9014", _split, ALL, _2017 + "表2", _2005 + "6.3.1"),
    Case("glued", "多帧一次送达", "每帧各得 9014", _glued, ALL, _2017 + "表2", _2005 + "6.3.1"),
    Case("noise", "帧前有杂字节", "其后的帧得到 9014", _noise, ALL, PRACTICE, PRACTICE),
    Case("no-crlf", "帧尾缺 CR LF", "得到 9014", _no_crlf, ALL, PRACTICE, PRACTICE),
    Case("parts", "分包倒序", "每包各得 9014", _parts, ALL, _2017 + "表C.49、C.50", _2005 + "表C.6"),
    Case("twice", "重复的帧", "再次得到 9014", _twice, ALL, _2017 + "表1", PRACTICE),
    Case("text", "日志文本中的 ## 与中文", "长度按字节计，得到 9014", _text, SINCE_2017, _2017 + "6.3、表C.44"),
    Case("notice", "校时请求通知", "1013 得到 9013", _notice, SINCE_2017, _2017 + "6.6.4"),
    Case("heartbeat", "心跳", "9015 得到 9013", _heartbeat, ONLY_2025, _2025.format("", "三")),
    Case("resent", "补传标记", "RF=1 的上传得到 9014", _resent, ONLY_2025, _2025.format("8.1.2", "一")),
    Case("enciphered", "加密的数据区", "SM4 加密的上传得到 9014", _enciphered, ONLY_2025, _2025.format("6.4", "两")),
    Case("oversize", "超过 1024 字节的数据段", "其后的帧仍被接收", _oversize, ALL, _2017 + "表2", _2005 + "6.3.1"),
    Case("burst", "连续发送", f"{BURST} 帧连发，应答一个不缺、一个不多", _burst, ALL, PRACTICE, PRACTICE),
    Case("many", "多条连接", "各连接都有应答", _many, ALL, PRACTICE, PRACTICE),
    Case("requests", "服务器的请求", "格式正确，QN 17 位，MN 为本设备", _requests, ALL, _2017 + "6.3", _2005 + "6.3"),
)  # fmt: skip


async def _open(server: Server, number: int | None = None) -> Device:
    """A connection; with a number that of another device, as no two devices share an MN."""
    if number is not None:
        mn = f"{server.mn[:-4]}{number:04d}"
        server = replace(server, mn=mn)
    async with asyncio.timeout(server.timeout):
        return Device(server, *await asyncio.open_connection(server.host, server.port))


async def play(
    server: Server, only: Iterable[str] = (), report: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Every case (or only those named), one after the other; `report` hears of each as it ends.

    Raises OSError when the server cannot be reached at all.
    """
    (await _open(server)).writer.close()
    wanted = set(only)
    results = []
    for case in CASES:
        if not wanted or case.name in wanted:
            results.append(await _played(case, server))
            report(results[-1])
    return results


async def _played(case: Case, server: Server) -> Result:
    clause = case.clause_2005 if server.edition == 2005 else case.clause
    row = (case.title, clause, case.expected)
    if server.edition not in case.editions:
        return Result(*row, f"{server.edition} 版没有这一项", UNTESTED)
    try:
        device = await _open(server)
    except OSError as error:
        return Result(*row, f"无法连接（{str(error) or '超时'}）", FAIL)
    try:
        return Result(*row, await case.play(device), PASS)
    except Failed as error:
        return Result(*row, str(error), FAIL)
    except Untested as error:
        return Result(*row, str(error), UNTESTED)
    except OSError as error:
        return Result(*row, f"连接中断（{str(error) or '超时'}）", FAIL)
    finally:
        device.writer.close()
