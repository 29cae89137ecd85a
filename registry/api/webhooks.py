"""Webhooks over HTTP: who is told of new events, and how that went. For keys with the scope admin."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, post, route
from litestar.params import FromPath
from msgspec import Meta, Struct

from registry.api import parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.delivery.webhook_store import Delivery, Webhook
from registry.delivery.webhooks import Webhooks
from registry.events import intake
from registry.events.types import EVENT_TYPES, Slug, Url
from registry.schemas import encode

Position = Annotated[int, Meta(ge=0, le=2**53)]
EventType: Any = Literal[tuple(EVENT_TYPES)]


class NewWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to send events, and which: those to which all that is given applies.

    `after` is the position behind which they begin; without it those recorded from now on are sent.
    """

    url: Url
    type: EventType | None = None
    deal: Slug | None = None
    organization: Slug | None = None
    source: Url | None = None
    after: Position | None = None


class ResendRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which event to send again."""

    position: Position


class CreatedWebhook(Webhook, frozen=True, kw_only=True):
    """A webhook, with the secret that signs its messages: it cannot be asked for again."""

    secret: str


class ListedWebhooks(Struct, frozen=True):
    """Every webhook."""

    webhooks: list[Webhook]


class Deliveries(Struct, frozen=True):
    """The latest attempts, the last one first."""

    deliveries: list[Delivery]


_new = msgspec.json.Decoder(NewWebhook)
_resend = msgspec.json.Decoder(ResendRequest)

PAGE = {"limit": parameters.integer(1, 1000, 100)}


def _webhooks(request: Request) -> Webhooks:
    found: Webhooks = request.app.state.registry.webhooks
    return found


def _answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response[bytes]:
    return parameters.json_response(encode(content), status, {"Cache-Control": "no-store", **(headers or {})})


@post("/v1/webhooks")
async def post_webhook(request: Request) -> Response[bytes]:
    """Have new events sent to an address (Standard Webhooks).

    Messages are signed with the secret that is answered here and nowhere else, sent in the order of the log, and again,
    longer and longer after one another, until they are answered with a success; `webhook-id` is the event's id.
    """
    key = await parameters.authorize(request, "admin")
    parameters.query(request, {})
    asked: NewWebhook = intake.decode(_new, await parameters.body(request))
    wanted = {name: getattr(asked, name) for name in ("type", "deal", "organization", "source")}
    made, secret = await _webhooks(request).create(asked.url, key.id, asked.after, **wanted)
    headers = {"Location": f"/v1/webhooks/{made.id}/deliveries"}
    return _answer(CreatedWebhook(**msgspec.structs.asdict(made), secret=secret), 201, headers)


@route("/v1/webhooks", http_method=READ)
async def get_webhooks(request: Request) -> Response[bytes]:
    """Every webhook, how far it has come, and whether it is disabled."""
    await parameters.authorize(request, "admin")
    parameters.query(request, {})
    return _answer(ListedWebhooks(await _webhooks(request).all()))


@delete("/v1/webhooks/{webhook:str}", status_code=204)
async def delete_webhook(request: Request, webhook: FromPath[str]) -> None:
    """End a webhook."""
    await parameters.authorize(request, "admin")
    parameters.query(request, {})
    await _webhooks(request).delete(webhook)


@route("/v1/webhooks/{webhook:str}/deliveries", http_method=READ)
async def get_deliveries(request: Request, webhook: FromPath[str]) -> Response[bytes]:
    """What became of the latest messages: each attempt, and what it was answered."""
    await parameters.authorize(request, "admin")
    asked = parameters.query(request, PAGE)
    return _answer(Deliveries(await _webhooks(request).deliveries(webhook, asked.get("limit", 100))))


@post("/v1/webhooks/{webhook:str}/resend", status_code=200)
async def post_resend(request: Request, webhook: FromPath[str]) -> Response[bytes]:
    """Send an event again, now; if it is taken, a disabled webhook goes on where it stopped."""
    await parameters.authorize(request, "admin")
    parameters.query(request, {})
    asked: ResendRequest = intake.decode(_resend, await parameters.body(request))
    return _answer(await _webhooks(request).resend(webhook, asked.position))


@post("/v1/webhooks/{webhook:str}/test", status_code=200)
async def post_test(request: Request, webhook: FromPath[str]) -> Response[bytes]:
    """Send a message that says nothing but that it came, and tell how it was answered."""
    await parameters.authorize(request, "admin")
    parameters.query(request, {})
    return _answer(await _webhooks(request).test(webhook))


OPERATIONS = (
    Operation(handler=post_webhook, tag="Log", body=NewWebhook, answer=CreatedWebhook, statuses=(201,), scope="admin"),
    Operation(handler=get_webhooks, tag="Log", answer=ListedWebhooks, scope="admin", refuses=("forbidden",)),
    Operation(handler=delete_webhook, tag="Log", statuses=(204,), scope="admin", refuses=("forbidden", "not_found")),
    Operation(
        handler=get_deliveries,
        tag="Log",
        query=PAGE,
        answer=Deliveries,
        scope="admin",
        refuses=("forbidden", "not_found"),
    ),
    Operation(
        handler=post_resend, tag="Log", body=ResendRequest, answer=Delivery, scope="admin", refuses=("not_found",)
    ),
    Operation(handler=post_test, tag="Log", answer=Delivery, scope="admin", refuses=("forbidden", "not_found")),
)
