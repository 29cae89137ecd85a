"""Compress answers with gzip on request.

Not Litestar's compression: it keeps the strong ETag of the plain body (RFC 9110 §8.8.3 wants another), compresses a
refusal such as `gzip;q=0` too, says `Vary` only where it compresses, and holds the event loop for the time of a whole
body: 25 ms for one megabyte (tests/api/test_compression.py).
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from litestar.types import ASGIApp, Receive, Send

from registry.api.conditional import matches

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
    """Middleware that compresses answers, and answers 304 where a static file's ETag is the client's."""

    async def negotiate(scope: Any, receive: Receive, send: Send) -> None:
        if scope["route_handler"].opt.get(UNCOMPRESSED):
            await app(scope, receive, send)
            return
        accepted = not_matched = None
        for name, value in scope["headers"]:
            if name == b"accept-encoding":
                accepted = value
            elif name == b"if-none-match":
                not_matched = value
        await app(scope, receive, _Sender(send, scope["method"], accepted, not_matched))

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

    def __init__(self, send: Send, method: str, accepted: bytes | None, not_matched: bytes | None) -> None:
        self._send = send
        self._method = method
        self._accepted = accepted is not None and accepts_gzip(accepted)
        self._not_matched = not_matched
        self._start: Any = None
        self._compressor: Any = None
        self._is_done = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] != "http.response.body" or self._is_done:
            if not self._is_done:
                await self._send(message)
        elif self._start is not None:
            await self._begin(self._start, message)
        else:
            await self._continue(message)

    async def _begin(self, start: Any, message: Any) -> None:
        """Send the header, now that the first part of the body shows whether to compress."""
        self._start = None
        headers = list(start.get("headers", ()))
        known = {name.lower(): value for name, value in headers}
        body, more = message.get("body", b""), message.get("more_body", False)
        if start["status"] == 200 and self._is_current(known.get(b"etag")):
            self._is_done = True
            kept = [(n, v) for n, v in headers if n.lower() not in (b"content-length", b"content-type")]
            await self._send_both(
                {**start, "status": 304, "headers": kept}, {**message, "body": b"", "more_body": False}
            )
            return
        if _is_compressible(known) and (more or len(body) >= MIN_SIZE or self._method == "HEAD"):
            headers = _varying(headers)
            if self._accepted and self._method != "HEAD":
                self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        if self._compressor is None:
            await self._send_both({**start, "headers": headers}, message)
            return
        packed = await self._compress(body, more)
        length = [] if more else [(b"content-length", str(len(packed)).encode())]
        headers = [*_of_compressed(headers), (b"content-encoding", b"gzip"), *length]
        await self._send_both({**start, "headers": headers}, {**message, "body": packed})

    async def _send_both(self, start: Any, message: Any) -> None:
        await self._send(start)
        await self._send(message)

    def _is_current(self, etag: bytes | None) -> bool:
        """Whether the client has the answer with this ETag."""
        if etag is None or self._not_matched is None or self._method not in ("GET", "HEAD"):
            return False
        return matches(self._not_matched.decode("latin-1"), etag.decode("latin-1").removeprefix("W/"))

    async def _continue(self, message: Any) -> None:
        if self._compressor is not None:
            more = message.get("more_body", False)
            packed = await self._compress(message.get("body", b""), more)
            if more and not packed:
                return
            message = {**message, "body": packed}
        await self._send(message)

    async def _compress(self, body: bytes, more: bool) -> bytes:
        if len(body) > MAX_INLINE:
            return await asyncio.to_thread(self._compress_now, body, more)
        return self._compress_now(body, more)

    def _compress_now(self, body: bytes, more: bool) -> bytes:
        packed: bytes = self._compressor.compress(body)
        return packed if more else packed + self._compressor.flush()


def _is_compressible(headers: Mapping[bytes, bytes]) -> bool:
    return b"content-encoding" not in headers and bool(_COMPRESSIBLE.match(headers.get(b"content-type", b"")))


def _varying(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add Accept-Encoding to the answer's Vary."""
    for place, (name, value) in enumerate(headers):
        if name.lower() == b"vary":
            if b"accept-encoding" not in value.lower():
                headers[place] = (name, value + b", Accept-Encoding")
            return headers
    return [*headers, (b"vary", b"Accept-Encoding")]


def _of_compressed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without the length of the plain body, and with a weak ETag.

    The API's ETags stay strong: they are `"VERSION;DAY"` by contract, and a client sends the version back in If-Match.
    """
    is_state = any(name.lower() == b"content-type" and value.startswith(b"application/json") for name, value in headers)
    return [
        (name, b"W/" + value)
        if name.lower() == b"etag" and not value.startswith(b"W/") and not is_state
        else (name, value)
        for name, value in headers
        if name.lower() != b"content-length"
    ]
