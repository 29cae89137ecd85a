"""An event's page, with its proof checked in front of the reader, and the log's."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Response, route
from litestar.params import FromPath

from registry.api import parameters
from registry.api.deals import READ
from registry.domain.audit.entries import audit_trail
from registry.domain.fold import DEALS, ORGANIZATIONS
from registry.errors import NotFound, RegistryError
from registry.events.intake import as_uuid
from registry.events.types import EVENT_TYPES
from registry.i18n import Message
from registry.queries.answers import encode
from registry.transparency.checkpoint import VerifierKey
from registry.transparency.verify import verify_bundle
from registry.web import render
from registry.web.cache import cached_page
from registry.web.deals import citation, display_names, named, time_sliders, titled
from registry.web.format import deals_in, organizations_in, shown
from registry.web.i18n import N_
from registry.web.portfolio import everything
from registry.web.render import Rendered
from registry.web.request import PageRequest, Request, page_request

CHECKPOINTS = 20
EVENTS_PER_PAGE = 50


@route("/events/{id:str}", http_method=READ)
async def get_event(request: Request, id: FromPath[str]) -> Response[bytes]:
    """One event: what it says, what it changed, what corrected it, and the proof that it stands in the log."""
    visit = await page_request(request)
    uuid = as_uuid(id)
    if uuid is None:
        raise NotFound("event_id", id=id[:80])

    async def make() -> Rendered:
        stored, reading = await visit.registry.log.event(uuid)
        recorded = stored.recorded
        deal = recorded.kind == "deal"
        history, _ = await visit.registry.streams.load(f"{recorded.kind}/{recorded.slug}")
        rules: Any = DEALS if deal else ORGANIZATIONS
        entries = audit_trail(history.events, visit.clocks, rules)
        entry = next((e for e in entries if e.effective.recorded.id == uuid), None)
        here = shown(visit.language)
        names = await display_names(visit, history.state) if deal else {}
        proof, verdict, keys = await inclusion_proof(visit, recorded.position)
        return render.render(
            visit,
            "event.html",
            recorded=recorded,
            reading=reading,
            entry=entry,
            names=names,
            title=history.state.title if deal else history.state.name,
            concerning=[e for e in entries if e.target_event == uuid],
            bytes_=stored.entry.decode(),
            content=pretty_json(stored.content),
            salt=stored.salt.hex() if stored.salt else None,
            proof=proof,
            verdict=verdict,
            verifier=keys,
            rails=time_sliders(visit, history),
            data_url=f"/v1/events/{uuid}",
            csv_url=f"/v1/export/events.csv?{urlencode({recorded.kind: recorded.slug})}",
            cite=citation(visit, f"{here.type_of(recorded.type)}, {recorded.slug}", recorded.position),
        )

    return await cached_page(visit, make)


def pretty_json(content: bytes | None) -> str | None:
    """Content as it is hashed, set in lines for reading."""
    return None if content is None else msgspec.json.format(content, indent=2).decode()


async def inclusion_proof(visit: PageRequest, position: int) -> tuple[Any, tuple[bool, Message | str], list[str]]:
    """The proof of a position, whether the server finds that it holds, in its words, and the log's verifier keys."""
    evidence = visit.registry.evidence
    try:
        proof = await evidence.inclusion(position)
        keys: list[str] = await evidence.verifiers()
        found = verify_bundle(encode(proof), [VerifierKey.parse(key) for key in keys])
    except RegistryError as error:
        return None, (False, error.message), []
    return proof, (True, found.proves), keys


@route("/log", http_method=READ)
async def get_log(request: Request) -> Response[bytes]:
    """The log: its size, its signed heads, when it was last verified, and its latest events."""
    visit = await page_request(
        request,
        {
            "before": parameters.integer(1, 2**53),
            "after": parameters.integer(0, 2**53),
            "type": parameters.choice(*EVENT_TYPES),
            "source": parameters.text,
        },
    )

    async def make() -> Rendered:
        only = {name: visit.asked[name] for name in ("type", "source") if visit.asked.get(name)}
        later: int | None = None
        if only:
            # Where they are chosen, from the first one on: nobody knows how far apart they are.
            after = visit.asked.get("after", 0)
            events = await visit.registry.log.events(after, EVENTS_PER_PAGE + 1, **only)
            if len(events) > EVENTS_PER_PAGE:
                events = events[:EVENTS_PER_PAGE]
                later = events[-1].recorded.position
        else:
            end = visit.asked.get("before", visit.position + 1)
            after = max(0, end - 1 - EVENTS_PER_PAGE)
            events = (
                (await visit.registry.log.events(after, min(EVENTS_PER_PAGE, end - 1 - after)))[::-1] if end > 1 else []
            )
        evidence = visit.registry.evidence
        checkpoint, problem = None, None
        try:
            checkpoint = await evidence.checkpoint()
        except RegistryError as error:
            problem = error.message
        here = shown(visit.language)
        said = [e.recorded.event for e in events]
        streams: dict[str, set[str]] = {"deal": deals_in(said), "organization": organizations_in(said)}
        for e in events:
            streams[e.recorded.kind].add(e.recorded.slug)
        names = await named(visit, slugs=streams["organization"]) | await titled(visit, streams["deal"])
        return render.render(
            visit,
            "log.html",
            events=events,
            names=names,
            earlier=after + 1 if after and not only else None,
            later=later,
            checkpoint=checkpoint,
            problem=problem,
            signed=await evidence.checkpoints(limit=CHECKPOINTS),
            verified=await evidence.last_verified(),
            verifiers=await evidence.verifiers(),
            types=EVENT_TYPES,
            rails=await everything(visit),
            data_url=f"/v1/events?{urlencode({'after': after, 'limit': EVENTS_PER_PAGE, **only})}",
            csv_url=f"/v1/export/events.csv?{urlencode({'after': after, **only})}",
            cite=citation(visit, here.words.gettext(N_("event log")), visit.position),
        )

    return await cached_page(visit, make)


HANDLERS = [get_event, get_log]
