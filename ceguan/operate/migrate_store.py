"""`ceguan migrate-store --to postgresql://…`: a living county moves from the files of one machine to PostgreSQL.

While everything runs, what has accumulated in the ledger is copied. Then the last step: the clockwork is stopped, the
old business database refuses to be written, the rest is copied and compared, one setting is written, and the processes
begin anew with it. The gateway acknowledges all the time: its archive does not move. Killed anywhere, the same command
goes on; until the setting is written `--cancel` leads back.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ceguan import operate, settings
from ceguan.operate.takeover import MigrateError, begin_anew, ledger_lock, replace, write_setting
from ceguan.settings import SUPERSEDED, Settings

SETTLE_SECONDS = 1.0
"""From the word that the business database freezes to the freeze: gateways finish what they are writing."""
FEW_ROWS = 20_000
MOST_PASSES = 6
BATCH = 2000
FROZEN = "业务库已冻结：正在迁往或已迁往 PostgreSQL"


def add_parser(verbs: Any) -> None:
    text = "把数据从本机的 SQLite 迁往 PostgreSQL，或把封存历史迁往别处，可中断、可接着做"
    parser = verbs.add_parser("migrate-store", help=text, description=text)
    parser.add_argument("--to", metavar="URL", help="目标：postgresql://用户@主机/库（口令放在 PGPASSFILE 指的文件里）")
    parser.add_argument(
        "--history-url", metavar="URL",
        help="把封存历史迁往何处：s3://桶/前缀?…、共享目录的路径，或空（数据目录）；运行中拷贝，逐个核对后改设置",
    )  # fmt: skip
    parser.add_argument("--cancel", action="store_true", help="放弃：在写入设置之前解除业务库的冻结")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 when moved (also: already moved), 1 when it cannot go on, 2 when called wrongly."""
    from ceguan.store.errors import LedgerError

    values = settings.load()
    try:
        if args.cancel:
            return _cancel(values)
        if args.history_url is not None:
            if args.to:
                raise MigrateError("一次只迁一样：--to 或 --history-url")
            from ceguan.operate import move_history

            move_history.move(values, args.history_url)
            return 0
        if not args.to or urlsplit(args.to).scheme not in ("postgresql", "postgres"):
            raise MigrateError("请用 --to postgresql://用户@主机/库 说明迁往何处")
        if values.database_url == args.to:
            print(f"已在用 {_safe(args.to)}，无事可做")
            return 0
        if values.database_url:
            raise MigrateError(f"本平台已在用 {_safe(values.database_url)}；本命令只从 SQLite 迁出")
        for name in ("business.db", "readings.db"):
            if not (values.folder / name).is_file():
                raise MigrateError(f"{values.folder} 里没有 {name}，没有可迁的数据")
        _move(values, args.to)
    except (MigrateError, LedgerError) as error:
        print(f"未迁移：{error}", file=sys.stderr)
        return 1
    return 0


def _move(values: Settings, url: str) -> None:
    from ceguan.store.moving import Move

    _reach(url)
    _second_database(url)
    _mark(values, url)
    _same_version()
    move = Move(values.folder / "readings.db", url, _progress())
    with contextlib.closing(move):
        for _ in range(MOST_PASSES):
            if move.catch_up() < FEW_ROWS:
                break
        print("\n台账已赶上；最后一步：停时钟、冻结业务库、抄完其余、核对。网关照常应答。", flush=True)
        began = time.monotonic()
        with ledger_lock(values.folder / "readings.db"):
            _tell(values, url, "moving")
            time.sleep(SETTLE_SECONDS)
            _freeze(values.folder / "business.db")
            rows = _business() | move.finish()
            move.close()
            _chains(values, url)
            _done(url)
            write_setting(values.folder / "ceguan.toml", "database_url", url)
            _tell(values, url, "moved")
    print(f"{len(rows)} 张表、{sum(rows.values())} 行，两边一致；留痕链与决定链完好。")
    print(f"时钟停了 {time.monotonic() - began:.1f} 秒（不含它重新启动）。设置 database_url 已写入 ceguan.toml。")
    begin_anew(values)


def _reach(url: str) -> None:
    """The target can be reached, speaks UTF-8, is new enough. Raises MigrateError."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10) as link:
            encoding = link.info.parameter_status("server_encoding")
            version = link.info.server_version
    except psycopg.Error as error:
        raise MigrateError(f"连不上 {_safe(url)}：{str(error).strip()}") from None
    if encoding != "UTF8":
        raise MigrateError(
            f"目标库的编码是 {encoding}，应为 UTF8：CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if version < 140000:
        raise MigrateError(f"PostgreSQL {version // 10000} 太旧，需要 14 或更新")


def _second_database(url: str) -> None:
    """Django knows the target as "new"."""
    operate._django()
    from django.conf import settings as django
    from django.db import connections

    from ceguan.django_settings import database

    django.DATABASES["new"] = connections.databases["new"] = connections.configure_settings(
        {"default": django.DATABASES["default"], "new": database(url)}
    )["new"]


def _mark(values: Settings, url: str) -> None:
    """The target is empty, or holds the beginning of this county's move. Raises MigrateError.

    Where a move came to its end people work: a copy of the old folder must not go over that again. Only the folder that
    was frozen for it may, when it fell before its setting was written.
    """
    import psycopg

    county = hashlib.sha256((values.folder / "secret.key").read_bytes()).hexdigest()[:32]
    with psycopg.connect(url) as link:
        found = link.execute("SELECT to_regclass('public.ceguan_move') IS NOT NULL").fetchone()
        mine = None
        if found and found[0]:
            link.execute("ALTER TABLE public.ceguan_move ADD COLUMN IF NOT EXISTS done BOOLEAN NOT NULL DEFAULT false")
            mine = link.execute("SELECT county, done FROM public.ceguan_move").fetchone()
        if mine is not None and mine[0] != county:
            raise MigrateError("目标库里是另一个平台迁移的数据；请换一个空库")
        if mine is not None and mine[1] and not _moving(values):
            raise MigrateError("本平台已迁入目标库，那里的数据比这个目录的新：设 database_url 即可使用；要另迁请用空库")
        if mine is None:
            used = link.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_schema IN ('public', 'ledger')"
            ).fetchone()
            if used and used[0]:
                raise MigrateError("目标库不是空的；请建一个空库：CREATE DATABASE ceguan ENCODING 'UTF8'")
            link.execute("CREATE TABLE public.ceguan_move (county TEXT NOT NULL, done BOOLEAN NOT NULL DEFAULT false)")
            link.execute("INSERT INTO public.ceguan_move VALUES (%s)", (county,))


def _done(url: str) -> None:
    import psycopg

    with psycopg.connect(url) as link:
        link.execute("UPDATE public.ceguan_move SET done = true")


def _moving(values: Settings) -> bool:
    """Whether this folder is in the last step of a move."""
    path = values.folder / SUPERSEDED
    return path.is_file() and json.loads(path.read_text())["state"] == "moving"


def _same_version() -> None:
    """Both business databases have the tables of this version. Raises MigrateError."""
    from django.core.management import call_command

    call_command("migrate", database="new", verbosity=0, interactive=False)
    try:
        call_command("migrate", database="default", check_unapplied=True, verbosity=0)
    except SystemExit:
        raise MigrateError("业务库是较早版本的：先运行 ceguan setup，再迁移") from None


# ── the last step ─────────────────────────────────────────────────────────────────────────────────────────────────


def _tell(values: Settings, url: str, state: str) -> None:
    """What everybody who would use the old files finds beside them."""
    text = {"to": _safe(url), "state": state, "at": time.time()}
    replace(values.folder / SUPERSEDED, json.dumps(text, ensure_ascii=False))


def _freeze(path: Path) -> None:
    """Every table of the old business database refuses to be written; its rows stay as they are."""
    with _old_business(path) as link:
        for table in _old_tables(link):
            for verb in ("INSERT", "UPDATE", "DELETE"):
                link.execute(
                    f"CREATE TRIGGER IF NOT EXISTS frozen_{table}_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{FROZEN}'); END"
                )


def _cancel(values: Settings) -> int:
    path = values.folder / SUPERSEDED
    if values.database_url or (path.is_file() and not _moving(values)):
        raise MigrateError("已经迁走，不能放弃：旧文件里没有迁移之后的数据")
    with _old_business(values.folder / "business.db") as link:
        for (name,) in link.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            if name.startswith("frozen_"):
                link.execute(f"DROP TRIGGER {name}")
    path.unlink(missing_ok=True)
    print("已放弃迁移：业务库恢复可写，目标库可以删除")
    return 0


@contextlib.contextmanager
def _old_business(path: Path) -> Iterator[Any]:
    import sqlite3

    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as link:
        link.execute("BEGIN IMMEDIATE")
        yield link
        link.execute("COMMIT")


def _old_tables(link: Any) -> list[str]:
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    return [name for (name,) in link.execute(sql)]


def _business() -> dict[str, int]:
    """All rows of all models, with their keys, in one transaction; read back and compared. Raises MigrateError."""
    from django.apps import apps
    from django.core.management.color import no_style
    from django.db import connections, transaction

    models = [m for m in apps.get_models(include_auto_created=True) if m._meta.managed and not m._meta.proxy]
    new, found = connections["new"], {}
    with transaction.atomic(using="new"), new.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(new.ops.quote_name(m._meta.db_table) for m in models)}")
        for model in models:
            found[model._meta.db_table] = _copy_model(model, new)
        for sql in new.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(sql)
    return found


def _copy_model(model: Any, new: Any) -> int:
    """Raises MigrateError naming the table."""
    import psycopg
    from django.db import DataError

    fields, table = model._meta.concrete_fields, model._meta.db_table
    names = ", ".join(new.ops.quote_name(field.column) for field in fields)
    try:
        with new.cursor() as cursor, cursor.copy(f"COPY {new.ops.quote_name(table)} ({names}) FROM STDIN") as copy:
            for row in model._base_manager.using("default").order_by("pk").iterator(BATCH):
                copy.write_row([field.get_db_prep_save(getattr(row, field.attname), new) for field in fields])
    except (DataError, psycopg.Error, ValueError) as error:
        raise MigrateError(f"业务表 {table}：PostgreSQL 存不下（{error}）") from error
    here, there = (_sum(model, alias) for alias in ("default", "new"))
    if here != there:
        raise MigrateError(f"业务表 {table}：写入后读回的内容与原来不同（{here[0]} 行，读回 {there[0]} 行）")
    return here[0]


def _sum(model: Any, alias: str) -> tuple[int, int]:
    """Count of a table's rows and their checksum, in any order."""
    count = total = 0
    names = [field.attname for field in model._meta.concrete_fields]
    for row in model._base_manager.using(alias).order_by("pk").values_list(*names).iterator(BATCH):
        text = json.dumps(row, sort_keys=True, default=str)
        count, total = count + 1, total + int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    return count, total


def _chains(values: Settings, url: str) -> None:
    """Audit trail, cases and decisions hold where they are now. Raises MigrateError."""
    from ceguan.store import Store, first_break

    broken = first_break(Store(values.folder, database=url).decisions())
    if broken is not None:
        raise MigrateError(f"决定链断于第 {broken} 条")
    environ = os.environ | {"CEGUAN_DATA": str(values.folder), "CEGUAN_DATABASE_URL": url}
    done = subprocess.run([sys.executable, "-m", "ceguan", "audit"], env=environ, capture_output=True, text=True)
    if done.returncode:
        raise MigrateError(f"迁移后的留痕链不完好：{done.stdout.strip() or done.stderr.strip()}")


def _progress() -> Any:
    total: dict[str, int] = {}

    def told(table: str, rows: int) -> None:
        total[table] = total.get(table, 0) + rows
        print(f"\r已抄 {'，'.join(f'{name} {n}' for name, n in total.items())}", end="", flush=True)

    return told


def _safe(url: str) -> str:
    """The URL without its password."""
    return re.sub(r"(//[^/@:]*):[^@/]*@", r"\1@", url)
