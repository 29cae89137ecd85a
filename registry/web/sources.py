"""The page of a source: everything that rests on it, and its retraction in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from msgspec import Struct

from registry.api.sources import NewRetraction, SourceId, retract
from registry.append.recorder import Recorder
from registry.domain.history import FoldedStream
from registry.domain.sources.retraction import CitingEvent, Treatment
from registry.errors import RuleBroken, VersionConflict
from registry.events.intake import as_uuid
from registry.http.parameters import After
from registry.i18n import Message
from registry.infra.threads import HEAVY_ITEM, offload_answer
from registry.queries.sources import CitedEvent, SourceQueries
from registry.schemas import SourceRetraction
from registry.web.deals.provenance import is_id
from registry.web.page import render
from registry.web.page.cache import cached_page
from registry.web.page.citations import cite
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest, redirect
from registry.web.recording.state_types import typed_change
from registry.web.sign_in.session import read_signed_form, require_key

EVENTS_PER_PAGE = 100

MAX_RETRACTED = 1000
"""The most events in the form of a retraction: a posted form of 256 KiB has the treatments of some 4,000."""

TREATMENTS: tuple[Treatment, ...] = ("retract", "void", "uncite", "keep")


class CitedStream(Struct, frozen=True):
    """A deal or an organization with its events that cite a source."""

    kind: str
    slug: str
    events: list[CitedEvent]


class SourcePages(Controller):
    """The page of a source."""

    @route("/sources/{source:str}", http_method=READ)
    async def get_source(
        self,
        page: Page,
        source: SourceId,
        source_queries: NamedDependency[SourceQueries],
        after: After = 0,
    ) -> Response[bytes]:
        """Everything that rests on a source."""

        async def make() -> Rendered:
            use = await source_queries.use(source, after, EVENTS_PER_PAGE)
            names = await page.names.of_events(
                [(e.kind, e.slug, e.effective.event) for e in use.events],
            )
            title = use.source.title or use.source.publisher or use.source.url or source
            return await offload_answer(
                HEAVY_ITEM * len(use.events),
                render.render,
                page,
                "source.html",
                id=source,
                source=use.source,
                title=title,
                streams=_by_stream(use.events),
                number_in_force=sum(event.in_force for event in use.events),
                event_count=len(use.events),
                next=use.next,
                is_part=after > 0 or use.next is not None,
                names=names.names,
                names_of=names.of,
                is_id=is_id,
                authors=use.authors,
                data_url=f"/v1/sources/{source}",
                cite=cite(page, title, page.position),
            )

        return await cached_page(page, make)

    @route("/sources/{source:str}/retraction", http_method=READ)
    async def get_retraction(
        self,
        page: Page,
        source: SourceId,
        source_queries: NamedDependency[SourceQueries],
    ) -> Response[bytes]:
        """The form that retracts a source: each event that rests on it, and what would become of it."""
        require_key(page)
        plans = await source_queries.plan(source, {}, MAX_RETRACTED)
        return await _form(page, source, plans, source_queries)

    @post("/sources/{source:str}/retraction", status_code=200)
    async def post_retraction(
        self,
        page: Page,
        source: SourceId,
        source_queries: NamedDependency[SourceQueries],
        recorder: NamedDependency[Recorder],
    ) -> Response[bytes]:
        """Preview a retraction, or carry it out."""
        sent, key = await read_signed_form(page)
        plans = await source_queries.plan(source, _chosen(sent), MAX_RETRACTED)
        new = NewRetraction(reason=sent.get("reason", "").strip() or None)
        # The editor decides on what the form listed: an event recorded since is shown first.
        is_complete = {citation.event for _, plan in plans for citation in plan} == set(_chosen(sent))
        dry_run = sent.get("step") != "record" or not is_complete
        try:
            done = await retract(source, plans, new, recorder, key, dry_run=dry_run)
        except (RuleBroken, VersionConflict) as error:
            return await _form(
                page,
                source,
                plans,
                source_queries,
                reason=new.reason,
                problem=error.message,
            )
        if not dry_run:
            return redirect(page.link(f"/sources/{source}"))
        return await _form(page, source, plans, source_queries, reason=new.reason, preview=done)


async def _form(
    page: PageRequest,
    source: str,
    plans: Sequence[tuple[FoldedStream[Any], Sequence[CitingEvent]]],
    source_queries: SourceQueries,
    *,
    reason: str | None = None,
    preview: SourceRetraction | None = None,
    problem: Message | None = None,
) -> Response[bytes]:
    """The form of a retraction, with what it would change once the editor has asked for that."""
    cited_as = await source_queries.source(source)
    cited = [(citation.kind, citation.slug, citation.effective.event) for _, plan in plans for citation in plan]
    names = await page.names.of_events(cited)
    changes = {
        stream: [typed_change({"field": c.path, "before": c.before, "after": c.after}) for c in changed]
        for stream, changed in (preview.changes if preview is not None else {}).items()
    }

    def rendered() -> Rendered:
        needing = {event for _, plan in plans for citation in plan for event in citation.needed_by}
        events = (event for stream, _ in plans for event in stream.events) if needing else ()
        return render.render(
            page,
            "source_retraction.html",
            409 if problem is not None else 200,
            id=source,
            source=cited_as,
            title=cited_as.title or cited_as.publisher or cited_as.url or source,
            plans=[(plan[0].kind, stream.slug, plan[::-1]) for stream, plan in plans],
            types={id: event.type for event in events if (id := str(event.id)) in needing},
            names=names.names,
            names_of=names.of,
            limit=MAX_RETRACTED if len(cited) >= MAX_RETRACTED else None,
            reason=reason or "",
            changes=changes,
            is_preview=preview is not None,
            problem=problem,
        )

    return render.send(page, await offload_answer(HEAVY_ITEM * len(cited), rendered))


def _chosen(sent: Mapping[str, str]) -> dict[UUID, Treatment]:
    """The treatment that a form gives for each event."""
    chosen: dict[UUID, Treatment] = {}
    for name, text in sent.items():
        event = as_uuid(name.removeprefix("event-")) if name.startswith("event-") else None
        treatment = next((one for one in TREATMENTS if one == text), None)
        if event is not None and treatment is not None:
            chosen[event] = treatment
    return chosen


def _by_stream(events: Sequence[CitedEvent]) -> list[CitedStream]:
    found: dict[tuple[str, str], CitedStream] = {}
    for event in events:
        found.setdefault((event.kind, event.slug), CitedStream(event.kind, event.slug, [])).events.append(event)
    return list(found.values())
