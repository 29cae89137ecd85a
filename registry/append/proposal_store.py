"""The table of proposals: its statements, and the proposals that they return."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from registry.append.proposal import ListedSubmission, Proposal, Status
from registry.infra.postgres import Connection, Pool

INSERT = """
INSERT INTO proposals (id, submission, kind, slug, announcements, digest, proposed_by, proposed_at, status, seal)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9)
"""

PAGE_BYTES = 8 * 2**20
"""Bytes of the announcements of a page of proposals, beside those of the first."""

MAX_OPEN = 20_000
"""Open proposals of one principal."""

MAX_OPEN_BYTES = 256 * 2**20
"""Bytes of their announcements."""

MAX_CHANGES = 1_000
"""Changes of one proposal: each is kept, with its author and time."""

LISTED_BYTES = 16 * 2**10
"""Bytes of the announcements of a proposal that a list reads."""

_COLUMNS = """
SELECT id, submission, kind, slug, announcements, digest, proposed_by, proposed_at, changed_by, changed_at, status,
       decided_by, decided_at, reason, position, seal
  FROM proposals
"""

SELECT_ONE = f"{_COLUMNS} WHERE id = $1"
SELECT_FOR_UPDATE = f"{_COLUMNS} WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE"
SELECT_SUBMISSION = f"{_COLUMNS} WHERE submission = $1 ORDER BY id"

SELECT_IS_OWN = "SELECT bool_and(proposed_by = $2) FROM proposals WHERE submission = $1"

SELECT_OPEN_SIZE = """
SELECT count(*) AS number, coalesce(sum(octet_length(announcements)), 0)::bigint AS bytes
  FROM proposals
 WHERE status = 'open' AND proposed_by = $1
"""

# As many as are asked for, but no more than fit in $5 bytes beside the first.
SELECT_PAGE = """
SELECT id, submission, kind, slug, announcements, digest, proposed_by, proposed_at, changed_by, changed_at, status,
       decided_by, decided_at, reason, position, seal
  FROM (SELECT *, row_number() OVER newest AS number,
               sum(coalesce(octet_length(announcements), 0)) OVER newest AS bytes
          FROM (SELECT *
                  FROM proposals
                 WHERE ($1::text IS NULL OR status = $1)
                   AND ($2::text IS NULL OR proposed_by = $2 OR $2 = ANY(changed_by)
                        OR slug = ANY(CASE kind WHEN 'deal' THEN $6::text[] ELSE $7::text[] END))
                   AND ($3::uuid IS NULL OR id < $3)
                 ORDER BY id DESC
                 LIMIT $4) AS wanted
        WINDOW newest AS (ORDER BY id DESC)) AS sized
 WHERE number = 1 OR bytes <= $5
 ORDER BY id DESC
"""

# A submission's first proposal is its first deal: that is what a reviewer looks for.
SELECT_SUBMISSIONS = """
SELECT submission, count(*) AS proposals, (array_agg(id ORDER BY kind, id))[1] AS first
  FROM proposals
 WHERE status = $1 AND ($2::text IS NULL OR proposed_by = $2 OR $2 = ANY(changed_by)
                        OR slug = ANY(CASE kind WHEN 'deal' THEN $5::text[] ELSE $6::text[] END))
   AND ($3::uuid IS NULL OR submission < $3)
 GROUP BY submission
 ORDER BY submission DESC
 LIMIT $4
"""

# Lists show the names of new deals and organizations, which short proposals give; those of over $2 bytes are not read.
SELECT_LISTED = """
SELECT id, submission, kind, slug, CASE WHEN octet_length(announcements) <= $2 THEN announcements END AS announcements,
       digest, proposed_by, proposed_at, changed_by, changed_at, status, decided_by, decided_at, reason, position, seal
  FROM proposals
 WHERE id = ANY($1::uuid[])
"""

SELECT_WAITING = f"""{_COLUMNS}
 WHERE status = 'open' AND slug = ANY($1::text[]) AND digest = ANY($2::bytea[])
"""

UPDATE_CONTENT = """
UPDATE proposals SET announcements = $2, digest = $3, changed_by = $4, changed_at = $5, seal = $6 WHERE id = $1
"""

UPDATE_DECISION = """
UPDATE proposals
   SET status = $2, decided_by = $3, decided_at = $4, reason = $5, position = $6, announcements = NULL
 WHERE id = $1
"""


class Visible(NamedTuple):
    """Which proposals a principal sees: all, or those that it has written and those for some streams.

    `principal` is None for all.
    """

    principal: str | None
    deals: Sequence[str] = ()
    organizations: Sequence[str] = ()


async def insert(connection: Connection, proposals: Iterable[Proposal]) -> None:
    """Add open proposals."""
    await connection.executemany(
        INSERT,
        [
            (
                *(one.id, one.submission, one.kind, one.slug, one.announcements),
                *(one.digest, one.proposed_by, one.proposed_at, one.seal),
            )
            for one in proposals
        ],
    )


async def has_too_many(connection: Connection, principal: str) -> bool:
    """Whether the open proposals of a principal are over the limits, with those of this transaction."""
    row = await connection.fetchrow(SELECT_OPEN_SIZE, principal)
    assert row is not None
    return bool(row["number"] > MAX_OPEN or row["bytes"] > MAX_OPEN_BYTES)


async def is_own(pool: Pool, submission: UUID, principal: str) -> bool:
    """Whether the submission exists and a principal has proposed all of it."""
    return bool(await pool.fetchval(SELECT_IS_OWN, submission, principal))


async def waiting(pool: Pool, slugs: Collection[str], digests: Collection[bytes]) -> list[Proposal]:
    """The open proposals for some streams with some contents."""
    return [Proposal(**row) for row in await pool.fetch(SELECT_WAITING, list(slugs), list(digests))]


async def page(pool: Pool, status: Status | None, visible: Visible, before: UUID | None, limit: int) -> list[Proposal]:
    """Proposals before an id, the newest first, as far as a principal sees them.

    There are fewer than `limit` where these would have too many bytes, but always one if there is one.
    """
    principal, *streams = visible
    rows = await pool.fetch(SELECT_PAGE, status, principal, before, limit, PAGE_BYTES, *streams)
    return [Proposal(**row) for row in rows]


async def submissions(
    pool: Pool, status: Status, visible: Visible, before: UUID | None, limit: int
) -> list[ListedSubmission]:
    """Submissions before an id, the newest first, as far as a principal sees them."""
    principal, *streams = visible
    listed = await pool.fetch(SELECT_SUBMISSIONS, status, principal, before, limit, *streams)
    rows = await pool.fetch(SELECT_LISTED, [row["first"] for row in listed], LISTED_BYTES)
    by_id = {row["id"]: Proposal(**row) for row in rows}
    return [ListedSubmission(by_id[row["first"]], row["proposals"]) for row in listed]


async def get(pool: Pool, id: UUID) -> Proposal | None:
    """A proposal; None if there is none with this id."""
    row = await pool.fetchrow(SELECT_ONE, id)
    return Proposal(**row) if row is not None else None


async def of_submission(pool: Pool, submission: UUID) -> list[Proposal]:
    """The proposals of a submission, in the order in which they were proposed."""
    return [Proposal(**row) for row in await pool.fetch(SELECT_SUBMISSION, submission)]


async def lock(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Proposal]:
    """Lock proposals until the transaction ends, in the order of ids: two reviewers cannot wait for each other."""
    return {row["id"]: Proposal(**row) for row in await connection.fetch(SELECT_FOR_UPDATE, list(ids))}


async def replace_content(connection: Connection, changed: Proposal) -> None:
    """Write the content of a proposal, who changed it, and its seal."""
    row = changed.id, changed.announcements, changed.digest, changed.changed_by, changed.changed_at, changed.seal
    await connection.execute(UPDATE_CONTENT, *row)


async def decide(connection: Connection, decided: Sequence[Proposal]) -> None:
    """Write decisions, and delete the content of what was decided."""
    await connection.executemany(
        UPDATE_DECISION,
        [(one.id, one.status, one.decided_by, one.decided_at, one.reason, one.position) for one in decided],
    )
