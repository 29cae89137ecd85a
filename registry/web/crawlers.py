"""What search engines read: robots.txt, and a sitemap of the pages as they are now.

The same page at another point in time, or with filters, has another address, so a crawler would find an endless number
of them. robots.txt therefore excludes addresses with a query.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from xml.etree.ElementTree import Element, SubElement, tostring

from litestar import Controller, Response, route
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers.base import BaseRouteHandler
from litestar.params import PathParameter, SkipValidation

from registry.domain.history import AsOf
from registry.errors import NotFound
from registry.http.bodies import Request
from registry.http.responses import base_url
from registry.infra.settings import Settings
from registry.infra.threads import offload_answer
from registry.projections.columnar.selection import Selection
from registry.queries.named_organizations import NamedOrganizations
from registry.queries.portfolio import PortfolioQueries
from registry.web.page.request import READ

NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"
ADDRESSES_PER_FILE = 50_000
"""The most addresses that a sitemap may have (sitemaps.org)."""

PAGES = ("/", "/totals", "/compare", "/organizations", "/log", "/about", "/help", "/glossary")
NOT_READ = (
    "/*?",
    "/record",
    "/sign-in",
    "/proposals",
    "/imports",
    "/sessions",
    "/watches",
    "/v1/",
    "/embed/",
    "/charts/",
)


def _require_public(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Hide the sitemap where the pages cannot be read without a key.

    Raises:
        NotFound: They cannot.
    """
    if not connection.app.state.settings.public_read:
        raise NotFound("path", path=connection.url.path)


class CrawlerPages(Controller):
    """Files for search engines. A registry that needs a key for reading excludes crawlers from all pages."""

    @route("/robots.txt", http_method=READ)
    async def get_robots(
        self, request: Request, settings: NamedDependency[SkipValidation[Settings]]
    ) -> Response[bytes]:
        """The addresses that crawlers should not read."""
        if not settings.public_read:
            return _file(b"User-agent: *\nDisallow: /\n", "text/plain")
        rules = "".join(f"Disallow: {path}\n" for path in NOT_READ)
        return _file(
            f"User-agent: *\nAllow: /static/\n{rules}Sitemap: {base_url(request)}/sitemap.xml\n".encode(), "text/plain"
        )

    @route("/sitemap.xml", http_method=READ, guards=[_require_public])
    async def get_sitemap(
        self,
        request: Request,
        portfolio_queries: NamedDependency[PortfolioQueries],
        named_organizations: NamedDependency[NamedOrganizations],
    ) -> Response[bytes]:
        """The files of the sitemap."""
        count = await portfolio_queries.count(await portfolio_queries.point(AsOf()), Selection())
        counts = {"deals": count, "organizations": (await named_organizations.count()).all}
        files = ["pages"]
        for kind, addresses in counts.items():
            files += [f"{kind}/{number}" for number in range(1, -(-addresses // ADDRESSES_PER_FILE) + 1)]
        index = Element("sitemapindex", xmlns=NAMESPACE)
        for file in files:
            SubElement(SubElement(index, "sitemap"), "loc").text = f"{base_url(request)}/sitemaps/{file}"
        return _file(tostring(index, encoding="utf-8", xml_declaration=True), "application/xml")

    @route("/sitemaps/pages", http_method=READ, guards=[_require_public])
    async def get_pages(self, request: Request) -> Response[bytes]:
        """The pages beside those of deals."""
        return await _sitemap(request, [(path, None) for path in PAGES])

    @route("/sitemaps/deals/{number:int}", http_method=READ, guards=[_require_public])
    async def get_deals(
        self,
        request: Request,
        number: Annotated[int, PathParameter(description="The number of the file.", ge=1, le=10_000)],
        portfolio_queries: NamedDependency[PortfolioQueries],
    ) -> Response[bytes]:
        """The pages of some deals, each with the day of its latest record."""
        point = await portfolio_queries.point(AsOf())
        deals = await portfolio_queries.updates(point, (number - 1) * ADDRESSES_PER_FILE, ADDRESSES_PER_FILE)
        if not deals:
            raise NotFound("path", path=request.url.path)
        return await _sitemap(request, [(f"/deals/{deal}", recorded) for deal, recorded in deals])

    @route("/sitemaps/organizations/{number:int}", http_method=READ, guards=[_require_public])
    async def get_organizations(
        self,
        request: Request,
        number: Annotated[int, PathParameter(description="The number of the file.", ge=1, le=10_000)],
        named_organizations: NamedDependency[NamedOrganizations],
    ) -> Response[bytes]:
        """The pages of some organizations."""
        slugs = (await named_organizations.slugs())[(number - 1) * ADDRESSES_PER_FILE : number * ADDRESSES_PER_FILE]
        if not slugs:
            raise NotFound("path", path=request.url.path)
        return await _sitemap(request, [(f"/organizations/{slug}", None) for slug in slugs])


async def _sitemap(request: Request, pages: list[tuple[str, datetime | None]]) -> Response[bytes]:
    base = base_url(request)

    def content() -> bytes:
        urls = Element("urlset", xmlns=NAMESPACE)
        for path, changed in pages:
            url = SubElement(urls, "url")
            SubElement(url, "loc").text = f"{base}{path}"
            if changed is not None:
                SubElement(url, "lastmod").text = f"{changed:%Y-%m-%d}"
        text: bytes = tostring(urls, encoding="utf-8", xml_declaration=True)
        return text

    return _file(await offload_answer(len(pages), content), "application/xml")


def _file(content: bytes, media_type: str) -> Response[bytes]:
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})
