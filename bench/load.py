"""The load generator of the gateway's bench: closed-loop devices, nothing between them and the system's calls.

Every device sends its frame, waits for the line end of the answer, sends again. The loop is compiled and calls the C
library's epoll_wait, recv and send itself: what it costs is what the system's calls cost, the same in every run.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import time
from collections.abc import Callable, Sequence

import numpy as np
from numba import njit

_LIBC = ctypes.CDLL(None)
_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_ssize_t


def _call(name: str, result: type, *arguments: type) -> Callable[..., int]:
    function = getattr(_LIBC, name)
    function.restype, function.argtypes = result, arguments
    return function


_wait = _call("epoll_wait", _INT, _INT, _POINTER, _INT, _INT)
_recv = _call("recv", _LONG, _INT, _POINTER, _LONG, _INT)
_send = _call("send", _LONG, _INT, _POINTER, _LONG, _INT)
_clock = _call("clock_gettime", _INT, _INT, _POINTER)

_EVENT_BYTES = 12  # struct epoll_event is packed on x86-64: events u32, data u64
_MOST_EVENTS = 1024
_MONOTONIC = 1
_NO_SIGNAL = 0x4000


@njit(cache=False, nogil=True)
def _now(spec):  # type: ignore[no-untyped-def]
    _clock(_MONOTONIC, spec.ctypes)
    return spec[0] * 1_000_000_000 + spec[1]


@njit(cache=False, nogil=True)
def _turn(epoll, devices, frames, sizes, sent, until, waits, start):  # type: ignore[no-untyped-def]
    """Answer by answer until the moment `until` [ns]; how many answers came, -1 when a connection ended."""
    events, spec, answer = (
        np.zeros(_MOST_EVENTS * _EVENT_BYTES, np.uint8),
        np.zeros(2, np.int64),
        np.zeros(4096, np.uint8),
    )
    count = start
    at = _now(spec)
    while at < until:
        ready = _wait(epoll, events.ctypes, _MOST_EVENTS, 100)
        at = _now(spec)
        for k in range(ready):
            place = _EVENT_BYTES * k + 4
            number = events[place] | events[place + 1] << 8 | events[place + 2] << 16
            got = _recv(devices[number], answer.ctypes, len(answer), 0)
            if got <= 0:
                return -1
            if answer[got - 1] != 10:  # the rest of the line is on its way
                continue
            if count < len(waits):
                waits[count] = at - sent[number]
            count += 1
            sent[number] = at
            frame = frames[number]
            if _send(devices[number], frame.ctypes, sizes[number], _NO_SIGNAL) != sizes[number]:
                return -1
    return count


def connect(port: int, number: int) -> socket.socket:
    """Devices come from eight addresses, so that the ports of one do not run out."""
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(f"127.0.0.{2 + number % 8}", 0))


def run(port: int, frames: Sequence[bytes], idle: int, seconds: float, spent: Callable[[], float]) -> dict[str, float]:
    """One closed-loop device per frame beside `idle` silent ones; counted for `seconds` after a warm-up of two.

    `spent`: the processor seconds of the other side so far.
    """
    connections = [connect(port, number) for number in range(len(frames) + idle)]
    active = connections[: len(frames)]
    devices = np.array([one.fileno() for one in active], np.int32)
    table = np.zeros((len(frames), max(map(len, frames))), np.uint8)
    for number, frame in enumerate(frames):
        table[number, : len(frame)] = np.frombuffer(frame, np.uint8)
    sizes = np.array([len(frame) for frame in frames])
    sent = np.full(len(frames), time.monotonic_ns())
    with select.epoll() as epoll:
        for number, one in enumerate(active):
            one.settimeout(None)
            _LIBC.epoll_ctl(epoll.fileno(), 1, one.fileno(), _event(number))
        waits = np.zeros(int(400_000 * seconds), np.int64)
        rest = (epoll.fileno(), devices, table, sizes, sent)
        _turn(*rest, 0, waits, 0)  # compiles
        for one, frame in zip(active, frames, strict=True):
            one.sendall(frame)
        sent[:] = time.monotonic_ns()
        _answered(_turn(*rest, time.monotonic_ns() + 2_000_000_000, waits, 0))
        theirs, used, start = spent(), time.process_time(), time.monotonic_ns()
        count = _answered(_turn(*rest, start + int(seconds * 1e9), waits, 0))
        took, used = (time.monotonic_ns() - start) / 1e9, time.process_time() - used
        theirs = spent() - theirs
    for one in connections:
        one.close()
    taken = waits[:count] / 1e6
    return {
        "frames_per_s": count / took,
        "p50_ms": float(np.percentile(taken, 50)),
        "p99_ms": float(np.percentile(taken, 99)),
        "generator_share": used / took / (os.cpu_count() or 1),
        "generator_us": used / count * 1e6,
        "gateway_us": theirs / count * 1e6,
    }


def _event(number: int) -> ctypes.Array[ctypes.c_char]:
    """struct epoll_event: readable, with the device's number."""
    return ctypes.create_string_buffer((select.EPOLLIN).to_bytes(4, "little") + number.to_bytes(8, "little"), 12)


def _answered(count: int) -> int:
    if count <= 0:
        raise SystemExit("the gateway ended a connection or answered nothing")
    return count
