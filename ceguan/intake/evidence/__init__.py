"""Evidence packs: what one device sent in a stretch of time and what the platform made of it, provable elsewhere.

A pack is one file that a court's expert checks with a plain Python: the frames to the byte with their proof (Merkle
path to the proof line of their segment, seal and proof lines of the whole stream, heads noted before), the decoded
values, the ledger's readings with flags and decisions, the verdicts that rest on them, `verify.py`, and 说明.txt. The
layout is that of `verify.py`, which also writes the container, so that both cannot drift apart.
"""

from __future__ import annotations

import csv
import io
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from django.db import transaction

from ceguan.intake import keys
from ceguan.intake.evidence import verify
from ceguan.intake.hj212.frame import decode, masked, quick_head, without_secrets
from ceguan.registry import audit, rights
from ceguan.registry.models import Device, Series, User
from ceguan.standards import factors, units
from ceguan.store import (
    ForgottenError,
    Record,
    RecordKind,
    RecordNotFoundError,
    Store,
    archive,
    decision_content,
    forgotten,
    proofs,
)
from ceguan.store.proofs import Head
from ceguan.words import FrameRef, Kind, beijing

DAY = 86400
LARGEST = (1 << 32) - 1
"""Bytes of a pack: its container has no larger form."""
SPOKEN = (RecordKind.FRAME, RecordKind.BAD, RecordKind.SENT)
_FIELDS = ("Rtd", "Avg", "Data")
_TEXTS = ("说明.txt", "README.txt", "verify.py")


class PackError(ValueError):
    """No pack can be made; the message says why and what would be possible."""


class Noted(NamedTuple):
    """A head of the archive noted in the audit trail; `at` UTC, ISO; `seq`, `hash`: the audit event."""

    at: str
    seq: int
    hash: str
    head: Head


@dataclass(frozen=True, slots=True)
class Request:
    """What a pack is to hold: frames received in [start, end) and readings of times in [start, end) [UTC epoch s].

    `segments`: with the whole segments; `mask`: a derived copy without passwords, whose frames prove nothing.
    """

    mn: str
    start: float
    end: float
    now: float
    why: str
    by: str
    segments: bool = False
    mask: bool = False


@dataclass(slots=True)
class _Pack:
    """The files of a pack as they come together."""

    files: dict[str, bytes] = field(default_factory=dict)

    def table(self, name: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.files[name] = text.getvalue().encode("utf-8-sig")

    def json(self, name: str, content: Any) -> None:
        self.files[name] = json.dumps(content, ensure_ascii=False, indent=1).encode()

    def lines(self, name: str, rows: Iterable[Any]) -> None:
        self.files[name] = b"".join(orjson.dumps(row) + b"\n" for row in rows)


def issue(
    store: Store, device: Device, request: Request, user: User | None, noted: Sequence[Noted], digest: str
) -> bytes:
    """Make a pack and put on record who took it away, why, and its SHA-256. `user` None: the operator of the machine.

    Raises Forbidden without the right, PackError (also without a reason), ArchiveError; then nothing is on record.
    """
    if user is not None:
        rights.require(user, "evidence", device.point)
    if not request.why.strip():
        raise PackError("请写明理由")
    content = make(store, device, request, noted, digest)
    detail = {
        "mn": request.mn, "from": _time(request.start), "to": _time(request.end), "by": request.by,
        "segments": request.segments, "masked": request.mask, "bytes": len(content), "sha256": verify.sha256(content),
    }  # fmt: skip
    with transaction.atomic():
        audit.record(user, "evidence.export", f"device:{request.mn}", request.why.strip(), detail, request.now)
    return content


def make(store: Store, device: Device, request: Request, noted: Sequence[Noted], digest: str) -> bytes:
    """The pack as the bytes of one .zip. `digest`: the setting `archive_digest`, for proof lines still missing.

    Raises PackError when there is nothing, or too much; ArchiveError when a segment was changed after sealing.
    """
    if not request.start < request.end:
        raise PackError("时段的结束须晚于开始")
    proofs.prove_all(store.archive, request.now, digest)
    pack = _Pack()
    readings = _readings(store, device, request)
    refs = {row["frame"] for row in readings} | {row["frame"] for row in _decisions(store, device, request)}
    records = _records(store, request, refs)
    if not records:
        raise PackError(f"{request.mn} 在这一时段没有报文，也没有读数")
    decoded = list(_decoded(records))
    _put_frames(pack, records, request.mask)
    _put_proof(pack, store.archive, records, request)
    pack.table("decoded.csv", decoded, ("ref", "cn", "datatime", "code", "name", "field", "text", "literal"))
    _put_readings(pack, device, readings, decoded)
    _put_layers(pack, store, device, request, readings)
    pack.json("noted_heads.json", [{**one._asdict(), "head": one.head._asdict()} for one in noted])
    return _closed(pack, device, request)


def _closed(pack: _Pack, device: Device, request: Request) -> bytes:
    """Texts and manifest put in, all in one container."""
    here = Path(__file__).parent
    for name in _TEXTS:
        pack.files[name] = (here / name).read_bytes()
    listed = [
        {"name": name, "bytes": len(content), "sha256": verify.sha256(content)} for name, content in pack.files.items()
    ]
    manifest = {
        "format": "ceguan-evidence-1", "mn": request.mn, "from": _time(request.start), "to": _time(request.end),
        "made_at": _time(request.now), "made_by": request.by, "why": request.why, "masked": request.mask,
        "whole_segments": request.segments, "device": _device(device), "files": listed,
    }  # fmt: skip
    pack.json("manifest.json", manifest)
    pack.files["manifest.sha256"] = f"{verify.sha256(pack.files['manifest.json'])}  manifest.json\n".encode()
    size = sum(len(content) + 2 * len(name.encode()) + 76 for name, content in pack.files.items()) + 22
    if size > LARGEST:
        raise PackError(f"证据包将有 {size} 字节，超过 4 GB；请缩短时段，或不带整段")
    return verify.container(pack.files)


def _device(device: Device) -> dict[str, Any]:
    """The register of the device, without its password."""
    point = device.point
    return {
        "mn": device.mn, "edition": device.edition, "point": point.code, "point_name": point.name_zh,
        "kind": point.kind, "region": str(point.region), "enterprise": str(point.enterprise or ""),
        "units": device.units, "adopted_at": device.adopted_at.isoformat(),
    }  # fmt: skip


# ── frames ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _records(store: Store, request: Request, refs: Iterable[int]) -> list[Record]:
    """What the device said or was told in the stretch, and every record that a reading or decision names."""
    found = {record.ref: record for record in _spoken(store.archive, request)}
    for packed in refs:
        ref = FrameRef.unpack(packed)
        if ref not in found:
            try:
                found[ref] = store.frame(ref)
            except ForgottenError as error:
                raise PackError(f"读数所说的报文已不在归档中：{error}；请缩短时段") from error
            except RecordNotFoundError as error:
                raise PackError(f"读数所说的报文不在归档中：{error}") from error
    return sorted(found.values(), key=lambda record: (record.recv, record.ref))


def _spoken(folder: Path, request: Request) -> Iterator[Record]:
    """Frames of the device received in the stretch. Where a segment begins or ends is no sure clock: a day is added."""
    needle = request.mn.encode()
    for stream in archive.streams(folder):
        home = archive.stream_folder(folder, stream)
        spans = {one.segment: one for one in archive.sealed_segments(folder, stream)}
        for number in archive.segments(home):
            if number in spans and not _touches(spans[number], request):
                continue
            for ref in _naming(archive.segment_path(home, number), stream, number, needle):
                record = archive.fetch(folder, ref)
                if request.start <= record.recv < request.end and record.kind in SPOKEN and _is_of(record, request.mn):
                    yield record


def _touches(span: archive.SealedSegment, request: Request) -> bool:
    if span.first_recv is None or span.last_recv is None:
        return True
    low, high = sorted((span.first_recv, span.last_recv))
    return low - DAY < request.end and high + DAY >= request.start


def _naming(path: Path, stream: int, number: int, needle: bytes) -> Iterator[FrameRef]:
    """The records in whose bytes the MN stands."""
    with open(path, "rb") as file:
        data = file.read()
    starts = proofs.walk(data).starts
    at, last = data.find(needle), -1
    while at >= 0:
        index = bisect_right(starts, at) - 1
        if index > 0 and index != last:
            last = index
            yield FrameRef(stream, number, starts[index])
        at = data.find(needle, starts[index + 1] if index + 1 < len(starts) else at + 1)


def _is_of(record: Record, mn: str) -> bool:
    return quick_head(record.payload, key=keys.lookup).mn == mn


def _put_frames(pack: _Pack, records: Sequence[Record], mask: bool) -> None:
    rows, at = [], 0
    content = []
    for record in records:
        whole = archive.whole_record(record)
        rows.append({
            "ref": str(record.ref), "received": _time(record.recv), "received_us": round(record.recv * 1e6),
            "source": record.source, "kind": record.kind.name, "offset_in_records_bin": "" if mask else at,
            "bytes": len(whole), "sha256": "" if mask else verify.sha256(whole),
            "text": masked(record.payload).decode(errors="backslashreplace").rstrip("\r\n"),
        })  # fmt: skip
        content.append(whole)
        at += len(whole)
    pack.table("frames.csv", rows, tuple(rows[0]))
    if not mask:
        pack.files["records.bin"] = b"".join(content)


def _put_proof(pack: _Pack, folder: Path, records: Sequence[Record], request: Request) -> None:
    """Paths of the records and of the headers around them; seal and proof lines of their streams as they stand."""
    places: dict[tuple[int, int], list[Record]] = {}
    for record in records:
        places.setdefault((record.ref.stream, record.ref.segment), []).append(record)
    paths: dict[str, Any] = {}
    headers: dict[tuple[int, int], Any] = {}
    for (stream, number), mine in sorted(places.items()):
        home = archive.stream_folder(folder, stream)
        sealed = len(proofs.lines(folder, stream))
        if number < sealed:
            paths |= _paths(archive.segment_path(home, number), mine, request.mask)
        else:
            paths |= {str(record.ref): {"open": True, **_masked_leaf(record, request.mask)} for record in mine}
        for near in (number - 1, number, number + 1):
            if 0 <= near < sealed and (stream, near) not in headers:
                headers[stream, near] = _header(folder, stream, near)
        if request.segments and not request.mask:
            pack.files[f"segments/{stream:04d}/{number:07d}.seg"] = archive.segment_path(home, number).read_bytes()
    pack.json("proof.json", {"records": paths, "headers": list(headers.values())})
    for stream in sorted({stream for stream, _ in places}):
        home = archive.stream_folder(folder, stream)
        for name in ("segments.jsonl", proofs.NAME):
            lines = archive.whole_lines(home / name)
            pack.files[f"chain/{stream:04d}/{name}"] = b"".join(line + b"\n" for line in lines)


def _paths(path: Path, records: Sequence[Record], mask: bool) -> dict[str, Any]:
    with proofs.mapped(path) as data:
        walked = proofs.walk(data)
        rows = proofs.tree(data, walked)
    return {
        str(record.ref): {
            "path": proofs.path(rows, bisect_right(walked.starts, record.ref.offset) - 1),
            **_masked_leaf(record, mask),
        }
        for record in records
    }


def _masked_leaf(record: Record, mask: bool) -> dict[str, str]:
    return {"leaf": proofs.leaf(archive.whole_record(record)).hex()} if mask else {}


def _header(folder: Path, stream: int, number: int) -> dict[str, Any]:
    """The header of a sealed segment and its path to the root; of one that was deleted, as noted then."""
    gone = forgotten.explain(folder, stream, number)
    if gone is not None:
        return {**_named(stream, number, forgotten.header(folder, gone)), "path": gone.header}
    with proofs.mapped(archive.segment_path(archive.stream_folder(folder, stream), number)) as data:
        rows = proofs.tree(data, proofs.walk(data))
        return {**_named(stream, number, bytes(data[: archive.FIRST_OFFSET])), "path": proofs.path(rows, 0)}


def _named(stream: int, number: int, header: bytes) -> dict[str, Any]:
    return {"stream": stream, "segment": number, "header": header.hex()}


def _decoded(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Every field of every factor that the frames carry, as text, without secrets."""
    for record in records:
        if record.kind != RecordKind.FRAME:
            continue
        frame = decode(record.payload, key=keys.lookup)
        for code, fields in without_secrets(frame.factors).items():
            known = factors.find(code)
            for name, text in fields.items():
                words = (re.escape(word.encode()) for word in (code, name, text))
                stands = re.search(rb"[;,&]%b-%b=%b(?:[;,&]|$)" % tuple(words), record.payload)
                yield {
                    "ref": str(record.ref), "cn": frame.cn or "", "datatime": frame.datatime or "", "code": code,
                    "name": known.name if known else "", "field": name, "text": text, "literal": int(bool(stands)),
                }  # fmt: skip


# ── what the platform made of them ────────────────────────────────────────────────────────────────────────────────


def _series(device: Device) -> dict[int, Series]:
    return {series.pk: series for series in device.point.series.all()}


def _readings(store: Store, device: Device, request: Request) -> list[dict[str, Any]]:
    """All versions of the readings of the point in the stretch, with what is in force, and those verdicts rest on."""
    numbers = sorted(_series(device))
    rows: dict[tuple[int, ...], dict[str, Any]] = {}
    for kind in Kind:
        for row in store.readings(numbers, kind, request.start, request.end, versions="all").to_pylist():
            rows[_key(row)] = row
        for row in store.readings(numbers, kind, request.start, request.end).to_pylist():
            rows[_key(row)] = row
    wanted = {
        tuple(key)
        for verdict in _verdicts(store, device, request)
        for key in orjson.loads(verdict["inputs"])
        if key[0] in numbers and tuple(key) not in rows
    }
    rows |= {_key(row): row for row in store.exact(sorted(wanted)).to_pylist()}
    return [rows[key] for key in sorted(rows)]


def _key(row: Mapping[str, Any]) -> tuple[int, ...]:
    return row["series"], row["kind"], row["ts"], row["ver"]


def _decisions(store: Store, device: Device, request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.decisions(sorted(_series(device)), None, request.start, request.end).to_pylist()
    return found


def _verdicts(store: Store, device: Device, request: Request) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = store.verdicts(
        device.point_id, None, request.start, request.end, all_versions=True
    ).to_pylist()
    return found


READING = (
    "series", "kind_number", "ts", "ver", "time", "kind", "factor", "name", "value", "zs", "vmin", "vmax", "cou",
    "unit", "flag", "received", "ref", "value_in_force", "decision", "action", "sent_code", "sent_field", "text",
    "scale",
)  # fmt: skip


def _put_readings(
    pack: _Pack, device: Device, readings: Sequence[Mapping[str, Any]], decoded: Sequence[Mapping[str, Any]]
) -> None:
    series = _series(device)
    sent: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in decoded:
        if one["field"] in _FIELDS:
            sent.setdefault((one["ref"], factors.current_code(one["code"])), one)
    rows = []
    for row in readings:
        one, ref = series[row["series"]], str(FrameRef.unpack(row["frame"]))
        numbers = {name: _number(row[name]) for name in ("value", "zs", "vmin", "vmax", "cou")}
        rows.append({
            "series": row["series"], "kind_number": row["kind"], "ts": row["ts"], "ver": row["ver"],
            "time": _time(row["ts"]), "kind": Kind(row["kind"]).name, "factor": one.factor, "name": one.name_zh,
            **numbers, "unit": one.unit, "flag": row["flag"], "received": _time(row["recv"]), "ref": ref,
            "value_in_force": _number(row.get("value_in_force")), "decision": row.get("decision") or "",
            "action": row.get("action") or "", **_link(device, one, row["value"], sent.get((ref, one.factor))),
        })  # fmt: skip
    pack.table("readings.csv", rows, READING)


def _link(device: Device, series: Series, value: float | None, sent: Mapping[str, Any] | None) -> dict[str, Any]:
    """Which number of the frame the reading is, and by what its unit multiplies it; nothing where that is not so."""
    if sent is None or value is None:
        return {}
    unit = device.units.get(series.factor) or device.units.get(sent["code"])
    scale = units.factor(unit, series.unit) if unit else None
    try:
        same = scale is not None and abs(float(sent["text"]) * scale - value) <= 1e-9 * max(1.0, abs(value))
    except ValueError:
        same = False
    if not same:
        return {}
    return {"sent_code": sent["code"], "sent_field": sent["field"], "text": sent["text"], "scale": repr(scale)}


def _put_layers(
    pack: _Pack, store: Store, device: Device, request: Request, readings: Sequence[Mapping[str, Any]]
) -> None:
    """Flags, test runs, decisions, verdicts, what was in quarantine."""
    numbers = sorted(_series(device))
    flags = [row for kind in Kind for row in store.flags(
        numbers, kind, request.start, request.end, versions="all").to_pylist()]  # fmt: skip
    runs = [row for kind in Kind for row in store.quality_runs(numbers, kind, request.start, request.end).to_pylist()]
    pack.lines("flags.jsonl", flags)
    pack.lines("quality_runs.jsonl", runs)
    pack.lines("decisions.jsonl", map(_decision, _decisions(store, device, request)))
    pack.lines("verdicts.jsonl", (_verdict(row, numbers) for row in _verdicts(store, device, request)))
    held = store.quarantined(None, request.mn, 1 << 31).to_pylist()
    pack.lines("quarantine.jsonl", (row for row in held if request.start <= row["recv"] < request.end))


def _decision(row: Mapping[str, Any]) -> dict[str, Any]:
    """The decision with the text its hash was made of."""
    return {
        "id": row["id"], "content": decision_content(row), "prev_hash": row["prev_hash"], "hash": row["hash"],
        "ref": str(FrameRef.unpack(row["frame"])),
    }  # fmt: skip


def _verdict(row: Mapping[str, Any], numbers: Sequence[int]) -> dict[str, Any]:
    value = {"detail": orjson.loads(row["detail"]), "inputs": orjson.loads(row["inputs"]), "series_here": numbers}
    return {**row, **value, "value": None if row["value"] != row["value"] else row["value"]}


def _number(value: float | None) -> str:
    return "" if value is None or value != value else repr(value)


def _time(moment: float) -> str:
    """Beijing time with its offset."""
    return beijing(moment).isoformat(timespec="milliseconds" if moment % 1 else "seconds")
