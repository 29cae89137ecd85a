"""Every organization as it is now: what names are joined from, and what lists of organizations show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from registry.domain.fold import ORGANIZATIONS
from registry.domain.history import FoldedStream
from registry.events.write_batch import WriteBatch
from registry.projections.projection import AppliedChange, BatchProjector
from registry.schemas import encode, organization_fields

PUT = """
registered AS (
    INSERT INTO organizations (organization, version, position, merged_into, names, state)
    SELECT organization, version, position, merged_into, names, state
      FROM unnest($1::new_organization[])
    ON CONFLICT (organization) DO UPDATE
       SET version = excluded.version, position = excluded.position, merged_into = excluded.merged_into,
           names = excluded.names, state = excluded.state
)
"""

FORGET = "DELETE FROM organizations WHERE organization = ANY ($1::text[])"

NAMED = """
SELECT organization, merged_into, state
  FROM organizations
 WHERE organization = ANY ($1::text[])
"""

PAGE = """
SELECT state
  FROM organizations
 WHERE organization > $1 AND merged_into IS NULL
 ORDER BY organization
 LIMIT $2
"""

# A name of a duplicate finds the record that the duplicate was merged into, over however many merges.
FIND = """
WITH RECURSIVE found (organization, merged_into) AS (
    SELECT organization, merged_into
      FROM organizations
     WHERE EXISTS (SELECT FROM unnest(names) AS n (name) WHERE name ILIKE $3)
     UNION
    SELECT o.organization, o.merged_into
      FROM found AS f JOIN organizations AS o ON o.organization = f.merged_into
)
SELECT state
  FROM organizations
 WHERE organization > $1 AND merged_into IS NULL AND organization IN (SELECT organization FROM found)
 ORDER BY organization
 LIMIT $2
"""


class OrganizationsProjection:
    """The view behind `GET /v1/organizations`."""

    name = "organizations"
    tables = ("organizations",)

    def start_batch(self) -> BatchProjector:
        return _OrganizationRows()

    def delete_rows(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        writes.add_prerequisite(FORGET, [history.slug for history in histories if history.rules is ORGANIZATIONS])

    def rebuild(self, histories: Sequence[FoldedStream[Any]], writes: WriteBatch) -> None:
        _put(writes, [history for history in histories if history.rules is ORGANIZATIONS])


class _OrganizationRows:
    """The organizations of a group, as its last events of them left them."""

    def __init__(self) -> None:
        self._last: dict[str, FoldedStream[Any]] = {}

    def apply(self, step: AppliedChange) -> None:
        if step.recorded.kind == "organization":
            self._last[step.after.slug] = step.after

    def write(self, writes: WriteBatch) -> None:
        _put(writes, list(self._last.values()))


def _put(writes: WriteBatch, histories: Sequence[FoldedStream[Any]]) -> None:
    if histories:
        writes.add(
            PUT,
            [
                (
                    history.slug,
                    history.version,
                    history.events[-1].position,
                    history.record.merged_into,
                    list(history.state.all_names()),
                    encode(organization_fields(history.state)),
                )
                for history in histories
            ],
        )


async def named(connection: Any, slugs: Sequence[str]) -> dict[str, msgspec.Raw]:
    """The present state of these organizations, those that are registered, as JSON."""
    return {row["organization"]: msgspec.Raw(row["state"]) for row in await connection.fetch(NAMED, list(slugs))}


async def page(connection: Any, after: str, pattern: str | None, limit: int) -> list[msgspec.Raw]:
    """Organizations in the order of their slugs, behind `after`, without those that were merged into another.

    `pattern` is an ILIKE pattern for any of their names.
    """
    query = (PAGE, after, limit) if pattern is None else (FIND, after, limit, pattern)
    return [msgspec.Raw(row["state"]) for row in await connection.fetch(*query)]
