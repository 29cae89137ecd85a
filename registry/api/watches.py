"""Watches: e-mails about new events that match a filter. Each principal has its own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from litestar import Controller, delete, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from msgspec import Meta, Struct

from registry.api.bodies import Request, read_body
from registry.api.guards import ANY_SCOPE
from registry.api.openapi import reading, writing
from registry.api.problems import language_of
from registry.api.responses import RawResponse, json_response
from registry.api.webhooks import EventTypes
from registry.delivery.watch_store import Digest, Watch
from registry.delivery.watches import Watches
from registry.events import intake
from registry.events.values import Slug, Url
from registry.queries.deal_query import DealQuery
from registry.schemas import encode

WatchId = Annotated[str, PathParameter(description="A watch's id.")]
Email = Annotated[str, Meta(min_length=3, max_length=254, description="An e-mail address.")]
NO_STORE = {"Cache-Control": "no-store"}


class NewWatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to send e-mails, and about which events: those that match all of the fields, and one of the types.

    `deals` are the filters of `GET /v1/deals`: the event is about a deal that meets them before or after the event.

    `digest` says when: soon after each event, or once a day. `language` is that of the e-mails; without it that of the
    request.
    """

    email: Email
    digest: Digest = "at_once"
    language: Literal["en", "ko"] | None = None
    type: EventTypes | None = None
    deal: Slug | None = None
    organization: Slug | None = None
    source: Url | None = None
    deals: DealQuery | None = None


class WatchResponse(Struct, frozen=True, kw_only=True):
    """A watch of the key's principal. `confirmed_at` is null until the owner of the address has confirmed it.

    `disabled_at` is when it ended by itself: the mail server refused the address, or failed too often.
    """

    id: str
    email: str
    digest: Digest
    language: str
    type: list[str] | None
    deal: str | None
    organization: str | None
    source: str | None
    deals: DealQuery | None
    created_at: datetime
    confirmed_at: datetime | None
    disabled_at: datetime | None


class ListedWatches(Struct, frozen=True):
    """The watches of the key's principal."""

    watches: list[WatchResponse]


_new = msgspec.json.Decoder(NewWatch)


class WatchesController(Controller):
    """E-mails about new events."""

    path = "/v1/watches"
    tags = ("Log",)

    @writing(post, "/", "not_found", "mail_unavailable", "secret_unreadable", body=NewWatch)
    async def post_watch(self, request: Request, watches: NamedDependency[Watches]) -> RawResponse[WatchResponse]:
        """Watch a filter of events by e-mail.

        The owner of the address gets a message and must confirm it within 48 hours; nothing else is sent before. Every
        e-mail has a link that ends the watch. The address is stored encrypted, outside the log. To be told over HTTP
        instead, create a webhook.
        """
        new: NewWatch = intake.decode(_new, await read_body(request))
        watch = await watches.create(
            request.auth.id,
            new.email,
            language=new.language or language_of(request),
            digest=new.digest,
            type=new.type,
            deal=new.deal,
            organization=new.organization,
            source=new.source,
            deals=new.deals,
        )
        headers = {**NO_STORE, "Location": f"/v1/watches/{watch.id}"}
        return json_response(encode(_response(watches, watch)), headers, 201)

    @reading("/", "secret_unreadable", scope=ANY_SCOPE)
    async def get_watches(self, request: Request, watches: NamedDependency[Watches]) -> RawResponse[ListedWatches]:
        """The watches of the key's principal."""
        own = [_response(watches, watch) for watch in await watches.of_principal(request.auth.id)]
        return json_response(encode(ListedWatches(own)), NO_STORE)

    @writing(delete, "/{watch:str}", "not_found", status_code=204)
    async def delete_watch(self, request: Request, watch: WatchId, watches: NamedDependency[Watches]) -> None:
        """End a watch, and delete its address."""
        await watches.delete(watch, request.auth.id)


def _response(watches: Watches, watch: Watch) -> WatchResponse:
    kept = {name: getattr(watch, name) for name in WatchResponse.__struct_fields__ if name != "email"}
    return WatchResponse(email=watches.address(watch), **kept)
