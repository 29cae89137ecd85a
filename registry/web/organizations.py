"""Organizations: their names, identifiers and parents over time, and their deals; and search over everything."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, route
from litestar.params import FromPath

from registry.api import parameters
from registry.api.deals import READ
from registry.domain.audit.entries import audit_trail
from registry.domain.fold import ORGANIZATIONS
from registry.domain.history import AsOf
from registry.errors import MergedInto, NotFound
from registry.events.intake import as_uuid
from registry.web import render
from registry.web.assets import csv_response
from registry.web.cache import cached_page
from registry.web.deals import BEFORE, audit_page, citation, named, time_sliders
from registry.web.format import shown
from registry.web.i18n import N_
from registry.web.portfolio import PortfolioRow, everything, listing, row_of
from registry.web.render import Rendered
from registry.web.request import PageRequest, Redirected, Request, page_request

PAGE = 200


@route("/organizations", http_method=READ)
async def get_organizations(request: Request) -> Response[bytes]:
    """Organizations as they are now."""
    visit = await page_request(request, {"q": parameters.text, "cursor": parameters.text})

    async def make() -> Rendered:
        raw = await visit.registry.organizations.page(visit.asked.get("cursor", ""), visit.asked.get("q"), PAGE + 1)
        rows = [msgspec.json.decode(r) for r in raw]
        return render.render(
            visit,
            "organizations.html",
            rows=rows[:PAGE],
            following=rows[PAGE - 1]["organization"] if len(rows) > PAGE else None,
            rails=await everything(visit),
            data_url="/v1/organizations",
            csv_url="/organizations.csv",
            cite=citation(visit, shown(visit.language).words.gettext(N_("organizations")), visit.position),
        )

    return await cached_page(visit, make)


@route("/organizations.csv", http_method=READ)
async def get_organizations_table(request: Request) -> Response[bytes]:
    """Organizations as they are now, as CSV."""
    visit = await page_request(request)
    rows: list[list[str]] = []
    after = ""
    while found := [msgspec.json.decode(r) for r in await visit.registry.organizations.page(after, None, 1000)]:
        after = found[-1]["organization"]
        for o in found:
            name = o["name"] or {}
            others = "; ".join(n["name"] for n in o["names"])
            identifiers = "; ".join(f"{i['scheme']} {i['identifier']}" for i in o["identifiers"])
            row = [o["organization"], name.get("ko", ""), name.get("en", ""), others, o["country"] or "", identifiers]
            rows.append(row)
    return csv_response(
        "organizations.csv", ["organization", "name_ko", "name_en", "names", "country", "identifiers"], rows
    )


def single_axis(clocks: AsOf) -> AsOf:
    """The clocks that a list can look at: what was published goes before what was recorded."""
    if clocks.published_on is None:
        return clocks
    return msgspec.structs.replace(clocks, recorded_at=None, position=None)


async def deals_of(visit: PageRequest, organization: str) -> list[PortfolioRow]:
    """The deals in which an organization has a role, at the page's point in time."""
    clock, known, _ = await visit.registry.portfolio.known_axis(single_axis(visit.clocks))
    found = await visit.registry.portfolio.page(
        clock, known, visit.times.effective_on, [f"organization:{organization}"], None, "", 500
    )
    return [row_of(listing(raw)) for raw in found.rows]


@route("/organizations/{organization:str}", http_method=READ)
async def get_organization(request: Request, organization: FromPath[str]) -> Response[bytes]:
    """An organization at a point in time, with its deals. One that is only named in deals has no record of its own."""
    visit = await page_request(request, BEFORE)

    async def make() -> Rendered:
        deals = await deals_of(visit, organization)
        history, _ = await visit.registry.streams.load(f"organization/{organization}")
        if history is None and not deals:
            raise NotFound("organization", organization=organization)
        state: Any = None
        entries: list[Any] = []
        if history is not None:
            if history.record.merged_into is not None:
                raise MergedInto(deal=organization, into=history.record.merged_into)
            try:
                _, state = await visit.registry.organizations.state(organization, visit.clocks, visit.times.today)
            except NotFound:
                state = None
            entries = audit_trail(history.events, visit.clocks, ORGANIZATIONS)
        slugs = {organization} | {p.parent for p in (state.parents if state else ())}
        names = await named(visit, slugs=slugs | {o for d in deals for o in d.row.organizations})
        here = shown(visit.language)
        return render.render(
            visit,
            "organization.html",
            slug=organization,
            state=state,
            title=here.words.localized(state.name, organization) if state else names.get(organization, organization),
            deals=deals,
            names=names,
            told=audit_page(visit, entries),
            rails=time_sliders(visit, history) if history is not None else None,
            data_url=visit.data(f"/v1/organizations/{organization}"),
            csv_url=visit.data("/v1/export/deals.csv", organization=organization),
            cite=citation(visit, here.words.localized(state.name if state else None, organization), visit.position),
        )

    return await cached_page(visit, make)


@route("/search", http_method=READ)
async def get_search(request: Request) -> Response[bytes]:
    """Deals and organizations by a word of their names, and an event by its id."""
    visit = await page_request(request, {"q": parameters.text})
    q = visit.asked.get("q")
    if q and as_uuid(q.strip()) is not None:
        raise Redirected(visit.link(f"/events/{q.strip()}"))

    async def make() -> Rendered:
        deals: list[PortfolioRow] = []
        organizations: list[Any] = []
        if q:
            clock, known, _ = await visit.registry.portfolio.known_axis(single_axis(visit.clocks))
            on = visit.times.effective_on
            found = await visit.registry.portfolio.page(clock, known, on, [], q.strip(), "", 100)
            deals = [row_of(listing(raw)) for raw in found.rows]
            organizations = [
                msgspec.json.decode(r) for r in await visit.registry.organizations.page("", q.strip(), 100)
            ]
            seen = {d.row.deal for d in deals}
            for organization in organizations[:10]:
                # Who looks for a firm looks for what it does.
                term = [f"organization:{organization['organization']}"]
                more = await visit.registry.portfolio.page(clock, known, on, term, None, "", 50)
                deals += [row_of(listing(r)) for r in more.rows if listing(r).deal not in seen]
                seen |= {d.row.deal for d in deals}
        return render.render(
            visit,
            "search.html",
            q=q,
            deals=deals,
            organizations=organizations,
            names=await named(visit, slugs={o for d in deals for o in d.row.organizations}),
            rails=await everything(visit),
            data_url=visit.data("/v1/deals", q=q) if q else None,
            csv_url=visit.data("/v1/export/deals.csv", q=q) if q else None,
            cite=citation(visit, shown(visit.language).words.translate(N_("search for “%(q)s”"), q=q), visit.position)
            if q
            else None,
        )

    return await cached_page(visit, make)


HANDLERS = [get_organizations, get_organizations_table, get_organization, get_search]
