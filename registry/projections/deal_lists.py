"""Read lists from deal_versions: pages in the order of slugs, facets, the deals of a term, and days of change.

A point is `(axis, effective_on, known)`: the recorded axis `r` with a log position, or the published axis `p` with a
day's ordinal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any, TypeAlias

from msgspec import Raw, Struct

from registry.infra.postgres import Pool

Point: TypeAlias = tuple[str, date, int]

# The state of deal `d` at the point: at most one rectangle contains it. As a subquery per deal, Postgres looks deals up
# in the order of the page and stops when the page is full.
STATE_AT_POINT = """
              SELECT state
                FROM deal_versions
               WHERE clock = $1::"char" AND deal = d.deal
                 AND effective_from <= $2 AND effective_to > $2
                 AND known_from <= $3 AND known_to > $3"""

_JOIN_STATE_AT_POINT = f"""
       JOIN LATERAL (
           SELECT terms, title, row
             FROM deal_states
            WHERE deal = d.deal AND state = ({STATE_AT_POINT}
                LIMIT 1)
            LIMIT 1
       ) AS s ON true
"""  # noqa: S608 - constants

# A deal has a term from these bounds on, at the earliest.
TERM_HAD_BY_POINT = """effective_from <= $2
           AND CASE $1::"char" WHEN 'r' THEN recorded_from ELSE published_from END <= $3"""

# The deals whose titles ever matched a search. A search that matches more is checked deal by deal instead.
SELECT_TITLE_MATCHES = """
SELECT deal FROM deal_titles WHERE titles ILIKE $1 LIMIT 2001
"""
MAX_TITLE_MATCHES = 2000

_HAS_ONE_OF = "deal = ANY (ARRAY(SELECT deal FROM deal_terms WHERE term = ANY ($7)))"
_IS_TITLE_MATCH = "deal = ANY ($8)"
_MATCHES_TITLE = "(SELECT titles ILIKE $9 FROM deal_titles WHERE deal = d.deal)"


@cache
def page_statement(*, descending: bool, any_of: bool, matched: bool, searched: bool) -> str:
    """The statement of a page of deals; `page_query` supplies its arguments.

    It walks the deals that ever had the rarest of the terms (`deal` is a term of every deal) in the order of the page
    until the page is full. Each way to narrow the list has its own statement: with one statement for all of them,
    Postgres uses no index.
    """
    beyond, order, last = ("deal < $4", "DESC", "ASC") if descending else ("deal > $4", "ASC", "DESC")
    narrowed = [beyond, TERM_HAD_BY_POINT, *([_HAS_ONE_OF] if any_of else []), *([_IS_TITLE_MATCH] if matched else [])]
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
           AND {" AND ".join(narrowed)}
         ORDER BY deal {order}
       ) AS d
{_JOIN_STATE_AT_POINT}
 WHERE (SELECT count(*) FROM deal_terms WHERE term = ANY ($6) AND deal = d.deal) = cardinality($6)
   AND {_MATCHES_TITLE if searched and not matched else "true"}
   AND s.terms @> $6
   AND ($7::text[] IS NULL OR s.terms && $7)
   AND ($8::text[] IS NULL OR d.deal = ANY ($8))
   AND ($9::text IS NULL OR s.title ILIKE $9)
 ORDER BY d.deal {order}
 LIMIT $5
"""  # noqa: S608 - constants


SELECT_FACETS = """
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

SELECT_WITH_ANY_TERM = f"""
SELECT s.terms, s.row
  FROM (
        SELECT DISTINCT deal
          FROM deal_terms
         WHERE term = ANY ($4::text[]) AND {TERM_HAD_BY_POINT}
         ORDER BY deal
       ) AS d
{_JOIN_STATE_AT_POINT}
 WHERE s.terms && $4
 ORDER BY d.deal
 LIMIT $5
"""  # noqa: S608 - constants

SELECT_RELATED_TO = f"""
SELECT d.deal, s.row
  FROM (SELECT deal FROM deal_terms WHERE term = 'related:' || $4 ORDER BY deal) AS d
{_JOIN_STATE_AT_POINT}
 WHERE s.terms @> ARRAY['related:' || $4]
 ORDER BY d.deal
"""  # noqa: S608 - constants

SELECT_EVER_RELATED_TO = "SELECT deal FROM deal_terms WHERE term = 'related:' || $1 ORDER BY deal"

SELECT_EFFECTIVE_CHANGE_DAYS = """
SELECT DISTINCT effective_from AS day
  FROM deal_versions
 WHERE clock = $1::"char" AND known_from <= $2 AND known_to > $2
   -- A registration without a date is in effect from the first day there is: nothing changed on that day.
   AND effective_from > '0001-01-01'
 ORDER BY day DESC
 LIMIT $3
"""

SELECT_PUBLICATION_DAYS = """
SELECT DISTINCT known_from AS day
  FROM deal_versions
 WHERE clock = 'p'
 ORDER BY day DESC
 LIMIT $1
"""


class Page(Struct, frozen=True):
    """A page of deals: the list rows as JSON, and the cursor of the next page."""

    rows: list[Raw]
    next: str | None


def ilike_pattern(q: str | None) -> str | None:
    """An ILIKE pattern that matches a search text anywhere."""
    if q is None:
        return None
    escaped = q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def page_query(
    point: Point,
    after: str,
    limit: int,
    terms: Sequence[str] = (),
    any_of: Sequence[str] | None = None,
    matches: Sequence[str] | None = None,
    pattern: str | None = None,
    *,
    descending: bool = False,
) -> tuple[str, tuple[Any, ...]]:
    """The statement of a page of deals, and its arguments.

    Args:
        point: The point in time.
        after: The cursor; empty for the first page.
        limit: The most deals.
        terms: Terms that a deal must have, all of them.
        any_of: Terms of which a deal must have one.
        matches: The deals whose titles ever matched the search, where they are few.
        pattern: The ILIKE pattern that a deal's title must match at the point.
        descending: Whether the last slug comes first.
    """
    axis, effective_on, known = point
    statement = page_statement(
        descending=descending, any_of=any_of is not None, matched=matches is not None, searched=pattern is not None
    )
    # '~' sorts after every slug.
    start = after or ("~" if descending else "")
    return statement, (axis.encode(), effective_on, known, start, limit, terms, any_of, matches, pattern)


async def page(
    pool: Pool,
    point: Point,
    after: str,
    limit: int,
    terms: Sequence[str],
    any_of: Sequence[str] | None,
    q: str | None,
    *,
    descending: bool = False,
) -> Page:
    """Read a page of deals; `q` matches part of a title. See `page_query`."""
    matches = None
    pattern = ilike_pattern(q)
    if pattern is not None:
        matches = [row["deal"] for row in await pool.fetch(SELECT_TITLE_MATCHES, pattern)]
        if len(matches) > MAX_TITLE_MATCHES:
            matches = None
    statement, arguments = page_query(point, after, limit + 1, terms, any_of, matches, pattern, descending=descending)
    rows = await pool.fetch(statement, *arguments)
    more = rows[limit - 1]["deal"] if len(rows) > limit else None
    return Page([Raw(row["row"]) for row in rows[:limit]], more)


async def facets(
    pool: Pool, point: Point, terms: Sequence[str], any_of: Sequence[str] | None, q: str | None
) -> list[tuple[str, int]]:
    """Count the deals of a list that have each term."""
    axis, effective_on, known = point
    rows = await pool.fetch(
        SELECT_FACETS, axis.encode(), effective_on, known, list(terms) or None, ilike_pattern(q), any_of
    )
    return [(row["term"], row["deals"]) for row in rows]


async def with_any_term(pool: Pool, point: Point, terms: Sequence[str], limit: int) -> list[tuple[list[str], bytes]]:
    """Read the terms and list rows of the deals that have one of these terms at a point."""
    axis, effective_on, known = point
    rows = await pool.fetch(SELECT_WITH_ANY_TERM, axis.encode(), effective_on, known, terms, limit)
    return [(row["terms"], row["row"]) for row in rows]


async def related_to(pool: Pool, point: Point, deal: str) -> list[tuple[str, bytes]]:
    """Read the slugs and list rows of the deals that declare a relation to this one at a point."""
    axis, effective_on, known = point
    rows = await pool.fetch(SELECT_RELATED_TO, axis.encode(), effective_on, known, deal)
    return [(row["deal"], row["row"]) for row in rows]


async def ever_related_to(pool: Pool, deal: str) -> list[str]:
    """Read the slugs of the deals that declare a relation to this one at any point in time."""
    return [row["deal"] for row in await pool.fetch(SELECT_EVER_RELATED_TO, deal)]


async def effective_change_days(pool: Pool, axis: str, known: int, limit: int) -> list[date]:
    """Read the latest days from which a change is in effect, as known at a point, in ascending order."""
    rows = await pool.fetch(SELECT_EFFECTIVE_CHANGE_DAYS, axis.encode(), known, limit)
    return [row["day"] for row in reversed(rows)]


async def publication_days(pool: Pool, limit: int) -> list[date]:
    """Read the latest days on which a change was published, in ascending order."""
    rows = await pool.fetch(SELECT_PUBLICATION_DAYS, limit)
    return [date.fromordinal(row["day"]) for row in reversed(rows) if row["day"] >= 1]
