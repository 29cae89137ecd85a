"""What an event changes in the facts of its deal, on all three axes.

Most events are the last ones of their deal, both by effective date and by publication date. For these, the folds before
and after the event give the old and the new facts from these days on. For any other event, `sweeps.py` sweeps the
groups of facts that it touches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from registry.domain.checks.doubted_amounts import Checks, checks_after
from registry.domain.deal import Deal
from registry.domain.fold.facts import HEADER, FactKey, FactValue, item_of_field
from registry.domain.fold.order import CLAIM_TYPES, FoldKey, OrderedEvent
from registry.domain.fold.timeline import Timeline
from registry.domain.history import FoldedStream
from registry.domain.stages import StageState
from registry.events.types import Recorded
from registry.projections.facts.groups import (
    StageGroup,
    group_of,
    groups_of,
    makes_fact,
    new_group,
    registration,
    shared_facts,
    ungrouped_signal,
)
from registry.projections.facts.rows import FactChange, changes_between
from registry.projections.facts.signals import StageSignals, split_around
from registry.projections.facts.sweep_line import END_OF_TIME, Effects, PublishedInterval, Rectangles, TimedAction
from registry.projections.facts.sweeps import HistoryDifference, Snapshots, difference, rectangles_of
from registry.projections.facts.tables import STAGE_FACTS, TABLE_OF, RowKey, Values, rows_of, stage_values

Changes: TypeAlias = tuple[Rectangles, Rectangles]
"""The rectangles of some facts before and after an event, on the publication days that it may change."""

_Places: TypeAlias = dict[FactKey, dict[FoldKey, date]]
"""The changed places of each group, with the first publication day on which they may have changed."""


class SweepCache:
    """What a stream caches so that the sweeps of its next event are short.

    Attributes:
        version: The version of the stream.
        shared: The facts that share claims.
        snapshots: The stored sweep lines of each group.
        signals: What the events signal about the stage; None until a sweep needs it.
    """

    def __init__(self, stream: FoldedStream[Deal]) -> None:
        self.version = stream.version
        self.shared = shared_facts(stream.timeline)
        self.snapshots: dict[FactKey, Snapshots] = defaultdict(Snapshots)
        self.signals: StageSignals | None = None


def all_rectangles(stream: FoldedStream[Deal]) -> Rectangles:
    """The rectangles of all facts of a deal; a merged deal has none."""
    if stream.record.merged_into is not None or not stream.events:
        return {}
    shared = shared_facts(stream.timeline)
    rectangles, signals = _rectangles_and_signals(stream, shared)
    return rectangles | rectangles_of(StageGroup(signals))


def reads_whole_deal(before: FoldedStream[Deal], after: FoldedStream[Deal]) -> bool:
    """Whether `change_facts` reads all facts of the deal: 50 µs an event.

    It does for an event that may change all of them, and for the first one that is not the last of its deal: what it
    then caches serves the next one.
    """
    cache: SweepCache | None = before.caches.sweeps
    if not before.events or (cache is not None and cache.version == before.version and after.last_change is not None):
        return False
    last = after.last_change
    return last is None or bool(last.removed) or len(last.added) != 1 or not _is_last(before, last.added[0])


def change_facts(before: FoldedStream[Deal], after: FoldedStream[Deal], recorded: Recorded) -> dict[RowKey, FactChange]:
    """What an event changes in the facts of its deal. The cache moves from the stream before to the one after it."""
    if not before.events:
        return _registered(after)
    cache: SweepCache | None = before.caches.sweeps
    before.caches.sweeps = None
    if cache is not None and cache.version != before.version:
        cache = None
    last = after.last_change
    if last is None or not _has_same_start(before, after):
        return changes_between(all_rectangles(before), all_rectangles(after), recorded.published_on)
    removed, added = last.removed, last.added
    if not removed and len(added) == 1 and _is_last(before, added[0]):
        changes = _appended(before, after, added[0])
        if changes is not None:
            if cache is not None:
                _signal_appended(cache, after, added[0])
                cache.version = after.version
            after.caches.sweeps = cache
            return changes
    cache = cache or SweepCache(before)
    has_claims = any(isinstance(step.applied.event, CLAIM_TYPES) for step in (*removed, *added))
    is_preference = before.record.preferred != after.record.preferred
    if (has_claims and shared_facts(after.timeline) != cache.shared) or (is_preference and (removed or added)):
        return changes_between(all_rectangles(before), all_rectangles(after), recorded.published_on)
    rectangles = _preferred(cache, before, after) if is_preference else _swept(cache, before, after, removed, added)
    cache.version = after.version
    after.caches.sweeps = cache
    return changes_between(*rectangles, recorded.published_on)


def _has_same_start(before: FoldedStream[Deal], after: FoldedStream[Deal]) -> bool:
    """Whether two versions of a deal are not merged, and registered alike."""
    was, now = before.record, after.record
    return (
        was.merged_into is None
        and now.merged_into is None
        and was.registration is not None
        and (was.base is now.base or was.base == now.base)
        and (was.registration is now.registration or registration(before) == registration(after))
    )


# --- events that are the last ones ------------------------------------------------------------------------------------


def _is_last(before: FoldedStream[Deal], step: OrderedEvent) -> bool:
    """Whether an event comes after all others of its deal, in the order of the fold and of publication.

    The first event after the registration does if the deal is known by then: it changes nothing of the header.
    """
    if isinstance(step.applied.event, CLAIM_TYPES):
        return False
    last = before.timeline.last_step()
    if last is None:
        return _is_registered(before, step)
    return last.key < step.key and before.timeline.latest_publication <= step.applied.published_on


def _registered(after: FoldedStream[Deal]) -> dict[RowKey, FactChange]:
    """What the first event of a deal changes: its header begins."""
    point = registration(after)
    if point is None:
        return {}
    known = PublishedInterval(point[1], END_OF_TIME)
    rows = rows_of(after.timeline.base, {}, (HEADER[0],))
    return {key: FactChange((), (), [((point[0], END_OF_TIME, values), known)]) for key, values in rows.items()}


def _appended(
    before: FoldedStream[Deal], after: FoldedStream[Deal], step: OrderedEvent
) -> dict[RowKey, FactChange] | None:
    """What the last event changes; None if an earlier event of its day has touched the same facts, or a claim has."""
    changes: dict[RowKey, FactChange] = {}
    timeline, key = after.timeline, step.key
    for fact in timeline.touched(step).writes:
        if group_of(fact, frozenset()) is None:
            continue
        history = timeline.fact(fact)
        earlier = history.values.last_before(key)
        was, now = earlier[1][1] if earlier is not None else history.base, history.values[key][1]
        is_of_day = earlier is not None and earlier[0][0] == key[0]
        if is_of_day or fact[0] not in TABLE_OF or fact == HEADER or any(getattr(item, "claims", ()) for item in now):
            return None
        if was == now:
            continue
        checks: Checks = {}
        stated: Checks = {}
        if fact[0] == "pledges":
            checks, stated = _checks(timeline, fact, key), checks_after({}, timeline.slice({fact: was}), step.applied)
        present, previous = _rows(fact, now, {**checks, **stated}), _rows(fact, was, checks)
        if not stated and previous == present:
            continue
        values = ((at[0], value) for at, (_, value) in history.values.entries_before(key))
        rows = ((day, previous if value is was else _rows(fact, value, checks)) for day, value in values)
        _add_changes(changes, step, rows, present)
    if timeline.stages.changes is not before.timeline.stages.changes:
        signaled = before.timeline.stages.signals.last_before(key)
        if signaled is not None and signaled[0][0] == key[0]:
            return None
        stages = before.timeline.stages.changes.entries_before(key)
        rows = ((at[0], _stage_rows(stage)) for at, stage in stages)
        _add_changes(changes, step, rows, _stage_rows(timeline.stages.at(key)))
    return changes


def _checks(timeline: Timeline[Deal], fact: FactKey, key: FoldKey) -> Checks:
    """What the amount of a fact without claims is compared with before a place."""
    history = timeline.fact(fact)
    for at, (step, _) in history.values.entries_before(key):
        if step.applied.id not in timeline.refusals:
            facts_before = timeline.slice({fact: history.before(at)})
            if checks := checks_after({}, facts_before, step.applied):
                return checks
    return {}


def _rows(fact: FactKey, value: FactValue, checks: Checks) -> dict[RowKey, Values]:
    """The rows of a fact of a list."""
    table = TABLE_OF[fact[0]]
    rows = (table.row(item, checks) for item in value)
    return {(table, ids): values for ids, values in rows}


def _stage_rows(stage: StageState | None) -> dict[RowKey, Values]:
    return {} if stage is None else {(STAGE_FACTS, ()): stage_values(stage)}


def _add_changes(
    changes: dict[RowKey, FactChange],
    step: OrderedEvent,
    earlier: Iterable[tuple[date, Mapping[RowKey, Values]]],
    now: Mapping[RowKey, Values],
) -> None:
    """Add the periods that the last event of a deal ends and begins, on both axes alike.

    Args:
        changes: What the event changes.
        step: The event.
        earlier: The rows of a fact after the earlier events, each with its day, the last one first.
        now: The rows after the event.
    """
    day, published = step.key[0], step.applied.published_on
    known = PublishedInterval(published, END_OF_TIME)
    was: Mapping[RowKey, Values] | None = None
    since: dict[RowKey, date] = {}
    changed, running = set(now), set[RowKey]()
    last_day: date | None = None
    for at, rows in earlier:
        if was is None:
            was = rows
            changed = {key for key in {**was, **now} if was.get(key) != now.get(key)}
            since = {key: at for key in changed if key in was}
            running = set(since)
        elif at != last_day:
            running = {key for key in running if rows.get(key) == was[key]}
            since |= dict.fromkeys(running, at)
        last_day = at
        if not running:
            break
    was = was or {}
    for key in changed:
        change = changes[key] = FactChange((), (), [])
        if key in was:
            change.closed = (since[key],)
            change.moved = ((since[key], published, None, published),)
            change.opened.append(((since[key], day, was[key]), known))
        if key in now:
            change.opened.append(((day, END_OF_TIME, now[key]), known))


def _signal_appended(cache: SweepCache, after: FoldedStream[Deal], step: OrderedEvent) -> None:
    """Add what the last event signals about the stage."""
    signal = after.timeline.stages.signals.get(step.key)
    if cache.signals is not None and signal is not None:
        action = (step.applied.published_on, END_OF_TIME, signal)
        cache.signals, _ = cache.signals.updated({step.key: [action]})


# --- other events -----------------------------------------------------------------------------------------------------


def _swept(
    cache: SweepCache,
    before: FoldedStream[Deal],
    after: FoldedStream[Deal],
    removed: Sequence[OrderedEvent],
    added: Sequence[OrderedEvent],
) -> Changes:
    """What removed and added events change."""
    places, signals = _changed_places(cache.shared, before, after, removed, added)
    old: Rectangles = {}
    new: Rectangles = {}
    for key, changed in places.items():
        snapshots = None if key == HEADER else cache.snapshots[key]
        was, now = new_group(before, key, cache.shared), new_group(after, key, cache.shared)
        found = difference(was, now, snapshots, changed, min(changed.values()))
        old |= found.old
        new |= found.new
        signals |= _changed_signals(found)
    if signals:
        if cache.signals is None:
            _, cache.signals = _rectangles_and_signals(before, cache.shared)
        signaled = {place: _actions(cache.signals.actions.get(place, ()), change) for place, change in signals.items()}
        stage = StageGroup(cache.signals)
        cache.signals, moved = cache.signals.updated(signaled)
        if moved:
            found = difference(stage, StageGroup(cache.signals), None, moved, min(moved.values()))
            old |= found.old
            new |= found.new
    return old, new


_Signals: TypeAlias = dict[FoldKey, tuple[date, date, Sequence[TimedAction]]]
"""What events signal now on the publication days [from, to)."""


def _actions(was: Sequence[TimedAction], change: tuple[date, date, Sequence[TimedAction]]) -> list[TimedAction]:
    first, end, actions = change
    below, above = split_around(was, first, end)
    return [*below, *actions, *above]


def _changed_signals(found: HistoryDifference) -> _Signals:
    """What the swept entries of a group now signal about the stage, where that has changed."""
    return {
        place: (found.first, found.ends[place], found.new_effects.get(place, ()))
        for place in {**found.old_effects, **found.new_effects}
        if found.old_effects.get(place) != found.new_effects.get(place)
    }


def _changed_places(
    shared: frozenset[FactKey],
    before: FoldedStream[Deal],
    after: FoldedStream[Deal],
    removed: Sequence[OrderedEvent],
    added: Sequence[OrderedEvent],
) -> tuple[_Places, _Signals]:
    """The places of each group that change, and what the events signal that are in no group."""
    places: _Places = defaultdict(dict)
    signals: _Signals = {}
    claims = {s.applied.event.claim for s in (*removed, *added) if isinstance(s.applied.event, CLAIM_TYPES)}
    for stream, steps in ((before, removed), (after, added)):
        timeline = stream.timeline
        # Events with the same claim's id depend on each other's items.
        related = [step for claim in claims for step in timeline.claim_steps(claim)]
        for step in {step.key: step for step in (*steps, *related)}.values():
            published = step.applied.published_on
            groups = _groups_written(timeline, step, shared)
            for group in groups:
                _note(places[group], step.key, published)
            if not _is_registered(stream, step):
                _note(places[HEADER], step.key, published)
            if not groups and (signal := ungrouped_signal(timeline, step)) is not None:
                actions = [(published, END_OF_TIME, signal)] if stream is after else []
                signals[step.key] = (date.min, END_OF_TIME, actions)
            for place, reader in _readers(timeline, step):
                for group in _groups_written(timeline, reader, shared):
                    _note(places[group], place, reader.applied.published_on)
    return places, signals


def _groups_written(timeline: Timeline[Deal], step: OrderedEvent, shared: frozenset[FactKey]) -> set[FactKey]:
    groups = (group_of(fact, shared) for fact in timeline.touched(step).writes)
    return {group for group in groups if group is not None}


def _readers(timeline: Timeline[Deal], step: OrderedEvent) -> Iterator[tuple[FoldKey, OrderedEvent]]:
    """The later events for which a fact must exist that an event makes."""
    for fact in timeline.touched(step).writes:
        readers = timeline.fact(fact).readers
        if readers and makes_fact(timeline, step, fact):
            yield from readers.entries(step.key)


def _note(places: dict[FoldKey, date], place: FoldKey, known: date) -> None:
    places[place] = min(places.get(place, known), known)


def _is_registered(stream: FoldedStream[Deal], step: OrderedEvent) -> bool:
    """Whether the deal is known at an event by its registration alone."""
    point = registration(stream)
    return point is not None and point[0] <= step.key[0] and point[1] <= step.applied.published_on


def _preferred(cache: SweepCache, before: FoldedStream[Deal], after: FoldedStream[Deal]) -> Changes:
    """What a change of the preferred claims changes: the groups of their fields are folded again."""
    was, now = before.record.preferred, after.record.preferred
    fields = {field for field in {**was, **now} if was.get(field) != now.get(field)}
    old: Rectangles = {}
    new: Rectangles = {}
    groups = (group_of(item_of_field(field), cache.shared) for field in sorted(fields))
    for key in dict.fromkeys(group for group in groups if group is not None):
        cache.snapshots.pop(key, None)
        old |= rectangles_of(new_group(before, key, cache.shared))
        new |= rectangles_of(new_group(after, key, cache.shared))
    return old, new


def _rectangles_and_signals(stream: FoldedStream[Deal], shared: frozenset[FactKey]) -> tuple[Rectangles, StageSignals]:
    """The rectangles of all facts of a deal but the stage, and what its events signal about the stage."""
    rectangles: Rectangles = {}
    effects: Effects = {}
    for key in groups_of(stream.timeline, shared):
        rectangles |= rectangles_of(new_group(stream, key, shared), effects)
    for step in stream.timeline.steps:
        if not any(group_of(fact, shared) for fact in stream.timeline.touched(step).writes):
            signal = ungrouped_signal(stream.timeline, step)
            if signal is not None:
                effects[step.key] = [(step.applied.published_on, END_OF_TIME, signal)]
    signals, _ = StageSignals().updated(effects)
    return rectangles, signals
