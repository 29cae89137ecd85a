"""The filters of a list of events as one value, which lists, feeds, webhooks, watches and exports share."""

from __future__ import annotations

from msgspec import Struct

from registry.projections import event_index


class EventFilter(Struct, frozen=True):
    """Events that match every given field; a given `type` lists types, of which an event has one."""

    type: tuple[str, ...] = ()
    deal: str | None = None
    organization: str | None = None
    source: str | None = None

    @property
    def stream(self) -> str | None:
        """The stream of the deal."""
        return f"deal/{self.deal}" if self.deal else None

    @property
    def terms(self) -> list[str]:
        """The terms that a matching event has in the index of events."""
        terms = [f"organization:{self.organization}"] if self.organization is not None else []
        # An invalid address has no term; the empty term matches no event.
        return terms + ([event_index.source_term(self.source) or ""] if self.source is not None else [])

    def matches(self, type: str, stream: str, terms: frozenset[str]) -> bool:
        """Whether an event of a type and a stream, with these terms, matches."""
        return (
            (not self.type or type in self.type)
            and self.stream in (None, stream)
            and all(term in terms for term in self.terms)
        )


ANY_EVENT = EventFilter()
