"""Organizations over HTTP: their names, identifiers and parents, each a small stream of its own."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, post, route
from litestar.params import FromPath
from msgspec import Meta

from registry import schemas
from registry.api import parameters
from registry.api.deals import READ, RECORD, record
from registry.api.examples import ORGANIZATION_ANNOUNCEMENTS
from registry.api.operation import Operation
from registry.api.parameters import CLOCKS, Request
from registry.events import intake
from registry.events.types import OrganizationAnnouncement
from registry.schemas import (
    OrganizationFields,
    OrganizationPage,
    SimilarOrganizations,
    encode,
    organization_response,
    pre_encoded,
)


@post("/v1/organizations/{organization:str}/events")
async def post_organization_events(request: Request, organization: FromPath[str]) -> Response[bytes]:
    """Record what became of an organization."""
    return await record(request, "organization", organization, intake.organization_announcements.decode_many)


LIST: dict[str, parameters.Parameter[Any]] = {
    "q": parameters.text,
    "cursor": parameters.text,
    "limit": parameters.integer(1, 1000, 50),
}


@route("/v1/organizations", http_method=READ)
async def get_organizations(request: Request) -> Response[Any]:
    """Organizations as they are now."""
    await parameters.may_read(request)
    asked = parameters.query(request, LIST)
    limit = asked.get("limit", 50)
    rows = await request.app.state.registry.organizations.page(asked.get("cursor", ""), asked.get("q"), limit + 1)
    headers = {"Cache-Control": "no-cache"}
    if len(rows) > limit:
        rows = rows[:limit]
        last = msgspec.json.decode(rows[-1])["organization"]
        following = {**dict(request.query_params.items()), "cursor": last}
        headers["Link"] = f'</v1/organizations?{urlencode(following)}>; rel="next"'
    return parameters.json_response(
        encode(OrganizationPage(organizations=pre_encoded(rows, OrganizationFields))), 200, headers
    )


@route("/v1/organizations/{organization:str}", http_method=READ)
async def get_organization(request: Request, organization: FromPath[str]) -> Response[Any]:
    """An organization, now or at any point in time, with what it owned, its part in deals, and its duplicates."""
    await parameters.may_read(request)
    parameters.require_valid_slug("organization", organization)
    clocks = parameters.clocks(parameters.query(request, CLOCKS))
    registry = request.app.state.registry
    seen, state = await registry.organizations.state(organization, clocks, parameters.today())
    kin = await registry.organizations.links(organization, clocks, parameters.today())
    answer = organization_response(state, seen, kin, clocks, clocks.effective_on or parameters.today())
    body = encode(answer)
    # Other records' events change the answer too: the version, for If-Match, is told apart from what it shows.
    headers = {"ETag": f'"{seen.version};{hashlib.sha256(body).hexdigest()[:16]}"', "Cache-Control": "no-cache"}
    if parameters.matches(request, headers["ETag"]):
        return parameters.not_modified(headers)
    return parameters.json_response(body, 200, headers)


@route("/v1/organizations/{organization:str}/events", http_method=READ)
async def get_organization_events(request: Request, organization: FromPath[str]) -> Response[Any]:
    """The audit of an organization's record: every event with what it changed, who recorded it, when, on which source.

    A merged record answers its own.
    """
    await parameters.may_read(request)
    parameters.require_valid_slug("organization", organization)
    clocks = parameters.clocks(parameters.query(request, CLOCKS))
    body = await request.app.state.registry.organizations.history(organization, clocks)
    return parameters.json_response(body, 200, {"Cache-Control": "no-cache"})


@route("/v1/organizations/{organization:str}/similar", http_method=READ)
async def get_similar(request: Request, organization: FromPath[str]) -> Response[Any]:
    """Organizations that may be this one under another name: suggestions for a person, never merged by themselves."""
    await parameters.may_read(request)
    parameters.require_valid_slug("organization", organization)
    parameters.query(request, {})
    found = await request.app.state.registry.organizations.similar(organization, parameters.today())
    answer = SimilarOrganizations(organization=organization, suggestions=found)
    return parameters.json_response(encode(answer), 200, {"Cache-Control": "no-cache"})


OPERATIONS = (
    Operation(
        handler=post_organization_events,
        tag="Organizations",
        query=RECORD,
        headers=("If-Match", "If-None-Match", "Idempotency-Key"),
        body=OrganizationAnnouncement | Annotated[list[OrganizationAnnouncement], Meta(min_length=1)],
        examples=ORGANIZATION_ANNOUNCEMENTS,
        answer=schemas.AppendResponse,
        statuses=(200, 201),
        scope="record",
    ),
    Operation(handler=get_organizations, tag="Organizations", query=LIST, answer=schemas.OrganizationPage),
    Operation(
        handler=get_organization,
        tag="Organizations",
        query=CLOCKS,
        headers=("If-None-Match",),
        answer=schemas.OrganizationResponse,
        refuses=("not_found",),
        moves=True,
    ),
    Operation(
        handler=get_organization_events,
        tag="Organizations",
        query=CLOCKS,
        answer=schemas.OrganizationHistory,
        refuses=("not_found",),
    ),
    Operation(
        handler=get_similar,
        tag="Organizations",
        answer=schemas.SimilarOrganizations,
        refuses=("not_found",),
        moves=True,
    ),
)
