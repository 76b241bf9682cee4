"""The load generator of the gateway's bench: closed-loop devices, as little between them and the kernel as there is.

Every device sends its frame, waits for the line end of the answer, sends again. The loop is compiled and speaks to the
kernel through an io_uring: one call hands over all that a batch of answers asks to be sent, and brings the next ones.
What the generator costs the gateway cannot have, on the cores they share; epoll, recv and send cost a third more.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Words = NDArray[np.int64]

_LIBC = ctypes.CDLL(None, use_errno=True)
_syscall = _LIBC.syscall
_syscall.restype, _syscall.argtypes = ctypes.c_long, (*(ctypes.c_long,) * 5, ctypes.c_void_p, ctypes.c_long)
_clock = _LIBC.clock_gettime
_clock.restype, _clock.argtypes = ctypes.c_int, (ctypes.c_int, ctypes.c_void_p)
_MONOTONIC = 1

# linux/io_uring.h
_SETUP, _ENTER, _REGISTER = 425, 426, 427
_SETUP_FLAGS = 1 << 3 | 1 << 8 | 1 << 12 | 1 << 13  # CQSIZE, COOP_TASKRUN, SINGLE_ISSUER, DEFER_TASKRUN
_AT_SQ, _AT_CQ, _AT_SQES = 0, 0x8000000, 0x10000000
_FILES, _BUFFERS = 2, 22
_WAIT = 1 << 0 | 1 << 3  # GETEVENTS, EXT_ARG: with a time limit
_RECV = 27 | (1 << 0 | 1 << 5) << 8 | 2 << 16  # of a registered file, into a buffer the kernel picks, again and again
_SEND = 26 | (1 << 0 | 1 << 6) << 8  # to a registered file; heard of only when it fails
_WHOLE = 0x4100 << 32  # NOSIGNAL, WAITALL: the kernel sees to the rest of a frame that did not fit
_GOES_ON = 1 << 33  # in the second word of what comes back: this receiver is still at it
_NO_BUFFER = -105

_SIZE = 512
"""Bytes of a buffer; a longer answer comes in pieces."""
_SHARE, _PATIENCE = 16, 250_000
"""The answers of a sixteenth of the devices are awaited together, but no longer than so many nanoseconds."""
_MOST = 1 << 14
"""Connections: each may ask for two things at a time, and a ring holds 32,768 requests."""
_SENDER = 1 << 32
"""Marks what comes back of a frame."""


class Ring(NamedTuple):
    """What is shared with the kernel. Words: a request has eight, what comes back two, a place for a buffer two."""

    file: int
    requests: Words
    written: NDArray[np.uint32]  # requests so far
    back: Words
    read: NDArray[np.uint32]  # of what came back
    came: NDArray[np.uint32]
    places: Words
    lent: NDArray[np.uint16]  # buffers so far
    space: NDArray[np.uint8]
    limit: Words
    open: Words  # requests that are not handed over yet


def _called(number: int, *arguments: int) -> int:
    found = int(_syscall(number, *arguments, *(0,) * (6 - len(arguments))))
    if found < 0:
        raise SystemExit(f"io_uring: {os.strerror(ctypes.get_errno())}; the bench needs Linux 6.1 that allows io_uring")
    return found


@njit(cache=False, nogil=True)
def _now(spec):
    _clock(_MONOTONIC, spec.ctypes)
    return spec[0] * 1_000_000_000 + spec[1]


@njit(cache=False, nogil=True)
def _ask(ring, what, number, address, size, mark):
    """Write one request about connection `number`; what comes back of it bears the number and the mark."""
    tail = ring.written[0]
    request = ring.requests[tail & (len(ring.requests) - 1)]
    request[:] = 0
    request[0], request[2], request[3], request[4] = what | number << 32, address, size, mark | number
    ring.written[0] = tail + 1
    ring.open[0] += 1


@njit(cache=False, nogil=True)
def _again(ring, buffer):
    """The kernel may fill this buffer again."""
    tail = ring.lent[0]
    place = ring.places[tail & (len(ring.places) - 1)]
    place[0] = ring.space.ctypes.data + buffer * _SIZE
    place[1] = _SIZE | buffer << 32 | (place[1] >> 48) << 48
    ring.lent[0] = tail + 1


@njit(cache=False, nogil=True)
def _turn(ring, frames, sizes, sent, until, waits, start):
    """Answer by answer until the moment `until` [ns]; how many answers came, -1 when a connection ended."""
    count, spec, mask, batch = start, np.zeros(2, np.int64), len(ring.back) - 1, 1 + len(sizes) // _SHARE
    at = _now(spec)
    while at < until:
        done = _syscall(_ENTER, ring.file, ring.open[0], batch, _WAIT, ring.limit[2:].ctypes, 24)
        if done >= 0:
            ring.open[0] -= done
        at = _now(spec)
        place, last = np.int64(ring.read[0]), np.int64(ring.came[0])
        while place != last:
            said, word = ring.back[place & mask]
            place = (place + 1) & 0xFFFFFFFF
            number, got, buffer = said & 0xFFFFFFFF, np.int32(word & 0xFFFFFFFF), (word >> 48) & 0xFFFF
            if not word & _GOES_ON and not said & _SENDER:
                _ask(ring, _RECV, number, 0, 0, 0)
            if got == _NO_BUFFER:
                continue
            if got <= 0 or said & _SENDER:
                return -1
            whole = ring.space[buffer * _SIZE + got - 1] == 10  # else the rest of the line is on its way
            _again(ring, buffer)
            if whole:
                if count < len(waits):
                    waits[count] = at - sent[number]
                count += 1
                sent[number] = at
                _ask(ring, _SEND, number, frames[number].ctypes.data, sizes[number] | _WHOLE, _SENDER)
        ring.read[0] = place
    return count


def ring(files: NDArray[np.int32]) -> Ring:
    """A ring for these connections, each of which is being received from.

    Raises SystemExit where the kernel gives none (before Linux 6.1, or switched off), and for too many connections.
    """
    if len(files) > _MOST:
        raise SystemExit(f"{len(files)} devices: a ring carries {_MOST}")
    count = 1 << (2 * len(files) - 1).bit_length()
    params = np.zeros(30, np.uint32)
    params[1:3] = 2 * count, _SETUP_FLAGS
    file = _called(_SETUP, count, params.ctypes.data)
    _, written, _, _, _, _, numbers = params[10:17].tolist()
    read, came, _, _, _, back = params[20:26].tolist()
    sent = mmap.mmap(file, numbers + 4 * count, offset=_AT_SQ)
    heard = mmap.mmap(file, back + 32 * count, offset=_AT_CQ)
    np.frombuffer(sent, np.uint32, count, numbers)[:] = np.arange(count)
    places = np.frombuffer(mmap.mmap(-1, 16 * count), np.int64).reshape(-1, 2)
    space, limit = np.zeros(count * _SIZE, np.uint8), np.array([0, _PATIENCE, 0, 0, 0], np.int64)
    limit[4] = limit.ctypes.data  # behind the time the argument that names it
    for what, table, length in (
        (_FILES, files, len(files)),
        (_BUFFERS, np.array([places.ctypes.data, count, 0, 0, 0]), 1),
    ):
        _called(_REGISTER, file, what, table.ctypes.data, length)
    made = Ring(
        file,
        np.frombuffer(mmap.mmap(file, 64 * count, offset=_AT_SQES), np.int64).reshape(-1, 8),
        np.frombuffer(sent, np.uint32, 1, written),
        np.frombuffer(heard, np.int64, 4 * count, back).reshape(-1, 2),
        np.frombuffer(heard, np.uint32, 1, read),
        np.frombuffer(heard, np.uint32, 1, came),
        places,
        places.view(np.uint16).ravel()[7:8],
        space,
        limit,
        np.zeros(1, np.int64),
    )
    for buffer in range(count):
        _again(made, buffer)
    for number in range(len(files)):
        _ask(made, _RECV, number, 0, 0, 0)
    return made


def connect(port: int, number: int) -> socket.socket:
    """Devices come from eight addresses, so that the ports of one do not run out."""
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(f"127.0.0.{2 + number % 8}", 0))


def run(
    port: int, frames: Sequence[bytes], idle: int, seconds: float, spent: Callable[[], float], warm_up: float = 2
) -> dict[str, float]:
    """One closed-loop device per frame beside `idle` silent ones; counted for `seconds` after `warm_up` seconds.

    `spent`: the processor seconds of the other side so far. Raises SystemExit when a connection of a device ends or
    nothing is answered.
    """
    table = np.zeros((len(frames), max(map(len, frames))), np.uint8)
    for number, frame in enumerate(frames):
        table[number, : len(frame)] = np.frombuffer(frame, np.uint8)
    sizes = np.array([len(frame) for frame in frames])
    sent = np.full(len(frames), time.monotonic_ns())
    waits = np.zeros(int(400_000 * seconds), np.int64)
    with ExitStack() as open_ones:
        connections = [open_ones.enter_context(connect(port, number)) for number in range(len(frames) + idle)]
        active = connections[: len(frames)]
        for one in active:
            one.settimeout(None)
        made = ring(np.array([one.fileno() for one in active], np.int32))
        open_ones.callback(os.close, made.file)
        rest = (made, table, sizes, sent)
        _turn(*rest, 0, waits, 0)  # compiles
        for one, frame in zip(active, frames, strict=True):
            one.sendall(frame)
        sent[:] = time.monotonic_ns()
        _answered(_turn(*rest, time.monotonic_ns() + int(warm_up * 1e9), waits, 0))
        theirs, used, start = spent(), time.process_time(), time.monotonic_ns()
        count = _answered(_turn(*rest, start + int(seconds * 1e9), waits, 0))
        took, used = (time.monotonic_ns() - start) / 1e9, time.process_time() - used
        theirs = spent() - theirs
    taken = waits[:count] / 1e6
    return {
        "frames_per_s": count / took,
        "p50_ms": float(np.percentile(taken, 50)),
        "p99_ms": float(np.percentile(taken, 99)),
        "generator_share": used / took / (os.cpu_count() or 1),
        "generator_us": used / count * 1e6,
        "gateway_us": theirs / count * 1e6,
    }


def _answered(count: int) -> int:
    if count <= 0:
        raise SystemExit("the gateway ended a connection or answered nothing")
    return count
