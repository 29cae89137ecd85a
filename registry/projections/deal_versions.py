"""Every deal at every point in time, for lists, facets and totals: the tables deal_versions and beside it.

deal_versions has the rectangles (effective × known) of each deal; deal_states what is in them, once for each state;
deal_terms the filter terms, deal_titles the searchable titles that a deal ever had. `deal_lists.py` and
`deal_totals.py` read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from registry.domain.deal import Deal
from registry.domain.fold import DEALS
from registry.domain.history import FoldedStream
from registry.events.write_batch import WriteBatch
from registry.projections.list_rows import ANY_DEAL_TERM, ListRow
from registry.projections.projection import AppliedChange, BatchProjector
from registry.projections.rectangles import (
    MAX_POSITION,
    PUBLISHED,
    RECORDED,
    Rectangle,
    RectangleWriter,
    Span,
    changed_spans,
    is_plain,
    rectangles,
    span_cache,
    span_delta,
)

# A rectangle that closes at the position or on the day on which it opened is deleted, and another one may take its
# key in the same statement. Reading the count of deleted rows makes Postgres delete before it inserts.
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
    SELECT deal, state, string_to_array(terms, E'\n'), title, row, totals
      FROM unnest($2::new_deal_state[])
    ON CONFLICT (deal, state) DO NOTHING
), termed AS (
    INSERT INTO deal_terms AS t (term, deal, effective_from, recorded_from, published_from)
    SELECT term, deal, min(effective_from), min(recorded_from), min(published_from)
      FROM unnest($3::new_deal_terms[]),
           unnest(string_to_array(terms, E'\n')) AS u (term)
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

# deal_terms is keyed by term; the deal's states have its terms.
DELETE = """
WITH versions AS (DELETE FROM deal_versions WHERE deal = ANY ($1::text[])),
     titles AS (DELETE FROM deal_titles WHERE deal = ANY ($1::text[])),
     states AS (DELETE FROM deal_states WHERE deal = ANY ($1::text[]) RETURNING deal, terms)
DELETE FROM deal_terms AS t
 USING (SELECT DISTINCT deal, unnest(terms || 'deal'::text) AS term FROM states) AS s
 WHERE t.term = s.term AND t.deal = s.deal
"""


class DealVersions:
    """The projection behind lists, facets and totals at any point in time."""

    name = "deal_versions"
    tables = ("deal_versions", "deal_states", "deal_terms", "deal_titles")

    def start_batch(self) -> BatchProjector:
        """Start the changes of one batch."""
        return _DealBatch()

    def delete_rows(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Delete the rows of these deals before anything else is written."""
        writes.add_prerequisite(DELETE, [stream.slug for stream in streams if stream.rules is DEALS])

    def rebuild(self, streams: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        """Insert all rows of these deals."""
        _write(writes, [], {}, [stream for stream in streams if stream.rules is DEALS])


class _DealBatch:
    """What the events of a batch change in the rows of their deals.

    A deal with an event that is not the last to be published, or with a redaction, is rebuilt.
    """

    def __init__(self) -> None:
        self._writers: dict[str, tuple[RectangleWriter, RectangleWriter]] = {}
        self._new_rows: dict[str, _NewListRows] = {}
        self._rebuilt: dict[str, FoldedStream[Deal]] = {}

    def apply(self, change: AppliedChange) -> None:
        """Add an event."""
        if change.recorded.kind != "deal":
            return
        deal = change.recorded.slug
        if deal in self._rebuilt or change.erased or not _is_latest(change):
            self._writers.pop(deal, None)
            self._new_rows.pop(deal, None)
            self._rebuilt[deal] = change.after
            return
        writers = self._writers.get(deal)
        if writers is None:
            writers = self._writers[deal] = RectangleWriter(RECORDED, deal), RectangleWriter(PUBLISHED, deal)
            self._new_rows[deal] = _NewListRows(change.after)
        recorded, published = writers
        before, after = changed_spans(change.before, change.after, change.recorded)
        if before == after:
            return
        delta = span_delta(before, after)
        recorded.advance(delta, change.recorded.position)
        published.advance(delta, change.recorded.published_on.toordinal())
        self._new_rows[deal].add(after, before, change.recorded.position)

    def write(self, writes: WriteBatch) -> None:
        """Add the changes to what the transaction writes."""
        if self._rebuilt:
            writes.add_prerequisite(DELETE, list(self._rebuilt))
        writers = [writer for both in self._writers.values() for writer in both]
        _write(writes, writers, self._new_rows, list(self._rebuilt.values()))


def _is_latest(change: AppliedChange) -> bool:
    """Whether the event was published after all others of its deal, so that both axes change in the same way."""
    if not is_plain(change.recorded):
        return not change.before.events
    return change.recorded.published_on >= span_cache(change.before).latest


class _NewListRows:
    """Rows, titles and terms of a deal that the tables may not have yet.

    A key of `terms` holds terms separated by line breaks, its value the first day and position from which the deal has
    them.
    """

    __slots__ = ("rows", "stream", "terms", "titles")

    def __init__(self, stream: FoldedStream[Deal]) -> None:
        self.stream = stream
        self.rows: dict[int, ListRow] = {}
        self.terms: dict[str, tuple[date, int]] = {}
        self.titles: set[str] = set()

    def add(self, after: Sequence[Span], before: Sequence[Span], known: int) -> None:
        """Add what the spans `after` have, as known from `known` on, and the spans `before` do not."""
        for span in after:
            if span in before:
                continue
            since, row = span
            if not any(row == other for _, other in before):
                self.rows[row.state] = row
                if not any(row.title == other.title for _, other in before):
                    self.titles.add(row.title)
            earlier = [other.terms for day, other in before if day <= since]
            if row.terms in earlier:
                continue
            stored = {ANY_DEAL_TERM, *"\n".join(earlier).splitlines()} if earlier else ()
            new = [term for term in (ANY_DEAL_TERM, *row.terms.splitlines()) if term not in stored]
            self._add_terms("\n".join(new), since, known)

    def add_all(self, rectangles: Iterable[Rectangle]) -> None:
        """Add what all rectangles of the deal have."""
        for rectangle in rectangles:
            row = rectangle.row
            self.rows[row.state] = row
            self.titles.add(row.title)
            known = rectangle.known_from if rectangle.clock == RECORDED else MAX_POSITION
            self._add_terms(row.terms, rectangle.effective_from, known)
        self.terms = {"\n".join((ANY_DEAL_TERM, *terms.splitlines())): since for terms, since in self.terms.items()}

    def _add_terms(self, terms: str, day: date, known: int) -> None:
        first, position = self.terms.get(terms, (day, known))
        self.terms[terms] = min(first, day), min(position, known)


def _write(
    writes: WriteBatch,
    writers: Sequence[RectangleWriter],
    new_rows: dict[str, _NewListRows],
    rebuilt: Sequence[FoldedStream[Deal]],
) -> None:
    """Add the changes of some deals, and all rows of the rebuilt ones, to what the transaction writes."""
    opened = [rectangle for writer in writers for rectangle in writer.rectangles]
    for stream in rebuilt:
        of_stream = rectangles(stream)
        new_rows[stream.slug] = _NewListRows(stream)
        new_rows[stream.slug].add_all(of_stream)
        opened += of_stream
    closed = [(writer.clock, writer.deal, since, known) for writer in writers for since, known in writer.closed]
    if not opened and not closed:
        return
    states = [
        (deal, row.state, row.terms, row.title, row.row, row.totals)
        for deal, new in new_rows.items()
        for row in new.rows.values()
    ]
    terms = [
        (deal, terms, *since, span_cache(new.stream).first.toordinal())
        for deal, new in new_rows.items()
        for terms, since in new.terms.items()
    ]
    titles = [(deal, "\n".join(sorted(new.titles))) for deal, new in new_rows.items() if new.titles]
    versions = [
        (
            r.clock,
            r.deal,
            r.effective_from,
            r.effective_to,
            r.known_from,
            r.known_to,
            r.row.state,
            r.row.kind,
            r.row.amount,
            r.row.pledges,
        )
        for r in opened
    ]
    writes.add(WRITE, closed, states, terms, titles, versions)
