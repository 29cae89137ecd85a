"""The socket of the service: it has its port from the start, and listens when the service is ready."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress

PORTS_TRIED = 100


def bind(host: str, port: int, *, next_free: bool = False) -> socket.socket:
    """A socket with a port; with `next_free`, with the next free one if `port` is taken.

    It does not listen: until the service is ready its connections are refused, so that clients and proxies turn to
    another service at once instead of waiting for this one (tests/infra/test_sockets.py).

    Raises:
        OSError: No port is free.
    """
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    last = min(port + PORTS_TRIED, 65_535) if next_free and port else port
    for tried in range(port, last):
        with suppress(OSError):
            return _bound(host, tried, family)
    return _bound(host, last, family)


def _bound(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # With SO_REUSEADDR, Linux gives one port to several sockets of which none listens. Without it, it refuses a
        # port of which connections still end.
        try:
            bound.bind((host, port))
        except OSError:
            allow_reuse(bound)
            bound.bind((host, port))
        # Connections inherit TCP_NODELAY. asyncio's own loop does not set it on accepted sockets, and a response's body
        # would wait 40 ms for its head to be acknowledged. uvloop sets it.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        bound.close()
        raise
    return bound


def allow_reuse(listening: socket.socket) -> None:
    """Let the next service have the port while connections of this one still end. Windows lets it anyway."""
    if sys.platform != "win32":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
