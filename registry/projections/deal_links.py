"""The deals that name an organization or another deal, read from the fact tables by index."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from msgspec import Struct

from registry.infra.postgres import Pool
from registry.projections.deal_items import localized
from registry.projections.point import Point
from registry.schemas.values import LocalizedResponse

_AT = "{t}.effective_from <= $1 AND {t}.effective_to > $1 AND {t}.{axis}_from <= $2 AND {t}.{axis}_to > $2"

_SELECT_RELATED = """
SELECT DISTINCT r.deal
  FROM relation_facts AS r
 WHERE r.other_deal = $3 AND {r}
 ORDER BY r.deal
"""

_SELECT_EVER_RELATED = "SELECT DISTINCT deal FROM relation_facts WHERE other_deal = $1 ORDER BY deal"

_SELECT_DEALS_OF = """
SELECT p.deal, d.title, array_agg(DISTINCT p.role ORDER BY p.role) FILTER (WHERE p.role <> '') AS roles
  FROM party_facts AS p
       JOIN deal_facts AS d ON d.deal = p.deal AND {d}
 WHERE p.organization = ANY ($3::text[]) AND p.left_on IS NULL AND {p}
 GROUP BY p.deal, d.title
 ORDER BY p.deal
 LIMIT $4
"""


class PartyDeal(Struct, frozen=True):
    """A deal of an organization, with its roles in it."""

    deal: str
    title: LocalizedResponse | None
    roles: tuple[Any, ...]


@cache
def _statement(statement: str, axis: str) -> str:
    return statement.format(**{table: _AT.format(t=table, axis=axis) for table in "dpr"})


async def related_to(pool: Pool, point: Point, deal: str) -> list[str]:
    """The deals that declare a relation to this one at a point."""
    rows = await pool.fetch(_statement(_SELECT_RELATED, point.axis), point.day, point.known, deal)
    return [row["deal"] for row in rows]


async def ever_related_to(pool: Pool, deal: str) -> list[str]:
    """The deals that declare a relation to this one at any point in time."""
    return [row["deal"] for row in await pool.fetch(_SELECT_EVER_RELATED, deal)]


async def deals_of(pool: Pool, point: Point, organizations: Collection[str], limit: int) -> list[PartyDeal]:
    """The deals that have one of these organizations as a party at a point, in the order of slugs."""
    statement = _statement(_SELECT_DEALS_OF, point.axis)
    rows = await pool.fetch(statement, point.day, point.known, list(organizations), limit)
    return [PartyDeal(row["deal"], localized(row["title"]), tuple(row["roles"] or ())) for row in rows]
