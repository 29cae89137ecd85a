"""The setting for a connection pooler. It does not import asyncpg, which takes longer than all settings together."""

from __future__ import annotations

from msgspec import Struct


class Pooling(Struct, frozen=True, kw_only=True):
    """What stands between the service and Postgres.

    Attributes:
        transaction_pooler: A pooler in transaction mode: a session lasts for one transaction, so nothing is set for a
            session, and LISTEN does not work.
        prepared_statements: Whether statements are prepared once for each connection. A pooler in transaction mode must
            support them (PgBouncer 1.21 and later, with max_prepared_statements).
    """

    transaction_pooler: bool = False
    prepared_statements: bool = True


DIRECT = Pooling()
