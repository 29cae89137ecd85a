"""Fixtures: a service with short limits, and connections that send what they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest_asyncio
from msgspec import Struct

from registry.http.protocol import ConnectionLimits
from tests.conftest import PATIENCE
from tests.databases import Server
from tests.service import Service, cloned, running

LIMITS = ConnectionLimits(connections=60, head_seconds=1, linger_seconds=1, write_seconds=1)


class RawConnection(Struct):
    """A TCP connection to the service."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        """Send bytes, as long as the service takes them."""
        try:
            for part in parts:
                self.writer.write(part)
                await self.writer.drain()
        except ConnectionError:
            pass

    async def answer(self) -> bytes:
        """Return all bytes that the service sends until it closes the connection."""
        received = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                while part := await self.reader.read(2**16):
                    received += part
        except ConnectionError:
            pass
        return bytes(received)

    async def status(self) -> int:
        """Return the status of the next answer on a connection that stays open; 0 if the connection is closed."""
        try:
            line = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        return int(line.split()[1])


@asynccontextmanager
async def connected(service: Service, address: str | None = None) -> AsyncIterator[RawConnection]:
    """Open a connection, from an address of this machine if one is given."""
    place = urlsplit(service.url)
    local = (address, 0) if address is not None else None
    reader, writer = await asyncio.open_connection(place.hostname, place.port, local_addr=local)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


@pytest_asyncio.fixture(scope="session")
async def limited(server: Server, admin: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[Service]:
    """A service with short limits."""
    async with cloned(server, admin, "limits") as settings, running(settings, LIMITS) as service:
        yield service
