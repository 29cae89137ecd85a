"""Corrections and voids: the content that each recorded event has after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from registry.events.codec import published_on
from registry.events.types import AnyEvent, Day, EventCorrected, EventVoided, Recorded
from registry.events.values import Edtf, Source


class EffectiveEvent(Struct, frozen=True, kw_only=True, gc=False):
    """A recorded event with its corrections and voids applied.

    `content_record` is the record that the content comes from: the event itself, or its latest correction in force.
    `event` is None if that content was redacted; of a redacted event that acts on others, the effect stays.
    """

    recorded: Recorded
    event: AnyEvent | None
    effective_on: Day | None
    published_on: Day
    sources: tuple[Source, ...]
    content_record: Recorded
    corrections: tuple[Recorded, ...] = ()
    voided_by: Recorded | None = None
    date: Edtf | None = None

    @property
    def registered_on(self) -> Day | None:
        """The day from which a stream is known by this registration; None for one that says nothing about it.

        A deal without a stated date is known from the date of its first source.
        """
        if self.effective_on is not None or self.recorded.kind != "deal":
            return self.effective_on
        return self.dated_by_source

    @property
    def dated_by_source(self) -> Day | None:
        """The day on which the first source was published; None where no source has a date.

        `published_on` is then that of the recording.
        """
        return self.published_on if any(source.published_on for source in self.sources) else None

    @property
    def is_in_force(self) -> bool:
        """Whether the event is not voided and still has content, or an effect on others."""
        return self.voided_by is None and self.event is not None


def apply_corrections(events: Sequence[Recorded]) -> list[EffectiveEvent]:
    """Every event with its corrections and voids applied, in the order of the log.

    A correction of a correction belongs to the original event. The latest correction that is not voided applies. If it
    was redacted, the event has no content: the content that it replaced was wrong and does not come back.
    """
    voids: dict[UUID, Recorded] = {}
    for recorded in reversed(events):  # A void can only name an earlier event, so later voids are decided first.
        if isinstance(recorded.event, EventVoided) and recorded.id not in voids:
            voids[recorded.event.voids] = recorded
    originals: dict[UUID, UUID] = {}
    corrections: dict[UUID, list[Recorded]] = {}
    for recorded in events:
        if isinstance(recorded.event, EventCorrected):
            original = originals[recorded.id] = originals.get(recorded.event.corrects, recorded.event.corrects)
            corrections.setdefault(original, []).append(recorded)
    return [effective_event(recorded, corrections.get(recorded.id, ()), voids) for recorded in events]


def effective_event(
    original: Recorded, corrections: Sequence[Recorded] = (), voids: Mapping[UUID, Recorded] | None = None
) -> EffectiveEvent:
    """An event with its corrections applied.

    Args:
        original: The event as it was recorded.
        corrections: All its corrections, in the order of the log.
        voids: The void in force of each voided event, by the voided event's id.
    """
    uncorrected = EffectiveEvent(
        recorded=original,
        event=original.event,
        effective_on=original.effective_on,
        published_on=original.published_on,
        sources=original.sources,
        content_record=original,
        corrections=tuple(corrections),
        voided_by=voids.get(original.id) if voids else None,
        date=original.date,
    )
    for correction in reversed(corrections):
        # A correction recorded before the original was redacted does not bring its content back.
        if (voids and correction.id in voids) or (original.erased and not correction.erased):
            continue
        new = correction.event.replacement  # type: ignore[union-attr]
        if correction.erased:
            event = None if new.event is UNSET else new.event
            return replace(uncorrected, event=event, sources=(), content_record=correction, date=None)
        sources = original.sources if new.sources is UNSET else new.sources
        return replace(
            uncorrected,
            event=original.event if new.event is UNSET else new.event,
            effective_on=original.effective_on if new.effective_on is UNSET else new.effective_on,
            published_on=published_on(sources, original.recorded_at),
            sources=sources,
            content_record=correction,
            date=(original.date if new.effective_on is UNSET else None) if new.date is UNSET else new.date,
        )
    return uncorrected
