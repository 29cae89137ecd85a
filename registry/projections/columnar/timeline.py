"""The days and times at which any deal changed, and the deals that may differ between two points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from duckdb import DuckDBPyConnection

from registry.projections.columnar.lists import PagePlace, weight_of
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import Selection, run
from registry.projections.facts import FACT_TABLES
from registry.projections.point import Point

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
SELECT t.effective_from AS day, count(*) AS facts FROM {table} AS t WHERE {known} {selected} GROUP BY day
"""

# Days only come: an event keeps its day. DuckDB looks at the new events in a millisecond, at a million in seven.
_PUBLICATION_DAYS = """
SELECT DISTINCT published_on
  FROM deal_events
 WHERE position > $known AND published_on > '0001-01-01' AND published_on < 'infinity'
"""


def effective_days(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, limit: int, selection: Selection
) -> list[date]:
    """The latest days from which a change of the selected deals is in effect, as known at a point, in order."""

    def select(at: Point, _: Sequence[str], selected: str = "") -> tuple[str, dict[str, Any]]:
        days = (
            _EFFECTIVE_DAYS.format(table=table.name, known=at.is_known("t"), selected=selected) for table in FACT_TABLES
        )
        return " UNION ALL ".join(days), {"known": at.known}

    if not selection.is_all:
        source, known = select(point, (), "AND t.deal IN (SELECT unnest($selected))")
        parameters = {**known, "selected": _selected(cursor, (point,), selection), "limit": limit}
        return [day for (day,) in reversed(run(cursor, _SELECT_DAYS.format(source=f"({source})"), parameters))]
    with cache.sums(cursor, point, ("days",), select, ("facts",)) as source:
        rows = run(cursor, _SELECT_DAYS.format(source=source), {"limit": limit})
    return [day for (day,) in reversed(rows)]


def publication_days(cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, limit: int) -> list[date]:
    """The latest days on which a change was published, in ascending order."""
    reset = cache.memory.prepare(cursor).reset
    known, of_reset, days = cache.published
    if of_reset != reset:
        known, days = -1, frozenset()
    if known < point.head:
        days |= {day for (day,) in run(cursor, _PUBLICATION_DAYS, {"known": known})}
        cache.published = (point.head, reset, days)
    return sorted(days)[-limit:]


# The times at which events of deals were recorded; of those within `$distance` seconds of the next one, the last. Of
# many, some in equal steps, with the first, the last and those on both sides of the shown time.
_RECORDING_TIMES = """
WITH followed AS (
    SELECT recorded_at, lead(recorded_at) OVER (ORDER BY position) AS following
      FROM deal_events
),
moments AS MATERIALIZED (
    SELECT recorded_at, row_number() OVER (ORDER BY recorded_at) - 1 AS place
      FROM followed
     WHERE following IS NULL
        OR epoch_us(following) - epoch_us(recorded_at) >= $distance * 1000000
),
counted AS (
    SELECT count(*) - 1 AS last, count(*) FILTER (recorded_at <= $shown) AS until_shown FROM moments
)
SELECT recorded_at
  FROM moments, counted
 WHERE place * $steps // greatest(last, $steps) <> (place - 1) * $steps // greatest(last, $steps)
    OR place BETWEEN until_shown - 2 AND until_shown
    OR place IN (0, last)
 ORDER BY recorded_at
"""


def recording_times(cursor: DuckDBPyConnection, shown: datetime, distance: float, steps: int) -> list[datetime]:
    """When events of deals were recorded, in ascending order: all times, or as many as there are steps.

    Args:
        cursor: The copy.
        shown: The times before, at and after this one are among them.
        distance: Times less than so many seconds apart are one, the last of them.
        steps: How many equal steps are chosen of the times, besides the first, the last and those next to `shown`.
    """
    rows = run(cursor, _RECORDING_TIMES, {"shown": shown, "distance": distance, "steps": steps})
    return [moment for (moment,) in rows]


_CHANGED = """
WITH changed AS (
    SELECT DISTINCT e.deal
      FROM deal_events AS e
     WHERE ({between}) {selected}
),
sized AS (
    SELECT c.deal, abs(coalesce(s.amount, 0) - coalesce(e.amount, 0))::DOUBLE AS size
      FROM changed AS c
           LEFT JOIN ({amounts_at_start}) AS s ON s.deal = c.deal
           LEFT JOIN ({amounts_at_end}) AS e ON e.deal = c.deal
)
SELECT deal, size
  FROM sized
 WHERE $size IS NULL OR size < $size OR size = $size AND deal > $after
 ORDER BY size DESC, deal
 LIMIT $limit
"""

# Whole numbers: their sum does not depend on the order of the rows, so each page has the same sizes.
_AMOUNTS = """
SELECT p.deal, sum(round(coalesce(p.value, p.high, p.low)::DOUBLE * {weight})::HUGEINT) AS amount
  FROM pledge_facts AS p
 WHERE {p} AND p.status <> 'withdrawn' AND p.deal IN (SELECT c.deal FROM changed AS c)
 GROUP BY p.deal
"""


def changed_deals(
    cursor: DuckDBPyConnection,
    points: tuple[Point, Point],
    bounds: dict[str, int | date],
    selection: Selection,
    weights: Mapping[str, float],
    after: PagePlace | None,
    limit: int,
) -> tuple[list[str], PagePlace | None]:
    """The next deals that may differ between two points and are selected at one of them, and where to go on.

    Those whose amounts changed most come first, and those with equal changes in the order of their slugs. The amount of
    a deal is what its pledges are worth together, parts and wholes alike.

    Args:
        cursor: The copy.
        points: The points.
        bounds: The least and the largest position, effective date and publication date of the two.
        selection: Which deals.
        weights: What a unit of each currency is worth.
        after: The last deal before.
        limit: The most deals.
    """
    amounts, narrowed = {}, ""
    parameters: dict[str, Any] = {**bounds, "limit": limit + 1, "size": None, "after": None}
    if after is not None:
        parameters |= {"size": after.value if isinstance(after.value, float) else 0.0, "after": after.deal}
    for side, point in zip(("start", "end"), points, strict=True):
        # The conditions name the parameters of one point.
        condition = point.at("p").replace("$", f"${side}_")
        amounts[f"amounts_at_{side}"] = _AMOUNTS.format(p=condition, weight=weight_of(weights))
        parameters |= {f"{side}_{name}": value for name, value in point.parameters.items()}
    if not selection.is_all:
        parameters["selected"] = _selected(cursor, points, selection)
        narrowed = "AND e.deal IN (SELECT unnest($selected))"
    found = run(cursor, _CHANGED.format(between=_between(bounds), selected=narrowed, **amounts), parameters)
    following = PagePlace(found[limit - 1][1], found[limit - 1][0]) if len(found) > limit else None
    return [deal for deal, _ in found[:limit]], following


def _selected(cursor: DuckDBPyConnection, points: Sequence[Point], selection: Selection) -> list[str]:
    """The deals that are selected at one of some points."""
    # At each point by itself: the conditions name the parameters of one point.
    selected: set[str] = set()
    for point in points:
        statement = _SELECTED.format(conditions=selection.conditions(point))
        selected |= {deal for (deal,) in run(cursor, statement, {**point.parameters, **selection.parameters})}
    return sorted(selected)


def _between(bounds: Mapping[str, int | date]) -> str:
    """The condition that an event was recorded, took effect or was published between two points.

    Between two positions alone, DuckDB reads only the part of the table that has them: a millisecond in the place of
    ten. Otherwise a correction of dates counts too, wherever it is.
    """
    columns = {"position": "position", "effective": "effective_on", "published": "published_on"}
    differ = [name for name in columns if bounds[f"{name}_after"] != bounds[f"{name}_until"]]
    found = [f"e.{columns[name]} > ${name}_after AND e.{columns[name]} <= ${name}_until" for name in differ]
    if differ != ["position"]:
        found.append("e.redates")
    return " OR ".join(found)


_SELECTED = "SELECT d.deal FROM deal_facts AS d WHERE {conditions}"
