"""The versions of a deal's facts on the two axes of knowledge, and what an event changes in them.

A run is a value that a fact has in [since, until) of the world: a maximal one, so the runs of a fact are a canonical
form of its history. On the recorded axis an event changes the runs from its position on. On the published axis a run is
also bounded by the publication days in [known_from, known_to) on which it is the same, for the log as it is now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from msgspec import Struct

from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import AsOf, FoldedStream
from registry.domain.timeline import Timeline
from registry.events.types import BOOKKEEPING_TYPES, Recorded
from registry.projections.facts.tables import FactKey, Values, facts_of

# "Unbounded": after every date and every position.
END_OF_TIME = date.max
MAX_POSITION = 2**62

_BOOKKEEPING_EVENTS = frozenset(BOOKKEEPING_TYPES)

Run: TypeAlias = tuple[date, date, Values]
"""A value, the day from which the fact has it, and the day before which it ends."""

Runs: TypeAlias = Mapping[FactKey, Sequence[Run]]


class KnownRun(Struct, frozen=True, order=True):
    """The publication days [known_from, known_to) on which a run is the same."""

    known_from: date
    known_to: date


Plane: TypeAlias = Mapping[FactKey, Mapping[Run, Sequence[KnownRun]]]
"""All runs of some facts on the published axis."""

Segment: TypeAlias = tuple[date, Deal]
"""A state of the deal, and the day from which it is in effect, until the day of the next one."""


def segments(
    stream: FoldedStream[Deal], published: date | None = None, timeline: Timeline[Deal] | None = None
) -> list[Segment]:
    """The states of a deal. A registration alone is known from its own date."""
    if stream.record.merged_into is not None:
        return []
    found = (timeline or stream.timeline).segments()
    registration = stream.record.registration
    if registration is not None and AsOf(published_on=published).is_registered(registration):
        since = _registered_since(registration)
        if not found or since < found[0][0]:
            found.insert(0, (since, stream.record.base))
    return [(since, stream.with_preferred_claims(state)) for since, state in found]


def _registered_since(registration: EffectiveEvent) -> date:
    """The day from which a registration alone is known."""
    return registration.effective_on or date.min


def runs_of(segments: Iterable[Segment]) -> dict[FactKey, list[Run]]:
    """The runs of all facts over consecutive states."""
    runs: dict[FactKey, list[Run]] = defaultdict(list)
    current: dict[FactKey, tuple[date, Values]] = {}
    for day, state in segments:
        facts = facts_of(state)
        for key, (since, values) in list(current.items()):
            if facts.get(key) != values:
                runs[key].append((since, day, values))
                del current[key]
        for key, values in facts.items():
            current.setdefault(key, (day, values))
    for key, (since, values) in current.items():
        runs[key].append((since, END_OF_TIME, values))
    return runs


def plane_of(stream: FoldedStream[Deal]) -> dict[FactKey, dict[Run, list[KnownRun]]]:
    """All runs of a deal on the published axis."""
    record = stream.record
    steps = sorted(stream.timeline.steps, key=lambda s: (s.effective.published_on, s.effective.recorded.position))
    days = {step.effective.published_on for step in steps}
    if record.registration is not None:
        days.add(record.registration.published_on)
    timeline: Timeline[Deal] = Timeline(DEALS, record.base)
    plane: dict[FactKey, dict[Run, list[KnownRun]]] = defaultdict(lambda: defaultdict(list))
    remaining = iter(steps)
    step = next(remaining, None)
    opened: dict[FactKey, dict[Run, date]] = {}
    for known in sorted(days):
        while step is not None and step.effective.published_on <= known:
            timeline.insert(step)
            step = next(remaining, None)
        now = runs_of(segments(stream, known, timeline))
        for key, since in opened.items():
            for run in since.keys() - set(now.get(key, ())):
                plane[key][run].append(KnownRun(since.pop(run), known))
        for key, runs in now.items():
            since = opened.setdefault(key, {})
            for run in runs:
                since.setdefault(run, known)
    for key, since in opened.items():
        for run, known in since.items():
            plane[key][run].append(KnownRun(known, END_OF_TIME))
    return plane


def is_latest(before: FoldedStream[Deal], event: Recorded) -> bool:
    """Whether an event was published after all others of its deal, so that it changes both axes in the same way."""
    if not is_plain(event):
        return not before.events
    return all(event.published_on >= e.published_on for e in before.record.effective_events)


def is_plain(event: Recorded) -> bool:
    """Whether an event changes nothing before its own effective date: not bookkeeping, and not redacted."""
    return event.event is not None and type(event.event) not in _BOOKKEEPING_EVENTS
