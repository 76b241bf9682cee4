"""What goes wrong between a device and a platform, by name: on the line, in the device's time, in what it measures."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from ceguan.intake.hj212 import crc
from ceguan.simulate.hj212.values import VALUE_FAULTS


class Kind(NamedTuple):
    """`each`: what the share counts – frame, upload or device; `share`: the usual one."""

    name: str
    each: str
    share: float
    sentence: str


FAULTS = {
    one.name: one
    for one in (
        Kind("disconnect", "frame", 0.02, "帧发到一半断开连接"),
        Kind("noise", "frame", 0.1, "帧前夹杂字节"),
        Kind("bad-crc", "frame", 0.05, "CRC 错误（等不到应答后重发正确的）"),
        Kind("wrong-length", "frame", 0.05, "长度不符（等不到应答后重发正确的）"),
        Kind("glued", "frame", 0.3, "与下一帧粘在一起发出"),
        Kind("split", "frame", 0.3, "一帧分几次发出"),
        Kind("duplicates", "frame", 0.1, "同一帧发两遍"),
        Kind("no-crlf", "frame", 0.1, "帧尾缺 CR LF"),
        Kind("lower-crc", "frame", 0.3, "CRC 用小写字母"),
        Kind("gbk", "frame", 0.2, "数据区含 GBK 汉字"),
        Kind("parts", "upload", 0.3, "分包发送"),
        Kind("late", "upload", 0.1, "晚一段时间才发（2025 版带 RF=1）"),
        Kind("gaps", "upload", 0.1, "漏发（历史数据请求可以补到）"),
        Kind("modbus", "device", 1.0, "CRC 用 MODBUS 算法"),
        Kind("swapped", "device", 1.0, "CRC 用 MODBUS 算法且高低字节颠倒"),
        Kind("clock-drift", "device", 1.0, "时钟越走越快，每小时快一分钟，校时后归零"),
        Kind("silent", "device", 0.2, "过一阵不再发数据，也不应答"),
        Kind("over-limit", "device", 0.3, "一个因子超标"),
        Kind("constant", "device", 0.3, "一个因子恒定不变"),
        Kind("spikes", "device", 0.3, "一个因子每刻钟突跳一次"),
    )
}
_JUNK = (b"AT+CIPSEND\r\n", b"\x00\xff\xfe\x7e", b"GET / HTTP/1.1\r\n\r\n", b"###", b"&&1C80\r\n")
_REMARK = ",Info=//正常运行//".encode("gb18030")
_DRIFT = 60 / 3600


class FaultError(ValueError):
    """The list of faults cannot be read; the message names the fault and what would be valid."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Shares by name; what is not named does not happen."""

    shares: dict[str, float] = field(default_factory=dict)

    def of_device(self, chance: random.Random) -> Faults:
        """What befalls one device: faults of devices are drawn now (then with share 1), the others stay shares."""
        drawn = {
            name: 1.0 if FAULTS[name].each == "device" else share
            for name, share in self.shares.items()
            if FAULTS[name].each != "device" or chance.random() < share
        }
        return Faults(drawn)

    def happens(self, name: str, chance: random.Random) -> bool:
        share = self.shares.get(name, 0.0)
        return share > 0 and chance.random() < share

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(name for name in VALUE_FAULTS if name in self.shares)

    @property
    def dialect(self) -> str:
        if "modbus" in self.shares:
            return crc.MODBUS
        return crc.MODBUS_SWAPPED if "swapped" in self.shares else crc.HJ212

    def ahead(self, seconds: float) -> float:
        """By how much a clock set right so long ago is fast [s]."""
        return seconds * _DRIFT if "clock-drift" in self.shares else 0.0


def parse(text: str) -> Faults:
    """ "bad-crc:0.2,late,all" → shares; `all` is every fault in its usual share. Raises FaultError."""
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, share = part.partition(":")
        if name == "all":
            shares = {**{one.name: one.share for one in FAULTS.values() if one.name != "swapped"}, **shares}
            continue
        if name not in FAULTS:
            raise FaultError(f"没有名为 {name} 的故障；可用：all、{'、'.join(FAULTS)}")
        if colon and not re.fullmatch(r"0?\.\d+|[01](\.0*)?", share):
            raise FaultError(f"故障 {name} 的比例须在 0 到 1 之间，得到 {share!r}")
        shares[name] = float(share) if colon else FAULTS[name].share
    return Faults(shares)


class Sending(NamedTuple):
    """How a frame leaves: pieces, each by itself; then perhaps the connection breaks, or it waits for the next one."""

    pieces: list[bytes]
    broken: bool = False
    held: bool = False


def on_the_line(frame: bytes, faults: Faults, chance: random.Random) -> Sending:
    """The frame as the line passes it on."""
    if not faults.shares:
        return Sending([frame])
    if faults.happens("gbk", chance):
        frame = _remarked(frame, faults.dialect)
    if faults.happens("bad-crc", chance):
        frame = frame[:-6] + (b"0000" if frame[-6:-2] != b"0000" else b"FFFF") + b"\r\n"
    elif faults.happens("lower-crc", chance):
        frame = frame[:-6] + frame[-6:-2].lower() + b"\r\n"
    if faults.happens("wrong-length", chance):
        frame = b"##%04d" % (int(frame[2:6]) + chance.choice((-7, 5))) + frame[6:]
    if faults.happens("no-crlf", chance):
        frame = frame[:-2]
    if faults.happens("disconnect", chance):
        return Sending([frame[: chance.randrange(1, len(frame))]], broken=True)
    if faults.happens("noise", chance):
        frame = chance.choice(_JUNK) + frame
    if faults.happens("duplicates", chance):
        frame += frame
    if faults.happens("split", chance):
        cuts = sorted(chance.randrange(1, len(frame)) for _ in range(chance.randrange(1, 4)))
        return Sending([frame[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True) if a < b])
    return Sending([frame], held=faults.happens("glued", chance))


def _remarked(frame: bytes, dialect: str) -> bytes:
    """The frame with a remark in GBK at the end of its data area; one without readable area stays as it is."""
    end = 6 + int(frame[2:6])
    segment = frame[6:end]
    if b"-Flag=" not in segment or not segment.endswith(b"&&"):
        return frame
    code = segment[: segment.rindex(b"-Flag=")].rpartition(b";")[2].split(b",")[-1]
    longer = segment[:-2] + _REMARK.replace(b"Info", code + b"-Info") + b"&&"
    return b"##%04d%b%b\r\n" % (len(longer), longer, crc.checksum(longer, dialect))
