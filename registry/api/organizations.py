"""Organizations over HTTP: their names, identifiers and parents, each a small stream of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, post, route
from litestar.params import FromPath

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
    """An organization, now or at any point in time."""
    await http.may_read(request)
    http.known("organization", organization)
    clocks = http.clocks(http.query(request, CLOCKS))
    seen, state = await request.app.state.registry.reader.organization(organization, clocks, http.today())
    answer = {
        **msgspec.structs.asdict(state),
        "version": seen.version,
        "position": seen.position,
        "effective_on": clocks.effective_on or http.today(),
        "published_on": clocks.published_on,
        "recorded_at": clocks.recorded_at,
        "sources": cited(seen),
    }
    headers = {"ETag": f'"{seen.version}"', "Cache-Control": "no-cache"}
    if http.matches(request, headers["ETag"]):
        return http.not_modified(headers)
    return http.json_response(encode(answer), 200, headers)


OPERATIONS = (
    Operation(
        handler=post_organization_events,
        tag="Organizations",
        query=RECORD,
        headers=("If-Match", "If-None-Match", "Idempotency-Key"),
        body=OrganizationAnnouncement | list[OrganizationAnnouncement],
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
    ),
)
