"""The documentation that the service serves of itself: the contract, a page to try it, a page on every problem.

Everything is in this package; no page loads anything from elsewhere.
"""

from __future__ import annotations

import hashlib
import html
import re
from functools import cache
from pathlib import Path
from typing import Any

from litestar import Response, route
from litestar.params import FromPath

from registry.api import parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.api.problems import PROBLEMS
from registry.errors import NotFound

STATIC = Path(__file__).parent / "static"

FILES = {
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}

# Swagger UI shows small pictures that are part of its style sheet; nothing else is needed from anywhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{head}
<link rel="icon" href="data:,">
</head>
<body{attributes}>
{body}
</body>
</html>
"""


@route("/openapi.json", http_method=READ)
async def get_openapi(request: Request) -> Response[bytes | None]:
    """This contract."""
    parameters.query(request, {})
    return _unchanged(request, request.app.state.contract, "application/json")


@route("/docs", http_method=READ)
async def get_docs(request: Request) -> Response[str]:
    """The contract as a page, on which each operation can be tried."""
    parameters.query(request, {})
    head = (
        '<link rel="stylesheet" href="/docs/static/swagger-ui.css">\n'
        '<link rel="stylesheet" href="/docs/static/docs.css">\n'
        '<script src="/docs/static/swagger-ui-bundle.js" defer></script>\n'
        '<script src="/docs/static/docs.js" defer></script>'
    )
    noscript = '<noscript><p>Without JavaScript: <a href="/openapi.json">/openapi.json</a></p></noscript>'
    body = f'<div id="swagger-ui"></div>\n{noscript}'
    return _page("The registry's API", head, body, ' class="docs-swagger"')


@route("/docs/problems", http_method=READ)
async def get_problems(request: Request) -> Response[str]:
    """Each kind of problem: what it means, and what to do."""
    parameters.query(request, {})
    return _page("Problems", '<link rel="stylesheet" href="/docs/static/docs.css">', problems_page())


@route("/docs/static/{file:str}", http_method=READ)
async def get_file(request: Request, file: FromPath[str]) -> Response[bytes | None]:
    """A file of these pages."""
    if file not in FILES:
        raise NotFound("file", file=file[:80])
    return _unchanged(request, read(file), FILES[file])


@cache
def read(file: str) -> bytes:
    """A file of the documentation's pages."""
    path = STATIC / file
    return (path if path.exists() else STATIC / "swagger-ui" / file).read_bytes()


@cache
def problems_page() -> str:
    """The body of the page on problems, from the table that answers are made of."""
    parts = [
        "<h1>Problems</h1>",
        "<p>Whatever is refused is answered with a problem document (RFC 9457): <code>code</code> is stable and meant "
        "for programs, <code>detail</code> says what was wrong this time, <code>request_id</code> finds the request in "
        "the service's log.</p>",
    ]
    for code, problem in PROBLEMS.items():
        parts.append(
            f'<h2 id="{code}">{html.escape(problem.title)}</h2>\n'
            f'<p class="status"><code>{code}</code>, status {problem.status}</p>\n<p>{_render_inline(problem.meaning)}</p>'  # noqa: E501
        )
    return "\n".join(parts)


def _render_inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def _page(title: str, head: str, body: str, attributes: str = "") -> Response[str]:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    content = PAGE.format(title=title, head=head, body=body, attributes=attributes)
    return Response(content, media_type="text/html", headers=headers)


def _unchanged(request: Request, content: bytes, media_type: str) -> Response[bytes | None]:
    headers = {"ETag": f'"{_digest(content)}"', "Cache-Control": "no-cache"}
    if parameters.matches(request, headers["ETag"]):
        return Response(None, status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


@cache
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


OPERATIONS = (
    Operation(handler=get_openapi, tag="Service", answer=dict[str, Any], open=True),
    Operation(handler=get_docs, tag="Service", other={"text/html": "A page."}, open=True),
    Operation(handler=get_problems, tag="Service", other={"text/html": "A page."}, open=True),
)
UNDOCUMENTED_ROUTES = (get_file,)
