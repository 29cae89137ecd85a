"""The organizations that announcements name, with the deals that name them and the names that they were given."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from duckdb import DuckDBPyConnection
from msgspec import Struct

from registry.projections.columnar.selection import Point, run

# Parties, and who pledges without being a party. A merged record's deals count for the one that it was merged into.
_MENTIONS = """
WITH merged AS (
    SELECT unnest($duplicates::VARCHAR[]) AS duplicate, unnest($survivors::VARCHAR[]) AS survivor
), named AS (
    SELECT p.organization, p.deal, p.name, p.joined_on FROM party_facts AS p WHERE {p}
    UNION ALL
    SELECT unnest(p.organizations), p.deal, NULL, NULL FROM pledge_facts AS p WHERE {p}
), mentions AS (
    SELECT coalesce(m.survivor, n.organization) AS organization, n.deal, n.name, n.joined_on
      FROM named AS n LEFT JOIN merged AS m ON m.duplicate = n.organization
)
"""

_PAGE = f"""
{_MENTIONS}
SELECT organization, count(DISTINCT deal),
       arg_max(name, (joined_on, name)) FILTER (WHERE name IS NOT NULL AND joined_on IS NOT NULL)
  FROM mentions
 WHERE organization > $after OR list_contains($also::VARCHAR[], organization)
 GROUP BY organization
 ORDER BY organization
 LIMIT $limit
"""

_NAMES = f"""
{_MENTIONS}
SELECT organization, count(DISTINCT deal), list(DISTINCT name ORDER BY name) FILTER (WHERE name IS NOT NULL)
  FROM mentions
 GROUP BY organization
 ORDER BY organization
"""

_SLUGS = f"{_MENTIONS} SELECT DISTINCT organization FROM mentions"


class Mention(Struct, frozen=True):
    """An organization, how many deals name it, and its names in them: each is the JSON of a text by language."""

    organization: str
    deals: int
    names: tuple[str, ...]


def page(
    cursor: DuckDBPyConnection,
    point: Point,
    merged: Mapping[str, str],
    after: str,
    also: Collection[str],
    limit: int,
) -> list[Mention]:
    """Organizations that deals name at a point, in the order of their slugs, with the name that was given last.

    Args:
        cursor: A cursor of the copy.
        point: The point.
        merged: The record that each merged one redirects to.
        after: Where the page begins.
        also: Organizations that are returned in any case, if a deal names them.
        limit: The most organizations.
    """
    statement = _PAGE.format(p=point.at("p"))
    parameters = {"after": after, "also": list(also), "limit": limit + len(also)}
    rows = run(cursor, statement, {**_at(point, merged), **parameters})
    return [Mention(slug, deals, (name,) if name is not None else ()) for slug, deals, name in rows]


def all_names(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> list[Mention]:
    """Every organization that deals name at a point, with all names that it was given."""
    rows = run(cursor, _NAMES.format(p=point.at("p")), _at(point, merged))
    return [Mention(slug, deals, tuple(names or ())) for slug, deals, names in rows]


def slugs(cursor: DuckDBPyConnection, point: Point, merged: Mapping[str, str]) -> set[str]:
    """The slugs of the organizations that deals name at a point."""
    return {slug for (slug,) in run(cursor, _SLUGS.format(p=point.at("p")), _at(point, merged))}


def _at(point: Point, merged: Mapping[str, str]) -> dict[str, object]:
    return {**point.parameters, "duplicates": list(merged), "survivors": list(merged.values())}
