"""The facets of a list, and its places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duckdb import DuckDBPyConnection

from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.selection import ITEM_TABLES, Selection, run
from registry.projections.point import Point
from registry.schemas.deal_query import FIELD_FILTERS

_FACETS = """
WITH selected AS (
    SELECT d.deal, {columns} FROM deal_facts AS d WHERE {conditions}
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
{fields}
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

# An identifier is of one deal.
_FIELDS = {name: field for name, field in FIELD_FILTERS.items() if name != "identifier"}

_FIELD_COLUMNS = ", ".join(f"d.{field}" for field in _FIELDS.values())

_FIELD_FACETS = " UNION ALL ".join(
    f"SELECT '{name}' AS facet, {field if field == name else f'unnest({field})'} AS value, count(*) AS deals"
    " FROM selected GROUP BY value"
    for name, field in _FIELDS.items()
)

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
    """The condition that a row `p` is of a selected deal; empty if all are selected."""
    if selection.is_all:
        return ""
    return f"AND p.deal IN (SELECT d.deal FROM deal_facts AS d WHERE {selection.conditions(point)})"


def facets(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, selection: Selection
) -> dict[str, dict[str, int]]:
    """The number of selected deals by each value of each facet, in the order of values."""
    narrowed = "" if selection.is_all else "AND p.deal IN (SELECT deal FROM selected)"

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        shares = ", ".join(f"({share})" for share in FACET_SHARES)
        given = {"p": at.at("p"), "narrowed": narrowed}
        items = "UNION ALL".join(
            _ITEM_FACET.format(name=name, table=table.name, stands=table.stands("p"), **given)
            for name, table in ITEM_TABLES.items()
        )
        given |= {"columns": _FIELD_COLUMNS, "fields": _FIELD_FACETS, "items": items, "shares": shares}
        statement = _FACETS.format(conditions=selection.conditions(at), **given)
        return statement, {**at.parameters, **selection.parameters}

    with cache.sums(cursor, point, selection.cache_key("facets"), select, ("deals",)) as source:
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


def places(
    cursor: DuckDBPyConnection, cache: QuestionCache, point: Point, selection: Selection
) -> list[tuple[str, int]]:
    """The places of the selected deals with their number of deals, the most first."""

    def select(at: Point, _: Sequence[str]) -> tuple[str, dict[str, Any]]:
        statement = _PLACES.format(p=at.at("p"), narrowed=_narrowed(selection, at))
        return statement, {**at.parameters, **selection.parameters}

    with cache.sums(cursor, point, selection.cache_key("places"), select, ("deals",)) as source:
        rows = run(cursor, _COUNTED.format(names="value", source=source), {})
    return sorted(((place, deals) for place, deals in rows), key=lambda one: (-one[1], one[0]))


def site_points(
    cursor: DuckDBPyConnection, point: Point, selection: Selection, limit: int
) -> list[tuple[str, float, float]]:
    """The deal, latitude and longitude of sites of the selected deals whose place is known to a locality or better."""
    statement = _SITE_POINTS.format(p=point.at("p"), narrowed=_narrowed(selection, point))
    return run(cursor, statement, {**point.parameters, **selection.parameters, "limit": limit})
