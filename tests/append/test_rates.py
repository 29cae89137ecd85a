"""Exchange rates are recorded data: imports add to a table, and answers use what was recorded by then."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from registry.append.clock import ClockGuard
from registry.append.rates import RatesImport, import_rates
from registry.append.recorder import Recorder
from registry.domain.history import AsOf
from registry.domain.money.rates import Rate
from registry.domain.quotes import RateRow
from registry.domain.totals import Totals, TotalsQuery
from registry.errors import ClockUnsafe, UnreadableRates
from registry.imports.rates import packaged_history
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.selection import Selection
from registry.queries.organizations import OrganizationQueries
from registry.queries.portfolio import PortfolioQueries
from registry.queries.streams import StreamReader
from tests.append.conftest import Owner, Pool
from tests.append_helpers import REGISTERED, request
from tests.reference_rates import reference_rates

DAY = date(2025, 10, 29)


def taiwan(value: str, day: date = DAY) -> RateRow:
    return RateRow("CBC", "USD", "TWD", day, Decimal(value))


def pledged_in(currency: str, value: str = "1000") -> dict[str, Any]:
    amount = {"value": value, "currency": currency}
    event = {"type": "pledge_announced", "pledge": f"in-{currency.lower()}", "amount": amount}
    return {"effective_on": str(DAY), "event": event}


async def total(pool: Pool, as_of: AsOf | None = None) -> tuple[Totals, int]:
    """The totals in US dollars as a fresh process answers them, and the number of imports that it used."""
    as_of = as_of or AsOf()
    streams = StreamReader(pool)
    with tempfile.TemporaryDirectory() as directory:
        async with ColumnarCopy(pool, Path(directory)) as copy:
            portfolio = PortfolioQueries(streams, OrganizationQueries(streams), copy)
            point = await portfolio.point(replace(as_of, effective_on=date(2025, 12, 31)))
            rates = await portfolio.rates(as_of)
            query = TotalsQuery(currency="USD", effective_on=point.day)
            return await portfolio.totals(point, Selection(), query, rates=rates), rates.imports


async def test_a_new_database_has_the_packaged_history(pool: Pool) -> None:
    rates = await StreamReader(pool).latest_rates()
    assert rates.imports == 1
    for on in (date(1999, 1, 4), date(2010, 5, 5), DAY):
        for currency in ("KRW", "USD", "JPY"):
            assert rates.rate("EUR", currency, on) == reference_rates().rate("EUR", currency, on)
    assert await import_rates(pool, packaged_history(), ClockGuard()) == RatesImport(
        0, 0, len(packaged_history()), position=0
    )


async def test_currency_without_a_rate_opens_the_upper_bound_until_its_rate_is_imported(
    pool: Pool, recorder: Recorder
) -> None:
    await recorder.record(request("plant", REGISTERED, pledged_in("USD"), pledged_in("TWD", "3200")))
    before, _ = await total(pool)
    (column,) = before.overall.columns
    assert (column.low, column.high, column.high_open) == ("1000", "1000", True)
    assert before.overall.rules == {"counted": 1, "no_rate": 1}
    fixed, _ = await total(pool, AsOf(position=3))
    assert await import_rates(pool, [taiwan("32")], ClockGuard()) == RatesImport(1, 0, 0, position=3)
    (after,) = (await total(pool))[0].overall.columns
    assert (after.low, after.high, after.high_open) == ("1100", "1100", False)
    assert (await total(pool, AsOf(position=3)))[0] == fixed
    await recorder.record(request("other", REGISTERED))
    assert (await total(pool, AsOf(position=3)))[0] == fixed
    assert (await total(pool, AsOf(position=4)))[0].overall.columns == (after,)


async def test_answers_as_of_an_instant_use_the_rates_recorded_by_then(pool: Pool, recorder: Recorder) -> None:
    await recorder.record(request("plant", REGISTERED, pledged_in("TWD")))
    before = datetime.now(UTC)
    await import_rates(pool, [taiwan("32")], ClockGuard())
    after = datetime.now(UTC)
    await import_rates(pool, [taiwan("33")], ClockGuard())
    imports = [(await total(pool, AsOf(recorded_at=instant)))[1] for instant in (before, after, datetime.now(UTC))]
    assert imports == [1, 2, 3]


async def test_the_last_recorded_row_of_a_day_applies_and_a_second_import_records_nothing(pool: Pool) -> None:
    rows = [taiwan("32"), taiwan("31", DAY - timedelta(days=1))]
    assert await import_rates(pool, rows, ClockGuard()) == RatesImport(2, 0, 0, position=0)
    assert await import_rates(pool, rows, ClockGuard()) == RatesImport(0, 0, 2, position=0)
    corrected = [taiwan("33"), rows[1]]
    assert await import_rates(pool, corrected, ClockGuard()) == RatesImport(0, 1, 1, position=0)
    rate = (await StreamReader(pool).latest_rates()).rate("USD", "TWD", DAY)
    assert isinstance(rate, Rate)
    assert (rate.rate, rate.day) == (Decimal(33), DAY)


async def test_reader_sees_imports_of_another_process_at_every_fixed_position(pool: Pool, recorder: Recorder) -> None:
    streams = StreamReader(pool)
    await recorder.record(request("plant", REGISTERED))
    assert (await streams.rates(AsOf(position=1))).imports == 1
    for value in ("32", "33"):
        await import_rates(pool, [taiwan(value)], ClockGuard())
    assert (await streams.rates(AsOf(position=1))).imports == 1
    await recorder.record(request("other", REGISTERED))
    assert (await streams.rates(AsOf(position=2))).imports == 3


@pytest.mark.parametrize("statement", ["UPDATE exchange_rates SET position = 9", "TRUNCATE exchange_rates"])
async def test_recorded_rates_cannot_be_changed(owner: Owner, statement: str) -> None:
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute(statement)


async def test_recorded_rates_cannot_be_deleted_once_there_are_events(
    pool: Pool, owner: Owner, recorder: Recorder
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute("DELETE FROM exchange_rates")
    await recorder.record(request("plant", REGISTERED))
    with pytest.raises(asyncpg.RestrictViolationError):
        await owner.execute("DELETE FROM exchange_rates")


async def test_import_with_a_wrong_clock_or_a_rate_of_a_future_day_records_nothing(pool: Pool) -> None:
    wrong = ClockGuard(clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(ClockUnsafe):
        await import_rates(pool, [taiwan("32")], wrong)
    with pytest.raises(UnreadableRates):
        await import_rates(pool, [taiwan("32"), taiwan("32", date(2999, 1, 1))], ClockGuard())
    assert (await StreamReader(pool).latest_rates()).imports == 1
