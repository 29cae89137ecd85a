"""What an event changes in the facts of its deal, at every point of both axes of knowledge.

Most events are the last ones of their deal, both by effective date and by publication date. For these, the folds before
and after the event give the old and the new facts from these days on. For any other event, sweeps of its tracks find
the changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from registry.domain.deal import Deal
from registry.domain.deal_facts import item_of_field
from registry.domain.doubted_amounts import Checks, checks_after
from registry.domain.facts import HEADER, FactKey, FactValue
from registry.domain.fold import CLAIM_TYPES, FoldKey, OrderedEvent
from registry.domain.history import FoldedStream
from registry.domain.stages import StageState
from registry.domain.timeline import Timeline
from registry.events.types import Recorded
from registry.projections.facts.rows import FactChange, changes_of_runs
from registry.projections.facts.signals import StageSignals, cut_pieces
from registry.projections.facts.sweep_line import END_OF_TIME, Effects, KnownRun, Piece, Planes
from registry.projections.facts.sweeps import HistoryDifference, Marks, difference, planes_of
from registry.projections.facts.tables import STAGE_FACTS, TABLE_OF, RowKey, Values, rows_of, stage_values
from registry.projections.facts.tracks import (
    StageTrack,
    makes_fact,
    new_track,
    registration,
    shared_facts,
    track_of,
    tracks_of,
    untracked_signal,
)

Changes: TypeAlias = tuple[Planes, Planes]
"""The runs of some facts before and after an event, on the publication days that it may change."""

_Places: TypeAlias = dict[FactKey, dict[FoldKey, date]]
"""The changed places of each track, with the first publication day on which they may have changed."""


class Sweeps:
    """What is kept with a stream so that the sweeps of its next event are short.

    Attributes:
        version: The version of the stream.
        shared: The facts that share claims.
        marks: The kept sweep lines of each track.
        signals: What the events signal about the stage; None until a sweep needs it.
    """

    def __init__(self, stream: FoldedStream[Deal]) -> None:
        self.version = stream.version
        self.shared = shared_facts(stream.timeline)
        self.marks: dict[FactKey, Marks] = defaultdict(Marks)
        self.signals: StageSignals | None = None


def all_planes(stream: FoldedStream[Deal]) -> Planes:
    """All runs of all facts of a deal; a merged deal has none."""
    if stream.record.merged_into is not None or not stream.events:
        return {}
    shared = shared_facts(stream.timeline)
    planes, signals = _planes_and_signals(stream, shared)
    return planes | planes_of(StageTrack(signals))


def change_facts(before: FoldedStream[Deal], after: FoldedStream[Deal], recorded: Recorded) -> dict[RowKey, FactChange]:
    """What an event changes in the facts of its deal. The sweeps move from the stream before to the one after it."""
    if not before.events:
        return _registered(after)
    sweeps: Sweeps | None = before.fact_sweeps
    before.fact_sweeps = None
    if sweeps is not None and sweeps.version != before.version:
        sweeps = None
    moved = after.moved
    if moved is None or not _has_same_start(before, after):
        return changes_of_runs(all_planes(before), all_planes(after), recorded.published_on)
    removed, added = moved
    if not removed and len(added) == 1 and _is_last(before, added[0]):
        changes = _appended(before, after, added[0])
        if changes is not None:
            if sweeps is not None:
                _signal_appended(sweeps, after, added[0])
                sweeps.version = after.version
            after.fact_sweeps = sweeps
            return changes
    sweeps = sweeps or Sweeps(before)
    has_claims = any(isinstance(step.applied.event, CLAIM_TYPES) for step in (*removed, *added))
    is_preference = before.record.preferred != after.record.preferred
    if (has_claims and shared_facts(after.timeline) != sweeps.shared) or (is_preference and (removed or added)):
        return changes_of_runs(all_planes(before), all_planes(after), recorded.published_on)
    runs = _preferred(sweeps, before, after) if is_preference else _swept(sweeps, before, after, removed, added)
    sweeps.version = after.version
    after.fact_sweeps = sweeps
    return changes_of_runs(*runs, recorded.published_on)


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
    known = KnownRun(point[1], END_OF_TIME)
    rows = rows_of(after.timeline.base, {}, (HEADER[0],))
    return {key: FactChange((), (), [((point[0], END_OF_TIME, values), known)]) for key, values in rows.items()}


def _appended(
    before: FoldedStream[Deal], after: FoldedStream[Deal], step: OrderedEvent
) -> dict[RowKey, FactChange] | None:
    """What the last event changes; None if an earlier event of its day has touched the same facts, or a claim has."""
    changes: dict[RowKey, FactChange] = {}
    timeline, key = after.timeline, step.key
    for fact in timeline.touched(step).writes:
        if track_of(fact, frozenset()) is None:
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
    """Add the runs that the last event of a deal ends and begins, on both axes alike.

    Args:
        changes: What the event changes.
        step: The event.
        earlier: The rows of a fact after the earlier events, each with its day, the last one first.
        now: The rows after the event.
    """
    day, published = step.key[0], step.applied.published_on
    known = KnownRun(published, END_OF_TIME)
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


def _signal_appended(sweeps: Sweeps, after: FoldedStream[Deal], step: OrderedEvent) -> None:
    """Add what the last event signals about the stage."""
    signal = after.timeline.stages.signals.get(step.key)
    if sweeps.signals is not None and signal is not None:
        piece = (step.applied.published_on, END_OF_TIME, signal)
        sweeps.signals, _ = sweeps.signals.updated({step.key: [piece]})


# --- other events -----------------------------------------------------------------------------------------------------


def _swept(
    sweeps: Sweeps,
    before: FoldedStream[Deal],
    after: FoldedStream[Deal],
    removed: Sequence[OrderedEvent],
    added: Sequence[OrderedEvent],
) -> Changes:
    """What removed and added events change."""
    places, signals = _changed_places(sweeps.shared, before, after, removed, added)
    old: Planes = {}
    new: Planes = {}
    for key, changed in places.items():
        marks = None if key == HEADER else sweeps.marks[key]
        was, now = new_track(before, key, sweeps.shared), new_track(after, key, sweeps.shared)
        found = difference(was, now, marks, changed, min(changed.values()))
        old |= found.old
        new |= found.new
        signals |= _changed_signals(found)
    if signals:
        if sweeps.signals is None:
            _, sweeps.signals = _planes_and_signals(before, sweeps.shared)
        signaled = {place: _pieces(sweeps.signals.pieces.get(place, ()), change) for place, change in signals.items()}
        stage = StageTrack(sweeps.signals)
        sweeps.signals, moved = sweeps.signals.updated(signaled)
        if moved:
            found = difference(stage, StageTrack(sweeps.signals), None, moved, min(moved.values()))
            old |= found.old
            new |= found.new
    return old, new


_Signals: TypeAlias = dict[FoldKey, tuple[date, date, Sequence[Piece]]]
"""What events signal now on the publication days [from, to)."""


def _pieces(was: Sequence[Piece], change: tuple[date, date, Sequence[Piece]]) -> list[Piece]:
    first, end, pieces = change
    below, above = cut_pieces(was, first, end)
    return [*below, *pieces, *above]


def _changed_signals(found: HistoryDifference) -> _Signals:
    """What the swept entries of a track now signal about the stage, where that has changed."""
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
    """The places of each track that change, and what the events signal that are in no track."""
    places: _Places = defaultdict(dict)
    signals: _Signals = {}
    claims = {s.applied.event.claim for s in (*removed, *added) if isinstance(s.applied.event, CLAIM_TYPES)}
    for stream, steps in ((before, removed), (after, added)):
        timeline = stream.timeline
        # Events with the same claim's id depend on each other's items.
        related = [step for claim in claims for step in timeline.claim_steps(claim)]
        for step in {step.key: step for step in (*steps, *related)}.values():
            published = step.applied.published_on
            tracks = _tracks_written(timeline, step, shared)
            for track in tracks:
                _note(places[track], step.key, published)
            if not _is_registered(stream, step):
                _note(places[HEADER], step.key, published)
            if not tracks and (signal := untracked_signal(timeline, step)) is not None:
                pieces = [(published, END_OF_TIME, signal)] if stream is after else []
                signals[step.key] = (date.min, END_OF_TIME, pieces)
            for place, reader in _readers(timeline, step):
                for track in _tracks_written(timeline, reader, shared):
                    _note(places[track], place, reader.applied.published_on)
    return places, signals


def _tracks_written(timeline: Timeline[Deal], step: OrderedEvent, shared: frozenset[FactKey]) -> set[FactKey]:
    tracks = (track_of(fact, shared) for fact in timeline.touched(step).writes)
    return {track for track in tracks if track is not None}


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


def _preferred(sweeps: Sweeps, before: FoldedStream[Deal], after: FoldedStream[Deal]) -> Changes:
    """What a change of the preferred claims changes: the tracks of their fields are made again."""
    was, now = before.record.preferred, after.record.preferred
    fields = {field for field in {**was, **now} if was.get(field) != now.get(field)}
    old: Planes = {}
    new: Planes = {}
    tracks = (track_of(item_of_field(field), sweeps.shared) for field in sorted(fields))
    for key in dict.fromkeys(track for track in tracks if track is not None):
        sweeps.marks.pop(key, None)
        old |= planes_of(new_track(before, key, sweeps.shared))
        new |= planes_of(new_track(after, key, sweeps.shared))
    return old, new


def _planes_and_signals(stream: FoldedStream[Deal], shared: frozenset[FactKey]) -> tuple[Planes, StageSignals]:
    """All runs of a deal but the stage's, and what its events signal about the stage."""
    planes: Planes = {}
    effects: Effects = {}
    for key in tracks_of(stream.timeline, shared):
        planes |= planes_of(new_track(stream, key, shared), effects)
    for step in stream.timeline.steps:
        if not any(track_of(fact, shared) for fact in stream.timeline.touched(step).writes):
            signal = untracked_signal(stream.timeline, step)
            if signal is not None:
                effects[step.key] = [(step.applied.published_on, END_OF_TIME, signal)]
    signals, _ = StageSignals().updated(effects)
    return planes, signals
