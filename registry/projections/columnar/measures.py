"""The figures of a measure as DuckDB adds them up: metrics, and the power and the GPUs of sites.

A row has the columns of `pledge_facts` that totals read (`totals.py`), with the unit in place of the currency. The
deals whose figures contain or replace each other are examined one by one, by `domain/totals/measures.py`. A figure of a
site that the deal does not have is in the places of the deal.
"""

from __future__ import annotations

from registry.domain.totals.measures import SITE_FIELDS
from registry.projections.point import Point

_COLUMNS = """
       NULL::DECIMAL(24, 6) AS low, NULL::DECIMAL(24, 6) AS high, NULL AS amount_basis, NULL AS commitment,
       NULL AS figure, []::VARCHAR[] AS organizations, NULL::VARCHAR AS organization
"""

_METRICS = """
SELECT m.deal, m.metric_id AS pledge, m.stated_on AS announced_on, m.stated_on, m.qualifier,
       coalesce(m.unit, '') AS currency, m.basis AS nature, m.site, s.place,
       if(s.status = 'dropped', 'dropped', 'announced') AS status, m.value, s.site IS NOT NULL AS is_of_site,
       coalesce(m.for_day, m.stated_on) AS for_day, {columns}
  FROM metric_facts AS m
       LEFT JOIN site_facts AS s ON s.deal = m.deal AND s.site = m.site AND {s}
 WHERE {m} AND m.metric = '{measure}'
"""

_SITES = """
SELECT s.deal, s.site || '/{measure}', s.announced_on, s.announced_on, s.{qualifier}, '', 'planned', s.site, s.place,
       s.status, s.{measure}::DECIMAL(24, 6), true, NULL, {columns}
  FROM site_facts AS s
 WHERE {s} AND s.{measure} IS NOT NULL
"""

# Deals with a figure of the deal beside one of a site, or with several of one site.
_CONTAINING = """
SELECT p.deal
  FROM ({source}) AS p
 GROUP BY p.deal
HAVING count(*) > 1
   AND (count(*) > count(DISTINCT (coalesce(p.site, ''), p.nature, p.currency))
        OR bool_or(p.site IS NULL) AND bool_or(p.site IS NOT NULL))
"""

# As `domain/totals/measures.quantities`: of several figures of one site the latest; a deal's own contains its sites'.
# With a window in the place of `arg_max`, 250,000 figures take 1.3 to 1.8 times as long.
_QUANTITIES = """
SELECT f.deal, f.nature, f.currency, coalesce(max(f.value) FILTER (f.site IS NULL), sum(f.value)) AS value
  FROM (SELECT deal, site, nature, currency,
               arg_max(value, {{'a': coalesce(for_day, DATE '0001-01-01'), 'b': stated_on, 'c': pledge}}) AS value
          FROM ({source})
         WHERE status <> 'dropped' AND value IS NOT NULL
         GROUP BY deal, site, nature, currency) AS f
 GROUP BY f.deal, f.nature, f.currency
"""


def figures(measure: str, point: Point) -> str:
    """The query of the figures of a measure at a point."""
    parts = [_METRICS.format(columns=_COLUMNS, s=point.at("s"), m=point.at("m"), measure=measure)]
    if measure in SITE_FIELDS:
        qualifier = "power_qualifier" if measure == "power_mw" else "gpus_qualifier"
        parts.append(_SITES.format(columns=_COLUMNS, s=point.at("s"), measure=measure, qualifier=qualifier))
    return " UNION ALL ".join(parts)


def quantities(measure: str, point: Point) -> str:
    """The query of how much of a measure each deal has at a point, by basis (`nature`) and unit (`currency`)."""
    return _QUANTITIES.format(source=figures(measure, point))


def containing(measure: str, point: Point) -> str:
    """The query of the deals whose figures contain or replace each other."""
    return _CONTAINING.format(source=figures(measure, point))
