"""Record exchange rates: the rows of a file that are new or differ from what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from msgspec import Struct

from registry.append.clock import ClockGuard
from registry.domain.money.rates import RateTable
from registry.domain.quotes import RateRow, group_rows
from registry.errors import UnreadableRates
from registry.events import write_batch
from registry.events.log_lock import log_transaction
from registry.infra.postgres import Pool
from registry.projections import exchange_rates


class RatesImport(Struct, frozen=True):
    """What an import recorded. Answers at log positions after `position`, and about the open log, use the rates."""

    new: int
    changed: int
    unchanged: int
    position: int


async def import_rates(pool: Pool, rows: Sequence[RateRow], guard: ClockGuard) -> RatesImport:
    """Record rates. Rows that are recorded already are left out, so a second import records nothing.

    The import holds the log's lock, so every reader sees it between the same two events.

    Raises:
        ClockUnsafe: Nothing was recorded.
        UnreadableRates: A rate is of a future day; nothing was recorded.
    """
    async with log_transaction(pool) as connection:
        await guard.check(connection)
        head = await write_batch.head(connection)
        quotes = await exchange_rates.load(connection, 0)
        instants = [guard.read().now, head.recorded_at, *(recorded.recorded_at for recorded in quotes)]
        recorded_at = max(instant for instant in instants if instant is not None)
        # The day of the easternmost time zone is one ahead of UTC.
        last_day = recorded_at.date() + timedelta(days=1)
        for row in rows:
            if row.day > last_day:
                raise UnreadableRates("future", day=row.day, currency=row.currency)
        table = RateTable()
        table.add(quotes)
        rates = table.at()
        series = {(row.source, row.base, row.currency) for row in rows}
        known = {key: rates.recorded(*key) for key in series}
        kept: list[RateRow] = []
        changed = 0
        for row in rows:
            value = known[row.source, row.base, row.currency].get(row.day)
            if value != row.value:
                kept.append(row)
                changed += value is not None
        added = group_rows(kept, number=table.imports, position=head.position, recorded_at=recorded_at)
        await exchange_rates.insert(connection, added)
    return RatesImport(len(kept) - changed, changed, len(rows) - len(kept), head.position)
