"""What all events have in common."""

from __future__ import annotations

from typing import ClassVar

from registry.events.values import EventPart


class Event(EventPart, frozen=True, tag_field="type"):
    """A fact about a deal or an organization, or a change to the registry's own records."""

    schema: ClassVar[int] = 1
