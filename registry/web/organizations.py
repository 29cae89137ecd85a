"""Organizations: the list, and the page of one with its names, identifiers, parents and deals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from msgspec import Struct

from registry.domain.history import FoldedStream
from registry.domain.organizations.organization import Organization
from registry.errors import MergedInto, NotFound
from registry.events.values import Localized
from registry.formatting.language import N_, words
from registry.formatting.values import shown
from registry.http.cursors import CursorParameter, decode_cursor, encode_cursor
from registry.http.parameters import Cursor, OrganizationSlug, require_single_axis, text
from registry.infra.threads import offload_answer
from registry.projections.columnar.lists import Order
from registry.queries.named_organizations import NamedOrganizations, OrganizationEntry
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.search import SearchQueries
from registry.queries.streams import StreamReader
from registry.schemas.deal_query import DealQuery
from registry.web.deals.history import NO_HISTORY, BeforeVersion, history_page
from registry.web.page import render
from registry.web.page.assets import csv_response
from registry.web.page.cache import cached_fragment, cached_page
from registry.web.page.citations import cite
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import current_sliders, stream_sliders
from registry.web.portfolio.deal_list import DealTableRow, deal_rows

PAGE_SIZE = 100
CSV_BATCH = 1_000
EVERY_ORGANIZATION = 10**9
CSV_HEADER = ("organization", "name_ko", "name_en", "names", "country", "identifiers", "deals", "registered")
DEALS_PER_PAGE = 50


class OrganizationPages(Controller):
    """The list of organizations, as a page and as CSV, and the page of each."""

    @route("/organizations", http_method=READ)
    async def get_organizations(
        self,
        page: Page,
        portfolio_queries: NamedDependency[PortfolioQueries],
        named_organizations: NamedDependency[NamedOrganizations],
        search_queries: NamedDependency[SearchQueries],
        q: Annotated[str | None, text("Words that the names have, as in a search.")] = None,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """Organizations by their names: those with a record, and those that only announcements name."""

        async def make() -> Rendered:
            names = await names_in_order(page, named_organizations)
            slugs = names.slugs
            if q:
                found = set(await search_queries.organizations(page.as_of, q, "", len(slugs)))
                slugs = [slug for slug in slugs if slug in found]
            start = slugs.index(cursor) + 1 if cursor in slugs else 0
            shown_slugs = slugs[start : start + PAGE_SIZE]
            return render.render(
                page,
                "organizations.html",
                entries=await named_organizations.listed(shown_slugs, page.as_of),
                count=len(names.slugs),
                registered=names.registered,
                next=shown_slugs[-1] if len(slugs) > start + PAGE_SIZE else None,
                sliders=await current_sliders(page, portfolio_queries),
                data_url=page.data("/v1/organizations"),
                csv_url=page.link("/organizations.csv"),
                cite=cite(page, shown(page.language).words.gettext(N_("organizations")), page.position),
            )

        return await cached_page(page, make)

    @route("/organizations.csv", http_method=READ)
    async def get_organizations_table(
        self, page: Page, named_organizations: NamedDependency[NamedOrganizations]
    ) -> Response[bytes]:
        """Organizations at a point in time, as CSV."""
        slugs = (await names_in_order(page, named_organizations)).slugs
        rows: list[list[str]] = []
        for i in range(0, len(slugs), CSV_BATCH):
            rows += [_row(entry) for entry in await named_organizations.listed(slugs[i : i + CSV_BATCH], page.as_of)]
        return await offload_answer(len(rows), csv_response, page, "organizations.csv", CSV_HEADER, rows)

    @route("/organizations/{organization:str}", http_method=READ)
    async def get_organization(
        self,
        page: Page,
        organization: OrganizationSlug,
        portfolio_queries: NamedDependency[PortfolioQueries],
        organization_queries: NamedDependency[OrganizationQueries],
        streams: NamedDependency[StreamReader],
        before: BeforeVersion = None,
        cursor: CursorParameter = None,
    ) -> Response[bytes]:
        """An organization at a point in time, with its deals. It may have no record, and only be named in deals."""

        async def make() -> Rendered:
            deals = await deals_of(page, portfolio_queries, organization, cursor)
            stream, _ = await streams.load(f"organization/{organization}")
            announced = (await organization_queries.announced_names([organization])).get(organization)
            if stream is None and not deals.count and announced is None:
                raise NotFound("organization", organization=organization)
            state = await _state(page, organization_queries, stream) if stream is not None else None
            slugs = {organization, *(slug for row in deals.rows for slug in row.deal.organizations)}
            if state is not None:
                slugs |= {parent.parent for parent in state.parents}
            names = await page.names.organizations(slugs)
            texts = shown(page.language).words
            current_name = names.get(organization) or texts.localized(announced, organization)
            return render.render(
                page,
                "organization.html",
                slug=organization,
                state=state,
                title=texts.localized(state.name, organization) if state else current_name,
                deals=deals,
                duplicates=deals.merged,
                may_merge=page.key is not None and page.key.allows("correct"),
                names=names,
                history=history_page(page, stream.state_as_of(page.as_of), before)
                if stream is not None
                else NO_HISTORY,
                authors=await streams.author_names(stream.events if stream is not None else ()),
                sliders=stream_sliders(page, stream)
                if stream is not None
                else await current_sliders(page, portfolio_queries),
                data_url=page.data(f"/v1/organizations/{organization}"),
                csv_url=page.data("/v1/export/deals.csv", organization=organization),
                cite=cite(
                    page,
                    texts.localized(state.name if state else announced, organization),
                    page.position,
                    feed={"organization": organization},
                ),
            )

        return await cached_page(page, make)


async def _state(page: PageRequest, queries: OrganizationQueries, stream: FoldedStream[Any]) -> Organization | None:
    """The organization at the page's point in time; None if it had no record then. Raises MergedInto."""
    if stream.record.merged_into is not None:
        raise MergedInto(deal=stream.slug, into=stream.record.merged_into)
    try:
        _, state = await queries.state(stream.slug, page.as_of)
    except NotFound:
        return None
    return state


class NamesInOrder(Struct, frozen=True):
    """The organizations at a point in time in the order of their names, and how many of them have a record."""

    slugs: list[str]
    registered: int


async def names_in_order(page: PageRequest, named_organizations: NamedOrganizations) -> NamesInOrder:
    """The organizations at the page's as-of point, ordered by the names that its language shows."""

    async def make() -> NamesInOrder:
        entries = await named_organizations.page("", EVERY_ORGANIZATION, page.as_of)
        ordered = await offload_answer(len(entries), _in_order, entries, page.language)
        return NamesInOrder(ordered, sum(one.is_registered for one in entries))

    key = ("organizations", page.language, page.times.today, *page.times.query().items())
    return await cached_fragment(page, key, make)


def _in_order(entries: Sequence[OrganizationEntry], language: str) -> list[str]:
    texts = words(language)
    names = [(one.state.organization, texts.localized(one.state.name, one.state.organization)) for one in entries]
    return [slug for slug, _ in sorted(names, key=lambda one: (texts.order(one[1]), one[0]))]


class OrganizationDeals(Struct, frozen=True):
    """A page of the deals in which an organization has a role.

    Args:
        rows: The rows of this page.
        count: The number of its deals.
        next: The cursor of the next page; None after the last.
        merged: The slugs of the records that were merged with the organization's.
    """

    rows: list[DealTableRow]
    count: int
    next: str | None
    merged: list[str]


async def deals_of(
    page: PageRequest, portfolio_queries: PortfolioQueries, organization: str, cursor: str | None
) -> OrganizationDeals:
    """A page of the deals in which an organization has a role, at the page's as-of point."""
    start = decode_cursor(cursor, organization)
    point = await portfolio_queries.point(start.fix(require_single_axis(page.as_of)))
    selection = await portfolio_queries.select(point, DealQuery(organization=organization))
    rates = await portfolio_queries.rates(page.as_of)
    found = await portfolio_queries.page(point, selection, Order(), start.place, DEALS_PER_PAGE, rates)
    return OrganizationDeals(
        deal_rows(found.deals),
        await portfolio_queries.count(point, selection),
        encode_cursor(point, organization, found.next),
        [slug for slug in selection.organizations if slug != organization],
    )


def _row(entry: OrganizationEntry) -> list[str]:
    state = entry.state
    name = state.name or Localized()
    return [
        state.organization,
        name.get("ko") or "",
        name.get("en") or "",
        "; ".join(other.name for other in state.names),
        state.country or "",
        "; ".join(f"{i.scheme} {i.identifier}" for i in state.identifiers),
        str(entry.deals),
        str(entry.is_registered).lower(),
    ]
