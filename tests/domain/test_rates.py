"""Exchange rates are those of a given day; conversions are exact."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.money.rates import (
    ECB,
    MAX_AGE_DAYS,
    Rate,
    Rates,
    RateTable,
    RateUnavailable,
    convert,
    implied_rates,
)
from registry.domain.quotes import RateRow, group_rows
from registry.events.currencies import Currency
from registry.events.values import Amount, StatedAmount
from tests.domain.builders import day
from tests.reference_rates import reference_rates


def amount(currency: Currency, value: str | None = None, **more: Any) -> Amount:
    return Amount(currency=currency, value=value, **more)


def rows(source: str, base: str, lines: str) -> list[RateRow]:
    """Rates of a source, from lines of a day and pairs of a currency and a value."""
    found = []
    for line in lines.strip().splitlines():
        on, *pairs = line.split()
        for currency, value in zip(pairs[::2], pairs[1::2], strict=True):
            found.append(RateRow(source, base, currency, day(on), Decimal(value)))
    return found


@pytest.fixture
def rates() -> Rates:
    """Rates with a day without KRW, and a currency that is no longer quoted."""
    quoted = """
        2025-01-08 USD 1.25 KRW 1500.0
        2025-01-07 USD 1.20
        2025-01-03 USD 1.00 KRW 1400.0
        2024-11-01 USD 1.10 KRW 1450.5 RUB 100.5
    """
    return Rates(group_rows(rows(ECB, "EUR", quoted)))


def test_rate_is_of_the_day_or_the_last_one_before(rates: Rates) -> None:
    asked = day("2025-01-06")
    rate = rates.rate("EUR", "KRW", asked)
    assert isinstance(rate, Rate)
    assert (rate.day, rate.rate) == (day("2025-01-03"), Decimal(1400))
    assert isinstance(rates.rate("EUR", "KRW", day("2024-10-31")), RateUnavailable)


def test_cross_rate_uses_two_rates_of_one_day(rates: Rates) -> None:
    rate = rates.rate("USD", "KRW", day("2025-01-07"))
    assert isinstance(rate, Rate)
    assert rate.day == day("2025-01-03"), "the 7th has only one of the two rates"
    assert (rate.from_per_eur, rate.to_per_eur, rate.rate) == (Decimal("1.00"), Decimal("1400.0"), Decimal(1400))


def test_old_or_unpublished_rate_is_unavailable(rates: Rates) -> None:
    old = rates.rate("RUB", "USD", day("2025-01-08"))
    assert isinstance(old, RateUnavailable)
    assert "2024-11-01" in old.reason
    never = rates.rate("TWD", "USD", day("2025-01-08"))
    assert isinstance(never, RateUnavailable)
    assert "TWD" in never.reason
    last = day("2025-01-08")
    assert isinstance(rates.rate("EUR", "KRW", last + timedelta(days=MAX_AGE_DAYS)), Rate)
    assert isinstance(rates.rate("EUR", "KRW", last + timedelta(days=MAX_AGE_DAYS + 1)), RateUnavailable)


def test_converted_amount_has_its_rate_day_and_source() -> None:
    converted = reference_rates().convert(Decimal(5_000_000_000), "USD", "KRW", day("2025-10-26"))
    assert not isinstance(converted, RateUnavailable)
    assert converted.rate.day == day("2025-10-24"), "the 26th was a Sunday"
    assert converted.rate.source == ECB
    # By hand: 5,000,000,000 × 1671.49 / 1.1612, to the whole won.
    assert converted.value == Decimal(7_197_252_841_888)


def test_conversion_to_the_same_currency_keeps_the_value() -> None:
    converted = reference_rates().convert(Decimal("0.123456"), "TWD", "TWD", day("1990-01-01"))
    assert not isinstance(converted, RateUnavailable)
    assert (converted.value, converted.rate.source) == (Decimal("0.123456"), "stated")


@given(
    st.decimals(0, 10**15, places=2),
    st.sampled_from(["USD", "KRW", "EUR", "JPY", "GBP"]),
    st.sampled_from(["USD", "KRW", "EUR", "JPY", "GBP"]),
    st.dates(date(2000, 1, 10), date(2026, 10, 30)),
)
def test_conversion_is_exact_and_rounded_once(value: Decimal, from_: Currency, to: Currency, on: date) -> None:
    rate = reference_rates().rate(from_, to, on)
    assert isinstance(rate, Rate)
    assert rate.day <= on
    exact = Fraction(value) * Fraction(rate.to_per_eur) / Fraction(rate.from_per_eur)
    unit = Fraction(1) if to in ("KRW", "JPY") and from_ != to else Fraction(1, 100)
    assert abs(Fraction(convert(value, rate)) - exact) <= unit / 2


def test_implied_rate_of_a_repeated_conversion_deviates() -> None:
    """Hard case 6: the article of October 2025 repeats the conversion of October 2024."""
    repeated = amount("KRW", "2400000000000", stated_as=(StatedAmount(value="1800000000", currency="USD"),))
    (then,) = implied_rates(repeated, day("2024-10-10"), reference_rates())
    (now,) = implied_rates(repeated, day("2025-10-29"), reference_rates())
    assert abs(then.deviation) < Decimal("0.02")
    assert now.deviation > Decimal("0.06")
    assert now.implied == Decimal("0.00075")
    assert now.reference.day == day("2025-10-29")


def test_missing_or_zero_amounts_imply_no_rate() -> None:
    worded = amount("KRW", wording="several trillion won", stated_as=(StatedAmount(value="1", currency="USD"),))
    assert implied_rates(worded, day("2025-10-29"), reference_rates()) == ()
    zero = amount("USD", "5", stated_as=(StatedAmount(value="0", currency="KRW"),))
    assert implied_rates(zero, day("2025-10-29"), reference_rates()) == ()
    assert implied_rates(amount("USD", "5"), day("2025-10-29"), reference_rates()) == ()


# --- several sources --------------------------------------------------------------------------------------------------

ECB_ROWS = rows(ECB, "EUR", "2025-01-08 USD 1.25 KRW 1500")


def rate_of(quoted: list[RateRow], from_: Currency, to: Currency, **more: Any) -> Rate:
    rate = Rates(group_rows(quoted), **more).rate(from_, to, day("2025-01-08"))
    assert isinstance(rate, Rate)
    return rate


def test_sources_are_tried_in_order_ecb_first_then_by_name() -> None:
    others = rows("BOK", "EUR", "2025-01-08 USD 1 KRW 2000") + rows("AAA", "EUR", "2025-01-08 USD 1 KRW 3000")
    assert rate_of(ECB_ROWS + others, "USD", "KRW").source == ECB
    assert rate_of(others, "USD", "KRW").source == "AAA"
    configured = rate_of(ECB_ROWS + others, "USD", "KRW", order=("BOK", ECB))
    assert (configured.source, configured.rate) == ("BOK", Decimal(2000))


def test_currency_that_the_first_source_lacks_is_converted_with_the_next() -> None:
    quoted = ECB_ROWS + rows("CBC", "EUR", "2025-01-08 TWD 40")
    rate = rate_of(quoted, "TWD", "KRW")
    assert (rate.rate, rate.source) == (Decimal("37.5"), "CBC, ECB")


def test_rates_per_dollar_are_converted_over_the_euro() -> None:
    quoted = ECB_ROWS + rows("CBC", "USD", "2025-01-08 TWD 32")
    rate = rate_of(quoted, "TWD", "KRW")
    assert (rate.from_per_eur, rate.to_per_eur, rate.source) == (Decimal("40.00"), Decimal(1500), "CBC, ECB")
    assert rate_of(quoted, "USD", "TWD").rate == Decimal(32)


def test_rates_per_special_drawing_right_need_no_other_source() -> None:
    quoted = rows("IMF", "XDR", "2025-01-08 EUR 1.25 KRW 2000 SAR 5")
    rate = rate_of(quoted, "SAR", "KRW")
    assert (rate.rate, rate.source) == (Decimal(400), "IMF")
    assert rate_of(quoted, "EUR", "KRW").rate == Decimal(1600)


def test_rate_that_is_too_old_gives_way_to_another_source() -> None:
    quoted = rows(ECB, "EUR", "2024-01-08 USD 1 KRW 1000") + rows("IMF", "EUR", "2025-01-07 USD 1 KRW 2000")
    assert rate_of(quoted, "USD", "KRW").source == "IMF"


@pytest.mark.parametrize("on", ["1998-12-31", "2001-07-01", "2024-11-20", "2024-12-05", "2025-01-07", "2025-02-08"])
def test_worth_of_a_euro_in_all_currencies_is_at_the_rate_of_each(on: str) -> None:
    recorded = [
        # The second import corrects the dollar of one day; the won's newest rate is in the first.
        *group_rows(rows(ECB, "EUR", "2025-01-07 USD 1.20 KRW 1500\n2024-11-01 USD 1.10 RUB 100.5")),
        *group_rows(rows(ECB, "EUR", "2025-01-07 USD 1.21\n2024-12-02 KRW 1400"), number=1, position=5),
        # A source that has the ruble later, currencies over its own base, and some of another.
        *group_rows(rows("KEXIM", "EUR", "2024-12-03 RUB 110"), number=2, position=6),
        *group_rows(rows("KEXIM", "KRW", "2024-12-03 EUR 1450 VND 0.06"), number=2, position=6),
        *group_rows(rows("IMF", "USD", "2025-01-07 TWD 32"), number=3, position=7),
    ]
    for rates in (Rates(recorded, imports=4), reference_rates()):
        one_by_one = {currency: rates.rate(currency, "EUR", day(on)) for currency in rates.currencies()}  # type: ignore[arg-type]
        expected = {currency: rate.from_per_eur for currency, rate in one_by_one.items() if isinstance(rate, Rate)}
        assert rates.per_euro(day(on)) == expected


def test_newest_rate_has_its_source_and_its_age() -> None:
    newest = Rates(group_rows(ECB_ROWS + rows("IMF", "EUR", "2025-01-10 USD 1"))).newest(day("2025-01-20"))
    assert newest is not None
    assert (newest.source, newest.day, newest.age_days) == ("IMF", day("2025-01-10"), 10)
    assert Rates(group_rows(ECB_ROWS)).newest(day("2025-01-07")) is None


# --- recorded by then -------------------------------------------------------------------------------------------------


@pytest.fixture
def table() -> RateTable:
    """The packaged history, an import after position 5, and a correction after position 9."""
    table = RateTable()
    table.add(group_rows(ECB_ROWS))
    for number, position, value in ((1, 5, "TWD 40"), (2, 9, "TWD 44")):
        recorded_at = datetime(2025, 2, number, tzinfo=UTC)
        of_import = rows("CBC", "EUR", f"2025-01-08 {value}")
        table.add(group_rows(of_import, number=number, position=position, recorded_at=recorded_at))
    return table


@pytest.mark.parametrize(
    ("position", "expected"), [(0, None), (1, None), (5, None), (6, 40), (9, 40), (10, 44), (None, 44)]
)
def test_import_applies_to_later_positions_only(table: RateTable, position: int | None, expected: int | None) -> None:
    rate = table.at(position).rate("EUR", "TWD", day("2025-01-08"))
    assert (rate.rate if isinstance(rate, Rate) else None) == expected
    assert isinstance(table.at(position).rate("USD", "KRW", day("2025-01-08")), Rate)


@pytest.mark.parametrize(
    ("on", "imports"), [("2020-01-01", 1), ("2025-01-31", 1), ("2025-02-01", 2), ("2025-03-01", 3)]
)
def test_rates_as_of_an_instant_are_those_recorded_by_then(table: RateTable, on: str, imports: int) -> None:
    assert table.at(recorded_at=datetime.fromisoformat(f"{on}T00:00:00+00:00")).imports == imports


_DAYS = st.dates(date(2025, 1, 1), date(2025, 3, 1))
_IMPORTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["ECB", "IMF"]), st.sampled_from(["USD", "KRW", "TWD"]), _DAYS),
        min_size=1,
        max_size=8,
    ),
    max_size=5,
)


@given(_IMPORTS, _DAYS, st.integers(0, 6))
def test_conversion_uses_no_rate_of_a_later_day_and_none_recorded_later(
    imports: list[list[tuple[str, str, date]]], on: date, position: int
) -> None:
    """Properties 10, 14 and 46: what is imported later changes no answer at an earlier position."""
    whole, early = RateTable(), RateTable()
    for number, of_import in enumerate([[(ECB, "USD", date(2024, 12, 31))], *imports]):
        stated = [RateRow(s, "EUR", c, d, Decimal(number + d.day)) for s, c, d in of_import]
        quotes = group_rows(
            stated, number=number, position=number, recorded_at=datetime(2025, 4, 1 + number, tzinfo=UTC)
        )
        whole.add(quotes)
        if number == 0 or number < position:
            early.add(quotes)
    for from_, to in (("USD", "KRW"), ("TWD", "EUR"), ("TWD", "KRW")):
        rate = whole.at(position).rate(from_, to, on)  # type: ignore[arg-type]
        assert rate == early.at().rate(from_, to, on)  # type: ignore[arg-type]
        assert isinstance(rate, RateUnavailable) or rate.day <= on
