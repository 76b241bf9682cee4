"""`ceguan migrate-store --history-url URL`: sealed months move to another place while the county runs.

Every file the ledger lists is copied, read back from where it now lies and compared with the SHA-256 of the list. Then
the clockwork is stopped, what it sealed meanwhile follows, one setting is written, and the processes begin anew with
it. Nothing is remembered: a file that lies there as listed is not copied again, so the same command goes on wherever it
was killed. The old files stay as they are; until the setting is written they are the ones in force.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from ceguan.operate.takeover import MigrateError, begin_anew, ledger_lock, write_setting
from ceguan.settings import Settings
from ceguan.store import Store, lake
from ceguan.store.database import connect_writer
from ceguan.store.errors import HistoryError, LedgerTakenError

SETTING, VARIABLE = "history_url", "CEGUAN_HISTORY_URL"


def move(values: Settings, url: str) -> None:
    """Raises MigrateError."""
    if VARIABLE in os.environ:
        raise MigrateError(f"环境里有 {VARIABLE}，它压过 ceguan.toml：从 ceguan.env 移到 ceguan.toml 后再迁")
    if values.history_url == url:
        print(f"封存历史已在 {url or '数据目录'}，无事可做")
        return
    bound = int(values.history_cache_gb * 2**30)
    try:
        moving = _Moving(Store(values.folder), lake.of(values.folder, url, bound))
        if not url:
            (values.folder / "history").mkdir(exist_ok=True)
        lake.probe(moving.new, f"move-{os.getpid()}", os.urandom(64))
        moving.copy()
        print("已赶上；最后一步：停时钟、拷其间封存的、改设置。网关照常应答。", flush=True)
        began = time.monotonic()
        with ledger_lock(values.folder / "readings.db"), _nobody_writes(values):
            moving.copy()
            write_setting(values.folder / "ceguan.toml", SETTING, url)
    except HistoryError as error:
        raise MigrateError(str(error)) from error
    print(f"{len(moving.done)} 个封存文件，SHA-256 与台账的清单一致；时钟停了 {time.monotonic() - began:.1f} 秒。")
    print(f"设置 history_url 已写入 ceguan.toml。原处（{moving.old.url or moving.old.folder}）的文件没有动。")
    begin_anew(values)


class _Moving:
    """`done`: files that lie in the new place as the ledger lists them."""

    def __init__(self, store: Store, new: lake.Lake) -> None:
        self._store, self.old, self.new = store, store.history, new
        self.done: set[str] = set()

    def copy(self) -> None:
        """All files listed by now. Raises MigrateError, HistoryError."""
        listed = self._store.standing()
        files = list(zip(listed["path"].to_pylist(), listed["sha256"].to_pylist(), strict=True))
        for name, sha256 in files:
            if name not in self.done:
                self._one(name, sha256)
                self.done.add(name)
                print(f"已核对 {len(self.done)}/{len(files)}：{name}", file=sys.stderr, flush=True)

    def _one(self, name: str, sha256: str) -> None:
        with contextlib.suppress(HistoryError):  # not there yet
            if self.new.sha256(name) == sha256:
                return
        (path,) = self.old.paths([name])
        self.new.put(name, path)
        if (found := self.new.sha256(name)) != sha256:
            raise MigrateError(
                f"封存文件 {name}：拷去的 SHA-256 是 {found}，台账清单里是 {sha256}；先查 ceguan ledger verify"
            )


@contextlib.contextmanager
def _nobody_writes(values: Settings) -> Iterator[None]:
    """Nor does a clockwork on another machine, where the ledger lies in PostgreSQL."""
    if not values.database_url:
        yield
        return
    try:
        writer = connect_writer(values.folder / "readings.db", values.database_url)
    except LedgerTakenError:
        raise MigrateError("时钟在另一台机器上运行：请在那台机器上迁移") from None
    with contextlib.closing(writer):
        yield
