"""The page of an event: its content, what it changed, and its inclusion proof."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.audit.entries import AuditEntry, audit_trail
from registry.domain.deal import Deal
from registry.domain.organizations.organization import Organization
from registry.domain.principal import Principal
from registry.errors import NotFound, RegistryError
from registry.events.intake import as_uuid
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
from registry.web.page.request import READ, Page
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
            stored, effective = await log_queries.event(uuid)
            recorded = stored.recorded
            loaded, _ = await streams.load(f"{recorded.kind}/{recorded.slug}")
            assert loaded is not None
            stream = loaded.copy_for_thread() if is_long(loaded.version) else loaded

            def found() -> tuple[Any, list[AuditEntry]]:
                """The state, and the event with those that are about it."""
                if recorded.is_withheld:
                    return stream.state, []
                snapshot = stream.state_as_of(page.as_of)
                after = recorded.position - 1
                return stream.state, audit_trail(
                    stream.events,
                    page.as_of,
                    stream.rules,
                    page.times.calendar,
                    snapshot=snapshot,
                    after=after,
                    limit=1,
                )

            state, entries = await offload_answer(stream.version, found)
            texts = shown(page.language)
            names: dict[str, str] = {}
            title: Localized | None = None
            match state:
                case Deal():
                    title = state.title
                    names = await page.names.of_deal(state)
                case Organization():
                    title = state.name
                case Principal():
                    author = await streams.author_names_of([recorded.slug])
                    title = Localized(en=author.at(recorded.slug, recorded.position))
            authors = await streams.author_names([recorded])
            check = await check_inclusion(evidence, recorded.position)
            sliders = await offload_answer(stream.version, stream_sliders, page, stream)
            name = texts.words.localized(title, recorded.slug)
            if "stream" in check.text.params:
                # The verdict names the deal as the page does.
                check = replace(check, text=check.text.with_params(stream=name))
            return render.render(
                page,
                "event.html",
                recorded=recorded,
                effective=effective,
                entry=next((entry for entry in entries if entry.effective.recorded.id == uuid), None),
                names=names,
                title=title,
                related_entries=[entry for entry in entries if entry.target_event == uuid],
                envelope=stored.entry.decode(),
                content=None if recorded.is_withheld else indented_json(stored.content),
                salt=stored.salt.hex() if stored.salt else None,
                authors=authors,
                check=check,
                sliders=sliders,
                data_url=f"/v1/events/{uuid}",
                csv_url=f"/v1/export/events.csv?{recorded.kind}={recorded.slug}",
                cite=cite(
                    page,
                    f"{texts.type_of(recorded.type)}, {name}",
                    recorded.position,
                    proofs=[CitedProof(N_("Inclusion proof"), f"/v1/log/proof/inclusion?position={recorded.position}")],
                    feed=None if recorded.is_withheld else {recorded.kind: recorded.slug},
                ),
            )

        return await cached_page(page, make)


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
