"""隔离: good frames whose readings do not count before a person has looked – released or dismissed, with a reason.

The decision is a record in the archive, like everything that changes what counts; the clockwork brings it into force.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ceguan.intake import decided
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, User
from ceguan.store import Quarantined, RecordKind, Store
from ceguan.words import FrameRef, Label

STREAMS = range(65, 70)
"""Archive streams of what people decide; each web process takes a free one for the moment of writing."""
MOST = 5000
"""Frames of one decision."""
SHORTEST_REASON = 4
STATES = {
    "held": Label("隔离中", "held"),
    "released": Label("已放行", "released"),
    "dismissed": Label("不予计入", "dismissed"),
}
CAUSES = {
    "dialect": Label("CRC 方言没有为这台设备确认：{}", "CRC dialect not confirmed for this device: {}"),
    "future": Label("数据时间超前 {} 分钟", "dated {} minutes in the future"),
    "old": Label("数据已过 {} 天，又不是补传或应请求送来的", "{} days old, and neither re-sent nor asked for"),
    "history": Label("数据已过 {} 天，超出补传的期限", "{} days old, beyond what may be sent again"),
}


class QuarantineError(ValueError):
    """It cannot be decided like this; the message says why."""


def explain(cause: str) -> Label:
    """The cause in words, with its detail."""
    code, _, detail = cause.partition(":")
    return Label(*(text.format(detail) for text in CAUSES.get(code, Label(f"{code} {{}}", f"{code} {{}}"))))


def visible(store: Store, user: User, mn: str = "", state: str = "held") -> list[dict[str, Any]]:
    """Frames in (or once in) quarantine of the devices this person may see, newest first; each with its `device`."""
    points = rights.visible_points(user)
    devices = {one.mn: one for one in Device.objects.select_related("point").filter(point__in=points)}
    found = store.quarantined(state, mn or None, MOST).to_pylist()
    return [{**row, "device": devices[row["mn"]]} for row in found if row["mn"] in devices]


def decide(store: Store, frames: Sequence[int], action: str, user: User, reason: str, now: float) -> FrameRef:
    """Write that these frames are to be taken in ("release") or never ("dismiss"); on disk when this returns; audited.

    Raises Forbidden without the right at every point concerned; QuarantineError when a frame is not in quarantine (any
    more) or the reason is too short; StreamTakenError, OSError as the archive does. Then nothing is changed. Raises
    decided.WaitsError when it is decided and reaches the archive later.
    """
    if action not in ("release", "dismiss"):
        raise QuarantineError(f"没有名为 {action} 的处理；可用：release、dismiss")
    if len(reason.strip()) < SHORTEST_REASON:
        raise QuarantineError(f"请写明理由（至少 {SHORTEST_REASON} 个字）")
    if not frames:
        raise QuarantineError("没有选择要处理的帧")
    held = _held(store, frames)
    mns = sorted({one.mn for one in held})
    for device in Device.objects.select_related("point").filter(mn__in=mns):
        rights.require(user, "release", device.point)
    record = {
        "frames": list(frames), "parts": sorted({part for one in held for part in one.parts}), "action": action,
        "who": user.username, "at": now, "why": reason.strip(),
    }  # fmt: skip
    subject = f"device:{mns[0]}" if len(mns) == 1 else "quarantine"
    detail = {"mns": mns, "count": len(frames), "frames": [str(FrameRef.unpack(frame)) for frame in frames[:100]]}
    with decided.writing(store.archive, STREAMS) as out:
        event = audit.record(user, f"quarantine.{action}", subject, record["why"], detail, now)
        out.append(RecordKind.RELEASE, now, f"web:{user.username}", orjson.dumps(record | {"audit": event.seq}))
    return out.refs[0]


def _held(store: Store, frames: Sequence[int]) -> list[Quarantined]:
    """These frames. Raises QuarantineError when one of them is not in quarantine."""
    held = store.held(frames)
    lost = next((frame for frame in frames if frame not in held), None)
    if lost is not None:
        raise QuarantineError(f"帧 {FrameRef.unpack(lost)} 已不在隔离中")
    return [held[frame] for frame in frames]
