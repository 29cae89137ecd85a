"""When something changed in any deal, and which deals may differ between two points."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from duckdb import DuckDBPyConnection

from registry.projections.columnar.kept import Kept
from registry.projections.columnar.selection import Point, Selection, run
from registry.projections.facts import FACT_TABLES

# A registration without a date is in effect from the first day there is: nothing changed on that day.
_SELECT_DAYS = """
SELECT day
  FROM {source}
 WHERE day > '0001-01-01' AND day < 'infinity'
 GROUP BY day
HAVING sum(facts) > 0
 ORDER BY day DESC
 LIMIT $limit
"""

_EFFECTIVE_DAYS = """
SELECT t.effective_from AS day, count(*) AS facts FROM {table} AS t WHERE {known} GROUP BY day
"""

_PUBLICATION_DAYS = "(SELECT published_on AS day, 1 AS facts FROM deal_events)"


def effective_days(cursor: DuckDBPyConnection, kept: Kept, point: Point, limit: int) -> list[date]:
    """The latest days from which a change is in effect, as known at a point, in ascending order."""

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        days = (_EFFECTIVE_DAYS.format(table=table.name, known=at.is_known("t")) for table in FACT_TABLES)
        return " UNION ALL ".join(days), {"known": at.known}

    with kept.sums(cursor, point, ("days",), select, ("facts",)) as source:
        rows = run(cursor, _SELECT_DAYS.format(source=source), {"limit": limit})
    return [day for (day,) in reversed(rows)]


def publication_days(cursor: DuckDBPyConnection, limit: int) -> list[date]:
    """The latest days on which a change was published, in ascending order."""
    rows = run(cursor, _SELECT_DAYS.format(source=_PUBLICATION_DAYS), {"limit": limit})
    return [day for (day,) in reversed(rows)]


# Deals with an event that was recorded, took effect or was published between the points, or whose dates were corrected.
_CHANGED = """
SELECT DISTINCT e.deal
  FROM deal_events AS e
 WHERE (e.position > $position_after AND e.position <= $position_until
        OR e.effective_on > $effective_after AND e.effective_on <= $effective_until
        OR e.published_on > $published_after AND e.published_on <= $published_until
        OR e.redates)
   AND e.deal > $after {selected}
 ORDER BY e.deal
 LIMIT $limit
"""


def changed_deals(
    cursor: DuckDBPyConnection,
    points: tuple[Point, Point],
    bounds: dict[str, int | date],
    selection: Selection,
    after: str,
    limit: int,
) -> list[str]:
    """The next deals that may differ between two points and that are selected at one of them.

    Args:
        cursor: The copy.
        points: The points.
        bounds: The least and the largest position, effective date and publication date of the two.
        selection: Which deals.
        after: The slug of the last deal before.
        limit: The most deals.
    """
    parameters = {**bounds, **selection.parameters, "after": after, "limit": limit}
    if selection.is_all:
        return [deal for (deal,) in run(cursor, _CHANGED.format(selected=""), parameters)]
    # At each point by itself: the conditions name the parameters of one point.
    selected: set[str] = set()
    for point in points:
        statement = _SELECTED.format(conditions=selection.conditions(point))
        selected |= {deal for (deal,) in run(cursor, statement, {**point.parameters, **selection.parameters})}
    statement = _CHANGED.format(selected="AND e.deal IN (SELECT unnest($selected))")
    return [deal for (deal,) in run(cursor, statement, {**parameters, "selected": sorted(selected)})]


_SELECTED = "SELECT d.deal FROM deal_facts AS d WHERE {conditions}"
