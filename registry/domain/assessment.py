"""What the registry derives from a deal: flags, the stage ladder, inactivity, and external stage codes.

It is computed on request from the same fold as the state, and is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from uuid import UUID

from msgspec import Struct

from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal
from registry.domain.history import FoldedStream, StateAsOf
from registry.domain.plausibility import Flag, FlagContext, event_flags, source_flags, state_flags
from registry.domain.rates import Rates
from registry.domain.stages import GEM, IATI, Crosswalk, Inactivity, LadderStep, StageChange, ladder

MAX_EARLIER_EVENTS = 200
"""How many earlier events an event is compared with: enough to find a duplicate, and a bound on the cost."""


class ExternalStageCodes(Struct, frozen=True):
    """The deal's stage in the codes of Global Energy Monitor and IATI."""

    gem: Crosswalk
    iati: Crosswalk


class Assessment(Struct, frozen=True):
    """What is derived from a deal at a point in time."""

    flags: tuple[Flag, ...]
    ladder: tuple[LadderStep, ...]
    quiet: Inactivity | None
    elsewhere: ExternalStageCodes | None


def assess(as_of: StateAsOf[Deal], state: Deal, rates: Rates, neighbours: tuple[Deal, ...] = ()) -> Assessment:
    """Assess a state. `quiet` is None: inactivity depends on the current day, see `gone_quiet`."""
    by_event = flags_by_event(as_of, rates, neighbours)
    flags = [flag for raised in by_event.values() for flag in raised]
    flags += state_flags(state, FlagContext(rates, (), neighbours))
    stage = state.stage.value if state.stage else None
    return Assessment(
        flags=tuple(_distinct(flags)),
        ladder=ladder(_stage_changes(as_of)),
        quiet=None,
        elsewhere=ExternalStageCodes(GEM[stage], IATI[stage]) if stage else None,
    )


def last_published(as_of: StateAsOf[Deal]) -> date | None:
    """The latest publication date of the events behind a state."""
    published = [p.effective.published_on for p in as_of.steps]
    if as_of.registration is not None:
        published.append(as_of.registration.published_on)
    return max(published, default=None)


def flags_by_event(
    as_of: StateAsOf[Deal], rates: Rates, neighbours: tuple[Deal, ...] = ()
) -> dict[UUID, tuple[Flag, ...]]:
    """The flags that each visible event raises, by the event's id; only events that raise any."""
    flags: dict[UUID, tuple[Flag, ...]] = {}
    if as_of.registration is not None and (of_registration := _registration_flags(as_of.registration)):
        flags[as_of.registration.recorded.id] = of_registration
    before = as_of.base
    # Without neighbours, an event's flags depend on this stream alone, so they are cached with it. Computing them
    # again took half of the time of a past state.
    cache = as_of.assessment_cache if as_of.assessment_cache is not None and not neighbours else {}
    for i, (step, after) in enumerate(zip(as_of.steps, as_of.states, strict=True)):
        raised = cache.get((rates.imports, step.applied.id))
        if raised is None:
            earlier = tuple(p.applied for p in as_of.steps[max(0, i - MAX_EARLIER_EVENTS) : i])
            raised = event_flags(before, after, step.applied, FlagContext(rates, earlier, neighbours))
            cache[rates.imports, step.applied.id] = raised
        if raised:
            flags[step.applied.id] = raised
        before = after
    return flags


def flags_raised(
    stream: FoldedStream[Deal], events: Iterable[UUID], rates: Rates, neighbours: tuple[Deal, ...]
) -> list[Flag]:
    """The flags that newly recorded events raise, each at its place in the folded stream."""
    pending = set(events)
    steps, states = stream.timeline.steps, stream.timeline.states
    flags: list[Flag] = []
    registration = stream.record.registration
    if registration is not None and registration.recorded.id in pending:
        flags += _registration_flags(registration)
        pending.discard(registration.recorded.id)
    i = len(steps)
    while pending and i:
        i -= 1
        event = steps[i].applied
        if event.id not in pending:
            continue
        pending.discard(event.id)
        before = states[i - 1] if i else stream.record.base
        earlier = tuple([p.applied for p in steps[max(0, i - MAX_EARLIER_EVENTS) : i]])
        flags += event_flags(before, states[i], event, FlagContext(rates, earlier, neighbours))
    return _distinct(flags)


def _registration_flags(registration: EffectiveEvent) -> tuple[Flag, ...]:
    recorded_at = registration.content_record.recorded_at
    return tuple(source_flags(registration.recorded.id, registration.sources, recorded_at))


def _stage_changes(as_of: StateAsOf[Deal]) -> list[StageChange]:
    """Each stage of the deal, the day from which it applies, and the event that set it."""
    changes: list[StageChange] = []
    stage = None
    for step, state in zip(as_of.steps, as_of.states, strict=True):
        if state.stage is not None and state.stage != stage:
            stage = state.stage
            changes.append(StageChange(stage.since or stage.observed_on or step.key[0], stage, step.applied.id))
    return changes


def _distinct(flags: Sequence[Flag]) -> list[Flag]:
    return [flag for i, flag in enumerate(flags) if flag not in flags[:i]]
