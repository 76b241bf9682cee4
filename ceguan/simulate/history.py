"""The past of the city: real frames of many days, written to the archive in batches behind the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ceguan.simulate import faults, stations
from ceguan.simulate.behaviour import Behaviour
from ceguan.simulate.sending import Sender, Sent
from ceguan.simulate.weather import DAY, HOUR
from ceguan.store import ArchiveWriter, RecordKind
from ceguan.words import Kind

STREAM = 70
SHORT_DAYS = 3
"""Ten-minute data are written for the last days only."""
BLOCK = 10 * DAY
STATE = "simulate.json"


def write(folder: Path, now: float, days: int, seed: int, progress: Callable[[float], None]) -> int:
    """Write the frames that arrived in the `days` before `now`; returns how many. Remembers where it ended.

    `progress` is told the share done. Calling it again for a folder that has its history writes nothing.
    """
    if state(folder):
        return 0
    script_end = now // HOUR * HOUR
    count = 0
    with ArchiveWriter(folder / "archive", STREAM) as writer:
        for share, sent in blocks(script_end, now, days, seed):
            for one in sent:
                kind = RecordKind.BAD if one.spoilt else RecordKind.FRAME
                writer.append(kind, one.recv, one.station.address, one.payload)
            count += len(sent)
            writer.sync()
            progress(share)
    remember(folder, {"seed": seed, "script_end": script_end, "until": now})
    return count


def blocks(script_end: float, now: float, days: int, seed: int) -> Iterator[tuple[float, list[Sent]]]:
    """The frames in blocks of some days, each in the order of arrival, with the share done."""
    known = [station for station in stations.load() if station.mn != faults.unknown().mn]
    script, city = faults.Script(known, script_end), Behaviour(seed)
    senders = [Sender(city, script, station) for station in known]
    stranger = Sender(city, script, faults.unknown())
    first = script_end - days * DAY
    start = first
    while start < now:
        end = min(start + BLOCK, now)
        sent = [one for sender in senders for one in sender.arriving(start, end, (Kind.HOUR, Kind.DAY))]
        short = max(start, script_end - SHORT_DAYS * DAY)
        if short < end:
            sent += [one for sender in senders for one in sender.arriving(short, end, (Kind.MINUTE,))]
        late = max(start, script_end - faults.unknown_hours() * HOUR)
        if late < end:
            sent += stranger.arriving(late, end, (Kind.MINUTE,))
        sent.sort(key=lambda one: one.recv)
        start = end
        yield (end - first) / (now - first), sent


def state(folder: Path) -> dict[str, Any]:
    """What was remembered: seed, where the script's history ends, until when everything has been sent."""
    path = folder / STATE
    return json.loads(path.read_text()) if path.is_file() else {}


def remember(folder: Path, content: dict[str, Any]) -> None:
    scratch = folder / f"{STATE}.new"
    scratch.write_text(json.dumps(content))
    scratch.replace(folder / STATE)
