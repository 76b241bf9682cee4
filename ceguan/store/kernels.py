"""Compiled loops over bytes: how each kernel of the house is made. Needs numba, so only who has kernels imports it.

They are compiled once and kept beside their source or, where that cannot be written, under NUMBA_CACHE_DIR or the
user's cache folder; without any of them each process compiles for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

_UNCOUNTED: dict[str, Any] = {"_nrt": False}
part: Any = njit(**_UNCOUNTED)
"""For what a kernel is made of. Most kernels allocate nothing: without counting references (which numba does wherever
an array is handed on) they run half as long again."""


def compiled(signature: Any, *, counting: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A kernel: compiled when the module is imported, kept in numba's cache where a folder can be written.

    `counting`: references are counted, as assigning slices to slices needs it.
    """

    options = {} if counting else _UNCOUNTED

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return njit(signature, cache=True, nogil=True, **options)(function)
        except (RuntimeError, OSError):
            return njit(signature, nogil=True, **options)(function)

    return made
