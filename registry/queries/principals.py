"""Who a request comes from and what it may do, as the log says.

The digest of a secret finds its key, and the fold of the principal's events gives its rights: no row that the
application's role could change decides about either.

A process keeps the folded streams of the principals that it has seen. The next request looks for newer events of
principals once this process has committed some, another process has notified it of some, or a second has passed;
requests that wait share one look. The recorder checks the rights of each request again, at its place in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import get_args

import msgspec

from registry.domain.history import FoldedStream
from registry.domain.principal import Credential, Principal
from registry.domain.stream_kinds import PRINCIPALS
from registry.errors import NotFound
from registry.events import store, stream_heads
from registry.events.codec import stream_name
from registry.events.types import EventRedacted, PrincipalFact, tag_of
from registry.infra import keys
from registry.infra.keys import KeyOwner
from registry.infra.postgres import Pool
from registry.projections import principals as projection

# Seconds without a look for newer events. Writes do not depend on it: the recorder checks rights in the log's order.
MAX_AGE_SECONDS = 1.0

# Seconds that a look-up may take before the database counts as lost. Every request with a key waits for it.
LOOK_UP_SECONDS = 5.0

MAX_CACHED_KEYS = 10_000

PRINCIPAL_TYPES = tuple(tag_of(event) for event in (*get_args(PrincipalFact), EventRedacted))


class Principals:
    """Looks up credentials and principals. One per process; it reads from the primary.

    Args:
        pool: The database.
        public_read: Whether reading needs no key.
    """

    def __init__(self, pool: Pool, *, public_read: bool = True) -> None:
        self._pool = pool
        self._public_read = public_read
        self._owners: dict[bytes, KeyOwner] = {}
        self._streams: dict[str, FoldedStream[Principal]] = {}
        self._position = 0
        self._checked_at = float("-inf")
        # The number of hints that there may be newer events, and that number at the last look-up.
        self._hints = self._seen_hints = 0
        self._refreshing: asyncio.Task[None] | None = None

    def expire(self) -> None:
        """Make the next request look for newer events of principals."""
        self._hints += 1

    async def find(self, secret: str) -> Credential | None:
        """The credential of a key's secret; None if it is unknown, expired or revoked."""
        hashed = keys.digest(secret)
        owner = self._owners.get(hashed)
        if owner is None:
            async with self._pool.acquire_for(LOOK_UP_SECONDS) as connection:
                owner = await keys.find_owner(connection, hashed)
            if owner is None:
                return None
            if len(self._owners) >= MAX_CACHED_KEYS:
                self._owners.clear()
            # Kept for good: the row of a key never changes.
            self._owners[hashed] = owner
        return await self.credential(owner.principal, owner.key)

    async def credential(self, principal: str, key: str | None) -> Credential | None:
        """The credential of a principal that has signed in, with a key or without one; None if it has no rights."""
        stream = await self.stream(principal)
        state = stream.state if stream is not None else None
        rights = state.rights_of(key, datetime.now(UTC)) if state is not None else None
        if state is None or rights is None or not (key or rights.scopes):
            return None
        return Credential(principal, state.display_name, rights, key)

    async def stream(self, principal: str) -> FoldedStream[Principal] | None:
        """The folded stream of a principal, as the log has it now; None if it is not registered."""
        await self._refresh()
        if principal not in self._streams:
            await self._load([principal])
        return self._streams.get(principal)

    async def _refresh(self) -> None:
        """Drop the principals that have newer events, if there may be some; one query serves all requests that wait."""
        # From the request's arrival: a database that takes longer than that to answer would be asked for ever.
        oldest = time.monotonic() - MAX_AGE_SECONDS
        while self._hints != self._seen_hints or self._checked_at < oldest:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._drop_changed())
            await asyncio.shield(self._refreshing)

    async def _drop_changed(self) -> None:
        hints, now = self._hints, time.monotonic()
        async with self._pool.acquire_for(LOOK_UP_SECONDS) as connection:
            changed = await stream_heads.streams_with_newer(connection, self._position, PRINCIPAL_TYPES)
        for name, position in changed:
            self._position = max(self._position, position)
            self._streams.pop(name.removeprefix("principal/"), None)
        self._seen_hints, self._checked_at = hints, now

    async def _load(self, principals: Iterable[str]) -> None:
        while missing := {stream_name("principal", id): id for id in principals if id not in self._streams}:
            position = self._position
            async with self._pool.acquire_for(LOOK_UP_SECONDS) as connection:
                streams = await store.streams(connection, list(missing))
            if position != self._position:
                continue  # An event was found in the meantime, which this read may lack.
            for name, events in streams.items():
                if events:
                    self._streams[missing[name]] = FoldedStream(missing[name], PRINCIPALS, events)
            return

    async def has_right(self, principal: str) -> bool:
        """Whether the registry sends events to a principal: it has a right, by itself or by a key.

        Where reading needs a key, it is the right to read.
        """
        stream = await self.stream(principal)
        if stream is None:
            return False
        now = datetime.now(UTC)
        held = [stream.state.rights, *(key.rights for key in stream.state.keys if key.is_valid(now))]
        return any(rights.scopes and (self._public_read or rights.allows("read")) for rights in held)

    async def require(self, principal: str, position: int | None = None) -> FoldedStream[Principal]:
        """A principal as of a log position.

        Raises:
            NotFound: It is not registered by then.
        """
        stream = await self.stream(principal)
        if stream is not None and position is not None and position < stream.events[-1].position:
            events = [event for event in stream.events if event.position <= position]
            stream = FoldedStream(principal, PRINCIPALS, events) if events else None
        if stream is None:
            raise NotFound("principal", principal=principal)
        return stream

    async def page(self, after: str, limit: int) -> list[msgspec.Raw]:
        """Principals after an id, in the order of ids, as JSON."""
        return await projection.page(self._pool, after, limit)
