"""A TCP proxy between the registry and Postgres that cuts connections before or after a chosen statement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit


class FaultProxy:
    """Forward connections to a server. `down` refuses new ones."""

    def __init__(self, url: str) -> None:
        self._server = url
        self.url = url
        self.down = False
        self.cuts = 0
        self._ends: set[asyncio.StreamWriter] = set()
        self._countdown = 0
        self._word = b""
        self._deliver = False
        self._stays_down = False

    def inject_fault(self, *, at: int = 0, word: bytes = b"", deliver: bool = False, stay_down: bool = False) -> None:
        """Cut at the `at`th message of a client from now on, or at the first that contains `word`.

        `deliver`: the server still gets it, and the client never gets the answer. `stay_down`: nobody connects after.
        """
        self._countdown, self._word, self._deliver, self._stays_down = at, word, deliver, stay_down

    @property
    def armed(self) -> bool:
        """Whether the cut has not happened yet."""
        return self._countdown > 0 or bool(self._word)

    def _due(self, said: bytes) -> bool:
        if self._word and self._word in said:
            self._word = b""
            return True
        if self._countdown:
            self._countdown -= 1
            return self._countdown == 0
        return False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions until either side closes it."""
        self._ends.add(writer)
        if self.down:
            writer.transport.abort()
            return
        parts = urlsplit(self._server)
        folder = parse_qs(parts.query).get("host", [""])[0]
        if folder:
            there = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{parts.port or 5432}")
        else:
            there = await asyncio.open_connection(parts.hostname, parts.port)
        self._ends.add(there[1])
        back = asyncio.create_task(_pass_on(there[0], writer))
        with suppress(OSError):
            while said := await reader.read(2**20):
                if self._due(said):
                    self.cuts += 1
                    self.down = self._stays_down
                    if self._deliver:
                        back.cancel()
                        await asyncio.wait([back])
                        there[1].write(said)
                        await there[1].drain()
                        # Wait until the server has executed the statement.
                        await there[0].read(2**20)
                    for end in self._ends if self.down else ():
                        end.transport.abort()
                    break
                there[1].write(said)
                await there[1].drain()
        back.cancel()
        writer.transport.abort()
        there[1].transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while said := await reader.read(2**20):
            writer.write(said)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the server of a URL; `url` leads through the proxy."""
    made = FaultProxy(url)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    made.url = urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}", query="sslmode=disable"))
    try:
        yield made
    finally:
        server.close()
        for end in made._ends:
            end.transport.abort()
        await asyncio.sleep(0.01)
