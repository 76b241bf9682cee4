"""Numbers of many series out of SQLite as columns, without an object for each cell.

Python's sqlite3 makes a tuple and its members for every row, three quarters of what a month of many series costs. Here
a compiled loop steps a statement through SQLite's own C interface, in the very library that Python's module uses – two
copies of it in one process would break each other's locks. Importing this module raises ImportError where that library
does not show its functions.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import binding
from numba import types
from numpy.typing import NDArray

from ceguan.store.kernels import compiled

Numbers = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""series, ts, value."""

ROW, DONE, NULL = 100, 101, 5
READ_ONLY, NO_MUTEX, FOREIGN_TEXT = 0x1, 0x8000, -1
CHUNK = 1 << 18
BUSY_MS = 30_000
_POINTER, _INT = types.intp, types.int32

try:
    _LIBRARY = ctypes.CDLL(_sqlite3.__file__)
    _FUNCTIONS = {
        name: getattr(_LIBRARY, f"sqlite3_{name}")
        for name in (
            *("open_v2", "close_v2", "busy_timeout", "exec", "errmsg", "extended_errcode", "prepare_v2", "finalize"),
            *("bind_int64", "bind_double", "bind_text", "reset", "step"),
            *("column_int64", "column_double", "column_type"),
        )
    }
except (AttributeError, OSError) as error:
    raise ImportError(f"SQLite's C interface is out of reach: {error}") from error

for _name, _arguments in (
    ("open_v2", [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]),
    ("close_v2", [ctypes.c_void_p]),
    ("busy_timeout", [ctypes.c_void_p, ctypes.c_int]),
    ("exec", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]),
    ("errmsg", [ctypes.c_void_p]),
    ("extended_errcode", [ctypes.c_void_p]),
    ("prepare_v2", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]),
    ("finalize", [ctypes.c_void_p]),
    ("bind_int64", [ctypes.c_void_p, ctypes.c_int, ctypes.c_int64]),
    ("bind_double", [ctypes.c_void_p, ctypes.c_int, ctypes.c_double]),
    ("bind_text", [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_ssize_t]),
):
    _FUNCTIONS[_name].argtypes = _arguments
_FUNCTIONS["errmsg"].restype = ctypes.c_char_p


def _inner(name: str, result: Any, *arguments: Any) -> Any:
    """A function of the library for compiled code, by a name of ours, so that what numba keeps finds it again."""
    binding.add_symbol(f"ceguan_sqlite3_{name}", ctypes.cast(_FUNCTIONS[name], ctypes.c_void_p).value)
    return types.ExternalFunction(f"ceguan_sqlite3_{name}", result(*arguments))


_step = _inner("step", _INT, _POINTER)
_reset = _inner("reset", _INT, _POINTER)
_bind = _inner("bind_int64", _INT, _POINTER, _INT, types.int64)
_whole = _inner("column_int64", types.int64, _POINTER, _INT)
_number = _inner("column_double", types.float64, _POINTER, _INT)
_type = _inner("column_type", _INT, _POINTER, _INT)


@compiled("int64(intp, int64[::1], int64[::1], int64[::1], int64[::1], float64[::1])")
def _fill(statement, wanted, state, series, ts, value):
    """Rows of one series after the other until the columns are full; how many. `state`: which series is next, whether
    its rows are under way, and the code of what went wrong (0 = nothing)."""
    count = 0
    while state[0] < len(wanted):
        if state[1] == 0:
            _reset(statement)
            _bind(statement, 1, wanted[state[0]])
            state[1] = 1
        while True:
            if count == len(ts):
                return count
            code = _step(statement)
            if code != ROW:
                break
            series[count], ts[count] = _whole(statement, 0), _whole(statement, 1)
            value[count] = np.nan if _type(statement, 2) == NULL else _number(statement, 2)
            count += 1
        if code != DONE:
            state[2] = code
            return count
        state[0], state[1] = state[0] + 1, 0
    return count


class Reader:
    """A read-only connection of its own to the database at `path`; for one thread, like the one it stands beside."""

    def __init__(self, path: Path) -> None:
        self._open = False
        self._handle = ctypes.c_void_p()
        flags = READ_ONLY | NO_MUTEX
        try:
            self._check(_FUNCTIONS["open_v2"](str(path).encode(), ctypes.byref(self._handle), flags, None))
            _FUNCTIONS["busy_timeout"](self._handle, BUSY_MS)
            self._say("PRAGMA mmap_size = 1073741824")
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """What is read up to `end` is the state of this moment."""
        self.end()
        self._say("BEGIN")
        self._open = True
        self._say("SELECT 1 FROM sqlite_master LIMIT 1")  # SQLite takes its snapshot with the first look

    def end(self) -> None:
        if self._open:
            self._open = False
            self._say("COMMIT")

    def read(self, sql: str, series: Sequence[int], arguments: Sequence[Any]) -> Numbers:
        """The rows of `SELECT series, ts, value … WHERE series = ? AND …` for each of the series; NULL is NaN."""
        statement = ctypes.c_void_p()
        self._check(_FUNCTIONS["prepare_v2"](self._handle, sql.encode(), -1, ctypes.byref(statement), None))
        try:
            for place, argument in enumerate(arguments, 2):
                self._bind(statement, place, argument)
            return self._rows(statement, np.asarray(series, np.int64))
        finally:
            _FUNCTIONS["finalize"](statement)

    def _rows(self, statement: ctypes.c_void_p, wanted: NDArray[np.int64]) -> Numbers:
        state, chunks = np.zeros(3, np.int64), []
        while state[0] < len(wanted):
            chunk = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64), np.empty(CHUNK)
            count = _fill(statement.value, wanted, state, *chunk)
            chunks.append([column[:count] for column in chunk])
            self._check(int(state[2]))
        none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
        series, ts, value = (np.concatenate(parts) for parts in zip(none, *chunks, strict=True))
        return series, ts, value

    def _bind(self, statement: ctypes.c_void_p, place: int, argument: Any) -> None:
        if isinstance(argument, str):
            text = argument.encode()
            self._check(_FUNCTIONS["bind_text"](statement, place, text, len(text), FOREIGN_TEXT))
        elif isinstance(argument, float):
            self._check(_FUNCTIONS["bind_double"](statement, place, argument))
        else:
            self._check(_FUNCTIONS["bind_int64"](statement, place, int(argument)))

    def _say(self, sql: str) -> None:
        self._check(_FUNCTIONS["exec"](self._handle, sql.encode(), None, None, None))

    def _check(self, code: int) -> None:
        """Raises what sqlite3 would raise."""
        if code:
            error = sqlite3.OperationalError(_FUNCTIONS["errmsg"](self._handle).decode(errors="replace"))
            error.sqlite_errorcode = _FUNCTIONS["extended_errcode"](self._handle)
            raise error

    def close(self) -> None:
        _FUNCTIONS["close_v2"](self._handle)
        self._handle = ctypes.c_void_p()
