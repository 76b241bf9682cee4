"""`ceguan store …`: what lies on disk and how long the room lasts; how long what is kept, and what then leaves."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from ceguan import clock, operate, settings
from ceguan.operate import forget
from ceguan.pulse import pulse
from ceguan.standards import catalogue, retention
from ceguan.store import Store, sizes
from ceguan.store.sizes import PARTS, Noted, Part, Room, said
from ceguan.watch.cli import HEARTBEAT
from ceguan.words import beijing


def add_parser(verbs: argparse._SubParsersAction) -> None:
    text = "存储：占用与增长、保存期限、到期删除"
    kinds = verbs.add_parser("store", help=text, description=text).add_subparsers(metavar="命令", required=True)
    text = "各部分的字节、行数、起止、每天增长，磁盘（或预算）还够多少天；不够 disk_warn_days 天时返回 1"
    status = operate._verb(kinds, "status", text, _status)
    status.add_argument("--json", action="store_true", help="一行 JSON")
    operate._verb(kinds, "rules", "每种数据至少保存多久、依据、期满之后怎样", lambda args: _rules())
    forget.add_parser(kinds)


# ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _status(args: argparse.Namespace) -> int:
    values = settings.load()
    store = Store(values.folder)
    parts, notes = store.measured(), sizes.noted(values.folder)
    room = sizes.room(values.folder, parts, notes, values.disk_budget_gb)
    waits = _waits(values, store)
    if args.json:
        print(json.dumps(_facts(parts, notes, room, waits), ensure_ascii=False))
    else:
        _print_parts(parts, notes)
        print(_room(room))
        for line in waits.values():
            print(line)
    return int(room.days is not None and room.days < values.disk_warn_days)


def _print_parts(parts: list[Part], notes: list[Noted]) -> None:
    for part in parts:
        grown = sizes.growth(notes, part.name) if notes else None
        cells = [
            f"{PARTS[part.name].zh}：{said(part.bytes)}",
            _rows(part, notes),
            "" if part.oldest is None or part.newest is None else f"{_day(part.oldest)} 至 {_day(part.newest)}",
            "" if grown is None else f"每天 {said(grown)}",
            "" if part.here else "不在数据盘上",
        ]
        print("，".join(cell for cell in cells if cell))


def _rows(part: Part, notes: list[Noted]) -> str:
    """How many, and of what or of when that is: the segment being written is not counted, nor the ledger each time."""
    if part.rows is not None:
        return f"已封存的段中 {part.rows} 条记录" if part.name == "archive" else f"{part.rows} 行"
    known = notes[-1].rows.get(part.name) if notes else None
    return "" if known is None else f"{known} 行（{_day(notes[-1].at)} 记下）"


def _room(room: Room) -> str:
    bound = f"预算 {said(room.budget)}" if room.budget else f"磁盘 {said(room.disk_total)}"
    now = f"本平台在数据盘上用 {said(room.used)}；{bound}，还可用 {said(room.left)}"
    if room.per_day is None:
        return f"{now}；记下两天的用量之后才能说每天增长多少、还够多少天"
    if room.days is None:
        return f"{now}；近来没有增长"
    return f"{now}；每天增长 {said(room.per_day)}，还够 {room.days:.0f} 天"


def _waits(values: settings.Settings, store: Store) -> dict[str, str]:
    """What is behind: the ledger, judging, relays, and the last backup."""
    clockwork = pulse(values.folder / HEARTBEAT, time.time())
    state = "" if clockwork.alive else "（时钟没有运行）"
    lines = {"backlog": f"归档中还没有进台账的：{said(store.backlog())}{state}"}
    if "waiting" in clockwork.said:
        lines["waiting"] = f"等待质控和判定的时段：{clockwork.said['waiting']} 个{state}"
    if left := _unfinished(values):
        lines["forget"] = f"决定删除而还没有删完的归档段：{left} 段，时钟会接着删{state}"
    made = sizes.last_backup(values.folder)
    lines["backup"] = (
        f"最近一次备份：{_day(made['at'])}，在 {made['folder']}" if made else "还没有用 ceguan backup 备份过"
    )
    return lines


def _unfinished(values: settings.Settings) -> int:
    """Segments that an act has ordered to go; 0 also before there is a business database."""
    operate._django()
    from django.db import DatabaseError

    from ceguan.watch import forgetting

    try:
        return forgetting.unfinished(values)
    except DatabaseError:
        return 0


def _facts(parts: list[Part], notes: list[Noted], room: Room, waits: dict[str, str]) -> dict[str, Any]:
    grown = {part.name: sizes.growth(notes, part.name) if notes else None for part in parts}
    return {
        "parts": [part._asdict() | {"per_day": grown[part.name]} for part in parts],
        "room": room._asdict(),
        "said": waits,
    }


def _day(moment: float) -> str:
    return f"{beijing(moment):%Y-%m-%d}"


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _rules() -> int:
    today = beijing(clock.now()).date()
    for kind in retention.kinds():
        found = retention.kept(kind, today, retention.SELF)
        least = f"至少 {found.months} 个月（{found.cite}）" if found.months else "没有查到期限"
        print(f"{kind:16} {found.name.zh}：{least}；{catalogue.cell(found.rule, 'after').zh}。{found.rule.note}")
    return 0
