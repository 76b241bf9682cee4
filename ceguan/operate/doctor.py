"""`ceguan doctor`: looks at a deployment and says what is wrong and what to do; changes nothing.

Each check is one function of the settings that yields what it found. A check that itself falls is a finding, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import shutil
import socket
import stat
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ceguan import operate, settings
from ceguan.operate import supervise
from ceguan.pulse import COLLECT, GATEWAY, RELAY, clock_synchronised, pulse
from ceguan.settings import SUPERSEDED, Settings


class Level(IntEnum):
    """Also the exit code."""

    GOOD, WARN, BAD = range(3)


MARKS = {Level.GOOD: "好", Level.WARN: "注意", Level.BAD: "不行"}
SYNCS = 20
SLOW_SYNC, VERY_SLOW_SYNC = 0.010, 0.050
"""Seconds of one fsync: the gateway syncs once for each group, every answer waits for it. Bounds of the platform."""
LARGE_BACKLOG = 256 << 20
OLDEST_POSTGRES = 140000
NATS_PORT = 4222
COMMON = 200
"""Descriptors beside those of connections."""


class Found(NamedTuple):
    """`do`: what the operator should do, "" when nothing."""

    level: Level
    what: str
    said: str
    do: str = ""


Check = Callable[[Settings], Iterator[Found]]


def add_parser(verbs: Any) -> None:
    text = "检查部署：哪里不对、怎么办；退出码 0 好、1 有要注意的、2 有不行的"
    parser = verbs.add_parser("doctor", help=text, description=text)
    parser.add_argument("--json", action="store_true", help="每项一行 JSON")
    parser.set_defaults(run=run, anywhere=True)


def run(args: argparse.Namespace) -> int:
    """The worst level found."""
    try:
        values = settings.load()
    except settings.SettingError as error:
        return _show([Found(Level.BAD, "设置", str(error), "改正 ceguan.toml 或环境变量")], args.json)
    return _show(list(examine(values)), args.json)


def examine(values: Settings) -> Iterator[Found]:
    """All that all checks find."""
    reached = True
    for check in CHECKS:
        if check in STORED and not reached:
            continue
        try:
            for found in check(values):
                reached = reached and not (check is _database and found.level == Level.BAD)
                yield found
        except Exception as error:  # the doctor must live to tell
            yield Found(
                Level.BAD, check.__name__.strip("_"), f"检查本身失败：{type(error).__name__}：{error}", "请报告"
            )


def _show(found: list[Found], as_json: bool) -> int:
    for one in found:
        if as_json:
            print(json.dumps(one._asdict() | {"level": one.level.name.lower()}, ensure_ascii=False))
        else:
            print(f"[{MARKS[one.level]}] {one.what}：{one.said}" + (f"\n      → {one.do}" if one.do else ""))
    worst = max((one.level for one in found), default=Level.GOOD)
    if not as_json:
        print(f"共 {len(found)} 项，{MARKS[worst]}")
    return int(worst)


# ── this machine ──────────────────────────────────────────────────────────────────────────────────────────────────


def _folder(values: Settings) -> Iterator[Found]:
    if not values.folder.is_dir():
        yield Found(Level.BAD, "数据目录", f"没有 {values.folder}", "设 CEGUAN_DATA，再运行 ceguan setup")
        return
    if problem := settings.unfinished():
        yield Found(Level.BAD, "恢复", problem, "在此之前各命令都不在这个目录上工作")
    if not os.access(values.folder, os.W_OK):
        yield Found(
            Level.BAD, "数据目录", f"{values.folder} 不可写", f"把目录给运行平台的用户：chown -R ceguan {values.folder}"
        )
        return
    mode = stat.S_IMODE(values.folder.stat().st_mode)
    if mode & stat.S_IRWXO:
        yield Found(Level.WARN, "数据目录", f"其他用户可访问 {values.folder}（{mode:o}）", f"chmod 750 {values.folder}")
    else:
        yield Found(Level.GOOD, "数据目录", str(values.folder))
    for name in ("secret.key", "ceguan.toml"):
        path = values.folder / name
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            secret = name == "secret.key" or "database_url" in path.read_text(errors="replace")
            level = Level.BAD if secret else Level.GOOD
            yield Found(level, name, "别的用户可读" if secret else "不含秘密", f"chmod 600 {path}" if secret else "")
    if not (values.folder / "secret.key").is_file():
        yield Found(Level.WARN, "secret.key", "还没有", "ceguan setup 会建立；几台机器共用一个库时，须是同一个文件")


def _disk(values: Settings) -> Iterator[Found]:
    disk = shutil.disk_usage(_existing(values.folder))
    free = 100 * disk.free / disk.total
    said = f"剩 {disk.free / 1e9:.1f} GB（{free:.0f}%）"
    if free < values.disk_low_percent:
        level = Level.BAD if free < 2 else Level.WARN
        yield Found(level, "磁盘", said, "清理或扩容：写满后网关停止应答，设备会补发")
    else:
        yield Found(Level.GOOD, "磁盘", said)
    if os.access(_existing(values.folder), os.W_OK):
        yield _sync_time(_existing(values.folder))


def _sync_time(folder: Path) -> Found:
    """The median of a few syncs of 4 kB each."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(SYNCS):
            file.write(b"\0" * 4096)
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begin)
    middle = statistics.median(took)
    said = f"中位 {1000 * middle:.1f} 毫秒，最长 {1000 * max(took):.1f} 毫秒（{SYNCS} 次）"
    if middle > SLOW_SYNC:
        level = Level.BAD if middle > VERY_SLOW_SYNC else Level.WARN
        return Found(level, "落盘（fdatasync）", said, "数据目录应在带断电保护的 SSD 上；网络盘、虚拟盘请查缓存策略")
    return Found(Level.GOOD, "落盘（fdatasync）", said)


def _clock(values: Settings) -> Iterator[Found]:
    synchronised = clock_synchronised()
    if values.demo_clock:
        yield Found(Level.WARN, "时钟", "平台用演示时钟", "正式运行时去掉 CEGUAN_DEMO_CLOCK")
    elif synchronised:
        yield Found(Level.GOOD, "时钟", "已与时间源同步")
    elif synchronised is None:
        yield Found(Level.WARN, "时钟", "问不到内核是否同步", "确认本机用 NTP（chrony、systemd-timesyncd）")
    else:
        yield Found(Level.WARN, "时钟", "没有与时间源同步", "启用 chrony 或 systemd-timesyncd：判定和时限都用这个时钟")


def _descriptors(values: Settings) -> Iterator[Found]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = values.gateway_max_connections + COMMON
    if hard < wanted:
        do = f"ulimit -Hn 或 systemd 的 LimitNOFILE 调到 {wanted} 以上，或调小 gateway_max_connections"
        yield Found(Level.WARN, "文件描述符", f"上限 {hard}，网关每进程要 {wanted}", do)
    else:
        yield Found(Level.GOOD, "文件描述符", f"上限 {hard}")


def _ports(values: Settings) -> Iterator[Found]:
    """A port that answers while our process lives is ours; one that answers otherwise is somebody else's."""
    real = time.time()
    gateway = pulse(values.folder / GATEWAY, real).alive
    serving = pulse(values.folder / supervise.HEARTBEAT, real).alive
    for name, host, port, ours in (
        ("网关端口", values.gateway_host, values.gateway_port, gateway),
        ("网页端口", values.web_host, values.web_port, serving),
    ):
        near = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  compared, not bound
        with socket.socket(socket.AF_INET6 if ":" in near else socket.AF_INET) as probe:
            probe.settimeout(2)
            answers = probe.connect_ex((near, port)) == 0
        if ours and not answers:
            yield Found(Level.BAD, name, f"{host}:{port} 没有人接听，而进程在运行", "看 logs 里的日志")
        elif answers and not ours:
            said = f"{host}:{port} 有进程接听，但它不是 ceguan serve 或本目录的网关"
            yield Found(Level.WARN, name, said, "由 systemd 单独运行网页时正常；否则换端口")
        else:
            yield Found(Level.GOOD, name, f"{host}:{port} {'在接听' if answers else '空闲'}")


def _processes(values: Settings) -> Iterator[Found]:
    real = time.time()
    names = {GATEWAY: "网关", "clockwork.json": "时钟", COLLECT: "收集", RELAY: "转送"}
    for file, name in names.items():
        found = pulse(values.folder / file, real)
        problem = found.said.get("problem") or ("这一步失败" if found.said.get("failing") else "")
        if found.state == "stalled":
            yield Found(Level.BAD, name, f"进程在，心跳停了 {found.age:.0f} 秒", "看它的日志，必要时重新启动")
        elif found.alive and problem:
            yield Found(Level.BAD, name, problem, "看它的日志")
        elif found.alive:
            yield Found(Level.GOOD, name, "运行中")
        elif found.state == "stopped":
            yield Found(
                Level.WARN, name, f"没有运行，最近心跳 {found.age:.0f} 秒前", "ceguan serve，或 systemctl start"
            )


# ── databases ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _database(values: Settings) -> Iterator[Found]:
    moved = values.folder / SUPERSEDED
    if moved.is_file():
        said = json.loads(moved.read_text())
        if said["state"] == "moving":
            do = "接着做：ceguan migrate-store --to …；或放弃：ceguan migrate-store --cancel"
            yield Found(Level.BAD, "数据迁移", f"迁往 {said['to']} 没有做完，业务库已冻结", do)
        elif not values.database_url:
            yield Found(
                Level.BAD,
                "数据库",
                f"数据已迁往 {said['to']}，设置 database_url 却是空的",
                "在 ceguan.toml 里设 database_url",
            )
            return
    if values.database_url:
        yield from _postgres(values.database_url)
    elif not (values.folder / "business.db").is_file():
        yield Found(Level.BAD, "业务库", "还没有建立", "ceguan setup")
    if not (values.folder / "secret.key").is_file() and values.database_url:
        yield Found(Level.BAD, "secret.key", "还没有，未再查业务库", "ceguan setup；或从共用此库的机器复制")


def _postgres(url: str) -> Iterator[Found]:
    import psycopg

    try:
        link = psycopg.connect(url, connect_timeout=5)
    except psycopg.Error as error:
        yield Found(
            Level.BAD, "PostgreSQL", f"连不上：{str(error).strip()}", "查地址、口令（PGPASSFILE）、pg_hba.conf、防火墙"
        )
        return
    with link:
        version = link.info.server_version
        level = Level.GOOD if version >= OLDEST_POSTGRES else Level.BAD
        yield Found(level, "PostgreSQL", f"版本 {version // 10000}", "" if level == Level.GOOD else "升级到 14 以上")
        if (encoding := link.info.parameter_status("server_encoding")) != "UTF8":
            yield Found(Level.BAD, "PostgreSQL 编码", str(encoding), "建 UTF8 的库：CREATE DATABASE … ENCODING 'UTF8'")
        row = link.execute(
            """SELECT datcollate, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                      current_setting('fsync'), current_setting('synchronous_commit'),
                      current_setting('full_page_writes')
               FROM pg_database WHERE datname = current_database()"""
        ).fetchone()
        assert row is not None
        collation, superuser, fsync, commit, pages = row
        yield Found(Level.GOOD, "PostgreSQL 排序规则", f"{collation}（平台的查询不依赖它）")
        if superuser:
            yield Found(Level.WARN, "PostgreSQL 用户", "是超级用户，绕得过只追加的触发器", "用只拥有本库的普通用户")
        for name, value in (("fsync", fsync), ("synchronous_commit", commit), ("full_page_writes", pages)):
            if value == "off":
                yield Found(
                    Level.BAD, f"PostgreSQL {name}", "off：断电会丢已提交的数据", f"postgresql.conf 里 {name} = on"
                )


def _schema(values: Settings) -> Iterator[Found]:
    operate._django()
    from django.db import Error, connection
    from django.db.migrations.executor import MigrationExecutor

    try:
        executor = MigrationExecutor(connection)
        behind = executor.migration_plan(executor.loader.graph.leaf_nodes())
        ahead = set(executor.loader.applied_migrations) - set(executor.loader.disk_migrations)
    except Error as error:
        yield Found(Level.BAD, "业务库", f"读不了：{error}", "查数据库是否在运行")
        return
    finally:
        connection.close()
    if ahead:
        yield Found(Level.BAD, "业务库", "由更新的程序写过", "升级本程序")
    elif behind:
        yield Found(Level.BAD, "业务库", f"少 {len(behind)} 步结构升级", "ceguan setup")
    else:
        yield Found(Level.GOOD, "业务库", "结构是本版本的")


def _accounts(values: Settings) -> Iterator[Found]:
    names = operate.demo_accounts()
    if not names:
        yield Found(Level.GOOD, "账号", "没有演示口令")
        return
    level = Level.WARN if values.demo or values.web_host in supervise.LOOPBACK else Level.BAD
    said = f"{len(names)} 个账号仍用公开的演示口令：{'、'.join(names)}"
    yield Found(level, "账号", said, "ceguan accounts --password 用户名")


def _sealed(values: Settings) -> Iterator[Found]:
    """secret.key opens what is sealed in the database."""
    from ceguan.intake import keys
    from ceguan.intake.models import DeviceKey

    one = DeviceKey.objects.order_by("-pk").first()
    if one is None:
        return
    try:
        keys.unseal(one.sealed)
    except keys.KeyFormError:
        do = "从建立本库的机器复制 secret.key；几台机器须用同一个"
        yield Found(Level.BAD, "secret.key", "打不开库里的设备密钥", do)
    else:
        yield Found(Level.GOOD, "secret.key", "与库相符")


# ── archive, ledger, what is outgrown ─────────────────────────────────────────────────────────────────────────────


def _archive(values: Settings) -> Iterator[Found]:
    """The end of each stream: the last sealed segment as it was sealed."""
    from ceguan.store import archive

    folder = values.folder / "archive"
    for stream in archive.streams(folder):
        try:
            sealed = archive.sealed_segments(folder, stream)
        except archive.ArchiveError as error:
            yield Found(Level.BAD, "帧归档", str(error), "在此之前网关开不了这个流，不能应答；保留现场")
            return
        if not sealed:
            continue
        path = archive.segment_path(archive.stream_folder(folder, stream), sealed[-1].segment)
        if not path.exists():
            continue  # it has left after the centre confirmed it
        if path.stat().st_size != sealed[-1].bytes:
            said = f"流 {stream} 段 {sealed[-1].segment} 的长度与封存时不同"
            yield Found(Level.BAD, "帧归档", said, "ceguan archive verify 指出第一处断裂；从备份恢复，保留现场")
            return
    yield Found(Level.GOOD, "帧归档", "各流末段与封存时相符（全链核验：ceguan archive verify）")


def _backlog(values: Settings) -> Iterator[Found]:
    from ceguan.store import Store

    backlog = Store(values.folder).backlog()
    said = f"待入台账 {backlog / 1e6:.1f} MB"
    if backlog > LARGE_BACKLOG:
        yield Found(Level.WARN, "台账", said, "时钟没有运行或跟不上：看 logs/clockwork.log")
    else:
        yield Found(Level.GOOD, "台账", said)


def _nats(values: Settings) -> Iterator[Found]:
    if values.nats_url:
        yield from asyncio.run(_ask_nats(values))


async def _ask_nats(values: Settings) -> list[Found]:
    from nats.errors import Error as NatsError
    from nats.js.errors import APIError, NotFoundError

    from ceguan.store import relay

    found = []
    for server in (one.strip() for one in values.nats_url.split(",")):
        try:
            link = await asyncio.wait_for(relay.connect(settings.load(nats_url=server), "ceguan-doctor"), 8)
        except (NatsError, OSError, TimeoutError) as error:
            do = "启动这台 NATS；三台中两台在就能用，只剩一台时转送停下等待"
            found.append(Found(Level.BAD, "NATS", f"{server} 连不上：{error or type(error).__name__}", do))
            continue
        try:
            if not found or all(one.level == Level.BAD for one in found):
                info = await link.jetstream(timeout=5).stream_info(relay.STREAM)
                found += _stream(info, values.nats_replicas)
            found.append(Found(Level.GOOD, "NATS", f"{server} 接听"))
            found.append(_syncs(server, values.nats_monitor_port))
        except NotFoundError:
            found.append(Found(Level.WARN, "NATS", "还没有归档的流", "ceguan relay 或 collect 启动时建立"))
        except (APIError, NatsError, TimeoutError) as error:
            do = "查三台的 jetstream 与 cluster 配置：多数在线才能写"
            found.append(Found(Level.BAD, "NATS JetStream", str(error) or type(error).__name__, do))
        finally:
            await link.close()
    return found


def _syncs(server: str, port: int) -> Found:
    """Whether this server syncs each write, as its monitoring port says."""
    parts = urlsplit(server)
    where = f"http://{parts.hostname}:{port}/varz"
    what, do = f"NATS 落盘 {parts.hostname}:{parts.port}", "nats.conf 的 jetstream 里须有 sync_interval: always"
    try:
        with urllib.request.urlopen(where, timeout=3) as answer:
            said = json.load(answer)
        config = said["jetstream"]["config"]
        if said["port"] != (parts.port or NATS_PORT):
            raise ValueError("应答的是另一台")
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = f"看不到：{where} {error if isinstance(error, OSError | ValueError) else '没有说'}"
        return Found(Level.WARN, what, cause, f"nats.conf 里设 http 端口（设置 nats_monitor_port）；{do}")
    if config.get("sync_always"):
        return Found(Level.GOOD, what, "每次写都落盘再应答")
    seconds = config.get("sync_interval", 0) / 1e9
    return Found(Level.BAD, what, f"每 {seconds:.0f} 秒才落盘一次：断电会丢已应答的消息", do)


def _stream(info: Any, wanted: int) -> Iterator[Found]:
    copies, storage = info.config.num_replicas or 1, str(info.config.storage)
    level = Level.GOOD if copies >= wanted else Level.BAD
    yield Found(
        level, "NATS 份数", f"{copies}", "" if copies >= wanted else f"nats stream edit：replicas 改为 {wanted}"
    )
    if "file" not in storage.lower():
        yield Found(Level.BAD, "NATS 存储", f"{storage}：重启即丢", "存储改为 file")
    late = [one.name for one in (info.cluster.replicas or ()) if not one.current] if info.cluster else []
    if late:
        yield Found(Level.WARN, "NATS 副本", f"落后：{'、'.join(late)}", "等它赶上；不赶上时查那台机器的磁盘与网络")


def _history(values: Settings) -> Iterator[Found]:
    """A file can be written to the history's place and read from it."""
    from ceguan.store import lake
    from ceguan.store.errors import HistoryError

    if not values.history_url:
        return
    name = f"doctor-{socket.gethostname()}-{os.getpid()}"
    try:
        place = lake.of(values.folder, values.history_url, 1 << 20)
        lake.probe(place, name, os.urandom(64))
    except (HistoryError, OSError) as error:
        yield Found(Level.BAD, "历史存储", str(error), "查桶、网络、AWS_ACCESS_KEY_ID 与 AWS_SECRET_ACCESS_KEY")
    else:
        yield Found(Level.GOOD, "历史存储", "写、读、删都行")


def _ray(values: Settings) -> Iterator[Found]:
    if values.compute != "ray":
        return
    from ceguan.store import compute

    try:
        nodes = compute.nodes(values)
    except Exception as error:  # Ray raises whatever it likes
        yield Found(Level.BAD, "Ray", str(error), "在头节点 ray start --head，查 ray_address")
        return
    level = Level.GOOD if nodes else Level.BAD
    yield Found(level, "Ray", f"{nodes} 个节点", "" if nodes else "各机器 ray start --address=…")


# ── what faces outward ────────────────────────────────────────────────────────────────────────────────────────────


def _outward(values: Settings) -> Iterator[Found]:
    https = values.public_url.startswith("https://")
    if https and not values.secure:
        yield Found(
            Level.BAD, "HTTPS", "public_url 是 https，secure 却没有设", "设 CEGUAN_SECURE=true：Cookie 只走 HTTPS"
        )
    elif values.secure and values.web_host not in supervise.LOOPBACK:
        do = "网页只应由反向代理访问：web_host 用回环地址，或用防火墙限制"
        yield Found(Level.WARN, "反向代理", f"secure 时网页直接监听 {values.web_host}，X-Forwarded-Proto 可被伪造", do)
    elif not values.secure and values.web_host not in supervise.LOOPBACK:
        yield Found(
            Level.WARN, "HTTPS", f"网页以明文监听 {values.web_host}", "前面放 HTTPS 反向代理，并设 CEGUAN_SECURE=true"
        )
    else:
        yield Found(Level.GOOD, "HTTPS", "经反向代理" if values.secure else "只在回环地址")
    if https and not values.allowed_hosts:
        yield Found(Level.BAD, "主机名", "allowed_hosts 是空的，经域名访问会被拒绝", "设 CEGUAN_ALLOWED_HOSTS=域名")


def _streams(values: Settings) -> Iterator[Found]:
    from ceguan.intake.hj212.processes import wrong_stream

    if (problem := wrong_stream(values.gateway_stream_base)) is not None:
        yield Found(Level.BAD, "归档流", problem, "改设置 gateway_stream_base")
    if values.nats_url and not values.database_url:
        do = "网关机器与中心须用同一个业务库，否则名单、命令、密钥各是各的：设 database_url"
        yield Found(Level.WARN, "网关机器", "有 NATS 而没有共用的 PostgreSQL", do)


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


STORED: tuple[Check, ...] = (_schema, _accounts, _sealed, _backlog)
"""Only where there is a database to ask."""
CHECKS: tuple[Check, ...] = (
    _folder, _disk, _clock, _descriptors, _ports, _processes, _database, *STORED, _archive, _streams, _nats, _history,
    _ray, _outward,
)  # fmt: skip
