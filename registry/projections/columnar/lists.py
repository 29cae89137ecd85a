"""Pages of deals in any order, facets and places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime
from typing import Any, Literal

from duckdb import DuckDBPyConnection
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.stages import ENDED_STAGES, LADDER
from registry.projections.columnar.kept import Kept
from registry.projections.columnar.selection import ITEM_TABLES, Point, Selection, run

SortKey = Literal["deal", "title", "amount", "announced_on", "updated", "stage", "since", "relevance"]


class Order(Struct, frozen=True):
    """The order of a list. Deals without a value come last in either direction; equal ones in the order of slugs.

    Attributes:
        key: What the list is ordered by; `relevance` is how well a deal matches the selection's search.
        descending: Whether the largest or latest comes first.
        language: The language of titles, `en` or `ko`.
        weights: What a unit of each currency is worth, so that amounts of several currencies can be ordered.
    """

    key: SortKey = "deal"
    descending: bool = False
    language: str = "en"
    weights: Mapping[str, float] = {}


class PagePlace(Struct, frozen=True, array_like=True):
    """Where a page begins: after a deal with this value in the list's order."""

    value: str | int | float | None
    deal: str


class Page(Struct, frozen=True):
    """A page of slugs, and where the next one begins."""

    deals: list[str]
    next: PagePlace | None


# The orders by facts that are not in `deal_facts`: each has a table with a `value` for each deal.
_ORDERS: dict[str, str] = {
    "amount": """
        SELECT p.deal, max(coalesce(p.value, p.high, p.low)::DOUBLE * {weight}) AS value
          FROM pledge_facts AS p
         WHERE {p} AND p.status <> 'withdrawn'
         GROUP BY p.deal""",
    "announced_on": "SELECT p.deal, min(p.announced_on) AS value FROM pledge_facts AS p WHERE {p} GROUP BY p.deal",
    "updated": "SELECT e.deal, max(e.position) AS value FROM deal_events AS e WHERE {e} GROUP BY e.deal",
    "stage": """
        SELECT s.deal, coalesce(list_position($ladder, s.stage), 100) AS value
          FROM stage_facts AS s
         WHERE {s}""",
    "since": "SELECT s.deal, s.since AS value FROM stage_facts AS s WHERE {s}",
}

_VALUES = """
SELECT d.deal, o.value
  FROM deal_facts AS d
       LEFT JOIN ({order}) AS o ON o.deal = d.deal
 WHERE {d}
"""

_PAGE = """
SELECT deal, value
  FROM {source}
 WHERE {beyond}
 ORDER BY value {direction} NULLS LAST, deal {deals}
 LIMIT $limit
"""


def page(
    cursor: DuckDBPyConnection,
    kept: Kept,
    point: Point,
    selection: Selection,
    order: Order,
    after: PagePlace | None,
    limit: int,
) -> Page:
    """A page of the selected deals."""
    if order.key == "relevance":
        source = f"(SELECT id AS deal, score AS value FROM {point.found_deals})"
        if not selection.is_search:
            source = f"(SELECT * FROM {source} WHERE deal IN ({selection.slugs(point)}))"
        return _page(cursor, point, selection, order, after, limit, source)
    if order.key in _ORDERS:
        with _values(cursor, kept, point, order) as source, _selected(cursor, kept, point, selection) as selected:
            if not selection.is_all:
                source = f"(SELECT * FROM {source} WHERE deal IN ({selected}))"
            return _page(cursor, point, selection, order, after, limit, source)
    if order.key == "deal":
        source = f"(SELECT deal, deal AS value FROM ({selection.slugs(point)}))"
    else:
        value = f"lower(d.title_{order.language})"
        source = f"(SELECT d.deal, {value} AS value FROM deal_facts AS d WHERE {selection.conditions(point)})"
    return _page(cursor, point, selection, order, after, limit, source)


def _values(cursor: DuckDBPyConnection, kept: Kept, point: Point, order: Order) -> AbstractContextManager[str]:
    """The table of the values by which deals are ordered."""

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        weight = weight_of(order.weights)
        table = _ORDERS[order.key].format(p=at.at("p"), s=at.at("s"), e=at.was_known("e"), weight=weight)
        return _VALUES.format(order=table, d=at.at("d")), {**at.parameters, "ladder": list(LADDER)}

    return kept.values(cursor, point, ("order", order.key, order.weights), select)


@contextmanager
def _selected(cursor: DuckDBPyConnection, kept: Kept, point: Point, selection: Selection) -> Iterator[str]:
    """The query of the selected deals; those that meet the conditions beside a search are kept."""
    conditions = replace(selection, search=None)
    if conditions.is_all:
        yield selection.slugs(point)
        return

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        return conditions.slugs(at), {**at.parameters, **conditions.parameters}

    with kept.values(cursor, point, ("selected", conditions), select) as table:
        found = f"WHERE deal IN (SELECT id FROM {point.found_deals})" if selection.search is not None else ""
        yield f"SELECT deal FROM {table} {found}"


def _page(
    cursor: DuckDBPyConnection,
    point: Point,
    selection: Selection,
    order: Order,
    after: PagePlace | None,
    limit: int,
    source: str,
) -> Page:
    """A page of a table of deals with the values by which they are ordered."""
    by_slug = order.key == "deal"
    if after is None:
        beyond = "true"
    elif by_slug:
        beyond = f"deal {'<' if order.descending else '>'} $deal"
    elif after.value is None:
        beyond = "value IS NULL AND deal > $deal"
    else:
        further = "<" if order.descending else ">"
        beyond = f"(value {further} $value OR value = $value AND deal > $deal OR value IS NULL)"
    statement = _PAGE.format(
        source=source,
        beyond=beyond,
        direction="DESC" if order.descending else "ASC",
        deals="DESC" if order.descending and by_slug else "ASC",
    )
    parameters = {
        **point.parameters,
        **selection.parameters,
        "deal": after.deal if after else None,
        "value": after.value if after else None,
        "limit": limit + 1,
    }
    found = run(cursor, statement, parameters)
    deals = [deal for deal, _ in found[:limit]]
    following = None
    if len(found) > limit:
        deal, value = found[limit - 1]
        following = PagePlace(value.isoformat() if isinstance(value, date) else value, deal)
    return Page(deals, following)


def weight_of(weights: Mapping[str, float]) -> str:
    """The worth of a unit of a pledge's currency: NULL where it is not known."""
    cases = " ".join(f"WHEN '{currency}' THEN {weight!r}" for currency, weight in weights.items())
    return f"CASE p.currency {cases} END" if cases else "NULL"


# --- facets -----------------------------------------------------------------------------------------------------------

_FACETS = """
WITH selected AS (
    SELECT d.deal, d.kind, d.sectors, d.classifications FROM deal_facts AS d WHERE {conditions}
), parties AS (
    SELECT p.deal, p.organization, p.role, p.share
      FROM party_facts AS p
     WHERE {p} AND p.left_on IS NULL {narrowed}
), pledges AS (
    SELECT p.deal, p.commitment, p.currency
      FROM pledge_facts AS p
     WHERE {p} AND p.status <> 'withdrawn' {narrowed}
), sites AS (
    SELECT DISTINCT p.deal, p.place
      FROM site_facts AS p
     WHERE {p} AND p.status <> 'dropped' AND p.place IS NOT NULL {narrowed}
), regions AS (
    SELECT deal, place FROM sites UNION SELECT deal, left(place, 2) FROM sites
), metrics AS (
    SELECT p.deal, p.metric, p.site FROM metric_facts AS p WHERE {p} {narrowed}
), site_figures AS (
    SELECT p.deal, p.site, p.status, p.power_mw, p.gpus FROM site_facts AS p WHERE {p} {narrowed}
), figures AS (
    SELECT m.deal, m.metric
      FROM metrics AS m
           LEFT JOIN site_figures AS s ON s.deal = m.deal AND s.site = m.site
     WHERE coalesce(s.status, '') <> 'dropped'
    UNION ALL
    SELECT deal, 'power_mw' FROM site_figures WHERE status <> 'dropped' AND power_mw IS NOT NULL
    UNION ALL
    SELECT deal, 'gpus' FROM site_figures WHERE status <> 'dropped' AND gpus IS NOT NULL
)
SELECT 'kind' AS facet, kind AS value, count(*) AS deals FROM selected GROUP BY kind
UNION ALL
SELECT 'sector', unnest(sectors) AS value, count(*) FROM selected GROUP BY value
UNION ALL
SELECT 'classification', unnest(classifications) AS value, count(*) FROM selected GROUP BY value
UNION ALL
SELECT 'stage', p.stage, count(*) FROM stage_facts AS p WHERE {p} {narrowed} GROUP BY p.stage
UNION ALL
SELECT 'organization', organization, count(DISTINCT deal) FROM parties GROUP BY organization
UNION ALL
SELECT 'role', role, count(DISTINCT deal) FROM parties WHERE role <> '' GROUP BY role
UNION ALL
SELECT 'region', place, count(*) FROM regions GROUP BY place
UNION ALL
SELECT 'commitment', commitment, count(DISTINCT deal) FROM pledges GROUP BY commitment
UNION ALL
SELECT 'currency', currency, count(DISTINCT deal) FROM pledges GROUP BY currency
UNION ALL
SELECT 'metric', metric, count(DISTINCT deal) FROM figures GROUP BY metric
UNION ALL
{items}
UNION ALL
SELECT 'share_min', b.share::VARCHAR, count(DISTINCT p.deal)
  FROM parties AS p
       JOIN (VALUES {shares}) AS b (share) ON p.share >= b.share
 GROUP BY b.share
"""

_ITEM_FACET = """
SELECT '{name}', p.kind, count(DISTINCT p.deal)
  FROM {table} AS p
 WHERE {p} AND {stands} {narrowed}
 GROUP BY p.kind
"""

FACET_SHARES = (10, 25, 50, 100)
"""Shares in percent of which the facet `share_min` counts the deals that have a party with one at least as large."""

_PLACES = """
SELECT place AS value, count(DISTINCT deal) AS deals
  FROM site_facts AS p
 WHERE {p} AND p.status <> 'dropped' AND p.place IS NOT NULL {narrowed}
 GROUP BY place
"""


_SITE_POINTS = """
SELECT deal, CAST(latitude AS DOUBLE) AS latitude, CAST(longitude AS DOUBLE) AS longitude
  FROM site_facts AS p
 WHERE {p} AND p.status <> 'dropped' AND p.latitude IS NOT NULL AND p.longitude IS NOT NULL
       AND coalesce(p.precision, 'exact') IN ('exact', 'locality', 'district') {narrowed}
 ORDER BY deal, site
 LIMIT $limit
"""


def _narrowed(selection: Selection, point: Point) -> str:
    if selection.is_all:
        return ""
    return f"AND p.deal IN (SELECT d.deal FROM deal_facts AS d WHERE {selection.conditions(point)})"


def facets(cursor: DuckDBPyConnection, kept: Kept, point: Point, selection: Selection) -> dict[str, dict[str, int]]:
    """The number of selected deals by each value of each facet, in the order of values."""
    narrowed = "" if selection.is_all else "AND p.deal IN (SELECT deal FROM selected)"

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        shares = ", ".join(f"({share})" for share in FACET_SHARES)
        given = {"p": at.at("p"), "narrowed": narrowed}
        items = "UNION ALL".join(
            _ITEM_FACET.format(name=name, table=table.name, stands=table.stands("p"), **given)
            for name, table in ITEM_TABLES.items()
        )
        statement = _FACETS.format(conditions=selection.conditions(at), items=items, shares=shares, **given)
        return statement, {**at.parameters, **selection.parameters}

    with kept.sums(cursor, point, selection.kept_as("facets"), select, ("deals",)) as source:
        rows = run(cursor, _COUNTED.format(names="facet, value", source=source), {})
    counts: dict[str, dict[str, int]] = {}
    for facet, value, deals in sorted(rows):
        counts.setdefault(facet, {})[value] = deals
    return counts


_COUNTED = """
SELECT {names}, sum(deals)::BIGINT AS deals
  FROM {source}
 WHERE value IS NOT NULL
 GROUP BY {names}
HAVING sum(deals) > 0
"""


def places(cursor: DuckDBPyConnection, kept: Kept, point: Point, selection: Selection) -> list[tuple[str, int]]:
    """The places of the selected deals with their number of deals, the most first."""

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        statement = _PLACES.format(p=at.at("p"), narrowed=_narrowed(selection, at))
        return statement, {**at.parameters, **selection.parameters}

    with kept.sums(cursor, point, selection.kept_as("places"), select, ("deals",)) as source:
        rows = run(cursor, _COUNTED.format(names="value", source=source), {})
    return sorted(((place, deals) for place, deals in rows), key=lambda one: (-one[1], one[0]))


def site_points(
    cursor: DuckDBPyConnection, point: Point, selection: Selection, limit: int
) -> list[tuple[str, float, float]]:
    """The deal, latitude and longitude of sites of the selected deals whose place is known to a locality or better."""
    statement = _SITE_POINTS.format(p=point.at("p"), narrowed=_narrowed(selection, point))
    return run(cursor, statement, {**point.parameters, **selection.parameters, "limit": limit})


_UPDATES = """
SELECT d.deal, max(e.recorded_at)
  FROM deal_facts AS d
       JOIN deal_events AS e ON e.deal = d.deal
 WHERE {conditions}
 GROUP BY d.deal
 ORDER BY d.deal
 LIMIT $limit OFFSET $skip
"""


def updates(cursor: DuckDBPyConnection, point: Point, skip: int, limit: int) -> list[tuple[str, datetime]]:
    """The deals of a point in order, each with the time at which its latest event was recorded."""
    statement = _UPDATES.format(conditions=point.at("d"))
    return run(cursor, statement, {**point.parameters, "skip": skip, "limit": limit})


_EVENTS = """
SELECT DISTINCT e.position
  FROM deal_events AS e
 WHERE e.position {range}
   AND e.position <= $head
   AND e.deal IN ({slugs})
 ORDER BY e.position {order}
 LIMIT $limit
"""


def event_positions(
    cursor: DuckDBPyConnection, point: Point, selection: Selection, start: int, limit: int, *, newest: bool
) -> list[int]:
    """The next events of the selected deals after a position, or the last ones before it, up to the point's head."""
    range, order = ("< $start", "DESC") if newest else ("> $start", "")
    statement = _EVENTS.format(range=range, order=order, slugs=selection.slugs(point))
    given = {"head": point.head, "start": start, "limit": limit}
    return [position for (position,) in run(cursor, statement, {**point.parameters, **selection.parameters, **given})]


def count(cursor: DuckDBPyConnection, point: Point, selection: Selection) -> int:
    """The number of selected deals."""
    statement = _COUNT.format(slugs=selection.slugs(point))
    ((deals,),) = run(cursor, statement, {**point.parameters, **selection.parameters})
    return int(deals)


_COUNT = "SELECT count(*) FROM ({slugs})"

# Deals that no longer stand: they are in lists and not in totals.
_ENDED = """
SELECT count(*)
  FROM deal_facts AS d
 WHERE {conditions}
   AND (d.deal IN (SELECT s.deal FROM stage_facts AS s WHERE {s} AND s.stage IN {ended})
        OR d.deal IN (SELECT r.other_deal
                        FROM relation_facts AS r
                       WHERE {r} AND r.relation = 'supersedes' AND r.other_pledge = ''))
"""


def count_ended(cursor: DuckDBPyConnection, point: Point, selection: Selection) -> int:
    """The number of selected deals that were withdrawn, cancelled or superseded as a whole."""
    statement = _ENDED.format(
        ended=ENDED_STAGES, conditions=selection.conditions(point), s=point.at("s"), r=point.at("r")
    )
    ((deals,),) = run(cursor, statement, {**point.parameters, **selection.parameters})
    return int(deals)
