"""What an import asks about before it records."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from registry.events.values import ExternalId, Scheme
from registry.schemas.base import ResponseModel
from registry.schemas.deals import DealResponse

# Announcements, or deals, that one request may ask about.
MAX_LOOKUP = 1000


class LookupRequest(ResponseModel, frozen=True, kw_only=True, omit_defaults=True):
    """What an import asks about: announcements by id, and deals by identifier as of a point in time."""

    scheme: Scheme
    ids: Annotated[tuple[UUID, ...], Meta(max_length=MAX_LOOKUP)] = ()
    values: Annotated[tuple[ExternalId, ...], Meta(max_length=MAX_LOOKUP)] = ()
    effective_on: date | None = None
    published_on: date | None = None


class IdentifiedDeal(ResponseModel, frozen=True, kw_only=True):
    """The deal that has an identifier. `state` is null if nothing of it was known or in effect by then."""

    value: str
    deal: str
    state: DealResponse | None


class ImportLookup(ResponseModel, frozen=True, kw_only=True):
    """Which of the announcements are recorded, and which deals have the identifiers."""

    recorded: list[UUID]
    deals: list[IdentifiedDeal]


class SchemeIdentifier(ResponseModel, frozen=True, kw_only=True):
    """An identifier of a scheme and its deal."""

    value: str
    deal: str


class SchemeIdentifiers(ResponseModel, frozen=True, kw_only=True):
    """Identifiers of a scheme in order; `next` is the `after` of the next page."""

    scheme: str
    identifiers: list[SchemeIdentifier]
    next: str | None
