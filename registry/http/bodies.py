"""Request bodies as bytes.

Litestar would decode a body into a handler's `data` leniently: "5" becomes 5, and a long number passes through a float
(docs/design.md). The strict decoders of `registry.events.intake` read the bytes instead.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from litestar import Request as LitestarRequest

from registry.errors import BodyTimeout, IncompleteBody, Overloaded, TooLarge, UnsupportedMediaType
from registry.infra import freeing

Request: TypeAlias = LitestarRequest[Any, Any, Any]

T = TypeVar("T")

# Bytes of a request's body. Up to four times as many are read and discarded, so that the client gets the answer instead
# of a reset connection (test_bodies.py).
BODY_LIMIT = 8 * 2**20

# Seconds for a whole body, or for the next piece of an import: a stalled client must not hold its connection.
BODY_SECONDS = 60.0


# The request's state has it once the server has received the whole body (`LimitedProtocol`).
WHOLE_BODY = "whole_body"

# The request's state has the check of its key, which is repeated once a body has arrived that took its time.
CHECK_AGAIN = "check_again"

# Bytes of all bodies of a process that are being received, and of those that wait to be decoded.
TOTAL_LIMIT = 64 * 2**20

# A smaller body is decoded on the event loop, within a millisecond or two.
LARGE_BODY = 64 * 1024


class BodyBudget:
    """Bounds the memory of the bodies that are being received.

    When it is used up, the body that began first is refused: complete bodies take milliseconds, so that one is slow.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        # In the order in which they began.
        self._open: dict[_OpenBody, None] = {}

    def add(self, body: _OpenBody, size: int) -> None:
        """Count more bytes of a body."""
        self._open.setdefault(body)
        body.size += size
        self._size += size
        while self._size > self._limit:
            oldest = next(iter(self._open))
            oldest.is_refused = True
            oldest.timeout.reschedule(0)
            self.remove(oldest)

    def remove(self, body: _OpenBody) -> None:
        """Stop to count a body."""
        if body in self._open:
            del self._open[body]
            self._size -= body.size


class _OpenBody:
    """A body that is being received; `timeout` ends its receiver."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self.timeout = timeout
        self.size = 0
        self.is_refused = False


budget = BodyBudget(TOTAL_LIMIT)


class BodyDecoder:
    """Decodes large bodies in a thread, so that the event loop answers others meanwhile (bench/holds.py).

    One thread, and a bound on the bodies that wait for it, so that decoding never needs more memory than it would on
    the loop.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, "decode")

    async def decode(self, decode: Callable[[bytes], T], body: bytes) -> T:
        """What `decode` makes of a body.

        Raises:
            Overloaded: Too many bodies wait.
        """
        if len(body) < LARGE_BODY:
            return decode(body)
        if self._waiting + len(body) > self._limit:
            raise Overloaded("bodies")
        self._waiting += len(body)
        try:
            decoded = await asyncio.get_running_loop().run_in_executor(self._thread, decode, body)
        finally:
            self._waiting -= len(body)
        freeing.once_unused(*(decoded if isinstance(decoded, tuple) else (decoded,)))
        return decoded


decoder = BodyDecoder(TOTAL_LIMIT)


async def read_body(request: Request, content_type: str = "application/json", limit: int | None = None) -> bytes:
    """Return the bytes of a request's body.

    Args:
        request: The request.
        content_type: The only media type that is accepted.
        limit: The most bytes that the body may have. Default: BODY_LIMIT.

    Raises:
        UnsupportedMediaType: The body has another type.
        BodyTimeout, IncompleteBody: The body did not arrive.
        TooLarge: The body is over the limit.
        Overloaded: Too many bodies are being received.
        Unauthorized, Forbidden: The request's key has lost its rights meanwhile.
    """
    require_content_type(request, content_type)
    body = await _receive(request, BODY_LIMIT if limit is None else limit)
    if (check_again := request.scope["state"].get(CHECK_AGAIN)) is not None:
        await check_again(request)
    return body


async def _receive(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    body: _OpenBody | None = None
    # Nearly all bodies have arrived when their handler begins. A timeout takes 2 % of a post.
    is_whole = WHOLE_BODY in request.scope["state"]
    try:
        async with nullcontext() if is_whole else asyncio.timeout(BODY_SECONDS) as timeout:
            more = True
            while more and size <= 4 * BODY_LIMIT:
                message: Any = await request.receive()
                if message["type"] == "http.disconnect":
                    raise IncompleteBody
                chunk, more = message.get("body", b""), message.get("more_body", False)
                size += len(chunk)
                if size <= limit:
                    chunks.append(chunk)
                    # A body that arrives at once is not counted.
                    if more and timeout is not None:
                        body = body or _OpenBody(timeout)
                        budget.add(body, len(chunk))
                else:
                    chunks.clear()
                    if body is not None:
                        budget.remove(body)
    except TimeoutError:
        if body is not None and body.is_refused:
            raise Overloaded("bodies") from None
        raise BodyTimeout(seconds=f"{BODY_SECONDS:g}") from None
    finally:
        if body is not None:
            budget.remove(body)
    if size > limit:
        raise TooLarge(limit=limit)
    return b"".join(chunks)


def require_content_type(request: Request, *content_types: str) -> str:
    """Return the media type of a body, which is one of these, in UTF-8 and not compressed.

    Raises:
        UnsupportedMediaType: It is not.
    """
    content_type = header(request, b"content-type") or ""
    media_type, is_utf8 = _parsed(content_type)
    if media_type not in content_types or not is_utf8:
        raise UnsupportedMediaType(
            "type" if content_type else "missing", given=content_type[:100], expected=content_types[0]
        )
    encoding = header(request, b"content-encoding") or "identity"
    if encoding.lower() != "identity":
        raise UnsupportedMediaType("encoding", given=encoding[:100])
    return media_type


@lru_cache(maxsize=256)
def _parsed(content_type: str) -> tuple[str, bool]:
    """The media type, and whether the charset is UTF-8 or not given."""
    media_type, _, parameters = content_type.partition(";")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", parameters, re.IGNORECASE)
    return media_type.strip().lower(), charset is None or charset.group(1).lower() in ("utf-8", "utf8")


def header(request: Request, name: bytes) -> str | None:
    """Return a header of a request. `request.headers` parses all of them first."""
    value = raw_header(request.scope, name)
    return value.decode("latin-1") if value is not None else None


def raw_header(scope: Any, name: bytes) -> bytes | None:
    """Return the bytes of a header, by its name in lower case; the first of several."""
    for other, value in scope["headers"]:
        if other == name:
            return value  # type: ignore[no-any-return]
    return None
