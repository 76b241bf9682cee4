"""Where fuzzing begins: the project's own small frames and, where it is present, the published corpus."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from ceguan.intake.hj212.frame import encode

CORPUS = Path(os.environ.get("CEGUAN_TRUTH", Path(__file__).parents[2] / "shared" / "truth")) / "hj212"

OWN = [
    encode(st="31", cn="2011", mn="1", qn="20160801085857223", pw="123456", flag=5, datatime="20160801085857",
           factors={"a21026": {"Rtd": "18.5", "Flag": "N"}, "a34013": {"Rtd": "1", "ZsRtd": "2"}}),
    encode(st="32", cn="2061", mn="1", datatime="20160801080000", pnum=2, pno=1, flag=7,
           factors={"011": {"Cou": "1", "Min": "1", "Avg": "2", "Max": "3"}}),
    encode(st="32", cn="3020", mn="1", flag=4, cp={"PolId": "w01018"}, factors={"i11001": {"Info": "//清洗,a;b=1//"}}),
    encode(st="91", cn="9011", mn="1", flag=0, cp={"QN": "20040516010101001", "QnRtn": "1", "CTime": ["04", "10"]}),
    encode(st="32", cn="2062", mn="1", flag=9, datatime="20240601000000", rf="1",
           factors={"w01018": {"SampleRd": "98", "StandardValue": "100", "ResultType": "1"}}, key=b"0" * 16),
    encode(st="22", cn="2011", mn="1", crc_dialect="modbus"), encode(st="22", cn="2011", crc_dialect="modbus_swapped"),
    b"AT+CSQ\r\nOK\r\n", b"##0x63QN=1;CP=&&&&4540\r\n", b"##0012ST=1;CP=&&\\r\\n", b"ST=32;CN=2011;,FLAG=0;PW=;MN=",
    b"##0091ST=31;CN=2011;MN=1;Flag=9;CP=&&{0xE4,0x3E,0x15}N&&B541\r\n", "CP=&&文字-Info=//零点//;;&&".encode("gbk"),
]  # fmt: skip


def write(target: str, folder: Path) -> None:
    """One file per seed, named by its content. A stream begins with the two bytes that chop it."""
    for seed in OWN + published():
        data = b"\0\0" + seed if target == "stream" else seed[6:-6] if seed.startswith(b"##") else seed
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def published() -> list[bytes]:
    """Frames and streams of the published corpus; none where it is absent."""
    files = sorted(CORPUS.glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_bytes().splitlines()]
    return [
        bytes.fromhex("".join(row["chunks_hex"]) if "chunks_hex" in row else row["frame_hex"])
        if "chunks_hex" in row or row.get("frame_hex")
        else row["frame"].encode()
        for row in rows
    ]
