"""核验测管证据包 / Verify an evidence pack of Ceguan.  Python 3.9+, standard library only.

    python3 verify.py 证据包.zip          (or, beside the unpacked files)          python3 verify.py

Checks, without the platform: the container and every file in it to the byte; that each frame is a piece of a sealed
segment (Merkle path); that segments and proof lines follow from each other up to the heads that were noted; that the
decoded values stand in the frames, the ledger's values follow from them, and decisions and verdicts rest on them.
Exit code 0: all holds; 1: something does not, and each line says what and where.
"""

import csv
import hashlib
import io
import json
import math
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

RECORD = struct.Struct("<I2sBBIq")  # crc32, mark, kind, length of source, length of payload, reception [µs]
HEADER = struct.Struct("<16sII8x32s")  # name of the format, stream, segment, SHA-256 of the segment before
KINDS = {1: "FRAME", 2: "BAD", 3: "IMPORT", 4: "DECISION", 5: "SENT", 6: "RELEASE"}
NOTHING = "0" * 64
Files = dict[str, bytes]


class Found:
    """What does not hold, and what was counted."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []

    def wrong(self, where: str, zh: str, en: str) -> None:
        self.problems.append(f"不符 / FAIL  {where}: {zh} / {en}")

    def note(self, zh: str, en: str) -> None:
        self.notes.append(f"{zh} / {en}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ── container and files ───────────────────────────────────────────────────────────────────────────────────────────


def unpack(data: bytes) -> Files:
    """The files of the pack. Its container is written in one fixed way, so that no byte of it is free."""
    files: Files = {}
    at = 0
    while data[at : at + 4] == b"PK\3\4" and len(data) >= at + 30:
        size, length = struct.unpack_from("<I", data, at + 22)[0], struct.unpack_from("<H", data, at + 26)[0]
        name = data[at + 30 : at + 30 + length].decode("utf-8")
        files[name] = data[at + 30 + length : at + 30 + length + size]
        at += 30 + length + size
    return files


def container(files: Files) -> bytes:
    """The one way: stored, no dates, in order. The platform writes the pack with this same function."""
    out, listed, at = [], [], 0
    for name, content in files.items():
        text = name.encode("utf-8")
        common = struct.pack(
            "<HHHHHIIIHH", 20, 0x800, 0, 0, 33, zlib.crc32(content), len(content), len(content), len(text), 0
        )
        out.append(b"PK\3\4" + common + text + content)
        listed.append(b"PK\1\2\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, at) + text)
        at += 30 + len(text) + len(content)
    table = b"".join(listed)
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(table), at, 0)
    return b"".join(out) + table + end


def read(given: Path, found: Found) -> Files:
    if given.is_dir():
        found.note("核验的是解开的文件，压缩包本身未核验", "unpacked files: the container itself was not checked")
        return {
            path.relative_to(given).as_posix(): path.read_bytes() for path in sorted(given.rglob("*")) if path.is_file()
        }
    data = given.read_bytes()
    try:
        files = unpack(data)
    except UnicodeDecodeError:
        files = {}
    if container(files) != data:
        found.wrong(given.name, "压缩包的结构被改动", "the container was changed")
    return files


def check_files(files: Files, found: Found) -> dict[str, Any]:
    """Every file against the manifest, the manifest against its own digest."""
    manifest = files.get("manifest.json", b"")
    if files.get("manifest.sha256", b"").decode("ascii", "replace") != sha256(manifest) + "  manifest.json\n":
        found.wrong("manifest.json", "与 manifest.sha256 不符", "does not match manifest.sha256")
        return {}
    try:
        content: dict[str, Any] = json.loads(manifest)
    except ValueError:
        found.wrong("manifest.json", "读不出", "cannot be read")
        return {}
    listed = {one["name"]: one for one in content["files"]}
    for name in sorted(set(files) - set(listed) - {"manifest.json", "manifest.sha256"}):
        found.wrong(name, "不在清单上", "is not listed in the manifest")
    for name, one in listed.items():
        if name not in files:
            found.wrong(name, "清单上有而包里没有", "is listed but missing")
        elif len(files[name]) != one["bytes"] or sha256(files[name]) != one["sha256"]:
            found.wrong(name, "内容与清单不符", "content differs from the manifest")
    return content


def table(files: Files, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode("utf-8-sig"), newline="")))


# ── the chain ─────────────────────────────────────────────────────────────────────────────────────────────────────


def climb(digest: bytes, path: list[list[str]]) -> str:
    """From a leaf to the root: SHA-256(01 + left + right) at each step."""
    for side, other in path:
        pair = bytes.fromhex(other) + digest if side == "L" else digest + bytes.fromhex(other)
        digest = hashlib.sha256(b"\1" + pair).digest()
    return digest.hex()


def leaf(piece: bytes) -> bytes:
    return hashlib.sha256(b"\0" + piece).digest()


def root(pieces: list[bytes]) -> str:
    row = [leaf(piece) for piece in pieces]
    while len(row) > 1:
        above = [hashlib.sha256(b"\1" + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)]
        row = above + row[len(row) & ~1 :]
    return row[0].hex()


class Chain:
    """The seal lines and proof lines of one stream, each checked to follow from the one before."""

    def __init__(self, files: Files, stream: str, found: Found) -> None:
        where = f"chain/{stream}/"
        self.seals = [json.loads(line) for line in files[where + "segments.jsonl"].splitlines()]
        proofs = files[where + "proofs.jsonl"].splitlines()
        self.proofs = [json.loads(line) for line in proofs]
        self.lines = [sha256(line) for line in proofs]
        before = NOTHING
        for number, line in enumerate(self.seals):
            if line["segment"] != number or line["previous"] != before:
                found.wrong(f"{where}segments.jsonl", f"第 {number + 1} 行断链", f"line {number + 1} breaks the chain")
            before = line["sha256"]
        before = NOTHING
        for number, proof in enumerate(self.proofs):
            if proof["segment"] != number or proof["previous"] != before or proof["stream"] != int(stream):
                found.wrong(f"{where}proofs.jsonl", f"第 {number + 1} 行断链", f"line {number + 1} breaks the chain")
            elif number >= len(self.seals) or proof["sha256"] != self.seals[number]["sha256"]:
                found.wrong(
                    f"{where}proofs.jsonl",
                    f"第 {number + 1} 行与封存记录不符",
                    f"line {number + 1} differs from its seal line",
                )
            before = self.lines[number]

    def header(self, segment: int, proof: dict[str, Any], found: Found) -> None:
        """The file header is the segment's first piece and names the segment before."""
        header, where = bytes.fromhex(proof["header"]), f"proof.json {proof['stream']}/{segment}"
        if segment >= len(self.proofs) or climb(leaf(header), proof["path"]) != self.proofs[segment]["merkle"]:
            found.wrong(where, "文件头不属于这一段", "the header is no piece of this segment")
            return
        _, stream, number, before = HEADER.unpack(header)
        expected = self.seals[segment - 1]["sha256"] if segment else NOTHING
        if (stream, number, before.hex()) != (int(proof["stream"]), segment, expected):
            found.wrong(where, "文件头所接的不是前一段", "the header does not name the segment before")


def check_chain(files: Files, found: Found) -> dict[str, Chain]:
    names = sorted({name.split("/")[1] for name in files if name.startswith("chain/")})
    chains = {name: Chain(files, name, found) for name in names}
    proof = json.loads(files["proof.json"])
    for one in proof["headers"]:
        chains[f"{one['stream']:04d}"].header(one["segment"], one, found)
    return chains


def check_heads(files: Files, chains: dict[str, Chain], found: Found) -> None:
    """Heads that the platform noted in its audit trail on earlier days must lie in these chains."""
    noted, covered = json.loads(files["noted_heads.json"]), 0
    for one in noted:
        head, chain = one["head"], chains.get(f"{one['head']['stream']:04d}")
        if chain is None:
            continue
        sealed = head["segment"] < 0 or (
            head["segment"] < len(chain.seals) and chain.seals[head["segment"]]["sha256"] == head["sha256"]
        )
        if not sealed or (head["proof"] != NOTHING and head["proof"] not in chain.lines):
            found.wrong(
                "noted_heads.json",
                f"{one['at']} 记下的链头不在链中",
                f"the head noted at {one['at']} is not in the chain",
            )
        name = f"segments/{head['stream']:04d}/{head['open_segment']:07d}.seg"
        if name in files and sha256(files[name][: head["open_bytes"]]) != head["open_sha256"]:
            found.wrong(
                "noted_heads.json", f"{name} 的开头与 {one['at']} 记下的不同", "the segment began otherwise then"
            )
        covered += name in files
    if covered:
        found.note(
            f"{covered} 个链头在封存之前已记下包中整段开头的 SHA-256，相符与否已核",
            f"{covered} heads had noted the beginning of a segment in this pack: checked",
        )
    found.note(
        f"曾记下的链头 {len(noted)} 个，须与平台之外保存的链头比对",
        f"{len(noted)} heads noted: compare them with those kept outside the platform",
    )


# ── frames ────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_frames(files: Files, masked: bool, chains: dict[str, Chain], found: Found) -> dict[str, bytes]:
    """Each record: its bytes, its CRC, its path to the root of its segment. Returns payloads by reference."""
    proofs = json.loads(files["proof.json"])["records"]
    records = files.get("records.bin", b"")
    payloads: dict[str, bytes] = {}
    sealed = still_open = 0
    for row in table(files, "frames.csv"):
        ref, proof = row["ref"], proofs.get(row["ref"])
        stream, segment, _ = (int(part) for part in ref.split("-"))
        if proof is None:
            found.wrong(f"frames.csv {ref}", "没有证明", "has no proof")
            continue
        if not masked:
            start = int(row["offset_in_records_bin"])
            record = records[start : start + int(row["bytes"])]
            payloads[ref] = _record(record, row, found)
            digest = leaf(record)
        else:
            digest = bytes.fromhex(proof["leaf"])
        if proof.get("open"):
            still_open += 1
            continue
        sealed += 1
        chain = chains[f"{stream:04d}"]
        if segment >= len(chain.proofs) or climb(digest, proof["path"]) != chain.proofs[segment]["merkle"]:
            found.wrong(f"frames.csv {ref}", "这一帧不属于它所说的段", "this frame is no piece of the segment it names")
    found.note(f"{sealed} 帧经默克尔路径证明在封存的段中", f"{sealed} frames proved to lie in sealed segments")
    if still_open:
        found.note(
            f"{still_open} 帧所在的段尚未封存：只核对了 CRC，不受哈希链保护",
            f"{still_open} frames in a segment not yet sealed: only their CRC was checked",
        )
    return payloads


def _record(record: bytes, row: dict[str, str], found: Found) -> bytes:
    where = f"records.bin {row['ref']}"
    if len(record) < RECORD.size or sha256(record) != row["sha256"]:
        found.wrong(where, "字节与 frames.csv 不符", "bytes differ from frames.csv")
        return b""
    crc, _, kind, origin, length, micros = RECORD.unpack_from(record)
    source, payload = record[RECORD.size : RECORD.size + origin], record[RECORD.size + origin :]
    if zlib.crc32(record[4:]) != crc or len(payload) != length:
        found.wrong(where, "CRC 或长度不对", "wrong CRC or length")
    said = (KINDS.get(kind), source.decode("utf-8"), str(micros))
    if said != (row["kind"], row["source"], row["received_us"]):
        found.wrong(where, "接收时间、来源或种类与 frames.csv 不符", "time, source or kind differ from frames.csv")
    return payload


def check_segments(files: Files, chains: dict[str, Chain], found: Found) -> None:
    """Whole segments, where the pack holds them: SHA-256, SM3 if this Python can, Merkle root from all pieces."""
    for name, data in files.items():
        if not name.startswith("segments/"):
            continue
        _, stream, last = name.split("/")
        number, chain = int(last.split(".")[0]), chains[stream]
        if number >= len(chain.seals):
            found.note(f"{name} 尚未封存", f"{name} is not sealed yet")
            continue
        if sha256(data) != chain.seals[number]["sha256"]:
            found.wrong(name, "与封存时的 SHA-256 不符", "differs from the SHA-256 it was sealed with")
        elif root(_pieces(data)) != chain.proofs[number]["merkle"]:
            found.wrong(name, "与默克尔根不符", "differs from the Merkle root")
        _sm3(name, data, chain.proofs[number]["sm3"], found)


def _sm3(name: str, data: bytes, expected: str, found: Found) -> None:
    if not expected:
        return
    try:
        digest = hashlib.new("sm3", data).hexdigest()
    except ValueError:
        found.note(f"{name}：此 Python 不含 SM3，未核", f"{name}: this Python has no SM3, not checked")
        return
    if digest != expected:
        found.wrong(name, "与 SM3 不符", "differs from the SM3")


def _pieces(data: bytes) -> list[bytes]:
    """File header, then records; a damaged stretch is one piece."""
    pieces, at, bad = [data[:64]], 64, -1
    while at < len(data):
        size = 0
        if data[at + 4 : at + 6] == b"\xc9\x5a" and len(data) >= at + RECORD.size:
            _, _, _, origin, length, _ = RECORD.unpack_from(data, at)
            size = RECORD.size + origin + length
        if size and at + size <= len(data) and zlib.crc32(data[at + 4 : at + size]) == RECORD.unpack_from(data, at)[0]:
            if bad >= 0:
                pieces.append(data[bad:at])
                bad = -1
            pieces.append(data[at : at + size])
            at += size
        else:
            bad = at if bad < 0 else bad
            at += 1
    return pieces + ([data[bad:]] if bad >= 0 else [])


# ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_values(files: Files, payloads: dict[str, bytes], masked: bool, found: Found) -> None:
    """Decoded values stand in their frames; the ledger's values are those, times the factor of the unit."""
    decoded, loose = set(), 0
    for row in table(files, "decoded.csv"):
        decoded.add((row["ref"], row["code"], row["field"], row["text"]))
        if masked or row["literal"] != "1":
            loose += 1
            continue
        words = (re.escape(row[name].encode("utf-8")) for name in ("code", "field", "text"))
        if not re.search(rb"[;,&]%b-%b=%b(?:[;,&]|$)" % tuple(words), payloads.get(row["ref"], b"")):
            found.wrong(
                f"decoded.csv {row['ref']}",
                f"{row['code']}-{row['field']}={row['text']} 不在帧中",
                "is not in the frame",
            )
    if loose:
        found.note(
            f"{loose} 个解出的值不能逐字在帧中找到（加密、变形或已遮）",
            f"{loose} decoded values do not stand literally in the frames (enciphered, odd or masked)",
        )
    linked = unlinked = 0
    for number, row in enumerate(table(files, "readings.csv"), 2):
        if not row["text"]:
            unlinked += 1
            continue
        linked += 1
        if (row["ref"], row["sent_code"], row["sent_field"], row["text"]) not in decoded:
            found.wrong(f"readings.csv:{number}", "所说的数不在 decoded.csv", "names a value that decoded.csv has not")
        elif not math.isclose(
            float(row["text"]) * float(row["scale"]), float(row["value"]), rel_tol=1e-9, abs_tol=1e-12
        ):
            found.wrong(
                f"readings.csv:{number}",
                "台账的值不等于帧中的数乘以单位换算",
                "the value is not that of the frame times the unit's factor",
            )
    found.note(f"台账读数 {linked} 个与帧中的数逐一相符", f"{linked} readings equal the numbers in their frames")
    if unlinked:
        found.note(
            f"{unlinked} 个读数没有逐一对应（缺测、文件导入、解密、分包或单位后来改过）",
            f"{unlinked} readings without such a link (absent, imported, enciphered, in parts, unit changed since)",
        )


def check_layers(files: Files, found: Found) -> None:
    """Decisions hash to what they say; verdicts rest on readings that are here."""
    for line in files["decisions.jsonl"].splitlines():
        row = json.loads(line)
        if sha256((row["prev_hash"] + row["content"]).encode("utf-8")) != row["hash"]:
            found.wrong(f"decisions.jsonl {row['id']}", "内容与哈希不符", "content differs from its hash")
    known = {
        tuple(int(row[name]) for name in ("series", "kind_number", "ts", "ver")) for row in table(files, "readings.csv")
    }
    elsewhere = 0
    for line in files["verdicts.jsonl"].splitlines():
        row = json.loads(line)
        for key in row["inputs"]:
            if key[0] in row["series_here"] and tuple(key) not in known:
                found.wrong(
                    f"verdicts.jsonl {row['id']}", f"所依据的读数 {key} 不在包中", "rests on a reading that is not here"
                )
            elsewhere += key[0] not in row["series_here"]
    if elsewhere:
        found.note(
            f"判定另依据同一点位其他序列的 {elsewhere} 个读数，不在包中",
            f"verdicts also rest on {elsewhere} readings of other series",
        )


def verify(given: Path) -> tuple[Found, dict[str, Any]]:
    found = Found()
    files = read(given, found)
    manifest = check_files(files, found)
    if found.problems:  # what follows would only repeat it
        return found, manifest
    masked = bool(manifest["masked"])
    try:
        chains = check_chain(files, found)
        check_heads(files, chains, found)
        payloads = check_frames(files, masked, chains, found)
        check_segments(files, chains, found)
        check_values(files, payloads, masked, found)
        check_layers(files, found)
    except (KeyError, ValueError, IndexError, TypeError, struct.error) as error:
        found.wrong("manifest.json", f"包的内容不成样子：{error!r}", "the content of the pack makes no sense")
    return found, manifest


def main(arguments: list[str]) -> int:
    given = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    found, manifest = verify(given)
    if given.is_file():
        print(f"SHA-256  {sha256(given.read_bytes())}  {given.name}")
    if manifest.get("masked"):
        print("这是遮去口令的衍生件，不是原件：帧的字节不能核对 / DERIVED COPY with passwords masked, not the original")
    for line in found.notes + found.problems:
        print(line)
    print("不成立 / DOES NOT HOLD" if found.problems else "成立 / HOLDS")
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
