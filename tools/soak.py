"""The gateway for minutes under load and misfortune, then the proof that nothing acknowledged is lost.

    tools/soak.py [--minutes 10] [--rate 2000] [--devices 2000] [--report docs/soak.md]

Runs `ceguan gateway --processes 2`, `ceguan clockwork` and `ceguan forward` on a data folder of its own. Devices send
numbered frames, break off, send noise, send again; gateway processes, their parent and the clockwork are killed with -9
and started anew, the gateway is reloaded, the target of the forwarding goes away and comes back. In the last part
nobody is killed, so that memory can be seen to stay flat. Exits 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

BEIJING = timezone(timedelta(hours=8))
ANSWER_SECONDS = 10.0
CALM = 0.4
"""The last part of the time, in which nobody is killed."""


class Device:
    """Sends frame n when second n has come, until it is answered; remembers how often it sent it."""

    def __init__(self, number: int, port: int, begun: int, seconds: int, chance: random.Random) -> None:
        self.mn, self.port, self.begun = f"SOAK{number:010d}", port, begun
        self.sends, self.answered = bytearray(seconds + 2), bytearray(seconds + 2)
        self.ends = Counter[str]()
        self.told_to_stop = False
        self._chance = chance
        self._offset = chance.random()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, until: float) -> None:
        from ceguan.intake.hj212.frame import encode

        n = 0
        while (due := self.begun + n + self._offset) < until and not self.told_to_stop:
            await asyncio.sleep(max(0.0, due - time.time()))
            stamp = f"{datetime.fromtimestamp(self.begun + n, BEIJING):%Y%m%d%H%M%S}"
            value = {"a21026": {"Rtd": f"{20 + n % 60}.{n % 10}", "Flag": "N"}}
            frame = encode(st="31", cn="2011", mn=self.mn, pw="123456", flag=5, qn=f"{stamp}000", datatime=stamp,
                           factors=value)  # fmt: skip
            while not self.answered[n]:
                await self._send(n, frame)
            n += 1
        await self._hang_up()

    async def _send(self, n: int, frame: bytes) -> None:
        """One attempt, with the misfortune of the field."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
            await self._misfortune(frame)
            if self._writer is None:
                return
            self.sends[n] = min(255, self.sends[n] + 1)
            self._writer.write(frame)
            if self._chance.random() < 0.002:  # breaks off before the answer
                self.ends["设备在应答前断线（次）"] += 1
                await self._writer.drain()
                await self._hang_up()
                return
            await self._await_answer(n)
            if self._chance.random() < 0.002 and self.answered[n]:  # the answer was lost: sent again
                self.ends["已应答仍重发（次）"] += 1
                self.sends[n] += 1
                self._writer.write(frame)
                await self._await_answer(n)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.ends["应答超时（次）" if isinstance(error, TimeoutError) else "连接被切断后重连重发（次）"] += 1
            await self._hang_up()
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))

    async def _misfortune(self, frame: bytes) -> None:
        assert self._writer is not None
        throw = self._chance.random()
        if throw < 0.002:
            self.ends["帧未发完即断线（次）"] += 1
            self._writer.write(frame[: self._chance.randrange(1, len(frame) - 6)])  # a frame with its checksum is whole
            await self._writer.drain()
            await self._hang_up()
        elif throw < 0.004:
            self.ends["噪声（段）"] += 1
            self._writer.write(bytes(self._chance.choices(range(256), k=40)) + b"\r\n")
        elif throw < 0.006:
            self.ends["CRC 错误的帧"] += 1
            self._writer.write(frame[:-6] + _wrong_checksum(frame[6:-6]) + b"\r\n")

    async def _await_answer(self, n: int) -> None:
        assert self._reader is not None
        line = await asyncio.wait_for(self._reader.readuntil(b"\r\n"), ANSWER_SECONDS)
        at = line.find(b"QN=")
        when = datetime.strptime(line[at + 3 : at + 17].decode(), "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
        self.answered[int(when.timestamp()) - self.begun] = 1

    async def _hang_up(self) -> None:
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()


class Target:
    """Where the forwarded frames go: answers, except when it is away; remembers what it has answered."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.outages = 0
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def come(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def go(self) -> None:
        assert self._server is not None
        self.outages += 1
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from ceguan.intake.hj212.answers import answer_to
        from ceguan.intake.hj212.frame import decode

        self._writers.add(writer)
        try:
            while True:
                frame = decode(await reader.readuntil(b"\r\n"))
                if frame.ok and (answer := answer_to(frame)):
                    self.seen.add((frame.mn or "", frame.datatime or ""))
                    writer.write(answer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()


class Keeper:
    """What systemd does: starts a command again when it has fallen, and asks what it leaves behind to end.

    `command`: if it is no verb of ours; `log`: the name of its log, if not the verb's.
    """

    def __init__(
        self,
        data: Path,
        *arguments: str,
        logs: Path | None = None,
        log: str = "",
        command: list[str] | None = None,
        **environ: str,
    ) -> None:
        self.falls, self._command = 0, command or [sys.executable, "-m", "ceguan", *arguments]
        self._environ = os.environ | {"CEGUAN_DATA": str(data), "PYTHONPATH": str(ROOT)} | environ
        self._log = open((logs or data) / f"{log or arguments[0]}.log", "ab")  # noqa: SIM115  as long as we live
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        return subprocess.Popen(
            self._command, env=self._environ, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def mind(self) -> None:
        if self.process.poll() is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self.falls += 1
            self.process = self._start()

    def stop(self, seconds: float) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(seconds)


class Soak:
    """One run."""

    def __init__(self, args: argparse.Namespace, data: Path) -> None:
        self.args, self.data = args, data
        self.seconds = int(args.minutes * 60)
        self.chance = random.Random(args.seed)
        self.port = free_port()
        self.samples: list[dict[str, Any]] = []
        self.behind: list[float] = []
        self.deeds: Counter[str] = Counter()
        self.target = Target()
        self.found: dict[str, Any] = {}
        self.load = os.getloadavg()[1]

    async def run(self) -> None:
        self.gateway = Keeper(self.data, "gateway", "--processes", "2", "--port", str(self.port))
        self.clockwork = Keeper(self.data, "clockwork")
        self.forward = Keeper(self.data, "forward")
        keepers = (self.gateway, self.clockwork, self.forward)
        try:
            await self.target.come()
            while not self.serving():
                await asyncio.sleep(0.2)
            begun = int(time.time())
            until = begun + self.seconds
            self.devices = [
                Device(n, self.port, begun, self.seconds, random.Random(n)) for n in range(self.args.devices)
            ]
            watch = asyncio.create_task(self._watch(keepers))
            plague = asyncio.create_task(self._plague(begun + self.seconds * (1 - CALM)))
            await asyncio.gather(*(device.run(until) for device in self.devices))
            plague.cancel()
            self.found["停止发送后时钟追平所用（秒）"] = await self._caught_up()
            await self._forwarded()
            watch.cancel()
        finally:
            for keeper in keepers:
                keeper.stop(30)

    def beat(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.data / "gateway.json").read_text()))
        except (OSError, ValueError):
            return {}

    def serving(self) -> list[int]:
        return [one["pid"] for one in self.beat().get("processes", ()) if not one["draining"] and lives(one["pid"])]

    def _behind(self) -> float:
        """Bytes of the archive that the clockwork has not taken in yet, in MB."""
        from ceguan.store import Store

        return Store(self.data).backlog() / 2**20

    async def _watch(self, keepers: tuple[Keeper, ...]) -> None:
        """Every second: start what fell; every other one look at memory, descriptors and backlog."""
        while True:
            for keeper in keepers:
                keeper.mind()
            lines = {one["pid"]: one["connections"] for one in self.beat().get("processes", ())}
            self.behind.append(self._behind())
            for pid in [*self.serving(), self.gateway.process.pid]:
                size = memory(pid)
                if size is not None:
                    self.samples.append({"at": time.time(), "pid": pid, "rss": size, "files": files(pid),
                                         "connections": lines.get(pid, 0)})  # fmt: skip
            await asyncio.sleep(1)

    async def _plague(self, until: float) -> None:
        """Kill, reload and cut off at random until the calm begins."""
        deeds = {"process": 8, "reload": 3, "parent": 2, "clockwork": 2, "target": 3}
        pause = max(1.5, self.seconds / 60)
        while time.time() < until - pause:
            await asyncio.sleep(self.chance.uniform(0.5, 1.5) * pause)
            deed = self.chance.choices(list(deeds), list(deeds.values()))[0]
            self.deeds[deed] += 1
            if deed == "process" and (pids := self.serving()):
                kill(self.chance.choice(pids), signal.SIGKILL)
            elif deed == "reload":
                kill(self.gateway.process.pid, signal.SIGHUP)
            elif deed == "parent":
                kill(self.gateway.process.pid, signal.SIGKILL)
            elif deed == "clockwork":
                kill(self.clockwork.process.pid, signal.SIGKILL)
            elif deed == "target":
                await self.target.go()
                await asyncio.sleep(self.chance.uniform(0.5, 1.0) * pause)
                await self.target.come()

    async def _caught_up(self) -> float:
        """Seconds until the clockwork has taken in everything, at most five minutes."""
        start = time.time()
        while time.time() - start < 300 and self._behind():
            await asyncio.sleep(0.5)
        return time.time() - start

    async def _forwarded(self) -> None:
        """Wait for what is due to the target, at most two minutes."""
        chosen = self.devices[: self.args.forwarded]
        start = time.time()
        while time.time() - start < 120 and len(self.target.seen) < sum(sum(device.answered) for device in chosen):
            await asyncio.sleep(0.5)

    def prove(self) -> list[str]:
        """What is broken; fills `found`."""
        from ceguan.intake.hj212.frame import quick_head
        from ceguan.store import RecordKind, Store, archive

        begun = {device.mn: device for device in self.devices}
        kept = {device.mn: bytearray(len(device.sends)) for device in self.devices}
        kinds: Counter[str] = Counter()
        strays = 0
        for record in archive.read(self.data / "archive"):
            kinds[record.kind.name] += 1
            if record.kind != RecordKind.FRAME:
                continue
            head = quick_head(record.payload)
            device = begun.get(head.mn or "")
            if device is None or not head.qn:
                strays += 1
                continue
            when = datetime.strptime(head.qn[:14], "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
            kept[device.mn][int(when.timestamp()) - device.begun] += 1
        pairs = [
            (sent, answered, have)
            for device in self.devices
            for sent, answered, have in zip(device.sends, device.answered, kept[device.mn], strict=True)
            if sent
        ]
        days = Store(self.data).device_days("2000-01-01", "2999-12-31").to_pylist()
        chosen = {d.mn for d in self.devices[: self.args.forwarded]}
        due = sum(have > 0 for mn in chosen for have in kept[mn])
        self.found |= {
            "编号的帧": len(pairs),
            "发送次数": sum(sent for sent, _, _ in pairs),
            "已应答的帧": sum(answered for _, answered, _ in pairs),
            "归档中的好帧": kinds["FRAME"],
            "归档中的坏帧（段）": kinds["BAD"],
            "已应答而不在归档中的帧": sum(answered and not have for _, answered, have in pairs),
            "归档次数多于发送次数的帧": sum(have > sent for sent, _, have in pairs),
            "因重发而归档多次的帧": sum(have > 1 for _, _, have in pairs),
            "时钟计数的帧": sum(day["frames"] for day in days),
            "应转发的帧": due,
            "目标已应答的帧": len({one for one in self.target.seen if one[0] in chosen}),
        }
        found, broken = self.found, []
        for key in ("已应答而不在归档中的帧", "归档次数多于发送次数的帧"):
            if found[key]:
                broken.append(f"{key}：{found[key]}")
        if strays:
            broken.append(f"归档中有 {strays} 帧无人发送过")
        if found["时钟计数的帧"] != found["归档中的好帧"]:
            broken.append("时钟没有每帧恰好计一次")
        if found["目标已应答的帧"] < found["应转发的帧"]:
            broken.append("应转发的没有全部送达")
        return broken + self._flat()

    def _flat(self) -> list[str]:
        """Memory and descriptors of each process in the calm: the slope of a line through them."""
        calm = max(sample["at"] for sample in self.samples) - self.seconds * CALM * 0.8
        slopes, growth = [], []
        for pid in {sample["pid"] for sample in self.samples if sample["at"] > calm}:
            mine = [s for s in self.samples if s["pid"] == pid and s["at"] > calm]
            if mine[-1]["at"] - mine[0]["at"] < self.seconds * CALM / 2:
                continue
            slopes.append(slope([(s["at"], s["rss"]) for s in mine]) * 60)
            growth.append(slope([(s["at"], s["files"] - s["connections"]) for s in mine]) * 60)
        self.found["内存斜率（MB/分钟，平静期各进程中最大）"] = max(slopes, default=0.0)
        self.found["描述符斜率（个/分钟，扣除连接，平静期最大）"] = max(growth, default=0.0)
        self.found["时钟落后：最大（MB）"] = max(self.behind)
        self.found["时钟落后：平静期中位数（MB）"] = statistics.median(self.behind[-int(self.seconds * CALM / 2) :])
        self.found["单个进程内存最高（MB）"] = max(sample["rss"] for sample in self.samples)
        if self.seconds >= 300 and self.found["内存斜率（MB/分钟，平静期各进程中最大）"] > 3:
            return ["内存不平"]
        return []


def _wrong_checksum(segment: bytes) -> bytes:
    """Digits that are wrong in every dialect."""
    from ceguan.intake.hj212 import crc

    return next(digits for digits in (b"0000", b"FFFF", b"5555", b"AAAA") if crc.dialect_of(segment, digits) is None)


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line of least squares, per second."""
    x0, y0 = (sum(column) / len(points) for column in zip(*points, strict=True))
    across = sum((x - x0) ** 2 for x, _ in points)
    return sum((x - x0) * (y - y0) for x, y in points) / across if across else 0.0


def memory(pid: int) -> float | None:
    """Resident MB; None when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return None


def files(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def lives(pid: int) -> bool:
    return memory(pid) is not None


def kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def prepare(data: Path, devices: int, forwarded: int, target_port: int) -> None:
    """A business database with one point and one adopted device for each of ours, and one forwarding target."""
    os.environ["CEGUAN_DATA"] = str(data)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ceguan.django_settings")
    import django

    django.setup()
    from django.core.management import call_command

    from ceguan.intake.models import ForwardTarget
    from ceguan.registry.models import Device as Registered
    from ceguan.registry.models import Point, Region, Series

    call_command("migrate", verbosity=0)
    region = Region.objects.create(code="99", name_zh="试验", name_en="Soak")
    points = Point.objects.bulk_create(
        Point(code=f"S{n}", name_zh=f"试验{n}", kind="gas_outlet", region=region, lon=104.3, lat=35.2,
              live_from=date(2026, 1, 1))
        for n in range(devices)
    )  # fmt: skip
    Series.objects.bulk_create(
        Series(point=point, factor="a21026", name_zh="二氧化硫", unit="mg/m³", order=0) for point in points
    )
    Registered.objects.bulk_create(
        Registered(mn=f"SOAK{n:010d}", point=point, password="123456", units={"a21026": "mg/m³"}, fill_gaps=False)
        for n, point in enumerate(points)
    )
    now = datetime.now(UTC)
    ForwardTarget.objects.create(
        name="试验平台", host="127.0.0.1", port=target_port, devices={f"SOAK{n:010d}": "" for n in range(forwarded)},
        cns=["2011"], since=now, changed_at=now,
    )  # fmt: skip


def report(soak: Soak, broken: list[str]) -> str:
    args, found = soak.args, soak.found
    deeds = {
        "process": "网关进程 kill -9", "parent": "网关父进程 kill -9", "clockwork": "时钟 kill -9",
        "reload": "重新加载（SIGHUP）", "target": "转发目标中断",
    }  # fmt: skip
    ends = sum((device.ends for device in soak.devices), Counter[str]())
    rows = [(f"{deeds[name]}（次）", count) for name, count in sorted(soak.deeds.items())]
    rows += sorted(ends.items())
    rows += [(name, f"{value:,.2f}" if isinstance(value, float) else f"{value:,}") for name, value in found.items()]
    table = "".join(f"| {name} | {value} |\n" for name, value in rows)
    verdict = (
        "、".join(broken)
        if broken
        else "每一条承诺都成立：已应答的帧全部在归档中，没有一帧多于发送次数，时钟每帧只计一次。"
    )
    return (
        "# 长时间试验 Soak\n\n"
        f"`make soak MINUTES={args.minutes:g}`，{datetime.now(BEIJING):%Y-%m-%d %H:%M}（北京时间），"
        f"{os.cpu_count()} 核共用的虚拟机，试验前的负载 {soak.load:.1f}；"
        f"网关 2 个进程、时钟、转发和 {args.devices} 台设备"
        f"（各每秒一帧，合计 {args.devices} 帧/秒）同在一台机器上，其中 {args.forwarded} 台向一个目标转发。"
        f"前 {100 - int(CALM * 100)} % 的时间里随机杀进程、重新加载、断开目标，其后只有断线、噪声和重发。\n\n"
        f"{verdict}\n\n"
        "| 量 | 值 |\n|---|---|\n" + table
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--devices", type=int, default=2000, help="each sends one frame a second")
    parser.add_argument("--forwarded", type=int, default=20, help="of so many the frames are forwarded")
    parser.add_argument("--seed", type=int, default=212)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--keep", action="store_true", help="leave the data folder and its logs")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    data = Path(tempfile.mkdtemp(prefix="ceguan-soak-"))
    soak = Soak(args, data)
    prepare(data, args.devices, args.forwarded, soak.target.port)
    asyncio.run(soak.run())
    broken = soak.prove()
    text = report(soak, broken)
    print(text)
    if args.report:
        args.report.write_text(text, encoding="utf-8")
    if not (args.keep or broken):
        shutil.rmtree(data)
    else:
        print(data)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
