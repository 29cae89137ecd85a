"""Static files of the pages, and tables as CSV."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

from litestar import Response
from litestar.datastructures import CacheControlHeader

from registry.exports.csv import csv_bytes
from registry.http.responses import stream
from registry.http.static_files import static_files_router
from registry.web.page.request import PageRequest

FOLDER = Path(__file__).parents[1] / "static"


@cache
def static_url(name: str) -> str:
    """The address of a static file. It has a hash of the content, so that clients may cache the file for ever."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


static_files = static_files_router(
    "/static",
    FOLDER,
    cache_control=CacheControlHeader(public=True, max_age=31_536_000, immutable=True),
)


def csv_response(page: PageRequest, name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Response[bytes]:
    """A table as CSV (RFC 4180), in UTF-8 with a byte order mark, which spreadsheets need to read Korean."""
    content = codecs.BOM_UTF8 + csv_bytes(chain([head], rows))
    return Response(content, media_type="text/csv", headers=_csv_headers(page, name))


def csv_stream(page: PageRequest, name: str, head: Sequence[str], parts: AsyncIterable[bytes]) -> Response[bytes]:
    """The same of a table whose rows are read while it is sent."""

    async def chunks() -> AsyncIterator[bytes]:
        yield codecs.BOM_UTF8 + csv_bytes([head])
        async for part in parts:
            yield part

    return stream(page.request, chunks(), media_type="text/csv", headers=_csv_headers(page, name))


def _csv_headers(page: PageRequest, name: str) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-cache" if page.key is not None else "no-cache",
        "Vary": "Accept-Language, Cookie",
        "X-Content-Type-Options": "nosniff",
    }
