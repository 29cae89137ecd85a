"""Principals: people and systems that may write, their keys and their rights. For keys with the scope admin.

Posting is as for deals; a `key_issued` makes a secret, which the answer shows once.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec
from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from msgspec import Meta

from registry import schemas
from registry.api.examples import PRINCIPAL_ANNOUNCEMENTS
from registry.api.openapi import NOT_MODIFIED, reading, writing
from registry.append.principals import store_secrets
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain.principal import required_scope
from registry.events import intake
from registry.events.types import PrincipalAnnouncement
from registry.http.bodies import Request, decoder, read_body
from registry.http.conditional import expected_version, matches
from registry.http.guards import check_scope
from registry.http.parameters import POST_HEADERS, Cursor, IfNoneMatch, Limit, Position
from registry.http.responses import RawResponse, json_response, not_modified, page_headers, raw_headers
from registry.queries.principals import Principals
from registry.schemas import (
    AppendResponse,
    IssuedSecret,
    PrincipalAppendResponse,
    PrincipalPage,
    PrincipalResponse,
    encode,
    pre_encoded,
    principal_history,
    principal_response,
)

PrincipalId = Annotated[
    str,
    PathParameter(
        description="A principal's id. It is public and is never erased, so it should not be a person's name.",
        pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        max_length=80,
        title="slug",
    ),
]

_appended = msgspec.json.Decoder(AppendResponse)


class PrincipalsController(Controller):
    """People and systems."""

    path = "/v1/principals"
    tags = ("Principals",)

    @writing(
        post,
        "/{principal:str}/events",
        scope="admin",
        body=PrincipalAnnouncement | Annotated[list[PrincipalAnnouncement], Meta(min_length=1)],
        examples=PRINCIPAL_ANNOUNCEMENTS,
        headers=POST_HEADERS[:2],
    )
    async def post_principal_events(
        self,
        request: Request,
        principal: PrincipalId,
        recorder: NamedDependency[Recorder],
        pool: NamedDependency[Any],
    ) -> RawResponse[PrincipalAppendResponse]:
        """Register a principal, issue or revoke its keys, change its rights: one event, or a list of them.

        The answer to a `key_issued` has the key's secret in `secrets`, once. Without `key` the registry makes an id.
        """
        body = await read_body(request)
        announcements = await decoder.decode(intake.principal_announcements.decode_many, body)
        for announcement in announcements:
            check_scope(request.auth, required_scope(announcement.event))
        prepared, issued = await store_secrets(pool, principal, announcements)
        result = await recorder.record(
            AppendRequest(
                kind="principal",
                slug=principal,
                announcements=prepared,
                by=request.auth.id,
                credential=request.auth,
                expected_version=expected_version(request),
                digest=hashlib.sha256(body).digest(),
                size=len(body),
            )
        )
        appended = _appended.decode(result.response)
        answer = PrincipalAppendResponse(
            principal=principal,
            version=appended.version,
            position=appended.position,
            events=appended.events,
            secrets=tuple(IssuedSecret(key=key.key, secret=key.secret) for key in issued),
        )
        headers = {
            "ETag": f'"{result.version}"',
            "Cache-Control": "no-store",
            "Location": f"/v1/principals/{principal}/events",
        }
        return json_response(encode(answer), headers, 201 if result.new else 200)

    @reading("/", scope="admin")
    async def get_principals(
        self,
        request: Request,
        principals: NamedDependency[Principals],
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> RawResponse[PrincipalPage]:
        """Every principal with its keys and rights, in the order of ids."""
        rows = await principals.page(cursor or "", limit + 1)
        following = None
        if len(rows) > limit:
            rows = rows[:limit]
            following = {"cursor": msgspec.json.decode(rows[-1])["principal"]}
        body = PrincipalPage(principals=pre_encoded(rows, PrincipalResponse))
        return json_response(encode(body), page_headers(request, following, "no-store"))

    @reading("/{principal:str}", "not_found", scope="admin", responses=NOT_MODIFIED)
    async def get_principal(
        self,
        principal: PrincipalId,
        principals: NamedDependency[Principals],
        position: Position = None,
        if_none_match: IfNoneMatch = None,
    ) -> RawResponse[PrincipalResponse]:
        """A principal with its keys and rights, now or at a log position, such as that of an event that it recorded."""
        stream = await principals.require(principal, position)
        etag = f'"{stream.version}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if matches(if_none_match, etag):
            return not_modified(raw_headers(headers))
        return json_response(encode(principal_response(stream)), headers)

    @reading("/{principal:str}/events", "not_found", scope="admin")
    async def get_principal_events(
        self, principal: PrincipalId, principals: NamedDependency[Principals]
    ) -> RawResponse[schemas.PrincipalHistory]:
        """Every event of a principal, with its content."""
        stream = await principals.require(principal)
        return json_response(encode(principal_history(principal, stream.events)), {"Cache-Control": "no-store"})
