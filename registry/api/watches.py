"""Watches: new events that match a filter, by e-mail or to a receiver. Each principal has its own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
from litestar import Controller, delete, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from msgspec import Meta, Struct
from msgspec.structs import asdict

from registry.api.openapi import reading, writing
from registry.api.webhooks import Deliveries, EventTypes
from registry.delivery.watch_store import Digest, Watch
from registry.delivery.watches import Watches
from registry.delivery.webhook_store import Format, Webhook
from registry.delivery.webhooks import WEBHOOK_PREFIX, Webhooks
from registry.errors import FieldError, Invalid, SecretUnreadable
from registry.events import intake
from registry.events.values import Slug, Url
from registry.http.bodies import Request, read_body
from registry.http.guards import ANY_SCOPE, check_may_read
from registry.http.parameters import Limit
from registry.http.problems import language_of
from registry.http.responses import RawResponse, json_response
from registry.i18n import LANGUAGES
from registry.queries.event_filter import EventFilter
from registry.schemas import encode
from registry.schemas.deal_query import DealQuery

# mypy reads no Literal of computed values.
if TYPE_CHECKING:
    MailLanguage: TypeAlias = str
else:
    MailLanguage = Literal[tuple(sorted(LANGUAGES))]

WatchId = Annotated[str, PathParameter(description="A watch's id.")]
Email = Annotated[str, Meta(min_length=3, max_length=254, description="An e-mail address.")]
NO_STORE = {"Cache-Control": "no-store"}


class NewWatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to send new events, and which: those that match all of the fields, and one of the types.

    Give an address for e-mails (`email`), or of a receiver of your own (`url`).

    `deals` are the filters of `GET /v1/deals`: the event is about a deal that meets them before or after the event.

    By e-mail: `digest` says when: soon after each event, or once a day. `language` is that of the e-mails; without it
    that of the request. To a receiver: `format` as for webhooks.
    """

    email: Email | None = None
    url: Url | None = None
    digest: Digest | None = None
    language: MailLanguage | None = None
    format: Format | None = None
    type: EventTypes | None = None
    deal: Slug | None = None
    organization: Slug | None = None
    source: Url | None = None
    deals: DealQuery | None = None


class WatchResponse(Struct, frozen=True, kw_only=True):
    """A watch of the key's principal, by e-mail or to a receiver (`url`).

    `email` is null as well if the service has another key of secrets than the one that the address was encrypted with.
    `confirmed_at` is null until the address has confirmed it. `disabled_at` is when it ended by itself: the address
    refused messages, or failed too often, or the principal has no right any more.
    """

    id: str
    email: str | None
    url: str | None
    digest: Digest | None
    language: str | None
    format: Format | None
    type: list[str] | None
    deal: str | None
    organization: str | None
    source: str | None
    deals: DealQuery | None
    created_at: datetime
    confirmed_at: datetime | None
    disabled_at: datetime | None


class CreatedWatch(WatchResponse, frozen=True, kw_only=True):
    """A new watch. `secret` signs the messages to a receiver, and is shown once; null for one by e-mail."""

    secret: str | None


class ListedWatches(Struct, frozen=True):
    """The watches of the key's principal."""

    watches: list[WatchResponse]


_new = msgspec.json.Decoder(NewWatch)
_FILTER = ("type", "deal", "organization", "source", "deals")


class WatchesController(Controller):
    """New events that match a filter, by e-mail or to a receiver."""

    path = "/v1/watches"
    tags = ("Log",)

    @writing(post, "/", "not_found", "mail_unavailable", "secret_unreadable", body=NewWatch)
    async def post_watch(
        self, request: Request, watches: NamedDependency[Watches], webhooks: NamedDependency[Webhooks]
    ) -> RawResponse[CreatedWatch]:
        """Watch a filter of events by e-mail, or at a receiver of your own.

        The address must confirm within 48 hours; nothing else is sent before. The owner of an e-mail address gets a
        message with a link; every later one has a link that ends the watch. A receiver is asked by `POST
        /v1/watches/{watch}/confirm`; messages to it are those of webhooks, signed with the secret of this answer. An
        e-mail address is stored encrypted, outside the log.
        """
        check_may_read(request)
        new: NewWatch = intake.decode(_new, await read_body(request))
        _check(new)
        event_filter = EventFilter(tuple(new.type or ()), new.deal, new.organization, new.source)
        if new.url is not None:
            owner = request.auth.id
            webhook, secret = await webhooks.create(
                new.url, owner, event_filter, new.deals, format=new.format or "standard", owner=owner
            )
            made = CreatedWatch(**asdict(_of_webhook(webhook)), secret=secret)
        else:
            watch = await watches.create(
                request.auth.id,
                new.email or "",
                event_filter,
                new.deals,
                language=new.language or language_of(request),
                digest=new.digest or "at_once",
            )
            made = CreatedWatch(**asdict(_of_mail(watches, watch)), secret=None)
        return json_response(encode(made), {**NO_STORE, "Location": f"/v1/watches/{made.id}"}, 201)

    @reading("/", "secret_unreadable", scope=ANY_SCOPE)
    async def get_watches(
        self, request: Request, watches: NamedDependency[Watches], webhooks: NamedDependency[Webhooks]
    ) -> RawResponse[ListedWatches]:
        """The watches of the key's principal."""
        own = [_of_mail(watches, watch) for watch in await watches.of_principal(request.auth.id)]
        own += [_of_webhook(webhook) for webhook in await webhooks.of_owner(request.auth.id)]
        return json_response(encode(ListedWatches(own)), NO_STORE)

    @writing(post, "/{watch:str}/confirm", "not_found", "watch_unconfirmed", "secret_unreadable", status_code=200)
    async def post_confirm(
        self, request: Request, watch: WatchId, webhooks: NamedDependency[Webhooks]
    ) -> RawResponse[WatchResponse]:
        """Ask the receiver of a watch to confirm.

        It gets a signed message of the type `watch.challenge`, and must answer with a success, and with the text in
        `data.challenge` as the body. Later events are sent then.
        """
        check_may_read(request)
        return json_response(encode(_of_webhook(await webhooks.confirm(watch, request.auth.id))), NO_STORE)

    @reading("/{watch:str}/deliveries", "not_found", scope=ANY_SCOPE)
    async def get_watch_deliveries(
        self, request: Request, watch: WatchId, webhooks: NamedDependency[Webhooks], limit: Limit = 100
    ) -> RawResponse[Deliveries]:
        """The latest deliveries to the receiver of a watch: each attempt, and the answer to it."""
        attempts = await webhooks.deliveries(watch, limit, owner=request.auth.id)
        return json_response(encode(Deliveries(attempts)), NO_STORE)

    @writing(delete, "/{watch:str}", "not_found", status_code=204)
    async def delete_watch(
        self,
        request: Request,
        watch: WatchId,
        watches: NamedDependency[Watches],
        webhooks: NamedDependency[Webhooks],
    ) -> None:
        """End a watch, and delete its address."""
        if watch.startswith(WEBHOOK_PREFIX):
            await webhooks.delete(watch, owner=request.auth.id)
        else:
            await watches.delete(watch, request.auth.id)


def _check(new: NewWatch) -> None:
    """Check that a watch has one address, and what belongs to it. Raises Invalid."""
    if (new.email is None) == (new.url is None):
        raise Invalid([FieldError("", "email_or_url")])
    by_mail, by_url = ("digest", "language"), ("format",)
    code, others = ("email_only", by_mail) if new.url is not None else ("url_only", by_url)
    if wrong := [FieldError(f"/{name}", code) for name in others if getattr(new, name) is not None]:
        raise Invalid(wrong)


def _of_mail(watches: Watches, watch: Watch) -> WatchResponse:
    kept = {name: getattr(watch, name) for name in _KEPT}
    try:
        email = watches.address(watch)
    except SecretUnreadable:
        # The others are shown, and this one can be deleted.
        email = None
    return WatchResponse(email=email, url=None, format=None, digest=watch.digest, language=watch.language, **kept)


def _of_webhook(webhook: Webhook) -> WatchResponse:
    kept = {name: getattr(webhook, name) for name in _KEPT}
    return WatchResponse(email=None, url=webhook.url, format=webhook.format, digest=None, language=None, **kept)


_KEPT = ("id", *_FILTER, "created_at", "confirmed_at", "disabled_at")
