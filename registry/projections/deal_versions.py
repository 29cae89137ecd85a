"""Every deal at every point in time: rectangles [effective) × [known) with what lists and totals need.

Two clocks are kept: what the registry knew (the known axis is the log's position) and what was public (it is a day,
for the log as it is now). A new event closes the rectangles that it makes untrue and opens the ones that hold from
then on; nothing is read to do so, since the open ones follow from the deal's history before it. Rectangles of one
deal and clock never overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct

from registry.domain.deal import Deal
from registry.domain.history import DEALS, History, Timeline, registered_by
from registry.domain.totals import encode_row, row_of
from registry.events.store import Connection
from registry.events.types import RECORDS_OWN, Localized
from registry.projections.projection import Step

# `infinity` of the two axes: behind every date and every position.
FOREVER = date.max
OPEN = 2**62

CLOSE = """
UPDATE deal_versions AS v
   SET known_to = c.known
  FROM unnest($1::"char"[], $2::text[], $3::date[], $4::bigint[]) AS c (clock, deal, effective_from, known)
 WHERE v.clock = c.clock AND v.deal = c.deal AND v.effective_from = c.effective_from
   AND v.known_to = 4611686018427387904
   AND v.known_from < c.known
"""

# A rectangle that was opened on the very day (or position) on which it would close was never true.
DROP = """
DELETE FROM deal_versions AS v
 USING unnest($1::"char"[], $2::text[], $3::date[], $4::bigint[]) AS c (clock, deal, effective_from, known)
 WHERE v.clock = c.clock AND v.deal = c.deal AND v.effective_from = c.effective_from
   AND v.known_to = 4611686018427387904
   AND v.known_from >= c.known
"""

ADD = """
INSERT INTO deal_versions (clock, deal, effective_from, effective_to, known_from, known_to, terms, title, row, totals)
SELECT clock, deal, effective_from, effective_to, known_from, known_to, string_to_array(terms, ' '), title, row, totals
  FROM unnest($1::"char"[], $2::text[], $3::date[], $4::date[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
              $9::bytea[], $10::bytea[])
       AS r (clock, deal, effective_from, effective_to, known_from, known_to, terms, title, row, totals)
"""

FORGET = """
DELETE FROM deal_versions
 WHERE deal = ANY ($1::text[]) AND clock = ANY ($2::"char"[])
"""

RECORDED, PUBLISHED = b"r", b"p"


class ListedPledge(Struct, frozen=True, omit_defaults=True):
    """A pledge as lists and totals need it."""

    pledge: str
    amount: Any
    amount_basis: str | None
    commitment: str | None
    status: str
    by: tuple[str, ...]
    announced_on: date
    until: str | None = None


class ListedDeal(Struct, frozen=True, omit_defaults=True):
    """A deal as a list shows it."""

    deal: str
    title: Localized | None
    kind: str | None
    stage: Any
    sectors: tuple[str, ...]
    organizations: tuple[str, ...]
    places: tuple[str, ...]
    pledges: tuple[ListedPledge, ...]
    relations: Any


class Rectangle(Struct):
    """What was so of a deal in [effective_from, effective_to), as known in [known_from, known_to)."""

    clock: bytes
    deal: str
    effective_from: date
    effective_to: date
    known_from: int
    known_to: int
    terms: str
    title: str
    row: bytes
    totals: bytes


_encode = msgspec.json.Encoder().encode


# What a list filters by (terms, parted by spaces), searches in (titles), and shows, and what totals need.
Listed = tuple[str, str, bytes, bytes]


def listed(deal: Deal) -> Listed:
    """A deal's state as the view keeps it."""
    terms = {f"sector:{s}" for s in deal.sectors}
    organizations = dict.fromkeys(p.organization for p in deal.parties if p.left_on is None)
    for party in deal.parties:
        if party.left_on is None:
            terms |= {f"organization:{party.organization}", f"role:{party.role}", f"{party.role}:{party.organization}"}
    places = tuple(dict.fromkeys(s.place for s in deal.sites if s.place and s.status != "dropped"))
    for place in places:
        terms |= {f"region:{place}", f"region:{place[:2]}"}
    if deal.stage is not None:
        terms |= {f"stage:{deal.stage.value}"}
    if deal.kind is not None:
        terms |= {f"kind:{deal.kind}"}
    terms |= {f"related:{relation.deal}" for relation in deal.relations}
    pledges = []
    for pledge in deal.pledges:
        if pledge.status != "withdrawn":
            if pledge.commitment:
                terms.add(f"commitment:{pledge.commitment}")
            if pledge.amount:
                terms.add(f"currency:{pledge.amount.currency}")
        pledges.append(
            ListedPledge(
                pledge.pledge,
                pledge.amount,
                pledge.amount_basis,
                pledge.commitment,
                pledge.status,
                pledge.by,
                pledge.announced_on,
                pledge.horizon.until if pledge.horizon else None,
            )
        )
    title = deal.title
    row = ListedDeal(
        deal.deal,
        title,
        deal.kind,
        deal.stage,
        deal.sectors,
        tuple(organizations),
        places,
        tuple(pledges),
        deal.relations,
    )
    words = " ".join(t for t in (deal.deal, title and title.ko, title and title.en) if t)
    return " ".join(sorted(terms)), words, _encode(row), encode_row(row_of(deal))


Segment = tuple[date, Deal]


def segments(
    history: History[Deal], published: date | None = None, timeline: Timeline[Deal] | None = None
) -> list[Segment]:
    """From which day which state of the deal holds. A registration alone is known from its own date."""
    if history.record.merged_into is not None:
        return []
    found = (timeline or history.timeline).segments()
    registration = history.record.registration
    if registration is not None and registered_by(registration, None, published):
        since = registration.effective_on or date.min
        if not found or since < found[0][0]:
            found.insert(0, (since, history.record.base))
    return found


def _spans(history: History[Deal], found: Sequence[Segment]) -> list[tuple[date, date, Listed]]:
    """Segments as half-open spans with what is listed, equal neighbours joined."""
    spans: list[tuple[date, date, Listed]] = []
    for since, state in found:
        what = listed(history.shown(state))
        if spans and spans[-1][2] == what:
            continue
        if spans:
            spans[-1] = (spans[-1][0], since, spans[-1][2])
        spans.append((since, FOREVER, what))
    return spans


def _known(history: History[Deal]) -> dict[tuple[date, date], Listed]:
    return {(a, b): what for a, b, what in _spans(history, segments(history))}


class _Board:
    """The rectangles of one deal and clock while they are drawn.

    Opens and closes, remembering only what must be written.
    """

    def __init__(self, clock: bytes, deal: str) -> None:
        self.clock = clock
        self.deal = deal
        self.drawn: list[Rectangle] = []
        self._open: dict[date, Rectangle] = {}
        self.closed: list[tuple[date, int]] = []

    def move(
        self,
        before: dict[tuple[date, date], Listed],
        after: dict[tuple[date, date], Listed],
        known: int,
    ) -> None:
        """From `known` on, `after` holds instead of `before`."""
        for span, what in before.items():
            if after.get(span) == what:
                continue
            mine = self._open.pop(span[0], None)
            if mine is None:
                self.closed.append((span[0], known))
            elif mine.known_from >= known:
                self.drawn.remove(mine)
            else:
                mine.known_to = known
        for span, what in after.items():
            if before.get(span) == what:
                continue
            terms, title, row, totals = what
            opened = Rectangle(self.clock, self.deal, *span, known, OPEN, terms, title, row, totals)
            self._open[span[0]] = opened
            self.drawn.append(opened)


def rectangles_recorded(history: History[Deal]) -> list[Rectangle]:
    """All rectangles of a deal as the registry came to know it, replayed from its events."""
    board = _Board(RECORDED, history.slug)
    replay: History[Deal] = History(history.slug, DEALS)
    known: dict[tuple[date, date], Listed] = {}
    for event in history.events:
        replay.append(event)
        now = _known(replay)
        board.move(known, now, event.position)
        known = now
    return board.drawn


def rectangles_published(history: History[Deal]) -> list[Rectangle]:
    """All rectangles of a deal as the public came to know it, for the log as it is now."""
    board = _Board(PUBLISHED, history.slug)
    record = history.record
    facts = sorted(history.timeline.steps, key=lambda p: (p.reading.published_on, p.reading.recorded.position))
    days = sorted(
        {p.reading.published_on for p in facts} | ({record.registration.published_on} if record.registration else set())
    )
    timeline: Timeline[Deal] = Timeline(DEALS, record.base)
    known: dict[tuple[date, date], Listed] = {}
    waiting = iter(facts)
    fact = next(waiting, None)
    for day in days:
        arrived = []
        while fact is not None and fact.reading.published_on <= day:
            arrived.append(fact)
            fact = next(waiting, None)
        timeline.extend(arrived)
        now = {(a, b): what for a, b, what in _spans(history, segments(history, day, timeline))}
        board.move(known, now, day.toordinal())
        known = now
    return board.drawn


def _columns(rectangles: Sequence[Rectangle]) -> list[list[Any]]:
    return [list(column) for column in zip(*(msgspec.structs.astuple(r) for r in rectangles), strict=True)]


class DealVersions:
    """The view behind lists, facets and totals at any point in time."""

    name = "deal_versions"
    tables = ("deal_versions",)

    async def apply(self, connection: Connection, steps: Sequence[Step]) -> None:
        boards: dict[tuple[bytes, str], _Board] = {}
        anew: dict[tuple[bytes, str], History[Deal]] = {}
        for step in steps:
            if step.recorded.kind != "deal":
                continue
            deal = step.recorded.slug
            for clock, known, in_order in (
                (RECORDED, step.recorded.position, True),
                (PUBLISHED, step.recorded.published_on.toordinal(), _in_order(step)),
            ):
                if (clock, deal) in anew or step.erased or not in_order:
                    boards.pop((clock, deal), None)
                    anew[clock, deal] = step.after
                else:
                    before, after = _changed(step.before, step.after, step.recorded)
                    boards.setdefault((clock, deal), _Board(clock, deal)).move(before, after, known)
        await _write(connection, list(boards.values()), anew)

    async def forget(self, connection: Connection, histories: Sequence[History[Any]]) -> None:
        deals = [history.slug for history in histories if history.rules is DEALS]
        await connection.execute(FORGET, deals, [RECORDED, PUBLISHED])

    async def rebuild(self, connection: Connection, histories: Sequence[History[Any]]) -> None:
        drawn = [
            rectangle
            for history in histories
            if history.rules is DEALS
            for rectangle in (*rectangles_recorded(history), *rectangles_published(history))
        ]
        if drawn:
            await connection.execute(ADD, *_columns(drawn))


def _changed(
    before: History[Deal], after: History[Deal], event: Any
) -> tuple[dict[tuple[date, date], Listed], dict[tuple[date, date], Listed]]:
    """What was listed before and after an event.

    The spans that end before a plain event's own day are the same in both: only the ones that it can touch are drawn,
    so that a long history costs no more than a short one.
    """
    plain = not isinstance(event.event, RECORDS_OWN) and event.event is not None and len(before.events) > 0
    if not plain:
        return _known(before), _known(after)
    position = next((p for p in reversed(after.timeline.steps) if p.happened.id == event.id), None)
    since = position.key[0] if position else date.min
    return _tail(before, since), _tail(after, since)


def _tail(history: History[Deal], since: date) -> dict[tuple[date, date], Listed]:
    """The spans from the one that holds on the day before `since`."""
    return {span: what for span, what in _known(history).items() if span[1] >= since}


def _in_order(step: Step) -> bool:
    """Whether the event is public last of all that is known of its deal.

    Then it closes and opens like a recorded one.
    """
    if isinstance(step.recorded.event, RECORDS_OWN) or step.recorded.event is None:
        return not step.before.events
    latest = max((p.reading.published_on for p in step.before.timeline.steps), default=date.min)
    registration = step.before.record.registration
    if registration is not None:
        latest = max(latest, registration.published_on)
    return step.recorded.published_on >= latest


async def _write(
    connection: Connection, boards: Sequence[_Board], anew: dict[tuple[bytes, str], History[Deal]]
) -> None:
    drawn = [r for board in boards for r in board.drawn]
    closed = [(board.clock, board.deal, since, known) for board in boards for since, known in board.closed]
    if closed:
        columns = [list(c) for c in zip(*closed, strict=True)]
        await connection.execute(DROP, *columns)
        await connection.execute(CLOSE, *columns)
    if anew:
        for clock in (RECORDED, PUBLISHED):
            deals = [deal for c, deal in anew if c == clock]
            if deals:
                await connection.execute(FORGET, deals, [clock])
        for (clock, _), history in anew.items():
            drawn += rectangles_recorded(history) if clock == RECORDED else rectangles_published(history)
    if drawn:
        await connection.execute(ADD, *_columns(drawn))


__all__ = [
    "DealVersions",
    "ListedDeal",
    "Rectangle",
    "listed",
    "rectangles_published",
    "rectangles_recorded",
    "segments",
]
