"""The history of all facts of a deal, kept with its stream, and what an event changes in it."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import TypeAlias

from registry.domain.deal import Deal
from registry.domain.fold import CLAIM_TYPES, FoldKey, OrderedEvent, fold_order_of
from registry.domain.history import FoldedStream
from registry.events.types import (
    BOOKKEEPING_TYPES,
    ClaimReported,
    ClaimRetracted,
    PledgeAnnounced,
    Recorded,
    SiteAnnounced,
)
from registry.projections.facts.columns import Difference, Planes, Track, difference
from registry.projections.facts.entries import END_OF_TIME, Entry, Piece, entry
from registry.projections.facts.tracks import (
    CLAIMED,
    HEADER,
    ITEM_TABLES,
    KNOWN,
    STAGE,
    TrackKey,
    declared_effect,
    items_read,
    keys_of,
    new_track,
)

Changes: TypeAlias = tuple[Planes, Planes]
"""The runs of some facts before and after an event, on the publication days that it may change."""

Point: TypeAlias = tuple[date, date]
"""A day of the world, and a publication day."""

_EntryChanges: TypeAlias = dict[TrackKey, tuple[list[Entry], list[Entry]]]

_PLAIN_EXCEPTIONS = (*BOOKKEEPING_TYPES, *CLAIM_TYPES)


def change_facts(before: FoldedStream[Deal], after: FoldedStream[Deal], recorded: Recorded) -> Changes:
    """What an event changes in the facts of its deal. The history moves from the stream before to the one after it."""
    history: FactHistory | None = before.fact_history
    before.fact_history = None
    if before.record.merged_into is None and before.events and (history is None or history.version != before.version):
        history = FactHistory(before)
    if after.record.merged_into is not None:
        # A merged deal has no facts; the copy of a stream takes the history along.
        after.fact_history = None
        return (history.planes() if history is not None else {}), {}
    if history is None or not before.events:
        after.fact_history = history = FactHistory(after)
        return {}, history.planes()
    if recorded.event is not None and not isinstance(recorded.event, _PLAIN_EXCEPTIONS):
        record = after.record
        step = fold_order_of(record.by_id[recorded.id], record.by_id, record.claims)
        changes = history.update(after, [], [step])
    elif history.must_be_made_again(after):
        old = history.planes()
        history = FactHistory(after)
        changes = old, history.planes()
    else:
        changes = history.update(after, *_changed_steps(before.timeline.steps, after.timeline.steps))
    after.fact_history = history
    return changes


def _changed_steps(
    before: Sequence[OrderedEvent], after: Sequence[OrderedEvent]
) -> tuple[list[OrderedEvent], list[OrderedEvent]]:
    """The steps that an event removed, and those that it added; a step that changed is both."""
    was = {step.applied.id: step for step in before}
    now = {step.applied.id: step for step in after}
    changed = {id for id in {**was, **now} if id not in was or id not in now or not _is_same(was[id], now[id])}
    # The track of a retraction is that of its claim.
    steps = [step.applied.event for steps in (was, now) for id, step in steps.items() if id in changed]
    claims = {event.claim for event in steps if isinstance(event, ClaimReported)}
    changed |= {
        id
        for id, step in {**was, **now}.items()
        if isinstance(step.applied.event, ClaimRetracted) and step.applied.event.claim in claims
    }
    return [was[id] for id in was if id in changed], [now[id] for id in now if id in changed]


def _is_same(one: OrderedEvent, two: OrderedEvent) -> bool:
    return (
        one.key == two.key
        and one.about == two.about
        and one.applied.published_on == two.applied.published_on
        and one.applied.event == two.applied.event
    )


class FactHistory:
    """The tracks of a deal with all its events."""

    def __init__(self, stream: FoldedStream[Deal]) -> None:
        self.version = stream.version
        self._slug = stream.slug
        self._base = stream.record.base
        self._registered = _registration(stream)
        self._preferred = stream.record.preferred
        self._sharing = _sharing_claims(stream.timeline.steps)
        self._tracks: dict[TrackKey, Track] = {}
        # The tracks in which each item's announcements are, because they read whether it exists.
        self._readers: dict[TrackKey, set[TrackKey]] = defaultdict(set)
        # The items that each claim was reported for.
        self._claimed: dict[str, set[TrackKey]] = defaultdict(set)
        # When pledges were withdrawn, as far as the event was applied: the place, the pledge, the publication days.
        self._withdrawals: dict[FoldKey, tuple[str, list[Piece]]] = {}
        # From which day of the world on something is known, by publication day: no point is later in both than another.
        self._frontier: list[Point] = []
        for key in (HEADER, STAGE):
            self._track(key)
        self.update(stream, [], stream.timeline.steps)

    def planes(self) -> Planes:
        """All runs of all facts."""
        return {key: runs for track in self._tracks.values() for key, runs in track.planes().items()}

    def must_be_made_again(self, stream: FoldedStream[Deal]) -> bool:
        """Whether more has changed than some events: the registration, the preferred claims, or which claims meet."""
        return (
            self._base != stream.record.base
            or self._registered != _registration(stream)
            or self._preferred != stream.record.preferred
            or self._sharing != _sharing_claims(stream.timeline.steps)
        )

    def update(
        self, stream: FoldedStream[Deal], removed: Sequence[OrderedEvent], added: Sequence[OrderedEvent]
    ) -> Changes:
        """Follow a stream that differs in these events. Returns what this changes."""
        self.version = stream.version
        entries: _EntryChanges = defaultdict(lambda: ([], []))
        self._remove(removed, entries)
        self._add(added, entries)
        if self._frontier and len(added) == 1 and not removed:
            self._know((added[0].key[0], added[0].applied.published_on), entries)
        else:
            self._set_frontier(stream.timeline.steps, entries)
        return self._differences(entries)

    # --- tracks ---

    def _remove(self, steps: Iterable[OrderedEvent], entries: _EntryChanges) -> None:
        for step in steps:
            for key in self._keys(step):
                was = self._track(key).get(step.key)
                if was is not None:
                    self._track(key).remove(step.key)
                    entries[key][0].append(was)
            self._set_effect(step.key, (), entries)

    def _add(self, steps: Sequence[OrderedEvent], entries: _EntryChanges) -> None:
        for step in steps:
            if isinstance(step.applied.event, ClaimReported):
                self._claimed[step.applied.event.claim].update(keys_of(step))
            self._read_items(step)
        for step in steps:
            known = (step.applied.published_on, END_OF_TIME)
            for key in self._keys(step):
                if self._track(key).get(step.key) is None:
                    new = entry(step.key, ((*known, step),))
                    self._track(key).add(new)
                    entries[key][1].append(new)
            effect = declared_effect(step)
            if effect is not None:
                self._set_effect(step.key, [(*known, effect)], entries)

    def _track(self, key: TrackKey) -> Track:
        track = self._tracks.get(key)
        if track is None:
            track = new_track(self._slug, self._base, key, self._preferred, self._sharing)
            self._tracks[key] = track
        return track

    def _of(self, key: TrackKey) -> TrackKey:
        """The track that holds an item."""
        return CLAIMED if key in self._sharing else key

    def _keys(self, step: OrderedEvent) -> list[TrackKey]:
        """The tracks in which an event has an entry."""
        event = step.applied.event
        own = list(self._claimed[event.claim]) if isinstance(event, ClaimRetracted) else keys_of(step)
        keys = dict.fromkeys(map(self._of, own))
        if isinstance(event, SiteAnnounced | PledgeAnnounced):
            keys |= dict.fromkeys(sorted(self._readers[own[0]]))
        return list(keys)

    def _read_items(self, step: OrderedEvent) -> None:
        """Put the announcements of the items that an event reads into its track; alone they change nothing there."""
        for key in map(self._of, keys_of(step)):
            for item in items_read(key, step):
                if key in self._readers[item] or self._of(item) == key:
                    continue
                self._readers[item].add(key)
                for one in self._track(self._of(item)).entries():
                    event = one.pieces[0][2].applied.event
                    if isinstance(event, SiteAnnounced | PledgeAnnounced) and _item_of(event) == item:
                        self._track(key).add(one)
                self._track(key).forget_columns()

    # --- the header ---

    def _know(self, point: Point, entries: _EntryChanges) -> None:
        """Let the deal be known from a point on, unless it was known before."""
        index = bisect_left(self._frontier, point)
        is_known = index > 0 and self._frontier[index - 1][1] <= point[1]
        if is_known or (index < len(self._frontier) and self._frontier[index] == point):
            return
        end = index
        while end < len(self._frontier) and self._frontier[end][1] >= point[1]:
            end += 1
        self._change_header(self._frontier[index:end], [point], entries)
        self._frontier[index:end] = [point]

    def _set_frontier(self, steps: Iterable[OrderedEvent], entries: _EntryChanges) -> None:
        """Let the deal be known from its registration and from these events on."""
        points = {(step.key[0], step.applied.published_on) for step in steps}
        frontier: list[Point] = []
        for point in sorted(points | ({self._registered} if self._registered is not None else set())):
            if not frontier or point[1] < frontier[-1][1]:
                frontier.append(point)
        removed, added = set(self._frontier) - set(frontier), set(frontier) - set(self._frontier)
        self._change_header(removed, added, entries)
        self._frontier = frontier

    def _change_header(self, removed: Iterable[Point], added: Iterable[Point], entries: _EntryChanges) -> None:
        for point in removed:
            known = _known_entry(point)
            self._tracks[HEADER].remove(known.key)
            entries[HEADER][0].append(known)
        for point in added:
            known = _known_entry(point)
            self._tracks[HEADER].add(known)
            entries[HEADER][1].append(known)

    # --- differences ---

    def _differences(self, entries: _EntryChanges) -> Changes:
        """What changes in the tracks with these entries removed and added, and in the stage."""
        old: Planes = {}
        new: Planes = {}
        pledge_places: list[FoldKey] = []
        for key, (removed, added) in list(entries.items()):
            if key == STAGE or not (removed or added):
                continue
            found = difference(self._tracks[key], removed, added)
            old |= found.old
            new |= found.new
            if key == CLAIMED or key[0] in ITEM_TABLES:
                self._change_effects(found, removed, entries)
            if key == CLAIMED or key[0] == "pledges":
                pledge_places += (one.key for one in [*removed, *added])
        if pledge_places:
            first_place = min(pledge_places)
            for place, (pledge, pieces) in self._withdrawals.items():
                if place >= first_place:
                    self._set_effect(place, self._without_standing(place, pledge, pieces), entries)
        removed, added = entries[STAGE]
        if removed or added:
            found = difference(self._tracks[STAGE], removed, added)
            old |= found.old
            new |= found.new
        return old, new

    def _change_effects(self, found: Difference, removed: Sequence[Entry], entries: _EntryChanges) -> None:
        """Change what the swept entries of a track do to the stage."""
        for place in {*found.old_effects, *found.new_effects, *(one.key for one in removed)}:
            effect = self._tracks[STAGE].get(place)
            was = self._withdrawals[place][1] if place in self._withdrawals else [*effect.pieces] if effect else []
            below = [(start, min(end, found.first), does) for start, end, does in was if start < found.first]
            now = _joined([*below, *found.new_effects.get(place, ())])
            if now == was:
                continue
            pledge = now[0][2].withdraws if now else None
            if pledge is not None:
                self._withdrawals[place] = pledge, now
            else:
                self._withdrawals.pop(place, None)
                self._set_effect(place, now, entries)

    def _set_effect(self, place: FoldKey, pieces: Sequence[Piece], entries: _EntryChanges) -> None:
        """Set what an event does to the stage."""
        stage = self._tracks[STAGE]
        was = stage.get(place)
        if was is not None:
            if was.pieces == tuple(pieces):
                return
            stage.remove(place)
            entries[STAGE][0].append(was)
        if pieces:
            new = entry(place, tuple(pieces))
            stage.add(new)
            entries[STAGE][1].append(new)

    def _without_standing(self, place: FoldKey, pledge: str, pieces: Sequence[Piece]) -> list[Piece]:
        """The publication days of these pieces on which no other pledge stands at a place."""
        for key, track in self._tracks.items():
            if not pieces:
                break
            if key == CLAIMED or key[0] == "pledges":
                column = track.column_before(place, pieces[0][0])
                for index, cell in enumerate(column.cells):
                    if any(p.pledge != pledge and p.status != "withdrawn" for p in cell.state.deal.pledges):
                        pieces = _cut(pieces, cell.known_from, column.end_of(index))
        return _joined(pieces)


def _known_entry(point: Point) -> Entry:
    """The entry of the header from which on the deal is known: before all events of its day."""
    day, published_on = point
    return entry((day, (0, published_on.toordinal())), ((published_on, END_OF_TIME, KNOWN),))


def _cut(pieces: Iterable[Piece], start: date, end: date) -> list[Piece]:
    """The pieces without the publication days [start, end)."""
    cut: list[Piece] = []
    for known_from, known_to, effect in pieces:
        cut += [
            (one, two, effect)
            for one, two in ((known_from, min(known_to, start)), (max(known_from, end), known_to))
            if one < two
        ]
    return cut


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces, those that follow each other with the same effect as one."""
    joined: list[Piece] = []
    for start, end, effect in pieces:
        if joined and joined[-1][1] == start and joined[-1][2] == effect:
            joined[-1] = (joined[-1][0], end, effect)
        else:
            joined.append((start, end, effect))
    return joined


def _registration(stream: FoldedStream[Deal]) -> Point | None:
    """From when on the deal is known by its registration alone."""
    registration = stream.record.registration
    return None if registration is None else (registration.effective_on or date.min, registration.published_on)


def _item_of(event: SiteAnnounced | PledgeAnnounced) -> TrackKey:
    return ("sites", event.site) if isinstance(event, SiteAnnounced) else ("pledges", event.pledge)


def _sharing_claims(steps: Iterable[OrderedEvent]) -> frozenset[TrackKey]:
    """The items for which a claim was reported whose id a claim for another item has as well."""
    items: dict[str, set[TrackKey]] = defaultdict(set)
    for step in steps:
        if isinstance(step.applied.event, ClaimReported):
            items[step.applied.event.claim].update(keys_of(step))
    return frozenset(key for keys in items.values() if len(keys) > 1 for key in keys)
