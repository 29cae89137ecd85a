"""Read folded streams through a cache, from the primary or from a read replica."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from msgspec.structs import replace

from registry.domain.history import AsOf, FoldedStream
from registry.events import store
from registry.events.write_batch import Head
from registry.infra.postgres import Pool
from registry.projections.stream_cache import StreamCache

# `date.max` and 2**62 stand for "unbounded" in the projections (asyncpg writes the first as infinity), so a query asks
# for one less.
LAST_DAY = date.max - timedelta(days=1)
LAST_POSITION = 2**62 - 1


class StreamReader:
    """The pools and the stream cache that all queries of a process share.

    Args:
        primary: The pool of the database that the recorder writes to.
        replicas: Pools of read replicas; when there are any, every read goes to one of them.
    """

    def __init__(self, primary: Pool, replicas: Sequence[Pool] = ()) -> None:
        self._pools = list(replicas) or [primary]
        self.cache = StreamCache()

    def pool(self) -> Pool:
        """Return a pool to read from, chosen at random to spread the load."""
        return random.choice(self._pools)  # noqa: S311 - not a secret

    async def head(self) -> Head:
        """Return the last event of the log."""
        return await self.cache.heads(self.pool()).of_log()

    async def load(self, stream: str) -> tuple[FoldedStream[Any] | None, Head]:
        """Return a stream as the log has it now, None if it does not exist, and the log's head before it was read."""
        return await self.cache.load_current(self.pool(), stream)

    async def position_at(self, as_of: AsOf, head: Head) -> int:
        """Return the last log position, up to `head`, that a point in time includes."""
        position = head.position if as_of.position is None else min(as_of.position, head.position)
        if as_of.recorded_at is not None:
            position = min(position, await store.position_at(self.pool(), as_of.recorded_at))
        return position

    async def known_axis(self, as_of: AsOf) -> tuple[str, int, int]:
        """Choose the axis that a list is read along.

        Returns:
            The axis (`p` published, `r` recorded), the point on it (a day's ordinal, or a log position), and the log
            position that the answer is computed at.
        """
        head = await self.head()
        if as_of.published_on is not None:
            return "p", as_of.published_on.toordinal(), head.position
        position = await self.position_at(as_of, head)
        return "r", position, position


def with_day(as_of: AsOf, today: date) -> AsOf:
    """The point in time with an effective date: `today` where the question leaves it open."""
    return replace(as_of, effective_on=as_of.effective_on or today)
