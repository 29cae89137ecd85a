"""Exchange rates are those of a given day; conversions are exact."""

from __future__ import annotations

import zipfile
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.rates import (
    MAX_AGE_DAYS,
    SOURCE,
    Rate,
    Rates,
    RateUnavailable,
    convert,
    implied_rates,
    reference_rates,
)
from registry.events.currencies import Currency
from registry.events.values import Amount, StatedAmount
from tests.domain.builders import day


def amount(currency: Currency, value: str | None = None, **more: Any) -> Amount:
    return Amount(currency=currency, value=value, **more)


def file_of(folder: Path, lines: list[str]) -> Rates:
    path = folder / "rates.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rates.csv", "\n".join(["Date,USD,KRW,RUB,", *lines]))
    return Rates(path)


@pytest.fixture
def rates(tmp_path: Path) -> Rates:
    """A file in the bank's format: latest day first, a day without KRW, and a currency no longer quoted."""
    return file_of(
        tmp_path,
        [
            "2025-01-08,1.25,1500.0,N/A,",
            "2025-01-07,1.20,N/A,N/A,",
            "2025-01-03,1.00,1400.0,N/A,",
            "2024-11-01,1.10,1450.5,100.5,",
        ],
    )


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
    assert converted.rate.source == SOURCE
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
