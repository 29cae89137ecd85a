"""The HTTP connection: uvicorn's httptools protocol with bounds on what a client may send before it is answered.

httptools has no limits of its own. It copies a header field that arrives in pieces once per piece: 50 MB in one value
stopped the process for 2 s, and unfinished requests stayed open. h11, hypercorn and granian limit headers, but h11
costs four times and hypercorn six times as much a request, and granian closes neither slow nor idle connections
(docs/limits.md has the figures).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, cast

import msgspec
from msgspec import Struct
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from registry.errors import BadRequest, BodyTimeout, HeadersTooLarge, Overloaded, RegistryError
from registry.events.codec import random_bytes
from registry.http.bodies import WHOLE_BODY
from registry.http.open_connections import OpenConnections
from registry.http.problems import PROBLEMS, code_of, document
from registry.http.rate_limits import client_network
from registry.i18n import DEFAULT_LANGUAGE

_VERSIONS = ("1.0", "1.1")

# Seconds that a stopping service receives the rest of a request that is answered already.
STOPPING_LINGER_SECONDS = 1.0


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """What a client may use of a service. Times are in seconds, sizes in bytes.

    Args:
        connections: Open connections. A new one replaces the one that is idle for longest, or if none is idle, one of
            the client that has the most.
        head_size: The request line and the header, or a chunk's header, or the trailer of a body.
        fields: Fields of a header.
        head_seconds: From the connection's begin, or the head's first byte, to the end of the head.
        idle_seconds: How long a connection stays open after an answer without another request.
        linger_seconds: How long a connection stays open to receive the rest of a request that is answered already.
        write_seconds: How long a client may take to read the next part of an answer, or to send the next part of the
            body that is being answered.
    """

    connections: int = 4_096
    head_size: int = 64 * 1024
    fields: int = 256
    head_seconds: float = 10
    idle_seconds: float = 5
    linger_seconds: float = 5
    write_seconds: float = 60


class LimitedConfig(Config):
    """uvicorn's configuration with the limits of a connection."""

    limits: ConnectionLimits
    open_connections: OpenConnections


class _AnswerTransport:
    """Writes the head of an answer together with its body: each write is a system call, and wakes the client.

    uvicorn writes the two one after the other. A head whose body comes later, as that of a stream, is written in the
    loop's next round.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
        """`end` ends the connection after its last answer."""
        self._transport = transport
        self._loop = loop
        self._end = end
        self._head: bytes | None = None
        self._has_begun = False

    def write(self, data: bytes) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.writelines((head, data))
        elif self._has_begun:
            self._transport.write(data)
        else:
            self._has_begun, self._head = True, data
            self._loop.call_soon(self._write_head)

    def _write_head(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        self._write_head()
        self._end()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `close_if_expired` must be called regularly."""

    def __init__(self, config: Config, server_state: ServerState, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, server_state, *args, **kwargs)
        self._limits = cast("LimitedConfig", config).limits
        self._open = cast("LimitedConfig", config).open_connections
        # Bytes that were parsed since the last part of a body, or the last end of a head or a message.
        self._unproductive = 0
        self._progress = False
        self._in_head = self._in_body = False
        # The answer is written, and what the client still sends is discarded.
        self._refused = False
        self._is_stopping = False
        self._deadline: float | None = None
        self._blocked_since: float | None = None
        # That of the request in progress, or of the one before; uvicorn's middleware changes its client.
        self._latest_scope: Any = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        super().connection_made(transport)
        self._latest_scope = {"client": self.client}
        now = self.loop.time()
        self._deadline = now + self._limits.head_seconds
        if not self._open.admit(self, self.network, now):
            self._refuse(Overloaded("connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.remove(self)
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._open.begin(self, self.loop.time())
        self._latest_scope = cycle.scope
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        # httptools' cost is quadratic in what it gets without progress, so it never gets more than the limit.
        while data and not self._refused and not self.transport.is_closing():
            room = self._limits.head_size - self._unproductive
            if room == 0:
                self._refuse(HeadersTooLarge(limit=self._limits.head_size, count=self._limits.fields))
                return
            piece, data = (data, b"") if len(data) <= room else (data[:room], data[room:])
            self._progress = False
            super().data_received(piece)
            self._unproductive = 0 if self._progress else self._unproductive + len(piece)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        # The first head of a connection has its time from the connection's begin.
        if self.cycle is not None:
            self._deadline = self.loop.time() + self._limits.head_seconds

    def on_headers_complete(self) -> None:
        self._progress, self._in_head, self._in_body, self._deadline = True, False, True, None
        if len(self.headers) > self._limits.fields:
            self._refuse(HeadersTooLarge(limit=self._limits.head_size, count=self._limits.fields))
        elif not _is_delimited(self.headers, self.parser.get_http_version()):
            self._refuse(BadRequest("syntax"))
        if not self._refused:
            super().on_headers_complete()
            if self.scope["method"] != "HEAD":
                self.cycle.transport = cast("asyncio.Transport", _AnswerTransport(self.transport, self.loop, self._end))

    def on_body(self, body: bytes) -> None:
        self._progress = True
        if self._blocked_since is not None:
            # Many clients send all lines of an import before they read the first result.
            self._blocked_since = self.loop.time()
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress, self._in_body = True, False
        if not self._refused:
            self.scope["state"][WHOLE_BODY] = True
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Do as uvicorn without its timer, which took 2 % of a GET: `close_if_expired` closes idle connections."""
        self.server_state.total_requests += 1
        self._open.end(self)
        now = self.loop.time()
        if self._in_body:
            self._deadline = now + self._limits.linger_seconds
        elif self.transport.is_closing():
            self._deadline = None
        else:
            seconds = self._limits.head_seconds if self._in_head else self._limits.idle_seconds
            self._deadline = now + seconds
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._blocked_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._blocked_since = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequest("syntax"))

    @property
    def is_idle(self) -> bool:
        """Whether no request is in progress."""
        # uvicorn sets it to None until the first request, but declares it without.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    @property
    def network(self) -> str:
        """The address of the client of the latest request; behind a trusted proxy, as the proxy names it."""
        return client_network(self._latest_scope)

    def abort(self) -> None:
        """Close the connection at once, without sending the rest."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Close the connection, after the answer of the request in progress."""
        self._is_stopping = True
        super().shutdown()

    def close_if_expired(self, now: float) -> None:
        """Close the connection if its client took too long.

        Args:
            now: The time of the loop's clock.
        """
        if self._blocked_since is not None and now - self._blocked_since > self._limits.write_seconds:
            self.abort()
        elif self.transport.is_closing() and self._deadline is None:
            # What is left to send may never be read.
            self._deadline = now + self._limits.write_seconds
        elif self._deadline is not None and now >= self._deadline and self.is_idle:
            if self._refused or self.transport.is_closing():
                self.abort()
            elif self._in_body or not self._unproductive:
                self.transport.close()
            else:
                self._refuse(BodyTimeout("headers", seconds=f"{self._limits.head_seconds:g}"))

    def _end(self) -> None:
        """Close the connection after its last answer; while the client still sends the body, as `_refuse` does."""
        if self._in_body:
            self._refused = True
            self.transport.write_eof()
            if self._is_stopping:
                # `close_if_expired` is not called any more.
                self.loop.call_later(STOPPING_LINGER_SECONDS, self.abort)
        else:
            self.transport.close()

    def _refuse(self, error: RegistryError) -> None:
        """Answer, and discard what the client still sends for a while: a reset connection would lose the answer."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._deadline = self.loop.time() + self._limits.linger_seconds
        if self.is_idle:
            self.transport.write(_answer(error))
            self.transport.write_eof()
        else:
            # An earlier request of the same connection is in progress.
            self.transport.close()


def _is_delimited(headers: list[tuple[bytes, bytes]], version: str) -> bool:
    """Whether the end of a request is certain: httptools leaves it open after other encodings than chunked.

    HTTP/1.0 has no encodings, and HTTP/0.9 no headers (RFC 9112 section 6.1).
    """
    encodings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    return version in _VERSIONS and (not encodings or (encodings == [b"chunked"] and version == "1.1"))


def _answer(error: RegistryError) -> bytes:
    """A whole answer to a request that does not reach the application."""
    code = code_of(error)
    kind = PROBLEMS[code]
    request_id = random_bytes(16).hex()
    body = msgspec.json.encode(document(code, error, DEFAULT_LANGUAGE, request_id))
    lines = [
        f"HTTP/1.1 {kind.status} {code.replace('_', ' ')}",
        f"date: {format_datetime(datetime.now(UTC), usegmt=True)}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        f"x-request-id: {request_id}",
        "connection: close",
    ]
    if kind.retry_after is not None:
        lines.append(f"retry-after: {kind.retry_after}")
    return "\r\n".join([*lines, "", ""]).encode() + body
