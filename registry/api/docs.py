"""Documentation that the service serves: the OpenAPI document, a page to try it, a page about problems.

Every asset is in this package; no page loads anything from elsewhere.
"""

from __future__ import annotations

import hashlib
import html
import re
import threading
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from litestar import Controller, Litestar, Response
from litestar.datastructures import CacheControlHeader

from registry.api.openapi import LICENCE, NOT_MODIFIED, reading
from registry.http.bodies import Request
from registry.http.conditional import matches
from registry.http.guards import PUBLIC
from registry.http.parameters import IfNoneMatch
from registry.http.problems import PROBLEMS, text
from registry.http.responses import RawResponse, json_response, not_modified, raw_headers
from registry.http.static_files import static_files_router
from registry.i18n import DEFAULT_LANGUAGE, Label, negotiate_language, render
from registry.infra.data_licence_setting import DataLicence
from registry.infra.work_time import in_thread

STATIC = Path(__file__).parent / "static"

# Swagger UI's style sheet has its icons as data URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE = """\
<!doctype html>
<html lang="{language}">
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

SWAGGER_HEAD = """\
<link rel="stylesheet" href="/docs/static/swagger-ui.css">
<link rel="stylesheet" href="/docs/static/docs.css">
<script src="/docs/static/swagger-ui-bundle.js" defer></script>
<script src="/docs/static/docs.js" defer></script>"""

SWAGGER_BODY = """\
<p class="about" lang="{language}">{note} <a href="/">{home}</a></p>
<div id="swagger-ui"></div>
<noscript><p>Without JavaScript: <a href="/openapi.json">/openapi.json</a></p></noscript>"""


class DocsController(Controller):
    """The service's documentation of itself."""

    tags = ("Service",)

    @reading("/openapi.json", scope=PUBLIC, responses=NOT_MODIFIED)
    async def get_openapi(self, request: Request, if_none_match: IfNoneMatch = None) -> RawResponse[dict[str, Any]]:
        """This OpenAPI document."""
        document, etag = await in_thread(_document, request.app, request.app.state.settings.data_licence)
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if matches(if_none_match, etag):
            return not_modified(raw_headers(headers))
        return json_response(document, headers)

    @reading("/docs", scope=PUBLIC, media_type="text/html", response_description="A page.")
    async def get_docs(self, request: Request) -> Response[str]:
        """The OpenAPI document as a page, on which each operation can be tried."""
        language = negotiate_language(request.headers.get("accept-language"))
        note, home = (render(Label(f"docs/{text}"), language) for text in ("language", "home"))
        body = SWAGGER_BODY.format(language=language, note=html.escape(note), home=html.escape(home))
        return _page("The registry's API", SWAGGER_HEAD, body, ' class="docs-swagger"')

    @reading("/docs/problems", scope=PUBLIC, media_type="text/html", response_description="A page.")
    async def get_problems(self, request: Request) -> Response[str]:
        """Each kind of problem: what it means, and what to do."""
        language = negotiate_language(request.headers.get("accept-language"))
        title = render(Label("docs/problems"), language)
        head = '<link rel="stylesheet" href="/docs/static/docs.css">'
        return _page(title, head, problems_page(language), language=language)


def _document(app: Litestar, licence: DataLicence | None) -> tuple[bytes, str]:
    """The OpenAPI document with the licence of the data, and its ETag."""
    # In a thread: it takes half a second when it is first made.
    with _one_at_a_time:
        made: dict[DataLicence | None, tuple[bytes, str]] = app.state.setdefault("openapi_documents", {})
        if licence not in made:
            document = app.openapi_schema.to_schema()
            if licence is not None:
                info = document["info"]
                document["info"] = {**info, "description": info["description"] + LICENCE.format(licence=licence)}
            content = msgspec.json.encode(document)
            made[licence] = content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return made[licence]


_one_at_a_time = threading.Lock()


@cache
def problems_page(language: str) -> str:
    """Return the body of the page about problems."""
    home = html.escape(render(Label("docs/home"), language))
    parts = [
        f'<p class="about"><a href="/">{home}</a></p>',
        f"<h1>{html.escape(render(Label('docs/problems'), language))}</h1>",
        f"<p>{_render_inline(render(Label('docs/problems_meaning'), language))}</p>",
    ]
    status = html.escape(render(Label("docs/status"), language))
    for code, problem in PROBLEMS.items():
        parts.append(
            f'<h2 id="{code}">{html.escape(text(code, "title", language))}</h2>\n'
            f'<p class="status"><code>{code}</code>, {status} {problem.status}</p>\n'
            f"<p>{_render_inline(text(code, 'meaning', language))}</p>"
        )
    return "\n".join(parts)


def _render_inline(markdown: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(markdown, quote=False))


def _page(title: str, head: str, body: str, attributes: str = "", language: str = DEFAULT_LANGUAGE) -> Response[str]:
    content = PAGE.format(title=title, head=head, body=body, attributes=attributes, language=language)
    headers = raw_headers({"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "Accept-Language"})
    return RawResponse(content.encode(), 200, headers, b"text/html; charset=utf-8")


# A browser keeps the assets for an hour.
static_router = static_files_router(
    "/docs/static",
    STATIC,
    STATIC / "swagger-ui",
    name="docs-static",
    opt={"scope": PUBLIC},
    include_in_schema=False,
    cache_control=CacheControlHeader(max_age=3600, public=True),
)
