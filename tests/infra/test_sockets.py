"""The service's socket: its port is its own from the start, and it listens only when the service is ready."""

from __future__ import annotations

import contextlib
import socket

import pytest

from registry.infra.sockets import allow_reuse, bind

HOST = "127.0.0.1"


def port_of(bound: socket.socket) -> int:
    return int(bound.getsockname()[1])


def test_port_is_taken_and_refuses_connections_until_the_service_listens() -> None:
    with bind(HOST, 0) as bound:
        port = port_of(bound)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        with pytest.raises(OSError, match="in use"):
            bind(HOST, port)
        with bind(HOST, port, next_free=True) as next_free:
            assert port < port_of(next_free) < port + 100
        bound.listen()
        socket.create_connection((HOST, port)).close()
        with pytest.raises(OSError, match="in use"):
            bind(HOST, port)


def test_port_of_a_service_that_ended_is_free_while_its_connections_still_end() -> None:
    with bind(HOST, 0) as bound:
        port = port_of(bound)
        bound.listen()
        allow_reuse(bound)
        client = socket.create_connection((HOST, port))
        accepted, _ = bound.accept()
    with contextlib.closing(client):
        # The side that closes first waits for late packets: it has the port for a minute.
        accepted.close()
        assert client.recv(1) == b""
    with contextlib.suppress(OSError), socket.socket() as plain:
        plain.bind((HOST, port))
        pytest.fail("nothing of the connection is left: this tests nothing")
    with bind(HOST, port) as again:
        assert port_of(again) == port
