"""A log in memory for tests: it assigns positions, versions and recorded times, without a database.

`LogBuilder.record` appends any event; `LogBuilder.admit` validates it first, as the recorder does.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from registry.domain.admission import admit, fill_defaults
from registry.domain.deal import Deal
from registry.domain.fold.redaction import with_redacted_effects, without_content
from registry.domain.history import AsOf, FoldedStream, state_as_of
from registry.domain.stream_kinds import DEALS
from registry.events.codec import published_on
from registry.events.types import (
    AnyEvent,
    ClaimReported,
    DealRegistered,
    EventCorrected,
    EventRedacted,
    EventVoided,
    Recorded,
    Replacement,
    tag_of,
)
from registry.events.values import Amount, Localized, Source

# Event ids in no order, as clients may choose them: nothing may depend on their order.
_SCATTER = 0x9E3779B97F4A7C15F39CC0605CEDC835

FIRST_INSTANT = datetime(2025, 1, 1, 9, 0, tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def usd(value: str, **more: Any) -> Amount:
    return Amount(value=value, currency="USD", **more)


def article(published: date | None, publisher: str = "The Korea Herald") -> Source:
    return Source(publisher=publisher, published_on=published)


class LogBuilder:
    """A log with one deal. Each event is recorded a day after the one before, unless `now` is set."""

    def __init__(self, slug: str = "sk-aws-ulsan", *, registered: bool = True, effective: str | None = None) -> None:
        self.slug = slug
        self.events: list[Recorded] = []
        self.now = FIRST_INSTANT
        if registered:
            self.record(DealRegistered(title=Localized(en="A deal")), effective or "2024-01-01", published="2024-01-01")

    def __repr__(self) -> str:
        lines = (f"  {e.position} {e.id} {e.effective_on} {e.published_on} {e.event}" for e in self.events)
        return "\n".join(["Log:", *lines])

    def make(
        self,
        event: AnyEvent,
        effective: str | date | None = None,
        *,
        published: str | date | None = None,
        sources: tuple[Source, ...] | None = None,
        id: UUID | None = None,
    ) -> Recorded:
        """The event as the recorder would store it next; `published` is the date of its only source."""
        position = len(self.events) + 1
        if sources is None:
            sources = (article(_date(published)),) if published is not None else ()
        recorded_at = self.now
        return Recorded(
            position=position,
            kind="deal",
            slug=self.slug,
            version=position,
            id=id or UUID(int=position * _SCATTER % 2**128),
            type=tag_of(event),
            schema=1,
            effective_on=_date(effective),
            published_on=published_on(sources, recorded_at),
            recorded_at=recorded_at,
            recorded_by="key-1",
            event=event,
            sources=sources,
            note=None,
            leaf_hash=position.to_bytes(32, "big"),
        )

    def add(self, recorded: Recorded) -> Recorded:
        self.events.append(recorded)
        if isinstance(recorded.event, EventRedacted):
            redacted = {recorded.event.redacts, *recorded.event.also}
            self.events = with_redacted_effects([without_content(e) if e.id in redacted else e for e in self.events])
        self.now += timedelta(days=1)
        return recorded

    def record(self, event: AnyEvent, effective: str | date | None = None, **more: Any) -> Recorded:
        return self.add(self.make(self.with_defaults(event), effective, **more))

    def with_defaults(self, event: AnyEvent) -> AnyEvent:
        """The event with the values that the recorder fills in."""
        filled_in = isinstance(event, (EventCorrected, ClaimReported, EventRedacted))
        return fill_defaults(self.history(), event) if filled_in else event

    def admit(self, event: AnyEvent, effective: str | date | None = None, **more: Any) -> Recorded:
        """Validate and append an event. Raises RuleBroken."""
        history = self.history()
        recorded = self.make(fill_defaults(history, event), effective, **more)
        admit(history, recorded)
        return self.add(recorded)

    def correct(self, what: Recorded | UUID, **replacement: Any) -> Recorded:
        return self.admit(EventCorrected(corrects=_id(what), replacement=Replacement(**replacement), reason="A slip."))

    def void(self, what: Recorded | UUID) -> Recorded:
        return self.admit(EventVoided(voids=_id(what), reason="Recorded by mistake."))

    def redact(self, what: Recorded | UUID) -> Recorded:
        return self.admit(EventRedacted(redacts=_id(what), reason="A court's order."))

    def history(self) -> FoldedStream[Deal]:
        return FoldedStream(self.slug, DEALS, self.events)

    def state(self, **as_of: Any) -> Deal:
        """The state as of a point by which the deal was known."""
        state = self.known(**as_of)
        assert state is not None, f"not known at {as_of}"
        return state

    def known(self, **as_of: Any) -> Deal | None:
        return state_as_of(self.slug, self.events, self.at(**as_of), DEALS).state

    def at(self, **as_of: Any) -> AsOf:
        dates: dict[str, Any] = {name: _date(c) if name.endswith("_on") else c for name, c in as_of.items()}
        return AsOf(**dates)


def _date(given: str | date | None) -> date | None:
    return date.fromisoformat(given) if isinstance(given, str) else given


def _id(what: Recorded | UUID) -> UUID:
    return what if isinstance(what, UUID) else what.id
