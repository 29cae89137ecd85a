"""The input of a fold."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from msgspec import Struct

from registry.events.types import Event
from registry.events.values import Source


class AppliedEvent(Struct, frozen=True, gc=False):
    """An event with its corrections applied, as the fold and the plausibility checks take it.

    `recorded_at` is when its present content was recorded: by the event itself, or by its latest correction.
    """

    id: UUID
    event: Event
    effective_on: date
    published_on: date
    sources: tuple[Source, ...]
    recorded_at: datetime
