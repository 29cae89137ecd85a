"""The texts of events that search looks at and that are no facts of a deal: sources, and organizations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.organizations.mentions import mentioned_organizations
from registry.domain.sources.identity import source_id
from registry.events.types import (
    ConditionSet,
    EventCorrected,
    EventRedacted,
    EventVoided,
    IncentiveGranted,
    IncentiveRevised,
    OrganizationIdentified,
    OrganizationNamed,
    OrganizationRegistered,
    PartnershipFormed,
)

# Events that change how others read.
CHANGING = (EventCorrected, EventVoided, EventRedacted)

_HOST = re.compile(r"[a-z]+://(?:www[.])?([^/:?#]+)")


class EventText(Struct, frozen=True):
    """A text: a source, a name or an identifier of an organization, or the slug of one that takes part in a deal."""

    source: str | None = None
    publisher: str | None = None
    title: str | None = None
    url: str | None = None
    name: str | None = None

    @property
    def text(self) -> str:
        """What search looks at. The columnar copy computes the same (`columnar/tables.py`)."""
        host = _HOST.match(self.url) if self.url else None
        return "\n".join(filter(None, (self.publisher, self.title, host and host[1], self.name)))


def texts_of(effective: EffectiveEvent) -> Iterator[EventText]:
    """The texts of an event as it reads."""
    if not effective.is_in_force or type(effective.event) in CHANGING:
        return
    for source in effective.sources:
        id = source_id(source)
        if id is not None:
            yield EventText(id, source.publisher, source.title, source.url)
    match effective.event:
        case OrganizationRegistered(name=name):
            yield from (EventText(name=text) for text in name.values())
        case OrganizationNamed(name=text):
            yield EventText(name=text)
        case OrganizationIdentified(scheme=scheme, identifier=identifier):
            yield EventText(name=f"{scheme}:{identifier}")
        case PartnershipFormed() | ConditionSet() | IncentiveGranted() | IncentiveRevised() as event:
            # Parties, and those who pledge, are facts of the deal.
            yield from (EventText(name=slug) for slug in dict.fromkeys(mentioned_organizations(event)))
        case _:
            pass
