"""What the registry derives from a deal: flags, the stage ladder, inactivity, and external stage codes.

It is computed on request from the same fold as the state, and is not stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import islice
from operator import attrgetter
from uuid import UUID

from msgspec import Struct

from registry.domain.checks.plausibility import (
    MAX_EARLIER_EVENTS,
    Flag,
    FlagContext,
    event_flags,
    source_flags,
    state_flags,
)
from registry.domain.deal import Deal
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.fold.order import OrderedEvent
from registry.domain.fold.timeline import Timeline
from registry.domain.history import FoldedStream, StateAsOf
from registry.domain.money.rates import Rates
from registry.domain.stages import GEM, IATI, Crosswalk, Inactivity, LadderStep, StageChange, ladder
from registry.infra.threads import sorted_in_groups


class ExternalStageCodes(Struct, frozen=True):
    """The deal's stage in the codes of Global Energy Monitor and IATI."""

    gem: Crosswalk
    iati: Crosswalk


class Assessment(Struct, frozen=True):
    """What is derived from a deal at a point in time.

    Attributes:
        undated: Whether neither the deal's registration nor its sources have a date, so that it is known on every day.
    """

    flags: tuple[Flag, ...]
    undated: bool
    ladder: tuple[LadderStep, ...]
    quiet: Inactivity | None
    elsewhere: ExternalStageCodes | None


def assess(as_of: StateAsOf[Deal], state: Deal, rates: Rates, neighbours: tuple[Deal, ...] = ()) -> Assessment:
    """Assess a state. `quiet` is None: it depends on the day up to which sources were published, see `inactivity`."""
    by_event = flags_by_event(as_of, rates, neighbours)
    flags = [flag for raised in by_event.values() for flag in raised]
    flags += state_flags(state, FlagContext(rates, (), neighbours))
    stage = state.stage.value if state.stage else None
    return Assessment(
        flags=tuple(_distinct(flags)),
        undated=as_of.registration is not None and as_of.registration.registered_on is None,
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
    as_of: StateAsOf[Deal], rates: Rates, neighbours: tuple[Deal, ...] = (), only: Iterable[UUID] | None = None
) -> dict[UUID, tuple[Flag, ...]]:
    """The flags that each visible event raises, by the event's id; only events that raise any.

    `only` are the events to look at; None for all.
    """
    flags: dict[UUID, tuple[Flag, ...]] = {}
    if as_of.registration is not None and (of_registration := _registration_flags(as_of.registration)):
        flags[as_of.registration.recorded.id] = of_registration
    # Without neighbours, an event's flags depend on this stream alone, so they are cached with it. Computing them
    # again took half of the time of a past state.
    cache = as_of.cached_flags if as_of.cached_flags is not None and not neighbours else {}
    steps = as_of.steps if only is None else [step for id in only if (step := as_of.step(id)) is not None]
    for step in steps:
        raised = cache.get((rates.imports, step.applied.id))
        if raised is None:
            raised = _flags_of(as_of.timeline, step, rates, neighbours)
            cache[rates.imports, step.applied.id] = raised
        if raised:
            flags[step.applied.id] = raised
    return flags


def _flags_of(
    timeline: Timeline[Deal], step: OrderedEvent, rates: Rates, neighbours: tuple[Deal, ...]
) -> tuple[Flag, ...]:
    """The flags that an event raises at its place in the fold.

    They depend on the facts that the event touches, and where relations are declared, on the whole deal.
    """
    last = [other.applied for other in islice(timeline.steps_before(step.key), MAX_EARLIER_EVENTS)]
    earlier = tuple(reversed(last))
    if neighbours or timeline.has_any("relations"):
        before, after = timeline.states_around(step)
    else:
        before, after = timeline.facts_around(step)
    return event_flags(before, after, step.applied, FlagContext(rates, earlier, neighbours))


def flags_raised(
    stream: FoldedStream[Deal], events: Iterable[UUID], rates: Rates, neighbours: tuple[Deal, ...]
) -> list[Flag]:
    """The flags that newly recorded events raise, each at its place in the folded stream."""
    ids = dict.fromkeys(events)
    flags: list[Flag] = []
    registration = stream.record.registration
    if registration is not None and registration.recorded.id in ids:
        flags += _registration_flags(registration)
    steps = [step for id in ids if (step := stream.place(id)) is not None]
    for step in reversed(sorted_in_groups(steps, _effective_on, attrgetter("key"))):
        flags += _flags_of(stream.timeline, step, rates, neighbours)
    return _distinct(flags) if flags else flags


def _effective_on(step: OrderedEvent) -> date:
    return step.key[0]


def _registration_flags(registration: EffectiveEvent) -> tuple[Flag, ...]:
    recorded_at = registration.content_record.recorded_at
    return tuple(source_flags(registration.recorded.id, registration.sources, recorded_at))


def _stage_changes(as_of: StateAsOf[Deal]) -> list[StageChange]:
    """Each stage of the deal, the day from which it applies, and the event that set it."""
    changes: list[StageChange] = []
    known = None
    for step, stage in as_of.timeline.stage_changes(as_of.count):
        if stage is not None and stage != known:
            known = stage
            changes.append(StageChange(stage.since or stage.observed_on or step.key[0], stage, step.applied.id))
    return changes


def _distinct(flags: Sequence[Flag]) -> list[Flag]:
    # A flag has dictionaries, so it has no hash.
    alike: defaultdict[tuple[str, str, tuple[str, ...]], list[Flag]] = defaultdict(list)
    distinct = []
    for flag in flags:
        others = alike[flag.rule, flag.field, flag.events]
        if flag not in others:
            others.append(flag)
            distinct.append(flag)
    return distinct
