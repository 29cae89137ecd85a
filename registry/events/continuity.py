"""Notice a log that lacks events which this service has acknowledged or read: a rewound log.

An asynchronous standby that is promoted, a former primary that is read again, or a restored copy can end earlier than
the log that was acknowledged. Each service therefore remembers a high-water mark, the last event that it knows to be in
the log, in memory and in a file of its data directory, and compares the mark with the log's head whenever it reads the
head. A log without the mark is an incident: the service writes it into the database, where a trigger refuses every
further append by any service until an operator decides (`registry log accept`). Until then this service neither
records, signs nor answers from the log, and it is not ready. If the mark is in the log again, because the service is
connected to the right server, the service goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from registry.errors import DatabaseUnavailable, DatabaseUnusable, LogRewound, RegistryError
from registry.events.write_batch import Head
from registry.infra import postgres, tasks
from registry.infra.files import write_durably
from registry.infra.postgres import Connection, Pool

log = structlog.get_logger(__name__)

# Seconds between two looks at the log's head, and the seconds that a look may take.
WATCH_SECONDS = 1.0
WATCH_TIMEOUT_SECONDS = 4.0

MARK_FILE = "log.mark"

# The SQLSTATE of the trigger that refuses appends (migrations/).
REFUSED_APPEND = "RG001"

# `decisions` is part of the same snapshot: it tells a mark that an operator has given up from a lost one.
SELECT_LOG_STATE = """
SELECT pg_is_in_recovery() AS is_standby,
       (SELECT leaf_hash FROM events WHERE position = $1) AS leaf_at_mark,
       (SELECT leaf_hash FROM events WHERE position = 1) AS first,
       (SELECT count(*) FROM log_incidents WHERE decided_at IS NOT NULL) AS decisions,
       (SELECT max(position) FROM log_incidents WHERE decided_at IS NULL) AS incident,
       last.position, last.leaf_hash, last.recorded_at
  FROM (VALUES (1)) AS one
       LEFT JOIN (SELECT position, leaf_hash, recorded_at FROM events ORDER BY position DESC LIMIT 1) AS last ON true
"""

# One open incident is enough, and a signed tree that an operator has given up is no new one. Neither is a lost mark, if
# an operator has decided since the log was looked at: without the last condition, the decision would be undone.
INSERT_INCIDENT = """
INSERT INTO log_incidents (number, noticed_at, kind, position, leaf_hash, log_position)
SELECT (SELECT coalesce(max(number), 0) + 1 FROM log_incidents), $1, $2, $3, $4, $5
 WHERE NOT EXISTS (SELECT FROM log_incidents
                    WHERE decided_at IS NULL OR ($2 = 'signed' AND position >= $3))
   AND ($2 <> 'seen' OR (SELECT count(*) FROM log_incidents WHERE decided_at IS NOT NULL) <= $6)
"""

SELECT_FIRST = """
SELECT (SELECT leaf_hash FROM events WHERE position = 1) AS first,
       (SELECT count(*) FROM log_incidents WHERE decided_at IS NOT NULL) AS decisions
"""

SELECT_INCIDENTS = """
SELECT number, noticed_at, kind, position, log_position, decided_at, decided_by, reason
  FROM log_incidents
 ORDER BY number
"""

DECIDE_INCIDENTS = """
UPDATE log_incidents
   SET decided_at = $1, decided_by = $2, reason = $3
 WHERE decided_at IS NULL
RETURNING number, noticed_at, kind, position, log_position, decided_at, decided_by, reason
"""


class LogMark(Struct, frozen=True):
    """The last event that a service knows to be in the log, and the number of decisions of operators until then.

    `first` is the leaf hash of the log's first event: it tells another log from a rewound one.
    """

    position: int = 0
    leaf_hash: str = ""
    decisions: int = 0
    first: str = ""


class Incident(Struct, frozen=True):
    """A log that ended before an event which a service knew (`kind` seen) or before a checkpoint (`kind` signed)."""

    number: int
    noticed_at: datetime
    kind: str
    position: int
    log_position: int
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class ContinuityGuard:
    """Compares the log with this service's mark. One per process.

    Args:
        file: Where the mark is kept over restarts; None keeps it in memory only.

    Attributes:
        mark: The last event that is known to be in the log.
        problem: Why the log cannot be trusted now; None while it can.
        failed_looks: How often the log's head could not be read since the start.
        lost_listeners: Called when the database stops answering or turns out to be a standby.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self.mark = _load_mark(file) if file is not None else LogMark()
        self._saved = self.mark
        self.problem: LogRewound | None = None
        self.failed_looks = 0
        self.lost_listeners: list[Callable[[], Awaitable[None]]] = []
        self._wake = asyncio.Event()

    def note(self, head: Head) -> None:
        """Advance the mark: events up to `head`, which extend the log that the mark is in, were committed or read."""
        if head.leaf_hash is not None and head.position > self.mark.position:
            self.mark = replace(self.mark, position=head.position, leaf_hash=head.leaf_hash.hex())

    def observe(self, head: Head, mark: LogMark) -> None:
        """Compare a head that was read from the primary with the mark as it was before the query was sent.

        Raises:
            LogRewound: The log ends before the mark, or has another event there.
        """
        is_other = head.leaf_hash is not None and head.leaf_hash.hex() != mark.leaf_hash
        if head.position < mark.position or (head.position == mark.position and is_other):
            self._wake.set()
            raise LogRewound(position=mark.position, log_position=head.position)

    async def check(self, connection: Connection | Pool) -> Head:
        """Return the log's head, after checking that the mark is in the log and no incident is open.

        Raises:
            LogRewound: The mark is missing, or an incident is open.
            DatabaseUnavailable: The server is a standby.
        """
        mark = self.mark
        row = await connection.fetchrow(SELECT_LOG_STATE, mark.position)
        assert row is not None
        if row["is_standby"]:
            raise DatabaseUnavailable
        head = Head(row["position"] or 0, row["leaf_hash"], row["recorded_at"])
        found = (row["leaf_at_mark"] or b"").hex() == mark.leaf_hash
        if row["incident"] is not None:
            self.problem = LogRewound(position=row["incident"], log_position=head.position)
            raise self.problem
        if not found and row["decisions"] <= mark.decisions:
            self.problem = LogRewound(position=mark.position, log_position=head.position)
            raise self.problem
        leaf = head.leaf_hash.hex() if head.leaf_hash else ""
        if not found or head.position >= self.mark.position or row["decisions"] != mark.decisions:
            self.mark = LogMark(head.position, leaf, row["decisions"], (row["first"] or b"").hex())
        self.problem = None
        return head

    async def report(
        self, pool: Pool, kind: str, position: int, leaf_hash: str, log_position: int, decisions: int = 0
    ) -> None:
        """Write an incident into the database, so that Postgres refuses appends of every service.

        `decisions` is the number of decisions of operators when the log was looked at.
        """
        await pool.execute(INSERT_INCIDENT, datetime.now(UTC), kind, position, leaf_hash, log_position, decisions)

    @contextlib.asynccontextmanager
    async def watching(self, pool: Pool) -> AsyncIterator[ContinuityGuard]:
        """Look at the log's head every second while the context lasts, and save the mark."""
        task = asyncio.create_task(self._watch(pool), name="log continuity")
        try:
            yield self
        finally:
            await tasks.end(task)
            await self._save()

    async def _watch(self, pool: Pool) -> None:
        while True:
            await self._look(pool)
            await tasks.wait_for(self._wake, WATCH_SECONDS)
            self._wake.clear()

    async def _look(self, pool: Pool) -> None:
        known, decisions = self.problem, self.mark.decisions
        try:
            async with pool.acquire_for(WATCH_TIMEOUT_SECONDS) as connection:
                await self.check(connection)
                if known is not None:
                    log.warning("the log is complete again, or its loss was accepted", position=self.mark.position)
                await self._save()
        except LogRewound as error:
            if known is None:
                log.error("the log is rewound: nothing is recorded or signed until an operator decides", **error.params)
            with contextlib.suppress(*postgres.ERRORS, TimeoutError):
                async with asyncio.timeout(WATCH_TIMEOUT_SECONDS):
                    mark = self.mark
                    log_position = int(error.params["log_position"])  # type: ignore[arg-type]
                    await self.report(pool, "seen", mark.position, mark.leaf_hash, log_position, decisions)
        except (RegistryError, *postgres.ERRORS, TimeoutError) as error:
            self.failed_looks += 1
            log.warning("the log's head cannot be read", error=str(error) or type(error).__name__)
            for listener in self.lost_listeners:
                await listener()
        except Exception:
            log.exception("watching the log failed")

    async def _save(self) -> None:
        if self._file is None or self.mark == self._saved or self.problem is not None:
            return
        mark = self.mark
        try:
            await asyncio.to_thread(_write_mark, self._file, mark)
        except OSError as error:
            log.error("the log's mark cannot be saved", file=str(self._file), reason=str(error))
        # Where the file cannot be written, this is logged once for each new mark.
        self._saved = mark


def _load_mark(file: Path) -> LogMark:
    try:
        return msgspec.json.decode(file.read_bytes(), type=LogMark)
    except FileNotFoundError:
        return LogMark()


async def require_same_log(connection: Connection | Pool, file: Path) -> None:
    """Check before a start that a mark is of this log, so that no incident stops the services of another one.

    Raises:
        DatabaseUnusable: The log begins with another event, or is empty, and no operator has accepted that since.
    """
    mark = _load_mark(file)
    row = await connection.fetchrow(SELECT_FIRST)
    assert row is not None
    if mark.first not in ("", (row["first"] or b"").hex()) and row["decisions"] <= mark.decisions:
        raise DatabaseUnusable("other_log", directory=str(file.parent), position=mark.position)


def _write_mark(file: Path, mark: LogMark) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(file, msgspec.json.encode(mark).decode(), 0o600)


def is_refused_append(error: BaseException) -> bool:
    """Whether Postgres refused an append because an incident is open."""
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate == REFUSED_APPEND


async def incidents(connection: Connection | Pool) -> list[Incident]:
    """All incidents, oldest first."""
    return [Incident(*row) for row in await connection.fetch(SELECT_INCIDENTS)]


async def accept(connection: Connection | Pool, by: str, reason: str) -> list[Incident]:
    """Accept the log as it is: close the open incidents. Needs the owner's role; services then go on by themselves."""
    return [Incident(*row) for row in await connection.fetch(DECIDE_INCIDENTS, datetime.now(UTC), by, reason)]
