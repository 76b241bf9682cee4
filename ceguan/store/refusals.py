"""Why a disk or a database refused, in words for the operator: one table for commands, pages and processes."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Iterator

DISK = {
    errno.ENOSPC: "磁盘已满",
    errno.EDQUOT: "磁盘配额已用完",
    errno.EFBIG: "文件大小到了系统的上限",
    errno.EROFS: "磁盘是只读的",
    errno.EACCES: "没有写权限",
    errno.EPERM: "没有写权限",
    errno.EIO: "磁盘读写出错",
    errno.EMFILE: "打开的文件太多",
    errno.ENFILE: "打开的文件太多",
}
SQLITE = {
    sqlite3.SQLITE_FULL: "磁盘已满",
    sqlite3.SQLITE_READONLY: "数据库文件是只读的",
    sqlite3.SQLITE_CANTOPEN: "打不开数据库文件（目录不存在、只读或没有权限）",
    sqlite3.SQLITE_IOERR: "数据库文件读写出错（磁盘已满、变成只读或损坏）",
    sqlite3.SQLITE_BUSY: "数据库正由另一进程写入，等了太久",
    sqlite3.SQLITE_CORRUPT: "数据库文件已损坏，须从备份恢复",
    sqlite3.SQLITE_NOTADB: "数据库文件已损坏，须从备份恢复",
}
"""By the primary result code."""
NO_TABLE = "数据库里没有所需的表（还没有建立，或尚未升级）：先运行 ceguan setup"
POSTGRES = {
    "25006": "PostgreSQL 只读（是备库，或设了只读）",
    "28P01": "PostgreSQL 不接受这个用户或口令",
    "28000": "PostgreSQL 不接受这个用户或口令",
    "42P01": NO_TABLE,
    "3D000": "PostgreSQL 上没有这个库",
    "53100": "PostgreSQL 的磁盘已满",
    "53300": "PostgreSQL 的连接数已用完",
}
"""By SQLSTATE; whatever else breaks a session counts as `UNREACHABLE`."""
UNREACHABLE = "连不上 PostgreSQL，或连接中断（正在重启？）"


def refusal(error: BaseException | None) -> str | None:
    """What refused, e.g. "磁盘已满：/var/lib/ceguan/archive"; None when the error is no refusal of disk or database."""
    return next((found for one in _causes(error) if (found := _said(one))), None)


def told(log: logging.Logger, what: str, error: Exception) -> str:
    """The cause in words, logged: a refusal in one line, anything else with where it came from."""
    cause = refusal(error)
    if cause is None:
        cause = f"{type(error).__name__}：{error}"
        log.exception("%s：%s", what, cause)
    else:
        log.error("%s：%s", what, cause)
    return cause


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from: Django and the archive wrap what the driver said."""
    while error is not None:
        yield error
        error = error.__cause__


def _said(error: BaseException) -> str | None:
    if isinstance(error, sqlite3.OperationalError) and str(error).startswith("no such table"):
        return NO_TABLE
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError):
        return SQLITE.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)
    if isinstance(error, OSError):
        words = DISK.get(error.errno or 0)
        return f"{words}：{error.filename}" if words and error.filename else words
    if _of_psycopg(error):
        return POSTGRES.get(getattr(error, "sqlstate", None) or "") or UNREACHABLE
    return None


def _of_psycopg(error: BaseException) -> bool:
    """Whether it is psycopg's OperationalError, a read-only server's refusal or a missing table.

    psycopg need not be installed.
    """
    names = {(one.__module__.split(".")[0], one.__name__) for one in type(error).__mro__}
    told = ("OperationalError", "ReadOnlySqlTransaction", "UndefinedTable")
    return any(("psycopg", name) in names for name in told)
