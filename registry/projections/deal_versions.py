"""Every deal at every point in time: rectangles [effective) × [known) with what lists and totals need.

Two clocks are kept: what the registry knew (the known axis is the log's position) and what was public (it is a day,
for the log as it is now). A new event closes the rectangles that it makes untrue and opens the ones that hold from
then on; nothing is read to do so, since the open ones follow from the deal's history before it. Rectangles of one
deal and clock never overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from hashlib import blake2b
from itertools import pairwise
from operator import attrgetter, is_
from typing import Any

from msgspec import Struct

from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import Deal, PartyState
from registry.domain.fold import DEALS, Timeline
from registry.domain.history import AsOf, FoldedStream
from registry.domain.totals import DealRow, encode_row, row_of, simple_sum
from registry.events.types import BOOKKEEPING_TYPES, Recorded
from registry.events.write_batch import WriteBatch
from registry.projections.projection import AppliedChange, BatchProjector
from registry.schemas import DealListItem, encode, list_item

# `infinity` of the two axes: behind every date and every position.
END_OF_TIME = date.max
MAX_POSITION = 2**62

ONE_DAY = timedelta(days=1)

# A rectangle that was opened on the very day (or position) on which it would close was never true: it is dropped,
# before another takes its place, which is what the count at the end waits for.
WRITE = """
closing AS (
    SELECT clock, deal, effective_from, known
      FROM unnest($1::closed_deal_version[])
), dropped AS (
    DELETE FROM deal_versions AS v
     USING closing AS c
     WHERE v.clock = c.clock AND v.deal = c.deal AND v.effective_from = c.effective_from
       AND v.known_to = 4611686018427387904 AND v.known_from >= c.known
    RETURNING 1
), closed AS (
    UPDATE deal_versions AS v
       SET known_to = c.known
      FROM closing AS c
     WHERE v.clock = c.clock AND v.deal = c.deal AND v.effective_from = c.effective_from
       AND v.known_to = 4611686018427387904 AND v.known_from < c.known
), stated AS (
    INSERT INTO deal_states (deal, state, terms, title, row, totals)
    SELECT deal, state, string_to_array(terms, ' '), title, row, totals
      FROM unnest($2::new_deal_state[])
    ON CONFLICT (deal, state) DO NOTHING
), termed AS (
    INSERT INTO deal_terms AS t (term, deal, effective_from, recorded_from, published_from)
    SELECT term, deal, min(effective_from), min(recorded_from), min(published_from)
      FROM unnest($3::new_deal_terms[]),
           unnest(string_to_array(terms, ' ')) AS u (term)
     GROUP BY term, deal
    ON CONFLICT (term, deal) DO UPDATE
       SET effective_from = least(t.effective_from, excluded.effective_from),
           recorded_from = least(t.recorded_from, excluded.recorded_from)
     WHERE excluded.effective_from < t.effective_from OR excluded.recorded_from < t.recorded_from
), titled AS (
    INSERT INTO deal_titles AS t (deal, titles)
    SELECT deal, titles
      FROM unnest($4::new_deal_titles[])
    ON CONFLICT (deal) DO UPDATE
       SET titles = array_to_string(ARRAY(
               SELECT DISTINCT unnest(string_to_array(t.titles, E'\n') || string_to_array(excluded.titles, E'\n'))
                ORDER BY 1), E'\n')
     WHERE NOT string_to_array(t.titles, E'\n') @> string_to_array(excluded.titles, E'\n')
), opened AS (
    INSERT INTO deal_versions (clock, deal, effective_from, effective_to, known_from, known_to, state,
                               kind, amount, pledges)
    SELECT clock, deal, effective_from, effective_to, known_from, known_to, state, kind, amount::numeric, pledges
      FROM unnest($5::new_deal_version[])
     WHERE (SELECT count(*) FROM dropped) >= 0
)
"""

# Terms lie by term: which of them are a deal's is known from its states.
FORGET = """
WITH versions AS (DELETE FROM deal_versions WHERE deal = ANY ($1::text[])),
     titles AS (DELETE FROM deal_titles WHERE deal = ANY ($1::text[])),
     states AS (DELETE FROM deal_states WHERE deal = ANY ($1::text[]) RETURNING deal, terms)
DELETE FROM deal_terms AS t
 USING (SELECT DISTINCT deal, unnest(terms || 'deal'::text) AS term FROM states) AS s
 WHERE t.term = s.term AND t.deal = s.deal
"""

RECORDED, PUBLISHED = b"r", b"p"

# The term that every deal has.
ANY_DEAL_TERM = "deal"


class ListRow(Struct, frozen=True, gc=False):
    """What a list filters by (terms, parted by spaces), searches in (titles), and shows, and what totals need.

    `state` is what the four are known by among the states of their deal: the first 64 bits of a hash of them. The last
    three are the deal's sum (`Plain`), where nobody has to look at it to add it up.
    """

    state: int
    terms: str
    title: str
    row: bytes
    totals: bytes
    kind: str | None
    amount: str | None
    pledges: int | None


class Rectangle(Struct, gc=False):
    """What was so of a deal for some days, as known for some time.

    It was so from `effective_from` until before `effective_to`, as known from `known_from` until before `known_to`.
    """

    clock: bytes
    deal: str
    effective_from: date
    effective_to: date
    known_from: int
    known_to: int
    what: ListRow


def listed(deal: Deal) -> ListRow:
    """A deal's state as the view keeps it."""
    parties = [p for p in deal.parties if p.left_on is None]
    row = list_item(deal)
    return _listed(_terms(deal, parties, row.places), _words(deal, parties), row, row_of(deal))


def _terms(deal: Deal, parties: Sequence[PartyState], places: Sequence[str]) -> str:
    terms = [f"sector:{sector}" for sector in deal.sectors]
    for party in parties:
        terms += (f"organization:{party.organization}", f"role:{party.role}", f"{party.role}:{party.organization}")
    for place in places:
        terms += (f"region:{place}", f"region:{place[:2]}")
    if deal.stage is not None:
        terms.append(f"stage:{deal.stage.value}")
    if deal.kind is not None:
        terms.append(f"kind:{deal.kind}")
    terms += [f"related:{relation.deal}" for relation in deal.relations]
    for pledge in deal.pledges:
        if pledge.status != "withdrawn":
            if pledge.commitment:
                terms.append(f"commitment:{pledge.commitment}")
            if pledge.amount:
                terms.append(f"currency:{pledge.amount.currency}")
    return " ".join(sorted(set(terms)))


def _words(deal: Deal, parties: Sequence[PartyState]) -> str:
    words = [deal.deal]
    for name in (deal.title, *[p.name for p in parties]):
        if name is not None:
            words += name.values()
    return " ".join(dict.fromkeys(words))


def _listed(terms: str, words: str, row: DealListItem, sums: DealRow) -> ListRow:
    found = terms, words, encode(row), encode_row(sums)
    hashed = b"%b%b%b" % (found[3], found[2], f"{terms}\n{words}".encode())
    state, plain = int.from_bytes(blake2b(hashed, digest_size=8).digest(), signed=True), simple_sum(sums)
    if plain is None:
        return ListRow(state, *found, None, None, None)
    return ListRow(state, *found, plain.kind, str(plain.amount), plain.pledges)


Segment = tuple[date, Deal]

# From which day what is listed; until the next one's day.
Span = tuple[date, ListRow]


def segments(
    history: FoldedStream[Deal], published: date | None = None, timeline: Timeline[Deal] | None = None
) -> list[Segment]:
    """From which day which state of the deal holds. A registration alone is known from its own date."""
    if history.record.merged_into is not None:
        return []
    found = (timeline or history.timeline).segments()
    registration = history.record.registration
    if registration is not None and AsOf(published_on=published).is_registered(registration):
        since = _registered_since(registration)
        if not found or since < found[0][0]:
            found.insert(0, (since, history.record.base))
    return found


# What lists and totals look at: of two states with the very same of all these, the same is listed.
_looked_at = attrgetter("title", "kind", "stage", "sectors", "parties", "sites", "pledges", "relations")


def _merge_spans(
    history: FoldedStream[Deal], spans: list[Span], found: Iterable[Segment], last: Deal | None = None
) -> list[Span]:
    """The spans, gone on with by segments; equal neighbours are one. `last` is the state of the last span, if known."""
    for since, folded in found:
        state = history.with_preferred_claims(folded)
        if last is None or not all(map(is_, _looked_at(last), _looked_at(state))):
            what = listed(state)
            if not spans or spans[-1][1] != what:
                spans.append((since, what))
        last = state
    return spans


class _SegmentCache:
    """How a deal's spans change from event to event: of a plain event only those that it can touch are drawn anew.

    `spans` are the last ones, or all of them (`whole`). A drawing is one history's: the next event's begins with it.
    """

    __slots__ = ("first", "latest", "spans", "whole")

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.whole = True
        # The days on which something of the deal was public first, and last.
        self.first = END_OF_TIME
        self.latest = date.min

    def all(self, history: FoldedStream[Deal]) -> list[Span]:
        """All spans of the history that this is the drawing of."""
        if not self.whole:
            self.spans, self.whole = _merge_spans(history, [], segments(history)), True
        return self.spans

    def before(self, day: date) -> int | None:
        """Which span holds on the day before; None when that is not among those that are kept."""
        for i in range(len(self.spans) - 1, -1, -1):
            if self.spans[i][0] < day:
                return i
        return None


def _drawing_of(history: FoldedStream[Deal]) -> _SegmentCache:
    """What is remembered of how a history was drawn, or what it takes to draw it."""
    if history.projection_state is None:
        drawing = history.projection_state = _SegmentCache()
        drawing.whole = not history.events
        days = [p.effective.published_on for p in history.timeline.steps]
        if history.record.registration is not None:
            days.append(history.record.registration.published_on)
        drawing.first, drawing.latest = min(days, default=END_OF_TIME), max(days, default=date.min)
    found: _SegmentCache = history.projection_state
    return found


_BOOKKEEPING_EVENTS = frozenset(BOOKKEEPING_TYPES)


def _is_plain(event: Recorded) -> bool:
    """Whether an event of the world was said: all that it can change holds from its own day on."""
    return event.event is not None and type(event.event) not in _BOOKKEEPING_EVENTS


def _day_of(history: FoldedStream[Deal], event: Recorded) -> date | None:
    """The day from which the history's event holds."""
    for placed in reversed(history.timeline.steps):
        if placed.effective.recorded.position == event.position:
            return placed.key[0]
    return None


def _changed(before: FoldedStream[Deal], after: FoldedStream[Deal], event: Recorded) -> tuple[list[Span], list[Span]]:
    """The spans that an event may have changed, as they were before it and as they are after it."""
    old, new = _drawing_of(before), _SegmentCache()
    new.first, new.latest = min(old.first, event.published_on), max(old.latest, event.published_on)
    day = _day_of(after, event) if _is_plain(event) else None
    kept = old.before(day) if day is not None else None
    if kept is None or day is None:
        was, now = old.all(before), _merge_spans(after, [], segments(after))
    else:
        was = old.spans[kept:]
        now = _merge_spans(after, was[:1], after.timeline.segments(day), after.at(day - ONE_DAY))
        new.whole = old.whole and kept == 0
    # Two are enough for the next event of a later day, or of the same one; they are kept with every history in memory.
    new.whole = new.whole and len(now) <= 2
    new.spans = now[-2:]
    after.projection_state = new
    return was, now


class _RectangleWriter:
    """The rectangles of one deal and clock while they are drawn.

    Opens and closes, remembering only what must be written.
    """

    def __init__(self, clock: bytes, deal: str) -> None:
        self.clock = clock
        self.deal = deal
        self.drawn: list[Rectangle] = []
        self._open: dict[date, Rectangle] = {}
        self.closed: list[tuple[date, int]] = []

    def advance(self, moved: _RectangleDelta, known: int) -> None:
        """From `known` on, this holds instead."""
        gone, new = moved
        for since in gone:
            mine = self._open.pop(since, None)
            if mine is None:
                self.closed.append((since, known))
            elif mine.known_from >= known:
                self.drawn.remove(mine)
            else:
                mine.known_to = known
        for since, until, what in new:
            opened = self._open[since] = Rectangle(self.clock, self.deal, since, until, known, MAX_POSITION, what)
            self.drawn.append(opened)


# The days from which something no longer holds, and what holds instead, with the day before which that ends.
_RectangleDelta = tuple[list[date], list[tuple[date, date, ListRow]]]


def _rectangle_delta(before: Sequence[Span], after: Sequence[Span]) -> _RectangleDelta:
    held = {since: (until, what) for since, until, what in _ends(before)}
    new = []
    for since, until, what in _ends(after):
        if held.get(since) == (until, what):
            del held[since]
        else:
            new.append((since, until, what))
    return list(held), new


def _ends(spans: Sequence[Span]) -> Iterator[tuple[date, date, ListRow]]:
    """Spans with the day before which each ends."""
    for i, (since, what) in enumerate(spans, 1):
        yield since, spans[i][0] if i < len(spans) else END_OF_TIME, what


def rectangles(history: FoldedStream[Deal]) -> list[Rectangle]:
    """All rectangles of a deal on both clocks."""
    if is_chronological(history):
        return _rectangles_in_order(history)
    return [*rectangles_recorded(history), *rectangles_published(history)]


def is_chronological(history: FoldedStream[Deal]) -> bool:
    """Whether what happened was recorded, published and in effect in one and the same order: most deals' histories.

    Then what is so once an event is recorded, or public, is what the fold makes of it and of those before it.
    """
    registration, steps = history.record.registration, history.timeline.steps
    if registration is None or history.record.claims or not all(map(_is_plain, history.events[1:])):
        return False
    places = [(p.key[0], p.effective.published_on, p.effective.recorded.position) for p in steps]
    return (
        not registration.recorded.erased
        and len(steps) == len(history.events) - 1
        and all(one[0] <= two[0] and one[1] <= two[1] and one[2] < two[2] for one, two in pairwise(places))
        and (
            not steps or (_registered_since(registration) < places[0][0] and registration.published_on <= places[0][1])
        )
    )


def _registered_since(registration: EffectiveEvent) -> date:
    """The day from which a registration alone is known."""
    return registration.effective_on or date.min


def _rectangles_in_order(history: FoldedStream[Deal]) -> list[Rectangle]:
    """The same on both clocks, but for the axis: drawn once, from the fold that is there."""
    registration = history.record.registration
    assert registration is not None
    recorded, published = _RectangleWriter(RECORDED, history.slug), _RectangleWriter(PUBLISHED, history.slug)
    drawing = _SegmentCache()
    drawing.spans = _merge_spans(history, [], [(_registered_since(registration), history.record.base)])
    moved = _rectangle_delta([], drawing.spans)
    recorded.advance(moved, registration.recorded.position)
    published.advance(moved, registration.published_on.toordinal())
    before = now = history.record.base
    today = date.min
    for placed, state in zip(history.timeline.steps, history.timeline.states, strict=True):
        day = placed.key[0]
        if day > today:
            before, today = now, day
        now = state
        kept = drawing.before(day)
        was = drawing.spans[kept:]
        drawing.spans[kept:] = _merge_spans(history, was[:1], [(day, state)], before)
        moved = _rectangle_delta(was, drawing.spans[kept:])
        recorded.advance(moved, placed.effective.recorded.position)
        published.advance(moved, placed.effective.published_on.toordinal())
    return [*recorded.drawn, *published.drawn]


def rectangles_recorded(history: FoldedStream[Deal]) -> list[Rectangle]:
    """All rectangles of a deal as the registry came to know it, replayed from its events."""
    board = _RectangleWriter(RECORDED, history.slug)
    replay: FoldedStream[Deal] = FoldedStream(history.slug, DEALS)
    drawing = _SegmentCache()
    for event in history.events:
        replay.append(event)
        day = _day_of(replay, event) if _is_plain(event) else None
        _recompute_from(board, drawing, event.position, replay, day, replay.timeline, None)
    return board.drawn


def _recompute_from(
    board: _RectangleWriter,
    drawing: _SegmentCache,
    known: int,
    history: FoldedStream[Deal],
    day: date | None,
    timeline: Timeline[Deal],
    published: date | None,
) -> None:
    """Draws what holds from `known` on, of which only what is so from `day` on may be new; None: anything may."""
    kept = drawing.before(day) if day is not None else None
    if kept is None or day is None:
        was, now = drawing.spans, _merge_spans(history, [], segments(history, published, timeline))
        drawing.spans = now
    else:
        was = drawing.spans[kept:]
        now = _merge_spans(
            history, was[:1], timeline.segments(day), history.with_preferred_claims(timeline.at(day - ONE_DAY))
        )
        drawing.spans[kept:] = now
    board.advance(_rectangle_delta(was, now), known)


def rectangles_published(history: FoldedStream[Deal]) -> list[Rectangle]:
    """All rectangles of a deal as the public came to know it, for the log as it is now."""
    board = _RectangleWriter(PUBLISHED, history.slug)
    record = history.record
    if record.merged_into is not None:
        return []
    facts = sorted(history.timeline.steps, key=lambda p: (p.effective.published_on, p.effective.recorded.position))
    registered = record.registration.published_on if record.registration else None
    days = sorted({p.effective.published_on for p in facts} | ({registered} if registered else set()))
    timeline: Timeline[Deal] = Timeline(DEALS, record.base)
    drawing = _SegmentCache()
    waiting = iter(facts)
    fact = next(waiting, None)
    for known in days:
        first: date | None = None
        while fact is not None and fact.effective.published_on <= known:
            timeline.insert(fact)
            first = min(first or date.max, fact.key[0])
            fact = next(waiting, None)
        # The registration may stand before all that was public until then.
        _recompute_from(
            board, drawing, known.toordinal(), history, None if known == registered else first, timeline, known
        )
    return board.drawn


class DealVersions:
    """The view behind lists, facets and totals at any point in time."""

    name = "deal_versions"
    tables = ("deal_versions", "deal_states", "deal_terms", "deal_titles")

    def start_batch(self) -> BatchProjector:
        return _DealRows()

    def delete_rows(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(FORGET, [history.slug for history in histories if history.rules is DEALS])

    def rebuild(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        _write(writes, [], {}, [history for history in histories if history.rules is DEALS])


class _DealRows:
    """The boards of the deals of a group, and what the view may not hold yet; or that a deal is drawn anew."""

    def __init__(self) -> None:
        self._boards: dict[str, tuple[_RectangleWriter, _RectangleWriter]] = {}
        self._fresh: dict[str, _NewListRows] = {}
        self._anew: dict[str, FoldedStream[Deal]] = {}

    def apply(self, step: AppliedChange) -> None:
        if step.recorded.kind != "deal":
            return
        deal = step.recorded.slug
        if deal in self._anew or step.erased or not _in_order(step):
            self._boards.pop(deal, None)
            self._fresh.pop(deal, None)
            self._anew[deal] = step.after
            return
        boards = self._boards.get(deal)
        if boards is None:
            boards = self._boards[deal] = _RectangleWriter(RECORDED, deal), _RectangleWriter(PUBLISHED, deal)
            self._fresh[deal] = _NewListRows(step.after)
        recorded, published = boards
        was, now = _changed(step.before, step.after, step.recorded)
        if was == now:
            return
        moved = _rectangle_delta(was, now)
        recorded.advance(moved, step.recorded.position)
        published.advance(moved, step.recorded.published_on.toordinal())
        self._fresh[deal].apply(now, was, step.recorded.position)

    def write(self, writes: WriteBatch) -> None:
        if self._anew:
            writes.add_prerequisite(FORGET, list(self._anew))
        drawn = [board for both in self._boards.values() for board in both]
        _write(writes, drawn, self._fresh, list(self._anew.values()))


def _in_order(step: AppliedChange) -> bool:
    """Whether the event is public last of all that is known of its deal.

    Then it closes and opens like a recorded one.
    """
    if not _is_plain(step.recorded):
        return not step.before.events
    return step.recorded.published_on >= _drawing_of(step.before).latest


class _NewListRows:
    """States of a deal that the view may not hold yet, and the titles and terms that came with them.

    Terms (parted by spaces) come with the first day from which they hold, and the position from which that is known.
    """

    __slots__ = ("history", "states", "terms", "titles")

    def __init__(self, history: FoldedStream[Deal]) -> None:
        self.history = history
        self.states: dict[int, ListRow] = {}
        self.terms: dict[str, tuple[date, int]] = {}
        self.titles: set[str] = set()

    def apply(self, now: Sequence[Span], held: Sequence[Span], known: int) -> None:
        """What is listed now, as recorded from `known` on, where `held` was before."""
        for span in now:
            if span in held:
                continue
            since, what = span
            if not any(what == other for _, other in held):
                self.states[what.state] = what
                if not any(what.title == other.title for _, other in held):
                    self.titles.add(what.title)
            earlier = [other.terms for day, other in held if day <= since]
            if what.terms in earlier:
                continue
            kept = {ANY_DEAL_TERM, *" ".join(earlier).split()} if earlier else ()
            self._since(
                " ".join(term for term in (ANY_DEAL_TERM, *what.terms.split()) if term not in kept), since, known
            )

    def add_all(self, rectangles: Iterable[Rectangle]) -> None:
        """All that is listed of the deal at any time."""
        for r in rectangles:
            self.states[r.what.state] = r.what
            self.titles.add(r.what.title)
            self._since(r.what.terms, r.effective_from, r.known_from if r.clock == RECORDED else MAX_POSITION)
        self.terms = {" ".join((ANY_DEAL_TERM, *terms.split())): since for terms, since in self.terms.items()}

    def _since(self, terms: str, day: date, known: int) -> None:
        first, position = self.terms.get(terms, (day, known))
        self.terms[terms] = min(first, day), min(position, known)


def _write(
    writes: WriteBatch,
    boards: Sequence[_RectangleWriter],
    fresh: dict[str, _NewListRows],
    anew: Sequence[FoldedStream[Deal]],
) -> None:
    """What was drawn from event to event, and the deals that are drawn anew."""
    drawn = [r for board in boards for r in board.drawn]
    for history in anew:
        found = rectangles(history)
        fresh[history.slug] = _NewListRows(history)
        fresh[history.slug].add_all(found)
        drawn += found
    closed = [(board.clock, board.deal, since, known) for board in boards for since, known in board.closed]
    if not drawn and not closed:
        return
    stated = [
        (deal, what.state, what.terms, what.title, what.row, what.totals)
        for deal, new in fresh.items()
        for what in new.states.values()
    ]
    termed = [
        (deal, terms, *since, _drawing_of(new.history).first.toordinal())
        for deal, new in fresh.items()
        for terms, since in new.terms.items()
    ]
    titled = [(deal, "\n".join(sorted(new.titles))) for deal, new in fresh.items() if new.titles]
    opened = [
        (
            r.clock,
            r.deal,
            r.effective_from,
            r.effective_to,
            r.known_from,
            r.known_to,
            r.what.state,
            r.what.kind,
            r.what.amount,
            r.what.pledges,
        )
        for r in drawn
    ]
    writes.add(WRITE, closed, stated, termed, titled, opened)


__all__ = [
    "DealListItem",
    "DealVersions",
    "ListRow",
    "Rectangle",
    "is_chronological",
    "listed",
    "rectangles",
    "rectangles_published",
    "rectangles_recorded",
    "segments",
]
