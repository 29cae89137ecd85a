"""Responses whose bytes are encoded already, and their headers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from litestar import Response
from litestar.response import Stream

from registry.http.bodies import Request, header

T = TypeVar("T")

RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
LD_JSON = b"application/ld+json"
REVALIDATED: RawHeaders = ((b"cache-control", b"no-cache"),)


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Return headers as ASGI sends them."""
    return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items())


class RawResponse(Response[T], Generic[T]):
    """A response of encoded bytes; `T` is the type that the OpenAPI document gives for them.

    Litestar's `Response` merges cookies, encoders and headers of several layers first: a sixth of the time of a POST.
    """

    def __init__(
        self, content: bytes, status: int = 200, headers: RawHeaders = (), media_type: bytes | None = JSON
    ) -> None:
        self.content = content  # type: ignore[assignment]
        self.status_code = status
        self.cookies = []
        self.background = None
        self._headers = list(headers)
        if media_type is not None:
            self._headers += ((b"content-type", media_type), (b"content-length", str(len(content)).encode()))

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        """Return the ASGI application that sends the bytes."""
        return self._send

    async def _send(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._headers})
        await send({"type": "http.response.body", "body": self.content})


def location(address: str) -> str:
    """Return an address as a Location field has it: what no address contains, such as a line feed, is escaped.

    Paths arrive unescaped from the server.
    """
    return quote(address, safe="/?#[]@!$&'()*+,;=:%-._~")


def base_url(request: Request) -> str:
    """Return the address at which the client reaches the registry, without a slash at its end."""
    return str(request.base_url).rstrip("/")


def wants_linked_data(request: Request) -> bool:
    """Whether the client asks for JSON-LD."""
    return LD_JSON.decode() in (header(request, b"accept") or "")


def json_response(content: bytes, headers: Mapping[str, str] | None = None, status: int = 200) -> RawResponse[Any]:
    """Return encoded JSON; a cache must revalidate it unless `headers` say otherwise."""
    return RawResponse(content, status, REVALIDATED if headers is None else raw_headers(headers))


def page_headers(
    request: Request, following: Mapping[str, str] | None, cache_control: str = "no-cache"
) -> dict[str, str]:
    """Return the headers of a page of a list: with the parameters of the next page, a link to it."""
    headers = {"Cache-Control": cache_control}
    if following is not None:
        query = urlencode({**dict(request.query_params.items()), **following})
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return headers


def stream(
    request: Request, chunks: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str]
) -> Response[Any]:
    """Return a response that is sent while its chunks are made; for HEAD, its header."""
    if request.method == "HEAD":
        # No Content-Length: the size is known when the file is written.
        content_type = f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
        return RawResponse(b"", 200, raw_headers({**headers, "Content-Type": content_type}), None)
    return Stream(chunks, media_type=media_type, headers=dict(headers))


def not_modified(headers: RawHeaders) -> RawResponse[Any]:
    """Return 304: the client's stored answer is current."""
    return RawResponse(b"", 304, headers, None)
