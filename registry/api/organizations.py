"""Organizations: their names, identifiers and parents, each in a stream of its own."""

from __future__ import annotations

import hashlib
from typing import Annotated

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from msgspec import Meta
from msgspec.structs import replace

from registry import schemas
from registry.api.deals import REPLAYED, record
from registry.api.examples import ORGANIZATION_ANNOUNCEMENTS
from registry.api.openapi import MERGED, NOT_MODIFIED, reading, writing
from registry.append.recorder import Recorder
from registry.domain.history import AsOf
from registry.events import intake
from registry.events.types import OrganizationAnnouncement
from registry.http.bodies import Request
from registry.http.conditional import matches
from registry.http.parameters import (
    POST_HEADERS,
    Cursor,
    DryRun,
    IfNoneMatch,
    Limit,
    OrganizationSlug,
    text,
)
from registry.http.responses import RawResponse, json_response, not_modified, page_headers, raw_headers
from registry.queries.named_organizations import NamedOrganizations
from registry.queries.organizations import OrganizationQueries
from registry.queries.search import SearchQueries
from registry.schemas import (
    OrganizationPage,
    SimilarOrganizations,
    announced_organization,
    encode,
    listed_organization,
    organization_response,
)

Count = Annotated[bool, QueryParameter(description="Count all organizations at the point.")]


class OrganizationsController(Controller):
    """Organizations."""

    path = "/v1/organizations"
    tags = ("Organizations",)

    @writing(
        post,
        "/{organization:str}/events",
        body=OrganizationAnnouncement | Annotated[list[OrganizationAnnouncement], Meta(min_length=1)],
        examples=ORGANIZATION_ANNOUNCEMENTS,
        headers=POST_HEADERS,
        responses=REPLAYED,
    )
    async def post_organization_events(
        self,
        request: Request,
        organization: OrganizationSlug,
        recorder: NamedDependency[Recorder],
        dry_run: DryRun = False,
    ) -> RawResponse[schemas.AppendResponse]:
        """Record one announcement about an organization, or a list of them: all or none."""
        decode = intake.organization_announcements.decode_many
        return await record(request, recorder, "organization", organization, decode, dry_run=dry_run)

    @reading("/")
    async def get_organizations(
        self,
        request: Request,
        organization_queries: NamedDependency[OrganizationQueries],
        named_organizations: NamedDependency[NamedOrganizations],
        search_queries: NamedDependency[SearchQueries],
        as_of: NamedDependency[AsOf],
        q: Annotated[str | None, text("Words that the names have, as in a search.")] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
        count: Count = False,
    ) -> RawResponse[schemas.OrganizationPage]:
        """Organizations, now or at any point in time: those with a record, and those that only announcements name."""
        resolved, log_position = await organization_queries.page_point(as_of)
        if q is None:
            rows = await named_organizations.page(cursor or "", limit + 1, resolved.as_of)
            slugs = [one.state.organization for one in rows]
        else:
            slugs = await search_queries.organizations(resolved.as_of, q, cursor or "", limit + 1)
            rows = await named_organizations.listed(slugs, resolved.as_of)
        following = None
        if len(slugs) > limit:
            last = slugs[limit - 1]
            rows = [one for one in rows if one.state.organization <= last]
            # The next page is a page of the same list, whatever is recorded in between.
            day = str(resolved.effective_on)
            following = {"position": str(log_position), "effective_on": day, "cursor": last}
        counted = await named_organizations.count(resolved.as_of) if count else None
        body = OrganizationPage(
            effective_on=resolved.effective_on,
            published_on=as_of.published_on,
            recorded_at=as_of.recorded_at,
            position=log_position,
            organizations=tuple(
                listed_organization(one.state, registered=one.is_registered, deal_count=one.deals) for one in rows
            ),
            total=counted.all if counted is not None else None,
            registered_total=counted.registered if counted is not None else None,
        )
        return json_response(encode(body), page_headers(request, following))

    @reading("/{organization:str}", "not_found", responses={**NOT_MODIFIED, **MERGED})
    async def get_organization(
        self,
        organization: OrganizationSlug,
        organization_queries: NamedDependency[OrganizationQueries],
        named_organizations: NamedDependency[NamedOrganizations],
        as_of: NamedDependency[AsOf],
        if_none_match: IfNoneMatch = None,
    ) -> RawResponse[schemas.OrganizationResponse]:
        """An organization, now or at any point in time, with what it owned, its part in deals, and its duplicates.

        One that only announcements name has no record of its own: `registered` is false.
        """
        resolved, log_position = await organization_queries.page_point(as_of)
        found = await named_organizations.find(organization, resolved.as_of)
        links = await organization_queries.links(organization, resolved.as_of)
        if found.is_registered:
            snapshot, state = await organization_queries.state(organization, resolved.as_of)
            answer = organization_response(state, snapshot, links, as_of, resolved.effective_on, log_position)
        else:
            answer = announced_organization(found.state, links, as_of, resolved.effective_on, log_position)
        # Events of other streams change the answer too, so the ETag has a digest beside the version for If-Match. The
        # position of an open log changes with every event and is left out, so the ETag is weak (RFC 9110 §8.8.1).
        shown = hashlib.sha256(encode(replace(answer, position=0))).hexdigest()[:16]
        etag = f'W/"{answer.version};{shown}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if matches(if_none_match, etag.removeprefix("W/")):
            return not_modified(raw_headers(headers))
        return json_response(encode(answer), headers)

    @reading("/{organization:str}/events", "not_found")
    async def get_organization_events(
        self,
        organization: OrganizationSlug,
        organization_queries: NamedDependency[OrganizationQueries],
        as_of: NamedDependency[AsOf],
    ) -> RawResponse[schemas.OrganizationHistory]:
        """The history of an organization: every event with what it changed, who recorded it, when, on which source.

        A merged record has its own history.
        """
        return json_response(await organization_queries.history(organization, as_of))

    @reading("/{organization:str}/similar", "not_found", responses=MERGED)
    async def get_similar(
        self,
        organization: OrganizationSlug,
        organization_queries: NamedDependency[OrganizationQueries],
    ) -> RawResponse[schemas.SimilarOrganizations]:
        """Organizations that may be this one under another name: suggestions, never merged automatically."""
        suggestions = await organization_queries.similar(organization)
        return json_response(encode(SimilarOrganizations(organization=organization, suggestions=suggestions)))
