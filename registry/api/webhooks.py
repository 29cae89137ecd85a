"""Webhooks: where events are sent, and the deliveries. For keys with the scope admin."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, delete, patch, post
from litestar.di import NamedDependency
from litestar.params import PathParameter
from msgspec import UNSET, Meta, Struct, UnsetType

from registry.api.openapi import reading, writing
from registry.delivery.webhook_store import Delivery, Format, Webhook
from registry.delivery.webhooks import OVERLAP_HOURS, Webhooks
from registry.events import intake
from registry.events.types import EVENT_TYPES
from registry.events.values import Slug, Url
from registry.http.bodies import Request, read_body
from registry.http.parameters import Limit
from registry.http.responses import RawResponse, json_response
from registry.queries.event_filter import EventFilter
from registry.schemas import encode
from registry.schemas.deal_query import DealQuery

Position = Annotated[int, Meta(ge=0, le=2**53)]
EventType: Any = Literal[tuple(EVENT_TYPES)]
EventTypes: Any = Annotated[list[EventType], Meta(min_length=1, max_length=len(EVENT_TYPES))]
WebhookId = Annotated[str, PathParameter(description="A webhook's id.")]


class NewWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to send events, and which: those that match all of the fields, and one of the types.

    `deals` are the filters of `GET /v1/deals`: the event is about a deal that meets them before or after the event.

    `format` says how a message is written: as Standard Webhooks say, or as a CloudEvent 1.0, either whole
    (`cloudevents`, application/cloudevents+json) or with its attributes as headers (`cloudevents-binary`). The first
    event sent is the one after position `after`; without it, the next event that is recorded.
    """

    url: Url
    format: Format = "standard"
    type: EventType | EventTypes | None = None
    deal: Slug | None = None
    organization: Slug | None = None
    source: Url | None = None
    deals: DealQuery | None = None
    after: Position | None = None


class WebhookChanges(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to change. A filter that is null is removed; `enabled` stops or resumes the delivery."""

    url: Url | UnsetType = UNSET
    format: Format | UnsetType = UNSET
    type: EventType | EventTypes | UnsetType | None = UNSET
    deal: Slug | UnsetType | None = UNSET
    organization: Slug | UnsetType | None = UNSET
    source: Url | UnsetType | None = UNSET
    deals: DealQuery | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class SecretRotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """For how many hours messages have a signature of the old secret too."""

    overlap_hours: Annotated[int, Meta(ge=0, le=720)] = OVERLAP_HOURS


class ResendRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which event to send again."""

    position: Position


class CreatedWebhook(Webhook, frozen=True, kw_only=True):
    """A webhook with the secret that signs its messages. The secret is shown once."""

    secret: str


class ListedWebhooks(Struct, frozen=True):
    """Every webhook."""

    webhooks: list[Webhook]


class Deliveries(Struct, frozen=True):
    """The latest attempts, the newest first."""

    deliveries: list[Delivery]


_new = msgspec.json.Decoder(NewWebhook)
_changes = msgspec.json.Decoder(WebhookChanges)
_rotation = msgspec.json.Decoder(SecretRotation)
_resend = msgspec.json.Decoder(ResendRequest)


class WebhooksController(Controller):
    """Webhooks (Standard Webhooks)."""

    path = "/v1/webhooks"
    tags = ("Log",)

    @writing(post, "/", scope="admin", body=NewWebhook)
    async def post_webhook(self, request: Request, webhooks: NamedDependency[Webhooks]) -> RawResponse[CreatedWebhook]:
        """Send new events to an address (Standard Webhooks).

        Messages are signed with the secret of this answer, sent in the order of the log, and repeated at growing
        intervals until the receiver answers with success; `webhook-id` is the event's id.
        """
        new: NewWebhook = intake.decode(_new, await read_body(request))
        event_filter = EventFilter(tuple(_types(new.type) or ()), new.deal, new.organization, new.source)
        webhook, secret = await webhooks.create(
            new.url, request.auth.id, event_filter, new.deals, after=new.after, format=new.format
        )
        created = CreatedWebhook(**msgspec.structs.asdict(webhook), secret=secret)
        return _json(created, 201, {"Location": f"/v1/webhooks/{webhook.id}"})

    @reading("/", scope="admin")
    async def get_webhooks(self, webhooks: NamedDependency[Webhooks]) -> RawResponse[ListedWebhooks]:
        """Every webhook, the position it has reached, and whether it is disabled."""
        return _json(ListedWebhooks(await webhooks.all()))

    @reading("/{webhook:str}", "not_found", scope="admin")
    async def get_webhook(self, webhook: WebhookId, webhooks: NamedDependency[Webhooks]) -> RawResponse[Webhook]:
        """One webhook."""
        return _json(await webhooks.get(webhook))

    @writing(patch, "/{webhook:str}", "not_found", scope="admin", body=WebhookChanges)
    async def patch_webhook(
        self, request: Request, webhook: WebhookId, webhooks: NamedDependency[Webhooks]
    ) -> RawResponse[Webhook]:
        """Change the address or the filter of a webhook, or stop or resume it; its position stays."""
        given: WebhookChanges = intake.decode(_changes, await read_body(request))
        changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not UNSET}
        if "type" in changes:
            changes["type"] = _types(changes["type"])
        return _json(await webhooks.update(webhook, **changes))

    @writing(post, "/{webhook:str}/rotate", "not_found", scope="admin", body=SecretRotation, status_code=200)
    async def post_rotate(
        self, request: Request, webhook: WebhookId, webhooks: NamedDependency[Webhooks]
    ) -> RawResponse[CreatedWebhook]:
        """Make a new secret. For the hours of the overlap, messages have signatures of the old and of the new one."""
        rotation: SecretRotation = intake.decode(_rotation, await read_body(request))
        changed, secret = await webhooks.rotate(webhook, rotation.overlap_hours)
        return _json(CreatedWebhook(**msgspec.structs.asdict(changed), secret=secret))

    @writing(delete, "/{webhook:str}", "not_found", scope="admin", status_code=204)
    async def delete_webhook(self, webhook: WebhookId, webhooks: NamedDependency[Webhooks]) -> None:
        """Delete a webhook."""
        await webhooks.delete(webhook)

    @reading("/{webhook:str}/deliveries", "not_found", scope="admin")
    async def get_deliveries(
        self, webhook: WebhookId, webhooks: NamedDependency[Webhooks], limit: Limit = 100
    ) -> RawResponse[Deliveries]:
        """The latest deliveries: each attempt, and the answer to it."""
        return _json(Deliveries(await webhooks.deliveries(webhook, limit)))

    @writing(post, "/{webhook:str}/resend", "not_found", scope="admin", body=ResendRequest, status_code=200)
    async def post_resend(
        self, request: Request, webhook: WebhookId, webhooks: NamedDependency[Webhooks]
    ) -> RawResponse[Delivery]:
        """Send an event again, now; if the receiver accepts it, a disabled webhook continues where it stopped."""
        resend: ResendRequest = intake.decode(_resend, await read_body(request))
        return _json(await webhooks.resend(webhook, resend.position))

    @writing(post, "/{webhook:str}/test", "not_found", scope="admin", status_code=200)
    async def post_test(self, webhook: WebhookId, webhooks: NamedDependency[Webhooks]) -> RawResponse[Delivery]:
        """Send a test message, and return the receiver's answer."""
        return _json(await webhooks.test(webhook))


def _types(given: str | list[str] | None) -> list[str] | None:
    """The event types of a filter, each once."""
    return [given] if isinstance(given, str) else list(dict.fromkeys(given)) if given is not None else None


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> RawResponse[Any]:
    return json_response(encode(content), {"Cache-Control": "no-store", **(headers or {})}, status)
