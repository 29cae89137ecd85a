"""The table of exchange rates, and this process's copy of it.

The only module whose SQL names the table. It is recorded data: rows are only added, by the first migration (the
packaged history) and by `registry rates import`. A row has all rates of one source and currency of one import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from time import monotonic

from registry.domain.history import AsOf
from registry.domain.money.rates import DEFAULT_ORDER, OLD_DAYS, Rates, RateTable
from registry.domain.quotes import Quotes
from registry.errors import HealthWarning
from registry.infra.postgres import Connection, Pool

# Seconds for which an answer about the open log may miss an import of another process.
REFRESH_SECONDS = 1.0

SELECT_LAST_IMPORT = "SELECT max(number) FROM exchange_rates"

# Arrays as text: parsing the few series that are needed is faster than decoding 200,000 numbers.
SELECT_SINCE = """
SELECT number, position, recorded_at, source, base, currency, days::text AS days, quotes::text AS quotes
  FROM exchange_rates
 WHERE number >= $1
 ORDER BY number, source, base, currency
"""

INSERT = """
INSERT INTO exchange_rates (number, position, recorded_at, source, base, currency, days, quotes)
VALUES ($1, $2, $3, $4, $5, $6, string_to_array($7, ',')::date[], string_to_array($8, ',')::numeric[])
"""

# Allowed while the log is empty: a restore replaces the packaged history by the backup's rates.
DELETE_ALL = "DELETE FROM exchange_rates"


async def load(connection: Connection | Pool, first_import: int) -> list[Quotes]:
    """The rates of an import and of all later ones, in the order in which they were recorded."""
    return [
        Quotes(
            number=row["number"],
            position=row["position"],
            recorded_at=row["recorded_at"],
            source=row["source"],
            base=row["base"],
            currency=row["currency"],
            days=row["days"][1:-1],
            values=row["quotes"][1:-1],
        )
        for row in await connection.fetch(SELECT_SINCE, first_import)
    ]


async def imports(connection: Connection | Pool) -> int:
    """The number that the next import gets."""
    last: int | None = await connection.fetchval(SELECT_LAST_IMPORT)
    return 0 if last is None else last + 1


async def insert(connection: Connection, quotes: Sequence[Quotes]) -> None:
    """Add the rates of one import."""
    await connection.executemany(
        INSERT,
        [(q.number, q.position, q.recorded_at, q.source, q.base, q.currency, q.days, q.values) for q in quotes],
    )


async def delete_all(connection: Connection) -> None:
    """Delete all rates of a registry without events."""
    await connection.execute(DELETE_ALL)


def rates_warning(rates: Rates, today: date) -> HealthWarning | None:
    """The warning that the newest rate is old, for readiness and `registry doctor`."""
    newest = rates.newest(today)
    if newest is None:
        return HealthWarning("no_rates")
    if newest.age_days <= OLD_DAYS:
        return None
    return HealthWarning("rates_old", source=newest.source, day=newest.day, days=newest.age_days)


class RateCache:
    """The recorded rates in memory. `order`: the sources that are tried first."""

    def __init__(self, order: Sequence[str] = DEFAULT_ORDER) -> None:
        self._table = RateTable(order)
        self._refreshed_at = float("-inf")
        self._is_refreshing = False
        self._lock = asyncio.Lock()

    @property
    def imports(self) -> int:
        """Number of imports that this process has read."""
        return self._table.imports

    async def latest(self, pool: Connection | Pool) -> Rates:
        """All rates, without those that another process imported within the last REFRESH_SECONDS.

        One caller looks for newer rates; meanwhile the others use the known ones.
        """
        if monotonic() - self._refreshed_at > REFRESH_SECONDS and not (self._is_refreshing and self.imports):
            self._is_refreshing = True
            try:
                await self._refresh(pool)
            finally:
                self._is_refreshing = False
        return self._table.at()

    async def at(self, pool: Pool, position: int | None, recorded_at: datetime | None) -> Rates:
        """The rates recorded by a log position and an instant."""
        await self._refresh(pool)
        return self._table.at(position, recorded_at)

    async def as_of(self, pool: Pool, as_of: AsOf, head: int) -> Rates:
        """The rates for a question while the log ends at `head`: all of them where it does not fix the log."""
        if as_of.recorded_at is None and (as_of.position is None or as_of.position > head):
            return await self.latest(pool)
        position = as_of.position if as_of.position is not None and as_of.position <= head else None
        return await self.at(pool, position, as_of.recorded_at)

    async def _refresh(self, pool: Connection | Pool) -> None:
        started = monotonic()
        last = await pool.fetchval(SELECT_LAST_IMPORT)
        if last is not None and last >= self._table.imports:
            async with self._lock:
                self._table.add(await load(pool, self._table.imports))
        self._refreshed_at = started
