"""Pages of watches: make one from a deal or a list, confirm it and end it from an e-mail, and the reader's own."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, SkipValidation
from msgspec.structs import asdict

from registry.delivery.watch_mail import condition_text
from registry.delivery.watch_store import Digest, Watch
from registry.delivery.watches import Watches
from registry.delivery.webhook_store import Webhook
from registry.delivery.webhooks import WEBHOOK_PREFIX, WatchUnconfirmed, Webhooks
from registry.errors import Invalid, NotFound, RateLimited, RegistryError
from registry.events import intake
from registry.events.types import EVENT_TYPES
from registry.http.guards import IGNORES_QUERY
from registry.http.parameters import text
from registry.i18n import Message
from registry.queries.event_filter import EventFilter
from registry.schemas.deal_query import DealQuery
from registry.web.page import render
from registry.web.page.request import READ, Page, PageRequest, Request, redirect
from registry.web.sign_in.session import read_signed_form, require_key

AnyWatches = NamedDependency[SkipValidation[Watches]]
AnyWebhooks = NamedDependency[SkipValidation[Webhooks]]

FILTERS = ("type", "deal", "organization", "source")
DEAL_FILTERS = DealQuery.__struct_fields__

_deals = msgspec.json.Decoder(DealQuery)

Done = Literal["asked", "confirmed", "ended"]
"""What a reader did: asked for a watch by e-mail, let a receiver confirm one, or ended one."""

Token = Annotated[str, text("The token of a link in an e-mail.")]


class WatchPages(Controller):
    """Watches by e-mail and webhook."""

    @route("/watches", http_method=READ)
    async def get_watches(
        self,
        page: Page,
        watches: AnyWatches,
        webhooks: AnyWebhooks,
        done: Annotated[Done | None, QueryParameter(description="What the reader has just done.")] = None,
    ) -> Response[bytes]:
        """The reader's watches."""
        return await _list(page, watches, webhooks, done=done)

    @route("/watches/new", http_method=READ)
    async def get_new(
        self,
        page: Page,
        watches: AnyWatches,
        event_filter: NamedDependency[EventFilter],
        event_deals: NamedDependency[DealQuery | None],
    ) -> Response[bytes]:
        """The form that makes a watch."""
        require_key(page)
        given = {name: value for name, value in asdict(event_filter).items() if value and name != "type"}
        if event_filter.type:
            given["type"] = ",".join(event_filter.type)
        return await _form(page, watches, given, event_deals or DealQuery())

    @post("/watches", status_code=303)
    async def post_watch(self, page: Page, watches: AnyWatches, webhooks: AnyWebhooks) -> Response[bytes]:
        """Save a watch: ask the owner of the e-mail address to confirm it, or show the secret of the receiver."""
        sent, key = await read_signed_form(page)
        given = {name: sent[name].strip()[:2000] for name in FILTERS if sent.get(name, "").strip()}
        types = tuple(type for type in given.get("type", "").split(",") if type in EVENT_TYPES)
        event_filter = EventFilter(types, given.get("deal"), given.get("organization"), given.get("source"))
        deals = _decode_deals({name: sent[f"deals.{name}"] for name in DEAL_FILTERS if sent.get(f"deals.{name}")})
        conditions = deals if deals.given() else None
        try:
            if "url" in sent:
                url = sent["url"].strip()[:2000]
                made, secret = await webhooks.create(url, key.id, event_filter, conditions, owner=key.id)
                return await _list(page, watches, webhooks, made=made, secret=secret)
            digest: Digest = "daily" if sent.get("digest") == "daily" else "at_once"
            email = sent.get("email", "").strip()
            await watches.create(key.id, email, event_filter, conditions, language=page.language, digest=digest)
        except NotFound:
            raise
        except RegistryError as error:
            problem = error.field_errors[0] if isinstance(error, Invalid) else error.message
            return await _form(page, watches, given, deals, sent, problem)
        return redirect(page.link("/watches", done="asked"))

    @post("/watches/{id:str}/delete", status_code=303)
    async def post_delete(
        self, page: Page, id: FromPath[str], watches: AnyWatches, webhooks: AnyWebhooks
    ) -> Response[bytes]:
        """End one of the reader's watches."""
        _, key = await read_signed_form(page)
        if id.startswith(WEBHOOK_PREFIX):
            await webhooks.delete(id, owner=key.id)
        else:
            await watches.delete(id, key.id)
        return redirect(page.link("/watches", done="ended"))

    @post("/watches/{id:str}/challenge", status_code=303)
    async def post_challenge(
        self, page: Page, id: FromPath[str], watches: AnyWatches, webhooks: AnyWebhooks
    ) -> Response[bytes]:
        """Ask the receiver of one of the reader's watches to confirm."""
        _, key = await read_signed_form(page)
        try:
            await webhooks.confirm(id, key.id)
        except (WatchUnconfirmed, RateLimited) as error:
            return await _list(page, watches, webhooks, problem=error.message)
        return redirect(page.link("/watches", done="confirmed"))

    # The links of e-mails need no session: the token is the proof. A program that opens links to look for harm sends
    # GET, which changes nothing.

    @route("/watches/{id:str}/{purpose:str}", http_method=READ)
    async def get_link(
        self, public_page: Page, id: FromPath[str], purpose: FromPath[str], watches: AnyWatches, token: Token = ""
    ) -> Response[bytes]:
        """The page of a link in an e-mail, with the button that confirms or ends the watch."""
        watch = await _linked(watches, id, purpose, token)
        return await _link_page(public_page, watches, watch, purpose, token, done=False)

    @post("/watches/{id:str}/{purpose:str}", status_code=200, opt={IGNORES_QUERY: True})
    async def post_link(
        self, request: Request, public_page: Page, id: FromPath[str], purpose: FromPath[str], watches: AnyWatches
    ) -> Response[bytes]:
        """Confirm or end a watch. Readers of mail send this by themselves to end it (RFC 8058)."""
        token = request.query_params.get("token", "")
        watch = await _linked(watches, id, purpose, token)
        await (watches.confirm(watch) if purpose == "confirm" else watches.end(watch))
        return await _link_page(public_page, watches, watch, purpose, token, done=True)


async def _list(
    page: PageRequest,
    watches: Watches,
    webhooks: Webhooks,
    *,
    made: Webhook | None = None,
    secret: str | None = None,
    problem: Message | None = None,
    done: Done | None = None,
) -> Response[bytes]:
    """The reader's watches, with the secret of a new one, why one was not confirmed, or what was done."""
    owner = require_key(page).id
    by_mail = [(watch, watches.address(watch)) for watch in await watches.of_principal(owner)]
    own: list[tuple[Watch | Webhook, str]] = [*by_mail]
    own += [(webhook, webhook.url) for webhook in await webhooks.of_owner(owner)]
    rows = [(watch, address, await watches.about(watch, page.language)) for watch, address in own]
    rendered = render.render(
        page,
        "watches.html",
        409 if problem else 200,
        watches=rows,
        is_webhook=lambda watch: isinstance(watch, Webhook),
        made=made,
        secret=secret,
        problem=problem,
        done=done,
    )
    return render.send(page, rendered)


async def _linked(watches: Watches, id: str, purpose: str, token: str) -> Watch:
    if purpose not in ("confirm", "end"):
        raise NotFound("watch", watch=id[:80])
    return await watches.find(id, purpose, token)


def _decode_deals(conditions: dict[str, str]) -> DealQuery:
    """The query of a form's hidden fields. Raises Invalid."""
    decoded: DealQuery = intake.decode(_deals, msgspec.json.encode(conditions))
    return decoded


async def _form(
    page: PageRequest,
    watches: Watches,
    given: dict[str, str],
    deals: DealQuery,
    sent: dict[str, str] | None = None,
    problem: Message | None = None,
) -> Response[bytes]:
    named = [
        ("deal", given.get("deal")),
        ("organization", given.get("organization")),
        ("organization", deals.organization),
    ]
    names = await watches.titles([f"{kind}/{slug}" for kind, slug in named if slug is not None], page.language)
    conditions = [(n, value, condition_text(n, value, names, page.language)) for n, value in deals.given().items()]
    rendered = render.render(
        page,
        "watch_form.html",
        200 if problem is None else 422,
        given=given,
        types=given["type"].split(",") if "type" in given else [],
        conditions=conditions,
        sent=sent or {},
        problem=problem,
        by_mail=watches.is_available,
        names=names,
    )
    return render.send(page, rendered)


async def _link_page(
    page: PageRequest, watches: Watches, watch: Watch, purpose: str, token: str, *, done: bool
) -> Response[bytes]:
    about = await watches.about(watch, page.language)
    rendered = render.render(page, "watch_link.html", watch=watch, about=about, purpose=purpose, token=token, done=done)
    return render.send(page, rendered)
