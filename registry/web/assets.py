"""Static files, and tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from litestar import Response, route
from litestar.params import FromPath

from registry.api.deals import READ
from registry.errors import NotFound
from registry.web import render
from registry.web.render import Request


@route("/static/{name:str}", http_method=READ)
async def get_static(request: Request, name: FromPath[str]) -> Response[bytes]:
    """A static file. Its address holds its content's hash, so it may be kept for ever."""
    found = render.static_file(name)
    if found is None:
        raise NotFound("file", file=name)
    body, packed, media_type = found
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = packed, "gzip"
    return Response(body, media_type=media_type, headers=headers)


def csv_response(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Response[bytes]:
    """A table as CSV (RFC 4180), in UTF-8 with its mark so that spreadsheets read Korean."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([escape_formula(cell) for cell in row] for row in rows)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(b"\xef\xbb\xbf" + text.getvalue().encode(), media_type="text/csv", headers=headers)


def escape_formula(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


HANDLERS = [get_static]
