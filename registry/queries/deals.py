"""The questions: a deal at a point in time, its history and what explains it, the portfolio, the log.

Every answer carries the position it was computed at: ask again with it, get the same. The reader decides nothing and
writes nothing; what is so follows from the events by `domain/history.py`, and lists come from the views that follow
from them.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, get_args
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from registry.domain import audit, totals
from registry.domain.assessment import assess, flags_by_event, last_published
from registry.domain.audit import ChangePoint
from registry.domain.deal import Deal
from registry.domain.deduplication import Suggestion, suggest_duplicates
from registry.domain.history import DEALS, ORGANIZATIONS, AsOf, EffectiveEvent, FoldedStream, StateAsOf, state_as_of
from registry.domain.organization import Organization, ultimate_parents
from registry.domain.plausibility import Flag
from registry.domain.rates import reference_rates
from registry.domain.stages import inactivity
from registry.errors import MergedInto, NotFound
from registry.events import store
from registry.events.store import Head, Pool, StoredEvent
from registry.events.types import Control, Recorded, Role
from registry.projections import event_index, organizations
from registry.projections.stream_cache import StreamCache, fold_stream
from registry.queries import answers
from registry.queries.answers import encode, encode_partial, pre_encode

# The state of a deal that a clock shows at a point in time: one rectangle at most. Written so that it is looked up deal
# by deal, in the order of the page, and no further than the page goes; and the rectangle before the state.
_STATE = """
              SELECT state
                FROM deal_versions
               WHERE clock = $1::"char" AND deal = d.deal
                 AND effective_from <= $2 AND effective_to > $2
                 AND known_from <= $3 AND known_to > $3"""

_AT_A_TIME = f"""
       JOIN LATERAL (
           SELECT terms, title, row
             FROM deal_states
            WHERE deal = d.deal AND state = ({_STATE}
                LIMIT 1)
            LIMIT 1
       ) AS s ON true
"""  # noqa: S608 - put together from constants

# Whether it is of use to look at that time whether a deal has a term.
_SINCE = """effective_from <= $2
           AND CASE $1::"char" WHEN 'r' THEN recorded_from ELSE published_from END <= $3"""

# Which deals a search can find at any time. More are not listed: a page of them is soon full.
FOUND = """
SELECT deal FROM deal_titles WHERE titles ILIKE $1 LIMIT 2001
"""
FOUND_AT_MOST = 2000

# What narrows further among which deals is looked, where it can be said: by alternatives of which one is enough, by the
# deals that a search found, or by whether a deal's titles would be found, which is looked up deal by deal.
_ONE_OF = "deal = ANY (ARRAY(SELECT deal FROM deal_terms WHERE term = ANY ($7)))"
_FOUND = "deal = ANY ($8)"
_LOOKED_UP = "(SELECT titles ILIKE $9 FROM deal_titles WHERE deal = d.deal)"


@cache
def list_statement(*, descending: bool, any_of: bool, found: bool, searched: bool) -> str:
    """The statement of a page of deals, whose arguments `page_of` knows.

    Deals are looked through in the order of the page until it is full, those that ever had one of the terms: the one
    whose deals are furthest apart there; all where no term is asked for. A statement for each way to narrow them: one
    that fits all asks no index.
    """
    beyond, order, last = ("deal < $4", "DESC", "ASC") if descending else ("deal > $4", "ASC", "DESC")
    among = [beyond, _SINCE, *([_ONE_OF] if any_of else []), *([_FOUND] if found else [])]
    return f"""
SELECT d.deal, s.row
  FROM (
        SELECT deal
          FROM deal_terms
         WHERE term = coalesce((
                   SELECT term
                     FROM unnest($6::text[]) AS w (term)
                    ORDER BY (SELECT deal FROM deal_terms WHERE term = w.term AND {beyond}
                               ORDER BY deal {order} OFFSET 100 LIMIT 1) {last} NULLS FIRST
                    LIMIT 1), 'deal')
           AND {" AND ".join(among)}
         ORDER BY deal {order}
       ) AS d
{_AT_A_TIME}
 WHERE (SELECT count(*) FROM deal_terms WHERE term = ANY ($6) AND deal = d.deal) = cardinality($6)
   AND {_LOOKED_UP if searched and not found else "true"}
   AND s.terms @> $6
   AND ($7::text[] IS NULL OR s.terms && $7)
   AND ($8::text[] IS NULL OR d.deal = ANY ($8))
   AND ($9::text IS NULL OR s.title ILIKE $9)
 ORDER BY d.deal {order}
 LIMIT $5
"""  # noqa: S608 - put together from constants


def page_of(
    point: tuple[bytes, date, int],
    after: str,
    limit: int,
    terms: Sequence[str] = (),
    any_of: Sequence[str] | None = None,
    found: Sequence[str] | None = None,
    pattern: str | None = None,
    *,
    descending: bool = False,
) -> tuple[str, tuple[Any, ...]]:
    """The statement of a page of deals, and its arguments.

    The deals are those behind `after` that have all of the terms, and one of `any_of`; and a title that fits the
    pattern, among the `found` ones where they are listed.
    """
    statement = list_statement(
        descending=descending, any_of=any_of is not None, found=found is not None, searched=pattern is not None
    )
    # Behind every slug comes '~'.
    return statement, (*point, after or ("~" if descending else ""), limit, terms, any_of, found, pattern)


FACETS = """
SELECT term, count(*) AS deals
  FROM deal_versions JOIN deal_states USING (deal, state), unnest(terms) AS t (term)
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
   AND ($4::text[] IS NULL OR terms @> $4)
   AND ($5::text IS NULL OR title ILIKE $5)
   AND ($6::text[] IS NULL OR terms && $6)
 GROUP BY term
 ORDER BY term
"""

TOTALS = """
SELECT terms, totals
  FROM deal_versions JOIN deal_states USING (deal, state)
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
"""

ROLES = f"""
SELECT s.terms, s.row
  FROM (
        SELECT DISTINCT deal
          FROM deal_terms
         WHERE term = ANY ($4::text[]) AND {_SINCE}
         ORDER BY deal
       ) AS d
{_AT_A_TIME}
 WHERE s.terms && $4
 ORDER BY d.deal
 LIMIT $5
"""  # noqa: S608 - put together from constants

# The same in three looks, where sums say enough: the deals that have to be looked at, the first of the others, which
# are listed, and the sums of all the rest, a look through the rectangles alone.
TOTALS_APART = """
SELECT deal, totals
  FROM deal_versions JOIN deal_states USING (deal, state)
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
   AND (kind IS NULL OR deal = ANY ($4::text[]))
"""

TOTALS_FIRST = f"""
SELECT d.deal, s.totals
  FROM (SELECT deal FROM deal_terms WHERE term = 'deal' AND {_SINCE} ORDER BY deal) AS d
       JOIN LATERAL (
           SELECT totals
             FROM deal_states
            WHERE deal = d.deal AND state = ({_STATE}
                 AND kind > ''
                LIMIT 1)
            LIMIT 1
       ) AS s ON true
 WHERE d.deal <> ALL ($4::text[])
 ORDER BY d.deal
 LIMIT $5
"""  # noqa: S608 - put together from constants

TOTALS_REST = """
SELECT kind, sum(amount) AS amount, sum(pledges)::int AS pledges
  FROM deal_versions
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
   AND kind > '' AND deal <> ALL ($4::text[]) AND deal > $5
 GROUP BY kind
"""

# What was so at any time, as known at a point: of every deal, or (`$3`) only where sums say too little, and of these.
SPANS = """
SELECT effective_from, effective_to, terms, totals
  FROM deal_versions JOIN deal_states USING (deal, state)
 WHERE clock = $1::"char" AND known_from <= $2 AND known_to > $2
   AND (NOT $3 OR kind IS NULL OR deal = ANY ($4::text[]))
 LIMIT $5
"""

# How the sums of all the others change up to each of some days: one look through the rectangles, however many days.
STEPS = """
SELECT step, kind, sum(more) AS amount, sum(many)::int AS pledges
  FROM deal_versions AS v,
       LATERAL (
           VALUES (width_bucket(effective_from - 1, $4::date[]), amount, pledges),
                  (width_bucket(effective_to - 1, $4::date[]), -amount, -pledges)
       ) AS s (step, more, many)
 WHERE clock = $1::"char" AND known_from <= $2 AND known_to > $2 AND kind LIKE $3 AND deal <> ALL ($5::text[])
   AND step < cardinality($4::date[])
 GROUP BY step, kind
 ORDER BY step
"""

TURNS = """
SELECT DISTINCT effective_from AS day
  FROM deal_versions
 WHERE clock = $1::"char" AND known_from <= $2 AND known_to > $2
   -- A registration without a day holds from ever: that is no day on which something came to be so.
   AND effective_from > '0001-01-01'
 ORDER BY day DESC
 LIMIT $3
"""

PUBLIC_TURNS = """
SELECT DISTINCT known_from AS day
  FROM deal_versions
 WHERE clock = 'p'
 ORDER BY day DESC
 LIMIT $1
"""

INCOMING = f"""
SELECT d.deal, s.row
  FROM (SELECT deal FROM deal_terms WHERE term = 'related:' || $4 ORDER BY deal) AS d
{_AT_A_TIME}
 WHERE s.terms @> ARRAY['related:' || $4]
 ORDER BY d.deal
"""  # noqa: S608 - put together from constants


# The events that put an organization under another, or make its record lead to another.
MERGES = ("organization_merged",)
KINSHIP = ("parent_set", *MERGES)

# The views' spans end before `date.max` and before 2**62, which stand for "for ever" (asyncpg writes the first as
# infinity).
LAST_DAY = date.max - timedelta(days=1)
LAST_POSITION = 2**62 - 1


class EncodedResponse(Struct, frozen=True):
    """An answer's bytes, with what its headers say.

    Its ETag, whether it is fixed for ever, and the log's point it stands for.
    """

    body: bytes
    etag: str
    final: bool
    position: int
    recorded_at: datetime | None


class CachedState(Struct, frozen=True):
    """A deal's state as it is answered, but for the day that was asked for and what follows from it.

    `of` is what it is the state of: a stream's end, and how many of its events are in effect; None where it is no use
    to keep it. With the last day on which something of it was published, and the furthest from which an event holds.
    """

    of: tuple[bytes | None, int] | None
    answer: Any
    remarks: Any
    published: date | None
    ahead: date | None


class Page(Struct, frozen=True):
    """A page of deals: the rows as JSON, and where the next page begins."""

    rows: list[msgspec.Raw]
    next: str | None


class Span(Struct, frozen=True):
    """What totals need of a deal from a day until before another."""

    since: date
    until: date
    terms: list[str]
    row: totals.DealRow


class DealQueries:
    """Answers from the primary, or from a replica when one is given that is far enough along."""

    def __init__(self, pool: Pool, replicas: Sequence[Pool] = ()) -> None:
        self.pool = pool
        self._replicas = replicas
        self.histories = StreamCache()
        # One answer a deal: what is erased by law must not linger behind a newer one.
        self._answers: OrderedDict[str, tuple[bytes, date, EncodedResponse]] = OrderedDict()
        # And one state a deal, the one asked for last, as it is answered on any of the days in which it holds.
        self._lasting: OrderedDict[str, CachedState] = OrderedDict()

    def reads(self) -> Pool:
        """Where reads go: any replica, else the primary."""
        return random.choice(self._replicas) if self._replicas else self.pool  # noqa: S311 - spreads load, guards nothing

    # --- one deal -----------------------------------------------------------------------------------------------------

    async def deal_now(self, slug: str, today: date) -> EncodedResponse:
        """A deal as it is today, as far as is known. One look at the stream's head, and the answer that it had then."""
        pool = self.reads()
        end, _ = await self.histories.heads(pool).of_stream(f"deal/{slug}")
        if end is None:
            raise no_deal(slug)
        known = self._answers.get(slug)
        if known is not None and known[0] == end[1] and known[1] == today:
            self._answers.move_to_end(slug)
            return known[2]
        answer = await self.deal(slug, AsOf(), today)
        self._answers[slug] = (end[1], today, answer)
        if len(self._answers) > 10_000:
            self._answers.popitem(last=False)
        return answer

    async def deal(self, slug: str, clocks: AsOf, today: date) -> EncodedResponse:
        """A deal as of a point in time. Raises NotFound, in words, and Moved for a merged one."""
        history, log = await self.histories.load_current(self.reads(), f"deal/{slug}")
        if history is None:
            raise no_deal(slug)
        asked = _on(clocks, today)
        seen = history.state_as_of(asked)
        state = _known(slug, history, seen, asked)
        day = asked.effective_on or today
        lasting = self._cached_state(history, seen, state, clocks, day)
        quiet = inactivity(state.stage, lasting.published, day)
        answer = replace(
            lasting.answer,
            effective_on=day,
            published_on=clocks.published_on,
            recorded_at=clocks.recorded_at,
            remarks=replace(lasting.remarks, quiet=quiet),
        )
        last = seen.readings[-1].recorded
        # What lies ahead makes the answer another one on another day, and so does silence where no day was asked for.
        silent = clocks.effective_on is None and quiet is not None
        passing = silent or (lasting.ahead is not None and lasting.ahead > day)
        etag = f"{seen.version};{day}" if passing else f"{seen.version}"
        if answer.erased:
            etag += f";erased={answer.erased}"
        return EncodedResponse(
            encode_partial(answer),
            f'"{etag}"',
            clocks.effective_on is not None and is_immutable(clocks, log),
            last.position,
            last.recorded_at,
        )

    def _cached_state(
        self, history: FoldedStream[Deal], seen: StateAsOf[Deal], state: Deal, clocks: AsOf, day: date
    ) -> CachedState:
        """What is answered of a state: the fold of the same events of a history that is kept is always the same."""
        of = (history.leaf_hash, len(seen.steps)) if seen.assessment_cache is not None else None
        known = self._lasting.get(history.slug)
        if of is not None and known is not None and known.of == of:
            self._lasting.move_to_end(history.slug)
            return known
        concluded = assess(seen, state, reference_rates())
        # What lies ahead makes the answer another one on another day.
        ahead = [r.effective_on for r in seen.readings if r.is_in_force and r.effective_on is not None]
        found = CachedState(
            of,
            pre_encode(answers.deal_answer(state, seen, clocks, day)),
            pre_encode(concluded),
            last_published(seen),
            max(ahead, default=None),
        )
        if of is not None:
            self._lasting[history.slug] = found
            if len(self._lasting) > 10_000:
                self._lasting.popitem(last=False)
        return found

    async def history(self, slug: str) -> FoldedStream[Deal]:
        """A deal's events, folded. Raises NotFound."""
        history, _ = await self.histories.load_current(self.reads(), f"deal/{slug}")
        if history is None:
            raise no_deal(slug)
        return history

    async def history_as_of(
        self, slug: str, clocks: AsOf, today: date
    ) -> tuple[FoldedStream[Deal], StateAsOf[Deal], Deal]:
        """A deal's history, and the view of it at a point in time."""
        history = await self.history(slug)
        asked = _on(clocks, today)
        found = history.state_as_of(asked)
        return history, found, _known(slug, history, found, asked)

    async def first_memento(self, slug: str, clocks: AsOf) -> AsOf:
        """The clocks, not before the deal's first event was recorded: RFC 7089 §4.5.3 gives the first memento there."""
        first = (await self.history(slug)).events[0].recorded_at
        return replace(clocks, recorded_at=max(first, clocks.recorded_at or first))

    async def expand(self, answer: EncodedResponse, clocks: AsOf, wanted: Sequence[str], today: date) -> bytes:
        """A deal's answer with what others say today: organizations' names, other deals' relations to this one."""
        document = msgspec.json.decode(answer.body)
        if "organizations" in wanted:
            document["organizations"] = await self.named(answers.organizations_in(document))
        if "incoming" in wanted:
            history, seen, _ = await self.history_as_of(document["deal"], clocks, today)
            document["remarks"]["flags"] = await self.flags(history, seen)
            document["incoming"] = await self.incoming(document["deal"], today)
        return encode(document)

    async def incoming(self, slug: str, today: date) -> list[dict[str, Any]]:
        """The relations to a deal that other deals declare today."""
        rows = await self.reads().fetch(INCOMING, b"r", today, LAST_POSITION, slug)
        return answers.incoming(slug, [msgspec.json.decode(row["row"]) for row in rows])

    async def audit(self, slug: str, clocks: AsOf) -> bytes:
        """Every event of a deal with what it changed, by whom, when, why, and on which source."""
        history = await self.history(slug)
        entries = audit.audit(history.events, clocks, DEALS)
        if not entries:
            raise _not_known_yet(slug, history)
        seen = state_as_of(slug, history.events, clocks, DEALS)
        flags = flags_by_event(seen, reference_rates(), await self.related_deals(history.state))
        return encode(answers.audit_document(clocks, entries, flags))

    async def related_deals(self, deal: Deal) -> tuple[Deal, ...]:
        """The deals that stand in a relation to this one, whoever declared it, as they are known now."""
        rows = await self.reads().fetch(INCOMING, b"r", LAST_DAY, LAST_POSITION, deal.deal)
        slugs = dict.fromkeys([*(r.deal for r in deal.relations), *(row["deal"] for row in rows)])
        found = [await self.histories.load_current(self.reads(), f"deal/{slug}") for slug in slugs if slug != deal.deal]
        return tuple(history.state for history, _ in found if history is not None)

    async def flags(self, history: FoldedStream[Deal], seen: StateAsOf[Deal]) -> tuple[Flag, ...]:
        """What looks implausible about a deal as it is seen, also beside the deals that it is related to."""
        state = seen.state or history.state
        return assess(seen, state, reference_rates(), await self.related_deals(state)).flags

    async def blame(self, slug: str, clocks: AsOf, today: date) -> bytes:
        """Every field of a deal's state with the event that set it."""
        _, seen, _ = await self.history_as_of(slug, clocks, today)
        fields = audit.provenance(seen, DEALS)
        return encode(answers.blame_document(slug, seen, clocks, clocks.effective_on or today, fields))

    async def compare(self, slug: str, at: AsOf, then: AsOf, today: date) -> bytes:
        """What changed of a deal between two points, split by the kind of change."""
        history = await self.history(slug)
        found = audit.compare(history.events, _on(at, today), _on(then, today), DEALS)
        return encode(
            answers.comparison_document(
                slug,
                answers.point(at, at.effective_on or today),
                answers.point(then, then.effective_on or today),
                found,
                history.record.by_id,
            )
        )

    async def moments(self, slug: str) -> list[ChangePoint]:
        """Every position at which what is shown of a deal became something else."""
        return audit.change_points((await self.history(slug)).events, DEALS)

    # --- the portfolio ------------------------------------------------------------------------------------------------

    async def known_axis(self, clocks: AsOf) -> tuple[str, int, int]:
        """Which clock a list is read by, the point on its axis, and the log's position the answer stands for."""
        head = await self.head()
        position = await self._end(clocks, head)
        if clocks.published_on is not None:
            return "p", clocks.published_on.toordinal(), head.position
        return "r", position, position

    async def deals(
        self,
        clock: str,
        known: int,
        effective_on: date,
        terms: Sequence[str],
        q: str | None,
        after: str,
        limit: int,
        descending: bool = False,
    ) -> Page:
        """A page of deals at a point in time, in the order of their slugs."""
        terms, any_of = await self._expand_merged(clock, known, terms)
        found = None
        if (pattern := ilike_pattern(q)) is not None:
            found = [row["deal"] for row in await self.reads().fetch(FOUND, pattern)]
        statement, arguments = page_of(
            (clock.encode(), min(effective_on, LAST_DAY), known),
            after,
            limit + 1,
            terms,
            any_of,
            found if found is not None and len(found) <= FOUND_AT_MOST else None,
            pattern,
            descending=descending,
        )
        rows = await self.reads().fetch(statement, *arguments)
        more = rows[limit - 1]["deal"] if len(rows) > limit else None
        return Page([msgspec.Raw(row["row"]) for row in rows[:limit]], more)

    async def facets(
        self, clock: str, known: int, effective_on: date, terms: Sequence[str], q: str | None
    ) -> dict[str, dict[str, int]]:
        """How many deals of a list have each value of each facet."""
        terms, any_of = await self._expand_merged(clock, known, terms)
        rows = await self.reads().fetch(
            FACETS, clock.encode(), min(effective_on, LAST_DAY), known, list(terms) or None, ilike_pattern(q), any_of
        )
        counted: dict[str, dict[str, int]] = {}
        for row in rows:
            facet, value = row["term"].split(":", 1)
            if facet in FACET_NAMES:
                counted.setdefault(facet, {})[value] = row["deals"]
        return counted

    async def rows(self, clock: str, known: int, effective_on: date) -> list[tuple[str, bytes]]:
        """What totals need of every deal at a point in time, by deal."""
        found = await self.reads().fetch(TOTALS, clock.encode(), min(effective_on, LAST_DAY), known)
        return [(row["terms"], row["totals"]) for row in found]

    async def spans(self, clock: str, known: int, limit: int) -> list[Span] | None:
        """What totals need of every deal at any time, as known at a point; None where that is more than `limit`."""
        return await self._spans(clock, known, False, [], limit)

    async def spans_with_relations(self, clock: str, known: int, limit: int) -> list[Span] | None:
        """The same of the deals that sums say too little of, and of those that they stand in relations to."""
        found = await self._spans(clock, known, True, [], limit)
        named = related(found) if found is not None else []
        return await self._spans(clock, known, True, named, limit) if named else found

    async def _spans(self, clock: str, known: int, apart: bool, named: list[str], limit: int) -> list[Span] | None:
        rows = await self.reads().fetch(SPANS, clock.encode(), known, apart, named, limit + 1)
        if len(rows) > limit:
            return None
        return [Span(r["effective_from"], r["effective_to"], r["terms"], totals.decode_row(r["totals"])) for r in rows]

    async def sums(
        self, clock: str, known: int, currency: str, days: Sequence[date], apart: Sequence[Span]
    ) -> list[list[totals.SimpleSum]]:
        """The sums of the deals' amounts in a currency on each of these days, which rise, without those set apart."""
        rows = await self.reads().fetch(STEPS, clock.encode(), known, f"{currency} %", days, related(apart))
        held: dict[str, tuple[Decimal, int]] = {}
        found: list[list[totals.SimpleSum]] = []
        steps = {step: list(changes) for step, changes in groupby(rows, key=itemgetter("step"))}
        for step in range(len(days)):
            for change in steps.get(step, ()):
                amount, pledges = held.get(change["kind"], (Decimal(0), 0))
                held[change["kind"]] = (amount + change["amount"], pledges + change["pledges"])
            found.append([totals.SimpleSum(kind, *sums) for kind, sums in held.items() if sums[1]])
        return found

    async def _add_up(self, clock: str, known: int, day: date, question: totals.TotalsQuery) -> totals.Totals:
        """The whole portfolio's amounts: a hundred thousand deals are added where they are, not fetched one by one."""
        point = (clock.encode(), day, known)
        async with (
            self.reads().acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            apart = {
                r["deal"]: totals.decode_row(r["totals"]) for r in await connection.fetch(TOTALS_APART, *point, [])
            }
            named = {relation.deal for row in apart.values() for relation in row.relations} - apart.keys()
            if named:
                rows = await connection.fetch(TOTALS_APART, *point, list(named))
                apart |= {r["deal"]: totals.decode_row(r["totals"]) for r in rows}
            first = await connection.fetch(TOTALS_FIRST, *point, list(named), question.lines)
            last = first[-1]["deal"] if len(first) == question.lines and first else None
            rest: list[totals.SimpleSum] = []
            if last is not None or not question.lines:
                rows = await connection.fetch(TOTALS_REST, *point, list(named), last or "")
                rest = [totals.SimpleSum(r["kind"], r["amount"], r["pledges"]) for r in rows]
        every = [*apart.values(), *(totals.decode_row(r["totals"]) for r in first)]
        return totals.compute_totals(sorted(every, key=lambda row: row.deal), question, None, (), rest)

    async def totals(
        self,
        clock: str,
        known: int,
        effective_on: date,
        terms: Sequence[str],
        question: totals.TotalsQuery,
        by_parent: bool = False,
    ) -> totals.Totals:
        """The portfolio's amounts at a point in time: intervals that say what counted, what did not, and why.

        An organization's record that was merged by then counts under the one it leads to; with `by_parent` each counts
        under its ultimate parent of that day.
        """
        if question.group_by == "organization":
            tree = await self.tree(clock, known, effective_on)
            held = tree.organizations if by_parent else {}
            question = replace(question, roll_up=ultimate_parents(held, effective_on, tree.merged))
        if not terms and totals.can_use_sums(question):
            return await self._add_up(clock, known, min(effective_on, LAST_DAY), question)
        terms, any_of = await self._expand_merged(clock, known, terms)
        wanted = set(terms)
        chosen: list[totals.DealRow] = []
        others: list[totals.DealRow] = []
        for has, row in await self.rows(clock, known, effective_on):
            fits = wanted.issubset(has) and (any_of is None or not set(any_of).isdisjoint(has))
            (chosen if fits else others).append(totals.decode_row(row))
        rates = reference_rates() if question.currency is not None else None
        return totals.compute_totals(chosen, question, rates, others)

    async def effective_change_days(self, clock: str, known: int, limit: int) -> list[date]:
        """The latest days on which something of the portfolio came to be so, as known at a point, the first first."""
        rows = await self.reads().fetch(TURNS, clock.encode(), known, limit)
        return [row["day"] for row in reversed(rows)]

    async def publication_days(self, limit: int) -> list[date]:
        """The latest days on which something new of the portfolio was published, the first first."""
        rows = await self.reads().fetch(PUBLIC_TURNS, limit)
        return [date.fromordinal(row["day"]) for row in reversed(rows) if row["day"] >= 1]

    async def compare_portfolio(self, at: AsOf, then: AsOf, today: date) -> dict[str, Any]:
        """What appeared, grew, shrank, slipped, was corrected or learned late between two points, over all deals."""
        a, b = _on(at, today), _on(then, today)
        head = await self.head()
        ends = [await self._end(clocks, head) for clocks in (a, b)]
        streams = await store.deals_changed(
            self.reads(),
            _is_ascending(*ends),
            _is_ascending(a.effective_on or today, b.effective_on or today),
            _is_ascending(a.published_on or date.max, b.published_on or date.max),
        )
        found: list[dict[str, Any]] = []
        for stream in streams:
            history, _ = await self.histories.load_current(self.reads(), stream)
            if history is None:
                continue
            comparison = audit.compare(history.events, a, b, DEALS)
            title = (comparison.after or comparison.before or history.state).title
            found += [answers.movement_document(history.slug, title, m) for m in audit.portfolio_changes(comparison)]
        return {
            "from": answers.point(at, a.effective_on or today),
            "to": answers.point(then, b.effective_on or today),
            "position": head.position,
            "changes": found,
        }

    async def _end(self, clocks: AsOf, head: Head) -> int:
        position = head.position if clocks.position is None else min(clocks.position, head.position)
        if clocks.recorded_at is not None:
            position = min(position, await store.position_at(self.reads(), clocks.recorded_at))
        return position

    # --- the log ------------------------------------------------------------------------------------------------------

    async def head(self) -> Head:
        return await self.histories.heads(self.reads()).of_log()

    async def events(
        self,
        after: int,
        limit: int,
        *,
        type: str | None = None,
        deal: str | None = None,
        organization: str | None = None,
        source: str | None = None,
    ) -> list[StoredEvent]:
        """Events of the log behind a position, in order, by type, deal, organization or source."""
        stream = f"deal/{deal}" if deal else None
        if organization is None and source is None:
            return await store.feed(self.reads(), after, limit, type=type, stream=stream)
        term = f"organization:{organization}" if organization else event_index.source_term(source or "") or ""
        found: list[StoredEvent] = []
        while len(found) < limit:
            positions = await event_index.find(self.reads(), term, after, 1000)
            for stored in await store.events_at(self.reads(), positions):
                recorded = stored.recorded
                fits = (type is None or recorded.type == type) and (deal is None or recorded.slug == deal)
                if fits and (source is None or organization is None or _cites(recorded, source)):
                    found.append(stored)
            if len(positions) < 1000:
                break
            after = positions[-1]
        return found[:limit]

    async def event(self, id: UUID) -> tuple[StoredEvent, EffectiveEvent]:
        """One event, and how it reads now. Raises NotFound."""
        stored = (await store.by_ids(self.reads(), [id])).get(id)
        if stored is None:
            raise NotFound(f"There is no event {id}.")
        history, _ = await self.histories.load_current(self.reads(), f"{stored.recorded.kind}/{stored.recorded.slug}")
        assert history is not None
        return stored, history.record.by_id[id]

    # --- organizations ------------------------------------------------------------------------------------------------

    async def organization(self, slug: str, clocks: AsOf, today: date) -> tuple[StateAsOf[Organization], Organization]:
        """An organization at a point in time. Raises NotFound, and Moved for a merged one."""
        history = await self._organization(slug)
        asked = _on(clocks, today)
        seen = state_as_of(slug, history.events, asked, ORGANIZATIONS)
        if seen.merged_into is not None:
            raise MergedInto(deal=slug, into=seen.merged_into)
        if seen.state is None:
            raise _no_organization_yet(slug)
        return seen, seen.state

    async def organization_audit(self, slug: str, clocks: AsOf) -> bytes:
        """Every event of an organization's record, with what it changed. Raises NotFound."""
        history = await self._organization(slug)
        entries = audit.audit(history.events, clocks, ORGANIZATIONS)
        if not entries:
            raise _no_organization_yet(slug)
        return encode(answers.audit_document(clocks, entries, {}))

    async def _organization(self, slug: str) -> FoldedStream[Organization]:
        history, _ = await self.histories.load_current(self.reads(), f"organization/{slug}")
        if history is None:
            raise NotFound(f"There is no organization '{slug}'.")
        return history

    async def organizations(self, after: str, q: str | None, limit: int) -> list[msgspec.Raw]:
        """Organizations as they are now, in the order of their slugs; `q` finds any of their names."""
        return await organizations.page(self.reads(), after, ilike_pattern(q), limit)

    async def tree(self, clock: str, known: int, effective_on: date, of: Sequence[str] = KINSHIP) -> Tree:
        """Which organizations stood under others at a point in time, and which records led to others.

        Only organizations with an event of one of the types `of` are looked at.
        """
        heads = await store.heads_of_streams_with(self.reads(), of)
        histories: dict[str, FoldedStream[Organization]] = {}
        for stream, (version, leaf_hash) in heads.items():
            held = self.histories.get(stream)
            if held is not None and (held.version, held.leaf_hash) == (version, leaf_hash):
                histories[stream] = held
        unread = sorted(heads.keys() - histories.keys())
        for stream, events in (await store.streams(self.reads(), unread)).items() if unread else ():
            histories[stream] = fold_stream(stream, events)
            self.histories.put(stream, histories[stream])
        axis = {"position": known} if clock == "r" else {"published_on": date.fromordinal(known)}
        asked = AsOf(effective_on=effective_on, **axis)
        found: dict[str, Organization] = {}
        merged: dict[str, str] = {}
        for history in histories.values():
            seen = state_as_of(history.slug, history.events, asked, ORGANIZATIONS)
            if seen.merged_into is not None:
                merged[history.slug] = seen.merged_into
            elif seen.state is not None:
                found[history.slug] = seen.state
        return Tree(found, merged)

    async def related_organizations(self, slug: str, clocks: AsOf, today: date) -> OrganizationLinks:
        """Whom an organization owned or controlled at a point in time, which records led to it, and its deals."""
        if clocks.published_on is not None:
            clocks = replace(clocks, recorded_at=None, position=None)
        clock, known, _ = await self.known_axis(clocks)
        day = clocks.effective_on or today
        tree = await self.tree(clock, known, day)
        same = tree.merged_slugs(slug)
        children = [
            ChildOrganization(other, parent.control, parent.share, parent.since, parent.until)
            for other, held in sorted(tree.organizations.items())
            for parent in held.parents
            if parent.parent in same and other not in same
        ]
        rows = await self.reads().fetch(
            ROLES, clock.encode(), min(day, LAST_DAY), known, [f"organization:{s}" for s in same], DEALS_OF_ONE
        )
        deals = []
        for row in rows:
            listed = msgspec.json.decode(row["row"])
            pairs = (term.split(":", 1) for term in row["terms"])
            roles = sorted({role for role, who in pairs if who in same and role in ROLE_NAMES})
            deals.append(DealRole(listed["deal"], listed["title"], tuple(roles)))
        return OrganizationLinks(tuple(children), tuple(sorted(same - {slug})), tuple(deals))

    async def similar(self, slug: str, today: date) -> tuple[Suggestion, ...]:
        """Which other organizations may be this one: suggestions for a person. Raises NotFound and Moved."""
        _, organization = await self.organization(slug, AsOf(), today)
        others: list[Organization] = []
        after = ""
        while page := await self.organizations(after, None, 1000):
            others += [msgspec.json.decode(raw, type=Organization) for raw in page]
            after = others[-1].organization
        # Names by the thousand take a while, and nobody else shall wait for it.
        return await asyncio.to_thread(suggest_duplicates, organization, others)

    async def _expand_merged(
        self, clock: str, known: int, terms: Sequence[str]
    ) -> tuple[Sequence[str], list[str] | None]:
        """A list's terms, and terms of which one is enough: where an organization's record was merged into another, or
        others into it, the deals of all of them are meant.
        """
        named = [term.split(":", 1) for term in terms if term.split(":", 1)[0] in ("organization", *ROLE_NAMES)]
        slugs = {slug for _, slug in named}
        if len(slugs) != 1:
            return terms, None
        (slug,) = slugs
        same = (await self.tree(clock, known, LAST_DAY, MERGES)).merged_slugs(slug)
        if same == {slug}:
            return terms, None
        # To have a role in a deal is to be in it.
        role = next((role for role, _ in named if role != "organization"), "organization")
        rest = [term for term in terms if term.split(":", 1) not in named]
        return rest, [f"{role}:{other}" for other in sorted(same)]

    async def named(self, slugs: Iterable[str]) -> dict[str, msgspec.Raw]:
        """Organizations as they are now, by slug."""
        return await organizations.named(self.reads(), list(slugs))


class Tree(Struct, frozen=True):
    """Organizations that ever stood under another, at a point in time, and where merged records lead."""

    organizations: dict[str, Organization]
    merged: dict[str, str]

    def merged_slugs(self, slug: str) -> set[str]:
        """Every record that is the same organization as this one, itself among them."""
        while slug in self.merged:
            slug = self.merged[slug]
        same = {slug}
        while more := {duplicate for duplicate, into in self.merged.items() if into in same} - same:
            same |= more
        return same


class ChildOrganization(Struct, frozen=True):
    """An organization that another one owns, controls or manages, from when until when; `share` in percent."""

    organization: str
    control: Control | None
    share: str | None
    since: date
    until: date | None


class DealRole(Struct, frozen=True):
    """A deal that an organization takes part in, and in which roles."""

    deal: str
    title: Any
    roles: tuple[str, ...]


class OrganizationLinks(Struct, frozen=True):
    """What others' records say of an organization. `duplicates` are the records that lead to it."""

    children: tuple[ChildOrganization, ...]
    duplicates: tuple[str, ...]
    deals: tuple[DealRole, ...]


DEALS_OF_ONE = 1000
ROLE_NAMES = get_args(Role)
FACET_NAMES = ("organization", "role", "region", "sector", "stage", "commitment", "currency", "kind")


def related(spans: Iterable[Span]) -> list[str]:
    """The deals that these declare relations to."""
    return sorted({relation.deal for span in spans for relation in span.row.relations})


def ilike_pattern(q: str | None) -> str | None:
    """A search text as an ILIKE pattern that finds it anywhere."""
    if q is None:
        return None
    escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def is_immutable(clocks: AsOf, head: Head) -> bool:
    """Whether the log's side of a question is settled for ever: an instant is, once an event after it is committed."""
    by_position = clocks.position is not None and clocks.position <= head.position
    by_instant = (
        clocks.recorded_at is not None and head.recorded_at is not None and clocks.recorded_at < head.recorded_at
    )
    return by_position or by_instant


def no_deal(slug: str) -> NotFound:
    return NotFound(f"There is no deal '{slug}', and there never was one under this name.")


def _known(slug: str, history: FoldedStream[Deal], seen: StateAsOf[Deal], asked: AsOf) -> Deal:
    if seen.merged_into is not None:
        raise MergedInto(deal=slug, into=seen.merged_into)
    if seen.state is None:
        raise _not_known_yet(slug, history)
    return seen.state


def _not_known_yet(slug: str, history: FoldedStream[Deal]) -> NotFound:
    first = history.events[0]
    return NotFound(
        f"The deal '{slug}' was not known at that point in time: its first event was recorded at "
        f"{first.recorded_at.astimezone(UTC).isoformat()}, published on {first.published_on}, and holds from "
        f"{first.effective_on or first.published_on}. Ask for a later point.",
        first_recorded_at=first.recorded_at,
    )


def _no_organization_yet(slug: str) -> NotFound:
    return NotFound(f"The organization '{slug}' was not known there yet.")


def _on(clocks: AsOf, today: date) -> AsOf:
    return replace(clocks, effective_on=clocks.effective_on or today)


def _is_ascending(one: Any, other: Any) -> tuple[Any, Any]:
    return (one, other) if one <= other else (other, one)


def _cites(recorded: Recorded, source: str) -> bool:
    return event_index.source_term(source) in {event_index.source_term(s) for s in recorded.sources}
