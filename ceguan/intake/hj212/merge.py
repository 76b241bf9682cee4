"""Joins the parts of a message that was too long for one segment (HJ 212-2017 6.3.2 and 表C.49, C.50).

Parts belong together under (MN, ST, CN, DataTime); each has its own QN and its own answer. They may come in any order,
and one sent again must not count twice.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from ceguan.intake.hj212.frame import Frame, is_part

Key = tuple[str | None, str | None, str | None, str | None]


@dataclass(slots=True)
class Message(Frame):
    """Several frames as one; head and `offset` are those of its first part. `parts`: their offsets by part number."""

    parts: dict[int, int] = field(default_factory=dict)

    def public(self) -> dict[str, object]:
        return Frame.public(self) | {"parts": list(self.parts.values())}


class Merger:
    """Collects parts until a message is whole. Holds at most `most` unfinished messages, the oldest gives way.

    A part that comes again after its message was given out is swallowed if it is the same to the byte.
    """

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._open: OrderedDict[Key, dict[int, Frame]] = OrderedDict()
        self._done: OrderedDict[Key, set[bytes]] = OrderedDict()

    def feed(self, frame: Frame) -> list[Frame]:
        """What is whole now: frames that are no parts (broken ones too) at once, a message with its last part."""
        place = _place(frame)
        if place is None:
            return [frame]
        number, total = place
        key = (frame.mn, frame.st, frame.cn, frame.datatime)
        if frame.raw in self._done.get(key, ()):
            return []
        parts = self._open.setdefault(key, {})
        parts[number] = frame
        if len(parts) == total:
            del self._open[key]
            self._remember(key, parts)
            return [_joined(parts, total)]
        return [self._given_up()] if len(self._open) > self._most else []

    def close(self) -> list[Frame]:
        """Messages whose other parts never came, each with the warning `parts_missing:1/2` (had / should have)."""
        return [self._given_up() for _ in range(len(self._open))]

    def _given_up(self) -> Frame:
        _, parts = self._open.popitem(last=False)
        total = max(int(part.pnum or 0) for part in parts.values())
        message = _joined(parts, total)
        message.notes.append(f"parts_missing:{len(parts)}/{total}")
        return message

    def _remember(self, key: Key, parts: dict[int, Frame]) -> None:
        self._done[key] = {part.raw for part in parts.values()}
        if len(self._done) > self._most:
            self._done.popitem(last=False)


def _place(frame: Frame) -> tuple[int, int] | None:
    """(number of this part, number of parts), None for a frame that is whole in itself or cannot be placed."""
    if not frame.ok or not is_part(frame.pno, frame.pnum):
        return None
    number, total = int(frame.pno or 0), int(frame.pnum or 0)
    return (number, total) if total > 1 else None


def _joined(parts: dict[int, Frame], total: int) -> Message:
    ordered = [parts[number] for number in sorted(parts)]
    first = ordered[0]
    message = Message(
        b"".join(part.raw for part in ordered),
        first.offset,
        crc_dialect=first.crc_dialect,
        encrypted=any(part.encrypted for part in ordered),
        **{name: getattr(first, name) for name in ("qn", "st", "cn", "pw", "mn", "flag", "rf", "datatime")},
        pnum=str(total),
        parts={number: parts[number].offset for number in sorted(parts)},
    )
    for part in ordered:
        message.notes += [note for note in part.notes if note not in message.notes]
        for name, value in part.cp.items():
            _add(message, name, value)
        for code, values in part.factors.items():
            message.factors.setdefault(code, {}).update(values)
    return message


def _add(message: Message, name: str, value: str | list[str]) -> None:
    """Parts repeat plain fields that hold for the whole (PolId, BeginTime): the same value again is no second one."""
    before = message.cp.setdefault(name, value)
    if before != value:
        held = before if isinstance(before, list) else [before]
        message.cp[name] = held + [one for one in (value if isinstance(value, list) else [value]) if one not in held]
