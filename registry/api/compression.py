"""Compress answers with gzip on request.

Not Litestar's compression: it keeps the strong ETag of the plain body (RFC 9110 §8.8.3 wants another), compresses a
refusal such as `gzip;q=0` too, says `Vary` only where it compresses, and holds the event loop for the time of a whole
body: 25 ms for one megabyte (tests/api/test_compression.py).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from registry.api.conditional import matches
from registry.infra.own_work import in_thread

# The name of the handler option that turns compression off, for streams.
UNCOMPRESSED = "uncompressed"

# Bytes of a body that is not worth it.
MIN_SIZE = 1024

LEVEL = 6

# Bytes that are compressed on the event loop: about 2 ms.
MAX_INLINE = 64 * 1024

_GZIP_WINDOW = 31  # zlib's number for the gzip format with the largest window.

_COMPRESSIBLE = re.compile(
    rb"text/|application/(?:[a-z0-9.+-]*\+)?(?:json|xml|x-ndjson|javascript|link-format)|image/svg"
)
_GZIP = re.compile(r"(?:x-)?gzip|\*")


def compression(app: ASGIApp) -> ASGIApp:
    """An application that compresses another one's answers, and answers 304 where an ETag is the client's.

    It wraps the whole application: as a middleware of Litestar's layers, it would add an exception handler to each
    request (5 of the 105 µs of a GET).
    """

    async def negotiate(scope: Any, receive: Receive, send: Send) -> None:
        accepted = not_matched = None
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                accepted = value
            elif name == b"if-none-match":
                not_matched = value
        await app(scope, receive, _Sender(send, scope, accepted, not_matched))

    return negotiate


@lru_cache(maxsize=256)
def accepts_gzip(header: bytes) -> bool:
    """Whether an Accept-Encoding header admits gzip (RFC 9110 §12.5.3)."""
    quality = {}
    for part in header.decode("latin-1").lower().split(","):
        coding, _, parameter = part.partition(";")
        if _GZIP.fullmatch(coding.strip()):
            weight = parameter.replace(" ", "").removeprefix("q=")
            quality[coding.strip()] = not re.fullmatch(r"0(\.0*)?", weight)
    return quality.get("gzip", quality.get("x-gzip", quality.get("*", False)))


class _Sender:
    """Sends the messages of one answer, compressed if the client and the answer allow it."""

    def __init__(
        self, send: Callable[[Any], Awaitable[None]], scope: Any, accepted: bytes | None, not_matched: bytes | None
    ) -> None:
        self._send = send
        self._scope = scope
        self._accepted = accepted
        self._not_matched = not_matched
        # The header of a compressed answer waits for the first part of the body.
        self._start: Any = None
        self._compressor: Any = None
        self._is_done = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif self._compressor is not None and message["type"] == "http.response.body":
            await self._continue(message)
        elif not self._is_done:
            await self._send(message)

    async def _begin(self, start: Any) -> None:
        """Send the header. It says whether to compress: a body without a stated length is a stream."""
        headers = start.get("headers", ())
        known = dict(headers)
        if start["status"] == 200 and self._not_matched is not None and self._is_current(known.get(b"etag")):
            self._is_done = True
            kept = [(n, v) for n, v in headers if n not in (b"content-length", b"content-type")]
            await self._send({**start, "status": 304, "headers": kept})
            await self._send({"type": "http.response.body", "body": b""})
            return
        if self._is_compressible(known):
            start["headers"] = _varying(headers, known)
            if self._accepted is not None and accepts_gzip(self._accepted) and self._scope["method"] != "HEAD":
                self._start = start
                self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
                return
        await self._send(start)

    def _is_current(self, etag: bytes | None) -> bool:
        """Whether the client has the answer with this ETag."""
        if etag is None or self._not_matched is None or self._scope["method"] not in ("GET", "HEAD"):
            return False
        return matches(self._not_matched.decode("latin-1"), etag.decode("latin-1").removeprefix("W/"))

    def _is_compressible(self, headers: Mapping[bytes, bytes]) -> bool:
        if b"content-encoding" in headers or not _is_compressible_type(headers.get(b"content-type", b"")):
            return False
        # A path without a handler is answered, too.
        handler = self._scope.get("route_handler")
        if handler is not None and handler.opt.get(UNCOMPRESSED):
            return False
        return int(headers.get(b"content-length", MIN_SIZE)) >= MIN_SIZE or self._scope["method"] == "HEAD"

    async def _continue(self, message: Any) -> None:
        """Send a part of the body compressed, the first after the header."""
        more = message.get("more_body", False)
        packed = await self._compress(message.get("body", b""), more)
        if self._start is not None:
            start, self._start = self._start, None
            length = [] if more else [(b"content-length", str(len(packed)).encode())]
            start["headers"] = [*_of_compressed(start["headers"]), (b"content-encoding", b"gzip"), *length]
            await self._send(start)
        elif more and not packed:
            return
        await self._send({**message, "body": packed})

    async def _compress(self, body: bytes, more: bool) -> bytes:
        if len(body) > MAX_INLINE:
            return await in_thread(self._compress_now, body, more)
        return self._compress_now(body, more)

    def _compress_now(self, body: bytes, more: bool) -> bytes:
        packed: bytes = self._compressor.compress(body)
        return packed if more else packed + self._compressor.flush()


@lru_cache(maxsize=256)
def _is_compressible_type(content_type: bytes) -> bool:
    return bool(_COMPRESSIBLE.match(content_type))


def _varying(headers: Iterable[tuple[bytes, bytes]], known: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Add Accept-Encoding to the answer's Vary."""
    vary = known.get(b"vary")
    if vary is None:
        return [*headers, (b"vary", b"Accept-Encoding")]
    if b"accept-encoding" in vary.lower():
        return list(headers)
    return [(n, v + b", Accept-Encoding") if n == b"vary" else (n, v) for n, v in headers]


def _of_compressed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without the length of the plain body, and with a weak ETag.

    The API's ETags stay strong: they are `"VERSION;DAY"` by contract, and a client sends the version back in If-Match.
    """
    is_state = any(name == b"content-type" and value.startswith(b"application/json") for name, value in headers)
    return [
        (name, b"W/" + value) if name == b"etag" and not value.startswith(b"W/") and not is_state else (name, value)
        for name, value in headers
        if name != b"content-length"
    ]
