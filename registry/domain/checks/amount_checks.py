"""Compares an amount with the others that its sources give: is one of the two wrong by a power of ten?

An amount is compared with those that were reported for its pledge before it, and with its source's own conversions.
What it is compared with (`AmountCheck`) follows from the events alone; the verdict (`slip_factor`) also depends on the
exchange rates that are known when the question is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal

from msgspec import Struct

from registry.domain.money.rates import Rates, RateUnavailable, convert, implied_rates
from registry.events.currencies import Currency
from registry.events.values import Amount

RATE_TOLERANCE = Decimal("0.05")
"""The largest relative difference of a stated conversion from the day's reference rate that rounding explains."""

RATIO = Context(prec=6, rounding=ROUND_HALF_EVEN)
"""The precision of ratios."""

# A factor of 10 is between 억 (10^8) and billion (10^9), one of 10,000 between 조 (10^12) and 억.
_UNIT_FACTORS = tuple(Decimal(10) ** power for power in (1, 2, 3, 4))
_FACTOR_TOLERANCE = Decimal("0.25")


class Figure(Struct, frozen=True, gc=False):
    """An amount as one number: of a range the middle, of half a range its end."""

    currency: Currency
    value: Decimal


class AmountCheck(Struct, frozen=True):
    """What an amount is compared with: the amounts reported before it, at the rates of the day `on`."""

    on: date
    others: tuple[Figure, ...] = ()


def figure_of(amount: Amount | None) -> Figure | None:
    """An amount as one number; None where there is none, or where it is zero."""
    if amount is None:
        return None
    value, low, high = (None if text is None else Decimal(text) for text in (amount.value, amount.low, amount.high))
    return figure(amount.currency, value, low, high)


def figure(
    currency: Currency | None, value: Decimal | None, low: Decimal | None, high: Decimal | None
) -> Figure | None:
    """An amount as one number; None where there is none, or where it is zero."""
    if value is None:
        value = (low + high) / 2 if low is not None and high is not None else low or high
    return Figure(currency, value) if currency is not None and value else None


def ratio(one: Figure, other: Figure, on: date, rates: Rates | None) -> Decimal | None:
    """One amount divided by the other, converted at the day's reference rate; None if they can't be compared."""
    divisor = other.value
    if one.currency != other.currency:
        rate = rates.rate(other.currency, one.currency, on) if rates else None
        if rate is None or isinstance(rate, RateUnavailable):
            return None
        divisor = convert(divisor, rate)
    return RATIO.divide(one.value, divisor) if divisor else None


def power_of_ten(ratio: Decimal) -> Decimal | None:
    """The power of ten, from 10 to 10,000, that a ratio or its inverse is close to; None if there is none."""
    if not ratio:
        return None
    inverted = ratio if ratio >= 1 else RATIO.divide(Decimal(1), ratio)
    return next((power for power in _UNIT_FACTORS if abs(inverted / power - 1) <= _FACTOR_TOLERANCE), None)


def doubts(amount: Amount, check: AmountCheck | None, rates: Rates | None) -> Iterator[str]:
    """The rules of the flags that a comparison raises on an amount: `tenfold-slip`, `implied-rate`, or none."""
    own = figure_of(amount)
    slips = own is not None and check is not None and any(slip_factors(own, check, rates))
    if slips:
        yield "tenfold-slip"
    if check is None or rates is None:
        return
    for implied in implied_rates(amount, check.on, rates):
        if power_of_ten(RATIO.plus(1 + implied.deviation)) and not slips:
            yield "tenfold-slip"
        elif abs(implied.deviation) > RATE_TOLERANCE:
            yield "implied-rate"


def slip_factors(own: Figure, check: AmountCheck, rates: Rates | None) -> Iterable[Decimal]:
    """The powers of ten by which an amount differs from those that it is compared with."""
    for other in check.others:
        found = ratio(own, other, check.on, rates)
        if found is not None and (factor := power_of_ten(found)):
            yield factor
