"""`ceguan ledger verify`: whether the ledger still holds what it says."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ceguan import operate, settings
from ceguan.store import Record, RecordKind, RecordNotFoundError, Store
from ceguan.words import beijing

DECIDED = ("series", "kind", "ts_from", "ts_to", "action", "who", "why", "evidence", "value", "zs")
"""What a decision says, in its record and in the ledger alike."""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    text = "台账：核验"
    kinds = verbs.add_parser("ledger", help=text, description=text).add_subparsers(metavar="命令", required=True)
    text = "核验认定链（与归档、留痕逐条核对）、只追加的触发器、封存文件的 SHA-256、归档位置"
    operate._verb(kinds, "verify", f"{text}；完好返回 0，有断裂逐条说明并返回 1", _verify)


def _verify(args: argparse.Namespace) -> int:
    values = settings.load()
    store = Store(values.folder)
    gone = store.forgotten().num_rows
    found = [*store.breaks(), *_decisions(store, values), *(_unaccounted(store) if gone else ())]
    for one in found:
        print(one)
    if not found:
        files, decided = store.standing().num_rows, store.decisions().num_rows
        print(f"台账完好：认定 {decided} 条成链，封存文件 {files} 个与清单一致，归档位置都在归档之内")
        if gone:
            print(f"其中依留痕的决定删去过读数的 {gone} 处，与留痕一致")
    return int(bool(found))


def _decisions(store: Store, values: settings.Settings) -> Iterator[str]:
    """The chain cannot show what was cut off its end, nor who put a link there: so each decision against its record in
    the archive, and those that the audit trail knows against both."""
    events, frames = set[int](), set[int]()
    for row in store.decisions().to_pylist():
        try:
            record = store.frame(row["frame"])
        except RecordNotFoundError as error:
            yield f"认定第 {row['id']} 条没有来处：{error}"
            continue
        content = _content(record)
        if any(_plain(row[name]) != _plain(content.get(name, "")) for name in DECIDED):
            yield f"认定第 {row['id']} 条与归档 {record.ref} 的记录不符：它不是由那里的决定而来"
        elif row["frame"] in frames:
            yield f"认定第 {row['id']} 条重复了归档 {record.ref} 的记录：一个决定只能写入一次"
        frames.add(row["frame"])
        events.add(content.get("audit", 0))
    if values.database_url or (values.folder / "business.db").is_file():
        yield from _lost(store, events)


def _lost(store: Store, events: set[int]) -> Iterator[str]:
    """Decisions on record that are neither in the ledger nor on their way to it."""
    operate._django()
    from ceguan.intake.models import Undelivered
    from ceguan.registry.models import AuditEvent

    lost = AuditEvent.objects.filter(action="decide").exclude(seq__in=events).select_related("who").order_by("seq")
    if not lost:
        return
    waiting = {orjson.loads(text).get("audit") for text in Undelivered.objects.values_list("payload", flat=True)}
    waiting |= {_content(record).get("audit") for record in store.arrivals()}
    for event in lost:
        if event.seq not in waiting:
            moment = f"{beijing(event.at.timestamp()):%Y-%m-%d %H:%M:%S}"
            yield f"留痕第 {event.seq} 条的认定（{event.who}，{moment}，{event.subject}）不在台账里：被删去，或没有写入"


def _content(record: Record) -> Mapping[str, Any]:
    """What a record of a decision says, nothing of another one."""
    content: Mapping[str, Any] = orjson.loads(record.payload) if record.kind == RecordKind.DECISION else {}
    return content


def _plain(value: Any) -> Any:
    """An absent number or text is the same in a record and in the ledger."""
    return None if value != value or value in ("", None) else value


def _unaccounted(store: Store) -> list[str]:
    operate._django()
    from ceguan.watch import forgetting

    return list(forgetting.unaccounted(store))
