"""Read what totals need from deal_versions: rows of deals at a point, rows over time, and sums added up in Postgres.

A deal whose amounts can be added up without looking at its relations has its sum in the rectangle itself: `kind` (the
currency and the commitment level), `amount` and `pledges`. All other deals have no `kind`; their rows are decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter

from msgspec import Struct

from registry.domain.merges import survivor
from registry.domain.totals import DealRow, SimpleSum, decode_row
from registry.infra.postgres import Pool
from registry.projections.deal_lists import STATE_AT_POINT, TERM_HAD_BY_POINT, Point

# Ordered, because totals list the first lines: the same query must give the same answer.
SELECT_ROWS = """
SELECT terms, totals
  FROM deal_versions JOIN deal_states USING (deal, state)
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
 ORDER BY deal
"""

# The deals without a sum, and the named ones.
SELECT_ROWS_WITHOUT_SUM = """
SELECT deal, totals
  FROM deal_versions JOIN deal_states USING (deal, state)
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
   AND (kind IS NULL OR deal = ANY ($4::text[]))
 ORDER BY deal
"""

# The first of the deals with a sum, to be listed one by one.
SELECT_FIRST_ROWS_WITH_SUM = f"""
SELECT d.deal, s.totals
  FROM (SELECT deal FROM deal_terms WHERE term = 'deal' AND {TERM_HAD_BY_POINT} ORDER BY deal) AS d
       JOIN LATERAL (
           SELECT totals
             FROM deal_states
            WHERE deal = d.deal AND state = ({STATE_AT_POINT}
                 AND kind > ''
                LIMIT 1)
            LIMIT 1
       ) AS s ON true
 WHERE d.deal <> ALL ($4::text[])
 ORDER BY d.deal
 LIMIT $5
"""  # noqa: S608 - constants

# The sums of all the other deals: one scan of the rectangles, without their rows.
SELECT_SUMS_OF_REST = """
SELECT kind, sum(amount) AS amount, sum(pledges)::int AS pledges
  FROM deal_versions
 WHERE clock = $1::"char"
   AND effective_from <= $2 AND effective_to > $2
   AND known_from <= $3 AND known_to > $3
   AND kind > '' AND deal <> ALL ($4::text[]) AND deal > $5
 GROUP BY kind
"""

# What is in effect at any time, as known at a point: of every deal, or, with `$3`, of the deals without a sum and the
# named ones.
SELECT_SPANS = """
SELECT effective_from, effective_to, terms, totals
  FROM deal_versions JOIN deal_states USING (deal, state)
 WHERE clock = $1::"char" AND known_from <= $2 AND known_to > $2
   AND (NOT $3 OR kind IS NULL OR deal = ANY ($4::text[]))
 LIMIT $5
"""

# How the sums change up to each of some days: one scan of the rectangles, however many days.
SELECT_SUM_STEPS = """
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


class TotalsSpan(Struct, frozen=True):
    """What totals need of a deal, from `since` until the day before `until`."""

    since: date
    until: date
    terms: list[str]
    row: DealRow


async def rows(pool: Pool, point: Point) -> list[tuple[list[str], DealRow]]:
    """Read the terms and the totals row of every deal at a point."""
    axis, effective_on, known = point
    fetched = await pool.fetch(SELECT_ROWS, axis.encode(), effective_on, known)
    return [(row["terms"], decode_row(row["totals"])) for row in fetched]


async def rows_and_sums(
    pool: Pool, point: Point, listed: int, merged: Mapping[str, str]
) -> tuple[list[DealRow], list[SimpleSum]]:
    """Read the whole portfolio at a point without fetching most of it.

    Args:
        pool: The pool to read from.
        point: The point in time.
        listed: How many deals with a sum are returned as rows.
        merged: What each merged deal was merged into; a relation to it is one to that deal.

    Returns:
        The rows of the deals that have no sum, of the deals that those relate to, and of the first `listed` others; and
        the sums of all remaining deals.
    """
    axis, effective_on, known = point
    arguments = (axis.encode(), effective_on, known)
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        without_sum = {
            r["deal"]: decode_row(r["totals"]) for r in await connection.fetch(SELECT_ROWS_WITHOUT_SUM, *arguments, [])
        }
        related = set(_related_deals(without_sum.values(), merged)) - without_sum.keys()
        if related:
            fetched = await connection.fetch(SELECT_ROWS_WITHOUT_SUM, *arguments, list(related))
            without_sum |= {r["deal"]: decode_row(r["totals"]) for r in fetched}
        first = await connection.fetch(SELECT_FIRST_ROWS_WITH_SUM, *arguments, list(related), listed)
        last = first[-1]["deal"] if len(first) == listed and first else None
        rest: list[SimpleSum] = []
        if last is not None or not listed:
            fetched = await connection.fetch(SELECT_SUMS_OF_REST, *arguments, list(related), last or "")
            rest = [SimpleSum(r["kind"], r["amount"], r["pledges"]) for r in fetched]
    every = [*without_sum.values(), *(decode_row(r["totals"]) for r in first)]
    return sorted(every, key=lambda row: row.deal), rest


async def spans(pool: Pool, axis: str, known: int, limit: int) -> list[TotalsSpan] | None:
    """Read what totals need of every deal over time, as known at a point; None where that is more than `limit`."""
    return await _spans(pool, axis, known, False, [], limit)


async def spans_without_sum(
    pool: Pool, axis: str, known: int, limit: int, merged: Mapping[str, str]
) -> list[TotalsSpan] | None:
    """The same, of the deals that have no sum and of the deals that those relate to."""
    first = await _spans(pool, axis, known, True, [], limit)
    related = related_deals(first, merged) if first is not None else []
    return await _spans(pool, axis, known, True, related, limit) if related else first


async def _spans(
    pool: Pool, axis: str, known: int, without_sum: bool, named: Sequence[str], limit: int
) -> list[TotalsSpan] | None:
    fetched = await pool.fetch(SELECT_SPANS, axis.encode(), known, without_sum, named, limit + 1)
    if len(fetched) > limit:
        return None
    return [TotalsSpan(r["effective_from"], r["effective_to"], r["terms"], decode_row(r["totals"])) for r in fetched]


async def sums_on_days(
    pool: Pool, axis: str, known: int, currency: str, days: Sequence[date], excluded: Sequence[str]
) -> list[list[SimpleSum]]:
    """Add up the deals' sums in a currency on each of some ascending days, without the excluded deals."""
    fetched = await pool.fetch(SELECT_SUM_STEPS, axis.encode(), known, f"{currency} %", days, excluded)
    steps = {step: list(changes) for step, changes in groupby(fetched, key=itemgetter("step"))}
    running: dict[str, tuple[Decimal, int]] = {}
    on_days: list[list[SimpleSum]] = []
    for step in range(len(days)):
        for change in steps.get(step, ()):
            amount, pledges = running.get(change["kind"], (Decimal(0), 0))
            running[change["kind"]] = (amount + change["amount"], pledges + change["pledges"])
        on_days.append([SimpleSum(kind, *totals) for kind, totals in running.items() if totals[1]])
    return on_days


def related_deals(spans: Sequence[TotalsSpan], merged: Mapping[str, str]) -> list[str]:
    """The slugs of the deals that these declare relations to, or that those were merged into."""
    return _related_deals((span.row for span in spans), merged)


def _related_deals(rows: Iterable[DealRow], merged: Mapping[str, str]) -> list[str]:
    return sorted({survivor(relation.deal, merged) for row in rows for relation in row.relations})
