"""The page of an event: its content, what it changed, and its inclusion proof."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.deal import Deal
from registry.domain.history import FoldedStream
from registry.domain.organizations.organization import Organization
from registry.domain.principal import Principal
from registry.errors import NotFound, RegistryError
from registry.events.intake import as_uuid
from registry.events.types import Recorded
from registry.events.values import Localized
from registry.formatting.language import N_
from registry.formatting.values import shown
from registry.i18n import Message
from registry.infra.threads import is_long, offload_answer
from registry.queries.log import LogQueries
from registry.queries.streams import StreamReader
from registry.schemas import encode
from registry.transparency.bundles import verify_bundle
from registry.transparency.checkpoint import VerifierKey
from registry.transparency.evidence import Evidence
from registry.web.page import render
from registry.web.page.cache import cached_page
from registry.web.page.citations import CitedProof, cite
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest
from registry.web.page.sliders import stream_sliders


class ProofCheck(Struct, frozen=True):
    """The inclusion proof of an event as the server verified it.

    Args:
        proof: The proof; None where there is none.
        keys: The log's public keys.
        text: What the proof proves, or why it does not.
    """

    proof: Any
    keys: list[str]
    text: Message


class EventPages(Controller):
    """The page of an event."""

    @route("/events/{id:str}", http_method=READ)
    async def get_event(
        self,
        page: Page,
        id: FromPath[str],
        log_queries: NamedDependency[LogQueries],
        streams: NamedDependency[StreamReader],
        evidence: NamedDependency[Evidence],
    ) -> Response[bytes]:
        """An event with its changes, its corrections, and its inclusion proof."""
        uuid = as_uuid(id)
        if uuid is None:
            raise NotFound("event_id", id=id[:80])

        async def make() -> Rendered:
            return await render_event(page, uuid, log_queries, streams, evidence)

        return await cached_page(page, make)


async def render_event(
    page: PageRequest, id: UUID, log_queries: LogQueries, streams: StreamReader, evidence: Evidence
) -> Rendered:
    """The page of an event."""
    stored, effective = await log_queries.event(id)
    recorded = stored.recorded
    loaded, _ = await streams.load(f"{recorded.kind}/{recorded.slug}")
    assert loaded is not None
    stream = loaded.copy_for_thread() if is_long(loaded.version) else loaded
    state, entries = await offload_answer(stream.version, state_and_entries, page, stream, recorded)
    title, names = await title_and_names(page, state, recorded, streams)
    texts = shown(page.language)
    name = texts.words.localized(title, recorded.slug)
    check = await check_inclusion(evidence, recorded.position)
    if "stream" in check.text.params:
        # The verdict names the deal as the page does.
        check = replace(check, text=check.text.with_params(stream=name))
    return render.render(
        page,
        "event.html",
        recorded=recorded,
        effective=effective,
        entry=next((entry for entry in entries if entry.effective.recorded.id == id), None),
        names=names,
        title=title,
        related_entries=[entry for entry in entries if entry.target_event == id],
        envelope=stored.entry.decode(),
        content=None if recorded.is_withheld else indented_json(stored.content),
        salt=stored.salt.hex() if stored.salt else None,
        authors=await streams.author_names([recorded]),
        check=check,
        sliders=await offload_answer(stream.version, stream_sliders, page, stream),
        data_url=f"/v1/events/{id}",
        csv_url=f"/v1/export/events.csv?{recorded.kind}={recorded.slug}",
        cite=cite(
            page,
            f"{texts.type_of(recorded.type)}, {name}",
            recorded.position,
            proofs=[CitedProof(N_("Inclusion proof"), f"/v1/log/proof/inclusion?position={recorded.position}")],
            feed=None if recorded.is_withheld else {recorded.kind: recorded.slug},
        ),
    )


def state_and_entries(page: PageRequest, stream: FoldedStream[Any], recorded: Recorded) -> tuple[Any, list[AuditEntry]]:
    """The stream's present state, and the audit entries of an event and of those about it."""
    if recorded.is_withheld:
        return stream.state, []
    return stream.state, audit_trail(
        stream.events,
        page.as_of,
        stream.rules,
        page.times.calendar,
        snapshot=stream.state_as_of(page.as_of),
        after=recorded.position - 1,
        limit=1,
    )


async def title_and_names(
    page: PageRequest, state: Any, recorded: Recorded, streams: StreamReader
) -> tuple[Localized | None, dict[str, str]]:
    """The title of an event's stream, and the names that its state refers to. A principal has its name of then."""
    match state:
        case Deal():
            return state.title, await page.names.of_deal(state)
        case Organization():
            return state.name, {}
        case Principal():
            author = await streams.author_names_of([recorded.slug])
            return Localized(en=author.at(recorded.slug, recorded.position)), {}
    return None, {}


def indented_json(content: bytes | None) -> str | None:
    """Canonical JSON, indented for reading."""
    return None if content is None else msgspec.json.format(content, indent=2).decode()


async def check_inclusion(evidence: Evidence, position: int) -> ProofCheck:
    """Make and verify the inclusion proof of an event."""
    try:
        proof = await evidence.inclusion(position)
        keys = await evidence.verifiers()
        checked = verify_bundle(encode(proof), [VerifierKey.parse(key) for key in keys])
    except RegistryError as error:
        return ProofCheck(None, [], error.message)
    return ProofCheck(proof, keys, checked.proves)
