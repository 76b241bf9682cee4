"""Every process of the platform is killed with -9 at random moments, under load; then the proof that nothing was lost.

    tools/kills.py [--kills 200] [--devices 20] [--seed 7] [--report docs/kills.md] [--keep]

One county: gateway (a parent, two processes), clockwork, forward, web, on SQLite. Its archive goes by relay and three
NATS nodes to a second machine (`centre.py`): collect, a clockwork on PostgreSQL, evaluation on Ray. Devices send by TCP
until they are answered, an officer writes notes and decisions on the web, recordings of past months are imported and
sealed, frames are forwarded. Each kind of process dies in turn, in an order of chance. Whoever falls is started again,
as systemd does. Exits 1 when a promise is broken: also when the two machines do not come to the same.
"""

from __future__ import annotations

import argparse
import asyncio
import calendar
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import requests

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from centre import Centre  # noqa: E402
from soak import BEIJING, Device, Keeper, Target, free_port, kill, lives, prepare  # noqa: E402

if TYPE_CHECKING:
    from ceguan.store import Store

PASSWORD = "云澜-测试-2026"
IMPORTED_DEVICES = 4
AIR = {"a21026": "μg/m³", "a21004": "μg/m³", "a21005": "mg/m³", "a05024": "μg/m³", "a34002": "μg/m³",
       "a34004": "μg/m³"}  # fmt: skip
AIR_MN = "AIR00000000001"
FORWARDED = 4
PATIENCE = 300.0
NAMES = {
    "process": "网关进程", "parent": "网关父进程", "clockwork": "时钟", "forward": "转发", "web": "网页",
    "relay": "中转（relay）", "collect": "收集（collect）", "import": "导入（hj212 import）", "sealing": "封存中的时钟",
    "centre": "中心的时钟（PostgreSQL 上）", "postgres": "PostgreSQL（主进程或一个会话）", "nats": "NATS 三节点之一",
    "ray": "Ray 工作进程（评价途中）",
}  # fmt: skip


class Officer(threading.Thread):
    """Writes notes on a finding and decisions about readings, one after the other; remembers what was confirmed."""

    def __init__(self, port: int, finding: int) -> None:
        super().__init__(daemon=True)
        self.notes: list[str] = []
        self.decisions: list[str] = []
        self.refused: Counter[str] = Counter()
        self.quit = threading.Event()
        self._base, self._finding = f"http://127.0.0.1:{port}", finding
        self._session: requests.Session | None = None
        self._number = 0

    def run(self) -> None:
        while not self.quit.wait(0.1):
            self._number += 1
            text = f"第 {self._number} 次记录"
            try:
                session = self._session or self._sign_in()
                if self._number % 3:
                    self._write(session, f"/inbox/{self._finding}/note/", {"text": text}, self.notes)
                else:
                    given = {"factor": "a21026", "kind": "hour", "start": "2026-01-01T00:00", "end": "2026-01-01T01:00"}
                    self._write(session, "/points/S0/decide/", {**given, "action": "keep", "why": text}, self.decisions)
            except requests.RequestException as error:
                self.refused[type(error).__name__] += 1

    def _write(self, session: requests.Session, path: str, given: dict[str, str], done: list[str]) -> None:
        headers = {"Referer": self._base, "X-CSRFToken": session.cookies["csrftoken"]}
        answer = session.post(self._base + path, given, headers=headers, timeout=60, allow_redirects=False)
        if answer.status_code == 302:
            done.append(given.get("text") or given["why"])
        else:
            cause = next((line.strip() for line in answer.text.splitlines() if "没有写入任何改动" in line), "没有说明")
            self.refused[f"HTTP {answer.status_code} {cause}"] += 1

    def _sign_in(self) -> requests.Session:
        session = requests.Session()
        session.get(f"{self._base}/sign-in/", timeout=60)
        headers = {"Referer": self._base, "X-CSRFToken": session.cookies["csrftoken"]}
        given = {"username": "officer", "password": PASSWORD}
        answer = session.post(f"{self._base}/sign-in/", given, headers=headers, timeout=60, allow_redirects=False)
        if answer.status_code != 302:
            raise requests.RequestException(f"sign-in: {answer.status_code}")
        self._session = session
        return session


class Recordings:
    """Past months as recordings of devices of ours, the latest first; each is imported once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.done: list[str] = []
        self.frames = self.values = 0
        self._month = datetime.now(BEIJING).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        for _ in range(3):
            self._month = before(self._month)

    def next(self, air: bool = False) -> Path:
        """A file with every hour of a month that was not there yet, of our devices or of the air station."""
        self._month = before(self._month)
        path, at, frames = self._folder / f"{self._month:%Y-%m}.bin", self._month, []
        while at.month == self._month.month:
            for n in range(1 if air else IMPORTED_DEVICES):
                values = {
                    code: 10 + (at.day * at.hour + n + k) % 80 for k, code in enumerate(AIR if air else ["a21026"])
                }
                frames.append(hourly(AIR_MN if air else f"SOAK{n:010d}", at, values))
                self.values += len(values)
            at += timedelta(hours=1)
        path.write_bytes(b"".join(frames))
        self.frames += len(frames)
        return path


def sealed_wrongly(manifest: Any) -> Iterator[str]:
    """A block of a month that was sealed again is a generation more, in a file of its own; anything else is wrong."""
    generations: dict[tuple[str, int], list[int]] = {}
    for row in manifest.to_pylist():
        generations.setdefault((row["month"], row["part"]), []).append(row["generation"])
    for (month, part), found in generations.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"{month} 块 {part} 的各代不相连：{sorted(found)}"
    for path, times in Counter(manifest["path"].to_pylist()).items():
        if times > 1:
            yield f"封存文件 {path} 列入清单 {times} 次"


def hourly(mn: str, at: datetime, values: dict[str, int]) -> bytes:
    from ceguan.intake.hj212.frame import encode

    factors = {code: {"Avg": f"{value}", "Flag": "N"} for code, value in values.items()}
    return encode(st="31", cn="2061", mn=mn, pw="123456", flag=5, factors=factors, qn=f"{at:%Y%m%d%H%M%S}000",
                  datatime=f"{at:%Y%m%d%H%M%S}")  # fmt: skip


def before(month: datetime) -> datetime:
    return (month - timedelta(days=1)).replace(day=1)


class Kills:
    """One run."""

    def __init__(self, args: argparse.Namespace, data: Path) -> None:
        self.args, self.data = args, data
        self.chance = random.Random(args.seed)
        self.port, self.web_port = free_port(), free_port()
        self.deeds: Counter[str] = Counter()
        self.target = Target()
        self.found: dict[str, Any] = {}
        self.broken: list[str] = []
        self.keepers: dict[str, Keeper] = {}
        self.logs = data / "logs"
        self.centre = Centre(data.parent / f"{data.name}-centre", self.logs)
        self.finding = 0

    # ── the platform ──────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        self.recordings = Recordings(self.data)
        self.officer = Officer(self.web_port, self.finding)
        minding = asyncio.create_task(self._mind())
        try:
            self._start()
            await self.target.come()
            await self._until(lambda: len(self._serving()) == 2, "网关没有起来")
            await self._evaluate_once()
            await self._under_load()
            await self._come_to_rest()
        finally:
            minding.cancel()
            for keeper in self.keepers.values():
                keeper.stop(60)
            await asyncio.to_thread(self.centre.stop)

    def _start(self) -> None:
        verbs = {"gateway": ("--processes", "2", "--port", str(self.port)), "clockwork": (), "forward": (), "relay": ()}
        for name, arguments in verbs.items():
            self.keepers[name] = Keeper(
                self.data, name, *arguments, logs=self.logs, CEGUAN_NATS_URL=self.centre.nats.url
            )
        self.keepers |= self.centre.keepers()
        from ceguan import settings
        from ceguan.operate.supervise import commands as of_platform

        web = of_platform(settings.load(data=str(self.data), web_port=self.web_port), "all", {})["web"]
        self.keepers["web"] = Keeper(self.data, "web", logs=self.logs, command=web)

    async def _under_load(self) -> None:
        begun = int(time.time())
        self.devices = [Device(n, self.port, begun, 7200, random.Random(n)) for n in range(self.args.devices)]
        sending = [asyncio.create_task(device.run(begun + 7200)) for device in self.devices]
        self.officer.start()
        try:
            await self._plague()
            await asyncio.sleep(2)
            for device in self.devices:
                device.told_to_stop = True
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*sending)
            self.officer.quit.set()
            await asyncio.to_thread(self.officer.join, 60)
            await self._rest_of_clockwork()
        finally:
            for task in sending:
                task.cancel()

    async def _mind(self) -> None:
        while True:
            for keeper in self.keepers.values():
                keeper.mind()
            await asyncio.sleep(0.2)

    # ── the plague ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _plague(self) -> None:
        """Each kind in turn, the order by chance, until there were enough; who was not there does not count."""
        deeds: dict[str, Callable[[], Awaitable[bool]]] = {
            "process": self._kill_process, "parent": self._kill_named("gateway"), "import": self._kill_import,
            "sealing": self._kill_sealing, "web": self._kill_web, "ray": self._kill_ray,
            "nats": self._kill_server(self.centre.kill_nats), "postgres": self._kill_server(self.centre.kill_postgres),
            **{name: self._kill_named(name) for name in ("clockwork", "forward", "relay", "collect", "centre")},
        }  # fmt: skip
        waiting: list[str] = []
        while self.deeds.total() < self.args.kills:
            if not waiting:
                waiting = self.chance.sample(list(deeds), len(deeds))
            await asyncio.sleep(self.chance.uniform(0.1, 1.5))
            name = waiting.pop()
            self.deeds[name] += await deeds[name]()

    async def _kill_process(self) -> bool:
        pids = self._serving()
        return bool(pids) and killed(self.chance.choice(pids))

    def _kill_named(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def deed() -> bool:
            return killed(self.keepers[name].process.pid)

        return deed

    async def _kill_web(self) -> bool:
        """The server or the worker that answers: either ends the other."""
        first = self.keepers["web"].process.pid
        with contextlib.suppress(psutil.NoSuchProcess):
            return killed(self.chance.choice([first, *(one.pid for one in psutil.Process(first).children())]))
        return False

    def _kill_server(self, work: Callable[[random.Random], None]) -> Callable[[], Awaitable[bool]]:
        async def deed() -> bool:
            await asyncio.to_thread(work, self.chance)
            return True

        return deed

    async def _kill_ray(self) -> bool:
        """A worker in the middle of an evaluation, which must come to the same in spite of it."""
        process = self._recompute("ray")
        hit = False
        while process.poll() is None:
            hit = hit or self.centre.ray.kill_worker()
            await asyncio.sleep(0.005)
        self.centre.note(process)
        return hit

    def _recompute(self, driver: str) -> subprocess.Popen[str]:
        """The month of the air station and five years more, so that there are parts enough to be killed at."""
        first = self.recordings.done[0]
        return self.centre.recompute(f"{first}-01", f"{int(first[:4]) + 5}-01-01", driver)

    async def _evaluate_once(self) -> None:
        """The month of the air station is taken in and judged on both machines; what it comes to in one process."""
        from ceguan.store import Store

        await self._complete(self.recordings.next(air=True))
        days = calendar.monthrange(*map(int, self.recordings.done[0].split("-")))[1]
        for store in (Store(self.data), Store(self.centre.data, database=self.centre.database)):
            await self._until(lambda store=store: store.verdicts(rule="aqi-day").num_rows >= days, "空气日没有判定")
        process = self._recompute("local")
        await asyncio.to_thread(self.centre.note, process)

    async def _kill_import(self) -> bool:
        """Begin an import, kill it once it writes or a moment before, and let another one do it to its end."""
        path = self.recordings.next()
        process = self._import(path)
        size = self._imported_bytes()
        delay, end = self.chance.choice((0.0, 0.02, 0.1)), time.monotonic() + self.chance.uniform(0.5, 30)
        while process.poll() is None and self._imported_bytes() == size and time.monotonic() < end:
            await asyncio.sleep(0.002)
        await asyncio.sleep(delay)
        done = process.poll() is None and killed(process.pid)
        process.wait()
        await self._complete(path)
        return done

    async def _complete(self, path: Path) -> None:
        process = self._import(path)
        while process.poll() is None:
            await asyncio.sleep(0.05)
        if process.returncode:
            raise RuntimeError(f"import of {path}: {process.returncode}, see {self.logs}/import.log")
        self.recordings.done.append(path.stem)

    def _import(self, path: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ceguan", "hj212", "import", str(path), "--yes"]
        environ = os.environ | {"CEGUAN_DATA": str(self.data), "PYTHONPATH": str(ROOT)}
        with (self.logs / "import.log").open("ab") as out:
            return subprocess.Popen(command, env=environ, stdout=out, stderr=out)

    def _imported_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.data.glob("archive/00[6-9]?/*.seg"))

    async def _kill_sealing(self) -> bool:
        """A clockwork that has a month to seal dies as soon as a file of the history appears or changes."""
        await self._complete(self.recordings.next())
        kill(self.keepers["clockwork"].process.pid, signal.SIGKILL)  # a new one looks for months at once
        seen, end = self._history(), time.monotonic() + 60
        while time.monotonic() < end:
            if self._history() != seen:
                await asyncio.sleep(self.chance.choice((0.0, 0.0, 0.01, 0.05)))
                return killed(self.keepers["clockwork"].process.pid)
            await asyncio.sleep(0.001)
        return False

    def _history(self) -> frozenset[str]:
        with contextlib.suppress(OSError):
            return frozenset(os.listdir(self.data / "history"))
        return frozenset()

    def _serving(self) -> list[int]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            said = json.loads((self.data / "gateway.json").read_text())
            return [one["pid"] for one in said["processes"] if not one["draining"] and lives(one["pid"])]
        return []

    def ends(self) -> Counter[str]:
        """What the devices met with."""
        return sum((device.ends for device in self.devices), Counter[str]())

    # ── rest ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Waits; what is still not there then is a broken promise, and the run goes on."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                self.broken.append(f"{PATIENCE:.0f} 秒内{otherwise}")
                return
            await asyncio.sleep(0.2)

    async def _rest_of_clockwork(self) -> None:
        from ceguan.store import Store

        store = Store(self.data)
        await self._until(lambda: store.backlog() == 0, "时钟没有追平")
        kill(self.keepers["clockwork"].process.pid, signal.SIGKILL)  # a new one looks for months at once
        await self._until(
            lambda: set(self.recordings.done) <= set(store.manifest()["month"].to_pylist()), "各月没有全部封存"
        )
        due = {(d.mn, n) for d in self.devices[:FORWARDED] for n, answered in enumerate(d.answered) if answered}
        await self._until(lambda: len(self.target.seen) >= len(due), "应转发的没有全部送达")

    async def _come_to_rest(self) -> None:
        """The gateway stops; then the other machine comes to have what this one has."""
        from ceguan.store import Store

        for name in ("gateway", "clockwork", "forward", "web"):
            self.keepers.pop(name).stop(60)
        centre = Store(self.centre.data, database=self.centre.database)
        await self._until(lambda: content(self.data) == content(self.centre.data), "另一台机器上的归档与本机不同")
        await self._until(lambda: centre.backlog() == 0, "中心的时钟没有追平")
        await self._until(lambda: judged(centre) == judged(Store(self.data)), "两台机器的判定不同")

    # ── the proof ─────────────────────────────────────────────────────────────────────────────────────────────────

    def prove(self) -> list[str]:
        """What is broken; fills `found`."""
        return [*self.broken, *self._frames(), *self._readings(), *self._centre(), *self._web(), *self._chains(),
                *self._causes(), *self._remains()]  # fmt: skip

    def _frames(self) -> Iterator[str]:
        from ceguan.intake.hj212.frame import quick_head
        from ceguan.store import RecordKind, archive

        begun = {device.mn: device for device in self.devices}
        kept, imported = Counter[tuple[str, int]](), Counter[str]()
        for record in archive.read(self.data / "archive"):
            if record.imported:
                imported[record.source] += 1
            elif record.kind == RecordKind.FRAME:
                head = quick_head(record.payload)
                when = datetime.strptime((head.qn or "")[:14], "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
                kept[head.mn or "", int(when.timestamp()) - begun[head.mn or ""].begun] += 1
        sent = {(d.mn, n): times for d in self.devices for n, times in enumerate(d.sends) if times}
        answered = {(d.mn, n) for d in self.devices for n, yes in enumerate(d.answered) if yes}
        self.found |= {
            "已应答的帧": len(answered), "归档中的帧": kept.total(), "收到的不同的帧": len(kept),
            "导入的帧": imported.total(), "转发目标已应答的帧": len(self.target.seen),
        }  # fmt: skip
        if lost := answered - kept.keys():
            yield f"已应答而不在归档中的帧：{len(lost)}"
        if more := [one for one, count in kept.items() if count > sent.get(one, 0)]:
            yield f"归档次数多于发送次数的帧：{len(more)}"
        if imported.total() != self.recordings.frames or len(imported) != self.recordings.frames:
            yield f"导入 {self.recordings.frames} 帧，归档中 {imported.total()} 帧、{len(imported)} 个出处"
        due = sum(mn in {d.mn for d in self.devices[:FORWARDED]} for mn, _ in answered)
        if len(self.target.seen) < due:
            yield f"应转发 {due} 帧，目标只应答过 {len(self.target.seen)}"

    def _readings(self) -> Iterator[str]:
        from ceguan.registry.models import Series
        from ceguan.store import Store

        store = Store(self.data)
        numbers = list(Series.objects.order_by("id").values_list("id", flat=True))
        hourly = store.readings(numbers, 2, 0, 1 << 40, versions="all").num_rows
        minutes = store.readings(numbers, 0, 0, 1 << 40, versions="all").num_rows
        counted = sum(day["frames"] for day in store.device_days("2000-01-01", "2999-12-31").to_pylist())
        table = store.manifest()
        months = set(table["month"].to_pylist())
        self.found |= {"小时读数": hourly, "实时读数": minutes, "封存的月份": len(months), "时钟计数的帧": counted}
        if hourly != self.recordings.values:
            yield f"导入 {self.recordings.values} 个小时值，台账与历史中有 {hourly}"
        yield from sealed_wrongly(table)
        if counted != self.found["归档中的帧"]:  # what is imported is no communication of a device
            yield f"归档 {self.found['归档中的帧']} 帧，时钟计了 {counted}"
        if minutes != self.found["收到的不同的帧"]:
            yield f"收到 {self.found['收到的不同的帧']} 个不同的帧，台账中有 {minutes} 个实时读数"

    def _centre(self) -> Iterator[str]:
        """The second machine, on PostgreSQL, has come to the same from the same bytes; so has whatever ran on Ray."""
        from ceguan.store import Store, first_break

        here, there = Store(self.data), Store(self.centre.data, database=self.centre.database)
        for what, mine, theirs in (
            ("读数", values(here), values(there)),
            ("判定", judged(here), judged(there)),
            ("每日计数", counted(here), counted(there)),
        ):
            self.found[f"中心的{what}"] = len(theirs)
            if mine != theirs:
                yield f"两台机器的{what}不同：{len(mine - theirs)} 项只在本机，{len(theirs - mine)} 项只在中心"
        if (broken := first_break(there.decisions())) is not None:
            yield f"中心的决定链断裂：{broken}"
        answers = Counter(self.centre.answers)
        self.found["在 Ray 上重算（次）"] = answers.total() - 1
        if len(answers) != 1 or "不一致 0 项" not in self.centre.answers[0]:
            yield f"重算的结果不同：{answers}"

    def _web(self) -> Iterator[str]:
        from ceguan.store import Store, first_break
        from ceguan.watch.models import FindingEvent

        notes = Counter(FindingEvent.objects.filter(finding=self.finding).values_list("text", flat=True))
        made = Store(self.data).decisions()
        whys = Counter(made["why"].to_pylist())
        officer = self.officer
        self.found |= {
            "网页确认的备注": len(officer.notes), "网页确认的审核决定": len(officer.decisions),
            "网页未确认的请求": officer.refused.total(),
        }  # fmt: skip
        for what, done, there in (("备注", officer.notes, notes), ("审核决定", officer.decisions, whys)):
            if lost := [text for text in done if not there[text]]:
                yield f"已确认而不在的{what}：{lost}"
            if twice := [text for text in done if there[text] > 1]:
                yield f"存了两次的{what}：{twice}"
        if (broken := first_break(made)) is not None:
            yield f"决定链断裂：{broken}"

    def _chains(self) -> Iterator[str]:
        for arguments in (["audit"], ["archive", "verify"]):
            command = [sys.executable, "-m", "ceguan", *arguments]
            environ = os.environ | {"CEGUAN_DATA": str(self.data), "PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, env=environ, capture_output=True, text=True)
            if done.returncode:
                yield f"ceguan {' '.join(arguments)}：{done.stdout}{done.stderr}"
        if content(self.data) != content(self.centre.data):
            yield "另一台机器上的归档与本机不同"

    def _causes(self) -> Iterator[str]:
        """Whoever was not killed has said in one line why it ended: a traceback is no cause."""
        for path in sorted(self.logs.glob("*.log")):
            count = path.read_text(errors="replace").count("Traceback (most recent call last)")
            if count:
                yield f"{path.name} 中有 {count} 处没有说明的出错"
        if uncaused := [what for what in self.officer.refused if "没有说明" in what]:
            yield f"网页没有说明原因的拒绝：{uncaused}"

    def _remains(self) -> Iterator[str]:
        """After the end nobody is left over but PostgreSQL, which is still asked."""
        mine = {str(self.data), str(self.centre.data)}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get("CEGUAN_DATA") in mine and process.pid != os.getpid()
                if ours and process.name() != "postgres":
                    yield f"仍在运行：{process.pid} {' '.join(process.cmdline())}"


def killed(pid: int) -> bool:
    """Whether it lived until now."""
    if not lives(pid):
        return False
    kill(pid, signal.SIGKILL)
    return True


def values(store: Store) -> frozenset[tuple[Any, ...]]:
    """Every reading in force. Of a frame kept twice it is chance which one counts first: that is left out."""
    numbers = list(range(1, 1000))
    tables = (store.readings(numbers, kind, 0, 1 << 40) for kind in (0, 2))
    columns = ("series", "kind", "ts", "value", "flag", "value_in_force")
    return frozenset(
        row for table in tables for row in zip(*(table[name].to_pylist() for name in columns), strict=True)
    )


def judged(store: Store) -> frozenset[tuple[Any, ...]]:
    """Every verdict in force."""
    table = store.verdicts()
    return frozenset(zip(*(table[name].to_pylist() for name in ("point", "rule", "ts", "outcome")), strict=True))


def counted(store: Store) -> frozenset[tuple[Any, ...]]:
    table = store.device_days("2000-01-01", "2999-12-31")
    return frozenset(zip(*(table[name].to_pylist() for name in ("mn", "day", "frames")), strict=True))


def content(data: Path) -> dict[str, str]:
    """Segments and their lists, byte for byte."""
    paths = [*data.glob("archive/*/*.seg"), *data.glob("archive/*/segments.jsonl")]
    return {str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def furnish(kills: Kills) -> None:
    """What `prepare` does, an air station, an officer, a finding to write notes on; the registers at the centre too."""
    prepare(kills.data, kills.args.devices, FORWARDED, kills.target.port)
    from django.contrib.auth.hashers import make_password
    from django.db import connections

    from ceguan.registry.models import Device as Registered
    from ceguan.registry.models import Point, Region, Series, User
    from ceguan.watch import findings

    region = Region.objects.get()
    password = make_password(PASSWORD)
    User.objects.create(username="officer", name_zh="试验", role="analyst", region=region, password=password)

    air = Point.objects.create(code="AIR", name_zh="空气站", kind="air", region=region, lon=104.3, lat=35.2,
                               live_from=date(2020, 1, 1))  # fmt: skip
    for order, (factor, unit) in enumerate(AIR.items()):
        Series.objects.create(point=air, factor=factor, name_zh=factor, unit=unit, order=order)
    Registered.objects.create(mn=AIR_MN, point=air, password="123456", units=AIR, fill_gaps=False)
    kills.centre.furnish()

    made = findings.raise_finding(Point.objects.get(code="S0"), "limit-hour:a21026", 2, "超标", "over",
                                  {"zh": "超标", "occurrence": "1"}, [], 0, 0)  # fmt: skip
    kills.finding = made.pk
    kills.logs.mkdir()
    connections.close_all()


def report(kills: Kills, broken: list[str], seconds: float) -> str:
    rows = [(f"{NAMES[name]} kill -9（次）", count) for name, count in sorted(kills.deeds.items())]
    rows += sorted((f"设备：{name}", count) for name, count in kills.ends().items())
    rows += sorted((f"网页：{name}", count) for name, count in kills.officer.refused.items())
    rows += [(name, f"{value:,}") for name, value in kills.found.items()]
    verdict = (
        "；".join(broken)
        or "每一条承诺都成立：已应答、已确认的一件不少、一件不重，各链完好；两台机器的归档逐字节相同，"
        "SQLite 与 PostgreSQL 上的读数、判定、计数相同，在 Ray 上重算的结果相同；结束后没有进程遗留。"
    )
    return (
        "# 随机杀进程 Kills\n\n"
        f"`make soak KILLS={kills.args.kills}`，{datetime.now(BEIJING):%Y-%m-%d %H:%M}（北京时间），"
        f"{os.cpu_count()} 核共用的虚拟机，用时 {seconds:.0f} 秒，随机种子 {kills.args.seed}；"
        f"{kills.args.devices} 台设备各每秒一帧。\n\n{verdict}\n\n"
        "| 量 | 值 |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--devices", type=int, default=20, help="each sends one frame a second")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--keep", action="store_true", help="leave the data folder and its logs")
    args = parser.parse_args()
    folder, begun = Path(tempfile.mkdtemp(prefix="ceguan-kills-")), time.monotonic()
    data = folder / "data"
    data.mkdir()
    kills = Kills(args, data)
    furnish(kills)
    asyncio.run(kills.run())
    broken = kills.prove()
    text = report(kills, broken, time.monotonic() - begun)
    print(text)
    if args.report:
        args.report.write_text(text, encoding="utf-8")
    if not (args.keep or broken):
        shutil.rmtree(folder)
    else:
        print(folder)
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
