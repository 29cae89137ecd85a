"""Pages of watches: make one from a deal or a list, confirm it and end it from an e-mail, and the reader's own."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from msgspec.structs import asdict

from registry.api.guards import IGNORES_QUERY
from registry.api.parameters import text
from registry.delivery.feed import Filter
from registry.delivery.watch_mail import condition_text
from registry.delivery.watch_store import Watch
from registry.delivery.watches import Watches
from registry.errors import Invalid, NotFound, RegistryError
from registry.events import intake
from registry.events.types import EVENT_TYPES
from registry.i18n import Message
from registry.queries.deal_query import DealQuery
from registry.web import render
from registry.web.request import READ, Page, PageRequest, Request, check_csrf, redirect
from registry.web.session import read_form, require_key

AnyWatches = NamedDependency[SkipValidation[Watches]]

FILTERS = ("type", "deal", "organization", "source")
DEAL_FILTERS = DealQuery.__struct_fields__

_deals = msgspec.json.Decoder(DealQuery)

Token = Annotated[str, text("The token of a link in an e-mail.")]


class WatchPages(Controller):
    """Watches by e-mail."""

    @route("/watches", http_method=READ)
    async def get_watches(self, page: Page, watches: AnyWatches) -> Response[bytes]:
        """The reader's watches."""
        own = await watches.of_principal(require_key(page).id)
        rows = [(watch, watches.address(watch), await watches.about(watch)) for watch in own]
        return render.send(page, render.render(page, "watches.html", watches=rows))

    @route("/watches/new", http_method=READ)
    async def get_new(
        self,
        page: Page,
        watches: AnyWatches,
        event_filter: NamedDependency[Filter],
        event_deals: NamedDependency[DealQuery | None],
    ) -> Response[bytes]:
        """The form that makes a watch."""
        require_key(page)
        _require_mail(watches)
        given = {name: value for name, value in asdict(event_filter).items() if value and name != "type"}
        if event_filter.type:
            given["type"] = ",".join(event_filter.type)
        return _form(page, given, event_deals or DealQuery())

    @post("/watches", status_code=303)
    async def post_watch(self, request: Request, page: Page, watches: AnyWatches) -> Response[bytes]:
        """Save a watch, and ask the owner of the address to confirm it."""
        sent = await read_form(request)
        key = require_key(page)
        check_csrf(request, page.session.token, sent.get("csrf", ""))
        given = {name: sent[name].strip()[:2000] for name in FILTERS if sent.get(name, "").strip()}
        types = [type for type in given.get("type", "").split(",") if type in EVENT_TYPES]
        deals = _decode_deals({name: sent[f"deals.{name}"] for name in DEAL_FILTERS if sent.get(f"deals.{name}")})
        try:
            await watches.create(
                key.id,
                sent.get("email", "").strip(),
                language=page.language,
                digest="daily" if sent.get("digest") == "daily" else "at_once",
                type=types or None,
                deal=given.get("deal"),
                organization=given.get("organization"),
                source=given.get("source"),
                deals=deals if deals.given() else None,
            )
        except NotFound:
            raise
        except RegistryError as error:
            problem = error.field_errors[0] if isinstance(error, Invalid) else error.message
            return _form(page, given, deals, sent, problem)
        return redirect(page.link("/watches"))

    @post("/watches/{id:str}/delete", status_code=303)
    async def post_delete(
        self, request: Request, page: Page, id: FromPath[str], watches: AnyWatches
    ) -> Response[bytes]:
        """End one of the reader's watches."""
        sent = await read_form(request)
        key = require_key(page)
        check_csrf(request, page.session.token, sent.get("csrf", ""))
        await watches.delete(id, key.id)
        return redirect(page.link("/watches"))

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


def _require_mail(watches: Watches) -> None:
    if not watches.is_available:
        raise NotFound("watches")


async def _linked(watches: Watches, id: str, purpose: str, token: str) -> Watch:
    if purpose not in ("confirm", "end"):
        raise NotFound("watch", watch=id[:80])
    return await watches.find(id, purpose, token)


def _decode_deals(conditions: dict[str, str]) -> DealQuery:
    """The query of a form's hidden fields. Raises Invalid."""
    decoded: DealQuery = intake.decode(_deals, msgspec.json.encode(conditions))
    return decoded


def _form(
    page: PageRequest,
    given: dict[str, str],
    deals: DealQuery,
    sent: dict[str, str] | None = None,
    problem: Message | None = None,
) -> Response[bytes]:
    conditions = [(n, value, condition_text(n, value, {}, page.language)) for n, value in deals.given().items()]
    rendered = render.render(
        page,
        "watch_form.html",
        200 if problem is None else 422,
        given=given,
        types=given["type"].split(",") if "type" in given else [],
        conditions=conditions,
        sent=sent or {},
        problem=problem,
    )
    return render.send(page, rendered)


async def _link_page(
    page: PageRequest, watches: Watches, watch: Watch, purpose: str, token: str, *, done: bool
) -> Response[bytes]:
    about = await watches.about(watch)
    rendered = render.render(page, "watch_link.html", watch=watch, about=about, purpose=purpose, token=token, done=done)
    return render.send(page, rendered)
