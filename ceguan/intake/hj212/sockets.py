"""Listening sockets and descriptors of the gateway."""

from __future__ import annotations

import resource
import socket

BACKLOG = 4096


class PortTakenError(OSError):
    """Nothing can listen there; the message names the setting."""


def listen(host: str, port: int, shared: bool = False) -> socket.socket:
    """A listening socket; `shared`: others of ours listen on the same port. Raises PortTakenError."""
    if not 0 <= port < 65536:
        raise PortTakenError(f"网关端口 {port}：应为 0 到 65535；见 --port 或 CEGUAN_GATEWAY_PORT")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortTakenError(
            f"网关端口 {host}:{port} 不能用（{error.strerror}）；换一个：--port 或 CEGUAN_GATEWAY_PORT"
        ) from None
    listener.setblocking(False)
    return listener


def raise_descriptor_limit() -> int:
    """Each connection is a descriptor: take all the system allows. Returns the limit in force."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
