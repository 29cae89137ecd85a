"""Sources: what rests on one, and its retraction in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec
from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import PathParameter
from msgspec import Struct

from registry.api.openapi import reading, writing
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult, SubmissionError
from registry.domain.audit.diff import Change
from registry.domain.history import FoldedStream
from registry.domain.principal import AuthorNames, Credential, required_scope
from registry.domain.sources.retraction import CitingEvent, Treatment, announcements
from registry.errors import Invalid
from registry.events import intake
from registry.events.types import AnyAnnouncement
from registry.events.validation import validate
from registry.events.values import Source, Text
from registry.http.bodies import Request, read_body
from registry.http.guards import check_may_read, check_scope
from registry.http.parameters import After, DryRun, Limit
from registry.http.responses import RawResponse, json_response, page_headers
from registry.queries.sources import CitedEvent, SourceQueries
from registry.schemas import RestingField, SourceCitation, SourceResponse, SourceRetraction, SourceUse, TreatedEvent
from registry.schemas.base import encode
from registry.schemas.deals import refusal_response
from registry.schemas.history import event_metadata
from registry.schemas.values import LocalizedResponse, convert, convert_any

SourceId: TypeAlias = Annotated[
    str, PathParameter(description="A source's id.", pattern=r"^[0-9a-f]{32}$(?!\n)", title="source_id")
]


class ChosenTreatment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of one event."""

    event: UUID
    treatment: Treatment


class NewRetraction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why a source is retracted, where that was published, and what becomes of single events.

    An event that `treatments` leaves out has the default: a claim is retracted, an event with other sources no longer
    cites this one, any other event is voided, unless later events need it.
    """

    reason: Text | None = None
    sources: tuple[Source, ...] = ()
    treatments: tuple[ChosenTreatment, ...] = ()


_retraction = msgspec.json.Decoder(NewRetraction)


class SourcesController(Controller):
    """Sources."""

    path = "/v1/sources/{source:str}"
    tags = ("Portfolio",)

    @reading("/", "not_found")
    async def get_source(
        self,
        request: Request,
        source: SourceId,
        source_queries: NamedDependency[SourceQueries],
        after: After = 0,
        limit: Limit = 100,
    ) -> RawResponse[SourceUse]:
        """Everything that rests on a source: each event that cites it, and the fields that the event set."""
        use = await source_queries.use(source, after, limit)
        following = {"after": str(use.next)} if use.next is not None else None
        response = SourceUse(
            id=source,
            source=convert(use.source, SourceResponse),
            position=max((event.effective.recorded.position for event in use.events), default=after),
            citations=[_citation(event, use.authors) for event in use.events],
            next=use.next,
        )
        return json_response(encode(response), page_headers(request, following))

    @writing(
        post,
        "/retraction",
        "not_found",
        body=NewRetraction,
        responses={200: ResponseSpec(SourceRetraction, description="A dry run.", generate_examples=False)},
    )
    async def post_retraction(
        self,
        request: Request,
        source: SourceId,
        source_queries: NamedDependency[SourceQueries],
        recorder: NamedDependency[Recorder],
        dry_run: DryRun = False,
    ) -> RawResponse[SourceRetraction]:
        """Treat every event that rests on a source, all or none: its publisher took it back, or it proved wrong.

        The answer names these events, so the key must be able to read.
        """
        check_may_read(request)
        new: NewRetraction = intake.decode(_retraction, await read_body(request))
        plans = await source_queries.plan(source, {one.event: one.treatment for one in new.treatments})
        retraction = await retract(source, plans, new, recorder, request.auth, dry_run=dry_run)
        return json_response(encode(retraction), {"Cache-Control": "no-store"}, 200 if dry_run else 201)


async def retract(
    id: str,
    plans: Sequence[tuple[FoldedStream[Any], Sequence[CitingEvent]]],
    new: NewRetraction,
    recorder: Recorder,
    credential: Credential,
    *,
    dry_run: bool,
) -> SourceRetraction:
    """Carry out the plans of a retraction in one transaction. An event recorded since they were made stops it.

    Raises:
        Invalid: The source of the retraction has a wrong value.
        RuleBroken, VersionConflict: A deal has changed meanwhile; nothing was recorded.
    """
    requests: list[AppendRequest] = []
    recorded: dict[UUID, UUID | None] = {}
    for stream, plan in plans:
        made = announcements(plan, id, new.reason, new.sources)
        for citation, announcement in made:
            problems = list(validate(announcement, ""))
            if problems:
                raise Invalid(problems)
            check_scope(credential, required_scope(announcement.event))
            recorded[citation.event] = announcement.id
        if made:
            listed: list[AnyAnnouncement] = [announcement for _, announcement in made]
            requests.append(
                AppendRequest(
                    kind=plan[0].kind,
                    slug=stream.slug,
                    announcements=listed,
                    by=credential.id,
                    credential=credential,
                    expected_version=stream.version,
                    dry_run=dry_run,
                )
            )
    results: Sequence[AppendResult] = []
    if requests:
        try:
            results = await recorder.record_all(requests, dry_run=dry_run)
        except SubmissionError as error:
            raise error.error from None
    answers = [msgspec.json.decode(result.response) for result in results]
    return SourceRetraction(
        id=id,
        position=max((result.position for result in results), default=0),
        treated=[_treated(citation, recorded, dry_run=dry_run) for _, plan in plans for citation in plan],
        changes={
            f"{request.kind}/{request.slug}": msgspec.convert(answer.get("changes", []), list[Change])
            for request, answer in zip(requests, answers, strict=True)
        },
    )


def _treated(citation: CitingEvent, recorded: dict[UUID, UUID | None], *, dry_run: bool) -> TreatedEvent:
    return TreatedEvent(
        event=citation.event,
        deal=citation.slug if citation.kind == "deal" else None,
        organization=citation.slug if citation.kind == "organization" else None,
        type=citation.effective.recorded.type,
        treatment=citation.treatment,
        choices=citation.choices,
        problem=refusal_response(citation.problem) if citation.problem is not None else None,
        recorded=None if dry_run else recorded.get(citation.event),
    )


def _citation(event: CitedEvent, authors: AuthorNames) -> SourceCitation:
    effective = event.effective
    return SourceCitation(
        id=effective.recorded.id,
        **event_metadata(effective, authors),
        deal=event.slug if event.kind == "deal" else None,
        organization=event.slug if event.kind == "organization" else None,
        title=convert(event.title, LocalizedResponse) if event.title is not None else None,
        label=event.entry.label,
        event=effective.event,
        in_force=event.in_force,
        fields=[RestingField(field=field.path, value=convert_any(field.value)) for field in event.fields],
    )
