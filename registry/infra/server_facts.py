"""What a Postgres server says about itself, for `registry doctor`."""

from __future__ import annotations

from msgspec import Struct

from registry.infra.postgres import Pool

SELECT_FACTS = """
SELECT pg_is_in_recovery() AS is_standby,
       current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
           AND current_setting('synchronous_commit') NOT IN ('off', 'local') AS is_durable,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
       coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass('public.events')), false)
           AS owns_log,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connections,
       (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database) AS used,
       (SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver)
           AS archive_fails,
       ARRAY(SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
              WHERE NOT indisvalid AND relnamespace = 'public'::regnamespace ORDER BY 1) AS invalid_indexes
"""


class ServerFacts(Struct, frozen=True):
    """The state of a server, and the rights of the role that asks.

    Attributes:
        is_durable: Whether a commit is on the disk when it is acknowledged.
        owns_log: Whether the role has the rights of the tables' owner.
        connections: How many connections ordinary roles can have.
        used: How many there are now.
        archive_fails: Whether the last segment could not be archived.
        invalid_indexes: Indexes whose concurrent build was interrupted.
    """

    is_standby: bool
    is_durable: bool
    is_superuser: bool
    owns_log: bool
    connections: int
    used: int
    archive_fails: bool
    invalid_indexes: list[str]


async def read_facts(pool: Pool) -> ServerFacts:
    """Ask the server."""
    row = await pool.fetchrow(SELECT_FACTS)
    return ServerFacts(*row)
