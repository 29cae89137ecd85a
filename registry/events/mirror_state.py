"""The tables of a mirror: what it follows, which keys it trusts, and what its origin contradicted.

A database with a row in `mirror` holds a verified copy of another registry's log. Postgres then refuses every append
but the follower's (`registry/mirror`), and no service signs. An incident stops the follower, also after a restart,
until an operator decides (`registry mirror accept`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import asyncpg
import msgspec
from msgspec import Struct

from registry.infra.postgres import Connection, Pool

# The SQLSTATE of the trigger that refuses other appends (migrations/).
REFUSED_APPEND = "RG002"

SELECT_MIRROR = "SELECT url, origin, names_position FROM mirror"

INSERT_MIRROR = "INSERT INTO mirror (url, origin, since) VALUES ($1, $2, $3)"

UPDATE_URL = "UPDATE mirror SET url = $1"

SELECT_KEYS = "SELECT verifier FROM mirror_keys ORDER BY number"

INSERT_KEY = """
INSERT INTO mirror_keys (number, verifier, trusted_at, trusted_by)
SELECT (SELECT coalesce(max(number), 0) + 1 FROM mirror_keys), $1, $2, $3
    ON CONFLICT DO NOTHING
"""

# The transaction's own mark, which the trigger on `events` looks for.
ALLOW_APPEND = "SELECT set_config('registry.following', 'yes', true)"

# One open incident is enough: the first contradiction is the one that stopped the mirror.
INSERT_INCIDENT = """
INSERT INTO mirror_incidents (number, noticed_at, kind, position, detail, evidence)
SELECT (SELECT coalesce(max(number), 0) + 1 FROM mirror_incidents), $1, $2, $3, $4, $5
 WHERE NOT EXISTS (SELECT FROM mirror_incidents WHERE decided_at IS NULL)
"""

INCIDENT_COLUMNS = "number, noticed_at, kind, position, detail, evidence, decided_at, decided_by, reason"

SELECT_INCIDENTS = f"SELECT {INCIDENT_COLUMNS} FROM mirror_incidents ORDER BY number"  # noqa: S608 - a constant

SELECT_OPEN_INCIDENT = f"SELECT {INCIDENT_COLUMNS} FROM mirror_incidents WHERE decided_at IS NULL"  # noqa: S608

DECIDE_INCIDENTS = f"""
UPDATE mirror_incidents
   SET decided_at = $1, decided_by = $2, reason = $3
 WHERE decided_at IS NULL
RETURNING {INCIDENT_COLUMNS}
"""  # noqa: S608 - a constant

SELECT_ALL_NAMES = "SELECT principal, position, name FROM mirrored_names"

SELECT_NAMES = "SELECT principal, position, name FROM mirrored_names WHERE principal = ANY ($1::text[])"

DELETE_NAMES = "DELETE FROM mirrored_names"

INSERT_NAMES = """
INSERT INTO mirrored_names (principal, position, name)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
"""

UPDATE_NAMES_POSITION = "UPDATE mirror SET names_position = $1"


class Mirror(Struct, frozen=True):
    """What the database is a mirror of: the address, the log's name, and how far principals' names were read."""

    url: str
    origin: str
    names_position: int


class MirrorIncident(Struct, frozen=True):
    """A contradiction that stopped the mirror. `evidence` is JSON: what was received, word for word."""

    number: int
    noticed_at: datetime
    kind: str
    position: int
    detail: str
    evidence: str
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class PrincipalName(Struct, frozen=True):
    """The display name that a principal has from a position on."""

    principal: str
    position: int
    name: str


class MirrorStatus(Struct, kw_only=True):
    """How a running mirror stands to its origin.

    Attributes:
        url: The origin's address.
        origin_size: The size of the newest verified checkpoint of the origin; None before the first.
        position: The last event of the verified copy.
        checked_at: When the origin last answered and did not contradict.
        is_complete: Whether the copy has reached a checkpoint of the origin since the mirror was set up.
        problem: Why it could not be asked or not be followed further for now; None while it can.
        incident: The contradiction that stopped the mirror; None while there is none.
    """

    url: str
    origin_size: int | None = None
    position: int = 0
    checked_at: datetime | None = None
    is_complete: bool = False
    problem: str | None = None
    incident: MirrorIncident | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the copy answers as the origin did at a checkpoint, and nothing contradicts it."""
        return self.is_complete and self.incident is None

    @property
    def behind(self) -> int | None:
        """How many events of the origin's newest checkpoint the copy lacks."""
        return None if self.origin_size is None else max(0, self.origin_size - self.position)


def is_refused_append(error: BaseException) -> bool:
    """Whether Postgres refused an append because the database is a mirror."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == REFUSED_APPEND


async def load(connection: Connection | Pool) -> Mirror | None:
    """What the database is a mirror of; None for a registry of its own."""
    row = await connection.fetchrow(SELECT_MIRROR)
    return Mirror(*row) if row is not None else None


async def start(connection: Connection, url: str, origin: str, keys: Iterable[str], trusted_by: str) -> None:
    """Make an empty database a mirror."""
    async with connection.transaction():
        await connection.execute(INSERT_MIRROR, url, origin, datetime.now(UTC))
        await trust(connection, keys, trusted_by)


async def move(connection: Connection, url: str) -> None:
    """Follow the same log at another address."""
    await connection.execute(UPDATE_URL, url)


async def trusted_keys(connection: Connection | Pool) -> list[str]:
    """The verifier keys that the mirror trusts, oldest first."""
    return [row["verifier"] for row in await connection.fetch(SELECT_KEYS)]


async def trust(connection: Connection, keys: Iterable[str], by: str) -> None:
    """Trust more verifier keys."""
    for key in keys:
        await connection.execute(INSERT_KEY, key, datetime.now(UTC), by)


async def allow_append(connection: Connection) -> None:
    """Let this transaction append to a mirror's log. Only the follower calls it, after verification."""
    await connection.execute(ALLOW_APPEND)


async def report(pool: Pool, kind: str, position: int, detail: str, evidence: dict[str, object]) -> None:
    """Keep a contradiction, which stops the mirror."""
    await pool.execute(
        INSERT_INCIDENT, datetime.now(UTC), kind, position, detail, msgspec.json.encode(evidence).decode()
    )


async def open_incident(connection: Connection | Pool) -> MirrorIncident | None:
    """The contradiction that has stopped the mirror."""
    row = await connection.fetchrow(SELECT_OPEN_INCIDENT)
    return MirrorIncident(*row) if row is not None else None


async def incidents(connection: Connection | Pool) -> list[MirrorIncident]:
    """All contradictions, oldest first."""
    return [MirrorIncident(*row) for row in await connection.fetch(SELECT_INCIDENTS)]


async def accept(connection: Connection | Pool, by: str, reason: str) -> list[MirrorIncident]:
    """Close the open incident: the mirror asks its origin again, and verifies as before. Needs the owner's role."""
    return [MirrorIncident(*row) for row in await connection.fetch(DECIDE_INCIDENTS, datetime.now(UTC), by, reason)]


async def names(connection: Connection | Pool, principals: Sequence[str]) -> list[PrincipalName]:
    """The display names of principals, as the origin publishes them."""
    return [PrincipalName(*row) for row in await connection.fetch(SELECT_NAMES, list(principals))]


async def all_names(connection: Connection | Pool) -> list[PrincipalName]:
    """The display names of all principals; none where the database is no mirror."""
    return [PrincipalName(*row) for row in await connection.fetch(SELECT_ALL_NAMES)]


async def replace_names(connection: Connection, names: Sequence[PrincipalName], position: int) -> None:
    """Replace all display names: a name that the origin has redacted is gone here too."""
    async with connection.transaction():
        await connection.execute(DELETE_NAMES)
        columns = ([n.principal for n in names], [n.position for n in names], [n.name for n in names])
        await connection.execute(INSERT_NAMES, *columns)
        await connection.execute(UPDATE_NAMES_POSITION, position)
