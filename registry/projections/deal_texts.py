"""What a search shows of the deals that it finds, beside their rows: their organizations and sites, by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from registry.infra.postgres import Pool
from registry.projections.point import END_OF_LOG, Point

_AT = "{t}.effective_from <= $2 AND {t}.effective_to > $2 AND {t}.{axis}_from <= $3 AND {t}.{axis}_to > $3"

# A text of an event stands from the event's day on; what a correction took away was known on no day of publication.
_TEXT_AT = {
    "recorded": "t.effective_from <= $2 AND t.recorded_from <= $3 AND t.recorded_to > $3",
    "published": f"t.effective_from <= $2 AND t.published_from <= $3 AND t.recorded_to = {END_OF_LOG}",
}

_SELECT = """
SELECT w.deal,
       (SELECT json_agg(json_build_array(p.organization, p.name) ORDER BY p.joined_on, p.organization)
          FROM (SELECT p.organization, max(p.name) AS name, min(p.joined_on) AS joined_on
                  FROM party_facts AS p
                 WHERE p.deal = w.deal AND {p} AND p.left_on IS NULL
                 GROUP BY p.organization) AS p) AS parties,
       ARRAY (SELECT unnest(p.organizations) AS organization
                FROM pledge_facts AS p
               WHERE p.deal = w.deal AND {p} AND p.status <> 'withdrawn'
               UNION
              SELECT t.name
                FROM events AS e
                     JOIN event_texts AS t ON t.position = e.position
               WHERE e.stream = 'deal/' || w.deal AND t.name IS NOT NULL AND {t}
               ORDER BY organization) AS others,
       (SELECT json_agg(json_build_array(s.name, s.locality, s.address) ORDER BY s.announced_on, s.site)
          FROM site_facts AS s
         WHERE s.deal = w.deal AND {s} AND s.status <> 'dropped') AS sites
  FROM unnest($1::text[]) AS w (deal)
"""


class DealTexts(Struct, frozen=True):
    """The organizations and sites of a deal.

    Attributes:
        parties: The current parties with the names that the deal gives them, as JSON.
        others: The slugs of the organizations that take part without being parties, and of those that pledge.
        sites: The name as JSON, the locality and the address of each site that was not dropped.
    """

    parties: list[tuple[str, str | None]]
    others: list[str]
    sites: list[tuple[str | None, str | None, str | None]]

    @property
    def organizations(self) -> set[str]:
        """The slugs of all organizations."""
        return {slug for slug, _ in self.parties} | set(self.others)


_parties = msgspec.json.Decoder(list[tuple[str, str | None]]).decode
_sites = msgspec.json.Decoder(list[tuple[str | None, str | None, str | None]]).decode


async def deal_texts(pool: Pool, point: Point, deals: Sequence[str]) -> dict[str, DealTexts]:
    """The texts of these deals at a point."""
    at: dict[str, Any] = {table: _AT.format(t=table, axis=point.axis) for table in "ps"}
    rows = await pool.fetch(_SELECT.format(**at, t=_TEXT_AT[point.axis]), list(deals), point.day, point.known)
    return {
        row["deal"]: DealTexts(_parties(row["parties"] or b"[]"), row["others"], _sites(row["sites"] or b"[]"))
        for row in rows
    }
