"""What a plan asks the registry: which announcements are recorded, and what is recorded about deals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct


class SetBy(Struct, frozen=True):
    """The event that set a field's recorded value, and the publishers that it cites."""

    event: UUID
    publishers: tuple[str, ...] = ()

    @classmethod
    def of_fields(cls, provenance: Mapping[str, Any]) -> dict[str, SetBy]:
        """The events of a deal's provenance, by field."""
        return {
            entry["field"]: cls(
                UUID(entry["event"]), tuple(one["publisher"] for one in entry["sources"] if one.get("publisher"))
            )
            for entry in provenance["fields"]
        }


class KnownDeal(Struct, frozen=True):
    """A deal that has a row's key. `state` is the deal as known on the sheet's day; None if it was recorded later."""

    slug: str
    state: Mapping[str, Any] | None

    @property
    def title(self) -> str:
        """The title in English, else in any language, else the slug."""
        title = (self.state or {}).get("title") or {}
        return str(title.get("en") or next((text for text in title.values() if text), self.slug))


class Registry(Protocol):
    """The recorded deals, over HTTP or in the service itself."""

    def recorded(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these announcements are recorded."""

    def deals(self, scheme: str, keys: Collection[str], on: date) -> dict[str, KnownDeal]:
        """The deals with these identifiers, as known and in effect on a day, by identifier."""

    def keys(self, scheme: str) -> Iterator[tuple[str, str]]:
        """All identifiers of a scheme, each with its deal's slug."""

    def set_by(self, slug: str, on: date) -> dict[str, SetBy]:
        """The event that set each field of a deal, as known and in effect on a day."""

    def event(self, id: UUID) -> Mapping[str, Any]:
        """An event with its content as it reads now."""


def in_pieces(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of this size."""
    piece: list[Any] = []
    for item in items:
        piece.append(item)
        if len(piece) == size:
            yield piece
            piece = []
    if piece:
        yield piece
