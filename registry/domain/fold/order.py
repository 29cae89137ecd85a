"""The order of the fold: the place of each event, and what a kind of stream must define.

Events are folded in the order of their effective dates, then of their publication dates, then of their positions in
the log: of two statements about the same day, the one that was published later wins, even if it was recorded first. A
claim follows directly after the event that it is about, and a retraction directly after its claim, whenever they were
published or recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from registry.domain.fold.applied_event import AppliedEvent
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.facts import Touched
from registry.domain.fold.sorted_map import SortedMap
from registry.domain.stages import StageSignal
from registry.events.types import AnyEvent, ClaimReported, ClaimRetracted

S = TypeVar("S", bound=Struct)


class Rules(Struct, Generic[S], frozen=True):
    """What differs between the kinds of streams: their own event types, and the functions that fold them.

    `evolve` folds whole states and defines every answer. `timeline.py` gets the same states in less time: it applies
    `evolve_facts` to the facts that an event `touches`, and derives the stage from what `stage_signal` returns.
    """

    registered: type[AnyEvent]
    register: Callable[[str, Any], S]
    evolve: Callable[[S, AppliedEvent], S]
    evolve_facts: Callable[[S, AppliedEvent], S]
    touches: Callable[[str, AppliedEvent], Touched]
    stage_signal: Callable[[S, S, AppliedEvent], StageSignal | None]
    apply_preferred_claims: Callable[[S, Mapping[str, UUID | None], Mapping[UUID, AppliedEvent | EffectiveEvent]], S]


CLAIM_TYPES = (ClaimReported, ClaimRetracted)

FoldKey = tuple[date, tuple[int, ...]]
"""The place of an event in the fold: its effective date; then the ordinal of its publication date and its position.

A claim has the place of the event it is about with its own position appended, a retraction that of its claim.
"""

# Greater than the publication date of any event.
END_OF_DAY = (2**63,)


class OrderedEvent(Struct, frozen=True, gc=False):
    """An event at its place in the fold. `about` is the event that a claim is about."""

    key: FoldKey
    applied: AppliedEvent
    effective: EffectiveEvent
    about: UUID | None


def fold_order_of(
    effective: EffectiveEvent, by_id: Mapping[UUID, EffectiveEvent], claims: SortedMap[str, EffectiveEvent]
) -> OrderedEvent:
    """The event at its place in the fold.

    Args:
        effective: The event.
        by_id: The stream's events by id.
        claims: The event that reported each claim, by the claim's id.
    """
    event = effective.event
    target: EffectiveEvent | None = None
    about: UUID | None = None
    if type(event) is ClaimReported:
        about = event.about
        target = by_id.get(about) if about else None
        if target is not None and isinstance(target.event, CLAIM_TYPES):
            target = None  # The fold refuses a claim about a claim, so the recursion below ends.
    elif type(event) is ClaimRetracted:
        target = claims.get(event.claim)
    position = effective.recorded.position
    if target is None:
        day = effective.effective_on or effective.published_on
        key: FoldKey = (day, (effective.published_on.toordinal(), position))
    else:
        day, place = fold_order_of(target, by_id, claims).key
        key = (day, (*place, position))
    applied = AppliedEvent(
        effective.recorded.id,
        event,  # type: ignore[arg-type]
        key[0],
        effective.published_on,
        effective.sources,
        effective.content_record.recorded_at,
    )
    return OrderedEvent(key, applied, effective, about)
