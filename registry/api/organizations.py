"""Organizations over HTTP: their names, identifiers and parents, each a small stream of its own."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, post, route
from litestar.params import FromPath
from msgspec import Meta

from registry.answers import cited, encode
from registry.api import http, shapes
from registry.api.deals import READ, RECORD, record
from registry.api.examples import ORGANIZATION_ANNOUNCEMENTS
from registry.api.http import CLOCKS, Request
from registry.api.operation import Operation
from registry.events import intake
from registry.events.types import OrganizationAnnouncement


@post("/v1/organizations/{organization:str}/events")
async def post_organization_events(request: Request, organization: FromPath[str]) -> Response[bytes]:
    """Record what became of an organization."""
    return await record(request, "organization", organization, intake.organization_announcements.some)


LIST: dict[str, http.Parameter[Any]] = {"q": http.text, "cursor": http.text, "limit": http.whole(1, 1000, 50)}


@route("/v1/organizations", http_method=READ)
async def get_organizations(request: Request) -> Response[Any]:
    """Organizations as they are now."""
    await http.may_read(request)
    asked = http.query(request, LIST)
    limit = asked.get("limit", 50)
    rows = await request.app.state.registry.reader.organizations(asked.get("cursor", ""), asked.get("q"), limit + 1)
    headers = {"Cache-Control": "no-cache"}
    if len(rows) > limit:
        rows = rows[:limit]
        last = msgspec.json.decode(rows[-1])["organization"]
        following = {**dict(request.query_params.items()), "cursor": last}
        headers["Link"] = f'</v1/organizations?{urlencode(following)}>; rel="next"'
    return http.json_response(encode({"organizations": rows}), 200, headers)


@route("/v1/organizations/{organization:str}", http_method=READ)
async def get_organization(request: Request, organization: FromPath[str]) -> Response[Any]:
    """An organization, now or at any point in time, with what it owned, its part in deals, and its duplicates."""
    await http.may_read(request)
    http.known("organization", organization)
    clocks = http.clocks(http.query(request, CLOCKS))
    reader = request.app.state.registry.reader
    seen, state = await reader.organization(organization, clocks, http.today())
    kin = await reader.kin(organization, clocks, http.today())
    answer = {
        **msgspec.structs.asdict(state),
        "version": seen.version,
        "position": seen.position,
        "effective_on": clocks.effective_on or http.today(),
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "sources": cited(seen),
        **msgspec.structs.asdict(kin),
    }
    body = encode(answer)
    # Other records' events change the answer too: the version, for If-Match, is told apart from what it shows.
    headers = {"ETag": f'"{seen.version};{hashlib.sha256(body).hexdigest()[:16]}"', "Cache-Control": "no-cache"}
    if http.matches(request, headers["ETag"]):
        return http.not_modified(headers)
    return http.json_response(body, 200, headers)


@route("/v1/organizations/{organization:str}/events", http_method=READ)
async def get_organization_events(request: Request, organization: FromPath[str]) -> Response[Any]:
    """The audit of an organization's record: every event with what it changed, who recorded it, when, on which source.

    A merged record answers its own.
    """
    await http.may_read(request)
    http.known("organization", organization)
    clocks = http.clocks(http.query(request, CLOCKS))
    body = await request.app.state.registry.reader.organization_audit(organization, clocks)
    return http.json_response(body, 200, {"Cache-Control": "no-cache"})


@route("/v1/organizations/{organization:str}/similar", http_method=READ)
async def get_similar(request: Request, organization: FromPath[str]) -> Response[Any]:
    """Organizations that may be this one under another name: suggestions for a person, never merged by themselves."""
    await http.may_read(request)
    http.known("organization", organization)
    http.query(request, {})
    found = await request.app.state.registry.reader.similar(organization, http.today())
    answer = {"organization": organization, "suggestions": found}
    return http.json_response(encode(answer), 200, {"Cache-Control": "no-cache"})


OPERATIONS = (
    Operation(
        handler=post_organization_events,
        tag="Organizations",
        query=RECORD,
        headers=("If-Match", "If-None-Match", "Idempotency-Key"),
        body=OrganizationAnnouncement | Annotated[list[OrganizationAnnouncement], Meta(min_length=1)],
        examples=ORGANIZATION_ANNOUNCEMENTS,
        answer=shapes.RecordedAnswer,
        statuses=(200, 201),
        scope="record",
    ),
    Operation(handler=get_organizations, tag="Organizations", query=LIST, answer=shapes.Organizations),
    Operation(
        handler=get_organization,
        tag="Organizations",
        query=CLOCKS,
        headers=("If-None-Match",),
        answer=shapes.OrganizationState,
        refuses=("not_found",),
        moves=True,
    ),
    Operation(
        handler=get_organization_events,
        tag="Organizations",
        query=CLOCKS,
        answer=shapes.OrganizationAudit,
        refuses=("not_found",),
    ),
    Operation(handler=get_similar, tag="Organizations", answer=shapes.Similar, refuses=("not_found",), moves=True),
)
