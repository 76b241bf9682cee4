"""Does the ledger still hold what it says? Its chain of decisions, the triggers that refuse to change what is there,
the sealed files it lists, its archive positions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ceguan.store import archive, columns
from ceguan.store.database import Database
from ceguan.store.errors import HistoryError
from ceguan.store.lake import Lake
from ceguan.store.ledger import first_break, positions
from ceguan.store.query import decisions

LISTED = "SELECT {columns} FROM manifest ORDER BY month, part, generation"

_LIGHTER = "SELECT month, part, max(generation) FROM forgotten GROUP BY month, part"


def breaks(db: Database, lake: Lake, folder: Path) -> Iterator[str]:
    """One sentence for each thing that does not hold; nothing when all does. `folder`: of the archive."""
    yield from _decisions(db)
    for name in db.unguarded():
        yield f"台账的触发器 {name} 不在了、被停用或被改：在它恢复之前，相应的表拦不住改动"
    yield from _files(db, lake)
    yield from _positions(db, folder)


def _decisions(db: Database) -> Iterator[str]:
    broken = first_break(decisions(db, None, None, None, None, None))
    if broken is not None:
        yield f"认定链在第 {broken} 条断裂：它或它之前的认定被改动、删去或插入"


def _files(db: Database, lake: Lake) -> Iterator[str]:
    """Every generation ever listed is there, whole and unchanged, and none is left out – but for the files whose place
    one without what was deleted by a recorded act has taken."""
    lighter = {(month, part): generation for month, part, generation in db.execute(_LIGHTER)}
    last: dict[tuple[str, int], int] = {}
    for row in columns.select(db, columns.MANIFEST_SCHEMA, LISTED).to_pylist():
        block = row["month"], row["part"]
        if row["generation"] != last.get(block, 0) + 1:
            yield f"{row['month']} 自序列 {row['part']} 起的封存清单缺第 {last.get(block, 0) + 1} 代"
        last[block] = row["generation"]
        if row["generation"] < lighter.get(block, 0) and not lake.holds(row["path"]):
            continue
        try:
            digest = lake.sha256(row["path"])
        except HistoryError as error:
            yield f"封存文件 {row['path']} 读不出：{error}"
            continue
        if digest != row["sha256"]:
            yield f"封存文件 {row['path']} 被改动：SHA-256 {digest}，清单记的是 {row['sha256']}"


def _positions(db: Database, folder: Path) -> Iterator[str]:
    """The ledger has taken in nothing that the archive does not hold."""
    for stream, (segment, offset) in sorted(positions(db).items()):
        path = archive.segment_path(archive.stream_folder(folder, stream), segment)
        size = path.stat().st_size if path.is_file() else -1
        if size < 0 and offset > archive.FIRST_OFFSET:
            yield f"台账已写入归档流 {stream} 的段 {segment} 至偏移 {offset}，归档中没有这一段"
        elif 0 <= size < offset:
            yield f"台账已写入归档流 {stream} 的段 {segment} 至偏移 {offset}，归档中这一段只有 {size} 字节"
