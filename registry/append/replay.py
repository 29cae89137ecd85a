"""Replay: record announcements into an empty log at stated instants, as a registry would have recorded them then.

Only the demo uses it, so that "as recorded on" has something to show. It is no way around the clock guard:

- The log must be empty, and the whole replay is one transaction under the log's lock. Nothing is replayed into a log
  that a registry has written to, and no reader sees a part of a replay.
- The service's clock is checked as for each append, and no instant may lie after it, so every later event has a later
  `recorded_at`.
- No route leads here: it takes a connection to the database and a command of the operator.
- The log says so itself. Its first event registers the principal REPLAYER, and each replayed event is recorded by it.
  Its rights end with the replay.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from msgspec import Struct

from registry.append.batch import Batch
from registry.append.clock import ClockGuard
from registry.append.idempotency import load_head_and_responses
from registry.append.requests import AppendRequest, Submission
from registry.domain.calendar import Calendar
from registry.domain.principal import REGISTRY, REPLAYER, Credential, Rights
from registry.errors import RegistryError
from registry.events.log_lock import log_transaction
from registry.events.types import (
    AnyAnnouncement,
    PrincipalAnnouncement,
    PrincipalEvent,
    PrincipalRegistered,
    ScopesChanged,
    StreamKind,
)
from registry.infra.postgres import Connection, Pool
from registry.projections.exchange_rates import RateCache
from registry.projections.stream_cache import StreamCache
from registry.transparency.merkle import Frontier

REPLAYER_RIGHTS = Rights(scopes=("record", "correct"))


class ReplayedAnnouncement(Struct, frozen=True):
    """An announcement, its stream, and the instant at which it is recorded."""

    kind: StreamKind
    slug: str
    recorded_at: datetime
    announcement: AnyAnnouncement


async def replay(
    pool: Pool,
    announcements: Sequence[ReplayedAnnouncement],
    name: str,
    *,
    calendar: Calendar,
    clock_guard: ClockGuard,
) -> bool:
    """Record the announcements in their order, if the log is empty; return whether it was.

    Args:
        pool: The database.
        announcements: Ordered by their instants.
        name: The display name of the principal that records them.
        calendar: Decides which day is today.
        clock_guard: Checks the service's clock.

    Raises:
        ValueError: The instants decrease, or one of them lies in the future.
        ClockUnsafe: The service's clock cannot be trusted.
        RegistryError: An announcement was refused, and nothing was recorded.
    """
    # In UTC, as entries are hashed: verification writes each entry again from its row.
    instants = [line.recorded_at.astimezone(UTC) for line in announcements]
    if instants != sorted(instants):
        raise ValueError("the instants decrease")
    async with log_transaction(pool) as connection:
        database_now, head, _ = await load_head_and_responses(connection, ())
        if head.position:
            return False
        now = clock_guard.read_beside(database_now).now
        if instants and instants[-1] > now:
            raise ValueError("an instant lies in the future")
        batch = Batch(head, Frontier(), StreamCache(), calendar, await RateCache().latest(connection))
        registered: list[PrincipalEvent] = [
            PrincipalRegistered(name=name, kind="system"),
            ScopesChanged(scopes=REPLAYER_RIGHTS.scopes),
        ]
        await _add(batch, connection, [_of_replayer(registered)], instants[0] if instants else now)
        credential = Credential(REPLAYER, name, REPLAYER_RIGHTS)
        for instant, group in groupby(announcements, key=lambda line: line.recorded_at.astimezone(UTC)):
            await _add(batch, connection, [_request(line, credential) for line in group], instant)
        await _add(batch, connection, [_of_replayer([ScopesChanged(scopes=())])], batch.recorded_at)
        await batch.write(connection)
    return True


async def _add(batch: Batch, connection: Connection, requests: Sequence[AppendRequest], instant: datetime) -> None:
    """Add the requests to the batch, recorded at the instant."""
    done = len(batch.outcomes)
    await batch.validate(connection, [Submission([request]) for request in requests], instant)
    for outcome in batch.outcomes[done:]:
        if isinstance(outcome, RegistryError):
            raise outcome


def _request(line: ReplayedAnnouncement, credential: Credential) -> AppendRequest:
    return AppendRequest(
        kind=line.kind, slug=line.slug, announcements=[line.announcement], by=credential.id, credential=credential
    )


def _of_replayer(events: Sequence[PrincipalEvent]) -> AppendRequest:
    """The registry's own act: the replayer's registration, and its rights."""
    announcements = [PrincipalAnnouncement(event=event) for event in events]
    return AppendRequest(kind="principal", slug=REPLAYER, announcements=announcements, by=REGISTRY)
