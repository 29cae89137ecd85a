"""What becomes of the events that rest on a source which is retracted.

A claim of the source is retracted. An event that also cites other sources stays and no longer cites this one. An event
that rests on this source alone is voided, unless later events need it: then it stays without a source. An editor may
choose otherwise for each event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, assert_never
from uuid import UUID

from msgspec import Struct

from registry.domain.admission import admit, fill_defaults
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.history import FoldedStream
from registry.domain.sources.identity import source_id
from registry.errors import RuleBroken
from registry.events.codec import random_bytes
from registry.events.types import (
    Announcement,
    AnyEvent,
    ClaimReported,
    ClaimRetracted,
    EventCorrected,
    EventVoided,
    OrganizationAnnouncement,
    Recorded,
    Replacement,
    tag_of,
)
from registry.events.values import Source
from registry.i18n import Message

Treatment = Literal["retract", "void", "uncite", "keep"]
"""A claim is retracted; an event is voided; it stays but no longer cites the source; it stays as it is."""


class CitingEvent(Struct, frozen=True, kw_only=True):
    """An event that rests on a source, and what becomes of it if the source is retracted.

    Attributes:
        choices: The treatments that are possible.
        problem: Why a treatment is not possible, such as a void where later events need the event.
        needed_by: The ids of these later events.
    """

    kind: Literal["deal", "organization"]
    slug: str
    effective: EffectiveEvent
    treatment: Treatment
    choices: tuple[Treatment, ...]
    problem: Message | None = None
    needed_by: tuple[str, ...] = ()

    @property
    def event(self) -> UUID:
        """The id of the event."""
        return self.effective.recorded.id


def citations(stream: FoldedStream[Any], source: str) -> list[EffectiveEvent]:
    """The events in force of a stream that cite a source, after corrections; without claims that were retracted."""
    retracted = {
        effective.event.claim
        for effective in stream.record.effective_events
        if effective.is_in_force and isinstance(effective.event, ClaimRetracted)
    }
    return [
        effective
        for effective in stream.record.effective_events
        if effective.is_in_force
        and any(source_id(cited) == source for cited in effective.sources)
        and not (isinstance(effective.event, ClaimReported) and effective.event.claim in retracted)
    ]


def plan_retraction(
    kind: Literal["deal", "organization"],
    stream: FoldedStream[Any],
    source: str,
    chosen: Mapping[UUID, Treatment],
    limit: int | None = None,
) -> list[CitingEvent]:
    """What becomes of each event of a stream that cites a source, the latest first: later events may need earlier ones.

    Args:
        kind: The stream's kind.
        stream: The stream.
        source: The source's id.
        chosen: The treatments that an editor chose, by event. They are used where they are possible.
        limit: The most events; None: all.
    """
    plan: list[CitingEvent] = []
    for effective in citations(stream, source)[::-1][:limit]:
        choices = list(_choices(effective))
        wanted = chosen.get(effective.recorded.id)
        if wanted not in choices:
            wanted = "uncite" if choices[0] == "void" and len(effective.sources) > 1 else choices[0]
        problem: Message | None = None
        needed_by: tuple[str, ...] = ()
        while wanted != "keep":
            event = fill_defaults(stream, _treatment_event(effective, source, wanted, None))
            try:
                stream = admit(stream, _as_recorded(stream, event, _random_id()))
                break
            except RuleBroken as error:
                if problem is None:
                    problem, needed_by = error.refusal, error.events
                choices.remove(wanted)
                wanted = "uncite" if "uncite" in choices else "keep"
        plan.append(
            CitingEvent(
                kind=kind,
                slug=stream.slug,
                effective=effective,
                treatment=wanted,
                choices=tuple(choices),
                problem=problem,
                needed_by=needed_by,
            )
        )
    return plan


def announcements(
    plan: Sequence[CitingEvent], source: str, reason: str | None, sources: tuple[Source, ...] = ()
) -> list[tuple[CitingEvent, Announcement | OrganizationAnnouncement]]:
    """The announcements that carry out a plan, in their order.

    Args:
        plan: The plan for one stream.
        source: The source's id.
        reason: Why the source is retracted.
        sources: Where the retraction was published.
    """
    made: list[tuple[CitingEvent, Announcement | OrganizationAnnouncement]] = []
    for citation in plan:
        if citation.treatment != "keep":
            event: Any = _treatment_event(citation.effective, source, citation.treatment, reason)
            announced = Announcement if citation.kind == "deal" else OrganizationAnnouncement
            made.append((citation, announced(id=_random_id(), event=event, sources=sources)))
    return made


def _choices(effective: EffectiveEvent) -> tuple[Treatment, ...]:
    if isinstance(effective.event, ClaimReported):
        return "retract", "uncite", "keep"
    if effective.recorded.version == 1:
        return "uncite", "keep"
    return "void", "uncite", "keep"


def _treatment_event(effective: EffectiveEvent, source: str, treatment: Treatment, reason: str | None) -> AnyEvent:
    match treatment:
        case "retract":
            assert isinstance(effective.event, ClaimReported)
            return ClaimRetracted(claim=effective.event.claim, reason=reason)
        case "void":
            return EventVoided(voids=effective.recorded.id, reason=reason)
        case "uncite":
            others = tuple(cited for cited in effective.sources if source_id(cited) != source)
            return EventCorrected(
                corrects=effective.recorded.id, replacement=Replacement(sources=others), reason=reason
            )
        case "keep":
            raise ValueError("an event that is kept is not treated")
        case _:
            assert_never(treatment)


def _random_id() -> UUID:
    """A random id (RFC 9562 version 4). `uuid4` reads from the operating system each time.

    Python releases its lock during each read, for 1 µs. That is too short for the event loop to get the lock, and the
    loop's wait of SWITCH_SECONDS (`cli/server.py`), after which it would get it, begins again. With a read for each of
    1,000 events, one every 0.3 ms, it waited for up to 28 ms.
    """
    return UUID(bytes=random_bytes(16), version=4)


def _as_recorded(stream: FoldedStream[Any], event: AnyEvent, id: UUID) -> Recorded:
    """The event as the recorder would store it next, to find out whether the stream can take it."""
    last = stream.events[-1]
    return Recorded(
        position=last.position + 1,
        kind=last.kind,
        slug=stream.slug,
        version=last.version + 1,
        id=id,
        type=tag_of(event),
        schema=1,
        effective_on=None,
        published_on=last.recorded_at.date(),
        recorded_at=last.recorded_at,
        recorded_by=last.recorded_by,
        event=event,
        sources=(),
        note=None,
        leaf_hash=b"",
    )
