"""Connections to Postgres: pools, hosts, and what its errors mean. The bundled server is in `embedded/`."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit
from weakref import WeakSet

import asyncpg

from registry.errors import DatabaseUnusable, PostgresTooOld
from registry.infra import work_time
from registry.infra.pooling import DIRECT, Pooling
from registry.infra.problems import DatabaseProblem

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "ConnectionPool"

OLDEST_MAJOR = 14

# Seconds that a host has to accept a connection, and that a host has which did not answer the last time.
CONNECT_SECONDS = 3.0
SILENT_HOST_SECONDS = 0.5
IDLE_SECONDS = 60

ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asyncpg raises when the server is gone or refuses a statement."""


def is_storage_failure(error: BaseException) -> bool:
    """Whether an error means that a disk is full or read-only, or that a file's permissions are wrong.

    SQLSTATE 53100 (disk full), 58030 (I/O error), 58P01 (missing file) and 42501 (not permitted) of Postgres, the last
    where it may not open one of its files, not where a role may not do something; errors of this process's files.
    """
    if isinstance(error, asyncpg.PostgresError):
        may_not_open = error.sqlstate == "42501" and getattr(error, "server_source_filename", "") in STORAGE_SOURCES
        return error.sqlstate in ("53100", "58030", "58P01") or may_not_open
    return isinstance(error, OSError) and error.errno in STORAGE_ERRNOS


STORAGE_SOURCES = frozenset({"md.c", "fd.c", "slru.c", "xlog.c", "buffile.c"})
"""The parts of Postgres that open files: what its errors have beside their code, in every language."""

STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM})


def is_connection_lost(error: BaseException) -> bool:
    """Whether an error means that the server is gone, stopping, starting or full, not that a statement is wrong.

    SQLSTATE classes 08, 53 and 57, a read-only standby (25006), and errors of sockets.
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return (state[:2] in ("08", "53", "57") and state != "57014") or state == "25006"
    if isinstance(error, OSError):
        # A missing file has a name in its error; a missing socket has none.
        return error.filename is None
    # asyncpg notices that the server has ended an idle connection only when it is used.
    return isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError))


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE with which Postgres answered; None for other errors."""
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else None


class _Connection(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """asyncpg's connection; the statements that have ended count as own work of the request that sent them."""

    __slots__ = ()

    async def fetch(self, *args: Any, **options: Any) -> Any:
        return await _counted(super().fetch(*args, **options))

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        return await _counted(super().fetchrow(*args, **options))

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        return await _counted(super().fetchval(*args, **options))


async def _counted(statement: Coroutine[Any, Any, Any]) -> Any:
    work = work_time.current()
    if work is None:
        return await statement
    begin = monotonic()
    result = await statement
    work.add_statement(monotonic() - begin)
    return result


class ConnectionPool(asyncpg.Pool):  # type: ignore[misc] # asyncpg has no types
    """asyncpg's pool, which also counts how often a connection was waited for, and can be abandoned.

    Attributes:
        waits: How often all connections were in use when one was asked for.
    """

    __slots__ = ("_connected", "waits")

    def __init__(self, url: str, **options: Any) -> None:
        self._connected: WeakSet[Connection] = WeakSet()
        self.waits = 0
        defaults = {"max_queries": 50_000, "max_inactive_connection_lifetime": 300.0, "setup": None, "loop": None}
        classes = {"connection_class": _Connection, "record_class": asyncpg.Record}
        super().__init__(url, init=self._note_connection, **{"connect": None, **defaults, **classes, **options})

    async def _note_connection(self, connection: Connection) -> None:
        self._connected.add(connection)

    def acquire(self, *, timeout: float | None = None) -> Any:
        """A connection, as a context manager or an awaitable."""
        # The queue of connections that are free or not made yet; counting the idle ones takes 5 µs.
        if self._queue.empty():
            self.waits += 1
        return super().acquire(timeout=timeout)

    @asynccontextmanager
    async def acquire_for(self, seconds: float) -> AsyncIterator[Connection]:
        """A connection for at most `seconds`, the wait for it included; it is ended when they have passed.

        A timeout alone is no bound: asyncpg then waits for a frozen server to confirm that it cancelled the statement.

        Raises:
            TimeoutError: The seconds have passed.
        """
        async with asyncio.timeout(seconds), self.acquire() as connection:
            try:
                yield connection
            except asyncio.CancelledError:
                connection.terminate()
                raise

    def abandon(self) -> None:
        """End every connection at once, and do not cancel what it runs: the server is lost."""
        for connection in list(self._connected):
            connection.terminate()


async def pool(
    url: str,
    *,
    name: str = "registry",
    min_size: int = 2,
    max_size: int = 10,
    timeout: float | None = None,  # noqa: ASYNC109 - a statement's, enforced by asyncpg
    read_only: bool = False,
    by_key: bool = False,
    pooling: Pooling = DIRECT,
) -> ConnectionPool:
    """A pool of connections in UTC, each named `name` in pg_stat_activity.

    The pool reconnects within CONNECT_SECONDS when it next needs a lost connection. The server ends a transaction that
    is idle for IDLE_SECONDS, so that the locks of a process that freezes do not stay.

    Args:
        min_size: Connections that are opened at once. With 0 the server may be down.
        timeout: Seconds that a statement may take.
        read_only: For replicas.
        by_key: For pools whose statements all look up a few rows by key. Their plans must not depend on the size that
            a table had when the plan was made.
        pooling: What stands between the service and Postgres.

    Raises:
        OSError, asyncpg.PostgresError: The server does not answer.
        PostgresTooOld: The server is older than OLDEST_MAJOR.
    """
    urls = hosts_of(url)
    made: ConnectionPool = await ConnectionPool(
        url,
        **({"connect": _HostList(urls).connect} if len(urls) > 1 else {}),
        min_size=min(min_size, max_size),
        max_size=max_size,
        timeout=CONNECT_SECONDS,
        command_timeout=timeout,
        server_settings=_session_settings(name, read_only=read_only, by_key=by_key, pooling=pooling),
        reset=_skip_session_reset,
        **({} if pooling.prepared_statements else {"statement_cache_size": 0}),
    )
    if min_size:
        async with made.acquire() as connection:
            found = connection.get_server_version()
        if found.major < OLDEST_MAJOR:
            await made.close()
            raise PostgresTooOld(found=f"{found.major}.{found.minor}", oldest=OLDEST_MAJOR)
    return made


def _session_settings(name: str, *, read_only: bool, by_key: bool, pooling: Pooling) -> dict[str, str]:
    settings = {"application_name": name, "timezone": "UTC"}
    if pooling.transaction_pooler:
        # PgBouncer refuses other startup parameters (docs/cluster.md has the roles' settings that replace them).
        return settings
    settings["idle_in_transaction_session_timeout"] = f"{IDLE_SECONDS}s"
    if read_only:
        settings["default_transaction_read_only"] = "on"
    if by_key:
        # A plan made for an almost empty table scans it until the table is next analyzed: in the first minutes of an
        # import each batch took four times as long.
        settings |= {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
        settings["plan_cache_mode"] = "force_generic_plan"
    return settings


def hosts_of(url: str) -> list[str]:
    """A URL for each host of a URL that names several (libpq, "Specifying Multiple Hosts")."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    user, at, named = parts.netloc.rpartition("@")
    if "host" in query:
        hosts, ports = query["host"].split(","), query.get("port", "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        places = [
            {**query, "host": host, **({"port": port} if port else {})}
            for host, port in zip(hosts, ports, strict=False)
        ]
        return [urlunsplit(parts._replace(query=urlencode(place, quote_via=quote))) for place in places]
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in named.split(",")]


class _HostList:
    """Connects to the first host that answers and has the wanted role, beginning with the one of the last connection.

    asyncpg tries the hosts within one timeout, so a host that is frozen or cut off would use it up for all of them
    (tests/cluster). Here each host has CONNECT_SECONDS, and SILENT_HOST_SECONDS after it has used them up: a standby
    that becomes the primary meanwhile is tried again soon.
    """

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls
        self._silent: set[str] = set()

    async def connect(self, *_: object, **options: Any) -> asyncpg.Connection[Any]:
        """Connect; raises the error of the last host."""
        failure: Exception = OSError("no host is named")
        for url in list(self._urls):
            seconds = SILENT_HOST_SECONDS if url in self._silent else CONNECT_SECONDS
            try:
                connection = await asyncpg.connect(url, **options | {"timeout": seconds})
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                failure = error
                # Not for a refusal, which takes no time.
                if isinstance(error, TimeoutError) or (
                    isinstance(error, OSError) and error.errno == errno.EHOSTUNREACH
                ):
                    self._silent.add(url)
                # Pools open several connections at once: the next one begins with another host.
                self._urls.remove(url)
                self._urls.append(url)
                continue
            self._urls.remove(url)
            self._urls.insert(0, url)
            self._silent.discard(url)
            return connection
        raise failure


async def _skip_session_reset(connection: object) -> None:
    """Do not reset a connection that returns to the pool: no statement of the registry changes a session.

    asyncpg's default costs a round trip per release, a quarter of the time of a lone lookup.
    """


def role_of(url: str) -> str:
    """The role that a URL connects as.

    Raises:
        DatabaseUnusable: It names none.
    """
    parts = urlsplit(url)
    role = unquote(parts.username or "") or parse_qs(parts.query).get("user", [""])[0]
    if not role:
        raise DatabaseUnusable(reason=DatabaseProblem("url_without_role"))
    return role
