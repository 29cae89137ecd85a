"""Send answers: compressed with gzip on request, and as 304 where their ETag is the client's.

Not Litestar's compression: it keeps the strong ETag of the plain body (RFC 9110 §8.8.3 wants another), compresses a
refusal such as `gzip;q=0` too, says `Vary` only where it compresses, and holds the event loop for the time of a whole
body: 25 ms for one megabyte (tests/http/test_compression.py).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from registry.http.bodies import raw_header
from registry.http.conditional import matches
from registry.infra.work_time import in_thread

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


class AnswerSender:
    """Sends the messages of one answer.

    It is the `send` function of the whole application: as a middleware of Litestar's layers, it would add an exception
    handler to each request (5 of the 105 µs of a GET).
    """

    def __init__(self, send: Callable[[Any], Awaitable[None]], scope: Any) -> None:
        self._send = send
        self._scope = scope
        # The header of a compressed answer waits for the first part of the body.
        self._start: Any = None
        self._compressor: Any = None
        # The answer is complete: what the application still sends is discarded.
        self._is_done = False

    async def __call__(self, message: Any) -> None:
        if self._is_done:
            return
        if message["type"] == "http.response.start":
            for ready in self._begin(message):
                await self._send(ready)
        elif self._compressor is not None and message["type"] == "http.response.body":
            await self._continue(message)
        else:
            await self._send(message)

    def more_headers(self, given: Mapping[bytes, bytes], status: int) -> Iterable[tuple[bytes, bytes]]:
        """The headers to add to an answer, which is about to be sent."""
        return ()

    def _begin(self, start: Any) -> tuple[Any, ...]:
        """Complete the header of an answer. Returns the messages to send: none before the first compressed part."""
        headers = start.get("headers", ())
        given = dict(headers)
        if start["status"] == 200 and b"etag" in given and self._is_current(given[b"etag"]):
            self._is_done = True
            kept = [(n, v) for n, v in headers if n not in (b"content-length", b"content-type")]
            start.update(status=304, headers=[*kept, *self.more_headers(given, 304)])
            return start, {"type": "http.response.body", "body": b""}
        more = self.more_headers(given, start["status"])
        if not self._is_compressible(given):
            start["headers"] = [*headers, *more]
            return (start,)
        start["headers"] = [*_varying(headers, given), *more]
        accepted = raw_header(self._scope, b"accept-encoding")
        if accepted is None or not accepts_gzip(accepted) or self._scope["method"] == "HEAD":
            return (start,)
        self._start = start
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        return ()

    def _is_current(self, etag: bytes) -> bool:
        """Whether the client has the answer with this ETag."""
        not_matched = raw_header(self._scope, b"if-none-match")
        if not_matched is None or self._scope["method"] not in ("GET", "HEAD"):
            return False
        return matches(not_matched.decode("latin-1"), etag.decode("latin-1").removeprefix("W/"))

    def _is_compressible(self, headers: Mapping[bytes, bytes]) -> bool:
        if int(headers.get(b"content-length", MIN_SIZE)) < MIN_SIZE and self._scope["method"] != "HEAD":
            return False
        if b"content-encoding" in headers or not _is_compressible_type(headers.get(b"content-type", b"")):
            return False
        # A path without a handler is answered, too.
        handler = self._scope.get("route_handler")
        return handler is None or not handler.opt.get(UNCOMPRESSED)

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
