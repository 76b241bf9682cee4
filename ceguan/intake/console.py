"""How the verbs of this room say on the terminal what went wrong."""

from __future__ import annotations

import sys


def cause(error: OSError) -> str:
    """Why a file could not be read or written, in words for the operator."""
    causes: dict[type[OSError], str] = {
        FileNotFoundError: "文件不存在",
        IsADirectoryError: "是目录，不是文件",
        PermissionError: "没有读写权限",
    }
    return causes.get(type(error)) or f"无法读写（{error.strerror or error}）"


def failed(text: str) -> int:
    """Say it on standard error; the exit code that goes with it."""
    print(text, file=sys.stderr)
    return 2
