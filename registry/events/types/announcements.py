"""All events, the announcement that carries an event to the registry, and the recorded event."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal, get_args
from uuid import UUID

from msgspec import Meta, Struct

from registry.events.types.base import Event
from registry.events.types.deals import DealRegistered, RelationEvent, WholeDealEvent
from registry.events.types.organizations import (
    OrganizationMerged,
    OrganizationRegistered,
    OrganizationUnmerged,
    StatedOrganizationEvent,
)
from registry.events.types.pledges import ClaimPreferred, PledgeEvent
from registry.events.types.principals import PrincipalFact, PrincipalRegistered
from registry.events.types.record import Day, DealMerged, DealUnmerged, EventCorrected, EventRedacted, EventVoided
from registry.events.types.sites import SiteEvent
from registry.events.values import Edtf, EventPart, Source, Text

BookkeepingEvent = EventCorrected | EventVoided | EventRedacted
DealFact = WholeDealEvent | PledgeEvent | SiteEvent | RelationEvent | DealMerged | DealUnmerged
DealEvent = DealFact | BookkeepingEvent
OrganizationFact = StatedOrganizationEvent | OrganizationMerged | OrganizationUnmerged
OrganizationEvent = OrganizationFact | BookkeepingEvent
PrincipalEvent = PrincipalFact | EventRedacted
AnyEvent = DealFact | OrganizationFact | PrincipalFact | BookkeepingEvent

# Events about the registry's own records. They were never published, so neither their published date nor their
# effective date hides them from an as-of query.
BOOKKEEPING_TYPES = (
    DealRegistered,
    ClaimPreferred,
    DealMerged,
    DealUnmerged,
    OrganizationRegistered,
    OrganizationMerged,
    OrganizationUnmerged,
    PrincipalRegistered,
    EventCorrected,
    EventVoided,
    EventRedacted,
)


def tag_of(event: type[Event] | Event) -> str:
    """The event type's name in JSON, such as `pledge_announced`."""
    return str(event.__struct_config__.tag)


EVENT_TYPES: dict[str, type[Event]] = {tag_of(t): t for t in get_args(AnyEvent)}


StreamKind = Literal["deal", "organization", "principal"]

# The kinds of streams that forms and imports record in.
AnnouncedKind = Literal["deal", "organization"]


class Announcement(EventPart, frozen=True):
    """What a client posts to a deal: an event, the date from which it applies, and its sources.

    `effective_on` is a local date without a time zone. Where the source is less precise, `date` states the loose date
    instead (EDTF, also a quarter), and `effective_on` follows from it (`edtf.effective_day`). A client that sets `id`
    can send the announcement again safely.
    """

    event: DealEvent
    id: UUID | None = None
    effective_on: Day | None = None
    date: Edtf | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    note: Text | None = None


class OrganizationAnnouncement(EventPart, frozen=True):
    """What a client posts to an organization."""

    event: OrganizationEvent
    id: UUID | None = None
    effective_on: Day | None = None
    date: Edtf | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=50)] = ()
    note: Text | None = None


class PrincipalAnnouncement(EventPart, frozen=True):
    """What a client posts to a principal. It has no date and no source: it is true from its recording on."""

    effective_on: ClassVar[None] = None
    date: ClassVar[None] = None
    sources: ClassVar[tuple[Source, ...]] = ()
    note: ClassVar[None] = None

    event: PrincipalEvent
    id: UUID | None = None


AnyAnnouncement = Announcement | OrganizationAnnouncement | PrincipalAnnouncement


class Recorded(Struct, frozen=True, kw_only=True, gc=False):
    """An event with its place in the log.

    Attributes:
        position: Number of the event in the log, from 1, without gaps.
        version: Number of the event in its stream, from 1.
        published_on: The earliest date among the sources, or the UTC day of recording if none is dated.
        recorded_at: When the registry recorded the event, in UTC.
        recorded_by: The principal that recorded the event.
        approved_by: The second principal, where one approved the event.
        event: None if the content was redacted and the event has no effect that it keeps.
        date: The loose date that `effective_on` follows from, if the source states no day.
        erased: Whether the content was redacted.
    """

    position: int
    kind: StreamKind
    slug: str
    version: int
    id: UUID
    type: str
    schema: int
    effective_on: Day | None
    published_on: Day
    recorded_at: datetime
    recorded_by: str
    event: AnyEvent | None
    sources: tuple[Source, ...]
    note: str | None
    leaf_hash: bytes
    approved_by: str | None = None
    erased: bool = False
    date: Edtf | None = None

    @property
    def is_withheld(self) -> bool:
        """Whether only keys with the scope admin see the content: it names a person, or says who may do what."""
        return self.kind == "principal"
