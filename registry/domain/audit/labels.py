"""Labels of changes: what kind of change an event made. The history, the comparison, the charts and the API use them.

An event that is compared with nothing else has the label that a comparison of the record before it with the record
after it gives: `learned_late` for an event that was already in effect, and older than the record of an earlier day.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from datetime import date
from itertools import accumulate
from typing import Literal, Protocol, assert_never, get_args
from uuid import UUID

from msgspec import Struct

from registry.domain.audit.diff import Change
from registry.domain.calendar import Calendar
from registry.domain.deal import Deal
from registry.domain.fold.claims import ClaimState
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.items import item_types
from registry.domain.fold.order import OrderedEvent
from registry.events.types import (
    BOOKKEEPING_TYPES,
    EVENT_TYPES,
    ClaimPreferred,
    ClaimReported,
    ClaimRetracted,
    DealIdentified,
    DealRegistered,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    OrganizationIdentified,
    OrganizationNamed,
    OrganizationRegistered,
    PrincipalFact,
    Recorded,
    StatusObserved,
    tag_of,
)
from registry.events.values import Source

Kind = Literal["world", "record", "source", "learned_late"]

Label = Literal[
    "world",
    "learned_late",
    "observed",
    "claimed",
    "corroborated",
    "retracted",
    "preferred",
    "corrected",
    "voided",
    "redacted",
    "re_recorded",
    "record_keeping",
]


def kind_of(label: Label) -> Kind:
    """The kind of change that a label stands for."""
    match label:
        case "world":
            return "world"
        case "learned_late":
            return "learned_late"
        case "observed" | "claimed" | "corroborated" | "retracted" | "preferred":
            return "source"
        case "corrected" | "voided" | "redacted" | "re_recorded" | "record_keeping":
            return "record"
        case _:
            assert_never(label)


def claim_label(claim: ClaimState, beside: Sequence[ClaimState] = ()) -> Literal["claimed", "corroborated"]:
    """Whether a claim corroborates the value shown or states another one.

    Args:
        claim: The claim.
        beside: The claims of the same item. The value shown may be that of the claim itself, because an editor selected
            it; it is then compared with the recorded value, which is listed among them.
    """
    if claim.followed:
        recorded = next((other for other in beside if other.claim is None and other.field == claim.field), claim)
        return "corroborated" if recorded.corroborated else "claimed"
    return "corroborated" if claim.corroborated else "claimed"


def claim_changes(
    before: Sequence[ClaimState] | None, after: Sequence[ClaimState] | None
) -> list[tuple[Literal["claimed", "corroborated", "retracted"], ClaimState]]:
    """The claims that were added to a list of claims or retracted in it, each with its label."""
    earlier = {claim.claim: claim.status for claim in before or ()}
    changes: list[tuple[Literal["claimed", "corroborated", "retracted"], ClaimState]] = []
    for claim in after or ():
        if claim.claim is None or earlier.get(claim.claim) == claim.status:
            continue
        if claim.status == "retracted":
            changes.append(("retracted", claim))
        elif claim.claim not in earlier:
            changes.append((claim_label(claim, after or ()), claim))
    return changes


def label_of_type(kind: type[Event]) -> Label:
    """What an event is by its type: `label_of` looks at the stream as well.

    Events that identify a deal or name an organization are record keeping too: nothing happened, the registry learned
    what others call it.
    """
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    is_own = kind in BOOKKEEPING_TYPES or kind in get_args(PrincipalFact) or kind in (*_DESCRIBING, DealIdentified)
    return "record_keeping" if is_own else "world"


_DESCRIBING: tuple[type[Event], ...] = (OrganizationNamed, OrganizationIdentified)
_BY_TYPE: dict[type[Event], Label] = {
    EventCorrected: "corrected",
    EventVoided: "voided",
    EventRedacted: "redacted",
    ClaimReported: "claimed",
    ClaimPreferred: "preferred",
    ClaimRetracted: "retracted",
}
_REGISTRATIONS = {tag_of(DealRegistered), tag_of(OrganizationRegistered)}
# The type of a recorded event is known even if its content was redacted.
_BY_TAG = {tag: label_of_type(kind) for tag, kind in EVENT_TYPES.items()}


def label_of(recorded: Recorded, first_observations: Collection[UUID | None], renames: Collection[UUID]) -> Label:
    """What kind of statement an event makes, whenever it was recorded. History and comparison both ask this.

    Args:
        recorded: The event.
        first_observations: The first events that observe the stage: nothing says that it changed before them.
        renames: The events that rename an organization (`renames_of`).
    """
    if recorded.id in renames:
        return "world"
    return "observed" if recorded.id in first_observations else _BY_TAG[recorded.type]


class LabelContext(Struct, frozen=True):
    """What the label of an event depends on beside the event and its changes.

    Attributes:
        first_observation: The first event of the stream that observes the stage.
        earlier_days: For each event, the day of the last recording of the stream on an earlier day; None without one.
        re_recorded: The events that record again what a voided event stated.
        renames: The events that rename an organization (`renames_of`).
    """

    first_observation: UUID | None
    earlier_days: Mapping[UUID, date | None]
    re_recorded: frozenset[UUID]
    renames: frozenset[UUID]

    def label(self, effective: EffectiveEvent, day: date, changes: Sequence[Change]) -> Label:
        """The label of an event.

        Args:
            effective: The event with its corrections.
            day: The day from which it is in effect.
            changes: What it changed.
        """
        recorded = effective.recorded
        label = label_of(recorded, (self.first_observation,), self.renames)
        if label == "claimed":
            return _label_of_claim(recorded.id, changes)
        if label == "world" and recorded.id in self.re_recorded:
            return "re_recorded"
        return with_lateness(label, recorded, day, self.earlier_days.get(recorded.id))


def with_lateness(label: Label, recorded: Recorded, day: date, record_day: date | None) -> Label:
    """The label of an event that a record lacked: `learned_late` if it was in effect before the day of that record.

    Only what happened can be learned late, and a registration: the deal or the organization was there before.

    Args:
        label: What the event is, whenever it was recorded.
        recorded: The event.
        day: The day from which it is in effect.
        record_day: The day of the record; None if there was none.
    """
    can_be_late = label == "world" or recorded.type in _REGISTRATIONS
    return "learned_late" if can_be_late and record_day is not None and day < record_day else label


def renames_of(effective_events: Iterable[EffectiveEvent]) -> frozenset[UUID]:
    """The events that rename an organization: they give a legal name from a later day than one in the same language.

    Any other name or identifier of an organization describes it, with or without a source: nothing happened.
    """
    legal = [(one.recorded.id, name) for one in effective_events if (name := _legal_name(one)) is not None]
    first: dict[str, date] = {}
    for _, (language, since) in legal:
        first[language] = min(since, first.get(language, since))
    return frozenset(event for event, (language, since) in legal if since > first[language])


def _legal_name(effective: EffectiveEvent) -> tuple[str, date] | None:
    """The language of a legal name and the day since when the organization has it; None for any other event."""
    event = effective.event
    if not isinstance(event, OrganizationNamed) or event.kind != "legal" or not effective.is_in_force:
        return None
    return event.language, effective.effective_on or effective.published_on


def _label_of_claim(event: UUID, changes: Sequence[Change]) -> Label:
    """The label of a claim by its event, from the claims that the event's changes list."""
    for change in changes:
        claims = change.after or () if change.path.endswith("/claims") else ()
        for claim in claims:
            if claim.claim is not None and claim.event == event:
                return claim_label(claim, claims)
    return "claimed"


def earlier_recording_days(events: Sequence[Recorded], calendar: Calendar) -> dict[UUID, date | None]:
    """For each event of a stream, the day of the last recording on an earlier day, in the registry's calendar."""
    days: dict[UUID, date | None] = {}
    earlier: date | None = None
    current: date | None = None
    for recorded in events:
        day = calendar.day_of(recorded.recorded_at)
        if current is not None and day > current:
            earlier = current
        current = day
        days[recorded.id] = earlier
    return days


def re_recorded_events(effective_events: Sequence[EffectiveEvent]) -> frozenset[UUID]:
    """The events that record again what an event stated that was voided before."""
    first_void: dict[Hashable, int] = {}
    for voided in effective_events:
        if voided.voided_by is not None and voided.event is not None:
            for key in _statement_keys(voided):
                first_void[key] = min(voided.voided_by.position, first_void.get(key, voided.voided_by.position))
    if not first_void:
        return frozenset()
    return frozenset(
        later.recorded.id for later in effective_events if later.is_in_force and _is_after(later, first_void)
    )


def _is_after(later: EffectiveEvent, first_void: Mapping[Hashable, int]) -> bool:
    position = later.recorded.position
    return any(first_void.get(key, position) < position for key in _statement_keys(later))


class Statement(Protocol):
    """What an event states, from which day and on which sources."""

    @property
    def event(self) -> Struct | None:
        """The content."""

    @property
    def effective_on(self) -> date | None:
        """The effective date."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources."""


# The events that make an item. The id of an item is never used twice, so a second one is about the same item.
_ITEM_OF = {item.announced_by: item for item in item_types(Deal).values() if item.announced_by is not None}
_ANNOUNCEMENTS = tuple(_ITEM_OF)

# What a statement is about. Items of a site have the site as well, which is therefore after them.
_ITEM_FIELDS = (
    *sorted((item.id_fields[0] for item in _ITEM_OF.values()), key="site".__eq__),
    "organization",
    "claim",
)


class LastStatements:
    """Finds the last of some statements that is about the same thing as a given statement.

    Two statements are about the same thing if they announce the same item, or if they are about the same item or of the
    same type, and have the same effective date or a source in common.

    Args:
        statements: Statements in an order, each with a position.
    """

    def __init__(self, statements: Iterable[tuple[Statement, int]]) -> None:
        found: defaultdict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        for number, (statement, position) in enumerate(statements):
            for key in _statement_keys(statement):
                found[key].append((position, number))
        # For each key the positions, and the last number up to each of them.
        self._last: dict[Hashable, tuple[list[int], list[int]]] = {}
        for key, pairs in found.items():
            pairs.sort()
            self._last[key] = [at for at, _ in pairs], list(accumulate((number for _, number in pairs), max))

    def find(self, statement: Statement, before: int) -> int | None:
        """The number of the last one of the same thing among those before a position; None without one."""
        numbers = []
        for key in _statement_keys(statement):
            positions, last = self._last.get(key, ((), ()))
            if place := bisect_left(positions, before):
                numbers.append(last[place - 1])
        return max(numbers, default=None)


def _statement_keys(statement: Statement) -> set[Hashable]:
    """Keys of a statement. Two statements have a key in common if one of them repeats the other."""
    event = statement.event
    item = next(((name, getattr(event, name)) for name in _ITEM_FIELDS if getattr(event, name, None)), None)
    kind = type(event).__name__
    subjects: list[Hashable] = [kind] if item is None else [kind, item]
    sources = [source.url or source for source in statement.sources]
    keys: set[Hashable] = {(subject, mark) for subject in subjects for mark in (statement.effective_on, *sources)}
    if item is not None and isinstance(event, _ANNOUNCEMENTS):
        keys.add((kind, item))
    return keys


def first_observation(steps: Iterable[OrderedEvent]) -> UUID | None:
    """The first event of a fold that observes the stage."""
    return next((step.applied.id for step in steps if isinstance(step.applied.event, StatusObserved)), None)
