"""What the registry concludes of a deal beside its state: flags, the ladder, silence, and others' names for its stage.

Worked out when it is asked, from the same fold that gives the state, and stored nowhere: a conclusion is no
announcement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.history import EffectiveEvent, FoldedStream, StateAsOf
from registry.domain.plausibility import Flag, FlagContext, event_flags, source_flags, state_flags
from registry.domain.rates import Rates
from registry.domain.stages import GEM, IATI, Crosswalk, Inactivity, LadderStep, StageChange, ladder

# An announcement is looked for among so many before it: enough to find one recorded twice, and a bound on the cost.
CACHE_SIZE = 200


class ExternalStageCodes(Struct, frozen=True):
    """The deal's stage as Global Energy Monitor and IATI would call it."""

    gem: Crosswalk
    iati: Crosswalk


class Assessment(Struct, frozen=True):
    """What is concluded of a deal at a point in time."""

    flags: tuple[Flag, ...]
    ladder: tuple[LadderStep, ...]
    quiet: Inactivity | None
    elsewhere: ExternalStageCodes | None


def assess(seen: StateAsOf[Deal], state: Deal, rates: Rates, neighbours: tuple[Deal, ...] = ()) -> Assessment:
    """What is concluded of the state that a view shows, on whichever day: silence is the day's (`gone_quiet`)."""
    by_event = flags_by_event(seen, rates, neighbours)
    found = [flag for raised in by_event.values() for flag in raised]
    found += [f for f in state_flags(state, FlagContext(rates, (), neighbours)) if f not in found]
    stage = state.stage.value if state.stage else None
    return Assessment(
        flags=tuple(_distinct(found)),
        ladder=ladder(_stages(seen)),
        quiet=None,
        elsewhere=ExternalStageCodes(GEM[stage], IATI[stage]) if stage else None,
    )


def last_published(seen: StateAsOf[Deal]) -> date | None:
    """The last day on which something that a view rests on was published."""
    published = [p.reading.published_on for p in seen.steps]
    if seen.registration is not None:
        published.append(seen.registration.published_on)
    return max(published, default=None)


def flags_by_event(
    seen: StateAsOf[Deal], rates: Rates, neighbours: tuple[Deal, ...] = ()
) -> dict[UUID, tuple[Flag, ...]]:
    """The flags that each event of a view raises, by the event's id; events that raise none are left out."""
    raised: dict[UUID, tuple[Flag, ...]] = {}
    if seen.registration is not None and (found := _of_registration(seen.registration)):
        raised[seen.registration.recorded.id] = found
    before = seen.base
    # Of a history that is kept, and by itself, each step's flags are always the same: half of a past state's cost.
    known = seen.assessment_cache if seen.assessment_cache is not None and not neighbours else {}
    for i, (placed, after) in enumerate(zip(seen.steps, seen.states, strict=True)):
        told = known.get(placed.happened.id)
        if told is None:
            earlier = tuple(p.happened for p in seen.steps[max(0, i - CACHE_SIZE) : i])
            told = known[placed.happened.id] = event_flags(
                before, after, placed.happened, FlagContext(rates, earlier, neighbours)
            )
        if told:
            raised[placed.happened.id] = told
        before = after
    return raised


def flags_raised(
    after: FoldedStream[Deal], events: Iterable[UUID], rates: Rates, neighbours: tuple[Deal, ...]
) -> list[Flag]:
    """The flags that newly recorded events raise, each at its place in the history as it now reads."""
    new = set(events)
    steps = after.timeline.steps
    found: list[Flag] = []
    if after.record.registration is not None and after.record.registration.recorded.id in new:
        found += _of_registration(after.record.registration)
        new.discard(after.record.registration.recorded.id)
    i = len(steps)
    while new and i:
        i -= 1
        placed = steps[i]
        if placed.happened.id not in new:
            continue
        new.discard(placed.happened.id)
        state = after.timeline.states[i - 1] if i else after.record.base
        earlier = tuple([p.happened for p in steps[max(0, i - CACHE_SIZE) : i]])
        found += event_flags(state, after.timeline.states[i], placed.happened, FlagContext(rates, earlier, neighbours))
    return _distinct(found)


def _of_registration(registration: EffectiveEvent) -> tuple[Flag, ...]:
    recorded_at = registration.source_record.recorded_at
    return tuple(source_flags(registration.recorded.id, registration.sources, recorded_at))


def _stages(seen: StateAsOf[Deal]) -> list[StageChange]:
    """Each stage the fold went through, from which day, by which event."""
    steps: list[StageChange] = []
    stage = None
    for placed, state in zip(seen.steps, seen.states, strict=True):
        if state.stage is not None and state.stage != stage:
            stage = state.stage
            steps.append(StageChange(stage.since, stage, placed.happened.id))
    return steps


def _distinct(found: Sequence[Flag]) -> list[Flag]:
    return [flag for i, flag in enumerate(found) if flag not in found[:i]]
